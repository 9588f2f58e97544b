/* The log store's object, shared by its files (and by its tests, to make disks fail).
 *
 * LOCKS, in the order they are taken: vote_lock (the vote record and its file), files_lock (names
 * in the folder, spares), table_lock (all that readers look at; never held over the disk). Fields
 * without a lock belong to the writer thread. */
#ifndef CAIRN_METASERVER_LOG_STORE_PRIVATE_H
#define CAIRN_METASERVER_LOG_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "metaserver/log_files.h"
#include "metaserver/log_recover.h"
#include "metaserver/log_store.h"
#include "metaserver/log_vote.h"

#define LOG_STORE_MAGIC 0x4c4f4753u

enum {
    LOG_SPARE_COUNT_MAX = 2, /* trimmed segments beyond are removed */
};

struct log_segment {
    uint64_t number, first_batch;
    int fd;
    unsigned pins; /* readers in it: it must not be recycled */
};

struct log_store {
    uint32_t magic;
    char *folder;
    int folder_fd;
    struct uuid cluster;
    uint32_t node;
    uint64_t segment_size_bytes, ballast_size_bytes;
    uint32_t segment_block_count;
    atomic_bool space_low;
    atomic_int failure; /* the first error that the disk failed by; 0 = none */

    pthread_mutex_t vote_lock;
    struct log_vote_record record;
    int vote_fd;

    pthread_mutex_t files_lock;
    uint64_t spares[LOG_SPARE_COUNT_MAX];
    unsigned spare_count;
    uint64_t spare_next; /* number for the next spare's name */
    bool ballast_present;

    pthread_mutex_t table_lock;
    struct log_segment **segments; /* ascending; the last one is written to */
    size_t segment_count;
    struct log_extents extents;
    uint64_t base_index, last_synced, last_appended;
    bool faulty;
    uint64_t faulty_from, faulty_to;
    struct log_vote vote; /* copy of record.vote for those who must not block */
    bool tail_written;    /* does the last segment hold a batch */
    uint64_t sync_count, batch_bytes;

    struct log_segment *tail; /* the last segment, or NULL */
    bool tail_usable;         /* may it be written to */
    uint32_t tail_block;
    uint64_t next_batch, segment_highest;

    /* What was appended and not synced: entries from pending_first on, encoded in payload, each
     * starting at its offset. `pending` may hold with no entries: a cut only. */
    bool pending;
    uint64_t pending_first, pending_first_term;
    struct bytes payload;
    uint32_t *offsets;
    size_t pending_count, offsets_capacity;
    uint8_t *image; /* the batch as it is written */
    size_t image_size;
};

/* Remembers that the disk failed, and with which error (R19); returns -ERR_IO. */
int log_store_fail(struct log_store *store, int status);

/* A fresh segment becomes the last one. -ERR_NO_SPACE, -ERR_IO. */
int log_store_rotate(struct log_store *store);
/* Drops the oldest segments whose entries all lie at or before `index`; with `all`, all but the
 * last. Call without table_lock. */
int log_store_recycle(struct log_store *store, uint64_t index, bool all);
int log_vote_store(struct log_store *store, const struct log_vote_record *next);

static inline void lock(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_lock(mutex) == 0);
}

static inline void unlock(pthread_mutex_t *mutex)
{
    CHECK(pthread_mutex_unlock(mutex) == 0);
}

#endif
