#!/bin/bash
# T5: a metaserver is killed before, within and after each of its calls to the disk, while it changes segments, writes
# checkpoints, stops, is filled by another's checkpoint (R9), builds its database anew (R11, R17, R18) or becomes a
# cluster of its own. It starts again each time and holds what was acknowledged, once (R22). The release build; EVERY=1:
# at every call.
CAIRN_BUILD=${CAIRN_BUILD:-${CAIRN_RELEASE:-}}
here=$(cd "$(dirname "$0")" && pwd)
build=${CAIRN_BUILD:-$here/../../build/release}
name=t0018-meta-killed-anywhere
for program in kill-at.so names-client small-log; do
    [ -x "$build/tests/integration/$program" ] || { echo "not ok $name: make check-programs first"; exit 1; }
done
work=$(mktemp -d "${CAIRN_TEST_DIR:-/var/tmp}/cairn-$name.XXXXXX")
if nice python3 "$here/kill_anywhere.py" "$build" "$work"; then
    rm -rf "$work"
    echo "ok $name: killed anywhere, it starts again with all that was acknowledged"
else
    echo "# kept: $work"
    echo "not ok $name: killed anywhere, it starts again with all that was acknowledged"
    exit 1
fi
