/* Pack and unpack of checkpoint files. */
#include "metaserver/checkpoint_format.h"

#include <string.h>

#include "common/base/err.h"
#include "common/wire/prim.h"
#include "common/base/banned.h"

#define HEADER_MAGIC  0x3150434e52494143ull /* "CAIRNCP1" */
#define TRAILER_MAGIC 0x4550434e52494143ull /* "CAIRNCPE" */

void checkpoint_header_pack(const struct checkpoint_header *header,
                            uint8_t ret_bytes[CHECKPOINT_HEADER_SIZE])
{
    uint8_t *b = ret_bytes;
    memset(b, 0, CHECKPOINT_HEADER_SIZE);
    store_u64(b, HEADER_MAGIC);
    store_u32(b + 8, header->version);
    store_u32(b + 12, header->node);
    memcpy(b + 16, header->cluster.bytes, UUID_SIZE);
    store_u64(b + 32, header->id.index);
    store_u64(b + 40, header->id.term);
    store_u32(b + 48, CHECKPOINT_BLOCK_SIZE);
    store_u32(b + 60, checksum_crc32(0, b, 60));
}

int checkpoint_header_unpack(const uint8_t bytes[CHECKPOINT_HEADER_SIZE],
                             struct checkpoint_header *ret_header)
{
    const uint8_t *b = bytes;
    if (load_u64(b) != HEADER_MAGIC || load_u32(b + 60) != checksum_crc32(0, b, 60))
        return -ERR_CORRUPT;
    if (load_u32(b + 8) != CHECKPOINT_VERSION)
        return -ERR_VERSION;
    if (load_u32(b + 48) != CHECKPOINT_BLOCK_SIZE || load_u64(b + 52) != 0)
        return -ERR_CORRUPT;
    *ret_header = (struct checkpoint_header){
        .version = load_u32(b + 8),
        .node = load_u32(b + 12),
        .id = {.index = load_u64(b + 32), .term = load_u64(b + 40)},
    };
    memcpy(ret_header->cluster.bytes, b + 16, UUID_SIZE);
    return 0;
}

static uint32_t block_crc(const uint8_t *sizes, const uint8_t *packed, uint32_t packed_size)
{
    return checksum_crc32(checksum_crc32(0, sizes, 8), packed, packed_size);
}

void checkpoint_block_pack(uint32_t raw_size, const uint8_t *packed, uint32_t packed_size,
                           uint8_t ret_bytes[CHECKPOINT_BLOCK_HEADER_SIZE])
{
    store_u32(ret_bytes, raw_size);
    store_u32(ret_bytes + 4, packed_size);
    store_u32(ret_bytes + 8, block_crc(ret_bytes, packed, packed_size));
}

bool checkpoint_block_unpack(const uint8_t bytes[CHECKPOINT_BLOCK_HEADER_SIZE],
                             struct checkpoint_block *ret_block)
{
    struct checkpoint_block block = {
        .raw_size = load_u32(bytes),
        .packed_size = load_u32(bytes + 4),
        .crc = load_u32(bytes + 8),
    };
    if (block.raw_size > CHECKPOINT_BLOCK_SIZE || block.packed_size > CHECKPOINT_PACKED_SIZE_MAX ||
        (block.raw_size == 0) != (block.packed_size == 0))
        return false;
    *ret_block = block;
    return true;
}

bool checkpoint_block_good(const uint8_t header[CHECKPOINT_BLOCK_HEADER_SIZE],
                           const struct checkpoint_block *block, const uint8_t *packed)
{
    return block->crc == block_crc(header, packed, block->packed_size);
}

void checkpoint_trailer_pack(const struct checkpoint_trailer *trailer,
                             uint8_t ret_bytes[CHECKPOINT_TRAILER_SIZE])
{
    uint8_t *b = ret_bytes;
    memset(b, 0, CHECKPOINT_TRAILER_SIZE);
    store_u64(b, TRAILER_MAGIC);
    store_u64(b + 8, trailer->block_count);
    store_u64(b + 16, trailer->raw_bytes);
    store_u32(b + 24, trailer->raw_crc);
    store_u32(b + 36, checksum_crc32(0, b, 36));
}

bool checkpoint_trailer_unpack(const uint8_t bytes[CHECKPOINT_TRAILER_SIZE],
                               struct checkpoint_trailer *ret_trailer)
{
    if (load_u64(bytes) != TRAILER_MAGIC || load_u32(bytes + 36) != checksum_crc32(0, bytes, 36))
        return false;
    *ret_trailer = (struct checkpoint_trailer){
        .block_count = load_u64(bytes + 8),
        .raw_bytes = load_u64(bytes + 16),
        .raw_crc = load_u32(bytes + 24),
    };
    return true;
}
