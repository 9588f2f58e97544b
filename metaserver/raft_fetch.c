/* Checkpoints between metaservers: serving pieces of ours, fetching one from the leader.
 *
 * A fetch goes piece by piece over the peer's connection; each piece is written by a worker before
 * the next is asked for, so memory stays bounded and heartbeats pass in between. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "metaserver/raft_driver_private.h"

struct snapshot_fetch_state {
    struct raft_driver *driver;
    uint32_t from;
    struct checkpoint_id id;
    uint64_t total;
    struct checkpoint_receiver *receiver;
    uint64_t call;             /* of the rpc under way; 0 = none */
    struct raft_config config; /* that the checkpoint holds */
    struct work work;
    struct buf *piece;
    uint32_t piece_size;
    bool is_working, is_cancelled, is_last;
    int status;
    struct err_text why;
};

static void fetch_free(struct snapshot_fetch_state *f)
{
    checkpoint_receiver_abort(f->receiver);
    buf_unref(f->piece);
    free(f);
}

static void fetch_failed(struct snapshot_fetch_state *f, int status, const char *detail)
{
    struct raft_driver *d = f->driver;
    struct raft_event event = raft_driver_event(RAFT_EV_INSTALL_FAILED);
    log_warn("snapshot.fetch_failed", "from=m%u index=%llu error=%s detail=\"%s\"", f->from,
             (unsigned long long)f->id.index, err_name(status), detail);
    d->fetch = NULL;
    fetch_free(f);
    (void)raft_driver_step(d, &event);
}

static void fetch_installed(struct snapshot_fetch_state *f)
{
    struct raft_driver *d = f->driver;
    struct raft_event event = raft_driver_event(RAFT_EV_SNAPSHOT_INSTALLED);
    struct raft_config config = f->config;
    d->options.ops->install(d->options.arg, f->id.index, f->id.term);
    event.snapshot.index = f->id.index;
    event.snapshot.term = f->id.term;
    event.snapshot.config = &config;
    d->applied_index = d->apply_upto = f->id.index;
    d->fetch = NULL;
    log_info("snapshot.installed", "from=m%u index=%llu bytes=%llu", f->from,
             (unsigned long long)f->id.index, (unsigned long long)f->total);
    fetch_free(f);
    CHECK(raft_driver_step(d, &event) == 0);
}

static void ask_piece(struct snapshot_fetch_state *f);

static void piece_run(struct work *work)
{
    struct snapshot_fetch_state *f = CONTAINER_OF(work, struct snapshot_fetch_state, work);
    uint64_t offset = f->receiver ? checkpoint_receiver_offset(f->receiver) : 0;
    f->status = 0;
    if (!f->receiver)
        f->status =
            checkpoint_receiver_open(f->driver->options.checkpoints, f->id, f->total, &f->receiver);
    if (f->status == 0)
        f->status = checkpoint_receiver_append(f->receiver, offset,
                                               slice_of(f->piece->data, f->piece_size));
    f->is_last = f->status == 0 && offset + f->piece_size == f->total;
    if (f->is_last) {
        struct checkpoint_receiver *receiver = f->receiver;
        f->receiver = NULL;
        f->status = checkpoint_receiver_finish(receiver, &f->why);
    }
    /* It exists when it was fetched before, and the process died before it was loaded. */
    const struct raft_driver_options *o = &f->driver->options;
    if (f->status == -ERR_EXISTS || (f->is_last && f->status == 0)) {
        f->is_last = true;
        f->status = o->ops->load(o->arg, f->id.index, f->id.term, &f->config, &f->why);
    }
}

static void piece_done(struct work *work)
{
    struct snapshot_fetch_state *f = CONTAINER_OF(work, struct snapshot_fetch_state, work);
    f->is_working = false;
    buf_unref(f->piece);
    f->piece = NULL;
    if (f->is_cancelled)
        fetch_free(f);
    else if (f->status != 0)
        fetch_failed(f, f->status, f->why.text);
    else if (f->is_last)
        fetch_installed(f);
    else
        ask_piece(f);
}

static void on_piece(void *arg, struct rpc_reply *reply)
{
    struct snapshot_fetch_state *f = arg;
    struct msg_snapshot_fetch_r m;
    f->call = 0;
    if (reply->status != 0) {
        fetch_failed(f, reply->status, reply->detail);
        return;
    }
    if (reply->code != MSG_snapshot_fetch_r ||
        decode_snapshot_fetch_r(reply->body, reply->version, &m) != 0 || m.index != f->id.index ||
        m.term != f->id.term || reply->payload_size == 0 ||
        checksum_crc32(0, reply->payload->data, reply->payload_size) != m.crc) {
        fetch_failed(f, -ERR_PROTOCOL, "unexpected answer");
        return;
    }
    f->total = m.total;
    f->piece = reply->payload;
    f->piece_size = reply->payload_size;
    reply->payload = NULL;
    f->work = (struct work){.run = piece_run, .done = piece_done};
    f->is_working = true;
    CHECK(work_submit(f->driver->slow, &f->work) == 0);
}

static void ask_piece(struct snapshot_fetch_state *f)
{
    struct bytes body = {0};
    struct msg_snapshot_fetch m = {
        .node = f->driver->options.self,
        .index = f->id.index,
        .term = f->id.term,
        .offset = f->receiver ? checkpoint_receiver_offset(f->receiver) : 0,
        .length = SNAPSHOT_PIECE_SIZE,
    };
    encode_snapshot_fetch(&body, &m);
    struct rpc_call_options call = {.code = MSG_snapshot_fetch,
                                    .body = bytes_slice(&body),
                                    .deadline_ms = loop_now_ms() + SNAPSHOT_PIECE_MS};
    f->call = rpc_call(raft_peers_find(f->driver, f->from), &call, on_piece, f);
    bytes_release(&body);
}

uint32_t raft_fetch_from(const struct raft_driver *d)
{
    return d->fetch ? d->fetch->from : 0;
}

void raft_fetch_start(struct raft_driver *d, uint32_t from, uint64_t index, uint64_t term)
{
    CHECK(d->fetch == NULL);
    struct snapshot_fetch_state *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->driver = d;
    f->from = from;
    f->id = (struct checkpoint_id){index, term};
    d->fetch = f;
    log_info("snapshot.fetch", "from=m%u index=%llu term=%llu", from, (unsigned long long)index,
             (unsigned long long)term);
    if (!raft_peers_find(d, from)) {
        fetch_failed(f, -ERR_UNREACHABLE, "no such metaserver");
        return;
    }
    ask_piece(f);
}

void raft_fetch_cancel(struct raft_driver *d)
{
    struct snapshot_fetch_state *f = d->fetch;
    if (!f)
        return;
    d->fetch = NULL;
    if (f->call)
        (void)rpc_cancel(raft_peers_find(d, f->from), f->call);
    if (f->is_working)
        f->is_cancelled = true;
    else
        fetch_free(f);
}

/* ---- serving ---- */

struct serving {
    struct raft_driver *driver;
    struct rpc_request *request;
    struct work work;
    struct msg_snapshot_fetch ask;
    struct checkpoint_reader *reader;
    struct buf *piece;
    size_t size;
    uint64_t total;
    int status;
    bool is_verified; /* before, or now */
    struct err_text why;
};

static void serve_run(struct work *work)
{
    struct serving *s = CONTAINER_OF(work, struct serving, work);
    struct checkpoint_id id = {s->ask.index, s->ask.term};
    /* Checked once, or a receiver would ask for a damaged one again and again. */
    if (!s->is_verified) {
        s->status = checkpoint_store_verify(s->driver->options.checkpoints, id, &s->why);
        if (s->status == -ERR_CORRUPT)
            (void)checkpoint_store_remove(s->driver->options.checkpoints, id);
        if (s->status != 0)
            return;
        s->is_verified = true;
    }
    /* Opened anew per piece: a piece is 1 MiB, an open a few microseconds, and no reader outlives
     * its request. */
    s->status = checkpoint_reader_open(s->driver->options.checkpoints, id, &s->reader);
    if (s->status != 0)
        return;
    s->total = checkpoint_reader_size(s->reader);
    s->piece = buf_create(s->ask.length);
    s->status =
        checkpoint_reader_read(s->reader, s->ask.offset, s->piece->data, s->ask.length, &s->size);
    checkpoint_reader_close(s->reader);
    if (s->status == 0 && s->size == 0)
        s->status = -ERR_INVALID;
}

static void serve_done(struct work *work)
{
    struct serving *s = CONTAINER_OF(work, struct serving, work);
    struct raft_driver *d = s->driver;
    bool is_end = s->status == 0 && s->ask.offset + s->size == s->total;
    if (s->is_verified)
        d->verified = (struct checkpoint_id){s->ask.index, s->ask.term};
    if (s->status == -ERR_CORRUPT) {
        log_error("checkpoint.bad", "index=%llu why=\"%s\": removed, another is made",
                  (unsigned long long)s->ask.index, s->why.text);
        d->options.ops->checkpoint_lost(d->options.arg);
    }
    if (s->status != 0) {
        rpc_reply_error(s->request, s->status, "checkpoint is not here any more", NULL);
    } else {
        struct bytes body = {0};
        struct msg_snapshot_fetch_r m = {.index = s->ask.index,
                                         .term = s->ask.term,
                                         .total = s->total,
                                         .crc = checksum_crc32(0, s->piece->data, s->size)};
        struct net_slice payload = {s->piece, 0, (uint32_t)s->size};
        encode_snapshot_fetch_r(&body, &m);
        rpc_reply(s->request, MSG_snapshot_fetch_r, bytes_slice(&body), &payload, 1);
        bytes_release(&body);
    }
    if (d->role == RAFT_LEADER && (is_end || s->status != 0)) {
        struct raft_event event =
            raft_driver_event(is_end ? RAFT_EV_SNAPSHOT_SENT : RAFT_EV_SNAPSHOT_FAILED);
        event.peer = s->ask.node;
        (void)raft_driver_step(d, &event);
    }
    buf_unref(s->piece);
    free(s);
}

void raft_driver_on_snapshot_fetch(struct raft_driver *d, struct rpc_request *take_request)
{
    struct msg_snapshot_fetch ask;
    int status = decode_snapshot_fetch(take_request->body, take_request->version, &ask);
    if (status == 0 && (ask.length == 0 || ask.length > SNAPSHOT_PIECE_SIZE ||
                        ask.node != take_request->remote->identity.node))
        status = -ERR_INVALID;
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    struct serving *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    *s = (struct serving){.driver = d,
                          .request = take_request,
                          .ask = ask,
                          .is_verified =
                              d->verified.index == ask.index && d->verified.term == ask.term,
                          .work = {.run = serve_run, .done = serve_done}};
    if (work_submit(d->slow, &s->work) != 0) {
        free(s);
        rpc_reply_error(take_request, -ERR_BUSY, "too many pieces asked for at a time", NULL);
    }
}
