/* The shard table's changes: one function per row of the rule table in docs/placement.md. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/ring/shard_private.h"
#include "common/base/banned.h"

/* ---- the only places where slots and epochs are written ---- */

static const uint8_t moves[4] = {
    [SLOT_OFFLINE] = 1u << SLOT_SYNCING,
    [SLOT_SYNCING] = 1u << SLOT_INSYNC | 1u << SLOT_OFFLINE,
    [SLOT_INSYNC] = 1u << SLOT_SYNCING | 1u << SLOT_OFFLINE | 1u << SLOT_LEAVING,
    [SLOT_LEAVING] = 1u << SLOT_INSYNC,
};

void slot_set(const struct shard *s, struct slot *slot, enum slot_state to)
{
    CHECK(moves[slot->state] & 1u << to);
    if (slot->state == SLOT_INSYNC && to != SLOT_LEAVING)
        slot->held_epoch = s->epoch;
    else if (to == SLOT_INSYNC)
        slot->held_epoch = 0;
    slot->state = to;
}

void shard_changed(struct shard_table *t, struct shard *s, uint64_t version)
{
    CHECK(version >= s->changed_version);
    if (!s->move.incoming)
        s->move.outgoing = 0;
    s->epoch++;
    s->changed_version = version;
    t->version = version;
}

void shard_left(struct shard *s, uint32_t target, uint64_t chunks, uint64_t bytes)
{
    s->left = (struct shard_left){
        .epoch = s->epoch + 1, .target = target, .chunks = chunks, .bytes = bytes};
}

/* Whoever was in sync last is the one who is waited for: those after it never had the data. */
void slot_give(const struct shard *s, struct slot *slot, uint32_t to)
{
    CHECK(!slot_is_good(slot));
    if (!slot->instead_of)
        slot->instead_of = slot->target;
    if (slot->instead_of == to)
        slot->instead_of = 0; /* its own again */
    slot->target = to;
    if (slot->state == SLOT_SYNCING)
        slot_set(s, slot, SLOT_OFFLINE);
    slot_set(s, slot, SLOT_SYNCING);
    slot->held_epoch = 0;
}

static struct target *target_of(struct shard_table *t, uint32_t id)
{
    return (struct target *)(uintptr_t)shard_table_target(t, id);
}

bool target_is_up(const struct shard_table *t, uint32_t id)
{
    const struct target *target = shard_table_target(t, id);
    return target && target->state == TARGET_UP;
}

bool target_may_receive(const struct shard_table *t, uint32_t id)
{
    const struct target *target = shard_table_target(t, id);
    return target && target->state == TARGET_UP && target->admin != TARGET_DRAINING;
}

unsigned shard_others_in_sync(const struct shard_table *t, const struct shard *s, unsigned copies,
                              uint32_t target)
{
    unsigned count = 0;
    for (unsigned i = 0; i < copies; i++)
        count += s->slot[i].target != target && slot_is_good(&s->slot[i]) &&
                 target_is_up(t, s->slot[i].target);
    if (s->move.incoming && s->move.incoming != target && s->move.state == SLOT_INSYNC)
        count += target_is_up(t, s->move.incoming);
    return count;
}

struct slot *shard_slot_of(struct shard *s, unsigned copies, uint32_t target)
{
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].target == target)
            return &s->slot[i];
    return NULL;
}

void shard_move_behind(struct shard *s, unsigned copies, struct slot *joined)
{
    struct slot moved = *joined;
    unsigned from = (unsigned)(joined - s->slot), to = from;
#ifndef PLANT_BEHIND
    for (unsigned i = from + 1; i < copies; i++)
        if (slot_is_good(&s->slot[i]))
            to = i;
#endif
    for (unsigned i = from; i < to; i++)
        s->slot[i] = s->slot[i + 1];
    s->slot[to] = moved;
}

/* ---- register ---- */

/* `id`, in sync while no other in-sync target is up, becomes the authority: each acknowledged write
 * is on it. The others are down and would only stall the chain. */
static bool others_go_offline(struct shard *s, unsigned copies, uint32_t id)
{
    bool changed = false;
    if (s->move.incoming && s->move.state == SLOT_INSYNC) {
        if (s->move.incoming == id)
            move_finish(s, copies);
        else
            move_revert(s, copies, false);
        changed = true;
    }
    for (unsigned i = 0; i < copies; i++) {
        if (s->slot[i].target == id || s->slot[i].state != SLOT_INSYNC)
            continue;
        slot_set(s, &s->slot[i], SLOT_OFFLINE);
        changed = true;
    }
    return changed;
}

/* A new process of a target that is in sync, while others are. */
static void process_replaced(struct shard *s, unsigned copies, struct slot *slot)
{
#ifndef PLANT_D2
    if (slot->state == SLOT_LEAVING)
        move_finish(s, copies);
    else if (slot->state == SLOT_INSYNC)
        slot_set(s, slot, SLOT_SYNCING);
#else
    (void)s, (void)copies, (void)slot;
#endif
}

/* One that was on its way into the shard. */
static bool incoming_register(struct shard_table *t, struct shard *s, unsigned copies, uint32_t id,
                              bool is_new_process)
{
    if (s->move.state == SLOT_INSYNC && shard_others_in_sync(t, s, copies, id) == 0)
        return others_go_offline(s, copies, id);
    if (s->move.state == SLOT_INSYNC && is_new_process)
        move_revert(s, copies, true);
    return is_new_process;
}

/* The slots of one shard when `id` has come (back) up. A new process raises the epoch even where no
 * slot moves: what its predecessor, or anyone about it, reported must not count any more, and it
 * may have lost writes whose versions it would otherwise give out again. */
static bool shard_register(struct shard_table *t, struct shard *s, unsigned copies, uint32_t id,
                           bool is_new_process)
{
    bool changed = false;
    struct slot *slot = shard_slot_of(s, copies, id);
    if (s->move.incoming == id)
        changed = incoming_register(t, s, copies, id, is_new_process);
    else if (!slot)
        return false;
    else if (slot->state == SLOT_OFFLINE) {
        slot_set(s, slot, SLOT_SYNCING);
        changed = true;
    } else if (slot_is_good(slot) && shard_others_in_sync(t, s, copies, id) == 0) {
        changed = others_go_offline(s, copies, id) || is_new_process;
    } else if (is_new_process) {
        process_replaced(s, copies, slot);
        changed = true;
    }
    changed = move_settle_short(t, s, copies) || changed;
    return move_settle_filling(t, s, copies) || changed;
}

static int copy_text(char ret[TARGET_TEXT_MAX], struct slice text)
{
    if (text.size >= TARGET_TEXT_MAX)
        return -ERR_NAME_TOO_LONG;
    memset(ret, 0, TARGET_TEXT_MAX);
    if (text.size)
        memcpy(ret, text.data, text.size);
    return 0;
}

static struct target *add_target(struct shard_table *t)
{
    if (t->target_count == TARGET_COUNT_MAX)
        return NULL;
    if (t->target_count == t->target_capacity) {
        t->target_capacity = t->target_capacity ? t->target_capacity * 2 : 16;
        t->targets = realloc(t->targets, t->target_capacity * sizeof *t->targets);
        CHECK(t->targets != NULL);
    }
    struct target *target = &t->targets[t->target_count];
    memset(target, 0, sizeof *target);
    target->id = t->target_count > 0 ? t->targets[t->target_count - 1].id + 1 : 1;
    if (target->id < t->target_next)
        target->id = t->target_next;
    t->target_count++;
    return target;
}

int shard_table_register(struct shard_table *t, uint64_t version,
                         const struct target_registration *r, uint32_t *ret_target)
{
    struct target known = {0};
    int status = copy_text(known.name, r->name);
    if (status == 0)
        status = copy_text(known.address, r->address);
    if (status == 0)
        status = copy_text(known.host, r->host);
    if (status != 0)
        return status;
    const struct target *found = shard_table_target_by_uuid(t, &r->uuid);
    struct target *target = found ? target_of(t, found->id) : add_target(t);
    if (!target)
        return -ERR_LIMIT;
    bool is_new_process = !found || target->incarnation != r->incarnation;
    if (found && target->incarnation > r->incarnation)
        return -ERR_STALE; /* a message of a process that has been replaced */
    known.id = target->id;
    known.uuid = r->uuid;
    known.state = TARGET_UP;
    known.incarnation = r->incarnation;
    known.weight = found ? target->weight : r->weight;
    known.admin = target->admin;
    /* One that stands elsewhere now may spoil the spread of its shards. */
    known.rebalance = !found || target->rebalance || strcmp(known.host, target->host) != 0;
    known.maintenance_ms = target->maintenance_ms;
    known.maintenance_version = target->maintenance_version;
    *target = known;
    t->version = version;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t i = 0; t->shards[copies] && i < t->shard_count; i++)
            if (shard_register(t, &t->shards[copies][i], copies, known.id, is_new_process))
                shard_changed(t, &t->shards[copies][i], version);
    *ret_target = known.id;
    return 0;
}

/* ---- offline ---- */

static bool shard_offline(struct shard_table *t, struct shard *s, unsigned copies)
{
    bool changed = move_settle_in_sync(t, s, copies);
    bool survivor = shard_others_in_sync(t, s, copies, 0) > 0;
#ifdef PLANT_D19
    for (unsigned i = 0; i < copies; i++)
        survivor = survivor || target_is_up(t, s->slot[i].target);
#endif
    for (unsigned i = 0; i < copies; i++) {
        struct slot *slot = &s->slot[i];
        if (slot->state == SLOT_OFFLINE || target_is_up(t, slot->target))
            continue;
        if (slot_is_good(slot) && !survivor)
            continue; /* one of the last good copies: it stays what it is, out of reach */
        slot_set(s, slot, SLOT_OFFLINE);
        changed = true;
    }
    changed = move_settle_short(t, s, copies) || changed;
    return move_settle_filling(t, s, copies) || changed;
}

static bool apply_offline(struct shard_table *t, uint64_t version)
{
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t i = 0; t->shards[copies] && i < t->shard_count; i++)
            if (shard_offline(t, &t->shards[copies][i], copies))
                shard_changed(t, &t->shards[copies][i], version);
    t->version = version;
    return true;
}

bool shard_table_offline(struct shard_table *t, uint64_t version, const uint32_t *targets,
                         const uint64_t *incarnations, unsigned count)
{
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        struct target *target = target_of(t, targets[i]);
        if (!target || target->state != TARGET_UP || target->incarnation != incarnations[i])
            continue;
        target->state = TARGET_DOWN;
        any = true;
    }
    return any && apply_offline(t, version);
}

bool shard_table_failed(struct shard_table *t, uint64_t version, uint32_t id)
{
    struct target *target = target_of(t, id);
    if (!target || target->state == TARGET_FAILED || target->state == TARGET_OUT)
        return false;
    target->state = TARGET_FAILED;
    return apply_offline(t, version);
}

/* What is under way for the target's old role and not in sync yet is given up: out of one that is
 * drained no longer, into one that shall be empty. */
static void settle_moves_of(struct shard_table *t, uint64_t version, const struct target *target,
                            enum target_admin admin)
{
    bool drained = target->admin == TARGET_DRAINING, shall_drain = admin == TARGET_DRAINING;
    if (drained == shall_drain)
        return;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t i = 0; t->shards[copies] && i < t->shard_count; i++) {
            struct shard *s = &t->shards[copies][i];
            if ((shall_drain ? s->move.incoming : s->move.outgoing) == target->id)
                (void)shard_table_move_cancel(t, version, copies, i, s->epoch);
        }
}

int shard_table_set_admin(struct shard_table *t, uint64_t version, uint32_t id,
                          enum target_admin admin)
{
    struct target *target = target_of(t, id);
    if (!target)
        return -ERR_NO_ENTRY;
    if (target->admin != admin)
        t->version = version;
    settle_moves_of(t, version, target, admin);
    /* Back for good: it gave away what it held. */
    target->rebalance =
        target->rebalance || (target->admin == TARGET_DRAINING && admin != TARGET_DRAINING);
    target->admin = admin;
    if (admin != TARGET_MAINTENANCE)
        target->maintenance_ms = target->maintenance_version = 0;
    return 0;
}

int shard_table_set_maintenance(struct shard_table *t, uint64_t version, uint32_t id,
                                uint64_t for_ms)
{
    struct target *target = target_of(t, id);
    if (!target)
        return -ERR_NO_ENTRY;
    target->admin = TARGET_MAINTENANCE;
    target->maintenance_ms = for_ms;
    target->maintenance_version = t->version = version;
    return 0;
}

bool shard_table_set_weight(struct shard_table *t, uint64_t version, uint32_t id, uint32_t weight,
                            bool rebalance)
{
    struct target *target = target_of(t, id);
    if (!target)
        return false;
    target->weight = weight;
    target->rebalance = rebalance;
    t->version = version;
    return true;
}

/* ---- reports and replacement ---- */

struct shard *shard_at_epoch(struct shard_table *t, unsigned copies, uint32_t shard, uint64_t epoch)
{
    const struct shard *s = shard_table_shard(t, copies, shard);
#ifdef PLANT_D14
    epoch = s ? s->epoch : 0;
#endif
    return s && s->epoch == epoch && epoch > 0 ? &t->shards[copies][shard] : NULL;
}

static bool synced(const struct shard_table *t, struct shard *s, struct slot *slot,
                   const struct msg_shard_report *report)
{
    struct chain_view chain = shard_table_chain(t, report->copies, report->shard);
    CHECK(chain.insync_count > 0);
    bool by_source = chain.member[chain.insync_count - 1] == report->reporter;
    if (slot->state != SLOT_SYNCING || !by_source || !target_is_up(t, report->reporter) ||
        !target_is_up(t, slot->target))
        return false;
    /* An incoming target that is in sync stands last in the chain until it takes its slot: nobody
     * comes before it who may lack what it has. The source repeats its report. */
    if (s->move.incoming && s->move.state == SLOT_INSYNC)
        return false;
    slot_set(s, slot, SLOT_INSYNC);
    if (slot->instead_of)
        shard_left(s, slot->instead_of, report->chunks, report->bytes);
    slot->instead_of = 0;
    shard_move_behind(s, report->copies, slot);
    return true;
}

static bool out_of_sync(const struct shard_table *t, struct shard *s, struct slot *slot,
                        const struct msg_shard_report *report)
{
    if (slot->state != SLOT_INSYNC ||
        shard_others_in_sync(t, s, report->copies, report->target) == 0)
        return false;
    slot_set(s, slot, target_is_up(t, slot->target) ? SLOT_SYNCING : SLOT_OFFLINE);
    return true;
}

bool shard_table_report(struct shard_table *t, uint64_t version,
                        const struct msg_shard_report *report)
{
    struct shard *s = shard_at_epoch(t, report->copies, report->shard, report->epoch);
    struct slot *slot = s ? shard_slot_of(s, report->copies, report->target) : NULL;
    if (!s || !shard_has_in_sync(s, report->copies, report->reporter))
        return false;
    bool changed;
#ifdef PLANT_LEFT
    uint32_t left = s->move.outgoing;
#endif
    if (slot && slot->state != SLOT_LEAVING && report->kind == REPORT_SYNCED)
        changed = synced(t, s, slot, report);
    else if (slot && slot->state != SLOT_LEAVING && report->kind == REPORT_OUT_OF_SYNC)
        changed = out_of_sync(t, s, slot, report);
    else
        changed = move_report(t, s, report);
    if (!changed)
        return false;
    (void)move_settle_short(t, s, report->copies);
    (void)move_settle_filling(t, s, report->copies);
    shard_changed(t, s, version);
#ifdef PLANT_LEFT
    if (s->move.incoming == 0 && report->kind == REPORT_SYNCED && !slot)
        s->move.outgoing = left;
#endif
    if (report->kind == REPORT_LEFT)
        s->move.outgoing = report->target; /* it reads no more: those who stay need no fence */
    return true;
}

bool shard_table_replace(struct shard_table *t, uint64_t version, unsigned copies, uint32_t shard,
                         uint64_t epoch, uint32_t old_target, uint32_t new_target)
{
    struct shard *s = shard_at_epoch(t, copies, shard, epoch);
    struct slot *slot = s ? shard_slot_of(s, copies, old_target) : NULL;
    if (!slot || slot->state != SLOT_OFFLINE || shard_slot_of(s, copies, new_target) ||
        s->move.incoming == new_target || !target_may_receive(t, new_target) ||
        shard_others_in_sync(t, s, copies, old_target) == 0)
        return false;
    slot_give(s, slot, new_target);
    target_of(t, old_target)->rebalance = true;
    shard_changed(t, s, version);
    return true;
}
