/* What has to be done now and then: flushing, measuring space, emptying the trash, totals. */
#include <time.h>

#include "chunkserver/private.h"
#include "common/base/banned.h"

enum {
    SYNC_EVERY_MS = 1000,
    SPACE_EVERY_MS = 200,
    PURGE_EVERY_MS = 60000,
    LOG_EVERY_MS = 1000,
    TRASH_KEPT_S = 24 * 3600,
    TRASH_KEPT_CROWDED_S = 3600, /* while less than a tenth of the disk is free */
};

static struct chunkserver *server_of(struct housekeeping *k)
{
    return CONTAINER_OF(k, struct chunkserver, housekeeping);
}

bool housekeeping_is_crowded(const struct chunkserver *cs)
{
    const struct store_space *space = &cs->housekeeping.space;
    return space->bytes_free < space->bytes_total / 10;
}

/* More than one call's worth is gone on with at the next round. */
static int purge(struct chunkserver *cs)
{
    uint64_t kept_s = cs->housekeeping.crowded ? TRASH_KEPT_CROWDED_S : TRASH_KEPT_S;
    uint64_t now_s = (uint64_t)time(NULL);
    uint32_t count = 0;
    int status = store_trash_purge(cs->store, now_s > kept_s ? now_s - kept_s : 0, &count);
    cs->housekeeping.purge_more = count == STORE_PURGE_MAX;
    return status;
}

static void sync_run(struct work *work)
{
    struct chunkserver *cs = server_of(CONTAINER_OF(work, struct housekeeping, sync_work));
    work->status = store_sync_some(cs->store, loop_now_ms());
    if (work->status == 0 && cs->housekeeping.purge)
        (void)purge(cs);
}

static void sync_done(struct work *work)
{
    struct chunkserver *cs = server_of(CONTAINER_OF(work, struct housekeeping, sync_work));
    cs->housekeeping.sync_running = false;
    if (cs->housekeeping.purge_more)
        cs->housekeeping.purge_due_ms = loop_now_ms();
    cs->housekeeping.purge_more = false;
    if (!cs->closing)
        store_status_note(cs, work->status);
}

static void space_run(struct work *work)
{
    struct housekeeping *k = CONTAINER_OF(work, struct housekeeping, space_work);
    work->status = store_space(server_of(k)->store, &k->space_new);
}

static void space_done(struct work *work)
{
    struct housekeeping *k = CONTAINER_OF(work, struct housekeeping, space_work);
    k->space_running = false;
    if (work->status == 0)
        k->space = k->space_new;
}

static void log_totals(struct chunkserver *cs)
{
    struct housekeeping *k = &cs->housekeeping;
    if (!cs->driver.chain)
        return;
    struct chain_counters c = chain_counters(cs->driver.chain);
    uint64_t sum = c.resync_bytes + c.resync_shards;
    if (sum == k->resync_bytes_logged)
        return;
    k->resync_bytes_logged = sum;
    log_info("resync.totals", "shards=%llu chunks=%llu skipped=%llu bytes=%llu restarts=%llu",
             (unsigned long long)c.resync_shards, (unsigned long long)c.resync_chunks,
             (unsigned long long)c.resync_chunks_skipped, (unsigned long long)c.resync_bytes,
             (unsigned long long)c.resync_restarts);
}

void housekeeping_tick(struct chunkserver *cs)
{
    struct housekeeping *k = &cs->housekeeping;
    uint64_t now_ms = loop_now_ms();
    if (!k->sync_running && now_ms >= k->sync_due_ms) {
        k->purge = now_ms >= k->purge_due_ms;
        k->crowded = housekeeping_is_crowded(cs);
        if (k->purge)
            k->purge_due_ms = now_ms + PURGE_EVERY_MS;
        k->sync_due_ms = now_ms + SYNC_EVERY_MS;
        k->sync_work = (struct work){.run = sync_run, .done = sync_done};
        k->sync_running = work_submit(cs->pool, &k->sync_work) == 0;
    }
    if (!k->space_running && now_ms >= k->space_due_ms) {
        k->space_due_ms = now_ms + SPACE_EVERY_MS;
        k->space_work = (struct work){.run = space_run, .done = space_done};
        k->space_running = work_submit(cs->pool, &k->space_work) == 0;
    }
    if (now_ms >= k->log_due_ms) {
        k->log_due_ms = now_ms + LOG_EVERY_MS;
        table_log(cs);
        log_totals(cs);
    }
}

int housekeeping_start(struct chunkserver *cs)
{
    cs->housekeeping.purge_due_ms = loop_now_ms() + PURGE_EVERY_MS;
    return store_space(cs->store, &cs->housekeeping.space);
}
