/* The durable Raft log of one metaserver: entries, term and vote, identity of the folder.
 *
 * A folder belongs to one node of one cluster and to one process at a time (flock on the folder).
 * Layout and bytes: docs/disk-formats.md. In short: the log is a row of segments of fixed size,
 * preallocated and written once before use, so that an append changes no file size and needs one
 * pwrite and one fdatasync per batch, however many entries the batch holds.
 *
 * WHAT IS DURABLE. log_store_append only gathers (it copies, the caller's entries may go at once);
 * log_store_sync writes all that was gathered as ONE batch and returns after its fdatasync. What
 * was not synced is either wholly there or wholly gone after a crash, never in part. A truncation
 * is part of the batch: old entries and their replacements change places in one step.
 *
 * DAMAGE (R17). Every 4 KiB block starts and ends with a stamp that names its place and batch, so
 * recovery can tell a write that never completed (never acknowledged: cut off) from acknowledged
 * data that went bad (never cut off: reported as faulty). See enum log_verdict.
 *
 * FAILURE (R19). The first failed write, fsync or rename of log or vote is kept: from then on every
 * call that writes returns -ERR_IO without touching the disk. The daemon must end its process. A
 * restart drops the page cache of the files before it reads them. -ERR_NO_SPACE is different: it is
 * returned before anything was written, is not kept, and the call may be repeated.
 *
 * DISK FULL (R21). The current segment and one spare exist ahead, so an append fails for lack of
 * space only after log_store_space_low() was true for a whole segment. Recovery needs no space.
 *
 * THREADS. Writer thread (one): append, sync, reset. Any thread: everything else except close.
 * All calls may block on the disk unless they say otherwise. */
#ifndef CAIRN_METASERVER_LOG_STORE_H
#define CAIRN_METASERVER_LOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/checksum.h"
#include "common/base/err.h"
#include "common/base/slice.h"

enum {
    LOG_BLOCK_SIZE = 4096,
    /* One entry: a command with a blob of 16 MiB and its envelope. */
    LOG_ENTRY_SIZE_MAX = (16 << 20) + (64 << 10),
    /* What append gathers before it writes by itself. */
    LOG_BATCH_SIZE_MAX = 8 << 20,
    LOG_BATCH_COUNT_MAX = 65536,
    /* 32 MiB: writing a fresh segment takes about 0.1 s, and a larger one would be trimmed later.
     */
    LOG_SEGMENT_SIZE_DEFAULT = 32 << 20,
    LOG_SEGMENT_SIZE_MIN = 16 << 10,
    LOG_BALLAST_SIZE_DEFAULT = 64 << 20,
};

/* `kind` is the caller's (enum raft_entry_kind) and comes back as it was given. */
struct log_entry {
    uint64_t index, term;
    uint8_t kind;
    struct slice data; /* at most log_store_entry_size_max() bytes */
};

/* Takes the entries that recovery finds, while they are in memory: `add` for one more, its data
 * valid for the call; `cut`: a later batch removed those from first_removed on. What is left in the
 * end is exactly what the log holds, unless the verdict is LOG_FAULTY: then it is worth nothing. */
struct log_sink {
    void (*add)(void *arg, const struct log_entry *entry); /* NULL = nobody wants them */
    void (*cut)(void *arg, uint64_t first_removed);
    void *arg;
};

struct log_store_options {
    /* Read only when the folder is made; an existing folder keeps its own. Rounded up to 4 KiB. */
    uint64_t segment_size_bytes;
    uint64_t ballast_size_bytes; /* 0 = none */
    /* An empty or absent folder becomes a new, empty log. Without it such a folder is refused with
     * -ERR_NO_ENTRY: a disk that failed to mount must not look like a new node (D17). */
    bool create;
    struct log_sink sink; /* called before log_store_open returns, also when it fails */
};

void log_store_options_defaults(struct log_store_options *ret_options); /* create = false */

enum log_verdict {
    LOG_CLEAN = 1, /* every batch is good */
    /* The last write never completed, so it was never acknowledged; it is cut off at cut_index. The
     * log is complete. */
    LOG_TORN_TAIL,
    /* Entries faulty_from..faulty_to were once acknowledged and cannot be read. The node must not
     * vote, nor count in a commit quorum, before it holds them again. Entries outside the range
     * can still be read. See log_store_append and log_store_reset for the ways back. */
    LOG_FAULTY,
};

struct log_recovery {
    enum log_verdict verdict;
    /* The log holds first_index..last_index; last_index == first_index - 1 when it is empty. */
    uint64_t first_index, last_index;
    /* Term of the entry before first_index where the log knows it (after a reset), otherwise 0. */
    uint64_t base_term;
    uint64_t cut_index; /* LOG_TORN_TAIL: where the lost write would have begun, else 0 */
    /* LOG_FAULTY, both ends included; faulty_to may lie beyond last_index, and is UINT64_MAX when
     * nobody can tell how far the damage goes. faulty_from is the lowest index in doubt. */
    uint64_t faulty_from, faulty_to;
    /* Damage in redundant parts (stamps, one of two headers) that cost nothing. Worth a warning. */
    uint64_t repaired_count;
    struct err_text reason; /* torn or faulty: which file, which block, what is wrong with it */
};

/* At most one vote per term. */
struct log_vote {
    uint64_t term;
    uint32_t voted_for; /* 0 = nobody */
};

struct log_store;

/* Opens or makes the log in `folder` and recovers it. ret_recovery may be NULL.
 *
 * A faulty log is NOT an error of open: look at ret_recovery->verdict.
 *   -ERR_NO_ENTRY       nothing there and options->create is false
 *   -ERR_WRONG_CLUSTER  the folder belongs to another cluster or node
 *   -ERR_BUSY           another process has it open
 *   -ERR_VERSION        made by a newer format
 *   -ERR_NOT_EMPTY_STATE  log files without an identity
 *   -ERR_FAULTY_LOG     term and vote, or the identity, cannot be trusted: the node must not take
 *                       part; `why` says which file (R18)
 *   -ERR_NO_SPACE, -ERR_IO, -ERR_ACCESS, ... from the system
 * `why` (may be NULL) receives a text for a person. */
int log_store_open(const char *folder, const struct uuid *cluster, uint32_t node,
                   const struct log_store_options *options, struct log_store **ret_store,
                   struct log_recovery *ret_recovery, struct err_text *why);

/* Frees everything; entries that were not synced are lost. No other call may be under way. NULL is
 * allowed. */
void log_store_close(struct log_store *store);

/* The largest data of one entry in this folder: LOG_ENTRY_SIZE_MAX, or less with small segments. */
size_t log_store_entry_size_max(const struct log_store *store);

/* --- entries: writer thread --- */

/* Cuts the log so that it ends before truncate_from, then appends `entries`, whose indexes must be
 * consecutive and start at truncate_from. truncate_from = last_index + 1 cuts nothing; count may be
 * 0 to cut only. Gathers in memory; writes by itself when LOG_BATCH_SIZE_MAX is exceeded.
 *   -ERR_INVALID      a gap, index 0, or truncate_from not above the log's base
 *   -ERR_FILE_TOO_BIG an entry above log_store_entry_size_max(); nothing was taken
 *   -ERR_NO_SPACE     no room to write by itself: what log_store_range tells was taken, no more
 *   -ERR_FAULTY_LOG   the log is faulty and truncate_from > faulty_from: entries from a peer must
 *                     replace the whole faulty range and everything behind it
 *   -ERR_IO           for ever */
int log_store_append(struct log_store *store, uint64_t truncate_from,
                     const struct log_entry *entries, size_t count);

/* Makes all that was appended durable: one pwrite, one fdatasync. Nothing gathered: returns 0
 * without touching the disk. -ERR_IO for ever. */
int log_store_sync(struct log_store *store);

/* Empties the log durably; it goes on at index + 1 (after a checkpoint (index, term) was
 * installed). Drops what was appended and not synced. Ends the faulty state. -ERR_NO_SPACE,
 * -ERR_IO. */
int log_store_reset(struct log_store *store, uint64_t index, uint64_t term);

/* --- entries: any thread --- */

struct log_range {
    uint64_t first_index, last_index; /* with what was appended and not synced */
    uint64_t durable_index;           /* last one that survives a power cut */
};
void log_store_range(const struct log_store *store,
                     struct log_range *ret_range); /* not on the disk */

/* `entry` is valid for the call. Non-zero stops the walk and becomes the result of log_store_read.
 */
typedef int log_visit(void *arg, const struct log_entry *entry);

/* Gives the synced entries first..last in order, stopping after the one that reaches bytes_max
 * bytes of data (0 = no limit). Checksums are checked each time.
 *   -ERR_NO_DATA     `first` is not in the log (trimmed, or not synced yet)
 *   -ERR_FAULTY_LOG  the next entry is faulty or went bad since; those before it were given */
int log_store_read(struct log_store *store, uint64_t first, uint64_t last, size_t bytes_max,
                   log_visit *visit, void *arg);

/* Allows entries up to `index` to go (a checkpoint at or behind it is durable). Works in whole
 * segments, which become spares: first_index moves to at most index + 1. Does nothing while the log
 * is faulty, and stops at a segment that is being read. -ERR_IO. */
int log_store_trim(struct log_store *store, uint64_t index);

/* --- term and vote --- */

/* Durable when it returns 0; only then may a vote or a message of this term leave (R2). A term
 * below the stored one, or a second vote in it, is -ERR_INVALID. -ERR_IO for ever. */
int log_store_set_vote(struct log_store *store, uint64_t term, uint32_t voted_for);
void log_store_vote(const struct log_store *store, struct log_vote *ret_vote); /* not on the disk */

/* --- space --- */

/* Makes the spare segment if it is missing (tens of ms of writing: for a worker thread, after any
 * sync; cheap when there is nothing to do). Without it a change of segment makes its own and the
 * sync that needs it takes longer. -ERR_NO_SPACE and -ERR_BUSY (no descriptors) are harmless to the
 * log. -ERR_IO is kept (R19): a failed sync of the folder is told once, and may be about the name
 * of a segment in use. */
int log_store_prepare_spare(struct log_store *store);

/* True while no spare segment exists and the last attempt to make one failed for lack of space:
 * refuse new proposals, go on accepting what is needed to commit. Not on the disk. */
bool log_store_space_low(const struct log_store *store);
/* The error by which the disk failed for good, 0 = none (R19). Any thread, and so the next one. */
int log_store_failure(const struct log_store *store);
const char *log_store_folder(const struct log_store *store); /* borrowed */

/* Gives the ballast file's space back to the file system / takes it again. Restore: -ERR_NO_SPACE,
 * -ERR_IO as above; one thread at a time, and it takes tens of ms of writing. */
int log_store_ballast_release(struct log_store *store);
int log_store_ballast_restore(struct log_store *store);

struct log_status {
    struct log_range range;
    unsigned segment_count, spare_count;
    uint64_t segment_size_bytes;
    uint64_t sync_count, batch_bytes; /* since open */
    bool ballast_present, space_low, failed;
};
void log_store_status(const struct log_store *store, struct log_status *ret_status);

#endif
