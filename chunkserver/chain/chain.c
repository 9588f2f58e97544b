/* The core's front: options, events to their duty, the work list, actions. */
#include "chunkserver/chain/chain_internal.h"

#include <stdlib.h>

#include "common/base/banned.h"

enum { WORK_CAPACITY_FIRST = 32 };

void chain_options_defaults(struct chain_options *ret_options)
{
    *ret_options = (struct chain_options){.chunks_max = 8192,
                                          .chunk_pending_max = 64,
                                          .held_max = 1024,
                                          .held_ms = 2000,
                                          .reads_max = 4096,
                                          .tombstones_max = 65536,
                                          .tombstone_ms = 600000,
                                          .retry_ms = 200,
                                          .successor_ms = 4000,
                                          .call_ms = 10000,
                                          .resync_jobs_max = 4,
                                          .resync_chunks_max = 8,
                                          .resync_batch = 256,
                                          .resync_run_blocks = 64,
                                          .resync_runs_max = 4,
                                          .resync_lock_blocks = 256,
                                          .resync_lock_ms = 100,
                                          .resync_burst = 1 << 20,
                                          .resync_redo_max = 8192};
}

struct chain *chain_create(const struct chain_options *options)
{
    CHECK(options->target != 0 && options->chunks_max > 0);
    CHECK(options->resync_chunks_max > 0 && options->resync_chunks_max <= RESYNC_CHUNKS_MAX);
    struct chain *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->magic = CHAIN_MAGIC;
    c->options = *options;
    c->next_id = 1;
    map_init(&c->shards, options->incarnation);
    map_init(&c->chunks, options->incarnation);
    map_init(&c->actions, options->incarnation);
    map_init(&c->tombstones, options->incarnation);
    list_init(&c->idle);
    list_init(&c->dead);
    list_init(&c->rerun);
    list_init(&c->graveyard);
    list_init(&c->pace.waiting);
    return c;
}

void chain_destroy(struct chain *c)
{
    if (!c)
        return;
    CHECK_OBJ(c, CHAIN_MAGIC);
    struct chain_work_list sink = {0};
    // cppcheck-suppress autoVariables ; c itself is freed below
    c->work = &sink;
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&c->shards, &cursor));)
        shard_free(c, e->value);
    cursor = 0;
    for (struct map_entry *e; (e = map_next(&c->actions, &cursor));)
        free(e->value);
    tombstones_release(c);
    graveyard_empty(c);
    map_release(&c->shards);
    map_release(&c->chunks);
    map_release(&c->actions);
    map_release(&c->tombstones);
    chain_work_list_release(&sink);
    free(c);
}

void chain_work_list_release(struct chain_work_list *list)
{
    free(list->items);
    *list = (struct chain_work_list){0};
}

uint64_t chain_next_id(struct chain *c)
{
    return c->next_id++;
}

bool chain_has_lease(const struct chain *c)
{
    return c->now_ms < c->lease_expires_ms;
}

struct chain_work *work_add(struct chain *c, enum chain_work_kind kind, const struct shard *s)
{
    struct chain_work_list *list = c->work;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : WORK_CAPACITY_FIRST;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        CHECK(list->items != NULL);
    }
    struct chain_work *w = &list->items[list->count++];
    *w = (struct chain_work){.kind = kind};
    if (s) {
        w->copies = s->copies;
        w->shard = s->number;
        w->epoch = s->epoch;
    }
    return w;
}

struct chain_work *work_action(struct chain *c, enum chain_work_kind kind, const struct shard *s,
                               const struct action *a)
{
    struct chain_work *w = work_add(c, kind, s);
    w->id = a->id;
    w->chunk = a->chunk_id;
    return w;
}

void work_reply(struct chain *c, uint64_t request, int status)
{
    CHECK(request != 0);
    struct chain_work *w = work_add(c, CHAIN_WORK_REPLY, NULL);
    w->request = request;
    w->status = status;
}

void work_refresh(struct chain *c)
{
    for (size_t i = 0; i < c->work->count; i++)
        if (c->work->items[i].kind == CHAIN_WORK_REFRESH)
            return;
    work_add(c, CHAIN_WORK_REFRESH, NULL);
}

struct action *action_create(struct chain *c, enum action_kind kind, struct shard *s,
                             struct chunk_state *chunk)
{
    struct action *a = calloc(1, sizeof *a);
    CHECK(a != NULL);
    a->id = chain_next_id(c);
    a->kind = kind;
    a->shard = s;
    a->epoch = s->epoch;
    a->chunk = chunk;
    if (chunk) {
        a->chunk_id = chunk->id;
        chunk->actions++;
        list_remove(&chunk->lru_node); /* busy: stays until chunk_run finds it idle */
    }
    (void)map_put(&c->actions, a->id, a);
    return a;
}

static void on_done(struct chain *c, const struct chain_done *done)
{
    struct action *a = map_remove(&c->actions, done->id);
    if (!a)
        return;
    struct chunk_state *k = a->chunk;
    if (k) {
        CHECK_OBJ(k, CHUNK_MAGIC);
        CHECK(k->actions > 0);
        k->actions--;
        k->pins++;
    }
    switch (a->kind) {
    case ACTION_STORE_OP:
        chunk_store_done(c, a, done);
        break;
    case ACTION_EXCLUSIVE:
        chunk_exclusive_done(c, a, done);
        break;
    case ACTION_LOAD:
    case ACTION_RESOLVE:
        chunk_load_done(c, a, done);
        break;
    case ACTION_READ:
        read_done(c, a, done);
        break;
    case ACTION_PASS:
        work_reply(c, a->request, done->status);
        c->work->items[c->work->count - 1].result = a->step ? done->id : 0;
        break;
    case ACTION_FORWARD:
        forward_done(c, a, done);
        break;
    case ACTION_JOB:
        resync_done(c, a, done);
        break;
    case ACTION_COPY:
        copy_done(c, a, done);
        break;
    }
    if (k) {
        k->pins--;
        chunk_run(c, k);
    }
    free(a);
}

static void on_tick(struct chain *c)
{
    tombstones_expire(c);
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&c->shards, &cursor));)
        shard_tick(c, e->value);
}

void chain_step(struct chain *c, const struct chain_event *event, struct chain_work_list *work)
{
    CHECK_OBJ(c, CHAIN_MAGIC);
    c->work = work;
    if (event->now_ms > c->now_ms)
        c->now_ms = event->now_ms;
    graveyard_empty(c);
    switch (event->kind) {
    case CHAIN_EVENT_TICK:
        on_tick(c);
        break;
    case CHAIN_EVENT_LEASE:
        c->lease_expires_ms = event->u.lease.expires_ms;
        break;
    case CHAIN_EVENT_VIEW:
        shard_set_view(c, &event->u.view);
        break;
    case CHAIN_EVENT_DONE:
        on_done(c, &event->u.done);
        break;
    case CHAIN_EVENT_LINK_UP:
        members_link_up(c, event->u.target);
        break;
    case CHAIN_EVENT_RATE:
        pace_set(c, event->u.rate);
        break;
    case CHAIN_EVENT_DELETE:
        entry_delete(c, event);
        break;
    case CHAIN_EVENT_WRITE:
    case CHAIN_EVENT_CHANGE:
        entry_client(c, event);
        break;
    case CHAIN_EVENT_READ:
        entry_read(c, event);
        break;
    case CHAIN_EVENT_CHAIN_OP:
        entry_chain_op(c, event);
        break;
    case CHAIN_EVENT_RESYNC_INVENTORY:
    case CHAIN_EVENT_RESYNC_CRCS:
    case CHAIN_EVENT_RESYNC_WRITE:
    case CHAIN_EVENT_RESYNC_FINISH:
    case CHAIN_EVENT_RESYNC_SEAL:
    case CHAIN_EVENT_REPAIR_READ:
        target_request(c, event);
        break;
    }
    pace_serve(c);
    while (!list_empty(&c->rerun)) {
        struct chunk_state *k = CONTAINER_OF(c->rerun.next, struct chunk_state, rerun_node);
        list_remove(&k->rerun_node);
        chunk_run(c, k);
    }
    c->work = NULL;
}

struct chain_counters chain_counters(const struct chain *c)
{
    return c->counters;
}

size_t chain_busy_count(const struct chain *c)
{
    return c->op_count + c->read_count + c->actions.count;
}
