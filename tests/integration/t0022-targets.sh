#!/bin/bash
# Several targets in one chunkserver: the copies of a chunk are in distinct servers; a disk that fails ends its target
# alone, and its copies are made anew (P5); a disk that is not mounted is not made anew (D16, D17); disks come and go by
# SIGHUP. The failing disk is a loop ext4 that is shut down (EXT4_IOC_SHUTDOWN).
. "$(dirname "$0")/lib.sh"
begin t0022-targets
disk=$work/disk folder=$work/mounted
server=0
trap 'code=$?; [ $server -gt 0 ] && kill $server 2> /dev/null && wait $server 2> /dev/null; umount -l "$folder" 2> /dev/null; (exit $code); finish' EXIT
program=$build/chunkserver/cairn-chunkserver
conf=$D/c2/chunkserver.conf

start_c2() { "$program" --config "$conf" >> "$D/c2/log" 2>&1 & server=$!; }
# stop_c2 CODE: it ends with this exit status.
stop_c2() { kill -TERM $server; wait $server; local code=$?; server=0; [ $code -eq "$1" ] || { echo "exit $code, not $1"; return 1; }; }
# targets_are NAME=STATE[:SLOTS]...: as the leader says; SLOTS is `none` or `some`.
targets_are() {
    timeout 20 "$cairn" target ls --cluster "$D" -o json | python3 -c '
import json, sys
rows = {t["id"]: t for t in json.load(sys.stdin)}
for want in sys.argv[1:]:
    name, _, state = want.partition("=")
    state, _, slots = state.partition(":")
    t = rows[name]
    heard = t["heard_ms"] is not None and t["heard_ms"] < 2000
    if (t["state"] == "up" and heard) != (state == "up"): sys.exit(f"{name}: {t}")
    if slots and (t["slots"] > 0) != (slots == "some"): sys.exit(f"{name}: {t}")
' "$@"; }
# Every chunk of the files has its copies in two different servers, as the files on the disks show. FOLDER...
distinct_hosts() {
    find "$@" -type f -not -path '*/trash/*' -size +0 2> /dev/null | python3 -c '
import collections, re, sys
hosts = collections.defaultdict(list)
for line in sys.stdin:
    m = re.search(r"/cluster/(c\d+)/data\d+/\w-\w+/(\S+)$", line)
    if m: hosts[m.group(2)].append(m.group(1))
print(len(hosts), "chunks")
bad = {c: h for c, h in hosts.items() if len(h) != len(set(h)) or len(h) < 2}
if len(hosts) < 100 or bad: sys.exit(f"of {len(hosts)} chunks, not on two servers: {bad}")
'; }
shut_down() { python3 - "$1" <<'P'
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2)) # EXT4_IOC_SHUTDOWN, nothing is flushed
P
}
contents_equal() { for i in $(seq 120); do cmp "$work/src/$i" "$M/d/$i" || return 1; done; }
drop_caches() { echo 3 > /proc/sys/vm/drop_caches; }
said() { tail -n "+$seen" "$D/c2/log" | grep -aqE "$1"; }
mark_log() { seen=$(($(wc -l < "$D/c2/log") + 1)); }

cluster_up --chunk 3 --targets 2
check "six targets of three servers" wait_for 30 targets_are c1.1=up:some c1.2=up:some c2.1=up:some c2.2=up:some c3.1=up:some c3.2=up:some

# The second disk of c2 becomes a file system of its own; from here on c2 is a child of this script.
"$cairn" dev kill --dir "$D" c2 > /dev/null
truncate -s 300M "$disk"; mkdir -p "$folder"
mkfs.ext4 -q -m 0 "$disk" && mount -o loop "$disk" "$folder" || { echo "ok $test_name # skipped: no loop devices"; exit 0; }
mkdir "$folder/data2" && cp -a "$D/c2/data2/." "$folder/data2/" && rm -r "$D/c2/data2" && ln -s "$folder/data2" "$D/c2/data2"
mark_log; start_c2
both_serve() { targets_are c2.1=up:some c2.2=up && all_copies; }
check "c2 serves both" wait_for 90 both_serve
mkdir "$work/src" "$M/d"
for i in $(seq 120); do head -c $((4096 + i * 700)) /dev/urandom > "$work/src/$i"; done
cp "$work/src"/* "$M/d/"; sync -f "$M/d"
check "the copies of each chunk are in two servers" distinct_hosts "$D"/c*/data1 "$D"/c[13]/data2 "$D/c2/data2/"

mark_log; shut_down "$folder"
echo more > "$M/more"; for i in $(seq 40); do echo $i > "$M/d/more.$i"; done; sync -f "$M/d" # so that c2.2 meets its disk
failed_alone() { said 'target.down name=c2.2 .*still_serving=1'; }
check "the failed disk ends its target" wait_for 60 failed_alone
one_is_left() { targets_are c2.1=up:some c2.2=down:none && all_copies; }
check "its copies are made anew elsewhere" wait_for 90 one_is_left
check "the process lives" kill -0 $server
check "server ls has one disk of two" bash -c "'$cairn' server ls --cluster '$D' | grep -E '^c2 .* 1/2 '"
drop_caches; check "contents are equal" contents_equal
check "and again in two servers" distinct_hosts "$D"/c*/data1 "$D"/c[13]/data2
check "writing goes on" bash -c "cp -r '$work/src' '$M/again' && sync -f '$M/again'"
check "at its end it tells of the failed disk" stop_c2 3

# Not mounted: the folder is there, and empty.
umount "$folder" || umount -l "$folder"
mkdir -p "$folder/data2"
mark_log; start_c2
not_mounted() { said 'target.down name=c2.2 .*is its disk mounted' && targets_are c2.1=up c2.2=down; }
check "a disk that is not mounted is told, the other serves" wait_for 60 not_mounted
check "nothing was made in its folder" bash -c "! ls -A '$folder/data2' | grep ."
rmdir "$folder/data2"
mount -o loop "$disk" "$folder"
kill -HUP $server
both_up() { targets_are c2.1=up c2.2=up; }
check "mounted, it is served again" wait_for 60 both_up
check "in sync" wait_for 90 all_copies

refuse "one folder twice" 2 'same folder' "$program" --config "$conf" --target "3=$D/c2/../c2/data1"
refuse "a folder in another" 2 'lie in one another' "$program" --config "$conf" --target "3=$D/c2/data1/inner"
refuse "a folder around others" 2 'lie in one another' "$program" --config "$conf" --target "3=$D/c2"
cp "$conf" "$work/other.conf"; sed -i 's/^listen = .*/listen = 127.0.0.1:0/' "$work/other.conf"
refuse "a folder that another process serves" 1 'another process uses' "$program" --config "$work/other.conf"

# A third disk: a line, --init, SIGHUP; and out again. Its number is one whose port is not c3's.
sed -i "s|^2 = .*|&\n50 = $D/c2/data50|" "$conf"
mkdir "$D/c2/data50"; mark_log
kill -HUP $server
not_made() { said 'target.down name=c2.50 .*--init 50'; }
check "a new folder is not made by itself" wait_for 30 not_made
check "it is made by --init" "$program" --config "$conf" --init 50
refuse "but once" 1 'is not empty' "$program" --config "$conf" --init 50
kill -HUP $server
three_up() { targets_are c2.1=up c2.2=up c2.50=up; }
check "and served after SIGHUP" wait_for 60 three_up
sed -i '/^50 = /d' "$conf"
kill -HUP $server
two_up() { targets_are c2.1=up c2.2=up c2.50=down; }
check "without its line it is stopped" wait_for 60 two_up
check "c2 ends in order" stop_c2 0
check "c2 comes back" "$cairn" dev start --dir "$D" c2
check "all in sync" wait_for 90 all_copies
drop_caches; check "contents are equal in the end" contents_equal
cluster_down
umount "$folder"
