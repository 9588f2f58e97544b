/* A server and its leader: lease, registration, terms, delete batches, goodbye. */
#include <stdlib.h>

#include "chunkserver/private.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

static const struct chunk_id id = {42, 0, 1};

/* Registration gives the id, heartbeats carry it, and the lease is shorter than what the leader
 * gave by the time the answer took: it is counted from sending. */
static void lease_counts_from_sending(void)
{
    cluster_start(1, 1);
    struct chunkserver *cs = f.servers[0];
    CU_ASSERT_EQUAL(chunkserver_target(cs), 1);
    CU_ASSERT_EQUAL(f.leader.last[1].incarnation, cs->info.incarnation);
    CU_ASSERT_TRUE(cs->heartbeat.lease.expires_ms <= clock_now_ms() + f.leader.lease_ms);
    int64_t first = cs->heartbeat.lease.expires_ms;
    run_ms(700);
    CU_ASSERT_TRUE(cs->heartbeat.lease.expires_ms >= first + HEARTBEAT_MS);
}

static bool has_lost_lease(void)
{
    return !chunkserver_has_lease(f.servers[0]);
}

/* D2: without answers the lease runs out in its own time, reads are refused, and it comes back with
 * the leader. */
static void silence_ends_the_lease(void)
{
    struct answer a;
    cluster_start(1, 1);
    CU_ASSERT_EQUAL(client_write(0, &id, 0, 0, "abc", 3, CHUNK_WRITE_CREATE), 0);
    f.leader.mute = true;
    uint64_t from_ms = loop_now_ms();
    CU_ASSERT_TRUE(run_until(has_lost_lease, 3000));
    CU_ASSERT_TRUE(loop_now_ms() - from_ms <= f.leader.lease_ms + 50);
    CU_ASSERT_EQUAL(client_read(0, &id, 0, 0, BLOCK_SIZE, &a), -ERR_NO_LEASE);
    leader_unmute();
    CU_ASSERT_TRUE(run_until(all_have_lease, 5000));
    run_until(all_insync, 2000);
    CU_ASSERT_EQUAL(client_read(0, &id, 0, 0, BLOCK_SIZE, &a), 0);
    CU_ASSERT_EQUAL(a.chunk_length, 3);
    free(a.bytes);
}

static const struct target *first_target(void)
{
    return shard_table_target(&f.leader.table, chunkserver_target(f.servers[0]));
}

static bool is_given_up(void)
{
    return first_target()->state == TARGET_DOWN;
}

static bool is_up_again(void)
{
    return first_target()->state == TARGET_UP;
}

/* D2: who was given up, and is taken back as the same process, has lost its place: it gets no lease
 * before it has the table that says so. Its old one would let it serve what is stale by now. */
static void lease_waits_for_the_table(void)
{
    struct answer a;
    cluster_start(2, 2);
    f.leader.mute_target = chunkserver_target(f.servers[0]);
    CU_ASSERT_TRUE_FATAL(run_until(is_given_up, 5000));
    f.leader.table_mute = true;
    struct wire_shardref old = {2, 0, f.servers[0]->table.shards[2][0].epoch};
    f.leader.mute_target = 0;
    CU_ASSERT_TRUE_FATAL(run_until(is_up_again, 5000));
    run_ms(1200);
    CU_ASSERT_EQUAL(f.servers[0]->table.shards[2][0].epoch, old.epoch);
    CU_ASSERT_FALSE(chunkserver_has_lease(f.servers[0]));
    struct msg_chunk_read m = {.id = id, .shard = old, .length = BLOCK_SIZE};
    struct bytes body = {0};
    encode_chunk_read(&body, &m);
    client_call(0, MSG_chunk_read, &body, NULL, 0, &a);
    CU_ASSERT_EQUAL(a.status, -ERR_NO_LEASE);
    bytes_release(&body);
    f.leader.table_mute = false;
    CU_ASSERT_TRUE(run_until(all_insync, 10000));
}

static unsigned registrations_wanted;
static bool has_registered_again(void)
{
    return f.leader.registrations >= registrations_wanted;
}

/* An answer with lease 0 makes it register again, as the same process with the same id. */
static void registers_again(void)
{
    cluster_start(1, 1);
    registrations_wanted = f.leader.registrations + 1;
    f.leader.lease_ms = 0;
    CU_ASSERT_TRUE(run_until(has_registered_again, 3000));
    f.leader.lease_ms = 1000;
    CU_ASSERT_TRUE(run_until(all_have_lease, 3000));
    CU_ASSERT_EQUAL(chunkserver_target(f.servers[0]), 1);
}

static bool term_is_durable(void)
{
    return store_position(chunkserver_store(f.servers[0])).term == f.leader.term;
}

/* D4: a leader whose term is lower than one this disk has seen gives no lease and deletes nothing,
 * also after a restart. */
static void old_leader_is_refused(void)
{
    cluster_start(1, 1);
    f.leader.term = 9;
    CU_ASSERT_TRUE(run_until(term_is_durable, 3000));
    CU_ASSERT_EQUAL(client_write(0, &id, 0, 0, "abc", 3, CHUNK_WRITE_CREATE), 0);
    server_stop(0);
    f.leader.term = 8;
    f.leader.delete_batch = 3;
    f.leader.deletes[0] = (struct rec_chunk_ref){.id = id, .copies = 1, .shard = 0};
    f.leader.delete_count = 1;
    server_start(0);
    run_ms(1200);
    struct store_entry e;
    CU_ASSERT_FALSE(chunkserver_has_lease(f.servers[0]));
    CU_ASSERT_EQUAL(store_stat(chunkserver_store(f.servers[0]), &id, &e), 0);
}

static bool batch_is_acknowledged(void)
{
    return f.leader.last[1].deleted_batch == f.leader.delete_batch;
}

/* A delete batch is carried out and acknowledged at once, not with the next regular heartbeat; one
 * with a chunk that is not there is too. */
static void deletes_are_acknowledged(void)
{
    cluster_start(1, 1);
    for (uint32_t i = 0; i < 8; i++) {
        struct chunk_id one = {100, i, 1};
        CU_ASSERT_EQUAL(client_write(0, &one, i % SHARDS, 0, "abc", 3, CHUNK_WRITE_CREATE), 0);
        f.leader.deletes[i] = (struct rec_chunk_ref){.id = one, .copies = 1, .shard = i % SHARDS};
    }
    f.leader.deletes[8] = (struct rec_chunk_ref){.id = {7777, 0, 1}, .copies = 1, .shard = 3};
    f.leader.delete_count = 9;
    for (f.leader.delete_batch = 1; f.leader.delete_batch < 4; f.leader.delete_batch++) {
        CU_ASSERT_TRUE(run_until(batch_is_acknowledged, 2000));
    }
    struct store_entry e;
    struct chunk_id one = {100, 3, 1};
    CU_ASSERT_EQUAL(store_stat(chunkserver_store(f.servers[0]), &one, &e), -ERR_LOST_CHUNK);
    CU_ASSERT_EQUAL(client_write(0, &one, 3, 0, "abc", 3, CHUNK_WRITE_CREATE), -ERR_STALE_HANDLE);
}

/* A stop says goodbye once and leaves the store clean. */
static void stop_says_goodbye(void)
{
    cluster_start(2, 2);
    server_stop(0);
    CU_ASSERT_EQUAL(f.ends[0], CHUNKSERVER_STOPPED);
    CU_ASSERT_EQUAL(f.leader.goodbyes, 1);
    server_start(0);
    CU_ASSERT_EQUAL(f.servers[0]->info.start, STORE_START_CLEAN);
    CU_ASSERT_TRUE(run_until(all_insync, 10000));
}

static bool first_has_ended(void)
{
    return f.ended[0];
}

/* A disk that has failed: the leader is told, then the server ends. */
static void failed_disk_is_told(void)
{
    cluster_start(1, 1);
    heartbeat_fail(f.servers[0]);
    CU_ASSERT_TRUE(run_until(first_has_ended, 3000));
    CU_ASSERT_EQUAL(f.ends[0], CHUNKSERVER_FAILED);
    CU_ASSERT_EQUAL(f.leader.last[1].failed, 1);
}

#define TESTS(T)                 \
    T(lease_counts_from_sending) \
    T(silence_ends_the_lease)    \
    T(lease_waits_for_the_table) \
    T(registers_again)           \
    T(old_leader_is_refused)     \
    T(deletes_are_acknowledged)  \
    T(failed_disk_is_told)       \
    T(stop_says_goodbye)
CU_TestInfo life_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
