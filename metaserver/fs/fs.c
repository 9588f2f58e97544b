/* The state machine from outside: open, batches, dispatch of commands and queries. */
#include "metaserver/fs/state.h"

#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

/* ---- dispatch, generated from ops.tbl ---- */

#define COMMAND(name, caller, reply)                        \
    static int run_##name(struct op *o, struct slice body)  \
    {                                                       \
        struct msg_##name m;                                \
        int status = decode_##name(body, WIRE_VERSION, &m); \
        return status ? status : op_##name(o, &m);          \
    }
#define QUERY(name, reply)                                       \
    static int answer_##name(struct query *q, struct slice body) \
    {                                                            \
        struct msg_##name m;                                     \
        int status = decode_##name(body, WIRE_VERSION, &m);      \
        return status ? status : query_##name(q, &m);            \
    }
#include "metaserver/fs/ops.tbl"
#undef COMMAND
#undef QUERY

struct row_of_ops {
    uint16_t code, reply_code;
    bool has_caller;
    int (*run)(struct op *o, struct slice body);
    int (*answer)(struct query *q, struct slice body);
};

static const struct row_of_ops ops[] = {
#define COMMAND(name, caller, reply) {MSG_##name, MSG_##reply, caller, run_##name, NULL},
#define QUERY(name, reply)           {MSG_##name, MSG_##reply, false, NULL, answer_##name},
#include "metaserver/fs/ops.tbl"
#undef COMMAND
#undef QUERY
};

static const struct row_of_ops *find_op(uint16_t code)
{
    for (unsigned i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (ops[i].code == code)
            return &ops[i];
    return NULL;
}

bool fs_is_command(uint16_t code)
{
    const struct row_of_ops *row = find_op(code);
    return row && row->run;
}

bool fs_is_query(uint16_t code)
{
    const struct row_of_ops *row = find_op(code);
    return row && row->answer;
}

bool fs_has_caller(uint16_t code)
{
    const struct row_of_ops *row = find_op(code);
    return row && row->has_caller;
}

/* ---- envelope ---- */

void fs_command_encode(const struct fs_command *c, struct bytes *out)
{
    CHECK(c->holders.size % 8 == 0 && c->holders.size / 8 <= FS_HOLDERS_MAX);
    put_u8(out, FS_COMMAND_VERSION);
    put_u16(out, c->code);
    put_i64(out, c->time_ns);
    put_u64(out, c->victim);
    put_u16(out, (uint16_t)(c->holders.size / 8));
    bytes_append(out, c->holders.data, c->holders.size);
    bytes_append(out, c->body.data, c->body.size);
}

int fs_command_decode(struct slice envelope, struct fs_command *ret)
{
    struct wire_in in = {envelope.data, envelope.data + envelope.size, WIRE_VERSION};
    struct fs_command c = {0};
    uint8_t version;
    uint16_t count;
    if (!get_u8(&in, &version) || version != FS_COMMAND_VERSION || !get_u16(&in, &c.code) ||
        !get_i64(&in, &c.time_ns) || !get_u64(&in, &c.victim) || !get_u16(&in, &count) ||
        (size_t)(in.end - in.at) < (size_t)count * 8)
        return -ERR_PROTOCOL;
    c.holders = slice_of(in.at, (size_t)count * 8);
    in.at += c.holders.size;
    c.body = slice_of(in.at, (size_t)(in.end - in.at));
    *ret = c;
    return 0;
}

/* ---- replies ---- */

int reply_entry(struct op *o, const struct inode *i, uint64_t data_version_before)
{
    struct msg_meta_entry_r reply = {
        .attr = inode_attr(i), .index = o->index, .data_version_before = data_version_before};
    encode_meta_entry_r(o->reply, &reply);
    return 0;
}

int reply_done(struct op *o)
{
    encode_done_r(o->reply, &(struct msg_done_r){.index = o->index});
    return 0;
}

static void finish_result(struct fs *fs, struct fs_result *r, uint16_t code, int status)
{
    r->status = status;
    r->code = code;
    if (status) {
        bytes_clear(&fs->reply);
        encode_error_r(&fs->reply, &(struct msg_error_r){0});
        r->code = MSG_error_r;
    }
    r->body = bytes_slice(&fs->reply);
}

static void stored_answer(struct fs *fs, struct slice row, struct fs_result *r)
{
    bytes_append(&fs->reply, row.data + 4, row.size - 4);
    r->status = -(int)load_u16(row.data);
    r->code = load_u16(row.data + 2);
    r->body = bytes_slice(&fs->reply);
    r->repeated = true;
}

/* ---- life ---- */

static int load_committed(struct fs *fs)
{
    struct fs_view *v;
    struct slice key, value;
    int status = fs_view_begin(fs, &v);
    if (status)
        return status;
    status = state_read(v, &fs->state);
    if (status == -ERR_NO_ENTRY) {
        /* An empty store is a new state; rows without their M are a load that did not finish. */
        status = row_seek(v, key_of_table(0), 0, &key, &value) == 0 ? -ERR_CORRUPT : v->failure;
        fs->state =
            (struct fs_state){.inode_next = ROOT_INODE + 1, .session_next = 1, .garbage_next = 1};
    }
    fs->committed = fs->state;
    if (status == 0)
        status = table_load(&fs->table, &fs->state, v);
    if (status == 0)
        status = jobs_load(&fs->jobs, v);
    if (status == 0)
        status = config_load(&fs->config, v);
    fs_view_end(v);
    return status;
}

int fs_open(struct kv *take_kv, struct fs **ret_fs)
{
    struct fs *fs = calloc(1, sizeof *fs);
    CHECK(fs != NULL);
    fs->magic = FS_MAGIC;
    fs->kv = take_kv;
    int status = load_committed(fs);
    if (status) {
        shard_table_release(&fs->table);
        free(fs);
        return status;
    }
    *ret_fs = fs;
    return 0;
}

void fs_close(struct fs *fs)
{
    if (!fs)
        return;
    CHECK_OBJ(fs, FS_MAGIC);
    if (fs->in_batch)
        fs_abort_batch(fs);
    fs->kv->ops->destroy(fs->kv);
    shard_table_release(&fs->table);
    bytes_release(&fs->reply);
    fs->magic = 0;
    free(fs);
}

bool fs_is_loading(const struct fs *fs)
{
    return fs->state.is_loading;
}

void fs_get_status(const struct fs *fs, struct fs_status *ret)
{
    const struct fs_state *s = &fs->state;
    *ret = (struct fs_status){
        .applied_index = s->applied_index,
        .applied_term = s->applied_term,
        .cluster = s->cluster,
        .formed = s->copies != 0,
        .is_loading = s->is_loading,
        .copies = s->copies,
        .shard_count = s->shard_count,
        .initial_targets = s->initial_targets,
        .file_count = s->file_count,
        .directory_count = s->directory_count,
        .file_bytes = s->file_bytes,
        .garbage_count = s->garbage_count,
        .orphan_count = s->orphan_count,
        .session_count = s->session_count,
        .state_hash = s->hash,
        .store_bytes = fs->kv->ops->bytes_used(fs->kv),
    };
}

const struct shard_table *fs_shard_table(const struct fs *fs)
{
    return &fs->table;
}

/* ---- batches ---- */

int fs_begin_batch(struct fs *fs)
{
    CHECK_OBJ(fs, FS_MAGIC);
    CHECK(!fs->in_batch);
    fs->writer = (struct fs_view){0};
    int status = fs->kv->ops->begin(fs->kv, &fs->writer.kv);
    fs->in_batch = status == 0;
    return status;
}

/* The mirrors follow the store; only an unreadable store leaves them behind, and
 * then the replica stops anyway. */
static void forget_batch(struct fs *fs)
{
    fs->in_batch = false;
    fs->state = fs->committed;
    if (fs->mirrors_touched)
        load_committed(fs);
    fs->mirrors_touched = false;
}

void fs_abort_batch(struct fs *fs)
{
    CHECK(fs->in_batch);
    view_drop_cursor(&fs->writer);
    fs->kv->ops->abort(fs->kv);
    forget_batch(fs);
}

bool fs_is_ample(const struct fs *fs)
{
    return fs->kv->ops->is_ample(fs->kv);
}

int fs_commit_batch(struct fs *fs)
{
    CHECK(fs->in_batch);
    state_write(fs);
    int status = fs->writer.failure;
    if (status) {
        fs_abort_batch(fs);
        return status;
    }
    view_drop_cursor(&fs->writer);
    status = fs->kv->ops->commit(fs->kv);
    if (status) {
        forget_batch(fs);
        return status;
    }
    fs->in_batch = fs->mirrors_touched = false;
    fs->committed = fs->state;
    return 0;
}

/* Keeps the hash as it was before the first entry of a new interval. */
static void move_to(struct fs *fs, uint64_t index, uint64_t term)
{
    struct fs_state *s = &fs->state;
    CHECK(fs->in_batch && index > s->applied_index);
    uint64_t boundary = index / FS_HASH_INTERVAL * FS_HASH_INTERVAL;
    if (boundary > s->applied_index && boundary > 0)
        s->hashes[s->hash_count++ % FS_HASHES_KEPT] = (struct fs_hash){boundary, s->hash};
    s->applied_index = index;
    s->applied_term = term;
}

bool fs_last_hash(const struct fs *fs, uint64_t *ret_index, uint64_t *ret_hash)
{
    const struct fs_state *s = &fs->committed;
    if (s->hash_count == 0)
        return false;
    const struct fs_hash *h = &s->hashes[(s->hash_count - 1) % FS_HASHES_KEPT];
    *ret_index = h->index;
    *ret_hash = h->hash;
    return true;
}

/* ---- commands ---- */

static int read_caller(struct slice body, struct wire_caller *ret)
{
    struct wire_in in = {body.data, body.data + body.size, WIRE_VERSION};
    return get_caller(&in, ret) ? 0 : -ERR_PROTOCOL;
}

/* Runs one command, live or as a check; the result is complete but for the hash. */
static void execute(struct op *o, uint16_t code, struct slice body)
{
    struct fs *fs = o->fs;
    const struct row_of_ops *row = find_op(code);
    struct wire_caller caller = {0};
    struct slice answer = {NULL, 0};
    if (!row || !row->run) {
        finish_result(fs, o->result, MSG_error_r, -ERR_NOT_SUPPORTED);
        return;
    }
    if (fs->state.is_loading && (row->has_caller || code == MSG_session_open)) {
        finish_result(fs, o->result, MSG_error_r, -ERR_BUSY); /* it is not a whole tree yet */
        return;
    }
    if (row->has_caller) {
        int status = read_caller(body, &caller);
        if (status == 0) {
            o->result->session = caller.session;
            o->result->sequence = caller.sequence;
            status = session_admit(o->view, &caller, &answer);
        }
        if (status > 0)
            stored_answer(fs, answer, o->result);
        else if (status < 0)
            finish_result(fs, o->result, MSG_error_r, status);
        if (status)
            return;
    }
    int status = row->run(o, body);
    finish_result(fs, o->result, row->reply_code, status);
    if (row->has_caller && !o->check_only && status != -ERR_BUSY)
        session_remember(fs, &caller, o->result->status, o->result->code, o->result->body);
}

int fs_apply(struct fs *fs, uint64_t index, uint64_t term, struct slice envelope,
             struct fs_result *ret)
{
    CHECK_OBJ(fs, FS_MAGIC);
    struct fs_command c;
    struct op o = {
        .fs = fs, .view = &fs->writer, .index = index, .result = ret, .reply = &fs->reply};
    move_to(fs, index, term);
    *ret = (struct fs_result){0};
    bytes_clear(&fs->reply);
    int status = fs_command_decode(envelope, &c);
    if (status) {
        finish_result(fs, ret, MSG_error_r, status);
    } else {
        o.now_ns = c.time_ns;
        o.victim = c.victim;
        o.holders = c.holders;
        execute(&o, c.code, c.body);
    }
    int64_t code = ret->status;
    state_mix(&fs->state, &code, sizeof code);
    state_mix(&fs->state, ret->body.data, ret->body.size);
    status = fs->writer.failure;
    if (status)
        fs_abort_batch(fs);
    return status;
}

int fs_skip(struct fs *fs, uint64_t index, uint64_t term)
{
    move_to(fs, index, term);
    return 0;
}

int fs_check_request(struct fs *fs, struct fs_view *view, uint16_t code, struct slice body,
                     struct fs_result *ret)
{
    CHECK(!fs->in_batch);
    *ret = (struct fs_result){0};
    bytes_clear(&fs->reply);
    struct op o = {.fs = fs, .view = view, .check_only = true, .result = ret, .reply = &fs->reply};
    execute(&o, code, body);
    return ret->status != 0 || ret->repeated;
}

/* ---- queries ---- */

int fs_view_begin(struct fs *fs, struct fs_view **ret_view)
{
    struct fs_view *v = calloc(1, sizeof *v);
    CHECK(v != NULL);
    int status = fs->kv->ops->read_begin(fs->kv, &v->kv);
    if (status) {
        free(v);
        return status;
    }
    *ret_view = v;
    return 0;
}

int fs_view_renew(struct fs_view *view)
{
    view_drop_cursor(view);
    view->failure = 0;
    return view->kv->ops->read_renew(view->kv);
}

void fs_view_rest(struct fs_view *view)
{
    view_drop_cursor(view);
    view->kv->ops->read_rest(view->kv);
}

void fs_view_end(struct fs_view *view)
{
    if (!view)
        return;
    view_drop_cursor(view);
    view->kv->ops->read_end(view->kv);
    free(view);
}

int fs_query(struct fs *fs, struct fs_view *view, uint16_t code, struct slice body,
             uint16_t *ret_code, struct bytes *out)
{
    const struct row_of_ops *row = find_op(code);
    if (!row || !row->answer)
        return -ERR_NOT_SUPPORTED;
    struct query q = {.fs = fs, .view = view, .out = out};
    int status = row->answer(&q, body);
    if (status == 0)
        *ret_code = row->reply_code;
    return status;
}
