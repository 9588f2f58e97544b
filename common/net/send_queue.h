/* What a connection still has to send: small things copied into shared blocks, bulk by reference.
 *
 * Frames queued in one iteration lie side by side in one block and leave in one writev. One
 * thread. */
#ifndef CAIRN_NET_SEND_QUEUE_H
#define CAIRN_NET_SEND_QUEUE_H

#include <stdint.h>
#include <sys/uio.h>

#include "common/net/rpc_types.h"
#include "common/wire/frame.h"

enum { SEND_PARTS_MAX = 64 }; /* slices per writev: beyond, the kernel's work per slice dominates */

/* A ring of slices, each holding one reference to its block. */
struct send_queue {
    struct net_slice *slices;
    uint32_t head, count, capacity; /* capacity is a power of two */
    uint64_t bytes;                 /* waiting in all slices */
    struct buf *cork;               /* the block that small things go into; may be NULL */
    uint32_t cork_used;
};

void send_queue_init(struct send_queue *queue);
void send_queue_release(struct send_queue *queue);
/* Appends one frame; sizes and body crc are filled in here. `body` is copied, the payload
 * referenced. The sizes must be within FRAME_BODY_MAX and FRAME_PAYLOAD_MAX. */
void send_queue_add(struct send_queue *queue, struct frame_header header, struct slice body,
                    const struct net_slice *payload, unsigned payload_count);
/* The first slices, up to SEND_PARTS_MAX. */
int send_queue_parts(const struct send_queue *queue, struct iovec ret_parts[SEND_PARTS_MAX]);
/* Removes `size` bytes from the front. */
void send_queue_advance(struct send_queue *queue, uint64_t size);
/* Sum of the sizes of a payload. */
uint64_t net_slices_size(const struct net_slice *slices, unsigned count);

#endif
