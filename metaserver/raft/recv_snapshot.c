/* Checkpoints: who must fetch one, what becomes of the log behind it (thesis 5; R9). The bytes move
 * outside the core. */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

/* The leader's checkpoint is of committed state, so holding its last entry is holding all of it. */
static bool already_have(const struct raft *r, const struct raft_message *m)
{
    return m->log_index <= r->commit_index || raft_log_matches(&r->log, m->log_index, m->log_term);
}

void raft_on_snapshot_notice(struct raft *r, const struct raft_message *m)
{
    raft_note_request(r, m);
    if (r->installing) { /* one at a time; this one is told again with the next heartbeat */
        raft_answer_leader(r, true, 0);
        return;
    }
    if (already_have(r, m)) {
        if (m->log_index > r->verified_index)
            r->verified_index = m->log_index;
        raft_commit_to(r, m->log_index > r->commit_index ? m->log_index : r->commit_index);
        r->ack_owed = r->log.durable_index < r->verified_index;
        raft_answer_leader(r, false, 0);
        return;
    }
    r->installing = true;
    r->install_from = m->from;
    r->install_index = m->log_index;
    r->install_term = m->log_term;
    r->todo |= RAFT_FETCH_SNAPSHOT;
    raft_answer_leader(r, true, 0);
}

static void end_install(struct raft *r)
{
    r->installing = false;
    r->install_from = 0;
    r->install_index = r->install_term = 0;
}

int raft_on_snapshot_installed(struct raft *r, const struct raft_event *event)
{
    uint64_t index = event->snapshot.index, term = event->snapshot.term;
    const struct raft_config *config = event->snapshot.config;
    if (!r->installing || index != r->install_index || term != r->install_term || !config ||
        raft_config_voters(config) == 0)
        return -ERR_INVALID;
    CHECK(r->role != RAFT_LEADER && index > r->commit_index);
    end_install(r);
    if (raft_log_matches(&r->log, index, term) && r->log.durable_index >= index) {
        raft_commit_to(r, index);
        raft_log_drop_prefix(&r->log, index);
    } else {
        raft_log_reset(&r->log, index, term);
        r->uncommitted_bytes = 0;
        r->commit_index = index;
        r->todo |= RAFT_RESET_LOG;
    }
    r->apply_index = index;
    r->snapshot_index = index;
    r->snapshot_term = term;
    raft_config_set_snapshot(r, config, index);
    raft_config_recompute(r);
    /* Committed, so every leader from that term on has it. */
    if (index > r->verified_index)
        r->verified_index = index;
    raft_election_reset(r);
    if (r->leader != 0)
        raft_answer_leader(r, false, 0);
    return 0;
}

int raft_on_install_failed(struct raft *r, const struct raft_event *event)
{
    (void)event;
    if (!r->installing)
        return -ERR_INVALID;
    end_install(r);
    return 0;
}

/* The end of the transfer is no news about the log: the peer itself answers once the state is
 * restored and durable. It is a sign of life, which keeps the log behind the checkpoint. */
int raft_on_snapshot_sent(struct raft *r, const struct raft_event *event)
{
    struct raft_progress *p = raft_member(r, event->peer);
    if (!p || p->id == r->self)
        return -ERR_INVALID;
    if (r->role == RAFT_LEADER)
        p->heard_ms = r->now_ms;
    return 0;
}

int raft_on_snapshot_failed(struct raft *r, const struct raft_event *event)
{
    struct raft_progress *p = raft_member(r, event->peer);
    if (!p || p->id == r->self)
        return -ERR_INVALID;
    if (r->role == RAFT_LEADER && p->state == RAFT_PROGRESS_SNAPSHOT)
        raft_progress_snapshot(r, p); /* the newest one, told with the next heartbeat */
    return 0;
}

/* While a live peer fetches a checkpoint, the entries behind it stay, up to a limit: otherwise it
 * would need the next checkpoint as soon as it has this one (R9, R24). */
static uint64_t held_for_peers(const struct raft *r, uint64_t to)
{
    if (r->role != RAFT_LEADER || r->log.bytes > r->options.uncommitted_bytes_max)
        return to;
    for (unsigned i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        if (p->state == RAFT_PROGRESS_SNAPSHOT && p->snapshot_index < to &&
            r->now_ms - p->heard_ms <= r->options.election_ms_max)
            to = p->snapshot_index;
    }
    return to;
}

int raft_on_log_compact(struct raft *r, const struct raft_event *event)
{
    uint64_t index = event->snapshot.index, term = 0;
    struct raft_config config;
    if (index > r->apply_index)
        return -ERR_INVALID;
    if (index <= r->snapshot_index)
        return 0;
    uint64_t config_index = raft_config_as_of(r, index, &config);
    if (config.count == 0)
        return -ERR_INVALID;
    CHECK(raft_log_term_at(&r->log, index, &term));
    raft_config_set_snapshot(r, &config, config_index);
    r->snapshot_index = index;
    r->snapshot_term = term;
    uint64_t tail = r->options.compact_tail_count;
    uint64_t to = held_for_peers(r, index > tail ? index - tail : 0);
    if (to > r->log.base_index)
        raft_log_drop_prefix(&r->log, to);
    return 0;
}
