/* sim-chain's leader, for sim-chain alone. */
#ifndef CAIRN_TESTS_SIM_CHAIN_SIM_LEADER_H
#define CAIRN_TESTS_SIM_CHAIN_SIM_LEADER_H

#include "tests/sim/chain_sim.h"

void leader_init(struct world *w);
bool leader_all_insync(const struct world *w);

#endif
