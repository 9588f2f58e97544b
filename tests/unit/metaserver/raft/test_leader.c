/* The leader: commit rule, back-off, windows, reads, lease, transfer, a disk that stands still. */
#include "tests/unit/metaserver/raft/fixture.h"

/* R1 (figure 8): an entry of an old term on a majority is not committed by counting it. */
static void old_term_is_not_counted(void)
{
    restart(5, 3, 0, "12");
    elect();
    CU_ASSERT_EQUAL(update.term, 4);
    persist();
    CU_ASSERT_EQUAL(answer(2, 2), 0);
    CU_ASSERT_EQUAL(answer(3, 2), 0);
    CU_ASSERT_EQUAL(update.commit_index, 0);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(answer(3, 3), 0);
    CU_ASSERT_EQUAL(update.commit_index, 3);
}

/* R3: the leader counts itself only when its own disk has the entry. */
static void own_ack_waits_for_the_disk(void)
{
    restart(3, 1, 0, "1");
    elect();
    CU_ASSERT_EQUAL(answer(2, 2), 0);
    CU_ASSERT_EQUAL(update.commit_index, 0);
    persist();
    CU_ASSERT_EQUAL(update.commit_index, 2);
}

/* Entries leave for the followers in the same update that hands them to the writer. */
static void append_in_parallel_with_the_write(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(propose(2), 0);
    CU_ASSERT_EQUAL(update.proposed.term, 2);
    CU_ASSERT_EQUAL(update.proposed.index_first, 3);
    CU_ASSERT_EQUAL(update.persist.entry_count, 2);
    const struct raft_message *m = sent(RAFT_MSG_APPEND, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->entry_count, 2);
    CU_ASSERT_EQUAL(m->entries[0].index, 3);
    CU_ASSERT_FALSE(sent_durable(RAFT_MSG_APPEND, 2));
}

/* R8: a late answer takes nothing back, a late refusal is not acted on. */
static void late_answers(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(propose(1), 0);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(answer(2, 1), 0);
    CU_ASSERT_EQUAL(status().peers[0].match_index, 3);
    CU_ASSERT_EQUAL(receive((struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                                  .from = 2,
                                                  .term = 2,
                                                  .prev_index = 1,
                                                  .sequence = 1,
                                                  .rejected = true}),
                    0);
    CU_ASSERT_EQUAL(status().peers[0].state, RAFT_PROGRESS_REPLICATE);
    CU_ASSERT_EQUAL(status().peers[0].next_index, 4);
}

/* R9: a disk replaced while the leader leads. The empty log that comes back under the old number is
 * filled from its start, counts for nothing meanwhile, and what it said before is not believed. */
static void lost_log_is_filled_again(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(propose(1), 0);
    persist();
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(update.commit_index, 3);
    CU_ASSERT_EQUAL(tick(200), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(sent(RAFT_MSG_APPEND, 2));
    uint64_t asked = sent(RAFT_MSG_APPEND, 2)->sequence;
    CU_ASSERT_EQUAL(refuse(2, 0, 0), 0);
    CU_ASSERT_EQUAL(status().peers[0].match_index, 0);
    CU_ASSERT_EQUAL(status().peers[0].state, RAFT_PROGRESS_PROBE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(sent(RAFT_MSG_APPEND, 2));
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 2)->log_index, 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 2)->entry_count, 3);
    CU_ASSERT_EQUAL(receive((struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                                  .from = 2,
                                                  .term = 2,
                                                  .match_index = 3,
                                                  .sequence = asked}),
                    0);
    CU_ASSERT_EQUAL(status().peers[0].match_index, 0);
    CU_ASSERT_EQUAL(tick(200), 0);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(status().peers[0].match_index, 3);
}

/* A refusal moves back over a whole term at once. */
static void fast_back_off(void)
{
    restart(3, 5, 0, "1112225555");
    elect();
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 2)->log_index, 10);
    CU_ASSERT_EQUAL(refuse(2, 9, 4), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 2)->log_index, 6);
    CU_ASSERT_EQUAL(refuse(2, 3, 1), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 2)->log_index, 3);
    CU_ASSERT_EQUAL(answer(2, 11), 0);
    CU_ASSERT_EQUAL(status().peers[0].state, RAFT_PROGRESS_REPLICATE);
}

/* R26: an ack beyond the log, or of a request never made, is refused. */
static void impossible_answers(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(answer(2, 99), -ERR_PROTOCOL);
    CU_ASSERT_EQUAL(receive((struct raft_message){
                        .kind = RAFT_MSG_APPEND_REPLY, .from = 2, .term = 2, .sequence = 1u << 30}),
                    -ERR_PROTOCOL);
}

/* The window: no more unanswered appends than allowed, then on as answers come. */
static void flow_window(void)
{
    struct raft_options options;
    raft_options_defaults(&options);
    options.inflight_count_max = 2;
    options.append_count_max = 1;
    restart_with(&options, 3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(propose(5), 0);
    CU_ASSERT_EQUAL(status().peers[0].next_index, 5);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(status().peers[0].next_index, 6);
}

/* Proposals are refused beyond the limit, and taken again after commits. */
static void uncommitted_limit(void)
{
    struct raft_options options;
    raft_options_defaults(&options);
    options.uncommitted_bytes_max = 200;
    restart_with(&options, 3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(propose(3), 0);
    CU_ASSERT_EQUAL(propose(3), -ERR_BUSY);
    persist();
    CU_ASSERT_EQUAL(answer(2, 5), 0);
    CU_ASSERT_EQUAL(propose(3), 0);
}

/* R20: a leader whose writer stands still makes room, and does not come back until it moves. */
static void persist_stall(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(propose(1), 0);
    for (int i = 0; i < 19; i++) {
        CU_ASSERT_EQUAL(tick(100), 0);
        CU_ASSERT_EQUAL(answer(2, 3), 0);
    }
    CU_ASSERT_EQUAL(status().role, RAFT_LEADER);
    CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(tick(5000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    persist();
    CU_ASSERT_EQUAL(tick(5000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_PRE_CANDIDATE);
}

static int read_request(uint64_t id)
{
    return step((struct raft_event){.kind = RAFT_EV_READ, .read_id = id});
}

/* A read waits for a round of heartbeats sent after it; later ones share the next round. */
static void read_index_rounds(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(read_request(7), 0);
    CU_ASSERT_EQUAL(update.reads.count, 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 2)->round, 1);
    CU_ASSERT_EQUAL(read_request(8), 0);
    CU_ASSERT_EQUAL(read_request(9), 0);
    CU_ASSERT_PTR_NULL(sent(RAFT_MSG_APPEND, 2));
    CU_ASSERT_EQUAL(answer(2, 2), 0);
    CU_ASSERT_EQUAL_FATAL(update.reads.count, 1);
    CU_ASSERT_EQUAL(update.reads.reads[0].id, 7);
    CU_ASSERT_EQUAL(update.reads.reads[0].index, 2);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 3)->round, 2);
    CU_ASSERT_EQUAL(answer(3, 2), 0);
    CU_ASSERT_EQUAL(update.reads.count, 2);
}

/* R15: before the no-op is committed no read is answered, however many confirm the leader. */
static void read_waits_for_the_no_op(void)
{
    restart(3, 1, 0, "1");
    elect();
    CU_ASSERT_EQUAL(read_request(7), 0);
    CU_ASSERT_EQUAL(answer(2, 0), 0);
    CU_ASSERT_EQUAL(answer(3, 0), 0);
    CU_ASSERT_EQUAL(update.reads.count, 0);
    persist();
    CU_ASSERT_EQUAL(answer(2, 2), 0);
    CU_ASSERT_EQUAL_FATAL(update.reads.count, 1);
    CU_ASSERT_EQUAL(update.reads.reads[0].index, 2);
}

/* Waiting reads are told when leadership ends. */
static void reads_end_with_leadership(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(read_request(7), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_STEP_DOWN}), 0);
    CU_ASSERT_EQUAL_FATAL(update.reads.count, 1);
    CU_ASSERT_EQUAL(update.reads.reads[0].status, -ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(read_request(8), -ERR_NOT_LEADER);
}

/* R16: the lease runs from the sending of the heartbeat, not from its answer. */
static void lease_from_send_time(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(tick(100), 0);
    uint64_t sent_ms = now_ms;
    now_ms += 250;
    CU_ASSERT_EQUAL(answer(2, 2), 0);
    CU_ASSERT_TRUE(raft_lease_valid(node, now_ms));
    CU_ASSERT_TRUE(raft_lease_valid(node, sent_ms + 299));
    CU_ASSERT_FALSE(raft_lease_valid(node, sent_ms + 300));
}

/* R15: no lease before the no-op of the term is committed. */
static void no_lease_before_the_no_op(void)
{
    restart(3, 1, 0, "1");
    elect();
    CU_ASSERT_EQUAL(answer(2, 0), 0);
    CU_ASSERT_EQUAL(answer(3, 0), 0);
    CU_ASSERT_FALSE(raft_lease_valid(node, now_ms));
}

static int transfer_to(uint32_t peer)
{
    return step((struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = peer});
}

/* Transfer: only to a voter, only when it has everything; the lease is void from then on (R16). */
static void transfer(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(answer(2, 2), 0);
    CU_ASSERT_TRUE(raft_lease_valid(node, now_ms));
    CU_ASSERT_EQUAL(transfer_to(1), -ERR_INVALID);
    CU_ASSERT_EQUAL(transfer_to(9), -ERR_INVALID);
    CU_ASSERT_EQUAL(propose(1), 0);
    CU_ASSERT_EQUAL(transfer_to(2), 0);
    CU_ASSERT_PTR_NULL(sent(RAFT_MSG_TIMEOUT_NOW, 2));
    CU_ASSERT_EQUAL(propose(1), -ERR_BUSY);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_PTR_NOT_NULL(sent(RAFT_MSG_TIMEOUT_NOW, 2));
    CU_ASSERT_FALSE(raft_lease_valid(node, now_ms));
    for (int i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(tick(100), 0);
        CU_ASSERT_EQUAL(answer(2, 3), 0);
    }
    CU_ASSERT_EQUAL(propose(1), 0); /* given up */
    CU_ASSERT_FALSE(raft_lease_valid(node, now_ms));
}

#define TESTS(T)                         \
    T(old_term_is_not_counted)           \
    T(own_ack_waits_for_the_disk)        \
    T(append_in_parallel_with_the_write) \
    T(late_answers)                      \
    T(lost_log_is_filled_again)          \
    T(fast_back_off)                     \
    T(impossible_answers)                \
    T(flow_window)                       \
    T(uncommitted_limit)                 \
    T(persist_stall)                     \
    T(read_index_rounds)                 \
    T(read_waits_for_the_no_op)          \
    T(reads_end_with_leadership)         \
    T(lease_from_send_time)              \
    T(no_lease_before_the_no_op)         \
    T(transfer)

CU_TestInfo tests_leader[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
