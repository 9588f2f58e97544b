/* A leader as metaserver/targets.c is one: who gets a lease, who may register, and the planner. */
#include "tests/sim/planner_sim.h"

#include "common/base/check.h"
#include "common/base/banned.h"

enum { PLAN_EVERY_MS = 300, REGISTER_PATIENCE_MS = 1000 };

void leader_start(struct world *w)
{
    struct planned *p = w->planned;
    p->planner = planner_create();
    p->options = plan_options_default();
    p->options.lease_ms = LEASE_MS;
    p->options.margin_ms = MARGIN_MS;
    p->options.suspect_ms = SUSPECT_MS;
    p->options.down_out_ms = DOWN_OUT_MS;
    p->options.receptions_max = (uint32_t)prng_between(&w->prng, 1, 2);
    p->options.sends_max = (uint32_t)prng_between(&w->prng, 1, 2);
    p->options.replacements_max = (uint32_t)prng_between(&w->prng, 1, CHANGES_MAX);
    p->options.small_max = 0;
    p->options.settle_ms = SETTLE_MS;
    p->options.copies_wanted = 0;
    for (unsigned i = 0; i < SERVERS_MAX; i++)
        p->capacity[i] = prng_chance(&w->prng, 300) ? 2000000 : 1000000;
    p->leads = true;
}

/* ---- heartbeats ---- */

static bool all_others_are_known(const struct world *w, unsigned server)
{
    for (unsigned i = 0; i < w->server_count; i++)
        if (i != server && leader_is_up(w, i) && !w->planned->seen[i].heard)
            return false;
    return true;
}

static bool may_register(const struct world *w, unsigned server)
{
    const struct planned *p = w->planned;
    bool is_overdue = w->now_ms >= p->since_ms + LEASE_MS + MARGIN_MS + REGISTER_PATIENCE_MS;
    bool offline_pending = leader_is_up(w, server) && !p->seen[server].heard;
    return !offline_pending || is_overdue || all_others_are_known(w, server);
}

static void ask_to_register(struct world *w, const struct sim_event *e)
{
    const struct target *t = leader_target(w, e->server);
    bool is_new_process = t && t->incarnation != e->incarnation;
    if (log_has(w, COMMAND_REGISTER, e->server) || (t && t->incarnation > e->incarnation) ||
        (is_new_process && !may_register(w, e->server)))
        return;
    struct command c = {
        .kind = COMMAND_REGISTER, .target = e->server, .incarnation = e->incarnation};
    log_propose(w, &c);
}

bool leader_heartbeat(struct world *w, struct sim_event *e)
{
    struct planned *p = w->planned;
    const struct target *t = leader_target(w, e->server);
    struct seen *seen = &p->seen[e->server];
    bool failed = w->servers[e->server].disk_failed;
    if (!p->leads)
        return false;
    if (t && t->incarnation == e->incarnation && failed) {
        p->plan_at_ms = seen->failed ? p->plan_at_ms : 0;
        seen->failed = true;
        return false;
    }
    if (!t || t->incarnation != e->incarnation || t->state != TARGET_UP) {
        if (!failed)
            ask_to_register(w, e);
        return false;
    }
    if (log_has(w, COMMAND_OFFLINE, t->id))
        return false;
    seen->heard = true;
    seen->heard_ms = w->now_ms;
    return true;
}

bool leader_serves_table(const struct world *w, const struct sim_event *e)
{
    const struct target *t = leader_target(w, e->server);
    return w->planned->leads && t && t->incarnation == e->incarnation;
}

void leader_report(struct world *w, const struct chain_work *report, unsigned from)
{
    struct command c = {.kind = COMMAND_REPORT,
                        .report = {.copies = report->copies,
                                   .shard = report->shard,
                                   .epoch = report->epoch,
                                   .target = report->target,
                                   .kind = (uint8_t)report->report,
                                   .reporter = from + 1}};
    sim_trace(w, "leader: %u reports %u of shard %u: %d", from, report->target - 1,
              sim_shard_at(w, report->copies, report->shard), report->report);
    log_propose(w, &c);
}

/* ---- the planner ---- */

static void carry_out(struct world *w)
{
    struct planned *p = w->planned;
    const struct plan *plan = p->plan;
    for (unsigned i = 0; i < plan->failed_count; i++) {
        struct command c = {.kind = COMMAND_FAILED, .is_planned = true, .target = plan->failed[i]};
        log_propose(w, &c);
    }
    if (plan->offline_count) {
        struct command c = {
            .kind = COMMAND_OFFLINE, .is_planned = true, .count = plan->offline_count};
        for (unsigned i = 0; i < plan->offline_count; i++)
            c.lives[i] = plan->offline[i];
        log_propose(w, &c);
    }
    if (plan->weight_count) {
        struct command c = {
            .kind = COMMAND_WEIGHTS, .is_planned = true, .count = plan->weight_count};
        for (unsigned i = 0; i < plan->weight_count; i++)
            c.weights[i] = plan->weights[i];
        log_propose(w, &c);
    }
    if (plan->replacement_count) {
        struct command c = {
            .kind = COMMAND_SLOTS, .is_planned = true, .count = plan->replacement_count};
        CHECK(plan->replacement_count <= CHANGES_MAX);
        for (unsigned i = 0; i < plan->replacement_count; i++)
            c.changes[i] = plan->replacements[i];
        log_propose(w, &c);
    }
}

static uint32_t receptions_of(const struct world *w, uint32_t target)
{
    uint32_t count = 0;
    enum slot_state state;
    for (unsigned i = 0; i < w->shard_count; i++)
        count += shard_has_member(leader_shard(w, i), w->leader.copies[i], target, &state) &&
                 state == SLOT_SYNCING;
    return count;
}

void leader_check(struct world *w)
{
    struct planned *p = w->planned;
    struct target_view views[SERVERS_MAX] = {0};
    unsigned count = 0;
    if (!p->leads || p->under_way > 0 || w->now_ms < p->plan_at_ms)
        return;
    for (unsigned i = 0; i < w->server_count; i++)
        if (p->seen[i].heard || p->seen[i].failed) {
            views[count].target = i + 1;
            views[count].heard = p->seen[i].heard;
            views[count].heard_ms = (uint64_t)p->seen[i].heard_ms;
            views[count].failed = p->seen[i].failed;
            views[count].up_since_ms = (uint64_t)p->seen[i].up_since_ms;
            views[count].is_told = p->seen[i].heard;
            views[count].bytes_total = p->capacity[i];
            views[count++].receptions = receptions_of(w, i + 1);
        }
    struct cluster_view view = {.table = &w->leader.table,
                                .targets = views,
                                .target_count = count,
                                .now_ms = (uint64_t)w->now_ms,
                                .leader_since_ms = (uint64_t)p->since_ms};
    planner_run(p->planner, &view, &p->options, p->plan);
    p->planned_version = w->leader.table.version;
    p->plan_at_ms = w->now_ms + PLAN_EVERY_MS;
    if (p->plan->wake_at_ms < (uint64_t)p->plan_at_ms)
        p->plan_at_ms = (int64_t)p->plan->wake_at_ms;
    p->done.plans++;
    p->done.storms += p->plan->storm;
    p->done.blocked += p->plan->blocked_count > 0;
    check_plan(w);
    carry_out(w);
}
