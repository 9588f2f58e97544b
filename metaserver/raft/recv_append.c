/* Appends and heartbeats on the follower, and their answers on the leader (thesis 3.5). */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A leader of this or a later term has every committed entry: one that disagrees is no leader. */
static bool contradicts_commit(const struct raft *r, uint64_t index, uint64_t term)
{
    uint64_t have = 0;
    return index <= r->commit_index && raft_log_term_at(&r->log, index, &have) && have != term;
}

int raft_append_validate(const struct raft *r, const struct raft_message *m)
{
    uint64_t term = m->log_term;
    if (m->entry_count > 0 && !m->entries)
        return -ERR_PROTOCOL;
    for (unsigned i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        if (e->index != m->log_index + 1 + i || e->term < term || e->term > m->term ||
            !raft_entry_valid(e))
            return -ERR_PROTOCOL;
        if (m->term >= r->term && contradicts_commit(r, e->index, e->term))
            return -ERR_PROTOCOL;
        term = e->term;
    }
    if (m->term >= r->term && contradicts_commit(r, m->log_index, m->log_term))
        return -ERR_PROTOCOL;
    return 0;
}

void raft_note_request(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_FOLLOWER || r->leader != m->from)
        raft_become_follower(r, m->term, m->from);
    raft_election_reset(r);
    r->heard_ms = r->now_ms;
    r->request.sequence = m->sequence;
    r->request.round = m->round;
    r->request.sent_ms = m->sent_ms;
}

/* prev_index 0 says nothing about the log, only that the leader was heard. */
void raft_answer_leader(struct raft *r, bool rejected, uint64_t prev_index)
{
    struct raft_message reply = {.kind = RAFT_MSG_APPEND_REPLY,
                                 .to = r->leader,
                                 .match_index = least(r->verified_index, r->log.durable_index),
                                 .prev_index = prev_index,
                                 .sequence = r->request.sequence,
                                 .round = r->request.round,
                                 .sent_ms = r->request.sent_ms,
                                 .join = r->join,
                                 .rejected = rejected};
#ifdef PLANT_R4
    reply.match_index = r->verified_index;
#endif
#ifdef PLANT_R6
    reply.match_index = r->log.durable_index;
#endif
    if (rejected && prev_index > 0) {
        reply.log_index = raft_log_find_term(&r->log, prev_index - 1, r->request.prev_term);
        (void)raft_log_term_at(&r->log, reply.log_index, &reply.log_term);
    }
    raft_send(r, &reply);
}

/* R4, R6: what is both durable here and equal to the leader's log. */
void raft_ack_persisted(struct raft *r)
{
    if (!r->ack_owed || r->leader == 0)
        return;
    r->ack_owed = r->log.durable_index < r->verified_index;
    raft_answer_leader(r, false, 0);
}

static bool previous_matches(const struct raft *r, const struct raft_message *m)
{
    return m->log_index <= r->commit_index || raft_log_matches(&r->log, m->log_index, m->log_term);
}

static void take_entries(struct raft *r, const struct raft_message *m)
{
    for (unsigned i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        if (e->index <= r->commit_index || raft_log_matches(&r->log, e->index, e->term))
            continue;
        if (e->index <= raft_log_last_index(&r->log))
            raft_truncate(r, e->index); /* R5: only here, at a conflicting term */
        raft_append_entry(r, e);
    }
#ifdef PLANT_R5
    uint64_t end = m->log_index + m->entry_count;
    if (m->entry_count > 0 && end < raft_log_last_index(&r->log))
        raft_log_truncate(&r->log, end + 1);
#endif
}

void raft_on_append(struct raft *r, const struct raft_message *m)
{
    raft_note_request(r, m);
    raft_note_grant(r, m);
    if (r->installing) { /* the log stands still until the new state is in place */
        raft_answer_leader(r, true, 0);
        return;
    }
    if (!previous_matches(r, m)) {
        r->request.prev_term = m->log_term;
        raft_answer_leader(r, true, m->log_index);
        return;
    }
    take_entries(r, m);
    uint64_t end = m->log_index + m->entry_count; /* R6, R7: what this message vouches for */
    if (end > r->verified_index)
        r->verified_index = end;
#ifdef PLANT_R7
    end = raft_log_last_index(&r->log);
#endif
    raft_commit_to(r, least(m->commit_index, end));
    if (m->entry_count == 0 || r->log.durable_index >= end)
        raft_answer_leader(r, false, m->log_index);
    if (r->log.durable_index < r->verified_index)
        r->ack_owed = true;
}

/* --- the leader's side --- */

int raft_append_reply_validate(const struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_LEADER || m->term != r->term)
        return 0;
    return m->match_index > raft_log_last_index(&r->log) || m->sequence > r->sequence ||
                   m->round > r->round || m->sent_ms > r->now_ms
               ? -ERR_PROTOCOL
               : 0;
}

/* R8: acted on only when it answers a request of the present state. */
static bool reject_is_stale(const struct raft_progress *p, const struct raft_message *m)
{
#ifdef PLANT_R8
    return m->prev_index == 0;
#endif
    if (m->sequence < p->sequence_first || m->prev_index <= p->match_index)
        return true;
    return p->state == RAFT_PROGRESS_PROBE ? m->prev_index != p->next_index - 1
                                           : m->prev_index >= p->next_index;
}

/* Whoever acknowledged an index keeps it for the rest of the term. One that denies it in answer to
 * a request that was made after the acknowledgement had arrived has lost its log: a disk was
 * replaced while this leader led. Without this it would be taken for stale until the next term. */
static bool has_lost_log(const struct raft_progress *p, const struct raft_message *m)
{
    return m->prev_index > 0 && m->prev_index <= p->match_index && m->sequence > p->sequence_match;
}

static void on_reject(struct raft *r, struct raft_progress *p, const struct raft_message *m)
{
    if (p->state == RAFT_PROGRESS_SNAPSHOT)
        return;
    if (has_lost_log(p, m))
        raft_progress_forget(r, p);
    else if (reject_is_stale(p, m))
        return;
    uint64_t limit = least(m->log_index, m->prev_index - 1);
    uint64_t next = raft_log_find_term(&r->log, limit, m->log_term) + 1;
    if (limit < r->log.base_index)
        next = limit + 1; /* compacted away: the peer will need a checkpoint */
#ifndef PLANT_R8
    if (next <= p->match_index)
        next = p->match_index + 1;
#endif
    raft_progress_probe(r, p, next);
}

static void on_success(struct raft *r, struct raft_progress *p, const struct raft_message *m)
{
    uint64_t term = 0;
    bool moved = raft_progress_match(r, p, m->match_index);
    raft_inflight_free_to(p, m->match_index);
    switch (p->state) {
    case RAFT_PROGRESS_PROBE:
        if (p->match_index + 1 == p->next_index ||
            (m->sequence >= p->sequence_first && m->prev_index == p->next_index - 1))
            raft_progress_replicate(r, p);
        return;
    case RAFT_PROGRESS_REPLICATE:
        return;
    case RAFT_PROGRESS_SNAPSHOT:
        if (moved && raft_log_term_at(&r->log, p->match_index, &term))
            raft_progress_probe(r, p, p->match_index + 1);
        else if (p->match_index >= p->snapshot_index)
            raft_progress_snapshot(r, p); /* the log has gone on: the next checkpoint */
        return;
    }
    UNREACHABLE("progress state %d", (int)p->state);
}

void raft_on_append_reply(struct raft *r, const struct raft_message *m)
{
    if (r->role != RAFT_LEADER)
        return;
    struct raft_progress *p = raft_member(r, m->from);
    if (m->sequence < p->sequence_alive)
        return;
    raft_note_join(r, p, m->join);
    p->heard_ms = r->now_ms;
    p->heard = true;
    if (m->sent_ms > p->lease_ms)
        p->lease_ms = m->sent_ms;
#ifdef PLANT_R16
    p->lease_ms = r->now_ms; /* from the arrival of the answer */
#endif
    if (m->round > p->round)
        p->round = m->round;
    if (m->rejected)
        on_reject(r, p, m);
    else
        on_success(r, p, m);
}
