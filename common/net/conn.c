/* A framed connection: life, sending, time-outs. Receiving is in conn_receive.c. */
#include "common/net/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/conn_internal.h"
#include "common/base/banned.h"

enum {
    MIN_BYTES_PER_MS = 256, /* 256 KiB/s: slower than that, a frame is not worth its memory */
    FLUSH_CALLS_MAX = 4,    /* then other connections get their turn */
};

void conn_enter(struct conn *conn)
{
    conn->depth++;
}

bool conn_leave(struct conn *conn)
{
    CHECK(conn->depth > 0);
    if (--conn->depth > 0 || !conn->is_doomed)
        return conn->is_open;
    conn->magic = 0;
    free(conn);
    return false;
}

/* Releases everything but the struct itself. */
static void shut(struct conn *conn)
{
    if (!conn->is_open)
        return;
    conn->is_open = false;
    loop_watch_release(&conn->watch);
    loop_defer_cancel(&conn->flush);
    loop_defer_cancel(&conn->resume);
    loop_timer_stop(&conn->watchdog);
    send_queue_release(&conn->queue);
    conn_receive_release(conn);
    conn->transport.ops->close(&conn->transport);
}

void conn_destroy(struct conn *conn)
{
    if (!conn)
        return;
    CHECK_OBJ(conn, CONN_MAGIC);
    CHECK(!conn->is_doomed);
    shut(conn);
    conn->is_doomed = true;
    conn_enter(conn);
    (void)conn_leave(conn);
}

void conn_close(struct conn *conn, int status, const char *why)
{
    CHECK_OBJ(conn, CONN_MAGIC);
    if (!conn->is_open)
        return;
    conn_enter(conn);
    conn->closing_admitted = conn_admitted(conn);
    shut(conn);
    conn->owner->closed(conn->arg, status, why);
    (void)conn_leave(conn);
}

void conn_close_after_flush(struct conn *conn, int status, const char *why)
{
    CHECK_OBJ(conn, CONN_MAGIC);
    if (!conn->is_open || conn->is_closing)
        return;
    conn->is_closing = true;
    conn->close_status = status;
    (void)snprintf(conn->close_why, sizeof conn->close_why, "%s", why);
    loop_watch_read(&conn->watch, false);
    loop_defer_schedule(&conn->flush);
}

bool conn_is_open(const struct conn *conn)
{
    return conn->is_open && !conn->is_closing;
}

/* ---- sending ---- */

static void update_output_pressure(struct conn *conn)
{
    if (conn->queue_bytes_high == 0)
        return;
    if (!conn->is_output_full && conn->queue.bytes > conn->queue_bytes_high) {
        conn->is_output_full = true;
        loop_watch_read(&conn->watch, false);
    } else if (conn->is_output_full && conn->queue.bytes <= conn->queue_bytes_high / 2) {
        conn->is_output_full = false;
        loop_defer_schedule(&conn->resume);
    }
}

void conn_send(struct conn *conn, const struct frame_header *header, struct slice body,
               const struct net_slice *payload, unsigned payload_count)
{
    CHECK_OBJ(conn, CONN_MAGIC);
    CHECK(loop_is_here(conn->loop));
    if (!conn_is_open(conn))
        return;
    if (conn->queue.bytes == 0)
        conn->sent_ms = loop_tick_ms(conn->loop);
    send_queue_add(&conn->queue, *header, body, payload, payload_count);
    if (!conn->watch.writing)
        loop_defer_schedule(&conn->flush);
    update_output_pressure(conn);
}

/* False when the connection is gone. */
static bool write_some(struct conn *conn)
{
    struct iovec parts[SEND_PARTS_MAX];
    for (int call = 0; call < FLUSH_CALLS_MAX && conn->queue.bytes > 0; call++) {
        uint64_t asked = 0;
        int count = send_queue_parts(&conn->queue, parts);
        for (int i = 0; i < count; i++)
            asked += parts[i].iov_len;
        ssize_t size = conn->transport.ops->writev(&conn->transport, parts, count);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno != EAGAIN) {
            conn_close(conn, -ERR_CLOSED, strerror(errno));
            return false;
        }
        if (size <= 0)
            break;
        send_queue_advance(&conn->queue, (uint64_t)size);
        conn->sent_ms = loop_tick_ms(conn->loop);
        if ((uint64_t)size < asked)
            break; /* the socket is full: the next try would only return EAGAIN */
    }
    return true;
}

static void flush(struct conn *conn)
{
    if (!write_some(conn))
        return;
    loop_watch_write(&conn->watch, conn->queue.bytes > 0);
    update_output_pressure(conn);
    if (conn->is_closing && conn->queue.bytes == 0)
        conn_close(conn, conn->close_status, conn->close_why);
}

static void on_flush(void *arg)
{
    struct conn *conn = arg;
    conn_enter(conn);
    flush(conn);
    (void)conn_leave(conn);
}

uint64_t conn_queued_bytes(const struct conn *conn)
{
    return conn->queue.bytes;
}

/* ---- time-outs: one lazy timer per connection, so the hot path only notes the time ---- */

static const char *overdue(struct conn *conn, uint64_t now_ms)
{
    if (conn->stall_timeout_ms) {
        uint64_t started_ms, size;
        if (conn->queue.bytes > 0 && now_ms > conn->sent_ms + conn->stall_timeout_ms)
            return "takes none of the data sent to it";
        if (conn_receive_partial(conn, &started_ms, &size) &&
            now_ms > started_ms + conn->stall_timeout_ms + size / MIN_BYTES_PER_MS)
            return "does not finish a frame";
    }
    if (conn->idle_timeout_ms && conn->queue.bytes == 0 &&
        now_ms > conn->heard_ms + conn->idle_timeout_ms &&
        now_ms > conn->sent_ms + conn->idle_timeout_ms &&
        !(conn->owner->is_busy && conn->owner->is_busy(conn->arg)))
        return "idle";
    return NULL;
}

static unsigned watch_period_ms(const struct conn *conn)
{
    unsigned period_ms = UINT32_MAX;
    if (conn->idle_timeout_ms)
        period_ms = conn->idle_timeout_ms;
    if (conn->stall_timeout_ms && conn->stall_timeout_ms < period_ms)
        period_ms = conn->stall_timeout_ms;
    return period_ms / 4 + 1;
}

static void on_watchdog(void *arg)
{
    struct conn *conn = arg;
    const char *why = overdue(conn, loop_now_ms());
    if (why)
        conn_close(conn, -ERR_TIMEOUT, why);
    else
        loop_timer_start_ms(&conn->watchdog, watch_period_ms(conn));
}

/* ---- life ---- */

struct conn *conn_create(struct loop *loop, struct transport take_transport,
                         const struct conn_options *options)
{
    CHECK(loop_is_here(loop) && options->owner && options->owner->message &&
          options->owner->closed);
    struct conn *conn = calloc(1, sizeof *conn);
    CHECK(conn != NULL);
    conn->magic = CONN_MAGIC;
    conn->loop = loop;
    conn->transport = take_transport;
    conn->owner = options->owner;
    conn->arg = options->arg;
    conn->queue_bytes_high = options->queue_bytes_high;
    conn->idle_timeout_ms = options->idle_timeout_ms;
    conn->stall_timeout_ms = options->stall_timeout_ms;
    conn->is_open = true;
    conn->heard_ms = conn->sent_ms = loop_tick_ms(loop);
    send_queue_init(&conn->queue);
    loop_defer_init(&conn->flush, loop, on_flush, conn);
    loop_defer_init(&conn->resume, loop, conn_on_resume, conn);
    loop_timer_init(&conn->watchdog, loop, on_watchdog, conn);
    loop_watch_init(&conn->watch, loop, take_transport.fd, conn_on_readable, on_flush, conn);
    loop_watch_read(&conn->watch, true);
    if (conn->idle_timeout_ms || conn->stall_timeout_ms)
        loop_timer_start_ms(&conn->watchdog, watch_period_ms(conn));
    return conn;
}

uint64_t conn_heard_ms(const struct conn *conn)
{
    return conn->heard_ms;
}
