/* The follower: what it takes from an append, what it answers, and when. */
#include "tests/unit/metaserver/raft/fixture.h"

/* R4: no ack before the entries are durable; then it speaks for what is. */
static void ack_waits_for_the_disk(void)
{
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(append(1, 1, 1, "11", 0), 0);
    CU_ASSERT_TRUE(update.todo & RAFT_PERSIST_ENTRIES);
    CU_ASSERT_PTR_NULL(sent(RAFT_MSG_APPEND_REPLY, 2));
    CU_ASSERT_EQUAL(append(1, 3, 1, "", 0), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->match_index, 1);
    persist();
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->match_index, 3);
    CU_ASSERT_TRUE(sent_durable(RAFT_MSG_APPEND_REPLY, 2));
}

/* R5: a delayed append that says less than the log holds takes nothing away. */
static void late_append_truncates_nothing(void)
{
    restart(3, 1, 0, "1111");
    CU_ASSERT_EQUAL(append(1, 1, 1, "1", 0), 0);
    CU_ASSERT_STRING_EQUAL(log_terms(), "1111");
    CU_ASSERT_FALSE(update.todo & RAFT_PERSIST_ENTRIES);
}

/* R5: a conflicting term cuts the log there, and the write says so. */
static void conflict_truncates(void)
{
    restart(3, 3, 0, "1122");
    CU_ASSERT_EQUAL(append(3, 1, 1, "13", 0), 0);
    CU_ASSERT_STRING_EQUAL(log_terms(), "113");
    CU_ASSERT_EQUAL(update.persist.entries[0].index, 3);
    CU_ASSERT_EQUAL(update.persist.entry_count, 1);
    CU_ASSERT_EQUAL(status().durable_index, 2);
}

/* R5, R26: a message against committed entries is refused, not obeyed and not asserted. */
static void committed_entries_stand(void)
{
    restart(3, 3, 0, "112");
    CU_ASSERT_EQUAL(append(3, 3, 2, "", 3), 0);
    CU_ASSERT_EQUAL(update.commit_index, 3);
    CU_ASSERT_EQUAL(append(3, 1, 1, "3", 3), -ERR_PROTOCOL);
    CU_ASSERT_EQUAL(append(3, 2, 2, "", 3), -ERR_PROTOCOL);
    CU_ASSERT_STRING_EQUAL(log_terms(), "112");
}

/* R6: the ack ends with the entries of the message, not with the log. */
static void ack_covers_what_was_checked(void)
{
    restart(3, 2, 0, "1111");
    CU_ASSERT_EQUAL(append(2, 1, 1, "1", 0), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->match_index, 2);
}

/* R7: the commit index goes no further than the entries of the message. */
static void commit_is_capped(void)
{
    restart(3, 2, 0, "1111");
    CU_ASSERT_EQUAL(append(2, 1, 1, "1", 4), 0);
    CU_ASSERT_EQUAL(update.commit_index, 2);
    CU_ASSERT_EQUAL(append(2, 0, 0, "", 4), 0);
    CU_ASSERT_EQUAL(update.commit_index, 2);
}

/* What is committed is applied only when it is durable here as well. */
static void apply_waits_for_the_disk(void)
{
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(append(1, 1, 1, "11", 3), 0);
    CU_ASSERT_EQUAL(update.commit_index, 3);
    CU_ASSERT_EQUAL(update.apply_index, 1);
    persist();
    CU_ASSERT_EQUAL(update.apply_index, 3);
    CU_ASSERT_TRUE(update.todo & RAFT_APPLY);
}

/* A gap or another term before the entries is refused with a hint where the logs may agree. */
static void mismatch_gives_a_hint(void)
{
    restart(3, 5, 0, "11444");
    CU_ASSERT_EQUAL(append(5, 9, 5, "", 0), 0);
    CU_ASSERT_TRUE(sent(RAFT_MSG_APPEND_REPLY, 2)->rejected);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->log_index, 5);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->log_term, 4);
    CU_ASSERT_EQUAL(append(5, 5, 3, "", 0), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->log_index, 2);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->log_term, 1);
}

/* A report on a write that a newer leader's write has overtaken says nothing. */
static void overtaken_write_is_no_ack(void)
{
    restart(3, 2, 0, "1");
    CU_ASSERT_EQUAL(append(2, 1, 1, "2", 0), 0);
    CU_ASSERT_EQUAL(append(3, 1, 1, "3", 0), 0);
    CU_ASSERT_EQUAL(
        step((struct raft_event){.kind = RAFT_EV_PERSISTED, .persisted = {.term = 2, .index = 2}}),
        0);
    CU_ASSERT_EQUAL(status().durable_index, 1);
    CU_ASSERT_PTR_NULL(sent(RAFT_MSG_APPEND_REPLY, 2));
    persist();
    CU_ASSERT_EQUAL(status().durable_index, 2);
}

/* R26: malformed and foreign messages are refused and change nothing. */
static void malformed_messages(void)
{
    struct raft_entry bad = {.term = 1, .index = 5, .kind = RAFT_ENTRY_COMMAND};
    struct raft_message m = {.kind = RAFT_MSG_APPEND, .from = 2, .term = 1, .entries = &bad};
    restart(3, 1, 0, "1");
    m.entry_count = 1;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL); /* a gap inside */
    bad.index = 1;
    bad.term = 2;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL); /* from the future */
    bad.term = 1;
    bad.payload.size = 4;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL); /* payload without a buffer */
    m.entries = NULL;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL);
    m.entry_count = 0;
    m.from = 0;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL); /* nobody */
    m.from = 1;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL); /* myself */
    m.from = 2;
    m.to = 3;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL);
    m.to = 1;
    m.term = UINT64_MAX;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL);
    m.term = 1;
    m.kind = RAFT_MSG_MAX;
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL);
    CU_ASSERT_EQUAL(append(1, 0, 0, "", 0), 0);
    m = (struct raft_message){.kind = RAFT_MSG_APPEND, .from = 3, .term = 1};
    CU_ASSERT_EQUAL(receive(m), -ERR_PROTOCOL); /* a second leader of the term */
    CU_ASSERT_EQUAL(status().leader, 2);
}

/* R26: random messages, most of them senseless, break no invariant in any role. */
static void random_messages(void)
{
    uint64_t x = 88172645463325252u;
    restart(3, 2, 0, "112");
    for (int i = 0; i < 200000; i++) {
        uint64_t v[12];
        for (int k = 0; k < 12; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            v[k] = x;
        }
        struct raft_entry entries[2] = {
            {.term = v[0] % 6, .index = v[1] % 8, .kind = RAFT_ENTRY_COMMAND},
            {.term = v[0] % 6, .index = v[1] % 8 + 1, .kind = RAFT_ENTRY_COMMAND}};
        struct raft_message m = {.kind = (enum raft_message_kind)(v[2] % 10),
                                 .from = (uint32_t)(v[3] % 4),
                                 .to = 1,
                                 .term = status().term + v[4] % 2,
                                 .log_index = v[1] % 8 - (v[1] % 8 > 0),
                                 .log_term = v[5] % 5,
                                 .commit_index = v[6] % 8,
                                 .match_index = v[7] % 10,
                                 .prev_index = v[8] % 10,
                                 .sequence = v[9] % 50,
                                 .round = v[10] % 3,
                                 .sent_ms = now_ms - v[11] % 4,
                                 .rejected = v[10] & 64,
                                 .transfer = v[10] & 128,
                                 .entries = entries,
                                 .entry_count = (unsigned)(v[11] >> 8) % 3};
        int rc = receive(m);
        CU_ASSERT_TRUE_FATAL(rc == 0 || rc == -ERR_PROTOCOL);
        if (i % 7 == 0)
            CU_ASSERT_EQUAL(tick(v[0] % 300), 0);
        if (status().term > 1000)
            restart(3, 2, 0, "112");
    }
}

#define TESTS(T)                     \
    T(ack_waits_for_the_disk)        \
    T(late_append_truncates_nothing) \
    T(conflict_truncates)            \
    T(committed_entries_stand)       \
    T(ack_covers_what_was_checked)   \
    T(commit_is_capped)              \
    T(apply_waits_for_the_disk)      \
    T(mismatch_gives_a_hint)         \
    T(overtaken_write_is_no_ack)     \
    T(malformed_messages)            \
    T(random_messages)

CU_TestInfo tests_follower[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
