/* Finding the leader among fake metaservers that redirect, refuse, stay silent or lie. */
#include <stdio.h>
#include <string.h>

#include "common/net/rpc_leader.h"
#include "tests/unit/common/net/fixture.h"

enum { NODES = 3 };
enum node_kind { NODE_LEADER, NODE_HINTS, NODE_NO_HINT, NODE_SILENT };

static struct node {
    struct rpc_server *server;
    enum node_kind kind;
    char address[64];
    unsigned served;
    int names; /* the node its hint names */
    struct rpc_request *held[64];
    unsigned held_count;
    unsigned listed; /* NODE_LEADER: from this node on the voters of its list; 0 = it has no list */
} nodes[NODES];
static char addresses[NODES][64];
static unsigned changes;

/* The nodes from `listed` - 1 on vote. */
static void answer_list(const struct node *node, struct rpc_request *request)
{
    struct rec_meta_status rows[NODES];
    struct bytes out = {0};
    struct msg_meta_member_r r = {.role = MEMBER_LEADER};
    for (unsigned i = node->listed - 1; i < NODES; i++)
        rows[r.metas.count++] =
            (struct rec_meta_status){.node = i + 1, .address = slice_str(addresses[i]), .voter = 1};
    r.metas.items = rows;
    encode_meta_member_r(&out, &r);
    rpc_reply(request, MSG_meta_member_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

static void serve_node(void *arg, struct rpc_request *request)
{
    struct node *node = arg;
    if (node->kind == NODE_LEADER && node->listed && request->code == MSG_meta_member) {
        answer_list(node, request);
        return;
    }
    node->served++;
    switch (node->kind) {
    case NODE_LEADER:
        rpc_reply(request, request->code, request->body, NULL, 0);
        break;
    case NODE_HINTS:
        rpc_reply_error(request, -ERR_NOT_LEADER, NULL, nodes[node->names].address);
        break;
    case NODE_NO_HINT:
        rpc_reply_error(request, -ERR_NOT_LEADER, NULL, NULL);
        break;
    case NODE_SILENT: /* even its pings: see silent_leader */
        if (node->held_count < 64)
            node->held[node->held_count++] = request;
        else
            rpc_request_drop(request);
    }
}

static void start_node(int i, enum node_kind kind)
{
    struct node *node = &nodes[i];
    node->kind = kind;
    struct rpc_server_options o = {.address = addresses[i][0] ? addresses[i] : "127.0.0.1:0",
                                   .identity = &f.server_identity,
                                   .dispatch = serve_node,
                                   .arg = node};
    CU_ASSERT_EQUAL(rpc_server_create(f.loop, &o, &node->server, NULL), 0);
    (void)snprintf(addresses[i], sizeof addresses[i], "%s", rpc_server_address(node->server));
    (void)snprintf(node->address, sizeof node->address, "%s", addresses[i]);
}

static void stop_node(int i)
{
    for (unsigned j = 0; j < nodes[i].held_count; j++)
        rpc_request_drop(nodes[i].held[j]);
    nodes[i].held_count = 0;
    if (nodes[i].server)
        rpc_server_destroy(nodes[i].server);
    nodes[i].server = NULL;
}

static void setup(void)
{
    fixture_setup();
    memset(nodes, 0, sizeof nodes);
    memset(addresses, 0, sizeof addresses);
    changes = 0;
}

static void teardown(void)
{
    for (int i = 0; i < NODES; i++)
        stop_node(i);
    fixture_teardown();
}

static void on_changed(void *arg, const char *address)
{
    (void)arg;
    (void)address;
    changes++;
}

static struct rpc_leader *make_leader(unsigned count, unsigned try_timeout_ms)
{
    const char *list[NODES] = {addresses[0], addresses[1], addresses[2]};
    struct rpc_leader_options o = {.addresses = list,
                                   .address_count = count,
                                   .identity = &f.client_identity,
                                   .changed = on_changed,
                                   .try_timeout_ms = try_timeout_ms,
                                   .seed = 5};
    return rpc_leader_create(f.loop, &o);
}

static void ask(struct rpc_leader *leader, uint16_t code, unsigned timeout_ms, struct outcome *o)
{
    struct rpc_call_options options = {
        .code = code, .body = slice_str("same bytes"), .deadline_ms = loop_now_ms() + timeout_ms};
    (void)rpc_leader_call(leader, &options, on_outcome, o);
}

/* A hint leads to the leader; all waiting calls go there, and the others are left alone. */
static void hints_are_followed(void)
{
    start_node(0, NODE_HINTS);
    start_node(1, NODE_NO_HINT);
    start_node(2, NODE_LEADER);
    nodes[0].names = 2;
    struct rpc_leader *leader = make_leader(3, 0);
    struct outcome o = {0};
    for (int i = 0; i < 50; i++)
        ask(leader, MSG_ping + 0x7000, 3000, &o);
    CU_ASSERT(wait_for(&o.good, 50));
    CU_ASSERT_EQUAL(nodes[0].served, 1);
    CU_ASSERT_EQUAL(nodes[1].served, 0);
    CU_ASSERT_EQUAL(nodes[2].served, 50);
    CU_ASSERT_STRING_EQUAL(rpc_leader_address(leader), addresses[2]);
    CU_ASSERT_EQUAL(changes, 1);
    rpc_leader_destroy(leader);
}

/* A hint may name a server that is not in the list. */
static void hints_outside_the_list(void)
{
    start_node(0, NODE_HINTS);
    start_node(1, NODE_LEADER);
    nodes[0].names = 1;
    struct rpc_leader *leader = make_leader(1, 0);
    struct outcome o = {0};
    ask(leader, MSG_session_open, 3000, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    rpc_leader_destroy(leader);
}

/* The first server is down, the second knows nothing: the third is found. */
static void the_rest_is_asked_in_turn(void)
{
    for (int i = 0; i < NODES; i++)
        start_node(i, i == 2 ? NODE_LEADER : NODE_NO_HINT);
    stop_node(0);
    struct rpc_leader *leader = make_leader(3, 0);
    struct outcome o = {0};
    uint64_t start_ms = loop_now_ms();
    ask(leader, MSG_session_open, 3000, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    CU_ASSERT(loop_now_ms() - start_ms < 1500);
    rpc_leader_destroy(leader);
}

static void promote(void *arg)
{
    (void)arg;
    nodes[1].kind = NODE_LEADER;
}

/* During an election nobody knows; two name each other; when one is elected the calls succeed. */
static void an_election_is_waited_for(void)
{
    start_node(0, NODE_HINTS);
    start_node(1, NODE_HINTS);
    nodes[0].names = 1;
    nodes[1].names = 0;
    struct rpc_leader *leader = make_leader(2, 0);
    struct loop_timer timer;
    struct outcome o = {0};
    loop_timer_init(&timer, f.loop, promote, NULL);
    loop_timer_start_ms(&timer, 300);
    for (int i = 0; i < 10; i++)
        ask(leader, MSG_session_open, 5000, &o);
    CU_ASSERT(wait_for(&o.good, 10));
    CU_ASSERT(nodes[0].served + nodes[1].served < 100); /* it paused between rounds */
    loop_timer_stop(&timer);
    rpc_leader_destroy(leader);
}

/* The leader dies with calls in flight: those that may be repeated succeed at the next leader, the
 * others report that their fate is unknown. */
static void a_dying_leader_is_replaced(void)
{
    uint16_t safe = MSG_session_open, once = CODE_HOLD; /* unknown codes may not be repeated */
    start_node(0, NODE_LEADER);
    start_node(1, NODE_LEADER);
    struct rpc_leader *leader = make_leader(2, 0);
    struct outcome first = {0}, repeated = {0}, lost = {0};
    CU_ASSERT_TRUE(msg_may_repeat(safe));
    CU_ASSERT_FALSE(msg_may_repeat(once));
    ask(leader, safe, 2000, &first);
    CU_ASSERT(wait_for(&first.good, 1));
    nodes[0].kind = NODE_SILENT;
    for (int i = 0; i < 10; i++) {
        ask(leader, safe, 5000, &repeated);
        ask(leader, once, 5000, &lost);
    }
    CU_ASSERT(wait_for(&nodes[0].served, 21));
    stop_node(0);
    CU_ASSERT(wait_for(&repeated.good, 10));
    CU_ASSERT(wait_for(&lost.count, 10));
    CU_ASSERT_EQUAL(lost.good, 0);
    CU_ASSERT_EQUAL(lost.status, -ERR_CLOSED);
    CU_ASSERT_EQUAL(nodes[1].served, 10);
    CU_ASSERT_EQUAL(changes, 3);
    rpc_leader_destroy(leader);
}

/* A paused leader (not even pings are answered) is left after the try time-out. */
static void a_silent_leader_is_left(void)
{
    start_node(0, NODE_LEADER);
    start_node(1, NODE_LEADER);
    struct rpc_leader *leader = make_leader(2, 200);
    struct outcome o = {0};
    ask(leader, MSG_session_open, 5000, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    rpc_server_quiesce(nodes[0].server); /* it reads nothing any more */
    uint64_t start_ms = loop_now_ms();
    ask(leader, MSG_session_open, 5000, &o);
    CU_ASSERT(wait_for(&o.good, 2));
    CU_ASSERT(loop_now_ms() - start_ms >= 190 && loop_now_ms() - start_ms < 2000);
    CU_ASSERT_EQUAL(nodes[1].served, 1);
    rpc_leader_destroy(leader);
}

/* A slow answer from a leader that answers pings is waited for, not repeated elsewhere. */
static void a_slow_leader_is_waited_for(void)
{
    start_node(0, NODE_SILENT); /* holds requests; the rpc server itself answers pings */
    start_node(1, NODE_LEADER);
    struct rpc_leader *leader = make_leader(2, 700); /* a busy machine may be late with a ping */
    struct outcome o = {0};
    ask(leader, MSG_session_open, 5000, &o);
    CU_ASSERT(wait_for(&nodes[0].served, 1));
    run_for_ms(2000);
    CU_ASSERT_EQUAL(o.count, 0);
    CU_ASSERT_EQUAL(nodes[1].served, 0);
    rpc_reply(nodes[0].held[0], MSG_session_open, slice_of(NULL, 0), NULL, 0);
    nodes[0].held_count = 0;
    CU_ASSERT(wait_for(&o.good, 1));
    rpc_leader_destroy(leader);
}

/* Nobody answers: the time-out lists each address with its problem, close to the deadline. */
static void a_timeout_lists_the_problems(void)
{
    start_node(0, NODE_NO_HINT);
    start_node(1, NODE_NO_HINT);
    stop_node(1);
    struct rpc_leader *leader = make_leader(2, 0);
    struct outcome o = {0};
    uint64_t start_ms = loop_now_ms();
    ask(leader, MSG_session_open, 400, &o);
    CU_ASSERT(wait_for(&o.count, 1));
    CU_ASSERT_EQUAL(o.status, -ERR_TIMEOUT);
    CU_ASSERT(loop_now_ms() - start_ms >= 400 && loop_now_ms() - start_ms < 1500);
    char want[200];
    (void)snprintf(want, sizeof want, "%s is not the leader; %s connection refused", addresses[0],
                   addresses[1]);
    CU_ASSERT_STRING_EQUAL(o.detail, want);
    rpc_leader_destroy(leader);
}

/* A new list: the calls go on with it; destroying cancels what is left. */
static void addresses_can_be_replaced(void)
{
    start_node(0, NODE_SILENT);
    start_node(1, NODE_LEADER);
    struct rpc_leader *leader = make_leader(1, 0);
    struct outcome o = {0}, left = {0};
    ask(leader, MSG_session_open, 5000, &o);
    CU_ASSERT(wait_for(&nodes[0].served, 1));
    const char *list[] = {addresses[1]};
    rpc_leader_set_addresses(leader, list, 1);
    CU_ASSERT(wait_for(&o.good, 1));
    ask(leader, MSG_session_open, 5000, &left);
    rpc_leader_destroy(leader);
    CU_ASSERT_EQUAL(left.count, 1);
    CU_ASSERT_EQUAL(left.status, -ERR_CANCELLED);
}

/* Started with the first address alone: the list of the leader is learnt and outlives it, without a
 * hint from anybody. */
static void the_list_is_learnt(void)
{
    start_node(0, NODE_LEADER);
    start_node(1, NODE_NO_HINT);
    start_node(2, NODE_LEADER);
    nodes[0].listed = 1;
    const char *list[] = {addresses[0]};
    struct rpc_leader_options options = {.addresses = list,
                                         .address_count = 1,
                                         .identity = &f.client_identity,
                                         .follow = true,
                                         .seed = 5};
    struct rpc_leader *leader = rpc_leader_create(f.loop, &options);
    struct outcome o = {0};
    char text[400] = "";
    ask(leader, MSG_session_open, 20000, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    for (unsigned i = 0; i < 500 && !strstr(text, addresses[2]); i++) {
        run_for_ms(20);
        rpc_leader_describe(leader, text, sizeof text);
    }
    stop_node(0);
    ask(leader, MSG_session_open, 20000, &o);
    CU_ASSERT(wait_for(&o.good, 2));
    CU_ASSERT(nodes[2].served >= 1);
    rpc_leader_destroy(leader);
}

#define TESTS(T)                    \
    T(hints_are_followed)           \
    T(hints_outside_the_list)       \
    T(the_rest_is_asked_in_turn)    \
    T(an_election_is_waited_for)    \
    T(a_dying_leader_is_replaced)   \
    T(a_silent_leader_is_left)      \
    T(a_slow_leader_is_waited_for)  \
    T(a_timeout_lists_the_problems) \
    T(addresses_can_be_replaced)    \
    T(the_list_is_learnt)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
extern CU_SuiteInfo suite_leader;
CU_SuiteInfo suite_leader = {"net/leader", NULL, NULL, setup, teardown, tests};
