/* link, unlink, rmdir. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

static int link_check(struct fs_view *v, const struct msg_meta_link *m, struct inode *i,
                      struct inode *dir, uint64_t *ret_cookie)
{
    int status = name_check(m->name);
    if (status == 0)
        status = inode_get(v, m->inode, i);
    if (status == 0)
        status = directory_get(v, m->parent, dir);
    if (status == 0)
        status = inode_access(dir, &m->caller, MAY_EXECUTE);
    if (status == 0)
        status = dentry_place(v, m->parent, m->name, ret_cookie);
    if (status == 0)
        status = directory_writable(dir, &m->caller);
    if (status)
        return status;
    if (S_ISDIR(i->mode))
        return -ERR_PERMISSION;
    if (i->nlink == 0) /* an orphan stays one */
        return -ERR_NO_ENTRY;
    return i->nlink >= FS_LINK_MAX ? -ERR_TOO_MANY_LINKS : 0;
}

int op_meta_link(struct op *o, const struct msg_meta_link *m)
{
    struct inode i, dir;
    uint64_t cookie;
    int status = link_check(o->view, m, &i, &dir, &cookie);
    if (status || o->check_only)
        return status;
    i.nlink++;
    inode_changed(o, &i);
    inode_put(o->fs, &i);
    dentry_put(o->fs, dir.number, cookie, i.number, i.mode, m->name);
    inode_contents_changed(o, &dir);
    inode_put(o->fs, &dir);
    return reply_entry(o, &i, 0);
}

/* The name, its inode and its directory, and the right to remove it. */
static int victim_check(struct fs_view *v, uint64_t parent, struct slice name,
                        const struct wire_caller *c, struct inode *dir, struct inode *i,
                        uint64_t *ret_cookie)
{
    struct dentry d;
    int status = name_check(name);
    if (status == 0)
        status = directory_get(v, parent, dir);
    if (status == 0)
        status = inode_access(dir, c, MAY_EXECUTE);
    if (status == 0)
        status = dentry_find(v, parent, name, &d);
    if (status == 0)
        status = directory_writable(dir, c);
    if (status == 0)
        status = inode_get(v, d.inode, i);
    if (status)
        return status;
    *ret_cookie = d.cookie;
    return sticky_check(dir, i, c);
}

int op_meta_unlink(struct op *o, const struct msg_meta_unlink *m)
{
    struct inode dir, i;
    uint64_t cookie;
    int status = victim_check(o->view, m->parent, m->name, &m->caller, &dir, &i, &cookie);
    if (status == 0 && S_ISDIR(i.mode))
        status = -ERR_IS_DIR;
    if (status == 0)
        status = inode_check_victim(o, &i);
    if (status || o->check_only)
        return status;
    dentry_remove(o->fs, dir.number, cookie);
    inode_contents_changed(o, &dir);
    inode_put(o->fs, &dir);
    inode_drop_link(o, &i);
    return reply_entry(o, &i, 0);
}

int op_meta_rmdir(struct op *o, const struct msg_meta_rmdir *m)
{
    struct inode dir, i;
    uint64_t cookie;
    int status = victim_check(o->view, m->parent, m->name, &m->caller, &dir, &i, &cookie);
    if (status == 0 && !S_ISDIR(i.mode))
        status = -ERR_NOT_DIR;
    if (status == 0 && !directory_is_empty(o->view, i.number))
        status = -ERR_NOT_EMPTY;
    if (status || o->check_only)
        return status;
    dentry_remove(o->fs, dir.number, cookie);
#ifndef PLANT_P_NLINK
    dir.nlink--;
#endif
    inode_contents_changed(o, &dir);
    inode_put(o->fs, &dir);
    i.nlink = 0;
    inode_changed(o, &i);
    inode_free(o, &i);
    return reply_entry(o, &i, 0);
}
