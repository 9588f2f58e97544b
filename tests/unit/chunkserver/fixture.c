/* The fixture: servers, their leader, a client. */
#define _GNU_SOURCE
#include "tests/unit/chunkserver/fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/banned.h"

struct fixture f;
static const struct uuid cluster = {{1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16}};

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

void fixture_setup(void)
{
    memset(&f, 0, sizeof f);
    f.loop = loop_create();
    f.cluster = cluster;
    f.left_grace_ms = CHUNKSERVER_GRACE_ENDLESS;
    f.client = (struct rpc_identity){.role = ROLE_CLIENT};
    (void)snprintf(f.folder, sizeof f.folder, "/tmp/cairn-test-chunkserver-%d", (int)getpid());
    (void)nftw(f.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    CHECK(mkdir(f.folder, 0755) == 0);
    leader_start();
}

void fixture_teardown(void)
{
    for (unsigned i = 0; i < SERVERS_MAX; i++) {
        if (f.servers[i])
            server_kill(i);
        if (f.peers[i])
            rpc_peer_destroy(f.peers[i]);
    }
    leader_stop();
    loop_destroy(f.loop);
    (void)nftw(f.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- running the loop ---- */

static struct waiting {
    struct loop_timer timer;
    condition_fn *condition;
    uint64_t until_ms;
    bool held;
} waiting;

static void on_wait(void *arg)
{
    (void)arg;
    waiting.held = waiting.condition && waiting.condition();
    if (waiting.held || loop_now_ms() >= waiting.until_ms)
        loop_stop(f.loop);
    else
        loop_timer_start_ms(&waiting.timer, 2);
}

bool run_until(condition_fn *condition, unsigned ms)
{
    loop_timer_init(&waiting.timer, f.loop, on_wait, NULL);
    waiting.condition = condition;
    waiting.until_ms = loop_now_ms() + ms;
    loop_timer_start_ms(&waiting.timer, 0);
    loop_run(f.loop);
    loop_timer_stop(&waiting.timer);
    return waiting.held;
}

void run_ms(unsigned ms)
{
    (void)run_until(NULL, ms);
}

/* ---- servers ---- */

static void on_end(void *arg, enum chunkserver_end end)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    f.ended[i] = true;
    f.ends[i] = end;
}

void server_start(unsigned i)
{
    char name[8], data[96];
    struct err_text why = {""};
    (void)snprintf(name, sizeof name, "c%u", i + 1);
    (void)snprintf(data, sizeof data, "%s/%s", f.folder, name);
    struct chunkserver_config config = {.name = name,
                                        .host = name,
                                        .data = data,
                                        .listen = "127.0.0.1:0",
                                        .cluster = f.cluster,
                                        .metaservers = {rpc_server_address(f.leader.server)},
                                        .metaserver_count = 1,
                                        .reserve_per_mille = 1,
                                        .worker_count = 4,
                                        .left_grace_ms = f.left_grace_ms};
    f.ended[i] = false;
    int status =
        chunkserver_create(f.loop, &config, on_end, (void *)(uintptr_t)i, &f.servers[i], &why);
    if (status != 0)
        (void)fprintf(stderr, "%s\n", why.text);
    CHECK(status == 0);
    if (f.peers[i])
        rpc_peer_destroy(f.peers[i]);
    struct rpc_peer_options options = {.address = chunkserver_address(f.servers[i]),
                                       .identity = &f.client};
    f.peers[i] = rpc_peer_create(f.loop, &options);
}

void server_kill(unsigned i)
{
    chunkserver_abandon(f.servers[i]);
    f.servers[i] = NULL;
}

static unsigned stopping;
static bool has_ended(void)
{
    return f.ended[stopping];
}

void server_stop(unsigned i)
{
    stopping = i;
    chunkserver_stop(f.servers[i]);
    CU_ASSERT_TRUE(run_until(has_ended, 5000));
    CU_ASSERT_EQUAL(chunkserver_destroy(f.servers[i]), 0);
    f.servers[i] = NULL;
}

bool all_have_lease(void)
{
    for (unsigned i = 0; i < SERVERS_MAX; i++)
        if (f.servers[i] && !chunkserver_has_lease(f.servers[i]))
            return false;
    return true;
}

bool all_insync(void)
{
    const struct shard_table *t = &f.leader.table;
    for (unsigned i = 0; i < SERVERS_MAX; i++)
        if (f.servers[i] && f.servers[i]->table.version != t->version)
            return false;
    for (uint32_t n = 0; n < SHARDS; n++) {
        const struct shard *s = shard_table_shard(t, f.leader.copies, n);
        if (!s || s->epoch == 0)
            return false;
        for (unsigned i = 0; i < f.leader.copies; i++)
            if (s->slot[i].state != SLOT_INSYNC)
                return false;
    }
    return all_have_lease();
}

void cluster_start(unsigned count, unsigned copies)
{
    f.leader.targets_wanted = count;
    f.leader.copies = copies;
    for (unsigned i = 0; i < count; i++)
        server_start(i);
    CU_ASSERT_TRUE_FATAL(run_until(all_insync, 10000));
}

/* ---- a client ---- */

static struct answer *current;
static bool is_answered(void)
{
    return current->done;
}

static void on_answer(void *arg, struct rpc_reply *reply)
{
    struct answer *a = arg;
    struct msg_chunk_read_r read;
    struct msg_chunk_write_r write;
    a->done = true;
    a->status = reply->status;
    a->code = reply->code;
    if (a->status != 0)
        return;
    if (reply->code == MSG_chunk_write_r &&
        decode_chunk_write_r(reply->body, reply->version, &write) == 0)
        a->version = (struct chunk_version){write.version_epoch, write.version_seq};
    if (reply->code != MSG_chunk_read_r)
        return;
    CHECK(decode_chunk_read_r(reply->body, reply->version, &read) == 0);
    a->version = (struct chunk_version){read.version_epoch, read.version_seq};
    a->chunk_length = read.chunk_length;
    a->crc_count = (uint32_t)read.crcs.size / 4;
    CHECK(a->crc_count <= 1024);
    if (a->crc_count)
        memcpy(a->crcs, read.crcs.data, read.crcs.size);
    a->size = reply->payload_size;
    a->bytes = malloc(a->size + 1);
    if (a->size)
        memcpy(a->bytes, reply->payload->data, a->size);
}

void client_call(unsigned server, uint16_t code, const struct bytes *body, const void *payload,
                 uint32_t payload_size, struct answer *a)
{
    struct buf *buf = payload_size ? buf_create(payload_size) : NULL;
    struct net_slice part = {buf, 0, payload_size};
    if (buf)
        memcpy(buf->data, payload, payload_size);
    *a = (struct answer){0};
    struct rpc_call_options options = {.code = code,
                                       .body = bytes_slice(body),
                                       .payload = &part,
                                       .payload_count = buf ? 1 : 0,
                                       .deadline_ms = loop_now_ms() + 10000};
    (void)rpc_call(f.peers[server], &options, on_answer, a);
    buf_unref(buf);
    current = a;
    CU_ASSERT_TRUE_FATAL(run_until(is_answered, 12000));
}

struct wire_shardref shardref(uint32_t shard)
{
    const struct shard *s = shard_table_shard(&f.leader.table, f.leader.copies, shard);
    return (struct wire_shardref){(uint8_t)f.leader.copies, shard, s ? s->epoch : 0};
}

unsigned member_at(uint32_t shard, unsigned at)
{
    struct chain_view view = shard_table_chain(&f.leader.table, f.leader.copies, shard);
    CU_ASSERT_TRUE_FATAL(at < view.member_count);
    for (unsigned i = 0; i < SERVERS_MAX; i++)
        if (f.servers[i] && chunkserver_target(f.servers[i]) == view.member[at])
            return i;
    CU_FAIL_FATAL("no such server");
    return 0;
}

static uint64_t next_op = 1;

int client_write(unsigned server, const struct chunk_id *id, uint32_t shard, uint32_t offset,
                 const void *data, uint32_t size, uint32_t flags)
{
    uint32_t first = offset / BLOCK_SIZE, last = (offset + size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    uint32_t *crcs = calloc(last - first + 1, sizeof *crcs);
    const uint8_t *bytes = data;
    for (uint32_t at = offset; at < offset + size;) {
        uint8_t page[BLOCK_SIZE] = {0};
        uint32_t block = at / BLOCK_SIZE, start = block * BLOCK_SIZE;
        uint32_t to = start + BLOCK_SIZE < offset + size ? start + BLOCK_SIZE : offset + size;
        memcpy(page + (at - start), bytes + (at - offset), to - at);
        crcs[block - first] = chunk_block_crc(id, block, page);
        at = to;
    }
    struct msg_chunk_write m = {.id = *id,
                                .shard = shardref(shard),
                                .session = 77,
                                .op = next_op++,
                                .offset = offset,
                                .length = size,
                                .flags = flags,
                                .crcs = slice_of(crcs, size ? (last - first) * 4ul : 0)};
    struct bytes body = {0};
    struct answer a;
    encode_chunk_write(&body, &m);
    client_call(server, MSG_chunk_write, &body, data, size, &a);
    bytes_release(&body);
    free(crcs);
    return a.status;
}

int client_read(unsigned server, const struct chunk_id *id, uint32_t shard, uint32_t offset,
                uint32_t size, struct answer *a)
{
    struct msg_chunk_read m = {
        .id = *id, .shard = shardref(shard), .offset = offset, .length = size};
    struct bytes body = {0};
    encode_chunk_read(&body, &m);
    client_call(server, MSG_chunk_read, &body, NULL, 0, a);
    bytes_release(&body);
    return a->status;
}

bool copies_equal(unsigned a, unsigned b, const struct chunk_id *id)
{
    enum { PIECE = 1 << 20 };
    uint8_t *left = malloc(PIECE), *right = malloc(PIECE);
    struct store_read l = {.size = 1}, r;
    uint32_t lc[PIECE / BLOCK_SIZE], rc[PIECE / BLOCK_SIZE];
    bool equal = true;
    for (uint32_t at = 0; equal && l.size && at < CHUNK_SIZE; at += PIECE) {
        int ls = store_read(chunkserver_store(f.servers[a]), id, at, PIECE, STORE_READ_VERIFY, left,
                            lc, &l, NULL);
        int rs = store_read(chunkserver_store(f.servers[b]), id, at, PIECE, STORE_READ_VERIFY,
                            right, rc, &r, NULL);
        equal = ls == 0 && rs == 0 && l.size == r.size && l.length == r.length &&
                chunk_version_compare(&l.version, &r.version) == 0 &&
                memcmp(left, right, l.size) == 0;
    }
    free(left);
    free(right);
    return equal;
}
