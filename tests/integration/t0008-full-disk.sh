#!/bin/bash
# A full disk under the chunkservers: ENOSPC to the writer, delete works, and writing recovers.
. "$(dirname "$0")/lib.sh"
begin t0008-full-disk
disk=$work/disk.img folder=$work/disk
trap 'code=$?; "$cairn" dev down --dir "$D" > /dev/null 2>&1; for i in 1 2 3 4; do umount -l "$folder$i" 2> /dev/null; done; (exit $code); finish' EXIT
cluster_up
echo start > "$M/start"
for i in 1 2 3 4; do
    "$cairn" dev kill --dir "$D" c$i > /dev/null
    truncate -s 200M "$disk$i"; mkdir -p "$folder$i"
    mkfs.ext4 -q -m 0 "$disk$i" && mount -o loop "$disk$i" "$folder$i" || { echo "ok $test_name # skipped: no loop devices"; exit 0; }
    cp -a "$D/c$i/data/." "$folder$i/" && rmdir "$folder$i/lost+found" 2> /dev/null
    rm -rf "$D/c$i/data" && ln -s "$folder$i" "$D/c$i/data"
done
"$cairn" dev start --dir "$D" all > "$work/start.out" 2>&1 || { sed 's/^/# /' "$work/start.out"; not_ok "chunkservers start on small disks"; }
check "in sync on the small disks" wait_for 60 all_copies
python3 - "$M" > "$work/fill.out" 2>&1 <<'P'
import errno, os, sys
data = os.urandom(1 << 20)
for n in range(1000):
    try:
        fd = os.open(f'{sys.argv[1]}/fill{n}', os.O_CREAT | os.O_WRONLY)
        for i in range(8): os.write(fd, data)
        os.fsync(fd); os.close(fd)
    except OSError as e:
        print(errno.errorcode[e.errno], n); break
P
check "the writer gets ENOSPC" grep -q ENOSPC "$work/fill.out"
check "reading goes on" grep -q start "$M/start"
check "delete works" bash -c "rm -f '$M'/fill*"
writes() { head -c 4M /dev/urandom > "$M/again" && sync -f "$M/again"; }
check "writing recovers by itself" wait_for 60 writes
cluster_down
