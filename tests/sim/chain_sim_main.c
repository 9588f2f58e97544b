/* sim-chain: few servers, a leader that never fails and moves slots at random. */
#include "tests/sim/chain_sim_leader.h"

#include <stdio.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum { CHAIN_SERVERS = 5, CHAIN_SHARDS = 3, CHAIN_FENCE_MS = 1250 };

const struct sim_program sim_program = {
    .name = "chain", .seeds = 2000, .events = 12000, .end_ms = 60000};

void program_fault(struct world *w)
{
    unsigned i = (unsigned)prng_below(&w->prng, w->server_count);
    int64_t until_ms = w->now_ms + (int64_t)prng_between(&w->prng, 50, 3000);
    unsigned choice = (unsigned)prng_below(&w->prng, 12);
    switch (choice) {
    case 0:
    case 1:
        sim_crash(w, i, prng_chance(&w->prng, 500));
        break;
    case 2:
        for (unsigned k = 0; prng_chance(&w->prng, 300) && k < w->server_count; k++)
            sim_crash(w, k, true);
        break;
    case 3:
        for (unsigned k = 0; prng_chance(&w->prng, 700) && k < w->server_count; k++)
            sim_crash(w, k, false);
        break;
    default:
        sim_fault_common(w, i, choice - 4, until_ms);
    }
}

void program_heal(struct world *w)
{
    for (unsigned i = 0; i < w->server_count; i++)
        if (!w->servers[i].alive)
            server_start(w, i);
}

void program_start(struct world *w)
{
    w->fence_ms = CHAIN_FENCE_MS;
    w->server_count = (unsigned)prng_between(&w->prng, 3, CHAIN_SERVERS);
    w->shard_count = (unsigned)prng_between(&w->prng, 1, CHAIN_SHARDS);
    leader_init(w);
    for (unsigned i = 0; i < w->server_count; i++) {
        w->servers[i].host = i;
        w->servers[i].clock_rate = 0.98 + 0.0001 * (double)prng_below(&w->prng, 400);
        w->servers[i].clock_offset_ms = (int64_t)prng_below(&w->prng, 100000);
        server_start(w, i);
    }
}

void program_release(struct world *w)
{
    (void)w;
}

void program_event(struct world *w, struct sim_event *e)
{
    (void)w;
    UNREACHABLE("event %u", (unsigned)e->kind);
}

bool program_is_quiet(const struct world *w)
{
    for (unsigned i = 0; i < w->server_count; i++)
        if (!w->servers[i].alive || chain_busy_count(w->servers[i].chain) ||
            leader_target(w, i)->incarnation != w->servers[i].incarnation ||
            leader_target(w, i)->state != TARGET_UP)
            return false;
    return leader_all_insync(w);
}

void program_end(struct world *w)
{
    (void)w;
}

static struct {
    uint64_t operations, moves, moved;
} totals;

void program_count(struct world *w)
{
    totals.operations += w->ops_done;
    totals.moves += w->moves;
    totals.moved += w->moved;
}

void program_print(void)
{
    printf("# %lu client operations, %lu of %lu moves of slots completed\n",
           (unsigned long)totals.operations, (unsigned long)totals.moved,
           (unsigned long)totals.moves);
}

int main(void)
{
    return sim_main();
}
