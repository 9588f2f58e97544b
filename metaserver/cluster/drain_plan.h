/* What it would mean to empty a set of targets: how much moves, and whether the others can take it.
 * Several targets are one plan: nothing counts as staying on another one of the set. Pure; one
 * thread at a time. Bytes are of one copy. */
#ifndef CAIRN_CLUSTER_DRAIN_PLAN_H
#define CAIRN_CLUSTER_DRAIN_PLAN_H

#include "metaserver/cluster/plan.h"

enum {
    /* Of each target's bytes_total; as much as a chunkserver keeps free by default. */
    DRAIN_RESERVE_PER_MILLE = 50,
    DRAIN_CHECKS_MAX = COPIES_MAX + 5,
};

/* What targets hold that shall go. A slot that has begun to move counts until it is gone. */
struct drain_load {
    uint32_t slots;
    uint32_t moving; /* of these */
    uint64_t chunks, bytes;
};

/* Sizes are what the targets have said of themselves; of one that has not been heard, or is not up,
 * what as many slots hold on average at those that have. Unknown targets hold nothing. */
void drain_load(const struct cluster_view *view, const uint32_t *targets, unsigned target_count,
                struct drain_load *ret_load);

struct drain_plan {
    bool is_good; /* all checks are */
    struct drain_load load;
    unsigned check_count;
    struct rec_job_check checks[DRAIN_CHECKS_MAX];
};

/* `copies`: of new files. Every check is good exactly when need <= have:
 *
 * SPACE      bytes that move; bytes free on those that can receive, above the reserve and what
 *            other drains will bring. Where one
 *            has no room for what placement must give it, less: what of `need` can be placed.
 * SERVERS    copies of new files; servers that stay. Hosts; targets where hosts are too few for the
 *            copies already today.
 * COPIES     the same for each table that is formed, which all have to be moved.
 * ZONES      only when zones are told: zones over which copies spread today, and afterwards.
 * FULLEST    thousandths used of the fullest receiver (or of the fullest that stays) afterwards;
 *            how much it may be: 950, or what it is today.
 * LAST_COPY  shards whose in-sync copies are all on these targets while none of them is up: nothing
 *            can be copied; 0.
 *
 * Where slots go is worked out as the planner would choose, one after the other, so it is close to
 * what will be, not the same. Takes tens of ms for 1,000 targets. */
void drain_plan_make(const struct cluster_view *view, const uint32_t *targets,
                     unsigned target_count, unsigned copies, struct drain_plan *ret_plan);

#endif
