#!/bin/bash
# P3, P5: a server joins a cluster that is full of data: it gets its share by itself, with little more
# moved than that, while files are written and a metaserver dies; then nothing moves any more.
. "$(dirname "$0")/lib.sh"
begin t0030-balance
FILES=${FILES:-800} WAIT=${WAIT:-400}
trap 'code=$?; [ -e "$work/c5.pid" ] && kill "$(cat "$work/c5.pid")" 2> /dev/null; (exit $code); finish' EXIT
cluster_up
# Files of one chunk each, so that every shard has about as much as another.
mkdir "$work/many"
for i in $(seq "$FILES"); do head -c 64K /dev/urandom > "$work/many/$i"; done
mkdir "$work/more"
for i in $(seq $((FILES / 8))); do head -c 64K /dev/urandom > "$work/more/$i"; done
cp -r "$work/many" "$M/before" && sync -f "$M/before"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$D/c5"
sed -e 's/\bc1\b/c5/g' -e "s/^listen = .*/listen = 127.0.0.1:$port/" "$D/c1/chunkserver.conf" > "$D/c5/chunkserver.conf"
data=$(sed -n 's/^data = //p' "$D/c5/chunkserver.conf") # as an operator makes it
mkdir -p "$(dirname "$data")"
"$build/chunkserver/cairn-chunkserver" --config "$D/c5/chunkserver.conf" > "$D/c5/log" 2>&1 &
echo $! > "$work/c5.pid"
slots() { status_json | python3 -c "
import json, sys
print(sum(t['slots'] for t in json.load(sys.stdin)['servers'] if '$1' in ('all', t['id'])))"; }
begun() { [ "$(slots c5)" -ge 20 ]; }
fits() { grep -qh 'target.weight.*target=5 .*its load fits' "$D"/m*/log; }
check "it gets slots" wait_for "$WAIT" begun
"$cairn" dev kill --dir "$D" leader > /dev/null
check "files can be written meanwhile" cp -r "$work/more" "$M/during"
check "it has its share" wait_for "$WAIT" fits
total=$(slots all) share=$(slots c5)
echo "# $share of $total slots"
check "which is a fifth" test $((share * 5 * 100)) -ge $((total * 97)) -a $((share * 5 * 100)) -le $((total * 106))
most=$(status_json | python3 -c "
import json, sys
print(max(t['slots'] for t in json.load(sys.stdin)['servers']))")
check "no server has more than 6 % above the mean" test $(((most - 1) * 5 * 100)) -le $((total * 106))
moved() { status_json | python3 -c "
import json, sys
print(sum(t['resync_bytes'] for t in json.load(sys.stdin)['servers']))"; }
stored=$(((FILES + FILES / 8) * 65536 * 2)) copied=$(moved)
echo "# moved $copied bytes of $stored in all copies"
check "at most 1.25 of its share has moved" test $((copied * 5 * 100)) -le $((stored * 125))
check "every copy is there" wait_for 30 all_copies
sleep 15 # longer than a target takes to settle
check "nothing moves any more" test "$(slots c5)" = "$share" -a "$(moved)" = "$copied"
check "remount" remount
check "content before" diff -r "$work/many" "$M/before"
check "content during" diff -r "$work/more" "$M/during"
cluster_down
