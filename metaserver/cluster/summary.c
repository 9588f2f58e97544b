/* Counts of the shard table for people. */
#include "metaserver/cluster/summary.h"

#include "common/base/check.h"
#include "common/base/banned.h"

static void count_shard(const struct shard_table *table, unsigned copies, const struct shard *s,
                        struct cluster_summary *summary)
{
    unsigned good = 0;
    if (s->epoch == 0)
        return;
    for (unsigned i = 0; i < copies; i++) {
        const struct target *t = shard_table_target(table, s->slot[i].target);
        CHECK(t != NULL);
        good += (s->slot[i].state == SLOT_INSYNC || s->slot[i].state == SLOT_LEAVING) &&
                t->state == TARGET_UP;
    }
    summary->shards++;
    summary->full += good == copies;
    summary->under += good > 0 && good < copies;
    summary->last_copy += good == 1 && copies > 1;
    summary->unavailable += good == 0;
}

struct cluster_summary cluster_summarize(const struct shard_table *table)
{
    struct cluster_summary summary = {0};
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t i = 0; table->shards[copies] && i < table->shard_count; i++)
            count_shard(table, copies, &table->shards[copies][i], &summary);
    return summary;
}

struct slot_counts cluster_count_slots(const struct shard_table *table, uint32_t target)
{
    struct slot_counts counts = {0};
    enum slot_state state;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t i = 0; table->shards[copies] && i < table->shard_count; i++) {
            const struct shard *s = &table->shards[copies][i];
            if (!shard_has_member(s, copies, target, &state))
                continue;
            counts.slots++;
            counts.in_sync += state == SLOT_INSYNC || state == SLOT_LEAVING;
            counts.moving += s->move.incoming != 0 && s->move.outgoing == target;
        }
    return counts;
}
