#define _GNU_SOURCE
#include "common/base/lmdb_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/err.h"

/* A reader's slot is a cache line, and so is each half of the header; mutexes may be larger
 * elsewhere. Too much costs nothing: the file keeps its size. */
enum { BYTES_PER_READER = 64, BYTES_HEADER = 4096, LOCK_MODE = 0600 };

int lmdb_lock_reserve(const char *folder, unsigned readers)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/lock.mdb", folder) >= (int)sizeof path)
        return -ERR_IO;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (file < 0)
        return errno == ENOSPC ? -ERR_NO_SPACE : -ERR_IO;
    off_t bytes = BYTES_HEADER + (off_t)readers * BYTES_PER_READER;
    int error;
    do
        error = fallocate(file, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0 ? 0 : errno;
    while (error == EINTR);
    (void)close(file);
    errno = error;
    if (error == ENOSPC || error == EDQUOT)
        return -ERR_NO_SPACE;
    return error == EIO ? -ERR_IO : 0; /* the others say that it cannot be done here */
}
