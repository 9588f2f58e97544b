/* Blocking forms of the operations on names and attributes. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/client/blocking_private.h"

#include "common/base/banned.h"

enum attr_kind {
    KIND_LOOKUP,
    KIND_GETATTR,
    KIND_SETATTR,
    KIND_MKNOD,
    KIND_MKDIR,
    KIND_SYMLINK,
    KIND_LINK,
    KIND_UNLINK,
    KIND_RMDIR,
    KIND_RENAME,
    KIND_TRUNCATE,
};

/* Arguments of all operations that end with attributes; each kind uses its own. */
struct attr_args {
    enum attr_kind kind;
    const struct client_caller *who;
    uint64_t inode, parent, new_parent, size;
    struct slice name, new_name; /* new_name: also the target of a symbolic link */
    uint32_t mode, rdev, flags;
    struct client_handle *handle;
    const struct client_setattr *set;
    struct wire_attr *ret_attr;
    struct blocking_call *call;
};

static void on_attr(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    struct attr_args *a = arg;
    (void)valid_ms;
    if (status == 0 && a->ret_attr)
        *a->ret_attr = *attr;
    blocking_done(a->call, status);
}

static void start_attr(struct blocking_call *call, struct client *c, void *arg)
{
    struct attr_args *a = arg;
    a->call = call;
    switch (a->kind) {
    case KIND_LOOKUP:
        client_lookup(c, a->who, a->parent, a->name, on_attr, a);
        return;
    case KIND_GETATTR:
        client_getattr(c, a->who, a->inode, on_attr, a);
        return;
    case KIND_SETATTR:
        client_setattr(c, a->who, a->inode, a->handle, a->set, on_attr, a);
        return;
    case KIND_MKNOD:
        client_mknod(c, a->who, a->parent, a->name, a->mode, a->rdev, on_attr, a);
        return;
    case KIND_MKDIR:
        client_mkdir(c, a->who, a->parent, a->name, a->mode, on_attr, a);
        return;
    case KIND_SYMLINK:
        client_symlink(c, a->who, a->parent, a->name, a->new_name, on_attr, a);
        return;
    case KIND_LINK:
        client_link(c, a->who, a->inode, a->parent, a->name, on_attr, a);
        return;
    case KIND_UNLINK:
        client_unlink(c, a->who, a->parent, a->name, on_attr, a);
        return;
    case KIND_RMDIR:
        client_rmdir(c, a->who, a->parent, a->name, on_attr, a);
        return;
    case KIND_RENAME:
        client_rename(c, a->who, a->parent, a->name, a->new_parent, a->new_name, a->flags, on_attr,
                      a);
        return;
    case KIND_TRUNCATE:
        client_truncate(a->handle, a->who, a->size, on_attr, a);
        return;
    }
    UNREACHABLE("attr kind %d", (int)a->kind);
}

static int run_attr(struct blocking_client *b, struct attr_args args)
{
    return blocking_run(b, start_attr, &args);
}

int blocking_lookup(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                    struct slice name, struct wire_attr *ret_attr)
{
    return run_attr(
        b,
        (struct attr_args){
            .kind = KIND_LOOKUP, .who = who, .parent = parent, .name = name, .ret_attr = ret_attr});
}

int blocking_resolve(struct blocking_client *b, const struct client_caller *who, const char *path,
                     struct wire_attr *ret_attr)
{
    struct wire_attr attr;
    int status = blocking_getattr(b, who, ROOT_INODE, &attr);
    while (status == 0) {
        path += strspn(path, "/");
        size_t size = strcspn(path, "/");
        if (size == 0) {
            *ret_attr = attr;
            return 0;
        }
        status = blocking_lookup(b, who, attr.inode, slice_of(path, size), &attr);
        path += size;
    }
    return status;
}

int blocking_getattr(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                     struct wire_attr *ret_attr)
{
    return run_attr(b, (struct attr_args){
                           .kind = KIND_GETATTR, .who = who, .inode = inode, .ret_attr = ret_attr});
}

int blocking_setattr(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                     struct client_handle *handle, const struct client_setattr *set,
                     struct wire_attr *ret_attr)
{
    return run_attr(b, (struct attr_args){.kind = KIND_SETATTR,
                                          .who = who,
                                          .inode = inode,
                                          .handle = handle,
                                          .set = set,
                                          .ret_attr = ret_attr});
}

int blocking_mknod(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                   struct slice name, uint32_t mode, uint32_t rdev, struct wire_attr *ret_attr)
{
    return run_attr(b, (struct attr_args){.kind = KIND_MKNOD,
                                          .who = who,
                                          .parent = parent,
                                          .name = name,
                                          .mode = mode,
                                          .rdev = rdev,
                                          .ret_attr = ret_attr});
}

int blocking_mkdir(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                   struct slice name, uint32_t mode, struct wire_attr *ret_attr)
{
    return run_attr(b, (struct attr_args){.kind = KIND_MKDIR,
                                          .who = who,
                                          .parent = parent,
                                          .name = name,
                                          .mode = mode,
                                          .ret_attr = ret_attr});
}

int blocking_symlink(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                     struct slice name, struct slice link_target, struct wire_attr *ret_attr)
{
    return run_attr(b, (struct attr_args){.kind = KIND_SYMLINK,
                                          .who = who,
                                          .parent = parent,
                                          .name = name,
                                          .new_name = link_target,
                                          .ret_attr = ret_attr});
}

int blocking_link(struct blocking_client *b, const struct client_caller *who, uint64_t inode,
                  uint64_t parent, struct slice name, struct wire_attr *ret_attr)
{
    return run_attr(b, (struct attr_args){.kind = KIND_LINK,
                                          .who = who,
                                          .inode = inode,
                                          .parent = parent,
                                          .name = name,
                                          .ret_attr = ret_attr});
}

int blocking_unlink(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                    struct slice name, struct wire_attr *ret_attr)
{
    return run_attr(
        b,
        (struct attr_args){
            .kind = KIND_UNLINK, .who = who, .parent = parent, .name = name, .ret_attr = ret_attr});
}

int blocking_rmdir(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                   struct slice name, struct wire_attr *ret_attr)
{
    return run_attr(
        b,
        (struct attr_args){
            .kind = KIND_RMDIR, .who = who, .parent = parent, .name = name, .ret_attr = ret_attr});
}

int blocking_rename(struct blocking_client *b, const struct client_caller *who, uint64_t parent,
                    struct slice name, uint64_t new_parent, struct slice new_name, uint32_t flags,
                    struct wire_attr *ret_attr)
{
    return run_attr(b, (struct attr_args){.kind = KIND_RENAME,
                                          .who = who,
                                          .parent = parent,
                                          .name = name,
                                          .new_parent = new_parent,
                                          .new_name = new_name,
                                          .flags = flags,
                                          .ret_attr = ret_attr});
}

int blocking_truncate(struct blocking_client *b, const struct client_caller *who,
                      struct client_handle *h, uint64_t size, struct wire_attr *ret_attr)
{
    return run_attr(
        b, (struct attr_args){
               .kind = KIND_TRUNCATE, .who = who, .handle = h, .size = size, .ret_attr = ret_attr});
}
