/* What the files of the metaserver daemon share. Everything lives on the loop's thread.
 *
 *   main.c        options, start, stop            start.c       folders, database, checkpoint, log
 *   server.c      requests: who answers what      propose.c     envelopes, holders, answers
 *   sessions.c    who lives, who has what open    targets.c     heartbeats, leases, the planner
 *   collect.c     deleted chunks to chunkservers  checkpoint.c  checkpoints, log trimming
 *   jobs*.c       drains: plans, progress, rates  recover.c     when the majority is lost
 *   status.c      what `cairn status` shows       space.c       room on the disk
 *   member.c      what `cairn meta` asks for      fsck.c        the check of all invariants
 *   queries.c     queries on all cores            apply.c       entries into the state
 *   dump.c        dumps and loads                 founding.c    a new folder: found, or join
 *   raft_*.c      the log's agreement
 *
 * The volatile parts (opens, heartbeats) belong to the leader's term and are rebuilt by what
 * clients and chunkservers tell a new one. */
#ifndef CAIRN_METASERVER_METASERVER_H
#define CAIRN_METASERVER_METASERVER_H

#include "common/base/conf.h"
#include "common/base/map.h"
#include "common/net/loop.h"
#include "common/net/rpc_server.h"
#include "metaserver/checkpoint_store.h"
#include "metaserver/cluster/plan.h"
#include "metaserver/fs/fs.h"
#include "metaserver/log_gather.h"
#include "metaserver/log_store.h"
#include "metaserver/queries.h"
#include "metaserver/raft_driver.h"
#include "metaserver/standing.h"

#define METASERVER_OPTIONS(X)                                                                      \
    X(node, id, NUMBER, "1", 1, 1000, "number of this metaserver")                                 \
    X(node, cluster, TEXT, "", 0, 0, "cluster id (uuid)")                                          \
    X(node, data, TEXT, "", 0, 0, "folder of log, checkpoints and database")                       \
    X(node, join, SWITCH, "no", 0, 1, "a new folder waits to be added: cairn meta add")            \
    X(node, force_new_cluster, SWITCH, "no", 0, 1,                                                 \
      "the majority is lost: make this folder a cluster of its own, and end")                      \
    X(node, yes_i_may_lose_data, SWITCH, "no", 0, 1, "confirms force_new_cluster")                 \
    X(node, log_file, TEXT, "", 0, 0, "where to log; empty = standard error")                      \
    X(node, log_level, TEXT, "info", 0, 0, "error, warn, info or debug")                           \
    X(node, query_threads, NUMBER, "64", 0, QUERIES_HELPERS_MAX,                                   \
      "most threads that help to answer queries; one per core less one at most")                   \
    X(net, listen, TEXT, "127.0.0.1:7001", 0, 0, "host:port to listen on")                         \
    X(net, peers, TEXT, "", 0, 0, "first metaservers of the cluster, ID=host:port,ID=host:port")   \
    X(cluster, copies, NUMBER, "2", 1, COPIES_MAX, "copies of new files, fixed at the start")      \
    X(cluster, shards, NUMBER, "1024", 1, SHARD_COUNT_MAX,                                         \
      "shards (power of two), fixed at the start")                                                 \
    X(cluster, initial_targets, NUMBER, "2", 1, 4096,                                              \
      "targets to wait for before the first write")                                                \
    X(cluster, lease, TIME, "3s", 500, 60000, "how long a chunkserver may serve unheard")          \
    X(cluster, down_out, TIME, "10m", 1000, UINT64_MAX, "a dead target is replaced after this")    \
    X(raft, heartbeat, TIME, "100ms", 10, 10000, "a leader is silent no longer than this")         \
    X(raft, election, TIME, "500ms", 50, 60000,                                                    \
      "silence after which a follower stands; up to twice this")                                   \
    X(raft, snapshot_rate, SIZE, "200MiB", 64 << 10, UINT64_MAX,                                   \
      "a member fetches a checkpoint no faster than this a second")                                \
    X(store, checkpoint_log, SIZE, "64MiB", 1 << 20, UINT64_MAX, "a checkpoint after so much log") \
    X(store, checkpoint_every, TIME, "10m", 1000, UINT64_MAX, "and at least this often")           \
    X(store, reserve, SIZE, "64MiB", 0, UINT64_MAX,                                                \
      "below this nothing new is made; 0 = look not")                                              \
    X(store, database_max, SIZE, "64GiB", 16 << 20, UINT64_MAX, "largest database (address space)")

struct metaserver_options {
    METASERVER_OPTIONS(CONF_FIELD)
};

/* In the data folder: says whether the database may be trusted. */
#define META_MARK_NAME "database.state"

enum {
    LEASE_MARGIN_MS = 500,
    SUSPECT_MS = 1500,
    META_TICK_MS = 100,
    META_APPLY_MAX = RAFT_DRIVER_APPLY_MAX, /* entries of one transaction */
};

struct session_state;
struct meta_results;
struct target_heard;
struct collector;
struct checkpointer;
struct fsck;
struct space;
struct dumper;
struct founding;
struct jobs;

struct metaserver {
    struct metaserver_options options;
    struct uuid cluster;
    struct rpc_identity identity;
    struct loop *loop;
    struct log_store *log;
    struct log_recovery recovery;
    struct log_gather gathered; /* the log's entries, until raft has taken them */
    struct checkpoint_store *checkpoints;
    struct checkpoint_id checkpoint; /* the newest good one */
    struct raft_config config;       /* at the start: in force at `checkpoint` */
    struct standing standing;
    struct fs *fs;
    struct fs_view *view; /* the state as of the last commit: to be read through meta_view */
    unsigned uncommitted; /* entries of the open transaction; 0 = none is open */
    bool is_answer_sent;  /* the open transaction's: it may be committed */
    struct loop_defer commit_hook;
    struct queries *queries;
    char *database; /* folder */
    struct meta_results *results;
    struct raft_driver *driver;         /* NULL until it is known how to start: founding.c */
    struct founding *founding;          /* NULL when that is known */
    struct raft_config peers;           /* of the option */
    char address[RAFT_ADDRESS_MAX + 1]; /* of this node, as far as the options say */
    struct rpc_server *server;
    struct loop_timer tick;

    bool is_leader;
    bool is_stopping;       /* asked to end; hands leadership over first */
    bool is_ready_asked;    /* the read that makes this leader ready is under way */
    bool is_init_under_way; /* cluster_init */
    struct loop_timer stop_timer;
    uint64_t leader_term;
    uint64_t leader_ready_ms; /* all entries of earlier terms are applied since; 0 = not yet */
    int64_t last_time_ns;     /* of commands: never goes back */
    uint64_t hash_told;       /* index of the last state hash that was proposed; 0 = none */

    struct list proposals; /* requests that wait for their entry to be applied */
    struct map sessions;   /* leader: id -> struct session_state */
    struct map removing;   /* leader: inode -> removals under way */
    struct map heard;      /* leader: target -> struct target_heard */
    struct planner *planner;
    struct plan *plan;
    struct jobs *jobs;
    unsigned commands_under_way; /* of the planner */
    uint64_t plan_at_ms;
    struct collector *collector;
    struct checkpointer *checkpointer;
    struct fsck *fsck;
    struct space *space;
    struct dumper *dumper;
};

/* ---- start.c ---- */
/* Opens folder, log, checkpoints and database. On failure `why` tells a person what to do. */
int meta_open(struct metaserver *m, struct err_text *why);
/* `is_clean`: everything is written and the database may be trusted at the next start. */
void meta_close(struct metaserver *m, bool is_clean);
/* Two steps to replace the database by a checkpoint. The first fills a new one beside it, on any
 * thread; a damaged checkpoint is removed, so that it is not offered again. The second takes it
 * into use; the process ends when that fails, because the old one is gone by then. */
int meta_fill_database(struct metaserver *m, struct checkpoint_id id,
                       struct raft_config *ret_config, struct err_text *why);
int meta_swap_database(struct metaserver *m, struct err_text *why);
int meta_parse_peers(struct metaserver *m, struct err_text *why);
/* Durable when it returns 0. */
int meta_store_standing(struct metaserver *m);

/* ---- database_fault.c ---- */
/* Before meta_open: a page of the database that cannot be read (SIGBUS) ends the process with a
 * message, and the next start does not trust the database. `data`: the folder. */
void meta_catch_faults(const char *data);
/* The next start builds the database anew. For a process that ends; any thread. */
void meta_distrust_database(void);

/* ---- recover.c ---- */
/* Before meta_open, which would make a new folder: -ERR_REFUSED when there is none, or it belongs
 * to another user. */
int meta_may_recover(const struct metaserver *m, struct err_text *why);
/* After meta_open, instead of raft: the next start is that of a cluster of this node alone. Not
 * confirmed, it prints what the folder holds and refuses. */
int meta_force_new_cluster(struct metaserver *m, struct err_text *why);

/* ---- founding.c ---- */
/* Asks the first members until it is known whether this new folder founds or joins; then its
 * standing is stored and `decided` is called, once, on the loop. */
struct founding *founding_start(struct metaserver *m, void (*decided)(struct metaserver *m));
void founding_stop(struct founding *f); /* NULL is allowed */
/* Tells another one what ours is. Takes the request. */
void founding_on_request(struct metaserver *m, struct rpc_request *take_request);

/* ---- server.c ---- */
void meta_dispatch(void *arg, struct rpc_request *take_request);
void meta_server_event(void *arg, enum rpc_server_event event, const struct rpc_remote *remote,
                       int status, const char *why);
void meta_role_changed(void *arg, enum raft_role role, uint32_t leader, uint64_t term);
void meta_leader_tick(struct metaserver *m);
/* This leader's state machine is complete: it may answer and plan. */
bool meta_is_ready(const struct metaserver *m);
/* The last entry that was applied. */
uint64_t meta_applied(const struct metaserver *m);
void meta_refuse(struct metaserver *m, struct rpc_request *take_request);
void meta_answer_queries(void *arg, const struct query_answer *answers, unsigned count);

/* ---- apply.c ---- */
void meta_apply_init(struct metaserver *m);
int meta_apply(void *arg, uint64_t first, uint64_t last); /* as raft_driver_ops.apply */
/* Makes visible what was applied: before anybody else reads the state. Cheap when nothing was.
 * -ERR_NO_SPACE: there was no room, and what had been applied since the last commit is taken back.
 */
int meta_commit(struct metaserver *m);
/* The state as of the last applied entry; without room as of the last commit. */
struct fs_view *meta_view(struct metaserver *m);

/* ---- propose.c ---- */
/* Proposes a client's request; the answer goes out when it is applied. Takes the request. While
 * there is no room it is refused with -ERR_NO_SPACE, but not when it was done before: then it gets
 * its first answer (R22). */
void meta_propose_request(struct metaserver *m, struct rpc_request *take_request);
/* Proposes a command of the leader's own. `done` may be NULL. */
typedef void meta_command_fn(struct metaserver *m, void *arg, int status);
void meta_propose_command(struct metaserver *m, uint16_t code, struct slice body,
                          meta_command_fn *done, void *arg);
/* The results of entries first .. first + META_APPLY_MAX - 1, for their proposals' completion. */
void meta_note_result(struct metaserver *m, uint64_t index, const struct fs_result *result);
void meta_begin_results(struct metaserver *m, uint64_t first);
struct meta_results *meta_results_create(void);
void meta_results_destroy(struct meta_results *r); /* NULL is allowed */

/* ---- sessions.c ---- */
void sessions_start(struct metaserver *m); /* a new term as leader */
void sessions_stop(struct metaserver *m);
void sessions_tick(struct metaserver *m);
void sessions_opened(struct metaserver *m, uint64_t session, uint64_t inode);
/* Opened in this term: it holds nothing yet. */
void sessions_begun(struct metaserver *m, uint64_t session);
void sessions_ended(struct metaserver *m, uint64_t session);
void sessions_heard(struct metaserver *m, uint64_t session);
void sessions_on_alive(struct metaserver *m, struct rpc_request *take_request);
void sessions_on_release(struct metaserver *m, struct rpc_request *take_request);
void sessions_closed(struct metaserver *m, uint64_t session, uint64_t inode, uint32_t count);
/* Appends who has the inode open, or may have: u64 each, at most FS_HOLDERS_MAX. */
void sessions_holders(struct metaserver *m, uint64_t inode, struct bytes *out);
/* An inode stopped having a name while sessions may hold it: those that turn out not to are
 * released. */
void sessions_orphaned(struct metaserver *m);
bool sessions_exists(const struct metaserver *m, uint64_t session);

/* ---- targets.c ---- */
void targets_start(struct metaserver *m);
void targets_stop(struct metaserver *m);
void targets_tick(struct metaserver *m);
void targets_on_heartbeat(struct metaserver *m, struct rpc_request *take_request);
/* False when the registration has to wait (it was answered). */
bool targets_may_register(struct metaserver *m, struct rpc_request *request);
/* What was heard of a target; NULL when nothing was in this term. */
struct target_heard {
    uint32_t target;
    uint64_t incarnation, heard_ms, up_since_ms;
    uint64_t bytes_total, bytes_used, chunk_count, read_bytes, write_bytes, resync_bytes,
        resync_chunks;
    uint64_t crc_errors, blocks_repaired, deleted_batch;
    uint64_t chunk_bytes, left_bytes, left_chunks;
    bool is_told; /* this process sent a heartbeat: the figures are its own */
    bool failed;
};
const struct target_heard *targets_heard(const struct metaserver *m, uint32_t target);
void targets_registered(struct metaserver *m, uint32_t target,
                        const struct msg_target_register *ask);
/* All that the planners of metaserver/cluster look at, as it is now. Borrows the shard table. */
struct leader_view {
    struct cluster_view view;
    struct target_view *targets; /* owned, as the next one is */
    struct drain_view *drains;
};
void targets_look(const struct metaserver *m, struct leader_view *ret_look);
void targets_look_end(struct leader_view *look);

/* ---- collect.c ---- */
struct collector *collector_create(void);
void collector_destroy(struct collector *c); /* NULL is allowed */
void collector_tick(struct metaserver *m);
/* The delete batch that this target has to carry out, for its heartbeat's answer. */
void collector_fill(struct metaserver *m, const struct target_heard *heard,
                    struct msg_heartbeat_r *r);

/* ---- checkpoint.c ---- */
struct checkpointer *checkpointer_create(struct metaserver *m);
void checkpointer_destroy(struct checkpointer *c); /* breaks off one under way */
/* Breaks off one under way and lets go of the database. */
void checkpointer_cancel(struct metaserver *m);
/* The newest one is damaged and gone: another is needed soon. */
void checkpointer_force(struct metaserver *m);
void checkpointer_tick(struct metaserver *m);
/* Somebody asks for one now: answers when one of all that is applied is there. Takes the request.
 */
void checkpointer_on_request(struct metaserver *m, struct rpc_request *take_request);
/* There is room again: one that failed is tried now. */
void checkpointer_hurry(struct metaserver *m);
struct checkpoint_figures {
    uint64_t index, age_ms; /* age UINT64_MAX = none on disk */
    uint32_t took_ms;
    const char *error; /* "" = the last one succeeded */
};
void checkpointer_figures(const struct metaserver *m, struct checkpoint_figures *ret_figures);

/* ---- member.c: any metaserver, whether it leads or not ---- */
/* False when it is another request, which stays the caller's. */
bool member_dispatch(struct metaserver *m, struct rpc_request *take_request);
/* Leader. Takes the request. */
void member_on_transfer(struct metaserver *m, struct rpc_request *take_request);
void member_on_change(struct metaserver *m, struct rpc_request *take_request);

/* ---- fsck.c ---- */
struct fsck *fsck_create(struct metaserver *m);
void fsck_destroy(struct fsck *f); /* NULL is allowed; breaks off a check under way */
/* Breaks off a check under way and lets go of the database. */
void fsck_cancel(struct fsck *f);
/* Leader. Takes the request. */
void fsck_on_request(struct metaserver *m, struct rpc_request *take_request);
/* ---- space.c ---- */
struct space *space_create(struct metaserver *m);
void space_destroy(struct space *s); /* NULL is allowed */
void space_tick(struct metaserver *m);
void space_on_told(struct metaserver *m, struct rpc_request *take_request);
/* 0: a change of this kind may be proposed. -ERR_NO_SPACE; -ERR_BUSY while the leadership goes to a
 * metaserver that has room. */
int space_refusal(const struct metaserver *m, uint16_t code);
/* What this leader refuses for lack of room. */
enum space_level space_of_cluster(const struct metaserver *m);
/* The fields about room; borrowed until the loop goes on. */
void space_fill(const struct metaserver *m, uint32_t id, struct rec_meta_status *ret);
/* The database has room beyond doubt. */
bool space_is_ample(const struct metaserver *m);

/* ---- dump.c ---- */
struct dumper *dumper_create(void);
void dumper_destroy(struct dumper *d);   /* NULL is allowed */
void dumper_close_all(struct dumper *d); /* lets go of the database */
void dumper_tick(struct metaserver *m);
/* A chunkserver of another cluster was turned away. */
void dumper_note_foreign(struct metaserver *m, const struct rpc_remote *remote);
/* Leader. Both take the request. */
void dumper_on_dump(struct metaserver *m, struct rpc_request *take_request);
void dumper_on_load_begin(struct metaserver *m, struct rpc_request *take_request);

/* ---- status.c ---- */
/* One row per metaserver; returns how many. Only a leader knows match_index and up of others. */
uint32_t status_fill_metas(struct metaserver *m, struct rec_meta_status ret[RAFT_MEMBERS_MAX],
                           uint64_t *ret_commit);
void status_answer(struct metaserver *m, struct rpc_request *take_request);
void status_statfs(struct metaserver *m, struct rpc_request *take_request);

#endif
