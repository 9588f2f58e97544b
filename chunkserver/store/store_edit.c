/* Changes to a chunk other than writing: truncate, zero, version, delete, repair. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "chunkserver/store/store_blocks.h"
#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

enum { REMOVE_BATCH = 64 };

/* Opens a change to an existing chunk; on success the caller ends it with end_edit. */
static int begin_edit(struct store *s, const struct chunk_id *id, struct chunk **ret_chunk,
                      struct store_fault *ret_fault)
{
    struct chunk *c;
    CHECK_OBJ(s, STORE_MAGIC);
    int status = store_intent_room(s);
    if (status == 0)
        status = chunk_acquire(s, id, CHUNK_WRITE, &c);
    if (status != 0)
        return status;
    status = chunk_usable(c, ret_fault);
    if (status == 0)
        status = intent_cover(s, c, true);
    if (status != 0)
        chunk_let_go(s, c, false);
    else
        *ret_chunk = c;
    return status;
}

static int end_edit(struct store *s, struct chunk *c, int status)
{
    chunk_let_go(s, c, true);
    return status;
}

/* A block that becomes zeros in part: checked, merged, written; its CRC goes into memory. */
static int zero_edge(struct store *s, struct chunk *c, uint32_t from, uint32_t to,
                     struct store_fault *ret_fault)
{
    uint8_t data[BLOCK_SIZE];
    uint32_t block = from / BLOCK_SIZE;
    if (from == to || chunk_crc(c, block) == 0)
        return 0;
    int status = chunk_read_block(s, c, block, data, ret_fault);
    if (status != 0)
        return status;
    memset(data + from % BLOCK_SIZE, 0, to - from);
    struct block_source source = {.first = block, .last = block, .head = data};
    status = source_write(s, c, &source);
    if (status != 0)
        return status;
    uint32_t crc = chunk_block_crc(&c->id, block, data);
    chunk_set_crcs(c, block, 1, &crc);
    return 0;
}

/* The last block's edge is checked before the first one is changed: a refusal changes nothing. */
static int check_edge(struct store *s, struct chunk *c, uint32_t from, uint32_t to,
                      struct store_fault *ret_fault)
{
    uint8_t data[BLOCK_SIZE];
    if (from == to || chunk_crc(c, from / BLOCK_SIZE) == 0)
        return 0;
    return chunk_read_block(s, c, from / BLOCK_SIZE, data, ret_fault);
}

/* Makes [from, to) zeros and writes CRCs and header, then gives the space back: the CRCs decide, so
 * a stop in between leaves holes with bytes under them that nobody sees. */
static int clear(struct store *s, struct chunk *c, uint32_t from, uint32_t to,
                 struct store_fault *ret_fault)
{
    static const uint32_t none[64];
    uint32_t whole_first = (from + BLOCK_SIZE - 1) / BLOCK_SIZE, whole_end = to / BLOCK_SIZE;
    uint32_t head_end = whole_first * BLOCK_SIZE < to ? whole_first * BLOCK_SIZE : to;
    uint32_t tail_from = whole_end >= whole_first ? whole_end * BLOCK_SIZE : to;
    int status = check_edge(s, c, tail_from, to, ret_fault);
    if (status == 0)
        status = zero_edge(s, c, from, head_end, ret_fault);
    if (status == 0)
        status = zero_edge(s, c, tail_from, to, ret_fault);
    if (status != 0)
        return status;
    for (uint32_t block = whole_first; block < whole_end;) {
        uint32_t count = whole_end - block < 64 ? whole_end - block : 64;
        chunk_set_crcs(c, block, count, none);
        block += count;
    }
    struct block_range changed = {from / BLOCK_SIZE,
                                  to > from ? (to - 1) / BLOCK_SIZE : from / BLOCK_SIZE};
    if (changed.last >= CHUNK_BLOCK_COUNT)
        changed.first = changed.last = CHUNK_BLOCK_COUNT - 1;
    status = chunk_write_header(s, c, changed);
    if (status == 0 && whole_end > whole_first)
        blocks_punch(c, whole_first, whole_end - 1);
    return status;
}

static uint32_t block_end(uint32_t length)
{
    return (length + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

int store_truncate(struct store *s, const struct chunk_id *id, struct chunk_version version,
                   uint32_t length, struct store_fault *ret_fault)
{
    struct chunk *c;
    if (length > CHUNK_SIZE)
        return -ERR_INVALID;
    int status = begin_edit(s, id, &c, ret_fault);
    if (status != 0)
        return status;
    struct chunk_header before = c->header;
    uint32_t end = block_end(before.length);
    c->header.version = version;
    c->header.length = length;
    status = clear(s, c, length, length < end ? end : length, ret_fault);
    if (status != 0) {
        c->header.version = before.version;
        c->header.length = before.length;
    }
    return end_edit(s, c, status);
}

int store_zero(struct store *s, const struct chunk_id *id, struct chunk_version version,
               uint32_t offset, uint32_t size, struct store_fault *ret_fault)
{
    struct chunk *c;
    if (offset > CHUNK_SIZE || size > CHUNK_SIZE - offset)
        return -ERR_INVALID;
    int status = begin_edit(s, id, &c, ret_fault);
    if (status != 0)
        return status;
    struct chunk_version before = c->header.version;
    uint32_t to = offset + size;
    if (to >= c->header.length)
        to = block_end(c->header.length); /* bytes behind the length are zeros already */
    c->header.version = version;
    status = clear(s, c, offset < to ? offset : to, to, ret_fault);
    if (status != 0)
        c->header.version = before;
    return end_edit(s, c, status);
}

int store_set_version(struct store *s, const struct chunk_id *id, struct chunk_version version)
{
    struct chunk *c;
    int status = begin_edit(s, id, &c, NULL);
    if (status != 0)
        return status;
    c->header.version = version;
    return end_edit(s, c, chunk_write_header(s, c, (struct block_range){0, 0}));
}

int store_clear_suspect(struct store *s, const struct chunk_id *id)
{
    struct chunk *c;
    int status = begin_edit(s, id, &c, NULL);
    if (status != 0)
        return status;
    c->header.flags &= ~(uint32_t)HEADER_SUSPECT;
    /* All of the CRC table: what lay behind the length goes with it. */
    struct block_range all = {0, CHUNK_BLOCK_COUNT - 1};
    if (c->tail)
        header_seal(&c->id, c->page, c->tail, all.first, all.last);
    else
        header_seal(&c->id, c->page, NULL, 0, HEADER_CRC_COUNT - 1);
    return end_edit(s, c, chunk_write_header(s, c, all));
}

int store_accept_block(struct store *s, const struct chunk_id *id, uint32_t block)
{
    struct chunk *c;
    uint8_t data[BLOCK_SIZE];
    size_t size;
    int status = begin_edit(s, id, &c, NULL);
    if (status != 0)
        return status;
    if (!(c->header.flags & HEADER_SUSPECT) || block >= CHUNK_BLOCK_COUNT ||
        chunk_crc(c, block) == 0) {
        status = c->header.flags & HEADER_SUSPECT ? -ERR_INVALID : -ERR_REFUSED;
        chunk_let_go(s, c, false);
        return status;
    }
    if (io_read(c->fd, data, BLOCK_SIZE, DATA_AT + (uint64_t)block * BLOCK_SIZE, &size) != 0) {
        chunk_let_go(s, c, false);
        return -ERR_IO;
    }
    memset(data + size, 0, BLOCK_SIZE - size);
    uint32_t crc = chunk_block_crc(id, block, data);
    chunk_set_crcs(c, block, 1, &crc);
    COUNT(s, blocks_accepted);
    return end_edit(s, c, chunk_write_header(s, c, (struct block_range){block, block}));
}

static int repair_run(struct store *s, struct chunk *c, uint32_t first, uint32_t count,
                      const uint8_t *data, const uint32_t *crcs)
{
    int status = 0;
    if (crcs[0] != 0) {
        struct block_source source = {
            .first = first, .last = first + count - 1, .middle_first = first, .middle = data};
        status = store_take_space(s, (uint64_t)count * BLOCK_SIZE);
        if (status == 0)
            status = chunk_want_tail(s, c, (struct block_range){source.first, source.last});
        if (status == 0)
            status = source_write(s, c, &source);
    } else {
        blocks_punch(c, first, first + count - 1);
    }
    if (status == 0)
        chunk_set_crcs(c, first, count, crcs);
    return status;
}

int store_repair_blocks(struct store *s, const struct chunk_id *id, uint32_t first_block,
                        uint32_t count, const void *data, const uint32_t *crcs)
{
    struct chunk *c;
    const uint8_t *blocks = data;
    if (count == 0 || first_block >= CHUNK_BLOCK_COUNT || count > CHUNK_BLOCK_COUNT - first_block)
        return -ERR_INVALID;
    for (uint32_t i = 0; i < count; i++)
        if (crcs[i] != 0 &&
            chunk_block_crc(id, first_block + i, blocks + (size_t)i * BLOCK_SIZE) != crcs[i])
            return -ERR_CORRUPT;
    int status = begin_edit(s, id, &c, NULL);
    if (status != 0)
        return status;
    if ((uint64_t)(first_block + count) * BLOCK_SIZE > block_end(c->header.length)) {
        chunk_let_go(s, c, false);
        return -ERR_INVALID;
    }
    for (uint32_t i = 0, next; i < count && status == 0; i = next) {
        for (next = i + 1; next < count && (crcs[next] == 0) == (crcs[i] == 0);)
            next++;
        status =
            repair_run(s, c, first_block + i, next - i, blocks + (size_t)i * BLOCK_SIZE, crcs + i);
    }
    struct block_range all = {first_block, first_block + count - 1};
    int written = chunk_write_header(s, c, all);
    if (status == 0)
        status = written;
    if (status == 0)
        (void)atomic_fetch_add(&s->counters.blocks_repaired, count);
    return end_edit(s, c, status);
}

int store_quarantine(struct store *s, const char *name)
{
    char kept[FILE_NAME_SIZE + 32];
    (void)snprintf(kept, sizeof kept, "%llu.%.6s.%s", (unsigned long long)time(NULL), name,
                   name + 7);
    /* On a full disk the name may find no place in trash/; deletes work all the same. */
    if (renameat(s->root, name, s->trash, kept) == 0 || errno == ENOENT)
        return 0;
    return errno == ENOSPC || errno == EDQUOT ? -ERR_NO_SPACE
                                              : store_write_error(s, "rename to trash", errno);
}

static int remove_file(struct store *s, const struct chunk *c, bool quarantine)
{
    struct store_entry e = {.id = c->id, .shard = c->header.shard, .copies = c->header.copies};
    char name[FILE_NAME_SIZE];
    store_file_name(&e, name);
    int status = quarantine ? store_quarantine(s, name) : -ERR_NO_SPACE;
    if (status != -ERR_NO_SPACE)
        return status;
    if (unlinkat(s->root, name, 0) != 0 && errno != ENOENT)
        return store_write_error(s, "delete of a chunk", errno);
    return 0;
}

static bool is_elsewhere(const struct chunk *c, const struct store_entry *place)
{
    return place && (c->header.copies != place->copies || c->header.shard != place->shard);
}

/* `place`: only if it is there; NULL = wherever it is. */
static int delete_chunk(struct store *s, const struct chunk_id *id, const struct store_entry *place,
                        bool quarantine)
{
    struct chunk *c;
    CHECK_OBJ(s, STORE_MAGIC);
    int status = store_intent_room(s);
    if (status == 0)
        status = chunk_acquire(s, id, CHUNK_WRITE, &c);
    if (status != 0)
        return status;
    status = c->state == CHUNK_ABSENT || is_elsewhere(c, place) ? -ERR_LOST_CHUNK
                                                                : intent_cover(s, c, false);
    if (status == 0)
        status = remove_file(s, c, quarantine);
    if (status != 0) {
        chunk_let_go(s, c, false);
        return status;
    }
    chunk_forget_file(c);
    c->state = CHUNK_ABSENT;
    if (place)
        chunk_publish_gone(s, c);
    chunk_let_go(s, c, !place);
    return 0;
}

int store_delete(struct store *s, const struct chunk_id *id, bool quarantine)
{
    return delete_chunk(s, id, NULL, quarantine);
}

int store_remove_some(struct store *s, uint8_t copies, uint32_t shard, uint32_t count_max,
                      const atomic_bool *stop, uint32_t *ret_count)
{
    struct store_cursor cursor = {.started = false};
    struct store_entry batch[REMOVE_BATCH];
    uint32_t removed = 0, found = 1;
    int first_error = 0, status = 0;
    while (status == 0 && found > 0 && removed < count_max && !atomic_load(stop)) {
        uint32_t wanted = count_max - removed < REMOVE_BATCH ? count_max - removed : REMOVE_BATCH;
        status = store_list(s, copies, shard, &cursor, batch, wanted, &found);
        for (uint32_t i = 0; status == 0 && i < found && !atomic_load(stop); i++) {
            int error = delete_chunk(s, &batch[i].id, &batch[i], true);
            removed += error == 0;
            if (error != 0 && error != -ERR_LOST_CHUNK && first_error == 0)
                first_error = error;
            status = error == -ERR_TARGET_FAILED ? error : 0;
        }
    }
    *ret_count = removed;
    return status != 0 ? status : first_error;
}
