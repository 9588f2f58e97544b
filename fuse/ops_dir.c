/* Requests about directories. */
#include "fuse/ops.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/check.h"
#include "fuse/convert.h"
#include "fuse/directory.h"

#include "common/base/banned.h"

/* A reply being filled. */
struct filling {
    fuse_req_t req;
    char *at;
    size_t left;
    bool plus;
};

static bool add(struct filling *f, const char *name, const struct fuse_entry_param *entry,
                off_t next)
{
    size_t size = f->plus ? fuse_add_direntry_plus(f->req, f->at, f->left, name, entry, next)
                          : fuse_add_direntry(f->req, f->at, f->left, name, &entry->attr, next);
    if (size > f->left)
        return false;
    f->at += size;
    f->left -= size;
    return true;
}

/* "." and ".." carry no inode the kernel would look up: entry.ino stays 0. */
static bool add_dots(struct filling *f, const struct directory *d, uint64_t offset)
{
    struct fuse_entry_param entry = {.attr = {.st_ino = d->inode, .st_mode = S_IFDIR}};
    if (offset < 1 && !add(f, ".", &entry, 1))
        return false;
    entry.attr.st_ino = 0xffffffff; /* "unknown" by libfuse's convention */
    return offset >= DIRECTORY_DOTS || add(f, "..", &entry, DIRECTORY_DOTS);
}

static void add_entries(struct filling *f, const struct directory *d, unsigned index)
{
    char name[NAME_LENGTH_MAX + 1];
    for (; index < d->count; index++) {
        const struct client_dirent *e = &d->entries[index];
        if (e->name.size > NAME_LENGTH_MAX)
            continue;
        memcpy(name, e->name.data, e->name.size);
        name[e->name.size] = 0;
        struct fuse_entry_param entry = convert_entry(&e->attr, e->valid_ms);
        if (!add(f, name, &entry, (off_t)(e->cookie + DIRECTORY_DOTS)))
            return;
    }
}

static uint64_t cookie_of(uint64_t offset)
{
    return offset <= DIRECTORY_DOTS ? 0 : offset - DIRECTORY_DOTS;
}

static void reply(struct request *r, unsigned index)
{
    struct directory *d = r->directory;
    uint64_t offset = r->offset;
    size_t size = r->size;
    bool plus = r->plus;
    fuse_req_t req = request_end(r);
    if (!req)
        return;
    char *space = malloc(size);
    CHECK(space);
    struct filling f = {.req = req, .at = space, .left = size, .plus = plus};
    if (add_dots(&f, d, offset))
        add_entries(&f, d, index);
    fuse_reply_buf(req, space, size - f.left);
    free(space);
}

static void on_entries(void *arg, int status, const struct client_dirent *entries, unsigned count,
                       bool end)
{
    struct request *r = arg;
    if (status != 0) {
        request_end_status(r, status);
        return;
    }
    /* An interrupted request may outlive its directory. */
    if (r->req) {
        directory_put(r->directory, cookie_of(r->offset), entries, count, end,
                      loop_now_ms() + r->m->attr_ms);
        reply(r, 0);
    } else {
        request_end(r);
    }
}

static void read_directory(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi,
                           bool plus)
{
    struct mount *m = request_mount(req);
    struct directory *d = (struct directory *)(uintptr_t)fi->fh;
    struct request *r = request_new(req);
    unsigned index = 0;
    r->directory = d;
    r->offset = (uint64_t)offset;
    r->size = size;
    r->plus = plus;
    /* From the start it is always read anew: rewinddir(3) shows what has changed. */
    if (offset > DIRECTORY_DOTS && directory_find(d, cookie_of(r->offset), loop_now_ms(), &index)) {
        reply(r, index);
        return;
    }
    struct client_caller who = request_caller(req);
    client_readdir(m->client, &who, d->inode, cookie_of(r->offset), DIRECTORY_BATCH_BYTES,
                   on_entries, r);
}

void ops_opendir(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
    struct directory *d = calloc(1, sizeof *d);
    CHECK(d);
    d->inode = inode;
    fi->fh = (uintptr_t)d;
    if (fuse_reply_open(req, fi) != 0) {
        directory_release(d);
        free(d);
    }
}

void ops_readdir(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
                 struct fuse_file_info *fi)
{
    (void)inode;
    read_directory(req, size, offset, fi, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
                     struct fuse_file_info *fi)
{
    (void)inode;
    read_directory(req, size, offset, fi, true);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
    (void)inode;
    struct directory *d = (struct directory *)(uintptr_t)fi->fh;
    directory_release(d);
    free(d);
    fuse_reply_err(req, 0);
}

/* Every change of a name is durable before it is answered. */
void ops_fsyncdir(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *fi)
{
    (void)inode, (void)datasync, (void)fi;
    fuse_reply_err(req, 0);
}
