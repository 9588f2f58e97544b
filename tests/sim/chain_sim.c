/* The chain simulator's loop, clock, faults and command line.
 *
 *   SEEDS=n   seeds to run (default 2000)    SEED=s   only this one, or the first of SEEDS
 *   EVENTS=n  events with faults per seed (default 12000)   TRACE=1  print what happens */
#include "tests/sim/chain_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum { SEEDS_DEFAULT = 2000, EVENTS_DEFAULT = 12000, END_MS = 60000, TICK_MS = 20 };

void sim_fail(struct world *w, const char *format, ...)
{
    va_list args;
    if (w->failed)
        return;
    w->failed = true;
    printf("# at %ld ms: ", (long)w->now_ms);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\nnot ok sim/chain seed=%lu; again: SEED=%lu SEEDS=1 tests/sim/sim-chain\n",
           (unsigned long)w->seed, (unsigned long)w->seed);
}

void sim_trace(struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->trace)
        return;
    printf("[%6ld] ", (long)w->now_ms);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

struct chunk_id sim_chunk_id(unsigned shard, unsigned chunk)
{
    return (struct chunk_id){shard + 1, chunk / GENERATIONS, chunk % GENERATIONS + 1};
}

unsigned sim_chunk_number(const struct chunk_id *id)
{
    return id->inode ? id->index * GENERATIONS + id->generation - 1 : 0;
}

unsigned sim_shard_of(const struct chunk_id *id)
{
    return id->inode ? (unsigned)id->inode - 1 : 0;
}

int64_t sim_delay(struct world *w, int64_t usual_ms)
{
    if (w->faults && prng_chance(&w->prng, 20))
        return (int64_t)prng_below(&w->prng, 40 * (uint64_t)usual_ms);
    return (int64_t)prng_below(&w->prng, 2 * (uint64_t)usual_ms + 1);
}

/* ---- the queue of events: a heap by time, then by order ---- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void swap(struct world *w, size_t a, size_t b)
{
    struct sim_event *t = w->heap[a];
    w->heap[a] = w->heap[b];
    w->heap[b] = t;
}

static void push(struct world *w, struct sim_event *e)
{
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? 2 * w->heap_capacity : 256;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof(struct sim_event *));
        CHECK(w->heap != NULL);
    }
    size_t at = w->heap_count++;
    w->heap[at] = e;
    for (; at > 0 && earlier(w->heap[at], w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        swap(w, at, (at - 1) / 2);
}

static struct sim_event *pop(struct world *w)
{
    struct sim_event *first = w->heap[0];
    w->heap[0] = w->heap[--w->heap_count];
    for (size_t at = 0;;) {
        size_t least = at, left = 2 * at + 1;
        if (left < w->heap_count && earlier(w->heap[left], w->heap[least]))
            least = left;
        if (left + 1 < w->heap_count && earlier(w->heap[left + 1], w->heap[least]))
            least = left + 1;
        if (least == at)
            return first;
        swap(w, at, least);
        at = least;
    }
}

struct sim_event *sim_schedule(struct world *w, int64_t delay_ms, enum sim_event_kind kind)
{
    struct sim_event *e = calloc(1, sizeof *e);
    CHECK(e != NULL && delay_ms >= 0);
    e->at_ms = w->now_ms + delay_ms;
    e->order = ++w->next;
    e->kind = kind;
    push(w, e);
    return e;
}

/* ---- faults ---- */

static void crash(struct world *w, unsigned i, bool power)
{
    if (!w->servers[i].alive)
        return;
    server_crash(w, i, power);
    sim_schedule(w, (int64_t)prng_between(&w->prng, 10, 4000), SIM_RESTART)->server = i;
}

static void cut_some(struct world *w, unsigned a)
{
    unsigned b = (unsigned)prng_below(&w->prng, w->server_count + 1);
    b = b == w->server_count ? SERVERS_MAX : b;
    if (b == a)
        return;
    bool both = prng_chance(&w->prng, 600);
    w->cut[a][b] = true;
    if (both)
        w->cut[b][a] = true;
    sim_trace(w, "cut %u %s %u", a, both ? "<->" : "->", b);
}

static void fault(struct world *w)
{
    unsigned i = (unsigned)prng_below(&w->prng, w->server_count);
    struct server *s = &w->servers[i];
    int64_t until_ms = w->now_ms + (int64_t)prng_between(&w->prng, 50, 3000);
    switch (prng_below(&w->prng, 12)) {
    case 0:
    case 1:
        crash(w, i, prng_chance(&w->prng, 500));
        break;
    case 2:
        for (unsigned k = 0; prng_chance(&w->prng, 300) && k < w->server_count; k++)
            crash(w, k, true);
        break;
    case 3:
        for (unsigned k = 0; prng_chance(&w->prng, 700) && k < w->server_count; k++)
            crash(w, k, false);
        break;
    case 4:
    case 5:
        cut_some(w, i);
        break;
    case 6:
    case 7:
        memset(w->cut, 0, sizeof w->cut);
        break;
    case 8:
        connection_break(w, i, (unsigned)prng_below(&w->prng, w->server_count));
        break;
    case 9:
        s->paused_until_ms = until_ms;
        break;
    case 10:
        s->slow_until_ms = until_ms;
        break;
    default:
        s->no_space_until_ms = until_ms;
    }
    sim_schedule(w, (int64_t)prng_between(&w->prng, 20, 900), SIM_FAULT);
}

static void heal(struct world *w)
{
    sim_trace(w, "heal");
    w->faults = false;
    memset(w->cut, 0, sizeof w->cut);
    for (unsigned i = 0; i < w->server_count; i++) {
        struct server *s = &w->servers[i];
        s->slow_until_ms = s->no_space_until_ms = 0;
        if (!s->alive)
            server_start(w, i);
    }
}

/* ---- events ---- */

static void on_store(struct world *w, struct sim_event *e)
{
    struct server *s = &w->servers[e->server];
    struct result *result = calloc(1, sizeof *result);
    CHECK(result != NULL);
    struct chain_done done = {.id = e->work.id};
    done.status = store_finish(w, e->server, &e->work, result, &done);
    result->id = e->work.id;
    done.entries = result->entries;
    done.entry_count = result->entry_count;
    done.end = result->end;
    done.crcs = result->crcs;
    done.crc_count = result->crc_count;
    if (e->work.keep) {
        CHECK(s->result_count < RESULTS_MAX);
        s->results[s->result_count++] = result;
    }
    struct chain_event event = {.kind = CHAIN_EVENT_DONE, .u.done = done};
    server_event(w, e->server, &event);
    if (!e->work.keep)
        free(result);
}

static void on_heartbeat(struct world *w, struct sim_event *e)
{
    struct sim_event *next = sim_schedule(w, HEARTBEAT_MS, SIM_HEARTBEAT);
    next->server = e->server;
    next->incarnation = e->incarnation;
    if (w->cut[e->server][SERVERS_MAX])
        return;
    struct sim_event *at = sim_schedule(w, sim_delay(w, 4), SIM_HEARTBEAT_AT);
    at->server = e->server;
    at->incarnation = e->incarnation;
    at->sent_ms = server_clock(w, e->server);
}

static void on_leader_answer(struct world *w, struct sim_event *e, enum sim_event_kind kind)
{
    if (kind == SIM_HEARTBEAT_BACK)
        leader_heartbeat(w, e);
    bool current = leader_target(w, e->server)->incarnation == e->incarnation;
    if (!current || w->cut[SERVERS_MAX][e->server])
        return;
    struct sim_event *back = sim_schedule(w, sim_delay(w, 4), kind);
    back->server = e->server;
    back->incarnation = e->incarnation;
    back->sent_ms = e->sent_ms;
    back->id = w->leader.table.version;
    if (kind == SIM_TABLE_BACK)
        shard_table_encode(&w->leader.table, e->id, &back->answer);
}

static void on_heartbeat_back(struct world *w, struct sim_event *e)
{
    struct server *s = &w->servers[e->server];
    struct chain_event event = {.kind = CHAIN_EVENT_LEASE,
                                .u.lease.expires_ms = e->sent_ms + LEASE_MS};
    if (e->id > s->table_seen)
        s->table_seen = e->id;
#ifndef PLANT_D2_TABLE
    /* As the daemon does: who was given up meanwhile needs the table that says so. */
    if (server_clock(w, e->server) >= s->lease_ms && s->table.version < e->id)
        return;
#endif
    s->lease_ms = event.u.lease.expires_ms;
    server_event(w, e->server, &event);
}

/* Events of a process: dropped when it is gone, late when it is paused. */
static bool is_for_process(enum sim_event_kind kind)
{
    return kind == SIM_STORE || kind == SIM_TICK || kind == SIM_HEARTBEAT ||
           kind == SIM_HEARTBEAT_BACK || kind == SIM_TABLE_BACK;
}

static bool is_held_by_pause(const struct world *w, const struct sim_event *e)
{
    return w->servers[e->server].alive && w->servers[e->server].paused_until_ms > w->now_ms &&
           (is_for_process(e->kind) || e->kind == SIM_MESSAGE || e->kind == SIM_REPLY ||
            e->kind == SIM_CLIENT_REQUEST);
}

static void dispatch(struct world *w, struct sim_event *e)
{
    struct server *s = &w->servers[e->server];
    if (is_for_process(e->kind) && (!s->alive || s->incarnation != e->incarnation))
        return;
    switch (e->kind) {
    case SIM_STORE:
        on_store(w, e);
        break;
    case SIM_MESSAGE:
        server_message(w, e);
        break;
    case SIM_REPLY:
        server_reply(w, e);
        break;
    case SIM_TICK: {
        struct sim_event *next = sim_schedule(w, TICK_MS, SIM_TICK);
        next->server = e->server;
        next->incarnation = e->incarnation;
        server_tick(w, e->server);
        break;
    }
    case SIM_HEARTBEAT:
        on_heartbeat(w, e);
        break;
    case SIM_HEARTBEAT_AT:
        on_leader_answer(w, e, SIM_HEARTBEAT_BACK);
        break;
    case SIM_HEARTBEAT_BACK:
        on_heartbeat_back(w, e);
        break;
    case SIM_TABLE_AT:
        on_leader_answer(w, e, SIM_TABLE_BACK);
        break;
    case SIM_TABLE_BACK:
        server_take_table(w, e->server, bytes_slice(&e->answer));
        break;
    case SIM_REPORT_AT:
        leader_report(w, &e->work, e->server);
        break;
    case SIM_LEADER:
        sim_schedule(w, 50, SIM_LEADER);
        leader_check(w);
        break;
    case SIM_CLIENT:
        client_next(w, e->peer);
        break;
    case SIM_CLIENT_REQUEST:
        server_client_request(w, e);
        break;
    case SIM_CLIENT_REPLY:
        client_reply(w, e);
        break;
    case SIM_CLIENT_TIMEOUT:
        if (w->clients[e->peer].busy && w->clients[e->peer].attempt == e->attempt)
            client_send(w, e->peer);
        break;
    case SIM_RESTART:
        if (!s->alive)
            server_start(w, e->server);
        break;
    case SIM_BREAK:
        break;
    case SIM_FAULT:
        if (w->faults)
            fault(w);
        break;
    }
}

static void run_one(struct world *w)
{
    struct sim_event *e = pop(w);
    CHECK(e->at_ms >= w->now_ms);
    w->now_ms = e->at_ms;
    if (is_held_by_pause(w, e)) {
        e->at_ms = w->servers[e->server].paused_until_ms;
        push(w, e);
        return;
    }
    w->events_done++;
    dispatch(w, e);
    bytes_release(&e->answer);
    free(e);
}

/* ---- one seed ---- */

static void world_init(struct world *w, uint64_t seed)
{
    w->seed = seed;
    w->faults = true;
    prng_init(&w->prng, seed);
    w->server_count = (unsigned)prng_between(&w->prng, 3, SERVERS_MAX);
    w->shard_count = (unsigned)prng_between(&w->prng, 1, SHARDS_MAX);
    w->servers = calloc(w->server_count, sizeof *w->servers);
    CHECK(w->servers != NULL);
    for (unsigned shard = 0; shard < SHARDS_MAX; shard++)
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++)
            w->history[shard][chunk].acked = w->history[shard][chunk].synced =
                w->history[shard][chunk].read_floor = -1;
    leader_init(w);
    for (unsigned i = 0; i < w->server_count; i++) {
        w->servers[i].clock_rate = 0.98 + 0.0001 * (double)prng_below(&w->prng, 400);
        w->servers[i].clock_offset_ms = (int64_t)prng_below(&w->prng, 100000);
        server_start(w, i);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        sim_schedule(w, 300 + i, SIM_CLIENT)->peer = i;
    sim_schedule(w, 50, SIM_LEADER);
    sim_schedule(w, 600, SIM_FAULT);
}

static void world_release(struct world *w)
{
    for (unsigned i = 0; i < w->server_count; i++) {
        struct server *s = &w->servers[i];
        chain_destroy(s->chain);
        chain_work_list_release(&s->work);
        shard_table_release(&s->table);
        while (s->result_count)
            free(s->results[--s->result_count]);
    }
    while (w->heap_count) {
        struct sim_event *e = pop(w);
        bytes_release(&e->answer);
        free(e);
    }
    for (unsigned shard = 0; shard < SHARDS_MAX; shard++)
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++)
            free(w->history[shard][chunk].nodes);
    leader_release(w);
    free(w->heap);
    free(w->servers);
}

static bool is_quiet(const struct world *w)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (w->clients[i].busy)
            return false;
    for (unsigned i = 0; i < w->server_count; i++)
        if (!w->servers[i].alive || chain_busy_count(w->servers[i].chain) ||
            leader_target(w, i)->incarnation != w->servers[i].incarnation ||
            leader_target(w, i)->state != TARGET_UP)
            return false;
    return leader_all_insync(w);
}

struct totals {
    uint64_t operations, moves, moved;
};

static bool run_seed(uint64_t seed, uint64_t events, struct totals *t)
{
    struct world *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    w->trace = getenv("TRACE") != NULL;
    world_init(w, seed);
    while (!w->failed && w->events_done < events)
        run_one(w);
    heal(w);
    int64_t end_ms = w->now_ms + END_MS;
    while (!w->failed && !is_quiet(w) && w->now_ms < end_ms)
        run_one(w);
    if (!w->failed && !is_quiet(w))
        sim_fail(w, "not all operations completed and all slots in sync %d s after the last fault",
                 END_MS / 1000);
    if (!w->failed)
        oracle_end(w);
    bool ok = !w->failed;
    t->operations += w->ops_done;
    t->moves += w->moves;
    t->moved += w->moved;
    world_release(w);
    free(w);
    return ok;
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    uint64_t first = number_from_env("SEED", 1);
    uint64_t seeds = number_from_env("SEEDS", getenv("SEED") ? 1 : SEEDS_DEFAULT);
    uint64_t events = number_from_env("EVENTS", EVENTS_DEFAULT);
    struct totals t = {0};
    for (uint64_t i = 0; i < seeds; i++)
        if (!run_seed(first + i, events, &t)) {
            printf("# caught after %lu seeds\n", (unsigned long)(i + 1));
            return EXIT_FAILURE;
        }
    printf("# %lu client operations, %lu of %lu moves of slots completed\n",
           (unsigned long)t.operations, (unsigned long)t.moved, (unsigned long)t.moves);
    printf("ok sim/chain %lu seeds, 0 violations\n", (unsigned long)seeds);
    return EXIT_SUCCESS;
}
