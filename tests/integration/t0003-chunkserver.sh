#!/bin/bash
# P3, P5: kill -9 of a chunkserver during a copy and during a read: no error, content equal; N copies
# come back by themselves; the server comes back and only what changed is copied.
. "$(dirname "$0")/lib.sh"
begin t0003-chunkserver
SIZE=${SIZE_MIB:-192}
cluster_up
head -c "${SIZE}M" /dev/urandom > "$work/big"
cp "$work/big" "$M/before"; sync -f "$M/before"
( cp "$work/big" "$M/during" && cp -r /usr/include/linux "$M/tree" ) > "$work/copy.out" 2>&1 &
copy=$!
sleep 0.5
"$cairn" dev kill --dir "$D" c2 > /dev/null
check "the copy goes on" wait $copy
check "read while one is dead" bash -c "echo 3 > /proc/sys/vm/drop_caches; cmp '$work/big' '$M/before'"
check "content of the copy" cmp "$work/big" "$M/during"
check "tree of the copy" diff -r /usr/include/linux "$M/tree"
check "N copies everywhere without it (down_out 10 s)" wait_for 90 all_copies
head -c 1M /dev/urandom > "$work/small"; cp "$work/small" "$M/small"
check "the server comes back" "$cairn" dev start --dir "$D" c2
check "everything in sync again" wait_for 60 all_copies
# Its slots went to others meanwhile: it gets its share again, which is not what is counted below.
filled() { grep -qh 'target.weight.*target=2 .*its load fits' "$D"/m*/log; }
check "it gets its share again" wait_for 400 filled
# Counters begin anew with the process: c3's count from 0, the others' from here.
resynced() { # SKIP: bytes that resyncs have written, over all servers but one
    status_json | python3 -c "
import json, sys
print(sum(t['resync_bytes'] for t in json.load(sys.stdin)['servers'] if t['id'] != '$1'))"
}
before=$(resynced c3)
"$cairn" dev kill --dir "$D" c3 > /dev/null
for i in $(seq 16); do head -c 64K "$work/small" > "$M/small.$i"; done # about half of them belong on c3
check "a short absence: the server comes back" "$cairn" dev start --dir "$D" c3
check "in sync again" wait_for 60 all_copies
has_copied() { [ "$(resynced none)" -gt "$before" ]; } # the counters come with the next heartbeat
check "the missing part was copied" wait_for 10 has_copied
copied=$(($(resynced none) - before))
echo "# resync after a short absence copied $copied bytes, 1 MiB was written meanwhile"
check "and nothing else" test "$copied" -lt $((8 << 20))
(timeout 60 cat "$M/before" > "$work/read") &
reader=$!
sleep 0.1; "$cairn" dev kill --dir "$D" c1 > /dev/null
check "a read survives a kill" wait $reader
check "and is right" cmp "$work/big" "$work/read"
check "remount" remount
check "content equal in the end" cmp "$work/big" "$M/during"
cluster_down
