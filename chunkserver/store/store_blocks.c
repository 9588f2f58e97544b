/* Moving whole blocks between memory and a chunk's file, and writing its header back. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "chunkserver/store/store_blocks.h"
#include "common/base/banned.h"

static uint64_t data_at(uint32_t block)
{
    return DATA_AT + (uint64_t)block * BLOCK_SIZE;
}

static void add_part(struct iovec *parts, int *count, const uint8_t *data, uint32_t blocks)
{
    parts[(*count)++] = (struct iovec){(void *)(uintptr_t)data, (size_t)blocks * BLOCK_SIZE};
}

int source_parts(const struct block_source *source, uint32_t first, uint32_t last,
                 struct iovec *ret_parts)
{
    int count = 0;
    uint32_t from = first, to = last + 1;
    if (source->head && first == source->first) {
        add_part(ret_parts, &count, source->head, 1);
        from++;
    }
    bool tail = source->tail && last == source->last && to > from;
    if (tail)
        to--;
    if (to > from)
        add_part(ret_parts, &count,
                 source->middle + (size_t)(from - source->middle_first) * BLOCK_SIZE, to - from);
    if (tail)
        add_part(ret_parts, &count, source->tail, 1);
    return count;
}

/* Writes the runs of blocks that are holes, or those that are not. */
static int write_runs(struct store *s, struct chunk *c, const struct block_source *source,
                      bool holes)
{
    for (uint32_t first = source->first, next; first <= source->last; first = next) {
        bool hole = chunk_crc(c, first) == 0;
        for (next = first + 1; next <= source->last && (chunk_crc(c, next) == 0) == hole;)
            next++;
        if (hole != holes)
            continue;
        struct iovec parts[3];
        int count = source_parts(source, first, next - 1, parts);
        int error = io_writev(c->fd, parts, count, data_at(first));
        if (error == 0)
            continue;
        if (holes)
            blocks_punch(c, first, next - 1);
        /* A full disk cannot refuse blocks that have their place. If it does, the old content is
         * gone and the CRCs no longer tell. */
        return holes ? store_write_error(s, "write of a chunk", error)
                     : store_fail(s, "overwrite of a chunk", error);
    }
    return 0;
}

int source_write(struct store *s, struct chunk *c, const struct block_source *source)
{
    int status = write_runs(s, c, source, true);
    return status == 0 ? write_runs(s, c, source, false) : status;
}

void blocks_punch(const struct chunk *c, uint32_t first, uint32_t last)
{
    if (last >= first)
        (void)fallocate(c->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)data_at(first),
                        (off_t)(last - first + 1) * BLOCK_SIZE);
}

int chunk_read_block(struct store *s, struct chunk *c, uint32_t block, uint8_t *into,
                     struct store_fault *ret_fault)
{
    size_t size;
    if (io_read(c->fd, into, BLOCK_SIZE, data_at(block), &size) != 0)
        return -ERR_IO;
    memset(into + size, 0, BLOCK_SIZE - size);
    uint32_t wanted = chunk_crc(c, block);
#ifdef PLANT_D6
    wanted = chunk_block_crc(&c->id, block, into);
#endif
    if (chunk_block_crc(&c->id, block, into) != wanted) {
        if (ret_fault)
            *ret_fault = (struct store_fault){.suspect = (c->header.flags & HEADER_SUSPECT) != 0,
                                              .block = block};
        COUNT(s, crc_errors);
        return -ERR_CORRUPT;
    }
    return 0;
}

/* Memory and disk space for the CRCs of the blocks, so that the later write cannot fail for
 * lack of them. A page counts as written only once chunk_set_crcs has put something in it. */
int chunk_want_tail(struct store *s, struct chunk *c, struct block_range range)
{
    int page = header_tail_page(range.last);
    if (page < 0)
        return 0;
    if (!c->tail) {
        c->tail = calloc(1, TAIL_SIZE);
        CHECK(c->tail != NULL);
    }
    int first = header_tail_page(range.first);
    for (int i = first < 0 ? 0 : first; i <= page; i++)
        if (!(c->header.tail_pages & 1u << i) &&
            fallocate(c->fd, FALLOC_FL_KEEP_SIZE, (off_t)(TAIL_AT + (uint64_t)i * HEADER_SIZE),
                      HEADER_SIZE) != 0 &&
            errno != EOPNOTSUPP)
            return store_write_error(s, "allocation of a CRC page", errno);
    return 0;
}

void chunk_set_crcs(struct chunk *c, uint32_t first, uint32_t count, const uint32_t *crcs)
{
    for (uint32_t i = 0; i < count; i++) {
        int page = header_tail_page(first + i);
        if (page >= 0 && crcs[i] != 0 && !(c->header.tail_pages & 1u << page)) {
            uint32_t start = HEADER_CRC_COUNT + (uint32_t)page * TAIL_PAGE_CRC_COUNT;
            c->header.tail_pages |= 1u << page;
            c->header.tail_generation[page] = c->intent_generation;
            header_seal(&c->id, c->page, c->tail, start, start + TAIL_PAGE_CRC_COUNT - 1);
        }
        header_set_crc(c->page, c->tail, first + i, crcs[i]);
    }
    if (count > 0)
        header_seal(&c->id, c->page, c->tail, first, first + count - 1);
}

static int write_tail(struct store *s, struct chunk *c, struct block_range changed)
{
    int first = header_tail_page(changed.first), last = header_tail_page(changed.last);
    for (int page = first < 0 ? 0 : first; page <= last; page++) {
        int end = page;
        while (end <= last && (c->header.tail_pages & 1u << end))
            end++;
        if (end == page)
            continue;
        size_t at = (size_t)page * HEADER_SIZE, size = (size_t)(end - page) * HEADER_SIZE;
        int error = io_write(c->fd, c->tail + at, size, TAIL_AT + at);
        if (error != 0)
            return store_fail(s, "write of block CRCs", error);
        page = end;
    }
    return 0;
}

int chunk_write_header(struct store *s, struct chunk *c, struct block_range changed)
{
    int status = write_tail(s, c, changed);
    if (status != 0)
        return status;
    c->header.generation = c->intent_generation;
    header_pack(&c->header, c->page);
    int error = io_write(c->fd, c->page, HEADER_SIZE, 0);
    return error == 0 ? 0 : store_write_error(s, "write of a header", error);
}

int store_intent_room(struct store *s)
{
    if (atomic_load(&s->intents.used) < INTENT_HIGH_WATER)
        return 0;
    lock_mutex(&s->chores);
    int status = atomic_load(&s->intents.used) < INTENT_HIGH_WATER ? 0 : store_checkpoint(s);
    unlock_mutex(&s->chores);
    return status;
}
