/* Blocking forms of reading directories and links, of files and of raw requests. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/client/blocking_private.h"

#include "common/base/banned.h"

enum { DIRECTORY_BYTES = 256 << 10 };

/* Arguments and results; each operation uses its own. */
struct file_args {
    struct blocking_call *call;
    const struct client_caller *who;
    uint64_t inode, offset;
    struct slice name;
    uint32_t mode, flags;
    uint16_t code;
    struct client_handle *handle;
    struct buf *block;
    size_t at, size;
    uint8_t *data;
    struct bytes *out;
    struct err_text *why;
    struct client_opened opened;
    struct client_statfs statfs;
    struct client_dirent *entries; /* names point into `names` */
    struct bytes names;
    unsigned count;
    bool end;
};

static void on_done(void *arg, int status)
{
    struct file_args *a = arg;
    blocking_done(a->call, status);
}

/* ---- links, directories, statfs ---- */

static void on_link_target(void *arg, int status, struct slice link_target)
{
    struct file_args *a = arg;
    if (status == 0)
        bytes_append(a->out, link_target.data, link_target.size);
    blocking_done(a->call, status);
}

static void start_readlink(struct blocking_call *call, struct client *c, void *arg)
{
    struct file_args *a = arg;
    a->call = call;
    client_readlink(c, a->who, a->inode, on_link_target, a);
}

int blocking_readlink(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                      struct bytes *out)
{
    struct file_args a = {.who = who, .inode = inode, .out = out};
    return blocking_run(b, start_readlink, &a);
}

static void on_entries(void *arg, int status, const struct client_dirent *entries, unsigned count,
                       bool end)
{
    struct file_args *a = arg;
    if (status == 0 && count != 0) {
        a->entries = calloc(count, sizeof *a->entries);
        CHECK(a->entries);
        for (unsigned i = 0; i < count; i++)
            bytes_append(&a->names, entries[i].name.data, entries[i].name.size);
        size_t at = 0;
        for (unsigned i = 0; i < count; i++) {
            a->entries[i] = entries[i];
            a->entries[i].name.data = a->names.data + at;
            at += entries[i].name.size;
        }
    }
    a->count = count;
    a->end = end;
    blocking_done(a->call, status);
}

static void start_readdir(struct blocking_call *call, struct client *c, void *arg)
{
    struct file_args *a = arg;
    a->call = call;
    client_readdir(c, a->who, a->inode, a->offset, DIRECTORY_BYTES, on_entries, a);
}

int blocking_readdir(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                     uint64_t *cursor, blocking_dirent_fn *each, void *arg, bool *ret_end)
{
    struct file_args a = {.who = who, .inode = inode, .offset = *cursor};
    int status = blocking_run(b, start_readdir, &a);
    if (status == 0) {
        for (unsigned i = 0; i < a.count; i++)
            each(arg, &a.entries[i]);
        if (a.count != 0)
            *cursor = a.entries[a.count - 1].cookie;
        *ret_end = a.end;
    }
    free(a.entries);
    bytes_release(&a.names);
    return status;
}

static void on_statfs(void *arg, int status, const struct client_statfs *statfs)
{
    struct file_args *a = arg;
    if (status == 0)
        a->statfs = *statfs;
    blocking_done(a->call, status);
}

static void start_statfs(struct blocking_call *call, struct client *c, void *arg)
{
    struct file_args *a = arg;
    a->call = call;
    client_statfs(c, on_statfs, a);
}

int blocking_statfs(struct blocking_client *b, struct client_statfs *ret_statfs)
{
    struct file_args a = {0};
    int status = blocking_run(b, start_statfs, &a);
    if (status == 0)
        *ret_statfs = a.statfs;
    return status;
}

/* ---- files ---- */

static void on_opened(void *arg, int status, const struct client_opened *opened)
{
    struct file_args *a = arg;
    if (status == 0)
        a->opened = *opened;
    blocking_done(a->call, status);
}

static void start_open(struct blocking_call *call, struct client *c, void *arg)
{
    struct file_args *a = arg;
    a->call = call;
    client_open(c, a->who, a->inode, a->flags, on_opened, a);
}

int blocking_open(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                  uint32_t flags, struct client_opened *ret_opened)
{
    struct file_args a = {.who = who, .inode = inode, .flags = flags};
    int status = blocking_run(b, start_open, &a);
    if (status == 0)
        *ret_opened = a.opened;
    return status;
}

static void start_create(struct blocking_call *call, struct client *c, void *arg)
{
    struct file_args *a = arg;
    a->call = call;
    client_create_file(c, a->who, a->inode, a->name, a->mode, a->flags, on_opened, a);
}

int blocking_create_file(struct blocking_client *b, const struct client_caller *who,
                         uint64_t parent, struct slice name, uint32_t mode, uint32_t flags,
                         struct client_opened *ret_opened)
{
    struct file_args a = {.who = who, .inode = parent, .name = name, .mode = mode, .flags = flags};
    int status = blocking_run(b, start_create, &a);
    if (status == 0)
        *ret_opened = a.opened;
    return status;
}

static void start_release(struct blocking_call *call, struct client *c, void *arg)
{
    (void)c;
    client_release(arg);
    blocking_done(call, 0);
}

int blocking_release(struct blocking_client *b, struct client_handle *h)
{
    return blocking_run(b, start_release, h);
}

static void on_read(void *arg, int status, const struct slice *pieces, unsigned count, size_t size)
{
    struct file_args *a = arg;
    if (status == 0) {
        CHECK(size <= a->size);
        size_t at = 0;
        for (unsigned i = 0; i < count; i++) {
            memcpy(a->data + at, pieces[i].data, pieces[i].size);
            at += pieces[i].size;
        }
        a->size = size;
    }
    blocking_done(a->call, status);
}

static void start_read(struct blocking_call *call, struct client *c, void *arg)
{
    (void)c;
    struct file_args *a = arg;
    a->call = call;
    client_read(a->handle, a->offset, a->size, on_read, a);
}

int blocking_read(struct blocking_client *b, struct client_handle *h, uint64_t offset, void *data,
                  size_t size, size_t *ret_size)
{
    struct file_args a = {.handle = h, .offset = offset, .data = data, .size = size};
    int status = blocking_run(b, start_read, &a);
    if (status == 0)
        *ret_size = a.size;
    return status;
}

static void start_write(struct blocking_call *call, struct client *c, void *arg)
{
    (void)c;
    struct file_args *a = arg;
    a->call = call;
    client_write(a->handle, a->offset, a->block, a->at, a->size, on_done, a);
}

int blocking_write(struct blocking_client *b, struct client_handle *h, uint64_t offset,
                   struct buf *take_block, size_t at, size_t size)
{
    struct file_args a = {
        .handle = h, .offset = offset, .block = take_block, .at = at, .size = size};
    return blocking_run(b, start_write, &a);
}

static void start_flush(struct blocking_call *call, struct client *c, void *arg)
{
    (void)c;
    struct file_args *a = arg;
    a->call = call;
    if (a->flags)
        client_fsync(a->handle, on_done, a);
    else
        client_flush(a->handle, on_done, a);
}

int blocking_flush(struct blocking_client *b, struct client_handle *h)
{
    struct file_args a = {.handle = h};
    return blocking_run(b, start_flush, &a);
}

int blocking_fsync(struct blocking_client *b, struct client_handle *h)
{
    struct file_args a = {.handle = h, .flags = 1};
    return blocking_run(b, start_flush, &a);
}

/* ---- copies ---- */

static void on_copies(void *arg, int status, const struct wire_attr *attr, const char *detail)
{
    struct file_args *a = arg;
    (void)attr;
    if (status != 0)
        err_set((enum err) - status, a->why, "%s", detail);
    blocking_done(a->call, status);
}

static void start_copies(struct blocking_call *call, struct client *c, void *arg)
{
    struct file_args *a = arg;
    a->call = call;
    client_set_copies(c, a->who, a->inode, (uint8_t)a->flags, on_copies, a);
}

int blocking_set_copies(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                        uint8_t copies, struct err_text *why)
{
    struct file_args a = {.who = who, .inode = inode, .flags = copies, .why = why};
    return blocking_run(b, start_copies, &a);
}

struct places_args {
    const struct client_handle *handle;
    struct client_places *ret_places;
};

static void start_places(struct blocking_call *call, struct client *c, void *arg)
{
    const struct places_args *a = arg;
    (void)c;
    client_places(a->handle, a->ret_places);
    blocking_done(call, 0);
}

int blocking_places(struct blocking_client *b, struct client_handle *h,
                    struct client_places *ret_places)
{
    struct places_args a = {h, ret_places};
    return blocking_run(b, start_places, &a);
}

/* ---- raw requests ---- */

static void on_reply(void *arg, int status, uint16_t code, struct slice body, const char *detail)
{
    struct file_args *a = arg;
    if (status == 0) {
        a->code = code;
        bytes_append(a->out, body.data, body.size);
    } else {
        err_set((enum err) - status, a->why, "%s", detail);
    }
    blocking_done(a->call, status);
}

static void start_leader_call(struct blocking_call *call, struct client *c, void *arg)
{
    struct file_args *a = arg;
    a->call = call;
    client_leader_call(c, a->code, a->name, on_reply, a);
}

int blocking_leader_call(struct blocking_client *b, uint16_t code, struct slice body,
                         uint16_t *ret_code, struct bytes *out, struct err_text *why)
{
    struct file_args a = {.code = code, .name = body, .out = out, .why = why};
    int status = blocking_run(b, start_leader_call, &a);
    if (status == 0)
        *ret_code = a.code;
    return status;
}
