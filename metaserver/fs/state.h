/* Inside the state machine: rows and their keys, records, what an operation works with.
 *
 * Keys begin with the letter of their table; numbers in keys are big-endian, so that they sort.
 *   A session sequence     the stored answer: u16 status, u16 code, body
 *   B                      a load of a dump: uuid of the file, u64 next piece, u8 done
 *   C name                 policy: u64 value, str as it was written
 *   D parent cookie        u64 inode, u8 type, name
 *   G seq                  a deleted chunk: u64 inode, u32 index, u32 generation, u8 copies
 *   H session inode        the session holds this orphan; empty
 *   J number               struct job
 *   K inode index          u32 generation of a chunk; chunk 0 stands in the inode record
 *   L inode                the target of a symbolic link
 *   M                      struct fs_state
 *   O inode session        the same as H from the other side; empty
 *   R copies shard         u64 epoch, u64 changed_version, slots
 *   S session              uuid, str name, str mount
 *   T target               a target of the shard table
 *   U uuid                 u64 session
 *   W session              u64 lowest unanswered sequence
 *   X uuid                 a target that was removed: u32 its number, u64 the incarnation it had
 *   i inode                struct inode; the last table, so that new inodes are appended to the
 * tree and its pages are full (94 bytes per file less) */
#ifndef CAIRN_FS_STATE_H
#define CAIRN_FS_STATE_H

#include "common/wire/prim.h"
#include "metaserver/fs/fs.h"
#include "metaserver/fs/job.h"
#include "metaserver/fs/mode.h"

enum { FS_MAGIC = 0x46535354, FS_FORMAT_VERSION = 1, ROW_KEY_MAX = 24 };

struct fs_hash {
    uint64_t index, hash;
};

/* The row M: read at open, written with each batch. */
struct fs_state {
    uint64_t applied_index, applied_term;
    struct uuid cluster;
    uint8_t copies; /* 0 = cluster_init was not applied yet */
    uint32_t shard_count, initial_targets;
    uint64_t table_version;
    uint64_t inode_next, session_next, garbage_next;
    uint64_t file_count, directory_count, file_bytes, garbage_count, orphan_count;
    uint32_t session_count;
    uint64_t hash;
    struct fs_hash hashes[FS_HASHES_KEPT]; /* newest at hash_count - 1, modulo FS_HASHES_KEPT */
    uint64_t hash_count;
    uint32_t target_next; /* struct shard_table's; in M when it is not 0 */
    bool is_loading;      /* not in M: what the row B says */
};

/* The rows J. */
struct job_list {
    unsigned count;
    struct job list[JOBS_MAX];
};

/* The rows C. */
struct config_values {
    struct config_value {
        uint64_t value;
        char text[CONFIG_TEXT_MAX]; /* "" = not set */
    } values[CONFIG_COUNT];
};

struct fs_view {
    struct kv_view *kv;
    struct kv_cursor *cursor; /* opened at first use */
    int failure;              /* the first error of the store */
};

struct fs {
    uint32_t magic;
    struct kv *kv;
    bool in_batch;
    bool mirrors_touched; /* in this batch: table, jobs or config */
    struct fs_view writer;
    struct fs_state state, committed;
    struct shard_table table;
    struct job_list jobs;
    struct config_values config;
    struct bytes reply; /* of the last fs_apply or fs_check_request */
};

/* What one command works with. Reads go to `view`; nothing is written while check_only. */
struct op {
    struct fs *fs;
    struct fs_view *view;
    uint64_t index;
    int64_t now_ns;
    uint64_t victim;
    struct slice holders;
    bool check_only;
    struct fs_result *result;
    struct bytes *reply;
};

struct query {
    struct fs *fs;
    struct fs_view *view;
    struct bytes *out;
};

/* ---- rows (rows.c) ---- */

struct row_key {
    size_t size;
    uint8_t bytes[ROW_KEY_MAX];
};
struct row_key key_of_table(char table);
struct row_key key_of_u64(char table, uint64_t a);
struct row_key key_of_pair(char table, uint64_t a, uint64_t b);
struct row_key key_of_chunk(uint64_t inode, uint32_t index);
struct row_key key_of_uuid(char table, const struct uuid *uuid);
struct row_key key_of_shard(unsigned copies, uint32_t shard);
uint64_t key_u64(struct slice key, size_t at); /* 0 when the key is too short */

/* 0, -ERR_NO_ENTRY or the store's error, which also becomes view->failure. */
int row_get(struct fs_view *v, struct row_key key, struct slice *ret_value);
/* The first row >= key whose key begins with the first prefix_size bytes of `key`. */
int row_seek(struct fs_view *v, struct row_key key, size_t prefix_size, struct slice *ret_key,
             struct slice *ret_value);
int row_next(struct fs_view *v, struct row_key key, size_t prefix_size, struct slice *ret_key,
             struct slice *ret_value);
/* Also mix the change into the state hash. An error of the store becomes writer.failure. */
void row_put(struct fs *fs, struct row_key key, struct slice value);
void row_remove(struct fs *fs, struct row_key key);
void state_mix(struct fs_state *s, const void *data, size_t size);
void view_drop_cursor(struct fs_view *v);

int state_read(struct fs_view *v, struct fs_state *ret);    /* -ERR_NO_ENTRY in an empty store */
int state_unpack(struct slice value, struct fs_state *ret); /* without is_loading */
/* Whether a dump is being loaded (op_load.c). */
int load_is_under_way(struct fs_view *v, bool *ret);
void state_write(struct fs *fs);

/* ---- inodes (inode.c) ---- */

struct inode {
    uint64_t number;
    uint32_t mode;
    uint8_t copies;
    uint32_t nlink, uid, gid;
    uint64_t size;
    int64_t atime_ns, mtime_ns, ctime_ns;
    uint64_t version, data_version;
    uint64_t parent;                        /* directories */
    uint32_t rdev;                          /* devices */
    uint32_t chunk_generation, chunk_total; /* files */
    uint32_t first_generation;              /* of chunk 0; 0 = a hole */
};
int inode_get(struct fs_view *v, uint64_t number, struct inode *ret);     /* -ERR_NO_ENTRY */
int inode_unpack(uint64_t number, struct slice value, struct inode *ret); /* -ERR_CORRUPT */
void inode_put(struct fs *fs, const struct inode *i);
struct wire_attr inode_attr(const struct inode *i);
enum inode_type inode_type(uint32_t mode); /* 0 for a mode without a known type */
/* A new inode of `mode` in `parent`: number, owner, group and set-gid inheritance. */
struct inode inode_make(struct op *o, const struct inode *parent, uint32_t mode,
                        const struct wire_caller *caller);
/* The leader's time, never before the inode's last change (R25). */
int64_t inode_stamp(const struct op *o, const struct inode *i);
void inode_changed(struct op *o, struct inode *i);          /* ctime, version */
void inode_contents_changed(struct op *o, struct inode *i); /* and mtime, data_version */
/* -ERR_BUSY when the file would lose its last link and o->holders is about another inode. */
int inode_check_victim(const struct op *o, const struct inode *i);
/* One link less: an orphan while sessions of o->holders live, freed without them. */
void inode_drop_link(struct op *o, struct inode *i);
void inode_free(struct op *o, struct inode *i);

enum { MAY_EXECUTE = 1, MAY_WRITE = 2, MAY_READ = 4 };
bool caller_in_group(const struct wire_caller *c, uint32_t gid);
int inode_access(const struct inode *i, const struct wire_caller *c, unsigned want);
/* write and search permission in a directory whose entries change; -ERR_NOT_DIR */
int directory_get(struct fs_view *v, uint64_t number, struct inode *ret); /* -ERR_NO_ENTRY */
int directory_writable(const struct inode *dir, const struct wire_caller *c);
/* The sticky bit's rule for removing or moving `i` out of `dir`. */
int sticky_check(const struct inode *dir, const struct inode *i, const struct wire_caller *c);

/* ---- chunk slots (chunk_map.c) ---- */

int chunk_get(struct fs_view *v, const struct inode *i, uint32_t index, uint32_t *ret_generation);
void chunk_add(struct op *o, struct inode *i, uint32_t index, uint32_t generation);
/* Drops all slots >= first into the garbage table. True when there was one. */
bool chunks_drop(struct op *o, struct inode *i, uint32_t first);
/* The slots from `first` on, at most count_max, appended to `list` as records. */
int chunks_list(struct fs_view *v, const struct inode *i, uint32_t first, uint32_t count_max,
                struct bytes *list, uint32_t *ret_count, bool *ret_end);
/* The size changes: whole chunks behind it go and cannot reappear (D12). */
void file_resize(struct op *o, struct inode *i, uint64_t size);

/* ---- names (dentry.c) ---- */

struct dentry {
    uint64_t cookie; /* second half of its key */
    uint64_t inode;
    uint8_t type;
    struct slice name; /* in the store */
};
int dentry_unpack(struct slice key, struct slice value, struct dentry *ret);
int dentry_find(struct fs_view *v, uint64_t parent, struct slice name, struct dentry *ret);
/* Where a new name would go; -ERR_NO_SPACE when 256 names of one directory share a hash. */
int dentry_place(struct fs_view *v, uint64_t parent, struct slice name, uint64_t *ret_cookie);
/* The place can belong to the name: look-up would find it there. */
bool dentry_may_lie_at(struct slice name, uint64_t cookie);
void dentry_put(struct fs *fs, uint64_t parent, uint64_t cookie, uint64_t inode, uint32_t mode,
                struct slice name);
void dentry_remove(struct fs *fs, uint64_t parent, uint64_t cookie);
bool directory_is_empty(struct fs_view *v, uint64_t number);
int name_check(struct slice name); /* -ERR_INVALID, -ERR_NAME_TOO_LONG */

/* ---- sessions (session.c) ---- */

/* 0 = do it, 1 = repeated: *ret_answer holds the stored row; -ERR_NO_SESSION, -ERR_INVALID,
 * -ERR_LIMIT. */
int session_admit(struct fs_view *v, const struct wire_caller *c, struct slice *ret_answer);
void session_remember(struct fs *fs, const struct wire_caller *c, int status, uint16_t code,
                      struct slice body);
bool session_exists(struct fs_view *v, uint64_t session);
/* Takes back one hold; frees the inode when it was the last. */
void hold_drop(struct op *o, uint64_t session, uint64_t inode);
void hold_put(struct fs *fs, uint64_t session, uint64_t inode);

/* ---- shard table (op_target.c) ---- */

/* Replaces `table` by what the rows say; it may be all zero. */
int table_load(struct shard_table *table, const struct fs_state *s, struct fs_view *v);
int target_unpack(struct slice value, struct target *ret);
/* NULL also when it was removed. */
const struct target *target_known(const struct fs *fs, uint32_t id);
/* Writes what this command changed in the mirror, and what it counts for. */
void table_save(struct op *o);
/* A removed process may not come back; a later one of the same target is a new target.
 * -ERR_REFUSED. */
int removed_check(struct fs_view *v, const struct uuid *uuid, uint64_t incarnation);
void removed_forget(struct fs *fs, const struct uuid *uuid);
/* Drops those that no shard holds any more. */
void removed_drop(struct fs *fs);
/* What a job wants of these targets, which are known. */
void admin_set(struct op *o, const uint32_t *targets, unsigned count, enum target_admin admin);

/* ---- jobs (job.c) ---- */

/* Replaces the list by what the rows say. */
int jobs_load(struct job_list *jobs, struct fs_view *v);
int job_unpack(struct slice key, struct slice value, struct job *ret);
bool jobs_are_equal(const struct job_list *a, const struct job_list *b);
void job_put(struct fs *fs, const struct job *j);
bool job_has_target(const struct job *j, uint32_t target);
struct job *job_of(struct fs *fs, uint32_t number); /* NULL */
/* A new one at the end of the list, with its number; there is room. */
struct job *job_add(struct fs *fs);
/* It ends; one that ended long ago is forgotten, so `j` may be another one afterwards. */
void job_finish(struct fs *fs, struct job *j, enum job_state state, int64_t now_ns);

/* Adds what the change of a shard by this command made leave its target. */
void jobs_count_left(struct fs *fs, const struct shard *s);

/* ---- policy (config.c) ---- */

int config_load(struct config_values *config, struct fs_view *v);
int config_unpack(struct slice key, struct slice value, struct config_values *ret);

/* ---- replies ---- */

int reply_entry(struct op *o, const struct inode *i, uint64_t data_version_before);
int reply_done(struct op *o);
int reply_open(struct fs_view *v, const struct inode *i, bool created, uint64_t index,
               struct bytes *out);

/* ---- the operations, by ops.tbl ---- */

#define COMMAND(name, caller, reply) int op_##name(struct op *o, const struct msg_##name *m);
#define QUERY(name, reply)           int query_##name(struct query *q, const struct msg_##name *m);
#include "metaserver/fs/ops.tbl"
#undef COMMAND
#undef QUERY

#endif
