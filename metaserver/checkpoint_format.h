/* Bytes of a checkpoint file: header, compressed blocks, end mark, trailer. Pure; any thread. */
#ifndef CAIRN_METASERVER_CHECKPOINT_FORMAT_H
#define CAIRN_METASERVER_CHECKPOINT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/checksum.h"
#include "metaserver/checkpoint_store.h"

enum {
    CHECKPOINT_VERSION = 1,
    CHECKPOINT_HEADER_SIZE = 64,
    CHECKPOINT_BLOCK_HEADER_SIZE = 12,
    CHECKPOINT_TRAILER_SIZE = 40,
    /* zlib's worst case for CHECKPOINT_BLOCK_SIZE, rounded up. */
    CHECKPOINT_PACKED_SIZE_MAX = CHECKPOINT_BLOCK_SIZE + (4 << 10),
};

struct checkpoint_header {
    uint32_t version, node; /* node: who wrote it */
    struct uuid cluster;
    struct checkpoint_id id;
};

void checkpoint_header_pack(const struct checkpoint_header *header,
                            uint8_t ret_bytes[CHECKPOINT_HEADER_SIZE]);
/* -ERR_CORRUPT, -ERR_VERSION. */
int checkpoint_header_unpack(const uint8_t bytes[CHECKPOINT_HEADER_SIZE],
                             struct checkpoint_header *ret_header);

/* raw_size 0 with packed_size 0 is the end mark. The CRC covers both sizes and the packed bytes. */
struct checkpoint_block {
    uint32_t raw_size, packed_size, crc;
};
void checkpoint_block_pack(uint32_t raw_size, const uint8_t *packed, uint32_t packed_size,
                           uint8_t ret_bytes[CHECKPOINT_BLOCK_HEADER_SIZE]);
/* False when a size is out of bounds. */
bool checkpoint_block_unpack(const uint8_t bytes[CHECKPOINT_BLOCK_HEADER_SIZE],
                             struct checkpoint_block *ret_block);
bool checkpoint_block_good(const uint8_t header[CHECKPOINT_BLOCK_HEADER_SIZE],
                           const struct checkpoint_block *block, const uint8_t *packed);

struct checkpoint_trailer {
    uint64_t block_count, raw_bytes;
    uint32_t raw_crc; /* of the whole stream */
};
void checkpoint_trailer_pack(const struct checkpoint_trailer *trailer,
                             uint8_t ret_bytes[CHECKPOINT_TRAILER_SIZE]);
bool checkpoint_trailer_unpack(const uint8_t bytes[CHECKPOINT_TRAILER_SIZE],
                               struct checkpoint_trailer *ret_trailer);

#endif
