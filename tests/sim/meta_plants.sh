#!/bin/sh
# Shows that sim-meta can fail: compiles it with one planted bug at a time and runs seeds until a
# violation is found. Prints one line for each; exits 1 if a bug went unseen.
#
# usage: meta_plants.sh [PLANT...]     environment: CC, SEEDS (most per bug, 2000), EVENTS (15000)
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(mktemp -d "${TMPDIR:-/tmp}/meta-plants.XXXXXX") || exit 2
trap 'rm -rf "$build"' EXIT
trap 'exit 130' INT TERM
[ $# -gt 0 ] || set -- R11 R11_IMAGE R15 R16 R16_LONG R22 R28_SIM P_NLINK
export SEEDS="${SEEDS:-2000}" EVENTS="${EVENTS:-15000}" SEED=1 FAILURES=1
bad=0
: >"$build/config.h" # what configure would say; nothing of it matters here

cd "$top" || exit 2
sources=
for file in tests/sim/meta_sim*.c metaserver/raft/*.c metaserver/fs/*.c common/wire/*.c common/ring/*.c; do
    [ "$file" = metaserver/fs/kv_lmdb.c ] || sources="$sources $file"
done
for name in raft_sim raft_sim_disk raft_sim_fault raft_sim_member raft_sim_node raft_sim_oracle raft_sim_world; do
    sources="$sources tests/sim/$name.c"
done
for name in history plan rules search state; do
    sources="$sources tests/history/$name.c"
done
for name in buf bytes check checksum conf err prng; do
    sources="$sources common/base/$name.c"
done

object_of() { echo "$build/$(echo "$1" | tr / _).o"; }
compile() { # source object flag
    "${CC:-cc}" -std=gnu11 -O1 -fno-strict-aliasing -D_GNU_SOURCE "$3" -I"$build" -I"$top" -c -o "$2" "$1"
}
for file in $sources; do
    compile "$file" "$(object_of "$file")" -DNO_PLANT || exit 2
done

# Only what names the plant is compiled again.
build_with() { # plant
    # shellcheck disable=SC2086
    changed=$(grep -l "PLANT_$1\$" $sources | tr '\n' ' ')
    [ -n "$changed" ] || return 1
    objects=
    for file in $sources; do
        object=$(object_of "$file")
        case " $changed" in
        *" $file "*)
            object=$build/changed.$(echo "$file" | tr / _).o
            compile "$file" "$object" "-DPLANT_$1" || return 1
            ;;
        esac
        objects="$objects $object"
    done
    # shellcheck disable=SC2086
    "${CC:-cc}" -o "$build/sim" $objects -linih -ljansson -lz -lcrypto -lpthread
}

for plant in "$@"; do
    if ! build_with "$plant"; then
        echo "not ok plant $plant does not compile"
        bad=1
        continue
    fi
    case $plant in
    R16) export PROFILE=replay ;; # needs late answers to the leader
    *) unset PROFILE ;;
    esac
    "$build/sim" >"$build/out" 2>/dev/null
    seed=$(sed -n 's/^not ok sim\/meta seed=\([0-9]*\) .*/\1/p' "$build/out" | head -n 1)
    if [ -n "$seed" ]; then
        echo "ok plant $plant caught by sim-meta after $seed seeds"
        sed -n 's/^not ok sim\/meta seed=/#   seed=/p' "$build/out" | head -n 1
    else
        echo "not ok plant $plant not caught by sim-meta in $SEEDS seeds"
        bad=1
    fi
done
exit $bad
