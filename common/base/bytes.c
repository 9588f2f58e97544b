/* A growing byte string. */
#include "common/base/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

void bytes_release(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

void bytes_reserve(struct bytes *b, size_t more)
{
    CHECK(more <= SIZE_MAX / 2 - b->size);
    if (b->size + more <= b->capacity)
        return;
    size_t capacity = b->capacity ? b->capacity * 2 : 256;
    while (capacity < b->size + more)
        capacity *= 2;
    b->data = realloc(b->data, capacity);
    CHECK(b->data != NULL);
    b->capacity = capacity;
}

void bytes_append(struct bytes *b, const void *data, size_t size)
{
    if (size == 0)
        return;
    bytes_reserve(b, size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}
