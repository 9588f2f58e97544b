/* The hash ring of a cluster's targets. */
#include "metaserver/cluster/cluster_ring.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/banned.h"

struct ring *cluster_ring_create(const struct shard_table *table, const uint32_t *left_out,
                                 unsigned left_out_count)
{
    uint32_t *weights = calloc(table->target_count + 1, sizeof *weights);
    CHECK(weights != NULL);
    for (unsigned i = 0; i < table->target_count; i++) {
        weights[i] = target_ring_weight(&table->targets[i]);
        for (unsigned j = 0; j < left_out_count; j++)
            if (left_out[j] == table->targets[i].id)
                weights[i] = 0;
    }
    struct ring *ring = shard_table_ring(table, weights);
    free(weights);
    return ring;
}
