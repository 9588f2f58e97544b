/* The planner: slots move until the load of each target fits its weight. */
#include "metaserver/cluster/balance.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/ring/placement.h"
#include "common/base/banned.h"

enum { GIVES_PART = 10 /* of its slots that an overfull target gives away at a time */ };

struct balance {
    uint64_t digest; /* of what the plan was made from, besides the slots */
    uint32_t shard_count, planned;
    bool is_usable;                                      /* in this run: every slot is well */
    bool is_possible;                                    /* there are enough targets */
    uint32_t *from[COPIES_MAX + 1], *to[COPIES_MAX + 1]; /* [shard * copies + slot] */
};

/* What a plan is made from. */
struct inputs {
    uint32_t *loads; /* slots, by the table's order of targets, as the next three */
    uint32_t *weights;
    bool *is_changed, *is_closed;
    unsigned changed_count;
    uint64_t digest;
};

static void clear(struct balance *b)
{
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++) {
        free(b->from[copies]);
        free(b->to[copies]);
    }
    memset(b, 0, sizeof *b);
}

void balance_destroy(struct balance *b)
{
    if (!b)
        return;
    clear(b);
    free(b);
}

/* ---- the present ---- */

/* The target of a slot when its move has ended. */
static uint32_t holder(const struct shard *s, unsigned slot)
{
    bool moves = s->move.incoming && s->slot[slot].target == s->move.outgoing;
    return moves ? s->move.incoming : s->slot[slot].target;
}

static bool holds(const struct shard *s, unsigned copies, uint32_t target)
{
    for (unsigned i = 0; i < copies; i++)
        if (holder(s, i) == target)
            return true;
    return false;
}

static bool is_listed(const uint32_t *row, unsigned copies, uint32_t target)
{
    for (unsigned i = 0; i < copies; i++)
        if (row[i] == target)
            return true;
    return false;
}

/* Everything lost comes first. */
static bool is_every_slot_well(const struct shard_table *table)
{
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++)
            for (unsigned i = 0; i < copies; i++) {
                enum slot_state state = table->shards[copies][shard].slot[i].state;
#ifndef PLANT_D25_RUSH
                if (state == SLOT_OFFLINE || state == SLOT_SYNCING)
                    return false;
#else
                (void)state;
#endif
            }
    return true;
}

/* ---- who takes part ---- */

static void count_loads(const struct planning *p, uint32_t *loads)
{
    const struct shard_table *table = p->view->table;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++)
            for (unsigned i = 0; i < copies; i++)
                loads[standing_of(p, holder(&table->shards[copies][shard], i)) - p->standings]++;
}

/* FNV-1a. */
static uint64_t add_number(uint64_t digest, uint32_t number)
{
    for (unsigned shift = 0; shift < 32; shift += 8)
        digest = (digest ^ (number >> shift & 0xff)) * 0x100000001b3u;
    return digest;
}

static uint64_t add_text(uint64_t digest, const char *text)
{
    for (; *text; text++)
        digest = (digest ^ (uint8_t)*text) * 0x100000001b3u;
    return digest;
}

/* One that is gone and holds nothing has no share; a drained one shall have none. */
static void note_target(const struct planning *p, unsigned i, struct inputs *in)
{
    const struct target *t = &p->view->table->targets[i];
    bool is_up = t->state == TARGET_UP, is_settled = capacity_is_settled(p, t->id);
    bool is_overfull = is_up && capacity_is_overfull(p, t->id);
    in->weights[i] = is_up || in->loads[i] > 0 ? target_ring_weight(t) : 0;
    in->is_closed[i] = !is_up || t->admin != TARGET_ACTIVE || capacity_is_full(p, t->id) ||
                       (t->rebalance && !is_settled);
    in->is_changed[i] = is_up && t->admin == TARGET_ACTIVE && in->weights[i] > 0 && is_settled &&
                        (t->rebalance || is_overfull);
    in->changed_count += in->is_changed[i];
    in->digest = add_number(in->digest, t->id);
    in->digest = add_number(in->digest, in->weights[i]);
    in->digest =
        add_number(in->digest, (uint32_t)in->is_closed[i] << 2 | (uint32_t)in->is_changed[i] << 1 |
                                   (uint32_t)is_overfull);
    in->digest = add_text(in->digest, t->host);
}

static void gather(const struct planning *p, struct inputs *in)
{
    unsigned count = p->view->table->target_count;
    *in = (struct inputs){.loads = calloc(count + 1, sizeof *in->loads),
                          .weights = calloc(count + 1, sizeof *in->weights),
                          .is_changed = calloc(count + 1, sizeof *in->is_changed),
                          .is_closed = calloc(count + 1, sizeof *in->is_closed),
                          .digest = 0xcbf29ce484222325u};
    CHECK(in->loads != NULL && in->weights != NULL && in->is_changed != NULL &&
          in->is_closed != NULL);
    count_loads(p, in->loads);
    for (unsigned i = 0; i < count; i++)
        note_target(p, i, in);
}

static void release(const struct inputs *in)
{
    free(in->loads);
    free(in->weights);
    free(in->is_changed);
    free(in->is_closed);
}

/* An overfull target counts for less, so that its limit falls below what it holds; never for less
 * than half, because the next disk is the one that fills. */
static void lower_overfull(const struct planning *p, const struct inputs *in)
{
    const struct shard_table *table = p->view->table;
    uint64_t weight_total = 0, load_total = 0;
    for (unsigned i = 0; i < table->target_count; i++) {
        weight_total += in->weights[i];
        load_total += in->loads[i];
    }
    for (unsigned i = 0; i < table->target_count; i++) {
        uint64_t fair = load_total * in->weights[i] / (weight_total ? weight_total : 1);
        if (!in->is_changed[i] || fair == 0 || !capacity_is_overfull(p, table->targets[i].id))
            continue;
        uint64_t goal = in->loads[i] - in->loads[i] / GIVES_PART - 1;
        uint64_t weight = in->weights[i] * goal * 100 / (fair * 105);
        uint64_t least = in->weights[i] / 2 + 1;
        if (in->loads[i] > 0 && weight < in->weights[i])
            in->weights[i] = (uint32_t)(weight < least ? least : weight);
    }
}

/* ---- the plan ---- */

static void read_slots(const struct shard_table *table, unsigned copies, uint32_t *ids)
{
    for (uint32_t shard = 0; shard < table->shard_count; shard++)
        for (unsigned i = 0; i < copies; i++)
            ids[(size_t)shard * copies + i] = holder(&table->shards[copies][shard], i);
}

static void make(const struct planning *p, const struct inputs *in, struct balance *b)
{
    const struct shard_table *table = p->view->table;
    uint32_t *changed = calloc((size_t)2 * table->target_count + 1, sizeof *changed);
    CHECK(changed != NULL);
    uint32_t *closed = changed + table->target_count;
    struct placement placement = {
        .shard_count = table->shard_count, .changed = changed, .closed = closed};
    struct placement_report report = {0};
    clear(b);
    lower_overfull(p, in);
    for (unsigned i = 0; i < table->target_count; i++) {
        if (in->is_changed[i])
            changed[placement.changed_count++] = table->targets[i].id;
        if (in->is_closed[i])
            closed[placement.closed_count++] = table->targets[i].id;
    }
    struct ring *ring = shard_table_ring(table, in->weights);
    placement.ring = ring;
    *b = (struct balance){
        .digest = in->digest, .shard_count = table->shard_count, .is_possible = true};
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++) {
        size_t count = (size_t)table->shard_count * copies;
        if (!table->shards[copies])
            continue;
        b->from[copies] = calloc(count + 1, sizeof **b->from);
        b->to[copies] = calloc(count + 1, sizeof **b->to);
        CHECK(b->from[copies] != NULL && b->to[copies] != NULL);
        read_slots(table, copies, b->from[copies]);
        memcpy(b->to[copies], b->from[copies], count * sizeof **b->to);
        placement.copies = copies;
        b->is_possible &= placement_plan(&placement, b->to[copies], &report) == 0;
        b->planned += report.moved;
    }
    ring_destroy(ring);
    free(changed);
}

/* Whether the shard's slots are those that the plan began with, or wants; what it keeps must be
 * there: a move that was under way when it was made may have failed. */
static bool fits_shard(const struct balance *b, const struct shard *s, unsigned copies,
                       uint32_t shard)
{
    const uint32_t *from = b->from[copies] + (size_t)shard * copies;
    const uint32_t *to = b->to[copies] + (size_t)shard * copies;
    for (unsigned i = 0; i < copies; i++) {
        uint32_t target = holder(s, i);
        if (!is_listed(from, copies, target) && !is_listed(to, copies, target))
            return false;
        if (is_listed(from, copies, to[i]) && !holds(s, copies, to[i]))
            return false;
    }
    return true;
}

static bool fits(const struct balance *b, const struct shard_table *table)
{
    if (b->shard_count != table->shard_count)
        return false;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++) {
        if ((b->from[copies] != NULL) != (table->shards[copies] != NULL))
            return false;
        for (uint32_t shard = 0; b->from[copies] && shard < table->shard_count; shard++)
            if (!fits_shard(b, &table->shards[copies][shard], copies, shard))
                return false;
    }
    return true;
}

void plan_balance(struct planning *p)
{
    struct inputs in;
    gather(p, &in);
    if (in.changed_count == 0) {
        balance_destroy(p->planner->balance);
        p->planner->balance = NULL;
        release(&in);
        return;
    }
    if (!p->planner->balance) {
        p->planner->balance = calloc(1, sizeof *p->planner->balance);
        CHECK(p->planner->balance != NULL);
    }
    struct balance *b = p->planner->balance;
    b->is_usable = is_every_slot_well(p->view->table);
    if (b->is_usable && (b->digest != in.digest || !fits(b, p->view->table))) {
        make(p, &in, b);
        b->is_usable = true;
    }
    release(&in);
}

/* ---- its moves ---- */

static bool may_receive(const struct planning *p, uint32_t target)
{
    const struct standing_of *s = standing_of(p, target);
    return s->standing == STANDING_WELL && !s->is_maintained && !s->is_drained &&
           s->receptions < p->receptions_max;
}

uint32_t balance_wish(const struct planning *p, unsigned copies, uint32_t shard, uint32_t target)
{
    const struct balance *b = p->planner->balance;
    const struct shard *s = shard_table_shard(p->view->table, copies, shard);
    uint32_t wish = RING_CLOSED;
    if (!b || !b->is_usable || !b->is_possible || !s || !holds(s, copies, target))
        return RING_CLOSED;
    const uint32_t *row = b->to[copies] + (size_t)shard * copies;
    if (is_listed(row, copies, target))
        return RING_CLOSED;
    for (unsigned i = 0; i < copies; i++) {
        const struct standing_of *in = standing_of(p, row[i]);
        if (holds(s, copies, row[i]) || in->standing != STANDING_WELL || in->is_maintained ||
            in->is_drained)
            continue;
        if (may_receive(p, row[i]))
            return row[i];
        wish = RING_BUSY;
    }
    return wish;
}

/* One slot of a shard that the plan wants elsewhere; slots of drained targets go by the drain. */
struct wanted_move {
    uint32_t outgoing, incoming;
    unsigned count;   /* of such slots */
    bool is_complete; /* nothing is missing that the plan wants here, by the drain either */
};

static struct wanted_move wanted_move(const struct planning *p, const struct balance *b,
                                      unsigned copies, uint32_t shard)
{
    const struct shard *s = shard_table_shard(p->view->table, copies, shard);
    const uint32_t *row = b->to[copies] + (size_t)shard * copies;
    struct wanted_move move = {0, 0, 0, false};
    unsigned leave = 0, enter = 0;
    for (unsigned i = 0; i < copies; i++) {
        uint32_t out = holder(s, i), in = row[i];
        if (!is_listed(row, copies, out) && !standing_of(p, out)->is_drained) {
            leave++;
            if (standing_of(p, out)->standing == STANDING_WELL)
                move.outgoing = out;
        }
        if (!holds(s, copies, in)) {
            enter++;
            if (may_receive(p, in))
                move.incoming = in;
        }
    }
    move.count = leave < enter ? leave : enter;
#ifndef PLANT_BALANCE_END
    move.is_complete = enter == 0 && s->move.incoming == 0;
#else
    move.is_complete = move.count == 0;
#endif
    return move;
}

static void start_move(const struct planning *p, unsigned copies, uint32_t shard,
                       const struct wanted_move *move)
{
    const struct shard *s = shard_table_shard(p->view->table, copies, shard);
    struct chain_view chain = shard_table_chain(p->view->table, copies, shard);
    struct standing_of *source = standing_of(p, chain.member[chain.insync_count - 1]);
    if (move->outgoing == 0 || move->incoming == 0 || s->move.incoming ||
        source->standing != STANDING_WELL || source->sends >= p->sends_max)
        return;
    source->sends++;
    standing_of(p, move->incoming)->receptions++;
    p->plan->replacements[p->plan->replacement_count++] =
        (struct rec_slot_change){.copies = (uint8_t)copies,
                                 .shard = shard,
                                 .epoch = s->epoch,
                                 .old_target = move->outgoing,
                                 .new_target = move->incoming};
}

/* Whoever has its share now loses the mark; an overfull one whose slots went is looked at again. */
static void end(const struct planning *p)
{
    const struct shard_table *table = p->view->table;
    struct plan *plan = p->plan;
    struct inputs in;
    gather(p, &in);
    for (unsigned i = 0; i < table->target_count; i++) {
        const struct target *t = &table->targets[i];
        if (t->rebalance && in.is_changed[i] && !in.is_closed[i])
            plan->weights[plan->weight_count++] =
                (struct rec_target_weight){.target = t->id, .weight = t->weight, .rebalance = 0};
    }
    release(&in);
    if (p->planner->balance->planned > 0)
        clear(p->planner->balance);
}

void plan_balance_moves(struct planning *p, unsigned limit)
{
    const struct shard_table *table = p->view->table;
    const struct balance *b = p->planner->balance;
    bool has_turn = p->plan->waiting == 0 && p->plan->replacement_count == 0;
    bool is_complete = true;
    if (!b || !b->is_usable || !b->is_possible)
        return;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t shard = 0; table->shards[copies] && shard < table->shard_count; shard++) {
            struct wanted_move move = wanted_move(p, b, copies, shard);
            p->plan->balance_left += move.count;
            is_complete = is_complete && move.is_complete;
            if (move.count > 0 && has_turn && p->plan->replacement_count < limit)
                start_move(p, copies, shard, &move);
        }
    if (is_complete && p->plan->weight_count == 0)
        end(p);
}
