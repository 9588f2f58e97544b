/* A placement plan: an assignment follows the cluster with as few moves as possible. */
#include "common/ring/placement.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/ring/plan_private.h"
#include "common/base/banned.h"

/* What a plan may add to balance others than the changed: a fifth, so that the whole stays within
 * 1.25 of what must move. */
enum { BALANCE_PART = 5 };

static void mark(const struct plan_state *s, const uint32_t *ids, unsigned count, bool closed)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t member = ring_member_of(s->ring, ids[i]);
        if (member == NOBODY)
            continue;
        if (closed)
            s->standing[member].closed = true;
        else
            s->standing[member].changed = true;
    }
}

static void read_slots(struct plan_state *s, const uint32_t *ids)
{
    for (uint64_t i = 0; i < s->slot_count; i++) {
        uint32_t member = ring_member_of(s->ring, ids[i]);
        uint64_t first = i - i % s->copies;
        if (member != NOBODY && (!s->ring->members[member].has_points ||
                                 ring_is_among(member, s->slots + first, (unsigned)(i - first))))
            member = NOBODY; /* leaves, or stands twice in a chain */
        s->slots[i] = member;
        if (member != NOBODY)
            s->standing[member].load++;
    }
}

static void init(struct plan_state *s, const uint32_t *ids)
{
    const struct ring *r = s->ring;
    uint64_t *shares = calloc(r->member_count + 1, sizeof *shares);
    s->slots = calloc(s->slot_count + 1, sizeof *s->slots);
    s->standing = calloc(r->member_count + 1, sizeof *s->standing);
    CHECK(shares != NULL && s->slots != NULL && s->standing != NULL);
    ring_shares(r, s->in->shard_count, s->copies, shares);
    for (uint32_t i = 0; i < r->member_count; i++) {
        s->standing[i].share = shares[i];
        s->standing[i].limit = ring_share_limit(shares[i]);
    }
    free(shares);
    mark(s, s->in->changed, s->in->changed_count, false);
    mark(s, s->in->closed, s->in->closed_count, true);
    read_slots(s, ids);
}

/* ---- 1: slots of targets that leave ---- */

static void fill_slot(struct plan_state *s, uint32_t shard, unsigned slot)
{
    uint32_t others[COPIES_LIMIT], member = 0;
    unsigned count = plan_others(s, shard, slot, others);
    uint64_t least = plan_least_nearness(s, others, count, DEMAND_NONE);
    for (int demand = DEMAND_WANTS; least != UINT64_MAX && demand <= DEMAND_NONE; demand++) {
        if (plan_choose(s, shard, others, count, (enum demand)demand, least, &member)) {
            plan_put(s, shard, slot, member);
            return;
        }
    }
}

static void fill(struct plan_state *s)
{
    for (uint64_t i = 0; i < s->slot_count; i++)
        if (s->slots[i] == NOBODY)
            fill_slot(s, (uint32_t)(i / s->copies), (unsigned)(i % s->copies));
}

/* ---- 2 and 5: targets above their limit ---- */

/* Only where another has room: above its limit is better than a spoiled chain. */
static bool move_away(struct plan_state *s, uint32_t shard, unsigned slot, enum demand demand)
{
    uint32_t others[COPIES_LIMIT], member;
    unsigned count = plan_others(s, shard, slot, others);
    uint32_t holder = s->slots[(uint64_t)shard * s->copies + slot];
    uint64_t least = plan_least_nearness(s, others, count, demand);
    if (least > ring_nearness_to(s->ring, holder, others, count) ||
        !plan_choose(s, shard, others, count, demand, least, &member))
        return false;
    plan_put(s, shard, slot, member);
    return true;
}

static void relieve(struct plan_state *s, bool changed, enum demand demand, uint64_t budget)
{
    for (uint64_t i = 0; i < s->slot_count && budget > 0; i++) {
        const struct standing *m = s->slots[i] == NOBODY ? NULL : &s->standing[s->slots[i]];
        if (m && m->load > m->limit && (m->changed || !changed))
            budget -= move_away(s, (uint32_t)(i / s->copies), (unsigned)(i % s->copies), demand);
    }
}

/* ---- 4: copies that could stand further apart ---- */

static uint64_t shard_nearness(const struct plan_state *s, uint32_t shard)
{
    uint32_t members[COPIES_LIMIT];
    unsigned count = plan_others(s, shard, s->copies, members);
    uint64_t sum = 0;
    for (unsigned i = 1; i < count; i++)
        sum += ring_nearness_to(s->ring, members[i], members, i);
    return sum;
}

/* Moves the copy that gains most; of equal ones that of the busiest. */
static bool part(struct plan_state *s, uint32_t shard, enum demand demand)
{
    uint64_t most = 0, nearness = 0;
    unsigned from = 0, count;
    uint32_t others[COPIES_LIMIT], member;
    for (unsigned slot = 0; slot < s->copies; slot++) {
        uint32_t holder = s->slots[(uint64_t)shard * s->copies + slot];
        if (holder == NOBODY)
            continue;
        count = plan_others(s, shard, slot, others);
        uint64_t now = ring_nearness_to(s->ring, holder, others, count);
        uint64_t least = now ? plan_least_nearness(s, others, count, demand) : 0;
        if (least >= now || now - least < most ||
            (now - least == most &&
             !plan_is_busier(s, holder, s->slots[(uint64_t)shard * s->copies + from])))
            continue;
        most = now - least;
        nearness = least;
        from = slot;
    }
    count = plan_others(s, shard, from, others);
    if (most == 0 || !plan_choose(s, shard, others, count, demand, nearness, &member))
        return false;
    plan_put(s, shard, from, member);
    return true;
}

static void spread(struct plan_state *s)
{
    uint64_t least = ring_least_nearness(s->ring, s->copies);
    for (uint32_t shard = 0; shard < s->in->shard_count; shard++) {
        for (unsigned i = 0; i < s->copies && shard_nearness(s, shard) > least; i++)
            if (!part(s, shard, DEMAND_ROOM))
                break;
        /* A target above its limit is better than copies that die together. */
        for (unsigned i = 0; i < s->copies && shard_nearness(s, shard) > least; i++)
            if (!part(s, shard, DEMAND_NONE))
                break;
    }
}

/* ---- all ---- */

static void finish(const struct plan_state *s, uint32_t *ids, struct placement_report *ret_report)
{
    struct placement_report report = {0};
    for (uint64_t i = 0; i < s->slot_count; i++) {
        uint32_t before = ring_member_of(s->ring, ids[i]);
        bool leaves = before == NOBODY || !s->ring->members[before].has_points;
        if (s->slots[i] == NOBODY) {
            report.unfilled++;
            continue;
        }
        report.refilled += leaves;
        report.moved += !leaves && s->slots[i] != before;
        ids[i] = s->ring->members[s->slots[i]].id;
    }
    for (uint32_t i = 0; i < s->ring->member_count; i++)
        report.above_limit += s->standing[i].load > s->standing[i].limit;
    if (!ret_report)
        return;
    placement_spread(s->ring, s->in->shard_count, s->copies, ids, &report.spread);
    *ret_report = report;
}

int placement_plan(const struct placement *p, uint32_t *ids, struct placement_report *ret_report)
{
    struct plan_state s = {.in = p,
                           .ring = p->ring,
                           .copies = p->copies,
                           .slot_count = (uint64_t)p->shard_count * p->copies};
    if (p->copies < 1 || p->copies > COPIES_LIMIT || p->shard_count == 0)
        return -ERR_INVALID;
    if (ring_least_nearness(p->ring, p->copies) == UINT64_MAX)
        return -ERR_NO_SPACE;
    init(&s, ids);
    fill(&s);
    relieve(&s, true, DEMAND_WANTS, UINT64_MAX);
    relieve(&s, true, DEMAND_ROOM, UINT64_MAX);
    plan_claims(&s);
    spread(&s);
#ifdef PLANT_STICKY
    relieve(&s, false, DEMAND_ROOM, UINT64_MAX);
#else
    relieve(&s, false, DEMAND_ROOM, p->balance ? UINT64_MAX : s.moves / BALANCE_PART);
#endif
    finish(&s, ids, ret_report);
    free(s.slots);
    free(s.standing);
    return 0;
}
