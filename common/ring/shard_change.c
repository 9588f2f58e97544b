/* The shard table's changes: one function per row of the rule table in docs/placement.md. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/ring/ring.h"
#include "common/ring/shard_table.h"
#include "common/base/banned.h"

/* ---- the only places where slots and epochs are written ---- */

static const uint8_t moves[3] = {
    [SLOT_OFFLINE] = 1u << SLOT_SYNCING,
    [SLOT_SYNCING] = 1u << SLOT_INSYNC | 1u << SLOT_OFFLINE,
    [SLOT_INSYNC] = 1u << SLOT_SYNCING | 1u << SLOT_OFFLINE,
};

static void slot_move(struct slot *slot, enum slot_state to)
{
    CHECK(moves[slot->state] & 1u << to);
    slot->state = to;
}

static void shard_changed(struct shard_table *t, struct shard *s, uint64_t version)
{
    CHECK(version >= s->changed_version);
    s->epoch++;
    s->changed_version = version;
    t->version = version;
}

static struct target *target_of(struct shard_table *t, uint32_t id)
{
    return (struct target *)(uintptr_t)shard_table_target(t, id);
}

static bool is_up(const struct shard_table *t, uint32_t id)
{
    const struct target *target = shard_table_target(t, id);
    return target && target->state == TARGET_UP;
}

/* In-sync slots other than this target's whose target is up. */
static unsigned others_in_sync(const struct shard_table *t, const struct shard *s, unsigned copies,
                               uint32_t target)
{
    unsigned count = 0;
    for (unsigned i = 0; i < copies; i++)
        count += s->slot[i].target != target && s->slot[i].state == SLOT_INSYNC &&
                 is_up(t, s->slot[i].target);
    return count;
}

/* ---- register ---- */

/* The slot of `id`, in sync while no other in-sync target is up, becomes the authority: each
 * acknowledged write is on it. The others are down and would only stall the chain. */
static bool others_go_offline(struct shard *s, unsigned copies, uint32_t id)
{
    bool changed = false;
    for (unsigned i = 0; i < copies; i++) {
        if (s->slot[i].target == id || s->slot[i].state != SLOT_INSYNC)
            continue;
        slot_move(&s->slot[i], SLOT_OFFLINE);
        changed = true;
    }
    return changed;
}

/* The slots of one shard when `id` has come (back) up. A new process raises the epoch even where no
 * slot moves: what its predecessor, or anyone about it, reported must not count any more, and it
 * may have lost writes whose versions it would otherwise give out again. */
static bool shard_register(struct shard_table *t, struct shard *s, unsigned copies, uint32_t id,
                           bool is_new_process)
{
    bool changed = false;
    for (unsigned i = 0; i < copies; i++) {
        struct slot *slot = &s->slot[i];
        if (slot->target != id)
            continue;
        if (slot->state == SLOT_OFFLINE) {
            slot_move(slot, SLOT_SYNCING);
            changed = true;
        } else if (slot->state == SLOT_INSYNC && others_in_sync(t, s, copies, id) == 0) {
            changed = others_go_offline(s, copies, id) || is_new_process;
        } else if (is_new_process) {
#ifndef PLANT_D2
            if (slot->state == SLOT_INSYNC)
                slot_move(slot, SLOT_SYNCING);
#endif
            changed = true;
        }
    }
    return changed;
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
    target->id = t->target_count ? t->targets[t->target_count - 1].id + 1 : 1;
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
    known.weight = r->weight;
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
    bool changed = false;
    bool survivor = others_in_sync(t, s, copies, 0) > 0;
#ifdef PLANT_D19
    for (unsigned i = 0; i < copies; i++)
        survivor = survivor || is_up(t, s->slot[i].target);
#endif
    for (unsigned i = 0; i < copies; i++) {
        struct slot *slot = &s->slot[i];
        if (slot->state == SLOT_OFFLINE || is_up(t, slot->target))
            continue;
        if (slot->state == SLOT_INSYNC && !survivor)
            continue; /* one of the last good copies: it stays what it is, out of reach */
        slot_move(slot, SLOT_OFFLINE);
        changed = true;
    }
    return changed;
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
    if (!target || target->state == TARGET_FAILED)
        return false;
    target->state = TARGET_FAILED;
    return apply_offline(t, version);
}

/* ---- form ---- */

int shard_table_form(struct shard_table *t, uint64_t version, unsigned copies)
{
    if (copies < 1 || copies > COPIES_MAX || t->shard_count == 0)
        return -ERR_INVALID;
    if (t->shards[copies])
        return -ERR_EXISTS;
    struct ring_target *up = calloc(t->target_count + 1, sizeof *up);
    uint32_t *ids = calloc((size_t)t->shard_count * copies, sizeof *ids);
    unsigned up_count = 0;
    CHECK(up != NULL && ids != NULL);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct target *target = &t->targets[i];
        if (target->state == TARGET_UP)
            up[up_count++] = (struct ring_target){.id = target->id,
                                                  .uuid = target->uuid,
                                                  .host = target->host,
                                                  .weight = target->weight};
    }
    struct ring *ring = ring_create(up, up_count);
    int status = ring_form(ring, t->shard_count, copies, ids);
    ring_destroy(ring);
    free(up);
    if (status == 0) {
        t->shards[copies] = calloc(t->shard_count, sizeof **t->shards);
        CHECK(t->shards[copies] != NULL);
        for (uint32_t i = 0; i < t->shard_count; i++) {
            for (unsigned slot = 0; slot < copies; slot++)
                t->shards[copies][i].slot[slot] =
                    (struct slot){ids[(size_t)i * copies + slot], SLOT_INSYNC};
            shard_changed(t, &t->shards[copies][i], version);
        }
    }
    free(ids);
    return status;
}

/* ---- reports and replacement ---- */

static struct shard *shard_at_epoch(struct shard_table *t, unsigned copies, uint32_t shard,
                                    uint64_t epoch)
{
    const struct shard *s = shard_table_shard(t, copies, shard);
#ifdef PLANT_D14
    epoch = s ? s->epoch : 0;
#endif
    return s && s->epoch == epoch && epoch > 0 ? &t->shards[copies][shard] : NULL;
}

static struct slot *slot_of(struct shard *s, unsigned copies, uint32_t target)
{
    for (unsigned i = 0; i < copies; i++)
        if (s->slot[i].target == target)
            return &s->slot[i];
    return NULL;
}

/* A slot that became in sync goes behind the other in-sync ones: its predecessors may hold
 * operations that it has not seen, the reverse may not happen. */
static void move_behind_in_sync(struct shard *s, unsigned copies, struct slot *joined)
{
    struct slot moved = *joined;
    unsigned from = (unsigned)(joined - s->slot), to = from;
    for (unsigned i = from + 1; i < copies; i++)
        if (s->slot[i].state == SLOT_INSYNC)
            to = i;
    for (unsigned i = from; i < to; i++)
        s->slot[i] = s->slot[i + 1];
    s->slot[to] = moved;
}

bool shard_table_report(struct shard_table *t, uint64_t version,
                        const struct msg_shard_report *report)
{
    struct shard *s = shard_at_epoch(t, report->copies, report->shard, report->epoch);
    struct slot *slot = s ? slot_of(s, report->copies, report->target) : NULL;
    if (!slot)
        return false;
    if (report->kind == REPORT_SYNCED) {
        struct chain_view chain = shard_table_chain(t, report->copies, report->shard);
        CHECK(chain.insync_count > 0);
        bool by_source = chain.member[chain.insync_count - 1] == report->reporter;
        if (slot->state != SLOT_SYNCING || !by_source || !is_up(t, report->reporter) ||
            !is_up(t, slot->target))
            return false;
        slot_move(slot, SLOT_INSYNC);
        move_behind_in_sync(s, report->copies, slot);
    } else if (report->kind == REPORT_OUT_OF_SYNC) {
        struct slot *reporter = slot_of(s, report->copies, report->reporter);
        if (slot->state != SLOT_INSYNC || !reporter || reporter->state != SLOT_INSYNC ||
            others_in_sync(t, s, report->copies, report->target) == 0)
            return false;
        slot_move(slot, is_up(t, slot->target) ? SLOT_SYNCING : SLOT_OFFLINE);
    } else {
        return false;
    }
    shard_changed(t, s, version);
    return true;
}

bool shard_table_replace(struct shard_table *t, uint64_t version, unsigned copies, uint32_t shard,
                         uint64_t epoch, uint32_t old_target, uint32_t new_target)
{
    struct shard *s = shard_at_epoch(t, copies, shard, epoch);
    struct slot *slot = s ? slot_of(s, copies, old_target) : NULL;
    if (!slot || slot->state != SLOT_OFFLINE || slot_of(s, copies, new_target) ||
        !is_up(t, new_target) || others_in_sync(t, s, copies, old_target) == 0)
        return false;
    slot->target = new_target;
    slot_move(slot, SLOT_SYNCING);
    shard_changed(t, s, version);
    return true;
}
