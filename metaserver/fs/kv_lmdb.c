/* The ordered store in one LMDB file. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "common/base/check.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/lmdb_lock.h"
#include "metaserver/fs/kv.h"

#include "common/base/banned.h"

enum { READERS_MAX = 126, FILE_MODE = 0640, NEARLY_FULL_BYTES = 1 << 20, RESERVE_BYTES = 16 << 20 };

struct lmdb {
    struct kv kv;
    MDB_env *env;
    MDB_dbi tree;
    uint64_t map_bytes;
    unsigned snapshots_open; /* changed by the loop thread only, see kv.h */
    struct lmdb_view *writer;
    uint64_t reserved_end; /* the file's blocks are allocated up to here */
    bool is_ample;
    size_t last_size; /* of the tree's last key while it is known, otherwise 0 */
    uint8_t last_key[KV_KEY_SIZE_MAX];
};

struct lmdb_view {
    struct kv_view view;
    struct lmdb *store;
    MDB_txn *txn;
};

struct lmdb_cursor {
    struct kv_cursor cursor;
    MDB_cursor *at;
};

static int error_of(int code)
{
    switch (code) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return -ERR_NO_ENTRY;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return -ERR_NO_SPACE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return -ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return -ERR_VERSION;
    default:
        return -ERR_IO;
    }
}

/* LMDB calls a write that the file system cut short EIO; on a full disk that is what it means. */
static int write_error_of(const struct lmdb *s, int code)
{
    struct statvfs disk;
    const char *folder = NULL;
    if (code == EIO && mdb_env_get_path(s->env, &folder) == 0 && statvfs(folder, &disk) == 0 &&
        (uint64_t)disk.f_bavail * disk.f_frsize < NEARLY_FULL_BYTES)
        return -ERR_NO_SPACE;
    return error_of(code);
}

static MDB_val val_of(struct slice s)
{
    return (MDB_val){s.size, (void *)(uintptr_t)s.data};
}

static struct slice slice_of_val(MDB_val v)
{
    return slice_of(v.mv_data, v.mv_size);
}

static struct lmdb *store_of(struct kv *kv)
{
    return CONTAINER_OF(kv, struct lmdb, kv);
}

static uint64_t lmdb_bytes_used(struct kv *kv)
{
    struct lmdb *s = store_of(kv);
    MDB_envinfo info;
    MDB_stat stat;
    CHECK(mdb_env_info(s->env, &info) == 0 && mdb_env_stat(s->env, &stat) == 0);
    return (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
}

static int view_create(struct lmdb *s, unsigned flags, struct lmdb_view **ret)
{
    struct lmdb_view *v = calloc(1, sizeof *v);
    CHECK(v != NULL);
    *v = (struct lmdb_view){.view = {s->kv.ops}, .store = s};
    int status = error_of(mdb_txn_begin(s->env, NULL, flags, &v->txn));
    if (status) {
        free(v);
        return status;
    }
    *ret = v;
    return 0;
}

/* LMDB halves a full page even when keys come in ascending order, unless it is told that a key goes
 * to the end. The last key is looked up once per transaction. */
static void find_last(struct lmdb *s)
{
    MDB_cursor *c;
    MDB_val k, v;
    s->last_size = 0;
    if (mdb_cursor_open(s->writer->txn, s->tree, &c) != 0)
        return;
    if (mdb_cursor_get(c, &k, &v, MDB_LAST) == 0 && k.mv_size <= KV_KEY_SIZE_MAX) {
        s->last_size = k.mv_size;
        memcpy(s->last_key, k.mv_data, k.mv_size);
    }
    mdb_cursor_close(c);
}

/* Allocates blocks behind the file's end, so that a commit does not find out that the disk is full.
 * Where the file system cannot do that, nothing is known beforehand. */
static void reserve(struct lmdb *s)
{
    mdb_filehandle_t file;
    uint64_t used = lmdb_bytes_used(&s->kv);
    bool fits = used + RESERVE_BYTES <= s->map_bytes && mdb_env_get_fd(s->env, &file) == 0;
    if (fits && used + RESERVE_BYTES / 2 > s->reserved_end) {
        if (fallocate(file, FALLOC_FL_KEEP_SIZE, (off_t)used, RESERVE_BYTES) == 0)
            s->reserved_end = used + RESERVE_BYTES;
        else
            fits = errno == EOPNOTSUPP;
    }
    s->is_ample = fits;
}

static bool lmdb_is_ample(struct kv *kv)
{
    return store_of(kv)->is_ample;
}

static int lmdb_begin(struct kv *kv, struct kv_view **ret_writer)
{
    struct lmdb *s = store_of(kv);
    CHECK(s->writer == NULL);
    if (s->snapshots_open == 0 && lmdb_bytes_used(kv) > s->map_bytes / 4 * 3) {
        int status = error_of(mdb_env_set_mapsize(s->env, (size_t)s->map_bytes * 2));
        if (status)
            return status;
        s->map_bytes *= 2;
    }
    int status = view_create(s, 0, &s->writer);
    if (status)
        return status;
    find_last(s);
    *ret_writer = &s->writer->view;
    return 0;
}

static int lmdb_commit(struct kv *kv)
{
    struct lmdb *s = store_of(kv);
    CHECK(s->writer != NULL);
    int status = write_error_of(s, mdb_txn_commit(s->writer->txn));
    free(s->writer);
    s->writer = NULL;
    reserve(s);
    return status;
}

static void lmdb_abort(struct kv *kv)
{
    struct lmdb *s = store_of(kv);
    CHECK(s->writer != NULL);
    mdb_txn_abort(s->writer->txn);
    free(s->writer);
    s->writer = NULL;
}

static bool is_behind_last(struct lmdb *s, struct slice key)
{
    size_t size = key.size < s->last_size ? key.size : s->last_size;
    if (size == 0)
        return false;
    int order = memcmp(key.data, s->last_key, size);
    if (order < 0 || (order == 0 && key.size <= s->last_size))
        return false;
    s->last_size = key.size;
    memcpy(s->last_key, key.data, key.size);
    return true;
}

static int lmdb_put(struct kv *kv, struct slice key, struct slice value)
{
    struct lmdb *s = store_of(kv);
    CHECK(s->writer != NULL && key.size <= KV_KEY_SIZE_MAX && value.size <= KV_VALUE_SIZE_MAX);
    MDB_val k = val_of(key), v = val_of(value);
    unsigned flags = is_behind_last(s, key) ? MDB_APPEND : 0;
    return write_error_of(s, mdb_put(s->writer->txn, s->tree, &k, &v, flags));
}

static int lmdb_remove(struct kv *kv, struct slice key)
{
    struct lmdb *s = store_of(kv);
    CHECK(s->writer != NULL);
    MDB_val k = val_of(key);
    if (slice_equal(key, slice_of(s->last_key, s->last_size)))
        s->last_size = 0;
    return write_error_of(s, mdb_del(s->writer->txn, s->tree, &k, NULL));
}

static int lmdb_read_begin(struct kv *kv, struct kv_view **ret_view)
{
    struct lmdb *s = store_of(kv);
    struct lmdb_view *v;
    int status = view_create(s, MDB_RDONLY, &v);
    if (status)
        return status;
    s->snapshots_open++;
    *ret_view = &v->view;
    return 0;
}

static struct lmdb_view *view_of(struct kv_view *view)
{
    return CONTAINER_OF(view, struct lmdb_view, view);
}

static int lmdb_read_renew(struct kv_view *view)
{
    mdb_txn_reset(view_of(view)->txn);
    return error_of(mdb_txn_renew(view_of(view)->txn));
}

static void lmdb_read_rest(struct kv_view *view)
{
    mdb_txn_reset(view_of(view)->txn);
}

static void lmdb_read_end(struct kv_view *view)
{
    struct lmdb_view *v = view_of(view);
    mdb_txn_abort(v->txn);
    v->store->snapshots_open--;
    free(v);
}

static int lmdb_get(struct kv_view *view, struct slice key, struct slice *ret_value)
{
    MDB_val k = val_of(key), v;
    int status = error_of(mdb_get(view_of(view)->txn, view_of(view)->store->tree, &k, &v));
    if (status == 0)
        *ret_value = slice_of_val(v);
    return status;
}

static int lmdb_cursor_open(struct kv_view *view, struct kv_cursor **ret_cursor)
{
    struct lmdb_cursor *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->cursor.ops = view->ops;
    int status = error_of(mdb_cursor_open(view_of(view)->txn, view_of(view)->store->tree, &c->at));
    if (status) {
        free(c);
        return status;
    }
    *ret_cursor = &c->cursor;
    return 0;
}

static void lmdb_cursor_close(struct kv_cursor *cursor)
{
    struct lmdb_cursor *c = CONTAINER_OF(cursor, struct lmdb_cursor, cursor);
    mdb_cursor_close(c->at);
    free(c);
}

static int cursor_move(struct kv_cursor *cursor, struct slice key, MDB_cursor_op how,
                       struct slice *ret_key, struct slice *ret_value)
{
    struct lmdb_cursor *c = CONTAINER_OF(cursor, struct lmdb_cursor, cursor);
    MDB_val k = val_of(key), v;
    int status = error_of(mdb_cursor_get(c->at, &k, &v, how));
    if (status)
        return status;
    *ret_key = slice_of_val(k);
    *ret_value = slice_of_val(v);
    return 0;
}

static int lmdb_seek(struct kv_cursor *cursor, struct slice key, struct slice *ret_key,
                     struct slice *ret_value)
{
    return cursor_move(cursor, key, MDB_SET_RANGE, ret_key, ret_value);
}

static int lmdb_next(struct kv_cursor *cursor, struct slice *ret_key, struct slice *ret_value)
{
    return cursor_move(cursor, slice_of(NULL, 0), MDB_NEXT, ret_key, ret_value);
}

static int lmdb_previous(struct kv_cursor *cursor, struct slice *ret_key, struct slice *ret_value)
{
    return cursor_move(cursor, slice_of(NULL, 0), MDB_PREV, ret_key, ret_value);
}

static void lmdb_destroy(struct kv *kv)
{
    struct lmdb *s = store_of(kv);
    CHECK(s->snapshots_open == 0);
    if (s->writer)
        lmdb_abort(kv);
    mdb_env_close(s->env);
    free(s);
}

static const struct kv_ops lmdb_ops = {
    .begin = lmdb_begin,
    .commit = lmdb_commit,
    .abort = lmdb_abort,
    .put = lmdb_put,
    .remove = lmdb_remove,
    .read_begin = lmdb_read_begin,
    .read_renew = lmdb_read_renew,
    .read_rest = lmdb_read_rest,
    .read_end = lmdb_read_end,
    .get = lmdb_get,
    .cursor_open = lmdb_cursor_open,
    .cursor_close = lmdb_cursor_close,
    .seek = lmdb_seek,
    .next = lmdb_next,
    .previous = lmdb_previous,
    .bytes_used = lmdb_bytes_used,
    .is_ample = lmdb_is_ample,
    .destroy = lmdb_destroy,
};

static int open_tree(struct lmdb *s, unsigned flags)
{
    MDB_txn *txn;
    int status = error_of(mdb_txn_begin(s->env, NULL, flags, &txn));
    if (status)
        return status;
    status = error_of(mdb_dbi_open(txn, NULL, 0, &s->tree));
    if (status) {
        mdb_txn_abort(txn);
        return status;
    }
    return error_of(mdb_txn_commit(txn));
}

static int open_store(const char *folder, uint64_t map_bytes, unsigned flags, struct kv **ret_kv)
{
    struct lmdb *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->kv.ops = &lmdb_ops;
    int status = error_of(mdb_env_create(&s->env));
    if (status) {
        free(s);
        return status;
    }
    status = error_of(mdb_env_set_maxreaders(s->env, READERS_MAX));
    if (status == 0 && !(flags & MDB_RDONLY))
        status = lmdb_lock_reserve(folder, READERS_MAX);
    if (status == 0)
        status = error_of(mdb_env_set_mapsize(s->env, (size_t)map_bytes));
    if (status == 0)
        status = error_of(mdb_env_open(s->env, folder, flags, FILE_MODE));
    if (status == 0) {
        MDB_envinfo info; /* the file may be larger than asked */
        CHECK(mdb_env_info(s->env, &info) == 0);
        s->map_bytes = info.me_mapsize;
        status = open_tree(s, flags & MDB_RDONLY);
        if (status == 0 && !(flags & MDB_RDONLY))
            reserve(s);
    }
    if (status) {
        mdb_env_close(s->env);
        free(s);
        return status;
    }
    *ret_kv = &s->kv;
    return 0;
}

int kv_lmdb_open(const char *folder, uint64_t map_bytes, struct kv **ret_kv)
{
    /* NOTLS: a snapshot belongs to its view, not to the thread that began it. */
    return open_store(folder, map_bytes, MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOTLS | MDB_NORDAHEAD,
                      ret_kv);
}

int kv_lmdb_open_read(const char *folder, uint64_t map_bytes, struct kv **ret_kv)
{
    return open_store(folder, map_bytes, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS | MDB_NORDAHEAD,
                      ret_kv);
}
