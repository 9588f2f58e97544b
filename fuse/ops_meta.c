/* Requests about names and attributes. */
#include "fuse/ops.h"

#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "fuse/convert.h"
#include "fuse/raw.h"

#include "common/base/banned.h"

/* Answers with an entry; a missing name may be remembered by the kernel too. */
static void on_entry(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    fuse_req_t req = request_end(arg);
    if (!req)
        return;
    if (status == 0) {
        struct fuse_entry_param entry = convert_entry(attr, valid_ms);
        fuse_reply_entry(req, &entry);
    } else if (status == -ERR_NO_ENTRY && valid_ms != 0) {
        fuse_reply_entry(req, &(struct fuse_entry_param){.entry_timeout = valid_ms / 1000.0});
    } else {
        fuse_reply_err(req, err_errno(status));
    }
}

/* The kernel takes a made name's absence for an error only. */
static void on_made(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    if (status == 0)
        on_entry(arg, 0, attr, valid_ms);
    else
        request_end_status(arg, status);
}

static void on_attr(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    fuse_req_t req = request_end(arg);
    if (!req)
        return;
    if (status == 0) {
        struct stat st = convert_stat(attr);
        fuse_reply_attr(req, &st, valid_ms / 1000.0);
    } else {
        fuse_reply_err(req, err_errno(status));
    }
}

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct client_caller who = request_caller(req);
    client_lookup(request_mount(req)->client, &who, parent, slice_str(name), on_entry,
                  request_new(req));
}

void ops_forget(fuse_req_t req, fuse_ino_t inode, uint64_t count)
{
    (void)count; /* what is remembered here is a cache: no counting is needed */
    client_forget(request_mount(req)->client, inode);
    fuse_reply_none(req);
}

void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        client_forget(request_mount(req)->client, forgets[i].ino);
    fuse_reply_none(req);
}

void ops_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
    (void)fi;
    struct client_caller who = request_caller(req);
    client_getattr(request_mount(req)->client, &who, inode, on_attr, request_new(req));
}

void ops_setattr(fuse_req_t req, fuse_ino_t inode, struct stat *st, int to_set,
                 struct fuse_file_info *fi)
{
    struct mount *m = request_mount(req);
    struct client_caller who = request_caller(req);
    struct client_setattr set = convert_setattr(st, to_set);
    const struct open_file *file = fi ? open_file_of(fi) : NULL;
    if (raw_setattr_kills_setid(m->request, m->request_size))
        set.valid |= SETATTR_KILL_SUID;
    client_setattr(m->client, &who, inode, file ? file->handle : NULL, &set, on_attr,
                   request_new(req));
}

static void on_link_target(void *arg, int status, struct slice target)
{
    fuse_req_t req = request_end(arg);
    if (!req)
        return;
    if (status == 0)
        fuse_reply_buf(req, (const char *)target.data, target.size);
    else
        fuse_reply_err(req, err_errno(status));
}

void ops_readlink(fuse_req_t req, fuse_ino_t inode)
{
    struct client_caller who = request_caller(req);
    client_readlink(request_mount(req)->client, &who, inode, on_link_target, request_new(req));
}

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct client_caller who = request_caller(req);
    client_mknod(request_mount(req)->client, &who, parent, slice_str(name), mode, (uint32_t)rdev,
                 on_made, request_new(req));
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct client_caller who = request_caller(req);
    client_mkdir(request_mount(req)->client, &who, parent, slice_str(name), mode, on_made,
                 request_new(req));
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct client_caller who = request_caller(req);
    client_unlink(request_mount(req)->client, &who, parent, slice_str(name), request_on_attr_done,
                  request_new(req));
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct client_caller who = request_caller(req);
    client_rmdir(request_mount(req)->client, &who, parent, slice_str(name), request_on_attr_done,
                 request_new(req));
}

void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct client_caller who = request_caller(req);
    client_symlink(request_mount(req)->client, &who, parent, slice_str(name), slice_str(target),
                   on_made, request_new(req));
}

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                const char *new_name, unsigned flags)
{
    /* The kernel's bits and ours are the same two. */
    if (flags & ~(unsigned)(RENAME_FLAG_NOREPLACE | RENAME_FLAG_EXCHANGE)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct client_caller who = request_caller(req);
    client_rename(request_mount(req)->client, &who, parent, slice_str(name), new_parent,
                  slice_str(new_name), flags, request_on_attr_done, request_new(req));
}

void ops_link(fuse_req_t req, fuse_ino_t inode, fuse_ino_t new_parent, const char *new_name)
{
    struct client_caller who = request_caller(req);
    client_link(request_mount(req)->client, &who, inode, new_parent, slice_str(new_name), on_made,
                request_new(req));
}

static void on_statfs(void *arg, int status, const struct client_statfs *s)
{
    fuse_req_t req = request_end(arg);
    if (!req)
        return;
    if (status != 0) {
        fuse_reply_err(req, err_errno(status));
        return;
    }
    struct statvfs out = {
        .f_bsize = BLOCK_SIZE,
        .f_frsize = BLOCK_SIZE,
        .f_blocks = s->bytes_total / BLOCK_SIZE,
        .f_bfree = s->bytes_free / BLOCK_SIZE,
        .f_bavail = s->bytes_free / BLOCK_SIZE,
        .f_files = s->file_count + s->files_free,
        .f_ffree = s->files_free,
        .f_favail = s->files_free,
        .f_namemax = NAME_LENGTH_MAX,
    };
    fuse_reply_statfs(req, &out);
}

void ops_statfs(fuse_req_t req, fuse_ino_t inode)
{
    (void)inode;
    client_statfs(request_mount(req)->client, on_statfs, request_new(req));
}
