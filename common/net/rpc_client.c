/* The calling end of rpc: connecting, hello, going down and coming back. Calls are in rpc_calls.c.
 */
#include "common/net/rpc_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/net/resolve.h"
#include "common/net/rpc_client_internal.h"
#include "common/wire/codec.h"
#include "common/base/banned.h"

enum {
    PAUSE_MIN_MS = 20,
    PAUSE_MAX_MS = 1000,
    PAUSE_DOUBLINGS_MAX = 6,
};

void peer_enter(struct rpc_peer *peer)
{
    peer->depth++;
}

bool peer_leave(struct rpc_peer *peer)
{
    CHECK(peer->depth > 0);
    if (--peer->depth > 0 || !peer->is_doomed)
        return !peer->is_doomed;
    calls_release(peer);
    free(peer->address);
    peer->magic = 0;
    free(peer);
    return false;
}

/* ---- going down ---- */

static void set_problem(struct rpc_peer *peer, const char *why)
{
    (void)snprintf(peer->problem, sizeof peer->problem, "%s", why);
}

/* Drops whatever the present state holds. */
static void clear_state(struct rpc_peer *peer)
{
    loop_timer_stop(&peer->connect_timer);
    loop_watch_release(&peer->connect_watch);
    if (peer->resolving)
        resolve_cancel(peer->resolving);
    peer->resolving = NULL;
    if (peer->fd >= 0)
        (void)close(peer->fd);
    peer->fd = -1;
    conn_destroy(peer->conn);
    peer->conn = NULL;
    peer->state = PEER_IDLE;
}

static void pause_then_connect(struct rpc_peer *peer)
{
    unsigned doublings =
        peer->failures > PAUSE_DOUBLINGS_MAX ? PAUSE_DOUBLINGS_MAX : peer->failures;
    uint64_t pause_ms = (uint64_t)PAUSE_MIN_MS << doublings;
    if (pause_ms > PAUSE_MAX_MS)
        pause_ms = PAUSE_MAX_MS;
    peer->state = PEER_PAUSING;
    loop_timer_start_ms(&peer->connect_timer, prng_between(&peer->prng, pause_ms / 2, pause_ms));
}

static bool is_needed(const struct rpc_peer *peer)
{
    return peer->options.keep_connected || peer->is_wanted || peer->waiting.count > 0;
}

void peer_down(struct rpc_peer *peer, int status, const char *why)
{
    char text[sizeof peer->problem];
    (void)snprintf(text, sizeof text, "%s", why);
    bool was_up = peer->state == PEER_UP;
    peer_enter(peer);
    clear_state(peer);
    set_problem(peer, text);
    if (!was_up)
        peer->failures++;
    /* Even after a good connection: a server that accepts and closes must not be hammered. */
    pause_then_connect(peer);
    if (was_up && peer->options.state)
        peer->options.state(peer->options.arg, peer, false, text);
    /* Callers rely on it: CLOSED may have run, anything else has not. */
    if (was_up)
        calls_fail(peer, &peer->sent, -ERR_CLOSED, text);
    else if (status == -ERR_WRONG_CLUSTER || status == -ERR_CONFIG)
        calls_fail(peer, &peer->waiting, status, text);
    else
        calls_fail(peer, &peer->waiting, -ERR_UNREACHABLE, text);
    (void)peer_leave(peer);
}

/* ---- the connection ---- */

bool peer_send_frame(struct rpc_peer *peer, uint64_t request_id, uint16_t code, struct slice body,
                     const struct net_slice *payload, unsigned payload_count)
{
    const struct rpc_peer_options *o = &peer->options;
    struct frame_header header = {.code = code,
                                  .request_id = request_id,
                                  .table_version = o->table_version ? o->table_version(o->arg) : 0};
    if (!conn_is_open(peer->conn))
        return false;
    conn_send(peer->conn, &header, body, payload, payload_count);
    return true;
}

static void on_up(struct rpc_peer *peer, const struct msg_hello_r *hello)
{
    peer->remote = (struct rpc_identity){.cluster = hello->cluster,
                                         .role = hello->role,
                                         .node = hello->node,
                                         .instance = hello->instance};
    peer->state = PEER_UP;
    peer->failures = 0;
    peer->generation++;
    set_problem(peer, "");
    loop_timer_stop(&peer->connect_timer);
    if (peer->options.state)
        peer->options.state(peer->options.arg, peer, true, "");
    if (peer->state == PEER_UP)
        calls_send_waiting(peer);
}

static bool clusters_differ(const struct uuid *a, const struct uuid *b)
{
    static const struct uuid zero;
    return memcmp(a, &zero, sizeof zero) != 0 && memcmp(b, &zero, sizeof zero) != 0 &&
           memcmp(a, b, sizeof *a) != 0;
}

static void on_hello_reply(struct rpc_peer *peer, const struct conn_message *message)
{
    struct msg_hello_r hello;
    if (message->header.code == MSG_error_r && message->header.status != 0) {
        struct rpc_reply reply;
        char detail[240], leader[128];
        calls_read_error(message, &reply, detail, leader);
        peer_down(peer, reply.status, detail);
    } else if (message->header.code != MSG_hello_r ||
               decode_hello_r(message->body, message->header.version, &hello) != 0) {
        peer_down(peer, -ERR_PROTOCOL, "answered hello with something else");
    } else if (clusters_differ(&hello.cluster, &peer->options.identity->cluster)) {
        peer_down(peer, -ERR_WRONG_CLUSTER, "the server belongs to another cluster");
    } else {
        on_up(peer, &hello);
    }
}

static void on_message(void *arg, struct conn_message *message)
{
    struct rpc_peer *peer = arg;
    peer_enter(peer);
    if (peer->state == PEER_HELLO)
        on_hello_reply(peer, message);
    else
        calls_on_reply(peer, message);
    (void)peer_leave(peer);
}

static void on_closed(void *arg, int status, const char *why)
{
    peer_down(arg, status, why);
}

static const struct conn_owner peer_conn_owner = {NULL, on_message, on_closed, NULL};

/* ---- connecting ---- */

static void say_hello(struct rpc_peer *peer)
{
    const struct rpc_identity *mine = peer->options.identity;
    struct conn_options options = {
        .owner = &peer_conn_owner, .arg = peer, .stall_timeout_ms = peer->options.stall_timeout_ms};
    peer->conn = conn_create(peer->loop, transport_plain(peer->fd), &options);
    peer->fd = -1;
    peer->state = PEER_HELLO;
    struct msg_hello hello = {.cluster = mine->cluster,
                              .role = mine->role,
                              .node = mine->node,
                              .instance = mine->instance};
    struct bytes body = {0};
    encode_hello(&body, &hello);
    (void)peer_send_frame(peer, 1, MSG_hello, bytes_slice(&body), NULL, 0);
    bytes_release(&body);
}

static void on_connected(void *arg)
{
    struct rpc_peer *peer = arg;
    struct err_text why;
    int status = sock_connect_result(peer->fd, &why);
    loop_watch_release(&peer->connect_watch);
    if (status)
        peer_down(peer, status, why.text);
    else
        say_hello(peer);
}

static void connect_to(struct rpc_peer *peer, const struct sock_address *address)
{
    struct err_text why;
    const struct sock_address *source = peer->source.size != 0 ? &peer->source : NULL;
    int status = sock_connect(address, source, &peer->fd, &why);
    if (status) {
        peer->fd = -1;
        peer_down(peer, status, why.text);
        return;
    }
    peer->state = PEER_CONNECTING;
    loop_timer_start_ms(&peer->connect_timer, peer->options.connect_timeout_ms);
    loop_watch_init(&peer->connect_watch, peer->loop, peer->fd, NULL, on_connected, peer);
    loop_watch_write(&peer->connect_watch, true);
}

static void on_resolved(void *arg, int status, const struct sock_address *address, const char *why)
{
    struct rpc_peer *peer = arg;
    peer->resolving = NULL;
    if (status)
        peer_down(peer, status, why);
    else
        connect_to(peer, address);
}

static void begin_connect(struct rpc_peer *peer)
{
    struct sock_address address;
    struct err_text why;
    int status = sock_parse_numeric(peer->address, &address, &why);
    if (status == -ERR_NOT_SUPPORTED) {
        peer->resolving = resolve_start(peer->loop, peer->address, on_resolved, peer);
        peer->state = PEER_RESOLVING;
        if (!peer->resolving)
            peer_down(peer, -ERR_UNREACHABLE, "cannot start a thread to look up the name");
    } else if (status) {
        peer_down(peer, status, why.text);
    } else {
        connect_to(peer, &address);
    }
}

static void on_connect_timer(void *arg)
{
    struct rpc_peer *peer = arg;
    switch (peer->state) {
    case PEER_PAUSING:
        peer->state = PEER_IDLE;
        if (is_needed(peer)) {
            peer->is_wanted = false;
            begin_connect(peer);
        }
        break;
    case PEER_CONNECTING:
        peer_down(peer, -ERR_UNREACHABLE, "no answer to connect");
        break;
    case PEER_HELLO:
        peer_down(peer, -ERR_UNREACHABLE, "connected, but no answer to hello");
        break;
    case PEER_IDLE:
    case PEER_RESOLVING: /* the resolver has limits of its own and cannot be interrupted */
    case PEER_UP:
        UNREACHABLE("connect timer in state %d", peer->state);
    }
}

/* The attempt starts from the timer, so that no callback comes from inside a call. */
void peer_connect_soon(struct rpc_peer *peer)
{
    if (peer->state != PEER_IDLE)
        return;
    peer->state = PEER_PAUSING;
    loop_timer_start_at_ms(&peer->connect_timer, loop_now_ms());
}

/* ---- life ---- */

struct rpc_peer *rpc_peer_create(struct loop *loop, const struct rpc_peer_options *options)
{
    CHECK(loop_is_here(loop) && options->identity && options->address);
    struct rpc_peer *peer = calloc(1, sizeof *peer);
    CHECK(peer != NULL);
    peer->magic = RPC_PEER_MAGIC;
    peer->loop = loop;
    peer->options = *options;
    peer->options.address = NULL;
    peer->options.source = NULL;
    if (options->source) /* a name, or no address: the kernel chooses */
        (void)sock_parse_numeric(options->source, &peer->source, NULL);
    peer->address = strdup(options->address);
    CHECK(peer->address != NULL);
    if (!peer->options.queued_bytes_max)
        peer->options.queued_bytes_max = 64 << 20;
    if (!peer->options.calls_max)
        peer->options.calls_max = 65536;
    if (!peer->options.connect_timeout_ms)
        peer->options.connect_timeout_ms = 2000;
    if (!peer->options.stall_timeout_ms)
        peer->options.stall_timeout_ms = 30000;
    prng_init(&peer->prng, random_u64());
    peer->fd = -1;
    loop_timer_init(&peer->connect_timer, loop, on_connect_timer, peer);
    calls_init(peer);
    if (peer->options.keep_connected)
        peer_connect_soon(peer);
    return peer;
}

void rpc_peer_destroy(struct rpc_peer *peer)
{
    CHECK_OBJ(peer, RPC_PEER_MAGIC);
    CHECK(loop_is_here(peer->loop) && !peer->is_doomed);
    peer->is_doomed = true;
    peer_enter(peer);
    clear_state(peer);
    calls_fail(peer, &peer->sent, -ERR_CANCELLED, "the connection is being shut down");
    calls_fail(peer, &peer->waiting, -ERR_CANCELLED, "the connection is being shut down");
    calls_fail(peer, &peer->refused, -ERR_LIMIT, "too much is waiting to be sent");
    (void)peer_leave(peer);
}

void rpc_peer_reset(struct rpc_peer *peer, const char *why)
{
    CHECK_OBJ(peer, RPC_PEER_MAGIC);
    if (peer->state == PEER_UP || peer->state == PEER_HELLO || peer->state == PEER_CONNECTING)
        peer_down(peer, -ERR_CLOSED, why);
}

void rpc_peer_hurry(struct rpc_peer *peer)
{
    CHECK_OBJ(peer, RPC_PEER_MAGIC);
    if (peer->state == PEER_PAUSING)
        loop_timer_start_at_ms(&peer->connect_timer, loop_now_ms());
}

const char *rpc_peer_address(const struct rpc_peer *peer)
{
    return peer->address;
}

bool rpc_peer_is_up(const struct rpc_peer *peer)
{
    return peer->state == PEER_UP;
}

const struct rpc_identity *rpc_peer_remote(const struct rpc_peer *peer)
{
    return &peer->remote;
}

uint64_t rpc_peer_heard_ms(const struct rpc_peer *peer)
{
    return peer->state == PEER_UP ? conn_heard_ms(peer->conn) : 0;
}

uint64_t rpc_peer_generation(const struct rpc_peer *peer)
{
    return peer->generation;
}
