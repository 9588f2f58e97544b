/* Connections to the other metaservers: they follow the configuration, and answer strangers.
 *
 * A node may hear from others before its configuration names them: a new one from its first leader,
 * a follower from a candidate that was added since. Each message says where its sender is found. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/raft_driver_private.h"

static struct meta_peer *find(struct raft_driver *d, uint32_t id)
{
    for (unsigned i = 0; i < d->peer_count; i++)
        if (d->peers[i].id == id)
            return &d->peers[i];
    return NULL;
}

static bool is_at(const struct meta_peer *peer, struct slice address)
{
    return strlen(peer->address) == address.size &&
           memcmp(peer->address, address.data, address.size) == 0;
}

static void close_peer(struct raft_driver *d, struct meta_peer *peer)
{
    if (peer->rpc)
        rpc_peer_destroy(peer->rpc);
    free(peer->address);
    *peer = d->peers[--d->peer_count];
}

static struct meta_peer *open_peer(struct raft_driver *d, uint32_t id, struct slice address,
                                   bool is_member)
{
    const struct raft_driver_options *o = &d->options;
    struct meta_peer *peer = &d->peers[d->peer_count++];
    *peer = (struct meta_peer){.id = id,
                               .address = strndup((const char *)address.data, address.size),
                               .is_member = is_member};
    CHECK(peer->address != NULL);
    struct rpc_peer_options options = {.address = peer->address,
                                       .source = o->source,
                                       .identity = o->identity,
                                       .table_version = o->table_version,
                                       .arg = o->arg,
                                       .connect_timeout_ms = 1000,
                                       .stall_timeout_ms = 3000,
                                       .keep_connected = is_member};
    if (id != o->self)
        peer->rpc = rpc_peer_create(o->loop, &options);
    log_info("raft.peer", "id=m%u address=%s member=%d", id, peer->address, is_member);
    return peer;
}

/* A member that left, and one whose address is another now (it was removed and added). The one that
 * a checkpoint comes from stays until that ends. */
void raft_peers_follow(struct raft_driver *d)
{
    const struct raft_config *config = raft_driver_config(d);
    for (unsigned i = d->peer_count; i-- > 0;) {
        struct meta_peer *peer = &d->peers[i];
        const struct raft_server *server = raft_config_find(config, peer->id);
        bool stays = server && peer->is_member &&
                     is_at(peer, slice_of(server->address, server->address_size));
        if (stays || (peer->is_member == false && !server))
            continue;
        if (peer->id == raft_fetch_from(d))
            peer->is_member = server != NULL;
        else
            close_peer(d, peer);
    }
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_server *server = &config->servers[i];
        if (!find(d, server->id))
            (void)open_peer(d, server->id, slice_of(server->address, server->address_size), true);
    }
}

static void make_room(struct raft_driver *d)
{
    struct meta_peer *oldest = NULL;
    unsigned strangers = 0;
    for (unsigned i = 0; i < d->peer_count; i++) {
        struct meta_peer *peer = &d->peers[i];
        strangers += !peer->is_member;
        if (!peer->is_member && peer->id != raft_fetch_from(d) &&
            (!oldest || peer->heard < oldest->heard))
            oldest = peer;
    }
    if (oldest && strangers >= STRANGERS_MAX - 1)
        close_peer(d, oldest);
}

void raft_peers_learn(struct raft_driver *d, uint32_t id, struct slice address)
{
    struct meta_peer *peer = find(d, id);
    if (id == d->options.self || address.size == 0 || address.size > RAFT_ADDRESS_MAX ||
        memchr(address.data, '\0', address.size) || (peer && peer->is_member))
        return;
    if (peer && !is_at(peer, address)) {
        if (id == raft_fetch_from(d))
            return;
        close_peer(d, peer);
        peer = NULL;
    }
    if (!peer) {
        make_room(d);
        peer = open_peer(d, id, address, false);
    }
    peer->heard = ++d->stranger_count;
}

void raft_peers_release(struct raft_driver *d)
{
    while (d->peer_count > 0)
        close_peer(d, &d->peers[d->peer_count - 1]);
}

struct rpc_peer *raft_peers_find(const struct raft_driver *d, uint32_t id)
{
    for (unsigned i = 0; i < d->peer_count; i++)
        if (d->peers[i].id == id)
            return d->peers[i].rpc;
    return NULL;
}
