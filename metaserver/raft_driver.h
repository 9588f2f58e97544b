/* The only caller of raft_step in production: gives it events, carries out its duties in order.
 *
 * Lives on the metaserver's loop. The log is written by one worker, many entries per fdatasync:
 * while one batch is being synced the next one gathers. Proposals of one loop iteration become one
 * raft event. Messages to other metaservers are one-way frames; a lost one is raft's business.
 *
 * A failed write of log or vote ends the process (R19): nothing may be said any more. */
#ifndef CAIRN_METASERVER_RAFT_DRIVER_H
#define CAIRN_METASERVER_RAFT_DRIVER_H

#include "common/net/loop.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_server.h"
#include "common/net/work.h"
#include "metaserver/checkpoint_store.h"
#include "metaserver/log_gather.h"
#include "metaserver/log_store.h"
#include "metaserver/raft/raft.h"

struct raft_driver;

enum { RAFT_DRIVER_APPLY_MAX = 1024 }; /* entries of one ops.apply */

/* What the driver calls, on the loop. */
struct raft_driver_ops {
    /* Entries first..last are committed: apply them in order (raft_driver_entry) and make the
     * result visible; own proposals among them are completed afterwards. -ERR_NO_SPACE: nothing of
     * it was applied, and the same is asked for again later (R21). */
    int (*apply)(void *arg, uint64_t first, uint64_t last);
    /* role, leader or term changed. */
    void (*role_changed)(void *arg, enum raft_role role, uint32_t leader, uint64_t term);
    /* A checkpoint (index, term) of another node is in the checkpoint store: make a state of it,
     * beside the one in use, and say which configuration it holds. Called on a worker, so it
     * touches nothing of the loop's. -ERR_CORRUPT: the checkpoint was damaged and is removed. */
    int (*load)(void *arg, uint64_t index, uint64_t term, struct raft_config *ret_config,
                struct err_text *why);
    /* Take that state into use. */
    void (*install)(void *arg, uint64_t index, uint64_t term);
    /* The newest checkpoint turned out damaged when it was to be sent, and is removed. */
    void (*checkpoint_lost)(void *arg);
    /* The next start is without `joining`: durable when it returns 0. */
    int (*joined)(void *arg);
    /* The disk failed, and the process ends when this returns. */
    void (*disk_failed)(void *arg);
};

struct raft_driver_options {
    struct loop *loop;
    uint32_t self;
    const char *address; /* where others find this node, unless the configuration says; borrowed */
    const char *source;  /* own listen address: connections to others come from it; borrowed */
    const struct raft_config *config;    /* in force at the checkpoint; copied */
    bool joining;                        /* as in raft.h */
    const struct rpc_identity *identity; /* borrowed for the driver's life */
    rpc_table_version_fn *table_version;
    const struct raft_options *raft;
    uint64_t snapshot_rate;               /* bytes of a checkpoint fetched per second, not 0 */
    struct log_store *log;                /* borrowed */
    struct checkpoint_store *checkpoints; /* borrowed */
    const struct log_recovery *recovery;  /* what opening the log found */
    struct log_gather *take_entries;      /* all of it, released when raft has them */
    struct checkpoint_id checkpoint;      /* the newest good one; zero when there is none */
    uint64_t applied_index;               /* of the state machine */
    const struct raft_driver_ops *ops;
    void *arg;
};

/* Starts raft with the log's entries. *ret_driver is set before the first of the ops
 * is called, which may be from inside; NULL on failure. -ERR_FAULTY_LOG and others with `why`. */
int raft_driver_create(const struct raft_driver_options *options, struct raft_driver **ret_driver,
                       struct err_text *why);
/* Waits for writes under way. Waiting proposals and reads end with -ERR_CANCELLED. */
void raft_driver_destroy(struct raft_driver *d);

/* The outcome of a proposal. status 0: it was applied at `index`, and the callback comes before the
 * next ops.apply. Otherwise nothing happened (-ERR_NOT_LEADER, -ERR_BUSY, -ERR_NO_SPACE, ...), or
 * -ERR_CLOSED (open: another leader may still commit it). */
typedef void raft_proposal_fn(void *arg, int status, uint64_t index);

/* Proposes `payload`, bytes of take_buf, at the end of this iteration. Every outcome through the
 * callback, never from inside. */
void raft_driver_propose(struct raft_driver *d, struct buf *take_buf, struct slice payload,
                         raft_proposal_fn *done, void *arg);
/* For ops.apply: the entry, valid during ops.apply. */
const struct raft_entry *raft_driver_entry(struct raft_driver *d, uint64_t index);
/* The state machine had no room and is that of `index` again, whatever ops.apply said before: the
 * entries behind it come again. Until then nothing is read that could contradict an answer. */
void raft_driver_take_back(struct raft_driver *d, uint64_t index);
/* Entries whose outcome was told were taken back and are not applied again yet. */
bool raft_driver_is_behind_answers(const struct raft_driver *d);
/* Committed entries wait for room in the database. */
bool raft_driver_is_stalled(const struct raft_driver *d);

/* A linearizable read: `done` with 0 once the state machine holds everything that was committed
 * when the read came; or -ERR_NOT_LEADER, -ERR_BUSY. At once when the lease is valid. */
typedef void raft_read_fn(void *arg, int status);
void raft_driver_read(struct raft_driver *d, raft_read_fn *done, void *arg);
/* Nobody else leads now, for sure: the lease is valid. */
bool raft_driver_leads(struct raft_driver *d);
/* True when the state machine may answer reads right now; ask again after the reply is built (R16).
 */
bool raft_driver_may_read(struct raft_driver *d);

bool raft_driver_is_leader(const struct raft_driver *d);
/* The configuration in force; valid until the next event. */
const struct raft_config *raft_driver_config(const struct raft_driver *d);
/* What a checkpoint of the applied `index` must hold: its size in bytes, or as raft_config_at. */
int raft_driver_config_at(const struct raft_driver *d, uint64_t index,
                          uint8_t ret_bytes[RAFT_CONFIG_BYTES_MAX]);
/* Leader: asks for a change; errors as of RAFT_EV_CHANGE at once, then nothing is called.
 * Otherwise `done` as of a proposal, perhaps from inside. */
int raft_driver_change(struct raft_driver *d, enum raft_change_kind kind, uint32_t id,
                       struct slice address, raft_proposal_fn *done, void *arg);
/* "" while unknown. */
const char *raft_driver_leader_address(const struct raft_driver *d);
void raft_driver_status(const struct raft_driver *d, struct raft_status *ret_status);
/* Leader: the follower has answered within the last election timeout. */
bool raft_driver_hears(const struct raft_driver *d, uint32_t id);
/* Leader: most voters, this node among them and `without` not, have answered within `ms`. */
bool raft_driver_most_answer(const struct raft_driver *d, uint32_t without, uint64_t ms);
/* "" for a stranger. */
const char *raft_driver_peer_address(const struct raft_driver *d, uint32_t id);

/* A checkpoint at an applied index is durable: forget the log behind the older of the two kept. */
void raft_driver_compact(struct raft_driver *d, struct checkpoint_id newest, uint64_t trim_index);
/* Hands leadership to the most advanced follower, if any: before a clean stop. */
void raft_driver_transfer(struct raft_driver *d);
/* Hands it to this one; whether it takes it shows as a change of role. -ERR_NOT_LEADER,
 * -ERR_INVALID for a stranger or itself, -ERR_BUSY while a transfer is under way. */
int raft_driver_transfer_to(struct raft_driver *d, uint32_t id);
/* Sends a one-way frame to every other metaserver that is connected. */
void raft_driver_tell_peers(struct raft_driver *d, uint16_t code, struct slice body);

/* The two requests that other metaservers send. Both take the request. */
void raft_driver_on_message(struct raft_driver *d, struct rpc_request *take_request);
void raft_driver_on_snapshot_fetch(struct raft_driver *d, struct rpc_request *take_request);

#endif
