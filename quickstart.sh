#!/bin/bash
# Builds Cairn, starts a cluster on this machine, mounts it and runs the main job on real files while
# servers are killed. Leaves the cluster running. Needs root (it mounts and installs packages).
#   ./quickstart.sh [FOLDER]     default: ~/cairn-dev with the mount at FOLDER/mnt
set -eu
cd "$(dirname "$0")"
src=$PWD
folder=${1:-$HOME/cairn-dev}
mount=$folder/mnt
build=$src/build/release
say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "packages and build"
sh packaging/install-packages.sh build
[ -x configure ] && [ configure -nt configure.ac ] && [ configure -nt Makefile.am ] || ./autogen.sh > /dev/null 2>&1
mkdir -p "$build"
[ -e "$build/Makefile" ] && [ "$build/Makefile" -nt configure ] || (cd "$build" && "$src/configure" -q CFLAGS="-O2 -g")
make -s -C "$build" -j"$(nproc)" > "$build/quickstart.log" 2>&1 || { tail -20 "$build/quickstart.log"; exit 1; }
PATH=$build/tools:$PATH
export PATH

say "a cluster: 3 metaservers, 4 chunkservers, 2 copies of everything"
mkdir -p "$mount"
run cairn dev up --dir "$folder" --mount "$mount"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/cairn-quickstart.XXXXXX")
trap 'rm -rf "$work"' EXIT
round=$(date +%s)
here=$mount/quickstart-$round
mkdir "$here"

say "a real tree and a large file go in, while the leader and a chunkserver are killed"
run cairn status --cluster "$folder"
head -c 256M /dev/urandom > "$work/large"
(
    sleep 0.5; cairn dev kill --dir "$folder" leader
    sleep 1; cairn dev kill --dir "$folder" c2
) &
killer=$!
run cp -r /usr/include/linux "$here/tree"
run cp "$work/large" "$here/large"
wait $killer

say "out again and compared"
run diff -r /usr/include/linux "$here/tree"
run cmp "$work/large" "$here/large"
run cairn cp --cluster "$folder" "cairn:/quickstart-$round/large" "$work/copy"
run cmp "$work/large" "$work/copy"
echo "all equal"

say "the dead come back, and what they missed is copied"
run cairn dev start --dir "$folder" all
for _ in $(seq 60); do
    cairn health --cluster "$folder" > /dev/null 2>&1 && break
    sleep 0.5
done
run cairn status --cluster "$folder"

cat <<T

The cluster goes on running. It is mounted at $mount. Try:
  cp -r /usr/share/doc $mount/
  $build/tools/cairn status --cluster $folder
  $build/tools/cairn dev kill --dir $folder leader      and then: cairn dev start --dir $folder all
Stop it:
  $build/tools/cairn dev down --dir $folder
T
