/* Contents: commit of what was written, open and its slots, collected garbage. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

/* ---- commit ---- */

static int commit_check(struct fs_view *v, const struct msg_meta_commit *m, struct inode *i)
{
    int status = inode_get(v, m->inode, i);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_STALE_HANDLE : status;
    if (!S_ISREG(i->mode))
        return -ERR_INVALID;
#ifndef PLANT_D12_MOVED
    /* What was written went to chunks that are garbage now: the writer must hear of it. */
    if (m->generation != 0 && m->generation < i->moved_generation)
        return -ERR_STALE_HANDLE;
#endif
    return m->size_min > FS_FILE_SIZE_MAX ? -ERR_FILE_TOO_BIG : 0;
}

/* A slot of an older generation was dropped by a truncate meanwhile: it stays outside, and the
 * writer sees the new generation in the answer. */
static void add_slots(struct op *o, struct inode *i, const struct msg_meta_commit *m)
{
    struct rec_chunk_slot slot;
    struct slice cursor = m->added.raw;
    uint32_t present;
    while (rec_chunk_slot_next(&cursor, &slot))
        if (slot.index < UINT32_MAX && slot.generation == i->chunk_generation &&
            chunk_get(o->view, i, slot.index, &present) == -ERR_NO_ENTRY)
            chunk_add(o, i, slot.index, slot.generation);
}

int op_meta_commit(struct op *o, const struct msg_meta_commit *m)
{
    struct inode i;
    int status = commit_check(o->view, m, &i);
    if (status || o->check_only)
        return status;
    uint64_t before = i.data_version;
    add_slots(o, &i, m);
    if (m->size_min > i.size) {
        o->fs->state.file_bytes += m->size_min - i.size;
        i.size = m->size_min;
    }
    inode_contents_changed(o, &i);
    if (m->mtime_ns != INT64_MIN)
        i.mtime_ns = m->mtime_ns;
    inode_put(o->fs, &i);
    return reply_entry(o, &i, before);
}

/* ---- open, chunks ---- */

int reply_open(struct fs_view *v, const struct inode *i, bool created, uint64_t index,
               struct bytes *out)
{
    struct bytes list = {0};
    bool end;
    struct msg_meta_open_r reply = {
        .attr = inode_attr(i), .created = created, .chunk_total = i->chunk_total, .index = index};
    int status = chunks_list(v, i, 0, FS_OPEN_CHUNKS_MAX, &list, &reply.chunks.count, &end);
    if (status == 0) {
        reply.chunks.raw = bytes_slice(&list);
        encode_meta_open_r(out, &reply);
    }
    bytes_release(&list);
    return status;
}

int query_meta_open(struct query *q, const struct msg_meta_open *m)
{
    struct inode i;
    int status = inode_get(q->view, m->inode, &i);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_STALE_HANDLE : status;
    if (S_ISDIR(i.mode) && (m->flags & (OPEN_WRITE | OPEN_TRUNCATE)))
        return -ERR_IS_DIR;
    if (S_ISLNK(i.mode))
        return -ERR_LOOP;
    unsigned want = (m->flags & OPEN_READ ? MAY_READ : 0) |
                    (m->flags & (OPEN_WRITE | OPEN_TRUNCATE) ? MAY_WRITE : 0) |
                    (m->flags & OPEN_EXECUTE ? MAY_EXECUTE : 0);
    status = inode_access(&i, &m->caller, want);
    return status ? status : reply_open(q->view, &i, false, i.version, q->out);
}

int query_meta_chunks(struct query *q, const struct msg_meta_chunks *m)
{
    struct inode i;
    struct bytes list = {0};
    struct msg_meta_chunks_r reply = {0};
    bool end;
    int status = inode_get(q->view, m->inode, &i);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_STALE_HANDLE : status;
    if (!S_ISREG(i.mode) || m->count_max == 0)
        return -ERR_INVALID;
    uint32_t count_max = m->count_max < FS_CHUNKS_MAX ? m->count_max : FS_CHUNKS_MAX;
    status = chunks_list(q->view, &i, m->first_index, count_max, &list, &reply.chunks.count, &end);
    if (status == 0) {
        reply.chunks.raw = bytes_slice(&list);
        reply.end = end;
        reply.copies = i.copies;
        reply.generation = i.chunk_generation;
        encode_meta_chunks_r(q->out, &reply);
    }
    bytes_release(&list);
    return status;
}

/* ---- garbage ---- */

int op_garbage_done(struct op *o, const struct msg_garbage_done *m)
{
    struct rec_garbage_ref row;
    struct slice cursor = m->rows.raw, value;
    if (o->check_only)
        return 0;
    while (rec_garbage_ref_next(&cursor, &row)) {
        struct row_key key = key_of_u64('G', row.seq);
        if (row_get(o->view, key, &value) == 0) {
            row_remove(o->fs, key);
            o->fs->state.garbage_count--;
        }
    }
    return reply_done(o);
}

int fs_next_garbage(struct fs_view *v, uint64_t after, struct fs_garbage *ret)
{
    struct slice key, value;
    if (after == UINT64_MAX)
        return -ERR_NO_ENTRY;
    int status = row_seek(v, key_of_u64('G', after + 1), 1, &key, &value);
    if (status)
        return status;
    if (key.size != 9 || value.size != 17)
        return -ERR_CORRUPT;
    *ret = (struct fs_garbage){
        .seq = key_u64(key, 1),
        .id = {load_u64(value.data), load_u32(value.data + 8), load_u32(value.data + 12)},
        .copies = value.data[16],
    };
    return 0;
}

int fs_find_chunk(struct fs_view *v, const struct chunk_id *id)
{
    struct inode i;
    uint32_t generation;
    int status = inode_get(v, id->inode, &i);
    if (status == 0 && !S_ISREG(i.mode))
        status = -ERR_NO_ENTRY;
    if (status)
        return status;
    /* The chunks that a mover makes are nobody's yet, and not garbage. */
    if (i.is_moving && id->generation == i.chunk_generation - 1)
        return 0;
    status = chunk_get(v, &i, id->index, &generation);
    if (status)
        return status;
    return generation == id->generation ? 0 : -ERR_NO_ENTRY;
}
