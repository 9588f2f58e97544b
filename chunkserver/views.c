/* Views of shards from the shard table. */
#include "chunkserver/views.h"

#include <string.h>

#include "common/base/banned.h"

void view_remember(const struct shard_table *table, uint8_t copies, uint32_t number,
                   struct view_before *ret_before)
{
    const struct shard *s = shard_table_shard(table, copies, number);
    *ret_before = (struct view_before){.copies = copies, .number = number};
    if (!s)
        return;
    ret_before->shard = *s;
    for (unsigned i = 0; i < copies && s->epoch != 0; i++) {
        const struct target *t = shard_table_target(table, s->slot[i].target);
        ret_before->incarnation[i] = t ? t->incarnation : 0;
    }
}

static bool is_insync(const struct shard *s, unsigned copies, uint32_t target)
{
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].target == target && s->slot[i].state == SLOT_INSYNC)
            return true;
    return false;
}

/* An in-sync member was taken out while its process lives. */
static bool needs_fence(const struct shard_table *table, const struct shard *now,
                        const struct view_before *before, uint32_t self)
{
    for (unsigned i = 0; i < before->copies && before->shard.epoch != 0; i++) {
        const struct slot *slot = &before->shard.slot[i];
        if (slot->state != SLOT_INSYNC || slot->target == self ||
            is_insync(now, before->copies, slot->target))
            continue;
        const struct target *t = shard_table_target(table, slot->target);
#ifdef PLANT_D12
        continue;
#endif
        if (t && t->state == TARGET_UP && t->incarnation == before->incarnation[i])
            return true;
    }
    return false;
}

static bool is_member(const struct shard *s, unsigned copies, uint32_t target)
{
    for (unsigned i = 0; s->epoch != 0 && i < copies; i++)
        if (s->slot[i].target == target)
            return true;
    return false;
}

bool view_make(const struct shard_table *table, uint32_t target, const struct view_before *before,
               uint32_t fence_ms, struct chain_shard_view *ret_view)
{
    const struct shard *s = shard_table_shard(table, before->copies, before->number);
    const struct target *self = shard_table_target(table, target);
    if (!s || s->epoch == 0 || !self ||
        (!is_member(s, before->copies, target) &&
         !is_member(&before->shard, before->copies, target)))
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
        view.members[i] = (struct chain_member){
            chain.member[i], i < chain.insync_count ? SLOT_INSYNC : SLOT_SYNCING};
    *ret_view = view;
    return true;
}
