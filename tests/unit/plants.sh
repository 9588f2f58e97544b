#!/bin/bash
# Shows that the unit tests can fail: builds a test program with one planted bug at a time and expects
# the tests named here to see it. Prints one line for each; exits 1 if a bug went unseen. Needs a
# finished build folder; links to its objects stand in for all that the plant does not change.
#
# usage: plants.sh BUILD-FOLDER [PLANT... | HALF]      HALF: "first" or "second", to run both at once
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:?usage: plants.sh BUILD-FOLDER [PLANT... | first | second]}" && pwd) || exit 2
shift
# Beside the build folder: links do not cross file systems.
here=$(mktemp -d "$build.plants.XXXXXX") || exit 2
work= # where the test works; a program that dies of its plant leaves files behind
trap 'rm -rf "$here" "$work"' EXIT
trap 'exit 130' INT TERM
limit=120 # seconds for the tests of one plant

# half, plant, program under tests/unit, words that its tests are chosen by
table='
first  R17         metaserver/test-metaserver-store          metastore/log
first  R17_REFUSE  metaserver/test-metaserver-store          power cuts
first  R18         metaserver/test-metaserver-store          metastore/vote
first  R18_ABSENT  metaserver/test-metaserver-store          metastore/vote
first  R19         metaserver/test-metaserver-store          metastore/faults
first  R19_VOTE    metaserver/test-metaserver-store          metastore/faults
first  R19_SPARE   metaserver/test-metaserver-store          metastore/faults
first  R19_FORGET  metaserver/test-metaserver-store          metastore/faults
first  R19_GO_ON   metaserver/test-metaserver-faults         failed_sync_ends_it
first  R20         metaserver/raft/test-metaserver-raft      persist_stall
first  R21         metaserver/test-metaserver-store          metastore/faults
first  R21_WEDGE   metaserver/test-metaserver-store          metastore/faults
first  R22         metaserver/fs/test-metaserver-fs          repeats_get_the_first_answer
first  R22_SPACE   metaserver/test-metaserver                refuses_what_grows
first  R25_LOOP    metaserver/test-metaserver-faults         wall_clock_moves_no_timeout
first  R28_UNTOLD  metaserver/test-metaserver-faults         hashes_are_told_and_compared
second R28_GO_ON   metaserver/test-metaserver-faults         hashes_are_told_and_compared
second R15_VIEW    metaserver/test-metaserver-queries        answers
second R23         common/client/test-common-client          op_change_in_a_lost_session
second R23_OPEN    metaserver/test-metaserver-faults         open_proposals_are_not_failed
second R24         metaserver/test-metaserver-faults         slow_checkpoint
second R25         metaserver/test-metaserver-faults         wall_clock_moves_no_timeout
second R25_TIME    metaserver/test-metaserver-faults         times_never_run_backwards
second R25_STAMP   metaserver/fs/test-metaserver-fs          setattr_rules
second R26         metaserver/raft/test-metaserver-raft      refusals
second R26_WIRE    common/wire/test-common-wire              garbage
second R28         metaserver/fs/test-metaserver-fs          hashes_agree_and_differ
second R28_UNSEEN  metaserver/fs/test-metaserver-fs          hashes_agree_and_differ
second P1          metaserver/test-metaserver-store          metastore/standing
second P1          common/client/test-common-client-data     fsync_syncs_before_it_commits
second D2          common/ring/test-common-ring              restart_within_the_lease_resyncs
second D2_LEASE    chunkserver/test-chunkserver              lease_waits_for_the_table
second D4_LEFT     chunkserver/test-chunkserver              nothing_goes_while_a_copy_is_missing
second D4_BEHIND   chunkserver/test-chunkserver              leader_that_is_behind
second D14_LEFT    chunkserver/test-chunkserver              returning_shard_keeps
second D5          chunkserver/store/test-chunkserver-store  failed_flush_is_final
second D6          chunkserver/store/test-chunkserver-store  partial_write_verifies_the_old_block
second D8          chunkserver/store/test-chunkserver-store  missing_chunk_is_an_error
second D9          common/client/test-common-client-data     grown_file_shows_no_old_bytes
second D12         metaserver/fs/test-metaserver-fs          truncate_drops_chunks
second D12_MOVED   metaserver/fs/test-metaserver-fs          late_commits_are_refused
second D14         common/ring/test-common-ring              synced_counts_once_and_from_the_source
first  D18         metaserver/fs/test-metaserver-fs          a_replacement_counts_when_it_is_in_sync
second D18_COPY    metaserver/cluster/test-metaserver-cluster missing_copy_comes_first
first  D19_OUT     common/ring/test-common-ring              the_latest_copy_is_promoted
second D14_ONCE    chunkserver/test-chunkserver              dead_twice
second D14_COMMIT  metaserver/fs/test-metaserver-fs          dead_
second D19         common/ring/test-common-ring              oracle
second D25         chunkserver/chain/test-chunkserver-chain  pace
second D25_RUSH    metaserver/cluster/test-metaserver-cluster one_dies_meanwhile
second D25_SETTLE  metaserver/cluster/test-metaserver-cluster waits_until_it_has_settled
second BALANCE_END metaserver/cluster/test-metaserver-cluster a_replaced_server_costs_one_copy
second D26         metaserver/cluster/test-metaserver-cluster storm_brake
second MAINTENANCE metaserver/cluster/test-metaserver-cluster is_waited_for
second D28         common/client/test-common-client          pages
second D30         common/client/test-common-client-data     contents_match_the_model
'

rows() { # [PLANT... | HALF]
    local word
    [ $# -gt 0 ] || set -- first second
    for word in "$@"; do
        awk -v w="$word" '$1 == w || $2 == w { print; n++ } END { exit !n }' <<< "$table" || echo "- $word - -"
    done
}

compile() { # plant program
    local files file
    files=$(cd "$top" && grep -rlwE --include='*.c' "PLANT_$1" common metaserver chunkserver) || { echo "no line says PLANT_$1"; return 1; }
    rm -rf "$here/build"
    cp -al "$build" "$here/build" 2> /dev/null || { rm -rf "$here/build" && cp -a "$build" "$here/build"; } || return 1
    for file in $files; do
        rm -f "$here/build/${file%.c}.o"
        rm -f "$here/build/${file%/*}"/*.a "$here/build/${file%/*}"/cairn-*
    done
    rm -f "$here/build/tests/unit/$2" "$here/build/tests/unit/metaserver/metaserver-with-faults"
    case $2 in
    */test-metaserver-faults) set -- "$1" "$2" tests/unit/metaserver/metaserver-with-faults ;;
    */test-metaserver) set -- "$1" "$2" metaserver/cairn-metaserver ;;
    *) set -- "$1" "$2" ;;
    esac
    make -s -C "$here/build" "PLANT=-DPLANT_$1" "tests/unit/$2" ${3:+"$3"} 2>&1
}

examine() { # program words; without the shell's word about a signal
    (CAIRN_METASERVER=$here/build/metaserver/cairn-metaserver CAIRN_TEST_DIR=$work
    export CAIRN_METASERVER CAIRN_TEST_DIR
    exec timeout -k 5 $limit "$here/build/tests/unit/$1" "$2")
}

bad=0
while read -r _ plant program words; do
    if ! compile "$plant" "$program" > "$here/make.log"; then
        tail -5 "$here/make.log" | sed 's/^/# /'
        echo "not ok plant $plant does not compile"
        bad=1
        continue
    fi
    base=/var/tmp # daemons need more room than there may be in memory
    case $program in */test-metaserver-store) [ -w /dev/shm ] && base=/dev/shm ;; esac
    work=$(mktemp -d $base/cairn-plants.XXXXXX) || exit 2
    begun=$(date +%s%N)
    examine "$program" "$words" > "$here/out" 2>&1 < /dev/null
    status=$?
    rm -rf "$work"
    took=$((($(date +%s%N) - begun) / 10000000))
    took=$((took / 100)).$(printf %02d $((took % 100)))
    seen=$(sed -n 's/^not ok //p' "$here/out" | head -n 1)
    # A planted bug may end the program, at a CHECK or by a signal, before its test has failed.
    [ -n "$seen" ] || [ $status -lt 128 ] || seen="the end of ${program##*/} $words"
    if [ -n "$seen" ]; then
        echo "ok plant $plant caught by $seen after $took s"
    else
        tail -5 "$here/out" | sed 's/^/# /'
        echo "not ok plant $plant not caught by ${program##*/} $words"
        bad=1
    fi
done < <(rows "$@")
exit $bad
