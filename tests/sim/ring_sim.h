/* The simulated clusters of sim-ring: targets with capacities and failure domains, an assignment,
 * and what a change of the cluster did to it. */
#ifndef CAIRN_TESTS_RING_SIM_H
#define CAIRN_TESTS_RING_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "common/ring/placement.h"

enum { COPIES = 3, SHARDS = 16384, SLOTS = SHARDS * COPIES, CHANGES_MAX = 512 };

struct sim_target {
    uint32_t id; /* its index and one */
    unsigned host, rack, zone;
    uint32_t weight;
    bool in; /* false: gone for good, or not yet there */
};

struct world {
    struct sim_target *targets;
    unsigned count; /* with those that are not in */
    unsigned per_host, racks, zones;
    bool labelled; /* racks and zones are told */
    uint32_t *ids; /* the assignment: SLOTS */
};

/* `count` targets that are in and `spare` ones that may join. Weights are RING_WEIGHT_MEAN, or from
 * 1 to 4 times as much with `weighted`. racks = 0: neither racks nor zones are told. */
void world_init(struct world *w, unsigned count, unsigned spare, unsigned per_host, unsigned racks,
                unsigned zones, bool weighted);
/* Of the same targets, with an assignment of its own. */
void world_copy(struct world *w, const struct world *from);
void world_release(struct world *w);
struct ring *world_ring(const struct world *w);
/* Bytes of a shard, in chunks: counted by the hash of many of them. Made once. */
void world_count_chunks(void);

/* ---- how it stands, judged without the code that placed it ---- */

struct balance {
    double most, least, deviation; /* slots of a target / its share */
    double most_but_one;           /* the same with one slot less for each */
    double most_bytes;             /* bytes / what its share would have */
    double most_heads;             /* first slots / their share */
    double share_sum;              /* of all targets / SLOTS */
};
struct balance world_balance(const struct world *w);

/* Shards whose copies stand nearer than they must: two on one host, two in one rack or zone though
 * there are as many as copies. */
unsigned world_too_near(const struct world *w);

/* ---- changes ---- */

struct change {
    uint32_t changed[CHANGES_MAX]; /* ids */
    unsigned changed_count;
};
void change_note(struct change *c, uint32_t id);

struct outcome {
    double moved, ideal;         /* bytes, in chunks; ideal = no plan that obeys moves less */
    double hottest;              /* slots received by one / mean of those that received any */
    double hottest_but_one;      /* the same for each share, one slot not counted */
    unsigned receivers;          /* without those that changed */
    double cpu_ms;               /* of placement_plan */
    double poorest;              /* changed target: its share / (its slots + 1) */
    unsigned unfilled, too_near; /* of the assignment afterwards */
    bool enough_zones;           /* for the copies */
    struct balance balance;
};

/* Plans for the world as it is now, and takes the plan over. */
struct outcome world_follow(struct world *w, const struct change *c);
/* The slots of `id`, which is not in any more, one by one through ring_replacement. */
struct outcome world_repair(struct world *w, uint32_t id);

double cpu_s(void);

/* ---- ring_sim_events.c: the scenarios; each adds rows to the table ---- */

/* Judged when bound > 0; a value that is not a number stands for none. */
void row(const char *name, double value, double bound);
void run_plain(unsigned size);
void run_real(unsigned size);
struct worst {
    double moved;                /* bytes / ideal */
    double load, load_few_zones; /* (slots - 1) / share; with fewer zones than copies */
    double poorest;
};
/* One random life of a cluster; the worst figures are raised. Prints what went wrong and returns
 * false. */
bool run_life(uint64_t seed, unsigned size, unsigned steps, struct worst *ret_worst);

#endif
