/* The calling end of rpc: a peer is a connection to one address that connects when it is first
 * needed and reconnects by itself. Everything happens on the loop's thread.
 *
 * Calls and one-way frames reach the server in the order they were made, as long as the connection
 * lives. When it breaks, every call sent on it ends with -ERR_CLOSED (the server may or may not
 * have run it); calls made while there is no connection wait for the next attempt to connect and
 * end with -ERR_UNREACHABLE when it fails. Nothing is ever sent twice by itself: repeating is the
 * caller's business (rpc_leader.h does it for the metaservers).
 *
 * Attempts that fail are followed by a pause, 20 ms doubling to 1 s with jitter, during which calls
 * wait; a success ends it. */
#ifndef CAIRN_NET_RPC_CLIENT_H
#define CAIRN_NET_RPC_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/net/loop.h"
#include "common/net/rpc_types.h"

struct rpc_peer;

/* The outcome of a call, borrowed for the callback. */
struct rpc_reply {
    int status;          /* 0: the reply in code, body, payload; else a negated err: of the reply
                            (is_remote), or -ERR_TIMEOUT, -ERR_CLOSED, -ERR_UNREACHABLE, -ERR_LIMIT,
                            -ERR_CANCELLED, -ERR_PROTOCOL made here */
    bool is_remote;      /* the server itself answered this */
    uint16_t code;       /* message code of the reply */
    uint8_t version;     /* the server's protocol version, for the decoder */
    struct slice body;   /* valid only during the callback */
    struct buf *payload; /* bytes 0 .. payload_size-1; NULL when there is none. To keep it, use the
                            pointer and set it to NULL here */
    uint32_t payload_size;
    uint64_t table_version; /* of the server's shard table, 0 = none or no answer */
    const char *detail;     /* text for a person when status != 0, never NULL */
    const char *leader;     /* with -ERR_NOT_LEADER: "host:port" or ""; never NULL */
};

/* Called exactly once per call, on the loop, never from inside rpc_call. May make and cancel calls
 * and destroy the peer. */
typedef void rpc_reply_fn(void *arg, struct rpc_reply *reply);

struct rpc_peer_options {
    const char *address; /* "host:port"; copied. A name is resolved anew at each connect */
    const char *source;  /* "host:port" in figures, of whose host connections come; NULL = the
                            kernel chooses (sock_connect). Borrowed for the call */
    const struct rpc_identity
        *identity; /* ours; borrowed for the peer's life, read at each connect.
                      While its cluster is zero any cluster is accepted */
    /* Connection came up (hello answered) or went down; may be NULL. On the loop, before the
     * callbacks of the calls that this ends. Frames sent from inside an "up" are the first
     * ones on the new connection, before calls that waited. Must not destroy the peer. */
    void (*state)(void *arg, struct rpc_peer *peer, bool is_up, const char *why);
    rpc_table_version_fn *table_version; /* may be NULL: 0 */
    void *arg;                           /* of the two functions */
    uint64_t queued_bytes_max;           /* 0 = 64 MiB waiting to be sent; more is -ERR_LIMIT */
    unsigned calls_max;                  /* 0 = 65,536 unanswered; more is -ERR_LIMIT */
    unsigned connect_timeout_ms;         /* 0 = 2,000, until hello is answered */
    unsigned stall_timeout_ms;           /* 0 = 30,000 without progress of a frame being sent or
                                            received: the connection is closed */
    bool keep_connected; /* connect at once and always reconnect, even without calls */
};

/* Never fails; a bad address shows as -ERR_UNREACHABLE or -ERR_CONFIG of the calls. */
struct rpc_peer *rpc_peer_create(struct loop *loop, const struct rpc_peer_options *options);
/* Calls still unanswered end with -ERR_CANCELLED from inside this function. */
void rpc_peer_destroy(struct rpc_peer *peer);

const char *rpc_peer_address(const struct rpc_peer *peer);
bool rpc_peer_is_up(const struct rpc_peer *peer);
/* What the server said in its last hello_r; all zero before the first one. */
const struct rpc_identity *rpc_peer_remote(const struct rpc_peer *peer);
/* loop_tick_ms at which the last frame came from the server, 0 = never on this connection. */
uint64_t rpc_peer_heard_ms(const struct rpc_peer *peer);
/* Counts successful connections: a change means a new connection. */
uint64_t rpc_peer_generation(const struct rpc_peer *peer);
unsigned rpc_peer_call_count(const struct rpc_peer *peer);
/* Bytes waiting to be sent. */
uint64_t rpc_peer_queued_bytes(const struct rpc_peer *peer);
/* Ends the present connection, if any: its calls end with -ERR_CLOSED. The next one starts afresh.
 */
void rpc_peer_reset(struct rpc_peer *peer, const char *why);
/* Ends the pause after a failed attempt: the next one starts with the next call. For callers that
 * pace their attempts themselves. */
void rpc_peer_hurry(struct rpc_peer *peer);

struct rpc_call_options {
    uint16_t code;
    struct slice body;               /* copied */
    const struct net_slice *payload; /* references are taken; may be NULL */
    unsigned payload_count;          /* up to NET_SLICES_MAX, FRAME_PAYLOAD_MAX bytes in all */
    uint64_t deadline_ms; /* loop_now_ms() at which -ERR_TIMEOUT is due (up to 5 ms late);
                             0 = none: the call ends with its connection */
};

/* Returns the call's id, never 0. Every failure, -ERR_LIMIT too, comes through the callback. */
uint64_t rpc_call(struct rpc_peer *peer, const struct rpc_call_options *options, rpc_reply_fn *fn,
                  void *arg);
/* The callback of the call will not come any more. The request may have been or may still be sent;
 * its answer is ignored. False when there is no such call (answered, unknown). */
bool rpc_cancel(struct rpc_peer *peer, uint64_t call_id);
/* A one-way frame (options->deadline_ms is ignored). 0, -ERR_LIMIT when the queue is full, or
 * -ERR_CLOSED while there is no connection: then nothing is kept, and an attempt to connect is
 * started. 0 does not mean that it will arrive. */
int rpc_peer_send(struct rpc_peer *peer, const struct rpc_call_options *options);

#endif
