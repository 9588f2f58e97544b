/* What the net tests share. */
#include "tests/unit/common/net/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/net/sock.h"

struct fixture f;

static void dispatch(void *arg, struct rpc_request *request)
{
    (void)arg;
    f.served++;
    struct net_slice payload = {request->payload, 0, request->payload_size};
    switch (request->code) {
    case CODE_ECHO:
        rpc_reply(request, CODE_ECHO, request->body, &payload, request->payload ? 1 : 0);
        break;
    case CODE_HOLD:
        CHECK(f.held_count < HELD_MAX);
        f.held[f.held_count++] = request;
        break;
    case CODE_BULK:
        payload = (struct net_slice){f.bulk, 0, 1 << 20};
        rpc_reply(request, CODE_BULK, slice_of(NULL, 0), &payload, 1);
        break;
    case CODE_ERROR:
        rpc_reply_error(request, -ERR_NO_SPACE, "disk full", "10.0.0.1:7001");
        break;
    default:
        rpc_reply(request, request->code, slice_of(NULL, 0), NULL, 0);
    }
}

static void event(void *arg, enum rpc_server_event what, const struct rpc_remote *remote,
                  int status, const char *why)
{
    (void)arg;
    (void)remote;
    f.connected += what == RPC_SERVER_CONNECTED;
    f.disconnected += what == RPC_SERVER_DISCONNECTED;
    f.rejected += what == RPC_SERVER_REJECTED;
    if (what == RPC_SERVER_CONNECTED)
        return;
    f.last_status = status;
    (void)snprintf(f.last_why, sizeof f.last_why, "%s", why);
}

static uint64_t table_version(void *arg)
{
    (void)arg;
    return 77;
}

void fixture_setup(void)
{
    f = (struct fixture){.loop = loop_create()};
    f.server_identity =
        (struct rpc_identity){.cluster = {{1, 2, 3}}, .role = ROLE_META, .node = 1, .instance = 11};
    f.client_identity = (struct rpc_identity){
        .cluster = {{1, 2, 3}}, .role = ROLE_CLIENT, .node = 0, .instance = 22};
    f.bulk = buf_create(1 << 20);
    memset(f.bulk->data, 0x5a, 1 << 20);
}

void fixture_teardown(void)
{
    fixture_stop_server();
    buf_unref(f.bulk);
    loop_destroy(f.loop);
}

void fixture_serve(const struct rpc_server_options *options)
{
    struct rpc_server_options o = {0};
    struct err_text why = {""};
    if (options)
        o = *options;
    if (!o.address)
        o.address = "127.0.0.1:0";
    if (!o.dispatch)
        o.dispatch = dispatch;
    o.identity = &f.server_identity;
    o.event = event;
    o.table_version = table_version;
    int status = rpc_server_create(f.loop, &o, &f.server, &why);
    CU_ASSERT_EQUAL(status, 0);
    if (status)
        fprintf(stderr, "%s\n", why.text);
}

void fixture_stop_server(void)
{
    for (unsigned i = 0; i < f.held_count; i++)
        rpc_request_drop(f.held[i]);
    f.held_count = 0;
    if (f.server)
        rpc_server_destroy(f.server);
    f.server = NULL;
}

struct rpc_peer *fixture_peer_with(struct rpc_peer_options options)
{
    if (!options.address)
        options.address = rpc_server_address(f.server);
    if (!options.identity)
        options.identity = &f.client_identity;
    return rpc_peer_create(f.loop, &options);
}

struct rpc_peer *fixture_peer(void)
{
    return fixture_peer_with((struct rpc_peer_options){.address = NULL});
}

/* ---- waiting ---- */

struct waiting {
    struct loop_timer timer;
    const unsigned *count;
    unsigned want;
    uint64_t end_ms;
    bool reached;
};

static void look(void *arg)
{
    struct waiting *w = arg;
    w->reached = w->count && *w->count >= w->want;
    if (w->reached || loop_now_ms() >= w->end_ms)
        loop_stop(w->timer.loop);
    else
        loop_timer_start_ms(&w->timer, 1);
}

static bool wait_until(const unsigned *count, unsigned want, unsigned ms)
{
    struct waiting w = {.count = count, .want = want, .end_ms = loop_now_ms() + ms};
    loop_timer_init(&w.timer, f.loop, look, &w);
    loop_timer_start_ms(&w.timer, 0);
    loop_run(f.loop);
    loop_timer_stop(&w.timer);
    return w.reached;
}

bool wait_for(const unsigned *count, unsigned want)
{
    return wait_until(count, want, 20000);
}

void run_for_ms(unsigned ms)
{
    (void)wait_until(NULL, 0, ms);
}

/* ---- calls ---- */

void on_outcome(void *arg, struct rpc_reply *reply)
{
    struct outcome *o = arg;
    o->count++;
    o->good += reply->status == 0;
    o->status = reply->status;
    o->code = reply->code;
    (void)snprintf(o->detail, sizeof o->detail, "%s", reply->detail);
    o->body_size = reply->body.size;
    o->payload_size = reply->payload_size;
    o->body_crc = reply->body.size ? checksum_crc32(0, reply->body.data, reply->body.size) : 0;
    o->payload_crc =
        reply->payload ? checksum_crc32(0, reply->payload->data, reply->payload_size) : 0;
    o->table_version = reply->table_version;
}

uint64_t call(struct rpc_peer *peer, uint16_t code, const char *body, unsigned timeout_ms,
              struct outcome *outcome)
{
    struct rpc_call_options options = {.code = code,
                                       .body = slice_str(body),
                                       .deadline_ms = timeout_ms ? loop_now_ms() + timeout_ms : 0};
    return rpc_call(peer, &options, on_outcome, outcome);
}

/* ---- raw sockets ---- */

int raw_connect(void)
{
    struct sock_address address;
    CHECK(sock_parse(rpc_server_address(f.server), &address, NULL) == 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (struct sockaddr *)&address.storage, address.size) == 0);
    return fd;
}

void raw_send(int fd, const void *data, size_t size)
{
    (void)!send(fd, data, size, MSG_NOSIGNAL);
}

struct bytes raw_frame(uint16_t code, uint64_t id, struct slice body, uint32_t payload_size)
{
    struct bytes out = {0};
    struct frame_header h = {.version = WIRE_VERSION,
                             .code = code,
                             .request_id = id,
                             .body_size = (uint32_t)body.size,
                             .payload_size = payload_size,
                             .body_crc = frame_body_crc(body)};
    bytes_reserve(&out, FRAME_HEADER_SIZE);
    frame_pack(&h, out.data);
    out.size = FRAME_HEADER_SIZE;
    bytes_append(&out, body.data, body.size);
    return out;
}

struct bytes raw_hello(const struct rpc_identity *who)
{
    struct bytes body = {0};
    struct msg_hello hello = {
        .cluster = who->cluster, .role = who->role, .node = who->node, .instance = who->instance};
    encode_hello(&body, &hello);
    struct bytes frame = raw_frame(MSG_hello, 1, bytes_slice(&body), 0);
    bytes_release(&body);
    return frame;
}

bool raw_is_closed(int fd, unsigned within_ms)
{
    char data[4096];
    for (unsigned waited_ms = 0; waited_ms < within_ms; waited_ms += 5) {
        run_for_ms(5);
        ssize_t size = recv(fd, data, sizeof data, MSG_DONTWAIT);
        if (size == 0 || (size < 0 && errno != EAGAIN))
            return true;
    }
    return false;
}
