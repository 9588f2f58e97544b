/* Reads at any in-sync replica. A read first waits until everything accepted here before it is
 * stored: a member behind us may have shown it to a reader already. Then its answer waits until
 * every in-sync member has what it shows, and the lease is looked at again (D13). */
#include "chunkserver/chain/chain_internal.h"

#include <stdlib.h>

#include "common/base/banned.h"

static int serve_check(const struct chain *c, const struct shard *s)
{
#ifdef PLANT_D2
    if (s->self >= 0)
        return chain_has_lease(c) ? 0 : -ERR_NO_LEASE;
#endif
    bool may_serve = shard_is_insync(s) && !shard_is_leaving(s);
#ifdef PLANT_LEAVING
    may_serve = shard_is_insync(s);
#endif
    if (!may_serve)
        return -ERR_NOT_SYNCED;
    return chain_has_lease(c) ? 0 : -ERR_NO_LEASE;
}

static void read_emit(struct chain *c, struct shard *s, struct chunk_state *k, struct op *take_op)
{
    struct action *a = action_create(c, ACTION_READ, s, k);
    a->chunk_id = take_op->id;
    a->request = take_op->request;
    struct chain_work *w = work_action(c, CHAIN_WORK_STORE_READ, s, a);
    w->offset = take_op->offset;
    w->length = take_op->length;
    w->keep = true;
    take_op->request = 0;
    op_destroy(c, take_op);
}

/* Some op accepted up to `version` is not stored yet. */
static bool is_behind(const struct chunk_state *k, struct chunk_version version)
{
    LIST_EACH(node, &k->pending)
    {
        const struct op *op = CONTAINER_OF(node, struct op, node);
        if (!op->stored)
            return version_compare(op->version, version) <= 0;
    }
    return false;
}

void read_place(struct chain *c, struct shard *s, struct chunk_state *k, struct op *take_op)
{
    c->read_count++;
    c->counters.reads++;
    bool park = k && is_behind(k, k->latest);
#ifdef PLANT_D13
    park = false;
#endif
    if (!park) {
        read_emit(c, s, k, take_op);
        return;
    }
    take_op->version = k->latest;
    list_append(&k->parked, &take_op->node);
}

void reads_unpark(struct chain *c, struct chunk_state *k)
{
    LIST_EACH(node, &k->parked)
    {
        struct op *op = CONTAINER_OF(node, struct op, node);
        if (is_behind(k, op->version))
            break;
        list_remove(node);
        read_emit(c, k->shard, k, op);
    }
}

void read_start(struct chain *c, struct shard *s, struct op *take_op)
{
    int error = serve_check(c, s);
    if (!error && c->read_count >= c->options.reads_max)
        error = -ERR_BUSY;
    struct chunk_state *k = chunk_find(c, &take_op->id);
    if (!error && c->options.has_suspects) {
        k = chunk_get(c, s, &take_op->id);
        if (!k || k->arrival_count >= c->options.chunk_pending_max)
            error = -ERR_BUSY;
    }
    if (error) {
        op_answer(c, take_op, error);
        op_destroy(c, take_op);
    } else if (c->options.has_suspects) {
        k->arrival_count++;
        list_append(&k->arrivals, &take_op->node);
        chunk_run(c, k);
    } else
        read_place(c, s, k && k->shard == s ? k : NULL, take_op);
}

static void reply(struct chain *c, const struct shard *s, uint64_t request, uint64_t result,
                  int status)
{
    CHECK(c->read_count > 0);
    c->read_count--;
    work_reply(c, request, status ? status : serve_check(c, s));
    c->work->items[c->work->count - 1].result = result;
}

static bool is_acknowledged(const struct chunk_state *k, struct chunk_version version)
{
#ifdef PLANT_D13
    return true;
#endif
    if (!k || list_empty(&k->pending))
        return true;
    const struct op *first = CONTAINER_OF(k->pending.next, struct op, node);
    return version_compare(version, first->version) < 0;
}

void read_done(struct chain *c, const struct action *a, const struct chain_done *done)
{
    struct chunk_state *k = a->chunk ? a->chunk : chunk_find(c, &a->chunk_id);
    if (done->status || is_acknowledged(k, done->version)) {
        reply(c, a->shard, a->request, a->id, done->status);
        return;
    }
    struct read *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    *r = (struct read){.request = a->request, .result = a->id, .version = done->version};
    list_append(&k->reads, &r->node);
    c->counters.reads_waited++;
}

void reads_settle(struct chain *c, struct chunk_state *k)
{
    LIST_EACH(node, &k->reads)
    {
        struct read *r = CONTAINER_OF(node, struct read, node);
        if (!is_acknowledged(k, r->version))
            continue;
        list_remove(node);
        reply(c, k->shard, r->request, r->result, 0);
        free(r);
    }
}

void reads_fail(struct chain *c, struct chunk_state *k, int status)
{
    LIST_EACH(parked, &k->parked)
    {
        struct op *op = CONTAINER_OF(parked, struct op, node);
        CHECK(c->read_count > 0);
        c->read_count--;
        op->version = (struct chunk_version){0};
        op_answer(c, op, status);
        op_destroy(c, op);
    }
    LIST_EACH(node, &k->reads)
    {
        struct read *r = CONTAINER_OF(node, struct read, node);
        list_remove(node);
        reply(c, k->shard, r->request, r->result, status);
        free(r);
    }
}
