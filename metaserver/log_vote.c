/* Pack and unpack of the term and vote record. */
#include "metaserver/log_vote.h"

#include <inttypes.h>
#include <string.h>

#include "common/wire/prim.h"
#include "metaserver/log_format.h"
#include "common/base/banned.h"

#define VOTE_MAGIC   0x3154564e52494143ull /* "CAIRNVT1" */
#define VOTE_SEGMENT UINT64_MAX            /* stamps of votes never equal stamps of the log */

enum {
    RECORD_SIZE = 76,
    AT_MAGIC = 0,
    AT_CLUSTER = 8,
    AT_NODE = 24,
    AT_VERSION = 28,
    AT_SEQUENCE = 32,
    AT_TERM = 40,
    AT_VOTED_FOR = 48,
    AT_ZERO = 52,
    AT_SEGMENT_HIGHEST = 56,
    AT_RESERVED = 64,
    AT_CRC = 72,
    AT_FIRST_COPY = LOG_STAMP_SIZE,
    AT_SECOND_COPY = LOG_BLOCK_SIZE - LOG_STAMP_SIZE - RECORD_SIZE,
};

void log_vote_pack(const struct log_vote_record *record, uint8_t ret_slot[LOG_BLOCK_SIZE])
{
    uint8_t b[RECORD_SIZE] = {0};
    store_u64(b + AT_MAGIC, VOTE_MAGIC);
    memcpy(b + AT_CLUSTER, record->cluster.bytes, UUID_SIZE);
    store_u32(b + AT_NODE, record->node);
    store_u32(b + AT_VERSION, LOG_FORMAT_VERSION);
    store_u64(b + AT_SEQUENCE, record->sequence);
    store_u64(b + AT_TERM, record->vote.term);
    store_u32(b + AT_VOTED_FOR, record->vote.voted_for);
    store_u64(b + AT_SEGMENT_HIGHEST, record->segment_highest);
    store_u32(b + AT_CRC, checksum_crc32(0, b, AT_CRC));
    memset(ret_slot, 0, LOG_BLOCK_SIZE);
    memcpy(ret_slot + AT_FIRST_COPY, b, RECORD_SIZE);
    memcpy(ret_slot + AT_SECOND_COPY, b, RECORD_SIZE);
    log_block_stamp(ret_slot, log_stamp(VOTE_SEGMENT, record->sequence, 0));
}

static bool record_unpack(const uint8_t *b, unsigned slot, struct log_vote_record *ret_record)
{
    if (load_u64(b + AT_MAGIC) != VOTE_MAGIC ||
        load_u32(b + AT_CRC) != checksum_crc32(0, b, AT_CRC) ||
        load_u32(b + AT_VERSION) != LOG_FORMAT_VERSION || load_u32(b + AT_ZERO) != 0 ||
        load_u64(b + AT_RESERVED) != 0 || log_vote_slot(load_u64(b + AT_SEQUENCE)) != slot)
        return false;
    *ret_record = (struct log_vote_record){
        .node = load_u32(b + AT_NODE),
        .sequence = load_u64(b + AT_SEQUENCE),
        .vote = {.term = load_u64(b + AT_TERM), .voted_for = load_u32(b + AT_VOTED_FOR)},
        .segment_highest = load_u64(b + AT_SEGMENT_HIGHEST),
    };
    memcpy(ret_record->cluster.bytes, b + AT_CLUSTER, UUID_SIZE);
    return true;
}

struct slot {
    const uint8_t *bytes;
    bool good;  /* `record` can be believed */
    bool mixed; /* two good copies that differ: an old and a new sector */
    bool hurt;  /* something in it is not as it was written */
    struct log_vote_record record;
};

static struct slot slot_examine(const uint8_t *bytes, unsigned number)
{
    struct slot s = {.bytes = bytes};
    struct log_vote_record second;
    bool first_good = record_unpack(bytes + AT_FIRST_COPY, number, &s.record);
    bool second_good = record_unpack(bytes + AT_SECOND_COPY, number, &second);
    if (!first_good && second_good)
        s.record = second;
    s.mixed = first_good && second_good &&
              memcmp(bytes + AT_FIRST_COPY, bytes + AT_SECOND_COPY, RECORD_SIZE) != 0;
    s.good = (first_good || second_good) && !s.mixed;
    if (s.good) {
        uint8_t again[LOG_BLOCK_SIZE];
        log_vote_pack(&s.record, again);
        s.hurt = memcmp(again, bytes, LOG_BLOCK_SIZE) != 0;
    } else {
        s.hurt = true;
    }
    return s;
}

/* The slot without a good record, next to a good one of `sequence`: is it one whose loss promised
 * nothing? A stamp of the write before `sequence` says that a later write never completed here. */
static bool loss_is_harmless(const struct slot *bad, uint64_t sequence)
{
#ifdef PLANT_R18
    return true;
#endif
    if (bad->mixed)
        return true;
    uint64_t older = log_stamp(VOTE_SEGMENT, sequence - 1, 0);
    return log_block_examine(bad->bytes, older).any_right;
}

int log_vote_unpack(const uint8_t image[LOG_VOTE_FILE_SIZE], const struct uuid *cluster,
                    uint32_t node, struct log_vote_record *ret_record, bool *ret_repaired,
                    struct err_text *why)
{
    struct slot slots[2] = {slot_examine(image, 0), slot_examine(image + LOG_BLOCK_SIZE, 1)};
#ifdef PLANT_R18_ABSENT
    if (!slots[0].good && !slots[1].good) {
        *ret_record = (struct log_vote_record){.cluster = *cluster, .node = node, .sequence = 2};
        return 0;
    }
#endif
    if (!slots[0].good && !slots[1].good)
        return err_set(ERR_FAULTY_LOG, why, "term and vote: both slots are damaged");
    unsigned newest = slots[1].good;
    if (slots[0].good && slots[1].good)
        newest = slots[1].record.sequence > slots[0].record.sequence;
    const struct log_vote_record *record = &slots[newest].record;
    const struct slot *other = &slots[!newest];
    if (other->good && other->record.sequence + 1 != record->sequence)
        return err_set(ERR_FAULTY_LOG, why,
                       "term and vote: slots %" PRIu64 " and %" PRIu64
                       " do not follow each other: a write was lost",
                       other->record.sequence, record->sequence);
    if (!other->good && !loss_is_harmless(other, record->sequence))
        return err_set(
            ERR_FAULTY_LOG, why,
            "term and vote: slot %u is damaged and may have held a newer vote than %" PRIu64,
            (unsigned)!newest, record->sequence);
    if (record->node != node || memcmp(&record->cluster, cluster, sizeof *cluster) != 0)
        return err_set(ERR_WRONG_CLUSTER, why, "term and vote: of another cluster or node");
    *ret_record = *record;
    *ret_repaired = slots[0].hurt || slots[1].hurt;
    return 0;
}
