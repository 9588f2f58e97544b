/* Finding the metadata leader: hints, rounds, pauses, silence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/rpc_leader_internal.h"
#include "common/wire/codec.h"
#include "common/base/banned.h"

enum {
    PAUSE_MIN_MS = 10,
    PAUSE_MAX_MS = 200,
    PAUSE_DOUBLINGS_MAX = 5,
    /* Hints followed in a row without a pause: two servers may each take the other for the leader
     * for as long as an election lasts. */
    HINTS_MAX = 3,
};

/* ---- servers ---- */

static int index_of(const struct rpc_leader *leader, const struct leader_server *server)
{
    for (unsigned i = 0; i < leader->server_count; i++)
        if (leader->servers[i] == server)
            return (int)i;
    return -1;
}

static int index_of_address(const struct rpc_leader *leader, const char *address)
{
    for (unsigned i = 0; i < leader->server_count; i++)
        if (strcmp(leader->servers[i]->address, address) == 0)
            return (int)i;
    return -1;
}

static void lost(struct rpc_leader *leader, const struct leader_server *server)
{
    CHECK(server != NULL);
    if (leader->found != server)
        return;
    leader->found = NULL;
    if (leader->options.changed)
        leader->options.changed(leader->options.arg, NULL);
}

static void on_state(void *arg, struct rpc_peer *peer, bool is_up, const char *why)
{
    struct leader_server *server = arg;
    (void)peer;
    if (is_up)
        return;
    (void)snprintf(server->problem, sizeof server->problem, "%s", why);
    if (server->leader->is_doomed || server->leader->found != server)
        return;
    /* Ask the others first: a server that closes is more likely gone than back. */
    leader_enter(server->leader);
    int index = index_of(server->leader, server);
    server->leader->next = ((unsigned)index + 1) % server->leader->server_count;
    lost(server->leader, server);
    (void)leader_leave(server->leader);
}

static uint64_t table_version(void *arg)
{
    const struct rpc_leader_options *o = &((struct leader_server *)arg)->leader->options;
    return o->table_version ? o->table_version(o->arg) : 0;
}

struct leader_server *leader_server_add(struct rpc_leader *leader, const char *address)
{
    if (leader->server_count == RPC_LEADER_ADDRESSES_MAX)
        return NULL;
    struct leader_server *server = calloc(1, sizeof *server);
    CHECK(server != NULL);
    server->leader = leader;
    server->address = strdup(address);
    CHECK(server->address != NULL);
    struct rpc_peer_options options = {.address = address,
                                       .source = leader->options.source,
                                       .identity = leader->options.identity,
                                       .state = on_state,
                                       .table_version = table_version,
                                       .arg = server,
                                       .calls_max = leader->options.calls_max + 16,
                                       .queued_bytes_max = leader->options.bytes_max * 2};
    server->peer = rpc_peer_create(leader->loop, &options);
    leader->servers[leader->server_count++] = server;
    return server;
}

/* Its tries end as after a close. */
static void server_remove(struct rpc_leader *leader, unsigned index)
{
    struct leader_server *server = leader->servers[index];
    leader->server_count--;
    for (unsigned i = index; i < leader->server_count; i++)
        leader->servers[i] = leader->servers[i + 1];
    lost(leader, server);
    rpc_peer_destroy(server->peer);
    free(server->address);
    free(server);
}

/* ---- moving on ---- */

static void on_pause_over(void *arg)
{
    struct rpc_leader *leader = arg;
    leader->is_pausing = false;
    loop_defer_schedule(&leader->advance);
}

static void pause_round(struct rpc_leader *leader)
{
    unsigned doublings =
        leader->pauses > PAUSE_DOUBLINGS_MAX ? PAUSE_DOUBLINGS_MAX : leader->pauses;
    uint64_t pause_ms = (uint64_t)PAUSE_MIN_MS << doublings;
    if (pause_ms > PAUSE_MAX_MS)
        pause_ms = PAUSE_MAX_MS;
    leader->pauses++;
    leader->asked = leader->hints = 0;
    leader->is_pausing = true;
    loop_timer_start_ms(&leader->pause_timer,
                        prng_between(&leader->prng, (pause_ms + 1) / 2, pause_ms));
}

static void ask_next(struct rpc_leader *leader, unsigned after)
{
    leader->next = (after + 1) % leader->server_count;
    if (++leader->asked >= leader->server_count)
        pause_round(leader);
    loop_defer_schedule(&leader->advance);
}

static bool follow_hint(struct rpc_leader *leader, unsigned from, const char *hint)
{
    if (!hint[0] || leader->hints >= HINTS_MAX)
        return false;
    int index = index_of_address(leader, hint);
    if (index < 0 && leader_server_add(leader, hint))
        index = (int)leader->server_count - 1;
    if (index < 0 || (unsigned)index == from)
        return false;
    leader->hints++;
    leader->next = (unsigned)index;
    loop_defer_schedule(&leader->advance);
    return true;
}

static void note_problem(struct leader_server *server, const struct rpc_reply *reply)
{
    const char *text = reply->detail;
    size_t size = strlen(server->address);
    if (reply->status == -ERR_NOT_LEADER && reply->is_remote)
        (void)snprintf(server->problem, sizeof server->problem, "is not the leader%s%s",
                       reply->leader[0] ? ", names " : "", reply->leader);
    else if (strncmp(text, server->address, size) == 0 && text[size] == ' ')
        (void)snprintf(server->problem, sizeof server->problem, "%s", text + size + 1);
    else
        (void)snprintf(server->problem, sizeof server->problem, "%s", text);
}

void leader_try_failed(struct rpc_leader *leader, struct leader_server *server,
                       const struct rpc_reply *reply)
{
    int index = index_of(leader, server);
    if (index < 0)
        return;
    note_problem(server, reply);
    /* Many calls may come back from the same server: only the first one moves on. */
    bool is_current = leader->found ? leader->found == server : leader->next == (unsigned)index;
    if (!is_current || leader->is_pausing)
        return;
    lost(leader, server);
    if (leader->is_doomed)
        return;
    if (reply->status != -ERR_NOT_LEADER || !follow_hint(leader, (unsigned)index, reply->leader))
        ask_next(leader, (unsigned)index);
}

void leader_found(struct rpc_leader *leader, struct leader_server *server)
{
    /* A late answer from a former leader does not unseat the present one. */
    if (leader->found || index_of(leader, server) < 0)
        return;
    leader->found = server;
    leader->asked = leader->hints = leader->pauses = 0;
    leader->is_pausing = false;
    loop_timer_stop(&leader->pause_timer);
    server->problem[0] = '\0';
    loop_defer_schedule(&leader->advance);
    leader_follow_begin(leader);
    if (leader->options.changed)
        leader->options.changed(leader->options.arg, server->address);
}

/* Sends what may be sent: everything to the leader, or one call to the next candidate. */
static void on_advance(void *arg)
{
    struct rpc_leader *leader = arg;
    if (leader->is_pausing || leader->waiting_count == 0)
        return;
    if (leader->next >= leader->server_count)
        leader->next = 0;
    struct leader_server *to = leader->found ? leader->found : leader->servers[leader->next];
    if (!leader->found)
        LIST_EACH(node, &leader->calls)
    if (CONTAINER_OF(node, struct leader_call, node)->server == to)
        return; /* already being asked */
    LIST_EACH(node, &leader->calls)
    {
        struct leader_call *call = CONTAINER_OF(node, struct leader_call, node);
        if (call->try_id)
            continue;
        leader_send_try(call, to);
        if (!leader->found)
            return;
    }
}

/* ---- silence ---- */

static void on_pong(void *arg, struct rpc_reply *reply)
{
    struct leader_server *server = arg;
    (void)reply; /* that it came is noted by the peer */
    server->is_pinged = false;
}

void leader_check_silence(struct rpc_leader *leader, uint64_t now_ms)
{
    if (leader->is_pausing || leader->next >= leader->server_count)
        return;
    struct leader_server *server = leader->found ? leader->found : leader->servers[leader->next];
    uint64_t since_ms = UINT64_MAX, timeout_ms = leader->options.try_timeout_ms;
    LIST_EACH(node, &leader->calls)
    {
        struct leader_call *call = CONTAINER_OF(node, struct leader_call, node);
        if (call->server == server && call->tried_ms < since_ms)
            since_ms = call->tried_ms;
    }
    uint64_t heard_ms = rpc_peer_heard_ms(server->peer);
    if (since_ms != UINT64_MAX && heard_ms > since_ms)
        since_ms = heard_ms;
    if (since_ms == UINT64_MAX || now_ms < since_ms + timeout_ms / 2)
        return;
    if (now_ms < since_ms + timeout_ms) {
        if (!server->is_pinged && rpc_peer_is_up(server->peer)) {
            struct rpc_call_options options = {.code = MSG_ping,
                                               .deadline_ms = now_ms + 10 * timeout_ms};
            server->is_pinged = true;
            (void)rpc_call(server->peer, &options, on_pong, server);
        }
        return;
    }
    (void)snprintf(server->problem, sizeof server->problem, "silent for %llu ms",
                   (unsigned long long)(now_ms - since_ms));
    int index = index_of(leader, server);
    leader_drop_tries(leader, server);
    lost(leader, server);
    if (!leader->is_doomed)
        ask_next(leader, (unsigned)index);
}

/* ---- what is known ---- */

const char *rpc_leader_address(const struct rpc_leader *leader)
{
    return leader->found ? leader->found->address : NULL;
}

struct rpc_peer *rpc_leader_peer(const struct rpc_leader *leader)
{
    return leader->found ? leader->found->peer : NULL;
}

void rpc_leader_describe(const struct rpc_leader *leader, char *ret_text, size_t size)
{
    size_t at = 0;
    ret_text[0] = '\0';
    for (unsigned i = 0; i < leader->server_count && at < size; i++) {
        const struct leader_server *server = leader->servers[i];
        const char *problem = server->problem[0] ? server->problem : "did not answer in time";
        int length =
            snprintf(ret_text + at, size - at, "%s%s %s", i ? "; " : "", server->address, problem);
        at += length > 0 ? (size_t)length : 0;
    }
}

void rpc_leader_set_addresses(struct rpc_leader *leader, const char *const *addresses,
                              unsigned address_count)
{
    CHECK_OBJ(leader, LEADER_MAGIC);
    CHECK(loop_is_here(leader->loop));
    CHECK(address_count >= 1 && address_count <= RPC_LEADER_ADDRESSES_MAX);
    leader_enter(leader);
    for (unsigned i = leader->server_count; i-- > 0 && !leader->is_doomed;) {
        bool stays = false;
        for (unsigned j = 0; j < address_count && !stays; j++)
            stays = strcmp(leader->servers[i]->address, addresses[j]) == 0;
        if (!stays)
            server_remove(leader, i);
    }
    for (unsigned j = 0; j < address_count && !leader->is_doomed; j++)
        if (index_of_address(leader, addresses[j]) < 0)
            (void)leader_server_add(leader, addresses[j]);
    if (!leader->is_doomed)
        loop_defer_schedule(&leader->advance);
    (void)leader_leave(leader);
}

void leader_find_init(struct rpc_leader *leader)
{
    loop_timer_init(&leader->pause_timer, leader->loop, on_pause_over, leader);
    loop_defer_init(&leader->advance, leader->loop, on_advance, leader);
    leader_follow_init(leader);
}

void leader_find_release(struct rpc_leader *leader)
{
    loop_timer_stop(&leader->pause_timer);
    leader_follow_stop(leader);
    while (leader->server_count > 0) {
        leader->found = NULL;
        server_remove(leader, leader->server_count - 1);
    }
    loop_defer_cancel(&leader->advance);
}
