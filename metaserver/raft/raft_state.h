/* The inside of the core: its state and the functions its files call in each other.
 *
 * Included by metaserver/raft and by its tests only. A step runs through three stages: a handler
 * checks the event and refuses it before it changes anything; it changes the state and notes what
 * is owed; raft_step collects the update. */
#ifndef CAIRN_RAFT_RAFT_STATE_H
#define CAIRN_RAFT_RAFT_STATE_H

#include "common/base/prng.h"
#include "metaserver/raft/raft.h"

#define RAFT_MAGIC 0x52414654u

/* Terms and indexes from outside stay below this, so that adding to them cannot overflow. */
#define RAFT_NUMBER_MAX (UINT64_C(1) << 62)

/* --- log.c: entries in memory ---
 *
 * Holds (base_index, last]; the entry at the base is known by its term only. Invariants: indexes
 * are consecutive, terms never fall, durable_index <= last. */
struct raft_log {
    struct raft_entry *entries; /* [head, head + count) of capacity */
    size_t head, count, capacity;
    uint64_t base_index, base_term;
    uint64_t durable_index; /* fsynced here, nothing newer in the way */
    uint64_t write_term;    /* this node's term when the newest write was handed out */
    uint64_t bytes;         /* cost of all entries */
};

void raft_log_release(struct raft_log *log);
uint64_t raft_log_last_index(const struct raft_log *log);
uint64_t raft_log_last_term(const struct raft_log *log);
bool raft_log_term_at(const struct raft_log *log, uint64_t index, uint64_t *ret_term);
bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term);
const struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index);
/* Takes a reference on the entry's buffer. Its index is last + 1. */
void raft_log_append(struct raft_log *log, const struct raft_entry *entry);
void raft_log_truncate(struct raft_log *log, uint64_t from);  /* drops [from, last] */
void raft_log_drop_prefix(struct raft_log *log, uint64_t to); /* drops (base, to] */
void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term);
/* The largest index <= limit whose term is <= term; the base if there is none. */
uint64_t raft_log_find_term(const struct raft_log *log, uint64_t limit, uint64_t term);
uint64_t raft_entry_cost(const struct raft_entry *entry);

/* --- progress.c: what the leader knows of one member --- */

struct raft_inflight {
    uint64_t index_last;
    uint64_t bytes;
};

/* Invariant: match_index < next_index. In PROBE one request is out at a time; in REPLICATE
 * requests follow each other as the window allows; in SNAPSHOT the peer fetches a checkpoint. */
struct raft_progress {
    uint32_t id;
    bool voter;
    uint64_t join;       /* not 0: this life of it is joining and counts nowhere */
    uint64_t join_round; /* the round that a quorum must confirm before it may count */
    enum raft_progress_state state;
    uint64_t match_index, next_index;
    uint64_t sequence_first; /* older requests belong to an earlier state: rejects are stale */
    uint64_t sequence_match; /* newest request when match_index was last raised */
    uint64_t sequence_alive; /* answers to older requests come from a log that is lost */
    bool probe_out;          /* PROBE: wait for the answer or the next heartbeat */
    bool notice_out;         /* SNAPSHOT: the same */
    uint64_t snapshot_index, snapshot_term; /* SNAPSHOT: what the peer was told to fetch */
    uint64_t heard_ms;                      /* last answer in this term */
    bool heard;                             /* there was one */
    uint64_t lease_ms;                      /* newest sent_ms it has answered; 0 = none */
    uint64_t round;                         /* newest read round it has answered */
    bool vote_answered, vote_granted;       /* of the (pre-)election under way */
    unsigned inflight_head, inflight_count;
    uint64_t inflight_bytes;
    struct raft_inflight inflight[RAFT_INFLIGHT_MAX];
};

struct raft_message_queue {
    struct raft_message *items;
    unsigned count, capacity;
};

struct raft_read_queue {
    struct raft_read *items;
    uint64_t *rounds; /* beside items: the round that confirms it */
    unsigned count, capacity;
};

struct raft {
    uint32_t magic;
    struct raft_options options;
    uint32_t self;
    struct prng prng;
    bool started;
    bool disabled; /* the disk failed: takes no further part */

    /* Durable on the disk once raft_step's duties are done. */
    uint64_t term;
    uint32_t voted_for;

    enum raft_role role;
    uint32_t leader;
    struct raft_log log;
    uint64_t commit_index;
    uint64_t apply_index; /* handed out */
    uint64_t snapshot_index, snapshot_term;
    uint64_t uncommitted_bytes; /* cost of (commit, last] */

    /* In force, and what was in force at snapshot_index; always follow from the log (R13). */
    struct raft_config config, snapshot_config;
    uint64_t config_index, snapshot_config_index;
    /* Joining: the number of this life, else 0. From join_index applied on it counts; 0 = unknown.
     */
    uint64_t join, join_index;

    uint64_t now_ms;
    uint64_t election_at_ms;
    uint64_t heard_ms;         /* from a leader, or started: stickiness counts from here */
    uint64_t persist_since_ms; /* the log writer owes something since */

    /* Follower. `verified` is the last entry known to equal the leader's, in this term. */
    uint64_t verified_index;
    bool ack_owed;
    struct {
        uint64_t sequence, round, sent_ms, prev_term;
    } request; /* the newest of the leader, echoed in a late answer */
    bool installing;
    uint32_t install_from;
    uint64_t install_index, install_term;

    /* Candidate. */
    bool transfer_election;

    /* Leader. */
    struct raft_progress members[RAFT_MEMBERS_MAX]; /* those of `config`, in no order */
    unsigned member_count, voter_count;
    uint64_t noop_index;
    uint64_t sequence;
    uint64_t heartbeat_at_ms;
    uint32_t transfer_to;
    uint64_t transfer_until_ms;
    bool timeout_now_sent; /* to transfer_to */
    bool lease_void;       /* a transfer election may start any time in this term */
    uint64_t round;        /* newest read round started */
    struct raft_read_queue reads;

    /* What this step owes; reset by raft_step. */
    unsigned todo;
    uint64_t persist_from; /* 0 = nothing */
    uint64_t proposed_first;
    struct raft_message_queue send_now, send_durable;
    struct raft_read_queue reads_out;
    enum raft_role reported_role;
    uint32_t reported_leader;
    uint64_t reported_term;
};

/* --- config.c --- */
bool raft_entry_valid(const struct raft_entry *entry); /* by itself; its index is not looked at */

/* --- membership.c --- */
/* Returns the index of its entry. `index` lies in [snapshot_index, last]; beyond: the newest. */
uint64_t raft_config_as_of(const struct raft *r, uint64_t index, struct raft_config *ret_config);
void raft_config_recompute(struct raft *r);
void raft_config_appended(struct raft *r, const struct raft_entry *entry);
void raft_config_truncated(struct raft *r, uint64_t from);
void raft_config_set_snapshot(struct raft *r, const struct raft_config *config, uint64_t index);
bool raft_may_be_needed(const struct raft *r); /* to lead, although perhaps removed */
int raft_on_change(struct raft *r, const struct raft_event *event);
void raft_leave_if_removed(struct raft *r);
void raft_note_join(struct raft *r, struct raft_progress *p, uint64_t join);
uint64_t raft_join_grant(const struct raft *r, const struct raft_progress *p); /* for `join` */
void raft_note_grant(struct raft *r, const struct raft_message *m);
void raft_end_join(struct raft *r);

/* --- raft.c --- */
void raft_send(struct raft *r, const struct raft_message *message); /* fills from and term if 0 */
void raft_append_entry(struct raft *r, const struct raft_entry *entry);
void raft_truncate(struct raft *r, uint64_t from);
void raft_commit_to(struct raft *r, uint64_t index);
bool raft_persist_stalled(const struct raft *r);

/* --- start.c --- */
int raft_on_start(struct raft *r, const struct raft_event *event);

/* --- role.c: the only writers of role, term and vote --- */
void raft_become_follower(struct raft *r, uint64_t term, uint32_t leader);
void raft_become_pre_candidate(struct raft *r);
void raft_become_candidate(struct raft *r);
void raft_become_leader(struct raft *r);
void raft_vote_for(struct raft *r, uint32_t candidate);

/* --- election.c --- */
void raft_election_reset(struct raft *r);
bool raft_is_sticky(const struct raft *r); /* a leader was heard too recently to vote */
void raft_election_tick(struct raft *r);
void raft_campaign(struct raft *r, bool transfer);
void raft_election_count(struct raft *r); /* acts when the votes decide */

/* --- quorum.c: who counts --- */
struct raft_progress *raft_member(struct raft *r, uint32_t id); /* NULL for a stranger */
const struct raft_progress *raft_member_const(const struct raft *r, uint32_t id);
bool raft_is_voter(const struct raft *r, uint32_t id);
bool raft_is_sole_voter(const struct raft *r);
unsigned raft_quorum(const struct raft *r);
/* The highest value that a quorum of voters has reached. */
uint64_t raft_quorum_value(const struct raft *r,
                           uint64_t (*value)(const struct raft *, const struct raft_progress *));
unsigned raft_votes(const struct raft *r, bool granted);

/* --- progress.c --- */
void raft_progress_reset(struct raft_progress *p, uint64_t next_index, uint64_t now_ms);
void raft_progress_probe(struct raft *r, struct raft_progress *p, uint64_t next_index);
void raft_progress_replicate(struct raft *r, struct raft_progress *p);
void raft_progress_snapshot(struct raft *r, struct raft_progress *p);
/* True: it moved. */
bool raft_progress_match(const struct raft *r, struct raft_progress *p, uint64_t match_index);
/* The peer no longer holds what it acknowledged in this term: its disk was replaced. */
void raft_progress_forget(const struct raft *r, struct raft_progress *p);
bool raft_inflight_full(const struct raft *r, const struct raft_progress *p);
void raft_inflight_add(struct raft_progress *p, uint64_t index_last, uint64_t bytes);
void raft_inflight_free_to(struct raft_progress *p, uint64_t index);
bool raft_progress_check(const struct raft_progress *p);

/* --- replicate.c --- */
int raft_on_propose(struct raft *r, const struct raft_event *event);
int raft_on_transfer(struct raft *r, const struct raft_event *event);
void raft_leader_tick(struct raft *r);
void raft_heartbeat_all(struct raft *r);
void raft_leader_flush(struct raft *r); /* sends what the windows allow */
void raft_leader_commit(struct raft *r);
bool raft_term_committed(const struct raft *r);

/* --- read_index.c --- */
int raft_on_read(struct raft *r, const struct raft_event *event);
void raft_start_round(struct raft *r);
uint64_t raft_round_confirmed(const struct raft *r); /* by a quorum */
void raft_reads_release(struct raft *r);
void raft_reads_fail(struct raft *r);
void raft_read_queue_release(struct raft_read_queue *q);

/* --- recv*.c --- */
int raft_on_recv(struct raft *r, const struct raft_event *event);
int raft_append_validate(const struct raft *r, const struct raft_message *m);
void raft_on_append(struct raft *r, const struct raft_message *m);
int raft_append_reply_validate(const struct raft *r, const struct raft_message *m);
void raft_on_append_reply(struct raft *r, const struct raft_message *m);
void raft_answer_leader(struct raft *r, bool rejected, uint64_t prev_index);
void raft_note_request(struct raft *r, const struct raft_message *m);
void raft_ack_persisted(struct raft *r);
void raft_on_vote(struct raft *r, const struct raft_message *m);
void raft_on_vote_reply(struct raft *r, const struct raft_message *m);
void raft_on_timeout_now(struct raft *r, const struct raft_message *m);
void raft_on_snapshot_notice(struct raft *r, const struct raft_message *m);
int raft_on_snapshot_sent(struct raft *r, const struct raft_event *event);
int raft_on_snapshot_failed(struct raft *r, const struct raft_event *event);
int raft_on_snapshot_installed(struct raft *r, const struct raft_event *event);
int raft_on_install_failed(struct raft *r, const struct raft_event *event);
int raft_on_log_compact(struct raft *r, const struct raft_event *event);

#endif
