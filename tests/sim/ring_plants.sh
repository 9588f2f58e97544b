#!/bin/sh
# Each planted bug must be caught by the placement simulator: compiles the ring and the simulator
# with one wrong line each (-DPLANT_x) and runs a small cluster. Run from anywhere.
#
#   PLANTS="ZONE LOAD"  only these
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
cc=${CC:-cc}
flags="-std=gnu11 -O1 -fno-strict-aliasing -D_FILE_OFFSET_BITS=64 -I$work -I$top"
: > "$work/config.h" # no optional libraries
for source in check checksum err prng; do
    $cc $flags -c "$top/common/base/$source.c" -o "$work/$source.o" || exit 1
done
for plant in ${PLANTS:-ZONE SUCCESSOR LOAD STICKY}; do
    # STICKY needs so many targets that a share is a few slots, LOAD so few that zones are tight.
    case $plant in STICKY) sizes=1000 ;; LOAD) sizes=10 ;; *) sizes=100 ;; esac
    if ! $cc $flags -DPLANT_$plant "$top"/common/ring/placement.c "$top"/common/ring/plan_*.c \
        "$top"/common/ring/replacement.c "$top"/common/ring/ring.c "$top"/common/ring/share.c \
        "$top"/common/ring/spread.c "$top"/tests/sim/ring_sim*.c "$work"/*.o \
        -lz -lcrypto -lpthread -lm ${PLANT_LIBS:-} -o "$work/sim" 2> "$work/errors"; then
        cat "$work/errors"
        echo "not ok plant $plant does not compile"
        failed=1
    elif SIZES=$sizes SEEDS=1 "$work/sim" > "$work/out"; then
        echo "not ok plant $plant was not caught"
        failed=1
    elif grep -q '^# BROKEN' "$work/out"; then
        echo "ok plant $plant caught"
        grep '^# BROKEN' "$work/out" | head -n 2
    else
        echo "not ok plant $plant ended otherwise"
        failed=1
    fi
done
exit $failed
