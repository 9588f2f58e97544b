/* The ordered key-value store under the state machine: one tree of byte keys.
 *
 * Two implementations: kv_lmdb.c (production) and kv_mem.c (simulator, tests). One thread writes;
 * with LMDB each other thread may read through a snapshot of its own. A view is what one reads
 * from: the open write transaction (kv_writer) or a snapshot.
 *
 * Slices that get and the cursor return point into the store: they stay valid until the next put
 * or delete of the same view, or until the view ends. Errors: -ERR_NO_ENTRY for an absent key,
 * -ERR_NO_SPACE and -ERR_IO from the disk; after one of the latter the batch must be aborted. */
#ifndef CAIRN_FS_KV_H
#define CAIRN_FS_KV_H

#include <stdbool.h>

#include "common/base/slice.h"

enum { KV_KEY_SIZE_MAX = 64, KV_VALUE_SIZE_MAX = 1 << 20 };

struct kv_view;   /* opaque: defined by each implementation */
struct kv_cursor; /* the same */
struct kv;

struct kv_ops {
    /* One write transaction at a time; its view is returned and ends with commit or abort. */
    int (*begin)(struct kv *kv, struct kv_view **ret_writer);
    int (*commit)(struct kv *kv); /* on error nothing was written and the transaction is over */
    void (*abort)(struct kv *kv);
    int (*put)(struct kv *kv, struct slice key, struct slice value);
    int (*remove)(struct kv *kv, struct slice key);
    /* A snapshot shows the last commit before begin or renew, for ever: old pages cannot be reused
     * meanwhile, so keep it short. */
    int (*read_begin)(struct kv *kv, struct kv_view **ret_view);
    int (*read_renew)(struct kv_view *view);
    void (*read_end)(struct kv_view *view);
    int (*get)(struct kv_view *view, struct slice key, struct slice *ret_value);
    /* A cursor belongs to its view and is closed before the view ends or is renewed. */
    int (*cursor_open)(struct kv_view *view, struct kv_cursor **ret_cursor);
    void (*cursor_close)(struct kv_cursor *cursor);
    /* To the first key >= key, the next, or the previous one; -ERR_NO_ENTRY at the end. After the
     * current key was removed, only seek is defined. */
    int (*seek)(struct kv_cursor *cursor, struct slice key, struct slice *ret_key,
                struct slice *ret_value);
    int (*next)(struct kv_cursor *cursor, struct slice *ret_key, struct slice *ret_value);
    int (*previous)(struct kv_cursor *cursor, struct slice *ret_key, struct slice *ret_value);
    uint64_t (*bytes_used)(struct kv *kv);
    void (*destroy)(struct kv *kv); /* no view may be open, a write transaction is aborted */
};

/* First member of each implementation's object. */
struct kv {
    const struct kv_ops *ops;
};
struct kv_view {
    const struct kv_ops *ops;
};
struct kv_cursor {
    const struct kv_ops *ops;
};

struct kv *kv_mem_create(void);

/* Opens or makes `folder`/data.mdb; the folder exists. No synchronous writes: the Raft log is the
 * durable truth, and after a power cut this file must not be trusted (the driver's duty). map_bytes
 * reserves addresses, the file grows with its contents; the map doubles at the begin of a batch
 * that finds it three quarters full and no snapshot open, and a batch that does not fit is
 * -ERR_NO_SPACE. A driver that always has a snapshot open must reserve enough at once. Also
 * -ERR_IO, -ERR_CORRUPT, -ERR_VERSION. */
int kv_lmdb_open(const char *folder, uint64_t map_bytes, struct kv **ret_kv);
/* For inspection: only views and cursors, nothing is written, not even a lock file. So the caller
 * sees to it that nobody writes meanwhile. map_bytes: at least the size of the file. */
int kv_lmdb_open_read(const char *folder, uint64_t map_bytes, struct kv **ret_kv);

#endif
