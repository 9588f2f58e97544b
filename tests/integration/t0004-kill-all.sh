#!/bin/bash
# P1: kill -9 of all daemons in the middle of a writer that fsyncs file after file into a manifest on
# another file system: every file of the manifest is there with its sha256. ROUNDS=20 for the long form.
. "$(dirname "$0")/lib.sh"
begin t0004-kill-all
ROUNDS=${ROUNDS:-3}
cluster_up
lost=0 total=0
for round in $(seq "$ROUNDS"); do
    python3 "$here/manifest_writer.py" "$M" "$work/manifest" "$round" > "$work/writer.out" 2>&1 &
    writer=$!
    sleep $((2 + round % 2))
    "$cairn" dev kill --dir "$D" all > /dev/null 2>&1
    kill -9 $writer 2> /dev/null; wait $writer 2> /dev/null
    umount -l "$M" 2> /dev/null
    cluster_up
    result=$(timeout 120 python3 "$here/manifest_check.py" "$M" "$work/manifest") || { echo "# round $round: $result"; lost=$((lost + 1)); }
    total=$(wc -l < "$work/manifest")
done
echo "# $ROUNDS rounds, $total files fsynced and found"
check "no fsynced file lost in $ROUNDS rounds" test $lost -eq 0
check "the manifest is not empty" test "$total" -gt "$ROUNDS"
cluster_down
