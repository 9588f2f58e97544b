#!/bin/bash
# Wrong flags, configurations, folders, ports and peers: a clear error each, and daemons that live on.
. "$(dirname "$0")/lib.sh"
begin t0007-bad-input
meta=$build/metaserver/cairn-metaserver chunk=$build/chunkserver/cairn-chunkserver mount=$build/fuse/cairn-mount
refuse "a mount with no cluster fails with the reason" 5 "127.0.0.1:1[: ]" "$cairn" mount 127.0.0.1:1 "$M"
start=$SECONDS; "$mount" 127.0.0.1:1 "$M" > /dev/null 2>&1; check "within 10 s" test $((SECONDS - start)) -le 11
cluster_up
refuse "unknown command, nearest named" 2 "status" "$cairn" statsu
refuse "unknown flag" 2 "unknown|unrecognized" "$cairn" status --colour
printf '[node]\nid = 1\n[net]\nlisten = 127.0.0.1:7999\nlissten = x\n' > "$work/bad.conf"
refuse "unknown key: file, line, nearest key" 2 "bad.conf:5: unknown key 'lissten'; did you mean 'listen'" "$meta" --config "$work/bad.conf"
refuse "and for a chunkserver" 2 "bad.conf:.*unknown key" "$chunk" --config "$work/bad.conf"
port=$(sed -n 's/^meta_port = //p' "$D/cluster.ini")
uuid=$(sed -n 's/^uuid = //p' "$D/cluster.ini")
refuse "a port in use" 1 "address already in use|in use" "$meta" --id 1 --cluster "$uuid" --data "$work/m" --listen "127.0.0.1:$port"
refuse "not a loopback address" 1 "loopback" "$meta" --id 1 --cluster "$uuid" --data "$work/m0" --listen "0.0.0.0:7998"
"$cairn" dev kill --dir "$D" c4 > /dev/null
other=11111111-2222-4333-8444-555555555555
refuse "a data folder of another cluster" 1 "another cluster|belongs" "$chunk" --name c4 --cluster $other --data "$D/c4/data" --host c4 --listen 127.0.0.1:7997 --metaservers "127.0.0.1:$port"
"$cairn" dev kill --dir "$D" m3 > /dev/null
refuse "a metadata folder of another cluster" 1 "another cluster|belongs" "$meta" --id 3 --cluster $other --data "$D/m3/data" --listen 127.0.0.1:7996
"$cairn" dev start --dir "$D" all > /dev/null
check "garbage to every port: the daemons live" python3 - "$D" <<'P'
import random, re, socket, sys, time
ini = open(sys.argv[1] + '/cluster.ini').read()
get = lambda k: int(re.search(rf'^{k} = (\d+)', ini, re.M).group(1))
ports = [get('meta_port') + i for i in range(get('meta'))] + [get('chunk_port') + i for i in range(get('chunk'))]
rng = random.Random(3)
for port in ports:
    for data in [rng.randbytes(10000), b'CRN1' + rng.randbytes(500), b'GET / HTTP/1.0\r\n\r\n', b'\0' * 100000, b'']:
        s = socket.create_connection(('127.0.0.1', port), 5); s.settimeout(10)
        try:
            s.sendall(data); s.shutdown(socket.SHUT_WR)
            while s.recv(65536): pass
        except OSError: pass
        s.close()
time.sleep(0.5)
for port in ports: socket.create_connection(('127.0.0.1', port), 5).close()
P
echo hello > "$M/alive"
check "and the cluster works" grep -q hello "$M/alive"
refuse "mount point in use" 1 "mount" "$mount" "$D" "$M"
refuse "rm of what is not there" 3 "no such" "$cairn" rm --cluster "$D" cairn:/nothing
cluster_down
