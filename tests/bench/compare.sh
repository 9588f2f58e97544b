#!/bin/bash
# Cairn, MooseFS and GlusterFS side by side on this machine: 2 copies each, Cairn with 3 metaservers.
#   tests/bench/compare.sh [BUILD]      PEERS="moosefs gluster" ROUNDS=1 SZ=512 NF=2000 RT=5
# Prints one line per figure and, at the end, a table of medians. Needs root; installs the peers' packages and
# fio. Figures are worth comparing within one run only; the machine should do nothing else.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$here/../../build/release}" && pwd)
export SZ=${SZ:-512} NF=${NF:-2000} RT=${RT:-5}
peers=${PEERS-moosefs gluster}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/cairn-bench.XXXXXX")
export TMPDIR=$work
for tool in fio python3 bc gcc; do command -v $tool > /dev/null || missing="${missing:-} $tool"; done
[ -z "${missing:-}" ] || DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing > /dev/null || exit 1

# The first touch of a virtual machine's memory costs more than what is measured: touch it once.
python3 -c "
import mmap
size = int(open('/proc/meminfo').read().split('MemAvailable:')[1].split()[0]) * 1024 // 2
m = mmap.mmap(-1, size)
for at in range(0, size, 4096): m[at] = 1
"
down() {
    "$build/tools/cairn" dev down --dir "$work/cairn" > /dev/null 2>&1
    for peer in $peers; do "$here/peers.sh" down $peer "$work/$peer" > /dev/null 2>&1; done
}
trap 'down; rm -rf "$work"' EXIT
mkdir -p "$work/cairn-mnt"
"$build/tools/cairn" dev up --dir "$work/cairn" --mount "$work/cairn-mnt" > /dev/null || exit 1
for peer in $peers; do "$here/peers.sh" up $peer "$work/$peer" > "$work/$peer.log" 2>&1 || { tail -3 "$work/$peer.log"; exit 1; }; done
for round in $(seq "${ROUNDS:-1}"); do
    "$here/mount-bench.sh" cairn "$work/cairn-mnt"
    for peer in $peers; do "$here/mount-bench.sh" $peer "$work/$peer/mnt"; done
done | tee "$work/figures"
python3 - "$work/figures" <<'P'
import statistics, sys
rows = {}
for line in open(sys.argv[1]):
    name, metric, value = line.split()[:3]
    try: rows.setdefault(metric, {}).setdefault(name, []).append(float(value))
    except ValueError: rows.setdefault(metric, {}).setdefault(name, [])
names = []
for r in rows.values():
    names += [n for n in r if n not in names]
print('\n| figure | ' + ' | '.join(names) + ' |\n|---|' + '---|' * len(names))
for metric, r in rows.items():
    print(f'| {metric} | ' + ' | '.join(f'{statistics.median(r[n]):g}' if r.get(n) else 'failed' for n in names) + ' |')
P
