/* Configurations: their bytes, which one is in force (R13), how they change (R12), and nodes that
 * join without a past. */
#include "tests/unit/metaserver/raft/fixture.h"

#include <string.h>

static int change(enum raft_change_kind kind, uint32_t id)
{
    return step(
        (struct raft_event){.kind = RAFT_EV_CHANGE,
                            .change = {.kind = kind, .id = id, .address = slice_str("host:7000")}});
}

static struct raft_config config_of(const char *voters, const char *learners)
{
    struct raft_config config = {0};
    for (; *voters; voters++)
        CU_ASSERT_EQUAL(raft_config_add(&config, (uint32_t)(*voters - '0'), true, slice_str("a:1")),
                        0);
    for (; *learners; learners++)
        CU_ASSERT_EQUAL(
            raft_config_add(&config, (uint32_t)(*learners - '0'), false, slice_str("b:2")), 0);
    return config;
}

/* Voters, then learners in small letters: "12c" is voters 1 and 2, learner 3. */
static const char *in_force(void)
{
    static char text[RAFT_MEMBERS_MAX + 1];
    uint64_t index = 0;
    const struct raft_config *config = raft_config_get(node, &index);
    for (unsigned i = 0; i < config->count; i++)
        text[i] = (char)((config->servers[i].voter ? '0' : 'a' - 1) + (int)config->servers[i].id);
    text[config->count] = 0;
    return text;
}

/* An append of node 2 in `term` behind `prev` that holds one configuration entry. */
static int append_config(uint64_t term, uint64_t prev, uint64_t prev_term,
                         const struct raft_config *config, uint64_t commit)
{
    struct raft_entry entry = {.term = term, .index = prev + 1, .kind = RAFT_ENTRY_CONFIG};
    entry.buf = buf_create(RAFT_CONFIG_BYTES_MAX);
    entry.payload = slice_of(entry.buf->data, raft_config_encode(config, entry.buf->data));
    int rc = receive((struct raft_message){.kind = RAFT_MSG_APPEND,
                                           .from = 2,
                                           .term = term,
                                           .log_index = prev,
                                           .log_term = prev_term,
                                           .commit_index = commit,
                                           .entries = &entry,
                                           .entry_count = 1});
    buf_unref(entry.buf);
    return rc;
}

/* What is written is read; every truncation, every flipped bit and every addition is refused. */
static void bytes(void)
{
    struct raft_config config = config_of("731", "52"), back;
    uint8_t image[RAFT_CONFIG_BYTES_MAX + 1] = {0};
    size_t size = raft_config_encode(&config, image);
    CU_ASSERT_EQUAL(raft_config_decode(slice_of(image, size), &back), 0);
    CU_ASSERT_TRUE(raft_config_equal(&config, &back));
    CU_ASSERT_EQUAL(back.servers[0].id, 1);
    CU_ASSERT_EQUAL(raft_config_find(&back, 5)->voter, false);
    for (size_t n = 0; n < size; n++)
        CU_ASSERT_NOT_EQUAL(raft_config_decode(slice_of(image, n), &back), 0);
    CU_ASSERT_NOT_EQUAL(raft_config_decode(slice_of(image, size + 1), &back), 0);
    for (size_t bit = 0; bit < size * 8; bit++) {
        image[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CU_ASSERT_NOT_EQUAL(raft_config_decode(slice_of(image, size), &back), 0);
        image[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    struct raft_config nobody = config_of("", "12");
    size = raft_config_encode(&nobody, image);
    CU_ASSERT_EQUAL(raft_config_decode(slice_of(image, size), &back), -ERR_CORRUPT);
}

static void limits(void)
{
    uint8_t address[RAFT_ADDRESS_MAX + 1] = {0}, image[RAFT_CONFIG_BYTES_MAX];
    struct raft_config config = {0}, other = {0};
    CU_ASSERT_EQUAL(raft_config_add(&config, 0, true, slice_of(address, 0)), -ERR_INVALID);
    CU_ASSERT_EQUAL(raft_config_add(&config, 1, true, slice_of(address, 129)), -ERR_INVALID);
    for (uint32_t id = 1; id <= RAFT_VOTERS_MAX; id++)
        CU_ASSERT_EQUAL(raft_config_add(&config, id, true, slice_of(address, 128)), 0);
    CU_ASSERT_EQUAL(raft_config_add(&config, 7, false, slice_of(address, 0)), -ERR_INVALID);
    CU_ASSERT_EQUAL(raft_config_add(&config, 8, true, slice_of(address, 0)), -ERR_LIMIT);
    for (uint32_t id = 8; id < 8 + RAFT_LEARNERS_MAX; id++)
        CU_ASSERT_EQUAL(raft_config_add(&config, id, false, slice_of(address, 128)), 0);
    CU_ASSERT_EQUAL(raft_config_add(&config, 99, false, slice_of(address, 0)), -ERR_LIMIT);
    CU_ASSERT_EQUAL(raft_config_encode(&config, image), RAFT_CONFIG_BYTES_MAX);
    CU_ASSERT_FALSE(raft_config_equal(&config, &other));
    other = config;
    other.servers[3].voter = false;
    CU_ASSERT_FALSE(raft_config_equal(&config, &other));
}

/* One learner comes, catches up, votes; every step waits for the one before. */
static void grow(void)
{
    restart(1, 1, 0, "1");
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_ADD, 2), -ERR_BUSY); /* R12: no no-op yet */
    persist();
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_ADD, 1), -ERR_EXISTS);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_ADD, 0), -ERR_INVALID);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_MAX, 2), -ERR_INVALID);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_ADD, 2), 0);
    CU_ASSERT_TRUE(update.todo & RAFT_CONFIG_CHANGED);
    CU_ASSERT_EQUAL(update.proposed.index_first, 3);
    CU_ASSERT_STRING_EQUAL(in_force(), "1b");
    CU_ASSERT_PTR_NOT_NULL(sent(RAFT_MSG_APPEND, 2));
    CU_ASSERT_FALSE(status().config_committed);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_ADD, 3), -ERR_BUSY); /* R12: one at a time */
    persist();
    CU_ASSERT_TRUE(status().config_committed); /* the learner did not decide */
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_PROMOTE, 2), -ERR_BUSY);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_PROMOTE, 1), -ERR_INVALID);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_PROMOTE, 7), -ERR_INVALID);
    CU_ASSERT_EQUAL(answer(2, 2), 0);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_PROMOTE, 2), -ERR_BUSY); /* lacks its own entry */
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_PROMOTE, 2), 0);
    CU_ASSERT_STRING_EQUAL(in_force(), "12");
    persist();
    CU_ASSERT_EQUAL(status().commit_index, 3); /* now it decides */
    CU_ASSERT_EQUAL(answer(2, 4), 0);
    CU_ASSERT_EQUAL(status().commit_index, 4);
}

/* A removed follower hears nothing more, and its answers are of no interest. */
static void remove_follower(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 9), -ERR_INVALID);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 3), 0);
    CU_ASSERT_STRING_EQUAL(in_force(), "12");
    CU_ASSERT_PTR_NULL(sent(RAFT_MSG_APPEND, 3));
    persist();
    CU_ASSERT_EQUAL(status().commit_index, 2);
    CU_ASSERT_EQUAL(receive((struct raft_message){
                        .kind = RAFT_MSG_APPEND_REPLY, .from = 3, .term = 9, .rejected = true}),
                    0);
    CU_ASSERT_EQUAL(status().term, 2);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(status().commit_index, 3);
}

/* The rest must be able to go on: the last voter stays, and so do those who are needed. */
static void unsafe_removals(void)
{
    restart(1, 1, 0, "1");
    persist();
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 1), -ERR_REFUSED);
    restart(3, 1, 0, "1");
    lead();
    for (int i = 0; i < 9; i++) {
        CU_ASSERT_EQUAL(tick(100), 0);
        CU_ASSERT_EQUAL(answer(2, 2), 0);
    }
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 2), -ERR_REFUSED); /* 3 is silent */
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 3), 0);
}

/* Thesis 4.2.2: a leader removes itself, does not count, and goes when that is committed. */
static void remove_leader(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 1), 0);
    CU_ASSERT_STRING_EQUAL(in_force(), "23");
    persist();
    CU_ASSERT_EQUAL(propose(1), 0);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(status().commit_index, 2); /* 1 and 2 are no majority of 2 and 3 */
    CU_ASSERT_EQUAL(update.role, RAFT_LEADER);
    CU_ASSERT_EQUAL(answer(3, 3), 0);
    CU_ASSERT_EQUAL(update.commit_index, 3);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    CU_ASSERT_PTR_NOT_NULL(sent(RAFT_MSG_TIMEOUT_NOW, 2));
    CU_ASSERT_EQUAL(tick(60000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
}

/* Until it knows that its removal is committed it may be needed (thesis 4.2.2): nobody else may
 * have the entry. */
static void removed_but_needed(void)
{
    struct raft_config config = config_of("23", "");
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(append_config(1, 1, 1, &config, 1), 0);
    CU_ASSERT_STRING_EQUAL(in_force(), "23");
    persist();
    CU_ASSERT_EQUAL(tick(900), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_PRE_CANDIDATE);
    for (uint32_t peer = 2; peer <= 3; peer++) {
        CU_ASSERT_EQUAL(update.role, RAFT_PRE_CANDIDATE); /* its own vote counts nothing */
        CU_ASSERT_EQUAL(receive((struct raft_message){.kind = RAFT_MSG_PRE_VOTE_REPLY,
                                                      .from = peer,
                                                      .term = update.term + 1}),
                        0);
    }
    CU_ASSERT_EQUAL(update.role, RAFT_CANDIDATE);
    CU_ASSERT_EQUAL(append(2, 2, 1, "", 2), 0);
    CU_ASSERT_EQUAL(tick(60000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
}

/* R13: a configuration that a new leader takes back was never in force. */
static void truncation_rolls_back(void)
{
    struct raft_config config = config_of("1234", "5"), at;
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(append_config(1, 1, 1, &config, 1), 0);
    CU_ASSERT_STRING_EQUAL(in_force(), "1234e");
    persist();
    CU_ASSERT_EQUAL(raft_config_at(node, 1, &at), 0);
    CU_ASSERT_EQUAL(at.count, 3); /* a checkpoint of index 1 holds the old one */
    CU_ASSERT_EQUAL(raft_config_at(node, 2, &at), -ERR_RANGE);
    CU_ASSERT_EQUAL(append(3, 1, 1, "3", 1), 0);
    CU_ASSERT_TRUE(update.todo & RAFT_CONFIG_CHANGED);
    CU_ASSERT_STRING_EQUAL(in_force(), "123");
}

/* R26: what cannot be read is refused before it is in the log. */
static void bad_entry(void)
{
    uint8_t bytes[8] = {1, 1};
    struct buf *buf = buf_create(sizeof bytes);
    struct raft_entry entry = {.term = 1, .index = 2, .kind = RAFT_ENTRY_CONFIG, .buf = buf};
    memcpy(buf->data, bytes, sizeof bytes);
    entry.payload = slice_of(buf->data, sizeof bytes);
    restart(3, 1, 0, "1");
    CU_ASSERT_EQUAL(receive((struct raft_message){.kind = RAFT_MSG_APPEND,
                                                  .from = 2,
                                                  .term = 1,
                                                  .log_index = 1,
                                                  .log_term = 1,
                                                  .entries = &entry,
                                                  .entry_count = 1}),
                    -ERR_PROTOCOL);
    buf_unref(buf);
    CU_ASSERT_EQUAL(propose(1), -ERR_NOT_LEADER);
    lead();
    entry = (struct raft_entry){.kind = RAFT_ENTRY_CONFIG};
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_PROPOSE,
                                             .propose = {.entries = &entry, .entry_count = 1}}),
                    -ERR_INVALID);
}

/* A learner, and who has been removed, grants a vote: the candidate may know of a later
 * configuration. So does who does not know the candidate. */
static void strangers_get_votes(void)
{
    restart(3, 1, 0, "1");
    now_ms += 450;
    CU_ASSERT_EQUAL(
        receive((struct raft_message){
            .kind = RAFT_MSG_VOTE, .from = 9, .term = 2, .log_index = 4, .log_term = 1}),
        0);
    CU_ASSERT_FALSE(sent(RAFT_MSG_VOTE_REPLY, 9)->rejected);
    CU_ASSERT_EQUAL(
        receive((struct raft_message){
            .kind = RAFT_MSG_APPEND, .from = 9, .term = 2, .log_index = 1, .log_term = 1}),
        0);
    CU_ASSERT_EQUAL(update.leader, 9);
}

static void start_joining(const struct raft_config *config)
{
    struct raft_options options;
    raft_options_defaults(&options);
    raft_destroy(node);
    CU_ASSERT_EQUAL_FATAL(raft_create(&options, 1, 7, &node), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_START,
                                             .start = {.config = config, .joining = true}}),
                    0);
}

static int heartbeat(uint64_t last, uint64_t last_term, uint64_t commit, uint64_t join)
{
    return receive((struct raft_message){.kind = RAFT_MSG_APPEND,
                                         .from = 2,
                                         .term = 1,
                                         .log_index = last,
                                         .log_term = last_term,
                                         .commit_index = commit,
                                         .join = join});
}

/* A node without its past neither stands nor votes, says so, and counts from the moment that it has
 * what the leader vouched for and finds itself in a committed configuration. */
static void joining_node(void)
{
    struct raft_config config = config_of("23", "1");
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .log_index = 9, .log_term = 1};
    start_joining(NULL);
    CU_ASSERT_EQUAL(tick(60000), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_FOLLOWER);
    vote.term = 3;
    CU_ASSERT_EQUAL(receive(vote), 0);
    CU_ASSERT_EQUAL(update.todo, 0);
    CU_ASSERT_EQUAL(append(1, 0, 0, "1", 0), 0);
    CU_ASSERT_EQUAL(append_config(1, 1, 1, &config, 1), 0);
    persist();
    uint64_t join = sent(RAFT_MSG_APPEND_REPLY, 2)->join;
    CU_ASSERT_NOT_EQUAL(join, 0);
    CU_ASSERT_EQUAL(heartbeat(2, 1, 2, join + 2), 0); /* meant for another life */
    CU_ASSERT_TRUE(status().joining);
    CU_ASSERT_EQUAL(append(1, 2, 1, "1", 2), 0);
    CU_ASSERT_EQUAL(heartbeat(2, 1, 2, join), 0);
    CU_ASSERT_TRUE(update.todo & RAFT_JOINED);
    CU_ASSERT_FALSE(status().joining);
    CU_ASSERT_EQUAL(heartbeat(2, 1, 2, join), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND_REPLY, 2)->join, 0);
    CU_ASSERT_FALSE(update.todo & RAFT_JOINED);
    tick(450);
    CU_ASSERT_EQUAL(receive(vote), 0);
    CU_ASSERT_FALSE(sent(RAFT_MSG_VOTE_REPLY, 3)->rejected);
}

/* What the leader vouched for must be applied first. */
static void joining_takes_until_applied(void)
{
    struct raft_config config = config_of("123", "");
    start_joining(&config);
    CU_ASSERT_EQUAL(heartbeat(0, 0, 0, 0), 0);
    uint64_t join = sent(RAFT_MSG_APPEND_REPLY, 2)->join;
    CU_ASSERT_EQUAL(heartbeat(0, 0, 2, join), 0);
    CU_ASSERT_TRUE(status().joining);
    CU_ASSERT_EQUAL(append(1, 0, 0, "11", 2), 0);
    CU_ASSERT_TRUE(status().joining);
    persist();
    CU_ASSERT_TRUE(update.todo & RAFT_JOINED);
}

static int answer_joining(uint32_t from, uint64_t match, uint64_t join)
{
    const struct raft_message *m = sent(RAFT_MSG_APPEND, from);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return receive((struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                         .from = from,
                                         .term = m->term,
                                         .match_index = match,
                                         .prev_index = m->log_index,
                                         .sequence = m->sequence,
                                         .round = m->round,
                                         .sent_ms = m->sent_ms,
                                         .join = join});
}

/* The leader counts a joining voter for nothing, and vouches after a quorum without it answered. */
static void leader_and_joining_voter(void)
{
    restart(3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(answer_joining(3, 0, 77), 0);
    CU_ASSERT_TRUE(status().peers[1].joining);
    CU_ASSERT_EQUAL(status().peers[1].match_index, 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = 3}), -ERR_BUSY);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 2), -ERR_REFUSED);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 3)->join, 0);
    CU_ASSERT_EQUAL(propose(1), 0);
    persist();
    CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(answer_joining(3, 3, 77), 0);
    CU_ASSERT_EQUAL(status().commit_index, 2);
    CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(answer(2, 3), 0);
    CU_ASSERT_EQUAL(status().commit_index, 3);
    CU_ASSERT_EQUAL(tick(100), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 3)->join, 77);
    CU_ASSERT_EQUAL(answer_joining(3, 3, 0), 0);
    CU_ASSERT_FALSE(status().peers[1].joining);
    CU_ASSERT_EQUAL(change(RAFT_CHANGE_REMOVE, 2), 0);
}

#define TESTS(T)                   \
    T(bytes)                       \
    T(limits)                      \
    T(grow)                        \
    T(remove_follower)             \
    T(unsafe_removals)             \
    T(remove_leader)               \
    T(removed_but_needed)          \
    T(truncation_rolls_back)       \
    T(bad_entry)                   \
    T(strangers_get_votes)         \
    T(joining_node)                \
    T(joining_takes_until_applied) \
    T(leader_and_joining_voter)

CU_TestInfo tests_membership[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
