/* Targets that are removed, row by row (docs/placement.md, "Removing a target"). */
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

/* One that holds nothing goes, up or down; its number is never given out again (D16). */
static void an_empty_one_goes(void)
{
    start(5, 3);
    CU_ASSERT_EQUAL(fixture_remove(&f, 5, 0, false), 0);
    CU_ASSERT_PTR_NULL(shard_table_target(&f.table, 5));
    CU_ASSERT_EQUAL(fixture_register(&f, 6, 1), 0); /* the fixture checks the number */
    fixture_offline(&f, 4, 0, 0);
    CU_ASSERT_EQUAL(fixture_remove(&f, 4, 0, false), 0);
    CU_ASSERT_PTR_NULL(shard_table_target(&f.table, 4));
    CU_ASSERT_EQUAL(fixture_register(&f, 7, 1), 0);
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), 1);
    stop();
}

/* One that holds something stays, and one whose data is not in sync elsewhere yet; data_loss is for
 * those that are down. */
static void what_is_needed_stays(void)
{
    start(4, 3);
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, false), -ERR_REFUSED);
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, true), -ERR_REFUSED);
    CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
    CU_ASSERT_EQUAL(fixture_remove(&f, 4, 0, true), -ERR_REFUSED); /* on its way in */
    fixture_offline(&f, 4, 0, 0);
    CU_ASSERT_EQUAL(fixture_register(&f, 4, 2), 0);
    fixture_offline(&f, 1, 0, 0);
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, false), -ERR_REFUSED);
    CU_ASSERT_TRUE(fixture_replace(&f, 3, 0, 1, 4));
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, false), -ERR_REFUSED); /* 4 has nothing yet */
    CU_ASSERT_TRUE(fixture_synced(&f, 3, 0, 4, 3));
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, false), 0);
    CU_ASSERT_PTR_NULL(shard_table_target(&f.table, 1));
    stop();
}

/* Where other copies are in sync nothing happens but that the slot is free; the target is forgotten
 * with its last slot, and when it comes back it is somebody else (D2). */
static void others_have_everything(void)
{
    start(4, 3);
    fixture_offline(&f, 1, 0, 0);
    uint64_t epoch = fixture_epoch(&f, 3, 0);
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, true), 0);
    EXPECT_SLOTS(&f, 3, 0, "1O 2I 3I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), epoch);
    CU_ASSERT_EQUAL(shard_table_target(&f.table, 1)->state, TARGET_OUT);
    CU_ASSERT_EQUAL(target_ring_weight(shard_table_target(&f.table, 1)), 0);
    CU_ASSERT_TRUE(fixture_sound(&f));
    struct uuid uuid = fixture_uuid(1);
    CU_ASSERT_PTR_NULL(shard_table_target_by_uuid(&f.table, &uuid));
    struct target_registration r = {.uuid = uuid, .incarnation = 9, .weight = 1000};
    uint32_t id;
    CU_ASSERT_EQUAL(shard_table_register(&f.table, ++f.version, &r, &id), 0);
    CU_ASSERT_EQUAL(id, 5);
    EXPECT_SLOTS(&f, 3, 0, "1O 2I 3I");
    CU_ASSERT_FALSE(shard_table_failed(&f.table, ++f.version, 1));
    CU_ASSERT_TRUE(fixture_replace(&f, 3, 0, 1, 4));
    EXPECT_SLOTS(&f, 3, 0, "4S 2I 3I");
    fixture_drop_removed(&f);
    CU_ASSERT_PTR_NULL(shard_table_target(&f.table, 1));
    stop();
}

/* All in-sync ones are down, and not all of them are given up: the rest waits as before. */
static void one_of_those_that_died_together(void)
{
    start(5, 3);
    fixture_offline(&f, 1, 2, 3);
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I");
    CU_ASSERT_EQUAL(fixture_remove(&f, 2, 0, true), 0);
    EXPECT_SLOTS(&f, 3, 0, "1I 2O 3I");
    CU_ASSERT_TRUE(fixture_sound(&f));
    fixture_register(&f, 3, 2);
    EXPECT_SLOTS(&f, 3, 0, "1O 2O 3I");
    stop();
}

/* The last good copy is lost: who was in sync last is the authority, not who stands first, nor who
 * was being filled (D19). */
static void the_latest_copy_is_promoted(void)
{
    start(5, 3);
    fixture_offline(&f, 1, 0, 0);
    fixture_offline(&f, 2, 0, 0);
    fixture_offline(&f, 3, 0, 0);
    EXPECT_SLOTS(&f, 3, 0, "1O 2O 3I");
    fixture_register(&f, 1, 2);
    EXPECT_SLOTS(&f, 3, 0, "1S 2O 3I");
    uint64_t epoch = fixture_epoch(&f, 3, 0);
    CU_ASSERT_EQUAL(fixture_remove(&f, 3, 0, false), -ERR_REFUSED);
    EXPECT_SLOTS(&f, 3, 0, "1S 2O 3I");
    CU_ASSERT_EQUAL(fixture_remove(&f, 3, 0, true), 0);
    EXPECT_SLOTS(&f, 3, 0, "1S 2I 3O");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), epoch + 1);
    CU_ASSERT_TRUE(fixture_sound(&f));
    CU_ASSERT_FALSE(fixture_synced(&f, 3, 0, 1, 2));    /* it is away itself */
    CU_ASSERT_EQUAL(fixture_remove(&f, 2, 0, true), 0); /* and does not come back either */
    EXPECT_SLOTS(&f, 3, 0, "1I 2O 3O");
    CU_ASSERT_TRUE(fixture_replace(&f, 3, 0, 2, 4) && fixture_replace(&f, 3, 0, 3, 5));
    CU_ASSERT_TRUE(fixture_synced(&f, 3, 0, 4, 1) && fixture_synced(&f, 3, 0, 5, 4));
    stop();
}

/* A part is better than nothing, and known to be one: what it lacks is an error (D8). */
static void a_part_is_promoted(void)
{
    start(3, 2);
    fixture_offline(&f, 1, 0, 0);
    CU_ASSERT_TRUE(fixture_replace(&f, 2, 0, 1, 3));
    fixture_offline(&f, 2, 0, 0);
    EXPECT_SLOTS(&f, 2, 0, "3S 2I");
    CU_ASSERT_EQUAL(fixture_remove(&f, 2, 0, true), 0);
    EXPECT_SLOTS(&f, 2, 0, "3I 2O");
    stop();
    start(3, 1); /* one that was on its way in */
    CU_ASSERT_TRUE(fixture_move(&f, 1, 0, 1, 2));
    fixture_offline(&f, 1, 0, 0);
    EXPECT_SLOTS(&f, 1, 0, "1I +2S for 1");
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, true), 0);
    EXPECT_SLOTS(&f, 1, 0, "2I");
    CU_ASSERT_PTR_NULL(shard_table_target(&f.table, 1));
    stop();
}

/* Nobody has anything: others begin anew with one authority, so that no two differ; not onto those
 * that shall be empty, and not at all when there is nobody. */
static void nothing_is_left(void)
{
    start(5, 2);
    fixture_offline(&f, 1, 2, 0);
    fixture_offline(&f, 3, 0, 0);
    CU_ASSERT_EQUAL(shard_table_set_admin(&f.table, ++f.version, 4, TARGET_DRAINING), 0);
    uint64_t epoch = fixture_epoch(&f, 2, 0);
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 2, true), 0);
    EXPECT_SLOTS(&f, 2, 0, "5I 2O");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), epoch + 1);
    CU_ASSERT_PTR_NULL(shard_table_target(&f.table, 1));
    CU_ASSERT_TRUE(fixture_sound(&f));
    fixture_offline(&f, 5, 0, 0);
    CU_ASSERT_EQUAL(fixture_remove(&f, 5, 0, true), -ERR_NO_SPACE);
    EXPECT_SLOTS(&f, 2, 0, "5I 2O");
    fixture_register(&f, 3, 2);
    CU_ASSERT_EQUAL(fixture_remove(&f, 5, 0, true), 0);
    EXPECT_SLOTS(&f, 2, 0, "3I 2O");
    stop();
    start(5, 2);
    fixture_offline(&f, 1, 2, 0);
    CU_ASSERT_EQUAL(fixture_remove(&f, 1, 2, true), 0);
    EXPECT_SLOTS(&f, 2, 0, "3I 4S");
    stop();
}

/* Both ends of a move are in sync, and all are down. */
static void ends_of_a_move(void)
{
    static const struct {
        uint32_t a, b;
        const char *expected;
    } cases[] = {
        {4, 0, "1I 2I 3I"},           {1, 0, "2I 3I 4I"},           {1, 4, "1O 2I 3I"},
        {2, 0, "1L 2O 3I +4I for 1"}, {2, 3, "1L 2O 3O +4I for 1"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(5, 3);
        CU_ASSERT_TRUE(fixture_move(&f, 3, 0, 1, 4));
        CU_ASSERT_TRUE(fixture_synced(&f, 3, 0, 4, 3));
        uint64_t incarnations[4] = {1, 1, 1, 1};
        uint32_t all[4] = {1, 2, 3, 4};
        (void)shard_table_offline(&f.table, ++f.version, all, incarnations, 4);
        CU_ASSERT_EQUAL(fixture_remove(&f, cases[i].a, cases[i].b, true), 0);
        EXPECT_SLOTS(&f, 3, 0, cases[i].expected);
        stop();
    }
}

/* Others are told: a table that has the removed target forgets it with the answer that does not
 * name it any more, not before its slots are elsewhere. */
static void others_forget_it(void)
{
    struct shard_table copy;
    struct bytes body = {0};
    struct msg_shard_table_r m;
    start(4, 3);
    shard_table_init(&copy, 1);
    for (unsigned round = 0; round < 3; round++) {
        bytes_clear(&body);
        shard_table_encode(&f.table, copy.version, &body);
        CU_ASSERT_EQUAL(decode_shard_table_r(bytes_slice(&body), WIRE_VERSION, &m), 0);
        CU_ASSERT_EQUAL(shard_table_update(&copy, &m), 0);
        CU_ASSERT_EQUAL(shard_table_target(&copy, 1) != NULL, round < 2);
        CU_ASSERT_EQUAL(shard_table_check(&copy, NULL), 0);
        if (round == 0) {
            fixture_offline(&f, 1, 0, 0);
            CU_ASSERT_EQUAL(fixture_remove(&f, 1, 0, true), 0);
        } else if (round == 1) {
            CU_ASSERT_TRUE(fixture_replace(&f, 3, 0, 1, 4));
            fixture_drop_removed(&f);
        }
    }
    CU_ASSERT_TRUE(fixture_equal(&f.table, &copy));
    bytes_release(&body);
    shard_table_release(&copy);
    stop();
}

#define TESTS(T)                       \
    T(an_empty_one_goes)               \
    T(what_is_needed_stays)            \
    T(others_have_everything)          \
    T(one_of_those_that_died_together) \
    T(the_latest_copy_is_promoted)     \
    T(a_part_is_promoted)              \
    T(nothing_is_left)                 \
    T(ends_of_a_move)                  \
    T(others_forget_it)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_remove = {"ring/remove", NULL, NULL, NULL, NULL, tests};
