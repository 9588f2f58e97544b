/* The planner empties targets that an operator drains. */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

static struct leader l;
#define SILENT(...) ((const uint32_t[]){__VA_ARGS__, 0})

static void finish(void)
{
    CU_ASSERT_TRUE(fixture_sound(&l.f));
    leader_release(&l);
}

static void start(unsigned targets, uint32_t shards, unsigned copies)
{
    leader_init(&l, targets, shards, copies);
    l.options.copies_wanted = 1u << copies;
}

static void set_admin(uint32_t target, enum target_admin admin)
{
    leader_set_admin(&l, target, admin);
}

static void pass(const uint32_t *silent, uint32_t finished, unsigned copies)
{
    leader_step(&l, silent, copies, finished);
}

/* All its slots go to others, few at a time, and no shard has a copy fewer at any time (D1, D25).
 */
static void slots_move_away(void)
{
    start(6, 32, 3);
    unsigned steps = 0;
    set_admin(2, TARGET_DRAINING);
    CU_ASSERT_TRUE(cluster_count_slots(&l.f.table, 2).slots > 8);
    while (cluster_count_slots(&l.f.table, 2).slots > 0 && ++steps < 200) {
        unsigned receives[7] = {0};
        pass(NULL, 32, 3);
        CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, 32);
        for (unsigned i = 0; i < l.plan->replacement_count; i++) {
            CU_ASSERT_EQUAL(l.plan->replacements[i].old_target, 2);
            CU_ASSERT_TRUE(++receives[l.plan->replacements[i].new_target] <=
                           l.options.receptions_max);
        }
    }
    CU_ASSERT_TRUE(steps < 200);
    pass(NULL, 0, 3);
    CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    CU_ASSERT_EQUAL(l.plan->blocked_count, 0);
    finish();
}

/* Several at once are one plan: nothing moves from one of them to another. */
static void several_at_once(void)
{
    start(7, 32, 2);
    set_admin(1, TARGET_DRAINING);
    set_admin(2, TARGET_DRAINING);
    for (unsigned i = 0; i < 200; i++) {
        pass(NULL, 32, 2);
        for (unsigned k = 0; k < l.plan->replacement_count; k++)
            CU_ASSERT_TRUE(l.plan->replacements[k].new_target > 2);
    }
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 1).slots, 0);
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 2).slots, 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, 32);
    finish();
}

/* Called off: what is not in sync yet is given up, the rest stays where it is, and nothing more
 * moves. */
static void called_off(void)
{
    start(6, 32, 2);
    set_admin(2, TARGET_DRAINING);
    for (unsigned i = 0; i < 10; i++) /* a new leader waits for a lease's time first */
        pass(NULL, 0, 2);
    struct slot_counts counts = cluster_count_slots(&l.f.table, 2);
    CU_ASSERT_TRUE(counts.moving > 0 && counts.in_sync == counts.slots);
    set_admin(2, TARGET_ACTIVE);
    pass(NULL, 0, 2);
    counts = cluster_count_slots(&l.f.table, 2);
    CU_ASSERT_EQUAL(counts.moving, 0);
    uint32_t slots = counts.slots;
    for (unsigned i = 0; i < 20; i++)
        pass(NULL, 32, 2);
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 2).slots, slots);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, 32);
    finish();
}

/* With too few others nothing moves, and each slot that cannot is counted. */
static void blocked(void)
{
    start(3, 8, 3);
    set_admin(3, TARGET_DRAINING);
    for (unsigned i = 0; i < 10; i++) {
        pass(NULL, 8, 3);
        CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    }
    CU_ASSERT_TRUE(l.plan->blocked_count == 1 && l.plan->blocked[0].target == 3 &&
                   l.plan->blocked[0].slots == 8);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, 8);
    finish();
}

/* One that dies while it is drained is not waited for; its return does no harm. */
static void dies_meanwhile(void)
{
    start(6, 16, 2);
    set_admin(2, TARGET_DRAINING);
    for (unsigned i = 0; i < 12; i++)
        pass(SILENT(2), 0, 2);
    CU_ASSERT_EQUAL(shard_table_target(&l.f.table, 2)->state, TARGET_DOWN);
    for (unsigned i = 0; i < 60; i++)
        pass(SILENT(2), 16, 2);
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 2).slots, 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, 16);
    fixture_register(&l.f, 2, 2);
    CU_ASSERT_EQUAL(shard_table_target(&l.f.table, 2)->admin, TARGET_DRAINING);
    for (unsigned i = 0; i < 20; i++)
        pass(NULL, 16, 2);
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 2).slots, 0);
    finish();
}

/* A table that is formed later leaves it out. */
static void gets_nothing_new(void)
{
    leader_init(&l, 4, 16, 0);
    set_admin(4, TARGET_DRAINING);
    l.options.copies_wanted = 1u << 2;
    pass(NULL, 0, 2);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, 16);
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 4).slots, 0);
    finish();
}

#define TESTS(T)       \
    T(slots_move_away) \
    T(several_at_once) \
    T(called_off)      \
    T(blocked)         \
    T(dies_meanwhile)  \
    T(gets_nothing_new)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_drain = {"cluster/drain", NULL, NULL, NULL, NULL, tests};
