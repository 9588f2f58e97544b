/* The check of the tree: inodes in ranges, and for each range all names that lead to them. */
#include "metaserver/fs/fs_check_private.h"

#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

static struct seen *find(struct walk *w, uint64_t number)
{
    uint64_t low = 0, high = w->seen_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (w->seen[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->seen_count && w->seen[low].number == number ? &w->seen[low] : NULL;
}

static bool in_range(const struct walk *w, uint64_t number)
{
    return number >= w->first && number <= w->last;
}

/* ---- the inodes of a range ---- */

static void count_inode(struct walk *w, const struct inode *i)
{
    struct fs_check_counts *c = w->counts;
    if (S_ISDIR(i->mode))
        c->directories++;
    else if (S_ISREG(i->mode))
        c->files++;
    else if (S_ISLNK(i->mode))
        c->links++;
    else
        c->others++;
    if (S_ISREG(i->mode)) {
        c->file_bytes += i->size;
        c->chunks += i->first_generation ? 1 : 0;
    }
}

static int see_inode(struct walk *w, struct slice key, struct slice value)
{
    struct inode i;
    uint64_t number = key_u64(key, 1);
    if (w->seen_count == w->seen_max) { /* the next range begins here */
        w->last = number - 1;
        return -ERR_RANGE;
    }
    if (key.size != 9 || inode_unpack(number, value, &i) != 0)
        return WRONG(w, "inode %llu: unreadable", (unsigned long long)number);
    count_inode(w, &i);
    struct seen *s = &w->seen[w->seen_count++];
    *s = (struct seen){.number = number,
                       .size = i.size,
                       .parent = i.parent,
                       .mode = i.mode,
                       .nlink = i.nlink,
                       .chunk_total = i.chunk_total,
                       .chunk_generation = i.chunk_generation,
                       .slots = i.first_generation ? 1 : 0};
    if (number == 0 || number >= w->state.inode_next)
        return WRONG(w, "inode %llu: number not given out", (unsigned long long)number);
    if (S_ISREG(i.mode) && (i.chunk_generation == 0 || i.first_generation > i.chunk_generation))
        return WRONG(w, "inode %llu: generation", (unsigned long long)number);
    if (i.moved_generation > i.chunk_generation || (i.is_moving && !S_ISREG(i.mode)))
        return WRONG(w, "inode %llu: move", (unsigned long long)number);
    unsigned wanted = 1u << w->state.copies | w->state.copies_used;
    if (i.copies == 0 || !(wanted & 1u << i.copies))
        return WRONG(w, "inode %llu: nobody forms a table with %u copies",
                     (unsigned long long)number, i.copies);
    return 0;
}

/* ---- what belongs to them ---- */

/* The name stands in a directory of this range: the row itself and its place. */
static int see_name_of(struct walk *w, const struct dentry *d, uint64_t parent)
{
    struct seen *dir = find(w, parent);
    struct dentry found;
    w->counts->names++;
    if (!dir || !S_ISDIR(dir->mode))
        return WRONG(w, "name in %llu, which is no directory", (unsigned long long)parent);
    if (d->type == INODE_DIRECTORY)
        dir->subdirectories++;
    if (name_check(d->name) != 0)
        return WRONG(w, "directory %llu: unreadable name", (unsigned long long)parent);
    if (dentry_find(w->view, parent, d->name, &found) != 0 || found.cookie != d->cookie)
        return WRONG(w, "directory %llu: a name is not found by look-up",
                     (unsigned long long)parent);
    return 0;
}

static int see_name(struct walk *w, struct slice key, struct slice value)
{
    struct dentry d;
    uint64_t parent = key_u64(key, 1);
    if (dentry_unpack(key, value, &d) != 0)
        return in_range(w, parent)
                   ? WRONG(w, "directory %llu: unreadable name", (unsigned long long)parent)
                   : 0;
    int status = in_range(w, parent) ? see_name_of(w, &d, parent) : 0;
    if (status || !in_range(w, d.inode))
        return status;
    struct seen *s = find(w, d.inode);
    if (!s || inode_type(s->mode) != (enum inode_type)d.type)
        return WRONG(w, "name in %llu leads to %llu: missing or of another type",
                     (unsigned long long)parent, (unsigned long long)d.inode);
    s->names++;
    s->named_in = parent;
    return 0;
}

static int see_slot(struct walk *w, struct slice key, struct slice value)
{
    uint64_t number = key_u64(key, 1);
    struct seen *s = find(w, number);
    w->counts->chunks++;
    if (key.size != 13 || value.size != 4 || !s || !S_ISREG(s->mode))
        return WRONG(w, "chunk slot of %llu, which is no file", (unsigned long long)number);
    uint32_t generation = load_u32(value.data);
    s->slots++;
    if (generation == 0 || generation > s->chunk_generation)
        return WRONG(w, "chunk slot of %llu: generation %u", (unsigned long long)number,
                     generation);
    return 0;
}

static int see_link_target(struct walk *w, struct slice key, struct slice value)
{
    struct seen *s = find(w, key_u64(key, 1));
    if (key.size != 9 || !s || !S_ISLNK(s->mode) || s->size != value.size)
        return WRONG(w, "link target of %llu", (unsigned long long)key_u64(key, 1));
    s->slots++;
    return 0;
}

static int see_hold(struct walk *w, struct slice key, struct slice value)
{
    uint64_t inode = key_u64(key, 1), session = key_u64(key, 9);
    struct seen *s = find(w, inode);
    if (key.size != 17 || !s || s->nlink != 0 || !session_exists(w->view, session) ||
        row_get(w->view, key_of_pair('H', session, inode), &value) != 0)
        return WRONG(w, "hold of %llu by session %llu", (unsigned long long)inode,
                     (unsigned long long)session);
    s->holds++;
    return 0;
}

/* ---- judgement of a range ---- */

/* Up the parents; a ring that does not hold the root is found as Brent does it (An improved Monte
 * Carlo factorization algorithm, BIT 1980): the mark moves to where we are at powers of two. */
static bool reaches_root(struct walk *w, uint64_t number)
{
    uint64_t at = number, mark = number;
    for (uint64_t steps = 1, power = 2; at != ROOT_INODE; steps++) {
        struct inode i;
        if (inode_get(w->view, at, &i) != 0 || !S_ISDIR(i.mode))
            return false;
        at = i.parent;
        if (at == mark)
            return false;
        if (steps == power) {
            mark = at;
            power *= 2;
        }
    }
    return true;
}

static int judge_directory(struct walk *w, const struct seen *s)
{
    bool root = s->number == ROOT_INODE;
    int status = 0;
    if (s->names != (root ? 0 : 1) || s->parent != (root ? ROOT_INODE : s->named_in))
        status = WRONG(w, "directory %llu: %u names, parent %llu", (unsigned long long)s->number,
                       s->names, (unsigned long long)s->parent);
    if (status == 0 && s->nlink != 2 + s->subdirectories)
        status = WRONG(w, "directory %llu: nlink %u, %u subdirectories",
                       (unsigned long long)s->number, s->nlink, s->subdirectories);
    if (status == 0 && !reaches_root(w, s->number))
        status = WRONG(w, "directory %llu: no way to the root", (unsigned long long)s->number);
    return status;
}

static int judge(struct walk *w, const struct seen *s)
{
    int status = 0;
    if (S_ISDIR(s->mode))
        return judge_directory(w, s);
    if (s->nlink == 0)
        w->orphans++;
    if (s->nlink != s->names || (s->nlink == 0) != (s->holds > 0))
        status = WRONG(w, "inode %llu: nlink %u, %u names, %u holds", (unsigned long long)s->number,
                       s->nlink, s->names, s->holds);
    if (status == 0 && S_ISREG(s->mode) && s->slots != s->chunk_total)
        status = WRONG(w, "inode %llu: %u chunk slots, total %u", (unsigned long long)s->number,
                       s->slots, s->chunk_total);
    if (status == 0 && S_ISLNK(s->mode) && s->slots != 1)
        status = WRONG(w, "symbolic link %llu: no target", (unsigned long long)s->number);
    return status;
}

static int walk_range(struct walk *w)
{
    w->seen_count = 0;
    w->last = UINT64_MAX;
    int status = walk_rows(w, key_of_u64('i', w->first), UINT64_MAX, see_inode);
    if (status == -ERR_RANGE)
        status = 0;
    if (status == 0)
        status = walk_rows(w, key_of_table('D'), UINT64_MAX, see_name);
    if (status == 0)
        status = walk_rows(w, key_of_u64('K', w->first), w->last, see_slot);
    if (status == 0)
        status = walk_rows(w, key_of_u64('L', w->first), w->last, see_link_target);
    if (status == 0)
        status = walk_rows(w, key_of_u64('O', w->first), w->last, see_hold);
    for (uint64_t i = 0; status == 0 && i < w->seen_count; i++)
        status = judge(w, &w->seen[i]);
    return status;
}

int walk_tree(struct walk *w)
{
    uint64_t wanted = w->state.file_count + w->state.directory_count + 1;
    if (wanted < w->seen_max)
        w->seen_max = wanted; /* should the counters be wrong, there are just more ranges */
    w->seen = calloc(w->seen_max, sizeof *w->seen);
    CHECK(w->seen != NULL);
    for (;;) {
        int status = walk_range(w);
        if (status || w->last == UINT64_MAX)
            return status;
        w->first = w->last + 1;
    }
}
