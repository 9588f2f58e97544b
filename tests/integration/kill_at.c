/* Preloaded into a daemon: ends it with SIGKILL at one of its calls that change files below a
 * folder.
 *
 *   LD_PRELOAD=kill-at.so KILL_AT=CONTROL KILL_BELOW=FOLDER daemon ...
 *
 * CONTROL is a file of `struct control`, shared with the test. While it is armed, each call counts;
 * number `target` dies before it, after it, or (of writes over a block only, counted apart) when
 * half of its blocks are written, as a SIGKILL cuts a write(2) between two pages. `where` tells the
 * call, and KILL_TRACE, if set, is a file that gets a line for each. Flushes are counted but not
 * carried out: a killed process loses nothing that it wrote, and the test is many times faster. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCK = 4096, WHERE_SIZE = 256 };

enum moment { BEFORE = 0, WITHIN = 1, AFTER = 2 };

/* Known to kill_anywhere.py, too. */
struct control {
    _Atomic uint32_t armed;
    uint32_t moment; /* enum moment */
    uint64_t target; /* 0 = none: only count */
    _Atomic uint64_t calls, large;
    char where[WHERE_SIZE];
};

static struct control *control;
static int trace_fd = -1;
static char below[PATH_MAX];
static size_t below_size;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("KILL_AT"), *folder = getenv("KILL_BELOW");
    int fd = path && folder ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (at == MAP_FAILED)
        return;
    below_size = (size_t)snprintf(below, sizeof below, "%s", folder);
    control = at;
    const char *trace = getenv("KILL_TRACE");
    if (trace)
        trace_fd = open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* One call; `number` 0: none of ours. */
struct call {
    uint64_t number, large;
};

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

static bool is_now(const struct call *c, enum moment moment)
{
    uint64_t number = moment == WITHIN ? c->large : c->number;
    return number > 0 && control->target == number && control->moment == moment;
}

/* Counts the call when `path` is below the folder, and dies before it if this is the one. */
static struct call count(const char *name, const char *path, size_t size)
{
    struct call c = {0, 0};
    if (!control || !atomic_load(&control->armed) || strncmp(path, below, below_size) != 0)
        return c;
    c.number = atomic_fetch_add(&control->calls, 1) + 1;
    if (size > BLOCK)
        c.large = atomic_fetch_add(&control->large, 1) + 1;
    if (trace_fd >= 0)
        (void)dprintf(trace_fd, "%ju %ju %s %.200s\n", (uintmax_t)c.number, (uintmax_t)c.large,
                      name, path + below_size);
    if (control->target == (control->moment == WITHIN ? c.large : c.number))
        (void)snprintf(control->where, WHERE_SIZE, "%s %.200s", name, path + below_size);
    if (is_now(&c, BEFORE))
        die();
    return c;
}

static void path_of_fd(int fd, char ret_path[PATH_MAX])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, ret_path, PATH_MAX - 1);
    ret_path[size > 0 ? size : 0] = '\0';
}

static struct call count_fd(const char *name, int fd, size_t size)
{
    char path[PATH_MAX] = "";
    if (control && atomic_load(&control->armed))
        path_of_fd(fd, path);
    return count(name, path, size);
}

static struct call count_at(const char *name, int folder_fd, const char *path)
{
    char whole[2 * PATH_MAX], folder[PATH_MAX];
    if (path[0] == '/' || folder_fd == AT_FDCWD || !control)
        return count(name, path, 0);
    path_of_fd(folder_fd, folder);
    (void)snprintf(whole, sizeof whole, "%s/%s", folder, path);
    return count(name, whole, 0);
}

/* Keeps errno for the caller. */
static void end(const struct call *c)
{
    if (is_now(c, AFTER))
        die();
}

/* The next definition of a function, as a variable of that type. */
#define REAL(name)                   \
    static __typeof__(&(name)) real; \
    if (!real)                       \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

#define CALL(counted, expression)               \
    struct call c = counted;                    \
    __typeof__(expression) result = expression; \
    end(&c);                                    \
    return result

/* ---- writes ---- */

static ssize_t write_at(int fd, const void *data, size_t size, off_t offset)
{
    REAL(pwrite);
    struct call c = count_fd("pwrite", fd, size);
    if (is_now(&c, WITHIN)) {
        (void)real(fd, data, (size / 2 + BLOCK - 1) / BLOCK * BLOCK, offset);
        die();
    }
    ssize_t result = real(fd, data, size, offset);
    end(&c);
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return write_at(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return write_at(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *pieces, int piece_count)
{
    REAL(writev);
    size_t size = 0;
    for (int i = 0; i < piece_count; i++)
        size += pieces[i].iov_len;
    struct call c = count_fd("writev", fd, size);
    if (is_now(&c, WITHIN)) {
        (void)real(fd, pieces, piece_count > 1 ? piece_count / 2 : 1);
        die();
    }
    ssize_t result = real(fd, pieces, piece_count);
    end(&c);
    return result;
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    CALL(count_fd("write", fd, 0), real(fd, data, size));
}

/* ---- sizes ---- */

static int truncate_to(int fd, off_t size)
{
    REAL(ftruncate);
    CALL(count_fd("ftruncate", fd, 0), real(fd, size));
}

int ftruncate(int fd, off_t size)
{
    return truncate_to(fd, size);
}

int ftruncate64(int fd, off_t size)
{
    return truncate_to(fd, size);
}

static int allocate(int fd, int mode, off_t offset, off_t size)
{
    REAL(fallocate);
    CALL(count_fd("fallocate", fd, 0), real(fd, mode, offset, size));
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return allocate(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
{
    return allocate(fd, mode, offset, size);
}

static int allocate_posix(int fd, off_t offset, off_t size)
{
    REAL(posix_fallocate);
    CALL(count_fd("posix_fallocate", fd, 0), real(fd, offset, size));
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    return allocate_posix(fd, offset, size);
}

int posix_fallocate64(int fd, off_t offset, off_t size)
{
    return allocate_posix(fd, offset, size);
}

/* ---- flushes ---- */

int fsync(int fd)
{
    CALL(count_fd("fsync", fd, 0), 0);
}

int fdatasync(int fd)
{
    CALL(count_fd("fdatasync", fd, 0), 0);
}

int syncfs(int fd)
{
    CALL(count_fd("syncfs", fd, 0), 0);
}

/* ---- names ---- */

static int open_at(int folder_fd, const char *path, int flags, mode_t mode)
{
    REAL(openat);
    if (!(flags & (O_CREAT | O_TRUNC)))
        return real(folder_fd, path, flags, mode);
    CALL(count_at("open", folder_fd, path), real(folder_fd, path, flags, mode));
}

#define MODE(flags)                  \
    mode_t mode = 0;                 \
    if ((flags)&O_CREAT) {           \
        va_list rest;                \
        va_start(rest, flags);       \
        mode = va_arg(rest, mode_t); \
        va_end(rest);                \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags)
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags)
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int folder_fd, const char *path, int flags, ...)
{
    MODE(flags)
    return open_at(folder_fd, path, flags, mode);
}

int openat64(int folder_fd, const char *path, int flags, ...)
{
    MODE(flags)
    return open_at(folder_fd, path, flags, mode);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    CALL(count("mkdir", path, 0), real(path, mode));
}

int rmdir(const char *path)
{
    REAL(rmdir);
    CALL(count("rmdir", path, 0), real(path));
}

int unlink(const char *path)
{
    REAL(unlink);
    CALL(count("unlink", path, 0), real(path));
}

int unlinkat(int folder_fd, const char *path, int flags)
{
    REAL(unlinkat);
    CALL(count_at("unlink", folder_fd, path), real(folder_fd, path, flags));
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    CALL(count("rename", to, 0), real(from, to));
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(renameat);
    CALL(count_at("rename", to_fd, to), real(from_fd, from, to_fd, to));
}
