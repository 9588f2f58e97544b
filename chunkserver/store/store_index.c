/* The index: chunk -> folder, version, length, in LMDB without synchronous writes. It only saves
 * reading all headers at start; the files are the truth. Three tables:
 *   chunks    id (16 bytes, big-endian)                -> version, length, shard, copies, flags
 *   shards    copies, shard, id (19 bytes, big-endian) -> nothing; the order of listings
 *   suspects  the same key, chunks that are suspect */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/lmdb_lock.h"
#include "common/base/banned.h"

enum { ID_KEY_SIZE = 16, SHARD_KEY_SIZE = 3 + ID_KEY_SIZE, RECORD_SIZE = 24 };

/* Address space, not memory: about 60 million chunks. */
enum { INDEX_READERS_MAX = 1024 };
#define INDEX_MAP_BYTES ((size_t)8 << 30)
/* The file's blocks are allocated this far ahead, so that deletes can be noted on a full disk. */
#define INDEX_AHEAD_BYTES ((uint64_t)1 << 20)

static void put_big_endian(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static uint64_t get_big_endian(const uint8_t *at, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static void pack_id(const struct chunk_id *id, uint8_t key[ID_KEY_SIZE])
{
    put_big_endian(key, id->inode, 8);
    put_big_endian(key + 8, id->index, 4);
    put_big_endian(key + 12, id->generation, 4);
}

static void pack_shard_key(uint8_t copies, uint32_t shard, const struct chunk_id *id,
                           uint8_t key[SHARD_KEY_SIZE])
{
    key[0] = copies;
    put_big_endian(key + 1, shard, 2);
    pack_id(id, key + 3);
}

static void pack_record(const struct store_entry *e, uint8_t record[RECORD_SIZE])
{
    put_u64(record, e->version.epoch);
    put_u64(record + 8, e->version.seq);
    put_u32(record + 16, e->length);
    record[20] = (uint8_t)e->shard;
    record[21] = (uint8_t)(e->shard >> 8);
    record[22] = e->copies;
    record[23] = e->flags;
}

static bool unpack_record(const MDB_val *key, const MDB_val *value, struct store_entry *ret_entry)
{
    if (key->mv_size != ID_KEY_SIZE || value->mv_size != RECORD_SIZE)
        return false;
    const uint8_t *id = key->mv_data, *r = value->mv_data;
    *ret_entry = (struct store_entry){
        .id = {get_big_endian(id, 8), (uint32_t)get_big_endian(id + 8, 4),
               (uint32_t)get_big_endian(id + 12, 4)},
        .version = {get_u64(r), get_u64(r + 8)},
        .length = get_u32(r + 16),
        .shard = (uint32_t)r[20] | (uint32_t)r[21] << 8,
        .copies = r[22],
        .flags = r[23],
    };
    return true;
}

static int open_tables(struct store_index *x)
{
    MDB_txn *txn;
    int error = mdb_txn_begin(x->env, NULL, 0, &txn);
    if (error != 0)
        return error;
    error = mdb_dbi_open(txn, "chunks", MDB_CREATE, &x->chunks);
    if (error == 0)
        error = mdb_dbi_open(txn, "shards", MDB_CREATE, &x->shards);
    if (error == 0)
        error = mdb_dbi_open(txn, "suspects", MDB_CREATE, &x->suspects);
    if (error == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return error;
}

static void allocate_ahead(struct store_index *x)
{
    MDB_envinfo info;
    int fd;
    if (mdb_env_info(x->env, &info) != 0 || mdb_env_get_fd(x->env, &fd) != 0)
        return;
    uint64_t wanted = (info.me_last_pgno + 1) * (uint64_t)HEADER_SIZE + INDEX_AHEAD_BYTES;
    if (wanted <= x->bytes_allocated)
        return;
    /* Fails on a full disk: then what was allocated before is used up. */
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)(wanted + INDEX_AHEAD_BYTES)) == 0)
        x->bytes_allocated = wanted + INDEX_AHEAD_BYTES;
}

/* The environment is opened by path; /proc gives one for the folder that is locked, whatever has
 * been mounted over its name since. */
int index_open(struct store *s)
{
    struct store_index *x = &s->index;
    char path[64];
    (void)mkdirat(s->root, "index", 0700);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/index", s->root);
    int error = mdb_env_create(&x->env);
    if (error != 0)
        return -ERR_IO;
    if (lmdb_lock_reserve(path, INDEX_READERS_MAX) != 0 || mdb_env_set_maxdbs(x->env, 3) != 0 ||
        mdb_env_set_mapsize(x->env, INDEX_MAP_BYTES) != 0 ||
        mdb_env_set_maxreaders(x->env, INDEX_READERS_MAX) != 0 ||
        mdb_env_open(x->env, path, MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0600) != 0 ||
        open_tables(x) != 0) {
        mdb_env_close(x->env);
        x->env = NULL;
        return -ERR_CORRUPT;
    }
    x->bytes_allocated = 0;
    allocate_ahead(x);
    return 0;
}

bool index_exists(struct store *s)
{
    struct stat st;
    return fstatat(s->root, "index/data.mdb", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0;
}

int index_drop(struct store *s)
{
    static const char *const files[] = {"index/data.mdb", "index/lock.mdb"};
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++)
        if (unlinkat(s->root, files[i], 0) != 0 && errno != ENOENT)
            return err_from_errno(errno);
    return 0;
}

void index_close(struct store *s, bool sync)
{
    if (!s->index.env)
        return;
    if (sync && mdb_env_sync(s->index.env, 1) != 0)
        (void)store_fail(s, "flush of the index", EIO);
    mdb_env_close(s->index.env);
    s->index.env = NULL;
}

int index_get(struct store *s, const struct chunk_id *id, struct store_entry *ret_entry)
{
    uint8_t raw[ID_KEY_SIZE];
    MDB_val key = {sizeof raw, raw}, value;
    MDB_txn *txn;
    pack_id(id, raw);
    if (mdb_txn_begin(s->index.env, NULL, MDB_RDONLY, &txn) != 0)
        return -ERR_IO;
    int error = mdb_get(txn, s->index.chunks, &key, &value);
    int status = -ERR_IO;
    if (error == MDB_NOTFOUND)
        status = -ERR_LOST_CHUNK;
    else if (error == 0 && unpack_record(&key, &value, ret_entry))
        status = 0;
    mdb_txn_abort(txn);
    return status;
}

static int remove_key(MDB_txn *txn, MDB_dbi table, MDB_val *key)
{
    int error = mdb_del(txn, table, key, NULL);
    return error == MDB_NOTFOUND ? 0 : error;
}

static int put_one(struct store_index *x, MDB_txn *txn, const struct store_entry *e, bool present)
{
    uint8_t id[ID_KEY_SIZE], place[SHARD_KEY_SIZE], record[RECORD_SIZE];
    MDB_val id_key = {sizeof id, id}, place_key = {sizeof place, place};
    MDB_val value, nothing = {0, NULL};
    struct store_entry old;
    pack_id(&e->id, id);
    int error = mdb_get(txn, x->chunks, &id_key, &value);
    bool known = error == 0 && unpack_record(&id_key, &value, &old);
    if (error != 0 && error != MDB_NOTFOUND)
        return error;
    if (known && (!present || old.copies != e->copies || old.shard != e->shard)) {
        pack_shard_key(old.copies, old.shard, &e->id, place);
        if ((error = remove_key(txn, x->shards, &place_key)) != 0 ||
            (error = remove_key(txn, x->suspects, &place_key)) != 0)
            return error;
        known = false;
    }
    if (!present)
        return remove_key(txn, x->chunks, &id_key);
    pack_shard_key(e->copies, e->shard, &e->id, place);
    pack_record(e, record);
    value = (MDB_val){sizeof record, record};
    if ((error = mdb_put(txn, x->chunks, &id_key, &value, 0)) != 0)
        return error;
    if (!known && (error = mdb_put(txn, x->shards, &place_key, &nothing, 0)) != 0)
        return error;
    if (e->flags & STORE_ENTRY_SUSPECT)
        return mdb_put(txn, x->suspects, &place_key, &nothing, 0);
    return known && (old.flags & STORE_ENTRY_SUSPECT) ? remove_key(txn, x->suspects, &place_key)
                                                      : 0;
}

int index_put_batch(struct store *s, const struct store_entry *entries, const bool *present,
                    uint32_t count)
{
    MDB_txn *txn;
    if (mdb_txn_begin(s->index.env, NULL, 0, &txn) != 0)
        return -ERR_IO;
    int error = 0;
    for (uint32_t i = 0; i < count && error == 0; i++)
        error = put_one(&s->index, txn, &entries[i], present ? present[i] : true);
    if (error == 0)
        error = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    if (error != 0)
        return error == ENOSPC || error == MDB_MAP_FULL ? -ERR_NO_SPACE : -ERR_IO;
    COUNT(s, index_commits);
    allocate_ahead(&s->index);
    return 0;
}

/* Under index.lock. Chunks stay referenced until the commit: a look-up must find either them or the
 * committed entry. */
static struct chunk **take_pending(struct store *s, struct store_entry **ret_entries,
                                   bool **ret_present, uint32_t *ret_count)
{
    uint32_t count = 0, at = 0;
    lock_mutex(&s->cache.lock);
    LIST_EACH(node, &s->cache.pending)
    count++;
    struct chunk **chunks = calloc(count + 1, sizeof(struct chunk *));
    *ret_entries = calloc(count + 1, sizeof **ret_entries);
    *ret_present = calloc(count + 1, sizeof **ret_present);
    CHECK(chunks && *ret_entries && *ret_present);
    LIST_EACH(node, &s->cache.pending)
    {
        struct chunk *c = CONTAINER_OF(node, struct chunk, pending);
        list_remove(node);
        c->index_pending = false;
        c->references++;
        list_remove(&c->node);
        (*ret_entries)[at] = c->entry;
        (*ret_present)[at] = c->entry_present;
        chunks[at++] = c;
    }
    unlock_mutex(&s->cache.lock);
    CHECK(at == count);
    *ret_count = count;
    return chunks;
}

int index_commit(struct store *s)
{
    struct store_entry *entries;
    bool *present;
    uint32_t count;
    lock_mutex(&s->index.lock);
    struct chunk **chunks = take_pending(s, &entries, &present, &count);
    int status = count == 0 ? 0 : index_put_batch(s, entries, present, count);
    for (uint32_t i = 0; i < count; i++) {
        if (status != 0) {
            lock_mutex(&s->cache.lock);
            // NOLINTNEXTLINE(clang-analyzer-core.NullDereference) take_pending filled all of them
            if (!chunks[i]->index_pending) {
                chunks[i]->index_pending = true;
                list_append(&s->cache.pending, &chunks[i]->pending);
            }
            unlock_mutex(&s->cache.lock);
        }
        chunk_unref(s, chunks[i]);
    }
    unlock_mutex(&s->index.lock);
    free(chunks);
    free(entries);
    free(present);
    return status;
}

static int list_some(struct store *s, MDB_txn *txn, MDB_cursor *at, struct store_cursor *cursor,
                     int64_t only_shard, uint8_t only_copies, struct store_entry *ret_entries,
                     uint32_t capacity, uint32_t *ret_count)
{
    uint8_t raw[SHARD_KEY_SIZE];
    MDB_val key = {sizeof raw, raw}, nothing, value;
    struct chunk_id zero = {0, 0, 0};
    if (cursor->started)
        pack_shard_key(cursor->copies, cursor->shard, &cursor->last, raw);
    else
        pack_shard_key(only_copies, only_shard < 0 ? 0 : (uint32_t)only_shard, &zero, raw);
    uint8_t start[SHARD_KEY_SIZE];
    memcpy(start, raw, sizeof start);
    int error = mdb_cursor_get(at, &key, &nothing, MDB_SET_RANGE);
    while (error == 0 && *ret_count < capacity) {
        const uint8_t *k = key.mv_data;
        struct store_entry *e = &ret_entries[*ret_count];
        if (key.mv_size != SHARD_KEY_SIZE)
            return -ERR_IO;
        bool seen = cursor->started && memcmp(k, start, sizeof start) == 0;
        if (only_shard >= 0 &&
            (k[0] != only_copies || get_big_endian(k + 1, 2) != (uint64_t)only_shard))
            break;
        MDB_val id_key = {ID_KEY_SIZE, (void *)(uintptr_t)(k + 3)};
        if (!seen && mdb_get(txn, s->index.chunks, &id_key, &value) == 0 &&
            unpack_record(&id_key, &value, e))
            (*ret_count)++;
        error = mdb_cursor_get(at, &key, &nothing, MDB_NEXT);
    }
    return error == 0 || error == MDB_NOTFOUND ? 0 : -ERR_IO;
}

int index_list(struct store *s, bool suspects, struct store_cursor *cursor, int64_t only_shard,
               uint8_t only_copies, struct store_entry *ret_entries, uint32_t capacity,
               uint32_t *ret_count)
{
    MDB_txn *txn;
    MDB_cursor *at;
    uint32_t count = 0;
    int status = index_commit(s);
    if (status != 0)
        return status;
    if (mdb_txn_begin(s->index.env, NULL, MDB_RDONLY, &txn) != 0)
        return -ERR_IO;
    if (mdb_cursor_open(txn, suspects ? s->index.suspects : s->index.shards, &at) != 0) {
        mdb_txn_abort(txn);
        return -ERR_IO;
    }
    status = list_some(s, txn, at, cursor, only_shard, only_copies, ret_entries, capacity, &count);
    mdb_cursor_close(at);
    mdb_txn_abort(txn);
    if (status != 0)
        return status;
    if (count > 0) {
        const struct store_entry *last = &ret_entries[count - 1];
        *cursor = (struct store_cursor){last->id, last->shard, last->copies, true};
    }
    *ret_count = count;
    return 0;
}

int index_each(struct store *s, index_visit *visit)
{
    MDB_txn *txn;
    MDB_cursor *at;
    MDB_val key, value;
    struct store_entry e;
    if (mdb_txn_begin(s->index.env, NULL, MDB_RDONLY, &txn) != 0)
        return -ERR_IO;
    int error = mdb_cursor_open(txn, s->index.chunks, &at);
    if (error != 0) {
        mdb_txn_abort(txn);
        return -ERR_IO;
    }
    while ((error = mdb_cursor_get(at, &key, &value, MDB_NEXT)) == 0)
        if (unpack_record(&key, &value, &e))
            visit(s, &e);
    mdb_cursor_close(at);
    mdb_txn_abort(txn);
    return error == MDB_NOTFOUND ? 0 : -ERR_IO;
}

int index_count(struct store *s, uint64_t *ret_count)
{
    MDB_txn *txn;
    MDB_stat stat;
    int status = index_commit(s);
    if (status != 0)
        return status;
    if (mdb_txn_begin(s->index.env, NULL, MDB_RDONLY, &txn) != 0)
        return -ERR_IO;
    int error = mdb_stat(txn, s->index.chunks, &stat);
    mdb_txn_abort(txn);
    if (error != 0)
        return -ERR_IO;
    *ret_count = stat.ms_entries;
    return 0;
}
