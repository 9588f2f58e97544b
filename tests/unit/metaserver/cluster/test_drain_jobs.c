/* Drains as jobs: pause, rate, and a reason for every slot that cannot move (R5). */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

static struct leader l;
#define SILENT(...) ((const uint32_t[]){__VA_ARGS__, 0})

static void finish(void)
{
    CU_ASSERT_TRUE(fixture_sound(&l.f));
    leader_release(&l);
}

/* `targets` with 16 shards, of which 2 is drained by job 1. */
static void start(unsigned targets, unsigned copies)
{
    leader_init(&l, targets, 16, copies);
    l.options.copies_wanted = 1u << copies;
    leader_set_admin(&l, 2, TARGET_DRAINING);
    l.drains[0] = (struct drain_view){.target = 2, .job = 1};
    l.drain_count = 1;
}

static void set_sizes(uint64_t slot_bytes, uint64_t total, uint64_t used)
{
    for (uint32_t id = 1; id <= l.f.table.target_count; id++) {
        struct target_view *v = &l.views[id - 1];
        v->chunk_bytes = slot_bytes * cluster_count_slots(&l.f.table, id).slots;
        v->bytes_total = total;
        v->bytes_used = used;
    }
}

static struct slot_counts counts_of(uint32_t target)
{
    return cluster_count_slots(&l.f.table, target);
}

/* Paused: what is on its way arrives, nothing more begins, nothing counts as blocked; then it goes
 * on. */
static void paused(void)
{
    start(6, 2);
    leader_settle(&l, 2);
    leader_step(&l, NULL, 2, 0);
    uint32_t moving = counts_of(2).moving, slots = counts_of(2).slots;
    CU_ASSERT_TRUE(moving > 0 && moving < slots);
    l.drains[0].is_paused = true;
    for (unsigned i = 0; i < 10; i++)
        leader_step(&l, NULL, 2, 16);
    CU_ASSERT_EQUAL(counts_of(2).slots, slots - moving);
    CU_ASSERT_TRUE(counts_of(2).moving == 0 && l.plan->blocked_count == 0);
    CU_ASSERT_EQUAL(shard_table_target(&l.f.table, 2)->admin, TARGET_DRAINING);
    l.drains[0].is_paused = false;
    for (unsigned i = 0; i < 60; i++)
        leader_step(&l, NULL, 2, 16);
    CU_ASSERT_EQUAL(counts_of(2).slots, 0);
    finish();
}

/* A rate lets no more begin than it fills in ten seconds, but one; of several targets of a job
 * together. Without a rate the limits of the targets hold. */
static void rate(void)
{
    start(8, 2);
    leader_set_admin(&l, 3, TARGET_DRAINING);
    l.drains[1] = (struct drain_view){.target = 3, .job = 1};
    l.drain_count = 2;
    set_sizes(1000, 0, 0);
    l.options.small_max = 2;
    l.drains[0].rate_max = l.drains[1].rate_max = 50; /* 500 bytes: less than one slot */
    leader_settle(&l, 2);
    leader_step(&l, NULL, 2, 0);
    CU_ASSERT_EQUAL(counts_of(2).moving + counts_of(3).moving, 1);
    l.drains[0].rate_max = l.drains[1].rate_max = 300; /* three slots */
    for (unsigned i = 0; i < 4; i++)
        leader_step(&l, NULL, 2, 0);
    CU_ASSERT_EQUAL(counts_of(2).moving + counts_of(3).moving, 3);
    CU_ASSERT_EQUAL(l.plan->blocked_count, 0); /* it waits its turn */
    l.drains[0].rate_max = l.drains[1].rate_max = 0;
    for (unsigned i = 0; i < 4; i++)
        leader_step(&l, NULL, 2, 0);
    CU_ASSERT_TRUE(counts_of(2).moving + counts_of(3).moving > 3);
    finish();
}

/* D18: while another copy is missing the drained one counts, and stays until there are as many
 * elsewhere; a target that is empty has left every shard whole. */
static void missing_copy_comes_first(void)
{
    uint32_t waits_for = 0, shared = 0;
    enum slot_state state;
    start(6, 2);
    l.options.down_out_ms = 20000;
    for (uint32_t n = 0; n < 16; n++)
        shared += shard_has_member(&l.f.table.shards[2][n], 2, 2, &state) &&
                  shard_has_member(&l.f.table.shards[2][n], 2, 5, &state);
    CU_ASSERT_TRUE(shared > 0);
    for (unsigned i = 0; i < 30; i++) /* 5 is dead, and less than down_out has passed */
        leader_step(&l, SILENT(5), 2, 16);
    CU_ASSERT_EQUAL(counts_of(2).slots, shared);
    CU_ASSERT_EQUAL(leader_blocked(&l, 2, JOB_REPAIR, &waits_for), shared);
    CU_ASSERT_EQUAL(waits_for, 5);
    for (unsigned i = 0; i < 120; i++) {
        leader_step(&l, SILENT(5), 2, 16);
        for (uint32_t n = 0; n < 16; n++)
            if (!shard_has_member(&l.f.table.shards[2][n], 2, 2, &state) &&
                !shard_has_member(&l.f.table.shards[2][n], 2, 5, &state))
                CU_ASSERT_TRUE(l.f.table.shards[2][n].slot[0].state >= SLOT_INSYNC &&
                               l.f.table.shards[2][n].slot[1].state >= SLOT_INSYNC);
    }
    CU_ASSERT_EQUAL(counts_of(2).slots, 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, 16);
    CU_ASSERT_EQUAL(l.plan->blocked_count, 0);
    finish();
}

/* One that returned is made in sync first. */
static void is_repaired_itself(void)
{
    uint32_t waits_for = 0;
    start(6, 2);
    leader_settle(&l, 2);
    CU_ASSERT_EQUAL(fixture_register(&l.f, 2, 2), 0); /* a new process */
    leader_heard(&l, 2);
    leader_plan(&l);
    CU_ASSERT_EQUAL(leader_blocked(&l, 2, JOB_REPAIR, &waits_for), counts_of(2).slots);
    CU_ASSERT_EQUAL(waits_for, 2);
    finish();
}

/* Too few others: whom it waits for, when somebody could come back. */
static void no_target(void)
{
    uint32_t waits_for = 77;
    start(3, 3);
    leader_settle(&l, 3);
    leader_step(&l, NULL, 3, 0);
    CU_ASSERT_EQUAL(leader_blocked(&l, 2, JOB_NO_TARGET, &waits_for), 16);
    CU_ASSERT_EQUAL(waits_for, 0);
    finish();
    start(3, 2);
    leader_set_admin(&l, 3, TARGET_MAINTENANCE);
    leader_settle(&l, 2);
    for (unsigned i = 0; i < 40; i++) /* what can go has gone */
        leader_step(&l, NULL, 2, 16);
    enum slot_state state;
    uint32_t shared = 0;
    for (uint32_t n = 0; n < 16; n++)
        shared += shard_has_member(&l.f.table.shards[2][n], 2, 1, &state) &&
                  shard_has_member(&l.f.table.shards[2][n], 2, 2, &state);
    CU_ASSERT_EQUAL(leader_blocked(&l, 2, JOB_NO_TARGET, &waits_for), shared);
    CU_ASSERT_EQUAL(waits_for, 3);
    finish();
}

/* A full target takes nothing, and one that is as far from the other copies is taken instead. */
static void no_room(void)
{
    start(5, 2);
    set_sizes(10, 1000, 945); /* the reserve begins at 950 */
    leader_settle(&l, 2);
    leader_step(&l, NULL, 2, 0);
    CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    CU_ASSERT_EQUAL(leader_blocked(&l, 2, JOB_NO_ROOM, NULL), counts_of(2).slots);
    l.views[3].bytes_used = 100;
    leader_step(&l, NULL, 2, 0);
    CU_ASSERT_TRUE(l.plan->replacement_count > 0);
    for (unsigned i = 0; i < l.plan->replacement_count; i++)
        CU_ASSERT_EQUAL(l.plan->replacements[i].new_target, 4);
    finish();
}

/* Where all copies are away there is nothing to copy from. */
static void no_source(void)
{
    uint32_t waits_for = 0, shared = 0;
    enum slot_state state;
    start(12, 2);
    for (uint32_t n = 0; n < 16; n++) {
        bool with_two = shard_has_member(&l.f.table.shards[2][n], 2, 2, &state);
        for (uint32_t id = 3; id <= 12 && with_two && shared == 0; id++)
            shared = shard_has_member(&l.f.table.shards[2][n], 2, id, &state) ? id : 0;
    }
    for (unsigned i = 0; i < 20; i++)
        leader_step(&l, SILENT(2, shared), 2, 0);
    CU_ASSERT_FALSE(l.plan->storm);
    CU_ASSERT_TRUE(leader_blocked(&l, 2, JOB_NO_SOURCE, &waits_for) > 0);
    CU_ASSERT_TRUE(waits_for == 2 || waits_for == shared);
    finish();
}

/* D26: nothing moves in a storm, and drains say so. */
static void storm(void)
{
    start(6, 2);
    leader_settle(&l, 2);
    for (unsigned i = 0; i < 12; i++)
        leader_step(&l, SILENT(4, 5, 6), 2, 0);
    CU_ASSERT_TRUE(l.plan->storm && l.plan->replacement_count == 0);
    CU_ASSERT_EQUAL(leader_blocked(&l, 2, JOB_STORM, NULL), counts_of(2).slots);
    finish();
}

/* Shards that are nearly empty go many at a time, large ones few (D25). */
static void pace(void)
{
    static const struct {
        uint64_t slot_bytes, chunk_count;
        unsigned at_a_time;
    } cases[] = {{0, 0, 16},       {1 << 20, 9, 16},   {8 << 20, 9, 8},
                 {64 << 20, 9, 2}, {1ull << 40, 9, 2}, {0, 9, 2}}; /* the last tells no bytes */
    for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++) {
        leader_init(&l, 2, 64, 1); /* all of one go to the other, from one source */
        l.options.copies_wanted = 1u << 1;
        set_sizes(cases[c].slot_bytes, 0, 0);
        l.views[0].chunk_count = l.views[1].chunk_count = cases[c].chunk_count;
        leader_settle(&l, 1);
        leader_set_admin(&l, 2, TARGET_DRAINING);
        leader_step(&l, NULL, 1, 0);
        CU_ASSERT_EQUAL(l.plan->replacement_count, cases[c].at_a_time);
        leader_step(&l, NULL, 1, 0);
        CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
        finish();
    }
}

#define TESTS(T)                \
    T(paused)                   \
    T(rate)                     \
    T(missing_copy_comes_first) \
    T(is_repaired_itself)       \
    T(no_target)                \
    T(no_room)                  \
    T(no_source)                \
    T(storm)                    \
    T(pace)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_drain_jobs = {"cluster/drain_jobs", NULL, NULL, NULL, NULL, tests};
