/* What the files of this room share; nobody else includes it.
 *
 * Locks, in the order in which they are taken: chores > chunk.lock > (label.lock | intent.lock |
 * index.lock) > cache.lock. cache.lock is never held over a system call that may wait. */
#ifndef CAIRN_CHUNKSERVER_STORE_STORE_PRIVATE_H
#define CAIRN_CHUNKSERVER_STORE_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <lmdb.h>

#include "chunkserver/store/store.h"
#include "chunkserver/store/store_header.h"
#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/map.h"

enum {
    STORE_MAGIC = 0x53544f52,
    CHUNK_MAGIC = 0x43484e4b,
    OPEN_CHUNKS_DEFAULT = 1024,
    FLUSH_AGE_MS = 5000,
    CHECKPOINT_AGE_MS = 60000,
    SYNCFS_FROM = 32, /* one syncfs costs less than this many fdatasyncs of small new files */
    FILE_NAME_SIZE = 8 + CHUNK_ID_TEXT_SIZE, /* "2-03ff/inode.index.generation" */
};

/* ---- label: who this target is, and how it was left ---- */

enum { INSTANCE_SIZE = 16 };

struct label {
    struct uuid cluster, target;
    uint64_t sequence; /* of the two slots the higher one counts */
    uint64_t incarnation;
    struct store_position position;
    uint64_t generation_clean;       /* intents up to this generation need no look */
    uint8_t instance[INSTANCE_SIZE]; /* of machine boot and mount that wrote it */
    bool clean;                      /* closed in order */
    bool index_good;                 /* the index may be used when clean, or in the same instance */
};

int label_create(int root, struct label *l, int *ret_fd);
int label_open(int root, int *ret_fd, struct err_text *why); /* and locks it */
int label_read(int fd, struct label *ret_label, struct err_text *why);
int label_write(int fd, struct label *l); /* durable on return; raises the sequence */

/* ---- intent log: which chunks may be torn after an unclean stop ---- */

enum { INTENT_SIZE = 32, INTENT_CAPACITY = 32768, INTENT_HIGH_WATER = INTENT_CAPACITY * 3 / 4 };

struct intent {
    struct chunk_id id;
    uint32_t shard;
    uint8_t copies;
    uint64_t generation;
};

struct intent_log {
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t synced;
    atomic_uint_fast64_t generation; /* written under lock */
    atomic_uint used;                /* entries in the current generation's area */
    uint64_t entries_written, entries_synced;
    bool syncing;
};

int intent_create(int root);
int intent_open(int root, struct intent_log *log); /* -ERR_CORRUPT when the file is not whole */
void intent_release(struct intent_log *log);
/* All entries newer than `generation_clean`, in the caller's hands (free). */
int intent_read(struct intent_log *log, uint64_t generation_clean, struct intent **ret_intents,
                uint32_t *ret_count);
void intent_next_generation(struct intent_log *log, uint64_t generation);

/* ---- chunks in memory ---- */

enum chunk_state {
    CHUNK_UNKNOWN, /* not looked at yet */
    CHUNK_ABSENT,
    CHUNK_PRESENT,
    CHUNK_DAMAGED, /* there is a file, its header is lost */
    CHUNK_LOST     /* the index knows it, the file is gone */
};

struct chunk {
    uint32_t magic;
    struct chunk_id id;

    pthread_rwlock_t lock; /* guards this group */
    enum chunk_state state;
    int fd; /* -1 unless PRESENT */
    struct chunk_header header;
    uint8_t *tail;              /* TAIL_SIZE bytes, NULL while no block that far is written */
    uint64_t intent_generation; /* covered by the intent log in this generation */
    uint8_t page[HEADER_SIZE];

    /* guarded by cache.lock */
    unsigned references;
    struct list node;    /* in cache.idle when unreferenced and not pinned */
    struct list pending; /* in cache.pending when the index does not know the entry yet */
    bool entry_known, entry_present, index_pending;
    struct store_entry entry;
    uint64_t write_count, synced_count, created_count, name_synced_count;
    uint64_t dirty_since_ms;
};

struct cache {
    pthread_mutex_t lock;
    struct map chunks; /* by id */
    struct list idle, pending;
    uint32_t count_max;
};

struct store_index {
    MDB_env *env;
    MDB_dbi chunks, shards, suspects;
    pthread_mutex_t lock; /* one commit at a time */
    uint64_t bytes_allocated;
};

/* What is there of each shard: the cache's word where it has one, else the index's. Changed under
 * cache.lock, read without. */
struct shard_size {
    atomic_uint_fast64_t chunks, bytes;
};

struct store_sizes {
    _Atomic(struct shard_size *) by_copies[STORE_COPIES_MAX + 1]; /* STORE_SHARD_MAX + 1 each */
    atomic_uint end[STORE_COPIES_MAX + 1]; /* no shard from here on was ever seen */
};

struct atomic_counters {
#define C(name, help) atomic_uint_fast64_t name;
    STORE_COUNTERS(C)
#undef C
};

struct store {
    uint32_t magic;
    int root, trash, label_fd;
    pthread_mutex_t label_lock;
    struct label label;
    struct intent_log intents;
    struct store_index index;
    struct cache cache;
    struct store_sizes sizes;
    pthread_mutex_t chores; /* checkpoint and emptying the cache: one at a time */
    atomic_uint_fast64_t now_ms;
    uint64_t checkpoint_ms;
    uint32_t reserve_per_mille;
    atomic_int_fast64_t space_credit_bytes;
    atomic_bool failed;
    struct err_text failure; /* written once, before `failed` */
    struct atomic_counters counters;
};

static inline void lock_mutex(pthread_mutex_t *m)
{
    CHECK(pthread_mutex_lock(m) == 0);
}

static inline void unlock_mutex(pthread_mutex_t *m)
{
    CHECK(pthread_mutex_unlock(m) == 0);
}

#define COUNT(store, name) ((void)atomic_fetch_add(&(store)->counters.name, 1))

/* store.c */
int store_fail(struct store *s, const char *what, int errno_value); /* -ERR_TARGET_FAILED */
int store_write_error(struct store *s, const char *what, int errno_value);
int store_take_space(struct store *s, uint64_t bytes);
void store_file_name(const struct store_entry *e, char ret_name[FILE_NAME_SIZE]);
/* Moves a chunk file to trash/. -ERR_NO_SPACE: there is no place for its name. */
int store_quarantine(struct store *s, const char *name);

/* store_io.c: whole reads and writes; 0 or an errno */
int io_read(int fd, void *into, size_t size, uint64_t offset, size_t *ret_size);
int io_write(int fd, const void *data, size_t size, uint64_t offset);
struct iovec;
int io_writev(int fd, struct iovec *parts, int count, uint64_t offset);

/* store_intent.c, needs the chunk's write lock */
int intent_cover(struct store *s, struct chunk *c, bool durable);

/* store_cache.c */
enum chunk_access { CHUNK_READ, CHUNK_WRITE };
void cache_init(struct cache *cache, uint32_t count_max);
void cache_release(struct cache *cache);
/* Finds or loads the chunk, referenced and locked. A damaged, lost or absent one is found too: its
 * state says so. */
int chunk_acquire(struct store *s, const struct chunk_id *id, enum chunk_access access,
                  struct chunk **ret_chunk);
/* NON-BLOCKING: referenced and locked for reading, or -ERR_BUSY. */
int chunk_try_acquire(struct store *s, const struct chunk_id *id, struct chunk **ret_chunk);
/* Ends what acquire began. `changed`: something was written, perhaps without success. */
void chunk_let_go(struct store *s, struct chunk *c, bool changed);
void chunk_publish(struct store *s, struct chunk *c, bool changed); /* under the write lock */
void chunk_publish_gone(struct store *s, struct chunk *c); /* deleted, without need of a flush */
void chunk_unlock(struct chunk *c);
void chunk_unref(struct store *s, struct chunk *c);
bool cache_peek(struct store *s, const struct chunk_id *id, bool *ret_present,
                struct store_entry *ret_entry);
/* All chunks in memory, referenced; the caller unrefs each and frees the array. */
struct chunk **cache_all(struct store *s, bool dirty_only, uint32_t *ret_count);
void chunk_forget_file(struct chunk *c); /* fd closed, tail freed */
int chunk_usable(const struct chunk *c, struct store_fault *ret_fault);

/* store_load.c: reading a header from disk */
int load_header(struct store *s, const struct store_entry *entry, int *ret_fd,
                struct chunk_header *ret_header, uint8_t page[HEADER_SIZE], uint8_t **ret_tail);

/* store_blocks.c: writing back what is in memory */
struct block_range {
    uint32_t first, last; /* both included */
};
int chunk_write_header(struct store *s, struct chunk *c, struct block_range changed);
int chunk_read_block(struct store *s, struct chunk *c, uint32_t block, uint8_t *into,
                     struct store_fault *ret_fault);
void chunk_set_crcs(struct chunk *c, uint32_t first, uint32_t count, const uint32_t *crcs);
int chunk_want_tail(struct store *s, struct chunk *c, struct block_range range);
static inline uint32_t chunk_crc(const struct chunk *c, uint32_t block)
{
    return header_crc(c->page, c->tail, block);
}

/* store_index.c */
int index_open(struct store *s);
bool index_exists(struct store *s);
int index_drop(struct store *s); /* removes the files */
void index_close(struct store *s, bool sync);
int index_get(struct store *s, const struct chunk_id *id, struct store_entry *ret_entry);
int index_put_batch(struct store *s, const struct store_entry *entries, const bool *present,
                    uint32_t count);
int index_commit(struct store *s); /* what is pending in the cache */
int index_list(struct store *s, bool suspects, struct store_cursor *cursor, int64_t only_shard,
               uint8_t only_copies, struct store_entry *ret_entries, uint32_t capacity,
               uint32_t *ret_count);
int index_count(struct store *s, uint64_t *ret_count);
/* Calls `visit` for each entry of the index, once at start. */
typedef void index_visit(struct store *s, const struct store_entry *entry);
int index_each(struct store *s, index_visit *visit);

/* store_sizes.c: an entry comes or goes */
void sizes_add(struct store *s, const struct store_entry *e);
void sizes_take(struct store *s, const struct store_entry *e);
void sizes_release(struct store *s);

/* store_sync.c */
int flush_all(struct store *s);
int chunk_flush(struct store *s, struct chunk *c);
int store_checkpoint(struct store *s);

/* store_recover.c */
int store_recover(struct store *s, bool index_trusted, bool log_whole, enum store_start *ret_start);
/* Calls `visit` for each chunk file; entry has id, shard, copies. Stops at its first error. */
typedef int store_visit(void *context, const struct store_entry *entry);
int store_walk(struct store *s, store_visit *visit, void *context);

#endif
