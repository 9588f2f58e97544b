/* What must hold: the history of every chunk as a tree of versions, what was acknowledged, synced
 * and read in it. */
#include "tests/sim/chain_sim.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

static struct history *history_of(struct world *w, unsigned shard, unsigned chunk)
{
    return &w->history[shard][chunk];
}

static int node_find(const struct history *h, struct chunk_version version)
{
    for (int i = h->count - 1; i >= 0; i--)
        if (chunk_version_compare(&h->nodes[i].version, &version) == 0)
            return i;
    return -1;
}

static int node_add(struct world *w, struct history *h, struct chunk_version version, int parent,
                    const struct content *content)
{
    if (h->count == NODES_MAX) {
        sim_fail(w, "too many versions for the oracle");
        return h->count - 1;
    }
    if (h->count % 64 == 0) {
        h->nodes = realloc(h->nodes, (size_t)(h->count + 64) * sizeof *h->nodes);
        CHECK(h->nodes != NULL);
    }
    h->nodes[h->count] = (struct node){version, parent, *content};
    return h->count++;
}

static bool descends(const struct history *h, int node, int from)
{
    while (node >= 0 && node != from)
        node = h->nodes[node].parent;
    return node == from;
}

/* What the client asked for, by rules of its own: bytes behind an end that is cut off are zeros
 * when the chunk grows again (D9). */
static void intent_apply(struct content *content, const struct intent *intent)
{
    uint32_t first = intent->offset / BLOCK_SIZE, count = intent->length / BLOCK_SIZE;
    if (intent->kind == CHAIN_TRUNCATE) {
        for (uint32_t i = count; i < BLOCKS; i++)
            content->block[i] = 0;
        content->length = count;
        return;
    }
    for (uint32_t i = first; i < first + count; i++)
        content->block[i] = intent->stamp;
    if (intent->kind == CHAIN_WRITE && first + count > content->length)
        content->length = first + count;
}

static bool is_as_asked(const struct world *w, const struct content *parent,
                        const struct chain_work *work, const struct content *after)
{
    const struct intent *intent = &w->clients[work->session - 1].intents[work->op % INTENTS];
    struct content expected = {0};
    if (intent->op != work->op)
        return true; /* too long ago */
    if (parent)
        expected = *parent;
    expected.exists = true;
    intent_apply(&expected, intent);
    return content_equal(&expected, after);
}

void oracle_changed(struct world *w, unsigned server, const struct chain_work *work,
                    const struct content *before, const struct content *after)
{
    unsigned shard = sim_shard_of(&work->chunk), chunk = sim_chunk_number(&work->chunk);
    struct history *h = history_of(w, shard, chunk);
    int parent = node_find(h, work->previous);
    if (before->exists && chunk_version_compare(&before->version, &work->previous) != 0)
        sim_fail(w,
                 "server %u shard %u chunk %u: %lu/%lu applied over %lu/%lu, not its predecessor",
                 server, shard, chunk, (unsigned long)work->version.epoch,
                 (unsigned long)work->version.seq, (unsigned long)before->version.epoch,
                 (unsigned long)before->version.seq);
    int node = node_find(h, work->version);
    bool has_base = !before->exists || parent >= 0;
    if (has_base && !is_as_asked(w, before->exists ? &h->nodes[parent].content : NULL, work, after))
        sim_fail(w, "server %u shard %u chunk %u: op %lu of client %lu left something else", server,
                 shard, chunk, (unsigned long)work->op, (unsigned long)work->session - 1);
    if (node < 0)
        (void)node_add(w, h, work->version, parent, after);
    else if (!content_equal(&h->nodes[node].content, after))
        sim_fail(w, "server %u shard %u chunk %u: version %lu/%lu with unequal content", server,
                 shard, chunk, (unsigned long)work->version.epoch,
                 (unsigned long)work->version.seq);
}

/* The only one left in sync cannot store: what a reader saw elsewhere, and no writer had
 * acknowledged, may be gone. */
void oracle_refused(struct world *w, unsigned server, const struct chain_work *work)
{
    struct chain_view chain =
        shard_table_chain(&w->servers[server].table, work->copies, work->shard);
    struct history *h = history_of(w, sim_shard_of(&work->chunk), sim_chunk_number(&work->chunk));
    if (chain.insync_count != 1 || chain.member[0] != server + 1)
        return;
    h->read_floor = h->acked;
    h->reads_reset++;
}

void oracle_finished(struct world *w, unsigned server, unsigned shard, unsigned chunk)
{
    struct history *h = history_of(w, shard, chunk);
    const struct content *now = &w->servers[server].store[shard][chunk].now;
    int node = node_find(h, now->version);
    bool equal = node >= 0 && content_equal(&h->nodes[node].content, now);
    for (unsigned i = 0; node >= 0 && !equal && i < BLOCKS; i++)
        sim_trace(w, "block %u: %lx, should be %lx; length %u, %u", i, (unsigned long)now->block[i],
                  (unsigned long)h->nodes[node].content.block[i], now->length,
                  h->nodes[node].content.length);
    if (!equal)
        sim_fail(w, "server %u shard %u chunk %u: resync ended with wrong content", server, shard,
                 chunk);
}

void oracle_torn(struct world *w, unsigned shard, unsigned chunk, uint64_t value)
{
    struct history *h = history_of(w, shard, chunk);
    if (h->extra_count < 64)
        h->extra[h->extra_count++] = value;
}

/* The metadata dropped this generation: its delete is on the way, acknowledged or not. */
static bool is_dropped(const struct world *w, unsigned shard, unsigned chunk)
{
    return w->generation[shard][chunk / GENERATIONS] > chunk % GENERATIONS;
}

static bool value_is_legal(const struct history *h, unsigned block, uint64_t value, int base)
{
    for (int i = base < 0 ? 0 : base; i < h->count; i++)
        if (h->nodes[i].content.block[block] == value)
            return true;
    for (unsigned i = 0; i < h->extra_count; i++)
        if (h->extra[i] == value)
            return true;
    return h->extra_count == 64 || (base < 0 && value == 0);
}

/* The authority took its bytes as they are. Each block is one that the chunk had since it was last
 * synced (or acknowledged, where no power was lost). */
void oracle_resolved(struct world *w, unsigned shard, unsigned chunk, struct content *content)
{
    struct history *h = history_of(w, shard, chunk);
    int base = h->power_broken ? h->synced : h->acked;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (!is_dropped(w, shard, chunk) && !value_is_legal(h, i, content->block[i], base))
            sim_fail(w, "shard %u chunk %u block %u: %s data is gone: %lx", shard, chunk, i,
                     h->power_broken ? "synced" : "acknowledged", (unsigned long)content->block[i]);
    int node = node_add(w, h, content->version, -1, content);
    h->acked = h->read_floor = node;
    h->synced = node;
    h->broken = h->power_broken = false;
    h->resets++;
}

static const char *member_fault(const struct world *w, const struct history *h, unsigned shard,
                                unsigned chunk, unsigned server)
{
    const struct stored *s = &w->servers[server].store[shard][chunk];
    if (h->broken || h->acked < 0 || is_dropped(w, shard, chunk))
        return NULL;
    if (!s->now.exists)
        return "is missing";
    int node = node_find(h, s->now.version);
    if (node < 0 || !descends(h, node, h->acked))
        return "misses an acknowledged write";
    return content_equal(&h->nodes[node].content, &s->now) || s->writing ? NULL
                                                                         : "has other content";
}

static void chunk_check(struct world *w, unsigned shard, unsigned chunk)
{
    struct history *h = history_of(w, shard, chunk);
    for (unsigned i = 0; i < w->server_count; i++) {
        struct server *server = &w->servers[i];
        if (!server->alive || !leader_is_insync(w, shard, i) ||
            leader_target(w, i)->incarnation != server->incarnation)
            continue;
        const char *fault = member_fault(w, h, shard, chunk, i);
        if (fault)
            sim_fail(w, "shard %u chunk %u: in-sync server %u %s", shard, chunk, i, fault);
    }
}

/* Somebody in sync remembers the delete. */
static bool delete_is_known(const struct world *w, const struct history *h, unsigned shard)
{
    for (unsigned i = 0; i < w->server_count; i++)
        if (h->deleted_by[i] && w->servers[i].incarnation == h->deleted_by[i] &&
            leader_is_insync(w, shard, i))
            return true;
    return false;
}

void oracle_insync_check(struct world *w, unsigned shard)
{
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        struct history *h = history_of(w, shard, chunk);
        chunk_check(w, shard, chunk);
        h->delete_forgotten = h->delete_forgotten || (h->deleted && !delete_is_known(w, h, shard));
    }
}

/* Who came in sync between the delete and a repeat of it, which is answered from memory, need not
 * know of it: a resync brings no tombstones. */
static void deleted(struct world *w, struct history *h, unsigned shard,
                    struct chunk_version version)
{
    const struct shard *s = shard_table_shard(&w->leader.table, w->leader.copies[shard], shard);
    bool is_repeated = s && version.epoch < s->epoch;
    if (!h->deleted)
        h->count_at_delete = h->count;
    h->deleted = true;
    for (unsigned i = 0; i < w->server_count; i++)
        h->deleted_by[i] = leader_is_insync(w, shard, i) && w->servers[i].alive && !is_repeated
                               ? w->servers[i].incarnation
                               : 0;
}

void oracle_acked(struct world *w, unsigned server, const struct client *client, int status,
                  struct chunk_version version)
{
    struct history *h = history_of(w, client->shard, client->chunk);
    if (status) {
        if (status == -ERR_LOST_CHUNK && client->had_ack_floor && !h->broken &&
            h->resets == client->resets && !is_dropped(w, client->shard, client->chunk))
            sim_fail(w, "shard %u chunk %u: acknowledged and said to be lost", client->shard,
                     client->chunk);
        return;
    }
    if (client->kind == CHAIN_DELETE) {
        deleted(w, h, client->shard, version);
        chunk_check(w, client->shard, client->chunk);
        return;
    }
    if (h->deleted && !h->delete_forgotten && delete_is_known(w, h, client->shard) &&
        node_find(h, version) >= h->count_at_delete)
        sim_fail(w, "shard %u chunk %u: written after its delete (op %lu of client %lu)",
                 client->shard, client->chunk, (unsigned long)client->op,
                 (unsigned long)(client - w->clients));
    if (h->deleted || client->resets != h->resets || h->broken)
        return;
    int node = node_find(h, version);
    if (node < 0)
        sim_fail(w, "server %u acknowledged a version nobody stored: %lu/%lu", server,
                 (unsigned long)version.epoch, (unsigned long)version.seq);
    else if (h->acked < 0 || descends(h, node, h->acked))
        h->acked = node;
    else if (!descends(h, h->acked, node) && !is_dropped(w, client->shard, client->chunk))
        sim_fail(w, "shard %u chunk %u: two histories were acknowledged", client->shard,
                 client->chunk);
    bool synced = client->kind == CHAIN_SYNC || (client->flags & CHUNK_WRITE_SYNC);
    if (synced && node >= 0 && (h->synced < 0 || descends(h, node, h->synced)))
        h->synced = node;
    if (h->read_floor < 0 || descends(h, h->acked, h->read_floor))
        h->read_floor = h->acked;
    chunk_check(w, client->shard, client->chunk);
}

void oracle_read(struct world *w, const struct client *client, int status,
                 const struct content *content)
{
    struct history *h = history_of(w, client->shard, client->chunk);
    bool current =
        w->generation[client->shard][client->chunk / GENERATIONS] == client->chunk % GENERATIONS;
    if (client->resets != h->resets || h->broken || h->deleted || !current)
        return;
    if (status == -ERR_LOST_CHUNK) {
        if (client->floor >= 0 && !is_dropped(w, client->shard, client->chunk))
            sim_fail(w, "shard %u chunk %u: acknowledged, but a read says lost", client->shard,
                     client->chunk);
        return;
    }
    if (status)
        return;
    int node = node_find(h, content->version);
    if (node < 0 || !content_equal(&h->nodes[node].content, content))
        sim_fail(w, "shard %u chunk %u: a read returned what version %lu/%lu never held",
                 client->shard, client->chunk, (unsigned long)content->version.epoch,
                 (unsigned long)content->version.seq);
    else if (client->floor >= 0 && !descends(h, node, client->floor))
        sim_fail(w, "shard %u chunk %u: a read went back in time, from %lu/%lu to %lu/%lu",
                 client->shard, client->chunk, (unsigned long)h->nodes[client->floor].version.epoch,
                 (unsigned long)h->nodes[client->floor].version.seq,
                 (unsigned long)content->version.epoch, (unsigned long)content->version.seq);
    else if (h->read_floor < 0 || descends(h, node, h->read_floor))
        h->read_floor = node;
}

/* All in-sync members were down; this one returned first. Without a power cut everything
 * acknowledged is there; with one, everything synced. What was read but never acknowledged may be
 * gone. */
void oracle_authority(struct world *w, unsigned shard, unsigned server)
{
    bool power = w->servers[server].power_lost;
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        struct history *h = history_of(w, shard, chunk);
        const struct stored *s = &w->servers[server].store[shard][chunk];
        h->resets++;
        h->deleted = h->deleted && !(power && s->now.exists);
        if (s->suspect && s->now.exists) {
            h->broken = true;
            h->power_broken = h->power_broken || power;
            continue;
        }
        int node = s->now.exists ? node_find(h, s->now.version) : -1;
        int must = power ? h->synced : h->acked;
        bool gone = is_dropped(w, shard, chunk);
        if (must >= 0 && !gone && !h->broken && (node < 0 || !descends(h, node, must)))
            sim_fail(w, "shard %u chunk %u: the authority %u lost %s data", shard, chunk, server,
                     power ? "synced" : "acknowledged");
        h->acked = h->read_floor = node;
        if (node < 0)
            h->synced = -1;
        h->broken = h->power_broken = false;
    }
}

void oracle_end(struct world *w)
{
    for (unsigned shard = 0; shard < w->shard_count; shard++)
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            const struct history *h = history_of(w, shard, chunk);
            const struct content *first = NULL;
            chunk_check(w, shard, chunk);
            /* What nobody in sync remembers as deleted may come back in part; the inventory check
             * of the garbage collector takes it away again. */
            if (is_dropped(w, shard, chunk) && (h->delete_forgotten || !h->deleted))
                continue;
            for (unsigned i = 0; i < w->server_count; i++) {
                const struct content *now = &w->servers[i].store[shard][chunk].now;
                if (!leader_is_insync(w, shard, i))
                    continue;
                if (!first)
                    first = now;
                else if (!content_equal(first, now) ||
                         chunk_version_compare(&first->version, &now->version) != 0)
                    sim_fail(w, "shard %u chunk %u: replicas differ at the end", shard, chunk);
            }
        }
}
