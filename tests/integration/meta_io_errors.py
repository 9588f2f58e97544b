"""Metaservers whose disk returns errors (T8); run by t0019.

usage: meta_io_errors.py BUILD WORK    environment: SEED, ALL=1, BUDGET (seconds), CELLS (pattern)

Each cell is one call x one error x one moment, by fail_at.so in one process:
  run    in one of three metaservers, leader or follower, while names are made, removed and looked
         up all the time (names-check)
  fill   in one of the three whose folder was wiped, while the others refill it from a checkpoint
  start  while a single metaserver starts, on copies of a folder that was closed, killed, or lost
         its database, and on a new one
"""
import ctypes, errno, json, mmap, os, random, re, select, shutil, signal, socket, struct, subprocess, sys, time, zlib

build, work = sys.argv[1:3]
seed = int(os.environ.get('SEED') or random.randrange(1, 1 << 30))
is_all = os.environ.get('ALL') == '1'
budget_s = float(os.environ.get('BUDGET') or 28)
pattern = os.environ.get('CELLS') or ''
NODES = (1, 2, 3)
UUID = '19191919-2222-3333-4444-555555555555'
CALLS = 'open pread read pwrite write fsync fdatasync rename fallocate ftruncate unlink mkdir statvfs mmap readdir'.split()
SHORT, FOR_EVER = 0x10000, 0xffffffff
SEGMENT_BYTES = 256 << 10  # small, so that segments change all the time
GAP_MAX_MS = 10000         # an election takes one second; the machine may be slow
# Which errors a call can have. What makes no sense is left out.
ERRORS = {
    'open': 'EIO ENOSPC EROFS EDQUOT EINTR EMFILE ENOMEM',
    'pread': 'EIO SHORT EINTR ENOMEM',
    'read': 'EIO SHORT EINTR ENOMEM',
    'pwrite': 'EIO ENOSPC EROFS EDQUOT SHORT EINTR ENOMEM',
    'write': 'EIO ENOSPC EROFS SHORT EINTR',
    'fsync': 'EIO ENOSPC EROFS EDQUOT EINTR ENOMEM',
    'fdatasync': 'EIO ENOSPC EROFS EDQUOT EINTR ENOMEM',
    'rename': 'EIO ENOSPC EROFS EDQUOT ENOMEM',
    'fallocate': 'EIO ENOSPC EROFS EDQUOT EINTR',
    'ftruncate': 'EIO ENOSPC EROFS EINTR',
    'unlink': 'EIO ENOSPC EROFS ENOMEM',
    'mkdir': 'EIO ENOSPC EROFS EDQUOT ENOMEM',
    'statvfs': 'EIO EINTR ENOMEM',
    'mmap': 'EIO ENOMEM',
    'readdir': 'EIO ENOMEM',
}
MOMENTS = ('first', 'later', 'always')
WIPED = 3  # the one that is refilled
# Where a call is made while a metaserver runs; '' is anywhere. The others happen at a start only.
PLACES = {
    'open': ('', 'log/', 'checkpoints'),
    'pread': ('', 'checkpoints'),
    'pwrite': ('', 'log/log-', 'log/vote', 'log/spare-', 'database', 'checkpoints'),
    'fsync': ('', 'log', 'log/spare-', 'checkpoints'),
    'fdatasync': ('', 'log/log-', 'log/vote'),
    'rename': ('', 'log/spare-', 'log/log-', 'checkpoints'),
    'fallocate': ('', 'log/spare-'),
    'write': ('', 'database'),
    'unlink': ('', 'checkpoints', 'log/log-'),
    'statvfs': ('',),
    'readdir': ('',),
}
# A later call is one of so many: the rare ones would not come to more in the time of a cell.
LATER_MAX = {'log/vote': 2, 'log/spare-': 3, 'log': 3, 'checkpoints': 2}
# Where a call is made while one is refilled, and how many are left alone at most; the others come to few anywhere.
FILL_PLACES = {
    'pwrite': [('checkpoints', 0), ('database', 3), ('log', 4), ('standing', 1)],
    'open': [('', 20), ('checkpoints', 5), ('database', 8)],
    'pread': [('', 4), ('checkpoints', 5), ('database', 2)],
    'fsync': [('', 12), ('checkpoints', 1)],
    'rename': [('', 9), ('checkpoints', 0), ('database', 0)],
}
outcomes, unexpected = {}, []


class Control:
    """The page of fail_at.h."""
    LAYOUT = struct.Struct('=5I64sII64s15I')

    def __init__(self, path):
        self.path = path
        with open(path, 'wb') as file:
            file.write(bytes(self.LAYOUT.size))
        with open(path, 'r+b') as file:
            self.page = mmap.mmap(file.fileno(), self.LAYOUT.size)

    def fields(self):
        return self.LAYOUT.unpack(self.page[:self.LAYOUT.size])

    def arm(self, call, error, skip, count, place):
        self.disarm()
        self.page[:self.LAYOUT.size] = self.LAYOUT.pack(
            0, CALLS.index(call), error, skip, count, place.encode(), 0, 0, b'', *[0] * 15)
        ctypes.c_uint32.from_buffer(self.page, 0).value = 1

    def count_all(self):
        self.page[:self.LAYOUT.size] = bytes(self.LAYOUT.size)
        ctypes.c_uint32.from_buffer(self.page, 0).value = 2

    def disarm(self):
        ctypes.c_uint32.from_buffer(self.page, 0).value = 0

    seen = property(lambda self: self.fields()[6])
    failed = property(lambda self: self.fields()[7])
    first_path = property(lambda self: self.fields()[8].split(b'\0')[0].decode())
    counts = property(lambda self: dict(zip(CALLS, self.fields()[9:])))


def free_ports(count):
    held = []
    for _ in range(count):
        s = socket.socket()
        s.bind(('127.0.0.1', 0))
        held.append(s)
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def wait_until(seconds, condition, pause=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(pause)
    return condition()


class Node:
    """One metaserver: its process, its folder, its log, its faults."""
    every = []

    def __init__(self, name, number, port, peers, options=()):
        self.name, self.folder, self.log = name, f'{work}/{name}', f'{work}/{name}.log'
        self.control = Control(f'{work}/{name}.control')
        self.every.append(self)
        self.process, self.arguments = None, [
            f'{build}/metaserver/cairn-metaserver', '--id', str(number), '--cluster', UUID, '--data', self.folder,
            '--log-file', self.log, '--listen', f'127.0.0.1:{port}', '--shards', '8', '--checkpoint-log', '1MiB',
            *(['--peers', peers] if peers else []), *options]

    def start(self):
        self.mark = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(f'{work}/{self.name}.err', 'wb') as err:
            self.process = subprocess.Popen(self.arguments, stdout=err, stderr=err, env=dict(
                os.environ, LD_PRELOAD=f'{build}/tests/integration/fail_at.so', FAIL_AT_FOLDER=self.folder,
                FAIL_AT_CONTROL=self.control.path))

    def said(self, mark=None):
        """What it logged since its start, or since `mark`, and wrote to standard error."""
        with open(self.log, 'rb') if os.path.exists(self.log) else open(os.devnull, 'rb') as log:
            log.seek(self.mark if mark is None else mark)
            text = log.read().decode(errors='replace')
        with open(f'{work}/{self.name}.err', errors='replace') as err:
            return text + err.read()

    def code(self):
        return self.process.poll()

    def end(self, number=signal.SIGTERM, seconds=15):
        if self.code() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def format(self):
        """A log with small segments: one that waits for others to found has made no segment yet."""
        self.start()
        if not wait_until(20, lambda: 'meta.start' in self.said()):
            sys.exit(f'not ok t0019-meta-io-errors: {self.name} starts: {self.said()}')
        self.end(signal.SIGKILL)
        path = f'{self.folder}/log/identity'
        with open(path) as file:
            text = re.sub(r'segment-size \d+', f'segment-size {SEGMENT_BYTES}', file.read())
        text = text[:text.index('crc ')]
        with open(path, 'w') as file:
            file.write(text + f'crc {zlib.crc32(text.encode()):08x}\n')
        for name in os.listdir(f'{self.folder}/log'):
            if name.startswith('spare-'):
                os.unlink(f'{self.folder}/log/{name}')
        os.truncate(f'{self.folder}/log/ballast', 0)  # it is there, and copies are quick
        os.unlink(self.log)


class Names:
    """names-check: acknowledged names, and what is wrong with answers."""

    def __init__(self, addresses):
        self.process = subprocess.Popen([f'{build}/tests/integration/names-check', addresses, str(seed)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.rest, self.last = b'', {}

    def tell(self, line):
        self.process.stdin.write(line.encode() + b'\n')

    def lines(self, seconds):
        if select.select([self.process.stdout], [], [], seconds)[0]:
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                raise RuntimeError(f'names-check ended: {self.process.wait()}')
            *lines, self.rest = (self.rest + got).split(b'\n')
            return [line.decode() for line in lines]
        return []

    def begin(self, folder):
        self.tell('begin ' + folder)
        self.last = {}

    def acked(self):
        for line in self.lines(0):
            if line.startswith('at '):
                self.last = dict(re.findall(r'(\w+)=(\d+)', line))
        return int(self.last.get('acked', 0))

    def check(self, seconds=80):
        self.tell('check')
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.lines(0.5):
                if line.startswith('checked'):
                    return {**{k: int(v) for k, v in re.findall(r'(\w+)=(\d+)', line)}, 'why': line.split('why=')[1]}
        raise RuntimeError('names-check does not answer')


def error_number(error):
    return SHORT if error == 'SHORT' else getattr(errno, error)


def span(moment, error, chance, most):
    """How many calls are left alone, how many fail. EINTR for ever has no meaning: callers may go on for ever."""
    skip = 0 if moment != 'later' else chance.randint(1, max(most, 1))
    return skip, 1 if moment != 'always' else 5 if error == 'EINTR' else FOR_EVER


def complaint(node, text, mark=None):
    """What is wrong with an end by itself: '' = a message says what and where, and the code is an error."""
    code = node.code()
    if code < 0:
        return f'killed by signal {-code} ({signal.Signals(-code).name}): {text[-300:]}'
    if code == 0:
        return 'ended with status 0'
    if not [line for line in text.splitlines() if (' error ' in line or line.startswith('cairn-metaserver: ')) and node.folder in line]:
        return f'no message names the folder: {text[-400:]}'
    return ''


def names_of(dump):
    return [line for line in dump.splitlines() if json.loads(line)['kind'] == 'name']


class Runs:
    """Cells in one of three that run, or in the one of them that is refilled."""

    def __init__(self):
        ports = free_ports(3)
        peers = ','.join(f'{i}=127.0.0.1:{ports[i - 1]}' for i in NODES)
        self.addresses = ','.join(f'127.0.0.1:{p}' for p in ports)
        self.nodes = {i: Node(f'm{i}', i, ports[i - 1], peers) for i in NODES}
        for node in self.nodes.values():
            node.format()
        for node in self.nodes.values():
            node.start()
        self.names = Names(self.addresses)
        self.number = 0

    def cairn(self, *words, seconds=12):
        limit = ['--timeout', str(seconds)] if words[0] != 'dump' else []
        try:
            return subprocess.run([f'{build}/tools/cairn', 'meta', *words, '--cluster', self.addresses, *limit],
                                  capture_output=True, text=True, timeout=seconds + 10)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 99, '', 'timed out')

    def ask(self, *words):
        """Whatever becomes of it."""
        return subprocess.Popen([f'{build}/tools/cairn', 'meta', *words, '--cluster', self.addresses, '--timeout', '3'],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def lead(self, number, seconds=30):
        said = []

        def leads():
            said[:] = [self.cairn('transfer', f'm{number}', seconds=5)]
            return said[0].returncode == 0
        return '' if wait_until(seconds, leads, 0.2) else (said[0].stderr or said[0].stdout).strip()

    def cell(self, call, error, moment, chance):
        self.number += 1
        victim = chance.choice(NODES)
        node, place = self.nodes[victim], chance.choice(PLACES[call])
        is_leader = chance.random() < 0.5
        skip, count = span(moment, error, chance, LATER_MAX.get(place, 2 if call in ('unlink', 'readdir', 'statvfs', 'write') else 20))
        label = f'{place or "anywhere"} {"leader" if is_leader else "follower"}' + (f' skip={skip}' if skip else '')
        why = self.lead(victim if is_leader else victim % 3 + 1)
        if why:
            return label, 'broken', 'nobody leads before it: ' + why
        self.names.begin(f'cell-{self.number}')
        if not wait_until(10, lambda: self.names.acked() > 20):
            return label, 'broken', 'no names are made before it'
        mark = os.path.getsize(node.log)
        node.control.arm(call, error_number(error), skip, count, place)
        # What makes the rarer calls: a checkpoint, then votes.
        asked = [self.ask('checkpoint', '--node', f'm{victim}')]
        fails = wait_until(2, lambda: node.control.failed > 0 or node.code() is not None)
        if fails:  # what follows of it
            wait_until(5 if call == 'fdatasync' else 0.8, lambda: node.code() is not None)
        has_left = 'role=FOLLOWER' in node.said(mark) and is_leader
        asked.append(self.ask('transfer', f'm{victim % 3 + 1 if is_leader else victim}'))
        if not fails and wait_until(2, lambda: node.control.failed > 0 or node.code() is not None):
            wait_until(5 if call == 'fdatasync' else 0.8, lambda: node.code() is not None)
        has_failed = node.control.failed > 0
        before = self.names.acked()
        is_served = wait_until(GAP_MAX_MS / 1000, lambda: self.names.acked() > before + 5)
        where = node.control.first_path
        node.control.disarm()
        for process in asked:
            process.wait()
        return self.judge(node, victim, f'{label} {"at " + where if has_failed else ""}', call, error,
                          has_failed, has_left, mark, is_served)

    def wipe(self):
        """The others' logs begin behind what the wiped one needs."""
        node = self.nodes[WIPED]
        why = self.lead(WIPED % 3 + 1)
        self.number += 1
        self.names.begin(f'cell-{self.number}')
        if why or not wait_until(10, lambda: self.names.acked() > 20):
            return f'no names are made before it: {why}'
        for number in NODES:
            if number != WIPED and self.cairn('checkpoint', '--node', f'm{number}').returncode != 0:
                return f'no checkpoint of m{number}'
        node.end(signal.SIGKILL)
        shutil.rmtree(node.folder)
        return ''

    def count_fill(self):
        """How often each call is made by a refill without faults."""
        node = self.nodes[WIPED]
        # More entries than a leader keeps for slow ones.
        subprocess.run([f'{build}/tests/integration/load-names', self.addresses, 'many', '6000'], stdout=subprocess.DEVNULL, check=True)
        for _ in range(2):  # two checkpoints, so that the log is trimmed
            why = self.wipe()
            node.control.count_all()
            node.start()
            why = why or self.lead(WIPED)
            node.control.disarm()
            if why or self.names.check()['wrong']:
                sys.exit(f'not ok t0019-meta-io-errors: a wiped one is refilled: {why} {node.said()}')
        if 'snapshot.installed' not in node.said():
            sys.exit('not ok t0019-meta-io-errors: it is refilled from a checkpoint')
        return node.control.counts

    def fill(self, call, error, moment, chance):
        self.counts = getattr(self, 'counts', None) or self.count_fill()
        if not self.counts[call]:
            return 'wiped', 'not called', ''
        node = self.nodes[WIPED]
        place, skip = chance.choice(FILL_PLACES.get(call, [('', self.counts[call] - 1)]))
        skip = chance.randint(0, skip)
        _, count = span(moment, error, chance, 0)
        label = f'{place or "anywhere"} skip={skip}'
        why = self.wipe()
        if why:
            return label, 'broken', why
        node.control.arm(call, error_number(error), skip, count, place)
        node.start()
        wait_until(8, lambda: node.control.failed > 0 or node.code() is not None or 'meta.joined' in node.said())
        wait_until(1.5, lambda: node.code() is not None)
        has_failed, where = node.control.failed > 0, node.control.first_path
        before = self.names.acked()
        is_served = wait_until(GAP_MAX_MS / 1000, lambda: self.names.acked() > before + 5)
        node.control.disarm()
        return self.judge(node, WIPED, f'{label} {"at " + (where or ".") if has_failed else ""}', call, error, has_failed,
                          None, node.mark, is_served)

    def judge(self, node, victim, label, call, error, has_failed, has_left, mark, is_served):
        text, wrong = node.said(mark), []
        if node.code() is not None:
            outcome = 'ended with message'
            wrong.append(complaint(node, text))
            node.start()
        else:
            outcome = ('stepped down' if has_left else 'went on') if has_failed else 'not called'
            if has_failed and call == 'fdatasync':
                wrong.append('goes on after a failed fdatasync')
            # Without room a spare is tried again silently; meta.space tells when that lasts.
            if has_failed and has_left is not None and call == 'fsync' and error not in ('ENOSPC', 'EDQUOT') and not re.search(
                    r'log\.spare_failed|checkpoint\.failed', text):
                wrong.append('a failed fsync is not told')
        if not is_served:
            wrong.append('the others do not serve')
        why = self.lead(victim)
        if why:
            wrong.append(f'it does not come back: {why}; {node.said()[-300:]}')
        if 'meta.disk_failed' in text and call != 'unlink' and 'database.rebuild' not in node.said():
            wrong.append('believes the database of a disk that failed')
        figures = self.names.check()
        if figures['wrong'] or figures['failed']:
            wrong.append(f'answers: {figures}')
        if figures['longest_ms'] > GAP_MAX_MS:
            wrong.append(f'no answer for {figures["longest_ms"]} ms')
        self.longest_ms = max(getattr(self, 'longest_ms', 0), figures['longest_ms'])
        for other in self.nodes.values():
            if other.code() is not None:
                wrong.append(f'{other.name} ended: {other.said()[-300:]}')
                other.start()
        return label, outcome, '; '.join(w for w in wrong if w)

    def cut_database(self):
        """A page of the database that the disk does not give is a SIGBUS, here behind a file cut short."""
        node = self.nodes[2]
        self.number += 1
        why = self.lead(1)
        self.names.begin(f'cell-{self.number}')
        mark = os.path.getsize(node.log)
        os.truncate(f'{node.folder}/database/data.mdb', 8192)
        is_gone = wait_until(10, lambda: node.code() is not None)
        wrong = why or complaint(node, node.said(mark)) if is_gone else 'it does not end'
        if is_gone:
            node.start()
        wrong = wrong or self.lead(2)
        figures = self.names.check()
        if not wrong and (figures['wrong'] or figures['failed'] or 'database.rebuild' not in node.said()):
            wrong = f'not built anew, or wrong: {figures}'
        if wrong:
            unexpected.append('cut')
            print(f'# {wrong}')
        print(f'{"not ok" if wrong else "ok"} t0019-meta-io-errors: a page of the database that cannot be read ends one, which builds it anew')

    def compare(self):
        """All of them hold the same, and it is sound."""
        dumps = []
        for number in NODES:
            why = self.lead(number)
            checked = subprocess.run([f'{build}/tools/cairn', 'fsck', '--cluster', self.addresses], capture_output=True,
                                     text=True, timeout=120)
            if why or checked.returncode != 0:
                return f'm{number}: {why} {checked.stdout} {checked.stderr}'
            dumps.append(names_of(self.cairn('dump').stdout))
        return '' if dumps[0] and dumps.count(dumps[0]) == len(NODES) else 'the dumps differ'

    def end(self):
        self.cut_database()
        wrong = self.compare()
        if wrong:
            unexpected.append('end')
            print(f'# {wrong}\nnot ok t0019-meta-io-errors: at the end all of them hold the same')
        self.names.process.stdin.close()
        for node in self.nodes.values():
            code = node.end()
            if code != 0:
                unexpected.append('end')
                print(f'not ok t0019-meta-io-errors: {node.name} ends by SIGTERM: {code}')


class Starts:
    """Cells at the start of a single one. The folder it starts on:
    closed (by SIGTERM), killed, lost (the database is built anew), new."""
    KINDS = ('closed', 'killed', 'lost', 'new')

    def __init__(self):
        self.port, ghost = free_ports(2)
        waiting = Node('single', 1, self.port, f'1=127.0.0.1:{self.port},2=127.0.0.1:{ghost}')
        waiting.format()
        self.node = Node('single', 1, self.port, '')
        self.folders = {kind: f'{work}/folder-{kind}' for kind in self.KINDS}
        self.node.start()
        if not self.leads():
            sys.exit('not ok t0019-meta-io-errors: a single one leads: ' + self.node.said())
        names = Names(f'127.0.0.1:{self.port}')
        for part in 'ab':  # a checkpoint, and entries behind it
            names.begin(part)
            wait_until(10, lambda: names.acked() > 150)
            if names.check()['wrong']:
                sys.exit('not ok t0019-meta-io-errors: a single one works')
            self.cairn('checkpoint')
        names.begin('c')
        wait_until(10, lambda: names.acked() > 50)
        names.check()
        names.process.stdin.close()
        names.process.wait()
        self.dump = self.dumped()
        self.node.end(signal.SIGKILL)
        self.copy(self.node.folder, self.folders['killed'])
        self.copy(self.node.folder, self.folders['lost'])
        with open(f'{self.folders["lost"]}/database.state', 'w') as state:
            state.write('open boot=another mount=0\n')
        self.node.start()
        self.leads()
        self.node.end()
        self.copy(self.node.folder, self.folders['closed'])
        self.counts = {kind: self.count(kind) for kind in self.KINDS}

    @staticmethod
    def copy(source, target):
        shutil.rmtree(target, ignore_errors=True)
        if os.path.exists(source):
            subprocess.run(['cp', '-a', '--sparse=always', source, target], check=True)

    def leads(self, seconds=15):
        return wait_until(seconds, lambda: 'leader.ready' in self.node.said() or self.node.code() is not None) and self.node.code() is None

    def cairn(self, *words):
        return subprocess.run([f'{build}/tools/cairn', 'meta', *words, '--cluster', f'127.0.0.1:{self.port}'],
                              capture_output=True, text=True, timeout=60)

    def dumped(self):
        return names_of(self.cairn('dump').stdout)

    def count(self, kind):
        """How often each call is made by a start without faults."""
        self.copy(self.folders[kind], self.node.folder)
        self.node.control.count_all()
        self.node.start()
        self.leads()
        self.node.control.disarm()
        self.node.end(signal.SIGKILL)
        return self.node.control.counts

    def cell(self, call, error, moment, chance):
        kinds = [kind for kind in self.KINDS if self.counts[kind][call]]
        if not kinds:
            return 'any folder', 'not called', ''
        kind = chance.choice(kinds)
        skip, count = span(moment, error, chance, self.counts[kind][call] - 1)
        label = f'{kind} folder' + (f' skip={skip}' if skip else '')
        node = self.node
        self.copy(self.folders[kind], node.folder)
        node.control.arm(call, error_number(error), skip, count, '')
        node.start()
        wrong = []
        is_up = self.leads(8)
        if is_up:
            time.sleep(0.3)
        has_failed, where = node.control.failed > 0, node.control.first_path
        node.control.disarm()
        if node.code() is not None:
            outcome = 'ended with message'
            wrong.append(complaint(node, node.said()))
        else:
            outcome = 'started' if has_failed else 'not called'
            if not is_up:
                outcome = 'waited, then led'
                if not wait_until(8, lambda: 'leader.ready' in node.said()):
                    wrong.append('hangs, though the fault is gone: ' + node.said()[-300:])
            if node.end(signal.SIGKILL) is None:
                wrong.append('cannot be killed')
        node.start()
        if not self.leads():
            wrong.append(f'does not start afterwards: {node.said()[-400:]}')
        elif kind != 'new' and self.dumped() != self.dump:
            wrong.append('other names than before')
        code = node.end()
        if code != 0:
            wrong.append(f'ended with {code}')
        return f'{label}{" at " + (where or ".") if has_failed else ""}', outcome, '; '.join(w for w in wrong if w)


def cells():
    for call in CALLS:
        for error in ERRORS[call].split():
            for moment in MOMENTS:
                yield 'start', call, error, moment
                if moment != 'first' and call != 'read':
                    yield 'fill', call, error, moment
                if call in PLACES:
                    yield 'run', call, error, moment


def take(stage, cell, number):
    kind, call, error, moment = cell
    begun = time.monotonic()
    step = stage[kind].fill if kind == 'fill' else stage[kind].cell
    label, outcome, wrong = step(call, error, moment, random.Random(f'{seed} {cell}'))
    outcomes.setdefault((kind, call), {}).setdefault(outcome, 0)
    outcomes[kind, call][outcome] += 1
    print(f'# {kind:5} {call:9} {error:6} {moment:6} {label:44} {outcome:18} {time.monotonic() - begun:.1f} s', flush=True)
    if wrong:
        unexpected.append(cell)
        print('\n'.join('#   ' + line for line in wrong.splitlines()))
        print(f"not ok t0019-meta-io-errors: {' '.join(cell)}; again: SEED={seed} CELLS='{' '.join(cell)}'", flush=True)


def main():
    begun = time.monotonic()
    print(f'# seed={seed}', flush=True)
    chosen = [cell for cell in cells() if re.search(pattern, ' '.join(cell))]
    if not is_all and not pattern:
        random.Random(seed).shuffle(chosen)
    kinds = {cell[0] for cell in chosen}
    stage = {'start': Starts() if 'start' in kinds else None}
    stage['run'] = stage['fill'] = Runs() if kinds & {'run', 'fill'} else None
    print(f'# ready after {time.monotonic() - begun:.1f} s')
    done = 0
    for number, cell in enumerate(chosen):
        if not is_all and not pattern and time.monotonic() - begun > budget_s:
            break
        take(stage, cell, number)
        done += 1
    if stage['run']:
        print(f'# longest time without an answer: {getattr(stage["run"], "longest_ms", 0)} ms')
        stage['run'].end()
    words = sorted({o for row in outcomes.values() for o in row})
    print(f'# {"":15}' + ''.join(f'{w:>20}' for w in words))
    for (kind, call), row in sorted(outcomes.items()):
        print(f'# {kind:5} {call:9}' + ''.join(f'{row.get(w, 0):20}' for w in words))
    print(f'# {done} of {len(list(cells()))} cells in {time.monotonic() - begun:.0f} s, {len(unexpected)} unexpected')
    if unexpected:
        return 1
    print('ok t0019-meta-io-errors: errors of the disk lose nothing, stop nobody else, and say what they are')
    return 0


try:
    sys.exit(main())
finally:
    for its in Node.every:
        if its.process and its.code() is None:
            its.process.kill()
