/* The shard table as bytes: full answers, deltas, and answers that must be refused. */
#include "common/base/prng.h"
#include "tests/unit/common/ring/shard_fixture.h"

/* Decodes the answer of `from` for a holder of `since` into `to`. */
static int transfer(const struct shard_table *from, uint64_t since, struct shard_table *to,
                    uint32_t *ret_shards)
{
    struct bytes body = {0};
    struct msg_shard_table_r m;
    shard_table_encode(from, since, &body);
    int status = decode_shard_table_r(bytes_slice(&body), WIRE_VERSION, &m);
    if (status == 0)
        status = shard_table_update(to, &m);
    if (ret_shards)
        *ret_shards = m.shards.count;
    bytes_release(&body);
    return status;
}

/* A full answer makes an equal table. */
static void full_round_trip(void)
{
    struct fixture f;
    struct shard_table copy;
    fixture_init(&f, 5, 64, 3);
    CU_ASSERT_EQUAL(shard_table_form(&f.table, ++f.version, 1), 0);
    fixture_offline(&f, 2, 0, 0);
    shard_table_init(&copy, 0);
    CU_ASSERT_EQUAL(transfer(&f.table, 0, &copy, NULL), 0);
    CU_ASSERT_TRUE(fixture_equal(&f.table, &copy));
    shard_table_release(&copy);
    fixture_release(&f);
}

/* A delta brings a holder of any version up to date and carries only what changed since. */
static void deltas(void)
{
    struct fixture f;
    struct shard_table copy;
    uint32_t shards;
    fixture_init(&f, 5, 64, 2);
    shard_table_init(&copy, 64);
    CU_ASSERT_EQUAL(transfer(&f.table, 0, &copy, &shards), 0);
    CU_ASSERT_EQUAL(shards, 64);
    CU_ASSERT_EQUAL(transfer(&f.table, copy.version, &copy, &shards), 0);
    CU_ASSERT_EQUAL(shards, 0);
    fixture_offline(&f, 3, 0, 0);
    CU_ASSERT_EQUAL(transfer(&f.table, copy.version, &copy, &shards), 0);
    CU_ASSERT_TRUE(shards > 5 && shards < 50);
    CU_ASSERT_TRUE(fixture_equal(&f.table, &copy));
    fixture_register(&f, 6, 1);
    fixture_register(&f, 3, 2);
    CU_ASSERT_EQUAL(transfer(&f.table, copy.version, &copy, &shards), 0);
    CU_ASSERT_TRUE(fixture_equal(&f.table, &copy));
    shard_table_release(&copy);
    fixture_release(&f);
}

/* An answer that was overtaken by a newer one is ignored. */
static void older_answer_is_ignored(void)
{
    struct fixture f;
    struct shard_table newer, held;
    fixture_init(&f, 3, 8, 2);
    shard_table_init(&newer, 8);
    shard_table_init(&held, 8);
    CU_ASSERT_EQUAL(transfer(&f.table, 0, &newer, NULL), 0); /* the state before the change */
    fixture_offline(&f, 1, 0, 0);
    CU_ASSERT_EQUAL(transfer(&f.table, 0, &held, NULL), 0);
    CU_ASSERT_EQUAL(transfer(&newer, 0, &held, NULL), 0);
    CU_ASSERT_TRUE(fixture_equal(&f.table, &held));
    shard_table_release(&newer);
    shard_table_release(&held);
    fixture_release(&f);
}

/* Rows against the rules are refused as a whole: the table that is held stays what it was. */
static void bad_rows_change_nothing(void)
{
    static const struct {
        uint8_t copies;
        uint32_t shard;
        uint64_t epoch;
        uint8_t size;
        uint8_t slots[10];
    } bad[] = {
        {2, 8, 9, 10, {1, 0, 0, 0, 2, 2, 0, 0, 0, 2}}, /* no such shard */
        {0, 0, 9, 0, {0}},
        {6, 0, 9, 10, {1, 0, 0, 0, 2, 2, 0, 0, 0, 2}},
        {2, 0, 0, 10, {1, 0, 0, 0, 2, 2, 0, 0, 0, 2}}, /* epoch 0 */
        {2, 0, 9, 9, {1, 0, 0, 0, 2, 2, 0, 0, 0, 2}},  /* too short */
        {2, 0, 9, 10, {1, 0, 0, 0, 3, 2, 0, 0, 0, 2}}, /* no such state */
        {2, 0, 9, 10, {1, 0, 0, 0, 2, 1, 0, 0, 0, 2}}, /* a target twice */
        {2, 0, 9, 10, {1, 0, 0, 0, 2, 9, 0, 0, 0, 2}}, /* unknown target */
        {2, 0, 9, 10, {1, 0, 0, 0, 1, 2, 0, 0, 0, 0}}, /* nobody in sync */
    };
    struct fixture f, held;
    fixture_init(&f, 3, 8, 2);
    fixture_init(&held, 3, 8, 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rec_shard_slots rows[2] = {
            {.copies = 2, .shard = 1, .epoch = 7, .slots = slice_of(bad[0].slots, 10)},
            {bad[i].copies, bad[i].shard, bad[i].epoch, slice_of(bad[i].slots, bad[i].size), 0},
        };
        struct msg_shard_table_r out = {
            .version = 100, .shard_count = 8, .shards = {.count = 2, .items = rows}};
        struct msg_shard_table_r m;
        struct bytes body = {0};
        encode_shard_table_r(&body, &out);
        CU_ASSERT_EQUAL_FATAL(decode_shard_table_r(bytes_slice(&body), WIRE_VERSION, &m), 0);
        CU_ASSERT_EQUAL(shard_table_update(&held.table, &m), -ERR_PROTOCOL);
        CU_ASSERT_TRUE(fixture_equal(&f.table, &held.table));
        bytes_release(&body);
    }
    fixture_release(&f);
    fixture_release(&held);
}

/* Any damage of an answer is refused or yields a table; never a crash. */
static void damaged_answers(void)
{
    struct fixture f;
    struct bytes body = {0};
    struct prng random;
    fixture_init(&f, 4, 16, 3);
    shard_table_encode(&f.table, 0, &body);
    prng_init(&random, 7);
    for (int round = 0; round < 3000; round++) {
        struct bytes damaged = {0};
        struct shard_table held;
        struct msg_shard_table_r m;
        bytes_append(&damaged, body.data, prng_below(&random, body.size) + 1);
        if (prng_chance(&random, 700)) {
            bytes_clear(&damaged);
            bytes_append(&damaged, body.data, body.size);
        }
        for (uint64_t flips = prng_below(&random, 3); flips > 0; flips--)
            damaged.data[prng_below(&random, damaged.size)] ^= (uint8_t)prng_next(&random);
        shard_table_init(&held, 16);
        if (decode_shard_table_r(bytes_slice(&damaged), WIRE_VERSION, &m) == 0)
            (void)shard_table_update(&held, &m);
        for (uint32_t shard = 0; shard < 16; shard++)
            CU_ASSERT_TRUE(shard_table_chain(&held, 3, shard).member_count <= 3);
        shard_table_release(&held);
        bytes_release(&damaged);
    }
    bytes_release(&body);
    fixture_release(&f);
}

#define TESTS(T)               \
    T(full_round_trip)         \
    T(deltas)                  \
    T(older_answer_is_ignored) \
    T(bad_rows_change_nothing) \
    T(damaged_answers)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_codec = {"ring/codec", NULL, NULL, NULL, NULL, tests};
