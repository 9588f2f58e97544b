/* One chunk to one syncing member: compare block CRCs, copy what differs while writes go on, then
 * the rest under the chunk's order, for a bounded time. */
#include "chunkserver/chain/chain_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/banned.h"

enum { STEP_OWN_CRCS, STEP_PEER_CRCS, STEP_COPY, STEP_REPAIR, STEP_FINISH };
enum { FAILED_DELAY_MS = 1000 };

static void mark(struct copy *copy, uint32_t first, uint32_t end)
{
    if (end > CHUNK_BLOCK_COUNT)
        end = CHUNK_BLOCK_COUNT;
    for (uint32_t block = first; block < end; block++) {
        uint64_t bit = 1ull << block % 64;
        if (!(copy->dirty[block / 64] & bit)) {
            copy->dirty[block / 64] |= bit;
            copy->dirty_count++;
        }
    }
}

static uint32_t blocks_known(const struct copy *copy)
{
    uint32_t count = copy->own_count > copy->peer_count ? copy->own_count : copy->peer_count;
    return copy->grown_count > count ? copy->grown_count : count;
}

/* Blocks behind a new end may come back as zeros when the chunk grows again. */
static void mark_truncated(struct copy *copy, uint32_t block)
{
    if (copy->own_known && copy->peer_known)
        mark(copy, block, blocks_known(copy));
    else if (block < copy->truncated_block)
        copy->truncated_block = block;
}

void copy_mark(struct copy *copy, const struct op *op)
{
    if (copy->state == COPY_LOADING)
        return; /* its CRCs are read later */
    uint32_t end = (op->offset + op->length + BLOCK_SIZE - 1) / BLOCK_SIZE;
    switch (op->kind) {
    case CHAIN_WRITE:
        if (end > copy->grown_count)
            copy->grown_count = end;
        mark(copy, op->offset / BLOCK_SIZE, op->length ? end : 0);
        break;
    case CHAIN_ZERO:
        mark(copy, op->offset / BLOCK_SIZE, op->length ? end : 0);
        break;
    case CHAIN_TRUNCATE:
#ifndef PLANT_D9
        mark_truncated(copy, op->length / BLOCK_SIZE);
#endif
        break;
    default:
        break;
    }
}

static void unlock(struct copy *copy)
{
    if (!copy->locked)
        return;
    CHECK(copy->chunk->locked > 0);
    copy->chunk->locked--;
    copy->locked = false;
}

void copy_destroy(struct chain *c, struct copy *copy)
{
    struct resync *job = copy->job;
    struct chunk_state *k = copy->chunk;
    unlock(copy);
    list_remove(&copy->node);
    list_remove(&copy->pace_node);
    unsigned at = 0;
    while (at < job->copy_count && job->copies[at] != copy)
        at++;
    CHECK(at < job->copy_count);
    job->copies[at] = job->copies[--job->copy_count];
    free(copy->own_crcs);
    free(copy->peer_crcs);
    free(copy);
    chunk_idle_check(c, k);
    list_remove(&k->rerun_node);
    list_append(&c->rerun, &k->rerun_node);
}

void copy_abandon(struct chain *c, struct copy *copy, int64_t delay_ms)
{
    struct resync *job = copy->job;
    struct chunk_id id = copy->chunk->id;
    copy_destroy(c, copy);
    resync_redo(c, job, &id, delay_ms);
}

bool copy_start(struct chain *c, struct resync *job, const struct chunk_id *id)
{
    struct chunk_state *k = chunk_get(c, job->shard, id);
    if (!k)
        return false;
    struct copy *copy = calloc(1, sizeof *copy);
    CHECK(copy != NULL);
    CHECK(job->copy_count < RESYNC_CHUNKS_MAX);
    copy->job = job;
    copy->chunk = k;
    copy->serial = chain_next_id(c);
    copy->truncated_block = CHUNK_BLOCK_COUNT;
    list_init(&copy->pace_node);
    list_append(&k->copies, &copy->node);
    job->copies[job->copy_count++] = copy;
    k->mirrored &= (uint16_t)~member_bit(job->member);
    chunk_run(c, k);
    return true;
}

static struct chain_work *copy_call(struct chain *c, struct copy *copy, enum chain_work_kind kind,
                                    unsigned step)
{
    struct shard *s = copy->job->shard;
    struct action *a = action_create(c, ACTION_COPY, s, copy->chunk);
    a->serial = copy->serial;
    a->member = copy->job->member;
    a->step = step;
    struct chain_work *w = work_action(c, kind, s, a);
    w->target = s->members[a->member].target;
    return w;
}

static struct action *last_action(struct chain *c, const struct chain_work *w)
{
    return map_get(&c->actions, w->id);
}

static void run_emit(struct chain *c, struct copy *copy, enum chain_work_kind kind, unsigned step,
                     uint32_t offset, uint32_t length)
{
    struct chain_work *w = copy_call(c, copy, kind, step);
    w->offset = offset;
    w->length = length;
    struct action *a = last_action(c, w);
    a->offset = offset;
    a->length = length;
    copy->inflight++;
}

/* Takes the first dirty run, at most resync_run_blocks long. */
static void send_run(struct chain *c, struct copy *copy)
{
    uint32_t first = 0;
    while (copy->dirty[first / 64] == 0)
        first = (first / 64 + 1) * 64;
    while (!(copy->dirty[first / 64] >> first % 64 & 1))
        first++;
    uint32_t end = first;
    while (end < CHUNK_BLOCK_COUNT && end - first < c->options.resync_run_blocks &&
           (copy->dirty[end / 64] >> end % 64 & 1)) {
        copy->dirty[end / 64] &= ~(1ull << end % 64);
        copy->dirty_count--;
        end++;
    }
    pace_take(c, (end - first) * BLOCK_SIZE);
    run_emit(c, copy, CHAIN_WORK_RESYNC_COPY, STEP_COPY, first * BLOCK_SIZE,
             (end - first) * BLOCK_SIZE);
}

static void finish(struct chain *c, struct copy *copy)
{
    struct chunk_state *k = copy->chunk;
    copy->state = COPY_FINISHING;
    struct chain_work *w = copy_call(c, copy, CHAIN_WORK_RESYNC_FINISH, STEP_FINISH);
    w->version = k->latest;
    w->absent = !k->exists;
}

static void run_blocks(struct chain *c, struct copy *copy)
{
    struct chunk_state *k = copy->chunk;
    uint32_t lock_blocks = c->options.resync_lock_blocks;
    if (!k->exists) {
        memset(copy->dirty, 0, sizeof copy->dirty);
        copy->dirty_count = 0;
    }
    if (!copy->locked && copy->inflight == 0 && copy->dirty_count <= lock_blocks &&
        (copy->dirty_count == 0 || pace_grants(c, copy))) {
        copy->locked = true;
        copy->locked_at_ms = c->now_ms;
        k->locked++;
    }
    if (copy->locked && !chunk_store_is_idle(k))
        return;
    if (copy->locked && copy->dirty_count > lock_blocks) {
        unlock(copy);
        copy->rounds++;
    }
    while (copy->dirty_count && copy->inflight < c->options.resync_runs_max &&
           (copy->locked || pace_grants(c, copy))) /* who holds the order lets nobody wait */
        send_run(c, copy);
    if (copy->locked && copy->inflight == 0)
        finish(c, copy);
}

static void compare(struct copy *copy)
{
    /* What the peer has behind our end becomes a hole: a write under way may make the chunk longer
     * again before it is cut off. */
    uint32_t count = copy->own_count > copy->peer_count ? copy->own_count : copy->peer_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t own = i < copy->own_count ? copy->own_crcs[i] : 0;
        uint32_t peer = i < copy->peer_count ? copy->peer_crcs[i] : 0;
        if (own != peer)
            mark(copy, i, i + 1);
    }
    mark(copy, copy->truncated_block, blocks_known(copy));
    free(copy->own_crcs);
    free(copy->peer_crcs);
    copy->own_crcs = copy->peer_crcs = NULL;
}

void copy_run(struct chain *c, struct copy *copy)
{
    struct chunk_state *k = copy->chunk;
    if (k->load != CHUNK_READY || k->reload || k->exclusive)
        return;
    switch (copy->state) {
    case COPY_LOADING:
        if (!k->exists) {
            copy->own_known = copy->peer_known = true;
            copy->state = COPY_RUNNING;
            run_blocks(c, copy);
            break;
        }
        copy->state = COPY_COMPARING;
        (void)copy_call(c, copy, CHAIN_WORK_STORE_CRCS, STEP_OWN_CRCS);
        (void)copy_call(c, copy, CHAIN_WORK_RESYNC_CRCS, STEP_PEER_CRCS);
        /* Accepted but not stored: the CRCs may or may not show it. */
        LIST_EACH(node, &k->pending)
        {
            copy_mark(copy, CONTAINER_OF(node, struct op, node));
        }
        break;
    case COPY_COMPARING:
        if (!copy->own_known || !copy->peer_known)
            break;
        compare(copy);
        copy->state = COPY_RUNNING;
        run_blocks(c, copy);
        break;
    case COPY_RUNNING:
        run_blocks(c, copy);
        break;
    case COPY_FINISHING:
        break;
    }
}

void copies_run(struct chain *c, struct chunk_state *k)
{
    LIST_EACH(node, &k->copies)
    {
        copy_run(c, CONTAINER_OF(node, struct copy, node));
    }
}

static void crcs_take(struct copy *copy, bool own, const struct chain_done *done)
{
    uint32_t count = done->crc_count <= CHUNK_BLOCK_COUNT ? done->crc_count : CHUNK_BLOCK_COUNT;
    uint32_t *crcs = count ? malloc(count * sizeof *crcs) : NULL;
    if (count) {
        CHECK(crcs != NULL);
        memcpy(crcs, done->crcs, count * sizeof *crcs);
    }
    if (own) {
        copy->own_crcs = crcs;
        copy->own_count = count;
        copy->own_known = true;
    } else {
        copy->peer_crcs = crcs;
        copy->peer_count = count;
        copy->peer_known = true;
    }
}

static void copied(struct chain *c, struct copy *copy)
{
    struct resync *job = copy->job;
    struct chunk_state *k = copy->chunk;
    copy_destroy(c, copy);
    if (!map_get_bytes(&job->redo_map, chunk_key(&k->id)))
        k->mirrored |= member_bit(job->member);
    c->counters.resync_chunks++;
    resync_run(c, job);
}

static void on_error(struct chain *c, struct copy *copy, const struct action *a, int status)
{
    struct resync *job = copy->job;
    /* Bad blocks of ours; or, when each was looked at more than once, something at the target that
     * no repair here helps. */
    if (a->step == STEP_COPY && status == -ERR_CORRUPT &&
        copy->repaired_blocks <= 2 * blocks_known(copy)) {
        copy->repaired_blocks += a->length / BLOCK_SIZE;
        run_emit(c, copy, CHAIN_WORK_STORE_REPAIR, STEP_REPAIR, a->offset, a->length);
        return;
    }
    if (status == -ERR_STALE_HANDLE && a->step != STEP_OWN_CRCS && a->step != STEP_REPAIR) {
        chunk_bury(c, copy->chunk);
        return;
    }
    bool peer = a->step != STEP_OWN_CRCS && a->step != STEP_REPAIR;
    if (status == -ERR_STALE)
        work_refresh(c);
    if (peer && (status == -ERR_CLOSED || status == -ERR_UNREACHABLE || status == -ERR_TIMEOUT ||
                 status == -ERR_STALE))
        resync_restart(c, job);
    else
        copy_abandon(c, copy, FAILED_DELAY_MS);
    resync_run(c, job);
}

void copy_done(struct chain *c, const struct action *a, const struct chain_done *done)
{
    struct copy *copy = NULL;
    LIST_EACH(node, &a->chunk->copies)
    {
        struct copy *at = CONTAINER_OF(node, struct copy, node);
        if (at->serial == a->serial)
            copy = at;
    }
    if (!copy || a->epoch != a->shard->epoch)
        return;
    if (a->step == STEP_COPY || a->step == STEP_REPAIR) {
        CHECK(copy->inflight > 0);
        copy->inflight--;
    }
    if (done->status) {
        on_error(c, copy, a, done->status);
        return;
    }
    switch (a->step) {
    case STEP_OWN_CRCS:
    case STEP_PEER_CRCS:
        crcs_take(copy, a->step == STEP_OWN_CRCS, done);
        break;
    case STEP_COPY:
        c->counters.resync_bytes += a->length;
        break;
    case STEP_REPAIR:
        c->counters.blocks_repaired++;
        mark(copy, a->offset / BLOCK_SIZE, (a->offset + a->length) / BLOCK_SIZE);
        break;
    default:
        copied(c, copy);
    }
}

/* A lock that lasts too long is given up, whatever the target does with what it has: its copy is
 * compared again later. */
void copies_tick(struct chain *c, struct resync *job)
{
    for (unsigned i = 0; i < job->copy_count; i++) {
        struct copy *copy = job->copies[i];
        struct chunk_state *k = copy->chunk;
        if (!copy->locked || c->now_ms - copy->locked_at_ms < c->options.resync_lock_ms)
            continue;
        if (list_empty(&k->arrivals))
            continue;
        copy_abandon(c, copy, (int64_t)c->options.retry_ms);
        return;
    }
}
