/* How far the copies of a shard stand apart. */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/ring/placement.h"
#include "common/ring/ring_private.h"
#include "common/base/banned.h"

/* More pairs than COPIES_LIMIT copies have: so a sum of one kind never reaches the next. */
enum { PAIRS = 128 };

uint64_t ring_nearness(const struct ring *r, uint32_t a, uint32_t b)
{
    const struct member *x = &r->members[a], *y = &r->members[b];
    uint64_t nearness = 0;
    if (x->host == y->host)
        nearness += (uint64_t)PAIRS * PAIRS;
#ifndef PLANT_ZONE
    if (r->zone_count > 1 && x->zone == y->zone)
        nearness += PAIRS;
#endif
    if (r->rack_count > r->zone_count && x->rack == y->rack)
        nearness += 1;
    return nearness;
}

uint64_t ring_nearness_to(const struct ring *r, uint32_t member, const uint32_t *others,
                          unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += ring_nearness(r, member, others[i]);
    return sum;
}

/* Greedy is best here: the sum is separable and convex over a tree of domains. */
uint64_t ring_least_nearness(const struct ring *r, unsigned copies)
{
    uint32_t chosen[COPIES_LIMIT];
    uint64_t sum = 0;
    CHECK(copies <= COPIES_LIMIT);
    for (unsigned slot = 0; slot < copies; slot++) {
        uint64_t least = UINT64_MAX;
        for (uint32_t i = 0; i < r->member_count && least > 0; i++) {
            uint64_t nearness = ring_nearness_to(r, i, chosen, slot);
            if (r->members[i].has_points && nearness < least && !ring_is_among(i, chosen, slot)) {
                least = nearness;
                chosen[slot] = i;
            }
        }
        if (least == UINT64_MAX)
            return UINT64_MAX;
        sum += least;
    }
    return sum;
}

/* ---- the report ---- */

/* Domains of each kind in which somebody has weight. */
static void count_domains(const struct ring *r, struct placement_spread *spread)
{
    bool *seen = calloc((size_t)3 * r->member_count + 1, sizeof *seen);
    CHECK(seen != NULL);
    bool *racks = seen + r->member_count, *hosts = racks + r->member_count;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        if (!m->has_points)
            continue;
        spread->zones += !seen[m->zone];
        spread->racks += !racks[m->rack];
        spread->hosts += !hosts[m->host];
        seen[m->zone] = racks[m->rack] = hosts[m->host] = true;
    }
    free(seen);
}

static void count_shard(const struct ring *r, const uint32_t *members, unsigned count,
                        uint64_t least, struct placement_spread *spread)
{
    bool host = false, rack = false, zone = false;
    uint64_t nearness = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct member *x = &r->members[members[i]];
        for (unsigned j = 0; j < i; j++) {
            const struct member *y = &r->members[members[j]];
            nearness += ring_nearness(r, members[i], members[j]);
            host = host || x->host == y->host;
            rack = rack || x->rack == y->rack;
            zone = zone || x->zone == y->zone;
        }
    }
    spread->shards_on_one_host += host;
    spread->shards_in_one_rack += rack;
    spread->shards_in_one_zone += zone;
    spread->shards_too_near += nearness > least;
}

void placement_spread(const struct ring *r, uint32_t shard_count, unsigned copies,
                      const uint32_t *ids, struct placement_spread *ret_spread)
{
    uint64_t least = ring_least_nearness(r, copies);
    struct placement_spread spread = {0};
    CHECK(copies <= COPIES_LIMIT);
    count_domains(r, &spread);
    spread.too_few_hosts = spread.hosts < copies;
    for (uint32_t shard = 0; shard < shard_count; shard++) {
        uint32_t members[COPIES_LIMIT];
        unsigned count = 0;
        for (unsigned slot = 0; slot < copies; slot++) {
            uint32_t member = ring_member_of(r, ids[(uint64_t)shard * copies + slot]);
            if (member != NOBODY)
                members[count++] = member;
        }
        count_shard(r, members, count, least, &spread);
    }
    *ret_spread = spread;
}
