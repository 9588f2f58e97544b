/* The data path with servers that fail: who is asked again, and what becomes an error. */
#include "tests/unit/common/client/data_fixture.h"

static void write_one(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 8192, 1), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
}

/* A bad block is read from another replica, reported and counted (P4). */
static void bad_block_is_read_elsewhere(void)
{
    write_one();
    struct fake_target *a = fake_cluster_member(df.cluster, 2, 0, 0);
    struct fake_target *b = fake_cluster_member(df.cluster, 2, 0, 1);
    a->corrupt = true;
    CU_ASSERT_EQUAL(data_read(0, 8192), 0);
    CU_ASSERT(data_is_pattern(0, 8192, 1));
    a->corrupt = false;
    b->corrupt = true;
    CU_ASSERT_EQUAL(data_read(0, 8192), 0);
    CU_ASSERT(data_is_pattern(0, 8192, 1));
    CU_ASSERT_EQUAL(a->suspects + b->suspects, 1);
    a->corrupt = true;
    CU_ASSERT_EQUAL(data_read(0, 8192), -ERR_CORRUPT);
    data_sleep_ms(20);
    CU_ASSERT_EQUAL(a->suspects + b->suspects, 3);
    struct client_counters counters;
    client_counters(df.client, &counters);
    CU_ASSERT_EQUAL(counters.crc_errors, 3);
    client_release(df.handle);
}

/* A chunk that no replica has is an error, never zeros (D8); unless another client cut the file. */
static void lost_chunk_is_an_error(void)
{
    write_one();
    struct fake_target *a = fake_cluster_member(df.cluster, 2, 0, 0);
    struct fake_target *b = fake_cluster_member(df.cluster, 2, 0, 1);
    a->lost = true;
    CU_ASSERT_EQUAL(data_read(0, 4096), 0);
    b->lost = true;
    CU_ASSERT_EQUAL(data_read(0, 4096), -ERR_LOST_CHUNK);
    a->lost = b->lost = false;
    fake_cluster_cut(df.cluster, 2);
    CU_ASSERT_EQUAL(data_read(0, 4096), 0);
    CU_ASSERT_EQUAL(df.read_size, 0);
    client_release(df.handle);
}

/* A write into a chunk that another client's truncate dropped makes it anew, in the file's present
 * generation (D9). */
static void write_after_a_cut_makes_the_chunk_anew(void)
{
    write_one();
    fake_cluster_cut(df.cluster, 2);
    CU_ASSERT_EQUAL(data_write(4096, 4096, 5), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(df.cluster->files[2].size, 8192);
    CU_ASSERT_EQUAL(df.cluster->slots[2][0].generation, 2);
    CU_ASSERT_EQUAL(data_read(0, 8192), 0);
    CU_ASSERT(data_is_zero(0, 4096));
    CU_ASSERT(data_is_pattern(4096, 4096, 5));
    client_release(df.handle);
}

/* A full store is final, and each handle hears of it once (D11). */
static void full_store_is_told_once(void)
{
    write_one();
    struct client_handle *first = df.handle;
    data_open(2);
    fake_cluster_member(df.cluster, 2, 0, 0)->fail_status = -ERR_NO_SPACE;
    fake_cluster_member(df.cluster, 2, 0, 0)->fail_count = 1;
    CU_ASSERT_EQUAL(data_write(8192, 4096, 2), 0);
    CU_ASSERT_EQUAL(data_flush(), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(df.cluster->files[2].size, 8192); /* nothing is promised behind it */
    client_release(df.handle);
    df.handle = first;
    CU_ASSERT_EQUAL(data_fsync(), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(data_fsync(), 0);
    client_release(df.handle);
}

/* A head that fell silent is replaced by a newer table; the write arrives once. */
static void write_follows_the_new_head(void)
{
    write_one();
    struct fake_target *head = fake_cluster_member(df.cluster, 2, 0, 0);
    head->fail_status = -ERR_NO_LEASE;
    head->fail_count = 1000;
    CU_ASSERT_EQUAL(data_write(0, 4096, 7), 0);
    data_begin();
    client_flush(df.handle, data_on_done, NULL);
    data_sleep_ms(300);
    CU_ASSERT_EQUAL(df.pending, 1);
    fake_cluster_drop_head(df.cluster, 2, 0);
    CU_ASSERT_EQUAL(data_wait(), 0);
    CU_ASSERT_EQUAL(data_read(0, 4096), 0);
    CU_ASSERT(data_is_pattern(0, 4096, 7));
    client_release(df.handle);
}

/* A replica that does not answer is left for another one, once. */
static void silent_replica_is_left(void)
{
    write_one();
    for (unsigned i = 0; i < 2; i++) {
        fake_cluster_member(df.cluster, 2, 0, i)->fail_count = i == 0;
        fake_cluster_member(df.cluster, 2, 0, i)->fail_status = 0;
    }
    CU_ASSERT_EQUAL(data_read(0, 4096), 0);
    CU_ASSERT_EQUAL(data_read(4096, 4096), 0);
    client_release(df.handle);
}

/* With nobody to answer an operation ends at its deadline (P6), and its error is sticky. */
static void deadline_is_kept(void)
{
    data_teardown();
    data_setup_with(0, 1500);
    write_one();
    for (unsigned i = 0; i < FAKE_TARGETS; i++) {
        df.cluster->target[i].fail_status = -ERR_NO_LEASE;
        df.cluster->target[i].fail_count = 100000;
    }
    uint64_t begin = loop_now_ms();
    CU_ASSERT_EQUAL(data_read(0, 4096), -ERR_UNAVAILABLE);
    CU_ASSERT(loop_now_ms() - begin >= 1400 && loop_now_ms() - begin < 2500);
    CU_ASSERT_EQUAL(data_write(0, 4096, 2), 0);
    begin = loop_now_ms();
    CU_ASSERT_EQUAL(data_flush(), -ERR_UNAVAILABLE);
    CU_ASSERT(loop_now_ms() - begin < 2500);
    CU_ASSERT_FALSE(client_handle_dirty(df.handle));
    client_release(df.handle);
    for (unsigned i = 0; i < FAKE_TARGETS; i++)
        df.cluster->target[i].fail_count = 0;
}

/* A killed process closes its file while the flush of its close is still under way: the flush ends
 * in peace. */
static void release_during_a_flush(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 8192, 1), 0);
    data_begin();
    client_flush(df.handle, data_on_done, NULL);
    CU_ASSERT_EQUAL(df.pending, 1);
    client_release(df.handle);
    CU_ASSERT_EQUAL(data_wait(), 0);
    data_open(2);
    CU_ASSERT_EQUAL(data_read(0, 8192), 0);
    CU_ASSERT(data_is_pattern(0, 8192, 1));
    client_release(df.handle);
}

/* Unflushed data of a lost session is an error, not a promise; the file goes on with the next
 * session (D28). */
static void lost_session_drops_data(void)
{
    write_one();
    df.cluster->hold = true;
    CU_ASSERT_EQUAL(data_write(0, 4096, 9), 0);
    data_begin();
    client_flush(df.handle, data_on_done, NULL);
    data_sleep_ms(20);
    session_lost(df.client, df.client->session.id);
    CU_ASSERT_EQUAL(data_wait(), -ERR_IO);
    df.cluster->hold = false;
    data_sleep_ms(50);
    CU_ASSERT_EQUAL(data_write(0, 4096, 10), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(data_read(0, 4096), 0);
    CU_ASSERT(data_is_pattern(0, 4096, 10));
    client_release(df.handle);
}

#define TESTS(T)                              \
    T(bad_block_is_read_elsewhere)            \
    T(lost_chunk_is_an_error)                 \
    T(write_after_a_cut_makes_the_chunk_anew) \
    T(full_store_is_told_once)                \
    T(write_follows_the_new_head)             \
    T(silent_replica_is_left)                 \
    T(deadline_is_kept)                       \
    T(release_during_a_flush)                 \
    T(lost_session_drops_data)

CU_TestInfo tests_data_faults[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
