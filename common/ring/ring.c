/* The consistent-hash ring. */
#include "common/ring/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/ring/ring_private.h"
#include "common/base/banned.h"

enum { BUCKETS_PER_POINT = 1 };

static uint64_t digest_head(const void *data, size_t size)
{
    uint8_t digest[SHA1_SIZE];
    uint64_t head = 0;
    checksum_sha1(data, size, digest);
    for (int i = 0; i < 8; i++)
        head = head << 8 | digest[i];
    return head;
}

uint32_t ring_shard_of_chunk(uint64_t inode, uint32_t index, uint32_t shard_count)
{
    uint8_t key[12];
    CHECK(shard_count > 0 && (shard_count & (shard_count - 1)) == 0);
    memcpy(key, &inode, 8);
    memcpy(key + 8, &index, 4);
    if (shard_count == 1)
        return 0;
    return (uint32_t)(digest_head(key, sizeof key) >> (64 - __builtin_ctz(shard_count)));
}

/* ---- building ---- */

static int compare_points(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->target < y->target ? -1 : x->target > y->target;
}

static int compare_targets(const void *a, const void *b)
{
    const struct ring_target *const *x = a, *const *y = b;
    return memcmp((*x)->uuid.bytes, (*y)->uuid.bytes, UUID_SIZE);
}

static uint32_t points_of(uint32_t weight)
{
    return (uint32_t)(((uint64_t)weight * RING_POINTS_PER_WEIGHT + RING_WEIGHT_MEAN / 2) /
                      RING_WEIGHT_MEAN);
}

static void add_points(struct ring *r, uint32_t member, const struct uuid *uuid)
{
    char text[UUID_TEXT_SIZE], key[UUID_TEXT_SIZE + 12];
    uuid_format(uuid, text);
    for (uint32_t i = 0; i < points_of(r->members[member].weight); i++) {
        int size = snprintf(key, sizeof key, "%s:%u", text, i);
        r->points[r->point_count++] = (struct point){digest_head(key, (size_t)size), member};
    }
}

static void build_buckets(struct ring *r)
{
    unsigned bits = 1;
    while ((1u << bits) < r->point_count * BUCKETS_PER_POINT && bits < 24)
        bits++;
    r->bucket_shift = 64 - bits;
    r->buckets = malloc(sizeof *r->buckets << bits);
    CHECK(r->buckets != NULL);
    uint32_t point = 0;
    for (uint64_t bucket = 0; bucket < 1ull << bits; bucket++) {
        while (point < r->point_count && r->points[point].at < bucket << r->bucket_shift)
            point++;
        r->buckets[bucket] = point;
    }
}

struct ring *ring_create(const struct ring_target *targets, unsigned target_count)
{
    struct ring *r = calloc(1, sizeof *r);
    const struct ring_target **sorted = calloc(target_count + 1, sizeof *sorted);
    size_t points = 0;
    CHECK(r != NULL && sorted != NULL);
    for (unsigned i = 0; i < target_count; i++) {
        sorted[i] = &targets[i];
        points += points_of(targets[i].weight);
    }
    qsort(sorted, target_count, sizeof *sorted, compare_targets);
    r->members = calloc(target_count + 1, sizeof *r->members);
    r->points = calloc(points + 1, sizeof *r->points);
    CHECK(r->members != NULL && r->points != NULL);
    r->member_count = target_count;
    for (uint32_t i = 0; i < target_count; i++) {
        uint32_t host = r->host_count;
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(sorted[j]->host, sorted[i]->host) == 0)
                host = r->members[j].host;
        r->host_count += host == r->host_count;
        r->members[i] = (struct member){sorted[i]->id, sorted[i]->weight, host};
        r->weight_total += sorted[i]->weight;
        add_points(r, i, &sorted[i]->uuid);
    }
    free(sorted);
    qsort(r->points, r->point_count, sizeof *r->points, compare_points);
    build_buckets(r);
    return r;
}

void ring_destroy(struct ring *r)
{
    if (!r)
        return;
    free(r->members);
    free(r->points);
    free(r->buckets);
    free(r);
}

/* ---- walking ---- */

static uint32_t first_point(const struct ring *r, uint64_t at)
{
    uint32_t point = r->buckets[at >> r->bucket_shift];
    while (point < r->point_count && r->points[point].at < at)
        point++;
    return point == r->point_count ? 0 : point;
}

uint32_t ring_shard_start(const struct ring *r, uint32_t shard)
{
    char key[24];
    int size = snprintf(key, sizeof key, "shard:%u", shard);
    return first_point(r, digest_head(key, (size_t)size));
}

bool ring_suits(const struct ring *r, uint32_t candidate, const uint32_t *chosen,
                unsigned chosen_count, enum strictness strictness)
{
    for (unsigned i = 0; i < chosen_count; i++) {
        if (chosen[i] == candidate)
            return false;
        if (strictness != DISTINCT_TARGET &&
            r->members[chosen[i]].host == r->members[candidate].host)
            return false;
    }
    return true;
}

uint32_t ring_load_limit(const struct ring *r, uint32_t member, uint64_t slots)
{
    uint64_t fair_scaled = slots * r->members[member].weight * 105;
    return (uint32_t)(fair_scaled / (r->weight_total * 100)) + 1;
}

static int choose(const struct ring *r, uint32_t start, uint64_t slots, const uint32_t *load,
                  const uint32_t *chosen, unsigned chosen_count, uint32_t *ret_member)
{
    for (int strictness = 0; strictness < STRICTNESS_COUNT; strictness++) {
        for (uint32_t step = 0; step < r->point_count; step++) {
            uint32_t member = r->points[(start + step) % r->point_count].target;
            if (strictness == DISTINCT_HOST_AND_LOAD &&
                load[member] >= ring_load_limit(r, member, slots))
                continue;
            if (!ring_suits(r, member, chosen, chosen_count, (enum strictness)strictness))
                continue;
            *ret_member = member;
            return 0;
        }
    }
    return -ERR_NO_SPACE;
}

int ring_form(const struct ring *r, uint32_t shard_count, unsigned copies, uint32_t *ret_ids)
{
    enum { COPIES_LIMIT = 16 };
    uint32_t chosen[COPIES_LIMIT] = {0};
    uint32_t *load = calloc(r->member_count + 1, sizeof *load);
    int status = copies >= 1 && copies <= COPIES_LIMIT ? 0 : -ERR_INVALID;
    CHECK(load != NULL);
    for (uint32_t shard = 0; status == 0 && shard < shard_count; shard++) {
        uint32_t start = r->point_count ? ring_shard_start(r, shard) : 0;
        for (unsigned slot = 0; status == 0 && slot < copies; slot++) {
            status =
                choose(r, start, (uint64_t)shard_count * copies, load, chosen, slot, &chosen[slot]);
            if (status != 0)
                break;
            load[chosen[slot]]++;
            ret_ids[(uint64_t)shard * copies + slot] = r->members[chosen[slot]].id;
        }
    }
    free(load);
    return status;
}

static bool find_members(const struct ring *r, const uint32_t *ids, unsigned count,
                         uint32_t *ret_members, unsigned *ret_count)
{
    *ret_count = 0;
    for (unsigned i = 0; i < count; i++)
        for (uint32_t j = 0; j < r->member_count; j++)
            if (r->members[j].id == ids[i])
                ret_members[(*ret_count)++] = j;
    return *ret_count > 0;
}

/* Members that may take a slot: beyond these few there is nobody to look for on the walk. */
static unsigned count_eligible(const struct ring *r, const uint32_t *taken, unsigned taken_count,
                               enum strictness strictness,
                               uint32_t (*pending)(const void *arg, uint32_t id), const void *arg)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < r->member_count && count < REPLACEMENT_CANDIDATES; i++)
        count += points_of(r->members[i].weight) > 0 &&
                 ring_suits(r, i, taken, taken_count, strictness) &&
                 pending(arg, r->members[i].id) != UINT32_MAX;
    return count;
}

int ring_replacement(const struct ring *r, uint32_t shard, const uint32_t *taken,
                     unsigned taken_count, uint32_t (*pending)(const void *arg, uint32_t id),
                     const void *arg, uint32_t *ret_id)
{
    enum { TAKEN_LIMIT = 16 };
    uint32_t members[TAKEN_LIMIT], seen[REPLACEMENT_CANDIDATES];
    unsigned member_count;
    CHECK(taken_count <= TAKEN_LIMIT);
    (void)find_members(r, taken, taken_count, members, &member_count);
    if (r->point_count == 0)
        return -ERR_NO_ENTRY;
    for (int strictness = DISTINCT_HOST; strictness < STRICTNESS_COUNT; strictness++) {
        unsigned wanted =
            count_eligible(r, members, member_count, (enum strictness)strictness, pending, arg);
        if (wanted == 0)
            continue;
        uint32_t best = 0, best_pending = UINT32_MAX, point = ring_shard_start(r, shard);
        for (unsigned seen_count = 0; seen_count < wanted; point = (point + 1) % r->point_count) {
            uint32_t member = r->points[point].target;
            if (!ring_suits(r, member, members, member_count, (enum strictness)strictness) ||
                !ring_suits(r, member, seen, seen_count, DISTINCT_TARGET))
                continue;
            uint32_t waiting = pending(arg, r->members[member].id);
            if (waiting == UINT32_MAX)
                continue;
            seen[seen_count++] = member;
            if (waiting < best_pending) {
                best_pending = waiting;
                best = r->members[member].id;
            }
        }
        *ret_id = best;
        return 0;
    }
    return -ERR_NO_ENTRY;
}
