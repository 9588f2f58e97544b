/* Decides what a log holds after a crash: clean, torn tail, or faulty. */
#include "metaserver/log_recover.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/banned.h"

void log_extents_push(struct log_extents *extents, struct log_extent extent)
{
    if (extents->count == extents->capacity) {
        extents->capacity = extents->capacity ? extents->capacity * 2 : 64;
        extents->items = realloc(extents->items, extents->capacity * sizeof *extents->items);
        CHECK(extents->items != NULL);
    }
    extents->items[extents->count++] = extent;
}

void log_extents_cut(struct log_extents *extents, uint64_t first_removed)
{
    while (extents->count > 0 && extents->items[extents->count - 1].first_index >= first_removed)
        extents->count--;
    if (extents->count > 0 && extents->items[extents->count - 1].last_index >= first_removed)
        extents->items[extents->count - 1].last_index = first_removed - 1;
}

const struct log_extent *log_extents_find(const struct log_extents *extents, uint64_t index)
{
    size_t low = 0, high = extents->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (extents->items[middle].last_index < index)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == extents->count || extents->items[low].first_index > index)
        return NULL;
    return &extents->items[low];
}

void log_recover_init(struct log_recover *r, const struct uuid *cluster, uint32_t node)
{
    *r = (struct log_recover){.cluster = *cluster, .node = node, .next_batch = 1, .empty = true};
}

void log_recover_release(struct log_recover *r)
{
    free(r->extents.items);
    bytes_release(&r->scratch);
    *r = (struct log_recover){0};
}

/* The first reason is kept: what follows is often its consequence. */
static void mark_faulty(struct log_recover *r, uint64_t from, uint64_t to)
{
    if (!r->faulty || from < r->faulty_from)
        r->faulty_from = from;
    if (!r->faulty || to > r->faulty_to)
        r->faulty_to = to;
    r->faulty = true;
}

/* A batch that exists but whose header nobody can read: it may even have cut the log, so all that
 * was there before is in doubt. */
static void mark_unknown(struct log_recover *r)
{
    mark_faulty(r, r->base_index + 1, UINT64_MAX);
    r->extent_unknown = true;
    r->torn = false;
}

static void note(struct log_recover *r, bool had_reason, const char *what, uint64_t segment,
                 uint64_t batch, uint64_t block)
{
    if (!had_reason)
        (void)err_set(ERR_FAULTY_LOG, &r->faulty_reason,
                      "segment %" PRIu64 ", block %" PRIu64 ", batch %" PRIu64 ": %s", segment,
                      block, batch, what);
}

static void sink_cut(const struct log_recover *r, uint64_t first_removed)
{
    if (r->sink.add)
        r->sink.cut(r->sink.arg, first_removed);
}

/* The payload is in r->scratch, and its form was checked. */
static void sink_add(const struct log_recover *r, const struct log_header *h)
{
    struct slice payload = slice_of(r->scratch.data, h->payload_size);
    struct log_entry entry;
    size_t at = 0;
    for (uint32_t i = 0; r->sink.add && i < h->count; i++) {
        CHECK(log_entry_unpack(payload, &at, h->first_index + i, &entry));
        r->sink.add(r->sink.arg, &entry);
    }
}

/* What a batch says about the indexes, whether or not its entries can be read. */
static void take_header(struct log_recover *r, const struct log_header *h)
{
    bool reset = h->flags & LOG_BATCH_RESET;
    if (r->extent_unknown) {
        uint64_t end = h->first_index - 1;
        r->faulty_to = end > r->last_index ? end : r->last_index;
        r->extent_unknown = false;
    }
    if (reset || r->empty || h->first_index <= r->base_index) {
        r->extents.count = 0;
        sink_cut(r, 0);
        r->base_index = h->first_index - 1;
        r->base_term = reset ? h->first_term : 0;
    } else {
        log_extents_cut(&r->extents, h->first_index);
        sink_cut(r, h->first_index);
        if (h->first_index > r->last_index + 1)
            mark_faulty(r, r->last_index + 1, h->first_index - 1);
    }
    if (r->faulty && (reset || h->first_index <= r->faulty_from)) {
        r->faulty = false;
        r->faulty_reason.text[0] = '\0';
    }
    r->empty = false;
    r->last_index = h->first_index + h->count - 1;
}

static void take_batch(struct log_recover *r, const struct log_header *h, uint64_t segment,
                       uint32_t block)
{
    take_header(r, h);
    if (h->count > 0)
        log_extents_push(&r->extents, (struct log_extent){
                                          .first_index = h->first_index,
                                          .last_index = r->last_index,
                                          .segment = segment,
                                          .batch = h->batch,
                                          .block = block,
                                          .block_count = (uint32_t)log_blocks_for(h->payload_size),
                                      });
    sink_add(r, h);
    r->next_batch = h->batch + 1;
}

struct place {
    struct log_owner owner;
    const uint8_t *image;
    uint32_t block, block_count; /* where we stand, and where the segment ends */
};

static const uint8_t *place_at(const struct place *p, uint32_t block)
{
    return p->image + (size_t)block * LOG_BLOCK_SIZE;
}

/* The next place behind p->block where a batch above `batch` has its header; block_count if none.
 * Only headers at their own place count here: copies are found once we stand there. */
static uint32_t find_later(const struct place *p, uint64_t batch)
{
    for (uint32_t b = p->block + 1; b < p->block_count; b++) {
        struct log_header h;
        if (log_batch_header_in_place(place_at(p, b), p->block_count - b, &p->owner, &h) &&
            h.batch > batch)
            return b;
    }
    return p->block_count;
}

/* A whole block of the expected batch beyond the first: a write began here. */
static bool remnants(const struct log_recover *r, const struct place *p)
{
    for (uint32_t b = p->block; b < p->block_count; b++) {
        uint64_t stamp = log_stamp(p->owner.segment, r->next_batch, b - p->block);
        const uint8_t *block = place_at(p, b);
        if (log_stamp_examine(block, stamp) == LOG_STAMP_RIGHT ||
            log_stamp_examine(block + LOG_BLOCK_SIZE - LOG_STAMP_SIZE, stamp) == LOG_STAMP_RIGHT)
            return true;
    }
    return false;
}

/* Did the write of the batch at p never complete? With a header: some block of it was not reached.
 * Without one: the first block was not reached, as a block with both stamps has its header. */
static bool incomplete(const struct log_recover *r, const struct place *p,
                       const struct log_header *h)
{
#ifdef PLANT_R17
    return true;
#endif
#ifdef PLANT_R17_REFUSE
    return false;
#endif
    uint32_t count = h ? (uint32_t)log_blocks_for(h->payload_size) : 1;
    for (uint32_t i = 0; i < count; i++)
        if (log_block_examine(place_at(p, p->block + i),
                              log_stamp(p->owner.segment, r->next_batch, i))
                .absent)
            return true;
    return false;
}

/* The batch at p->block is not good. Returns the block to go on with. */
static uint32_t judge_bad(struct log_recover *r, const struct place *p, const struct log_header *h)
{
    uint32_t later = find_later(p, r->next_batch);
    bool had_reason = r->faulty;
    if (later == p->block_count && incomplete(r, p, h)) {
        struct log_block_state first =
            log_block_examine(place_at(p, p->block), log_stamp(p->owner.segment, r->next_batch, 0));
        bool untouched = !h && !first.rotten && !remnants(r, p);
        if (!untouched) {
            r->torn = true;
            r->cut_index = r->last_index + 1;
            (void)err_set(ERR_FAULTY_LOG, &r->torn_reason,
                          "segment %" PRIu64 ", block %u, batch %" PRIu64
                          ": the last write did not complete",
                          p->owner.segment, p->block, r->next_batch);
        }
        r->tail_usable = !r->torn;
        r->tail_block = p->block;
        return p->block_count;
    }
    r->torn = false;
    r->tail_usable = false;
    if (h) {
        take_header(r, h);
        if (h->count > 0)
            mark_faulty(r, h->first_index, r->last_index);
        note(r, had_reason, "checksum wrong in an acknowledged batch", p->owner.segment, h->batch,
             p->block);
        r->next_batch = h->batch + 1;
        return p->block + (uint32_t)log_blocks_for(h->payload_size);
    }
    mark_unknown(r);
    note(r, had_reason, "header unreadable in an acknowledged batch", p->owner.segment,
         r->next_batch, p->block);
    r->next_batch++;
    return later;
}

/* Compares the numbers of a new segment with what must come. */
static void enter_segment(struct log_recover *r, uint64_t segment, uint64_t first_batch)
{
    bool had_reason = r->faulty;
    if (r->segment_count == 0) {
        r->next_batch = first_batch;
    } else if (segment != r->segment_last + 1) {
        mark_unknown(r);
        note(r, had_reason, "the segment before it is missing", segment, first_batch, 0);
    } else if (first_batch != r->next_batch) {
        mark_unknown(r);
        note(r, had_reason, "batches before it are missing", segment, first_batch, 0);
    }
    /* A torn batch of the same number was given up by the recovery that began this segment. */
    r->torn = false;
    r->next_batch = first_batch;
    r->segment_last = segment;
    r->segment_count++;
    r->tail_usable = true;
    r->tail_block = 0;
}

void log_recover_segment(struct log_recover *r, uint64_t segment, uint64_t first_batch,
                         const uint8_t *image, uint32_t block_count)
{
    enter_segment(r, segment, first_batch);
    struct place p = {
        .owner = {.cluster = r->cluster, .node = r->node, .segment = segment},
        .image = image,
        .block_count = block_count,
    };
    bool bad_seen = false;
    while (p.block < block_count) {
        const uint8_t *at = place_at(&p, p.block);
        struct log_header h;
        bool found = log_batch_header(at, block_count - p.block, &p.owner, &h);
        if (found && h.batch != r->next_batch) {
            bool had_reason = r->faulty;
            mark_unknown(r);
            note(r, had_reason, "a batch has the wrong number", segment, h.batch, p.block);
            r->next_batch = h.batch;
            bad_seen = true;
        }
        bool good = false;
        if (found) {
            bytes_clear(&r->scratch);
            bytes_reserve(&r->scratch, h.payload_size + 1);
            good = log_batch_payload(&h, at, r->scratch.data);
        }
        if (good) {
            if (!log_batch_pristine(&h, at))
                r->repaired_count++;
            take_batch(r, &h, segment, p.block);
            p.block += (uint32_t)log_blocks_for(h.payload_size);
            r->tail_block = p.block;
        } else {
            uint32_t next = judge_bad(r, &p, found ? &h : NULL);
            bad_seen = bad_seen || !r->tail_usable;
            p.block = next;
        }
    }
    if (bad_seen)
        r->tail_usable = false;
}

void log_recover_finish(struct log_recover *r, uint64_t segment_highest,
                        struct log_recovery *ret_recovery)
{
    if (segment_highest > r->segment_last) {
        bool had_reason = r->faulty;
        mark_unknown(r);
        note(r, had_reason, "this segment is missing", segment_highest, r->next_batch, 0);
        r->segment_last = segment_highest;
        r->tail_usable = false;
        r->next_batch++;
    }
    struct log_recovery out = {
        .verdict = r->faulty ? LOG_FAULTY
                   : r->torn ? LOG_TORN_TAIL
                             : LOG_CLEAN,
        .first_index = r->base_index + 1,
        .last_index = r->last_index,
        .base_term = r->base_term,
        .cut_index = r->torn && !r->faulty ? r->cut_index : 0,
        .faulty_from = r->faulty ? r->faulty_from : 0,
        .faulty_to = r->faulty ? r->faulty_to : 0,
        .repaired_count = r->repaired_count,
    };
    if (r->faulty)
        out.reason = r->faulty_reason;
    else if (r->torn)
        out.reason = r->torn_reason;
    *ret_recovery = out;
}
