/* Replication of chunk operations along a shard's chain, reads and resync: a pure function from
 * (state, event) to a list of work. No sockets, disks, clocks, threads, logging or global state.
 * The chunkserver daemon and the simulator (tests/sim/chain_sim.c) are its only two callers. The
 * protocol in words: docs/data-path.md. Sources: van Renesse & Schneider, "Chain Replication"
 * (OSDI 2004) for the order and for joining at the tail; CRAQ (ATC 2009) for reads at any replica.
 *
 * THE LOOP OF A DRIVER. For each event call chain_step, then carry out the work items IN ORDER and
 * empty the list. An item with an `id` is an action: it ends with exactly one CHAIN_EVENT_DONE that
 * carries this id and a status. An item CHAIN_WORK_REPLY answers the rpc that came in with
 * `request`. Every request is answered exactly once (into the void if its connection died).
 *   - Store actions may run on workers in any order; the core never has two changes of one chunk
 *     under way and needs no lock around the store.
 *   - Calls to another target leave in the order of the list over ONE connection per target. When
 *     it breaks, every call outstanding on it ends with -ERR_CLOSED before a later call leaves.
 *     A call ends within options.call_ms at the latest, with -ERR_TIMEOUT, which the driver
 *     makes true by closing the connection.
 *
 * RESTART. A new process knows nothing: it creates an empty chain, and views are ignored unless
 * they were made after its registration (view.incarnation). The leader raises the epoch of every
 * shard a re-registered target is a member of. The memory of operation ids is empty then. That is
 * safe: a restarted process is not in sync before a resync; where it is the authority (first to
 * return of a shard of which all members were down) a client may send again a write that was
 * applied, and the same bytes go to the same place a second time. Clients never have two
 * overlapping writes under way, so nothing newer of the same client is overwritten.
 *
 * WHAT THE LEADER MUST DO (checked by the simulator, data-path.md)
 *   - a target that becomes INSYNC moves behind the other INSYNC slots: its predecessors may hold
 *     operations that it has not seen; the reverse may not happen;
 *   - a target whose lease has not run out is removed from INSYNC only together with
 *     view.fence_ms > 0 for those who stay: it may go on answering reads until its lease ends.
 *     Not so one that was LEAVING and has reported REPORT_LEFT: it had stopped before.
 *
 * MEMORY. Everything an event points to is borrowed for the call; the core takes references of
 * payload bufs. Pointers in work items stay valid until the next chain_step. THREAD: one at a time.
 * TIME: now_ms is monotonic; a value lower than one seen before is taken as the highest seen. */
#ifndef CAIRN_CHUNKSERVER_CHAIN_CHAIN_H
#define CAIRN_CHUNKSERVER_CHAIN_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/chunk.h"
#include "common/base/err.h"
#include "common/wire/codec.h"

enum {
    CHAIN_MEMBERS_MAX = 2 * COPIES_MAX, /* slots and their incoming targets */
    CHAIN_OP_MEMORY = 64,               /* operation ids remembered per chunk */
};

struct chain;

/* All limits of the core; chain_options_defaults fills the values in brackets. */
struct chain_options {
    uint32_t target;            /* who we are in the shard table; never 0 */
    uint64_t incarnation;       /* of this process, as registered */
    bool has_suspects;          /* the store holds chunks with torn blocks: reads look before they
                                 * serve (see CHAIN_WORK_STORE_RESOLVE) */
    bool simulated;             /* writes come without payload and CRCs */
    uint32_t chunks_max;        /* [8192] chunks with state in memory; all busy: -ERR_BUSY */
    uint32_t chunk_pending_max; /* [64] operations under way per chunk; beyond: -ERR_BUSY */
    uint32_t held_max;        /* [1024] requests that wait for a newer table; beyond: -ERR_STALE */
    uint32_t held_ms;         /* [2000] the longest such wait; then -ERR_STALE */
    uint32_t reads_max;       /* [4096] reads under way; beyond: -ERR_BUSY */
    uint32_t tombstones_max;  /* [65536] deleted chunks remembered; the oldest go first */
    uint32_t tombstone_ms;    /* [600000] for how long */
    uint32_t retry_ms;        /* [200] between attempts to reach a peer or the leader again */
    uint32_t successor_ms;    /* [4000] a successor without progress is reported; times the number
                               * of in-sync members behind us, so that the one next to the
                               * trouble speaks first */
    uint32_t call_ms;         /* [10000] */
    uint32_t resync_jobs_max; /* [4] shards resynced from here at a time; the rest wait */
    uint32_t resync_chunks_max; /* [8] chunks under way per job; at most 16 */
    uint32_t resync_batch;      /* [256] inventory entries per list; at most 1024 */
    uint32_t resync_run_blocks; /* [64] blocks per CHAIN_WORK_RESYNC_COPY */
    uint32_t resync_runs_max;   /* [4] such calls outstanding per chunk */
    uint32_t
        resync_lock_blocks;   /* [256] no more than this is copied while writes to the chunk
                               * wait; with more to copy another round without lock comes first */
    uint32_t resync_lock_ms;  /* [100] writes never wait longer than this for a resync */
    uint32_t resync_burst;    /* [1 MiB] under a limit of bytes a second (CHAIN_EVENT_RATE): so much
                               * goes at once after a pause, or a quarter of a second's */
    uint32_t resync_redo_max; /* [8192] chunks to look at again; beyond: the job starts anew */
};

void chain_options_defaults(struct chain_options *ret_options);

/* ---- events ---- */

enum chain_event_kind {
    CHAIN_EVENT_TICK = 1, /* at least every 50 ms */
    CHAIN_EVENT_LEASE,    /* lease: renewed, or lost (expires_ms = 0) */
    CHAIN_EVENT_VIEW,     /* view: a shard in the table changed, or we left it */
    CHAIN_EVENT_DONE,     /* done: an action ended */
    CHAIN_EVENT_LINK_UP,  /* target: can be reached again (optional, saves a retry_ms) */
    CHAIN_EVENT_RATE,   /* rate: bytes a second that resyncs may send from here; 0, as at the start,
                         * = no limit. Only blocks of chunks are held back, by whole runs: never
                         * what compares, finishes or seals, nor the last blocks of a chunk while
                         * its writes wait for them. Those who wait take turns */
    CHAIN_EVENT_DELETE, /* delete: the leader says this chunk is dead (delete batch). Local; every
                         * member gets its own. Ends with a REPLY when `request` is not 0 */
    /* requests of clients */
    CHAIN_EVENT_WRITE,  /* msg.write + payload, space_ok */
    CHAIN_EVENT_CHANGE, /* msg.change */
    CHAIN_EVENT_READ,   /* msg.read */
    /* requests of other chunkservers */
    CHAIN_EVENT_CHAIN_OP,         /* msg.chain_op + payload */
    CHAIN_EVENT_RESYNC_INVENTORY, /* msg.inventory */
    CHAIN_EVENT_RESYNC_CRCS,      /* msg.crcs */
    CHAIN_EVENT_RESYNC_WRITE,     /* msg.resync_write + payload */
    CHAIN_EVENT_RESYNC_FINISH,    /* msg.finish */
    CHAIN_EVENT_RESYNC_SEAL,      /* msg.seal */
    CHAIN_EVENT_REPAIR_READ,      /* msg.repair_read */
};

struct chain_member {
    uint32_t target;
    uint8_t state; /* enum slot_state: INSYNC, LEAVING or SYNCING */
};

/* One shard's chain as the table has it. Only shards in which our target is or was a member. */
struct chain_shard_view {
    uint8_t copies;
    uint32_t shard;
    uint64_t epoch;
    uint64_t incarnation; /* of our target in the table this comes from; others are ignored */
    uint8_t min_copies;   /* fewer INSYNC members: writes are refused with -ERR_UNAVAILABLE */
    uint32_t fence_ms;    /* operations of this epoch are not acknowledged before: 0, or lease +
                           * margin when a member of the view before lost INSYNC while the table
                           * still shows its server as up */
    uint32_t member_count;
    struct chain_member members[CHAIN_MEMBERS_MAX]; /* write order: INSYNC and LEAVING, then
                                                     * SYNCING; OFFLINE ones are left out */
};

struct chain_inventory {
    struct chunk_id id;
    struct chunk_version version;
    bool suspect; /* its version proves nothing */
};

/* How an action ended. Fields beside id and status belong to the actions named. */
struct chain_done {
    uint64_t id;
    int status; /* 0 or -ERR_X */
    /* STORE_LOAD: status 0 also for an absent chunk. STORE_READ, STORE_CRCS: version */
    bool exists, suspect;
    struct chunk_version version;
    /* STORE_LIST, RESYNC_INVENTORY: in the order of chunk_id_compare */
    const struct chain_inventory *entries;
    uint32_t entry_count;
    bool end;
    /* STORE_CRCS, RESYNC_CRCS: of all blocks up to the length; absent chunk: count 0, status 0 */
    const uint32_t *crcs;
    uint32_t crc_count;
};

struct chain_event {
    enum chain_event_kind kind;
    int64_t now_ms;
    uint64_t request;    /* requests: names the rpc until its REPLY; never 0 for these */
    struct buf *payload; /* WRITE, CHAIN_OP, RESYNC_WRITE: bytes from data[0] on; may be NULL in
                          * the simulator */
    uint32_t payload_size;
    bool space_ok; /* WRITE: the store has room for it now (D21); only the head asks */
    union {
        struct {
            int64_t expires_ms;
        } lease;
        struct chain_shard_view view;
        struct chain_done done;
        uint32_t target;
        uint64_t rate;
        struct {
            struct chunk_id id;
            uint8_t copies;
            uint32_t shard;
            bool quarantine; /* the STORE_DELETE is marked `absent`, like those of a resync */
        } delete;
        const struct msg_chunk_write *write;
        const struct msg_chunk_change *change;
        const struct msg_chunk_read *read;
        const struct msg_chain_op *chain_op;
        const struct msg_resync_inventory *inventory;
        const struct msg_resync_crcs *crcs;
        const struct msg_resync_write *resync_write;
        const struct msg_resync_finish *finish;
        const struct msg_resync_seal *seal;
        const struct msg_repair_read *repair_read;
    } u;
};

/* ---- work ---- */

enum chain_work_kind {
    /* Answer `request` with `status`; on 0 with `version` (chunk_write_r), or, where `result` is
     * not 0, with what the action of that id brought (STORE_READ: chunk_read_r, STORE_LIST:
     * resync_inventory_r, STORE_CRCS: resync_crcs_r). An action marked `keep` therefore keeps its
     * result until the REPLY, which also comes with an error status. */
    CHAIN_WORK_REPLY = 1,

    /* store actions; -ERR_TARGET_FAILED, -ERR_IO, -ERR_NO_SPACE as the store says */
    CHAIN_WORK_STORE_WRITE,    /* offset, length, payload, crcs, version, create, sync */
    CHAIN_WORK_STORE_TRUNCATE, /* length: new length of the chunk; version */
    CHAIN_WORK_STORE_ZERO,     /* offset, length, version */
    CHAIN_WORK_STORE_SYNC,     /* all earlier changes of the chunk become durable */
    CHAIN_WORK_STORE_DELETE,   /* an absent chunk is a success */
    CHAIN_WORK_STORE_LOAD,     /* what is there: exists, version, suspect */
    CHAIN_WORK_STORE_READ,     /* offset, length; keep; `verify`: check the blocks here */
    CHAIN_WORK_STORE_LIST,     /* chunks of copies/shard with an id above `after`, count_max */
    CHAIN_WORK_STORE_CRCS,     /* keep is set when it is for a peer */
    /* After an unclean stop this replica is the authority: make every block of the chunk readable
     * (fetch bad ones from `target` by repair_read when it is not 0, accept the rest as they are,
     * counted), set `version`, clear the suspicion, make it durable. */
    CHAIN_WORK_STORE_RESOLVE,
    /* A block in [offset, offset + length) of our copy fails its check: fetch it from `target` by
     * repair_read, put it in place if it matches our stored CRC. */
    CHAIN_WORK_STORE_REPAIR,
    CHAIN_WORK_STORE_SYNC_SHARD,    /* every chunk of the shard becomes durable, what an earlier
                                     * process left in the page cache included (store_sync of the
                                     * suspects and of all dirty chunks, or syncfs) */
    CHAIN_WORK_STORE_RESYNC_WRITE,  /* whole blocks at offset, payload, crcs (0 = hole); creates the
                                     * chunk; its version becomes (0, 0) = incomplete */
    CHAIN_WORK_STORE_RESYNC_FINISH, /* length becomes `length`, then version, suspicion cleared */

    /* calls to `target` */
    CHAIN_WORK_FORWARD,          /* chain_op from these fields */
    CHAIN_WORK_RESYNC_INVENTORY, /* after, count_max */
    CHAIN_WORK_RESYNC_CRCS,
    CHAIN_WORK_RESYNC_COPY,   /* read [offset, length) here with VERIFY, send resync_write.
                               * -ERR_CORRUPT: our own block is bad */
    CHAIN_WORK_RESYNC_FINISH, /* version, absent; the driver fills in the length from store_stat */
    CHAIN_WORK_RESYNC_SEAL,

    /* to the metadata leader; no end is reported, the core repeats them while they matter */
    CHAIN_WORK_REPORT, /* shard_report: copies, shard, epoch, target, report */
    CHAIN_WORK_REFRESH /* fetch the shard table now */
};

struct chain_work {
    enum chain_work_kind kind;
    uint64_t id;      /* of the action; 0 for REPLY, REPORT, REFRESH */
    uint64_t request; /* REPLY */
    uint64_t result;  /* REPLY: id of the action whose result is sent or dropped */
    int status;       /* REPLY */
    uint32_t target;
    uint8_t copies;
    uint32_t shard;
    uint64_t epoch;
    struct chunk_id chunk;
    struct chunk_id after; /* lists; the zero id means from the start */
    uint32_t count_max;
    enum chain_kind op_kind; /* FORWARD */
    uint64_t session, op;
    struct chunk_version version, previous;
    uint32_t offset, length;
    uint32_t flags; /* enum chunk_write_flags, as on the wire */
    bool create, sync, keep, verify, absent;
    struct buf *payload; /* borrowed until the next step: take buf_ref for longer */
    uint32_t payload_size;
    struct slice crcs; /* borrowed likewise, little-endian u32 each */
    enum shard_report_kind report;
};

/* A zeroed struct is an empty list. chain_step appends; the caller sets count = 0. */
struct chain_work_list {
    struct chain_work *items;
    size_t count, capacity;
};
void chain_work_list_release(struct chain_work_list *list);

/* ---- the core ---- */

/* Options are copied. */
struct chain *chain_create(const struct chain_options *options);
/* Unanswered requests are dropped without a reply. NULL is allowed. */
void chain_destroy(struct chain *c);

/* Never fails: what is refused is answered by a REPLY with its error.
 *   -ERR_STALE         older epoch, or this replica lost its place while the operation was under
 *                      way: refresh the table and send the same operation id again
 *   -ERR_NO_LEASE      this server may not serve now
 *   -ERR_NOT_SYNCED    not an in-sync member of this shard
 *   -ERR_LOST_CHUNK    no such chunk (and no CREATE flag); never zeros (D8)
 *   -ERR_STALE_HANDLE  the chunk was deleted (D12, D14)
 *   -ERR_GAP           chain_op does not follow our version
 *   -ERR_NO_SPACE -ERR_BUSY -ERR_UNAVAILABLE -ERR_INVALID, and what the store reports */
void chain_step(struct chain *c, const struct chain_event *event, struct chain_work_list *work);

#define CHAIN_COUNTERS(C)                                                    \
    C(ops, "chunk operations accepted")                                      \
    C(ops_repeated, "operations sent again and answered from memory")        \
    C(ops_stale, "operations given back because the chain changed")          \
    C(gaps, "operations that did not follow our version")                    \
    C(resends, "operations sent to a successor again")                       \
    C(reads, "reads accepted")                                               \
    C(reads_waited, "reads answered after a write was acknowledged")         \
    C(resync_shards, "shards brought in sync from here")                     \
    C(resync_chunks, "chunks copied to a peer")                              \
    C(resync_chunks_skipped, "chunks a peer had already")                    \
    C(resync_bytes, "bytes copied to peers")                                 \
    C(resync_restarts, "resyncs that started anew")                          \
    C(blocks_repaired, "runs of own blocks fetched from a peer in a resync") \
    C(suspects_resolved, "chunks taken as they were after an unclean stop")

struct chain_counters {
#define C(name, help) uint64_t name;
    CHAIN_COUNTERS(C)
#undef C
};
struct chain_counters chain_counters(const struct chain *c);

/* Operations, reads and actions under way: 0 means that a clean stop loses nothing. */
size_t chain_busy_count(const struct chain *c);

/* Walks all invariants; NULL or a text that names the broken one. For tests; O(state). */
const char *chain_check(const struct chain *c);

#endif
