/* Linearizable reads (thesis 6.4): a read waits until this leader has committed in its term and a
 * quorum has confirmed, after the read came, that it still leads. Reads that come while a round is
 * out share the next one. */
#include "metaserver/raft/raft_state.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/banned.h"

static void push(struct raft_read_queue *q, struct raft_read read, uint64_t round)
{
    if (q->count == q->capacity) {
        q->capacity = q->capacity ? q->capacity * 2 : 16;
        q->items = realloc(q->items, q->capacity * sizeof *q->items);
        q->rounds = realloc(q->rounds, q->capacity * sizeof *q->rounds);
        CHECK(q->items != NULL && q->rounds != NULL);
    }
    q->items[q->count] = read;
    q->rounds[q->count++] = round;
}

void raft_read_queue_release(struct raft_read_queue *q)
{
    free(q->items);
    free(q->rounds);
    *q = (struct raft_read_queue){0};
}

static uint64_t round_value(const struct raft *r, const struct raft_progress *p)
{
    return p->id == r->self ? r->round : p->round;
}

uint64_t raft_round_confirmed(const struct raft *r)
{
    return raft_quorum_value(r, round_value);
}

void raft_start_round(struct raft *r)
{
    r->round++;
    raft_heartbeat_all(r);
    r->heartbeat_at_ms = r->now_ms + r->options.heartbeat_ms;
}

int raft_on_read(struct raft *r, const struct raft_event *event)
{
    if (r->role != RAFT_LEADER)
        return -ERR_NOT_LEADER;
    if (r->reads.count >= r->options.reads_max)
        return -ERR_BUSY;
    struct raft_read read = {.id = event->read_id,
                             .index = raft_term_committed(r) ? r->commit_index : 0};
    bool idle = raft_round_confirmed(r) == r->round;
    push(&r->reads, read, r->round + 1);
    if (idle)
        raft_start_round(r);
    return 0;
}

void raft_reads_release(struct raft *r)
{
    if (r->reads.count == 0)
        return;
    uint64_t confirmed = raft_round_confirmed(r);
    unsigned released = 0, count = r->reads.count;
    while (raft_term_committed(r) && released < count && r->reads.rounds[released] <= confirmed) {
        struct raft_read read = r->reads.items[released++];
        if (read.index == 0)
            read.index = r->commit_index; /* R15: came before the no-op was committed */
        push(&r->reads_out, read, 0);
        r->todo |= RAFT_READS_READY;
    }
    for (unsigned i = released; released > 0 && i < count; i++) {
        r->reads.items[i - released] = r->reads.items[i];
        r->reads.rounds[i - released] = r->reads.rounds[i];
    }
    r->reads.count -= released;
    if (r->reads.count > 0 && confirmed == r->round &&
        r->reads.rounds[r->reads.count - 1] > r->round)
        raft_start_round(r);
}

void raft_reads_fail(struct raft *r)
{
    for (unsigned i = 0; i < r->reads.count; i++) {
        struct raft_read read = {.id = r->reads.items[i].id, .status = -ERR_NOT_LEADER};
        push(&r->reads_out, read, 0);
        r->todo |= RAFT_READS_READY;
    }
    r->reads.count = 0;
}
