/* Feeds the replication core with events and carries out its work list, in order. */
#include <stdlib.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

/* Many shards are small or empty, so many jobs; few chunks each, so at most 64 MiB of blocks in
 * memory: jobs x chunks x 4 runs of 256 KiB. */
enum { RESYNC_JOBS_MAX = 16, RESYNC_CHUNKS_MAX = 4 };

void driver_start(struct chunkserver *cs, uint32_t target)
{
    struct driver *d = &cs->driver;
    struct chain_options options;
    CHECK(!d->chain);
    chain_options_defaults(&options);
    options.target = target;
    options.incarnation = cs->info.incarnation;
    options.has_suspects = cs->has_suspects;
    options.call_ms = CALL_MS;
    options.resync_jobs_max = RESYNC_JOBS_MAX;
    options.resync_chunks_max = RESYNC_CHUNKS_MAX;
    d->chain = chain_create(&options);
}

static void report(struct chunkserver *cs, const struct chain_work *w)
{
    struct msg_shard_report m = {.copies = w->copies,
                                 .shard = w->shard,
                                 .epoch = w->epoch,
                                 .target = w->target,
                                 .kind = (uint8_t)w->report,
                                 .reporter = cs->target};
    if (w->report == REPORT_SYNCED) {
        struct store_size size = store_shard_size(cs->store, w->copies, w->shard);
        m.chunks = size.chunks;
        m.bytes = size.bytes;
        /* A place among the resync jobs is free; the next one begins with a tick. */
        loop_timer_start_ms(&cs->tick, 1);
        log_debug("resync.finish", "shard=%u-%x target=%u epoch=%llu", w->copies, w->shard,
                  w->target, (unsigned long long)w->epoch);
    } else if (w->report == REPORT_LEFT)
        log_debug("shard.left", "shard=%u-%x epoch=%llu", w->copies, w->shard,
                  (unsigned long long)w->epoch);
    else
        log_info("member.out_of_sync", "shard=%u-%x target=%u epoch=%llu", w->copies, w->shard,
                 w->target, (unsigned long long)w->epoch);
    report_send(cs, &m);
}

static void reply(struct chunkserver *cs, const struct chain_work *w)
{
    struct pending *p = (struct pending *)(uintptr_t)w->request;
    struct action *result = w->result ? map_remove(&cs->driver.kept, w->result) : NULL;
    const struct store_action *a =
        result ? CONTAINER_OF(result, struct store_action, action) : NULL;
    pending_reply(p, w->status, w->version, a);
    if (result)
        result->release(result);
}

static void carry_out(struct chunkserver *cs, const struct chain_work *w)
{
    switch (w->kind) {
    case CHAIN_WORK_REPLY:
        reply(cs, w);
        break;
    case CHAIN_WORK_REPORT:
        report(cs, w);
        break;
    case CHAIN_WORK_REFRESH:
        table_refresh(cs);
        break;
    case CHAIN_WORK_STORE_RESOLVE:
    case CHAIN_WORK_STORE_REPAIR:
        repair_start(cs, w);
        break;
    case CHAIN_WORK_FORWARD:
    case CHAIN_WORK_RESYNC_INVENTORY:
    case CHAIN_WORK_RESYNC_CRCS:
    case CHAIN_WORK_RESYNC_FINISH:
    case CHAIN_WORK_RESYNC_SEAL:
        peers_start(cs, w);
        break;
    default:
        CHECK(store_action_is_ours(w->kind));
        store_action_start(cs, w);
    }
}

static void step(struct chunkserver *cs, struct chain_event *event)
{
    struct driver *d = &cs->driver;
    event->now_ms = clock_now_ms();
    chain_step(d->chain, event, &d->work);
    for (size_t i = 0; i < d->work.count; i++)
        carry_out(cs, &d->work.items[i]);
    d->work.count = 0;
}

/* Tells the core what ended while the work was carried out: a read from memory does at once. */
static void drain(struct chunkserver *cs)
{
    struct driver *d = &cs->driver;
    while (!list_empty(&d->done)) {
        struct action *a = CONTAINER_OF(d->done.next, struct action, node);
        struct chain_event event = {.kind = CHAIN_EVENT_DONE, .u.done = a->done};
        bool keep = a->keep; /* the REPLY may release it within the step */
        list_remove(&a->node);
        if (keep)
            (void)map_put(&d->kept, a->done.id, a);
        step(cs, &event);
        if (!keep)
            a->release(a);
    }
}

void driver_event(struct chunkserver *cs, struct chain_event *event)
{
    struct driver *d = &cs->driver;
    CHECK(!d->running);
    if (!d->chain)
        return;
    d->running = true;
    step(cs, event);
    drain(cs);
    d->running = false;
}

void driver_done(struct chunkserver *cs, struct action *take_action)
{
    struct driver *d = &cs->driver;
    if (cs->closing) {
        take_action->release(take_action);
        return;
    }
    list_append(&d->done, &take_action->node);
    if (d->running)
        return;
    d->running = true;
    drain(cs);
    d->running = false;
}

void driver_release(struct chunkserver *cs)
{
    struct driver *d = &cs->driver;
    size_t cursor = 0;
    chain_destroy(d->chain);
    d->chain = NULL;
    while (!list_empty(&d->done)) {
        struct action *a = CONTAINER_OF(d->done.next, struct action, node);
        list_remove(&a->node);
        a->release(a);
    }
    for (struct map_entry *e; (e = map_next(&d->kept, &cursor));) {
        struct action *a = e->value;
        a->release(a);
    }
    map_release(&d->kept);
    map_release(&d->checked);
    chain_work_list_release(&d->work);
}
