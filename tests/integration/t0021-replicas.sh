#!/bin/bash
# Copies per folder and file: inherited, kept by the right number of servers, changed for existing
# files while these are read and written (D12: no write is lost by a move), also as an extended attribute.
. "$(dirname "$0")/lib.sh"
begin t0021-replicas
cluster_up --chunk 4
replicas() { timeout 300 "$cairn" replicas "$@"; }
# told PATH KEY: of `replicas get`
told() { replicas get "$1" -o json | python3 -c "import json,sys; print(json.load(sys.stdin)[0]['$2'])"; }
attribute() { python3 -c "import os,sys; print(os.getxattr(sys.argv[1], 'user.cairn.replicas').decode())" "$1"; }
set_attribute() { python3 -c "import os,sys; os.setxattr(sys.argv[1], 'user.cairn.replicas', sys.argv[2].encode())" "$1" "$2"; }
is() { local got; got=$("${@:2}"); [ "$got" = "$1" ] || { echo "$*: $got"; return 1; }; }

mkdir "$M/three" "$M/one"
check "a folder with 3 copies" replicas set 3 "$M/three"
check "a folder with 1, by its attribute" set_attribute "$M/one" 1
refuse "more copies than servers" 7 "5 copies need as many chunkservers" "$cairn" replicas set 5 "$M/one"
refuse "no such number" 2 "no number of copies" "$cairn" replicas set 6 "$M/one"
mkdir "$work/three"
for i in $(seq 12); do head -c $((i * 30000)) /dev/urandom > "$work/three/$i"; done
head -c 70M /dev/urandom > "$work/three/two-chunks"
check "files in it" cp -r "$work/three/." "$M/three/"
cp "$work/three/12" "$M/one/file"
cp "$work/three/12" "$M/file"
sync -f "$M/three"
check "are kept three times" is 3 told "$M/three/two-chunks" copies_now
check "by three servers at least" bash -c "[ \$('$cairn' replicas get '$M/three/1' -o json | grep -o '\"c[1-4]\"' | wc -l) = 3 ]"
check "the other folder's once" is 1 told "$M/one/file" copies_now
check "all others twice" is 2 told "$M/file" copies_now
check "where it comes from" is /three told "$M/three/1" from
check "and of the rest" is / told "$M/file" from
check "as an attribute" is 3 attribute "$M/three/1"
check "also of folders" is 1 attribute "$M/one"
check "which is not listed" is "[]" python3 -c "import os; print(os.listxattr('$M/three'))"

"$cairn" dev kill --dir "$D" c1 c2 > /dev/null
echo 3 > /proc/sys/vm/drop_caches
check "with two servers dead three copies are read" diff -r "$work/three" "$M/three"
check "the servers come back" "$cairn" dev start --dir "$D" c1 c2
check "in sync again" wait_for 90 all_copies

# ---- existing files ----
mkdir "$work/tree"
cp -r /usr/include/linux/netfilter "$work/tree/" 2> /dev/null || cp -r /usr/include/x86_64-linux-gnu/bits "$work/tree/"
cp "$work/three/two-chunks" "$work/tree/"
truncate -s 200M "$work/tree/sparse"; printf middle | dd of="$work/tree/sparse" bs=1 seek=100000000 conv=notrunc status=none
cp -r --sparse=always "$work/tree" "$M/tree"
mkdir "$M/tree/written"
cat > "$work/writer.py" << 'EOF'
# Appends numbered lines, some overwritten in place, each fsynced and closed; stops when told.
import os, sys, time
path, stop = sys.argv[1:]
n = 0
while not os.path.exists(stop):
    with open(path, "r+b" if n else "w+b") as f:
        f.seek(0, 2)
        f.write(b"%08d\n" % n)
        f.seek(0)
        f.write(b"%08d\n" % n)
        f.flush()
        os.fsync(f.fileno())
    n += 1
    time.sleep(0.4)
with open(path, "rb") as f:
    lines = f.read().split()
want = [b"%08d" % (n - 1)] + [b"%08d" % i for i in range(1, n)]
assert n > 3 and lines == want, (n, lines[:5], lines[-5:], len(lines))
EOF
cat > "$work/reader.py" << 'EOF'
# Reads one file through one open for as long as the test goes on; it never differs, never fails.
import os, sys
path, copy, stop = sys.argv[1:]
want = open(copy, "rb").read()
f = open(path, "rb", buffering=0)
rounds = 0
while rounds < 2 or not os.path.exists(stop):
    os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    f.seek(0)
    got = b""
    while len(got) < len(want):
        piece = f.read(1 << 20)
        assert piece, (rounds, len(got))
        got += piece
    assert got == want, rounds
    rounds += 1
EOF
python3 "$work/writer.py" "$M/tree/written/log" "$work/stop" & writer=$!
python3 "$work/reader.py" "$M/tree/two-chunks" "$work/tree/two-chunks" "$work/stop" & reader=$!
exec 9> "$M/tree/written/held"; echo first >&9
refuse "a file that is open for writing stays" 6 "written/held: open for writing" \
    "$cairn" replicas set 3 "$M/tree/written/held"
check "and has its copies still" is 2 told "$M/tree/written/held" replicas
echo second >&9; exec 9>&-
check "closed it changes" replicas set 3 "$M/tree/written/held"
check "its contents" is "first second" bash -c "tr '\n' ' ' < '$M/tree/written/held' | sed 's/ $//'"
equal() { diff -r -x written "$work/tree" "$M/tree"; }
for copies in 3 1 2; do
    check "existing files get $copies" replicas set $copies "$M/tree" -r --wait
    sed 's/^/# /' "$work/step.out"
    check "all contents are the same" equal
    check "a file with $copies copies" is "$copies" told "$M/tree/two-chunks" replicas
    check "a sparse one too" is "$copies" told "$M/tree/sparse" replicas
    check "and the one that is written" is "$copies" told "$M/tree/written/log" replicas
done
# Servers die while files are moved: some moves are begun anew, nothing is lost.
replicas set 3 "$M/tree" -r --wait > "$work/faults.out" 2>&1 & mover=$!
sleep 0.3; "$cairn" dev kill --dir "$D" leader > /dev/null
sleep 1; "$cairn" dev kill --dir "$D" c4 > /dev/null
wait $mover
sed 's/^/# /' "$work/faults.out"
check "a leader and a chunkserver die meanwhile: contents" equal
check "they come back" "$cairn" dev start --dir "$D" all
check "once more" replicas set 3 "$M/tree" -r --wait
check "all have three copies" is 3 told "$M/tree/sparse" replicas
check "in sync" wait_for 90 all_copies
check "contents" equal
# A mover that is killed leaves the file as it was; the next one begins anew.
{ timeout -s KILL 0.3 "$cairn" replicas set 3 "$M/tree/two-chunks"; } > /dev/null 2>&1
check "a mover was killed: contents" cmp "$work/tree/two-chunks" "$M/tree/two-chunks"
check "again" replicas set 3 "$M/tree/two-chunks"
check "three copies" is 3 told "$M/tree/two-chunks" replicas
check "by the attribute it is moved too" set_attribute "$M/tree/two-chunks" 2
check "two copies" is 2 told "$M/tree/two-chunks" replicas
touch "$work/stop"
check "the writer lost nothing" wait $writer
check "the reader saw nothing" wait $reader
check "remount" remount
check "contents in the end" equal
check "the metadata is sound" timeout 60 "$cairn" fsck --cluster "$D"
is_clean() { [ "$(status_value deletes_pending)" = 0 ]; }
check "the old chunks are removed" wait_for 60 is_clean
cluster_down
