/* sim-planner: sizes, faults and the end of a seed. */
#include "tests/sim/planner_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum {
    SERVERS_FIRST_MAX = 8,
    OPERATOR_MS = 1500,
    STILL_MS = 3000,
    BALANCE_MS = 15000,
    CHANGES_HEALED_MAX = 8
};

const struct sim_program sim_program = {
    .name = "planner", .seeds = 1000, .events = 16000, .end_ms = 90000, .still_ms = STILL_MS};

/* ---- the beginning ---- */

static void form_tables(struct world *w, uint32_t rows, unsigned tables)
{
    struct leader *l = &w->leader;
    l->version = l->table.version = 1;
    for (unsigned copies = 1; copies <= 3; copies++) {
        if (!(tables & 1u << copies) || w->shard_count + rows > SHARDS_MAX)
            continue;
        CHECK(shard_table_form(&l->table, ++l->version, copies) == 0);
        w->planned->options.copies_wanted |= 1u << copies;
        for (uint32_t row = 0; row < rows; row++) {
            l->copies[w->shard_count] = (uint8_t)copies;
            l->row[w->shard_count++] = (uint8_t)row;
        }
    }
}

void program_start(struct world *w)
{
    static const unsigned tables[] = {1u << 1, 1u << 2, 1u << 3, 1u << 2 | 1u << 3,
                                      1u << 1 | 1u << 2 | 1u << 3};
    struct planned *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    p->plan = calloc(1, sizeof *p->plan);
    CHECK(p->plan != NULL);
    w->planned = p;
    w->fence_ms = PLANNER_FENCE_MS;
    w->server_count = (unsigned)prng_between(&w->prng, 4, SERVERS_FIRST_MAX);
    leader_start(w);
    w->sleepy = (unsigned)prng_below(&w->prng, 100);
    p->calm = (unsigned)prng_below(&w->prng, 950);
    uint32_t rows = prng_chance(&w->prng, 500) ? 2 : 4;
    bool shares_hosts = prng_chance(&w->prng, 300);
    shard_table_init(&w->leader.table, rows);
    for (unsigned i = 0; i < w->server_count; i++) {
        w->servers[i].host = shares_hosts ? i / 2 : i;
        w->servers[i].clock_rate = 0.9 + 0.0001 * (double)prng_below(&w->prng, 2000);
        w->servers[i].clock_offset_ms = (int64_t)prng_below(&w->prng, 100000);
        server_start(w, i);
        leader_found(w, i, w->servers[i].incarnation);
    }
    unsigned roll = (unsigned)prng_below(&w->prng, 10);
    form_tables(w, rows, tables[roll < 1 ? 0 : roll < 3 ? 1 : roll < 5 ? 2 : roll < 7 ? 3 : 4]);
    sim_schedule(w, 1000, SIM_PROGRAM)->id = PLANNER_OPERATOR;
}

void program_release(struct world *w)
{
    log_release(w);
    planner_destroy(w->planned->planner);
    free(w->planned->plan);
    free(w->planned);
}

/* ---- faults ---- */

static void crash_host(struct world *w, unsigned host, bool power)
{
    for (unsigned i = 0; i < w->server_count; i++)
        if (w->servers[i].host == host && !w->servers[i].disk_failed)
            sim_crash(w, i, power);
}

static void disk_fails(struct world *w, unsigned i)
{
    for (unsigned k = 0; k < w->server_count; k++)
        if (w->servers[k].disk_failed)
            return;
    if (!w->servers[i].alive)
        return;
    sim_trace(w, "disk of server %u fails", i);
    w->servers[i].disk_failed = true;
    struct sim_event *e = sim_schedule(w, (int64_t)prng_between(&w->prng, 500, 15000), SIM_PROGRAM);
    e->id = PLANNER_REPAIR;
    e->server = i;
}

static void disk_is_back(struct world *w, unsigned i)
{
    if (!w->servers[i].disk_failed)
        return;
    w->servers[i].disk_failed = false;
    sim_crash(w, i, false);
}

/* The leader and one server do not see each other: its lease runs out, it lives. When they meet
 * again heartbeats may go through some time before the table does. */
static void part_from_leader(struct world *w, unsigned i)
{
    w->cut[i][SERVERS_MAX] = w->cut[SERVERS_MAX][i] = true;
    struct sim_event *e = sim_schedule(w, (int64_t)prng_between(&w->prng, 1000, 2500), SIM_PROGRAM);
    e->id = PLANNER_MEET;
    e->server = i;
}

static void meet_leader(struct world *w, unsigned i)
{
    w->cut[i][SERVERS_MAX] = w->cut[SERVERS_MAX][i] = false;
    if (w->faults && prng_chance(&w->prng, 500))
        w->servers[i].table_late_until_ms = w->now_ms + (int64_t)prng_below(&w->prng, 1500);
}

void program_fault(struct world *w)
{
    struct planned *p = w->planned;
    if (prng_chance(&w->prng, p->calm))
        return;
    unsigned i = (unsigned)prng_below(&w->prng, w->server_count);
    int64_t until_ms = w->now_ms + (int64_t)prng_between(&w->prng, 50, 3000);
    unsigned choice = (unsigned)prng_below(&w->prng, 10 + 8);
    bool power = prng_chance(&w->prng, 500);
    switch (choice) {
    case 0:
    case 1:
    case 2:
        if (!w->servers[i].disk_failed)
            sim_crash(w, i, power);
        break;
    case 3:
        crash_host(w, w->servers[i].host, power);
        break;
    case 4:
        for (unsigned k = 0; prng_chance(&w->prng, power ? 300 : 700) && k < w->server_count; k++)
            if (!w->servers[k].disk_failed)
                sim_crash(w, k, power);
        break;
    case 5:
    case 6:
        log_leader_fails(w);
        break;
    case 7:
        disk_fails(w, i);
        break;
    case 8:
        part_from_leader(w, i);
        break;
    case 9: /* heartbeats go through, the table does not */
        w->servers[i].table_late_until_ms = until_ms;
        break;
    default:
        sim_fault_common(w, i, choice - 10, until_ms);
    }
}

void program_event(struct world *w, struct sim_event *e)
{
    struct planned *p = w->planned;
    switch ((enum planner_event)e->id) {
    case PLANNER_COMMIT:
        if (e->attempt == p->term)
            log_commit(w);
        break;
    case PLANNER_ELECT:
        log_elect(w);
        break;
    case PLANNER_OPERATOR:
        if (w->faults) {
            operator_acts(w);
            sim_schedule(w, (int64_t)prng_below(&w->prng, OPERATOR_MS), SIM_PROGRAM)->id =
                PLANNER_OPERATOR;
        }
        break;
    case PLANNER_REPAIR:
        disk_is_back(w, e->server);
        break;
    case PLANNER_MEET:
        meet_leader(w, e->server);
        break;
    }
}

/* ---- the end ---- */

/* All come back, but not every failed disk: only one that has the last good copy must. */
void program_heal(struct world *w)
{
    for (unsigned i = 0; i < w->server_count; i++)
        if (!w->servers[i].alive && !w->servers[i].gone)
            server_start(w, i);
}

static bool server_is_settled(const struct world *w, unsigned i)
{
    const struct server *s = &w->servers[i];
    const struct target *t = leader_target(w, i);
    if (s->gone)
        return true;
    return s->alive && !s->disk_failed && chain_busy_count(s->chain) == 0 && t &&
           t->incarnation == s->incarnation && t->state == TARGET_UP;
}

/* Its load does not fit its weight yet. Balance waits for drains, for ever when they are blocked.
 */
static bool is_to_be_filled(const struct world *w, unsigned i)
{
    const struct target *t = leader_target(w, i);
    return t->admin == TARGET_ACTIVE && t->rebalance;
}

bool program_is_quiet(const struct world *w)
{
    const struct planned *p = w->planned;
    if (!p->leads || p->log_count > 0 || p->planned_version != w->leader.table.version ||
        p->plan->replacement_count > 0 || p->plan->weight_count > 0 ||
        w->now_ms < p->slots_ms + STILL_MS || w->now_ms < p->since_ms + LEASE_MS + MARGIN_MS + 500)
        return false;
    for (unsigned i = 0; i < w->server_count; i++)
        if (!server_is_settled(w, i) ||
            (is_to_be_filled(w, i) &&
             (p->plan->blocked_count == 0 || w->now_ms < p->slots_ms + BALANCE_MS)))
            return false;
    for (unsigned i = 0; i < w->shard_count; i++) {
        if (leader_shard(w, i)->move.incoming)
            return false;
        for (unsigned k = 0; k < w->leader.copies[i]; k++)
            if (!slot_is_settled(w, i, k))
                return false;
    }
    return true;
}

/* What is not as it should be, for whoever reads the trace. */
static void tell_state(struct world *w)
{
    const struct planned *p = w->planned;
    sim_trace(w, "leads %d, log %u, under way %u, changes %u, weights %u, left %u, waiting %u",
              p->leads, p->log_count, p->under_way, p->plan->replacement_count,
              p->plan->weight_count, p->plan->balance_left, p->plan->waiting);
    for (unsigned i = 0; i < w->server_count; i++) {
        const struct target *t = leader_target(w, i);
        if (t)
            sim_trace(w, "server %u: settled %d, state %d, admin %d, weight %u, marked %d", i,
                      server_is_settled(w, i), (int)t->state, (int)t->admin, t->weight,
                      t->rebalance);
    }
    for (unsigned i = 0; i < w->shard_count; i++)
        for (unsigned k = 0; k < w->leader.copies[i]; k++)
            sim_trace(w, "shard %u: server %u state %d settled %d, move %u for %u", i,
                      leader_shard(w, i)->slot[k].target - 1,
                      (int)leader_shard(w, i)->slot[k].state, slot_is_settled(w, i, k),
                      leader_shard(w, i)->move.incoming, leader_shard(w, i)->move.outgoing);
}

/* No slot goes to and fro: a quiet cluster stays as it is, and getting there took few moves. */
void program_end(struct world *w)
{
    const struct planned *p = w->planned;
    unsigned slots = 0;
    for (unsigned i = 0; i < w->shard_count; i++)
        slots += w->leader.copies[i];
    if (p->slots_ms > w->now_ms - sim_program.still_ms)
        sim_fail(w, "slots are changed in a quiet cluster");
    if (p->changes_healed > CHANGES_HEALED_MAX * slots)
        sim_fail(w, "%u changes of %u slots after the last fault", p->changes_healed, slots);
}

static struct {
    uint64_t operations, planned[14];
} totals;

void program_count(struct world *w)
{
    if (w->failed)
        tell_state(w);
    const uint64_t *done = (const uint64_t *)&w->planned->done;
    totals.operations += w->ops_done;
    for (unsigned i = 0; i < 14; i++)
        totals.planned[i] += done[i];
}

void program_print(void)
{
    static const char *const names[14] = {
        "plans", "slot changes", "expired", "failed disks", "leaders", "drains",   "called off",
        "joins", "destroyed",    "storms",  "moves",        "blocked", "repeated", "weights"};
    printf("# client operations %lu", (unsigned long)totals.operations);
    for (unsigned i = 0; i < 14; i++)
        printf(", %s %lu", names[i], (unsigned long)totals.planned[i]);
    printf("\n");
}

int main(void)
{
    return sim_main();
}
