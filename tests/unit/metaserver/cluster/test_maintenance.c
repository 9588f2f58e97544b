/* A server in maintenance may be away: nothing is copied for it, nothing goes to it, nobody is
 * alarmed. */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

static struct leader l;
#define SILENT(...) ((const uint32_t[]){__VA_ARGS__, 0})

enum { SHARDS = 16 };

static void finish(void)
{
    CU_ASSERT_TRUE(fixture_sound(&l.f));
    leader_release(&l);
}

static void start(unsigned targets, unsigned copies)
{
    leader_init(&l, targets, SHARDS, copies);
    l.options.copies_wanted = 1u << copies;
    l.options.down_out_ms = 20000;
    leader_settle(&l, copies);
}

static unsigned replaced(unsigned steps, const uint32_t *silent, unsigned copies)
{
    unsigned count = 0;
    for (unsigned i = 0; i < steps; i++) {
        leader_step(&l, silent, copies, SHARDS);
        count += l.plan->replacement_count;
    }
    return count;
}

/* Its slots stay however long it is away, and are given to others when the maintenance is over. */
static void is_waited_for(void)
{
    start(5, 2);
    leader_set_admin(&l, 2, TARGET_MAINTENANCE);
    CU_ASSERT_EQUAL(replaced(200, SILENT(2), 2), 0); /* five times down_out */
    CU_ASSERT_EQUAL(shard_table_target(&l.f.table, 2)->state, TARGET_DOWN);
    CU_ASSERT_EQUAL(l.plan->blocked_count, 0);
    leader_set_admin(&l, 2, TARGET_ACTIVE);
    CU_ASSERT_TRUE(replaced(60, SILENT(2), 2) > 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, SHARDS);
    finish();
}

/* The last copy of three is copied all the same, and only that. */
static void last_copy_is_copied(void)
{
    uint32_t both = 0;
    enum slot_state state;
    start(12, 3);
    for (uint32_t n = 0; n < SHARDS; n++)
        both += shard_has_member(&l.f.table.shards[3][n], 3, 2, &state) &&
                shard_has_member(&l.f.table.shards[3][n], 3, 3, &state);
    CU_ASSERT_TRUE(both > 0);
    leader_set_admin(&l, 2, TARGET_MAINTENANCE);
    leader_set_admin(&l, 3, TARGET_MAINTENANCE);
    CU_ASSERT_EQUAL(replaced(60, SILENT(2, 3), 3), both);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).last_copy, 0);
    finish();
}

/* A disk that fails meanwhile does not come back: its slots are made anew. */
static void failed_disk(void)
{
    start(5, 2);
    leader_set_admin(&l, 2, TARGET_MAINTENANCE);
    l.views[1].failed = true;
    CU_ASSERT_TRUE(replaced(60, NULL, 2) > 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, SHARDS);
    finish();
}

/* D26: those that were announced are not a storm, and hide none: others that vanish are judged
 * among those that are left. */
static void no_storm(void)
{
    start(6, 2);
    leader_set_admin(&l, 1, TARGET_MAINTENANCE);
    leader_set_admin(&l, 2, TARGET_MAINTENANCE);
    leader_set_admin(&l, 3, TARGET_MAINTENANCE);
    (void)replaced(12, SILENT(1, 2, 3), 2);
    CU_ASSERT_TRUE(!l.plan->storm && l.plan->vanished == 0);
    (void)replaced(12, SILENT(1, 2, 3, 4), 2);
    CU_ASSERT_TRUE(!l.plan->storm && l.plan->vanished == 1);
    (void)replaced(12, SILENT(1, 2, 3, 4, 5), 2); /* two of three */
    CU_ASSERT_TRUE(l.plan->storm && l.plan->vanished == 2);
    finish();
}

/* While it is still there it serves, and receives nothing: neither of a dead target's slots nor of
 * a drained one's. */
static void receives_nothing(void)
{
    start(6, 2);
    leader_set_admin(&l, 2, TARGET_MAINTENANCE);
    uint32_t slots = cluster_count_slots(&l.f.table, 2).slots;
    leader_set_admin(&l, 3, TARGET_DRAINING);
    CU_ASSERT_TRUE(replaced(120, SILENT(4), 2) > 0);
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 2).slots, slots);
    CU_ASSERT_EQUAL(cluster_count_slots(&l.f.table, 3).slots, 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).full, SHARDS);
    finish();
}

#define TESTS(T)           \
    T(is_waited_for)       \
    T(last_copy_is_copied) \
    T(failed_disk)         \
    T(no_storm)            \
    T(receives_nothing)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_maintenance = {"cluster/maintenance", NULL, NULL, NULL, NULL, tests};
