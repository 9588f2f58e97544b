/* The shard table: fetched at the start, again when any frame tells of a newer one. */
#include "common/client/table.h"

#include <stdlib.h>

#include "common/client/meta_op.h"
#include "common/ring/shard_table.h"

#include "common/base/banned.h"

enum { RETRY_MS = 200 };

struct table_waiter {
    struct list node;
    struct client *c;
    uint64_t than_version;
    struct loop_timer timer;
    client_done_fn *done;
    void *arg;
};

static void fetch(struct client *c);

const struct shard_table *client_shard_table(const struct client *c)
{
    return c->table.table;
}

uint64_t client_table_version(void *arg)
{
    const struct client *c = arg;
    return c->table.version;
}

static void waiter_end(struct table_waiter *w, int status)
{
    loop_timer_stop(&w->timer);
    list_remove(&w->node);
    w->done(w->arg, status);
    free(w);
}

/* A waiter's callback may add waiters, which belong to the next round. */
static void wake(struct client *c, int status)
{
    struct list round;
    list_init(&round);
    LIST_EACH(node, &c->table.waiters)
    {
        struct table_waiter *w = CONTAINER_OF(node, struct table_waiter, node);
        if (status == 0 && c->table.version <= w->than_version)
            continue;
        list_remove(node);
        list_append(&round, node);
    }
    while (!list_empty(&round))
        waiter_end(CONTAINER_OF(round.next, struct table_waiter, node), status);
}

static void fetch_if_behind(struct client *c)
{
    struct client_table *t = &c->table;
    bool behind = t->heard > t->version || !list_empty(&t->waiters);
    if (behind && !t->fetching && !c->closing && !loop_timer_is_running(&t->timer))
        fetch(c);
}

static int apply(struct client *c, const struct rpc_reply *reply)
{
    struct client_table *t = &c->table;
    struct msg_shard_table_r r;
    if (reply->code != MSG_shard_table_r)
        return -ERR_PROTOCOL;
    int status = decode_shard_table_r(reply->body, reply->version, &r);
    if (status == 0 && (r.shard_count == 0 || r.shard_count > SHARD_COUNT_MAX))
        status = -ERR_PROTOCOL;
    if (status != 0)
        return status;
    t->answered = true; /* version 0: too few targets have registered so far */
    if (r.version <= t->version)
        return 0;
    status = shard_table_update(t->table, &r);
    if (status == 0)
        t->version = r.version;
    if (t->heard < t->version)
        t->heard = t->version;
    return status;
}

static void finish_fetch(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    uint64_t before = c->table.version;
    c->table.fetching = false;
    if (c->closing)
        return;
    if (status == 0)
        status = apply(c, reply);
    if (status == 0 && c->table.version > before) {
        wake(c, 0);
        fetch_if_behind(c);
    } else if (c->table.heard > c->table.version || !list_empty(&c->table.waiters)) {
        loop_timer_start_ms(&c->table.timer, RETRY_MS);
    }
    if (status == 0)
        client_progress(c);
}

static void fetch(struct client *c)
{
    c->table.fetching = true;
    c->counters.table_fetches++;
    struct meta_op *op = meta_op_new(c, finish_fetch, NULL, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_shard_table(&op->call.body, &(struct msg_shard_table){.since = c->table.version});
    meta_op_start(op, META_PLAIN, MSG_shard_table);
}

static void on_retry(void *arg)
{
    fetch_if_behind(arg);
}

void client_heard_table(struct client *c, uint64_t version)
{
    if (version > c->table.heard)
        c->table.heard = version;
    if (c->table.heard > c->table.version)
        fetch_if_behind(c);
}

static void on_waiter_timeout(void *arg)
{
    waiter_end(arg, -ERR_TIMEOUT);
}

void client_newer_table(struct client *c, uint64_t than_version, uint64_t deadline_ms,
                        client_done_fn *done, void *arg)
{
    if (c->table.version > than_version) {
        done(arg, 0);
        return;
    }
    struct table_waiter *w = calloc(1, sizeof *w);
    CHECK(w);
    *w = (struct table_waiter){.c = c, .than_version = than_version, .done = done, .arg = arg};
    list_append(&c->table.waiters, &w->node);
    loop_timer_init(&w->timer, c->loop, on_waiter_timeout, w);
    loop_timer_start_at_ms(&w->timer, deadline_ms);
    fetch_if_behind(c);
}

void table_init(struct client *c)
{
    c->table.table = calloc(1, sizeof *c->table.table);
    CHECK(c->table.table);
    shard_table_init(c->table.table, 1); /* the first answer replaces it */
    list_init(&c->table.waiters);
    loop_timer_init(&c->table.timer, c->loop, on_retry, c);
}

void table_release(struct client *c)
{
    loop_timer_stop(&c->table.timer);
    wake(c, -ERR_CANCELLED);
    shard_table_release(c->table.table);
    free(c->table.table);
    c->table.table = NULL;
}
