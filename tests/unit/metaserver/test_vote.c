/* The term and vote record under damage and power cuts (R18). All in memory. */
#include "metaserver/log_vote.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

static struct log_vote_record record_of(uint64_t sequence)
{
    return (struct log_vote_record){
        .cluster = fixture_cluster,
        .node = FIXTURE_NODE,
        .sequence = sequence,
        .vote = {.term = 10 + sequence, .voted_for = (uint32_t)(1 + sequence % 3)},
        .segment_highest = sequence / 4,
    };
}

static void image_of(uint64_t newest, uint8_t image[LOG_VOTE_FILE_SIZE])
{
    for (uint64_t s = newest - 1; s <= newest; s++) {
        struct log_vote_record record = record_of(s);
        log_vote_pack(&record, image + (size_t)log_vote_slot(s) * LOG_BLOCK_SIZE);
    }
}

struct outcomes {
    unsigned correct, repaired, refused, silent;
};

static void judge(const uint8_t *image, uint64_t newest, struct outcomes *o)
{
    struct log_vote_record found;
    bool repaired = false;
    int result = log_vote_unpack(image, &fixture_cluster, FIXTURE_NODE, &found, &repaired, NULL);
    if (result != 0)
        o->refused++;
    else if (found.sequence != newest || found.vote.term != 10 + newest ||
             found.vote.voted_for != 1 + newest % 3)
        o->silent++;
    else if (repaired)
        o->repaired++;
    else
        o->correct++;
}

/* R18, T2: every byte of both slots flipped, in every bit and wholly: never another vote. */
static void every_byte_flipped(void)
{
    struct outcomes o = {0};
    for (uint64_t newest = 7; newest <= 8; newest++) {
        uint8_t image[LOG_VOTE_FILE_SIZE];
        image_of(newest, image);
        for (size_t at = 0; at < sizeof image; at++)
            for (int bit = 0; bit <= 8; bit++) {
                uint8_t mask = (uint8_t)(bit == 8 ? 0xff : 1 << bit);
                image[at] ^= mask;
                judge(image, newest, &o);
                image[at] ^= mask;
            }
    }
    printf("# vote flips: correct %u repaired %u refused %u silent %u\n", o.correct, o.repaired,
           o.refused, o.silent);
    CU_ASSERT_EQUAL(o.silent, 0);
    CU_ASSERT_EQUAL(o.refused, 0);
}

/* R18: the newest slot destroyed (garbage, zeros, both copies hit) is refused, since its vote may
 * have been given; the older one destroyed does no harm. */
static void slot_destroyed(void)
{
    static const int fills[] = {0, 0xa5, 0xff};
    struct outcomes newest_hit = {0}, older_hit = {0};
    for (uint64_t newest = 7; newest <= 8; newest++) {
        uint8_t image[LOG_VOTE_FILE_SIZE];
        for (size_t i = 0; i < 3; i++) {
            image_of(newest, image);
            memset(image + (size_t)log_vote_slot(newest) * LOG_BLOCK_SIZE, fills[i],
                   LOG_BLOCK_SIZE);
            judge(image, newest, &newest_hit);
        }
        for (size_t at = 8; at < 84; at++) { /* both copies at the same place */
            for (uint64_t hit = newest - 1; hit <= newest; hit++) {
                image_of(newest, image);
                uint8_t *slot = image + (size_t)log_vote_slot(hit) * LOG_BLOCK_SIZE;
                slot[at] ^= 0x10;
                slot[LOG_BLOCK_SIZE - 8 - 76 + at - 8] ^= 0x10;
                judge(image, newest, hit == newest ? &newest_hit : &older_hit);
            }
        }
    }
    printf("# vote slots destroyed: newest: refused %u silent %u; older: repaired %u refused %u "
           "silent %u\n",
           newest_hit.refused, newest_hit.silent, older_hit.repaired, older_hit.refused,
           older_hit.silent);
    CU_ASSERT_EQUAL(newest_hit.silent + newest_hit.correct + newest_hit.repaired, 0);
    CU_ASSERT_EQUAL(older_hit.silent + older_hit.refused, 0);
}

/* R18: without any good slot it is refused, and never taken for a node that has not voted: it could
 * vote a second time in a term. */
static void both_slots_destroyed(void)
{
    static const int fills[] = {0, 0xa5, 0xff};
    struct outcomes o = {0};
    for (uint64_t newest = 7; newest <= 8; newest++)
        for (size_t i = 0; i < 9; i++) {
            uint8_t image[LOG_VOTE_FILE_SIZE];
            memset(image, fills[i / 3], LOG_BLOCK_SIZE);
            memset(image + LOG_BLOCK_SIZE, fills[i % 3], LOG_BLOCK_SIZE);
            judge(image, newest, &o);
            image_of(newest, image); /* each is hit in both of its copies */
            for (size_t slot = 0; slot < 2; slot++) {
                image[slot * LOG_BLOCK_SIZE + 8 + 32] ^= (uint8_t)(1 + i);
                image[(slot + 1) * LOG_BLOCK_SIZE - 8 - 76 + 32] ^= (uint8_t)(1 + i);
            }
            judge(image, newest, &o);
        }
    CU_ASSERT_EQUAL(o.refused, 36);
}

/* R18: a power cut during a write leaves any subset of its eight sectors: the node starts, with the
 * old vote or the new one; also when a second write to the same slot is cut in turn. */
static void torn_writes(void)
{
    unsigned old_count = 0, new_count = 0, wrong = 0;
    for (unsigned lost = 0; lost < 256; lost++)
        for (unsigned lost_again = 0; lost_again < 256; lost_again++) {
            uint8_t image[LOG_VOTE_FILE_SIZE], slot[LOG_BLOCK_SIZE];
            image_of(7, image);
            uint8_t *target = image + (size_t)log_vote_slot(8) * LOG_BLOCK_SIZE;
            for (int attempt = 0; attempt < 2; attempt++) {
                struct log_vote_record record = record_of(8);
                record.vote.term += (uint64_t)attempt;
                log_vote_pack(&record, slot);
                for (unsigned s = 0; s < 8; s++)
                    if (!((attempt ? lost_again : lost) & 1u << s))
                        memcpy(target + s * 512, slot + s * 512, 512);
                struct log_vote_record found;
                bool repaired;
                int result =
                    log_vote_unpack(image, &fixture_cluster, FIXTURE_NODE, &found, &repaired, NULL);
                bool is_old = result == 0 && found.sequence == 7;
                bool is_new = result == 0 && found.sequence == 8 &&
                              (found.vote.term == 18 || found.vote.term == record.vote.term);
                old_count += is_old;
                new_count += is_new;
                wrong += !is_old && !is_new;
                if (is_new)
                    break; /* the next write goes to the other slot */
            }
        }
    printf("# vote torn: old %u new %u wrong %u\n", old_count, new_count, wrong);
    CU_ASSERT_EQUAL(wrong, 0);
}

/* D17-like: a record of another node or cluster is refused, and so are slots with a gap. */
static void foreign_and_stale(void)
{
    uint8_t image[LOG_VOTE_FILE_SIZE];
    struct log_vote_record found;
    bool repaired;
    image_of(7, image);
    struct uuid other = fixture_cluster;
    other.bytes[3] ^= 1;
    CU_ASSERT_EQUAL(log_vote_unpack(image, &other, FIXTURE_NODE, &found, &repaired, NULL),
                    -ERR_WRONG_CLUSTER);
    CU_ASSERT_EQUAL(
        log_vote_unpack(image, &fixture_cluster, FIXTURE_NODE + 1, &found, &repaired, NULL),
        -ERR_WRONG_CLUSTER);
    struct log_vote_record record = record_of(10);
    log_vote_pack(&record, image + (size_t)log_vote_slot(10) * LOG_BLOCK_SIZE);
    CU_ASSERT_EQUAL(log_vote_unpack(image, &fixture_cluster, FIXTURE_NODE, &found, &repaired, NULL),
                    -ERR_FAULTY_LOG);
}

CU_TestInfo vote_tests[] = {
    {"every byte flipped", every_byte_flipped},     {"a slot destroyed", slot_destroyed},
    {"both slots destroyed", both_slots_destroyed}, {"torn writes", torn_writes},
    {"foreign and stale slots", foreign_and_stale}, CU_TEST_INFO_NULL};
