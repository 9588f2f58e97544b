/* Hash map with open addressing and linear probing. */
#include "common/base/map.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

enum { NEVER_USED = 0, DELETED = 1, CAPACITY_MIN = 16 };

/* splitmix64's finisher: Steele, Lea, Flood, "Fast splittable pseudorandom number generators". */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t usable(uint64_t hash)
{
    return hash <= DELETED ? hash + 2 : hash;
}

static uint64_t hash_u64(const struct map *m, uint64_t key)
{
    return usable(mix(key ^ m->seed));
}

static uint64_t hash_bytes(const struct map *m, struct slice key)
{
    uint64_t h = m->seed ^ key.size;
    size_t i = 0;
    for (; i + 8 <= key.size; i += 8) {
        uint64_t word;
        memcpy(&word, key.data + i, 8);
        h = mix(h ^ word);
    }
    uint64_t tail = 0;
    if (i < key.size)
        memcpy(&tail, key.data + i, key.size - i);
    return usable(mix(h ^ tail));
}

void map_init(struct map *m, uint64_t seed)
{
    *m = (struct map){.seed = mix(seed)};
}

void map_release(struct map *m)
{
    for (size_t i = 0; i < m->capacity; i++)
        free(m->entries[i].bytes);
    free(m->entries);
    *m = (struct map){.seed = m->seed};
}

static void rebuild(struct map *m, size_t capacity)
{
    struct map_entry *old = m->entries;
    size_t old_capacity = m->capacity;
    m->entries = calloc(capacity, sizeof *m->entries);
    CHECK(m->entries != NULL);
    m->capacity = capacity;
    m->used = m->count;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].hash <= DELETED)
            continue;
        size_t at = old[i].hash & (capacity - 1);
        while (m->entries[at].hash != NEVER_USED)
            at = (at + 1) & (capacity - 1);
        m->entries[at] = old[i];
    }
    free(old);
}

static bool same(const struct map_entry *e, uint64_t hash, uint64_t key, const uint8_t *bytes)
{
    if (e->hash != hash || e->key != key || (e->bytes == NULL) != (bytes == NULL))
        return false;
    return bytes == NULL || memcmp(e->bytes, bytes, key) == 0;
}

static struct map_entry *find(const struct map *m, uint64_t hash, uint64_t key,
                              const uint8_t *bytes)
{
    if (m->capacity == 0)
        return NULL;
    for (size_t at = hash & (m->capacity - 1);; at = (at + 1) & (m->capacity - 1)) {
        struct map_entry *e = &m->entries[at];
        if (e->hash == NEVER_USED)
            return NULL;
        if (same(e, hash, key, bytes))
            return e;
    }
}

static void *put(struct map *m, uint64_t hash, uint64_t key, const uint8_t *bytes, void *value)
{
    CHECK(value != NULL);
    struct map_entry *e = find(m, hash, key, bytes);
    if (e) {
        void *previous = e->value;
        e->value = value;
        return previous;
    }
    if ((m->used + 1) * 4 > m->capacity * 3)
        rebuild(m, m->count * 2 < CAPACITY_MIN   ? CAPACITY_MIN
                   : m->count * 2 >= m->capacity ? m->capacity * 2
                                                 : m->capacity);
    size_t at = hash & (m->capacity - 1);
    while (m->entries[at].hash > DELETED)
        at = (at + 1) & (m->capacity - 1);
    e = &m->entries[at];
    if (e->hash == NEVER_USED)
        m->used++;
    m->count++;
    *e = (struct map_entry){.hash = hash, .key = key, .value = value};
    if (bytes) {
        e->bytes = malloc(key ? key : 1);
        CHECK(e->bytes != NULL);
        memcpy(e->bytes, bytes, key);
    }
    return NULL;
}

static void *remove_entry(struct map *m, struct map_entry *e)
{
    if (!e)
        return NULL;
    void *value = e->value;
    free(e->bytes);
    *e = (struct map_entry){.hash = DELETED};
    m->count--;
    return value;
}

static const uint8_t empty_key[1];

static const uint8_t *key_data(struct slice key)
{
    return key.data ? key.data : empty_key;
}

void *map_get(const struct map *m, uint64_t key)
{
    struct map_entry *e = find(m, hash_u64(m, key), key, NULL);
    return e ? e->value : NULL;
}

void *map_put(struct map *m, uint64_t key, void *value)
{
    return put(m, hash_u64(m, key), key, NULL, value);
}

void *map_remove(struct map *m, uint64_t key)
{
    return remove_entry(m, find(m, hash_u64(m, key), key, NULL));
}

void *map_get_bytes(const struct map *m, struct slice key)
{
    struct map_entry *e = find(m, hash_bytes(m, key), key.size, key_data(key));
    return e ? e->value : NULL;
}

void *map_put_bytes(struct map *m, struct slice key, void *value)
{
    return put(m, hash_bytes(m, key), key.size, key_data(key), value);
}

void *map_remove_bytes(struct map *m, struct slice key)
{
    return remove_entry(m, find(m, hash_bytes(m, key), key.size, key_data(key)));
}

struct map_entry *map_next(const struct map *m, size_t *cursor)
{
    while (*cursor < m->capacity) {
        struct map_entry *e = &m->entries[(*cursor)++];
        if (e->hash > DELETED)
            return e;
    }
    return NULL;
}
