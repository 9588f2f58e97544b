/* The leader of the tests: registration, leases, reports and deletes over a real shard table. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/unit/chunkserver/fixture.h"
#include "common/base/banned.h"

enum { LEADER_TICK_MS = 20, MARGIN_MS = 300 };

#define REPLY(q, name, m)                                       \
    do {                                                        \
        struct bytes body_ = {0};                               \
        encode_##name(&body_, m);                               \
        rpc_reply(q, MSG_##name, bytes_slice(&body_), NULL, 0); \
        bytes_release(&body_);                                  \
    } while (0)

static void form_when_ready(struct leader *l)
{
    unsigned up = 0;
    for (unsigned i = 0; i < l->table.target_count; i++)
        up += l->table.targets[i].state == TARGET_UP;
    if (l->copies && up >= l->targets_wanted && !l->table.shards[l->copies])
        CHECK(shard_table_form(&l->table, l->table.version + 1, l->copies) == 0);
}

static void on_register(struct leader *l, struct rpc_request *q)
{
    struct msg_target_register m;
    struct msg_target_register_r r = {.term = l->term};
    CHECK(decode_target_register(q->body, q->version, &m) == 0);
    struct target_registration t = {m.uuid, m.incarnation, m.name, m.address, m.host, 1000};
    CHECK(shard_table_register(&l->table, l->table.version + 1, &t, &r.target) == 0);
    CHECK(r.target <= SERVERS_MAX);
    l->heard_ms[r.target] = loop_now_ms();
    l->registrations++;
    form_when_ready(l);
    r.table_version = l->table.version;
    REPLY(q, target_register_r, &r);
}

static void on_heartbeat(struct leader *l, struct rpc_request *q)
{
    struct msg_heartbeat m;
    struct msg_heartbeat_r r = {.lease_ms = l->lease_ms,
                                .term = l->term,
                                .index = l->table.version + l->index_ahead,
                                .table_version = l->table.version};
    CHECK(decode_heartbeat(q->body, q->version, &m) == 0);
    l->heartbeats++;
    if (l->mute && l->muted_count < 256) {
        l->muted[l->muted_count++] = q;
        return;
    }
    const struct target *t = shard_table_target(&l->table, m.target);
    if (!t || t->state != TARGET_UP || t->incarnation != m.incarnation)
        r.lease_ms = 0;
    else {
        l->last[m.target] = m;
        l->heard_ms[m.target] = loop_now_ms();
    }
    if (l->delete_batch && m.deleted_batch != l->delete_batch) {
        r.delete_batch = l->delete_batch;
        r.deletes = (struct wire_list){.count = l->delete_count, .items = l->deletes};
    }
    REPLY(q, heartbeat_r, &r);
}

static void on_report(struct leader *l, struct rpc_request *q)
{
    struct msg_shard_report m;
    struct msg_done_r r = {0};
    CHECK(decode_shard_report(q->body, q->version, &m) == 0);
    l->reports++;
    if (m.kind == REPORT_SYNCED)
        l->synced = m;
    (void)shard_table_report(&l->table, l->table.version + 1, &m);
    REPLY(q, done_r, &r);
}

static void offline(struct leader *l, uint32_t target)
{
    const struct target *t = shard_table_target(&l->table, target);
    if (t && t->state == TARGET_UP)
        (void)shard_table_offline(&l->table, l->table.version + 1, &target, &t->incarnation, 1);
}

static void on_goodbye(struct leader *l, struct rpc_request *q)
{
    struct msg_target_goodbye m;
    struct msg_done_r r = {0};
    CHECK(decode_target_goodbye(q->body, q->version, &m) == 0);
    l->goodbyes++;
    offline(l, m.target);
    REPLY(q, done_r, &r);
}

static void on_table(struct leader *l, struct rpc_request *q)
{
    struct msg_shard_table m;
    struct bytes body = {0};
    CHECK(decode_shard_table(q->body, q->version, &m) == 0);
    shard_table_encode(&l->table, m.since, &body);
    rpc_reply(q, MSG_shard_table_r, bytes_slice(&body), NULL, 0);
    bytes_release(&body);
}

static void dispatch(void *arg, struct rpc_request *take_request)
{
    struct leader *l = arg;
    struct rpc_request *q = take_request;
    switch (q->code) {
    case MSG_target_register:
        on_register(l, q);
        break;
    case MSG_heartbeat:
        on_heartbeat(l, q);
        break;
    case MSG_shard_report:
        on_report(l, q);
        break;
    case MSG_target_goodbye:
        on_goodbye(l, q);
        break;
    case MSG_shard_table:
        on_table(l, q);
        break;
    default:
        rpc_reply_error(q, -ERR_NOT_SUPPORTED, NULL, NULL);
    }
}

static void on_tick(void *arg)
{
    struct leader *l = arg;
    for (uint32_t id = 1; id <= SERVERS_MAX; id++)
        if (l->heard_ms[id] && l->lease_ms &&
            loop_now_ms() > l->heard_ms[id] + l->lease_ms + MARGIN_MS) {
            l->heard_ms[id] = 0;
            offline(l, id);
        }
    loop_timer_start_ms(&l->tick, LEADER_TICK_MS);
}

void leader_start(void)
{
    struct leader *l = &f.leader;
    struct err_text why;
    l->identity = (struct rpc_identity){.cluster = f.cluster, .role = ROLE_META, .node = 1};
    l->term = 5;
    l->lease_ms = 1000;
    shard_table_init(&l->table, SHARDS);
    struct rpc_server_options options = {
        .address = "127.0.0.1:0", .identity = &l->identity, .dispatch = dispatch, .arg = l};
    CHECK(rpc_server_create(f.loop, &options, &l->server, &why) == 0);
    loop_timer_init(&l->tick, f.loop, on_tick, l);
    loop_timer_start_ms(&l->tick, LEADER_TICK_MS);
}

void leader_unmute(void)
{
    struct leader *l = &f.leader;
    l->mute = false;
    while (l->muted_count > 0)
        rpc_request_drop(l->muted[--l->muted_count]);
}

void leader_stop(void)
{
    struct leader *l = &f.leader;
    leader_unmute();
    loop_timer_stop(&l->tick);
    rpc_server_destroy(l->server);
    shard_table_release(&l->table);
}
