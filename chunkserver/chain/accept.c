/* The moment an operation gets its place in a chunk's history: at the head a version, elsewhere the
 * check that it follows what this replica has. */
#include "chunkserver/chain/chain_internal.h"

#include "common/base/banned.h"

static void refuse(struct chain *c, struct op *op, int status)
{
    op_answer(c, op, status);
    op_destroy(c, op);
}

static struct op *pending_find(struct chunk_state *k, struct chunk_version version)
{
    LIST_EACH(node, &k->pending)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (version_equal(op->version, version))
            return op;
    }
    return NULL;
}

/* The same operation is under way: its answer goes to the latest asker. */
static void attach(struct chain *c, struct op *op, struct op *again)
{
    op_answer(c, op, -ERR_CANCELLED);
    op->request = again->request;
    op->from_client = again->from_client;
    again->request = 0;
    op_destroy(c, again);
}

static void enqueue(struct chain *c, struct chunk_state *k, struct op *op)
{
    bool creates = !k->exists && op->kind == CHAIN_WRITE;
    k->latest = op->version;
    k->exists = op->kind != CHAIN_DELETE;
    if (op->kind == CHAIN_DELETE)
        tombstone_add(c, &k->id);
    list_append(&k->pending, &op->node);
    k->pending_count++;
    if (k->shard->pending_count++ == 0)
        for (unsigned i = 0; i < k->shard->member_count; i++)
            k->shard->members[i].progress_ms = c->now_ms;
    memory_add(k, op);
    c->counters.ops++;
    resync_touch(c, k, op, creates);
    op_forward(c, k, op);
}

static void enqueue_sync(struct chain *c, struct chunk_state *k, struct op *op)
{
    list_append(&k->syncs, &op->node);
    if (k->shard->pending_count++ == 0)
        for (unsigned i = 0; i < k->shard->member_count; i++)
            k->shard->members[i].progress_ms = c->now_ms;
    c->counters.ops++;
    op_forward(c, k, op);
}

/* True: answered from memory, or joined to the operation under way. */
static bool is_repeated(struct chain *c, struct chunk_state *k, struct op *op)
{
    const struct op_id *known = memory_find(k, op->session, op->op);
    if (!known)
        return false;
    c->counters.ops_repeated++;
    struct op *pending = pending_find(k, known->version);
    if (pending) {
        attach(c, pending, op);
        return true;
    }
    op->version = known->version;
    refuse(c, op, 0);
    return true;
}

static int client_error(struct chain *c, struct chunk_state *k, const struct op *op)
{
    if (op->kind == CHAIN_DELETE)
        return 0;
    if (tombstone_has(c, &k->id))
        return -ERR_STALE_HANDLE;
    bool creates = op->kind == CHAIN_WRITE && (op->flags & CHUNK_WRITE_CREATE);
    /* That it is not here would be a read, and a leaving head may be behind the others already. */
    if (!k->exists && !creates)
        return shard_is_leaving(k->shard) ? -ERR_STALE : -ERR_LOST_CHUNK;
    if (op->kind == CHAIN_WRITE && !op->space_ok)
        return -ERR_NO_SPACE;
    return 0;
}

static void accept_client(struct chain *c, struct chunk_state *k, struct op *op)
{
    struct shard *s = k->shard;
    if (op->kind != CHAIN_SYNC && is_repeated(c, k, op))
        return;
    int error = client_error(c, k, op);
    if (!error && k->pending_count >= c->options.chunk_pending_max)
        error = -ERR_BUSY;
    if (error) {
        refuse(c, op, error);
        return;
    }
    op->previous = k->latest;
    if (op->kind == CHAIN_SYNC) {
        op->version = k->latest;
        enqueue_sync(c, k, op);
        return;
    }
    uint64_t seq = k->latest.seq > s->seq_floor ? k->latest.seq : s->seq_floor;
    op->version = (struct chunk_version){s->epoch, seq + 1};
    CHECK(version_compare(op->version, k->latest) > 0);
    enqueue(c, k, op);
}

/* A chunk left incomplete by a resync (version 0) or torn by an unclean stop follows nothing. */
static bool is_unfit(const struct chunk_state *k)
{
    if (k->exists && version_is_zero(k->latest))
        return true;
    return k->suspect && shard_is_syncing(k->shard);
}

static void accept_peer_sync(struct chain *c, struct chunk_state *k, struct op *op)
{
    if (!k->exists)
        refuse(c, op, -ERR_LOST_CHUNK);
    else if (is_unfit(k) || version_compare(op->version, k->latest) > 0)
        refuse(c, op, -ERR_GAP);
    else
        enqueue_sync(c, k, op);
}

static void accept_peer(struct chain *c, struct chunk_state *k, struct op *op)
{
    if (op->kind != CHAIN_DELETE && tombstone_has(c, &k->id) && !pending_find(k, op->version)) {
        refuse(c, op, -ERR_STALE_HANDLE);
        return;
    }
    if (op->kind == CHAIN_SYNC) {
        accept_peer_sync(c, k, op);
        return;
    }
    struct op *pending = pending_find(k, op->version);
    if (pending) {
        attach(c, pending, op);
        return;
    }
    bool is_gone =
        op->kind == CHAIN_DELETE && !k->exists && !version_equal(op->previous, k->latest);
    if (is_gone || (!is_unfit(k) && version_compare(op->version, k->latest) <= 0)) {
        refuse(c, op, 0); /* had it already */
        return;
    }
#ifndef PLANT_GAP
    if (is_unfit(k) || !version_equal(op->previous, k->latest)) {
        c->counters.gaps++;
        refuse(c, op, -ERR_GAP);
        return;
    }
#endif
    enqueue(c, k, op);
}

static void accept_exclusive(struct chain *c, struct chunk_state *k, struct op *op)
{
    struct action *a;
    struct chain_work *w;
    k->exclusive = op;
    a = action_create(c, ACTION_EXCLUSIVE, k->shard, k);
    a->serial = op->serial;
    switch (op->kind) {
    case OP_RESYNC_WRITE:
        w = work_action(c, CHAIN_WORK_STORE_RESYNC_WRITE, k->shard, a);
        work_set_op(w, op);
        break;
    case OP_RESYNC_FINISH:
        w = work_action(c, op->absent ? CHAIN_WORK_STORE_DELETE : CHAIN_WORK_STORE_RESYNC_FINISH,
                        k->shard, a);
        work_set_op(w, op);
        break;
    case OP_RESYNC_CRCS:
        w = work_action(c, CHAIN_WORK_STORE_CRCS, k->shard, a);
        w->keep = true;
        break;
    case OP_DELETE_LOCAL:
        w = work_action(c, CHAIN_WORK_STORE_DELETE, k->shard, a);
        w->absent = op->absent;
        break;
    default:
        UNREACHABLE("op kind %u", op->kind);
    }
}

void op_accept(struct chain *c, struct chunk_state *k, struct op *take_op)
{
    CHECK(k->load == CHUNK_READY && !k->exclusive);
    if (take_op->kind == OP_READ)
        read_place(c, k->shard, k, take_op);
    else if (take_op->kind > CHAIN_DELETE) {
        bool dead =
            take_op->kind != OP_DELETE_LOCAL && !take_op->absent && tombstone_has(c, &k->id);
        if (dead)
            refuse(c, take_op, -ERR_STALE_HANDLE);
        else
            accept_exclusive(c, k, take_op);
    } else if (take_op->from_client)
        accept_client(c, k, take_op);
    else
        accept_peer(c, k, take_op);
}
