/* The planner: how much at a time. A shard that is nearly empty takes a round of messages and a
 * heartbeat or two, whatever it holds; with two at a time a drain of 256 of them would take
 * minutes. So large shards go few at a time (D25) and small ones as many as weigh the same. */
#include "metaserver/cluster/plan_private.h"

#include "common/base/check.h"
#include "metaserver/cluster/drain_plan.h"
#include "common/base/banned.h"

enum {
    /* What a rate lets be under way at a time: enough that it is met while the next one is begun,
     * little enough that a lower rate is soon felt. */
    RATE_WINDOW_S = 10,
};

/* A target that counts chunks and no bytes is too old to tell them. */
static bool tells_sizes(const struct target_view *seen)
{
    return seen && seen->is_told && (seen->chunk_bytes > 0 || seen->chunk_count == 0);
}

static uint32_t at_a_time(const struct planning *p, uint32_t most)
{
    uint64_t slots = p->options->small_max;
    if (p->slot_bytes == UINT64_MAX)
        return most;
    if (p->slot_bytes > 0)
        slots = most * p->options->slot_bytes / p->slot_bytes;
    if (slots > p->options->small_max)
        slots = p->options->small_max;
    return slots > most ? (uint32_t)slots : most;
}

void plan_set_pace(struct planning *p)
{
    uint64_t bytes = 0, slots = 0;
    for (unsigned i = 0; i < p->view->table->target_count; i++) {
        struct standing_of *s = &p->standings[i];
        const struct target_view *seen = plan_view_of(p->view, s->target);
        s->bytes_free = UINT64_MAX;
        if (seen && seen->is_told && seen->bytes_total > 0) {
            uint64_t reserve = seen->bytes_total / 1000 * DRAIN_RESERVE_PER_MILLE;
            uint64_t limit = seen->bytes_total - reserve;
            s->bytes_free = seen->bytes_used < limit ? limit - seen->bytes_used : 0;
        }
        if (!tells_sizes(seen) || s->slots == 0)
            continue;
        bytes += seen->chunk_bytes;
        slots += s->slots;
    }
    p->slot_bytes = slots ? bytes / slots : UINT64_MAX;
    p->receptions_max = at_a_time(p, p->options->receptions_max);
    p->sends_max = at_a_time(p, p->options->sends_max);
}

bool plan_may_drain(const struct planning *p, const struct drain_of *drain)
{
    if (!drain || drain->rate_max == 0 || drain->moves == 0)
        return true;
    uint64_t slot = p->slot_bytes == UINT64_MAX ? p->options->slot_bytes : p->slot_bytes;
    return slot == 0 || drain->moves < drain->rate_max / slot * RATE_WINDOW_S +
                                           drain->rate_max % slot * RATE_WINDOW_S / slot;
}
