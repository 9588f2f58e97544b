/* What the files of the check share. */
#ifndef CAIRN_FS_FS_CHECK_PRIVATE_H
#define CAIRN_FS_FS_CHECK_PRIVATE_H

#include "metaserver/fs/fs_check.h"
#include "metaserver/fs/state.h"

/* What the walk learns about one inode. */
struct seen {
    uint64_t number, size, parent; /* parent: as the inode says, of directories */
    uint64_t named_in;             /* the parent of its last name */
    uint32_t mode, nlink;
    uint32_t chunk_total, chunk_generation;
    uint32_t names, subdirectories, slots, holds;
};

struct walk {
    const struct fs_check_options *options;
    struct fs_check_counts *counts;
    struct fs_view *view;
    struct fs_state state; /* the row M */
    struct shard_table table;
    uint64_t rows; /* walked, to ask go_on now and then */
    /* The range of inodes: ascending; all that lie in first .. last are here. */
    struct seen *seen;
    uint64_t seen_count, seen_max, first, last;
    uint64_t orphans;
};

/* Counts and tells it. 0, or -ERR_LIMIT when the walk shall end. */
int walk_wrong(struct walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define WRONG(w, ...) walk_wrong((w), __VA_ARGS__)

/* Not 0 ends the walk. The view's own cursor is free for it. */
typedef int row_fn(struct walk *w, struct slice key, struct slice value);
/* All rows of `from`'s table from that key on whose first number is at most `last`. */
int walk_rows(struct walk *w, struct row_key from, uint64_t last, row_fn *fn);

/* Inodes, names, chunk slots, links, holds (fs_check_tree.c). */
int walk_tree(struct walk *w);
/* Everything else (fs_check_rows.c). */
int walk_sessions(struct walk *w);
int walk_garbage(struct walk *w);
int walk_jobs(struct walk *w); /* and the policy; w->table is loaded */

#endif
