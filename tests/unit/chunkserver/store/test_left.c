/* What a target holds of each shard. */
#include "tests/unit/chunkserver/store/suites.h"

#include <stdio.h>
#include <string.h>

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

#define TESTS(T) T(sizes_follow_every_change)
CU_TestInfo store_left_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
