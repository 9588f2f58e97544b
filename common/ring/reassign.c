/* An assignment follows the ring with as few moves as possible. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/ring/ring_private.h"
#include "common/base/banned.h"

enum { COPIES_LIMIT = 16, NOBODY = UINT32_MAX };

struct reassignment {
    const struct ring *ring;
    uint32_t shard_count;
    unsigned copies;
    uint64_t slot_count;
    uint32_t *slots;    /* member indices, NOBODY = to be filled */
    uint32_t *load;     /* by member */
    uint32_t *received; /* by member: slots given to it by this change */
    bool *joined;       /* by member */
};

struct id_index {
    uint32_t id, member;
};

static int compare_ids(const void *a, const void *b)
{
    const struct id_index *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* ---- from ids to members and back ---- */

static uint32_t member_of(const struct id_index *index, unsigned count, uint32_t id)
{
    struct id_index key = {id, 0};
    const struct id_index *found = bsearch(&key, index, count, sizeof key, compare_ids);
    return found ? found->member : NOBODY;
}

static void read_ids(struct reassignment *a, const uint32_t *ids, const uint32_t *joined,
                     unsigned joined_count)
{
    const struct ring *r = a->ring;
    struct id_index *index = calloc(r->member_count + 1, sizeof *index);
    unsigned count = 0;
    CHECK(index != NULL);
    for (uint32_t i = 0; i < r->member_count; i++)
        if (r->members[i].weight > 0)
            index[count++] = (struct id_index){r->members[i].id, i};
    qsort(index, count, sizeof *index, compare_ids);
    for (uint64_t i = 0; i < a->slot_count; i++) {
        a->slots[i] = member_of(index, count, ids[i]);
        if (a->slots[i] != NOBODY)
            a->load[a->slots[i]]++;
    }
    for (unsigned i = 0; i < joined_count; i++) {
        uint32_t member = member_of(index, count, joined[i]);
        if (member != NOBODY)
            a->joined[member] = true;
    }
    free(index);
}

/* The members of a shard's slots but `except`; returns how many. */
static unsigned others_of(const struct reassignment *a, uint32_t shard, unsigned except,
                          uint32_t ret_members[COPIES_LIMIT])
{
    unsigned count = 0;
    for (unsigned i = 0; i < a->copies; i++) {
        uint32_t member = a->slots[(uint64_t)shard * a->copies + i];
        if (i != except && member != NOBODY)
            ret_members[count++] = member;
    }
    return count;
}

static void put(struct reassignment *a, uint32_t shard, unsigned slot, uint32_t member)
{
    uint32_t *at = &a->slots[(uint64_t)shard * a->copies + slot];
    if (*at != NOBODY)
        a->load[*at]--;
    *at = member;
    a->load[member]++;
    a->received[member]++;
}

/* ---- slots that have to move ---- */

static bool has_room(const struct reassignment *a, uint32_t member)
{
    return a->load[member] < ring_load_limit(a->ring, member, a->slot_count);
}

/* Of the next 8 that suit, the one that received least. */
static bool pick(const struct reassignment *a, uint32_t shard, const uint32_t *others,
                 unsigned other_count, enum strictness strictness, uint32_t *ret_member)
{
    const struct ring *r = a->ring;
    uint32_t seen[REPLACEMENT_CANDIDATES], at = ring_shard_start(r, shard);
    unsigned seen_count = 0;
    for (uint32_t step = 0; step < r->point_count && seen_count < REPLACEMENT_CANDIDATES; step++) {
        uint32_t member = r->points[at].target;
        at = at + 1 == r->point_count ? 0 : at + 1;
        if ((strictness == DISTINCT_HOST_AND_LOAD && !has_room(a, member)) ||
            !ring_suits(r, member, others, other_count, strictness) ||
            !ring_suits(r, member, seen, seen_count, DISTINCT_TARGET))
            continue;
        if (seen_count == 0 || a->received[member] < a->received[*ret_member])
            *ret_member = member;
        seen[seen_count++] = member;
    }
    return seen_count > 0;
}

static int fill(struct reassignment *a)
{
    for (uint64_t i = 0; i < a->slot_count; i++) {
        uint32_t others[COPIES_LIMIT], member = 0, shard = (uint32_t)(i / a->copies);
        unsigned slot = (unsigned)(i % a->copies);
        bool found = false;
        if (a->slots[i] != NOBODY)
            continue;
        unsigned count = others_of(a, shard, slot, others);
        for (int strictness = 0; !found && strictness < STRICTNESS_COUNT; strictness++)
            found = pick(a, shard, others, count, (enum strictness)strictness, &member);
        if (!found)
            return -ERR_NO_SPACE;
        put(a, shard, slot, member);
    }
    return 0;
}

/* Only where another has room for it: a target above its limit is better than a spoiled chain. */
static void relieve(struct reassignment *a)
{
    for (uint64_t i = 0; i < a->slot_count; i++) {
        uint32_t others[COPIES_LIMIT], member = 0, shard = (uint32_t)(i / a->copies);
        unsigned slot = (unsigned)(i % a->copies);
        if (a->load[a->slots[i]] <= ring_load_limit(a->ring, a->slots[i], a->slot_count))
            continue;
        unsigned count = others_of(a, shard, slot, others);
        if (pick(a, shard, others, count, DISTINCT_HOST_AND_LOAD, &member))
            put(a, shard, slot, member);
    }
}

/* ---- targets that joined ---- */

static uint64_t fair_share(const struct reassignment *a, uint32_t member)
{
    return a->slot_count * a->ring->members[member].weight / a->ring->weight_total;
}

/* Which slot a newcomer takes: the one of the busiest holder, but never a second on a host. */
static bool slot_to_give(const struct reassignment *a, uint32_t shard, uint32_t newcomer,
                         unsigned *ret_slot)
{
    uint64_t most = 0;
    bool found = false;
    for (unsigned slot = 0; slot < a->copies; slot++) {
        uint32_t others[COPIES_LIMIT], holder = a->slots[(uint64_t)shard * a->copies + slot];
        unsigned count = others_of(a, shard, slot, others);
        uint64_t busy = (uint64_t)a->load[holder] * RING_WEIGHT_MEAN * RING_WEIGHT_MEAN /
                        a->ring->members[holder].weight;
        if (holder == newcomer)
            return false;
        if (a->joined[holder] || busy <= most ||
            !ring_suits(a->ring, newcomer, others, count, DISTINCT_HOST))
            continue;
        most = busy;
        *ret_slot = slot;
        found = true;
    }
    return found;
}

/* Newcomers among the first `window` distinct hosts of the shard's walk claim a slot. */
static void claim(struct reassignment *a, uint32_t shard, unsigned window)
{
    const struct ring *r = a->ring;
    uint32_t first[COPIES_LIMIT * 2], at = ring_shard_start(r, shard);
    unsigned count = 0, slot;
    for (uint32_t step = 0; step < r->point_count && count < window; step++) {
        uint32_t member = r->points[at].target;
        at = at + 1 == r->point_count ? 0 : at + 1;
        if (!ring_suits(r, member, first, count, DISTINCT_HOST))
            continue;
        first[count++] = member;
        if (a->joined[member] && a->load[member] < fair_share(a, member) &&
            slot_to_give(a, shard, member, &slot))
            put(a, shard, slot, member);
    }
}

static void welcome(struct reassignment *a, unsigned joined_count)
{
    /* Beyond its natural place a newcomer fills up a little further down the walks. */
    for (unsigned window = a->copies; joined_count > 0 && window <= a->copies + 2; window++)
        for (uint32_t shard = 0; shard < a->shard_count; shard++)
            claim(a, shard, window);
}

int ring_reassign(const struct ring *r, uint32_t shard_count, unsigned copies,
                  const uint32_t *joined, unsigned joined_count, uint32_t *ids)
{
    struct reassignment a = {.ring = r, .shard_count = shard_count, .copies = copies};
    if (copies < 1 || copies > COPIES_LIMIT)
        return -ERR_INVALID;
    if (r->point_count == 0)
        return -ERR_NO_SPACE;
    a.slot_count = (uint64_t)shard_count * copies;
    a.slots = calloc(a.slot_count + 1, sizeof *a.slots);
    a.load = calloc(r->member_count + 1, sizeof *a.load);
    a.received = calloc(r->member_count + 1, sizeof *a.received);
    a.joined = calloc(r->member_count + 1, sizeof *a.joined);
    CHECK(a.slots && a.load && a.received && a.joined);
    read_ids(&a, ids, joined, joined_count);
    int status = fill(&a);
    if (status == 0) {
        welcome(&a, joined_count);
        relieve(&a);
        for (uint64_t i = 0; i < a.slot_count; i++)
            ids[i] = r->members[a.slots[i]].id;
    }
    free(a.slots);
    free(a.load);
    free(a.received);
    free(a.joined);
    return status;
}
