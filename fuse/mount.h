/* One mount: the FUSE session on the client's loop.
 *
 * Everything runs on the loop's thread except notify.c's thread, which sends invalidations to the
 * kernel: they wait for page locks that only our answers release, so the loop must never send them.
 */
#ifndef CAIRN_FUSE_MOUNT_H
#define CAIRN_FUSE_MOUNT_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 312
#endif
#include <fuse3/fuse_lowlevel.h>

#include "common/base/buf.h"
#include "common/client/client.h"
#include "fuse/groups.h"

enum {
    MOUNT_WRITE_MAX = 1 << 20,
    /* Requests are read so far behind the start of a block that the data of a WRITE, behind its 80
     * bytes of headers, begins on a page. */
    MOUNT_READ_AT = 4096 - 80,
    MOUNT_BLOCK_SIZE = 4096 + MOUNT_WRITE_MAX + 4096,
    MOUNT_REQUESTS_PER_WAKE = 32, /* then the loop flushes what they asked for */
};

struct notify;

struct mount {
    struct loop *loop;
    struct client *client;
    struct fuse_session *session;
    struct notify *notify;
    struct loop_watch watch;
    struct buf *block;      /* requests are read into it; a WRITE takes it over */
    const uint8_t *request; /* the one being handled, and its size */
    size_t request_size;
    bool init_done, ready, ended;
    unsigned attr_ms;
    struct group_cache groups;
    loop_fn *on_ready, *on_end;
    void *arg; /* of both */
};

struct mount_options {
    const char *mount_point;
    const char *mount_flags; /* for libfuse: "nosuid,nodev,..." */
    unsigned attr_ms;
    loop_fn *on_ready; /* the kernel has taken our answer to INIT; may be NULL */
    loop_fn *on_end;   /* once: the kernel let go of the mount */
    void *arg;         /* of both */
};

/* Mounts. The client is borrowed and must outlive the mount. -ERR_IO with the reason. */
int mount_create(struct client *client, const struct mount_options *options,
                 struct mount **ret_mount, struct err_text *why);
/* No more requests are read; on_end runs unless it has run already. Before client_close. */
void mount_stop(struct mount *m);
/* After on_end, when the client is closed: it has answered everything. */
void mount_destroy(struct mount *m);

/* ops_*.c */
extern const struct fuse_lowlevel_ops mount_ops;

#endif
