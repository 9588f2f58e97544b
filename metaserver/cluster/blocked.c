/* The planner: which slots cannot move, why, and whom they wait for. */
#include "common/base/check.h"
#include "metaserver/cluster/plan_private.h"
#include "common/base/banned.h"

void plan_note_blocked(const struct planning *p, uint32_t target, enum job_reason reason,
                       uint32_t waits_for, uint32_t slots)
{
    struct plan *plan = p->plan;
    struct plan_blocked *b = plan->blocked, *end = b + plan->blocked_count;
    bool is_full = plan->blocked_count == PLAN_BLOCKED_MAX;
    /* When there is no row left it is counted with another one of its reason. */
    while (b < end &&
           (b->target != target || b->reason != reason || (b->waits_for != waits_for && !is_full)))
        b++;
    if (b == end && is_full)
        return;
    if (b == end) {
        *b = (struct plan_blocked){.target = target, .reason = reason, .waits_for = waits_for};
        plan->blocked_count++;
    }
    b->slots += slots;
}

static bool is_in_sync(const struct slot *slot)
{
    return slot->state == SLOT_INSYNC || slot->state == SLOT_LEAVING;
}

static bool is_there(const struct planning *p, uint32_t target)
{
    enum standing standing = standing_of(p, target)->standing;
    return standing == STANDING_WELL || standing == STANDING_SUSPECT;
}

/* D18: while another copy of the shard is missing the drained one counts as good, and must not go:
 * the copies that shall be there without it come first. */
static uint32_t missing_copy(const struct shard *s, unsigned copies, unsigned drained)
{
#ifdef PLANT_D18_COPY
    return 0;
#endif
    for (unsigned i = 0; i < copies; i++)
        if (i != drained && !is_in_sync(&s->slot[i]))
            return s->slot[i].target;
    return 0;
}

enum job_reason plan_reason_of(const struct planning *p, const struct shard *s, unsigned copies,
                               unsigned slot, uint32_t *ret_waits_for)
{
    const struct slot *drained = &s->slot[slot];
    bool any_source = false;
    uint32_t source = 0;
    for (unsigned i = 0; i < copies; i++) {
        if (!is_in_sync(&s->slot[i]))
            continue;
        any_source = any_source || is_there(p, s->slot[i].target);
        source = source ? source : s->slot[i].target;
    }
    *ret_waits_for = source;
    if (!any_source)
        return JOB_NO_SOURCE;
    if (s->move.incoming && s->move.outgoing == drained->target)
        return 0;
    *ret_waits_for = missing_copy(s, copies, slot);
    if (*ret_waits_for)
        return JOB_REPAIR;
    *ret_waits_for = drained->target;
    return drained->state == SLOT_SYNCING ? JOB_REPAIR : 0;
}

void plan_block_drains(const struct planning *p, enum job_reason reason)
{
    const struct shard_table *table = p->view->table;
    for (unsigned i = 0; i < table->target_count; i++) {
        const struct standing_of *s = &p->standings[i];
        bool is_paused = s->drain && s->drain->is_paused;
        if (s->is_drained && !is_paused && s->slots > 0)
            plan_note_blocked(p, s->target, reason, 0, s->slots);
    }
}
