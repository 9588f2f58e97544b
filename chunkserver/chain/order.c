/* One chunk's queue: requests are accepted in order, stored one at a time in version order, and
 * answered once the members behind have them. */
#include "chunkserver/chain/chain_internal.h"

#include "common/base/banned.h"

bool chunk_store_is_idle(const struct chunk_state *k)
{
    if (k->store_busy || k->exclusive)
        return false;
    /* Stored in order: the last one tells for all. */
    return list_empty(&k->pending) || CONTAINER_OF(k->pending.previous, struct op, node)->stored;
}

/* A local delete is nobody's request to this chain: a new epoch changes nothing about it. */
void chunk_fail_arrivals(struct chain *c, struct chunk_state *k, int status)
{
    bool keep_deletes = status == -ERR_STALE || status == -ERR_STALE_HANDLE;
    LIST_EACH(node, &k->arrivals)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (keep_deletes && op->kind == OP_DELETE_LOCAL)
            continue;
        CHECK(k->arrival_count > 0);
        k->arrival_count--;
        op_answer(c, op, status);
        op_destroy(c, op);
    }
}

static void pending_remove(struct chain *c, struct chunk_state *k, struct op *op, int status)
{
    op_answer(c, op, status);
    if (op->kind != CHAIN_SYNC) {
        CHECK(k->pending_count > 0);
        k->pending_count--;
    }
    CHECK(k->shard->pending_count > 0);
    k->shard->pending_count--;
    op_destroy(c, op);
}

void chunk_fail_pending(struct chain *c, struct chunk_state *k, int status)
{
    struct list *lists[] = {&k->pending, &k->syncs};
    for (unsigned i = 0; i < 2; i++)
        LIST_EACH(node, lists[i])
        {
            struct op *op = CONTAINER_OF(node, struct op, node);
            c->counters.ops_stale++;
            pending_remove(c, k, op, status);
        }
    k->gap_count = 0;
    k->reload = true;
}

/* The file is dead: whatever is under way for the chunk ends, then the copy goes. */
void chunk_delete_local(struct chain *c, struct chunk_state *k, struct op *take_op)
{
    chunk_fail_arrivals(c, k, -ERR_STALE_HANDLE);
    chunk_fail_pending(c, k, -ERR_STALE_HANDLE);
    resync_touch_deleted(c, k);
    k->arrival_count++;
    list_append(&k->arrivals, &take_op->node);
}

/* A peer knows that the chunk is dead, so it is: ids are never used again. */
void chunk_bury(struct chain *c, struct chunk_state *k)
{
    struct chain_event none = {0};
    struct op *op = op_create(c, OP_DELETE_LOCAL, &none);
    op->id = k->id;
    tombstone_add(c, &k->id);
    chunk_delete_local(c, k, op);
}

static bool arrivals_are_blocked(const struct chunk_state *k)
{
    if (list_empty(&k->arrivals) || k->load != CHUNK_READY || k->reload || k->exclusive ||
        k->locked)
        return true;
    const struct op *op = CONTAINER_OF(k->arrivals.next, struct op, node);
    return op->kind > CHAIN_DELETE && op->kind != OP_READ && !chunk_store_is_idle(k);
}

static bool syncs_are_idle(const struct chunk_state *k)
{
    LIST_EACH(node, &k->syncs)
    {
        if (CONTAINER_OF(node, struct op, node)->storing)
            return false;
    }
    return true;
}

static void load_if_needed(struct chain *c, struct chunk_state *k)
{
    if (k->reload && !k->store_busy && !k->exclusive && k->load == CHUNK_READY) {
        k->load = CHUNK_UNKNOWN;
        k->reload = false;
    }
    if (k->load != CHUNK_UNKNOWN || k->store_busy || k->exclusive || !syncs_are_idle(k))
        return;
    if (list_empty(&k->arrivals) && list_empty(&k->copies))
        return;
    k->reload = false;
    k->load = CHUNK_LOADING;
    (void)work_action(c, CHAIN_WORK_STORE_LOAD, k->shard,
                      action_create(c, ACTION_LOAD, k->shard, k));
}

/* This replica is the authority and its copy was being written when it stopped: the bytes that
 * are there become a version of their own, which no other replica has (D5). */
static void resolve(struct chain *c, struct chunk_state *k)
{
    struct shard *s = k->shard;
    k->load = CHUNK_RESOLVING;
    uint64_t seq = k->latest.seq > s->seq_floor ? k->latest.seq : s->seq_floor;
    k->latest = (struct chunk_version){s->epoch, seq + 1};
    struct action *a = action_create(c, ACTION_RESOLVE, s, k);
    struct chain_work *w = work_action(c, CHAIN_WORK_STORE_RESOLVE, s, a);
    w->version = k->latest;
    w->target = s->member_count > 1 ? s->members[1].target : 0;
}

static void load_failed(struct chain *c, struct chunk_state *k, int status)
{
    k->load = CHUNK_UNKNOWN;
    chunk_fail_arrivals(c, k, status);
    LIST_EACH(node, &k->copies)
    {
        copy_abandon(c, CONTAINER_OF(node, struct copy, node), 1000);
    }
}

void chunk_load_done(struct chain *c, const struct action *a, const struct chain_done *done)
{
    struct chunk_state *k = a->chunk;
    CHECK(k->load == CHUNK_LOADING || k->load == CHUNK_RESOLVING);
    if (done->status) {
        load_failed(c, k, done->status);
        return;
    }
    if (a->kind == ACTION_RESOLVE) {
        c->counters.suspects_resolved++;
        k->suspect = false;
        k->load = CHUNK_READY;
        return;
    }
    k->exists = done->exists;
    k->suspect = done->exists && done->suspect;
    k->latest = done->exists ? done->version : (struct chunk_version){0};
    k->load = CHUNK_READY;
    if (k->suspect && !k->reload && shard_is_insync(k->shard) && k->shard->insync_count == 1)
        resolve(c, k);
}

static void store_emit(struct chain *c, struct chunk_state *k, struct op *op)
{
    static const enum chain_work_kind kinds[] = {[CHAIN_WRITE] = CHAIN_WORK_STORE_WRITE,
                                                 [CHAIN_TRUNCATE] = CHAIN_WORK_STORE_TRUNCATE,
                                                 [CHAIN_ZERO] = CHAIN_WORK_STORE_ZERO,
                                                 [CHAIN_SYNC] = CHAIN_WORK_STORE_SYNC,
                                                 [CHAIN_DELETE] = CHAIN_WORK_STORE_DELETE};
    op->storing = true;
    struct action *a = action_create(c, ACTION_STORE_OP, k->shard, k);
    a->serial = op->serial;
    a->step = op->kind;
    work_set_op(work_action(c, kinds[op->kind], k->shard, a), op);
}

static void store_next(struct chain *c, struct chunk_state *k)
{
    if (k->load != CHUNK_READY || k->reload || k->exclusive)
        return;
    if (c->now_ms < k->store_retry_ms) {
        k->shard->store_retry = true;
        return;
    }
    struct op *first = NULL; /* not yet stored */
    LIST_EACH(node, &k->pending)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (!op->stored) {
            first = op;
            break;
        }
    }
    if (first && !k->store_busy) {
        k->store_busy = true;
        store_emit(c, k, first);
    }
    LIST_EACH(sync, &k->syncs)
    {
        struct op *op = CONTAINER_OF(sync, struct op, node);
        if (!op->storing && !op->stored &&
            (!first || version_compare(op->version, first->version) < 0))
            store_emit(c, k, op);
    }
}

static bool settle(struct chain *c, struct chunk_state *k)
{
    bool progress = false;
    if (k->shard->fenced && shard_is_insync(k->shard))
        return false;
    while (!list_empty(&k->pending)) {
        struct op *op = CONTAINER_OF(k->pending.next, struct op, node);
        if (!op->stored || !op_remote_is_done(k->shard, op))
            break;
        if (op->kind == CHAIN_DELETE && k->pending.next == k->pending.previous && !k->exists)
            k->latest = (struct chunk_version){0};
        pending_remove(c, k, op, 0);
        progress = true;
    }
    LIST_EACH(node, &k->syncs)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (op->stored && op_remote_is_done(k->shard, op)) {
            pending_remove(c, k, op, 0);
            progress = true;
        }
    }
    return progress;
}

void chunk_run(struct chain *c, struct chunk_state *k)
{
    CHECK_OBJ(k, CHUNK_MAGIC);
    if (k->running)
        return;
    k->running = true;
    k->pins++;
    list_remove(&k->lru_node);
    do {
        load_if_needed(c, k);
        while (!arrivals_are_blocked(k)) {
            struct op *op = CONTAINER_OF(k->arrivals.next, struct op, node);
            list_remove(&op->node);
            k->arrival_count--;
            op_accept(c, k, op);
        }
        store_next(c, k);
        while (settle(c, k))
            ;
        reads_unpark(c, k);
        reads_settle(c, k);
        copies_run(c, k);
    } while (!arrivals_are_blocked(k));
    load_if_needed(c, k);
    k->pins--;
    k->running = false;
    chunk_idle_check(c, k);
}

/* Members in a resync that got an operation which failed here have too much: they are looked at
 * again. False: one of them was reported complete, so it may be in sync by now. */
static bool mirrors_take_back(struct chain *c, struct chunk_state *k)
{
    struct shard *s = k->shard;
    for (unsigned i = 0; i < s->member_count; i++) {
        struct resync *job = s->members[i].job;
        if (!job || !(k->mirrored & member_bit(i)))
            continue;
        if (job->state == RESYNC_REPORTED) {
            member_report(c, s, i, REPORT_OUT_OF_SYNC);
            return false;
        }
        resync_redo(c, job, &k->id, 0);
    }
    return true;
}

/* The change could not be stored here. With others in sync this replica is the one that is wrong
 * (D1, D21): it says so, and keeps the operation until the next epoch decides, for a member behind
 * us may have shown it to a reader. Alone, the operation fails and leaves nothing, not even its
 * version. */
static void store_failed(struct chain *c, struct chunk_state *k, int status)
{
    struct shard *s = k->shard;
    if (shard_is_insync(s)) {
        bool alone = s->insync_count == 1;
        if (!alone)
            member_report(c, s, (unsigned)s->self, REPORT_OUT_OF_SYNC);
        if (!alone || !mirrors_take_back(c, k)) {
            k->store_retry_ms = c->now_ms + c->options.retry_ms;
            s->store_retry = true;
            return;
        }
        if (k->latest.seq > s->seq_floor)
            s->seq_floor = k->latest.seq;
        LIST_EACH(node, &k->copies)
        {
            copy_abandon(c, CONTAINER_OF(node, struct copy, node), 0);
        }
    }
    memory_forget(k);
    chunk_fail_pending(c, k, status);
}

static struct op *op_by_serial(struct list *list, uint64_t serial)
{
    LIST_EACH(node, list)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (op->serial == serial)
            return op;
    }
    return NULL;
}

void chunk_store_done(struct chain *c, const struct action *a, const struct chain_done *done)
{
    struct chunk_state *k = a->chunk;
    bool is_sync = a->step == CHAIN_SYNC;
    if (!is_sync)
        k->store_busy = false;
    struct op *op = op_by_serial(is_sync ? &k->syncs : &k->pending, a->serial);
    if (!op)
        return;
    op->storing = false;
    if (done->status) {
        store_failed(c, k, done->status);
        return;
    }
    op->stored = true;
    LIST_EACH(node, &k->copies)
    {
        if (!is_sync)
            copy_mark(CONTAINER_OF(node, struct copy, node), op);
    }
}

void chunk_exclusive_done(struct chain *c, const struct action *a, const struct chain_done *done)
{
    struct chunk_state *k = a->chunk;
    struct op *op = k->exclusive;
    CHECK(op && op->serial == a->serial);
    k->exclusive = NULL;
    if (op->kind == OP_RESYNC_CRCS) {
        if (op->request) {
            work_reply(c, op->request, done->status);
            c->work->items[c->work->count - 1].result = done->id;
            op->request = 0;
        }
    } else {
        /* What is remembered here may not be in the history that the source goes on with. */
        memory_forget(k);
        k->exists = op->kind != OP_DELETE_LOCAL && !op->absent;
        k->latest =
            op->kind == OP_RESYNC_FINISH && k->exists ? op->version : (struct chunk_version){0};
        k->suspect = k->suspect && op->kind == OP_RESYNC_WRITE;
        k->reload = k->reload || done->status != 0;
        op_answer(c, op, done->status);
    }
    op_destroy(c, op);
}
