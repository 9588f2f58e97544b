"""Three metaservers, faults, and clients that record a history (tests/history); run by t0012.

usage: history_faults.py BUILD WORK    environment: SEED RUNS OPS FAULTS (see t0012)

Expects to have a network namespace to itself. Metaserver i is 127.0.1.i, the clients come in turn
from 127.0.2.1 and 127.0.2.2, so that nftables rules can cut any of them from any other."""
import os, random, re, signal, subprocess, sys, time

build, work = sys.argv[1:3]
seed = int(os.environ.get('SEED') or random.randrange(1, 1 << 30))
runs = int(os.environ.get('RUNS') or 2)
ops = int(os.environ.get('OPS') or 10000)
chosen = (os.environ.get('FAULTS') or 'kill,kill-all,pause,cut').split(',')
limit_s = float(os.environ.get('LIMIT') or 300)  # of one run: more is a hang
stop_early = os.environ.get('STOP') == '1'       # at the first violation
NODES = (1, 2, 3)
CLIENTS = ('127.0.2.1', '127.0.2.2')
UUID = '12121212-2222-3333-4444-555555555555'
UNKNOWN_MAX = 0.01
figures = dict.fromkeys('kills rebuilds pauses partitions elections operations unknown violations'.split(), 0)
slowest_ms = gap_ms = steps = failed = 0


def address(node):
    return f'127.0.1.{node}'


def nft(text):
    subprocess.run(['nft', '-f', '-'], input=text, text=True, check=True)


class Cluster:
    def __init__(self):
        self.process, self.term, self.at, self.best = {}, {}, {}, (0, 0)
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        self.heal()
        for node in NODES:
            self.start(node)

    def start(self, node):
        peers = ','.join(f'{i}={address(i)}:7101' for i in NODES)
        with open(f'{work}/m{node}.err', 'a') as err:
            self.process[node] = subprocess.Popen(
                [f'{build}/metaserver/cairn-metaserver', '--id', str(node), '--cluster', UUID,
                 '--data', f'{work}/m{node}', '--log-file', f'{work}/m{node}.log', '--listen',
                 f'{address(node)}:7101', '--peers', peers, '--shards', '8',
                 '--checkpoint-log', '1MiB'], stdout=err, stderr=err)

    def kill(self, node):
        self.process[node].kill()
        self.process[node].wait()

    def forget_boot(self, node):
        """As after a power cut: the database is not trusted, but built anew from checkpoint and log (R11)."""
        with open(f'{work}/m{node}/database.state', 'w') as state:
            state.write('open boot=another mount=0\n')
        figures['rebuilds'] += 1

    def signal(self, node, number):
        self.process[node].send_signal(number)

    def leader(self):
        """The newest one that said so, by the logs; 0 = nobody yet. Counts elections."""
        for node in NODES:
            try:
                with open(f'{work}/m{node}.log') as log:
                    log.seek(self.at.get(node, 0))
                    text = log.read()
                    text = text[:text.rfind('\n') + 1]
                    self.at[node] = self.at.get(node, 0) + len(text.encode())
            except FileNotFoundError:
                continue
            for term in re.findall(r'leader\.ready.* term=(\d+)', text):
                figures['elections'] += 1
                self.best = max(self.best, (int(term), node))
        return self.best[1]

    def heal(self):
        nft('add table inet cut\ndelete table inet cut\n')

    def cut(self, pairs, reset=()):
        """Packets from a to b are lost, for each (a, b); those in `reset` hear of it and go elsewhere."""
        rules = '\n'.join([f'ip saddr {a} ip daddr {b} ip protocol tcp reject with tcp reset' for a, b in reset] +
                          [f'ip saddr {a} ip daddr {b} drop' for a, b in pairs])
        nft('table inet cut {\nchain input {\ntype filter hook input priority 0\n' + rules + '\n}\n}\n')

    def end(self):
        self.heal()
        bad = []
        for node, process in self.process.items():
            if process.poll() is not None:
                bad.append(f'm{node} ended by itself: {process.returncode}')
                continue
            self.signal(node, signal.SIGCONT)
            self.kill(node)
        return bad


class Faults:
    def __init__(self, cluster, chance, is_over):
        self.cluster, self.chance, self.is_over = cluster, chance, is_over

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.is_over():
            time.sleep(0.02)

    def wait_for_leader(self, seconds):
        """Until there is another one than now, or time is over."""
        self.cluster.leader()
        before, end = figures['elections'], time.monotonic() + seconds
        while figures['elections'] == before and time.monotonic() < end and not self.is_over():
            self.wait(0.02)
            self.cluster.leader()

    def victim(self):
        leader = self.cluster.leader()
        return leader if leader and self.chance.random() < 0.75 else self.chance.choice(NODES)

    def kill(self):
        node = self.victim()
        self.cluster.kill(node)
        figures['kills'] += 1
        self.wait(self.chance.uniform(0.05, 1.2))
        if self.chance.random() < 0.25:
            self.cluster.forget_boot(node)
        self.cluster.start(node)

    def kill_all(self):
        for node in NODES:
            self.cluster.kill(node)
            figures['kills'] += 1
        for node in NODES:
            self.cluster.start(node)
        self.wait_for_leader(20)

    def pause(self):
        """Longer than the lease (375 ms) and mostly longer than an election takes (0.5 to 1 s). Often
        short enough that clients still wait for the answer: they leave after one second. Mostly half
        of them leave at once, so that there are changes which the paused one has not seen."""
        node = self.victim()
        self.cluster.signal(node, signal.SIGSTOP)
        figures['pauses'] += 1
        if self.chance.random() < 0.7:
            self.cluster.cut([], [(CLIENTS[1], address(node))])
        if self.chance.random() < 0.6:
            self.wait_for_leader(2.5)  # it wakes when the new one has just taken changes
            self.wait(self.chance.uniform(0.03, 0.2))
        else:
            self.wait(self.chance.choice((self.chance.uniform(0.4, 0.8), self.chance.uniform(1.0, 2.5))))
        self.cluster.signal(node, signal.SIGCONT)
        self.cluster.heal()

    def cut(self):
        node = self.victim()
        me, others = address(node), [address(i) for i in NODES if i != node]
        there, back = [(me, o) for o in others], [(o, me) for o in others]
        away = lambda client: [(me, client), (client, me)]
        reset = [(CLIENTS[1], me)] if self.chance.random() < 0.6 else []
        pairs = self.chance.choice((
            there + back, there + back, there + back,      # alone; clients still reach it, or half of them
            there + back + away(CLIENTS[1]),
            there + back + away(CLIENTS[0]) + away(CLIENTS[1]),
            there, back,                                   # one way only
            there + away(CLIENTS[0]), back + away(CLIENTS[0]),
            [(me, others[0]), (others[0], me)],            # one link
            [(me, others[0])],
            away(CLIENTS[1]), [(me, CLIENTS[0])], [(CLIENTS[0], me)],
        ))
        self.cluster.cut(pairs, reset)
        figures['partitions'] += 1
        self.wait(self.chance.uniform(0.4, 2.5))
        self.cluster.heal()

    def run(self):
        weights = {'kill': 5, 'kill-all': 1, 'pause': 4, 'cut': 6}
        steps = {'kill': self.kill, 'kill-all': self.kill_all, 'pause': self.pause, 'cut': self.cut}
        while not self.is_over():
            self.wait(self.chance.uniform(0.05, 0.5))
            if not self.is_over():
                steps[self.chance.choices(chosen, [weights[c] for c in chosen])[0]]()


def values(text):
    return dict(re.findall(r'(\w+)=([\d.]+)', text))


def one_run(cluster, number):
    """Returns what is wrong, '' = nothing."""
    global slowest_ms, gap_ms, steps
    chance, path = random.Random(number), f'{work}/history-{number}.ndjson'
    recorder = subprocess.Popen(
        [f'{build}/tests/history/history-run', '--cluster',
         ','.join(f'{address(i)}:7101' for i in NODES), '--out', path, '--dir', f'run{number}',
         '--seed', str(number), '--ops', str(ops), '--source',
         ','.join(c + ':0' for c in CLIENTS)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)
    end = time.monotonic() + limit_s
    Faults(cluster, chance, lambda: recorder.poll() is not None or time.monotonic() > end).run()
    cluster.leader()
    if recorder.poll() is None:
        recorder.kill()
        recorder.wait()
        return f'not over after {limit_s:.0f} s: an operation hangs; see {path}'
    said = recorder.stdout.read()
    if recorder.returncode != 0:
        return f'history-run: {said.strip()} (status {recorder.returncode})'
    check = subprocess.run([f'{build}/tests/history/history-check', path], capture_output=True,
                           text=True)
    first, _, report = check.stdout.partition('\n')
    recorded, checked = values(said), values(first)
    figures['operations'] += int(recorded['operations'])
    figures['unknown'] += int(recorded['unknown'])
    slowest_ms, gap_ms = max(slowest_ms, int(recorded['slowest_ms'])), max(gap_ms, int(recorded['gap_ms']))
    if check.returncode == 0 and 'search_violations' in checked:
        steps += int(checked['steps'])
        os.unlink(path)
        return ''
    figures['violations'] += 1
    return f'{first}\n{report}{check.stderr}history: {path}'


def main():
    global failed
    print(f'# seed={seed} runs={runs} operations={ops}', flush=True)
    cluster = Cluster()
    done = 0
    try:
        for number in range(seed, seed + runs):
            wrong = one_run(cluster, number)
            done += 1
            if wrong:
                failed += 1
                print('\n'.join('# ' + line for line in wrong.splitlines()))
                print(f'not ok t0012-linearizable: run seed={number}; again: SEED={number} RUNS=1', flush=True)
                if stop_early:
                    break
    finally:
        for wrong in cluster.end():
            failed += 1
            print('not ok t0012-linearizable: ' + wrong)
    share = figures['unknown'] / max(figures['operations'], 1)
    print(f"# runs {done}, operations {figures['operations']}, unknown {share:.3%}, "
          f"elections {figures['elections']}, kills {figures['kills']} ({figures['rebuilds']} with a rebuild), pauses {figures['pauses']}, "
          f"partitions {figures['partitions']}, violations {figures['violations']}")
    print(f'# slowest operation {slowest_ms} ms, longest gap between two {gap_ms} ms, {steps} steps of the search')
    if failed == 0:
        print('ok t0012-linearizable: every history is linearizable')
    if share >= UNKNOWN_MAX:
        failed += 1
        print(f'not ok t0012-linearizable: unknown outcomes below {UNKNOWN_MAX:.0%}')
    elif failed == 0:
        print(f'ok t0012-linearizable: unknown outcomes below {UNKNOWN_MAX:.0%}')
    return 1 if failed else 0


sys.exit(main())
