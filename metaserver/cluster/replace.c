/* The planner: which slots get another target, fewest copies first, few at a time (D25): those
 * whose target is gone for good, and those that a drained target still has. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "metaserver/cluster/balance.h"
#include "metaserver/cluster/cluster_ring.h"
#include "common/base/banned.h"

struct lost_slot {
    uint32_t shard, target;
    uint8_t copies, good; /* in-sync copies that are up */
    bool is_drained;      /* nothing is lost; its target shall be empty */
};

struct lost_slots {
    struct lost_slot *slots;
    size_t count, capacity;
};

static unsigned good_copies(const struct planning *p, const struct shard *s, unsigned copies)
{
    unsigned good = 0;
    for (unsigned i = 0; i < copies; i++) {
        enum standing standing = standing_of(p, s->slot[i].target)->standing;
        good += (s->slot[i].state == SLOT_INSYNC || s->slot[i].state == SLOT_LEAVING) &&
                (standing == STANDING_WELL || standing == STANDING_SUSPECT);
    }
    return good;
}

/* A server that restarts is worth waiting for; a failed disk is not, nor is the last good one of
 * three or more copies a place to wait at. With two copies each missing one leaves one, so there
 * the wait is for all (docs/placement.md). */
static bool is_lost(const struct planning *p, const struct standing_of *s, unsigned copies,
                    unsigned good)
{
    if (s->standing == STANDING_FAILED || (s->standing == STANDING_DOWN && s->is_drained))
        return true;
#ifndef PLANT_MAINTENANCE
    if (s->is_maintained) /* it said that it comes back */
        return s->standing == STANDING_DOWN && copies >= 3 && good == 1;
#endif
    return s->standing == STANDING_DOWN &&
           ((copies >= 3 && good == 1) ||
            p->view->now_ms >= s->silent_since_ms + p->options->down_out_ms);
}

static void add(struct lost_slots *lost, struct lost_slot slot)
{
    if (lost->count == lost->capacity) {
        lost->capacity = lost->capacity ? lost->capacity * 2 : 256;
        lost->slots = realloc(lost->slots, lost->capacity * sizeof *lost->slots);
        CHECK(lost->slots != NULL);
    }
    lost->slots[lost->count++] = slot;
}

/* The slot of a drained target that may begin to move; counts those that may not. */
static uint32_t find_drained(const struct planning *p, const struct shard *s, unsigned copies,
                             uint32_t lost)
{
    uint32_t found = 0, waits_for;
    for (unsigned i = 0; i < copies; i++) {
        const struct standing_of *holder = standing_of(p, s->slot[i].target);
        if (!holder->is_drained || holder->target == lost ||
            (holder->drain && holder->drain->is_paused))
            continue;
        enum job_reason reason = plan_reason_of(p, s, copies, i, &waits_for);
        if (reason)
            plan_note_blocked(p, holder->target, reason, waits_for, 1);
        else if (!found && !s->move.incoming && s->slot[i].state == SLOT_INSYNC &&
                 holder->standing == STANDING_WELL)
            found = holder->target;
    }
    return found;
}

/* At most one slot of a shard: the second would name an epoch that the first has ended. */
static void find_lost(const struct planning *p, unsigned copies, uint32_t shard,
                      struct lost_slots *lost)
{
    const struct shard *s = shard_table_shard(p->view->table, copies, shard);
    if (s->epoch == 0)
        return;
    unsigned good = good_copies(p, s, copies);
    uint32_t gone = 0;
    for (unsigned i = 0; good > 0 && i < copies && !gone; i++)
        if (s->slot[i].state == SLOT_OFFLINE &&
            is_lost(p, standing_of(p, s->slot[i].target), copies, good))
            gone = s->slot[i].target;
    uint32_t drained = find_drained(p, s, copies, gone);
    if (gone)
        add(lost, (struct lost_slot){shard, gone, (uint8_t)copies, (uint8_t)good, false});
    else if (drained)
        add(lost, (struct lost_slot){shard, drained, (uint8_t)copies, (uint8_t)good, true});
}

static int compare_lost(const void *a, const void *b)
{
    const struct lost_slot *x = a, *y = b;
    if (x->is_drained != y->is_drained)
        return x->is_drained ? 1 : -1;
    if (x->good != y->good)
        return x->good < y->good ? -1 : 1;
    if (x->shard != y->shard)
        return x->shard < y->shard ? -1 : 1;
    return x->copies < y->copies ? -1 : x->copies > y->copies;
}

/* ---- the ring ---- */

/* FNV-1a over what the ring is made of. */
static uint64_t digest_targets(const struct shard_table *table)
{
    uint64_t digest = 0xcbf29ce484222325u;
    for (unsigned i = 0; i < table->target_count; i++) {
        const struct target *t = &table->targets[i];
        uint8_t key[UUID_SIZE + sizeof t->weight + sizeof t->host];
        uint32_t weight = target_ring_weight(t);
        memcpy(key, t->uuid.bytes, UUID_SIZE);
        memcpy(key + UUID_SIZE, &weight, sizeof t->weight);
        memcpy(key + UUID_SIZE + sizeof t->weight, t->host, sizeof t->host);
        for (size_t byte = 0; byte < sizeof key; byte++)
            digest = (digest ^ key[byte]) * 0x100000001b3u;
    }
    return digest;
}

static const struct ring *ring_of(const struct planning *p)
{
    const struct shard_table *table = p->view->table;
    uint64_t digest = digest_targets(table);
    if (p->planner->ring && p->planner->ring_digest == digest)
        return p->planner->ring;
    ring_destroy(p->planner->ring);
    p->planner->ring = cluster_ring_create(table, NULL, 0);
    p->planner->ring_digest = digest;
    return p->planner->ring;
}

/* ---- choosing ---- */

struct asking {
    const struct planning *p;
    uint32_t full; /* what a target without room is: RING_CLOSED, RING_BUSY, or 0 as good as any */
    bool now;      /* limits of what goes on at a time count */
};

static uint32_t pending_of(const void *arg, uint32_t id)
{
    const struct asking *asking = arg;
    const struct planning *p = asking->p;
    const struct standing_of *s = standing_of(p, id);
    /* One in maintenance may be gone in a minute: what it received would be stale. */
    if (s->standing != STANDING_WELL || s->is_maintained)
        return RING_CLOSED;
    uint64_t slot = p->slot_bytes == UINT64_MAX ? 0 : p->slot_bytes;
    if (asking->full && s->bytes_free < slot * (s->receptions + 1))
        return asking->full;
#ifdef PLANT_D25
    return s->receptions;
#endif
    return asking->now && s->receptions >= p->receptions_max ? RING_BUSY : s->receptions;
}

/* -ERR_NO_SPACE: there are targets for it, all too full. A copy that is missing may stand nearer to
 * the others than it should, or on a full disk, rather than nowhere; one that is drained waits for
 * room, because it is still there, and goes where a balance would fill anyway. */
static int choose(const struct planning *p, const struct ring *ring, const struct lost_slot *lost,
                  const uint32_t *taken, unsigned taken_count, uint32_t *ret_target)
{
    struct asking asking = {p, lost->is_drained ? RING_BUSY : RING_CLOSED, true};
    uint32_t wish =
        lost->is_drained ? balance_wish(p, lost->copies, lost->shard, lost->target) : RING_CLOSED;
    if (wish == RING_BUSY)
        return -ERR_BUSY;
    if (wish != RING_CLOSED) {
        *ret_target = wish;
        return 0;
    }
    int status =
        ring_replacement(ring, lost->shard, taken, taken_count, pending_of, &asking, ret_target);
    if (status == -ERR_NO_ENTRY && !lost->is_drained) {
        asking.full = 0;
        return ring_replacement(ring, lost->shard, taken, taken_count, pending_of, &asking,
                                ret_target);
    }
    if (status == -ERR_BUSY && lost->is_drained) {
        uint32_t later;
        asking.now = false;
        if (ring_replacement(ring, lost->shard, taken, taken_count, pending_of, &asking, &later) ==
            -ERR_BUSY)
            status = -ERR_NO_SPACE;
    }
    return status;
}

/* Nobody can take it now: one that could if it were there, or were not in maintenance. */
static uint32_t awaited(const struct planning *p, const uint32_t *taken, unsigned taken_count)
{
    for (unsigned i = 0; i < p->view->table->target_count; i++) {
        const struct standing_of *s = &p->standings[i];
        bool is_taken = s->is_drained || s->standing == STANDING_FAILED ||
                        (s->standing == STANDING_WELL && !s->is_maintained);
        for (unsigned j = 0; j < taken_count; j++)
            is_taken = is_taken || taken[j] == s->target;
        if (!is_taken)
            return s->target;
    }
    return 0;
}

static unsigned list_taken(const struct shard *s, const struct lost_slot *lost,
                           uint32_t ret_taken[CHAIN_VIEW_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < lost->copies; i++)
        if (s->slot[i].target != lost->target)
            ret_taken[count++] = s->slot[i].target;
    if (s->move.incoming)
        ret_taken[count++] = s->move.incoming;
    return count;
}

static void replace_slot(const struct planning *p, const struct ring *ring,
                         const struct lost_slot *lost)
{
    struct chain_view chain = shard_table_chain(p->view->table, lost->copies, lost->shard);
    const struct shard *s = shard_table_shard(p->view->table, lost->copies, lost->shard);
    struct standing_of *source = standing_of(p, chain.member[chain.insync_count - 1]);
    struct drain_of *drain = lost->is_drained ? standing_of(p, lost->target)->drain : NULL;
    uint32_t taken[CHAIN_VIEW_MAX], target;
    unsigned taken_count = list_taken(s, lost, taken);
    /* The last good copy does not queue behind resyncs of shards that have more; its source takes
     * it first, and receptions stay bounded. */
    if ((lost->good > 1 || lost->is_drained) && source->sends >= p->sends_max) {
        p->plan->waiting++;
        return;
    }
    if (!plan_may_drain(p, drain))
        return;
    int status = choose(p, ring, lost, taken, taken_count, &target);
    p->plan->waiting += status == -ERR_BUSY;
    if (status == -ERR_NO_ENTRY)
        plan_note_blocked(p, lost->target, JOB_NO_TARGET, awaited(p, taken, taken_count), 1);
    if (status == -ERR_NO_SPACE)
        plan_note_blocked(p, lost->target, JOB_NO_ROOM, 0, 1);
    if (status != 0)
        return;
    source->sends++;
    standing_of(p, target)->receptions++;
    if (drain)
        drain->moves++;
    p->plan->replacements[p->plan->replacement_count++] = (struct rec_slot_change){
        .copies = lost->copies,
        .shard = lost->shard,
        .epoch = s->epoch,
        .old_target = lost->target,
        .new_target = target,
    };
}

void plan_replacements(struct planning *p)
{
    const struct shard_table *table = p->view->table;
    struct lost_slots lost = {0};
    unsigned limit = p->options->replacements_max < PLAN_REPLACEMENTS_MAX
                         ? p->options->replacements_max
                         : PLAN_REPLACEMENTS_MAX;
    bool any = false;
    for (unsigned i = 0; i < table->target_count; i++)
        any = any || (p->standings[i].slots > 0 &&
                      (p->standings[i].standing >= STANDING_DOWN || p->standings[i].is_drained));
    for (unsigned copies = 1; any && copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++)
            find_lost(p, copies, shard, &lost);
    plan_balance(p);
    if (lost.count > 0) {
        const struct ring *ring = ring_of(p);
        qsort(lost.slots, lost.count, sizeof *lost.slots, compare_lost);
        for (size_t i = 0; i < lost.count && p->plan->replacement_count < limit; i++)
            replace_slot(p, ring, &lost.slots[i]);
    }
    free(lost.slots);
    if (p->plan->replacement_count < limit)
        plan_balance_moves(p, limit);
}
