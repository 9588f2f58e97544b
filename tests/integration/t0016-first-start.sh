#!/bin/bash
# A metaserver by itself, with nothing configured but its folder, starts and leads; and a first start that
# is killed at any of its calls to the disk is taken up by the next one (R17, D17).
# The release build; EVERY=1 kills at every call, otherwise at every third.
CAIRN_BUILD=${CAIRN_BUILD:-${CAIRN_RELEASE:-}}
[ -n "$CAIRN_BUILD" ] || unset CAIRN_BUILD
here=$(cd "$(dirname "$0")" && pwd)
daemon=${CAIRN_BUILD:-$here/../../build/release}/metaserver/cairn-metaserver
work=$(mktemp -d "${CAIRN_TEST_DIR:-/var/tmp}/cairn-t0016-first-start.XXXXXX")
arguments=(--cluster 16161616-2222-3333-4444-555555555555 --data "$work/m" --log-file "$work/log" --shards 8)
calls=mkdir,openat,rename,renameat,fsync,fdatasync,pwrite64,fallocate
failed=0 killed=0 last=0 pid=
trap '[ -z "$pid" ] || kill -9 $pid 2> /dev/null; [ $failed -gt 0 ] || rm -rf "$work"' EXIT

# Runs the daemon until it leads; on a port that the kernel gave a moment ago.
leads() {
    local port i
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    rm -f "$work/log"
    "$daemon" "${arguments[@]}" --listen "127.0.0.1:$port" > "$work/out" 2>&1 &
    pid=$!
    for i in $(seq 600); do
        grep -qs leader.ready "$work/log" && break
        kill -0 $pid 2> /dev/null || break
        sleep 0.05
    done
    kill -9 $pid 2> /dev/null; wait $pid 2> /dev/null; pid=
    grep -qs leader.ready "$work/log"
}

if leads; then echo "ok t0016-first-start: a lone metaserver leads"; else
    sed 's/^/# /' "$work/out"; echo "not ok t0016-first-start: a lone metaserver leads"; failed=1
fi
if leads; then echo "ok t0016-first-start: it does so again"; else
    sed 's/^/# /' "$work/out"; echo "not ok t0016-first-start: it does so again"; failed=1
fi
if ! strace -qq -o /dev/null true 2> /dev/null; then
    echo "ok t0016-first-start # skipped: the kills need strace"
    exit $failed
fi
for n in $(seq 1 "${EVERY:-3}" 400); do
    rm -rf "$work/m" "$work/log"
    strace -f -qq -o /dev/null -e "trace=$calls" -e "inject=$calls:signal=KILL:when=$n" \
        "$daemon" "${arguments[@]}" --listen 127.0.0.1:0 > "$work/out" 2>&1 &
    tracer=$!
    for _ in $(seq 300); do kill -0 $tracer 2> /dev/null || break; sleep 0.05; done
    pkill -9 -P $tracer # no call was left to be killed at
    wait $tracer 2> /dev/null
    killed=$((killed + 1))
    left=$(cd "$work" && find m 2> /dev/null | tr '\n' ' ')
    grep -qs meta.start "$work/log" && last=1
    if ! leads; then
        sed 's/^/# /' "$work/out"
        echo "# killed at call $n, which left: $left"
        echo "not ok t0016-first-start: a killed first start is taken up"
        failed=1
        break
    fi
    [ $last = 0 ] || break # all calls of a start have had their turn
done
[ $failed -eq 0 ] && echo "ok t0016-first-start: a first start killed at any of its calls is taken up" && echo "# killed at $killed places"
exit $failed
