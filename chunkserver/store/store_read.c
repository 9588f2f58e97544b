/* Reading a chunk's blocks with their stored CRCs. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

static int read_bytes(struct chunk *c, uint32_t offset, uint32_t size, bool nowait, uint8_t *into)
{
    size_t done = 0;
    if (nowait) {
        struct iovec part = {into, size};
        ssize_t n = preadv2(c->fd, &part, 1, (off_t)(DATA_AT + offset), RWF_NOWAIT);
        if (n < 0 && errno != EAGAIN && errno != EOPNOTSUPP && errno != EINTR)
            return -ERR_IO;
        /* Short may mean "not in memory" or "end of the file": a worker finds out. */
        return n == (ssize_t)size ? 0 : -ERR_BUSY;
    }
    if (io_read(c->fd, into, size, DATA_AT + offset, &done) != 0)
        return -ERR_IO;
    memset(into + done, 0, size - done);
    return 0;
}

static int verify(struct store *s, struct chunk *c, uint32_t first, uint32_t count,
                  const uint8_t *data, const uint32_t *crcs, struct store_fault *ret_fault)
{
    for (uint32_t i = 0; i < count; i++) {
        if (crcs[i] == 0 ||
            chunk_block_crc(&c->id, first + i, data + (size_t)i * BLOCK_SIZE) == crcs[i])
            continue;
        if (ret_fault)
            *ret_fault = (struct store_fault){.suspect = (c->header.flags & HEADER_SUSPECT) != 0,
                                              .block = first + i};
        COUNT(s, crc_errors);
        return -ERR_CORRUPT;
    }
    return 0;
}

static int read_locked(struct store *s, struct chunk *c, uint32_t offset, uint32_t size,
                       unsigned flags, uint8_t *into, uint32_t *ret_crcs,
                       struct store_read *ret_read, struct store_fault *ret_fault)
{
    uint32_t length = c->header.length, first = offset / BLOCK_SIZE;
    uint32_t end = (length + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    uint32_t filled = offset >= end ? 0 : size < end - offset ? size : end - offset;
    uint32_t count = filled / BLOCK_SIZE, data_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        ret_crcs[i] = chunk_crc(c, first + i);
        data_count = ret_crcs[i] != 0 ? i + 1 : data_count;
    }
    int status = data_count == 0 ? 0
                                 : read_bytes(c, offset, data_count * BLOCK_SIZE,
                                              (flags & STORE_READ_NOWAIT) != 0, into);
    if (status != 0)
        return status;
    /* A hole's place in the file may hold the bytes of a write that never completed. */
    for (uint32_t i = 0; i < count; i++)
        if (ret_crcs[i] == 0)
            memset(into + (size_t)i * BLOCK_SIZE, 0, BLOCK_SIZE);
    if (flags & STORE_READ_VERIFY)
        status = verify(s, c, first, count, into, ret_crcs, ret_fault);
    if (status == 0)
        *ret_read =
            (struct store_read){.version = c->header.version, .length = length, .size = filled};
    return status;
}

int store_read(struct store *s, const struct chunk_id *id, uint32_t offset, uint32_t size,
               unsigned flags, void *into, uint32_t *ret_crcs, struct store_read *ret_read,
               struct store_fault *ret_fault)
{
    struct chunk *c;
    CHECK_OBJ(s, STORE_MAGIC);
    if (offset % BLOCK_SIZE != 0 || size % BLOCK_SIZE != 0 || offset > CHUNK_SIZE ||
        size > CHUNK_SIZE - offset)
        return -ERR_INVALID;
    int status = flags & STORE_READ_NOWAIT ? chunk_try_acquire(s, id, &c)
                                           : chunk_acquire(s, id, CHUNK_READ, &c);
    if (status != 0)
        return status;
    status = chunk_usable(c, ret_fault);
    if (status == 0)
        status = read_locked(s, c, offset, size, flags, into, ret_crcs, ret_read, ret_fault);
#ifdef PLANT_D8
    if (status == -ERR_LOST_CHUNK) {
        memset(into, 0, size);
        memset(ret_crcs, 0, size / BLOCK_SIZE * sizeof *ret_crcs);
        *ret_read = (struct store_read){.length = CHUNK_SIZE, .size = size};
        status = 0;
    }
#endif
    chunk_let_go(s, c, false);
    if (status == 0)
        COUNT(s, reads);
    return status;
}

int store_crcs(struct store *s, const struct chunk_id *id, uint32_t *ret_crcs, uint32_t *ret_count,
               struct chunk_version *ret_version)
{
    struct chunk *c;
    int status = chunk_acquire(s, id, CHUNK_READ, &c);
    if (status != 0)
        return status;
    status = chunk_usable(c, NULL);
    if (status == 0) {
        uint32_t count = (c->header.length + BLOCK_SIZE - 1) / BLOCK_SIZE;
        for (uint32_t block = 0; block < count; block++)
            ret_crcs[block] = chunk_crc(c, block);
        *ret_count = count;
        *ret_version = c->header.version;
    }
    chunk_let_go(s, c, false);
    return status;
}

int store_stat(struct store *s, const struct chunk_id *id, struct store_entry *ret_entry)
{
    bool present;
    struct store_entry e;
    if (atomic_load(&s->failed))
        return -ERR_TARGET_FAILED;
    if (cache_peek(s, id, &present, &e)) {
        if (!present)
            return -ERR_LOST_CHUNK;
        *ret_entry = e;
        return 0;
    }
    return index_get(s, id, ret_entry);
}
