/* Checkpoint files of one metaserver: written, verified, listed, sent, received, loaded.
 *
 * A checkpoint is an opaque stream of bytes (the state machine's) as of log entry (index, term).
 * On disk it is compressed in blocks with a checksum each (docs/disk-formats.md); between nodes the
 * file itself travels, so the receiver checks what the sender's disk holds. A file gets its final
 * name only after it was synced, read back and verified.
 *
 * The two newest are kept: when one turns out damaged, load the older (and trim the log only behind
 * the older). Nothing here trusts a byte: any damage is -ERR_CORRUPT with the reason in `why`.
 *
 * The folder is inside the log store's folder, whose lock also covers it: open the log store first.
 *
 * THREADS. All calls block on the disk; meant for worker threads. The store itself is locked
 * inside, so calls may overlap; one writer, reader or receiver object belongs to one thread at a
 * time. */
#ifndef CAIRN_METASERVER_CHECKPOINT_STORE_H
#define CAIRN_METASERVER_CHECKPOINT_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/checksum.h"
#include "common/base/err.h"
#include "common/base/slice.h"

enum {
    CHECKPOINT_KEEP_COUNT = 2,
    /* What list can return: the kept ones and one that a reader still holds or that a crash left
     * before the oldest was removed; older ones are removed at open. */
    CHECKPOINT_LIST_MAX = 8,
    CHECKPOINT_BLOCK_SIZE = 256 << 10,
};

struct checkpoint_id {
    uint64_t index, term;
};

struct checkpoint_info {
    struct checkpoint_id id;
    uint64_t size_bytes; /* of the file */
    int64_t written_s;   /* when: seconds since 1970 */
};

struct checkpoint_store;

/* Makes the folder if it is absent and removes temporary files that a crash left.
 * -ERR_ACCESS, -ERR_IO, ... */
int checkpoint_store_open(const char *folder, const struct uuid *cluster, uint32_t node,
                          struct checkpoint_store **ret_store, struct err_text *why);
/* All readers and receivers must be gone. NULL is allowed. */
void checkpoint_store_close(struct checkpoint_store *store);

/* Newest first (highest index); returns how many of at most CHECKPOINT_LIST_MAX, or -ERR_IO, ...
 * when the folder cannot be read: that is not "none". By file name only: a listed file may still
 * turn out damaged. */
int checkpoint_store_list(struct checkpoint_store *store,
                          struct checkpoint_info ret_infos[CHECKPOINT_LIST_MAX]);

/* --- write --- */

struct checkpoint_writer;

/* Adds to the stream; any size. Its error must become the producer's result. */
int checkpoint_put(struct checkpoint_writer *writer, const void *data, size_t size);

/* Puts the whole state; 0 or a negated err, which ends the write and becomes its result. */
typedef int checkpoint_produce(void *arg, struct checkpoint_writer *writer);

/* Writes, syncs, reads back from the disk and verifies, and only then gives the file its name and
 * syncs the folder; then removes what is older than the two newest. -ERR_BUSY: one is being
 * written. On any error no file with the final name remains. -ERR_EXISTS: there is one of this id
 * already. -ERR_NO_SPACE, -ERR_IO, -ERR_CORRUPT (read back differs), or the producer's. */
int checkpoint_store_write(struct checkpoint_store *store, struct checkpoint_id id,
                           checkpoint_produce *produce, void *arg, struct err_text *why);

/* --- load --- */

/* Receives the stream in pieces of at most CHECKPOINT_BLOCK_SIZE bytes, each verified. Non-zero
 * ends the load and becomes its result. */
typedef int checkpoint_consume(void *arg, struct slice piece);

/* Gives the whole stream to `consume`. On -ERR_CORRUPT some pieces may have been consumed already:
 * the consumer must drop them and may be given the next older checkpoint. The pieces given up to
 * then were true; the end is true only when this returns 0. -ERR_NO_ENTRY, -ERR_WRONG_CLUSTER,
 * -ERR_VERSION, -ERR_CORRUPT, -ERR_IO. */
int checkpoint_store_load(struct checkpoint_store *store, struct checkpoint_id id,
                          checkpoint_consume *consume, void *arg, struct err_text *why);

/* Reads the whole file and checks everything that load checks. */
int checkpoint_store_verify(struct checkpoint_store *store, struct checkpoint_id id,
                            struct err_text *why);

/* Removes a checkpoint found damaged, so that it is not offered again. -ERR_NO_ENTRY, -ERR_IO. */
int checkpoint_store_remove(struct checkpoint_store *store, struct checkpoint_id id);

/* One file by itself, without its folder, cluster or lock; for inspection. Reads and checks all of
 * it; `consume` may be NULL. The facts are filled as far as it was good, also on an error. */
struct checkpoint_facts {
    struct uuid cluster;
    uint32_t node, version; /* version 0: not even the header is good */
    struct checkpoint_id id;
    uint64_t block_count, raw_bytes, file_bytes; /* good ones; file_bytes: up to there */
};
int checkpoint_file_scan(int fd, struct checkpoint_facts *ret_facts, checkpoint_consume *consume,
                         void *arg, struct err_text *why);

/* --- send: the raw file in pieces --- */

struct checkpoint_reader;

/* The file stays readable until the reader is closed, even when newer ones push it out.
 * -ERR_NO_ENTRY. */
int checkpoint_reader_open(struct checkpoint_store *store, struct checkpoint_id id,
                           struct checkpoint_reader **ret_reader);
uint64_t checkpoint_reader_size(const struct checkpoint_reader *reader);
/* Up to `size` bytes from `offset`; *ret_size is less only at the end of the file. -ERR_IO. */
int checkpoint_reader_read(struct checkpoint_reader *reader, uint64_t offset, void *ret_data,
                           size_t size, size_t *ret_size);
void checkpoint_reader_close(struct checkpoint_reader *reader); /* NULL is allowed */

/* --- receive: the raw file in pieces --- */

struct checkpoint_receiver;

/* One at a time (R9): -ERR_BUSY while another one is open. -ERR_EXISTS: there is one of this id. */
int checkpoint_receiver_open(struct checkpoint_store *store, struct checkpoint_id id,
                             uint64_t size_bytes, struct checkpoint_receiver **ret_receiver);
/* `offset` must be where the last piece ended, otherwise -ERR_INVALID (ask again from
 * checkpoint_receiver_offset). -ERR_LIMIT: more than size_bytes. -ERR_NO_SPACE, -ERR_IO. */
int checkpoint_receiver_append(struct checkpoint_receiver *receiver, uint64_t offset,
                               struct slice piece);
uint64_t checkpoint_receiver_offset(const struct checkpoint_receiver *receiver);
/* Syncs, verifies the whole file (also that it is of this cluster and id), gives it its name. The
 * receiver is gone afterwards, whatever the result. On an error nothing remains on disk. */
int checkpoint_receiver_finish(struct checkpoint_receiver *take_receiver, struct err_text *why);
void checkpoint_receiver_abort(struct checkpoint_receiver *take_receiver); /* NULL is allowed */

#endif
