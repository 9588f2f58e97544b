/* sim-ring: the clusters, and the judgement of an assignment. */
#include "tests/sim/ring_sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"

enum { CHUNKS = 4000000, CHUNKS_PER_FILE = 4, NAME_SIZE = 16 };

static uint32_t chunks_of[SHARDS];

double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void world_count_chunks(void)
{
    for (uint32_t i = 0; i < CHUNKS; i++)
        chunks_of[ring_shard_of_chunk(i / CHUNKS_PER_FILE, i % CHUNKS_PER_FILE, SHARDS)]++;
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    CHECK(memory != NULL);
    return memory;
}

void world_init(struct world *w, unsigned count, unsigned spare, unsigned per_host, unsigned racks,
                unsigned zones, bool weighted)
{
    *w = (struct world){.count = count + spare,
                        .per_host = per_host,
                        .racks = racks ? racks : 1,
                        .zones = racks ? zones : 1,
                        .labelled = racks > 0};
    w->targets = allocate(w->count, sizeof *w->targets);
    w->ids = allocate(SLOTS, sizeof *w->ids);
    for (uint32_t i = 0; i < w->count; i++) {
        unsigned host = i / per_host, rack = host % w->racks;
        w->targets[i] = (struct sim_target){
            .id = i + 1,
            .host = host,
            .rack = rack,
            .zone = rack % w->zones,
            .weight = RING_WEIGHT_MEAN * (weighted ? 1 + i * 7 % 4 : 1),
            .in = i < count,
        };
    }
}

void world_copy(struct world *w, const struct world *from)
{
    *w = *from;
    w->targets = allocate(w->count, sizeof *w->targets);
    w->ids = allocate(SLOTS, sizeof *w->ids);
    memcpy(w->targets, from->targets, w->count * sizeof *w->targets);
    memcpy(w->ids, from->ids, SLOTS * sizeof *w->ids);
}

void world_release(struct world *w)
{
    free(w->targets);
    free(w->ids);
}

struct ring *world_ring(const struct world *w)
{
    struct ring_target *targets = allocate(w->count, sizeof *targets);
    char(*names)[3][NAME_SIZE] = allocate(w->count, sizeof *names);
    unsigned count = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct sim_target *t = &w->targets[i];
        uint8_t digest[SHA1_SIZE];
        if (!t->in)
            continue;
        (void)snprintf(names[i][0], NAME_SIZE, "host%u", t->host);
        (void)snprintf(names[i][1], NAME_SIZE, "rack%u", t->rack);
        (void)snprintf(names[i][2], NAME_SIZE, "zone%u", t->zone);
        checksum_sha1(&i, sizeof i, digest);
        targets[count] = (struct ring_target){.id = t->id,
                                              .host = names[i][0],
                                              .rack = w->labelled ? names[i][1] : NULL,
                                              .zone = w->labelled ? names[i][2] : NULL,
                                              .weight = t->weight};
        memcpy(targets[count++].uuid.bytes, digest, UUID_SIZE);
    }
    struct ring *r = ring_create(targets, count);
    free(targets);
    free(names);
    return r;
}

/* ---- how it stands ---- */

static bool holds(const struct sim_target *t)
{
    return t->in && t->weight > 0;
}

/* Fair shares by target, 0 for those that hold nothing. */
static struct placement_share *shares_of(const struct world *w, const struct ring *r)
{
    struct placement_share *some = allocate(w->count, sizeof *some);
    struct placement_share *shares = allocate(w->count, sizeof *shares);
    CHECK(placement_shares(r, SHARDS, COPIES, some) == 0);
    for (unsigned i = 0; i < w->count; i++)
        if (some[i].id)
            shares[some[i].id - 1] = some[i];
    free(some);
    return shares;
}

struct tally {
    double slots, bytes, heads;
};

static struct tally *tally_of(const struct world *w)
{
    struct tally *tally = allocate(w->count, sizeof *tally);
    for (size_t i = 0; i < SLOTS; i++) {
        struct tally *t = &tally[w->ids[i] - 1];
        CHECK(w->ids[i] >= 1 && w->ids[i] <= w->count);
        t->slots += 1;
        t->bytes += chunks_of[i / COPIES];
        t->heads += i % COPIES == 0;
    }
    return tally;
}

static struct balance balance_of(const struct world *w, const struct placement_share *shares)
{
    struct balance b = {.least = 1e9};
    struct tally *tally = tally_of(w);
    double squares = 0, count = 0;
    for (unsigned i = 0; i < w->count; i++) {
        double share = shares[i].slots;
        if (!holds(&w->targets[i]))
            continue;
        double load = tally[i].slots / share;
        b.most = fmax(b.most, load);
        b.least = fmin(b.least, load);
        b.most_but_one = fmax(b.most_but_one, (tally[i].slots - 1) / share);
        b.most_bytes = fmax(b.most_bytes, tally[i].bytes / share * SHARDS / CHUNKS);
        b.most_heads = fmax(b.most_heads, tally[i].heads / share * COPIES);
        b.share_sum += share / SLOTS;
        squares += (load - 1) * (load - 1);
        count += 1;
    }
    b.deviation = sqrt(squares / count);
    free(tally);
    return b;
}

struct balance world_balance(const struct world *w)
{
    struct ring *r = world_ring(w);
    struct placement_share *shares = shares_of(w, r);
    struct balance b = balance_of(w, shares);
    ring_destroy(r);
    free(shares);
    return b;
}

/* Failure domains of one kind in which somebody has weight. */
static unsigned domain_count(const struct world *w, unsigned (*domain)(const struct sim_target *t))
{
    bool *seen = allocate(w->count, sizeof *seen);
    unsigned count = 0;
    for (unsigned i = 0; i < w->count; i++) {
        if (!holds(&w->targets[i]))
            continue;
        count += !seen[domain(&w->targets[i])];
        seen[domain(&w->targets[i])] = true;
    }
    free(seen);
    return count;
}

static unsigned host_of(const struct sim_target *t)
{
    return t->host;
}

static unsigned rack_of(const struct sim_target *t)
{
    return t->rack;
}

static unsigned zone_of(const struct sim_target *t)
{
    return t->zone;
}

/* What two copies must not have in common in this cluster. */
struct apartness {
    bool hosts, racks, zones;
};

static struct apartness apartness_of(const struct world *w)
{
    return (struct apartness){
        .hosts = domain_count(w, host_of) >= COPIES,
        .racks = w->labelled && domain_count(w, rack_of) >= COPIES,
        .zones = w->labelled && domain_count(w, zone_of) >= COPIES,
    };
}

static bool is_near(const struct apartness *a, const struct sim_target *x,
                    const struct sim_target *y)
{
    return x == y || (a->hosts && x->host == y->host) || (a->racks && x->rack == y->rack) ||
           (a->zones && x->zone == y->zone);
}

unsigned world_too_near(const struct world *w)
{
    struct apartness a = apartness_of(w);
    unsigned count = 0;
    for (size_t i = 0; i < SLOTS; i += COPIES) {
        bool near = false;
        for (size_t j = i; j < i + COPIES; j++)
            for (size_t k = i; k < j; k++)
                near = near || is_near(&a, &w->targets[w->ids[j] - 1], &w->targets[w->ids[k] - 1]);
        count += near;
    }
    return count;
}

/* ---- changes ---- */

/* Its place among the changed; their number when it is none of them. */
static unsigned place_of(const struct change *c, uint32_t id)
{
    unsigned i = 0;
    while (i < c->changed_count && c->changed[i] != id)
        i++;
    return i;
}

void change_note(struct change *c, uint32_t id)
{
    if (place_of(c, id) < c->changed_count)
        return;
    CHECK(c->changed_count < CHANGES_MAX);
    c->changed[c->changed_count++] = id;
}

static bool has_changed(const struct change *c, uint32_t id)
{
    return place_of(c, id) < c->changed_count;
}

/* How many slots no plan can leave where they are, and how many of them may go to targets that lack
 * slots. */
struct necessity {
    const struct world *w;
    const struct placement_share *shares;
    const struct change *change;
    struct tally *tally;
    double leaving_bytes;
    double parted;              /* slots that move because copies could stand further apart */
    double excess;              /* slots above the limits of changed targets */
    double lacking;             /* slots that changed targets lack of their shares */
    double useful[CHANGES_MAX]; /* leaving or parted, and fit for this changed target */
    double *useful_excess;      /* [lacking, exceeding]: both by their place among the changed */
};

static bool lacks(const struct necessity *n, unsigned i)
{
    return holds(&n->w->targets[i]) && has_changed(n->change, i + 1) &&
           n->tally[i].slots < floor(n->shares[i].slots);
}

static bool exceeds(const struct necessity *n, unsigned i)
{
    return holds(&n->w->targets[i]) && has_changed(n->change, i + 1) &&
           n->tally[i].slots > n->shares[i].limit;
}

static double excess_of(const struct necessity *n, unsigned i)
{
    return exceeds(n, i) ? n->tally[i].slots - n->shares[i].limit : 0;
}

static double lack_of(const struct necessity *n, unsigned i)
{
    return lacks(n, i) ? floor(n->shares[i].slots) - n->tally[i].slots : 0;
}

/* Which changed targets may stand beside what stays of the shard when one slot leaves; all of them
 * when other copies move, too. */
static void add_useful(struct necessity *n, const struct apartness *a, const uint32_t *ids,
                       unsigned leaving, bool others_move, double *useful, unsigned stride,
                       bool *counted)
{
    for (unsigned i = 0; i < n->change->changed_count; i++) {
        const struct sim_target *t = &n->w->targets[n->change->changed[i] - 1];
        bool fits = lacks(n, t->id - 1) && !counted[i];
        for (unsigned slot = 0; fits && slot < COPIES; slot++) {
            const struct sim_target *other = &n->w->targets[ids[slot] - 1];
            fits = others_move || slot == leaving || !holds(other) || !is_near(a, t, other);
        }
        useful[(size_t)i * stride] += fits;
        counted[i] = counted[i] || fits;
    }
}

/* A target takes one slot of a shard at most: it is counted for the first that fits. */
static void add_shard(struct necessity *n, const struct apartness *a, size_t first)
{
    const uint32_t *ids = &n->w->ids[first];
    bool counted[CHANGES_MAX] = {false};
    unsigned near = 0, changed_count = n->change->changed_count;
    for (unsigned slot = 0; slot < COPIES; slot++) {
        bool stays_near = false;
        const struct sim_target *t = &n->w->targets[ids[slot] - 1];
        for (unsigned i = 0; i < slot && holds(t); i++)
            stays_near = stays_near || (holds(&n->w->targets[ids[i] - 1]) &&
                                        is_near(a, t, &n->w->targets[ids[i] - 1]));
        near += stays_near;
    }
    n->parted += near;
    if (near > 0)
        add_useful(n, a, ids, 0, true, n->useful, 1, counted);
    for (unsigned slot = 0; slot < COPIES; slot++) {
        if (holds(&n->w->targets[ids[slot] - 1]))
            continue;
        n->leaving_bytes += chunks_of[first / COPIES];
        add_useful(n, a, ids, slot, near > 0, n->useful, 1, counted);
    }
    for (unsigned slot = 0; slot < COPIES; slot++)
        if (exceeds(n, ids[slot] - 1))
            add_useful(n, a, ids, slot, near > 0, n->useful_excess + place_of(n->change, ids[slot]),
                       changed_count, counted);
}

/* At most so many slots that one changed target lacks are among those that must move. */
static double served_of(const struct necessity *n, unsigned lacking)
{
    const struct change *c = n->change;
    double served = n->useful[lacking];
    for (unsigned i = 0; i < c->changed_count; i++)
        served += fmin(n->useful_excess[(size_t)lacking * c->changed_count + i],
                       excess_of(n, c->changed[i] - 1));
    return fmin(served, lack_of(n, c->changed[lacking] - 1));
}

/* What every plan must move, in chunks: a lower bound. */
static double ideal_of(const struct world *before, const struct placement_share *shares,
                       const struct change *c)
{
    struct necessity n = {.w = before, .shares = shares, .change = c, .tally = tally_of(before)};
    struct apartness a = apartness_of(before);
    n.useful_excess =
        allocate((size_t)c->changed_count * c->changed_count, sizeof *n.useful_excess);
    for (unsigned i = 0; i < before->count; i++) {
        n.excess += excess_of(&n, i);
        n.lacking += lack_of(&n, i);
    }
    for (size_t first = 0; first < SLOTS; first += COPIES)
        add_shard(&n, &a, first);
    double slot_bytes = (double)CHUNKS / SHARDS, served = 0;
    double must = n.leaving_bytes / slot_bytes + fmax(n.parted, n.excess);
    for (unsigned i = 0; i < c->changed_count; i++)
        served += served_of(&n, i);
    served = fmin(served, must);
    free(n.useful_excess);
    free(n.tally);
    return (must + fmax(0, n.lacking - served)) * slot_bytes;
}

/* The assignment has changed from `before` to what it is now. */
static void judge(const struct world *w, const uint32_t *before,
                  const struct placement_share *shares, const struct change *c,
                  struct outcome *outcome)
{
    uint32_t *received = allocate(w->count, sizeof *received);
    double sum = 0, share_sum = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (before[i] == w->ids[i])
            continue;
        outcome->moved += chunks_of[i / COPIES];
        received[w->ids[i] - 1]++;
    }
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < w->count; i++) {
            if (received[i] == 0 || has_changed(c, w->targets[i].id))
                continue;
            if (round == 0) {
                outcome->receivers++;
                sum += received[i];
                share_sum += shares[i].slots;
                continue;
            }
            outcome->hottest = fmax(outcome->hottest, received[i] / (sum / outcome->receivers));
            outcome->hottest_but_one = fmax(
                outcome->hottest_but_one, (received[i] - 1) / shares[i].slots / (sum / share_sum));
        }
    }
    struct tally *tally = tally_of(w);
    for (unsigned i = 0; i < w->count; i++)
        if (holds(&w->targets[i]) && has_changed(c, i + 1))
            outcome->poorest = fmax(outcome->poorest, shares[i].slots / (tally[i].slots + 1));
    free(tally);
    free(received);
    outcome->too_near = world_too_near(w);
    outcome->enough_zones = apartness_of(w).zones;
    outcome->balance = balance_of(w, shares);
}

struct outcome world_follow(struct world *w, const struct change *c)
{
    struct outcome outcome = {0};
    struct placement_report report;
    struct ring *r = world_ring(w);
    struct placement_share *shares = shares_of(w, r);
    uint32_t *before = allocate(SLOTS, sizeof *before);
    struct placement p = {.ring = r,
                          .shard_count = SHARDS,
                          .copies = COPIES,
                          .changed = c->changed,
                          .changed_count = c->changed_count};
    memcpy(before, w->ids, SLOTS * sizeof *before);
    if (w->ids[0] != 0)
        outcome.ideal = ideal_of(w, shares, c);
    double started = cpu_s();
    CHECK(placement_plan(&p, w->ids, &report) == 0);
    outcome.cpu_ms = (cpu_s() - started) * 1e3;
    outcome.unfilled = report.unfilled;
    judge(w, before, shares, c, &outcome);
    ring_destroy(r);
    free(shares);
    free(before);
    return outcome;
}

static uint32_t receptions_of(const void *arg, uint32_t id)
{
    return ((const uint32_t *)arg)[id - 1];
}

struct outcome world_repair(struct world *w, uint32_t id)
{
    struct outcome outcome = {0};
    struct change none = {.changed_count = 0};
    struct ring *r = world_ring(w);
    struct placement_share *shares = shares_of(w, r);
    uint32_t *before = allocate(SLOTS, sizeof *before);
    uint32_t *receptions = allocate(w->count, sizeof *receptions);
    memcpy(before, w->ids, SLOTS * sizeof *before);
    outcome.ideal = ideal_of(w, shares, &none);
    double started = cpu_s();
    for (size_t i = 0; i < SLOTS; i++) {
        uint32_t taken[COPIES], count = 0;
        if (w->ids[i] != id)
            continue;
        for (size_t j = i - i % COPIES; j < i - i % COPIES + COPIES; j++)
            if (j != i)
                taken[count++] = w->ids[j];
        CHECK(ring_replacement(r, (uint32_t)(i / COPIES), taken, count, receptions_of, receptions,
                               &w->ids[i]) == 0);
        receptions[w->ids[i] - 1]++;
    }
    outcome.cpu_ms = (cpu_s() - started) * 1e3;
    judge(w, before, shares, &none, &outcome);
    ring_destroy(r);
    free(shares);
    free(before);
    free(receptions);
    return outcome;
}
