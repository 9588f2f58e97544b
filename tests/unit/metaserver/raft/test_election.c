/* Elections: who asks, who grants, and what waits for the disk. */
#include "tests/unit/metaserver/raft/fixture.h"

static int ask(enum raft_message_kind kind, uint32_t from, uint64_t term, uint64_t last,
               uint64_t last_term, bool transfer)
{
    return receive((struct raft_message){.kind = kind,
                                         .from = from,
                                         .term = term,
                                         .log_index = last,
                                         .log_term = last_term,
                                         .transfer = transfer});
}

/* A lonely node leads at once; its no-op counts only when it is durable (R3). */
static void sole_voter_leads(void)
{
    restart(1, 3, 0, "123");
    CU_ASSERT_EQUAL(update.role, RAFT_LEADER);
    CU_ASSERT_EQUAL(update.term, 4);
    CU_ASSERT_TRUE(update.todo & RAFT_PERSIST_VOTE);
    CU_ASSERT_TRUE(update.todo & RAFT_PERSIST_ENTRIES);
    CU_ASSERT_EQUAL(update.commit_index, 0);
    persist();
    CU_ASSERT_EQUAL(update.apply_index, 4);
    CU_ASSERT_TRUE(raft_lease_valid(node, now_ms));
}

/* A pre-vote round changes no term; only its success begins one. */
static void pre_vote_comes_first(void)
{
    restart(3, 5, 0, "15");
    CU_ASSERT_EQUAL(tick(900), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_PRE_CANDIDATE);
    CU_ASSERT_EQUAL(update.term, 5);
    CU_ASSERT_FALSE(update.todo & RAFT_PERSIST_VOTE);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_PRE_VOTE, 2)->term, 6);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_PRE_VOTE, 3)->log_index, 2);
    CU_ASSERT_EQUAL(
        receive((struct raft_message){.kind = RAFT_MSG_PRE_VOTE_REPLY, .from = 3, .term = 6}), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_CANDIDATE);
    CU_ASSERT_EQUAL(update.vote.term, 6);
    CU_ASSERT_EQUAL(update.vote.voted_for, 1);
    CU_ASSERT_TRUE(sent_durable(RAFT_MSG_VOTE, 2));
}

/* R2: a vote is granted once in a term, and its reply waits for the disk. */
static void one_vote_in_a_term(void)
{
    restart(3, 1, 0, "1");
    now_ms += 450;
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 2, 2, 1, 1, false), 0);
    CU_ASSERT_TRUE(update.todo & RAFT_PERSIST_VOTE);
    CU_ASSERT_EQUAL(update.vote.voted_for, 2);
    CU_ASSERT_TRUE(sent_durable(RAFT_MSG_VOTE_REPLY, 2));
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 3, 2, 9, 1, false), 0);
    CU_ASSERT_TRUE(sent(RAFT_MSG_VOTE_REPLY, 3)->rejected);
    restart(3, 2, 2, "1");
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 3, 2, 9, 1, false), 0);
    CU_ASSERT_TRUE(sent(RAFT_MSG_VOTE_REPLY, 3)->rejected);
}

/* A candidate whose log is older or shorter gets neither vote nor pre-vote. */
static void stale_follower_does_not_win(void)
{
    restart(3, 3, 0, "133");
    now_ms += 450;
    CU_ASSERT_EQUAL(ask(RAFT_MSG_PRE_VOTE, 2, 4, 9, 2, false), 0);
    CU_ASSERT_TRUE(sent(RAFT_MSG_PRE_VOTE_REPLY, 2)->rejected);
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 2, 4, 2, 3, false), 0);
    CU_ASSERT_TRUE(sent(RAFT_MSG_VOTE_REPLY, 2)->rejected);
    CU_ASSERT_EQUAL(status().term, 4);
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 3, 4, 3, 3, false), 0);
    CU_ASSERT_FALSE(sent(RAFT_MSG_VOTE_REPLY, 3)->rejected);
}

/* R14: who heard a leader lately answers no candidate, unless the leader sent it. */
static void stickiness(void)
{
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(append(1, 1, 1, "", 0), 0);
    now_ms += 399;
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 3, 7, 5, 1, false), 0);
    CU_ASSERT_EQUAL(update.todo, 0);
    CU_ASSERT_EQUAL(status().term, 1);
    CU_ASSERT_EQUAL(ask(RAFT_MSG_PRE_VOTE, 3, 7, 5, 1, false), 0);
    CU_ASSERT_EQUAL(update.todo, 0);
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 3, 7, 5, 1, true), 0);
    CU_ASSERT_FALSE(sent(RAFT_MSG_VOTE_REPLY, 3)->rejected);
}

/* R16: a node that has just started may have answered a heartbeat before it died. */
static void sticky_after_start(void)
{
    restart(3, 1, 0, "1");
    now_ms += 399;
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 3, 2, 5, 1, false), 0);
    CU_ASSERT_EQUAL(update.todo, 0);
}

/* R14: a leader whom no quorum answers steps down, in its own term. */
static void check_quorum(void)
{
    restart(3, 1, 0, "1");
    lead();
    for (int i = 0; i < 7; i++)
        CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(answer(3, 2), 0);
    for (int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_LEADER);
    CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(update.term, 2);
    CU_ASSERT_EQUAL(update.leader, 0);
    CU_ASSERT_TRUE(update.todo & RAFT_ROLE_CHANGED);
}

/* A node that moved to a newer term wins the old leader over with its answer. */
static void newer_term_deposes(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(receive((struct raft_message){
                        .kind = RAFT_MSG_APPEND_REPLY, .from = 2, .term = 9, .rejected = true}),
                    0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(update.vote.term, 9);
    CU_ASSERT_TRUE(update.todo & RAFT_PERSIST_VOTE);
    CU_ASSERT_EQUAL(append(2, 2, 2, "", 0), 0);
    CU_ASSERT_TRUE(sent(RAFT_MSG_APPEND_REPLY, 2)->rejected);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->term, 9);
}

/* Two refusals of three end a candidacy. */
static void refused_candidate_gives_up(void)
{
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(tick(900), 0);
    for (uint32_t peer = 2; peer <= 3; peer++)
        CU_ASSERT_EQUAL(
            receive((struct raft_message){
                .kind = RAFT_MSG_PRE_VOTE_REPLY, .from = peer, .term = 1, .rejected = true}),
            0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
}

/* The order of the present leader starts an election without a pre-vote; another's does not. */
static void timeout_now(void)
{
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(append(1, 1, 1, "", 0), 0);
    CU_ASSERT_EQUAL(
        receive((struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .from = 3, .term = 1}), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(
        receive((struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 1}), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_CANDIDATE);
    CU_ASSERT_TRUE(sent(RAFT_MSG_VOTE, 2)->transfer);
}

/* R19: after a failed disk a node neither leads, nor campaigns, nor votes. */
static void failed_disk(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_PERSIST_FAILED}), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(tick(60000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(ask(RAFT_MSG_VOTE, 3, 9, 9, 2, false), 0);
    CU_ASSERT_EQUAL(update.todo, 0);
}

#define TESTS(T)                   \
    T(sole_voter_leads)            \
    T(pre_vote_comes_first)        \
    T(one_vote_in_a_term)          \
    T(stale_follower_does_not_win) \
    T(stickiness)                  \
    T(sticky_after_start)          \
    T(check_quorum)                \
    T(newer_term_deposes)          \
    T(refused_candidate_gives_up)  \
    T(timeout_now)                 \
    T(failed_disk)

CU_TestInfo tests_election[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
