/* One kernel request from its arrival to its answer.
 *
 * Interrupts: a signal to the waiting process makes the kernel send one, also for signals that no
 * local file system would notice. So the request goes on, and only when it is still unanswered
 * REQUEST_INTERRUPT_MS later it is answered with EINTR: a killed process can die, a program with a
 * timer signal notices nothing. What the request asked for still ends by itself; its result is let
 * go. */
#ifndef CAIRN_FUSE_REQUEST_H
#define CAIRN_FUSE_REQUEST_H

#include "fuse/mount.h"

enum { REQUEST_INTERRUPT_MS = 2000 };

struct open_file {
    struct client_handle *handle;
    uint32_t mode; /* at open: set-id bits that a write has to clear */
};

struct request {
    struct mount *m;
    fuse_req_t req; /* NULL once it was answered with EINTR */
    struct loop_timer timer;
    uint64_t inode, offset;
    size_t size, at;
    uint32_t flags;
    struct buf *block;
    struct open_file *file;
    struct directory *directory;
    bool plus;
    struct client_opened opened;
};

struct request *request_new(fuse_req_t req);
/* Frees it. Returns the kernel's request to be answered now, or NULL when it was interrupted. */
fuse_req_t request_end(struct request *r);
/* Ends it with a status of the client. */
void request_end_status(struct request *r, int status);
/* For client_done_fn and client_attr_fn whose attributes are not wanted. */
void request_on_done(void *arg, int status);
void request_on_attr_done(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms);

static inline struct mount *request_mount(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* Who asks; the groups are valid until the next call. */
struct client_caller request_caller(fuse_req_t req);

#endif
