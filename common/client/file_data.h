/* The data of files: what is buffered, under way, fetched ahead, and in which order it happens.
 *
 *   file_data.c   life of a file's data; the gate; writes; truncate and fallocate in file_resize.c
 *   write_buf.c   unsent data by 1 MiB windows: pieces that never overlap
 *   write_send.c  pieces -> requests, limits in flight, what follows an answer
 *   file_flush.c  flush, fsync, commit
 *   file_read.c   a read from buffered pieces, holes and fetches
 *   read_ahead.c  fetches from chunkservers, sequential detection, the cache of fetched data
 *   unsynced.c    chunks of closed files that are not stable yet
 *   chunk_io.c, chunk_peer.c, chunk_crc.c   one operation on one chunk
 *
 * The invariants:
 *   - unsent pieces of a file never overlap; a request lies in one window; two requests under way
 *     never touch the same block (chain.h relies on it);
 *   - every byte written and not acknowledged is in a piece, so a read that captures the pieces
 *     when it begins sees every earlier write;
 *   - a file is held while it is dirty.
 * All on the client's loop thread. */
#ifndef CAIRN_CLIENT_FILE_DATA_H
#define CAIRN_CLIENT_FILE_DATA_H

#include "common/client/chunk_io.h"

enum {
    WINDOW_SIZE = CHUNK_IO_BYTES_MAX, /* requests never cross its bounds, so that a stream's
                                         requests never share a block */
    FILE_FLYING_MAX = 8 << 20,        /* bytes of writes under way per file */
    ALL_FLYING_MAX = 64 << 20,        /* and over all files */
    GATHER_SIZE = 128 << 10,          /* small writes that follow one another are copied together */
    IDLE_SEND_MS = 1000,              /* unsent data of a file nobody writes to any more leaves */
    COMMIT_MS = 5000,                 /* a long writer's data is flushed this often (D11) */
    ZERO_SIZE = 1 << 20,              /* of the shared zeros that holes are read from */
};

/* ---- of the client ---- */

struct client_data {
    struct client *c;
    struct chunk_peers peers;
    uint64_t next_op;
    uint64_t buffered_bytes; /* of all pieces, sent or not; bounded by write_buffer_bytes */
    uint64_t flying_bytes;
    struct list senders;      /* files that wait for room in ALL_FLYING_MAX */
    struct list dirty_files;  /* files with unsent pieces */
    struct list room_waiters; /* writes that are answered when there is room */
    struct list fetched;      /* cached fetches, the oldest first */
    uint64_t fetched_bytes;   /* of them; bounded by read_ahead_bytes */
    struct buf *zeros;
    struct map unsynced; /* inode -> struct unsynced_file: see unsynced.c */
    struct list unsynced_order;
};

/* ---- pieces and windows ---- */

struct piece {
    struct list node; /* window->pieces or request->pieces, in order of offset */
    uint64_t offset;
    uint32_t size;
    uint32_t room;   /* bytes that may still be copied in behind: it is a gather buffer of ours */
    struct buf *buf; /* NULL = zeros, sent as CHANGE_ZERO */
    size_t at;
};

struct window {
    struct file_data *fd;
    uint64_t index; /* offset / WINDOW_SIZE */
    struct list pieces, requests;
    struct list node;      /* in fd->windows_unsent while it has pieces */
    struct list full_node; /* in fd->windows_full while they reach its end */
};

struct write_request {
    struct list node; /* window->requests */
    struct window *window;
    struct list pieces;
    uint32_t first_block, last_block; /* of the chunk, both touched */
    bool refreshed;                   /* the chunk map was fetched again after ERR_LOST_CHUNK */
    bool abandoned;                   /* while it was being fetched */
    struct chunk_io io;
};

/* What this client did to a chunk and has not finished: uncommitted or not stable yet. */
struct chunk_state {
    uint32_t index, generation;
    unsigned creating; /* requests under way that carry CREATE */
    bool made;         /* it exists, the metadata does not know yet */
    bool unsynced;     /* written since its last sync */
};

/* ---- of a file ---- */

struct file_data {
    struct client_file *f;
    bool held; /* we hold f: it is dirty */

    /* write_buf.c, write_send.c */
    struct map windows;         /* index -> struct window */
    struct list windows_unsent; /* in order of their first piece */
    struct list windows_full;   /* those of them that may leave before anybody pushes */
    unsigned piece_count;       /* unsent or under way */
    unsigned request_count;
    uint64_t flying_bytes;
    bool push;      /* send everything, not only full windows */
    bool sync_next; /* the next request is the only one of an fsync: CHUNK_WRITE_SYNC */
    struct list sender_node, dirty_node;
    struct loop_timer idle_timer, commit_timer;
    struct map chunks;    /* index -> struct chunk_state */
    uint64_t fail_floor;  /* lowest offset of a write that failed; UINT64_MAX = none */
    uint64_t write_count; /* writes accepted so far */
    uint64_t stalled_ms;  /* since when unsent data waits for a session; 0 = it does not */

    /* file_flush.c */
    struct list flushes;      /* in order; the first may be beyond its data stage */
    unsigned flushes_of_data; /* those that wait for data; new writes wait behind them */
    uint64_t committed_count; /* write_count of the last commit that ended */

    /* file_data.c: operations that must not overlap others */
    bool gate_closed;
    struct list waiting; /* struct data_call behind the gate */
    uint64_t abandons;   /* raised by file_data_abandon: callbacks from before it do nothing */
    struct list resizes; /* of file_resize.c */

    /* file_read.c, read_ahead.c */
    struct list reads;
    struct list fetches; /* all of this file */
    unsigned fetch_count;
    uint64_t stream_next, stream_bytes; /* where a sequential reader would go on; how far it came */
};

struct file_data *file_data_get(struct client_file *f); /* makes it when there is none */
/* A write was accepted. */
void file_data_dirty(struct file_data *fd, const struct client_handle *h, uint64_t end);
/* Everything is committed or given up. */
void file_data_clean(struct file_data *fd);

/* ---- write_buf.c ---- */

/* Puts [offset, offset + size) in, over what is there; takes no reference of its own when it
 * copies. `buf` NULL = zeros. Splits at window bounds. */
void write_buf_put(struct file_data *fd, uint64_t offset, struct buf *buf, size_t at,
                   uint64_t size);
/* The next stretch from `offset` on, at most up to `end`: buffered (unsent before sent) or not. */
struct stretch {
    uint64_t size;
    bool is_buffered;
    struct buf *buf; /* NULL with is_buffered = zeros */
    size_t at;
};
void write_buf_look(struct file_data *fd, uint64_t offset, uint64_t end, struct stretch *ret);
/* Takes the next run of pieces of the window that may be sent now out of it, into `ret_pieces`:
 * contiguous, at most NET_SLICES_MAX, or one of zeros; sharing no block with a request under way.
 * False when there is none. */
bool write_buf_take_run(struct window *w, bool push, struct list *ret_pieces);
/* True when all pieces of the file are one unsent run of data: what an fsync sends with
 * CHUNK_WRITE_SYNC. */
bool write_buf_is_one_run(struct file_data *fd);
bool write_buf_is_full(const struct window *w); /* its last run reaches its end */
void piece_free(struct file_data *fd, struct piece *piece);
void window_tidy(struct window *w); /* frees it when it is empty */
void write_buf_drop_all(struct file_data *fd);

/* ---- write_send.c ---- */

struct chunk_state *chunk_state_get(struct file_data *fd, uint32_t index);
/* Sends what may be sent. */
void write_send(struct file_data *fd);
/* There is room again, or memory has run short. */
void write_send_others(struct client_data *data);
void write_room_wait(struct client_data *data, client_done_fn *done, void *arg,
                     struct file_data *fd);
void write_send_abandon(struct file_data *fd, int status);

/* ---- unsynced.c ---- */

void unsynced_keep(struct file_data *fd);    /* the file goes */
void unsynced_restore(struct file_data *fd); /* it is back */
bool unsynced_known(const struct client_file *f);
void unsynced_release(struct client_data *data);

/* ---- file_flush.c ---- */

/* Something ended: flushes whose data is acknowledged go on. */
void flush_check(struct file_data *fd);
void flush_abandon(struct file_data *fd, int status);
void flush_start(struct file_data *fd, bool sync, client_done_fn *done, void *arg);

/* ---- file_data.c: the gate ---- */

/* One exclusive operation at a time; calls that come meanwhile wait in order. */
void gate_close(struct file_data *fd);
void gate_open(struct file_data *fd);
/* The data stage of a flush ended: writes that waited go on. */
void gate_check(struct file_data *fd);

/* ---- file_resize.c ---- */

enum resize_kind { RESIZE_TRUNCATE = 1, RESIZE_GROW, RESIZE_ZERO };

/* A change of size, or of a range to zeros: flush, zero, tell the leader. */
struct resize {
    struct list node; /* fd->resizes */
    struct file_data *fd;
    struct client_file *f; /* held from its start on */
    enum resize_kind kind;
    struct client_caller who;
    uint32_t groups[GROUPS_MAX];
    bool by_handle;
    bool commits;                 /* ZERO: tells the leader that contents changed */
    uint64_t size;                /* TRUNCATE: the new size; GROW: its lower bound */
    uint64_t zero_from, zero_end; /* reads as zeros afterwards */
    client_attr_fn *done;         /* or done_plain */
    client_done_fn *done_plain;
    void *arg;

    uint64_t abandons; /* of fd, at the start */
    bool abandoned, at_leader;
    struct list zeros; /* chunk operations under way */
    unsigned zero_count;
    uint32_t first_chunk, next_chunk, end_chunk;
    bool is_map_old, refreshed; /* a chunk is gone: it may have moved to another table */
    int status;
};
/* The gate is closed for it. Takes the memory. */
void resize_start(struct resize *take_resize);
struct resize *resize_new(struct file_data *fd, enum resize_kind kind,
                          const struct client_caller *who);
void resize_abandon(struct file_data *fd, int status);

/* ---- file_read.c, read_ahead.c ---- */

struct segment; /* a part of a read that waits for a fetch */
void read_start(struct client_file *f, uint64_t offset, size_t size, client_read_fn *done,
                void *arg);
void read_abandon(struct file_data *fd, int status);
/* The fetch it waits for has ended. */
void read_segment_ready(struct segment *segment, int status);
struct segment *segment_of_waiter(struct list *node);

/* Data being fetched or fetched: [offset, offset + size) of the file, in one chunk. */
struct fetch {
    struct list node;     /* fd->fetches */
    struct list lru_node; /* data->fetched while cached */
    struct list waiters;  /* struct segment */
    struct file_data *fd;
    uint64_t offset;
    uint32_t size;
    uint32_t served; /* bytes that reads took: all of them = nobody will come again */
    bool cached, ready;
    unsigned readers; /* segments that point to it */
    struct chunk_io io;
};
/* Cached data, there or on its way, that covers the start of [offset, end), which lies in one
 * window; or begins to fetch it, up to generous_end when that is more (then it is kept for later
 * reads). The caller has a reference: fetch_unref. */
struct fetch *read_ahead_fetch(struct file_data *fd, uint64_t offset, uint64_t end,
                               uint64_t generous_end, uint32_t generation);
void fetch_served(struct fetch *fetch, uint32_t size);
void fetch_unref(struct fetch *fetch);
/* A read of [offset, end) moves its stream on. True when it is sequential: fetch up to *ret_until.
 */
bool read_ahead_note(struct file_data *fd, uint64_t offset, uint64_t end, uint64_t *ret_until);
/* Begins fetching ahead up to `until`. */
void read_ahead_run(struct file_data *fd, uint64_t from, uint64_t until);
/* Cached data that touches the range is not right any more. */
void read_ahead_drop(struct file_data *fd, uint64_t offset, uint64_t end);
void read_ahead_abandon(struct file_data *fd);

#endif
