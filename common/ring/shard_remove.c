/* Targets leave the table for good: empty ones at once; of those that are lost with what they hold
 * the slots are given up, by an operator's word only. This is the one place where a copy that is
 * not in sync becomes the authority (D19), or where slots begin anew without their data; chunks
 * that are not there are errors afterwards, never zeros (D8). */
#include <string.h>

#include "common/base/check.h"
#include "common/ring/shard_private.h"
#include "common/base/banned.h"

static bool is_out(const struct shard_table *t, uint32_t id)
{
    const struct target *target = shard_table_target(t, id);
    return !target || target->state == TARGET_OUT;
}

static bool is_listed(const struct shard_removal *r, uint32_t id)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->targets[i] == id)
            return true;
    return false;
}

/* ---- what refuses ---- */

static bool has_heir(const struct shard_table *t, const struct shard_removal *r)
{
    for (unsigned i = 0; i < t->target_count; i++)
        if (target_may_receive(t, t->targets[i].id) && !is_listed(r, t->targets[i].id))
            return true;
    return false;
}

static bool loses_all(const struct shard_table *t, const struct shard *s, unsigned copies,
                      const struct shard_removal *r)
{
    for (unsigned i = 0; i < copies; i++)
        if (!is_listed(r, s->slot[i].target) && !is_out(t, s->slot[i].target))
            return false;
    return s->epoch > 0 && (!s->move.incoming || is_listed(r, s->move.incoming));
}

int shard_table_check_removal(const struct shard_table *t, const struct shard_removal *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        const uint32_t *id = &r->targets[i];
        const struct target *target = shard_table_target(t, *id);
        CHECK(target != NULL);
        bool is_empty = !shard_table_holds(t, id, 1) && !shard_table_owes(t, id, 1);
        if (target->state != TARGET_OUT && !is_empty &&
            (target->state == TARGET_UP || !r->data_loss))
            return -ERR_REFUSED;
    }
    for (unsigned copies = 1; copies <= COPIES_MAX && !has_heir(t, r); copies++)
        for (uint32_t i = 0; t->shards[copies] && i < t->shard_count; i++)
            if (loses_all(t, &t->shards[copies][i], copies, r))
                return -ERR_NO_SPACE;
    return 0;
}

/* ---- the last good copy is lost ---- */

/* Who was in sync last lacks the least. One that never was holds a part, newer or not. */
static struct slot *best_copy(const struct shard_table *t, struct shard *s, unsigned copies)
{
    struct slot *best = NULL;
    for (unsigned i = 0; i < copies; i++) {
        struct slot *slot = &s->slot[i];
        if (is_out(t, slot->target))
            continue;
#ifndef PLANT_D19_OUT
        if (!best || slot->held_epoch > best->held_epoch ||
            (slot->held_epoch == best->held_epoch && target_is_up(t, slot->target) &&
             !target_is_up(t, best->target)))
#else
        if (!best)
#endif
            best = slot;
    }
    return best;
}

static bool shares_host(const struct shard_table *t, const struct shard *s, unsigned count,
                        const struct target *with)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(shard_table_target(t, s->slot[i].target)->host, with->host) == 0)
            return true;
    return false;
}

static bool has_slot(const struct shard *s, unsigned count, uint32_t id)
{
    for (unsigned i = 0; i < count; i++)
        if (s->slot[i].target == id)
            return true;
    return false;
}

/* Slots on targets that are up, other hosts first; from another target on for each shard, so that
 * they spread. Only the first is in sync: what it may still have of the shard from earlier times
 * becomes the contents of all, or nothing does. What is too few stays with those that are lost, for
 * the planner. The choice is replayed from logs: it must never change. */
static void begin_anew(const struct shard_table *t, struct shard *s, unsigned copies,
                       uint32_t number)
{
    unsigned filled = 0;
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < t->target_count && filled < copies; i++) {
            const struct target *target = &t->targets[(number + i) % t->target_count];
            if (!target_may_receive(t, target->id) || has_slot(s, filled, target->id) ||
                (pass == 0 && shares_host(t, s, filled, target)))
                continue;
            s->slot[filled] =
                (struct slot){.target = target->id, .state = filled ? SLOT_SYNCING : SLOT_INSYNC};
            filled++;
        }
    CHECK(filled > 0);
}

/* ---- removal ---- */

static void replace_authority(const struct shard_table *t, struct shard *s, unsigned copies,
                              uint32_t number)
{
    struct slot *best = best_copy(t, s, copies);
    if (best)
        *best = (struct slot){.target = best->target, .state = SLOT_INSYNC};
    else
        begin_anew(t, s, copies, number);
}

static bool remove_from(const struct shard_table *t, struct shard *s, unsigned copies,
                        uint32_t number)
{
    bool changed = false, authority = false;
    if (s->move.incoming && s->move.state == SLOT_INSYNC) {
        changed = true;
        if (is_out(t, s->move.incoming))
            move_revert(s, copies, false);
        else if (is_out(t, s->move.outgoing))
            move_finish(s, copies);
        else
            changed = false;
    }
    for (unsigned i = 0; i < copies; i++) {
        struct slot *slot = &s->slot[i];
        if (slot_is_good(slot) && !is_out(t, slot->target)) {
            authority = true;
        } else if (slot->state == SLOT_INSYNC) {
            slot_set(s, slot, SLOT_OFFLINE);
            changed = true;
        }
    }
    changed = move_settle_filling(t, s, copies) || changed;
    if (!authority)
        replace_authority(t, s, copies, number);
    return changed;
}

void shard_table_remove(struct shard_table *t, uint64_t version, const struct shard_removal *r)
{
    for (unsigned i = 0; i < t->target_count; i++)
        if (is_listed(r, t->targets[i].id))
            t->targets[i].state = TARGET_OUT;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t i = 0; t->shards[copies] && i < t->shard_count; i++) {
            struct shard *s = &t->shards[copies][i];
            if (s->epoch > 0 && remove_from(t, s, copies, i))
                shard_changed(t, s, version);
        }
    t->version = version;
}

void shard_table_drop(struct shard_table *t, uint32_t id)
{
    unsigned at = 0;
    while (at < t->target_count && t->targets[at].id != id)
        at++;
    CHECK(at < t->target_count);
    uint32_t next = t->targets[t->target_count - 1].id + 1;
    if (t->target_next < next)
        t->target_next = next;
    t->target_count--;
    memmove(&t->targets[at], &t->targets[at + 1], (t->target_count - at) * sizeof *t->targets);
}
