/* The state behind chain.h. Seen by the files of this room only. */
#ifndef CAIRN_CHUNKSERVER_CHAIN_CHAIN_INTERNAL_H
#define CAIRN_CHUNKSERVER_CHAIN_CHAIN_INTERNAL_H

#include "chunkserver/chain/chain.h"
#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/map.h"

enum { CHAIN_MAGIC = 0x43484e31, CHUNK_MAGIC = 0x43484b31, RESYNC_CHUNKS_MAX = 16 };

/* What an op is beside the kinds that travel as chain_op. */
enum op_kind {
    OP_RESYNC_WRITE = 32,
    OP_RESYNC_FINISH,
    OP_RESYNC_CRCS,
    OP_DELETE_LOCAL,
    OP_READ,
};

/* One request on its way. It is in exactly one list: shard.held, chunk.arrivals, chunk.pending,
 * chunk.syncs, chunk.parked or chain.graveyard, or it is chunk.exclusive. */
struct op {
    struct list node;
    uint64_t serial;
    uint64_t request; /* 0: nobody waits for the answer any more */
    uint8_t kind;     /* enum chain_kind or enum op_kind */
    bool from_client, space_ok, absent, suspect;
    uint32_t sender;
    uint8_t copies;
    uint32_t shard;
    uint64_t epoch; /* the sender believes in */
    int64_t held_until_ms;
    struct chunk_id id;
    uint64_t session, op;
    struct chunk_version version, previous;
    uint32_t offset, length, flags;
    struct buf *payload;
    uint32_t payload_size;
    uint8_t *crcs;
    size_t crcs_size;
    bool storing, stored; /* the local change is under way / done */
    uint16_t acked;       /* members that have it, by index in the present view */
};

struct op_id {
    uint64_t session, op;
    struct chunk_version version;
};

/* CHUNK_UNKNOWN -> LOADING -> (RESOLVING ->) READY; back to UNKNOWN when what is in memory may
 * differ from what is stored. */
enum chunk_load { CHUNK_UNKNOWN, CHUNK_LOADING, CHUNK_RESOLVING, CHUNK_READY };

struct chunk_state {
    uint32_t magic;
    struct chunk_id id;
    struct shard *shard;
    struct list shard_node, lru_node; /* lru: linked only while idle */
    struct list rerun_node;           /* unlocked: to be run at the end of the step */
    enum chunk_load load;
    bool exists;  /* after the last accepted op */
    bool suspect; /* as loaded; only an authority resolves it */
    bool store_busy;
    int64_t store_retry_ms; /* after a failure that must not be answered yet */
    bool reload;            /* set UNKNOWN as soon as the store is idle */
    bool running;
    struct chunk_version latest; /* last accepted op */
    struct list pending;         /* content ops in version order, not acknowledged */
    unsigned pending_count;
    struct list syncs; /* CHAIN_SYNC ops; version = what they wait for */
    struct list arrivals;
    unsigned arrival_count;
    struct op *exclusive; /* resync request or local delete under way in the store */
    struct list parked;   /* OP_READ: until the ops accepted before them are stored */
    struct list reads;    /* struct read: done, waiting for the ack of what they saw */
    unsigned actions, pins;
    unsigned locked;   /* copies that hold the order */
    uint16_t mirrored; /* syncing members that receive the ops of this chunk */
    uint32_t attempt, gap_count;
    struct list copies; /* struct copy */
    struct op_id *memory;
    unsigned memory_next;
};

struct member {
    uint32_t target;
    uint8_t state;
    bool complete;  /* syncing: its acks are waited for */
    bool accused;   /* complete, and reported out of sync once since */
    bool held_off;  /* unreachable or busy until retry_at_ms */
    uint8_t report; /* enum shard_report_kind repeated until the next epoch; 0 = none */
    int64_t retry_at_ms, report_at_ms, progress_ms;
    uint32_t attempt;
    struct resync *job;
};

struct shard {
    uint8_t copies, min_copies;
    uint32_t number;
    uint64_t epoch;
    int self; /* index in members, -1: not a member */
    unsigned member_count, insync_count;
    bool fenced;
    bool store_retry; /* a chunk has a store_retry_ms to come */
    int64_t fence_until_ms;
    uint64_t seq_floor; /* versions up to it may exist at a peer though they failed here */
    struct member members[CHAIN_MEMBERS_MAX];
    struct list chunks;
    struct list held;
    unsigned pending_count; /* over all chunks, syncs included */
};

enum action_kind {
    ACTION_STORE_OP = 1, /* content op or sync */
    ACTION_EXCLUSIVE,
    ACTION_LOAD,
    ACTION_RESOLVE,
    ACTION_READ,
    ACTION_PASS, /* the result answers `request` as it is */
    ACTION_FORWARD,
    ACTION_JOB,  /* a call or list of a resync job */
    ACTION_COPY, /* a call of one chunk's copy */
};

struct action {
    uint64_t id;
    enum action_kind kind;
    struct shard *shard;
    uint64_t epoch;
    struct chunk_state *chunk; /* counted in its actions; may be NULL */
    struct chunk_id chunk_id;
    uint64_t serial; /* of the op, job or copy it belongs to */
    uint64_t job;    /* FORWARD: serial of the job that counts it, or 0 */
    uint64_t request;
    unsigned member;
    uint32_t attempt, chunk_attempt;
    unsigned step; /* JOB, COPY: which call */
    uint32_t offset, length;
};

struct read {
    struct list node;
    uint64_t request, result;
    struct chunk_version version;
};

struct tombstone {
    struct list node;
    struct chunk_id id;
    int64_t expires_ms;
};

/* The limit of what resyncs send: a token bucket that may go below zero by what was under way. */
struct pace {
    uint64_t rate;  /* bytes a second; 0 = no limit */
    int64_t tokens; /* thousandths of a byte */
    int64_t refilled_ms;
    struct list waiting; /* struct copy.pace_node: their turns */
};

struct chain {
    uint32_t magic;
    struct chain_options options;
    int64_t now_ms, lease_expires_ms;
    uint64_t next_id;
    struct map shards, chunks, actions, tombstones;
    struct list idle;      /* chunk_state.lru_node, oldest first */
    struct list dead;      /* tombstones, oldest first */
    struct list rerun;     /* chunk_state.rerun_node */
    struct list graveyard; /* ops freed at the next step: work items may borrow from them */
    struct pace pace;
    unsigned held_count, read_count, job_count;
    size_t op_count;
    struct chain_work_list *work; /* during a step */
    struct chain_counters counters;
};

/* chain.c */
uint64_t chain_next_id(struct chain *c);
bool chain_has_lease(const struct chain *c);
struct chain_work *work_add(struct chain *c, enum chain_work_kind kind, const struct shard *s);
struct chain_work *work_action(struct chain *c, enum chain_work_kind kind, const struct shard *s,
                               const struct action *a);
void work_reply(struct chain *c, uint64_t request, int status);
void work_refresh(struct chain *c);
/* A new action; `chunk` (may be NULL) stays in memory until it ends. */
struct action *action_create(struct chain *c, enum action_kind kind, struct shard *s,
                             struct chunk_state *chunk);

/* op.c */
struct op *op_create(struct chain *c, uint8_t kind, const struct chain_event *event);
void op_set_shard(struct op *op, const struct wire_shardref *ref);
void op_set_crcs(struct op *op, struct slice crcs);
void op_destroy(struct chain *c, struct op *take_op);       /* unlinks; freed at the next step */
void op_answer(struct chain *c, struct op *op, int status); /* at most once; keeps the op */
void work_set_op(struct chain_work *w, const struct op *op);
void graveyard_empty(struct chain *c);

/* chunk.c */
struct chunk_state *chunk_find(const struct chain *c, const struct chunk_id *id);
/* NULL when all chunks in memory are busy. */
struct chunk_state *chunk_get(struct chain *c, struct shard *s, const struct chunk_id *id);
void chunk_idle_check(struct chain *c, struct chunk_state *k);
bool chunk_is_idle(const struct chunk_state *k);
void chunk_free(struct chain *c, struct chunk_state *k);
const struct op_id *memory_find(const struct chunk_state *k, uint64_t session, uint64_t op);
void memory_add(struct chunk_state *k, const struct op *op);
void memory_forget(struct chunk_state *k);
void tombstone_add(struct chain *c, const struct chunk_id *id);
bool tombstone_has(struct chain *c, const struct chunk_id *id);
void tombstones_expire(struct chain *c);
void tombstones_release(struct chain *c);

/* shard.c: views */
struct shard *shard_find(const struct chain *c, uint8_t copies, uint32_t number);
bool shard_is_insync(const struct shard *s);
/* In sync for whoever writes; reads are refused and it says so to the leader. */
bool shard_is_leaving(const struct shard *s);
bool shard_is_last(const struct shard *s); /* the last in-sync member: source of resyncs */
bool shard_is_syncing(const struct shard *s);
uint32_t shard_predecessor(const struct shard *s); /* 0: none */
void shard_set_view(struct chain *c, const struct chain_shard_view *view);
void shard_lose_place(struct chain *c, struct shard *s);
void shard_tick(struct chain *c, struct shard *s);
void shard_free(struct chain *c, struct shard *s);
void shard_fence_lift(struct chain *c, struct shard *s);

/* entry.c: requests */
void entry_client(struct chain *c, const struct chain_event *event);
void entry_chain_op(struct chain *c, const struct chain_event *event);
void entry_read(struct chain *c, const struct chain_event *event);
void entry_delete(struct chain *c, const struct chain_event *event);
void entry_op(struct chain *c, struct op *take_op); /* again after it was held */

/* order.c: one chunk's queue */
void chunk_run(struct chain *c, struct chunk_state *k);
void chunk_fail_pending(struct chain *c, struct chunk_state *k, int status);
void chunk_fail_arrivals(struct chain *c, struct chunk_state *k, int status);
void chunk_store_done(struct chain *c, const struct action *a, const struct chain_done *done);
void chunk_exclusive_done(struct chain *c, const struct action *a, const struct chain_done *done);
void chunk_load_done(struct chain *c, const struct action *a, const struct chain_done *done);
bool chunk_store_is_idle(const struct chunk_state *k);
void chunk_delete_local(struct chain *c, struct chunk_state *k, struct op *take_op);
void chunk_bury(struct chain *c, struct chunk_state *k);

/* accept.c */
void op_accept(struct chain *c, struct chunk_state *k, struct op *take_op);

/* send.c: successors */
bool op_remote_is_done(const struct shard *s, const struct op *op);
void op_forward(struct chain *c, struct chunk_state *k, struct op *op);
void chunk_resend(struct chain *c, struct chunk_state *k, unsigned member);
void shard_resend(struct chain *c, struct shard *s, unsigned member);
void forward_done(struct chain *c, const struct action *a, const struct chain_done *done);
void member_hold_off(struct chain *c, struct shard *s, unsigned member);
void member_report(struct chain *c, struct shard *s, unsigned member, enum shard_report_kind kind);
void members_tick(struct chain *c, struct shard *s);
void members_link_up(struct chain *c, uint32_t target);

/* read.c */
void read_start(struct chain *c, struct shard *s, struct op *take_op);
void read_place(struct chain *c, struct shard *s, struct chunk_state *k, struct op *take_op);
void reads_unpark(struct chain *c, struct chunk_state *k);
void read_done(struct chain *c, const struct action *a, const struct chain_done *done);
void reads_settle(struct chain *c, struct chunk_state *k);
void reads_fail(struct chain *c, struct chunk_state *k, int status);

/* resync.c: one syncing member of one shard, seen from its source */
enum resync_state {
    RESYNC_WAITING, /* for a free place among the jobs, or for retry_at_ms */
    RESYNC_LISTING, /* both inventories of the next batch are being fetched */
    RESYNC_COPYING,
    RESYNC_SEALING, /* complete: acks waited for; the target flushes, what is out comes back */
    RESYNC_REPORTED
};

struct redo {
    struct list node;
    struct chunk_id id;
    int64_t not_before_ms;
};

struct copy;

struct resync {
    struct shard *shard;
    unsigned member;
    uint64_t serial; /* changes with each start: answers of earlier starts are ignored */
    enum resync_state state;
    int64_t retry_at_ms;
    bool walked;            /* the inventories are through */
    bool started;           /* `cursor` is valid: chunks up to it are covered */
    struct chunk_id cursor; /* covered up to here, except those in redo or being copied */
    struct chunk_id window; /* last id of the present batch; valid while COPYING and !window_end */
    bool window_end;        /* the batch reaches the end of both inventories */
    struct chain_inventory *own, *peer;
    uint32_t own_count, peer_count, own_next, peer_next;
    bool own_end, peer_end, own_listed, peer_listed;
    struct map redo_map;
    struct list redo;
    struct copy *copies[RESYNC_CHUNKS_MAX];
    unsigned copy_count;
    uint64_t outstanding; /* forwards of this start that have not ended */
    bool sealed;
};

void resync_start_jobs(struct chain *c, struct shard *s); /* after a new view */
void resync_stop_jobs(struct chain *c, struct shard *s);
void resync_restart(struct chain *c, struct resync *job);
void resync_run(struct chain *c, struct resync *job);
void resync_tick(struct chain *c, struct shard *s);
void resync_redo(struct chain *c, struct resync *job, const struct chunk_id *id, int64_t delay_ms);
void resync_done(struct chain *c, const struct action *a, const struct chain_done *done);
bool resync_covers(const struct resync *job, const struct chunk_id *id);
bool resync_is_active(const struct resync *job);
/* An op of this chunk was accepted: it will be forwarded (mirrored), or the job must look at the
 * chunk later. `creates`: the chunk did not exist before. */
void resync_touch(struct chain *c, struct chunk_state *k, const struct op *op, bool creates);
void resync_touch_deleted(struct chain *c, struct chunk_state *k);

/* resync_copy.c: one chunk to one syncing member */
enum copy_state { COPY_LOADING, COPY_COMPARING, COPY_RUNNING, COPY_FINISHING };

struct copy {
    struct list node; /* in chunk_state.copies */
    struct resync *job;
    struct chunk_state *chunk;
    uint64_t serial;
    enum copy_state state;
    bool locked;
    int64_t locked_at_ms;
    struct list pace_node; /* in chain.pace.waiting */
    bool granted;          /* it is its turn: one run, or the lock */
    bool own_known, peer_known;
    uint32_t *own_crcs, *peer_crcs;
    uint32_t own_count, peer_count;
    uint32_t truncated_block; /* from here on, before both CRC lists were known */
    uint32_t grown_count;     /* blocks that writes since then reached */
    unsigned inflight, rounds;
    uint32_t repaired_blocks; /* of ours, for runs that failed */
    uint32_t dirty_count;
    uint64_t dirty[CHUNK_BLOCK_COUNT / 64];
};

bool copy_start(struct chain *c, struct resync *job, const struct chunk_id *id);
void copy_run(struct chain *c, struct copy *copy);
void copy_destroy(struct chain *c, struct copy *copy);
void copy_abandon(struct chain *c, struct copy *copy, int64_t delay_ms); /* to be redone */
void copy_mark(struct copy *copy, const struct op *op);
void copy_done(struct chain *c, const struct action *a, const struct chain_done *done);
void copies_run(struct chain *c, struct chunk_state *k);
void copies_tick(struct chain *c, struct resync *job);

/* pace.c: bytes a second */
void pace_set(struct chain *c, uint64_t rate);
/* True: the copy may send a run now, or take the lock. False: it is run again when it may. */
bool pace_grants(struct chain *c, struct copy *copy);
void pace_take(struct chain *c, uint32_t bytes);
void pace_serve(struct chain *c); /* at the end of a step: those whose turn has come */

/* resync_target.c: the other end */
void target_request(struct chain *c, const struct chain_event *event);

/* Shorthand for versions and ids. */
static inline bool version_equal(struct chunk_version a, struct chunk_version b)
{
    return a.epoch == b.epoch && a.seq == b.seq;
}
static inline int version_compare(struct chunk_version a, struct chunk_version b)
{
    return chunk_version_compare(&a, &b);
}
static inline bool version_is_zero(struct chunk_version v)
{
    return v.epoch == 0 && v.seq == 0;
}
static inline struct slice chunk_key(const struct chunk_id *id)
{
    return slice_of(id, sizeof *id);
}
static inline uint16_t member_bit(unsigned member)
{
    return (uint16_t)(1u << member);
}

#endif
