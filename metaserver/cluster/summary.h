/* Counts of the shard table for people (`cairn status`). Pure; any thread that may read the table.
 */
#ifndef CAIRN_CLUSTER_SUMMARY_H
#define CAIRN_CLUSTER_SUMMARY_H

#include "common/ring/shard_table.h"

/* Every formed shard of every table is one of full, under and unavailable. */
struct cluster_summary {
    uint32_t shards;
    uint32_t full;        /* all slots in sync and up */
    uint32_t under;       /* some, not all */
    uint32_t last_copy;   /* of these: one, while more are wanted */
    uint32_t unavailable; /* none: its in-sync targets are down */
};

struct cluster_summary cluster_summarize(const struct shard_table *table);

struct slot_counts {
    uint32_t slots;
    uint32_t in_sync;
    uint32_t moving; /* to another target */
};

/* What one target has; a slot on its way to it counts. */
struct slot_counts cluster_count_slots(const struct shard_table *table, uint32_t target);

#endif
