/* Jobs and the policy of the cluster: what operators asked for, in the replicated state, so that a
 * change of the leader neither loses nor miscounts it.
 *
 * A drain makes its targets DRAINING; the planner moves their slots away; the state machine counts
 * what has left them, each slot once, in the command by which it left (op_job.c). The leader
 * proposes job_end, which is checked again where it is applied (D18).
 *
 * One thread, as for all calls with `struct fs *` alone. */
#ifndef CAIRN_FS_JOB_H
#define CAIRN_FS_JOB_H

#include "metaserver/fs/fs.h"

enum {
    JOB_TARGETS_MAX = 64,
    JOB_TEXT_MAX = 64, /* with its 0 */
    JOBS_ENDED_KEPT = 64,
    JOBS_RUNNING_MAX = 16, /* paused ones count */
    JOBS_MAX = JOBS_RUNNING_MAX + JOBS_ENDED_KEPT,
    CONFIG_NAME_MAX = 23, /* it is part of a key */
    CONFIG_TEXT_MAX = 32, /* with its 0; of a value */
};

struct job {
    uint32_t number; /* from 1, never reused */
    enum job_kind kind;
    enum job_state state;
    unsigned target_count;
    uint32_t
        targets[JOB_TARGETS_MAX]; /* ascending; one that was removed since is not in the table */
    uint64_t rate_max;            /* bytes a second; 0 = no limit of its own */
    char by[JOB_TEXT_MAX];
    int64_t started_ns, ended_ns; /* wall clock of the leader, for people; ended_ns 0 = running */
    uint32_t slots_done;          /* these three only grow */
    uint64_t chunks_done, bytes_done;
};

/* RUNNING or PAUSED. */
static inline bool job_is_running(const struct job *j)
{
    return j->state == JOB_RUNNING || j->state == JOB_PAUSED;
}

/* The jobs as of the last applied entry, ascending numbers; held in memory like the shard table.
 * Valid until the next change. */
const struct job *fs_jobs(const struct fs *fs, unsigned *ret_count);
/* NULL when there is none, or it ended long ago. */
const struct job *fs_job(const struct fs *fs, uint32_t number);
/* The running drain of a target; NULL. At most one. */
const struct job *fs_job_draining(const struct fs *fs, uint32_t target);
/* Whether a running job has nothing left to do: what job_end asks for (D18). No table has a slot
 * or a move of its targets, and no slot that was theirs still waits for its data elsewhere. */
bool fs_job_is_empty(const struct fs *fs, const struct job *job);

enum config_key {
#define X(name, kind, fallback, min, max, help) CONFIG_##name,
#include "metaserver/fs/config.tbl"
#undef X
    CONFIG_COUNT
};

/* As of the last applied entry: what was set, or else the default. Bytes, milliseconds or a number.
 */
uint64_t fs_config(const struct fs *fs, enum config_key key);

#endif
