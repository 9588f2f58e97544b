/* A leader that never fails: the real shard table (common/ring), one command at a time. */
#include "tests/sim/chain_sim_leader.h"

#include "common/base/check.h"

#include "common/base/banned.h"

enum {
    SHARD_ROWS = 4,
    LEASE_MARGIN_MS = 100,
    REPLACE_MS = 6000,
    MOVE_CHANCE = 60,
    CANCEL_CHANCE = 5,
    MILLE = 1000
};

/* ---- the table ---- */

void leader_init(struct world *w)
{
    struct leader *l = &w->leader;
    shard_table_init(&l->table, SHARD_ROWS);
    l->version = l->table.version = 1;
    for (unsigned i = 0; i < w->server_count; i++)
        leader_found(w, i, 0);
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
        l->row[i] = (uint8_t)i;
        CHECK(shard_table_put_shard(&l->table, copies, i, &s) == 0);
    }
}

bool leader_all_insync(const struct world *w)
{
    for (unsigned i = 0; i < w->shard_count; i++)
        if (leader_chain(w, i).insync_count != w->leader.copies[i] ||
            leader_shard(w, i)->move.incoming)
            return false;
    return true;
}

/* ---- time ---- */

static void declare_offline(struct world *w)
{
    struct leader *l = &w->leader;
    uint32_t ids[SERVERS_MAX];
    uint64_t incarnations[SERVERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < w->server_count; i++)
        if (leader_is_up(w, i) && leader_target(w, i)->incarnation != 0 &&
            w->now_ms - l->heard_ms[i] > LEASE_MS + LEASE_MARGIN_MS) {
            sim_trace(w, "leader: lease of %u ran out", i);
            l->down_ms[i] = w->now_ms;
            ids[count] = i + 1;
            incarnations[count++] = leader_target(w, i)->incarnation;
        }
    if (count == 0)
        return;
    shard_table_offline(&l->table, ++l->version, ids, incarnations, count);
    leader_look(w);
}

static unsigned any_server(struct world *w)
{
    return (unsigned)prng_below(&w->prng, w->server_count);
}

static void replace_lost(struct world *w, unsigned shard)
{
    const struct shard *s = leader_shard(w, shard);
    unsigned copies = w->leader.copies[shard];
    for (unsigned k = 0; k < copies; k++) {
        unsigned server = s->slot[k].target - 1;
        if (s->slot[k].state != SLOT_OFFLINE || w->now_ms - w->leader.down_ms[server] <= REPLACE_MS)
            continue;
        for (unsigned i = 0; i < w->server_count; i++)
            if (shard_table_replace(&w->leader.table, ++w->leader.version, copies, shard, s->epoch,
                                    server + 1, i + 1)) {
                leader_look(w);
                return;
            }
    }
}

/* A drain, a new weight: slots move between servers that are well. */
static void move_some(struct world *w, unsigned shard)
{
    struct leader *l = &w->leader;
    unsigned copies = l->copies[shard];
    const struct shard *s = leader_shard(w, shard);
    uint32_t from = s->slot[prng_below(&w->prng, copies)].target;
    if (prng_below(&w->prng, MILLE) < MOVE_CHANCE &&
        shard_table_move(&l->table, ++l->version, copies, shard, s->epoch, from,
                         any_server(w) + 1)) {
        w->moves++;
        leader_look(w);
    } else if (prng_below(&w->prng, MILLE) < CANCEL_CHANCE &&
               shard_table_move_cancel(&l->table, ++l->version, copies, shard, s->epoch)) {
        leader_look(w);
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

bool leader_heartbeat(struct world *w, struct sim_event *e)
{
    const struct target *t = leader_target(w, e->server);
    if (e->incarnation < t->incarnation)
        return false;
    if (t->incarnation == 0) /* forming */
        leader_found(w, e->server, e->incarnation);
    else if (t->incarnation != e->incarnation || t->state != TARGET_UP)
        (void)leader_register(w, e->server, e->incarnation);
    w->leader.heard_ms[e->server] = w->now_ms;
    return true;
}

bool leader_serves_table(const struct world *w, const struct sim_event *e)
{
    return leader_target(w, e->server)->incarnation == e->incarnation;
}

void leader_report(struct world *w, const struct chain_work *report, unsigned from)
{
    struct msg_shard_report m = {.copies = report->copies,
                                 .shard = report->shard,
                                 .epoch = report->epoch,
                                 .target = report->target,
                                 .kind = (uint8_t)report->report,
                                 .reporter = from + 1};
    if (!leader_is_up(w, from))
        return;
    sim_trace(w, "leader: %u reports %u of shard %u: %d", from, report->target - 1, report->shard,
              report->report);
    if (!shard_table_report(&w->leader.table, ++w->leader.version, &m))
        return;
    w->moved += m.kind == REPORT_LEFT;
    leader_look(w);
}
