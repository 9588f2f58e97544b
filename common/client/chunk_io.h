/* One operation on one chunk: a write or change at the head of its chain, or a read from any
 * in-sync member, tried again until it has an answer or its deadline is over.
 *
 * A repeated write carries the same (session, op), so it takes effect once. Which server is asked
 * again after which error is the retry class of the error table:
 *   REFRESH, LATER  wait for a newer shard table, or a pause of 50 ms growing to 500 ms
 *   ELSEWHERE       reads: another in-sync member at once; writes: as REFRESH, the chain gets a new
 *                   head
 *   NEVER           final
 * On the client's loop thread. */
#ifndef CAIRN_CLIENT_CHUNK_IO_H
#define CAIRN_CLIENT_CHUNK_IO_H

#include "common/base/bytes.h"
#include "common/base/chunk.h"
#include "common/client/client_private.h"

enum {
    CHUNK_IO_BYTES_MAX = 1 << 20, /* of one write or read */
    CHUNK_IO_READ_TRY_MS = 5000,  /* then another replica is asked */
    CHUNK_IO_WRITE_TRY_MS = 10000 /* a chain holds a write until a dead member's lease is over */
};

enum chunk_io_kind { CHUNK_IO_WRITE = 1, CHUNK_IO_READ, CHUNK_IO_CHANGE };
enum chunk_io_state { CHUNK_IO_IDLE, CHUNK_IO_CALLING, CHUNK_IO_WAITING, CHUNK_IO_ENDED };

struct chunk_io;
struct table_wait;
/* Never from inside chunk_io_start. May free the memory of the operation. */
typedef void chunk_io_fn(struct chunk_io *io, int status);

/* Embedded in the caller's struct, zeroed; the fields of the first group are the caller's. */
struct chunk_io {
    struct client *c;
    enum chunk_io_kind kind;
    enum chunk_change_kind change; /* of CHANGE */
    struct chunk_id id;
    uint8_t copies;
    uint32_t offset, length; /* READ: whole blocks */
    uint32_t flags;          /* WRITE: enum chunk_write_flags */
    struct net_slice slices[NET_SLICES_MAX];
    unsigned slice_count; /* WRITE: the bytes; references are the caller's until the end */
    chunk_io_fn *done;

    /* READ, at the end: verified bytes [0, data_size) of `data`, the caller's reference now; less
     * than asked = the rest reads as zeros. NULL when there are none. */
    struct buf *data;
    uint32_t data_size;

    enum chunk_io_state state;
    struct bytes crcs; /* WRITE */
    uint64_t session, op;
    uint64_t deadline_ms, pause_ms;
    uint64_t rpc_id;
    uint64_t table_version; /* that the present try is made with */
    uint32_t target;        /* asked now */
    struct table_wait *wait;
    int last_status;
    unsigned tries;
    unsigned bad_count, lost_count; /* members that sent a bad block; that do not have the chunk */
    uint32_t bad[COPIES_MAX], lost[COPIES_MAX];
};

/* Fills in the rest and begins. */
void chunk_io_start(struct chunk_io *io);
/* `done` will not come; the request may have been carried out. Harmless when ended or not begun. */
void chunk_io_cancel(struct chunk_io *io);

/* ---- chunk_crc.c: checksums of requests and answers ---- */

/* One little-endian u32 for each block that `slices`, lying at `offset` of the chunk, touch. */
void chunk_crc_of_slices(const struct chunk_id *id, uint32_t offset, const struct net_slice *slices,
                         unsigned slice_count, struct bytes *ret_crcs);
/* Checks an answer of `size` bytes from block `first_block` on; blocks with crc 0 become zeros. 0,
 * -ERR_PROTOCOL (too few crcs), or -ERR_CORRUPT with the first bad block. */
int chunk_crc_check(const struct chunk_id *id, uint32_t first_block, uint8_t *data, uint32_t size,
                    struct slice crcs, uint32_t *ret_block);

/* ---- chunk_peer.c: connections to chunkservers, and which replica to read from ---- */

struct chunk_peer {
    struct client *c;
    uint32_t target;
    char *address;
    struct rpc_peer *rpc;
    uint64_t flying_bytes;   /* of requests under way: its load */
    uint64_t avoid_until_ms; /* it failed a moment ago */
};

struct chunk_peers {
    struct map map; /* target id -> struct chunk_peer */
};

void chunk_peers_init(struct chunk_peers *peers, struct client *c);
void chunk_peers_release(struct chunk_peers *peers);
/* NULL when the table does not know the target. */
struct chunk_peer *chunk_peer_get(struct client *c, uint32_t target);
/* NULL when there is no connection object for it. */
struct chunk_peer *chunk_peer_find(struct client *c, uint32_t target);
/* A member to read from that is none of the excluded ones; 0 = none is left. The choice is stable
 * per MiB of a file, for the servers' page caches, unless the load differs by several requests. */
uint32_t chunk_peer_choose(struct client *c, const uint32_t *members, unsigned count,
                           const struct chunk_io *io);
#endif
