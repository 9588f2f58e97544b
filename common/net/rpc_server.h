/* The serving end of rpc: accepts connections, checks hello, hands requests to one dispatch
 * function and sends the replies. Everything happens on the loop's thread.
 *
 * hello, ping, garbage, limits and time-outs are dealt with here; the dispatch function sees only
 * whole frames with a good crc from peers that said hello. The body of a request is not
 * decoded yet (codec.h does that); its contents come from outside and are to be checked.
 *
 * Back-pressure: a connection with too many requests under way, or whose replies are not drained,
 * is not read until it has caught up; when all requests together hold too many bytes, no
 * connection is read until some are answered. Nothing is dropped and nothing grows without limit.
 */
#ifndef CAIRN_NET_RPC_SERVER_H
#define CAIRN_NET_RPC_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/net/loop.h"
#include "common/net/rpc_types.h"

struct rpc_server;

/* The peer at the other end of a connection. */
struct rpc_remote {
    struct rpc_identity identity; /* as its hello says; cluster may be zero for clients, admins */
    uint64_t connection;          /* never used twice by one server: tells a reconnect apart */
    char address[64];             /* numeric, for logs */
};

/* One request. Belongs to the handler until it is given to rpc_reply, rpc_reply_error or
 * rpc_request_drop, now or later, on the loop; each request to exactly one of them. Fields are
 * read-only for the handler except `payload` and `user`. */
struct rpc_request {
    uint16_t code;
    uint8_t version;        /* the sender's protocol version, for the decoder */
    bool is_oneway;         /* no answer is wanted; replying is harmless and sends nothing */
    uint64_t table_version; /* of the sender's shard table, 0 = it has none */
    struct slice body;      /* valid as long as the request */
    struct buf *payload;    /* bytes 0 .. payload_size-1; NULL when there is none. To keep it beyond
                               the request, take it: use the pointer and set it to NULL here */
    uint32_t payload_size;
    uint64_t received_ms;            /* loop clock */
    const struct rpc_remote *remote; /* valid as long as the request, even if its connection died */
    void *user;                      /* the handler's own, NULL at first */
};

/* Called once per request, on the loop; take_request is the handler's now (see above). */
typedef void rpc_dispatch_fn(void *arg, struct rpc_request *take_request);

enum rpc_server_event {
    RPC_SERVER_CONNECTED,    /* said hello */
    RPC_SERVER_DISCONNECTED, /* after CONNECTED; `status` says why, 0 = the peer closed */
    RPC_SERVER_REJECTED,     /* garbage, slow hello, wrong cluster, too many connections: worth a
                                log line. At most one per connection */
};
/* `remote` is borrowed for the call; before a hello its identity is all zero. Requests of a
 * DISCONNECTED connection stay valid and are to be answered (into the void) as any other. */
typedef void rpc_server_event_fn(void *arg, enum rpc_server_event event,
                                 const struct rpc_remote *remote, int status, const char *why);

struct rpc_server_options {
    const char *address;                 /* "host:port", port 0 = the kernel chooses */
    const struct rpc_identity *identity; /* borrowed for the server's life; read at each hello, so
                                            a cluster uuid learnt later counts from then on. While
                                            its cluster is zero every cluster is accepted */
    rpc_dispatch_fn *dispatch;
    rpc_server_event_fn *event;          /* may be NULL */
    rpc_table_version_fn *table_version; /* may be NULL: 0 */
    void *arg;                           /* of the three functions */

    /* Limits; 0 = the default behind it. */
    unsigned connections_max;           /* 4096; further ones are closed at once */
    unsigned connections_unhelloed_max; /* 256 that have not said hello yet */
    unsigned requests_per_connection;   /* 1024 in flight */
    uint64_t request_bytes_max;         /* 256 MiB of bodies and payloads in flight, all together */
    uint64_t reply_bytes_high;          /* 8 MiB queued to one peer: stop reading it */
    unsigned hello_timeout_ms;          /* 5,000 */
    unsigned idle_timeout_ms;           /* 600,000 without a frame and without requests in flight */
    unsigned stall_timeout_ms;          /* 30,000 without progress inside a frame or of a reply */
};

/* Listens at once. -ERR_ADDRESS_IN_USE, -ERR_REFUSED (not a loopback address), -ERR_CONFIG with the
 * address in `why`. The strings of the options are copied, the rest see above. */
int rpc_server_create(struct loop *loop, const struct rpc_server_options *options,
                      struct rpc_server **ret_server, struct err_text *why);
/* Stops listening and closes all connections without events. Requests that the handlers still hold
 * must be answered or dropped before this. Not from inside a dispatch or event function. */
void rpc_server_destroy(struct rpc_server *server);
/* Stops accepting connections and reading requests; replies still leave. For a clean shutdown. */
void rpc_server_quiesce(struct rpc_server *server);
/* Stops listening and closes all connections in this iteration. Requests that the handlers still
 * hold stay valid and are to be answered or dropped, into the void; then rpc_server_destroy. */
void rpc_server_close(struct rpc_server *server);
/* "127.0.0.1:7001", with the port the kernel chose. Valid as long as the server. */
const char *rpc_server_address(const struct rpc_server *server);
/* Connections that said hello; requests not yet answered. */
unsigned rpc_server_connection_count(const struct rpc_server *server);
unsigned rpc_server_request_count(const struct rpc_server *server);
/* Closes the connection with this remote->connection, if it is still there. Its event comes later.
 */
void rpc_server_disconnect(struct rpc_server *server, uint64_t connection);

/* ---- answers ---- */

/* Frees the request. `body` is copied; of the payload's parts references are taken (the caller
 * keeps its own). Sent at the end of this iteration, together with all other replies to that peer.
 */
void rpc_reply(struct rpc_request *take_request, uint16_t code, struct slice body,
               const struct net_slice *payload, unsigned payload_count);
/* status: a negated (or positive) err. detail and leader_hint ("host:port", with ERR_NOT_LEADER)
 * may be NULL. Frees the request. */
void rpc_reply_error(struct rpc_request *take_request, int status, const char *detail,
                     const char *leader_hint);
/* Frees the request without an answer: for one-way frames. */
void rpc_request_drop(struct rpc_request *take_request);

#endif
