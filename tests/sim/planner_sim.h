/* The planner simulator: the real planner (metaserver/cluster) and the real shard table over a
 * simulated log of commands, with leaders that come and go, operators, and the servers, disks,
 * clients and the oracle of chain_sim.h. */
#ifndef CAIRN_TESTS_SIM_PLANNER_SIM_H
#define CAIRN_TESTS_SIM_PLANNER_SIM_H

#include "metaserver/cluster/plan.h"
#include "tests/sim/chain_sim.h"

enum {
    MARGIN_MS = 250, /* clocks run at 0.9 to 1.1 of the true speed: a lease lasts up to 1111 ms */
    PLANNER_FENCE_MS = 1500,
    SUSPECT_MS = 500,
    DOWN_OUT_MS = 4000,
    SETTLE_MS = 1500,
    CHANGES_MAX = 16, /* of one command */
    LOG_MAX = 512,
    MILLE = 1000,
};

enum command_kind {
    COMMAND_REGISTER = 1,
    COMMAND_REPORT,
    COMMAND_ADMIN,
    COMMAND_FAILED,
    COMMAND_OFFLINE,
    COMMAND_SLOTS,
    COMMAND_WEIGHTS,
};

struct command {
    enum command_kind kind;
    bool is_planned;
    uint32_t target; /* or, to register, the server */
    uint64_t incarnation;
    enum target_admin admin;
    struct msg_shard_report report;
    unsigned count; /* of one of those below */
    struct rec_target_weight weights[SERVERS_MAX];
    struct rec_target_life lives[SERVERS_MAX];
    struct rec_slot_change changes[CHANGES_MAX];
};

/* What a leader knows of a target, and forgets with its office. */
struct seen {
    bool heard, failed;
    int64_t heard_ms, up_since_ms;
};

struct planned {
    struct planner *planner;
    struct plan *plan;
    struct plan_options options;
    bool leads;
    uint64_t term;
    int64_t since_ms, plan_at_ms;
    uint64_t planned_version; /* of the table that the last plan was made from */
    struct seen seen[SERVERS_MAX];
    struct command *log[LOG_MAX]; /* proposed, not applied yet */
    unsigned log_count;
    int64_t commit_ms; /* of the last one in the log */
    unsigned under_way;
    uint64_t capacity[SERVERS_MAX];
    struct command again; /* one that will be applied a second time */
    unsigned calm;        /* of 1000 faults so many do not happen */
    int64_t slots_ms;     /* when the last slot was changed by the planner */
    unsigned changes_healed;
    struct {
        uint64_t plans, changes, offline, failed, elections, drains, cancels, joins, destroyed,
            storms, moved, blocked, repeated, weights;
    } done;
};

enum planner_event {
    PLANNER_COMMIT = 1,
    PLANNER_ELECT,
    PLANNER_OPERATOR,
    PLANNER_REPAIR,
    PLANNER_MEET
};

/* planner_sim_log.c */
void log_propose(struct world *w, const struct command *command);
void log_commit(struct world *w);
void log_leader_fails(struct world *w);
void log_elect(struct world *w);
void log_release(struct world *w);
bool log_has(const struct world *w, enum command_kind kind, uint32_t target);

/* planner_sim_leader.c: leader_heartbeat and the others of chain_sim.h, and ... */
void leader_start(struct world *w);

/* planner_sim_check.c: what the planner must never do, by rules of its own */
struct before {
    unsigned good[SHARDS_MAX], living[SHARDS_MAX];
    struct shard shard[SHARDS_MAX];
};
void check_before(const struct world *w, struct before *ret);
void check_command(struct world *w, const struct command *command, const struct before *before);
void check_plan(struct world *w);
/* Whether a slot is where it shall be, or nobody could take it. */
bool slot_is_settled(const struct world *w, unsigned shard, unsigned slot);

/* planner_sim_operator.c */
void operator_acts(struct world *w);

#endif
