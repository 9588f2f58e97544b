/* A growing byte string, for encoding. Owned by the caller; aborts when memory is exhausted. */
#ifndef CAIRN_BASE_BYTES_H
#define CAIRN_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/slice.h"

struct bytes {
    uint8_t *data;
    size_t size, capacity;
};

void bytes_release(struct bytes *b);
void bytes_reserve(struct bytes *b, size_t more); /* room for `more` bytes behind size */
void bytes_append(struct bytes *b, const void *data, size_t size);

static inline void bytes_clear(struct bytes *b)
{
    b->size = 0;
}

static inline struct slice bytes_slice(const struct bytes *b)
{
    return slice_of(b->data, b->size);
}

#endif
