# Real daemons on loopback with a real mount. Sourced by the tests of this folder.
#
# A test calls `begin NAME`, then cluster_up and steps; each step prints "ok NAME: step" or "not ok".
# Everything lives under $work on a real disk (never tmpfs) and is removed when the test passed.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${CAIRN_BUILD:-${CAIRN_ASAN:-$here/../../build/release}}
cairn=$build/tools/cairn
failed_steps=0

begin() {
    test_name=$1
    work=$(mktemp -d "${CAIRN_TEST_DIR:-/var/tmp}/cairn-$test_name.XXXXXX")
    D=$work/cluster M=$work/mnt
    mkdir -p "$M"
    trap finish EXIT
    if [ "$(id -u)" -ne 0 ] || [ ! -e /dev/fuse ]; then
        echo "ok $test_name # skipped: needs root and /dev/fuse"
        exit 0
    fi
}

ok() { echo "ok $test_name: $1"; }
not_ok() { echo "not ok $test_name: $1"; failed_steps=$((failed_steps + 1)); }
# check NAME COMMAND...: the step succeeds when the command does.
check() {
    local name=$1; shift
    if "$@" > "$work/step.out" 2>&1; then ok "$name"; else
        tail -15 "$work/step.out" | sed 's/^/# /'
        not_ok "$name"
    fi
}
# refuse NAME CODE PATTERN COMMAND...: it must fail with this exit code and say PATTERN.
refuse() {
    local name=$1 code=$2 pattern=$3 status; shift 3
    timeout 30 "$@" > "$work/step.out" 2>&1
    status=$?
    if [ "$status" -eq "$code" ] && grep -qE "$pattern" "$work/step.out"; then ok "$name"; else
        echo "# exit $status, wanted $code; said:"; tail -5 "$work/step.out" | sed 's/^/# /'
        not_ok "$name"
    fi
}

cluster_up() { timeout 60 "$cairn" dev up --dir "$D" --mount "$M" "$@" > "$work/up.out" 2>&1 || {
    sed 's/^/# /' "$work/up.out"; not_ok "cluster starts"; exit 1; }; }
cluster_down() { timeout 60 "$cairn" dev down --dir "$D" > "$work/down.out" 2>&1; }
remount() {
    timeout 30 "$cairn" umount "$M" && sync && echo 3 > /proc/sys/vm/drop_caches && cluster_up
}
# The status as one JSON value: status_value '.copies.under' style paths, by python for portability.
status_json() { timeout 20 "$cairn" status --cluster "$D" -o json; }
status_value() { status_json | python3 -c "
import json,sys
v=json.load(sys.stdin)
for k in '$1'.split('.'): v=v[k]
print(v)" 2>/dev/null; }
# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)); shift
    until "$@" > /dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.3; done
}
all_copies() { [ "$(status_value copies.under)" = 0 ] && [ "$(status_value copies.unavailable)" = 0 ]; }

finish() {
    local code=$?
    "$cairn" umount --force "$M" > /dev/null 2>&1
    [ -e "$D/cluster.ini" ] && timeout 60 "$cairn" dev down --dir "$D" > /dev/null 2>&1
    umount -l "$M" 2> /dev/null
    for log in "$D"/*/log; do
        [ -e "$log" ] || continue
        if grep -nE 'check failed|meta\.diverged|ERROR: (Address|Undefined|Leak)|runtime error' "$log" > /dev/null; then
            grep -nE -A12 'check failed|meta\.diverged|ERROR: (Address|Undefined|Leak)|runtime error' "$log" | head -30 | sed 's/^/# /'
            not_ok "no daemon met a broken invariant (${log#"$D"/})"
        fi
    done
    if [ $failed_steps -eq 0 ] && [ $code -eq 0 ]; then rm -rf "$work"; else
        for log in "$D"/*/log; do [ -e "$log" ] && { echo "# --- ${log#"$D"/}"; tail -5 "$log" | sed 's/^/# /'; }; done
        echo "# kept: $work"
        [ $failed_steps -gt 0 ] && exit 1
    fi
    [ $failed_steps -eq 0 ] || exit 1
}
