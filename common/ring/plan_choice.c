/* A placement plan: who takes a slot. */
#include "common/base/check.h"
#include "common/ring/plan_private.h"
#include "common/base/banned.h"

unsigned plan_others(const struct plan_state *s, uint32_t shard, unsigned except,
                     uint32_t ret_members[COPIES_LIMIT])
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->copies; i++) {
        uint32_t member = s->slots[(uint64_t)shard * s->copies + i];
        if (i != except && member != NOBODY)
            ret_members[count++] = member;
    }
    return count;
}

bool plan_wants(const struct plan_state *s, uint32_t member)
{
    const struct standing *m = &s->standing[member];
    return m->changed && !m->closed && m->load < m->share >> SHARE_BITS;
}

static bool may_receive(const struct plan_state *s, uint32_t member, enum demand demand)
{
    const struct standing *m = &s->standing[member];
    if (!s->ring->members[member].has_points || m->closed)
        return false;
#ifndef PLANT_LOAD
    if (demand == DEMAND_ROOM)
        return m->load < m->limit;
#endif
    return demand != DEMAND_WANTS || plan_wants(s, member);
}

uint64_t plan_least_nearness(const struct plan_state *s, const uint32_t *others, unsigned count,
                             enum demand demand)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < s->ring->member_count && least > 0; i++) {
        if (!may_receive(s, i, demand))
            continue;
        uint64_t nearness = ring_nearness_to(s->ring, i, others, count);
        if (nearness < least && !ring_is_among(i, others, count))
            least = nearness;
    }
    return least;
}

static bool suits(const struct plan_state *s, uint32_t member, const uint32_t *others,
                  unsigned count, enum demand demand, uint64_t nearness)
{
    return may_receive(s, member, demand) && !ring_is_among(member, others, count) &&
           ring_nearness_to(s->ring, member, others, count) == nearness;
}

/* a / share_a < b / share_b, without a division; below 2^60, because slots are below 2^20. */
static bool is_less(uint32_t a, uint64_t share_a, uint32_t b, uint64_t share_b)
{
    return a * share_b < b * share_a;
}

bool plan_is_busier(const struct plan_state *s, uint32_t a, uint32_t b)
{
    const struct standing *x = &s->standing[a], *y = &s->standing[b];
    return is_less(y->load, y->share, x->load, x->share);
}

bool plan_choose(const struct plan_state *s, uint32_t shard, const uint32_t *others, unsigned count,
                 enum demand demand, uint64_t nearness, uint32_t *ret_member)
{
    const struct ring *r = s->ring;
    uint32_t seen[REPLACEMENT_CANDIDATES];
    unsigned seen_count = 0, wanted = 0;
    const struct standing *best = NULL;
    for (uint32_t i = 0; i < r->member_count && wanted < REPLACEMENT_CANDIDATES; i++)
        wanted += suits(s, i, others, count, demand, nearness);
    if (wanted == 0)
        return false;
    for (uint32_t at = ring_shard_start(r, shard); seen_count < wanted;
         at = at + 1 == r->point_count ? 0 : at + 1) {
        uint32_t member = r->points[at].target;
        const struct standing *m = &s->standing[member];
        if (!suits(s, member, others, count, demand, nearness) ||
            ring_is_among(member, seen, seen_count))
            continue;
        seen[seen_count++] = member;
        /* Where all are full the load is what must not grow further. */
        if (!best ||
            (demand == DEMAND_NONE ? is_less(m->load, m->share, best->load, best->share)
                                   : is_less(m->received, m->share, best->received, best->share))) {
            best = m;
            *ret_member = member;
        }
    }
    return true;
}

void plan_put(struct plan_state *s, uint32_t shard, unsigned slot, uint32_t member)
{
    uint32_t *at = &s->slots[(uint64_t)shard * s->copies + slot];
    CHECK(member < s->ring->member_count);
    if (*at != NOBODY)
        s->standing[*at].load--;
    *at = member;
    s->standing[member].load++;
    s->standing[member].received++;
    s->moves++;
}
