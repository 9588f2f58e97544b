/* The table of files in use and their handles. */
#include <stdlib.h>

#include "common/client/client_private.h"

#include "common/base/banned.h"

struct client_file *file_find(struct client *c, uint64_t inode)
{
    return map_get(&c->files, inode);
}

struct client_file *file_hold(struct client_file *f)
{
    CHECK_OBJ(f, CLIENT_FILE_MAGIC);
    f->references++;
    return f;
}

struct client_file *file_get(struct client *c, uint64_t inode)
{
    struct client_file *f = file_find(c, inode);
    if (f)
        return file_hold(f);
    f = calloc(1, sizeof *f);
    CHECK(f);
    f->magic = CLIENT_FILE_MAGIC;
    f->c = c;
    f->inode = inode;
    f->references = 1;
    list_init(&f->handles);
    map_init(&f->chunks, prng_next(&c->prng));
    CHECK(map_put(&c->files, inode, f) == NULL);
    return f;
}

void file_drop(struct client_file *f)
{
    CHECK_OBJ(f, CLIENT_FILE_MAGIC);
    CHECK(f->references > 0);
    if (--f->references > 0)
        return;
    struct client *c = f->c;
    CHECK(!f->dirty && list_empty(&f->handles) && f->opens_pending == 0);
    file_data_release(f);
    CHECK(map_remove(&c->files, f->inode) == f);
    if (f->opens != 0)
        release_batch_add(c, f->inode, f->opens);
    if (f->attr.nlink == 0 && f->attr.inode != 0)
        attr_cache_drop(&c->cache, f->inode); /* the last opener of an orphan lets go */
    map_release(&f->chunks);
    f->magic = 0;
    free(f);
}

/* ---- attributes ---- */

void file_absorb(struct client *c, const struct wire_attr *attr, uint64_t before, uint64_t asked_ms)
{
    struct client_file *f = file_find(c, attr->inode);
    attr_cache_put(&c->cache, attr, asked_ms);
    if (before != 0)
        attr_cache_pages_moved(&c->cache, attr, before);
    if (f && attr->version >= f->attr.version)
        f->attr = *attr;
}

void file_overlay(struct client *c, struct wire_attr *attr)
{
    const struct client_file *f = file_find(c, attr->inode);
    if (!f || !f->dirty)
        return;
    if (f->dirty_end > attr->size)
        attr->size = f->dirty_end;
    if (f->dirty_mtime_ns > attr->mtime_ns)
        attr->mtime_ns = f->dirty_mtime_ns;
    if (f->dirty_mtime_ns > attr->ctime_ns)
        attr->ctime_ns = f->dirty_mtime_ns;
}

void file_invalidate(struct client_file *f)
{
    struct client *c = f->c;
    attr_cache_drop(&c->cache, f->inode);
    file_data_forget_read(f);
    if (c->invalidate)
        c->invalidate(c->invalidate_arg, f->inode);
}

/* ---- dirty state and errors ---- */

void file_wrote(struct client_file *f, const struct client_handle *h, uint64_t end)
{
    if (!f->dirty)
        f->dirty_generation = f->chunks_generation;
    f->dirty = true;
    if (end > f->dirty_end)
        f->dirty_end = end;
    f->dirty_mtime_ns = client_wall_ns();
    f->writer_uid = h->uid;
    f->writer_gid = h->gid;
}

void file_cleaned(struct client_file *f)
{
    f->dirty = false;
    f->dirty_end = 0;
    f->dirty_mtime_ns = 0;
}

void file_fail(struct client_file *f, int status)
{
    CHECK(status < 0);
    f->error = status;
    f->error_count++;
    if (list_empty(&f->handles) && f->c->untold_error == 0)
        f->c->untold_error = status;
}

int file_take_error(struct client_handle *h)
{
    CHECK_OBJ(h, CLIENT_HANDLE_MAGIC);
    if (h->errors_told == h->file->error_count)
        return 0;
    h->errors_told = h->file->error_count;
    return h->file->error;
}

/* ---- handles ---- */

struct client_handle *file_handle_create(struct client_file *f, const struct client_caller *who,
                                         uint32_t flags)
{
    struct client_handle *h = calloc(1, sizeof *h);
    CHECK(h);
    h->magic = CLIENT_HANDLE_MAGIC;
    h->file = file_hold(f);
    h->flags = flags;
    h->uid = who->uid;
    h->gid = who->gid;
    h->errors_told = f->error_count;
    list_append(&f->handles, &h->node);
    return h;
}

static void handle_free(struct client_handle *h)
{
    struct client_file *f = h->file;
    h->magic = 0;
    free(h);
    file_drop(f);
}

bool file_may_write(const struct client_file *f)
{
    LIST_EACH(node, &f->handles)
    if (CONTAINER_OF(node, struct client_handle, node)->flags & OPEN_WRITE)
        return true;
    return f->writes_pending > 0 || f->dirty || file_data_is_busy(f);
}

void file_handle_hold(struct client_handle *h)
{
    h->uses++;
}

void file_handle_drop(struct client_handle *h)
{
    CHECK(h->uses > 0);
    if (--h->uses == 0 && h->released)
        handle_free(h);
}

static void on_background_flush(void *arg, int status)
{
    (void)status; /* kept with file_fail, or told by client_close */
    file_drop(arg);
}

void client_release(struct client_handle *h)
{
    CHECK_OBJ(h, CLIENT_HANDLE_MAGIC);
    struct client_file *f = h->file;
    CHECK(!h->released);
    h->released = true;
    list_remove(&h->node);
    if (f->dirty && list_empty(&f->handles))
        file_data_flush(f, false, on_background_flush, file_hold(f));
    if (h->uses == 0)
        handle_free(h);
}

uint64_t client_handle_inode(const struct client_handle *h)
{
    return h->file->inode;
}

uint32_t client_handle_flags(const struct client_handle *h)
{
    return h->flags;
}

bool client_handle_dirty(const struct client_handle *h)
{
    return h->file->dirty;
}
