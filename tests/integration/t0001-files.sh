#!/bin/bash
# The main job: a tree and a large file in and out, equal after a remount with cold caches.
. "$(dirname "$0")/lib.sh"
begin t0001-files
SIZE=${SIZE_MIB:-256}
cluster_up
all_named() { [ "$(status_json | python3 -c "
import json, sys
v = json.load(sys.stdin)
print(*[m['id'] for m in v['metaservers'] if m['up'] and m['address']], *[t['id'] for t in v['servers']])")" = "1 2 3 c1 c2 c3 c4" ]; }
check "status -o json names all servers" wait_for 10 all_named
check "cp -r of a real tree" cp -r /usr/include/linux "$M/"
head -c "${SIZE}M" /dev/urandom > "$work/big"
check "a large random file" cp "$work/big" "$M/big"
check "remount with cold caches" remount
check "diff -r of the tree" diff -r /usr/include/linux "$M/linux"
check "cmp of the large file" cmp "$work/big" "$M/big"
check "append, truncate, sparse read" python3 - "$M" <<'P'
import os, sys
p = sys.argv[1] + '/f'
with open(p, 'wb') as f: f.write(b'a' * 5000)
with open(p, 'ab') as f: f.write(b'b' * 5000)
os.truncate(p, 7000)
assert open(p, 'rb').read() == b'a' * 5000 + b'b' * 2000
os.truncate(p, 12000)
assert open(p, 'rb').read() == b'a' * 5000 + b'b' * 2000 + bytes(5000)
with open(p, 'r+b') as f:
    f.seek(200 << 20); f.write(b'end')
assert os.stat(p).st_size == (200 << 20) + 3
with open(p, 'rb') as f:
    f.seek(100 << 20); assert f.read(100000) == bytes(100000)
    f.seek(200 << 20); assert f.read() == b'end'
P
check "mmap read and write" python3 - "$M" <<'P'
import mmap, sys
p = sys.argv[1] + '/map'
open(p, 'wb').write(bytes(100000))
with open(p, 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b'hello'; m.flush(); m.close()
assert open(p, 'rb').read()[4998:5007] == b'\0\0hello\0\0'
P
check "unlinked and renamed over while open" python3 - "$M" <<'P'
import os, sys
d = sys.argv[1]
open(d + '/x', 'w').write('old'); open(d + '/y', 'w').write('new')
f = open(d + '/x'); os.rename(d + '/y', d + '/x')
assert f.read() == 'old' and open(d + '/x').read() == 'new'
g = open(d + '/x'); os.unlink(d + '/x'); assert g.read() == 'new'
assert not os.path.exists(d + '/x')
P
check "links, symlinks, modes, times" python3 - "$M" <<'P'
import os, stat, sys
d = sys.argv[1]
open(d + '/a', 'w').write('1'); os.link(d + '/a', d + '/b'); assert os.stat(d + '/a').st_nlink == 2
os.symlink('a', d + '/s'); assert os.readlink(d + '/s') == 'a' and open(d + '/s').read() == '1'
os.chmod(d + '/a', 0o640); assert stat.S_IMODE(os.stat(d + '/b').st_mode) == 0o640
os.utime(d + '/a', ns=(123456789, 987654321)); assert os.stat(d + '/a').st_mtime_ns == 987654321
os.mkdir(d + '/dir')
try: os.rmdir(d); assert False
except OSError: pass
open(d + '/dir/f', 'w').close()
try: os.rmdir(d + '/dir'); assert False
except OSError as e: assert e.errno == 39
P
NAMES=${NAMES:-3000}
check "a directory of $NAMES entries" python3 - "$M" "$NAMES" <<'P'
import os, sys
d = sys.argv[1] + '/many'; n = int(sys.argv[2]); os.mkdir(d)
for i in range(n): os.close(os.open(f'{d}/name-{i:07d}', os.O_CREAT | os.O_WRONLY))
assert sorted(os.listdir(d)) == [f'name-{i:07d}' for i in range(n)]
for i in range(0, n, 2): os.unlink(f'{d}/name-{i:07d}')
assert len(os.listdir(d)) == n // 2
P
check "cairn cp out, past the mount" "$cairn" cp --cluster "$D" cairn:/big "$work/out"
check "equal" cmp "$work/big" "$work/out"
check "cairn cp -r in" "$cairn" cp -r --cluster "$D" /usr/include/linux cairn:/again
check "equal through the mount" diff -r /usr/include/linux "$M/again"
check "cairn ls, stat, cat inside the mount" bash -c "'$cairn' ls '$M' | grep -q linux && '$cairn' stat '$M/big' | grep -q $((SIZE << 20)) && '$cairn' cat '$M/map' | cmp - '$M/map'"
check "rm -rf" rm -rf "$M/linux" "$M/again"
check "cluster stops" cluster_down
