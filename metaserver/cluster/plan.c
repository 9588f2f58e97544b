/* The planner: who is dead, what is formed. */
#include "metaserver/cluster/plan_private.h"

#include <stdlib.h>

#include "metaserver/cluster/balance.h"

#include "common/base/check.h"
#include "common/base/banned.h"

struct plan_options plan_options_default(void)
{
    return (struct plan_options){
        .lease_ms = 3000,
        .margin_ms = 500,
        .suspect_ms = 1250, /* two heartbeats of 500 ms and a half */
        .down_out_ms = 600000,
        .receptions_max = 2,
        .sends_max = 2,
        .small_max = 16, /* as many as a chunkserver fills at a time */
        .slot_bytes = 32 << 20,
        .replacements_max = 64,
        .settle_ms = 10000,
        .initial_targets = 1,
        .copies_wanted = 1u << 2,
    };
}

struct planner *planner_create(void)
{
    struct planner *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    return p;
}

void planner_destroy(struct planner *p)
{
    if (!p)
        return;
    ring_destroy(p->ring);
    balance_destroy(p->balance);
    free(p);
}

struct standing_of *standing_of(const struct planning *p, uint32_t target)
{
    const struct target *t = shard_table_target(p->view->table, target);
    CHECK(t != NULL);
    return &p->standings[t - p->view->table->targets];
}

/* ---- who is there ---- */

const struct target_view *plan_view_of(const struct cluster_view *view, uint32_t target)
{
    unsigned low = 0, high = view->target_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (view->targets[middle].target == target)
            return &view->targets[middle];
        if (view->targets[middle].target < target)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static uint64_t lease_end_ms(const struct planning *p, const struct standing_of *s)
{
    return s->silent_since_ms + p->options->lease_ms + p->options->margin_ms;
}

/* A target that this leader has not heard counts from the moment it took over: the leader before
 * it may have granted a lease until then (docs/placement.md, "Leases"). */
static void judge(const struct planning *p, const struct target *t, struct standing_of *s)
{
    const struct target_view *seen = plan_view_of(p->view, t->id);
    uint64_t now = p->view->now_ms, since = p->view->leader_since_ms;
    bool heard = seen && seen->heard;
    s->target = t->id;
    s->is_drained = t->admin == TARGET_DRAINING;
    s->is_maintained = t->admin == TARGET_MAINTENANCE;
    s->silent_since_ms = heard && seen->heard_ms > since ? seen->heard_ms : since;
    s->receptions = seen ? seen->receptions : 0;
    uint64_t silent_ms = now > s->silent_since_ms ? now - s->silent_since_ms : 0;
    if (t->state == TARGET_FAILED || t->state == TARGET_OUT)
        s->standing = STANDING_FAILED;
    else if (t->state != TARGET_UP)
        s->standing = STANDING_DOWN;
    else if (now >= lease_end_ms(p, s))
        s->standing = STANDING_EXPIRED;
    else if (!heard || silent_ms >= p->options->suspect_ms)
        s->standing = STANDING_SUSPECT;
    else
        s->standing = STANDING_WELL;
    if (t->state == TARGET_UP && seen && seen->failed)
        p->plan->failed[p->plan->failed_count++] = t->id;
}

/* One drain_of for all targets of a job. */
static void assign_drains(const struct planning *p)
{
    unsigned count = 0;
    for (unsigned i = 0; i < p->view->drain_count; i++) {
        const struct drain_view *d = &p->view->drains[i];
        if (!shard_table_target(p->view->table, d->target))
            continue;
        unsigned at = 0;
        while (at < count && p->drains[at].job != d->job)
            at++;
        if (at == count)
            p->drains[count++] = (struct drain_of){
                .job = d->job, .is_paused = d->is_paused, .rate_max = d->rate_max};
        standing_of(p, d->target)->drain = &p->drains[at];
    }
}

static void count_transfers(const struct planning *p, unsigned copies, uint32_t shard,
                            uint32_t *syncing)
{
    const struct shard_table *table = p->view->table;
    struct chain_view chain = shard_table_chain(table, copies, shard);
    const struct shard *s = shard_table_shard(table, copies, shard);
    for (unsigned i = 0; i < copies && chain.epoch > 0; i++)
        standing_of(p, s->slot[i].target)->slots++;
    if (s->move.incoming && s->move.state == SLOT_SYNCING) {
        const struct standing_of *from = standing_of(p, s->move.outgoing);
        if (from->drain)
            from->drain->moves++;
    }
    for (unsigned i = chain.insync_count; i < chain.member_count; i++)
        syncing[standing_of(p, chain.member[i]) - p->standings]++;
    for (unsigned i = chain.insync_count; i < chain.member_count; i++)
        standing_of(p, chain.member[chain.insync_count - 1])->sends++;
}

static void judge_all(const struct planning *p)
{
    const struct shard_table *table = p->view->table;
    uint32_t *syncing = calloc(table->target_count + 1, sizeof *syncing);
    CHECK(syncing != NULL);
    for (unsigned i = 0; i < table->target_count; i++)
        judge(p, &table->targets[i], &p->standings[i]);
    assign_drains(p);
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++)
            count_transfers(p, copies, shard, syncing);
    for (unsigned i = 0; i < table->target_count; i++)
        if (p->standings[i].receptions < syncing[i])
            p->standings[i].receptions = syncing[i];
    free(syncing);
}

/* ---- who is dead ---- */

/* Where an expired target's last companions in sync are silent too, one of them may be as dead as
 * it is. Declared dead together both copies stay good; one after the other, the first would be
 * stale although it lacks nothing. */
static void wait_for_suspects(const struct planning *p, unsigned copies, uint32_t shard)
{
    struct chain_view chain = shard_table_chain(p->view->table, copies, shard);
    bool suspect = false;
    for (unsigned i = 0; i < chain.insync_count; i++) {
        enum standing standing = standing_of(p, chain.member[i])->standing;
        if (standing == STANDING_WELL)
            return;
        suspect = suspect || standing == STANDING_SUSPECT;
    }
    for (unsigned i = 0; suspect && i < chain.insync_count; i++) {
        struct standing_of *s = standing_of(p, chain.member[i]);
        s->wait = s->wait || s->standing == STANDING_EXPIRED;
    }
}

static void plan_offline(const struct planning *p)
{
    const struct shard_table *table = p->view->table;
    struct plan *plan = p->plan;
    bool any = false;
    for (unsigned i = 0; i < table->target_count; i++)
        any = any || p->standings[i].standing == STANDING_EXPIRED;
    for (unsigned copies = 1; any && copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++)
            wait_for_suspects(p, copies, shard);
    for (unsigned i = 0; i < table->target_count; i++) {
        const struct standing_of *s = &p->standings[i];
        uint64_t end_ms = lease_end_ms(p, s);
        if (table->targets[i].state == TARGET_UP && end_ms > p->view->now_ms &&
            end_ms < plan->wake_at_ms)
            plan->wake_at_ms = end_ms;
        if (s->standing != STANDING_EXPIRED)
            continue;
        /* Waiting has an end, even when one suspect follows another. */
        if (s->wait && p->view->now_ms < end_ms + p->options->lease_ms)
            continue;
        plan->offline[plan->offline_count++] = (struct rec_target_life){
            .target = s->target, .incarnation = table->targets[i].incarnation};
    }
}

/* ---- what is formed ---- */

static void plan_form(const struct planning *p)
{
    const struct shard_table *table = p->view->table;
    unsigned well = 0;
    if (p->plan->weight_count > 0)
        return; /* not by weights that are about to change */
    for (unsigned i = 0; i < table->target_count; i++)
        well +=
            p->standings[i].standing == STANDING_WELL && target_ring_weight(&table->targets[i]) > 0;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++) {
        if (!(p->options->copies_wanted & 1u << copies) || table->shards[copies] || well < copies ||
            well < p->options->initial_targets)
            continue;
        p->plan->form_copies = copies;
        return; /* one after the other: each is a command of its own */
    }
}

/* More than a third of the targets that hold data or could: rather our own network than theirs. */
static void look_for_a_storm(const struct planning *p)
{
    unsigned total = 0, vanished = 0;
    for (unsigned i = 0; i < p->view->table->target_count; i++) {
        const struct standing_of *s = &p->standings[i];
        bool away = s->standing != STANDING_WELL && s->standing != STANDING_FAILED;
        if (away && s->is_maintained)
            continue; /* it was announced */
        total += s->slots > 0 || s->standing == STANDING_WELL;
        vanished += away && s->slots > 0;
    }
    p->plan->vanished = vanished;
    p->plan->storm = vanished > 1 && vanished * 3 > total; /* one is never a storm */
}

static void plan_clear(struct plan *plan)
{
    plan->failed_count = plan->offline_count = plan->replacement_count = plan->blocked_count = 0;
    plan->form_copies = plan->vanished = 0;
    plan->weight_count = plan->waiting = plan->balance_left = 0;
    plan->storm = false;
    plan->wake_at_ms = UINT64_MAX;
}

void planner_run(struct planner *planner, const struct cluster_view *view,
                 const struct plan_options *options, struct plan *ret_plan)
{
    struct planning p = {
        .drains = calloc(view->drain_count + 1, sizeof *p.drains),
        .view = view,
        .options = options,
        .standings = calloc(view->table->target_count + 1, sizeof *p.standings),
        .planner = planner,
        .plan = ret_plan,
    };
    CHECK(p.standings != NULL && p.drains != NULL);
    plan_clear(ret_plan);
    judge_all(&p);
    plan_set_pace(&p);
    plan_offline(&p);
    plan_weights(&p);
    plan_form(&p);
    look_for_a_storm(&p);
#ifndef PLANT_D26
    bool may_replace = !ret_plan->storm || options->ignore_storm;
#else
    bool may_replace = true;
#endif
    /* Everyone gets one lease's time to be heard by a new leader before data moves. */
    uint64_t settled_ms = view->leader_since_ms + options->lease_ms + options->margin_ms;
    /* Targets that leave by this plan give their shards new epochs: replace in the next run. */
    bool steady = ret_plan->offline_count == 0 && ret_plan->failed_count == 0;
    if (may_replace && steady && view->now_ms >= settled_ms)
        plan_replacements(&p);
    if (!may_replace)
        plan_block_drains(&p, JOB_STORM);
    free(p.standings);
    free(p.drains);
}
