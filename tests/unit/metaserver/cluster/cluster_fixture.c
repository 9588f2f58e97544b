/* A leader with its view of the targets. */
#include "tests/unit/metaserver/cluster/cluster_fixture.h"

#include <stdlib.h>

#include "common/base/check.h"

void leader_heard(struct leader *l, uint32_t target)
{
    l->views[target - 1].heard = l->views[target - 1].is_told = true;
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
        /* Large shards, for which the limits are what the options say. */
        l->views[id - 1] = (struct target_view){.target = id, .chunk_bytes = 1ull << 50};
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
        .drains = l->drains,
        .drain_count = l->drain_count,
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

void leader_step(struct leader *l, const uint32_t *silent, unsigned copies, uint32_t finished)
{
    leader_pass(l, 500, silent);
    leader_plan(l);
    leader_apply(l);
    for (uint32_t shard = 0; shard < finished; shard++)
        leader_finish(l, copies, shard);
}

void leader_settle(struct leader *l, unsigned copies)
{
    while (l->now_ms < l->since_ms + l->options.lease_ms + l->options.margin_ms)
        leader_step(l, NULL, copies, 0);
}

void leader_set_admin(struct leader *l, uint32_t target, enum target_admin admin)
{
    CU_ASSERT_EQUAL(shard_table_set_admin(&l->f.table, ++l->f.version, target, admin), 0);
}

uint32_t leader_blocked(const struct leader *l, uint32_t target, enum job_reason reason,
                        uint32_t *ret_waits_for)
{
    uint32_t slots = 0;
    for (unsigned i = 0; i < l->plan->blocked_count; i++) {
        const struct plan_blocked *b = &l->plan->blocked[i];
        if (b->target != target || b->reason != reason)
            continue;
        if (slots == 0 && ret_waits_for)
            *ret_waits_for = b->waits_for;
        slots += b->slots;
    }
    return slots;
}

bool leader_gives_up(const struct leader *l, uint32_t target)
{
    for (unsigned i = 0; i < l->plan->offline_count; i++)
        if (l->plan->offline[i].target == target)
            return true;
    return false;
}
