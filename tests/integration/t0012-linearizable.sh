#!/bin/bash
# P2, P3; R15, R16, R22, R23, R25: what eight concurrent clients are told about names and attributes is
# linearizable while metaservers are killed, paused and cut off. Two checkers judge each history.
#   RUNS=50 for the long form; OPS (10000) operations in a run; FAULTS=kill,kill-all,pause,cut
# A network namespace of its own, real daemons of the release build (timing is what it is about).
CAIRN_BUILD=${CAIRN_BUILD:-${CAIRN_RELEASE:-}}
[ -n "$CAIRN_BUILD" ] || unset CAIRN_BUILD
here=$(cd "$(dirname "$0")" && pwd)
build=${CAIRN_BUILD:-$here/../../build/release}
if [ "$(id -u)" -ne 0 ] || ! command -v nft > /dev/null || ! unshare --net true 2> /dev/null; then
    echo "ok t0012-linearizable # skipped: needs root, nft and network namespaces"
    exit 0
fi
work=$(mktemp -d "${CAIRN_TEST_DIR:-/var/tmp}/cairn-t0012-linearizable.XXXXXX")
unshare --net python3 "$here/history_faults.py" "$build" "$work"
code=$?
if grep -nE 'check failed|meta\.diverged|ERROR: (Address|Leak)|runtime error' "$work"/m?.log "$work"/m?.err 2> /dev/null | sed 's/^/# /' | grep .; then
    echo "not ok t0012-linearizable: no daemon met a broken invariant"
    code=1
fi
if [ $code -eq 0 ]; then rm -rf "$work"; else echo "# kept: $work"; fi
exit $code
