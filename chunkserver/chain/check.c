/* All invariants of the core's state. */
#include "chunkserver/chain/chain_internal.h"

#include "common/base/banned.h"

static const char *chunk_check(const struct chunk_state *k)
{
    if (k->magic != CHUNK_MAGIC)
        return "a chunk is no chunk";
    unsigned count = 0;
    bool stored_end = false;
    struct chunk_version last = {0};
    LIST_EACH(node, &k->pending)
    {
        const struct op *op = CONTAINER_OF(node, struct op, node);
        count++;
        if (version_compare(op->version, last) <= 0)
            return "pending operations are out of order";
        if (op->stored && stored_end)
            return "an operation was stored before the one it follows";
        stored_end = stored_end || !op->stored;
        last = op->version;
    }
    if (count != k->pending_count)
        return "the count of pending operations is wrong";
    if (count && !k->reload && !version_equal(last, k->latest))
        return "the last pending operation is not the latest version";
    unsigned locked = 0;
    LIST_EACH(copy_node, &k->copies)
    {
        locked += CONTAINER_OF(copy_node, struct copy, node)->locked;
    }
    if (locked != k->locked)
        return "a chunk is locked by nobody";
    if ((k->lru_node.next != &k->lru_node) != chunk_is_idle(k))
        return "the list of idle chunks is wrong";
    if (k->load == CHUNK_READY && !k->reload && !k->exclusive && !k->locked &&
        !list_empty(&k->arrivals) &&
        CONTAINER_OF(k->arrivals.next, struct op, node)->kind <= CHAIN_DELETE)
        return "a request waits for nothing";
    return NULL;
}

static const char *job_check(const struct shard *s, unsigned i)
{
    const struct resync *job = s->members[i].job;
    if (!job)
        return s->members[i].complete ? "complete without a job" : NULL;
    if (!shard_is_last(s))
        return "a resync without being its source";
    if (s->members[i].complete != (job->state >= RESYNC_SEALING))
        return "complete in the wrong state";
    LIST_EACH(node, &s->chunks)
    {
        const struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        if ((k->mirrored & member_bit(i)) && map_get_bytes(&job->redo_map, chunk_key(&k->id)))
            return "a chunk is mirrored and to be copied";
        if (s->members[i].complete && !(k->mirrored & member_bit(i)))
            return "a chunk is not mirrored to a complete member";
    }
    return NULL;
}

static const char *shard_check(const struct shard *s)
{
    unsigned pending = 0;
    LIST_EACH(node, &s->chunks)
    {
        const struct chunk_state *k = CONTAINER_OF(node, struct chunk_state, shard_node);
        const char *broken = chunk_check(k);
        if (broken)
            return broken;
        pending += k->pending_count;
        LIST_EACH(sync, &k->syncs)
        {
            pending++;
        }
    }
    if (pending != s->pending_count)
        return "the shard's count of pending operations is wrong";
    for (unsigned i = 0; i < s->member_count; i++) {
        const char *broken = job_check(s, i);
        if (broken)
            return broken;
    }
    return NULL;
}

const char *chain_check(const struct chain *c)
{
    CHECK_OBJ(c, CHAIN_MAGIC);
    if (c->chunks.count > c->options.chunks_max)
        return "too many chunks in memory";
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&c->shards, &cursor));) {
        const char *broken = shard_check(e->value);
        if (broken)
            return broken;
    }
    return NULL;
}
