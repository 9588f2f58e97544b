/* The fake cluster's metaserver: as much as files and their chunks need. */
#include <string.h>
#include <sys/stat.h>

#include "common/base/check.h"
#include "tests/unit/common/client/fake_cluster_private.h"

#define DECODE(name, req) \
    struct msg_##name r;  \
    CHECK(decode_##name((req)->body, (req)->version, &r) == 0)

static void reply(struct rpc_request *req, uint16_t code, struct bytes *body)
{
    rpc_reply(req, code, bytes_slice(body), NULL, 0);
    bytes_release(body);
}

static void reply_entry(struct rpc_request *req, const struct wire_attr *attr, uint64_t before)
{
    struct bytes body = {0};
    encode_meta_entry_r(&body, &(struct msg_meta_entry_r){.attr = *attr,
                                                          .index = attr->version,
                                                          .data_version_before = before});
    reply(req, MSG_meta_entry_r, &body);
}

static void reply_open(struct fake_cluster *k, struct rpc_request *req, uint64_t inode,
                       bool created)
{
    struct bytes body = {0};
    encode_meta_open_r(&body, &(struct msg_meta_open_r){.attr = k->files[inode],
                                                        .created = created,
                                                        .chunk_total = k->slot_count[inode],
                                                        .chunks = {.count = k->slot_count[inode],
                                                                   .items = k->slots[inode]},
                                                        .index = k->index});
    reply(req, MSG_meta_open_r, &body);
}

static void changed(struct fake_cluster *k, uint64_t inode)
{
    k->files[inode].version = k->files[inode].data_version = ++k->index;
}

static void set_size(struct fake_cluster *k, uint64_t inode, uint64_t size)
{
    struct wire_attr *attr = &k->files[inode];
    unsigned kept = 0;
    if (size < attr->size)
        attr->chunk_generation++;
    for (unsigned i = 0; i < k->slot_count[inode]; i++)
        if (k->slots[inode][i].index < (size + CHUNK_SIZE - 1) / CHUNK_SIZE)
            k->slots[inode][kept++] = k->slots[inode][i];
    k->slot_count[inode] = kept;
    attr->size = size;
    changed(k, inode);
}

void fake_cluster_cut(struct fake_cluster *k, uint64_t inode)
{
    set_size(k, inode, 0);
    for (unsigned i = 0; i < FAKE_CHUNKS; i++)
        if (k->chunks[i].id.inode == inode)
            k->chunks[i].id.generation = UINT32_MAX; /* gone */
}

static void on_commit(struct fake_cluster *k, struct rpc_request *req)
{
    DECODE(meta_commit, req);
    struct wire_attr *attr = &k->files[r.inode];
    uint64_t before = attr->data_version;
    struct slice cursor = r.added.raw;
    struct rec_chunk_slot slot;
    if (r.generation < k->moved_generation[r.inode]) {
        rpc_reply_error(req, -ERR_STALE_HANDLE, "", NULL);
        return;
    }
    k->commits++;
    k->commit_early += fake_cluster_is_writing(k, r.inode);
    for (unsigned i = 0; i < FAKE_CHUNKS; i++)
        k->commit_unsynced += k->chunks[i].id.inode == r.inode && k->chunks[i].unsynced;
    while (rec_chunk_slot_next(&cursor, &slot)) {
        CHECK(k->slot_count[r.inode] < 16);
        k->slots[r.inode][k->slot_count[r.inode]++] = slot;
    }
    if (r.size_min > attr->size)
        attr->size = r.size_min;
    changed(k, r.inode);
    reply_entry(req, attr, before);
}

/* ---- copies ---- */

static void on_set_copies(struct fake_cluster *k, struct rpc_request *req)
{
    DECODE(meta_set_copies, req);
    if (k->slot_count[r.inode] != 0) {
        rpc_reply_error(req, -ERR_NOT_EMPTY_STATE, "", NULL);
        return;
    }
    k->files[r.inode].copies = r.copies;
    k->files[r.inode].chunk_generation++;
    changed(k, r.inode);
    reply_entry(req, &k->files[r.inode], 0);
}

static void on_move_begin(struct fake_cluster *k, struct rpc_request *req)
{
    DECODE(meta_move_begin, req);
    struct wire_attr *attr = &k->files[r.inode];
    struct bytes body = {0};
    if (!k->table.shards[r.copies])
        CHECK(shard_table_form(&k->table, ++k->index, r.copies) == 0);
    attr->chunk_generation += 2;
    attr->version = ++k->index;
    encode_meta_move_begin_r(
        &body, &(struct msg_meta_move_begin_r){.attr = *attr,
                                               .generation = attr->chunk_generation - 1,
                                               .chunk_total = k->slot_count[r.inode]});
    reply(req, MSG_meta_move_begin_r, &body);
}

/* The old chunks are gone at once. */
static void on_move_end(struct fake_cluster *k, struct rpc_request *req)
{
    DECODE(meta_move_end, req);
    struct wire_attr *attr = &k->files[r.inode];
    unsigned stable = 0;
    if (k->moves_disturbed > 0 || r.data_version != attr->data_version ||
        r.generation != attr->chunk_generation - 1) {
        k->moves_disturbed -= k->moves_disturbed > 0;
        rpc_reply_error(req, -ERR_FILE_OPEN, "", NULL);
        return;
    }
    for (unsigned i = 0; i < FAKE_CHUNKS; i++) {
        struct fake_chunk *c = &k->chunks[i];
        if (c->id.inode != r.inode)
            continue;
        if (c->id.generation == r.generation)
            stable += !c->unsynced && c->copies == r.copies;
        else if (!k->keep_garbage)
            c->id.generation = UINT32_MAX;
    }
    k->move_unsynced += k->slot_count[r.inode] - stable;
    for (unsigned i = 0; i < k->slot_count[r.inode]; i++)
        k->slots[r.inode][i].generation = r.generation;
    uint64_t before = attr->data_version;
    attr->copies = r.copies;
    k->moved_generation[r.inode] = ++attr->chunk_generation;
    k->moves++;
    changed(k, r.inode);
    reply_entry(req, attr, before);
}

static void on_create(struct fake_cluster *k, struct rpc_request *req)
{
    uint64_t inode = ++k->inode_count + 1;
    CHECK(inode < FAKE_FILES);
    k->files[inode] = (struct wire_attr){.inode = inode,
                                         .mode = S_IFREG | 0644,
                                         .nlink = 1,
                                         .chunk_generation = 1,
                                         .copies = FAKE_COPIES};
    changed(k, inode);
    reply_open(k, req, inode, true);
}

static void on_file(struct fake_cluster *k, struct rpc_request *req)
{
    if (req->code == MSG_meta_commit) {
        on_commit(k, req);
    } else if (req->code == MSG_meta_set_copies) {
        on_set_copies(k, req);
    } else if (req->code == MSG_meta_move_begin) {
        on_move_begin(k, req);
    } else if (req->code == MSG_meta_move_end) {
        on_move_end(k, req);
    } else if (req->code == MSG_meta_create) {
        on_create(k, req);
    } else if (req->code == MSG_meta_open) {
        DECODE(meta_open, req);
        reply_open(k, req, r.inode, false);
    } else if (req->code == MSG_meta_getattr) {
        DECODE(meta_getattr, req);
        reply_entry(req, &k->files[r.inode], 0);
    } else if (req->code == MSG_meta_setattr) {
        DECODE(meta_setattr, req);
        uint64_t before = k->files[r.inode].data_version;
        k->setattrs++;
        set_size(k, r.inode, r.size);
        reply_entry(req, &k->files[r.inode], before);
    } else {
        DECODE(meta_chunks, req);
        struct bytes body = {0};
        encode_meta_chunks_r(
            &body, &(struct msg_meta_chunks_r){
                       .chunks = {.count = k->slot_count[r.inode], .items = k->slots[r.inode]},
                       .end = 1,
                       .copies = k->files[r.inode].copies,
                       .generation = k->files[r.inode].chunk_generation});
        reply(req, MSG_meta_chunks_r, &body);
    }
}

static void dispatch(void *arg, struct rpc_request *req)
{
    struct fake_cluster *k = arg;
    struct bytes body = {0};
    if (req->code == MSG_session_open) {
        k->session++;
        encode_session_open_r(&body, &(struct msg_session_open_r){.session = k->session + 100,
                                                                  .timeout_ms = 5000,
                                                                  .copies = FAKE_COPIES,
                                                                  .shard_count = 4});
        reply(req, MSG_session_open_r, &body);
    } else if (req->code == MSG_session_alive) {
        DECODE(session_alive, req);
        if (r.session != k->session + 100) {
            rpc_reply_error(req, -ERR_NO_SESSION, "", NULL);
            return;
        }
        encode_session_alive_r(&body, &(struct msg_session_alive_r){.term = 1});
        reply(req, MSG_session_alive_r, &body);
    } else if (req->code == MSG_shard_table) {
        shard_table_encode(&k->table, 0, &body);
        reply(req, MSG_shard_table_r, &body);
    } else if (req->code == MSG_meta_release || req->code == MSG_session_close) {
        encode_done_r(&body, &(struct msg_done_r){0});
        reply(req, MSG_done_r, &body);
    } else if (req->code == MSG_meta_member) {
        rpc_reply_error(req, -ERR_NOT_SUPPORTED, NULL, NULL); /* the list of metaservers */
    } else {
        on_file(k, req);
    }
}

static uint64_t table_version(void *arg)
{
    const struct fake_cluster *k = arg;
    return k->table.version;
}

void fake_cluster_serve_meta(struct fake_cluster *k)
{
    struct err_text why = {""};
    CHECK(rpc_server_create(k->loop,
                            &(struct rpc_server_options){.address = "127.0.0.1:0",
                                                         .identity = &k->identity,
                                                         .dispatch = dispatch,
                                                         .table_version = table_version,
                                                         .arg = k},
                            &k->meta, &why) == 0);
}
