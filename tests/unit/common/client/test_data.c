/* The data path without faults: cost of operations, contents, order. */
#include <string.h>

#include "tests/unit/common/client/data_fixture.h"

static const struct client_caller root;

/* A new small file costs one chunk write and one commit, a new big one no more than one write per
 * MiB and one commit. */
static void small_file_costs_two_rpcs(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 5000, 1), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(df.cluster->writes, 1);
    CU_ASSERT_EQUAL(df.cluster->commits, 1);
    CU_ASSERT_EQUAL(df.cluster->changes, 0);
    CU_ASSERT_FALSE(client_handle_dirty(df.handle));
    CU_ASSERT_EQUAL(data_read(0, 10000), 0);
    CU_ASSERT_EQUAL(df.read_size, 5000);
    CU_ASSERT(data_is_pattern(0, 5000, 1));
    CU_ASSERT_EQUAL(df.cluster->files[2].size, 5000);
    client_release(df.handle);
}

/* 4 KiB writes of a stream leave as 1 MiB requests. */
static void small_writes_are_gathered(void)
{
    data_create("a");
    for (unsigned i = 0; i < 1024; i++)
        CU_ASSERT_EQUAL(data_write(i * 4096, 4096, i), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(df.cluster->writes, 4);
    CU_ASSERT_EQUAL(df.cluster->commits, 1);
    CU_ASSERT_EQUAL(data_read(0, 4 << 20), 0);
    for (unsigned i = 0; i < 1024; i += 37)
        CU_ASSERT(data_is_pattern(i * 4096, 4096, i));
    client_release(df.handle);
}

/* fsync of one dirty run is a write with SYNC and a commit; of more, syncs come before the commit
 * (P1). */
static void fsync_syncs_before_it_commits(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(CHUNK_SIZE - 8192, 4096, 1), 0);
    CU_ASSERT_EQUAL(data_fsync(), 0);
    CU_ASSERT_EQUAL(df.cluster->writes, 1);
    CU_ASSERT_EQUAL(df.cluster->changes, 0);
    CU_ASSERT_EQUAL(df.cluster->syncs, 1);
    CU_ASSERT_EQUAL(df.cluster->commits, 1);
    df.cluster->delay_ms = 10;
    CU_ASSERT_EQUAL(data_write(CHUNK_SIZE - 8192, 4096, 2), 0);
    CU_ASSERT_EQUAL(data_write(CHUNK_SIZE - 4096, 3 << 20, 1), 0);
    CU_ASSERT_EQUAL(data_fsync(), 0);
    CU_ASSERT_EQUAL(df.cluster->commit_unsynced, 0);
    CU_ASSERT_EQUAL(df.cluster->commit_early, 0);
    CU_ASSERT_EQUAL(df.cluster->changes, 2);
    CU_ASSERT_EQUAL(data_fsync(), 0); /* nothing new: nothing sent */
    CU_ASSERT_EQUAL(df.cluster->changes, 2);
    CU_ASSERT_EQUAL(df.cluster->commits, 2);
    client_release(df.handle);
}

/* fsync through a later open makes stable what an earlier one wrote (P1: `cp; sync FILE`). */
static void fsync_after_reopen_syncs(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 4096, 1), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    client_release(df.handle);
    data_open(2);
    CU_ASSERT_EQUAL(df.cluster->syncs, 0);
    CU_ASSERT_EQUAL(data_fsync(), 0);
    CU_ASSERT_EQUAL(df.cluster->syncs, 1);
    CU_ASSERT_EQUAL(data_fsync(), 0);
    CU_ASSERT_EQUAL(df.cluster->syncs, 1);
    client_release(df.handle);
}

/* Reads see unsent data over stored data over holes. */
static void reads_see_unsent_writes(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 100000, 1), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(data_write(5000, 3000, 2), 0);
    CU_ASSERT_EQUAL(data_write(150000, 3000, 3), 0);
    CU_ASSERT_EQUAL(data_read(5000, 3000), 0);
    CU_ASSERT(data_is_pattern(0, 3000, 2));
    CU_ASSERT_EQUAL(data_read(0, 1 << 20), 0);
    CU_ASSERT_EQUAL(df.read_size, 153000);
    CU_ASSERT(data_is_pattern(5000, 3000, 2));
    CU_ASSERT(data_is_zero(100000, 50000));
    CU_ASSERT(data_is_pattern(150000, 3000, 3));
    CU_ASSERT_EQUAL(data_read((uint64_t)3 * CHUNK_SIZE, 4096), 0);
    CU_ASSERT_EQUAL(df.read_size, 0);
    client_release(df.handle);
}

/* Cut and grown again, a file shows zeros where old bytes were (D9). */
static void grown_file_shows_no_old_bytes(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 300000, 1), 0);
    CU_ASSERT_EQUAL(data_truncate(1000), 0);
    CU_ASSERT_EQUAL(data_truncate(200000), 0);
    CU_ASSERT_EQUAL(data_read(0, 1 << 20), 0);
    CU_ASSERT_EQUAL(df.read_size, 200000);
    CU_ASSERT(data_is_pattern(0, 1000, 1));
    CU_ASSERT(data_is_zero(1000, 199000));
    CU_ASSERT_EQUAL(data_truncate(1000), 0);
    CU_ASSERT_EQUAL(data_write(250000, 10, 2), 0); /* a gap inside a window */
    CU_ASSERT_EQUAL(data_truncate(260000), 0);
    CU_ASSERT_EQUAL(data_truncate(1000), 0);
    CU_ASSERT_EQUAL(data_write(5 << 20, 10, 2), 0); /* a gap of its own operation */
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(data_read(0, 4 << 20), 0);
    CU_ASSERT(data_is_zero(1000, (4 << 20) - 1000));
    client_release(df.handle);
}

/* Punched ranges read as zeros and stay so; the size follows the mode. */
static void punched_ranges_are_zeros(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 2 << 20, 1), 0);
    data_begin();
    client_fallocate(df.handle, &root, CLIENT_PUNCH_HOLE, 5000, 100000, data_on_done, NULL);
    CU_ASSERT_EQUAL(data_wait(), 0);
    data_begin();
    client_fallocate(df.handle, &root, CLIENT_ZERO_RANGE, 2000000, 500000, data_on_done, NULL);
    CU_ASSERT_EQUAL(data_wait(), 0);
    CU_ASSERT_EQUAL(data_read(0, 4 << 20), 0);
    CU_ASSERT_EQUAL(df.read_size, 2500000);
    CU_ASSERT(data_is_pattern(0, 5000, 1));
    CU_ASSERT(data_is_zero(5000, 100000));
    CU_ASSERT(data_is_zero(2000000, 500000));
    client_release(df.handle);
}

/* A sequential reader is served by 1 MiB requests made ahead; a random 4 KiB read asks for 4 KiB.
 */
static void sequential_reads_fetch_ahead(void)
{
    enum { SIZE = 16 << 20, PART = 128 << 10 };
    data_create("a");
    for (uint64_t at = 0; at < SIZE; at += 1 << 20)
        CU_ASSERT_EQUAL(data_write(at, 1 << 20, at), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    for (uint64_t at = 0; at < SIZE; at += PART)
        CU_ASSERT_EQUAL(data_read(at, PART), 0);
    CU_ASSERT(df.cluster->reads <= 22);
    unsigned before = df.cluster->reads;
    struct client_counters counters, after;
    client_counters(df.client, &counters);
    for (unsigned i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(data_read((i * 7919 % 4000) * 4096, 4096), 0);
    client_counters(df.client, &after);
    CU_ASSERT(df.cluster->reads - before <= 20);
    CU_ASSERT(after.bytes_read - counters.bytes_read <= 20 * 4096);
    client_release(df.handle);
}

/* The budget holds writers back: never more than the budget and one request per writer is held. */
static void budget_holds_writers_back(void)
{
    data_teardown();
    data_setup_with(4 << 20, 8000);
    df.cluster->hold = true;
    data_create("a");
    for (unsigned i = 0; i < 8; i++) {
        data_begin();
        client_write(df.handle, (uint64_t)i << 20, data_pattern(1 << 20, i), 0, 1 << 20,
                     data_on_done, NULL);
    }
    CU_ASSERT_EQUAL(df.pending, 4);
    df.cluster->hold = false;
    CU_ASSERT_EQUAL(data_wait(), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(data_read(0, 4 << 20), 0);
    CU_ASSERT(data_is_pattern(0, 1 << 20, 0));
    CU_ASSERT(data_is_pattern(3 << 20, 1 << 20, 3));
    client_release(df.handle);
}

/* Data of a writer that stops leaves within a second and is committed within five. */
static void idle_data_leaves(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 4096, 1), 0);
    CU_ASSERT_EQUAL(df.cluster->writes, 0);
    data_sleep_ms(1300);
    CU_ASSERT_EQUAL(df.cluster->writes, 1);
    CU_ASSERT_EQUAL(df.cluster->commits, 0);
    data_sleep_ms(4000);
    CU_ASSERT_EQUAL(df.cluster->commits, 1);
    CU_ASSERT_FALSE(client_handle_dirty(df.handle));
    client_release(df.handle);
}

#define TESTS(T)                     \
    T(small_file_costs_two_rpcs)     \
    T(small_writes_are_gathered)     \
    T(fsync_syncs_before_it_commits) \
    T(fsync_after_reopen_syncs)      \
    T(reads_see_unsent_writes)       \
    T(grown_file_shows_no_old_bytes) \
    T(punched_ranges_are_zeros)      \
    T(sequential_reads_fetch_ahead)  \
    T(budget_holds_writers_back)     \
    T(idle_data_leaves)

CU_TestInfo tests_data[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
