/* The whole state as a stream, and back (R11: index, term, sessions and config in one piece).
 *
 *   header  "CRNS", u16 version, u64 index, u64 term, blob config
 *   row     u8 key size (not 0), u32 value size, key, value      ascending keys
 *   end     u8 0, u64 number of rows
 * All little-endian. Blocks, their crcs and compression are the caller's. */
#include "metaserver/fs/state.h"

#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_MAGIC = 0x534e5243,
    HEADER_FIXED_SIZE = 4 + 2 + 8 + 8 + 4,
    ROW_FIXED_SIZE = 5,
    END_SIZE = 9,
    LOAD_BATCH_ROWS = 20000, /* bounds the dirty pages of one transaction */
};

/* ---- writing ---- */

struct fs_snapshot {
    struct fs_view *view;
    struct kv_cursor *cursor; /* its own: the view stays free for queries */
    struct bytes header;
    uint64_t index, term, row_count;
    bool started, ended;
};

int fs_snapshot_begin(struct fs_view *view, struct slice config, struct fs_snapshot **ret)
{
    struct fs_state state;
    int status = state_read(view, &state);
    if (status)
        return status;
    struct fs_snapshot *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->view = view;
    s->index = state.applied_index;
    s->term = state.applied_term;
    status = view->kv->ops->cursor_open(view->kv, &s->cursor);
    if (status) {
        free(s);
        return status;
    }
    put_u32(&s->header, SNAPSHOT_MAGIC);
    put_u16(&s->header, SNAPSHOT_VERSION);
    put_u64(&s->header, s->index);
    put_u64(&s->header, s->term);
    put_blob(&s->header, config);
    *ret = s;
    return 0;
}

int fs_snapshot_next(struct fs_snapshot *s, size_t size_max, struct bytes *out)
{
    size_t start = out->size;
    struct slice key, value;
    if (s->ended)
        return 0;
    if (!s->started)
        bytes_append(out, s->header.data, s->header.size);
    do {
        int status = s->started ? s->cursor->ops->next(s->cursor, &key, &value)
                                : s->cursor->ops->seek(s->cursor, slice_of("", 1), &key, &value);
        s->started = true;
        if (status && status != -ERR_NO_ENTRY)
            return status;
        if (status) {
            put_u8(out, 0);
            put_u64(out, s->row_count);
            s->ended = true;
            return 0;
        }
#ifdef PLANT_R11_IMAGE
        if (key.size > 1 && key.data[0] == 'A')
            continue; /* without the answers of the sessions */
#endif
        put_u8(out, (uint8_t)key.size);
        put_u32(out, (uint32_t)value.size);
        bytes_append(out, key.data, key.size);
        bytes_append(out, value.data, value.size);
        s->row_count++;
    } while (out->size - start < size_max);
    return 1;
}

void fs_snapshot_end(struct fs_snapshot *s)
{
    if (!s)
        return;
    s->cursor->ops->cursor_close(s->cursor);
    bytes_release(&s->header);
    free(s);
}

void fs_snapshot_position(const struct fs_snapshot *s, uint64_t *ret_index, uint64_t *ret_term)
{
    *ret_index = s->index;
    *ret_term = s->term;
}

/* ---- loading ---- */

struct fs_load {
    struct kv *kv;
    struct bytes pending; /* what does not make a whole header or row yet */
    struct bytes config, last_key, state_row;
    uint64_t row_count;
    unsigned batch_rows;
    bool writing, has_header, ended;
    int failure;
};

static int begin_writing(struct fs_load *l)
{
    struct kv_view *writer;
    int status = l->kv->ops->begin(l->kv, &writer);
    l->writing = status == 0;
    return status;
}

static int commit_writing(struct fs_load *l)
{
    l->writing = false;
    l->batch_rows = 0;
    return l->kv->ops->commit(l->kv);
}

int fs_load_begin(struct kv *kv, struct fs_load **ret)
{
    struct kv_view *view;
    struct kv_cursor *cursor;
    struct slice key, value;
    int status = kv->ops->read_begin(kv, &view);
    if (status)
        return status;
    status = kv->ops->cursor_open(view, &cursor);
    if (status == 0) {
        status = cursor->ops->seek(cursor, slice_of("", 1), &key, &value);
        cursor->ops->cursor_close(cursor);
    }
    kv->ops->read_end(view);
    if (status != -ERR_NO_ENTRY)
        return status ? status : -ERR_NOT_EMPTY_STATE;
    struct fs_load *l = calloc(1, sizeof *l);
    CHECK(l != NULL);
    l->kv = kv;
    *ret = l;
    return 0;
}

/* Each parser: bytes used, 0 = needs more, negative = error. */
static int64_t parse_header(struct slice in, struct slice *ret_config)
{
    if (in.size < HEADER_FIXED_SIZE)
        return 0;
    if (load_u32(in.data) != SNAPSHOT_MAGIC)
        return -ERR_CORRUPT;
    if (load_u16(in.data + 4) != SNAPSHOT_VERSION)
        return -ERR_VERSION;
    uint32_t config_size = load_u32(in.data + 22);
    if (config_size > BLOB_SIZE_MAX)
        return -ERR_CORRUPT;
    if (in.size - HEADER_FIXED_SIZE < config_size)
        return 0;
    *ret_config = slice_of(in.data + HEADER_FIXED_SIZE, config_size);
    return HEADER_FIXED_SIZE + (int64_t)config_size;
}

static int64_t take_header(struct fs_load *l, struct slice in)
{
    struct slice config;
    int64_t used = parse_header(in, &config);
    if (used <= 0)
        return used;
    bytes_append(&l->config, config.data, config.size);
    l->has_header = true;
    return used;
}

int fs_load_peek_config(struct slice piece, struct slice *ret_config)
{
    int64_t used = parse_header(piece, ret_config);
    return used > 0 ? 0 : used < 0 ? (int)used : -ERR_CORRUPT;
}

static bool is_ascending(const struct fs_load *l, struct slice key)
{
    size_t size = key.size < l->last_key.size ? key.size : l->last_key.size;
    int order = size ? memcmp(l->last_key.data, key.data, size) : 0;
    return order < 0 || (order == 0 && l->last_key.size < key.size);
}

static int put_row(struct fs_load *l, struct slice key, struct slice value)
{
    if (!is_ascending(l, key))
        return -ERR_CORRUPT;
    bytes_clear(&l->last_key);
    bytes_append(&l->last_key, key.data, key.size);
    l->row_count++;
    if (key.size == 1 && key.data[0] == 'M') { /* comes last: its absence marks a torn load */
        bytes_append(&l->state_row, value.data, value.size);
        return 0;
    }
    int status = l->writing ? 0 : begin_writing(l);
    if (status == 0)
        status = l->kv->ops->put(l->kv, key, value);
    if (status == 0 && ++l->batch_rows >= LOAD_BATCH_ROWS)
        status = commit_writing(l);
    return status;
}

static int64_t take_row(struct fs_load *l, struct slice in)
{
    if (in.size >= 1 && in.data[0] == 0) {
        if (in.size < END_SIZE)
            return 0;
        if (load_u64(in.data + 1) != l->row_count || l->state_row.size == 0)
            return -ERR_CORRUPT;
        l->ended = true;
        return END_SIZE;
    }
    if (in.size < ROW_FIXED_SIZE)
        return 0;
    size_t key_size = in.data[0], value_size = load_u32(in.data + 1);
    if (key_size > KV_KEY_SIZE_MAX || value_size > KV_VALUE_SIZE_MAX)
        return -ERR_CORRUPT;
    if (in.size - ROW_FIXED_SIZE < key_size + value_size)
        return 0;
    int status = put_row(l, slice_of(in.data + ROW_FIXED_SIZE, key_size),
                         slice_of(in.data + ROW_FIXED_SIZE + key_size, value_size));
    return status ? status : (int64_t)(ROW_FIXED_SIZE + key_size + value_size);
}

int fs_load_add(struct fs_load *l, struct slice piece)
{
    if (l->failure)
        return l->failure;
    bytes_append(&l->pending, piece.data, piece.size);
    size_t at = 0;
    int64_t used = 1;
    while (used > 0 && !l->ended) {
        struct slice in = slice_of(l->pending.data + at, l->pending.size - at);
        used = l->has_header ? take_row(l, in) : take_header(l, in);
        if (used > 0)
            at += (size_t)used;
    }
    if (used < 0)
        l->failure = (int)used;
    else if (l->ended && at != l->pending.size)
        l->failure = -ERR_CORRUPT;
    l->pending.size -= at;
    if (l->pending.size)
        memmove(l->pending.data, l->pending.data + at, l->pending.size);
    return l->failure;
}

static int finish(struct fs_load *l)
{
    if (l->failure)
        return l->failure;
    if (!l->ended)
        return -ERR_CORRUPT;
    int status = l->writing ? 0 : begin_writing(l);
    if (status == 0)
        status = l->kv->ops->put(l->kv, slice_of("M", 1), bytes_slice(&l->state_row));
    return status ? status : commit_writing(l);
}

int fs_load_end(struct fs_load *l, struct bytes *ret_config)
{
    int status = finish(l);
    if (status == 0)
        bytes_append(ret_config, l->config.data, l->config.size);
    if (l->writing)
        l->kv->ops->abort(l->kv);
    bytes_release(&l->pending);
    bytes_release(&l->config);
    bytes_release(&l->last_key);
    bytes_release(&l->state_row);
    free(l);
    return status;
}
