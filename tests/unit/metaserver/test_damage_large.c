/* T2, R17: a log of 4 MiB in four segments and a checkpoint, cut at every 512th byte and changed at
 * every 64th. LONG=1 takes all places; otherwise every n-th of them, from a place that the seed
 * chooses. The outcome of each must be right, repaired, or refused with a reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "metaserver/checkpoint_store.h"
#include "metaserver/log_recover.h"
#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

enum {
    SEGMENTS = 4,
    BLOCKS = 256,
    SEGMENT_SIZE = BLOCKS * LOG_BLOCK_SIZE,
    LOG_SIZE = SEGMENTS * SEGMENT_SIZE,
    FLIP_STEP = 64,
    CUT_STEP = 512,
};

struct outcomes {
    unsigned right, repaired, refused, silent;
};

static uint8_t *log_bytes; /* all segments, one after the other */
static uint64_t first_batches[SEGMENTS + 1];
static struct log_recover clean_before[SEGMENTS + 1]; /* state in front of each segment */
static struct log_recover clean;
static struct log_recovery clean_result;

static uint8_t *segment_at(unsigned segment)
{
    return log_bytes + (size_t)segment * SEGMENT_SIZE;
}

static void recover_copy(struct log_recover *to, const struct log_recover *from)
{
    *to = *from;
    to->scratch = (struct bytes){0};
    to->extents.capacity = from->extents.count + 64;
    to->extents.items = malloc(to->extents.capacity * sizeof *to->extents.items);
    CHECK(to->extents.items != NULL);
    if (from->extents.count > 0)
        memcpy(to->extents.items, from->extents.items,
               from->extents.count * sizeof *to->extents.items);
}

/* Batches of one entry and of many, now and then with a cut, until the last segment is three
 * quarters full. */
static void log_make(struct prng *p)
{
    static uint8_t data[60000];
    uint64_t next = 1, term = 1, batch = 1;
    unsigned block = 0, segment = 0;
    first_batches[0] = 1;
    memset(log_bytes, 0, LOG_SIZE);
    while (segment < SEGMENTS - 1 || block < BLOCKS * 3 / 4) {
        struct bytes payload = {0};
        uint64_t first = next > 20 && prng_chance(p, 20) ? next - prng_below(p, 10) : next;
        unsigned count = 1 + (unsigned)prng_below(p, prng_chance(p, 4) ? 60 : 4);
        if (first != next)
            term++;
        for (unsigned i = 0; i < count; i++) {
            size_t size = prng_chance(p, 40) ? prng_below(p, sizeof data) : prng_below(p, 600);
            for (size_t at = 0; at < size; at++)
                data[at] = (uint8_t)prng_next(p);
            struct log_entry entry = {
                .index = first + i, .term = term, .kind = 1, .data = slice_of(data, size)};
            log_entry_pack(&payload, &entry);
        }
        uint32_t blocks = (uint32_t)log_blocks_for(payload.size);
        if (blocks <= BLOCKS && block + blocks > BLOCKS) {
            CHECK(++segment < SEGMENTS);
            first_batches[segment] = batch;
            block = 0;
        }
        if (blocks <= BLOCKS) {
            struct log_header header = {.cluster = fixture_cluster,
                                        .node = FIXTURE_NODE,
                                        .segment = 1 + segment,
                                        .batch = batch++,
                                        .first_index = first,
                                        .first_term = term,
                                        .count = count};
            log_batch_pack(&header, bytes_slice(&payload),
                           segment_at(segment) + (size_t)block * LOG_BLOCK_SIZE);
            block += blocks;
            next = first + count;
        }
        bytes_release(&payload);
    }
}

/* Recovers the segments from `from` to `end`; what lies before is as it was. */
static void recover_from(unsigned from, unsigned end, struct log_recover *r,
                         struct log_recovery *ret_recovery)
{
    recover_copy(r, &clean_before[from]);
    for (unsigned s = from; s < end; s++)
        log_recover_segment(r, 1 + s, first_batches[s], segment_at(s), BLOCKS);
    log_recover_finish(r, SEGMENTS, ret_recovery);
}

static void log_prepare(void)
{
    struct prng p;
    prng_init(&p, fixture_seed());
    log_bytes = aligned_alloc(LOG_BLOCK_SIZE, LOG_SIZE);
    CHECK(log_bytes != NULL);
    log_make(&p);
    struct log_recover r;
    log_recover_init(&r, &fixture_cluster, FIXTURE_NODE);
    for (unsigned s = 0; s < SEGMENTS; s++) {
        recover_copy(&clean_before[s], &r);
        log_recover_segment(&r, 1 + s, first_batches[s], segment_at(s), BLOCKS);
    }
    bytes_release(&r.scratch);
    clean = r;
    log_recover_finish(&clean, SEGMENTS, &clean_result);
    CU_ASSERT_EQUAL(clean_result.verdict, LOG_CLEAN);
}

static void log_release(void)
{
    for (unsigned s = 0; s < SEGMENTS; s++)
        log_recover_release(&clean_before[s]);
    log_recover_release(&clean);
    free(log_bytes);
}

static bool same_extent(const struct log_extent *a, const struct log_extent *b)
{
    return a->first_index == b->first_index && a->last_index == b->last_index &&
           a->segment == b->segment && a->batch == b->batch && a->block == b->block &&
           a->block_count == b->block_count;
}

/* The payload of an extent can be read and is what it was: `original` are the bytes before. */
static bool payload_true(const struct log_extent *e, const uint8_t *original, size_t changed_at)
{
    static uint8_t now[SEGMENT_SIZE], before[SEGMENT_SIZE];
    size_t start = (size_t)(e->segment - 1) * SEGMENT_SIZE + (size_t)e->block * LOG_BLOCK_SIZE;
    if (changed_at < start || changed_at >= start + (size_t)e->block_count * LOG_BLOCK_SIZE)
        return true; /* not touched */
    struct log_owner owner = {fixture_cluster, FIXTURE_NODE, e->segment};
    struct log_header header, header_before;
    return log_batch_header(log_bytes + start, e->block_count, &owner, &header) &&
           log_batch_payload(&header, log_bytes + start, now) &&
           log_batch_header(original, e->block_count, &owner, &header_before) &&
           log_batch_payload(&header_before, original, before) &&
           header.payload_size == header_before.payload_size &&
           memcmp(now, before, header.payload_size) == 0;
}

/* The piece of `clean` that holds the index, or NULL. */
static bool offered_is_true(const struct log_extent *e)
{
    for (uint64_t index = e->first_index; index <= e->last_index;) {
        const struct log_extent *was = log_extents_find(&clean.extents, index);
        if (!was || was->batch != e->batch || was->segment != e->segment || was->block != e->block)
            return false;
        index = was->last_index + 1;
    }
    return true;
}

/* Each entry outside the faulty range is offered, and as it was. */
static bool true_outside(const struct log_recover *r, const struct log_recovery *found)
{
    uint64_t from = found->faulty_from, to = found->faulty_to;
    for (size_t i = 0; i < r->extents.count; i++) {
        struct log_extent e = r->extents.items[i];
        if (e.first_index >= from && e.last_index <= to)
            continue;
        if (e.first_index < from && e.last_index >= from)
            e.last_index = from - 1;
        if (e.first_index <= to && e.last_index > to)
            e.first_index = to + 1;
        if (!offered_is_true(&e))
            return false;
    }
    for (uint64_t i = clean_result.first_index; i <= clean_result.last_index; i++)
        if ((i < from || i > to) && !log_extents_find(&r->extents, i))
            return false;
    return true;
}

static void judge(unsigned from, unsigned end, size_t changed_at, const uint8_t *original,
                  struct outcomes *o)
{
    struct log_recover r;
    struct log_recovery found;
    recover_from(from, end, &r, &found);
    if (found.verdict == LOG_FAULTY) {
        bool is_good = found.reason.text[0] != '\0' && true_outside(&r, &found);
        o->refused += is_good;
        o->silent += !is_good;
        log_recover_release(&r);
        return;
    }
    bool same = found.last_index == clean_result.last_index &&
                found.first_index == clean_result.first_index &&
                r.extents.count == clean.extents.count;
    for (size_t i = 0; same && i < r.extents.count; i++)
        same = same_extent(&r.extents.items[i], &clean.extents.items[i]) &&
               (!original || payload_true(&r.extents.items[i], original, changed_at));
    o->silent += !same;
    o->repaired += same && found.repaired_count > 0;
    o->right += same && found.repaired_count == 0;
    log_recover_release(&r);
}

/* The batch around a place, as it was. */
static const uint8_t *keep_original(size_t at, uint8_t *buffer)
{
    uint64_t segment = 1 + at / SEGMENT_SIZE;
    uint32_t block = (uint32_t)(at % SEGMENT_SIZE / LOG_BLOCK_SIZE);
    for (size_t i = 0; i < clean.extents.count; i++) {
        const struct log_extent *e = &clean.extents.items[i];
        if (e->segment == segment && block >= e->block && block < e->block + e->block_count)
            return memcpy(buffer,
                          segment_at((unsigned)segment - 1) + (size_t)e->block * LOG_BLOCK_SIZE,
                          (size_t)e->block_count * LOG_BLOCK_SIZE);
    }
    return NULL;
}

static void report(const char *what, const struct outcomes *o)
{
    printf("# %s: %u places: right %u repaired %u refused %u silent %u\n", what,
           o->right + o->repaired + o->refused + o->silent, o->right, o->repaired, o->refused,
           o->silent);
    CU_ASSERT_EQUAL(o->silent, 0);
    CU_ASSERT(o->refused > 0);
}

/* LONG=1: 1; otherwise only every n-th place, from one that the seed chooses. */
static size_t places_start(size_t *step, size_t every)
{
    struct prng p;
    if (getenv("LONG"))
        return 0;
    prng_init(&p, fixture_seed() + 7);
    size_t start = (size_t)prng_below(&p, every) * *step;
    *step *= every;
    return start;
}

static void log_flips(void)
{
    static uint8_t buffer[SEGMENT_SIZE];
    struct outcomes o = {0};
    size_t step = FLIP_STEP, start = places_start(&step, 61);
    log_prepare();
    for (size_t at = start; at < LOG_SIZE; at += step) {
        uint8_t mask = (uint8_t)(at / FLIP_STEP % 9 == 8 ? 0xff : 1 << (at / FLIP_STEP % 9));
        const uint8_t *original = keep_original(at, buffer);
        log_bytes[at] ^= mask;
        judge((unsigned)(at / SEGMENT_SIZE), SEGMENTS, at, original, &o);
        log_bytes[at] ^= mask;
    }
    report("4 MiB log, flips", &o);
    log_release();
}

/* One file too short, and the whole log copied away in part (all later files missing). */
static void log_cuts(void)
{
    static uint8_t kept[SEGMENT_SIZE];
    struct outcomes one = {0}, rest = {0};
    size_t step = CUT_STEP, start = places_start(&step, 13);
    log_prepare();
    for (size_t at = start; at < LOG_SIZE; at += step) {
        unsigned segment = (unsigned)(at / SEGMENT_SIZE);
        size_t length = at % SEGMENT_SIZE;
        memcpy(kept, segment_at(segment), SEGMENT_SIZE);
        memset(segment_at(segment) + length, LOG_UNREADABLE, SEGMENT_SIZE - length);
        judge(segment, SEGMENTS, 0, NULL, &one);
        judge(segment, segment + 1, 0, NULL, &rest);
        memcpy(segment_at(segment), kept, SEGMENT_SIZE);
    }
    report("4 MiB log, one file cut", &one);
    report("4 MiB log, cut with all behind it", &rest);
    log_release();
}

/* ---- a checkpoint ---- */

enum { STREAM_SIZE = 1600 << 10, ID_INDEX = 77, ID_TERM = 3 };

static uint8_t *stream;
static size_t stream_at;
static bool stream_right;

static int produce(void *arg, struct checkpoint_writer *writer)
{
    (void)arg;
    return checkpoint_put(writer, stream, STREAM_SIZE);
}

static int consume(void *arg, struct slice piece)
{
    (void)arg;
    stream_right = stream_right && piece.size <= STREAM_SIZE - stream_at &&
                   memcmp(stream + stream_at, piece.data, piece.size) == 0;
    stream_at += piece.size;
    return 0;
}

static void judge_checkpoint(struct checkpoint_store *store, struct outcomes *o)
{
    struct err_text why = {""};
    stream_at = 0;
    stream_right = true;
    int result = checkpoint_store_load(store, (struct checkpoint_id){ID_INDEX, ID_TERM}, consume,
                                       NULL, &why);
    bool whole = stream_right && stream_at == STREAM_SIZE;
    if (!stream_right || (result == 0 && !whole) || (result != 0 && why.text[0] == '\0'))
        o->silent++;
    else if (result != 0)
        o->refused++;
    else
        o->right++;
}

static void checkpoint_damage(void)
{
    static const char name[] = "big/checkpoint-77-3.ckpt";
    struct checkpoint_store *store = NULL;
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    struct outcomes flips = {0}, cuts = {0};
    char path[300];
    struct prng p;
    prng_init(&p, fixture_seed());
    stream = malloc(STREAM_SIZE);
    CHECK(stream != NULL);
    for (size_t at = 0; at < STREAM_SIZE; at++) /* compresses to about five eighths */
        stream[at] = at / 64 % 8 < 3 ? (uint8_t)(at >> 9) : (uint8_t)prng_next(&p);
    (void)snprintf(path, sizeof path, "%s/big", fixture_folder);
    CHECK(checkpoint_store_open(path, &fixture_cluster, FIXTURE_NODE, &store, NULL) == 0);
    CU_ASSERT_EQUAL_FATAL(checkpoint_store_write(store, (struct checkpoint_id){ID_INDEX, ID_TERM},
                                                 produce, NULL, NULL),
                          0);
    CU_ASSERT_EQUAL_FATAL(checkpoint_store_list(store, infos), 1);
    size_t step = FLIP_STEP, start = places_start(&step, 61);
    for (size_t at = start; at < infos[0].size_bytes; at += step) {
        uint8_t mask = (uint8_t)(at / FLIP_STEP % 9 == 8 ? 0xff : 1 << (at / FLIP_STEP % 9));
        file_flip(name, at, mask);
        judge_checkpoint(store, &flips);
        file_flip(name, at, mask);
    }
    report("1 MiB checkpoint, flips", &flips);
    step = CUT_STEP, start = places_start(&step, 13);
    (void)snprintf(path, sizeof path, "%s/%s", fixture_folder, name);
    size_t count = (infos[0].size_bytes - 1 - start) / step + 1;
    for (size_t i = count; i-- > 0;) { /* from the longest: each cut leaves less */
        CU_ASSERT_EQUAL(truncate(path, (off_t)(start + i * step)), 0);
        judge_checkpoint(store, &cuts);
    }
    report("1 MiB checkpoint, cuts", &cuts);
    CU_ASSERT_EQUAL(flips.right + cuts.right, 0); /* no byte of it is without meaning */
    checkpoint_store_close(store);
    free(stream);
}

/* ---- the small files ---- */

static void judge_open(struct outcomes *o)
{
    char folder[300];
    struct err_text why = {""};
    struct log_store_options options;
    struct log_store *store = NULL;
    log_store_options_defaults(&options);
    (void)snprintf(folder, sizeof folder, "%s/log", fixture_folder);
    bool is_refused =
        log_store_open(folder, &fixture_cluster, FIXTURE_NODE, &options, &store, NULL, &why) != 0 &&
        why.text[0] != '\0';
    o->refused += is_refused;
    o->silent += !is_refused;
    log_store_close(store);
}

/* R18: identity and vote cut at each length, and each byte of the identity changed: refused. */
static void small_files(void)
{
    static const char *const names[] = {"log/identity", "log/vote"};
    struct log_store *store = NULL;
    struct outcomes o = {0};
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, LOG_SEGMENT_SIZE_MIN), 0);
    CU_ASSERT_EQUAL(log_store_set_vote(store, 5, 2), 0);
    log_store_close(store);
    store = NULL;
    for (int file = 0; file < 2; file++) {
        uint8_t bytes[8192 + 1];
        char path[300];
        (void)snprintf(path, sizeof path, "%s/%s", fixture_folder, names[file]);
        FILE *f = fopen(path, "r+e");
        CU_ASSERT_FATAL(f != NULL);
        size_t size = fread(bytes, 1, sizeof bytes, f);
        CU_ASSERT(size > 0 && size < sizeof bytes);
        for (size_t length = 0; length < size; length++) {
            CU_ASSERT_EQUAL(truncate(path, (off_t)length), 0);
            judge_open(&o);
            CU_ASSERT(fseek(f, 0, SEEK_SET) == 0 && fwrite(bytes, 1, size, f) == size &&
                      fflush(f) == 0);
        }
        for (size_t at = 0; file == 0 && at < size; at++) {
            file_flip(names[file], at, (uint8_t)(1 << at % 8));
            judge_open(&o);
            file_flip(names[file], at, (uint8_t)(1 << at % 8));
        }
        (void)fclose(f);
    }
    report("identity and vote files", &o);
    CU_ASSERT_EQUAL(log_reopen(&store, NULL, LOG_SEGMENT_SIZE_MIN), 0);
    struct log_vote vote;
    log_store_vote(store, &vote);
    CU_ASSERT(vote.term == 5 && vote.voted_for == 2);
    log_store_close(store);
}

CU_TestInfo damage_large_tests[] = {{"a 4 MiB log flipped", log_flips},
                                    {"a 4 MiB log cut", log_cuts},
                                    {"a checkpoint flipped and cut", checkpoint_damage},
                                    {"identity and vote files", small_files},
                                    CU_TEST_INFO_NULL};
