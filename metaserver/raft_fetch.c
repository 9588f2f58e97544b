/* Fetching a checkpoint from the leader, when the log alone does not lead to its state any more.
 *
 * It goes piece by piece over a connection of its own, so that heartbeats and entries never wait
 * behind it (R24), and no faster than `snapshot_rate`. Each piece is written by a worker before the
 * next is asked for, so memory stays bounded. When the connection breaks, or a piece is late, it
 * goes on where it was, as long as the same node leads. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "metaserver/raft_driver_private.h"

enum {
    PIECE_AGAIN_MS = 300,     /* after a piece that failed */
    PROGRESS_MS = 20000,      /* without a piece for so long: given up, raft says what to fetch */
    FETCH_AGAIN_MIN_MS = 200, /* after a whole fetch that failed; doubled each time */
    FETCH_AGAIN_MAX_MS = 10000,
};

struct snapshot_fetch_state {
    struct raft_driver *driver;
    uint32_t from;
    struct checkpoint_id id;
    uint64_t total;
    struct rpc_peer *rpc;    /* of this fetch alone */
    struct loop_timer timer; /* for the next piece */
    uint64_t next_us;        /* when the rate allows it */
    uint64_t progress_ms, begun_ms;
    unsigned resume_count;
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
    loop_timer_stop(&f->timer);
    if (f->call)
        (void)rpc_cancel(f->rpc, f->call);
    if (f->rpc)
        rpc_peer_destroy(f->rpc);
    checkpoint_receiver_abort(f->receiver);
    buf_unref(f->piece);
    free(f);
}

static void fetch_failed(struct snapshot_fetch_state *f, int status, const char *detail)
{
    struct raft_driver *d = f->driver;
    struct raft_event event = raft_driver_event(RAFT_EV_INSTALL_FAILED);
    uint32_t pause = d->fetch_pause_ms * 2;
    pause = pause < FETCH_AGAIN_MIN_MS ? FETCH_AGAIN_MIN_MS : pause;
    d->fetch_pause_ms = pause < FETCH_AGAIN_MAX_MS ? pause : FETCH_AGAIN_MAX_MS;
    d->fetch_at_ms = loop_now_ms() + d->fetch_pause_ms;
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
    raft_driver_set_applied(d, f->id.index);
    d->fetch = NULL;
    d->fetch_pause_ms = 0;
    log_info("snapshot.installed", "from=m%u index=%llu bytes=%llu ms=%llu resumed=%u", f->from,
             (unsigned long long)f->id.index, (unsigned long long)f->total,
             (unsigned long long)(loop_now_ms() - f->begun_ms), f->resume_count);
    fetch_free(f);
    CHECK(raft_driver_step(d, &event) == 0);
}

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
    uint64_t now_us = loop_now_us(), size = f->piece_size;
    f->is_working = false;
    buf_unref(f->piece);
    f->piece = NULL;
    if (f->is_cancelled) {
        fetch_free(f);
    } else if (f->status != 0) {
        fetch_failed(f, f->status, f->why.text);
    } else if (f->is_last) {
        fetch_installed(f);
    } else {
        f->progress_ms = loop_now_ms();
        if (now_us > f->next_us + size * 1000000 / f->driver->options.snapshot_rate)
            f->next_us = now_us; /* slower than it may be anyway */
        loop_timer_start_ms(&f->timer, f->next_us > now_us ? (f->next_us - now_us) / 1000 : 0);
    }
}

/* The network's failures pass; what the leader says about its checkpoint stands. */
static bool may_go_on(const struct snapshot_fetch_state *f, const struct rpc_reply *reply)
{
    const struct raft_driver *d = f->driver;
    bool is_passing = !reply->is_remote || reply->status == -ERR_BUSY;
    return is_passing && (d->leader == f->from || d->leader == 0) &&
           loop_now_ms() < f->progress_ms + PROGRESS_MS;
}

static void piece_again(struct snapshot_fetch_state *f, int status)
{
    uint64_t offset = f->receiver ? checkpoint_receiver_offset(f->receiver) : 0;
    f->resume_count++;
    log_info("snapshot.resume", "from=m%u index=%llu offset=%llu error=%s", f->from,
             (unsigned long long)f->id.index, (unsigned long long)offset, err_name(status));
    loop_timer_start_ms(&f->timer, PIECE_AGAIN_MS);
}

static void on_piece(void *arg, struct rpc_reply *reply)
{
    struct snapshot_fetch_state *f = arg;
    struct msg_snapshot_fetch_r m;
    f->call = 0;
    if (reply->status != 0) {
        if (may_go_on(f, reply))
            piece_again(f, reply->status);
        else
            fetch_failed(f, reply->status, reply->detail);
        return;
    }
    uint64_t offset = f->receiver ? checkpoint_receiver_offset(f->receiver) : 0;
    if (reply->code != MSG_snapshot_fetch_r ||
        decode_snapshot_fetch_r(reply->body, reply->version, &m) != 0 || m.index != f->id.index ||
        m.term != f->id.term || reply->payload_size == 0 || m.total < offset ||
        reply->payload_size > m.total - offset || (f->total != 0 && m.total != f->total) ||
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

static void ask_piece(void *arg)
{
    struct snapshot_fetch_state *f = arg;
    const struct raft_driver_options *o = &f->driver->options;
    uint64_t rate = o->snapshot_rate;
    struct bytes body = {0};
    struct msg_snapshot_fetch m = {
        .node = o->self,
        .index = f->id.index,
        .term = f->id.term,
        .offset = f->receiver ? checkpoint_receiver_offset(f->receiver) : 0,
        /* So small that a piece at the lowest rate takes no longer than a second. */
        .length = rate < SNAPSHOT_PIECE_SIZE ? (uint32_t)rate : SNAPSHOT_PIECE_SIZE,
    };
    encode_snapshot_fetch(&body, &m);
    struct rpc_call_options call = {.code = MSG_snapshot_fetch,
                                    .body = bytes_slice(&body),
                                    .deadline_ms = loop_now_ms() + SNAPSHOT_PIECE_MS};
    f->next_us += (uint64_t)m.length * 1000000 / rate;
    f->call = rpc_call(f->rpc, &call, on_piece, f);
    bytes_release(&body);
}

uint32_t raft_fetch_from(const struct raft_driver *d)
{
    return d->fetch ? d->fetch->from : 0;
}

void raft_fetch_start(struct raft_driver *d, uint32_t from, uint64_t index, uint64_t term)
{
    CHECK(d->fetch == NULL);
    const struct raft_driver_options *o = &d->options;
    const char *address = raft_driver_peer_address(d, from);
    struct snapshot_fetch_state *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->driver = d;
    f->from = from;
    f->id = (struct checkpoint_id){index, term};
    loop_timer_init(&f->timer, o->loop, ask_piece, f);
    d->fetch = f;
    log_info("snapshot.fetch", "from=m%u index=%llu term=%llu", from, (unsigned long long)index,
             (unsigned long long)term);
    if (from == o->self || address[0] == '\0') {
        fetch_failed(f, -ERR_UNREACHABLE, "no such metaserver");
        return;
    }
    struct rpc_peer_options options = {.address = address,
                                       .source = o->source,
                                       .identity = o->identity,
                                       .table_version = o->table_version,
                                       .arg = o->arg,
                                       .connect_timeout_ms = 1000,
                                       .stall_timeout_ms = 3000};
    f->rpc = rpc_peer_create(o->loop, &options);
    uint64_t now = loop_now_ms(), at = d->fetch_at_ms > now ? d->fetch_at_ms : now;
    f->begun_ms = f->progress_ms = at;
    f->next_us = at * 1000;
    loop_timer_start_at_ms(&f->timer, at);
}

void raft_fetch_cancel(struct raft_driver *d)
{
    struct snapshot_fetch_state *f = d->fetch;
    if (!f)
        return;
    d->fetch = NULL;
    if (f->is_working)
        f->is_cancelled = true;
    else
        fetch_free(f);
}
