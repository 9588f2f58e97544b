/* The one thread that tells the kernel to drop what it has cached. */
#ifndef CAIRN_FUSE_NOTIFY_H
#define CAIRN_FUSE_NOTIFY_H

#include "fuse/mount.h"

enum { NOTIFY_QUEUE_MAX = 65536 };

struct notify *notify_create(struct loop *loop, struct fuse_session *session);
/* What is queued is dropped; `done` of it does not run. */
void notify_destroy(struct notify *n);

/* On the loop. Attributes of the inode, and its pages when `pages`. done(arg), which may be NULL,
 * runs on the loop afterwards; when the queue is full it runs at once: pages are then dropped by
 * the next open, which finds that this client no longer vouches for them. */
void notify_invalidate(struct notify *n, uint64_t inode, bool pages, loop_fn *done, void *arg);

#endif
