/* How many copies: what a directory's new entries inherit, and moving a file into another table
 * (docs/replicas.md). */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

/* ---- which tables are wanted ---- */

void copies_use(struct fs *fs, uint8_t copies)
{
    struct fs_state *s = &fs->state;
    if (copies == s->copies || s->copies_used & 1u << copies)
        return;
    s->copies_used |= (uint8_t)(1u << copies);
    row_put(fs, key_of_copies(copies), slice_of("", 0));
}

int copies_read(struct fs_view *v, uint8_t *ret_used)
{
    struct slice key, value;
    struct row_key from = key_of_table('N');
    uint8_t used = 0;
    int status = row_seek(v, from, 1, &key, &value);
    for (; status == 0; status = row_next(v, from, 1, &key, &value)) {
        if (key.size != 2 || key.data[1] < 1 || key.data[1] > COPIES_MAX)
            return -ERR_CORRUPT;
        used |= (uint8_t)(1u << key.data[1]);
    }
    if (status != -ERR_NO_ENTRY)
        return status;
    *ret_used = used;
    return 0;
}

unsigned fs_copies_wanted(const struct fs *fs)
{
    const struct fs_state *s = &fs->state;
    return s->copies ? 1u << s->copies | s->copies_used : 0;
}

/* ---- set ---- */

/* A file or directory of the caller's own. */
static int owned_get(struct fs_view *v, uint64_t number, const struct wire_caller *c,
                     struct inode *ret)
{
    int status = inode_get(v, number, ret);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_STALE_HANDLE : status;
    if (!S_ISREG(ret->mode) && !S_ISDIR(ret->mode))
        return -ERR_INVALID;
    return c->uid == 0 || c->uid == ret->uid ? 0 : -ERR_PERMISSION;
}

int op_meta_set_copies(struct op *o, const struct msg_meta_set_copies *m)
{
    struct inode i;
    if (m->copies < 1 || m->copies > COPIES_MAX)
        return -ERR_INVALID;
    int status = owned_get(o->view, m->inode, &m->caller, &i);
    if (status)
        return status;
    bool changes = i.copies != m->copies;
    if (changes && i.chunk_total > 0)
        return -ERR_NOT_EMPTY_STATE; /* its chunks have to be copied: meta_move_begin */
    if (o->check_only)
        return 0;
    if (changes) {
        copies_use(o->fs, m->copies);
        i.copies = m->copies;
        /* What a writer made in the other table and has not committed must not get in. */
        if (S_ISREG(i.mode))
            inode_relocated(o, &i);
        else
            inode_changed(o, &i);
        inode_put(o->fs, &i);
    }
    return reply_entry(o, &i, 0);
}

/* ---- move ---- */

int op_meta_move_begin(struct op *o, const struct msg_meta_move_begin *m)
{
    struct inode i;
    if (m->copies < 1 || m->copies > COPIES_MAX)
        return -ERR_INVALID;
    int status = owned_get(o->view, m->inode, &m->caller, &i);
    if (status)
        return status;
    if (!S_ISREG(i.mode) || i.copies == m->copies || i.chunk_total == 0)
        return -ERR_INVALID;
    if (i.chunk_generation > UINT32_MAX - 4)
        return -ERR_FILE_TOO_BIG;
    if (o->check_only)
        return 0;
    copies_use(o->fs, m->copies);
    /* One for the mover and one for everybody else: an id is never made twice. */
    i.chunk_generation += 2;
    i.is_moving = true;
    inode_put(o->fs, &i);
    struct msg_meta_move_begin_r r = {.attr = inode_attr(&i),
                                      .generation = i.chunk_generation - 1,
                                      .chunk_total = i.chunk_total,
                                      .index = o->index};
    encode_meta_move_begin_r(o->reply, &r);
    return 0;
}

int op_meta_move_end(struct op *o, const struct msg_meta_move_end *m)
{
    struct inode i;
    if (m->copies < 1 || m->copies > COPIES_MAX)
        return -ERR_INVALID;
    int status = owned_get(o->view, m->inode, &m->caller, &i);
    if (status)
        return status;
    if (!S_ISREG(i.mode) || i.copies == m->copies)
        return -ERR_INVALID;
    if (!i.is_moving || m->generation != i.chunk_generation - 1 ||
        m->data_version != i.data_version || m->chunk_total != i.chunk_total)
        return -ERR_FILE_OPEN;
    if (o->check_only)
        return 0;
    uint64_t before = i.data_version;
    chunks_replace(o, &i, m->generation); /* garbage of the old table */
    copies_use(o->fs, m->copies);
    i.copies = m->copies;
    inode_relocated(o, &i);
    inode_put(o->fs, &i);
    return reply_entry(o, &i, before);
}
