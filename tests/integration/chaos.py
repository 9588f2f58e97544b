"""T9 small: a whole cluster and two mounts under faults while a server is drained; run by t0024.

usage: chaos.py BUILD WORK    environment: SEED RUNS LENGTH FAULTS (see t0024)

Expects to have a network namespace to itself. Metaserver i is 127.0.1.i, chunkserver i 127.0.2.i. Each daemon and each mount
runs with a group id of its own, so that nftables can drop what one of them sends to another: one way, while the rest flows."""
import hashlib, json, multiprocessing, os, pickle, random, signal, subprocess, sys, time
import chunk_files

build, work = sys.argv[1:3]
seed = int(os.environ.get('SEED') or random.randrange(1, 1 << 30))
runs = int(os.environ.get('RUNS') or 1)
length_s = float(os.environ.get('LENGTH') or 30)
chosen = (os.environ.get('FAULTS') or 'kill-meta,kill-chunk,pause,cut,drain').split(',')
UUID, COPIES, GROUP, FILES_MAX = '24242424-2222-3333-4444-555555555555', 3, 30000, 60
METAS, CHUNKS, MOUNTS = [f'm{i}' for i in (1, 2, 3)], [f'c{i}' for i in (1, 2, 3, 4, 5)], ['f1', 'f2']
NODES = METAS + CHUNKS + MOUNTS
cairn = f'{build}/tools/cairn'
figures = dict.fromkeys('kills pauses cuts drains files bytes reads'.split(), 0)
failed = 0


def step(good, text, *details):
    global failed
    failed += not good
    for line in details if not good else []:
        print('# ' + str(line)[:300])
    print(f'{"ok" if good else "not ok"} t0024-chaos: {text}', flush=True)


def address(node):
    return f'127.0.{1 if node in METAS else 2}.{node[1:]}:7101'


cluster_text = ','.join(address(m) for m in METAS)


def nft(text):
    subprocess.run(['nft', '-f', '-'], input=text, text=True, check=True)


def tool(*words, seconds=60):
    try:
        return subprocess.run([cairn, *words, '--cluster', cluster_text], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, '', 'no end')


def status():
    done = tool('status', '-o', 'json', seconds=20)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def wait_for(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True


class Cluster:
    def __init__(self):
        self.process = {}
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        self.heal()
        for node in METAS + CHUNKS:
            self.start(node)
        for mount in MOUNTS:
            self.mount(mount)

    def start(self, node):
        if node in METAS:
            words = ['metaserver/cairn-metaserver', '--id', node[1:], '--peers', ','.join(f'{m[1:]}={address(m)}' for m in METAS),
                     '--copies', str(COPIES), '--shards', '64', '--initial-targets', str(len(CHUNKS)), '--down-out', '5s',
                     '--checkpoint-log', '4MiB']
        else:
            words = ['chunkserver/cairn-chunkserver', '--name', node, '--metaservers', cluster_text, '--left-grace', '1s',
                     '--inventory-every', '10s', '--reserve-per-mille', '0']
        data = f'{work}/{node}/data'
        os.makedirs(os.path.dirname(data), exist_ok=True)
        with open(f'{work}/{node}.err', 'a') as err:
            self.process[node] = subprocess.Popen(
                [f'{build}/{words[0]}', *words[1:], '--cluster', UUID, '--data', data, '--listen', address(node), '--log-file',
                 f'{work}/{node}.log'], stdout=err, stderr=err, group=GROUP + NODES.index(node))

    def mount(self, node):
        folder = f'{work}/{node}'
        os.makedirs(folder, exist_ok=True)
        with open(f'{work}/{node}.err', 'a') as err:
            self.process[node] = subprocess.Popen(
                [f'{build}/fuse/cairn-mount', cluster_text, folder, '-f', '-o', f'timeout=120s,log={work}/{node}.log'],
                stdout=err, stderr=err, group=GROUP + NODES.index(node))
        wait_for(60, lambda: os.path.ismount(folder))

    def unmount(self, node):
        subprocess.run(['umount', f'{work}/{node}'], check=False)
        try:
            self.process[node].wait(timeout=60)
        except subprocess.TimeoutExpired:
            step(False, f'{node} ends when it is unmounted')
            self.process[node].kill()

    def kill(self, node):
        self.process[node].kill()
        self.process[node].wait()

    def heal(self):
        nft('add table inet cut\ndelete table inet cut\n')

    def cut(self, pairs):
        rules = '\n'.join(f'meta skgid {GROUP + NODES.index(a)} ip daddr {address(b).split(":")[0]} drop' for a, b in pairs)
        nft('table inet cut {\nchain output {\ntype filter hook output priority 0\n' + rules + '\n}\n}\n')

    def end(self):
        self.heal()
        for node in MOUNTS:
            self.unmount(node)
        for node in CHUNKS + METAS:
            if self.process[node].poll() is not None:
                step(False, f'{node} runs to the end', f'status {self.process[node].returncode}')
                continue
            self.process[node].send_signal(signal.SIGCONT)
            self.process[node].terminate()
        for node in CHUNKS + METAS:
            try:
                self.process[node].wait(timeout=30)
            except subprocess.TimeoutExpired:
                step(False, f'{node} stops when it is told to')
                self.process[node].kill()


class Worker(multiprocessing.get_context('fork').Process):
    """Writes files through one mount and fsyncs each; reads them back; overwrites, appends, cuts and removes. A process of its
    own: a child of whoever has files open on a mount that hangs would hang with it, when it closes them."""

    def __init__(self, mount, number, end):
        super().__init__(daemon=True)
        self.chance, self.root, self.end = random.Random(number), f'{work}/{mount}', end
        self.folder, self.known, self.error = f'w{number}', {}, None
        self.figures, self.result = dict.fromkeys(('files', 'bytes', 'reads'), 0), f'{work}/w{number}.result'

    def write(self, name, data, flags):
        fd = os.open(f'{self.root}/{name}', flags | os.O_WRONLY)
        try:
            at = 0
            while at < len(data):
                at += os.write(fd, data[at:at + 131072])
            os.fsync(fd)
        finally:
            os.close(fd)

    def one(self, number):
        chance = self.chance
        crowded = len(self.known) >= FILES_MAX
        if crowded or (self.known and chance.random() < 0.35):
            name = chance.choice(list(self.known))
            old, tail = self.known.pop(name), chance.randbytes(chance.choice((10, 5000, 80000)))
            kind = 3 if crowded else chance.randrange(4)
            if kind == 0:
                self.write(name, tail, os.O_APPEND)
                data = old + tail
            elif kind == 1:
                os.truncate(f'{self.root}/{name}', len(old) // 2)
                os.truncate(f'{self.root}/{name}', len(old))
                self.write(name, b'', 0)
                data = old[:len(old) // 2] + bytes(len(old) - len(old) // 2)
            elif kind == 2:
                self.write(name, tail, 0)
                data = tail + old[len(tail):]
            else:
                os.unlink(f'{self.root}/{name}')
                return
            self.known[name] = data
        else:
            name = f'{self.folder}/f{number}'
            data = chance.randbytes(chance.choice((1, 100, 4096, 70000, 300000, 1500000)))
            self.write(name, data, os.O_CREAT | os.O_EXCL)
            self.known[name] = data
            self.figures['files'] += 1
        self.figures['bytes'] += len(data)

    def check(self):
        if not self.known:
            return
        name = self.chance.choice(list(self.known))
        with open(f'{self.root}/{name}', 'rb') as f:
            if f.read() != self.known[name]:
                raise ValueError(f'{name} reads wrong')
        self.figures['reads'] += 1

    def run(self):
        try:
            os.mkdir(f'{self.root}/{self.folder}')
            number = 0
            while time.monotonic() < self.end:
                number += 1
                self.one(number)
                self.check()
        except (OSError, ValueError) as e:
            self.error = f'{self.folder}: {e}'
        with open(self.result, 'wb') as f:
            pickle.dump((self.error, self.known, self.figures), f)

    def take_result(self):
        self.join(timeout=180)
        if self.is_alive() or not os.path.exists(self.result):
            self.error = 'it hangs, or died'
            return
        with open(self.result, 'rb') as f:
            self.error, self.known, counts = pickle.load(f)
        os.unlink(self.result)
        for name, count in counts.items():
            figures[name] += count


class Faults:
    def __init__(self, cluster, chance, is_over):
        self.cluster, self.chance, self.is_over, self.draining = cluster, chance, is_over, None

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.is_over():
            time.sleep(0.05)

    def kill_meta(self):
        self.kill(self.chance.choice(METAS))

    def kill_chunk(self):
        self.kill(*self.chance.sample(CHUNKS, self.chance.choice((1, 1, 2))))

    def kill(self, *nodes):
        for node in nodes:
            self.cluster.kill(node)
            figures['kills'] += 1
        self.wait(self.chance.choice((0.1, 1, 4, 8)))
        for node in nodes:
            self.cluster.start(node)

    def pause(self):
        """Often a little longer than the lease of 3 s, and than an election."""
        node = self.chance.choice(METAS + CHUNKS)
        self.cluster.process[node].send_signal(signal.SIGSTOP)
        figures['pauses'] += 1
        self.wait(self.chance.choice((self.chance.uniform(0.1, 2), self.chance.uniform(2.5, 5), 8)))
        self.cluster.process[node].send_signal(signal.SIGCONT)

    def cut(self):
        """What one sends to some others is lost; what they send to it arrives."""
        node = self.chance.choice(NODES)
        others = [n for n in METAS + CHUNKS if n != node]
        self.cluster.cut([(node, other) for other in self.chance.sample(others, self.chance.randrange(1, 5))])
        figures['cuts'] += 1
        self.wait(self.chance.uniform(0.5, 6))
        self.cluster.heal()

    def drain(self):
        if self.draining is None:
            node = self.chance.choice(CHUNKS)
            if tool('server', 'drain', node, seconds=30).returncode == 0:
                self.draining = node
                figures['drains'] += 1
        self.wait(self.chance.uniform(0.5, 3))

    def run(self):
        steps = {'kill-meta': self.kill_meta, 'kill-chunk': self.kill_chunk, 'pause': self.pause, 'cut': self.cut, 'drain': self.drain}
        while not self.is_over():
            self.wait(self.chance.uniform(0.2, 2))
            if not self.is_over():
                steps[self.chance.choice(chosen)]()


def all_copies():
    copies = status().get('copies', {})
    return copies.get('under') == 0 and copies.get('unavailable') == 0


def job_is_over():
    done = tool('job', 'ls', '-o', 'json', seconds=20)
    return done.returncode == 0 and '"running"' not in done.stdout


def on_disks(inodes):
    """The disks hold N whole and equal copies of each chunk of a file, and nothing else."""
    wrong, chunks = [], 0
    for (folder, name), copies in chunk_files.everything(work).items():
        found = [chunk_files.Chunk(path) for _, path in copies]
        if found[0].id[0] not in inodes:
            wrong.append(f'{folder}/{name} on {[s for s, _ in copies]}: no file has it')
            continue
        chunks += 1
        if len(found) != COPIES:
            wrong.append(f'{folder}/{name}: {len(found)} copies on {[s for s, _ in copies]}')
        for c in found:
            if c.faults():
                wrong.append(f'{c.path}: {c.faults()[:3]}')
        if len({(c.version, c.length, hashlib.sha256(c.contents()).digest()) for c in found}) != 1:
            wrong.append(f'{folder}/{name}: copies differ: {[(c.version, c.length) for c in found]}')
    return chunks, wrong


def contents_wrong(workers, mount):
    for worker in workers:
        for name, data in worker.known.items():
            with open(f'{work}/{mount}/{name}', 'rb') as f:
                if f.read() != data:
                    return f'{name} differs through {mount}'
    return ''


def one_run(number):
    chance = random.Random(number)
    cluster = Cluster()
    end = time.monotonic() + length_s
    is_over = lambda: time.monotonic() > end
    workers = [Worker(MOUNTS[i % 2], i + 1, end) for i in range(4)]
    for worker in workers:
        worker.start()
    faults = Faults(cluster, chance, is_over)
    faults.run()
    cluster.heal()
    for worker in workers:
        worker.take_result()
        step(not worker.error, f'no error and no hang for {worker.folder}', worker.error)
    if faults.draining:
        step(wait_for(120, job_is_over), f'the drain of {faults.draining} ends', tool('job', 'ls').stdout)
    step(wait_for(120, all_copies), f'{COPIES} copies of everything', tool('status').stdout)
    for mount in MOUNTS:  # with cold caches
        cluster.unmount(mount)
        cluster.mount(mount)
        wrong = contents_wrong(workers, mount)
        step(not wrong, f'every byte is there through {mount}', wrong)
    inodes = {os.stat(os.path.join(folder, name)).st_ino for folder, _, names in os.walk(f'{work}/f1') for name in names}
    wait_for(60, lambda: status().get('deletes_pending', 0) == 0)
    time.sleep(5)  # what has left goes after a second
    cluster.end()
    chunks, wrong = on_disks(inodes)
    step(not wrong, f'{chunks} chunks: whole, equal, {COPIES} of each, nothing else on the disks', f'{len(wrong)} wrong', *wrong[:12])


def main():
    print(f'# seed={seed} runs={runs} length={length_s:.0f}', flush=True)
    for number in range(seed, seed + runs):
        before = failed
        one_run(number)
        if failed > before:
            print(f'# again: SEED={number} RUNS=1')
            break
        for node in METAS + CHUNKS:
            subprocess.run(['rm', '-rf', f'{work}/{node}'], check=True)
    print('# ' + ', '.join(f'{value} {name}' for name, value in figures.items()))
    return 1 if failed else 0


sys.exit(main())
