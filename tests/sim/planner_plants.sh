#!/bin/sh
# Each planted bug must be caught by the planner simulator: compiles planner, table and core with one
# wrong line each (-DPLANT_x) and runs seeds until a violation. Run from anywhere.
#
#   PLANTS="D18 D26"  only these      SEEDS=n  at most so many seeds each (default 3000)
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
cc=${CC:-cc}
flags="-std=gnu11 -O1 -fno-strict-aliasing -D_FILE_OFFSET_BITS=64 -I$work -I$top"
: > "$work/config.h" # no optional libraries
build() { # SOURCE FLAGS...
    source=$1; shift
    object=$(echo "${source#"$top"/}" | tr / -)
    $cc $flags "$@" -c "$source" -o "$work/${object%.c}.o"
}
for source in "$top"/common/base/*.c "$top"/common/wire/*.c; do
    build "$source" || exit 1
done
ar rc "$work/libbase.a" "$work"/*.o && rm "$work"/*.o || exit 1
for source in "$top"/common/ring/*.c "$top"/chunkserver/chain/*.c "$top"/chunkserver/lease.c "$top"/chunkserver/views.c \
    "$top"/metaserver/cluster/*.c "$top"/tests/sim/chain_sim*.c "$top"/tests/sim/planner_sim*.c; do
    case $source in */chain_sim_leader.c | */chain_sim_main.c) continue ;; esac # sim-chain's
    build "$source" || exit 1
done
for plant in ${PLANTS:-D1 D2 D2_LEASE D12 D13 D18 D18_EARLY D18_LEAVE D19 D25 D26}; do
    started=$(date +%s)
    planted=$(grep -lw "PLANT_$plant" -r "$top/chunkserver" "$top/common/ring" "$top/metaserver/cluster" --include='*.c')
    for source in $planted; do
        build "$source" -DPLANT_$plant || echo "not ok plant $plant does not compile"
    done
    $cc "$work"/*.o "$work/libbase.a" -lz -lcrypto -lpthread ${PLANT_LIBS:-} -o "$work/sim" || exit 1
    for source in $planted; do
        build "$source"
    done
    if SEEDS=${SEEDS:-3000} "$work/sim" > "$work/out"; then
        echo "not ok plant $plant was not caught"
        failed=1
    else
        seeds=$(sed -n 's/^# caught after \([0-9]*\) seeds$/\1/p' "$work/out")
        echo "ok plant $plant caught after ${seeds:-?} seeds, $(($(date +%s) - started)) s: $(sed -n 's/^# at [0-9]* ms: //p' "$work/out" | head -1)"
    fi
done
exit $failed
