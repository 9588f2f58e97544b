/* The driver of one simulated node: carries out the duties of each update in their order, and may
 * die between any two of them. */
#include "tests/sim/raft_sim.h"

#include <string.h>

#include "common/base/check.h"

uint64_t node_clock_ms(const struct sim *s, const struct node *n)
{
    return (uint64_t)((int64_t)(s->now_us / 1000 * n->clock_rate / 1000) + n->clock_offset_ms);
}

bool node_awake(const struct sim *s, const struct node *n)
{
    return n->raft && s->now_us >= n->paused_until_us;
}

static void set_timer(struct sim *s, struct node *n, uint64_t wake_at_ms)
{
    uint64_t local = node_clock_ms(s, n);
    uint64_t wait_ms = wake_at_ms > local ? wake_at_ms - local : 0;
    uint64_t at = s->now_us + wait_ms * 1000 * 1000 / n->clock_rate + 1000;
    n->wake_at_ms = wake_at_ms;
    if (n->wake_us != 0 && n->wake_us <= at)
        return; /* the one in the queue comes first and asks again */
    n->wake_us = at;
    world_push(s, at, EV_TIMER, n->id, n->incarnation);
}

static void apply(struct sim *s, struct node *n, uint64_t to)
{
    if (n->state.index >= to || s->failed)
        return;
    s->machine->apply_begin(s, n);
    while (n->state.index < to && !s->failed) {
        const struct raft_entry *e = raft_entry_at(n->raft, n->state.index + 1);
        if (!e) {
            sim_fail(s, "node %u: entry %lu to apply is not in memory", n->id, n->state.index + 1);
            break;
        }
        n->state.index = e->index;
        n->state.term = e->term;
        if (e->kind == RAFT_ENTRY_CONFIG)
            n->state.config = command_of(s, e).sequence;
        s->machine->apply(s, n, e);
        oracle_applied(s, n);
        s->machine->answer(s, n, e);
    }
    s->machine->apply_end(s, n);
}

static void send_all(struct sim *s, struct node *n, const struct raft_messages *q)
{
    for (unsigned i = 0; i < q->count; i++) {
        oracle_vote_sent(s, n, &q->messages[i]);
        oracle_ack_sent(s, n, &q->messages[i]);
        world_send(s, &q->messages[i]);
    }
}

static bool dies_at(struct sim *s, struct node *n, unsigned place, unsigned point)
{
    if (place != point)
        return false;
    node_crash(s, n);
    return true;
}

static void perform(struct sim *s, struct node *n, const struct raft_update *u)
{
    unsigned place = 99;
    bool matters = u->todo & (RAFT_PERSIST_VOTE | RAFT_RESET_LOG | RAFT_PERSIST_ENTRIES);
    if (!s->calm && prng_below(&s->prng, 100000) < s->profile.crash_in_update * (matters ? 10 : 1))
        place = (unsigned)prng_below(&s->prng, 5);

    if (u->todo & RAFT_PERSIST_ENTRIES)
        sim_trace(s, "node %u appends %lu..%lu in term %lu", n->id, u->persist.entries[0].index,
                  u->persist.index_last, u->term);
    if (dies_at(s, n, place, 0))
        return;
    send_all(s, n, &u->send_now);
    if (dies_at(s, n, place, 1))
        return;
    if (u->todo & RAFT_PERSIST_VOTE) {
        oracle_vote_record(s, n, u->vote.term, u->vote.voted_for);
        n->disk->term = u->vote.term;
        n->disk->voted_for = u->vote.voted_for;
    }
    if (u->todo & RAFT_JOINED) {
        n->disk->joining = false;
        s->joins++;
    }
    if (dies_at(s, n, place, 2))
        return;
    if (u->todo & RAFT_PERSIST_ENTRIES)
        oracle_entries(s, n, u->persist.entries, u->persist.entry_count);
    if (u->todo & RAFT_RESET_LOG) {
        n->disk->first = u->log_reset.index + 1;
        n->disk->last = u->log_reset.index;
        n->write_count = 0;
        n->write_number++;
        n->write_running = false;
    }
    if (dies_at(s, n, place, 3))
        return;
    send_all(s, n, &u->send_durable);
    if (dies_at(s, n, place, 4))
        return;
    oracle_update(s, n, u);
    if (u->todo & RAFT_PERSIST_ENTRIES)
        disk_queue_write(s, n, u);
    n->apply_index = u->apply_index;
    apply(s, n, u->apply_index);
    s->machine->on_reads(s, n, u);
    if (u->todo & RAFT_FETCH_SNAPSHOT)
        disk_fetch(s, n, u->fetch.from, u->fetch.index, u->fetch.term);
    set_timer(s, n, u->wake_at_ms);
}

int node_step(struct sim *s, struct node *n, struct raft_event *event)
{
    struct raft_update u;
    event->now_ms = node_clock_ms(s, n);
    int rc = raft_step(n->raft, event, &u);
    if (rc != 0)
        return rc;
    member_update(s, n, &u);
    perform(s, n, &u);
    oracle_node(s, n);
    if (n->raft && !s->failed &&
        n->state.index >= n->disk->checkpoints[0].index + n->checkpoint_every)
        disk_checkpoint(s, n);
    return 0;
}

void node_crash(struct sim *s, struct node *n)
{
    CHECK(n->raft != NULL);
    sim_trace(s, "node %u crashes", n->id);
    raft_destroy(n->raft);
    n->raft = NULL;
    n->role = RAFT_FOLLOWER;
    n->fetch_index = 0;
    n->wake_us = 0;
    disk_crash(s, n);
    s->machine->forget_node(s, n);
    s->crashes++;
    uint64_t down_us = prng_between(&s->prng, 1000, 2000000);
    n->restart_us = s->now_us + down_us;
    world_push(s, n->restart_us, EV_RESTART, n->id, n->incarnation);
}

void node_boot(struct sim *s, struct node *n)
{
    static struct raft_entry entries[LOG_MAX];
    CHECK(!n->raft);
    n->dead = false;
    CHECK(raft_create(&s->options, n->id, prng_next(&s->prng), &n->raft) == 0);
    n->incarnation++;
    n->paused_until_us = 0;
    struct disk *d = n->disk;
    /* A killed process keeps its state machine; a machine that lost power restores a checkpoint. */
    if (n->state.index < d->checkpoints[0].index || prng_chance(&s->prng, 500))
        disk_restore(s, n, &d->checkpoints[0]);
    else
        s->machine->restart(s, n);
    uint32_t first = n->founder && !d->joining ? 1 : 0;
    uint32_t config_number = d->checkpoints[0].index > 0 ? d->checkpoints[0].config : first;
    struct raft_config config = {0};
    if (n->state.index == 0)
        n->state.config = first;
    if (config_number != 0)
        member_decode(s, config_number, &config);
    n->config = (struct raft_config){0};
    unsigned count = 0;
    for (uint64_t i = d->first; i <= d->last; i++)
        entries[count++] = entry_of(s, &d->log[i]);
    n->commit_index = n->apply_index = n->state.index;
    n->role = RAFT_FOLLOWER;
    n->term = d->term;
    struct raft_event event = {.kind = RAFT_EV_START};
    event.start.term = d->term;
    event.start.voted_for = d->voted_for;
    event.start.snapshot_index = d->checkpoints[0].index;
    event.start.snapshot_term = d->checkpoints[0].term;
    event.start.config = &config;
    event.start.joining = d->joining;
    event.start.applied_index = n->state.index;
    event.start.entries = entries;
    event.start.entry_count = count;
    sim_trace(s, "node %u starts: term %lu, log %lu..%lu, checkpoint %lu, applied %lu", n->id,
              d->term, d->first, d->last, d->checkpoints[0].index, n->state.index);
    int rc = node_step(s, n, &event);
    if (rc != 0)
        sim_fail(s, "node %u cannot start: %s", n->id, err_name(rc));
}

void node_on_timer(struct sim *s, struct node *n)
{
    n->wake_us = 0;
    if (node_clock_ms(s, n) < n->wake_at_ms) {
        set_timer(s, n, n->wake_at_ms);
        return;
    }
    struct raft_event event = {.kind = RAFT_EV_TICK};
    (void)node_step(s, n, &event);
}

void node_on_packet(struct sim *s, uint32_t number)
{
    struct packet *p = world_packet(s, number);
    struct node *n = &s->nodes[p->message.to];
    if (n->raft && !s->cut[p->message.from][p->message.to]) {
        struct raft_event event = {.kind = RAFT_EV_RECV};
        event.recv = &p->message;
        int rc = node_step(s, n, &event);
        if (rc != 0)
            sim_fail(s, "node %u refuses a good message (%s from %u): %s", n->id,
                     raft_message_kind_name(p->message.kind), p->message.from, err_name(rc));
    }
    world_free_packet(s, number);
}
