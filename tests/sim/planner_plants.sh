#!/bin/sh
# Each planted bug must be caught by the planner simulator. Run from anywhere; PLANTS, SEEDS: see planted.sh.
. "$(dirname "$0")/planted.sh"
planted_run "D1 D2 D2_LEASE D12 D13 D18_COPY D18_EARLY D18_LEAVE D19 D25 D26 MAINTENANCE" \
    "$top"/metaserver/cluster/*.c "$top"/tests/sim/planner_sim*.c \
    "$top"/tests/sim/chain_sim.c "$top"/tests/sim/chain_sim_client.c "$top"/tests/sim/chain_sim_oracle.c \
    "$top"/tests/sim/chain_sim_server.c "$top"/tests/sim/chain_sim_store.c "$top"/tests/sim/chain_sim_table.c
