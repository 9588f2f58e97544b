/* What both simulators' leaders do with the real shard table: look-ups, registration, and a look at
 * what each command changed. */
#include "tests/sim/chain_sim.h"

#include <stdio.h>

#include "common/base/check.h"

#include "common/base/banned.h"

unsigned sim_shard_at(const struct world *w, unsigned copies, uint32_t row)
{
    unsigned i = 0;
    while (i < w->shard_count && (w->leader.copies[i] != copies || w->leader.row[i] != row))
        i++;
    CHECK(i < w->shard_count);
    return i;
}

struct chain_view leader_chain(const struct world *w, unsigned shard)
{
    return shard_table_chain(&w->leader.table, w->leader.copies[shard], w->leader.row[shard]);
}

const struct shard *leader_shard(const struct world *w, unsigned shard)
{
    return shard_table_shard(&w->leader.table, w->leader.copies[shard], w->leader.row[shard]);
}

const struct target *leader_target(const struct world *w, unsigned server)
{
    return shard_table_target(&w->leader.table, server + 1);
}

bool leader_is_up(const struct world *w, unsigned server)
{
    const struct target *t = leader_target(w, server);
    return t && t->state == TARGET_UP;
}

bool leader_is_insync(const struct world *w, unsigned shard, unsigned server)
{
    struct chain_view chain = leader_chain(w, shard);
    for (unsigned i = 0; i < chain.insync_count; i++)
        if (chain.member[i] == server + 1)
            return true;
    return false;
}

void leader_release(struct world *w)
{
    shard_table_release(&w->leader.table);
}

/* After a command: what it changed is looked at. */
void leader_look(struct world *w)
{
    struct err_text why = {{0}};
    if (shard_table_check(&w->leader.table, &why) != 0)
        sim_fail(w, "leader: %s", why.text);
    for (unsigned i = 0; i < w->shard_count; i++) {
        const struct shard *s = leader_shard(w, i);
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

static bool is_authority(const struct world *w, unsigned shard, unsigned server)
{
    struct chain_view chain = leader_chain(w, shard);
    bool is_member = false;
    for (unsigned i = 0; i < chain.insync_count; i++) {
        if (chain.member[i] != server + 1 && leader_is_up(w, chain.member[i] - 1))
            return false;
        is_member = is_member || chain.member[i] == server + 1;
    }
    return is_member;
}

static struct target_registration registration(const struct world *w, unsigned server,
                                               uint64_t incarnation, char text[2][TARGET_TEXT_MAX])
{
    struct target_registration r = {.incarnation = incarnation, .weight = 1000};
    (void)snprintf(text[0], TARGET_TEXT_MAX, "s%u", server);
    (void)snprintf(text[1], TARGET_TEXT_MAX, "h%u", w->servers[server].host);
    r.uuid.bytes[0] = (uint8_t)(server + 1);
    r.name = slice_str(text[0]);
    r.host = slice_str(text[1]);
    return r;
}

/* One that was there from the beginning. */
void leader_found(struct world *w, unsigned server, uint64_t incarnation)
{
    char text[2][TARGET_TEXT_MAX];
    struct target_registration r = registration(w, server, incarnation, text);
    struct target t = {.id = server + 1,
                       .uuid = r.uuid,
                       .state = TARGET_UP,
                       .incarnation = incarnation,
                       .weight = r.weight};
    (void)snprintf(t.name, sizeof t.name, "%s", text[0]);
    (void)snprintf(t.host, sizeof t.host, "%s", text[1]);
    CHECK(shard_table_put_target(&w->leader.table, &t) == 0);
}

bool leader_register(struct world *w, unsigned server, uint64_t incarnation)
{
    const struct target *t = leader_target(w, server);
    char text[2][TARGET_TEXT_MAX];
    struct target_registration r = registration(w, server, incarnation, text);
    uint32_t id;
    if (t && t->incarnation > incarnation)
        return false;
    sim_trace(w, "leader: server %u registers, incarnation %lu", server,
              (unsigned long)incarnation);
    for (unsigned i = 0; i < w->shard_count; i++)
        if (t && t->incarnation != incarnation && is_authority(w, i, server))
            oracle_authority(w, i, server);
    CHECK(shard_table_register(&w->leader.table, ++w->leader.version, &r, &id) == 0);
    CHECK(id == server + 1);
    leader_look(w);
    if (w->servers[server].alive && w->servers[server].incarnation == incarnation)
        w->servers[server].power_lost = false;
    return true;
}
