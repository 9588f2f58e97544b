/* Unclean stops and damage: what is reported, what is never believed. */
#define _GNU_SOURCE
#include "tests/unit/chunkserver/store/suites.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/chunkserver/store/fixture.h"
#include "common/base/banned.h"

enum { BLOCKS = 1200, LENGTH = BLOCKS * 4096, HEADER = 4096 };
static uint8_t data[LENGTH], back[LENGTH];

/* Stands in front of the C library's: the next flushes fail as on a broken disk. */
static unsigned flushes_to_fail;
int fdatasync(int fd)
{
    if (flushes_to_fail > 0) {
        flushes_to_fail--;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* R19: the first failed flush fails the target for good; a second one, which the kernel would let
 * succeed, is never asked for; the target is not left as clean. */
static void failed_flush_is_final(void)
{
    struct store_read r;
    struct store_entry e;
    struct chunk_id id = id_of(1);
    CU_ASSERT_EQUAL(put_sync(1, 0, "a", 1, 1), 0);
    flushes_to_fail = 1;
    CU_ASSERT_EQUAL(put_sync(1, 0, "b", 1, 2), -ERR_TARGET_FAILED);
    CU_ASSERT_EQUAL(store_sync(f.store, &id), -ERR_TARGET_FAILED);
    CU_ASSERT_EQUAL(put(1, 0, "c", 1, 3), -ERR_TARGET_FAILED);
    CU_ASSERT_EQUAL(get(1, 0, BLOCK_SIZE, back, &r, NULL), -ERR_TARGET_FAILED);
    CU_ASSERT_EQUAL(store_stat(f.store, &id, &e), -ERR_TARGET_FAILED);
    CU_ASSERT_EQUAL(store_sync_some(f.store, 99999), -ERR_TARGET_FAILED);
    CU_ASSERT_EQUAL(store_failed(f.store, &f.why), -ERR_TARGET_FAILED);
    CU_ASSERT(strstr(f.why.text, "flush") != NULL);
    CU_ASSERT_EQUAL(store_close(f.store), -ERR_TARGET_FAILED);
    CU_ASSERT_EQUAL_FATAL(open_again(), 0);
    CU_ASSERT_EQUAL(f.info.start, STORE_START_KILLED);
    CU_ASSERT_EQUAL(suspect_count(), 1);
}

/* D5: a data block that landed without its CRC makes its chunk suspect after a kill and after a
 * power cut; its other blocks stay readable; it can be accepted or repaired, and the mark cleared.
 */
static void torn_write_is_suspect(void)
{
    struct chunk_id id = id_of(1);
    for (int round = 0; round < 2; round++) {
        struct store_read r;
        struct store_fault fault = {.block = 0};
        uint8_t torn[BLOCK_SIZE];
        fill(data, 8 * BLOCK_SIZE, 1);
        CU_ASSERT_EQUAL(put_sync(1, 0, data, 8 * BLOCK_SIZE, 1), 0);
        reopen_clean();
        CU_ASSERT_EQUAL(suspect_count(), 0);
        CU_ASSERT_EQUAL(put(1, BLOCK_SIZE, data + BLOCK_SIZE, BLOCK_SIZE, 2), 0);
        fill(torn, BLOCK_SIZE, 99);
        overwrite(1, HEADER + 3 * BLOCK_SIZE, torn, BLOCK_SIZE);
        if (round == 0)
            reopen_killed();
        else
            reopen_scanned();
        CU_ASSERT_EQUAL(f.info.start, round == 0 ? STORE_START_KILLED : STORE_START_SCANNED);
        CU_ASSERT_EQUAL(suspect_count(), 1);
        CU_ASSERT_EQUAL(get(1, 0, 3 * BLOCK_SIZE, back, &r, NULL), 0);
        CU_ASSERT(memcmp(back, data, 3 * BLOCK_SIZE) == 0);
        CU_ASSERT_EQUAL(get(1, 3 * BLOCK_SIZE, BLOCK_SIZE, back, &r, &fault), -ERR_CORRUPT);
        CU_ASSERT(fault.suspect && fault.block == 3);
        reopen_clean(); /* the mark is not forgotten */
        CU_ASSERT_EQUAL(suspect_count(), 1);
        CU_ASSERT_EQUAL(store_accept_block(f.store, &id, 3), 0);
        CU_ASSERT_EQUAL(get(1, 3 * BLOCK_SIZE, BLOCK_SIZE, back, &r, &fault), 0);
        CU_ASSERT(memcmp(back, torn, BLOCK_SIZE) == 0);
        CU_ASSERT_EQUAL(store_clear_suspect(f.store, &id), 0);
        CU_ASSERT_EQUAL(suspect_count(), 0);
        CU_ASSERT_EQUAL(check_faults(true), 0);
        CU_ASSERT_EQUAL(store_delete(f.store, &id, false), 0);
    }
}

/* Only what was written since the last checkpoint is suspect after a stop, not all there is. */
static void suspects_are_few(void)
{
    for (uint64_t i = 1; i <= 40; i++)
        CU_ASSERT_EQUAL(put(i, 0, "abc", 3, 1), 0);
    CU_ASSERT_EQUAL(store_sync_some(f.store, 100000), 0);
    CU_ASSERT_EQUAL(put(41, 0, "abc", 3, 1), 0);
    CU_ASSERT_EQUAL(put(7, 1, "x", 1, 2), 0);
    reopen_killed();
    CU_ASSERT_EQUAL(suspect_count(), 2);
    CU_ASSERT_EQUAL(put(9, 1, "x", 1, 2), 0);
    reopen_scanned();
    CU_ASSERT_EQUAL(suspect_count(), 3);
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* Every byte of the header page and of the CRC table in use, damaged one at a time, is noticed or
 * harmless: no wrong data, no data turned to zeros, no wrong length (D23, D8). */
static void damage_of_header_bytes(void)
{
    struct store_read r;
    unsigned noticed = 0, harmless = 0;
    fill(data, LENGTH, 2);
    CU_ASSERT_EQUAL(put_sync(1, 0, data, LENGTH, 5), 0);
    CU_ASSERT_EQUAL(store_close(f.store), 0);
    unsigned step = getenv("EVERY") ? 1 : 13;
    for (uint32_t i = 0; i < HEADER + 3 * 512; i += step) {
        uint64_t at = i < HEADER ? i : HEADER + (uint64_t)CHUNK_SIZE + (i - HEADER);
        damage(1, at, 0xff);
        CU_ASSERT_EQUAL_FATAL(open_again(), 0);
        int status = get(1, 0, LENGTH, back, &r, NULL);
        if (status == 0 && r.size == LENGTH && r.length == LENGTH && r.version.seq == 5 &&
            memcmp(back, data, LENGTH) == 0)
            harmless++;
        else if (status == -ERR_CORRUPT)
            noticed++;
        else
            printf("# byte %u: %s\n", i, err_name(status));
        CU_ASSERT_EQUAL(store_close(f.store), 0);
        damage(1, at, 0xff);
    }
    CU_ASSERT_EQUAL(noticed + harmless, (HEADER + 3 * 512 + step - 1) / step);
    CU_ASSERT_EQUAL(harmless, 0);
    CU_ASSERT_EQUAL(open_again(), 0);
}

/* A CRC sector overwritten by zeros does not turn its blocks into holes. */
static void zeroed_crc_sector_is_not_a_hole(void)
{
    struct store_read r;
    static const uint8_t zeros[4096];
    fill(data, LENGTH, 3);
    CU_ASSERT_EQUAL(put_sync(1, 0, data, LENGTH, 5), 0);
    CU_ASSERT_EQUAL(store_close(f.store), 0);
    overwrite(1, 512, zeros, 512);
    overwrite(1, HEADER + (uint64_t)CHUNK_SIZE, zeros, 4096);
    CU_ASSERT_EQUAL(open_again(), 0);
    CU_ASSERT_EQUAL(get(1, 0, BLOCK_SIZE, back, &r, NULL), -ERR_CORRUPT);
    CU_ASSERT_EQUAL(get(1, 127 * BLOCK_SIZE, 762 * BLOCK_SIZE, back, &r, NULL), 0);
    CU_ASSERT_EQUAL(get(1, 889 * BLOCK_SIZE, BLOCK_SIZE, back, &r, NULL), -ERR_CORRUPT);
    struct chunk_id id = id_of(1);
    static uint32_t crcs[BLOCKS];
    chunk_block_crcs(&id, 0, data, BLOCKS, crcs);
    CU_ASSERT_EQUAL(store_repair_blocks(f.store, &id, 0, BLOCKS, data, crcs), 0);
    CU_ASSERT_EQUAL(get(1, 0, LENGTH, back, &r, NULL), 0);
    CU_ASSERT(memcmp(back, data, LENGTH) == 0);
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* One bit of the data, anywhere, fails the read of its block and no other; so does a block in
 * another block's place (D24). */
static void bit_flips_in_data(void)
{
    struct prng p;
    prng_init(&p, test_seed());
    fill(data, 64 * BLOCK_SIZE, 4);
    CU_ASSERT_EQUAL(put(1, 0, data, 64 * BLOCK_SIZE, 1), 0);
    for (int i = 0; i < 500; i++) {
        struct store_read r;
        struct store_fault fault = {.block = 0};
        uint64_t at = prng_below(&p, 64 * BLOCK_SIZE);
        uint8_t mask = (uint8_t)(1u << prng_below(&p, 8));
        damage(1, HEADER + at, mask);
        CU_ASSERT_EQUAL(get(1, 0, 64 * BLOCK_SIZE, back, &r, &fault), -ERR_CORRUPT);
        CU_ASSERT_EQUAL(fault.block, at / BLOCK_SIZE);
        damage(1, HEADER + at, mask);
    }
    struct store_read r;
    overwrite(1, HEADER + 5 * BLOCK_SIZE, data + 6 * BLOCK_SIZE, BLOCK_SIZE);
    CU_ASSERT_EQUAL(get(1, 5 * BLOCK_SIZE, BLOCK_SIZE, back, &r, NULL), -ERR_CORRUPT);
}

/* What the model knows of one chunk. */
struct model {
    uint8_t *bytes;
    uint32_t length;
    uint64_t seq;
    bool present;
};
enum { MODELS = 4, MODEL_SIZE = LENGTH };

static void random_step(struct prng *p, struct model *m, uint64_t inode, uint64_t seq)
{
    struct chunk_id id = id_of(inode);
    struct chunk_version v = {1, seq};
    uint32_t at = (uint32_t)prng_below(p, MODEL_SIZE);
    uint32_t most = prng_chance(p, 500) ? 300 : prng_chance(p, 500) ? 20000 : 2000000;
    uint32_t size = (uint32_t)prng_below(p, MODEL_SIZE - at < most ? MODEL_SIZE - at : most);
    unsigned what = (unsigned)prng_below(p, 100);
    if (what < 60) {
        fill(data, size, prng_next(p));
        CU_ASSERT_EQUAL(put(inode, at, data, size, seq), 0);
        memcpy(m->bytes + at, data, size);
        if (size > 0 && at + size > m->length)
            m->length = at + size;
        m->present = true;
    } else if (what < 95) {
        bool truncate = what < 75;
        int status = truncate ? store_truncate(f.store, &id, v, at, NULL)
                              : store_zero(f.store, &id, v, at, size, NULL);
        CU_ASSERT_EQUAL(status, m->present ? 0 : -ERR_LOST_CHUNK);
        if (!m->present)
            return;
        if (truncate) {
            memset(m->bytes + at, 0, MODEL_SIZE - at);
            m->length = at;
        } else {
            memset(m->bytes + at, 0, size);
        }
    } else if (what < 97) {
        CU_ASSERT_EQUAL(store_delete(f.store, &id, false), m->present ? 0 : -ERR_LOST_CHUNK);
        memset(m->bytes, 0, MODEL_SIZE);
        *m = (struct model){.bytes = m->bytes};
        return;
    } else {
        CU_ASSERT_EQUAL(store_sync(f.store, &id), m->present ? 0 : -ERR_LOST_CHUNK);
        return;
    }
    m->seq = seq;
}

static bool same(const struct model *m, uint64_t inode)
{
    struct store_read r;
    int status = get(inode, 0, MODEL_SIZE, back, &r, NULL);
    if (!m->present)
        return status == -ERR_LOST_CHUNK;
    return status == 0 && r.length == m->length && r.version.seq == m->seq &&
           memcmp(back, m->bytes, r.size) == 0 &&
           r.size == (m->length + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

/* Random writes, truncates, zeros and deletes equal a model in memory, through clean reopens, kills
 * and scans; the checker finds nothing. */
static void random_operations_equal_a_model(void)
{
    struct prng p;
    struct model models[MODELS];
    uint64_t seed = test_seed(), seq = 0;
    prng_init(&p, seed);
    for (int i = 0; i < MODELS; i++)
        models[i] = (struct model){.bytes = calloc(1, MODEL_SIZE)};
    for (int step = 0; step < 1500; step++) {
        unsigned i = (unsigned)prng_below(&p, MODELS);
        random_step(&p, &models[i], i, ++seq);
        if (prng_chance(&p, 20))
            CU_ASSERT_EQUAL(store_sync_some(f.store, seq * 1000), 0);
        if (!prng_chance(&p, 15))
            continue;
        unsigned how = (unsigned)prng_below(&p, 3);
        how == 0 ? reopen_clean() : how == 1 ? reopen_killed() : reopen_scanned();
        for (unsigned k = 0; k < MODELS; k++)
            if (!same(&models[k], k)) {
                CU_FAIL("differs from the model");
                printf("# seed=%" PRIu64 " step %d chunk %u reopen %u\n", seed, step, k, how);
                step = 1 << 20;
            }
        CU_ASSERT_EQUAL(check_faults(false), 0);
    }
    CU_ASSERT_EQUAL(check_faults(true), 0);
    for (int i = 0; i < MODELS; i++)
        free(models[i].bytes);
}

#define TESTS(T)                       \
    T(failed_flush_is_final)           \
    T(torn_write_is_suspect)           \
    T(suspects_are_few)                \
    T(damage_of_header_bytes)          \
    T(zeroed_crc_sector_is_not_a_hole) \
    T(bit_flips_in_data)               \
    T(random_operations_equal_a_model)
CU_TestInfo store_crash_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
