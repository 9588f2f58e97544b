/* The fake cluster: its chunkservers. The metaserver: fake_cluster_meta.c. */
#include "tests/unit/common/client/fake_cluster.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/check.h"
#include "common/ring/ring.h"
#include "tests/unit/common/client/fake_cluster_private.h"

/* A request that was carried out or will be; answered by its timer. */
struct held {
    struct list node;
    struct fake_target *target;
    struct rpc_request *req;
    struct loop_timer timer;
    struct chunk_id id;
    uint32_t first, last; /* blocks */
    uint64_t bytes;
    bool is_change, cut;
};

static struct fake_chunk *find(struct fake_cluster *k, const struct chunk_id *id, uint8_t copies,
                               bool create)
{
    struct fake_chunk *free_one = NULL;
    for (unsigned i = 0; i < FAKE_CHUNKS; i++) {
        struct fake_chunk *c = &k->chunks[i];
        if (c->id.inode == 0)
            free_one = free_one ? free_one : c;
        else if (chunk_id_equal(&c->id, id))
            return c->copies == copies ? c : NULL;
    }
    if (!create)
        return NULL;
    CHECK(free_one);
    free_one->id = *id;
    free_one->copies = copies;
    free_one->data = mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(free_one->data != MAP_FAILED);
    free_one->written = calloc(CHUNK_SIZE / BLOCK_SIZE, 1);
    CHECK(free_one->written);
    return free_one;
}

static uint32_t crc_at(struct slice crcs, uint32_t i)
{
    const uint8_t *p = crcs.data + (size_t)4 * i;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool crcs_right(const struct msg_chunk_write *m, const uint8_t *data)
{
    uint32_t first = m->offset / BLOCK_SIZE, last = (m->offset + m->length - 1) / BLOCK_SIZE;
    if (m->crcs.size != (size_t)4 * (last - first + 1))
        return false;
    for (uint32_t b = first; b <= last; b++) {
        uint8_t block[BLOCK_SIZE] = {0};
        uint32_t from = b * BLOCK_SIZE > m->offset ? b * BLOCK_SIZE : m->offset;
        uint32_t end = (b + 1) * BLOCK_SIZE < m->offset + m->length ? (b + 1) * BLOCK_SIZE
                                                                    : m->offset + m->length;
        memcpy(block + from % BLOCK_SIZE, data + (from - m->offset), end - from);
        if (chunk_block_crc(&m->id, b, block) != crc_at(m->crcs, b - first))
            return false;
    }
    return true;
}

static bool is_repeat(struct fake_cluster *k, uint64_t session, uint64_t op)
{
    for (unsigned i = 0; i < FAKE_OPS; i++)
        if (k->ops[i].session == session && k->ops[i].op == op) {
            k->repeats++;
            return true;
        }
    k->ops[k->op_count % FAKE_OPS].session = session;
    k->ops[k->op_count++ % FAKE_OPS].op = op;
    return false;
}

/* ---- answers ---- */

static void answer_done(struct rpc_request *req)
{
    struct bytes body = {0};
    encode_chunk_write_r(&body, &(struct msg_chunk_write_r){.version_seq = 1});
    rpc_reply(req, MSG_chunk_write_r, bytes_slice(&body), NULL, 0);
    bytes_release(&body);
}

static void on_held(void *arg)
{
    struct held *h = arg;
    struct fake_cluster *k = h->target->cluster;
    if (k->hold && h->is_change) {
        loop_timer_start_ms(&h->timer, 5);
        return;
    }
    list_remove(&h->node);
    k->bytes_held -= h->bytes;
    if (h->cut) {
        rpc_server_disconnect(h->target->server, h->req->remote->connection);
        rpc_request_drop(h->req);
    } else {
        answer_done(h->req);
    }
    free(h);
}

/* Two changes of a block of one chunk under way at once break the rule. A repeated one may meet
 * its own first try. */
static void hold(struct fake_target *t, struct rpc_request *req, const struct chunk_id *id,
                 uint32_t offset, uint32_t length, bool is_new)
{
    struct fake_cluster *k = t->cluster;
    struct held *h = calloc(1, sizeof *h);
    CHECK(h);
    h->target = t;
    h->req = req;
    h->id = *id;
    h->first = offset / BLOCK_SIZE;
    h->last = length ? (offset + length - 1) / BLOCK_SIZE : h->first;
    h->is_change = true;
    h->bytes = req->payload_size;
    h->cut = prng_chance(&k->prng, k->fault_per_mille / 2);
    LIST_EACH(node, &k->held)
    {
        const struct held *other = CONTAINER_OF(node, struct held, node);
        if (is_new && length && other->bytes && chunk_id_equal(&other->id, id) &&
            other->first <= h->last && h->first <= other->last)
            k->overlaps++;
    }
    list_append(&k->held, &h->node);
    k->bytes_held += h->bytes;
    if (k->bytes_held > k->bytes_held_max)
        k->bytes_held_max = k->bytes_held;
    loop_timer_init(&h->timer, k->loop, on_held, h);
    loop_timer_start_ms(&h->timer, k->delay_ms ? prng_below(&k->prng, k->delay_ms + 1) : 0);
}

/* ---- requests ---- */

static void on_write(struct fake_target *t, struct rpc_request *req)
{
    struct fake_cluster *k = t->cluster;
    struct msg_chunk_write m;
    CHECK(decode_chunk_write(req->body, req->version, &m) == 0);
    k->writes++;
    struct fake_chunk *c = find(k, &m.id, m.shard.copies, (m.flags & CHUNK_WRITE_CREATE) != 0);
    if (!c) {
        rpc_reply_error(req, -ERR_LOST_CHUNK, "", NULL);
        return;
    }
    if (m.length != req->payload_size || !crcs_right(&m, req->payload->data))
        k->crc_wrong++;
    bool is_new = !is_repeat(k, m.session, m.op);
    if (is_new) {
        memcpy(c->data + m.offset, req->payload->data, m.length);
        if (m.offset + m.length > c->length)
            c->length = m.offset + m.length;
        for (uint32_t b = m.offset / BLOCK_SIZE; b <= (m.offset + m.length - 1) / BLOCK_SIZE; b++)
            c->written[b] = 1;
        c->unsynced = (m.flags & CHUNK_WRITE_SYNC) == 0;
        k->syncs += (m.flags & CHUNK_WRITE_SYNC) != 0;
    }
    hold(t, req, &m.id, m.offset, m.length, is_new);
}

static void on_change(struct fake_target *t, struct rpc_request *req)
{
    struct fake_cluster *k = t->cluster;
    struct msg_chunk_change m;
    CHECK(decode_chunk_change(req->body, req->version, &m) == 0);
    k->changes++;
    struct fake_chunk *c = find(k, &m.id, m.shard.copies, false);
    if (!c) {
        rpc_reply_error(req, -ERR_LOST_CHUNK, "", NULL);
        return;
    }
    bool is_new = !is_repeat(k, m.session, m.op);
    if (m.kind == CHANGE_SYNC) {
        c->unsynced = false;
        k->syncs++;
    } else if (m.kind == CHANGE_ZERO && is_new) {
        memset(c->data + m.offset, 0, m.length);
        c->unsynced = true;
    }
    hold(t, req, &m.id, m.offset, m.kind == CHANGE_ZERO ? m.length : 0, is_new);
}

static void on_read(struct fake_target *t, struct rpc_request *req)
{
    struct fake_cluster *k = t->cluster;
    struct msg_chunk_read m;
    CHECK(decode_chunk_read(req->body, req->version, &m) == 0);
    k->reads++;
    t->reads++;
    struct fake_chunk *c = find(k, &m.id, m.shard.copies, false);
    CHECK(m.offset % BLOCK_SIZE == 0 && m.length % BLOCK_SIZE == 0);
    if (!c || t->lost) {
        rpc_reply_error(req, -ERR_LOST_CHUNK, "", NULL);
        return;
    }
    uint32_t have = c->length > m.offset ? c->length - m.offset : 0;
    uint32_t size = have < m.length ? have : m.length;
    struct buf *payload = buf_create(m.length);
    struct bytes crcs = {0}, body = {0};
    memcpy(payload->data, c->data + m.offset, size);
    for (uint32_t at = 0; at < size; at += BLOCK_SIZE) {
        uint32_t block = (m.offset + at) / BLOCK_SIZE;
        uint32_t inside = size - at < BLOCK_SIZE ? size - at : BLOCK_SIZE;
        uint32_t crc = chunk_block_crc_padded(&c->id, block, payload->data + at, inside);
        if (!c->written[block])
            crc = 0;
        uint8_t p[4] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16),
                        (uint8_t)(crc >> 24)};
        bytes_append(&crcs, p, 4);
    }
    if (t->corrupt && size > 0)
        payload->data[size / 2] ^= 0x10;
    encode_chunk_read_r(&body, &(struct msg_chunk_read_r){.version_seq = 1,
                                                          .chunk_length = c->length,
                                                          .crcs = bytes_slice(&crcs)});
    struct net_slice slice = {.buf = payload, .size = size};
    rpc_reply(req, MSG_chunk_read_r, bytes_slice(&body), &slice, size ? 1 : 0);
    buf_unref(payload);
    bytes_release(&crcs);
    bytes_release(&body);
}

/* ---- faults ---- */

static bool misbehave(struct fake_target *t, struct rpc_request *req)
{
    struct fake_cluster *k = t->cluster;
    if (t->fail_count > 0) {
        t->fail_count--;
        if (t->fail_status != 0)
            rpc_reply_error(req, t->fail_status, "told to", NULL);
        else
            rpc_request_drop(req);
        return true;
    }
    if (!prng_chance(&k->prng, k->fault_per_mille))
        return false;
    static const int passing[] = {-ERR_STALE, -ERR_NOT_SYNCED, -ERR_BUSY, -ERR_NO_LEASE};
    uint64_t which = prng_below(&k->prng, 5);
    if (which < 4) {
        rpc_reply_error(req, passing[which], "told to", NULL);
    } else {
        rpc_server_disconnect(t->server, req->remote->connection);
        rpc_request_drop(req);
    }
    return true;
}

static void dispatch(void *arg, struct rpc_request *req)
{
    struct fake_target *t = arg;
    if (req->code == MSG_chunk_suspect) {
        t->suspects++;
        rpc_request_drop(req);
    } else if (misbehave(t, req)) {
        return;
    } else if (req->code == MSG_chunk_write) {
        on_write(t, req);
    } else if (req->code == MSG_chunk_change) {
        on_change(t, req);
    } else {
        CHECK(req->code == MSG_chunk_read);
        on_read(t, req);
    }
}

/* ---- life ---- */

static void add_target(struct fake_cluster *k, unsigned i)
{
    struct fake_target *t = &k->target[i];
    struct err_text why = {""};
    t->cluster = k;
    t->identity = (struct rpc_identity){.cluster = k->identity.cluster, .role = ROLE_CHUNK};
    CHECK(rpc_server_create(k->loop,
                            &(struct rpc_server_options){.address = "127.0.0.1:0",
                                                         .identity = &t->identity,
                                                         .dispatch = dispatch,
                                                         .arg = t},
                            &t->server, &why) == 0);
    char name[] = {'c', (char)('1' + i), 0};
    CHECK(shard_table_register(
              &k->table, ++k->index,
              &(struct target_registration){.uuid = uuid_make(),
                                            .incarnation = 1,
                                            .name = slice_str(name),
                                            .address = slice_str(rpc_server_address(t->server)),
                                            .host = slice_str(name),
                                            .weight = RING_WEIGHT_MEAN},
              &t->id) == 0);
}

struct fake_cluster *fake_cluster_create(struct loop *loop, uint64_t seed)
{
    struct fake_cluster *k = calloc(1, sizeof *k);
    CHECK(k);
    k->loop = loop;
    k->identity = (struct rpc_identity){.cluster = uuid_make(), .role = ROLE_META, .node = 1};
    prng_init(&k->prng, seed);
    list_init(&k->held);
    shard_table_init(&k->table, 4);
    for (unsigned i = 0; i < FAKE_TARGETS; i++)
        add_target(k, i);
    CHECK(shard_table_form(&k->table, ++k->index, FAKE_COPIES) == 0);
    fake_cluster_serve_meta(k);
    return k;
}

void fake_cluster_destroy(struct fake_cluster *k)
{
    LIST_EACH(node, &k->held)
    {
        struct held *h = CONTAINER_OF(node, struct held, node);
        loop_timer_stop(&h->timer);
        rpc_request_drop(h->req);
        free(h);
    }
    rpc_server_destroy(k->meta);
    for (unsigned i = 0; i < FAKE_TARGETS; i++)
        rpc_server_destroy(k->target[i].server);
    for (unsigned i = 0; i < FAKE_CHUNKS; i++) {
        if (k->chunks[i].data)
            munmap(k->chunks[i].data, CHUNK_SIZE);
        free(k->chunks[i].written);
    }
    shard_table_release(&k->table);
    free(k);
}

bool fake_cluster_is_writing(const struct fake_cluster *k, uint64_t inode)
{
    LIST_EACH(node, &k->held)
    {
        const struct held *h = CONTAINER_OF(node, struct held, node);
        if (h->id.inode == inode && !h->cut)
            return true;
    }
    return false;
}

static struct chain_view chain_of(struct fake_cluster *k, uint64_t inode, uint32_t index)
{
    return shard_table_chain(&k->table, FAKE_COPIES, ring_shard_of_chunk(inode, index, 4));
}

struct fake_target *fake_cluster_member(struct fake_cluster *k, uint64_t inode, uint32_t index,
                                        unsigned place)
{
    struct chain_view chain = chain_of(k, inode, index);
    for (unsigned i = 0; i < FAKE_TARGETS; i++)
        if (k->target[i].id == chain.member[place])
            return &k->target[i];
    UNREACHABLE("no such member");
}

void fake_cluster_drop_head(struct fake_cluster *k, uint64_t inode, uint32_t index)
{
    uint32_t head = chain_of(k, inode, index).member[0];
    uint64_t incarnation = 1;
    CHECK(shard_table_offline(&k->table, ++k->index, &head, &incarnation, 1));
}
