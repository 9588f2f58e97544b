/* Truncate and fallocate: earlier writes are flushed, ranges become zeros on the chunkservers, then
 * the leader is told. The gate is closed meanwhile (D9). */
#include <stdlib.h>

#include "common/client/file_data.h"

#include "common/base/banned.h"

enum { ZEROS_MAX = 16 /* chunk operations under way */ };

struct chunk_zero {
    struct list node; /* resize->zeros */
    struct resize *resize;
    struct chunk_io io;
};

struct resize *resize_new(struct file_data *fd, enum resize_kind kind,
                          const struct client_caller *who)
{
    struct resize *r = calloc(1, sizeof *r);
    CHECK(r);
    r->fd = fd;
    r->kind = kind;
    r->who = *who;
    r->who.group_count = who->group_count > GROUPS_MAX ? GROUPS_MAX : who->group_count;
    for (unsigned i = 0; i < r->who.group_count; i++)
        r->groups[i] = who->groups[i];
    r->who.groups = r->groups;
    list_init(&r->node);
    list_init(&r->zeros);
    return r;
}

static void tell(struct resize *r, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    if (r->done)
        r->done(r->arg, status, attr, valid_ms);
    else
        r->done_plain(r->arg, status);
}

static void finish(struct resize *r, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    struct file_data *fd = r->fd;
    struct client_file *f = r->f;
    uint64_t abandons = fd->abandons;
    list_remove(&r->node);
    read_ahead_drop(fd, 0, UINT64_MAX);
    tell(r, status, attr, valid_ms);
    free(r);
    if (f->data == fd && fd->abandons == abandons)
        gate_open(fd);
    file_drop(f);
}

/* ---- the leader's part ---- */

static bool is_abandoned(struct resize *r)
{
    r->at_leader = false;
    if (!r->abandoned)
        return false;
    file_drop(r->f);
    free(r);
    return true;
}

static void on_size_set(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    struct resize *r = arg;
    if (is_abandoned(r))
        return;
    if (status == 0) {
        uint64_t cut = (attr->size + CHUNK_SIZE - 1) / CHUNK_SIZE;
        size_t cursor = 0;
        for (struct map_entry *e; (e = map_next(&r->fd->chunks, &cursor)) != NULL;) {
            struct chunk_state *state = e->value;
            if (state->index >= cut)
                state->unsynced = state->made = false;
        }
    }
    finish(r, status, attr, valid_ms);
}

static void on_committed(void *arg, int status)
{
    struct resize *r = arg;
    if (!is_abandoned(r))
        finish(r, status, NULL, 0);
}

static void tell_leader(struct resize *r)
{
    struct client_file *f = r->f;
    bool grows = r->kind == RESIZE_GROW && r->size > file_size(f);
    if (r->status != 0) {
        finish(r, r->status, NULL, 0);
    } else if (r->kind == RESIZE_TRUNCATE || grows) {
        r->at_leader = true;
        file_set_size(f, &r->who, r->size, r->by_handle, on_size_set, r);
    } else if (r->commits) {
        r->at_leader = true;
        f->writer_uid = r->who.uid;
        f->writer_gid = r->who.gid;
        file_commit(f, 0, client_wall_ns(), NULL, 0, on_committed, r);
    } else {
        finish(r, 0, NULL, 0);
    }
}

/* ---- zeros ---- */

static void zero_more(struct resize *r);

static void on_zeroed(struct chunk_io *io, int status)
{
    struct chunk_zero *zero = CONTAINER_OF(io, struct chunk_zero, io);
    struct resize *r = zero->resize;
    if (status == -ERR_LOST_CHUNK && !r->refreshed)
        r->is_map_old = true;
    else if (status != 0 && status != -ERR_STALE_HANDLE && r->status == 0)
        r->status = status;
    chunk_state_get(r->fd, io->id.index)->unsynced = true;
    list_remove(&zero->node);
    r->zero_count--;
    free(zero);
    zero_more(r);
}

static void zero_chunk(struct resize *r, uint32_t index, uint32_t generation)
{
    struct client_file *f = r->f;
    uint64_t start = (uint64_t)index * CHUNK_SIZE;
    uint64_t from = r->zero_from > start ? r->zero_from : start;
    uint64_t end = r->zero_end < start + CHUNK_SIZE ? r->zero_end : start + CHUNK_SIZE;
    struct chunk_zero *zero = calloc(1, sizeof *zero);
    CHECK(zero);
    zero->resize = r;
    zero->io = (struct chunk_io){
        .c = f->c,
        .kind = CHUNK_IO_CHANGE,
        .change = CHANGE_ZERO,
        .id = {.inode = f->inode, .index = index, .generation = generation},
        .copies = f->chunks_copies,
        .offset = (uint32_t)(from - start),
        .length = (uint32_t)(end - from),
        .done = on_zeroed,
    };
    list_append(&r->zeros, &zero->node);
    r->zero_count++;
    chunk_io_start(&zero->io);
}

/* Once more from the start, with the chunks as they are now: zeros do no harm twice. */
static void on_map_again(void *arg, int status)
{
    struct resize *r = arg;
    if (is_abandoned(r))
        return;
    if (r->status == 0)
        r->status = status;
    r->next_chunk = r->first_chunk;
    zero_more(r);
}

static void zero_more(struct resize *r)
{
    while (r->status == 0 && r->next_chunk < r->end_chunk && r->zero_count < ZEROS_MAX) {
        uint32_t generation, index = r->next_chunk++;
        if (file_chunk(r->f, index, &generation))
            zero_chunk(r, index, generation);
    }
    if (r->zero_count != 0)
        return;
    if (r->is_map_old && r->status == 0) {
        r->is_map_old = false;
        r->refreshed = r->at_leader = true;
        file_refresh(r->f, on_map_again, r);
    } else {
        tell_leader(r);
    }
}

/* What a growing file holds behind its old end is undefined: it becomes zeros first. */
static void on_flushed(void *arg, int status)
{
    struct resize *r = arg;
    (void)status; /* kept with the file */
    if (r->fd->abandons != r->abandons)
        return; /* resize_abandon comes next */
    uint64_t old = file_size(r->f);
    if (r->kind != RESIZE_ZERO && r->size > old) {
        if (r->zero_end == 0 || r->zero_from > old)
            r->zero_from = old;
#ifndef PLANT_D9
        r->zero_end = r->size;
#endif
    }
    if (r->zero_end > r->zero_from) {
        r->first_chunk = r->next_chunk = (uint32_t)(r->zero_from / CHUNK_SIZE);
        r->end_chunk = (uint32_t)((r->zero_end - 1) / CHUNK_SIZE) + 1;
    }
    zero_more(r);
}

void resize_start(struct resize *r)
{
    r->f = file_hold(r->fd->f);
    r->abandons = r->fd->abandons;
    list_append(&r->fd->resizes, &r->node);
    read_ahead_drop(r->fd, 0, UINT64_MAX);
    flush_start(r->fd, false, on_flushed, r);
}

void resize_abandon(struct file_data *fd, int status)
{
    while (!list_empty(&fd->resizes)) {
        struct resize *r = CONTAINER_OF(fd->resizes.next, struct resize, node);
        list_remove(&r->node);
        while (!list_empty(&r->zeros)) {
            struct chunk_zero *zero = CONTAINER_OF(r->zeros.next, struct chunk_zero, node);
            chunk_io_cancel(&zero->io);
            list_remove(&zero->node);
            free(zero);
        }
        tell(r, status, NULL, 0);
        r->abandoned = true; /* freed when the leader answers, or now */
        if (r->at_leader)
            continue;
        file_drop(r->f);
        free(r);
    }
}
