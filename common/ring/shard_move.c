/* A slot of the shard table goes to another target while its own is well: the incoming target is
 * filled, becomes in sync as one member more, and the outgoing one leaves when it says that it has
 * stopped reading. So no write waits for a lease to run out, and at no time are there fewer good
 * copies than before. */
#include "common/base/check.h"
#include "common/ring/shard_private.h"
#include "common/base/banned.h"

bool shard_table_move(struct shard_table *t, uint64_t version, unsigned copies, uint32_t shard,
                      uint64_t epoch, uint32_t outgoing, uint32_t incoming)
{
    struct shard *s = shard_at_epoch(t, copies, shard, epoch);
    struct slot *slot = s ? shard_slot_of(s, copies, outgoing) : NULL;
    if (!slot || slot->state != SLOT_INSYNC || s->move.incoming ||
        shard_slot_of(s, copies, incoming) || !target_may_receive(t, incoming) ||
        !target_is_up(t, outgoing))
        return false;
    shard_changed(t, s, version);
    s->move =
        (struct shard_move){.incoming = incoming, .outgoing = outgoing, .state = SLOT_SYNCING};
    return true;
}

bool shard_table_move_cancel(struct shard_table *t, uint64_t version, unsigned copies,
                             uint32_t shard, uint64_t epoch)
{
    struct shard *s = shard_at_epoch(t, copies, shard, epoch);
    if (!s || !s->move.incoming || s->move.state != SLOT_SYNCING)
        return false;
    s->move = (struct shard_move){0};
    shard_changed(t, s, version);
    return true;
}

bool shard_table_change(struct shard_table *t, uint64_t version, const struct rec_slot_change *c)
{
    if (c->new_target == 0)
        return shard_table_move_cancel(t, version, c->copies, c->shard, c->epoch);
    return shard_table_replace(t, version, c->copies, c->shard, c->epoch, c->old_target,
                               c->new_target) ||
           shard_table_move(t, version, c->copies, c->shard, c->epoch, c->old_target,
                            c->new_target);
}

static struct slot *outgoing_slot(struct shard *s, unsigned copies)
{
    struct slot *slot = shard_slot_of(s, copies, s->move.outgoing);
    CHECK(slot != NULL);
    return slot;
}

void move_finish(struct shard *s, unsigned copies)
{
    struct slot *slot = outgoing_slot(s, copies);
    CHECK(slot->state == SLOT_LEAVING && s->move.state == SLOT_INSYNC);
    shard_left(s, slot->target, s->move.chunks, s->move.bytes);
    slot->target = s->move.incoming;
    slot_set(s, slot, SLOT_INSYNC);
    shard_move_behind(s, copies, slot);
    s->move = (struct shard_move){0};
}

void move_revert(struct shard *s, unsigned copies, bool again)
{
    slot_set(s, outgoing_slot(s, copies), SLOT_INSYNC);
    s->move.state = SLOT_SYNCING;
    s->move.chunks = s->move.bytes = 0; /* what it will hold when it is filled again counts */
    if (!again)
        s->move = (struct shard_move){0};
}

bool move_settle_in_sync(const struct shard_table *t, struct shard *s, unsigned copies)
{
    if (!s->move.incoming || s->move.state != SLOT_INSYNC ||
        shard_others_in_sync(t, s, copies, 0) == 0)
        return false;
    if (!target_is_up(t, s->move.incoming))
        move_revert(s, copies, false);
    else if (!target_is_up(t, s->move.outgoing))
        move_finish(s, copies);
    else
        return false;
    return true;
}

static struct slot *slot_without_copy(struct shard *s, unsigned copies)
{
    struct slot *found = NULL;
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].state == SLOT_OFFLINE || (s->slot[i].state == SLOT_SYNCING && !found))
            found = &s->slot[i];
    return found;
}

bool move_settle_short(const struct shard_table *t, struct shard *s, unsigned copies)
{
    struct slot *slot = slot_without_copy(s, copies);
#ifdef PLANT_D18_LEAVE
    return false;
#endif
    if (!s->move.incoming || s->move.state != SLOT_INSYNC || !slot ||
        shard_others_in_sync(t, s, copies, 0) == 0)
        return false;
    struct shard_move next = {0};
    if (slot->state == SLOT_OFFLINE)
        slot_set(s, slot, SLOT_SYNCING);
    else if (target_may_receive(t, slot->target))
        next = (struct shard_move){
            .incoming = slot->target, .outgoing = s->move.outgoing, .state = SLOT_SYNCING};
    slot_set(s, outgoing_slot(s, copies), SLOT_INSYNC);
    shard_left(s, slot->instead_of ? slot->instead_of : slot->target, s->move.chunks,
               s->move.bytes);
    slot->target = s->move.incoming;
    slot->instead_of = 0;
    slot_set(s, slot, SLOT_INSYNC);
    shard_move_behind(s, copies, slot);
    s->move = next;
    return true;
}

bool move_settle_filling(const struct shard_table *t, struct shard *s, unsigned copies)
{
    if (!s->move.incoming || s->move.state != SLOT_SYNCING)
        return false;
    struct slot *slot = outgoing_slot(s, copies);
    if (target_is_up(t, s->move.incoming)) {
        if (slot->state == SLOT_INSYNC)
            return false;
        slot_give(s, slot, s->move.incoming);
    }
    s->move = (struct shard_move){0};
    return true;
}

bool move_report(const struct shard_table *t, struct shard *s,
                 const struct msg_shard_report *report)
{
    bool is_incoming = s->move.incoming && s->move.incoming == report->target;
    bool is_leaving =
        s->move.incoming && s->move.state == SLOT_INSYNC && s->move.outgoing == report->target;
    bool others = shard_others_in_sync(t, s, report->copies, report->target) > 0;
    struct chain_view chain;
    switch (report->kind) {
    case REPORT_SYNCED:
        chain = shard_table_chain(t, report->copies, report->shard);
        CHECK(chain.insync_count > 0);
        if (!is_incoming || s->move.state != SLOT_SYNCING ||
            chain.member[chain.insync_count - 1] != report->reporter ||
            !target_is_up(t, report->reporter) || !target_is_up(t, report->target))
            return false;
        s->move.state = SLOT_INSYNC;
        s->move.chunks = report->chunks;
        s->move.bytes = report->bytes;
        slot_set(s, outgoing_slot(s, report->copies), SLOT_LEAVING);
#ifdef PLANT_LEFT
        move_finish(s, report->copies);
#endif
        return true;
    case REPORT_OUT_OF_SYNC:
        if (!others || (!is_leaving && !(is_incoming && s->move.state == SLOT_INSYNC)))
            return false;
        if (is_incoming)
            move_revert(s, report->copies, true);
        else if (target_is_up(t, s->move.incoming))
            move_finish(s, report->copies);
        else
            return false;
        return true;
    case REPORT_LEFT:
        if (!is_leaving || report->reporter != report->target || !target_is_up(t, s->move.incoming))
            return false;
        move_finish(s, report->copies);
        return true;
    default:
        return false;
    }
}
