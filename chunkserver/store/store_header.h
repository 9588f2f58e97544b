/* The chunk file's header page and CRC table: pack and unpack. Pure; any thread.
 *
 * Both are made of 512-byte sectors that carry a CRC of their own, because 512 bytes are what a
 * disk writes in one piece: a header page torn by a power cut is a mixture of old and new sectors,
 * each of which is right, and costs at most the blocks that were in flight. Sector 0 holds the
 * fields, sector 1 + b / 127 the CRC of block b. Sectors 0..7 are the header page, the others the
 * tail table. */
#ifndef CAIRN_CHUNKSERVER_STORE_STORE_HEADER_H
#define CAIRN_CHUNKSERVER_STORE_STORE_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/chunk.h"

enum {
    HEADER_SIZE = 4096,
    SECTOR_SIZE = 512,
    SECTOR_CRC_AT = SECTOR_SIZE - 4,
    SECTOR_CRC_COUNT = SECTOR_CRC_AT / 4,                       /* block CRCs in one sector: 127 */
    HEADER_SECTORS = HEADER_SIZE / SECTOR_SIZE,                 /* 8 */
    HEADER_CRC_COUNT = (HEADER_SECTORS - 1) * SECTOR_CRC_COUNT, /* blocks in the header page: 889 */
    TAIL_PAGE_COUNT = 16,
    TAIL_SIZE = TAIL_PAGE_COUNT * HEADER_SIZE,
    TAIL_PAGE_CRC_COUNT = HEADER_SECTORS * SECTOR_CRC_COUNT, /* 1016 */
};
#define DATA_AT ((uint64_t)HEADER_SIZE)
#define TAIL_AT (DATA_AT + CHUNK_SIZE)

/* A CRC whose sector is damaged: it matches no data but by the chance of any wrong CRC. */
#define CRC_LOST UINT32_C(0xffffffff)

enum header_flags { HEADER_SUSPECT = 1u << 0 };

struct chunk_header {
    struct chunk_id id;
    struct chunk_version version;
    uint32_t shard;
    uint8_t copies;
    uint32_t flags;      /* enum header_flags */
    uint32_t length;     /* end of the highest byte written */
    uint32_t tail_pages; /* bit p: page p of the tail table has been written */
    uint64_t generation; /* of the intent log, when this header was written */
    /* The same, when each page of the tail table was first written: after a power cut a page newer
     * than the last checkpoint may have been announced by the header without reaching the disk. */
    uint64_t tail_generation[TAIL_PAGE_COUNT];
};

static inline uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

static inline void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

/* Writes and seals sector 0 of `page`. */
void header_pack(const struct chunk_header *h, uint8_t *page);

/* Reads sector 0. -ERR_CORRUPT when it is not whole or breaks a bound, -ERR_VERSION for a format
 * that this program does not know. */
int header_unpack(const uint8_t page[HEADER_SIZE], struct chunk_header *ret_header);

/* Where block b's CRC is: in `page` (sectors 0..7) or `tail` (the rest; NULL = all zero). */
uint32_t header_crc(const uint8_t *page, const uint8_t *tail, uint32_t block);
void header_set_crc(uint8_t *page, uint8_t *tail, uint32_t block, uint32_t crc);

/* The tail page that holds the block's CRC, or -1 when the header page does. */
int header_tail_page(uint32_t block);

/* Seals the sectors that hold the CRCs of blocks first..last. */
void header_seal(const struct chunk_id *id, uint8_t *page, uint8_t *tail, uint32_t first,
                 uint32_t last);

/* Checks the CRC sectors just read: a damaged one becomes CRC_LOST throughout (hazard D23), pages
 * of the tail that were never written become zero, and so do the CRCs of all blocks behind the
 * length. Returns the number of damaged sectors. */
unsigned header_check_crcs(const struct chunk_header *h, uint8_t *page, uint8_t *tail);

/* A tail page that is newer than the last checkpoint, as found after an unclean stop: sectors still
 * all zero never reached the disk, so no block of theirs was ever flushed with data. They become
 * sealed and empty. Returns whether there was one. */
bool header_settle_tail_page(const struct chunk_id *id, unsigned page, uint8_t data[HEADER_SIZE]);

#endif
