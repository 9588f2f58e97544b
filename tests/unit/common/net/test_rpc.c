/* Calls, replies, deadlines, reconnecting. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "tests/unit/common/net/fixture.h"

/* A call brings back body, code and table version; an error brings its code and detail. */
static void a_call_is_answered(void)
{
    fixture_serve(NULL);
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    (void)call(peer, CODE_ECHO, "hello", 1000, &o);
    CU_ASSERT_EQUAL(o.count, 0);
    CU_ASSERT(wait_for(&o.count, 1));
    CU_ASSERT_EQUAL(o.status, 0);
    CU_ASSERT_EQUAL(o.code, CODE_ECHO);
    CU_ASSERT_EQUAL(o.body_size, 5);
    CU_ASSERT_EQUAL(o.body_crc, checksum_crc32(0, "hello", 5));
    CU_ASSERT_EQUAL(o.table_version, 77);
    CU_ASSERT_EQUAL(rpc_peer_remote(peer)->instance, 11);
    (void)call(peer, CODE_ERROR, "", 1000, &o);
    CU_ASSERT(wait_for(&o.count, 2));
    CU_ASSERT_EQUAL(o.status, -ERR_NO_SPACE);
    CU_ASSERT_STRING_EQUAL(o.detail, "disk full");
    CU_ASSERT_EQUAL(f.connected, 1);
    rpc_peer_destroy(peer);
}

static struct buf *random_buf(struct prng *prng, uint32_t size)
{
    struct buf *b = buf_create(size);
    for (uint32_t i = 0; i < size; i++)
        b->data[i] = (uint8_t)(prng_next(prng) >> 32);
    return b;
}

/* Bodies and payloads of all sizes, in several parts and many at a time, come back unchanged. */
static void payloads_come_back(void)
{
    static const uint32_t sizes[] = {0,
                                     1,
                                     47,
                                     48,
                                     2047,
                                     2048,
                                     2049,
                                     4096,
                                     65487,
                                     65488,
                                     65536,
                                     65537,
                                     99999,
                                     1 << 20,
                                     3 << 20,
                                     4 << 20,
                                     (4 << 20) + 65536};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    static struct outcome outcomes[COUNT * 3];
    uint32_t crcs[COUNT * 3], body_crcs[COUNT * 3];
    memset(outcomes, 0, sizeof outcomes);
    const char *seed_text = getenv("SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 7;
    struct prng prng;
    prng_init(&prng, seed);
    fixture_serve(NULL);
    struct rpc_peer *peer =
        fixture_peer_with((struct rpc_peer_options){.queued_bytes_max = 1u << 30});
    for (unsigned i = 0; i < COUNT * 3; i++) {
        uint32_t size = sizes[(i * 7) % COUNT];
        uint32_t body_size = i % 3 == 0 ? sizes[i % COUNT] / 2 : (uint32_t)prng_below(&prng, 300);
        struct buf *payload = random_buf(&prng, size), *body = random_buf(&prng, body_size);
        uint32_t cut = size / 3;
        struct net_slice parts[2] = {{payload, 0, cut}, {payload, cut, size - cut}};
        crcs[i] = size ? checksum_crc32(0, payload->data, size) : 0;
        body_crcs[i] = body_size ? checksum_crc32(0, body->data, body_size) : 0;
        struct rpc_call_options o = {.code = CODE_ECHO,
                                     .body = slice_of(body->data, body_size),
                                     .payload = parts,
                                     .payload_count = 2};
        (void)rpc_call(peer, &o, on_outcome, &outcomes[i]);
        buf_unref(payload);
        buf_unref(body);
    }
    for (unsigned i = 0; i < COUNT * 3; i++) {
        CU_ASSERT(wait_for(&outcomes[i].count, 1));
        bool same = outcomes[i].status == 0 && outcomes[i].payload_crc == crcs[i] &&
                    outcomes[i].body_crc == body_crcs[i] &&
                    outcomes[i].payload_size == sizes[(i * 7) % COUNT];
        CU_ASSERT(same);
        if (!same)
            printf("# seed=%llu call %u\n", (unsigned long long)seed, i);
    }
    rpc_peer_destroy(peer);
}

/* 10,000 calls made at once are answered once each. */
static void ten_thousand_pipelined_calls(void)
{
    fixture_serve(NULL);
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    for (int i = 0; i < 10000; i++)
        (void)call(peer, CODE_ECHO, "0123456789", 15000, &o);
    CU_ASSERT(wait_for(&o.good, 10000));
    run_for_ms(20);
    CU_ASSERT_EQUAL(o.count, 10000);
    CU_ASSERT_EQUAL(rpc_peer_call_count(peer), 0);
    rpc_peer_destroy(peer);
}

/* A call that is not answered ends at its deadline, a later answer is ignored, others go on. */
static void deadlines_end_calls(void)
{
    fixture_serve(NULL);
    struct rpc_peer *peer = fixture_peer();
    struct outcome quick = {0}, slow = {0}, other = {0};
    uint64_t start_ms = loop_now_ms();
    (void)call(peer, CODE_HOLD, "", 5000, &slow);
    (void)call(peer, CODE_HOLD, "", 60, &quick);
    CU_ASSERT(wait_for(&quick.count, 1));
    CU_ASSERT_EQUAL(quick.status, -ERR_TIMEOUT);
    CU_ASSERT(loop_now_ms() >= start_ms + 60 && loop_now_ms() < start_ms + 2000);
    CU_ASSERT_EQUAL(f.held_count, 2);
    rpc_reply(f.held[1], CODE_HOLD, slice_of(NULL, 0), NULL, 0);
    rpc_reply(f.held[0], CODE_HOLD, slice_of(NULL, 0), NULL, 0);
    f.held_count = 0;
    (void)call(peer, CODE_ECHO, "", 1000, &other);
    CU_ASSERT(wait_for(&other.count, 1));
    CU_ASSERT_EQUAL(slow.good, 1);
    CU_ASSERT_EQUAL(quick.count, 1);
    rpc_peer_destroy(peer);
}

/* The callback of a cancelled call does not come, whether it was sent or not. */
static void cancelled_calls_stay_silent(void)
{
    fixture_serve(NULL);
    struct rpc_peer *peer = fixture_peer();
    struct outcome gone = {0}, o = {0};
    uint64_t unsent = call(peer, CODE_ECHO, "", 0, &gone);
    CU_ASSERT_TRUE(rpc_cancel(peer, unsent));
    CU_ASSERT_FALSE(rpc_cancel(peer, unsent));
    (void)call(peer, CODE_ECHO, "", 0, &o);
    CU_ASSERT(wait_for(&o.count, 1));
    uint64_t sent = call(peer, CODE_ECHO, "", 0, &gone);
    CU_ASSERT_TRUE(rpc_cancel(peer, sent));
    (void)call(peer, CODE_ECHO, "", 0, &o);
    CU_ASSERT(wait_for(&o.count, 2));
    CU_ASSERT_EQUAL(gone.count, 0);
    rpc_peer_destroy(peer);
}

/* Nobody listens: calls end with UNREACHABLE and the reason; once somebody does, they succeed. */
static void unreachable_then_reconnected(void)
{
    char address[64];
    fixture_serve(NULL);
    (void)snprintf(address, sizeof address, "%s", rpc_server_address(f.server));
    fixture_stop_server();
    struct rpc_peer *peer = fixture_peer_with((struct rpc_peer_options){.address = address});
    struct outcome o = {0};
    (void)call(peer, CODE_ECHO, "", 5000, &o);
    CU_ASSERT(wait_for(&o.count, 1));
    CU_ASSERT_EQUAL(o.status, -ERR_UNREACHABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(o.detail, "connection refused"));
    CU_ASSERT_PTR_NOT_NULL(strstr(o.detail, address));
    fixture_serve(&(struct rpc_server_options){.address = address});
    (void)call(peer, CODE_ECHO, "", 5000, &o);
    CU_ASSERT(wait_for(&o.count, 2));
    CU_ASSERT_EQUAL(o.status, 0);
    rpc_peer_destroy(peer);
}

static unsigned ups, downs;
static void on_state(void *arg, struct rpc_peer *peer, bool is_up, const char *why)
{
    (void)arg;
    (void)peer;
    (void)why;
    ups += is_up;
    downs += !is_up;
}

/* The server dies in the middle: each call ends exactly once, then the peer comes back by itself.
 */
static void peer_killed_in_the_middle(void)
{
    char address[64];
    ups = downs = 0;
    fixture_serve(NULL);
    (void)snprintf(address, sizeof address, "%s", rpc_server_address(f.server));
    struct rpc_peer *peer =
        fixture_peer_with((struct rpc_peer_options){.state = on_state, .keep_connected = true});
    CU_ASSERT(wait_for(&ups, 1));
    struct outcome o = {0};
    for (int i = 0; i < 500; i++)
        (void)call(peer, i % 2 ? CODE_HOLD : CODE_BULK, "x", 10000, &o);
    run_for_ms(3);
    fixture_stop_server();
    CU_ASSERT(wait_for(&o.count, 500));
    CU_ASSERT_EQUAL(o.status, -ERR_CLOSED);
    CU_ASSERT_EQUAL(downs, 1);
    fixture_serve(&(struct rpc_server_options){.address = address});
    CU_ASSERT(wait_for(&ups, 2));
    run_for_ms(20);
    CU_ASSERT_EQUAL(o.count, 500);
    CU_ASSERT_EQUAL(rpc_peer_generation(peer), 2);
    rpc_peer_destroy(peer);
}

/* Answers to a connection that is gone go into the void. */
static void late_answers_go_into_the_void(void)
{
    fixture_serve(NULL);
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    (void)call(peer, CODE_HOLD, "body that stays valid", 0, &o);
    CU_ASSERT(wait_for(&f.held_count, 1));
    rpc_peer_destroy(peer);
    CU_ASSERT_EQUAL(o.status, -ERR_CANCELLED);
    CU_ASSERT(wait_for(&f.disconnected, 1));
    CU_ASSERT(slice_equal(f.held[0]->body, slice_str("body that stays valid")));
    CU_ASSERT_EQUAL(f.held[0]->remote->identity.instance, 22);
    rpc_reply(f.held[0], CODE_HOLD, slice_str("nobody listens"), NULL, 0);
    f.held_count = 0;
    CU_ASSERT_EQUAL(rpc_server_request_count(f.server), 0);
}

/* One-way frames arrive in order with calls and are not answered. */
static void oneway_frames_arrive(void)
{
    fixture_serve(NULL);
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    struct rpc_call_options oneway = {.code = CODE_SINK, .body = slice_str("x")};
    CU_ASSERT_EQUAL(rpc_peer_send(peer, &oneway), -ERR_CLOSED);
    CU_ASSERT(wait_for(&f.connected, 1));
    (void)call(peer, CODE_ECHO, "", 0, &o);
    CU_ASSERT(wait_for(&o.count, 1));
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(rpc_peer_send(peer, &oneway), 0);
    (void)call(peer, CODE_ECHO, "", 0, &o);
    CU_ASSERT(wait_for(&o.count, 2));
    CU_ASSERT_EQUAL(f.served, 12);
    rpc_peer_destroy(peer);
}

/* A name instead of an address is looked up off the loop. */
static void names_are_resolved(void)
{
    char address[64];
    fixture_serve(NULL);
    (void)snprintf(address, sizeof address, "ip4-loopback.invalid:%s",
                   strrchr(rpc_server_address(f.server), ':') + 1);
    struct rpc_peer *peer = fixture_peer_with((struct rpc_peer_options){.address = address});
    struct outcome o = {0};
    (void)call(peer, CODE_ECHO, "", 15000, &o);
    CU_ASSERT(wait_for(&o.count, 1));
    CU_ASSERT(o.status == -ERR_UNREACHABLE || o.status == -ERR_TIMEOUT);
    rpc_peer_destroy(peer);
}

static struct rpc_peer *doomed;
static void destroy_peer(void *arg, struct rpc_reply *reply)
{
    struct rpc_peer *peer = doomed;
    on_outcome(arg, reply);
    doomed = NULL;
    if (peer)
        rpc_peer_destroy(peer);
}

/* A callback may destroy its own peer, with others still unanswered: those are cancelled, once. */
static void destroyed_from_a_callback(void)
{
    fixture_serve(NULL);
    doomed = fixture_peer();
    struct outcome o = {0};
    struct rpc_call_options options = {.code = CODE_ECHO};
    for (int i = 0; i < 5; i++)
        (void)rpc_call(doomed, &options, destroy_peer, &o);
    CU_ASSERT(wait_for(&o.count, 5));
    run_for_ms(10);
    CU_ASSERT_EQUAL(o.count, 5);
    CU_ASSERT_EQUAL(o.good, 1);
}

#define TESTS(T)                     \
    T(a_call_is_answered)            \
    T(payloads_come_back)            \
    T(ten_thousand_pipelined_calls)  \
    T(deadlines_end_calls)           \
    T(cancelled_calls_stay_silent)   \
    T(unreachable_then_reconnected)  \
    T(peer_killed_in_the_middle)     \
    T(late_answers_go_into_the_void) \
    T(oneway_frames_arrive)          \
    T(names_are_resolved)            \
    T(destroyed_from_a_callback)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
extern CU_SuiteInfo suite_rpc;
CU_SuiteInfo suite_rpc = {"net/rpc", NULL, NULL, fixture_setup, fixture_teardown, tests};
