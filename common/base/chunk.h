/* What client, wire and chunkserver all know of a chunk: its name, version, sizes and block CRC.
 *
 * Pure; any thread. */
#ifndef CAIRN_BASE_CHUNK_H
#define CAIRN_BASE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 64 MiB keeps a chunk's block CRCs (64 KiB) small enough to stay in memory with it. 4 KiB is the
 * page: one block is written by the kernel in one piece. */
#define CHUNK_SIZE        ((uint32_t)64 << 20)
#define BLOCK_SIZE        ((uint32_t)4096)
#define CHUNK_BLOCK_COUNT (CHUNK_SIZE / BLOCK_SIZE)

struct chunk_id {
    uint64_t inode;
    uint32_t index;      /* which 64 MiB of the file */
    uint32_t generation; /* raised when the chunk is dropped, so that a late write finds nothing */
};

/* Ordered by epoch, then seq. Equal on two replicas means equal content. */
struct chunk_version {
    uint64_t epoch; /* of the shard's chain */
    uint64_t seq;
};

static inline bool chunk_id_equal(const struct chunk_id *a, const struct chunk_id *b)
{
    return a->inode == b->inode && a->index == b->index && a->generation == b->generation;
}

/* <0, 0, >0 like memcmp. */
int chunk_id_compare(const struct chunk_id *a, const struct chunk_id *b);
int chunk_version_compare(const struct chunk_version *a, const struct chunk_version *b);

/* CRC-32 over the BLOCK_SIZE bytes at `data`, started from a seed made of the chunk's id and the
 * block's number: a block that lands in another place fails its check (hazard D24). Never 0: a
 * stored 0 means "never written". */
uint32_t chunk_block_crc(const struct chunk_id *id, uint32_t block, const void *data);

/* The same for a block of which only the first `size` bytes are given; the rest is zeros. */
uint32_t chunk_block_crc_padded(const struct chunk_id *id, uint32_t block, const void *data,
                                size_t size);

/* The same for `count` consecutive blocks, the first being number `first_block`. */
void chunk_block_crcs(const struct chunk_id *id, uint32_t first_block, const void *data,
                      uint32_t count, uint32_t *ret_crcs);

/* "inode.index.generation" in hexadecimal without leading zeros, the name of a chunk in messages
 * and on disk. */
enum { CHUNK_ID_TEXT_SIZE = 16 + 1 + 8 + 1 + 8 + 1 };
void chunk_id_format(const struct chunk_id *id, char ret_text[CHUNK_ID_TEXT_SIZE]);

/* Accepts exactly what chunk_id_format makes; otherwise -ERR_INVALID. */
int chunk_id_parse(const char *text, struct chunk_id *ret_id);

#endif
