/* Operations of a history as requests, and answers as observations. */
#include "tests/sim/meta_sim.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/check.h"

static void take_body(struct body *b, uint16_t code, struct bytes *take_bytes)
{
    CHECK(take_bytes->size <= BODY_MAX);
    b->code = code;
    b->size = (uint32_t)take_bytes->size;
    memcpy(b->bytes, take_bytes->data, take_bytes->size);
    bytes_release(take_bytes);
}

#define PUT(name, ...)                              \
    do {                                            \
        struct msg_##name request = {__VA_ARGS__};  \
        encode_##name(&bytes, &request);            \
        take_body(&c->request, MSG_##name, &bytes); \
    } while (0)

static struct wire_caller caller_of(const struct session *c, bool changes)
{
    return (struct wire_caller){.session = c->session,
                                .sequence = changes ? c->sequence : 0,
                                .lowest_unanswered = c->sequence,
                                .gid = c->op.value}; /* the tag */
}

/* Step 0 makes the cluster, 1 the session, the others the directories; all may be repeated. */
void request_prepare(struct session *c, uint32_t client, unsigned step)
{
    struct bytes bytes = {0};
    char name[HISTORY_NAME_SIZE];
    struct uuid uuid = {{(uint8_t)client, (uint8_t)c->lives, (uint8_t)(c->lives >> 8), 1}};
    if (step == 0) {
        PUT(cluster_init, .cluster = uuid, .copies = 1, .shard_count = 2);
    } else if (step == 1) {
        PUT(session_open, .client = uuid, .name = slice_str("client"), .mount = slice_str("/"));
    } else {
        (void)snprintf(name, sizeof name, "g%u.%u", (step - 2) / 2, step % 2);
        PUT(meta_mkdir, .caller = caller_of(c, true), .parent = ROOT_INODE, .name = slice_str(name),
            .mode = 0755);
    }
}

static void encode_names(struct session *c, uint64_t parent, struct slice name)
{
    const struct history_op *op = &c->op;
    struct wire_caller who = caller_of(c, !history_is_read(op->kind));
    struct bytes bytes = {0};
    char text[HISTORY_NAME_SIZE];
    if (op->kind == HISTORY_CREATE && op->value % 2 == 0)
        PUT(meta_mknod, .caller = who, .parent = parent, .name = name, .mode = S_IFREG | 0644);
    else if (op->kind == HISTORY_CREATE)
        PUT(meta_create, .caller = who, .parent = parent, .name = name, .mode = 0644,
            .flags = OPEN_WRITE | OPEN_EXCLUSIVE);
    else if (op->kind == HISTORY_MKDIR)
        PUT(meta_mkdir, .caller = who, .parent = parent, .name = name, .mode = 0755);
    else if (op->kind == HISTORY_UNLINK)
        PUT(meta_unlink, .caller = who, .parent = parent, .name = name);
    else if (op->kind == HISTORY_RMDIR)
        PUT(meta_rmdir, .caller = who, .parent = parent, .name = name);
    else if (op->kind == HISTORY_LOOKUP)
        PUT(meta_lookup, .caller = who, .parent = parent, .name = name);
    else if (op->kind == HISTORY_LINK)
        PUT(meta_link, .caller = who, .inode = op->inode, .parent = parent, .name = name);
    else
        PUT(meta_rename, .caller = who, .parent = parent, .name = name,
            .new_parent = meta.directories[op->group * 2 + history_directory(op->slot2)],
            .new_name = history_name(op->slot2, text), .flags = op->flags);
}

void request_encode(struct session *c)
{
    const struct history_op *op = &c->op;
    const uint64_t *directories = &meta.directories[(size_t)op->group * 2];
    struct wire_caller who = caller_of(c, !history_is_read(op->kind));
    struct bytes bytes = {0};
    char text[HISTORY_NAME_SIZE];
    if (op->kind == HISTORY_GETATTR)
        PUT(meta_getattr, .caller = who, .inode = op->inode);
    else if (op->kind == HISTORY_SETATTR)
        PUT(meta_setattr, .caller = who, .inode = op->inode, .valid = SETATTR_UID,
            .uid = op->value);
    else if (op->kind == HISTORY_LIST)
        PUT(meta_readdir, .caller = who, .inode = directories[op->slot], .bytes_max = BODY_MAX);
    else
        encode_names(c, directories[history_directory(op->slot)], history_name(op->slot, text));
}

static bool decode_list(struct history_op *op, struct slice body)
{
    struct msg_meta_readdir_r m;
    struct rec_dirent entry;
    if (decode_meta_readdir_r(body, WIRE_VERSION, &m) != 0 || !m.end)
        return false;
    struct slice cursor = m.entries.raw;
    while (rec_dirent_next(&cursor, &entry))
        history_see_entry(op, entry.name, &entry.attr);
    return true;
}

static bool decode_entry(struct slice body, uint16_t code, struct wire_attr *ret_attr)
{
    struct msg_meta_entry_r entry;
    struct msg_meta_open_r opened;
    struct msg_meta_rename_r renamed;
    if (code == MSG_meta_entry_r && decode_meta_entry_r(body, WIRE_VERSION, &entry) == 0)
        *ret_attr = entry.attr;
    else if (code == MSG_meta_open_r && decode_meta_open_r(body, WIRE_VERSION, &opened) == 0)
        *ret_attr = opened.attr;
    else if (code == MSG_meta_rename_r && decode_meta_rename_r(body, WIRE_VERSION, &renamed) == 0)
        *ret_attr = renamed.moved;
    else
        return false;
    return true;
}

bool request_decode(struct session *c, const struct body *answer)
{
    struct slice body = slice_of(answer->bytes, answer->size);
    struct wire_attr attr;
    if (c->op.kind == HISTORY_LIST)
        return answer->code == MSG_meta_readdir_r && decode_list(&c->op, body);
    if (!decode_entry(body, answer->code, &attr))
        return false;
    c->op.seen = history_see(&attr);
    return true;
}
