/* What a test tells fail_at.so, and hears from it: one page of a file that both map. The test
 * writes all fields but the counts, `armed` last; tests/integration/meta_io_errors.py knows the
 * layout. */
#ifndef CAIRN_TESTS_INTEGRATION_FAIL_AT_H
#define CAIRN_TESTS_INTEGRATION_FAIL_AT_H

#include <stdatomic.h>
#include <stdint.h>

enum fail_call {
    FAIL_OPEN,
    FAIL_PREAD,
    FAIL_READ,
    FAIL_PWRITE,
    FAIL_WRITE,
    FAIL_FSYNC,
    FAIL_FDATASYNC,
    FAIL_RENAME,
    FAIL_FALLOCATE,
    FAIL_FTRUNCATE,
    FAIL_UNLINK,
    FAIL_MKDIR,
    FAIL_STATVFS,
    FAIL_MMAP,
    FAIL_READDIR,
    FAIL_CALL_COUNT,
};

enum {
    FAIL_SHORT = 0x10000, /* not an errno: half of what was asked for is read or written */
    FAIL_PATH_SIZE = 64,
};

struct fail_control {
    atomic_uint armed;               /* 0, 1, or 2: fail nothing, count all calls */
    uint32_t call;                   /* enum fail_call */
    uint32_t error;                  /* errno or FAIL_SHORT */
    uint32_t skip, count;            /* this many calls are left alone, then so many fail */
    char path[FAIL_PATH_SIZE];       /* what is behind the folder's name begins with it */
    atomic_uint seen, failed;        /* counts since it was armed */
    char first_path[FAIL_PATH_SIZE]; /* of the first one that failed, behind the folder's name */
    atomic_uint counts[FAIL_CALL_COUNT]; /* with armed = 2 */
};

#endif
