/* The hash ring of a cluster's targets, for the planners. Pure; any thread. */
#ifndef CAIRN_CLUSTER_CLUSTER_RING_H
#define CAIRN_CLUSTER_CLUSTER_RING_H

#include "common/ring/ring.h"
#include "common/ring/shard_table.h"

/* All targets of the table with what they weigh, but those in `left_out` (ids, in any order) weigh
 * nothing. The caller owns it: ring_destroy. For 1,000 targets it takes tens of ms. */
struct ring *cluster_ring_create(const struct shard_table *table, const uint32_t *left_out,
                                 unsigned left_out_count);

#endif
