/* A target in a folder on a real disk. */
#define _GNU_SOURCE
#include "tests/unit/chunkserver/store/fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/banned.h"

struct fixture f;
static unsigned serial;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

void fixture_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int open_again(void)
{
    struct store_options o = {.cluster = f.cluster,
                              .reserve_per_mille = f.reserve_per_mille,
                              .open_chunks_max = f.open_chunks_max,
                              .boot_id = f.boot_id};
    return store_open(f.path, &o, &f.store, &f.info, &f.why);
}

void fixture_setup(void)
{
    if (f.base[0] == '\0') {
        const char *folder = getenv("CAIRN_TEST_DIR");
        (void)snprintf(f.base, sizeof f.base, "%s/cairn-store-XXXXXX",
                       folder ? folder : "/var/tmp");
        CHECK(mkdtemp(f.base) != NULL);
    }
    f.cluster = uuid_make();
    f.reserve_per_mille = 1;
    f.open_chunks_max = 64;
    (void)snprintf(f.boot_id, sizeof f.boot_id, "boot-%u", serial);
    (void)snprintf(f.path, sizeof f.path, "%s/target-%u", f.base, serial++);
    CHECK(mkdir(f.path, 0700) == 0);
    struct store_options o = {.cluster = f.cluster,
                              .init = true,
                              .reserve_per_mille = f.reserve_per_mille,
                              .open_chunks_max = f.open_chunks_max,
                              .boot_id = f.boot_id};
    int status = store_open(f.path, &o, &f.store, &f.info, &f.why);
    if (status != 0)
        printf("# open: %s: %s\n", err_name(status), f.why.text);
    CHECK(status == 0);
}

void fixture_teardown(void)
{
    (void)store_close(f.store);
    f.store = NULL;
    fixture_remove(f.path);
}

void fixture_program_end(void)
{
    if (f.base[0] != '\0')
        fixture_remove(f.base);
}

void reopen_clean(void)
{
    CHECK(store_close(f.store) == 0);
    CHECK(open_again() == 0);
}

void reopen_killed(void)
{
    store_abandon(f.store);
    CHECK(open_again() == 0);
}

void reopen_scanned(void)
{
    store_abandon(f.store);
    (void)snprintf(f.boot_id, sizeof f.boot_id, "boot-%u", ++serial + 1000000);
    CHECK(open_again() == 0);
}

uint64_t test_seed(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : random_u64();
    printf("# seed=%" PRIu64 "\n", seed);
    return seed;
}

void fill(void *into, size_t size, uint64_t seed)
{
    struct prng p;
    uint8_t *at = into;
    prng_init(&p, seed);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = prng_next(&p);
        memcpy(at + i, &word, size - i < 8 ? size - i : 8);
    }
}

struct chunk_id id_of(uint64_t inode)
{
    return (struct chunk_id){inode, 1, 2};
}

static int put_flags(uint64_t inode, uint32_t offset, const void *data, size_t size, uint64_t seq,
                     unsigned flags)
{
    struct store_write w = {.id = id_of(inode),
                            .shard = SHARD,
                            .copies = COPIES,
                            .flags = STORE_WRITE_CREATE | flags,
                            .version = {1, seq},
                            .offset = offset,
                            .data = slice_of(data, size)};
    return store_write(f.store, &w, NULL);
}

int put(uint64_t inode, uint32_t offset, const void *data, size_t size, uint64_t seq)
{
    return put_flags(inode, offset, data, size, seq, 0);
}

int put_sync(uint64_t inode, uint32_t offset, const void *data, size_t size, uint64_t seq)
{
    return put_flags(inode, offset, data, size, seq, STORE_WRITE_SYNC);
}

int get(uint64_t inode, uint32_t offset, uint32_t size, void *into, struct store_read *ret_read,
        struct store_fault *ret_fault)
{
    struct chunk_id id = id_of(inode);
    static uint32_t crcs[CHUNK_BLOCK_COUNT];
    return store_read(f.store, &id, offset, size, STORE_READ_VERIFY, into, crcs, ret_read,
                      ret_fault);
}

void file_of(uint64_t inode, char ret_path[400])
{
    (void)snprintf(ret_path, 400, "%s/2-03ff/%" PRIx64 ".1.2", f.path, inode);
}

void overwrite(uint64_t inode, uint64_t at, const void *data, size_t size)
{
    char path[400];
    file_of(inode, path);
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pwrite(fd, data, size, (off_t)at) == (ssize_t)size);
    (void)close(fd);
}

void damage(uint64_t inode, uint64_t at, uint8_t mask)
{
    char path[400];
    uint8_t byte = 0;
    file_of(inode, path);
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && pread(fd, &byte, 1, (off_t)at) >= 0);
    (void)close(fd);
    byte ^= mask;
    overwrite(inode, at, &byte, 1);
}

static void print_fault(void *context, const struct chunk_id *id, const char *text)
{
    char name[CHUNK_ID_TEXT_SIZE] = "-";
    (void)context;
    if (id)
        chunk_id_format(id, name);
    printf("# check: %s: %s\n", name, text);
}

uint64_t check_faults(bool blocks)
{
    struct store_report report;
    int status = store_check(f.store, blocks, print_fault, NULL, &report);
    return status == 0 ? report.fault_count : UINT64_MAX;
}

uint32_t suspect_count(void)
{
    struct store_cursor cursor = {.started = false};
    struct store_entry entries[16];
    uint32_t total = 0, count;
    while (store_suspects(f.store, &cursor, entries, 16, &count) == 0 && count > 0)
        total += count;
    return total;
}
