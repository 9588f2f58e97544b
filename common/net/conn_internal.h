/* The inside of struct conn, shared by conn.c and conn_receive.c only. */
#ifndef CAIRN_NET_CONN_INTERNAL_H
#define CAIRN_NET_CONN_INTERNAL_H

#include "common/net/conn.h"
#include "common/net/send_queue.h"

enum {
    CONN_MAGIC = 0x636f6e6e,
    /* Bodies up to this size need no block of their own while a frame comes in pieces: the usual
     * chunk request with its block crcs fits. */
    BODY_INLINE_SIZE = 2048,
};

/* The frame being received, once its header is complete and admitted. */
struct incoming {
    bool is_active;
    struct frame_header header;
    struct buf *body_owner; /* NULL: the body is inline */
    struct buf *payload;
    uint32_t body_have, payload_have;
};

struct conn {
    uint32_t magic;
    unsigned depth; /* callbacks on the stack: the struct is freed by the last one */
    bool is_open, is_doomed, is_closing;
    bool is_paused;      /* by the owner */
    bool is_output_full; /* above queue_bytes_high */
    bool expects_bulk;   /* the last frame had a large payload: so may the next */
    struct loop *loop;
    struct transport transport;
    const struct conn_owner *owner;
    void *arg;
    uint64_t queue_bytes_high;
    unsigned idle_timeout_ms, stall_timeout_ms;

    struct loop_watch watch;
    struct loop_defer flush, resume;
    struct loop_timer watchdog;
    uint64_t heard_ms, sent_ms;

    struct send_queue queue;
    int close_status;
    char close_why[120];

    struct incoming in;
    uint64_t frame_started_ms; /* when its first bytes came */
    uint64_t closing_admitted; /* conn_admitted at the moment of closing */
    /* Received and not yet looked at: part of a header, or frames behind a pause. */
    uint8_t *carry;
    uint32_t carry_size;
    uint8_t body_inline[BODY_INLINE_SIZE];
};

/* Brackets around anything that calls the owner. conn_leave frees a doomed connection; true when
 * it is still open. */
void conn_enter(struct conn *conn);
bool conn_leave(struct conn *conn);

void conn_on_readable(void *arg);
void conn_on_resume(void *arg);
void conn_receive_release(struct conn *conn);
/* Is a frame under way? Since when, and how large is it? */
bool conn_receive_partial(const struct conn *conn, uint64_t *ret_started_ms, uint64_t *ret_size);

#endif
