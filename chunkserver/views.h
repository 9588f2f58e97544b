/* From the shard table to the core's view of a shard. Pure; any thread. */
#ifndef CAIRN_CHUNKSERVER_VIEWS_H
#define CAIRN_CHUNKSERVER_VIEWS_H

#include <stdbool.h>

#include "chunkserver/chain/chain.h"
#include "common/ring/shard_table.h"

/* A shard before a table change, with the incarnations its in-sync targets had then. */
struct view_before {
    uint8_t copies;
    uint32_t number;
    struct shard shard;                   /* epoch 0: there was none */
    uint64_t incarnation[COPIES_MAX + 1]; /* by slot; the last one is the incoming target's */
};

void view_remember(const struct shard_table *table, uint8_t copies, uint32_t number,
                   struct view_before *ret_before);

/* The view of `target` after the change; false when it neither is nor was a member. fence_ms
 * becomes `fence_ms` when a target that was in sync before is so no more although the table shows
 * its process as up: its lease may still run (D12). Otherwise 0, also when it left by its own word.
 */
bool view_make(const struct shard_table *table, uint32_t target, const struct view_before *before,
               uint32_t fence_ms, struct chain_shard_view *ret_view);

#endif
