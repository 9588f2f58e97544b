/* The inside of the ring, shared by forming and reassigning. */
#ifndef CAIRN_RING_RING_PRIVATE_H
#define CAIRN_RING_RING_PRIVATE_H

#include "common/ring/ring.h"

enum { REPLACEMENT_CANDIDATES = 8 };

struct point {
    uint64_t at;
    uint32_t target; /* index into targets */
};

struct member {
    uint32_t id, weight;
    uint32_t host; /* equal numbers = one failure domain */
};

struct ring {
    struct member *members;
    unsigned member_count, host_count;
    uint64_t weight_total;
    struct point *points;
    uint32_t point_count;
    uint32_t *buckets; /* first point at or behind bucket << shift */
    unsigned bucket_shift;
};

/* How strict a walk is about a candidate; each round drops one demand. */
enum strictness { DISTINCT_HOST_AND_LOAD, DISTINCT_HOST, DISTINCT_TARGET, STRICTNESS_COUNT };

/* The point at which the walk of a shard begins; the ring has points. */
uint32_t ring_shard_start(const struct ring *r, uint32_t shard);
/* Members are named by their index here. */
bool ring_suits(const struct ring *r, uint32_t candidate, const uint32_t *chosen,
                unsigned chosen_count, enum strictness strictness);
/* 1.05 times the member's fair share of `slots`, rounded up. */
uint32_t ring_load_limit(const struct ring *r, uint32_t member, uint64_t slots);

#endif
