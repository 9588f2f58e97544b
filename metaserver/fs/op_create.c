/* New names: create, mknod, mkdir, symlink. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

enum { MODE_BITS = 07777 };

/* What a check finds out for its apply. */
struct place {
    struct inode parent;
    uint64_t cookie;
};

static int place_check(struct fs_view *v, uint64_t parent, struct slice name,
                       const struct wire_caller *c, struct place *ret)
{
    int status = name_check(name);
    if (status == 0)
        status = directory_get(v, parent, &ret->parent);
    if (status == 0)
        status = inode_access(&ret->parent, c, MAY_EXECUTE);
    if (status == 0)
        status = dentry_place(v, parent, name, &ret->cookie);
    return status ? status : directory_writable(&ret->parent, c);
}

static void place_fill(struct op *o, struct place *p, struct slice name, const struct inode *i)
{
    dentry_put(o->fs, p->parent.number, p->cookie, i->number, i->mode, name);
    inode_put(o->fs, i);
    inode_contents_changed(o, &p->parent);
    inode_put(o->fs, &p->parent);
}

/* ---- create ---- */

static unsigned wanted_access(uint32_t flags)
{
    return (flags & OPEN_READ ? MAY_READ : 0) |
           (flags & (OPEN_WRITE | OPEN_TRUNCATE) ? MAY_WRITE : 0) |
           (flags & OPEN_EXECUTE ? MAY_EXECUTE : 0);
}

static int existing_check(struct fs_view *v, const struct msg_meta_create *m, struct inode *ret)
{
    struct dentry d;
    int status = dentry_find(v, m->parent, m->name, &d);
    if (status == 0)
        status = inode_get(v, d.inode, ret);
    if (status)
        return status;
    if (m->flags & OPEN_EXCLUSIVE)
        return -ERR_EXISTS;
    if (S_ISDIR(ret->mode))
        return -ERR_IS_DIR;
    if (S_ISLNK(ret->mode))
        return -ERR_LOOP;
    if (!S_ISREG(ret->mode))
        return -ERR_EXISTS; /* only the caller's kernel can open it */
    return inode_access(ret, &m->caller, wanted_access(m->flags));
}

static int open_existing(struct op *o, const struct msg_meta_create *m, struct inode *i)
{
    if (m->flags & OPEN_TRUNCATE) {
        file_resize(o, i, 0);
        inode_contents_changed(o, i);
        if (m->caller.uid != 0)
            i->mode &= ~(uint32_t)(S_ISUID | (i->mode & S_IXGRP ? S_ISGID : 0));
        inode_put(o->fs, i);
    } else if ((m->flags & OPEN_WRITE) && i->is_moving) {
        i->is_moving = false; /* its mover would miss what is written now */
        inode_put(o->fs, i);
    }
    return reply_open(o->view, i, false, o->index, o->reply);
}

int op_meta_create(struct op *o, const struct msg_meta_create *m)
{
    struct place p;
    int status = place_check(o->view, m->parent, m->name, &m->caller, &p);
    if (status == -ERR_EXISTS) {
        struct inode old;
        status = existing_check(o->view, m, &old);
        if (status || o->check_only)
            return status;
        return open_existing(o, m, &old);
    }
    if (status || o->check_only)
        return status;
    struct inode i = inode_make(o, &p.parent, S_IFREG | (m->mode & MODE_BITS), &m->caller);
    place_fill(o, &p, m->name, &i);
    return reply_open(o->view, &i, true, o->index, o->reply);
}

/* ---- mknod ---- */

static int make_directory(struct op *o, struct place *p, struct slice name, uint32_t mode,
                          const struct wire_caller *c)
{
    if (p->parent.nlink >= FS_LINK_MAX)
        return -ERR_TOO_MANY_LINKS;
    if (o->check_only)
        return 0;
    struct inode i = inode_make(o, &p->parent, S_IFDIR | (mode & MODE_BITS), c);
    p->parent.nlink++;
    place_fill(o, p, name, &i);
    return reply_entry(o, &i, 0);
}

int op_meta_mknod(struct op *o, const struct msg_meta_mknod *m)
{
    struct place p;
    enum inode_type type = inode_type(m->mode);
    if (type == 0 || type == INODE_SYMLINK)
        return -ERR_INVALID;
    bool device = type == INODE_CHARACTER || type == INODE_BLOCK;
    if (device && m->caller.uid != 0)
        return -ERR_PERMISSION;
    int status = place_check(o->view, m->parent, m->name, &m->caller, &p);
    if (status)
        return status;
    if (type == INODE_DIRECTORY)
        return make_directory(o, &p, m->name, m->mode, &m->caller);
    if (o->check_only)
        return 0;
    struct inode i =
        inode_make(o, &p.parent, (m->mode & S_IFMT) | (m->mode & MODE_BITS), &m->caller);
    i.rdev = device ? m->rdev : 0;
    place_fill(o, &p, m->name, &i);
    return reply_entry(o, &i, 0);
}

/* ---- mkdir ---- */

int op_meta_mkdir(struct op *o, const struct msg_meta_mkdir *m)
{
    struct place p;
    int status = place_check(o->view, m->parent, m->name, &m->caller, &p);
    return status ? status : make_directory(o, &p, m->name, m->mode, &m->caller);
}

/* ---- symlink ---- */

int op_meta_symlink(struct op *o, const struct msg_meta_symlink *m)
{
    struct place p;
    if (m->link_target.size == 0)
        return -ERR_NO_ENTRY;
    if (m->link_target.size > LINK_TARGET_MAX)
        return -ERR_NAME_TOO_LONG;
    if (memchr(m->link_target.data, 0, m->link_target.size))
        return -ERR_INVALID;
    int status = place_check(o->view, m->parent, m->name, &m->caller, &p);
    if (status || o->check_only)
        return status;
    struct inode i = inode_make(o, &p.parent, S_IFLNK | 0777, &m->caller);
    i.size = m->link_target.size;
    row_put(o->fs, key_of_u64('L', i.number), m->link_target);
    place_fill(o, &p, m->name, &i);
    return reply_entry(o, &i, 0);
}
