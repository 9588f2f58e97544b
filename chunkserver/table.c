/* The shard table: fetched when someone knows a newer one, taken over, told to the core. */
#include <stdlib.h>

#include "chunkserver/private.h"
#include "chunkserver/views.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum { FETCH_DEADLINE_MS = 2000, FETCH_GAP_MS = 20 };

uint32_t table_other_insync(const struct chunkserver *cs, uint8_t copies, uint32_t shard)
{
    struct chain_view chain = shard_table_chain(&cs->table, copies, shard);
    for (unsigned i = 0; i < chain.insync_count; i++)
        if (chain.member[i] != cs->target)
            return chain.member[i];
    return 0;
}

bool table_self_is_insync(const struct chunkserver *cs, uint8_t copies, uint32_t shard)
{
    const struct shard *s = shard_table_shard(&cs->table, copies, shard);
    return s && shard_has_in_sync(s, copies, cs->target);
}

bool table_shard_is_whole(const struct chunkserver *cs, const struct shard *s, unsigned copies)
{
#ifdef PLANT_D4_LEFT
    return true;
#endif
    if (s->move.incoming != 0)
        return false;
    for (unsigned i = 0; i < copies; i++) {
        const struct target *target = shard_table_target(&cs->table, s->slot[i].target);
        if (s->slot[i].state != SLOT_INSYNC || !target || target->state != TARGET_UP)
            return false;
    }
    return true;
}

void table_log(struct chunkserver *cs)
{
    if (cs->table_fetch.changed == 0)
        return;
    unsigned count[SLOT_LEAVING + 1] = {0};
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++) {
        for (uint32_t n = 0; cs->table.shards[copies] && n < cs->table.shard_count; n++) {
            enum slot_state state;
            if (shard_has_member(&cs->table.shards[copies][n], copies, cs->target, &state))
                count[state]++;
        }
    }
    log_info("table.update",
             "version=%llu shards_changed=%u insync=%u syncing=%u offline=%u leaving=%u",
             (unsigned long long)cs->table.version, cs->table_fetch.changed, count[SLOT_INSYNC],
             count[SLOT_SYNCING], count[SLOT_OFFLINE], count[SLOT_LEAVING]);
    cs->table_fetch.changed = 0;
}

static void view_tell(struct chunkserver *cs, const struct view_before *before)
{
    struct chain_event e = {.kind = CHAIN_EVENT_VIEW};
    if (!view_make(&cs->table, cs->target, before, cs->heartbeat.lease_ms + LEASE_MARGIN_MS,
                   &e.u.view))
        return;
    const struct chain_shard_view *v = &e.u.view;
    for (unsigned i = 1; i < v->member_count; i++)
        if (v->members[i].state == SLOT_SYNCING && v->members[i - 1].state != SLOT_SYNCING &&
            v->members[i - 1].target == cs->target)
            log_debug("resync.start", "shard=%u-%x target=%u epoch=%llu", v->copies, v->shard,
                      v->members[i].target, (unsigned long long)v->epoch);
    if (v->fence_ms)
        log_info("shard.fence", "shard=%u-%x epoch=%llu ms=%u", v->copies, v->shard,
                 (unsigned long long)v->epoch, v->fence_ms);
    driver_event(cs, &e);
}

int table_take(struct chunkserver *cs, const struct msg_shard_table_r *m)
{
    struct rec_shard_slots row;
    struct slice at = m->shards.raw;
    uint32_t count = 0, changed = 0;
    if (m->version < cs->table.version || left_holds_table(cs, m))
        return 0;
    struct view_before *before = calloc(m->shards.count + 1, sizeof *before);
    CHECK(before != NULL);
    while (count < m->shards.count && rec_shard_slots_next(&at, &row))
        view_remember(&cs->table, row.copies, row.shard, &before[count++]);
    int status = shard_table_update(&cs->table, m);
    if (status == 0) {
        peers_table_changed(cs);
        for (uint32_t i = 0; i < count; i++) {
            const struct shard *s =
                shard_table_shard(&cs->table, before[i].copies, before[i].number);
            if (!s || s->epoch == before[i].shard.epoch)
                continue;
            changed++;
            view_tell(cs, &before[i]);
        }
        cs->table_fetch.changed += changed;
        heartbeat_table_taken(cs);
    }
    free(before);
    return status;
}

static void on_table(void *arg, struct rpc_reply *reply)
{
    struct chunkserver *cs = arg;
    struct table_fetch *f = &cs->table_fetch;
    struct msg_shard_table_r m;
    f->fetching = false;
    if (cs->closing)
        return;
    int status = reply->status;
    if (status == 0)
        status = decode_shard_table_r(reply->body, reply->version, &m);
    if (status == 0)
        status = table_take(cs, &m);
    if (status != 0)
        log_warn("table.failed", "error=%s detail=\"%s\"", err_name(status), reply->detail);
    if (f->again || status != 0)
        loop_timer_start_ms(&f->again_timer, status == 0 ? FETCH_GAP_MS : HEARTBEAT_MS);
    f->again = false;
}

void table_refresh(struct chunkserver *cs)
{
    struct table_fetch *f = &cs->table_fetch;
    if (f->fetching || loop_timer_is_running(&f->again_timer)) {
        f->again = true;
        return;
    }
    struct bytes body = {0};
    struct msg_shard_table m = {.since = cs->table.version};
    encode_shard_table(&body, &m);
    struct rpc_call_options options = {.code = MSG_shard_table,
                                       .body = bytes_slice(&body),
                                       .deadline_ms = loop_now_ms() + FETCH_DEADLINE_MS};
    f->fetching = true;
    (void)rpc_leader_call(cs->leader, &options, on_table, cs);
    bytes_release(&body);
}

static void on_again(void *arg)
{
    struct chunkserver *cs = arg;
    cs->table_fetch.again = false;
    table_refresh(cs);
}

void table_start(struct chunkserver *cs)
{
    loop_timer_init(&cs->table_fetch.again_timer, cs->loop, on_again, cs);
}

void table_stop(struct chunkserver *cs)
{
    loop_timer_stop(&cs->table_fetch.again_timer);
}
