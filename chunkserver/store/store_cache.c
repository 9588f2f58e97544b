/* Chunks in memory: their locks, headers and open files, the least recently used let go first. What
 * is not flushed or not in the index yet stays: the cache is the truth about it. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

/* Past this multiple of the limit, when nothing can be let go (the index cannot be written), new
 * chunks are refused. */
enum { OVERFLOW_FACTOR = 4 };

void cache_init(struct cache *cache, uint32_t count_max)
{
    CHECK(pthread_mutex_init(&cache->lock, NULL) == 0);
    map_init(&cache->chunks, random_u64());
    list_init(&cache->idle);
    list_init(&cache->pending);
    cache->count_max = count_max ? count_max : OPEN_CHUNKS_DEFAULT;
}

void chunk_forget_file(struct chunk *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    free(c->tail);
    c->tail = NULL;
}

static void chunk_destroy(struct chunk *c)
{
    CHECK_OBJ(c, CHUNK_MAGIC);
    chunk_forget_file(c);
    CHECK(pthread_rwlock_destroy(&c->lock) == 0);
    c->magic = 0;
    free(c);
}

void cache_release(struct cache *cache)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&cache->chunks, &cursor));) {
        struct chunk *c = e->value;
        CHECK(c->references == 0);
        chunk_destroy(c);
    }
    map_release(&cache->chunks);
    CHECK(pthread_mutex_destroy(&cache->lock) == 0);
}

static struct slice key_of(const struct chunk_id *id)
{
    _Static_assert(sizeof *id == 16, "the id is its own key: it must not have padding");
    return slice_of(id, sizeof *id);
}

static bool pinned(const struct chunk *c)
{
    return c->write_count != c->synced_count || c->index_pending;
}

/* Under cache.lock, after anything that may have changed whether the chunk can be let go. */
static void settle(struct store *s, struct chunk *c)
{
    list_remove(&c->node);
    if (c->references > 0 || pinned(c))
        return;
    if (c->entry_known && !c->entry_present) /* the first to go: nobody will ask for it */
        list_prepend(&s->cache.idle, &c->node);
    else
        list_append(&s->cache.idle, &c->node);
}

static struct chunk *chunk_create(const struct chunk_id *id)
{
    struct chunk *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->magic = CHUNK_MAGIC;
    c->id = *id;
    c->fd = -1;
    list_init(&c->node);
    list_init(&c->pending);
    /* A stream of readers must not keep a writer waiting for ever. */
    c->lock = (pthread_rwlock_t)PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
    return c;
}

static struct chunk *find(struct store *s, const struct chunk_id *id)
{
    struct chunk *c = map_get_bytes(&s->cache.chunks, key_of(id));
    if (c) {
        c->references++;
        list_remove(&c->node);
    }
    return c;
}

/* Under cache.lock: takes one idle chunk out, for the caller to destroy without the lock. */
static struct chunk *evict(struct store *s)
{
    if (s->cache.chunks.count < s->cache.count_max || list_empty(&s->cache.idle))
        return NULL;
    struct chunk *victim = CONTAINER_OF(s->cache.idle.next, struct chunk, node);
    list_remove(&victim->node);
    (void)map_remove_bytes(&s->cache.chunks, key_of(&victim->id));
    return victim;
}

/* Everything is in use, unflushed or not indexed: the operation that needs a place pays for a flush
 * of all (one syncfs), which is what holds fast writers back. */
static int make_room(struct store *s)
{
    lock_mutex(&s->chores);
    lock_mutex(&s->cache.lock);
    bool wanted = list_empty(&s->cache.idle);
    unlock_mutex(&s->cache.lock);
    int status = wanted ? flush_all(s) : 0;
    if (status == 0 && wanted)
        (void)index_commit(s); /* without it the chunks stay here, up to the overflow limit */
    unlock_mutex(&s->chores);
    return status;
}

static int find_or_add(struct store *s, const struct chunk_id *id, struct chunk **ret_chunk)
{
    bool room_made = false;
    for (;;) {
        struct chunk *victim = NULL, *c;
        lock_mutex(&s->cache.lock);
        c = find(s, id);
        size_t count = s->cache.chunks.count;
        bool full = count >= s->cache.count_max && list_empty(&s->cache.idle);
        if (!c && (!full || (room_made && count < (size_t)s->cache.count_max * OVERFLOW_FACTOR))) {
            victim = evict(s);
            c = chunk_create(id);
            c->references = 1;
            (void)map_put_bytes(&s->cache.chunks, key_of(id), c);
        }
        unlock_mutex(&s->cache.lock);
        if (victim)
            chunk_destroy(victim);
        if (c) {
            *ret_chunk = c;
            return 0;
        }
        if (room_made)
            return -ERR_LIMIT;
        int status = make_room(s);
        if (status != 0)
            return status;
        room_made = true;
    }
}

void chunk_unref(struct store *s, struct chunk *c)
{
    lock_mutex(&s->cache.lock);
    CHECK(c->references > 0);
    c->references--;
    settle(s, c);
    unlock_mutex(&s->cache.lock);
}

void chunk_unlock(struct chunk *c)
{
    CHECK(pthread_rwlock_unlock(&c->lock) == 0);
}

static struct store_entry entry_of(const struct chunk *c)
{
    struct store_entry e = {.id = c->id, .shard = c->header.shard, .copies = c->header.copies};
    if (c->header.flags & HEADER_SUSPECT)
        e.flags |= STORE_ENTRY_SUSPECT;
    if (c->state == CHUNK_PRESENT) {
        e.version = c->header.version;
        e.length = c->header.length;
    } else {
        e.flags |= STORE_ENTRY_DAMAGED;
    }
    return e;
}

static void note_entry(struct store *s, struct chunk *c, bool for_index)
{
    if (c->entry_known && c->entry_present)
        sizes_take(s, &c->entry);
    c->entry_known = true;
    c->entry_present = c->state != CHUNK_ABSENT;
    c->entry = entry_of(c);
    if (c->entry_present)
        sizes_add(s, &c->entry);
    if (for_index && !c->index_pending) {
        c->index_pending = true;
        list_append(&s->cache.pending, &c->pending);
    }
}

void chunk_publish(struct store *s, struct chunk *c, bool changed)
{
    lock_mutex(&s->cache.lock);
    if (changed) {
        if (c->write_count == c->synced_count)
            c->dirty_since_ms = atomic_load(&s->now_ms);
        c->write_count++;
    }
    note_entry(s, c, changed);
    unlock_mutex(&s->cache.lock);
}

void chunk_publish_gone(struct store *s, struct chunk *c)
{
    lock_mutex(&s->cache.lock);
    note_entry(s, c, true);
    unlock_mutex(&s->cache.lock);
}

void chunk_let_go(struct store *s, struct chunk *c, bool changed)
{
    if (changed)
        chunk_publish(s, c, true);
    chunk_unlock(c);
    chunk_unref(s, c);
}

/* Under the write lock: looks the chunk up and reads its header. */
static int load(struct store *s, struct chunk *c)
{
    struct store_entry e;
    int status = index_get(s, &c->id, &e);
    if (status == -ERR_LOST_CHUNK) {
        c->state = CHUNK_ABSENT;
        chunk_publish(s, c, false);
        return 0;
    }
    if (status != 0)
        return status;
    status = load_header(s, &e, &c->fd, &c->header, c->page, &c->tail);
    /* The index is written behind the header, and repaired before it is used again: a header that
     * is older belongs to a file that somebody has put back (D2). */
    if (status == 0 && chunk_version_compare(&c->header.version, &e.version) < 0) {
        chunk_forget_file(c);
        status = -ERR_CORRUPT;
    }
    if (status == 0) {
        c->state = CHUNK_PRESENT;
        c->intent_generation = c->header.generation;
    } else if (status == -ERR_LOST_CHUNK || status == -ERR_CORRUPT || status == -ERR_VERSION) {
        c->state = status == -ERR_LOST_CHUNK ? CHUNK_LOST : CHUNK_DAMAGED;
        c->header = (struct chunk_header){.id = e.id, .shard = e.shard, .copies = e.copies};
        if (e.flags & STORE_ENTRY_SUSPECT)
            c->header.flags = HEADER_SUSPECT;
    } else {
        return status;
    }
    struct store_entry now = entry_of(c);
    lock_mutex(&s->cache.lock);
    c->entry = e; /* until here the index spoke for it */
    c->entry_known = c->entry_present = true;
    note_entry(s, c,
               now.flags != e.flags || now.length != e.length ||
                   chunk_version_compare(&now.version, &e.version) != 0);
    unlock_mutex(&s->cache.lock);
    return 0;
}

int chunk_acquire(struct store *s, const struct chunk_id *id, enum chunk_access access,
                  struct chunk **ret_chunk)
{
    struct chunk *c;
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    int status = find_or_add(s, id, &c);
    if (status != 0)
        return status;
    if (access == CHUNK_READ) {
        CHECK(pthread_rwlock_rdlock(&c->lock) == 0);
        if (c->state != CHUNK_UNKNOWN) {
            COUNT(s, cache_hits);
            *ret_chunk = c;
            return 0;
        }
        chunk_unlock(c);
    }
    CHECK(pthread_rwlock_wrlock(&c->lock) == 0);
    if (c->state == CHUNK_UNKNOWN) {
        COUNT(s, cache_misses);
        status = load(s, c);
    } else {
        COUNT(s, cache_hits);
    }
    /* A reader keeps the write lock for its first read only. */
    if (status != 0)
        chunk_let_go(s, c, false);
    else
        *ret_chunk = c;
    return status;
}

int chunk_try_acquire(struct store *s, const struct chunk_id *id, struct chunk **ret_chunk)
{
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    lock_mutex(&s->cache.lock);
    struct chunk *c = find(s, id);
    unlock_mutex(&s->cache.lock);
    if (!c)
        return -ERR_BUSY;
    if (pthread_rwlock_tryrdlock(&c->lock) == 0) {
        if (c->state != CHUNK_UNKNOWN) {
            *ret_chunk = c;
            return 0;
        }
        chunk_unlock(c);
    }
    chunk_unref(s, c);
    return -ERR_BUSY;
}

bool cache_peek(struct store *s, const struct chunk_id *id, bool *ret_present,
                struct store_entry *ret_entry)
{
    lock_mutex(&s->cache.lock);
    struct chunk *c = map_get_bytes(&s->cache.chunks, key_of(id));
    bool known = c && c->entry_known;
    if (known) {
        *ret_present = c->entry_present;
        *ret_entry = c->entry;
    }
    unlock_mutex(&s->cache.lock);
    return known;
}

struct chunk **cache_all(struct store *s, bool dirty_only, uint32_t *ret_count)
{
    lock_mutex(&s->cache.lock);
    struct chunk **all = calloc(s->cache.chunks.count + 1, sizeof(struct chunk *));
    CHECK(all != NULL);
    uint32_t count = 0;
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&s->cache.chunks, &cursor));) {
        struct chunk *c = e->value;
        if (dirty_only && c->write_count == c->synced_count)
            continue;
        c->references++;
        list_remove(&c->node);
        all[count++] = c;
    }
    unlock_mutex(&s->cache.lock);
    *ret_count = count;
    return all;
}

int chunk_usable(const struct chunk *c, struct store_fault *ret_fault)
{
    switch (c->state) {
    case CHUNK_PRESENT:
        return 0;
    case CHUNK_DAMAGED:
        if (ret_fault)
            *ret_fault = (struct store_fault){.suspect = (c->header.flags & HEADER_SUSPECT) != 0,
                                              .header = true};
        return -ERR_CORRUPT;
    case CHUNK_ABSENT:
    case CHUNK_LOST:
        return -ERR_LOST_CHUNK;
    case CHUNK_UNKNOWN:
        break;
    }
    UNREACHABLE("chunk state %d", (int)c->state);
}
