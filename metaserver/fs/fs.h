/* The replicated state machine: the namespace, sessions with their answers, deleted chunks, the
 * shard table, jobs and the policy of the cluster (job.h), held in an ordered store.
 *
 * A log entry is a command: an envelope (who leads says the time and who holds inodes open) around
 * the request as the client sent it. Live and replay run the same fs_apply, which has no clock and
 * no chance and cannot fail except as a recorded result. The applied (index, term) is committed
 * with the rows it stands for (R11).
 *
 * Threads: all calls that take `struct fs *` alone belong to one thread (the loop). Queries take a
 * view; with kv_lmdb each thread may have its own, begun and ended by the loop, for all queries but
 * shard_table and config_get, which read mirrors in memory.
 *
 * What is not here, because it is the leader's volatile state: who has which inode open, leases,
 * heartbeats, bytes used on targets. */
#ifndef CAIRN_FS_FS_H
#define CAIRN_FS_FS_H

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/ring/shard_table.h"
#include "common/wire/codec.h"
#include "metaserver/fs/kv.h"

enum {
    FS_COMMAND_VERSION = 1,
    FS_HOLDERS_MAX = 65535,   /* sessions in one envelope */
    FS_SESSIONS_MAX = 65536,  /* more: -ERR_LIMIT */
    FS_SESSION_WINDOW = 4096, /* answers kept per session: lowest_unanswered + this is -ERR_LIMIT */
    FS_SESSION_TIMEOUT_MS = 30000,
    FS_OPEN_CHUNKS_MAX = 64, /* slots in the answer to open and create */
    FS_CHUNKS_MAX = 16384,   /* slots in one answer to meta_chunks */
    FS_READDIR_BYTES_MAX = 1 << 20,
    FS_HASH_INTERVAL = 1024, /* a state hash is kept for each multiple of this (R28) */
    FS_HASHES_KEPT = 16,
    FS_LINK_MAX = 0x7fffffff,
};
#define FS_VICTIM_NONE   UINT64_MAX
#define FS_FILE_SIZE_MAX ((uint64_t)UINT32_MAX * CHUNK_SIZE)

struct fs;

/* ---- life ---- */

/* Takes over the store only on success. An empty store becomes an empty state (applied 0) that
 * waits for cluster_init. Rebuilds the mirror of the shard table. -ERR_CORRUPT for rows that are
 * not of this format or an unfinished fs_load, -ERR_VERSION for a newer one. */
int fs_open(struct kv *take_kv, struct fs **ret_fs);
void fs_close(struct fs *fs); /* also destroys the store; all views are closed before */

struct fs_status {
    uint64_t applied_index, applied_term; /* of the last fs_commit_batch or the open batch */
    struct uuid cluster;
    bool formed;     /* cluster_init was applied */
    bool is_loading; /* a dump is on its way in: requests about names are -ERR_BUSY */
    uint8_t copies;
    uint32_t shard_count, initial_targets;
    uint64_t file_count; /* every inode that is not a directory, orphans too */
    uint64_t directory_count;
    uint64_t file_bytes; /* sum of the sizes of regular files */
    uint64_t garbage_count, orphan_count;
    uint32_t session_count;
    uint64_t state_hash;
    uint64_t store_bytes;
};
void fs_get_status(const struct fs *fs, struct fs_status *ret);
bool fs_is_loading(const struct fs *fs); /* the same as its is_loading, for every request */

/* ---- commands ---- */

struct fs_command {
    uint16_t code;   /* of ops.tbl */
    int64_t time_ns; /* of the leader that proposed it */
    uint64_t victim; /* the inode that `holders` is about, FS_VICTIM_NONE when the name was free, 0
                        = not looked at. When a file loses its last link and it is another one,
                        because the name changed its meaning on the way, the result is -ERR_BUSY,
                        nothing is done or remembered, and the caller asks again */
    struct slice holders; /* little-endian u64 sessions that hold open what loses its last link */
    struct slice body;    /* as received */
};
/* Appends the envelope: u8 version, u16 code, i64 time, u64 victim, u16 count, holders, body. */
void fs_command_encode(const struct fs_command *c, struct bytes *out);
int fs_command_decode(struct slice envelope, struct fs_command *ret); /* -ERR_PROTOCOL */
bool fs_is_command(uint16_t code);                                    /* belongs in the log */
bool fs_is_query(uint16_t code);
bool fs_has_caller(uint16_t code); /* a command whose body begins with session and sequence */

struct fs_result {
    int status;        /* 0 or negated err: what the reply frame carries */
    uint16_t code;     /* of the reply: error_r with an error */
    struct slice body; /* encoded reply; valid until the next call with this fs */
    uint64_t session;  /* whom to answer; 0 = no client request */
    uint64_t sequence;
    bool repeated;      /* the stored answer of an earlier entry; nothing was done */
    bool table_changed; /* the shard table has a new version */
    bool diverged;      /* this replica's state hash differs: stop it (R28) */
    uint32_t freed_count;
    uint64_t freed_inode;   /* the last inode that was freed, 0 = none */
    uint64_t orphan_inode;  /* the inode that became an orphan, 0 = none */
    uint64_t session_ended; /* session closed or expired by this entry, 0 = none */
};

/* A batch is one write transaction of the store. Between begin and commit: fs_apply and fs_skip
 * with ascending indexes. After an error of begin, apply or commit the batch is gone, the state is
 * that of the last commit, and the replica must stop or be opened anew: -ERR_IO, -ERR_NO_SPACE. */
int fs_begin_batch(struct fs *fs);
int fs_commit_batch(struct fs *fs);
void fs_abort_batch(struct fs *fs);
/* As of the last commit: a batch of ordinary size will not meet -ERR_NO_SPACE. */
bool fs_is_ample(const struct fs *fs);
int fs_apply(struct fs *fs, uint64_t index, uint64_t term, struct slice envelope,
             struct fs_result *ret);
/* An entry that is not a command: a leader's no-op, a membership change. */
int fs_skip(struct fs *fs, uint64_t index, uint64_t term);

/* The leader's check before it proposes: on the applied state, outside a batch. 0 = propose it.
 * 1 = *ret holds the answer already: the session knows the request, or it would fail.
 *
 * Not to be used while the same (session, sequence) may stand unapplied in the log, that is before
 * a new leader has applied its term's first entry and while it has the request in flight: the check
 * could answer EEXIST for a mkdir whose entry then succeeds (R22). */
struct fs_view;
int fs_check_request(struct fs *fs, struct fs_view *view, uint16_t code, struct slice body,
                     struct fs_result *ret);

/* The newest (index, hash) for a state_hash command; false before the first interval is over. */
bool fs_last_hash(const struct fs *fs, uint64_t *ret_index, uint64_t *ret_hash);

/* ---- queries ---- */

/* A snapshot of the committed state. Renew it after each batch, end it before fs_close. */
int fs_view_begin(struct fs *fs, struct fs_view **ret_view);
int fs_view_renew(struct fs_view *view);
/* Holds no snapshot until it is renewed, so that it does not keep old pages. */
void fs_view_rest(struct fs_view *view);
void fs_view_end(struct fs_view *view);

/* Answers lookup, getattr, readlink, readdir, statfs, open, chunks, shard_table and config_get: 0
 * and the encoded reply appended to `out`, or a negated err. statfs leaves bytes_total and
 * bytes_free 0: the leader fills them in from its heartbeats. -ERR_NOT_SUPPORTED for other codes.
 */
int fs_query(struct fs *fs, struct fs_view *view, uint16_t code, struct slice body,
             uint16_t *ret_code, struct bytes *out);
/* The file that is being loaded; -ERR_NO_ENTRY while none is. */
int fs_get_loading(struct fs_view *view, struct uuid *ret_file);
int fs_get_attr(struct fs_view *view, uint64_t inode, struct wire_attr *ret_attr);
/* -ERR_NO_ENTRY for no such name; used by the leader to learn what an unlink or rename will hit. */
int fs_find_name(struct fs_view *view, uint64_t parent, struct slice name, uint64_t *ret_inode);

struct fs_session {
    uint64_t id;
    struct uuid client;
    char name[256], mount[256]; /* cut for people */
};
/* The first session with id > after; -ERR_NO_ENTRY. */
int fs_next_session(struct fs_view *view, uint64_t after, struct fs_session *ret);
/* The first orphan hold of `session` with inode > after; -ERR_NO_ENTRY. */
int fs_next_hold(struct fs_view *view, uint64_t session, uint64_t after, uint64_t *ret_inode);
struct fs_garbage {
    uint64_t seq;
    struct chunk_id id;
    uint8_t copies;
};
/* The first deleted chunk with seq > after; -ERR_NO_ENTRY. */
int fs_next_garbage(struct fs_view *view, uint64_t after, struct fs_garbage *ret);
/* Whether a chunk belongs to a file: 0, -ERR_NO_ENTRY for dead or not (yet) committed. */
int fs_find_chunk(struct fs_view *view, const struct chunk_id *id);

/* The shard table as of the last applied entry; valid until the next batch. */
const struct shard_table *fs_shard_table(const struct fs *fs);

/* ---- snapshots: the whole state in one piece: (index, term), rows, the driver's config ---- */

struct fs_snapshot;
/* Borrows the view until fs_snapshot_end; config is copied. */
int fs_snapshot_begin(struct fs_view *view, struct slice config, struct fs_snapshot **ret);
/* Appends up to about size_max bytes. 1 = more follows, 0 = the stream is complete. */
int fs_snapshot_next(struct fs_snapshot *s, size_t size_max, struct bytes *out);
void fs_snapshot_end(struct fs_snapshot *s);
void fs_snapshot_position(const struct fs_snapshot *s, uint64_t *ret_index, uint64_t *ret_term);

/* Fills an empty store from the stream, in pieces of any size; fs_open it afterwards. A store whose
 * load did not finish is refused by fs_open. -ERR_CORRUPT, -ERR_VERSION, -ERR_NOT_EMPTY_STATE. */
struct fs_load;
int fs_load_begin(struct kv *kv, struct fs_load **ret);
int fs_load_add(struct fs_load *l, struct slice piece);
/* 0 only when the stream was complete; appends the config blob. Ends the load in any case. */
int fs_load_end(struct fs_load *l, struct bytes *ret_config);

/* The config blob in the first piece of a stream (which holds it whole): borrowed from `piece`.
 * -ERR_CORRUPT, -ERR_VERSION. */
int fs_load_peek_config(struct slice piece, struct slice *ret_config);

/* ---- invariants ---- */

/* Walks everything (fs_check.h), and compares the shard rows with the mirror (outside a batch). 0,
 * or -ERR_CORRUPT and `why` for the first thing that is wrong. */
int fs_check(struct fs *fs, struct fs_view *view, struct err_text *why);

#endif
