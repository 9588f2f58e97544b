/* Chunk names, versions and block CRCs. */
#include "common/base/chunk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/err.h"

int chunk_id_compare(const struct chunk_id *a, const struct chunk_id *b)
{
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    return 0;
}

int chunk_version_compare(const struct chunk_version *a, const struct chunk_version *b)
{
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    if (a->seq != b->seq)
        return a->seq < b->seq ? -1 : 1;
    return 0;
}

static void put_little_endian(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t id_seed(const struct chunk_id *id)
{
    uint8_t name[16];
    put_little_endian(name, id->inode, 8);
    put_little_endian(name + 8, id->index, 4);
    put_little_endian(name + 12, id->generation, 4);
    return checksum_crc32(0, name, sizeof name);
}

static uint32_t block_crc(uint32_t seed, uint32_t block, const void *data)
{
    uint8_t number[4];
    put_little_endian(number, block, 4);
    uint32_t crc = checksum_crc32(checksum_crc32(seed, number, sizeof number), data, BLOCK_SIZE);
    return crc == 0 ? 1 : crc;
}

uint32_t chunk_block_crc(const struct chunk_id *id, uint32_t block, const void *data)
{
    return block_crc(id_seed(id), block, data);
}

uint32_t chunk_block_crc_padded(const struct chunk_id *id, uint32_t block, const void *data,
                                size_t size)
{
    uint8_t whole[BLOCK_SIZE];
    CHECK(size <= BLOCK_SIZE);
    memcpy(whole, data, size);
    memset(whole + size, 0, BLOCK_SIZE - size);
    return chunk_block_crc(id, block, whole);
}

void chunk_block_crcs(const struct chunk_id *id, uint32_t first_block, const void *data,
                      uint32_t count, uint32_t *ret_crcs)
{
    uint32_t seed = id_seed(id);
    for (uint32_t i = 0; i < count; i++)
        ret_crcs[i] =
            block_crc(seed, first_block + i, (const uint8_t *)data + (size_t)i * BLOCK_SIZE);
}

void chunk_id_format(const struct chunk_id *id, char ret_text[CHUNK_ID_TEXT_SIZE])
{
    (void)snprintf(ret_text, CHUNK_ID_TEXT_SIZE, "%" PRIx64 ".%" PRIx32 ".%" PRIx32, id->inode,
                   id->index, id->generation);
}

static const char *parse_hex(const char *at, unsigned digits_max, uint64_t *ret_value)
{
    uint64_t value = 0;
    unsigned digits = 0;
    for (; digits < digits_max; at++, digits++) {
        if (*at >= '0' && *at <= '9')
            value = value << 4 | (uint64_t)(*at - '0');
        else if (*at >= 'a' && *at <= 'f')
            value = value << 4 | (uint64_t)(*at - 'a' + 10);
        else
            break;
    }
    if (digits == 0)
        return NULL;
    *ret_value = value;
    return at;
}

int chunk_id_parse(const char *text, struct chunk_id *ret_id)
{
    uint64_t inode, index, generation;
    char canonical[CHUNK_ID_TEXT_SIZE];
    const char *at = parse_hex(text, 16, &inode);
    at = at && *at == '.' ? parse_hex(at + 1, 8, &index) : NULL;
    at = at && *at == '.' ? parse_hex(at + 1, 8, &generation) : NULL;
    if (!at || *at != '\0')
        return -ERR_INVALID;
    struct chunk_id id = {inode, (uint32_t)index, (uint32_t)generation};
    chunk_id_format(&id, canonical);
    if (strcmp(canonical, text) != 0)
        return -ERR_INVALID;
    *ret_id = id;
    return 0;
}
