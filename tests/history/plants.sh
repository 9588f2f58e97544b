#!/bin/bash
# Shows that t0012 can fail: builds the metaserver and the recorder with one planted bug at a time and
# records histories under faults until one is refused. Prints one line for each; exits 1 if a bug went
# unseen. Needs a finished build folder, which it copies (60 MB each, removed at the end).
#
# usage: plants.sh BUILD-FOLDER [PLANT...]      environment: RUNS (most per bug, 20), SEED
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:?usage: plants.sh BUILD-FOLDER [PLANT...]}" && pwd) || exit 2
shift
[ $# -gt 0 ] || set -- R15 R16_LONG R22 R23_NEW
here=$(mktemp -d "${TMPDIR:-/var/tmp}/history-plants.XXXXXX") || exit 2
trap 'rm -rf "$here"' EXIT
trap 'exit 130' INT TERM
programs="metaserver/cairn-metaserver tests/history/history-run tests/history/history-check"
bad=0

compile() { # plant
    cp -a "$build" "$here/$1" || return 1
    (cd "$top" && grep -rl --include='*.c' "PLANT_$1\$" common metaserver) > "$here/files"
    [ -s "$here/files" ] || { echo "no line says PLANT_$1" > "$here/make.log"; return 1; }
    sed "s|^|$here/$1/|; s|c\$|o|" "$here/files" | xargs rm -f
    # shellcheck disable=SC2086
    make -s -C "$here/$1" "PLANT=-DPLANT_$1" $programs > "$here/make.log" 2>&1
}

for plant in "$@"; do
    if ! compile "$plant"; then
        tail -5 "$here/make.log" | sed 's/^/# /'
        echo "not ok history/plant $plant does not compile"
        bad=1
        continue
    fi
    # The faults that press on it.
    case $plant in
    R22 | R23_NEW) faults=kill,cut ;;
    R16_LONG) faults=cut ;;
    R15) faults=kill ;;
    *) faults=kill,pause,cut ;;
    esac
    SEED=${SEED:-1} RUNS=${RUNS:-20} STOP=1 FAULTS=$faults CAIRN_BUILD=$here/$plant CAIRN_TEST_DIR=$here \
        bash "$top/tests/integration/t0012-linearizable.sh" > "$here/out" 2>&1
    figures=$(grep '^# runs ' "$here/out")
    runs=$(echo "$figures" | sed 's/^# runs \([0-9]*\).*/\1/')
    case $figures in
    *'violations 0' | '')
        tail -5 "$here/out" | sed 's/^/# /'
        echo "not ok history/plant $plant not caught in ${runs:-0} runs"
        bad=1
        ;;
    *)
        echo "ok history/plant $plant caught after $runs runs"
        grep -E '^# (operations=|group|rule)' "$here/out" | head -3 | sed 's/^# /#   /'
        ;;
    esac
    rm -rf "${here:?}/$plant" "$here"/cairn-t0012*
done
exit $bad
