#!/bin/sh
# Each planted bug must be caught by the chain simulator. Run from anywhere; PLANTS, SEEDS: see planted.sh.
. "$(dirname "$0")/planted.sh"
planted_run "D1 D2 D9 D12 D13 D14 D19 GAP LEAVING LEFT BEHIND" "$top"/tests/sim/chain_sim*.c
