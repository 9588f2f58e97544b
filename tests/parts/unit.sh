# Unit tests of every room under ASan and UBSan; the threaded rooms also under TSan. Sourced by check.sh.
export CAIRN_METASERVER=$out/asan/metaserver/cairn-metaserver
while IFS= read -r program; do
    start "${program#"$out"/asan/}" 600 "$program"
done < <(find "$out/asan/tests/unit" -type f -name 'test-*' -perm -u+x | sort)
# The bugs planted for them, on release builds: most of that time goes to waiting.
for half in first second; do
    start "unit/plants.sh $half" 600 bash tests/unit/plants.sh "$out/release" $half
done
finish

# Rooms with threads under TSan: the event loop with its workers, the chunk store, and the queries.
tsan="common/net/test-common-net chunkserver/store/test-chunkserver-store metaserver/test-metaserver-queries"
if configured tsan --enable-sanitize=thread CFLAGS="-O1 -g" &&
    build tsan tsan $(for t in $tsan; do echo "tests/unit/$t"; done); then
    run "tsan/test-common-net" 600 "$out/tsan/tests/unit/common/net/test-common-net"
    run "tsan/threads of the store" 600 "$out/tsan/tests/unit/chunkserver/store/test-chunkserver-store" threads
    run "tsan/test-metaserver-queries" 600 "$out/tsan/tests/unit/metaserver/test-metaserver-queries"
fi
