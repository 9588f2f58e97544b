/* A framed connection: frames in, frames out, limits and time-outs. Knows nothing of calls.
 *
 * Reading: bytes go into the loop's scratch block, many small frames per system call; what is still
 * missing of a frame is read straight into the buffer it will stay in. A header is checked (crc,
 * magic, limits, the owner's admit) before anything is allocated for it.
 * Writing: frames queue up and leave at the end of the iteration.
 *
 * Loop thread only. Callbacks may call conn_close and conn_destroy on their own connection. */
#ifndef CAIRN_NET_CONN_H
#define CAIRN_NET_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/net/loop.h"
#include "common/net/rpc_types.h"
#include "common/net/transport.h"
#include "common/wire/frame.h"

struct conn;

/* A whole frame with a good crc, borrowed for the callback. */
struct conn_message {
    struct frame_header header;
    struct slice body;
    struct buf *body_owner; /* where the body lies, when in a block of its own: may be taken by
                               setting it to NULL. Otherwise the body ends with the callback */
    struct buf *payload;    /* bytes from 0; may be taken by setting it to NULL */
};

struct conn_owner {
    /* May the frame with this header be received? 0: yes, its memory counts from now on (see
     * conn_admitted). -ERR_BUSY: not now, reading stops until conn_resume, then it is asked again.
     * Any other error closes the connection. NULL: always. */
    int (*admit)(void *arg, const struct frame_header *header);
    void (*message)(void *arg, struct conn_message *message);
    /* Once, unless conn_destroy came first; status 0 = the other end closed in good order. Frames
     * not yet sent are lost. The owner destroys the connection, now or later. */
    void (*closed)(void *arg, int status, const char *why);
    /* Is somebody still waiting for an answer? Then the idle time-out does not count. NULL: no. */
    bool (*is_busy)(void *arg);
};

struct conn_options {
    const struct conn_owner *owner;
    void *arg;
    uint64_t queue_bytes_high; /* above: stop reading until half of it has left; 0 = never */
    unsigned idle_timeout_ms;  /* 0 = none */
    unsigned stall_timeout_ms; /* 0 = none; a frame's bytes must also come at 256 KiB/s */
};

/* Takes the transport, starts reading. */
struct conn *conn_create(struct loop *loop, struct transport take_transport,
                         const struct conn_options *options);
/* Closes without a callback. NULL is allowed. */
void conn_destroy(struct conn *conn);
/* Closes now; `closed` is called from inside. Harmless on a closed connection. */
void conn_close(struct conn *conn, int status, const char *why);
/* Reads no more and closes (as above, with this status) when all that is queued has left. */
void conn_close_after_flush(struct conn *conn, int status, const char *why);
bool conn_is_open(const struct conn *conn);

/* Queues a frame (see send_queue_add); dropped when the connection is closed. */
void conn_send(struct conn *conn, const struct frame_header *header, struct slice body,
               const struct net_slice *payload, unsigned payload_count);
uint64_t conn_queued_bytes(const struct conn *conn);
/* Bytes of a frame that was admitted and has not been handed out yet. */
uint64_t conn_admitted(const struct conn *conn);
/* Stops reading; what is already received is kept, not handed out. */
void conn_pause(struct conn *conn);
/* Goes on at the end of this iteration. */
void conn_resume(struct conn *conn);
/* loop_tick_ms of the last bytes received. */
uint64_t conn_heard_ms(const struct conn *conn);

#endif
