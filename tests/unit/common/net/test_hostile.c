/* T12: peers that send garbage, lie about lengths, never finish, or belong elsewhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/prng.h"
#include "tests/unit/common/net/fixture.h"

/* The server still serves an honest client. */
static void expect_alive(void)
{
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    (void)call(peer, CODE_ECHO, "alive", 5000, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    rpc_peer_destroy(peer);
}

/* Sends bytes, after a hello when asked; expects to be closed. */
static void expect_closed(bool with_hello, const void *data, size_t size)
{
    int fd = raw_connect();
    if (with_hello) {
        struct bytes hello = raw_hello(&f.client_identity);
        raw_send(fd, hello.data, hello.size);
        bytes_release(&hello);
    }
    raw_send(fd, data, size);
    CU_ASSERT_TRUE(raw_is_closed(fd, 3000));
    (void)close(fd);
}

/* Random bytes close the connection with one event each; the daemon lives (T12). */
static void garbage_is_closed(void)
{
    const char *seed_text = getenv("SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 12;
    struct prng prng;
    uint8_t data[4096];
    prng_init(&prng, seed);
    fixture_serve(NULL);
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned j = 0; j < sizeof data; j++)
            data[j] = (uint8_t)prng_next(&prng);
        expect_closed(i % 2, data, 48 + prng_below(&prng, sizeof data - 48));
    }
    run_for_ms(10);
    if (f.rejected != 20)
        printf("# seed=%llu\n", (unsigned long long)seed);
    CU_ASSERT_EQUAL(f.rejected, 20);
    expect_alive();
}

/* Frames whose header has a good crc and a bad content (T12). */
static void lying_headers_are_closed(void)
{
    fixture_serve(NULL);
    static const struct {
        uint32_t body_size, payload_size;
        uint16_t code;
        bool with_hello;
    } lies[] = {
        {1u << 31, 0, CODE_ECHO, true},
        {UINT32_MAX, UINT32_MAX, CODE_ECHO, true},
        {0, UINT32_MAX, CODE_ECHO, true},
        {FRAME_BODY_MAX + 1, 0, CODE_ECHO, true},
        {0, FRAME_PAYLOAD_MAX + 1, 0x7001, true},
        {4097, 0, MSG_hello, false},
        {0, 1, MSG_hello, false},
        {0, 0, CODE_ECHO, false},
        {0, 0, MSG_hello, true}, /* a second hello */
    };
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t bytes[FRAME_HEADER_SIZE];
        struct frame_header h = {.version = 1,
                                 .code = lies[i].code,
                                 .request_id = 9,
                                 .body_size = lies[i].body_size,
                                 .payload_size = lies[i].payload_size};
        frame_pack(&h, bytes);
        expect_closed(lies[i].with_hello, bytes, sizeof bytes);
    }
    struct bytes frame = raw_frame(CODE_ECHO, 9, slice_str("some body"), 0);
    frame.data[FRAME_HEADER_SIZE] ^= 1;
    expect_closed(true, frame.data, frame.size); /* a body that does not match its crc */
    bytes_release(&frame);
    expect_alive();
    CU_ASSERT_EQUAL(f.served, 1);
}

/* A hello and a request cut off at every byte: never served in part, never a crash (T12). */
static void truncated_at_every_byte(void)
{
    fixture_serve(NULL);
    struct bytes all = raw_hello(&f.client_identity);
    size_t hello_size = all.size;
    struct bytes frame = raw_frame(CODE_ECHO, 7, slice_str("request"), 100);
    uint8_t payload[100] = {0};
    bytes_append(&all, frame.data, frame.size);
    bytes_append(&all, payload, sizeof payload);
    for (size_t cut = 0; cut < all.size; cut++) {
        int fd = raw_connect();
        raw_send(fd, all.data, cut);
        run_for_ms(1);
        (void)close(fd);
    }
    CU_ASSERT(wait_for(&f.disconnected, (unsigned)(all.size - hello_size)));
    CU_ASSERT_EQUAL(f.served, 0);
    bytes_release(&all);
    bytes_release(&frame);
    expect_alive();
}

/* The same bytes one at a time are served (T12). */
static void byte_by_byte_is_served(void)
{
    fixture_serve(NULL);
    struct bytes all = raw_hello(&f.client_identity);
    for (int i = 0; i < 3; i++) {
        struct bytes frame = raw_frame(CODE_ECHO, 7, slice_str("request"), 10);
        bytes_append(&frame, "0123456789", 10);
        bytes_append(&all, frame.data, frame.size);
        bytes_release(&frame);
    }
    int fd = raw_connect();
    for (size_t i = 0; i < all.size; i++) {
        raw_send(fd, all.data + i, 1);
        run_for_ms(1);
    }
    CU_ASSERT(wait_for(&f.served, 3));
    bytes_release(&all);
    (void)close(fd);
}

/* No hello in time, and a frame that never ends: closed (T12). */
static void slow_peers_are_closed(void)
{
    fixture_serve(&(struct rpc_server_options){.hello_timeout_ms = 80, .stall_timeout_ms = 100});
    int mute = raw_connect(), slow = raw_connect();
    struct bytes hello = raw_hello(&f.client_identity);
    struct bytes frame = raw_frame(CODE_ECHO, 7, slice_str("request"), 0);
    raw_send(slow, hello.data, hello.size);
    raw_send(slow, frame.data, frame.size - 1);
    CU_ASSERT_TRUE(raw_is_closed(mute, 3000));
    CU_ASSERT_TRUE(raw_is_closed(slow, 3000));
    CU_ASSERT_EQUAL(f.served, 0);
    CU_ASSERT_EQUAL(f.disconnected, 1);
    CU_ASSERT_EQUAL(f.rejected, 1);
    bytes_release(&hello);
    bytes_release(&frame);
    (void)close(mute);
    (void)close(slow);
}

/* Half-open connections are limited in number; honest clients come through afterwards (T12). */
static void half_open_connections_are_limited(void)
{
    enum { COUNT = 40 };
    int fds[COUNT];
    fixture_serve(
        &(struct rpc_server_options){.connections_unhelloed_max = 8, .hello_timeout_ms = 100});
    for (int i = 0; i < COUNT; i++)
        fds[i] = raw_connect();
    CU_ASSERT(wait_for(&f.rejected, COUNT));
    for (int i = 0; i < COUNT; i++)
        (void)close(fds[i]);
    expect_alive();
}

/* Another cluster is refused with its reason on both ends; a client that knows none learns it;
 * a server that knows none is refused. */
static void clusters_do_not_mix(void)
{
    fixture_serve(NULL);
    struct rpc_identity other = f.client_identity, unknown = f.client_identity;
    struct rpc_identity server = f.client_identity;
    struct outcome o = {0};
    memset(&other.cluster, 9, sizeof other.cluster);
    memset(&unknown.cluster, 0, sizeof unknown.cluster);
    memset(&server.cluster, 0, sizeof server.cluster);
    server.role = ROLE_CHUNK;
    const struct rpc_identity *refused[] = {&other, &server};
    for (unsigned i = 0; i < 2; i++) {
        struct rpc_peer *peer =
            fixture_peer_with((struct rpc_peer_options){.identity = refused[i]});
        (void)call(peer, CODE_ECHO, "", 5000, &o);
        CU_ASSERT(wait_for(&o.count, i + 1));
        CU_ASSERT_EQUAL(o.status, -ERR_WRONG_CLUSTER);
        rpc_peer_destroy(peer);
    }
    CU_ASSERT(wait_for(&f.rejected, 2));
    CU_ASSERT_EQUAL(f.last_status, -ERR_WRONG_CLUSTER);
    struct rpc_peer *peer = fixture_peer_with((struct rpc_peer_options){.identity = &unknown});
    (void)call(peer, CODE_ECHO, "", 5000, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    CU_ASSERT_EQUAL(memcmp(&rpc_peer_remote(peer)->cluster, &f.server_identity.cluster, 16), 0);
    rpc_peer_destroy(peer);
}

#define TESTS(T)                         \
    T(garbage_is_closed)                 \
    T(lying_headers_are_closed)          \
    T(truncated_at_every_byte)           \
    T(byte_by_byte_is_served)            \
    T(slow_peers_are_closed)             \
    T(half_open_connections_are_limited) \
    T(clusters_do_not_mix)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
extern CU_SuiteInfo suite_hostile;
CU_SuiteInfo suite_hostile = {"net/hostile", NULL, NULL, fixture_setup, fixture_teardown, tests};
