/* The planner: which slots get another target, fewest copies first, few at a time (D25): those
 * whose target is gone for good, and those that a drained target still has. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "metaserver/cluster/plan_private.h"
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

/* Its move was for a drain that is no more. */
static bool is_called_off(const struct planning *p, const struct shard *s)
{
    return s->move.incoming && s->move.state == SLOT_SYNCING &&
           !standing_of(p, s->move.outgoing)->is_drained;
}

/* At most one slot of a shard: the second would name an epoch that the first has ended. */
static void find_lost(const struct planning *p, unsigned copies, uint32_t shard,
                      struct lost_slots *lost)
{
    const struct shard *s = shard_table_shard(p->view->table, copies, shard);
    unsigned good = s->epoch > 0 && !is_called_off(p, s) ? good_copies(p, s, copies) : 0;
    uint32_t drained = 0;
    for (unsigned i = 0; good > 0 && i < copies; i++) {
        const struct standing_of *holder = standing_of(p, s->slot[i].target);
        if (s->slot[i].state == SLOT_OFFLINE && is_lost(p, holder, copies, good)) {
            add(lost, (struct lost_slot){shard, s->slot[i].target, (uint8_t)copies, (uint8_t)good,
                                         false});
            return;
        }
        if (holder->is_drained && s->slot[i].state == SLOT_INSYNC && !s->move.incoming &&
            holder->standing == STANDING_WELL)
            drained = s->slot[i].target;
    }
    /* What lacks a copy gets it first, from its own target or another one (D18). */
    if (drained && good == copies)
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
    struct ring_target *targets = calloc(table->target_count + 1, sizeof *targets);
    CHECK(targets != NULL);
    for (unsigned i = 0; i < table->target_count; i++) {
        const struct target *t = &table->targets[i];
        targets[i] = (struct ring_target){
            .id = t->id, .uuid = t->uuid, .host = t->host, .weight = target_ring_weight(t)};
    }
    ring_destroy(p->planner->ring);
    p->planner->ring = ring_create(targets, table->target_count);
    p->planner->ring_digest = digest;
    free(targets);
    return p->planner->ring;
}

/* ---- choosing ---- */

static uint32_t pending_of(const void *arg, uint32_t id)
{
    const struct planning *p = arg;
    const struct standing_of *s = standing_of(p, id);
    if (s->standing != STANDING_WELL)
        return RING_CLOSED;
#ifdef PLANT_D25
    return s->receptions;
#endif
    return s->receptions >= p->options->receptions_max ? RING_BUSY : s->receptions;
}

static void note_blocked(const struct planning *p, uint32_t target)
{
    struct plan *plan = p->plan;
    unsigned i = 0;
    while (i < plan->blocked_count && plan->blocked[i].target != target)
        i++;
    if (i == plan->blocked_count)
        plan->blocked[plan->blocked_count++] = (struct plan_blocked){.target = target};
    plan->blocked[i].slots++;
}

static void replace_slot(const struct planning *p, const struct ring *ring,
                         const struct lost_slot *lost)
{
    struct chain_view chain = shard_table_chain(p->view->table, lost->copies, lost->shard);
    const struct shard *s = shard_table_shard(p->view->table, lost->copies, lost->shard);
    struct standing_of *source = standing_of(p, chain.member[chain.insync_count - 1]);
    uint32_t taken[CHAIN_VIEW_MAX], target;
    unsigned taken_count = 0;
    /* The last good copy does not queue behind resyncs of shards that have more; its source takes
     * it first, and receptions stay bounded. */
    if ((lost->good > 1 || lost->is_drained) && source->sends >= p->options->sends_max)
        return;
    for (unsigned i = 0; i < lost->copies; i++)
        if (s->slot[i].target != lost->target)
            taken[taken_count++] = s->slot[i].target;
    if (s->move.incoming)
        taken[taken_count++] = s->move.incoming;
    int status = ring_replacement(ring, lost->shard, taken, taken_count, pending_of, p, &target);
    if (status == -ERR_NO_ENTRY)
        note_blocked(p, lost->target);
    if (status != 0)
        return;
    source->sends++;
    standing_of(p, target)->receptions++;
    p->plan->replacements[p->plan->replacement_count++] = (struct rec_slot_change){
        .copies = lost->copies,
        .shard = lost->shard,
        .epoch = s->epoch,
        .old_target = lost->target,
        .new_target = target,
    };
}

/* A drain was called off: what its moves have not finished yet stays where it is. */
static void call_off_moves(const struct planning *p, unsigned limit)
{
    const struct shard_table *table = p->view->table;
    struct plan *plan = p->plan;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++) {
            const struct shard *s = &table->shards[copies][shard];
            if (plan->replacement_count < limit && is_called_off(p, s))
                plan->replacements[plan->replacement_count++] =
                    (struct rec_slot_change){.copies = (uint8_t)copies,
                                             .shard = shard,
                                             .epoch = s->epoch,
                                             .old_target = s->move.outgoing};
        }
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
        any = any || (p->standings[i].has_slots &&
                      (p->standings[i].standing >= STANDING_DOWN || p->standings[i].is_drained));
    call_off_moves(p, limit);
    for (unsigned copies = 1; any && copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++)
            find_lost(p, copies, shard, &lost);
    if (lost.count > 0) {
        const struct ring *ring = ring_of(p);
        qsort(lost.slots, lost.count, sizeof *lost.slots, compare_lost);
        for (size_t i = 0; i < lost.count && p->plan->replacement_count < limit; i++)
            replace_slot(p, ring, &lost.slots[i]);
    }
    free(lost.slots);
}
