#!/bin/bash
# Builds Cairn and runs all its tests on a Debian 12 machine (missing packages are installed).
#   ./check.sh [lint|unit|sim|integration|analysis]...   only these parts
# Longer runs: SEEDS=100000 EVENTS=10000 ROUNDS=100 ./check.sh sim
# The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")" || exit 1
src=$PWD
parts=${*:-lint unit sim analysis integration}
jobs=$(nproc)
out=${CAIRN_BUILD_DIR:-$src/build}
mkdir -p "$out" || exit 1
log=$out/check.log
: > "$log"
started=$SECONDS

sh packaging/install-packages.sh check || exit 1
# shellcheck source=tests/lib/counting.sh
. tests/lib/counting.sh

configured() { # FOLDER CONFIGURE-ARGUMENTS...
    local folder=$out/$1; shift
    mkdir -p "$folder"
    if [ ! -e "$folder/Makefile" ] || [ configure -nt "$folder/config.status" ]; then
        (cd "$folder" && "$src/configure" -q "$@") >> "$log" 2>&1 || { tail -20 "$log"; return 1; }
    fi
}
build() { # NAME FOLDER TARGETS...
    local name=$1 folder=$out/$2; shift 2
    if make -s -C "$folder" -j"$jobs" "$@" > "$folder/make.log" 2>&1; then
        count_line "ok build/$name"
    else
        grep -E 'error|Error|warning' "$folder/make.log" | head -20
        count_line "not ok build/$name"
        return 1
    fi
}

[ -x configure ] && [ configure -nt configure.ac ] && [ configure -nt Makefile.am ] || ./autogen.sh >> "$log" 2>&1 || { tail -20 "$log"; exit 1; }
configured release CFLAGS="-O2 -g" && build release release all check-programs || { summary; exit 1; }
configured asan --enable-sanitize=address,undefined CFLAGS="-O1 -g" && build asan asan all check-programs || { summary; exit 1; }
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
export CAIRN_RELEASE=$out/release CAIRN_ASAN=$out/asan

for part in $parts; do
    echo "== $part"
    . "tests/parts/$part.sh" || { echo "no such part: $part" >&2; exit 2; }
done
echo "took $((SECONDS - started)) s; details in $log"
summary
