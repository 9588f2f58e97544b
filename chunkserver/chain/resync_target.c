/* The other end of a resync: only the source of the present epoch may change what is here. */
#include "chunkserver/chain/chain_internal.h"

#include "common/base/banned.h"

enum { INVENTORY_MAX = 1024 };

static int source_check(struct chain *c, const struct shard *s, const struct wire_shardref *ref,
                        uint32_t sender)
{
    if (!s || ref->epoch > s->epoch) {
        work_refresh(c);
        return -ERR_STALE;
    }
    if (ref->epoch < s->epoch || !shard_is_syncing(s) || sender != shard_predecessor(s))
        return -ERR_STALE;
    return 0;
}

static struct chain_work *pass(struct chain *c, struct shard *s, uint64_t request,
                               enum chain_work_kind kind, bool keep)
{
    struct action *a = action_create(c, ACTION_PASS, s, NULL);
    a->request = request;
    a->step = keep;
    struct chain_work *w = work_action(c, kind, s, a);
    w->keep = keep;
    return w;
}

/* A change that an earlier source began, or one that was given up, is still in the store: a listing
 * would show what is about to change. */
static bool has_leftovers(const struct shard *s)
{
    LIST_EACH(node, &s->chunks)
    {
        const struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        if (k->exclusive || (k->store_busy && k->reload))
            return true;
    }
    return false;
}

static void on_inventory(struct chain *c, const struct chain_event *event)
{
    const struct msg_resync_inventory *m = event->u.inventory;
    struct shard *s = shard_find(c, m->shard.copies, m->shard.shard);
    int error = source_check(c, s, &m->shard, m->sender);
    if (!error && has_leftovers(s))
        error = -ERR_BUSY;
    if (error) {
        work_reply(c, event->request, error);
        return;
    }
    struct chain_work *w = pass(c, s, event->request, CHAIN_WORK_STORE_LIST, true);
    w->after = m->after;
    w->count_max = m->count_max < INVENTORY_MAX ? m->count_max : INVENTORY_MAX;
}

static void on_seal(struct chain *c, const struct chain_event *event)
{
    const struct msg_resync_seal *m = event->u.seal;
    struct shard *s = shard_find(c, m->shard.copies, m->shard.shard);
    int error = source_check(c, s, &m->shard, m->sender);
    if (error)
        work_reply(c, event->request, error);
    else
        (void)pass(c, s, event->request, CHAIN_WORK_STORE_SYNC_SHARD, false);
}

/* Verified blocks for a member whose own are bad; it checks them against its own CRCs. */
static void on_repair_read(struct chain *c, const struct chain_event *event)
{
    const struct msg_repair_read *m = event->u.repair_read;
    struct shard *s = shard_find(c, m->shard.copies, m->shard.shard);
    bool member = false;
    for (unsigned i = 0; s && i < s->member_count; i++)
        member = member || s->members[i].target == m->sender;
    if (!member || s->self < 0) {
        work_reply(c, event->request, -ERR_STALE);
        return;
    }
    struct chain_work *w = pass(c, s, event->request, CHAIN_WORK_STORE_READ, true);
    w->chunk = m->id;
    w->offset = m->offset;
    w->length = m->length;
    w->verify = true;
}

static struct op *change_op(struct chain *c, const struct chain_event *event)
{
    struct op *op;
    if (event->kind == CHAIN_EVENT_RESYNC_CRCS) {
        op = op_create(c, OP_RESYNC_CRCS, event);
        op->id = event->u.crcs->id;
        op->sender = event->u.crcs->sender;
        op_set_shard(op, &event->u.crcs->shard);
    } else if (event->kind == CHAIN_EVENT_RESYNC_WRITE) {
        const struct msg_resync_write *m = event->u.resync_write;
        op = op_create(c, OP_RESYNC_WRITE, event);
        op->id = m->id;
        op->sender = m->sender;
        op_set_shard(op, &m->shard);
        op->offset = m->offset;
        op->length = m->length;
        op_set_crcs(op, m->crcs);
    } else {
        const struct msg_resync_finish *m = event->u.finish;
        op = op_create(c, OP_RESYNC_FINISH, event);
        op->id = m->id;
        op->sender = m->sender;
        op_set_shard(op, &m->shard);
        op->absent = m->absent != 0;
        op->length = m->length;
        op->version = (struct chunk_version){m->version_epoch, m->version_seq};
    }
    return op;
}

static bool change_is_sane(const struct chain *c, const struct op *op)
{
    if (op->kind == OP_RESYNC_FINISH)
        return op->length <= CHUNK_SIZE && (op->absent || !version_is_zero(op->version));
    if (op->kind != OP_RESYNC_WRITE)
        return true;
    if (op->offset % BLOCK_SIZE || op->length % BLOCK_SIZE || op->offset > CHUNK_SIZE ||
        op->length > CHUNK_SIZE - op->offset)
        return false;
    return c->options.simulated || op->crcs_size == op->length / BLOCK_SIZE * sizeof(uint32_t);
}

static void on_change(struct chain *c, const struct chain_event *event)
{
    struct op *op = change_op(c, event);
    struct shard *s = shard_find(c, op->copies, op->shard);
    struct wire_shardref ref = {op->copies, op->shard, op->epoch};
    int error = source_check(c, s, &ref, op->sender);
    if (!error && !change_is_sane(c, op))
        error = -ERR_INVALID;
    struct chunk_state *k = error ? NULL : chunk_get(c, s, &op->id);
    if (!error && (!k || k->arrival_count >= c->options.chunk_pending_max))
        error = -ERR_BUSY;
    if (error) {
        op_answer(c, op, error);
        op_destroy(c, op);
        return;
    }
    k->arrival_count++;
    list_append(&k->arrivals, &op->node);
    chunk_run(c, k);
}

void target_request(struct chain *c, const struct chain_event *event)
{
    switch (event->kind) {
    case CHAIN_EVENT_RESYNC_INVENTORY:
        on_inventory(c, event);
        break;
    case CHAIN_EVENT_RESYNC_SEAL:
        on_seal(c, event);
        break;
    case CHAIN_EVENT_REPAIR_READ:
        on_repair_read(c, event);
        break;
    default:
        on_change(c, event);
    }
}
