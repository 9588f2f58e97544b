/* Runs seeds of one machine, says what broke and how to see it again.
 *
 * Environment: SEEDS, EVENTS, SEED (first; alone: only this one), PROFILE (force one), FAILURES
 * (stop after so many), TRACE=1. */
#include "tests/sim/raft_sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"

static struct sim sim;

void sim_fail(struct sim *s, const char *format, ...)
{
    if (s->failed)
        return; /* the first is the cause */
    va_list args;
    va_start(args, format);
    (void)vsnprintf(s->why, sizeof s->why, format, args);
    va_end(args);
    s->failed = true;
}

void sim_trace(struct sim *s, const char *format, ...)
{
    if (!s->trace)
        return;
    va_list args;
    printf("[%10.3f] ", (double)s->now_us / 1000);
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void say_replay(const struct sim *s, const char *why)
{
    const char *name = s->machine->name;
    printf("not ok sim/%s seed=%lu events=%lu profile=%s: %s\n", name, s->seed, s->events,
           s->profile.name, why);
    printf("# replay: SEED=%lu SEEDS=1 EVENTS=%lu TRACE=1 tests/sim/sim-%s\n", s->seed,
           s->events_wanted, name);
    (void)fflush(stdout);
}

/* An assertion of the core ends the process: the seed must be known all the same. */
static void on_abort(int number)
{
    (void)number;
    say_replay(&sim, "an assertion failed");
    _exit(1);
}

static void handle(struct sim *s, const struct sim_event *e)
{
    if (e->kind == EV_CLIENT) {
        s->machine->tick(s, e->who, e->number);
        return;
    }
    if (e->kind == EV_FAULT) {
        fault_tick(s);
        return;
    }
    struct node *n = &s->nodes[e->who];
    if (e->kind == EV_RESTART) {
        if (!n->raft && n->incarnation == e->number && !n->dead)
            node_boot(s, n);
        return;
    }
    if (n->raft && !node_awake(s, n)) { /* it will see this when it wakes */
        if (e->kind == EV_TIMER && n->incarnation == e->number)
            n->wake_us = n->paused_until_us;
        world_push(s, n->paused_until_us, e->kind, e->who, e->number);
        return;
    }
    if (e->kind == EV_PACKET)
        node_on_packet(s, e->number);
    else if (e->kind == EV_TIMER && n->raft && n->incarnation == e->number &&
             n->wake_us == s->now_us)
        node_on_timer(s, n);
    else if (e->kind == EV_WRITE && n->raft && n->write_number == e->number)
        disk_on_write(s, n);
    else if (e->kind == EV_FETCH && n->raft && n->incarnation == e->number && n->fetch_index != 0)
        disk_on_fetch(s, n);
}

static bool next(struct sim *s)
{
    struct sim_event e;
    if (s->failed || !world_pop(s, &e))
        return false;
    CHECK(e.at_us >= s->now_us);
    s->now_us = e.at_us;
    s->events++;
    handle(s, &e);
    world_replay(s);
    return !s->failed;
}

static void say_node(struct sim *s, struct node *n)
{
    struct raft_status st;
    if (!n->raft) {
        sim_trace(s, "node %u is down%s", n->id, n->dead ? " for good" : "");
        return;
    }
    raft_status_get(n->raft, &st);
    sim_trace(s, "node %u: %s in term %lu, %s%s, log %lu..%lu, commit %lu, configuration %u of %lu",
              n->id, raft_role_name(st.role), st.term, st.voter ? "voter" : "no voter",
              st.joining ? ", joining" : "", st.first_index, st.last_index, st.commit_index,
              n->config.count ? member_number_of(s, &n->config) : 0, st.config_index);
    for (unsigned i = 0; i < st.peer_count; i++)
        sim_trace(s, "  knows of %u: %s, match %lu, %s%s", st.peers[i].id,
                  raft_progress_state_name(st.peers[i].state), st.peers[i].match_index,
                  st.peers[i].voter ? "voter" : "learner", st.peers[i].joining ? ", joining" : "");
}

/* Everything must settle within 50 election timeouts. */
static void converge(struct sim *s)
{
    uint64_t length = (uint64_t)CALM_TIMEOUTS * ELECTION_MS_MAX * 1000, start = s->now_us;
    if (s->profile.wild_clocks)
        length *= 4; /* timeouts of the slowest clock */
    s->machine->calm(s);
    while (s->now_us - start < length && next(s))
        if (s->events % 16 == 0) {
            member_revive(s);
            if (oracle_converged(s))
                return;
        }
    for (uint32_t i = 1; s->trace && i <= s->node_count; i++)
        say_node(s, &s->nodes[i]);
    sim_fail(s, "liveness: not converged %d election timeouts after the last fault", CALM_TIMEOUTS);
}

void sim_run_for(struct sim *s, uint64_t length_us)
{
    uint64_t start = s->now_us;
    while (s->now_us - start < length_us && next(s))
        continue;
}

/* R14: a leader that a quorum hears stays, although one node cannot hear it or be heard, and also
 * when that node comes back. First the last transfers and late packets (5 s) must have passed. */
static void cut_one_link(struct sim *s)
{
    sim_run_for(s, 6000000);
    uint64_t term = s->terms_used;
    fault_cut_leader_link(s);
    sim_run_for(s, 10 * ELECTION_MS_MAX * 1000);
    fault_heal(s);
    sim_run_for(s, 5 * ELECTION_MS_MAX * 1000);
    if (s->terms_used != term)
        sim_fail(s, "liveness: one cut link deposed the leader of term %lu (now %lu)", term,
                 s->terms_used);
}

/* Nobody disturbs: not the nodes that were removed and do not know it, nor those that wait to be
 * taken in (R14; thesis 4.2.3). */
static void stay_quiet(struct sim *s)
{
    sim_run_for(s, 6000000);
    uint64_t term = s->terms_used;
    sim_run_for(s, 10 * ELECTION_MS_MAX * 1000);
    if (s->terms_used != term)
        sim_fail(s, "liveness: an election in term %lu without a fault", s->terms_used);
}

static void run_calm(struct sim *s)
{
    fault_calm(s);
    converge(s);
    if (!s->failed && s->profile.change > 0 && prng_chance(&s->prng, s->profile.partial_link)) {
        stay_quiet(s);
        return;
    }
    if (s->profile.change > 0)
        return;
    if (s->failed || s->node_count < 3 || !prng_chance(&s->prng, s->profile.partial_link))
        return;
    cut_one_link(s);
    if (!s->failed)
        converge(s);
}

static void prepare(struct sim *s, uint64_t seed, const char *profile)
{
    s->seed = seed;
    s->now_us = s->order = s->events = s->heap_count = 0;
    s->calm = s->failed = false;
    s->heal_us = 0;
    s->recent_count = 0;
    memset(s->cut, 0, sizeof s->cut);
    prng_init(&s->prng, seed);
    oracle_reset(s);
    s->free_count = 0;
    for (unsigned i = 0; i < PACKETS_MAX; i++) {
        s->packets[i].in_use = false;
        s->free_packets[s->free_count++] = PACKETS_MAX - 1 - i;
    }
    for (uint32_t i = 1; i <= NODES_MAX; i++) {
        struct disk *d = s->nodes[i].disk;
        struct entry_copy *pending = s->nodes[i].pending;
        s->nodes[i] = (struct node){.id = i, .disk = d, .pending = pending};
        disk_clear(d);
    }
    member_reset(s);
    s->machine->start(s);
    fault_choose(s, profile);
}

static bool run_seed(struct sim *s, uint64_t seed, const char *profile)
{
    prepare(s, seed, profile);
    s->config = (struct raft_config){0};
    for (uint32_t i = 1; i <= s->node_count; i++) {
        CHECK(raft_config_add(&s->config, i, true, slice_str("first")) == 0);
        s->nodes[i].founder = true;
    }
    CHECK(member_number_of(s, &s->config) == 1);
    uint32_t late = prng_chance(&s->prng, 200) ? s->node_count : 0; /* joins with an empty disk */
    for (uint32_t i = 1; i <= s->node_count; i++) {
        if (i != late || s->node_count == 1)
            node_boot(s, &s->nodes[i]);
        else
            world_push(s, 10000000, EV_RESTART, i, 0);
    }
    for (uint32_t c = 1; c <= s->machine->client_count; c++)
        world_push(s, 1000000, EV_CLIENT, c, 0);
    world_push(s, 1500000, EV_FAULT, 0, 0);
    /* Half of the log's room is left for the calm end. */
    while (s->events < s->events_wanted && s->committed_count < LOG_MAX / 2 && next(s))
        continue;
    if (!s->failed)
        run_calm(s);
    if (!s->failed)
        s->machine->judge(s);
    for (uint32_t i = 1; i <= NODES_MAX; i++) {
        raft_destroy(s->nodes[i].raft);
        s->nodes[i].raft = NULL;
        s->machine->drop(&s->nodes[i]);
        disk_clear(s->nodes[i].disk);
    }
    s->machine->release(s);
    if (s->failed)
        say_replay(s, s->why);
    return !s->failed;
}

static void *allocate(size_t count, size_t size)
{
    void *p = calloc(count, size);
    CHECK(p != NULL);
    return p;
}

static void sim_init(struct sim *s)
{
    s->packets = allocate(PACKETS_MAX, sizeof *s->packets);
    s->recent = allocate(RECENT_MAX, sizeof *s->recent);
    s->facts = allocate(FACTS_MAX, sizeof *s->facts);
    s->committed = allocate(LOG_MAX + 1, sizeof *s->committed);
    s->commit_terms = allocate(LOG_MAX + 1, sizeof *s->commit_terms);
    s->hashes = allocate(LOG_MAX + 1, sizeof *s->hashes);
    s->configs_at = allocate(LOG_MAX + 1, sizeof *s->configs_at);
    for (unsigned i = 0; i <= NODES_MAX; i++) {
        s->nodes[i].disk = allocate(1, sizeof *s->nodes[i].disk);
        s->nodes[i].pending = allocate(PENDING_MAX, sizeof *s->nodes[i].pending);
    }
    world_fill_commands(s);
}

static void sim_release(struct sim *s)
{
    free(s->packets);
    free(s->recent);
    free(s->facts);
    free(s->committed);
    free(s->commit_terms);
    free(s->hashes);
    free(s->configs_at);
    member_reset(s);
    free(s->heap);
    for (unsigned i = 0; i <= NODES_MAX; i++) {
        free(s->nodes[i].disk);
        free(s->nodes[i].pending);
    }
    buf_unref(s->commands);
}

uint64_t sim_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int sim_main(const struct machine *machine)
{
    struct sim *s = &sim;
    s->machine = machine;
    uint64_t seeds = sim_number("SEEDS", getenv("SEED") ? 1 : machine->seeds);
    uint64_t first = sim_number("SEED", 1), bad = 0;
    s->events_wanted = sim_number("EVENTS", machine->events);
    s->trace = sim_number("TRACE", 0) != 0;
    uint64_t most = sim_number("FAILURES", 5);
    sim_init(s);
    (void)signal(SIGABRT, on_abort);
    for (uint64_t i = 0; i < seeds && bad < most; i++)
        bad += !run_seed(s, first + i, getenv("PROFILE"));
    printf("# %lu elections, %lu commits, %lu operations, %lu crashes, %lu installs, %lu reads by "
           "index, %lu by lease\n",
           s->elections, s->commits, s->operations, s->crashes, s->installs, s->reads_done,
           s->lease_reads_done);
    printf(
        "# %lu changes of membership, %lu of them the leader's own removal, %lu wipes, %lu joins\n",
        s->changes, s->removed_leaders, s->wipes, s->joins);
    bad += !machine->report(s);
    printf("%s sim/%s %lu seeds x %lu events, %lu violations\n", bad ? "not ok" : "ok",
           machine->name, seeds, s->events_wanted, bad);
    sim_release(s);
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
