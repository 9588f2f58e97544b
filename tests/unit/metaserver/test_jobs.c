/* Rates of jobs, measured and allowed, and refusals in words: what the leader works out from the
 * state, without a daemon. */
#include "metaserver/jobs.h"

#include "tests/unit/metaserver/fs/fixture.h"

enum { TARGETS = 6, SHARDS = 8, COPIES = 2 };

static struct machine m;
static struct pace pace;

static const struct shard *shard_of(uint32_t shard)
{
    return shard_table_shard(fs_shard_table(m.fs), COPIES, shard);
}

static uint32_t source_of(uint32_t shard)
{
    struct chain_view c = shard_table_chain(fs_shard_table(m.fs), COPIES, shard);
    return c.member[c.insync_count - 1];
}

/* Six targets with a table; 5 and 6 are one server. */
static void start(void)
{
    machine_start(&m, kv_mem_create());
    machine_init_cluster(&m);
    for (uint8_t i = 1; i <= TARGETS; i++) {
        char name[8];
        CHECK(snprintf(name, sizeof name, "c%u", i) > 0);
        CU_ASSERT_EQUAL(
            APPLY(&m, target_register, .uuid = {{i}}, .incarnation = 1, .name = slice_str(name),
                  .address = i < 5 ? slice_str(name) : S("both"), .host = slice_str(name)),
            0);
    }
    CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = COPIES), 0);
    pace = (struct pace){.sources = NULL};
}

static void stop(void)
{
    pace_release(&pace);
    machine_stop(&m);
}

static void drain(uint32_t target, uint64_t rate_max)
{
    struct rec_target_ref ref = {.target = target};
    CU_ASSERT_EQUAL(APPLY(&m, job_start, .kind = JOB_DRAIN, .rate_max = rate_max,
                          .targets = {.count = 1, .items = &ref}),
                    0);
}

static void move(uint32_t shard, uint32_t from, uint32_t to)
{
    struct rec_slot_change c = {COPIES, shard, shard_of(shard)->epoch, from, to};
    CU_ASSERT_EQUAL(APPLY(&m, shard_change, {.count = 1, .items = &c}), 0);
}

/* A target that is no member. */
static uint32_t stranger(uint32_t shard)
{
    enum slot_state state;
    uint32_t id = 1;
    while (shard_has_member(shard_of(shard), COPIES, id, &state))
        id++;
    return id;
}

/* The n-th shard of which it has a slot. */
static uint32_t held(uint32_t target, unsigned n)
{
    enum slot_state state;
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        if (shard_has_member(shard_of(shard), COPIES, target, &state) && n-- == 0)
            return shard;
    CU_FAIL_FATAL("it has fewer slots");
    return 0;
}

/* Bytes over the time that was seen, over 30 s at most, and nothing for a job that has ended. */
static void windowed_rate(void)
{
    start();
    drain(1, 0);
    uint32_t shard = held(1, 0);
    move(shard, 1, stranger(shard));
    uint32_t source = source_of(shard);
    for (uint64_t ms = 0; ms <= 10000; ms += 500) {
        pace_look(&pace, m.fs, 100000 + ms);
        if (ms == 0)
            CU_ASSERT_EQUAL(pace_rate(&pace, 1, 100000), 0);
        pace_sent(&pace, source, 500);
        pace_sent(&pace, 4711, 99999); /* nobody */
    }
    /* The last 500 are newer than the last look, and count. */
    CU_ASSERT_EQUAL(pace_rate(&pace, 1, 110000), 21 * 500 / 10);
    for (uint64_t ms = 10500; ms <= 60000; ms += 500)
        pace_look(&pace, m.fs, 100000 + ms); /* nothing is sent any more */
    CU_ASSERT_EQUAL(pace_rate(&pace, 1, 160000), 0);
    pace_sent(&pace, source, 3000);
    CU_ASSERT_EQUAL(pace_rate(&pace, 1, 160000), 3000 / 30);
    CU_ASSERT_EQUAL(pace_rate(&pace, 2, 160000), 0);
    CU_ASSERT_EQUAL(APPLY(&m, job_set, .job = 1, .action = JOB_CANCEL), 0);
    pace_look(&pace, m.fs, 160100);
    CU_ASSERT_EQUAL(pace_rate(&pace, 1, 160100), 0);
    stop();
}

static void offline(uint32_t target)
{
    struct rec_target_life life = {.target = target, .incarnation = 1};
    CU_ASSERT_EQUAL(APPLY(&m, target_offline, {.count = 1, .items = &life}), 0);
}

/* A job's rate is shared by its sources; one that repairs is held to no job's rate, and what it
 * sends counts for the job by the number of shards. */
static void shared_rate(void)
{
    start();
    drain(1, 1000);
    uint32_t first = held(1, 0), second = held(1, 1);
    move(first, 1, stranger(first));
    pace_look(&pace, m.fs, 1000);
    uint32_t a = source_of(first);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, a), 1000);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, a == 2 ? 3 : 2), 0); /* it sends nothing */
    move(second, 1, stranger(second));
    pace_look(&pace, m.fs, 1100);
    uint32_t b = source_of(second);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, a), a == b ? 1000 : 500);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, b), a == b ? 1000 : 500);
    CU_ASSERT_EQUAL(APPLY(&m, job_set, .job = 1, .action = JOB_RATE, .rate_max = 200), 0);
    pace_look(&pace, m.fs, 1200);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, b), a == b ? 200 : 100);
    stop();
}

static void repairs_are_not_held(void)
{
    start();
    drain(1, 1000);
    /* A shard of 1 to move, and one of its source's with another target that comes back. */
    uint32_t shard = held(1, 0), source = source_of(shard), other = 0;
    move(shard, 1, stranger(shard));
    for (uint32_t n = 0; n < SHARDS && !other; n++) {
        const struct shard *s = shard_of(n);
        bool has_source = s->slot[0].target == source || s->slot[1].target == source;
        uint32_t partner = s->slot[s->slot[0].target == source].target;
        if (n != shard && has_source && partner != shard_of(shard)->move.incoming &&
            !shard_has_in_sync(shard_of(shard), COPIES, partner))
            other = partner;
    }
    CU_ASSERT_NOT_EQUAL_FATAL(other, 0);
    offline(other);
    CU_ASSERT_EQUAL(APPLY(&m, target_register, .uuid = {{(uint8_t)other}}, .incarnation = 2,
                          .name = S("x"), .address = S("x"), .host = S("x")),
                    0);
    pace_look(&pace, m.fs, 1000);
    CU_ASSERT_NOT_EQUAL(shard_of(shard)->move.incoming, 0);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, source), 0);
    uint32_t sends = 0;
    for (uint32_t n = 0; n < SHARDS; n++) {
        struct chain_view c = shard_table_chain(fs_shard_table(m.fs), COPIES, n);
        sends += c.member_count > c.insync_count && source_of(n) == source;
    }
    CU_ASSERT_TRUE(sends >= 2);
    pace_sent(&pace, source, sends * 700);
    CU_ASSERT_EQUAL(pace_rate(&pace, 1, 2000), 700);
    stop();
}

static int configure(const char *value)
{
    return APPLY(&m, config_set, .name = S("background_bandwidth"), .value = slice_str(value));
}

/* The policy is per server: targets of one process share it, and the lower limit counts. */
static void policy(void)
{
    start();
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, 1), 0);
    CU_ASSERT_EQUAL(configure("1000"), 0);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, 1), 1000);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, 5), 500);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, 6), 500);
    drain(1, 3000);
    uint32_t shard = held(1, 0);
    move(shard, 1, stranger(shard));
    pace_look(&pace, m.fs, 1000);
    uint32_t source = source_of(shard);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, source), source < 5 ? 1000 : 500);
    CU_ASSERT_EQUAL(configure("100000"), 0);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, source), 3000);
    offline(6);
    CU_ASSERT_EQUAL(pace_allowed(&pace, m.fs, 5 == source ? 4 : 5), 100000);
    stop();
}

static const char *explained(struct drain_plan plan)
{
    static struct err_text why;
    while (plan.checks[plan.check_count].check != 0)
        plan.check_count++;
    jobs_explain(fs_shard_table(m.fs), &plan, &why);
    return why.text;
}

/* What is short, of how much, what to do; good checks are not spoken of. */
static void explanations(void)
{
    start();
    CU_ASSERT_STRING_EQUAL(
        explained(
            (struct drain_plan){.checks = {{JOB_CHECK_SPACE, false, 1979120929996u, 1024, 0, 0},
                                           {JOB_CHECK_SERVERS, true, 2, 3, 0, 0}}}),
        "1.7 TiB must move and the others can take 1.0 KiB: add a server or drain fewer at a time");
    CU_ASSERT_STRING_EQUAL(
        explained((struct drain_plan){.checks = {{JOB_CHECK_SERVERS, false, 3, 2, 0, 0},
                                                 {JOB_CHECK_COPIES, false, 3, 2, 3, 0},
                                                 {JOB_CHECK_COPIES, false, 5, 2, 5, 0}}}),
        "copies of new files need 3 servers and 2 would stay: add a server; "
        "files with 5 copies need as many servers and 2 would stay: add a "
        "server");
    CU_ASSERT_STRING_EQUAL(
        explained((struct drain_plan){.checks = {{JOB_CHECK_ZONES, false, 3, 2, 0, 0},
                                                 {JOB_CHECK_FULLEST, false, 973, 950, 0, 4}}}),
        "copies stand in 3 zones and 2 would stay: add a server in another zone; c4 would be 97.3 "
        "% full: add a server");
    CU_ASSERT_STRING_EQUAL(
        explained((struct drain_plan){.checks = {{JOB_CHECK_LAST_COPY, false, 7, 0, 0, 0}}}),
        "the only good copy of 7 shards is there and the server is away: start it");
    stop();
}

/* A target may be removed when no shard has it, not even on its way. */
static void removal(void)
{
    struct err_text why = {""};
    char expected[200];
    enum slot_state state;
    unsigned count = 0;
    start();
    for (uint32_t n = 0; n < SHARDS; n++)
        count += shard_has_member(shard_of(n), COPIES, 1, &state);
    CU_ASSERT_EQUAL(jobs_may_remove(fs_shard_table(m.fs), 1, false, &why), -ERR_REFUSED);
    (void)snprintf(expected, sizeof expected,
                   "c1 still holds copies of %u shards: drain it first; if it is gone for ever, "
                   "say that its data is lost",
                   count);
    CU_ASSERT_STRING_EQUAL(why.text, expected);
    uint32_t shard = held(1, 0);
    uint32_t gone = shard_of(shard)->slot[shard_of(shard)->slot[0].target == 1].target;
    offline(gone);
    CU_ASSERT_EQUAL(jobs_may_remove(fs_shard_table(m.fs), 1, false, &why), -ERR_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "of them the only good one"));
    CU_ASSERT_EQUAL(APPLY(&m, target_register, .uuid = {{77}}, .incarnation = 1, .name = S("new"),
                          .address = S("new"), .host = S("new")),
                    0);
    CU_ASSERT_EQUAL(jobs_may_remove(fs_shard_table(m.fs), 7, false, &why), 0);
    CU_ASSERT_EQUAL(jobs_may_remove(fs_shard_table(m.fs), 1, true, &why), -ERR_REFUSED);
    CU_ASSERT_STRING_EQUAL(why.text, "c1 is up, so nothing is lost: drain it, or stop it first");
    CU_ASSERT_EQUAL(jobs_may_remove(fs_shard_table(m.fs), gone, true, &why), 0);
    CU_ASSERT_EQUAL(jobs_may_remove(fs_shard_table(m.fs), 4711, false, &why), 0);
    move(shard = held(1, 0), 1, 7); /* on its way to it */
    CU_ASSERT_EQUAL(jobs_may_remove(fs_shard_table(m.fs), 7, false, &why), -ERR_REFUSED);
    stop();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {{"windowed_rate", windowed_rate},
                           {"shared_rate", shared_rate},
                           {"repairs_are_not_held", repairs_are_not_held},
                           {"policy", policy},
                           {"explanations", explanations},
                           {"removal", removal},
                           CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"metaserver/jobs_pace", NULL, NULL, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
