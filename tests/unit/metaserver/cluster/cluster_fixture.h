/* A leader with its view of the targets, for tests of the planner. */
#ifndef CAIRN_TESTS_CLUSTER_CLUSTER_FIXTURE_H
#define CAIRN_TESTS_CLUSTER_CLUSTER_FIXTURE_H

#include "metaserver/cluster/plan.h"
#include "metaserver/cluster/summary.h"
#include "tests/unit/common/ring/shard_fixture.h"

extern CU_SuiteInfo suite_plan, suite_drain, suite_life, suite_balance, suite_capacity;

enum { LEADER_TARGETS_MAX = 32 };

struct leader {
    struct fixture f;
    struct target_view views[LEADER_TARGETS_MAX];
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
bool leader_gives_up(const struct leader *l, uint32_t target); /* the plan declares it dead */

#endif
