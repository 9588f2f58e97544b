/* Clients: one operation at a time each, sent again under the same id until it is answered. */
#include "tests/sim/chain_sim.h"

#include "common/base/banned.h"

enum { ATTEMPT_MS = 700 };

static void choose(struct world *w, struct client *c)
{
    c->shard = (unsigned)prng_below(&w->prng, w->shard_count);
    unsigned slot = (unsigned)prng_below(&w->prng, SLOTS);
    unsigned generation = w->generation[c->shard][slot];
    c->chunk = slot * GENERATIONS + generation;
    uint64_t roll = prng_below(&w->prng, 100);
    uint32_t first = (uint32_t)prng_below(&w->prng, BLOCKS);
    uint32_t count = 1 + (uint32_t)prng_below(&w->prng, BLOCKS - first);
    c->offset = first * BLOCK_SIZE;
    c->length = count * BLOCK_SIZE;
    c->flags = 0;
    if (roll < 30)
        c->kind = 0;
    else if (roll < 80) {
        c->kind = CHAIN_WRITE;
        c->flags = CHUNK_WRITE_CREATE | (roll >= 75 ? CHUNK_WRITE_SYNC : 0);
    } else if (roll < 88)
        c->kind = CHAIN_SYNC;
    else if (roll < 93)
        c->kind = CHAIN_TRUNCATE;
    else if (roll < 98 || generation + 1 >= GENERATIONS)
        c->kind = CHAIN_ZERO;
    else {
        c->kind = CHAIN_DELETE;
        w->generation[c->shard][slot]++; /* the metadata drops it first */
    }
}

void client_next(struct world *w, unsigned i)
{
    struct client *c = &w->clients[i];
    if (c->busy || w->failed || !w->faults)
        return;
    choose(w, c);
    c->busy = true;
    c->op++;
    c->intents[c->op % INTENTS] =
        (struct intent){c->op, c->kind, c->offset, c->length,
                        c->kind == CHAIN_WRITE ? (uint64_t)(i + 1) << 32 | c->op : 0};
    c->attempts = 0;
    client_send(w, i);
}

static unsigned pick_server(struct world *w, const struct client *c)
{
    struct chain_view chain = c->seen[c->shard];
    unsigned any = (unsigned)prng_below(&w->prng, chain.member_count);
    if (!c->kind && prng_chance(&w->prng, 150))
        return chain.member[any] - 1; /* one that is not in sync, or leaves, must refuse (D2) */
    if (c->kind)
        return chain.member[0] - 1;
    any = (unsigned)prng_below(&w->prng, chain.insync_count);
    if (chain.member[any] == chain.leaving)
        any = (any + 1) % chain.insync_count;
    return chain.member[any] - 1;
}

void client_send(struct world *w, unsigned i)
{
    struct client *c = &w->clients[i];
    struct history *h = &w->history[c->shard][c->chunk];
    if (!c->kind) {
        c->floor = h->read_floor;
        c->resets = h->resets;
        c->reads_reset = h->reads_reset;
    } else if (c->attempts == 0) {
        c->resets = h->resets;
        c->had_ack_floor = h->acked >= 0;
    }
    c->attempts++;
    if (c->seen[c->shard].epoch == 0 || c->attempts > 1 || prng_chance(&w->prng, i % 2 ? 300 : 30))
        c->seen[c->shard] = leader_chain(w, c->shard);
    c->attempt = ++w->next;
    struct sim_event *timeout = sim_schedule(w, ATTEMPT_MS, SIM_CLIENT_TIMEOUT);
    timeout->peer = i;
    timeout->attempt = c->attempt;
    if (w->faults && prng_chance(&w->prng, 10))
        return; /* lost */
    /* Some are long under way: late packets of operations given up (D12). */
    int64_t delay_ms = w->faults && prng_chance(&w->prng, 30)
                           ? (int64_t)prng_between(&w->prng, 300, 3000)
                           : sim_delay(w, 2);
    struct sim_event *e = sim_schedule(w, delay_ms, SIM_CLIENT_REQUEST);
    e->peer = i;
    e->server = pick_server(w, c);
    e->attempt = c->attempt;
    e->work = (struct chain_work){.op_kind = (enum chain_kind)c->kind,
                                  .shard = w->leader.row[c->shard],
                                  .copies = w->leader.copies[c->shard],
                                  .epoch = c->seen[c->shard].epoch,
                                  .chunk = sim_chunk_id(c->shard, c->chunk),
                                  .session = i + 1,
                                  .op = c->op,
                                  .offset = c->offset,
                                  .length = c->length,
                                  .flags = c->flags};
}

static void finished(struct world *w, unsigned i)
{
    w->clients[i].busy = false;
    w->ops_done++;
    int64_t pause_ms = sim_delay(w, 5);
    if (w->sleepy && prng_chance(&w->prng, w->sleepy))
        pause_ms += (int64_t)prng_between(&w->prng, LEASE_MS, 4 * LEASE_MS);
    sim_schedule(w, pause_ms, SIM_CLIENT)->peer = i;
}

void client_reply(struct world *w, struct sim_event *e)
{
    struct client *c = &w->clients[e->peer];
    if (!c->busy || e->attempt != c->attempt)
        return;
    bool final =
        e->status == 0 || err_retry(e->status) == RETRY_NEVER || e->status == -ERR_LOST_CHUNK;
    sim_trace(w, "client %u: op %lu kind %u shard %u chunk %u -> %s %lu/%lu", e->peer,
              (unsigned long)c->op, c->kind, c->shard, c->chunk, err_name(e->status),
              (unsigned long)e->result.content.version.epoch,
              (unsigned long)e->result.content.version.seq);
    if (!final) {
        struct sim_event *again = sim_schedule(w, 20 + sim_delay(w, 20), SIM_CLIENT_TIMEOUT);
        again->peer = e->peer;
        again->attempt = c->attempt;
        return;
    }
    if (c->kind)
        oracle_acked(w, e->server, c, e->status, e->result.content.version);
    else
        oracle_read(w, c, e->status, &e->result.content);
    finished(w, e->peer);
}
