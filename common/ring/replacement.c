/* Another target for one slot. */
#include "common/base/check.h"
#include "common/base/err.h"
#include "common/ring/ring_private.h"
#include "common/base/banned.h"

struct search {
    const struct ring *ring;
    uint32_t taken[COPIES_LIMIT]; /* members */
    unsigned taken_count;
    uint64_t nearness; /* the least that a target which is not closed has */
    uint32_t (*pending)(const void *arg, uint32_t id);
    const void *arg;
};

static bool is_open(const struct search *s, uint32_t member)
{
    const struct member *m = &s->ring->members[member];
    return m->has_points && !ring_is_among(member, s->taken, s->taken_count) &&
           s->pending(s->arg, m->id) != RING_CLOSED;
}

/* Whether it may take the slot now: how many receptions it has, or RING_CLOSED. */
static uint32_t receptions_of(const struct search *s, uint32_t member)
{
    if (!is_open(s, member) ||
        ring_nearness_to(s->ring, member, s->taken, s->taken_count) != s->nearness)
        return RING_CLOSED;
    uint32_t receptions = s->pending(s->arg, s->ring->members[member].id);
    return receptions == RING_BUSY ? RING_CLOSED : receptions;
}

static void find_taken(struct search *s, const uint32_t *ids, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t member = ring_member_of(s->ring, ids[i]);
        if (member != NOBODY)
            s->taken[s->taken_count++] = member;
    }
}

static bool find_nearness(struct search *s)
{
    s->nearness = UINT64_MAX;
    for (uint32_t i = 0; i < s->ring->member_count && s->nearness > 0; i++) {
        uint64_t nearness = ring_nearness_to(s->ring, i, s->taken, s->taken_count);
        if (nearness < s->nearness && is_open(s, i))
            s->nearness = nearness;
    }
    return s->nearness != UINT64_MAX;
}

/* Up to REPLACEMENT_CANDIDATES: beyond those there is nobody to look for on the walk. */
static unsigned count_candidates(const struct search *s)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < s->ring->member_count && count < REPLACEMENT_CANDIDATES; i++)
        count += receptions_of(s, i) != RING_CLOSED;
    return count;
}

int ring_replacement(const struct ring *r, uint32_t shard, const uint32_t *taken,
                     unsigned taken_count, uint32_t (*pending)(const void *arg, uint32_t id),
                     const void *arg, uint32_t *ret_id)
{
    struct search s = {.ring = r, .pending = pending, .arg = arg};
    uint32_t seen[REPLACEMENT_CANDIDATES], best = 0, least = RING_CLOSED;
    unsigned seen_count = 0;
    CHECK(taken_count <= COPIES_LIMIT);
    find_taken(&s, taken, taken_count);
    if (!find_nearness(&s))
        return -ERR_NO_ENTRY;
    unsigned wanted = count_candidates(&s);
    if (wanted == 0)
        return -ERR_BUSY;
    for (uint32_t point = ring_shard_start(r, shard); seen_count < wanted;
         point = (point + 1) % r->point_count) {
        uint32_t member = r->points[point].target, receptions = receptions_of(&s, member);
        if (receptions == RING_CLOSED || ring_is_among(member, seen, seen_count))
            continue;
        seen[seen_count++] = member;
        if (receptions < least) {
            least = receptions;
            best = r->members[member].id;
        }
    }
    *ret_id = best;
    return 0;
}
