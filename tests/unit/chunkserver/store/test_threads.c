/* Many threads on one target. */
#include "tests/unit/chunkserver/store/suites.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/unit/chunkserver/store/fixture.h"
#include "common/base/banned.h"

enum { WRITERS = 6, ROUNDS = 300, CHUNKS = 90, PIECE = 3 * 4096 };
static atomic_bool finished;
static atomic_uint failures;

/* Whole pieces of one byte value: a read that mixes two writes shows two values. */
static void *writer(void *argument)
{
    struct prng p;
    uint8_t data[PIECE], back[PIECE];
    prng_init(&p, (uint64_t)(uintptr_t)argument);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        uint64_t inode = prng_below(&p, CHUNKS);
        struct chunk_id id = id_of(inode);
        uint32_t crcs[3];
        struct store_read r = {.size = 0};
        memset(data, (int)prng_between(&p, 1, 255), sizeof data);
        unsigned what = (unsigned)prng_below(&p, 10);
        if (what < 5)
            failures += put(inode, 0, data, sizeof data, round) != 0;
        else if (what == 5)
            failures += put_sync(inode, 0, data, sizeof data, round) != 0;
        int status = store_read(f.store, &id, 0, PIECE, STORE_READ_VERIFY, back, crcs, &r, NULL);
        failures += status != 0 && status != -ERR_LOST_CHUNK;
        for (uint32_t i = 1; status == 0 && i < r.size; i++)
            failures += back[i] != back[0];
        if (what == 9)
            (void)store_delete(f.store, &id, false);
    }
    return NULL;
}

static void *housekeeper(void *argument)
{
    struct store_cursor cursor;
    struct store_entry entries[8];
    uint32_t count;
    (void)argument;
    for (uint64_t now_ms = 0; !atomic_load(&finished); now_ms += 7000) {
        failures += store_sync_some(f.store, now_ms) != 0;
        memset(&cursor, 0, sizeof cursor);
        do
            failures += store_list_all(f.store, &cursor, entries, 8, &count) != 0;
        while (count > 0);
    }
    return NULL;
}

/* Writers, readers, deletes, flushes, checkpoints and listings at the same time, with more chunks
 * than the cache holds: no read is mixed or fails its CRC, and nothing is left inconsistent. */
static void all_at_once(void)
{
    pthread_t threads[WRITERS], keeper;
    uint64_t seed = test_seed() & 0xffffff;
    atomic_store(&finished, false);
    atomic_store(&failures, 0);
    CHECK(pthread_create(&keeper, NULL, housekeeper, NULL) == 0);
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&threads[i], NULL, writer, (void *)(seed + i)) == 0);
    for (int i = 0; i < WRITERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    atomic_store(&finished, true);
    CHECK(pthread_join(keeper, NULL) == 0);
    CU_ASSERT_EQUAL(atomic_load(&failures), 0);
    CU_ASSERT_EQUAL(check_faults(true), 0);
    reopen_killed();
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

#define TESTS(T) T(all_at_once)
CU_TestInfo store_thread_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
