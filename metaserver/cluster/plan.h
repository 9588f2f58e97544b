/* What the leader should propose next for the shard table: form tables, declare targets dead, give
 * slots to other targets. A pure function of the replicated table, of what the leader has heard and
 * of the time; the leader runs it once a second, at wake_at_ms and after each change of the table.
 *
 * One thread at a time. Times are milliseconds of the leader's monotonic clock. */
#ifndef CAIRN_CLUSTER_PLAN_H
#define CAIRN_CLUSTER_PLAN_H

#include "common/ring/shard_table.h"

/* What this leader knows of one target. A heartbeat counts when it carries the incarnation that the
 * table holds and the table says the target is up: only such a one is answered with a lease. So
 * does a registration. */
struct target_view {
    uint32_t target;
    bool heard;          /* since this leader took over */
    uint64_t heard_ms;   /* when the last heartbeat that counts was received */
    uint32_t receptions; /* shards it says it is still receiving */
    bool failed;         /* its last heartbeat said that its disk has failed */
    bool is_told;        /* what follows is known: a heartbeat of this process told it */
    uint64_t bytes_total, bytes_used;  /* of its disk */
    uint64_t chunk_bytes, chunk_count; /* of the shards that it is a member of */
    uint64_t left_bytes;               /* of shards that have left it, to be removed */
    uint64_t up_since_ms;              /* when it registered with this leader; 0: before that */
};

/* What a running job wants of the moves of a target that it drains. A target that is DRAINING
 * without one is emptied as fast as the limits allow. */
struct drain_view {
    uint32_t target;
    uint32_t job;      /* of one job: one rate */
    bool is_paused;    /* no new moves */
    uint64_t rate_max; /* bytes a second; 0 = no limit */
};

struct cluster_view {
    const struct shard_table *table;
    const struct target_view *targets; /* ascending ids; a target that is not there was not heard */
    unsigned target_count;
    const struct drain_view *drains; /* ascending targets */
    unsigned drain_count;
    uint64_t now_ms;
    uint64_t leader_since_ms; /* when this leader had applied all entries of earlier terms */
};

struct plan_options {
    uint32_t lease_ms;
    uint32_t margin_ms;      /* for clocks that run at different speeds and late processing */
    uint32_t suspect_ms;     /* silent for this long: likely dead, but its lease still counts */
    uint32_t down_out_ms;    /* a slot is given away after its target was down for this long */
    uint32_t receptions_max; /* resyncs a target receives at a time */
    uint32_t sends_max;      /* of which a target is the source; not counted for a last copy */
    uint32_t small_max;      /* both, for shards so small that ... */
    uint64_t slot_bytes;     /* ... so many hold no more than receptions_max (sends_max) of this */
    uint32_t replacements_max; /* started by one plan; at most PLAN_REPLACEMENTS_MAX */
    uint32_t settle_ms;        /* a target that joined is filled after it was up for this long */
    uint32_t initial_targets;  /* tables are formed when so many are up */
    unsigned copies_wanted;    /* bit n: a table with n copies is wanted */
    bool ignore_storm;         /* an operator says that those that vanished will not return */
};

enum { PLAN_REPLACEMENTS_MAX = 256, PLAN_BLOCKED_MAX = 1024 };

/* 3 s lease, 500 ms margin, 10 min until a slot is given away, a table with 2 copies; 2 shards at a
 * time, up to 16 when together they hold no more than 64 MiB. */
struct plan_options plan_options_default(void);

/* Slots that must go and cannot now. What only waits for its turn is not blocked, nor is what an
 * operator has paused. While a plan is full (replacements_max) or declares targets dead not all are
 * looked at: the next one tells. */
struct plan_blocked {
    uint32_t target; /* which shall be empty, or is gone */
    enum job_reason reason;
    uint32_t waits_for; /* a target; 0 = nobody in particular */
    uint32_t slots;
};

/* Large (170 KiB): keep it on the heap. Each part is one Raft command, in this order. */
struct plan {
    unsigned failed_count; /* target_failed each */
    uint32_t failed[TARGET_COUNT_MAX];
    unsigned offline_count; /* one targets_offline: those that went together, together */
    struct rec_target_life offline[TARGET_COUNT_MAX];
    unsigned weight_count; /* one target_weights */
    struct rec_target_weight weights[TARGET_COUNT_MAX];
    unsigned form_copies; /* shards_form by a plan, with so many copies; 0 = nothing to form */
    unsigned replacement_count; /* one shard_change */
    struct rec_slot_change replacements[PLAN_REPLACEMENTS_MAX];
    unsigned blocked_count; /* nothing to propose */
    struct plan_blocked blocked[PLAN_BLOCKED_MAX];
    unsigned waiting;      /* slots that must go and wait for their turn */
    unsigned balance_left; /* slots that shall move so that loads fit weights */
    bool storm;          /* more than a third of the targets vanished: nothing is replaced (D26) */
    unsigned vanished;   /* targets with slots that are away, have not failed, and were not
                          * announced (TARGET_MAINTENANCE) */
    uint64_t wake_at_ms; /* when a lease may run out; UINT64_MAX = nothing to wait for */
};

/* Keeps between runs what takes tens of ms to make for 1,000 targets: the hash ring, which depends
 * on nothing but the table's targets, and the placement plan of a balance. That one is followed as
 * long as it fits the table; a planner that has none, of a new leader, makes the rest of it anew,
 * which moves no more than was left (docs/placement.md, "Balance"). */
struct planner;

struct planner *planner_create(void);
void planner_destroy(struct planner *p);

/* Fills *ret_plan. Nothing in it is proposed twice once the table has changed accordingly; while
 * the commands are under way the caller does not run it again. */
void planner_run(struct planner *p, const struct cluster_view *view,
                 const struct plan_options *options, struct plan *ret_plan);

#endif
