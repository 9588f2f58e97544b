/* The client core: what a mount or a tool can do with a cluster. The only header of this room that
 * fuse/ and tools/ see (tools also use blocking.h).
 *
 * One event-loop thread, run to completion: every function here is called on the client's loop and
 * every callback runs on it. Nothing blocks, so there are no locks and no hand-offs; concurrency
 * comes from many operations being under way at once.
 *
 * Rules for all operations
 *   - Arguments (caller, names, options) are borrowed for the call only.
 *   - The callback runs exactly once, possibly before the function returns (an answer from a
 *     cache). What it is given is borrowed for the length of the callback.
 *   - status is 0 or a negated enum err (err_errno() maps it for FUSE). Every operation ends within
 *     deadline_ms: the last thing tried is then its status (-ERR_TIMEOUT, -ERR_UNAVAILABLE ...).
 *   - A name or attribute change that was sent and never answered before its session was lost ends
 *     with -ERR_IO: it may or may not have happened (R23). Everything else is exactly once. */
#ifndef CAIRN_CLIENT_CLIENT_H
#define CAIRN_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/net/loop.h"
#include "common/wire/types.h" /* struct wire_attr; the flags of setattr, open and rename */

struct client;        /* one connection to one cluster: session, caches, open files */
struct client_handle; /* one open of one file */

/* ---- options ------------------------------------------------------------------------------------
 */
enum {
    CLIENT_DEADLINE_MS = 60000,  /* default end of one operation */
    CLIENT_CONNECT_MS = 10000,   /* default bound of client_create */
    CLIENT_ATTR_MS = 1000,       /* default life of cached attributes and names */
    CLIENT_ADDRESSES_MAX = 16,   /* metaservers named by one cluster text */
    CLIENT_READ_PIECES_MAX = 64, /* pieces of one read answer */
    CLIENT_IO_MAX = 4 << 20,     /* bytes of one client_read or client_write */
    CLIENT_ADDRESS_SIZE = 128,   /* of one host:port, with its end */
};

struct client_options {
    const char *cluster;  /* see client_cluster_parse */
    const char *name;     /* for people, in `cairn status`; NULL = host name and process id */
    const char *mount;    /* where it is mounted; NULL or "" for tools */
    unsigned deadline_ms; /* 0 = CLIENT_DEADLINE_MS, and so on for the others */
    unsigned connect_ms;
    unsigned attr_ms;
    const char *source; /* "host:port" in figures: connections to metaservers come from this host;
                           NULL = the kernel chooses */
    bool no_cache;   /* tools that must see every change: attributes and names are never reused */
    bool no_session; /* admin tools: only client_leader_call and client_statfs may be used */
    uint64_t write_buffer_bytes; /* unflushed data over all files; 0 = 256 MiB; when full,
                                    client_write calls back later */
    uint64_t read_ahead_bytes;   /* data fetched ahead over all files; 0 = 64 MiB */
};

struct client_cluster {
    unsigned count;
    char address[CLIENT_ADDRESSES_MAX][CLIENT_ADDRESS_SIZE];
};

/* `text` is "host:port,host:port,...", or a folder made by `cairn dev up`, whose file `metaservers`
 * holds one host:port per line. A host without a port gets 7001. -ERR_CONFIG with the reason. */
int client_cluster_parse(const char *text, struct client_cluster *ret_cluster,
                         struct err_text *why);

/* ---- life ---------------------------------------------------------------------------------------
 */
/* `client` is NULL on failure and `why` then names each address and its problem. */
typedef void client_ready_fn(void *arg, int status, struct client *client, const char *why);
typedef void client_done_fn(void *arg, int status);

/* Connects, opens a session and fetches the shard table; ends within connect_ms with
 * -ERR_UNREACHABLE or -ERR_TIMEOUT when there is no cluster (P6), -ERR_CONFIG at once for a bad
 * text. The loop is borrowed and must outlive the client. On success the callback's client belongs
 * to the caller, who ends it with client_close. */
void client_create(struct loop *loop, const struct client_options *options, client_ready_fn *done,
                   void *arg);

/* Flushes all dirty files (status = the first error that nobody was told yet), closes the session,
 * frees the client; handles that are still open die with it. Bounded by deadline_ms; `done` runs
 * after the memory is gone. */
void client_close(struct client *c, client_done_fn *done, void *arg);

/* The cluster as it was named, for error texts and the virtual attribute of a mount. */
const char *client_cluster_text(const struct client *c);
struct loop *client_loop(struct client *c);
/* 0 while the session is being replaced. */
uint64_t client_session(const struct client *c);
/* Copies of new files, as the cluster says at session open. */
uint8_t client_copies(const struct client *c);

/* Called (on the loop) for an inode of which cached pages must go: the session was lost (D28) or
 * somebody else changed the file. A mount passes it on to the kernel from its notify thread. */
typedef void client_invalidate_fn(void *arg, uint64_t inode);
void client_on_invalidate(struct client *c, client_invalidate_fn *invalidate, void *arg);

/* ---- names and attributes
 * ------------------------------------------------------------------------ */
struct client_caller {
    uint32_t uid, gid;
    const uint32_t *groups; /* supplementary; at most GROUPS_MAX are sent */
    unsigned group_count;
};

/* attr is NULL unless status is 0. valid_ms: how long the answer (also a -ERR_NO_ENTRY of lookup)
 * may be reused by the caller's own cache, so that no answer is older than attr_ms in the end.
 * Sizes and times include this client's own unflushed writes. */
typedef void client_attr_fn(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms);

void client_lookup(struct client *c, const struct client_caller *who, uint64_t parent,
                   struct slice name, client_attr_fn *done, void *arg);
void client_getattr(struct client *c, const struct client_caller *who, uint64_t inode,
                    client_attr_fn *done, void *arg);

struct client_setattr {
    uint32_t valid; /* enum setattr_valid */
    uint32_t mode, uid, gid;
    uint64_t size;
    int64_t atime_ns, mtime_ns;
};

/* SETATTR_SIZE goes through client_truncate's rules. `handle` is NULL or the open handle it is
 * asked through: ftruncate works on a file its opener may no longer write to. */
void client_setattr(struct client *c, const struct client_caller *who, uint64_t inode,
                    struct client_handle *handle, const struct client_setattr *set,
                    client_attr_fn *done, void *arg);
/* Node of any type; `mode` with S_IFMT, umask already applied. */
void client_mknod(struct client *c, const struct client_caller *who, uint64_t parent,
                  struct slice name, uint32_t mode, uint32_t rdev, client_attr_fn *done, void *arg);
void client_mkdir(struct client *c, const struct client_caller *who, uint64_t parent,
                  struct slice name, uint32_t mode, client_attr_fn *done, void *arg);
void client_symlink(struct client *c, const struct client_caller *who, uint64_t parent,
                    struct slice name, struct slice link_target, client_attr_fn *done, void *arg);
void client_link(struct client *c, const struct client_caller *who, uint64_t inode, uint64_t parent,
                 struct slice name, client_attr_fn *done, void *arg);
/* The attributes are those of the inode that lost the name. An open file lives on without one. */
void client_unlink(struct client *c, const struct client_caller *who, uint64_t parent,
                   struct slice name, client_attr_fn *done, void *arg);
void client_rmdir(struct client *c, const struct client_caller *who, uint64_t parent,
                  struct slice name, client_attr_fn *done, void *arg);
/* flags: enum rename_flags. The attributes are those of the moved inode. */
void client_rename(struct client *c, const struct client_caller *who, uint64_t parent,
                   struct slice name, uint64_t new_parent, struct slice new_name, uint32_t flags,
                   client_attr_fn *done, void *arg);

typedef void client_link_target_fn(void *arg, int status, struct slice link_target);
void client_readlink(struct client *c, const struct client_caller *who, uint64_t inode,
                     client_link_target_fn *done, void *arg);

struct client_dirent {
    uint64_t cookie; /* pass it to go on behind this entry; stable while others come and go */
    struct slice name;
    struct wire_attr attr;
    unsigned valid_ms;
};

/* Entries behind `cookie` (0 = from the start), without "." and "..", about bytes_max bytes of
 * them; `end` is true when no more follow. */
typedef void client_readdir_fn(void *arg, int status, const struct client_dirent *entries,
                               unsigned count, bool end);
void client_readdir(struct client *c, const struct client_caller *who, uint64_t inode,
                    uint64_t cookie, uint32_t bytes_max, client_readdir_fn *done, void *arg);

struct client_statfs {
    uint64_t bytes_total, bytes_free; /* for a user, with the default number of copies */
    uint64_t file_count, files_free;
};
typedef void client_statfs_fn(void *arg, int status, const struct client_statfs *statfs);
void client_statfs(struct client *c, client_statfs_fn *done, void *arg);

/* The holder of cached attributes lets go of the inode (the kernel forgot it): what was remembered
 * about its pages is dropped. Never fails. */
void client_forget(struct client *c, uint64_t inode);

/* ---- open files
 * ----------------------------------------------------------------------------------- */
struct client_opened {
    struct client_handle *handle; /* the caller's, until client_release */
    struct wire_attr attr;        /* fresh from the leader (close-to-open) */
    unsigned valid_ms;
    bool created;    /* by client_create_file: it did not exist before */
    bool keep_pages; /* pages cached through this client are still right: contents and size are what
                        this client last knew, its own writes included */
    bool
        attr_changed; /* attributes handed out earlier, still valid by their time, are not right any
                         more: whoever caches them must drop them before the open is answered */
};
typedef void client_open_fn(void *arg, int status, const struct client_opened *opened);

/* flags: enum open_flags. One rpc that brings attributes and chunk map. */
void client_open(struct client *c, const struct client_caller *who, uint64_t inode, uint32_t flags,
                 client_open_fn *done, void *arg);
/* Creates a regular file and opens it, or opens the one that is there (unless OPEN_EXCLUSIVE): one
 * rpc. Mode: permission bits, umask already applied. */
void client_create_file(struct client *c, const struct client_caller *who, uint64_t parent,
                        struct slice name, uint32_t mode, uint32_t flags, client_open_fn *done,
                        void *arg);

/* Ends the handle at once. Dirty data goes on being flushed in the background; an error of that is
 * kept for the file's other handles. Call client_flush before, to hear of it. */
void client_release(struct client_handle *h);

uint64_t client_handle_inode(const struct client_handle *h);
uint32_t client_handle_flags(const struct client_handle *h); /* enum open_flags */
bool client_handle_dirty(
    const struct client_handle *h); /* its file has unflushed or uncommitted data */

/* ---- data
 * -------------------------------------------------------------------------------------------
 * Offsets and sizes in bytes. Operations on one file take effect in the order they were asked for:
 * a read sees every earlier write of this client. */

/* `pieces` (at most CLIENT_READ_PIECES_MAX) hold `size` bytes in order; size is less than asked
 * only at the end of the file; holes are pieces of zeros. Every byte has passed its checksum (P4).
 */
typedef void client_read_fn(void *arg, int status, const struct slice *pieces, unsigned count,
                            size_t size);
/* size <= CLIENT_IO_MAX. */
void client_read(struct client_handle *h, uint64_t offset, size_t size, client_read_fn *done,
                 void *arg);

/* Takes the caller's reference of `take_block` and the bytes [at, at + size) in it, which nobody
 * may change any more: no copy is made. `done` runs when the data is buffered (at once unless
 * write_buffer_bytes are waiting) and size and times of the file include it. An error found later
 * is reported by client_flush or client_fsync. 0 < size <= CLIENT_IO_MAX; -ERR_FILE_TOO_BIG past
 * the largest file, -ERR_BAD_HANDLE without OPEN_WRITE. */
void client_write(struct client_handle *h, uint64_t offset, struct buf *take_block, size_t at,
                  size_t size, client_done_fn *done, void *arg);

/* close(2): everything written before is acknowledged by all in-sync replicas, and size, mtime and
 * new chunks are committed. Reports each error of the file once per handle (D11). */
void client_flush(struct client_handle *h, client_done_fn *done, void *arg);
/* fsync(2): client_flush, and on stable storage everywhere (P1). */
void client_fsync(struct client_handle *h, client_done_fn *done, void *arg);

/* Sets the size. Growing zeroes the gap behind the old end first (bytes beyond the end are
 * undefined on the chunkservers); shrinking drops whole chunks by generation (D9). Earlier writes
 * are flushed first, later ones wait. */
void client_truncate(struct client_handle *h, const struct client_caller *who, uint64_t size,
                     client_attr_fn *done, void *arg);

enum client_fallocate_mode {
    CLIENT_ALLOCATE = 1,       /* grows the size when it has to; reserves nothing */
    CLIENT_ALLOCATE_KEEP_SIZE, /* checks its arguments only */
    CLIENT_PUNCH_HOLE,         /* the range reads as zeros, the size stays */
    CLIENT_ZERO_RANGE,         /* the range reads as zeros, the size grows when it has to */
    CLIENT_ZERO_RANGE_KEEP_SIZE,
};
/* -ERR_NOT_SUPPORTED for other modes. */
void client_fallocate(struct client_handle *h, const struct client_caller *who,
                      enum client_fallocate_mode mode, uint64_t offset, uint64_t size,
                      client_done_fn *done, void *arg);

/* ---- numbers of copies (docs/replicas.md)
 * -------------------------------------------------------------------------------------------
 */
/* attr is NULL unless status is 0; `detail` is a text for a person, "" when there is none. */
typedef void client_copies_fn(void *arg, int status, const struct wire_attr *attr,
                              const char *detail);
/* Of a directory: what new entries inherit. Of a file: its own, and if it has data the data is
 * copied, which takes as long as it takes (each step is bounded by deadline_ms). Called off with
 * -ERR_FILE_OPEN when somebody has the file open for writing, or has had meanwhile: nothing has
 * changed then. -ERR_REFUSED when there are too few chunkservers. */
void client_set_copies(struct client *c, const struct client_caller *who, uint64_t inode,
                       uint8_t copies, client_copies_fn *done, void *arg);

enum { CLIENT_PLACES_MAX = 64, CLIENT_PLACE_SIZE = 64 };
struct client_places {
    uint8_t copies;       /* wanted */
    uint8_t copies_now;   /* of the chunk that has the fewest in sync on servers that are up */
    uint32_t chunk_count; /* 0: copies_now means nothing */
    unsigned server_count;
    char servers[CLIENT_PLACES_MAX][CLIENT_PLACE_SIZE]; /* that hold such a copy of some chunk */
};
void client_places(const struct client_handle *h, struct client_places *ret_places);

/* ---- for tools
 * ---------------------------------------------------------------------------------------- */
/* Sends any request of messages.tbl to the leader, repeated there until the deadline when the
 * message may be repeated. code and body are the answer's (its msg_ code and its encoding). */
typedef void client_reply_fn(void *arg, int status, uint16_t code, struct slice body,
                             const char *detail);
void client_leader_call(struct client *c, uint16_t code, struct slice body, client_reply_fn *done,
                        void *arg);

struct client_counters {
    uint64_t metadata_calls, metadata_repeats; /* rpcs sent; those sent again */
    uint64_t attr_hits, name_hits;             /* answers from the caches */
    uint64_t sessions_lost, table_fetches;
    uint64_t bytes_read, bytes_written; /* data to and from chunkservers */
    uint64_t data_repeats, crc_errors;  /* chunk requests sent again; answers with a bad block */
};
void client_counters(const struct client *c, struct client_counters *ret_counters);

#endif
