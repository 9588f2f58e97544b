# Sourced by chain_plants.sh and planner_plants.sh. Compiles the cores and a simulator, then for each plant
# the files that hold it anew (-DPLANT_x), and runs seeds until a violation.
#
#   PLANTS="D1 GAP"  only these      SEEDS=n  at most so many seeds each (default 3000)
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc}
flags="-std=gnu11 -O1 -fno-strict-aliasing -D_FILE_OFFSET_BITS=64 -I$work -I$top"
: > "$work/config.h" # no optional libraries

build() { # SOURCE FLAGS...
    source=$1
    shift
    object=$(echo "${source#"$top"/}" | tr / -)
    $cc $flags "$@" -c "$source" -o "$work/${object%.c}.o"
}

planted_run() { # DEFAULT-PLANTS SOURCES-OF-THE-SIMULATOR...
    plants=${PLANTS:-$1}
    shift
    failed=0
    for source in "$top"/common/base/*.c "$top"/common/wire/*.c; do
        build "$source" || exit 1
    done
    ar rc "$work/libbase.a" "$work"/*.o && rm "$work"/*.o || exit 1
    for source in "$top"/common/ring/*.c "$top"/chunkserver/chain/*.c "$top"/chunkserver/lease.c \
        "$top"/chunkserver/views.c "$@"; do
        build "$source" || exit 1
    done
    for plant in $plants; do
        started=$(date +%s)
        planted=$(grep -lw "PLANT_$plant" -r "$top/chunkserver" "$top/common/ring" "$top/metaserver/cluster" --include='*.c')
        for source in $planted; do
            build "$source" "-DPLANT_$plant" || exit 1
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
            what=$(sed -n 's/^# at [0-9]* ms: //p' "$work/out" | head -1)
            echo "ok plant $plant caught after ${seeds:-?} seeds, $(($(date +%s) - started)) s: $what"
        fi
    done
    exit $failed
}
