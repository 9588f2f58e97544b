/* Between the client's words and the kernel's. */
#include "fuse/convert.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include "common/base/banned.h"

enum {
    IO_SIZE = 1 << 20,       /* st_blksize: what cp and stdio buffer by */
    KERNEL_EXEC_FLAG = 0x20, /* __FMODE_EXEC in the flags of an open by execve */
    NS = 1000000000,
};

static struct timespec convert_time(int64_t ns)
{
    int64_t seconds = ns / NS, rest = ns % NS;
    if (rest < 0) {
        seconds--;
        rest += NS;
    }
    return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

static int64_t convert_ns(struct timespec t)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)t.tv_sec, NS, &ns))
        return t.tv_sec < 0 ? INT64_MIN + 1 : INT64_MAX;
    if (__builtin_add_overflow(ns, (int64_t)t.tv_nsec, &ns))
        return INT64_MAX;
    return ns;
}

struct stat convert_stat(const struct wire_attr *attr)
{
    return (struct stat){
        .st_ino = attr->inode,
        .st_mode = attr->mode,
        .st_nlink = attr->nlink,
        .st_uid = attr->uid,
        .st_gid = attr->gid,
        .st_rdev = attr->rdev,
        .st_size = (off_t)attr->size,
        .st_blksize = IO_SIZE,
        .st_blocks = S_ISREG(attr->mode) ? (blkcnt_t)((attr->size + 511) / 512) : 0,
        .st_atim = convert_time(attr->atime_ns),
        .st_mtim = convert_time(attr->mtime_ns),
        .st_ctim = convert_time(attr->ctime_ns),
    };
}

struct fuse_entry_param convert_entry(const struct wire_attr *attr, unsigned valid_ms)
{
    return (struct fuse_entry_param){
        .ino = attr->inode,
        .generation = 1, /* inode numbers are never used twice */
        .attr = convert_stat(attr),
        .attr_timeout = valid_ms / 1000.0,
        .entry_timeout = valid_ms / 1000.0,
    };
}

uint32_t convert_open_flags(int flags)
{
    uint32_t out = 0;
    int access = flags & O_ACCMODE;
    if (access == O_RDONLY || access == O_RDWR)
        out |= OPEN_READ;
    if (access == O_WRONLY || access == O_RDWR)
        out |= OPEN_WRITE;
    if (flags & O_TRUNC)
        out |= OPEN_TRUNCATE;
    if (flags & O_EXCL)
        out |= OPEN_EXCLUSIVE;
    if (flags & KERNEL_EXEC_FLAG)
        out |= OPEN_EXECUTE;
    return out;
}

struct client_setattr convert_setattr(const struct stat *st, int to_set)
{
    static const struct {
        int from;
        uint32_t to;
    } bits[] = {
        {FUSE_SET_ATTR_MODE, SETATTR_MODE},   {FUSE_SET_ATTR_UID, SETATTR_UID},
        {FUSE_SET_ATTR_GID, SETATTR_GID},     {FUSE_SET_ATTR_SIZE, SETATTR_SIZE},
        {FUSE_SET_ATTR_ATIME, SETATTR_ATIME}, {FUSE_SET_ATTR_MTIME, SETATTR_MTIME},
    };
    struct client_setattr set = {
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = (uint64_t)st->st_size,
        .atime_ns = convert_ns(st->st_atim),
        .mtime_ns = convert_ns(st->st_mtim),
    };
    for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++)
        if (to_set & bits[i].from)
            set.valid |= bits[i].to;
    if (to_set & FUSE_SET_ATTR_ATIME_NOW)
        set.valid = (set.valid & ~(uint32_t)SETATTR_ATIME) | SETATTR_ATIME_NOW;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        set.valid = (set.valid & ~(uint32_t)SETATTR_MTIME) | SETATTR_MTIME_NOW;
    return set;
}

enum client_fallocate_mode convert_fallocate(int mode)
{
    switch (mode) {
    case 0:
        return CLIENT_ALLOCATE;
    case FALLOC_FL_KEEP_SIZE:
        return CLIENT_ALLOCATE_KEEP_SIZE;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
        return CLIENT_PUNCH_HOLE;
    case FALLOC_FL_ZERO_RANGE:
        return CLIENT_ZERO_RANGE;
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        return CLIENT_ZERO_RANGE_KEEP_SIZE;
    default:
        return 0;
    }
}
