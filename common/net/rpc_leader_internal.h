/* The inside of rpc_leader, shared by rpc_leader.c and leader_find.c only. */
#ifndef CAIRN_NET_RPC_LEADER_INTERNAL_H
#define CAIRN_NET_RPC_LEADER_INTERNAL_H

#include "common/base/bytes.h"
#include "common/base/prng.h"
#include "common/net/rpc_leader.h"

enum { LEADER_MAGIC = 0x6c656164, LEADER_PROBLEM_SIZE = 160 };

struct leader_server {
    struct rpc_leader *leader;
    char *address;
    struct rpc_peer *peer;
    char problem[LEADER_PROBLEM_SIZE]; /* the last one; "" = none */
    bool is_pinged;                    /* a ping is under way */
};

struct leader_call {
    struct list node;
    struct rpc_leader *leader;
    uint64_t id;                  /* as the caller knows it */
    uint64_t try_id;              /* of the peer's call under way, 0 = waiting */
    struct leader_server *server; /* of that try */
    uint64_t tried_ms, deadline_ms;
    uint16_t code;
    struct bytes body; /* its space is kept for the next call */
    rpc_reply_fn *fn;
    void *arg;
};

struct rpc_leader {
    uint32_t magic;
    unsigned depth; /* callbacks on the stack: the struct is freed by the last one */
    bool is_doomed;
    struct loop *loop;
    struct rpc_leader_options options; /* with the defaults filled in */
    struct prng prng;

    struct leader_server *servers[RPC_LEADER_ADDRESSES_MAX];
    unsigned server_count;
    struct leader_server *found; /* the one that answers as the leader; NULL = nobody */
    unsigned next;               /* the one to ask while nobody is found */
    unsigned asked, hints;       /* servers asked, hints followed since the last pause */
    unsigned pauses;             /* since a leader was last known */
    bool is_pausing;
    struct loop_timer pause_timer;
    struct loop_defer advance;
    struct loop_timer follow_timer;
    bool is_following; /* the list is being asked for */

    uint64_t call_last;
    unsigned call_count, waiting_count; /* waiting: without a try under way */
    uint64_t bytes;
    struct list calls; /* in the order they were made, whether waiting or tried */
    struct list overdue, refused, free_calls;
    unsigned free_count;
    struct loop_timer check_timer;
    struct loop_defer refuse;
};

void leader_enter(struct rpc_leader *leader);
bool leader_leave(struct rpc_leader *leader); /* frees a doomed one; false then */

/* ---- rpc_leader.c ---- */
void leader_send_try(struct leader_call *call, struct leader_server *server);
/* Takes back all tries at this server that may be repeated. */
void leader_drop_tries(struct rpc_leader *leader, struct leader_server *server);

/* ---- leader_find.c ---- */
void leader_find_init(struct rpc_leader *leader);
void leader_find_release(struct rpc_leader *leader);
/* NULL when the table is full. */
struct leader_server *leader_server_add(struct rpc_leader *leader, const char *address);
void leader_found(struct rpc_leader *leader, struct leader_server *server);
/* A try ended without a verdict. The server may be gone from the table. */
void leader_try_failed(struct rpc_leader *leader, struct leader_server *server,
                       const struct rpc_reply *reply);
/* ---- leader_follow.c ---- */
void leader_follow_init(struct rpc_leader *leader);
void leader_follow_begin(struct rpc_leader *leader); /* a leader was found */
void leader_follow_stop(struct rpc_leader *leader);

/* ---- leader_find.c ---- */
void leader_check_silence(struct rpc_leader *leader, uint64_t now_ms);

#endif
