#!/bin/bash
# R21: full disks under the metaservers (loop ext4, filled to the last byte): first the leader's, then all three.
# One that is full hands over; when all are, new names get ENOSPC, reading and deleting go on, a restart works;
# with room again everything goes on without anybody's help. Nothing that was acknowledged is lost: not where the
# log runs into the wall, nor where the database does behind it (R22 for what is taken back).
# Built with -DPLANT_AMPLE, answers leave before the database knows, and are taken back: nothing is lost then either.
. "$(dirname "$0")/lib.sh"
begin t0013-meta-full-disk
. "$(dirname "$0")/metas.sh"
metas_begin --checkpoint-log 1MiB
for i in 1 2 3; do disk_make $i 320M || { echo "ok $test_name # skipped: no loop devices"; trap - EXIT; rm -rf "$work"; exit 0; }; done
fill() { # to the last byte
    dd if=/dev/zero of="$work/disk$1/fill" bs=1M > /dev/null 2>&1
    dd if=/dev/zero of="$work/disk$1/fill2" bs=4k > /dev/null 2>&1
    sync -f "$work/disk$1"
}
drain() { rm -f "$work/disk$1"/fill "$work/disk$1"/fill2; }
leads_other() { [ -n "$(leader)" ] && [ "$(leader)" != "$1" ]; }
no_space() { mkdir "$M/x$RANDOM$RANDOM" 2>&1 | grep -q 'No space left on device'; }
# told NODE EFFECT: cairn status says that it is short of room, where, and what is refused.
told() { timeout 20 "$cairn" status --cluster "$addresses" | grep -E "META_DISK_(LOW|FULL)  disk .* left on m$1, $2; make room in $work/disk$1/"; }
# room_of NODE: its level in the JSON of status and of meta ls.
room_of() {
    { timeout 20 "$cairn" status --cluster "$addresses" -o json; timeout 20 "$cairn" meta ls --cluster "$addresses" -o json; } | python3 -c "
import json, sys
d = json.JSONDecoder(); text = sys.stdin.read(); s, end = d.raw_decode(text); l, end = d.raw_decode(text, end + 1)
rows = [m for m in s['metaservers'] + l['members'] if m['id'] == $1]
print(s['meta']['space'], *[m['space']['level'] for m in rows])"
}
all_ok() { [ "$(room_of "$1")" = "ok ok ok" ]; }
ballast() { [ -e "$work/disk$1/meta/m/log/ballast" ]; }

for i in 1 2 3; do meta_start $i; done
metas_mount
mkdir "$M/before"

# Names all the time: what was acknowledged goes to `made`, what failed to `failed`.
cat > "$work/writer.py" <<'P'
import errno, os, sys, time
mount, work, prefix = sys.argv[1:]
with open(f'{work}/made', 'a') as made, open(f'{work}/failed.{prefix}', 'a') as failed:
    i = 0
    while not os.path.exists(f'{work}/stop.{prefix}'):
        name = f'{prefix}{i}-{"n" * 150}'
        try:
            os.mknod(f'{mount}/{name}', 0o10600)
            made.write(name + '\n'); made.flush()
        except OSError as e:
            failed.write(errno.errorcode[e.errno] + '\n'); failed.flush(); time.sleep(0.1)
        i += 1
P
python3 "$work/writer.py" "$M" "$work" a & writer=$!
wait_for 20 test -s "$work/made"
first=$(leader)
fill "$first"
check "a full leader hands over" wait_for 30 leads_other "$first"
before=$(wc -l < "$work/made")
sleep 3
check "names are made with one full" test "$(wc -l < "$work/made")" -gt "$((before + 10))"
check "status tells which disk" wait_for 20 told "$first" "the others serve meanwhile"
check "so do both lists" bash -c "[[ '$(room_of "$first")' =~ ^ok\ (low|short|none)\ (low|short|none)$ ]]"
touch "$work/stop.a"; wait $writer
check "no writer heard of it" test ! -s "$work/failed.a"
drain "$first"
check "status tells that it has room" wait_for 30 all_ok "$first"
check "its room is seen again" wait_for 30 bash -c "tail -1 <(grep -a meta.space '$work/m$first.log') | grep -q level=ok"

# all three
python3 "$work/writer.py" "$M" "$work" b & writer=$!
for i in 1 2 3; do fill $i; done
check "new names get ENOSPC" wait_for 60 no_space
check "writers get nothing but ENOSPC" bash -c "sleep 2; ! grep -v ENOSPC '$work/failed.b'"
check "the leader says what to do" grep -aq 'level=.*make room on the disk' "$work/m$(leader).log"
check "status tells what is refused" wait_for 20 told "$(leader)" "(only deleting works|nothing can be changed)"
refuse "health is an error" 2 "^HEALTH_ERR" "$cairn" health --cluster "$addresses"
check "reading goes on" test -d "$M/before"
check "listing goes on" bash -c "ls '$M' | grep -q before"
check "deleting goes on" rmdir "$M/before"
late=$(( $(leader) % 3 + 1 ))
meta_end $late 9; : > "$work/m$late.log"; meta_start $late
check "one starts on its full disk" wait_for 30 grep -aq meta.start "$work/m$late.log"
check "still ENOSPC" wait_for 30 no_space
for i in 1 2 3; do drain $i; done
again() { mkdir "$M/again"; }
check "with room it goes on by itself" wait_for 60 again
touch "$work/stop.b"; wait $writer

# the wall itself: nobody looks ahead, so log and database run into it
for i in 1 2 3; do meta_end $i 9; : > "$work/m$i.log"; done
for i in 1 2 3; do meta_start $i --reserve 0; done
check "up again" wait_for 30 mkdir "$M/wall"
for i in 1 2 3; do fill $i; rm -f "$(data_of $i)/log/ballast"; fill $i; dd if=/dev/zero of="$work/disk$i/fill2" bs=4k conv=notrunc oflag=append > /dev/null 2>&1; done
writers=()
for w in c d e f; do python3 "$work/writer.py" "$M" "$work" $w & writers[${#writers[@]}]=$!; done
# Without a reserve only the log without a segment ahead or the database that failed say "none".
walls='meta.database_full|meta.log_full|checkpoint.failed|meta.space *level=none'
hit() { grep -aqE "$walls" "$work"/m?.log; }
check "log, database or checkpoint hit the wall" wait_for 120 hit
sleep 3
check "reading goes on at the wall" timeout 20 test -d "$M/wall"
check "all live on" bash -c "kill -0 ${pid[1]} && kill -0 ${pid[2]} && kill -0 ${pid[3]}"
grep -ahoE "$walls" "$work"/m?.log | sort | uniq -c | sed 's/^/# /'
for i in 1 2 3; do drain $i; done
after() { mkdir "$M/after"; }
check "with room it goes on by itself" wait_for 90 after
for w in c d e f; do touch "$work/stop.$w"; done
wait "${writers[@]}"
echo "# failures at the wall: $(cat "$work"/failed.[c-f] | sort | uniq -c | tr '\n' ' ')"

# a leader's database alone: it has a disk of its own, and the log has room
for i in 1 2 3; do meta_end $i 15; : > "$work/m$i.log"; done
database=$(data_of 1)/database
truncate -s 64M "$work/database.img" && mkfs.ext4 -q -m 0 "$work/database.img" && mkdir "$work/copy" &&
    mount -o loop "$work/database.img" "$work/copy" && cp -a "$database/." "$work/copy/" && umount "$work/copy" &&
    mount -o loop "$work/database.img" "$database" && rm "$database/lock.mdb"
dd if=/dev/zero of="$database/fill" bs=1k > /dev/null 2>&1
meta_arguments 1 --reserve 0
refuse "a start without room for the lock says so" 1 'database.*no space left' "$daemon" "${arguments[@]}"
truncate -s -512k "$database/fill"
for i in 1 2 3; do meta_start $i --reserve 0; done
lead() { "$cairn" meta transfer m1 --cluster "$addresses" && [ "$(leader)" = 1 ]; }
check "it leads with little room" wait_for 30 lead
for w in g h i j; do python3 "$work/writer.py" "$M" "$work" $w & writers[${#writers[@]}]=$!; done
check "a leader whose database is full hands over" wait_for 30 leads_other 1
check "its database hit the wall" grep -aq meta.database_full "$work/m1.log"
before=$(wc -l < "$work/made")
sleep 3
check "names are made without it" test "$(wc -l < "$work/made")" -gt "$((before + 10))"
rm "$database/fill"
check "with room in the database it goes on by itself" wait_for 30 grep -aq meta.database_room "$work/m1.log"
for w in g h i j; do touch "$work/stop.$w"; done
wait "${writers[@]}"
check "no writer heard of the database" test -z "$(cat "$work"/failed.[g-j])"

# every acknowledged name is there, from a fresh start of all, too
for i in 1 2 3; do meta_end $i 15; done
for i in 1 2 3; do meta_start $i; done
check "up once more" wait_for 60 mkdir "$M/last"
python3 - "$M" "$work" > "$work/lost" <<'P'
import os, sys
have = set(os.listdir(sys.argv[1]))
made = [line.strip() for line in open(sys.argv[2] + '/made')]
lost = [name for name in made if name not in have]
print(f'{len(made)} acknowledged names, {len(lost)} lost')
sys.exit(len(lost) > 0)
P
lost=$?
sed 's/^/# /' "$work/lost"
check "no acknowledged name is lost" test $lost -eq 0
for i in 1 2 3; do check "m$i has its ballast again" wait_for 30 ballast $i; done
