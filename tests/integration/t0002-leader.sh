#!/bin/bash
# P2, P5: kill -9 of the leader every few seconds during a copy: it ends without an error, content
# equal, each stall below 3 s. KILLS=10 for the long form.
. "$(dirname "$0")/lib.sh"
begin t0002-leader
KILLS=${KILLS:-3}
cluster_up
python3 - "$M" "$work" > "$work/writer.out" 2>&1 <<'P' &
# Copies a tree again and again, and notes the longest time between two finished operations.
import os, shutil, sys, time
mount, work = sys.argv[1:]
longest, at, last = 0, 0, time.monotonic()
round = 0
while not os.path.exists(work + '/stop'):
    target = f'{mount}/r{round}'; os.mkdir(target)
    for name in sorted(os.listdir('/usr/include/linux'))[:400]:
        source = '/usr/include/linux/' + name
        if not os.path.isfile(source): continue
        shutil.copyfile(source, f'{target}/{name}')
        now = time.monotonic()
        longest = max(longest, now - last); last = now
    round += 1
print(f'{longest:.3f} {round}')
P
writer=$!
for i in $(seq "$KILLS"); do
    sleep 4
    "$cairn" dev kill --dir "$D" leader > "$work/kill.out" 2>&1 || { sed 's/^/# /' "$work/kill.out"; not_ok "kill $i"; }
    sleep 1
    "$cairn" dev start --dir "$D" all > "$work/start.out" 2>&1 || { sed 's/^/# /' "$work/start.out"; not_ok "start $i"; }
done
touch "$work/stop"
if wait $writer; then ok "the copy ended without an error"; else sed 's/^/# /' "$work/writer.out"; not_ok "the copy ended without an error"; fi
read -r longest rounds < "$work/writer.out"
echo "# longest stall $longest s over $KILLS kills, $rounds rounds of copying"
check "each stall below 3 s" python3 -c "import sys; sys.exit(not float('$longest') < 3)"
check "remount" remount
check "content equal" bash -c "for r in '$M'/r*; do for f in \"\$r\"/*; do cmp -s \"\$f\" /usr/include/linux/\${f##*/} || { echo \$f; [ \$r = '$M'/r$((rounds - 1)) ] || exit 1; }; done; done"
cluster_down
