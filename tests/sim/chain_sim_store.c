/* The disk of a simulated chunkserver: content as stamps, what a crash leaves of it. */
#include "tests/sim/chain_sim.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

uint32_t block_crc(uint64_t stamp)
{
    uint64_t mixed = stamp * 0x9e3779b97f4a7c15ull;
    return stamp ? (uint32_t)(mixed >> 32) | 1u : 0;
}

bool content_equal(const struct content *a, const struct content *b)
{
    if (a->exists != b->exists)
        return false;
    return !a->exists ||
           (a->length == b->length && memcmp(a->block, b->block, sizeof a->block) == 0);
}

static void write_blocks(struct content *content, const struct chain_work *work)
{
    uint32_t first = work->offset / BLOCK_SIZE;
    uint32_t end = first + work->length / BLOCK_SIZE;
    for (uint32_t i = first; i < end && i < BLOCKS; i++)
        content->block[i] =
            work->kind == CHAIN_WORK_STORE_ZERO ? 0 : work->session << 32 | work->op;
    if (work->kind == CHAIN_WORK_STORE_WRITE && end > content->length)
        content->length = end;
}

void content_apply(struct content *content, const struct chain_work *work)
{
    switch (work->kind) {
    case CHAIN_WORK_STORE_WRITE:
    case CHAIN_WORK_STORE_ZERO:
        write_blocks(content, work);
        content->exists = true;
        break;
    case CHAIN_WORK_STORE_TRUNCATE:
        content->length = work->length / BLOCK_SIZE;
        for (uint32_t i = content->length; i < BLOCKS; i++)
            content->block[i] = 0;
        break;
    case CHAIN_WORK_STORE_DELETE:
        memset(content, 0, sizeof *content);
        return;
    default:
        UNREACHABLE("no change: %d", work->kind);
    }
    content->version = work->version;
}

static bool is_change(enum chain_work_kind kind)
{
    return (kind >= CHAIN_WORK_STORE_WRITE && kind <= CHAIN_WORK_STORE_DELETE &&
            kind != CHAIN_WORK_STORE_SYNC) ||
           kind == CHAIN_WORK_STORE_RESYNC_WRITE || kind == CHAIN_WORK_STORE_RESYNC_FINISH;
}

static struct stored *stored_of(struct world *w, unsigned server, const struct chain_work *work)
{
    return &w->servers[server].store[sim_shard_of(&work->chunk)][sim_chunk_number(&work->chunk)];
}

void store_start_change(struct world *w, unsigned server, const struct chain_work *work)
{
    if (!is_change(work->kind))
        return;
    struct stored *s = stored_of(w, server, work);
    if (s->writing)
        sim_fail(w, "server %u: two changes of one chunk at a time", server);
    s->writing = true;
    s->change = *work;
    if (work->kind == CHAIN_WORK_STORE_RESYNC_WRITE) {
        CHECK(work->payload != NULL);
        memcpy(s->change_blocks, work->payload->data, sizeof s->change_blocks);
    }
}

static void resync_change(struct stored *s, const struct chain_work *work)
{
    struct content *now = &s->now;
    if (work->kind == CHAIN_WORK_STORE_RESYNC_WRITE) {
        uint32_t first = work->offset / BLOCK_SIZE;
        uint32_t end = first + work->length / BLOCK_SIZE;
        for (uint32_t i = first; i < end && i < BLOCKS; i++)
            now->block[i] = s->change_blocks[i];
        if (end > now->length)
            now->length = end < BLOCKS ? end : BLOCKS;
        now->version = (struct chunk_version){0};
    } else {
        now->length = work->length / BLOCK_SIZE;
        for (uint32_t i = now->length; i < BLOCKS; i++)
            now->block[i] = 0;
        now->version = work->version;
        s->suspect = false;
    }
    now->exists = true;
}

static int change_finish(struct world *w, unsigned server, const struct chain_work *work)
{
    struct stored *s = stored_of(w, server, work);
    bool full = w->servers[server].no_space_until_ms > w->now_ms;
    s->writing = false;
    if (full && prng_chance(&w->prng, 500) &&
        (work->kind == CHAIN_WORK_STORE_WRITE || work->kind == CHAIN_WORK_STORE_RESYNC_WRITE)) {
        oracle_refused(w, server, work);
        return -ERR_NO_SPACE;
    }
    if (work->kind == CHAIN_WORK_STORE_RESYNC_WRITE ||
        work->kind == CHAIN_WORK_STORE_RESYNC_FINISH) {
        resync_change(s, work);
        if (work->kind == CHAIN_WORK_STORE_RESYNC_FINISH)
            oracle_finished(w, server, sim_shard_of(&work->chunk), sim_chunk_number(&work->chunk));
        return 0;
    }
    struct content before = s->now;
    if (!before.exists && work->kind != CHAIN_WORK_STORE_DELETE &&
        (work->kind != CHAIN_WORK_STORE_WRITE || !work->create))
        return -ERR_LOST_CHUNK;
    content_apply(&s->now, work);
    if (work->kind == CHAIN_WORK_STORE_DELETE)
        s->suspect = false;
    else
        oracle_changed(w, server, work, &before, &s->now);
    if (work->sync)
        s->durable = s->now;
    return 0;
}

static void list_chunks(struct world *w, unsigned server, const struct chain_work *work,
                        struct result *ret_result)
{
    unsigned shard = sim_shard_at(w, work->copies, work->shard);
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct stored *s = &w->servers[server].store[shard][i];
        struct chunk_id id = sim_chunk_id(shard, i);
        if (!s->now.exists || (work->after.inode && chunk_id_compare(&id, &work->after) <= 0))
            continue;
        if (ret_result->entry_count == work->count_max)
            return;
        ret_result->entries[ret_result->entry_count++] =
            (struct chain_inventory){id, s->now.version, s->suspect};
    }
    ret_result->end = true;
}

static void sync_shard(struct world *w, unsigned server, unsigned shard)
{
    for (unsigned i = 0; i < CHUNKS; i++)
        w->servers[server].store[shard][i].durable = w->servers[server].store[shard][i].now;
}

int store_finish(struct world *w, unsigned server, const struct chain_work *work,
                 struct result *ret_result, struct chain_done *done)
{
    struct stored *s = stored_of(w, server, work);
    if (is_change(work->kind))
        return change_finish(w, server, work);
    ret_result->content = s->now;
    switch (work->kind) {
    case CHAIN_WORK_STORE_SYNC:
        s->durable = s->now;
        break;
    case CHAIN_WORK_STORE_LOAD:
        done->exists = s->now.exists;
        done->suspect = s->suspect;
        done->version = s->now.version;
        break;
    case CHAIN_WORK_STORE_READ:
        done->version = s->now.version;
        return s->now.exists ? 0 : -ERR_LOST_CHUNK;
    case CHAIN_WORK_STORE_LIST:
        list_chunks(w, server, work, ret_result);
        break;
    case CHAIN_WORK_STORE_CRCS:
        for (unsigned i = 0; s->now.exists && i < s->now.length; i++)
            ret_result->crcs[ret_result->crc_count++] = block_crc(s->now.block[i]);
        break;
    case CHAIN_WORK_STORE_RESOLVE:
        s->now.version = work->version;
        oracle_resolved(w, sim_shard_of(&work->chunk), sim_chunk_number(&work->chunk), &s->now);
        s->suspect = false;
        s->durable = s->now;
        break;
    case CHAIN_WORK_STORE_SYNC_SHARD:
        sync_shard(w, server, sim_shard_at(w, work->copies, work->shard));
        break;
    default:
        sim_fail(w, "unexpected store action %d", work->kind);
    }
    return 0;
}

/* A change in flight: each of its blocks old, new or torn, the header old. */
static void tear(struct world *w, struct stored *s, unsigned shard, unsigned chunk)
{
    struct content after = s->now;
    const struct chain_work *change = &s->change;
    if (change->kind == CHAIN_WORK_STORE_DELETE)
        return;
    if (change->kind == CHAIN_WORK_STORE_RESYNC_WRITE ||
        change->kind == CHAIN_WORK_STORE_RESYNC_FINISH) {
        s->suspect = s->now.exists;
        return;
    }
    if (!s->now.exists)
        return;
    content_apply(&after, change);
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (after.block[i] == s->now.block[i])
            continue;
        uint64_t choice = prng_below(&w->prng, 3);
        if (choice == 0)
            continue;
        s->now.block[i] = choice == 1 ? after.block[i] : TORN_BIT | ++w->next;
        oracle_torn(w, shard, chunk, s->now.block[i]);
        if (s->now.length <= i)
            s->now.length = i + 1;
    }
    s->suspect = true;
}

/* Any subset of the unsynced changes is gone; header and blocks by themselves. */
static void lose_unsynced(struct world *w, struct stored *s)
{
    if (content_equal(&s->now, &s->durable) &&
        chunk_version_compare(&s->now.version, &s->durable.version) == 0)
        return;
    if (s->now.exists != s->durable.exists) {
        if (prng_chance(&w->prng, 500))
            s->now = s->durable;
        if (s->now.exists)
            s->suspect = true;
        return;
    }
    if (!s->now.exists)
        return;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (prng_chance(&w->prng, 500))
            s->now.block[i] = s->durable.block[i];
    if (prng_chance(&w->prng, 500)) {
        s->now.version = s->durable.version;
        s->now.length = s->durable.length;
    }
    for (unsigned i = s->now.length; i < BLOCKS; i++)
        s->now.block[i] = 0;
    s->suspect = true;
}

void store_crash(struct world *w, unsigned server, bool power)
{
    for (unsigned shard = 0; shard < w->shard_count; shard++)
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            struct stored *s = &w->servers[server].store[shard][chunk];
            if (s->writing)
                tear(w, s, shard, chunk);
            s->writing = false;
            if (power) {
                lose_unsynced(w, s);
                s->durable = s->now;
            }
            s->suspect = s->suspect && s->now.exists;
        }
}
