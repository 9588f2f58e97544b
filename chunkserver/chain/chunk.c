/* Chunks with state in memory: a bounded table, idle ones dropped oldest first; the memory of
 * operation ids; tombstones of deleted chunks. */
#include "chunkserver/chain/chain_internal.h"

#include <stdlib.h>

#include "common/base/banned.h"

struct chunk_state *chunk_find(const struct chain *c, const struct chunk_id *id)
{
    return map_get_bytes(&c->chunks, chunk_key(id));
}

bool chunk_is_idle(const struct chunk_state *k)
{
    return list_empty(&k->pending) && list_empty(&k->syncs) && list_empty(&k->arrivals) &&
           list_empty(&k->reads) && list_empty(&k->parked) && list_empty(&k->copies) &&
           !k->exclusive && k->actions == 0 && k->pins == 0;
}

void chunk_free(struct chain *c, struct chunk_state *k)
{
    CHECK_OBJ(k, CHUNK_MAGIC);
    (void)map_remove_bytes(&c->chunks, chunk_key(&k->id));
    list_remove(&k->shard_node);
    list_remove(&k->lru_node);
    list_remove(&k->rerun_node);
    free(k->memory);
    k->magic = 0;
    free(k);
}

void chunk_idle_check(struct chain *c, struct chunk_state *k)
{
    list_remove(&k->lru_node);
    if (chunk_is_idle(k))
        list_append(&c->idle, &k->lru_node);
}

struct chunk_state *chunk_get(struct chain *c, struct shard *s, const struct chunk_id *id)
{
    struct chunk_state *k = chunk_find(c, id);
    if (k)
        return k->shard == s ? k : NULL;
    if (c->chunks.count >= c->options.chunks_max) {
        if (list_empty(&c->idle))
            return NULL;
        chunk_free(c, CONTAINER_OF(c->idle.next, struct chunk_state, lru_node));
    }
    k = calloc(1, sizeof *k);
    CHECK(k != NULL);
    k->magic = CHUNK_MAGIC;
    k->id = *id;
    k->shard = s;
    list_append(&s->chunks, &k->shard_node);
    list_init(&k->lru_node);
    list_init(&k->rerun_node);
    list_init(&k->pending);
    list_init(&k->syncs);
    list_init(&k->arrivals);
    list_init(&k->reads);
    list_init(&k->parked);
    list_init(&k->copies);
    for (unsigned i = 0; i < s->member_count; i++)
        if (s->members[i].job && resync_covers(s->members[i].job, id))
            k->mirrored |= member_bit(i);
    (void)map_put_bytes(&c->chunks, chunk_key(id), k);
    return k;
}

const struct op_id *memory_find(const struct chunk_state *k, uint64_t session, uint64_t op)
{
    for (unsigned i = 0; k->memory && i < CHAIN_OP_MEMORY; i++)
        if (k->memory[i].session == session && k->memory[i].op == op &&
            !version_is_zero(k->memory[i].version))
            return &k->memory[i];
    return NULL;
}

void memory_add(struct chunk_state *k, const struct op *op)
{
    if (!k->memory) {
        k->memory = calloc(CHAIN_OP_MEMORY, sizeof *k->memory);
        CHECK(k->memory != NULL);
    }
    k->memory[k->memory_next] = (struct op_id){op->session, op->op, op->version};
    k->memory_next = (k->memory_next + 1) % CHAIN_OP_MEMORY;
}

void memory_forget(struct chunk_state *k)
{
    free(k->memory);
    k->memory = NULL;
    k->memory_next = 0;
}

static void tombstone_drop(struct chain *c, struct tombstone *t)
{
    (void)map_remove_bytes(&c->tombstones, chunk_key(&t->id));
    list_remove(&t->node);
    free(t);
}

void tombstone_add(struct chain *c, const struct chunk_id *id)
{
    struct tombstone *t = map_get_bytes(&c->tombstones, chunk_key(id));
    if (t)
        tombstone_drop(c, t);
    while (c->tombstones.count >= c->options.tombstones_max)
        tombstone_drop(c, CONTAINER_OF(c->dead.next, struct tombstone, node));
    t = calloc(1, sizeof *t);
    CHECK(t != NULL);
    t->id = *id;
    t->expires_ms = c->now_ms + c->options.tombstone_ms;
    list_append(&c->dead, &t->node);
    (void)map_put_bytes(&c->tombstones, chunk_key(id), t);
}

bool tombstone_has(struct chain *c, const struct chunk_id *id)
{
#ifdef PLANT_D12
    return false;
#endif
    return map_get_bytes(&c->tombstones, chunk_key(id)) != NULL;
}

void tombstones_expire(struct chain *c)
{
    while (!list_empty(&c->dead)) {
        struct tombstone *t = CONTAINER_OF(c->dead.next, struct tombstone, node);
        if (t->expires_ms > c->now_ms)
            return;
        tombstone_drop(c, t);
    }
}

void tombstones_release(struct chain *c)
{
    while (!list_empty(&c->dead))
        tombstone_drop(c, CONTAINER_OF(c->dead.next, struct tombstone, node));
}
