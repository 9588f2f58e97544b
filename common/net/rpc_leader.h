/* Calls that go to the metadata leader, wherever it is. Everything happens on the loop's thread.
 *
 * Holds one peer per metaserver address. Follows the hint of ERR_NOT_LEADER; when a server is
 * unreachable, closes the connection or falls silent, goes on to the next address, with pauses of
 * 10 ms growing to 200 ms (with jitter) between rounds. A call that did not reach a verdict is
 * sent again with the same bytes, so with the same session and sequence, until its deadline, if
 * msg_may_repeat(code); one that may not be repeated is sent again only when it surely did not
 * run (ERR_NOT_LEADER, no connection). While no leader is known, one call at a time looks
 * for it; when it is found all waiting calls leave at once, in the order they were made.
 *
 * Silence: a leader from which nothing has come for try_timeout_ms, not even the answer to a ping,
 * is left, so that a paused one does not use up the whole deadline. */
#ifndef CAIRN_NET_RPC_LEADER_H
#define CAIRN_NET_RPC_LEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/loop.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_types.h"

struct rpc_leader;

enum { RPC_LEADER_ADDRESSES_MAX = 16 };

struct rpc_leader_options {
    const char *const *addresses; /* "host:port" each; copied; 1 .. RPC_LEADER_ADDRESSES_MAX */
    unsigned address_count;
    const char *source; /* as in rpc_peer_options; borrowed for the object's life */
    const struct rpc_identity *identity; /* ours; borrowed for the object's life */
    rpc_table_version_fn *table_version; /* may be NULL: 0 */
    /* The leader's connection was found (its address) or lost (NULL); may be NULL. On the loop. For
     * those who must tell a new leader something of their own accord (open files, sessions). */
    void (*changed)(void *arg, const char *address);
    void *arg; /* of the two functions */
    /* Learn from each leader, and every few seconds, where the metaservers are, and go on with that
     * list; only while the leader names itself as we know it. */
    bool follow;
    unsigned try_timeout_ms; /* 0 = 1,000 */
    unsigned calls_max;      /* 0 = 65,536 unanswered; more is -ERR_LIMIT */
    uint64_t bytes_max;      /* 0 = 64 MiB of request bodies held; more is -ERR_LIMIT */
    uint64_t seed;           /* of the jitter */
};

struct rpc_leader *rpc_leader_create(struct loop *loop, const struct rpc_leader_options *options);
/* Calls still unanswered end with -ERR_CANCELLED from inside this function. */
void rpc_leader_destroy(struct rpc_leader *leader);

/* As rpc_call; payloads are not supported (payload_count 0) and deadline_ms is required. The
 * callback gets status 0, the leader's own error (is_remote), -ERR_TIMEOUT with a detail that lists
 * every address and its last problem ("127.0.0.1:7001 connection refused; ..."),
 * -ERR_CLOSED for a call that may not be repeated and whose fate is unknown, -ERR_LIMIT, or
 * -ERR_CANCELLED. */
uint64_t rpc_leader_call(struct rpc_leader *leader, const struct rpc_call_options *options,
                         rpc_reply_fn *fn, void *arg);
/* As rpc_cancel. */
bool rpc_leader_cancel(struct rpc_leader *leader, uint64_t call_id);

/* The address of the leader, NULL while none is known. Valid until the next iteration. */
const char *rpc_leader_address(const struct rpc_leader *leader);
/* Its connection's peer, NULL while none is known: for one-way frames. Borrowed for this moment. */
struct rpc_peer *rpc_leader_peer(const struct rpc_leader *leader);
/* Replaces the list (after a change of the metaservers). Addresses that stay keep their
 * connections; calls on their way to one that goes are sent again as after a close. */
void rpc_leader_set_addresses(struct rpc_leader *leader, const char *const *addresses,
                              unsigned address_count);
/* What is known about each address, as in the detail of a time-out. */
void rpc_leader_describe(const struct rpc_leader *leader, char *ret_text, size_t size);

#endif
