/* Loading a dump into an empty cluster: begin, pieces in their order, end.
 *
 * The row B says which file is being loaded and how far; it stays when the load has ended, so that
 * a repeated end is known. Meanwhile requests about names and files are refused. Each record is
 * looked at by itself; whether they make a tree is what the check of all invariants says before the
 * end. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

enum { LOAD_ROW_SIZE = UUID_SIZE + 8 + 1 };

struct load_row {
    struct uuid file;
    uint64_t next_piece;
    bool is_done;
};

/* -ERR_NO_ENTRY: nothing was ever loaded. */
static int load_get(struct fs_view *v, struct load_row *ret)
{
    struct slice value;
    int status = row_get(v, key_of_table('B'), &value);
    if (status)
        return status;
    if (value.size != LOAD_ROW_SIZE)
        return -ERR_CORRUPT;
    memcpy(ret->file.bytes, value.data, UUID_SIZE);
    ret->next_piece = load_u64(value.data + UUID_SIZE);
    ret->is_done = value.data[UUID_SIZE + 8] != 0;
    return 0;
}

static void load_put(struct fs *fs, const struct load_row *row)
{
    uint8_t value[LOAD_ROW_SIZE];
    memcpy(value, row->file.bytes, UUID_SIZE);
    store_u64(value + UUID_SIZE, row->next_piece);
    value[UUID_SIZE + 8] = row->is_done;
    row_put(fs, key_of_table('B'), slice_of(value, sizeof value));
    fs->state.is_loading = !row->is_done;
}

int load_is_under_way(struct fs_view *v, bool *ret)
{
    struct load_row row;
    int status = load_get(v, &row);
    *ret = status == 0 && !row.is_done;
    return status == -ERR_NO_ENTRY ? 0 : status;
}

int fs_get_loading(struct fs_view *view, struct uuid *ret_file)
{
    struct load_row row;
    int status = load_get(view, &row);
    if (status || row.is_done)
        return status ? status : -ERR_NO_ENTRY;
    *ret_file = row.file;
    return 0;
}

static bool same_file(const struct load_row *row, const struct uuid *file)
{
    return memcmp(&row->file, file, sizeof *file) == 0;
}

/* The load of this file that is under way, or was ended. */
static int load_find(struct op *o, const struct uuid *file, struct load_row *ret)
{
    int status = load_get(o->view, ret);
    if (status == -ERR_NO_ENTRY || (status == 0 && !same_file(ret, file)))
        return -ERR_REFUSED;
    return status;
}

static int begin_done(struct op *o, uint64_t piece)
{
    encode_meta_load_begin_r(o->reply, &(struct msg_meta_load_begin_r){.piece = piece});
    return 0;
}

int op_meta_load_begin(struct op *o, const struct msg_meta_load_begin *m)
{
    struct fs_state *s = &o->fs->state;
    struct load_row row;
    int status = load_get(o->view, &row);
    if (status && status != -ERR_NO_ENTRY)
        return status;
    if (status == 0 && !row.is_done)
        return same_file(&row, &m->file) ? begin_done(o, row.next_piece) : -ERR_REFUSED;
    if (s->copies == 0)
        return -ERR_UNAVAILABLE;
    if (s->file_count != 0 || s->directory_count != 1 || s->garbage_count != 0 ||
        s->session_count != 0)
        return -ERR_NOT_EMPTY_STATE;
    if (m->copies != s->copies || m->inode_next <= ROOT_INODE || m->inode_next > INT64_MAX)
        return -ERR_INVALID;
    if (o->check_only)
        return 0;
    if (s->inode_next < m->inode_next)
        s->inode_next = m->inode_next;
    row = (struct load_row){.file = m->file};
    load_put(o->fs, &row);
    return begin_done(o, 0);
}

/* ---- records: each is first looked at, and put in place when all of the piece are right ---- */

static bool is_free(struct op *o, struct row_key key)
{
    struct slice value;
    return row_get(o->view, key, &value) == -ERR_NO_ENTRY;
}

static int take_name(struct op *o, const struct rec_dump_name *r, bool put)
{
    static const uint32_t modes[] = {
        [INODE_FILE] = S_IFREG,  [INODE_DIRECTORY] = S_IFDIR, [INODE_SYMLINK] = S_IFLNK,
        [INODE_FIFO] = S_IFIFO,  [INODE_SOCKET] = S_IFSOCK,   [INODE_CHARACTER] = S_IFCHR,
        [INODE_BLOCK] = S_IFBLK,
    };
    if (put) {
        dentry_put(o->fs, r->parent, r->cookie, r->inode, modes[r->type], r->name);
        return 0;
    }
    if (name_check(r->name) != 0 || r->type < INODE_FILE || r->type > INODE_BLOCK ||
        r->parent == 0 || r->inode == 0 || !dentry_may_lie_at(r->name, r->cookie) ||
        !is_free(o, key_of_pair('D', r->parent, r->cookie)))
        return -ERR_INVALID;
    return 0;
}

static int take_chunk(struct op *o, const struct rec_dump_chunk *r, bool put)
{
    uint8_t value[4];
    if (put) {
        store_u32(value, r->generation);
        row_put(o->fs, key_of_chunk(r->inode, r->index), slice_of(value, sizeof value));
        return 0;
    }
    return r->inode == 0 || r->index == 0 || r->generation == 0 ||
                   !is_free(o, key_of_chunk(r->inode, r->index))
               ? -ERR_INVALID
               : 0;
}

static int take_link(struct op *o, const struct rec_dump_link *r, bool put)
{
    if (put) {
        row_put(o->fs, key_of_u64('L', r->inode), r->link_target);
        return 0;
    }
    return r->inode == 0 || r->link_target.size == 0 || r->link_target.size > LINK_TARGET_MAX ||
                   memchr(r->link_target.data, 0, r->link_target.size) ||
                   !is_free(o, key_of_u64('L', r->inode))
               ? -ERR_INVALID
               : 0;
}

static bool is_sane(const struct op *o, const struct rec_dump_inode *r)
{
    if (r->number == 0 || r->number >= o->fs->state.inode_next || r->mode > 0177777 ||
        inode_type(r->mode) == 0 || r->copies == 0 || r->copies > COPIES_MAX || r->nlink == 0 ||
        r->nlink > FS_LINK_MAX)
        return false;
    if (r->number == ROOT_INODE && !S_ISDIR(r->mode))
        return false;
    if (S_ISREG(r->mode))
        return r->size <= FS_FILE_SIZE_MAX && r->chunk_generation > 0 &&
               r->first_generation <= r->chunk_generation &&
               r->chunk_total >= (r->first_generation ? 1u : 0u);
    return !S_ISLNK(r->mode) || r->size <= LINK_TARGET_MAX;
}

static int take_inode(struct op *o, const struct rec_dump_inode *r, bool put)
{
    struct fs_state *s = &o->fs->state;
    bool is_root = r->number == ROOT_INODE; /* there already, and counted */
    if (!put)
        return is_sane(o, r) && (is_root || is_free(o, key_of_u64('i', r->number))) ? 0
                                                                                    : -ERR_INVALID;
    struct inode i = {.number = r->number,
                      .mode = r->mode,
                      .copies = r->copies,
                      .nlink = r->nlink,
                      .uid = r->uid,
                      .gid = r->gid,
                      .size = r->size,
                      .atime_ns = r->atime_ns,
                      .mtime_ns = r->mtime_ns,
                      .ctime_ns = r->ctime_ns,
                      .version = o->index,
                      .data_version = o->index,
                      .parent = S_ISDIR(r->mode) ? r->parent : 0,
                      .rdev = r->rdev,
                      .chunk_generation = r->chunk_generation,
                      .chunk_total = r->chunk_total,
                      .first_generation = r->first_generation};
    if (S_ISDIR(i.mode))
        s->directory_count += !is_root;
    else
        s->file_count++;
    if (S_ISREG(i.mode))
        s->file_bytes += i.size;
    copies_use(o->fs, i.copies);
    inode_put(o->fs, &i);
    return 0;
}

#define TAKE_ALL(kind, list)                                       \
    do {                                                           \
        struct rec_dump_##kind r;                                  \
        struct slice cursor = (list).raw;                          \
        while (status == 0 && rec_dump_##kind##_next(&cursor, &r)) \
            status = take_##kind(o, &r, put);                      \
    } while (0)

static int take_piece(struct op *o, const struct msg_meta_load *m, bool put)
{
    int status = 0;
    TAKE_ALL(name, m->names);
    TAKE_ALL(chunk, m->chunks);
    TAKE_ALL(link, m->links);
    TAKE_ALL(inode, m->inodes);
    return status;
}

int op_meta_load(struct op *o, const struct msg_meta_load *m)
{
    struct load_row row;
    int status = load_find(o, &m->file, &row);
    if (status)
        return status;
    if (row.is_done || m->piece < row.next_piece)
        return reply_done(o); /* a repeat */
    if (m->piece > row.next_piece)
        return -ERR_GAP;
    status = take_piece(o, m, false);
    if (status || o->check_only)
        return status;
    (void)take_piece(o, m, true);
    row.next_piece++;
    load_put(o->fs, &row);
    return reply_done(o);
}

int op_meta_load_end(struct op *o, const struct msg_meta_load_end *m)
{
    const struct fs_state *s = &o->fs->state;
    struct load_row row;
    int status = load_find(o, &m->file, &row);
    if (status)
        return status;
    if (row.is_done)
        return reply_done(o); /* a repeat */
    if (row.next_piece != m->piece)
        return -ERR_GAP;
    if (s->file_count + s->directory_count != m->inodes)
        return -ERR_INVALID;
    if (o->check_only)
        return 0;
    row.is_done = true;
    load_put(o->fs, &row);
    return reply_done(o);
}
