/* A store that keeps nothing. */
#include "tools/offline/row_sink.h"

#include "common/base/err.h"
#include "common/base/list.h"

static struct row_sink *sink_of(struct kv *kv)
{
    return CONTAINER_OF(kv, struct row_sink, kv);
}

static int sink_begin(struct kv *kv, struct kv_view **ret_view)
{
    *ret_view = &sink_of(kv)->view;
    return 0;
}

static int sink_commit(struct kv *kv)
{
    (void)kv;
    return 0;
}

static void sink_abort(struct kv *kv)
{
    (void)kv;
}

static int sink_put(struct kv *kv, struct slice key, struct slice value)
{
    struct row_sink *s = sink_of(kv);
    return s->fn(s->arg, key, value);
}

static void sink_read_end(struct kv_view *view)
{
    (void)view;
}

static int sink_cursor_open(struct kv_view *view, struct kv_cursor **ret_cursor)
{
    *ret_cursor = &CONTAINER_OF(view, struct row_sink, view)->cursor;
    return 0;
}

static void sink_cursor_close(struct kv_cursor *cursor)
{
    (void)cursor;
}

/* It is always empty. */
static int sink_seek(struct kv_cursor *cursor, struct slice key, struct slice *ret_key,
                     struct slice *ret_value)
{
    (void)cursor;
    (void)key;
    (void)ret_key;
    (void)ret_value;
    return -ERR_NO_ENTRY;
}

static const struct kv_ops sink_ops = {
    .begin = sink_begin,
    .commit = sink_commit,
    .abort = sink_abort,
    .put = sink_put,
    .read_begin = sink_begin,
    .read_end = sink_read_end,
    .cursor_open = sink_cursor_open,
    .cursor_close = sink_cursor_close,
    .seek = sink_seek,
};

void row_sink_init(struct row_sink *sink, row_sink_fn *fn, void *arg)
{
    *sink = (struct row_sink){
        .kv = {&sink_ops}, .view = {&sink_ops}, .cursor = {&sink_ops}, .fn = fn, .arg = arg};
}
