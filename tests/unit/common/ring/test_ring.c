/* The hash ring: stability, balance, distinct hosts, replacements. */
#include "tests/unit/common/ring/shard_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/ring/placement.h"
#include "common/wire/prim.h"

enum { TARGETS = 100, SHARDS = 2048, COPIES = 3 };

static char hosts[TARGETS][16];

static struct ring_target target_of(uint32_t id, uint32_t number, const char *host)
{
    return (struct ring_target){
        .id = id, .uuid = fixture_uuid(number), .host = host, .weight = RING_WEIGHT_MEAN};
}

static void make_targets(struct ring_target *targets, unsigned per_host)
{
    for (uint32_t i = 0; i < TARGETS; i++) {
        (void)snprintf(hosts[i], sizeof hosts[i], "h%u", i / per_host);
        targets[i] = target_of(i + 1, i + 1, hosts[i]);
    }
}

/* The shard of a chunk never changes: these values are on disks. */
static void shard_of_chunk_is_fixed(void)
{
    uint8_t key[12] = {0x34, 0x12, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0}, digest[SHA1_SIZE];
    checksum_sha1(key, sizeof key, digest);
    uint32_t top = (uint32_t)digest[0] << 8 | digest[1];
    CU_ASSERT_EQUAL(ring_shard_of_chunk(0x1234, 5, 65536), top);
    CU_ASSERT_EQUAL(ring_shard_of_chunk(0x1234, 5, 1024), top >> 6);
    CU_ASSERT_EQUAL(ring_shard_of_chunk(0x1234, 5, 1), 0);
}

/* The order in which targets are given does not matter. */
static void order_does_not_matter(void)
{
    static struct ring_target targets[TARGETS];
    static uint32_t a[SHARDS * COPIES], b[SHARDS * COPIES];
    make_targets(targets, 1);
    struct ring *r = ring_create(targets, TARGETS);
    CU_ASSERT_EQUAL(ring_form(r, SHARDS, COPIES, a), 0);
    ring_destroy(r);
    for (unsigned i = 0; i < TARGETS / 2; i++) {
        struct ring_target swap = targets[i];
        targets[i] = targets[TARGETS - 1 - i];
        targets[TARGETS - 1 - i] = swap;
    }
    r = ring_create(targets, TARGETS);
    CU_ASSERT_EQUAL(ring_form(r, SHARDS, COPIES, b), 0);
    ring_destroy(r);
    CU_ASSERT_EQUAL(memcmp(a, b, sizeof a), 0);
}

/* What ring_form answers stands in Raft logs: a metaserver that replays one must come to the same
 * table, so these digests never change. */
struct golden {
    unsigned target_count, per_host, copies;
    uint32_t shard_count, weight_step; /* target i weighs 1000 + (i % 4) * weight_step */
    const char *host_prefix, *digest;
};

static const struct golden goldens[] = {
    {4, 1, 2, 1024, 0, "c", "4768e6725c2b41e513ea4ae175392301652103c4"},
    {1, 1, 1, 1024, 0, "c", "8922a7c51ca73908e278e8dd3a4abccc2348d9c8"},
    {12, 2, 3, 1024, 0, "node", "7fb9429417e8aedbc6c9853d340906cf3e23e9c0"},
    {100, 2, 3, 2048, 0, "z/r/h", "774b20770625291c2fc2b9ff9315d3df5c5085cf"},
    {100, 3, 5, 2048, 500, "h", "bc9bc3b9e48fbdad560739485d998cd8743e770a"},
    {6, 2, 3, 1024, 1000, "h",
     "a7c430e9f6341201d2a8baaa5d00c39c33c0d497"}, /* as many hosts as copies, of unequal weight */
    {6, 3, 4, 1024, 1000, "h",
     "a68268239b9403d793fa88654b76401656629792"}, /* fewer hosts than copies */
};

static void form_golden(const struct golden *g, char ret_digest[2 * SHA1_SIZE + 1])
{
    static struct ring_target targets[TARGETS];
    static uint32_t ids[SHARDS * 5];
    static uint8_t bytes[SHARDS * 5 * 4];
    uint8_t digest[SHA1_SIZE];
    for (uint32_t i = 0; i < g->target_count; i++) {
        (void)snprintf(hosts[i], sizeof hosts[i], "%s%u", g->host_prefix, i / g->per_host);
        targets[i] = (struct ring_target){.id = i + 1,
                                          .uuid = fixture_uuid(i + 1),
                                          .host = hosts[i],
                                          .weight = RING_WEIGHT_MEAN + i % 4 * g->weight_step};
    }
    struct ring *r = ring_create(targets, g->target_count);
    CU_ASSERT_EQUAL(ring_form(r, g->shard_count, g->copies, ids), 0);
    ring_destroy(r);
    size_t count = (size_t)g->shard_count * g->copies;
    for (size_t i = 0; i < count; i++)
        store_u32(bytes + i * 4, ids[i]);
    checksum_sha1(bytes, count * 4, digest);
    for (unsigned i = 0; i < SHA1_SIZE; i++)
        (void)snprintf(ret_digest + (size_t)2 * i, 3, "%02x", digest[i]);
}

static void form_never_changes(void)
{
    for (unsigned i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        char digest[2 * SHA1_SIZE + 1];
        form_golden(&goldens[i], digest);
        if (strcmp(digest, goldens[i].digest) != 0)
            printf("# golden %u is %s\n", i, digest);
        CU_ASSERT_STRING_EQUAL(digest, goldens[i].digest);
    }
}

/* Bounded load: no target above 1.06 of the mean; no two slots of a chain on one host. */
static void load_is_bounded_and_hosts_distinct(void)
{
    static struct ring_target targets[TARGETS];
    static uint32_t ids[SHARDS * COPIES];
    unsigned load[TARGETS + 1] = {0}, shared = 0, most = 0;
    make_targets(targets, 2);
    struct ring *r = ring_create(targets, TARGETS);
    CU_ASSERT_EQUAL(ring_form(r, SHARDS, COPIES, ids), 0);
    for (uint32_t i = 0; i < SHARDS * COPIES; i++) {
        load[ids[i]]++;
        most = load[ids[i]] > most ? load[ids[i]] : most;
        for (uint32_t j = i / COPIES * COPIES; j < i; j++)
            shared += (ids[i] - 1) / 2 == (ids[j] - 1) / 2;
    }
    CU_ASSERT_EQUAL(shared, 0);
    CU_ASSERT_TRUE((double)most * TARGETS / (SHARDS * COPIES) <= 1.06);
    ring_destroy(r);
}

/* With fewer hosts than copies the targets are distinct at least; with fewer targets it fails. */
static void too_few_hosts(void)
{
    struct ring_target targets[3];
    uint32_t ids[8 * 3];
    for (uint32_t i = 0; i < 3; i++)
        targets[i] = target_of(i + 1, i, i < 2 ? "a" : "b");
    struct ring *r = ring_create(targets, 3);
    CU_ASSERT_EQUAL(ring_form(r, 8, 3, ids), 0);
    for (unsigned i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(ids[i * 3] + ids[i * 3 + 1] + ids[i * 3 + 2], 6);
    CU_ASSERT_EQUAL(ring_form(r, 8, 2, ids), 0);
    for (unsigned i = 0; i < 8; i++)
        CU_ASSERT_TRUE(ids[i * 2] == 3 || ids[i * 2 + 1] == 3); /* one on each host */
    CU_ASSERT_EQUAL(ring_form(r, 8, 4, ids), -ERR_NO_SPACE);
    ring_destroy(r);
    r = ring_create(targets, 0);
    CU_ASSERT_EQUAL(ring_form(r, 8, 1, ids), -ERR_NO_SPACE);
    ring_destroy(r);
}

static uint32_t pending_of(const void *arg, uint32_t id)
{
    return ((const uint32_t *)arg)[id];
}

/* The replacement is the least busy of the walk's next ones, on another host where there is one. */
static void replacement_takes_the_least_busy(void)
{
    struct ring_target targets[4];
    uint32_t pending[5] = {0, 0, 5, 1, 0}, taken[1] = {1}, id = 0;
    static const char *const names[] = {"a", "b", "c", "a"};
    for (uint32_t i = 0; i < 4; i++)
        targets[i] = target_of(i + 1, i, names[i]);
    struct ring *r = ring_create(targets, 4);
    CU_ASSERT_EQUAL(ring_replacement(r, 0, taken, 1, pending_of, pending, &id), 0);
    CU_ASSERT_EQUAL(id, 3);
    pending[3] = RING_BUSY;
    CU_ASSERT_EQUAL(ring_replacement(r, 0, taken, 1, pending_of, pending, &id), 0);
    CU_ASSERT_EQUAL(id, 2);
    pending[2] = RING_BUSY; /* not onto the same host for that */
    CU_ASSERT_EQUAL(ring_replacement(r, 0, taken, 1, pending_of, pending, &id), -ERR_BUSY);
    pending[2] = pending[3] = RING_CLOSED;
    CU_ASSERT_EQUAL(ring_replacement(r, 0, taken, 1, pending_of, pending, &id), 0);
    CU_ASSERT_EQUAL(id, 4); /* no other host is left */
    pending[4] = RING_CLOSED;
    CU_ASSERT_EQUAL(ring_replacement(r, 0, taken, 1, pending_of, pending, &id), -ERR_NO_ENTRY);
    ring_destroy(r);
}

static unsigned count_moves(const uint32_t *before, const uint32_t *after, unsigned count)
{
    unsigned moves = 0;
    for (unsigned i = 0; i < count; i++)
        moves += before[i] != after[i];
    return moves;
}

static int plan(const struct ring *r, uint32_t shard_count, const uint32_t *changed, unsigned count,
                uint32_t *ids)
{
    struct placement p = {.ring = r,
                          .shard_count = shard_count,
                          .copies = COPIES,
                          .changed = changed,
                          .changed_count = count};
    return placement_plan(&p, ids, NULL);
}

/* A small slice of `make sim-ring`: nothing moves without a cause, a newcomer takes its share and
 * no more, a loss moves what was lost, spread over many. */
static void reassignment_moves_little(void)
{
    enum { ALL = SHARDS * COPIES };
    static struct ring_target targets[TARGETS];
    static uint32_t ids[ALL], after[ALL];
    unsigned lost = 0, received[TARGETS + 1] = {0}, most = 0;
    uint32_t newcomer = TARGETS;
    make_targets(targets, 1);
    struct ring *r = ring_create(targets, TARGETS - 1);
    CU_ASSERT_EQUAL(ring_form(r, SHARDS, COPIES, ids), 0);
    memcpy(after, ids, sizeof ids);
    CU_ASSERT_EQUAL(plan(r, SHARDS, NULL, 0, after), 0);
    CU_ASSERT_EQUAL(count_moves(ids, after, ALL), 0);
    ring_destroy(r);

    r = ring_create(targets, TARGETS);
    CU_ASSERT_EQUAL(plan(r, SHARDS, &newcomer, 1, after), 0);
    CU_ASSERT_TRUE(count_moves(ids, after, ALL) <= ALL * 1.25 / TARGETS);
    CU_ASSERT_TRUE(count_moves(ids, after, ALL) >= ALL * 0.8 / TARGETS);
    ring_destroy(r);

    r = ring_create(targets + 1, TARGETS - 2); /* without the first one */
    memcpy(after, ids, sizeof ids);
    CU_ASSERT_EQUAL(plan(r, SHARDS, NULL, 0, after), 0);
    for (unsigned i = 0; i < ALL; i++) {
        lost += ids[i] == 1;
        if (ids[i] != after[i] && ++received[after[i]] > most)
            most = received[after[i]];
        for (unsigned j = i / COPIES * COPIES; j < i; j++)
            CU_ASSERT_NOT_EQUAL(after[i], after[j]);
    }
    CU_ASSERT_TRUE(count_moves(ids, after, ALL) <= lost * 1.05);
    CU_ASSERT_TRUE(most <= 2); /* 62 slots over 98 targets */
    ring_destroy(r);
}

/* Too few targets for the copies: an error, and the assignment is as it was. */
static void reassignment_needs_enough_targets(void)
{
    struct ring_target targets[3];
    uint32_t ids[8 * 3], before[8 * 3];
    for (uint32_t i = 0; i < 3; i++)
        targets[i] = target_of(i + 1, i, "a");
    struct ring *r = ring_create(targets, 3);
    CU_ASSERT_EQUAL(ring_form(r, 8, 3, ids), 0);
    ring_destroy(r);
    memcpy(before, ids, sizeof ids);
    r = ring_create(targets, 2);
    CU_ASSERT_EQUAL(plan(r, 8, NULL, 0, ids), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(count_moves(ids, before, 8 * 3), 0);
    ring_destroy(r);
    r = ring_create(targets, 0);
    CU_ASSERT_EQUAL(plan(r, 8, NULL, 0, ids), -ERR_NO_SPACE);
    ring_destroy(r);
}

#define TESTS(T)                          \
    T(reassignment_moves_little)          \
    T(reassignment_needs_enough_targets)  \
    T(shard_of_chunk_is_fixed)            \
    T(form_never_changes)                 \
    T(order_does_not_matter)              \
    T(load_is_bounded_and_hosts_distinct) \
    T(too_few_hosts)                      \
    T(replacement_takes_the_least_busy)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_ring = {"ring/ring", NULL, NULL, NULL, NULL, tests};
