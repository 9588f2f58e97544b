/* What the operations on names, attributes and open files have in common: one struct from the
 * request to the callback. */
#ifndef CAIRN_CLIENT_META_OP_H
#define CAIRN_CLIENT_META_OP_H

#include "common/client/meta_call.h"
#include "common/wire/codec.h"

struct meta_op;
/* Ends the operation: turns the answer into the callback. The op is freed behind it. */
typedef void meta_finish_fn(struct meta_op *op, int status, struct rpc_reply *reply);

struct meta_op {
    struct meta_call call;
    struct client *c;
    meta_finish_fn *finish;
    union {
        client_attr_fn *attr;
        client_link_target_fn *link_target;
        client_readdir_fn *readdir;
        client_statfs_fn *statfs;
        client_open_fn *open;
        client_done_fn *done;
        client_reply_fn *reply;
    } fn;
    void *arg;
    uint64_t inode, parent, new_parent;
    uint32_t flags;
    uint32_t uid, gid;
    uint32_t dir_changes;        /* own changes in `parent` when it was asked */
    uint64_t reclaims;           /* sets of open files sent when it was asked */
    struct client_file *file;    /* held, or NULL */
    struct slice name, new_name; /* in `text` */
    uint8_t text[];
};

/* Names are copied. The callback's union is the caller's to fill. */
struct meta_op *meta_op_new(struct client *c, meta_finish_fn *finish, void *arg, struct slice name,
                            struct slice new_name);
/* op->call.body holds the encoded request. */
void meta_op_start(struct meta_op *op, enum meta_call_kind kind, uint16_t code);
/* uid, gid and groups as the wire wants them; session and numbers are written at each send. */
struct wire_caller meta_caller(const struct client_caller *who);
/* Decodes the answer of an operation that ends with meta_entry_r: 0 or an error. */
int meta_entry(const struct rpc_reply *reply, int status, struct msg_meta_entry_r *ret_entry);
/* How long an answer that was asked for at asked_ms may be reused. */
unsigned meta_valid_ms(const struct client *c, uint64_t asked_ms);
/* Keeps the attributes of an answer and hands them, newest and with own unflushed data laid over,
 * to the op's attr callback. */
void meta_answer_attr(struct meta_op *op, const struct wire_attr *attr, uint64_t before);

#endif
