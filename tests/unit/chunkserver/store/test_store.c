/* Every operation of a target, its label, and its figures. */
#include "tests/unit/chunkserver/store/suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/chunkserver/store/fixture.h"
#include "common/base/banned.h"

enum { MIB = 1 << 20 };
static uint8_t data[MIB + 4 * BLOCK_SIZE], back[MIB + 4 * BLOCK_SIZE];
static uint32_t crcs[CHUNK_BLOCK_COUNT];

/* A small file comes back as written, before and after a reopen, with zeros behind its end. */
static void small_file_round_trip(void)
{
    struct store_read r;
    fill(data, 1000, 1);
    CU_ASSERT_EQUAL(put(7, 0, data, 1000, 1), 0);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(get(7, 0, 2 * BLOCK_SIZE, back, &r, NULL), 0);
        CU_ASSERT_EQUAL(r.size, BLOCK_SIZE);
        CU_ASSERT_EQUAL(r.length, 1000);
        CU_ASSERT_EQUAL(r.version.seq, 1);
        CU_ASSERT(memcmp(back, data, 1000) == 0);
        CU_ASSERT_EQUAL(back[1000] | back[BLOCK_SIZE - 1], 0);
        reopen_clean();
        CU_ASSERT_EQUAL(f.info.start, STORE_START_CLEAN);
    }
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* The CRCs that come with the data are compared with it and stored; a wrong one changes nothing. */
static void given_crcs_are_checked_and_stored(void)
{
    struct store_read r;
    struct store_fault fault;
    struct store_write w = {.id = id_of(1),
                            .shard = SHARD,
                            .copies = COPIES,
                            .flags = STORE_WRITE_CREATE,
                            .version = {1, 1},
                            .crcs = crcs,
                            .data = slice_of(data, 3 * BLOCK_SIZE)};
    fill(data, 3 * BLOCK_SIZE, 2);
    chunk_block_crcs(&w.id, 0, data, 3, crcs);
    uint32_t right = crcs[2];
    crcs[2] ^= 4;
    CU_ASSERT_EQUAL(store_write(f.store, &w, &fault), -ERR_CORRUPT);
    CU_ASSERT_EQUAL(fault.block, 2);
    CU_ASSERT_EQUAL(get(1, 0, BLOCK_SIZE, back, &r, NULL), -ERR_LOST_CHUNK);
    crcs[2] = right;
    CU_ASSERT_EQUAL(store_write(f.store, &w, &fault), 0);
    uint32_t stored[3];
    CU_ASSERT_EQUAL(store_read(f.store, &w.id, 0, 3 * BLOCK_SIZE, 0, back, stored, &r, NULL), 0);
    CU_ASSERT(memcmp(stored, crcs, sizeof stored) == 0);
}

/* A chunk that is not there is an error, never zeros (D8): unknown, deleted, or lost behind our
 * back. */
static void missing_chunk_is_an_error(void)
{
    struct store_read r;
    struct store_entry e;
    struct chunk_id id = id_of(5);
    char path[400];
    CU_ASSERT_EQUAL(get(5, 0, BLOCK_SIZE, back, &r, NULL), -ERR_LOST_CHUNK);
    CU_ASSERT_EQUAL(put_sync(5, 0, "x", 1, 1), 0);
    reopen_clean();
    file_of(5, path);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(get(5, 0, BLOCK_SIZE, back, &r, NULL), -ERR_LOST_CHUNK);
    CU_ASSERT_EQUAL(put(5, 0, "y", 1, 2), -ERR_LOST_CHUNK); /* not made anew over a loss */
    CU_ASSERT_EQUAL(store_stat(f.store, &id, &e), 0);
    CU_ASSERT(e.flags & STORE_ENTRY_DAMAGED);
    CU_ASSERT_EQUAL(store_delete(f.store, &id, false), 0);
    CU_ASSERT_EQUAL(store_stat(f.store, &id, &e), -ERR_LOST_CHUNK);
    CU_ASSERT_EQUAL(put(5, 0, "y", 1, 2), 0);
}

/* Partial overwrites merge; a rotten old block refuses the merge instead of being blessed (D6). */
static void partial_write_verifies_the_old_block(void)
{
    struct store_read r;
    struct store_fault fault;
    fill(data, 3 * BLOCK_SIZE, 3);
    CU_ASSERT_EQUAL(put(9, 0, data, 3 * BLOCK_SIZE, 1), 0);
    memset(data + 5000, 'a', 100);
    CU_ASSERT_EQUAL(put(9, 5000, data + 5000, 100, 2), 0);
    memset(data + 4000, 'b', 5000);
    CU_ASSERT_EQUAL(put(9, 4000, data + 4000, 5000, 3), 0);
    CU_ASSERT_EQUAL(get(9, 0, 3 * BLOCK_SIZE, back, &r, NULL), 0);
    CU_ASSERT(memcmp(back, data, 3 * BLOCK_SIZE) == 0);
    damage(9, 4096 + 2 * BLOCK_SIZE + 4000, 1);
    CU_ASSERT_EQUAL(put(9, 2 * BLOCK_SIZE, "new", 3, 4), -ERR_CORRUPT);
    CU_ASSERT_EQUAL(get(9, 0, 3 * BLOCK_SIZE, back, &r, &fault), -ERR_CORRUPT);
    CU_ASSERT_EQUAL(fault.block, 2);
    CU_ASSERT_FALSE(fault.suspect);
    struct chunk_id id = id_of(9);
    CU_ASSERT_EQUAL(store_accept_block(f.store, &id, 2), -ERR_REFUSED);
    chunk_block_crcs(&id, 2, data + 2 * BLOCK_SIZE, 1, crcs);
    CU_ASSERT_EQUAL(store_repair_blocks(f.store, &id, 2, 1, data + 2 * BLOCK_SIZE, crcs), 0);
    CU_ASSERT_EQUAL(get(9, 0, 3 * BLOCK_SIZE, back, &r, &fault), 0);
    CU_ASSERT_EQUAL(r.version.seq, 3);
    CU_ASSERT(memcmp(back, data, 3 * BLOCK_SIZE) == 0);
}

/* Truncate down and up, zero, and sizes: what was dropped reads as zeros and gives its space back.
 */
static void truncate_and_zero(void)
{
    struct store_read r;
    struct stat st;
    char path[400];
    struct chunk_id id = id_of(4);
    fill(data, MIB, 4);
    CU_ASSERT_EQUAL(put(4, 0, data, MIB, 1), 0);
    CU_ASSERT_EQUAL(store_truncate(f.store, &id, (struct chunk_version){1, 2}, 6000, NULL), 0);
    CU_ASSERT_EQUAL(store_truncate(f.store, &id, (struct chunk_version){1, 3}, 20000, NULL), 0);
    CU_ASSERT_EQUAL(get(4, 0, MIB, back, &r, NULL), 0);
    CU_ASSERT_EQUAL(r.length, 20000);
    CU_ASSERT_EQUAL(r.size, 20480);
    CU_ASSERT_EQUAL(r.version.seq, 3);
    memset(data + 6000, 0, 20480 - 6000);
    CU_ASSERT(memcmp(back, data, 20480) == 0);
    CU_ASSERT_EQUAL(store_zero(f.store, &id, (struct chunk_version){1, 4}, 100, 5000, NULL), 0);
    memset(data + 100, 0, 5000);
    CU_ASSERT_EQUAL(get(4, 0, MIB, back, &r, NULL), 0);
    CU_ASSERT(memcmp(back, data, 20480) == 0);
    CU_ASSERT_EQUAL(store_sync(f.store, &id), 0);
    file_of(4, path);
    CU_ASSERT(stat(path, &st) == 0 && st.st_blocks * 512 < 64 * 1024);
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* A whole chunk, written at its far end first, uses the tail of the CRC table and survives a scan.
 */
static void full_size_chunk(void)
{
    struct store_read r;
    struct chunk_id id = id_of(3);
    uint32_t count;
    struct chunk_version version;
    fill(data, MIB, 5);
    for (uint32_t i = 64; i-- > 0;)
        CU_ASSERT_EQUAL(put(3, i * MIB, data, MIB, 65 - i), 0);
    CU_ASSERT_EQUAL(put(3, CHUNK_SIZE - 10, "0123456789a", 11, 66), -ERR_INVALID);
    reopen_scanned();
    CU_ASSERT_EQUAL(f.info.start, STORE_START_SCANNED);
    for (uint32_t i = 0; i < 64; i++) {
        CU_ASSERT_EQUAL(get(3, i * MIB, MIB, back, &r, NULL), 0);
        CU_ASSERT(memcmp(back, data, MIB) == 0);
    }
    CU_ASSERT_EQUAL(store_crcs(f.store, &id, crcs, &count, &version), 0);
    CU_ASSERT_EQUAL(count, CHUNK_BLOCK_COUNT);
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* Listings by shard and of all, and that versions in them are never behind. */
static void listings(void)
{
    struct store_entry e[7];
    uint32_t count, total = 0;
    for (uint64_t i = 1; i <= 100; i++)
        CU_ASSERT_EQUAL(put(i, 0, "z", 1, i), 0);
    struct store_write w = {.id = id_of(1000),
                            .shard = SHARD + 1,
                            .copies = COPIES,
                            .flags = STORE_WRITE_CREATE,
                            .version = {1, 1}};
    CU_ASSERT_EQUAL(store_write(f.store, &w, NULL), 0);
    struct store_cursor cursor = {.started = false};
    while (store_list(f.store, COPIES, SHARD, &cursor, e, 7, &count) == 0 && count > 0)
        for (uint32_t i = 0; i < count; i++) {
            total++;
            CU_ASSERT_EQUAL(e[i].id.inode, total);
            CU_ASSERT_EQUAL(e[i].version.seq, total);
            CU_ASSERT_EQUAL(e[i].length, 1);
        }
    CU_ASSERT_EQUAL(total, 100);
    struct store_space space;
    CU_ASSERT_EQUAL(store_space(f.store, &space), 0);
    CU_ASSERT_EQUAL(space.chunk_count, 101);
    struct chunk_id id = id_of(50);
    CU_ASSERT_EQUAL(store_set_version(f.store, &id, (struct chunk_version){2, 1}), 0);
    cursor =
        (struct store_cursor){.last = id_of(49), .shard = SHARD, .copies = COPIES, .started = true};
    CU_ASSERT_EQUAL(store_list_all(f.store, &cursor, e, 1, &count), 0);
    CU_ASSERT(count == 1 && e[0].id.inode == 50 && e[0].version.epoch == 2);
}

/* Deleted chunks go to trash/ when asked, and are purged by age. */
static void delete_and_quarantine(void)
{
    struct chunk_id a = id_of(1), b = id_of(2);
    uint32_t count;
    CU_ASSERT_EQUAL(put(1, 0, "a", 1, 1) | put(2, 0, "b", 1, 1), 0);
    CU_ASSERT_EQUAL(store_delete(f.store, &a, true), 0);
    CU_ASSERT_EQUAL(store_delete(f.store, &a, true), -ERR_LOST_CHUNK);
    CU_ASSERT_EQUAL(store_delete(f.store, &b, false), 0);
    CU_ASSERT_EQUAL(put(1, 0, "new", 3, 9), 0);
    CU_ASSERT_EQUAL(store_trash_purge(f.store, 1, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(store_trash_purge(f.store, UINT64_MAX, &count), 0);
    CU_ASSERT_EQUAL(count, 1);
    reopen_killed();
    struct store_space space;
    CU_ASSERT_EQUAL(store_space(f.store, &space), 0);
    CU_ASSERT_EQUAL(space.chunk_count, 1);
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* The non-blocking read serves what is in memory and says busy otherwise. */
static void read_without_waiting(void)
{
    struct store_read r;
    struct chunk_id id = id_of(1);
    fill(data, 4 * BLOCK_SIZE, 6);
    CU_ASSERT_EQUAL(put(1, 0, data, 4 * BLOCK_SIZE, 1), 0);
    CU_ASSERT_EQUAL(
        store_read(f.store, &id, 0, 4 * BLOCK_SIZE, STORE_READ_NOWAIT, back, crcs, &r, NULL), 0);
    CU_ASSERT(memcmp(data, back, 4 * BLOCK_SIZE) == 0);
    reopen_clean();
    CU_ASSERT_EQUAL(
        store_read(f.store, &id, 0, BLOCK_SIZE, STORE_READ_NOWAIT, back, crcs, &r, NULL),
        -ERR_BUSY);
    CU_ASSERT_EQUAL(store_read(f.store, &id, 1, BLOCK_SIZE, 0, back, crcs, &r, NULL), -ERR_INVALID);
}

static int try_open(bool init, const struct uuid *cluster, const struct uuid *target)
{
    struct store *s;
    struct store_options o = {
        .cluster = *cluster, .target = target, .init = init, .boot_id = f.boot_id};
    int status = store_open(f.path, &o, &s, NULL, &f.why);
    if (status == 0)
        store_abandon(s);
    return status;
}

/* D16, D17: a folder that is not this cluster's target is refused, each time with its reason. */
static void refuses_what_is_not_its_target(void)
{
    struct uuid other = uuid_make();
    char label[400], moved[400];
    uint64_t incarnation = f.info.incarnation;
    CU_ASSERT_EQUAL(try_open(false, &f.cluster, NULL), -ERR_BUSY);
    CU_ASSERT_EQUAL(store_close(f.store), 0);
    CU_ASSERT_EQUAL(try_open(false, &other, NULL), -ERR_WRONG_CLUSTER);
    CU_ASSERT_EQUAL(try_open(false, &f.cluster, &other), -ERR_WRONG_CLUSTER);
    CU_ASSERT_EQUAL(try_open(true, &f.cluster, NULL), -ERR_NOT_EMPTY_STATE);
    (void)snprintf(label, sizeof label, "%s/label", f.path);
    (void)snprintf(moved, sizeof moved, "%s/other", f.path);
    CU_ASSERT_EQUAL(rename(label, moved), 0);
    CU_ASSERT_EQUAL(try_open(false, &f.cluster, NULL), -ERR_CONFIG);
    CU_ASSERT(strstr(f.why.text, "mounted") != NULL);
    CU_ASSERT_EQUAL(try_open(true, &f.cluster, NULL), -ERR_CONFIG);
    CU_ASSERT_EQUAL(rename(moved, label), 0);
    CU_ASSERT_EQUAL(open_again(), 0);
    CU_ASSERT_EQUAL(f.info.incarnation, incarnation + 1);
}

/* Either copy of the label may be damaged, not both; an unknown version is refused. */
static void label_survives_one_bad_copy(void)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/label", f.path);
    struct store_position p = {3, 77};
    CU_ASSERT_EQUAL(store_see_position(f.store, p), 0);
    CU_ASSERT_EQUAL(store_see_position(f.store, (struct store_position){2, 99}), 0);
    CU_ASSERT_EQUAL(store_close(f.store), 0);
    for (long slot = 0; slot < 3; slot++) {
        FILE *file = fopen(path, "r+");
        uint8_t saved[512], bad[512];
        CU_ASSERT_FATAL(file != NULL);
        CU_ASSERT(fseek(file, slot % 2 * 4096, SEEK_SET) == 0 && fread(saved, 512, 1, file) == 1);
        memcpy(bad, saved, 512);
        bad[60] ^= 1;
        if (slot == 2) { /* a later format, whole */
            memcpy(bad, saved, 512);
            bad[8] = 2;
            uint32_t crc = checksum_crc32(0, bad, 508);
            memcpy(bad + 508, &crc, 4);
        }
        CU_ASSERT(fseek(file, slot % 2 * 4096, SEEK_SET) == 0 && fwrite(bad, 512, 1, file) == 1);
        fclose(file);
        int status = open_again();
        CU_ASSERT_EQUAL(status, slot == 2 ? -ERR_VERSION : 0);
        if (status == 0) {
            CU_ASSERT(store_position(f.store).term == 3);
            CU_ASSERT_EQUAL(store_close(f.store), 0);
        } else {
            file = fopen(path, "r+");
            CU_ASSERT_FATAL(file != NULL);
            CU_ASSERT(fwrite(saved, 512, 1, file) == 1);
            fclose(file);
        }
    }
    CU_ASSERT_EQUAL(open_again(), 0);
}

/* Many more chunks than the cache holds: all are kept, flushed and found again. */
static void more_chunks_than_the_cache(void)
{
    struct store_read r;
    for (uint64_t i = 0; i < 400; i++) {
        fill(data, 5000, i);
        CU_ASSERT_EQUAL(put(i, 0, data, 5000, i + 1), 0);
    }
    CU_ASSERT_EQUAL(store_sync_some(f.store, 10000), 0);
    for (uint64_t i = 0; i < 400; i++) {
        fill(data, 5000, i);
        CU_ASSERT_EQUAL(get(i, 0, 2 * BLOCK_SIZE, back, &r, NULL), 0);
        CU_ASSERT(r.length == 5000 && memcmp(data, back, 5000) == 0);
    }
    CU_ASSERT(store_counters(f.store).cache_misses > 300);
    CU_ASSERT_EQUAL(check_faults(true), 0);
}

/* A fresh file written in sequence costs no flush of the intent log, an old one a single one. */
static void intent_log_costs_nothing_per_write(void)
{
    fill(data, MIB, 8);
    for (uint32_t i = 0; i < 16; i++)
        CU_ASSERT_EQUAL(put(1, i * MIB, data, MIB, i + 1), 0);
    CU_ASSERT_EQUAL(store_counters(f.store).intent_syncs, 0);
    reopen_clean();
    for (uint32_t i = 0; i < 500; i++)
        CU_ASSERT_EQUAL(put(1, i * BLOCK_SIZE, data, BLOCK_SIZE, i + 100), 0);
    CU_ASSERT_EQUAL(store_counters(f.store).intent_syncs, 1);
    CU_ASSERT_EQUAL(store_sync_some(f.store, 70000), 0);
    CU_ASSERT_EQUAL(store_counters(f.store).checkpoints, 1);
    CU_ASSERT_EQUAL(put(1, 0, data, BLOCK_SIZE, 700), 0);
    CU_ASSERT_EQUAL(store_counters(f.store).intent_syncs, 2);
}

#define TESTS(T)                            \
    T(small_file_round_trip)                \
    T(given_crcs_are_checked_and_stored)    \
    T(missing_chunk_is_an_error)            \
    T(partial_write_verifies_the_old_block) \
    T(truncate_and_zero)                    \
    T(full_size_chunk)                      \
    T(listings)                             \
    T(delete_and_quarantine)                \
    T(read_without_waiting)                 \
    T(refuses_what_is_not_its_target)       \
    T(label_survives_one_bad_copy)          \
    T(more_chunks_than_the_cache)           \
    T(intent_log_costs_nothing_per_write)
CU_TestInfo store_operation_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
