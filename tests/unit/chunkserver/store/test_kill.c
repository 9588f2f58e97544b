/* A process killed in the middle of its work. */
#define _GNU_SOURCE
#include "tests/unit/chunkserver/store/suites.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tests/unit/chunkserver/store/fixture.h"
#include "common/base/banned.h"

enum { CHUNKS = 5, BLOCKS = 1100, LENGTH = BLOCKS * 4096, OPERATIONS = 20000, ROUNDS = 25 };

/* Each operation fills its range with one byte; begun before the call, done after it. */
struct diary {
    atomic_uint begun, done;
    struct {
        uint32_t chunk, offset, size;
    } operations[OPERATIONS];
};
static uint8_t model[CHUNKS][LENGTH], data[LENGTH], back[4096];

static void child(struct diary *d, uint64_t seed)
{
    struct prng p;
    prng_init(&p, seed);
    if (open_again() != 0)
        _exit(1);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        uint32_t most = prng_chance(&p, 200) ? 600000 : 9000;
        uint32_t offset = (uint32_t)prng_below(&p, LENGTH - 1);
        uint32_t size =
            (uint32_t)prng_between(&p, 1, LENGTH - offset < most ? LENGTH - offset : most);
        uint32_t chunk = (uint32_t)prng_below(&p, CHUNKS);
        d->operations[i].chunk = chunk;
        d->operations[i].offset = offset;
        d->operations[i].size = size;
        atomic_store(&d->begun, i + 1);
        memset(data, (int)(i % 255 + 1), size);
        if (put(chunk, offset, data, size, i + 1) != 0)
            _exit(1);
        atomic_store(&d->done, i + 1);
        if (prng_chance(&p, 20) && store_sync_some(f.store, (uint64_t)i * 2000) != 0)
            _exit(1);
    }
    for (;;)
        pause();
}

static bool in_flight(const struct diary *d, uint32_t chunk, uint32_t block)
{
    unsigned begun = atomic_load(&d->begun), last = begun - 1;
    return begun > atomic_load(&d->done) && d->operations[last].chunk == chunk &&
           block >= d->operations[last].offset / 4096 &&
           block <= (d->operations[last].offset + d->operations[last].size - 1) / 4096;
}

/* The number of blocks that are neither as acknowledged nor excused by the write in flight. */
static unsigned wrong_blocks(const struct diary *d, unsigned *torn)
{
    unsigned wrong = 0;
    for (uint32_t chunk = 0; chunk < CHUNKS; chunk++)
        for (uint32_t b = 0; b < BLOCKS; b++) {
            struct store_read r = {.size = 0};
            struct store_fault fault = {.suspect = false};
            const uint8_t *want = model[chunk] + (size_t)b * 4096;
            int status = get(chunk, b * 4096, 4096, back, &r, &fault);
            if (status == -ERR_LOST_CHUNK || (status == 0 && r.size == 0)) {
                memset(back, 0, sizeof back);
                status = 0;
            }
            bool flying = in_flight(d, chunk, b);
            if (status == -ERR_CORRUPT && flying && fault.suspect)
                *torn += 1;
            else if (status != 0 || (!flying && memcmp(back, want, 4096) != 0))
                wrong++;
        }
    return wrong;
}

/* D5: kill -9 at a random moment. All acknowledged writes are there (the page cache survives), the
 * index agrees with the files, and only the blocks of the one write in flight may fail their CRC,
 * in a chunk that is reported as suspect. */
static void killed_in_the_middle(void)
{
    uint64_t seed = test_seed();
    struct prng p;
    unsigned torn = 0, in_the_middle = 0;
    uint64_t writes = 0;
    struct diary *d =
        mmap(NULL, sizeof *d, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(d != MAP_FAILED);
    prng_init(&p, seed);
    for (int round = 0; round < ROUNDS; round++) {
        CU_ASSERT_EQUAL_FATAL(store_close(f.store), 0);
        atomic_store(&d->begun, 0);
        atomic_store(&d->done, 0);
        memset(model, 0, sizeof model);
        uint64_t child_seed = prng_next(&p);
        pid_t pid = fork();
        if (pid == 0)
            child(d, child_seed);
        CHECK(pid > 0);
        (void)usleep((useconds_t)prng_between(&p, 3000, 60000));
        CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
        CU_ASSERT_EQUAL_FATAL(open_again(), 0);
        for (unsigned i = 0; i < atomic_load(&d->done); i++)
            memset(model[d->operations[i].chunk] + d->operations[i].offset, (int)(i % 255 + 1),
                   d->operations[i].size);
        writes += atomic_load(&d->done);
        in_the_middle += atomic_load(&d->begun) > atomic_load(&d->done);
        unsigned wrong = wrong_blocks(d, &torn);
        if (wrong > 0)
            printf("# seed=%" PRIu64 " round %d: %u blocks wrong after %u writes\n", seed, round,
                   wrong, atomic_load(&d->done));
        CU_ASSERT_EQUAL(wrong, 0);
        CU_ASSERT_EQUAL(check_faults(false), 0);
        for (uint64_t i = 0; i < CHUNKS; i++) {
            struct chunk_id id = id_of(i);
            (void)store_delete(f.store, &id, false);
        }
    }
    printf("# %d kills after %" PRIu64 " writes, %u within a write, %u torn blocks reported\n",
           ROUNDS, writes, in_the_middle, torn);
    (void)munmap(d, sizeof *d);
}

#define TESTS(T) T(killed_in_the_middle)
CU_TestInfo store_kill_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
