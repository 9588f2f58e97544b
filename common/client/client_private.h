/* Inside the client room: struct client and struct client_file, and who owns which field.
 *
 *   session.c     leader connection, session, keep-alive, reclaim       c->session, c->leader
 *   table.c       the shard table and its refresh                       c->table
 *   op.c          one operation as a pure state machine
 *   meta_call.c   drives op.c over rpc_leader                           c->calls
 *   meta_ops.c    names and attributes: requests, answers, caches
 *   meta_read.c   readlink, readdir, statfs    meta_setattr.c  setattr, the size of a file
 *   meta_open.c   open, create, batched release                         c->release
 *   chunk_map.c   chunk maps: load, made, commit                        file->chunks
 *   attr_cache.c  attributes and names                                  c->cache
 *   file.c        the table of files and handles                        c->files
 *   client.c      create and close
 *   data path     write_buf.c, read_ahead.c, chunk_io.c, file_data.c    c->data, file->data
 *
 * All on the client's loop thread. */
#ifndef CAIRN_CLIENT_CLIENT_PRIVATE_H
#define CAIRN_CLIENT_CLIENT_PRIVATE_H

#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/prng.h"
#include "common/client/attr_cache.h"
#include "common/client/client.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_leader.h"

enum {
    CLIENT_MAGIC = 0x434c4e54,
    CLIENT_FILE_MAGIC = 0x46494c45,
    CLIENT_HANDLE_MAGIC = 0x48414e44,
    CLIENT_CALLS_MAX = 4096,    /* metadata rpcs in flight; more wait in order */
    CLIENT_RELEASE_BATCH = 256, /* inodes in one meta_release */
    CLIENT_RELEASE_MS = 20,     /* how long a release waits for company */
};

/* The largest file: LIST_COUNT_MAX chunk indexes (64 TiB), so a chunk map is bounded. */
#define CLIENT_FILE_SIZE_MAX ((uint64_t)CHUNK_SIZE << 20)

struct shard_table;
struct client_data; /* the data path's part of a client; its own header says what is inside */
struct client_start;
struct file_data; /* the data path's part of a file */

/* ---- session.c ----------------------------------------------------------------------------------
 */
enum session_state { SESSION_NONE, SESSION_OPENING, SESSION_UP, SESSION_CLOSED };

struct client_session {
    enum session_state state;
    uint64_t id; /* 0 unless UP */
    struct uuid client;
    uint32_t timeout_ms;
    uint64_t term_seen;
    uint64_t leader_changes; /* leader connections found or lost so far */
    uint64_t reclaims;       /* complete sets of open files sent so far */
    bool reclaim_wanted, alive_sent;
    struct loop_timer timer; /* keep-alive, and the next try to open */
};

/* ---- table.c ------------------------------------------------------------------------------------
 */
struct client_table {
    struct shard_table *table; /* version 0 until the first fetch */
    bool answered;             /* a leader has answered a fetch */
    uint64_t version;          /* of `table`; 0 = none */
    uint64_t heard;            /* the newest version seen in any frame */
    bool fetching;
    struct list waiters;
    struct loop_timer timer; /* a fetch that failed is repeated */
};

/* ---- meta_call.c
 * ---------------------------------------------------------------------------------- */
struct client_calls {
    struct list
        changes; /* calls with a sequence number, in its order: the first gives lowest_unanswered */
    struct list reads;  /* the others */
    struct list queued; /* beyond CLIENT_CALLS_MAX, not started */
    unsigned count;     /* started */
    uint64_t next_sequence;
};

/* ---- meta_open.c
 * ---------------------------------------------------------------------------------- */
struct client_release_batch {
    unsigned count;
    struct {
        uint64_t inode;
        uint32_t opens;
    } inodes[CLIENT_RELEASE_BATCH];
    struct loop_timer timer;
};

struct client {
    uint32_t magic;
    struct loop *loop;
    struct client_start *start; /* client.c: NULL once client_create is answered */
    char *cluster_text, *name, *mount, *source;
    struct client_cluster cluster;
    unsigned deadline_ms, attr_ms;
    bool no_session, closing;
    uint64_t write_buffer_bytes, read_ahead_bytes; /* limits, for the data path */
    uint8_t copies;                                /* of new files */
    uint32_t shard_count;
    struct rpc_identity identity; /* for the data path's peers too */
    struct rpc_leader *leader;
    struct prng prng;
    client_invalidate_fn *invalidate;
    void *invalidate_arg;
    struct client_session session;
    struct client_table table;
    struct client_calls calls;
    struct client_release_batch release;
    struct list moves; /* copies.c */
    struct attr_cache cache;
    struct map files; /* inode -> struct client_file */
    int untold_error; /* of a file that ended with an error nobody was told */
    struct client_counters counters;
    struct client_data *data; /* data path: peers of chunkservers, memory limits */
};

/* ---- file.c: files and handles
 * --------------------------------------------------------------------- */
/* What all handles of one inode share. Exists while somebody holds a reference: each handle, each
 * operation under way, and the data path while it has dirty or in-flight data. */
struct client_file {
    uint32_t magic;
    struct client *c;
    uint64_t inode;
    unsigned references;
    struct list handles;

    /* file.c, meta_open.c */
    struct wire_attr attr;   /* the leader's last word; never older than an earlier one */
    uint32_t opens;          /* answers to open and create not yet released to the leader */
    uint32_t opens_pending;  /* opens under way */
    uint32_t writes_pending; /* opens for writing that have no handle yet */
    uint64_t chunks_version; /* data_version at which `chunks` was the whole map */
    bool chunks_loaded;      /* `chunks` is the whole map as of attr.data_version */
    uint8_t chunks_copies;   /* whose table the chunks of the map are in: attr may know of a later
                                change, and a map and its table belong together */
    uint32_t chunks_generation; /* attr.chunk_generation when the map was loaded */
    uint32_t dirty_generation;  /* of the map that the oldest uncommitted write was made with: what
                                   commits say */
    struct map chunks;    /* index -> (void *)(generation + 1): slots the metadata knows, and those
                             that the data path created and has not committed yet */
    int error;            /* the last write-back error, sticky (D11, D28) */
    uint64_t error_count; /* raised with each error: a handle that saw fewer has one to report */

    /* data path writes these, file.c reads them for answers to getattr */
    bool dirty;                      /* data unflushed, or size, mtime or chunks uncommitted */
    uint64_t dirty_end;              /* end of the furthest uncommitted write, 0 when clean */
    int64_t dirty_mtime_ns;          /* local time of the last uncommitted write */
    uint32_t writer_uid, writer_gid; /* of the last handle that wrote: the caller of commits */
    struct file_data *data;          /* data path, NULL until it needs it */
};

struct client_handle {
    uint32_t magic;
    struct client_file *file;
    struct list node; /* in file->handles */
    uint32_t flags;   /* enum open_flags */
    uint32_t uid, gid;
    uint64_t errors_told; /* file->error_count this handle knows */
    unsigned uses;        /* flushes under way: a killed process releases before they end */
    bool released;        /* only waits for them */
};

/* Finds or makes; both give a reference that file_drop returns. */
struct client_file *file_get(struct client *c, uint64_t inode);
struct client_file *file_find(struct client *c,
                              uint64_t inode); /* NULL when there is none; no reference */
struct client_file *file_hold(struct client_file *f);
void file_drop(struct client_file *f);
/* The size as this client sees it. */
static inline uint64_t file_size(const struct client_file *f)
{
    return f->dirty_end > f->attr.size ? f->dirty_end : f->attr.size;
}
/* Keeps the newer of the known attributes and these; also tells the attribute cache. `before` is
 * the data_version_before of an answer to an own change, or 0: see attr_cache_changed. */
void file_absorb(struct client *c, const struct wire_attr *attr, uint64_t before,
                 uint64_t asked_ms);
/* Copies `attr` with this client's own unflushed size and time laid over it. */
void file_overlay(struct client *c, struct wire_attr *attr);
/* The slot of a chunk. True and its generation when it exists (committed, or made here); false = a
 * hole: it reads as zeros without asking anyone (D8). Only when chunks_loaded. */
bool file_chunk(const struct client_file *f, uint32_t index, uint32_t *ret_generation);
/* The data path made the chunk: reads find it from now on. Its generation is attr.chunk_generation.
 */
void file_chunk_made(struct client_file *f, uint32_t index, uint32_t generation);
/* Forgets the slots from `first_index` on (truncate). */
void file_chunks_cut(struct client_file *f, uint32_t first_index);
struct client_handle *file_handle_create(struct client_file *f, const struct client_caller *who,
                                         uint32_t flags);
/* Somebody may change its contents through this client: open for writing, or not finished. */
bool file_may_write(const struct client_file *f);
/* Keeps the handle's memory over client_release, for a flush under way. */
void file_handle_hold(struct client_handle *h);
void file_handle_drop(struct client_handle *h);
/* Records a write-back error: every handle of the file reports it once. */
void file_fail(struct client_file *f, int status);
/* The error this handle has not reported yet, or 0; it counts as reported now. */
int file_take_error(struct client_handle *h);
/* A write was accepted: the file is dirty up to `end`. Sets time and writer. */
void file_wrote(struct client_file *f, const struct client_handle *h, uint64_t end);
/* Flushed and committed: nothing of it is only here any more. */
void file_cleaned(struct client_file *f);
/* Whoever caches pages of it elsewhere must drop them. */
void file_invalidate(struct client_file *f);

/* ---- meta_open.c: what the data path asks the leader
 * ------------------------------------------------- */
struct client_slot {
    uint32_t index, generation;
};
/* meta_commit in the name of the file's last writer: the size becomes at least size_min (0 =
 * unchanged), mtime_ns (INT64_MIN = the leader's time), chunks made. Call after all replicas
 * acknowledged the data. `added` is borrowed for the call. The file is held until `done`. */
void file_commit(struct client_file *f, uint64_t size_min, int64_t mtime_ns,
                 const struct client_slot *added, unsigned count, client_done_fn *done, void *arg);
/* Fetches attributes and the whole chunk map again: for a file that was not opened (truncate by
 * path), or when a chunkserver says that a chunk is gone: another client may have cut it. Slots
 * made here and not committed stay. Then chunks_loaded. */
void file_refresh(struct client_file *f, client_done_fn *done, void *arg);
/* meta_setattr of the size alone; the leader's part of a truncate. On success attr.size is the new
 * size and slots behind it are cut. */
void file_set_size(struct client_file *f, const struct client_caller *who, uint64_t size,
                   bool by_handle, client_attr_fn *done, void *arg);

/* ---- table.c
 * ------------------------------------------------------------------------------------------- */
/* Version 0 while none is formed. Valid until the next callback. */
const struct shard_table *client_shard_table(const struct client *c);
/* Every answer of every server goes through here: a newer version starts a fetch. */
void client_heard_table(struct client *c, uint64_t version);
/* `done` runs when a table newer than `than_version` is here, or with -ERR_TIMEOUT at deadline_ms
 * (of loop_now_ms). After a STALE answer: than_version = the version that was used. */
void client_newer_table(struct client *c, uint64_t than_version, uint64_t deadline_ms,
                        client_done_fn *done, void *arg);
/* The version of our table, for frame headers; arg = the client. */
uint64_t client_table_version(void *arg);

/* ---- what the core needs of the data path
 * ---------------------------------------------------------------- */
void client_data_create(struct client *c);  /* sets c->data */
void client_data_destroy(struct client *c); /* no file is dirty any more */
/* The file goes: frees file->data (may be NULL). Never dirty. */
void file_data_release(struct client_file *f);
/* client_flush without a handle: `done` gets the status of this flush; errors are also kept with
 * file_fail. `sync` = fsync. Holds the file itself. */
void file_data_flush(struct client_file *f, bool sync, client_done_fn *done, void *arg);
/* The session is lost: unflushed data is dropped (the caller has set the error), requests in flight
 * are abandoned, waiting callbacks end with `status`, the file is clean. */
void file_data_abandon(struct client_file *f, int status);
/* A change of its contents is under way or waits. */
bool file_data_is_busy(const struct client_file *f);
/* Data fetched ahead of reads is no longer right. */
void file_data_forget_read(struct client_file *f);
/* client_truncate without a handle. by_handle as in meta_setattr. */
void file_data_truncate(struct client_file *f, const struct client_caller *who, uint64_t size,
                        bool by_handle, client_attr_fn *done, void *arg);

/* ---- session.c
 * -------------------------------------------------------------------------------------------- */
/* Opens a session; calls session_ready (client.c) or goes on trying until client_close. */
void session_start(struct client *c);
void session_stop(struct client *c);
/* A server said ERR_NO_SESSION to a request of this session: replaces it once. */
void session_lost(struct client *c, uint64_t session);
/* The leader's connection came or went: rpc_leader's `changed`. */
void session_leader_changed(struct client *c, bool is_up);
/* The next keep-alive carries the complete set of open files. */
void session_want_reclaim(struct client *c);

/* ---- client.c
 * -----------------------------------------------------------------------------------------------
 */
/* Time for mtimes. Decides nothing. */
int64_t client_wall_ns(void);
/* Session or table came up during client_create. */
void client_progress(struct client *c);

/* ---- meta_call.c: restart and failure of all calls
 * ------------------------------------------------------------ */
void meta_calls_session_up(struct client *c);
void meta_calls_cancel_all(struct client *c);

/* ---- meta_open.c: release ---- */
/* The leader forgets `opens` opens of the inode, soon and in company. */
void release_batch_add(struct client *c, uint64_t inode, uint32_t opens);
void release_batch_send(struct client *c);
/* At once, if the inode is among those that wait: a release must not be overtaken by what comes
 * now. */
void release_of_send(struct client *c, uint64_t inode);

/* ---- copies.c ---- */
/* The client is closing: ends the moves that wait for a chunkserver. */
void client_moves_cancel(struct client *c);

#endif
