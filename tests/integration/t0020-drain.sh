#!/bin/bash
# D18, R1, R2, R4, R8, R9 of the drain: five chunkservers, two copies, a writer all the time. The plan is shown and a
# bad one refused with its arithmetic; one server is drained, declared safe, switched off, wiped and removed, and
# everything reads back equal; a second drain lives through a killed leader and is cancelled; one in maintenance is
# waited for; a new server comes.
. "$(dirname "$0")/lib.sh"
begin t0020-drain
export CAIRN_CLUSTER=$D
exec < /dev/null # nobody to ask
# row NAME KEY: of one server, from the JSON.
row() { timeout 20 "$cairn" server ls -o json 2> /dev/null | python3 -c "
import json, sys
print(*[r['$2'] for r in json.load(sys.stdin) if r['id'] == '$1'])"; }
is() { [ "$(row "$1" "$2")" = "$3" ]; }
# job_is JOB STATE
job_is() { timeout 20 "$cairn" job ls -o json 2> /dev/null | python3 -c "
import json, sys
sys.exit(not any(j['job'] == '$1' and j['state'] == '$2' for j in json.load(sys.stdin)))"; }
# at_least JOB SHARDS: so many are done.
at_least() { timeout 20 "$cairn" job ls -o json 2> /dev/null | python3 -c "
import json, sys
sys.exit(not any(j['job'] == '$1' and j['shards_done'] >= $2 for j in json.load(sys.stdin)))"; }
last_job() { timeout 20 "$cairn" job ls -o json | python3 -c "import json, sys; print(json.load(sys.stdin)[0]['job'])"; }
kill_nine() { kill -9 "$(cat "$D/$1/pid")"; }
# events FILE CODE: the ndjson of a drain; CODE sees the list of events as e.
events() { python3 -c "
import json, sys
e = [json.loads(line) for line in open('$1')]
$2"; }

cluster_up --chunk 5
mkdir "$work/source"
python3 - "$work/source" << 'P'
import os, random, sys
chance = random.Random(20)
for n in range(300):
    size = chance.choice([0, 1, 4096, 50000, 70001]) if n % 50 else 1500000
    with open(f'{sys.argv[1]}/{n}', 'wb') as f:
        f.write(chance.randbytes(size))
P
check "files are written" cp -r "$work/source" "$M/source"
# Writes, rewrites and removes files until $work/stop; what is there at the end stands in a list of sums.
python3 - "$M" "$work" > "$work/writer.out" 2>&1 << 'P' &
import hashlib, os, random, sys, time
mount, work = sys.argv[1:]
chance, held, n = random.Random(21), {}, 0
os.mkdir(f'{mount}/live')
while not os.path.exists(f'{work}/stop'):
    n += 1
    name = f'live/{n % 150}'
    if name in held and chance.random() < 0.2:
        os.unlink(f'{mount}/{name}')
        del held[name]
        continue
    data = chance.randbytes(chance.choice([10, 4096, 60000, 200000]))
    with open(f'{mount}/{name}', 'wb') as f:
        f.write(data)
        f.flush()
        if n % 4 == 0:
            os.fsync(f.fileno())
    held[name] = hashlib.sha256(data).hexdigest()
    time.sleep(0.02)
with open(f'{work}/sums', 'w') as f:
    for name, digest in held.items():
        f.write(f'{digest}  {name}\n')
print(n, 'writes')
P
writer=$!

# ---- the plan
check "the plan is shown" "$cairn" server drain c3 --dry-run
cp "$work/step.out" "$work/plan"
check "with its arithmetic" bash -c "grep -q '^plan: drain c3 .* chunks' '$work/plan' && grep -q '✓ space .*free on the others' '$work/plan' && grep -q '✓ servers .*4 servers stay' '$work/plan'"
check "and nothing was changed" is c3 condition active
refuse "too few would stay" 7 "✗ servers .*cannot hold them" "$cairn" server drain c1 c2 c4 c5 --dry-run
cp "$work/step.out" "$work/told"
check "it says what to do" grep -q "fix: add 1 server" "$work/told"
refuse "nor does it start" 7 "refused: c1 c2 c4 c5 cannot be drained" "$cairn" server drain c1 c2 c4 c5
check "and nothing was changed" is c4 condition active
refuse "an unknown server" 3 "no chunkserver is called 'c9'" "$cairn" server drain c9
refuse "one that holds data is not removed" 7 "refused: .*c3" "$cairn" server remove c3
cp "$work/step.out" "$work/told"
check "and the way is shown" grep -q "cairn server drain c3" "$work/told"
refuse "nor forgotten by accident" 2 "data-loss" "$cairn" server forget c3
refuse "nor without a word" 7 "no terminal to ask on" "$cairn" server forget c3 --data-loss

# ---- one is drained
check "drain, and wait until it is safe" timeout 300 bash -c "'$cairn' server drain c3 --wait > '$work/drain.out' 2> '$work/drain.err'"
check "it says so" grep -q "c3 holds no needed data: SAFE TO POWER OFF" "$work/drain.out"
check "progress was told" grep -qE "^d-[0-9]+ drain c3  100%" "$work/drain.err"
check "it is drained" is c3 condition drained
check "every copy is there" all_copies
check "health is quiet about it" timeout 20 "$cairn" health
kill_nine c3; rm -rf "$D/c3/data"
sync; echo 3 > /proc/sys/vm/drop_caches
check "without it and its disk everything is equal" diff -r "$work/source" "$M/source"
check "it is removed" "$cairn" server remove c3
check "and gone" is c3 condition ""
check "from the local cluster too" timeout 60 "$cairn" dev remove-chunk --dir "$D" c3
check "no copy is missing" all_copies

# ---- a second one, with a killed leader, interrupted, limited, cancelled
"$cairn" server drain c4 --wait --bwlimit 16K -o json > "$work/events" 2> "$work/events.err" &
waiter=$!
check "it runs" wait_for 30 grep -q '"event":"progress"' "$work/events"
second=$(last_job)
check "shards have moved" wait_for 60 at_least "$second" 3
check "the leader is killed" timeout 30 "$cairn" dev kill --dir "$D" leader
check "the job goes on" wait_for 60 job_is "$second" running
check "the dead one is back" timeout 60 "$cairn" dev start --dir "$D" all
"$cairn" server drain c4 --wait > "$work/second.out" 2> "$work/second.err" &
other=$!
check "the same command follows it" wait_for 30 grep -q "^$second drain c4" "$work/second.err"
kill -INT $other; wait $other
check "Ctrl-C says how to go on" grep -q "$second goes on without this command" "$work/second.err"
check "and it does" job_is "$second" running
check "pause" "$cairn" job pause "$second"
check "is told" job_is "$second" paused
check "resume" "$cairn" job resume "$second"
check "another limit" "$cairn" job set "$second" --bwlimit 32K
refuse "no such job" 3 "no job is called" "$cairn" job cancel d-999
refuse "the local cluster keeps it" 7 "still holds what is needed" timeout 60 "$cairn" dev remove-chunk --dir "$D" c4
check "cancel" "$cairn" job cancel "$second"
wait $waiter
check "the one that waits hears of it" test $? -eq 9
check "it is active again" is c4 condition active
check "the percentage never fell" events "$work/events" "
p = [x['percent'] for x in e if x['event'] == 'progress']
sys.exit(not p or p != sorted(p) or e[0]['event'] != 'plan' or e[-1]['state'] != 'cancelled')"
refuse "what has ended is not changed" 7 "." "$cairn" job pause "$second"

# ---- maintenance
check "what was under way has ended" wait_for 60 bash -c "'$cairn' server ls -o json | python3 -c '
import json, sys
sys.exit(any(r[\"slots_moving\"] for r in json.load(sys.stdin)))'"
slots=$(row c5 slots)
check "maintenance" "$cairn" server maintenance c5 --for 10m
kill_nine c5
check "it counts as away" wait_for 30 is c5 state down
sleep 14 # down_out of a local cluster is 10 s
check "nothing of it was made anew" is c5 slots "$slots"
check "and that is no alarm" timeout 20 "$cairn" health
check "but told" bash -c "'$cairn' status | grep -q 'MAINTENANCE  c5 is away'"
check "it starts" timeout 60 "$cairn" dev start --dir "$D" c5
check "it is up" wait_for 30 is c5 state up
check "maintenance ends" "$cairn" server maintenance c5 --end
refuse "once" 10 "not in maintenance" "$cairn" server maintenance c5 --end
check "it is active" is c5 condition active
check "all copies again" wait_for 60 all_copies

# ---- one more, and policy
check "a server joins" timeout 60 "$cairn" dev add-chunk --dir "$D"
check "it is there" is c6 condition active
check "policy is set" timeout 20 "$cairn" config set background_bandwidth 500MiB
refuse "bad policy is refused" 2 "background_bandwidth" timeout 20 "$cairn" config set background_bandwidth much
refuse "unknown policy" 3 "did you mean: background_bandwidth" timeout 20 "$cairn" config set background_bandwith 1M

touch "$work/stop"
if wait $writer; then ok "the writer met no error ($(tail -1 "$work/writer.out"))"; else
    tail -3 "$work/writer.out" | sed 's/^/# /'; not_ok "the writer met no error"; fi
check "everything is equal" diff -r "$work/source" "$M/source"
check "after a restart of the mount too" remount
check "everything is equal" diff -r "$work/source" "$M/source"
check "what was written meanwhile too" bash -c "cd '$M' && sha256sum --quiet -c '$work/sums'"
check "and no more" bash -c "[ \$(ls '$M/live' | wc -l) -eq \$(wc -l < '$work/sums') ]"
