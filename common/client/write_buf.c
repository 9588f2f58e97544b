/* Unsent data of a file: pieces that never overlap, kept by 1 MiB windows. */
#include <stdlib.h>
#include <string.h>

#include "common/client/file_data.h"

#include "common/base/banned.h"

static struct piece *piece_new(struct file_data *fd, uint64_t offset, uint32_t size,
                               struct buf *take_buf, size_t at)
{
    struct piece *piece = calloc(1, sizeof *piece);
    CHECK(piece);
    *piece = (struct piece){.offset = offset, .size = size, .buf = take_buf, .at = at};
    list_init(&piece->node);
    fd->piece_count++;
    fd->f->c->data->buffered_bytes += take_buf ? size : 0;
    return piece;
}

void piece_free(struct file_data *fd, struct piece *piece)
{
    if (piece->buf)
        fd->f->c->data->buffered_bytes -= piece->size;
    fd->piece_count--;
    list_remove(&piece->node);
    buf_unref(piece->buf);
    free(piece);
}

static void piece_cut_size(struct file_data *fd, struct piece *piece, uint32_t size)
{
    if (piece->buf)
        fd->f->c->data->buffered_bytes -= piece->size - size;
    piece->size = size;
    piece->room = 0;
}

static struct window *window_get(struct file_data *fd, uint64_t index)
{
    struct window *w = map_get(&fd->windows, index);
    if (w)
        return w;
    w = calloc(1, sizeof *w);
    CHECK(w);
    w->fd = fd;
    w->index = index;
    list_init(&w->pieces);
    list_init(&w->requests);
    list_init(&w->node);
    list_init(&w->full_node);
    map_put(&fd->windows, index, w);
    return w;
}

void window_tidy(struct window *w)
{
    struct file_data *fd = w->fd;
    if (list_empty(&w->pieces))
        list_remove(&w->node);
    if (!write_buf_is_full(w))
        list_remove(&w->full_node);
    if (list_empty(&fd->windows_unsent))
        list_remove(&fd->dirty_node);
    if (!list_empty(&w->pieces) || !list_empty(&w->requests))
        return;
    map_remove(&fd->windows, w->index);
    free(w);
}

/* Takes [from, end) out of the unsent pieces. Returns the node before which new data belongs. */
static struct list *cut(struct window *w, uint64_t from, uint64_t end)
{
    struct file_data *fd = w->fd;
    /* From the back: a stream appends. */
    struct list *node = w->pieces.previous, *place = &w->pieces;
    while (node != &w->pieces) {
        struct piece *p = CONTAINER_OF(node, struct piece, node);
        struct list *previous = node->previous;
        uint64_t p_end = p->offset + p->size;
        if (p_end <= from)
            break;
        if (p->offset >= end) {
            place = node;
        } else if (p->offset < from) {
            if (p_end > end) {
                struct piece *tail =
                    piece_new(fd, end, (uint32_t)(p_end - end), p->buf ? buf_ref(p->buf) : NULL,
                              p->at + (size_t)(end - p->offset));
                list_insert_before(node->next, &tail->node);
                place = &tail->node;
            }
            piece_cut_size(fd, p, (uint32_t)(from - p->offset));
            break;
        } else if (p_end > end) {
            uint32_t cut_size = (uint32_t)(end - p->offset);
            uint32_t room = p->room;
            piece_cut_size(fd, p, p->size - cut_size);
            p->room = room;
            p->offset += cut_size;
            p->at += cut_size;
            place = node;
        } else {
            piece_free(fd, p);
        }
        node = previous;
    }
    return place;
}

/* Small data goes into a buffer of ours: it would pin a whole receive buffer, or cost a slice. */
static bool is_small(const struct buf *buf, uint32_t size)
{
    return size < GATHER_SIZE / 8 || (size < GATHER_SIZE && buf->capacity / 4 > size);
}

static bool append_copy(struct file_data *fd, struct piece *last, uint64_t offset,
                        const struct buf *buf, size_t at, uint32_t size)
{
    if (!last || last->offset + last->size != offset || last->room < size)
        return false;
    memcpy(last->buf->data + last->at + last->size, buf->data + at, size);
    last->size += size;
    last->room -= size;
    fd->f->c->data->buffered_bytes += size;
    return true;
}

static struct piece *copy_small(struct file_data *fd, bool continues, uint64_t offset,
                                const struct buf *buf, size_t at, uint32_t size)
{
    size_t capacity = continues ? GATHER_SIZE : (size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    struct buf *own = buf_create(capacity);
    memcpy(own->data, buf->data + at, size);
    struct piece *piece = piece_new(fd, offset, size, own, 0);
    piece->room = (uint32_t)(capacity - size);
    return piece;
}

static void put_in_window(struct file_data *fd, uint64_t offset, struct buf *buf, size_t at,
                          uint32_t size)
{
    struct window *w = window_get(fd, offset / WINDOW_SIZE);
    struct list *place = cut(w, offset, offset + size);
    struct piece *before = NULL, *piece;
    if (place->previous != &w->pieces)
        before = CONTAINER_OF(place->previous, struct piece, node);
    bool small = buf && is_small(buf, size);
    if (!small || !append_copy(fd, before, offset, buf, at, size)) {
        bool continues = before && before->buf && before->offset + before->size == offset;
        if (small)
            piece = copy_small(fd, continues, offset, buf, at, size);
        else
            piece = piece_new(fd, offset, size, buf ? buf_ref(buf) : NULL, at);
        list_insert_before(place, &piece->node);
    }
    if (list_empty(&w->node))
        list_append(&fd->windows_unsent, &w->node);
    if (list_empty(&w->full_node) && write_buf_is_full(w))
        list_append(&fd->windows_full, &w->full_node);
    if (list_empty(&fd->dirty_node))
        list_append(&fd->f->c->data->dirty_files, &fd->dirty_node);
}

void write_buf_put(struct file_data *fd, uint64_t offset, struct buf *buf, size_t at, uint64_t size)
{
    while (size > 0) {
        uint64_t room = WINDOW_SIZE - offset % WINDOW_SIZE;
        uint32_t part = (uint32_t)(size < room ? size : room);
        put_in_window(fd, offset, buf, at, part);
        offset += part;
        at += part;
        size -= part;
    }
}

/* ---- looking ---- */

/* The piece that covers `offset`; else *ret_next = where the next one begins, if that is nearer. */
static const struct piece *find_in(const struct list *pieces, uint64_t offset, uint64_t *ret_next)
{
    LIST_EACH(node, pieces)
    {
        const struct piece *p = CONTAINER_OF(node, struct piece, node);
        if (p->offset + p->size <= offset)
            continue;
        if (p->offset <= offset)
            return p;
        if (p->offset < *ret_next)
            *ret_next = p->offset;
        break;
    }
    return NULL;
}

void write_buf_look(struct file_data *fd, uint64_t offset, uint64_t end, struct stretch *ret)
{
    uint64_t window_end = (offset / WINDOW_SIZE + 1) * WINDOW_SIZE;
    uint64_t next = end < window_end ? end : window_end;
    const struct window *w = map_get(&fd->windows, offset / WINDOW_SIZE);
    const struct piece *p = NULL;
    *ret = (struct stretch){0};
    if (w) {
        p = find_in(&w->pieces, offset, &next);
        if (!p) {
            LIST_EACH(node, &w->requests)
            {
                const struct write_request *r = CONTAINER_OF(node, struct write_request, node);
                if ((p = find_in(&r->pieces, offset, &next)) != NULL)
                    break;
            }
        }
    }
    if (p) {
        ret->is_buffered = true;
        ret->buf = p->buf;
        ret->at = p->at + (size_t)(offset - p->offset);
        if (p->offset + p->size < next)
            next = p->offset + p->size;
    }
    ret->size = next - offset;
}

/* ---- taking out ---- */

static bool touches_request(const struct window *w, uint64_t from, uint64_t end)
{
    uint32_t first = (uint32_t)(from % CHUNK_SIZE / BLOCK_SIZE);
    uint32_t last = (uint32_t)((end - 1) % CHUNK_SIZE / BLOCK_SIZE);
    LIST_EACH(node, &w->requests)
    {
        const struct write_request *r = CONTAINER_OF(node, struct write_request, node);
#ifndef PLANT_D30
        if (first <= r->last_block && r->first_block <= last)
            return true;
#else
        (void)first, (void)last, (void)r;
#endif
    }
    return false;
}

/* The run that begins with `first`: its last piece. */
static struct piece *run_end(const struct window *w, struct piece *first)
{
    struct piece *last = first;
    unsigned count = 1;
    while (first->buf && count < NET_SLICES_MAX && last->node.next != &w->pieces) {
        struct piece *next = CONTAINER_OF(last->node.next, struct piece, node);
        if (!next->buf || next->offset != last->offset + last->size)
            break;
        last = next;
        count++;
    }
    return last;
}

bool write_buf_is_full(const struct window *w)
{
    if (list_empty(&w->pieces))
        return false;
    const struct piece *last = CONTAINER_OF(w->pieces.previous, struct piece, node);
    return last->offset + last->size == (w->index + 1) * WINDOW_SIZE;
}

/* Where the contiguous data that reaches the window's end begins. */
static struct list *full_run(const struct window *w)
{
    struct list *node = w->pieces.previous;
    const struct piece *first = CONTAINER_OF(node, struct piece, node);
    while (first->buf && node->previous != &w->pieces) {
        const struct piece *before = CONTAINER_OF(node->previous, struct piece, node);
        if (!before->buf || before->offset + before->size != first->offset)
            break;
        node = node->previous;
        first = before;
    }
    return node;
}

static void take(struct piece *first, struct piece *last, struct list *pieces)
{
    for (struct list *n = &first->node, *stop = last->node.next; n != stop;) {
        struct list *next = n->next;
        list_remove(n);
        list_append(pieces, n);
        n = next;
    }
}

bool write_buf_take_run(struct window *w, bool push, struct list *ret_pieces)
{
    list_init(ret_pieces);
    if (!push && !write_buf_is_full(w))
        return false; /* without a look at the pieces: there may be hundreds that wait */
    for (struct list *node = push ? w->pieces.next : full_run(w); node != &w->pieces;) {
        struct piece *first = CONTAINER_OF(node, struct piece, node);
        struct piece *last = run_end(w, first);
        if (!touches_request(w, first->offset, last->offset + last->size)) {
            take(first, last, ret_pieces);
            return true;
        }
        node = last->node.next;
    }
    return false;
}

bool write_buf_is_one_run(struct file_data *fd)
{
    if (fd->request_count != 0 || fd->windows.count != 1)
        return false;
    const struct window *w = CONTAINER_OF(fd->windows_unsent.next, struct window, node);
    struct piece *first = CONTAINER_OF(w->pieces.next, struct piece, node);
    return first->buf && run_end(w, first)->node.next == &w->pieces;
}

void write_buf_drop_all(struct file_data *fd)
{
    LIST_EACH(node, &fd->windows_unsent)
    {
        struct window *w = CONTAINER_OF(node, struct window, node);
        LIST_EACH(piece_node, &w->pieces)
        piece_free(fd, CONTAINER_OF(piece_node, struct piece, node));
        window_tidy(w);
    }
}
