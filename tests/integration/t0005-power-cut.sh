#!/bin/bash
# P1: the machine's power cut under every daemon's disk (loop ext4 + EXT4_IOC_SHUTDOWN) in the middle of
# the fsyncing writer: nothing of the manifest is lost. ROUNDS=10 for the long form.
. "$(dirname "$0")/lib.sh"
begin t0005-power-cut
ROUNDS=${ROUNDS:-2}
disk=$work/disk.img folder=$work/disk
D=$folder/cluster
detach() { umount -l "$folder" 2> /dev/null; }
trap 'finish_code=$?; ("$cairn" umount --force "$M"; "$cairn" dev kill --dir "$D" all) > /dev/null 2>&1; detach; (exit $finish_code); finish' EXIT
truncate -s 3G "$disk"; mkdir -p "$folder"
mkfs.ext4 -q -m 0 "$disk" && mount -o loop "$disk" "$folder" || { echo "ok $test_name # skipped: no loop devices"; exit 0; }
cluster_up
lost=0 total=0
for round in $(seq "$ROUNDS"); do
    python3 "$here/manifest_writer.py" "$M" "$work/manifest" "$round" > "$work/writer.out" 2>&1 &
    writer=$!
    sleep 3
    python3 -c "
import fcntl, os, struct
fd = os.open('$folder', os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))  # EXT4_IOC_SHUTDOWN, nothing is flushed"
    "$cairn" dev kill --dir "$D" all > /dev/null 2>&1 || pkill -9 -f "$D"
    kill -9 $writer 2> /dev/null; wait $writer 2> /dev/null
    umount -l "$M" 2> /dev/null
    for i in 1 2 3 4 5 6 7 8 9 10; do umount "$folder" 2> /dev/null && break; sleep 0.3; done
    mount -o loop "$disk" "$folder" || { not_ok "the disk mounts again"; exit 1; }
    cluster_up
    result=$(timeout 120 python3 "$here/manifest_check.py" "$M" "$work/manifest" 2>&1) || { echo "# round $round: $result" | tail -3; lost=$((lost + 1)); }
    total=$(wc -l < "$work/manifest")
done
echo "# $ROUNDS power cuts, $total files fsynced and found"
check "no fsynced file lost in $ROUNDS power cuts" test $lost -eq 0
check "the manifest is not empty" test "$total" -gt "$ROUNDS"
cluster_down
detach
