/* A placement plan: targets that joined, came back or grew take slots up to their share. */
#include "common/base/check.h"
#include "common/ring/plan_private.h"
#include "common/base/banned.h"

/* From whom a claim may take a slot whose copies stand no further apart afterwards. */
enum giver { GIVER_ABOVE_SHARE, GIVER_BUSIER };

static bool may_give(const struct plan_state *s, uint32_t holder, uint32_t claimant,
                     enum giver giver)
{
    const struct standing *h = &s->standing[holder];
    if (giver == GIVER_BUSIER)
        return plan_is_busier(s, holder, claimant);
    return (uint64_t)h->load << SHARE_BITS > h->share;
}

/* The slot whose copies gain most in distance; of equal ones that of the busiest holder. */
static bool slot_to_give(const struct plan_state *s, uint32_t shard, uint32_t claimant,
                         enum giver giver, unsigned *ret_slot)
{
    uint64_t most = 0;
    uint32_t from = NOBODY;
    for (unsigned slot = 0; slot < s->copies; slot++) {
        uint32_t others[COPIES_LIMIT], holder = s->slots[(uint64_t)shard * s->copies + slot];
        if (holder == claimant)
            return false;
        if (holder == NOBODY || plan_wants(s, holder))
            continue;
        unsigned count = plan_others(s, shard, slot, others);
        uint64_t now = ring_nearness_to(s->ring, holder, others, count);
        uint64_t then = ring_nearness_to(s->ring, claimant, others, count);
        if (then > now || (then == now && !may_give(s, holder, claimant, giver)))
            continue;
        uint64_t gain = now - then;
        if (from == NOBODY || gain > most || (gain == most && plan_is_busier(s, holder, from))) {
            most = gain;
            from = holder;
            *ret_slot = slot;
        }
    }
    return from != NOBODY;
}

static void claim(struct plan_state *s, uint32_t shard, uint32_t claimant, enum giver giver)
{
    unsigned slot;
    if (plan_wants(s, claimant) && slot_to_give(s, shard, claimant, giver, &slot))
        plan_put(s, shard, slot, claimant);
}

/* Those that want and stand among the first `window` distinct hosts of the shard's walk. */
static void claim_on_walk(struct plan_state *s, uint32_t shard, unsigned window)
{
    const struct ring *r = s->ring;
    uint32_t hosts[COPIES_LIMIT * 2], at = ring_shard_start(r, shard);
    unsigned count = 0;
    for (uint32_t step = 0; step < r->point_count && count < window; step++) {
        uint32_t member = r->points[at].target;
        at = at + 1 == r->point_count ? 0 : at + 1;
        if (ring_is_among(r->members[member].host, hosts, count))
            continue;
        hosts[count++] = r->members[member].host;
        claim(s, shard, member, GIVER_ABOVE_SHARE);
    }
}

/* Where the walks do not give enough (a share beyond the weight, few shards): anywhere, each
 * beginning elsewhere so that not all take from the same shards. */
static void claim_anywhere(struct plan_state *s, uint32_t claimant, enum giver giver)
{
    uint32_t shard_count = s->in->shard_count;
    CHECK(shard_count > 0);
    uint32_t start = (uint32_t)((s->ring->members[claimant].id * 2654435761u) % shard_count);
    for (uint32_t i = 0; i < shard_count && plan_wants(s, claimant); i++)
        claim(s, (start + i) % shard_count, claimant, giver);
}

void plan_claims(struct plan_state *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->ring->member_count; i++)
        any = any || plan_wants(s, i);
    /* Beyond its natural place a claimant fills up a little further down the walks. */
    for (unsigned window = s->copies; any && window <= s->copies + 2; window++)
        for (uint32_t shard = 0; shard < s->in->shard_count; shard++)
            claim_on_walk(s, shard, window);
    for (int giver = GIVER_ABOVE_SHARE; any && giver <= GIVER_BUSIER; giver++)
        for (uint32_t i = 0; i < s->ring->member_count; i++)
            if (plan_wants(s, i))
                claim_anywhere(s, i, (enum giver)giver);
}
