/* Memory of one request: grows in blocks, freed as a whole. One thread at a time. */
#ifndef CAIRN_BASE_ARENA_H
#define CAIRN_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used, total;
};

void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for any type */
void *arena_copy(struct arena *a, const void *data, size_t size);
void arena_reset(struct arena *a);   /* keeps one block for the next request */
void arena_release(struct arena *a); /* frees all; a zeroed struct is an empty arena */

#endif
