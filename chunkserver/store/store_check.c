/* Walks all invariants of a target: files, index, headers, CRC tables, on request every block. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

enum { LIST_BATCH = 256, READ_BLOCKS = 64 };

struct checker {
    struct store *store;
    bool blocks;
    store_check_fault *on_fault;
    void *context;
    struct store_report report;
    uint64_t file_count;
    struct store_entry place; /* the shard that is being listed, and what was listed of it */
    struct store_size listed;
};

__attribute__((format(printf, 3, 4))) static void fault(struct checker *k,
                                                        const struct chunk_id *id,
                                                        const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    k->report.fault_count++;
    if (k->on_fault)
        k->on_fault(k->context, id, text);
}

static void check_blocks(struct checker *k, int fd, const struct chunk_header *h,
                         const uint8_t *page, const uint8_t *tail, uint8_t *data)
{
    uint32_t end = (h->length + BLOCK_SIZE - 1) / BLOCK_SIZE;
    for (uint32_t first = 0; first < end; first += READ_BLOCKS) {
        uint32_t count = end - first < READ_BLOCKS ? end - first : READ_BLOCKS;
        size_t size = 0, wanted = (size_t)count * BLOCK_SIZE;
        if (io_read(fd, data, wanted, DATA_AT + (uint64_t)first * BLOCK_SIZE, &size) != 0)
            fault(k, &h->id, "blocks %u to %u cannot be read", first, first + count - 1);
        memset(data + size, 0, wanted - size);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t crc = header_crc(page, tail, first + i);
            k->report.block_count += crc != 0;
            if (crc == 0 ||
                chunk_block_crc(&h->id, first + i, data + (size_t)i * BLOCK_SIZE) == crc)
                continue;
            k->report.bad_block_count++;
            fault(k, &h->id, "block %u fails its CRC", first + i);
        }
    }
}

/* The CRC table as it is on disk, before header_check_crcs makes the best of it. */
static void check_table(struct checker *k, int fd, const struct chunk_header *h)
{
    uint8_t page[HEADER_SIZE];
    uint8_t *tail = calloc(1, TAIL_SIZE);
    size_t size;
    CHECK(tail != NULL);
    if (io_read(fd, page, sizeof page, 0, &size) == 0 &&
        io_read(fd, tail, TAIL_SIZE, TAIL_AT, &size) == 0) {
        unsigned damaged = header_check_crcs(h, page, tail);
        if (damaged > 0)
            fault(k, &h->id, "%u sectors of the CRC table are damaged", damaged);
    }
    free(tail);
}

static void check_chunk(struct checker *k, const struct store_entry *e, uint8_t *data)
{
    struct chunk_header h;
    uint8_t page[HEADER_SIZE], *tail;
    int fd;
    k->report.chunk_count++;
    int status = load_header(k->store, e, &fd, &h, page, &tail);
    if (status == -ERR_LOST_CHUNK) {
        fault(k, &e->id, "in the index, but there is no file");
        return;
    }
    if (status != 0) {
        fault(k, &e->id, "the header cannot be used: %s", err_text(status));
        return;
    }
    bool suspect = (h.flags & HEADER_SUSPECT) != 0;
    if (chunk_version_compare(&h.version, &e->version) != 0 || h.length != e->length ||
        suspect != ((e->flags & STORE_ENTRY_SUSPECT) != 0))
        fault(k, &e->id, "index and header differ");
    k->report.bytes_used += h.length;
    check_table(k, fd, &h);
    if (k->blocks)
        check_blocks(k, fd, &h, page, tail, data);
    free(tail);
    (void)close(fd);
}

/* Called for each entry, in the order of the shards, and with NULL at the end. */
static void check_size(struct checker *k, const struct store_entry *e)
{
    if (k->listed.chunks > 0 &&
        (!e || e->copies != k->place.copies || e->shard != k->place.shard)) {
        struct store_size known = store_shard_size(k->store, k->place.copies, k->place.shard);
        if (known.chunks != k->listed.chunks || known.bytes != k->listed.bytes)
            fault(k, NULL, "shard %u-%x: %llu chunks and %llu bytes are counted, not %llu and %llu",
                  k->place.copies, k->place.shard, (unsigned long long)known.chunks,
                  (unsigned long long)known.bytes, (unsigned long long)k->listed.chunks,
                  (unsigned long long)k->listed.bytes);
        k->listed = (struct store_size){0};
    }
    if (!e)
        return;
    k->place = *e;
    k->listed.chunks++;
    k->listed.bytes += e->length;
}

static int visit_file(void *context, const struct store_entry *found)
{
    struct checker *k = context;
    struct store_entry e;
    k->file_count++;
    int status = store_stat(k->store, &found->id, &e);
    if (status == -ERR_LOST_CHUNK)
        fault(k, &found->id, "a file that the index does not know");
    else if (status == 0 && (e.shard != found->shard || e.copies != found->copies))
        fault(k, &found->id, "the file is in another folder than the index says");
    return status == -ERR_LOST_CHUNK ? 0 : status;
}

int store_check(struct store *s, bool blocks, store_check_fault *on_fault, void *context,
                struct store_report *ret_report)
{
    struct checker k = {.store = s, .blocks = blocks, .on_fault = on_fault, .context = context};
    struct store_cursor cursor = {.started = false};
    struct store_entry *batch = calloc(LIST_BATCH, sizeof *batch);
    uint8_t *data = malloc((size_t)READ_BLOCKS * BLOCK_SIZE);
    uint32_t count = 0;
    CHECK_OBJ(s, STORE_MAGIC);
    CHECK(batch != NULL && data != NULL);
    int status;
    do {
        status = store_list_all(s, &cursor, batch, LIST_BATCH, &count);
        for (uint32_t i = 0; status == 0 && i < count; i++) {
            check_size(&k, &batch[i]);
            check_chunk(&k, &batch[i], data);
        }
    } while (status == 0 && count > 0);
    check_size(&k, NULL);
    free(batch);
    free(data);
    if (status == 0)
        status = store_walk(s, visit_file, &k);
    if (status == 0)
        *ret_report = k.report;
    return status;
}
