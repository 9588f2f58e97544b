/* Votes, pre-votes and the order to start an election (thesis 3.4, 3.6.1, 3.10, 9.6). */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

static bool is_up_to_date(const struct raft *r, const struct raft_message *m)
{
    uint64_t term = raft_log_last_term(&r->log);
    return m->log_term > term ||
           (m->log_term == term && m->log_index >= raft_log_last_index(&r->log));
}

static void on_pre_vote(struct raft *r, const struct raft_message *m)
{
    bool granted = m->term > r->term && is_up_to_date(r, m);
    struct raft_message reply = {.kind = RAFT_MSG_PRE_VOTE_REPLY,
                                 .to = m->from,
                                 .term = granted ? m->term : r->term,
                                 .rejected = !granted};
    raft_send(r, &reply);
}

void raft_on_vote(struct raft *r, const struct raft_message *m)
{
    if (m->kind == RAFT_MSG_PRE_VOTE) {
        on_pre_vote(r, m);
        return;
    }
    CHECK(m->term == r->term);
    bool free_to_vote = r->voted_for == m->from || (r->voted_for == 0 && r->leader == 0);
    bool granted = free_to_vote && r->role == RAFT_FOLLOWER && is_up_to_date(r, m);
    if (granted) {
        raft_vote_for(r, m->from);
        raft_election_reset(r);
    }
    struct raft_message reply = {.kind = RAFT_MSG_VOTE_REPLY, .to = m->from, .rejected = !granted};
    raft_send(r, &reply);
}

void raft_on_vote_reply(struct raft *r, const struct raft_message *m)
{
    bool pre = m->kind == RAFT_MSG_PRE_VOTE_REPLY;
    if (r->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE))
        return;
    if (m->term != (pre && !m->rejected ? r->term + 1 : r->term))
        return;                                        /* an answer to an earlier question */
    struct raft_progress *p = raft_member(r, m->from); /* a learner's is not counted */
    p->vote_answered = true;
    p->vote_granted = !m->rejected;
    raft_election_count(r);
}

void raft_on_timeout_now(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_FOLLOWER && r->leader == m->from)
        raft_campaign(r, true);
}
