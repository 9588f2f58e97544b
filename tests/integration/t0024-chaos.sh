#!/bin/bash
# T9 small; D1 D2 D4 D12 D13 D14 D15 D18 D19, P1 P2 P3 P6: five chunkservers, three metaservers and two mounts while daemons
# are killed and paused, links lose packets one way, and a server is drained. No error, no lost byte, N equal copies, nothing left over.
#   RUNS=10 LENGTH=180 for the long form; FAULTS=kill-meta,kill-chunk,pause,cut,drain
# A network namespace of its own.
here=$(cd "$(dirname "$0")" && pwd)
build=${CAIRN_BUILD:-${CAIRN_ASAN:-$here/../../build/release}}
if [ "$(id -u)" -ne 0 ] || [ ! -e /dev/fuse ] || ! command -v nft > /dev/null || ! unshare --net true 2> /dev/null; then
    echo "ok t0024-chaos # skipped: needs root, FUSE, nft and network namespaces"
    exit 0
fi
work=$(mktemp -d "${CAIRN_TEST_DIR:-/var/tmp}/cairn-t0024-chaos.XXXXXX")
unshare --net python3 "$here/chaos.py" "$build" "$work"
code=$?
pkill -9 -f "$work" 2> /dev/null
umount -l "$work"/f? 2> /dev/null
if grep -nE 'check failed|meta\.diverged|ERROR: (Address|Leak|Undefined)|runtime error' "$work"/*.log "$work"/*.err 2> /dev/null | sed 's/^/# /' | head -20 | grep .; then
    echo "not ok t0024-chaos: no daemon met a broken invariant"
    code=1
fi
if [ $code -eq 0 ]; then rm -rf "$work"; else echo "# kept: $work"; fi
exit $code
