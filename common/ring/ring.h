/* The consistent-hash ring: which targets hold which shard. Pure; any thread.
 *
 * Each target puts round(256 x weight) points on the ring, SHA-1("<uuid>:<i>") cut to 8 bytes;
 * shard i stands at SHA-1("shard:<i>"). From there the walk goes clockwise and takes targets on
 * distinct hosts (Karger et al. 1997; fixed shards as in Dynamo, SOSP 2007, 6.2), passing by a
 * target that already has 1.05 times its fair share (bounded loads, Mirrokni et al. 2016). */
#ifndef CAIRN_RING_RING_H
#define CAIRN_RING_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/checksum.h"

enum { RING_WEIGHT_MEAN = 1000, RING_POINTS_PER_WEIGHT = 256 };

struct ring_target {
    uint32_t id;
    struct uuid uuid;
    const char *host; /* failure domain; borrowed until ring_create returns, like the next two */
    uint32_t weight;  /* RING_WEIGHT_MEAN = mean capacity; 0 takes nothing */
    const char *rack; /* within its zone; NULL: all without one stand in one rack */
    const char *zone; /* NULL: all without one stand in one zone */
};

struct ring;

/* Aborts when memory is exhausted. Targets may come in any order; the result is the same. */
struct ring *ring_create(const struct ring_target *targets, unsigned target_count);
void ring_destroy(struct ring *r);

/* Assigns `copies` targets to each of shard_count shards: ret_ids[shard * copies + slot]. Distinct
 * hosts, or distinct targets where there are fewer hosts than copies; racks and zones do not count
 * (placement_plan, from an empty assignment, heeds them). What it answers never changes, because
 * metaservers replay shards_form from their logs. -ERR_NO_SPACE when fewer targets than copies have
 * weight. */
int ring_form(const struct ring *r, uint32_t shard_count, unsigned copies, uint32_t *ret_ids);

/* What a target tells of itself when a slot is to be given away; else its receptions pending. */
enum {
    RING_BUSY = UINT32_MAX - 1, /* may take it later */
    RING_CLOSED = UINT32_MAX,   /* down, failed, full */
};

/* A new target for one slot: of the next 8 on the shard's walk that are not closed and stand as far
 * from `taken` as possible (fewest of them on its host, then in its zone, then in its rack) the one
 * with the fewest receptions pending. pending(arg, id) tells them. The plain successor would load
 * the hottest of 1,000 targets with 12 times the mean. -ERR_BUSY when all that stand so far away
 * are busy: a nearer one would stay near. -ERR_NO_ENTRY when there is none. */
int ring_replacement(const struct ring *r, uint32_t shard, const uint32_t *taken,
                     unsigned taken_count, uint32_t (*pending)(const void *arg, uint32_t id),
                     const void *arg, uint32_t *ret_id);

/* The shard of a chunk: the top bits of SHA-1(inode, index). shard_count is a power of two. */
uint32_t ring_shard_of_chunk(uint64_t inode, uint32_t index, uint32_t shard_count);

#endif
