/* The planner fills targets that joined or came back, and then keeps still. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/metaserver/cluster/balance_fixture.h"

enum { SHARDS = WORLD_SHARDS, LEADER_EVERY = 37 };

/* ---- joining ---- */

static void join_a_full_cluster(unsigned copies, unsigned leaders_every)
{
    world_start(5, SHARDS, copies);
    world.leaders_every = leaders_every;
    world_pass(30, NULL);
    CU_ASSERT_EQUAL(world.moves, 0); /* formed: nothing to do */
    world_join(6, 1);
    world_settle(NULL);
    world_expect_little((double)world_bytes() / 6);
    world_expect_balance();
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 6).slots >= SHARDS * copies / 6 - 1);
    CU_ASSERT_EQUAL(world.not_full, 0);
    world_finish();
}

/* It gets its share and not more than that moves; no shard has a copy fewer at any time (D1). */
static void join_moves_little(void)
{
    for (unsigned copies = 1; copies <= 3; copies++)
        join_a_full_cluster(copies, 0);
}

/* What is left is planned anew by each leader, and is as good. */
static void leaders_change_meanwhile(void)
{
    join_a_full_cluster(2, LEADER_EVERY);
    join_a_full_cluster(3, LEADER_EVERY);
}

/* Nothing is copied for a target that has just come: not before it was up for a while, under one
 * leader. */
static void waits_until_it_has_settled(void)
{
    world_start(5, 32, 2);
    world_pass(30, NULL);
    for (unsigned i = 0; i < 6; i++) { /* comes and goes */
        world_join(6, i + 1);
        world_pass(18, NULL);
        CU_ASSERT_EQUAL(world.moves, 0);
        fixture_offline(&world.l.f, 6, 0, 0);
        world_pass(2, SILENT(6));
    }
    world_join(6, 9);
    world_pass(19, NULL);
    CU_ASSERT_EQUAL(world.moves, 0);
    world_pass(3, NULL);
    CU_ASSERT_TRUE(world.moves > 0);
    world_settle(NULL);
    world_finish();
}

/* A server that goes and comes back within down_out is filled up where it stood: nothing else is
 * copied, however often (D25). */
static void a_flapping_server_moves_nothing(void)
{
    world_start(5, 64, 2);
    world_pass(10, NULL);
    for (unsigned i = 0; i < 10; i++) {
        world_pass(20, SILENT(3));
        CU_ASSERT_EQUAL(shard_table_target(&world.l.f.table, 3)->state, TARGET_DOWN);
        world_join(3, i + 2);
        world_pass(40, NULL);
    }
    CU_ASSERT_EQUAL(world.moves + world.repairs, 0);
    CU_ASSERT_TRUE(world_is_still());
    world_finish();
}

/* One that was given up and comes back gets its share again. */
static void a_returned_server_is_filled_again(void)
{
    world_start(6, 64, 2);
    world.l.options.down_out_ms = 20000;
    world_settle(SILENT(2));
    CU_ASSERT_EQUAL(cluster_count_slots(&world.l.f.table, 2).slots, 0);
    CU_ASSERT_TRUE(world.repairs >= 18 && world.moves == 0);
    world_join(2, 2);
    world.bytes_moved = 0;
    world_settle(NULL);
    world_expect_little((double)world_bytes() / 6);
    world_expect_balance();
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 2).slots >= 64 * 2 / 6);
    world_finish();
}

/* A dead server without slots has no share: the newcomer gets a full one. */
static void the_dead_have_no_share(void)
{
    world_start(5, 64, 2);
    world.l.options.down_out_ms = 20000;
    world_settle(SILENT(1));
    world_join(6, 1);
    world_settle(SILENT(1));
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 6).slots >= 64 * 2 / 5);
    world_expect_balance();
    world_finish();
}

/* ---- what happens meanwhile ---- */

/* A target dies during the balance: its copies come first, and then the balance goes on. */
static void one_dies_meanwhile(void)
{
    world_start(6, 128, 2);
    world.l.options.down_out_ms = 20000;
    world_pass(30, NULL);
    world_join(7, 1);
    world_pass(26, NULL);
    CU_ASSERT_TRUE(world.moves > 0 && world_marks() == 1);
    uint32_t moves = world.moves;
    world_pass(30, SILENT(3)); /* away, but not lost yet: no move begins */
    CU_ASSERT_TRUE(world.moves <= moves + 8 * world.l.options.receptions_max);
    uint32_t before = world.moves;
    world_pass(10, SILENT(3));
    CU_ASSERT_EQUAL(world.moves, before);
    world_settle(SILENT(3));
    CU_ASSERT_EQUAL(cluster_count_slots(&world.l.f.table, 3).slots, 0);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 7).slots >= 128 * 2 / 6);
    world_expect_balance();
    world_join(3, 2);
    world_settle(NULL);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 3).slots >= 128 * 2 / 7);
    world_finish();
}

/* The one that is filled dies: nobody is worse off than before. */
static void the_newcomer_dies_meanwhile(void)
{
    world_start(5, 128, 2);
    world.l.options.down_out_ms = 20000;
    world_pass(30, NULL);
    world_join(6, 1);
    world_pass(30, NULL);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 6).slots > 0);
    world_settle(SILENT(6));
    CU_ASSERT_EQUAL(cluster_count_slots(&world.l.f.table, 6).slots, 0);
    world_expect_balance();
    world_finish();
}

/* One joins while another is drained: a replaced server costs one copy of its data, not two. */
static void a_replaced_server_costs_one_copy(void)
{
    world_start(5, SHARDS, 2);
    world_pass(30, NULL);
    uint64_t bytes = 0;
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        for (unsigned i = 0; i < 2; i++)
            bytes += world.l.f.table.shards[2][shard].slot[i].target == 1 ? world.bytes[shard] : 0;
    world_join(6, 1);
    world_pass(20, NULL);
    world.bytes_moved = 0;
    world_set_admin(1, TARGET_DRAINING);
    world_settle(NULL);
    CU_ASSERT_EQUAL(cluster_count_slots(&world.l.f.table, 1).slots, 0);
    world_expect_little((double)bytes);
    world_expect_balance();
    CU_ASSERT_EQUAL(world.not_full, 0);
    world_finish();
}

/* A drain goes before the balance, which ends all the same; called off, it is undone. */
static void drain_meanwhile(void)
{
    world_start(6, 128, 3);
    world_pass(30, NULL);
    world_join(7, 1);
    world_pass(26, NULL);
    CU_ASSERT_TRUE(world.moves > 0 && world_marks() == 1);
    world_set_admin(2, TARGET_DRAINING);
    world_settle(NULL);
    CU_ASSERT_EQUAL(cluster_count_slots(&world.l.f.table, 2).slots, 0);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 7).slots >= 128 * 3 / 6 - 1);
    world_expect_balance();
    world_set_admin(2, TARGET_ACTIVE);
    world_settle(NULL);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 2).slots >= 128 * 3 / 7);
    world_expect_balance();
    CU_ASSERT_EQUAL(world.not_full, 0);
    world_finish();
}

/* ---- any cluster ---- */

static void change_something(struct prng *random, unsigned *targets, bool *away)
{
    uint32_t id = (uint32_t)prng_between(random, 1, *targets);
    switch (prng_below(random, 7)) {
    case 0:
    case 1:
        if (*targets < 14) {
            world_join(++*targets, 1);
            world_set_space(*targets, prng_between(random, 10, 30), 10);
        }
        break;
    case 2:
        world_set_admin(id, prng_chance(random, 500) ? TARGET_DRAINING : TARGET_ACTIVE);
        break;
    case 3:
        world_set_space(id, prng_between(random, 10, 60), (unsigned)prng_between(random, 10, 93));
        break;
    case 4:
        *away = !*away;
        break;
    case 5:
        CU_ASSERT_EQUAL(
            shard_table_set_maintenance(&world.l.f.table, ++world.l.f.version, id, 3600000), 0);
        break;
    default:
        world_change_leader();
    }
}

/* From whatever state, planning comes to an end, and another leader finds nothing to do. */
static void planning_ends(void)
{
    const char *seed_text = getenv("SEED"), *seeds_text = getenv("SEEDS");
    uint64_t first = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    uint64_t count = seed_text ? 1 : seeds_text ? strtoull(seeds_text, NULL, 10) : 25;
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct prng random;
        prng_init(&random, seed);
        unsigned failures = CU_get_number_of_failures();
        unsigned targets = (unsigned)prng_between(&random, 5, 8);
        unsigned copies = (unsigned)prng_between(&random, 1, 3);
        bool away = false;
        uint64_t lives = 1;
        world_start(targets, 32, copies);
        world.l.options.down_out_ms = 20000;
        world.ends_per_mille = 200;
        for (uint32_t id = 1; id <= targets; id++)
            world_set_space(id, prng_between(&random, 10, 40), 10);
        if (prng_chance(&random, 500))
            world_name_zones(targets, (unsigned)prng_between(&random, 2, 4));
        for (unsigned i = 0; i < 12; i++) {
            change_something(&random, &targets, &away);
            if (!away && shard_table_target(&world.l.f.table, 1)->state != TARGET_UP)
                world_join(1, ++lives);
            world_pass((unsigned)prng_between(&random, 1, 120), away ? SILENT(1) : NULL);
        }
        world.ends_per_mille = 1000;
        for (uint32_t id = 1; id <= targets; id++) {
            world_set_admin(id, TARGET_ACTIVE);
            world.l.views[id - 1].bytes_used = 0;
        }
        if (shard_table_target(&world.l.f.table, 1)->state != TARGET_UP)
            world_join(1, ++lives);
        world_settle(NULL);
        if (CU_get_number_of_failures() > failures)
            printf("# seed=%llu\n", (unsigned long long)seed);
        world_finish();
    }
}

#define TESTS(T)                         \
    T(join_moves_little)                 \
    T(leaders_change_meanwhile)          \
    T(waits_until_it_has_settled)        \
    T(a_flapping_server_moves_nothing)   \
    T(a_returned_server_is_filled_again) \
    T(the_dead_have_no_share)            \
    T(one_dies_meanwhile)                \
    T(the_newcomer_dies_meanwhile)       \
    T(a_replaced_server_costs_one_copy)  \
    T(drain_meanwhile)                   \
    T(planning_ends)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_balance = {"cluster/balance", NULL, NULL, NULL, NULL, tests};
