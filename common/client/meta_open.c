/* Open files at the leader: open, create, release in batches. */
#include "common/client/meta_op.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "common/client/chunk_map.h"

#include "common/base/banned.h"

/* ---- release ---- */

static void finish_release(struct meta_op *op, int status, struct rpc_reply *reply)
{
    (void)reply;
    /* The session travels in op->inode: an answer for an older one changes nothing. Any other
     * failure is put right by the next complete set of open files. */
    if (status == -ERR_NO_SESSION)
        session_lost(op->c, op->inode);
    else if (status != 0)
        session_want_reclaim(op->c);
}

void release_batch_send(struct client *c)
{
    struct client_release_batch *batch = &c->release;
    loop_timer_stop(&batch->timer);
    if (batch->count == 0 || c->session.state != SESSION_UP) {
        batch->count = 0; /* a session that ended holds nothing */
        return;
    }
    struct rec_inode_ref refs[CLIENT_RELEASE_BATCH];
    for (unsigned i = 0; i < batch->count; i++)
        refs[i] = (struct rec_inode_ref){
            .inode = batch->inodes[i].inode,
            .count = batch->inodes[i].opens,
        };
    struct meta_op *op = meta_op_new(c, finish_release, NULL, slice_of(NULL, 0), slice_of(NULL, 0));
    op->inode = c->session.id;
    encode_meta_release(&op->call.body,
                        &(struct msg_meta_release){.session = c->session.id,
                                                   .open = {.count = batch->count, .items = refs}});
    batch->count = 0;
    meta_op_start(op, META_PLAIN, MSG_meta_release);
}

void release_batch_add(struct client *c, uint64_t inode, uint32_t opens)
{
    struct client_release_batch *batch = &c->release;
    batch->inodes[batch->count].inode = inode;
    batch->inodes[batch->count].opens = opens;
    batch->count++;
    if (batch->count == CLIENT_RELEASE_BATCH)
        release_batch_send(c);
    else if (!loop_timer_is_running(&batch->timer))
        loop_timer_start_ms(&batch->timer, CLIENT_RELEASE_MS);
}

void release_of_send(struct client *c, uint64_t inode)
{
    for (unsigned i = 0; i < c->release.count; i++)
        if (c->release.inodes[i].inode == inode) {
            release_batch_send(c);
            return;
        }
}

/* ---- open ---- */

/* From the request to the handle: also lives while a long chunk map is being fetched. */
struct opening {
    struct client *c;
    struct client_file *file; /* held; NULL until a create is answered */
    struct client_caller who; /* ids only */
    uint32_t flags;
    bool may_write; /* counted in writes_pending of the file */
    bool truncate;  /* still to do: an open is not logged, so the size is set behind it */
    struct client_opened opened;
    client_open_fn *done;
    void *arg;
};

static struct opening *opening_new(struct client *c, const struct client_caller *who,
                                   uint32_t flags, client_open_fn *done, void *arg)
{
    struct opening *o = calloc(1, sizeof *o);
    CHECK(o);
    o->c = c;
    o->who = (struct client_caller){.uid = who->uid, .gid = who->gid};
    o->flags = flags;
    o->may_write = (flags & (OPEN_WRITE | OPEN_TRUNCATE)) != 0;
    o->done = done;
    o->arg = arg;
    return o;
}

static void on_truncated(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms);

static void opening_end(struct opening *o, int status)
{
    if (status == 0 && o->truncate) {
        o->truncate = false;
        file_data_truncate(o->file, &o->who, 0, true, on_truncated, o);
        return;
    }
    if (o->file && o->may_write)
        o->file->writes_pending--;
    if (status == 0) {
        o->opened.handle = file_handle_create(o->file, &o->who, o->flags);
        o->opened.attr = o->file->attr;
        file_overlay(o->c, &o->opened.attr);
    }
    o->done(o->arg, status, status == 0 ? &o->opened : NULL);
    if (o->file)
        file_drop(o->file);
    free(o);
}

static void on_truncated(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    (void)attr, (void)valid_ms;
    opening_end(arg, status);
}

static void on_map_loaded(void *arg, int status)
{
    opening_end(arg, status);
}

/* What the answer says about pages and attributes that were handed out before. */
static void compare_with_known(struct opening *o, const struct wire_attr *attr, uint64_t asked_ms)
{
    struct client *c = o->c;
    unsigned left = 0;
    const struct wire_attr *known = attr_cache_get(&c->cache, attr->inode, loop_now_ms(), &left);
    o->opened.attr_changed = known && known->version < attr->version;
    o->opened.keep_pages = attr_cache_pages_match(&c->cache, attr);
    o->opened.valid_ms = meta_valid_ms(c, asked_ms);
    file_absorb(c, attr, 0, asked_ms);
    attr_cache_pages_set(&c->cache, attr);
    if (!o->opened.keep_pages)
        file_data_forget_read(o->file);
}

static void opened(struct opening *o, const struct msg_meta_open_r *r, uint64_t asked_ms)
{
    o->file->opens++;
    o->opened.created = r->created != 0;
    compare_with_known(o, &r->attr, asked_ms);
    if (r->chunk_total <= r->chunks.count)
        opening_end(o, chunk_map_install(o->file, &r->chunks, &r->attr));
    else if (o->file->chunks_loaded && o->file->chunks_version == r->attr.data_version)
        opening_end(o, 0);
    else
        chunk_map_load(o->file, on_map_loaded, o);
}

static int decode_open(const struct rpc_reply *reply, int status, struct msg_meta_open_r *ret)
{
    if (status != 0)
        return status;
    if (reply->code != MSG_meta_open_r)
        return -ERR_PROTOCOL;
    status = decode_meta_open_r(reply->body, reply->version, ret);
    return status == 0 && ret->attr.inode == 0 ? -ERR_PROTOCOL : status;
}

static void finish_open(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct opening *o = op->arg;
    struct msg_meta_open_r r;
    o->file->opens_pending--;
    status = decode_open(reply, status, &r);
    if (status == 0 && r.attr.inode != o->file->inode)
        status = -ERR_PROTOCOL;
    if (status == 0)
        opened(o, &r, op->call.asked_ms);
    else
        opening_end(o, status);
}

void client_open(struct client *c, const struct client_caller *who, uint64_t inode, uint32_t flags,
                 client_open_fn *done, void *arg)
{
    struct opening *o = opening_new(c, who, flags, done, arg);
    o->file = file_get(c, inode);
    o->truncate = (flags & OPEN_TRUNCATE) != 0;
    release_of_send(c, inode);
    o->file->opens_pending++;
    o->file->writes_pending += o->may_write;
    struct meta_op *op = meta_op_new(c, finish_open, o, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_meta_open(
        &op->call.body,
        &(struct msg_meta_open){.caller = meta_caller(who), .inode = inode, .flags = flags});
    meta_op_start(op, META_READ, MSG_meta_open);
}

/* ---- create ---- */

static void finish_create(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    struct opening *o = op->arg;
    struct msg_meta_open_r r;
    attr_cache_changed_dir(&c->cache, op->parent);
    status = decode_open(reply, status, &r);
    if (status != 0) {
        attr_cache_name_drop(&c->cache, op->parent, op->name);
        opening_end(o, status);
        return;
    }
    attr_cache_name_put(&c->cache, op->parent, op->name, r.attr.inode, op->call.asked_ms);
    if (r.created)
        attr_cache_touch_dir(&c->cache, op->parent, &r.attr, 0);
    if (op->reclaims != c->session.reclaims)
        session_want_reclaim(c); /* a set sent meanwhile did not name this inode */
    o->file = file_get(c, r.attr.inode);
    o->file->writes_pending += o->may_write;
    opened(o, &r, op->call.asked_ms);
}

void client_create_file(struct client *c, const struct client_caller *who, uint64_t parent,
                        struct slice name, uint32_t mode, uint32_t flags, client_open_fn *done,
                        void *arg)
{
    if (name.size > NAME_LENGTH_MAX) {
        done(arg, -ERR_NAME_TOO_LONG, NULL);
        return;
    }
    struct opening *o = opening_new(c, who, flags, done, arg);
    struct meta_op *op = meta_op_new(c, finish_create, o, name, slice_of(NULL, 0));
    op->parent = parent;
    encode_meta_create(&op->call.body, &(struct msg_meta_create){.caller = meta_caller(who),
                                                                 .parent = parent,
                                                                 .name = name,
                                                                 .mode = mode,
                                                                 .flags = flags});
    meta_op_start(op, META_CHANGE, MSG_meta_create);
}
