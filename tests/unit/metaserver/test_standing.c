/* The file `standing`, and the rule by which a new folder founds a cluster or joins one: no life
 * that promised something is forgotten and then votes again. Hazards R17, R18 (a folder without its
 * past must not vote), R26 (bytes of others are not believed). */
#include "metaserver/standing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

static struct raft_config first_members(unsigned count)
{
    struct raft_config config = {0};
    for (unsigned i = 1; i <= count; i++)
        CU_ASSERT_EQUAL_FATAL(raft_config_add(&config, i, true, slice_str("127.0.0.1:7001")), 0);
    return config;
}

static struct standing example(void)
{
    struct standing s = {.state = STANDING_JOINING,
                         .life = 77,
                         .first = first_members(3),
                         .life_count = 2,
                         .lives = {{1, 5}, {2, 6}}};
    return s;
}

static void bytes_are_checked(void)
{
    struct standing s = example(), back;
    uint8_t bytes[STANDING_BYTES_MAX], again[STANDING_BYTES_MAX];
    size_t size = standing_pack(&s, &fixture_cluster, FIXTURE_NODE, bytes);
    struct uuid other = fixture_cluster;
    other.bytes[3] ^= 1;
    CU_ASSERT_EQUAL_FATAL(
        standing_unpack(slice_of(bytes, size), &fixture_cluster, FIXTURE_NODE, &back), 0);
    CU_ASSERT_EQUAL(standing_pack(&back, &fixture_cluster, FIXTURE_NODE, again), size);
    CU_ASSERT_EQUAL(memcmp(bytes, again, size), 0);
    CU_ASSERT_EQUAL(standing_unpack(slice_of(bytes, size), &other, FIXTURE_NODE, &back),
                    -ERR_WRONG_CLUSTER);
    CU_ASSERT_EQUAL(
        standing_unpack(slice_of(bytes, size), &fixture_cluster, FIXTURE_NODE + 1, &back),
        -ERR_WRONG_CLUSTER);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x10;
        CU_ASSERT_NOT_EQUAL(
            standing_unpack(slice_of(bytes, size), &fixture_cluster, FIXTURE_NODE, &back), 0);
        bytes[i] ^= 0x10;
        CU_ASSERT_NOT_EQUAL(
            standing_unpack(slice_of(bytes, i), &fixture_cluster, FIXTURE_NODE, &back), 0);
    }
}

static void file_is_kept(void)
{
    char folder[] = "/var/tmp/cairn-standing-XXXXXX", path[64];
    struct standing s = example(), back;
    struct err_text why = {""};
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    CU_ASSERT_EQUAL(standing_load(folder, &fixture_cluster, FIXTURE_NODE, &back, &why),
                    -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(standing_store(folder, &fixture_cluster, FIXTURE_NODE, &s), 0);
    s.state = STANDING_MEMBER;
    CU_ASSERT_EQUAL(standing_store(folder, &fixture_cluster, FIXTURE_NODE, &s), 0);
    CU_ASSERT_EQUAL_FATAL(standing_load(folder, &fixture_cluster, FIXTURE_NODE, &back, &why), 0);
    CU_ASSERT(back.state == STANDING_MEMBER && back.life == 77 && back.life_count == 2 &&
              raft_config_equal(&back.first, &s.first));
    (void)snprintf(path, sizeof path, "%s/standing", folder);
    CU_ASSERT_EQUAL(remove(path), 0);
    CU_ASSERT_EQUAL(remove(folder), 0);
}

static void rule_by_example(void)
{
    struct raft_config first = first_members(3);
    struct standing s = {.state = STANDING_NEW, .life = 1}, copy = s;
    struct standing_answer a[2] = {{.id = 2,
                                    .is_known = true,
                                    .is_confirmed = true,
                                    .said = {.state = STANDING_NEW, .life = 2}},
                                   {.id = 3, .is_known = false}};
    CU_ASSERT_EQUAL(standing_decide(&s, 1, &first, a, 2), STANDING_WAIT);
    a[1].is_known = true; /* said once only */
    a[1].said = (struct standing){.state = STANDING_NEW, .life = 3};
    CU_ASSERT_EQUAL(standing_decide(&s, 1, &first, a, 2), STANDING_WAIT);
    CU_ASSERT_EQUAL(memcmp(&s, &copy, sizeof s), 0);
    a[1].is_confirmed = true;
    CU_ASSERT_EQUAL(standing_decide(&s, 1, &first, a, 2), STANDING_FOUND);
    CU_ASSERT(s.state == STANDING_MEMBER && s.life_count == 3 && s.first.count == 3);
    /* one that is late, and one that was wiped; the third is down */
    struct standing late = {.state = STANDING_NEW, .life = 2};
    struct standing wiped = {.state = STANDING_NEW, .life = 22};
    struct standing_answer b[2] = {{.id = 1, .is_known = true, .said = s}, {.id = 3}};
    CU_ASSERT_EQUAL(standing_decide(&late, 2, &first, b, 2), STANDING_FOUND);
    CU_ASSERT(late.state == STANDING_MEMBER && late.life_count == 3);
    CU_ASSERT_EQUAL(standing_decide(&wiped, 2, &first, b, 2), STANDING_JOIN);
    CU_ASSERT(wiped.state == STANDING_JOINING && raft_config_equal(&wiped.first, &first));
    /* one that waits to be added knows nothing */
    struct standing alone = {.state = STANDING_NEW, .life = 2};
    b[0].said = (struct standing){.state = STANDING_JOINING, .life = 9};
    CU_ASSERT_EQUAL(standing_decide(&alone, 2, &first, b, 2), STANDING_WAIT);
    CU_ASSERT_EQUAL(standing_decide(&alone, 1, &(struct raft_config){0}, NULL, 0), STANDING_FOUND);
}

/* ---- at random: questions, answers, wipes and decisions in any order ---- */

enum { NODES = 3 };

static struct {
    struct prng prng;
    struct standing s[NODES];
    bool is_up[NODES];
    struct standing_answer answers[NODES][NODES - 1];
    unsigned asked[NODES]; /* how many of this round have been asked */
    uint64_t voter[NODES]; /* the life that votes, since somebody last knew of the cluster */
    uint64_t lives;
} w;

static void wipe(unsigned i)
{
    w.s[i] = (struct standing){.state = STANDING_NEW, .life = ++w.lives};
    memset(w.answers[i], 0, sizeof w.answers[i]);
    w.asked[i] = 0;
    bool all_new = true;
    for (unsigned k = 0; k < NODES; k++)
        all_new &= w.s[k].state == STANDING_NEW;
    if (all_new) /* nobody holds anything: what was promised is lost with everything else */
        memset(w.voter, 0, sizeof w.voter);
}

/* Asks the next one of the round; at its end decides. False: a second life votes. */
static bool go_on(unsigned i)
{
    if (w.s[i].state != STANDING_NEW)
        return true;
    if (w.asked[i] < NODES - 1) {
        unsigned j = (i + 1 + w.asked[i]) % NODES;
        struct standing_answer *a = &w.answers[i][w.asked[i]++];
        a->id = j + 1;
        a->is_confirmed = a->is_known && w.is_up[j] && a->said.life == w.s[j].life &&
                          a->said.state == w.s[j].state;
        a->is_known = w.is_up[j];
        a->said = w.s[j];
        return true;
    }
    struct raft_config first = first_members(NODES);
    w.asked[i] = 0;
    if (standing_decide(&w.s[i], i + 1, &first, w.answers[i], NODES - 1) != STANDING_FOUND)
        return true;
    if (w.voter[i] != 0 && w.voter[i] != w.s[i].life)
        return false;
    w.voter[i] = w.s[i].life;
    return true;
}

static bool run_world(uint64_t seed)
{
    bool good = true;
    memset(&w, 0, sizeof w);
    prng_init(&w.prng, seed);
    for (unsigned i = 0; i < NODES; i++)
        wipe(i);
    for (unsigned step = 0; good && step < 300; step++) {
        unsigned i = (unsigned)prng_between(&w.prng, 0, NODES - 1);
        unsigned what = (unsigned)prng_between(&w.prng, 0, 99);
        if (what < 4)
            wipe(i);
        else if (what < 12)
            w.is_up[i] = !w.is_up[i];
        else if (w.is_up[i])
            good = go_on(i);
    }
    for (unsigned i = 0; i < NODES; i++)
        w.is_up[i] = true;
    for (unsigned step = 0; good && step < 12 * NODES; step++)
        good = go_on(step % NODES);
    for (unsigned i = 0; good && i < NODES; i++)
        good = w.s[i].state != STANDING_NEW; /* all found their way */
    return good;
}

static void one_life_votes(void)
{
    const char *named = getenv("SEED");
    uint64_t from = named ? strtoull(named, NULL, 10) : 1, count = named ? 1 : 20000;
    for (uint64_t seed = from; seed < from + count; seed++) {
        if (run_world(seed))
            continue;
        (void)printf("# standing seed=%llu\n", (unsigned long long)seed);
        CU_FAIL("a life that promised something was forgotten, or a node waits for ever");
        return;
    }
}

CU_TestInfo standing_tests[] = {{"bytes_are_checked", bytes_are_checked},
                                {"file_is_kept", file_is_kept},
                                {"rule_by_example", rule_by_example},
                                {"one_life_votes", one_life_votes},
                                CU_TEST_INFO_NULL};
