/* To the members behind us: forwarding, acks, sending again, reporting who cannot follow. */
#include "chunkserver/chain/chain_internal.h"

#include "common/base/banned.h"

enum { GAPS_MAX = 3, REPORT_REPEAT = 5 };

bool op_remote_is_done(const struct shard *s, const struct op *op)
{
#ifdef PLANT_D1
    return true;
#endif
    if (!shard_is_insync(s))
        return true;
    unsigned next = (unsigned)s->self + 1;
    if (next < s->insync_count)
        return (op->acked & member_bit(next)) != 0;
    for (unsigned i = s->insync_count; i < s->member_count; i++)
        if (s->members[i].complete && !(op->acked & member_bit(i)))
            return false;
    return true;
}

static void send_to(struct chain *c, struct chunk_state *k, struct op *op, unsigned i)
{
    struct shard *s = k->shard;
    struct member *m = &s->members[i];
    if (m->held_off)
        return;
    struct action *a = action_create(c, ACTION_FORWARD, s, k);
    a->serial = op->serial;
    a->member = i;
    a->attempt = m->attempt;
    a->chunk_attempt = k->attempt;
    if (m->job) {
        a->job = m->job->serial;
        m->job->outstanding++;
    }
    struct chain_work *w = work_action(c, CHAIN_WORK_FORWARD, s, a);
    work_set_op(w, op);
    w->target = m->target;
}

void op_forward(struct chain *c, struct chunk_state *k, struct op *op)
{
    struct shard *s = k->shard;
    if (!shard_is_insync(s))
        return;
    unsigned next = (unsigned)s->self + 1;
    if (next < s->insync_count) {
        send_to(c, k, op, next);
        return;
    }
    for (unsigned i = s->insync_count; i < s->member_count; i++)
        if (k->mirrored & member_bit(i))
            send_to(c, k, op, i);
}

void chunk_resend(struct chain *c, struct chunk_state *k, unsigned member)
{
    struct list *lists[] = {&k->pending, &k->syncs};
    k->attempt++;
    for (unsigned i = 0; i < 2; i++)
        LIST_EACH(node, lists[i])
        {
            struct op *op = CONTAINER_OF(node, struct op, node);
            if (op->acked & member_bit(member))
                continue;
            c->counters.resends++;
            send_to(c, k, op, member);
        }
}

void shard_resend(struct chain *c, struct shard *s, unsigned member)
{
    LIST_EACH(node, &s->chunks)
    {
        struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        if (!list_empty(&k->pending) || !list_empty(&k->syncs))
            chunk_resend(c, k, member);
    }
}

void member_hold_off(struct chain *c, struct shard *s, unsigned member)
{
    struct member *m = &s->members[member];
    m->held_off = true;
    m->retry_at_ms = c->now_ms + c->options.retry_ms;
}

static void report_emit(struct chain *c, struct shard *s, struct member *m,
                        enum shard_report_kind kind)
{
    struct chain_work *w = work_add(c, CHAIN_WORK_REPORT, s);
    w->target = m->target;
    w->report = kind;
    m->report_at_ms = c->now_ms + REPORT_REPEAT * (int64_t)c->options.retry_ms;
}

/* A member that was reported complete may be in sync by now, and it does have everything that was
 * acknowledged: that report is repeated whatever happens to it, so that the leader decides in
 * either order. In sync it can be accused again. */
void member_report(struct chain *c, struct shard *s, unsigned member, enum shard_report_kind kind)
{
    struct member *m = &s->members[member];
    if (m->report == REPORT_SYNCED && kind == REPORT_OUT_OF_SYNC) {
        if (!m->accused)
            report_emit(c, s, m, kind);
        m->accused = true;
        return;
    }
    if (m->report == kind)
        return;
    m->report = (uint8_t)kind;
    report_emit(c, s, m, kind);
}

static void on_ack(struct chain *c, const struct action *a)
{
    struct chunk_state *k = a->chunk;
    uint16_t bit = member_bit(a->member);
    a->shard->members[a->member].progress_ms = c->now_ms;
    k->gap_count = 0;
    LIST_EACH(node, &k->syncs)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (op->serial == a->serial) {
            op->acked |= bit;
            return;
        }
    }
    bool found = false;
    LIST_EACH(pending, &k->pending)
    {
        found = found || CONTAINER_OF(pending, struct op, node)->serial == a->serial;
    }
    /* Applied in order there: one ack stands for all before it. */
    LIST_EACH(covered, &k->pending)
    {
        struct op *op = CONTAINER_OF(covered, struct op, node);
        if (!found)
            break;
        op->acked |= bit;
        if (op->serial == a->serial)
            break;
    }
}

static bool is_link_trouble(int status)
{
    return status == -ERR_CLOSED || status == -ERR_UNREACHABLE || status == -ERR_TIMEOUT ||
           status == -ERR_BUSY || status == -ERR_STALE;
}

/* The acks of a member that is not complete are not waited for: it loses its place in the resync,
 * never delays a client. */
static void on_syncing_error(struct chain *c, const struct action *a, struct resync *job,
                             int status)
{
    if (status == -ERR_STALE)
        work_refresh(c);
    if (status == -ERR_CANCELLED)
        return;
    if (status == -ERR_STALE_HANDLE) {
        chunk_bury(c, a->chunk);
        return;
    }
    if (is_link_trouble(status) || job->state == RESYNC_SEALING)
        resync_restart(c, job);
    else
        resync_redo(c, job, &a->chunk_id, status == -ERR_GAP ? 0 : 1000);
}

static void on_gap(struct chain *c, const struct action *a)
{
    struct chunk_state *k = a->chunk;
    if (a->chunk_attempt != k->attempt)
        return;
    if (++k->gap_count > GAPS_MAX)
        member_report(c, a->shard, a->member, REPORT_OUT_OF_SYNC);
    else
        chunk_resend(c, k, a->member);
}

static void on_successor_error(struct chain *c, const struct action *a, int status)
{
    struct member *m = &a->shard->members[a->member];
    if (a->attempt != m->attempt || status == -ERR_CANCELLED)
        return;
    if (is_link_trouble(status)) {
        if (status == -ERR_STALE)
            work_refresh(c);
        member_hold_off(c, a->shard, a->member);
    } else if (status == -ERR_GAP) {
        if (!m->held_off)
            on_gap(c, a);
    } else if (status == -ERR_STALE_HANDLE) {
        chunk_bury(c, a->chunk);
    } else
        member_report(c, a->shard, a->member, REPORT_OUT_OF_SYNC);
}

void forward_done(struct chain *c, const struct action *a, const struct chain_done *done)
{
    struct shard *s = a->shard;
    if (a->epoch != s->epoch || !shard_is_insync(s))
        return;
    struct resync *job = s->members[a->member].job;
    if (a->job) {
        if (!job || job->serial != a->job)
            return;
        CHECK(job->outstanding > 0);
        job->outstanding--;
    }
    if (done->status == 0)
        on_ack(c, a);
    else if (job && job->state != RESYNC_REPORTED)
        on_syncing_error(c, a, job, done->status);
    else
        on_successor_error(c, a, done->status);
    if (job)
        resync_run(c, job);
}

static bool waits_for(const struct shard *s, unsigned member)
{
    unsigned next = (unsigned)s->self + 1;
    if (next < s->insync_count)
        return member == next;
    return s->members[member].complete;
}

static bool has_unacked(const struct shard *s, unsigned member)
{
    LIST_EACH(node, &s->chunks)
    {
        struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        LIST_EACH(pending, &k->pending)
        {
            if (!(CONTAINER_OF(pending, struct op, node)->acked & member_bit(member)))
                return true;
        }
        LIST_EACH(sync, &k->syncs)
        {
            if (!(CONTAINER_OF(sync, struct op, node)->acked & member_bit(member)))
                return true;
        }
    }
    return false;
}

static void progress_check(struct chain *c, struct shard *s, unsigned member)
{
    struct member *m = &s->members[member];
    if (s->fenced || s->pending_count == 0) {
        m->progress_ms = c->now_ms;
        return;
    }
    unsigned behind = s->insync_count - (unsigned)s->self - 1;
    int64_t limit_ms = (int64_t)c->options.successor_ms * (behind ? behind : 1);
    if (c->now_ms - m->progress_ms < limit_ms)
        return;
    if (has_unacked(s, member))
        member_report(c, s, member, REPORT_OUT_OF_SYNC);
    else
        m->progress_ms = c->now_ms;
}

static void hold_off_lift(struct chain *c, struct shard *s, unsigned member)
{
    struct member *m = &s->members[member];
    m->held_off = false;
    m->attempt++;
    if (waits_for(s, member))
        shard_resend(c, s, member);
}

void members_tick(struct chain *c, struct shard *s)
{
    for (unsigned i = 0; i < s->member_count; i++) {
        struct member *m = &s->members[i];
        if (m->report && c->now_ms >= m->report_at_ms)
            report_emit(c, s, m, (enum shard_report_kind)m->report);
        if (!shard_is_insync(s) || (int)i == s->self)
            continue;
        if (m->held_off && c->now_ms >= m->retry_at_ms)
            hold_off_lift(c, s, i);
        if (waits_for(s, i))
            progress_check(c, s, i);
    }
}

void members_link_up(struct chain *c, uint32_t target)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&c->shards, &cursor));) {
        struct shard *s = e->value;
        for (unsigned i = 0; i < s->member_count; i++)
            if (s->members[i].target == target && s->members[i].held_off && shard_is_insync(s))
                hold_off_lift(c, s, i);
    }
}
