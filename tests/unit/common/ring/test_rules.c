/* The rule table of docs/placement.md, row by row. */
#include "tests/unit/common/ring/shard_fixture.h"

static struct fixture f;

static void start(unsigned targets, unsigned copies)
{
    fixture_init(&f, targets, 1, copies);
    if (copies)
        fixture_order(&f, copies, 0);
}

static void stop(void)
{
    CU_ASSERT_TRUE(fixture_sound(&f));
    fixture_release(&f);
}

/* A lease that ran out takes the target out of the chain while another in-sync one is up. */
static void lost_lease_goes_offline(void)
{
    start(3, 3);
    CU_ASSERT_TRUE(fixture_offline(&f, 1, 0, 0));
    EXPECT_SLOTS(&f, 3, 0, "1O 2I 3I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), 2);
    struct chain_view chain = shard_table_chain(&f.table, 3, 0);
    CU_ASSERT_TRUE(chain.insync_count == 2 && chain.member_count == 2 && chain.member[0] == 2);
    CU_ASSERT_FALSE(fixture_offline(&f, 1, 0, 0));
    stop();
}

/* The last in-sync target keeps its state: a stale copy is never promoted in its place (D19). */
static void last_copy_stays_in_sync(void)
{
    start(2, 2);
    fixture_offline(&f, 1, 0, 0);
    fixture_offline(&f, 2, 0, 0);
    EXPECT_SLOTS(&f, 2, 0, "1O 2I");
    CU_ASSERT_EQUAL(fixture_register(&f, 1, 2), 0);
    EXPECT_SLOTS(&f, 2, 0, "1S 2I"); /* it has to wait for target 2, whose writes it lacks */
    CU_ASSERT_FALSE(fixture_synced(&f, 2, 0, 1, 2));
    CU_ASSERT_EQUAL(fixture_register(&f, 2, 2), 0);
    EXPECT_SLOTS(&f, 2, 0, "1S 2I");
    CU_ASSERT_TRUE(fixture_synced(&f, 2, 0, 1, 2));
    EXPECT_SLOTS(&f, 2, 0, "2I 1I"); /* behind those that were in sync before */
    stop();
}

/* Two that died together both stay; the first to return is the authority, in either order. */
static void first_of_all_to_return_is_the_authority(void)
{
    for (uint32_t first = 1; first <= 2; first++) {
        uint32_t second = 3 - first;
        start(2, 2);
        fixture_offline(&f, 1, 2, 0);
        EXPECT_SLOTS(&f, 2, 0, "1I 2I");
        CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 1);
        fixture_register(&f, first, 2);
        EXPECT_SLOTS(&f, 2, 0, first == 1 ? "1I 2O" : "1O 2I");
        CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 2);
        fixture_register(&f, second, 2);
        EXPECT_SLOTS(&f, 2, 0, first == 1 ? "1I 2S" : "1S 2I");
        CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 3);
        stop();
    }
}

/* The same process that comes back first does not wait for those still away either. */
static void same_process_returns_without_the_others(void)
{
    start(2, 2);
    fixture_offline(&f, 1, 2, 0);
    fixture_register(&f, 2, 1);
    EXPECT_SLOTS(&f, 2, 0, "1O 2I");
    fixture_register(&f, 1, 1);
    EXPECT_SLOTS(&f, 2, 0, "1S 2I");
    stop();
}

/* A restart within the lease is a new process: not in sync while another in-sync one is up (D2). */
static void restart_within_the_lease_resyncs(void)
{
    start(3, 2);
    fixture_register(&f, 1, 2);
    EXPECT_SLOTS(&f, 2, 0, "1S 2I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 2);
    fixture_register(&f, 2, 2); /* now the only one: it stays, with a new epoch */
    EXPECT_SLOTS(&f, 2, 0, "1S 2I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 3);
    fixture_register(&f, 1, 3); /* a report about its predecessor must not count any more */
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 4);
    stop();
}

/* Registering twice changes nothing; an older process than the registered one is refused. */
static void repeated_and_old_registrations(void)
{
    start(2, 2);
    fixture_register(&f, 1, 1);
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 1);
    fixture_register(&f, 1, 5);
    CU_ASSERT_EQUAL(fixture_register(&f, 1, 4), -ERR_STALE);
    CU_ASSERT_EQUAL(shard_table_target(&f.table, 1)->incarnation, 5);
    stop();
}

/* A lease that ran out of a process that has been replaced since does not count. */
static void offline_names_the_process(void)
{
    uint32_t id = 1;
    uint64_t old = 1;
    start(2, 2);
    fixture_register(&f, 1, 2);
    CU_ASSERT_FALSE(shard_table_offline(&f.table, ++f.version, &id, &old, 1));
    CU_ASSERT_EQUAL(shard_table_target(&f.table, 1)->state, TARGET_UP);
    stop();
}

/* The last in-sync one dies while the other resyncs: unavailable, and it is still the source. */
static void source_dies_during_a_resync(void)
{
    start(2, 2);
    fixture_offline(&f, 2, 0, 0);
    fixture_register(&f, 2, 2);
    EXPECT_SLOTS(&f, 2, 0, "1I 2S");
    fixture_offline(&f, 1, 0, 0);
    EXPECT_SLOTS(&f, 2, 0, "1I 2S");
    uint64_t before = fixture_epoch(&f, 2, 0);
    CU_ASSERT_FALSE(fixture_synced(&f, 2, 0, 2, 1)); /* from beyond its lease */
    fixture_offline(&f, 2, 0, 0);
    EXPECT_SLOTS(&f, 2, 0, "1I 2O");
    fixture_register(&f, 2, 3);
    EXPECT_SLOTS(&f, 2, 0, "1I 2S");
    fixture_register(&f, 1, 2);
    EXPECT_SLOTS(&f, 2, 0, "1I 2S");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), before + 3);
    stop();
}

/* SYNCED counts from the source and for this epoch only (D14). */
static void synced_counts_once_and_from_the_source(void)
{
    start(3, 3);
    fixture_offline(&f, 3, 0, 0);
    fixture_register(&f, 3, 2);
    uint64_t epoch = fixture_epoch(&f, 3, 0);
    CU_ASSERT_FALSE(fixture_synced(&f, 3, 0, 3, 1)); /* the source is 2, the last in sync */
    CU_ASSERT_FALSE(fixture_report(&f, 3, 0, epoch - 1, 3, REPORT_SYNCED, 2));
    CU_ASSERT_FALSE(fixture_report(&f, 3, 0, epoch + 1, 3, REPORT_SYNCED, 2));
    CU_ASSERT_FALSE(fixture_report(&f, 3, 0, epoch, 9, REPORT_SYNCED, 2));
    CU_ASSERT_FALSE(fixture_report(&f, 3, 7, epoch, 3, REPORT_SYNCED, 2));
    CU_ASSERT_FALSE(fixture_report(&f, 9, 0, epoch, 3, REPORT_SYNCED, 2));
    CU_ASSERT_FALSE(fixture_report(&f, 3, 0, epoch, 3, (enum shard_report_kind)9, 2));
    CU_ASSERT_TRUE(fixture_report(&f, 3, 0, epoch, 3, REPORT_SYNCED, 2));
    EXPECT_SLOTS(&f, 3, 0, "1I 2I 3I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 3, 0), epoch + 1);
    CU_ASSERT_FALSE(fixture_report(&f, 3, 0, epoch, 3, REPORT_SYNCED, 2));
    stop();
}

/* OUT_OF_SYNC takes a member out for a resync, never the last one, and only one of two that blame
 * each other. */
static void out_of_sync_keeps_one(void)
{
    start(2, 2);
    uint64_t epoch = fixture_epoch(&f, 2, 0);
    CU_ASSERT_TRUE(fixture_report(&f, 2, 0, epoch, 2, REPORT_OUT_OF_SYNC, 1));
    EXPECT_SLOTS(&f, 2, 0, "1I 2S");
    CU_ASSERT_FALSE(fixture_report(&f, 2, 0, epoch, 1, REPORT_OUT_OF_SYNC, 2));
    CU_ASSERT_FALSE(fixture_out_of_sync(&f, 2, 0, 1, 2)); /* its word no longer counts */
    CU_ASSERT_FALSE(fixture_out_of_sync(&f, 2, 0, 1, 1)); /* the last one */
    EXPECT_SLOTS(&f, 2, 0, "1I 2S");
    stop();
}

/* A replaced slot starts SYNCING; never one that is not OFFLINE, twice in a chain, or blind. */
static void replacement(void)
{
    start(4, 2);
    CU_ASSERT_FALSE(fixture_replace(&f, 2, 0, 1, 3)); /* in sync */
    fixture_offline(&f, 1, 0, 0);
    CU_ASSERT_FALSE(fixture_replace(&f, 2, 0, 1, 2)); /* twice in one chain */
    CU_ASSERT_FALSE(fixture_replace(&f, 2, 0, 3, 4)); /* not in the chain */
    fixture_offline(&f, 2, 0, 0);
    CU_ASSERT_FALSE(fixture_replace(&f, 2, 0, 1, 3)); /* nothing to copy from */
    fixture_register(&f, 2, 2);
    fixture_offline(&f, 4, 0, 0);
    CU_ASSERT_FALSE(fixture_replace(&f, 2, 0, 1, 4)); /* down */
    uint64_t epoch = fixture_epoch(&f, 2, 0);
    CU_ASSERT_TRUE(fixture_replace(&f, 2, 0, 1, 3));
    EXPECT_SLOTS(&f, 2, 0, "3S 2I");
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), epoch + 1);
    CU_ASSERT_FALSE(shard_table_replace(&f.table, ++f.version, 2, 0, epoch, 1, 3));
    fixture_register(&f, 1, 2); /* it has no slot any more */
    EXPECT_SLOTS(&f, 2, 0, "3S 2I");
    stop();
}

/* A failed disk leaves as a dead server does and returns only by registering. */
static void failed_disk(void)
{
    start(2, 2);
    CU_ASSERT_TRUE(shard_table_failed(&f.table, ++f.version, 1));
    EXPECT_SLOTS(&f, 2, 0, "1O 2I");
    CU_ASSERT_FALSE(shard_table_failed(&f.table, ++f.version, 1));
    CU_ASSERT_TRUE(shard_table_failed(&f.table, ++f.version, 2));
    EXPECT_SLOTS(&f, 2, 0, "1O 2I");
    fixture_register(&f, 1, 2);
    EXPECT_SLOTS(&f, 2, 0, "1S 2I");
    stop();
}

/* Forming needs enough targets, happens once, and gives every shard distinct ones. */
static void forming(void)
{
    start(2, 0);
    CU_ASSERT_EQUAL(shard_table_form(&f.table, 9, 3), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(shard_table_form(&f.table, 9, 0), -ERR_INVALID);
    CU_ASSERT_EQUAL(shard_table_form(&f.table, 9, COPIES_MAX + 1), -ERR_INVALID);
    CU_ASSERT_PTR_NULL(shard_table_shard(&f.table, 3, 0));
    CU_ASSERT_EQUAL(shard_table_form(&f.table, 9, 2), 0);
    CU_ASSERT_EQUAL(shard_table_form(&f.table, 10, 2), -ERR_EXISTS);
    CU_ASSERT_EQUAL(fixture_epoch(&f, 2, 0), 1);
    CU_ASSERT_EQUAL(shard_table_chain(&f.table, 2, 0).insync_count, 2);
    CU_ASSERT_EQUAL(shard_table_chain(&f.table, 3, 0).member_count, 0);
    stop();
}

#define TESTS(T)                               \
    T(lost_lease_goes_offline)                 \
    T(last_copy_stays_in_sync)                 \
    T(first_of_all_to_return_is_the_authority) \
    T(same_process_returns_without_the_others) \
    T(restart_within_the_lease_resyncs)        \
    T(repeated_and_old_registrations)          \
    T(offline_names_the_process)               \
    T(source_dies_during_a_resync)             \
    T(synced_counts_once_and_from_the_source)  \
    T(out_of_sync_keeps_one)                   \
    T(replacement)                             \
    T(failed_disk)                             \
    T(forming)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_rules = {"ring/rules", NULL, NULL, NULL, NULL, tests};
