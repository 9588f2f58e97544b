#!/usr/bin/env python3
"""Kills metaservers at each of their calls to the disk (t0018): kill_anywhere.py BUILD WORK.

A point is PIECE:MOMENT:NUMBER: the piece of work, before, within or after which call (kill_at.c). Each begins with
copies of folders made once. After the kill the daemon starts again on its folder, and the client that was cut
off goes on in its session as if nothing had been. Then the tree must be the one that the client's answers say: with
the database that is there, and with one that is built anew from checkpoint and log; and `cairn fsck` finds nothing.

EVERY: every so manyth point, 1 for all, not set: a sample that takes LIMIT seconds (28). SEED, PIECES=a,b,
POINT=PIECE:MOMENT:NUMBER for one alone; VERBOSE=1 tells the calls."""
import concurrent.futures, mmap, os, random, re, select, shutil, signal, socket, string, struct, subprocess, sys, threading, time
from collections import Counter

BUILD, WORK = sys.argv[1:3]
EVERY = int(os.environ.get('EVERY', '0'))
LIMIT = float(os.environ.get('LIMIT', '1e9' if EVERY == 1 else '28'))
SEED = int(os.environ.get('SEED', random.randrange(1 << 30)))
POINT = os.environ.get('POINT')
CLUSTER = '18181818-2222-3333-4444-555555555555'
SEGMENT = 64 << 10  # 16 blocks: a change of segment every few entries
PATIENCE = 60       # seconds; a machine may be slow, but nothing takes that long
MOMENTS = ('before', 'within', 'after')


class Bad(Exception):
    pass


# ---- the control file of kill_at.c ----

def kind_of(call):
    return re.sub(r'-[0-9a-f]+', '-N', call)


class Control:
    FORMAT = '<IIQQQ256s'

    def __init__(self, path):
        self.path = path
        with open(path, 'wb') as f:
            f.write(bytes(struct.calcsize(self.FORMAT)))
        with open(path, 'r+b') as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def set(self, armed, moment='before', target=0):
        self.map[:] = struct.pack(self.FORMAT, armed, MOMENTS.index(moment), target, 0, 0, b'')

    def arm(self, armed=1):
        self.map[0:4] = struct.pack('<I', armed)

    def counted(self):
        calls, large = struct.unpack(self.FORMAT, self.map[:])[3:5]
        return {'before': calls, 'within': large, 'after': calls}

    def where(self):
        return kind_of(struct.unpack(self.FORMAT, self.map[:])[5].rstrip(b'\0').decode())


# ---- processes ----

def command_of(lane, node, folder, port, control):
    command = [f'{BUILD}/metaserver/cairn-metaserver', '--id', str(node), '--cluster', CLUSTER, '--data', folder,
               '--listen', f'127.0.0.1:{port}', '--database-max', '64MiB']
    environment = dict(os.environ, LD_PRELOAD=f'{BUILD}/tests/integration/kill-at.so',
                       KILL_AT=(control or lane.idle).path, KILL_BELOW=folder)
    if control and lane.trace:
        environment['KILL_TRACE'] = lane.trace
    return command, environment


def make_alone(lane, node, control=None):
    """The folder becomes a cluster of its own. False: it was killed."""
    command, environment = command_of(lane, node, lane.data(node), lane.port, control)
    made = subprocess.run(command + ['--force-new-cluster', 'yes', '--yes-i-may-lose-data', 'yes'], env=environment,
                          capture_output=True)
    if made.returncode not in (0, -signal.SIGKILL if control else 0):
        raise Bad(f'--force-new-cluster: {made.stderr.decode()}')
    return made.returncode == 0


class Daemon:
    def __init__(self, lane, node, folder, port, control=None, peers=''):
        self.log = f'{lane.folder}/log{node}'
        self.node, self.folder, self.control = node, folder, control
        if os.path.exists(self.log):
            os.unlink(self.log)
        command, environment = command_of(lane, node, folder, port, control)
        command += ['--log-file', self.log, '--shards', '8', '--heartbeat', '20ms', '--election',
                    '100ms' if not peers else '200ms']
        command += ['--peers', peers] if peers else []
        self.errors = open(f'{lane.folder}/err{node}', 'w+')
        self.process = subprocess.Popen(command, env=environment, stdout=self.errors, stderr=self.errors)
        self.fd = os.pidfd_open(self.process.pid)
        self.is_reaped = False
        lane.daemons.append(self)

    def fileno(self):
        return self.fd

    def is_gone(self, timeout=0):
        return bool(select.select([self.fd], [], [], timeout)[0])

    def kill(self):
        self.process.kill()
        return self.wait()

    def wait(self, stopped=False):
        code = self.process.wait()
        self.is_reaped = True
        self.errors.seek(0)
        said = self.errors.read()
        if (code != 0 if stopped and code >= 0 else code != -signal.SIGKILL) or 'check failed' in said or 'check failed' in self.read_log():
            raise Bad(f'a metaserver ended by itself, with {code}: {said.strip()}')
        return code

    def read_log(self):
        try:
            with open(self.log, errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''


class Client:
    """Of one session. `model` is the tree that its answers say."""

    def __init__(self, lane, addresses):
        self.lane, self.model = lane, {}
        self.states = None  # or all that there were
        self.errors = open(f'{lane.folder}/client.err', 'w+')
        self.process = subprocess.Popen([f'{BUILD}/tests/integration/names-client', addresses], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, bufsize=0)
        self.text = b''
        self.pending = 'the session'
        lane.clients.append(self)

    def answer(self, killed=None):
        """The lines of the answer; None when `killed` was killed first, and then it can be asked for again."""
        end = time.monotonic() + PATIENCE
        while True:
            last = self.text[self.text.rfind(b'\n', 0, -1) + 1:]
            if last.endswith(b'\n') and (last == b'ok\n' or last.startswith(b'no ')):
                lines, self.text = self.text[:-len(last)], b''
                if last != b'ok\n':
                    raise Bad(f'{self.pending[:60]}: {last.decode().strip()}')
                return lines.decode()
            if killed and killed.is_reaped:
                return None
            living = [d for d in self.lane.daemons if not d.is_reaped]
            ready = select.select([self.process.stdout] + living, [], [], max(0, end - time.monotonic()))[0]
            if self.process.stdout in ready:
                piece = os.read(self.process.stdout.fileno(), 1 << 20)
                if not piece:
                    self.errors.seek(0)
                    raise Bad(f'the client ended: {self.errors.read().strip()}')
                self.text += piece
            elif ready:
                ready[0].wait()
            else:
                raise Bad(f'no answer in {PATIENCE} s: {self.pending[:60]}')

    def send(self, line):
        self.pending = line
        self.process.stdin.write(line.encode() + b'\n')

    def ask(self, line):
        self.send(line)
        return self.answer()

    def change(self, line):
        self.ask(line)
        apply(self.model, line)
        if self.states is not None:
            self.states.append(dict(self.model))

    def expect(self, model, what):
        lines = sorted(self.ask('list').splitlines())
        wanted = lines_of(model)
        if lines != wanted:
            missing, extra = set(wanted) - set(lines), set(lines) - set(wanted)
            raise Bad(f'{what}: missing {[x[:50] for x in missing]}, too many {[x[:50] for x in extra]}')


def lines_of(model):
    return sorted(f'{kind} {path}' + (f' {rest}' if rest else '') for path, (kind, rest) in model.items())


KINDS = {'mkdir': 'd', 'create': 'f', 'symlink': 'l'}


def apply(model, line):
    word, path, *rest = line.split() + ['', '']
    if word in KINDS:
        model[path] = (KINDS[word], rest[0])
    elif word == 'rename':
        for old in [p for p in model if p == path or p.startswith(path + '/')]:
            model[rest[0] + old[len(path):]] = model.pop(old)
    elif word in ('unlink', 'rmdir'):
        del model[path]


def long_text(chance):
    return ''.join(chance.choices(string.ascii_letters + string.digits, k=3900))


def operations(model, chance, part):
    """Lines that succeed one after the other, from `model` on. `part`: how many; or 'checkpoint'; or ('links', COUNT),
    of long targets, for a large state."""
    if part == 'checkpoint':
        return [part]
    if isinstance(part, tuple):
        return [f'symlink l{i} {long_text(chance)}' for i in range(part[1])]
    model, count = dict(model), part
    lines = []
    while len(lines) < count:
        folders = [''] + [p + '/' for p, (kind, _) in model.items() if kind == 'd']
        others = [p for p, (kind, _) in model.items() if kind != 'd']
        name = chance.choice(folders) + f'n{chance.randrange(1 << 40):x}'
        what = chance.randrange(10)
        if what < 3:
            line = f'create {name}'
        elif what < 5:
            line = f'mkdir {name}'
        elif what < 7:  # an entry of two blocks
            line = f'symlink {name} {long_text(chance)}'
        elif what < 9 and others:
            line = f'rename {chance.choice(others)} {name}'
        elif others:
            line = f'unlink {chance.choice(others)}'
        else:
            continue
        apply(model, line)
        lines.append(line)
    return lines


# ---- pieces of work ----

def make_empty(folder, node):
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([f'{BUILD}/tests/integration/small-log', folder, CLUSTER, str(node), str(SEGMENT)], check=True)


def distrust(folder):
    """As after a reboot: the database has to be built anew."""
    path = f'{folder}/database.state'
    with open(path) as f:
        text = f.read()
    with open(path, 'w') as f:
        f.write(re.sub('boot=[^ ]*', 'boot=another', text))


def damage_newest(folder):
    folder += '/checkpoints'
    newest = max(os.listdir(folder), key=lambda n: int(n.split('-')[1]))
    with open(f'{folder}/{newest}', 'r+b') as f:
        f.seek(os.path.getsize(f.name) // 2)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 16]))


class Lone:
    """One metaserver, no peers. `armed`: from its start on, else from the client's first change on; `stops`: with
    SIGTERM at the end."""

    def __init__(self, name, before, during, armed=True, prepare=None, stops=False):
        self.name, self.before, self.during = name, before, during
        self.armed, self.prepare, self.stops = armed, prepare, stops

    def make(self, lane):
        """The folder that each point on this lane starts with: its address is in it."""
        base = f'{lane.folder}/base-{self.name}-1'
        chance = random.Random(self.name)
        make_empty(base, 1)
        d = Daemon(lane, 1, base, lane.port)
        c = Client(lane, f'127.0.0.1:{lane.port}')
        c.answer()
        for part in self.before:
            for line in operations(c.model, chance, part):
                c.change(line)
        d.kill()
        self.model = c.model
        lane.clear()
        if self.prepare:
            self.prepare(base)
        self.lines, model = [], dict(self.model)
        for part in self.during:
            lines = operations(model, chance, part)
            for line in lines:
                apply(model, line)
            self.lines += lines

    def kill(self, lane, moment, target):
        """Whether it was killed, the client, what that has still to do, and whether the first of it is under way."""
        lane.control.set(self.armed, moment, target)
        d = Daemon(lane, 1, lane.data(1), lane.port, lane.control)
        c = Client(lane, f'127.0.0.1:{lane.port}')
        c.model = dict(self.model)
        if self.armed and c.answer(d) is None:
            return True, c, [None] + self.lines, True
        if not self.armed:
            c.answer()
            lane.control.arm()
        for i, line in enumerate(self.lines):
            c.send(line)
            if c.answer(d) is None:
                return True, c, self.lines[i:], True
            apply(c.model, line)
        if self.stops:
            d.process.terminate()
        if self.stops or lane.control.where():
            d.is_gone(PATIENCE)  # it may die just now
        lane.counted = lane.control.counted()
        is_killed = d.is_gone() and d.wait(self.stops) != 0
        if not d.is_gone():
            d.kill()
        return is_killed, c, [], False

    def run(self, lane, moment, target):
        lane.copy_base(self.name, 1)
        killed, c, rest, is_pending = self.kill(lane, moment, target)
        d = Daemon(lane, 1, lane.data(1), lane.port, lane.again(self, moment, target))
        for i, line in enumerate(rest):
            if i or not is_pending:  # else what was under way is done once, whatever had become of it (R22)
                c.send(line)
            while c.answer(d) is None:
                d = Daemon(lane, 1, lane.data(1), lane.port)
            if line:
                apply(c.model, line)
        if lane.is_dying(d):
            d = Daemon(lane, 1, lane.data(1), lane.port)
        check_lone(lane, d, c, c.model)
        return killed


class Install:
    """Three of them; one that was away is filled by a checkpoint, and killed, while names are changed. What it
    holds then is looked at in a cluster that it is made the only member of."""

    def __init__(self, name, early, late):
        self.name, self.early, self.late = name, early, late
        self.others, self.filled, self.states = {}, {}, {}  # by lane

    def start(self, lane, node, control=None):
        peers = ','.join(f'{i}=127.0.0.1:{lane.port + i}' for i in (1, 2, 3))
        return Daemon(lane, node, lane.data(node), lane.port + node, control, peers)

    def checkpoint(self, lane, node):
        """A new one: a follower applies what it gathered in 20 ms."""
        end = time.monotonic() + PATIENCE
        while True:
            made = subprocess.run([f'{BUILD}/tools/cairn', 'meta', 'checkpoint', '--node', f'm{node}', '--cluster',
                                   addresses(lane)], capture_output=True)
            if b' wrote a checkpoint ' in made.stdout:
                return
            if time.monotonic() > end:
                raise Bad((made.stdout + made.stderr).decode())

    def make(self, lane):
        chance = random.Random(self.name)
        for node in (1, 2, 3):
            make_empty(lane.data(node), node)
        daemons = {node: self.start(lane, node) for node in ((1, 2, 3) if self.early else (1, 2))}
        c = Client(lane, addresses(lane))
        c.answer()
        lead = leader(daemons)
        self.filled[lane] = max({1, 2, 3} - {lead})
        self.others[lane] = sorted({1, 2, 3} - {self.filled[lane]})
        for part in self.early + ['away'] + self.late:
            if part == 'away':
                if self.early:  # what it acknowledged as half of the majority it has
                    other = next(n for n in self.others[lane] if n != lead)
                    daemons[other].kill()
                    for line in operations(c.model, chance, 1):
                        c.change(line)
                    daemons[self.filled[lane]].kill()
                    daemons[other] = self.start(lane, other)
                c.states = [dict(c.model)]
            elif part == 'checkpoint':
                for node, d in daemons.items():
                    if not d.is_gone():
                        self.checkpoint(lane, node)
            else:
                for line in operations(c.model, chance, part):
                    c.change(line)
        for node in self.others[lane]:
            daemons[node].kill()
        self.model, self.states[lane] = c.model, c.states
        self.lines = operations(c.model, chance, 6)
        lane.clear()
        for node in (1, 2, 3):
            os.rename(lane.data(node), f'{lane.folder}/base-{self.name}-{node}')

    def begin(self, lane, moment, target):
        """The others, with one more that is to be filled and killed; three changes were made without it."""
        for node in (1, 2, 3):
            lane.copy_base(self.name, node)
        lane.control.set(True, moment, target)
        daemons = {node: self.start(lane, node) for node in self.others[lane]}
        c = Client(lane, addresses(lane))
        c.model = dict(self.model)
        c.answer()
        self.start(lane, self.filled[lane], lane.control)
        for line in self.lines[:3]:
            c.change(line)
        lead = leader(daemons)
        daemons[self.others[lane][self.others[lane][0] == lead]].kill()
        return daemons, c

    def run(self, lane, moment, target):
        daemons, c = self.begin(lane, moment, target)
        filled = d = lane.daemons[-1]
        for line in self.lines[3:]:  # from here on nothing is done without the one that is filled
            c.send(line)
            while c.answer(d) is None:
                d = self.start(lane, self.filled[lane], lane.again(self, moment, target) if d is filled else None)
            apply(c.model, line)
        if d is filled and d.is_gone():
            d.wait()
        lane.counted = lane.control.counted()
        was_killed = filled.is_gone()
        if not was_killed and 'snapshot.installed' not in filled.read_log():
            raise Bad('it was not filled by a checkpoint')
        for some in lane.daemons:
            if not some.is_gone():
                some.kill()
        self.check(lane, [c.model])
        return was_killed

    def check(self, lane, models):
        """The tree is one of these."""
        node = self.filled[lane]
        make_alone(lane, node)
        d = Daemon(lane, node, lane.data(node), lane.port)
        c = Client(lane, f'127.0.0.1:{lane.port}')
        c.answer()
        lines = sorted(c.ask('list').splitlines())
        check_lone(lane, d, c, next((m for m in models if lines_of(m) == lines), models[-1]))


class Lost(Install):
    """The others are lost for good when it is killed: made a cluster of its own at once, it has a state that there
    was, none older than its own."""

    def run(self, lane, moment, target):
        daemons, c = self.begin(lane, moment, target)
        filled = lane.daemons[-1]
        c.send(self.lines[3])
        if c.answer(filled) is not None:
            apply(c.model, self.lines[3])
        lane.counted = lane.control.counted()
        was_killed = filled.is_gone()
        for d in lane.daemons:
            if not d.is_gone():
                d.kill()
        models = list(self.states[lane])
        for line in self.lines[:4]:
            models.append(dict(models[-1]))
            apply(models[-1], line)
        self.check(lane, models)
        return was_killed


class Alone(Lone):
    """It becomes a cluster of its own, and is killed over that."""

    def run(self, lane, moment, target):
        lane.copy_base(self.name, 1)
        lane.control.set(True, moment, target)
        was_killed = not make_alone(lane, 1, lane.control)
        lane.counted = lane.control.counted()
        if was_killed:
            make_alone(lane, 1)
        d = Daemon(lane, 1, lane.data(1), lane.port)
        c = Client(lane, f'127.0.0.1:{lane.port}')
        c.answer()
        check_lone(lane, d, c, self.model)
        return was_killed


def addresses(lane):
    return ','.join(f'127.0.0.1:{lane.port + i}' for i in (1, 2, 3))


def leader(daemons):
    def term(node):
        terms = re.findall(r'leader.ready term=(\d+)', daemons[node].read_log())
        return int(terms[-1]) if terms else 0
    return max(daemons, key=term)


def check_lone(lane, d, c, model):
    c.expect(model, 'with the database that was there')
    fsck = subprocess.run([f'{BUILD}/tools/cairn', 'fsck', '--cluster', f'127.0.0.1:{lane.port}'], capture_output=True)
    if fsck.returncode != 0:
        raise Bad(f'fsck: {(fsck.stdout + fsck.stderr).decode()}')
    d.kill()
    distrust(d.folder)
    d = Daemon(lane, d.node, d.folder, lane.port)
    c.expect(model, 'built anew from checkpoint and log')
    if 'database.rebuild' not in d.read_log():
        raise Bad('it was not built anew')
    d.kill()


# ---- points ----

class Lane:
    """A folder, ports and processes of one point at a time."""

    def __init__(self, number):
        self.folder = f'{WORK}/lane{number}'
        os.mkdir(self.folder)
        self.port = free_ports(20000 + os.getpid() % 500 * 20 + number * 10)
        self.control, self.idle = Control(f'{self.folder}/control'), Control(f'{self.folder}/idle')
        self.second = Control(f'{self.folder}/second')
        self.daemons, self.clients = [], []
        self.counted, self.trace = {}, None

    def data(self, node):
        return f'{self.folder}/m{node}'

    def again(self, piece, moment, target):
        """The start after a kill is killed, too, somewhere, in every second case."""
        chance = random.Random(f'{SEED} {piece.name} {moment} {target}')
        self.second.set(target > 0 and chance.randrange(2), chance.choice(('before', 'after')), chance.randrange(1, 50))
        return self.second

    def is_dying(self, d):
        """Whether the second kill came at last; it will not any more."""
        self.second.arm(0)
        gone = d.control is self.second and d.is_gone(PATIENCE if self.second.where() else 0)
        if gone:
            d.wait()
        return gone

    def copy_base(self, name, node):
        shutil.rmtree(self.data(node), ignore_errors=True)
        shutil.copytree(f'{self.folder}/base-{name}-{node}', self.data(node))

    def clear(self):
        for process in self.daemons + self.clients:
            process.process.kill()
            process.process.wait()
            process.errors.close()
        for d in self.daemons:
            os.close(d.fd)
        for c in self.clients:
            c.process.stdin.close()
            c.process.stdout.close()
        self.daemons, self.clients = [], []


def free_ports(first):
    """The first port from `first` on, in steps of ten, after which three are free."""
    def is_free(port):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(('127.0.0.1', port))
            except OSError:
                return False
        return True
    return next(p for p in range(first, 32760, 10) if all(is_free(p + i) for i in range(4)))


PIECES = [
    Lone('log', [30], [10, 'checkpoint', 12, 'checkpoint', 12]),
    Lone('checkpoint', [90, 'checkpoint', 20, 'checkpoint', 20], ['checkpoint', 3, 'checkpoint', 1], armed=False),
    Lone('rebuild', [60, 'checkpoint', 20, 'checkpoint', 20], [2], prepare=distrust),
    Install('install', [40, 'checkpoint', 20, 'checkpoint', 30], [('links', 400)] + 3 * ['checkpoint', 15]),
    Install('install-empty', [], [40] + 3 * ['checkpoint', 20]),
    Lost('lost', [40, 'checkpoint', 20, 'checkpoint', 30], [60] + 3 * ['checkpoint', 15]),
    Alone('alone', [60, 'checkpoint', 20], []),
    Lone('stop', [60, 'checkpoint', 20], [1], armed=False, stops=True),
    Lone('older', [60, 'checkpoint', 20, 'checkpoint', 20], [2], prepare=lambda f: (distrust(f), damage_newest(f))),
]


class Runner:
    def __init__(self, lanes):
        self.free, self.lock = list(lanes), threading.Lock()
        self.end = 0
        self.killed, self.survived, self.bad, self.calls = Counter(), Counter(), [], Counter()
        self.counts, self.twice = {}, 0

    def point(self, piece, moment, target, must=False):
        if (time.monotonic() > self.end and not must) or len(self.bad) >= 5:
            return
        with self.lock:
            lane = self.free.pop()
        self.run(lane, piece, moment, target)
        with self.lock:
            self.free.append(lane)

    def prepare(self, lane, pieces, mine):
        for i, piece in enumerate(pieces):
            piece.make(lane)
            if i % 2 == mine:  # nobody is killed: which calls there are
                lane.trace = f'{WORK}/trace-{piece.name}'
                self.run(lane, piece, 'before', 0)
                lane.trace = None

    def run(self, lane, piece, moment, target):
        try:
            was_killed = piece.run(lane, moment, target)
            if target == 0:
                self.counts[piece.name] = lane.counted
            self.killed[piece.name] += was_killed
            self.twice += bool(was_killed and lane.second.where())
            self.survived[piece.name] += not was_killed and target > 0
            if was_killed:
                self.calls[piece.name, lane.control.where()] += 1
            lane.clear()
        except Bad as e:
            where = lane.control.where()
            logs = {d.log: d.read_log()[-1500:] for d in lane.daemons}
            lane.clear()
            kept = f'{WORK}/bad-{piece.name}-{moment}-{target}'
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(lane.folder, kept, ignore=shutil.ignore_patterns('base-*'))
            with self.lock:
                self.bad.append(f'{piece.name}:{moment}:{target} ({where}): {e}')
                print(f'# POINT={self.bad[-1]}')
                for log in logs.values():
                    print('\n'.join('#   ' + line for line in log.splitlines()[-8:]), flush=True)


def main():
    lanes = [Lane(i) for i in range(2)]

    def give_up(*_):
        for lane in lanes:
            for process in lane.daemons + lane.clients:
                process.process.kill()
        os._exit(1)
    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGINT, give_up)
    try:
        return work(lanes)
    finally:
        for lane in lanes:
            lane.clear()


def choose(piece, count, trace, chance):
    """Points with their rank: in a sample each kind of call counts the same, however many there are."""
    kinds, seen = {}, Counter()
    with open(trace) as f:
        for line in f:
            number, large, call = line.rstrip('\n').split(' ', 2)
            kinds['before', int(number)] = kinds['after', int(number)] = kinds['within', int(large)] = kind_of(call)
    points = []
    for moment in MOMENTS:
        step = EVERY or 1
        numbers = list(range(1 + chance.randrange(step), count[moment] + 1, step))
        chance.shuffle(numbers)
        for n in numbers:
            kind = moment, kinds.get((moment, n))
            seen[kind] += 1
            points.append((seen[kind], chance.random(), piece, moment, n))
    return points


def work(lanes):
    chance = random.Random(SEED)
    runner = Runner(lanes)
    wanted = POINT.split(':') if POINT else None
    pieces = [p for p in PIECES if p.name in (wanted[0] if wanted else os.environ.get('PIECES', p.name)).split(',')]
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(runner.prepare, lane, pieces, i) for i, lane in enumerate(lanes)]:
            done.result()
    counts = {p.name: runner.counts.get(p.name, dict.fromkeys(MOMENTS, 0)) for p in pieces}
    points = [point for p in pieces for point in choose(p, counts[p.name], f'{WORK}/trace-{p.name}', chance)]
    points = [p[2:] for p in sorted(points)]  # a run that is cut short is a fair sample, with one of each piece
    if EVERY != 1:
        points = [(p, 'after', 1 + chance.randrange(max(1, counts[p.name]['after'] // 2)), True) for p in pieces] + points
    if wanted:
        points = [(pieces[0], wanted[1], int(wanted[2]))]
    runner.end = time.monotonic() + LIMIT
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(runner.point, *p) for p in points]:
            done.result()
    if os.environ.get('VERBOSE'):
        for (name, where), count in sorted(runner.calls.items()):
            print(f'# {name:10} {count:5} {where}')
    for piece in pieces:
        c = counts[piece.name]
        print(f'# {piece.name}: killed at {runner.killed[piece.name]} of {sum(c.values())} points ({c["before"]} calls to '
              f'the disk, {c["within"]} of them long writes), {runner.survived[piece.name]} were not reached')
    print(f'# {sum(runner.killed.values())} kills, {runner.twice} of them with another in the start after, '
          f'{len(runner.bad)} bad starts; seed={SEED}')
    for piece in pieces:
        if not runner.killed[piece.name] and not runner.bad:
            runner.bad.append(f'{piece.name}: nobody was killed')
            print(f'# {runner.bad[-1]}')
    return 1 if runner.bad else 0


if __name__ == '__main__':
    sys.exit(main())
