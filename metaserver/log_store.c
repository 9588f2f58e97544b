/* The log in use: append, sync, reset, read back, vote. Opening is in log_open.c. */
#include "metaserver/log_store.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "metaserver/log_store_private.h"
#include "common/base/banned.h"

int log_store_fail(struct log_store *store, int status)
{
    CHECK(status != 0);
#ifndef PLANT_R19_FORGET
    int none = 0;
    (void)atomic_compare_exchange_strong(&store->failure, &none, status);
#else
    (void)store;
#endif
    return -ERR_IO;
}

size_t log_store_entry_size_max(const struct log_store *store)
{
    uint64_t room = log_payload_size_max(store->segment_block_count) - LOG_ENTRY_HEADER_SIZE;
    return room < LOG_ENTRY_SIZE_MAX ? (size_t)room : LOG_ENTRY_SIZE_MAX;
}

static uint64_t batch_size_max(const struct log_store *store)
{
    uint64_t room = log_payload_size_max(store->segment_block_count);
    return room < LOG_BATCH_SIZE_MAX ? room : LOG_BATCH_SIZE_MAX;
}

static void set_last_appended(struct log_store *store, uint64_t index)
{
    lock(&store->table_lock);
    store->last_appended = index;
    unlock(&store->table_lock);
}

static int append_check(struct log_store *store, uint64_t truncate_from,
                        const struct log_entry *entries, size_t count)
{
    if (log_store_failure(store) != 0)
        return -ERR_IO;
    lock(&store->table_lock);
    bool fits = truncate_from > store->base_index && truncate_from <= store->last_appended + 1;
    bool heals = !store->faulty || truncate_from <= store->faulty_from ||
                 (store->pending && store->pending_first <= store->faulty_from);
    unlock(&store->table_lock);
    if (!fits)
        return -ERR_INVALID;
    if (!heals)
        return -ERR_FAULTY_LOG;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].index != truncate_from + i)
            return -ERR_INVALID;
        if (entries[i].data.size > log_store_entry_size_max(store))
            return -ERR_FILE_TOO_BIG;
    }
    return 0;
}

/* Forgets the gathered entries from `first` on, or all of them when it cuts into the synced log. */
static void pending_cut(struct log_store *store, uint64_t first)
{
    if (store->pending && first >= store->pending_first) {
        size_t left = (size_t)(first - store->pending_first);
        if (left < store->pending_count) {
            store->payload.size = store->offsets[left];
            store->pending_count = left;
        }
    } else if (first <= store->last_appended || !store->pending) {
        store->pending = first <= store->last_appended;
        store->pending_first = first;
        store->pending_count = 0;
        bytes_clear(&store->payload);
    }
    set_last_appended(store, first - 1);
}

static void pending_push(struct log_store *store, const struct log_entry *entry)
{
    if (store->pending_count == store->offsets_capacity) {
        store->offsets_capacity = store->offsets_capacity ? store->offsets_capacity * 2 : 256;
        store->offsets = realloc(store->offsets, store->offsets_capacity * sizeof *store->offsets);
        CHECK(store->offsets != NULL);
    }
    if (!store->pending) {
        store->pending = true;
        store->pending_first = entry->index;
    }
    if (store->pending_count == 0)
        store->pending_first_term = entry->term;
    store->offsets[store->pending_count++] = (uint32_t)store->payload.size;
    log_entry_pack(&store->payload, entry);
    set_last_appended(store, entry->index);
}

int log_store_append(struct log_store *store, uint64_t truncate_from,
                     const struct log_entry *entries, size_t count)
{
    CHECK_OBJ(store, LOG_STORE_MAGIC);
    int result = append_check(store, truncate_from, entries, count);
    if (result != 0)
        return result;
    pending_cut(store, truncate_from);
    for (size_t i = 0; i < count; i++) {
        uint64_t size = store->payload.size + LOG_ENTRY_HEADER_SIZE + entries[i].data.size;
        if (store->pending_count > 0 &&
            (size > batch_size_max(store) || store->pending_count == LOG_BATCH_COUNT_MAX)) {
            result = log_store_sync(store);
            if (result != 0)
                return result;
        }
        pending_push(store, &entries[i]);
    }
    return 0;
}

static uint8_t *image_reserve(struct log_store *store, size_t size)
{
    if (store->image_size < size) {
        free(store->image);
        store->image = aligned_alloc(LOG_BLOCK_SIZE, size);
        CHECK(store->image != NULL);
        store->image_size = size;
    }
    return store->image;
}

/* Writes one batch behind the last one and waits for the disk. */
static int batch_write(struct log_store *store, struct log_header *header, struct slice payload,
                       struct log_extent *ret_extent)
{
    uint32_t blocks = (uint32_t)log_blocks_for(payload.size);
    if (!store->tail_usable || store->tail_block + blocks > store->segment_block_count) {
        int result = log_store_rotate(store);
        if (result != 0)
            return result;
    }
    struct log_segment *segment = store->tail;
    header->cluster = store->cluster;
    header->node = store->node;
    header->segment = segment->number;
    header->batch = store->next_batch;
    size_t size = (size_t)blocks * LOG_BLOCK_SIZE;
    uint8_t *image = image_reserve(store, size);
    log_batch_pack(header, payload, image);
    int status =
        log_write_all(segment->fd, image, size, (uint64_t)store->tail_block * LOG_BLOCK_SIZE);
    if (status != 0)
        return log_store_fail(store, status);
#ifdef PLANT_R19
    if (fdatasync(segment->fd) != 0 && fdatasync(segment->fd) != 0)
#else
    if (fdatasync(segment->fd) != 0)
#endif
        return log_store_fail(store, err_from_errno(errno));
    *ret_extent = (struct log_extent){
        .first_index = header->first_index,
        .last_index = header->first_index + header->count - 1,
        .segment = segment->number,
        .batch = header->batch,
        .block = store->tail_block,
        .block_count = blocks,
    };
    store->tail_block += blocks;
    store->next_batch++;
    return 0;
}

int log_store_sync(struct log_store *store)
{
    CHECK_OBJ(store, LOG_STORE_MAGIC);
    if (log_store_failure(store) != 0)
        return -ERR_IO;
    if (!store->pending)
        return 0;
    struct log_header header = {
        .first_index = store->pending_first,
        .first_term = store->pending_count ? store->pending_first_term : 0,
        .count = (uint32_t)store->pending_count,
    };
    struct log_extent extent;
    int result = batch_write(store, &header, bytes_slice(&store->payload), &extent);
    if (result != 0)
        return result;
    lock(&store->table_lock);
    log_extents_cut(&store->extents, extent.first_index);
    if (header.count > 0)
        log_extents_push(&store->extents, extent);
    store->last_synced = extent.last_index;
    if (store->faulty && extent.first_index <= store->faulty_from)
        store->faulty = false;
    store->tail_written = true;
    store->sync_count++;
    store->batch_bytes += (uint64_t)extent.block_count * LOG_BLOCK_SIZE;
    unlock(&store->table_lock);
    store->pending = false;
    store->pending_count = 0;
    bytes_clear(&store->payload);
    return 0;
}

int log_store_reset(struct log_store *store, uint64_t index, uint64_t term)
{
    CHECK_OBJ(store, LOG_STORE_MAGIC);
    if (log_store_failure(store) != 0)
        return -ERR_IO;
    struct log_header header = {
        .flags = LOG_BATCH_RESET,
        .first_index = index + 1,
        .first_term = term,
    };
    struct log_extent extent;
    int result = batch_write(store, &header, slice_of(NULL, 0), &extent);
    if (result != 0)
        return result;
    store->pending = false;
    store->pending_count = 0;
    bytes_clear(&store->payload);
    lock(&store->table_lock);
    store->extents.count = 0;
    store->base_index = store->last_synced = store->last_appended = index;
    store->faulty = false;
    store->tail_written = true;
    unlock(&store->table_lock);
    return log_store_recycle(store, index, true);
}

void log_store_range(const struct log_store *store, struct log_range *ret_range)
{
    struct log_store *s = (struct log_store *)(uintptr_t)store; /* the lock only */
    lock(&s->table_lock);
    *ret_range = (struct log_range){
        .first_index = store->base_index + 1,
        .last_index = store->last_appended,
        .durable_index =
            store->last_synced < store->last_appended ? store->last_synced : store->last_appended,
    };
    unlock(&s->table_lock);
}

static struct log_segment *segment_find(struct log_store *store, uint64_t number)
{
    for (size_t i = 0; i < store->segment_count; i++)
        if (store->segments[i]->number == number)
            return store->segments[i];
    return NULL;
}

/* Finds the batch with `index` and keeps its segment from being recycled. */
static int extent_pin(struct log_store *store, uint64_t index, struct log_extent *ret_extent,
                      struct log_segment **ret_segment)
{
    lock(&store->table_lock);
    int result = 0;
    const struct log_extent *extent = log_extents_find(&store->extents, index);
    if (store->faulty && index >= store->faulty_from && index <= store->faulty_to)
        result = -ERR_FAULTY_LOG;
    else if (!extent)
        result = -ERR_NO_DATA;
    if (result == 0 && extent) {
        *ret_extent = *extent;
        *ret_segment = segment_find(store, extent->segment);
        CHECK(*ret_segment != NULL);
        (*ret_segment)->pins++;
    }
    unlock(&store->table_lock);
    return result;
}

struct read_goal {
    uint64_t next, last;
    size_t bytes_left;
    log_visit *visit;
    void *arg;
    bool done;
};

static int batch_visit(struct read_goal *goal, const struct log_extent *extent,
                       struct slice payload)
{
    size_t at = 0;
    struct log_entry entry;
    for (uint64_t index = extent->first_index; index <= extent->last_index && !goal->done;
         index++) {
        if (!log_entry_unpack(payload, &at, index, &entry))
            return -ERR_FAULTY_LOG;
        if (index < goal->next)
            continue;
        int result = goal->visit(goal->arg, &entry);
        if (result != 0)
            return result;
        goal->next = index + 1;
        goal->done = goal->next > goal->last || entry.data.size >= goal->bytes_left;
        goal->bytes_left -= goal->done ? 0 : entry.data.size;
    }
    return 0;
}

static int batch_read(const struct log_store *store, const struct log_segment *segment,
                      const struct log_extent *extent, struct read_goal *goal)
{
    size_t size = (size_t)extent->block_count * LOG_BLOCK_SIZE;
    struct buf *image = buf_create(size), *payload = buf_create(size);
    struct log_owner owner = {
        .cluster = store->cluster, .node = store->node, .segment = segment->number};
    struct log_header header;
    int result =
        log_read_all(segment->fd, image->data, size, (uint64_t)extent->block * LOG_BLOCK_SIZE);
    bool is_read = result == 0;
    if (is_read || result == -ERR_NO_DATA)
        result = -ERR_FAULTY_LOG;
    if (is_read && log_batch_header(image->data, extent->block_count, &owner, &header) &&
        header.batch == extent->batch && header.first_index == extent->first_index &&
        log_batch_payload(&header, image->data, payload->data))
        result = batch_visit(goal, extent, slice_of(payload->data, header.payload_size));
    buf_unref(image);
    buf_unref(payload);
    return result;
}

int log_store_read(struct log_store *store, uint64_t first, uint64_t last, size_t bytes_max,
                   log_visit *visit, void *arg)
{
    CHECK_OBJ(store, LOG_STORE_MAGIC);
    struct read_goal goal = {.next = first,
                             .last = last,
                             .bytes_left = bytes_max ? bytes_max : SIZE_MAX,
                             .visit = visit,
                             .arg = arg};
    while (!goal.done) {
        struct log_extent extent;
        struct log_segment *segment;
        int result = extent_pin(store, goal.next, &extent, &segment);
        if (result == -ERR_NO_DATA && goal.next != first)
            return 0; /* the end of the log */
        if (result != 0)
            return result;
        result = batch_read(store, segment, &extent, &goal);
        lock(&store->table_lock);
        segment->pins--;
        unlock(&store->table_lock);
        if (result != 0)
            return result;
    }
    return 0;
}

int log_vote_store(struct log_store *store, const struct log_vote_record *next)
{
    struct log_vote_record record = *next;
    record.sequence = store->record.sequence + 1;
    uint8_t slot[LOG_BLOCK_SIZE];
    log_vote_pack(&record, slot);
    uint64_t offset = (uint64_t)log_vote_slot(record.sequence) * LOG_BLOCK_SIZE;
    int status = log_write_all(store->vote_fd, slot, sizeof slot, offset);
    if (status == 0 && fdatasync(store->vote_fd) != 0)
        status = err_from_errno(errno);
#ifdef PLANT_R19_VOTE
    if (status != 0 && fdatasync(store->vote_fd) == 0)
        status = 0;
#endif
    if (status != 0)
        return log_store_fail(store, status);
    store->record = record;
    return 0;
}

int log_store_set_vote(struct log_store *store, uint64_t term, uint32_t voted_for)
{
    CHECK_OBJ(store, LOG_STORE_MAGIC);
    if (log_store_failure(store) != 0)
        return -ERR_IO;
    lock(&store->vote_lock);
    struct log_vote now = store->record.vote;
    int result = 0;
    if (term < now.term || (term == now.term && now.voted_for != 0 && voted_for != now.voted_for)) {
        result = -ERR_INVALID;
    } else if (term != now.term || voted_for != now.voted_for) {
        struct log_vote_record next = store->record;
        next.vote = (struct log_vote){.term = term, .voted_for = voted_for};
        result = log_vote_store(store, &next);
        if (result == 0) {
            lock(&store->table_lock);
            store->vote = next.vote;
            unlock(&store->table_lock);
        }
    }
    unlock(&store->vote_lock);
    return result;
}

void log_store_vote(const struct log_store *store, struct log_vote *ret_vote)
{
    struct log_store *s = (struct log_store *)(uintptr_t)store; /* the lock only */
    lock(&s->table_lock);
    *ret_vote = store->vote;
    unlock(&s->table_lock);
}

const char *log_store_folder(const struct log_store *store)
{
    return store->folder;
}

int log_store_failure(const struct log_store *store)
{
    return atomic_load(&store->failure);
}

bool log_store_space_low(const struct log_store *store)
{
    return atomic_load(&store->space_low);
}

void log_store_status(const struct log_store *store, struct log_status *ret_status)
{
    struct log_store *s = (struct log_store *)(uintptr_t)store; /* the locks only */
    struct log_status status = {
        .segment_size_bytes = store->segment_size_bytes,
        .space_low = atomic_load(&store->space_low),
        .failed = log_store_failure(store) != 0,
    };
    log_store_range(store, &status.range);
    lock(&s->files_lock);
    status.spare_count = store->spare_count;
    status.ballast_present = store->ballast_present;
    lock(&s->table_lock);
    status.segment_count = (unsigned)store->segment_count;
    status.sync_count = store->sync_count;
    status.batch_bytes = store->batch_bytes;
    unlock(&s->table_lock);
    unlock(&s->files_lock);
    *ret_status = status;
}
