/* Block checksums of write requests and of read answers. */
#include <string.h>

#include "common/client/chunk_io.h"
#include "common/wire/prim.h"

#include "common/base/banned.h"

static void append_crc(struct bytes *out, uint32_t crc)
{
    uint8_t packed[4] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16),
                         (uint8_t)(crc >> 24)};
    bytes_append(out, packed, sizeof packed);
}

/* Gathers a block that is partial or lies in several slices. */
struct partial {
    uint8_t block[BLOCK_SIZE];
    bool open;
};

static void partial_close(struct partial *p, const struct chunk_id *id, uint32_t block,
                          struct bytes *out)
{
    if (p->open)
        append_crc(out, chunk_block_crc(id, block, p->block));
    p->open = false;
}

static void partial_add(struct partial *p, uint32_t at, const uint8_t *data, uint32_t size)
{
    if (!p->open)
        memset(p->block, 0, sizeof p->block);
    p->open = true;
    memcpy(p->block + at, data, size);
}

void chunk_crc_of_slices(const struct chunk_id *id, uint32_t offset, const struct net_slice *slices,
                         unsigned slice_count, struct bytes *ret_crcs)
{
    struct partial partial;
    partial.open = false;
    uint32_t at = offset;
    for (unsigned i = 0; i < slice_count; i++) {
        const uint8_t *data = slices[i].buf->data + slices[i].offset;
        uint32_t left = slices[i].size;
        while (left > 0) {
            uint32_t inside = at % BLOCK_SIZE;
            uint32_t piece = BLOCK_SIZE - inside < left ? BLOCK_SIZE - inside : left;
            if (inside == 0)
                partial_close(&partial, id, at / BLOCK_SIZE - 1, ret_crcs);
            if (piece == BLOCK_SIZE)
                append_crc(ret_crcs, chunk_block_crc(id, at / BLOCK_SIZE, data));
            else
                partial_add(&partial, inside, data, piece);
            at += piece;
            data += piece;
            left -= piece;
        }
    }
    partial_close(&partial, id, (at - 1) / BLOCK_SIZE, ret_crcs);
}

int chunk_crc_check(const struct chunk_id *id, uint32_t first_block, uint8_t *data, uint32_t size,
                    struct slice crcs, uint32_t *ret_block)
{
    uint32_t count = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    if (crcs.size / 4 < count)
        return -ERR_PROTOCOL;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *packed = crcs.data + (size_t)4 * i;
        uint32_t want = (uint32_t)packed[0] | (uint32_t)packed[1] << 8 | (uint32_t)packed[2] << 16 |
                        (uint32_t)packed[3] << 24;
        uint8_t *block = data + (size_t)i * BLOCK_SIZE;
        uint32_t inside = size - i * BLOCK_SIZE < BLOCK_SIZE ? size - i * BLOCK_SIZE : BLOCK_SIZE;
        if (want == 0) {
            memset(block, 0, inside); /* never written */
            continue;
        }
        uint32_t crc = inside == BLOCK_SIZE
                           ? chunk_block_crc(id, first_block + i, block)
                           : chunk_block_crc_padded(id, first_block + i, block, inside);
        if (crc != want) {
            *ret_block = first_block + i;
            return -ERR_CORRUPT;
        }
    }
    return 0;
}
