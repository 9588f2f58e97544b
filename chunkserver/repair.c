/* Bad blocks of ours: found by a check, fetched from another member, put in place; or, where this
 * replica is the authority after an unclean stop and nobody has better ones, taken as they are. */
#include <stdlib.h>
#include <string.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/wire/prim.h"
#include "common/base/banned.h"

enum {
    SCAN_SIZE = 1 << 20,
    SUSPECTS_MAX = 64, /* reports of readers under way; beyond: -ERR_BUSY */
    CRC_LOST = -1,     /* what store_crcs gives for a CRC that is itself lost */
};

enum repair_kind { REPAIR_RESOLVE, REPAIR_RANGE, REPAIR_SUSPECT };

struct repair {
    struct action action;    /* RESOLVE, RANGE */
    struct rpc_request *rpc; /* SUSPECT */
    struct chunkserver *cs;
    enum repair_kind kind;
    struct chunk_id id;
    struct wire_shardref shard;
    struct chunk_version version; /* RESOLVE: what the chunk becomes */
    uint32_t targets[CHAIN_VIEW_MAX + 1];
    unsigned target_count, target_next;
    uint32_t at, end; /* bytes that are still to be looked at */
    bool found;       /* `block` is bad */
    uint32_t block;
    struct buf *data; /* of the peer */
    uint32_t crc;
    struct chunk_version peer_version;
    uint32_t repaired, accepted;
    struct work work;
};

static void repair_free(struct action *take_action)
{
    struct repair *r = CONTAINER_OF(take_action, struct repair, action);
    r->cs->repair_count -= r->kind == REPAIR_SUSPECT;
    buf_unref(r->data);
    free(r);
}

static void repair_log(const struct repair *r, int status)
{
    char chunk[CHUNK_ID_TEXT_SIZE];
    chunk_id_format(&r->id, chunk);
    if (status != 0) {
        metric_add(&r->cs->metrics.blocks_unrepaired, 1);
        log_error("repair.failed", "chunk=%s shard=%u-%x block=%u error=%s", chunk, r->shard.copies,
                  r->shard.shard, r->block, err_name(status));
    } else if (r->repaired || r->accepted)
        log_warn("repair.done", "chunk=%s shard=%u-%x blocks_repaired=%u blocks_accepted=%u", chunk,
                 r->shard.copies, r->shard.shard, r->repaired, r->accepted);
    else
        log_debug("repair.none", "chunk=%s", chunk);
}

static void repair_end(struct repair *r, int status)
{
    struct chunkserver *cs = r->cs;
    store_status_note(cs, status);
    if (!cs->closing)
        repair_log(r, status);
    if (r->kind != REPAIR_SUSPECT) {
        r->action.done.status = status;
        driver_done(cs, &r->action);
        return;
    }
    if (cs->closing)
        rpc_request_drop(r->rpc);
    else if (status != 0)
        rpc_reply_error(r->rpc, status, NULL, NULL);
    else {
        struct msg_done_r m = {0};
        bytes_clear(&cs->body);
        encode_done_r(&cs->body, &m);
        rpc_reply(r->rpc, MSG_done_r, bytes_slice(&cs->body), NULL, 0);
    }
    repair_free(&r->action);
}

/* ---- on a worker, in the chunk's strand: no change of the chunk comes between ---- */

static int finish_resolve(struct repair *r)
{
    int status = store_set_version(r->cs->store, &r->id, r->version);
    if (status == 0)
        status = store_sync(r->cs->store, &r->id);
    return status == 0 ? store_clear_suspect(r->cs->store, &r->id) : status;
}

/* Looks for the next bad block. */
static int scan(struct repair *r)
{
    struct store_entry e;
    struct store_fault fault = {0};
    struct store_read read;
    int status = store_stat(r->cs->store, &r->id, &e);
    if (status != 0)
        return status;
    if (e.flags & STORE_ENTRY_DAMAGED)
        return -ERR_CORRUPT;
    uint32_t length = (e.length + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    uint32_t end = r->end < length ? r->end : length;
    struct buf *page = buf_create(SCAN_SIZE);
    uint32_t crcs[SCAN_SIZE / BLOCK_SIZE];
    r->found = false;
    while (status == 0 && r->at < end) {
        uint32_t size = end - r->at < SCAN_SIZE ? end - r->at : SCAN_SIZE;
        status = store_read(r->cs->store, &r->id, r->at, size, STORE_READ_VERIFY, page->data, crcs,
                            &read, &fault);
        r->at += status == 0 ? size : 0;
    }
    buf_unref(page);
    if (status == -ERR_CORRUPT && !fault.header) {
        r->found = true;
        r->block = fault.block;
        status = 0;
    }
    if (status == 0 && !r->found && r->kind == REPAIR_RESOLVE)
        status = finish_resolve(r);
    return status;
}

static int own_state(struct repair *r, uint32_t *ret_crc, struct chunk_version *ret_version)
{
    uint32_t count, *crcs = malloc(CHUNK_BLOCK_COUNT * sizeof *crcs);
    CHECK(crcs != NULL);
    int status = store_crcs(r->cs->store, &r->id, crcs, &count, ret_version);
    if (status == 0)
        *ret_crc = r->block < count ? crcs[r->block] : 0;
    free(crcs);
    return status;
}

/* The peer's bytes are ours when the CRC we kept says so. Without it they are when they belong to
 * the same version; and for the authority after an unclean stop, whose own block is torn between
 * two contents, when the peer is not behind. */
static bool peer_is_right(const struct repair *r, uint32_t crc, struct chunk_version version)
{
    if (!r->data)
        return false;
    if (crc == r->crc)
        return true;
    int order = chunk_version_compare(&r->peer_version, &version);
    if (crc == (uint32_t)CRC_LOST && order == 0)
        return true;
    return r->kind == REPAIR_RESOLVE && order >= 0;
}

static int put(struct repair *r)
{
    uint8_t page[BLOCK_SIZE];
    uint32_t crc;
    struct store_read read;
    struct chunk_version version;
    int status = store_read(r->cs->store, &r->id, r->block * BLOCK_SIZE, BLOCK_SIZE,
                            STORE_READ_VERIFY, page, &crc, &read, NULL);
    if (status == -ERR_CORRUPT) {
        status = own_state(r, &crc, &version);
        if (status == 0 && peer_is_right(r, crc, version)) {
            status = store_repair_blocks(r->cs->store, &r->id, r->block, 1, r->data->data, &r->crc);
            r->repaired += status == 0;
        } else if (status == 0 && r->kind == REPAIR_RESOLVE && r->target_next >= r->target_count) {
            status = store_accept_block(r->cs->store, &r->id, r->block);
            r->accepted += status == 0;
        } else if (status == 0)
            status = -ERR_CORRUPT;
    }
    return status;
}

/* ---- on the loop ---- */

static void scan_done(struct work *work);
static void ask(struct repair *r);

static void submit(struct repair *r, void (*run)(struct work *), void (*done)(struct work *))
{
    r->work = (struct work){.run = run, .done = done};
    if (work_submit_ordered(r->cs->pool, chunk_strand(&r->id), &r->work) != 0)
        repair_end(r, -ERR_BUSY);
}

static void scan_run(struct work *work)
{
    work->status = scan(CONTAINER_OF(work, struct repair, work));
}

static void put_run(struct work *work)
{
    work->status = put(CONTAINER_OF(work, struct repair, work));
}

static void put_done(struct work *work)
{
    struct repair *r = CONTAINER_OF(work, struct repair, work);
    buf_unref(r->data);
    r->data = NULL;
    if (r->cs->closing)
        repair_end(r, -ERR_CLOSED);
    else if (work->status == -ERR_CORRUPT && r->target_next < r->target_count)
        ask(r);
    else if (work->status != 0)
        repair_end(r, work->status);
    else {
        r->at = (r->block + 1) * BLOCK_SIZE;
        submit(r, scan_run, scan_done);
    }
}

static void on_blocks(void *arg, struct rpc_reply *reply)
{
    struct repair *r = arg;
    struct msg_chunk_read_r m;
    if (r->cs->closing) {
        repair_end(r, -ERR_CLOSED);
        return;
    }
    if (reply->status == 0 && reply->code == MSG_chunk_read_r &&
        decode_chunk_read_r(reply->body, reply->version, &m) == 0 && m.crcs.size == sizeof r->crc &&
        reply->payload && reply->payload_size == BLOCK_SIZE) {
        r->crc = load_u32(m.crcs.data);
        r->peer_version = (struct chunk_version){m.version_epoch, m.version_seq};
        r->data = reply->payload;
        reply->payload = NULL;
    }
    submit(r, put_run, put_done);
}

/* Asks the next member that may have the block; without one, decides with what is there. */
static void ask(struct repair *r)
{
    while (r->target_next < r->target_count) {
        uint32_t target = r->targets[r->target_next++];
        if (peers_repair_read(r->cs, target, &r->id, &r->shard, r->block * BLOCK_SIZE, BLOCK_SIZE,
                              on_blocks, r))
            return;
    }
    submit(r, put_run, put_done);
}

static void scan_done(struct work *work)
{
    struct repair *r = CONTAINER_OF(work, struct repair, work);
    if (r->cs->closing || work->status != 0 || !r->found) {
        repair_end(r, work->status);
        return;
    }
    char chunk[CHUNK_ID_TEXT_SIZE];
    chunk_id_format(&r->id, chunk);
    log_warn("chunk.corrupt", "chunk=%s block=%u", chunk, r->block);
    r->target_next = 0;
    ask(r);
}

static void targets_add(struct repair *r, uint32_t target)
{
    for (unsigned i = 0; i < r->target_count; i++)
        if (r->targets[i] == target)
            return;
    if (target != 0 && target != r->cs->target)
        r->targets[r->target_count++] = target;
}

static struct repair *repair_create(struct chunkserver *cs, enum repair_kind kind,
                                    const struct chunk_id *id, const struct wire_shardref *shard)
{
    struct repair *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    list_init(&r->action.node);
    r->action.release = repair_free;
    r->cs = cs;
    r->kind = kind;
    r->id = *id;
    r->shard = *shard;
    struct chain_view chain = shard_table_chain(&cs->table, shard->copies, shard->shard);
    for (unsigned i = 0; i < chain.insync_count; i++)
        targets_add(r, chain.member[i]);
    return r;
}

void repair_start(struct chunkserver *cs, const struct chain_work *item)
{
    struct wire_shardref shard = {item->copies, item->shard, item->epoch};
    bool resolve = item->kind == CHAIN_WORK_STORE_RESOLVE;
    struct repair *r =
        repair_create(cs, resolve ? REPAIR_RESOLVE : REPAIR_RANGE, &item->chunk, &shard);
    r->action.done.id = item->id;
    r->version = item->version;
    r->at = resolve ? 0 : item->offset;
    r->end = resolve ? CHUNK_SIZE : item->offset + item->length;
    targets_add(r, item->target);
    submit(r, scan_run, scan_done);
}

void repair_suspect(struct chunkserver *cs, struct rpc_request *take_request)
{
    struct msg_chunk_suspect m;
    int status = decode_chunk_suspect(take_request->body, take_request->version, &m);
    if (status == 0 && m.block >= CHUNK_BLOCK_COUNT)
        status = -ERR_INVALID;
    if (status == 0 && cs->repair_count >= SUSPECTS_MAX)
        status = -ERR_BUSY;
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    struct repair *r = repair_create(cs, REPAIR_SUSPECT, &m.id, &m.shard);
    cs->repair_count++;
    r->rpc = take_request;
    r->at = m.block * BLOCK_SIZE;
    r->end = r->at + BLOCK_SIZE;
    submit(r, scan_run, scan_done);
}
