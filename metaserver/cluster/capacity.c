/* The planner: what disks tell of themselves. Weights follow capacities; a disk that is nearly full
 * receives nothing more, one that is all but full gives some away. */
#include "metaserver/cluster/balance.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/ring/placement.h"
#include "common/base/banned.h"

enum {
    PERCENT_FULL = 90,     /* it receives nothing more */
    PERCENT_OVERFULL = 95, /* its slots may go */
    HYSTERESIS = 10,       /* a weight changes by more than a tenth or not at all */
    WEIGHT_LEAST = RING_WEIGHT_MEAN / 100,
    WEIGHT_MOST = RING_WEIGHT_MEAN * 100, /* 25,600 points: more would make the ring slow */
};

/* ---- who may take part ---- */

bool capacity_is_settled(const struct planning *p, uint32_t target)
{
    const struct target_view *v = plan_view_of(p->view, target);
    if (!v || !v->heard)
        return false;
    uint64_t since =
        v->up_since_ms > p->view->leader_since_ms ? v->up_since_ms : p->view->leader_since_ms;
#ifndef PLANT_D25_SETTLE
    return p->view->now_ms >= since + p->options->settle_ms;
#else
    return p->view->now_ms >= since;
#endif
}

static bool is_fuller(const struct target_view *v, uint64_t bytes, unsigned percent)
{
    return v && v->bytes_total > 0 && bytes / percent > v->bytes_total / 100;
}

bool capacity_is_full(const struct planning *p, uint32_t target)
{
    const struct target_view *v = plan_view_of(p->view, target);
    return v && is_fuller(v, v->bytes_used, PERCENT_FULL);
}

bool capacity_is_overfull(const struct planning *p, uint32_t target)
{
    const struct target_view *v = plan_view_of(p->view, target);
    /* What has left is deleted by and by: it counts as gone, or ever more would follow it. */
    return v && is_fuller(v, v->bytes_used > v->left_bytes ? v->bytes_used - v->left_bytes : 0,
                          PERCENT_OVERFULL);
}

/* ---- weights ---- */

struct weighing {
    unsigned count;
    uint64_t *capacities;
    uint32_t *wanted;             /* of RING_WEIGHT_MEAN for their mean */
    const struct target **target; /* by their order */
    uint64_t *ratios; /* wanted to present, in thousandths, of those that have settled */
};

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void weigh(const struct planning *p, struct weighing *w, bool is_formed)
{
    const struct shard_table *table = p->view->table;
    for (unsigned i = 0; i < table->target_count; i++) {
        const struct target *t = &table->targets[i];
        const struct target_view *v = plan_view_of(p->view, t->id);
        if (p->standings[i].standing != STANDING_WELL || !v || v->bytes_total == 0 ||
            t->weight == 0 || (is_formed && !capacity_is_settled(p, t->id)))
            continue;
        w->capacities[w->count] = v->bytes_total;
        w->target[w->count++] = t;
    }
    placement_weights(w->capacities, w->count, w->wanted);
}

static uint64_t ratio_of(const struct weighing *w, unsigned i)
{
    return (uint64_t)w->wanted[i] * 1000 / w->target[i]->weight;
}

/* Only proportions count. So most targets keep their weight when one of another size joins: what
 * the typical one has is right, and the others are measured by it. */
static uint64_t typical_ratio(const struct weighing *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->count; i++)
        if (!w->target[i]->rebalance)
            w->ratios[count++] = ratio_of(w, i);
    for (unsigned i = 0; count == 0 && i < w->count; i++)
        w->ratios[i] = ratio_of(w, i);
    count = count ? count : w->count;
    qsort(w->ratios, count, sizeof *w->ratios, compare_u64);
    return w->ratios[count / 2];
}

/* When the whole has drifted from the mean by a factor of two all are set anew. */
static void propose(const struct planning *p, const struct weighing *w, uint64_t typical)
{
    struct plan *plan = p->plan;
    bool has_drifted = typical > 2000 || typical < 500;
    for (unsigned i = 0; i < w->count; i++) {
        const struct target *t = w->target[i];
        uint64_t fair = (uint64_t)w->wanted[i] * 1000 / (typical ? typical : 1);
        fair = fair < WEIGHT_LEAST ? WEIGHT_LEAST : fair > WEIGHT_MOST ? WEIGHT_MOST : fair;
        uint64_t apart = fair > t->weight ? fair - t->weight : t->weight - fair;
        bool differs = apart * HYSTERESIS > t->weight;
        if (!differs && !has_drifted)
            continue;
        uint32_t weight = has_drifted ? w->wanted[i] : (uint32_t)fair;
        plan->weights[plan->weight_count++] = (struct rec_target_weight){
            .target = t->id,
            .weight = weight < WEIGHT_LEAST  ? WEIGHT_LEAST
                      : weight > WEIGHT_MOST ? WEIGHT_MOST
                                             : weight,
            .rebalance = differs || t->rebalance,
        };
    }
}

void plan_weights(struct planning *p)
{
    const struct shard_table *table = p->view->table;
    size_t size = table->target_count + 1;
    struct weighing w = {.capacities = calloc(size, sizeof *w.capacities),
                         .wanted = calloc(size, sizeof *w.wanted),
                         .target = calloc(size, sizeof *w.target),
                         .ratios = calloc(size, sizeof *w.ratios)};
    bool is_formed = false;
    CHECK(w.capacities != NULL && w.wanted != NULL && w.target != NULL && w.ratios != NULL);
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        is_formed = is_formed || table->shards[copies];
    weigh(p, &w, is_formed);
    if (w.count > 0)
        propose(p, &w, typical_ratio(&w));
    free(w.capacities);
    free(w.wanted);
    free(w.target);
    free(w.ratios);
}
