#!/bin/sh
# Branch coverage of the Raft core by its unit tests and the simulator together. Prints each branch that
# was never taken, then the figure; exits 1 below 95 %. Branches into a failed CHECK, RULE or UNREACHABLE are left out:
# they would be broken invariants.
#
# usage: raft_coverage.sh     environment: CC, SEEDS (260 to have each profile 20 times), EVENTS
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(mktemp -d "${TMPDIR:-/tmp}/raft-coverage.XXXXXX")
trap 'rm -rf "$build"' EXIT
trap 'exit 130' INT TERM
cd "$build"
: >config.h # what configure would say; nothing of it matters here
flags="-std=gnu11 -fno-strict-aliasing -D_GNU_SOURCE -I$build -I$top"
base=""
for name in buf check checksum err prng; do
    base="$base $top/common/base/$name.c"
done
# shellcheck disable=SC2086
{
    "${CC:-cc}" $flags -O0 --coverage -c "$top"/metaserver/raft/*.c
    "${CC:-cc}" $flags -O1 -o sim ./*.o "$top"/tests/sim/raft_sim*.c $base -lgcov -lz -lcrypto -lpthread
    "${CC:-cc}" $flags -O1 -o unit ./*.o "$top"/tests/unit/metaserver/raft/*.c "$top"/tests/lib/tap.c \
        $base -lgcov -lcunit -lz -lcrypto -lpthread
}
./unit >unit.out || { grep -v '^ok' unit.out; exit 1; }
SEEDS="${SEEDS:-260}" ./sim
gcov -b -c ./*.gcda >gcov.out 2>&1
awk '
    FNR == 1 { depth = 0 }
    /^ *[-#=0-9*]+:/ {
        line = $0
        sub(/^ *[^:]*: */, "", line)
        text = line
        sub(/^[0-9]+:/, "", text)
        if (depth == 0 && text ~ /(CHECK|CHECK_OBJ|RULE|UNREACHABLE)\(/) { skip = 1; depth = 0; open = 1 }
        else if (!depth) skip = 0
        if (skip) {
            depth += gsub(/\(/, "(", text) - gsub(/\)/, ")", text)
        }
    }
    /^branch/ && !skip {
        all++
        if ($0 ~ /never executed|taken 0( |$)/) { missed++; printf "# %s:%s\n", substr(FILENAME, 1, length(FILENAME) - 5), line }
    }
    END {
        percent = all ? 100 * (all - missed) / all : 0
        printf "%s raft branch coverage %.1f %% (%d of %d)\n", percent < 95 ? "not ok" : "ok", percent, all - missed, all
        exit percent < 95
    }' ./*.c.gcov
