/* Learning from the leader where the metaservers are now, so that a program outlives all those that
 * it was started with. */
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/rpc_leader_internal.h"
#include "common/wire/codec.h"
#include "common/base/banned.h"

enum { FOLLOW_MS = 3000, ANSWER_MS = 2000, ADDRESS_SIZE = 130 };

struct learned {
    char text[RPC_LEADER_ADDRESSES_MAX][ADDRESS_SIZE];
    const char *addresses[RPC_LEADER_ADDRESSES_MAX];
    unsigned count;
};

/* The voters; an answer of another shape changes nothing (R26). */
static bool take_list(const struct rpc_reply *reply, struct learned *ret)
{
    struct msg_meta_member_r r;
    struct rec_meta_status row;
    if (reply->status != 0 || reply->code != MSG_meta_member_r ||
        decode_meta_member_r(reply->body, reply->version, &r) != 0 || r.role != MEMBER_LEADER)
        return false;
    struct slice cursor = r.metas.raw;
    while (rec_meta_status_next(&cursor, &row)) {
        if (!row.voter)
            continue;
        if (ret->count == RPC_LEADER_ADDRESSES_MAX || row.address.size == 0 ||
            row.address.size >= ADDRESS_SIZE || memchr(row.address.data, '\0', row.address.size))
            return false;
        char *text = ret->text[ret->count];
        (void)snprintf(text, ADDRESS_SIZE, "%.*s", (int)row.address.size,
                       (const char *)row.address.data);
        ret->addresses[ret->count++] = text;
    }
    return ret->count > 0;
}

static bool has(const struct learned *list, const char *address)
{
    for (unsigned i = 0; i < list->count; i++)
        if (strcmp(list->addresses[i], address) == 0)
            return true;
    return false;
}

/* Only a leader that calls itself by the name we know it by: behind a forwarded port the addresses
 * of the cluster are of no use to us. */
static void on_list(void *arg, struct rpc_reply *reply)
{
    struct rpc_leader *leader = arg;
    struct learned list = {.count = 0};
    leader->is_following = false;
    if (leader->is_doomed)
        return;
    loop_timer_start_ms(&leader->follow_timer, FOLLOW_MS);
    if (leader->found && take_list(reply, &list) && has(&list, leader->found->address))
        rpc_leader_set_addresses(leader, list.addresses, list.count);
}

static void on_follow(void *arg)
{
    struct rpc_leader *leader = arg;
    struct bytes body = {0};
    if (!leader->found || leader->is_following)
        return; /* the next leader_found begins anew */
    leader->is_following = true;
    encode_meta_member(&body, &(struct msg_meta_member){0});
    struct rpc_call_options call = {.code = MSG_meta_member,
                                    .body = bytes_slice(&body),
                                    .deadline_ms = loop_now_ms() + ANSWER_MS};
    (void)rpc_call(leader->found->peer, &call, on_list, leader);
    bytes_release(&body);
}

void leader_follow_init(struct rpc_leader *leader)
{
    loop_timer_init(&leader->follow_timer, leader->loop, on_follow, leader);
}

void leader_follow_begin(struct rpc_leader *leader)
{
    if (leader->options.follow && !leader->is_following)
        loop_timer_start_ms(&leader->follow_timer, 0);
}

void leader_follow_stop(struct rpc_leader *leader)
{
    loop_timer_stop(&leader->follow_timer);
}
