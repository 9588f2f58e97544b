/* Jobs as the leader sees them: the arithmetic before they begin, how far they are, how fast they
 * may go, and when they have ended. What must outlive a leader is in the replicated state
 * (metaserver/fs/job.h); what is here belongs to a term and is begun anew by the next leader.
 *
 *   jobs.c       requests and proposals      jobs_pace.c   rates, measured and allowed
 *   jobs_text.c  refusals in words
 *
 * The loop's thread. */
#ifndef CAIRN_METASERVER_JOBS_H
#define CAIRN_METASERVER_JOBS_H

#include "metaserver/cluster/drain_plan.h"
#include "metaserver/fs/job.h"
#include "metaserver/metaserver.h"

/* ---- jobs_pace.c ---- */

enum { PACE_WINDOW_S = 30 };

/* A running job. What its moves have sent is what their sources say in their heartbeats; where a
 * source sends for others too it is shared by the number of shards. */
struct pace_run {
    uint32_t job; /* 0 = free */
    uint64_t rate_max;
    unsigned sources; /* that send for it now */
    uint64_t sent_bytes;
    struct {
        uint64_t at_ms, sent_bytes;
    } samples[PACE_WINDOW_S + 1]; /* one a second; a ring */
    unsigned sample_count, newest;
};

/* A source of resyncs. */
struct pace_source {
    uint32_t target;
    uint32_t sends;                   /* now */
    uint32_t shares;                  /* of these, or when there are none of the last there were: */
    uint32_t moves[JOBS_RUNNING_MAX]; /* by run */
};

struct pace {
    struct pace_run runs[JOBS_RUNNING_MAX];
    struct pace_source *sources; /* ascending targets */
    unsigned source_count;
    uint64_t table_version; /* that they are made of */
};

void pace_release(struct pace *p);
/* From the jobs and the shard table as they are now. */
void pace_look(struct pace *p, const struct fs *fs, uint64_t now_ms);
/* The target has sent so much more for resyncs. */
void pace_sent(struct pace *p, uint32_t target, uint64_t bytes);
/* Bytes a second over the last PACE_WINDOW_S at most; 0 for a job that does not run. */
uint64_t pace_rate(const struct pace *p, uint32_t job, uint64_t now_ms);
/* Bytes a second that the target may send for resyncs; 0 = no limit. The job's rate is shared
 * equally by its sources. A source that also repairs is held to the cluster's limit only: what is
 * lost does not wait for what only moves. */
uint64_t pace_allowed(const struct pace *p, const struct fs *fs, uint32_t target);

/* ---- jobs_text.c ---- */

/* Why a drain with this plan is refused: each check that is bad, in words, and what to do. */
void jobs_explain(const struct shard_table *table, const struct drain_plan *plan,
                  struct err_text *ret_why);
/* Why a target cannot be removed: -ERR_REFUSED; 0 when the leader sees nothing against it, or it is
 * not there any more. */
int jobs_may_remove(const struct shard_table *table, uint32_t target, bool data_loss,
                    struct err_text *ret_why);

/* ---- jobs.c ---- */

struct jobs *jobs_create(void);
void jobs_destroy(struct jobs *j);     /* NULL is allowed */
void jobs_begin(struct metaserver *m); /* a new term as leader */
void jobs_tick(struct metaserver *m);
/* Requests; all take the request. */
void jobs_on_plan(struct metaserver *m, struct rpc_request *take_request);
void jobs_on_list(struct metaserver *m, struct rpc_request *take_request);
void jobs_on_start(struct metaserver *m, struct rpc_request *take_request);
void jobs_on_remove(struct metaserver *m, struct rpc_request *take_request);
/* From a heartbeat, and for its answer. */
void jobs_sent(struct metaserver *m, uint32_t target, uint64_t bytes);
uint64_t jobs_background_rate(struct metaserver *m, uint32_t target);
/* Of a target in maintenance, until it ends by itself; 0 = it does not. */
uint64_t jobs_maintenance_left_ms(const struct metaserver *m, uint32_t target);

#endif
