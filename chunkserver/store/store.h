/* One target: a disk folder of chunk files, with block CRCs, versions and an index.
 *
 * Layout on disk, byte by byte: docs/disk-formats.md. What survives what:
 *   - after store_sync (or a write with STORE_WRITE_SYNC) returned 0, the chunk as of that call
 *     survives kill -9 and a power cut, whatever is in flight afterwards to OTHER blocks;
 *   - a block whose overwrite was in flight may hold old bytes, new bytes, or a mixture that fails
 *     its CRC. Such a chunk is *suspect* after the restart: see store_suspects.
 *
 * Memory: everything passed in is borrowed for the length of the call; results are written into the
 * caller's memory. Out-parameters are written on success only, except `ret_fault`.
 * Threads: every function may be called from any thread at any time after store_open and before
 * store_close. Calls on one chunk are serialised by a lock inside (readers share it), calls on
 * different chunks run in parallel. All may block on the disk, hence belong on workers, except
 * those marked NON-BLOCKING. Errors common to all calls with a disk behind them: -ERR_TARGET_FAILED
 * a flush or a write failed once; the process must not use this target again (a second fsync would
 * report success for lost data). Nothing clears it. -ERR_IO             a read failed; the block or
 * chunk cannot be read here, others may be fine -ERR_LOST_CHUNK     this target holds no such
 * chunk. Never answered as zeros (hazard D8) -ERR_CORRUPT        the chunk's header or a block that
 * the call needs fails its check -ERR_INVALID        range outside the chunk, misaligned, or
 * copies/shard out of bounds Limits: STORE_COPIES_MAX copies, STORE_SHARD_MAX shards, CHUNK_SIZE
 * bytes a chunk. */
#ifndef CAIRN_CHUNKSERVER_STORE_STORE_H
#define CAIRN_CHUNKSERVER_STORE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/checksum.h"
#include "common/base/chunk.h"
#include "common/base/err.h"
#include "common/base/slice.h"

enum { STORE_COPIES_MAX = 15, STORE_SHARD_MAX = 65535 };

struct store;

/* ---- open and close ---- */

struct store_options {
    struct uuid cluster;        /* the folder must belong to it */
    const struct uuid *target;  /* the folder must have this uuid; NULL: any (a new one at init) */
    bool init;                  /* make a new target; refused when there already is one */
    uint32_t reserve_per_mille; /* kept free: writes that allocate are refused below; default 50 */
    const char *boot_id;        /* text that changes with each boot of the machine */
    uint32_t open_chunks_max;   /* bound of cached headers and open files; 0 = 1024 */
};

enum store_start {
    STORE_START_NEW,    /* --init made it */
    STORE_START_CLEAN,  /* the last process closed it */
    STORE_START_KILLED, /* the last process died, the machine did not: index repaired from the log
                         */
    STORE_START_SCANNED /* power cut, or no usable index: rebuilt from the headers of all files */
};

struct store_info {
    struct uuid cluster, target;
    uint64_t incarnation; /* unique per open: a restarted target is a different member */
    enum store_start start;
};

/* Opens `path`. The folder is locked against other processes until store_close.
 * Refuses, each with its own text in `why` (may be NULL):
 *   -ERR_CONFIG           no label and no init: a missing or unmounted disk (hazards D16, D17); or
 *                         no such folder, or the folder is not empty although init was asked for
 *   -ERR_NOT_EMPTY_STATE  init, but the folder already is a target
 *   -ERR_WRONG_CLUSTER    label of another cluster or another target
 *   -ERR_VERSION          label of an unknown format version
 *   -ERR_CORRUPT          both copies of the label are damaged
 *   -ERR_BUSY             locked by another process
 * `ret_info` may be NULL. May take long after a power cut (every header is read). */
int store_open(const char *path, const struct store_options *options, struct store **ret_store,
               struct store_info *ret_info, struct err_text *why);

/* Flushes everything, marks the target clean, unlocks. NULL is allowed. The store is gone even when
 * this fails; the error says that the target is not clean. No call may be under way. */
int store_close(struct store *s);

/* For tests: lets go as kill -9 would, without flushing or marking anything. */
void store_abandon(struct store *s);

/* NON-BLOCKING. -ERR_TARGET_FAILED once failed, otherwise 0. `why` gets the first failure. */
int store_failed(struct store *s, struct err_text *why);

/* Highest term and highest index of the metadata service's log seen (hazard D4): the daemon refuses
 * one that is behind. store_see_position makes a higher one durable before it returns; a lower one
 * is ignored. What is committed stays, so an index below one of an earlier term is of another log.
 * One fdatasync: call it when the term changes and on shard table changes, not per heartbeat. */
struct store_position {
    uint64_t term, index;
};
int store_see_position(struct store *s, struct store_position position);
struct store_position store_position(struct store *s); /* NON-BLOCKING */

/* ---- reading and writing ---- */

/* Where -ERR_CORRUPT came from. Written on -ERR_CORRUPT only; pointers to it may be NULL. */
struct store_fault {
    bool suspect; /* a write was in flight when the last process or the machine stopped: this is
                   * most likely a torn write and not rot; store_accept_block is allowed */
    bool header;  /* the chunk's header is lost: delete the chunk and copy it as a whole */
    uint32_t block;
};

enum store_write_flags {
    STORE_WRITE_CREATE = 1u << 0,      /* the chunk comes into being when it is missing */
    STORE_WRITE_SYNC = 1u << 1,        /* store_sync before returning */
    STORE_WRITE_CRCS_CHECKED = 1u << 2 /* the caller has compared crcs with the data already */
};

struct store_write {
    struct chunk_id id;
    uint32_t shard; /* both name the folder of a chunk that is created; otherwise ignored */
    uint8_t copies; /* the n of the shard's table, 1..STORE_COPIES_MAX */
    unsigned flags; /* enum store_write_flags */
    struct chunk_version version; /* stored with the data; the caller orders versions */
    uint32_t offset;              /* any byte */
    struct slice data;            /* offset + size <= CHUNK_SIZE; size 0 only creates the chunk */
    const uint32_t *crcs;         /* one for each block wholly inside [offset, offset + size); NULL
                                   * is allowed: then they are computed here (resync, tests) */
};

/* Writes data, then CRCs, version and length. Whole blocks get the given CRCs, compared with the
 * data first (-ERR_CORRUPT, with the block in `ret_fault`). Blocks covered in part are read,
 * checked and merged (hazard D6): a bad old block refuses the write with -ERR_CORRUPT.
 * -ERR_LOST_CHUNK without STORE_WRITE_CREATE for a missing chunk. -ERR_NO_SPACE below the reserve
 * or from the disk. Every refusal leaves the chunk, its version included, as it was. System calls,
 * steady state: 4 KiB over an existing block: 2 (1 for block 0). New small file: openat and
 * pwritev, plus 1 pwrite to the intent log. 1 MiB into a new chunk: data, CRC page, header. First
 * write to an existing chunk since the last checkpoint of the target (at most once a minute): one
 * group-committed fdatasync of the intent log more. */
int store_write(struct store *s, const struct store_write *w, struct store_fault *ret_fault);

enum store_read_flags {
    STORE_READ_VERIFY = 1u << 0, /* check each block here: resync, scrub, repair */
    STORE_READ_NOWAIT = 1u << 1  /* NON-BLOCKING: -ERR_BUSY unless header and data are in memory and
                                  * no write to the chunk is under way */
};

struct store_read {
    struct chunk_version version;
    uint32_t length; /* of the chunk: end of the highest byte written */
    uint32_t size;   /* bytes filled in: a multiple of BLOCK_SIZE, 0 at or behind the end */
};

/* Reads whole blocks: offset and size are multiples of BLOCK_SIZE, `into` holds size bytes and
 * `ret_crcs` size / BLOCK_SIZE entries. Stops behind the block that holds the chunk's last byte;
 * bytes of that block behind the length are zeros. A block never written is zeros with CRC 0; the
 * stored CRC of any other block is returned unchecked (the reader checks), unless VERIFY asks. The
 * version, CRCs and bytes belong together: no write comes between. */
int store_read(struct store *s, const struct chunk_id *id, uint32_t offset, uint32_t size,
               unsigned flags, void *into, uint32_t *ret_crcs, struct store_read *ret_read,
               struct store_fault *ret_fault);

/* Drops all bytes behind `length`, or raises the length (the gap reads as zeros). */
int store_truncate(struct store *s, const struct chunk_id *id, struct chunk_version version,
                   uint32_t length, struct store_fault *ret_fault);

/* Makes [offset, offset + size) zeros: whole blocks become holes and give their space back, blocks
 * covered in part are checked and merged. Does not change the length. */
int store_zero(struct store *s, const struct chunk_id *id, struct chunk_version version,
               uint32_t offset, uint32_t size, struct store_fault *ret_fault);

/* Gives the chunk another version and leaves its content alone (end of a resync). */
int store_set_version(struct store *s, const struct chunk_id *id, struct chunk_version version);

/* Removes the chunk, also on a full disk and with a lost header. `quarantine`: keeps the file under
 * trash/ for store_trash_purge. Not durable by itself: after a power cut the chunk may be back, as
 * a suspect or with its old version; the inventory check finds it. */
int store_delete(struct store *s, const struct chunk_id *id, bool quarantine);

/* Moves up to `count_max` chunks of a shard that has left this target into trash/, until `stop`
 * becomes true: then no more is touched than the one under way. What cannot be removed is passed
 * by, and the first such error returned; `ret_count` is written in any case. Not durable by itself,
 * and not flushed for: after a power cut chunks may be back, to be removed again. */
int store_remove_some(struct store *s, uint8_t copies, uint32_t shard, uint32_t count_max,
                      const atomic_bool *stop, uint32_t *ret_count);

/* Removes files that entered trash/ before `before_s` (CLOCK_REALTIME seconds), at most
 * STORE_PURGE_MAX a call; `ret_count` says how many. */
enum { STORE_PURGE_MAX = 1000 };
int store_trash_purge(struct store *s, uint64_t before_s, uint32_t *ret_count);

/* ---- durability ---- */

/* Makes all earlier writes to the chunk durable, its name in the folder included (hazard D29). Free
 * when nothing was written since the last flush. */
int store_sync(struct store *s, const struct chunk_id *id);

/* One round of housekeeping, to be called from a worker about once a second, never by two threads
 * at a time for one store: flushes chunks written more than 5 s ago, brings the index up to date,
 * retires the intent log (once a minute, or when it is half full). `now_ms` is monotonic. */
int store_sync_some(struct store *s, uint64_t now_ms);

/* ---- what is there ---- */

enum store_entry_flags {
    STORE_ENTRY_SUSPECT = 1u << 0, /* its version proves nothing: after a power cut the header may
                                    * be newer than the data. Resync compares block CRCs and
                                    * verifies the data, even when versions are equal */
    STORE_ENTRY_DAMAGED = 1u << 1  /* header lost; version and length are 0 */
};

struct store_entry {
    struct chunk_id id;
    struct chunk_version version;
    uint32_t length;
    uint32_t shard;
    uint8_t copies;
    uint8_t flags; /* enum store_entry_flags */
};

/* -ERR_LOST_CHUNK when absent. A damaged chunk is found, with its flag. */
int store_stat(struct store *s, const struct chunk_id *id, struct store_entry *ret_entry);

/* Where a listing goes on. Zeroed = from the start. Chunks that come or go during a listing may or
 * may not be seen; all others are seen once. */
struct store_cursor {
    struct chunk_id last;
    uint32_t shard;
    uint8_t copies;
    bool started;
};

/* Up to `capacity` chunks of one shard, in the order of their ids; a count of 0 means the end. */
int store_list(struct store *s, uint8_t copies, uint32_t shard, struct store_cursor *cursor,
               struct store_entry *ret_entries, uint32_t capacity, uint32_t *ret_count);

/* The same for all shards. */
int store_list_all(struct store *s, struct store_cursor *cursor, struct store_entry *ret_entries,
                   uint32_t capacity, uint32_t *ret_count);

/* NON-BLOCKING. How many chunks of a shard are here and the sum of their lengths, changes under way
 * included; kept in memory, so it costs no look at the disk. */
struct store_size {
    uint64_t chunks, bytes;
};
struct store_size store_shard_size(struct store *s, uint8_t copies, uint32_t shard);

/* NON-BLOCKING. Goes on to the next shard of which something is here, in the order of copies and
 * number; false at the end. Begin with a zeroed one. */
struct store_shard {
    uint8_t copies; /* 0 = before the first */
    uint32_t shard;
    struct store_size size;
};
bool store_next_shard(struct store *s, struct store_shard *at);

/* All stored block CRCs up to the length: ret_crcs holds CHUNK_BLOCK_COUNT entries. A block whose
 * CRC is itself lost has 0xffffffff, which no peer's CRC matches but by a chance of 2^-32. */
int store_crcs(struct store *s, const struct chunk_id *id, uint32_t *ret_crcs, uint32_t *ret_count,
               struct chunk_version *ret_version);

/* ---- repair ---- */

/* Chunks that were being written when the last process or the machine stopped and have not been
 * cleared since; survives restarts. Same cursor rule as store_list. The daemon verifies each (
 * store_read with VERIFY, block CRCs against a peer), repairs, accepts what no peer has, then calls
 * store_clear_suspect. */
int store_suspects(struct store *s, struct store_cursor *cursor, struct store_entry *ret_entries,
                   uint32_t capacity, uint32_t *ret_count);
int store_clear_suspect(struct store *s, const struct chunk_id *id);

/* Puts good blocks fetched from a peer in place; data and crcs hold `count` blocks. A CRC of 0
 * makes the block a hole (its data is ignored); others are compared with the data first:
 * -ERR_CORRUPT. Version and length stay; blocks behind the length are refused with -ERR_INVALID. */
int store_repair_blocks(struct store *s, const struct chunk_id *id, uint32_t first_block,
                        uint32_t count, const void *data, const uint32_t *crcs);

/* Takes the bytes of a suspect chunk's block as they are and gives them a new CRC, for the case
 * that no peer has a good copy. Counted. -ERR_REFUSED when the chunk is not suspect: rot is never
 * declared good. */
int store_accept_block(struct store *s, const struct chunk_id *id, uint32_t block);

/* ---- figures and checks ---- */

struct store_space {
    uint64_t bytes_total, bytes_free; /* of the file system; free does not count the reserve */
    uint64_t bytes_reserve;
    uint64_t chunk_count;
};
int store_space(struct store *s, struct store_space *ret_space);

#define STORE_COUNTERS(C)                                            \
    C(writes, "writes accepted")                                     \
    C(reads, "reads answered")                                       \
    C(crc_errors, "blocks that failed their check here")             \
    C(blocks_accepted, "suspect blocks taken as they were")          \
    C(blocks_repaired, "blocks replaced from a peer")                \
    C(flushes, "files flushed")                                      \
    C(intent_syncs, "flushes of the intent log")                     \
    C(checkpoints, "times the intent log was retired")               \
    C(index_commits, "batches written to the index")                 \
    C(no_space, "writes refused for lack of space")                  \
    C(cache_hits, "operations that found the chunk's header cached") \
    C(cache_misses, "operations that had to open the chunk")

struct store_counters {
#define C(name, help) uint64_t name;
    STORE_COUNTERS(C)
#undef C
};
struct store_counters store_counters(struct store *s); /* NON-BLOCKING */

struct store_report {
    uint64_t chunk_count, block_count, bytes_used;
    uint64_t fault_count; /* all broken rules and bad blocks together */
    uint64_t bad_block_count;
};

/* Told each fault in words; `id` is NULL where no chunk is meant. */
typedef void store_check_fault(void *context, const struct chunk_id *id, const char *text);

/* Walks all invariants: every file has an index entry and the reverse, headers agree with names and
 * index, CRC tables are whole, nothing lies behind the length; with `blocks` every block is read
 * and checked. Run it while nobody writes: it compares without a lock over the whole. Changes
 * nothing. */
int store_check(struct store *s, bool blocks, store_check_fault *on_fault, void *context,
                struct store_report *ret_report);

#endif
