/* How many bytes a second resyncs may send from here: a token bucket. Each run of blocks goes as a
 * whole once there is a token, and is paid for afterwards, so that a slow rate does not need a
 * large bucket. Copies that wait take turns: a small chunk is not behind all of a large one. */
#include "chunkserver/chain/chain_internal.h"

#include "common/base/banned.h"

enum { REFILL_MS_MAX = 10000 };
#define RATE_MAX ((uint64_t)1 << 40) /* no limit; and no product below overflows */

static int64_t capacity(const struct chain *c)
{
    uint64_t bytes = c->pace.rate / 4;
    if (bytes < c->options.resync_burst)
        bytes = c->options.resync_burst;
    return (int64_t)bytes * 1000;
}

static void refill(struct chain *c)
{
    struct pace *p = &c->pace;
    int64_t passed_ms = c->now_ms - p->refilled_ms, full = capacity(c);
    p->refilled_ms = c->now_ms;
    p->tokens += (int64_t)p->rate * (passed_ms < REFILL_MS_MAX ? passed_ms : REFILL_MS_MAX);
    if (p->tokens > full)
        p->tokens = full;
}

/* What was owed under the old rate is forgotten but for one second's of the new one. */
void pace_set(struct chain *c, uint64_t rate)
{
    struct pace *p = &c->pace;
    bool was_limited = p->rate != 0;
    p->rate = rate < RATE_MAX ? rate : 0;
    if (p->rate == 0)
        return;
    if (was_limited)
        refill(c);
    else
        p->tokens = capacity(c);
    p->refilled_ms = c->now_ms;
    if (p->tokens < -(int64_t)p->rate * 1000)
        p->tokens = -(int64_t)p->rate * 1000;
}

bool pace_grants(struct chain *c, struct copy *copy)
{
    struct pace *p = &c->pace;
#ifdef PLANT_D25
    return true;
#endif
    if (p->rate == 0)
        return true;
    if (copy->granted) {
        copy->granted = false;
        return true;
    }
    refill(c);
    if (p->tokens > 0 && list_empty(&p->waiting))
        return true;
    if (list_empty(&copy->pace_node)) /* who waits already keeps his place */
        list_append(&p->waiting, &copy->pace_node);
    return false;
}

void pace_take(struct chain *c, uint32_t bytes)
{
    if (c->pace.rate != 0)
        c->pace.tokens -= (int64_t)bytes * 1000;
}

void pace_serve(struct chain *c)
{
    struct pace *p = &c->pace;
    if (list_empty(&p->waiting))
        return;
    refill(c);
    while (!list_empty(&p->waiting) && (p->rate == 0 || p->tokens > 0)) {
        struct copy *copy = CONTAINER_OF(p->waiting.next, struct copy, pace_node);
        list_remove(&copy->pace_node);
        copy->granted = true;
        chunk_run(c, copy->chunk);
    }
}
