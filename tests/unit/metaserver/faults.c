/* The libc calls that faults.h bends; each ends in the system call itself. */
#include "tests/unit/metaserver/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"

enum { HELD_STEP_US = 5000, HELD_MAX_US = 60000000 };

static struct faults own;
struct faults *faults = &own;

struct faults *faults_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, sizeof(struct faults)) == 0);
    void *at = mmap(NULL, sizeof(struct faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED && close(fd) == 0);
    return at;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CAIRN_FAULTS");
    if (path)
        faults = faults_map(path);
}

static void wait_while(const _Atomic uint32_t *held)
{
    for (unsigned us = 0; atomic_load(held) && us < HELD_MAX_US; us += HELD_STEP_US)
        (void)usleep(HELD_STEP_US);
}

static bool is_under(int fd, const char *part)
{
    char link[40], path[512];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 2);
    if (size < 0)
        return false;
    path[size] = '/';
    path[size + 1] = '\0';
    return strstr(path, part) != NULL;
}

static bool take_one(_Atomic uint32_t *left)
{
    uint32_t now = atomic_load(left);
    while (now > 0)
        if (atomic_compare_exchange_weak(left, &now, now - 1))
            return true;
    return false;
}

/* True when this call is to fail. */
static bool sync_fails(int fd)
{
    bool is_armed = atomic_load(&faults->sync_errors) || atomic_load(&faults->sync_inode) ||
                    atomic_load(&faults->sync_held);
    if (!is_armed || !is_under(fd, "/log/"))
        return false;
    wait_while(&faults->sync_held);
    if (take_one(&faults->sync_skip))
        return false;
    struct stat file;
    CHECK(fstat(fd, &file) == 0);
    bool fails = take_one(&faults->sync_errors);
    if (fails)
        atomic_store(&faults->sync_inode, file.st_ino);
    if (atomic_load(&faults->sync_inode) == file.st_ino)
        (void)atomic_fetch_add(&faults->sync_count, 1);
    return fails;
}

static int sync_by(long number, int fd)
{
    if (sync_fails(fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, fd);
}

int fdatasync(int fd)
{
    return sync_by(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return sync_by(SYS_fsync, fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (atomic_load(&faults->checkpoint_held) && is_under(fd, "/checkpoint-")) {
        atomic_store(&faults->checkpoint_seen, 1);
        wait_while(&faults->checkpoint_held);
    }
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    int failed = atomic_load(&faults->fallocate_errno);
    if (failed != 0)
        return failed;
    return syscall(SYS_fallocate, fd, 0, offset, size) == 0 ? 0 : errno;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int result = (int)syscall(SYS_clock_gettime, clock, ret);
    int64_t shift = clock == CLOCK_REALTIME ? atomic_load(&faults->wall_ns) : 0;
    if (result == 0 && shift != 0) {
        int64_t ns = (int64_t)ret->tv_sec * 1000000000 + ret->tv_nsec + shift;
        ret->tv_sec = ns / 1000000000;
        ret->tv_nsec = ns % 1000000000;
    }
    return result;
}
