/* A leader with its view of the targets. */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

#include <stdlib.h>

#include "common/base/check.h"

void leader_heard(struct leader *l, uint32_t target)
{
    l->views[target - 1].heard = true;
    l->views[target - 1].heard_ms = l->now_ms;
}

void leader_init(struct leader *l, unsigned targets, uint32_t shards, unsigned copies)
{
    CHECK(targets <= LEADER_TARGETS_MAX);
    *l = (struct leader){.now_ms = 100000, .since_ms = 100000};
    fixture_init(&l->f, targets, shards, copies);
    l->options = plan_options_default();
    l->planner = planner_create();
    l->plan = calloc(1, sizeof *l->plan);
    CHECK(l->plan != NULL);
    for (uint32_t id = 1; id <= LEADER_TARGETS_MAX; id++)
        l->views[id - 1].target = id;
    for (uint32_t id = 1; id <= targets; id++)
        leader_heard(l, id);
}

void leader_release(struct leader *l)
{
    fixture_release(&l->f);
    planner_destroy(l->planner);
    free(l->plan);
}

void leader_pass(struct leader *l, uint64_t ms, const uint32_t *silent)
{
    l->now_ms += ms;
    for (uint32_t id = 1; id <= l->f.table.target_count; id++) {
        bool heard = shard_table_target(&l->f.table, id)->state == TARGET_UP;
        for (const uint32_t *s = silent; s && *s; s++)
            heard = heard && *s != id;
        if (heard)
            leader_heard(l, id);
    }
}

void leader_plan(struct leader *l)
{
    struct cluster_view view = {
        .table = &l->f.table,
        .targets = l->views,
        .target_count = LEADER_TARGETS_MAX,
        .now_ms = l->now_ms,
        .leader_since_ms = l->since_ms,
    };
    planner_run(l->planner, &view, &l->options, l->plan);
}

void leader_apply(struct leader *l)
{
    const struct plan *plan = l->plan;
    struct shard_table *table = &l->f.table;
    uint32_t ids[LEADER_TARGETS_MAX];
    uint64_t incarnations[LEADER_TARGETS_MAX];
    for (unsigned i = 0; i < plan->failed_count; i++)
        CU_ASSERT_TRUE(shard_table_failed(table, ++l->f.version, plan->failed[i]));
    for (unsigned i = 0; i < plan->offline_count; i++) {
        ids[i] = plan->offline[i].target;
        incarnations[i] = plan->offline[i].incarnation;
    }
    if (plan->offline_count)
        shard_table_offline(table, ++l->f.version, ids, incarnations, plan->offline_count);
    if (plan->form_copies)
        CU_ASSERT_EQUAL(shard_table_form_by_plan(table, ++l->f.version, plan->form_copies), 0);
    for (unsigned i = 0; i < plan->weight_count; i++)
        CU_ASSERT_TRUE(shard_table_set_weight(table, ++l->f.version, plan->weights[i].target,
                                              plan->weights[i].weight,
                                              plan->weights[i].rebalance != 0));
    for (unsigned i = 0; i < plan->replacement_count; i++)
        CU_ASSERT_TRUE(shard_table_change(table, ++l->f.version, &plan->replacements[i]));
}

void leader_finish(struct leader *l, unsigned copies, uint32_t shard)
{
    struct chain_view chain = shard_table_chain(&l->f.table, copies, shard);
    if (chain.member_count > chain.insync_count)
        fixture_synced(&l->f, copies, shard, chain.member[chain.insync_count],
                       chain.member[chain.insync_count - 1]);
    if (chain.leaving)
        fixture_left(&l->f, copies, shard, chain.leaving);
}

bool leader_gives_up(const struct leader *l, uint32_t target)
{
    for (unsigned i = 0; i < l->plan->offline_count; i++)
        if (l->plan->offline[i].target == target)
            return true;
    return false;
}
