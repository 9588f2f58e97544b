/* Bytes of the term and vote record: two stamped 4 KiB slots written in turn. Pure; any thread.
 *
 * Slot number = sequence % 2, so a write never touches the newest good record. Each slot holds its
 * record twice. The rule (R18): a slot without a good record is harmless only when it is older than
 * the other one or when its write did not complete; otherwise a vote that was promised to others
 * has been lost, and the node must not vote again. */
#ifndef CAIRN_METASERVER_LOG_VOTE_H
#define CAIRN_METASERVER_LOG_VOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/checksum.h"
#include "common/base/err.h"
#include "metaserver/log_store.h"

enum { LOG_VOTE_FILE_SIZE = 2 * LOG_BLOCK_SIZE };

struct log_vote_record {
    struct uuid cluster;
    uint32_t node;
    uint64_t sequence; /* of the write, from 1 */
    struct log_vote vote;
    /* The highest segment ever taken into use: its absence at recovery is a loss, not an end. */
    uint64_t segment_highest;
};

static inline unsigned log_vote_slot(uint64_t sequence)
{
    return (unsigned)(sequence % 2);
}

void log_vote_pack(const struct log_vote_record *record, uint8_t ret_slot[LOG_BLOCK_SIZE]);

/* `image` is the whole file. -ERR_WRONG_CLUSTER, -ERR_FAULTY_LOG; why may be NULL. *ret_repaired:
 * damage was found that cost nothing. */
int log_vote_unpack(const uint8_t image[LOG_VOTE_FILE_SIZE], const struct uuid *cluster,
                    uint32_t node, struct log_vote_record *ret_record, bool *ret_repaired,
                    struct err_text *why);

#endif
