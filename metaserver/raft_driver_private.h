/* What the files of the raft driver share. */
#ifndef CAIRN_METASERVER_RAFT_DRIVER_PRIVATE_H
#define CAIRN_METASERVER_RAFT_DRIVER_PRIVATE_H

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/wire/frame.h"
#include "metaserver/raft_driver.h"

enum {
    SPACE_RETRY_MS = 500,
    PROPOSAL_BATCH_MAX = 512, /* entries of one raft event */
    PROPOSALS_MAX = 16384,    /* waiting for their turn or for the commit; beyond: -ERR_BUSY */
    PROPOSAL_SIZE_MAX = FRAME_BODY_MAX - 4096, /* with the rest of a message in one frame */
    SNAPSHOT_PIECE_SIZE = 1 << 20,
    SNAPSHOT_PIECE_MS = 5000, /* for one piece */
    SERVED_MAX = 3,           /* checkpoints that others fetch at a time */
    STRANGERS_MAX = 8,
};

/* One write that raft asked for. */
struct persist_item {
    uint64_t term, index_last, index_first;
    struct raft_entry *entries; /* copies; each holds a reference of its buf */
    unsigned entry_count;
};

struct persist_batch {
    struct persist_item *items;
    size_t count, capacity;
};

struct proposal {
    struct list node;
    struct buf *buf;
    struct slice payload;
    uint64_t index, term; /* 0 until raft took it */
    int refusal;          /* not 0: it came over a limit */
    raft_proposal_fn *done;
    void *arg;
};

struct waiting_read {
    struct list node;
    uint64_t id;    /* of the raft read */
    uint64_t index; /* served when applied */
    bool confirmed;
    int status; /* once confirmed: 0, or it cannot be served here */
    raft_read_fn *done;
    void *arg;
};

/* A member, or a stranger: one who wrote without being in our configuration. */
struct meta_peer {
    uint32_t id;
    char *address;
    struct rpc_peer *rpc; /* NULL for ourselves */
    bool is_member;
    uint64_t heard; /* grows with each message of a stranger: the one silent longest gives way */
};

struct snapshot_fetch_state;

/* A checkpoint that others fetch. The reader is the worker's while use_count > 0. */
struct served_checkpoint {
    struct checkpoint_id id;
    struct checkpoint_reader *reader; /* NULL: not checked and opened yet */
    unsigned use_count;
    uint64_t asked_ms;
};

struct raft_driver {
    struct raft_driver_options options;
    struct raft *raft;
    struct meta_peer peers[RAFT_MEMBERS_MAX + STRANGERS_MAX];
    unsigned peer_count;
    uint64_t stranger_count; /* messages of strangers so far */
    struct loop_timer timer;
    struct loop_defer defer;
    struct work_pool *writer; /* one thread: the log */
    struct work_pool *slow;   /* one thread: pieces of checkpoints, spare segments */

    struct persist_batch gathering, writing;
    struct work write_work;
    int write_status;
    bool is_writing, is_resetting, is_stopping;
    bool is_waiting_for_room;      /* `writing` could not be written and is tried again */
    struct loop_timer space_timer; /* that, or the spare segment */
    struct work spare_work;
    bool spare_running;
    uint64_t spare_at_ms; /* one that failed is not made again before */

    struct list new_proposals; /* not given to raft yet */
    struct map by_index;       /* proposals that raft has, by index */
    unsigned proposal_count;
    struct list reads;
    uint64_t next_read_id;

    uint64_t election_ms;
    uint64_t applied_index, apply_wanted; /* what is left between them waits: see apply */
    uint64_t answered_index; /* the last entry whose outcome was told: not above applied_index but
                              * after raft_driver_take_back */
    uint64_t reign_index;    /* leader: its first entry, the no-op of the term */
    bool is_stalled;         /* entries after applied_index wait for room, tried by apply_timer */
    struct loop_timer apply_timer;
    uint64_t term;
    enum raft_role role;
    uint32_t leader;
    struct served_checkpoint served[SERVED_MAX];
    struct loop_timer served_timer;
    struct snapshot_fetch_state *fetch; /* NULL = none under way */
    uint32_t fetch_pause_ms;            /* after one that failed */
    uint64_t fetch_at_ms;
};

/* Steps raft and carries out the update. The event's refusal is returned, nothing else. */
int raft_driver_step(struct raft_driver *d, const struct raft_event *event);
struct raft_event raft_driver_event(enum raft_event_kind kind);

/* raft_driver.c */
/* Answers the own proposal that this entry was, if it was one. */
void raft_driver_complete(struct raft_driver *d, uint64_t index, uint64_t term);
void raft_driver_serve_reads(struct raft_driver *d);

/* raft_apply.c */
void raft_driver_apply(struct raft_driver *d, uint64_t upto);
void raft_driver_apply_wanted(struct raft_driver *d); /* now, all that is wanted */
void raft_driver_on_apply_timer(void *arg);
/* The state machine was replaced by one that has applied `index`. */
void raft_driver_set_applied(struct raft_driver *d, uint64_t index);

/* raft_writer.c */
void raft_writer_start(struct raft_driver *d);
void raft_writer_stop(struct raft_driver *d); /* waits for the write under way */
/* Takes over what the update says is to be written. */
void raft_writer_add(struct raft_driver *d, const struct raft_update *u);
/* Empties the log. Writes still queued concern the log that is going away and are dropped; the one
 * under way ends first. Not from inside the end of a write. */
void raft_writer_reset(struct raft_driver *d, uint64_t index, uint64_t term);
/* Space was low: look again soon. */
void raft_writer_retry_space(struct raft_driver *d);
/* The disk failed: nothing may be said any more (R19). */
__attribute__((noreturn)) void raft_driver_die(const struct raft_driver *d, const char *what,
                                               int status);

/* raft_transport.c */
void raft_driver_send(struct raft_driver *d, const struct raft_messages *messages);
/* Decodes into a message whose entries are put into `ret_entries` (to be released by
 * raft_driver_release_entries). *ret_address lies in `body`. */
int raft_driver_decode(struct slice body, unsigned version, struct raft_message *ret_message,
                       struct raft_entry **ret_entries, struct slice *ret_address);
void raft_driver_release_entries(struct raft_entry *entries, unsigned count);

/* raft_serve.c: closes what nobody asks for, or all that is not in use */
void raft_serve_close(struct raft_driver *d, bool all);
/* raft_peers.c: connections to members and strangers */
void raft_peers_follow(struct raft_driver *d); /* the configuration changed */
/* A message came from `id`, which says that it is found at `address`. */
void raft_peers_learn(struct raft_driver *d, uint32_t id, struct slice address);
void raft_peers_release(struct raft_driver *d);
/* NULL: unknown, or ourselves. */
struct rpc_peer *raft_peers_find(const struct raft_driver *d, uint32_t id);

/* raft_fetch.c */
/* Whom a checkpoint is being fetched from, 0 = nobody. */
uint32_t raft_fetch_from(const struct raft_driver *d);
void raft_fetch_start(struct raft_driver *d, uint32_t from, uint64_t index, uint64_t term);
void raft_fetch_cancel(struct raft_driver *d);

#endif
