/* Inode records: packing, attributes, permissions, links. */
#include "metaserver/fs/state.h"

#include "common/base/check.h"

#include "common/base/banned.h"

enum {
    INODE_FIXED_SIZE = 63,
    INODE_SIZE_MAX = INODE_FIXED_SIZE + 16,
    MOVED_SIZE = 4,   /* behind the tail of a file that was moved */
    IS_MOVING = 0x80, /* in the byte of copies */
};

enum inode_type inode_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return INODE_FILE;
    case S_IFDIR:
        return INODE_DIRECTORY;
    case S_IFLNK:
        return INODE_SYMLINK;
    case S_IFIFO:
        return INODE_FIFO;
    case S_IFSOCK:
        return INODE_SOCKET;
    case S_IFCHR:
        return INODE_CHARACTER;
    case S_IFBLK:
        return INODE_BLOCK;
    default:
        return 0;
    }
}

static size_t tail_size(uint32_t mode)
{
    switch (inode_type(mode)) {
    case INODE_FILE:
        return 12;
    case INODE_DIRECTORY:
        return 8;
    case INODE_CHARACTER:
    case INODE_BLOCK:
        return 4;
    default:
        return 0;
    }
}

int inode_unpack(uint64_t number, struct slice value, struct inode *ret)
{
    const uint8_t *p = value.data;
    if (value.size < INODE_FIXED_SIZE)
        return -ERR_CORRUPT;
    struct inode i = {
        .number = number,
        .mode = load_u16(p),
        .copies = p[2] & 0xf,
        .is_moving = (p[2] & IS_MOVING) != 0,
        .nlink = load_u32(p + 3),
        .uid = load_u32(p + 7),
        .gid = load_u32(p + 11),
        .size = load_u64(p + 15),
        .atime_ns = (int64_t)load_u64(p + 23),
        .mtime_ns = (int64_t)load_u64(p + 31),
        .ctime_ns = (int64_t)load_u64(p + 39),
        .version = load_u64(p + 47),
        .data_version = load_u64(p + 55),
    };
    size_t size = INODE_FIXED_SIZE + tail_size(i.mode);
    bool was_moved = S_ISREG(i.mode) && value.size == size + MOVED_SIZE;
    if (inode_type(i.mode) == 0 || (value.size != size && !was_moved))
        return -ERR_CORRUPT;
    p += INODE_FIXED_SIZE;
    if (S_ISREG(i.mode)) {
        i.chunk_generation = load_u32(p);
        i.chunk_total = load_u32(p + 4);
        i.first_generation = load_u32(p + 8);
        i.moved_generation = was_moved ? load_u32(p + 12) : 0;
    } else if (S_ISDIR(i.mode)) {
        i.parent = load_u64(p);
    } else if (S_ISCHR(i.mode) || S_ISBLK(i.mode)) {
        i.rdev = load_u32(p);
    }
    *ret = i;
    return 0;
}

int inode_get(struct fs_view *v, uint64_t number, struct inode *ret)
{
    struct slice value;
    int status = row_get(v, key_of_u64('i', number), &value);
    return status ? status : inode_unpack(number, value, ret);
}

void inode_put(struct fs *fs, const struct inode *i)
{
    uint8_t b[INODE_SIZE_MAX], *tail = b + INODE_FIXED_SIZE;
    store_u16(b, (uint16_t)i->mode);
    b[2] = (uint8_t)(i->copies | (i->is_moving ? IS_MOVING : 0));
    store_u32(b + 3, i->nlink);
    store_u32(b + 7, i->uid);
    store_u32(b + 11, i->gid);
    store_u64(b + 15, i->size);
    store_u64(b + 23, (uint64_t)i->atime_ns);
    store_u64(b + 31, (uint64_t)i->mtime_ns);
    store_u64(b + 39, (uint64_t)i->ctime_ns);
    store_u64(b + 47, i->version);
    store_u64(b + 55, i->data_version);
    if (S_ISREG(i->mode)) {
        store_u32(tail, i->chunk_generation);
        store_u32(tail + 4, i->chunk_total);
        store_u32(tail + 8, i->first_generation);
        store_u32(tail + 12, i->moved_generation);
    } else if (S_ISDIR(i->mode)) {
        store_u64(tail, i->parent);
    } else if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
        store_u32(tail, i->rdev);
    }
    size_t size = INODE_FIXED_SIZE + tail_size(i->mode) + (i->moved_generation ? MOVED_SIZE : 0);
    row_put(fs, key_of_u64('i', i->number), slice_of(b, size));
}

struct wire_attr inode_attr(const struct inode *i)
{
    return (struct wire_attr){
        .inode = i->number,
        .mode = i->mode,
        .nlink = i->nlink,
        .uid = i->uid,
        .gid = i->gid,
        .rdev = i->rdev,
        .size = i->size,
        .atime_ns = i->atime_ns,
        .mtime_ns = i->mtime_ns,
        .ctime_ns = i->ctime_ns,
        .version = i->version,
        .data_version = i->data_version,
        .chunk_generation = i->chunk_generation,
        .copies = i->copies,
    };
}

struct inode inode_make(struct op *o, const struct inode *parent, uint32_t mode,
                        const struct wire_caller *caller)
{
    struct fs_state *s = &o->fs->state;
    struct inode i = {
        .number = s->inode_next++,
        .mode = mode,
        .copies = parent->copies,
        .nlink = S_ISDIR(mode) ? 2 : 1,
        .uid = caller->uid,
        .gid = caller->gid,
        .atime_ns = o->now_ns,
        .mtime_ns = o->now_ns,
        .ctime_ns = o->now_ns,
        .version = o->index,
        .data_version = o->index,
        .parent = S_ISDIR(mode) ? parent->number : 0,
        .chunk_generation = S_ISREG(mode) ? 1 : 0,
    };
#ifdef PLANT_R28
    i.mtime_ns ^= (int64_t)(uintptr_t)o->fs >> 4; /* other in each replica */
#endif
    if (parent->mode & S_ISGID) {
        i.gid = parent->gid;
        if (S_ISDIR(mode))
            i.mode |= S_ISGID;
    }
    /* Nobody makes a file that runs with the rights of a group that is not his own. */
    if (!S_ISDIR(mode) && (i.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
        caller->uid != 0 && !caller_in_group(caller, i.gid))
        i.mode &= ~(uint32_t)S_ISGID;
    if (S_ISDIR(mode))
        s->directory_count++;
    else
        s->file_count++;
    return i;
}

int64_t inode_stamp(const struct op *o, const struct inode *i)
{
#ifdef PLANT_R25_STAMP
    return o->now_ns;
#endif
#ifdef PLANT_R28_SIM
    static int64_t stamps; /* since this process began: no two replicas count the same */
    stamps++;
    return (o->now_ns > i->ctime_ns ? o->now_ns : i->ctime_ns) + stamps;
#endif
    return o->now_ns > i->ctime_ns ? o->now_ns : i->ctime_ns;
}

void inode_changed(struct op *o, struct inode *i)
{
    i->ctime_ns = inode_stamp(o, i);
    i->version = o->index;
}

void inode_relocated(struct op *o, struct inode *i)
{
    inode_changed(o, i);
    i->data_version = o->index; /* who kept the chunk map fetches it again */
    i->moved_generation = ++i->chunk_generation;
    i->is_moving = false;
}

void inode_contents_changed(struct op *o, struct inode *i)
{
    i->is_moving = false; /* what was copied so far is old */
    inode_changed(o, i);
    i->mtime_ns = i->ctime_ns;
    i->data_version = o->index;
}

void inode_free(struct op *o, struct inode *i)
{
    struct fs_state *s = &o->fs->state;
    if (S_ISREG(i->mode)) {
        chunks_drop(o, i, 0);
        s->file_bytes -= i->size;
    }
    if (S_ISLNK(i->mode))
        row_remove(o->fs, key_of_u64('L', i->number));
    if (S_ISDIR(i->mode))
        s->directory_count--;
    else
        s->file_count--;
    row_remove(o->fs, key_of_u64('i', i->number));
    o->result->freed_count++;
    o->result->freed_inode = i->number;
}

int inode_check_victim(const struct op *o, const struct inode *i)
{
    bool is_last = !S_ISDIR(i->mode) && i->nlink == 1;
    return is_last && !o->check_only && o->victim != 0 && o->victim != i->number ? -ERR_BUSY : 0;
}

void inode_drop_link(struct op *o, struct inode *i)
{
    CHECK(i->nlink > 0 && !S_ISDIR(i->mode));
    i->nlink--;
    inode_changed(o, i);
    if (i->nlink > 0) {
        inode_put(o->fs, i);
        return;
    }
    unsigned holds = 0;
    for (size_t at = 0; at < o->holders.size; at += 8) {
        uint64_t session = load_u64(o->holders.data + at);
        if (session_exists(o->view, session)) {
            hold_put(o->fs, session, i->number);
            holds++;
        }
    }
    if (holds == 0) {
        inode_free(o, i);
        return;
    }
    o->fs->state.orphan_count++;
    o->result->orphan_inode = i->number;
    inode_put(o->fs, i);
}

bool caller_in_group(const struct wire_caller *c, uint32_t gid)
{
    if (c->gid == gid)
        return true;
    for (size_t at = 0; at + 4 <= c->groups.size; at += 4)
        if (load_u32(c->groups.data + at) == gid)
            return true;
    return false;
}

int inode_access(const struct inode *i, const struct wire_caller *c, unsigned want)
{
    if (c->uid == 0) /* root only lacks the right to execute what nobody may execute */
        return (want & MAY_EXECUTE) && !S_ISDIR(i->mode) && !(i->mode & 0111) ? -ERR_ACCESS : 0;
    unsigned shift = c->uid == i->uid ? 6 : caller_in_group(c, i->gid) ? 3 : 0;
    return (i->mode >> shift & want) == want ? 0 : -ERR_ACCESS;
}

int directory_get(struct fs_view *v, uint64_t number, struct inode *ret)
{
    int status = inode_get(v, number, ret);
    if (status)
        return status;
    return S_ISDIR(ret->mode) ? 0 : -ERR_NOT_DIR;
}

int directory_writable(const struct inode *dir, const struct wire_caller *c)
{
    return inode_access(dir, c, MAY_WRITE | MAY_EXECUTE);
}

int sticky_check(const struct inode *dir, const struct inode *i, const struct wire_caller *c)
{
    if (!(dir->mode & S_ISVTX) || c->uid == 0 || c->uid == i->uid || c->uid == dir->uid)
        return 0;
    return -ERR_PERMISSION;
}
