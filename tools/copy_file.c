/* Copies one file in or out of the cluster, past the mount. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tools/copy.h"

static void done(struct copy *c, uint64_t bytes)
{
    (void)pthread_mutex_lock(&c->lock);
    c->bytes_done += bytes;
    (void)pthread_mutex_unlock(&c->lock);
}

int copy_parent(struct copy *c, const char *path, uint64_t *ret_parent, const char **ret_name,
                char folder[PATH_MAX])
{
    struct wire_attr attr;
    int status = place_split(path, folder, ret_name);
    if (status == 0)
        status = blocking_resolve(c->client, caller_self(), folder, &attr);
    if (status == 0)
        *ret_parent = attr.inode;
    return status;
}

/* Fills the block from the file; fewer bytes only at its end. */
static ssize_t read_full(int fd, uint8_t *data, size_t size)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, data + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static int send_data(struct copy *c, int fd, struct client_handle *h, uint64_t *ret_size)
{
    uint64_t at = 0;
    for (;;) {
        struct buf *block = buf_create(COPY_PIECE);
        ssize_t got = read_full(fd, block->data, COPY_PIECE);
        if (got <= 0 || is_zero(block->data, (size_t)got)) {
            buf_unref(block); /* a hole stays a hole */
            if (got <= 0) {
                *ret_size = at;
                return got < 0 ? err_from_errno(errno) : 0;
            }
        } else {
            int status = blocking_write(c->client, h, at, block, 0, (size_t)got);
            if (status != 0)
                return status;
        }
        at += (uint64_t)got;
        done(c, (uint64_t)got);
    }
}

static int set_attributes(struct copy *c, uint64_t inode, const struct copy_file *f)
{
    struct client_setattr set = {.valid = SETATTR_MODE | SETATTR_MTIME | SETATTR_ATIME,
                                 .mode = f->mode & 07777,
                                 .mtime_ns = f->mtime_ns,
                                 .atime_ns = f->mtime_ns};
    return blocking_setattr(c->client, caller_self(), inode, NULL, &set, NULL);
}

static int compare(struct copy *c, const struct copy_file *f, uint64_t inode)
{
    struct client_opened opened;
    int fd = open(c->from_remote ? f->to : f->from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int status = blocking_open(c->client, caller_self(), inode, OPEN_READ, &opened);
    uint8_t *mine = malloc(COPY_READ_PIECE), *theirs = malloc(COPY_READ_PIECE);
    CHECK(mine != NULL && theirs != NULL);
    size_t size = 1;
    for (uint64_t at = 0; status == 0 && size > 0; at += size) {
        status = blocking_read(c->client, opened.handle, at, theirs, COPY_READ_PIECE, &size);
        ssize_t got = status == 0 ? read_full(fd, mine, COPY_READ_PIECE) : 0;
        if (status == 0 && (got < 0 || (size_t)got != size || memcmp(mine, theirs, size) != 0))
            status = -ERR_CORRUPT;
    }
    if (status == 0 || status == -ERR_CORRUPT)
        (void)blocking_release(c->client, opened.handle);
    free(mine);
    free(theirs);
    (void)close(fd);
    return status;
}

static int copy_in(struct copy *c, const struct copy_file *f)
{
    char folder[PATH_MAX];
    const char *name;
    uint64_t parent = 0, size = 0;
    struct client_opened opened;
    int fd = open(f->from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int status = copy_parent(c, f->to, &parent, &name, folder);
    if (status == 0)
        status = blocking_create_file(c->client, caller_self(), parent, slice_str(name),
                                      f->mode & 0777, OPEN_WRITE, &opened);
    if (status != 0) {
        (void)close(fd);
        return status;
    }
    uint64_t inode = opened.attr.inode;
    if (!opened.created && opened.attr.size > 0)
        status = blocking_truncate(c->client, caller_self(), opened.handle, 0, NULL);
    if (status == 0)
        status = send_data(c, fd, opened.handle, &size);
    if (status == 0)
        status = blocking_flush(c->client, opened.handle);
    struct wire_attr now;
    if (status == 0)
        status = blocking_getattr(c->client, caller_self(), inode, &now);
    if (status == 0 && now.size < size) /* it ends in a hole */
        status = blocking_truncate(c->client, caller_self(), opened.handle, size, NULL);
    if (status == 0)
        status = blocking_fsync(c->client, opened.handle); /* success means durable (P1) */
    (void)blocking_release(c->client, opened.handle);
    (void)close(fd);
    if (status == 0)
        status = set_attributes(c, inode, f);
    return status == 0 && c->verify ? compare(c, f, inode) : status;
}

static int write_full(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_from_errno(errno);
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int receive_data(struct copy *c, struct client_handle *h, int fd)
{
    uint8_t *data = malloc(COPY_READ_PIECE);
    size_t size = 1;
    int status = 0;
    CHECK(data != NULL);
    for (uint64_t at = 0; status == 0 && size > 0; at += size) {
        status = blocking_read(c->client, h, at, data, COPY_READ_PIECE, &size);
        if (status == 0)
            status = write_full(fd, data, size);
        done(c, size);
    }
    free(data);
    return status;
}

static int copy_out(struct copy *c, const struct copy_file *f)
{
    struct client_opened opened;
    int status = blocking_open(c->client, caller_self(), f->inode, OPEN_READ, &opened);
    if (status != 0)
        return status;
    int fd = open(f->to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, f->mode & 0777);
    if (fd < 0)
        status = err_from_errno(errno);
    if (status == 0)
        status = receive_data(c, opened.handle, fd);
    (void)blocking_release(c->client, opened.handle);
    struct timespec times[2] = {{f->mtime_ns / 1000000000, f->mtime_ns % 1000000000},
                                {f->mtime_ns / 1000000000, f->mtime_ns % 1000000000}};
    if (status == 0 &&
        (fchmod(fd, f->mode & 07777) != 0 || futimens(fd, times) != 0 || fsync(fd) != 0))
        status = err_from_errno(errno);
    if (fd >= 0 && close(fd) != 0 && status == 0)
        status = err_from_errno(errno);
    return status == 0 && c->verify ? compare(c, f, f->inode) : status;
}

int copy_one(struct copy *c, const struct copy_file *f)
{
    return c->to_remote ? copy_in(c, f) : copy_out(c, f);
}
