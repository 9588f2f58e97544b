/* Random lives of a cluster under the planner: servers die and return, leaders change, resyncs
 * take their time. */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/prng.h"

enum { SHARDS = 16, STEPS = 400, STEP_MS = 500 };

struct life {
    struct leader l;
    struct prng random;
    unsigned targets, copies;
    bool alive[LEADER_TARGETS_MAX + 1];
    uint64_t incarnation[LEADER_TARGETS_MAX + 1];
    uint64_t lease_end_ms[LEADER_TARGETS_MAX + 1]; /* by the target's own clock */
};

static void heartbeats(struct life *w)
{
    for (uint32_t id = 1; id <= w->targets; id++) {
        const struct target *t = shard_table_target(&w->l.f.table, id);
        if (!w->alive[id] || prng_chance(&w->random, 50))
            continue; /* lost on the way */
        if (t->state != TARGET_UP || t->incarnation != w->incarnation[id])
            (void)fixture_register(&w->l.f, id, w->incarnation[id]);
        leader_heard(&w->l, id);
        w->lease_end_ms[id] = w->l.now_ms + w->l.options.lease_ms;
    }
}

static void finish_resyncs(struct life *w, unsigned per_mille)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct chain_view chain = shard_table_chain(&w->l.f.table, w->copies, shard);
        uint32_t source = chain.member[chain.insync_count - 1];
        if (chain.member_count > chain.insync_count && prng_chance(&w->random, per_mille) &&
            w->alive[source] && w->alive[chain.member[chain.insync_count]])
            fixture_synced(&w->l.f, w->copies, shard, chain.member[chain.insync_count], source);
        if (chain.leaving && w->alive[chain.leaving] && prng_chance(&w->random, 2 * per_mille))
            fixture_left(&w->l.f, w->copies, shard, chain.leaving);
    }
}

/* No target is given up while it may still hold a lease; no target gets too much at once. */
static const char *judge_plan(const struct life *w)
{
    const struct plan *plan = w->l.plan;
    unsigned receives[LEADER_TARGETS_MAX + 1] = {0};
    for (unsigned i = 0; i < plan->offline_count; i++)
        if (w->lease_end_ms[plan->offline[i].target] > w->l.now_ms)
            return "a target with a lease is given up";
    for (unsigned i = 0; i < plan->replacement_count; i++)
        if (plan->replacements[i].new_target != 0 &&
            shard_table_target(&w->l.f.table, plan->replacements[i].new_target)->admin !=
                TARGET_ACTIVE)
            return "a target that shall be empty, or may go away, receives";
    for (unsigned i = 0; i < plan->replacement_count; i++)
        if (plan->replacements[i].new_target != 0 &&
            ++receives[plan->replacements[i].new_target] > w->l.options.receptions_max)
            return "a target receives too much at once";
    if (plan->storm && plan->replacement_count > 0)
        return "data moves in a storm";
    return NULL;
}

static void mishap(struct life *w)
{
    uint32_t id = (uint32_t)prng_between(&w->random, 1, w->targets);
    if (prng_chance(&w->random, 100)) { /* another leader, which has heard nobody yet */
        w->l.since_ms = w->l.now_ms;
        for (unsigned i = 0; i < LEADER_TARGETS_MAX; i++)
            w->l.views[i].heard = false;
    }
    if (prng_chance(&w->random, 30))
        leader_set_admin(&w->l, id, (enum target_admin)prng_below(&w->random, 3));
    if (w->alive[id] ? prng_chance(&w->random, 60) : prng_chance(&w->random, 200)) {
        w->alive[id] = !w->alive[id];
        w->incarnation[id] += w->alive[id];
    }
}

static const char *step(struct life *w)
{
    w->l.now_ms += STEP_MS;
    heartbeats(w);
    finish_resyncs(w, 200);
    leader_plan(&w->l);
    const char *wrong = judge_plan(w);
    if (wrong)
        return wrong;
    leader_apply(&w->l);
    return fixture_sound(&w->l.f) ? NULL : "an invariant is broken";
}

static bool is_whole(const struct life *w)
{
    return cluster_summarize(&w->l.f.table).full == SHARDS;
}

static const char *run(uint64_t seed)
{
    struct life w = {0};
    const char *wrong = NULL;
    prng_init(&w.random, seed);
    w.copies = (unsigned)prng_between(&w.random, 1, 4);
    w.targets = (unsigned)prng_between(&w.random, w.copies + 2, 10);
    leader_init(&w.l, w.targets, SHARDS, w.copies);
    w.l.options.down_out_ms = 20000;
    w.l.options.copies_wanted = 1u << w.copies;
    for (uint32_t id = 1; id <= w.targets; id++) {
        w.alive[id] = true;
        w.incarnation[id] = 1;
    }
    for (unsigned i = 0; i < STEPS && !wrong; i++) {
        mishap(&w);
        wrong = step(&w);
    }
    for (uint32_t id = 1; id <= w.targets; id++) {
        w.incarnation[id] += !w.alive[id];
        w.alive[id] = true;
        leader_set_admin(&w.l, id, TARGET_ACTIVE);
    }
    for (unsigned i = 0; i < 400 && !wrong && (i < 10 || !is_whole(&w)); i++)
        wrong = step(&w);
    if (!wrong && !is_whole(&w))
        wrong = "not whole when everyone is back";
    /* One stays away for good: with a spare target every shard is whole again all the same. */
    w.alive[1] = w.copies == 1;
    for (unsigned i = 0; i < 800 && !wrong; i++)
        wrong = step(&w);
    if (!wrong && !is_whole(&w))
        wrong = "not whole although there is a spare target";
    /* Without a spare one a drain ends all the same, as long as there are enough for the copies. */
    leader_set_admin(&w.l, 2, TARGET_DRAINING);
    for (unsigned i = 0; i < 800 && !wrong; i++)
        wrong = step(&w);
    if (!wrong && (!is_whole(&w) || cluster_count_slots(&w.l.f.table, 2).slots > 0))
        wrong = "a drain does not end";
    if (wrong)
        printf("# seed=%llu %u targets, %u copies: %s\n", (unsigned long long)seed, w.targets,
               w.copies, wrong);
    leader_release(&w.l);
    return wrong;
}

/* Whatever dies and returns: leases are respected, moves are bounded, and it heals by itself. */
static void lives(void)
{
    const char *seed_text = getenv("SEED"), *seeds_text = getenv("SEEDS");
    uint64_t first = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    uint64_t count = seed_text ? 1 : seeds_text ? strtoull(seeds_text, NULL, 10) : 300;
    for (uint64_t seed = first; seed < first + count; seed++)
        if (run(seed)) {
            CU_FAIL("a life went wrong");
            return;
        }
}

#define TESTS(T) T(lives)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_life = {"cluster/life", NULL, NULL, NULL, NULL, tests};
