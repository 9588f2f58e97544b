/* The hash ring of a cluster's targets. */
#include "metaserver/cluster/cluster_ring.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/banned.h"

struct ring *cluster_ring_create(const struct shard_table *table, const uint32_t *left_out,
                                 unsigned left_out_count)
{
    struct ring_target *targets = calloc(table->target_count + 1, sizeof *targets);
    CHECK(targets != NULL);
    for (unsigned i = 0; i < table->target_count; i++) {
        const struct target *t = &table->targets[i];
        targets[i] = (struct ring_target){
            .id = t->id, .uuid = t->uuid, .host = t->host, .weight = target_ring_weight(t)};
        for (unsigned j = 0; j < left_out_count; j++)
            if (left_out[j] == t->id)
                targets[i].weight = 0;
    }
    struct ring *ring = ring_create(targets, table->target_count);
    free(targets);
    return ring;
}
