/* A cluster under the planner whose shards have sizes: what moves is counted. */
#include "tests/unit/metaserver/cluster/balance_fixture.h"

#include <stdio.h>
#include <string.h>

#include "common/ring/ring.h"

enum { STEPS_MAX = 6000, STILL_STEPS = 80 /* more than waits take */ };

struct world world;

void world_finish(void)
{
    CU_ASSERT_TRUE(fixture_sound(&world.l.f));
    leader_release(&world.l);
}

void world_start(unsigned targets, uint32_t shards, unsigned copies)
{
    memset(&world, 0, sizeof world);
    leader_init(&world.l, targets, shards, copies);
    world.l.options.copies_wanted = 1u << copies;
    world.copies = copies;
    world.ends_per_mille = 1000;
    prng_init(&world.random, 1);
    for (unsigned i = 0; i < WORLD_SHARDS; i++)
        world.bytes[i] = prng_between(&world.random, 800, 1200);
}

void world_join(uint32_t number, uint64_t incarnation)
{
    CU_ASSERT_EQUAL(fixture_register(&world.l.f, number, incarnation), 0);
    world.l.views[number - 1].up_since_ms = world.l.now_ms;
    leader_heard(&world.l, number);
}

/* Another one, which knows nothing but the table. */
void world_change_leader(void)
{
    planner_destroy(world.l.planner);
    world.l.planner = planner_create();
    world.l.since_ms = world.l.now_ms;
    for (unsigned i = 0; i < LEADER_TARGETS_MAX; i++) {
        world.l.views[i].heard = false;
        world.l.views[i].up_since_ms = 0;
    }
}

static void count_plan(void)
{
    unsigned receives[LEADER_TARGETS_MAX + 1] = {0};
    for (unsigned i = 0; i < world.l.plan->replacement_count; i++) {
        const struct rec_slot_change *c = &world.l.plan->replacements[i];
        enum slot_state state = SLOT_OFFLINE;
        const struct shard *s = shard_table_shard(&world.l.f.table, c->copies, c->shard);
        CU_ASSERT_TRUE(shard_has_member(s, c->copies, c->old_target, &state));
        world.moves += state == SLOT_INSYNC;
        world.repairs += state == SLOT_OFFLINE;
        world.bytes_moved += world.bytes[c->shard];
        const struct target *to = shard_table_target(&world.l.f.table, c->new_target);
        CU_ASSERT_TRUE(to && to->state == TARGET_UP && to->admin == TARGET_ACTIVE);
        CU_ASSERT_TRUE(++receives[c->new_target] <= world.l.options.receptions_max);
    }
}

static void step(const uint32_t *silent, unsigned number)
{
    leader_pass(&world.l, 500, silent);
    leader_plan(&world.l);
    count_plan();
    leader_apply(&world.l);
    for (uint32_t shard = 0; shard < world.l.f.table.shard_count; shard++)
        if (prng_chance(&world.random, world.ends_per_mille))
            leader_finish(&world.l, world.copies, shard);
    world.not_full += cluster_summarize(&world.l.f.table).full < world.l.f.table.shard_count;
    if (world.leaders_every && number % world.leaders_every == world.leaders_every - 1)
        world_change_leader();
}

unsigned world_marks(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < world.l.f.table.target_count; i++)
        count += world.l.f.table.targets[i].rebalance &&
                 world.l.f.table.targets[i].state == TARGET_UP &&
                 world.l.f.table.targets[i].admin == TARGET_ACTIVE;
    return count;
}

bool world_is_still(void)
{
    return world.l.plan->replacement_count == 0 && world.l.plan->weight_count == 0 &&
           world_marks() == 0 && world.l.plan->waiting == 0 &&
           cluster_summarize(&world.l.f.table).full == world.l.f.table.shard_count;
}

void world_pass(unsigned steps, const uint32_t *silent)
{
    for (unsigned i = 0; i < steps; i++)
        step(silent, i);
}

/* Until nothing is left to do; then nothing is begun any more, by whichever leader. */
void world_settle(const uint32_t *silent)
{
    unsigned steps = 0, still = 0;
    for (; still < STILL_STEPS && steps < STEPS_MAX; steps++) {
        step(silent, steps);
        still = world_is_still() ? still + 1 : 0;
    }
    CU_ASSERT_TRUE(steps < STEPS_MAX);
    uint32_t moves = world.moves, repairs = world.repairs;
    world_change_leader();
    world_pass(STILL_STEPS, silent);
    CU_ASSERT_TRUE(world.moves == moves && world.repairs == repairs && world_is_still());
}

/* Of the shares that the weights give; one slot is left out of account. */
static double most_for_weight(void)
{
    double most = 0, weights = 0, slots = 0;
    for (unsigned i = 0; i < world.l.f.table.target_count; i++) {
        const struct target *t = &world.l.f.table.targets[i];
        unsigned held = cluster_count_slots(&world.l.f.table, t->id).slots;
        slots += held;
        weights += held > 0 ? target_ring_weight(t) : 0;
        double part = held > 1 ? ((double)held - 1) / target_ring_weight(t) : 0;
        most = part > most ? part : most;
    }
    return most * weights / slots;
}

void world_expect_balance(void)
{
    if (most_for_weight() > 1.06)
        for (uint32_t id = 1; id <= world.l.f.table.target_count; id++)
            printf("# target %u weight %u: %u slots\n", id,
                   target_ring_weight(shard_table_target(&world.l.f.table, id)),
                   cluster_count_slots(&world.l.f.table, id).slots);
    CU_ASSERT_TRUE(most_for_weight() <= 1.06);
}

uint64_t world_bytes(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < world.l.f.table.shard_count; i++)
        sum += world.copies * world.bytes[i];
    return sum;
}

void world_expect_little(double ideal)
{
    printf("# bytes moved / ideal: %.3f, most / share: %.3f\n", (double)world.bytes_moved / ideal,
           most_for_weight());
    CU_ASSERT_TRUE((double)world.bytes_moved <= 1.25 * ideal);
}

void world_set_admin(uint32_t target, enum target_admin admin)
{
    CU_ASSERT_EQUAL(shard_table_set_admin(&world.l.f.table, ++world.l.f.version, target, admin), 0);
}

void world_set_space(uint32_t target, uint64_t total, unsigned used_percent)
{
    world.l.views[target - 1].bytes_total = total << 30;
    world.l.views[target - 1].bytes_used = (total << 30) / 100 * used_percent;
}

static void stand_in(uint32_t number, const char *host)
{
    struct target_registration r = {.uuid = fixture_uuid(number),
                                    .incarnation = 1,
                                    .name = slice_str("c"),
                                    .address = slice_str("a:1"),
                                    .host = slice_str(host),
                                    .weight = RING_WEIGHT_MEAN};
    uint32_t id;
    CU_ASSERT_EQUAL(shard_table_register(&world.l.f.table, ++world.l.f.version, &r, &id), 0);
}

void world_name_zones(unsigned targets, unsigned zones)
{
    char host[TARGET_TEXT_MAX];
    for (uint32_t id = 1; id <= targets; id++) {
        (void)snprintf(host, sizeof host, "zone%u/r/h%u", id % zones, id);
        stand_in(id, host);
    }
}
