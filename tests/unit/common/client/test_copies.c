/* Numbers of copies: a file's chunks are copied into another table and switched; readers go on. */
#include <string.h>

#include "tests/unit/common/client/data_fixture.h"

static const struct client_caller root;

static uint8_t copies_told;

static void on_copies(void *arg, int status, const struct wire_attr *attr, const char *detail)
{
    CU_ASSERT_PTR_NOT_NULL(detail);
    CU_ASSERT_EQUAL(attr != NULL, status == 0);
    copies_told = attr ? attr->copies : 0;
    data_on_done(arg, status);
}

static int set_copies(uint64_t inode, uint8_t copies)
{
    data_begin();
    client_set_copies(df.client, &root, inode, copies, on_copies, NULL);
    return data_wait();
}

/* Two chunks with a hole between them, and one that is not full. */
static void write_parts(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 5000, 1), 0);
    CU_ASSERT_EQUAL(data_write(CHUNK_SIZE + 4096, 3000000, 2), 0);
    CU_ASSERT_EQUAL(data_write((uint64_t)3 * CHUNK_SIZE, 100, 3), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
}

static void expect_parts(void)
{
    CU_ASSERT_EQUAL(data_read(0, 1 << 20), 0);
    CU_ASSERT(data_is_pattern(0, 5000, 1));
    CU_ASSERT(data_is_zero(5000, (1 << 20) - 5000));
    CU_ASSERT_EQUAL(data_read(CHUNK_SIZE, 4 << 20), 0);
    CU_ASSERT(data_is_zero(0, 4096));
    CU_ASSERT(data_is_pattern(4096, 3000000, 2));
    CU_ASSERT_EQUAL(data_read((uint64_t)3 * CHUNK_SIZE, 4096), 0);
    CU_ASSERT_EQUAL(df.read_size, 100);
    CU_ASSERT(data_is_pattern(0, 100, 3));
}

/* All chunks are stable in the other table before the switch; whoever has the file open with the
 * old chunk map reads the new chunks when the old ones are gone; so again and again. */
static void moves_are_read_through(void)
{
    write_parts();
    client_release(df.handle);
    data_open(2);
    expect_parts();
    for (unsigned round = 0; round < 4; round++) {
        uint8_t copies = round % 2 ? 2 : 3;
        CU_ASSERT_EQUAL(set_copies(2, copies), 0);
        CU_ASSERT_EQUAL(copies_told, copies);
        expect_parts();
    }
    CU_ASSERT_EQUAL(df.cluster->moves, 4);
    CU_ASSERT_EQUAL(df.cluster->move_unsynced, 0);
    struct client_places places;
    client_places(df.handle, &places);
    CU_ASSERT(places.copies == 2 && places.copies_now == 2 && places.chunk_count == 3);
    CU_ASSERT(places.server_count >= 2 && places.server_count <= 3);
    CU_ASSERT_EQUAL(data_write(0, 4096, 9), 0); /* a writer of afterwards */
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(set_copies(2, 3), 0);
    CU_ASSERT_EQUAL(data_read(0, 4096), 0);
    CU_ASSERT(data_is_pattern(0, 4096, 9));
    client_release(df.handle);
}

/* A chunk of which nothing is below the end of the file, or nothing but zeros, exists as before. */
static void empty_chunks_are_moved(void)
{
    data_create("a");
    CU_ASSERT_EQUAL(data_write(0, 8192, 1), 0);
    CU_ASSERT_EQUAL(data_write(CHUNK_SIZE, 8192, 1), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    df.cluster->files[2].size = 4096; /* as after a write that failed in front of the second one */
    df.cluster->files[2].version = ++df.cluster->index;
    client_release(df.handle);
    data_sleep_ms(50);
    data_open(2);
    CU_ASSERT_EQUAL(set_copies(2, 3), 0);
    CU_ASSERT_EQUAL(df.cluster->move_unsynced, 0);
    CU_ASSERT_EQUAL(data_truncate(CHUNK_SIZE + 4096), 0);
    CU_ASSERT_EQUAL(data_read(0, 4096), 0);
    CU_ASSERT(data_is_pattern(0, 4096, 1));
    CU_ASSERT_EQUAL(data_read(CHUNK_SIZE, 4096), 0);
    CU_ASSERT_EQUAL(df.read_size, 4096);
    CU_ASSERT(data_is_zero(0, 4096));
    client_release(df.handle);
}

/* Who writes wins: the move is called off, nothing has changed, and the next one is another. */
static void writers_call_moves_off(void)
{
    write_parts();
    df.cluster->moves_disturbed = 1;
    CU_ASSERT_EQUAL(set_copies(2, 3), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(df.cluster->files[2].copies, 2);
    expect_parts();
    CU_ASSERT_EQUAL(set_copies(2, 3), 0);
    expect_parts();
    client_release(df.handle);
}

/* D12: a writer of whom the leader did not know (its session was lost) wrote to chunks that are
 * garbage: it is told, also when it met the new ones before its commit; what it writes then is
 * right. */
static void unknown_writers_are_told(void)
{
    write_parts();
    for (unsigned round = 0; round < 2; round++) {
        df.cluster->keep_garbage = true;
        CU_ASSERT_EQUAL(set_copies(2, round ? 2 : 3), 0);
        CU_ASSERT_EQUAL(data_write(0, 4096, 8), 0);
        if (round == 1) {
            data_begin();
            file_refresh(df.handle->file, data_on_done, NULL);
            CU_ASSERT_EQUAL(data_wait(), 0);
        }
        CU_ASSERT_EQUAL(data_flush(), -ERR_STALE_HANDLE);
        data_sleep_ms(50);
        df.cluster->keep_garbage = false;
        CU_ASSERT_EQUAL(data_write(0, 4096, 20 + round), 0);
        CU_ASSERT_EQUAL(data_flush(), 0);
        client_release(df.handle);
        data_sleep_ms(50);
        data_open(2);
        CU_ASSERT_EQUAL(data_read(0, 4096), 0);
        CU_ASSERT(data_is_pattern(0, 4096, 20 + round));
    }
    client_release(df.handle);
}

/* Faults on the way are tried again; an error that stays calls the move off. */
static void faults_are_survived(void)
{
    write_parts();
    df.cluster->fault_per_mille = 200;
    df.cluster->delay_ms = 3;
    CU_ASSERT_EQUAL(set_copies(2, 3), 0);
    df.cluster->fault_per_mille = 0;
    CU_ASSERT_EQUAL(df.cluster->move_unsynced, 0);
    CU_ASSERT_EQUAL(df.cluster->crc_wrong, 0);
    expect_parts();
    for (unsigned i = 0; i < FAKE_TARGETS; i++) {
        df.cluster->target[i].fail_status = -ERR_NO_SPACE;
        df.cluster->target[i].fail_count = 1;
    }
    CU_ASSERT_EQUAL(set_copies(2, 2), -ERR_NO_SPACE);
    for (unsigned i = 0; i < FAKE_TARGETS; i++)
        df.cluster->target[i].fail_count = 0;
    expect_parts();
    client_release(df.handle);
}

/* A file without data changes at once; what is written then goes to the new table. */
static void empty_files_change_at_once(void)
{
    data_create("a");
    client_release(df.handle);
    CU_ASSERT_EQUAL(set_copies(2, 3), 0);
    CU_ASSERT_EQUAL(df.cluster->moves, 0);
    CHECK(shard_table_form(&df.cluster->table, ++df.cluster->index, 3) == 0);
    data_open(2);
    CU_ASSERT_EQUAL(data_write(0, 4096, 1), 0);
    CU_ASSERT_EQUAL(data_flush(), 0);
    CU_ASSERT_EQUAL(df.cluster->chunks[0].copies, 3);
    client_release(df.handle);
}

static void count_call(void *arg, int status, const struct wire_attr *attr, const char *detail)
{
    (void)status, (void)attr, (void)detail;
    ++*(unsigned *)arg;
}

static unsigned calls;

/* A client that is closed in the middle of moves ends them (what is under way is seen by ASan). */
static void closing_ends_moves(void)
{
    write_parts();
    calls = 0;
    df.cluster->hold = true;
    client_set_copies(df.client, &root, 2, 3, count_call, &calls);
    data_sleep_ms(100);
    client_set_copies(df.client, &root, 2, 3, count_call, &calls);
    CU_ASSERT_EQUAL(calls, 0);
    client_release(df.handle);
}

#define TESTS(T)                  \
    T(moves_are_read_through)     \
    T(empty_chunks_are_moved)     \
    T(writers_call_moves_off)     \
    T(unknown_writers_are_told)   \
    T(faults_are_survived)        \
    T(empty_files_change_at_once) \
    T(closing_ends_moves)

CU_TestInfo tests_copies[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
