/* Fetches from chunkservers: what reads need now, and what a sequential reader will need. */
#include <stdlib.h>

#include "common/client/file_data.h"

#include "common/base/banned.h"

enum {
    FETCHES_MAX = 64,        /* cached per file */
    AHEAD_FIRST = 128 << 10, /* a stream is trusted with as much as it has read ... */
    AHEAD_MAX = 8 << 20,     /* ... between these */
    STREAM_SLACK = 4 << 20,  /* the kernel's read-ahead sends parts of this much at once, in any
                                order (read_ahead_kb) */
    STREAM_READ = 64 << 10,  /* reads this large get the slack; smaller ones must follow exactly */
    START_READ = 128 << 10,  /* a first read of the first bytes this large is a stream */
};

/* ---- life of a fetch ---- */

static void fetch_free(struct fetch *fetch)
{
    CHECK(fetch->readers == 0 && !fetch->cached);
    chunk_io_cancel(&fetch->io);
    list_remove(&fetch->node);
    buf_unref(fetch->io.data);
    free(fetch);
}

void fetch_unref(struct fetch *fetch)
{
    if (--fetch->readers == 0 && !fetch->cached)
        fetch_free(fetch);
}

static void uncache(struct fetch *fetch)
{
    struct client_data *data = fetch->fd->f->c->data;
    if (!fetch->cached)
        return;
    fetch->cached = false;
    list_remove(&fetch->lru_node);
    data->fetched_bytes -= fetch->size;
    fetch->fd->fetch_count--;
    if (fetch->readers == 0)
        fetch_free(fetch);
}

/* Room for a fetch of `size` bytes among what is kept. */
static bool make_room(struct file_data *fd, uint32_t size)
{
    struct client *c = fd->f->c;
    struct client_data *data = c->data;
    LIST_EACH(node, &data->fetched)
    {
        if (data->fetched_bytes + size <= c->read_ahead_bytes)
            break;
        struct fetch *oldest = CONTAINER_OF(node, struct fetch, lru_node);
        if (oldest->ready && oldest->readers == 0)
            uncache(oldest);
    }
    return data->fetched_bytes + size <= c->read_ahead_bytes && fd->fetch_count < FETCHES_MAX;
}

void fetch_served(struct fetch *fetch, uint32_t size)
{
    uint64_t file_end = file_size(fetch->fd->f);
    uint64_t useful = file_end > fetch->offset ? file_end - fetch->offset : 0;
    fetch->served += size;
    if (fetch->served >= (useful < fetch->size ? useful : fetch->size))
        uncache(fetch);
}

static void on_fetched(struct chunk_io *io, int status)
{
    struct fetch *fetch = CONTAINER_OF(io, struct fetch, io);
    struct client_file *f = file_hold(fetch->fd->f);
    fetch->ready = true;
    fetch->readers++;
    if (status != 0)
        uncache(fetch);
    while (!list_empty(&fetch->waiters)) {
        struct list *node = fetch->waiters.next;
        list_remove(node);
        read_segment_ready(segment_of_waiter(node), status);
    }
    fetch_unref(fetch);
    file_drop(f);
}

/* ---- finding and starting ---- */

static struct fetch *find(struct file_data *fd, uint64_t offset, uint32_t generation,
                          uint64_t *ret_next)
{
    LIST_EACH(node, &fd->fetches)
    {
        struct fetch *fetch = CONTAINER_OF(node, struct fetch, node);
        if (!fetch->cached || fetch->io.id.generation != generation)
            continue;
        if (fetch->offset <= offset && offset < fetch->offset + fetch->size)
            return fetch;
        if (fetch->offset > offset && fetch->offset < *ret_next)
            *ret_next = fetch->offset;
    }
    return NULL;
}

static struct fetch *start(struct file_data *fd, uint64_t offset, uint64_t stop, bool keep,
                           uint32_t generation)
{
    struct client_file *f = fd->f;
    struct fetch *fetch = calloc(1, sizeof *fetch);
    CHECK(fetch);
    fetch->fd = fd;
    fetch->offset = offset;
    fetch->size = (uint32_t)(stop - offset);
    list_init(&fetch->waiters);
    list_init(&fetch->lru_node);
    list_append(&fd->fetches, &fetch->node);
    if (keep && make_room(fd, fetch->size)) {
        fetch->cached = true;
        list_append(&f->c->data->fetched, &fetch->lru_node);
        f->c->data->fetched_bytes += fetch->size;
        fd->fetch_count++;
    }
    fetch->io = (struct chunk_io){
        .c = f->c,
        .kind = CHUNK_IO_READ,
        .id = {.inode = f->inode,
               .index = (uint32_t)(offset / CHUNK_SIZE),
               .generation = generation},
        .copies = f->chunks_copies,
        .offset = (uint32_t)(offset % CHUNK_SIZE),
        .length = fetch->size,
        .done = on_fetched,
    };
    chunk_io_start(&fetch->io);
    return fetch;
}

static uint64_t block_up(uint64_t at)
{
    return (at + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

static uint64_t window_end(uint64_t at)
{
    return (at / WINDOW_SIZE + 1) * WINDOW_SIZE;
}

struct fetch *read_ahead_fetch(struct file_data *fd, uint64_t offset, uint64_t end,
                               uint64_t generous_end, uint32_t generation)
{
    uint64_t stop = window_end(offset);
    struct fetch *fetch = find(fd, offset, generation, &stop);
    if (!fetch) {
        bool keep = generous_end > end;
        uint64_t from = offset / BLOCK_SIZE * BLOCK_SIZE;
        uint64_t wanted = block_up(keep ? generous_end : end);
        fetch = start(fd, from, wanted < stop ? wanted : stop, keep, generation);
    }
    fetch->readers++;
    return fetch;
}

void read_ahead_run(struct file_data *fd, uint64_t from, uint64_t until)
{
    struct client *c = fd->f->c;
    uint64_t at = block_up(from), size = block_up(file_size(fd->f));
    uint64_t end = block_up(until) < size ? block_up(until) : size;
    bool is_long = until - from >= WINDOW_SIZE;
    while (at < end && fd->fetch_count < FETCHES_MAX) {
        uint32_t generation, index = (uint32_t)(at / CHUNK_SIZE);
        if (!file_chunk(fd->f, index, &generation)) {
            at = ((uint64_t)index + 1) * CHUNK_SIZE;
            continue;
        }
        uint64_t stop = window_end(at);
        const struct fetch *fetch = find(fd, at, generation, &stop);
        if (fetch) {
            at = fetch->offset + fetch->size;
            continue;
        }
        if (stop > end) {
            /* Few large requests rather than many small ones: the rest comes with a later read. */
            if (is_long && end != size)
                break;
            stop = end;
        }
        if (!make_room(fd, (uint32_t)(stop - at)) || c->closing)
            break;
        (void)start(fd, at, stop, true, generation);
        at = stop;
    }
}

bool read_ahead_note(struct file_data *fd, uint64_t offset, uint64_t end, uint64_t *ret_until)
{
    uint64_t size = end - offset, slack = size >= STREAM_READ ? STREAM_SLACK : 0;
    uint64_t next = fd->stream_next, file_end = file_size(fd->f);
    bool follows = slack == 0 ? offset == next && next != 0
                              : offset <= next + slack && end + slack >= next && next != 0;
    if (follows || (offset == 0 && size >= START_READ)) {
        fd->stream_bytes += size;
        fd->stream_next = end > next || !follows ? end : next;
    } else {
        fd->stream_bytes = 0;
        fd->stream_next = end;
        return false;
    }
    uint64_t ahead = fd->stream_bytes < AHEAD_FIRST ? AHEAD_FIRST
                     : fd->stream_bytes > AHEAD_MAX ? AHEAD_MAX
                                                    : fd->stream_bytes;
    uint64_t until = fd->stream_next + ahead;
    *ret_until = until < file_end ? until : file_end;
    return true;
}

/* ---- dropping ---- */

void read_ahead_drop(struct file_data *fd, uint64_t offset, uint64_t end)
{
    if (fd->fetch_count == 0)
        return;
    LIST_EACH(node, &fd->fetches)
    {
        struct fetch *fetch = CONTAINER_OF(node, struct fetch, node);
        if (fetch->cached && fetch->offset < end && offset < fetch->offset + fetch->size)
            uncache(fetch);
    }
}

void read_ahead_abandon(struct file_data *fd)
{
    read_ahead_drop(fd, 0, UINT64_MAX);
    fd->stream_next = fd->stream_bytes = 0;
    CHECK(list_empty(&fd->fetches));
}
