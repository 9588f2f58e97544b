/* The Raft consensus core: a pure function from (state, event) to a list of duties.
 *
 * No sockets, files, clocks, threads, logging or global state. The driver (metaserver) and the
 * simulator (tests/sim) are its only two callers. Sources: Ongaro's thesis (log replication 3.5,
 * commit rule 3.6.2, transfer 3.10, snapshots 5, linearizable reads 6.4, pre-vote 9.6) and the
 * lessons listed as R1..R28 in docs/raft.md.
 *
 * THE LOOP OF A DRIVER
 *
 *   1. raft_create, then RAFT_EV_START with what the disk holds. It must be the first event.
 *   2. For each event call raft_step. On 0 carry out the duties of the update IN THIS ORDER:
 *        a. send_now                 these promise nothing and may leave before any fsync
 *        b. RAFT_PERSIST_VOTE        write and fsync (term, voted_for); block until durable
 *           RAFT_JOINED              record durably that this node starts without `joining` now
 *        c. RAFT_RESET_LOG           empty the durable log to start after (index, term); block
 *                                    until durable; writes still queued before it are dropped
 *        d. send_durable             these rest on b and c: never send them earlier
 *        e. RAFT_PERSIST_ENTRIES     hand to the log writer thread, do not wait (see `persist`)
 *        f. RAFT_APPLY               apply entries up to apply_index, in order
 *        g. the rest: reads, RAFT_FETCH_SNAPSHOT, RAFT_ROLE_CHANGED, wake_at_ms
 *      b may be done before a. RAFT_CONFIG_CHANGED is best looked at before a, so that the messages
 *      to a new member find its address. A driver whose fsync in b or c fails must end the process:
 *      nothing of d..g may happen.
 *   3. Give a RAFT_EV_TICK no later than wake_at_ms (earlier ones do no harm).
 *
 * Everything an update points to (messages, entries, reads) stays valid until the next raft_step
 * on the same object. Who needs an entry longer copies the struct and takes buf_ref(entry.buf).
 *
 * An error from raft_step means: the event was refused, nothing changed, ret_update is untouched.
 *
 * TIME. now_ms is a monotonic clock in milliseconds that also counts while the machine sleeps
 * (CLOCK_BOOTTIME), otherwise the leader lease is void. A value lower than one seen before is
 * taken as the highest seen.
 *
 * THREAD. One thread at a time; raft_lease_valid and raft_status_get count as calls. */
#ifndef CAIRN_RAFT_RAFT_H
#define CAIRN_RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

enum {
    RAFT_VOTERS_MAX = 7,
    RAFT_LEARNERS_MAX = 7,
    RAFT_MEMBERS_MAX = RAFT_VOTERS_MAX + RAFT_LEARNERS_MAX,
    RAFT_INFLIGHT_MAX = 256, /* upper bound of options.inflight_count_max */
    RAFT_ADDRESS_MAX = 128,
    RAFT_CONFIG_BYTES_MAX = 2 + RAFT_MEMBERS_MAX * (4 + 1 + 1 + RAFT_ADDRESS_MAX) + 4,
};

/* --- the configuration: who takes part ---
 *
 * It is part of the log. In force is the newest RAFT_ENTRY_CONFIG in the log, committed or not,
 * else what START or SNAPSHOT_INSTALLED said was in force at the snapshot (thesis 4.1). Voters
 * decide. Learners receive the log and count in no quorum. */

struct raft_server {
    uint32_t id; /* never 0 */
    bool voter;
    uint8_t address_size;
    uint8_t address[RAFT_ADDRESS_MAX]; /* opaque here: where the driver finds this server */
};

/* By ascending id. {0} is the empty one: this node knows of no cluster. */
struct raft_config {
    unsigned count;
    struct raft_server servers[RAFT_MEMBERS_MAX];
};

/* Puts a server in its place. -ERR_INVALID: id 0, known already, address too long; -ERR_LIMIT. */
int raft_config_add(struct raft_config *config, uint32_t id, bool voter, struct slice address);
const struct raft_server *raft_config_find(const struct raft_config *config, uint32_t id);
unsigned raft_config_voters(const struct raft_config *config);
bool raft_config_equal(const struct raft_config *a, const struct raft_config *b);

/* The payload of RAFT_ENTRY_CONFIG, and what a checkpoint keeps. All numbers little-endian:
 *
 *   u8 version (1), u8 count, count times {u32 id, u8 voter, u8 size, size bytes of address},
 *   u32 CRC-32 of everything before
 *
 * Equal configurations have equal bytes. Decoding takes nothing else: -ERR_VERSION for another
 * version, -ERR_CORRUPT for the rest (also without a voter). */
size_t raft_config_encode(const struct raft_config *config, uint8_t ret[RAFT_CONFIG_BYTES_MAX]);
int raft_config_decode(struct slice bytes, struct raft_config *ret_config);

/* All limits of the core. raft_options_defaults fills the values in brackets. */
struct raft_options {
    uint32_t heartbeat_ms;    /* [100] a leader is silent no longer than this */
    uint32_t election_ms_min; /* [400] a follower waits a random time in [min, max] */
    uint32_t election_ms_max; /* [800] */
    /* [300] a lease counts from the sending of the heartbeat; must be below election_ms_min. The
     * difference covers clocks of different speed: 300 of 400 is safe while the fastest clock of
     * the cluster runs less than 4/3 as fast as the slowest. 0 turns leases off. */
    uint32_t lease_ms;
    uint32_t persist_stall_ms; /* [2000] a leader whose writer stands still this long steps down */
    uint32_t append_count_max; /* [1024] entries per message */
    uint32_t append_bytes_max; /* [1 MiB] payload per message; one larger entry goes alone */
    uint32_t inflight_count_max;    /* [64] unanswered appends per follower */
    uint32_t inflight_bytes_max;    /* [8 MiB] payload in them; one message always may go */
    uint64_t uncommitted_bytes_max; /* [64 MiB] RAFT_EV_PROPOSE is refused with -ERR_BUSY beyond */
    uint32_t reads_max;             /* [4096] waiting reads; beyond: -ERR_BUSY */
    uint64_t compact_tail_count;    /* [4096] entries kept in memory behind a checkpoint */
    uint64_t promote_lag_max;       /* [1024] a learner this close to the end may be promoted */
};

void raft_options_defaults(struct raft_options *ret_options);

/* --- log entries --- */

enum raft_entry_kind {
    RAFT_ENTRY_NOOP = 1, /* made by a new leader; nothing to apply */
    RAFT_ENTRY_COMMAND,  /* payload for the state machine */
    RAFT_ENTRY_CONFIG,   /* payload of raft_config_encode; made by RAFT_EV_CHANGE only */
};

/* `payload` lies inside buf->data; buf is NULL only when the payload is empty. The core holds one
 * reference per entry in its log. */
struct raft_entry {
    uint64_t term, index;
    enum raft_entry_kind kind;
    struct buf *buf;
    struct slice payload;
};

/* --- messages between nodes; the driver maps them to the wire --- */

#define RAFT_MESSAGE_KINDS(X)                                               \
    X(PRE_VOTE)       /* would you vote for me? changes nothing anywhere */ \
    X(PRE_VOTE_REPLY) /*                                                 */ \
    X(VOTE)           /*                                                 */ \
    X(VOTE_REPLY)     /*                                                 */ \
    X(APPEND)         /* entries, or none: then it is a heartbeat        */ \
    X(APPEND_REPLY)   /* answers APPEND and SNAPSHOT                     */ \
    X(SNAPSHOT)       /* notice: fetch my checkpoint; is a heartbeat too */ \
    X(TIMEOUT_NOW)    /* leadership transfer: start an election at once  */

enum raft_message_kind {
    RAFT_MSG_NONE = 0,
#define X(name) RAFT_MSG_##name,
    RAFT_MESSAGE_KINDS(X)
#undef X
        RAFT_MSG_MAX
};

/* Fields that a kind does not name are zero and need not be sent.
 *
 *   kind            log_index, log_term             others
 *   PRE_VOTE        last entry of the candidate     term = the term it would start
 *   PRE_VOTE_REPLY                                  rejected; term = asked term when granted
 *   VOTE            last entry of the candidate     transfer
 *   VOTE_REPLY                                      rejected
 *   APPEND          the entry before `entries`      commit_index, sequence, round, sent_ms, join,
 *                                                   entries, entry_count
 *   APPEND_REPLY    when rejected: hint where the   match_index, prev_index (= log_index of the
 *                   logs may agree                  request), rejected, join; sequence, round,
 *                                                   sent_ms as in the request
 *   SNAPSHOT        last entry in the checkpoint    commit_index, sequence, round, sent_ms
 *   TIMEOUT_NOW
 *
 * The receiver treats all of it as untrusted. */
struct raft_message {
    enum raft_message_kind kind;
    uint32_t from, to;
    uint64_t term;
    uint64_t log_index, log_term;
    uint64_t commit_index;
    uint64_t match_index; /* durable on the follower and checked against this leader's log */
    uint64_t prev_index;
    uint64_t sequence; /* number of the request within the leader's term */
    uint64_t round;    /* read round this message confirms */
    uint64_t sent_ms;  /* leader's clock when the request was made; only echoed by others */
    /* APPEND_REPLY: not 0 says that the sender is joining, and names its present life. APPEND: that
     * life counts again as soon as it has applied commit_index. */
    uint64_t join;
    bool rejected;
    bool transfer; /* the candidate was told to by the leader: stickiness does not apply */
    const struct raft_entry *entries; /* borrowed */
    unsigned entry_count;
};

/* --- events --- */

enum raft_event_kind {
    RAFT_EV_START = 1,          /* first event: what the disk holds */
    RAFT_EV_TICK,               /* time has passed */
    RAFT_EV_RECV,               /* a message arrived */
    RAFT_EV_PROPOSE,            /* leader: append these entries */
    RAFT_EV_PERSISTED,          /* the log writer has fsynced */
    RAFT_EV_READ,               /* leader: a linearizable read wants an index */
    RAFT_EV_SNAPSHOT_SENT,      /* leader: a peer has fetched the whole checkpoint */
    RAFT_EV_SNAPSHOT_FAILED,    /* leader: a peer's fetch broke off, or the checkpoint is gone */
    RAFT_EV_SNAPSHOT_INSTALLED, /* follower: fetched, restored, durable */
    RAFT_EV_INSTALL_FAILED,     /* follower: fetch or restore failed; the old state stands */
    RAFT_EV_LOG_COMPACT,        /* a durable checkpoint was taken at an applied index */
    RAFT_EV_TRANSFER,           /* leader: hand leadership to a peer */
    RAFT_EV_STEP_DOWN,          /* leader: stop leading; campaign again later */
    RAFT_EV_PERSIST_FAILED,     /* the disk failed: stop leading, never campaign again */
    RAFT_EV_CHANGE,             /* leader: change the configuration by one server */
    RAFT_EV_MAX
};

enum raft_change_kind {
    RAFT_CHANGE_ADD = 1, /* a new server, as a learner */
    RAFT_CHANGE_PROMOTE, /* a learner becomes a voter */
    RAFT_CHANGE_REMOVE,  /* a learner or a voter, also the leader itself */
    RAFT_CHANGE_MAX
};

/* Everything pointed to is borrowed for the length of the call; entries that the core keeps get a
 * reference of their own. */
struct raft_event {
    enum raft_event_kind kind;
    uint64_t now_ms;
    union {
        /* All zero on a new disk. `entries` are consecutive, may begin before the snapshot's end
         * (then what lies behind serves slow followers) and leave no gap after it. A log that
         * disagrees with a newer snapshot (crash during an install) is dropped, and an empty one
         * is moved behind the snapshot: the update then says RAFT_RESET_LOG. applied_index >=
         * snapshot_index; it must not lie beyond the last entry. Errors: -ERR_FAULTY_LOG when the
         * parts do not fit together, or nobody is a voter and the node is not joining.
         *
         * config: in force at snapshot_index (R13: not one that came later); with snapshot_index 0
         * the one that the cluster begins with, the same on all its first members. Empty on a node
         * that is new.
         *
         * joining: true on a node whose folder is new while the cluster is not, at each start until
         * RAFT_JOINED was recorded. It takes the log, but gives no vote and counts nowhere, until
         * the leader has vouched for it and it finds itself in a committed configuration. What
         * that protects and what not is in docs/raft.md, "A node without its past". */
        struct {
            uint64_t term;
            uint32_t voted_for; /* 0 = nobody */
            uint64_t snapshot_index, snapshot_term;
            const struct raft_config *config; /* NULL is the empty one */
            bool joining;
            uint64_t applied_index;
            const struct raft_entry *entries;
            unsigned entry_count;
        } start;

        /* -ERR_PROTOCOL: malformed or impossible; drop it, count it. The sender need not be a
         * member here: its configuration may be newer. Who may speak at all the driver decides. */
        const struct raft_message *recv;

        /* term and index of the entries are ignored; kind COMMAND. All or none are
         * taken; the update's `proposed` says where. A proposal is decided when the entry at
         * that index is applied: it has the same term -> done; another term -> lost to another
         * leader. After a change of leader its outcome is open until then.
         * -ERR_NOT_LEADER; -ERR_BUSY: too much uncommitted, or a transfer is under way. */
        struct {
            const struct raft_entry *entries;
            unsigned entry_count;
        } propose;

        /* Echo of persist.term and persist.index_last of the newest write that is durable; all
         * earlier writes must be durable too. */
        struct {
            uint64_t term, index;
        } persisted;

        /* Answered in a later (or this) update's `reads` under the same id. -ERR_NOT_LEADER,
         * -ERR_BUSY. */
        uint64_t read_id;

        uint32_t peer; /* SNAPSHOT_SENT, SNAPSHOT_FAILED, TRANSFER; -ERR_INVALID for a stranger */

        /* SNAPSHOT_INSTALLED: must be the pair that `fetch` named, otherwise -ERR_INVALID.
         * LOG_COMPACT: index only (the rest is ignored); -ERR_INVALID when beyond apply_index. */
        struct {
            uint64_t index, term;
            const struct raft_config *config; /* in force at index, from the checkpoint */
        } snapshot;

        /* Appends a configuration entry; `proposed` says where, and it is decided like a proposal.
         * It is in force at once on every node that has it, and takes effect for others when it is
         * committed. A leader that removes itself leads on until then, counted no more.
         *   -ERR_NOT_LEADER
         *   -ERR_BUSY      another change is not committed; this term's no-op is not (R12); a
         *                  transfer is under way; PROMOTE: the learner lags behind, is silent or
         *                  joining
         *   -ERR_EXISTS    ADD of a member
         *   -ERR_LIMIT     ADD or PROMOTE beyond RAFT_LEARNERS_MAX or RAFT_VOTERS_MAX
         *   -ERR_REFUSED   REMOVE of a voter when those that remain are none, or so many of them
         * are silent or joining that they could not go on -ERR_INVALID   an unknown id or kind;
         * PROMOTE of a voter; a bad id or address */
        struct {
            enum raft_change_kind kind;
            uint32_t id;
            struct slice address; /* ADD */
        } change;
    };
};

/* --- duties --- */

enum raft_todo {
    RAFT_PERSIST_VOTE = 1u << 0,    /* `vote` */
    RAFT_RESET_LOG = 1u << 1,       /* `log_reset` */
    RAFT_PERSIST_ENTRIES = 1u << 2, /* `persist` */
    RAFT_SEND = 1u << 3,            /* send_now or send_durable is not empty */
    RAFT_APPLY = 1u << 4,           /* apply_index moved */
    RAFT_READS_READY = 1u << 5,     /* `reads` */
    RAFT_FETCH_SNAPSHOT = 1u << 6,  /* `fetch` */
    RAFT_ROLE_CHANGED = 1u << 7,    /* role, leader or term differ from the previous update */
    RAFT_CONFIG_CHANGED = 1u << 8,  /* raft_config_get differs from the previous update */
    RAFT_JOINED = 1u << 9,          /* start.joining is false from now on */
};

#define RAFT_ROLES(X) X(FOLLOWER) X(PRE_CANDIDATE) X(CANDIDATE) X(LEADER)

enum raft_role {
#define X(name) RAFT_##name,
    RAFT_ROLES(X)
#undef X
};

/* A read is served when the state machine has applied `index`; status -ERR_NOT_LEADER: this node
 * cannot answer, ask another. */
struct raft_read {
    uint64_t id, index;
    int status;
};

struct raft_messages {
    const struct raft_message *messages;
    unsigned count;
};

struct raft_update {
    unsigned todo; /* enum raft_todo bits */

    struct {
        uint64_t term;
        uint32_t voted_for;
    } vote;

    struct {
        uint64_t index, term; /* the durable log is now empty and goes on at index + 1 */
    } log_reset;

    /* Cut the durable log so that it ends before entries[0].index, then append the entries. The
     * writer does its writes in the order given and may fsync many at once; afterwards tell
     * RAFT_EV_PERSISTED {term, index_last} of the last one. `term` is the term of this node when
     * the write was made, not an entry's: a pair (term, index) names one state of the log even
     * if an entry was overwritten and came back. */
    struct {
        uint64_t term, index_last;
        const struct raft_entry *entries;
        unsigned entry_count;
    } persist;

    struct raft_messages send_now, send_durable;

    /* What is committed AND durable here, so a restart never finds the state machine ahead of the
     * log. Read entries with raft_entry_at. Moves only forward; commit_index >= apply_index. */
    uint64_t apply_index;
    uint64_t commit_index;

    struct {
        uint64_t term, index_first; /* of the entries of RAFT_EV_PROPOSE; else 0 */
    } proposed;

    struct {
        const struct raft_read *reads;
        unsigned count;
    } reads;

    /* Fetch the checkpoint (index, term) from node `from`, restore it, make it durable, then
     * RAFT_EV_SNAPSHOT_INSTALLED; on any failure or after a deadline of the driver's own
     * RAFT_EV_INSTALL_FAILED. Until then the log stands still, the node does not campaign, and no
     * second fetch is asked for. The state machine is replaced only by this. */
    struct {
        uint32_t from;
        uint64_t index, term;
    } fetch;

    enum raft_role role;
    uint32_t leader; /* 0 = unknown */
    uint64_t term;
    uint64_t wake_at_ms;
};

/* --- the object --- */

struct raft;

/* `seed` feeds the election timeouts and the number of a joining life: different on every node and
 * start. -ERR_INVALID: bad options, or self is 0. */
int raft_create(const struct raft_options *options, uint32_t self, uint64_t seed,
                struct raft **ret_raft);
void raft_destroy(struct raft *raft); /* NULL is allowed */

int raft_step(struct raft *raft, const struct raft_event *event, struct raft_update *ret_update);

/* True while no other leader can have been elected: the state machine, once it has applied
 * commit_index (raft_status_get), may answer reads from memory. Check AGAIN with a fresh clock
 * after the reply is built and before it leaves (R16). Source: thesis 6.4.1; measured from the
 * sending of heartbeats that a quorum has answered. Void for the rest of a term in which a
 * transfer was started. */
bool raft_lease_valid(const struct raft *raft, uint64_t now_ms);

/* The configuration in force, committed or not, and the index of its entry (or of the snapshot that
 * it came from). Valid until the next raft_step. */
const struct raft_config *raft_config_get(const struct raft *raft, uint64_t *ret_index);

/* The configuration in force at `index`: what a checkpoint of that index must hold (R13), and
 * nothing newer. Takes a walk over the entries in between. -ERR_RANGE: before the newest checkpoint
 * or beyond apply_index; -ERR_NO_DATA: a new node that has not come to its first configuration yet
 * (it must take no checkpoint there; LOG_COMPACT would be refused). */
int raft_config_at(const struct raft *raft, uint64_t index, struct raft_config *ret_config);

/* The entry in memory, or NULL (compacted away or not there yet). Valid until the next raft_step.
 */
const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index);

/* What the leader knows of a follower; for status pages. */
#define RAFT_PROGRESS_STATES(X) X(PROBE) X(REPLICATE) X(SNAPSHOT)

enum raft_progress_state {
#define X(name) RAFT_PROGRESS_##name,
    RAFT_PROGRESS_STATES(X)
#undef X
};

struct raft_peer_status {
    uint32_t id;
    bool voter;
    bool joining; /* counts nowhere yet */
    enum raft_progress_state state;
    uint64_t match_index, next_index;
    uint64_t heard_ms; /* last answer in this term; 0 = none */
};

struct raft_status {
    uint32_t self, leader, voted_for;
    enum raft_role role;
    uint64_t term;
    uint64_t commit_index, apply_index, durable_index;
    uint64_t first_index, last_index; /* entries in memory; last < first: none */
    uint64_t last_term;
    uint64_t snapshot_index, snapshot_term; /* newest checkpoint */
    uint64_t log_bytes, uncommitted_bytes;  /* payload in memory: take a checkpoint in time */
    bool term_committed;                    /* leader: the no-op of this term is committed */
    bool installing;                        /* follower: a snapshot is being fetched */
    bool voter, member;                     /* self, in the configuration in force */
    bool joining;                           /* self, see RAFT_EV_START */
    uint64_t config_index;                  /* as raft_config_get */
    bool config_committed;                  /* leader: the next RAFT_EV_CHANGE may come */
    uint32_t transfer_to;                   /* leader: transfer under way to this node; 0 = none */
    unsigned peer_count;                    /* leader only, otherwise 0 */
    struct raft_peer_status peers[RAFT_MEMBERS_MAX];
};

void raft_status_get(const struct raft *raft, struct raft_status *ret_status);

const char *raft_message_kind_name(enum raft_message_kind kind); /* "?" for an unknown one */
const char *raft_role_name(enum raft_role role);
const char *raft_progress_state_name(enum raft_progress_state state);

/* Walks all invariants of the state; -ERR_CORRUPT with a text in `why` (may be NULL) for the first
 * one that does not hold. For the simulator and for tests; linear in the size of the log. */
int raft_check(const struct raft *raft, struct err_text *why);

#endif
