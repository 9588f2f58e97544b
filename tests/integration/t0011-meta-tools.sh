#!/bin/bash
# The tools of the metaservers: who they are, checkpoints on demand, handing over the leadership;
# and cairn-inspect on what they leave on the disk (R17: clean, torn and rotten are told apart).
. "$(dirname "$0")/lib.sh"
begin t0011-meta-tools

meta() { timeout 60 "$cairn" meta "$@" --cluster "$D"; }
members() { meta ls -o json | python3 -c "
import json,sys
v=json.load(sys.stdin)
print($1)"; }
other_than() { for m in 1 2 3; do [ "$m" != "$1" ] && echo "$m" && return; done; }

cluster_up --meta 3 --chunk 2
mkdir "$M/a"
for i in $(seq 50); do echo "$i" > "$M/a/f$i"; done

# ---- meta ls ----
check "ls shows three members and one leader" bash -c "
    timeout 20 '$cairn' meta ls --cluster '$D' > '$work/ls' && cat '$work/ls' &&
    [ \$(grep -c '^m[123] ' '$work/ls') = 3 ] && [ \$(grep -c ' leader ' '$work/ls') = 1 ] &&
    [ \$(grep -c ' follower ' '$work/ls') = 2 ]"
caught_up() { [ "$(members "max(m['lag'] for m in v['members'])")" = 0 ]; }
check "all catch up" wait_for 20 caught_up

# ---- meta checkpoint ----
leader=$(members "v['leader']")
follower=$(other_than "$leader")
check "the leader writes a checkpoint" bash -c "
    timeout 60 '$cairn' meta checkpoint --cluster '$D' -o json > '$work/cp' && cat '$work/cp' &&
    python3 -c \"
import json,os
v=json.load(open('$work/cp'))
assert v['node'] == $leader and v['written'], v
f='$D/m$leader/data/checkpoints/checkpoint-%d-%d.ckpt' % (v['index'], v['term'])
assert os.path.getsize(f) == v['bytes'], f\""
touch "$M/a/later"
check "a follower writes its own" bash -c "
    timeout 60 '$cairn' meta checkpoint --node m$follower --cluster '$D' | tee '$work/cp' |
    grep -E '^m$follower (wrote a|has a) checkpoint'"
refuse "an unknown member" 3 'cairn meta ls' "$cairn" meta checkpoint --node m9 --cluster "$D"
check "status tells the age" bash -c "
    timeout 20 '$cairn' status --cluster '$D' | grep -E 'checkpoint [0-9.]+ s ago \([0-9.]+ s\)'"

# ---- a failed checkpoint is an error with its fix ----
# The daemon holds the folder open: in a removed one every new file fails, as on a failing disk.
data=$D/m$follower/data
mv "$data/checkpoints" "$work/kept" && mkdir "$data/checkpoints" && rm -rf "$work/kept"
touch "$M/a/again"
sleep 0.5
"$cairn" meta checkpoint --node "m$follower" --cluster "$D" > "$work/failed" 2>&1
code=$?
check "it says that no checkpoint was written" bash -c "cat '$work/failed'; [ $code = 1 -o $code = 3 ] &&
    grep 'm$follower wrote no checkpoint' '$work/failed'"
refuse "health is an error" 2 "CHECKPOINT_FAILED  m$follower: .*make room or replace the disk" \
    "$cairn" health --cluster "$D"
check "ls marks it" bash -c "timeout 20 '$cairn' meta ls --cluster '$D' | grep -E '^m$follower .*FAILED'"
check "the daemon is started again" bash -c "
    '$cairn' dev kill --dir '$D' m$follower && '$cairn' dev start --dir '$D' m$follower"
check "and writes one" wait_for 20 meta checkpoint --node "m$follower"
healthy() { [ "$(timeout 20 "$cairn" health --cluster "$D")" = HEALTH_OK ]; }
check "health is good again" wait_for 30 healthy

# ---- meta transfer ----
leader=$(members "v['leader']")
to=$(other_than "$leader")
check "m$to takes over" bash -c "timeout 60 '$cairn' meta transfer m$to --cluster '$D' --timeout 30 | grep '^m$to leads'"
check "it is the leader" test "$(members "v['leader']")" = "$to"
check "again: nothing to do" bash -c "timeout 20 '$cairn' meta transfer m$to --cluster '$D' | grep already"
check "writing goes on" bash -c "echo x > '$M/a/after' && sync '$M/a/after'"
refuse "an unknown member cannot lead" 3 'cairn meta ls' "$cairn" meta transfer m9 --cluster "$D"
down=$(other_than "$to")
check "one is stopped" "$cairn" dev kill --dir "$D" "m$down"
refuse "one that is down cannot lead" 7 'start it first' "$cairn" meta transfer "m$down" --cluster "$D" --timeout 5
third=$((6 - to - down))
check "another one is stopped" "$cairn" dev kill --dir "$D" "m$third"
no_leader() { meta ls; [ $? = 5 ]; }
check "without a majority ls still answers, exit 5" wait_for 20 no_leader
check "all are back" "$cairn" dev start --dir "$D" all

# ---- cairn-inspect while they run ----
inspect=$build/tools/offline/cairn-inspect
verdict() { "$inspect" "$@" -o json | python3 -c "
import json,sys
print([l for l in map(json.loads, sys.stdin) if 'verdict' in l][-1]['verdict'])"; }
for i in $(seq 100); do echo "$i" > "$M/a/g$i"; done &
writer=$!
check "a log in use is clean" test "$(verdict log "$D/m1/data")" = clean
wait $writer
check "checkpoints in use are clean" bash -c "'$inspect' checkpoint '$D/m1/data' | tee '$work/i' && grep -q '^verdict  clean' '$work/i'"
refuse "a database in use" 2 'cairn fsck while it runs' "$inspect" db "$D/m1/data"
cluster_down

# ---- cairn-inspect on stopped ones: it changes nothing ----
prints() { find "$D/m1/data" -printf '%p %s %T@ %i\n' | sort; find "$D/m1/data" -type f -print0 | sort -z | xargs -0 sha256sum; }
prints > "$work/before"
check "the log: names of the messages" bash -c "'$inspect' log --entries '$D/m1/data' > '$work/i' && grep -q 'command *meta_create ' '$work/i' && tail -1 '$work/i' | grep '^verdict  clean'"
check "the checkpoints with all invariants" "$inspect" checkpoint --check "$D/m1/data"
check "the database" bash -c "'$inspect' db '$D/m1/data' > '$work/i' && cat '$work/i' && grep -qE ' 15[0-9] names' '$work/i' && grep '^verdict  clean' '$work/i'"
prints > "$work/after"
check "nothing was touched" cmp "$work/before" "$work/after"
refuse "no such folder" 2 'try: the data folder' "$inspect" log "$work"
refuse "a wrong word" 2 'try: cairn-inspect' "$inspect" logg "$work"

# ---- damage is told with its place ----
copy() { rm -rf "$work/bad" && cp -a "$D/m1/data" "$work/bad"; }
poke() { # FILE OFFSET: one byte becomes another one
    python3 - "$1" "$2" <<'P'
import sys
f = open(sys.argv[1], 'r+b'); at = int(sys.argv[2]); f.seek(at); b = f.read(1)[0]
f.seek(at); f.write(bytes([b ^ 0xff]))
P
}
field() { "$inspect" log --batches "$work/bad" -o json | python3 -c "
import json,sys
b=[l for l in map(json.loads, sys.stdin) if l['kind'] == 'batch' and l['bytes'] > 0]
print($1)"; }
copy
segment() { ls "$work"/bad/log/log-* | sort | tail -1; }
last=$(field "b[-1]['block']") middle=$(field "b[len(b)//2]['block']")
[ "$(field "b[len(b)//2]['segment']")" = "$(field "b[-1]['segment']")" ] || not_ok "the test's log has one segment"
poke "$(segment)" $((middle * 4096 + 100))
refuse "rot before the end is faulty" 1 "FAULTY from index [0-9]+: segment [0-9]+, block $middle, .*checksum wrong" "$inspect" log "$work/bad"
copy
dd if=/dev/zero of="$(segment)" bs=4096 seek="$last" count=1 conv=notrunc 2> "$work/dd"
if [ "$(field "b[-1]['block']")" != "$last" ]; then
    check "a last write that is not there is clean or torn, never faulty" bash -c "
        '$inspect' log '$work/bad' > '$work/i'; cat '$work/i'; ! grep FAULTY '$work/i'"
fi
copy
poke "$(segment)" $((middle * 4096))
refuse "a bad stamp costs nothing and is told" 1 'damage in redundant parts' "$inspect" log "$work/bad"
copy
rm "$work"/bad/log/vote
refuse "a vote file that is missing" 1 'vote' "$inspect" log "$work/bad"
copy
checkpoint=$(ls "$work"/bad/checkpoints/*.ckpt | sort | tail -1)
poke "$checkpoint" 100
refuse "a bad block of a checkpoint" 1 'FAULTY: checkpoint .* at byte [0-9]+: block checksum wrong' "$inspect" checkpoint "$checkpoint"
copy
truncate -s -10 "$checkpoint"
refuse "a checkpoint that ends early" 1 'FAULTY: .*ends early' "$inspect" checkpoint "$checkpoint"
copy
python3 - "$work/bad/database/data.mdb" <<'P'
import sys
f = open(sys.argv[1], 'r+b'); data = f.read(); at = data.rfind(b'\x01later'); assert at > 0
f.seek(at + 1); f.write(b'LATER')
P
refuse "a changed name in the database" 1 'finding .*not found by look-up' "$inspect" db "$work/bad"
