/* A data path for the tests of the metadata side. */
#include "tests/unit/common/client/fake_data.h"

#include <stdlib.h>
#include <string.h>

#include "common/client/client_private.h"

enum { FILES = 4096 };

static struct {
    uint8_t *data;
    size_t size;
} contents[FILES];

void fake_data_reset(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        free(contents[i].data);
        contents[i].data = NULL;
        contents[i].size = 0;
    }
}

static void grow(uint64_t inode, size_t size)
{
    if (contents[inode].size >= size)
        return;
    contents[inode].data = realloc(contents[inode].data, size);
    CHECK(contents[inode].data);
    memset(contents[inode].data + contents[inode].size, 0, size - contents[inode].size);
    contents[inode].size = size;
}

void client_data_create(struct client *c)
{
    c->data = NULL;
}

void client_data_destroy(struct client *c)
{
    (void)c;
}

void file_data_release(struct client_file *f)
{
    (void)f;
}

void file_data_abandon(struct client_file *f, int status)
{
    (void)status;
    file_cleaned(f);
}

bool file_data_is_busy(const struct client_file *f)
{
    (void)f;
    return false;
}

void file_data_forget_read(struct client_file *f)
{
    (void)f;
}

struct flushing {
    struct client_file *file;
    uint64_t end;
    client_done_fn *done;
    void *arg;
};

static void on_commit(void *arg, int status)
{
    struct flushing *flushing = arg;
    struct client_file *f = flushing->file;
    if (status != 0 && f->dirty)
        file_fail(f, status);
    if (f->dirty_end == flushing->end)
        file_cleaned(f);
    flushing->done(flushing->arg, status);
    file_drop(f);
    free(flushing);
}

void file_data_flush(struct client_file *f, bool sync, client_done_fn *done, void *arg)
{
    (void)sync;
    if (!f->dirty) {
        done(arg, 0);
        return;
    }
    struct flushing *flushing = calloc(1, sizeof *flushing);
    CHECK(flushing);
    *flushing = (struct flushing){file_hold(f), f->dirty_end, done, arg};
    file_commit(f, f->dirty_end, f->dirty_mtime_ns, NULL, 0, on_commit, flushing);
}

void file_data_truncate(struct client_file *f, const struct client_caller *who, uint64_t size,
                        bool by_handle, client_attr_fn *done, void *arg)
{
    if (f->dirty)
        file_cleaned(f);
    if (size < contents[f->inode].size)
        contents[f->inode].size = size;
    file_set_size(f, who, size, by_handle, done, arg);
}

void client_read(struct client_handle *h, uint64_t offset, size_t size, client_read_fn *done,
                 void *arg)
{
    static const uint8_t zeros[CLIENT_IO_MAX];
    struct client_file *f = h->file;
    uint64_t end = file_size(f);
    if (offset >= end)
        size = 0;
    else if (size > end - offset)
        size = end - offset;
    size_t held = contents[f->inode].size > offset ? contents[f->inode].size - offset : 0;
    if (held > size)
        held = size;
    struct slice pieces[2] = {
        slice_of(held != 0 ? contents[f->inode].data + offset : zeros, held),
        slice_of(zeros, size - held),
    };
    done(arg, 0, pieces, 2, size);
}

void client_write(struct client_handle *h, uint64_t offset, struct buf *take_block, size_t at,
                  size_t size, client_done_fn *done, void *arg)
{
    grow(h->file->inode, offset + size);
    memcpy(contents[h->file->inode].data + offset, take_block->data + at, size);
    buf_unref(take_block);
    file_wrote(h->file, h, offset + size);
    done(arg, 0);
}

struct reporting {
    struct client_handle *handle;
    client_done_fn *done;
    void *arg;
};

static void on_flushed(void *arg, int status)
{
    struct reporting *r = arg;
    (void)status;
    r->done(r->arg, file_take_error(r->handle));
    free(r);
}

void client_flush(struct client_handle *h, client_done_fn *done, void *arg)
{
    struct reporting *r = calloc(1, sizeof *r);
    CHECK(r);
    *r = (struct reporting){h, done, arg};
    file_data_flush(h->file, false, on_flushed, r);
}

void client_fsync(struct client_handle *h, client_done_fn *done, void *arg)
{
    client_flush(h, done, arg);
}

void client_truncate(struct client_handle *h, const struct client_caller *who, uint64_t size,
                     client_attr_fn *done, void *arg)
{
    file_data_truncate(h->file, who, size, true, done, arg);
}

void client_fallocate(struct client_handle *h, const struct client_caller *who,
                      enum client_fallocate_mode mode, uint64_t offset, uint64_t size,
                      client_done_fn *done, void *arg)
{
    (void)h, (void)who, (void)mode, (void)offset, (void)size;
    done(arg, -ERR_NOT_SUPPORTED);
}
