#!/bin/sh
# Shows that the simulator can fail: compiles the Raft core with one planted bug at a time and runs
# seeds until a violation is found. Prints one line for each; exits 1 if a bug went unseen.
#
# usage: plants.sh [PLANT...]     environment: CC, SEEDS (most per bug, 6000), EVENTS (5000)
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(mktemp -d "${TMPDIR:-/tmp}/raft-plants.XXXXXX") || exit 2
trap 'rm -rf "$build"' EXIT
trap 'exit 130' INT TERM
if [ $# -eq 0 ]; then # all, in two halves at the same time
    sh "$0" R1 R2 R3 R4 R5 R6 R7 R8 R9 R9B > "$build/first" &
    half=$!
    sh "$0" R10 R11 R12 R12B R13 R13B R14 R15 R16 R27 JOIN > "$build/second"
    bad=$?
    wait $half || bad=1
    cat "$build/first" "$build/second"
    exit $bad
fi
export SEEDS="${SEEDS:-6000}" EVENTS="${EVENTS:-5000}" SEED=1 FAILURES=1
bad=0
: >"$build/config.h" # what configure would say; nothing of it matters here

compile() { # plant
    "${CC:-cc}" -std=gnu11 -O1 -fno-strict-aliasing -D_GNU_SOURCE "-DPLANT_$1" -I"$build" -I"$top" \
        -o "$build/sim-$1" "$top"/metaserver/raft/*.c "$top"/tests/sim/raft_sim*.c \
        "$top"/common/base/buf.c "$top"/common/base/check.c "$top"/common/base/err.c \
        "$top"/common/base/prng.c "$top"/common/base/checksum.c -lz -lcrypto -lpthread
}

for plant in "$@"; do
    if ! compile "$plant"; then
        echo "not ok plant $plant does not compile"
        bad=1
        continue
    fi
    # Plants whose mistake needs a rare pattern run on the profile that presses on it.
    case $plant in
    R1) export PROFILE=figure8 ;;
    R2 | R27) export PROFILE=crash ;;
    R16) export PROFILE=replay ;;
    R12 | R12B) export PROFILE=overlap ;;
    R13 | R13B) export PROFILE=members ;;
    JOIN) export PROFILE=wipe ;;
    R14) export PROFILE=links ;; # for its liveness, not for the lease it breaks as well
    *) unset PROFILE ;;
    esac
    "$build/sim-$plant" >"$build/out" 2>/dev/null
    seed=$(sed -n 's/^not ok sim\/raft seed=\([0-9]*\) .*/\1/p' "$build/out" | head -n 1)
    if [ -n "$seed" ]; then
        echo "ok plant $plant caught after $seed seeds"
        sed -n 's/^not ok sim\/raft seed=/#   seed=/p' "$build/out" | head -n 1
    else
        echo "not ok plant $plant not caught in $SEEDS seeds"
        bad=1
    fi
    rm -f "$build/sim-$plant"
done
exit $bad
