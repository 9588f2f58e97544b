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
before=$(status_value repair.resync_bytes)
head -c 1M /dev/urandom > "$work/small"; cp "$work/small" "$M/small"
check "the server comes back" "$cairn" dev start --dir "$D" c2
check "everything in sync again" wait_for 60 all_copies
"$cairn" dev kill --dir "$D" c3 > /dev/null
cp "$work/small" "$M/small2"
check "a short absence: the server comes back" "$cairn" dev start --dir "$D" c3
check "in sync again" wait_for 60 all_copies
after=$(status_value repair.resync_bytes)
echo "# resync bytes: after re-replication $before, after a short absence $after"
(timeout 60 cat "$M/before" > "$work/read") &
reader=$!
sleep 0.1; "$cairn" dev kill --dir "$D" c1 > /dev/null
check "a read survives a kill" wait $reader
check "and is right" cmp "$work/big" "$work/read"
check "remount" remount
check "content equal in the end" cmp "$work/big" "$M/during"
cluster_down
