/* The state behind chunkserver.h and what its files offer each other. */
#ifndef CAIRN_CHUNKSERVER_PRIVATE_H
#define CAIRN_CHUNKSERVER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "chunkserver/chain/chain.h"
#include "chunkserver/chunkserver.h"
#include "chunkserver/lease.h"
#include "common/base/bytes.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/metrics.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_leader.h"
#include "common/net/rpc_server.h"
#include "common/net/work.h"
#include "common/ring/shard_table.h"

enum {
    CHUNKSERVER_MAGIC = 0x63687364,
    TICK_MS = 50,
    HEARTBEAT_MS = 500,
    HEARTBEAT_DEADLINE_MS = 1500,
    LEASE_DEFAULT_MS = 3000, /* until the leader has told its own */
    LEASE_MARGIN_MS = 500,
    CALL_MS = 10000,             /* to other chunkservers, chain_options.call_ms */
    READ_SIZE_MAX = 4 << 20,     /* a frame's payload */
    NOWAIT_SIZE_MAX = 256 << 10, /* larger reads are copied on a worker: they would hold the loop */
    CHECK_INLINE_MAX = 128 << 10, /* likewise the CRCs of larger writes */
    WORKS_MAX = 1 << 20,          /* never reached: the core's own limits are below */
    WORKS_CLIENT_MAX = 8192,      /* above: requests of clients are refused with -ERR_BUSY */
};

/* ---- actions of the core: whatever ends with a CHAIN_EVENT_DONE ---- */

struct action {
    struct list node; /* driver.done or driver.kept */
    struct chain_done done;
    bool keep;
    void (*release)(struct action *take_action);
};

struct store_action {
    struct action action;
    struct work work;
    struct chunkserver *cs;
    struct chain_work item; /* payload referenced, crcs not valid: see crcs */
    uint32_t *crcs;         /* given with the item */
    uint32_t crc_count;
    bool checked; /* crcs were compared with the payload at arrival */
    bool syncing; /* this replica is not in sync: a lost header is no loss */
    struct store_fault fault;
    /* results */
    struct buf *data;
    struct store_read read;
    uint32_t *read_crcs;
    struct chain_inventory *entries;
    uint32_t *lengths; /* of entries */
    bool damaged;
};

/* A call to another chunkserver that is an action of the core. */
struct call {
    struct action action;
    struct chunkserver *cs;
    uint32_t target;
    uint16_t code;
    struct chain_inventory *entries;
    uint32_t *crcs;
};

/* ---- requests ---- */

/* One request until its REPLY. Its address is the core's `request`. */
struct pending {
    uint32_t magic;
    struct list node; /* chunkserver.pendings */
    struct chunkserver *cs;
    struct rpc_request *rpc; /* NULL: a delete of the batch */
    struct buf *payload;
    uint32_t payload_size;
    uint32_t space_bytes; /* counted in space_bytes_pending */
    struct work check;
};

/* ---- parts ---- */

struct driver {
    struct chain *chain; /* NULL before the first registration */
    struct chain_work_list work;
    struct list done;   /* struct action, to be told to the core */
    struct map kept;    /* action id -> struct action, until its REPLY */
    struct map checked; /* buf address -> itself: payloads whose CRCs are known to be right */
    bool running;
    uint64_t rate; /* as the core was told */
};

struct peers {
    struct map by_target; /* struct peer */
};

struct heartbeat {
    struct loop_timer timer;
    bool registered, registering;
    unsigned outstanding;
    struct lease lease;
    uint32_t lease_ms;
    bool has_lease; /* as last logged */
    uint64_t term;  /* highest that is durable in the store */
    uint64_t term_wanted, index_wanted;
    bool seeing;
    struct work see_work;
    bool failing;
};

struct deletes {
    uint64_t batch_done, batch;
    uint32_t outstanding, failed_count;
};

struct table_fetch {
    bool fetching, again;
    uint32_t changed; /* shards, since the last log line */
    struct loop_timer again_timer;
};

/* What the disk holds of shards that have left (left.c). */
struct left {
    struct map shards; /* copies, shard -> struct left_shard */
    uint64_t look_due_ms;
    struct store_position heard; /* of the leader's last answer; term 0 = none yet */
    uint64_t heard_table;
    /* the batch on its worker */
    struct work work;
    bool running, table_waits;
    atomic_bool stop;
    uint8_t copies;
    uint32_t shard, count;
    struct store_position position;
};

/* The leader is asked which of our chunks are dead (inventory.c). */
struct inventory {
    struct work work; /* the next batch is listed */
    bool listing, asking;
    uint64_t due_ms;
    uint32_t round;
    struct store_cursor cursor;
    struct store_entry *rows;
    struct rec_chunk_ref *asked; /* of these, in this order */
    uint32_t row_count, asked_count;
    struct map doubts; /* chunk id -> struct doubt: said to be dead once */
};

struct housekeeping {
    struct work sync_work, space_work;
    bool sync_running, space_running;
    uint64_t sync_due_ms, space_due_ms, purge_due_ms, log_due_ms;
    bool purge, crowded; /* what the sync work is to do besides */
    bool purge_more;     /* what it found */
    struct store_space space, space_new;
    uint64_t resync_bytes_logged;
};

#define CHUNKSERVER_METRICS(C)                                  \
    C(read_bytes, "bytes sent to readers")                      \
    C(write_bytes, "bytes written by clients and predecessors") \
    C(damaged_requests, "writes that came with a wrong CRC")    \
    C(blocks_unrepaired, "bad blocks for which no good copy was found")

struct chunkserver_metrics {
    CHUNKSERVER_METRICS(METRIC_FIELD)
};

/* What chunkserver_begin and chunkserver_close leave to a worker. */
struct passage {
    struct work work;
    bool running;
    struct err_text why;
    chunkserver_opened_fn *opened;
    chunkserver_closed_fn *closed;
    struct loop_timer timer; /* until the workers are done */
    bool store_closed;
    int status; /* of the store's end */
};

enum life { LIFE_SERVING, LIFE_DRAINING, LIFE_LEAVING, LIFE_ENDED };

struct chunkserver {
    uint32_t magic;
    struct loop *loop;
    struct chunkserver_config config;
    char *strings[4 + CHUNKSERVER_METASERVERS_MAX];
    unsigned string_count;
    chunkserver_end_fn *ended;
    void *arg; /* of ended, opened, closed */
    struct passage passage;
    enum life life;
    bool closing; /* callbacks only give memory back */
    uint64_t drain_until_ms;
    struct store *store;
    struct store_info info;
    bool has_suspects;
    int data_fd;
    pthread_mutex_t flush_lock;
    bool flushed; /* what an earlier process left in the page cache is durable; under flush_lock */
    struct rpc_identity identity;
    struct work_pool *pool;
    struct rpc_server *server;
    struct rpc_leader *leader;
    struct shard_table table;
    struct loop_timer tick;
    struct list pendings;
    uint64_t space_bytes_pending;
    uint32_t target;
    struct bytes body; /* scratch for encoding on the loop */
    struct driver driver;
    struct peers peers;
    struct heartbeat heartbeat;
    struct deletes deletes;
    struct table_fetch table_fetch;
    struct left left;
    struct inventory inventory;
    struct housekeeping housekeeping;
    unsigned repair_count;
    struct chunkserver_metrics metrics;
};

/* ---- chunkserver.c ---- */

/* The clock of leases and of the core: goes on while the machine sleeps. */
int64_t clock_now_ms(void);
void chunkserver_end(struct chunkserver *cs, enum chunkserver_end end);

/* ---- server.c ---- */

void server_dispatch(void *arg, struct rpc_request *take_request);
void server_event(void *arg, enum rpc_server_event event, const struct rpc_remote *remote,
                  int status, const char *why);
uint64_t server_table_version(void *arg);
struct pending *pending_create(struct chunkserver *cs, struct rpc_request *take_request);
/* Answers and frees. `result` (may be NULL) is the store action whose result is asked for. */
void pending_reply(struct pending *take_pending, int status, struct chunk_version version,
                   const struct store_action *result);
void pending_drop(struct pending *take_pending);

/* ---- chain_driver.c ---- */

void driver_start(struct chunkserver *cs, uint32_t target);
void driver_release(struct chunkserver *cs);
/* Steps the core and carries out its work; now_ms is filled in. Nothing before driver_start. */
void driver_event(struct chunkserver *cs, struct chain_event *event);
/* Bytes a second that resyncs may send from here; 0 = no limit. */
void driver_set_rate(struct chunkserver *cs, uint64_t rate);
/* The action has ended; told to the core now, or behind the step that is being carried out. */
void driver_done(struct chunkserver *cs, struct action *take_action);

/* ---- store_actions.c ---- */

bool store_action_is_ours(enum chain_work_kind kind);
/* Carries out on a worker; a read that can be answered from memory at once. */
void store_action_start(struct chunkserver *cs, const struct chain_work *item);
/* Compares the bytes of a write with its CRCs as they travel. -ERR_CORRUPT, -ERR_INVALID. */
int write_crcs_check(const struct chunk_id *id, uint32_t offset, struct slice data,
                     const uint32_t *crcs, uint32_t crc_count);
/* The status of a disk call passes through here: a failed target ends the daemon. */
void store_status_note(struct chunkserver *cs, int status);
uint64_t chunk_strand(const struct chunk_id *id);

/* ---- peers.c ---- */

/* A call by the core (FORWARD, RESYNC_*). */
void peers_start(struct chunkserver *cs, const struct chain_work *item);
/* Sends resync_write for blocks that a worker has read. */
void peers_send_blocks(struct store_action *take_action);
/* Asks `target` for verified blocks; fn as rpc_reply_fn. False: no such target now. */
bool peers_repair_read(struct chunkserver *cs, uint32_t target, const struct chunk_id *id,
                       const struct wire_shardref *shard, uint32_t offset, uint32_t length,
                       rpc_reply_fn *fn, void *arg);
/* Addresses may have changed. */
void peers_table_changed(struct chunkserver *cs);
void peers_release(struct chunkserver *cs);

/* ---- heartbeat.c ---- */

void heartbeat_start(struct chunkserver *cs);
void heartbeat_now(struct chunkserver *cs);
void heartbeat_tick(struct chunkserver *cs);
void heartbeat_table_taken(struct chunkserver *cs); /* a lease may have waited for it */
void heartbeat_fail(struct chunkserver *cs);        /* the store has failed: tell, then end */
void heartbeat_goodbye(struct chunkserver *cs);
void heartbeat_stop(struct chunkserver *cs);
void report_send(struct chunkserver *cs, const struct msg_shard_report *report);

/* ---- deletes.c ---- */

void deletes_take(struct chunkserver *cs, const struct msg_heartbeat_r *m);
void deletes_done(struct chunkserver *cs, int status);

/* ---- left.c ---- */

/* What the disk holds of shards that this target is a member of, and of those it has left. What the
 * table does not tell about counts as ours. */
struct held {
    struct store_size ours, left;
};
struct held left_held(const struct chunkserver *cs);
/* The leader has answered a heartbeat; his term is durable here. */
void left_heard(struct chunkserver *cs, const struct msg_heartbeat_r *m);
/* Of the term that is durable here, and not behind what this disk has seen (D4). */
bool left_position_is_good(const struct chunkserver *cs, struct store_position heard);
void left_tick(struct chunkserver *cs);
/* True: a shard in this answer is being removed here. The removal is stopped, and the table fetched
 * again when it has. */
bool left_holds_table(struct chunkserver *cs, const struct msg_shard_table_r *m);
void left_stop(struct chunkserver *cs);    /* before the workers are waited for */
void left_release(struct chunkserver *cs); /* after */

/* ---- table.c ---- */

void table_refresh(struct chunkserver *cs);
void table_start(struct chunkserver *cs);
void table_stop(struct chunkserver *cs);
/* Takes over an answer and tells the core. Exposed for tests. */
int table_take(struct chunkserver *cs, const struct msg_shard_table_r *m);
/* A line for the changes since the last one, once a second. */
void table_log(struct chunkserver *cs);
/* Another in-sync member of the shard, 0 when there is none. */
uint32_t table_other_insync(const struct chunkserver *cs, uint8_t copies, uint32_t shard);
bool table_self_is_insync(const struct chunkserver *cs, uint8_t copies, uint32_t shard);

/* No copy of the shard is being made, looked for or given up: all are in sync and up. */
bool table_shard_is_whole(const struct chunkserver *cs, const struct shard *s, unsigned copies);

/* ---- inventory.c ---- */

void inventory_start(struct chunkserver *cs);
void inventory_tick(struct chunkserver *cs);
void inventory_release(struct chunkserver *cs);

/* ---- repair.c ---- */

/* RESOLVE and RANGE: actions of the core. */
void repair_start(struct chunkserver *cs, const struct chain_work *item);
/* A reader met a bad block of ours. */
void repair_suspect(struct chunkserver *cs, struct rpc_request *take_request);

/* ---- housekeeping.c ---- */

int housekeeping_start(struct chunkserver *cs);
void housekeeping_tick(struct chunkserver *cs);
bool housekeeping_is_crowded(const struct chunkserver *cs); /* less than a tenth is free */

#endif
