/* Recovery of the metadata log: a pure function from the images of the segments, oldest first, to
 * what the log holds and whether it can be trusted (the rules of R17). Used by log_store.c on files
 * and by tests on memory. One thread at a time.
 *
 * Why it can decide: batch numbers are consecutive over all segments, a segment's file name tells
 * the number of its first batch, and a batch is written only after the one before it is durable.
 * So of all batches only the last can be incomplete, and after a recovery that cut one off, the
 * next batch takes the SAME number in a NEW segment: whoever reads both later sees that the first
 * was given up. A batch with a higher number proves that the bad one was acknowledged. */
#ifndef CAIRN_METASERVER_LOG_RECOVER_H
#define CAIRN_METASERVER_LOG_RECOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metaserver/log_format.h"

/* Entries of one batch that are still part of the log. Ordered by index and by batch number. */
struct log_extent {
    uint64_t first_index, last_index; /* last_index shrinks when a later batch cuts the log */
    uint64_t segment, batch;
    uint32_t block, block_count;
};

struct log_extents {
    struct log_extent *items;
    size_t count, capacity;
};

void log_extents_push(struct log_extents *extents, struct log_extent extent);
void log_extents_cut(struct log_extents *extents, uint64_t first_removed);
/* The extent that holds `index`, or NULL. */
const struct log_extent *log_extents_find(const struct log_extents *extents, uint64_t index);

/* What is left where nobody could read. Never a stamp, never zero. */
enum { LOG_UNREADABLE = 0xa5 };

struct log_recover {
    struct uuid cluster;
    uint32_t node;
    struct log_extents extents;
    uint64_t base_index, base_term, last_index;
    uint64_t segment_count, segment_last;
    uint64_t next_batch; /* what the next write must be numbered */
    /* Where the next write may go; false: only into a new segment. */
    bool tail_usable;
    uint32_t tail_block;
    bool torn, faulty, empty;
    bool extent_unknown; /* the damage ends where the next good batch begins */
    uint64_t cut_index, faulty_from, faulty_to;
    uint64_t repaired_count;
    struct err_text torn_reason, faulty_reason;
    struct bytes scratch;
    struct log_sink sink; /* may be set after log_recover_init */
};

void log_recover_init(struct log_recover *r, const struct uuid *cluster, uint32_t node);
void log_recover_release(struct log_recover *r);

/* `image` is block_count blocks; unreadable or missing ones are filled with LOG_UNREADABLE. */
void log_recover_segment(struct log_recover *r, uint64_t segment, uint64_t first_batch,
                         const uint8_t *image, uint32_t block_count);

/* `segment_highest`: the highest segment that was ever taken into use, from the vote record. */
void log_recover_finish(struct log_recover *r, uint64_t segment_highest,
                        struct log_recovery *ret_recovery);

#endif
