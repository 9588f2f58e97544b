/* Limits and back-pressure: nothing grows without bound, nothing is lost. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/common/net/fixture.h"

/* A reader that does not read: the server stops taking its requests once the replies pile up,
 * serves others meanwhile, and goes on when it reads. */
static void a_reader_that_does_not_read(void)
{
    enum { CALLS = 64 };
    fixture_serve(&(struct rpc_server_options){.reply_bytes_high = 4 << 20});
    int fd = raw_connect();
    struct bytes out = raw_hello(&f.client_identity);
    struct bytes frame = raw_frame(CODE_BULK, 5, slice_of(NULL, 0), 0);
    raw_send(fd, out.data, out.size);
    CU_ASSERT(wait_for(&f.connected, 1));
    for (int i = 0; i < CALLS; i++)
        raw_send(fd, frame.data, frame.size);
    run_for_ms(100);
    unsigned served = f.served;
    CU_ASSERT(served >= 4 && served <= 16); /* 4 MiB and what the socket buffers hold */
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    (void)call(peer, CODE_ECHO, "", 2000, &o);
    CU_ASSERT(wait_for(&o.good, 1));

    static char sink[1 << 20];
    size_t total = 0;
    for (int i = 0; i < 20000 && f.served < CALLS + 1; i++) {
        ssize_t size = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        total += size > 0 ? (size_t)size : 0;
        run_for_ms(1);
    }
    CU_ASSERT_EQUAL(f.served, CALLS + 1);
    CU_ASSERT(total > 0);
    bytes_release(&out);
    bytes_release(&frame);
    (void)close(fd);
    rpc_peer_destroy(peer);
}

/* More requests than one connection may have in flight: the rest waits and comes in order. */
static void requests_per_connection(void)
{
    fixture_serve(&(struct rpc_server_options){.requests_per_connection = 10});
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    for (int i = 0; i < 200; i++)
        (void)call(peer, CODE_HOLD, "abc", 10000, &o);
    unsigned answered = 0;
    while (answered < 200) {
        run_for_ms(3);
        CU_ASSERT(f.held_count <= 10);
        if (f.held_count == 0 || f.held_count > 10)
            break;
        for (unsigned i = 0; i < f.held_count; i++, answered++)
            rpc_reply(f.held[i], CODE_HOLD, f.held[i]->body, NULL, 0);
        f.held_count = 0;
    }
    CU_ASSERT(wait_for(&o.good, 200));
    rpc_peer_destroy(peer);
}

/* All requests together hold no more than the limit, however many connections send. */
static void request_bytes_in_all(void)
{
    enum { PEERS = 4, EACH = 10 };
    fixture_serve(&(struct rpc_server_options){.request_bytes_max = 3 << 20});
    struct rpc_peer *peers[PEERS];
    struct outcome o = {0};
    struct net_slice payload = {f.bulk, 0, 1 << 20};
    struct rpc_call_options options = {.code = CODE_HOLD, .payload = &payload, .payload_count = 1};
    for (int i = 0; i < PEERS; i++) {
        peers[i] = fixture_peer();
        for (int j = 0; j < EACH; j++)
            (void)rpc_call(peers[i], &options, on_outcome, &o);
    }
    for (int round = 0; round < 2000 && o.count < PEERS * EACH; round++) {
        run_for_ms(2);
        CU_ASSERT(f.held_count <= 3);
        for (unsigned i = 0; i < f.held_count; i++)
            rpc_reply(f.held[i], CODE_HOLD, slice_of(NULL, 0), NULL, 0);
        f.held_count = 0;
    }
    CU_ASSERT_EQUAL(o.good, PEERS * EACH);
    for (int i = 0; i < PEERS; i++)
        rpc_peer_destroy(peers[i]);
}

/* The caller's own limits: too many bytes or calls end with -ERR_LIMIT, the others are answered. */
static void limits_of_the_caller(void)
{
    fixture_serve(NULL);
    struct rpc_peer *peer =
        fixture_peer_with((struct rpc_peer_options){.queued_bytes_max = 5 << 20, .calls_max = 20});
    struct outcome bulk = {0}, small = {0};
    struct net_slice payload = {f.bulk, 0, 1 << 20};
    struct rpc_call_options options = {.code = CODE_SINK, .payload = &payload, .payload_count = 1};
    for (int i = 0; i < 10; i++)
        (void)rpc_call(peer, &options, on_outcome, &bulk);
    CU_ASSERT_EQUAL(bulk.count, 0); /* never from inside the call */
    CU_ASSERT(wait_for(&bulk.count, 10));
    CU_ASSERT(bulk.good >= 4 && bulk.good < 6);
    for (int i = 0; i < 100; i++)
        (void)call(peer, CODE_ECHO, "", 5000, &small);
    CU_ASSERT(wait_for(&small.count, 100));
    CU_ASSERT_EQUAL(small.good, 20);
    rpc_peer_destroy(peer);
}

/* Too many connections are turned away at once; those that are there go on. */
static void connections_in_all(void)
{
    fixture_serve(&(struct rpc_server_options){.connections_max = 3});
    struct rpc_peer *peers[3];
    struct outcome o = {0};
    for (int i = 0; i < 3; i++) {
        peers[i] = fixture_peer();
        (void)call(peers[i], CODE_ECHO, "", 2000, &o);
    }
    CU_ASSERT(wait_for(&o.good, 3));
    int fd = raw_connect();
    CU_ASSERT_TRUE(raw_is_closed(fd, 2000));
    CU_ASSERT_EQUAL(f.rejected, 1);
    CU_ASSERT_EQUAL(f.last_status, -ERR_LIMIT);
    (void)call(peers[0], CODE_ECHO, "", 2000, &o);
    CU_ASSERT(wait_for(&o.good, 4));
    (void)close(fd);
    for (int i = 0; i < 3; i++)
        rpc_peer_destroy(peers[i]);
}

/* Idle connections are closed; one with a request in flight is not. */
static void idle_connections_are_closed(void)
{
    fixture_serve(&(struct rpc_server_options){.idle_timeout_ms = 60});
    struct rpc_peer *busy = fixture_peer(), *idle = fixture_peer();
    struct outcome held = {0}, o = {0};
    (void)call(busy, CODE_HOLD, "", 0, &held);
    (void)call(idle, CODE_ECHO, "", 0, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    CU_ASSERT(wait_for(&f.disconnected, 1));
    run_for_ms(150);
    CU_ASSERT_EQUAL(f.disconnected, 1);
    CU_ASSERT_FALSE(rpc_peer_is_up(idle));
    CU_ASSERT_TRUE(rpc_peer_is_up(busy));
    rpc_peer_destroy(busy);
    rpc_peer_destroy(idle);
}

#define TESTS(T)                   \
    T(a_reader_that_does_not_read) \
    T(requests_per_connection)     \
    T(request_bytes_in_all)        \
    T(limits_of_the_caller)        \
    T(connections_in_all)          \
    T(idle_connections_are_closed)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
extern CU_SuiteInfo suite_rpc_limits;
CU_SuiteInfo suite_rpc_limits = {"net/limits", NULL, NULL, fixture_setup, fixture_teardown, tests};
