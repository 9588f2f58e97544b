/* How much is there of each shard: counted once from the index at start, then kept up to date with
 * every change of an entry in the cache. */
#include <stdlib.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

static struct shard_size *size_of(const struct store *s, const struct store_entry *e)
{
    if (e->copies > STORE_COPIES_MAX || e->shard > STORE_SHARD_MAX)
        return NULL; /* an index that is damaged, but can be read */
    struct shard_size *table = atomic_load(&s->sizes.by_copies[e->copies]);
    return table ? &table[e->shard] : NULL;
}

void sizes_add(struct store *s, const struct store_entry *e)
{
    if (e->copies <= STORE_COPIES_MAX && !atomic_load(&s->sizes.by_copies[e->copies])) {
        struct shard_size *table = calloc(STORE_SHARD_MAX + 1, sizeof *table);
        CHECK(table != NULL);
        atomic_store(&s->sizes.by_copies[e->copies], table);
    }
    struct shard_size *size = size_of(s, e);
    if (!size)
        return;
    if (atomic_load(&s->sizes.end[e->copies]) <= e->shard)
        atomic_store(&s->sizes.end[e->copies], e->shard + 1);
    (void)atomic_fetch_add(&size->chunks, 1);
    (void)atomic_fetch_add(&size->bytes, e->length);
}

void sizes_take(struct store *s, const struct store_entry *e)
{
    struct shard_size *size = size_of(s, e);
    if (!size)
        return;
    CHECK(atomic_fetch_sub(&size->chunks, 1) > 0);
    CHECK(atomic_fetch_sub(&size->bytes, e->length) >= e->length);
}

void sizes_release(struct store *s)
{
    for (unsigned copies = 0; copies <= STORE_COPIES_MAX; copies++)
        free(atomic_load(&s->sizes.by_copies[copies]));
}

struct store_size store_shard_size(struct store *s, uint8_t copies, uint32_t shard)
{
    struct store_entry of = {.copies = copies, .shard = shard};
    const struct shard_size *size = size_of(s, &of);
    if (!size)
        return (struct store_size){0};
    return (struct store_size){atomic_load(&size->chunks), atomic_load(&size->bytes)};
}

bool store_next_shard(struct store *s, struct store_shard *at)
{
    uint32_t shard = at->copies ? at->shard + 1 : 0;
    for (unsigned copies = at->copies ? at->copies : 1; copies <= STORE_COPIES_MAX; copies++) {
        for (uint32_t end = atomic_load(&s->sizes.end[copies]); shard < end; shard++) {
            struct store_size size = store_shard_size(s, (uint8_t)copies, shard);
            if (size.chunks == 0)
                continue;
            *at = (struct store_shard){(uint8_t)copies, shard, size};
            return true;
        }
        shard = 0;
    }
    return false;
}
