/* The send queue of a connection. */
#include "common/net/send_queue.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/wire/types.h"
#include "common/base/banned.h"

enum {
    /* Holds the replies of a usual batch; a busier one takes several. */
    CORK_SIZE = 32 << 10,
    /* Bodies from here on get a block of their own instead of spoiling half a cork. */
    BODY_ALONE_SIZE = 8 << 10,
};

void send_queue_init(struct send_queue *queue)
{
    *queue = (struct send_queue){.capacity = 0};
}

static struct net_slice *slice_at(const struct send_queue *queue, uint32_t index)
{
    return &queue->slices[(queue->head + index) & (queue->capacity - 1)];
}

void send_queue_release(struct send_queue *queue)
{
    for (uint32_t i = 0; i < queue->count; i++)
        buf_unref(slice_at(queue, i)->buf);
    buf_unref(queue->cork);
    free(queue->slices);
    *queue = (struct send_queue){.capacity = 0};
}

static void grow(struct send_queue *queue)
{
    uint32_t capacity = queue->capacity ? queue->capacity * 2 : 16;
    struct net_slice *slices = malloc(capacity * sizeof slices[0]);
    CHECK(slices != NULL);
    for (uint32_t i = 0; i < queue->count; i++)
        slices[i] = *slice_at(queue, i);
    free(queue->slices);
    queue->slices = slices;
    queue->capacity = capacity;
    queue->head = 0;
}

/* The queue gets the caller's reference. */
static void push(struct send_queue *queue, struct buf *take_buf, uint32_t offset, uint32_t size)
{
    if (queue->count == queue->capacity)
        grow(queue);
    *slice_at(queue, queue->count) = (struct net_slice){take_buf, offset, size};
    queue->count++;
    queue->bytes += size;
}

/* Room for `size` contiguous bytes of the cork, already part of the queue. */
static uint8_t *corked(struct send_queue *queue, uint32_t size)
{
    CHECK(size <= CORK_SIZE);
    if (!queue->cork || queue->cork_used + size > CORK_SIZE) {
        buf_unref(queue->cork);
        queue->cork = buf_create(CORK_SIZE);
        queue->cork_used = 0;
    }
    uint8_t *at = queue->cork->data + queue->cork_used;
    struct net_slice *last = queue->count ? slice_at(queue, queue->count - 1) : NULL;
    if (last && last->buf == queue->cork && last->offset + last->size == queue->cork_used) {
        last->size += size;
        queue->bytes += size;
    } else {
        push(queue, buf_ref(queue->cork), queue->cork_used, size);
    }
    queue->cork_used += size;
    return at;
}

void send_queue_add(struct send_queue *queue, struct frame_header header, struct slice body,
                    const struct net_slice *payload, unsigned payload_count)
{
    uint64_t payload_size = net_slices_size(payload, payload_count);
    CHECK(body.size <= FRAME_BODY_MAX && payload_size <= FRAME_PAYLOAD_MAX);
    header.version = WIRE_VERSION;
    header.body_size = (uint32_t)body.size;
    header.payload_size = (uint32_t)payload_size;
    header.body_crc = frame_body_crc(body);
    if (body.size < BODY_ALONE_SIZE) {
        uint8_t *at = corked(queue, FRAME_HEADER_SIZE + (uint32_t)body.size);
        frame_pack(&header, at);
        if (body.size)
            memcpy(at + FRAME_HEADER_SIZE, body.data, body.size);
    } else {
        struct buf *block = buf_create(FRAME_HEADER_SIZE + body.size);
        frame_pack(&header, block->data);
        memcpy(block->data + FRAME_HEADER_SIZE, body.data, body.size);
        push(queue, block, 0, FRAME_HEADER_SIZE + (uint32_t)body.size);
    }
    for (unsigned i = 0; i < payload_count; i++) {
        const struct net_slice *part = &payload[i];
        CHECK(part->offset <= part->buf->capacity &&
              part->size <= part->buf->capacity - part->offset);
        if (part->size > 0)
            push(queue, buf_ref(part->buf), part->offset, part->size);
    }
}

int send_queue_parts(const struct send_queue *queue, struct iovec ret_parts[SEND_PARTS_MAX])
{
    int count = 0;
    for (; count < SEND_PARTS_MAX && (uint32_t)count < queue->count; count++) {
        const struct net_slice *slice = slice_at(queue, (uint32_t)count);
        ret_parts[count] =
            (struct iovec){.iov_base = slice->buf->data + slice->offset, .iov_len = slice->size};
    }
    return count;
}

void send_queue_advance(struct send_queue *queue, uint64_t size)
{
    CHECK(size <= queue->bytes);
    queue->bytes -= size;
    while (size > 0) {
        struct net_slice *first = slice_at(queue, 0);
        if (size < first->size) {
            first->offset += (uint32_t)size;
            first->size -= (uint32_t)size;
            return;
        }
        size -= first->size;
        buf_unref(first->buf);
        queue->head = (queue->head + 1) & (queue->capacity - 1);
        queue->count--;
    }
    if (queue->count == 0)
        queue->cork_used = 0; /* nobody refers to it: fill it from the start again */
}

uint64_t net_slices_size(const struct net_slice *slices, unsigned count)
{
    uint64_t size = 0;
    for (unsigned i = 0; i < count; i++)
        size += slices[i].size;
    return size;
}
