/* What the parts of the planner share. */
#ifndef CAIRN_CLUSTER_PLAN_PRIVATE_H
#define CAIRN_CLUSTER_PLAN_PRIVATE_H

#include "common/ring/ring.h"
#include "metaserver/cluster/plan.h"

enum standing {
    STANDING_WELL,
    STANDING_SUSPECT, /* silent for suspect_ms, or not heard since this leader took over */
    STANDING_EXPIRED, /* up in the table; its lease has surely run out */
    STANDING_DOWN,
    STANDING_FAILED,
};

struct standing_of {
    uint32_t target;
    enum standing standing;
    uint64_t silent_since_ms;
    uint32_t receptions; /* resyncs under way, as the table or the target itself tells */
    uint32_t sends;      /* resyncs it is the source of */
    bool has_slots;
    bool is_drained; /* by an operator: its slots shall go */
    bool wait;       /* expired, but better declared dead together with a suspect */
};

struct planning {
    const struct cluster_view *view;
    const struct plan_options *options;
    struct standing_of *standings; /* by the table's order of targets */
    struct planner *planner;
    struct plan *plan;
};

struct balance;

struct planner {
    struct ring *ring; /* of all targets with weight; NULL before it is first needed */
    uint64_t ring_digest;
    struct balance *balance; /* NULL while nobody is marked */
};

/* The target is one of the table's. Valid for the length of the run. */
__attribute__((returns_nonnull)) struct standing_of *standing_of(const struct planning *p,
                                                                 uint32_t target);
/* Chooses new targets for slots whose own are gone. */
void plan_replacements(struct planning *p);

#endif
