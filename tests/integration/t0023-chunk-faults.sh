#!/bin/bash
# T13: chunk files that are stale, missing, cut off, damaged, exchanged ... on one, two and three of three copies.
# Right contents while one copy is good, else EIO: never zeros, never something else (D2 D3 D8 D19 D20).
. "$(dirname "$0")/lib.sh"
begin t0023-chunk-faults
for how in ${HOW:-index headers}; do
    D=$work/$how
    cluster_up --chunk 3 --replicas 3
    timeout 300 python3 "$here/chunk_faults.py" "$cairn" "$D" "$work" $how > "$work/$how.out" 2> "$work/$how.err" ||
        { tail -5 "$work/$how.err" | sed 's/^/# /'; not_ok "$how ran to its end"; }
    cat "$work/$how.out"
    cluster_down
    failed_steps=$((failed_steps + $(grep -c '^not ok' "$work/$how.out")))
done
[ $failed_steps -eq 0 ]
