/* Delete batches of the leader: each chunk is given to the core, the batch is acknowledged in a
 * heartbeat when all are gone. */
#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

/* The core keeps a chunk's state for each delete under way. */
enum { BATCH_MAX = 65536 };

static void batch_end(struct chunkserver *cs)
{
    struct deletes *d = &cs->deletes;
    if (d->failed_count == 0)
        d->batch_done = d->batch;
    else
        log_debug("delete.retry", "batch=%llu failed=%u", (unsigned long long)d->batch,
                  d->failed_count);
    d->batch = 0;
    /* The next batch comes with the answer; after a failure with the next regular heartbeat. */
    if (d->failed_count == 0)
        heartbeat_now(cs);
}

void deletes_done(struct chunkserver *cs, int status)
{
    struct deletes *d = &cs->deletes;
    CHECK(d->outstanding > 0);
    d->outstanding--;
    if (status != 0)
        d->failed_count++;
    if (d->outstanding == 0)
        batch_end(cs);
}

/* A shard the core has no view of: not ours, so there is nothing to delete and nothing that a
 * resync could miss. With a table older than the leader's that is not known yet. */
static bool is_elsewhere(const struct chunkserver *cs, const struct msg_heartbeat_r *m,
                         const struct rec_chunk_ref *row)
{
    const struct shard *s = shard_table_shard(&cs->table, row->copies, row->shard);
    enum slot_state state;
    return cs->table.version >= m->table_version && s &&
           !shard_has_member(s, row->copies, cs->target, &state);
}

void deletes_take(struct chunkserver *cs, const struct msg_heartbeat_r *m)
{
    struct deletes *d = &cs->deletes;
    struct rec_chunk_ref row;
    if (m->delete_batch == 0 || m->delete_batch == d->batch_done || d->batch != 0 ||
        m->deletes.count > BATCH_MAX)
        return;
    d->batch = m->delete_batch;
    d->failed_count = 0;
    d->outstanding = 1; /* held until all are given to the core */
    struct slice at = m->deletes.raw;
    while (rec_chunk_ref_next(&at, &row)) {
        if (row.copies < 1 || row.copies > COPIES_MAX || is_elsewhere(cs, m, &row))
            continue;
        struct pending *p = pending_create(cs, NULL);
        struct chain_event e = {.kind = CHAIN_EVENT_DELETE,
                                .request = (uint64_t)(uintptr_t)p,
                                .u.delete = {row.id, row.copies, row.shard}};
        d->outstanding++;
        driver_event(cs, &e);
    }
    deletes_done(cs, 0);
}
