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
    uint32_t receptions;    /* resyncs under way, as the table or the target itself tells */
    uint32_t sends;         /* resyncs it is the source of */
    bool is_drained;        /* by an operator: its slots shall go */
    bool is_maintained;     /* it will be back: its slots stay, and none is added */
    struct drain_of *drain; /* the job that drains it; NULL */
    uint32_t slots;         /* that it has */
    uint64_t bytes_free;    /* above the reserve; UINT64_MAX = not known */
    bool wait;              /* expired, but better declared dead together with a suspect */
};

/* One running drain. */
struct drain_of {
    uint32_t job;
    bool is_paused;
    uint64_t rate_max;
    uint32_t moves; /* being filled */
};

struct planning {
    const struct cluster_view *view;
    const struct plan_options *options;
    struct standing_of *standings; /* by the table's order of targets */
    struct planner *planner;
    struct plan *plan;
    struct drain_of *drains;
    uint64_t slot_bytes; /* a slot holds so much on average; UINT64_MAX = not known */
    uint32_t receptions_max, sends_max; /* for slots of this size */
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
/* NULL when nothing is known of it. */
const struct target_view *plan_view_of(const struct cluster_view *view, uint32_t target);
/* Chooses new targets for slots whose own are gone. */
void plan_replacements(struct planning *p);

/* ---- blocked.c ---- */
void plan_note_blocked(const struct planning *p, uint32_t target, enum job_reason reason,
                       uint32_t waits_for, uint32_t slots);
/* All slots that drains want to move, for the same reason. */
void plan_block_drains(const struct planning *p, enum job_reason reason);
/* Why the slot of a drained target cannot begin to move, the target being well or not: 0 when it
 * can, or has begun. */
enum job_reason plan_reason_of(const struct planning *p, const struct shard *s, unsigned copies,
                               unsigned slot, uint32_t *ret_waits_for);

/* ---- pace.c ---- */
/* How many shards at a time: of slots so small, more. */
void plan_set_pace(struct planning *p);
/* Whether a move of this drain may begin now, at its rate. */
bool plan_may_drain(const struct planning *p, const struct drain_of *drain);

#endif
