/* The serving end of rpc: listening, accepting, the life of connections. Frames are in rpc_serve.c.
 */
#include "common/net/rpc_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/net/rpc_server_internal.h"
#include "common/base/banned.h"

enum {
    ACCEPTS_PER_EVENT = 64,
    ACCEPT_PAUSE_MS = 100, /* after running out of descriptors */
};

/* ---- sessions ---- */

static void event(struct rpc_session *session, enum rpc_server_event what, int status,
                  const char *why)
{
    struct rpc_server *server = session->server;
    if (server->options.event)
        server->options.event(server->options.arg, what, &session->remote, status, why);
}

void rpc_session_reject(struct rpc_session *session, int status, const char *why)
{
    if (session->is_reported)
        return;
    session->is_reported = true;
    event(session, RPC_SERVER_REJECTED, status, why);
}

void rpc_session_release(struct rpc_session *session)
{
    CHECK_OBJ(session, RPC_SESSION_MAGIC);
    if (session->conn || session->request_count > 0)
        return;
    session->magic = 0;
    free(session);
}

static void detach(struct rpc_session *session)
{
    struct rpc_server *server = session->server;
    server->bytes_in_flight -= conn_admitted(session->conn);
    loop_timer_stop(&session->hello_timer);
    loop_defer_cancel(&session->disconnect);
    list_remove(&session->node);
    list_remove(&session->waiting);
    server->session_count--;
    server->helloed_count -= session->has_hello;
    conn_destroy(session->conn);
    session->conn = NULL;
}

void rpc_session_on_closed(void *arg, int status, const char *why)
{
    struct rpc_session *session = arg;
    detach(session);
    if (!session->has_hello && status != 0)
        rpc_session_reject(session, status, why);
    else if (session->has_hello && status == -ERR_PROTOCOL)
        rpc_session_reject(session, status, why);
    if (session->has_hello)
        event(session, RPC_SERVER_DISCONNECTED, status, why);
    rpc_session_release(session);
}

static void on_hello_late(void *arg)
{
    struct rpc_session *session = arg;
    conn_close(session->conn, -ERR_TIMEOUT, "did not say hello in time");
}

static void on_disconnect(void *arg)
{
    struct rpc_session *session = arg;
    conn_close(session->conn, -ERR_CLOSED, "disconnected by the server");
}

static void start_session(struct rpc_server *server, int take_fd, const struct sock_address *from)
{
    char address[SOCK_TEXT_SIZE];
    sock_format(from, address);
    struct rpc_session *session = calloc(1, sizeof *session);
    CHECK(session != NULL);
    session->magic = RPC_SESSION_MAGIC;
    session->server = server;
    session->remote.connection = ++server->connection_last;
    (void)snprintf(session->remote.address, sizeof session->remote.address, "%.63s", address);
    list_init(&session->waiting);
    list_append(&server->sessions, &session->node);
    server->session_count++;
    loop_timer_init(&session->hello_timer, server->loop, on_hello_late, session);
    loop_defer_init(&session->disconnect, server->loop, on_disconnect, session);
    struct conn_options options = {.owner = &rpc_session_owner,
                                   .arg = session,
                                   .queue_bytes_high = server->options.reply_bytes_high,
                                   .idle_timeout_ms = server->options.idle_timeout_ms,
                                   .stall_timeout_ms = server->options.stall_timeout_ms};
    session->conn = conn_create(server->loop, transport_plain(take_fd), &options);

    const struct rpc_server_options *o = &server->options;
    if (server->session_count > o->connections_max)
        conn_close(session->conn, -ERR_LIMIT, "too many connections");
    else if (server->session_count - server->helloed_count > o->connections_unhelloed_max)
        conn_close(session->conn, -ERR_LIMIT, "too many connections that have not said hello");
    else
        loop_timer_start_ms(&session->hello_timer, o->hello_timeout_ms);
}

/* ---- accepting ---- */

static void on_accept(void *arg)
{
    struct rpc_server *server = arg;
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct sock_address from;
        int fd;
        int status = sock_accept(server->listen_fd, &fd, &from);
        if (status == -ERR_BUSY)
            return;
        if (status == -ERR_LIMIT) { /* the backlog holds them while descriptors come free */
            loop_watch_read(&server->listen_watch, false);
            loop_timer_start_ms(&server->accept_timer, ACCEPT_PAUSE_MS);
            return;
        }
        if (status == 0)
            start_session(server, fd, &from);
    }
}

static void on_accept_again(void *arg)
{
    struct rpc_server *server = arg;
    loop_watch_read(&server->listen_watch, !server->is_quiet);
}

static void fill_defaults(struct rpc_server_options *o)
{
    if (!o->connections_max)
        o->connections_max = 4096;
    if (!o->connections_unhelloed_max)
        o->connections_unhelloed_max = 256;
    if (!o->requests_per_connection)
        o->requests_per_connection = 1024;
    if (!o->request_bytes_max)
        o->request_bytes_max = 256 << 20;
    if (!o->reply_bytes_high)
        o->reply_bytes_high = 8 << 20;
    if (!o->hello_timeout_ms)
        o->hello_timeout_ms = 5000;
    if (!o->idle_timeout_ms)
        o->idle_timeout_ms = 600000;
    if (!o->stall_timeout_ms)
        o->stall_timeout_ms = 30000;
}

int rpc_server_create(struct loop *loop, const struct rpc_server_options *options,
                      struct rpc_server **ret_server, struct err_text *why)
{
    struct sock_address address;
    int fd;
    CHECK(loop_is_here(loop) && options->dispatch && options->identity);
    int status = sock_parse(options->address, &address, why);
    if (status == 0)
        status = sock_listen(&address, &fd, why);
    if (status)
        return status;
    struct rpc_server *server = calloc(1, sizeof *server);
    CHECK(server != NULL);
    server->magic = RPC_SERVER_MAGIC;
    server->loop = loop;
    server->options = *options;
    server->options.address = NULL;
    fill_defaults(&server->options);
    if (sock_local(fd, &address) == 0)
        sock_format(&address, server->address);
    list_init(&server->sessions);
    list_init(&server->waiting);
    server->listen_fd = fd;
    loop_timer_init(&server->accept_timer, loop, on_accept_again, server);
    loop_watch_init(&server->listen_watch, loop, fd, on_accept, NULL, server);
    loop_watch_read(&server->listen_watch, true);
    *ret_server = server;
    return 0;
}

static void stop_listening(struct rpc_server *server)
{
    if (server->listen_fd < 0)
        return;
    loop_timer_stop(&server->accept_timer);
    loop_watch_release(&server->listen_watch);
    (void)close(server->listen_fd);
    server->listen_fd = -1;
}

void rpc_server_destroy(struct rpc_server *server)
{
    CHECK_OBJ(server, RPC_SERVER_MAGIC);
    CHECK(loop_is_here(server->loop));
    CHECK(server->request_count == 0);
    stop_listening(server);
    LIST_EACH(node, &server->sessions)
    {
        struct rpc_session *session = CONTAINER_OF(node, struct rpc_session, node);
        detach(session);
        rpc_session_release(session);
    }
    while (server->free_requests) {
        struct rpc_request_memory *request = server->free_requests;
        server->free_requests = request->next_free;
        free(request->space);
        free(request);
    }
    bytes_release(&server->scratch);
    server->magic = 0;
    free(server);
}

void rpc_server_quiesce(struct rpc_server *server)
{
    CHECK_OBJ(server, RPC_SERVER_MAGIC);
    server->is_quiet = true;
    stop_listening(server);
    LIST_EACH(node, &server->sessions)
    conn_pause(CONTAINER_OF(node, struct rpc_session, node)->conn);
}

void rpc_server_close(struct rpc_server *server)
{
    rpc_server_quiesce(server);
    LIST_EACH(node, &server->sessions)
    loop_defer_schedule(&CONTAINER_OF(node, struct rpc_session, node)->disconnect);
}

const char *rpc_server_address(const struct rpc_server *server)
{
    return server->address;
}

unsigned rpc_server_connection_count(const struct rpc_server *server)
{
    return server->helloed_count;
}

unsigned rpc_server_request_count(const struct rpc_server *server)
{
    return server->request_count;
}

void rpc_server_disconnect(struct rpc_server *server, uint64_t connection)
{
    CHECK_OBJ(server, RPC_SERVER_MAGIC);
    LIST_EACH(node, &server->sessions)
    {
        struct rpc_session *session = CONTAINER_OF(node, struct rpc_session, node);
        if (session->remote.connection == connection)
            loop_defer_schedule(&session->disconnect);
    }
}
