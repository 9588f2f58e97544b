"""T13: each way in which copies of a chunk can be wrong x how many of three copies are.

Usage: chunk_faults.py CAIRN CLUSTER WORK HOW   the cluster runs with 3 copies on 3 chunkservers
  index    the servers that are hit were killed; what their indexes say is trusted when they start
  headers  their indexes are lost, too: they read the headers of all files when they start

Those that are not hit stay up, as when one disk fails among good ones. Outcomes: new = the file as last written; old =
as before; EIO; WRONG = anything else, which is never right."""
import os, random, shutil, subprocess, sys, time
import chunk_files
from chunk_files import BLOCK, HEADER, SECTOR, Chunk

cairn, cluster, work, how = sys.argv[1:5]
SERVERS, COPIES, SIZE = ['c1', 'c2', 'c3'], 3, 300_000
seed = int(os.environ.get('SEED', time.time_ns() % 1_000_000))
chance = random.Random(seed)
print(f'# seed={seed}', flush=True)


def run(*words, **more):
    return subprocess.run([cairn, *words], capture_output=True, timeout=120, **more)


def must(*words):
    done = run(*words)
    if done.returncode != 0:
        sys.exit(f'{" ".join(words)}: {done.stderr.decode()}')
    return done.stdout


def put(name, data):
    path = os.path.join(work, 'put')
    with open(path, 'wb') as f:
        f.write(data)
    must('cp', path, f'cairn:/{name}', '--cluster', cluster)


def inode_of(name):
    import json
    return json.loads(must('stat', f'cairn:/{name}', '--cluster', cluster, '-o', 'json'))['inode']


# ---- what is done to a copy of a stopped server; `old` is the copy as it was before the last write ----

def stale(c, old, other):
    c.bytes = bytearray(old.bytes)
    c.save()


def newer(c, old, other):
    import struct
    struct.pack_into('<Q', c.bytes, 48, c.version[1] + 1000)
    c.seal(0)
    c.save()


def missing(c, old, other):
    os.remove(c.path)


def truncated(c, old, other):
    os.truncate(c.path, HEADER + SIZE // 2 // BLOCK * BLOCK)


def empty(c, old, other):
    os.truncate(c.path, 0)


def extended(c, old, other):
    c.bytes += bytes(chance.randbytes(3 * BLOCK + 17))
    c.save()


def header(c, old, other):
    c.bytes[0:SECTOR] = chance.randbytes(SECTOR)
    c.save()


def crc_table(c, old, other):
    c.bytes[SECTOR:2 * SECTOR] = chance.randbytes(SECTOR)
    c.save()


def bit(c, old, other):
    c.bytes[HEADER + 10 * BLOCK + 77] ^= 4
    c.save()


def swapped(c, old, other):
    c.bytes = bytearray(other.bytes)
    c.save()


def zeros(c, old, other):
    c.bytes = bytearray(len(c.bytes))
    c.save()


def hole(c, old, other):
    c.bytes[HEADER:] = bytes(len(c.bytes) - HEADER)
    c.save()


def elsewhere(c, old, other):
    """A second file of the same chunk, older, in the folder of another shard."""
    folder = os.path.dirname(c.path)
    shard = int(folder[-4:], 16)
    to = f'{folder[:-4]}{(shard + 1) % 16:04x}'
    os.makedirs(to, exist_ok=True)
    old.save(os.path.join(to, os.path.basename(c.path)))


# fault: (what is done, outcome with 1, 2 and 3 copies hit)
FAULTS = {
    # All three old, as a disk image of then: only an index that is newer can know.
    'an old version': (stale, 'new', 'new', 'EIO' if how == 'index' else 'old'),
    'a newer version': (newer, 'new', 'new', 'new'),
    'missing': (missing, 'new', 'new', 'EIO'),
    'cut off': (truncated, 'new', 'new', 'EIO'),
    'empty': (empty, 'new', 'new', 'EIO'),
    'extended': (extended, 'new', 'new', 'new'),
    'header bad': (header, 'new', 'new', 'EIO'),
    'CRC table bad': (crc_table, 'new', 'new', 'EIO'),
    'a bit flipped': (bit, 'new', 'new', 'EIO'),
    'another chunk\'s file': (swapped, 'new', 'new', 'EIO'),
    'all zeros': (zeros, 'new', 'new', 'EIO'),
    'data zeros': (hole, 'new', 'new', 'EIO'),
    'twice, in two folders': (elsewhere, 'new', 'new', 'new'),
}


if os.environ.get('FAULT'):
    FAULTS = {name: rest for name, rest in FAULTS.items() if os.environ['FAULT'] in name}


class Cell:
    def __init__(self, fault, hits):
        self.fault, self.hits = fault, hits
        self.name = f'{list(FAULTS).index(fault)}-{hits}'
        self.damage, self.expected = FAULTS[fault][0], FAULTS[fault][hits]
        self.old, self.new = chance.randbytes(SIZE), chance.randbytes(SIZE)
        self.outcome, self.repaired = '?', '?'


def kill(servers):
    must('dev', 'kill', '--dir', cluster, *servers)
    if how == 'headers':
        for server in servers:
            shutil.rmtree(os.path.join(cluster, server, 'data', 'index'))


def in_sync():
    import json
    done = run('status', '--cluster', cluster, '-o', 'json')
    copies = json.loads(done.stdout)['copies'] if done.returncode == 0 else {}
    return copies.get('under') == 0 and copies.get('unavailable') == 0


def wait_for(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True


def outcome(cell):
    done = run('cat', f'cairn:/{cell.name}', '--cluster', cluster)
    if done.returncode == 0:
        return ('new' if done.stdout == cell.new else 'old' if done.stdout == cell.old else
                f'WRONG: {len(done.stdout)} bytes, {done.stdout.count(0)} zeros')
    partly = done.stdout and not cell.new.startswith(done.stdout)
    return 'WRONG' if partly else 'EIO' if any(word in done.stderr for word in (b'checksum mismatch', b'chunk is missing')) else done.stderr.decode().strip()


def copies_state(cell):
    """'' = all copies on the disks are whole and equal."""
    found = [Chunk(path) for _, path in chunk_files.find(cluster, cell.inode)]
    wrong = [f'{c.path}: {c.faults()}' for c in found if c.faults()]
    if wrong:
        return wrong[0]
    if len({(c.version, c.contents()) for c in found}) > 1:
        return 'copies differ'
    return '' if len(found) == COPIES else f'{len(found)} copies'


def write(cells):
    """Each file twice, the second time in place; gives the copies as they were after the first."""
    for cell in cells:
        put(cell.name, cell.old)
    old = {}
    for cell in cells:
        cell.inode = inode_of(cell.name)
        for server, path in chunk_files.find(cluster, cell.inode):
            old[cell.name, server] = Chunk(path)
    for cell in cells:
        with open(os.path.join(work, 'mnt', cell.name), 'r+b') as f:
            f.write(cell.new)
            os.fsync(f.fileno())
    return old


def damage(cells, servers, old):
    for cell in cells:
        found = chunk_files.find(cluster, cell.inode)
        assert len(found) == COPIES, (cell.name, found)
        for server, path in found:
            whole = Chunk(path)
            assert whole.faults() == [], (path, whole.faults())
            if server in servers:
                cell.damage(whole, old[cell.name, server], spare[server])


spare = {}


def hit(count):
    """One, two or all three servers have bad copies of each of these files."""
    cells = [Cell(fault, count) for fault in FAULTS]
    extra = Cell(list(FAULTS)[0], count)
    extra.name = f'extra-{count}'
    old = write(cells + [extra])
    # An orderly restart: nothing is suspect of being a torn write any more.
    must('dev', 'down', '--dir', cluster)
    must('dev', 'up', '--dir', cluster, '--mount', os.path.join(work, 'mnt'))
    wait_for(60, in_sync)
    for server in SERVERS:
        spare[server] = Chunk(dict(chunk_files.find(cluster, extra.inode))[server])
    servers = SERVERS[:count]
    kill(servers)
    damage(cells, servers, old)
    must('dev', 'start', '--dir', cluster, *servers)
    # A chunk that is lost on all copies keeps its shard from being in sync (docs/placement.md).
    if count < COPIES:
        settled = wait_for(60, in_sync)
        print(f'{"ok" if settled else "not ok"} t0023-chunk-faults: in sync again, {count} of {COPIES} servers hit ({how})', flush=True)
        if not settled:
            print('# ' + must('status', '--cluster', cluster).decode().replace('\n', '\n# '))
    else:
        wait_for(10, in_sync)
    for _ in range(4):  # whichever copy a read takes
        for cell in cells:
            if cell.outcome in ('?', cell.expected):
                cell.outcome = outcome(cell)
    for cell in cells:
        good = cell.outcome == cell.expected
        print(f'{"ok" if good else "not ok"} t0023-chunk-faults: {cell.fault}, {count} of {COPIES} copies ({how}): {cell.outcome}'
              + (f', wanted {cell.expected}' if not good else ''), flush=True)
    return cells


def main():
    for count in map(int, os.environ.get('HITS', '1 2 3').split()):
        cells = hit(count)
        must('dev', 'down', '--dir', cluster)
        left = [f'{cell.fault}: {state}' for cell in cells if (state := copies_state(cell))]
        print(f'# {len(left)} of {len(cells)} chunks have copies that nobody has looked at yet, {count} of {COPIES} hit ({how})')
        for line in left if os.environ.get('LEFT') else []:
            print(f'#   {line[:150]}')
        must('dev', 'up', '--dir', cluster, '--mount', os.path.join(work, 'mnt'))
        wait_for(60 if count < COPIES else 1, in_sync)


main()
