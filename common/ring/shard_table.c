/* The shard table: look-ups and invariants. */
#include "common/ring/shard_private.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

void shard_table_init(struct shard_table *t, uint32_t shard_count)
{
    *t = (struct shard_table){.shard_count = shard_count};
}

void shard_table_release(struct shard_table *t)
{
    for (unsigned copies = 0; copies <= COPIES_MAX; copies++)
        free(t->shards[copies]);
    free(t->targets);
    *t = (struct shard_table){.shard_count = t->shard_count};
}

const struct target *shard_table_target(const struct shard_table *t, uint32_t id)
{
    unsigned low = 0, high = t->target_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (t->targets[middle].id == id)
            return &t->targets[middle];
        if (t->targets[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

uint32_t target_ring_weight(const struct target *target)
{
    return target->admin == TARGET_DRAINING || target->state == TARGET_OUT ? 0 : target->weight;
}

const struct target *shard_table_target_by_uuid(const struct shard_table *t,
                                                const struct uuid *uuid)
{
    for (unsigned i = 0; i < t->target_count; i++)
        if (t->targets[i].state != TARGET_OUT &&
            memcmp(t->targets[i].uuid.bytes, uuid->bytes, UUID_SIZE) == 0)
            return &t->targets[i];
    return NULL;
}

const struct shard *shard_table_shard(const struct shard_table *t, unsigned copies, uint32_t shard)
{
    if (copies < 1 || copies > COPIES_MAX || shard >= t->shard_count || !t->shards[copies])
        return NULL;
    return &t->shards[copies][shard];
}

struct chain_view shard_table_chain(const struct shard_table *t, unsigned copies, uint32_t shard)
{
    struct chain_view view = {0};
    const struct shard *s = shard_table_shard(t, copies, shard);
    if (!s || s->epoch == 0)
        return view;
    view.epoch = s->epoch;
    for (unsigned i = 0; i < copies; i++) {
        if (s->slot[i].state == SLOT_LEAVING)
            view.leaving = s->slot[i].target;
        if (s->slot[i].state == SLOT_INSYNC || s->slot[i].state == SLOT_LEAVING)
            view.member[view.member_count++] = s->slot[i].target;
    }
    if (s->move.incoming && s->move.state == SLOT_INSYNC)
        view.member[view.member_count++] = s->move.incoming;
    view.insync_count = view.member_count;
    for (unsigned i = 0; i < view.insync_count; i++)
        if (view.member[i] != view.leaving)
            view.reader[view.reader_count++] = view.member[i];
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].state == SLOT_SYNCING)
            view.member[view.member_count++] = s->slot[i].target;
    if (s->move.incoming && s->move.state == SLOT_SYNCING)
        view.member[view.member_count++] = s->move.incoming;
    return view;
}

bool shard_has_member(const struct shard *s, unsigned copies, uint32_t target,
                      enum slot_state *ret_state)
{
    if (s->epoch == 0 || target == 0)
        return false;
    if (s->move.incoming == target) {
        *ret_state = s->move.state;
        return true;
    }
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].target == target) {
            *ret_state = s->slot[i].state;
            return true;
        }
    return false;
}

static bool has(const uint32_t *targets, unsigned count, uint32_t id)
{
    unsigned low = 0, high = count;
    while (id && low < high) {
        unsigned middle = (low + high) / 2;
        if (targets[middle] == id)
            return true;
        if (targets[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool holds(const struct shard *s, unsigned copies, const uint32_t *targets, unsigned count)
{
    bool any = has(targets, count, s->move.incoming);
    for (unsigned i = 0; i < copies; i++)
#ifdef PLANT_D18_EARLY /* what is on its way counts as gone */
        if (!s->move.incoming || s->slot[i].target != s->move.outgoing)
#endif
            any = any || has(targets, count, s->slot[i].target);
    return any;
}

static bool owes(const struct shard *s, unsigned copies, const uint32_t *targets, unsigned count)
{
    bool any = false;
    for (unsigned i = 0; i < copies; i++)
        any = any || has(targets, count, s->slot[i].instead_of);
    return any;
}

static bool any_shard(const struct shard_table *t, const uint32_t *targets, unsigned count,
                      bool (*is)(const struct shard *, unsigned, const uint32_t *, unsigned))
{
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t i = 0; t->shards[copies] && i < t->shard_count; i++)
            if (is(&t->shards[copies][i], copies, targets, count))
                return true;
    return false;
}

bool shard_table_holds(const struct shard_table *t, const uint32_t *targets, unsigned count)
{
    return any_shard(t, targets, count, holds);
}

bool shard_table_owes(const struct shard_table *t, const uint32_t *targets, unsigned count)
{
    return any_shard(t, targets, count, owes);
}

bool shard_has_in_sync(const struct shard *s, unsigned copies, uint32_t target)
{
    enum slot_state state;
    return shard_has_member(s, copies, target, &state) &&
           (state == SLOT_INSYNC || state == SLOT_LEAVING);
}

static int check_move(const struct shard_table *t, unsigned copies, uint32_t number,
                      struct err_text *why)
{
    const struct shard *s = &t->shards[copies][number];
    enum slot_state wanted = s->move.state == SLOT_INSYNC ? SLOT_LEAVING : SLOT_INSYNC;
    bool has_slot = false, leaving = false;
    for (unsigned i = 0; i < copies; i++) {
        leaving = leaving || s->slot[i].state == SLOT_LEAVING;
        if (s->move.incoming && s->slot[i].target == s->move.incoming)
            return err_set(ERR_CORRUPT, why, "shard %u-%x: target %u twice", copies, number,
                           s->move.incoming);
        has_slot =
            has_slot || (s->slot[i].target == s->move.outgoing && s->slot[i].state == wanted);
    }
    if (s->move.incoming == 0)
        return leaving ? err_set(ERR_CORRUPT, why, "shard %u-%x: leaves for nobody", copies, number)
                       : 0;
    if (!has_slot || s->move.state == SLOT_OFFLINE || !shard_table_target(t, s->move.incoming))
        return err_set(ERR_CORRUPT, why, "shard %u-%x: its move fits no slot", copies, number);
    if (s->move.state == SLOT_SYNCING && !target_is_up(t, s->move.incoming))
        return err_set(ERR_CORRUPT, why, "shard %u-%x: moves to a target that is down", copies,
                       number);
    return 0;
}

static int check_slots(const struct shard_table *t, unsigned copies, uint32_t number,
                       struct err_text *why)
{
    const struct shard *s = &t->shards[copies][number];
    for (unsigned i = 0; i < copies; i++) {
        const struct target *target = shard_table_target(t, s->slot[i].target);
        if (!target)
            return err_set(ERR_CORRUPT, why, "shard %u-%x: slot %u has no target", copies, number,
                           i);
        for (unsigned j = 0; j < i; j++)
            if (s->slot[i].target == s->slot[j].target)
                return err_set(ERR_CORRUPT, why, "shard %u-%x: target %u twice", copies, number,
                               s->slot[i].target);
        bool up = target->state == TARGET_UP;
        if (slot_is_good(&s->slot[i]) && (s->slot[i].instead_of || s->slot[i].held_epoch))
            return err_set(ERR_CORRUPT, why, "shard %u-%x: slot %u is in sync and waits", copies,
                           number, i);
        if (slot_is_good(&s->slot[i]) && target->state == TARGET_OUT)
            return err_set(ERR_CORRUPT, why, "shard %u-%x: in sync on target %u, which was removed",
                           copies, number, target->id);
        if (s->slot[i].held_epoch >= s->epoch || s->slot[i].instead_of == s->slot[i].target)
            return err_set(ERR_CORRUPT, why, "shard %u-%x: slot %u has no such past", copies,
                           number, i);
        if (!slot_is_good(&s->slot[i]) && up != (s->slot[i].state == SLOT_SYNCING))
            return err_set(ERR_CORRUPT, why, "shard %u-%x: slot %u does not fit its target", copies,
                           number, i);
    }
    return 0;
}

static int check_shard(const struct shard_table *t, unsigned copies, uint32_t number,
                       struct err_text *why)
{
    const struct shard *s = &t->shards[copies][number];
    if (s->epoch == 0)
        return 0;
    int status = check_slots(t, copies, number, why);
    if (status == 0)
        status = check_move(t, copies, number, why);
    if (status != 0)
        return status;
    struct chain_view chain = shard_table_chain(t, copies, number);
    unsigned up = shard_others_in_sync(t, s, copies, 0);
    if (up != 0 && up != chain.insync_count)
        return err_set(ERR_CORRUPT, why, "shard %u-%x: waits for a target that is down", copies,
                       number);
    if (chain.insync_count == 0)
        return err_set(ERR_CORRUPT, why, "shard %u-%x: no slot in sync", copies, number);
    if (s->changed_version > t->version)
        return err_set(ERR_CORRUPT, why, "shard %u-%x: newer than its table", copies, number);
    return 0;
}

int shard_table_check(const struct shard_table *t, struct err_text *why)
{
    for (unsigned i = 1; i < t->target_count; i++)
        if (t->targets[i - 1].id >= t->targets[i].id)
            return err_set(ERR_CORRUPT, why, "targets are not in order");
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++) {
        for (uint32_t shard = 0; t->shards[copies] && shard < t->shard_count; shard++) {
            int status = check_shard(t, copies, shard, why);
            if (status != 0)
                return status;
        }
    }
    return 0;
}
