/* sim-raft: the abstract machine, which counts what each client has done and hashes everything
 * applied.
 *
 * Environment: SEEDS, EVENTS, SEED (first; alone: only this one), PROFILE (force one), FAILURES
 * (stop after so many), TRACE=1. */
#include "tests/sim/raft_sim.h"

static void state_apply(struct sim *s, struct node *n, const struct raft_entry *e)
{
    struct command c = command_of(s, e);
    struct state *st = &n->state;
    st->hash = (st->hash ^ (e->term << 40) ^ ((uint64_t)c.client << 32) ^ c.sequence) *
               0x9e3779b97f4a7c15u;
    st->hash ^= st->hash >> 31;
    if (e->kind != RAFT_ENTRY_COMMAND || c.client == 0)
        return;
    if (c.sequence > st->done[c.client] + 1)
        sim_fail(s, "acknowledged proposal lost: node %u applies client %u operation %u after %u",
                 n->id, c.client, c.sequence, st->done[c.client]);
    if (c.sequence > st->done[c.client])
        st->done[c.client] = c.sequence;
}

/* All of it is in struct state already. */
static void nothing(struct sim *s, struct node *n)
{
    (void)s;
    (void)n;
}
static void add_no_image(struct sim *s, struct node *n, struct state *state)
{
    (void)s;
    (void)n;
    (void)state;
}
static void load_no_image(struct sim *s, struct node *n, const struct state *checkpoint)
{
    (void)s;
    (void)n;
    (void)checkpoint;
}
static void drop_nothing(struct node *n)
{
    (void)n;
}
static void judge_nothing(struct sim *s)
{
    (void)s;
}
static bool say_nothing(const struct sim *s)
{
    (void)s;
    return true;
}

int main(void)
{
    static const struct machine machine = {.name = "raft",
                                           .client_count = CLIENTS,
                                           .seeds = 2000,
                                           .events = 5000,
                                           .start = client_start,
                                           .judge = judge_nothing,
                                           .release = judge_nothing,
                                           .report = say_nothing,
                                           .apply_begin = nothing,
                                           .apply = state_apply,
                                           .answer = client_on_apply,
                                           .apply_end = nothing,
                                           .checkpoint = add_no_image,
                                           .load = load_no_image,
                                           .restart = nothing,
                                           .drop = drop_nothing,
                                           .tick = client_tick,
                                           .on_reads = client_on_reads,
                                           .forget_node = client_forget_node,
                                           .calm = client_calm,
                                           .served = client_served};
    return sim_main(&machine);
}
