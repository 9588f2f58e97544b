"""Writes files on the mount, fsyncs each, then notes name and sha256 in the manifest (fsynced, elsewhere)."""
import hashlib, os, random, sys

mount, manifest, tag = sys.argv[1:4]
rng = random.Random(int(tag))
folder = f'{mount}/w{tag}'
os.makedirs(folder, exist_ok=True)
out = open(manifest, 'a')
number = 0
while True:
    number += 1
    data = rng.randbytes(rng.choice([1, 100, 4096, 5000, 70000, 300000, 2000000]))
    name = f'{folder}/f{number}'
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    at = 0
    while at < len(data):
        at += os.write(fd, data[at:at + 131072])
    os.fsync(fd)
    os.close(fd)
    out.write(f'{name[len(mount):]} {len(data)} {hashlib.sha256(data).hexdigest()}\n')
    out.flush()
    os.fsync(out.fileno())
