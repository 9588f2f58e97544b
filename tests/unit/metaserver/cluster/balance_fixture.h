/* A cluster under the planner whose shards have sizes: what moves is counted. */
#ifndef CAIRN_TESTS_CLUSTER_BALANCE_FIXTURE_H
#define CAIRN_TESTS_CLUSTER_BALANCE_FIXTURE_H

#include "common/base/prng.h"
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

enum { WORLD_SHARDS = 256 };

struct world {
    struct leader l;
    unsigned copies;
    uint64_t bytes[WORLD_SHARDS]; /* of one copy of the shard */
    uint64_t bytes_moved;
    uint32_t moves, repairs; /* begun */
    unsigned leaders_every;  /* steps; 0 = one leader */
    unsigned ends_per_mille; /* of the resyncs under way, in a step */
    struct prng random;
    unsigned not_full; /* steps at whose end a shard lacked a copy */
};
extern struct world world;

#define SILENT(...) ((const uint32_t[]){__VA_ARGS__, 0})

/* At most WORLD_SHARDS; copies 0: no table is formed yet. */
void world_start(unsigned targets, uint32_t shards, unsigned copies);
void world_finish(void);
void world_join(uint32_t number, uint64_t incarnation);
/* Another one, which knows nothing but the table. */
void world_change_leader(void);
/* Steps of 500 ms: plans are carried out, resyncs end within the step, or with ends_per_mille. */
void world_pass(unsigned steps, const uint32_t *silent);
/* Until nothing is left to do; then nothing is begun any more, by whichever leader. */
void world_settle(const uint32_t *silent);
bool world_is_still(void);
unsigned world_marks(void); /* targets that are to be balanced and can be */
uint64_t world_bytes(void); /* of all copies */
/* No target has more than 1.06 times its share, but for one slot. */
void world_expect_balance(void);
/* What moved is within 1.25 of these bytes. */
void world_expect_little(double ideal);
void world_set_admin(uint32_t target, enum target_admin admin);
void world_set_space(uint32_t target, uint64_t gibibytes, unsigned used_percent);
/* Target t stands in zone t % zones. */
void world_name_zones(unsigned targets, unsigned zones);

#endif
