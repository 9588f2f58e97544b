/* Asks single metaservers. */
#include "tools/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/net/loop.h"
#include "common/net/rpc_client.h"
#include "tools/connect.h"

#include "common/base/banned.h"

struct question {
    struct loop *loop;
    uint16_t wanted_code;
    int status;
    struct bytes *out;
    struct err_text *why;
};

static void on_reply(void *arg, struct rpc_reply *reply)
{
    struct question *q = arg;
    q->status = reply->status;
    if (reply->status != 0)
        (void)err_set((enum err) - reply->status, q->why, "%s",
                      reply->detail[0] ? reply->detail : err_text(reply->status));
    else if (reply->code != q->wanted_code)
        q->status = err_set(ERR_PROTOCOL, q->why, "it answers something else: another version?");
    else
        bytes_append(q->out, reply->body.data, reply->body.size);
    loop_stop(q->loop);
}

int member_ask(const char *address, uint16_t code, struct slice body, unsigned deadline_ms,
               uint16_t wanted_code, struct bytes *out, struct err_text *why)
{
    struct rpc_identity identity = {.role = ROLE_ADMIN};
    struct rpc_peer_options peer_options = {.address = address, .identity = &identity};
    struct rpc_call_options options = {
        .code = code, .body = body, .deadline_ms = loop_now_ms() + deadline_ms};
    struct question q = {.loop = loop_create(), .wanted_code = wanted_code, .out = out, .why = why};
    struct rpc_peer *peer = rpc_peer_create(q.loop, &peer_options);
    (void)rpc_call(peer, &options, on_reply, &q);
    loop_run(q.loop);
    rpc_peer_destroy(peer);
    loop_destroy(q.loop);
    return q.status;
}

int member_fetch(const char *address, struct bytes *bytes, struct msg_meta_member_r *ret,
                 struct err_text *why)
{
    struct bytes body = {0};
    encode_meta_member(&body, &(struct msg_meta_member){0});
    int status = member_ask(address, MSG_meta_member, bytes_slice(&body), MEMBER_ASK_MS,
                            MSG_meta_member_r, bytes, why);
    bytes_release(&body);
    return status ? status : decode_meta_member_r(bytes_slice(bytes), WIRE_VERSION, ret);
}

static void add_rows(struct members *m, const struct msg_meta_member_r *said)
{
    struct slice cursor = said->metas.raw;
    struct rec_meta_status row;
    while (m->count < MEMBERS_MAX && rec_meta_status_next(&cursor, &row)) {
        struct member *one = &m->items[m->count++];
        one->node = row.node;
        one->is_voter = row.voter;
        one->is_joining = row.joining;
        snprintf(one->address, sizeof one->address, "%.*s", (int)row.address.size,
                 (const char *)row.address.data);
    }
}

/* What the leader of the newest term knows of the others. */
static void find_leader(struct members *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        const struct member *one = &m->items[i];
        if (one->status == 0 && one->said.role == MEMBER_LEADER &&
            (!m->leader || one->said.term > m->leader->said.term))
            m->leader = one;
    }
    if (!m->leader)
        return;
    struct slice cursor = m->leader->said.metas.raw;
    struct rec_meta_status row;
    while (rec_meta_status_next(&cursor, &row))
        for (unsigned i = 0; i < m->count; i++)
            if (m->items[i].node == row.node) {
                m->items[i].is_up = row.up;
                m->items[i].is_voter = row.voter;
                m->items[i].is_joining = row.joining;
                m->items[i].match_index = row.match_index;
            }
}

/* Its own row is what it knows best. */
static void take_space(struct member *one)
{
    struct slice cursor = one->said.metas.raw;
    struct rec_meta_status row;
    one->space_level = SPACE_UNHEARD;
    while (one->status == 0 && rec_meta_status_next(&cursor, &row))
        if (row.node == one->node) {
            one->space_level = row.space_level;
            one->space_free = row.space_free;
            one->space_place = row.space_place;
        }
}

static void ask_all(struct members *m, const struct msg_meta_member_r *said)
{
    add_rows(m, said);
    for (unsigned i = 0; i < m->count; i++) {
        struct member *one = &m->items[i];
        one->status = member_fetch(one->address, &one->bytes, &one->said, &one->why);
        if (one->status == 0 &&
            memcmp(&one->said.cluster, &said->cluster, sizeof said->cluster) != 0)
            one->status = err_set(ERR_WRONG_CLUSTER, &one->why,
                                  "a metaserver of another cluster listens there");
        take_space(one);
    }
    find_leader(m);
}

static bool lists_differ(const struct members *m)
{
    struct slice cursor = m->leader->said.metas.raw;
    struct rec_meta_status row;
    unsigned at = 0;
    while (rec_meta_status_next(&cursor, &row))
        if (at >= m->count || m->items[at++].node != row.node)
            return true;
    return at != m->count;
}

/* Whoever was asked first may have been removed since, or have an old list. */
static void take_leaders_list(struct members *m)
{
    struct msg_meta_member_r said;
    struct bytes bytes = {0};
    if (!m->leader || !lists_differ(m))
        return;
    bytes_append(&bytes, m->leader->bytes.data, m->leader->bytes.size);
    members_release(m);
    memset(m, 0, sizeof *m);
    if (decode_meta_member_r(bytes_slice(&bytes), WIRE_VERSION, &said) == 0)
        ask_all(m, &said);
    bytes_release(&bytes);
}

int members_fetch(const char *cluster, struct members *ret_members, struct err_text *why)
{
    struct client_cluster named;
    struct msg_meta_member_r said = {.node = 0};
    struct bytes bytes = {0};
    memset(ret_members, 0, sizeof *ret_members);
    int status = client_cluster_parse(cluster, &named, why);
    if (status != 0)
        return status;
    int best = -ERR_UNREACHABLE; /* when it names nobody */
    for (unsigned i = 0; !ret_members->leader && i < named.count; i++) {
        bytes_clear(&bytes);
        status = member_fetch(named.address[i], &bytes, &said, why);
        if (status != 0) {
            best = best == 0 ? 0 : status;
            continue;
        }
        best = 0;
        members_release(ret_members);
        memset(ret_members, 0, sizeof *ret_members);
        ask_all(ret_members, &said);
    }
    bytes_release(&bytes);
    take_leaders_list(ret_members);
    return best;
}

int members_of(const struct arguments *a, struct members *ret_members)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct err_text why = {""};
    int code = cluster_of(a, NULL, cluster);
    if (code != EXIT_GOOD)
        return code;
    int status = members_fetch(cluster, ret_members, &why);
    if (status == 0)
        return EXIT_GOOD;
    members_release(ret_members);
    if (status == -ERR_CONFIG)
        return complain_text(EXIT_USAGE, "%s", why.text);
    return complain(status, "no metaserver of %s answers (%s)", cluster, why.text);
}

int members_with_leader(const struct arguments *a, struct members *ret_members)
{
    int code = members_of(a, ret_members);
    if (code != EXIT_GOOD || ret_members->leader)
        return code;
    members_release(ret_members);
    return complain_text(EXIT_NO_LEADER, "nobody leads\n  try: cairn meta ls");
}

void members_release(struct members *m)
{
    for (unsigned i = 0; i < m->count; i++)
        bytes_release(&m->items[i].bytes);
}

const struct member *members_find(const struct members *m, const char *name)
{
    char *end;
    const char *digits = name + (name[0] == 'm');
    unsigned long number = strtoul(digits, &end, 10);
    for (unsigned i = 0; *digits && *end == '\0' && i < m->count; i++)
        if (m->items[i].node == number)
            return &m->items[i];
    return NULL;
}
