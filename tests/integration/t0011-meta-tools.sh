#!/bin/bash
# The tools of the metaservers: who they are, checkpoints on demand, handing over the leadership.
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
cluster_down
