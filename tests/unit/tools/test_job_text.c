/* Targets by name, servers with several disks, and jobs as people read them: whole texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/tools/test_tools.h"
#include "tools/admin.h"
#include "tools/job_text.h"

#include "common/base/banned.h"

/* c1, c2, c3.1 and c3.2 (one server), c30; through the codec, as it comes from the leader. */
static struct bytes status_bytes, other_bytes;
static struct msg_status_r status;

static void setup(void)
{
    static const char *const names[] = {"c1", "c2", "c3.1", "c3.2", "c30"};
    static const char *const addresses[] = {"h1:7101", "h2:7101", "h3:7101", "h3:7101", "h4:7101"};
    static const char *const hosts[] = {"a/r1/h1", "a/r1/h2", "b/r1/h3", "b/r1/h3", "h4"};
    struct rec_target_status targets[5] = {{0}};
    for (unsigned i = 0; i < 5; i++)
        targets[i] = (struct rec_target_status){.target = i + 1,
                                                .name = slice_str(names[i]),
                                                .address = slice_str(addresses[i]),
                                                .host = slice_str(hosts[i]),
                                                .state = TARGET_UP,
                                                .slots = 10,
                                                .bytes_total = 1000,
                                                .bytes_used = 100 * i,
                                                .heard_ms = 100 * i,
                                                .weight = 1000};
    struct msg_status_r s = {.targets = {.count = 5, .items = targets}};
    bytes_clear(&status_bytes);
    encode_status_r(&status_bytes, &s);
    CU_ASSERT_EQUAL_FATAL(decode_status_r(bytes_slice(&status_bytes), WIRE_VERSION, &status), 0);
}

static void finish(void)
{
    bytes_release(&status_bytes);
    bytes_release(&other_bytes);
}

/* ---- targets ---- */

static struct target_set set;
static struct err_text why;

static int choose(bool exact, const char *const *names, unsigned count)
{
    return targets_choose(&status, names, count, exact, &set, &why);
}
#define CHOOSE(exact, ...)                            \
    choose(exact, (const char *const[]){__VA_ARGS__}, \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* A server's name means all its disks, and not the server whose name begins alike. */
static void names_mean_all_disks(void)
{
    setup();
    CU_ASSERT_EQUAL(CHOOSE(false, "c3"), 0);
    CU_ASSERT_EQUAL(set.count, 2);
    CU_ASSERT_EQUAL(set.refs[0].target, 3);
    CU_ASSERT_EQUAL(set.refs[1].target, 4);
    CU_ASSERT_TRUE(set.is_whole);
    CU_ASSERT_EQUAL(CHOOSE(false, "c3.2", "c1", "c1"), 0);
    CU_ASSERT_EQUAL(set.count, 2);
    CU_ASSERT_EQUAL(set.refs[0].target, 1);
    CU_ASSERT_FALSE(set.is_whole);
    CU_ASSERT_STRING_EQUAL(set.text, "c3.2 c1 c1");
    CU_ASSERT_EQUAL(CHOOSE(true, "c3"), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(CHOOSE(true, "c3.1", "c3.2"), 0);
    CU_ASSERT_TRUE(set.is_whole);
    CU_ASSERT_EQUAL(CHOOSE(false, "c22"), -ERR_NO_ENTRY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "did you mean: c2"));
    finish();
}

/* The two disks of one server are one row; its numbers are their sums. */
static void disks_are_summed(void)
{
    unsigned count;
    setup();
    struct server_row *rows = servers_of(&status, &count);
    CU_ASSERT_EQUAL_FATAL(count, 4);
    CU_ASSERT_STRING_EQUAL(rows[0].zone, "a");
    CU_ASSERT_STRING_EQUAL(rows[2].name, "c3");
    CU_ASSERT_STRING_EQUAL(rows[2].zone, "b");
    CU_ASSERT_EQUAL(rows[2].targets, 2);
    CU_ASSERT_EQUAL(rows[2].sum.bytes_used, 500);
    CU_ASSERT_EQUAL(rows[2].sum.heard_ms, 300);
    CU_ASSERT_STRING_EQUAL(rows[2].condition, "active");
    CU_ASSERT_STRING_EQUAL(rows[3].name, "c30");
    CU_ASSERT_STRING_EQUAL(rows[3].zone, "-");
    free(rows);
    finish();
}

/* What an operator wants stands before what the network says, but for a failed disk. */
static void conditions_have_an_order(void)
{
    struct rec_target_status t = {.state = TARGET_UP, .slots = 5};
    CU_ASSERT_STRING_EQUAL(target_condition(&t), "active");
    t.admin = TARGET_DRAINING;
    CU_ASSERT_STRING_EQUAL(target_condition(&t), "draining");
    t.state = TARGET_DOWN;
    CU_ASSERT_STRING_EQUAL(target_condition(&t), "down");
    t.slots = 0;
    CU_ASSERT_STRING_EQUAL(target_condition(&t), "drained");
    t.admin = TARGET_MAINTENANCE;
    CU_ASSERT_STRING_EQUAL(target_condition(&t), "maintenance");
    t.state = TARGET_FAILED;
    CU_ASSERT_STRING_EQUAL(target_condition(&t), "failed");
}

/* ---- jobs ---- */

static void words_are_parsed(void)
{
    char name[JOB_NAME_MAX];
    uint64_t rate = 1;
    CU_ASSERT_EQUAL(job_parse("d-17"), 17);
    CU_ASSERT_EQUAL(job_parse("17"), 17);
    CU_ASSERT_EQUAL(job_parse("d-"), 0);
    CU_ASSERT_EQUAL(job_parse("17x"), 0);
    CU_ASSERT_EQUAL(job_parse("-17"), 0);
    CU_ASSERT_EQUAL(job_parse("99999999999"), 0);
    CU_ASSERT_STRING_EQUAL(job_name(JOB_DRAIN, 17, name), "d-17");
    CU_ASSERT_EQUAL(rate_parse("150M", &rate, &why), 0);
    CU_ASSERT_EQUAL(rate, 150ull << 20);
    CU_ASSERT_EQUAL(rate_parse("2MiB/s", &rate, &why), 0);
    CU_ASSERT_EQUAL(rate, 2ull << 20);
    CU_ASSERT_EQUAL(rate_parse("0", &rate, &why), 0);
    CU_ASSERT_EQUAL(rate, 0);
    CU_ASSERT_EQUAL(rate_parse("fast", &rate, &why), -ERR_CONFIG);
    CU_ASSERT_EQUAL(rate_parse("-1", &rate, &why), -ERR_CONFIG);
}

/* What was written to `out`, which is closed; freed by the caller. */
static char *text;
static size_t text_size;
static FILE *open_text(void)
{
    text = NULL;
    return open_memstream(&text, &text_size);
}
static void expect(FILE *out, const char *wanted)
{
    (void)fclose(out);
    if (strcmp(text, wanted) != 0)
        (void)printf("# got:\n%s# wanted:\n%s", text, wanted);
    CU_ASSERT_STRING_EQUAL(text, wanted);
    free(text);
}

static struct msg_job_plan_r plan_of(const struct rec_job_check *checks, unsigned count)
{
    struct msg_job_plan_r decoded, plan = {.slots = 20,
                                           .chunks = 30190,
                                           .bytes = 1800ull << 30,
                                           .is_good = 1,
                                           .checks = {.count = count, .items = checks}};
    for (unsigned i = 0; i < count; i++)
        plan.is_good &= checks[i].is_good;
    bytes_clear(&other_bytes);
    encode_job_plan_r(&other_bytes, &plan);
    CU_ASSERT_EQUAL_FATAL(decode_job_plan_r(bytes_slice(&other_bytes), WIRE_VERSION, &decoded), 0);
    return decoded;
}

/* R2: the arithmetic is shown, good or bad, and each cross says what to do. */
static void plan_shows_its_arithmetic(void)
{
    static const struct rec_job_check checks[] = {
        {.check = JOB_CHECK_SPACE, .is_good = 1, .need = 1800ull << 30, .have = 8500ull << 30},
        {.check = JOB_CHECK_SERVERS, .is_good = 1, .need = 3, .have = 4},
        {.check = JOB_CHECK_COPIES, .is_good = 0, .need = 5, .have = 4, .copies = 5},
        {.check = JOB_CHECK_ZONES, .is_good = 0, .need = 2, .have = 1},
        {.check = JOB_CHECK_FULLEST, .is_good = 1, .need = 583, .have = 950, .target = 5},
        {.check = JOB_CHECK_LAST_COPY, .is_good = 1, .need = 0, .have = 0},
    };
    setup();
    struct msg_job_plan_r plan = plan_of(checks, 6);
    CU_ASSERT_EQUAL(CHOOSE(false, "c2"), 0);
    FILE *out = open_text();
    plan_print(out, &status, &set, &plan);
    expect(out,
           "plan: drain c2 (zone a)   1.7 TiB in 30,190 chunks, 20 shards\n"
           " \xe2\x9c\x93 space      needs 1.7 TiB, free on the others 8.3 TiB\n"
           " \xe2\x9c\x93 servers    new files have 3 copies, 4 servers stay\n"
           " \xe2\x9c\x97 copies     files with 5 copies: the 4 servers that stay cannot hold "
           "them\n"
           "   fix: add 1 server first, or name fewer\n"
           " \xe2\x9c\x97 zones      copies are in 2 zones, afterwards in 1\n"
           "   fix: add a server in the zone that would be empty, or --accept-degraded: copies "
           "of a file then share a zone\n"
           " \xe2\x9c\x93 fullest    c30 will be 58.3 % full, at most 95.0 %\n"
           " \xe2\x9c\x93 last-copy  every shard has a copy that can be read\n");
    finish();
}

/* The other crosses; several targets are one plan. */
static void refused_plan_names_what_lacks(void)
{
    static const struct rec_job_check checks[] = {
        {.check = JOB_CHECK_SPACE, .is_good = 0, .need = 100ull << 30, .have = 60ull << 30},
        {.check = JOB_CHECK_SERVERS, .is_good = 0, .need = 2, .have = 1},
        {.check = JOB_CHECK_LAST_COPY, .is_good = 0, .need = 1, .have = 0},
    };
    setup();
    struct msg_job_plan_r plan = plan_of(checks, 3);
    CU_ASSERT_EQUAL(CHOOSE(false, "c3"), 0);
    FILE *out = open_text();
    plan_print(out, &status, &set, &plan);
    expect(
        out,
        "plan: drain c3 (2 targets)   1.7 TiB in 30,190 chunks, 20 shards\n"
        " \xe2\x9c\x97 space      needs 100.0 GiB, there is room on the others for only 60.0 GiB\n"
        "   fix: add a server or delete files: 40.0 GiB more room is needed\n"
        " \xe2\x9c\x97 servers    new files have 2 copies: the 1 server that stays cannot hold "
        "them\n"
        "   fix: add 1 server first, or name fewer\n"
        " \xe2\x9c\x97 last-copy  1 shard: the only good copy is there, and it is down\n"
        "   fix: start that server again: its data can be read nowhere else\n");
    finish();
}

static const uint8_t drained[] = {3, 0, 0, 0, 4, 0, 0, 0};
static struct rec_job_info infos[1];
static struct msg_job_list_r jobs;

static void make_jobs(void)
{
    static const struct rec_job_blocked blocked[] = {
        {.job = 17, .reason = JOB_NO_SOURCE, .slots = 2, .target = 1},
        {.job = 16, .reason = JOB_NO_ROOM, .slots = 9},
    };
    infos[0] = (struct rec_job_info){.job = 17,
                                     .kind = JOB_DRAIN,
                                     .state = JOB_RUNNING,
                                     .targets = slice_of(drained, sizeof drained),
                                     .by = slice_str("alice"),
                                     .slots_done = 43,
                                     .chunks_done = 12982,
                                     .bytes_done = 792ull << 30,
                                     .slots_left = 55,
                                     .chunks_left = 17208,
                                     .bytes_left = 1008ull << 30,
                                     .slots_moving = 32,
                                     .slots_blocked = 2,
                                     .rate = 412ull << 20};
    struct msg_job_list_r list = {.jobs = {.count = 1, .items = infos},
                                  .blocked = {.count = 2, .items = blocked}};
    bytes_clear(&other_bytes);
    encode_job_list_r(&other_bytes, &list);
    CU_ASSERT_EQUAL_FATAL(decode_job_list_r(bytes_slice(&other_bytes), WIRE_VERSION, &jobs), 0);
}

/* One block for a terminal, no wider than it; one line for a log. R5: the reason is there. */
static void progress_is_drawn(void)
{
    struct rec_job_info job;
    setup();
    make_jobs();
    CU_ASSERT_TRUE_FATAL(job_find(&jobs, 17, &job));
    struct progress p = progress_of(&job);
    struct job_view v = {&status, &jobs, &job, &p};
    FILE *out = open_text();
    CU_ASSERT_EQUAL(progress_block(out, &v, 100), 3);
    expect(out, " 43%  \xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2"
                "\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x88\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91"
                "\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91\xe2\x96"
                "\x91\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91  12,982/30,190 chunks  792.0 "
                "GiB/1.7 TiB  412.0 MiB/s  ETA 41m45s\n"
                " in flight 32   shards left 55   blocked 2\n"
                " blocked: 2 shards: no good copy of them is up, waiting for c1\n");
    out = open_text();
    CU_ASSERT_EQUAL(progress_block(out, &v, 20), 3);
    expect(out, " 43%  \xe2\x96\x88\xe2\x96\x88\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91\xe2\x96\x91  "
                "12,982\n"
                " in flight 32   shar\n"
                " blocked: 2 shards: \n");
    out = open_text();
    progress_line(out, &v);
    expect(out,
           "d-17 drain c3  43%  12,982/30,190 chunks  792.0 GiB/1.7 TiB  412.0 MiB/s  ETA "
           "41m45s  in flight 32   shards left 55   blocked 2; blocked: 2 shards: no good copy "
           "of them is up, waiting for c1\n");
    out = open_text();
    blocked_print(out, &v);
    expect(out, "blocked: 2 shards: no good copy of them is up, waiting for c1\n"
                "         start the servers that are down\n");
    finish();
}

/* Scripts rely on these names; a new key may come, none goes. */
static void events_have_fixed_keys(void)
{
    struct rec_job_info job;
    setup();
    make_jobs();
    CU_ASSERT_TRUE_FATAL(job_find(&jobs, 17, &job));
    struct progress p = progress_of(&job);
    struct job_view v = {&status, &jobs, &job, &p};
    json_t *value = progress_json(&v);
    char *line = json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    CU_ASSERT_STRING_EQUAL(
        line, "{\"job\":\"d-17\",\"state\":\"running\",\"percent\":43.8,\"chunks_done\":12982,"
              "\"chunks_left\":17208,\"bytes_done\":850403524608,\"bytes_left\":1082331758592,"
              "\"shards_done\":43,\"shards_left\":55,\"shards_moving\":32,\"shards_blocked\":2,"
              "\"rate\":432013312,\"eta_ms\":2505320}");
    free(line);
    json_decref(value);
    value = blocked_json(&status, &jobs, 17);
    line = json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    CU_ASSERT_STRING_EQUAL(line, "[{\"reason\":\"no_source\",\"shards\":2,\"target\":\"c1\"}]");
    free(line);
    json_decref(value);
    finish();
}

#define TESTS(T)                     \
    T(names_mean_all_disks)          \
    T(disks_are_summed)              \
    T(conditions_have_an_order)      \
    T(words_are_parsed)              \
    T(plan_shows_its_arithmetic)     \
    T(refused_plan_names_what_lacks) \
    T(progress_is_drawn)             \
    T(events_have_fixed_keys)
CU_TestInfo tests_job_text[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
