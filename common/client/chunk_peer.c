/* Connections to chunkservers, and the choice of the replica to read from. */
#include <stdlib.h>
#include <string.h>

#include "common/client/chunk_io.h"
#include "common/client/file_data.h"
#include "common/ring/shard_table.h"

#include "common/base/banned.h"

/* A replica with so much more to do than another one loses the reads it would get by rule. */
#define LOAD_SLACK_BYTES ((uint64_t)4 << 20)

static void on_state(void *arg, struct rpc_peer *rpc, bool is_up, const char *why)
{
    (void)rpc, (void)why;
    struct chunk_peer *peer = arg;
    if (is_up)
        peer->avoid_until_ms = 0;
}

static uint64_t table_version(void *arg)
{
    const struct chunk_peer *peer = arg;
    return client_table_version(peer->c);
}

static void connect_peer(struct chunk_peer *peer, const char *address)
{
    peer->address = strdup(address);
    CHECK(peer->address);
    peer->rpc = rpc_peer_create(peer->c->loop, &(struct rpc_peer_options){
                                                   .address = peer->address,
                                                   .identity = &peer->c->identity,
                                                   .state = on_state,
                                                   .table_version = table_version,
                                                   .arg = peer,
                                               });
}

void chunk_peers_init(struct chunk_peers *peers, struct client *c)
{
    map_init(&peers->map, prng_next(&c->prng));
}

void chunk_peers_release(struct chunk_peers *peers)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&peers->map, &cursor)) != NULL;) {
        struct chunk_peer *peer = e->value;
        rpc_peer_destroy(peer->rpc);
        free(peer->address);
        free(peer);
    }
    map_release(&peers->map);
}

struct chunk_peer *chunk_peer_find(struct client *c, uint32_t target)
{
    return map_get(&c->data->peers.map, target);
}

struct chunk_peer *chunk_peer_get(struct client *c, uint32_t target)
{
    const struct target *row = shard_table_target(client_shard_table(c), target);
    struct chunk_peer *peer = chunk_peer_find(c, target);
    if (!row)
        return NULL;
    if (peer && strcmp(peer->address, row->address) == 0)
        return peer;
    if (!peer) {
        peer = calloc(1, sizeof *peer);
        CHECK(peer);
        peer->c = c;
        peer->target = target;
        map_put(&c->data->peers.map, target, peer);
        connect_peer(peer, row->address);
        return peer;
    }
    /* It moved. What is under way on the old connection ends and is tried again. */
    struct rpc_peer *old = peer->rpc;
    char *old_address = peer->address;
    connect_peer(peer, row->address);
    rpc_peer_destroy(old);
    free(old_address);
    return peer;
}

static bool is_in(const uint32_t *ids, unsigned count, uint32_t id)
{
    for (unsigned i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static uint64_t load_of(struct client *c, uint32_t target, uint64_t now_ms)
{
    const struct chunk_peer *peer = chunk_peer_find(c, target);
    if (!peer)
        return 0;
    return peer->flying_bytes + (peer->avoid_until_ms > now_ms ? UINT64_C(1) << 40 : 0);
}

uint32_t chunk_peer_choose(struct client *c, const uint32_t *members, unsigned count,
                           const struct chunk_io *io)
{
    uint64_t now_ms = loop_now_ms(), least = UINT64_MAX, preferred_load = UINT64_MAX;
    uint32_t best = 0, preferred = 0;
    uint64_t range = (io->id.inode * 31 + io->id.index) * 67 + (io->offset >> 20);
    unsigned first = count ? (unsigned)(range * UINT64_C(0x9e3779b97f4a7c15) >> 33) % count : 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t target = members[(first + i) % count];
        if (is_in(io->bad, io->bad_count, target) || is_in(io->lost, io->lost_count, target))
            continue;
        uint64_t load = load_of(c, target, now_ms);
        if (preferred == 0) {
            preferred = target;
            preferred_load = load;
        }
        if (load < least) {
            least = load;
            best = target;
        }
    }
    return preferred_load <= least || preferred_load - least < LOAD_SLACK_BYTES ? preferred : best;
}
