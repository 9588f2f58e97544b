/* Life with the metadata leader: registration, heartbeats, the lease, reports, goodbye. */
#include <stdlib.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum { REGISTER_DEADLINE_MS = 3000, REPORT_DEADLINE_MS = 2000, GOODBYE_MS = 1000 };
enum { OUTSTANDING_MAX = 4 };

struct beat {
    struct chunkserver *cs;
    int64_t sent_ms;
    bool failed;
};

/* ---- the metaservers we obey (D4) ---- */

static void see_run(struct work *work)
{
    struct heartbeat *h = CONTAINER_OF(work, struct heartbeat, see_work);
    struct chunkserver *cs = CONTAINER_OF(h, struct chunkserver, heartbeat);
    work->status = store_see_position(
        cs->store, (struct store_position){.term = h->term_wanted, .index = h->index_wanted});
}

static void see_done(struct work *work)
{
    struct heartbeat *h = CONTAINER_OF(work, struct heartbeat, see_work);
    struct chunkserver *cs = CONTAINER_OF(h, struct chunkserver, heartbeat);
    h->seeing = false;
    if (cs->closing)
        return;
    store_status_note(cs, work->status);
    if (work->status == 0)
        h->term = store_position(cs->store).term;
}

/* False: an older service than one this disk has seen; nothing it says counts. */
static bool term_take(struct chunkserver *cs, uint64_t term, uint64_t index)
{
    struct heartbeat *h = &cs->heartbeat;
#ifdef PLANT_D4
    h->term = term;
#endif
    if (term < h->term) {
        log_error(
            "metaserver.refused",
            "term=%llu is lower than %llu, which this disk has seen: its state is old; nothing "
            "it says is carried out",
            (unsigned long long)term, (unsigned long long)h->term);
        return false;
    }
    if (term > h->term && !h->seeing) {
        h->term_wanted = term;
        h->index_wanted = index;
        h->see_work = (struct work){.run = see_run, .done = see_done};
        h->seeing = work_submit(cs->pool, &h->see_work) == 0;
    }
    return true;
}

/* ---- registration ---- */

static void registered(struct chunkserver *cs, const struct msg_target_register_r *m)
{
    struct heartbeat *h = &cs->heartbeat;
    if (m->target == 0 || (cs->target != 0 && m->target != cs->target)) {
        log_error("register.refused", "target=%u was=%u", m->target, cs->target);
        chunkserver_end(cs, CHUNKSERVER_REFUSED);
        return;
    }
    h->registered = true;
    log_info("register.done", "target=%u incarnation=%llu term=%llu", m->target,
             (unsigned long long)cs->info.incarnation, (unsigned long long)m->term);
    if (cs->target == 0) {
        cs->target = cs->identity.node = m->target;
        driver_start(cs, m->target);
    }
    table_refresh(cs);
    heartbeat_now(cs);
}

static void on_register(void *arg, struct rpc_reply *reply)
{
    struct chunkserver *cs = arg;
    struct msg_target_register_r m;
    cs->heartbeat.registering = false;
    if (cs->closing || cs->life >= LIFE_LEAVING)
        return;
    int status = reply->status;
    if (status == 0)
        status = decode_target_register_r(reply->body, reply->version, &m);
    if (status == 0 && term_take(cs, m.term, 0))
        registered(cs, &m);
    else if (status != 0)
        log_warn("register.failed", "error=%s detail=\"%s\"", err_name(status), reply->detail);
}

static void register_send(struct chunkserver *cs)
{
    struct heartbeat *h = &cs->heartbeat;
    const struct store_space *space = &cs->housekeeping.space;
    if (h->registering)
        return;
    struct msg_target_register m = {.uuid = cs->info.target,
                                    .incarnation = cs->info.incarnation,
                                    .name = slice_str(cs->config.name),
                                    .address = slice_str(rpc_server_address(cs->server)),
                                    .host = slice_str(cs->config.host),
                                    .bytes_total = space->bytes_total,
                                    .bytes_used = space->bytes_total - space->bytes_free};
    bytes_clear(&cs->body);
    encode_target_register(&cs->body, &m);
    struct rpc_call_options options = {.code = MSG_target_register,
                                       .body = bytes_slice(&cs->body),
                                       .deadline_ms = loop_now_ms() + REGISTER_DEADLINE_MS};
    h->registering = true;
    (void)rpc_leader_call(cs->leader, &options, on_register, cs);
}

/* ---- heartbeats ---- */

static void lease_tell(struct chunkserver *cs)
{
    struct heartbeat *h = &cs->heartbeat;
    int64_t expires_ms = h->lease.expires_ms;
    struct chain_event e = {.kind = CHAIN_EVENT_LEASE, .u.lease.expires_ms = expires_ms};
    driver_event(cs, &e);
    bool has = clock_now_ms() < expires_ms;
    if (has && !h->has_lease)
        log_info("lease.gained", "name=%s ms=%lld", cs->config.name,
                 (long long)(expires_ms - clock_now_ms()));
    h->has_lease = has;
}

void heartbeat_table_taken(struct chunkserver *cs)
{
    if (lease_table_taken(&cs->heartbeat.lease, cs->table.version))
        lease_tell(cs);
}

static void answered(struct chunkserver *cs, const struct beat *b, const struct msg_heartbeat_r *m)
{
    struct heartbeat *h = &cs->heartbeat;
    if (!term_take(cs, m->term, m->index))
        return;
    if (m->lease_ms == 0) {
        /* The leader does not know this process as up. The lease we have runs out by itself. */
        h->registered = false;
        register_send(cs);
        return;
    }
    h->lease_ms = m->lease_ms;
    /* Counted from the moment of sending: the leader counts from the later one of receiving. */
    struct lease_offer offer = {.expires_ms = b->sent_ms + m->lease_ms,
                                .version = m->table_version};
    if (cs->life != LIFE_LEAVING && lease_offered(&h->lease, offer, cs->table.version))
        lease_tell(cs);
    if (m->table_version > cs->table.version)
        table_refresh(cs);
    driver_set_rate(cs, m->background_rate);
    if (m->term == h->term) { /* durable here: an older leader cannot take it back */
        left_heard(cs, m);
        deletes_take(cs, m);
    }
}

static void on_heartbeat(void *arg, struct rpc_reply *reply)
{
    struct beat *b = arg;
    struct chunkserver *cs = b->cs;
    struct msg_heartbeat_r m;
    cs->heartbeat.outstanding--;
    if (!cs->closing && b->failed)
        chunkserver_end(cs, CHUNKSERVER_FAILED);
    else if (!cs->closing && reply->status == 0 &&
             decode_heartbeat_r(reply->body, reply->version, &m) == 0)
        answered(cs, b, &m);
    free(b);
}

static void beat_send(struct chunkserver *cs, bool failed)
{
    struct heartbeat *h = &cs->heartbeat;
    const struct store_space *space = &cs->housekeeping.space;
    struct store_counters store = store_counters(cs->store);
    struct held held = left_held(cs);
    struct chain_counters chain = chain_counters(cs->driver.chain);
    struct msg_heartbeat m = {.target = cs->target,
                              .incarnation = cs->info.incarnation,
                              .table_version = cs->table.version,
                              .bytes_total = space->bytes_total,
                              .bytes_used = space->bytes_total - space->bytes_free,
                              .chunk_count = held.ours.chunks,
                              .read_bytes = metric_get(&cs->metrics.read_bytes),
                              .write_bytes = metric_get(&cs->metrics.write_bytes),
                              .resync_bytes = chain.resync_bytes,
                              .resync_chunks = chain.resync_chunks,
                              .crc_errors = store.crc_errors,
                              .blocks_repaired = store.blocks_repaired,
                              .deleted_batch = cs->deletes.batch_done,
                              .failed = failed,
                              .chunk_bytes = held.ours.bytes,
                              .left_bytes = held.left.bytes,
                              .left_chunks = held.left.chunks};
    struct beat *b = malloc(sizeof *b);
    CHECK(b != NULL);
    bytes_clear(&cs->body);
    encode_heartbeat(&cs->body, &m);
    *b = (struct beat){.cs = cs, .sent_ms = clock_now_ms(), .failed = failed};
    struct rpc_call_options options = {.code = MSG_heartbeat,
                                       .body = bytes_slice(&cs->body),
                                       .deadline_ms = loop_now_ms() + HEARTBEAT_DEADLINE_MS};
    h->outstanding++;
    (void)rpc_leader_call(cs->leader, &options, on_heartbeat, b);
}

void heartbeat_now(struct chunkserver *cs)
{
    struct heartbeat *h = &cs->heartbeat;
    if (cs->life >= LIFE_LEAVING || h->failing)
        return;
    if (!h->registered)
        register_send(cs);
    else if (h->outstanding < OUTSTANDING_MAX)
        beat_send(cs, false);
    loop_timer_start_ms(&h->timer, HEARTBEAT_MS);
}

static void on_timer(void *arg)
{
    heartbeat_now(arg);
}

void heartbeat_tick(struct chunkserver *cs)
{
    struct heartbeat *h = &cs->heartbeat;
    if (h->has_lease && clock_now_ms() >= h->lease.expires_ms) {
        h->has_lease = false;
        log_warn("lease.lost",
                 "name=%s: no answer from a metadata leader: reads and writes are refused until "
                 "there is one",
                 cs->config.name);
    }
}

void heartbeat_fail(struct chunkserver *cs)
{
    struct heartbeat *h = &cs->heartbeat;
    struct err_text why = {""};
    if (h->failing || cs->life >= LIFE_LEAVING)
        return;
    h->failing = true;
    (void)store_failed(cs->store, &why);
    log_error("target.failed", "name=%s why=\"%s\"", cs->config.name, why.text);
    if (cs->driver.chain)
        beat_send(cs, true);
    else
        chunkserver_end(cs, CHUNKSERVER_FAILED);
}

/* ---- reports ---- */

static void on_report(void *arg, struct rpc_reply *reply)
{
    struct chunkserver *cs = arg;
    if (!cs->closing && reply->status == 0)
        table_refresh(cs);
}

void report_send(struct chunkserver *cs, const struct msg_shard_report *report)
{
    /* cs->body may hold a request that is being built: a buffer of its own. */
    struct bytes body = {0};
    encode_shard_report(&body, report);
    struct rpc_call_options options = {.code = MSG_shard_report,
                                       .body = bytes_slice(&body),
                                       .deadline_ms = loop_now_ms() + REPORT_DEADLINE_MS};
    (void)rpc_leader_call(cs->leader, &options, on_report, cs);
    bytes_release(&body);
}

/* ---- start and end ---- */

static void on_goodbye(void *arg, struct rpc_reply *reply)
{
    struct chunkserver *cs = arg;
    if (cs->closing)
        return;
    if (reply->status != 0)
        log_warn("goodbye.failed", "error=%s: the leader waits for the lease to run out",
                 err_name(reply->status));
    chunkserver_end(cs, CHUNKSERVER_STOPPED);
}

void heartbeat_goodbye(struct chunkserver *cs)
{
    struct heartbeat *h = &cs->heartbeat;
    loop_timer_stop(&h->timer);
    if (!h->registered) {
        chunkserver_end(cs, CHUNKSERVER_STOPPED);
        return;
    }
    /* First ours, then the leader's: it may give our place away at once. */
    h->lease = (struct lease){0};
    lease_tell(cs);
    struct msg_target_goodbye m = {.target = cs->target, .incarnation = cs->info.incarnation};
    bytes_clear(&cs->body);
    encode_target_goodbye(&cs->body, &m);
    struct rpc_call_options options = {.code = MSG_target_goodbye,
                                       .body = bytes_slice(&cs->body),
                                       .deadline_ms = loop_now_ms() + GOODBYE_MS};
    (void)rpc_leader_call(cs->leader, &options, on_goodbye, cs);
}

void heartbeat_start(struct chunkserver *cs)
{
    struct heartbeat *h = &cs->heartbeat;
    h->lease_ms = LEASE_DEFAULT_MS;
    h->term = store_position(cs->store).term;
    loop_timer_init(&h->timer, cs->loop, on_timer, cs);
    heartbeat_now(cs);
}

void heartbeat_stop(struct chunkserver *cs)
{
    loop_timer_stop(&cs->heartbeat.timer);
}
