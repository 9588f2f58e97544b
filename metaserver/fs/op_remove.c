/* Targets that leave the cluster for good. */
#include "metaserver/fs/state.h"

#include "common/base/check.h"

#include "common/base/banned.h"

enum { REMOVED_ROW_SIZE = 12 };

const struct target *target_known(const struct fs *fs, uint32_t id)
{
    const struct target *t = shard_table_target(&fs->table, id);
    return t && t->state != TARGET_OUT ? t : NULL;
}

/* ---- rows ---- */

int removed_check(struct fs_view *v, const struct uuid *uuid, uint64_t incarnation)
{
    struct slice value;
    int status = row_get(v, key_of_uuid('X', uuid), &value);
    if (status)
        return status == -ERR_NO_ENTRY ? 0 : status;
    if (value.size != REMOVED_ROW_SIZE)
        return -ERR_CORRUPT;
    return incarnation <= load_u64(value.data + 4) ? -ERR_REFUSED : 0;
}

void removed_forget(struct fs *fs, const struct uuid *uuid)
{
    struct slice value;
    if (row_get(&fs->writer, key_of_uuid('X', uuid), &value) == 0)
        row_remove(fs, key_of_uuid('X', uuid));
}

static void remember(struct fs *fs, const struct target *t)
{
    uint8_t row[REMOVED_ROW_SIZE];
    CHECK(t != NULL);
    store_u32(row, t->id);
    store_u64(row + 4, t->incarnation);
    row_put(fs, key_of_uuid('X', &t->uuid), slice_of(row, sizeof row));
}

void removed_drop(struct fs *fs)
{
    struct shard_table *table = &fs->table;
    for (unsigned i = table->target_count; i-- > 0;) {
        uint32_t id = table->targets[i].id;
        if (table->targets[i].state != TARGET_OUT || shard_table_holds(table, &id, 1))
            continue;
        shard_table_drop(table, id);
        row_remove(fs, key_of_u64('T', id));
    }
}

/* ---- the command ---- */

/* A number that was given out and is not there has been removed before: a repeated request. */
static bool was_removed(const struct fs *fs, uint32_t id)
{
    const struct shard_table *table = &fs->table;
    uint32_t last = table->target_count ? table->targets[table->target_count - 1].id : 0;
    return id > 0 && (id <= last || id < table->target_next);
}

static int read_targets(const struct fs *fs, const struct msg_target_remove *m,
                        uint32_t ret_targets[JOB_TARGETS_MAX], unsigned *ret_count)
{
    struct rec_target_ref ref;
    struct slice cursor = m->targets.raw;
    unsigned count = 0;
    if (m->targets.count > JOB_TARGETS_MAX)
        return -ERR_INVALID; /* each is looked for in all shards */
    while (rec_target_ref_next(&cursor, &ref)) {
        if (!target_known(fs, ref.target)) {
            if (was_removed(fs, ref.target))
                continue;
            return -ERR_NO_ENTRY;
        }
        if (!m->data_loss && fs_job_draining(fs, ref.target))
            return -ERR_REFUSED; /* it ends by itself when the target is empty */
        ret_targets[count++] = ref.target;
    }
    *ret_count = count;
    return 0;
}

/* All of them or none. */
int op_target_remove(struct op *o, const struct msg_target_remove *m)
{
    uint32_t targets[JOB_TARGETS_MAX];
    struct shard_removal r = {.targets = targets, .data_loss = m->data_loss != 0};
    int status = read_targets(o->fs, m, targets, &r.count);
    if (status == 0)
        status = shard_table_check_removal(&o->fs->table, &r);
    if (status || o->check_only)
        return status;
    if (r.count == 0)
        return reply_done(o);
    for (unsigned i = 0; i < r.count; i++)
        remember(o->fs, target_known(o->fs, targets[i]));
    shard_table_remove(&o->fs->table, o->index, &r);
    table_save(o);
    return reply_done(o);
}
