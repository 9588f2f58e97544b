/* A leader with its view of the targets, for tests of the planner. */
#ifndef CAIRN_TESTS_CLUSTER_CLUSTER_FIXTURE_H
#define CAIRN_TESTS_CLUSTER_CLUSTER_FIXTURE_H

#include "metaserver/cluster/plan.h"
#include "metaserver/cluster/summary.h"
#include "tests/unit/common/ring/shard_fixture.h"

extern CU_SuiteInfo suite_plan, suite_drain, suite_drain_plan, suite_drain_jobs, suite_maintenance,
    suite_life, suite_balance, suite_capacity;

enum { LEADER_TARGETS_MAX = 32 };

struct leader {
    struct fixture f;
    struct target_view views[LEADER_TARGETS_MAX];
    struct drain_view drains[LEADER_TARGETS_MAX]; /* running jobs */
    unsigned drain_count;
    uint64_t now_ms, since_ms;
    struct plan_options options;
    struct planner *planner;
    struct plan *plan; /* of the last run */
};

/* Took over at 100,000 ms and has just heard all targets. */
void leader_init(struct leader *l, unsigned targets, uint32_t shards, unsigned copies);
void leader_release(struct leader *l);
void leader_heard(struct leader *l, uint32_t target); /* now */
/* Time passes; all targets are heard up to now, but not those in `silent` (0 ends it). */
void leader_pass(struct leader *l, uint64_t ms, const uint32_t *silent);
void leader_plan(struct leader *l);
/* Carries the plan out, as the state machine does. */
void leader_apply(struct leader *l);
/* The next resync or leave of the shard ends well. */
void leader_finish(struct leader *l, unsigned copies, uint32_t shard);
/* One heartbeat's time, a plan, and it is carried out; then in the first `finished` shards one
 * resync or leave ends. */
void leader_step(struct leader *l, const uint32_t *silent, unsigned copies, uint32_t finished);
/* Until a new leader begins to move data. */
void leader_settle(struct leader *l, unsigned copies);
void leader_set_admin(struct leader *l, uint32_t target, enum target_admin admin);
/* Slots of the target that the last plan found blocked for this reason; *ret_waits_for (may be
 * NULL) of the first row. */
uint32_t leader_blocked(const struct leader *l, uint32_t target, enum job_reason reason,
                        uint32_t *ret_waits_for);
bool leader_gives_up(const struct leader *l, uint32_t target); /* the plan declares it dead */

#endif
