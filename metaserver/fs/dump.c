/* The namespace as records, for dumps. */
#include "metaserver/fs/dump.h"

#include "metaserver/fs/state.h"

#include "common/base/banned.h"

enum { PIECE_ROWS = 4096, PIECE_BYTES = 1 << 20 };

static const char tables[] = "DKLi";

void fs_dump_rows_clear(struct fs_dump_rows *rows)
{
    bytes_clear(&rows->names);
    bytes_clear(&rows->chunks);
    bytes_clear(&rows->links);
    bytes_clear(&rows->inodes);
    rows->name_count = rows->chunk_count = rows->link_count = rows->inode_count = 0;
}

void fs_dump_rows_release(struct fs_dump_rows *rows)
{
    bytes_release(&rows->names);
    bytes_release(&rows->chunks);
    bytes_release(&rows->links);
    bytes_release(&rows->inodes);
    *rows = (struct fs_dump_rows){0};
}

static void fill_head(const struct fs_state *s, struct fs_dump_head *ret)
{
    *ret = (struct fs_dump_head){.cluster = s->cluster,
                                 .index = s->applied_index,
                                 .term = s->applied_term,
                                 .inode_next = s->inode_next,
                                 .copies = s->copies};
}

int fs_dump_get_head(struct fs_view *view, struct fs_dump_head *ret)
{
    struct fs_state s;
    int status = state_read(view, &s);
    if (status == 0)
        fill_head(&s, ret);
    return status;
}

int fs_dump_read_head(struct slice value, struct fs_dump_head *ret)
{
    struct fs_state s;
    int status = state_unpack(value, &s);
    if (status == 0)
        fill_head(&s, ret);
    return status;
}

/* ---- rows ---- */

static int add_name(struct slice key, struct slice value, struct fs_dump_rows *rows)
{
    struct dentry d;
    if (dentry_unpack(key, value, &d) != 0 || name_check(d.name) != 0)
        return -ERR_CORRUPT;
    struct rec_dump_name r = {.parent = key_u64(key, 1),
                              .cookie = d.cookie,
                              .inode = d.inode,
                              .type = d.type,
                              .name = d.name};
    put_rec_dump_name(&rows->names, &r);
    rows->name_count++;
    return 1;
}

static int add_chunk(struct slice key, struct slice value, struct fs_dump_rows *rows)
{
    if (key.size != 13 || value.size != 4)
        return -ERR_CORRUPT;
    struct rec_dump_chunk r = {.inode = key_u64(key, 1),
                               .index = (uint32_t)key_u64(key, 5),
                               .generation = load_u32(value.data)};
    put_rec_dump_chunk(&rows->chunks, &r);
    rows->chunk_count++;
    return 1;
}

static int add_link(struct slice key, struct slice value, struct fs_dump_rows *rows)
{
    if (key.size != 9 || value.size > LINK_TARGET_MAX)
        return -ERR_CORRUPT;
    struct rec_dump_link r = {.inode = key_u64(key, 1), .link_target = value};
    put_rec_dump_link(&rows->links, &r);
    rows->link_count++;
    return 1;
}

static int add_inode(struct slice key, struct slice value, struct fs_dump_rows *rows)
{
    struct inode i;
    if (key.size != 9 || inode_unpack(key_u64(key, 1), value, &i) != 0)
        return -ERR_CORRUPT;
    if (i.nlink == 0)
        return 0;
    struct rec_dump_inode r = {.number = i.number,
                               .mode = i.mode,
                               .copies = i.copies,
                               .nlink = i.nlink,
                               .uid = i.uid,
                               .gid = i.gid,
                               .size = i.size,
                               .atime_ns = i.atime_ns,
                               .mtime_ns = i.mtime_ns,
                               .ctime_ns = i.ctime_ns,
                               .parent = i.parent,
                               .rdev = i.rdev,
                               .chunk_generation = i.chunk_generation,
                               .chunk_total = i.chunk_total,
                               .first_generation = i.first_generation};
    put_rec_dump_inode(&rows->inodes, &r);
    rows->inode_count++;
    return 1;
}

int fs_dump_add_row(struct slice key, struct slice value, struct fs_dump_rows *rows)
{
    switch (key.size ? key.data[0] : 0) {
    case 'D':
        return add_name(key, value, rows);
    case 'K':
        return add_chunk(key, value, rows);
    case 'L':
        return add_link(key, value, rows);
    case 'i':
        return add_inode(key, value, rows);
    default:
        return 0;
    }
}

uint64_t fs_dump_owner(struct slice key)
{
    char table = key.size ? (char)key.data[0] : 0;
    return table == 'K' || table == 'L' || table == 'i' ? key_u64(key, 1) : 0;
}

/* ---- pieces of a snapshot ---- */

/* An inode that is not there counts as living: a dump shows damage, and does not hide it. */
static bool is_orphan(struct fs_view *v, uint64_t number)
{
    struct inode i;
    return inode_get(v, number, &i) == 0 && i.nlink == 0;
}

static bool is_full(const struct fs_dump_rows *r)
{
    return r->name_count + r->chunk_count + r->link_count + r->inode_count >= PIECE_ROWS ||
           r->names.size + r->links.size >= PIECE_BYTES;
}

/* From the key on to the end of its table, or until the piece is full; then *ret_last is set. */
static int walk_table(struct fs_view *v, struct row_key from, struct fs_dump_rows *rows,
                      struct bytes *ret_last)
{
    struct slice key, value;
    int status = row_seek(v, from, 1, &key, &value);
    for (; status == 0; status = row_next(v, from, 1, &key, &value)) {
        uint64_t owner = fs_dump_owner(key);
        int added = key.data[0] != 'i' && owner && is_orphan(v, owner)
                        ? 0
                        : fs_dump_add_row(key, value, rows);
        if (added < 0)
            return added;
        if (is_full(rows)) {
            bytes_append(ret_last, key.data, key.size);
            return 0;
        }
    }
    return status == -ERR_NO_ENTRY ? 0 : status;
}

int fs_dump_next(struct fs_view *view, struct slice after, struct fs_dump_rows *rows,
                 struct bytes *ret_last, bool *ret_end)
{
    unsigned table = 0;
    struct row_key from = key_of_table(tables[0]);
    if (after.size >= ROW_KEY_MAX)
        return -ERR_INVALID;
    if (after.size > 0) { /* the first key above it */
        const char *at = memchr(tables, after.data[0], sizeof tables - 1);
        if (!at)
            return -ERR_INVALID;
        table = (unsigned)(at - tables);
        memcpy(from.bytes, after.data, after.size);
        from.bytes[after.size] = 0;
        from.size = after.size + 1;
    }
    bytes_clear(ret_last);
    for (; tables[table]; from = key_of_table(tables[table])) {
        int status = walk_table(view, from, rows, ret_last);
        if (status)
            return status;
        if (ret_last->size > 0)
            break;
        table++;
        if (!tables[table])
            break;
    }
    *ret_end = ret_last->size == 0;
    return 0;
}
