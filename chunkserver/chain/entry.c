/* Requests: are they well formed, do they believe in our epoch, is it our part to serve them? */
#include "chunkserver/chain/chain_internal.h"

#include "common/base/banned.h"

static bool range_is_sane(uint32_t offset, uint32_t length)
{
    return offset <= CHUNK_SIZE && length <= CHUNK_SIZE - offset;
}

/* A write brings its bytes and one CRC per block touched. */
static bool write_is_whole(const struct chain *c, const struct op *op)
{
    if (!range_is_sane(op->offset, op->length))
        return false;
    if (c->options.simulated)
        return true;
    uint32_t first = op->offset / BLOCK_SIZE;
    uint32_t end = (op->offset + op->length + BLOCK_SIZE - 1) / BLOCK_SIZE;
    size_t blocks = op->length ? end - first : 0;
    return op->payload_size == op->length && (op->length == 0 || op->payload) &&
           op->crcs_size == blocks * sizeof(uint32_t);
}

static void op_refuse(struct chain *c, struct op *take_op, int status)
{
    op_answer(c, take_op, status);
    op_destroy(c, take_op);
}

void entry_client(struct chain *c, const struct chain_event *event)
{
    static const uint8_t kinds[] = {[CHANGE_TRUNCATE] = CHAIN_TRUNCATE,
                                    [CHANGE_ZERO] = CHAIN_ZERO,
                                    [CHANGE_SYNC] = CHAIN_SYNC,
                                    [CHANGE_DELETE] = CHAIN_DELETE};
    struct op *op = op_create(c, CHAIN_WRITE, event);
    op->from_client = true;
    bool sane;
    if (event->kind == CHAIN_EVENT_WRITE) {
        const struct msg_chunk_write *m = event->u.write;
        op_set_shard(op, &m->shard);
        op->id = m->id;
        op->session = m->session;
        op->op = m->op;
        op->offset = m->offset;
        op->length = m->length;
        op->flags = m->flags & (CHUNK_WRITE_CREATE | CHUNK_WRITE_SYNC);
        op_set_crcs(op, m->crcs);
        sane = write_is_whole(c, op);
    } else {
        const struct msg_chunk_change *m = event->u.change;
        sane = m->kind >= CHANGE_TRUNCATE && m->kind <= CHANGE_DELETE &&
               range_is_sane(m->offset, m->length);
        op_set_shard(op, &m->shard);
        op->kind = sane ? kinds[m->kind] : CHAIN_SYNC;
        op->id = m->id;
        op->session = m->session;
        op->op = m->op;
        op->offset = m->offset;
        op->length = m->length;
    }
    if (sane)
        entry_op(c, op);
    else
        op_refuse(c, op, -ERR_INVALID);
}

void entry_chain_op(struct chain *c, const struct chain_event *event)
{
    const struct msg_chain_op *m = event->u.chain_op;
    struct op *op = op_create(c, m->kind, event);
    op_set_shard(op, &m->shard);
    op->sender = m->sender;
    op->id = m->id;
    op->session = m->session;
    op->op = m->op;
    op->version = (struct chunk_version){m->version_epoch, m->version_seq};
    op->previous = (struct chunk_version){m->previous_epoch, m->previous_seq};
    op->offset = m->offset;
    op->length = m->length;
    op->flags = m->flags;
    op_set_crcs(op, m->crcs);
    bool sane = m->kind >= CHAIN_WRITE && m->kind <= CHAIN_DELETE && !version_is_zero(op->version);
    if (sane && m->kind == CHAIN_WRITE)
        sane = write_is_whole(c, op);
    if (sane && range_is_sane(m->offset, m->length))
        entry_op(c, op);
    else
        op_refuse(c, op, -ERR_INVALID);
}

void entry_read(struct chain *c, const struct chain_event *event)
{
    const struct msg_chunk_read *m = event->u.read;
    struct op *op = op_create(c, OP_READ, event);
    op_set_shard(op, &m->shard);
    op->from_client = true;
    op->id = m->id;
    op->offset = m->offset;
    op->length = m->length;
    if (range_is_sane(m->offset, m->length) && m->offset % BLOCK_SIZE == 0 &&
        m->length % BLOCK_SIZE == 0)
        entry_op(c, op);
    else
        op_refuse(c, op, -ERR_INVALID);
}

void entry_delete(struct chain *c, const struct chain_event *event)
{
    struct op *op = op_create(c, OP_DELETE_LOCAL, event);
    op->id = event->u.delete.id;
    op->absent = event->u.delete.quarantine;
    tombstone_add(c, &op->id);
    struct shard *s = shard_find(c, event->u.delete.copies, event->u.delete.shard);
    struct chunk_state *k = s ? chunk_get(c, s, &op->id) : NULL;
    if (!k) {
        op_refuse(c, op, s ? -ERR_BUSY : -ERR_STALE);
        return;
    }
    chunk_delete_local(c, k, op);
    chunk_run(c, k);
}

/* The table that the sender knows is newer than ours. */
static void op_hold(struct chain *c, struct shard *s, struct op *op)
{
    work_refresh(c);
    if (!s || c->held_count >= c->options.held_max) {
        op_refuse(c, op, -ERR_STALE);
        return;
    }
    c->held_count++;
    op->held_until_ms = c->now_ms + c->options.held_ms;
    list_append(&s->held, &op->node);
}

static int client_check(const struct chain *c, const struct shard *s)
{
    if (!shard_is_insync(s))
        return -ERR_NOT_SYNCED;
    if (s->self != 0)
        return -ERR_STALE;
    if (!chain_has_lease(c))
        return -ERR_NO_LEASE;
    return s->insync_count < s->min_copies ? -ERR_UNAVAILABLE : 0;
}

static int peer_check(const struct shard *s, const struct op *op)
{
    if (s->self < 0)
        return -ERR_STALE;
    return op->sender != 0 && op->sender == shard_predecessor(s) ? 0 : -ERR_STALE;
}

void entry_op(struct chain *c, struct op *take_op)
{
    struct op *op = take_op;
    struct shard *s = shard_find(c, op->copies, op->shard);
    if (!s || op->epoch > s->epoch) {
        op_hold(c, s, op);
        return;
    }
    if (op->epoch < s->epoch) {
        op_refuse(c, op, -ERR_STALE);
        return;
    }
    if (op->kind == OP_READ) {
        read_start(c, s, op);
        return;
    }
    int error = op->from_client ? client_check(c, s) : peer_check(s, op);
    if (error) {
        op_refuse(c, op, error);
        return;
    }
    struct chunk_state *k = chunk_get(c, s, &op->id);
    if (!k || k->arrival_count >= c->options.chunk_pending_max) {
        op_refuse(c, op, -ERR_BUSY);
        return;
    }
    k->arrival_count++;
    list_append(&k->arrivals, &op->node);
    chunk_run(c, k);
}
