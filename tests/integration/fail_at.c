/* Makes calls on the files of one folder fail, for a program that it is preloaded into
 * (LD_PRELOAD): faster than strace, and it can cut reads and writes short.
 *
 *   FAIL_AT_FOLDER   absolute path; only calls on it and on what is in it count
 *   FAIL_AT_CONTROL  the file with a struct fail_control (fail_at.h)
 *
 * A call that fails is not made at all. Descriptors are looked up in /proc, and only while a fault
 * is armed for their call: the program runs at full speed otherwise. */
#undef _FILE_OFFSET_BITS /* each name is defined here by itself, with and without 64 */
#undef _FORTIFY_SOURCE
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tests/integration/fail_at.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct fail_control *control;
static char folder[PATH_MAX];
static size_t folder_size;

/* The function that this one stands in front of. */
#define NEXT(type, name) \
    static type *next;   \
    if (!next)           \
    *(void **)&next = dlsym(RTLD_NEXT, name)

typedef int open_fn(const char *, int, ...);
typedef int openat_fn(int, const char *, int, ...);
typedef void *mmap_fn(void *, size_t, int, int, int, off_t);

__attribute__((constructor)) static void begin(void)
{
    const char *its_folder = getenv("FAIL_AT_FOLDER"), *path = getenv("FAIL_AT_CONTROL");
    open_fn *real_open = NULL;
    mmap_fn *real_mmap = NULL;
    *(void **)&real_open = dlsym(RTLD_NEXT, "open");
    *(void **)&real_mmap = dlsym(RTLD_NEXT, "mmap");
    if (!its_folder || !path || !real_open || !real_mmap)
        return;
    int fd = real_open(path, O_RDWR | O_CLOEXEC);
    void *page = fd < 0
                     ? MAP_FAILED
                     : real_mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || page == MAP_FAILED) {
        (void)dprintf(2, "fail_at: %s: %s\n", path, strerror(errno));
        _exit(99);
    }
    (void)close(fd);
    (void)snprintf(folder, sizeof folder, "%s", its_folder);
    folder_size = strlen(folder);
    control = page;
}

/* ---- does this call fail? ---- */

static bool is_armed(enum fail_call call)
{
    unsigned armed = control ? atomic_load(&control->armed) : 0;
    return armed == 2 || (armed == 1 && control->call == call);
}

static bool is_inside(const char *path)
{
    if (strncmp(path, folder, folder_size) != 0 || (path[folder_size] && path[folder_size] != '/'))
        return false;
    const char *rest = path[folder_size] ? path + folder_size + 1 : "";
    return strncmp(rest, control->path, strnlen(control->path, FAIL_PATH_SIZE)) == 0;
}

/* 0, or the error of this call on `path`; counts it. */
static int judge(enum fail_call call, const char *path)
{
    if (!is_inside(path))
        return 0;
    if (atomic_load(&control->armed) == 2) {
        atomic_fetch_add(&control->counts[call], 1);
        return 0;
    }
    unsigned number = atomic_fetch_add(&control->seen, 1);
    if (number < control->skip || number - control->skip >= control->count)
        return 0;
    if (atomic_fetch_add(&control->failed, 1) == 0)
        (void)snprintf(control->first_path, FAIL_PATH_SIZE, "%s",
                       path[folder_size] ? path + folder_size + 1 : "");
    return (int)control->error;
}

static bool path_of_fd(int fd, char ret_path[PATH_MAX])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, ret_path, PATH_MAX - 1);
    ret_path[size > 0 ? size : 0] = '\0';
    return size > 0;
}

static int fails_fd(enum fail_call call, int fd)
{
    char path[PATH_MAX];
    int saved = errno;
    int error = is_armed(call) && path_of_fd(fd, path) ? judge(call, path) : 0;
    errno = saved;
    return error;
}

static int fails_at(enum fail_call call, int folder_fd, const char *name)
{
    char base[PATH_MAX], path[2 * PATH_MAX];
    int saved = errno, error = 0;
    if (!is_armed(call))
        return 0;
    if (name[0] == '/')
        error = judge(call, name);
    else if (folder_fd != AT_FDCWD && path_of_fd(folder_fd, base)) {
        (void)snprintf(path, sizeof path, "%s/%s", base, name);
        error = judge(call, path);
    }
    errno = saved;
    return error;
}

static int refuse(int error)
{
    errno = error;
    return -1;
}

/* ---- open, mkdir ---- */

#define DEFINE_OPEN(name)                                                       \
    int name(const char *path, int flags, ...)                                  \
    {                                                                           \
        NEXT(open_fn, #name);                                                   \
        va_list args;                                                           \
        va_start(args, flags);                                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; \
        va_end(args);                                                           \
        int error = fails_at(FAIL_OPEN, AT_FDCWD, path);                        \
        return error ? refuse(error) : next(path, flags, mode);                 \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                     \
    int name(int fd, const char *path, int flags, ...)                          \
    {                                                                           \
        NEXT(openat_fn, #name);                                                 \
        va_list args;                                                           \
        va_start(args, flags);                                                  \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; \
        va_end(args);                                                           \
        int error = fails_at(FAIL_OPEN, fd, path);                              \
        return error ? refuse(error) : next(fd, path, flags, mode);             \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

DIR *opendir(const char *path)
{
    typedef DIR *fn(const char *);
    NEXT(fn, "opendir");
    int error = fails_at(FAIL_OPEN, AT_FDCWD, path);
    if (error) {
        errno = error;
        return NULL;
    }
    return next(path);
}

#define DEFINE_READDIR(name, type)                            \
    struct type *name(DIR *directory)                         \
    {                                                         \
        typedef struct type *fn(DIR *);                       \
        NEXT(fn, #name);                                      \
        int error = fails_fd(FAIL_READDIR, dirfd(directory)); \
        if (error) {                                          \
            errno = error;                                    \
            return NULL;                                      \
        }                                                     \
        return next(directory);                               \
    }
DEFINE_READDIR(readdir, dirent)
DEFINE_READDIR(readdir64, dirent64)

int mkdir(const char *path, mode_t mode)
{
    typedef int fn(const char *, mode_t);
    NEXT(fn, "mkdir");
    int error = fails_at(FAIL_MKDIR, AT_FDCWD, path);
    return error ? refuse(error) : next(path, mode);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
    typedef int fn(int, const char *, mode_t);
    NEXT(fn, "mkdirat");
    int error = fails_at(FAIL_MKDIR, fd, path);
    return error ? refuse(error) : next(fd, path, mode);
}

/* ---- bytes ---- */

/* What is left of a short one: at least a byte, or it would look like the end of the file. */
static size_t half(size_t size)
{
    return size > 1 ? size / 2 : size;
}

#define DEFINE_IO(name, call, pointer)                    \
    ssize_t name(int fd, pointer data, size_t size)       \
    {                                                     \
        typedef ssize_t fn(int, pointer, size_t);         \
        NEXT(fn, #name);                                  \
        int error = fails_fd(call, fd);                   \
        if (error && error != FAIL_SHORT)                 \
            return refuse(error);                         \
        return next(fd, data, error ? half(size) : size); \
    }
DEFINE_IO(read, FAIL_READ, void *)
DEFINE_IO(write, FAIL_WRITE, const void *)

#define DEFINE_IO_AT(name, call, pointer)                         \
    ssize_t name(int fd, pointer data, size_t size, off_t offset) \
    {                                                             \
        typedef ssize_t fn(int, pointer, size_t, off_t);          \
        NEXT(fn, #name);                                          \
        int error = fails_fd(call, fd);                           \
        if (error && error != FAIL_SHORT)                         \
            return refuse(error);                                 \
        return next(fd, data, error ? half(size) : size, offset); \
    }
DEFINE_IO_AT(pread, FAIL_PREAD, void *)
DEFINE_IO_AT(pread64, FAIL_PREAD, void *)
DEFINE_IO_AT(pwrite, FAIL_PWRITE, const void *)
DEFINE_IO_AT(pwrite64, FAIL_PWRITE, const void *)

/* A short one of several pieces is the first half of the first. */
ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    typedef ssize_t fn(int, const struct iovec *, int);
    NEXT(fn, "writev");
    int error = fails_fd(FAIL_WRITE, fd);
    if (error && error != FAIL_SHORT)
        return refuse(error);
    struct iovec piece = {pieces[0].iov_base, half(pieces[0].iov_len)};
    return error ? next(fd, &piece, 1) : next(fd, pieces, count);
}

/* ---- the rest ---- */

#define DEFINE_FD(name, call)                    \
    int name(int fd)                             \
    {                                            \
        typedef int fn(int);                     \
        NEXT(fn, #name);                         \
        int error = fails_fd(call, fd);          \
        return error ? refuse(error) : next(fd); \
    }
DEFINE_FD(fsync, FAIL_FSYNC)
DEFINE_FD(syncfs, FAIL_FSYNC)
DEFINE_FD(fdatasync, FAIL_FDATASYNC)

int rename(const char *from, const char *to)
{
    typedef int fn(const char *, const char *);
    NEXT(fn, "rename");
    int error = fails_at(FAIL_RENAME, AT_FDCWD, from);
    return error ? refuse(error) : next(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    typedef int fn(int, const char *, int, const char *);
    NEXT(fn, "renameat");
    int error = fails_at(FAIL_RENAME, from_fd, from);
    return error ? refuse(error) : next(from_fd, from, to_fd, to);
}

int unlink(const char *path)
{
    typedef int fn(const char *);
    NEXT(fn, "unlink");
    int error = fails_at(FAIL_UNLINK, AT_FDCWD, path);
    return error ? refuse(error) : next(path);
}

int unlinkat(int fd, const char *path, int flags)
{
    typedef int fn(int, const char *, int);
    NEXT(fn, "unlinkat");
    int error = fails_at(FAIL_UNLINK, fd, path);
    return error ? refuse(error) : next(fd, path, flags);
}

int rmdir(const char *path)
{
    typedef int fn(const char *);
    NEXT(fn, "rmdir");
    int error = fails_at(FAIL_UNLINK, AT_FDCWD, path);
    return error ? refuse(error) : next(path);
}

#define DEFINE_FALLOCATE(name)                                       \
    int name(int fd, int mode, off_t offset, off_t size)             \
    {                                                                \
        typedef int fn(int, int, off_t, off_t);                      \
        NEXT(fn, #name);                                             \
        int error = fails_fd(FAIL_FALLOCATE, fd);                    \
        return error ? refuse(error) : next(fd, mode, offset, size); \
    }
DEFINE_FALLOCATE(fallocate)
DEFINE_FALLOCATE(fallocate64)

#define DEFINE_POSIX_FALLOCATE(name)                   \
    int name(int fd, off_t offset, off_t size)         \
    {                                                  \
        typedef int fn(int, off_t, off_t);             \
        NEXT(fn, #name);                               \
        int error = fails_fd(FAIL_FALLOCATE, fd);      \
        return error ? error : next(fd, offset, size); \
    }
DEFINE_POSIX_FALLOCATE(posix_fallocate)
DEFINE_POSIX_FALLOCATE(posix_fallocate64)

#define DEFINE_FTRUNCATE(name)                         \
    int name(int fd, off_t size)                       \
    {                                                  \
        typedef int fn(int, off_t);                    \
        NEXT(fn, #name);                               \
        int error = fails_fd(FAIL_FTRUNCATE, fd);      \
        return error ? refuse(error) : next(fd, size); \
    }
DEFINE_FTRUNCATE(ftruncate)
DEFINE_FTRUNCATE(ftruncate64)

#define DEFINE_STATVFS(name, type)                          \
    int name(const char *path, struct type *ret)            \
    {                                                       \
        typedef int fn(const char *, struct type *);        \
        NEXT(fn, #name);                                    \
        int error = fails_at(FAIL_STATVFS, AT_FDCWD, path); \
        return error ? refuse(error) : next(path, ret);     \
    }
DEFINE_STATVFS(statvfs, statvfs)
DEFINE_STATVFS(statvfs64, statvfs64)

#define DEFINE_FSTATFS(name, type)                    \
    int name(int fd, struct type *ret)                \
    {                                                 \
        typedef int fn(int, struct type *);           \
        NEXT(fn, #name);                              \
        int error = fails_fd(FAIL_STATVFS, fd);       \
        return error ? refuse(error) : next(fd, ret); \
    }
DEFINE_FSTATFS(fstatfs, statfs)
DEFINE_FSTATFS(fstatvfs, statvfs)
DEFINE_FSTATFS(fstatvfs64, statvfs64)

#define DEFINE_MMAP(name)                                                              \
    void *name(void *at, size_t size, int protection, int flags, int fd, off_t offset) \
    {                                                                                  \
        NEXT(mmap_fn, #name);                                                          \
        int error = fd >= 0 ? fails_fd(FAIL_MMAP, fd) : 0;                             \
        if (error) {                                                                   \
            errno = error;                                                             \
            return MAP_FAILED;                                                         \
        }                                                                              \
        return next(at, size, protection, flags, fd, offset);                          \
    }
DEFINE_MMAP(mmap)
DEFINE_MMAP(mmap64)
