/* The arithmetic before a drain. */
#include "metaserver/cluster/drain_plan.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/ring/placement.h"
#include "metaserver/cluster/cluster_ring.h"
#include "metaserver/cluster/plan_private.h"
#include "common/base/banned.h"

/* One target, in the order of the table. */
struct place {
    const struct target *target;
    const struct target_view *seen; /* NULL: not heard */
    char zone[PLACEMENT_NAME_MAX];  /* "" = not told */
    bool leaves;
    bool leaves_too; /* by another drain: its slots take room first */
    bool receives;   /* up, active, and it stays */
    bool stays;      /* it counts among the servers afterwards; one in maintenance returns */
    uint32_t slots;
    uint64_t slot_bytes;  /* a slot of it holds so much */
    uint64_t added_bytes; /* what it would receive */
    uint32_t added_slots;
};

struct drain {
    const struct cluster_view *view;
    const struct shard_table *table;
    struct place *places;
    uint64_t mean_bytes, mean_chunks; /* of a slot */
    struct ring *ring;
    uint64_t no_room_bytes;   /* those that may take them are full */
    uint64_t no_target_bytes; /* nobody may take them, as things stand */
    bool heed_room;
    uint64_t moving_bytes; /* of the slot that is being placed */
};

static struct place *place_of(const struct drain *d, uint32_t target)
{
    const struct target *t = shard_table_target(d->table, target);
    return t ? &d->places[t - d->table->targets] : NULL;
}

/* Of one that a slot of the table names. */
static struct place *place_known(const struct drain *d, uint32_t target)
{
    struct place *p = place_of(d, target);
    CHECK(p != NULL);
    return p;
}

/* ---- what there is ---- */

static void count_slots(const struct drain *d, struct drain_load *load)
{
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; d->table->shards[copies] && n < d->table->shard_count; n++) {
            const struct shard *s = &d->table->shards[copies][n];
            for (unsigned i = 0; s->epoch > 0 && i < copies; i++) {
                struct place *p = place_of(d, s->slot[i].target);
                CHECK(p != NULL);
                p->slots++;
                load->slots += p->leaves;
                load->moving +=
                    p->leaves && s->move.incoming != 0 && s->move.outgoing == s->slot[i].target;
            }
        }
}

static void size_slots(struct drain *d, struct drain_load *load)
{
    uint64_t bytes = 0, chunks = 0, slots = 0;
    for (unsigned i = 0; i < d->table->target_count; i++) {
        const struct place *p = &d->places[i];
        bytes += p->seen ? p->seen->chunk_bytes : 0;
        chunks += p->seen ? p->seen->chunk_count : 0;
        slots += p->seen ? p->slots : 0;
    }
    d->mean_bytes = slots ? bytes / slots : 0;
    d->mean_chunks = slots ? chunks / slots : 0;
    for (unsigned i = 0; i < d->table->target_count; i++) {
        struct place *p = &d->places[i];
        if (p->slots == 0)
            continue;
        p->slot_bytes = p->seen ? p->seen->chunk_bytes / p->slots : d->mean_bytes;
        if (!p->leaves)
            continue;
        load->bytes += p->seen ? p->seen->chunk_bytes : d->mean_bytes * p->slots;
        load->chunks += p->seen ? p->seen->chunk_count : d->mean_chunks * p->slots;
    }
}

static void describe(const struct drain *d, const struct target *t, const uint32_t *targets,
                     unsigned target_count, struct place *ret)
{
    const struct target_view *seen = plan_view_of(d->view, t->id);
    bool has_weight = target_ring_weight(t) > 0, is_up = t->state == TARGET_UP;
    bool returns = t->admin == TARGET_MAINTENANCE && t->state == TARGET_DOWN;
    struct placement_domain domain;
    *ret = (struct place){.target = t, .seen = seen && seen->is_told && is_up ? seen : NULL};
    if (placement_domain_parse(t->host, &domain) == 0)
        memcpy(ret->zone, domain.zone, sizeof domain.zone);
    for (unsigned i = 0; i < target_count; i++)
        ret->leaves = ret->leaves || targets[i] == t->id;
    ret->leaves_too = !ret->leaves && t->admin == TARGET_DRAINING;
    ret->receives = !ret->leaves && has_weight && is_up && t->admin == TARGET_ACTIVE;
    ret->stays = !ret->leaves && has_weight && (is_up || returns);
}

static void drain_init(struct drain *d, const struct cluster_view *view, const uint32_t *targets,
                       unsigned target_count, struct drain_load *load)
{
    *d = (struct drain){.view = view, .table = view->table};
    *load = (struct drain_load){0};
    d->places = calloc(view->table->target_count + 1, sizeof *d->places);
    CHECK(d->places != NULL);
    for (unsigned i = 0; i < view->table->target_count; i++)
        describe(d, &view->table->targets[i], targets, target_count, &d->places[i]);
    count_slots(d, load);
    size_slots(d, load);
}

static void drain_release(struct drain *d)
{
    ring_destroy(d->ring);
    free(d->places);
}

/* Slots that were given away because their target was gone, and whose data is not there yet. */
static void count_owed(const struct drain *d, struct drain_load *load)
{
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; d->table->shards[copies] && n < d->table->shard_count; n++)
            for (unsigned i = 0; i < copies; i++) {
                const struct slot *slot = &d->table->shards[copies][n].slot[i];
                const struct place *of = slot->instead_of ? place_of(d, slot->instead_of) : NULL;
                if (!of || !of->leaves)
                    continue;
                load->slots++;
                load->moving++;
                load->bytes += d->mean_bytes;
                load->chunks += d->mean_chunks;
            }
}

void drain_load(const struct cluster_view *view, const uint32_t *targets, unsigned target_count,
                struct drain_load *ret_load)
{
    struct drain d;
    drain_init(&d, view, targets, target_count, ret_load);
    count_owed(&d, ret_load);
    drain_release(&d);
}

/* ---- where it would go ---- */

static uint64_t used_bytes(const struct place *p)
{
    if (!p->seen)
        return 0;
    return p->seen->bytes_used < p->seen->bytes_total ? p->seen->bytes_used : p->seen->bytes_total;
}

static uint64_t free_bytes(const struct place *p)
{
    uint64_t total = p->seen ? p->seen->bytes_total : 0;
    uint64_t limit = total - total / 1000 * DRAIN_RESERVE_PER_MILLE -
                     total % 1000 * DRAIN_RESERVE_PER_MILLE / 1000;
    uint64_t used = used_bytes(p) + p->added_bytes;
    return used < limit ? limit - used : 0;
}

static uint32_t pending_of(const void *arg, uint32_t id)
{
    const struct drain *d = arg;
    const struct place *p = place_of(d, id);
    if (!p || !p->receives)
        return RING_CLOSED;
    if (d->heed_room && free_bytes(p) < d->moving_bytes)
        return RING_BUSY; /* it waits for room, a nearer one would stay near */
    return p->added_slots;
}

/* Whoever has a slot of the shard already, moves included, but not the one that leaves. */
static unsigned list_taken(const struct shard *s, unsigned copies, unsigned leaving_slot,
                           const uint32_t *given, unsigned given_count,
                           uint32_t ret_taken[2 * CHAIN_VIEW_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < copies; i++)
        if (i != leaving_slot)
            ret_taken[count++] = s->slot[i].target;
    if (s->move.incoming)
        ret_taken[count++] = s->move.incoming;
    for (unsigned i = 0; i < given_count; i++)
        ret_taken[count++] = given[i];
    return count;
}

/* Slots of the same shard leave one after the other; what the first one took is taken. */
static void place_shard(struct drain *d, unsigned copies, uint32_t number, bool others)
{
    const struct shard *s = &d->table->shards[copies][number];
    uint32_t given[COPIES_MAX], taken[2 * CHAIN_VIEW_MAX], target;
    unsigned given_count = 0;
    for (unsigned i = 0; s->epoch > 0 && i < copies; i++) {
        const struct place *from = place_known(d, s->slot[i].target);
        if (others ? !from->leaves_too : !from->leaves)
            continue;
        unsigned count = list_taken(s, copies, i, given, given_count, taken);
        d->moving_bytes = from->slot_bytes;
        if (s->move.incoming && s->move.outgoing == s->slot[i].target &&
            place_known(d, s->move.incoming)->receives) {
            target = s->move.incoming; /* it is on its way */
        } else {
            d->heed_room = true;
            int status = ring_replacement(d->ring, number, taken, count, pending_of, d, &target);
            if (status != 0) {
                d->heed_room = false;
                status = ring_replacement(d->ring, number, taken, count, pending_of, d, &target);
                *(status == 0 ? &d->no_room_bytes : &d->no_target_bytes) += from->slot_bytes;
            }
            if (status != 0)
                continue;
            given[given_count++] = target;
        }
        place_known(d, target)->added_bytes += from->slot_bytes;
        place_known(d, target)->added_slots++;
    }
}

static void place_all(struct drain *d, bool others)
{
    d->no_room_bytes = d->no_target_bytes = 0;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; d->table->shards[copies] && n < d->table->shard_count; n++)
            place_shard(d, copies, n, others);
}

/* ---- the checks ---- */

static struct rec_job_check *check(struct drain_plan *plan, enum job_check_kind kind, uint64_t need,
                                   uint64_t have)
{
    CHECK(plan->check_count < DRAIN_CHECKS_MAX);
    struct rec_job_check *c = &plan->checks[plan->check_count++];
    *c = (struct rec_job_check){
        .check = (uint8_t)kind, .is_good = need <= have, .need = need, .have = have};
    plan->is_good = plan->is_good && c->is_good;
    return c;
}

static bool counts(const struct place *p, bool afterwards)
{
    return p->stays || (!afterwards && p->leaves);
}

static unsigned count_hosts(const struct drain *d, bool afterwards)
{
    unsigned count = 0;
    for (unsigned i = 0; i < d->table->target_count; i++) {
        const struct place *p = &d->places[i];
        bool is_new = counts(p, afterwards);
        for (unsigned j = 0; j < i && is_new; j++)
            is_new = !counts(&d->places[j], afterwards) ||
                     strcmp(d->places[j].target->host, p->target->host) != 0;
        count += is_new;
    }
    return count;
}

/* Servers that stay, for a table with so many copies. */
static unsigned servers_for(const struct drain *d, unsigned copies)
{
    unsigned targets = 0;
    for (unsigned i = 0; i < d->table->target_count; i++)
        targets += d->places[i].stays;
    return count_hosts(d, false) >= copies ? count_hosts(d, true) : targets;
}

static void check_space(struct drain *d, struct drain_plan *plan)
{
    uint64_t have = 0, need = plan->load.bytes;
    bool are_enough = true;
    place_all(d, true);
    for (unsigned i = 0; i < d->table->target_count; i++)
        have += d->places[i].receives ? free_bytes(&d->places[i]) : 0;
    place_all(d, false);
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        are_enough = are_enough && (!d->table->shards[copies] || servers_for(d, copies) >= copies);
    /* That there are too few is said once, by SERVERS and COPIES. */
    uint64_t unplaced = d->no_room_bytes + (are_enough ? d->no_target_bytes : 0);
    if (unplaced > 0 && have >= need)
        have = need > unplaced ? need - unplaced : 0;
    (void)check(plan, JOB_CHECK_SPACE, need, have);
}

static void check_servers(const struct drain *d, unsigned copies_of_new, struct drain_plan *plan)
{
    (void)check(plan, JOB_CHECK_SERVERS, copies_of_new, servers_for(d, copies_of_new));
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        if (d->table->shards[copies])
            check(plan, JOB_CHECK_COPIES, copies, servers_for(d, copies))->copies = (uint8_t)copies;
}

static unsigned count_zones(const struct drain *d, bool afterwards)
{
    unsigned count = 0;
    for (unsigned i = 0; i < d->table->target_count; i++) {
        const struct place *p = &d->places[i];
        bool is_new = counts(p, afterwards) && p->zone[0];
        for (unsigned j = 0; j < i && is_new; j++)
            is_new = !counts(&d->places[j], afterwards) || strcmp(d->places[j].zone, p->zone) != 0;
        count += is_new;
    }
    return count;
}

/* Copies of one shard can be in so many zones as there are copies at most. */
static void check_zones(const struct drain *d, unsigned copies_of_new, struct drain_plan *plan)
{
    unsigned before = count_zones(d, false), most = copies_of_new;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        if (d->table->shards[copies] && copies > most)
            most = copies;
    if (before > 0)
        (void)check(plan, JOB_CHECK_ZONES, before < most ? before : most, count_zones(d, true));
}

static uint64_t per_mille(uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return 0;
    return whole < UINT64_MAX / 4000 ? part * 1000 / whole : part / (whole / 1000);
}

static void check_fullest(const struct drain *d, struct drain_plan *plan)
{
    const struct place *fullest = NULL;
    uint64_t most = 0, today = 0;
    bool any = false;
    for (unsigned i = 0; i < d->table->target_count; i++)
        any = any || d->places[i].added_slots > 0;
    for (unsigned i = 0; i < d->table->target_count; i++) {
        const struct place *p = &d->places[i];
        if (!p->receives || !p->seen || (any && p->added_slots == 0))
            continue;
        uint64_t used = used_bytes(p), total = p->seen->bytes_total;
        uint64_t after = per_mille(used + p->added_bytes, total);
        if (fullest && after <= most)
            continue;
        fullest = p;
        most = after;
        today = per_mille(used, total);
    }
    uint64_t limit = 1000 - DRAIN_RESERVE_PER_MILLE;
    check(plan, JOB_CHECK_FULLEST, most, today > limit ? today : limit)->target =
        fullest ? fullest->target->id : 0;
}

static bool is_last_copy_lost(const struct drain *d, const struct shard *s, unsigned copies)
{
    bool leaves = false;
    for (unsigned i = 0; s->epoch > 0 && i < copies; i++) {
        const struct place *p = place_of(d, s->slot[i].target);
        if (s->slot[i].state != SLOT_INSYNC && s->slot[i].state != SLOT_LEAVING)
            continue;
        if (!p->leaves || p->target->state == TARGET_UP)
            return false;
        leaves = true;
    }
    return leaves;
}

static void check_last_copy(const struct drain *d, struct drain_plan *plan)
{
    uint64_t count = 0;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; d->table->shards[copies] && n < d->table->shard_count; n++)
            count += is_last_copy_lost(d, &d->table->shards[copies][n], copies);
    (void)check(plan, JOB_CHECK_LAST_COPY, count, 0);
}

void drain_plan_make(const struct cluster_view *view, const uint32_t *targets,
                     unsigned target_count, unsigned copies, struct drain_plan *ret_plan)
{
    struct drain d;
    *ret_plan = (struct drain_plan){.is_good = true};
    drain_init(&d, view, targets, target_count, &ret_plan->load);
    d.ring = cluster_ring_create(view->table, targets, target_count);
    check_space(&d, ret_plan);
    check_servers(&d, copies, ret_plan);
    check_zones(&d, copies, ret_plan);
    check_fullest(&d, ret_plan);
    check_last_copy(&d, ret_plan);
    drain_release(&d);
}
