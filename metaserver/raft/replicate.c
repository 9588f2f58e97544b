/* The leader's work: append, heartbeats, flow windows, the commit rule (thesis 3.5, 3.6.2, 10.2.1).
 */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

bool raft_term_committed(const struct raft *r)
{
#ifdef PLANT_R15
    return true;
#endif
    return r->commit_index >= r->noop_index;
}

int raft_on_propose(struct raft *r, const struct raft_event *event)
{
    const struct raft_entry *entries = event->propose.entries;
    unsigned count = event->propose.entry_count;
    uint64_t cost = 0;
    if (count == 0)
        return -ERR_INVALID;
    for (unsigned i = 0; i < count; i++) {
        if (entries[i].kind != RAFT_ENTRY_COMMAND ||
            (entries[i].payload.size > 0 && !entries[i].buf))
            return -ERR_INVALID;
        cost += raft_entry_cost(&entries[i]);
    }
    if (r->role != RAFT_LEADER)
        return -ERR_NOT_LEADER;
    if (r->transfer_to != 0)
        return -ERR_BUSY;
    /* One batch always fits when nothing waits, however large it is. */
    if (r->uncommitted_bytes > 0 && r->uncommitted_bytes + cost > r->options.uncommitted_bytes_max)
        return -ERR_BUSY;
    r->proposed_first = raft_log_last_index(&r->log) + 1;
    for (unsigned i = 0; i < count; i++) {
        struct raft_entry entry = entries[i];
        entry.term = r->term;
        entry.index = r->proposed_first + i;
        raft_append_entry(r, &entry);
    }
    return 0;
}

/* How many entries from `first` go into one message. */
static unsigned batch(const struct raft *r, uint64_t first, uint64_t *ret_bytes)
{
    uint64_t last = raft_log_last_index(&r->log), bytes = 0;
    unsigned count = 0;
    while (first + count <= last && count < r->options.append_count_max) {
        uint64_t more = raft_log_at(&r->log, first + count)->payload.size;
        if (count > 0 && bytes + more > r->options.append_bytes_max)
            break;
        bytes += more;
        count++;
    }
    *ret_bytes = bytes;
    return count;
}

static void send_notice(struct raft *r, struct raft_progress *p)
{
    struct raft_message m = {.kind = RAFT_MSG_SNAPSHOT,
                             .to = p->id,
                             .log_index = p->snapshot_index,
                             .log_term = p->snapshot_term,
                             .commit_index = r->commit_index,
                             .sequence = ++r->sequence,
                             .round = r->round,
                             .sent_ms = r->now_ms};
    raft_send(r, &m);
    p->notice_out = true;
}

/* One append behind next_index; without entries it is a heartbeat that also asks whether the
 * follower holds everything sent so far. False: the log is gone, the peer needs a checkpoint. */
static bool send_append(struct raft *r, struct raft_progress *p, bool with_entries)
{
    uint64_t previous_term = 0, bytes = 0;
    if (!raft_log_term_at(&r->log, p->next_index - 1, &previous_term))
        return false;
    unsigned count = with_entries ? batch(r, p->next_index, &bytes) : 0;
    struct raft_message m = {.kind = RAFT_MSG_APPEND,
                             .to = p->id,
                             .log_index = p->next_index - 1,
                             .log_term = previous_term,
                             .commit_index = r->commit_index,
                             .sequence = ++r->sequence,
                             .round = r->round,
                             .sent_ms = r->now_ms,
                             .join = raft_join_grant(r, p),
                             .entry_count = count};
    raft_send(r, &m);
    if (p->state == RAFT_PROGRESS_PROBE) {
        p->probe_out = true;
    } else if (count > 0) {
        p->next_index += count;
        raft_inflight_add(p, p->next_index - 1, bytes);
    }
    return true;
}

static void send_or_notice(struct raft *r, struct raft_progress *p, bool with_entries)
{
    if (p->state != RAFT_PROGRESS_SNAPSHOT && send_append(r, p, with_entries))
        return;
    if (p->state != RAFT_PROGRESS_SNAPSHOT)
        raft_progress_snapshot(r, p);
    send_notice(r, p);
}

/* A peer that was silent may have missed the notice, and its checkpoint may be gone by now. */
static void refresh_notice(struct raft *r, struct raft_progress *p)
{
    if (p->state == RAFT_PROGRESS_SNAPSHOT && r->now_ms - p->heard_ms > r->options.election_ms_max)
        raft_progress_snapshot(r, p);
}

void raft_heartbeat_all(struct raft *r)
{
    for (unsigned i = 0; i < r->member_count; i++) {
        if (r->members[i].id == r->self)
            continue;
        refresh_notice(r, &r->members[i]);
        send_or_notice(r, &r->members[i], false);
    }
}

static void flush_transfer(struct raft *r)
{
    const struct raft_progress *p = raft_member(r, r->transfer_to);
    CHECK(p != NULL);
    if (r->timeout_now_sent || p->match_index != raft_log_last_index(&r->log))
        return;
    struct raft_message m = {.kind = RAFT_MSG_TIMEOUT_NOW, .to = p->id};
    raft_send(r, &m);
    r->timeout_now_sent = true;
    r->lease_void = true; /* a late copy of the message can start an election at any time */
}

void raft_leader_flush(struct raft *r)
{
    uint64_t last = raft_log_last_index(&r->log);
    for (unsigned i = 0; i < r->member_count; i++) {
        struct raft_progress *p = &r->members[i];
        if (p->id == r->self)
            continue;
        if (p->state == RAFT_PROGRESS_PROBE && !p->probe_out)
            send_or_notice(r, p, true);
        while (p->state == RAFT_PROGRESS_REPLICATE && p->next_index <= last &&
               !raft_inflight_full(r, p))
            send_or_notice(r, p, true);
    }
    if (r->transfer_to != 0)
        flush_transfer(r);
}

static uint64_t match_value(const struct raft *r, const struct raft_progress *p)
{
#ifdef PLANT_R3
    if (p->id == r->self)
        return raft_log_last_index(&r->log);
#endif
    return p->id == r->self ? r->log.durable_index : p->match_index; /* R3 */
}

void raft_leader_commit(struct raft *r)
{
    uint64_t index = raft_quorum_value(r, match_value), term = 0;
    if (index <= r->commit_index)
        return;
    CHECK(raft_log_term_at(&r->log, index, &term));
#ifndef PLANT_R1
    if (term != r->term)
        return; /* R1 */
#endif
    raft_commit_to(r, index);
}

static uint64_t heard_value(const struct raft *r, const struct raft_progress *p)
{
    return p->id == r->self ? r->now_ms : p->heard_ms;
}

/* R14: a leader that no quorum answers makes room. */
static bool quorum_lost(const struct raft *r)
{
#ifdef PLANT_R14
    return false;
#endif
    return r->now_ms - raft_quorum_value(r, heard_value) > r->options.election_ms_max;
}

void raft_leader_tick(struct raft *r)
{
    if (quorum_lost(r) || raft_persist_stalled(r)) { /* R20 */
        raft_become_follower(r, r->term, 0);
        return;
    }
    if (r->transfer_to != 0 && r->now_ms >= r->transfer_until_ms)
        r->transfer_to = 0;
    if (r->now_ms >= r->heartbeat_at_ms) {
        raft_heartbeat_all(r);
        r->heartbeat_at_ms = r->now_ms + r->options.heartbeat_ms;
    }
}

int raft_on_transfer(struct raft *r, const struct raft_event *event)
{
    if (!raft_is_voter(r, event->peer) || event->peer == r->self)
        return -ERR_INVALID;
    if (r->role != RAFT_LEADER)
        return -ERR_NOT_LEADER;
    if (r->transfer_to != 0 || raft_member(r, event->peer)->join != 0)
        return -ERR_BUSY;
    r->transfer_to = event->peer;
    r->transfer_until_ms = r->now_ms + r->options.election_ms_max;
    r->timeout_now_sent = false;
    return 0;
}
