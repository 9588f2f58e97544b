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

/* The failure domains of one kind: a name within the domain above. */
struct domain {
    uint32_t above;
    const char *name; /* NULL = "" */
};

static bool is_same_name(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static uint32_t number_of(struct domain *domains, unsigned *count, uint32_t above, const char *name)
{
    for (unsigned i = 0; i < *count; i++)
        if (domains[i].above == above && is_same_name(domains[i].name, name))
            return i;
    domains[*count] = (struct domain){above, name};
    return (*count)++;
}

static void number_domains(struct ring *r, const struct ring_target *const *sorted)
{
    struct domain *domains = calloc((size_t)3 * r->member_count + 1, sizeof *domains);
    CHECK(domains != NULL);
    struct domain *racks = domains + r->member_count, *hosts = racks + r->member_count;
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct member *m = &r->members[i];
        m->zone = number_of(domains, &r->zone_count, 0, sorted[i]->zone);
        m->rack = number_of(racks, &r->rack_count, m->zone, sorted[i]->rack);
        m->host = number_of(hosts, &r->host_count, m->rack, sorted[i]->host);
    }
    free(domains);
}

static int compare_ids(const void *a, const void *b)
{
    const struct id_member *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void order_by_id(struct ring *r)
{
    r->by_id = calloc(r->member_count + 1, sizeof *r->by_id);
    CHECK(r->by_id != NULL);
    for (uint32_t i = 0; i < r->member_count; i++)
        r->by_id[i] = (struct id_member){r->members[i].id, i};
    qsort(r->by_id, r->member_count, sizeof *r->by_id, compare_ids);
}

uint32_t ring_member_of(const struct ring *r, uint32_t id)
{
    struct id_member key = {id, 0};
    const struct id_member *found =
        bsearch(&key, r->by_id, r->member_count, sizeof key, compare_ids);
    return found ? found->member : NOBODY;
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
        uint32_t weight = sorted[i]->weight;
        r->members[i] = (struct member){
            .id = sorted[i]->id, .weight = weight, .has_points = points_of(weight) > 0};
        r->weight_total += weight;
        add_points(r, i, &sorted[i]->uuid);
    }
    number_domains(r, sorted);
    order_by_id(r);
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
    free(r->by_id);
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

bool ring_is_among(uint32_t member, const uint32_t *members, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (members[i] == member)
            return true;
    return false;
}

/* ---- forming ----
 *
 * Frozen: shards_form stands in Raft logs (test-common-ring, form_never_changes). */

/* How strict a walk is about a candidate; each round drops one demand. */
enum strictness { DISTINCT_HOST_AND_LOAD, DISTINCT_HOST, DISTINCT_TARGET, STRICTNESS_COUNT };

static bool suits(const struct ring *r, uint32_t candidate, const uint32_t *chosen,
                  unsigned chosen_count, enum strictness strictness)
{
    if (strictness == DISTINCT_TARGET)
        return !ring_is_among(candidate, chosen, chosen_count);
    for (unsigned i = 0; i < chosen_count; i++)
        if (r->members[chosen[i]].host == r->members[candidate].host)
            return false;
    return true;
}

/* 1.05 times the member's part of the weight, rounded down, and one. */
static uint32_t load_limit(const struct ring *r, uint32_t member, uint64_t slots)
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
                load[member] >= load_limit(r, member, slots))
                continue;
            if (!suits(r, member, chosen, chosen_count, (enum strictness)strictness))
                continue;
            *ret_member = member;
            return 0;
        }
    }
    return -ERR_NO_SPACE;
}

int ring_form(const struct ring *r, uint32_t shard_count, unsigned copies, uint32_t *ret_ids)
{
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
