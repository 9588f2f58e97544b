/* Writes, epochs, reads: one test per rule. */
#include "tests/unit/chunkserver/chain/fixture.h"
#include "tests/lib/tap.h"

#include "common/base/banned.h"

enum { CREATE = CHUNK_WRITE_CREATE };

/* We are the head of 2, 3 with a loaded, absent chunk; write `op` is forwarded and being stored. */
static void head_with_write(uint64_t request, uint64_t op, struct chain_work *ret_forward,
                            struct chain_work *ret_store)
{
    client_write(request, 1, op, CREATE);
    if (work_count(CHAIN_WORK_STORE_LOAD))
        loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, false, 0, 0, false);
    *ret_forward = work_at(CHAIN_WORK_FORWARD, 0);
    *ret_store = work_at(CHAIN_WORK_STORE_WRITE, 0);
}

/* The head forwards first, stores in parallel, and answers after both (D1). */
static void head_answers_after_store_and_ack(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    CU_ASSERT_EQUAL(forward.target, 3);
    CU_ASSERT_EQUAL(forward.version.seq, 1);
    CU_ASSERT_NOT_EQUAL(store.id, 0);
    done(store.id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 1);
    done(forward.id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 0);
}

/* Without a lease nothing is accepted. */
static void head_needs_a_lease(void)
{
    view(1, 2, CHAIN_OF(2, 3));
    lease(-1);
    client_write(10, 1, 1, CREATE);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_NO_LEASE);
    client_read(11, 1);
    CU_ASSERT_EQUAL(reply_of(11), -ERR_NO_LEASE);
}

/* Older epochs are stale; newer ones wait for the table, for a bounded time. */
static void epochs_are_compared(void)
{
    view(5, 2, CHAIN_OF(2, 3));
    client_write(10, 4, 1, CREATE);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_STALE);
    client_write(11, 6, 1, CREATE);
    CU_ASSERT_EQUAL(reply_of(11), 1);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_REFRESH), 1);
    view(6, 2, CHAIN_OF(2, 3));
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_LOAD), 1);
    client_write(12, 7, 2, CREATE);
    tick(5000);
    CU_ASSERT_EQUAL(reply_of(12), -ERR_STALE);
}

/* A view that was made before this process registered says nothing. */
static void view_of_an_earlier_process_is_ignored(void)
{
    struct chain_event event = {.kind = CHAIN_EVENT_VIEW,
                                .u.view = {.copies = COPIES,
                                           .shard = SHARD,
                                           .epoch = 1,
                                           .incarnation = 4,
                                           .member_count = 1,
                                           .members = {{SELF, SLOT_INSYNC}}}};
    step(&event);
    client_write(10, 1, 1, CREATE);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_STALE);
}

/* A write that does not create, to a chunk that is not there, is a loss, never zeros (D8). */
static void missing_chunk_is_lost(void)
{
    view(1, 1, CHAIN_OF(2));
    client_write(10, 1, 1, 0);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, false, 0, 0, false);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_LOST_CHUNK);
}

/* A full head refuses before anything is forwarded (D21). */
static void full_head_refuses(void)
{
    struct msg_chunk_write m = {.id = chunk_a,
                                .shard = {COPIES, SHARD, 1},
                                .session = 9,
                                .op = 1,
                                .length = BLOCK_SIZE,
                                .flags = CREATE};
    struct chain_event event = {.kind = CHAIN_EVENT_WRITE, .request = 10};
    event.u.write = &m;
    view(1, 2, CHAIN_OF(2, 3));
    step(&event);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, false, 0, 0, false);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_FORWARD), 0);
}

/* Several writes are under way; they are stored one at a time, in version order. */
static void writes_are_pipelined_in_order(void)
{
    struct chain_work first, store, second, none;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &first, &store);
    head_with_write(11, 2, &second, &none);
    CU_ASSERT_EQUAL(second.version.seq, 2);
    CU_ASSERT_EQUAL(second.previous.seq, 1);
    CU_ASSERT_EQUAL(none.id, 0);
    done(store.id, 0);
    struct chain_work next = work_at(CHAIN_WORK_STORE_WRITE, 0);
    CU_ASSERT_EQUAL(next.version.seq, 2);
    done(next.id, 0);
    done(second.id, 0); /* one ack stands for those before it */
    CU_ASSERT_EQUAL(reply_of(10), 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
}

/* The same operation id is applied once: joined while under way, answered from memory after. */
static void repeated_operation_is_applied_once(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    client_write(11, 1, 1, CREATE);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_CANCELLED);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_FORWARD), 0);
    done(store.id, 0);
    done(forward.id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
    client_write(12, 1, 1, CREATE);
    CU_ASSERT_EQUAL(reply_of(12), 0);
    CU_ASSERT_EQUAL(work.items[0].version.seq, 1);
    CU_ASSERT_EQUAL(work.count, 1);
}

/* A replica applies only on top of the predecessor version, and only from its predecessor. */
static void replica_refuses_a_gap(void)
{
    view(1, 2, CHAIN_OF(1, 2));
    peer_op(10, 1, 1, CHAIN_WRITE, 5, 4);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 3, false);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_GAP);
    peer_op(11, 1, 1, CHAIN_WRITE, 4, 3);
    done(work_at(CHAIN_WORK_STORE_WRITE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
    peer_op(12, 1, 1, CHAIN_WRITE, 4, 3);
    CU_ASSERT_EQUAL(reply_of(12), 0);
    peer_op(13, 1, 3, CHAIN_WRITE, 5, 4);
    CU_ASSERT_EQUAL(reply_of(13), -ERR_STALE);
}

/* After a gap everything unacknowledged is sent again; who still cannot follow is reported. */
static void gap_is_resent_then_reported(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    for (int i = 0; i < 3; i++) {
        done(forward.id, -ERR_GAP);
        forward = work_at(CHAIN_WORK_FORWARD, 0);
        CU_ASSERT_EQUAL(forward.version.seq, 1);
    }
    done(forward.id, -ERR_GAP);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_REPORT, 0).target, 3);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_REPORT, 0).report, REPORT_OUT_OF_SYNC);
}

/* A broken connection: sent again once the successor can be reached. */
static void broken_connection_is_resent(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    done(forward.id, -ERR_CLOSED);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_FORWARD), 0);
    tick(300);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_FORWARD), 1);
}

/* A successor that makes no progress is reported, the one next to the trouble speaking first. */
static void silent_successor_is_reported(void)
{
    struct chain_work forward, store;
    view(1, 3, CHAIN_OF(2, 3, 4));
    head_with_write(10, 1, &forward, &store);
    tick(5000);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_REPORT), 0);
    tick(4000);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_REPORT, 0).target, 3);
}

/* The successor is gone: sent down the new chain, or answered by the one that is left. */
static void new_epoch_completes_what_is_under_way(void)
{
    struct chain_work forward, store;
    view(1, 3, CHAIN_OF(2, 3, 4));
    head_with_write(10, 1, &forward, &store);
    done(store.id, 0);
    view(2, 2, CHAIN_OF(2, 4));
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_FORWARD, 0).target, 4);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_FORWARD, 0).version.epoch, 1);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_FORWARD, 0).epoch, 2);
    done(forward.id, 0); /* of the old chain: means nothing now */
    CU_ASSERT_EQUAL(reply_of(10), 1);
    view(3, 1, CHAIN_OF(2));
    CU_ASSERT_EQUAL(reply_of(10), 0);
}

/* The head is gone: the next one finishes what it stored, and knows the client's repetition. */
static void next_member_becomes_head(void)
{
    view(1, 3, CHAIN_OF(1, 2, 3));
    peer_op(10, 1, 1, CHAIN_WRITE, 1, 0);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, false, 0, 0, false);
    done(work_at(CHAIN_WORK_STORE_WRITE, 0).id, 0);
    view(2, 2, CHAIN_OF(2, 3));
    struct chain_work forward = work_at(CHAIN_WORK_FORWARD, 0);
    CU_ASSERT_EQUAL(forward.target, 3);
    client_write(11, 2, 1001, CREATE);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_FORWARD), 0);
    done(forward.id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
}

/* Who lost its place gives everything back and forgets what it remembered. */
static void lost_place_gives_back(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    view(2, 1, CHAIN_OF(3, 2));
    CU_ASSERT_EQUAL(reply_of(10), -ERR_STALE);
    done(store.id, 0);
    client_read(11, 2);
    CU_ASSERT_EQUAL(reply_of(11), -ERR_NOT_SYNCED);
    view(3, 1, CHAIN_OF(2));
    client_write(12, 3, 1, CREATE);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, false, 0, 0, false);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_STORE_WRITE, 0).version.epoch, 3);
}

/* While a removed member may still answer reads, nothing newer is acknowledged. */
static void fence_delays_the_ack(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    done(store.id, 0);
    view_fenced(2, 1, CHAIN_OF(2), 3000);
    CU_ASSERT_EQUAL(reply_of(10), 1);
    tick(2900);
    CU_ASSERT_EQUAL(reply_of(10), 1);
    tick(200);
    CU_ASSERT_EQUAL(reply_of(10), 0);
}

/* A sync is forwarded at once, carried out after the writes before it, answered after all. */
static void sync_waits_for_all(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    client_change(11, 1, 2, CHANGE_SYNC);
    struct chain_work sync_forward = work_at(CHAIN_WORK_FORWARD, 0);
    CU_ASSERT_EQUAL(sync_forward.op_kind, CHAIN_SYNC);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_SYNC), 0);
    done(store.id, 0);
    struct chain_work sync = work_at(CHAIN_WORK_STORE_SYNC, 0);
    done(forward.id, 0);
    done(sync.id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 1);
    done(sync_forward.id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
}

/* A deleted chunk never comes back by a late write, from a client or along the chain (D12, D14). */
static void deleted_chunk_stays_deleted(void)
{
    view(1, 1, CHAIN_OF(2));
    client_change(10, 1, 1, CHANGE_DELETE);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 3, false);
    done(work_at(CHAIN_WORK_STORE_DELETE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(10), 0);
    client_write(11, 1, 2, CREATE);
    CU_ASSERT_EQUAL(reply_of(11), -ERR_STALE_HANDLE);
    view(2, 2, CHAIN_OF(1, 2));
    peer_op(12, 2, 1, CHAIN_WRITE, 9, 0);
    CU_ASSERT_EQUAL(reply_of(12), -ERR_STALE_HANDLE);
}

/* The leader's delete ends what is under way and removes the copy. */
static void leader_deletes_locally(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    struct chain_event event = {.kind = CHAIN_EVENT_DELETE, .request = 11};
    event.u.delete.id = chunk_a;
    event.u.delete.copies = COPIES;
    event.u.delete.shard = SHARD;
    step(&event);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_STALE_HANDLE);
    view(2, 2, CHAIN_OF(2, 3)); /* a new epoch changes nothing about it */
    done(store.id, 0);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, true, 1, 1, false);
    done(work_at(CHAIN_WORK_STORE_DELETE, 0).id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
}

/* One replica that cannot store is reported by itself; the client does not see its error. */
static void failed_store_is_out_of_sync(void)
{
    struct chain_work forward, store;
    view(1, 2, CHAIN_OF(2, 3));
    head_with_write(10, 1, &forward, &store);
    done(store.id, -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_REPORT, 0).target, SELF);
    CU_ASSERT_EQUAL(work_at(CHAIN_WORK_REPORT, 0).report, REPORT_OUT_OF_SYNC);
    CU_ASSERT_EQUAL(reply_of(10), 1);
    tick(300);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_WRITE), 1);
    view(2, 1, CHAIN_OF(3, 2));
    CU_ASSERT_EQUAL(reply_of(10), -ERR_STALE);
}

/* Alone, the error is the answer, and the version is not used again for other content. */
static void failed_store_alone_is_an_error(void)
{
    struct chain_work forward, store;
    view(1, 1, CHAIN_OF(2));
    head_with_write(10, 1, &forward, &store);
    done(store.id, -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_NO_SPACE);
    head_with_write(11, 2, &forward, &store);
    CU_ASSERT_EQUAL(store.version.seq, 2);
}

/* A read that shows a write waits for its acknowledgement, and the lease is checked again (D13). */
static void read_waits_for_the_ack(void)
{
    view(1, 3, CHAIN_OF(1, 2, 3));
    peer_op(10, 1, 1, CHAIN_WRITE, 1, 0);
    loaded(work_at(CHAIN_WORK_STORE_LOAD, 0).id, false, 0, 0, false);
    struct chain_work forward = work_at(CHAIN_WORK_FORWARD, 0);
    struct chain_work store = work_at(CHAIN_WORK_STORE_WRITE, 0);
    client_read(11, 1);
    CU_ASSERT_EQUAL(work_count(CHAIN_WORK_STORE_READ), 0); /* what was accepted is stored first */
    done(store.id, 0);
    struct chain_work read = work_at(CHAIN_WORK_STORE_READ, 0);
    loaded(read.id, true, 1, 1, false);
    CU_ASSERT_EQUAL(reply_of(11), 1);
    done(forward.id, 0);
    CU_ASSERT_EQUAL(reply_of(11), 0);
    client_read(12, 1);
    read = work_at(CHAIN_WORK_STORE_READ, 0);
    lease(-1);
    loaded(read.id, true, 1, 1, false);
    CU_ASSERT_EQUAL(reply_of(12), -ERR_NO_LEASE);
}

/* A member that is not in sync never serves (D2). */
static void syncing_member_refuses(void)
{
    view(1, 1, CHAIN_OF(1, 2));
    client_read(10, 1);
    CU_ASSERT_EQUAL(reply_of(10), -ERR_NOT_SYNCED);
    client_write(11, 1, 1, CREATE);
    CU_ASSERT_EQUAL(reply_of(11), -ERR_NOT_SYNCED);
}

/* The state in memory is bounded: refused while all of it is busy. */
static void memory_is_bounded(void)
{
    struct chain_options options;
    core_options(&options);
    options.chunks_max = 1;
    options.chunk_pending_max = 2;
    core_start_with(&options);
    view(1, 2, CHAIN_OF(1, 2));
    peer_op(10, 1, 1, CHAIN_WRITE, 1, 0);
    struct msg_chain_op m = {.id = chunk_b,
                             .shard = {COPIES, SHARD, 1},
                             .sender = 1,
                             .kind = CHAIN_WRITE,
                             .version_epoch = 1,
                             .version_seq = 1};
    struct chain_event event = {.kind = CHAIN_EVENT_CHAIN_OP, .request = 11};
    event.u.chain_op = &m;
    step(&event);
    CU_ASSERT_EQUAL(reply_of(11), -ERR_BUSY);
    peer_op(12, 1, 1, CHAIN_WRITE, 2, 1);
    peer_op(13, 1, 1, CHAIN_WRITE, 3, 2);
    CU_ASSERT_EQUAL(reply_of(13), -ERR_BUSY);
}

/* Ranges and sizes from outside are checked before they are used. */
static void malformed_requests_are_refused(void)
{
    struct chain_options options;
    core_options(&options);
    options.simulated = false;
    core_start_with(&options);
    view(1, 1, CHAIN_OF(2));
    client_write(10, 1, 1, CREATE); /* without its bytes */
    CU_ASSERT_EQUAL(reply_of(10), -ERR_INVALID);
    struct msg_chunk_read m = {.id = chunk_a,
                               .shard = {COPIES, SHARD, 1},
                               .offset = CHUNK_SIZE - BLOCK_SIZE,
                               .length = UINT32_MAX - BLOCK_SIZE + 1};
    struct chain_event event = {.kind = CHAIN_EVENT_READ, .request = 11};
    event.u.read = &m;
    step(&event);
    CU_ASSERT_EQUAL(reply_of(11), -ERR_INVALID);
    client_change(12, 1, 2, 77);
    CU_ASSERT_EQUAL(reply_of(12), -ERR_INVALID);
}

#define TESTS(T)                             \
    T(head_answers_after_store_and_ack)      \
    T(head_needs_a_lease)                    \
    T(epochs_are_compared)                   \
    T(view_of_an_earlier_process_is_ignored) \
    T(missing_chunk_is_lost)                 \
    T(full_head_refuses)                     \
    T(writes_are_pipelined_in_order)         \
    T(repeated_operation_is_applied_once)    \
    T(replica_refuses_a_gap)                 \
    T(gap_is_resent_then_reported)           \
    T(broken_connection_is_resent)           \
    T(silent_successor_is_reported)          \
    T(new_epoch_completes_what_is_under_way) \
    T(next_member_becomes_head)              \
    T(lost_place_gives_back)                 \
    T(fence_delays_the_ack)                  \
    T(sync_waits_for_all)                    \
    T(deleted_chunk_stays_deleted)           \
    T(leader_deletes_locally)                \
    T(failed_store_is_out_of_sync)           \
    T(failed_store_alone_is_an_error)        \
    T(read_waits_for_the_ack)                \
    T(syncing_member_refuses)                \
    T(memory_is_bounded)                     \
    T(malformed_requests_are_refused)

extern CU_TestInfo order_tests[];
CU_TestInfo order_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
