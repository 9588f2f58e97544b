/* Placement plans: distance of copies, shares, what moves and what does not (D20, D25: no host
 * holds two copies, repairs have many receivers). The figures are judged by tests/sim/sim-ring. */
#include "tests/unit/common/ring/shard_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/ring/placement.h"

enum { SHARDS = 512, COPIES_LIMIT = 5, TARGETS_LIMIT = 64, NAME_SIZE = 12 };

struct cluster {
    unsigned count;
    struct ring_target targets[TARGETS_LIMIT];
    char names[TARGETS_LIMIT][3][NAME_SIZE];
    uint32_t ids[SHARDS * COPIES_LIMIT];
    struct placement_report report;
};

/* Target i + 1 on host i / per_host, which stands in rack host % racks, in zone rack % zones. */
static void cluster_init(struct cluster *c, unsigned count, unsigned per_host, unsigned racks,
                         unsigned zones)
{
    memset(c, 0, sizeof *c);
    c->count = count;
    for (uint32_t i = 0; i < count; i++) {
        unsigned host = i / per_host, rack = host % racks;
        (void)snprintf(c->names[i][0], NAME_SIZE, "h%u", host);
        (void)snprintf(c->names[i][1], NAME_SIZE, "r%u", rack);
        (void)snprintf(c->names[i][2], NAME_SIZE, "z%u", rack % zones);
        c->targets[i] = (struct ring_target){.id = i + 1,
                                             .uuid = fixture_uuid(i + 1),
                                             .weight = RING_WEIGHT_MEAN,
                                             .host = c->names[i][0],
                                             .rack = racks > 1 ? c->names[i][1] : NULL,
                                             .zone = zones > 1 ? c->names[i][2] : NULL};
    }
}

static int follow(struct cluster *c, unsigned copies, struct placement p)
{
    struct ring *r = ring_create(c->targets, c->count);
    p.ring = r;
    p.shard_count = SHARDS;
    p.copies = copies;
    int status = placement_plan(&p, c->ids, &c->report);
    ring_destroy(r);
    return status;
}

static int follow_changed(struct cluster *c, unsigned copies, uint32_t changed)
{
    return follow(c, copies, (struct placement){.changed = &changed, .changed_count = 1});
}

static unsigned slots_of(const struct cluster *c, unsigned copies, uint32_t id)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SHARDS * copies; i++)
        count += c->ids[i] == id;
    return count;
}

enum kind { KIND_HOST, KIND_RACK, KIND_ZONE, KIND_COUNT };

/* The name is of no use without the ones above it: all are made of the same host number here. */
static bool is_same(const struct cluster *c, uint32_t a, uint32_t b, enum kind kind)
{
    return strcmp(c->names[a - 1][kind], c->names[b - 1][kind]) == 0;
}

/* Most copies of one shard in one domain of the kind. */
static unsigned most_in_one(const struct cluster *c, unsigned copies, enum kind kind)
{
    unsigned most = 0;
    for (unsigned shard = 0; shard < SHARDS; shard++) {
        const uint32_t *ids = &c->ids[shard * copies];
        for (unsigned i = 0; i < copies; i++) {
            unsigned same = 0;
            for (unsigned j = 0; j < copies; j++)
                same += is_same(c, ids[i], ids[j], kind);
            most = same > most ? same : most;
        }
    }
    return most;
}

static unsigned domains_of(const struct cluster *c, enum kind kind)
{
    unsigned count = 0;
    for (uint32_t i = 1; i <= c->count; i++) {
        bool first = c->targets[i - 1].weight > 1;
        for (uint32_t j = 1; first && j < i; j++)
            first = c->targets[j - 1].weight <= 1 || !is_same(c, i, j, kind);
        count += first;
    }
    return count;
}

/* ---- inputs ---- */

static void domains_are_parsed(void)
{
    struct placement_domain d;
    char text[2 * PLACEMENT_NAME_MAX];
    CU_ASSERT_EQUAL(placement_domain_parse("berlin/r7/node3", &d), 0);
    CU_ASSERT_STRING_EQUAL(d.zone, "berlin");
    CU_ASSERT_STRING_EQUAL(d.rack, "r7");
    CU_ASSERT_STRING_EQUAL(d.host, "node3");
    CU_ASSERT_EQUAL(placement_domain_parse("r7/node3", &d), 0);
    CU_ASSERT_STRING_EQUAL(d.zone, "");
    CU_ASSERT_STRING_EQUAL(d.rack, "r7");
    CU_ASSERT_EQUAL(placement_domain_parse("node3", &d), 0);
    CU_ASSERT_STRING_EQUAL(d.rack, "");
    CU_ASSERT_STRING_EQUAL(d.host, "node3");
    static const char *const wrong[] = {"", "/", "a/", "/a", "a//b", "a/b/c/d", "a/b/"};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CU_ASSERT_EQUAL(placement_domain_parse(wrong[i], &d), -ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(d.host, "node3"); /* untouched */
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    CU_ASSERT_EQUAL(placement_domain_parse(text, &d), -ERR_NAME_TOO_LONG);
    text[PLACEMENT_NAME_MAX - 1] = 0;
    CU_ASSERT_EQUAL(placement_domain_parse(text, &d), 0);
}

static void weights_follow_capacities(void)
{
    const uint64_t tera = 1ull << 40;
    const uint64_t capacities[] = {4 * tera, 8 * tera, 12 * tera, 0, 1, 8 * tera};
    uint32_t weights[6];
    placement_weights(capacities, 4, weights);
    CU_ASSERT_EQUAL(weights[0], 500);
    CU_ASSERT_EQUAL(weights[1], 1000);
    CU_ASSERT_EQUAL(weights[2], 1500);
    CU_ASSERT_EQUAL(weights[3], 0);
    placement_weights(capacities + 4, 2, weights);
    CU_ASSERT_EQUAL(weights[0], 2); /* has a point on the ring */
    CU_ASSERT_EQUAL(weights[1], 2000);
    placement_weights(capacities + 3, 1, weights);
    CU_ASSERT_EQUAL(weights[0], 0);
}

/* ---- shares ---- */

static void expect_share(const struct cluster *c, unsigned copies, uint32_t id, double slots)
{
    struct placement_share shares[TARGETS_LIMIT];
    struct ring *r = ring_create(c->targets, c->count);
    CU_ASSERT_EQUAL(placement_shares(r, SHARDS, copies, shares), 0);
    ring_destroy(r);
    for (unsigned i = 0; i < c->count; i++) {
        if (shares[i].id != id)
            continue;
        CU_ASSERT_DOUBLE_EQUAL(shares[i].slots, slots, 0.01);
        CU_ASSERT_TRUE(shares[i].limit > slots || slots == 0);
        CU_ASSERT_TRUE(shares[i].limit <= slots * 1.05 + 1.01);
    }
}

/* Proportional where domains allow it; a domain that may not hold so much gives to the others. */
static void shares_heed_domains(void)
{
    static struct cluster c;
    cluster_init(&c, 8, 1, 8, 1);
    c.targets[0].weight = 2000;
    c.targets[7].weight = 0;
    expect_share(&c, 2, 1, SHARDS * 2 * 2 / 8.0);
    expect_share(&c, 2, 2, SHARDS * 2 * 1 / 8.0);
    expect_share(&c, 2, 8, 0);
    c.targets[0].weight = 20000; /* each shard can have but one copy on it */
    expect_share(&c, 2, 1, SHARDS);
    expect_share(&c, 2, 2, SHARDS / 6.0);
    /* Zones 0, 1, 2 with 4, 3 and 3 targets: each holds one copy of everything. */
    cluster_init(&c, 10, 1, 3, 3);
    c.targets[0].weight = 3000;
    expect_share(&c, 3, 1, SHARDS * 3 / 6.0);
    expect_share(&c, 3, 4, SHARDS * 1 / 6.0);
    expect_share(&c, 3, 2, SHARDS / 3.0);
    /* With two copies they hold two thirds of that each, but the largest not more than half. */
    c.targets[0].weight = 8000; /* zone 0: 11 of 17, more than one of two copies */
    expect_share(&c, 2, 1, SHARDS * 8 / 11.0);
    expect_share(&c, 2, 2, SHARDS / 6.0);
    /* Two zones and three copies: at most two of them in one. */
    cluster_init(&c, 9, 1, 9, 1);
    for (unsigned i = 0; i < 9; i++)
        c.targets[i].zone = i < 7 ? "a" : "b";
    expect_share(&c, 3, 1, SHARDS * 2 / 7.0);
    expect_share(&c, 3, 8, SHARDS / 2.0);
    /* The second copy in a zone of two racks costs less than one in a zone of a single rack. */
    cluster_init(&c, 5, 1, 5, 1);
    for (unsigned i = 0; i < 5; i++) {
        c.targets[i].zone = i < 3 ? "a" : "b";
        c.targets[i].rack = i == 0 ? "r1" : "r2";
    }
    expect_share(&c, 3, 1, SHARDS);
    expect_share(&c, 3, 2, SHARDS / 2.0);
    expect_share(&c, 3, 4, SHARDS / 2.0);
    CU_ASSERT_EQUAL(placement_shares(NULL, SHARDS, 0, NULL), -ERR_INVALID);
}

/* ---- distance ---- */

static void copies_stand_apart(void)
{
    static struct cluster c;
    cluster_init(&c, 24, 2, 6, 3); /* 12 hosts, 6 racks, 3 zones */
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(most_in_one(&c, 3, KIND_ZONE), 1);
    CU_ASSERT_EQUAL(c.report.refilled, SHARDS * 3);
    CU_ASSERT_EQUAL(c.report.spread.zones, 3);
    CU_ASSERT_EQUAL(c.report.spread.racks, 6);
    CU_ASSERT_EQUAL(c.report.spread.hosts, 12);
    CU_ASSERT_EQUAL(c.report.spread.shards_in_one_zone, 0);
    CU_ASSERT_EQUAL(c.report.spread.shards_too_near, 0);

    cluster_init(&c, 24, 2, 6, 3); /* more copies than zones: evenly, and in different racks */
    CU_ASSERT_EQUAL(follow(&c, 5, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(most_in_one(&c, 5, KIND_ZONE), 2);
    CU_ASSERT_EQUAL(most_in_one(&c, 5, KIND_RACK), 1);
    CU_ASSERT_EQUAL(c.report.spread.shards_in_one_zone, SHARDS);
    CU_ASSERT_EQUAL(c.report.spread.shards_too_near, 0);

    cluster_init(&c, 24, 2, 2, 1); /* more copies than racks: on different hosts */
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(most_in_one(&c, 3, KIND_RACK), 2);
    CU_ASSERT_EQUAL(most_in_one(&c, 3, KIND_HOST), 1);
    CU_ASSERT_FALSE(c.report.spread.too_few_hosts);
}

/* Fewer hosts than copies: evenly over them, and the report says so. */
static void too_few_hosts_are_reported(void)
{
    static struct cluster c;
    cluster_init(&c, 6, 3, 1, 1);
    CU_ASSERT_EQUAL(follow(&c, 4, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(most_in_one(&c, 4, KIND_HOST), 2);
    CU_ASSERT_TRUE(c.report.spread.too_few_hosts);
    CU_ASSERT_EQUAL(c.report.spread.shards_on_one_host, SHARDS);
    CU_ASSERT_EQUAL(c.report.spread.shards_too_near, 0);
    for (unsigned i = 0; i < SHARDS * 4; i++)
        for (unsigned j = i / 4 * 4; j < i; j++)
            CU_ASSERT_NOT_EQUAL(c.ids[i], c.ids[j]);
}

/* Two nodes of one name in different racks are different hosts. */
static void a_host_is_within_its_rack(void)
{
    static struct cluster c;
    cluster_init(&c, 4, 1, 4, 1);
    for (unsigned i = 0; i < 4; i++)
        c.targets[i].host = "node1";
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(c.report.spread.hosts, 4);
    CU_ASSERT_EQUAL(c.report.spread.shards_on_one_host, 0);
}

/* Zones that are told later: as many copies move as stand in one zone, and no more. */
static void copies_are_parted(void)
{
    static struct cluster c;
    unsigned near = 0;
    cluster_init(&c, 30, 1, 3, 3);
    for (unsigned i = 0; i < c.count; i++)
        c.targets[i].rack = c.targets[i].zone = NULL;
    CU_ASSERT_EQUAL(follow(&c, 2, (struct placement){0}), 0);
    for (unsigned i = 0; i < SHARDS * 2; i += 2)
        near += is_same(&c, c.ids[i], c.ids[i + 1], KIND_ZONE);
    CU_ASSERT_TRUE(near > 0);
    for (unsigned i = 0; i < c.count; i++)
        c.targets[i].zone = c.names[i][KIND_ZONE];
    CU_ASSERT_EQUAL(follow(&c, 2, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(most_in_one(&c, 2, KIND_ZONE), 1);
    CU_ASSERT_TRUE(c.report.moved >= near && c.report.moved <= near + near / 5);
}

static uint32_t pending_of(const void *arg, uint32_t id)
{
    return ((const uint32_t *)arg)[id];
}

/* A lost slot: the zone first, then the rack, then who is least busy; near only when nobody else is
 * left, and not because the others are busy. */
static void replacement_stands_apart(void)
{
    static struct cluster c;
    uint32_t pending[8] = {0, 0, 0, 9, 0, 0, 9, 0}, id = 0;
    const uint32_t taken[] = {1};
    cluster_init(&c, 6, 1, 6, 3); /* zones: 1 and 4, 2 and 5, 3 and 6 */
    struct ring *r = ring_create(c.targets, c.count);
    const uint32_t both[] = {1, 2};
    CU_ASSERT_EQUAL(ring_replacement(r, 5, both, 2, pending_of, pending, &id), 0);
    CU_ASSERT_TRUE(id == 3 || id == 6); /* though busier than 4 and 5 */
    pending[3] = 8;
    CU_ASSERT_EQUAL(ring_replacement(r, 5, both, 2, pending_of, pending, &id), 0);
    CU_ASSERT_EQUAL(id, 3);
    pending[3] = pending[6] = RING_BUSY;
    CU_ASSERT_EQUAL(ring_replacement(r, 5, both, 2, pending_of, pending, &id), -ERR_BUSY);
    pending[3] = pending[6] = RING_CLOSED;
    CU_ASSERT_EQUAL(ring_replacement(r, 5, both, 2, pending_of, pending, &id), 0);
    CU_ASSERT_TRUE(id == 4 || id == 5);
    for (unsigned i = 2; i <= 6; i++)
        pending[i] = RING_CLOSED;
    CU_ASSERT_EQUAL(ring_replacement(r, 5, taken, 1, pending_of, pending, &id), -ERR_NO_ENTRY);
    ring_destroy(r);
}

/* ---- changes ---- */

/* A drained target gives all away, one slot each; a closed one keeps its own and gets none. */
static void drained_and_closed(void)
{
    static struct cluster c;
    const uint32_t closed[] = {2, 3};
    cluster_init(&c, 12, 1, 12, 1);
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    unsigned drained = slots_of(&c, 3, 1), second = slots_of(&c, 3, 2), third = slots_of(&c, 3, 3);
    c.targets[0].weight = 0;
    struct placement p = {.closed = closed, .closed_count = 2};
    CU_ASSERT_EQUAL(follow(&c, 3, p), 0);
    CU_ASSERT_EQUAL(slots_of(&c, 3, 1), 0);
    CU_ASSERT_EQUAL(slots_of(&c, 3, 2), second);
    CU_ASSERT_EQUAL(slots_of(&c, 3, 3), third);
    CU_ASSERT_EQUAL(c.report.refilled, drained);
    CU_ASSERT_EQUAL(c.report.moved, 0);
    CU_ASSERT_EQUAL(c.report.unfilled, 0);
}

/* A slot that nobody may take stays where it is. */
static void unfilled_slots_stay(void)
{
    static struct cluster c;
    const uint32_t closed[] = {2, 3, 4};
    cluster_init(&c, 4, 1, 4, 1);
    CU_ASSERT_EQUAL(follow(&c, 2, (struct placement){0}), 0);
    unsigned drained = slots_of(&c, 2, 1);
    c.targets[0].weight = 0;
    struct placement p = {.closed = closed, .closed_count = 3};
    CU_ASSERT_EQUAL(follow(&c, 2, p), 0);
    CU_ASSERT_EQUAL(slots_of(&c, 2, 1), drained);
    CU_ASSERT_EQUAL(c.report.unfilled, drained);
    c.targets[1].weight = c.targets[2].weight = 0; /* one target for two copies */
    CU_ASSERT_EQUAL(follow(&c, 2, p), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(slots_of(&c, 2, 1), drained);
    CU_ASSERT_EQUAL(follow(&c, 0, p), -ERR_INVALID);
    CU_ASSERT_EQUAL(follow(&c, 17, p), -ERR_INVALID);
}

/* A target that is replaced costs one copy of its slots: what leaves goes to what joins. */
static void what_leaves_goes_to_what_joins(void)
{
    static struct cluster c;
    cluster_init(&c, 11, 1, 11, 1);
    c.targets[10].weight = 0;
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    unsigned before = slots_of(&c, 3, 4);
    c.targets[3].weight = 0;
    c.targets[10].weight = RING_WEIGHT_MEAN;
    CU_ASSERT_EQUAL(follow_changed(&c, 3, 11), 0);
    CU_ASSERT_EQUAL(c.report.refilled, before);
    CU_ASSERT_TRUE(c.report.moved <= before / 20);
    CU_ASSERT_TRUE(slots_of(&c, 3, 11) + 1 >= SHARDS * 3 / 10);
}

/* A weight that grows or falls moves what the share changed by. */
static void weight_changes_move_the_difference(void)
{
    static struct cluster c;
    cluster_init(&c, 12, 1, 12, 1);
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    c.targets[4].weight = 2 * RING_WEIGHT_MEAN;
    unsigned share = SHARDS * 3 * 2 / 13, before = slots_of(&c, 3, 5);
    CU_ASSERT_EQUAL(follow_changed(&c, 3, 5), 0);
    CU_ASSERT_EQUAL(slots_of(&c, 3, 5), share);
    CU_ASSERT_TRUE(c.report.moved <= (share - before) * 5 / 4);
    c.targets[4].weight = RING_WEIGHT_MEAN / 2;
    CU_ASSERT_EQUAL(follow_changed(&c, 3, 5), 0);
    share = SHARDS * 3 / 23;
    CU_ASSERT_TRUE(slots_of(&c, 3, 5) >= share &&
                   slots_of(&c, 3, 5) <= SHARDS * 3 * 105 / 2300 + 1);
}

/* Targets above their limits that nobody changed wait for `balance`. */
static void balance_is_asked_for(void)
{
    static struct cluster c;
    cluster_init(&c, 10, 1, 10, 1);
    for (unsigned i = 5; i < 10; i++)
        c.targets[i].weight = 0;
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    for (unsigned i = 5; i < 10; i++)
        c.targets[i].weight = RING_WEIGHT_MEAN;
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(c.report.moved, 0);
    CU_ASSERT_EQUAL(c.report.above_limit, 5);
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){.balance = true}), 0);
    CU_ASSERT_EQUAL(c.report.above_limit, 0);
    CU_ASSERT_TRUE(c.report.moved >= SHARDS * 3 * 4 / 10 && c.report.moved <= SHARDS * 3 / 2);
}

/* A target that stands twice in a chain, and ids of nobody, are slots to be filled. */
static void wrong_slots_are_filled(void)
{
    static struct cluster c;
    cluster_init(&c, 8, 1, 8, 1);
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    c.ids[1] = c.ids[0];
    c.ids[5] = 777;
    CU_ASSERT_EQUAL(follow(&c, 3, (struct placement){0}), 0);
    CU_ASSERT_EQUAL(c.report.refilled + c.report.moved, 2);
    CU_ASSERT_EQUAL(most_in_one(&c, 3, KIND_HOST), 1);
}

/* ---- random clusters ---- */

static void random_change(struct cluster *c, struct prng *p, uint32_t *changed, unsigned *count)
{
    static const uint32_t weights[] = {0, 0, 500, 1000, 1000, 2000, 4000};
    unsigned changes = (unsigned)prng_between(p, 1, 4);
    *count = 0;
    for (unsigned i = 0; i < changes; i++) {
        uint32_t at = (uint32_t)prng_below(p, c->count);
        c->targets[at].weight = weights[prng_below(p, 7)];
        changed[(*count)++] = at + 1;
    }
}

/* What holds after each plan; prints the seed and what does not. */
static bool is_sound(const struct cluster *c, unsigned copies, bool complete)
{
    unsigned unknown = 0, twice = 0;
    for (unsigned i = 0; i < SHARDS * copies; i++) {
        unknown += c->ids[i] < 1 || c->ids[i] > c->count || c->targets[c->ids[i] - 1].weight == 0;
        for (unsigned j = i / copies * copies; j < i; j++)
            twice += c->ids[i] == c->ids[j];
    }
    if (twice > 0 || (complete && (unknown > 0 || c->report.unfilled > 0)))
        return false;
    if (!complete)
        return true;
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (kind != KIND_RACK && domains_of(c, (enum kind)kind) >= copies &&
            most_in_one(c, copies, (enum kind)kind) > 1)
            return false;
    return c->report.spread.shards_too_near == 0 &&
           c->report.spread.too_few_hosts == (domains_of(c, KIND_HOST) < copies);
}

static bool random_life(uint64_t seed)
{
    static struct cluster c, again;
    struct prng p;
    prng_init(&p, seed);
    unsigned racks = (unsigned)prng_between(&p, 1, 9);
    unsigned copies = (unsigned)prng_between(&p, 1, COPIES_LIMIT);
    cluster_init(&c, (unsigned)prng_between(&p, 6, TARGETS_LIMIT), (unsigned)prng_between(&p, 1, 3),
                 racks, (unsigned)prng_between(&p, 1, racks));
    for (unsigned step = 0; step < 6; step++) {
        uint32_t changed[4], closed = (uint32_t)prng_between(&p, 1, c.count);
        struct placement plan = {.changed = changed, .closed = &closed};
        plan.closed_count = step > 0 && prng_chance(&p, 300);
        plan.balance = prng_chance(&p, 200);
        random_change(&c, &p, changed, &plan.changed_count);
        unsigned before = slots_of(&c, copies, closed);
        int status = follow(&c, copies, plan);
        if (status == -ERR_NO_SPACE)
            continue;
        if (status != 0 || !is_sound(&c, copies, plan.closed_count == 0))
            return false;
        if (plan.closed_count > 0 && slots_of(&c, copies, closed) > before)
            return false;
        if (plan.closed_count > 0)
            continue;
        again = c; /* nothing moves without a cause */
        if (follow(&again, copies, (struct placement){0}) != 0 || again.report.moved > 0 ||
            memcmp(again.ids, c.ids, sizeof c.ids) != 0)
            return false;
    }
    return true;
}

static void random_lives(void)
{
    const char *first = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    uint64_t count = first ? 1 : many ? strtoull(many, NULL, 10) : 60;
    for (uint64_t i = 0; i < count; i++) {
        bool good = random_life(seed + i);
        if (!good)
            printf("# seed=%llu\n", (unsigned long long)(seed + i));
        CU_ASSERT_TRUE_FATAL(good);
    }
}

#define TESTS(T)                          \
    T(domains_are_parsed)                 \
    T(weights_follow_capacities)          \
    T(shares_heed_domains)                \
    T(copies_stand_apart)                 \
    T(too_few_hosts_are_reported)         \
    T(a_host_is_within_its_rack)          \
    T(copies_are_parted)                  \
    T(replacement_stands_apart)           \
    T(drained_and_closed)                 \
    T(unfilled_slots_stay)                \
    T(what_leaves_goes_to_what_joins)     \
    T(weight_changes_move_the_difference) \
    T(balance_is_asked_for)               \
    T(wrong_slots_are_filled)             \
    T(random_lives)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
CU_SuiteInfo suite_placement = {"ring/placement", NULL, NULL, NULL, NULL, tests};
