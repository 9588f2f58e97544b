/* Views: what we are in a shard's chain, and what a new epoch does to work under way. */
#include "chunkserver/chain/chain_internal.h"

#include <stdlib.h>

#include "common/base/banned.h"

static uint64_t shard_key(uint8_t copies, uint32_t number)
{
    return (uint64_t)copies << 32 | number;
}

struct shard *shard_find(const struct chain *c, uint8_t copies, uint32_t number)
{
    return map_get(&c->shards, shard_key(copies, number));
}

bool shard_is_insync(const struct shard *s)
{
    return s->self >= 0 && (unsigned)s->self < s->insync_count;
}

bool shard_is_leaving(const struct shard *s)
{
    return s->self >= 0 && s->members[s->self].state == SLOT_LEAVING;
}

bool shard_is_last(const struct shard *s)
{
    return shard_is_insync(s) && (unsigned)s->self + 1 == s->insync_count;
}

bool shard_is_syncing(const struct shard *s)
{
    return s->self >= 0 && (unsigned)s->self >= s->insync_count;
}

uint32_t shard_predecessor(const struct shard *s)
{
    if (s->self < 0 || s->self == 0)
        return 0;
    unsigned self = (unsigned)s->self;
    if (self < s->insync_count)
        return s->members[self - 1].target;
    return s->insync_count ? s->members[s->insync_count - 1].target : 0;
}

void shard_free(struct chain *c, struct shard *s)
{
    resync_stop_jobs(c, s);
    LIST_EACH(held, &s->held)
    {
        op_destroy(c, CONTAINER_OF(held, struct op, node));
    }
    LIST_EACH(node, &s->chunks)
    {
        struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        chunk_fail_arrivals(c, k, -ERR_CLOSED);
        chunk_fail_pending(c, k, -ERR_CLOSED);
        reads_fail(c, k, -ERR_CLOSED);
        if (k->exclusive)
            op_destroy(c, k->exclusive);
        chunk_free(c, k);
    }
    free(s);
}

static struct shard *shard_create(struct chain *c, const struct chain_shard_view *view)
{
    struct shard *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->copies = view->copies;
    s->number = view->shard;
    s->self = -1;
    list_init(&s->chunks);
    list_init(&s->held);
    (void)map_put(&c->shards, shard_key(view->copies, view->shard), s);
    return s;
}

/* This replica does not (or no longer) belong to those that have every acknowledged operation: what
 * is under way is given back, and nothing in memory is trusted (an operation remembered here may
 * not be part of the history that the shard goes on with). */
void shard_lose_place(struct chain *c, struct shard *s)
{
    resync_stop_jobs(c, s);
    LIST_EACH(node, &s->chunks)
    {
        struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        chunk_fail_arrivals(c, k, -ERR_STALE);
        chunk_fail_pending(c, k, -ERR_STALE);
        reads_fail(c, k, -ERR_NOT_SYNCED);
        memory_forget(k);
        k->mirrored = 0;
        chunk_idle_check(c, k);
    }
}

static void members_set(struct chain *c, struct shard *s, const struct chain_shard_view *view)
{
    s->self = -1;
    s->insync_count = 0;
    s->member_count = view->member_count;
    for (unsigned i = 0; i < view->member_count; i++) {
        s->members[i] = (struct member){.target = view->members[i].target,
                                        .state = view->members[i].state,
                                        .progress_ms = c->now_ms};
        if (s->members[i].target == c->options.target)
            s->self = (int)i;
        if (s->members[i].state != SLOT_SYNCING)
            s->insync_count++;
    }
}

/* What stays under way goes down the new chain; acks of the old one count no more. */
static void shard_continue(struct chain *c, struct shard *s)
{
    LIST_EACH(node, &s->chunks)
    {
        struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        k->mirrored = 0;
        k->gap_count = 0;
        LIST_EACH(pending, &k->pending)
        {
            CONTAINER_OF(pending, struct op, node)->acked = 0;
        }
        LIST_EACH(sync, &k->syncs)
        {
            CONTAINER_OF(sync, struct op, node)->acked = 0;
        }
    }
    if ((unsigned)s->self + 1 < s->insync_count)
        shard_resend(c, s, (unsigned)s->self + 1);
}

static bool view_is_sane(const struct chain_shard_view *view)
{
    if (view->member_count > CHAIN_MEMBERS_MAX)
        return false;
    bool syncing = false;
    for (unsigned i = 0; i < view->member_count; i++) {
        if (view->members[i].state == SLOT_SYNCING)
            syncing = true;
        else if (syncing || view->members[i].state == SLOT_OFFLINE)
            return false;
    }
    return true;
}

static void shard_run_all(struct chain *c, struct shard *s)
{
    LIST_EACH(node, &s->chunks)
    {
        chunk_run(c, CONTAINER_OF(node, struct chunk_state, shard_node));
    }
}

static void held_replay(struct chain *c, struct shard *s)
{
    struct list take;
    list_init(&take);
    LIST_EACH(node, &s->held)
    {
        list_remove(node);
        list_append(&take, node);
        c->held_count--;
    }
    LIST_EACH(again, &take)
    {
        list_remove(again);
        entry_op(c, CONTAINER_OF(again, struct op, node));
    }
}

void shard_set_view(struct chain *c, const struct chain_shard_view *view)
{
    struct shard *s = shard_find(c, view->copies, view->shard);
    if (view->incarnation != c->options.incarnation || !view_is_sane(view))
        return;
    if (s && view->epoch <= s->epoch)
        return;
    if (!s)
        s = shard_create(c, view);
    bool was_member = s->self >= 0;
    resync_stop_jobs(c, s);
    members_set(c, s, view);
    s->epoch = view->epoch;
    s->min_copies = view->min_copies;
    int64_t fence_ms = c->now_ms + view->fence_ms;
    if (fence_ms > s->fence_until_ms)
        s->fence_until_ms = fence_ms;
    s->fenced = s->fence_until_ms > c->now_ms;
    LIST_EACH(node, &s->chunks)
    {
        chunk_fail_arrivals(c, CONTAINER_OF(node, struct chunk_state, shard_node), -ERR_STALE);
    }
    if (was_member && shard_is_insync(s))
        shard_continue(c, s);
    else
        shard_lose_place(c, s);
    if (shard_is_leaving(s)) /* from here on no read is begun */
        member_report(c, s, (unsigned)s->self, REPORT_LEFT);
    resync_start_jobs(c, s);
    shard_run_all(c, s);
    held_replay(c, s);
}

void shard_fence_lift(struct chain *c, struct shard *s)
{
    if (!s->fenced || c->now_ms < s->fence_until_ms)
        return;
    s->fenced = false;
    shard_run_all(c, s);
}

void shard_tick(struct chain *c, struct shard *s)
{
    shard_fence_lift(c, s);
    if (s->store_retry) {
        s->store_retry = false;
        shard_run_all(c, s);
    }
    LIST_EACH(node, &s->held)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (op->held_until_ms > c->now_ms)
            break;
        op_answer(c, op, -ERR_STALE);
        c->held_count--;
        op_destroy(c, op);
    }
    members_tick(c, s);
    resync_tick(c, s);
}
