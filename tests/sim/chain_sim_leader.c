/* A perfect leader: the rules of data-path.md, one atomic step each. */
#include "tests/sim/chain_sim.h"

#include <string.h>

#include "common/base/banned.h"

enum { REPLACE_MS = 6000 };

void leader_init(struct world *w)
{
    struct leader *l = &w->leader;
    l->version = 1;
    for (unsigned i = 0; i < w->shard_count; i++) {
        struct leader_shard *s = &l->shard[i];
        s->copies = (uint8_t)prng_between(&w->prng, 1, w->server_count < 4 ? w->server_count : 4);
        if (s->copies == 1 && prng_chance(&w->prng, 600))
            s->copies = 2;
        s->epoch = s->changed = 1;
        unsigned first = (unsigned)prng_below(&w->prng, w->server_count);
        for (unsigned k = 0; k < s->copies; k++)
            s->slot[k] = (struct leader_slot){(first + k) % w->server_count, SLOT_INSYNC, 0};
    }
}

static void changed(struct world *w, unsigned shard)
{
    struct leader_shard *s = &w->leader.shard[shard];
    s->epoch++;
    s->changed = ++w->leader.version;
    sim_trace(w, "leader: shard %u epoch %lu:", shard, (unsigned long)s->epoch);
    for (unsigned k = 0; k < s->copies; k++)
        sim_trace(w, "    server %u state %u", s->slot[k].server, s->slot[k].state);
    oracle_insync_check(w, shard);
}

static struct leader_slot *slot_of(struct leader_shard *s, unsigned server)
{
    for (unsigned k = 0; k < s->copies; k++)
        if (s->slot[k].server == server)
            return &s->slot[k];
    return NULL;
}

static unsigned insync_up(const struct world *w, const struct leader_shard *s)
{
    unsigned count = 0;
    for (unsigned k = 0; k < s->copies; k++)
        count += s->slot[k].state == SLOT_INSYNC && w->leader.target[s->slot[k].server].up;
    return count;
}

bool leader_is_insync(const struct world *w, unsigned shard, unsigned server)
{
    const struct leader_shard *s = &w->leader.shard[shard];
    for (unsigned k = 0; k < s->copies; k++)
        if (s->slot[k].server == server)
            return s->slot[k].state == SLOT_INSYNC;
    return false;
}

bool leader_all_insync(const struct world *w)
{
    for (unsigned i = 0; i < w->shard_count; i++)
        for (unsigned k = 0; k < w->leader.shard[i].copies; k++)
            if (w->leader.shard[i].slot[k].state != SLOT_INSYNC)
                return false;
    return true;
}

/* Leases that ran out together are judged together: the last in-sync copy is never given away. */
static void apply_downs(struct world *w)
{
    for (unsigned i = 0; i < w->shard_count; i++) {
        struct leader_shard *s = &w->leader.shard[i];
        bool keep = insync_up(w, s) == 0, any = false;
        for (unsigned k = 0; k < s->copies; k++) {
            struct leader_slot *slot = &s->slot[k];
            if (w->leader.target[slot->server].up || slot->state == SLOT_OFFLINE ||
                (slot->state == SLOT_INSYNC && keep))
                continue;
            slot->state = SLOT_OFFLINE;
            slot->since_ms = w->now_ms;
            any = true;
        }
        if (any)
            changed(w, i);
    }
}

static bool replace_one(struct world *w, struct leader_shard *s, struct leader_slot *slot)
{
    for (unsigned i = 0; i < w->server_count; i++) {
        if (!w->leader.target[i].up || slot_of(s, i))
            continue;
        slot->server = i;
        slot->state = SLOT_SYNCING;
        return true;
    }
    return false;
}

void leader_check(struct world *w)
{
    struct leader *l = &w->leader;
    bool any = false;
    for (unsigned i = 0; i < w->server_count; i++)
        if (l->target[i].up && w->now_ms - l->target[i].heard_ms > LEASE_MS + LEASE_MARGIN_MS) {
            l->target[i].up = false;
            any = true;
            sim_trace(w, "leader: lease of %u ran out", i);
        }
    if (any)
        apply_downs(w);
    for (unsigned i = 0; i < w->shard_count; i++)
        for (unsigned k = 0; k < l->shard[i].copies; k++) {
            struct leader_slot *slot = &l->shard[i].slot[k];
            if (slot->state == SLOT_OFFLINE && w->now_ms - slot->since_ms > REPLACE_MS &&
                insync_up(w, &l->shard[i]) && replace_one(w, &l->shard[i], slot))
                changed(w, i);
        }
}

static void register_in(struct world *w, unsigned shard, unsigned server, bool new_process)
{
    struct leader_shard *s = &w->leader.shard[shard];
    struct leader_slot *slot = slot_of(s, server);
    if (!slot)
        return;
    if (slot->state == SLOT_INSYNC) {
        /* None of the in-sync ones is up: the first one to return is the authority. */
        for (unsigned k = 0; k < s->copies; k++)
            if (s->slot[k].state == SLOT_INSYNC && s->slot[k].server != server) {
                s->slot[k].state = SLOT_OFFLINE;
                s->slot[k].since_ms = w->now_ms;
            }
        if (new_process)
            oracle_authority(w, shard, server);
    } else {
        slot->state = SLOT_SYNCING;
#ifdef PLANT_D19
        if (insync_up(w, s) == 0) {
            for (unsigned k = 0; k < s->copies; k++)
                if (s->slot[k].state == SLOT_INSYNC)
                    s->slot[k].state = SLOT_OFFLINE;
            slot->state = SLOT_INSYNC;
        }
#endif
    }
    changed(w, shard);
}

static void leader_register(struct world *w, unsigned server, uint64_t incarnation)
{
    struct leader_target *t = &w->leader.target[server];
    bool new_process = t->incarnation != incarnation;
    if (t->up) {
        t->up = false;
        apply_downs(w);
    }
    t->incarnation = incarnation;
    w->leader.version++;
    sim_trace(w, "leader: server %u registers, incarnation %lu", server,
              (unsigned long)incarnation);
    for (unsigned i = 0; i < w->shard_count; i++)
        register_in(w, i, server, new_process);
    t->up = true;
    if (w->servers[server].alive && w->servers[server].incarnation == incarnation)
        w->servers[server].power_lost = false;
}

void leader_heartbeat(struct world *w, struct sim_event *e)
{
    struct leader_target *t = &w->leader.target[e->server];
    if (e->incarnation < t->incarnation)
        return;
    if (t->incarnation == 0) { /* forming */
        t->incarnation = e->incarnation;
        t->up = true;
    } else if (t->incarnation != e->incarnation || !t->up)
        leader_register(w, e->server, e->incarnation);
    t->heard_ms = w->now_ms;
}

void leader_report(struct world *w, const struct chain_work *report, unsigned from)
{
    struct leader_shard *s = &w->leader.shard[report->shard];
    struct leader_slot *slot = slot_of(s, report->target - 1);
    struct leader_slot *reporter = slot_of(s, from);
    if (!slot || !reporter || report->epoch != s->epoch || reporter->state != SLOT_INSYNC ||
        !w->leader.target[from].up)
        return;
    sim_trace(w, "leader: %u reports %u of shard %u: %d", from, report->target - 1, report->shard,
              report->report);
    if (report->report == REPORT_SYNCED) {
        if (slot->state != SLOT_SYNCING || !w->leader.target[slot->server].up)
            return;
        struct leader_slot promoted = *slot;
        unsigned at = (unsigned)(slot - s->slot), last = at;
        promoted.state = SLOT_INSYNC;
        for (unsigned k = 0; k < s->copies; k++)
            if (s->slot[k].state == SLOT_INSYNC)
                last = k;
        /* It joins at the tail: it has not seen what its predecessors have under way. */
        if (last > at)
            memmove(&s->slot[at], &s->slot[at + 1], (last - at) * sizeof s->slot[0]);
        s->slot[last > at ? last : at] = promoted;
    } else {
        unsigned others =
            insync_up(w, s) - (slot->state == SLOT_INSYNC && w->leader.target[slot->server].up);
        /* Both kinds of leaders must do. */
        if (slot->state == SLOT_SYNCING && w->seed % 2)
            return;
        if (slot->state == SLOT_OFFLINE || (slot->state == SLOT_INSYNC && others == 0))
            return;
        slot->state = w->leader.target[slot->server].up ? SLOT_SYNCING : SLOT_OFFLINE;
        slot->since_ms = w->now_ms;
    }
    changed(w, report->shard);
}
