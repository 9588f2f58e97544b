/* Checkpoints and restarts: what is fetched, kept, dropped and refused (R9). */
#include "tests/unit/metaserver/raft/fixture.h"

static int notice(uint64_t term, uint64_t index, uint64_t index_term)
{
    return receive((struct raft_message){.kind = RAFT_MSG_SNAPSHOT,
                                         .from = 2,
                                         .term = term,
                                         .log_index = index,
                                         .log_term = index_term,
                                         .commit_index = index,
                                         .sequence = 1});
}

static int snapshot_event(enum raft_event_kind kind, uint64_t index, uint64_t term)
{
    struct raft_config config = {0};
    for (uint32_t id = 1; id <= 3; id++)
        CU_ASSERT_EQUAL(raft_config_add(&config, id, true, slice_of(NULL, 0)), 0);
    return step((struct raft_event){.kind = kind,
                                    .snapshot = {.index = index, .term = term, .config = &config}});
}

/* A follower that lacks the checkpoint fetches it, stands still, then starts behind it. */
static void install(void)
{
    restart(3, 3, 0, "1122");
    CU_ASSERT_EQUAL(notice(3, 10, 3), 0);
    CU_ASSERT_TRUE(update.todo & RAFT_FETCH_SNAPSHOT);
    CU_ASSERT_EQUAL(update.fetch.from, 2);
    CU_ASSERT_EQUAL(update.fetch.index, 10);
    CU_ASSERT_EQUAL(notice(3, 20, 3), 0);
    CU_ASSERT_FALSE(update.todo & RAFT_FETCH_SNAPSHOT); /* one at a time */
    CU_ASSERT_EQUAL(append(3, 4, 2, "3", 5), 0);
    CU_ASSERT_STRING_EQUAL(log_terms(), "1122");
    CU_ASSERT_EQUAL(update.commit_index, 0);
    CU_ASSERT_EQUAL(tick(5000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(snapshot_event(RAFT_EV_SNAPSHOT_INSTALLED, 20, 3), -ERR_INVALID);
    CU_ASSERT_EQUAL(snapshot_event(RAFT_EV_SNAPSHOT_INSTALLED, 10, 3), 0);
    CU_ASSERT_TRUE(update.todo & RAFT_RESET_LOG);
    CU_ASSERT_EQUAL(update.log_reset.index, 10);
    CU_ASSERT_EQUAL(update.apply_index, 10);
    CU_ASSERT_TRUE(sent_durable(RAFT_MSG_APPEND_REPLY, 2));
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->match_index, 10);
    CU_ASSERT_EQUAL(append(3, 10, 3, "3", 10), 0);
    CU_ASSERT_STRING_EQUAL(log_terms(), "3");
}

/* R9: who holds the checkpoint's last entry keeps the log and fetches nothing. */
static void notice_of_what_is_there(void)
{
    restart(3, 3, 0, "1122");
    CU_ASSERT_EQUAL(notice(3, 3, 2), 0);
    CU_ASSERT_FALSE(update.todo & RAFT_FETCH_SNAPSHOT);
    CU_ASSERT_EQUAL(update.commit_index, 3);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->match_index, 3);
    CU_ASSERT_STRING_EQUAL(log_terms(), "1122");
    CU_ASSERT_EQUAL(notice(3, 2, 1), 0); /* an old one over a newer log */
    CU_ASSERT_EQUAL(update.commit_index, 3);
}

/* A failed fetch leaves everything as it was; the next notice starts another. */
static void failed_fetch(void)
{
    restart(3, 3, 0, "1122");
    CU_ASSERT_EQUAL(notice(3, 10, 3), 0);
    CU_ASSERT_EQUAL(snapshot_event(RAFT_EV_INSTALL_FAILED, 0, 0), 0);
    CU_ASSERT_EQUAL(snapshot_event(RAFT_EV_INSTALL_FAILED, 0, 0), -ERR_INVALID);
    CU_ASSERT_EQUAL(notice(3, 12, 3), 0);
    CU_ASSERT_EQUAL(update.fetch.index, 12);
}

/* Compaction keeps a tail; a follower behind it is told to fetch, then goes on by appends. */
static void leader_sends_a_notice(void)
{
    struct raft_options options;
    raft_options_defaults(&options);
    options.compact_tail_count = 1;
    restart_with(&options, 3, 1, 0, "11111");
    elect();
    persist();
    CU_ASSERT_EQUAL(answer(2, 6), 0);
    CU_ASSERT_EQUAL(update.apply_index, 6);
    CU_ASSERT_EQUAL(snapshot_event(RAFT_EV_LOG_COMPACT, 9, 0), -ERR_INVALID);
    CU_ASSERT_EQUAL(snapshot_event(RAFT_EV_LOG_COMPACT, 5, 0), 0);
    CU_ASSERT_EQUAL(status().first_index, 5);
    CU_ASSERT_EQUAL(refuse(3, 1, 1), 0);
    const struct raft_message *m = sent(RAFT_MSG_SNAPSHOT, 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->log_index, 5);
    CU_ASSERT_EQUAL(m->log_term, 1);
    CU_ASSERT_EQUAL(status().peers[1].state, RAFT_PROGRESS_SNAPSHOT);
    /* While it fetches, what lies behind the checkpoint stays. */
    CU_ASSERT_EQUAL(propose(3), 0);
    persist();
    CU_ASSERT_EQUAL(answer(2, 9), 0);
    CU_ASSERT_EQUAL(snapshot_event(RAFT_EV_LOG_COMPACT, 9, 0), 0);
    CU_ASSERT_EQUAL(status().first_index, 6);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_SENT, .peer = 3}), 0);
    CU_ASSERT_EQUAL(answer(3, 5), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 3)->log_index, 5);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_FAILED, .peer = 3}), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_SENT, .peer = 8}),
                    -ERR_INVALID);
}

static int start(uint64_t term, uint64_t snapshot_index, uint64_t snapshot_term, uint64_t applied,
                 struct raft_entry *entries, unsigned count)
{
    struct raft_options options;
    struct raft_config config = {0};
    for (uint32_t id = 1; id <= 3; id++)
        CU_ASSERT_EQUAL(raft_config_add(&config, id, true, slice_of(NULL, 0)), 0);
    raft_options_defaults(&options);
    raft_destroy(node);
    node = NULL;
    CU_ASSERT_EQUAL_FATAL(raft_create(&options, 1, 1, &node), 0);
    for (unsigned i = 0; i < count; i++)
        entries[i].kind = RAFT_ENTRY_NOOP;
    struct raft_event event = {.kind = RAFT_EV_START};
    event.start.config = &config;
    event.start.term = term;
    event.start.snapshot_index = snapshot_index;
    event.start.snapshot_term = snapshot_term;
    event.start.applied_index = applied;
    event.start.entries = entries;
    event.start.entry_count = count;
    return step(event);
}

/* A restart takes what fits together, drops a log that a checkpoint has overtaken, refuses the
 * rest. */
static void restarts(void)
{
    struct raft_entry e[3] = {
        {.term = 1, .index = 4}, {.term = 1, .index = 5}, {.term = 2, .index = 6}};
    CU_ASSERT_EQUAL(start(2, 5, 1, 6, e, 3), 0);
    CU_ASSERT_FALSE(update.todo & RAFT_RESET_LOG);
    CU_ASSERT_EQUAL(status().first_index, 5);
    CU_ASSERT_EQUAL(update.apply_index, 6);
    CU_ASSERT_EQUAL(start(3, 5, 3, 5, e, 3), 0); /* another term at 5 */
    CU_ASSERT_TRUE(update.todo & RAFT_RESET_LOG);
    CU_ASSERT_EQUAL(status().last_index, 5);
    CU_ASSERT_EQUAL(start(3, 9, 3, 9, e, 3), 0); /* ends before the checkpoint */
    CU_ASSERT_TRUE(update.todo & RAFT_RESET_LOG);
    CU_ASSERT_EQUAL(start(3, 9, 3, 9, NULL, 0), 0); /* an empty log may stand elsewhere */
    CU_ASSERT_TRUE(update.todo & RAFT_RESET_LOG);
    CU_ASSERT_EQUAL(start(2, 2, 1, 2, e, 3), -ERR_FAULTY_LOG); /* a gap */
    CU_ASSERT_EQUAL(start(2, 5, 1, 7, e, 3), -ERR_FAULTY_LOG); /* applied beyond the log */
    CU_ASSERT_EQUAL(start(1, 5, 1, 5, e, 3), -ERR_FAULTY_LOG); /* an entry of a later term */
    e[1].index = 7;
    CU_ASSERT_EQUAL(start(2, 5, 1, 5, e, 3), -ERR_FAULTY_LOG);
}

/* Nothing works before START, and START works once. */
static void start_comes_first(void)
{
    struct raft_options options;
    struct raft_config config = {0};
    struct raft_event event = {.kind = RAFT_EV_START, .start = {.config = &config}};
    raft_options_defaults(&options);
    CU_ASSERT_EQUAL(raft_create(&options, 0, 1, &node), -ERR_INVALID);
    options.lease_ms = options.election_ms_min;
    CU_ASSERT_EQUAL(raft_create(&options, 1, 1, &node), -ERR_INVALID);
    options.lease_ms = 0;
    CU_ASSERT_EQUAL_FATAL(raft_create(&options, 1, 1, &node), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_TICK}), -ERR_INVALID);
    CU_ASSERT_EQUAL(step(event), -ERR_FAULTY_LOG); /* it knows of nobody, and does not join */
    CU_ASSERT_EQUAL(raft_config_add(&config, 1, true, slice_of(NULL, 0)), 0);
    CU_ASSERT_EQUAL(step(event), 0);
    CU_ASSERT_EQUAL(step(event), -ERR_INVALID);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_MAX}), -ERR_INVALID);
}

/* A learner follows and never asks for votes; it counts in no quorum. */
static void learner(void)
{
    struct raft_options options;
    struct raft_config config = {0};
    struct raft_event event = {.kind = RAFT_EV_START, .start = {.config = &config}};
    raft_options_defaults(&options);
    for (uint32_t id = 1; id <= 3; id++)
        CU_ASSERT_EQUAL(raft_config_add(&config, id, id != 1, slice_of(NULL, 0)), 0);
    CU_ASSERT_EQUAL_FATAL(raft_create(&options, 1, 1, &node), 0);
    CU_ASSERT_EQUAL(step(event), 0);
    CU_ASSERT_EQUAL(tick(5000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_EQUAL(append(1, 0, 0, "11", 1), 0);
    CU_ASSERT_STRING_EQUAL(log_terms(), "11");
    CU_ASSERT_EQUAL(update.commit_index, 1);
}

#define TESTS(T)               \
    T(install)                 \
    T(notice_of_what_is_there) \
    T(failed_fetch)            \
    T(leader_sends_a_notice)   \
    T(restarts)                \
    T(start_comes_first)       \
    T(learner)

CU_TestInfo tests_snapshot[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
