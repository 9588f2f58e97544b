/* setattr: chmod, chown, truncate, utimens. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

enum {
    MODE_BITS = 07777,
    OWNER_BITS = SETATTR_UID | SETATTR_GID,
    TIME_BITS = SETATTR_ATIME | SETATTR_MTIME,
    NOW_BITS = SETATTR_ATIME_NOW | SETATTR_MTIME_NOW,
    ALL_BITS = SETATTR_MODE | OWNER_BITS | SETATTR_SIZE | TIME_BITS | NOW_BITS | SETATTR_KILL_SUID,
};

static int owner_check(const struct inode *i, const struct msg_meta_setattr *m, bool owner)
{
    const struct wire_caller *c = &m->caller;
    if (c->uid == 0)
        return 0;
    if ((m->valid & SETATTR_UID) && (!owner || m->uid != i->uid))
        return -ERR_PERMISSION;
    if ((m->valid & SETATTR_GID) && (!owner || (m->gid != i->gid && !caller_in_group(c, m->gid))))
        return -ERR_PERMISSION;
    return 0;
}

static int size_check(const struct inode *i, const struct msg_meta_setattr *m)
{
    if (S_ISDIR(i->mode))
        return -ERR_IS_DIR;
    if (!S_ISREG(i->mode))
        return -ERR_INVALID;
    if (m->size > FS_FILE_SIZE_MAX)
        return -ERR_FILE_TOO_BIG;
    return m->by_handle ? 0 : inode_access(i, &m->caller, MAY_WRITE);
}

static int setattr_check(struct fs_view *v, const struct msg_meta_setattr *m, struct inode *i)
{
    int status = inode_get(v, m->inode, i);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_STALE_HANDLE : status;
    if (m->valid & ~(uint32_t)ALL_BITS)
        return -ERR_INVALID;
    bool owner = m->caller.uid == 0 || m->caller.uid == i->uid;
    if ((m->valid & (SETATTR_MODE | TIME_BITS)) && !owner)
        return -ERR_PERMISSION;
    status = owner_check(i, m, owner);
    if (status == 0 && (m->valid & SETATTR_SIZE))
        status = size_check(i, m);
    if (status == 0 && (m->valid & (NOW_BITS | SETATTR_KILL_SUID)) && !owner && !m->by_handle)
        status = inode_access(i, &m->caller, MAY_WRITE);
    return status;
}

/* As a write or a change of owner does: the set-gid bit without group execution is not a right. */
static void kill_set_id(struct inode *i)
{
    if (S_ISDIR(i->mode))
        return;
    i->mode &= ~(uint32_t)S_ISUID;
    if (i->mode & S_IXGRP)
        i->mode &= ~(uint32_t)S_ISGID;
}

static void set_mode_and_owner(struct inode *i, const struct msg_meta_setattr *m)
{
    if (m->valid & SETATTR_UID)
        i->uid = m->uid;
    if (m->valid & SETATTR_GID)
        i->gid = m->gid;
    if (m->valid & (OWNER_BITS | SETATTR_KILL_SUID))
        kill_set_id(i);
    if (m->valid & SETATTR_MODE) {
        i->mode = (i->mode & S_IFMT) | (m->mode & MODE_BITS);
        if (m->caller.uid != 0 && !caller_in_group(&m->caller, i->gid))
            i->mode &= ~(uint32_t)S_ISGID;
    }
}

int op_meta_setattr(struct op *o, const struct msg_meta_setattr *m)
{
    struct inode i;
    int status = setattr_check(o->view, m, &i);
    if (status || o->check_only)
        return status;
    uint64_t before = i.data_version;
    set_mode_and_owner(&i, m);
    inode_changed(o, &i);
    if (m->valid & SETATTR_SIZE) {
        file_resize(o, &i, m->size);
        inode_contents_changed(o, &i);
        if (m->caller.uid != 0)
            kill_set_id(&i);
    }
    if (m->valid & SETATTR_ATIME)
        i.atime_ns = m->atime_ns;
    if (m->valid & SETATTR_MTIME)
        i.mtime_ns = m->mtime_ns;
    if (m->valid & SETATTR_ATIME_NOW)
        i.atime_ns = i.ctime_ns;
    if (m->valid & SETATTR_MTIME_NOW)
        i.mtime_ns = i.ctime_ns;
    inode_put(o->fs, &i);
    return reply_entry(o, &i, before);
}
