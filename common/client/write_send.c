/* Sends buffered data: pieces become requests, within the limits in flight. */
#include <stdlib.h>

#include "common/client/file_data.h"

#include "common/base/banned.h"

struct chunk_state *chunk_state_get(struct file_data *fd, uint32_t index)
{
    struct chunk_state *state = map_get(&fd->chunks, index);
    if (state)
        return state;
    state = calloc(1, sizeof *state);
    CHECK(state);
    state->index = index;
    map_put(&fd->chunks, index, state);
    return state;
}

/* ---- the budget ---- */

struct room_waiter {
    struct list node;
    struct file_data *fd;
    client_done_fn *done;
    void *arg;
};

static bool is_full(const struct client_data *data)
{
    return data->buffered_bytes > data->c->write_buffer_bytes;
}

static void give_room(struct client_data *data)
{
    while (!is_full(data) && !list_empty(&data->room_waiters)) {
        struct room_waiter *waiter =
            CONTAINER_OF(data->room_waiters.next, struct room_waiter, node);
        list_remove(&waiter->node);
        waiter->done(waiter->arg, 0);
        free(waiter);
    }
}

void write_room_wait(struct client_data *data, client_done_fn *done, void *arg,
                     struct file_data *fd)
{
    if (!is_full(data)) {
        done(arg, 0);
        return;
    }
    struct room_waiter *waiter = calloc(1, sizeof *waiter);
    CHECK(waiter);
    *waiter = (struct room_waiter){.fd = fd, .done = done, .arg = arg};
    list_append(&data->room_waiters, &waiter->node);
    LIST_EACH(node, &data->dirty_files)
    {
        struct file_data *dirty = CONTAINER_OF(node, struct file_data, dirty_node);
        dirty->push = true;
        write_send(dirty);
    }
}

void write_send_others(struct client_data *data)
{
    give_room(data);
    struct list round;
    list_init(&round);
    while (!list_empty(&data->senders)) {
        struct list *node = data->senders.next;
        list_remove(node);
        list_append(&round, node);
    }
    while (!list_empty(&round)) {
        struct list *node = round.next;
        list_remove(node);
        write_send(CONTAINER_OF(node, struct file_data, sender_node));
    }
}

/* ---- the end of a request ---- */

static void on_written(struct chunk_io *io, int status);

static void free_request(struct write_request *r)
{
    struct window *w = r->window;
    struct file_data *fd = w->fd;
    LIST_EACH(node, &r->pieces)
    piece_free(fd, CONTAINER_OF(node, struct piece, node));
    list_remove(&r->node);
    fd->request_count--;
    window_tidy(w);
    free(r);
}

static void account(struct write_request *r, bool begins)
{
    struct file_data *fd = r->window->fd;
    struct client_data *data = fd->f->c->data;
    uint64_t bytes = r->io.kind == CHUNK_IO_WRITE ? r->io.length : 0;
    struct chunk_state *state = chunk_state_get(fd, r->io.id.index);
    if (begins) {
        fd->flying_bytes += bytes;
        data->flying_bytes += bytes;
        state->creating += (r->io.flags & CHUNK_WRITE_CREATE) != 0;
    } else {
        fd->flying_bytes -= bytes;
        data->flying_bytes -= bytes;
        state->creating -= (r->io.flags & CHUNK_WRITE_CREATE) != 0;
    }
}

static void written(struct write_request *r)
{
    struct file_data *fd = r->window->fd;
    struct chunk_state *state = chunk_state_get(fd, r->io.id.index);
    uint32_t generation;
    if ((r->io.flags & CHUNK_WRITE_SYNC) == 0)
        state->unsynced = true;
    if ((r->io.flags & CHUNK_WRITE_CREATE) == 0 || file_chunk(fd->f, r->io.id.index, &generation))
        return;
    file_chunk_made(fd->f, r->io.id.index, r->io.id.generation);
    state->made = true;
    state->generation = r->io.id.generation;
}

static uint64_t file_offset(const struct write_request *r)
{
    return (uint64_t)r->io.id.index * CHUNK_SIZE + r->io.offset;
}

static void request_end(struct write_request *r, int status)
{
    struct file_data *fd = r->window->fd;
    struct client_file *f = file_hold(fd->f);
    struct client_data *data = f->c->data;
    uint64_t offset = file_offset(r);
    if (status == 0) {
        written(r);
    } else {
        file_fail(f, status);
        if (offset < fd->fail_floor)
            fd->fail_floor = offset;
    }
    read_ahead_drop(fd, offset, offset + r->io.length);
    free_request(r);
    write_send(fd);
    flush_check(fd);
    file_drop(f);
    write_send_others(data);
}

/* ---- a chunk that is gone: has another client cut the file? ---- */

static void start_request(struct write_request *r);

static void on_refreshed(void *arg, int status)
{
    struct write_request *r = arg;
    if (r->abandoned) {
        free(r);
        return;
    }
    struct client_file *f = r->window->fd->f;
    uint32_t generation = 0;
    uint32_t old = r->io.id.generation;
    bool exists = status == 0 && file_chunk(f, r->io.id.index, &generation);
    if (status == 0 && exists && generation == old)
        status = -ERR_LOST_CHUNK;
    if (status == 0 && !exists && f->attr.chunk_generation == old)
        status = -ERR_LOST_CHUNK;
    if (status == 0)
        start_request(r);
    else
        request_end(r, status);
}

static void on_written(struct chunk_io *io, int status)
{
    struct write_request *r = CONTAINER_OF(io, struct write_request, io);
    account(r, false);
    bool is_gone = status == -ERR_LOST_CHUNK || status == -ERR_STALE_HANDLE;
    if (!is_gone || r->refreshed) {
        request_end(r, status);
        return;
    }
    r->refreshed = true;
    struct chunk_state *state = chunk_state_get(r->window->fd, io->id.index);
    state->made = false;
    file_refresh(r->window->fd->f, on_refreshed, r);
}

/* ---- a new request ---- */

static void fill_slices(struct write_request *r)
{
    r->io.slice_count = 0;
    LIST_EACH(node, &r->pieces)
    {
        const struct piece *p = CONTAINER_OF(node, struct piece, node);
        r->io.slices[r->io.slice_count++] = (struct net_slice){
            .buf = p->buf,
            .offset = (uint32_t)p->at,
            .size = p->size,
        };
    }
}

/* A chunk the metadata does not know comes into being with its first write. Zeros in a chunk that
 * does not exist need nothing. */
static void start_request(struct write_request *r)
{
    struct file_data *fd = r->window->fd;
    struct client_file *f = fd->f;
    const struct piece *first = CONTAINER_OF(r->pieces.next, struct piece, node);
    const struct piece *last = CONTAINER_OF(r->pieces.previous, struct piece, node);
    uint32_t index = (uint32_t)(first->offset / CHUNK_SIZE);
    struct chunk_state *state = chunk_state_get(fd, index);
    uint32_t generation, offset = (uint32_t)(first->offset % CHUNK_SIZE);
    bool exists = file_chunk(f, index, &generation);
    if (!exists)
        generation = state->creating ? state->generation : f->attr.chunk_generation;
    state->generation = generation;
    r->io = (struct chunk_io){
        .c = f->c,
        .kind = first->buf ? CHUNK_IO_WRITE : CHUNK_IO_CHANGE,
        .change = CHANGE_ZERO,
        .id = {.inode = f->inode, .index = index, .generation = generation},
        .copies = f->chunks_copies,
        .offset = offset,
        .length = (uint32_t)(last->offset + last->size - first->offset),
        .done = on_written,
    };
    r->first_block = offset / BLOCK_SIZE;
    r->last_block = (offset + r->io.length - 1) / BLOCK_SIZE;
    if (first->buf) {
        r->io.flags = exists ? 0 : CHUNK_WRITE_CREATE;
        if (fd->sync_next)
            r->io.flags |= CHUNK_WRITE_SYNC;
        fill_slices(r);
    }
    fd->sync_next = false;
    account(r, true);
    chunk_io_start(&r->io);
}

static bool needs_nothing(struct file_data *fd, const struct list *pieces)
{
    const struct piece *p = CONTAINER_OF(pieces->next, struct piece, node);
    uint32_t generation, index = (uint32_t)(p->offset / CHUNK_SIZE);
    struct chunk_state *state = map_get(&fd->chunks, index);
    return !p->buf && !file_chunk(fd->f, index, &generation) && (!state || !state->creating);
}

static bool has_room(const struct file_data *fd)
{
    return fd->flying_bytes < FILE_FLYING_MAX && fd->f->c->data->flying_bytes < ALL_FLYING_MAX;
}

static void send_window(struct window *w)
{
    struct file_data *fd = w->fd;
    struct list pieces;
    while (has_room(fd) && write_buf_take_run(w, fd->push, &pieces)) {
        if (needs_nothing(fd, &pieces)) {
            piece_free(fd, CONTAINER_OF(pieces.next, struct piece, node));
            continue;
        }
        struct write_request *r = calloc(1, sizeof *r);
        CHECK(r);
        r->window = w;
        list_init(&r->pieces);
        while (!list_empty(&pieces)) {
            struct list *node = pieces.next;
            list_remove(node);
            list_append(&r->pieces, node);
        }
        list_append(&w->requests, &r->node);
        fd->request_count++;
        start_request(r);
    }
    window_tidy(w);
}

void write_send(struct file_data *fd)
{
    struct client *c = fd->f->c;
    if (c->closing || c->session.id == 0)
        return; /* nothing leaves without a session: it is opened again, or the data abandoned */
    if (fd->push)
        LIST_EACH(node, &fd->windows_unsent)
        {
            if (!has_room(fd))
                break;
            send_window(CONTAINER_OF(node, struct window, node));
        }
    else
        LIST_EACH(node, &fd->windows_full)
        {
            if (!has_room(fd))
                break;
            send_window(CONTAINER_OF(node, struct window, full_node));
        }
    if (list_empty(&fd->windows_unsent))
        fd->push = fd->sync_next = false;
    else if (c->data->flying_bytes >= ALL_FLYING_MAX && fd->flying_bytes == 0 &&
             list_empty(&fd->sender_node))
        list_append(&c->data->senders, &fd->sender_node);
}

void write_send_abandon(struct file_data *fd, int status)
{
    struct client_data *data = fd->f->c->data;
    size_t cursor = 0;
    write_buf_drop_all(fd);
    for (struct map_entry *e; (e = map_next(&fd->windows, &cursor)) != NULL;) {
        struct window *w = e->value;
        while (!list_empty(&w->requests)) {
            struct write_request *r = CONTAINER_OF(w->requests.next, struct write_request, node);
            bool is_refreshing = r->io.state == CHUNK_IO_ENDED;
            if (!is_refreshing) {
                account(r, false);
                chunk_io_cancel(&r->io);
            }
            LIST_EACH(node, &r->pieces)
            piece_free(fd, CONTAINER_OF(node, struct piece, node));
            list_remove(&r->node);
            fd->request_count--;
            r->abandoned = true;
            if (!is_refreshing)
                free(r);
        }
        map_remove(&fd->windows, w->index);
        free(w);
    }
    list_remove(&fd->sender_node);
    list_remove(&fd->dirty_node);
    LIST_EACH(node, &data->room_waiters)
    {
        struct room_waiter *waiter = CONTAINER_OF(node, struct room_waiter, node);
        if (waiter->fd != fd)
            continue;
        list_remove(node);
        waiter->done(waiter->arg, status);
        free(waiter);
    }
}
