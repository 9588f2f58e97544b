/* Reading the namespace: lookup, getattr, readlink, readdir, statfs. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

static int stale(int status)
{
    return status == -ERR_NO_ENTRY ? -ERR_STALE_HANDLE : status;
}

static int answer_entry(struct query *q, const struct inode *i)
{
    struct msg_meta_entry_r reply = {.attr = inode_attr(i), .index = i->version};
    encode_meta_entry_r(q->out, &reply);
    return 0;
}

int fs_find_name(struct fs_view *v, uint64_t parent, struct slice name, uint64_t *ret_inode)
{
    struct dentry d;
    int status = dentry_find(v, parent, name, &d);
    if (status == 0)
        *ret_inode = d.inode;
    return status;
}

int query_meta_lookup(struct query *q, const struct msg_meta_lookup *m)
{
    struct inode dir, i;
    uint64_t number;
    if (m->name.size > NAME_LENGTH_MAX)
        return -ERR_NAME_TOO_LONG;
    int status = directory_get(q->view, m->parent, &dir);
    if (status == 0)
        status = inode_access(&dir, &m->caller, MAY_EXECUTE);
    if (status)
        return status;
    if (slice_equal(m->name, slice_str(".")))
        return answer_entry(q, &dir);
    if (slice_equal(m->name, slice_str("..")))
        number = dir.parent;
    else
        status = fs_find_name(q->view, m->parent, m->name, &number);
    if (status == 0)
        status = inode_get(q->view, number, &i);
    return status ? status : answer_entry(q, &i);
}

int fs_get_attr(struct fs_view *v, uint64_t inode, struct wire_attr *ret_attr)
{
    struct inode i;
    int status = inode_get(v, inode, &i);
    if (status == 0)
        *ret_attr = inode_attr(&i);
    return status;
}

int query_meta_getattr(struct query *q, const struct msg_meta_getattr *m)
{
    struct inode i;
    int status = inode_get(q->view, m->inode, &i);
    return status ? stale(status) : answer_entry(q, &i);
}

int query_meta_readlink(struct query *q, const struct msg_meta_readlink *m)
{
    struct inode i;
    struct msg_meta_readlink_r reply = {0};
    int status = inode_get(q->view, m->inode, &i);
    if (status)
        return stale(status);
    if (!S_ISLNK(i.mode))
        return -ERR_INVALID;
    status = row_get(q->view, key_of_u64('L', i.number), &reply.link_target);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_CORRUPT : status;
    encode_meta_readlink_r(q->out, &reply);
    return 0;
}

/* One entry into the list; -ERR_RANGE when it does not fit. */
static int add_entry(struct query *q, struct slice key, struct slice value, size_t bytes_max,
                     struct bytes *list)
{
    struct dentry d;
    struct slice row;
    struct inode i;
    int status = dentry_unpack(key, value, &d);
    if (status)
        return status;
    status = row_get(q->view, key_of_u64('i', d.inode), &row);
    if (status == 0)
        status = inode_unpack(d.inode, row, &i);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_CORRUPT : status;
    size_t before = list->size;
    struct rec_dirent entry = {.cookie = d.cookie, .name = d.name, .attr = inode_attr(&i)};
    put_rec_dirent(list, &entry);
    if (list->size <= bytes_max)
        return 0;
    list->size = before;
    return -ERR_RANGE;
}

static int list_entries(struct query *q, const struct msg_meta_readdir *m, size_t bytes_max,
                        struct msg_meta_readdir_r *reply, struct bytes *list)
{
    struct slice key, value;
    struct row_key from = key_of_pair('D', m->inode, m->cookie + 1);
    int status = m->cookie == UINT64_MAX ? -ERR_NO_ENTRY : row_seek(q->view, from, 9, &key, &value);
    for (; status == 0; status = row_next(q->view, from, 9, &key, &value)) {
        status = add_entry(q, key, value, bytes_max, list);
        if (status)
            break;
        reply->entries.count++;
    }
    reply->end = status == -ERR_NO_ENTRY;
    if (status == -ERR_RANGE && reply->entries.count > 0)
        return 0;
    return status == -ERR_NO_ENTRY ? 0 : status;
}

int query_meta_readdir(struct query *q, const struct msg_meta_readdir *m)
{
    struct inode dir;
    struct bytes list = {0};
    struct msg_meta_readdir_r reply = {0};
    size_t bytes_max = m->bytes_max < FS_READDIR_BYTES_MAX ? m->bytes_max : FS_READDIR_BYTES_MAX;
    /* The right to read was checked at open. */
    int status = directory_get(q->view, m->inode, &dir);
    if (status == 0)
        status = list_entries(q, m, bytes_max, &reply, &list);
    else
        status = stale(status);
    if (status == 0) {
        reply.entries.raw = bytes_slice(&list);
        encode_meta_readdir_r(q->out, &reply);
    }
    bytes_release(&list);
    return status;
}

int query_meta_statfs(struct query *q, const struct msg_meta_statfs *m)
{
    struct fs_state s;
    (void)m;
    int status = state_read(q->view, &s);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_UNAVAILABLE : status;
    struct msg_meta_statfs_r reply = {
        .file_count = s.file_count + s.directory_count,
        .files_free = UINT64_MAX / 4 - s.file_count, /* no table of inodes to run out of */
    };
    encode_meta_statfs_r(q->out, &reply);
    return 0;
}
