/* One core under test: events in, newest update kept. */
#include "tests/unit/metaserver/raft/fixture.h"

#include <string.h>

#include "common/base/check.h"

struct raft *node;
struct raft_update update;
uint64_t now_ms;

static uint64_t mark_term, mark_index;                  /* newest write handed out */
static struct raft_message asked[RAFT_MEMBERS_MAX + 1]; /* newest request to each peer */

void fixture_setup(void)
{
    node = NULL;
    now_ms = 1000;
}

void fixture_teardown(void)
{
    struct err_text why = {.text = ""};
    if (node && raft_check(node, &why) != 0)
        CU_FAIL(why.text);
    raft_destroy(node);
    node = NULL;
}

static unsigned make_entries(struct raft_entry *entries, uint64_t first, const char *terms)
{
    unsigned count = 0;
    for (; terms[count]; count++)
        entries[count] = (struct raft_entry){.term = (uint64_t)(terms[count] - '0'),
                                             .index = first + count,
                                             .kind = RAFT_ENTRY_COMMAND};
    return count;
}

void restart_with(const struct raft_options *options, unsigned voter_count, uint64_t term,
                  uint32_t voted_for, const char *terms)
{
    struct raft_config config = {0};
    struct raft_entry entries[64];
    for (unsigned i = 0; i < voter_count; i++)
        CHECK(raft_config_add(&config, i + 1, true, slice_of(NULL, 0)) == 0);
    raft_destroy(node);
    mark_term = mark_index = 0;
    memset(asked, 0, sizeof asked);
    CHECK(raft_create(options, 1, 42, &node) == 0);
    struct raft_event event = {.kind = RAFT_EV_START};
    event.start.term = term;
    event.start.voted_for = voted_for;
    event.start.config = &config;
    event.start.entries = entries;
    event.start.entry_count = make_entries(entries, 1, terms);
    CU_ASSERT_EQUAL(step(event), 0);
}

void restart(unsigned voter_count, uint64_t term, uint32_t voted_for, const char *terms)
{
    struct raft_options options;
    raft_options_defaults(&options);
    restart_with(&options, voter_count, term, voted_for, terms);
}

static void note(const struct raft_messages *q)
{
    for (unsigned i = 0; i < q->count; i++)
        if (q->messages[i].kind == RAFT_MSG_APPEND || q->messages[i].kind == RAFT_MSG_SNAPSHOT)
            asked[q->messages[i].to] = q->messages[i];
}

int step(struct raft_event event)
{
    struct err_text why = {.text = ""};
    event.now_ms = now_ms;
    int rc = raft_step(node, &event, &update);
    if (rc != 0)
        return rc;
    if (raft_check(node, &why) != 0)
        CU_FAIL(why.text);
    note(&update.send_now);
    note(&update.send_durable);
    if (update.todo & RAFT_PERSIST_ENTRIES) {
        mark_term = update.persist.term;
        mark_index = update.persist.index_last;
    }
    return 0;
}

int tick(uint64_t forward_ms)
{
    now_ms += forward_ms;
    return step((struct raft_event){.kind = RAFT_EV_TICK});
}

int receive(struct raft_message message)
{
    if (message.to == 0)
        message.to = 1;
    return step((struct raft_event){.kind = RAFT_EV_RECV, .recv = &message});
}

int propose(unsigned count)
{
    struct raft_entry entries[64] = {{0}};
    for (unsigned i = 0; i < count; i++)
        entries[i].kind = RAFT_ENTRY_COMMAND;
    return step((struct raft_event){.kind = RAFT_EV_PROPOSE,
                                    .propose = {.entries = entries, .entry_count = count}});
}

void persist(void)
{
    CU_ASSERT_EQUAL(
        step((struct raft_event){.kind = RAFT_EV_PERSISTED,
                                 .persisted = {.term = mark_term, .index = mark_index}}),
        0);
}

int append(uint64_t term, uint64_t prev, uint64_t prev_term, const char *terms, uint64_t commit)
{
    static uint64_t sequence;
    struct raft_entry entries[64];
    unsigned count = make_entries(entries, prev + 1, terms);
    return receive((struct raft_message){.kind = RAFT_MSG_APPEND,
                                         .from = 2,
                                         .term = term,
                                         .log_index = prev,
                                         .log_term = prev_term,
                                         .commit_index = commit,
                                         .sequence = ++sequence,
                                         .sent_ms = now_ms,
                                         .entries = entries,
                                         .entry_count = count});
}

static struct raft_message answer_to(uint32_t from)
{
    return (struct raft_message){.kind = RAFT_MSG_APPEND_REPLY,
                                 .from = from,
                                 .term = asked[from].term,
                                 .prev_index = asked[from].log_index,
                                 .sequence = asked[from].sequence,
                                 .round = asked[from].round,
                                 .sent_ms = asked[from].sent_ms};
}

int answer(uint32_t from, uint64_t match_index)
{
    struct raft_message m = answer_to(from);
    m.match_index = match_index;
    return receive(m);
}

int refuse(uint32_t from, uint64_t hint_index, uint64_t hint_term)
{
    struct raft_message m = answer_to(from);
    m.rejected = true;
    m.log_index = hint_index;
    m.log_term = hint_term;
    return receive(m);
}

void elect(void)
{
    CU_ASSERT_EQUAL(tick(900), 0);
    CU_ASSERT_EQUAL(update.role, RAFT_PRE_CANDIDATE);
    for (uint32_t peer = 2; status().role == RAFT_PRE_CANDIDATE; peer++)
        CU_ASSERT_EQUAL(receive((struct raft_message){.kind = RAFT_MSG_PRE_VOTE_REPLY,
                                                      .from = peer,
                                                      .term = update.term + 1}),
                        0);
    for (uint32_t peer = 2; status().role == RAFT_CANDIDATE; peer++)
        CU_ASSERT_EQUAL(receive((struct raft_message){
                            .kind = RAFT_MSG_VOTE_REPLY, .from = peer, .term = update.term}),
                        0);
    CU_ASSERT_EQUAL(update.role, RAFT_LEADER);
}

void lead(void)
{
    elect();
    persist();
    CU_ASSERT_EQUAL(answer(2, status().last_index), 0);
    CU_ASSERT_EQUAL(answer(3, status().last_index), 0);
    CU_ASSERT_TRUE(status().term_committed);
}

static const struct raft_message *find(const struct raft_messages *q, enum raft_message_kind kind,
                                       uint32_t to)
{
    for (unsigned i = q->count; i > 0; i--)
        if (q->messages[i - 1].kind == kind && q->messages[i - 1].to == to)
            return &q->messages[i - 1];
    return NULL;
}

const struct raft_message *sent(enum raft_message_kind kind, uint32_t to)
{
    const struct raft_message *m = find(&update.send_durable, kind, to);
    return m ? m : find(&update.send_now, kind, to);
}

bool sent_durable(enum raft_message_kind kind, uint32_t to)
{
    return find(&update.send_durable, kind, to) && !find(&update.send_now, kind, to);
}

struct raft_status status(void)
{
    struct raft_status st;
    raft_status_get(node, &st);
    return st;
}

const char *log_terms(void)
{
    static char text[256];
    size_t count = 0;
    for (uint64_t i = status().first_index; i <= status().last_index && count < 255; i++)
        text[count++] = (char)('0' + raft_entry_at(node, i)->term);
    text[count] = 0;
    return text;
}
