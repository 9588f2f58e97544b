/* Which chunks are dead: the rule row by row, and against everything that may still be done. */
#include "common/base/prng.h"
#include "tests/unit/metaserver/fs/fixture.h"

static struct machine m;
#define ROOT caller_of(&m, 0, 0)

static uint64_t make_file(const char *name)
{
    struct msg_meta_entry_r r = {0};
    CU_ASSERT_EQUAL(APPLY(&m, meta_mknod, ROOT, ROOT_INODE, S(name), S_IFREG | 0644), 0);
    CU_ASSERT_EQUAL(decode_meta_entry_r(m.result.body, WIRE_VERSION, &r), 0);
    return r.attr.inode;
}

static int commit(uint64_t inode, uint32_t index, uint32_t generation)
{
    struct rec_chunk_slot slot = {.index = index, .generation = generation};
    return APPLY(&m, meta_commit, ROOT, inode, (index + 1ull) * CHUNK_SIZE, INT64_MIN,
                 {.count = 1, .items = &slot});
}

static int resize(uint64_t inode, uint64_t size)
{
    return APPLY(&m, meta_setattr, ROOT, inode, .valid = SETATTR_SIZE, .size = size);
}

static bool is_dead(uint64_t inode, uint32_t index, uint32_t generation)
{
    struct chunk_id id = {inode, index, generation};
    bool dead = false;
    CU_ASSERT_EQUAL(fs_chunk_is_dead(m.view, &id, &dead), 0);
    return dead;
}

/* D14, D4: what a writer may still commit is alive, slots are alive in whatever generation, and
 * numbers that were not given out yet are nobody's to judge. */
static void dead_row_by_row(void)
{
    machine_start(&m, kv_mem_create());
    struct chunk_id any = {1, 0, 1};
    bool dead;
    CU_ASSERT_EQUAL(fs_chunk_is_dead(m.view, &any, &dead), -ERR_UNAVAILABLE);
    machine_init_cluster(&m);
    uint64_t f = make_file("f"), g = make_file("g");
    CU_ASSERT_FALSE(is_dead(f, 0, 1)); /* being written */
    CU_ASSERT_FALSE(is_dead(f, 7, 1));
    CU_ASSERT_FALSE(is_dead(f, 7, 2)); /* from a file that is ahead of us: never */
    CU_ASSERT_EQUAL(commit(f, 0, 1), 0);
    CU_ASSERT_EQUAL(commit(f, 1, 1), 0);
    CU_ASSERT_FALSE(is_dead(f, 0, 1));
    CU_ASSERT_FALSE(is_dead(f, 1, 1));
    for (unsigned i = 0; i < 3; i++) { /* generation 4 */
        CU_ASSERT_EQUAL(resize(f, 10ul * CHUNK_SIZE), 0);
        CU_ASSERT_EQUAL(resize(f, 1ul * CHUNK_SIZE), 0);
    }
    CU_ASSERT_FALSE(is_dead(f, 0, 1)); /* an old slot that is in use */
    CU_ASSERT_TRUE(is_dead(f, 1, 1));
    CU_ASSERT_TRUE(is_dead(f, 0, 2));
    CU_ASSERT_TRUE(is_dead(f, 9, 2));
    CU_ASSERT_FALSE(is_dead(f, 9, 3)); /* spared: it may be filled for a change of copies */
    CU_ASSERT_FALSE(is_dead(f, 9, 4));
    CU_ASSERT_FALSE(is_dead(ROOT_INODE, 0, 1));
    uint8_t holders[8];
    store_u64(holders, m.session);
    m.holders = slice_of(holders, sizeof holders);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, ROOT_INODE, S("f")), 0);
    m.holders = slice_of(NULL, 0);
    CU_ASSERT_FALSE(is_dead(f, 0, 1)); /* open, without a name */
    CU_ASSERT_FALSE(is_dead(f, 9, 4));
    struct rec_inode_ref ref = {.inode = f};
    CU_ASSERT_EQUAL(APPLY(&m, orphan_release, m.session, {.count = 1, .items = &ref}), 0);
    CU_ASSERT_TRUE(is_dead(f, 0, 1));
    CU_ASSERT_TRUE(is_dead(f, 9, 4));
    CU_ASSERT_FALSE(is_dead(g, 0, 1));
    CU_ASSERT_FALSE(is_dead(g + 1, 0, 1)); /* not given out yet */
    CU_ASSERT_FALSE(is_dead(UINT64_MAX, 0, 1));
    machine_stop(&m);
}

/* D14: a chunk once called dead never gets into a slot, whatever is done to the file afterwards, in
 * random lives of files. */
static void dead_stays_dead(void)
{
    enum { FILES = 4, INDEXES = 4, GENERATIONS = 24, STEPS = 600 };
    static bool said[FILES][INDEXES][GENERATIONS];
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : random_u64();
    struct prng p;
    printf("# seed=%llu\n", (unsigned long long)seed);
    prng_init(&p, seed);
    memset(said, 0, sizeof said);
    machine_start(&m, kv_mem_create());
    machine_init_cluster(&m);
    uint64_t inode[FILES];
    unsigned dead_count = 0;
    for (unsigned i = 0; i < FILES; i++)
        inode[i] = make_file((const char[]){(char)('a' + i), 0});
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned file = (unsigned)prng_below(&p, FILES), index = (unsigned)prng_below(&p, INDEXES);
        if (prng_below(&p, 3) > 0) /* anybody's, however late */
            (void)commit(inode[file], index, (uint32_t)prng_below(&p, GENERATIONS));
        else
            (void)resize(inode[file], prng_below(&p, INDEXES + 1ul) * CHUNK_SIZE);
        for (unsigned i = 0; i < INDEXES; i++)
            for (uint32_t generation = 1; generation < GENERATIONS; generation++) {
                struct chunk_id id = {inode[file], i, generation};
                bool *ever = &said[file][i][generation], now = is_dead(id.inode, i, generation);
                CU_ASSERT_FALSE_FATAL(*ever && fs_find_chunk(m.view, &id) == 0);
                CU_ASSERT_FALSE_FATAL(*ever && !now);
                dead_count += now && !*ever;
                *ever = now;
            }
    }
    CU_ASSERT_TRUE(dead_count > 20);
    machine_check(&m);
    machine_stop(&m);
}

CU_TestInfo dead_tests[] = {
    {"dead_row_by_row", dead_row_by_row}, {"dead_stays_dead", dead_stays_dead}, CU_TEST_INFO_NULL};
