/* Follower, candidate, leader: the only transitions, and the only writers of term and vote. */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

#define B(name) (1u << RAFT_##name)

static const struct {
    const char *name;
    unsigned next;
} roles[] = {
    [RAFT_FOLLOWER] = {"FOLLOWER", B(FOLLOWER) | B(PRE_CANDIDATE) | B(CANDIDATE)},
    [RAFT_PRE_CANDIDATE] = {"PRE_CANDIDATE", B(FOLLOWER) | B(PRE_CANDIDATE) | B(CANDIDATE)},
    [RAFT_CANDIDATE] = {"CANDIDATE", B(FOLLOWER) | B(PRE_CANDIDATE) | B(CANDIDATE) | B(LEADER)},
    [RAFT_LEADER] = {"LEADER", B(FOLLOWER)},
};

const char *raft_role_name(enum raft_role role)
{
    return (unsigned)role < sizeof roles / sizeof roles[0] ? roles[role].name : "?";
}

static void move(struct raft *r, enum raft_role to)
{
    CHECK(roles[r->role].next & (1u << to));
    r->role = to;
}

static void set_term(struct raft *r, uint64_t term)
{
    CHECK(term >= r->term);
    if (term == r->term)
        return;
    r->term = term;
    r->voted_for = 0;
    r->todo |= RAFT_PERSIST_VOTE;
}

void raft_vote_for(struct raft *r, uint32_t candidate)
{
    CHECK(r->voted_for == 0 || r->voted_for == candidate); /* R2: one vote in a term */
    if (r->voted_for == candidate)
        return;
    r->voted_for = candidate;
    r->todo |= RAFT_PERSIST_VOTE;
}

/* What was learnt from the leader of one term says nothing about another. */
static void forget_leader(struct raft *r)
{
    r->leader = 0;
    r->verified_index = 0;
    r->ack_owed = false;
    r->request.sequence = r->request.round = r->request.sent_ms = r->request.prev_term = 0;
}

static void forget_votes(struct raft *r)
{
    for (unsigned i = 0; i < r->member_count; i++)
        r->members[i].vote_answered = r->members[i].vote_granted = false;
}

void raft_become_follower(struct raft *r, uint64_t term, uint32_t leader)
{
    bool was_leader = r->role == RAFT_LEADER;
    if (term != r->term || leader != r->leader || r->role != RAFT_FOLLOWER)
        forget_leader(r);
    set_term(r, term);
    move(r, RAFT_FOLLOWER);
    r->leader = leader;
    r->transfer_to = 0;
    if (was_leader)
        raft_reads_fail(r);
    raft_election_reset(r);
}

void raft_become_pre_candidate(struct raft *r)
{
    forget_leader(r);
    forget_votes(r);
    move(r, RAFT_PRE_CANDIDATE);
    raft_election_reset(r);
}

void raft_become_candidate(struct raft *r)
{
    forget_leader(r);
    forget_votes(r);
    move(r, RAFT_CANDIDATE);
    set_term(r, r->term + 1);
    raft_vote_for(r, r->self);
    raft_election_reset(r);
}

void raft_become_leader(struct raft *r)
{
    CHECK(raft_votes(r, true) >= raft_quorum(r));
    CHECK(!r->installing && !r->disabled);
    move(r, RAFT_LEADER);
    r->leader = r->self;
    r->transfer_to = 0;
    r->timeout_now_sent = r->lease_void = false;
    r->sequence = r->round = 0;
    r->noop_index = raft_log_last_index(&r->log) + 1;
    for (unsigned i = 0; i < r->member_count; i++)
        raft_progress_reset(&r->members[i], r->noop_index, r->now_ms);
    struct raft_entry noop = {.term = r->term, .index = r->noop_index, .kind = RAFT_ENTRY_NOOP};
    raft_append_entry(r, &noop); /* R1: nothing older is committed before this */
    r->heartbeat_at_ms = r->now_ms + r->options.heartbeat_ms; /* the first append goes at once */
}
