/* Jobs and policy: what begins, changes and ends them, each slot counted once, restarts. */
#include "metaserver/fs/state.h"
#include "tests/unit/metaserver/fs/fixture.h"

enum { TARGETS = 6 };

static struct machine m;

static int enlist(uint32_t number, uint64_t incarnation)
{
    char name[16];
    CHECK(snprintf(name, sizeof name, "c%u", number) > 0);
    return APPLY(&m, target_register, .uuid = {{(uint8_t)number}}, .incarnation = incarnation,
                 .name = slice_str(name), .address = S("a:1"), .host = slice_str(name));
}

/* Six servers with a table of `copies` copies of 8 shards; 0: no table. */
static void start(unsigned copies)
{
    machine_start(&m, kv_mem_create());
    machine_init_cluster(&m);
    for (uint32_t i = 1; i <= TARGETS; i++)
        CU_ASSERT_EQUAL(enlist(i, 1), 0);
    if (copies)
        CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = (uint8_t)copies), 0);
}

static void stop(void)
{
    machine_check(&m);
    machine_stop(&m);
}

static int drain(uint32_t a, uint32_t b)
{
    struct rec_target_ref refs[] = {{a}, {b}};
    return APPLY(&m, job_start, .kind = JOB_DRAIN, .targets = {.count = b ? 2 : 1, .items = refs},
                 .by = S("alice"));
}

static struct msg_job_start_r started(void)
{
    struct msg_job_start_r r = {0};
    CU_ASSERT_EQUAL(decode_job_start_r(m.result.body, WIRE_VERSION, &r), 0);
    return r;
}

static enum target_admin admin_of(uint32_t target)
{
    return shard_table_target(fs_shard_table(m.fs), target)->admin;
}

/* It makes its targets DRAINING; the same one again is the same job; overlapping ones are not. */
static void a_drain_begins_once(void)
{
    start(0);
    CU_ASSERT_EQUAL(drain(2, 5), 0);
    CU_ASSERT_TRUE(started().job == 1 && started().is_new);
    CU_ASSERT_EQUAL(admin_of(2), TARGET_DRAINING);
    CU_ASSERT_EQUAL(admin_of(5), TARGET_DRAINING);
    CU_ASSERT_EQUAL(admin_of(1), TARGET_ACTIVE);
    CU_ASSERT_EQUAL(drain(5, 2), 0);
    CU_ASSERT_TRUE(started().job == 1 && !started().is_new);
    CU_ASSERT_EQUAL(drain(2, 0), -ERR_REFUSED);
    CU_ASSERT_EQUAL(drain(2, 3), -ERR_REFUSED);
    CU_ASSERT_EQUAL(admin_of(3), TARGET_ACTIVE);
    CU_ASSERT_EQUAL(drain(9, 0), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(drain(3, 3), 0);
    CU_ASSERT_EQUAL(started().job, 2);
    CU_ASSERT_EQUAL(fs_job(m.fs, 2)->target_count, 1);
    CU_ASSERT_STRING_EQUAL(fs_job(m.fs, 1)->by, "alice");
    stop();
}

static void policy_is_kept_and_bounded(void)
{
    start(0);
    CU_ASSERT_EQUAL(fs_config(m.fs, CONFIG_receptions_max), 2);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("background_bandwidth"), S("150MiB")), 0);
    CU_ASSERT_EQUAL(fs_config(m.fs, CONFIG_background_bandwidth), 150u << 20);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("receptions_max"), S("17")), -ERR_RANGE);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("down_out"), S("soon")), -ERR_CONFIG);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("downout"), S("1s")), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, config_set, S("background_bandwidth"), S("")), 0);
    CU_ASSERT_EQUAL(fs_config(m.fs, CONFIG_background_bandwidth), 0);
    stop();
}

#define TESTS(T)           \
    T(a_drain_begins_once) \
    T(policy_is_kept_and_bounded)

CU_TestInfo job_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
