/* Calls to other chunkservers: one connection per target, with the address the table gives. */
#include <stdlib.h>
#include <string.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum { INVENTORY_MAX = 1024 };

struct peer {
    struct chunkserver *cs;
    uint32_t target;
    char address[TARGET_TEXT_MAX];
    struct rpc_peer *rpc;
};

static void on_state(void *arg, struct rpc_peer *rpc, bool is_up, const char *why)
{
    struct peer *peer = arg;
    struct chunkserver *cs = peer->cs;
    (void)rpc;
    if (cs->closing)
        return;
    log_debug(is_up ? "peer.up" : "peer.down", "target=%u address=%s why=\"%s\"", peer->target,
              peer->address, why ? why : "");
    if (!is_up) /* it may have said goodbye: do not wait for the next heartbeat to hear of it */
        table_refresh(cs);
    else if (!cs->driver.running) {
        struct chain_event e = {.kind = CHAIN_EVENT_LINK_UP, .u.target = peer->target};
        driver_event(cs, &e);
    }
}

static uint64_t table_version(void *arg)
{
    const struct peer *peer = arg;
    return peer->cs->table.version;
}

static void peer_destroy(struct peer *peer)
{
    (void)map_remove(&peer->cs->peers.by_target, peer->target);
    rpc_peer_destroy(peer->rpc);
    free(peer);
}

/* NULL when the table does not know the target. */
static struct peer *peer_get(struct chunkserver *cs, uint32_t target)
{
    struct peer *peer = map_get(&cs->peers.by_target, target);
    const struct target *t = shard_table_target(&cs->table, target);
    if (peer || !t || t->address[0] == '\0')
        return peer;
    peer = calloc(1, sizeof *peer);
    CHECK(peer != NULL);
    peer->cs = cs;
    peer->target = target;
    memcpy(peer->address, t->address, sizeof peer->address);
    struct rpc_peer_options options = {.address = peer->address,
                                       .identity = &cs->identity,
                                       .state = on_state,
                                       .table_version = table_version,
                                       .arg = peer};
    peer->rpc = rpc_peer_create(cs->loop, &options);
    (void)map_put(&cs->peers.by_target, target, peer);
    return peer;
}

void peers_table_changed(struct chunkserver *cs)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&cs->peers.by_target, &cursor));) {
        struct peer *peer = e->value;
        const struct target *t = shard_table_target(&cs->table, peer->target);
        if (!t || strcmp(t->address, peer->address) != 0)
            peer_destroy(peer);
    }
}

void peers_release(struct chunkserver *cs)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&cs->peers.by_target, &cursor));)
        peer_destroy(e->value);
    map_release(&cs->peers.by_target);
}

/* ---- calls of the core ---- */

static void call_free(struct action *take_action)
{
    struct call *call = CONTAINER_OF(take_action, struct call, action);
    free(call->entries);
    free(call->crcs);
    free(call);
}

static int take_inventory(struct call *call, const struct rpc_reply *reply)
{
    struct msg_resync_inventory_r m;
    struct rec_chunk_inventory row;
    int status = decode_resync_inventory_r(reply->body, reply->version, &m);
    if (status != 0 || m.chunks.count > INVENTORY_MAX)
        return -ERR_PROTOCOL;
    call->entries = calloc(m.chunks.count + 1, sizeof *call->entries);
    CHECK(call->entries != NULL);
    struct slice at = m.chunks.raw;
    uint32_t count = 0;
    while (count < m.chunks.count && rec_chunk_inventory_next(&at, &row))
        call->entries[count++] =
            (struct chain_inventory){.id = row.id,
                                     .version = {row.version_epoch, row.version_seq},
                                     .suspect = row.suspect != 0};
    call->action.done.entries = call->entries;
    call->action.done.entry_count = count;
    call->action.done.end = m.end != 0;
    return 0;
}

static int take_crcs(struct call *call, const struct rpc_reply *reply)
{
    struct msg_resync_crcs_r m;
    int status = decode_resync_crcs_r(reply->body, reply->version, &m);
    if (status != 0 || m.crcs.size % sizeof(uint32_t) ||
        m.crcs.size > CHUNK_BLOCK_COUNT * sizeof(uint32_t))
        return -ERR_PROTOCOL;
    call->crcs = malloc(m.crcs.size + 1);
    CHECK(call->crcs != NULL);
    if (m.crcs.size)
        memcpy(call->crcs, m.crcs.data, m.crcs.size);
    call->action.done.version = (struct chunk_version){m.version_epoch, m.version_seq};
    call->action.done.crcs = call->crcs;
    call->action.done.crc_count = (uint32_t)(m.crcs.size / sizeof(uint32_t));
    return 0;
}

static void on_reply(void *arg, struct rpc_reply *reply)
{
    struct call *call = arg;
    struct chunkserver *cs = call->cs;
    /* The core knows of no cancelling: a peer whose address changed is a broken connection. */
    int status = reply->status == -ERR_CANCELLED && !reply->is_remote ? -ERR_CLOSED : reply->status;
    struct peer *peer = map_get(&cs->peers.by_target, call->target);
    /* What was sent may still be on its way: nothing sent later may overtake its end. */
    if (status == -ERR_TIMEOUT && !reply->is_remote && peer && !cs->closing)
        rpc_peer_reset(peer->rpc, "a call got no answer");
    if (status == 0 && call->code == MSG_resync_inventory)
        status = take_inventory(call, reply);
    else if (status == 0 && call->code == MSG_resync_crcs)
        status = take_crcs(call, reply);
    if (reply->table_version > cs->table.version && !cs->closing)
        table_refresh(cs);
    call->action.done.status = status;
    driver_done(cs, &call->action);
}

/* cs->body holds the request. */
static void call_send(struct chunkserver *cs, const struct chain_work *w, uint16_t code,
                      struct buf *payload, uint32_t payload_size)
{
    struct call *call = calloc(1, sizeof *call);
    CHECK(call != NULL);
    list_init(&call->action.node);
    call->action.done.id = w->id;
    call->action.release = call_free;
    call->cs = cs;
    call->target = w->target;
    call->code = code;
    struct peer *peer = peer_get(cs, w->target);
    if (!peer) {
        table_refresh(cs);
        call->action.done.status = -ERR_UNREACHABLE;
        driver_done(cs, &call->action);
        return;
    }
    struct net_slice part = {payload, 0, payload_size};
    struct rpc_call_options options = {.code = code,
                                       .body = bytes_slice(&cs->body),
                                       .payload = &part,
                                       .payload_count = payload && payload_size ? 1 : 0,
                                       .deadline_ms = loop_now_ms() + CALL_MS};
    (void)rpc_call(peer->rpc, &options, on_reply, call);
}

static struct wire_shardref shard_of(const struct chain_work *w)
{
    return (struct wire_shardref){.copies = w->copies, .shard = w->shard, .epoch = w->epoch};
}

static void forward(struct chunkserver *cs, const struct chain_work *w)
{
    struct msg_chain_op m = {.id = w->chunk,
                             .shard = shard_of(w),
                             .sender = cs->target,
                             .kind = (uint8_t)w->op_kind,
                             .session = w->session,
                             .op = w->op,
                             .version_epoch = w->version.epoch,
                             .version_seq = w->version.seq,
                             .previous_epoch = w->previous.epoch,
                             .previous_seq = w->previous.seq,
                             .offset = w->offset,
                             .length = w->length,
                             .flags = w->flags,
                             .crcs = w->crcs};
    bytes_clear(&cs->body);
    encode_chain_op(&cs->body, &m);
    call_send(cs, w, MSG_chain_op, w->payload, w->payload_size);
}

struct finish_length {
    struct work work;
    struct chunkserver *cs;
    struct chain_work item;
    uint32_t length;
};

static void finish_send(struct chunkserver *cs, const struct chain_work *w, uint32_t length)
{
    struct msg_resync_finish m = {.id = w->chunk,
                                  .shard = shard_of(w),
                                  .sender = cs->target,
                                  .absent = w->absent,
                                  .length = length,
                                  .version_epoch = w->version.epoch,
                                  .version_seq = w->version.seq};
    bytes_clear(&cs->body);
    encode_resync_finish(&cs->body, &m);
    call_send(cs, w, MSG_resync_finish, NULL, 0);
}

static void finish_run(struct work *work)
{
    struct finish_length *f = CONTAINER_OF(work, struct finish_length, work);
    struct store_entry e;
    work->status = store_stat(f->cs->store, &f->item.chunk, &e);
    f->length = work->status == 0 ? e.length : 0;
}

static void finish_done(struct work *work)
{
    struct finish_length *f = CONTAINER_OF(work, struct finish_length, work);
    struct chunkserver *cs = f->cs;
    if (!cs->closing && work->status == 0)
        finish_send(cs, &f->item, f->length);
    else if (!cs->closing) {
        struct call *call = calloc(1, sizeof *call);
        CHECK(call != NULL);
        call->action.done = (struct chain_done){.id = f->item.id, .status = work->status};
        call->action.release = call_free;
        driver_done(cs, &call->action);
    }
    free(f);
}

/* The chunk is locked by the core: its length stays. */
static void finish(struct chunkserver *cs, const struct chain_work *w)
{
    if (w->absent) {
        finish_send(cs, w, 0);
        return;
    }
    struct finish_length *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->cs = cs;
    f->item = *w;
    f->item.payload = NULL;
    f->work = (struct work){.run = finish_run, .done = finish_done};
    if (work_submit(cs->pool, &f->work) != 0) {
        f->work.status = -ERR_BUSY;
        finish_done(&f->work);
    }
}

void peers_start(struct chunkserver *cs, const struct chain_work *item)
{
    const struct chain_work *w = item;
    bytes_clear(&cs->body);
    switch (w->kind) {
    case CHAIN_WORK_FORWARD:
        forward(cs, w);
        break;
    case CHAIN_WORK_RESYNC_INVENTORY: {
        struct msg_resync_inventory m = {.shard = shard_of(w),
                                         .sender = cs->target,
                                         .after = w->after,
                                         .count_max = w->count_max};
        encode_resync_inventory(&cs->body, &m);
        call_send(cs, w, MSG_resync_inventory, NULL, 0);
        break;
    }
    case CHAIN_WORK_RESYNC_CRCS: {
        struct msg_resync_crcs m = {.id = w->chunk, .shard = shard_of(w), .sender = cs->target};
        encode_resync_crcs(&cs->body, &m);
        call_send(cs, w, MSG_resync_crcs, NULL, 0);
        break;
    }
    case CHAIN_WORK_RESYNC_SEAL: {
        struct msg_resync_seal m = {.shard = shard_of(w), .sender = cs->target};
        encode_resync_seal(&cs->body, &m);
        call_send(cs, w, MSG_resync_seal, NULL, 0);
        break;
    }
    case CHAIN_WORK_RESYNC_FINISH:
        finish(cs, w);
        break;
    default:
        UNREACHABLE("call %d", (int)w->kind);
    }
}

void peers_send_blocks(struct store_action *take_action)
{
    struct store_action *a = take_action;
    struct chunkserver *cs = a->cs;
    const struct chain_work *w = &a->item;
    struct msg_resync_write m = {
        .id = w->chunk,
        .shard = shard_of(w),
        .sender = cs->target,
        .offset = w->offset,
        .length = w->length,
        .crcs = slice_of(a->read_crcs, (size_t)w->length / BLOCK_SIZE * sizeof(uint32_t))};
    bytes_clear(&cs->body);
    encode_resync_write(&cs->body, &m);
    call_send(cs, w, MSG_resync_write, a->data, w->length);
    a->action.release(&a->action);
}

bool peers_repair_read(struct chunkserver *cs, uint32_t target, const struct chunk_id *id,
                       const struct wire_shardref *shard, uint32_t offset, uint32_t length,
                       rpc_reply_fn *fn, void *arg)
{
    struct peer *peer = peer_get(cs, target);
    if (!peer)
        return false;
    struct msg_repair_read m = {
        .id = *id, .shard = *shard, .sender = cs->target, .offset = offset, .length = length};
    bytes_clear(&cs->body);
    encode_repair_read(&cs->body, &m);
    struct rpc_call_options options = {.code = MSG_repair_read,
                                       .body = bytes_slice(&cs->body),
                                       .deadline_ms = loop_now_ms() + CALL_MS};
    (void)rpc_call(peer->rpc, &options, fn, arg);
    return true;
}
