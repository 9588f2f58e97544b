/* The log of commands: in order, late, and after a fail-over only a part of what was proposed. */
#include "tests/sim/planner_sim.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum { STALL_CHANCE = 10, STALL_MS = 800, AGAIN_CHANCE = 50, INTERREGNUM_MS = 1500 };

bool log_has(const struct world *w, enum command_kind kind, uint32_t target)
{
    const struct planned *p = w->planned;
    for (unsigned i = 0; i < p->log_count; i++) {
        const struct command *c = p->log[i];
        if (c->kind != kind)
            continue;
        if (kind != COMMAND_OFFLINE && c->target == target)
            return true;
        for (unsigned k = 0; kind == COMMAND_OFFLINE && k < c->count; k++)
            if (c->lives[k].target == target)
                return true;
    }
    return false;
}

void log_propose(struct world *w, const struct command *command)
{
    struct planned *p = w->planned;
    if (!p->leads || p->log_count == LOG_MAX)
        return;
    struct command *copy = malloc(sizeof *copy);
    CHECK(copy != NULL);
    *copy = *command;
    p->log[p->log_count++] = copy;
    p->under_way += command->is_planned;
    int64_t at_ms = w->now_ms + sim_delay(w, 3);
    if (w->faults && prng_chance(&w->prng, STALL_CHANCE))
        at_ms += (int64_t)prng_below(&w->prng, STALL_MS);
    p->commit_ms = at_ms > p->commit_ms ? at_ms : p->commit_ms;
    struct sim_event *e = sim_schedule(w, p->commit_ms - w->now_ms, SIM_PROGRAM);
    e->id = PLANNER_COMMIT;
    e->attempt = p->term;
}

/* ---- what a command does ---- */

static void apply_register(struct world *w, const struct command *c)
{
    struct planned *p = w->planned;
    if (!leader_register(w, c->target, c->incarnation) || !p->leads)
        return;
    p->seen[c->target] =
        (struct seen){.heard = true, .heard_ms = w->now_ms, .up_since_ms = w->now_ms};
    p->plan_at_ms = 0;
}

static bool apply_offline(struct world *w, const struct command *c)
{
    uint32_t targets[SERVERS_MAX];
    uint64_t incarnations[SERVERS_MAX];
    for (unsigned i = 0; i < c->count; i++) {
        sim_trace(w, "leader: lease of %u ran out", c->lives[i].target - 1);
        targets[i] = c->lives[i].target;
        incarnations[i] = c->lives[i].incarnation;
    }
    w->planned->done.offline += c->count;
    return shard_table_offline(&w->leader.table, w->leader.version, targets, incarnations,
                               c->count);
}

static bool apply_slots(struct world *w, const struct command *c)
{
    struct planned *p = w->planned;
    unsigned changed = 0;
    for (unsigned i = 0; i < c->count; i++)
        changed += shard_table_change(&w->leader.table, w->leader.version, &c->changes[i]);
    p->done.changes += changed;
    if (changed > 0)
        p->slots_ms = w->now_ms;
    if (!w->faults)
        p->changes_healed += changed;
    return changed > 0;
}

/* Who left, or was dropped, may be the last to know. */
static void learn_late(struct world *w, unsigned server)
{
    if (w->faults && prng_chance(&w->prng, 300))
        w->servers[server].table_late_until_ms =
            w->now_ms + (int64_t)prng_below(&w->prng, 2 * LEASE_MS);
}

static bool change_table(struct world *w, const struct command *c)
{
    struct shard_table *t = &w->leader.table;
    uint64_t version = w->leader.version;
    bool changed;
    switch (c->kind) {
    case COMMAND_REPORT:
        changed = shard_table_report(t, version, &c->report);
        if (changed && c->report.kind != REPORT_SYNCED)
            learn_late(w, c->report.target - 1);
        w->planned->done.moved += changed && c->report.kind == REPORT_LEFT;
        return changed;
    case COMMAND_ADMIN:
        sim_trace(w, "operator: server %u: %s", c->target - 1,
                  c->admin == TARGET_DRAINING ? "drain"
                  : c->admin == TARGET_ACTIVE ? "active"
                                              : "maintenance");
        if (c->admin == TARGET_MAINTENANCE)
            return shard_table_set_maintenance(t, version, c->target, 0) == 0;
        return shard_table_set_admin(t, version, c->target, c->admin) == 0;
    case COMMAND_FAILED:
        sim_trace(w, "leader: disk of %u failed", c->target - 1);
        w->planned->done.failed++;
        return shard_table_failed(t, version, c->target);
    case COMMAND_OFFLINE:
        return apply_offline(w, c);
    case COMMAND_SLOTS:
        return apply_slots(w, c);
    case COMMAND_WEIGHTS:
        for (unsigned i = 0; i < c->count; i++)
            (void)shard_table_set_weight(t, version, c->weights[i].target, c->weights[i].weight,
                                         c->weights[i].rebalance != 0);
        w->planned->done.weights++;
        return true;
    default:
        UNREACHABLE("command %d", c->kind);
    }
}

static void apply(struct world *w, const struct command *c)
{
    struct before before;
    check_before(w, &before);
    if (c->kind == COMMAND_REGISTER) {
        apply_register(w, c);
    } else {
        w->leader.version++;
        if (change_table(w, c))
            leader_look(w);
    }
    check_command(w, c, &before);
    if (c->kind == COMMAND_SLOTS && w->faults && prng_chance(&w->prng, AGAIN_CHANCE))
        w->planned->again = *c;
}

static void take_first(struct world *w)
{
    struct planned *p = w->planned;
    struct command *c = p->log[0];
    p->log_count--;
    memmove(p->log, p->log + 1, p->log_count * sizeof(struct command *));
    apply(w, c);
    if (c->is_planned) {
        CHECK(p->under_way > 0);
        p->under_way--;
        p->plan_at_ms = p->under_way ? p->plan_at_ms : 0;
    }
    free(c);
    /* A command that was sent twice: it names epochs that are over. */
    if (p->again.kind && prng_chance(&w->prng, 100)) {
        struct command again = p->again;
        p->again.kind = 0;
        p->done.repeated++;
        apply(w, &again);
    }
}

void log_commit(struct world *w)
{
    CHECK(w->planned->log_count > 0);
    take_first(w);
}

/* ---- fail-over ---- */

/* What is not on a majority yet is lost; the rest is applied before the next one leads. */
void log_leader_fails(struct world *w)
{
    struct planned *p = w->planned;
    if (!p->leads)
        return;
    p->leads = false;
    p->term++;
    unsigned kept = (unsigned)prng_below(&w->prng, p->log_count + 1);
    sim_trace(w, "the leader fails, %u of %u commands survive", kept, p->log_count);
    while (p->log_count > kept)
        free(p->log[--p->log_count]);
    struct sim_event *e =
        sim_schedule(w, (int64_t)prng_between(&w->prng, 10, INTERREGNUM_MS), SIM_PROGRAM);
    e->id = PLANNER_ELECT;
}

void log_elect(struct world *w)
{
    struct planned *p = w->planned;
    while (p->log_count > 0)
        take_first(w);
    sim_trace(w, "a new leader, term %lu", (unsigned long)p->term);
    memset(p->seen, 0, sizeof p->seen);
    planner_destroy(p->planner); /* what it keeps is the old leader's */
    p->planner = planner_create();
    p->leads = true;
    p->since_ms = p->commit_ms = w->now_ms;
    p->under_way = 0;
    p->plan_at_ms = 0;
    p->done.elections++;
}

void log_release(struct world *w)
{
    while (w->planned->log_count > 0)
        free(w->planned->log[--w->planned->log_count]);
}
