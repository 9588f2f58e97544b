/* The loop, clock, common faults and command line of sim-chain and sim-planner.
 *
 *   SEEDS=n   seeds to run                  SEED=s   only this one, or the first of SEEDS
 *   EVENTS=n  events with faults per seed   TRACE=1  print what happens */
#include "tests/sim/chain_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum { TICK_MS = 20 };

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
    printf("\nnot ok sim/%s seed=%lu; again: SEED=%lu SEEDS=1 tests/sim/sim-%s\n", sim_program.name,
           (unsigned long)w->seed, (unsigned long)w->seed, sim_program.name);
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

void sim_crash(struct world *w, unsigned i, bool power)
{
    if (!w->servers[i].alive)
        return;
    server_crash(w, i, power);
    sim_schedule(w, (int64_t)prng_between(&w->prng, 10, 4000), SIM_RESTART)->server = i;
}

void sim_cut_some(struct world *w, unsigned a)
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

/* Choices 0 to 7; connections heal twice as often as they break. */
void sim_fault_common(struct world *w, unsigned i, unsigned choice, int64_t until_ms)
{
    struct server *s = &w->servers[i];
    switch (choice) {
    case 0:
    case 1:
        sim_cut_some(w, i);
        break;
    case 2:
    case 3:
        memset(w->cut, 0, sizeof w->cut);
        break;
    case 4:
        connection_break(w, i, (unsigned)prng_below(&w->prng, w->server_count));
        break;
    case 5:
        s->paused_until_ms = until_ms;
        break;
    case 6:
        s->slow_until_ms = until_ms;
        break;
    default:
        s->no_space_until_ms = until_ms;
    }
}

static void heal(struct world *w)
{
    sim_trace(w, "heal");
    w->faults = false;
    memset(w->cut, 0, sizeof w->cut);
    for (unsigned i = 0; i < w->server_count; i++) {
        struct server *s = &w->servers[i];
        s->slow_until_ms = s->no_space_until_ms = s->table_late_until_ms = 0;
    }
    program_heal(w);
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
    bool answers = kind == SIM_HEARTBEAT_BACK ? leader_heartbeat(w, e) : leader_serves_table(w, e);
    if (!answers || w->cut[SERVERS_MAX][e->server])
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
    if (e->id > s->table_seen)
        s->table_seen = e->id;
    server_take_lease(w, e->server, e->sent_ms + LEASE_MS, e->id);
}

static void on_fault(struct world *w)
{
    if (!w->faults)
        return;
    program_fault(w);
    sim_schedule(w, (int64_t)prng_between(&w->prng, 20, 900), SIM_FAULT);
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
    if (is_for_process(e->kind) && (!s->alive || s->incarnation != e->incarnation ||
                                    (s->disk_failed && e->kind != SIM_HEARTBEAT)))
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
        if (!s->alive && !s->gone)
            server_start(w, e->server);
        break;
    case SIM_BREAK:
        break;
    case SIM_FAULT:
        on_fault(w);
        break;
    case SIM_PROGRAM:
        program_event(w, e);
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
    w->servers = calloc(SERVERS_MAX, sizeof *w->servers);
    CHECK(w->servers != NULL);
    for (unsigned shard = 0; shard < SHARDS_MAX; shard++)
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++)
            w->history[shard][chunk].acked = w->history[shard][chunk].synced =
                w->history[shard][chunk].read_floor = -1;
    program_start(w);
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
    program_release(w);
    free(w->heap);
    free(w->servers);
}

static bool is_quiet(const struct world *w)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (w->clients[i].busy)
            return false;
    return program_is_quiet(w);
}

static void run_until(struct world *w, int64_t end_ms, bool quiet)
{
    while (!w->failed && (!quiet || !is_quiet(w)) && w->now_ms < end_ms)
        run_one(w);
}

static bool run_seed(uint64_t seed, uint64_t events)
{
    struct world *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    w->trace = getenv("TRACE") != NULL;
    world_init(w, seed);
    while (!w->failed && w->events_done < events)
        run_one(w);
    heal(w);
    run_until(w, w->now_ms + sim_program.end_ms, true);
    if (!w->failed && is_quiet(w))
        run_until(w, w->now_ms + sim_program.still_ms, false);
    if (!w->failed && !is_quiet(w))
        sim_fail(w, "not all operations completed and all slots in sync %d s after the last fault",
                 (int)(sim_program.end_ms / 1000));
    if (!w->failed) {
        oracle_end(w);
        program_end(w);
    }
    bool ok = !w->failed;
    program_count(w);
    world_release(w);
    free(w);
    return ok;
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int sim_main(void)
{
    uint64_t first = number_from_env("SEED", 1);
    uint64_t seeds = number_from_env("SEEDS", getenv("SEED") ? 1 : sim_program.seeds);
    uint64_t events = number_from_env("EVENTS", sim_program.events);
    for (uint64_t i = 0; i < seeds; i++)
        if (!run_seed(first + i, events)) {
            printf("# caught after %lu seeds\n", (unsigned long)(i + 1));
            return EXIT_FAILURE;
        }
    program_print();
    printf("ok sim/%s %lu seeds, 0 violations\n", sim_program.name, (unsigned long)seeds);
    return EXIT_SUCCESS;
}
