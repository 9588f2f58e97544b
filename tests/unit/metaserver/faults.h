/* A disk and a wall clock that misbehave on request: faults.c defines the libc calls of the program
 * it is linked into, in front of libc's own.
 *
 * A test program sets `faults` directly. cairn-metaserver linked with it maps the file that
 * CAIRN_FAULTS names, and so does the test that started it. All fields may be changed at any time;
 * zero is a machine in order. */
#ifndef CAIRN_TESTS_UNIT_METASERVER_FAULTS_H
#define CAIRN_TESTS_UNIT_METASERVER_FAULTS_H

#include <stdatomic.h>
#include <stdint.h>

struct faults {
    _Atomic int64_t wall_ns; /* added to CLOCK_REALTIME */
    /* Of fsync and fdatasync of the log's folder and the files in it: */
    _Atomic uint32_t sync_skip;       /* so many more succeed before the first that fails */
    _Atomic uint32_t sync_errors;     /* so many then fail with EIO, as the kernel says it: once */
    _Atomic uint64_t sync_inode;      /* of the file whose sync failed last */
    _Atomic uint32_t sync_count;      /* calls for that file since, the failed one included */
    _Atomic uint32_t sync_held;       /* they wait while it is set */
    _Atomic uint32_t checkpoint_held; /* writes to a checkpoint wait while it is set */
    _Atomic uint32_t checkpoint_seen; /* one came */
    _Atomic int32_t fallocate_errno;  /* posix_fallocate returns it */
};

extern struct faults *faults;

/* Maps such a file, making it if need be; for the test. */
struct faults *faults_map(const char *path);

#endif
