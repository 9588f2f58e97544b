#!/bin/sh
# Each planted bug must be caught by the chain simulator: compiles the core and the simulator with
# one wrong line each (-DPLANT_x) and runs seeds until a violation. Run from anywhere.
#
#   PLANTS="D1 GAP"  only these      SEEDS=n  at most so many seeds each (default 3000)
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
cc=${CC:-cc}
flags="-std=gnu11 -O1 -fno-strict-aliasing -D_FILE_OFFSET_BITS=64 -I$work -I$top"
: > "$work/config.h" # no optional libraries
for source in "$top"/common/base/*.c "$top"/common/wire/*.c "$top"/common/ring/*.c; do
    case $source in */shard_*) continue ;; esac # these hold plants
    $cc $flags -c "$source" -o "$work/base-$(basename "$source" .c).o" || exit 1
done
ar rc "$work/libbase.a" "$work"/base-*.o || exit 1
for plant in ${PLANTS:-D1 D2 D9 D12 D13 D14 D19 GAP LEAVING LEFT BEHIND}; do
    if ! $cc $flags -DPLANT_$plant "$top"/chunkserver/chain/*.c "$top"/tests/sim/chain_sim*.c \
        "$top"/common/ring/shard_*.c "$top"/chunkserver/views.c "$work/libbase.a" -lz -lcrypto -lpthread ${PLANT_LIBS:-} -o "$work/sim" 2> "$work/errors"; then
        cat "$work/errors"
        echo "not ok plant $plant does not compile"
        failed=1
        continue
    fi
    if SEEDS=${SEEDS:-3000} "$work/sim" > "$work/out"; then
        echo "not ok plant $plant was not caught"
        failed=1
    else
        seeds=$(sed -n 's/^# caught after \([0-9]*\) seeds$/\1/p' "$work/out")
        echo "ok plant $plant caught after ${seeds:-?} seeds"
    fi
done
exit $failed
