/* Prints what a call costs: calls/s and CPU-us per call at several depths, GiB/s and CPU-s/GiB for
 * 1 MiB payloads each way. Client and server each run a loop on a thread of their own, or both on
 * one (`--one`), over loopback TCP. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "common/net/loop.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_server.h"
#include "common/wire/types.h"
#include "common/base/banned.h"

enum { CODE_SMALL = 0x7001, CODE_READ, CODE_WRITE, BULK_SIZE = 1 << 20 };

struct bench {
    struct loop *server_loop, *client_loop;
    struct rpc_server *server;
    struct rpc_peer *peer;
    char address[64];
    pthread_barrier_t ready;
    struct buf *bulk;

    uint16_t code;
    unsigned depth, in_flight;
    uint64_t done, end_ms;
};

static const struct rpc_identity identity = {.cluster = {{1}}, .role = ROLE_CLIENT};
static uint8_t small_body[128];

static void serve(void *arg, struct rpc_request *request)
{
    struct bench *b = arg;
    struct net_slice bulk = {b->bulk, 0, BULK_SIZE};
    rpc_reply(request, request->code, slice_of(small_body, sizeof small_body), &bulk,
              request->code == CODE_READ ? 1 : 0);
}

static void start_server(struct bench *b)
{
    struct rpc_server_options options = {
        .address = "127.0.0.1:0", .identity = &identity, .dispatch = serve, .arg = b};
    struct err_text why;
    b->server_loop = loop_create();
    CHECK(rpc_server_create(b->server_loop, &options, &b->server, &why) == 0);
    (void)snprintf(b->address, sizeof b->address, "%s", rpc_server_address(b->server));
}

static void *server_main(void *arg)
{
    struct bench *b = arg;
    start_server(b);
    (void)pthread_barrier_wait(&b->ready);
    loop_run(b->server_loop);
    rpc_server_destroy(b->server);
    loop_destroy(b->server_loop);
    return NULL;
}

static void on_reply(void *arg, struct rpc_reply *reply);

static void call(struct bench *b)
{
    struct net_slice bulk = {b->bulk, 0, BULK_SIZE};
    struct rpc_call_options options = {.code = b->code,
                                       .body = slice_of(small_body, 64),
                                       .payload = &bulk,
                                       .payload_count = b->code == CODE_WRITE ? 1 : 0,
                                       .deadline_ms = b->end_ms + 10000};
    b->in_flight++;
    (void)rpc_call(b->peer, &options, on_reply, b);
}

static void on_reply(void *arg, struct rpc_reply *reply)
{
    struct bench *b = arg;
    CHECK(reply->status == 0);
    b->in_flight--;
    b->done++;
    if (loop_tick_ms(b->client_loop) < b->end_ms)
        call(b);
    else if (b->in_flight == 0)
        loop_stop(b->client_loop);
}

static double cpu_seconds(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void measure(struct bench *b, const char *name, uint16_t code, unsigned depth)
{
    b->code = code;
    b->depth = depth;
    b->done = 0;
    double cpu = cpu_seconds();
    uint64_t start_us = loop_now_us();
    b->end_ms = loop_now_ms() + 1000;
    for (unsigned i = 0; i < depth; i++)
        call(b);
    loop_run(b->client_loop);
    double seconds = (double)(loop_now_us() - start_us) * 1e-6;
    cpu = cpu_seconds() - cpu;
    double count = (double)b->done;
    if (code == CODE_SMALL) {
        printf("%-6s depth %3u: %9.0f calls/s  %6.2f CPU-us/call (both ends)\n", name, depth,
               count / seconds, cpu * 1e6 / count);
    } else {
        double gib = count * BULK_SIZE / (1u << 30);
        printf("%-6s depth %3u: %9.2f GiB/s    %6.3f CPU-s/GiB (both ends)\n", name, depth,
               gib / seconds, cpu / gib);
    }
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct bench b;
    bool one = argc > 1 && strcmp(argv[1], "--one") == 0;
    pthread_t thread;
    b.bulk = buf_create(BULK_SIZE);
    memset(b.bulk->data, 1, BULK_SIZE);
    if (one) {
        start_server(&b);
        b.client_loop = b.server_loop;
    } else {
        CHECK(pthread_barrier_init(&b.ready, NULL, 2) == 0);
        CHECK(pthread_create(&thread, NULL, server_main, &b) == 0);
        (void)pthread_barrier_wait(&b.ready);
        b.client_loop = loop_create();
    }
    struct rpc_peer_options options = {.address = b.address, .identity = &identity};
    b.peer = rpc_peer_create(b.client_loop, &options);
    printf("%s\n", one ? "both ends on one loop" : "a thread for each end");
    measure(&b, "small", CODE_SMALL, 1);
    measure(&b, "small", CODE_SMALL, 16);
    measure(&b, "small", CODE_SMALL, 64);
    measure(&b, "read", CODE_READ, 1);
    measure(&b, "read", CODE_READ, 4);
    measure(&b, "write", CODE_WRITE, 1);
    measure(&b, "write", CODE_WRITE, 4);
    rpc_peer_destroy(b.peer);
    if (one) {
        rpc_server_destroy(b.server);
    } else {
        loop_stop(b.server_loop);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    loop_destroy(b.client_loop);
    buf_unref(b.bulk);
    return EXIT_SUCCESS;
}
