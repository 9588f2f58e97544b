/* The calls of an rpc peer: slots, queues, deadlines, replies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/rpc_client_internal.h"
#include "common/net/send_queue.h"
#include "common/wire/codec.h"
#include "common/base/banned.h"

enum {
    SLOTS_FIRST = 64,
    SWEEP_MIN_MS = 4, /* a deadline is reported at most this much late; one sweep serves many */
};

/* ---- slots and queues: linked by index, for the array moves when it grows ---- */

static void queue_add(struct rpc_peer *peer, struct call_queue *queue, uint32_t index)
{
    struct call_slot *slot = &peer->slots[index];
    slot->next = NO_SLOT;
    slot->previous = queue->last;
    if (queue->last != NO_SLOT)
        peer->slots[queue->last].next = index;
    else
        queue->first = index;
    queue->last = index;
    queue->count++;
}

static void queue_remove(struct rpc_peer *peer, struct call_queue *queue, uint32_t index)
{
    struct call_slot *slot = &peer->slots[index];
    if (slot->previous != NO_SLOT)
        peer->slots[slot->previous].next = slot->next;
    else
        queue->first = slot->next;
    if (slot->next != NO_SLOT)
        peer->slots[slot->next].previous = slot->previous;
    else
        queue->last = slot->previous;
    queue->count--;
}

static void grow(struct rpc_peer *peer)
{
    uint32_t count = peer->slot_count ? peer->slot_count * 2 : SLOTS_FIRST;
    peer->slots = realloc(peer->slots, count * sizeof peer->slots[0]);
    CHECK(peer->slots != NULL);
    for (uint32_t i = count; i-- > peer->slot_count;) {
        peer->slots[i] = (struct call_slot){.generation = 1, .next = peer->free_slot};
        peer->free_slot = i;
    }
    peer->slot_count = count;
}

static uint64_t id_of(const struct rpc_peer *peer, uint32_t index)
{
    return (uint64_t)peer->slots[index].generation << 32 | index;
}

static uint32_t slot_of(const struct rpc_peer *peer, uint64_t id)
{
    uint32_t index = (uint32_t)id;
    if (index >= peer->slot_count || peer->slots[index].state == CALL_FREE ||
        peer->slots[index].generation != (uint32_t)(id >> 32))
        return NO_SLOT;
    return index;
}

static struct call_queue *queue_of(struct rpc_peer *peer, enum call_state state)
{
    switch (state) {
    case CALL_WAITING:
        return &peer->waiting;
    case CALL_SENT:
        return &peer->sent;
    case CALL_REFUSED:
        return &peer->refused;
    case CALL_FREE:
        break;
    }
    UNREACHABLE("call slot in state %d", (int)state);
}

/* ---- frames that wait for the connection ---- */

static struct waiting_frame *frame_keep(struct rpc_peer *peer, const struct rpc_call_options *o)
{
    struct waiting_frame *frame = calloc(1, sizeof *frame);
    CHECK(frame != NULL);
    frame->code = o->code;
    frame->body_size = (uint32_t)o->body.size;
    frame->body = buf_create(o->body.size);
    if (o->body.size)
        memcpy(frame->body->data, o->body.data, o->body.size);
    frame->payload_count = o->payload_count;
    if (o->payload_count) {
        frame->payload = calloc(o->payload_count, sizeof frame->payload[0]);
        CHECK(frame->payload != NULL);
        for (unsigned i = 0; i < o->payload_count; i++) {
            frame->payload[i] = o->payload[i];
            (void)buf_ref(o->payload[i].buf);
        }
    }
    peer->waiting_bytes += frame->body_size + net_slices_size(frame->payload, frame->payload_count);
    return frame;
}

static void frame_free(struct rpc_peer *peer, struct waiting_frame *frame)
{
    if (!frame)
        return;
    peer->waiting_bytes -= frame->body_size + net_slices_size(frame->payload, frame->payload_count);
    for (unsigned i = 0; i < frame->payload_count; i++)
        buf_unref(frame->payload[i].buf);
    buf_unref(frame->body);
    free(frame->payload);
    free(frame);
}

static void free_slot(struct rpc_peer *peer, uint32_t index)
{
    struct call_slot *slot = &peer->slots[index];
    queue_remove(peer, queue_of(peer, slot->state), index);
    frame_free(peer, slot->frame);
    slot->frame = NULL;
    slot->state = CALL_FREE;
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    slot->next = peer->free_slot;
    peer->free_slot = index;
}

/* ---- ends ---- */

static void end_call(struct rpc_peer *peer, uint32_t index, struct rpc_reply *reply)
{
    rpc_reply_fn *fn = peer->slots[index].fn;
    void *arg = peer->slots[index].arg;
    free_slot(peer, index);
    fn(arg, reply);
}

static void fail_call(struct rpc_peer *peer, uint32_t index, int status, const char *why)
{
    char detail[sizeof peer->problem + 300];
    (void)snprintf(detail, sizeof detail, "%s %s", peer->address, why);
    struct rpc_reply reply = {.status = status, .detail = detail, .leader = ""};
    end_call(peer, index, &reply);
}

void calls_fail(struct rpc_peer *peer, struct call_queue *queue, int status, const char *why)
{
    char text[sizeof peer->problem];
    (void)snprintf(text, sizeof text, "%s", why);
    peer_enter(peer);
    /* Callbacks may call again: those calls stand behind the last one of now. */
    uint64_t last = queue->last == NO_SLOT ? 0 : id_of(peer, queue->last);
    for (uint32_t left = queue->count; left > 0 && queue->first != NO_SLOT; left--) {
        bool is_last = id_of(peer, queue->first) == last;
        fail_call(peer, queue->first, status, text);
        if (is_last)
            break;
    }
    (void)peer_leave(peer);
}

static uint64_t sweep(struct rpc_peer *peer, struct call_queue *queue, const char *why,
                      uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    uint32_t index = queue->first;
    for (uint32_t left = queue->count; left > 0 && index != NO_SLOT; left--) {
        struct call_slot *slot = &peer->slots[index];
        uint32_t next = slot->next;
        uint64_t next_id = next == NO_SLOT ? 0 : id_of(peer, next);
        if (slot->deadline_ms && slot->deadline_ms <= now_ms)
            fail_call(peer, index, -ERR_TIMEOUT, why);
        else if (slot->deadline_ms && slot->deadline_ms < next_ms)
            next_ms = slot->deadline_ms;
        if (next != NO_SLOT && slot_of(peer, next_id) == NO_SLOT)
            return now_ms; /* a callback cancelled it: sweep again soon */
        index = next;
    }
    return next_ms;
}

static void on_deadline(void *arg)
{
    struct rpc_peer *peer = arg;
    uint64_t now_ms = loop_now_ms();
    char why[sizeof peer->problem + 64];
    peer_enter(peer);
    uint64_t next_ms = sweep(peer, &peer->sent, "did not answer in time", now_ms);
    (void)snprintf(why, sizeof why, "is not connected%s%s", peer->problem[0] ? ": " : "",
                   peer->problem);
    uint64_t waiting_ms = sweep(peer, &peer->waiting, why, now_ms);
    if (waiting_ms < next_ms)
        next_ms = waiting_ms;
    if (!peer_leave(peer) || next_ms == UINT64_MAX)
        return;
    if (next_ms < now_ms + SWEEP_MIN_MS)
        next_ms = now_ms + SWEEP_MIN_MS;
    if (!loop_timer_is_running(&peer->deadline_timer) || peer->deadline_timer.expires_ms > next_ms)
        loop_timer_start_at_ms(&peer->deadline_timer, next_ms);
}

/* ---- replies ---- */

/* Peer text ends up in logs and on terminals: only printable bytes stay. */
static void copy_text(char *to, size_t size, struct slice text)
{
    size_t length = text.size < size - 1 ? text.size : size - 1;
    for (size_t i = 0; i < length; i++)
        to[i] = text.data[i] < ' ' || text.data[i] == 0x7f ? '?' : (char)text.data[i];
    to[length] = '\0';
}

void calls_read_error(const struct conn_message *message, struct rpc_reply *reply, char detail[240],
                      char leader[128])
{
    struct msg_error_r error;
    detail[0] = leader[0] = '\0';
    if (message->header.code == MSG_error_r &&
        decode_error_r(message->body, message->header.version, &error) == 0) {
        copy_text(detail, 240, error.detail);
        copy_text(leader, 128, error.leader);
    }
    *reply =
        (struct rpc_reply){.status = -(int)message->header.status,
                           .is_remote = true,
                           .code = message->header.code,
                           .version = message->header.version,
                           .table_version = message->header.table_version,
                           .detail = detail[0] ? detail : err_text((int)message->header.status),
                           .leader = leader};
}

void calls_on_reply(struct rpc_peer *peer, struct conn_message *message)
{
    uint32_t index = slot_of(peer, message->header.request_id);
    if (index == NO_SLOT || peer->slots[index].state != CALL_SENT)
        return; /* cancelled or timed out meanwhile */
    struct rpc_reply reply;
    if (message->header.status != 0) {
        char detail[240], leader[128];
        calls_read_error(message, &reply, detail, leader);
        end_call(peer, index, &reply);
        return;
    }
    reply = (struct rpc_reply){.is_remote = true,
                               .code = message->header.code,
                               .version = message->header.version,
                               .body = message->body,
                               .payload = message->payload,
                               .payload_size = message->header.payload_size,
                               .table_version = message->header.table_version,
                               .detail = "",
                               .leader = ""};
    message->payload = NULL;
    rpc_reply_fn *fn = peer->slots[index].fn;
    void *arg = peer->slots[index].arg;
    free_slot(peer, index);
    fn(arg, &reply);
    buf_unref(reply.payload);
}

/* ---- calls ---- */

void calls_send_waiting(struct rpc_peer *peer)
{
    while (peer->waiting.first != NO_SLOT) {
        uint32_t index = peer->waiting.first;
        struct call_slot *slot = &peer->slots[index];
        struct waiting_frame *frame = slot->frame;
        if (!peer_send_frame(peer, id_of(peer, index), frame->code,
                             slice_of(frame->body->data, frame->body_size), frame->payload,
                             frame->payload_count))
            return;
        frame_free(peer, frame);
        slot->frame = NULL;
        queue_remove(peer, &peer->waiting, index);
        slot->state = CALL_SENT;
        queue_add(peer, &peer->sent, index);
    }
}

static bool is_full(const struct rpc_peer *peer, const struct rpc_call_options *o)
{
    uint64_t size =
        FRAME_HEADER_SIZE + o->body.size + net_slices_size(o->payload, o->payload_count);
    return rpc_peer_queued_bytes(peer) + size > peer->options.queued_bytes_max;
}

uint64_t rpc_call(struct rpc_peer *peer, const struct rpc_call_options *options, rpc_reply_fn *fn,
                  void *arg)
{
    CHECK_OBJ(peer, RPC_PEER_MAGIC);
    CHECK(loop_is_here(peer->loop) && options->payload_count <= NET_SLICES_MAX);
    CHECK(!peer->is_doomed);
    if (peer->free_slot == NO_SLOT)
        grow(peer);
    uint32_t index = peer->free_slot;
    struct call_slot *slot = &peer->slots[index];
    peer->free_slot = slot->next;
    slot->fn = fn;
    slot->arg = arg;
    slot->deadline_ms = options->deadline_ms;
    uint64_t id = id_of(peer, index);
    if (peer->sent.count + peer->waiting.count >= peer->options.calls_max ||
        is_full(peer, options)) {
        slot->state = CALL_REFUSED;
        loop_defer_schedule(&peer->refuse);
    } else if (peer->state == PEER_UP &&
               peer_send_frame(peer, id, options->code, options->body, options->payload,
                               options->payload_count)) {
        slot->state = CALL_SENT;
    } else {
        slot->state = CALL_WAITING;
        slot->frame = frame_keep(peer, options);
        peer_connect_soon(peer);
    }
    queue_add(peer, queue_of(peer, slot->state), index);
    if (options->deadline_ms &&
        (!peer->deadline_timer.place || options->deadline_ms < peer->deadline_timer.expires_ms))
        loop_timer_start_at_ms(&peer->deadline_timer, options->deadline_ms);
    return id;
}

bool rpc_cancel(struct rpc_peer *peer, uint64_t call_id)
{
    CHECK_OBJ(peer, RPC_PEER_MAGIC);
    CHECK(loop_is_here(peer->loop));
    uint32_t index = slot_of(peer, call_id);
    if (index == NO_SLOT)
        return false;
    free_slot(peer, index);
    return true;
}

int rpc_peer_send(struct rpc_peer *peer, const struct rpc_call_options *options)
{
    CHECK_OBJ(peer, RPC_PEER_MAGIC);
    CHECK(loop_is_here(peer->loop) && options->payload_count <= NET_SLICES_MAX);
    if (peer->state != PEER_UP) {
        peer_connect_soon(peer);
        /* The attempt is made even when no call waits for it. */
        peer->is_wanted = true;
        return -ERR_CLOSED;
    }
    if (is_full(peer, options))
        return -ERR_LIMIT;
    return peer_send_frame(peer, 0, options->code, options->body, options->payload,
                           options->payload_count)
               ? 0
               : -ERR_CLOSED;
}

unsigned rpc_peer_call_count(const struct rpc_peer *peer)
{
    return peer->sent.count + peer->waiting.count + peer->refused.count;
}

uint64_t rpc_peer_queued_bytes(const struct rpc_peer *peer)
{
    return peer->waiting_bytes + (peer->conn ? conn_queued_bytes(peer->conn) : 0);
}

/* ---- life ---- */

static void on_refuse(void *arg)
{
    struct rpc_peer *peer = arg;
    calls_fail(peer, &peer->refused, -ERR_LIMIT, "too much is waiting to be sent");
}

void calls_init(struct rpc_peer *peer)
{
    peer->free_slot = NO_SLOT;
    peer->sent = peer->waiting = peer->refused =
        (struct call_queue){.first = NO_SLOT, .last = NO_SLOT};
    loop_timer_init(&peer->deadline_timer, peer->loop, on_deadline, peer);
    loop_defer_init(&peer->refuse, peer->loop, on_refuse, peer);
}

void calls_release(struct rpc_peer *peer)
{
    CHECK(rpc_peer_call_count(peer) == 0);
    loop_timer_stop(&peer->deadline_timer);
    loop_defer_cancel(&peer->refuse);
    free(peer->slots);
}
