/* Giving pieces of a checkpoint to another metaserver.
 *
 * A checkpoint that somebody fetches stays open until it was not asked for a while: newer ones may
 * push it out meanwhile, and a receiver that had to begin anew each time would never end (R24). */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "metaserver/raft_driver_private.h"

enum { IDLE_MS = 30000 };

struct serving {
    struct raft_driver *driver;
    struct rpc_request *request;
    struct work work;
    struct msg_snapshot_fetch ask;
    struct served_checkpoint *served; /* in use: nobody else takes it */
    struct buf *piece;
    size_t size;
    uint64_t total;
    int status;
    struct err_text why;
};

static int open_checked(struct served_checkpoint *served, struct checkpoint_store *store,
                        struct err_text *why)
{
    /* Checked once, or a receiver would ask for a damaged one again and again. */
    int status = checkpoint_store_verify(store, served->id, why);
    if (status == -ERR_CORRUPT)
        (void)checkpoint_store_remove(store, served->id);
    return status != 0 ? status : checkpoint_reader_open(store, served->id, &served->reader);
}

static void serve_run(struct work *work)
{
    struct serving *s = CONTAINER_OF(work, struct serving, work);
    struct served_checkpoint *served = s->served;
    if (!served->reader)
        s->status = open_checked(served, s->driver->options.checkpoints, &s->why);
    if (s->status != 0)
        return;
    s->total = checkpoint_reader_size(served->reader);
    s->piece = buf_create(s->ask.length);
    s->status = checkpoint_reader_read(served->reader, s->ask.offset, s->piece->data, s->ask.length,
                                       &s->size);
    if (s->status == 0 && s->size == 0)
        s->status = -ERR_INVALID;
}

static void reply(struct serving *s)
{
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

static void serve_done(struct work *work)
{
    struct serving *s = CONTAINER_OF(work, struct serving, work);
    struct raft_driver *d = s->driver;
    bool is_end = s->status == 0 && s->ask.offset + s->size == s->total;
    s->served->use_count--;
    s->served->asked_ms = loop_now_ms();
    loop_timer_start_ms(&d->served_timer, IDLE_MS);
    if (s->status == -ERR_CORRUPT) {
        log_error("checkpoint.bad", "index=%llu why=\"%s\": removed, another is made",
                  (unsigned long long)s->ask.index, s->why.text);
        d->options.ops->checkpoint_lost(d->options.arg);
    }
    if (s->status != 0)
        rpc_reply_error(s->request, s->status, "checkpoint is not here any more", NULL);
    else
        reply(s);
    if (d->role == RAFT_LEADER && (is_end || s->status != 0)) {
        struct raft_event event =
            raft_driver_event(is_end ? RAFT_EV_SNAPSHOT_SENT : RAFT_EV_SNAPSHOT_FAILED);
        event.peer = s->ask.node;
        (void)raft_driver_step(d, &event);
    }
    buf_unref(s->piece);
    free(s);
}

/* The place that holds it or may hold it from now on; NULL while all are in use for others. */
static struct served_checkpoint *served_find(struct raft_driver *d, struct checkpoint_id id)
{
    struct served_checkpoint *oldest = NULL;
    for (unsigned i = 0; i < SERVED_MAX; i++) {
        struct served_checkpoint *c = &d->served[i];
        if (c->id.index == id.index && c->id.term == id.term)
            return c;
        if (c->use_count == 0 && (!oldest || c->asked_ms < oldest->asked_ms))
            oldest = c;
    }
    if (oldest) {
        checkpoint_reader_close(oldest->reader);
        *oldest = (struct served_checkpoint){.id = id};
    }
    return oldest;
}

void raft_serve_close(struct raft_driver *d, bool all)
{
    for (unsigned i = 0; i < SERVED_MAX; i++) {
        struct served_checkpoint *c = &d->served[i];
        if (c->use_count > 0 || (!all && c->asked_ms + IDLE_MS > loop_now_ms())) {
            loop_timer_start_ms(&d->served_timer, IDLE_MS);
            continue;
        }
        checkpoint_reader_close(c->reader);
        *c = (struct served_checkpoint){.id = {0, 0}};
    }
}

void raft_driver_on_snapshot_fetch(struct raft_driver *d, struct rpc_request *take_request)
{
    struct msg_snapshot_fetch ask;
    int status = decode_snapshot_fetch(take_request->body, take_request->version, &ask);
    if (status == 0 && (ask.length == 0 || ask.length > SNAPSHOT_PIECE_SIZE ||
                        ask.node != take_request->remote->identity.node))
        status = -ERR_INVALID;
    struct served_checkpoint *served =
        status == 0 ? served_find(d, (struct checkpoint_id){ask.index, ask.term}) : NULL;
    if (status == 0 && !served)
        status = -ERR_BUSY;
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    struct serving *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    *s = (struct serving){.driver = d,
                          .request = take_request,
                          .ask = ask,
                          .served = served,
                          .work = {.run = serve_run, .done = serve_done}};
    served->use_count++;
    if (work_submit(d->slow, &s->work) != 0) {
        served->use_count--;
        free(s);
        rpc_reply_error(take_request, -ERR_BUSY, "too many pieces asked for at a time", NULL);
    }
}
