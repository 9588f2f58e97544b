/* Fair shares: proportional to weights, as far as the failure domains allow. */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/ring/placement.h"
#include "common/ring/ring_private.h"
#include "common/base/banned.h"

enum { RATE_BITS = 12 };

/* A domain of any kind, a single target, or all: a node of the tree. */
struct node {
    uint32_t above;  /* index of its parent; the root's is its own */
    uint32_t copies; /* of one shard that may be in it */
    uint64_t fixed;  /* shares of those in it that are settled */
    uint64_t weight; /* of those that are not */
};

/* Nodes: the root, zones, racks, hosts, members. */
struct tree {
    const struct ring *ring;
    struct node *nodes;
    uint32_t zones, racks, hosts, members, end; /* where each kind begins */
    uint64_t shard_scaled;                      /* shard_count << SHARE_BITS */
};

static void build(struct tree *t, const struct ring *r, uint32_t shard_count)
{
    *t = (struct tree){.ring = r, .zones = 1};
    t->racks = t->zones + r->zone_count;
    t->hosts = t->racks + r->rack_count;
    t->members = t->hosts + r->host_count;
    t->end = t->members + r->member_count;
    t->shard_scaled = (uint64_t)shard_count << SHARE_BITS;
    t->nodes = calloc(t->end, sizeof *t->nodes);
    CHECK(t->nodes != NULL);
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->members[i];
        t->nodes[t->zones + m->zone].above = 0;
        t->nodes[t->racks + m->rack].above = t->zones + m->zone;
        t->nodes[t->hosts + m->host].above = t->racks + m->rack;
        t->nodes[t->members + i].above = t->hosts + m->host;
        t->nodes[t->members + i].copies = m->has_points;
    }
}

/* ---- copies of a shard that a domain may hold ---- */

enum kind { KIND_ZONE, KIND_RACK, KIND_HOST };

static uint32_t domain_of(const struct member *m, enum kind kind)
{
    return kind == KIND_ZONE ? m->zone : kind == KIND_RACK ? m->rack : m->host;
}

/* The most that stand in the domain while all copies stand as far apart as they can: greedy, as in
 * ring_least_nearness, and in the domain whenever that is as good as elsewhere. */
static uint32_t most_copies(const struct ring *r, unsigned copies, enum kind kind, uint32_t domain)
{
    uint32_t chosen[COPIES_LIMIT], inside = 0;
    for (unsigned slot = 0; slot < copies; slot++) {
        uint64_t least = UINT64_MAX;
        bool is_inside = false;
        for (uint32_t i = 0; i < r->member_count; i++) {
            uint64_t nearness = ring_nearness_to(r, i, chosen, slot);
            bool in = domain_of(&r->members[i], kind) == domain;
            if (!r->members[i].has_points || nearness > least ||
                (nearness == least && (is_inside || !in)) || ring_is_among(i, chosen, slot))
                continue;
            least = nearness;
            is_inside = in;
            chosen[slot] = i;
        }
        if (least == UINT64_MAX)
            break;
        inside += is_inside;
    }
    return inside;
}

static void allot_kind(const struct tree *t, unsigned copies, uint32_t from, uint32_t end,
                       enum kind kind, bool one)
{
    for (uint32_t i = from; i < end; i++)
        t->nodes[i].copies = one ? 1 : most_copies(t->ring, copies, kind, i - from);
}

/* Where copies can stand without any nearness each domain that counts holds one of them; that is
 * the usual case, and quick. */
static void allot_copies(const struct tree *t, unsigned copies)
{
    const struct ring *r = t->ring;
    bool apart = ring_least_nearness(r, copies) == 0;
    allot_kind(t, copies, t->zones, t->racks, KIND_ZONE, apart && r->zone_count > 1);
    allot_kind(t, copies, t->racks, t->hosts, KIND_RACK, apart && r->rack_count > r->zone_count);
    allot_kind(t, copies, t->hosts, t->members, KIND_HOST, apart);
    t->nodes[0].copies = copies;
}

/* ---- progressive filling ---- */

/* For each upwards from a member to the root. */
static void add_up(const struct tree *t, uint32_t node, uint64_t fixed, uint64_t weight,
                   bool remove)
{
    for (;; node = t->nodes[node].above) {
        t->nodes[node].fixed += fixed;
        t->nodes[node].weight += remove ? 0 - weight : weight;
        if (node == 0)
            return;
    }
}

/* Share for each unit of weight at which the node is full. */
static uint64_t rate_of(const struct tree *t, const struct node *n)
{
    uint64_t room = t->shard_scaled * n->copies;
    if (n->weight == 0)
        return UINT64_MAX;
    return n->fixed >= room ? 0 : ((room - n->fixed) << RATE_BITS) / n->weight;
}

static bool is_full(const struct tree *t, uint32_t node, uint64_t rate)
{
    for (;; node = t->nodes[node].above) {
        if (rate_of(t, &t->nodes[node]) <= rate)
            return true;
        if (node == 0)
            return false;
    }
}

/* Settles all that stand in a node which is full first; false when nobody is left. */
static bool fill_once(const struct tree *t, bool *settled, bool *now, uint64_t *shares)
{
    uint64_t rate = UINT64_MAX;
    for (uint32_t node = 0; node < t->end; node++) {
        uint64_t own = rate_of(t, &t->nodes[node]);
        rate = own < rate ? own : rate;
    }
    if (rate == UINT64_MAX)
        return false;
    for (uint32_t i = 0; i < t->ring->member_count; i++)
        now[i] = !settled[i] && is_full(t, t->members + i, rate);
    for (uint32_t i = 0; i < t->ring->member_count; i++) {
        uint32_t weight = t->ring->members[i].weight;
        if (!now[i])
            continue;
        settled[i] = true;
        shares[i] = (rate * weight) >> RATE_BITS;
        add_up(t, t->members + i, shares[i], weight, true);
    }
    return true;
}

void ring_shares(const struct ring *r, uint32_t shard_count, unsigned copies, uint64_t *ret_shares)
{
    struct tree t;
    bool *settled = calloc((size_t)2 * r->member_count + 1, sizeof *settled);
    CHECK(settled != NULL && copies <= COPIES_LIMIT);
    build(&t, r, shard_count);
    allot_copies(&t, copies);
    for (uint32_t i = 0; i < r->member_count; i++) {
        ret_shares[i] = 0;
        settled[i] = !r->members[i].has_points;
        if (!settled[i])
            add_up(&t, t.members + i, 0, r->members[i].weight, false);
    }
    while (fill_once(&t, settled, settled + r->member_count, ret_shares))
        ;
    free(settled);
    free(t.nodes);
}

uint32_t ring_share_limit(uint64_t share)
{
    return (uint32_t)((share * 105 / 100) >> SHARE_BITS) + 1;
}

int placement_shares(const struct ring *r, uint32_t shard_count, unsigned copies,
                     struct placement_share *ret_shares)
{
    if (copies < 1 || copies > COPIES_LIMIT)
        return -ERR_INVALID;
    uint64_t *shares = calloc(r->member_count + 1, sizeof *shares);
    CHECK(shares != NULL);
    ring_shares(r, shard_count, copies, shares);
    for (uint32_t i = 0; i < r->member_count; i++)
        ret_shares[i] = (struct placement_share){
            .id = r->members[i].id,
            .slots = (double)shares[i] / (1u << SHARE_BITS),
            .limit = shares[i] ? ring_share_limit(shares[i]) : 0,
        };
    free(shares);
    return 0;
}
