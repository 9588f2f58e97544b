#!/bin/bash
# T8, R19-R21: errors of the calls on a metaserver's files lose nothing that was acknowledged and stop nobody else;
# the process goes on, steps down, or ends with a message, and comes back by itself when the error is gone.
#   a slice of BUDGET (28) seconds from SEED; ALL=1 for the whole matrix; CELLS='run fsync EIO' for those that match
# The release build: fail_at.so is preloaded.
CAIRN_BUILD=${CAIRN_BUILD:-${CAIRN_RELEASE:-}}
[ -n "$CAIRN_BUILD" ] || unset CAIRN_BUILD
here=$(cd "$(dirname "$0")" && pwd)
build=${CAIRN_BUILD:-$here/../../build/release}
work=$(mktemp -d "${CAIRN_TEST_DIR:-/var/tmp}/cairn-t0019-meta-io-errors.XXXXXX")
python3 "$here/meta_io_errors.py" "$build" "$work"
code=$?
if grep -anE 'check failed|ERROR: (Address|Leak)|runtime error' "$work"/*.log "$work"/*.err 2> /dev/null | sed 's/^/# /' | grep .; then
    echo "not ok t0019-meta-io-errors: no daemon met a broken invariant"
    code=1
fi
if [ $code -eq 0 ]; then rm -rf "$work"; else echo "# kept: $work"; fi
exit $code
