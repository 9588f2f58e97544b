/* Every message of the table: round trip, truncation, garbage; frames; the golden dump. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/prng.h"
#include "common/wire/codec.h"
#include "common/wire/frame.h"
#include "tests/lib/tap.h"

/* ---- random values of every field type ---- */

static struct prng chance;
static uint8_t pool[1024];

static struct slice some_bytes(size_t max)
{
    return slice_of(pool, prng_below(&chance, max + 1));
}

static uint8_t make_u8(void)
{
    return (uint8_t)prng_next(&chance);
}
static uint32_t make_u32(void)
{
    return (uint32_t)prng_next(&chance);
}
static uint64_t make_u64(void)
{
    return prng_next(&chance);
}
static int64_t make_i64(void)
{
    return (int64_t)prng_next(&chance);
}
static struct uuid make_uuid(void)
{
    struct uuid u;
    memcpy(u.bytes, pool, sizeof u.bytes);
    return u;
}
static struct slice make_str(void)
{
    return some_bytes(200);
}
static struct slice make_blob(void)
{
    return some_bytes(sizeof pool);
}
static struct chunk_id make_chunk(void)
{
    return (struct chunk_id){make_u64(), make_u32(), make_u32()};
}
static struct wire_caller make_caller(void)
{
    return (struct wire_caller){make_u64(), make_u64(), make_u64(),
                                make_u32(), make_u32(), slice_of(pool, 4 * prng_below(&chance, 9))};
}
static struct wire_attr make_attr(void)
{
    struct wire_attr a = {.inode = make_u64(), .mode = make_u32(), .size = make_u64()};
    a.mtime_ns = make_i64();
    a.copies = make_u8();
    return a;
}
static struct wire_shardref make_shardref(void)
{
    return (struct wire_shardref){make_u8(), make_u32(), make_u64()};
}

/* ---- one maker per record and message: first what they are called, then how they are filled ----
 */

#define FIELD(type, name, since)
#define LIST(record, name, since)
#define END(name)
#define MSG(code, name, served_by, repeat)
#define RECORD(name)                                   \
    static void fill_rec_##name(struct rec_##name *m); \
    static struct rec_##name make_##name(void)         \
    {                                                  \
        struct rec_##name m;                           \
        memset(&m, 0, sizeof m);                       \
        fill_rec_##name(&m);                           \
        return m;                                      \
    }
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#define RECORD(name)
#define MSG(code, name, served_by, repeat)             \
    static void fill_msg_##name(struct msg_##name *m); \
    static void sample_##name(struct bytes *out)       \
    {                                                  \
        struct msg_##name m;                           \
        memset(&m, 0, sizeof m);                       \
        fill_msg_##name(&m);                           \
        encode_##name(out, &m);                        \
    }
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END

#define RECORD(name)                                  \
    static void fill_rec_##name(struct rec_##name *m) \
    {
#define MSG(code, name, served_by, repeat)            \
    static void fill_msg_##name(struct msg_##name *m) \
    {
#define FIELD(type, name, since) m->name = make_##type();
#define LIST(record, name, since)               \
    static struct rec_##record name##_items[3]; \
    for (int i = 0; i < 3; i++)                 \
        name##_items[i] = make_##record();      \
    m->name = (struct wire_list){.count = (uint32_t)prng_below(&chance, 4), .items = name##_items};
#define END(name)     \
    m->no_field_ = 0; \
    }
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END

static const struct {
    uint16_t code;
    void (*sample)(struct bytes *out);
} samples[] = {
#define RECORD(name)
#define FIELD(type, name, since)
#define LIST(record, name, since)
#define END(name)
#define MSG(code, name, served_by, repeat) {code, sample_##name},
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END
};
enum { SAMPLE_COUNT = sizeof samples / sizeof samples[0] };

static void setup(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 1;
    printf("# wire seed=%llu\n", (unsigned long long)seed);
    prng_init(&chance, seed);
    for (size_t i = 0; i < sizeof pool; i++)
        pool[i] = (uint8_t)prng_next(&chance);
}

/* encode(decode(x)) equals x for random values of every message. */
static void every_message_round_trips(void)
{
    struct bytes first = {0}, second = {0};
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        for (int round = 0; round < 30; round++) {
            bytes_clear(&first);
            bytes_clear(&second);
            samples[i].sample(&first);
            CU_ASSERT_EQUAL(
                msg_reencode(samples[i].code, bytes_slice(&first), WIRE_VERSION, &second), 0);
            CU_ASSERT(slice_equal(bytes_slice(&first), bytes_slice(&second)));
        }
    }
    bytes_release(&first);
    bytes_release(&second);
}

/* Every truncation and every appended byte of every message is refused. */
static void every_truncation_is_refused(void)
{
    struct bytes body = {0};
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        bytes_clear(&body);
        samples[i].sample(&body);
        for (size_t size = 0; size < body.size; size++) {
            uint8_t *exact = malloc(size ? size : 1); /* so that ASan sees a read beyond the end */
            memcpy(exact, body.data, size);
            CU_ASSERT_EQUAL(msg_validate(samples[i].code, slice_of(exact, size), WIRE_VERSION),
                            -ERR_PROTOCOL);
            free(exact);
        }
        bytes_append(&body, "x", 1);
        CU_ASSERT_EQUAL(msg_validate(samples[i].code, bytes_slice(&body), WIRE_VERSION),
                        -ERR_PROTOCOL);
        CU_ASSERT_EQUAL(msg_validate(samples[i].code, bytes_slice(&body), WIRE_VERSION + 1), 0);
    }
    bytes_release(&body);
}

/* Random bytes and flipped bits never crash a decoder, and what is accepted encodes to the same
 * (R26). */
static void garbage_is_survived(void)
{
    struct bytes body = {0}, again = {0};
    for (int round = 0; round < 40000; round++) {
        size_t i = prng_below(&chance, SAMPLE_COUNT);
        bytes_clear(&body);
        bytes_clear(&again);
        samples[i].sample(&body);
        for (int flips = 0; body.size && flips < 3; flips++)
            body.data[prng_below(&chance, body.size)] ^= (uint8_t)(1u << prng_below(&chance, 8));
        if (msg_reencode(samples[i].code, bytes_slice(&body), WIRE_VERSION, &again) == 0)
            CU_ASSERT(slice_equal(bytes_slice(&body), bytes_slice(&again)));
    }
    bytes_release(&body);
    bytes_release(&again);
}

/* Codes ascend (the look-up is a binary search) and all have names. */
static void table_is_in_order(void)
{
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        if (i > 0)
            CU_ASSERT(samples[i - 1].code < samples[i].code);
        CU_ASSERT_PTR_NOT_NULL(msg_name(samples[i].code));
    }
    CU_ASSERT_PTR_NULL(msg_name(0xfff0));
    CU_ASSERT_EQUAL(msg_validate(0xfff0, slice_of("", 0), 1), -ERR_NOT_SUPPORTED);
}

/* A header survives its bytes; any flipped bit and any size over the limit is refused. */
static void frame_headers_are_checked(void)
{
    struct frame_header h = {.version = WIRE_VERSION,
                             .code = 7,
                             .request_id = 99,
                             .body_size = 10,
                             .payload_size = 4096,
                             .status = 3,
                             .table_version = 12,
                             .body_crc = 5};
    struct frame_header back;
    uint8_t bytes[FRAME_HEADER_SIZE];
    frame_pack(&h, bytes);
    CU_ASSERT_EQUAL(frame_unpack(bytes, &back), 0);
    CU_ASSERT(back.request_id == 99 && back.payload_size == 4096 && back.table_version == 12 &&
              back.status == 3);
    for (unsigned bit = 0; bit < FRAME_HEADER_SIZE * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CU_ASSERT_EQUAL(frame_unpack(bytes, &back), -ERR_PROTOCOL);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    h.body_size = FRAME_BODY_MAX + 1;
    frame_pack(&h, bytes);
    CU_ASSERT_EQUAL(frame_unpack(bytes, &back), -ERR_PROTOCOL);
    h.body_size = 0;
    h.payload_size = FRAME_PAYLOAD_MAX + 1;
    frame_pack(&h, bytes);
    CU_ASSERT_EQUAL(frame_unpack(bytes, &back), -ERR_PROTOCOL);
}

static void dump(FILE *out)
{
#define RECORD(name) (void)fprintf(out, "record %s\n", #name);
#define MSG(code, name, served_by, repeat) \
    (void)fprintf(out, "0x%04x %s served_by=%s repeat=%s\n", code, #name, #served_by, #repeat);
#define FIELD(type, name, since) (void)fprintf(out, "    %s %s since %d\n", #type, #name, since);
#define LIST(record, name, since) \
    (void)fprintf(out, "    list of %s %s since %d\n", #record, #name, since);
#define END(name)
#include "common/wire/messages.tbl"
#undef RECORD
#undef MSG
#undef FIELD
#undef LIST
#undef END
}

/* The table equals its golden dump: an edit of the protocol is seen in review. REWRITE=1 renews it.
 */
static void table_matches_the_golden_dump(void)
{
    static char expected[65536], actual[65536];
    FILE *out = fmemopen(actual, sizeof actual, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    dump(out);
    (void)fclose(out);
    if (getenv("REWRITE")) {
        FILE *golden = fopen(GOLDEN, "w");
        CU_ASSERT_PTR_NOT_NULL_FATAL(golden);
        (void)fputs(actual, golden);
        (void)fclose(golden);
    }
    FILE *golden = fopen(GOLDEN, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(golden);
    size_t size = fread(expected, 1, sizeof expected - 1, golden);
    expected[size] = '\0';
    (void)fclose(golden);
    CU_ASSERT_STRING_EQUAL(actual, expected);
}

#define TESTS(T)                   \
    T(every_message_round_trips)   \
    T(every_truncation_is_refused) \
    T(garbage_is_survived)         \
    T(table_is_in_order)           \
    T(frame_headers_are_checked)   \
    T(table_matches_the_golden_dump)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {{"wire", NULL, NULL, setup, NULL, tests}, CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
