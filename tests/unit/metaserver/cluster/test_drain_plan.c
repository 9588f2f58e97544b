/* The arithmetic before a drain: each check with figures that can be worked out by hand. */
#include <stdio.h>
#include <string.h>

#include "metaserver/cluster/drain_plan.h"
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

static struct leader l;
static struct drain_plan plan;

enum { SHARDS = 16 };

/* Disks of 1000 bytes, `used` on each; what a target holds is 10 bytes and 2 chunks a slot. */
static void start(unsigned targets, unsigned copies, uint64_t used)
{
    leader_init(&l, targets, SHARDS, copies);
    for (uint32_t id = 1; id <= targets; id++) {
        uint32_t slots = cluster_count_slots(&l.f.table, id).slots;
        l.views[id - 1].bytes_total = 1000;
        l.views[id - 1].bytes_used = used;
        l.views[id - 1].chunk_bytes = slots * 10;
        l.views[id - 1].chunk_count = slots * 2;
    }
}

static void finish(void)
{
    CU_ASSERT_TRUE(fixture_sound(&l.f));
    leader_release(&l);
}

#define SET(...) ((const uint32_t[]){__VA_ARGS__, 0})

static struct cluster_view view(void)
{
    return (struct cluster_view){.table = &l.f.table,
                                 .targets = l.views,
                                 .target_count = LEADER_TARGETS_MAX,
                                 .now_ms = l.now_ms,
                                 .leader_since_ms = l.since_ms};
}

static void make(const uint32_t *targets, unsigned copies)
{
    struct cluster_view v = view();
    unsigned count = 0;
    while (targets[count])
        count++;
    drain_plan_make(&v, targets, count, copies, &plan);
}

static const struct rec_job_check *check_of(enum job_check_kind kind, unsigned copies)
{
    static const struct rec_job_check none = {.need = 111, .have = 222};
    for (unsigned i = 0; i < plan.check_count; i++)
        if (plan.checks[i].check == kind && (copies == 0 || plan.checks[i].copies == copies))
            return &plan.checks[i];
    return &none;
}

#define EXPECT(kind, copies, need_, have_, good)                                                   \
    do {                                                                                           \
        const struct rec_job_check *c_ = check_of(JOB_CHECK_##kind, copies);                       \
        if (c_->need != (need_) || c_->have != (have_) || c_->is_good != (good))                   \
            (void)printf("# %s: need %llu have %llu good %u\n", #kind,                             \
                         (unsigned long long)c_->need, (unsigned long long)c_->have, c_->is_good); \
        CU_ASSERT_TRUE(c_->need == (need_) && c_->have == (have_) && c_->is_good == (good));       \
    } while (0)

/* 5 targets, 16 shards of 2 copies: all that one holds goes to the four others. */
static void one_of_five(void)
{
    start(5, 2, 100);
    uint32_t slots = cluster_count_slots(&l.f.table, 2).slots;
    make(SET(2), 2);
    CU_ASSERT_TRUE(plan.is_good && slots > 0);
    CU_ASSERT_EQUAL(plan.load.slots, slots);
    CU_ASSERT_EQUAL(plan.load.bytes, slots * 10);
    CU_ASSERT_EQUAL(plan.load.chunks, slots * 2);
    CU_ASSERT_EQUAL(plan.load.moving, 0);
    EXPECT(SPACE, 0, slots * 10, 4 * (950 - 100), 1);
    EXPECT(SERVERS, 0, 2, 4, 1);
    EXPECT(COPIES, 2, 2, 4, 1);
    EXPECT(LAST_COPY, 0, 0, 0, 1);
    EXPECT(ZONES, 0, 111, 222, 0); /* none are told: no such line */
    /* The fullest takes a quarter of them, or one more for what may stand where. */
    const struct rec_job_check *fullest = check_of(JOB_CHECK_FULLEST, 0);
    CU_ASSERT_EQUAL(fullest->have, 950);
    CU_ASSERT_TRUE(fullest->need >= 100 + (slots + 3) / 4 * 10 && fullest->need <= 100 + 40);
    CU_ASSERT_TRUE(fullest->target != 2 && fullest->target != 0);
    finish();
}

/* Several targets are one plan: what one of them has free is not counted for the other (R7). */
static void two_of_five(void)
{
    start(5, 2, 100);
    uint32_t slots =
        cluster_count_slots(&l.f.table, 2).slots + cluster_count_slots(&l.f.table, 3).slots;
    make(SET(3, 2), 2);
    CU_ASSERT_TRUE(plan.is_good);
    CU_ASSERT_EQUAL(plan.load.slots, slots);
    EXPECT(SPACE, 0, slots * 10, 3 * 850, 1);
    EXPECT(SERVERS, 0, 2, 3, 1);
    finish();
}

/* Begun one after the other they are reckoned together all the same: what the first one brings
 * takes room, and the second is refused where both do not fit. */
static void another_drain(void)
{
    start(4, 1, 100);
    uint64_t first = 0, slots = cluster_count_slots(&l.f.table, 1).slots;
    l.views[0].chunk_bytes = slots * 60;
    l.views[0].bytes_used = 60 * slots;
    first = slots * 60;
    CU_ASSERT_EQUAL(shard_table_set_admin(&l.f.table, ++l.f.version, 1, TARGET_DRAINING), 0);
    make(SET(2), 1);
    EXPECT(SPACE, 0, cluster_count_slots(&l.f.table, 2).slots * 10, 2 * 850 - first, 1);
    EXPECT(SERVERS, 0, 1, 2, 1);
    l.views[2].bytes_used = l.views[3].bytes_used = 950 - 10 - first / 2;
    make(SET(2), 1);
    CU_ASSERT_FALSE(plan.is_good);
    finish();
}

/* Too few bytes are free above the reserve: 2 targets with 20 each for all that the third has. */
static void too_full(void)
{
    start(3, 1, 930);
    l.views[0].chunk_bytes = 640;
    uint32_t slots = cluster_count_slots(&l.f.table, 1).slots;
    uint64_t slot = 640 / slots;
    make(SET(1), 1);
    CU_ASSERT_FALSE(plan.is_good);
    EXPECT(SPACE, 0, 640, 2 * 20, 0);
    const struct rec_job_check *fullest = check_of(JOB_CHECK_FULLEST, 0);
    CU_ASSERT_TRUE(!fullest->is_good && fullest->have == 950);
    CU_ASSERT_EQUAL(fullest->need, 930 + slot * ((slots + 1) / 2));
    finish();
}

/* Of three targets with two copies each shard's slot has one place only; where that is full the
 * room of the other is of no use. */
static void room_at_the_wrong_place(void)
{
    start(3, 2, 100);
    l.views[2].bytes_used = 945; /* 5 are left, a slot has 10 */
    uint32_t must = 0, slots = cluster_count_slots(&l.f.table, 1).slots;
    enum slot_state state;
    for (uint32_t n = 0; n < SHARDS; n++) /* those that 1 shares with 2 can only go to 3 */
        must += shard_has_member(&l.f.table.shards[2][n], 2, 1, &state) &&
                shard_has_member(&l.f.table.shards[2][n], 2, 2, &state);
    CU_ASSERT_TRUE(must > 0);
    make(SET(1), 2);
    EXPECT(SPACE, 0, slots * 10, (slots - must) * 10, 0);
    EXPECT(FULLEST, 0, 945 + must * 10, 950, 0);
    CU_ASSERT_EQUAL(check_of(JOB_CHECK_FULLEST, 0)->target, 3);
    finish();
}

/* One that is too full today and receives nothing is no reason against it. */
static void full_already(void)
{
    start(4, 1, 100);
    l.views[3].bytes_used = 990;
    make(SET(1), 1);
    CU_ASSERT_TRUE(plan.is_good);
    CU_ASSERT_NOT_EQUAL(check_of(JOB_CHECK_FULLEST, 0)->target, 4);
    /* With nothing to move the fullest of those that stay is told, and may be so full. */
    leader_release(&l);
    start(3, 0, 100);
    l.views[1].bytes_used = 990;
    make(SET(1), 1);
    CU_ASSERT_TRUE(plan.is_good);
    EXPECT(SPACE, 0, 0, 850, 1);
    EXPECT(FULLEST, 0, 990, 990, 1);
    finish();
}

/* Every table that is formed counts, not only that of new files. */
static void too_few_for_a_table(void)
{
    start(4, 2, 100);
    CU_ASSERT_EQUAL(shard_table_form(&l.f.table, ++l.f.version, 4), 0);
    make(SET(1), 2);
    CU_ASSERT_FALSE(plan.is_good);
    EXPECT(SERVERS, 0, 2, 3, 1);
    EXPECT(COPIES, 2, 2, 3, 1);
    EXPECT(COPIES, 4, 4, 3, 0);
    finish();
}

/* One that is down cannot take part, one in maintenance returns; neither receives. */
static void who_stays(void)
{
    start(5, 2, 100);
    CU_ASSERT_EQUAL(shard_table_set_admin(&l.f.table, ++l.f.version, 4, TARGET_MAINTENANCE), 0);
    CU_ASSERT_EQUAL(shard_table_set_admin(&l.f.table, ++l.f.version, 5, TARGET_DRAINING), 0);
    l.views[4].chunk_bytes = 0; /* drained nearly empty */
    CU_ASSERT_TRUE(fixture_offline(&l.f, 4, 0, 0));
    make(SET(1), 2);
    EXPECT(SERVERS, 0, 2, 3, 1);                   /* 2, 3, 4 */
    EXPECT(SPACE, 0, plan.load.bytes, 2 * 850, 1); /* 2, 3 */
    CU_ASSERT_TRUE(fixture_offline(&l.f, 3, 0, 0));
    make(SET(1), 2);
    EXPECT(SERVERS, 0, 2, 2, 1); /* 2, 4 */
    /* What 1 shares with 2 has nowhere to go before 4 returns. */
    uint32_t shared = 0;
    enum slot_state state;
    for (uint32_t n = 0; n < SHARDS; n++)
        shared += shard_has_member(&l.f.table.shards[2][n], 2, 1, &state) &&
                  shard_has_member(&l.f.table.shards[2][n], 2, 2, &state);
    EXPECT(SPACE, 0, plan.load.bytes, plan.load.bytes - shared * 10, 0);
    finish();
}

static void on_host(uint32_t target, const char *host)
{
    (void)strncpy(l.f.table.targets[target - 1].host, host, TARGET_TEXT_MAX - 1);
}

/* Where hosts are too few already, targets count. */
static void fewer_hosts_than_copies(void)
{
    start(4, 2, 100);
    for (uint32_t id = 1; id <= 4; id++)
        on_host(id, "one");
    make(SET(1), 2);
    EXPECT(SERVERS, 0, 2, 3, 1);
    on_host(1, "two"); /* with it goes the only other host */
    make(SET(1), 2);
    EXPECT(SERVERS, 0, 2, 1, 0);
    CU_ASSERT_FALSE(plan.is_good);
    finish();
}

static void zones(void)
{
    static const char *const hosts[] = {"a/r/1", "a/r/2", "b/r/3", "b/r/4", "c/r/5"};
    start(5, 3, 100);
    for (uint32_t id = 1; id <= 5; id++)
        on_host(id, hosts[id - 1]);
    make(SET(1), 3);
    EXPECT(ZONES, 0, 3, 3, 1);
    make(SET(5), 3);
    EXPECT(ZONES, 0, 3, 2, 0);
    CU_ASSERT_FALSE(plan.is_good);
    make(SET(1, 3), 3); /* one of each */
    EXPECT(ZONES, 0, 3, 3, 1);
    finish();
    start(5, 2, 100); /* two copies need no third zone */
    for (uint32_t id = 1; id <= 5; id++)
        on_host(id, hosts[id - 1]);
    make(SET(5), 2);
    EXPECT(ZONES, 0, 2, 2, 1);
    finish();
}

/* What only a dead target has cannot be copied; where another one has it too it can (D19). */
static void last_copy(void)
{
    start(4, 2, 100);
    uint32_t shared = 0, slots = 0;
    enum slot_state state;
    CU_ASSERT_TRUE(
        fixture_offline(&l.f, 1, 2, 0)); /* together: both stay in sync of what they share */
    for (uint32_t n = 0; n < SHARDS; n++) {
        bool one = shard_has_member(&l.f.table.shards[2][n], 2, 1, &state);
        slots += one;
        shared += one && shard_has_member(&l.f.table.shards[2][n], 2, 2, &state);
    }
    CU_ASSERT_TRUE(shared > 0 && slots > shared);
    make(SET(1), 2);
    EXPECT(LAST_COPY, 0, 0, 0, 1); /* 2 may return with them */
    CU_ASSERT_EQUAL(plan.load.slots, slots);
    make(SET(1, 2), 2);
    EXPECT(LAST_COPY, 0, shared, 0, 0);
    CU_ASSERT_FALSE(plan.is_good);
    /* Of targets that are away nothing is known: as much as the others' slots hold. */
    CU_ASSERT_EQUAL(plan.load.bytes, plan.load.slots * 10);
    CU_ASSERT_EQUAL(plan.load.chunks, plan.load.slots * 2);
    finish();
}

/* What is on its way counts as there until it is gone, and its new place as taken. */
static void under_way(void)
{
    start(4, 2, 100);
    struct drain_load load;
    enum slot_state state;
    uint32_t n = 0, to = 0;
    while (!shard_has_member(&l.f.table.shards[2][n], 2, 1, &state))
        n++;
    while (shard_has_member(&l.f.table.shards[2][n], 2, ++to, &state))
        ;
    uint32_t slots = cluster_count_slots(&l.f.table, 1).slots;
    CU_ASSERT_TRUE(fixture_move(&l.f, 2, n, 1, to));
    struct cluster_view v = view();
    drain_load(&v, SET(1), 1, &load);
    CU_ASSERT_TRUE(load.slots == slots && load.moving == 1 && load.bytes == slots * 10);
    make(SET(1), 2);
    CU_ASSERT_TRUE(plan.is_good && plan.load.moving == 1);
    leader_finish(&l, 2, n); /* in sync */
    leader_finish(&l, 2, n); /* left */
    drain_load(&v, SET(1), 1, &load);
    CU_ASSERT_TRUE(load.slots == slots - 1 && load.moving == 0);
    drain_load(&v, SET(77), 1, &load); /* nobody has heard of it */
    CU_ASSERT_TRUE(load.slots == 0 && load.bytes == 0);
    finish();
}

#define TESTS(T)               \
    T(one_of_five)             \
    T(two_of_five)             \
    T(another_drain)           \
    T(too_full)                \
    T(room_at_the_wrong_place) \
    T(full_already)            \
    T(too_few_for_a_table)     \
    T(who_stays)               \
    T(fewer_hosts_than_copies) \
    T(zones)                   \
    T(last_copy)               \
    T(under_way)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_drain_plan = {"cluster/drain_plan", NULL, NULL, NULL, NULL, tests};
