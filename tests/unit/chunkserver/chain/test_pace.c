/* The limit of what resyncs send (D25). */
#include "tests/unit/chunkserver/chain/fixture.h"
#include <stdlib.h>

#include "tests/lib/tap.h"

#include "common/base/banned.h"

enum { RUN = 64 * BLOCK_SIZE, LARGE = 4096, SMALL = 65, SECOND = 20 /* ticks */ };
static uint32_t own_crcs[LARGE], peer_crcs[LARGE];
static uint64_t sent; /* bytes of copies, since the last time it was set to 0 */
static uint64_t sent_of_b;

static void rate(uint64_t bytes)
{
    struct chain_event event = {.kind = CHAIN_EVENT_RATE, .u.rate = bytes};
    step(&event);
}

/* Ends every copy that was sent, at once, and those sent thereupon. */
static void answer_copies(void)
{
    while (work_count(CHAIN_WORK_RESYNC_COPY) > 0) {
        struct chain_work copies[64];
        unsigned count = work_count(CHAIN_WORK_RESYNC_COPY);
        CU_ASSERT_TRUE_FATAL(count <= 64);
        for (unsigned i = 0; i < count; i++)
            copies[i] = work_at(CHAIN_WORK_RESYNC_COPY, i);
        struct chain_work_list later = {0};
        for (unsigned i = 0; i < count; i++) {
            sent += copies[i].length;
            sent_of_b += chunk_id_equal(&copies[i].chunk, &chunk_b) ? copies[i].length : 0;
            done(copies[i].id, 0);
            for (size_t n = 0; n < work.count; n++) {
                later.items = realloc(later.items, (later.count + 1) * sizeof *later.items);
                later.items[later.count++] = work.items[n];
            }
        }
        work.count = 0;
        for (size_t n = 0; n < later.count; n++) {
            struct chain_work_list *list = &work;
            if (list->count == list->capacity) {
                list->capacity = list->capacity * 2 + 16;
                list->items = realloc(list->items, list->capacity * sizeof *list->items);
            }
            list->items[list->count++] = later.items[n];
        }
        free(later.items);
    }
}

static void pass(unsigned ticks)
{
    for (unsigned i = 0; i < ticks; i++) {
        tick(1000 / SECOND);
        answer_copies();
    }
}

static void start(void)
{
    struct chain_options options;
    core_options(&options);
    options.resync_burst = RUN;
    core_start_with(&options);
    sent = sent_of_b = 0;
    for (unsigned i = 0; i < LARGE; i++) {
        own_crcs[i] = 1;
        peer_crcs[i] = 2;
    }
}

/* Chunk a with so many blocks to copy, and b when it has any. */
static void begin(uint32_t blocks_a, uint32_t blocks_b)
{
    struct chain_inventory mine[2] = {{chunk_a, {1, 4}, false}, {chunk_b, {1, 4}, false}};
    struct chain_inventory theirs[2] = {{chunk_a, {1, 2}, false}, {chunk_b, {1, 2}, false}};
    const uint32_t blocks[2] = {blocks_a, blocks_b};
    unsigned count = blocks_b ? 2 : 1;
    view(1, 1, CHAIN_OF(2, 3));
    uint64_t own = work_at(CHAIN_WORK_STORE_LIST, 0).id;
    uint64_t peer = work_at(CHAIN_WORK_RESYNC_INVENTORY, 0).id, loads[2], crcs[2][2];
    listed(own, mine, count);
    listed(peer, theirs, count);
    for (unsigned i = 0; i < count; i++)
        loads[i] = work_at(CHAIN_WORK_STORE_LOAD, i).id;
    for (unsigned i = 0; i < count; i++) {
        loaded(loads[i], true, 1, 4, false);
        crcs[i][0] = work_at(CHAIN_WORK_STORE_CRCS, 0).id;
        crcs[i][1] = work_at(CHAIN_WORK_RESYNC_CRCS, 0).id;
    }
    for (unsigned i = 0; i < count; i++) {
        crcs_known(crcs[i][0], own_crcs, blocks[i]);
        crcs_known(crcs[i][1], peer_crcs, blocks[i]);
        answer_copies();
    }
}

/* Not more than the rate and the burst, and not much less; without a limit everything at once. */
static void bytes_keep_the_rate(void)
{
    start();
    rate(4 * RUN);
    begin(LARGE, 0);
    CU_ASSERT_EQUAL(sent, RUN);
    pass(10 * SECOND);
    CU_ASSERT_TRUE(sent >= 39ul * RUN);
    CU_ASSERT_TRUE(sent <= 42ul * RUN);
    rate(0);
    answer_copies();
    CU_ASSERT_EQUAL(sent, (uint64_t)LARGE * BLOCK_SIZE);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_RESYNC_FINISH), 1);
}

/* Whatever was owed under the old rate, the new one holds within a second. */
static void change_takes_effect(void)
{
    start();
    rate(10);
    begin(LARGE, 0);
    pass(5 * SECOND);
    CU_ASSERT_EQUAL(sent, 2 * RUN); /* the next in seven hours */
    rate(4 * RUN);
    pass(2 * SECOND);
    CU_ASSERT_TRUE(sent >= 4ul * RUN);
    rate(1 << 30);
    sent = 0;
    pass(1);
    CU_ASSERT_TRUE(sent > 4ul * RUN);
}

/* A shard that holds nothing, or nothing new, goes through without a token. */
static void empty_shard_is_not_slowed(void)
{
    struct chain_inventory mine = {chunk_a, {1, 4}, false};
    start();
    rate(1);
    begin(LARGE, 0);
    pass(1);
    view(2, 1, CHAIN_OF(2, 3));
    uint64_t own = work_at(CHAIN_WORK_STORE_LIST, 0).id;
    uint64_t peer = work_at(CHAIN_WORK_RESYNC_INVENTORY, 0).id;
    listed(own, &mine, 1);
    listed(peer, NULL, 0);
    if (work_count(CHAIN_WORK_STORE_LOAD) > 0)
        loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 4, false);
    own = work_at(CHAIN_WORK_STORE_CRCS, 0).id;
    peer = work_at(CHAIN_WORK_RESYNC_CRCS, 0).id;
    crcs_known(own, NULL, 0); /* a chunk without a block */
    crcs_known(peer, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(work_count(CHAIN_WORK_RESYNC_FINISH), 1);
    done(work_at(CHAIN_WORK_RESYNC_FINISH, 0).id, 0);
    CU_ASSERT_EQUAL_FATAL(work_count(CHAIN_WORK_RESYNC_SEAL), 1);
    done(work_at(CHAIN_WORK_RESYNC_SEAL, 0).id, 0);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_REPORT, 0).report, REPORT_SYNCED);
}

/* A write never waits for tokens: while a chunk waits for them it is not locked, and what is
 * locked is sent as a whole, beyond the rate. */
static void write_waits_for_no_token(void)
{
    start();
    rate(10);
    begin(LARGE, SMALL); /* a takes what there is */
    CU_ASSERT_EQUAL(sent, RUN);
    client_write(10, 1, 1, 0);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_WRITE), 1);
    done(work_at(CHAIN_WORK_STORE_WRITE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 0);
    start();
    rate(10);
    begin(SMALL, 0); /* two runs, under the lock */
    CU_ASSERT_EQUAL(sent, (uint64_t)SMALL * BLOCK_SIZE);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_RESYNC_FINISH), 1);
}

/* Those who wait take turns: the small chunk is through long before the large one. */
static void small_chunk_gets_its_turn(void)
{
    start();
    rate(4 * RUN);
    begin(LARGE, SMALL);
    pass(2 * SECOND);
    CU_ASSERT_EQUAL(sent_of_b, (uint64_t)SMALL * BLOCK_SIZE);
    CU_ASSERT_TRUE(sent < (uint64_t)LARGE * BLOCK_SIZE / 4);
}

#define TESTS(T)                 \
    T(bytes_keep_the_rate)       \
    T(change_takes_effect)       \
    T(empty_shard_is_not_slowed) \
    T(write_waits_for_no_token)  \
    T(small_chunk_gets_its_turn)
CU_TestInfo pace_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
