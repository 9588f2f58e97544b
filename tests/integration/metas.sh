# Three metaservers started by hand, each with a disk of its own where a test wants one. Sourced after lib.sh.
#   metas_begin [OPTION...]        three daemons' common options; sets $port, ports + 1 .. + 7 are free for the test
#   disk_make I SIZE               $work/disk$I: an ext4 of its own for m$I; false without loop devices
#   meta_start I [OPTION...], meta_end I SIGNAL, metas_mount, leader
daemon=$build/metaserver/cairn-metaserver
mount=$build/fuse/cairn-mount
metas_uuid=10101010-2222-3333-4444-$(printf %012x $$)
declare -A pid

# The first port from $1 on, in steps of ten, after which seven are free.
free_ports() {
    python3 - "$1" <<'P'
import socket, sys
def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try: s.bind(('127.0.0.1', port))
        except OSError: return False
    return True
print(next(p for p in range(int(sys.argv[1]), 32760, 10) if all(is_free(p + i) for i in range(1, 8))))
P
}

metas_begin() {
    port=$(free_ports $((21000 + $$ % 700 * 16))) # of its own: another run may be under way
    metas_options=("$@")
    peers=1=127.0.0.1:$((port + 1)),2=127.0.0.1:$((port + 2)),3=127.0.0.1:$((port + 3))
    addresses=${peers//[123]=/}
    trap metas_finish EXIT
}
metas_finish() {
    local code=$?
    for i in 1 2 3; do fsfreeze -u "$work/disk$i" 2> /dev/null; done
    umount -l "$M" 2> /dev/null
    for i in "${!pid[@]}"; do kill -9 "${pid[$i]}" 2> /dev/null; done
    wait 2> /dev/null
    umount "$(data_of 1)/database" 2> /dev/null || umount -l "$(data_of 1)/database" 2> /dev/null # t0013
    for i in 1 2 3; do umount "$work/disk$i" 2> /dev/null || umount -l "$work/disk$i" 2> /dev/null; done
    if grep -anE 'check failed|meta\.diverged|ERROR: (Address|Leak)|runtime error' "$work"/m?.log "$work"/m?.err 2> /dev/null; then
        not_ok "no daemon met a broken invariant"
    fi
    [ $failed_steps -eq 0 ] && [ $code -eq 0 ] && { rm -rf "$work"; exit 0; }
    for i in 1 2 3; do echo "# --- m$i"; tail -5 "$work/m$i.log" 2> /dev/null | sed 's/^/# /'; done
    echo "# kept: $work"
    exit 1
}
disk_make() {
    truncate -s "$2" "$work/disk$1.img" && mkdir -p "$work/disk$1" &&
        mkfs.ext4 -q -m 0 "$work/disk$1.img" && mount -o loop "$work/disk$1.img" "$work/disk$1" && mkdir -p "$work/disk$1/meta/m"
}
data_of() { if [ -e "$work/disk$1.img" ]; then echo "$work/disk$1/meta/m"; else echo "$work/m$1"; fi; }
meta_arguments() { # into $arguments
    arguments=(--id "$1" --cluster "$metas_uuid" --data "$(data_of "$1")" --log-file "$work/m$1.log"
        --listen 127.0.0.1:$((port + $1)) --peers "$peers" --shards 8 "${metas_options[@]}" "${@:2}")
}
meta_start() {
    meta_arguments "$@"
    "$daemon" "${arguments[@]}" > "$work/m$1.err" 2>&1 &
    pid[$1]=$!
}
meta_end() { kill "-$2" "${pid[$1]}" 2> /dev/null; wait "${pid[$1]}" 2> /dev/null; unset "pid[$1]"; }
# The newest leader.ready line, by its term, in the logs of those that run.
leader() {
    for i in "${!pid[@]}"; do
        grep -a 'leader.ready' "$work/m$i.log" | tail -1 | sed -E "s/.*term=([0-9]+).*/\1 $i/"
    done | sort -n | tail -1 | cut -d' ' -f2
}
metas_mount() {
    "$mount" "$addresses" "$M" -o attr_timeout=0s,log="$work/mount.log" > "$work/mount.out" 2>&1 || {
        tail -3 "$work/mount.out" | sed 's/^/# /'; not_ok "mount"; exit 1; }
}
metas_status() { timeout 20 "$cairn" status --cluster "$addresses" -o json; }
