/* Shards that go to another target: their sizes, and what is done with what stays behind. */
#include <stdio.h>
#include <stdlib.h>

#include "chunkserver/private.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

enum { CHUNKS = 40, SIZE = 20000, MOVED = 3 };
static uint8_t data[SIZE];

static int chunks_write(uint32_t shard, uint64_t inode, unsigned count)
{
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        struct chunk_id id = {inode, i, 1};
        status =
            client_write(member_at(shard, 0), &id, shard, 0, data, SIZE - i, CHUNK_WRITE_CREATE);
    }
    return status;
}

static uint64_t bytes_of(unsigned count)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        bytes += SIZE - i;
    return bytes;
}

static struct store_size held_by(unsigned server, uint32_t shard)
{
    return store_shard_size(chunkserver_store(f.servers[server]), (uint8_t)f.leader.copies, shard);
}

static const struct msg_heartbeat *told_by(unsigned server)
{
    return &f.leader.last[chunkserver_target(f.servers[server])];
}

static const struct shard *moved_shard(void)
{
    return shard_table_shard(&f.leader.table, f.leader.copies, MOVED);
}

static bool move(unsigned from, unsigned to)
{
    struct leader *l = &f.leader;
    return shard_table_move(&l->table, l->table.version + 1, l->copies, MOVED, moved_shard()->epoch,
                            chunkserver_target(f.servers[from]), chunkserver_target(f.servers[to]));
}

static bool has_moved(void)
{
    return moved_shard()->move.incoming == 0 && all_insync();
}

static unsigned giver, taker;

/* The shard goes from `giver` to `taker`, which had nothing of it. */
static void shard_moves(void)
{
    giver = member_at(MOVED, 0);
    taker = 1 - giver;
    CU_ASSERT_TRUE_FATAL(move(giver, taker));
    CU_ASSERT_TRUE_FATAL(run_until(has_moved, 20000));
}

static bool giver_tells_what_it_left(void)
{
    return told_by(giver)->left_chunks == CHUNKS && told_by(taker)->chunk_count == CHUNKS;
}

/* The report of a move carries what was copied; heartbeats tell what is the target's own, and what
 * it holds of shards that have left it. */
static void sizes_are_told(void)
{
    cluster_start(2, 1);
    CU_ASSERT_EQUAL(chunks_write(MOVED, 50, CHUNKS), 0);
    shard_moves();
    CU_ASSERT_EQUAL(f.leader.synced.chunks, CHUNKS);
    CU_ASSERT_EQUAL(f.leader.synced.bytes, bytes_of(CHUNKS));
    CU_ASSERT_TRUE(run_until(giver_tells_what_it_left, 5000));
    CU_ASSERT_EQUAL(told_by(giver)->left_bytes, bytes_of(CHUNKS));
    CU_ASSERT_EQUAL(told_by(giver)->chunk_count, 0);
    CU_ASSERT_EQUAL(told_by(giver)->chunk_bytes, 0);
    CU_ASSERT_EQUAL(told_by(taker)->chunk_bytes, bytes_of(CHUNKS));
    CU_ASSERT_EQUAL(told_by(taker)->left_chunks, 0);
    CU_ASSERT_EQUAL(held_by(taker, MOVED).chunks, CHUNKS);
}

#define TESTS(T) T(sizes_are_told)
CU_TestInfo left_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
