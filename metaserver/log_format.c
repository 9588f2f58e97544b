/* Pack and unpack of the metadata log's blocks, batches and entries. */
#include "metaserver/log_format.h"

#include <string.h>

#include "common/base/check.h"
#include "common/wire/prim.h"
#include "common/base/banned.h"

#define BATCH_MAGIC 0x31424c4e52494143ull /* "CAIRNLB1" */

enum {
    AT_MAGIC = 0,
    AT_CLUSTER = 8,
    AT_NODE = 24,
    AT_FLAGS = 28,
    AT_SEGMENT = 32,
    AT_BATCH = 40,
    AT_FIRST_INDEX = 48,
    AT_FIRST_TERM = 56,
    AT_COUNT = 64,
    AT_PAYLOAD_SIZE = 68,
    AT_PAYLOAD_CRC = 72,
    AT_VERSION = 76,
    AT_ZERO = 80,
    AT_CRC = 84,
};

/* The finaliser of splitmix64 over each number in turn. */
static uint64_t mix(uint64_t state, uint64_t value)
{
    uint64_t z = state + value + 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint32_t stamp_crc(uint32_t half)
{
    uint8_t bytes[4];
    store_u32(bytes, half);
    return checksum_crc32(0x5a, bytes, sizeof bytes);
}

uint64_t log_stamp(uint64_t segment, uint64_t batch, uint64_t block)
{
    uint32_t half = (uint32_t)mix(mix(mix(0, segment), batch), block);
    if (half == 0)
        half = 1; /* so that zero bytes are never a stamp */
    return (uint64_t)stamp_crc(half) << 32 | half;
}

enum log_stamp_state log_stamp_examine(const uint8_t *at, uint64_t expected)
{
    uint64_t found = load_u64(at);
    if (found == expected)
        return LOG_STAMP_RIGHT;
    if (found == 0 || ((uint32_t)found != 0 && stamp_crc((uint32_t)found) == found >> 32))
        return LOG_STAMP_ABSENT;
    return LOG_STAMP_ROTTEN;
}

struct log_block_state log_block_examine(const uint8_t *block, uint64_t expected)
{
    enum log_stamp_state head = log_stamp_examine(block, expected);
    enum log_stamp_state foot =
        log_stamp_examine(block + LOG_BLOCK_SIZE - LOG_STAMP_SIZE, expected);
    return (struct log_block_state){
        .right = head == LOG_STAMP_RIGHT && foot == LOG_STAMP_RIGHT,
        .any_right = head == LOG_STAMP_RIGHT || foot == LOG_STAMP_RIGHT,
        .rotten = head == LOG_STAMP_ROTTEN || foot == LOG_STAMP_ROTTEN,
        .absent = head == LOG_STAMP_ABSENT || foot == LOG_STAMP_ABSENT,
    };
}

void log_block_stamp(uint8_t *block, uint64_t stamp)
{
    store_u64(block, stamp);
    store_u64(block + LOG_BLOCK_SIZE - LOG_STAMP_SIZE, stamp);
}

void log_header_pack(const struct log_header *header, uint8_t ret_bytes[LOG_HEADER_SIZE])
{
    uint8_t *b = ret_bytes;
    store_u64(b + AT_MAGIC, BATCH_MAGIC);
    memcpy(b + AT_CLUSTER, header->cluster.bytes, UUID_SIZE);
    store_u32(b + AT_NODE, header->node);
    store_u32(b + AT_FLAGS, header->flags);
    store_u64(b + AT_SEGMENT, header->segment);
    store_u64(b + AT_BATCH, header->batch);
    store_u64(b + AT_FIRST_INDEX, header->first_index);
    store_u64(b + AT_FIRST_TERM, header->first_term);
    store_u32(b + AT_COUNT, header->count);
    store_u32(b + AT_PAYLOAD_SIZE, header->payload_size);
    store_u32(b + AT_PAYLOAD_CRC, header->payload_crc);
    store_u32(b + AT_VERSION, LOG_FORMAT_VERSION);
    store_u32(b + AT_ZERO, 0);
    store_u32(b + AT_CRC, checksum_crc32(0, b, AT_CRC));
}

static bool header_plausible(const struct log_header *h)
{
    if (h->first_index == 0 || h->first_index > UINT64_MAX - h->count)
        return false;
    if (h->flags & ~(uint32_t)LOG_BATCH_RESET)
        return false;
    if ((h->flags & LOG_BATCH_RESET) && h->count > 0)
        return false;
    return (uint64_t)h->count * LOG_ENTRY_HEADER_SIZE <= h->payload_size;
}

bool log_header_unpack(const uint8_t bytes[LOG_HEADER_SIZE], struct log_header *ret_header)
{
    const uint8_t *b = bytes;
    if (load_u64(b + AT_MAGIC) != BATCH_MAGIC ||
        load_u32(b + AT_CRC) != checksum_crc32(0, b, AT_CRC) ||
        load_u32(b + AT_VERSION) != LOG_FORMAT_VERSION || load_u32(b + AT_ZERO) != 0)
        return false;
    struct log_header h = {
        .node = load_u32(b + AT_NODE),
        .flags = load_u32(b + AT_FLAGS),
        .segment = load_u64(b + AT_SEGMENT),
        .batch = load_u64(b + AT_BATCH),
        .first_index = load_u64(b + AT_FIRST_INDEX),
        .first_term = load_u64(b + AT_FIRST_TERM),
        .count = load_u32(b + AT_COUNT),
        .payload_size = load_u32(b + AT_PAYLOAD_SIZE),
        .payload_crc = load_u32(b + AT_PAYLOAD_CRC),
    };
    memcpy(h.cluster.bytes, b + AT_CLUSTER, UUID_SIZE);
    if (!header_plausible(&h))
        return false;
    *ret_header = h;
    return true;
}

/* Where byte `position` of the joined bodies lies. */
static size_t body_offset(size_t position)
{
    return position / LOG_BODY_SIZE * LOG_BLOCK_SIZE + LOG_STAMP_SIZE + position % LOG_BODY_SIZE;
}

static size_t body_run(size_t position, size_t size)
{
    size_t left = LOG_BODY_SIZE - position % LOG_BODY_SIZE;
    return left < size ? left : size;
}

static const uint8_t *header_copy(const uint8_t *last_block)
{
    return last_block + LOG_BLOCK_SIZE - LOG_STAMP_SIZE - LOG_HEADER_SIZE;
}

void log_batch_pack(struct log_header *header, struct slice payload, uint8_t *blocks)
{
    CHECK(payload.size <= UINT32_MAX);
    header->payload_size = (uint32_t)payload.size;
    header->payload_crc = checksum_crc32(0, payload.data, payload.size);
    uint64_t block_count = log_blocks_for(payload.size);
    memset(blocks + (block_count - 1) * LOG_BLOCK_SIZE, 0, LOG_BLOCK_SIZE);
    if (block_count > 1) /* the header copy can push the padding into two blocks */
        memset(blocks + (block_count - 2) * LOG_BLOCK_SIZE, 0, LOG_BLOCK_SIZE);
    uint8_t bytes[LOG_HEADER_SIZE];
    log_header_pack(header, bytes);
    memcpy(blocks + LOG_STAMP_SIZE, bytes, LOG_HEADER_SIZE);
    for (size_t done = 0; done < payload.size;) {
        size_t run = body_run(LOG_HEADER_SIZE + done, payload.size - done);
        memcpy(blocks + body_offset(LOG_HEADER_SIZE + done), payload.data + done, run);
        done += run;
    }
    memcpy(blocks + block_count * LOG_BLOCK_SIZE - LOG_STAMP_SIZE - LOG_HEADER_SIZE, bytes,
           LOG_HEADER_SIZE);
    for (uint64_t i = 0; i < block_count; i++)
        log_block_stamp(blocks + i * LOG_BLOCK_SIZE, log_stamp(header->segment, header->batch, i));
}

/* The header at `bytes` belongs to this log and lies in block `number` of its batch. */
static bool header_at(const uint8_t *bytes, const uint8_t *block, uint64_t number,
                      const struct log_owner *owner, struct log_header *ret_header)
{
    struct log_header h;
    if (!log_header_unpack(bytes, &h) || h.segment != owner->segment || h.node != owner->node ||
        memcmp(&h.cluster, &owner->cluster, sizeof h.cluster) != 0)
        return false;
    if (!log_block_examine(block, log_stamp(h.segment, h.batch, number)).any_right)
        return false;
    *ret_header = h;
    return true;
}

bool log_batch_header_in_place(const uint8_t *blocks, uint64_t block_count,
                               const struct log_owner *owner, struct log_header *ret_header)
{
    struct log_header h;
    if (!header_at(blocks + LOG_STAMP_SIZE, blocks, 0, owner, &h) ||
        log_blocks_for(h.payload_size) > block_count)
        return false;
    *ret_header = h;
    return true;
}

bool log_batch_header(const uint8_t *blocks, uint64_t block_count, const struct log_owner *owner,
                      struct log_header *ret_header)
{
    if (log_batch_header_in_place(blocks, block_count, owner, ret_header))
        return true;
    for (uint64_t i = 0; i < block_count; i++) {
        const uint8_t *block = blocks + i * LOG_BLOCK_SIZE;
        struct log_header h;
        if (header_at(header_copy(block), block, i, owner, &h) &&
            log_blocks_for(h.payload_size) == i + 1) {
            *ret_header = h;
            return true;
        }
    }
    return false;
}

static bool entries_well_formed(const struct log_header *header, struct slice payload)
{
    size_t at = 0;
    struct log_entry entry;
    for (uint32_t i = 0; i < header->count; i++) {
        if (!log_entry_unpack(payload, &at, header->first_index + i, &entry))
            return false;
        if (i == 0 && entry.term != header->first_term)
            return false;
    }
    return at == payload.size;
}

bool log_batch_payload(const struct log_header *header, const uint8_t *blocks, uint8_t *ret_payload)
{
    for (size_t done = 0; done < header->payload_size;) {
        size_t run = body_run(LOG_HEADER_SIZE + done, header->payload_size - done);
        memcpy(ret_payload + done, blocks + body_offset(LOG_HEADER_SIZE + done), run);
        done += run;
    }
    if (checksum_crc32(0, ret_payload, header->payload_size) != header->payload_crc)
        return false;
    return entries_well_formed(header, slice_of(ret_payload, header->payload_size));
}

bool log_batch_pristine(const struct log_header *header, const uint8_t *blocks)
{
    uint64_t block_count = log_blocks_for(header->payload_size);
    uint8_t bytes[LOG_HEADER_SIZE];
    log_header_pack(header, bytes);
    if (memcmp(blocks + LOG_STAMP_SIZE, bytes, LOG_HEADER_SIZE) != 0 ||
        memcmp(header_copy(blocks + (block_count - 1) * LOG_BLOCK_SIZE), bytes, LOG_HEADER_SIZE) !=
            0)
        return false;
    for (uint64_t i = 0; i < block_count; i++)
        if (!log_block_examine(blocks + i * LOG_BLOCK_SIZE,
                               log_stamp(header->segment, header->batch, i))
                 .right)
            return false;
    return true;
}

void log_entry_pack(struct bytes *payload, const struct log_entry *entry)
{
    uint8_t head[LOG_ENTRY_HEADER_SIZE] = {0};
    store_u64(head, entry->term);
    store_u32(head + 8, (uint32_t)entry->data.size);
    head[12] = entry->kind;
    bytes_append(payload, head, sizeof head);
    bytes_append(payload, entry->data.data, entry->data.size);
}

bool log_entry_unpack(struct slice payload, size_t *at, uint64_t index, struct log_entry *ret_entry)
{
    if (payload.size - *at < LOG_ENTRY_HEADER_SIZE)
        return false;
    const uint8_t *head = payload.data + *at;
    uint32_t size = load_u32(head + 8);
    if (size > payload.size - *at - LOG_ENTRY_HEADER_SIZE)
        return false;
    *ret_entry = (struct log_entry){
        .index = index,
        .term = load_u64(head),
        .kind = head[12],
        .data = slice_of(head + LOG_ENTRY_HEADER_SIZE, size),
    };
    *at += LOG_ENTRY_HEADER_SIZE + size;
    return true;
}
