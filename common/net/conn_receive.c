/* Receiving frames: from the socket into scratch, bulk straight into its own block. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/conn_internal.h"
#include "common/base/banned.h"

enum {
    READ_CALLS_MAX = 4, /* per event: then other connections get their turn */
    /* While bulk is read into its own block, what may be read behind it: enough for the next header
     * and body, little of the next payload, which would have to be copied. */
    SCRATCH_BEHIND_BULK = 4096,
    BULK_SIZE = 32 << 10,
};

void conn_receive_release(struct conn *conn)
{
    buf_unref(conn->in.body_owner);
    buf_unref(conn->in.payload);
    conn->in = (struct incoming){.is_active = false};
    free(conn->carry);
    conn->carry = NULL;
    conn->carry_size = 0;
}

bool conn_receive_partial(const struct conn *conn, uint64_t *ret_started_ms, uint64_t *ret_size)
{
    if (!conn->in.is_active && (conn->carry_size == 0 || conn->is_paused || conn->is_output_full))
        return false;
    *ret_started_ms = conn->frame_started_ms;
    *ret_size = conn_admitted(conn);
    return true;
}

uint64_t conn_admitted(const struct conn *conn)
{
    if (!conn->is_open)
        return conn->closing_admitted;
    return conn->in.is_active ? (uint64_t)conn->in.header.body_size + conn->in.header.payload_size
                              : 0;
}

/* ---- frames out of bytes ---- */

static bool may_parse(const struct conn *conn)
{
    return conn->is_open && !conn->is_closing && !conn->is_paused && !conn->is_output_full;
}

static void deliver(struct conn *conn, struct slice body)
{
    struct incoming *in = &conn->in;
    if (frame_body_crc(body) != in->header.body_crc) {
        conn_close(conn, -ERR_PROTOCOL, "the body of a frame does not match its crc");
        return;
    }
    struct conn_message message = {
        .header = in->header, .body = body, .body_owner = in->body_owner, .payload = in->payload};
    conn->expects_bulk = in->header.payload_size >= BULK_SIZE;
    *in = (struct incoming){.is_active = false};
    conn->owner->message(conn->arg, &message);
    buf_unref(message.body_owner);
    buf_unref(message.payload);
}

static uint8_t *body_space(struct conn *conn)
{
    return conn->in.body_owner ? conn->in.body_owner->data : conn->body_inline;
}

static uint32_t copy_some(uint8_t *to, uint32_t *have, uint32_t want, struct slice from)
{
    uint32_t size = want - *have;
    if (size > from.size)
        size = (uint32_t)from.size;
    if (size > 0)
        memcpy(to + *have, from.data, size);
    *have += size;
    return size;
}

static bool is_complete(const struct incoming *in)
{
    return in->body_have == in->header.body_size && in->payload_have == in->header.payload_size;
}

/* Fills the frame under way from `data`; returns the bytes used. */
static uint32_t fill(struct conn *conn, struct slice data)
{
    struct incoming *in = &conn->in;
    uint32_t used = copy_some(body_space(conn), &in->body_have, in->header.body_size, data);
    if (in->payload) {
        struct slice rest = slice_of(data.data + used, data.size - used);
        used += copy_some(in->payload->data, &in->payload_have, in->header.payload_size, rest);
    }
    if (is_complete(in))
        deliver(conn, slice_of(body_space(conn), in->header.body_size));
    return used;
}

/* Begins the frame whose header stands at the front of `data`. Returns the bytes used, 0 when none
 * could be (too few, paused, or the connection was closed). */
static uint32_t begin(struct conn *conn, struct slice data)
{
    struct frame_header header;
    if (data.size < FRAME_HEADER_SIZE)
        return 0;
    if (frame_unpack(data.data, &header) != 0) {
        conn_close(conn, -ERR_PROTOCOL, "sent something that is not a frame");
        return 0;
    }
    int status = conn->owner->admit ? conn->owner->admit(conn->arg, &header) : 0;
    if (status == -ERR_BUSY) {
        conn_pause(conn);
        return 0;
    }
    if (status) {
        conn_close(conn, status, "sent a frame that is not allowed here");
        return 0;
    }
    struct incoming *in = &conn->in;
    *in = (struct incoming){.is_active = true, .header = header};
    if (header.payload_size > 0)
        in->payload = buf_create(header.payload_size);
    struct slice rest = slice_of(data.data + FRAME_HEADER_SIZE, data.size - FRAME_HEADER_SIZE);
    if (rest.size >= (uint64_t)header.body_size + header.payload_size) {
        /* All here: the body is used where it lies. */
        if (in->payload)
            memcpy(in->payload->data, rest.data + header.body_size, header.payload_size);
        deliver(conn, slice_of(rest.data, header.body_size));
        return FRAME_HEADER_SIZE + header.body_size + header.payload_size;
    }
    if (header.body_size > BODY_INLINE_SIZE)
        in->body_owner = buf_create(header.body_size);
    return FRAME_HEADER_SIZE + fill(conn, rest);
}

/* Returns the bytes used of `data`; the rest is to be kept. */
static uint32_t parse(struct conn *conn, struct slice data)
{
    uint32_t at = 0;
    while (may_parse(conn)) {
        struct slice rest = slice_of(data.data + at, data.size - at);
        uint32_t used = conn->in.is_active ? fill(conn, rest) : begin(conn, rest);
        if (used == 0)
            break;
        at += used;
        conn->frame_started_ms = conn->heard_ms;
    }
    return at;
}

static void keep(struct conn *conn, struct slice data)
{
    if (!conn->is_open)
        return;
    if (data.size > 0 && !conn->carry) {
        conn->carry = malloc(LOOP_SCRATCH_SIZE);
        CHECK(conn->carry != NULL);
    }
    if (data.size > 0)
        memmove(conn->carry, data.data, data.size);
    conn->carry_size = (uint32_t)data.size;
    if (data.size == 0 && conn->carry) {
        free(conn->carry);
        conn->carry = NULL;
    }
}

/* ---- reading ---- */

/* Up to three places: rest of the body, rest of the payload, scratch. */
struct reading {
    struct iovec parts[3];
    int count;
    size_t body, payload, scratch; /* sizes of the places */
    uint8_t *scratch_at;           /* carried bytes stand before it */
};

static void plan(struct conn *conn, uint8_t *scratch, struct reading *r)
{
    struct incoming *in = &conn->in;
    *r = (struct reading){.scratch_at = scratch};
    if (in->is_active) {
        r->body = in->header.body_size - in->body_have;
        r->payload = in->header.payload_size - in->payload_have;
    }
    if (r->body)
        r->parts[r->count++] = (struct iovec){body_space(conn) + in->body_have, r->body};
    if (r->payload)
        r->parts[r->count++] = (struct iovec){in->payload->data + in->payload_have, r->payload};
    if (conn->carry_size) {
        memcpy(scratch, conn->carry, conn->carry_size);
        r->scratch_at += conn->carry_size;
    }
    r->scratch = LOOP_SCRATCH_SIZE - conn->carry_size;
    bool bulk = r->payload >= BULK_SIZE || conn->expects_bulk;
    if (bulk && r->scratch > SCRATCH_BEHIND_BULK)
        r->scratch = SCRATCH_BEHIND_BULK;
    r->parts[r->count++] = (struct iovec){r->scratch_at, r->scratch};
}

/* Distributes `size` bytes just read; the frame under way is finished by parse. */
static void account(struct conn *conn, struct reading *r, size_t size, uint8_t *scratch)
{
    struct incoming *in = &conn->in;
    size_t body = size < r->body ? size : r->body;
    size -= body;
    size_t payload = size < r->payload ? size : r->payload;
    size -= payload;
    if (in->is_active) {
        in->body_have += (uint32_t)body;
        in->payload_have += (uint32_t)payload;
        if (is_complete(in)) {
            conn->frame_started_ms = conn->heard_ms;
            deliver(conn, slice_of(body_space(conn), in->header.body_size));
        }
    }
    size_t total = (size_t)(r->scratch_at - scratch) + size;
    if (conn->carry_size == 0 && !in->is_active && total > 0)
        conn->frame_started_ms = conn->heard_ms;
    uint32_t used = conn->is_open ? parse(conn, slice_of(scratch, total)) : 0;
    keep(conn, slice_of(scratch + used, total - used));
}

/* True when more may be waiting in the socket. */
static bool read_once(struct conn *conn)
{
    uint8_t *scratch = loop_scratch(conn->loop);
    struct reading r;
    plan(conn, scratch, &r);
    ssize_t size = conn->transport.ops->readv(&conn->transport, r.parts, r.count);
    if (size < 0 && errno == EINTR)
        return true;
    if (size < 0 && errno == EAGAIN)
        return false;
    if (size < 0) {
        conn_close(conn, -ERR_CLOSED, strerror(errno));
        return false;
    }
    if (size == 0) {
        bool cut = conn->in.is_active || conn->carry_size > 0;
        conn_close(conn, cut ? -ERR_PROTOCOL : 0,
                   cut ? "closed in the middle of a frame" : "closed by the peer");
        return false;
    }
    conn->heard_ms = loop_tick_ms(conn->loop);
    account(conn, &r, (size_t)size, scratch);
    return (size_t)size == r.body + r.payload + r.scratch;
}

void conn_on_readable(void *arg)
{
    struct conn *conn = arg;
    conn_enter(conn);
    for (int call = 0; call < READ_CALLS_MAX && may_parse(conn); call++)
        if (!read_once(conn))
            break;
    (void)conn_leave(conn);
}

/* ---- pausing ---- */

void conn_pause(struct conn *conn)
{
    CHECK_OBJ(conn, CONN_MAGIC);
    conn->is_paused = true;
    if (conn->is_open)
        loop_watch_read(&conn->watch, false);
}

void conn_resume(struct conn *conn)
{
    CHECK_OBJ(conn, CONN_MAGIC);
    if (!conn->is_paused)
        return;
    conn->is_paused = false;
    if (conn->is_open)
        loop_defer_schedule(&conn->resume);
}

void conn_on_resume(void *arg)
{
    struct conn *conn = arg;
    if (!may_parse(conn))
        return;
    conn_enter(conn);
    loop_watch_read(&conn->watch, true);
    if (conn->carry_size > 0) {
        uint8_t *scratch = loop_scratch(conn->loop);
        uint32_t size = conn->carry_size;
        memcpy(scratch, conn->carry, size);
        conn->heard_ms = conn->frame_started_ms = loop_tick_ms(conn->loop);
        uint32_t used = parse(conn, slice_of(scratch, size));
        keep(conn, slice_of(scratch + used, size - used));
    }
    (void)conn_leave(conn);
}
