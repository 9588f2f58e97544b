/* Names and attributes: each operation's request, its answer, what the caches learn from it. */
#include "common/client/meta_op.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/banned.h"

struct meta_op *meta_op_new(struct client *c, meta_finish_fn *finish, void *arg, struct slice name,
                            struct slice new_name)
{
    CHECK_OBJ(c, CLIENT_MAGIC);
    struct meta_op *op = calloc(1, sizeof *op + name.size + new_name.size);
    CHECK(op);
    op->c = c;
    op->finish = finish;
    op->arg = arg;
    if (name.size != 0)
        memcpy(op->text, name.data, name.size);
    if (new_name.size != 0)
        memcpy(op->text + name.size, new_name.data, new_name.size);
    op->name = slice_of(op->text, name.size);
    op->new_name = slice_of(op->text + name.size, new_name.size);
    return op;
}

static void on_call(struct meta_call *call, int status, struct rpc_reply *reply)
{
    struct meta_op *op = CONTAINER_OF(call, struct meta_op, call);
    op->finish(op, status, reply);
    if (op->file)
        file_drop(op->file);
    free(op);
}

void meta_op_start(struct meta_op *op, enum meta_call_kind kind, uint16_t code)
{
    op->dir_changes = attr_cache_changes(&op->c->cache, op->parent);
    op->reclaims = op->c->session.reclaims;
    meta_call_start(&op->call, op->c, kind, code, on_call);
}

struct wire_caller meta_caller(const struct client_caller *who)
{
    unsigned count = who->group_count > GROUPS_MAX ? GROUPS_MAX : who->group_count;
    return (struct wire_caller){
        .uid = who->uid,
        .gid = who->gid,
        .groups = slice_of(who->groups, count * sizeof *who->groups),
    };
}

int meta_entry(const struct rpc_reply *reply, int status, struct msg_meta_entry_r *ret_entry)
{
    if (status != 0)
        return status;
    if (reply->code != MSG_meta_entry_r)
        return -ERR_PROTOCOL;
    status = decode_meta_entry_r(reply->body, reply->version, ret_entry);
    return status == 0 && ret_entry->attr.inode == 0 ? -ERR_PROTOCOL : status;
}

unsigned meta_valid_ms(const struct client *c, uint64_t asked_ms)
{
    uint64_t age_ms = loop_now_ms() - asked_ms;
    return age_ms >= c->attr_ms ? 0 : c->attr_ms - (unsigned)age_ms;
}

void meta_answer_attr(struct meta_op *op, const struct wire_attr *attr, uint64_t before)
{
    struct client *c = op->c;
    unsigned valid_ms = meta_valid_ms(c, op->call.asked_ms);
    file_absorb(c, attr, before, op->call.asked_ms);
    struct wire_attr newest = *attr;
    unsigned left;
    const struct wire_attr *known = attr_cache_get(&c->cache, attr->inode, loop_now_ms(), &left);
    if (known && known->version >= attr->version)
        newest = *known;
    file_overlay(c, &newest);
    op->fn.attr(op->arg, 0, &newest, valid_ms);
}

static void fail_attr(struct meta_op *op, int status)
{
    op->fn.attr(op->arg, status, NULL, 0);
}

/* ---- lookup, getattr ---- */

static bool answer_from_cache(struct client *c, uint64_t inode, unsigned name_valid_ms,
                              client_attr_fn *done, void *arg)
{
    unsigned valid_ms;
    const struct wire_attr *known = attr_cache_get(&c->cache, inode, loop_now_ms(), &valid_ms);
    if (!known)
        return false;
    struct wire_attr attr = *known;
    file_overlay(c, &attr);
    c->counters.attr_hits++;
    done(arg, 0, &attr, valid_ms < name_valid_ms ? valid_ms : name_valid_ms);
    return true;
}

static void finish_lookup(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    struct msg_meta_entry_r entry;
    status = meta_entry(reply, status, &entry);
    bool undisturbed = attr_cache_changes(&c->cache, op->parent) == op->dir_changes;
    if (status == 0) {
        if (undisturbed)
            attr_cache_name_put(&c->cache, op->parent, op->name, entry.attr.inode,
                                op->call.asked_ms);
        meta_answer_attr(op, &entry.attr, 0);
        return;
    }
    if (status == -ERR_NO_ENTRY && undisturbed)
        attr_cache_name_put(&c->cache, op->parent, op->name, 0, op->call.asked_ms);
    op->fn.attr(op->arg, status, NULL,
                status == -ERR_NO_ENTRY && undisturbed ? meta_valid_ms(c, op->call.asked_ms) : 0);
}

void client_lookup(struct client *c, const struct client_caller *who, uint64_t parent,
                   struct slice name, client_attr_fn *done, void *arg)
{
    uint64_t inode = 0;
    unsigned valid_ms = 0;
    if (name.size > NAME_LENGTH_MAX) {
        done(arg, -ERR_NAME_TOO_LONG, NULL, 0);
        return;
    }
    enum name_found found =
        attr_cache_name(&c->cache, parent, name, loop_now_ms(), &inode, &valid_ms);
    if (found == NAME_ABSENT) {
        c->counters.name_hits++;
        done(arg, -ERR_NO_ENTRY, NULL, valid_ms);
        return;
    }
    if (found == NAME_KNOWN && answer_from_cache(c, inode, valid_ms, done, arg)) {
        c->counters.name_hits++;
        return;
    }
    struct meta_op *op = meta_op_new(c, finish_lookup, arg, name, slice_of(NULL, 0));
    op->fn.attr = done;
    op->parent = parent;
    encode_meta_lookup(
        &op->call.body,
        &(struct msg_meta_lookup){.caller = meta_caller(who), .parent = parent, .name = name});
    meta_op_start(op, META_READ, MSG_meta_lookup);
}

static void finish_getattr(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct msg_meta_entry_r entry;
    status = meta_entry(reply, status, &entry);
    if (status == 0)
        meta_answer_attr(op, &entry.attr, 0);
    else
        fail_attr(op, status);
}

void client_getattr(struct client *c, const struct client_caller *who, uint64_t inode,
                    client_attr_fn *done, void *arg)
{
    if (answer_from_cache(c, inode, c->attr_ms, done, arg))
        return;
    struct meta_op *op = meta_op_new(c, finish_getattr, arg, slice_of(NULL, 0), slice_of(NULL, 0));
    op->fn.attr = done;
    op->inode = inode;
    encode_meta_getattr(&op->call.body,
                        &(struct msg_meta_getattr){.caller = meta_caller(who), .inode = inode});
    meta_op_start(op, META_READ, MSG_meta_getattr);
}

/* ---- new names ---- */

/* A name now leads to the inode of this answer. */
static void finish_made(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    struct msg_meta_entry_r entry;
    attr_cache_changed_dir(&c->cache, op->parent);
    status = meta_entry(reply, status, &entry);
    if (status != 0) {
        attr_cache_name_drop(&c->cache, op->parent, op->name);
        fail_attr(op, status);
        return;
    }
    attr_cache_name_put(&c->cache, op->parent, op->name, entry.attr.inode, op->call.asked_ms);
    attr_cache_touch_dir(&c->cache, op->parent, &entry.attr, S_ISDIR(entry.attr.mode) ? 1 : 0);
    meta_answer_attr(op, &entry.attr, 0);
}

static struct meta_op *op_made(struct client *c, uint64_t parent, struct slice name,
                               client_attr_fn *done, void *arg)
{
    struct meta_op *op = meta_op_new(c, finish_made, arg, name, slice_of(NULL, 0));
    op->fn.attr = done;
    op->parent = parent;
    return op;
}

/* The encoder takes names of any length: what cannot be sent is refused here. */
static bool refuse_name(struct slice name, client_attr_fn *done, void *arg)
{
    if (name.size <= NAME_LENGTH_MAX)
        return false;
    done(arg, -ERR_NAME_TOO_LONG, NULL, 0);
    return true;
}

void client_mknod(struct client *c, const struct client_caller *who, uint64_t parent,
                  struct slice name, uint32_t mode, uint32_t rdev, client_attr_fn *done, void *arg)
{
    if (refuse_name(name, done, arg))
        return;
    struct meta_op *op = op_made(c, parent, name, done, arg);
    encode_meta_mknod(&op->call.body, &(struct msg_meta_mknod){.caller = meta_caller(who),
                                                               .parent = parent,
                                                               .name = name,
                                                               .mode = mode,
                                                               .rdev = rdev});
    meta_op_start(op, META_CHANGE, MSG_meta_mknod);
}

void client_mkdir(struct client *c, const struct client_caller *who, uint64_t parent,
                  struct slice name, uint32_t mode, client_attr_fn *done, void *arg)
{
    if (refuse_name(name, done, arg))
        return;
    struct meta_op *op = op_made(c, parent, name, done, arg);
    encode_meta_mkdir(&op->call.body, &(struct msg_meta_mkdir){.caller = meta_caller(who),
                                                               .parent = parent,
                                                               .name = name,
                                                               .mode = mode});
    meta_op_start(op, META_CHANGE, MSG_meta_mkdir);
}

void client_symlink(struct client *c, const struct client_caller *who, uint64_t parent,
                    struct slice name, struct slice link_target, client_attr_fn *done, void *arg)
{
    if (refuse_name(name, done, arg))
        return;
    if (link_target.size > LINK_TARGET_MAX) {
        done(arg, -ERR_NAME_TOO_LONG, NULL, 0);
        return;
    }
    struct meta_op *op = op_made(c, parent, name, done, arg);
    encode_meta_symlink(&op->call.body, &(struct msg_meta_symlink){.caller = meta_caller(who),
                                                                   .parent = parent,
                                                                   .name = name,
                                                                   .link_target = link_target});
    meta_op_start(op, META_CHANGE, MSG_meta_symlink);
}

void client_link(struct client *c, const struct client_caller *who, uint64_t inode, uint64_t parent,
                 struct slice name, client_attr_fn *done, void *arg)
{
    if (refuse_name(name, done, arg))
        return;
    struct meta_op *op = op_made(c, parent, name, done, arg);
    op->inode = inode;
    encode_meta_link(&op->call.body, &(struct msg_meta_link){.caller = meta_caller(who),
                                                             .inode = inode,
                                                             .parent = parent,
                                                             .name = name});
    meta_op_start(op, META_CHANGE, MSG_meta_link);
}

/* ---- names that go ---- */

static void finish_gone(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    struct msg_meta_entry_r entry;
    attr_cache_changed_dir(&c->cache, op->parent);
    status = meta_entry(reply, status, &entry);
    if (status != 0) {
        attr_cache_name_drop(&c->cache, op->parent, op->name);
        fail_attr(op, status);
        return;
    }
    bool is_dir = S_ISDIR(entry.attr.mode);
    attr_cache_name_put(&c->cache, op->parent, op->name, 0, op->call.asked_ms);
    attr_cache_touch_dir(&c->cache, op->parent, &entry.attr, is_dir ? -1 : 0);
    meta_answer_attr(op, &entry.attr, 0);
    if ((is_dir || entry.attr.nlink == 0) && !file_find(c, entry.attr.inode))
        attr_cache_drop(&c->cache, entry.attr.inode);
}

void client_unlink(struct client *c, const struct client_caller *who, uint64_t parent,
                   struct slice name, client_attr_fn *done, void *arg)
{
    if (refuse_name(name, done, arg))
        return;
    struct meta_op *op = op_made(c, parent, name, done, arg);
    op->finish = finish_gone;
    encode_meta_unlink(
        &op->call.body,
        &(struct msg_meta_unlink){.caller = meta_caller(who), .parent = parent, .name = name});
    meta_op_start(op, META_CHANGE, MSG_meta_unlink);
}

void client_rmdir(struct client *c, const struct client_caller *who, uint64_t parent,
                  struct slice name, client_attr_fn *done, void *arg)
{
    if (refuse_name(name, done, arg))
        return;
    struct meta_op *op = op_made(c, parent, name, done, arg);
    op->finish = finish_gone;
    encode_meta_rmdir(
        &op->call.body,
        &(struct msg_meta_rmdir){.caller = meta_caller(who), .parent = parent, .name = name});
    meta_op_start(op, META_CHANGE, MSG_meta_rmdir);
}

/* ---- rename ---- */

static int link_change(const struct wire_attr *attr)
{
    return attr->inode != 0 && S_ISDIR(attr->mode) ? 1 : 0;
}

static void renamed(struct meta_op *op, const struct msg_meta_rename_r *r)
{
    struct client *c = op->c;
    bool exchange = (op->flags & RENAME_FLAG_EXCHANGE) != 0;
    bool replaced = r->replaced.inode != 0;
    int moved = link_change(&r->moved), other = link_change(&r->replaced);
    uint64_t known = 0;
    unsigned valid_ms = 0;
    /* Renaming one link of an inode onto another link of it does nothing: both stay. */
    if (!exchange &&
        attr_cache_name(&c->cache, op->new_parent, op->new_name, loop_now_ms(), &known,
                        &valid_ms) == NAME_KNOWN &&
        known == r->moved.inode)
        attr_cache_name_drop(&c->cache, op->parent, op->name);
    else
        attr_cache_name_put(&c->cache, op->parent, op->name, exchange ? r->replaced.inode : 0,
                            op->call.asked_ms);
    attr_cache_name_put(&c->cache, op->new_parent, op->new_name, r->moved.inode, op->call.asked_ms);
    if (op->parent == op->new_parent) {
        attr_cache_touch_dir(&c->cache, op->parent, &r->moved, exchange ? 0 : -other);
    } else {
        attr_cache_touch_dir(&c->cache, op->parent, &r->moved, exchange ? other - moved : -moved);
        attr_cache_touch_dir(&c->cache, op->new_parent, &r->moved, moved - other);
    }
    if (replaced) {
        file_absorb(c, &r->replaced, 0, op->call.asked_ms);
        if (r->replaced.nlink == 0 && !file_find(c, r->replaced.inode))
            attr_cache_drop(&c->cache, r->replaced.inode);
    }
}

static void finish_rename(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    struct msg_meta_rename_r r;
    attr_cache_changed_dir(&c->cache, op->parent);
    attr_cache_changed_dir(&c->cache, op->new_parent);
    if (status == 0 && reply->code != MSG_meta_rename_r)
        status = -ERR_PROTOCOL;
    if (status == 0)
        status = decode_meta_rename_r(reply->body, reply->version, &r);
    if (status == 0 && r.moved.inode == 0)
        status = -ERR_PROTOCOL;
    if (status != 0) {
        attr_cache_name_drop(&c->cache, op->parent, op->name);
        attr_cache_name_drop(&c->cache, op->new_parent, op->new_name);
        fail_attr(op, status);
        return;
    }
    renamed(op, &r);
    meta_answer_attr(op, &r.moved, 0);
}

void client_rename(struct client *c, const struct client_caller *who, uint64_t parent,
                   struct slice name, uint64_t new_parent, struct slice new_name, uint32_t flags,
                   client_attr_fn *done, void *arg)
{
    if (refuse_name(name, done, arg) || refuse_name(new_name, done, arg))
        return;
    struct meta_op *op = meta_op_new(c, finish_rename, arg, name, new_name);
    op->fn.attr = done;
    op->parent = parent;
    op->new_parent = new_parent;
    op->flags = flags;
    encode_meta_rename(&op->call.body, &(struct msg_meta_rename){.caller = meta_caller(who),
                                                                 .parent = parent,
                                                                 .name = name,
                                                                 .new_parent = new_parent,
                                                                 .new_name = new_name,
                                                                 .flags = flags});
    meta_op_start(op, META_CHANGE, MSG_meta_rename);
}
