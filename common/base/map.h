/* Hash map from u64 or bytes to a pointer, open addressing, seeded against crafted keys.
 *
 * The map owns copies of byte keys; values belong to the caller. One thread at a time. */
#ifndef CAIRN_BASE_MAP_H
#define CAIRN_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/slice.h"

struct map_entry {
    uint64_t hash; /* 0 = never used, 1 = deleted, otherwise the key's hash */
    uint64_t key;  /* the u64 key, or the size of the byte key */
    uint8_t *bytes;
    void *value;
};

struct map {
    uint64_t seed;
    struct map_entry *entries;
    size_t capacity, count, used; /* used counts deleted ones too */
};

void map_init(struct map *m, uint64_t seed);
void map_release(struct map *m);

void *map_get(const struct map *m, uint64_t key);        /* NULL when absent */
void *map_put(struct map *m, uint64_t key, void *value); /* the previous value or NULL */
void *map_remove(struct map *m, uint64_t key);           /* the removed value or NULL */

void *map_get_bytes(const struct map *m, struct slice key);
void *map_put_bytes(struct map *m, struct slice key, void *value);
void *map_remove_bytes(struct map *m, struct slice key);

/* Walks all entries in no order: start with *cursor = 0; NULL at the end. Removing the entry just
 * returned is allowed, inserting is not. */
struct map_entry *map_next(const struct map *m, size_t *cursor);

#endif
