/* Full disks and power cuts, on a small ext4 in a loop file. Needs root; says so when it is not. */
#define _GNU_SOURCE
#include "tests/unit/chunkserver/store/suites.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tests/unit/chunkserver/store/fixture.h"
#include "common/base/banned.h"

enum { BLOCKS = 1000, LENGTH = BLOCKS * 4096, CHUNKS = 6 };
static uint8_t data[LENGTH], back[LENGTH], synced[CHUNKS][LENGTH];
static char image[300], mounted[300];

#define EXT4_SHUTDOWN        0x8004587d
#define EXT4_SHUTDOWN_NO_LOG 2u /* what the journal has not written is gone */

__attribute__((format(printf, 1, 2))) static bool run(const char *format, ...)
{
    char line[800];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return system(line) == 0;
}

static void attach(void)
{
    CHECK(run("mount -o loop '%s' '%s'", image, mounted));
}

/* A target on a file system of `size`; false (with the reason) where that cannot be had. */
static bool disk_setup(const char *size)
{
    if (geteuid() != 0) {
        printf("# skipped: needs root to mount a loop file\n");
        return false;
    }
    fixture_setup();
    CHECK(store_close(f.store) == 0);
    fixture_remove(f.path);
    (void)snprintf(image, sizeof image, "%s/image", f.base);
    (void)snprintf(mounted, sizeof mounted, "%s/disk", f.base);
    CHECK(mkdir(mounted, 0700) == 0);
    if (!run("truncate -s %s '%s'", size, image) || !run("mkfs.ext4 -q -F -m 0 '%s'", image) ||
        !run("mount -o loop '%s' '%s' 2>/dev/null", image, mounted)) {
        printf("# skipped: no ext4 or no loop device here\n");
        (void)rmdir(mounted);
        return false;
    }
    (void)snprintf(f.path, sizeof f.path, "%s/disk/target", f.base);
    CHECK(mkdir(f.path, 0700) == 0);
    struct store_options o = {.cluster = f.cluster,
                              .init = true,
                              .reserve_per_mille = 1,
                              .open_chunks_max = 64,
                              .boot_id = f.boot_id};
    CHECK(store_open(f.path, &o, &f.store, &f.info, &f.why) == 0);
    return true;
}

static void disk_teardown(void)
{
    (void)store_close(f.store);
    f.store = NULL;
    (void)run("umount '%s'", mounted);
    (void)rmdir(mounted);
    (void)unlink(image);
}

/* Takes all space but `keep` bytes with a file of somebody else. */
static void fill_disk(uint64_t keep)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/ballast", mounted);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    uint64_t size = 0;
    for (uint64_t piece = 1 << 20; piece >= 4096; piece /= 2)
        while (posix_fallocate(fd, (off_t)size, (off_t)piece) == 0)
            size += piece;
    CHECK(size > keep && ftruncate(fd, (off_t)(size - keep)) == 0);
    CHECK(fsync(fd) == 0 && close(fd) == 0);
}

static void free_disk(void)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/ballast", mounted);
    CHECK(unlink(path) == 0);
    sync();
}

/* D21: below the reserve writes that allocate are refused and overwrites go on; on a disk that is
 * full to the last block a write leaves its chunk as it was, deletes work, and so do the index and
 * a reopen; with space back writes work again. */
static void full_disk(void)
{
    struct store_read r;
    struct chunk_id id = id_of(1);
    if (!disk_setup("96M"))
        return;
    fill(data, LENGTH, 1);
    for (uint64_t i = 1; i <= 4; i++)
        CU_ASSERT_EQUAL(put_sync(i, 0, data, LENGTH, 1), 0);
    fill_disk(3 << 20);
    int status = 0;
    for (uint64_t i = 100; i < 200 && status == 0; i++)
        status = put(i, 0, data, LENGTH, 1);
    CU_ASSERT_EQUAL(status, -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(put(1, 4096, data, 8192, 2), 0);
    CU_ASSERT_EQUAL(
        store_truncate(f.store, &id, (struct chunk_version){1, 3}, LENGTH - 100 * 4096, NULL), 0);
    fill_disk(0); /* whatever credit is left, the disk itself refuses now */
    memcpy(back, data, LENGTH);
    CU_ASSERT_EQUAL(put(1, LENGTH - 110 * 4096, data, 110 * 4096, 4), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(get(1, 0, LENGTH, back, &r, NULL), 0);
    CU_ASSERT_EQUAL(r.version.seq, 3);
    CU_ASSERT_EQUAL(r.length, LENGTH - 100 * 4096);
    memcpy(data + 4096, back + 4096, 8192);
    CU_ASSERT(memcmp(back, data, LENGTH - 100 * 4096) == 0);
    CU_ASSERT_EQUAL(check_faults(true), 0);
    id = id_of(2);
    CU_ASSERT_EQUAL(store_delete(f.store, &id, true), 0);
    id = id_of(3);
    CU_ASSERT_EQUAL(store_delete(f.store, &id, false), 0);
    CU_ASSERT_EQUAL(store_sync_some(f.store, 100000), 0);
    fill_disk(0);
    reopen_clean();
    CU_ASSERT_EQUAL(f.info.start, STORE_START_CLEAN);
    CU_ASSERT_EQUAL(check_faults(true), 0);
    free_disk();
    CU_ASSERT_EQUAL(put_sync(1, 0, data, LENGTH, 9), 0);
    CU_ASSERT_EQUAL(store_failed(f.store, NULL), 0);
    disk_teardown();
}

static void cut_power(void)
{
    unsigned how = EXT4_SHUTDOWN_NO_LOG;
    int fd = open(mounted, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0 && ioctl(fd, EXT4_SHUTDOWN, &how) == 0);
    (void)close(fd);
    store_abandon(f.store);
    CHECK(run("umount '%s'", mounted));
    attach();
}

/* What the disk may show of one block after the cut. */
struct promise {
    bool exists;           /* the chunk was synced once */
    uint8_t dirty[BLOCKS]; /* written since: may be old, new or torn */
    uint32_t length;       /* when last synced */
    bool truncated;
};

static void workload_step(struct prng *p, struct promise *m, unsigned i, uint8_t *now, uint64_t seq)
{
    uint32_t at = (uint32_t)prng_below(p, LENGTH - 8);
    uint32_t size = (uint32_t)prng_between(p, 1, LENGTH - at < 200000 ? LENGTH - at : 200000);
    fill(now + at, size, prng_next(p));
    CU_ASSERT_EQUAL(put(i, at, now + at, size, seq), 0);
    for (uint32_t b = at / 4096; b <= (at + size - 1) / 4096; b++)
        m->dirty[b] = 1;
    if (at + size > m->length)
        m->length = at + size;
    struct chunk_id id = id_of(i);
    if (!prng_chance(p, 300))
        return;
    CU_ASSERT_EQUAL(store_sync(f.store, &id), 0);
    memcpy(synced[i], now, LENGTH);
    memset(m->dirty, 0, sizeof m->dirty);
    m->exists = true;
}

/* The kernel writes some pages back on its own, in an order of its own. */
static void write_back_some(struct prng *p, unsigned i)
{
    char path[400];
    file_of(i, path);
    int fd = open(path, O_RDWR);
    for (int n = 0; fd >= 0 && n < 3; n++)
        (void)sync_file_range(fd, (off_t)(n == 0 ? 0 : prng_below(p, BLOCKS + 1)) * 4096,
                              (off_t)prng_between(p, 1, 50) * 4096,
                              SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    if (fd >= 0)
        (void)close(fd);
}

static unsigned blocks_torn;

/* Every block not written since the last sync is there, byte for byte; a block that is not readable
 * was being written, in a chunk reported as suspect, and can be accepted. */
static bool kept(const struct promise *m, unsigned i)
{
    struct chunk_id id = id_of(i);
    for (uint32_t b = 0; m->exists && b < BLOCKS; b++) {
        struct store_read r = {.size = 0};
        struct store_fault fault = {.suspect = false};
        int status = get(i, b * 4096, 4096, back, &r, &fault);
        if (status == 0 && r.size == 0)
            memset(back, 0, 4096);
        if (status == 0 && (m->dirty[b] || memcmp(back, synced[i] + b * 4096, 4096) == 0))
            continue;
        if (status == -ERR_CORRUPT && m->dirty[b] && fault.suspect &&
            store_accept_block(f.store, &id, b) == 0) {
            blocks_torn++;
            continue;
        }
        printf("# chunk %u block %u: %s, dirty %d, suspect %d\n", i, b, err_name(status),
               m->dirty[b], fault.suspect);
        return false;
    }
    return true;
}

/* D5, D29: after a power cut in the middle of random work, everything synced is intact, and blocks
 * that were in flight are reported as such and can be taken up again. */
static void power_cut(void)
{
    struct prng p;
    struct promise *promises = calloc(CHUNKS, sizeof *promises);
    uint8_t(*now)[LENGTH] = calloc(CHUNKS, LENGTH);
    uint64_t seed = test_seed();
    CHECK(promises != NULL && now != NULL);
    prng_init(&p, seed);
    if (!disk_setup("160M"))
        goto out;
    unsigned rounds = 30;
    for (unsigned round = 0; round < rounds; round++) {
        (void)snprintf(f.boot_id, sizeof f.boot_id, "cut-%u", round);
        unsigned steps = (unsigned)prng_between(&p, 1, 60);
        for (uint64_t step = 1; step <= steps; step++) {
            unsigned i = (unsigned)prng_below(&p, CHUNKS);
            workload_step(&p, &promises[i], i, now[i], (uint64_t)round * 1000 + step);
            if (prng_chance(&p, 500))
                write_back_some(&p, i);
            if (prng_chance(&p, 30))
                CU_ASSERT_EQUAL(store_sync_some(f.store, (round * 100 + step) * 40000), 0);
        }
        cut_power();
        (void)snprintf(f.boot_id, sizeof f.boot_id, "cut-%u", round + 1);
        CU_ASSERT_EQUAL_FATAL(open_again(), 0);
        CU_ASSERT_EQUAL(f.info.start, STORE_START_SCANNED);
        for (unsigned i = 0; i < CHUNKS; i++) {
            struct chunk_id id = id_of(i);
            if (!kept(&promises[i], i)) {
                printf("# seed=%" PRIu64 " round %u\n", seed, round);
                CU_FAIL("a synced block is gone");
            }
            (void)store_delete(f.store, &id, false);
            promises[i] = (struct promise){.exists = false};
            memset(now[i], 0, LENGTH);
        }
        reopen_clean();
    }
    printf("# %u power cuts, %u torn blocks accepted\n", rounds, blocks_torn);
    disk_teardown();
out:
    free(promises);
    free(now);
}

#define TESTS(T) \
    T(full_disk) \
    T(power_cut)
CU_TestInfo store_disk_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
