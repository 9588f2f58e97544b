/* The chunk file's header page and CRC table: pack and unpack. */
#include "chunkserver/store/store_header.h"

#include <string.h>

#include "common/base/checksum.h"
#include "common/base/err.h"
#include "common/base/banned.h"

/* "CAIRNCHK" read as a little-endian number. */
#define HEADER_MAGIC UINT64_C(0x4b48434e52494143)
enum {
    HEADER_FORMAT = 1,
    TAIL_GENERATIONS_AT = 72,
    FIELDS_END = TAIL_GENERATIONS_AT + 8 * TAIL_PAGE_COUNT
};

/* Seeded with the chunk's id and the sector's number, so that a misplaced sector fails. */
static uint32_t sector_crc(const struct chunk_id *id, unsigned sector, const uint8_t *data)
{
    uint8_t place[20];
    put_u64(place, id->inode);
    put_u32(place + 8, id->index);
    put_u32(place + 12, id->generation);
    put_u32(place + 16, UINT32_C(0x80000000) | sector);
    return checksum_crc32(checksum_crc32(0, place, sizeof place), data, SECTOR_CRC_AT);
}

void header_pack(const struct chunk_header *h, uint8_t *page)
{
    memset(page, 0, SECTOR_SIZE);
    put_u64(page, HEADER_MAGIC);
    put_u32(page + 8, HEADER_FORMAT);
    put_u32(page + 12, h->flags);
    put_u64(page + 16, h->id.inode);
    put_u32(page + 24, h->id.index);
    put_u32(page + 28, h->id.generation);
    put_u32(page + 32, h->shard);
    put_u32(page + 36, h->copies);
    put_u64(page + 40, h->version.epoch);
    put_u64(page + 48, h->version.seq);
    put_u32(page + 56, h->length);
    put_u32(page + 60, h->tail_pages);
    put_u64(page + 64, h->generation);
    for (unsigned i = 0; i < TAIL_PAGE_COUNT; i++)
        put_u64(page + TAIL_GENERATIONS_AT + (size_t)i * 8, h->tail_generation[i]);
    put_u32(page + SECTOR_CRC_AT, sector_crc(&h->id, 0, page));
}

int header_unpack(const uint8_t page[HEADER_SIZE], struct chunk_header *ret_header)
{
    struct chunk_header h = {
        .id = {get_u64(page + 16), get_u32(page + 24), get_u32(page + 28)},
        .version = {get_u64(page + 40), get_u64(page + 48)},
        .shard = get_u32(page + 32),
        .copies = page[36],
        .flags = get_u32(page + 12),
        .length = get_u32(page + 56),
        .tail_pages = get_u32(page + 60),
        .generation = get_u64(page + 64),
    };
    if (get_u64(page) != HEADER_MAGIC ||
        get_u32(page + SECTOR_CRC_AT) != sector_crc(&h.id, 0, page))
        return -ERR_CORRUPT;
    if (get_u32(page + 8) != HEADER_FORMAT)
        return -ERR_VERSION;
    if (get_u32(page + 36) > UINT8_MAX || h.length > CHUNK_SIZE ||
        h.tail_pages >= 1u << TAIL_PAGE_COUNT || (h.flags & ~(uint32_t)HEADER_SUSPECT) != 0)
        return -ERR_CORRUPT;
    for (unsigned i = FIELDS_END; i < SECTOR_CRC_AT; i++)
        if (page[i] != 0)
            return -ERR_CORRUPT;
    for (unsigned i = 0; i < TAIL_PAGE_COUNT; i++)
        h.tail_generation[i] = get_u64(page + TAIL_GENERATIONS_AT + (size_t)i * 8);
    *ret_header = h;
    return 0;
}

static size_t crc_at(uint32_t block)
{
    return (size_t)(block / SECTOR_CRC_COUNT) * SECTOR_SIZE +
           (size_t)(block % SECTOR_CRC_COUNT) * 4;
}

uint32_t header_crc(const uint8_t *page, const uint8_t *tail, uint32_t block)
{
    if (block < HEADER_CRC_COUNT)
        return get_u32(page + SECTOR_SIZE + crc_at(block));
    return tail ? get_u32(tail + crc_at(block - HEADER_CRC_COUNT)) : 0;
}

void header_set_crc(uint8_t *page, uint8_t *tail, uint32_t block, uint32_t crc)
{
    if (block < HEADER_CRC_COUNT)
        put_u32(page + SECTOR_SIZE + crc_at(block), crc);
    else if (tail)
        put_u32(tail + crc_at(block - HEADER_CRC_COUNT), crc);
}

int header_tail_page(uint32_t block)
{
    return block < HEADER_CRC_COUNT ? -1 : (int)((block - HEADER_CRC_COUNT) / TAIL_PAGE_CRC_COUNT);
}

static uint8_t *sector_at(uint8_t *page, uint8_t *tail, unsigned sector)
{
    if (sector < HEADER_SECTORS)
        return page + (size_t)sector * SECTOR_SIZE;
    return tail ? tail + (size_t)(sector - HEADER_SECTORS) * SECTOR_SIZE : NULL;
}

void header_seal(const struct chunk_id *id, uint8_t *page, uint8_t *tail, uint32_t first,
                 uint32_t last)
{
    unsigned from = 1 + first / SECTOR_CRC_COUNT, to = 1 + last / SECTOR_CRC_COUNT;
    for (unsigned sector = from; sector <= to; sector++) {
        uint8_t *data = sector_at(page, tail, sector);
        if (data)
            put_u32(data + SECTOR_CRC_AT, sector_crc(id, sector, data));
    }
}

unsigned header_check_crcs(const struct chunk_header *h, uint8_t *page, uint8_t *tail)
{
    unsigned damaged = 0;
    unsigned sectors = tail ? HEADER_SECTORS + TAIL_SIZE / SECTOR_SIZE : HEADER_SECTORS;
    for (unsigned sector = 1; sector < sectors; sector++) {
        uint8_t *data = sector_at(page, tail, sector);
        unsigned tail_page = (sector - HEADER_SECTORS) / HEADER_SECTORS;
        if (sector >= HEADER_SECTORS && !(h->tail_pages & 1u << tail_page)) {
            memset(data, 0, SECTOR_SIZE);
        } else if (get_u32(data + SECTOR_CRC_AT) != sector_crc(&h->id, sector, data)) {
            memset(data, 0xff, SECTOR_CRC_AT);
            damaged++;
        }
    }
    for (uint32_t block = (h->length + BLOCK_SIZE - 1) / BLOCK_SIZE; block < CHUNK_BLOCK_COUNT;
         block++)
        header_set_crc(page, tail, block, 0);
    header_seal(&h->id, page, tail, 0, CHUNK_BLOCK_COUNT - 1);
    return damaged;
}

bool header_settle_tail_page(const struct chunk_id *id, unsigned page, uint8_t data[HEADER_SIZE])
{
    static const uint8_t zeros[SECTOR_SIZE];
    bool settled = false;
    for (unsigned i = 0; i < HEADER_SECTORS; i++) {
        uint8_t *sector = data + (size_t)i * SECTOR_SIZE;
        if (memcmp(sector, zeros, SECTOR_SIZE) != 0)
            continue;
        put_u32(sector + SECTOR_CRC_AT, sector_crc(id, HEADER_SECTORS * (page + 1) + i, sector));
        settled = true;
    }
    return settled;
}
