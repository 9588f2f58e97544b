/* Files that the store did not put where they are: an index that is gone, a file from a backup, one
 * in a wrong folder. T13 does the same to whole clusters. */
#include "tests/unit/chunkserver/store/suites.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tests/unit/chunkserver/store/fixture.h"
#include "common/base/banned.h"

enum { SIZE = 2 * BLOCK_SIZE };

static uint8_t old_bytes[SIZE], new_bytes[SIZE], got[SIZE], file[16 * BLOCK_SIZE];

static size_t load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t size = read(fd, file, sizeof file);
    CHECK(size > 0 && close(fd) == 0);
    return (size_t)size;
}

static void save(const char *path, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, file, size) == (ssize_t)size && close(fd) == 0);
}

static bool reads_as(uint64_t inode, const uint8_t *bytes)
{
    struct store_read read;
    return get(inode, 0, SIZE, got, &read, NULL) == 0 && read.size == SIZE &&
           memcmp(got, bytes, SIZE) == 0;
}

static void path_in(uint32_t shard, uint64_t inode, char ret_path[400])
{
    char here[400], folder[16], other[16];
    file_of(inode, here);
    (void)snprintf(folder, sizeof folder, "/%x-%04x/", COPIES, SHARD);
    (void)snprintf(other, sizeof other, "/%x-%04x/", COPIES, shard);
    char *at = strstr(here, folder);
    CHECK(at != NULL);
    (void)snprintf(ret_path, 400, "%.*s%s", (int)(at - here), here, other);
    (void)mkdir(ret_path, 0700);
    (void)snprintf(ret_path, 400, "%.*s%s%s", (int)(at - here), here, other, at + strlen(folder));
}

/* An empty index that is made anew would say that there are no chunks, and a resync would believe
 * it. */
static void an_index_that_is_gone_is_rebuilt(void)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    for (unsigned round = 0; round < 2; round++) {
        fill(new_bytes, SIZE, round + 1);
        CU_ASSERT_EQUAL(put_sync(1, 0, new_bytes, SIZE, round + 1), 0);
        if (round == 0) {
            CU_ASSERT_EQUAL(store_close(f.store), 0);
        } else {
            store_abandon(f.store);
        }
        f.store = NULL;
        for (unsigned i = 0; i < 2; i++) {
            char path[400];
            (void)snprintf(path, sizeof path, "%s/index/%s", f.path, files[i]);
            (void)unlink(path);
        }
        CU_ASSERT_EQUAL_FATAL(open_again(), 0);
        CU_ASSERT_EQUAL(f.info.start, STORE_START_SCANNED);
        CU_ASSERT_TRUE(reads_as(1, new_bytes));
    }
}

/* D2, D19: whole and self-consistent, but older than what the index knows. */
static void a_file_put_back_is_not_read(void)
{
    char path[400];
    struct store_read read;
    struct store_fault fault = {0};
    fill(old_bytes, SIZE, 1);
    fill(new_bytes, SIZE, 2);
    CU_ASSERT_EQUAL(put_sync(1, 0, old_bytes, SIZE, 1), 0);
    file_of(1, path);
    size_t size = load(path);
    CU_ASSERT_EQUAL(put_sync(1, 0, new_bytes, SIZE, 2), 0);
    CU_ASSERT_EQUAL(store_close(f.store), 0);
    f.store = NULL;
    save(path, size);
    CU_ASSERT_EQUAL_FATAL(open_again(), 0);
    CU_ASSERT_EQUAL(get(1, 0, SIZE, got, &read, &fault), -ERR_CORRUPT);
    CU_ASSERT_TRUE(fault.header);
}

/* D14: "chunk already exists" would keep a resync from ever ending. */
static void an_unknown_file_is_put_away(void)
{
    char path[400];
    fill(old_bytes, SIZE, 1);
    fill(new_bytes, SIZE, 2);
    CU_ASSERT_EQUAL(put(1, 0, old_bytes, SIZE, 1), 0);
    file_of(1, path);
    size_t size = load(path);
    file_of(2, path);
    save(path, size);
    CU_ASSERT_EQUAL(put(2, 0, new_bytes, SIZE, 1), 0);
    CU_ASSERT_TRUE(reads_as(2, new_bytes));
    uint32_t count = 0;
    CU_ASSERT_EQUAL(store_trash_purge(f.store, UINT64_MAX, &count), 0);
    CU_ASSERT_EQUAL(count, 1);
}

static void a_file_in_a_wrong_folder_is_put_away(void)
{
    char right[400], wrong[400];
    struct store_cursor cursor = {0};
    struct store_entry e;
    uint32_t count = 1;
    fill(old_bytes, SIZE, 1);
    fill(new_bytes, SIZE, 2);
    CU_ASSERT_EQUAL(put(1, 0, old_bytes, SIZE, 1), 0);
    file_of(1, right);
    for (int step = -1; step <= 1; step += 2) { /* found before and behind the right one */
        path_in((uint32_t)((int)SHARD + step), 1, wrong);
        save(wrong, load(right));
    }
    CU_ASSERT_EQUAL(put(1, 0, new_bytes, SIZE, 2), 0);
    reopen_scanned();
    CU_ASSERT_TRUE(reads_as(1, new_bytes));
    CU_ASSERT_EQUAL(store_list(f.store, COPIES, SHARD + 1, &cursor, &e, 1, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    count = 0;
    CU_ASSERT_EQUAL(store_trash_purge(f.store, UINT64_MAX, &count), 0);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* The index itself names a wrong place: a write that names the right one wins. */
static void a_chunk_is_in_one_shard(void)
{
    struct store_write w = {.id = id_of(1),
                            .shard = SHARD + 1,
                            .copies = COPIES,
                            .flags = STORE_WRITE_CREATE,
                            .version = {1, 1},
                            .data = slice_of(old_bytes, SIZE)};
    struct store_entry e;
    fill(old_bytes, SIZE, 1);
    fill(new_bytes, SIZE, 2);
    CU_ASSERT_EQUAL(store_write(f.store, &w, NULL), 0);
    CU_ASSERT_EQUAL(put(1, 0, new_bytes, SIZE, 1), 0);
    CU_ASSERT_TRUE(reads_as(1, new_bytes));
    CU_ASSERT_EQUAL(store_stat(f.store, &w.id, &e), 0);
    CU_ASSERT_EQUAL(e.shard, SHARD);
    CU_ASSERT_EQUAL(store_shard_size(f.store, COPIES, SHARD + 1).chunks, 0);
    reopen_killed();
    CU_ASSERT_TRUE(reads_as(1, new_bytes));
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

#define TESTS(T)                            \
    T(an_index_that_is_gone_is_rebuilt)     \
    T(a_file_put_back_is_not_read)          \
    T(an_unknown_file_is_put_away)          \
    T(a_file_in_a_wrong_folder_is_put_away) \
    T(a_chunk_is_in_one_shard)
CU_TestInfo store_strays_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
