/* Durability: flushing chunks, retiring the intent log. The first failed flush fails the target. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

/* What a flush that starts now will have made durable when it succeeds. */
struct flush_goal {
    uint64_t write_count;
    bool dirty, name_dirty;
};

static struct flush_goal goal_of(struct store *s, struct chunk *c)
{
    lock_mutex(&s->cache.lock);
    struct flush_goal goal = {c->write_count, c->write_count != c->synced_count,
                              c->created_count > c->name_synced_count};
    unlock_mutex(&s->cache.lock);
    return goal;
}

static void reached(struct store *s, struct chunk *c, struct flush_goal goal, bool name_too)
{
    lock_mutex(&s->cache.lock);
    if (goal.write_count > c->synced_count) {
        c->synced_count = goal.write_count;
        if (c->synced_count != c->write_count)
            c->dirty_since_ms = atomic_load(&s->now_ms);
    }
    if (name_too && goal.write_count > c->name_synced_count)
        c->name_synced_count = goal.write_count;
    unlock_mutex(&s->cache.lock);
}

static int sync_folder(struct store *s, const struct chunk *c)
{
    struct store_entry e = {.id = c->id, .shard = c->header.shard, .copies = c->header.copies};
    char name[FILE_NAME_SIZE];
    store_file_name(&e, name);
    name[6] = '\0'; /* "2-03ff" */
    int fd = openat(s->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return error;
}

/* The chunk is referenced, not locked. Writers go on while the disk works: a duplicate keeps the
 * file open should the chunk be deleted meanwhile. */
int chunk_flush(struct store *s, struct chunk *c)
{
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    CHECK(pthread_rwlock_rdlock(&c->lock) == 0);
    struct flush_goal goal = goal_of(s, c);
    if (!goal.dirty && !goal.name_dirty) {
        chunk_unlock(c);
        return 0;
    }
    int fd = c->state == CHUNK_PRESENT ? fcntl(c->fd, F_DUPFD_CLOEXEC, 0) : -1;
    int error = c->state == CHUNK_PRESENT && fd < 0 ? errno : 0;
    bool present = c->state == CHUNK_PRESENT;
    chunk_unlock(c);
    if (error != 0)
        return err_from_errno(error);
    if (present) {
        if (fdatasync(fd) != 0)
            error = errno;
        (void)close(fd);
        COUNT(s, flushes);
        if (error == 0 && goal.name_dirty)
            error = sync_folder(s, c);
        if (error != 0)
            return store_fail(s, "flush of a chunk", error);
    }
    reached(s, c, goal, true);
    return 0;
}

static int flush_by_syncfs(struct store *s, struct chunk **chunks, uint32_t count)
{
    struct flush_goal *goals = calloc(count, sizeof *goals);
    CHECK(goals != NULL);
    for (uint32_t i = 0; i < count; i++)
        goals[i] = goal_of(s, chunks[i]);
    int error = syncfs(s->root) == 0 ? 0 : errno;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        reached(s, chunks[i], goals[i], true);
        COUNT(s, flushes);
    }
    free(goals);
    return error == 0 ? 0 : store_fail(s, "syncfs", error);
}

static int flush_these(struct store *s, struct chunk **chunks, uint32_t count)
{
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    if (count >= SYNCFS_FROM)
        return flush_by_syncfs(s, chunks, count);
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++)
        status = chunk_flush(s, chunks[i]);
    return status;
}

static void unref_all(struct store *s, struct chunk **chunks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        chunk_unref(s, chunks[i]);
    free(chunks);
}

int flush_all(struct store *s)
{
    uint32_t count;
    struct chunk **dirty = cache_all(s, true, &count);
    int status = flush_these(s, dirty, count);
    unref_all(s, dirty, count);
    return status;
}

/* Waits for the change under way on each chunk that was covered by the generation before. */
static void wait_for_changes(struct store *s)
{
    uint32_t count;
    struct chunk **all = cache_all(s, false, &count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(pthread_rwlock_rdlock(&all[i]->lock) == 0);
        chunk_unlock(all[i]);
    }
    unref_all(s, all, count);
}

/* Under chores. Order: new generation; everything of the old one flushed; the index told (a killed
 * process repairs it only from entries newer than the label says); then the label. A checkpoint
 * that was cut short is taken up again before the next generation may begin and reuse its area. */
int store_checkpoint(struct store *s)
{
    uint64_t old = atomic_load(&s->intents.generation);
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    if (s->label.generation_clean + 1 == old)
        intent_next_generation(&s->intents, old + 1);
    else
        old--;
    wait_for_changes(s);
    int status = flush_all(s);
    if (status != 0)
        return status;
    bool index_good = index_commit(s) == 0;
    lock_mutex(&s->label_lock);
    s->label.generation_clean = old;
    s->label.index_good = index_good;
    int error = label_write(s->label_fd, &s->label);
    unlock_mutex(&s->label_lock);
    if (error != 0)
        return store_fail(s, "write of the label", error);
    s->checkpoint_ms = atomic_load(&s->now_ms);
    COUNT(s, checkpoints);
    return 0;
}

int store_sync(struct store *s, const struct chunk_id *id)
{
    struct chunk *c;
    int status = chunk_acquire(s, id, CHUNK_READ, &c);
    if (status != 0)
        return status;
    status = chunk_usable(c, NULL);
    chunk_unlock(c);
    if (status == 0)
        status = chunk_flush(s, c);
    chunk_unref(s, c);
    return status;
}

static int flush_due(struct store *s, uint64_t now_ms)
{
    uint32_t count, due = 0;
    struct chunk **dirty = cache_all(s, true, &count);
    bool crowded = count > s->cache.count_max / 2;
    for (uint32_t i = 0; i < count; i++) {
        lock_mutex(&s->cache.lock);
        bool old = now_ms - dirty[i]->dirty_since_ms >= FLUSH_AGE_MS;
        unlock_mutex(&s->cache.lock);
        if (old || crowded) {
            struct chunk *swapped = dirty[due];
            dirty[due++] = dirty[i];
            dirty[i] = swapped;
        }
    }
    int status = flush_these(s, dirty, due);
    unref_all(s, dirty, count);
    return status;
}

int store_sync_some(struct store *s, uint64_t now_ms)
{
    CHECK_OBJ(s, STORE_MAGIC);
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    if (now_ms > atomic_load(&s->now_ms))
        atomic_store(&s->now_ms, now_ms);
    int status = flush_due(s, now_ms);
    if (status != 0)
        return status;
    unsigned used = atomic_load(&s->intents.used);
    if (used >= INTENT_CAPACITY / 2 ||
        (used > 0 && now_ms - s->checkpoint_ms >= CHECKPOINT_AGE_MS)) {
        lock_mutex(&s->chores);
        status = store_checkpoint(s);
        unlock_mutex(&s->chores);
        return status;
    }
    /* A full disk can keep the index from being written; the entries wait in memory. */
    status = index_commit(s);
    return status == -ERR_NO_SPACE ? 0 : status;
}
