/* Flush, fsync and commit: data acknowledged, then stable, then size and chunks committed.
 *
 * A flush goes through the stages DATA, SYNC, COMMIT. Those in DATA share it; beyond it one flush
 * at a time works and the next finds what it did done. Writes that are asked for while a flush is
 * in DATA wait, so that it ends and knows which size it commits. */
#include <stdlib.h>

#include "common/client/file_data.h"

#include "common/base/banned.h"

enum flush_stage { FLUSH_DATA, FLUSH_QUEUED, FLUSH_SYNC, FLUSH_COMMIT };

enum { SYNCS_MAX = 16 /* chunk syncs under way per file */ };

struct flush {
    struct list node; /* fd->flushes */
    struct file_data *fd;
    struct client_file *f; /* held */
    enum flush_stage stage;
    bool sync, abandoned;
    uint64_t errors_before; /* f->error_count */
    uint64_t write_count, size;
    int64_t mtime_ns;
    struct list syncs;
    unsigned sync_count;
    size_t cursor; /* over fd->chunks, in slots of `todo` */
    uint32_t *todo;
    unsigned todo_count, todo_next;
    struct client_slot *slots;
    unsigned slot_count;
    client_done_fn *done;
    void *arg;
};

struct chunk_sync {
    struct list node; /* flush->syncs */
    struct flush *flush;
    struct chunk_io io;
};

static void advance(struct file_data *fd);

static void flush_free(struct flush *flush)
{
    struct client_file *f = flush->f;
    free(flush->todo);
    free(flush->slots);
    free(flush);
    file_drop(f);
}

static void flush_end(struct flush *flush, int status)
{
    list_remove(&flush->node);
    flush->done(flush->arg, status);
    flush_free(flush);
}

/* ---- commit ---- */

static unsigned collect_made(struct flush *flush)
{
    struct file_data *fd = flush->fd;
    size_t cursor = 0;
    unsigned count = 0;
    flush->slots = calloc(fd->chunks.count + 1, sizeof *flush->slots);
    CHECK(flush->slots);
    for (struct map_entry *e; (e = map_next(&fd->chunks, &cursor)) != NULL;) {
        const struct chunk_state *state = e->value;
        if (state->made)
            flush->slots[count++] = (struct client_slot){state->index, state->generation};
    }
    return count;
}

static void finish(struct flush *flush)
{
    struct file_data *fd = flush->fd;
    struct client_file *f = file_hold(flush->f);
    bool failed = f->error_count != flush->errors_before;
    uint64_t abandons = fd->abandons;
    if (fd->write_count == flush->write_count && fd->piece_count == 0 && f->dirty)
        file_data_clean(fd);
    flush_end(flush, failed ? f->error : 0);
    if (f->data == fd && fd->abandons == abandons)
        advance(fd);
    file_drop(f);
}

static void on_map_again(void *arg, int status)
{
    (void)arg, (void)status; /* the next write finds out */
}

static void on_committed(void *arg, int status)
{
    struct flush *flush = arg;
    struct file_data *fd = flush->fd;
    if (flush->abandoned) {
        flush_free(flush);
        return;
    }
    if (status != 0)
        file_fail(flush->f, status);
    /* The chunks have moved, which only a lost session allows. What was written is lost; what will
     * be written shall go to the right place. */
    if (status == -ERR_STALE_HANDLE)
        file_refresh(flush->f, on_map_again, NULL);
    /* Given up after an error: the handles report it, and there is nothing left to try. */
    for (unsigned i = 0; i < flush->slot_count; i++) {
        struct chunk_state *state = chunk_state_get(fd, flush->slots[i].index);
        if (state->generation == flush->slots[i].generation)
            state->made = false;
    }
    fd->committed_count = flush->write_count;
    finish(flush);
}

static void commit(struct flush *flush)
{
    struct file_data *fd = flush->fd;
    flush->stage = FLUSH_COMMIT;
    flush->slot_count = collect_made(flush);
    if (flush->write_count == fd->committed_count && flush->slot_count == 0) {
        finish(flush);
        return;
    }
    /* Nothing behind a write that failed is said to be there. */
    uint64_t size = flush->size < fd->fail_floor ? flush->size : fd->fail_floor;
    file_commit(flush->f, size, flush->mtime_ns, flush->slots, flush->slot_count, on_committed,
                flush);
}

/* ---- sync ---- */

static void sync_more(struct flush *flush);

static void on_synced(struct chunk_io *io, int status)
{
    struct chunk_sync *sync = CONTAINER_OF(io, struct chunk_sync, io);
    struct flush *flush = sync->flush;
    /* A chunk that was deleted because another client cut the file has nothing to lose. */
    if (status != 0 && status != -ERR_STALE_HANDLE) {
        chunk_state_get(flush->fd, io->id.index)->unsynced = true;
        file_fail(flush->f, status);
    }
    list_remove(&sync->node);
    flush->sync_count--;
    free(sync);
    sync_more(flush);
}

static void sync_chunk(struct flush *flush, uint32_t index)
{
    struct client_file *f = flush->f;
    uint32_t generation;
    chunk_state_get(flush->fd, index)->unsynced = false;
    if (!file_chunk(f, index, &generation))
        return;
    struct chunk_sync *sync = calloc(1, sizeof *sync);
    CHECK(sync);
    sync->flush = flush;
    sync->io = (struct chunk_io){
        .c = f->c,
        .kind = CHUNK_IO_CHANGE,
        .change = CHANGE_SYNC,
        .id = {.inode = f->inode, .index = index, .generation = generation},
        .copies = f->chunks_copies,
        .done = on_synced,
    };
    list_append(&flush->syncs, &sync->node);
    flush->sync_count++;
    chunk_io_start(&sync->io);
}

static void sync_more(struct flush *flush)
{
    while (flush->todo_next < flush->todo_count && flush->sync_count < SYNCS_MAX)
        sync_chunk(flush, flush->todo[flush->todo_next++]);
#ifndef PLANT_P1
    if (flush->sync_count == 0)
        commit(flush);
#else
    if (flush->stage == FLUSH_SYNC)
        commit(flush);
#endif
}

static void sync_all(struct flush *flush)
{
    struct file_data *fd = flush->fd;
    size_t cursor = 0;
    flush->stage = FLUSH_SYNC;
    flush->todo = calloc(fd->chunks.count + 1, sizeof *flush->todo);
    CHECK(flush->todo);
    for (struct map_entry *e; (e = map_next(&fd->chunks, &cursor)) != NULL;) {
        const struct chunk_state *state = e->value;
        if (state->unsynced)
            flush->todo[flush->todo_count++] = state->index;
    }
    sync_more(flush);
}

/* ---- stages ---- */

static void advance(struct file_data *fd)
{
    if (list_empty(&fd->flushes))
        return;
    struct flush *first = CONTAINER_OF(fd->flushes.next, struct flush, node);
    if (first->stage != FLUSH_QUEUED)
        return;
    if (first->sync)
        sync_all(first);
    else
        commit(first);
}

void flush_check(struct file_data *fd)
{
    if (fd->piece_count != 0 || fd->flushes_of_data == 0)
        return;
    fd->flushes_of_data = 0;
    LIST_EACH(node, &fd->flushes)
    {
        struct flush *flush = CONTAINER_OF(node, struct flush, node);
        if (flush->stage != FLUSH_DATA)
            continue;
        flush->stage = FLUSH_QUEUED;
        flush->write_count = fd->write_count;
        flush->size = fd->f->dirty_end;
        flush->mtime_ns = fd->f->dirty ? fd->f->dirty_mtime_ns : INT64_MIN;
    }
    struct client_file *f = file_hold(fd->f);
    advance(fd);
    if (f->data)
        gate_check(f->data);
    file_drop(f);
}

void flush_start(struct file_data *fd, bool sync, client_done_fn *done, void *arg)
{
    struct client_file *f = fd->f;
    struct flush *flush = calloc(1, sizeof *flush);
    CHECK(flush);
    *flush = (struct flush){
        .fd = fd,
        .f = file_hold(f),
        .sync = sync,
        .errors_before = f->error_count,
        .done = done,
        .arg = arg,
    };
    list_init(&flush->syncs);
    list_append(&fd->flushes, &flush->node);
    fd->flushes_of_data++;
    if (fd->piece_count != 0) {
        fd->push = true;
        fd->sync_next = sync && write_buf_is_one_run(fd);
        write_send(fd);
    }
    flush_check(fd);
}

void flush_abandon(struct file_data *fd, int status)
{
    fd->flushes_of_data = 0;
    while (!list_empty(&fd->flushes)) {
        struct flush *flush = CONTAINER_OF(fd->flushes.next, struct flush, node);
        while (!list_empty(&flush->syncs)) {
            struct chunk_sync *sync = CONTAINER_OF(flush->syncs.next, struct chunk_sync, node);
            chunk_io_cancel(&sync->io);
            list_remove(&sync->node);
            free(sync);
        }
        list_remove(&flush->node);
        flush->done(flush->arg, status);
        if (flush->stage == FLUSH_COMMIT)
            flush->abandoned = true; /* freed when the commit is answered */
        else
            flush_free(flush);
    }
}
