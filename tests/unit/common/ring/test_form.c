/* Forming by a placement plan, and the mark of targets whose load does not fit their weight. */
#include <stdio.h>
#include <string.h>

#include "common/ring/placement.h"
#include "common/wire/prim.h"
#include "tests/unit/common/ring/shard_fixture.h"

static struct fixture f;

static void stop(void)
{
    CU_ASSERT_TRUE(fixture_sound(&f));
    fixture_release(&f);
}

static void join(uint32_t number, const char *host, uint32_t weight)
{
    struct target_registration r = {.uuid = fixture_uuid(number),
                                    .incarnation = 1,
                                    .name = slice_str("c"),
                                    .address = slice_str("a:1"),
                                    .host = slice_str(host),
                                    .weight = weight};
    uint32_t id = 0;
    CU_ASSERT_EQUAL(shard_table_register(&f.table, ++f.version, &r, &id), 0);
    CU_ASSERT_EQUAL(id, number);
}

static void start(unsigned targets, unsigned zones, unsigned racks, uint32_t shards,
                  uint32_t weight_step)
{
    char host[TARGET_TEXT_MAX];
    f = (struct fixture){0};
    shard_table_init(&f.table, shards);
    for (uint32_t i = 0; i < targets; i++) {
        (void)snprintf(host, sizeof host, "z%u/r%u/h%u", i % zones, i / zones % racks, i);
        join(i + 1, host, RING_WEIGHT_MEAN + i % 4 * weight_step);
    }
}

static bool is_marked(uint32_t target)
{
    return shard_table_target(&f.table, target)->rebalance;
}

/* ---- forming ---- */

/* What shards_form with way 1 answers stands in Raft logs, too: these digests never change. */
struct golden {
    unsigned targets, zones, racks, copies;
    uint32_t shards, weight_step;
    const char *digest;
};

static const struct golden goldens[] = {
    {5, 1, 1, 2, 256, 0, "0fb85890f746c1a9adc602f9619f2cd17b199362"},
    {6, 3, 1, 3, 256, 0, "2b3e82fcf169c56f3c25aba51f2d8cc53810d0e1"},
    {12, 2, 3, 3, 1024, 500, "481a0db891a9bc2508b319230c4941f9a81bc2e9"},
    {100, 4, 5, 3, 2048, 300, "8553e5438477704d710cbb8617b1ba1e48fcbb52"},
    {3, 1, 1, 3, 64, 0, "2e67c3273c85e353c26445117197ec642b13af85"},
};

static void digest_of(unsigned copies, char ret_digest[2 * SHA1_SIZE + 1])
{
    static uint8_t bytes[2048 * 5 * 4];
    uint8_t digest[SHA1_SIZE];
    size_t size = 0;
    for (uint32_t shard = 0; shard < f.table.shard_count; shard++)
        for (unsigned i = 0; i < copies; i++, size += 4)
            store_u32(bytes + size, f.table.shards[copies][shard].slot[i].target);
    checksum_sha1(bytes, size, digest);
    for (unsigned i = 0; i < SHA1_SIZE; i++)
        (void)snprintf(ret_digest + (size_t)2 * i, 3, "%02x", digest[i]);
}

static void plan_form_never_changes(void)
{
    for (unsigned i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        const struct golden *g = &goldens[i];
        char digest[2 * SHA1_SIZE + 1];
        start(g->targets, g->zones, g->racks, g->shards, g->weight_step);
        CU_ASSERT_EQUAL(shard_table_form_by_plan(&f.table, ++f.version, g->copies), 0);
        digest_of(g->copies, digest);
        if (strcmp(digest, g->digest) != 0)
            printf("# golden %u is %s\n", i, digest);
        CU_ASSERT_STRING_EQUAL(digest, g->digest);
        stop();
    }
}

/* The zones of a shard's copies differ; by the walk they need not. */
static void zones_are_heeded(void)
{
    unsigned same = 0;
    start(9, 3, 1, 64, 0);
    CU_ASSERT_EQUAL(shard_table_form_by_plan(&f.table, ++f.version, 3), 0);
    CU_ASSERT_EQUAL(shard_table_form_by_plan(&f.table, ++f.version, 3), -ERR_EXISTS);
    CU_ASSERT_EQUAL(shard_table_form(&f.table, ++f.version, 2), 0);
    for (uint32_t shard = 0; shard < 64; shard++) {
        unsigned zones = 0;
        for (unsigned i = 0; i < 3; i++) /* target t stands in zone (t - 1) % 3 */
            zones |= 1u << (f.table.shards[3][shard].slot[i].target - 1) % 3;
        CU_ASSERT_EQUAL(zones, 7);
        const struct slot *slots = f.table.shards[2][shard].slot;
        same += (slots[0].target - 1) % 3 == (slots[1].target - 1) % 3;
    }
    CU_ASSERT_TRUE(same > 0);
    CU_ASSERT_EQUAL(shard_table_form_by_plan(&f.table, ++f.version, 0), -ERR_INVALID);
    fixture_offline(&f, 1, 2, 3);
    fixture_offline(&f, 4, 5, 6);
    CU_ASSERT_EQUAL(shard_table_form_by_plan(&f.table, ++f.version, 4), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(shard_table_form_by_plan(&f.table, ++f.version, 1), 0);
    for (uint32_t shard = 0; shard < 64; shard++)
        CU_ASSERT_TRUE(f.table.shards[1][shard].slot[0].target > 6);
    stop();
}

/* ---- the mark ---- */

static void who_is_marked(void)
{
    fixture_init(&f, 4, 8, 0);
    CU_ASSERT_TRUE(is_marked(1) && is_marked(4));
    fixture_offline(&f, 4, 0, 0);
    CU_ASSERT_EQUAL(shard_table_form(&f.table, ++f.version, 2), 0);
    CU_ASSERT_FALSE(is_marked(1) || is_marked(2) || is_marked(3)); /* they have their share */
    CU_ASSERT_TRUE(is_marked(4));                                  /* it was away */
    CU_ASSERT_EQUAL(fixture_register(&f, 5, 1), 0);
    CU_ASSERT_TRUE(is_marked(5)); /* it joins */
    CU_ASSERT_EQUAL(fixture_register(&f, 1, 2), 0);
    CU_ASSERT_FALSE(is_marked(1)); /* only its process is new */
    uint32_t other = f.table.shards[2][0].slot[1].target;
    fixture_offline(&f, other, 0, 0);
    CU_ASSERT_FALSE(is_marked(other));
    fixture_synced(&f, 2, 0, 1, f.table.shards[2][0].slot[0].target);
    CU_ASSERT_TRUE(fixture_replace(&f, 2, 0, other, 5));
    CU_ASSERT_TRUE(is_marked(other)); /* it lost a slot */
    CU_ASSERT_TRUE(shard_table_set_weight(&f.table, ++f.version, other, 700, false));
    CU_ASSERT_FALSE(shard_table_set_weight(&f.table, ++f.version, 99, 700, false));
    CU_ASSERT_EQUAL(fixture_register(&f, other, 3), 0);
    CU_ASSERT_FALSE(is_marked(other));
    CU_ASSERT_EQUAL(shard_table_target(&f.table, other)->weight, 700); /* it keeps its weight */
    stop();
}

/* Another rack may spoil the spread of what it holds. */
static void a_target_that_stands_elsewhere_is_marked(void)
{
    start(3, 3, 1, 8, 0);
    CU_ASSERT_EQUAL(shard_table_form_by_plan(&f.table, ++f.version, 2), 0);
    join(2, "z1/r0/h1", RING_WEIGHT_MEAN);
    CU_ASSERT_FALSE(is_marked(2));
    join(2, "z0/r0/h1", RING_WEIGHT_MEAN);
    CU_ASSERT_TRUE(is_marked(2));
    stop();
}

/* The end of a drain, and its begin, give up what is on its way for the opposite. */
static void admin_gives_up_moves(void)
{
    fixture_init(&f, 4, 1, 2);
    fixture_order(&f, 2, 0);
    CU_ASSERT_EQUAL(shard_table_set_admin(&f.table, ++f.version, 1, TARGET_DRAINING), 0);
    CU_ASSERT_TRUE(fixture_move(&f, 2, 0, 1, 3));
    CU_ASSERT_EQUAL(shard_table_set_admin(&f.table, ++f.version, 1, TARGET_DRAINING), 0);
    EXPECT_SLOTS(&f, 2, 0, "1I 2I +3S for 1");
    CU_ASSERT_EQUAL(shard_table_set_admin(&f.table, ++f.version, 1, TARGET_ACTIVE), 0);
    EXPECT_SLOTS(&f, 2, 0, "1I 2I");
    CU_ASSERT_TRUE(is_marked(1)); /* it shall have its share again */
    CU_ASSERT_TRUE(fixture_move(&f, 2, 0, 1, 3));
    CU_ASSERT_EQUAL(shard_table_set_admin(&f.table, ++f.version, 1, TARGET_DRAINING), 0);
    EXPECT_SLOTS(&f, 2, 0, "1I 2I +3S for 1");
    CU_ASSERT_EQUAL(shard_table_set_admin(&f.table, ++f.version, 3, TARGET_DRAINING), 0);
    EXPECT_SLOTS(&f, 2, 0, "1I 2I");
    /* What is in sync already goes to its end. */
    CU_ASSERT_TRUE(fixture_move(&f, 2, 0, 1, 4));
    CU_ASSERT_TRUE(fixture_synced(&f, 2, 0, 4, 2));
    CU_ASSERT_EQUAL(shard_table_set_admin(&f.table, ++f.version, 1, TARGET_ACTIVE), 0);
    EXPECT_SLOTS(&f, 2, 0, "1L 2I +4I for 1");
    stop();
}

#define TESTS(T)                                \
    T(plan_form_never_changes)                  \
    T(zones_are_heeded)                         \
    T(who_is_marked)                            \
    T(a_target_that_stands_elsewhere_is_marked) \
    T(admin_gives_up_moves)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_form = {"ring/form", NULL, NULL, NULL, NULL, tests};
