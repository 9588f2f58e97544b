/* The planner heeds capacities and zones. */
#include "common/ring/ring.h"
#include "tests/unit/metaserver/cluster/balance_fixture.h"

enum { SHARDS = WORLD_SHARDS };

/* ---- capacities ---- */

static uint32_t weight_of(uint32_t target)
{
    return shard_table_target(&world.l.f.table, target)->weight;
}

/* Equal disks weigh exactly the mean, nearly equal ones are left alone; one of twice the size gets
 * twice the load, and the others keep their weights. */
static void weights_follow_capacities(void)
{
    world_start(5, SHARDS, 2);
    for (uint32_t id = 1; id <= 5; id++)
        world_set_space(id, 4000, 30);
    world_settle(NULL);
    world_set_space(2, 3700, 30);
    world_set_space(3, 4300, 30);
    world_settle(NULL);
    CU_ASSERT_EQUAL(world.moves, 0);
    for (uint32_t id = 1; id <= 5; id++)
        CU_ASSERT_EQUAL(weight_of(id), RING_WEIGHT_MEAN);
    world_set_space(4, 8000, 30);
    world_settle(NULL);
    CU_ASSERT_TRUE(weight_of(4) >= 1900 && weight_of(4) <= 2100);
    CU_ASSERT_TRUE(weight_of(1) == RING_WEIGHT_MEAN && weight_of(3) == RING_WEIGHT_MEAN);
    world_expect_little((double)world_bytes() * (1.0 / 3 - 1.0 / 5));
    world_expect_balance();
    world_set_space(4, 4000, 30);
    world_settle(NULL);
    CU_ASSERT_TRUE(weight_of(4) >= 900 && weight_of(4) <= 1100);
    world_expect_balance();
    CU_ASSERT_EQUAL(world.not_full, 0);
    world_finish();
}

/* A table is formed by the capacities; what is unknown counts as the mean. */
static void forms_by_capacities(void)
{
    world_start(4, 64, 0);
    world.l.options.copies_wanted = 1u << 1;
    world.copies = 1;
    world_set_space(1, 1000, 5);
    world_set_space(2, 1000, 5);
    world_set_space(3, 3000, 5);
    world_pass(3, NULL);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 3).slots >
                   2 * cluster_count_slots(&world.l.f.table, 1).slots);
    world_settle(NULL);
    CU_ASSERT_EQUAL(world.moves, 0);
    world_finish();
}

/* When disks of another generation have taken over, the mean is the mean again. */
static void weights_do_not_drift(void)
{
    world_start(6, 64, 2);
    for (uint32_t id = 1; id <= 6; id++)
        world_set_space(id, id <= 2 ? 1000 : 20000, 10);
    world_settle(NULL);
    uint64_t sum = 0;
    for (uint32_t id = 1; id <= 6; id++)
        sum += weight_of(id);
    CU_ASSERT_TRUE(sum / 6 >= RING_WEIGHT_MEAN / 2 && sum / 6 <= 2 * RING_WEIGHT_MEAN);
    CU_ASSERT_TRUE(weight_of(3) / weight_of(1) >= 18);
    world_expect_balance();
    world_finish();
}

/* A disk that is nearly full receives nothing, however much it lacks of its share. */
static void full_disks_receive_nothing(void)
{
    world_start(4, 64, 2);
    for (uint32_t id = 1; id <= 5; id++)
        world_set_space(id, 4000, id == 5 ? 91 : 50);
    world_pass(30, NULL);
    world_join(5, 1);
    world_pass(60, NULL);
    CU_ASSERT_EQUAL(world.moves, 0);
    world_set_space(5, 4000, 20);
    world_settle(NULL);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 5).slots >= 64 * 2 / 5);
    world_finish();
}

/* One that is all but full gives slots away by parts, never more than half of its share; nothing
 * goes to one that is full. */
static void an_overfull_disk_gives_away(void)
{
    world_start(5, SHARDS, 2);
    for (uint32_t id = 1; id <= 5; id++)
        world_set_space(id, 4000, id == 2 ? 97 : id == 3 ? 92 : 60);
    uint32_t before = cluster_count_slots(&world.l.f.table, 2).slots;
    uint32_t full = cluster_count_slots(&world.l.f.table, 3).slots;
    world_pass(50, NULL);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 2).slots < before);
    CU_ASSERT_TRUE(cluster_count_slots(&world.l.f.table, 3).slots <= full);
    world_pass(2000, NULL); /* it does not help: there is something else on that disk */
    uint32_t after = cluster_count_slots(&world.l.f.table, 2).slots;
    CU_ASSERT_TRUE(after * 2 + 4 >= SHARDS * 2 / 5 && after < before);
    uint32_t moves = world.moves;
    world_pass(100, NULL);
    CU_ASSERT_EQUAL(world.moves, moves);
    world.l.views[1].left_bytes =
        world.l.views[1].bytes_total / 20; /* what has left goes by and by */
    world_pass(50, NULL);
    CU_ASSERT_EQUAL(world.moves, moves);
    CU_ASSERT_EQUAL(world.not_full, 0);
    world_finish();
}

/* All disks are full: nothing moves, nothing hangs. */
static void all_disks_are_full(void)
{
    world_start(4, 32, 2);
    for (uint32_t id = 1; id <= 4; id++)
        world_set_space(id, 4000, 98);
    world_pass(200, NULL);
    CU_ASSERT_EQUAL(world.moves, 0);
    world_finish();
}

/* ---- zones ---- */

static unsigned shards_in_one_zone(unsigned zones)
{
    unsigned count = 0;
    for (uint32_t shard = 0; shard < world.l.f.table.shard_count; shard++) {
        const struct slot *slots = world.l.f.table.shards[world.copies][shard].slot;
        bool same = false;
        for (unsigned i = 1; i < world.copies; i++)
            for (unsigned j = 0; j < i; j++)
                same = same || slots[i].target % zones == slots[j].target % zones;
        count += same;
    }
    return count;
}

/* Targets are told their zones later, by a restart with another name: the copies are parted. A
 * drain and a loss keep them apart. */
static void zones_are_kept_apart(void)
{
    world_start(9, 64, 3);
    world.l.options.down_out_ms = 20000;
    CU_ASSERT_TRUE(shards_in_one_zone(3) > 0);
    world_name_zones(9, 3);
    world_settle(NULL);
    CU_ASSERT_EQUAL(shards_in_one_zone(3), 0);
    world_set_admin(4, TARGET_DRAINING);
    world_settle(NULL);
    CU_ASSERT_EQUAL(shards_in_one_zone(3), 0);
    world_settle(SILENT(5));
    CU_ASSERT_EQUAL(shards_in_one_zone(3), 0);
    world_set_admin(4, TARGET_ACTIVE);
    world_settle(SILENT(5));
    CU_ASSERT_EQUAL(shards_in_one_zone(3), 0);
    world_finish();
}

#define TESTS(T)                   \
    T(weights_follow_capacities)   \
    T(forms_by_capacities)         \
    T(weights_do_not_drift)        \
    T(full_disks_receive_nothing)  \
    T(an_overfull_disk_gives_away) \
    T(all_disks_are_full)          \
    T(zones_are_kept_apart)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_capacity = {"cluster/capacity", NULL, NULL, NULL, NULL, tests};
