/* One read: buffered pieces over holes over what chunkservers hold. The pieces are captured when it
 * begins, so it sees every earlier write whatever happens to them meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "common/client/file_data.h"

#include "common/base/banned.h"

struct segment {
    struct list node;   /* read->segments, in order */
    struct list waiter; /* fetch->waiters */
    struct read *read;
    uint64_t offset;
    uint32_t size;
    struct fetch *fetch; /* NULL: buf, or zeros when that is NULL too */
    struct buf *buf;
    size_t at;
};

struct read {
    struct list node;      /* fd->reads */
    struct client_file *f; /* held */
    uint64_t offset, end;
    struct list segments;
    unsigned pending; /* segments that wait, and one while it is being set up */
    int status;
    bool refreshed, refreshing, abandoned;
    uint64_t tried_version; /* f->chunks_version before the last refresh */
    client_read_fn *done;
    void *arg;
};

static void drop_segments(struct read *r)
{
    LIST_EACH(node, &r->segments)
    {
        struct segment *s = CONTAINER_OF(node, struct segment, node);
        list_remove(&s->waiter);
        list_remove(&s->node);
        if (s->fetch)
            fetch_unref(s->fetch);
        buf_unref(s->buf);
        free(s);
    }
}

static void free_read(struct read *r)
{
    struct client_file *f = r->f;
    list_remove(&r->node);
    drop_segments(r);
    free(r);
    file_drop(f);
}

/* ---- the answer ---- */

struct pieces {
    struct slice *slices;
    unsigned count, capacity;
};

static void add_slice(struct pieces *p, const uint8_t *data, size_t size)
{
    if (size == 0)
        return;
    if (p->count > 0) {
        struct slice *last = &p->slices[p->count - 1];
        if (last->data + last->size == data) {
            last->size += size;
            return;
        }
    }
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 16;
        struct slice *more = realloc(p->slices, p->capacity * sizeof *more);
        CHECK(more);
        p->slices = more;
    }
    p->slices[p->count++] = slice_of(data, size);
}

static void add_zeros(struct client_data *data, struct pieces *p, uint64_t size)
{
    while (size > 0) {
        size_t part = size < ZERO_SIZE ? (size_t)size : ZERO_SIZE;
        add_slice(p, data->zeros->data, part);
        size -= part;
    }
}

static void add_segment(struct pieces *p, const struct segment *s)
{
    struct client_data *data = s->read->f->c->data;
    if (s->fetch) {
        const struct chunk_io *io = &s->fetch->io;
        uint64_t at = s->offset - s->fetch->offset;
        uint64_t have = at < io->data_size ? io->data_size - at : 0;
        uint64_t take = have < s->size ? have : s->size;
        if (take > 0)
            add_slice(p, io->data->data + at, (size_t)take);
        add_zeros(data, p, s->size - take);
        fetch_served(s->fetch, s->size);
    } else if (s->buf) {
        add_slice(p, s->buf->data + s->at, s->size);
    } else {
        add_zeros(data, p, s->size);
    }
}

/* More pieces than an answer may have are copied together. */
static void answer(struct read *r)
{
    struct pieces p = {0};
    size_t size = (size_t)(r->end - r->offset);
    LIST_EACH(node, &r->segments)
    add_segment(&p, CONTAINER_OF(node, struct segment, node));
    if (p.count <= CLIENT_READ_PIECES_MAX) {
        r->done(r->arg, 0, p.slices, p.count, size);
    } else {
        struct buf *flat = buf_create(size);
        size_t at = 0;
        for (unsigned i = 0; i < p.count; i++) {
            memcpy(flat->data + at, p.slices[i].data, p.slices[i].size);
            at += p.slices[i].size;
        }
        struct slice whole = slice_of(flat->data, size);
        r->done(r->arg, 0, &whole, 1, size);
        buf_unref(flat);
    }
    free(p.slices);
}

static void begin(struct read *r);

static void on_refreshed(void *arg, int status)
{
    struct read *r = arg;
    r->refreshing = false;
    if (r->abandoned) {
        free_read(r);
    } else if (status != 0) {
        r->done(r->arg, status, NULL, 0, 0);
        free_read(r);
    } else {
        begin(r);
    }
}

static void finish(struct read *r)
{
    if (r->status == -ERR_LOST_CHUNK &&
        (!r->refreshed || r->f->chunks_version != r->tried_version)) {
        /* Another client may have cut the file, or its chunks have moved to another table, perhaps
         * once more since. If not, it stays an error: never zeros. */
        r->refreshed = r->refreshing = true;
        r->tried_version = r->f->chunks_version;
        drop_segments(r);
        file_refresh(r->f, on_refreshed, r);
        return;
    }
    list_remove(&r->node);
    if (r->status == 0)
        answer(r);
    else
        r->done(r->arg, r->status, NULL, 0, 0);
    free_read(r);
}

struct segment *segment_of_waiter(struct list *node)
{
    return CONTAINER_OF(node, struct segment, waiter);
}

void read_segment_ready(struct segment *s, int status)
{
    struct read *r = s->read;
    list_remove(&s->waiter);
    if (status != 0)
        r->status = status;
    if (--r->pending == 0)
        finish(r);
}

/* ---- the request ---- */

static struct segment *segment_new(struct read *r, uint64_t offset, uint64_t size)
{
    struct segment *s = calloc(1, sizeof *s);
    CHECK(s);
    s->read = r;
    s->offset = offset;
    s->size = (uint32_t)size;
    list_init(&s->waiter);
    list_append(&r->segments, &s->node);
    return s;
}

/* [offset, end) is not buffered here and lies in one window. */
static void add_stored(struct read *r, uint64_t offset, uint64_t end, uint64_t generous_end)
{
    uint32_t generation;
    if (!file_chunk(r->f, (uint32_t)(offset / CHUNK_SIZE), &generation)) {
        (void)segment_new(r, offset, end - offset);
        return;
    }
    while (offset < end) {
        struct fetch *fetch = read_ahead_fetch(r->f->data, offset, end, generous_end, generation);
        uint64_t stop = fetch->offset + fetch->size < end ? fetch->offset + fetch->size : end;
        struct segment *s = segment_new(r, offset, stop - offset);
        s->fetch = fetch;
        if (!fetch->ready) {
            list_append(&fetch->waiters, &s->waiter);
            r->pending++;
        }
        offset = stop;
    }
}

static void begin(struct read *r)
{
    struct client_file *f = r->f;
    struct file_data *fd = file_data_get(f);
    uint64_t size = file_size(f), until = 0, at = r->offset;
    if (r->end > size)
        r->end = size > r->offset ? size : r->offset;
    r->status = 0;
    r->pending = 1;
    if (r->end > r->offset)
        (void)read_ahead_note(fd, r->offset, r->end, &until);
    while (at < r->end) {
        struct stretch stretch;
        write_buf_look(fd, at, r->end, &stretch);
        uint64_t stop = at + stretch.size;
        if (stretch.is_buffered) {
            struct segment *s = segment_new(r, at, stretch.size);
            s->buf = stretch.buf ? buf_ref(stretch.buf) : NULL;
            s->at = stretch.at;
        } else {
            add_stored(r, at, stop, until);
        }
        at = stop;
    }
    if (until > r->end)
        read_ahead_run(fd, r->end, until);
    if (--r->pending == 0)
        finish(r);
}

void read_start(struct client_file *f, uint64_t offset, size_t size, client_read_fn *done,
                void *arg)
{
    struct read *r = calloc(1, sizeof *r);
    CHECK(r);
    *r = (struct read){
        .f = file_hold(f), .offset = offset, .end = offset + size, .done = done, .arg = arg};
    if (r->end < offset)
        r->end = UINT64_MAX;
    list_init(&r->segments);
    list_append(&file_data_get(f)->reads, &r->node);
    begin(r);
}

void read_abandon(struct file_data *fd, int status)
{
    while (!list_empty(&fd->reads)) {
        struct read *r = CONTAINER_OF(fd->reads.next, struct read, node);
        list_remove(&r->node);
        r->done(r->arg, status, NULL, 0, 0);
        r->abandoned = true;
        if (!r->refreshing)
            free_read(r);
    }
}
