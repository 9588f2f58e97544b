#!/bin/bash
# P4: one flipped byte in a chunk file: reads stay right, the copy is repaired and counted. A chunk file
# removed from all copies: EIO, never zeros (D8).
. "$(dirname "$0")/lib.sh"
begin t0006-bad-disk
cluster_up
head -c 3M /dev/urandom > "$work/a"; cp "$work/a" "$M/a"; sync -f "$M/a"
head -c 1M /dev/urandom > "$work/b"; cp "$work/b" "$M/b"; sync -f "$M/b"
cold() { { mountpoint -q "$M" && "$cairn" umount "$M"; }; sync && echo 3 > /proc/sys/vm/drop_caches && cluster_up; }
chunk_files() { # INODE -> its chunk files on all servers
    find "$D"/c*/data -type f -name "$(printf '%x' "$1").*" -size +0; }
inode=$(stat -c %i "$M/a")
files=$(chunk_files "$inode")
check "two copies on disk" test "$(echo "$files" | wc -l)" -eq 2
flip() { python3 - "$1" "$2" <<'P'
import sys
f = open(sys.argv[1], 'r+b'); f.seek(4096 + int(sys.argv[2])); b = f.read(1); f.seek(-1, 1); f.write(bytes([b[0] ^ 4]))
P
}
at=500000 # neighbouring blocks, one in each copy: whichever copy a read of that range takes, it meets a bad one
for file in $files; do flip "$file" $at; at=$((at + 4096)); done
for i in 1 2 3 4; do cold > /dev/null; check "read $i is right" cmp "$work/a" "$M/a"; done
repaired() { [ "$(status_value repair.blocks_repaired)" -ge 1 ]; }
check "the copy is repaired and counted" wait_for 20 repaired
inode=$(stat -c %i "$M/b")
"$cairn" umount "$M"; "$cairn" dev kill --dir "$D" c1 c2 c3 c4 > /dev/null # or they would read the open files
for file in $(chunk_files "$inode"); do rm "$file"; done
cold > /dev/null
check "the cluster is in sync again" wait_for 60 all_copies
refuse "a chunk removed from all copies is EIO" 1 "Input/output error" cat "$M/b"
check "other files are not harmed" cmp "$work/a" "$M/a"
cluster_down
