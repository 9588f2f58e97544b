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
            .voter = 1, .node = i + 1, .address = slice_str("127.0.0.1:7001"), .up = 1};
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
    status.leader = 3;
    status.checkpoint_error = slice_str("no space left");
    expect_one(HEALTH_ERR, "CHECKPOINT_FAILED  m3: no space left");
}

/* A member's own checkpoint: a failed one is an error with its fix, once for the leader; one that
 * is overdue while entries come is a warning; an idle member and one without any are fine. */
static void checkpoints_of_members(void)
{
    struct msg_meta_member_r said = {.node = 2,
                                     .applied_index = 9,
                                     .checkpoint_index = 5,
                                     .checkpoint_age_ms = 1000,
                                     .checkpoint_every_ms = 600000};
    struct health_report r = {0};
    health_judge_member(&said, false, &r);
    said.checkpoint_age_ms = UINT64_MAX;
    health_judge_member(&said, false, &r);
    said.checkpoint_age_ms = 2 * 600000 + 60001;
    said.checkpoint_index = 9;
    health_judge_member(&said, false, &r);
    CU_ASSERT_EQUAL(r.health, HEALTH_OK);
    said.checkpoint_index = 5;
    health_judge_member(&said, false, &r);
    CU_ASSERT_EQUAL(r.health, HEALTH_WARN);
    CU_ASSERT_EQUAL(r.line_count, 1);
    CU_ASSERT_EQUAL(strncmp(r.lines[0], "CHECKPOINT_OLD  m2", 18), 0);
    said.checkpoint_error = slice_str("no space left");
    health_judge_member(&said, true, &r);
    CU_ASSERT_EQUAL(r.line_count, 1);
    health_judge_member(&said, false, &r);
    CU_ASSERT_EQUAL(r.health, HEALTH_ERR);
    CU_ASSERT_EQUAL(r.line_count, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.lines[1], "no space left"));
    CU_ASSERT_PTR_NOT_NULL(strstr(r.lines[1], "cairn meta checkpoint --node m2"));
}

/* What an operator asked for is no alarm: it is told, and the state stays OK. Somebody else who is
 * away at the same time is one. */
static void orders_are_no_alarm(void)
{
    healthy();
    targets[0].state = TARGET_DOWN;
    targets[0].admin = TARGET_MAINTENANCE;
    targets[0].slots = 5;
    targets[0].admin_left_ms = 27 * 60000;
    status.shards_full = 7;
    status.shards_under = 1;
    struct health_report r = judge();
    CU_ASSERT_EQUAL(r.health, HEALTH_OK);
    CU_ASSERT_EQUAL(r.line_count, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.lines[0], "MAINTENANCE  c1 is away"));
    CU_ASSERT_PTR_NOT_NULL(strstr(r.lines[0], "27m00s"));
    targets[1].state = TARGET_DOWN;
    targets[1].admin = TARGET_ACTIVE;
    CU_ASSERT_EQUAL(judge().health, HEALTH_WARN);
    healthy();
    targets[0].admin = TARGET_DRAINING;
    targets[0].bytes_used = 990;
    CU_ASSERT_EQUAL(judge().health, HEALTH_OK);
    targets[0].slots = 1;
    targets[0].state = TARGET_DOWN;
    expect_one(HEALTH_WARN, "SERVER_DOWN  c1");
    targets[0].slots = 0; /* drained, and switched off */
    CU_ASSERT_EQUAL(judge().line_count, 0);
    targets[0] = targets[1];
}

/* A drain that cannot go on warns, one that does not run does not. */
static void blocked_jobs_warn(void)
{
    struct rec_job_info infos[] = {{.job = 3, .kind = JOB_DRAIN, .state = JOB_PAUSED},
                                   {.job = 2, .kind = JOB_DRAIN, .state = JOB_RUNNING}};
    struct msg_job_list_r jobs, list = {.jobs = {.count = 2, .items = infos}};
    struct health_report report = {0};
    struct bytes bytes = {0};
    healthy();
    for (unsigned i = 0; i < 2; i++)
        infos[i].slots_blocked = 4;
    encode_job_list_r(&bytes, &list);
    CU_ASSERT_EQUAL(decode_job_list_r(bytes_slice(&bytes), WIRE_VERSION, &jobs), 0);
    health_judge_jobs(&status, &jobs, &report);
    CU_ASSERT_EQUAL(report.health, HEALTH_WARN);
    CU_ASSERT_EQUAL(report.line_count, 1);
    CU_ASSERT_EQUAL(strncmp(report.lines[0], "JOB_BLOCKED  d-2 ", 17), 0);
    bytes_release(&bytes);
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

static void lacks_room(unsigned i, uint8_t level, const char *folder)
{
    metas[i].space_level = level;
    metas[i].space_free = 1230ull << 20;
    metas[i].space_place = slice_str(folder);
}

static bool says(const char *text)
{
    struct health_report r = judge();
    return strstr(r.lines[0], text) != NULL;
}

/* R21: a metaserver without room is told before anybody is refused, with what is refused and where
 * to make room; one that nobody heard of is no news. */
static void room_on_metaservers(void)
{
    healthy();
    lacks_room(1, SPACE_UNHEARD, "");
    CU_ASSERT_EQUAL(judge().line_count, 0);
    lacks_room(1, SPACE_LOW, "/var/lib/cairn");
    expect_one(HEALTH_WARN, "META_DISK_LOW  disk low: 1.2 GiB left on m2, the others serve");
    CU_ASSERT_TRUE(says("make room in /var/lib/cairn"));
    status.space_level = SPACE_LOW;
    expect_one(HEALTH_WARN, "META_DISK_LOW  disk low: 1.2 GiB left on m2, no new names are taken");
    lacks_room(1, SPACE_NONE, "/var/lib/cairn");
    status.space_level = SPACE_NONE;
    expect_one(HEALTH_ERR, "META_DISK_FULL  disk full: ");
    CU_ASSERT_TRUE(says("nothing can be changed"));
    lacks_room(1, SPACE_SHORT, "/d");
    CU_ASSERT_TRUE(says("disk nearly full: "));
    lacks_room(1, SPACE_SHORT, "");
    status.space_level = SPACE_SHORT;
    expect_one(HEALTH_ERR, "META_FULL  m2: database_max is nearly reached: 1.2 GiB left");
    lacks_room(1, 17, "/somewhere"); /* of a later version */
    status.space_level = 0;
    CU_ASSERT_EQUAL(judge().line_count, 0);
}

#define TESTS(T)                   \
    T(all_well_is_ok)              \
    T(dead_servers_warn)           \
    T(lost_copies_and_checkpoints) \
    T(orders_are_no_alarm)         \
    T(blocked_jobs_warn)           \
    T(worst_counts)                \
    T(checkpoints_of_members)      \
    T(room_on_metaservers)
CU_TestInfo tests_health[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
