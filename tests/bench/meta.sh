#!/bin/bash
# The metadata service at many files, against the figures in docs/performance.md:
#   make bench-meta                       10 million files, about 25 minutes and 8 GB under BENCH_DIR
#   FILES=100000 KILLS=3 make bench-meta  a quick look
#   FILES=300000 RESTART_CREATES="64 1 40" RESTARTS=7 tests/bench/meta.sh BUILD load restart
#                                         restarts with a long log: clients, in flight, seconds
# tests/bench/meta.sh BUILD [PART...]   PART: load query rpc create checkpoint restart kills rejoin
#
# What was loaded stays in BENCH_DIR (default /var/tmp/cairn-bench-meta) so that parts can be run
# again; KEEP=0 removes it at the end. Prints and never fails on a time.
set -u
build=$(cd "$1" && pwd); shift
FILES=${FILES:-10000000} KILLS=${KILLS:-20} SECONDS_EACH=${SECONDS_EACH:-10} PORT=${PORT:-7931} KEEP=${KEEP:-0}
RESTART_CREATES=${RESTART_CREATES:-8 8 5} RESTARTS=${RESTARTS:-1}
dir=${BENCH_DIR:-/var/tmp/cairn-bench-meta}/$FILES
meta=${CAIRN_METASERVER:-$build/metaserver/cairn-metaserver}
load=$build/tests/bench/meta-load client=$build/tests/bench/meta-client
cluster=11111111-2222-3333-4444-555555555555
peers=1=127.0.0.1:$PORT,2=127.0.0.1:$((PORT + 1)),3=127.0.0.1:$((PORT + 2))
addresses=127.0.0.1:$PORT,127.0.0.1:$((PORT + 1)),127.0.0.1:$((PORT + 2))
declare -A pid=([1]=0 [2]=0 [3]=0)

row() { printf '%-34s %s\n' "$1" "$2"; }
node_start() { # ID [OPTION...]
    local id=$1; shift
    "$meta" --id "$id" --cluster $cluster --data "$dir/m$id" --log-file "$dir/m$id.log" \
        --listen "127.0.0.1:$((PORT + id - 1))" --peers "$peers" --checkpoint-log 100GiB "$@" &
    pid[$id]=$!
}
node_kill() { # ID: kill -9 and wait
    [ "${pid[$1]}" = 0 ] && return
    kill -9 "${pid[$1]}" 2> /dev/null; wait "${pid[$1]}" 2> /dev/null
    pid[$1]=0
}
all_start() { for id in 1 2 3; do node_start $id "$@"; done; "$client" $addresses - first; }
all_kill() { for id in 1 2 3; do node_kill $id; done; }
pids() { echo "${pid[1]},${pid[2]},${pid[3]}"; }
finish() { all_kill; [ "$KEEP" = 0 ] && rm -rf "$dir"; }
trap finish EXIT
leader_fields() { "$client" $addresses - leader; } # ADDRESS TERM APPLIED LOWEST CHECKPOINT
leader_id() { local fields; fields=$(leader_fields) || return 1; fields=${fields%% *}; echo $((${fields##*:} - PORT + 1)); }
# CPU-seconds of one server since its start.
cpu_s() { awk -v t="$(getconf CLK_TCK)" '{ printf "%.2f", ($14 + $15) / t }' "/proc/${pid[$1]}/stat"; }
now_ms() { date +%s%3N; }
lookup() { "$client" $addresses "$(pids)" lookup "$FILES" "$@" "$SECONDS_EACH"; }
create() { "$client" $addresses "$(pids)" create "$1" "$2" "${3:-$SECONDS_EACH}"; }
# A database that the kernel lost: as after a power cut, it is built from the checkpoint and the log.
distrust() { sed -i 's/boot=[^ ]*/boot=other/' "$dir/m$1/database.state"; }

# The database in the page cache: others on the machine may have emptied it.
warm() { for folder; do cat "$folder/data.mdb" > /dev/null; done; }
part_load() {
    if [ ! -e "$dir/loaded" ]; then
        rm -rf "$dir"; mkdir -p "$dir"
        "$load" load "$dir" "$FILES" > "$dir/load.out" || exit 1
        touch "$dir/loaded"
    fi
    cat "$dir/load.out"
}
nodes() {
    for id in 1 2 3; do
        [ -e "$dir/m$id/loaded" ] && continue
        rm -rf "$dir/m$id"; mkdir -p "$dir/m$id/database" "$dir/m$id/checkpoints"
        cp "$dir/database/data.mdb" "$dir/m$id/database/"
        ln "$dir/checkpoints/"*.ckpt "$dir/m$id/checkpoints/"
        "$load" node "$dir" $id || exit 1
        echo "clean boot=other" > "$dir/m$id/database.state"
        sync -f "$dir"
        touch "$dir/m$id/loaded"
    done
}
part_query() { warm "$dir/database"; for threads in 1 2; do "$load" query "$dir" "$FILES" $threads "$SECONDS_EACH"; done; }
part_rpc() {
    warm "$dir"/m?/database; all_start
    lookup 8 64 > /dev/null
    for shape in "1 1" "1 16" "1 64" "8 8" "8 64" "64 8"; do
        row "look-ups, connections x depth $shape" "$(lookup $shape)"
    done
    lookup 4 64 > "$dir/half1" & local other=$!
    lookup 4 64 > "$dir/half2"; wait $other
    row "two client processes, 4 x 64 each" "$(cat "$dir/half1") | $(cat "$dir/half2")"
    for id in 1 2 3; do
        row "memory of server $id, KiB" "$(grep -E 'VmRSS|RssAnon|RssFile' "/proc/${pid[$id]}/status" | tr -s '\t ' ' ' | tr '\n' ' ')"
    done
    all_kill
}
part_create() {
    all_start
    create 8 8 3 > /dev/null
    for shape in "1 1" "8 1" "64 1" "8 8" "1 64"; do
        row "creates, clients x depth $shape" "$(create $shape)"
    done
    all_kill
}
part_checkpoint() {
    all_start; create 8 1 3 > /dev/null
    row "creates 8 x 1, quiet" "$(create 8 1 20)"
    all_kill
    all_start --checkpoint-every 1s
    create 8 1 3 > /dev/null
    row "and with checkpoints on all three" "$(create 8 1 20)"
    grep -h checkpoint.done "$dir"/m?.log | tail -3
    all_kill
}
part_restart() {
    # A log of usual length: no part takes checkpoints unless it says so.
    rm -rf "$dir"/m[123]; nodes
    # shellcheck disable=SC2086
    all_start; create $RESTART_CREATES > /dev/null
    row "log of a server" "$(du -sh "$dir/m1/log" | cut -f1)"
    local start leader i
    for ((i = 0; i < RESTARTS; i++)); do
        leader=$(leader_id); node_kill "$leader"; start=$(now_ms); node_start "$leader"
        "$client" "127.0.0.1:$((PORT + leader - 1))" - answer
        row "killed, first answer of that one" "$(($(now_ms) - start)) ms, $(cpu_s "$leader") CPU-s, $(awk '/RssAnon/ { print $2 }' "/proc/${pid[$leader]}/status") KiB of its own"
        while ! leader_id > /dev/null 2>&1; do sleep 0.2; done
    done
    all_kill; start=$(now_ms); all_start
    row "all killed, first look-up" "$(($(now_ms) - start)) ms (an election in it)"
    leader=$(leader_id); node_kill "$leader"; distrust "$leader"; start=$(now_ms); node_start "$leader"
    "$client" "127.0.0.1:$((PORT + leader - 1))" - answer
    row "database lost, first answer" "$(($(now_ms) - start)) ms, $(cpu_s "$leader") CPU-s"
    all_kill; for id in 1 2 3; do distrust $id; done; start=$(now_ms); all_start
    row "all three databases lost" "$(($(now_ms) - start)) ms to the first look-up"
    all_kill
}
part_kills() {
    all_start; create 8 1 2 > /dev/null
    local gaps=() leader result
    for ((i = 0; i < KILLS; i++)); do
        create 8 1 6 > "$dir/gap.out" & local writer=$!
        sleep 2; leader=$(leader_id); node_kill "$leader"; wait $writer
        result=$(sed 's/.*longest gap \([0-9]*\) ms.*/\1/' "$dir/gap.out"); gaps+=("$result")
        node_start "$leader"; sleep 1
    done
    row "gaps of $KILLS kills, ms, sorted" "$(printf '%s\n' "${gaps[@]}" | sort -n | tr '\n' ' ')"
    all_kill
}
part_rejoin() {
    all_start; create 8 1 2 > /dev/null
    row "creates 8 x 1, quiet" "$(create 8 1 20)"
    local victim=1 term start fields
    [ "$(leader_id)" = 1 ] && victim=2
    set -- $(leader_fields); term=$2
    node_kill $victim; rm -rf "${dir:?}/m$victim"
    create 8 1 60 > "$dir/rejoin.out" & local writer=$!
    sleep 1; : > "$dir/m$victim.log"; start=$(now_ms); node_start $victim
    until grep -q snapshot.installed "$dir/m$victim.log" || [ $(($(now_ms) - start)) -gt 300000 ]; do sleep 0.1; done
    row "checkpoint fetched and loaded after" "$(($(now_ms) - start)) ms, $(cpu_s $victim) CPU-s of its own"
    # Caught up: it misses less than what is on its way.
    while fields=$(leader_fields); set -- $fields; [ $(($3 - $4)) -gt 2000 ]; do
        [ $(($(now_ms) - start)) -gt 300000 ] && break
        sleep 0.2
    done
    row "wiped follower caught up after" "$(($(now_ms) - start)) ms, $(cpu_s $victim) CPU-s of its own"
    wait $writer
    row "creates 8 x 1 meanwhile (60 s)" "$(cat "$dir/rejoin.out")"
    set -- $(leader_fields); row "elections meanwhile" "$(($2 - term))"
    all_kill
}

echo "# $(date -u +%FT%TZ), $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), $FILES files"
[ $# -gt 0 ] || set -- load query rpc create checkpoint restart kills rejoin
for part; do
    [ "$part" = load ] || [ "$part" = query ] || nodes
    echo "## $part (load $(cut -d' ' -f1 /proc/loadavg))"
    "part_$part"
done
