/* Timeouts, pre-votes and votes of a node that would lead (thesis 3.4, 9.6). */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

void raft_election_reset(struct raft *r)
{
    r->election_at_ms =
        r->now_ms + prng_between(&r->prng, r->options.election_ms_min, r->options.election_ms_max);
}

/* A leader that a quorum answers is not deposed by a node that cannot hear it (R14), and its lease
 * stands on this (R16). A restarted node may have answered a heartbeat just before it died, so it
 * counts from its start. */
bool raft_is_sticky(const struct raft *r)
{
#ifdef PLANT_R14
    return false;
#endif
    return r->role == RAFT_LEADER || r->now_ms < r->heard_ms + r->options.election_ms_min;
}

/* R20, R24: a node that cannot write, or whose state is being replaced, must not lead. */
static bool may_campaign(const struct raft *r)
{
    return r->join == 0 && raft_may_be_needed(r) && !r->installing && !r->disabled &&
           !raft_persist_stalled(r);
}

static void ask_for_votes(struct raft *r, enum raft_message_kind kind, uint64_t term)
{
    for (unsigned i = 0; i < r->member_count; i++) {
        struct raft_progress *p = &r->members[i];
        if (!p->voter)
            continue;
        if (p->id == r->self) {
            p->vote_answered = p->vote_granted = true;
            continue;
        }
        struct raft_message m = {.kind = kind,
                                 .to = p->id,
                                 .term = term,
                                 .log_index = raft_log_last_index(&r->log),
                                 .log_term = raft_log_last_term(&r->log),
                                 .transfer = kind == RAFT_MSG_VOTE && r->transfer_election};
        raft_send(r, &m);
    }
}

static void start_election(struct raft *r)
{
    raft_become_candidate(r);
    ask_for_votes(r, RAFT_MSG_VOTE, r->term);
    raft_election_count(r);
}

void raft_campaign(struct raft *r, bool transfer)
{
    CHECK(r->role != RAFT_LEADER);
    if (!may_campaign(r)) {
        raft_election_reset(r);
        return;
    }
    r->transfer_election = transfer;
#ifdef PLANT_R14
    transfer = true;
#endif
    if (transfer) {
        start_election(r);
        return;
    }
    raft_become_pre_candidate(r);
    ask_for_votes(r, RAFT_MSG_PRE_VOTE, r->term + 1);
    raft_election_count(r);
}

void raft_election_count(struct raft *r)
{
    unsigned quorum = raft_quorum(r);
    if (r->role == RAFT_PRE_CANDIDATE && raft_votes(r, true) >= quorum)
        start_election(r);
    else if (r->role == RAFT_CANDIDATE && raft_votes(r, true) >= quorum)
        raft_become_leader(r);
    else if (raft_votes(r, false) >= quorum)
        raft_become_follower(r, r->term, 0);
}

void raft_election_tick(struct raft *r)
{
    if (r->now_ms >= r->election_at_ms)
        raft_campaign(r, false);
}
