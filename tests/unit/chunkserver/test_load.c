/* Servers that die and stop under a load of writes: nothing acknowledged is lost, all copies end
 * equal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chunkserver/private.h"
#include "common/base/prng.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

enum {
    WRITERS = 8,
    SERVERS = 3,
    PIECE = 3000 /* not whole blocks: merges too */,
    PIECES_MAX = CHUNK_SIZE / PIECE - 2,
    RETRY_MS = 20,
    SIZE_READ = 1 << 20
};

/* Writes piece after piece to a chunk of its own; each again with the same id until it is
 * acknowledged, wherever the head is by then. */
struct writer {
    struct chunk_id id;
    uint32_t shard, acknowledged;
    uint64_t repeated;
    struct loop_timer timer;
    bool busy;
};
static struct writer writers[WRITERS];
static bool stopping;

static uint8_t pattern(const struct writer *w, uint32_t at)
{
    return (uint8_t)((at / PIECE) * 7 + w->shard * 31 + at % PIECE);
}

static unsigned head_of(uint32_t shard)
{
    struct chain_view view = shard_table_chain(&f.leader.table, f.leader.copies, shard);
    for (unsigned i = 0; i < SERVERS_MAX; i++)
        if (f.servers[i] && view.insync_count && chunkserver_target(f.servers[i]) == view.member[0])
            return i;
    return SERVERS_MAX;
}

static void on_answer(void *arg, struct rpc_reply *reply)
{
    struct writer *w = arg;
    w->busy = false;
    if (reply->status == 0)
        w->acknowledged++;
    else
        w->repeated++;
    if (!stopping && w->acknowledged < PIECES_MAX) /* a fast machine is there in 20 s */
        loop_timer_start_ms(&w->timer, reply->status == 0 ? 0 : RETRY_MS);
}

static void piece_write(struct writer *w, unsigned head)
{
    struct buf *buf = buf_create(PIECE);
    uint32_t offset = w->acknowledged * PIECE, count = 0, crcs[3];
    for (uint32_t i = 0; i < PIECE; i++)
        buf->data[i] = pattern(w, w->acknowledged * PIECE + i);
    for (uint32_t at = offset; at < offset + PIECE;) {
        uint8_t page[BLOCK_SIZE] = {0};
        uint32_t start = at / BLOCK_SIZE * BLOCK_SIZE;
        uint32_t to = start + BLOCK_SIZE < offset + PIECE ? start + BLOCK_SIZE : offset + PIECE;
        memcpy(page + (at - start), buf->data + (at - offset), to - at);
        crcs[count++] = chunk_block_crc(&w->id, at / BLOCK_SIZE, page);
        at = to;
    }
    struct msg_chunk_write m = {.id = w->id,
                                .shard = shardref(w->shard),
                                .session = 9,
                                .op = w->id.inode * 1000000 + w->acknowledged + 1,
                                .offset = offset,
                                .length = PIECE,
                                .flags = CHUNK_WRITE_CREATE,
                                .crcs = slice_of(crcs, count * 4ul)};
    struct bytes body = {0};
    struct net_slice part = {buf, 0, PIECE};
    encode_chunk_write(&body, &m);
    struct rpc_call_options options = {.code = MSG_chunk_write,
                                       .body = bytes_slice(&body),
                                       .payload = &part,
                                       .payload_count = 1,
                                       .deadline_ms = loop_now_ms() + 3000};
    w->busy = true;
    (void)rpc_call(f.peers[head], &options, on_answer, w);
    bytes_release(&body);
    buf_unref(buf);
}

static void on_timer(void *arg)
{
    struct writer *w = arg;
    unsigned head = head_of(w->shard);
    if (head < SERVERS_MAX)
        piece_write(w, head);
    else
        loop_timer_start_ms(&w->timer, RETRY_MS);
}

static void writers_start(void)
{
    stopping = false;
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.id = {900 + i, 0, 1}, .shard = i % SHARDS};
        loop_timer_init(&writers[i].timer, f.loop, on_timer, &writers[i]);
        loop_timer_start_ms(&writers[i].timer, 0);
    }
}

static bool writers_are_idle(void)
{
    for (unsigned i = 0; i < WRITERS; i++)
        if (writers[i].busy)
            return false;
    return true;
}

static void writers_stop(void)
{
    stopping = true;
    CU_ASSERT_TRUE(run_until(writers_are_idle, 10000));
    for (unsigned i = 0; i < WRITERS; i++)
        loop_timer_stop(&writers[i].timer);
}

static const char *compare_piece(const struct writer *w, unsigned server, uint32_t from,
                                 uint32_t end)
{
    struct answer a;
    const char *wrong = NULL;
    if (client_read(server, &w->id, w->shard, from, SIZE_READ, &a) != 0)
        wrong = "cannot be read";
    for (uint32_t i = 0; !wrong && i < SIZE_READ && from + i < end; i++)
        if (i >= a.size || a.bytes[i] != pattern(w, from + i))
            wrong = "lacks what was acknowledged";
    free(a.bytes);
    return wrong;
}

/* Everything acknowledged is there, on every copy; or what is wrong. */
static const char *compare_writer(const struct writer *w)
{
    uint32_t end = w->acknowledged * PIECE;
    const char *wrong = NULL;
    for (unsigned at = 0; !wrong && at < f.leader.copies; at++)
        for (uint32_t from = 0; !wrong && from < end; from += SIZE_READ)
            wrong = compare_piece(w, member_at(w->shard, at), from, end);
    if (!wrong && !copies_equal(member_at(w->shard, 0), member_at(w->shard, 1), &w->id))
        wrong = "copies differ";
    return wrong;
}

static uint32_t acknowledged_at;
static bool writers_moved(void)
{
    uint32_t sum = 0;
    bool full = true;
    for (unsigned i = 0; i < WRITERS; i++) {
        sum += writers[i].acknowledged;
        full = full && writers[i].acknowledged == PIECES_MAX;
    }
    return full || sum > acknowledged_at + 50;
}

static bool all_moved(unsigned ms)
{
    acknowledged_at = 0;
    for (unsigned i = 0; i < WRITERS; i++)
        acknowledged_at += writers[i].acknowledged;
    return run_until(writers_moved, ms);
}

static void rounds(bool kill)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : random_u64();
    struct prng random;
    prng_init(&random, seed);
    unsigned failures = CU_get_number_of_failures();
    cluster_start(SERVERS, 2);
    writers_start();
    for (unsigned round = 0; round < 3; round++) {
        unsigned victim = (unsigned)(prng_next(&random) % SERVERS);
        run_ms(100 + (unsigned)(prng_next(&random) % 200));
        if (kill)
            server_kill(victim);
        else
            server_stop(victim);
        CU_ASSERT_TRUE(all_moved(6000)); /* the others go on */
        run_ms((unsigned)(prng_next(&random) % 1500));
        server_start(victim);
        CU_ASSERT_TRUE_FATAL(run_until(all_insync, 30000)); /* under load */
    }
    writers_stop();
    CU_ASSERT_TRUE(run_until(all_insync, 20000));
    for (unsigned i = 0; i < WRITERS; i++) {
        const char *wrong = compare_writer(&writers[i]);
        CU_ASSERT_PTR_NULL(wrong);
        if (wrong)
            (void)fprintf(stderr, "writer %u, %u pieces: %s\n", i, writers[i].acknowledged, wrong);
    }
    if (CU_get_number_of_failures() != failures)
        (void)fprintf(stderr, "seed=%llu\n", (unsigned long long)seed);
}

/* D1, D2, D13: kill -9. */
static void kills_under_load(void)
{
    rounds(true);
}

/* SIGTERM: the leader hears it at once. */
static void stops_under_load(void)
{
    rounds(false);
}

#define TESTS(T)        \
    T(kills_under_load) \
    T(stops_under_load)
CU_TestInfo load_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
