/* The shard table: look-ups and invariants. */
#include "common/ring/shard_table.h"

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

const struct target *shard_table_target_by_uuid(const struct shard_table *t,
                                                const struct uuid *uuid)
{
    for (unsigned i = 0; i < t->target_count; i++)
        if (memcmp(t->targets[i].uuid.bytes, uuid->bytes, UUID_SIZE) == 0)
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
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].state == SLOT_INSYNC)
            view.member[view.member_count++] = s->slot[i].target;
    view.insync_count = view.member_count;
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].state == SLOT_SYNCING)
            view.member[view.member_count++] = s->slot[i].target;
    return view;
}

static int check_shard(const struct shard_table *t, unsigned copies, uint32_t number,
                       struct err_text *why)
{
    const struct shard *s = &t->shards[copies][number];
    unsigned insync = 0, insync_up = 0;
    if (s->epoch == 0)
        return 0;
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
        if (s->slot[i].state != SLOT_INSYNC && up != (s->slot[i].state == SLOT_SYNCING))
            return err_set(ERR_CORRUPT, why, "shard %u-%x: slot %u does not fit its target", copies,
                           number, i);
        insync += s->slot[i].state == SLOT_INSYNC;
        insync_up += s->slot[i].state == SLOT_INSYNC && up;
    }
    if (insync_up != 0 && insync_up != insync)
        return err_set(ERR_CORRUPT, why, "shard %u-%x: waits for a target that is down", copies,
                       number);
    if (insync == 0)
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
