/* The FUSE session on the client's loop. */
#include "fuse/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "fuse/notify.h"
#include "fuse/ops.h"
#include "fuse/raw.h"

#include "common/base/banned.h"

enum {
    BACKGROUND_MAX = 128, /* reads ahead and asynchronous writes under way; the kernel's 12 would
                             leave a chain of 1 MiB reads idle */
};

static void on_init(void *arg, struct fuse_conn_info *conn)
{
    (void)arg;
    conn->max_write = MOUNT_WRITE_MAX;
    conn->max_background = BACKGROUND_MAX;
    conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
    /* Splice costs 1.5 to 5 times what copying does; pages are dropped when we say so, not whenever
     * a time stamp moved. No writeback cache: the kernel would own sizes and times. */
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                              FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE);
    conn->want |=
        conn->capable & (FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_CACHE_SYMLINKS |
                         FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ASYNC_READ |
                         FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
}

const struct fuse_lowlevel_ops mount_ops = {
    .init = on_init,
    .lookup = ops_lookup,
    .forget = ops_forget,
    .forget_multi = ops_forget_multi,
    .getattr = ops_getattr,
    .setattr = ops_setattr,
    .readlink = ops_readlink,
    .mknod = ops_mknod,
    .mkdir = ops_mkdir,
    .unlink = ops_unlink,
    .rmdir = ops_rmdir,
    .symlink = ops_symlink,
    .rename = ops_rename,
    .link = ops_link,
    .statfs = ops_statfs,
    .getxattr = ops_getxattr,
    .setxattr = ops_setxattr,
    .removexattr = ops_removexattr,
    .listxattr = ops_listxattr,
    .opendir = ops_opendir,
    .readdir = ops_readdir,
    .readdirplus = ops_readdirplus,
    .releasedir = ops_releasedir,
    .fsyncdir = ops_fsyncdir,
    .open = ops_open,
    .create = ops_create,
    .read = ops_read,
    .write = ops_write,
    .flush = ops_flush,
    .release = ops_release,
    .fsync = ops_fsync,
    .fallocate = ops_fallocate,
};

/* ---- between libfuse and the kernel ---- */

/* Also called on the notify thread, which starts after INIT was answered. */
static ssize_t write_reply(int fd, struct iovec *iov, int count, void *arg)
{
    struct mount *m = arg;
    if (!m->init_done)
        m->init_done = raw_patch_init(m->request, m->request_size, iov, count);
    return writev(fd, iov, count);
}

static ssize_t read_request(int fd, void *space, size_t size, void *arg)
{
    (void)arg;
    return read(fd, space, size);
}

static const struct fuse_custom_io custom_io = {.writev = write_reply, .read = read_request};

void mount_stop(struct mount *m)
{
    if (m->ended)
        return;
    m->ended = true;
    loop_watch_release(&m->watch);
    m->on_end(m->arg);
}

/* False when there is nothing more to read now. */
static bool handle_one(struct mount *m)
{
    if (!m->block)
        m->block = buf_create(MOUNT_BLOCK_SIZE);
    uint8_t *at = m->block->data + MOUNT_READ_AT;
    ssize_t size = read(m->watch.fd, at, MOUNT_BLOCK_SIZE - MOUNT_READ_AT);
    if (size < 0) {
        if (errno == EINTR || errno == ENOENT) /* ENOENT: the request was interrupted before */
            return true;
        if (errno != EAGAIN)
            mount_stop(m); /* ENODEV: unmounted */
        return false;
    }
    struct fuse_buf buffer = {.mem = at, .size = (size_t)size};
    m->request = at;
    m->request_size = (size_t)size;
    fuse_session_process_buf(m->session, &buffer);
    m->request = NULL;
    m->request_size = 0;
    if (m->init_done && !m->ready) {
        m->ready = true;
        if (m->on_ready)
            m->on_ready(m->arg);
    }
    if (fuse_session_exited(m->session)) {
        mount_stop(m);
        return false;
    }
    return true;
}

static void on_readable(void *arg)
{
    struct mount *m = arg;
    for (unsigned i = 0; i < MOUNT_REQUESTS_PER_WAKE; i++)
        if (!handle_one(m))
            return;
}

/* ---- life ---- */

static void on_invalidate(void *arg, uint64_t inode)
{
    struct mount *m = arg;
    notify_invalidate(m->notify, inode, true, NULL, NULL);
}

static struct fuse_session *make_session(struct mount *m, const struct mount_options *options)
{
    char name[] = "cairn-mount", flag[] = "-o", none[] = "";
    char *flags = strdup(options->mount_flags ? options->mount_flags : none);
    CHECK(flags);
    char *argv[] = {name, flag, flags, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(flags[0] ? 3 : 1, argv);
    struct fuse_session *session = fuse_session_new(&args, &mount_ops, sizeof mount_ops, m);
    fuse_opt_free_args(&args);
    free(flags);
    return session;
}

int mount_create(struct client *client, const struct mount_options *options,
                 struct mount **ret_mount, struct err_text *why)
{
    struct mount *m = calloc(1, sizeof *m);
    CHECK(m);
    m->client = client;
    m->loop = client_loop(client);
    m->attr_ms = options->attr_ms;
    m->on_ready = options->on_ready;
    m->on_end = options->on_end;
    m->arg = options->arg;
    m->session = make_session(m, options);
    if (!m->session) {
        free(m);
        return err_set(ERR_CONFIG, why, "mount options refused: %s", options->mount_flags);
    }
    if (fuse_session_mount(m->session, options->mount_point) != 0) {
        int status = err_set(ERR_IO, why, "cannot mount on %s: %s", options->mount_point,
                             access("/dev/fuse", R_OK | W_OK) == 0 ? "refused by the system"
                                                                   : "/dev/fuse is not accessible");
        fuse_session_destroy(m->session);
        free(m);
        return status;
    }
    int fd = fuse_session_fd(m->session);
    CHECK(fuse_session_custom_io(m->session, &custom_io, fd) == 0);
    int flags = fcntl(fd, F_GETFL);
    CHECK(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    m->notify = notify_create(m->loop, m->session);
    client_on_invalidate(client, on_invalidate, m);
    loop_watch_init(&m->watch, m->loop, fd, on_readable, NULL, m);
    loop_watch_read(&m->watch, true);
    *ret_mount = m;
    return 0;
}

void mount_destroy(struct mount *m)
{
    m->ended = true;
    loop_watch_release(&m->watch);
    fuse_session_unmount(m->session); /* detaches when it is still mounted; never waits for us */
    notify_destroy(m->notify);
    fuse_session_destroy(m->session);
    buf_unref(m->block);
    free(m);
}
