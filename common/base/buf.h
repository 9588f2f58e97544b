/* Counted data blocks, passed by reference from socket to disk without copying.
 *
 * A block is made with one reference; the last buf_unref frees it (large ones go to a bounded
 * pool, because mapping and faulting a fresh megabyte costs more than filling it). Any thread.
 * Blocks of 4 KiB and more are aligned to 4 KiB. */
#ifndef CAIRN_BASE_BUF_H
#define CAIRN_BASE_BUF_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    atomic_uint references;
    uint32_t size_class; /* index of the pool it returns to */
    size_t capacity;
    uint8_t *data;
};

/* Aborts when memory is exhausted: callers ask only for sizes that a limit has bounded. */
struct buf *buf_create(size_t capacity);
struct buf *buf_ref(struct buf *b);
void buf_unref(struct buf *b); /* NULL is allowed */

#endif
