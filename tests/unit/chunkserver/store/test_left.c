/* What a target holds of each shard. */
#include "tests/unit/chunkserver/store/suites.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/unit/chunkserver/store/fixture.h"
#include "common/base/banned.h"

static uint8_t data[4 * BLOCK_SIZE];

static int put_in(uint32_t shard, uint64_t inode, uint32_t size)
{
    struct store_write w = {.id = id_of(inode),
                            .shard = shard,
                            .copies = COPIES,
                            .flags = STORE_WRITE_CREATE,
                            .version = {1, 1},
                            .data = slice_of(data, size)};
    return store_write(f.store, &w, NULL);
}

static bool holds(uint32_t shard, uint64_t chunks, uint64_t bytes)
{
    struct store_size size = store_shard_size(f.store, COPIES, shard);
    if (size.chunks == chunks && size.bytes == bytes)
        return true;
    printf("# shard %x: %llu chunks, %llu bytes\n", shard, (unsigned long long)size.chunks,
           (unsigned long long)size.bytes);
    return false;
}

/* The size of a shard follows each change at once, and each way of opening counts the same again,
 * whatever the cache still holds: there are more chunks than it has places. */
static void sizes_follow_every_change(void)
{
    enum { CHUNKS = 300 };
    struct chunk_id first = id_of(1), second = id_of(2), third = id_of(3);
    CU_ASSERT_TRUE(holds(SHARD, 0, 0));
    for (uint64_t i = 1; i <= CHUNKS; i++)
        CU_ASSERT_EQUAL(put_in(SHARD + i % 2, i, 1000), 0);
    CU_ASSERT_TRUE(holds(SHARD, CHUNKS / 2, CHUNKS / 2 * 1000));
    CU_ASSERT_TRUE(holds(SHARD + 1, CHUNKS / 2, CHUNKS / 2 * 1000));
    CU_ASSERT_EQUAL(put_in(SHARD, 2, 5000), 0);
    CU_ASSERT_EQUAL(store_truncate(f.store, &first, (struct chunk_version){1, 2}, 10, NULL), 0);
    CU_ASSERT_EQUAL(store_delete(f.store, &third, true), 0);
    CU_ASSERT_EQUAL(store_delete(f.store, &third, true), -ERR_LOST_CHUNK);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(holds(SHARD, CHUNKS / 2, (CHUNKS / 2 - 1) * 1000 + 5000));
        CU_ASSERT_TRUE(holds(SHARD + 1, CHUNKS / 2 - 1, (CHUNKS / 2 - 2) * 1000 + 10));
        CU_ASSERT_TRUE(holds(SHARD + 2, 0, 0));
        CU_ASSERT_EQUAL(check_faults(false), 0);
        if (i == 0)
            reopen_clean();
        else if (i == 1)
            reopen_killed();
        else
            reopen_scanned();
    }
    struct store_shard at = {.copies = 0};
    CU_ASSERT_TRUE(store_next_shard(f.store, &at));
    CU_ASSERT_TRUE(at.copies == COPIES && at.shard == SHARD && at.size.chunks == CHUNKS / 2);
    CU_ASSERT_TRUE(store_next_shard(f.store, &at));
    CU_ASSERT_TRUE(at.copies == COPIES && at.shard == SHARD + 1);
    CU_ASSERT_FALSE(store_next_shard(f.store, &at));
    CU_ASSERT_EQUAL(store_delete(f.store, &second, false), 0);
    CU_ASSERT_TRUE(holds(SHARD, CHUNKS / 2 - 1, (CHUNKS / 2 - 1) * 1000));
    CU_ASSERT_EQUAL(store_shard_size(f.store, 0, SHARD).chunks, 0);
    CU_ASSERT_EQUAL(store_shard_size(f.store, 255, SHARD).chunks, 0);
    CU_ASSERT_EQUAL(store_shard_size(f.store, COPIES, STORE_SHARD_MAX + 1).chunks, 0);
}

static unsigned trash_count(void)
{
    char path[400];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%s/trash", f.path);
    DIR *folder = opendir(path);
    for (struct dirent *d; folder && (d = readdir(folder));)
        count += d->d_name[0] != '.';
    if (folder)
        (void)closedir(folder);
    return count;
}

/* A shard is removed a part at a time, with damaged, suspect and vanished files, through kills and
 * power cuts in between; nothing of the shard beside it goes, and `stop` is obeyed. */
static void shard_is_removed_in_parts(void)
{
    enum { CHUNKS = 700 };
    atomic_bool stop = false;
    uint32_t count;
    char path[400];
    for (uint64_t i = 1; i <= CHUNKS; i++)
        CU_ASSERT_EQUAL(put_in(SHARD, i, 100), 0);
    for (uint64_t i = 1; i <= 10; i++)
        CU_ASSERT_EQUAL(put_in(SHARD + 1, CHUNKS + i, 100), 0);
    damage(5, 0, 0xff);
    file_of(6, path);
    CU_ASSERT_EQUAL(unlink(path), 0);
    reopen_killed();
    CU_ASSERT_TRUE(suspect_count() > 0);
    CU_ASSERT_EQUAL(store_remove_some(f.store, COPIES, SHARD, 100, &stop, &count), 0);
    CU_ASSERT_EQUAL(count, 100);
    stop = true;
    CU_ASSERT_EQUAL(store_remove_some(f.store, COPIES, SHARD, 100, &stop, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    stop = false;
    reopen_killed();
    CU_ASSERT_EQUAL(check_faults(true), 0);
    CU_ASSERT_EQUAL(store_remove_some(f.store, COPIES, SHARD, 256, &stop, &count), 0);
    CU_ASSERT_EQUAL(count, 256);
    reopen_scanned();
    CU_ASSERT_EQUAL(check_faults(true), 0);
    do {
        CU_ASSERT_EQUAL(store_remove_some(f.store, COPIES, SHARD, 256, &stop, &count), 0);
    } while (count > 0);
    CU_ASSERT_TRUE(holds(SHARD, 0, 0));
    CU_ASSERT_TRUE(holds(SHARD + 1, 10, 1000));
    CU_ASSERT_EQUAL(trash_count(), CHUNKS - 1);
    reopen_clean();
    CU_ASSERT_TRUE(holds(SHARD, 0, 0));
    CU_ASSERT_EQUAL(check_faults(true), 0);
    CU_ASSERT_EQUAL(suspect_count(), 10); /* of the other shard */
}

#define TESTS(T)                 \
    T(sizes_follow_every_change) \
    T(shard_is_removed_in_parts)
CU_TestInfo store_left_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
