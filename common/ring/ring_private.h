/* The inside of the ring, shared by forming, replacing and planning. */
#ifndef CAIRN_RING_RING_PRIVATE_H
#define CAIRN_RING_RING_PRIVATE_H

#include "common/ring/ring.h"

enum { COPIES_LIMIT = 16, NOBODY = UINT32_MAX };

#ifdef PLANT_SUCCESSOR
enum { REPLACEMENT_CANDIDATES = 1 };
#else
enum { REPLACEMENT_CANDIDATES = 8 };
#endif

struct point {
    uint64_t at;
    uint32_t target; /* index into members */
};

struct member {
    uint32_t id, weight;
    uint32_t host, rack, zone; /* equal numbers = one failure domain */
    bool has_points;
};

struct id_member {
    uint32_t id, member;
};

struct ring {
    struct member *members; /* by uuid */
    unsigned member_count, host_count, rack_count, zone_count;
    uint64_t weight_total;
    struct id_member *by_id; /* ascending */
    struct point *points;
    uint32_t point_count;
    uint32_t *buckets; /* first point at or behind bucket << shift */
    unsigned bucket_shift;
};

/* Members are named by their index from here on. */

/* The point at which the walk of a shard begins; the ring has points. */
uint32_t ring_shard_start(const struct ring *r, uint32_t shard);
/* NOBODY when the ring has no such target. */
uint32_t ring_member_of(const struct ring *r, uint32_t id);
bool ring_is_among(uint32_t member, const uint32_t *members, unsigned count);

/* ---- spread.c: how near two copies stand ---- */

/* 0 = no common failure domain that could be avoided. One common host outweighs all common zones, a
 * zone all racks. A sum over pairs is least when the copies are spread evenly. */
uint64_t ring_nearness(const struct ring *r, uint32_t a, uint32_t b);
/* Of `member` to all of `others`. */
uint64_t ring_nearness_to(const struct ring *r, uint32_t member, const uint32_t *others,
                          unsigned count);
/* The sum over the pairs of a shard that is spread as well as possible; UINT64_MAX when there are
 * fewer targets with weight than copies. */
uint64_t ring_least_nearness(const struct ring *r, unsigned copies);

/* ---- share.c: how much a member shall hold ---- */

enum { SHARE_BITS = 20 }; /* shares are in slots << SHARE_BITS */

/* ret_shares[member_count]; see placement_shares. */
void ring_shares(const struct ring *r, uint32_t shard_count, unsigned copies, uint64_t *ret_shares);
/* 1.05 times the share, rounded down, and one. */
uint32_t ring_share_limit(uint64_t share);

#endif
