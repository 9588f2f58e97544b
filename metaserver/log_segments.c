/* Segments over time: a spare becomes the one written to, trimmed ones become spares again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "metaserver/log_store_private.h"
#include "common/base/banned.h"

static void spare_name(uint64_t number, char ret_text[LOG_NAME_SIZE])
{
    log_file_name_format(&(struct log_file_name){.spare = true, .number = number}, ret_text);
}

/* R19: the folder's failed sync is told once, and may be about the name of the segment in use. */
static int made_or_failed(struct log_store *store, int result)
{
#ifdef PLANT_R19_SPARE
    return result;
#endif
    return result == -ERR_IO ? log_store_fail(store, result) : result;
}

/* Writing the zeros happens outside files_lock: a change of segment must not wait for it. */
int log_store_prepare_spare(struct log_store *store)
{
    if (log_store_failure(store) != 0)
        return -ERR_IO;
    lock(&store->files_lock);
    bool enough = store->spare_count > 0;
    uint64_t number = store->spare_next++;
    unlock(&store->files_lock);
    if (enough)
        return 0;
    char name[LOG_NAME_SIZE];
    spare_name(number, name);
    int result = log_file_preallocate(store->folder_fd, name, store->segment_size_bytes);
    if (result != 0) {
#ifndef PLANT_R21
        if (result == -ERR_NO_SPACE)
            atomic_store(&store->space_low, true);
#endif
        return made_or_failed(store, result);
    }
    lock(&store->files_lock);
    bool kept = store->spare_count < LOG_SPARE_COUNT_MAX;
    if (kept)
        store->spares[store->spare_count++] = number;
    unlock(&store->files_lock);
    atomic_store(&store->space_low, false);
    return kept ? 0 : log_file_remove(store->folder_fd, name);
}

static int take_spare(struct log_store *store, uint64_t *ret_number)
{
    for (;;) {
        lock(&store->files_lock);
        bool found = store->spare_count > 0;
        if (found)
            *ret_number = store->spares[--store->spare_count];
        unlock(&store->files_lock);
        if (found)
            return 0;
        int result = log_store_prepare_spare(store);
        if (result != 0)
            return result;
    }
}

static int record_highest(struct log_store *store, uint64_t number)
{
    lock(&store->vote_lock);
    struct log_vote_record next = store->record;
    next.segment_highest = number;
    int result = log_vote_store(store, &next);
    unlock(&store->vote_lock);
    return result;
}

/* The name must be durable before a batch in it is acknowledged, and the record of the highest
 * segment after the name: otherwise a crash between the two would look like a lost segment. */
static int activate(struct log_store *store, uint64_t spare, struct log_segment *segment)
{
    char from[LOG_NAME_SIZE], to[LOG_NAME_SIZE];
    spare_name(spare, from);
    log_file_name_format(
        &(struct log_file_name){.number = segment->number, .first_batch = segment->first_batch},
        to);
#ifdef PLANT_R17_RECORD
    if (record_highest(store, segment->number) != 0)
        return -ERR_IO;
#endif
    int result = log_file_rename(store->folder_fd, from, to);
    if (result != 0)
        return log_store_fail(store, result);
    segment->fd = openat(store->folder_fd, to, O_RDWR | O_CLOEXEC);
    if (segment->fd < 0)
        return log_store_fail(store, err_from_errno(errno));
    return record_highest(store, segment->number);
}

int log_store_rotate(struct log_store *store)
{
    uint64_t spare;
    int result = take_spare(store, &spare);
#ifdef PLANT_R21_WEDGE
    result = result == -ERR_NO_SPACE ? -ERR_IO : result;
#endif
    if (result != 0) /* nothing was written: only the lack of space may be tried again */
        return result == -ERR_NO_SPACE ? result : log_store_fail(store, result);
    struct log_segment *segment = calloc(1, sizeof *segment);
    CHECK(segment != NULL);
    segment->number = store->segment_highest + 1;
    segment->first_batch = store->next_batch;
    segment->fd = -1;
    result = activate(store, spare, segment);
    if (result != 0) {
        if (segment->fd >= 0)
            (void)close(segment->fd);
        free(segment);
        return result;
    }
    lock(&store->table_lock);
    store->segments =
        realloc(store->segments, (store->segment_count + 1) * sizeof *store->segments);
    CHECK(store->segments != NULL);
    store->segments[store->segment_count++] = segment;
    store->tail_written = false;
    unlock(&store->table_lock);
    store->tail = segment;
    store->segment_highest = segment->number;
    store->tail_block = 0;
    store->tail_usable = true;
    return 0;
}

/* Unlinks the oldest segment from the tables when it may go; NULL when it may not. The last segment
 * stays, and so does the one before it while the last one is empty: recovery learns from the first
 * batch it finds where the log begins. */
static struct log_segment *detach_oldest(struct log_store *store, uint64_t index, bool all)
{
    struct log_segment *oldest = NULL;
    lock(&store->table_lock);
    bool last_holds_batches = store->tail_written;
    size_t keep = last_holds_batches ? 1 : 2;
    if (store->segment_count > keep && store->segments[0]->pins == 0 && (!store->faulty || all)) {
        uint64_t number = store->segments[0]->number;
        size_t held = 0;
        while (held < store->extents.count && store->extents.items[held].segment == number)
            held++;
        uint64_t end = held ? store->extents.items[held - 1].last_index : store->base_index;
        if (all || end <= index) {
            oldest = store->segments[0];
            store->segment_count--;
            memmove(store->segments, store->segments + 1,
                    store->segment_count * sizeof *store->segments);
            store->extents.count -= held;
            if (held > 0)
                memmove(store->extents.items, store->extents.items + held,
                        store->extents.count * sizeof *store->extents.items);
            store->base_index = end;
        }
    }
    unlock(&store->table_lock);
    return oldest;
}

/* One after the other, each durable before the next: a gap in the row would look like a loss. */
int log_store_recycle(struct log_store *store, uint64_t index, bool all)
{
    int result = 0;
    lock(&store->files_lock);
    for (struct log_segment *s; result == 0 && (s = detach_oldest(store, index, all)) != NULL;) {
        char from[LOG_NAME_SIZE], to[LOG_NAME_SIZE];
        log_file_name_format(
            &(struct log_file_name){.number = s->number, .first_batch = s->first_batch}, from);
        if (store->spare_count < LOG_SPARE_COUNT_MAX) {
            uint64_t number = store->spare_next++;
            spare_name(number, to);
            result = log_file_rename(store->folder_fd, from, to);
            if (result == 0) {
                store->spares[store->spare_count++] = number;
                atomic_store(&store->space_low, false);
            }
        } else {
            result = log_file_remove(store->folder_fd, from);
            if (result == 0 && fsync(store->folder_fd) != 0)
                result = err_from_errno(errno);
        }
        (void)close(s->fd);
        free(s);
    }
    unlock(&store->files_lock);
    return result == 0 ? 0 : log_store_fail(store, result);
}

int log_store_trim(struct log_store *store, uint64_t index)
{
    if (log_store_failure(store) != 0)
        return -ERR_IO;
    return log_store_recycle(store, index, false);
}

int log_store_ballast_release(struct log_store *store)
{
    lock(&store->files_lock);
    int result = log_file_remove(store->folder_fd, "ballast");
    if (result == 0)
        store->ballast_present = false;
    unlock(&store->files_lock);
    return result;
}

int log_store_ballast_restore(struct log_store *store)
{
    lock(&store->files_lock);
    bool is_needed = !store->ballast_present && store->ballast_size_bytes > 0;
    unlock(&store->files_lock);
    if (!is_needed)
        return 0;
    /* Outside the lock: a change of segment must not wait for it. */
    int result = log_file_preallocate(store->folder_fd, "ballast", store->ballast_size_bytes);
    lock(&store->files_lock);
    store->ballast_present = result == 0;
    unlock(&store->files_lock);
    return made_or_failed(store, result);
}
