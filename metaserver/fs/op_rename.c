/* rename: move, replace, exchange. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

enum { DEPTH_MAX = 1 << 20 }; /* longer than any path can be: the parents form a ring */

struct side {
    struct inode dir, inode;
    uint64_t cookie;
    bool exists;
};

struct rename {
    struct side from, to;
    bool same_directory;
};

static int side_check(struct fs_view *v, uint64_t parent, struct slice name,
                      const struct wire_caller *c, struct side *s)
{
    struct dentry d;
    s->exists = false;
    int status = name_check(name);
    if (status == 0)
        status = directory_get(v, parent, &s->dir);
    if (status == 0)
        status = inode_access(&s->dir, c, MAY_EXECUTE);
    if (status == 0)
        status = dentry_find(v, parent, name, &d);
    if (status == -ERR_NO_ENTRY && name_check(name) == 0)
        return directory_get(v, parent, &s->dir); /* the name may be missing, not its directory */
    if (status)
        return status;
    s->exists = true;
    s->cookie = d.cookie;
    return inode_get(v, d.inode, &s->inode);
}

/* 0 when `inode` is not `above` and not under it. */
static int not_under(struct fs_view *v, uint64_t above, uint64_t number, int otherwise)
{
    struct inode i;
    for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
        if (number == above)
            return otherwise;
        if (number == ROOT_INODE)
            return 0;
        int status = directory_get(v, number, &i);
        if (status)
            return -ERR_CORRUPT;
        number = i.parent;
    }
    return -ERR_CORRUPT;
}

/* What is moved into another directory must not become its own ancestor, and a directory changes
 * its "..". */
static int move_check(struct fs_view *v, const struct side *moved, const struct side *to,
                      const struct wire_caller *c, bool same_directory)
{
    if (!S_ISDIR(moved->inode.mode) || same_directory)
        return 0;
    int status = not_under(v, moved->inode.number, to->dir.number, -ERR_INVALID);
    return status ? status : inode_access(&moved->inode, c, MAY_WRITE);
}

static int replace_check(struct fs_view *v, const struct rename *r, const struct wire_caller *c)
{
    const struct inode *old = &r->from.inode, *target = &r->to.inode;
    int status = sticky_check(&r->to.dir, target, c);
    if (status)
        return status;
    if (S_ISDIR(old->mode) && !S_ISDIR(target->mode))
        return -ERR_NOT_DIR;
    if (!S_ISDIR(old->mode) && S_ISDIR(target->mode))
        return -ERR_IS_DIR;
    return S_ISDIR(target->mode) && !directory_is_empty(v, target->number) ? -ERR_NOT_EMPTY : 0;
}

static int rename_check(struct fs_view *v, const struct msg_meta_rename *m, struct rename *r)
{
    const struct wire_caller *c = &m->caller;
    bool exchange = m->flags & RENAME_FLAG_EXCHANGE, fresh = m->flags & RENAME_FLAG_NOREPLACE;
    if ((m->flags & ~(uint32_t)(RENAME_FLAG_EXCHANGE | RENAME_FLAG_NOREPLACE)) ||
        (exchange && fresh))
        return -ERR_INVALID;
    int status = side_check(v, m->parent, m->name, c, &r->from);
    if (status == 0)
        status = side_check(v, m->new_parent, m->new_name, c, &r->to);
    if (status)
        return status;
    r->same_directory = m->parent == m->new_parent;
    if (!r->from.exists || (exchange && !r->to.exists))
        return -ERR_NO_ENTRY;
    if (fresh && r->to.exists)
        return -ERR_EXISTS;
    status = directory_writable(&r->from.dir, c);
    if (status == 0)
        status = directory_writable(&r->to.dir, c);
    if (status == 0)
        status = sticky_check(&r->from.dir, &r->from.inode, c);
    if (status == 0)
        status = move_check(v, &r->from, &r->to, c, r->same_directory);
    if (status)
        return status;
    if (exchange) {
        status = sticky_check(&r->to.dir, &r->to.inode, c);
        return status ? status : move_check(v, &r->to, &r->from, c, r->same_directory);
    }
    if (r->to.exists && r->to.inode.number == r->from.inode.number)
        return 0;
    if (r->to.exists)
        return replace_check(v, r, c);
    if (S_ISDIR(r->from.inode.mode) && !r->same_directory && r->to.dir.nlink >= FS_LINK_MAX)
        return -ERR_TOO_MANY_LINKS;
    return dentry_place(v, m->new_parent, m->new_name, &r->to.cookie);
}

/* The directories' records, once when it is one directory. `from_links`, `to_links`: how many
 * subdirectories each gains. */
static void put_directories(struct op *o, struct rename *r, int from_links, int to_links)
{
    struct inode *from = &r->from.dir, *to = r->same_directory ? from : &r->to.dir;
    from->nlink += (uint32_t)from_links;
    to->nlink += (uint32_t)to_links;
    inode_contents_changed(o, from);
    inode_put(o->fs, from);
    if (to != from) {
        inode_contents_changed(o, to);
        inode_put(o->fs, to);
    }
}

static void put_moved(struct op *o, struct inode *i, const struct inode *dir)
{
    if (S_ISDIR(i->mode))
        i->parent = dir->number;
    inode_changed(o, i);
    inode_put(o->fs, i);
}

static void exchange_apply(struct op *o, struct rename *r, const struct msg_meta_rename *m)
{
    struct inode *a = &r->from.inode, *b = &r->to.inode;
    dentry_put(o->fs, m->parent, r->from.cookie, b->number, b->mode, m->name);
    dentry_put(o->fs, m->new_parent, r->to.cookie, a->number, a->mode, m->new_name);
    put_moved(o, a, &r->to.dir);
    put_moved(o, b, &r->from.dir);
    int gain = (S_ISDIR(b->mode) ? 1 : 0) - (S_ISDIR(a->mode) ? 1 : 0);
    put_directories(o, r, gain, -gain);
}

static void move_apply(struct op *o, struct rename *r, const struct msg_meta_rename *m)
{
    struct inode *moved = &r->from.inode;
    int link = S_ISDIR(moved->mode) ? 1 : 0;
    int to_links = link;
    dentry_remove(o->fs, m->parent, r->from.cookie);
    dentry_put(o->fs, m->new_parent, r->to.cookie, moved->number, moved->mode, m->new_name);
    put_moved(o, moved, &r->to.dir);
    if (r->to.exists && S_ISDIR(r->to.inode.mode)) {
        to_links--;
        r->to.inode.nlink = 0;
        inode_changed(o, &r->to.inode);
        inode_free(o, &r->to.inode);
    } else if (r->to.exists) {
        inode_drop_link(o, &r->to.inode);
    }
    put_directories(o, r, -link, to_links);
}

int op_meta_rename(struct op *o, const struct msg_meta_rename *m)
{
    struct rename r = {0};
    int status = rename_check(o->view, m, &r);
    bool replaces = status == 0 && r.to.exists && !(m->flags & RENAME_FLAG_EXCHANGE) &&
                    r.to.inode.number != r.from.inode.number;
    if (replaces)
        status = inode_check_victim(o, &r.to.inode);
    if (status || o->check_only)
        return status;
    struct msg_meta_rename_r reply = {.index = o->index};
    bool same = r.to.exists && r.to.inode.number == r.from.inode.number;
    if (m->flags & RENAME_FLAG_EXCHANGE && !same)
        exchange_apply(o, &r, m);
    else if (!same) /* rename(2) does nothing to two names of one file */
        move_apply(o, &r, m);
    reply.moved = inode_attr(&r.from.inode);
    if (r.to.exists && !same)
        reply.replaced = inode_attr(&r.to.inode);
    encode_meta_rename_r(o->reply, &reply);
    return 0;
}
