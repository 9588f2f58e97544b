/* Numbers of copies: set at once, or by copying a file's chunks into the table of the other number
 * (docs/replicas.md).
 *
 * A move, in order: open for reading; begin at the leader, which gives the new chunks a generation
 * of their own; the chunk map as of then; each chunk read, written to the other table and made
 * stable on all its copies; end at the leader, which switches all slots in one entry, or refuses
 * when something may have been written since. What was copied then is garbage. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/client/chunk_io.h"
#include "common/client/meta_op.h"

#include "common/base/banned.h"

enum { PIECE_SIZE = CHUNK_IO_BYTES_MAX };

struct client_move {
    struct list node; /* c->moves */
    struct client *c;
    struct client_caller who;
    uint32_t groups[GROUPS_MAX];
    uint64_t inode;
    uint8_t copies;
    struct client_handle *handle;
    struct msg_meta_move_begin_r begun;
    uint32_t *todo; /* indexes of chunks, ascending */
    unsigned todo_count, todo_next;
    uint64_t offset;        /* in the file, of the next piece */
    bool exists, is_copied; /* the chunk in hand: somewhere in the other table; whole */
    bool is_io;             /* `io` is under way */
    struct buf *block;
    struct chunk_io io;
    client_copies_fn *done;
    void *arg;
};

static void move_end(struct client_move *mv, int status, const struct wire_attr *attr,
                     const char *detail)
{
    struct client *c = mv->c;
    mv->done(mv->arg, status, attr, detail);
    if (mv->handle && !c->closing) /* handles die with their client */
        client_release(mv->handle);
    list_remove(&mv->node);
    buf_unref(mv->block);
    free(mv->todo);
    free(mv);
}

void client_moves_cancel(struct client *c)
{
    LIST_EACH(node, &c->moves)
    {
        struct client_move *mv = CONTAINER_OF(node, struct client_move, node);
        if (!mv->is_io)
            continue; /* a call or a read, which is cancelled by itself */
        chunk_io_cancel(&mv->io);
        move_end(mv, -ERR_CANCELLED, NULL, "");
    }
}

static const char *detail_of(const struct rpc_reply *reply)
{
    return reply ? reply->detail : "";
}

/* ---- end ---- */

static void finish_end(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client_move *mv = op->arg;
    struct msg_meta_entry_r entry = {0};
    status = meta_entry(reply, status, &entry);
    if (status == 0) /* the contents are the same: cached pages stay good */
        file_absorb(op->c, &entry.attr, entry.data_version_before, op->call.asked_ms);
    move_end(mv, status, status == 0 ? &entry.attr : NULL, detail_of(reply));
}

static void tell_end(struct client_move *mv)
{
    struct meta_op *op = meta_op_new(mv->c, finish_end, mv, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_meta_move_end(&op->call.body, &(struct msg_meta_move_end){
                                             .caller = meta_caller(&mv->who),
                                             .inode = mv->inode,
                                             .copies = mv->copies,
                                             .generation = mv->begun.generation,
                                             .chunk_total = mv->begun.chunk_total,
                                             .data_version = mv->begun.attr.data_version,
                                         });
    meta_op_start(op, META_CHANGE, MSG_meta_move_end);
}

/* ---- chunks ---- */

static void next_step(struct client_move *mv);

static void on_io(struct chunk_io *io, int status)
{
    struct client_move *mv = CONTAINER_OF(io, struct client_move, io);
    mv->is_io = false;
    if (status != 0) {
        move_end(mv, status, NULL, "");
        return;
    }
    if (io->kind == CHUNK_IO_WRITE) {
        mv->exists = true;
    } else {
        mv->todo_next++;
        mv->exists = mv->is_copied = false;
    }
    next_step(mv);
}

static void start_io(struct client_move *mv, enum chunk_io_kind kind, uint32_t offset,
                     uint32_t size)
{
    mv->io = (struct chunk_io){
        .c = mv->c,
        .kind = kind,
        .change = CHANGE_SYNC,
        .id = {.inode = mv->inode,
               .index = mv->todo[mv->todo_next],
               .generation = mv->begun.generation},
        .copies = mv->copies,
        .done = on_io,
    };
    if (kind == CHUNK_IO_WRITE) {
        mv->io.offset = offset;
        mv->io.length = size;
        mv->io.flags = CHUNK_WRITE_CREATE;
        mv->io.slices[0] = (struct net_slice){.buf = mv->block, .size = size};
        mv->io.slice_count = 1;
    }
    mv->is_io = true;
    chunk_io_start(&mv->io);
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* Zeros need no write: what a chunk does not hold reads as zeros. */
static void on_read(void *arg, int status, const struct slice *pieces, unsigned count, size_t size)
{
    struct client_move *mv = arg;
    size_t at = 0;
    uint32_t offset = (uint32_t)(mv->offset % CHUNK_SIZE);
    if (status == 0 && size == 0)
        status = -ERR_FILE_OPEN; /* somebody cuts it */
    if (status != 0) {
        move_end(mv, status, NULL, "");
        return;
    }
    buf_unref(mv->block);
    mv->block = buf_create(size);
    for (unsigned i = 0; i < count; i++) {
        memcpy(mv->block->data + at, pieces[i].data, pieces[i].size);
        at += pieces[i].size;
    }
    mv->offset += size;
    if (is_zero(mv->block->data, size))
        next_step(mv);
    else
        start_io(mv, CHUNK_IO_WRITE, offset, (uint32_t)size);
}

/* A chunk of zeros, or one behind the end of the file, exists all the same: its slot does. */
static void make_empty(struct client_move *mv)
{
    buf_unref(mv->block);
    mv->block = buf_create(BLOCK_SIZE);
    memset(mv->block->data, 0, BLOCK_SIZE);
    start_io(mv, CHUNK_IO_WRITE, 0, BLOCK_SIZE);
}

/* The next piece of the chunk in hand, or its sync, or the next chunk. */
static void next_step(struct client_move *mv)
{
    if (mv->todo_next == mv->todo_count) {
        tell_end(mv);
        return;
    }
    uint64_t start = (uint64_t)mv->todo[mv->todo_next] * CHUNK_SIZE;
    uint64_t end =
        start + CHUNK_SIZE < mv->begun.attr.size ? start + CHUNK_SIZE : mv->begun.attr.size;
    if (mv->offset < start)
        mv->offset = start;
    if (mv->offset < end) {
        uint64_t left = end - mv->offset;
        client_read(mv->handle, mv->offset, left < PIECE_SIZE ? (size_t)left : PIECE_SIZE, on_read,
                    mv);
    } else if (!mv->exists) {
        make_empty(mv);
    } else {
        start_io(mv, CHUNK_IO_CHANGE, 0, 0);
    }
}

/* ---- begin ---- */

static int compare_indexes(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void on_map(void *arg, int status)
{
    struct client_move *mv = arg;
    const struct client_file *f = mv->handle->file;
    size_t cursor = 0;
    if (status == 0 && f->chunks.count != mv->begun.chunk_total)
        status = -ERR_FILE_OPEN; /* somebody writes again */
    if (status != 0) {
        move_end(mv, status, NULL, "");
        return;
    }
    mv->todo = calloc(f->chunks.count + 1, sizeof *mv->todo);
    CHECK(mv->todo);
    for (struct map_entry *e; (e = map_next(&f->chunks, &cursor)) != NULL;)
        mv->todo[mv->todo_count++] = (uint32_t)e->key;
    qsort(mv->todo, mv->todo_count, sizeof *mv->todo, compare_indexes);
    next_step(mv);
}

static void finish_begin(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client_move *mv = op->arg;
    if (status == 0 && reply->code != MSG_meta_move_begin_r)
        status = -ERR_PROTOCOL;
    if (status == 0)
        status = decode_meta_move_begin_r(reply->body, reply->version, &mv->begun);
    if (status == 0 && mv->begun.attr.inode != mv->inode)
        status = -ERR_PROTOCOL;
    if (status != 0) {
        move_end(mv, status, NULL, detail_of(reply));
        return;
    }
    file_data_forget_read(mv->handle->file); /* what was fetched ahead may be older */
    file_refresh(mv->handle->file, on_map, mv);
}

static void on_opened(void *arg, int status, const struct client_opened *opened)
{
    struct client_move *mv = arg;
    if (status != 0) {
        move_end(mv, status, NULL, "");
        return;
    }
    mv->handle = opened->handle;
    struct meta_op *op = meta_op_new(mv->c, finish_begin, mv, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_meta_move_begin(&op->call.body,
                           &(struct msg_meta_move_begin){.caller = meta_caller(&mv->who),
                                                         .inode = mv->inode,
                                                         .copies = mv->copies});
    meta_op_start(op, META_CHANGE, MSG_meta_move_begin);
}

/* ---- set ---- */

static void finish_set(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client_move *mv = op->arg;
    struct msg_meta_entry_r entry = {0};
    status = meta_entry(reply, status, &entry);
    if (status == -ERR_NOT_EMPTY_STATE) {
        client_open(mv->c, &mv->who, mv->inode, OPEN_READ, on_opened, mv);
        return;
    }
    if (status == 0)
        file_absorb(op->c, &entry.attr, 0, op->call.asked_ms);
    move_end(mv, status, status == 0 ? &entry.attr : NULL, detail_of(reply));
}

void client_set_copies(struct client *c, const struct client_caller *who, uint64_t inode,
                       uint8_t copies, client_copies_fn *done, void *arg)
{
    struct client_move *mv = calloc(1, sizeof *mv);
    CHECK(mv);
    mv->c = c;
    mv->who = *who;
    mv->who.group_count = who->group_count > GROUPS_MAX ? GROUPS_MAX : who->group_count;
    for (unsigned i = 0; i < mv->who.group_count; i++)
        mv->groups[i] = who->groups[i];
    mv->who.groups = mv->groups;
    mv->inode = inode;
    mv->copies = copies;
    mv->done = done;
    mv->arg = arg;
    list_append(&c->moves, &mv->node);
    release_of_send(c, inode); /* what was closed here a moment ago is not open */
    struct meta_op *op = meta_op_new(c, finish_set, mv, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_meta_set_copies(&op->call.body, &(struct msg_meta_set_copies){.caller = meta_caller(who),
                                                                         .inode = inode,
                                                                         .copies = copies});
    meta_op_start(op, META_CHANGE, MSG_meta_set_copies);
}
