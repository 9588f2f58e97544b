/* Bytes of the metadata log: stamps, batch headers, entries. Pure; any thread.
 *
 * A batch lies in whole 4 KiB blocks. Each block is {stamp, body of 4,080 bytes, stamp}. The bodies
 * of a batch, one after the other, hold: header, payload, zero padding, a copy of the header at the
 * very end (so one bad sector never hides where a batch ends). See docs/disk-formats.md. */
#ifndef CAIRN_METASERVER_LOG_FORMAT_H
#define CAIRN_METASERVER_LOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/checksum.h"
#include "metaserver/log_store.h"

enum {
    LOG_STAMP_SIZE = 8,
    LOG_BODY_SIZE = LOG_BLOCK_SIZE - 2 * LOG_STAMP_SIZE,
    LOG_HEADER_SIZE = 88,
    LOG_ENTRY_HEADER_SIZE = 16,
    LOG_FORMAT_VERSION = 1,
};

/* What is found where a stamp should be. */
enum log_stamp_state {
    LOG_STAMP_RIGHT = 1,
    LOG_STAMP_ABSENT, /* zero, or a whole stamp of another write: this write did not reach here */
    LOG_STAMP_ROTTEN, /* neither: the bytes were changed after they were written */
};

/* A mix of the three numbers and a CRC of that mix: a stale stamp can be told from a damaged one.
 */
uint64_t log_stamp(uint64_t segment, uint64_t batch, uint64_t block);
enum log_stamp_state log_stamp_examine(const uint8_t *at, uint64_t expected);

/* Of both ends of a block. */
struct log_block_state {
    bool right;     /* both stamps */
    bool any_right; /* at least one */
    bool absent;    /* at least one */
    bool rotten;    /* at least one */
};
struct log_block_state log_block_examine(const uint8_t *block, uint64_t expected);
void log_block_stamp(uint8_t *block, uint64_t stamp);

enum { LOG_BATCH_RESET = 1u << 0 };

struct log_header {
    struct uuid cluster;
    uint32_t node;
    uint32_t flags;
    uint64_t segment, batch;
    uint64_t first_index;
    uint64_t first_term; /* of the first entry; of the entry before it in a reset; else 0 */
    uint32_t count;
    uint32_t payload_size;
    uint32_t payload_crc;
};

void log_header_pack(const struct log_header *header, uint8_t ret_bytes[LOG_HEADER_SIZE]);
/* False: magic, CRC, or a field out of bounds. */
bool log_header_unpack(const uint8_t bytes[LOG_HEADER_SIZE], struct log_header *ret_header);

static inline uint64_t log_blocks_for(uint64_t payload_size)
{
    return (payload_size + 2 * LOG_HEADER_SIZE + LOG_BODY_SIZE - 1) / LOG_BODY_SIZE;
}

/* The largest payload that fits into so many blocks; block_count > 0. */
static inline uint64_t log_payload_size_max(uint64_t block_count)
{
    return block_count * LOG_BODY_SIZE - 2 * LOG_HEADER_SIZE;
}

/* Fills log_blocks_for(payload.size) blocks at `blocks`; sets header->payload_size and _crc. */
void log_batch_pack(struct log_header *header, struct slice payload, uint8_t *blocks);

/* Finds the header of a batch that starts at `blocks`: at its place or, when that is damaged, from
 * the copy at the end. It must be of this cluster, node and segment, fit into block_count, and its
 * block must carry a stamp of the batch: bodies hold bytes that clients choose, stamps never do. */
struct log_owner {
    struct uuid cluster;
    uint32_t node;
    uint64_t segment;
};
bool log_batch_header(const uint8_t *blocks, uint64_t block_count, const struct log_owner *owner,
                      struct log_header *ret_header);
/* The same without looking for the copy. */
bool log_batch_header_in_place(const uint8_t *blocks, uint64_t block_count,
                               const struct log_owner *owner, struct log_header *ret_header);

/* Gathers the payload of header->payload_size bytes into ret_payload; false when its CRC or the
 * form of its entries is wrong. */
bool log_batch_payload(const struct log_header *header, const uint8_t *blocks,
                       uint8_t *ret_payload);

/* True when every stamp and both headers are in order, too. */
bool log_batch_pristine(const struct log_header *header, const uint8_t *blocks);

void log_entry_pack(struct bytes *payload, const struct log_entry *entry);
/* Takes the entry at *at, which moves behind it; `index` is the caller's knowledge. */
bool log_entry_unpack(struct slice payload, size_t *at, uint64_t index,
                      struct log_entry *ret_entry);

#endif
