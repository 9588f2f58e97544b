/* The cluster's first command, and the comparison of state hashes (R28). */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

int op_cluster_init(struct op *o, const struct msg_cluster_init *m)
{
    struct fs_state *s = &o->fs->state;
    if (s->copies != 0)
        return -ERR_EXISTS;
    if (m->copies < 1 || m->copies > COPIES_MAX || m->shard_count == 0 ||
        m->shard_count > SHARD_COUNT_MAX || (m->shard_count & (m->shard_count - 1)) ||
        m->initial_targets > TARGET_COUNT_MAX)
        return -ERR_INVALID;
    if (o->check_only)
        return 0;
    s->cluster = m->cluster;
    s->copies = m->copies;
    s->shard_count = m->shard_count;
    s->initial_targets = m->initial_targets;
    shard_table_release(&o->fs->table);
    shard_table_init(&o->fs->table, m->shard_count);
    o->fs->mirrors_touched = true;
    struct inode root = {
        .number = ROOT_INODE,
        .mode = S_IFDIR | 0755,
        .copies = m->copies,
        .nlink = 2,
        .atime_ns = o->now_ns,
        .mtime_ns = o->now_ns,
        .ctime_ns = o->now_ns,
        .version = o->index,
        .data_version = o->index,
        .parent = ROOT_INODE,
    };
    s->directory_count = 1;
    inode_put(o->fs, &root);
    return reply_done(o);
}

int op_state_hash(struct op *o, const struct msg_state_hash *m)
{
    const struct fs_state *s = &o->fs->state;
    if (o->check_only)
        return 0;
#ifdef PLANT_R28_UNSEEN
    return reply_done(o);
#endif
    for (unsigned i = 0; i < FS_HASHES_KEPT; i++)
        if (s->hashes[i].index == m->index && m->index != 0 && s->hashes[i].hash != m->hash)
            o->result->diverged = true;
    return reply_done(o);
}
