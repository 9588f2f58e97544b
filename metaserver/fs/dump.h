/* The namespace as records, for dumps: names, chunks, links, inodes, in this order and within each
 * by key. Not in it: sessions and what only they hold (orphans), deleted chunks, the shard table,
 * and the versions of inodes, which are indexes of this cluster's log. */
#ifndef CAIRN_FS_DUMP_H
#define CAIRN_FS_DUMP_H

#include "metaserver/fs/fs.h"

/* Lists of records, encoded one behind the other. */
struct fs_dump_rows {
    struct bytes names, chunks, links, inodes;
    uint32_t name_count, chunk_count, link_count, inode_count;
};
void fs_dump_rows_clear(struct fs_dump_rows *rows);
void fs_dump_rows_release(struct fs_dump_rows *rows);

struct fs_dump_head {
    struct uuid cluster;
    uint64_t index, term, inode_next;
    uint8_t copies;
};
/* -ERR_NO_ENTRY: nothing was applied yet. */
int fs_dump_get_head(struct fs_view *view, struct fs_dump_head *ret);
/* The same from the row of the counters (key "M"). */
int fs_dump_read_head(struct slice value, struct fs_dump_head *ret);

/* Appends a row of the store: 1 = done, 0 = not part of a dump (another table, an orphaned inode),
 * -ERR_CORRUPT. Chunks and links of orphans are the caller's business. */
int fs_dump_add_row(struct slice key, struct slice value, struct fs_dump_rows *rows);
/* The inode that the row belongs to, when it is one of a chunk, a link or an inode; otherwise 0. */
uint64_t fs_dump_owner(struct slice key);

/* The rows behind the key `after` (at first of size 0), at most some megabytes. *ret_last is the
 * `after` of the next piece. 0 or a negated err. */
int fs_dump_next(struct fs_view *view, struct slice after, struct fs_dump_rows *rows,
                 struct bytes *ret_last, bool *ret_end);

#endif
