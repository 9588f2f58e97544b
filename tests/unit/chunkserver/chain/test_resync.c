/* Resync, seen from the source and from the target. */
#include "tests/unit/chunkserver/chain/fixture.h"
#include "tests/lib/tap.h"

#include "common/base/banned.h"

/* We are the only in-sync member, 3 is to be brought in sync; both inventories are asked for. */
static void begin(struct chain_work *ret_own, struct chain_work *ret_peer)
{
    view(1, 1, CHAIN_OF(2, 3));
    *ret_own = work_at(CHAIN_WORK_STORE_LIST, 0);
    *ret_peer = work_at(CHAIN_WORK_RESYNC_INVENTORY, 0);
    CU_ASSERT_EQUAL(ret_peer->target, 3);
}

/* Chunk a differs in block 1 of 2 and is about to be copied. */
static struct chain_work begin_copy(void)
{
    static const uint32_t own_crcs[] = {11, 12}, peer_crcs[] = {11, 99, 13};
    struct chain_inventory mine = {chunk_a, {1, 4}, false}, theirs = {chunk_a, {1, 2}, false};
    struct chain_work own, peer;
    begin(&own, &peer);
    listed(own.id, &mine, 1);
    listed(peer.id, &theirs, 1);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 4, false);
    own = work_at(CHAIN_WORK_STORE_CRCS, 0);
    peer = work_at(CHAIN_WORK_RESYNC_CRCS, 0);
    crcs_known(own.id, own_crcs, 2);
    crcs_known(peer.id, peer_crcs, 3);
    return work_at(CHAIN_WORK_RESYNC_COPY, 0);
}

static void finish_and_seal(void)
{
    done(work_at(CHAIN_WORK_RESYNC_FINISH, 0).id, 0);
    done(work_at(CHAIN_WORK_RESYNC_SEAL, 0).id, 0);
}

/* Equal versions are skipped; then the target flushes and is reported for this epoch. */
static void equal_chunks_are_skipped(void)
{
    struct chain_inventory entry = {chunk_a, {1, 4}, false};
    struct chain_work own, peer;
    begin(&own, &peer);
    listed(own.id, &entry, 1);
    listed(peer.id, &entry, 1);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_LOAD), 0);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_RESYNC_SEAL), 1);
    done(work_at(CHAIN_WORK_RESYNC_SEAL, 0).id, 0);
    struct chain_work report = work_at(CHAIN_WORK_REPORT, 0);
    CU_ASSERT_EQUAL(report.report, REPORT_SYNCED);
    CU_ASSERT_EQUAL(report.target, 3);
    CU_ASSERT_EQUAL(report.epoch, 1);
    CU_ASSERT_EQUAL(chain_counters(core).resync_chunks_skipped, 1);
}

/* A version that an unclean stop made doubtful proves nothing: the blocks are compared. */
static void suspect_chunk_is_compared(void)
{
    struct chain_inventory mine = {chunk_a, {1, 4}, false}, theirs = {chunk_a, {1, 4}, true};
    struct chain_work own, peer;
    begin(&own, &peer);
    listed(own.id, &mine, 1);
    listed(peer.id, &theirs, 1);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_LOAD), 1);
}

/* Only blocks that differ are copied, those behind our end included; then length and version. */
static void differing_blocks_are_copied(void)
{
    struct chain_work copy = begin_copy();
    CU_ASSERT_EQUAL(copy.offset, BLOCK_SIZE);
    CU_ASSERT_EQUAL(copy.length, 2 * BLOCK_SIZE);
    done(copy.id, 0);
    struct chain_work finish = work_at(CHAIN_WORK_RESYNC_FINISH, 0);
    CU_ASSERT_EQUAL(finish.version.seq, 4);
    CU_ASSERT_FALSE(finish.absent);
    finish_and_seal();
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_REPORT, 0).report, REPORT_SYNCED);
}

/* What the source does not have goes. */
static void extra_chunk_is_deleted(void)
{
    struct chain_inventory theirs = {chunk_a, {1, 2}, false};
    struct chain_work own, peer;
    begin(&own, &peer);
    listed(own.id, NULL, 0);
    listed(peer.id, &theirs, 1);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, false, 0, 0, false);
    CU_ASSERT_TRUE(work_at(CHAIN_WORK_RESYNC_FINISH, 0).absent);
}

/* A write during the last copy waits, for a bounded time; a chunk that is done gets it forwarded.
 */
static void write_waits_for_the_lock_only(void)
{
    struct chain_work copy = begin_copy();
    client_write(10, 1, 1, 0);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_WRITE), 0);
    tick(150);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_WRITE), 1);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_FORWARD), 0);
    done(work_at(CHAIN_WORK_STORE_WRITE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 0);
    done(copy.id, 0); /* late, of the copy given up */
    tick(300);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_CRCS), 1);
}

/* From "complete" on its acks are waited for, until the next epoch decides. */
static void complete_member_is_waited_for(void)
{
    done(begin_copy().id, 0);
    finish_and_seal();
    client_write(10, 1, 1, 0);
    struct chain_work forward = work_at(CHAIN_WORK_FORWARD, 0);
    CU_ASSERT_EQUAL(forward.target, 3);
    done(work_at(CHAIN_WORK_STORE_WRITE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 1);
    done(forward.id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 0);
}

/* Before that an error of the target delays nobody: the chunk is copied again. */
static void failing_target_delays_nobody(void)
{
    struct chain_inventory mine[2] = {{chunk_a, {1, 4}, false}, {chunk_b, {1, 1}, false}};
    struct chain_work own, peer;
    struct chain_options options;
    core_options(&options);
    options.resync_chunks_max = 1;
    core_start_with(&options);
    begin(&own, &peer);
    listed(own.id, mine, 2);
    listed(peer.id, NULL, 0);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 4, false);
    own = work_at(CHAIN_WORK_STORE_CRCS, 0);
    peer = work_at(CHAIN_WORK_RESYNC_CRCS, 0);
    crcs_known(own.id, NULL, 0);
    crcs_known(peer.id, NULL, 0);
    done(work_at(CHAIN_WORK_RESYNC_FINISH, 0).id, 0); /* a is done, b is not */
    client_write(10, 1, 1, 0);
    struct chain_work forward = work_at(CHAIN_WORK_FORWARD, 0);
    CU_ASSERT_EQUAL(forward.target, 3);
    done(work_at(CHAIN_WORK_STORE_WRITE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 0);
    done(forward.id, -ERR_IO);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_REPORT), 0);
    client_write(11, 1, 2, 0);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_FORWARD), 0);
}

/* A bad block of the source is fetched from the target, then copied on (D20). */
static void own_bad_block_is_repaired(void)
{
    done(begin_copy().id, -ERR_CORRUPT);
    struct chain_work repair = work_at(CHAIN_WORK_STORE_REPAIR, 0);
    CU_ASSERT_EQUAL(repair.target, 3);
    CU_ASSERT_EQUAL(repair.offset, BLOCK_SIZE);
    done(repair.id, 0);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_RESYNC_COPY), 1);
    CU_ASSERT_EQUAL(chain_counters(core).blocks_repaired, 1);
}

/* The authority gives a chunk that was being written a version of its own before it serves it. */
static void authority_resolves_suspects(void)
{
    view(8, 1, CHAIN_OF(2, 3));
    client_write(10, 8, 1, CHUNK_WRITE_CREATE);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 7, 4, true);
    struct chain_work resolve = work_at(CHAIN_WORK_STORE_RESOLVE, 0);
    CU_ASSERT_EQUAL(resolve.version.epoch, 8);
    CU_ASSERT_EQUAL(resolve.version.seq, 5);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_WRITE), 0);
    done(resolve.id, 0);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_STORE_WRITE, 0).previous.seq, 5);
}

static void resync_write(uint64_t request, uint32_t sender)
{
    struct msg_resync_write m = {
        .id = chunk_a, .shard = {COPIES, SHARD, 1}, .sender = sender, .length = BLOCK_SIZE};
    struct chain_event event = {.kind = CHAIN_EVENT_RESYNC_WRITE, .request = request};
    event.u.resync_write = &m;
    step(&event);
}

/* The target obeys the source of its epoch only, and only while it is not in sync. */
static void target_obeys_its_source(void)
{
    view(1, 1, CHAIN_OF(1, 2, 3));
    resync_write(10, 3);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_STALE);
    resync_write(11, 1);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 1, false);
    done(work_at(CHAIN_WORK_STORE_RESYNC_WRITE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
    peer_op(12, 1, 1, CHAIN_WRITE, 1, 0); /* incomplete: follows nothing */
    CU_ASSERT_EQUAL(reply_of(12), -ERR_GAP);
    view(2, 2, CHAIN_OF(1, 2));
    resync_write(13, 1);
    CU_ASSERT_EQUAL(reply_of(13), -ERR_STALE);
}

/* A listing waits until changes that an earlier source began are through. */
static void listing_waits_for_leftovers(void)
{
    view(1, 1, CHAIN_OF(1, 2));
    resync_write(10, 1);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 1, false);
    struct chain_work write = work_at(CHAIN_WORK_STORE_RESYNC_WRITE, 0);
    struct msg_resync_inventory m = {.shard = {COPIES, SHARD, 2}, .sender = 3, .count_max = 10};
    struct chain_event event = {.kind = CHAIN_EVENT_RESYNC_INVENTORY, .request = 11};
    event.u.inventory = &m;
    view(2, 1, CHAIN_OF(3, 2));
    step(&event);
    CU_ASSERT_EQUAL(reply_of(11), -ERR_BUSY);
    done(write.id, 0);
    event.request = 12;
    step(&event);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_LIST), 1);
}

#define TESTS(T)                     \
    T(equal_chunks_are_skipped)      \
    T(suspect_chunk_is_compared)     \
    T(differing_blocks_are_copied)   \
    T(extra_chunk_is_deleted)        \
    T(write_waits_for_the_lock_only) \
    T(complete_member_is_waited_for) \
    T(failing_target_delays_nobody)  \
    T(own_bad_block_is_repaired)     \
    T(authority_resolves_suspects)   \
    T(target_obeys_its_source)       \
    T(listing_waits_for_leftovers)

static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};

extern CU_TestInfo order_tests[], pace_tests[];

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"chunkserver/chain/order", NULL, NULL, core_start, core_stop, order_tests},
        {"chunkserver/chain/resync", NULL, NULL, core_start, core_stop, tests},
        {"chunkserver/chain/pace", NULL, NULL, core_start, core_stop, pace_tests},
        CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
