#!/bin/bash
# R19: a log whose first fdatasync fails ends the process at once: nothing is acknowledged after it, the others go on,
# and after a restart everything acknowledged is there. R20: a leader whose disk hangs (fsfreeze under its loop ext4)
# is replaced within seconds, clients go on; thawed, it comes back. Disks that vanish (EXT4_IOC_SHUTDOWN), too.
. "$(dirname "$0")/lib.sh"
begin t0015-meta-bad-disk
. "$(dirname "$0")/metas.sh"
metas_begin --checkpoint-log 1MiB
for i in 1 2 3; do disk_make $i 320M || { echo "ok $test_name # skipped: no loop devices"; trap - EXIT; rm -rf "$work"; exit 0; }; done
for i in 1 2 3; do meta_start $i; done
metas_mount
gone() { ! kill -0 "${pid[$1]}" 2> /dev/null; }
leads_other() { [ -n "$(leader)" ] && [ "$(leader)" != "$1" ]; }

cat > "$work/writer.py" <<'P'
import errno, os, sys, time
mount, work, prefix = sys.argv[1:]
last, longest, i = time.monotonic(), 0, 0
with open(f'{work}/made', 'a') as made:
    while not os.path.exists(f'{work}/stop.{prefix}'):
        name = f'{prefix}{i}'; i += 1
        try: os.mknod(f'{mount}/{name}', 0o10600)
        except OSError as e: print('failed', errno.errorcode[e.errno], name); time.sleep(0.1); continue
        now = time.monotonic(); longest = max(longest, now - last); last = now
        made.write(name + '\n'); made.flush()
print(f'longest {longest:.2f}')
P
write_begin() { python3 "$work/writer.py" "$M" "$work" "$1" > "$work/out.$1" 2>&1 & writer=$!; sleep 1.5; }
write_end() { touch "$work/stop.$1"; wait $writer; }
longest() { sed -n 's/^longest //p' "$work/out.$1"; }
no_failures() { ! grep failed "$work/out.$1"; }

wait_for 20 mkdir "$M/first"

# R19: the n-th fdatasync of the leader fails, by strace where there is one
if command -v strace > /dev/null; then
    for n in 1 7; do
        first=$(leader)
        write_begin "e$n"
        strace -qq -f -p "${pid[$first]}" -e trace=fdatasync -e inject=fdatasync:error=EIO:when=$n -o "$work/strace.$n" & tracer=$!
        check "the process ends after its failed fdatasync ($n)" wait_for 20 gone "$first"
        wait $tracer 2> /dev/null
        # Nothing of the log is synced once more: a retry would succeed, and the data be gone.
        check "the failed one was not tried again ($n)" python3 - "$work/strace.$n" <<'P'
import re, sys
failed = {}
for line in open(sys.argv[1]):
    m = re.search(r'^(\d+) .*fdatasync\((\d+)\)?.*?(INJECTED)?', line)
    if m and 'INJECTED' in line: failed[m.group(1)] = True
    elif m and m.group(1) in failed and 'resumed' not in line: sys.exit('synced again: ' + line)
sys.exit(not failed)
P
        check "it says why ($n)" grep -aq meta.disk_failed "$work/m$first.log"
        wait "${pid[$first]}"; code=$?
        check "it ends with status 3 ($n)" test $code = 3
        check "another leads ($n)" wait_for 20 leads_other "$first"
        sleep 1; write_end "e$n"
        check "writers heard nothing ($n)" no_failures "e$n"
        meta_start "$first"
        echo "# failed fdatasync $n: longest gap $(longest "e$n") s"
        sleep 2
    done
else echo "# no strace: EIO of single calls left out"; fi

# R19: every write of the disk fails from now on
first=$(leader)
write_begin s
python3 -c "
import fcntl, os, struct
fcntl.ioctl(os.open('$work/disk$first', os.O_RDONLY), 0x8004587d, struct.pack('I', 2))"
check "the process ends when its disk is gone" wait_for 20 gone "$first"
sleep 3; write_end s
check "writers heard nothing" no_failures s
echo "# disk gone: longest gap $(longest s) s"
check "gap below 5 s" python3 -c "import sys; sys.exit(not float('$(longest s)') < 5)"
wait "${pid[$first]}" 2> /dev/null; unset "pid[$first]"
umount "$work/disk$first" && mount -o loop "$work/disk$first.img" "$work/disk$first"
: > "$work/m$first.log"; meta_start "$first"
check "it starts again on what was synced" wait_for 20 grep -aq meta.start "$work/m$first.log"
sleep 2

# R20: the disk hangs
first=$(leader)
write_begin f
fsfreeze -f "$work/disk$first" || not_ok "freeze"
check "another leads while its disk hangs" wait_for 30 leads_other "$first"
sleep 3; write_end f
check "clients went on" no_failures f
echo "# disk frozen: longest gap $(longest f) s"
check "gap below 10 s" python3 -c "import sys; sys.exit(not float('$(longest f)') < 10)"
fsfreeze -u "$work/disk$first"
current=$(leader)
meta_end $(( 6 - current - first )) 9 # the thawed one is needed for a majority now
check "thawed, it counts again" wait_for 30 mkdir "$M/thawed"
check "it did not end" kill -0 "${pid[$first]}"
meta_start $(( 6 - current - first ))

python3 - "$M" "$work" > "$work/lost" <<'P'
import os, sys
have = set(os.listdir(sys.argv[1]))
made = [line.strip() for line in open(sys.argv[2] + '/made')]
lost = [name for name in made if name not in have]
print(f'{len(made)} acknowledged names, {len(lost)} lost')
sys.exit(len(lost) > 0 or len(made) < 20)
P
lost=$?
sed 's/^/# /' "$work/lost"
check "no acknowledged name is lost" test $lost -eq 0
