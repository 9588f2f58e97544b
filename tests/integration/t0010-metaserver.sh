#!/bin/bash
# R9, R11, R17: metaservers killed, left behind, wiped, with a cut or damaged log or checkpoint:
# each comes back right or refuses with a reason, and every listing stays equal.
# The release build; the sanitizers watch the same daemon in test-metaserver.
CAIRN_BUILD=${CAIRN_BUILD:-${CAIRN_RELEASE:-}}
[ -n "$CAIRN_BUILD" ] || unset CAIRN_BUILD
. "$(dirname "$0")/lib.sh"
begin t0010-metaserver
seed=${SEED:-$RANDOM}
FLIPS=${FLIPS:-12}
daemon=$build/metaserver/cairn-metaserver
mount=$build/fuse/cairn-mount
uuid=10101010-2222-3333-4444-$(printf %012x $$)
port=$((21000 + $$ % 2000 * 4)) # of its own: another run may be under way
peers=1=127.0.0.1:$((port + 1)),2=127.0.0.1:$((port + 2)),3=127.0.0.1:$((port + 3))
declare -A pid
finish_mine() {
    local code=$?
    umount -l "$M" 2> /dev/null
    for i in "${!pid[@]}"; do kill -9 "${pid[$i]}" 2> /dev/null; done
    wait 2> /dev/null
    if grep -nE 'check failed|meta\.diverged|ERROR: (Address|Leak)|runtime error' "$work"/m?.log "$work"/m?.err 2> /dev/null; then
        not_ok "no daemon met a broken invariant"
    fi
    [ $failed_steps -eq 0 ] && [ $code -eq 0 ] && { rm -rf "$work"; exit 0; }
    echo "# kept: $work seed=$seed"
    exit 1
}
trap finish_mine EXIT
start() {
    "$daemon" --id "$1" --cluster $uuid --data "$work/m$1" --log-file "$work/m$1.log" \
        --listen "127.0.0.1:$((port + $1))" --peers $peers --shards 8 --checkpoint-log 1MiB \
        > "$work/m$1.err" 2>&1 &
    pid[$1]=$!
}
end() { kill "-$2" "${pid[$1]}" 2> /dev/null; wait "${pid[$1]}" 2> /dev/null; unset "pid[$1]"; }
# The newest role line that says leader, by the terms in the logs of those that run.
leader() {
    for i in "${!pid[@]}"; do
        grep -a 'leader.ready' "$work/m$i.log" | tail -1 | sed -E "s/.*term=([0-9]+).*/\1 $i/"
    done | sort -n | tail -1 | cut -d' ' -f2
}
listing() { (cd "$M" && find . -mindepth 1 -printf '%p %y %m %s %T@ %i %n\n' | sort) > "$work/$1"; }
same() { listing now && diff "$work/before" "$work/now" > "$work/diff" || { head -5 "$work/diff"; return 1; }; }
has_begun_or_ended() { grep -aq meta.start "$work/m$1.log" || ! kill -0 "${pid[$1]}"; }
# The listing as node $1 has it: one other goes, the remaining one hands over to it.
equal_at() {
    local other=$(( $1 % 3 + 1 )) third=$(( ($1 + 1) % 3 + 1 )) result=1
    end $third 9
    for _ in 1 2 3; do
        wait_for 15 touch "$M/probe" || break
        [ "$(leader)" = "$1" ] && { rm -f "$M/probe"; same; result=$?; break; }
        end $other 15; start $other
    done
    start $third
    return $result
}
make_names() { # PREFIX COUNT: many names in parallel
    python3 - "$M" "$1" "$2" << 'P'
import os, sys, threading
mount, prefix, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def work(part):
    os.makedirs(f'{mount}/{prefix}{part}')
    for i in range(count // 8):
        os.mknod(f'{mount}/{prefix}{part}/{"n" * 150}{i}', 0o100644 if i % 2 else 0o10600)
threads = [threading.Thread(target=work, args=(p,)) for p in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
P
}

for i in 1 2 3; do start $i; done

"$mount" "$(echo "$peers" | sed "s/[0-9]=//g")" "$M" -o attr_timeout=0s,log="$work/mount.log" > "$work/mount.out" 2>&1 || {
    tail -3 "$work/mount.out" | sed 's/^/# /'; not_ok "mount"; exit 1; }
check "names are made" make_names a 800

# kill -9 of the leader: the longest gap between two mkdirs
python3 - "$M" "$work" > "$work/gap" << 'P' &
import os, sys, time
mount, work = sys.argv[1:]
last, longest, i = time.monotonic(), 0, 0
while not os.path.exists(work + '/stop'):
    os.mkdir(f'{mount}/k{i}'); i += 1
    now = time.monotonic(); longest = max(longest, now - last); last = now
print(f'{longest:.3f} {i}')
P
writer=$!
for i in 1 2 3 4 5; do
    sleep 1.5; l=$(leader); end "$l" 9; sleep 1; start "$l"
done
touch "$work/stop"
if wait $writer; then ok "every mkdir succeeded over five kills"; else not_ok "every mkdir succeeded over five kills"; fi
read -r gap made < "$work/gap"
echo "# longest gap $gap s, $made directories over 5 kills of the leader"
check "gaps below 3 s" python3 -c "import sys; sys.exit(not float('$gap') < 3)"

# a follower left behind: checkpoints, and a catch-up by snapshot
late=$(( $(leader) % 3 + 1 ))
end $late 9
check "more names than the log keeps in memory" make_names b 14000
check "checkpoints were made" wait_for 10 grep -aq checkpoint.done "$work/m$(leader).log"
listing before
start $late
check "catches up by snapshot" wait_for 15 grep -aq snapshot.installed "$work/m$late.log"
check "it leads and its listing is equal" equal_at $late

end $late 9; rm -rf "$work/m$late"; : > "$work/m$late.log"; start $late
check "a wiped one is refilled" wait_for 15 grep -aq snapshot.installed "$work/m$late.log"
check "it leads and its listing is equal" equal_at $late

end $late 9
sed -i 's/boot=[^ ]*/boot=another/' "$work/m$late/database.state"; : > "$work/m$late.log"; start $late
check "after a power cut the database is rebuilt" wait_for 15 grep -aq database.rebuild "$work/m$late.log"
check "it leads and its listing is equal" equal_at $late

# damage at random places of log and checkpoints while the node is down
refused=0 started=0 wrong=0
for round in $(seq "$FLIPS"); do
    end $late 9
    python3 - "$work/m$late" "$seed" "$round" > "$work/place" << 'P'
import os, random, sys
folder, seed, round = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
r = random.Random(seed * 1000 + round)
kind = 'checkpoints' if round % 4 == 0 else 'log'
names = sorted(n for n in os.listdir(f'{folder}/{kind}') if n != 'ballast')
if round % 4 == 0:
    open(f'{folder}/database.state', 'w').write('open boot=another mount=0\n')
    names = names[-1:]
if not names: sys.exit(0)
path = f'{folder}/{kind}/{r.choice(names)}'
size = min(os.path.getsize(path), 4 << 20)
at = r.randrange(max(size, 1))
with open(path, 'r+b') as f:
    if round % 4 == 3: f.truncate(at)
    else:
        f.seek(at); byte = f.read(1); f.seek(at); f.write(bytes([byte[0] ^ (1 << r.randrange(8))]))
print(round, path, at)
P
    : > "$work/m$late.log"; start $late
    wait_for 10 has_begun_or_ended $late
    if grep -aq meta.start "$work/m$late.log"; then started=$((started + 1))
    elif grep -q . "$work/m$late.err"; then refused=$((refused + 1)); wait "${pid[$late]}" 2> /dev/null; rm -rf "$work/m$late"; start $late
        wait_for 10 grep -aqE 'meta.start' "$work/m$late.log"
    else wrong=$((wrong + 1)); cat "$work/place"; fi
    if [ $((round % 4)) = 0 ]; then same || { wrong=$((wrong + 1)); cat "$work/place"; }; fi
done
echo "# $FLIPS damages: $started started right, $refused refused with a reason, $wrong wrong (seed=$seed)"
check "no damage passed silently" test $wrong = 0
check "it leads and its listing is equal" equal_at $late
