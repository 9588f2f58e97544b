/* Chunks that no file has: once an hour, spread over it, all chunks that this target holds in sync
 * are offered to the leader, a thousand at a time. What it calls dead twice, some time apart, goes
 * into the quarantine through the core, like a chunk of a delete batch.
 *
 * An answer counts only while we have a lease, and only of a leader that is not behind (D4); and
 * only chunks of shards count that are whole now, so that no resync brings back what goes. What was
 * called dead is remembered in memory: after a restart it takes two more answers. */
#include <stdlib.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum {
    BATCH_MAX = 1024,
    DOUBTS_MAX = 65536, /* more wait for the next round */
    EVERY_DEFAULT_MS = 3600000,
    DOUBT_DEFAULT_MS = 600000,
    DEADLINE_MS = 10000,
    RETRY_MS = 5000,
};

struct doubt {
    struct chunk_id id;
    uint64_t since_ms;
    uint32_t round; /* in which it was said last */
};

static uint64_t every_ms(const struct chunkserver *cs)
{
    return cs->config.inventory_ms ? cs->config.inventory_ms : EVERY_DEFAULT_MS;
}

/* In sync here, and all of its copies are. */
static bool is_settled(const struct chunkserver *cs, uint8_t copies, uint32_t shard)
{
    const struct shard *s = shard_table_shard(&cs->table, copies, shard);
    enum slot_state state;
    return s && s->epoch != 0 && shard_has_member(s, copies, cs->target, &state) &&
           state == SLOT_INSYNC && table_shard_is_whole(cs, s, copies);
}

static struct slice id_key(const struct chunk_id *id)
{
    return slice_of(id, sizeof *id);
}

static void doubt_drop(struct inventory *v, struct doubt *d)
{
    (void)map_remove_bytes(&v->doubts, id_key(&d->id));
    free(d);
}

/* ---- an answer ---- */

static void delete_chunk(struct chunkserver *cs, const struct rec_chunk_ref *row)
{
    struct chain_event e = {.kind = CHAIN_EVENT_DELETE,
                            .u.delete = {row->id, row->copies, row->shard, true}};
    driver_event(cs, &e);
}

/* True when it was the second time, long enough after the first. */
static bool doubt_again(struct chunkserver *cs, const struct rec_chunk_ref *row)
{
    struct inventory *v = &cs->inventory;
    uint64_t apart_ms = cs->config.doubt_ms ? cs->config.doubt_ms : DOUBT_DEFAULT_MS;
    struct doubt *d = map_get_bytes(&v->doubts, id_key(&row->id));
#ifdef PLANT_D14_ONCE
    return true;
#endif
    if (!d && v->doubts.count >= DOUBTS_MAX)
        return false;
    if (!d) {
        d = calloc(1, sizeof *d);
        CHECK(d != NULL);
        d->id = row->id;
        d->since_ms = loop_now_ms();
        (void)map_put_bytes(&v->doubts, id_key(&row->id), d);
    }
    d->round = v->round;
    if (loop_now_ms() - d->since_ms < apart_ms)
        return false;
    doubt_drop(v, d);
    return true;
}

/* The dead are a part of what was asked, in the same order; whatever else is in there is not
 * believed. */
static void take_answer(struct chunkserver *cs, const struct msg_inventory_check_r *r)
{
    struct inventory *v = &cs->inventory;
    struct rec_chunk_ref dead;
    struct slice at = r->dead.raw;
    bool more = rec_chunk_ref_next(&at, &dead);
    uint32_t said = 0, deleted = 0;
    for (uint32_t i = 0; i < v->asked_count; i++) {
        const struct rec_chunk_ref *row = &v->asked[i];
        struct doubt *d = map_get_bytes(&v->doubts, id_key(&row->id));
        bool is_dead = more && chunk_id_equal(&dead.id, &row->id);
        if (is_dead)
            more = rec_chunk_ref_next(&at, &dead);
        if (!is_dead && d)
            doubt_drop(v, d); /* it has come to life, or another leader knows better */
        if (!is_dead || !is_settled(cs, row->copies, row->shard))
            continue;
        said++;
        if (!doubt_again(cs, row))
            continue;
        deleted++;
        delete_chunk(cs, row);
    }
    if (said > 0)
        log_info("inventory.dead", "asked=%u dead=%u quarantined=%u", v->asked_count, said,
                 deleted);
}

static void on_answer(void *arg, struct rpc_reply *reply)
{
    struct chunkserver *cs = arg;
    struct inventory *v = &cs->inventory;
    struct msg_inventory_check_r r = {0};
    v->asking = false;
    if (cs->closing)
        return;
    int status = reply->status;
    if (status == 0)
        status = decode_inventory_check_r(reply->body, reply->version, &r);
    struct store_position heard = {.term = r.term, .index = r.index};
    if (status == 0 && chunkserver_has_lease(cs) && left_position_is_good(cs, heard))
        take_answer(cs, &r);
    else if (status != 0)
        log_debug("inventory.failed", "error=%s", err_name(status));
}

/* ---- a question ---- */

static void ask(struct chunkserver *cs)
{
    struct inventory *v = &cs->inventory;
    struct bytes body = {0};
    struct msg_inventory_check m = {.target = cs->target,
                                    .incarnation = cs->info.incarnation,
                                    .chunks = {.count = v->asked_count, .items = v->asked}};
    encode_inventory_check(&body, &m);
    struct rpc_call_options options = {.code = MSG_inventory_check,
                                       .body = bytes_slice(&body),
                                       .deadline_ms = loop_now_ms() + DEADLINE_MS};
    v->asking = true;
    (void)rpc_leader_call(cs->leader, &options, on_answer, cs);
    bytes_release(&body);
}

static void list_run(struct work *work)
{
    struct inventory *v = CONTAINER_OF(work, struct inventory, work);
    struct chunkserver *cs = CONTAINER_OF(v, struct chunkserver, inventory);
    work->status = store_list_all(cs->store, &v->cursor, v->rows, BATCH_MAX, &v->row_count);
}

/* Who was called dead once and is not there any more has nobody to speak of. */
static void round_end(struct chunkserver *cs)
{
    struct inventory *v = &cs->inventory;
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&v->doubts, &cursor));) {
        struct doubt *d = e->value;
        if (d->round != v->round)
            doubt_drop(v, d);
    }
    v->cursor = (struct store_cursor){.started = false};
    v->round++;
}

static void list_done(struct work *work)
{
    struct inventory *v = CONTAINER_OF(work, struct inventory, work);
    struct chunkserver *cs = CONTAINER_OF(v, struct chunkserver, inventory);
    v->listing = false;
    if (cs->closing)
        return;
    store_status_note(cs, work->status);
    if (work->status != 0)
        return;
    v->asked_count = 0;
    for (uint32_t i = 0; i < v->row_count; i++) {
        const struct store_entry *e = &v->rows[i];
        if (is_settled(cs, e->copies, e->shard))
            v->asked[v->asked_count++] =
                (struct rec_chunk_ref){.id = e->id, .copies = e->copies, .shard = e->shard};
    }
    if (v->row_count < BATCH_MAX)
        round_end(cs);
    if (v->asked_count > 0)
        ask(cs);
}

/* The batches of a round are as far apart as makes the round last its time. */
void inventory_tick(struct chunkserver *cs)
{
    struct inventory *v = &cs->inventory;
    uint64_t now_ms = loop_now_ms();
    if (v->listing || v->asking || now_ms < v->due_ms || cs->life != LIFE_SERVING)
        return;
    if (!chunkserver_has_lease(cs) || cs->table.version < cs->left.heard_table) {
        v->due_ms = now_ms + (every_ms(cs) < RETRY_MS ? every_ms(cs) : RETRY_MS);
        return;
    }
    uint64_t batches = cs->housekeeping.space.chunk_count / BATCH_MAX + 1;
    v->due_ms = now_ms + every_ms(cs) / batches;
    v->work = (struct work){.run = list_run, .done = list_done};
    v->listing = work_submit(cs->pool, &v->work) == 0;
}

/* Servers that start together do not ask together. */
void inventory_start(struct chunkserver *cs)
{
    struct inventory *v = &cs->inventory;
    v->rows = calloc(BATCH_MAX, sizeof *v->rows);
    v->asked = calloc(BATCH_MAX, sizeof *v->asked);
    CHECK(v->rows != NULL && v->asked != NULL);
    v->due_ms = loop_now_ms() + random_u64() % every_ms(cs);
}

void inventory_release(struct chunkserver *cs)
{
    struct inventory *v = &cs->inventory;
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&v->doubts, &cursor));)
        free(e->value);
    map_release(&v->doubts);
    free(v->rows);
    free(v->asked);
}
