/* Drives the operations of op.c over rpc_leader. */
#include "common/client/meta_call.h"

#include "common/wire/codec.h"

#include "common/base/banned.h"

/* Places in an encoded wire_caller (prim.c: put_caller). */
enum { AT_SESSION = 0, AT_SEQUENCE = 8, AT_LOWEST = 16 };

static void step(struct meta_call *call, struct op_event *ev, struct rpc_reply *reply);

static bool session_is_up(const struct client *c)
{
    return c->session.state == SESSION_UP;
}

static struct op_event event_of(const struct meta_call *call, enum op_event_kind kind)
{
    return (struct op_event){
        .kind = kind,
        .now_ms = loop_now_ms(),
        .session_up = call->kind == META_PLAIN || session_is_up(call->c),
    };
}

/* Calls of an older session are no longer waited for by anybody's window. */
static uint64_t lowest_unanswered(const struct client *c)
{
    LIST_EACH(node, &c->calls.changes)
    {
        const struct meta_call *call = CONTAINER_OF(node, struct meta_call, node);
        if (call->session == c->session.id && call->sequence != 0)
            return call->sequence;
    }
    return c->calls.next_sequence;
}

static void number(struct meta_call *call)
{
    struct client *c = call->c;
    if (call->kind == META_PLAIN)
        return;
    CHECK(session_is_up(c) && call->body.size >= AT_LOWEST + 8);
    bool is_new = call->session != c->session.id;
#ifdef PLANT_R23_NEW
    is_new = true;
#endif
    if (is_new && call->kind == META_CHANGE) {
        call->sequence = c->calls.next_sequence++;
        list_remove(&call->node);
        list_append(&c->calls.changes, &call->node);
    }
    call->session = c->session.id;
    store_u64(call->body.data + AT_SESSION, call->session);
    store_u64(call->body.data + AT_SEQUENCE, call->sequence);
    store_u64(call->body.data + AT_LOWEST, lowest_unanswered(c));
}

static void on_rpc(void *arg, struct rpc_reply *reply)
{
    struct meta_call *call = arg;
    struct client *c = call->c;
    call->rpc_id = 0;
    client_heard_table(c, reply->table_version);
    struct op_event ev = event_of(call, OP_EV_REPLY);
    ev.status = reply->status;
    /* What a plain request says about sessions is its caller's business. */
    ev.is_remote =
        reply->is_remote && !(call->kind == META_PLAIN && reply->status == -ERR_NO_SESSION);
    ev.sent_once = call->leader_known && call->leader_changes == c->session.leader_changes;
    step(call, &ev, reply);
}

static void send(struct meta_call *call)
{
    struct client *c = call->c;
    number(call);
    c->counters.metadata_calls++;
    if (call->op.sends > 1)
        c->counters.metadata_repeats++;
    call->leader_changes = c->session.leader_changes;
    call->leader_known = rpc_leader_address(c->leader) != NULL;
    struct rpc_call_options options = {
        .code = call->code,
        .body = bytes_slice(&call->body),
        .deadline_ms = call->op.deadline_ms,
    };
    call->rpc_id = rpc_leader_call(c->leader, &options, on_rpc, call);
}

static void on_timer(void *arg)
{
    struct meta_call *call = arg;
    struct op_event ev = event_of(call, OP_EV_TIMER);
    step(call, &ev, NULL);
}

static void start_next(struct client *c);

static void finish(struct meta_call *call, struct rpc_reply *reply)
{
    struct client *c = call->c;
    loop_timer_stop(&call->timer);
    if (call->rpc_id != 0)
        rpc_leader_cancel(c->leader, call->rpc_id);
    list_remove(&call->node);
    if (call->started)
        c->calls.count--;
    bytes_release(&call->body);
    call->fn(call, call->op.status, reply);
    start_next(c);
}

static void step(struct meta_call *call, struct op_event *ev, struct rpc_reply *reply)
{
    unsigned todo = op_step(&call->op, ev);
    if (todo & OP_WAIT)
        loop_timer_start_at_ms(&call->timer, call->op.wake_at_ms);
    if (todo & OP_SEND) {
        loop_timer_stop(&call->timer);
        send(call);
    }
    if (todo & OP_TELL_LOST) {
        session_lost(call->c, call->session);
        if (!(todo & OP_FINISH) && session_is_up(call->c)) { /* replaced while this was under way */
            struct op_event up = event_of(call, OP_EV_SESSION_UP);
            step(call, &up, NULL);
        }
    }
    if (todo & OP_FINISH)
        finish(call, reply);
}

static void begin(struct meta_call *call)
{
    struct client *c = call->c;
    c->calls.count++;
    call->started = true;
    list_append(call->kind == META_CHANGE ? &c->calls.changes : &c->calls.reads, &call->node);
    struct op_event ev = event_of(call, OP_EV_START);
    step(call, &ev, NULL);
}

static void start_next(struct client *c)
{
    if (c->closing || list_empty(&c->calls.queued) || c->calls.count >= CLIENT_CALLS_MAX)
        return;
    struct meta_call *call = CONTAINER_OF(c->calls.queued.next, struct meta_call, node);
    list_remove(&call->node);
    begin(call);
}

void meta_call_start(struct meta_call *call, struct client *c, enum meta_call_kind kind,
                     uint16_t code, meta_call_fn *fn)
{
    CHECK_OBJ(c, CLIENT_MAGIC);
    call->c = c;
    call->kind = kind;
    call->code = code;
    call->fn = fn;
    call->rpc_id = call->session = call->sequence = 0;
    call->started = false;
    call->asked_ms = loop_now_ms();
    list_init(&call->node);
    loop_timer_init(&call->timer, c->loop, on_timer, call);
    op_init(&call->op, kind == META_CHANGE, call->asked_ms + c->deadline_ms);
    if (c->calls.count < CLIENT_CALLS_MAX)
        begin(call);
    else
        list_append(&c->calls.queued, &call->node);
}

/* Moves the calls into a list of their own first: their callbacks start new ones. */
static void each_call(struct list *from, enum op_event_kind kind)
{
    struct list all;
    list_init(&all);
    while (!list_empty(from)) {
        struct list *node = from->next;
        list_remove(node);
        list_append(&all, node);
    }
    while (!list_empty(&all)) {
        struct list *node = all.next;
        struct meta_call *call = CONTAINER_OF(node, struct meta_call, node);
        list_remove(node);
        list_append(from, node);
        struct op_event ev = event_of(call, kind);
        step(call, &ev, NULL);
    }
}

void meta_calls_session_up(struct client *c)
{
    each_call(&c->calls.changes, OP_EV_SESSION_UP);
    each_call(&c->calls.reads, OP_EV_SESSION_UP);
}

void meta_calls_cancel_all(struct client *c)
{
    each_call(&c->calls.queued, OP_EV_CANCEL);
    each_call(&c->calls.changes, OP_EV_CANCEL);
    each_call(&c->calls.reads, OP_EV_CANCEL);
}
