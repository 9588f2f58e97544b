/* What a status means: the rules of HEALTH_OK, WARN and ERR, from made-up answers. */
#include <string.h>

#include "tests/unit/tools/test_tools.h"
#include "tools/health.h"

#include "common/base/banned.h"

static struct rec_meta_status metas[3];
static struct rec_target_status targets[2];
static struct msg_status_r status;

static void healthy(void)
{
    for (unsigned i = 0; i < 3; i++)
        metas[i] = (struct rec_meta_status){
            .node = i + 1, .address = slice_str("127.0.0.1:7001"), .up = 1};
    for (unsigned i = 0; i < 2; i++)
        targets[i] = (struct rec_target_status){.target = i + 1,
                                                .name = slice_str(i ? "c2" : "c1"),
                                                .address = slice_str("127.0.0.1:7101"),
                                                .state = TARGET_UP,
                                                .bytes_total = 1000,
                                                .bytes_used = 100,
                                                .crc_errors = 2};
    status = (struct msg_status_r){.copies = 2, .shard_count = 8, .shards_full = 8};
}

/* Through the codec, as it comes from the leader; then judged. */
static struct health_report judge(void)
{
    struct bytes bytes = {0};
    struct msg_status_r decoded;
    struct health_report report = {0};
    status.metas = (struct wire_list){.count = 3, .items = metas};
    status.targets = (struct wire_list){.count = 2, .items = targets};
    encode_status_r(&bytes, &status);
    CU_ASSERT_EQUAL(decode_status_r(bytes_slice(&bytes), WIRE_VERSION, &decoded), 0);
    health_judge(&decoded, &report);
    bytes_release(&bytes);
    return report;
}

static void expect_one(enum health health, const char *code)
{
    struct health_report r = judge();
    CU_ASSERT_EQUAL(r.health, health);
    CU_ASSERT_EQUAL(r.line_count, 1);
    CU_ASSERT_EQUAL(strncmp(r.lines[0], code, strlen(code)), 0);
}

/* Nothing wrong: OK, no line, and the sums over the targets. */
static void all_well_is_ok(void)
{
    healthy();
    struct health_report r = judge();
    CU_ASSERT_EQUAL(r.health, HEALTH_OK);
    CU_ASSERT_EQUAL(r.line_count, 0);
    CU_ASSERT_EQUAL(r.metas_up, 3);
    CU_ASSERT_EQUAL(r.targets_up, 2);
    CU_ASSERT_EQUAL(r.bytes_used, 200);
    CU_ASSERT_EQUAL(r.crc_errors, 4);
}

/* A dead server of either kind, a failed or full disk: WARN, named. */
static void dead_servers_warn(void)
{
    healthy();
    metas[1].up = 0;
    expect_one(HEALTH_WARN, "META_DOWN  m2");
    healthy();
    targets[0].state = TARGET_DOWN;
    expect_one(HEALTH_WARN, "SERVER_DOWN  c1");
    healthy();
    targets[1].state = TARGET_FAILED;
    expect_one(HEALTH_WARN, "DISK_FAILED  c2");
    healthy();
    targets[1].bytes_used = 990;
    expect_one(HEALTH_WARN, "NEARLY_FULL  c2");
}

/* Missing copies warn; a shard without any copy and a failed checkpoint are errors. */
static void lost_copies_and_checkpoints(void)
{
    healthy();
    status.shards_full = 7;
    status.shards_under = 1;
    expect_one(HEALTH_WARN, "UNDER_REPLICATED  1 ");
    healthy();
    status.shards_full = 7;
    status.shards_unavailable = 1;
    expect_one(HEALTH_ERR, "UNAVAILABLE  1 ");
    healthy();
    status.checkpoint_error = slice_str("no space left");
    expect_one(HEALTH_ERR, "CHECKPOINT_FAILED  no space left");
}

/* An error stays an error when warnings follow it. */
static void worst_counts(void)
{
    healthy();
    status.shards_full = 6;
    status.shards_under = status.shards_unavailable = 1;
    targets[0].state = TARGET_DOWN;
    struct health_report r = judge();
    CU_ASSERT_EQUAL(r.health, HEALTH_ERR);
    CU_ASSERT_EQUAL(r.line_count, 3);
}

#define TESTS(T)                   \
    T(all_well_is_ok)              \
    T(dead_servers_warn)           \
    T(lost_copies_and_checkpoints) \
    T(worst_counts)
CU_TestInfo tests_health[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
