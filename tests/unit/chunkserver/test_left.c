/* Shards that go to another target: their sizes, and what is done with what stays behind. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "chunkserver/private.h"
#include "tests/unit/chunkserver/hold.h"
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

static bool nothing_is_left(void)
{
    return held_by(giver, MOVED).chunks == 0 && told_by(giver)->left_chunks == 0;
}

static unsigned trash_count(unsigned server)
{
    char path[128];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/c%u/trash", f.folder, server + 1);
    DIR *folder = opendir(path);
    for (struct dirent *d; folder && (d = readdir(folder));)
        count += d->d_name[0] != '.';
    if (folder)
        (void)closedir(folder);
    return count;
}

static bool equal_at(unsigned a, unsigned b)
{
    bool equal = true;
    for (uint32_t i = 0; i < CHUNKS && equal; i++) {
        struct chunk_id id = {50, i, 1};
        equal = copies_equal(a, b, &id);
    }
    return equal;
}

static bool readable_at(unsigned server)
{
    bool good = true;
    for (uint32_t i = 0; i < CHUNKS && good; i++) {
        struct chunk_id id = {50, i, 1};
        struct answer a;
        good = client_read(server, &id, MOVED, 0, 5 * BLOCK_SIZE, &a) == 0 &&
               a.chunk_length == SIZE - i;
        free(a.bytes);
    }
    return good;
}

/* D4: what has left goes into the quarantine when its time has come, all of it, and nothing else
 * does; the target says 0 then. */
static void what_has_left_is_removed(void)
{
    f.left_grace_ms = 700;
    cluster_start(2, 1);
    CU_ASSERT_EQUAL(chunks_write(MOVED, 50, CHUNKS), 0);
    unsigned other = MOVED == 0 ? 1 : 0; /* a shard that stays */
    while (member_at(other, 0) != member_at(MOVED, 0) && other + 1 < SHARDS)
        other++;
    CU_ASSERT_EQUAL(chunks_write(other, 60, 3), 0);
    shard_moves();
    CU_ASSERT_EQUAL(held_by(giver, MOVED).chunks, CHUNKS);
    CU_ASSERT_TRUE(run_until(nothing_is_left, 20000));
    CU_ASSERT_EQUAL(trash_count(giver), CHUNKS);
    CU_ASSERT_EQUAL(trash_count(taker), 0);
    CU_ASSERT_TRUE(readable_at(taker));
    CU_ASSERT_EQUAL(held_by(member_at(other, 0), other).chunks, 3);
    struct store_report report;
    CU_ASSERT_EQUAL(store_check(chunkserver_store(f.servers[giver]), true, NULL, NULL, &report), 0);
    CU_ASSERT_EQUAL(report.fault_count, 0);
}

static unsigned away, away_target;
static bool away_is_offline(void)
{
    const struct shard *s = moved_shard();
    for (unsigned i = 0; i < f.leader.copies; i++)
        if (s->slot[i].target == away_target && s->slot[i].state == SLOT_OFFLINE)
            return f.servers[giver]->table.version == f.leader.table.version;
    return false;
}

static bool giver_is_out(void)
{
    enum slot_state state;
    return moved_shard()->move.incoming == 0 &&
           !shard_has_member(moved_shard(), f.leader.copies, chunkserver_target(f.servers[giver]),
                             &state) &&
           f.servers[giver]->table.version == f.leader.table.version;
}

/* D4: while a copy of the shard is missing nothing is removed, and as soon as it is there again
 * all is. It dies after the move: a target does not leave a shard that lacks a copy. */
static void nothing_goes_while_a_copy_is_missing(void)
{
    f.left_grace_ms = 6000;
    cluster_start(3, 2);
    CU_ASSERT_EQUAL(chunks_write(MOVED, 50, CHUNKS), 0);
    giver = member_at(MOVED, 0);
    away = member_at(MOVED, 1);
    taker = 3 - giver - away;
    away_target = chunkserver_target(f.servers[away]);
    CU_ASSERT_TRUE_FATAL(move(giver, taker));
    CU_ASSERT_TRUE_FATAL(run_until(giver_is_out, 20000));
    server_kill(away);
    CU_ASSERT_TRUE_FATAL(run_until(away_is_offline, 10000));
    run_ms(f.left_grace_ms + 2500);
    CU_ASSERT_EQUAL(held_by(giver, MOVED).chunks, CHUNKS);
    server_start(away);
    CU_ASSERT_TRUE_FATAL(run_until(has_moved, 20000));
    CU_ASSERT_TRUE(run_until(nothing_is_left, 20000));
    CU_ASSERT_TRUE(equal_at(away, taker));
}

static bool position_is_ahead(void)
{
    struct store_position seen = store_position(chunkserver_store(f.servers[giver]));
    return seen.term == f.leader.term && seen.index > f.leader.table.version;
}

/* D4: a leader whose position is behind one that this disk has seen removes nothing, be its term
 * what it may. */
static void leader_that_is_behind_removes_nothing(void)
{
    f.left_grace_ms = 1;
    cluster_start(2, 1);
    CU_ASSERT_EQUAL(chunks_write(MOVED, 50, CHUNKS), 0);
    giver = member_at(MOVED, 0);
    f.leader.index_ahead = 1000;
    f.leader.term++;
    CU_ASSERT_TRUE_FATAL(run_until(position_is_ahead, 5000));
    f.leader.index_ahead = 0;
    f.leader.term++;
    shard_moves();
    run_ms(2500);
    CU_ASSERT_EQUAL(held_by(giver, MOVED).chunks, CHUNKS);
    f.leader.index_ahead = 1000;
    CU_ASSERT_TRUE(run_until(nothing_is_left, 20000));
}

/* ---- a removal that is held up in its middle ---- */

enum { REMOVED = 10 };
static void *held_up;

/* The removal cannot go on at this chunk until it is let go. */
static void hold_up(void)
{
    struct chunk_id id = {50, REMOVED, 1};
    held_up = chunk_hold(chunkserver_store(f.servers[giver]), &id);
}

static void let_go(void)
{
    chunk_release(chunkserver_store(f.servers[giver]), held_up);
}

static bool removal_is_held_up(void)
{
    return held_by(giver, MOVED).chunks == CHUNKS - REMOVED;
}

static void begin_removal(void)
{
    f.left_grace_ms = 1500;
    cluster_start(2, 1);
    CU_ASSERT_EQUAL(chunks_write(MOVED, 50, CHUNKS), 0);
    shard_moves();
    hold_up();
    CU_ASSERT_TRUE_FATAL(run_until(removal_is_held_up, 20000));
}

static bool is_syncing_back(void)
{
    return store_shard_size(chunkserver_store(f.servers[giver]), 1, MOVED).chunks == CHUNKS;
}

/* D14: the shard comes back in the middle of its removal: the new table waits until that has
 * stopped, so that nothing vanishes that the resync has found; what is missing is copied. */
static void returning_shard_keeps_its_files(void)
{
    begin_removal();
    CU_ASSERT_TRUE_FATAL(move(taker, giver));
    run_ms(1500);
    CU_ASSERT_TRUE(f.servers[taker]->table.version == f.leader.table.version);
    CU_ASSERT_TRUE(f.servers[giver]->table.version < f.leader.table.version);
    let_go();
    CU_ASSERT_TRUE_FATAL(run_until(has_moved, 20000));
    CU_ASSERT_TRUE(run_until(is_syncing_back, 1000));
    run_ms(300);
    CU_ASSERT_EQUAL(held_by(giver, MOVED).chunks, CHUNKS);
    CU_ASSERT_TRUE(readable_at(giver));
    CU_ASSERT_TRUE(trash_count(giver) <= REMOVED + 1);
}

static bool removal_has_stopped(void)
{
    return !f.servers[giver]->left.running;
}

/* A process that dies in the middle: the next one goes on. */
static void restart_goes_on(void)
{
    begin_removal();
    atomic_store(&f.servers[giver]->left.stop, true);
    let_go();
    CU_ASSERT_TRUE_FATAL(run_until(removal_has_stopped, 5000));
    CU_ASSERT_EQUAL(held_by(giver, MOVED).chunks, CHUNKS - REMOVED - 1);
    server_kill(giver);
    server_start(giver);
    CU_ASSERT_EQUAL(f.servers[giver]->info.start, STORE_START_KILLED);
    CU_ASSERT_EQUAL(held_by(giver, MOVED).chunks, CHUNKS - REMOVED - 1);
    CU_ASSERT_TRUE_FATAL(run_until(has_moved, 20000));
    CU_ASSERT_TRUE(run_until(nothing_is_left, 20000));
    CU_ASSERT_EQUAL(trash_count(giver), CHUNKS);
}

#define TESTS(T)                             \
    T(sizes_are_told)                        \
    T(what_has_left_is_removed)              \
    T(nothing_goes_while_a_copy_is_missing)  \
    T(leader_that_is_behind_removes_nothing) \
    T(returning_shard_keeps_its_files)       \
    T(restart_goes_on)
CU_TestInfo left_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
