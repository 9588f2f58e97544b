/* A simulated chunkserver: drives the real core, carries out its work, keeps connections. */
#include "tests/sim/chain_sim.h"

#include "chunkserver/views.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum { CALL_MS = 1500 };

int64_t server_clock(const struct world *w, unsigned i)
{
    const struct server *s = &w->servers[i];
    return (int64_t)((double)w->now_ms * s->clock_rate) + s->clock_offset_ms;
}

/* Another limit for its resyncs, from 16 blocks a second to none. */
static void server_rate(struct world *w, unsigned i)
{
    struct chain_event event = {.kind = CHAIN_EVENT_RATE};
    if (prng_between(&w->prng, 0, 2) > 0)
        event.u.rate = 1ull << prng_between(&w->prng, 16, 22);
    server_event(w, i, &event);
}

bool server_serves(const struct world *w, unsigned i)
{
    return w->servers[i].alive && !w->servers[i].disk_failed;
}

void server_start(struct world *w, unsigned i)
{
    struct server *s = &w->servers[i];
    struct chain_options options;
    chain_options_defaults(&options);
    s->alive = true;
    s->incarnation = ++w->next;
    options.target = i + 1;
    options.incarnation = s->incarnation;
    for (unsigned k = 0; k < SHARDS_MAX * CHUNKS; k++)
        options.has_suspects = options.has_suspects || s->store[k / CHUNKS][k % CHUNKS].suspect;
    options.simulated = true;
    options.chunks_max = (uint32_t)prng_between(&w->prng, 6, 40);
    options.chunk_pending_max = 16;
    options.retry_ms = 50;
    options.held_ms = 400;
    options.successor_ms = 1200;
    options.resync_batch = (uint32_t)prng_between(&w->prng, 1, 6);
    options.resync_chunks_max = (uint32_t)prng_between(&w->prng, 1, 4);
    options.resync_run_blocks = (uint32_t)prng_between(&w->prng, 1, 4);
    options.resync_lock_blocks = (uint32_t)prng_between(&w->prng, 1, 4);
    options.resync_redo_max = (uint32_t)prng_between(&w->prng, 4, 40);
    options.resync_burst = (uint32_t)prng_between(&w->prng, 1, 4 * BLOCK_SIZE);
    options.resync_jobs_max = (uint32_t)prng_between(&w->prng, 1, 3);
    s->chain = chain_create(&options);
    s->table_seen = 0;
    s->lease = (struct lease){0};
    memset(s->left_epoch, 0, sizeof s->left_epoch);
    shard_table_release(&s->table);
    shard_table_init(&s->table, 0);
    s->call_count = s->request_count = 0;
    for (unsigned k = 0; k < 2; k++) {
        struct sim_event *e = sim_schedule(w, 1, k ? SIM_HEARTBEAT : SIM_TICK);
        e->server = i;
        e->incarnation = s->incarnation;
    }
    sim_trace(w, "server %u starts, incarnation %lu", i, (unsigned long)s->incarnation);
    server_rate(w, i);
}

static void results_drop(struct server *s)
{
    while (s->result_count)
        free(s->results[--s->result_count]);
}

void server_crash(struct world *w, unsigned i, bool power)
{
    struct server *s = &w->servers[i];
    sim_trace(w, "server %u crashes, %s", i, power ? "power lost" : "killed");
    s->alive = false;
    s->power_lost = s->power_lost || power;
    chain_destroy(s->chain);
    s->chain = NULL;
    results_drop(s);
    store_crash(w, i, power);
    s->call_count = 0;
    for (unsigned k = 0; k < w->server_count; k++) {
        w->connection[i][k]++;
        connection_break(w, k, i);
    }
}

static void call_end(struct world *w, unsigned i, struct chain_done *done)
{
    struct chain_event event = {.kind = CHAIN_EVENT_DONE, .u.done = *done};
    server_event(w, i, &event);
}

/* Every call from a to b ends with -ERR_CLOSED before a later one leaves. */
void connection_break(struct world *w, unsigned a, unsigned b)
{
    struct server *s = &w->servers[a];
    uint64_t ended[CALLS_MAX];
    unsigned count = 0, kept = 0;
    w->connection[a][b]++;
    for (unsigned k = 0; server_serves(w, a) && k < s->call_count; k++)
        if (s->calls[k].to == b)
            ended[count++] = s->calls[k].id;
        else
            s->calls[kept++] = s->calls[k];
    if (!server_serves(w, a))
        return;
    s->call_count = kept;
    for (unsigned k = 0; k < count; k++) {
        struct chain_done done = {.id = ended[k], .status = -ERR_CLOSED};
        call_end(w, a, &done);
    }
}

static int64_t ordered(struct world *w, unsigned from, unsigned to, unsigned lane, int64_t delay)
{
    int64_t *last = &w->last_delivery[from][to][lane];
    int64_t at = w->now_ms + delay;
    *last = at > *last ? at : *last;
    return *last - w->now_ms;
}

static void send_call(struct world *w, unsigned i, const struct chain_work *work)
{
    struct server *s = &w->servers[i];
    unsigned to = work->target - 1;
    CHECK(s->call_count < CALLS_MAX && to < w->server_count);
    s->calls[s->call_count++] =
        (struct call){work->id, w->connection[i][to], to, w->now_ms + CALL_MS};
    if (w->cut[i][to])
        return; /* lost; the time limit of the call ends it */
    int64_t delay = sim_delay(w, 2);
    struct content *content = NULL;
    if (work->kind == CHAIN_WORK_RESYNC_COPY || work->kind == CHAIN_WORK_RESYNC_FINISH)
        content = &s->store[sim_shard_of(&work->chunk)][sim_chunk_number(&work->chunk)].now;
    struct sim_event *e = sim_schedule(w, ordered(w, i, to, 0, delay), SIM_MESSAGE);
    e->server = to;
    e->peer = i;
    e->connection = w->connection[i][to];
    e->work = *work;
    e->work.payload = NULL;
    if (content)
        e->result.content = *content;
}

static struct request *request_take(struct server *s, uint64_t id, struct request *ret)
{
    for (unsigned k = 0; k < s->request_count; k++)
        if (s->requests[k].id == id) {
            *ret = s->requests[k];
            s->requests[k] = s->requests[--s->request_count];
            return ret;
        }
    return NULL;
}

static struct result *result_take(struct server *s, uint64_t id)
{
    for (unsigned k = 0; id && k < s->result_count; k++)
        if (s->results[k]->id == id) {
            struct result *r = s->results[k];
            s->results[k] = s->results[--s->result_count];
            return r;
        }
    return NULL;
}

/* Those who stay rely on its word: there is no fence. */
static void check_reader(struct world *w, unsigned i, const struct request *request)
{
    const struct client *c = &w->clients[request->from];
    if (c->kind || c->attempt != request->action)
        return;
    struct chain_view chain = shard_table_chain(&w->servers[i].table, w->leader.copies[c->shard],
                                                w->leader.row[c->shard]);
    if (chain.epoch == w->servers[i].left_epoch[c->shard])
        sim_fail(w, "shard %u: server %u said that it reads no more, and reads", c->shard, i);
}

static void send_reply(struct world *w, unsigned i, const struct chain_work *work)
{
    struct server *s = &w->servers[i];
    struct request request;
    struct result *result = result_take(s, work->result);
    if (!request_take(s, work->request, &request)) {
        sim_fail(w, "server %u answers a request twice, or one it never had", i);
        free(result);
        return;
    }
    struct sim_event *e;
    if (request.from_client) {
        if (work->status == 0)
            check_reader(w, i, &request);
        e = sim_schedule(w, sim_delay(w, 2), SIM_CLIENT_REPLY);
        e->server = i;
        e->peer = request.from;
        e->attempt = request.action;
    } else {
        if (w->cut[i][request.from])
            goto done;
        e = sim_schedule(w, ordered(w, request.from, i, 1, sim_delay(w, 2)), SIM_REPLY);
        e->server = request.from;
        e->peer = i;
        e->id = request.action;
        e->connection = request.connection;
    }
    e->status = work->status;
    if (result)
        e->result = *result;
    else
        e->result.content.version = work->version;
done:
    free(result);
}

static void trace_work(struct world *w, unsigned i, const struct chain_work *k)
{
    sim_trace(w, "  %u does %d to %u: shard %u chunk %u op %d %lu.%lu %lu/%lu over %lu/%lu", i,
              k->kind, k->target, k->shard, sim_chunk_number(&k->chunk), k->op_kind,
              (unsigned long)k->session, (unsigned long)k->op, (unsigned long)k->version.epoch,
              (unsigned long)k->version.seq, (unsigned long)k->previous.epoch,
              (unsigned long)k->previous.seq);
}

static void carry_out(struct world *w, unsigned i, const struct chain_work *work)
{
    if (w->trace && work->kind != CHAIN_WORK_REPLY)
        trace_work(w, i, work);
    struct server *s = &w->servers[i];
    struct sim_event *e;
    switch (work->kind) {
    case CHAIN_WORK_REPLY:
        send_reply(w, i, work);
        break;
    case CHAIN_WORK_REPORT:
        if (work->report == REPORT_LEFT)
            s->left_epoch[sim_shard_at(w, work->copies, work->shard)] = work->epoch;
        if (w->cut[i][SERVERS_MAX])
            break;
        e = sim_schedule(w, sim_delay(w, 2), SIM_REPORT_AT);
        e->server = i;
        e->work = *work;
        break;
    case CHAIN_WORK_REFRESH:
        s->table_seen = UINT64_MAX;
        break;
    default:
        if (work->kind >= CHAIN_WORK_FORWARD) {
            send_call(w, i, work);
            break;
        }
        store_start_change(w, i, work);
        e = sim_schedule(w, sim_delay(w, s->slow_until_ms > w->now_ms ? 60 : 2), SIM_STORE);
        e->server = i;
        e->incarnation = s->incarnation;
        e->work = *work;
        e->work.payload = NULL;
    }
}

void server_event(struct world *w, unsigned i, struct chain_event *event)
{
    struct server *s = &w->servers[i];
    CHECK(s->alive);
    event->now_ms = server_clock(w, i);
    s->work.count = 0;
    chain_step(s->chain, event, &s->work);
    const char *broken = chain_check(s->chain);
    if (broken)
        sim_fail(w, "server %u: %s", i, broken);
    for (size_t k = 0; k < s->work.count; k++)
        carry_out(w, i, &s->work.items[k]);
}

static uint64_t request_add(struct world *w, unsigned i, struct request request)
{
    struct server *s = &w->servers[i];
    CHECK(s->request_count < REQUESTS_MAX);
    request.id = ++w->next;
    s->requests[s->request_count++] = request;
    return request.id;
}

static void message_resync(const struct sim_event *e, struct chain_event *event,
                           struct wire_shardref ref)
{
    const struct chain_work *m = &e->work;
    static struct msg_resync_inventory inventory;
    static struct msg_resync_crcs crcs;
    static struct msg_resync_write write;
    static struct msg_resync_finish finish;
    static struct msg_resync_seal seal;
    switch (m->kind) {
    case CHAIN_WORK_RESYNC_INVENTORY:
        inventory = (struct msg_resync_inventory){
            .shard = ref, .sender = e->peer + 1, .after = m->after, .count_max = m->count_max};
        event->kind = CHAIN_EVENT_RESYNC_INVENTORY;
        event->u.inventory = &inventory;
        break;
    case CHAIN_WORK_RESYNC_CRCS:
        crcs = (struct msg_resync_crcs){.id = m->chunk, .shard = ref, .sender = e->peer + 1};
        event->kind = CHAIN_EVENT_RESYNC_CRCS;
        event->u.crcs = &crcs;
        break;
    case CHAIN_WORK_RESYNC_COPY:
        write = (struct msg_resync_write){.id = m->chunk,
                                          .shard = ref,
                                          .sender = e->peer + 1,
                                          .offset = m->offset,
                                          .length = m->length};
        event->kind = CHAIN_EVENT_RESYNC_WRITE;
        event->u.resync_write = &write;
        event->payload = buf_create(BLOCK_SIZE);
        memcpy(event->payload->data, e->result.content.block, sizeof e->result.content.block);
        break;
    case CHAIN_WORK_RESYNC_FINISH:
        finish = (struct msg_resync_finish){.id = m->chunk,
                                            .shard = ref,
                                            .sender = e->peer + 1,
                                            .absent = m->absent,
                                            .length = e->result.content.length * BLOCK_SIZE,
                                            .version_epoch = m->version.epoch,
                                            .version_seq = m->version.seq};
        event->kind = CHAIN_EVENT_RESYNC_FINISH;
        event->u.finish = &finish;
        break;
    default:
        seal = (struct msg_resync_seal){.shard = ref, .sender = e->peer + 1};
        event->kind = CHAIN_EVENT_RESYNC_SEAL;
        event->u.seal = &seal;
    }
}

void server_message(struct world *w, struct sim_event *e)
{
    if (!server_serves(w, e->server) || e->connection != w->connection[e->peer][e->server])
        return;
    const struct chain_work *m = &e->work;
    struct wire_shardref ref = {m->copies, m->shard, m->epoch};
    struct chain_event event = {.kind = CHAIN_EVENT_CHAIN_OP};
    struct msg_chain_op op = {.id = m->chunk,
                              .shard = ref,
                              .sender = e->peer + 1,
                              .kind = (uint8_t)m->op_kind,
                              .session = m->session,
                              .op = m->op,
                              .version_epoch = m->version.epoch,
                              .version_seq = m->version.seq,
                              .previous_epoch = m->previous.epoch,
                              .previous_seq = m->previous.seq,
                              .offset = m->offset,
                              .length = m->length,
                              .flags = m->flags};
    event.u.chain_op = &op;
    if (m->kind != CHAIN_WORK_FORWARD)
        message_resync(e, &event, ref);
    event.request =
        request_add(w, e->server, (struct request){0, false, e->peer, m->id, e->connection});
    server_event(w, e->server, &event);
    buf_unref(event.payload);
}

void server_reply(struct world *w, struct sim_event *e)
{
    struct server *s = &w->servers[e->server];
    if (!server_serves(w, e->server) || e->connection != w->connection[e->server][e->peer])
        return;
    for (unsigned k = 0; k < s->call_count; k++)
        if (s->calls[k].id == e->id) {
            s->calls[k] = s->calls[--s->call_count];
            struct chain_done done = {.id = e->id,
                                      .status = e->status,
                                      .entries = e->result.entries,
                                      .entry_count = e->result.entry_count,
                                      .end = e->result.end,
                                      .crcs = e->result.crcs,
                                      .crc_count = e->result.crc_count};
            call_end(w, e->server, &done);
            return;
        }
}

void server_client_request(struct world *w, struct sim_event *e)
{
    if (!server_serves(w, e->server))
        return;
    static const uint8_t kinds[] = {[CHAIN_TRUNCATE] = CHANGE_TRUNCATE,
                                    [CHAIN_ZERO] = CHANGE_ZERO,
                                    [CHAIN_SYNC] = CHANGE_SYNC,
                                    [CHAIN_DELETE] = CHANGE_DELETE};
    const struct chain_work *m = &e->work;
    struct wire_shardref ref = {m->copies, m->shard, m->epoch};
    struct msg_chunk_write write = {.id = m->chunk,
                                    .shard = ref,
                                    .session = m->session,
                                    .op = m->op,
                                    .offset = m->offset,
                                    .length = m->length,
                                    .flags = m->flags};
    struct msg_chunk_change change = {.id = m->chunk,
                                      .shard = ref,
                                      .session = m->session,
                                      .op = m->op,
                                      .offset = m->offset,
                                      .length = m->length};
    struct msg_chunk_read read = {.id = m->chunk, .shard = ref, .length = BLOCKS * BLOCK_SIZE};
    struct chain_event event = {.kind = CHAIN_EVENT_WRITE, .space_ok = true};
    event.u.write = &write;
    if (w->servers[e->server].no_space_until_ms > w->now_ms)
        event.space_ok = prng_chance(&w->prng, 500);
    if (m->op_kind == 0) {
        event.kind = CHAIN_EVENT_READ;
        event.u.read = &read;
    } else if (m->op_kind != CHAIN_WRITE) {
        change.kind = kinds[m->op_kind];
        event.kind = CHAIN_EVENT_CHANGE;
        event.u.change = &change;
    }
    event.request = request_add(w, e->server, (struct request){0, true, e->peer, e->attempt, 0});
    server_event(w, e->server, &event);
}

void server_tick(struct world *w, unsigned i)
{
    struct server *s = &w->servers[i];
    struct chain_event event = {.kind = CHAIN_EVENT_TICK};
    server_event(w, i, &event);
    for (unsigned k = 0; k < s->call_count; k++)
        if (s->calls[k].deadline_ms < w->now_ms) {
            connection_break(w, i, s->calls[k].to);
            break;
        }
    if (s->table.version < s->table_seen && !w->cut[i][SERVERS_MAX] &&
        s->table_late_until_ms <= w->now_ms) {
        struct sim_event *e = sim_schedule(w, sim_delay(w, 2), SIM_TABLE_AT);
        e->server = i;
        e->incarnation = s->incarnation;
        e->id = s->table.version;
    }
    if (prng_chance(&w->prng, 2))
        server_rate(w, i);
    if (prng_chance(&w->prng, 5)) { /* background flush */
        unsigned shard = (unsigned)prng_below(&w->prng, w->shard_count);
        unsigned chunk = (unsigned)prng_below(&w->prng, CHUNKS);
        s->store[shard][chunk].durable = s->store[shard][chunk].now;
    }
}

static void tell_lease(struct world *w, unsigned i)
{
    struct chain_event event = {.kind = CHAIN_EVENT_LEASE,
                                .u.lease.expires_ms = w->servers[i].lease.expires_ms};
    server_event(w, i, &event);
}

void server_take_lease(struct world *w, unsigned i, int64_t expires_ms, uint64_t version)
{
    struct server *s = &w->servers[i];
    if (lease_offered(&s->lease, (struct lease_offer){expires_ms, version}, s->table.version))
        tell_lease(w, i);
}

/* As the daemon does (table_take). */
void server_take_table(struct world *w, unsigned i, struct slice answer)
{
    struct server *s = &w->servers[i];
    struct msg_shard_table_r m;
    struct view_before before[SHARDS_MAX];
    CHECK(decode_shard_table_r(answer, WIRE_VERSION, &m) == 0);
    for (unsigned shard = 0; shard < w->shard_count; shard++)
        view_remember(&s->table, w->leader.copies[shard], w->leader.row[shard], &before[shard]);
    CHECK(shard_table_update(&s->table, &m) == 0);
    if (s->table_seen == UINT64_MAX)
        s->table_seen = s->table.version;
    for (unsigned shard = 0; shard < w->shard_count; shard++) {
        struct chain_event event = {.kind = CHAIN_EVENT_VIEW};
        const struct shard *now =
            shard_table_shard(&s->table, w->leader.copies[shard], w->leader.row[shard]);
        if (now && now->epoch != before[shard].shard.epoch &&
            view_make(&s->table, i + 1, &before[shard], w->fence_ms, &event.u.view))
            server_event(w, i, &event);
    }
    if (lease_table_taken(&s->lease, s->table.version))
        tell_lease(w, i);
}
