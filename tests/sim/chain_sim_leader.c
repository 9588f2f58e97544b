/* A leader that never fails: the real shard table (common/ring), one command at a time. */
#include "tests/sim/chain_sim.h"

#include <stdio.h>

#include "common/base/check.h"

#include "common/base/banned.h"

enum { REPLACE_MS = 6000, MOVE_CHANCE = 60, CANCEL_CHANCE = 5, MILLE = 1000 };

/* ---- the table ---- */

struct chain_view leader_chain(const struct world *w, unsigned shard)
{
    return shard_table_chain(&w->leader.table, w->leader.copies[shard], shard);
}

static const struct shard *shard_of(const struct world *w, unsigned shard)
{
    return shard_table_shard(&w->leader.table, w->leader.copies[shard], shard);
}

static void put_target(struct world *w, unsigned server, uint64_t incarnation)
{
    struct target t = {
        .id = server + 1, .state = TARGET_UP, .incarnation = incarnation, .weight = 1000};
    t.uuid.bytes[0] = (uint8_t)t.id;
    (void)snprintf(t.name, sizeof t.name, "s%u", server);
    (void)snprintf(t.host, sizeof t.host, "s%u", server);
    CHECK(shard_table_put_target(&w->leader.table, &t) == 0);
}

void leader_init(struct world *w)
{
    struct leader *l = &w->leader;
    shard_table_init(&l->table, SHARD_ROWS);
    l->version = l->table.version = 1;
    for (unsigned i = 0; i < w->server_count; i++)
        put_target(w, i, 0);
    for (unsigned i = 0; i < w->shard_count; i++) {
        struct shard s = {.epoch = 1, .changed_version = 1};
        unsigned copies =
            (unsigned)prng_between(&w->prng, 1, w->server_count < 4 ? w->server_count : 4);
        if (copies == 1 && prng_chance(&w->prng, 600))
            copies = 2;
        unsigned first = (unsigned)prng_below(&w->prng, w->server_count);
        for (unsigned k = 0; k < copies; k++)
            s.slot[k] =
                (struct slot){.target = (first + k) % w->server_count + 1, .state = SLOT_INSYNC};
        l->copies[i] = (uint8_t)copies;
        CHECK(shard_table_put_shard(&l->table, copies, i, &s) == 0);
    }
}

void leader_release(struct world *w)
{
    shard_table_release(&w->leader.table);
}

/* After a command: what it changed is looked at. */
static void look(struct world *w)
{
    struct err_text why = {{0}};
    if (shard_table_check(&w->leader.table, &why) != 0)
        sim_fail(w, "leader: %s", why.text);
    for (unsigned i = 0; i < w->shard_count; i++) {
        const struct shard *s = shard_of(w, i);
        if (s->changed_version != w->leader.version)
            continue;
        sim_trace(w, "leader: shard %u epoch %lu:", i, (unsigned long)s->epoch);
        for (unsigned k = 0; k < w->leader.copies[i]; k++)
            sim_trace(w, "    server %u state %u", s->slot[k].target - 1, s->slot[k].state);
        if (s->move.incoming)
            sim_trace(w, "    server %u state %u for server %u", s->move.incoming - 1,
                      s->move.state, s->move.outgoing - 1);
        oracle_insync_check(w, i);
    }
}

bool leader_is_insync(const struct world *w, unsigned shard, unsigned server)
{
    struct chain_view chain = leader_chain(w, shard);
    for (unsigned i = 0; i < chain.insync_count; i++)
        if (chain.member[i] == server + 1)
            return true;
    return false;
}

bool leader_all_insync(const struct world *w)
{
    for (unsigned i = 0; i < w->shard_count; i++)
        if (leader_chain(w, i).insync_count != w->leader.copies[i] || shard_of(w, i)->move.incoming)
            return false;
    return true;
}

const struct target *leader_target(const struct world *w, unsigned server)
{
    return shard_table_target(&w->leader.table, server + 1);
}

static bool is_up(const struct world *w, unsigned server)
{
    return leader_target(w, server)->state == TARGET_UP;
}

/* ---- time ---- */

static void declare_offline(struct world *w)
{
    struct leader *l = &w->leader;
    uint32_t ids[SERVERS_MAX];
    uint64_t incarnations[SERVERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < w->server_count; i++)
        if (is_up(w, i) && leader_target(w, i)->incarnation != 0 &&
            w->now_ms - l->heard_ms[i] > LEASE_MS + LEASE_MARGIN_MS) {
            sim_trace(w, "leader: lease of %u ran out", i);
            l->down_ms[i] = w->now_ms;
            ids[count] = i + 1;
            incarnations[count++] = leader_target(w, i)->incarnation;
        }
    if (count == 0)
        return;
    shard_table_offline(&l->table, ++l->version, ids, incarnations, count);
    look(w);
}

static unsigned any_server(struct world *w)
{
    return (unsigned)prng_below(&w->prng, w->server_count);
}

static void replace_lost(struct world *w, unsigned shard)
{
    const struct shard *s = shard_of(w, shard);
    unsigned copies = w->leader.copies[shard];
    for (unsigned k = 0; k < copies; k++) {
        unsigned server = s->slot[k].target - 1;
        if (s->slot[k].state != SLOT_OFFLINE || w->now_ms - w->leader.down_ms[server] <= REPLACE_MS)
            continue;
        for (unsigned i = 0; i < w->server_count; i++)
            if (shard_table_replace(&w->leader.table, ++w->leader.version, copies, shard, s->epoch,
                                    server + 1, i + 1)) {
                look(w);
                return;
            }
    }
}

/* A drain, a new weight: slots move between servers that are well. */
static void move_some(struct world *w, unsigned shard)
{
    struct leader *l = &w->leader;
    unsigned copies = l->copies[shard];
    const struct shard *s = shard_of(w, shard);
    uint32_t from = s->slot[prng_below(&w->prng, copies)].target;
    if (prng_below(&w->prng, MILLE) < MOVE_CHANCE &&
        shard_table_move(&l->table, ++l->version, copies, shard, s->epoch, from,
                         any_server(w) + 1)) {
        w->moves++;
        look(w);
    } else if (prng_below(&w->prng, MILLE) < CANCEL_CHANCE &&
               shard_table_move_cancel(&l->table, ++l->version, copies, shard, s->epoch)) {
        look(w);
    }
}

void leader_check(struct world *w)
{
    declare_offline(w);
    for (unsigned i = 0; i < w->shard_count; i++) {
        replace_lost(w, i);
        if (w->faults)
            move_some(w, i);
    }
}

/* ---- what servers say ---- */

static bool is_authority(const struct world *w, unsigned shard, unsigned server)
{
    struct chain_view chain = leader_chain(w, shard);
    bool is_member = false;
    for (unsigned i = 0; i < chain.insync_count; i++) {
        if (chain.member[i] != server + 1 && is_up(w, chain.member[i] - 1))
            return false;
        is_member = is_member || chain.member[i] == server + 1;
    }
    return is_member;
}

static void leader_register(struct world *w, unsigned server, uint64_t incarnation)
{
    const struct target *t = leader_target(w, server);
    uint32_t id;
    char name[TARGET_TEXT_MAX];
    (void)snprintf(name, sizeof name, "s%u", server);
    struct target_registration r = {.uuid = t->uuid,
                                    .incarnation = incarnation,
                                    .name = slice_str(name),
                                    .host = slice_str(name),
                                    .weight = t->weight};
    sim_trace(w, "leader: server %u registers, incarnation %lu", server,
              (unsigned long)incarnation);
    for (unsigned i = 0; i < w->shard_count; i++)
        if (t->incarnation != incarnation && is_authority(w, i, server))
            oracle_authority(w, i, server);
    CHECK(shard_table_register(&w->leader.table, ++w->leader.version, &r, &id) == 0);
    look(w);
    if (w->servers[server].alive && w->servers[server].incarnation == incarnation)
        w->servers[server].power_lost = false;
}

void leader_heartbeat(struct world *w, struct sim_event *e)
{
    const struct target *t = leader_target(w, e->server);
    if (e->incarnation < t->incarnation)
        return;
    if (t->incarnation == 0) /* forming */
        put_target(w, e->server, e->incarnation);
    else if (t->incarnation != e->incarnation || t->state != TARGET_UP)
        leader_register(w, e->server, e->incarnation);
    w->leader.heard_ms[e->server] = w->now_ms;
}

void leader_report(struct world *w, const struct chain_work *report, unsigned from)
{
    struct msg_shard_report m = {.copies = report->copies,
                                 .shard = report->shard,
                                 .epoch = report->epoch,
                                 .target = report->target,
                                 .kind = (uint8_t)report->report,
                                 .reporter = from + 1};
    if (!is_up(w, from))
        return;
    sim_trace(w, "leader: %u reports %u of shard %u: %d", from, report->target - 1, report->shard,
              report->report);
    if (!shard_table_report(&w->leader.table, ++w->leader.version, &m))
        return;
    w->moved += m.kind == REPORT_LEFT;
    look(w);
}
