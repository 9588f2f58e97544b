/* What the planner and its commands must never do, worked out without the planner's code. */
#include <string.h>

#include "tests/sim/planner_sim.h"

#include "common/base/check.h"
#include "common/base/banned.h"

/* ---- commands ---- */

static bool is_good_copy(const struct world *w, uint32_t target)
{
    const struct target *t = leader_target(w, target - 1);
    return t && t->state == TARGET_UP;
}

static bool is_living_copy(const struct world *w, uint32_t target)
{
    const struct target *t = leader_target(w, target - 1);
    return server_serves(w, target - 1) && t &&
           t->incarnation == w->servers[target - 1].incarnation;
}

static void count_good(const struct world *w, unsigned shard, unsigned *ret_good,
                       unsigned *ret_living)
{
    struct chain_view chain = leader_chain(w, shard);
    *ret_good = *ret_living = 0;
    for (unsigned k = 0; k < chain.insync_count; k++) {
        *ret_good += is_good_copy(w, chain.member[k]);
        *ret_living += is_living_copy(w, chain.member[k]);
    }
}

void check_before(const struct world *w, struct before *ret)
{
    for (unsigned i = 0; i < w->shard_count; i++) {
        ret->shard[i] = *leader_shard(w, i);
        count_good(w, i, &ret->good[i], &ret->living[i]);
    }
}

/* Nobody comes in sync but by the word of the source that filled it: no stale copy is promoted,
 * whoever else is down (D19). */
static void check_promotions(struct world *w, const struct command *c, const struct before *before,
                             unsigned shard)
{
    struct chain_view chain = leader_chain(w, shard);
    bool is_report = c->kind == COMMAND_REPORT && c->report.kind == REPORT_SYNCED &&
                     sim_shard_at(w, c->report.copies, c->report.shard) == shard;
    if (chain.insync_count == 0)
        sim_fail(w, "shard %u has no copy left", shard);
    for (unsigned k = 0; k < chain.insync_count; k++)
        if (!shard_has_in_sync(&before->shard[shard], w->leader.copies[shard], chain.member[k]) &&
            !(is_report && c->report.target == chain.member[k]))
            sim_fail(w, "shard %u: server %u came in sync by no report", shard,
                     chain.member[k] - 1);
}

/* (a) Our own moves never leave fewer good copies than there were, or than are wanted. Slots are
 * changed without any loss; when a target has left, the wanted number stays. */
void check_command(struct world *w, const struct command *c, const struct before *before)
{
    for (unsigned i = 0; i < w->shard_count && !w->failed; i++) {
        if (leader_shard(w, i)->epoch == before->shard[i].epoch)
            continue;
        unsigned good, living, wanted = w->leader.copies[i];
        count_good(w, i, &good, &living);
        check_promotions(w, c, before, i);
        bool is_own = c->kind == COMMAND_SLOTS || c->kind == COMMAND_ADMIN ||
                      (c->kind == COMMAND_REPORT && c->report.kind != REPORT_OUT_OF_SYNC);
        if (c->kind == COMMAND_SLOTS && (good < before->good[i] || living < before->living[i]))
            sim_fail(w, "shard %u: a planned change took a good copy away", i);
        if (is_own && good < before->good[i] && good < wanted)
            sim_fail(w, "shard %u: %u good copies became %u of %u by a move", i, before->good[i],
                     good, wanted);
    }
}

/* ---- plans ---- */

struct traffic {
    unsigned receives[SERVERS_MAX], sends[SERVERS_MAX], holds[SERVERS_MAX];
};

static void count_traffic(const struct world *w, struct traffic *t)
{
    for (unsigned i = 0; i < w->shard_count; i++) {
        const struct shard *s = leader_shard(w, i);
        struct chain_view chain = leader_chain(w, i);
        for (unsigned k = 0; k < w->leader.copies[i]; k++)
            t->holds[s->slot[k].target - 1]++;
        for (unsigned k = chain.insync_count; k < chain.member_count; k++) {
            t->receives[chain.member[k] - 1]++;
            t->sends[chain.member[chain.insync_count - 1] - 1]++;
        }
    }
}

static bool is_heard(const struct world *w, unsigned server)
{
    const struct seen *s = &w->planned->seen[server];
    return leader_is_up(w, server) && s->heard && s->heard_ms + SUSPECT_MS > w->now_ms;
}

/* Up, as far as this leader can know: its lease has not run out for certain. */
static bool may_live(const struct world *w, unsigned server)
{
    const struct planned *p = w->planned;
    const struct seen *s = &p->seen[server];
    int64_t since_ms = s->heard && s->heard_ms > p->since_ms ? s->heard_ms : p->since_ms;
    return leader_is_up(w, server) && since_ms + LEASE_MS + MARGIN_MS > w->now_ms;
}

/* (f) While more than a third are away nothing is given to others (D26), but when all of them are
 * in one host. */
static void check_storm(struct world *w, const struct traffic *t)
{
    const struct plan *plan = w->planned->plan;
    unsigned away = 0, total = 0;
    const char *host = NULL;
    bool is_one_host = true;
    for (unsigned i = 0; i < w->server_count; i++) {
        const struct target *target = leader_target(w, i);
        if (!target)
            continue;
        if (target->admin == TARGET_MAINTENANCE && !is_heard(w, i) &&
            target->state != TARGET_FAILED)
            continue; /* it was announced */
        total += t->holds[i] > 0 || is_heard(w, i);
        if (t->holds[i] == 0 || is_heard(w, i) || target->state == TARGET_FAILED)
            continue;
        away++;
        is_one_host = is_one_host && (!host || strcmp(host, target->host) == 0);
        host = target->host;
    }
    if (!is_one_host && away * 3 > total && plan->replacement_count > 0)
        sim_fail(w, "the planner changes %u slots while %u of %u targets are away",
                 plan->replacement_count, away, total);
}

/* A server that restarts is worth waiting for, one in maintenance as long as that lasts: but not
 * with the last of three or more copies, a failed disk, or a target that shall be empty. */
static bool is_given_up(const struct world *w, uint32_t target, unsigned copies, unsigned good)
{
    const struct planned *p = w->planned;
    const struct target *t = leader_target(w, target - 1);
    const struct seen *s = &p->seen[target - 1];
    int64_t since_ms = s->heard && s->heard_ms > p->since_ms ? s->heard_ms : p->since_ms;
    if (t->state == TARGET_FAILED || t->admin == TARGET_DRAINING || (copies >= 3 && good == 1))
        return true;
    return t->admin != TARGET_MAINTENANCE && w->now_ms >= since_ms + DOWN_OUT_MS;
}

static void check_change(struct world *w, struct traffic *t, const struct rec_slot_change *c)
{
    const struct plan_options *o = &w->planned->options;
    unsigned shard = sim_shard_at(w, c->copies, c->shard), up = 0;
    struct chain_view chain = leader_chain(w, shard);
    if (c->new_target == 0)
        return;
    const struct target *to = leader_target(w, c->new_target - 1);
    unsigned source = chain.member[chain.insync_count - 1] - 1;
    const struct shard *s = leader_shard(w, shard);
    bool is_move = shard_has_in_sync(s, c->copies, c->old_target);
    for (unsigned k = 0; k < chain.insync_count; k++)
        up += may_live(w, chain.member[k] - 1);
    if (!to || to->state != TARGET_UP || to->admin != TARGET_ACTIVE)
        sim_fail(w, "shard %u is given to server %u, which is down or shall be empty", shard,
                 c->new_target - 1);
    for (unsigned k = 0; is_move && k < c->copies; k++)
        if (!shard_has_in_sync(s, c->copies, s->slot[k].target))
            sim_fail(w, "shard %u lacks a copy, and one of those left is to move", shard);
    if (!is_move && !is_given_up(w, c->old_target, c->copies, up))
        sim_fail(w, "shard %u: the slot of server %u is given away before its time", shard,
                 c->old_target - 1);
    if (++t->receives[c->new_target - 1] > o->receptions_max)
        sim_fail(w, "server %u is to receive %u shards at a time", c->new_target - 1,
                 t->receives[c->new_target - 1]);
    if (++t->sends[source] > o->sends_max && (is_move || up > 1))
        sim_fail(w, "server %u is to send %u shards at a time", source, t->sends[source]);
}

void check_plan(struct world *w)
{
    const struct plan *plan = w->planned->plan;
    struct traffic t = {0};
    count_traffic(w, &t);
    check_storm(w, &t);
    for (unsigned i = 0; i < plan->replacement_count; i++)
        check_change(w, &t, &plan->replacements[i]);
}

/* ---- at the end ---- */

bool slot_is_settled(const struct world *w, unsigned shard, unsigned slot)
{
    const struct shard *s = leader_shard(w, shard);
    const struct target *holder = leader_target(w, s->slot[slot].target - 1);
    enum slot_state unused;
    if (s->slot[slot].state == SLOT_INSYNC && holder->state == TARGET_UP &&
        holder->admin != TARGET_DRAINING)
        return true;
    if (s->slot[slot].state == SLOT_SYNCING)
        return false;
    for (unsigned i = 0; i < w->server_count; i++) {
        const struct target *t = leader_target(w, i);
        if (t && t->state == TARGET_UP && t->admin == TARGET_ACTIVE &&
            !shard_has_member(s, w->leader.copies[shard], t->id, &unused))
            return false;
    }
    return true;
}
