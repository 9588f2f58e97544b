/* The disk of one simulated node: a log writer that lags behind, checkpoints, and what a crash
 * leaves of them. */
#include "tests/sim/raft_sim.h"

#include <string.h>

#include "common/base/check.h"

static void write_done(struct node *n, unsigned entry_count)
{
    struct disk *d = n->disk;
    const struct disk_write *w = &n->writes[0];
    CHECK(w->first <= d->last + 1 && w->first >= d->first);
    for (unsigned i = 0; i < entry_count; i++)
        d->log[w->first + i] = n->pending[(w->start + i) % PENDING_MAX];
    d->last = w->first + entry_count - 1;
    n->write_count--;
    memmove(n->writes, n->writes + 1, n->write_count * sizeof n->writes[0]);
}

static void schedule(struct sim *s, struct node *n)
{
    uint64_t delay = prng_between(&s->prng, 100, 5000);
    if (!s->calm && s->now_us < n->slow_until_us)
        delay = prng_between(&s->prng, 1000, 1000000);
    n->write_running = true;
    world_push(s, s->now_us + delay, EV_WRITE, n->id, n->write_number);
}

void disk_queue_write(struct sim *s, struct node *n, const struct raft_update *u)
{
    uint64_t used = n->write_count ? n->pending_end - n->writes[0].start : 0;
    while (n->write_count > 0 &&
           (n->write_count == WRITES_MAX || used + u->persist.entry_count > PENDING_MAX)) {
        write_done(n, n->writes[0].count);
        used = n->write_count ? n->pending_end - n->writes[0].start : 0;
    }
    CHECK(u->persist.entry_count <= PENDING_MAX);
    n->writes[n->write_count++] = (struct disk_write){.mark_term = u->persist.term,
                                                      .index_last = u->persist.index_last,
                                                      .first = u->persist.entries[0].index,
                                                      .start = n->pending_end,
                                                      .count = u->persist.entry_count};
    for (unsigned i = 0; i < u->persist.entry_count; i++) {
        const struct raft_entry *e = &u->persist.entries[i];
        n->pending[n->pending_end++ % PENDING_MAX] = (struct entry_copy){
            .term = e->term, .index = e->index, .kind = e->kind, .command = command_of(s, e)};
    }
    if (!n->write_running)
        schedule(s, n);
}

/* One fsync covers a random number of the writes that wait. */
void disk_on_write(struct sim *s, struct node *n)
{
    struct raft_event event = {.kind = RAFT_EV_PERSISTED};
    n->write_running = false;
    if (n->write_count == 0)
        return;
    uint64_t covered = s->calm ? n->write_count : prng_between(&s->prng, 1, n->write_count);
    for (; covered > 0; covered--) {
        event.persisted.term = n->writes[0].mark_term;
        event.persisted.index = n->writes[0].index_last;
        write_done(n, n->writes[0].count);
    }
    if (n->write_count > 0)
        schedule(s, n);
    int rc = node_step(s, n, &event);
    if (rc != 0)
        sim_fail(s, "node %u: PERSISTED refused: %s", n->id, err_name(rc));
}

/* Of the writes not yet fsynced some came through, the next one perhaps in part. */
void disk_crash(struct sim *s, struct node *n)
{
    uint64_t through = prng_below(&s->prng, n->write_count + 1);
    if (prng_chance(&s->prng, 500))
        through = 0;
    for (; through > 0; through--)
        write_done(n, n->writes[0].count);
    if (n->write_count > 0 && prng_chance(&s->prng, 300))
        write_done(n, (unsigned)prng_between(&s->prng, 0, n->writes[0].count));
    n->write_count = 0;
    n->write_number++;
    n->write_running = false;
}

void disk_clear(struct disk *d)
{
    d->term = d->last = 0;
    d->voted_for = 0;
    d->joining = false;
    d->first = 1;
    for (unsigned i = 0; i < CHECKPOINTS; i++)
        buf_unref(d->checkpoints[i].image);
    memset(d->checkpoints, 0, sizeof d->checkpoints);
}

static void keep_checkpoint(struct disk *d, const struct state *take_state)
{
    buf_unref(d->checkpoints[1].image);
    d->checkpoints[1] = d->checkpoints[0];
    d->checkpoints[0] = *take_state;
}

void disk_restore(struct sim *s, struct node *n, const struct state *checkpoint)
{
    n->state = *checkpoint;
    n->state.image = NULL;
    n->state.image_size = 0;
    s->machine->load(s, n, checkpoint);
}

void disk_checkpoint(struct sim *s, struct node *n)
{
    struct disk *d = n->disk;
    struct state state = n->state;
    if (!member_checkpoint(s, n, &state))
        return; /* a new node does not know yet who is in the cluster */
    s->machine->checkpoint(s, n, &state);
    keep_checkpoint(d, &state);
    /* Trim only behind the older checkpoint; writes under way never reach that far back. */
    uint64_t keep = d->checkpoints[1].index;
    if (keep + 1 > d->first && keep <= d->last)
        d->first = keep + 1;
    struct raft_event event = {.kind = RAFT_EV_LOG_COMPACT};
    event.snapshot.index = n->state.index;
    int rc = node_step(s, n, &event);
    if (rc != 0)
        sim_fail(s, "node %u: LOG_COMPACT refused: %s", n->id, err_name(rc));
}

void disk_fetch(struct sim *s, struct node *n, uint32_t from, uint64_t index, uint64_t term)
{
    if (n->fetch_index != 0)
        sim_fail(s, "node %u: a second fetch before the first has ended", n->id);
    n->fetch_index = index;
    n->fetch_term = term;
    n->fetch_from = from;
    uint64_t most = !s->calm && prng_chance(&s->prng, 200) ? 3000000 : 100000;
    world_push(s, s->now_us + prng_between(&s->prng, 1000, most), EV_FETCH, n->id, n->incarnation);
}

static const struct state *find_checkpoint(const struct sim *s, const struct node *n)
{
    const struct node *from = &s->nodes[n->fetch_from];
    if (!node_awake(s, from) || s->cut[from->id][n->id] || s->cut[n->id][from->id])
        return NULL;
    for (unsigned i = 0; i < CHECKPOINTS; i++)
        if (from->disk->checkpoints[i].index == n->fetch_index &&
            from->disk->checkpoints[i].term == n->fetch_term)
            return &from->disk->checkpoints[i];
    return NULL;
}

static void tell_sender(struct sim *s, struct node *n, uint32_t sender, enum raft_event_kind kind)
{
    struct node *from = &s->nodes[sender];
    struct raft_event event = {.kind = kind, .peer = n->id};
    if (node_awake(s, from))
        (void)node_step(s, from, &event);
}

void disk_on_fetch(struct sim *s, struct node *n)
{
    uint32_t sender = n->fetch_from;
    struct raft_event event = {.kind = RAFT_EV_INSTALL_FAILED};
    struct raft_config config;
    const struct state *found = find_checkpoint(s, n);
    bool good = found && (s->calm || !prng_chance(&s->prng, 50));
    if (good) {
        struct state copy = *found;
        copy.image = found->image ? buf_ref(found->image) : NULL;
        disk_restore(s, n, found);
        keep_checkpoint(n->disk, &copy);
        event.kind = RAFT_EV_SNAPSHOT_INSTALLED;
        event.snapshot.index = n->fetch_index;
        event.snapshot.term = n->fetch_term;
        member_decode(s, found->config, &config);
        event.snapshot.config = &config;
        s->installs++;
    }
    sim_trace(s, "node %u fetch of %lu: %s", n->id, n->fetch_index, good ? "installed" : "failed");
    n->fetch_index = 0;
    if (good && !s->calm && prng_below(&s->prng, 100000) < s->profile.crash_in_update * 100) {
        node_crash(s, n); /* R9: the state is new, the log still old */
        return;
    }
    if (good)
        oracle_applied(s, n);
    int rc = node_step(s, n, &event);
    if (rc != 0)
        sim_fail(s, "node %u: end of fetch refused: %s", n->id, err_name(rc));
    tell_sender(s, n, sender, good ? RAFT_EV_SNAPSHOT_SENT : RAFT_EV_SNAPSHOT_FAILED);
}
