/* Operators: drains, one or several at once, called off again; new servers; servers that are
 * switched off for good the moment the cluster says that they are empty (D18). */
#include "tests/sim/planner_sim.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

static void admin(struct world *w, unsigned server, enum target_admin admin)
{
    struct command c = {.kind = COMMAND_ADMIN, .target = server + 1, .admin = admin};
    log_propose(w, &c);
}

static bool is_draining(const struct world *w, unsigned server)
{
    const struct target *t = leader_target(w, server);
    return t && t->admin == TARGET_DRAINING;
}

static void drain(struct world *w)
{
    unsigned count = (unsigned)prng_between(&w->prng, 1, 3), active = 0, copies = 0;
    for (unsigned i = 0; i < w->server_count; i++)
        active += leader_target(w, i) && !w->servers[i].gone && !is_draining(w, i);
    for (unsigned i = 0; i < w->shard_count; i++)
        copies = w->leader.copies[i] > copies ? w->leader.copies[i] : copies;
    /* Sometimes more than the others can take: then it is blocked. */
    if (prng_chance(&w->prng, 900) && active < copies + count)
        count = active > copies ? active - copies : 0;
    while (count-- > 0) {
        unsigned i = (unsigned)prng_below(&w->prng, w->server_count);
        if (!leader_target(w, i) || w->servers[i].gone || is_draining(w, i))
            continue;
        w->planned->done.drains++;
        admin(w, i, TARGET_DRAINING);
    }
}

/* Also the end of a maintenance. */
static void call_off(struct world *w)
{
    unsigned i = (unsigned)prng_below(&w->prng, w->server_count);
    const struct target *t = leader_target(w, i);
    if (!t || t->admin == TARGET_ACTIVE || w->servers[i].gone)
        return;
    w->planned->done.cancels++;
    admin(w, i, TARGET_ACTIVE);
}

/* Announced; then it is switched off for a while, once or more often. */
static void maintain(struct world *w)
{
    unsigned i = (unsigned)prng_below(&w->prng, w->server_count);
    if (!leader_target(w, i) || w->servers[i].gone || is_draining(w, i))
        return;
    admin(w, i, TARGET_MAINTENANCE);
    if (prng_chance(&w->prng, 700) && !w->servers[i].disk_failed)
        sim_crash(w, i, false);
}

/* Empty, says the table: it and its disk can go at this instant. */
static void destroy_drained(struct world *w)
{
    for (unsigned i = 0; i < w->server_count; i++) {
        struct server *s = &w->servers[i];
        uint32_t id = i + 1;
        if (!is_draining(w, i) || s->gone || shard_table_holds(&w->leader.table, &id, 1) ||
            shard_table_owes(&w->leader.table, &id, 1) || log_has(w, COMMAND_ADMIN, i + 1))
            continue;
        sim_trace(w, "operator: server %u is empty and is destroyed", i);
        if (s->alive)
            server_crash(w, i, true);
        memset(s->store, 0, sizeof s->store);
        s->gone = true;
        w->planned->done.destroyed++;
        return;
    }
}

static void join(struct world *w)
{
    unsigned i = w->server_count;
    if (i == SERVERS_MAX || !leader_target(w, i - 1))
        return; /* ids are given in order */
    w->server_count++;
    w->servers[i].host = i;
    w->servers[i].clock_rate = 0.9 + 0.0001 * (double)prng_below(&w->prng, 2000);
    server_start(w, i);
    w->planned->done.joins++;
}

void operator_acts(struct world *w)
{
    uint64_t roll = prng_below(&w->prng, 100);
    if (roll < 35)
        drain(w);
    else if (roll < 50)
        call_off(w);
    else if (roll < 80)
        destroy_drained(w);
    else if (roll < 90)
        join(w);
    else if (roll < 96)
        maintain(w);
}
