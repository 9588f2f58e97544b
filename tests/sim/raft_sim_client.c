/* Load: clients that retry one operation until it is acknowledged, and readers by read index and
 * by lease. */
#include "tests/sim/raft_sim.h"

#include <string.h>

enum { READS_MAX = 32 };

struct client {
    uint32_t sequence; /* of the operation under way */
    uint32_t node;
    unsigned incarnation; /* of the node that took it; 0 = nobody did */
    uint64_t term, index;
    uint64_t give_up_us;
    uint64_t acked_index;
};

struct sim_read {
    uint64_t id, required; /* the least index that may be observed */
    uint32_t node;
    unsigned incarnation;
    uint64_t index; /* 0: not confirmed yet */
    bool in_use;
};

static struct client clients[CLIENTS + 1];
static struct sim_read reads[READS_MAX];
static uint64_t read_id;

void client_start(struct sim *s)
{
    (void)s;
    memset(clients, 0, sizeof clients);
    memset(reads, 0, sizeof reads);
    for (uint32_t c = 1; c <= CLIENTS; c++)
        clients[c].sequence = 1;
}

void client_calm(struct sim *s)
{
    (void)s;
    for (uint32_t c = 1; c <= CLIENTS; c++)
        clients[c].acked_index = 0;
}

bool client_served(const struct sim *s)
{
    (void)s;
    for (uint32_t c = 1; c <= CLIENTS; c++)
        if (clients[c].acked_index == 0)
            return false;
    return true;
}

/* Half of the time the client knows the leader, otherwise it tries anybody. */
static struct node *choose_node(struct sim *s)
{
    if (s->calm || prng_chance(&s->prng, 700))
        for (uint32_t i = 1; i <= s->node_count; i++)
            if (s->nodes[i].role == RAFT_LEADER && node_awake(s, &s->nodes[i]) &&
                prng_chance(&s->prng, 700))
                return &s->nodes[i];
    return &s->nodes[prng_between(&s->prng, 1, s->node_count)];
}

static void propose(struct sim *s, uint32_t number, struct node *n)
{
    struct client *c = &clients[number];
    struct raft_entry entries[4];
    struct raft_status st;
    struct entry_copy own = {.kind = RAFT_ENTRY_COMMAND, .command = {number, c->sequence}};
    unsigned count = (unsigned)prng_between(&s->prng, 1, 4);
    raft_status_get(n->raft, &st);
    if (st.last_index + 64 >= LOG_MAX || c->sequence + 1 >= LOG_MAX)
        return; /* the run is at its end */
    for (unsigned i = 0; i < count; i++) {
        struct entry_copy filler = {.kind = RAFT_ENTRY_COMMAND,
                                    .command = {0, (uint32_t)(s->events % LOG_MAX)}};
        entries[i] = entry_of(s, i == 0 ? &own : &filler);
    }
    c->node = n->id;
    c->incarnation = n->incarnation;
    c->term = st.term;
    c->index = st.last_index + 1;
    struct raft_event event = {.kind = RAFT_EV_PROPOSE};
    event.propose.entries = entries;
    event.propose.entry_count = count;
    c->give_up_us = s->now_us + prng_between(&s->prng, 100000, 2000000);
    if (node_step(s, n, &event) != 0)
        c->incarnation = 0;
}

static void read_index(struct sim *s, struct node *n)
{
    struct sim_read *r = &reads[read_id % READS_MAX];
    struct raft_event event = {.kind = RAFT_EV_READ};
    event.read_id = ++read_id;
    r = &reads[read_id % READS_MAX];
    *r = (struct sim_read){.id = read_id,
                           .required = s->observed_index,
                           .node = n->id,
                           .incarnation = n->incarnation,
                           .in_use = true};
    if (node_step(s, n, &event) != 0)
        r->in_use = false;
}

/* R16: asked of any node, also of one that has just been paused and knows of nothing. */
static void lease_read(struct sim *s, struct node *n)
{
    struct raft_status st;
    if (!s->lease_reads || !node_awake(s, n) || n->role != RAFT_LEADER)
        return;
    raft_status_get(n->raft, &st);
    if (n->state.index < st.commit_index || !raft_lease_valid(n->raft, node_clock_ms(s, n)))
        return;
    s->lease_reads_done++;
    if (n->state.index < s->observed_index)
        sim_fail(s, "stale lease read: node %u at %lu, a client has seen %lu", n->id,
                 n->state.index, s->observed_index);
    s->observed_index = n->state.index;
}

void client_tick(struct sim *s, uint32_t number, uint32_t unused)
{
    (void)unused;
    struct client *c = &clients[number];
    uint64_t gap = s->calm ? 50 : s->profile.client_gap_ms;
    world_push(s, s->now_us + prng_between(&s->prng, 1, gap) * 1000, EV_CLIENT, number, 0);
    struct node *n = choose_node(s);
    if (prng_chance(&s->prng, 300))
        lease_read(s, n);
    if (!node_awake(s, n))
        return;
    if (prng_chance(&s->prng, 300))
        read_index(s, n);
    if (!node_awake(s, n) || (c->incarnation != 0 && s->now_us < c->give_up_us))
        return;
    propose(s, number, n);
}

/* R10: an operation is answered when the entry at its index is applied and has its term. */
void client_on_apply(struct sim *s, struct node *n, const struct raft_entry *entry)
{
    for (uint32_t i = 1; i <= CLIENTS; i++) {
        struct client *c = &clients[i];
        if (c->incarnation != n->incarnation || c->node != n->id || c->index != entry->index)
            continue;
        c->incarnation = 0;
        if (c->term != entry->term)
            continue; /* lost to another leader; once more */
        c->acked_index = entry->index;
        c->sequence++;
        s->operations++;
        if (entry->index > s->observed_index)
            s->observed_index = entry->index;
    }
}

static void serve_reads(struct sim *s, struct node *n)
{
    for (unsigned i = 0; i < READS_MAX; i++) {
        struct sim_read *r = &reads[i];
        if (!r->in_use || r->node != n->id || r->incarnation != n->incarnation || r->index == 0 ||
            n->state.index < r->index)
            continue;
        r->in_use = false;
        s->reads_done++;
        if (n->state.index < r->required)
            sim_fail(s, "stale read: node %u answers at %lu, a client had seen %lu", n->id,
                     n->state.index, r->required);
        if (n->state.index > s->observed_index)
            s->observed_index = n->state.index;
    }
}

void client_on_reads(struct sim *s, struct node *n, const struct raft_update *u)
{
    for (unsigned i = 0; i < u->reads.count; i++) {
        const struct raft_read *ready = &u->reads.reads[i];
        struct sim_read *r = &reads[ready->id % READS_MAX];
        if (!r->in_use || r->id != ready->id)
            continue;
        if (ready->status != 0) {
            r->in_use = false;
            continue;
        }
        if (ready->index < r->required)
            sim_fail(s, "stale read index: node %u says %lu, a client had seen %lu", n->id,
                     ready->index, r->required);
        r->index = ready->index;
    }
    serve_reads(s, n);
}

void client_forget_node(struct sim *s, const struct node *n)
{
    (void)s;
    for (unsigned i = 0; i < READS_MAX; i++)
        if (reads[i].node == n->id)
            reads[i].in_use = false;
}
