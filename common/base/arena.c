/* Memory of one request. */
#include "common/base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

struct arena_block {
    struct arena_block *older;
    size_t capacity;
    alignas(max_align_t) uint8_t data[];
};

enum { BLOCK_SIZE_MIN = 4000 };

static void add_block(struct arena *a, size_t size)
{
    size_t capacity = size > BLOCK_SIZE_MIN ? size : BLOCK_SIZE_MIN;
    struct arena_block *block = malloc(sizeof *block + capacity);
    CHECK(block != NULL);
    block->older = a->blocks;
    block->capacity = capacity;
    a->blocks = block;
    a->used = 0;
    a->total += capacity;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t at = (a->used + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!a->blocks || at > a->blocks->capacity || a->blocks->capacity - at < size) {
        add_block(a, size);
        at = 0;
    }
    a->used = at + size;
    return memset(a->blocks->data + at, 0, size);
}

void *arena_copy(struct arena *a, const void *data, size_t size)
{
    void *copy = arena_alloc(a, size);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

void arena_reset(struct arena *a)
{
    while (a->blocks && a->blocks->older) {
        struct arena_block *older = a->blocks->older;
        a->total -= a->blocks->capacity;
        free(a->blocks);
        a->blocks = older;
    }
    a->used = 0;
}

void arena_release(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *older = a->blocks->older;
        free(a->blocks);
        a->blocks = older;
    }
    *a = (struct arena){0};
}
