/* Measures the hash ring: balance, moves after a change, cost of a look-up. Prints the table of
 * docs/placement.md and fails when a bound of the design is broken (times are not judged).
 *   sim-ring [TARGETS [SHARDS]]     1,000 and 16,384 when not given */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "common/ring/placement.h"

enum { COPIES = 3, TARGETS_PER_HOST = 2, LOOKUPS = 2000000 };

static unsigned target_count = 1000, broken;
static uint32_t shard_count = 16384;
static struct ring_target *targets; /* one more than target_count: the one that joins */
static uint32_t *formed;

static size_t slot_count(void)
{
    return (size_t)shard_count * COPIES;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void row(const char *what, double value, double bound)
{
    printf("| %-58s | %9.4f |", what, value);
    if (bound > 0)
        printf(" %7.4f | %s\n", bound, value <= bound ? "ok" : "BROKEN");
    else
        printf("       - |\n");
    broken += bound > 0 && value > bound;
}

static void make_targets(void)
{
    targets = calloc(target_count + 1, sizeof *targets);
    CHECK(targets != NULL);
    for (uint32_t i = 0; i <= target_count; i++) {
        uint8_t digest[SHA1_SIZE];
        char *host = malloc(16);
        CHECK(host != NULL);
        (void)snprintf(host, 16, "host%u", i / TARGETS_PER_HOST);
        checksum_sha1(&i, sizeof i, digest);
        targets[i] = (struct ring_target){.id = i + 1, .host = host, .weight = RING_WEIGHT_MEAN};
        memcpy(targets[i].uuid.bytes, digest, UUID_SIZE);
    }
}

/* ---- what an assignment is like ---- */

static void count_load(const uint32_t *ids, unsigned step, uint32_t *load)
{
    memset(load, 0, (target_count + 2) * sizeof *load);
    for (size_t i = 0; i < slot_count(); i += step)
        load[ids[i]]++;
}

static double most_to_mean(const uint32_t *ids, unsigned step, unsigned members, double *ret_least)
{
    uint32_t *load = calloc(target_count + 2, sizeof *load), most = 0, least = UINT32_MAX;
    double mean = (double)slot_count() / step / members;
    CHECK(load != NULL);
    count_load(ids, step, load);
    for (uint32_t i = 1; i <= target_count + 1; i++) {
        most = load[i] > most ? load[i] : most;
        least = load[i] > 0 && load[i] < least ? load[i] : least;
    }
    free(load);
    if (ret_least)
        *ret_least = least / mean;
    return most / mean;
}

static unsigned shared_hosts(const uint32_t *ids)
{
    unsigned shared = 0;
    for (size_t i = 0; i < slot_count(); i++)
        for (size_t j = i - i % COPIES; j < i; j++)
            shared += (ids[i] - 1) / TARGETS_PER_HOST == (ids[j] - 1) / TARGETS_PER_HOST;
    return shared;
}

struct moves {
    size_t all, own; /* own: off targets that left */
    uint32_t most_received, receivers;
};

static struct moves compare(const uint32_t *before, const uint32_t *after, uint32_t left_from)
{
    struct moves m = {0};
    uint32_t *received = calloc(target_count + 2, sizeof *received);
    CHECK(received != NULL);
    for (size_t i = 0; i < slot_count(); i++) {
        if (before[i] == after[i])
            continue;
        m.all++;
        m.own += before[i] >= left_from;
        m.receivers += received[after[i]]++ == 0;
        if (received[after[i]] > m.most_received)
            m.most_received = received[after[i]];
    }
    free(received);
    return m;
}

/* ---- the scenarios ---- */

static int plan(const struct ring *r, const uint32_t *changed, unsigned count, uint32_t *ids)
{
    struct placement p = {.ring = r,
                          .shard_count = shard_count,
                          .copies = COPIES,
                          .changed = changed,
                          .changed_count = count};
    return placement_plan(&p, ids, NULL);
}

static void form(void)
{
    double started = now_s();
    struct ring *r = ring_create(targets, target_count);
    double created = now_s(), least;
    CHECK(ring_form(r, shard_count, COPIES, formed) == 0);
    double done = now_s();
    row("form: max / mean slots", most_to_mean(formed, 1, target_count, &least), 1.06);
    row("form: min / mean slots", least, 0);
    row("form: max / mean first slots (heads)", most_to_mean(formed, COPIES, target_count, NULL),
        0);
    row("form: slots of a chain that share a host", shared_hosts(formed), 0.5);
    row("form: make the ring, s", created - started, 0);
    row("form: assign all shards, s", done - created, 0);
    uint32_t *again = malloc(slot_count() * sizeof *again);
    CHECK(again != NULL);
    memcpy(again, formed, slot_count() * sizeof *again);
    CHECK(plan(r, NULL, 0, again) == 0);
    row("nothing changed: slots moved", (double)compare(formed, again, UINT32_MAX).all, 0.5);
    free(again);
    ring_destroy(r);
}

static void join(void)
{
    uint32_t *after = malloc(slot_count() * sizeof *after), joined = target_count + 1;
    struct ring *r = ring_create(targets, target_count + 1);
    CHECK(after != NULL);
    memcpy(after, formed, slot_count() * sizeof *after);
    CHECK(plan(r, &joined, 1, after) == 0);
    struct moves m = compare(formed, after, UINT32_MAX);
    uint32_t *load = calloc(target_count + 2, sizeof *load);
    CHECK(load != NULL);
    count_load(after, 1, load);
    double share = (double)slot_count() / (target_count + 1);
    row("join: slots moved / its fair share", (double)m.all / share, 1.25);
    row("join: slots of the newcomer / its fair share", load[joined] / share, 1.06);
    row("join: max / mean slots", most_to_mean(after, 1, target_count + 1, NULL), 1.06);
    row("join: slots of a chain that share a host", shared_hosts(after), 0.5);
    free(load);
    free(after);
    ring_destroy(r);
}

/* The last `count` targets leave for good. The bound on the hottest receiver is the design's for
 * one leaving; with about one slot for each receiver a second one alone doubles the mean. */
static void leave(unsigned count, const char *name, double hottest_bound)
{
    char what[80];
    uint32_t *after = malloc(slot_count() * sizeof *after);
    uint32_t left_from = target_count - count + 1;
    struct ring *r = ring_create(targets, target_count - count);
    CHECK(after != NULL);
    memcpy(after, formed, slot_count() * sizeof *after);
    CHECK(plan(r, NULL, 0, after) == 0);
    struct moves m = compare(formed, after, left_from);
    double mean = (double)m.all / m.receivers;
    (void)snprintf(what, sizeof what, "%s: slots moved / slots lost", name);
    row(what, (double)m.all / (double)m.own, 1.05);
    (void)snprintf(what, sizeof what, "%s: receivers", name);
    row(what, m.receivers, 0);
    (void)snprintf(what, sizeof what, "%s: hottest receiver / mean receiver", name);
    row(what, m.most_received / mean, hottest_bound);
    (void)snprintf(what, sizeof what, "%s: max / mean slots", name);
    row(what, most_to_mean(after, 1, target_count - count, NULL), 1.06);
    (void)snprintf(what, sizeof what, "%s: slots of a chain that share a host", name);
    row(what, shared_hosts(after), 0.5);
    free(after);
    ring_destroy(r);
}

static void lookup(void)
{
    uint64_t sum = 0;
    double started = now_s();
    for (uint32_t i = 0; i < LOOKUPS; i++)
        sum += formed[ring_shard_of_chunk(i * 2654435761u, i & 7, shard_count) * (size_t)COPIES];
    row("look-up chunk -> head, ns", (now_s() - started) * 1e9 / LOOKUPS, 0);
    CHECK(sum > 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        target_count = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        shard_count = (uint32_t)strtoul(argv[2], NULL, 10);
    if (target_count < 20 || (shard_count & (shard_count - 1)) != 0) {
        fprintf(stderr, "usage: sim-ring [TARGETS (20 or more) [SHARDS (a power of two)]]\n");
        return 2;
    }
    printf("%u targets on %u hosts, %u shards, %u copies\n", target_count,
           target_count / TARGETS_PER_HOST, shard_count, COPIES);
    formed = calloc(slot_count(), sizeof *formed);
    CHECK(formed != NULL);
    make_targets();
    form();
    join();
    leave(1, "one leaves", 1.3);
    leave(target_count / 50, "2 % leave", 0);
    lookup();
    printf("%s sim-ring: %u bounds are broken\n", broken ? "not ok" : "ok", broken);
    for (uint32_t i = 0; i <= target_count; i++)
        free((void *)(uintptr_t)targets[i].host);
    free(targets);
    free(formed);
    return broken ? EXIT_FAILURE : EXIT_SUCCESS;
}
