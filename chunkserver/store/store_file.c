/* Reading and writing chunks.
 *
 * Order within a write: intent (when due), data, CRC pages, header page. Holes are written before
 * blocks that have content: only they can meet a full disk, and then nothing has changed yet. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "chunkserver/store/store_blocks.h"
#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

enum { CRCS_INLINE = 258 }; /* a write of 1 MiB needs no memory of its own */

struct plan {
    const struct store_write *w;
    struct block_source source;
    uint32_t whole_first, whole_count;
    uint32_t *crcs; /* of all blocks first..last */
    uint32_t crcs_inline[CRCS_INLINE];
    uint8_t edge[2][BLOCK_SIZE]; /* the merged first and last block */
};

/* One block covered in part: what it held, or zeros, under the new bytes. */
static int merge_edge(struct store *s, struct chunk *c, const struct plan *p, uint32_t block,
                      uint8_t *into, struct store_fault *ret_fault)
{
    const struct store_write *w = p->w;
    uint64_t block_at = (uint64_t)block * BLOCK_SIZE, end = (uint64_t)w->offset + w->data.size;
    uint64_t from = w->offset > block_at ? w->offset : block_at;
    uint64_t to = end < block_at + BLOCK_SIZE ? end : block_at + BLOCK_SIZE;
    memset(into, 0, BLOCK_SIZE);
    if (c->state == CHUNK_PRESENT && chunk_crc(c, block) != 0) {
        int status = chunk_read_block(s, c, block, into, ret_fault);
        if (status != 0)
            return status;
    }
    memcpy(into + (from - block_at), w->data.data + (from - w->offset), to - from);
    return 0;
}

static int check_whole(struct store *s, struct plan *p, struct store_fault *ret_fault)
{
    const struct store_write *w = p->w;
    uint32_t first = p->source.first;
    uint32_t *crcs = p->crcs + (p->whole_first - first);
    const uint8_t *data = w->data.data + ((uint64_t)p->whole_first * BLOCK_SIZE - w->offset);
    if (w->crcs && (w->flags & STORE_WRITE_CRCS_CHECKED)) {
        memcpy(crcs, w->crcs, p->whole_count * sizeof *crcs);
        for (uint32_t i = 0; i < p->whole_count; i++)
            if (crcs[i] == 0)
                return -ERR_INVALID;
        return 0;
    }
    chunk_block_crcs(&w->id, p->whole_first, data, p->whole_count, crcs);
    for (uint32_t i = 0; w->crcs && i < p->whole_count; i++) {
        if (crcs[i] == w->crcs[i])
            continue;
        if (ret_fault)
            *ret_fault = (struct store_fault){.block = p->whole_first + i};
        COUNT(s, crc_errors);
        return -ERR_CORRUPT;
    }
    return 0;
}

/* Everything that can refuse the write for its data, before anything is changed. */
static int make_plan(struct store *s, struct chunk *c, struct plan *p,
                     struct store_fault *ret_fault)
{
    const struct store_write *w = p->w;
    uint64_t end = (uint64_t)w->offset + w->data.size;
    struct block_source *source = &p->source;
    source->first = w->offset / BLOCK_SIZE;
    source->last = (uint32_t)((end - 1) / BLOCK_SIZE);
    p->whole_first = (w->offset + BLOCK_SIZE - 1) / BLOCK_SIZE;
    uint32_t whole_end = (uint32_t)(end / BLOCK_SIZE);
    p->whole_count = whole_end > p->whole_first ? whole_end - p->whole_first : 0;
    uint32_t count = source->last - source->first + 1;
    p->crcs = count <= CRCS_INLINE ? p->crcs_inline : malloc(count * sizeof *p->crcs);
    CHECK(p->crcs != NULL);

    int status = 0;
    if (source->first < p->whole_first || p->whole_count == 0) {
        status = merge_edge(s, c, p, source->first, p->edge[0], ret_fault);
        p->crcs[0] = chunk_block_crc(&w->id, source->first, p->edge[0]);
        source->head = p->edge[0];
    }
    if (status == 0 && end % BLOCK_SIZE != 0 && (source->last != source->first || !source->head)) {
        status = merge_edge(s, c, p, source->last, p->edge[1], ret_fault);
        p->crcs[count - 1] = chunk_block_crc(&w->id, source->last, p->edge[1]);
        source->tail = p->edge[1];
    }
    if (status == 0 && p->whole_count > 0) {
        source->middle = w->data.data + ((uint64_t)p->whole_first * BLOCK_SIZE - w->offset);
        source->middle_first = p->whole_first;
        status = check_whole(s, p, ret_fault);
    }
    return status;
}

static int open_new(struct store *s, const char *name, int *ret_fd)
{
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(s->root, name, flags, 0600);
    if (fd < 0 && errno == ENOENT) {
        char folder[FILE_NAME_SIZE];
        memcpy(folder, name, 6);
        folder[6] = '\0';
        if (mkdirat(s->root, folder, 0700) != 0 && errno != EEXIST)
            return store_write_error(s, "mkdir of a shard", errno);
        if (fsync(s->root) != 0)
            return store_fail(s, "flush of the target's folder", errno);
        fd = openat(s->root, name, flags, 0600);
    }
    /* A file that the index does not know, whoever put it there, is not this chunk (D14). */
    if (fd < 0 && errno == EEXIST && store_quarantine(s, name) == 0)
        fd = openat(s->root, name, flags, 0600);
    if (fd < 0 && (errno == EEXIST || errno == EMFILE || errno == ENFILE))
        return errno == EEXIST ? -ERR_CORRUPT : -ERR_LIMIT;
    if (fd < 0)
        return store_write_error(s, "create of a chunk", errno);
    *ret_fd = fd;
    return 0;
}

/* From absent to an empty chunk in memory and an empty file; the header is not written yet. */
static int create_chunk(struct store *s, struct chunk *c, const struct store_write *w)
{
    struct store_entry e = {.id = w->id, .shard = w->shard, .copies = w->copies};
    char name[FILE_NAME_SIZE];
    c->header = (struct chunk_header){.id = w->id, .shard = w->shard, .copies = w->copies};
    int status = store_take_space(s, 2 * (uint64_t)HEADER_SIZE);
    if (status == 0)
        status = intent_cover(s, c, false);
    if (status != 0)
        return status;
    store_file_name(&e, name);
    status = open_new(s, name, &c->fd);
    if (status != 0)
        return status;
    memset(c->page, 0, sizeof c->page);
    header_seal(&c->id, c->page, NULL, 0, HEADER_CRC_COUNT - 1);
    c->state = CHUNK_PRESENT;
    lock_mutex(&s->cache.lock);
    c->created_count = c->write_count + 1;
    unlock_mutex(&s->cache.lock);
    return 0;
}

static void undo_create(struct store *s, struct chunk *c)
{
    struct store_entry e = {.id = c->id, .shard = c->header.shard, .copies = c->header.copies};
    char name[FILE_NAME_SIZE];
    store_file_name(&e, name);
    (void)unlinkat(s->root, name, 0);
    chunk_forget_file(c);
    c->state = CHUNK_ABSENT;
}

/* The write in one system call: header page and data lie next to each other. The header may then
 * reach the file before the data; the intent log covers that like any torn write. */
static int write_joined(struct store *s, struct chunk *c, const struct plan *p)
{
    struct iovec parts[4] = {{c->page, HEADER_SIZE}};
    int count = 1 + source_parts(&p->source, p->source.first, p->source.last, parts + 1);
    int error = io_writev(c->fd, parts, count, 0);
    return error == 0 ? 0 : store_write_error(s, "write of a chunk", error);
}

static void take_plan(struct chunk *c, const struct plan *p)
{
    const struct store_write *w = p->w;
    uint32_t end = w->offset + (uint32_t)w->data.size;
    if (w->data.size > 0)
        chunk_set_crcs(c, p->source.first, p->source.last - p->source.first + 1, p->crcs);
    if (w->data.size > 0 && end > c->header.length)
        c->header.length = end;
    c->header.version = w->version;
}

static int write_plan(struct store *s, struct chunk *c, const struct plan *p, bool fresh)
{
    const struct block_source *source = &p->source;
    struct block_range range = {source->first, source->last};
    uint32_t holes = 0;
    int status = 0;
    if (p->w->data.size == 0) {
        take_plan(c, p);
        return chunk_write_header(s, c, (struct block_range){0, 0});
    }
    for (uint32_t block = range.first; block <= range.last; block++)
        holes += chunk_crc(c, block) == 0;
    if (holes > 0)
        status = store_take_space(s, (uint64_t)holes * BLOCK_SIZE);
    if (status == 0 && !fresh)
        status = intent_cover(s, c, true);
    if (status == 0)
        status = chunk_want_tail(s, c, range);
    if (status != 0)
        return status;
    if (range.first == 0 && range.last < HEADER_CRC_COUNT && (fresh || holes == 0)) {
        take_plan(c, p);
        c->header.generation = c->intent_generation;
        header_pack(&c->header, c->page);
        status = write_joined(s, c, p);
        /* A full disk cannot be: every block has its place. If it is, memory and disk differ. */
        return status != 0 && !fresh ? store_fail(s, "overwrite of a chunk", ENOSPC) : status;
    }
    status = source_write(s, c, source);
    if (status != 0)
        return status;
    take_plan(c, p);
    return chunk_write_header(s, c, range);
}

/* A chunk is in one shard for ever: what lies in another one's folder is not it (D14). */
static int put_away_stray(struct store *s, struct chunk *c, const struct store_write *w)
{
    struct store_entry e = {.id = c->id, .shard = c->header.shard, .copies = c->header.copies};
    char name[FILE_NAME_SIZE];
    if (c->state == CHUNK_ABSENT || !(w->flags & STORE_WRITE_CREATE) ||
        (e.shard == w->shard && e.copies == w->copies))
        return 0;
    int status = intent_cover(s, c, false);
    store_file_name(&e, name);
    if (status == 0)
        status = store_quarantine(s, name);
    if (status == 0) {
        chunk_forget_file(c);
        c->state = CHUNK_ABSENT;
        c->intent_generation = 0; /* the next one names the right place */
    }
    return status;
}

static int write_locked(struct store *s, struct chunk *c, const struct store_write *w,
                        struct store_fault *ret_fault, bool *ret_changed)
{
    struct plan p = {.w = w};
    int status = put_away_stray(s, c, w);
    if (status != 0)
        return status;
    bool fresh = c->state == CHUNK_ABSENT && (w->flags & STORE_WRITE_CREATE);
    status = fresh ? 0 : chunk_usable(c, ret_fault);
    if (status == 0 && w->data.size > 0)
        status = make_plan(s, c, &p, ret_fault);
    if (status == 0 && fresh)
        status = create_chunk(s, c, w);
    if (status == 0) {
        *ret_changed = true;
        if (w->data.size == 0 && !fresh)
            status = intent_cover(s, c, true);
        if (status == 0)
            status = write_plan(s, c, &p, fresh);
        if (status != 0 && fresh)
            undo_create(s, c);
    }
    if (p.crcs != p.crcs_inline)
        free(p.crcs);
    return status;
}

int store_write(struct store *s, const struct store_write *w, struct store_fault *ret_fault)
{
    struct chunk *c;
    bool changed = false;
    CHECK_OBJ(s, STORE_MAGIC);
    if (w->offset > CHUNK_SIZE || w->data.size > CHUNK_SIZE - w->offset || w->copies == 0 ||
        w->copies > STORE_COPIES_MAX || w->shard > STORE_SHARD_MAX)
        return -ERR_INVALID;
    int status = store_intent_room(s);
    if (status == 0)
        status = chunk_acquire(s, &w->id, CHUNK_WRITE, &c);
    if (status != 0)
        return status;
    status = write_locked(s, c, w, ret_fault, &changed);
    if (changed)
        chunk_publish(s, c, true);
    chunk_unlock(c);
    if (status == 0 && (w->flags & STORE_WRITE_SYNC))
        status = chunk_flush(s, c);
    chunk_unref(s, c);
    if (status == 0)
        COUNT(s, writes);
    return status;
}
