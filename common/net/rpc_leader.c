/* Calls that go to the metadata leader: making, ending, sending again. Finding is in leader_find.c.
 */
#include "common/net/rpc_leader.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/rpc_leader_internal.h"
#include "common/wire/codec.h"
#include "common/base/banned.h"

enum {
    FREE_CALLS_MAX = 1024,
    BODY_KEPT = 4096, /* larger body space is given back */
    SWEEP_MIN_MS = 4,
};

void leader_enter(struct rpc_leader *leader)
{
    leader->depth++;
}

static void free_calls(struct list *calls)
{
    LIST_EACH(node, calls)
    {
        struct leader_call *call = CONTAINER_OF(node, struct leader_call, node);
        list_remove(node);
        bytes_release(&call->body);
        free(call);
    }
}

bool leader_leave(struct rpc_leader *leader)
{
    CHECK(leader->depth > 0);
    if (--leader->depth > 0 || !leader->is_doomed)
        return !leader->is_doomed;
    CHECK(leader->call_count == 0);
    free_calls(&leader->free_calls);
    leader->magic = 0;
    free(leader);
    return false;
}

/* ---- ends ---- */

static void finish(struct leader_call *call, struct rpc_reply *reply)
{
    struct rpc_leader *leader = call->leader;
    rpc_reply_fn *fn = call->fn;
    void *arg = call->arg;
    list_remove(&call->node);
    leader->call_count--;
    leader->waiting_count -= call->try_id == 0;
    leader->bytes -= call->body.size;
    if (call->body.capacity > BODY_KEPT)
        bytes_release(&call->body);
    if (leader->free_count < FREE_CALLS_MAX) {
        list_prepend(&leader->free_calls, &call->node);
        leader->free_count++;
    } else {
        bytes_release(&call->body);
        free(call);
    }
    if (fn)
        fn(arg, reply);
}

static void fail(struct leader_call *call, int status, const char *detail)
{
    struct rpc_reply reply = {.status = status, .detail = detail, .leader = ""};
    finish(call, &reply);
}

static void set_waiting(struct leader_call *call)
{
    CHECK(call->try_id != 0);
    call->try_id = 0;
    call->server = NULL;
    call->leader->waiting_count++;
    loop_defer_schedule(&call->leader->advance);
}

void leader_drop_tries(struct rpc_leader *leader, struct leader_server *server)
{
    LIST_EACH(node, &leader->calls)
    {
        struct leader_call *call = CONTAINER_OF(node, struct leader_call, node);
        if (call->server == server && msg_may_repeat(call->code)) {
            (void)rpc_cancel(server->peer, call->try_id);
            set_waiting(call);
        }
    }
}

/* ---- tries ---- */

/* What a try's end says about the call. */
enum verdict { VERDICT_FINAL, VERDICT_NOT_RUN, VERDICT_UNKNOWN };

static enum verdict judge(const struct rpc_reply *reply)
{
    if (reply->is_remote)
        return reply->status == -ERR_NOT_LEADER ? VERDICT_NOT_RUN : VERDICT_FINAL;
    switch (-reply->status) {
    case ERR_UNREACHABLE:
    case ERR_WRONG_CLUSTER:
    case ERR_CONFIG:
        return VERDICT_NOT_RUN;
    case ERR_LIMIT:
        return VERDICT_FINAL;
    default:
        return VERDICT_UNKNOWN;
    }
}

static void on_try_reply(void *arg, struct rpc_reply *reply)
{
    struct leader_call *call = arg;
    struct rpc_leader *leader = call->leader;
    struct leader_server *server = call->server;
    enum verdict verdict = judge(reply);
    leader_enter(leader);
    if (leader->is_doomed) {
        fail(call, -ERR_CANCELLED, "the connection to the metaservers is being shut down");
    } else if (verdict == VERDICT_FINAL) {
        if (reply->is_remote)
            leader_found(leader, server);
        finish(call, reply);
    } else {
        if (verdict == VERDICT_UNKNOWN && !msg_may_repeat(call->code))
            fail(call, -ERR_CLOSED, reply->detail);
        else
            set_waiting(call);
        if (!leader->is_doomed)
            leader_try_failed(leader, server, reply);
    }
    (void)leader_leave(leader);
}

void leader_send_try(struct leader_call *call, struct leader_server *server)
{
    CHECK(call->try_id == 0);
    struct rpc_call_options options = {.code = call->code, .body = bytes_slice(&call->body)};
    call->server = server;
    call->tried_ms = loop_tick_ms(call->leader->loop);
    rpc_peer_hurry(server->peer); /* the pauses between rounds are ours */
    call->try_id = rpc_call(server->peer, &options, on_try_reply, call);
    call->leader->waiting_count--;
}

/* ---- deadlines and silence ---- */

/* Fails what is overdue; returns the earliest deadline of the rest. */
static uint64_t sweep(struct rpc_leader *leader, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    LIST_EACH(node, &leader->calls)
    {
        struct leader_call *call = CONTAINER_OF(node, struct leader_call, node);
        if (call->deadline_ms > now_ms) {
            if (call->deadline_ms < next_ms)
                next_ms = call->deadline_ms;
            continue;
        }
        list_remove(node);
        list_append(&leader->overdue, node);
    }
    if (list_empty(&leader->overdue))
        return next_ms;
    char detail[sizeof(struct err_text) * 4];
    rpc_leader_describe(leader, detail, sizeof detail);
    while (!list_empty(&leader->overdue)) {
        struct leader_call *call = CONTAINER_OF(leader->overdue.next, struct leader_call, node);
        if (call->try_id)
            (void)rpc_cancel(call->server->peer, call->try_id);
        fail(call, -ERR_TIMEOUT, detail);
    }
    return next_ms;
}

static void on_check(void *arg)
{
    struct rpc_leader *leader = arg;
    leader_enter(leader);
    uint64_t now_ms = loop_now_ms();
    uint64_t next_ms = sweep(leader, now_ms);
    if (!leader->is_doomed)
        leader_check_silence(leader, now_ms);
    uint64_t look_ms = now_ms + leader->options.try_timeout_ms / 4;
    if (!leader_leave(leader) || list_empty(&leader->calls))
        return;
    if (next_ms > look_ms)
        next_ms = look_ms;
    if (next_ms < now_ms + SWEEP_MIN_MS)
        next_ms = now_ms + SWEEP_MIN_MS;
    loop_timer_start_at_ms(&leader->check_timer, next_ms);
}

static void start_check(struct rpc_leader *leader, uint64_t deadline_ms)
{
    uint64_t at_ms = loop_tick_ms(leader->loop) + leader->options.try_timeout_ms / 4;
    if (deadline_ms < at_ms)
        at_ms = deadline_ms;
    if (!loop_timer_is_running(&leader->check_timer) || at_ms < leader->check_timer.expires_ms)
        loop_timer_start_at_ms(&leader->check_timer, at_ms);
}

/* ---- calls ---- */

static struct leader_call *make_call(struct rpc_leader *leader)
{
    if (list_empty(&leader->free_calls)) {
        struct leader_call *call = calloc(1, sizeof *call);
        CHECK(call != NULL);
        list_init(&call->node);
        return call;
    }
    struct leader_call *call = CONTAINER_OF(leader->free_calls.next, struct leader_call, node);
    list_remove(&call->node);
    leader->free_count--;
    return call;
}

uint64_t rpc_leader_call(struct rpc_leader *leader, const struct rpc_call_options *options,
                         rpc_reply_fn *fn, void *arg)
{
    CHECK_OBJ(leader, LEADER_MAGIC);
    CHECK(loop_is_here(leader->loop) && !leader->is_doomed);
    CHECK(options->payload_count == 0 && options->deadline_ms > 0);
    struct leader_call *call = make_call(leader);
    call->leader = leader;
    call->id = ++leader->call_last;
    call->try_id = 0;
    call->server = NULL;
    call->deadline_ms = options->deadline_ms;
    call->code = options->code;
    call->fn = fn;
    call->arg = arg;
    bytes_clear(&call->body);
    bool is_refused = leader->call_count >= leader->options.calls_max ||
                      leader->bytes + options->body.size > leader->options.bytes_max;
    leader->call_count++;
    leader->waiting_count++;
    if (is_refused) {
        list_append(&leader->refused, &call->node);
        loop_defer_schedule(&leader->refuse);
        return call->id;
    }
    bytes_append(&call->body, options->body.data, options->body.size);
    leader->bytes += options->body.size;
    bool others_wait = leader->waiting_count > 1;
    list_append(&leader->calls, &call->node);
    if (leader->found && !others_wait)
        leader_send_try(call, leader->found);
    else
        loop_defer_schedule(&leader->advance);
    start_check(leader, options->deadline_ms);
    return call->id;
}

static void on_refuse(void *arg)
{
    struct rpc_leader *leader = arg;
    uint64_t last = leader->call_last; /* calls made by the callbacks have their turn later */
    leader_enter(leader);
    while (!list_empty(&leader->refused)) {
        struct leader_call *call = CONTAINER_OF(leader->refused.next, struct leader_call, node);
        if (call->id > last)
            break;
        fail(call, -ERR_LIMIT, "too many calls wait for the metaservers");
    }
    (void)leader_leave(leader);
}

static bool cancel_in(struct list *calls, uint64_t id)
{
    LIST_EACH(node, calls)
    {
        struct leader_call *call = CONTAINER_OF(node, struct leader_call, node);
        if (call->id != id)
            continue;
        if (call->try_id)
            (void)rpc_cancel(call->server->peer, call->try_id);
        call->fn = NULL;
        finish(call, NULL);
        return true;
    }
    return false;
}

bool rpc_leader_cancel(struct rpc_leader *leader, uint64_t call_id)
{
    CHECK_OBJ(leader, LEADER_MAGIC);
    CHECK(loop_is_here(leader->loop));
    return cancel_in(&leader->calls, call_id) || cancel_in(&leader->refused, call_id) ||
           cancel_in(&leader->overdue, call_id);
}

/* ---- life ---- */

struct rpc_leader *rpc_leader_create(struct loop *loop, const struct rpc_leader_options *options)
{
    CHECK(loop_is_here(loop) && options->identity);
    CHECK(options->address_count >= 1 && options->address_count <= RPC_LEADER_ADDRESSES_MAX);
    struct rpc_leader *leader = calloc(1, sizeof *leader);
    CHECK(leader != NULL);
    leader->magic = LEADER_MAGIC;
    leader->loop = loop;
    leader->options = *options;
    leader->options.addresses = NULL;
    if (!leader->options.try_timeout_ms)
        leader->options.try_timeout_ms = 1000;
    if (!leader->options.calls_max)
        leader->options.calls_max = 65536;
    if (!leader->options.bytes_max)
        leader->options.bytes_max = 64 << 20;
    prng_init(&leader->prng, options->seed);
    list_init(&leader->calls);
    list_init(&leader->free_calls);
    list_init(&leader->refused);
    list_init(&leader->overdue);
    loop_timer_init(&leader->check_timer, loop, on_check, leader);
    loop_defer_init(&leader->refuse, loop, on_refuse, leader);
    leader_find_init(leader);
    for (unsigned i = 0; i < options->address_count; i++)
        (void)leader_server_add(leader, options->addresses[i]);
    return leader;
}

void rpc_leader_destroy(struct rpc_leader *leader)
{
    CHECK_OBJ(leader, LEADER_MAGIC);
    CHECK(loop_is_here(leader->loop) && !leader->is_doomed);
    leader->is_doomed = true;
    leader_enter(leader);
    loop_timer_stop(&leader->check_timer);
    loop_defer_cancel(&leader->refuse);
    leader_find_release(leader); /* ends the tries under way */
    while (!list_empty(&leader->calls))
        fail(CONTAINER_OF(leader->calls.next, struct leader_call, node), -ERR_CANCELLED,
             "the connection to the metaservers is being shut down");
    while (!list_empty(&leader->refused))
        fail(CONTAINER_OF(leader->refused.next, struct leader_call, node), -ERR_CANCELLED,
             "the connection to the metaservers is being shut down");
    (void)leader_leave(leader);
}
