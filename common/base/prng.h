/* Seedable generator, the only source of chance outside key making: xoshiro256** (Blackman, Vigna
 * 2018), seeded by splitmix64. The state belongs to the caller; one thread at a time. */
#ifndef CAIRN_BASE_PRNG_H
#define CAIRN_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t state[4];
};

void prng_init(struct prng *p, uint64_t seed);
uint64_t prng_next(struct prng *p);
uint64_t prng_below(struct prng *p, uint64_t limit); /* 0 <= result < limit; limit > 0 */
uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high); /* both ends included */
bool prng_chance(struct prng *p, unsigned per_mille);

#endif
