/* The data of one file: its life, the order of its operations, writes. */
#include "common/client/file_data.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/banned.h"

/* ---- of the client ---- */

void client_data_create(struct client *c)
{
    struct client_data *data = calloc(1, sizeof *data);
    CHECK(data);
    data->c = c;
    data->next_op = prng_next(&c->prng) >> 16; /* a session that is taken over starts elsewhere */
    list_init(&data->senders);
    list_init(&data->dirty_files);
    list_init(&data->room_waiters);
    list_init(&data->fetched);
    list_init(&data->unsynced_order);
    map_init(&data->unsynced, prng_next(&c->prng));
    chunk_peers_init(&data->peers, c);
    data->zeros = buf_create(ZERO_SIZE);
    memset(data->zeros->data, 0, ZERO_SIZE);
    c->data = data;
}

void client_data_destroy(struct client *c)
{
    struct client_data *data = c->data;
    size_t count = 0, cursor = 0;
    struct client_file **files = calloc(c->files.count + 1, sizeof(struct client_file *));
    CHECK(files);
    /* Reads that are still under way hold their files. */
    for (struct map_entry *e; (e = map_next(&c->files, &cursor)) != NULL;)
        files[count++] = file_hold(e->value);
    for (size_t i = 0; i < count; i++) {
        file_data_abandon(files[i], -ERR_CANCELLED);
        file_drop(files[i]);
    }
    free(files);
    chunk_peers_release(&data->peers);
    CHECK(data->buffered_bytes == 0 && data->flying_bytes == 0 && data->fetched_bytes == 0);
    unsynced_release(data);
    buf_unref(data->zeros);
    free(data);
    c->data = NULL;
}

/* ---- of a file ---- */

static void no_callback(void *arg, int status)
{
    (void)arg, (void)status; /* kept with file_fail */
}

static void on_idle(void *arg)
{
    struct file_data *fd = arg;
    struct client_file *f = file_hold(fd->f);
    struct client *c = f->c;
    uint64_t now_ms = loop_now_ms();
    bool no_session = c->session.id == 0;
    if (!no_session)
        fd->stalled_ms = 0;
    else if (fd->stalled_ms == 0)
        fd->stalled_ms = now_ms;
    if (no_session && now_ms - fd->stalled_ms >= c->deadline_ms) {
        file_fail(f, -ERR_TIMEOUT);
        file_data_abandon(f, -ERR_TIMEOUT);
    } else {
        fd->push = true;
        write_send(fd);
        flush_check(fd);
        if (f->data && !list_empty(&fd->windows_unsent))
            loop_timer_start_ms(&fd->idle_timer, IDLE_SEND_MS);
    }
    file_drop(f);
}

static void on_commit_time(void *arg)
{
    struct file_data *fd = arg;
    loop_timer_start_ms(&fd->commit_timer, COMMIT_MS);
    if (!fd->gate_closed && list_empty(&fd->flushes))
        flush_start(fd, false, no_callback, NULL);
}

struct file_data *file_data_get(struct client_file *f)
{
    if (f->data)
        return f->data;
    struct file_data *fd = calloc(1, sizeof *fd);
    CHECK(fd);
    fd->f = f;
    fd->fail_floor = UINT64_MAX;
    map_init(&fd->windows, prng_next(&f->c->prng));
    map_init(&fd->chunks, prng_next(&f->c->prng));
    struct list *lists[] = {&fd->windows_unsent, &fd->windows_full, &fd->sender_node,
                            &fd->dirty_node,     &fd->flushes,      &fd->waiting,
                            &fd->resizes,        &fd->reads,        &fd->fetches};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    loop_timer_init(&fd->idle_timer, f->c->loop, on_idle, fd);
    loop_timer_init(&fd->commit_timer, f->c->loop, on_commit_time, fd);
    f->data = fd;
    unsynced_restore(fd);
    return fd;
}

void file_data_release(struct client_file *f)
{
    struct file_data *fd = f->data;
    size_t cursor = 0;
    if (!fd)
        return;
    CHECK(!fd->held && fd->piece_count == 0 && fd->windows.count == 0 && list_empty(&fd->flushes) &&
          list_empty(&fd->waiting) && list_empty(&fd->reads));
    read_ahead_abandon(fd);
    unsynced_keep(fd);
    loop_timer_stop(&fd->idle_timer);
    loop_timer_stop(&fd->commit_timer);
    for (struct map_entry *e; (e = map_next(&fd->chunks, &cursor)) != NULL;)
        free(e->value);
    map_release(&fd->chunks);
    map_release(&fd->windows);
    free(fd);
    f->data = NULL;
}

void file_data_dirty(struct file_data *fd, const struct client_handle *h, uint64_t end)
{
    file_wrote(fd->f, h, end);
    fd->write_count++;
    if (!fd->held) {
        fd->held = true;
        file_hold(fd->f);
        loop_timer_start_ms(&fd->commit_timer, COMMIT_MS);
    }
    loop_timer_start_ms(&fd->idle_timer, IDLE_SEND_MS);
}

void file_data_clean(struct file_data *fd)
{
    loop_timer_stop(&fd->idle_timer);
    loop_timer_stop(&fd->commit_timer);
    fd->fail_floor = UINT64_MAX;
    fd->committed_count = fd->write_count;
    file_cleaned(fd->f);
    if (fd->held) {
        fd->held = false;
        file_drop(fd->f); /* the caller holds it too */
    }
}

bool file_data_is_busy(const struct client_file *f)
{
    const struct file_data *fd = f->data;
    return fd && (fd->piece_count > 0 || fd->request_count > 0 || !list_empty(&fd->flushes) ||
                  !list_empty(&fd->waiting) || !list_empty(&fd->resizes));
}

void file_data_forget_read(struct client_file *f)
{
    if (f->data)
        read_ahead_drop(f->data, 0, UINT64_MAX);
}

/* ---- the gate ---- */

enum call_kind { CALL_READ = 1, CALL_WRITE, CALL_FLUSH, CALL_RESIZE };

/* A call that waits for its turn. */
struct data_call {
    struct list node; /* fd->waiting */
    enum call_kind kind;
    struct client_file *f; /* held */
    uint64_t offset;
    size_t size, at;
    struct buf *buf;
    uint32_t uid, gid;
    bool sync, gap_zeroed;
    struct resize *resize;
    client_read_fn *read_done;
    client_done_fn *done;
    void *arg;
};

static void do_write(struct data_call *call);

static bool must_wait(const struct file_data *fd, enum call_kind kind)
{
    if (fd->gate_closed || !list_empty(&fd->waiting))
        return true;
    return fd->flushes_of_data != 0 && (kind == CALL_WRITE || kind == CALL_RESIZE);
}

static void run_call(struct data_call *call)
{
    struct file_data *fd = file_data_get(call->f);
    switch (call->kind) {
    case CALL_READ:
        read_start(call->f, call->offset, call->size, call->read_done, call->arg);
        return;
    case CALL_WRITE:
        do_write(call);
        return;
    case CALL_FLUSH:
        flush_start(fd, call->sync, call->done, call->arg);
        return;
    case CALL_RESIZE:
        gate_close(fd);
        resize_start(call->resize);
        return;
    }
    UNREACHABLE("call %d", call->kind);
}

static void submit(struct data_call *call)
{
    struct file_data *fd = file_data_get(call->f);
    if (!must_wait(fd, call->kind)) {
        file_hold(call->f);
        run_call(call);
        file_drop(call->f);
        return;
    }
    struct data_call *copy = malloc(sizeof *copy);
    CHECK(copy);
    *copy = *call;
    file_hold(copy->f);
    list_append(&fd->waiting, &copy->node);
}

void gate_check(struct file_data *fd)
{
    struct client_file *f = file_hold(fd->f);
    while (!fd->gate_closed && !list_empty(&fd->waiting)) {
        struct data_call *call = CONTAINER_OF(fd->waiting.next, struct data_call, node);
        if (fd->flushes_of_data != 0 && (call->kind == CALL_WRITE || call->kind == CALL_RESIZE))
            break;
        list_remove(&call->node);
        run_call(call);
        file_drop(f);
        free(call);
    }
    file_drop(f);
}

void gate_close(struct file_data *fd)
{
    CHECK(!fd->gate_closed);
    fd->gate_closed = true;
}

void gate_open(struct file_data *fd)
{
    fd->gate_closed = false;
    gate_check(fd);
}

static void end_call(struct data_call *call, int status)
{
    if (call->kind == CALL_READ)
        call->read_done(call->arg, status, NULL, 0, 0);
    else if (call->kind == CALL_RESIZE && call->resize->done)
        call->resize->done(call->resize->arg, status, NULL, 0);
    else if (call->kind == CALL_RESIZE)
        call->resize->done_plain(call->resize->arg, status);
    else
        call->done(call->arg, status);
    if (call->kind == CALL_RESIZE)
        free(call->resize);
    buf_unref(call->buf);
    file_drop(call->f);
    free(call);
}

void file_data_abandon(struct client_file *f, int status)
{
    struct file_data *fd = f->data;
    if (!fd) {
        file_cleaned(f);
        return;
    }
    file_hold(f);
    fd->abandons++;
    struct list waiting;
    list_init(&waiting);
    while (!list_empty(&fd->waiting)) {
        struct list *node = fd->waiting.next;
        list_remove(node);
        list_append(&waiting, node);
    }
    write_send_abandon(fd, status);
    read_ahead_drop(fd, 0, UINT64_MAX);
    file_data_clean(fd);
    flush_abandon(fd, status);
    resize_abandon(fd, status);
    read_abandon(fd, status);
    read_ahead_abandon(fd);
    fd->gate_closed = false;
    while (!list_empty(&waiting)) {
        struct data_call *call = CONTAINER_OF(waiting.next, struct data_call, node);
        list_remove(&call->node);
        end_call(call, status);
    }
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&fd->chunks, &cursor)) != NULL;) {
        struct chunk_state *state = e->value;
        state->made = false;
    }
    file_drop(f);
}

/* ---- calls ---- */

void client_read(struct client_handle *h, uint64_t offset, size_t size, client_read_fn *done,
                 void *arg)
{
    CHECK_OBJ(h, CLIENT_HANDLE_MAGIC);
    if ((h->flags & (OPEN_READ | OPEN_EXECUTE)) == 0 || size > CLIENT_IO_MAX) {
        done(arg, size > CLIENT_IO_MAX ? -ERR_INVALID : -ERR_BAD_HANDLE, NULL, 0, 0);
        return;
    }
    submit(&(struct data_call){.kind = CALL_READ,
                               .f = h->file,
                               .offset = offset,
                               .size = size,
                               .read_done = done,
                               .arg = arg});
}

void client_write(struct client_handle *h, uint64_t offset, struct buf *take_block, size_t at,
                  size_t size, client_done_fn *done, void *arg)
{
    CHECK_OBJ(h, CLIENT_HANDLE_MAGIC);
    int status = 0;
    if (size == 0 || size > CLIENT_IO_MAX)
        status = -ERR_INVALID;
    else if ((h->flags & OPEN_WRITE) == 0)
        status = -ERR_BAD_HANDLE;
    else if (offset > CLIENT_FILE_SIZE_MAX - size)
        status = -ERR_FILE_TOO_BIG;
    if (status != 0) {
        buf_unref(take_block);
        done(arg, status);
        return;
    }
    submit(&(struct data_call){.kind = CALL_WRITE,
                               .f = h->file,
                               .offset = offset,
                               .size = size,
                               .at = at,
                               .buf = take_block,
                               .uid = h->uid,
                               .gid = h->gid,
                               .done = done,
                               .arg = arg});
}

/* The end moves over a gap: what an existing chunk holds there becomes zeros first. True when that
 * takes an operation of its own, which begins now. */
static bool zero_gap(struct file_data *fd, uint64_t end, uint64_t start)
{
    struct client_file *f = fd->f;
    uint32_t generation, index = (uint32_t)(end / CHUNK_SIZE);
    uint64_t chunk_end = ((uint64_t)index + 1) * CHUNK_SIZE;
    uint64_t stop = start < chunk_end ? start : chunk_end;
    struct chunk_state *state = map_get(&fd->chunks, index);
    if (stop <= end || (!file_chunk(f, index, &generation) && (!state || !state->creating)))
        return false;
    if (stop - end <= WINDOW_SIZE) {
        write_buf_put(fd, end, NULL, 0, stop - end);
        return false;
    }
    struct resize *resize = resize_new(fd, RESIZE_ZERO, &(struct client_caller){0});
    resize->zero_from = end;
    resize->zero_end = stop;
    resize->done_plain = no_callback;
    gate_close(fd);
    resize_start(resize);
    return true;
}

static void do_write(struct data_call *call)
{
    struct client_file *f = call->f;
    struct file_data *fd = file_data_get(f);
    struct client_data *data = f->c->data;
    struct client_handle writer = {.uid = call->uid, .gid = call->gid};
    uint64_t end = call->offset + call->size, size = file_size(f);
    if (call->offset > size && !call->gap_zeroed && zero_gap(fd, size, call->offset)) {
        /* In front of those that came later. */
        struct data_call *again = malloc(sizeof *again);
        CHECK(again);
        *again = *call;
        again->gap_zeroed = true;
        file_hold(f);
        list_prepend(&fd->waiting, &again->node);
        return;
    }
    write_buf_put(fd, call->offset, call->buf, call->at, call->size);
    buf_unref(call->buf);
    file_data_dirty(fd, &writer, end);
    read_ahead_drop(fd, call->offset, end);
    write_send(fd);
    write_room_wait(data, call->done, call->arg, fd);
}

struct handle_flush {
    struct client_handle *h;
    client_done_fn *done;
    void *arg;
};

static void on_handle_flushed(void *arg, int status)
{
    struct handle_flush *hf = arg;
    int error = file_take_error(hf->h);
    file_handle_drop(hf->h);
    hf->done(hf->arg, error != 0 ? error : status == -ERR_CANCELLED ? status : 0);
    free(hf);
}

static void flush_handle(struct client_handle *h, bool sync, client_done_fn *done, void *arg)
{
    CHECK_OBJ(h, CLIENT_HANDLE_MAGIC);
    struct handle_flush *hf = malloc(sizeof *hf);
    CHECK(hf);
    *hf = (struct handle_flush){.h = h, .done = done, .arg = arg};
    file_handle_hold(h);
    file_data_flush(h->file, sync, on_handle_flushed, hf);
}

void client_flush(struct client_handle *h, client_done_fn *done, void *arg)
{
    flush_handle(h, false, done, arg);
}

void client_fsync(struct client_handle *h, client_done_fn *done, void *arg)
{
    flush_handle(h, true, done, arg);
}

void file_data_flush(struct client_file *f, bool sync, client_done_fn *done, void *arg)
{
    bool waits = f->data && must_wait(f->data, CALL_FLUSH);
    if (!waits && !f->dirty && (!sync || (!f->data && !unsynced_known(f)))) {
        done(arg, 0);
        return;
    }
    submit(&(struct data_call){.kind = CALL_FLUSH, .f = f, .sync = sync, .done = done, .arg = arg});
}

/* ---- truncate: see file_resize.c ---- */

static void submit_resize(struct resize *resize)
{
    submit(&(struct data_call){.kind = CALL_RESIZE, .f = resize->fd->f, .resize = resize});
}

void file_data_truncate(struct client_file *f, const struct client_caller *who, uint64_t size,
                        bool by_handle, client_attr_fn *done, void *arg)
{
    struct resize *resize = resize_new(file_data_get(f), RESIZE_TRUNCATE, who);
    resize->size = size;
    resize->by_handle = by_handle;
    resize->done = done;
    resize->arg = arg;
    submit_resize(resize);
}

void client_truncate(struct client_handle *h, const struct client_caller *who, uint64_t size,
                     client_attr_fn *done, void *arg)
{
    CHECK_OBJ(h, CLIENT_HANDLE_MAGIC);
    if (size > CLIENT_FILE_SIZE_MAX)
        done(arg, -ERR_FILE_TOO_BIG, NULL, 0);
    else if ((h->flags & OPEN_WRITE) == 0)
        done(arg, -ERR_BAD_HANDLE, NULL, 0);
    else
        file_data_truncate(h->file, who, size, true, done, arg);
}

void client_fallocate(struct client_handle *h, const struct client_caller *who,
                      enum client_fallocate_mode mode, uint64_t offset, uint64_t size,
                      client_done_fn *done, void *arg)
{
    CHECK_OBJ(h, CLIENT_HANDLE_MAGIC);
    int status = 0;
    if ((h->flags & OPEN_WRITE) == 0)
        status = -ERR_BAD_HANDLE;
    else if (size == 0)
        status = -ERR_INVALID;
    else if (size > CLIENT_FILE_SIZE_MAX || offset > CLIENT_FILE_SIZE_MAX - size)
        status = -ERR_FILE_TOO_BIG;
    else if (mode < CLIENT_ALLOCATE || mode > CLIENT_ZERO_RANGE_KEEP_SIZE)
        status = -ERR_NOT_SUPPORTED;
    if (status != 0 || mode == CLIENT_ALLOCATE_KEEP_SIZE) {
        done(arg, status);
        return;
    }
    bool grows = mode == CLIENT_ALLOCATE || mode == CLIENT_ZERO_RANGE;
    struct resize *resize =
        resize_new(file_data_get(h->file), grows ? RESIZE_GROW : RESIZE_ZERO, who);
    resize->by_handle = true;
    resize->size = grows ? offset + size : 0;
    if (mode != CLIENT_ALLOCATE) {
        resize->zero_from = offset;
        resize->zero_end = offset + size;
    }
    resize->commits = true;
    resize->done_plain = done;
    resize->arg = arg;
    submit_resize(resize);
}
