/* What the leader knows about each follower: a table of states and a window of requests. */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

#define B(name) (1u << RAFT_PROGRESS_##name)

static const struct {
    const char *name;
    unsigned next; /* states it may move to */
} states[] = {
    [RAFT_PROGRESS_PROBE] = {"PROBE", B(PROBE) | B(REPLICATE) | B(SNAPSHOT)},
    [RAFT_PROGRESS_REPLICATE] = {"REPLICATE", B(PROBE) | B(SNAPSHOT)},
    [RAFT_PROGRESS_SNAPSHOT] = {"SNAPSHOT", B(PROBE) | B(SNAPSHOT)},
};

const char *raft_progress_state_name(enum raft_progress_state state)
{
    return (unsigned)state < sizeof states / sizeof states[0] ? states[state].name : "?";
}

bool raft_progress_check(const struct raft_progress *p)
{
    if (p->next_index <= p->match_index)
        return false;
    if (p->state != RAFT_PROGRESS_REPLICATE && p->inflight_count > 0)
        return false;
    uint64_t bytes = 0, last = 0;
    for (unsigned i = 0; i < p->inflight_count; i++) {
        const struct raft_inflight *f = &p->inflight[(p->inflight_head + i) % RAFT_INFLIGHT_MAX];
        if (f->index_last <= last || f->index_last >= p->next_index)
            return false;
        last = f->index_last;
        bytes += f->bytes;
    }
    return bytes == p->inflight_bytes;
}

static void move(struct raft *r, struct raft_progress *p, enum raft_progress_state to)
{
    CHECK(states[p->state].next & (1u << to));
    p->state = to;
    p->probe_out = p->notice_out = false;
    p->inflight_head = p->inflight_count = 0;
    p->inflight_bytes = 0;
    p->sequence_first = r->sequence + 1;
}

void raft_progress_reset(struct raft_progress *p, uint64_t next_index, uint64_t now_ms)
{
    p->state = RAFT_PROGRESS_PROBE;
    p->match_index = 0;
    p->next_index = next_index;
    p->sequence_first = p->sequence_match = p->sequence_alive = 0;
    p->probe_out = p->notice_out = false;
    p->snapshot_index = p->snapshot_term = 0;
    p->heard_ms = now_ms;
    p->heard = false;
    p->join = p->join_round = 0;
    p->lease_ms = 0;
    p->round = 0;
    p->inflight_head = p->inflight_count = 0;
    p->inflight_bytes = 0;
}

void raft_progress_probe(struct raft *r, struct raft_progress *p, uint64_t next_index)
{
#ifndef PLANT_R8
    CHECK(next_index > p->match_index);
#endif
    move(r, p, RAFT_PROGRESS_PROBE);
    p->next_index = next_index;
}

void raft_progress_replicate(struct raft *r, struct raft_progress *p)
{
    move(r, p, RAFT_PROGRESS_REPLICATE);
}

void raft_progress_snapshot(struct raft *r, struct raft_progress *p)
{
    CHECK(r->snapshot_index >= r->log.base_index);
    move(r, p, RAFT_PROGRESS_SNAPSHOT);
    p->snapshot_index = r->snapshot_index;
    p->snapshot_term = r->snapshot_term;
}

void raft_progress_forget(const struct raft *r, struct raft_progress *p)
{
    p->match_index = 0;
    p->sequence_match = r->sequence;
    p->sequence_alive = r->sequence + 1;
}

bool raft_progress_match(const struct raft *r, struct raft_progress *p, uint64_t match_index)
{
#ifdef PLANT_R8
    if (match_index == p->match_index)
        return false;
    p->match_index = match_index;
    p->next_index = match_index + 1;
    return true;
#endif
    if (match_index <= p->match_index)
        return false; /* R8: late and repeated answers take nothing back */
    p->match_index = match_index;
    p->sequence_match = r->sequence;
    if (p->next_index <= match_index)
        p->next_index = match_index + 1;
    return true;
}

bool raft_inflight_full(const struct raft *r, const struct raft_progress *p)
{
    return p->inflight_count >= r->options.inflight_count_max ||
           (p->inflight_count > 0 && p->inflight_bytes >= r->options.inflight_bytes_max);
}

void raft_inflight_add(struct raft_progress *p, uint64_t index_last, uint64_t bytes)
{
    CHECK(p->inflight_count < RAFT_INFLIGHT_MAX);
    unsigned at = (p->inflight_head + p->inflight_count++) % RAFT_INFLIGHT_MAX;
    p->inflight[at] = (struct raft_inflight){.index_last = index_last, .bytes = bytes};
    p->inflight_bytes += bytes;
}

void raft_inflight_free_to(struct raft_progress *p, uint64_t index)
{
    while (p->inflight_count > 0 && p->inflight[p->inflight_head].index_last <= index) {
        p->inflight_bytes -= p->inflight[p->inflight_head].bytes;
        p->inflight_head = (p->inflight_head + 1) % RAFT_INFLIGHT_MAX;
        p->inflight_count--;
    }
}
