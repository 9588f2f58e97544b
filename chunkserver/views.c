/* Views of shards from the shard table. */
#include "chunkserver/views.h"

#include <string.h>

#include "common/base/banned.h"

static uint64_t incarnation_of(const struct shard_table *table, uint32_t target)
{
    const struct target *t = shard_table_target(table, target);
    return t ? t->incarnation : 0;
}

void view_remember(const struct shard_table *table, uint8_t copies, uint32_t number,
                   struct view_before *ret_before)
{
    const struct shard *s = shard_table_shard(table, copies, number);
    *ret_before = (struct view_before){.copies = copies, .number = number};
    if (!s)
        return;
    ret_before->shard = *s;
    for (unsigned i = 0; i < copies && s->epoch != 0; i++)
        ret_before->incarnation[i] = incarnation_of(table, s->slot[i].target);
    ret_before->incarnation[COPIES_MAX] = incarnation_of(table, s->move.incoming);
}

/* It was in sync before, is so no more, and nobody knows that its process has stopped reading. */
static bool may_still_read(const struct shard_table *table, const struct shard *now,
                           const struct view_before *before, uint32_t target, uint64_t incarnation)
{
    if (!shard_has_in_sync(&before->shard, before->copies, target) ||
        shard_has_in_sync(now, before->copies, target) ||
        (now->move.incoming == 0 && now->move.outgoing == target))
        return false;
    const struct target *t = shard_table_target(table, target);
#ifdef PLANT_D12
    return false;
#endif
    return !t || (t->state == TARGET_UP && t->incarnation == incarnation); /* NULL: removed since */
}

static bool needs_fence(const struct shard_table *table, const struct shard *now,
                        const struct view_before *before, uint32_t self)
{
    const struct shard *then = &before->shard;
    for (unsigned i = 0; i < before->copies && then->epoch != 0; i++)
        if (then->slot[i].target != self &&
            may_still_read(table, now, before, then->slot[i].target, before->incarnation[i]))
            return true;
    return then->move.incoming != 0 && then->move.incoming != self &&
           may_still_read(table, now, before, then->move.incoming, before->incarnation[COPIES_MAX]);
}

bool view_make(const struct shard_table *table, uint32_t target, const struct view_before *before,
               uint32_t fence_ms, struct chain_shard_view *ret_view)
{
    const struct shard *s = shard_table_shard(table, before->copies, before->number);
    const struct target *self = shard_table_target(table, target);
    enum slot_state state;
    if (!s || s->epoch == 0 || !self ||
        (!shard_has_member(s, before->copies, target, &state) &&
         !shard_has_member(&before->shard, before->copies, target, &state)))
        return false;
    struct chain_view chain = shard_table_chain(table, before->copies, before->number);
    struct chain_shard_view view = {
        .copies = before->copies,
        .shard = before->number,
        .epoch = s->epoch,
        .incarnation = self->incarnation,
        .min_copies = before->copies <= 2 ? 1 : 2,
        .fence_ms = needs_fence(table, s, before, target) ? fence_ms : 0,
        .member_count = chain.member_count,
    };
    for (unsigned i = 0; i < chain.member_count; i++)
        view.members[i] = (struct chain_member){chain.member[i],
                                                i >= chain.insync_count            ? SLOT_SYNCING
                                                : chain.member[i] == chain.leaving ? SLOT_LEAVING
                                                                                   : SLOT_INSYNC};
    *ret_view = view;
    return true;
}
