/* The intent log: names each chunk before its first change in a generation, so that after an
 * unclean stop it is known which chunks may hold a torn write (hazard D5).
 *
 * A preallocated file of two areas; generation g writes into area g % 2. A checkpoint starts
 * generation g + 1, flushes everything changed in g, then notes in the label that g is clean, which
 * frees g's area. Entries are 32 bytes, never across a 512-byte sector, so each is whole or absent.
 *
 * Why not double entries {old, new} per block CRC: they survive one overwrite in flight, but the
 * kernel may write pages back in any order over many overwrites; the log says "any mixture" about
 * few chunks for a bounded time, and costs nothing per write. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

enum {
    AREA_SIZE = INTENT_CAPACITY * INTENT_SIZE,
    INTENT_CRC_AT = INTENT_SIZE - 4,
    SHARD_BITS = 16,
    COPIES_BITS = 4,
    LOG_SEED = 0x494e544c, /* a zeroed entry is not a valid one */
};

static void pack(const struct intent *e, uint8_t at[INTENT_SIZE])
{
    put_u64(at, e->id.inode);
    put_u32(at + 8, e->id.index);
    put_u32(at + 12, e->id.generation);
    put_u64(at + 16, e->generation);
    put_u32(at + 24, e->shard | (uint32_t)e->copies << SHARD_BITS);
    put_u32(at + INTENT_CRC_AT, checksum_crc32(LOG_SEED, at, INTENT_CRC_AT));
}

static bool unpack(const uint8_t at[INTENT_SIZE], struct intent *ret_intent)
{
    uint32_t place = get_u32(at + 24);
    if (get_u32(at + INTENT_CRC_AT) != checksum_crc32(LOG_SEED, at, INTENT_CRC_AT) ||
        place >> (SHARD_BITS + COPIES_BITS) != 0)
        return false;
    *ret_intent = (struct intent){
        .id = {get_u64(at), get_u32(at + 8), get_u32(at + 12)},
        .shard = place & ((1u << SHARD_BITS) - 1),
        .copies = (uint8_t)(place >> SHARD_BITS),
        .generation = get_u64(at + 16),
    };
    return true;
}

int intent_create(int root)
{
    int fd = openat(root, "intents", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    uint8_t *zeros = calloc(1, AREA_SIZE);
    CHECK(zeros != NULL);
    /* Written, not only allocated: a flush then needs no journal commit (84 against 134 us). */
    int error = io_write(fd, zeros, AREA_SIZE, 0);
    if (error == 0)
        error = io_write(fd, zeros, AREA_SIZE, AREA_SIZE);
    if (error == 0 && fsync(fd) != 0)
        error = errno;
    free(zeros);
    (void)close(fd);
    return error;
}

int intent_open(int root, struct intent_log *log)
{
    log->fd = openat(root, "intents", O_RDWR | O_CLOEXEC);
    if (log->fd < 0)
        return errno == ENOENT ? -ERR_CORRUPT : err_from_errno(errno);
    if (lseek(log->fd, 0, SEEK_END) != 2 * (off_t)AREA_SIZE) {
        (void)close(log->fd);
        log->fd = -1;
        return -ERR_CORRUPT;
    }
    return 0;
}

void intent_release(struct intent_log *log)
{
    if (log->fd >= 0)
        (void)close(log->fd);
    log->fd = -1;
}

int intent_read(struct intent_log *log, uint64_t generation_clean, struct intent **ret_intents,
                uint32_t *ret_count)
{
    uint8_t *raw = malloc(2 * (size_t)AREA_SIZE);
    struct intent *found = calloc(2 * (size_t)INTENT_CAPACITY, sizeof *found);
    CHECK(raw != NULL && found != NULL);
    size_t size;
    int error = io_read(log->fd, raw, 2 * (size_t)AREA_SIZE, 0, &size);
    if (error != 0) {
        free(raw);
        free(found);
        return err_from_errno(error);
    }
    uint32_t count = 0;
    for (size_t at = 0; at + INTENT_SIZE <= size; at += INTENT_SIZE)
        if (unpack(raw + at, &found[count]) && found[count].generation > generation_clean)
            count++;
    free(raw);
    *ret_intents = found;
    *ret_count = count;
    return 0;
}

void intent_next_generation(struct intent_log *log, uint64_t generation)
{
    lock_mutex(&log->lock);
    atomic_store(&log->used, 0);
    atomic_store(&log->generation, generation);
    unlock_mutex(&log->lock);
}

/* Group commit: who finds nobody flushing flushes for all that have written so far. */
static int wait_durable(struct store *s, uint64_t entry)
{
    struct intent_log *log = &s->intents;
    while (log->entries_synced < entry) {
        if (atomic_load(&s->failed))
            return -ERR_TARGET_FAILED;
        if (log->syncing) {
            CHECK(pthread_cond_wait(&log->synced, &log->lock) == 0);
            continue;
        }
        log->syncing = true;
        uint64_t upto = log->entries_written;
        unlock_mutex(&log->lock);
        int error = fdatasync(log->fd) == 0 ? 0 : errno;
        COUNT(s, intent_syncs);
        if (error != 0)
            (void)store_fail(s, "flush of the intent log", error);
        lock_mutex(&log->lock);
        log->syncing = false;
        if (error == 0 && upto > log->entries_synced)
            log->entries_synced = upto;
        CHECK(pthread_cond_broadcast(&log->synced) == 0);
    }
    return 0;
}

/* A chunk that came into being in this generation needs no durable entry: its header carries the
 * generation, and without a header on disk there is nothing that was ever flushed. */
int intent_cover(struct store *s, struct chunk *c, bool durable)
{
    struct intent_log *log = &s->intents;
#ifdef PLANT_D5
    return 0;
#endif
    if (c->intent_generation == atomic_load(&log->generation))
        return 0;
    lock_mutex(&log->lock);
    uint64_t generation = atomic_load(&log->generation);
    uint32_t used = atomic_load(&log->used);
    if (used == INTENT_CAPACITY) {
        unlock_mutex(&log->lock);
        return -ERR_BUSY;
    }
    struct intent e = {c->id, c->header.shard, c->header.copies, generation};
    uint8_t raw[INTENT_SIZE];
    pack(&e, raw);
    int error = io_write(log->fd, raw, sizeof raw,
                         generation % 2 * AREA_SIZE + (uint64_t)used * INTENT_SIZE);
    int status = error == 0 ? 0 : store_fail(s, "write to the intent log", error);
    if (status == 0) {
        atomic_store(&log->used, used + 1);
        uint64_t entry = ++log->entries_written;
        if (durable)
            status = wait_durable(s, entry);
    }
    unlock_mutex(&log->lock);
    if (status == 0)
        c->intent_generation = generation;
    return status;
}
