/* The inside of an rpc peer, shared by rpc_client.c and rpc_calls.c only. */
#ifndef CAIRN_NET_RPC_CLIENT_INTERNAL_H
#define CAIRN_NET_RPC_CLIENT_INTERNAL_H

#include "common/base/prng.h"
#include "common/net/conn.h"
#include "common/net/rpc_client.h"
#include "common/net/sock.h"

enum { RPC_PEER_MAGIC = 0x72707072, NO_SLOT = UINT32_MAX };

enum call_state {
    CALL_FREE,
    CALL_WAITING, /* for a connection; its frame is kept here */
    CALL_SENT,
    CALL_REFUSED, /* over a limit; its callback comes at the end of the iteration */
};

/* A frame that waits for the connection. */
struct waiting_frame {
    uint16_t code;
    struct buf *body;
    uint32_t body_size;
    struct net_slice *payload; /* each part holds a reference */
    unsigned payload_count;
};

/* One call. Slots stand in an array; its id is its generation and its index. */
struct call_slot {
    enum call_state state;
    uint32_t generation;
    uint32_t next,
        previous; /* in the queue of its state, in the order of the calls; or free list */
    uint64_t deadline_ms;
    rpc_reply_fn *fn;
    void *arg;
    struct waiting_frame *frame; /* CALL_WAITING only */
};

struct call_queue {
    uint32_t first, last, count;
};

enum peer_state { PEER_IDLE, PEER_PAUSING, PEER_RESOLVING, PEER_CONNECTING, PEER_HELLO, PEER_UP };

struct rpc_peer {
    uint32_t magic;
    unsigned depth; /* callbacks on the stack: the struct is freed by the last one */
    bool is_doomed;
    struct loop *loop;
    struct rpc_peer_options options; /* with the defaults filled in */
    char *address;
    struct sock_address source; /* size 0: the kernel chooses */
    struct prng prng;

    enum peer_state state;
    int fd; /* while connecting */
    struct loop_watch connect_watch;
    struct loop_timer connect_timer; /* the attempt's time-out, or the pause after it */
    struct resolve *resolving;       /* a name look-up under way */
    struct conn *conn;               /* from PEER_HELLO on */
    bool is_wanted;                  /* one-way frames ask for a connection */
    unsigned failures;               /* attempts in a row */
    char problem[160];               /* of the last attempt or connection */
    struct rpc_identity remote;
    uint64_t generation;

    struct call_slot *slots;
    uint32_t slot_count, free_slot;
    struct call_queue sent, waiting, refused;
    uint64_t waiting_bytes;
    struct loop_timer deadline_timer;
    struct loop_defer refuse;
};

void peer_enter(struct rpc_peer *peer);
/* Frees a doomed peer; false then. */
bool peer_leave(struct rpc_peer *peer);

/* ---- rpc_client.c: the connection ---- */
void peer_connect_soon(struct rpc_peer *peer);
void peer_down(struct rpc_peer *peer, int status, const char *why);
bool peer_send_frame(struct rpc_peer *peer, uint64_t request_id, uint16_t code, struct slice body,
                     const struct net_slice *payload, unsigned payload_count);

/* ---- rpc_calls.c: the calls ---- */
void calls_init(struct rpc_peer *peer);
void calls_release(struct rpc_peer *peer);
void calls_on_reply(struct rpc_peer *peer, struct conn_message *message);
/* Sends what waited for the connection. */
void calls_send_waiting(struct rpc_peer *peer);
/* Ends all calls that are in this queue now. Calls made meanwhile stay. */
void calls_fail(struct rpc_peer *peer, struct call_queue *queue, int status, const char *why);
/* Decodes an error_r into `reply`, whose texts are kept in the two arrays. */
void calls_read_error(const struct conn_message *message, struct rpc_reply *reply, char detail[240],
                      char leader[128]);

#endif
