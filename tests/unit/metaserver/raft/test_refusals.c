/* What the core refuses: options, starts, events, payloads. Each refusal changes nothing (fixture.c
 * runs raft_check), and none is an assertion (R26). */
#include "tests/unit/metaserver/raft/fixture.h"

#include <string.h>

#include "common/base/checksum.h"
#include "metaserver/raft/raft_state.h"

static struct raft_config three(void)
{
    struct raft_config config = {0};
    for (uint32_t id = 1; id <= 3; id++)
        CU_ASSERT_EQUAL(raft_config_add(&config, id, true, slice_of(NULL, 0)), 0);
    return config;
}

static void bad_options(void)
{
    struct raft_options good, all[12];
    unsigned count = 0;
    raft_options_defaults(&good);
    for (unsigned i = 0; i < 12; i++)
        all[i] = good;
    all[count++].heartbeat_ms = 0;
    all[count++].heartbeat_ms = good.election_ms_min;
    all[count++].election_ms_max = good.election_ms_min - 1;
    all[count++].lease_ms = good.election_ms_min;
    all[count++].persist_stall_ms = 0;
    all[count++].append_count_max = 0;
    all[count++].append_bytes_max = 0;
    all[count++].inflight_count_max = 0;
    all[count++].inflight_count_max = RAFT_INFLIGHT_MAX + 1;
    all[count++].inflight_bytes_max = 0;
    all[count++].uncommitted_bytes_max = 0;
    all[count++].reads_max = 0;
    for (unsigned i = 0; i < count; i++)
        CU_ASSERT_EQUAL(raft_create(&all[i], 1, 1, &node), -ERR_INVALID);
    raft_destroy(NULL);
}

/* Bytes whose checksum is right and whose contents are not. */
static int decode(const uint8_t *bytes, size_t size)
{
    struct raft_config config;
    uint8_t image[64];
    uint32_t crc = checksum_crc32(0, bytes, size);
    memcpy(image, bytes, size);
    for (unsigned i = 0; i < 4; i++)
        image[size + i] = (uint8_t)(crc >> (8 * i));
    return raft_config_decode(slice_of(image, size + 4), &config);
}

static void well_signed_nonsense(void)
{
    const uint8_t good[] = {1, 2, 1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 'a'};
    uint8_t b[sizeof good + 6];
    CU_ASSERT_EQUAL(decode(good, sizeof good), 0);
    const struct {
        unsigned at;
        uint8_t value;
    } changes[] = {{1, 1}, {1, 3}, {1, 255}, {2, 0}, {2, 2}, {2, 9}, {6, 2}, {13, 2}, {13, 0}};
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        memcpy(b, good, sizeof good);
        b[changes[i].at] = changes[i].value;
        CU_ASSERT_EQUAL(decode(b, sizeof good), -ERR_CORRUPT);
    }
    memcpy(b, good, sizeof good);
    b[0] = 2;
    CU_ASSERT_EQUAL(decode(b, sizeof good), -ERR_VERSION);
    uint8_t many[2 + 6 * 8] = {1, 8}; /* one voter too many */
    for (uint8_t i = 0; i < 8; i++) {
        many[2 + 6 * i] = (uint8_t)(i + 1);
        many[2 + 6 * i + 4] = 1;
    }
    CU_ASSERT_EQUAL(decode(many, sizeof many), -ERR_CORRUPT);
}

static int start_with(struct raft_event event)
{
    struct raft_options options;
    raft_options_defaults(&options);
    raft_destroy(node);
    node = NULL;
    CU_ASSERT_EQUAL_FATAL(raft_create(&options, 1, 1, &node), 0);
    event.kind = RAFT_EV_START;
    return step(event);
}

static void bad_starts(void)
{
    struct raft_config config = three();
    struct raft_entry e[2] = {{.term = 1, .index = 1, .kind = RAFT_ENTRY_NOOP},
                              {.term = 1, .index = 2, .kind = RAFT_ENTRY_NOOP}};
    const struct raft_event good = {.start = {.term = 3,
                                              .snapshot_index = 1,
                                              .snapshot_term = 1,
                                              .applied_index = 1,
                                              .config = &config,
                                              .entries = e,
                                              .entry_count = 2}};
    CU_ASSERT_EQUAL(start_with(good), 0);
    struct raft_event bad[7];
    for (unsigned i = 0; i < 7; i++)
        bad[i] = good;
    bad[0].start.term = UINT64_C(1) << 62;
    bad[1].start.snapshot_index = UINT64_C(1) << 62;
    bad[2].start.snapshot_term = 4;
    bad[3].start.snapshot_term = 0;
    bad[4].start.snapshot_index = 0;
    bad[5].start.applied_index = 0;
    bad[6].start.applied_index = 3;
    for (unsigned i = 0; i < 7; i++)
        CU_ASSERT_EQUAL(start_with(bad[i]), -ERR_FAULTY_LOG);
    e[0].index = 0;
    CU_ASSERT_EQUAL(start_with(good), -ERR_FAULTY_LOG);
    e[0].index = 1;
    e[0].kind = (enum raft_entry_kind)4;
    CU_ASSERT_EQUAL(start_with(good), -ERR_FAULTY_LOG);
    e[0].kind = (enum raft_entry_kind)0;
    CU_ASSERT_EQUAL(start_with(good), -ERR_FAULTY_LOG);
    e[0].kind = RAFT_ENTRY_CONFIG; /* and empty */
    CU_ASSERT_EQUAL(start_with(good), -ERR_FAULTY_LOG);
    e[0].kind = RAFT_ENTRY_COMMAND;
    e[0].term = 2; /* terms fall */
    CU_ASSERT_EQUAL(start_with(good), -ERR_FAULTY_LOG);
    e[0].term = 0;
    CU_ASSERT_EQUAL(start_with(good), -ERR_FAULTY_LOG);
}

/* The configuration may be in the log alone; one that lies before the snapshot does not count. */
static void start_finds_a_cluster(void)
{
    struct raft_config config = three(), at;
    struct buf *buf = buf_create(RAFT_CONFIG_BYTES_MAX);
    struct raft_entry e[2] = {{.term = 1, .index = 1, .kind = RAFT_ENTRY_NOOP},
                              {.term = 1, .index = 2, .kind = RAFT_ENTRY_CONFIG, .buf = buf}};
    e[1].payload = slice_of(buf->data, raft_config_encode(&config, buf->data));
    struct raft_event event = {
        .start = {.term = 1, .applied_index = 1, .entries = e, .entry_count = 2}};
    CU_ASSERT_EQUAL(start_with(event), 0);
    CU_ASSERT_TRUE(status().voter);
    CU_ASSERT_EQUAL(status().config_index, 2);
    /* Before its first configuration it has none for a checkpoint. */
    CU_ASSERT_EQUAL(raft_config_at(node, 1, &at), -ERR_NO_DATA);
    CU_ASSERT_EQUAL(
        step((struct raft_event){.kind = RAFT_EV_LOG_COMPACT, .snapshot = {.index = 1}}),
        -ERR_INVALID);
    event.start.snapshot_index = event.start.applied_index = 2;
    event.start.snapshot_term = 1;
    CU_ASSERT_EQUAL(start_with(event), -ERR_FAULTY_LOG);
    buf_unref(buf);
}

static void bad_events(void)
{
    struct raft_config nobody = {0};
    struct raft_entry entry = {.kind = RAFT_ENTRY_COMMAND, .payload = {.size = 1}};
    restart(3, 1, 0, "11");
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = (enum raft_event_kind)0}), -ERR_INVALID);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_CHANGE}), -ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = 2}),
                    -ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_READ}), -ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_PERSISTED, .persisted = {9, 1}}),
                    -ERR_INVALID);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_SENT, .peer = 2}), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_SENT, .peer = 1}),
                    -ERR_INVALID);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_FAILED, .peer = 2}), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_FAILED, .peer = 1}),
                    -ERR_INVALID);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_SNAPSHOT_FAILED, .peer = 8}),
                    -ERR_INVALID);
    CU_ASSERT_EQUAL(propose(0), -ERR_INVALID);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_PROPOSE,
                                             .propose = {.entries = &entry, .entry_count = 1}}),
                    -ERR_INVALID); /* a payload without a block */
    CU_ASSERT_EQUAL(
        receive((struct raft_message){
            .kind = RAFT_MSG_SNAPSHOT, .from = 2, .term = 2, .log_index = 9, .log_term = 2}),
        0);
    struct raft_event installed = {.kind = RAFT_EV_SNAPSHOT_INSTALLED,
                                   .snapshot = {.index = 9, .term = 2}};
    CU_ASSERT_EQUAL(step(installed), -ERR_INVALID); /* without a configuration */
    installed.snapshot.config = &nobody;
    CU_ASSERT_EQUAL(step(installed), -ERR_INVALID);
    installed.snapshot.term = 1;
    CU_ASSERT_EQUAL(step(installed), -ERR_INVALID);
    CU_ASSERT_TRUE(status().installing);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_PERSIST_FAILED}), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_PERSISTED, .persisted = {0, 1}}), 0);
}

/* A follower that loses its leader during the install, and one that has the entries by then. */
static void installs(void)
{
    struct raft_config config = three();
    struct raft_event installed = {.kind = RAFT_EV_SNAPSHOT_INSTALLED,
                                   .snapshot = {.index = 4, .term = 1, .config = &config}};
    struct raft_message notice = {
        .kind = RAFT_MSG_SNAPSHOT, .from = 2, .term = 2, .log_index = 4, .log_term = 1};
    restart(3, 1, 0, "11");
    CU_ASSERT_EQUAL(step(installed), -ERR_INVALID); /* nobody asked for it */
    CU_ASSERT_EQUAL(receive(notice), 0);
    CU_ASSERT_EQUAL(receive((struct raft_message){
                        .kind = RAFT_MSG_VOTE, .from = 3, .term = 5, .transfer = true}),
                    0);
    CU_ASSERT_EQUAL(update.leader, 0);
    CU_ASSERT_EQUAL(step(installed), 0);
    CU_ASSERT_EQUAL(update.apply_index, 4);
    CU_ASSERT_PTR_NULL(sent(RAFT_MSG_APPEND_REPLY, 2));
    CU_ASSERT_EQUAL(
        step((struct raft_event){.kind = RAFT_EV_LOG_COMPACT, .snapshot = {.index = 4}}), 0);
    struct raft_config at;
    CU_ASSERT_EQUAL(raft_config_at(node, 3, &at), -ERR_RANGE);
    CU_ASSERT_EQUAL(raft_config_at(node, 4, &at), 0);
}

static void bad_numbers(void)
{
    const uint64_t huge = UINT64_C(1) << 62;
    const struct raft_message good = {
        .kind = RAFT_MSG_VOTE, .from = 2, .term = 2, .log_index = 1, .log_term = 1};
    struct raft_message m[5] = {good, good, good, good, good};
    restart(3, 1, 0, "1");
    m[0].term = 0;
    m[1].term = huge;
    m[2].log_index = huge;
    m[3].log_term = 3;
    m[4].log_term = 0;
    for (unsigned i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(receive(m[i]), -ERR_PROTOCOL);
    lead();
    struct raft_message reply = {.kind = RAFT_MSG_APPEND_REPLY, .from = 2, .term = 2};
    reply.sequence = 1000;
    CU_ASSERT_EQUAL(receive(reply), -ERR_PROTOCOL);
    reply.sequence = 0;
    reply.round = 1000;
    CU_ASSERT_EQUAL(receive(reply), -ERR_PROTOCOL);
    reply.round = 0;
    reply.sent_ms = now_ms + 1;
    CU_ASSERT_EQUAL(receive(reply), -ERR_PROTOCOL);
    CU_ASSERT_EQUAL(receive((struct raft_message){
                        .kind = RAFT_MSG_APPEND, .from = 2, .term = 2, .log_index = 0}),
                    -ERR_PROTOCOL); /* a leader of this node's own term */
    CU_ASSERT_EQUAL(
        receive((struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .from = 2, .term = 2}), 0);
    CU_ASSERT_EQUAL(status().role, RAFT_LEADER);
}

static void full_of_voters(void)
{
    restart(7, 1, 0, "1");
    elect();
    persist();
    for (uint32_t peer = 2; peer <= 7; peer++)
        CU_ASSERT_EQUAL(answer(peer, 2), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_CHANGE,
                                             .change = {.kind = RAFT_CHANGE_ADD, .id = 8}}),
                    0);
    persist();
    for (uint32_t peer = 2; peer <= 5; peer++)
        CU_ASSERT_EQUAL(answer(peer, 3), 0);
    CU_ASSERT_EQUAL(answer(8, 3), 0);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_CHANGE,
                                             .change = {.kind = RAFT_CHANGE_PROMOTE, .id = 8}}),
                    -ERR_LIMIT);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_CHANGE, .change = {.id = 8}}),
                    -ERR_INVALID);
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_CHANGE,
                                             .change = {.kind = RAFT_CHANGE_REMOVE, .id = 8}}),
                    0); /* a learner may always go */
}

/* One message carries what fits; a window of bytes holds the rest back. */
static void large_payloads(void)
{
    struct raft_options options;
    struct raft_entry entries[3];
    struct buf *buf = buf_create(100);
    raft_options_defaults(&options);
    options.append_bytes_max = 150;
    options.inflight_bytes_max = 150;
    options.lease_ms = 0;
    restart_with(&options, 3, 1, 0, "1");
    lead();
    CU_ASSERT_EQUAL(answer(3, 2), 0);
    CU_ASSERT_FALSE(raft_lease_valid(node, now_ms)); /* turned off */
    memset(buf->data, 0, 100);
    for (unsigned i = 0; i < 3; i++)
        entries[i] = (struct raft_entry){
            .kind = RAFT_ENTRY_COMMAND, .buf = buf, .payload = slice_of(buf->data, 100)};
    CU_ASSERT_EQUAL(step((struct raft_event){.kind = RAFT_EV_PROPOSE,
                                             .propose = {.entries = entries, .entry_count = 3}}),
                    0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 3)->entry_count, 1);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 3)->log_index, 3);
    persist();
    CU_ASSERT_EQUAL(answer(3, 4), 0);
    CU_ASSERT_EQUAL(sent(RAFT_MSG_APPEND, 3)->log_index, 4);
    buf_unref(buf);
}

/* raft_check, on which simulator and tests lean, sees each of these broken. */
static void invariants_are_seen(void)
{
    struct err_text why = {.text = ""};
    restart(3, 1, 0, "11");
    lead();
    CU_ASSERT_EQUAL(raft_check(node, &why), 0);
#define BREAK(field, wrong)                                    \
    do {                                                       \
        struct raft saved = *node;                             \
        node->field = wrong;                                   \
        CU_ASSERT_EQUAL(raft_check(node, &why), -ERR_CORRUPT); \
        CU_ASSERT_NOT_EQUAL(why.text[0], 0);                   \
        *node = saved;                                         \
        CU_ASSERT_EQUAL(raft_check(node, NULL), 0);            \
    } while (0)
    BREAK(commit_index, 99);
    BREAK(apply_index, 99);
    BREAK(verified_index, 99);
    BREAK(leader, 2);
    BREAK(join, 5);
    BREAK(noop_index, 1);
    BREAK(config_index, 1);
    BREAK(config.count, 2);
    BREAK(voter_count, 2);
    BREAK(members[1].voter, false);
    BREAK(members[1].id, 9);
    BREAK(members[1].match_index, 99);
    BREAK(members[1].next_index, 1);
    BREAK(members[1].inflight_bytes, 7);
    BREAK(members[1].round, 99);
    BREAK(log.bytes, 1);
    BREAK(log.durable_index, 99);
    BREAK(uncommitted_bytes, 1);
#undef BREAK
    struct raft_entry *last = &node->log.entries[node->log.head + node->log.count - 1];
    last->index++;
    CU_ASSERT_EQUAL(raft_check(node, NULL), -ERR_CORRUPT);
    last->index--;
    node->log.entries[node->log.head].term = 9;
    CU_ASSERT_EQUAL(raft_check(node, NULL), -ERR_CORRUPT);
    node->log.entries[node->log.head].term = 1;
}

static void names(void)
{
    CU_ASSERT_STRING_EQUAL(raft_message_kind_name((enum raft_message_kind)99), "?");
    CU_ASSERT_STRING_EQUAL(raft_message_kind_name(RAFT_MSG_VOTE), "VOTE");
    CU_ASSERT_STRING_EQUAL(raft_role_name((enum raft_role)99), "?");
    CU_ASSERT_STRING_EQUAL(raft_role_name(RAFT_LEADER), "LEADER");
    CU_ASSERT_STRING_EQUAL(raft_progress_state_name((enum raft_progress_state)99), "?");
    CU_ASSERT_STRING_EQUAL(raft_progress_state_name(RAFT_PROGRESS_PROBE), "PROBE");
}

#define TESTS(T)             \
    T(bad_options)           \
    T(well_signed_nonsense)  \
    T(bad_starts)            \
    T(start_finds_a_cluster) \
    T(bad_events)            \
    T(installs)              \
    T(bad_numbers)           \
    T(full_of_voters)        \
    T(large_payloads)        \
    T(invariants_are_seen)   \
    T(names)

CU_TestInfo tests_refusals[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
