/* One operation on one chunk, driven until it is answered or its deadline is over. */
#include "common/client/chunk_io.h"

#include <stdlib.h>

#include "common/client/file_data.h"
#include "common/ring/ring.h"
#include "common/ring/shard_table.h"

#include "common/base/banned.h"

enum {
    PAUSE_FIRST_MS = 50,
    PAUSE_MAX_MS = 500,
    AVOID_MS = 2000, /* a replica that failed is asked last for so long */
};

/* A wait for a newer table cannot be taken back: it outlives an operation that was cancelled. */
struct table_wait {
    struct chunk_io *io; /* NULL when cancelled */
};

static void attempt(struct chunk_io *io);

static uint64_t load_bytes(const struct chunk_io *io)
{
    return io->kind == CHUNK_IO_CHANGE ? 0 : io->length;
}

/* What the user of a file can be told: "again" means nothing to him. */
static int final_status(int status)
{
    enum err_retry retry = err_retry(status);
    if (status == -ERR_CORRUPT || status == -ERR_LOST_CHUNK || status == -ERR_TIMEOUT)
        return status;
    return retry == RETRY_NEVER ? status : -ERR_UNAVAILABLE;
}

static void end(struct chunk_io *io, int status)
{
    io->state = CHUNK_IO_ENDED;
    bytes_release(&io->crcs);
    io->done(io, status);
}

static void on_table(void *arg, int status)
{
    struct table_wait *wait = arg;
    struct chunk_io *io = wait->io;
    free(wait);
    if (!io)
        return;
    io->wait = NULL;
    if (status == -ERR_CANCELLED)
        end(io, status);
    else
        attempt(io);
}

/* Until a newer table is here, or for a pause. */
static void pause_io(struct chunk_io *io, int status)
{
    struct client *c = io->c;
    uint64_t now_ms = loop_now_ms();
    io->last_status = status;
    if (now_ms >= io->deadline_ms) {
        end(io, final_status(status));
        return;
    }
    uint64_t pause_ms = io->pause_ms / 2 + prng_below(&c->prng, io->pause_ms);
    io->pause_ms = io->pause_ms * 2 < PAUSE_MAX_MS ? io->pause_ms * 2 : PAUSE_MAX_MS;
    io->state = CHUNK_IO_WAITING;
    if (c->closing)
        return; /* the table is gone; its file is abandoned next */
    struct table_wait *wait = calloc(1, sizeof *wait);
    CHECK(wait);
    wait->io = io;
    io->wait = wait;
    uint64_t until_ms = now_ms + pause_ms;
    client_newer_table(c, io->table_version,
                       until_ms < io->deadline_ms ? until_ms : io->deadline_ms, on_table, wait);
}

/* ---- answers ---- */

static int take_read(struct chunk_io *io, struct rpc_reply *reply)
{
    struct msg_chunk_read_r r;
    if (reply->code != MSG_chunk_read_r)
        return -ERR_PROTOCOL;
    int status = decode_chunk_read_r(reply->body, reply->version, &r);
    if (status != 0 || reply->payload_size > io->length)
        return -ERR_PROTOCOL;
    uint32_t bad_block = 0, first_block = io->offset / BLOCK_SIZE;
    if (reply->payload)
        status = chunk_crc_check(&io->id, first_block, reply->payload->data, reply->payload_size,
                                 r.crcs, &bad_block);
    if (status == -ERR_CORRUPT) {
        io->c->counters.crc_errors++;
        struct bytes body = {0};
        struct chunk_peer *peer = chunk_peer_find(io->c, io->target);
        const struct shard_table *table = client_shard_table(io->c);
        uint32_t shard = ring_shard_of_chunk(io->id.inode, io->id.index, table->shard_count);
        struct chain_view chain = shard_table_chain(table, io->copies, shard);
        encode_chunk_suspect(
            &body, &(struct msg_chunk_suspect){
                       .id = io->id,
                       .shard = {.copies = io->copies, .shard = shard, .epoch = chain.epoch},
                       .block = bad_block});
        /* The replica's scrub would find it too: this only hastens the repair. */
        (void)rpc_peer_send(peer->rpc, &(struct rpc_call_options){.code = MSG_chunk_suspect,
                                                                  .body = bytes_slice(&body)});
        bytes_release(&body);
    }
    if (status != 0)
        return status;
    io->data = reply->payload;
    io->data_size = reply->payload ? reply->payload_size : 0;
    reply->payload = NULL;
    io->c->counters.bytes_read += io->data_size;
    return 0;
}

static int take_write(struct chunk_io *io, const struct rpc_reply *reply)
{
    struct msg_chunk_write_r r;
    if (reply->code != MSG_chunk_write_r ||
        decode_chunk_write_r(reply->body, reply->version, &r) != 0)
        return -ERR_PROTOCOL;
    if (io->kind == CHUNK_IO_WRITE)
        io->c->counters.bytes_written += io->length;
    return 0;
}

static void remember(uint32_t *ids, unsigned *count, uint32_t id)
{
    for (unsigned i = 0; i < *count; i++)
        if (ids[i] == id)
            return;
    if (*count < COPIES_MAX)
        ids[(*count)++] = id;
}

static void failed_read(struct chunk_io *io, int status, bool is_remote)
{
    struct chunk_peer *peer = chunk_peer_find(io->c, io->target);
    if (status == -ERR_CORRUPT)
        remember(io->bad, &io->bad_count, io->target);
    else if (status == -ERR_LOST_CHUNK)
        remember(io->lost, &io->lost_count, io->target);
    else if (peer)
        peer->avoid_until_ms = loop_now_ms() + AVOID_MS;
    bool is_final = is_remote && err_retry(status) == RETRY_NEVER && status != -ERR_IO;
    if (is_final)
        end(io, status);
    else if (err_retry(status) == RETRY_LATER && status != -ERR_TIMEOUT)
        pause_io(io, status);
    else {
        io->last_status = status;
        attempt(io);
    }
}

static void on_reply(void *arg, struct rpc_reply *reply)
{
    struct chunk_io *io = arg;
    struct chunk_peer *peer = chunk_peer_find(io->c, io->target);
    int status = reply->status;
    io->rpc_id = 0;
    if (peer)
        peer->flying_bytes -= load_bytes(io);
    if (reply->table_version != 0)
        client_heard_table(io->c, reply->table_version);
    bool answered = status == 0;
    if (answered)
        status = io->kind == CHUNK_IO_READ ? take_read(io, reply) : take_write(io, reply);
    if (status == 0) {
        if (peer)
            peer->avoid_until_ms = 0;
        end(io, 0);
    } else if (io->kind == CHUNK_IO_READ) {
        failed_read(io, status, reply->is_remote && !answered);
    } else if (reply->is_remote &&
               (err_retry(status) == RETRY_NEVER || status == -ERR_LOST_CHUNK)) {
        end(io, status);
    } else {
        pause_io(io, status);
    }
}

/* ---- requests ---- */

static void encode(struct chunk_io *io, struct wire_shardref shard, struct bytes *body,
                   struct rpc_call_options *options)
{
    switch (io->kind) {
    case CHUNK_IO_WRITE:
        options->code = MSG_chunk_write;
        options->payload = io->slices;
        options->payload_count = io->slice_count;
        encode_chunk_write(body, &(struct msg_chunk_write){.id = io->id,
                                                           .shard = shard,
                                                           .session = io->session,
                                                           .op = io->op,
                                                           .offset = io->offset,
                                                           .length = io->length,
                                                           .flags = io->flags,
                                                           .crcs = bytes_slice(&io->crcs)});
        return;
    case CHUNK_IO_READ:
        options->code = MSG_chunk_read;
        encode_chunk_read(
            body, &(struct msg_chunk_read){
                      .id = io->id, .shard = shard, .offset = io->offset, .length = io->length});
        return;
    case CHUNK_IO_CHANGE:
        options->code = MSG_chunk_change;
        encode_chunk_change(body, &(struct msg_chunk_change){.id = io->id,
                                                             .shard = shard,
                                                             .session = io->session,
                                                             .op = io->op,
                                                             .kind = (uint8_t)io->change,
                                                             .offset = io->offset,
                                                             .length = io->length});
        return;
    }
    UNREACHABLE("chunk io %d", io->kind);
}

static void call(struct chunk_io *io, struct chunk_peer *peer, struct wire_shardref shard)
{
    uint64_t try_ms = io->kind == CHUNK_IO_READ ? CHUNK_IO_READ_TRY_MS : CHUNK_IO_WRITE_TRY_MS;
    uint64_t until_ms = loop_now_ms() + try_ms;
    struct bytes body = {0};
    struct rpc_call_options options = {
        .deadline_ms = until_ms < io->deadline_ms ? until_ms : io->deadline_ms,
    };
    encode(io, shard, &body, &options);
    options.body = bytes_slice(&body);
    if (io->tries++ > 0)
        io->c->counters.data_repeats++;
    io->state = CHUNK_IO_CALLING;
    io->target = peer->target;
    peer->flying_bytes += load_bytes(io);
    io->rpc_id = rpc_call(peer->rpc, &options, on_reply, io);
    bytes_release(&body);
}

/* All who may be read were asked and none has good data. */
static bool nowhere(const struct chunk_io *io, const struct chain_view *chain)
{
    unsigned useless = 0;
    for (unsigned i = 0; i < chain->reader_count; i++) {
        bool found = false;
        for (unsigned k = 0; k < io->bad_count; k++)
            found = found || io->bad[k] == chain->reader[i];
        for (unsigned k = 0; k < io->lost_count; k++)
            found = found || io->lost[k] == chain->reader[i];
        useless += found;
    }
    return useless == chain->reader_count;
}

static void attempt(struct chunk_io *io)
{
    struct client *c = io->c;
    if (c->closing || loop_now_ms() >= io->deadline_ms) {
        pause_io(io, io->last_status);
        return;
    }
    const struct shard_table *table = client_shard_table(c);
    io->table_version = c->table.version;
    struct wire_shardref shard = {.copies = io->copies};
    struct chain_view chain = {0};
    if (table->version != 0) {
        shard.shard = ring_shard_of_chunk(io->id.inode, io->id.index, table->shard_count);
        chain = shard_table_chain(table, io->copies, shard.shard);
        shard.epoch = chain.epoch;
    }
    if (chain.insync_count == 0) {
        pause_io(io, -ERR_UNAVAILABLE);
        return;
    }
    if (io->kind == CHUNK_IO_READ && nowhere(io, &chain)) {
        end(io, io->bad_count ? -ERR_CORRUPT : -ERR_LOST_CHUNK);
        return;
    }
    uint32_t target = chain.member[0];
    if (io->kind == CHUNK_IO_READ)
        target = chunk_peer_choose(c, chain.reader, chain.reader_count, io);
    struct chunk_peer *peer = chunk_peer_get(c, target);
    bool is_avoided = peer && peer->avoid_until_ms > loop_now_ms();
    if (!peer || (is_avoided && io->kind == CHUNK_IO_READ && io->state == CHUNK_IO_CALLING))
        pause_io(io, io->last_status);
    else
        call(io, peer, shard);
}

void chunk_io_start(struct chunk_io *io)
{
    struct client *c = io->c;
    CHECK(io->state == CHUNK_IO_IDLE && io->length <= CHUNK_SIZE &&
          io->offset <= CHUNK_SIZE - io->length);
    io->session = c->session.id;
    io->op = ++c->data->next_op;
    io->deadline_ms = loop_now_ms() + c->deadline_ms;
    io->pause_ms = PAUSE_FIRST_MS;
    io->last_status = -ERR_UNAVAILABLE;
    if (io->kind == CHUNK_IO_WRITE)
        chunk_crc_of_slices(&io->id, io->offset, io->slices, io->slice_count, &io->crcs);
    attempt(io);
}

void chunk_io_cancel(struct chunk_io *io)
{
    if (io->state == CHUNK_IO_CALLING && io->rpc_id != 0) {
        struct chunk_peer *peer = chunk_peer_find(io->c, io->target);
        rpc_cancel(peer->rpc, io->rpc_id);
        peer->flying_bytes -= load_bytes(io);
        io->rpc_id = 0;
    }
    if (io->wait)
        io->wait->io = NULL;
    io->wait = NULL;
    io->state = CHUNK_IO_ENDED;
    bytes_release(&io->crcs);
}
