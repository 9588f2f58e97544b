/* Operations that read and leave nothing in an open file: readlink, readdir, statfs, raw calls. */
#include "common/client/meta_op.h"

#include <stdlib.h>

#include "common/base/banned.h"

/* ---- readlink ---- */

static void finish_readlink(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct msg_meta_readlink_r r = {0};
    if (status == 0 && reply->code != MSG_meta_readlink_r)
        status = -ERR_PROTOCOL;
    if (status == 0)
        status = decode_meta_readlink_r(reply->body, reply->version, &r);
    op->fn.link_target(op->arg, status, status == 0 ? r.link_target : slice_of(NULL, 0));
}

void client_readlink(struct client *c, const struct client_caller *who, uint64_t inode,
                     client_link_target_fn *done, void *arg)
{
    struct meta_op *op = meta_op_new(c, finish_readlink, arg, slice_of(NULL, 0), slice_of(NULL, 0));
    op->fn.link_target = done;
    encode_meta_readlink(&op->call.body,
                         &(struct msg_meta_readlink){.caller = meta_caller(who), .inode = inode});
    meta_op_start(op, META_READ, MSG_meta_readlink);
}

/* ---- readdir ---- */

static int decode_entries(struct meta_op *op, const struct msg_meta_readdir_r *r,
                          struct client_dirent *entries)
{
    struct client *c = op->c;
    struct slice cursor = r->entries.raw;
    struct rec_dirent record;
    unsigned valid_ms = meta_valid_ms(c, op->call.asked_ms);
    for (unsigned i = 0; i < r->entries.count; i++) {
        if (!rec_dirent_next(&cursor, &record) || record.attr.inode == 0)
            return -ERR_PROTOCOL;
        file_absorb(c, &record.attr, 0, op->call.asked_ms);
        entries[i] = (struct client_dirent){
            .cookie = record.cookie,
            .name = record.name,
            .attr = record.attr,
            .valid_ms = valid_ms,
        };
        file_overlay(c, &entries[i].attr);
    }
    return 0;
}

static void finish_readdir(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct msg_meta_readdir_r r = {0};
    struct client_dirent *entries = NULL;
    if (status == 0 && reply->code != MSG_meta_readdir_r)
        status = -ERR_PROTOCOL;
    if (status == 0)
        status = decode_meta_readdir_r(reply->body, reply->version, &r);
    if (status == 0 && r.entries.count != 0) {
        entries = calloc(r.entries.count, sizeof *entries);
        status = entries ? decode_entries(op, &r, entries) : -ERR_NO_MEMORY;
    }
    if (status == 0)
        op->fn.readdir(op->arg, 0, entries, r.entries.count, r.end != 0);
    else
        op->fn.readdir(op->arg, status, NULL, 0, false);
    free(entries);
}

void client_readdir(struct client *c, const struct client_caller *who, uint64_t inode,
                    uint64_t cookie, uint32_t bytes_max, client_readdir_fn *done, void *arg)
{
    struct meta_op *op = meta_op_new(c, finish_readdir, arg, slice_of(NULL, 0), slice_of(NULL, 0));
    op->fn.readdir = done;
    encode_meta_readdir(&op->call.body, &(struct msg_meta_readdir){.caller = meta_caller(who),
                                                                   .inode = inode,
                                                                   .cookie = cookie,
                                                                   .bytes_max = bytes_max});
    meta_op_start(op, META_READ, MSG_meta_readdir);
}

/* ---- statfs, raw calls ---- */

static void finish_statfs(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct msg_meta_statfs_r r = {0};
    if (status == 0 && reply->code != MSG_meta_statfs_r)
        status = -ERR_PROTOCOL;
    if (status == 0)
        status = decode_meta_statfs_r(reply->body, reply->version, &r);
    struct client_statfs answer = {
        .bytes_total = r.bytes_total,
        .bytes_free = r.bytes_free,
        .file_count = r.file_count,
        .files_free = r.files_free,
    };
    op->fn.statfs(op->arg, status, status == 0 ? &answer : NULL);
}

void client_statfs(struct client *c, client_statfs_fn *done, void *arg)
{
    struct meta_op *op = meta_op_new(c, finish_statfs, arg, slice_of(NULL, 0), slice_of(NULL, 0));
    op->fn.statfs = done;
    encode_meta_statfs(&op->call.body, &(struct msg_meta_statfs){0});
    meta_op_start(op, META_PLAIN, MSG_meta_statfs);
}

static void finish_leader_call(struct meta_op *op, int status, struct rpc_reply *reply)
{
    if (reply && status == 0)
        op->fn.reply(op->arg, 0, reply->code, reply->body, "");
    else
        op->fn.reply(op->arg, status, 0, slice_of(NULL, 0),
                     reply ? reply->detail : err_text(status));
}

void client_leader_call(struct client *c, uint16_t code, struct slice body, client_reply_fn *done,
                        void *arg)
{
    struct meta_op *op =
        meta_op_new(c, finish_leader_call, arg, slice_of(NULL, 0), slice_of(NULL, 0));
    op->fn.reply = done;
    bytes_append(&op->call.body, body.data, body.size);
    meta_op_start(op, META_PLAIN, code);
}
