/* Resync of one syncing member, seen from the last in-sync one: walk both inventories, hand the
 * chunks that differ to resync_copy.c, then seal and report. */
#include "chunkserver/chain/chain_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/banned.h"

enum { STEP_OWN, STEP_PEER, STEP_SEAL };
enum { BATCH_MAX = 1024 };

bool resync_is_active(const struct resync *job)
{
    return job && job->state != RESYNC_WAITING;
}

static bool is_copying(const struct resync *job, const struct chunk_id *id)
{
    for (unsigned i = 0; i < job->copy_count; i++)
        if (chunk_id_equal(&job->copies[i]->chunk->id, id))
            return true;
    return false;
}

bool resync_covers(const struct resync *job, const struct chunk_id *id)
{
    if (!resync_is_active(job) || map_get_bytes(&job->redo_map, chunk_key(id)) ||
        is_copying(job, id))
        return false;
    return job->walked || (job->started && chunk_id_compare(id, &job->cursor) <= 0);
}

static void redo_drop(struct resync *job, struct redo *r)
{
    (void)map_remove_bytes(&job->redo_map, chunk_key(&r->id));
    list_remove(&r->node);
    free(r);
}

static void redo_clear(struct resync *job)
{
    while (!list_empty(&job->redo))
        redo_drop(job, CONTAINER_OF(job->redo.next, struct redo, node));
}

static void job_reset(struct chain *c, struct resync *job)
{
    while (job->copy_count)
        copy_destroy(c, job->copies[job->copy_count - 1]);
    redo_clear(job);
    if (job->state != RESYNC_WAITING && job->state != RESYNC_REPORTED) {
        CHECK(c->job_count > 0);
        c->job_count--;
    }
    job->state = RESYNC_WAITING;
    job->serial = 0;
    job->outstanding = 0;
    job->walked = job->started = job->sealed = false;
    job->shard->members[job->member].complete = false;
    LIST_EACH(node, &job->shard->chunks)
    {
        CONTAINER_OF(node, struct chunk_state, shard_node)->mirrored &=
            (uint16_t)~member_bit(job->member);
    }
}

void resync_restart(struct chain *c, struct resync *job)
{
    if (job->state == RESYNC_WAITING)
        return;
    CHECK(job->state != RESYNC_REPORTED);
    job_reset(c, job);
    job->retry_at_ms = c->now_ms + c->options.retry_ms;
    c->counters.resync_restarts++;
}

void resync_stop_jobs(struct chain *c, struct shard *s)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        struct resync *job = s->members[i].job;
        if (!job)
            continue;
        job_reset(c, job);
        map_release(&job->redo_map);
        free(job->own);
        free(job->peer);
        free(job);
        s->members[i].job = NULL;
    }
}

void resync_start_jobs(struct chain *c, struct shard *s)
{
    if (!shard_is_last(s))
        return;
    for (unsigned i = s->insync_count; i < s->member_count; i++) {
        struct resync *job = calloc(1, sizeof *job);
        CHECK(job != NULL);
        job->shard = s;
        job->member = i;
        job->retry_at_ms = c->now_ms;
        list_init(&job->redo);
        map_init(&job->redo_map, c->options.incarnation);
        job->own = calloc(BATCH_MAX, sizeof *job->own);
        job->peer = calloc(BATCH_MAX, sizeof *job->peer);
        CHECK(job->own && job->peer);
        s->members[i].job = job;
        resync_run(c, job);
    }
}

void resync_redo(struct chain *c, struct resync *job, const struct chunk_id *id, int64_t delay_ms)
{
    if (!resync_is_active(job))
        return;
    struct chunk_state *k = chunk_find(c, id);
    if (job->state == RESYNC_REPORTED) {
        member_report(c, job->shard, job->member, REPORT_OUT_OF_SYNC);
        return;
    }
    if (k)
        k->mirrored &= (uint16_t)~member_bit(job->member);
    if (map_get_bytes(&job->redo_map, chunk_key(id)))
        return;
    if (job->state == RESYNC_SEALING || job->redo_map.count >= c->options.resync_redo_max) {
        resync_restart(c, job);
        return;
    }
    struct redo *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    r->id = *id;
    r->not_before_ms = c->now_ms + delay_ms;
    list_append(&job->redo, &r->node);
    (void)map_put_bytes(&job->redo_map, chunk_key(id), r);
}

/* A chunk that the walk may have seen before this change, or will not see. */
static bool walk_may_miss(const struct resync *job, const struct chunk_id *id)
{
    if (job->walked || job->state == RESYNC_LISTING)
        return true;
    if (job->started && chunk_id_compare(id, &job->cursor) <= 0)
        return true;
    return job->window_end || chunk_id_compare(id, &job->window) <= 0;
}

void resync_touch(struct chain *c, struct chunk_state *k, const struct op *op, bool creates)
{
    struct shard *s = k->shard;
    LIST_EACH(node, &k->copies)
    {
        copy_mark(CONTAINER_OF(node, struct copy, node), op);
    }
    for (unsigned i = 0; i < s->member_count; i++) {
        struct resync *job = s->members[i].job;
        if (!resync_is_active(job) || (k->mirrored & member_bit(i)) || is_copying(job, &k->id))
            continue;
        if (creates && !map_get_bytes(&job->redo_map, chunk_key(&k->id)))
            k->mirrored |= member_bit(i);
        else if (walk_may_miss(job, &k->id))
            resync_redo(c, job, &k->id, 0);
    }
}

void resync_touch_deleted(struct chain *c, struct chunk_state *k)
{
    struct shard *s = k->shard;
    LIST_EACH(node, &k->copies)
    {
        copy_abandon(c, CONTAINER_OF(node, struct copy, node), 0);
    }
    for (unsigned i = 0; i < s->member_count; i++) {
        struct resync *job = s->members[i].job;
        if (resync_is_active(job) && ((k->mirrored & member_bit(i)) || walk_may_miss(job, &k->id)))
            resync_redo(c, job, &k->id, 0);
    }
}

/* What is under way when the listing starts may be missing in it. */
static void redo_busy_chunks(struct chain *c, struct resync *job)
{
    LIST_EACH(node, &job->shard->chunks)
    {
        struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        if (!chunk_is_idle(k) && !(k->mirrored & member_bit(job->member)))
            resync_redo(c, job, &k->id, 0);
        if (job->state != RESYNC_LISTING)
            return;
    }
}

static struct chain_work *job_call(struct chain *c, struct resync *job, enum chain_work_kind kind,
                                   unsigned step)
{
    struct action *a = action_create(c, ACTION_JOB, job->shard, NULL);
    a->serial = job->serial;
    a->member = job->member;
    a->step = step;
    struct chain_work *w = work_action(c, kind, job->shard, a);
    w->target = job->shard->members[job->member].target;
    if (job->started)
        w->after = job->cursor;
    w->count_max = c->options.resync_batch < BATCH_MAX ? c->options.resync_batch : BATCH_MAX;
    return w;
}

static void list_next(struct chain *c, struct resync *job)
{
    job->state = RESYNC_LISTING;
    job->own_listed = job->peer_listed = false;
    job->own_next = job->peer_next = 0;
    redo_busy_chunks(c, job);
    if (job->state != RESYNC_LISTING)
        return;
    (void)job_call(c, job, CHAIN_WORK_STORE_LIST, STEP_OWN);
    (void)job_call(c, job, CHAIN_WORK_RESYNC_INVENTORY, STEP_PEER);
}

static void job_begin(struct chain *c, struct resync *job)
{
    if (c->now_ms < job->retry_at_ms || c->job_count >= c->options.resync_jobs_max)
        return;
    c->job_count++;
    job->serial = chain_next_id(c);
    list_next(c, job);
}

/* Both lists are complete up to the window. */
static void window_set(struct resync *job)
{
    job->window_end = job->own_end && job->peer_end;
    const struct chunk_id *own = job->own_count ? &job->own[job->own_count - 1].id : NULL;
    const struct chunk_id *peer = job->peer_count ? &job->peer[job->peer_count - 1].id : NULL;
    if (job->window_end)
        return;
    CHECK(job->own_end || own != NULL);
    CHECK(job->peer_end || peer != NULL);
    if (job->own_end)
        job->window = *peer; // NOLINT(clang-analyzer-core.NullDereference) not both have ended
    else if (job->peer_end)
        job->window = *own;
    else
        job->window = chunk_id_compare(own, peer) < 0 ? *own : *peer;
}

static const struct chain_inventory *entry_at(const struct resync *job,
                                              const struct chain_inventory *list, uint32_t count,
                                              uint32_t next)
{
    if (next >= count || (!job->window_end && chunk_id_compare(&list[next].id, &job->window) > 0))
        return NULL;
    return &list[next];
}

/* The next chunk of the batch that has to be looked at; false at its end. */
static bool walk_next(struct chain *c, struct resync *job, struct chunk_id *ret_id)
{
    for (;;) {
        const struct chain_inventory *own = entry_at(job, job->own, job->own_count, job->own_next);
        const struct chain_inventory *peer =
            entry_at(job, job->peer, job->peer_count, job->peer_next);
        if (!own && !peer)
            return false;
        int order = !own ? 1 : !peer ? -1 : chunk_id_compare(&own->id, &peer->id);
        job->own_next += order <= 0;
        job->peer_next += order >= 0;
        *ret_id = order <= 0 ? own->id : peer->id;
        bool equal = order == 0 && version_equal(own->version, peer->version) && !own->suspect &&
                     !peer->suspect;
        if (!equal)
            return true;
        c->counters.resync_chunks_skipped++;
    }
}

static bool redo_next(struct chain *c, struct resync *job, struct chunk_id *ret_id)
{
    LIST_EACH(node, &job->redo)
    {
        struct redo *r = CONTAINER_OF(node, struct redo, node);
        if (r->not_before_ms > c->now_ms || is_copying(job, &r->id))
            continue;
        *ret_id = r->id;
        redo_drop(job, r);
        return true;
    }
    return false;
}

static void mirror_covered(struct resync *job)
{
    LIST_EACH(node, &job->shard->chunks)
    {
        struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        if (resync_covers(job, &k->id))
            k->mirrored |= member_bit(job->member);
    }
}

static void seal(struct chain *c, struct resync *job)
{
    job->state = RESYNC_SEALING;
    struct member *m = &job->shard->members[job->member];
    m->complete = true;
    m->progress_ms = c->now_ms;
    /* What a copy brought over was not forwarded, but from now on its ack counts. */
    shard_resend(c, job->shard, job->member);
    (void)job_call(c, job, CHAIN_WORK_RESYNC_SEAL, STEP_SEAL);
}

static void batch_end(struct chain *c, struct resync *job)
{
    if (job->window_end)
        job->walked = true;
    else {
        job->cursor = job->window;
        job->started = true;
    }
    mirror_covered(job);
    if (!job->walked)
        list_next(c, job);
    else if (list_empty(&job->redo))
        seal(c, job);
}

static void copy_some(struct chain *c, struct resync *job)
{
    struct chunk_id id;
    uint64_t serial = job->serial;
    while (job->copy_count < c->options.resync_chunks_max) {
        bool walked = false;
        if (!redo_next(c, job, &id)) {
            walked = walk_next(c, job, &id);
            if (!walked)
                break;
        }
        if (is_copying(job, &id) || (walked && map_get_bytes(&job->redo_map, chunk_key(&id))))
            continue;
        if (!copy_start(c, job, &id))
            resync_redo(c, job, &id, (int64_t)c->options.retry_ms);
        if (job->serial != serial)
            return;
    }
    if (job->copy_count == 0 && job->state == RESYNC_COPYING)
        batch_end(c, job);
}

void resync_run(struct chain *c, struct resync *job)
{
    switch (job->state) {
    case RESYNC_WAITING:
        job_begin(c, job);
        break;
    case RESYNC_COPYING:
        copy_some(c, job);
        break;
    case RESYNC_SEALING:
        if (!job->sealed || job->outstanding)
            break;
        job->state = RESYNC_REPORTED;
        CHECK(c->job_count > 0);
        c->job_count--;
        c->counters.resync_shards++;
        member_report(c, job->shard, job->member, REPORT_SYNCED);
        break;
    case RESYNC_LISTING:
    case RESYNC_REPORTED:
        break;
    }
}

static bool list_take(struct chain_inventory *to, uint32_t *ret_count, const struct chain_done *d)
{
    if (d->entry_count > BATCH_MAX || (d->entry_count == 0 && !d->end))
        return false;
    for (uint32_t i = 1; i < d->entry_count; i++)
        if (chunk_id_compare(&d->entries[i - 1].id, &d->entries[i].id) >= 0)
            return false;
    if (d->entry_count)
        memcpy(to, d->entries, d->entry_count * sizeof *to);
    *ret_count = d->entry_count;
    return true;
}

void resync_done(struct chain *c, const struct action *a, const struct chain_done *done)
{
    struct shard *s = a->shard;
    if (a->epoch != s->epoch || a->member >= s->member_count)
        return;
    struct resync *job = s->members[a->member].job;
    if (!job || job->serial != a->serial || job->state == RESYNC_REPORTED)
        return;
    bool usable = done->status == 0;
    if (done->status == -ERR_STALE)
        work_refresh(c);
    if (usable && a->step == STEP_OWN) {
        usable = list_take(job->own, &job->own_count, done);
        job->own_listed = true;
        job->own_end = done->end;
    } else if (usable && a->step == STEP_PEER) {
        usable = list_take(job->peer, &job->peer_count, done);
        job->peer_listed = true;
        job->peer_end = done->end;
    } else if (usable)
        job->sealed = true;
    if (!usable) {
        resync_restart(c, job);
        return;
    }
    if (job->state == RESYNC_LISTING && job->own_listed && job->peer_listed) {
        window_set(job);
        job->state = RESYNC_COPYING;
    }
    resync_run(c, job);
}

void resync_tick(struct chain *c, struct shard *s)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        struct resync *job = s->members[i].job;
        if (!job)
            continue;
        copies_tick(c, job);
        if (job->state == RESYNC_WAITING || job->state == RESYNC_COPYING)
            resync_run(c, job);
    }
}
