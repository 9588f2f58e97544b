/* Shards that this target is no member of any more: how much it still holds of them, and their
 * removal into the quarantine, a batch at a time on a worker.
 *
 * A shard's files go only when all of these hold (docs/placement.md, "What is left behind"):
 *   - a leader that may give leases, with a position not behind the highest this disk has seen
 *     (D4), has said so in a table as new as its own;
 *   - all copies of the shard are in sync and up, and no slot of it moves;
 *   - it has been gone for a while, unless space is short.
 * When the shard comes back, the new table waits until the removal has stopped: what a resync finds
 * here must not vanish afterwards. */
#include <stdlib.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum {
    LOOK_EVERY_MS = 1000,
    BATCH_CHUNKS = 256,
    GRACE_DEFAULT_MS = 60000,
    RETRY_MS = 10000, /* after an error of the disk */
};

struct left_shard {
    uint8_t copies;
    uint32_t shard;
    uint64_t due_ms;   /* not removed before, unless space is short */
    uint64_t retry_ms; /* not tried again before */
    uint64_t removed;
};

static uint64_t key_of(uint8_t copies, uint32_t shard)
{
    return (uint64_t)copies << 32 | shard;
}

/* Only what the table says is known: a shard that is not formed there may be one of ours. */
static bool has_left(const struct chunkserver *cs, unsigned copies, uint32_t shard)
{
    const struct shard *s = shard_table_shard(&cs->table, copies, shard);
    enum slot_state state;
    return s && s->epoch != 0 && !shard_has_member(s, copies, cs->target, &state);
}

struct held left_held(const struct chunkserver *cs)
{
    struct held held = {0};
    struct store_shard at = {.copies = 0};
    while (store_next_shard(cs->store, &at)) {
        struct store_size *of = has_left(cs, at.copies, at.shard) ? &held.left : &held.ours;
        of->chunks += at.size.chunks;
        of->bytes += at.size.bytes;
    }
    return held;
}

/* ---- the rules ---- */

void left_heard(struct chunkserver *cs, const struct msg_heartbeat_r *m)
{
    cs->left.heard = (struct store_position){.term = m->term, .index = m->index};
    cs->left.heard_table = m->table_version;
}

/* What we know of the cluster is what its leader knows, and he is no older than any before (D4). */
static bool table_is_current(const struct chunkserver *cs)
{
    const struct left *l = &cs->left;
    struct store_position seen = store_position(cs->store);
#ifdef PLANT_D4_BEHIND
    seen = (struct store_position){0};
#endif
    return chunkserver_has_lease(cs) && l->heard.term != 0 && cs->table.version >= l->heard_table &&
           l->heard.term >= seen.term && l->heard.index >= seen.index;
}

/* No copy is being made, looked for or given up: ours is needed by nobody. */
static bool is_whole(const struct shard_table *t, const struct shard *s, unsigned copies)
{
#ifdef PLANT_D4_LEFT
    return true;
#endif
    if (s->move.incoming != 0)
        return false;
    for (unsigned i = 0; i < copies; i++) {
        const struct target *target = shard_table_target(t, s->slot[i].target);
        if (s->slot[i].state != SLOT_INSYNC || !target || target->state != TARGET_UP)
            return false;
    }
    return true;
}

static bool may_remove(const struct chunkserver *cs, const struct left_shard *ls)
{
    const struct shard *s = shard_table_shard(&cs->table, ls->copies, ls->shard);
    return has_left(cs, ls->copies, ls->shard) && is_whole(&cs->table, s, ls->copies);
}

/* ---- one batch ---- */

static struct chunkserver *server_of(struct left *l)
{
    return CONTAINER_OF(l, struct chunkserver, left);
}

/* The position first: a leader behind the one whose word this follows shall never be obeyed. */
static void batch_run(struct work *work)
{
    struct left *l = CONTAINER_OF(work, struct left, work);
    struct store *store = server_of(l)->store;
    work->status = store_see_position(store, l->position);
    if (work->status == 0)
        work->status =
            store_remove_some(store, l->copies, l->shard, BATCH_CHUNKS, &l->stop, &l->count);
}

static void batch_done(struct work *work)
{
    struct left *l = CONTAINER_OF(work, struct left, work);
    struct chunkserver *cs = server_of(l);
    l->running = false;
    if (cs->closing)
        return;
    store_status_note(cs, work->status);
    struct left_shard *ls = map_get(&l->shards, key_of(l->copies, l->shard));
    if (ls) {
        ls->removed += l->count;
        if (work->status != 0)
            ls->retry_ms = loop_now_ms() + RETRY_MS;
    }
    if (work->status != 0)
        log_warn("shard.not_removed", "shard=%u-%x error=%s", l->copies, l->shard,
                 err_name(work->status));
    if (l->table_waits) {
        l->table_waits = false;
        table_refresh(cs);
    }
}

static void batch_start(struct chunkserver *cs, const struct left_shard *ls)
{
    struct left *l = &cs->left;
    if (ls->removed == 0)
        log_info("shard.remove", "shard=%u-%x chunks=%llu", ls->copies, ls->shard,
                 (unsigned long long)store_shard_size(cs->store, ls->copies, ls->shard).chunks);
    l->copies = ls->copies;
    l->shard = ls->shard;
    l->position = l->heard;
    l->count = 0;
    atomic_store(&l->stop, false);
    l->work = (struct work){.run = batch_run, .done = batch_done};
    l->running = work_submit(cs->pool, &l->work) == 0;
}

bool left_holds_table(struct chunkserver *cs, const struct msg_shard_table_r *m)
{
    struct left *l = &cs->left;
    struct rec_shard_slots row;
    struct slice at = m->shards.raw;
#ifdef PLANT_D14_LEFT
    return false;
#endif
    if (!l->running)
        return false;
    for (uint32_t i = 0; i < m->shards.count && rec_shard_slots_next(&at, &row); i++) {
        if (row.copies != l->copies || row.shard != l->shard)
            continue;
        atomic_store(&l->stop, true);
        l->table_waits = true;
        return true;
    }
    return false;
}

/* ---- what is to be done ---- */

static uint32_t grace_ms(const struct chunkserver *cs)
{
    return cs->config.left_grace_ms ? cs->config.left_grace_ms : GRACE_DEFAULT_MS;
}

/* Notes what has left, and forgets what is back or gone. */
static void look(struct chunkserver *cs)
{
    struct left *l = &cs->left;
    struct store_shard at = {.copies = 0};
    uint64_t now_ms = loop_now_ms();
    while (store_next_shard(cs->store, &at)) {
        uint64_t key = key_of(at.copies, at.shard);
        if (!has_left(cs, at.copies, at.shard) || map_get(&l->shards, key))
            continue;
        struct left_shard *ls = calloc(1, sizeof *ls);
        CHECK(ls != NULL);
        *ls = (struct left_shard){
            .copies = at.copies, .shard = at.shard, .due_ms = now_ms + grace_ms(cs)};
        (void)map_put(&l->shards, key, ls);
    }
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&l->shards, &cursor));) {
        struct left_shard *ls = e->value;
        bool is_empty = store_shard_size(cs->store, ls->copies, ls->shard).chunks == 0;
        if (!is_empty && has_left(cs, ls->copies, ls->shard))
            continue;
        if (is_empty && ls->removed > 0)
            log_info("shard.removed", "shard=%u-%x chunks=%llu", ls->copies, ls->shard,
                     (unsigned long long)ls->removed);
        (void)map_remove(&l->shards, key_of(ls->copies, ls->shard));
        free(ls);
    }
}

static const struct left_shard *next_due(const struct chunkserver *cs)
{
    bool hurry = housekeeping_is_crowded(cs) && grace_ms(cs) != CHUNKSERVER_GRACE_ENDLESS;
    uint64_t now_ms = loop_now_ms();
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&cs->left.shards, &cursor));) {
        const struct left_shard *ls = e->value;
        if ((hurry || now_ms >= ls->due_ms) && now_ms >= ls->retry_ms && may_remove(cs, ls) &&
            store_shard_size(cs->store, ls->copies, ls->shard).chunks > 0)
            return ls;
    }
    return NULL;
}

void left_tick(struct chunkserver *cs)
{
    struct left *l = &cs->left;
    if (cs->life != LIFE_SERVING || l->running)
        return;
    if (loop_now_ms() >= l->look_due_ms) {
        l->look_due_ms = loop_now_ms() + LOOK_EVERY_MS;
        look(cs);
    }
    if (l->shards.count == 0 || !table_is_current(cs))
        return;
    const struct left_shard *ls = next_due(cs);
    if (ls)
        batch_start(cs, ls);
}

void left_stop(struct chunkserver *cs)
{
    atomic_store(&cs->left.stop, true);
}

void left_release(struct chunkserver *cs)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&cs->left.shards, &cursor));)
        free(e->value);
    map_release(&cs->left.shards);
}
