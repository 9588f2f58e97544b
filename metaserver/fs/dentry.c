/* Names: (parent, hash of the name) -> inode, so that one tree serves lookup and readdir.
 *
 * The cookie is 55 bits of hash and 8 bits that tell names of equal hash apart; it fits a positive
 * off_t and is never below 256. It stays with the name, so a reader of the directory goes on behind
 * the last cookie it saw whatever comes and goes. */
#include "metaserver/fs/state.h"

#include "common/base/check.h"

#include "common/base/banned.h"

enum { COLLISIONS_MAX = 256, DENTRY_FIXED_SIZE = 9, DENTRY_PREFIX = 9 };

/* FNV-1a (Fowler, Noll, Vo) with the finisher of splitmix64; part of the format. */
static uint64_t first_cookie(struct slice name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.size; i++)
        h = (h ^ name.data[i]) * 0x100000001b3u;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    h = (h ^ h >> 31) >> 9;
    return (h ? h : 1) << 8;
}

int dentry_unpack(struct slice key, struct slice value, struct dentry *ret)
{
    if (key.size != 17 || value.size <= DENTRY_FIXED_SIZE)
        return -ERR_CORRUPT;
    *ret = (struct dentry){
        .cookie = key_u64(key, 9),
        .inode = load_u64(value.data),
        .type = value.data[8],
        .name = slice_of(value.data + DENTRY_FIXED_SIZE, value.size - DENTRY_FIXED_SIZE),
    };
    return 0;
}

/* The name's entry, and the first free place for it. */
static int search(struct fs_view *v, uint64_t parent, struct slice name, struct dentry *ret,
                  uint64_t *ret_free)
{
    uint64_t first = first_cookie(name), expected = first;
    struct row_key start = key_of_pair('D', parent, first);
    struct slice key, value;
    int status = row_seek(v, start, DENTRY_PREFIX, &key, &value);
    for (; status == 0; status = row_next(v, start, DENTRY_PREFIX, &key, &value)) {
        struct dentry d;
        status = dentry_unpack(key, value, &d);
        if (status)
            return status;
        if (d.cookie >= first + COLLISIONS_MAX)
            break;
        if (slice_equal(d.name, name)) {
            *ret = d;
            return 0;
        }
        if (d.cookie == expected)
            expected++;
    }
    if (status && status != -ERR_NO_ENTRY)
        return status;
    *ret_free = expected;
    return -ERR_NO_ENTRY;
}

int dentry_find(struct fs_view *v, uint64_t parent, struct slice name, struct dentry *ret)
{
    uint64_t unused;
    return search(v, parent, name, ret, &unused);
}

int dentry_place(struct fs_view *v, uint64_t parent, struct slice name, uint64_t *ret_cookie)
{
    struct dentry d;
    uint64_t place;
    int status = search(v, parent, name, &d, &place);
    if (status != -ERR_NO_ENTRY)
        return status ? status : -ERR_EXISTS;
    if (place >= first_cookie(name) + COLLISIONS_MAX)
        return -ERR_NO_SPACE;
    *ret_cookie = place;
    return 0;
}

bool dentry_may_lie_at(struct slice name, uint64_t cookie)
{
    uint64_t first = first_cookie(name);
    return cookie >= first && cookie < first + COLLISIONS_MAX;
}

void dentry_put(struct fs *fs, uint64_t parent, uint64_t cookie, uint64_t inode, uint32_t mode,
                struct slice name)
{
    uint8_t value[DENTRY_FIXED_SIZE + NAME_LENGTH_MAX];
    CHECK(name.size > 0 && name.size <= NAME_LENGTH_MAX);
    store_u64(value, inode);
    value[8] = (uint8_t)inode_type(mode);
    memcpy(value + DENTRY_FIXED_SIZE, name.data, name.size);
    row_put(fs, key_of_pair('D', parent, cookie), slice_of(value, DENTRY_FIXED_SIZE + name.size));
}

void dentry_remove(struct fs *fs, uint64_t parent, uint64_t cookie)
{
    row_remove(fs, key_of_pair('D', parent, cookie));
}

bool directory_is_empty(struct fs_view *v, uint64_t number)
{
    struct slice key, value;
    return row_seek(v, key_of_u64('D', number), DENTRY_PREFIX, &key, &value) == -ERR_NO_ENTRY;
}

int name_check(struct slice name)
{
    if (name.size > NAME_LENGTH_MAX)
        return -ERR_NAME_TOO_LONG;
    if (name.size == 0 || memchr(name.data, '/', name.size) || memchr(name.data, 0, name.size) ||
        slice_equal(name, slice_str(".")) || slice_equal(name, slice_str("..")))
        return -ERR_INVALID;
    return 0;
}
