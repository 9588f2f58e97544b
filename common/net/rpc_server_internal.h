/* The inside of the rpc server, shared by rpc_server.c and rpc_serve.c only. */
#ifndef CAIRN_NET_RPC_SERVER_INTERNAL_H
#define CAIRN_NET_RPC_SERVER_INTERNAL_H

#include "common/base/bytes.h"
#include "common/net/conn.h"
#include "common/net/rpc_server.h"
#include "common/net/sock.h"

enum {
    RPC_SERVER_MAGIC = 0x72707373,
    RPC_SESSION_MAGIC = 0x72706378,
    RPC_REQUEST_MAGIC = 0x72707172,
};

/* One connection. Outlives its conn while requests of it are with the handlers. */
struct rpc_session {
    uint32_t magic;
    struct rpc_server *server;
    struct conn *conn;   /* NULL once closed */
    struct list node;    /* of server->sessions while conn is set */
    struct list waiting; /* of server->waiting while paused for the sake of all */
    struct rpc_remote remote;
    struct loop_timer hello_timer;
    struct loop_defer disconnect; /* rpc_server_disconnect */
    bool has_hello, is_reported;
    bool is_full; /* paused for its number of requests */
    unsigned request_count;
};

struct rpc_request_memory {
    struct rpc_request public; /* first: handlers hold a pointer to it */
    uint32_t magic;
    struct rpc_session *session;
    uint64_t request_id, bytes;
    struct buf *body_owner;
    struct rpc_request_memory *next_free;
    uint8_t *space; /* for a body that came without a block of its own; kept for the next */
    uint32_t space_size;
};

struct rpc_server {
    uint32_t magic;
    struct loop *loop;
    struct rpc_server_options options; /* with the defaults filled in; address unset */
    char address[SOCK_TEXT_SIZE];
    int listen_fd;
    struct loop_watch listen_watch;
    struct loop_timer accept_timer; /* accepts again after descriptors ran out */
    struct list sessions, waiting;
    uint64_t connection_last;
    unsigned session_count, helloed_count;
    unsigned request_count;
    uint64_t bytes_in_flight; /* of admitted frames and unanswered requests */
    bool is_quiet;
    struct rpc_request_memory *free_requests;
    unsigned free_count;
    struct bytes scratch; /* to encode replies made here */
};

extern const struct conn_owner rpc_session_owner;

/* Frees the session when nothing refers to it any more. */
void rpc_session_release(struct rpc_session *session);
/* Reports a REJECTED event, once. */
void rpc_session_reject(struct rpc_session *session, int status, const char *why);
/* conn_owner.closed: the end of a session's life. */
void rpc_session_on_closed(void *arg, int status, const char *why);

#endif
