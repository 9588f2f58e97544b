/* Measures placement at 10, 100 and 1,000 targets: balance, bytes moved by changes, receivers of
 * repairs, cost. Prints the table of docs/placement.md and fails when a bound of the design is
 * broken. Times are judged with TIMES=1 only, because they say as much about the machine.
 *   SEED= first seed of the random lives, SEEDS= how many for each size, SIZES="10 100" */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/sim/ring_sim.h"

enum { ROWS_MAX = 128, SIZES_MAX = 8, LOOKUPS = 200000, ROUNDS = 5 };

struct table_row {
    char name[96];
    double values[SIZES_MAX], bound;
    bool known[SIZES_MAX];
};

static struct table_row rows[ROWS_MAX];
static unsigned row_count, column, column_count, sizes[SIZES_MAX] = {10, 100, 1000};

static bool is_broken(const struct table_row *r, unsigned at)
{
    return r->known[at] && r->bound > 0 && !(r->values[at] <= r->bound);
}

void row(const char *name, double value, double bound)
{
    unsigned at = 0;
    while (at < row_count && strcmp(rows[at].name, name) != 0)
        at++;
    CHECK(at < ROWS_MAX);
    row_count = at == row_count ? at + 1 : row_count;
    (void)snprintf(rows[at].name, sizeof rows[at].name, "%s", name);
    rows[at].bound = bound;
    rows[at].values[column] = value;
    rows[at].known[column] = true;
}

static unsigned print_table(void)
{
    unsigned broken = 0;
    printf("| %-62s |", "figure");
    for (unsigned i = 0; i < column_count; i++)
        printf(" %7u |", sizes[i]);
    printf("  bound |\n|---|");
    for (unsigned i = 0; i <= column_count; i++)
        printf("---|");
    printf("\n");
    for (const struct table_row *r = rows; r < rows + row_count; r++) {
        printf("| %-62s |", r->name);
        for (unsigned i = 0; i < column_count; i++) {
            if (r->known[i])
                printf(" %7.*f |", r->values[i] >= 100 ? 0 : 3, r->values[i]);
            else
                printf("       - |");
        }
        if (r->bound > 0)
            printf(" %6.3g |\n", r->bound == 0.5 ? 0 : r->bound);
        else
            printf("      - |\n");
        for (unsigned i = 0; i < column_count; i++) {
            if (!is_broken(r, i))
                continue;
            broken++;
            printf("# BROKEN at %u targets: %s\n", sizes[i], r->name);
        }
    }
    return broken;
}

/* The best of a few rounds: what else runs on the machine only adds. */
static void lookup(bool judge_times)
{
    static uint32_t table[SLOTS];
    double lookup_best = 1e9, hash_best = 1e9;
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint8_t digest[SHA1_SIZE], key[12] = {0};
        double started = cpu_s();
        for (uint32_t i = 0; i < LOOKUPS; i++)
            sum += table[ring_shard_of_chunk(i * 2654435761u, i & 7, SHARDS) * (size_t)COPIES];
        double looked_up = cpu_s();
        for (uint32_t i = 0; i < LOOKUPS; i++) {
            memcpy(key, &i, sizeof i);
            checksum_sha1(key, sizeof key, digest);
            sum += digest[0];
        }
        lookup_best = fmin(lookup_best, looked_up - started);
        hash_best = fmin(hash_best, cpu_s() - looked_up);
    }
    CHECK(sum > 0);
    row("look-up chunk -> head with its SHA-1, ns", lookup_best * 1e9 / LOOKUPS,
        judge_times ? 120 : 0);
    row("look-up / its SHA-1 alone", lookup_best / hash_best, 2);
}

static unsigned long long number_from(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* Large clusters take long: fewer lives. */
static bool lives(uint64_t seed, unsigned size)
{
    struct worst worst = {.moved = 0};
    unsigned long long count = number_from("SEEDS", size < 100 ? 8 : size < 1000 ? 3 : 1);
    bool good = true;
    for (uint64_t i = 0; good && i < count; i++)
        good = run_life(seed + i, size, size < 1000 ? 10 : 3, &worst);
    row("random lives: worst bytes moved / ideal", worst.moved, 1.25);
    row("random lives: worst (max - 1) / share, slots", worst.load, 1.0501);
    row("random lives: the same with fewer zones than copies", worst.load_few_zones, 1.15);
    row("random lives: worst share / slots of the changed", worst.poorest, 1.06);
    if (!good)
        printf("# again: SEED=n SEEDS=1 SIZES=%u sim-ring, with the seed above\n", size);
    return good;
}

static void read_sizes(void)
{
    const char *text = getenv("SIZES");
    char *end;
    column_count = 3;
    if (!text || !*text)
        return;
    for (column_count = 0; column_count < SIZES_MAX; column_count++) {
        unsigned long size = strtoul(text, &end, 10);
        if (end == text)
            return;
        CHECK(size >= 10 && size <= 2000);
        sizes[column_count] = (unsigned)size;
        text = end;
    }
}

int main(void)
{
    uint64_t seed = number_from("SEED", 1);
    bool good = true;
    read_sizes();
    printf("# %d shards, %d copies, seed=%llu\n", SHARDS, COPIES, (unsigned long long)seed);
    world_count_chunks();
    for (column = 0; column < column_count; column++) {
        run_plain(sizes[column]);
        run_real(sizes[column]);
        good = lives(seed, sizes[column]) && good;
        lookup(number_from("TIMES", 0) != 0);
    }
    unsigned broken = print_table();
    good = good && broken == 0;
    printf("%s sim-ring: %u bounds are broken\n", good ? "ok" : "not ok", broken);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
