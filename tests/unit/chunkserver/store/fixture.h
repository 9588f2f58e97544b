/* A target in a folder on a real disk, and short forms of the calls, for the tests of the store. */
#ifndef CAIRN_TESTS_UNIT_STORE_FIXTURE_H
#define CAIRN_TESTS_UNIT_STORE_FIXTURE_H

#include "chunkserver/store/store.h"
#include "common/base/prng.h"

struct fixture {
    char base[256]; /* made for the test program, removed at its end */
    char path[300]; /* the target under test */
    char boot_id[32];
    struct uuid cluster;
    uint32_t reserve_per_mille, open_chunks_max;
    struct store *store;
    struct store_info info;
    struct err_text why;
};
extern struct fixture f;

enum { SHARD = 0x3ff, COPIES = 2 };

void fixture_setup(void);    /* an empty target, open */
void fixture_teardown(void); /* closed and removed */
void fixture_program_end(void);
void fixture_remove(const char *path);

int open_again(void); /* with the fixture's options, no init */
void reopen_clean(void);
void reopen_killed(void);  /* as after kill -9 */
void reopen_scanned(void); /* as after a power cut, but nothing is lost */

uint64_t test_seed(void); /* from SEED, or a new one, printed */
void fill(void *into, size_t size, uint64_t seed);
struct chunk_id id_of(uint64_t inode);
/* CREATE, no CRCs given, version (1, seq). */
int put(uint64_t inode, uint32_t offset, const void *data, size_t size, uint64_t seq);
int put_sync(uint64_t inode, uint32_t offset, const void *data, size_t size, uint64_t seq);
int get(uint64_t inode, uint32_t offset, uint32_t size, void *into, struct store_read *ret_read,
        struct store_fault *ret_fault); /* verified */
void file_of(uint64_t inode, char ret_path[400]);
/* Flips bits of the chunk's file at an offset, behind the store's back. */
void damage(uint64_t inode, uint64_t at, uint8_t mask);
void overwrite(uint64_t inode, uint64_t at, const void *data, size_t size);
uint64_t check_faults(bool blocks); /* store_check, faults printed; UINT64_MAX on error */
uint32_t suspect_count(void);

#endif
