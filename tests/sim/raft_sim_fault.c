/* What goes wrong, as data: a profile chosen by the seed, acted on at random ticks. */
#include "tests/sim/raft_sim.h"

#include <string.h>

#include "common/base/check.h"

static void draw_mixed(struct sim *s, struct profile *p)
{
    p->loss = (unsigned)prng_below(&s->prng, 301);
    p->duplicate = (unsigned)prng_below(&s->prng, 301);
    p->replay = prng_chance(&s->prng, 500) ? (unsigned)prng_below(&s->prng, 501) : 0;
    p->delay_ms_max = (unsigned)prng_between(&s->prng, 2, 150);
    p->long_delay = prng_chance(&s->prng, 300) ? (unsigned)prng_below(&s->prng, 60) : 0;
    p->crash = (unsigned)prng_below(&s->prng, 80);
    p->partition = (unsigned)prng_below(&s->prng, 80);
    p->pause = (unsigned)prng_below(&s->prng, 60);
    p->slow_disk = (unsigned)prng_below(&s->prng, 80);
    p->transfer = (unsigned)prng_below(&s->prng, 60);
    p->isolate_leader = (unsigned)prng_below(&s->prng, 60);
    p->crash_in_update = (unsigned)prng_below(&s->prng, 100);
    p->client_gap_ms = (unsigned)prng_between(&s->prng, 5, 200);
    p->batch_max = (unsigned)prng_between(&s->prng, 1, BATCH_MAX);
    p->partial_link = 100;
    p->change = prng_chance(&s->prng, 300) ? (unsigned)prng_between(&s->prng, 1, 100) : 0;
}

/* Not so much that nothing gets done: a change takes several commits. */
static void draw_members(struct sim *s, struct profile *p)
{
    unsigned change = p->change;
    draw_mixed(s, p);
    p->change = change;
    p->loss /= 3;
    p->pause /= 3;
    p->long_delay /= 3;
    p->delay_ms_max = (unsigned)prng_between(&s->prng, 2, 60);
    p->client_gap_ms = (unsigned)prng_between(&s->prng, 50, 400);
    p->death = p->change > 0 ? (unsigned)prng_below(&s->prng, 15) : 0;
    p->partial_link = 300;
}

/* Mixed is drawn anew for each seed; the others press on one family of mistakes. */
static const struct profile profiles[] = {
    {.name = "mixed",
     .draw = draw_mixed,
     .delay_ms_max = 50,
     .fault_tick_ms = 100,
     .client_gap_ms = 60,
     .batch_max = 8},
    {.name = "replay",
     .loss = 100,
     .duplicate = 300,
     .replay = 500,
     .delay_ms_max = 60,
     .long_delay = 50,
     .crash = 10,
     .partition = 40,
     .isolate_leader = 60,
     .fault_tick_ms = 100,
     .client_gap_ms = 40,
     .crash_in_update = 10,
     .batch_max = 4},
    {.name = "figure8",
     .loss = 50,
     .delay_ms_max = 20,
     .crash = 40,
     .isolate_leader = 500,
     .fault_tick_ms = 150,
     .client_gap_ms = 30,
     .crash_in_update = 20,
     .batch_max = 1,
     .nodes = 5},
    {.name = "crash",
     .loss = 20,
     .delay_ms_max = 30,
     .crash = 150,
     .slow_disk = 150,
     .partition = 40,
     .fault_tick_ms = 100,
     .client_gap_ms = 40,
     .crash_in_update = 600,
     .batch_max = 8},
    {.name = "pause",
     .loss = 20,
     .delay_ms_max = 30,
     .pause = 120,
     .partition = 30,
     .transfer = 60,
     .fault_tick_ms = 100,
     .client_gap_ms = 30,
     .batch_max = 8},
    {.name = "links",
     .loss = 20,
     .delay_ms_max = 40,
     .partition = 150,
     .isolate_leader = 50,
     .fault_tick_ms = 150,
     .client_gap_ms = 60,
     .batch_max = 8,
     .partial_link = 1000},
    {.name = "clocks",
     .loss = 50,
     .delay_ms_max = 40,
     .pause = 80,
     .crash = 20,
     .partition = 40,
     .fault_tick_ms = 100,
     .client_gap_ms = 50,
     .batch_max = 8,
     .wild_clocks = true},
    {.name = "members", .draw = draw_members, .fault_tick_ms = 60, .batch_max = 8, .change = 400},
    {.name = "overlap",
     .loss = 20,
     .delay_ms_max = 20,
     .crash = 20,
     .isolate_leader = 150,
     .fault_tick_ms = 50,
     .client_gap_ms = 300,
     .crash_in_update = 20,
     .batch_max = 4,
     .nodes = 4,
     .change = 700,
     .partial_link = 100},
    {.name = "wipe", .draw = draw_members, .fault_tick_ms = 100, .batch_max = 8, .wipe = 20},
};
enum { PROFILE_COUNT = sizeof profiles / sizeof profiles[0] };

static void choose_options(struct sim *s)
{
    raft_options_defaults(&s->options);
    s->options.append_count_max = s->profile.batch_max;
    s->options.inflight_count_max = (uint32_t)prng_between(&s->prng, 1, 16);
    s->options.compact_tail_count = prng_below(&s->prng, 20);
    s->options.promote_lag_max = prng_below(&s->prng, 20);
    s->options.uncommitted_bytes_max = 8192;
    s->options.reads_max = 8;
    s->lease_reads = !s->profile.wild_clocks;
}

void fault_clock(struct sim *s, struct node *n)
{
    n->clock_offset_ms = (int64_t)prng_below(&s->prng, 1000000000) + 1000000;
    n->clock_rate = 1000;
    if (s->profile.wild_clocks)
        n->clock_rate = prng_between(&s->prng, 500, 2000);
    else if (s->skewed_clocks)
        n->clock_rate = prng_between(&s->prng, 900, 1100);
    n->checkpoint_every = prng_between(&s->prng, 5, 50);
}

void fault_choose(struct sim *s, const char *profile_name)
{
    static const unsigned sizes[] = {3, 3, 5, 1, 3, 5, 3};
    unsigned at = (unsigned)(s->seed % (PROFILE_COUNT + 3)); /* mixed four times as often */
    for (unsigned i = 0; profile_name && i < PROFILE_COUNT; i++)
        if (strcmp(profile_name, profiles[i].name) == 0)
            at = i;
    s->profile = profiles[at < PROFILE_COUNT ? at : 0];
    if (s->profile.draw)
        s->profile.draw(s, &s->profile);
    s->node_count = s->profile.nodes ? s->profile.nodes
                                     : sizes[prng_below(&s->prng, sizeof sizes / sizeof sizes[0])];
    if ((s->profile.partial_link >= 1000 || s->profile.wipe > 0) && s->node_count == 1)
        s->node_count = 3;
    choose_options(s);
    s->skewed_clocks = prng_chance(&s->prng, 500);
    for (uint32_t i = 1; i <= s->node_count; i++)
        fault_clock(s, &s->nodes[i]);
}

static uint32_t any_node(struct sim *s)
{
    return (uint32_t)prng_between(&s->prng, 1, s->node_count);
}

static uint32_t any_leader(struct sim *s)
{
    for (uint32_t i = 1; i <= s->node_count; i++)
        if (s->nodes[i].raft && s->nodes[i].role == RAFT_LEADER && prng_chance(&s->prng, 700))
            return i;
    return any_node(s);
}

void fault_heal(struct sim *s)
{
    memset(s->cut, 0, sizeof s->cut);
    s->heal_us = 0;
}

/* Both ways, one way, or one link. */
static void partition(struct sim *s)
{
    bool side[NODES_MAX + 1];
    uint64_t form = prng_below(&s->prng, 4);
    if (form == 0) {
        uint32_t a = any_node(s), b = any_node(s);
        s->cut[a][b] = true;
        s->cut[b][a] = prng_chance(&s->prng, 500);
        return;
    }
    for (uint32_t i = 1; i <= s->node_count; i++)
        side[i] = prng_chance(&s->prng, 500);
    for (uint32_t a = 1; a <= s->node_count; a++)
        for (uint32_t b = 1; b <= s->node_count; b++)
            if (side[a] != side[b] && (form != 1 || side[a]))
                s->cut[a][b] = true;
}

static void isolate(struct sim *s, uint32_t id)
{
    bool one_way = prng_chance(&s->prng, 300);
    for (uint32_t i = 1; i <= s->node_count; i++) {
        s->cut[id][i] = true;
        s->cut[i][id] = !one_way;
    }
    if (s->node_count >= 5 && prng_chance(&s->prng, 500)) { /* with one companion */
        uint32_t friend = any_node(s);
        s->cut[id][friend] = s->cut[friend][id] = false;
    }
}

/* Up to 20 election timeouts. A process that is stopped finds its clock gone on; a machine that is
 * frozen does not, which no lease survives: those runs read by index only. */
static void pause_node(struct sim *s, struct node *n)
{
    uint64_t length = prng_between(&s->prng, 10000, 20ull * ELECTION_MS_MAX * 1000);
    if (prng_chance(&s->prng, 600))
        length /= 10;
    n->paused_until_us = s->now_us + length;
    if (!s->lease_reads && prng_chance(&s->prng, 500))
        n->clock_offset_ms -= (int64_t)(length / 1000 * n->clock_rate / 1000);
}

static void transfer(struct sim *s)
{
    struct node *n = &s->nodes[any_leader(s)];
    struct raft_event event = {.kind = RAFT_EV_TRANSFER, .peer = any_node(s)};
    if (prng_chance(&s->prng, 100))
        event.kind = RAFT_EV_STEP_DOWN;
    if (node_awake(s, n))
        (void)node_step(s, n, &event);
}

void fault_tick(struct sim *s)
{
    const struct profile *p = &s->profile;
    if (s->calm)
        return;
    world_push(s, s->now_us + prng_between(&s->prng, 1, p->fault_tick_ms * 2) * 1000, EV_FAULT, 0,
               0);
    struct node *n = &s->nodes[any_node(s)];
    if (s->heal_us != 0 && s->now_us >= s->heal_us)
        fault_heal(s);
    if (prng_chance(&s->prng, p->crash)) {
        n = &s->nodes[prng_chance(&s->prng, 500) ? any_leader(s) : n->id];
        if (n->raft)
            node_crash(s, n);
    }
    if (prng_chance(&s->prng, p->pause))
        pause_node(s, &s->nodes[prng_chance(&s->prng, 500) ? any_leader(s) : any_node(s)]);
    if (prng_chance(&s->prng, p->slow_disk))
        s->nodes[any_node(s)].slow_until_us = s->now_us + prng_between(&s->prng, 1, 5000000);
    if (prng_chance(&s->prng, p->transfer))
        transfer(s);
    if (prng_chance(&s->prng, p->change))
        member_change(s);
    if (prng_chance(&s->prng, p->death))
        member_kill(s);
    if (prng_chance(&s->prng, p->wipe))
        member_wipe(s);
    if (prng_chance(&s->prng, p->partition) || prng_chance(&s->prng, p->isolate_leader)) {
        if (prng_chance(&s->prng, p->isolate_leader * 1000 / (p->isolate_leader + p->partition))) {
            fault_heal(s);
            isolate(s, any_leader(s));
        } else {
            partition(s);
        }
        s->heal_us = s->now_us + prng_between(&s->prng, 50000, 4000000);
    }
}

/* Faults off; every node up but those that died and were replaced. */
void fault_calm(struct sim *s)
{
    s->calm = true;
    fault_heal(s);
    for (uint32_t i = 1; i <= s->node_count; i++) {
        struct node *n = &s->nodes[i];
        n->paused_until_us = 0;
        n->slow_until_us = 0;
        if (!n->raft && !n->dead)
            node_boot(s, n);
    }
    member_revive(s);
}

void fault_cut_leader_link(struct sim *s)
{
    uint32_t leader = s->leaders[s->terms_used];
    uint32_t other =
        (leader + (uint32_t)prng_below(&s->prng, s->node_count - 1)) % s->node_count + 1;
    uint64_t form = prng_below(&s->prng, 3); /* both ways, or one of them */
    CHECK(leader != other);
    sim_trace(s, "link of leader %u and node %u is cut, form %lu", leader, other, form);
    s->cut[leader][other] = form != 1;
    s->cut[other][leader] = form != 2;
}
