/* Moves of slots between targets that are well, row by row (docs/placement.md, "Moving a slot"). */
#include "tests/unit/common/ring/shard_fixture.h"

static struct fixture f;

static void start(unsigned targets, unsigned copies)
{
    fixture_init(&f, targets, 1, copies);
    fixture_order(&f, copies, 0);
}

static void stop(void)
{
    CU_ASSERT_TRUE(fixture_sound(&f));
    fixture_release(&f);
}

/* To the point where the incoming target 4 has everything and 1 is asked to leave. */
static void start_leaving(void)
{
    start(5, 3);
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    CU_ASSERT_TRUE(fixture_synced(&f, 3, 0, 4, 3));
    EXPECT_SLOTS(&f, 3, 0, "1L 2I 3I +4I for 1");
}

/* Filled beside the slot, then one member more, then in its place at the end of the chain. */
static void a_slot_moves(void)
{
    start(5, 3);
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I +4S for 1");
    struct chain_view chain = shard_table_chain(&f.table, 3, 0);
    CU_ASSERT_TRUE(chain.insync_count == 3 && chain.member_count == 4 && chain.member[3] == 4);
    CU_ASSERT_FALSE(fixture_synced(&f, 3, 0, 4, 2)); /* the source is the last one in sync */
    CU_ASSERT_TRUE(fixture_synced(&f, 3, 0, 4, 3));
    EXPECT_SLOTS(&f, 3, 0, "1L 2I 3I +4I for 1");
    chain = shard_table_chain(&f.table, 3, 0);
    CU_ASSERT_TRUE(chain.insync_count == 4 && chain.member_count == 4 && chain.leaving == 1);
    CU_ASSERT_TRUE(chain.member[0] == 1 && chain.member[3] == 4); /* nobody overtakes anybody */
    CU_ASSERT_TRUE(fixture_sound(&f));
    CU_ASSERT_FALSE(fixture_report(&f, 3, 0, fixture_epoch(&f, 3, 0), 1, REPORT_LEFT, 2));
    CU_ASSERT_FALSE(fixture_report(&f, 3, 0, fixture_epoch(&f, 3, 0) - 1, 1, REPORT_LEFT, 1));
    CU_ASSERT_TRUE(fixture_left(&f, 3, 0, 1));
    EXPECT_SLOTS(&f, 3, 0, "2I 3I 4I -1");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), 4);
    fixture_offline(&f, 5, 0, 0);
    EXPECT_SLOTS(&f, 3, 0, "2I 3I 4I -1"); /* no change of this shard */
    CU_ASSERT_TRUE(fixture_out_of_sync(&f, 3, 0, 2, 3));
    EXPECT_SLOTS(&f, 3, 0, "2S 3I 4I"); /* forgotten with the next one */
    stop();
}

static void what_cannot_move(void)
{
    start(5, 3);
    CU_ASSERT_FALSE(fixture_move(&f, 3, 0, 4, 5)); /* no slot */
    CU_ASSERT_FALSE(fixture_move(&f, 3, 0, 1, 2)); /* has one */
    CU_ASSERT_FALSE(fixture_move(&f, 3, 0, 1, 9)); /* nobody */
    fixture_offline(&f, 5, 0, 0);
    CU_ASSERT_FALSE(fixture_move(&f, 3, 0, 1, 5)); /* down */
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    CU_ASSERT_FALSE(fixture_move(&f, 3, 0, 2, 4)); /* one at a time */
    CU_ASSERT_FALSE(fixture_replace(&f, 3, 0, 2, 4));
    fixture_out_of_sync(&f, 3, 0, 2, 3);
    CU_ASSERT_TRUE(fixture_move_cancel(&f, 3, 0));
    CU_ASSERT_FALSE(fixture_move(&f, 3, 0, 2, 4)); /* not in sync */
    CU_ASSERT_FALSE(fixture_move_cancel(&f, 3, 0));
    stop();
}

static void given_up(void)
{
    start(5, 3);
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 2, 4));
    CU_ASSERT_TRUE(fixture_move_cancel(&f, 3, 0));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), 3);
    stop();
    start_leaving();
    CU_ASSERT_FALSE(fixture_move_cancel(&f, 3, 0)); /* too late; it ends by itself */
    stop();
}

/* The incoming target dies: while it is filled nothing is lost but time, later the slot stays. */
static void incoming_dies(void)
{
    start(5, 3);
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    CU_ASSERT_TRUE(fixture_offline(&f, 4, 0, 0));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I");
    stop();
    start_leaving();
    CU_ASSERT_TRUE(fixture_offline(&f, 4, 0, 0));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I");
    stop();
    start_leaving();
    CU_ASSERT_TRUE(shard_table_failed(&f.table, ++f.version, 4));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I");
    stop();
    start_leaving(); /* a new process has to be filled again */
    fixture_register(&f, 4, 2);
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I +4S for 1");
    fixture_register(&f, 4, 3);
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I +4S for 1");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), 5);
    stop();
    start_leaving(); /* it does not keep up */
    CU_ASSERT_TRUE(fixture_out_of_sync(&f, 3, 0, 4, 3));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I +4S for 1");
    stop();
}

/* The outgoing target dies: its slot goes to the incoming one at once. */
static void outgoing_dies(void)
{
    start(5, 3);
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    CU_ASSERT_TRUE(fixture_offline(&f, 1, 0, 0));
    EXPECT_SLOTS(&f, 3, 0, "4S 2I 3I");
    stop();
    start_leaving();
    CU_ASSERT_TRUE(fixture_offline(&f, 1, 0, 0));
    EXPECT_SLOTS(&f, 3, 0, "2I 3I 4I");
    stop();
    start_leaving();
    fixture_register(&f, 1, 2);
    EXPECT_SLOTS(&f, 3, 0, "2I 3I 4I");
    stop();
    start_leaving(); /* without its own word those who stay must fence it: no "-1" */
    CU_ASSERT_TRUE(fixture_out_of_sync(&f, 3, 0, 1, 4));
    EXPECT_SLOTS(&f, 3, 0, "2I 3I 4I");
    stop();
    start(5, 3);
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    fixture_register(&f, 1, 2);
    EXPECT_SLOTS(&f, 3, 0, "4S 2I 3I");
    stop();
    start_leaving(); /* both at once */
    CU_ASSERT_TRUE(fixture_offline(&f, 1, 4, 0));
    EXPECT_SLOTS(&f, 3, 0, "1O 2I 3I");
    stop();
}

/* All are gone: whoever was in sync may come back first, the incoming one, too (D19). */
static void all_die(void)
{
    static const char *const expected[] = {
        NULL, "1I 2O 3O", "1O 2I 3O", "1O 2O 3I", "2O 3O 4I",
    };
    for (uint32_t first = 1; first <= 4; first++) {
        start_leaving();
        uint64_t incarnations[4] = {1, 1, 1, 1};
        uint32_t all[4] = {1, 2, 3, 4};
        (void)shard_table_offline(&f.table, ++f.version, all, incarnations, 4);
        CU_ASSERT_TRUE(fixture_sound(&f));
        CU_ASSERT_EQUAL(shard_table_chain(&f.table, 3, 0).insync_count, 4);
        fixture_register(&f, first, 2);
        EXPECT_SLOTS(&f, 3, 0, expected[first]);
        stop();
    }
}

/* Another one goes: the incoming target is worth more as its copy than for an empty target, and
 * nobody leaves a shard that lacks a copy (D18). */
static void nobody_leaves_a_shard_that_lacks_a_copy(void)
{
    start_leaving();
    CU_ASSERT_TRUE(fixture_offline(&f, 2, 0, 0));
    EXPECT_SLOTS(&f, 3, 0, "1I 3I 4I");
    CU_ASSERT_FALSE(fixture_left(&f, 3, 0, 1)); /* said before it knew */
    stop();
    start(5, 3); /* it went while the incoming one was filled */
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    fixture_offline(&f, 2, 0, 0);
    EXPECT_SLOTS(&f, 3, 0, "1I 2O 3I +4S for 1");
    CU_ASSERT_TRUE(fixture_synced(&f, 3, 0, 4, 3));
    EXPECT_SLOTS(&f, 3, 0, "1I 3I 4I");
    stop();
    start_leaving(); /* it comes as a new process: they change places, nothing is filled in vain */
    fixture_register(&f, 2, 2);
    EXPECT_SLOTS(&f, 3, 0, "1I 3I 4I +2S for 1");
    CU_ASSERT_TRUE(fixture_synced(&f, 3, 0, 2, 4));
    EXPECT_SLOTS(&f, 3, 0, "1L 3I 4I +2I for 1");
    CU_ASSERT_TRUE(fixture_left(&f, 3, 0, 1));
    EXPECT_SLOTS(&f, 3, 0, "3I 4I 2I -1");
    stop();
    start_leaving();
    CU_ASSERT_TRUE(fixture_out_of_sync(&f, 3, 0, 3, 2));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 4I +3S for 1");
    stop();
}

/* A single copy moves, too, and is never without a good one (D1). */
static void the_only_copy_moves(void)
{
    start(3, 1);
    CU_ASSERT_TRUE(fixture_move(&f, 1, 0, 1, 2));
    CU_ASSERT_FALSE(fixture_out_of_sync(&f, 1, 0, 1, 1));
    fixture_offline(&f, 1, 0, 0);
    EXPECT_SLOTS(&f, 1, 0, "1I +2S for 1"); /* out of reach, and nobody else has it */
    CU_ASSERT_TRUE(fixture_sound(&f));
    fixture_register(&f, 1, 2);
    EXPECT_SLOTS(&f, 1, 0, "1I +2S for 1");
    CU_ASSERT_TRUE(fixture_synced(&f, 1, 0, 2, 1));
    EXPECT_SLOTS(&f, 1, 0, "1L +2I for 1");
    CU_ASSERT_TRUE(fixture_left(&f, 1, 0, 1));
    EXPECT_SLOTS(&f, 1, 0, "2I -1");
    stop();
}

#define TESTS(T)                               \
    T(a_slot_moves)                            \
    T(what_cannot_move)                        \
    T(given_up)                                \
    T(incoming_dies)                           \
    T(outgoing_dies)                           \
    T(all_die)                                 \
    T(nobody_leaves_a_shard_that_lacks_a_copy) \
    T(the_only_copy_moves)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_move = {"ring/move", NULL, NULL, NULL, NULL, tests};
