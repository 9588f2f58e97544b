/* All invariants of the state machine. */
#include "metaserver/fs/state.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/map.h"

#include "common/base/banned.h"

/* What the walk learns about one inode. */
struct seen {
    struct inode inode;
    uint32_t names, subdirectories, slots, holds;
    uint64_t parent; /* of the last name */
};

struct walk {
    struct fs *fs;
    struct fs_view *view;
    struct err_text *why;
    struct map inodes; /* number -> struct seen */
    struct fs_state count;
};

#define WRONG(w, ...) err_set(ERR_CORRUPT, (w)->why, __VA_ARGS__)

typedef int row_fn(struct walk *w, struct slice key, struct slice value);

static int each_row(struct walk *w, char table, row_fn *fn)
{
    struct slice key, value;
    struct row_key last = key_of_table(table);
    int status = row_seek(w->view, last, 1, &key, &value);
    while (status == 0) {
        if (key.size > ROW_KEY_MAX)
            return WRONG(w, "table %c: key of %zu bytes", table, key.size);
        last.size = key.size;
        memcpy(last.bytes, key.data, key.size);
        status = fn(w, key, value);
        if (status)
            return status;
        /* By key, because fn may have moved the view's cursor. */
        struct row_key above = last;
        if (above.size < ROW_KEY_MAX)
            above.bytes[above.size++] = 0;
        status = row_seek(w->view, above, 1, &key, &value);
    }
    return status == -ERR_NO_ENTRY ? 0 : status;
}

static int see_inode(struct walk *w, struct slice key, struct slice value)
{
    struct inode i;
    uint64_t number = key_u64(key, 1);
    if (key.size != 9 || inode_unpack(number, value, &i) != 0)
        return WRONG(w, "inode %llu: unreadable", (unsigned long long)number);
    if (number == 0 || number >= w->fs->state.inode_next)
        return WRONG(w, "inode %llu: number not given out", (unsigned long long)number);
    struct seen *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->inode = i;
    map_put(&w->inodes, number, s);
    if (S_ISDIR(i.mode))
        w->count.directory_count++;
    else
        w->count.file_count++;
    if (S_ISREG(i.mode)) {
        w->count.file_bytes += i.size;
        s->slots = i.first_generation ? 1 : 0;
        if (i.chunk_generation == 0 || i.first_generation > i.chunk_generation)
            return WRONG(w, "inode %llu: generation", (unsigned long long)number);
    }
    return 0;
}

static int see_name(struct walk *w, struct slice key, struct slice value)
{
    struct dentry d;
    uint64_t parent = key_u64(key, 1);
    if (dentry_unpack(key, value, &d) != 0 || name_check(d.name) != 0)
        return WRONG(w, "directory %llu: unreadable name", (unsigned long long)parent);
    struct seen *dir = map_get(&w->inodes, parent), *s = map_get(&w->inodes, d.inode);
    if (!dir || !S_ISDIR(dir->inode.mode))
        return WRONG(w, "name in %llu, which is no directory", (unsigned long long)parent);
    if (!s || inode_type(s->inode.mode) != (enum inode_type)d.type)
        return WRONG(w, "name in %llu leads to %llu: missing or of another type",
                     (unsigned long long)parent, (unsigned long long)d.inode);
    s->names++;
    s->parent = parent;
    if (S_ISDIR(s->inode.mode))
        dir->subdirectories++;
    struct dentry found;
    uint8_t name[NAME_LENGTH_MAX];
    memcpy(name, d.name.data, d.name.size);
    if (dentry_find(w->view, parent, slice_of(name, d.name.size), &found) != 0 ||
        found.cookie != d.cookie)
        return WRONG(w, "directory %llu: a name is not found by look-up",
                     (unsigned long long)parent);
    return 0;
}

static int see_slot(struct walk *w, struct slice key, struct slice value)
{
    struct seen *s = map_get(&w->inodes, key_u64(key, 1));
    if (key.size != 13 || value.size != 4 || !s || !S_ISREG(s->inode.mode))
        return WRONG(w, "chunk slot of %llu, which is no file",
                     (unsigned long long)key_u64(key, 1));
    uint32_t generation = load_u32(value.data);
    if (generation == 0 || generation > s->inode.chunk_generation)
        return WRONG(w, "chunk slot of %llu: generation %u", (unsigned long long)s->inode.number,
                     generation);
    s->slots++;
    return 0;
}

static int see_link_target(struct walk *w, struct slice key, struct slice value)
{
    struct seen *s = map_get(&w->inodes, key_u64(key, 1));
    if (key.size != 9 || !s || !S_ISLNK(s->inode.mode) || s->inode.size != value.size)
        return WRONG(w, "link target of %llu", (unsigned long long)key_u64(key, 1));
    return 0;
}

static int see_hold(struct walk *w, struct slice key, struct slice value)
{
    uint64_t inode = key_u64(key, 1), session = key_u64(key, 9);
    struct seen *s = map_get(&w->inodes, inode);
    if (key.size != 17 || !s || s->inode.nlink != 0 || !session_exists(w->view, session) ||
        row_get(w->view, key_of_pair('H', session, inode), &value) != 0)
        return WRONG(w, "hold of %llu by session %llu", (unsigned long long)inode,
                     (unsigned long long)session);
    s->holds++;
    return 0;
}

static int see_held(struct walk *w, struct slice key, struct slice value)
{
    if (key.size != 17 ||
        row_get(w->view, key_of_pair('O', key_u64(key, 9), key_u64(key, 1)), &value) != 0)
        return WRONG(w, "hold of session %llu has no other side",
                     (unsigned long long)key_u64(key, 1));
    return 0;
}

static int see_garbage(struct walk *w, struct slice key, struct slice value)
{
    if (key.size != 9 || value.size != 17 || key_u64(key, 1) >= w->fs->state.garbage_next)
        return WRONG(w, "garbage row %llu", (unsigned long long)key_u64(key, 1));
    struct chunk_id id = {load_u64(value.data), load_u32(value.data + 8),
                          load_u32(value.data + 12)};
    w->count.garbage_count++;
    if (fs_find_chunk(w->view, &id) == 0)
        return WRONG(w, "garbage row %llu names a living chunk", (unsigned long long)id.inode);
    return 0;
}

static int see_session(struct walk *w, struct slice key, struct slice value)
{
    uint64_t session = key_u64(key, 1);
    struct uuid client;
    struct slice id;
    if (key.size != 9 || value.size < UUID_SIZE || session >= w->fs->state.session_next)
        return WRONG(w, "session %llu: unreadable", (unsigned long long)session);
    memcpy(client.bytes, value.data, UUID_SIZE);
    if (!session_exists(w->view, session) || row_get(w->view, key_of_uuid(&client), &id) != 0 ||
        id.size != 8 || load_u64(id.data) != session)
        return WRONG(w, "session %llu: not found by its client", (unsigned long long)session);
    w->count.session_count++;
    return 0;
}

static int see_client(struct walk *w, struct slice key, struct slice value)
{
    struct slice row;
    if (key.size != 1 + UUID_SIZE || value.size != 8 ||
        row_get(w->view, key_of_u64('S', load_u64(value.data)), &row) != 0)
        return WRONG(w, "client without a session");
    return 0;
}

static int see_answer(struct walk *w, struct slice key, struct slice value)
{
    uint64_t session = key_u64(key, 1), sequence = key_u64(key, 9);
    struct slice row;
    if (key.size != 17 || value.size < 4 || row_get(w->view, key_of_u64('W', session), &row) != 0 ||
        row.size != 8 || sequence < load_u64(row.data) ||
        sequence - load_u64(row.data) >= FS_SESSION_WINDOW)
        return WRONG(w, "answer %llu of session %llu outside its window",
                     (unsigned long long)sequence, (unsigned long long)session);
    return 0;
}

static int see_window(struct walk *w, struct slice key, struct slice value)
{
    struct slice row;
    if (key.size != 9 || value.size != 8 ||
        row_get(w->view, key_of_u64('S', key_u64(key, 1)), &row) != 0)
        return WRONG(w, "window without session %llu", (unsigned long long)key_u64(key, 1));
    return 0;
}

static bool equal_text(const char *a, const char *b)
{
    return slice_equal(slice_str(a), slice_str(b));
}

static int see_target(struct walk *w, struct slice key, struct slice value)
{
    struct target row;
    const struct target *t = shard_table_target(&w->fs->table, (uint32_t)key_u64(key, 1));
    if (key.size != 9 || !t || target_unpack(value, &row) != 0 ||
        memcmp(&row.uuid, &t->uuid, sizeof row.uuid) != 0 || row.state != t->state ||
        row.incarnation != t->incarnation || row.weight != t->weight ||
        !equal_text(row.name, t->name) || !equal_text(row.address, t->address) ||
        !equal_text(row.host, t->host))
        return WRONG(w, "target %llu: row and mirror differ", (unsigned long long)key_u64(key, 1));
    return 0;
}

static int see_shard(struct walk *w, struct slice key, struct slice value)
{
    uint32_t number = 0;
    uint8_t slots[COPIES_MAX * SLOT_PACKED_SIZE];
    if (key.size == 6)
        memcpy(&number, key.data + 2, 4);
    number = __builtin_bswap32(number);
    unsigned copies = key.size == 6 ? key.data[1] : 0;
    const struct shard *s = shard_table_shard(&w->fs->table, copies, number);
    if (!s || value.size != 16 + (size_t)copies * SLOT_PACKED_SIZE)
        return WRONG(w, "shard %u of %u copies: no such shard", number, copies);
    shard_pack_slots(s, copies, slots);
    if (load_u64(value.data) != s->epoch || load_u64(value.data + 8) != s->changed_version ||
        memcmp(value.data + 16, slots, value.size - 16) != 0)
        return WRONG(w, "shard %u of %u copies: row and mirror differ", number, copies);
    return 0;
}

/* ---- after the walk ---- */

static int judge_directory(struct walk *w, const struct seen *s)
{
    const struct inode *i = &s->inode;
    bool root = i->number == ROOT_INODE;
    if (s->names != (root ? 0 : 1) || i->parent != (root ? ROOT_INODE : s->parent))
        return WRONG(w, "directory %llu: %u names, parent %llu", (unsigned long long)i->number,
                     s->names, (unsigned long long)i->parent);
    if (i->nlink != 2 + s->subdirectories)
        return WRONG(w, "directory %llu: nlink %u, %u subdirectories",
                     (unsigned long long)i->number, i->nlink, s->subdirectories);
    uint64_t at = i->number;
    for (size_t depth = 0; at != ROOT_INODE; depth++) {
        const struct seen *above = map_get(&w->inodes, at);
        if (!above || depth > w->inodes.count)
            return WRONG(w, "directory %llu: no way to the root", (unsigned long long)i->number);
        at = above->inode.parent;
    }
    return 0;
}

static int judge(struct walk *w, const struct seen *s)
{
    const struct inode *i = &s->inode;
    struct slice value;
    if (S_ISDIR(i->mode))
        return judge_directory(w, s);
    if (i->nlink != s->names || (i->nlink == 0) != (s->holds > 0))
        return WRONG(w, "inode %llu: nlink %u, %u names, %u holds", (unsigned long long)i->number,
                     i->nlink, s->names, s->holds);
    if (i->nlink == 0)
        w->count.orphan_count++;
    if (S_ISREG(i->mode) && s->slots != i->chunk_total)
        return WRONG(w, "inode %llu: %u chunk slots, total %u", (unsigned long long)i->number,
                     s->slots, i->chunk_total);
    if (S_ISLNK(i->mode) && row_get(w->view, key_of_u64('L', i->number), &value) != 0)
        return WRONG(w, "symbolic link %llu: no target", (unsigned long long)i->number);
    return 0;
}

static int compare_counts(struct walk *w)
{
    const struct fs_state *a = &w->fs->state, *b = &w->count;
    if (a->file_count != b->file_count || a->directory_count != b->directory_count ||
        a->file_bytes != b->file_bytes || a->garbage_count != b->garbage_count ||
        a->orphan_count != b->orphan_count || a->session_count != b->session_count)
        return WRONG(w,
                     "counters: files %llu/%llu bytes %llu/%llu garbage %llu/%llu orphans "
                     "%llu/%llu",
                     (unsigned long long)a->file_count, (unsigned long long)b->file_count,
                     (unsigned long long)a->file_bytes, (unsigned long long)b->file_bytes,
                     (unsigned long long)a->garbage_count, (unsigned long long)b->garbage_count,
                     (unsigned long long)a->orphan_count, (unsigned long long)b->orphan_count);
    if (a->table_version != w->fs->table.version)
        return WRONG(w, "shard table: version of the row and of the mirror differ");
    return w->fs->state.copies ? shard_table_check(&w->fs->table, w->why) : 0;
}

static int walk_all(struct walk *w)
{
    static const struct {
        char table;
        row_fn *fn;
    } passes[] = {
        {'i', see_inode},  {'D', see_name},   {'K', see_slot},    {'L', see_link_target},
        {'O', see_hold},   {'H', see_held},   {'G', see_garbage}, {'S', see_session},
        {'U', see_client}, {'A', see_answer}, {'W', see_window},  {'T', see_target},
        {'R', see_shard},
    };
    for (unsigned i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        int status = each_row(w, passes[i].table, passes[i].fn);
        if (status)
            return status;
    }
    size_t cursor = 0;
    for (struct map_entry *e = map_next(&w->inodes, &cursor); e;
         e = map_next(&w->inodes, &cursor)) {
        int status = judge(w, e->value);
        if (status)
            return status;
    }
    return compare_counts(w);
}

int fs_check(struct fs *fs, struct fs_view *view, struct err_text *why)
{
    CHECK(!fs->in_batch);
    struct walk w = {.fs = fs, .view = view, .why = why};
    map_init(&w.inodes, 1);
    int status = walk_all(&w);
    size_t cursor = 0;
    for (struct map_entry *e = map_next(&w.inodes, &cursor); e; e = map_next(&w.inodes, &cursor))
        free(e->value);
    map_release(&w.inodes);
    return status;
}
