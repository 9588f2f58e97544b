/* sim-ring: the scenarios of the table, and random lives. */
#include <math.h>
#include <stdio.h>

#include "common/base/check.h"
#include "tests/sim/ring_sim.h"

/* docs of the bounds: docs/placement.md. */
static const double load_bound = 1.06, move_bound = 1.25, leave_bound = 1.05, hottest_bound = 1.3,
                    none_bound = 0.5, but_one_bound = 1.0501;

static void named(const char *event, const char *figure, double value, double bound)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s: %s", event, figure);
    row(name, value, bound);
}

static double moved_to_ideal(const struct outcome *o)
{
    return o->ideal > 0 ? o->moved / o->ideal : o->moved;
}

/* What must hold after every change. Of equal targets the load itself is bounded, of unequal ones
 * the load without one slot: a small target's share is a few slots. */
static void judge_all(const char *event, const struct outcome *o, bool equal)
{
    named(event, equal ? "max / mean slots" : "(max - 1) / share, slots",
          equal ? o->balance.most : o->balance.most_but_one, equal ? load_bound : but_one_bound);
    named(event, "shards too near, slots not placed", o->too_near + o->unfilled, none_bound);
}

/* A change that is obeyed: moves little, and those that lack slots get them. */
static void judge_change(const char *event, const struct outcome *o)
{
    named(event, "bytes moved / ideal", moved_to_ideal(o), move_bound);
    named(event, "share / slots of the changed", o->poorest, load_bound);
}

static double nothing_changed(const struct world *from)
{
    struct world w;
    struct change none = {.changed_count = 0};
    world_copy(&w, from);
    struct outcome o = world_follow(&w, &none);
    world_release(&w);
    return o.moved;
}

static struct outcome change_one(const struct world *from, uint32_t id, uint32_t weight, bool in)
{
    struct world w;
    struct change c = {.changed_count = 0};
    world_copy(&w, from);
    w.targets[id - 1].weight = weight;
    w.targets[id - 1].in = in;
    if (in && weight > 0)
        change_note(&c, id);
    struct outcome o = world_follow(&w, &c);
    world_release(&w);
    return o;
}

/* ---- plain: two targets on a host, all equal, formed by ring_form as clusters are today ---- */

static void form_plain(struct world *w)
{
    struct ring *r = world_ring(w);
    CHECK(ring_form(r, SHARDS, COPIES, w->ids) == 0);
    ring_destroy(r);
}

/* A size at which the bound on the slots of a target falls when one joins. */
static unsigned size_of_step(unsigned size)
{
    while (SLOTS * 105 / 100 / size == SLOTS * 105 / 100 / (size + 1))
        size++;
    return size;
}

static void join_at_step(unsigned size)
{
    struct world w;
    unsigned before = size_of_step(size);
    world_init(&w, before, 1, 2, 0, 0, false);
    form_plain(&w);
    struct outcome o = change_one(&w, before + 1, RING_WEIGHT_MEAN, true);
    row("join where the limit falls: bytes moved / ideal", moved_to_ideal(&o), move_bound);
    world_release(&w);
}

static void replace_one(const struct world *from, unsigned size)
{
    struct world w;
    struct change c = {.changed_count = 0};
    world_copy(&w, from);
    w.targets[0].weight = 0;
    w.targets[size].in = true;
    change_note(&c, size + 1);
    struct outcome o = world_follow(&w, &c);
    judge_change("one drained while one joins", &o);
    world_release(&w);
}

static void leave_plain(const struct world *from, unsigned size)
{
    struct outcome o = change_one(from, size, 0, false);
    named("one leaves", "bytes moved / bytes lost", moved_to_ideal(&o), leave_bound);
    named("one leaves", "receivers", o.receivers, 0);
    named("one leaves", "hottest / mean receiver", o.hottest, hottest_bound);
    judge_all("one leaves", &o, true);
    struct world w;
    world_copy(&w, from);
    w.targets[0].in = false;
    o = world_repair(&w, 1);
    named("one repaired slot by slot", "hottest / mean receiver", o.hottest, hottest_bound);
    named("one repaired slot by slot", "shards too near", o.too_near, none_bound);
    named("one repaired slot by slot", "CPU ms", o.cpu_ms, 0);
    world_release(&w);
    o = change_one(from, size, 0, true);
    named("one drained", "bytes moved / bytes held", moved_to_ideal(&o), leave_bound);
}

void run_plain(unsigned size)
{
    struct world w;
    struct outcome o;
    world_init(&w, size, 1, 2, 0, 0, false);
    form_plain(&w);
    struct balance b = world_balance(&w);
    row("form: max / mean slots", b.most, load_bound);
    row("form: min / mean slots", b.least, 0);
    row("form: standard deviation", b.deviation, 0);
    row("form: max / mean bytes", b.most_bytes, 1.15);
    row("form: max / mean first slots (heads)", b.most_heads, 0);
    row("form: shards too near", world_too_near(&w), none_bound);
    row("nothing changed: bytes moved", nothing_changed(&w), none_bound);
    o = change_one(&w, size + 1, RING_WEIGHT_MEAN, true);
    judge_change("join", &o);
    judge_all("join", &o, true);
    named("join", "CPU ms of the plan", o.cpu_ms, 0);
    join_at_step(size);
    leave_plain(&w, size);
    replace_one(&w, size);
    o = change_one(&w, 1, 2 * RING_WEIGHT_MEAN, true);
    judge_change("weight doubled", &o);
    o = change_one(&w, 1, RING_WEIGHT_MEAN / 2, true);
    judge_change("weight halved", &o);
    world_release(&w);
}

/* ---- real: zones, racks, hosts, capacities from 1 to 4, formed by placement_plan ---- */

static bool in_lost(const struct world *w, unsigned i, unsigned host, unsigned rack, unsigned zone)
{
    const struct sim_target *t = &w->targets[i];
    return t->host == host || t->rack == rack || t->zone == zone;
}

/* A domain is lost for good, then comes back empty. UINT_MAX: none of that kind. */
static void lose(const struct world *from, unsigned size, const char *event, unsigned host,
                 unsigned rack, unsigned zone)
{
    struct world w;
    struct change c = {.changed_count = 0};
    char back[64];
    world_copy(&w, from);
    for (unsigned i = 0; i < size; i++)
        w.targets[i].in = !in_lost(&w, i, host, rack, zone);
    struct outcome o = world_follow(&w, &c);
    named(event, "bytes moved / bytes lost", moved_to_ideal(&o), leave_bound);
    named(event, "hottest receiver for its share", o.hottest_but_one, hottest_bound);
    judge_all(event, &o, false);
    for (unsigned i = 0; i < size; i++) {
        if (!w.targets[i].in && c.changed_count < CHANGES_MAX)
            change_note(&c, i + 1);
        w.targets[i].in = true;
    }
    o = world_follow(&w, &c);
    (void)snprintf(back, sizeof back, "%s and returns", event);
    judge_change(back, &o);
    judge_all(back, &o, false);
    world_release(&w);
}

static void init_real(struct world *w, unsigned size, unsigned spare)
{
    if (size < 100)
        world_init(w, size, spare, 1, 6, 3, true);
    else if (size < 1000)
        world_init(w, size, spare, 2, 9, 3, true);
    else
        world_init(w, size, spare, 2, 20, 4, true);
}

void run_real(unsigned size)
{
    struct world w;
    struct change none = {.changed_count = 0};
    init_real(&w, size, 1);
    struct outcome o = world_follow(&w, &none);
    named("domains, form", "min / share, slots", o.balance.least, 0);
    named("domains, form", "standard deviation", o.balance.deviation, 0.045);
    named("domains, form", "max / share, bytes", o.balance.most_bytes, 1.15);
    named("domains, form", "sum of shares", o.balance.share_sum, 1.0001);
    named("domains, form", "sum of shares, inverse", 1 / o.balance.share_sum, 1.0001);
    judge_all("domains, form", &o, false);
    named("domains, form", "CPU ms of the plan", o.cpu_ms, 0);
    row("domains, nothing changed: bytes moved", nothing_changed(&w), none_bound);
    o = change_one(&w, size + 1, w.targets[size].weight, true);
    judge_change("domains, join", &o);
    judge_all("domains, join", &o, false);
    o = change_one(&w, 4, 2 * w.targets[3].weight, true);
    judge_change("domains, weight doubled", &o);
    judge_all("domains, weight doubled", &o, false);
    lose(&w, size, "host lost", 2, UINT32_MAX, UINT32_MAX);
    lose(&w, size, "rack lost", UINT32_MAX, 2, UINT32_MAX);
    lose(&w, size, "zone lost", UINT32_MAX, UINT32_MAX, 1);
    world_release(&w);
}

/* ---- random lives ---- */

/* One to three targets leave, are drained, join, or get another weight. */
static void mutate(struct world *w, struct prng *p, struct change *ret_change)
{
    unsigned changes = (unsigned)prng_between(p, 1, 3), holders = 0;
    for (unsigned i = 0; i < w->count; i++)
        holders += w->targets[i].in && w->targets[i].weight > 0;
    for (unsigned i = 0; i < changes; i++) {
        struct sim_target *t = &w->targets[prng_below(p, w->count)];
        uint32_t weight = RING_WEIGHT_MEAN * (uint32_t)prng_between(p, 1, 4);
        bool held = t->in && t->weight > 0, goes = held && prng_chance(p, 600);
        if (goes && holders <= w->count / 2)
            continue;
        holders += goes ? -1u : !held;
        t->in = !goes || prng_chance(p, 500);
        if (!goes && (!held || t->weight != weight))
            change_note(ret_change, t->id);
        t->weight = goes ? 0 : weight;
    }
}

bool run_life(uint64_t seed, unsigned size, unsigned steps, struct worst *ret_worst)
{
    struct world w;
    struct change none = {.changed_count = 0};
    struct prng p;
    bool good = true;
    prng_init(&p, seed);
    init_real(&w, size, size / 10);
    (void)world_follow(&w, &none);
    for (unsigned step = 0; good && step < steps; step++) {
        struct change c = {.changed_count = 0};
        mutate(&w, &p, &c);
        struct outcome o = world_follow(&w, &c);
        double moved = moved_to_ideal(&o);
        ret_worst->moved = fmax(ret_worst->moved, moved);
        ret_worst->poorest = fmax(ret_worst->poorest, o.poorest);
        double *worst = o.enough_zones ? &ret_worst->load : &ret_worst->load_few_zones;
        *worst = fmax(*worst, o.balance.most_but_one);
        good = moved <= move_bound && o.too_near + o.unfilled == 0;
        if (!good)
            printf("# seed=%llu size=%u step %u: moved %.3f of ideal (%.0f chunks), %u too near, "
                   "%u not placed\n",
                   (unsigned long long)seed, size, step, moved, o.ideal, o.too_near, o.unfilled);
    }
    world_release(&w);
    return good;
}
