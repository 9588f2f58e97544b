/* The serving end of rpc: hello, requests, replies, limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/rpc_server_internal.h"
#include "common/wire/codec.h"
#include "common/base/banned.h"

enum {
    HELLO_BODY_MAX = 4096,
    FREE_REQUESTS_MAX = 4096, /* about 3 MiB with their body space */
    BODY_SPACE_MIN = 512,     /* most metadata requests */
    BODY_SPACE_KEPT = 4096,   /* larger ones are given back */
};

static bool uuid_is_zero(const struct uuid *u)
{
    static const struct uuid zero;
    return memcmp(u, &zero, sizeof zero) == 0;
}

/* ---- sending ---- */

static void send_frame(struct rpc_session *session, uint64_t request_id, uint16_t code, int status,
                       struct slice body, const struct net_slice *payload, unsigned payload_count)
{
    const struct rpc_server_options *o = &session->server->options;
    struct frame_header header = {.code = code,
                                  .request_id = request_id,
                                  .status = (uint16_t)(status < 0 ? -status : status),
                                  .table_version = o->table_version ? o->table_version(o->arg) : 0};
    conn_send(session->conn, &header, body, payload, payload_count);
}

static void send_error(struct rpc_session *session, uint64_t request_id, int status,
                       const char *detail, const char *leader_hint)
{
    struct bytes *out = &session->server->scratch;
    struct msg_error_r error = {.detail = slice_str(detail ? detail : ""),
                                .leader = slice_str(leader_hint ? leader_hint : "")};
    bytes_clear(out);
    encode_error_r(out, &error);
    send_frame(session, request_id, MSG_error_r, status, bytes_slice(out), NULL, 0);
}

/* ---- hello and ping ---- */

static const char *refuse_hello(const struct rpc_identity *mine, const struct msg_hello *hello)
{
    if (uuid_is_zero(&mine->cluster))
        return NULL;
    bool may_learn = hello->role == ROLE_CLIENT || hello->role == ROLE_ADMIN;
    if (uuid_is_zero(&hello->cluster))
        return may_learn ? NULL : "a server must know the uuid of its cluster";
    if (memcmp(&hello->cluster, &mine->cluster, sizeof mine->cluster) == 0)
        return NULL;
    return "the caller belongs to another cluster";
}

static void on_hello(struct rpc_session *session, const struct conn_message *message)
{
    struct rpc_server *server = session->server;
    const struct rpc_identity *mine = server->options.identity;
    struct msg_hello hello;
    if (session->has_hello || decode_hello(message->body, message->header.version, &hello) != 0) {
        conn_close(session->conn, -ERR_PROTOCOL, "sent a malformed hello");
        return;
    }
    session->remote.identity = (struct rpc_identity){.cluster = hello.cluster,
                                                     .role = hello.role,
                                                     .node = hello.node,
                                                     .instance = hello.instance};
    const char *refusal = refuse_hello(mine, &hello);
    if (refusal) {
        send_error(session, message->header.request_id, -ERR_WRONG_CLUSTER, refusal, NULL);
        conn_close_after_flush(session->conn, -ERR_WRONG_CLUSTER, refusal);
        return;
    }
    session->has_hello = true;
    server->helloed_count++;
    loop_timer_stop(&session->hello_timer);
    struct msg_hello_r answer = {.cluster = mine->cluster,
                                 .role = mine->role,
                                 .node = mine->node,
                                 .instance = mine->instance};
    bytes_clear(&server->scratch);
    encode_hello_r(&server->scratch, &answer);
    send_frame(session, message->header.request_id, MSG_hello_r, 0, bytes_slice(&server->scratch),
               NULL, 0);
    if (server->options.event)
        server->options.event(server->options.arg, RPC_SERVER_CONNECTED, &session->remote, 0, "");
}

static void on_ping(struct rpc_session *session, const struct conn_message *message)
{
    struct bytes *out = &session->server->scratch;
    bytes_clear(out);
    encode_done_r(out, &(struct msg_done_r){.index = 0});
    if (message->header.request_id)
        send_frame(session, message->header.request_id, MSG_done_r, 0, bytes_slice(out), NULL, 0);
}

/* ---- limits ---- */

static void wake_waiting(struct rpc_server *server)
{
    if (list_empty(&server->waiting) || server->is_quiet)
        return;
    uint64_t limit = server->options.request_bytes_max;
    if (server->bytes_in_flight > limit - limit / 4)
        return;
    LIST_EACH(node, &server->waiting)
    {
        list_remove(node);
        conn_resume(CONTAINER_OF(node, struct rpc_session, waiting)->conn);
    }
}

static void return_bytes(struct rpc_server *server, uint64_t bytes)
{
    CHECK(bytes <= server->bytes_in_flight);
    server->bytes_in_flight -= bytes;
    wake_waiting(server);
}

static int admit(void *arg, const struct frame_header *header)
{
    struct rpc_session *session = arg;
    struct rpc_server *server = session->server;
    uint64_t size = (uint64_t)header->body_size + header->payload_size;
    if (!session->has_hello) {
        if (header->code != MSG_hello || header->body_size > HELLO_BODY_MAX ||
            header->payload_size > 0)
            return -ERR_PROTOCOL;
    } else if (session->request_count >= server->options.requests_per_connection) {
        session->is_full = true;
        return -ERR_BUSY;
    } else if (server->bytes_in_flight > 0 &&
               server->bytes_in_flight + size > server->options.request_bytes_max) {
        list_remove(&session->waiting);
        list_append(&server->waiting, &session->waiting);
        return -ERR_BUSY;
    }
    server->bytes_in_flight += size;
    return 0;
}

/* ---- requests ---- */

static struct rpc_request_memory *take_memory(struct rpc_server *server)
{
    struct rpc_request_memory *request = server->free_requests;
    if (request) {
        server->free_requests = request->next_free;
        server->free_count--;
        return request;
    }
    request = malloc(sizeof *request);
    CHECK(request != NULL);
    request->space = NULL;
    request->space_size = 0;
    return request;
}

static void give_back_memory(struct rpc_server *server, struct rpc_request_memory *request)
{
    request->magic = 0;
    if (server->free_count >= FREE_REQUESTS_MAX) {
        free(request->space);
        free(request);
        return;
    }
    if (request->space_size > BODY_SPACE_KEPT) {
        free(request->space);
        request->space = NULL;
        request->space_size = 0;
    }
    request->next_free = server->free_requests;
    server->free_requests = request;
    server->free_count++;
}

/* Makes the body last: it lies in the receive buffer of the loop or in a block of its own. */
static struct slice keep_body(struct rpc_request_memory *request, struct conn_message *message)
{
    struct slice body = message->body;
    request->body_owner = message->body_owner;
    message->body_owner = NULL;
    if (request->body_owner || body.size == 0)
        return body;
    if (request->space_size < body.size) {
        free(request->space);
        request->space_size = body.size < BODY_SPACE_MIN ? BODY_SPACE_MIN : (uint32_t)body.size;
        request->space = malloc(request->space_size);
        CHECK(request->space != NULL);
    }
    memcpy(request->space, body.data, body.size);
    return slice_of(request->space, body.size);
}

static void on_request(struct rpc_session *session, struct conn_message *message)
{
    struct rpc_server *server = session->server;
    const struct frame_header *header = &message->header;
    struct rpc_request_memory *request = take_memory(server);
    request->magic = RPC_REQUEST_MAGIC;
    request->session = session;
    request->request_id = header->request_id;
    request->bytes = (uint64_t)header->body_size + header->payload_size;
    struct slice body = keep_body(request, message);
    request->public = (struct rpc_request){.code = header->code,
                                           .version = header->version,
                                           .is_oneway = header->request_id == 0,
                                           .table_version = header->table_version,
                                           .body = body,
                                           .payload = message->payload,
                                           .payload_size = header->payload_size,
                                           .received_ms = loop_tick_ms(server->loop),
                                           .remote = &session->remote};
    message->payload = NULL;
    session->request_count++;
    server->request_count++;
    server->options.dispatch(server->options.arg, &request->public);
}

static void on_message(void *arg, struct conn_message *message)
{
    struct rpc_session *session = arg;
    struct rpc_server *server = session->server;
    uint64_t bytes = (uint64_t)message->header.body_size + message->header.payload_size;
    if (session->has_hello && message->header.code != MSG_hello &&
        message->header.code != MSG_ping) {
        on_request(session, message); /* its bytes count until it is answered */
        return;
    }
    if (message->header.code == MSG_ping)
        on_ping(session, message);
    else
        on_hello(session, message);
    return_bytes(server, bytes);
}

static bool is_busy(void *arg)
{
    const struct rpc_session *session = arg;
    return session->request_count > 0;
}

const struct conn_owner rpc_session_owner = {admit, on_message, rpc_session_on_closed, is_busy};

/* ---- answers ---- */

static struct rpc_request_memory *memory_of(struct rpc_request *request)
{
    struct rpc_request_memory *memory = CONTAINER_OF(request, struct rpc_request_memory, public);
    CHECK_OBJ(memory, RPC_REQUEST_MAGIC);
    CHECK(loop_is_here(memory->session->server->loop));
    return memory;
}

void rpc_request_drop(struct rpc_request *take_request)
{
    struct rpc_request_memory *request = memory_of(take_request);
    struct rpc_session *session = request->session;
    struct rpc_server *server = session->server;
    uint64_t bytes = request->bytes;
    buf_unref(request->public.payload);
    buf_unref(request->body_owner);
    give_back_memory(server, request);

    session->request_count--;
    server->request_count--;
    /* At half, not at once: each pause costs a copy of what was received behind it. */
    if (session->is_full && session->request_count <= server->options.requests_per_connection / 2) {
        session->is_full = false;
        if (session->conn && !server->is_quiet)
            conn_resume(session->conn);
    }
    return_bytes(server, bytes);
    rpc_session_release(session);
}

void rpc_reply(struct rpc_request *take_request, uint16_t code, struct slice body,
               const struct net_slice *payload, unsigned payload_count)
{
    struct rpc_request_memory *request = memory_of(take_request);
    if (request->session->conn && request->request_id)
        send_frame(request->session, request->request_id, code, 0, body, payload, payload_count);
    rpc_request_drop(take_request);
}

void rpc_reply_error(struct rpc_request *take_request, int status, const char *detail,
                     const char *leader_hint)
{
    struct rpc_request_memory *request = memory_of(take_request);
    CHECK(status != 0);
    if (request->session->conn && request->request_id)
        send_error(request->session, request->request_id, status, detail, leader_hint);
    rpc_request_drop(take_request);
}
