/* The planner, scenario by scenario. */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

static struct leader l;
#define SILENT(...) ((const uint32_t[]){__VA_ARGS__, 0})

static void finish(void)
{
    CU_ASSERT_TRUE(fixture_sound(&l.f));
    leader_release(&l);
}

/* Passes the time in steps of one heartbeat, carrying out what is planned. */
static void run(uint64_t ms, const uint32_t *silent)
{
    for (uint64_t end = l.now_ms + ms; l.now_ms < end;) {
        leader_pass(&l, 500, silent);
        leader_plan(&l);
        leader_apply(&l);
    }
}

/* A table is formed once enough targets are up, each wanted number of copies once. */
static void forms_tables(void)
{
    leader_init(&l, 3, 16, 0);
    l.options.initial_targets = 4;
    l.options.copies_wanted = 1u << 2 | 1u << 3;
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->form_copies, 0);
    l.options.initial_targets = 3;
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->form_copies, 2);
    leader_apply(&l);
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->form_copies, 3);
    leader_apply(&l);
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->form_copies, 0);
    finish();
}

/* Never more copies than targets, and nobody counts whom the leader has not heard. */
static void does_not_form_with_too_few(void)
{
    leader_init(&l, 2, 16, 0);
    l.options.copies_wanted = 1u << 3;
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->form_copies, 0);
    l.options.copies_wanted = 1u << 2;
    l.views[1].heard = false;
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->form_copies, 0);
    finish();
}

/* A target is dead one lease and the margin after it was last heard, not a millisecond earlier. */
static void lease_must_run_out(void)
{
    leader_init(&l, 3, 16, 2);
    leader_pass(&l, 3499, SILENT(2));
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 0);
    CU_ASSERT_EQUAL(l.plan->wake_at_ms, l.now_ms + 1);
    leader_pass(&l, 1, SILENT(2));
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 1);
    CU_ASSERT_TRUE(leader_gives_up(&l, 2));
    leader_apply(&l);
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 0);
    finish();
}

/* A new leader gives everyone a lease's time: the one before it may have granted one (D26). */
static void new_leader_waits_one_lease(void)
{
    leader_init(&l, 3, 16, 2);
    for (unsigned i = 0; i < 3; i++)
        l.views[i].heard = false;
    l.now_ms += 500000;
    l.since_ms = l.now_ms;
    l.now_ms += 3499;
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 0);
    l.now_ms += 1;
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 3);
    finish();
}

/* Two that died within one heartbeat are declared dead together, so both copies stay good. */
static void those_that_die_together_stay_together(void)
{
    leader_init(&l, 2, 1, 2);
    leader_pass(&l, 400, SILENT(1)); /* target 2 is heard 400 ms later, then both are gone */
    leader_pass(&l, 3100, SILENT(1, 2));
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 0);
    leader_pass(&l, 400, SILENT(1, 2));
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 2);
    leader_apply(&l);
    CU_ASSERT_EQUAL(shard_table_chain(&l.f.table, 2, 0).insync_count, 2);
    finish();
}

/* The wait for a suspect ends when it is heard, and in any case after one more lease. */
static void waiting_for_a_suspect_ends(void)
{
    leader_init(&l, 2, 1, 2);
    leader_pass(&l, 2000, SILENT(1));
    leader_pass(&l, 1500, SILENT(1, 2));
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 0); /* 2 is silent for 1,500 ms */
    leader_heard(&l, 2);
    leader_plan(&l);
    CU_ASSERT_TRUE(l.plan->offline_count == 1 && leader_gives_up(&l, 1));
    leader_pass(&l, 2999, SILENT(1, 2));
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->offline_count, 0);
    leader_pass(&l, 1, SILENT(1, 2));
    leader_plan(&l);
    CU_ASSERT_TRUE(l.plan->offline_count == 1 && leader_gives_up(&l, 1));
    finish();
}

/* With two copies a missing one is waited for: a restart must not copy a whole server. */
static void two_copies_wait_for_down_out(void)
{
    leader_init(&l, 4, 32, 2);
    run(590000, SILENT(3));
    CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    CU_ASSERT_TRUE(cluster_summarize(&l.f.table).last_copy > 0);
    leader_pass(&l, 10000, SILENT(3));
    leader_plan(&l);
    CU_ASSERT_TRUE(l.plan->replacement_count > 0);
    finish();
}

/* With three copies and one left the next one is made at once; with two left it waits. */
static void last_of_three_copies_is_copied_at_once(void)
{
    leader_init(&l, 8, 1, 3);
    fixture_order(&l.f, 3, 0);
    run(5000, SILENT(1));
    CU_ASSERT_EQUAL(shard_table_chain(&l.f.table, 3, 0).insync_count, 2);
    CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    leader_pass(&l, 3500, SILENT(1, 2));
    leader_plan(&l);
    leader_apply(&l);
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->replacement_count, 1);
    CU_ASSERT_TRUE(l.plan->replacements[0].new_target >= 4);
    leader_apply(&l);
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->replacement_count, 1); /* the other slot, under the new epoch */
    finish();
}

/* A failed disk does not come back: its slots are replaced at once. */
static void failed_disk_is_replaced_at_once(void)
{
    leader_init(&l, 4, 32, 2);
    leader_pass(&l, 4000, NULL);
    l.views[1].failed = true;
    leader_plan(&l);
    CU_ASSERT_TRUE(l.plan->failed_count == 1 && l.plan->failed[0] == 2);
    leader_apply(&l);
    leader_plan(&l);
    CU_ASSERT_EQUAL(l.plan->failed_count, 0);
    CU_ASSERT_TRUE(l.plan->replacement_count > 0);
    for (unsigned i = 0; i < l.plan->replacement_count; i++)
        CU_ASSERT_EQUAL(l.plan->replacements[i].old_target, 2);
    finish();
}

/* When more than a third vanish at once nothing is copied until they return, or until an operator
 * says that they will not (D26). */
static void storm_brake(void)
{
    leader_init(&l, 9, 32, 3);
    run(700000, SILENT(1, 2, 3, 4));
    CU_ASSERT_TRUE(l.plan->storm);
    CU_ASSERT_EQUAL(l.plan->vanished, 4);
    CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    uint64_t replaced = 0;
    for (uint32_t shard = 0; shard < 32; shard++)
        for (unsigned i = 0; i < 3; i++)
            replaced += shard_table_shard(&l.f.table, 3, shard)->slot[i].state == SLOT_SYNCING;
    CU_ASSERT_EQUAL(replaced, 0);
    l.options.ignore_storm = true;
    leader_plan(&l);
    CU_ASSERT_TRUE(l.plan->replacement_count > 0);
    l.options.ignore_storm = false;
    fixture_register(&l.f, 1, 2);
    leader_heard(&l, 1);
    leader_plan(&l);
    CU_ASSERT_FALSE(l.plan->storm); /* three of nine is not more than a third */
    CU_ASSERT_TRUE(l.plan->replacement_count > 0);
    finish();
}

/* D26: one server is never a storm, even when more than a third of all disks are in it; a disk of
 * another one, and it is. */
static void one_server_is_no_storm(void)
{
    leader_init(&l, 9, 32, 3);
    for (unsigned i = 0; i < 4; i++)
        (void)strncpy(l.f.table.targets[i].host, "big", TARGET_TEXT_MAX - 1);
    run(700000, SILENT(1, 2, 3, 4));
    CU_ASSERT_FALSE(l.plan->storm);
    CU_ASSERT_EQUAL(l.plan->vanished, 4);
    uint64_t replaced = 0;
    for (uint32_t shard = 0; shard < 32; shard++)
        for (unsigned i = 0; i < 3; i++)
            replaced += shard_table_shard(&l.f.table, 3, shard)->slot[i].state == SLOT_SYNCING;
    CU_ASSERT_TRUE(replaced > 0);
    run(60000, SILENT(1, 2, 3, 4, 5));
    CU_ASSERT_TRUE(l.plan->storm);
    CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    finish();
}

/* Shards with fewer copies left come first, and no target sends or receives more than its share
 * (D25). */
static void fewest_copies_first_and_few_at_a_time(void)
{
    unsigned receives[9] = {0}, sends[9] = {0}, last = 0;
    leader_init(&l, 8, 64, 3);
    fixture_offline(&l.f, 1, 2, 0);
    fixture_order(&l.f, 3, 60); /* 1 and 2 and 3 hold it; of most others one or none is gone */
    struct shard s = *shard_table_shard(&l.f.table, 3, 60);
    s.slot[0].state = s.slot[1].state = SLOT_OFFLINE;
    CU_ASSERT_EQUAL(shard_table_put_shard(&l.f.table, 3, 60, &s), 0);
    leader_pass(&l, 600000, NULL);
    leader_plan(&l);
    CU_ASSERT_TRUE(l.plan->replacement_count >= 6);
    for (unsigned i = 0; i < l.plan->replacement_count; i++) {
        const struct rec_slot_change *r = &l.plan->replacements[i];
        struct chain_view chain = shard_table_chain(&l.f.table, 3, r->shard);
        if (i == 0)
            CU_ASSERT_EQUAL(chain.insync_count, 1);
        CU_ASSERT_TRUE(chain.insync_count >= last);
        last = chain.insync_count;
        receives[r->new_target]++;
        sends[chain.member[chain.insync_count - 1]] += chain.insync_count > 1;
    }
    for (unsigned id = 1; id <= 8; id++)
        CU_ASSERT_TRUE(receives[id] <= l.options.receptions_max &&
                       sends[id] <= l.options.sends_max);
    finish();
}

/* A shard whose only in-sync target is down is left alone: there is nothing to copy from (D19). */
static void unavailable_shard_is_left_alone(void)
{
    leader_init(&l, 6, 1, 2);
    fixture_order(&l.f, 2, 0);
    run(5000, SILENT(1));
    run(700000, SILENT(1, 2));
    EXPECT_SLOTS(&l.f, 2, 0, "1O 2I");
    CU_ASSERT_EQUAL(l.plan->replacement_count, 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).unavailable, 1);
    finish();
}

/* The summary counts every shard once. */
static void summary(void)
{
    leader_init(&l, 4, 1, 3);
    fixture_order(&l.f, 3, 0);
    CU_ASSERT_EQUAL(shard_table_form(&l.f.table, ++l.f.version, 1), 0);
    struct cluster_summary s = cluster_summarize(&l.f.table);
    CU_ASSERT_TRUE(s.shards == 2 && s.full == 2 && s.under == 0);
    fixture_offline(&l.f, 1, 0, 0);
    s = cluster_summarize(&l.f.table);
    CU_ASSERT_TRUE(s.full + s.under + s.unavailable == 2 && s.under == 1 && s.last_copy == 0);
    fixture_offline(&l.f, 2, 0, 0);
    CU_ASSERT_EQUAL(cluster_summarize(&l.f.table).last_copy, 1);
    struct slot_counts counts = cluster_count_slots(&l.f.table, 2);
    CU_ASSERT_TRUE(counts.slots >= 1 && counts.slots == counts.in_sync + 1 && counts.moving == 0);
    fixture_offline(&l.f, 3, 0, 0);
    s = cluster_summarize(&l.f.table);
    CU_ASSERT_TRUE(s.unavailable >= 1 && s.last_copy == 0 && s.shards == 2);
    finish();
}

#define TESTS(T)                              \
    T(forms_tables)                           \
    T(does_not_form_with_too_few)             \
    T(lease_must_run_out)                     \
    T(new_leader_waits_one_lease)             \
    T(those_that_die_together_stay_together)  \
    T(waiting_for_a_suspect_ends)             \
    T(two_copies_wait_for_down_out)           \
    T(last_of_three_copies_is_copied_at_once) \
    T(failed_disk_is_replaced_at_once)        \
    T(storm_brake)                            \
    T(one_server_is_no_storm)                 \
    T(fewest_copies_first_and_few_at_a_time)  \
    T(unavailable_shard_is_left_alone)        \
    T(summary)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_plan = {"cluster/plan", NULL, NULL, NULL, NULL, tests};
