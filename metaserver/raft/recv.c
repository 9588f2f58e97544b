/* What holds for all messages: is it well formed, and of which term (thesis 3.3). */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

/* Who asks may be a candidate or leader of a configuration that this node does not have yet, so
 * they are heard (thesis 4.1). Who answers was asked as a member; when it is one no longer, its
 * answer, and its term, are of no interest. */
static bool is_late_answer(const struct raft *r, const struct raft_message *m)
{
    bool answer = m->kind == RAFT_MSG_PRE_VOTE_REPLY || m->kind == RAFT_MSG_VOTE_REPLY ||
                  m->kind == RAFT_MSG_APPEND_REPLY;
    return answer && !raft_member_const(r, m->from);
}

/* R26: nothing that another process sends may trip an assertion later. */
static int validate(const struct raft *r, const struct raft_message *m)
{
    if (m->kind <= RAFT_MSG_NONE || m->kind >= RAFT_MSG_MAX || m->to != r->self ||
        m->from == r->self || m->from == 0)
        return -ERR_PROTOCOL;
#ifdef PLANT_R26
    return 0;
#endif
    if (m->term == 0 || m->term >= RAFT_NUMBER_MAX || m->log_index >= RAFT_NUMBER_MAX ||
        m->log_term > m->term || (m->log_index == 0) != (m->log_term == 0))
        return -ERR_PROTOCOL;
    if (m->kind == RAFT_MSG_APPEND || m->kind == RAFT_MSG_SNAPSHOT) {
        if (m->term == r->term && (r->role == RAFT_LEADER || (r->leader && r->leader != m->from)))
            return -ERR_PROTOCOL; /* a second leader of one term */
        return m->kind == RAFT_MSG_APPEND ? raft_append_validate(r, m)
                                          : (m->log_index == 0 ? -ERR_PROTOCOL : 0);
    }
    if (m->entry_count > 0)
        return -ERR_PROTOCOL;
    return m->kind == RAFT_MSG_APPEND_REPLY ? raft_append_reply_validate(r, m) : 0;
}

/* Tells the sender of an old term about the present one; without this a node that moved on could
 * never be won back by the leader it left behind (R14). */
static void answer_old_term(struct raft *r, const struct raft_message *m)
{
    struct raft_message reply = {.to = m->from, .rejected = true};
    if (m->kind == RAFT_MSG_APPEND || m->kind == RAFT_MSG_SNAPSHOT)
        reply.kind = RAFT_MSG_APPEND_REPLY;
    else if (m->kind == RAFT_MSG_VOTE)
        reply.kind = RAFT_MSG_VOTE_REPLY;
    else if (m->kind == RAFT_MSG_PRE_VOTE)
        reply.kind = RAFT_MSG_PRE_VOTE_REPLY;
    else
        return;
    raft_send(r, &reply);
}

static bool ignores_candidates(const struct raft *r, const struct raft_message *m)
{
    if (m->kind != RAFT_MSG_PRE_VOTE && m->kind != RAFT_MSG_VOTE)
        return false;
        /* A learner, and one that was removed, may be a voter of a configuration that it does not
         * have yet: the candidate knows whom it counts. Only without its past a node has no vote to
         * give. */
#ifdef PLANT_JOIN
    if (r->disabled)
#else
    if (r->disabled || r->join != 0)
#endif
        return true;
    return m->term > r->term && !m->transfer && raft_is_sticky(r);
}

static void enter_newer_term(struct raft *r, const struct raft_message *m)
{
    if (m->kind == RAFT_MSG_PRE_VOTE || (m->kind == RAFT_MSG_PRE_VOTE_REPLY && !m->rejected))
        return; /* speaks of a term that nobody has begun */
    bool leader = m->kind == RAFT_MSG_APPEND || m->kind == RAFT_MSG_SNAPSHOT;
    raft_become_follower(r, m->term, leader ? m->from : 0);
}

static void dispatch(struct raft *r, const struct raft_message *m)
{
    switch (m->kind) {
    case RAFT_MSG_PRE_VOTE:
    case RAFT_MSG_VOTE:
        raft_on_vote(r, m);
        return;
    case RAFT_MSG_PRE_VOTE_REPLY:
    case RAFT_MSG_VOTE_REPLY:
        raft_on_vote_reply(r, m);
        return;
    case RAFT_MSG_APPEND:
        raft_on_append(r, m);
        return;
    case RAFT_MSG_APPEND_REPLY:
        raft_on_append_reply(r, m);
        return;
    case RAFT_MSG_SNAPSHOT:
        raft_on_snapshot_notice(r, m);
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_on_timeout_now(r, m);
        return;
    case RAFT_MSG_NONE:
    case RAFT_MSG_MAX:
        break;
    }
    UNREACHABLE("message kind %d", (int)m->kind);
}

int raft_on_recv(struct raft *r, const struct raft_event *event)
{
    const struct raft_message *m = event->recv;
    int rc = validate(r, m);
    if (rc != 0)
        return rc;
    if (is_late_answer(r, m) || ignores_candidates(r, m))
        return 0;
    if (m->term < r->term) {
        answer_old_term(r, m);
        return 0;
    }
    if (m->term > r->term)
        enter_newer_term(r, m);
    dispatch(r, m);
    return 0;
}
