/* Requests about open files and their data. */
#include "fuse/ops.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/check.h"
#include "fuse/convert.h"
#include "fuse/notify.h"
#include "fuse/raw.h"

#include "common/base/banned.h"

/* A WRITE this long takes the block it came in; a shorter one is copied, so that it does not pin a
 * megabyte: copying 32 KiB costs 3 us, a tenth of the request. */
enum { TAKE_BLOCK_BYTES = 64 << 10 };

/* ---- open, create, release ---- */

static void file_free(struct open_file *file)
{
    client_release(file->handle);
    free(file);
}

static struct open_file *file_make(const struct client_opened *opened)
{
    struct open_file *file = calloc(1, sizeof *file);
    CHECK(file);
    file->handle = opened->handle;
    file->mode = opened->attr.mode;
    return file;
}

static struct raw_open answer_of(const struct open_file *file, const struct client_opened *opened)
{
    return (struct raw_open){
        .handle = (uintptr_t)file,
        .keep_pages = opened->keep_pages,
        .no_flush = (client_handle_flags(file->handle) & OPEN_WRITE) == 0,
    };
}

/* Attributes the kernel still believes are gone now: the open can be answered. */
static void answer_open(void *arg)
{
    struct request *r = arg;
    struct open_file *file = file_make(&r->opened);
    struct raw_open out = answer_of(file, &r->opened);
    fuse_req_t req = request_end(r);
    /* An open that nobody waits for any more will see no release. */
    if (!req || raw_reply_open(req, &out) != 0)
        file_free(file);
}

static void open_is_ready(struct request *r)
{
    if (r->opened.attr_changed)
        notify_invalidate(r->m->notify, r->opened.attr.inode, false, answer_open, r);
    else
        answer_open(r);
}

static void on_open_cleared(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    struct request *r = arg;
    (void)valid_ms;
    if (status != 0) {
        client_release(r->opened.handle);
        request_end_status(r, status);
        return;
    }
    r->opened.attr = *attr;
    open_is_ready(r);
}

static void on_open(void *arg, int status, const struct client_opened *opened)
{
    struct request *r = arg;
    if (status != 0) {
        request_end_status(r, status);
        return;
    }
    r->opened = *opened;
    bool setid = (opened->attr.mode & (S_ISUID | S_ISGID)) != 0;
    if (setid && (r->flags & OPEN_TRUNCATE) != 0 && r->req && fuse_req_ctx(r->req)->uid != 0) {
        /* Truncating is writing: what a write would clear goes here too. */
        struct client_caller who = request_caller(r->req);
        struct client_setattr set = {.valid = SETATTR_KILL_SUID};
        client_setattr(r->m->client, &who, opened->attr.inode, opened->handle, &set,
                       on_open_cleared, r);
        return;
    }
    open_is_ready(r);
}

void ops_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
    struct client_caller who = request_caller(req);
    struct request *r = request_new(req);
    r->flags = convert_open_flags(fi->flags);
    client_open(r->m->client, &who, inode, r->flags, on_open, r);
}

static void on_create(void *arg, int status, const struct client_opened *opened)
{
    struct request *r = arg;
    if (status != 0) {
        request_end_status(r, status);
        return;
    }
    struct open_file *file = file_make(opened);
    struct raw_open out = answer_of(file, opened);
    fuse_req_t req = request_end(r);
    if (!req || raw_reply_create(req, &opened->attr, opened->valid_ms, &out) != 0)
        file_free(file);
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                struct fuse_file_info *fi)
{
    struct client_caller who = request_caller(req);
    client_create_file(request_mount(req)->client, &who, parent, slice_str(name), mode & 07777,
                       convert_open_flags(fi->flags), on_create, request_new(req));
}

void ops_release(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
    (void)inode;
    file_free(open_file_of(fi));
    fuse_reply_err(req, 0);
}

/* ---- read ---- */

static void on_read(void *arg, int status, const struct slice *pieces, unsigned count, size_t size)
{
    fuse_req_t req = request_end(arg);
    if (!req)
        return;
    if (status != 0) {
        fuse_reply_err(req, err_errno(status));
        return;
    }
    struct iovec iov[CLIENT_READ_PIECES_MAX];
    CHECK(count <= CLIENT_READ_PIECES_MAX);
    for (unsigned i = 0; i < count; i++)
        iov[i] = (struct iovec){
            .iov_base = (void *)(uintptr_t)pieces[i].data,
            .iov_len = pieces[i].size,
        };
    (void)size;
    fuse_reply_iov(req, iov, (int)count);
}

void ops_read(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
              struct fuse_file_info *fi)
{
    (void)inode;
    client_read(open_file_of(fi)->handle, (uint64_t)offset, size, on_read, request_new(req));
}

/* ---- write ---- */

static void on_written(void *arg, int status)
{
    struct request *r = arg;
    size_t size = r->size;
    fuse_req_t req = request_end(r);
    if (!req)
        return;
    if (status == 0)
        fuse_reply_write(req, size);
    else
        fuse_reply_err(req, err_errno(status));
}

static void write_now(struct request *r)
{
    client_write(r->file->handle, r->offset, r->block, r->at, r->size, on_written, r);
}

static void on_setid_cleared(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    struct request *r = arg;
    (void)valid_ms;
    if (status != 0 || !r->req) { /* an interrupted request may outlive its handle */
        buf_unref(r->block);
        request_end_status(r, status);
        return;
    }
    r->file->mode = attr->mode;
    write_now(r);
}

/* The block the request came in, or a copy of a short one. */
static struct buf *take_data(struct mount *m, const char *data, size_t size, size_t *ret_at)
{
    if (size >= TAKE_BLOCK_BYTES) {
        struct buf *block = m->block;
        m->block = NULL;
        *ret_at = (size_t)((const uint8_t *)data - block->data);
        return block;
    }
    struct buf *block = buf_create(size);
    memcpy(block->data, data, size);
    *ret_at = 0;
    return block;
}

void ops_write(fuse_req_t req, fuse_ino_t inode, const char *data, size_t size, off_t offset,
               struct fuse_file_info *fi)
{
    struct mount *m = request_mount(req);
    if (size == 0) {
        fuse_reply_write(req, 0);
        return;
    }
    bool kills_setid = raw_write_kills_setid(m->request, m->request_size);
    struct client_caller who = request_caller(req);
    struct request *r = request_new(req);
    r->file = open_file_of(fi);
    r->offset = (uint64_t)offset;
    r->size = size;
    r->block = take_data(m, data, size, &r->at);
    if (kills_setid && (r->file->mode & (S_ISUID | S_ISGID)) != 0) {
        struct client_setattr set = {.valid = SETATTR_KILL_SUID};
        client_setattr(m->client, &who, inode, r->file->handle, &set, on_setid_cleared, r);
    } else {
        write_now(r);
    }
}

/* ---- flush, fsync, fallocate ---- */

void ops_flush(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
    (void)inode;
    client_flush(open_file_of(fi)->handle, request_on_done, request_new(req));
}

/* fdatasync is fsync: the size is always committed, and times cost nothing extra. */
void ops_fsync(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *fi)
{
    (void)inode, (void)datasync;
    client_fsync(open_file_of(fi)->handle, request_on_done, request_new(req));
}

void ops_fallocate(fuse_req_t req, fuse_ino_t inode, int mode, off_t offset, off_t size,
                   struct fuse_file_info *fi)
{
    (void)inode;
    enum client_fallocate_mode how = convert_fallocate(mode);
    if (how == 0) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    if (offset < 0 || size <= 0) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct client_caller who = request_caller(req);
    client_fallocate(open_file_of(fi)->handle, &who, how, (uint64_t)offset, (uint64_t)size,
                     request_on_done, request_new(req));
}
