/* Garbage: chunks that no file refers to go to their chunkservers in the answers to heartbeats.
 *
 * One window of garbage rows at a time. Each target of the chunks' chains gets its part as one
 * numbered batch; the window is done when every target that is up has carried its batch out. A
 * target that is down drops the chunks when it comes back: its resync deletes what the source does
 * not have.
 *
 * So a shard takes part only while nothing of it is being copied (a receiver could take a chunk
 * from a source that has not deleted it yet, after it said that it has none) and none of its
 * in-sync members is down (the last copy comes back without a resync). A window one of whose shards
 * changed meanwhile is void: its chunks are handed out again, by the new table. */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/ring/ring.h"
#include "metaserver/metaserver.h"

enum {
    WINDOW_ROWS = 4096,
    SCAN_ROWS = 65536, /* looked at for one window */
};

struct part {
    uint32_t target;
    unsigned count, capacity;
    struct rec_chunk_ref *chunks;
};

struct collector {
    unsigned row_count; /* rows of the window; 0 = none open */
    struct rec_garbage_ref rows[WINDOW_ROWS];
    struct {
        uint32_t shard;
        uint8_t copies;
        uint64_t epoch;
    } places[WINDOW_ROWS];
    uint64_t scanned; /* the last row looked at; 0 = from the start */
    uint64_t batch;   /* number of the window: term and counter, unique */
    uint64_t window_count;
    bool proposing;
    struct map parts; /* target -> struct part */
};

struct collector *collector_create(void)
{
    struct collector *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    map_init(&c->parts, 0xc011ec7);
    return c;
}

static void close_window(struct collector *c)
{
    size_t cursor = 0;
    struct map_entry *e;
    while ((e = map_next(&c->parts, &cursor))) {
        free(((struct part *)e->value)->chunks);
        free(e->value);
    }
    map_release(&c->parts);
    c->row_count = 0;
}

void collector_destroy(struct collector *c)
{
    if (!c)
        return;
    close_window(c);
    free(c);
}

static void add_chunk(struct collector *c, uint32_t target, const struct rec_chunk_ref *chunk)
{
    struct part *p = map_get(&c->parts, target);
    if (!p) {
        p = calloc(1, sizeof *p);
        CHECK(p != NULL);
        p->target = target;
        (void)map_put(&c->parts, target, p);
    }
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 64;
        p->chunks = realloc(p->chunks, p->capacity * sizeof *p->chunks);
        CHECK(p->chunks != NULL);
    }
    p->chunks[p->count++] = *chunk;
}

static bool is_settled(const struct shard_table *t, const struct shard *s, unsigned copies)
{
    if (s->move.incoming) /* it would have to hear of it, too, wherever it is with its filling */
        return false;
    for (unsigned slot = 0; slot < copies; slot++) {
        const struct target *target = shard_table_target(t, s->slot[slot].target);
        bool is_up = target && target->state == TARGET_UP;
        if (s->slot[slot].state == SLOT_SYNCING || (s->slot[slot].state == SLOT_INSYNC && !is_up))
            return false;
    }
    return true;
}

static void add_row(struct collector *c, const struct fs_garbage *g, uint32_t shard,
                    const struct shard *s)
{
    struct rec_chunk_ref chunk = {.id = g->id, .copies = g->copies, .shard = shard};
    for (unsigned slot = 0; slot < g->copies; slot++)
        add_chunk(c, s->slot[slot].target, &chunk);
    c->rows[c->row_count] = (struct rec_garbage_ref){.seq = g->seq};
    c->places[c->row_count].shard = shard;
    c->places[c->row_count].copies = g->copies;
    c->places[c->row_count].epoch = s->epoch;
    c->row_count++;
}

static void open_window(struct metaserver *m, struct collector *c)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    struct fs_garbage g = {.seq = c->scanned};
    unsigned looked_at = 0;
    while (c->row_count < WINDOW_ROWS && looked_at < SCAN_ROWS &&
           fs_next_garbage(meta_view(m), g.seq, &g) == 0) {
        looked_at++;
        uint32_t shard = ring_shard_of_chunk(g.id.inode, g.id.index, t->shard_count);
        const struct shard *s = shard_table_shard(t, g.copies, shard);
        if (s && is_settled(t, s, g.copies))
            add_row(c, &g, shard, s);
    }
    c->scanned = looked_at == SCAN_ROWS ? g.seq : 0; /* goes on behind what cannot be done now */
    /* A target tells only the number that it has carried out, and a window that is opened again
     * has to be carried out again: numbers are never used twice. */
    c->batch = m->leader_term << 40 | (++c->window_count & 0xffffffffff);
}

static bool is_void(const struct metaserver *m, const struct collector *c)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    for (unsigned i = 0; i < c->row_count; i++) {
        const struct shard *s = shard_table_shard(t, c->places[i].copies, c->places[i].shard);
        if (!s || s->epoch != c->places[i].epoch || !is_settled(t, s, c->places[i].copies))
            return true;
    }
    return false;
}

static bool is_window_done(const struct metaserver *m, const struct collector *c)
{
    size_t cursor = 0;
    struct map_entry *e;
    while ((e = map_next(&c->parts, &cursor))) {
        const struct part *p = e->value;
        const struct target *target = shard_table_target(fs_shard_table(m->fs), p->target);
        const struct target_heard *heard = targets_heard(m, p->target);
        if (target && target->state == TARGET_UP && (!heard || heard->deleted_batch != c->batch))
            return false;
    }
    return true;
}

static void on_done(struct metaserver *m, void *arg, int status)
{
    (void)arg;
    (void)status; /* refused or lost: the same rows come again */
    m->collector->proposing = false;
    close_window(m->collector);
}

void collector_tick(struct metaserver *m)
{
    struct collector *c = m->collector;
    if (c->proposing)
        return;
    if (c->row_count != 0 && (c->batch >> 40 != m->leader_term || is_void(m, c)))
        close_window(c);
    if (c->row_count == 0)
        open_window(m, c);
    if (c->row_count == 0 || !is_window_done(m, c))
        return;
    struct bytes body = {0};
    struct msg_garbage_done done = {.rows = {.count = c->row_count, .items = c->rows}};
    encode_garbage_done(&body, &done);
    c->proposing = true;
    meta_propose_command(m, MSG_garbage_done, bytes_slice(&body), on_done, NULL);
    bytes_release(&body);
}

void collector_fill(struct metaserver *m, const struct target_heard *heard,
                    struct msg_heartbeat_r *r)
{
    const struct collector *c = m->collector;
    const struct part *p = c->row_count ? map_get(&c->parts, heard->target) : NULL;
    r->delete_batch = heard->deleted_batch;
    if (!p || heard->deleted_batch == c->batch)
        return;
    r->delete_batch = c->batch;
    r->deletes = (struct wire_list){.count = p->count, .items = p->chunks};
}
