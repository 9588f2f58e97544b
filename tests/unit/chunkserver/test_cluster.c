/* Servers together: replication, a server that dies and comes back, resync, repair. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/private.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

enum { SIZE = 1 << 20 };
static uint8_t data[SIZE];

static void data_fill(uint32_t seed)
{
    for (uint32_t i = 0; i < SIZE; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
}

static bool read_equals(unsigned server, const struct chunk_id *id, uint32_t shard, uint32_t size)
{
    struct answer a;
    uint32_t blocks = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    if (client_read(server, id, shard, 0, blocks * BLOCK_SIZE, &a) != 0)
        return false;
    bool equal = a.chunk_length == size && a.size == blocks * BLOCK_SIZE && a.crc_count == blocks &&
                 memcmp(a.bytes, data, size) == 0;
    for (uint32_t i = 0; equal && i < blocks; i++)
        equal = a.crcs[i] == 0 || /* a hole */
                chunk_block_crc(id, i, a.bytes + (size_t)i * BLOCK_SIZE) == a.crcs[i];
    free(a.bytes);
    return equal;
}

/* A write at the head is on all members when it is answered, with the CRCs the client made; sizes
 * that are not whole blocks too. Reads behind the end are short; absent chunks are no zeros (D8).
 */
static void write_reaches_all(void)
{
    static const uint32_t sizes[] = {1, 4096, 5000, 200000, SIZE};
    struct answer a;
    cluster_start(3, 3);
    for (uint32_t i = 0; i < 5; i++) {
        struct chunk_id id = {10 + i, 0, 1};
        data_fill(i);
        CU_ASSERT_EQUAL(
            client_write(member_at(i, 0), &id, i, 0, data, sizes[i], CHUNK_WRITE_CREATE), 0);
        for (unsigned at = 0; at < 3; at++)
            CU_ASSERT_TRUE(read_equals(member_at(i, at), &id, i, sizes[i]));
        CU_ASSERT_TRUE(copies_equal(0, 1, &id) && copies_equal(1, 2, &id));
        CU_ASSERT_EQUAL(client_read(0, &id, i, SIZE, BLOCK_SIZE, &a), 0);
        CU_ASSERT_EQUAL(a.size, 0);
        CU_ASSERT_EQUAL(a.chunk_length, sizes[i]);
        free(a.bytes);
    }
    struct chunk_id absent = {99, 0, 1};
    CU_ASSERT_EQUAL(client_read(0, &absent, 0, 0, BLOCK_SIZE, &a), -ERR_LOST_CHUNK);
    CU_ASSERT_EQUAL(client_write(member_at(0, 0), &absent, 0, 0, data, 10, 0), -ERR_LOST_CHUNK);
    CU_ASSERT_EQUAL(client_write(member_at(0, 1), &absent, 0, 0, data, 10, CHUNK_WRITE_CREATE),
                    -ERR_STALE);
    CU_ASSERT_EQUAL(client_read(0, &absent, 0, 1, BLOCK_SIZE, &a), -ERR_INVALID);
    CU_ASSERT_EQUAL(client_read(0, &absent, 0, 0, READ_SIZE_MAX + BLOCK_SIZE, &a), -ERR_INVALID);
}

/* D30: bytes that were damaged on the way are refused before anything is changed, and the head
 * keeps its place. */
static void damaged_write_is_refused(void)
{
    struct chunk_id id = {5, 0, 1};
    cluster_start(2, 2);
    data_fill(1);
    for (unsigned round = 0; round < 2; round++) {
        uint32_t size = round ? SIZE : 100, count = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
        uint32_t *crcs = calloc(count, sizeof *crcs);
        struct msg_chunk_write m = {.id = id,
                                    .shard = shardref(0),
                                    .session = 1,
                                    .op = 1 + round,
                                    .length = size,
                                    .flags = CHUNK_WRITE_CREATE,
                                    .crcs = slice_of(crcs, count * 4ul)};
        struct bytes body = {0};
        struct answer a;
        encode_chunk_write(&body, &m);
        client_call(member_at(0, 0), MSG_chunk_write, &body, data, size, &a);
        CU_ASSERT_EQUAL(a.status, -ERR_CORRUPT);
        bytes_release(&body);
        free(crcs);
    }
    CU_ASSERT_EQUAL(client_write(member_at(0, 0), &id, 0, 0, data, 100, CHUNK_WRITE_CREATE), 0);
    CU_ASSERT_EQUAL(f.leader.reports, 0);
}

static unsigned dead;
static bool dead_is_offline(void)
{
    for (uint32_t n = 0; n < SHARDS; n++) {
        const struct shard *s = shard_table_shard(&f.leader.table, f.leader.copies, n);
        for (unsigned i = 0; i < f.leader.copies; i++)
            if (s->slot[i].target == dead && s->slot[i].state == SLOT_INSYNC)
                return false;
    }
    return true;
}

static bool dead_is_offline_and_known(void)
{
    if (!dead_is_offline())
        return false;
    for (unsigned i = 0; i < SERVERS_MAX; i++)
        if (f.servers[i] && f.servers[i]->table.version != f.leader.table.version)
            return false;
    return true;
}

/* D1, D2: one server dies in between; writes go on with the rest, to old and to new chunks; the one
 * that returns is brought in sync, and then every copy is equal byte by byte. */
static void killed_server_is_resynced(void)
{
    enum { CHUNKS = 24 };
    cluster_start(3, 2);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        struct chunk_id id = {200 + i, 0, 1};
        data_fill(i);
        CU_ASSERT_EQUAL(client_write(member_at(i % SHARDS, 0), &id, i % SHARDS, 0, data, 300000,
                                     CHUNK_WRITE_CREATE),
                        0);
    }
    dead = chunkserver_target(f.servers[1]);
    server_kill(1);
    CU_ASSERT_TRUE(run_until(dead_is_offline_and_known, 5000));
    for (uint32_t i = 0; i < CHUNKS; i += 2) {
        struct chunk_id old = {200 + i, 0, 1}, new = {300 + i, 0, 1};
        uint32_t shard = i % SHARDS;
        data_fill(1000 + i);
        CU_ASSERT_EQUAL(client_write(member_at(shard, 0), &old, shard, 8192, data, 5000, 0), 0);
        CU_ASSERT_EQUAL(
            client_write(member_at(shard, 0), &new, shard, 4096, data, 70000, CHUNK_WRITE_CREATE),
            0);
    }
    server_start(1);
    CU_ASSERT_EQUAL(f.servers[1]->info.start, STORE_START_KILLED);
    CU_ASSERT_TRUE(run_until(all_insync, 20000));
    for (uint32_t i = 0; i < CHUNKS; i++) {
        struct chunk_id old = {200 + i, 0, 1}, new = {300 + i, 0, 1};
        uint32_t shard = i % SHARDS;
        CU_ASSERT_TRUE(copies_equal(member_at(shard, 0), member_at(shard, 1), &old));
        if (i % 2 == 0)
            CU_ASSERT_TRUE(copies_equal(member_at(shard, 0), member_at(shard, 1), &new));
    }
}

static int chunk_file_flip(unsigned server, uint32_t shard, const struct chunk_id *id, long at)
{
    char command[256], path[200] = "", text[CHUNK_ID_TEXT_SIZE];
    chunk_id_format(id, text);
    (void)shard;
    (void)snprintf(command, sizeof command, "find %s/c%u -name '%s'", f.folder, server + 1, text);
    FILE *pipe = popen(command, "r");
    if (!pipe || !fgets(path, sizeof path, pipe) || pclose(pipe) != 0)
        return -1;
    path[strcspn(path, "\n")] = '\0';
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    off_t end = lseek(fd, 0, SEEK_END);
    int status = pread(fd, &byte, 1, end - at) == 1 ? 0 : -1;
    byte ^= 0x40;
    if (status == 0 && pwrite(fd, &byte, 1, end - at) != 1)
        status = -1;
    (void)close(fd);
    return status;
}

static int suspect(unsigned server, const struct chunk_id *id, uint32_t shard, uint32_t block)
{
    struct msg_chunk_suspect m = {.id = *id, .shard = shardref(shard), .block = block};
    struct bytes body = {0};
    struct answer a;
    encode_chunk_suspect(&body, &m);
    client_call(server, MSG_chunk_suspect, &body, NULL, 0, &a);
    bytes_release(&body);
    return a.status;
}

/* D23: rot is met by a reader, who says so; the block comes back from the other copy. Without
 * another copy it stays an error. */
static void rot_is_repaired(void)
{
    struct chunk_id id = {7, 0, 1};
    uint32_t size = 40000, last = size / BLOCK_SIZE;
    cluster_start(2, 2);
    data_fill(9);
    CU_ASSERT_EQUAL(client_write(member_at(4, 0), &id, 4, 0, data, size, CHUNK_WRITE_CREATE), 0);
    unsigned server = member_at(4, 1), other = member_at(4, 0);
    CU_ASSERT_EQUAL(suspect(server, &id, 4, last), 0); /* nothing wrong: no harm */
    CU_ASSERT_EQUAL_FATAL(chunk_file_flip(server, 4, &id, 5000), 0);
    CU_ASSERT_FALSE(read_equals(server, &id, 4, size));
    CU_ASSERT_EQUAL(suspect(server, &id, 4, last - 1), 0);
    CU_ASSERT_EQUAL(suspect(server, &id, 4, last), 0);
    CU_ASSERT_TRUE(read_equals(server, &id, 4, size));
    CU_ASSERT_TRUE(store_counters(chunkserver_store(f.servers[server])).blocks_repaired >= 1);
    CU_ASSERT_EQUAL_FATAL(chunk_file_flip(server, 4, &id, 5000), 0);
    CU_ASSERT_EQUAL_FATAL(chunk_file_flip(other, 4, &id, 5000), 0);
    int one = suspect(server, &id, 4, last - 1), two = suspect(server, &id, 4, last);
    CU_ASSERT_TRUE(one == -ERR_CORRUPT || two == -ERR_CORRUPT);
}

/* Truncate, zero, sync and delete go down the chain. */
static void changes_reach_all(void)
{
    struct chunk_id id = {8, 0, 1};
    struct answer a;
    cluster_start(2, 2);
    data_fill(3);
    CU_ASSERT_EQUAL(client_write(member_at(1, 0), &id, 1, 0, data, 50000, CHUNK_WRITE_CREATE), 0);
    static const struct {
        uint8_t kind;
        uint32_t offset, length;
    } rows[] = {{CHANGE_ZERO, 100, 9000}, {CHANGE_TRUNCATE, 0, 30001}, {CHANGE_SYNC, 0, 0}};
    for (unsigned i = 0; i < 3; i++) {
        struct msg_chunk_change m = {.id = id,
                                     .shard = shardref(1),
                                     .session = 3,
                                     .op = 1 + i,
                                     .kind = rows[i].kind,
                                     .offset = rows[i].offset,
                                     .length = rows[i].length};
        struct bytes body = {0};
        encode_chunk_change(&body, &m);
        client_call(member_at(1, 0), MSG_chunk_change, &body, NULL, 0, &a);
        CU_ASSERT_EQUAL(a.status, 0);
        bytes_release(&body);
    }
    memset(data + 100, 0, 9000);
    for (unsigned at = 0; at < 2; at++)
        CU_ASSERT_TRUE(read_equals(member_at(1, at), &id, 1, 30001));
    CU_ASSERT_TRUE(copies_equal(0, 1, &id));
}

static bool written_by(uint32_t round)
{
    struct chunk_id id = {400 + round, 0, 1};
    data_fill(round);
    return client_write(member_at(round % SHARDS, 0), &id, round % SHARDS, 0, data, 123456,
                        CHUNK_WRITE_CREATE) == 0;
}

/* All servers die at once (D27): the first to return is the authority, what was acknowledged is
 * still there, and the others follow. */
static void whole_cluster_dies(void)
{
    cluster_start(3, 2);
    for (uint32_t i = 0; i < 12; i++)
        CU_ASSERT_TRUE(written_by(i));
    for (unsigned i = 0; i < 3; i++)
        server_kill(i);
    run_ms(f.leader.lease_ms + 600);
    for (unsigned i = 3; i > 0; i--) {
        server_start(i - 1);
        run_ms(50);
    }
    CU_ASSERT_TRUE(run_until(all_insync, 20000));
    for (uint32_t i = 0; i < 12; i++) {
        struct chunk_id id = {400 + i, 0, 1};
        data_fill(i);
        CU_ASSERT_TRUE(read_equals(member_at(i % SHARDS, 0), &id, i % SHARDS, 123456));
        CU_ASSERT_TRUE(read_equals(member_at(i % SHARDS, 1), &id, i % SHARDS, 123456));
        CU_ASSERT_TRUE(copies_equal(member_at(i % SHARDS, 0), member_at(i % SHARDS, 1), &id));
    }
}

/* A restart in order (SIGTERM) of each server in turn, with writes between: no write fails for
 * longer than the table needs, and nothing is lost. */
static void rolling_restart(void)
{
    cluster_start(3, 3);
    for (unsigned i = 0; i < 3; i++) {
        dead = chunkserver_target(f.servers[i]);
        server_stop(i);
        CU_ASSERT_TRUE(run_until(dead_is_offline_and_known, 5000));
        CU_ASSERT_TRUE(written_by(i));
        server_start(i);
        CU_ASSERT_TRUE_FATAL(run_until(all_insync, 20000));
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct chunk_id id = {400 + i, 0, 1};
        CU_ASSERT_TRUE(copies_equal(0, 1, &id) && copies_equal(1, 2, &id));
    }
}

/* R26: bodies that are no messages are answered with an error and harm nobody. */
static void garbage_is_refused(void)
{
    static const uint16_t codes[] = {MSG_chunk_write,   MSG_chunk_read,  MSG_chunk_change,
                                     MSG_chunk_suspect, MSG_chain_op,    MSG_resync_inventory,
                                     MSG_resync_write,  MSG_resync_crcs, MSG_resync_finish,
                                     MSG_resync_seal,   MSG_repair_read, MSG_meta_mkdir};
    struct bytes body = {0};
    struct answer a;
    cluster_start(1, 1);
    bytes_append(&body, "\x01\x02\x03", 3);
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        client_call(0, codes[i], &body, data, i % 2 ? 5000 : 0, &a);
        CU_ASSERT_NOT_EQUAL(a.status, 0);
    }
    bytes_release(&body);
}

#define TESTS(T)                 \
    T(write_reaches_all)         \
    T(damaged_write_is_refused)  \
    T(killed_server_is_resynced) \
    T(rot_is_repaired)           \
    T(changes_reach_all)         \
    T(whole_cluster_dies)        \
    T(rolling_restart)           \
    T(garbage_is_refused)
CU_TestInfo cluster_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
