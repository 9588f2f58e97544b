/* Changing attributes: what must be flushed first, and sizes through the data path. */
#include "common/client/meta_op.h"

#include <stdlib.h>

#include "common/base/banned.h"

/* A setattr that has to wait for the data path first. */
struct setattr_steps {
    struct client *c;
    struct client_caller who;
    uint32_t groups[GROUPS_MAX];
    struct client_file *file; /* held */
    bool by_handle;
    struct client_setattr set;
    client_attr_fn *done;
    void *arg;
};

static void finish_setattr(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct msg_meta_entry_r entry;
    status = meta_entry(reply, status, &entry);
    if (status != 0) {
        op->fn.attr(op->arg, status, NULL, 0);
        return;
    }
    if (op->file && (op->flags & SETATTR_SIZE) != 0)
        file_chunks_cut(op->file, (uint32_t)((entry.attr.size + CHUNK_SIZE - 1) / CHUNK_SIZE));
    meta_answer_attr(op, &entry.attr, entry.data_version_before);
}

static void send_setattr(struct client *c, const struct client_caller *who, uint64_t inode,
                         struct client_file *file, const struct client_setattr *set, bool by_handle,
                         client_attr_fn *done, void *arg)
{
    struct meta_op *op = meta_op_new(c, finish_setattr, arg, slice_of(NULL, 0), slice_of(NULL, 0));
    op->fn.attr = done;
    op->inode = inode;
    op->flags = set->valid;
    op->file = file ? file_hold(file) : NULL;
    encode_meta_setattr(&op->call.body, &(struct msg_meta_setattr){.caller = meta_caller(who),
                                                                   .inode = inode,
                                                                   .valid = set->valid,
                                                                   .mode = set->mode,
                                                                   .uid = set->uid,
                                                                   .gid = set->gid,
                                                                   .size = set->size,
                                                                   .atime_ns = set->atime_ns,
                                                                   .mtime_ns = set->mtime_ns,
                                                                   .by_handle = by_handle});
    meta_op_start(op, META_CHANGE, MSG_meta_setattr);
}

void file_set_size(struct client_file *f, const struct client_caller *who, uint64_t size,
                   bool by_handle, client_attr_fn *done, void *arg)
{
    struct client_setattr set = {.valid = SETATTR_SIZE, .size = size};
    send_setattr(f->c, who, f->inode, f, &set, by_handle, done, arg);
}

static struct setattr_steps *steps_new(struct client *c, const struct client_caller *who,
                                       struct client_file *take_file, bool by_handle,
                                       const struct client_setattr *set, client_attr_fn *done,
                                       void *arg)
{
    struct setattr_steps *s = calloc(1, sizeof *s);
    CHECK(s);
    s->c = c;
    s->who = *who;
    s->who.group_count = who->group_count > GROUPS_MAX ? GROUPS_MAX : who->group_count;
    for (unsigned i = 0; i < s->who.group_count; i++)
        s->groups[i] = who->groups[i];
    s->who.groups = s->groups;
    s->file = take_file;
    s->by_handle = by_handle;
    s->set = *set;
    s->done = done;
    s->arg = arg;
    return s;
}

static void steps_end(struct setattr_steps *s, int status, const struct wire_attr *attr,
                      unsigned valid_ms)
{
    s->done(s->arg, status, attr, valid_ms);
    file_drop(s->file);
    free(s);
}

/* The size is set; the rest of what was asked follows. */
static void rest_or_end(struct setattr_steps *s)
{
    send_setattr(s->c, &s->who, s->file->inode, s->file, &s->set, s->by_handle, s->done, s->arg);
    file_drop(s->file);
    free(s);
}

static void on_size_set(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    struct setattr_steps *s = arg;
    s->set.valid &= ~(uint32_t)SETATTR_SIZE;
    if (status != 0 || s->set.valid == 0)
        steps_end(s, status, attr, valid_ms);
    else
        rest_or_end(s);
}

static void set_size(struct setattr_steps *s)
{
    file_data_truncate(s->file, &s->who, s->set.size, s->by_handle, on_size_set, s);
}

static void on_ready(void *arg, int status)
{
    struct setattr_steps *s = arg;
    if (status != 0)
        steps_end(s, status, NULL, 0);
    else if (s->set.valid & SETATTR_SIZE)
        set_size(s);
    else
        rest_or_end(s);
}

void client_setattr(struct client *c, const struct client_caller *who, uint64_t inode,
                    struct client_handle *handle, const struct client_setattr *set,
                    client_attr_fn *done, void *arg)
{
    struct client_file *f = handle ? handle->file : file_find(c, inode);
    bool by_handle = handle && (handle->flags & OPEN_WRITE) != 0;
    if (set->valid & SETATTR_SIZE) {
        if (set->size > CLIENT_FILE_SIZE_MAX) {
            done(arg, -ERR_FILE_TOO_BIG, NULL, 0);
            return;
        }
        struct client_file *held = f ? file_hold(f) : file_get(c, inode);
        struct setattr_steps *s = steps_new(c, who, held, by_handle, set, done, arg);
        if (held->chunks_loaded)
            set_size(s);
        else
            file_refresh(held, on_ready, s);
        return;
    }
    if (f && f->dirty && (set->valid & (SETATTR_MTIME | SETATTR_MTIME_NOW)) != 0) {
        /* A later commit would put the time of the last write over the one asked for. */
        struct setattr_steps *s = steps_new(c, who, file_hold(f), by_handle, set, done, arg);
        file_data_flush(f, false, on_ready, s);
        return;
    }
    send_setattr(c, who, inode, f, set, by_handle, done, arg);
}
