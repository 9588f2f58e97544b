#!/bin/bash
# R12, R13, R17, R26: the metaservers of a running cluster change, 1 -> 3 -> 5 -> 3, with the leader
# removed, a leader named, a dead one replaced under a new number and a wiped one under its old.
# Meanwhile files are copied without an error and no wait above 3 s; in the end nothing of the first
# cluster but its data is left, and everything is equal.
# The release build; the sanitizers watch the same daemons in test-metaserver.
CAIRN_BUILD=${CAIRN_BUILD:-${CAIRN_RELEASE:-}}
[ -n "$CAIRN_BUILD" ] || unset CAIRN_BUILD
. "$(dirname "$0")/lib.sh"
begin t0017-membership
dev() { local what=$1; shift; timeout 90 "$cairn" dev "$what" --dir "$D" "$@"; }
members() { timeout 20 "$cairn" meta ls --cluster "$D" -o json; }
# names_are "m1 m2 m3": these and no others vote, and all are up.
names_are() {
    members 2> /dev/null | python3 -c "
import json, sys
v = json.load(sys.stdin)
names = ' '.join('m%d' % m['id'] for m in v['members'] if m['up'] and m.get('voter') and m['role'] in ('leader', 'follower'))
sys.exit(names != '$1' or len(v['members']) != len(names.split()) or v['leader'] is None)"
}
leader() { members 2> /dev/null | python3 -c "import json,sys; print('m%s' % json.load(sys.stdin)['leader'])"; }
kill_nine() { kill -9 "$(cat "$D/$1/pid")"; }

cluster_up --meta 1 --chunk 2
source_tree=$work/source
mkdir -p "$source_tree"
cp -r "$here/../../metaserver" "$here/../../docs" "$source_tree/"
# Copies a tree again and again, and creates names: the longest wait of one creation is the stall.
python3 - "$M" "$work" "$source_tree" > "$work/writer.out" 2>&1 << 'P' &
import os, subprocess, sys, time
mount, work, source = sys.argv[1:]
longest, names, copies = 0.0, 0, 0
os.mkdir(f'{mount}/names')
while not os.path.exists(f'{work}/stop'):
    copy = subprocess.Popen(['cp', '-r', source, f'{mount}/copy{copies}'])
    while copy.poll() is None:
        begun = time.monotonic()
        with open(f'{mount}/names/{names}', 'w') as f:
            f.write(str(names))
        longest = max(longest, time.monotonic() - begun)
        names += 1
        time.sleep(0.01)
    if copy.returncode != 0:
        sys.exit(f'cp ended with {copy.returncode}')
    copies += 1
    if copies % 5 == 0:
        subprocess.check_call(['rm', '-r', f'{mount}/copy{copies - 3}'])
print(f'{longest:.3f} {names} {copies}')
P
writer=$!

check "1 -> 2" dev add-meta
check "2 -> 3" dev add-meta
check "three vote" wait_for 5 names_are "m1 m2 m3"
check "3 -> 4" dev add-meta
check "4 -> 5" dev add-meta
check "five vote" wait_for 5 names_are "m1 m2 m3 m4 m5"
check "leadership goes to m4" timeout 30 "$cairn" meta transfer m4 --cluster "$D"
check "the leader itself is removed" dev remove-meta m4
check "5 -> 3" dev remove-meta m1
check "three vote" wait_for 5 names_are "m2 m3 m5"

# R17: a dead one is replaced by one with a number that was never used
kill_nine m2; rm -rf "$D/m2/data"
check "a dead one is removed" dev remove-meta m2
check "and another takes its place" dev add-meta
check "three vote" wait_for 5 names_are "m3 m5 m6"

# a wiped one under its old number: it must not vote before it caught up
kill_nine m5; rm -rf "$D/m5/data"; : > "$D/m5/log"
check "a wiped one starts" dev start m5
check "it had no vote at first" wait_for 5 grep -aq 'meta.founding.*joins a cluster' "$D/m5/log"
check "and counts again by itself" wait_for 15 grep -aq meta.joined "$D/m5/log"
check "three vote" wait_for 10 names_are "m3 m5 m6"

# refusals
refuse "an unknown number" 3 "no metaserver" "$cairn" meta remove m9 --cluster "$D"
taken=$(tail -1 "$D/metaservers")
refuse "an address that is taken" 7 "cannot be added.*address" "$cairn" meta add "9=$taken" --cluster "$D"
kill_nine m5; sleep 1.5
refuse "the majority would be lost" 7 "too few of those that remain" "$cairn" meta remove m6 --cluster "$D"
check "m5 is back" dev start m5
check "three vote" wait_for 10 names_are "m3 m5 m6"

touch "$work/stop"
if wait $writer; then ok "every copy and every create succeeded"; else
    tail -3 "$work/writer.out" | sed 's/^/# /'; not_ok "every copy and every create succeeded"; fi
read -r stall names copies < <(tail -1 "$work/writer.out")
echo "# longest stall $stall s over $names creates and $copies copies"
check "stalls below 3 s" python3 -c "import sys; sys.exit(not float('$stall') < 3)"
check "names are all there" test "$(ls "$M/names" | wc -l)" -eq "$names"
last=$M/copy$((copies - 1))
check "content is equal" diff -r "$source_tree" "$last"
check "after a restart of everything too" remount
check "three vote" wait_for 15 names_are "m3 m5 m6"
check "content is equal" diff -r "$source_tree" "$last"

# R12: the majority is lost for good, and one folder goes on alone: not by accident
recover=("$cairn" meta recover --force-new-cluster)
refuse "its daemon runs" 7 "m[356] runs" "${recover[@]}" --dir "$D" m3
refuse "something runs on its folder" 7 "nothing was changed: .*(another process|in use)" "${recover[@]}" --config "$D/m3/metaserver.conf" --yes-i-may-lose-data
kill_nine m3
refuse "others still answer" 7 "there still answer: m5, m6" "${recover[@]}" --config "$D/m3/metaserver.conf" --yes-i-may-lose-data
kill_nine m6; rm -rf "$D/m6/data"
kill_nine m5; mv "$D/m5/data" "$work/m5-old"
chown 1234 "$D/m3/data/log"
refuse "another user's folder" 7 "belongs to user 1234" "${recover[@]}" --dir "$D" m3 --yes-i-may-lose-data
chown 0 "$D/m3/data/log"
refuse "say how" 2 "force-new-cluster" "$cairn" meta recover --dir "$D" m3
refuse "say which" 2 "which metaserver" "${recover[@]}" --yes-i-may-lose-data
refuse "an empty folder" 7 "holds no cluster" "${recover[@]}" --dir "$D" m6 --yes-i-may-lose-data
check "which is not made" test ! -e "$D/m6/data"
refuse "without a terminal it wants to be sure" 7 "no terminal to ask on" "${recover[@]}" --dir "$D" m3 < /dev/null
cp "$work/step.out" "$work/told"
check "it told what the folder holds" bash -c "
    grep -qE 'holds entries up to [0-9,]+ of term [0-9]+' '$work/told' && grep -q LOST '$work/told' &&
    grep -qE 'last change was made at 20' '$work/told' && grep -q 'm5 at .* does not answer' '$work/told'"
on_terminal() { script -qec "timeout --foreground 60 $cairn meta recover --force-new-cluster --dir $D m3" /dev/null; }
echo no | on_terminal > "$work/no.out" 2>&1
check "no is no" test $? -eq 7
daemon=$build/metaserver/cairn-metaserver
refuse "the daemon wants to be sure, too" 1 "LOST" "$daemon" --config "$D/m3/metaserver.conf" --force-new-cluster yes
id=$(sed -n 's/^uuid = //p' "$D/cluster.ini")
check "confirmed with the cluster's id, one survivor becomes a cluster" on_terminal <<< "${id:0:8}"
check "the others are forgotten" test "$(wc -l < "$D/metaservers") $(grep -c '^metas = 3:' "$D/cluster.ini")" = "1 1"
check "it starts" dev start m3
check "it leads alone" wait_for 15 names_are "m3"
check "content is equal" diff -r "$source_tree" "$last"
check "1 -> 2" dev add-meta
check "2 -> 3" dev add-meta
check "three vote" wait_for 15 names_are "m3 m7 m8"
check "what is started again are these" dev start all
check "three vote" wait_for 15 names_are "m3 m7 m8"
check "content is equal" diff -r "$source_tree" "$last"
check "writing goes on" bash -c "echo new > '$M/new' && sync '$M/new' && [ \$(cat '$M/new') = new ]"
