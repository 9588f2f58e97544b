/* The namespace on the simulated cluster: each node replicates metaserver/fs on its store in
 * memory, and the clients are sessions whose histories are judged (T3 in docs/testing.md).
 *
 * An entry of the log is a number (struct command) that names an envelope of meta.envelopes, so
 * copies of entries cost nothing. Requests and answers travel with the delays, losses and
 * repetitions of the profile.
 * Files: meta_sim.c the table, the end of a run and its figures, _replica.c the state of a node,
 * _server.c what a node does with requests, _client.c the sessions, _request.c encoding. */
#ifndef CAIRN_TESTS_SIM_META_SIM_H
#define CAIRN_TESTS_SIM_META_SIM_H

#include "common/base/bytes.h"
#include "metaserver/fs/fs.h"
#include "tests/history/history.h"
#include "tests/sim/raft_sim.h"

enum {
    META_CLIENTS = 6,
    META_READERS = 2, /* of them: the last ones only look, and often */
    META_GROUPS = 2,
    META_DIRECTORIES = 2 * META_GROUPS,
    BODY_MAX = 1024,
    MESSAGES_MAX = 512,  /* in flight; more are lost */
    PROPOSALS_MAX = 256, /* waiting to be applied; likewise */
    META_READS_MAX = 256,
    ENVELOPES_MAX = (CLIENTS + 1) * LOG_MAX,
    UNKNOWN_PER_MILLE_MAX = 10,
};

/* The state machine of one node. */
struct replica {
    struct fs *fs;
    struct fs_view *view; /* of the last batch */
    struct fs_result result;
    unsigned batches;
};

struct body {
    uint16_t code;
    uint32_t size;
    uint8_t bytes[BODY_MAX];
};

/* Between a client and a node. `operation` says which of the client's it is about. */
struct meta_message {
    bool in_use, is_answer;
    uint32_t client, node;
    uint64_t operation, attempt;
    int status;       /* of an answer */
    bool is_for_once; /* of an answer: nobody remembers it, another attempt may end otherwise */
    struct body body;
};

struct proposal {
    bool in_use;
    uint32_t node, client;
    unsigned incarnation;
    uint64_t term, index, operation;
};

struct meta_read {
    bool in_use;
    uint32_t node;
    unsigned incarnation;
    uint64_t id, index; /* index 0: not confirmed yet */
    struct meta_message request;
};

/* One session. It has one operation under way and asks until it is answered or gives up. */
struct session {
    uint64_t session, sequence, operation, attempt;
    unsigned step;  /* of its preparations; then operations are recorded */
    unsigned lives; /* sessions it has lost: each is another client to the cluster */
    bool is_busy, is_served;
    bool may_be_ended; /* a leader wanted to end it */
    uint64_t retry_us, give_up_us;
    struct history_op op;
    struct body request;
};

struct meta {
    struct session sessions[META_CLIENTS + 1]; /* from 1 */
    uint64_t directories[META_DIRECTORIES];
    bool is_formed, is_ready, is_stopping;
    unsigned last_look; /* listings asked for at the end */
    uint64_t operation, read_id;
    int64_t clock_ns;
    struct history_plan plan;
    struct history history;
    struct meta_message messages[MESSAGES_MAX];
    struct proposal proposals[PROPOSALS_MAX];
    struct meta_read reads[META_READS_MAX];
    struct bytes bytes;                  /* of all envelopes */
    size_t envelopes[ENVELOPES_MAX + 1]; /* where each begins; the last: where they end */
    uint32_t envelope_count;
    uint64_t answers[LOG_MAX + 1]; /* [index]: hash of what a client was told; 0 = nobody was */
    uint64_t told_index;           /* the highest of them */
    uint64_t check_every, steps_max;

    /* Figures of all seeds. */
    uint64_t in_faults, expired, unknown, attempts, stored_answers, checks, loads, restarts,
        replays, steps;
};
extern struct meta meta;

/* meta_sim_replica.c */
void replica_begin(struct sim *s, struct node *n);
void replica_apply(struct sim *s, struct node *n, const struct raft_entry *entry);
void replica_end(struct sim *s, struct node *n);
void replica_checkpoint(struct sim *s, struct node *n, struct state *state);
void replica_load(struct sim *s, struct node *n, const struct state *checkpoint);
void replica_restart(struct sim *s, struct node *n);
void replica_drop(struct node *n);
struct slice replica_envelope(uint32_t number);
uint64_t replica_answer_hash(const struct fs_result *result);
/* Applies everything committed to an empty state: it must become that of the nodes, and what the
 * clients were told must be what it answers. */
void replica_replay(struct sim *s);

/* meta_sim_server.c */
void server_reset(void);
void server_take(struct sim *s, uint32_t number, uint32_t client);
void server_send(struct sim *s, const struct meta_message *m);
void server_answer(struct sim *s, struct node *n, const struct raft_entry *entry);
void server_on_reads(struct sim *s, struct node *n, const struct raft_update *u);
void server_forget(struct sim *s, const struct node *n);

/* meta_sim_client.c */
void session_reset(void);
void session_tick(struct sim *s, uint32_t client);
void session_told(struct sim *s, const struct meta_message *m);
void session_calm(struct sim *s);
bool session_all_served(const struct sim *s);
bool session_all_idle(void);

/* meta_sim_request.c */
void request_prepare(struct session *c, uint32_t client, unsigned step);
void request_encode(struct session *c);
/* False when the answer is not one to this request. */
bool request_decode(struct session *c, const struct body *answer);

#endif
