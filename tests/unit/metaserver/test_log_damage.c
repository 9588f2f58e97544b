/* The recovery function on images in memory: every byte flipped, every length cut, every power cut.
 *
 * T2: the outcome of any damage is correct, repaired or refused; silent must stay 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "metaserver/log_recover.h"
#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

enum { BLOCKS = 16, IMAGE = BLOCKS * LOG_BLOCK_SIZE, SEGMENTS_MAX = 8 };

/* A log in memory: segments and where the next batch goes. */
struct disk {
    unsigned count;
    struct {
        uint64_t number, first_batch;
        uint8_t bytes[IMAGE];
    } segments[SEGMENTS_MAX];
    uint32_t tail;
    uint64_t next_batch;
};

static struct disk disk, copy;
static struct model model;

static void disk_add_segment(void)
{
    CHECK(disk.count < SEGMENTS_MAX);
    disk.segments[disk.count].number = 100 + disk.count;
    disk.segments[disk.count].first_batch = disk.next_batch;
    disk.count++;
    disk.tail = 0;
}

static uint8_t *disk_tail(void)
{
    return disk.segments[disk.count - 1].bytes + (size_t)disk.tail * LOG_BLOCK_SIZE;
}

/* Packs entries first.. of `term` as the next batch into `blocks`; returns how many blocks. */
static uint32_t pack(uint8_t *blocks, uint64_t first, unsigned count, uint64_t term)
{
    struct bytes payload = {0};
    for (unsigned i = 0; i < count; i++) {
        uint8_t data[ENTRY_DATA_MAX];
        struct log_entry entry = entry_make(first + i, term, data);
        log_entry_pack(&payload, &entry);
    }
    struct log_header header = {.cluster = fixture_cluster,
                                .node = FIXTURE_NODE,
                                .segment = disk.segments[disk.count - 1].number,
                                .batch = disk.next_batch,
                                .first_index = first,
                                .first_term = count ? term : 0,
                                .count = count};
    uint32_t used = (uint32_t)log_blocks_for(payload.size);
    CHECK(used <= BLOCKS);
    log_batch_pack(&header, bytes_slice(&payload), blocks);
    bytes_release(&payload);
    return used;
}

static uint8_t scratch[IMAGE];

static bool disk_write(uint64_t first, unsigned count, uint64_t term)
{
    uint32_t used = pack(scratch, first, count, term);
    if (disk.tail + used > BLOCKS)
        return false;
    memcpy(disk_tail(), scratch, (size_t)used * LOG_BLOCK_SIZE);
    disk.tail += used;
    disk.next_batch++;
    for (unsigned i = 0; i < count; i++)
        model.terms[first + i] = term;
    model.last = first + count - 1;
    return true;
}

/* With `recycled` the segment is full of an older segment's batches. */
static void disk_start(bool recycled)
{
    memset(&disk, 0, sizeof disk);
    model_init(&model);
    disk.next_batch = 1;
    disk_add_segment();
    if (recycled) {
        disk.segments[0].number = 42;
        disk.next_batch = 9;
        for (uint64_t at = 1; disk_write(at, 3, 9); at += 3)
            continue;
        while (disk_write(500, 1, 1))
            continue;
        disk.segments[0].number = 100;
        disk.tail = 0;
        disk.next_batch = 1;
        model_init(&model);
    }
}

static void recover(const struct disk *d, struct log_recover *r, struct log_recovery *recovery)
{
    struct log_gather gathered = {.entries = NULL};
    log_recover_init(r, &fixture_cluster, FIXTURE_NODE);
    r->sink = log_gather_sink(&gathered);
    for (unsigned i = 0; i < d->count; i++)
        log_recover_segment(r, d->segments[i].number, d->segments[i].first_batch,
                            d->segments[i].bytes, BLOCKS);
    log_recover_finish(r, d->segments[d->count - 1].number, recovery);
    /* A log that is to be trusted was handed over whole, and nothing that was cut off. */
    if (recovery->verdict != LOG_FAULTY &&
        !log_gather_holds(&gathered, recovery->first_index, recovery->last_index))
        CU_FAIL("what recovery hands over is not what it says the log holds");
    log_gather_release(&gathered);
}

/* Every entry that the result offers is what the model says; `all`: and none is missing. */
static bool offers_truth(const struct disk *d, const struct log_recover *r, const struct model *m,
                         bool all)
{
    uint64_t next = m->first;
    static uint8_t payload[IMAGE];
    for (size_t i = 0; i < r->extents.count; i++) {
        const struct log_extent *e = &r->extents.items[i];
        if (all && e->first_index != next)
            return false;
        const uint8_t *at = d->segments[e->segment - d->segments[0].number].bytes +
                            (size_t)e->block * LOG_BLOCK_SIZE;
        struct log_owner owner = {fixture_cluster, FIXTURE_NODE, e->segment};
        struct log_header header;
        if (!log_batch_header(at, e->block_count, &owner, &header) ||
            !log_batch_payload(&header, at, payload))
            return false;
        size_t position = 0;
        for (uint64_t index = e->first_index; index <= e->last_index; index++) {
            struct log_entry entry;
            if (!log_entry_unpack(slice_of(payload, header.payload_size), &position, index,
                                  &entry) ||
                index > m->last || !entry_right(&entry, m->terms[index]))
                return false;
        }
        next = e->last_index + 1;
    }
    return !all || next == m->last + 1;
}

/* Each entry of the model is in the faulty range, or offered as it was. */
static bool offers_truth_outside(const struct disk *d, const struct log_recover *r,
                                 const struct log_recovery *recovery)
{
    uint64_t from = recovery->faulty_from, to = recovery->faulty_to;
    for (uint64_t index = model.first; index <= model.last; index++)
        if ((index < from || index > to) && !log_extents_find(&r->extents, index))
            return false;
    for (size_t i = 0; i < r->extents.count; i++) {
        struct log_extent one = r->extents.items[i];
        if (one.first_index >= from && one.last_index <= to)
            continue;
        struct log_recover part = {.extents = {&one, 1, 1}};
        if (!offers_truth(d, &part, &model, false))
            return false;
    }
    return true;
}

struct outcomes {
    unsigned correct, repaired, refused, silent;
};

static void judge(const struct disk *d, struct outcomes *o)
{
    struct log_recover r;
    struct log_recovery recovery;
    recover(d, &r, &recovery);
    if (recovery.verdict == LOG_FAULTY) {
        bool true_outside = offers_truth_outside(d, &r, &recovery);
        o->refused += true_outside;
        o->silent += !true_outside;
    } else if (!offers_truth(d, &r, &model, true) || recovery.last_index != model.last)
        o->silent++;
    else if (recovery.repaired_count > 0)
        o->repaired++;
    else
        o->correct++;
    log_recover_release(&r);
}

static void report(const char *what, const struct outcomes *o)
{
    printf("# %s: correct %u repaired %u refused %u silent %u\n", what, o->correct, o->repaired,
           o->refused, o->silent);
    CU_ASSERT_EQUAL(o->silent, 0);
    CU_ASSERT(o->refused > 0);
}

/* Batches of one and of several blocks, with cuts; `fill`: until the segment is full. */
static void write_some(bool fill)
{
    CU_ASSERT(disk_write(1, 3, 1));
    CU_ASSERT(disk_write(4, 30, 1));
    CU_ASSERT(disk_write(20, 1, 2));
    CU_ASSERT(disk_write(19, 0, 0));
    CU_ASSERT(disk_write(19, 8, 3));
    while (fill && disk_write(model.last + 1, 1, 3))
        continue;
}

/* R17, T2: each byte of a 64 KiB log changed once, wholly and in one bit. */
static void every_byte_flipped(void)
{
    for (int kind = 0; kind < 3; kind++) { /* fresh, recycled, full to the last block */
        struct outcomes o = {0};
        disk_start(kind == 1);
        write_some(kind == 2);
        struct prng p;
        prng_init(&p, fixture_seed());
        for (size_t at = 0; at < IMAGE; at++)
            for (int whole = 0; whole < 2; whole++) {
                uint8_t mask = (uint8_t)(whole ? 0xff : 1 << prng_below(&p, 8));
                disk.segments[0].bytes[at] ^= mask;
                judge(&disk, &o);
                disk.segments[0].bytes[at] ^= mask;
            }
        report(kind == 0   ? "flips, fresh segment"
               : kind == 1 ? "flips, recycled segment"
                           : "flips, full segment",
               &o);
    }
}

/* R17, T2: the file cut at each length (what is missing cannot be read). */
static void every_length(void)
{
    for (int kind = 0; kind < 2; kind++) {
        struct outcomes o = {0};
        disk_start(kind == 1);
        write_some(kind == 1);
        copy = disk;
        for (size_t length = IMAGE; length-- > 0;) {
            copy.segments[0].bytes[length] = LOG_UNREADABLE;
            judge(&copy, &o);
        }
        report("lengths", &o);
    }
}

/* R17: whole sectors and blocks gone bad, before the tail and in it. */
static void sectors_lost(void)
{
    struct outcomes o = {0};
    disk_start(false);
    write_some(false);
    uint32_t used = disk.tail;
    for (uint32_t block = 0; block < used; block++)
        for (unsigned sector = 0; sector <= 8; sector++) {
            copy = disk;
            uint8_t *at = copy.segments[0].bytes + (size_t)block * LOG_BLOCK_SIZE;
            memset(at + (sector % 8) * 512, LOG_UNREADABLE, sector == 8 ? LOG_BLOCK_SIZE : 512);
            judge(&copy, &o);
        }
    report("sectors unreadable", &o);
}

/* A later recovery, after the torn batch was given up and its number used again. */
static void go_on_after(const struct disk *torn, const struct log_recover *r, unsigned lost_again)
{
    static struct disk kept;
    static struct model kept_model;
    kept = disk;
    kept_model = model;
    disk = *torn;
    disk.next_batch = r->next_batch;
    model.last = r->last_index;
    if (r->tail_usable)
        disk.tail = r->tail_block;
    else
        disk_add_segment();
    uint32_t used = pack(scratch, model.last + 1, 12, 6);
    if (disk.tail + used > BLOCKS) {
        disk_add_segment();
        used = pack(scratch, model.last + 1, 12, 6);
    }
    for (uint32_t i = 0; i < used; i++)
        if (!(lost_again & 1u << i))
            memcpy(disk_tail() + (size_t)i * LOG_BLOCK_SIZE, scratch + (size_t)i * LOG_BLOCK_SIZE,
                   LOG_BLOCK_SIZE);
    struct log_recover again;
    struct log_recovery recovery;
    recover(&disk, &again, &recovery);
    struct model with = model;
    for (unsigned i = 0; i < 12; i++)
        with.terms[model.last + 1 + i] = 6;
    with.last = model.last + 12;
    bool whole = offers_truth(&disk, &again, &with, true);
    CU_ASSERT(recovery.verdict != LOG_FAULTY);
    CU_ASSERT(whole || offers_truth(&disk, &again, &model, true));
    if ((lost_again & ((1u << used) - 1)) == 0)
        CU_ASSERT(whole);
    log_recover_release(&again);
    disk = kept;
    model = kept_model;
}

/* R17, P1: for each batch in turn, any subset of its blocks lost in a power cut: all synced entries
 * are there, the batch is there wholly or not at all, the verdict is never faulty; and the same
 * once more for the next write after that recovery. */
static void power_cuts(void)
{
    static const struct {
        uint64_t first;
        unsigned count;
        uint64_t term;
    } batches[] = {{1, 3, 1}, {4, 40, 1}, {20, 1, 2}, {19, 0, 0}, {19, 30, 3}, {40, 14, 4}};
    unsigned states = 0, kept_count = 0, torn_count = 0;
    for (int recycled = 0; recycled < 2; recycled++) {
        disk_start(recycled);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            struct model before = model;
            uint32_t used = pack(scratch, batches[b].first, batches[b].count, batches[b].term);
            for (unsigned lost = 0; lost < 1u << used; lost++) {
                copy = disk;
                uint8_t *at = copy.segments[0].bytes + (size_t)disk.tail * LOG_BLOCK_SIZE;
                pack(scratch, batches[b].first, batches[b].count, batches[b].term);
                for (uint32_t i = 0; i < used; i++)
                    if (!(lost & 1u << i))
                        memcpy(at + (size_t)i * LOG_BLOCK_SIZE,
                               scratch + (size_t)i * LOG_BLOCK_SIZE, LOG_BLOCK_SIZE);
                struct log_recover r;
                struct log_recovery recovery;
                recover(&copy, &r, &recovery);
                CU_ASSERT(recovery.verdict != LOG_FAULTY);
                struct model with = model;
                for (unsigned i = 0; i < batches[b].count; i++)
                    with.terms[batches[b].first + i] = batches[b].term;
                with.last = batches[b].first + batches[b].count - 1;
                bool whole = offers_truth(&copy, &r, &with, true);
                CU_ASSERT(whole || offers_truth(&copy, &r, &model, true));
                CU_ASSERT(lost != 0 || whole);
                if (whole)
                    model = with;
                for (unsigned again = 0; again < 8; again++)
                    go_on_after(&copy, &r, again);
                model = before;
                log_recover_release(&r);
                states++;
                kept_count += whole;
                torn_count += recovery.verdict == LOG_TORN_TAIL;
            }
            CU_ASSERT(disk_write(batches[b].first, batches[b].count, batches[b].term));
        }
    }
    printf("# power cuts: %u states, batch kept in %u, torn tail in %u\n", states, kept_count,
           torn_count);
}

/* R17: a batch whose blocks are zero although a later one follows was acknowledged: faulty. */
static void lost_write_before_tail(void)
{
    for (int next_segment = 0; next_segment < 2; next_segment++) {
        struct log_recover r;
        struct log_recovery recovery;
        disk_start(false);
        CU_ASSERT(disk_write(1, 3, 1));
        uint8_t *victim = disk_tail();
        CU_ASSERT(disk_write(4, 2, 1));
        if (next_segment)
            disk_add_segment();
        CU_ASSERT(disk_write(6, 2, 1));
        memset(victim, 0, LOG_BLOCK_SIZE);
        recover(&disk, &r, &recovery);
        CU_ASSERT_EQUAL(recovery.verdict, LOG_FAULTY);
        CU_ASSERT(recovery.faulty_from <= 4 && recovery.faulty_to == 5);
        log_recover_release(&r);
    }
}

/* A payload made to look like a batch of this very log is never taken for one. */
static void forged_batch_in_payload(void)
{
    disk_start(false);
    CU_ASSERT(disk_write(1, 2, 1));
    uint64_t batch = disk.next_batch;
    static uint8_t forged[IMAGE];
    disk.next_batch = batch + 1; /* a later batch as a client could guess it */
    (void)pack(forged, 3, 1, 9);
    disk.next_batch = batch;
    struct bytes payload = {0};
    static uint8_t data[3 * LOG_BODY_SIZE];
    size_t into = LOG_BODY_SIZE - LOG_HEADER_SIZE - LOG_ENTRY_HEADER_SIZE;
    memcpy(data + into, forged + LOG_STAMP_SIZE, LOG_BODY_SIZE);
    struct log_entry entry = {
        .index = 3, .term = 1, .kind = 1, .data = slice_of(data, sizeof data)};
    log_entry_pack(&payload, &entry);
    struct log_header header = {.cluster = fixture_cluster,
                                .node = FIXTURE_NODE,
                                .segment = disk.segments[0].number,
                                .batch = batch,
                                .first_index = 3,
                                .first_term = 1,
                                .count = 1};
    log_batch_pack(&header, bytes_slice(&payload), disk_tail());
    memset(disk_tail(), 0, LOG_BLOCK_SIZE); /* torn: its first block was not reached */
    struct log_recover r;
    struct log_recovery recovery;
    recover(&disk, &r, &recovery);
    CU_ASSERT_EQUAL(recovery.verdict, LOG_TORN_TAIL);
    CU_ASSERT_EQUAL(recovery.last_index, 2);
    log_recover_release(&r);
    bytes_release(&payload);
}

CU_TestInfo log_damage_tests[] = {{"every byte flipped", every_byte_flipped},
                                  {"every length", every_length},
                                  {"sectors lost", sectors_lost},
                                  {"power cuts", power_cuts},
                                  {"a write lost before the tail", lost_write_before_tail},
                                  {"a forged batch inside a payload", forged_batch_in_payload},
                                  CU_TEST_INFO_NULL};
