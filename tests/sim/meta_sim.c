/* sim-meta: the namespace on the simulated cluster, and the judgement of its clients' histories
 * (T3; R11, R15, R16, R22, R28).
 *
 * Environment: SEEDS, EVENTS, SEED (first; alone: only this one), PROFILE, FAILURES, TRACE=1 as of
 * sim-raft; CHECK_EVERY (check all invariants after each so many batches of a node, 1); STEPS (of
 * the search per group). HISTORY=FILE writes the history of the last seed for history-check. */
#include "tests/sim/meta_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

struct meta meta;

enum { LAST_ANSWERS_MS = 60000 };

static void start(struct sim *s)
{
    (void)s;
    session_reset();
    server_reset();
    history_release(&meta.history);
    meta.plan = (struct history_plan){.groups = META_GROUPS};
    meta.is_formed = meta.is_ready = meta.is_stopping = false;
    meta.last_look = 0;
    meta.operation = meta.read_id = meta.told_index = 0;
    meta.clock_ns = 0;
    memset(meta.answers, 0, sizeof meta.answers);
}

static void tick(struct sim *s, uint32_t client, uint32_t number)
{
    if (number != 0)
        server_take(s, number, client);
    else
        session_tick(s, client);
}

static void wait_until_idle(struct sim *s)
{
    for (unsigned ms = 0; ms < LAST_ANSWERS_MS && !s->failed; ms += 100) {
        sim_run_for(s, 100000);
        if (session_all_idle() && meta.last_look == META_DIRECTORIES)
            return;
    }
    sim_fail(s, "liveness: a client is not answered %d s after the last fault",
             LAST_ANSWERS_MS / 1000);
}

static void write_history(void)
{
    const char *name = getenv("HISTORY");
    FILE *file = name && *name ? fopen(name, "w") : NULL;
    for (size_t i = 0; file && i < meta.history.count; i++)
        history_write(file, &meta.history.ops[i]);
    if (file)
        (void)fclose(file);
}

/* Line by line: the last one may be cut off. */
static void say_report(char report[])
{
    char *rest = NULL;
    for (char *line = strtok_r(report, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        printf("# %s\n", line);
}

static void judge_history(struct sim *s)
{
    static char report[HISTORY_REPORT_SIZE];
    struct history_figures figures;
    report[0] = 0;
    write_history();
    unsigned wrong = history_search(&meta.history, sim_number("STEPS", 2000000), report, &figures);
    unsigned broken = history_rules(&meta.history, report);
    for (size_t i = 0; i < meta.history.count; i++)
        meta.unknown += history_unknown(&meta.history.ops[i]);
    s->operations += meta.history.count;
    meta.steps += figures.steps;
    if (wrong + broken + figures.undecided == 0)
        return;
    sim_fail(s, "the history is not linearizable: search %u, rules %u, undecided %u", wrong, broken,
             figures.undecided);
    say_report(report);
}

static void judge(struct sim *s)
{
    meta.is_stopping = true;
    wait_until_idle(s);
    if (!s->failed)
        judge_history(s);
    if (!s->failed)
        replica_replay(s);
}

static void release(struct sim *s)
{
    (void)s;
    history_release(&meta.history);
    bytes_release(&meta.bytes);
    meta.bytes = (struct bytes){0};
}

static bool report(const struct sim *s)
{
    printf("# %lu operations while there were faults; %lu outcomes unknown, %lu requests, %lu by "
           "memory\n",
           meta.in_faults, meta.unknown, meta.attempts, meta.stored_answers);
    printf(
        "# %lu fs_check (k=%lu: after every k-th batch, and each load), %lu images, %lu restarts\n",
        meta.checks, meta.check_every, meta.loads, meta.restarts);
    printf("# %lu steps of the search, %lu logs replayed, %lu sessions lost\n", meta.steps,
           meta.replays, meta.expired);
    if (s->operations < 10000 || meta.unknown * 1000 < s->operations * UNKNOWN_PER_MILLE_MAX)
        return true; /* a few seeds may have bad luck */
    printf("# too many outcomes are unknown\n");
    return false;
}

int main(void)
{
    static const struct machine machine = {.name = "meta",
                                           .client_count = META_CLIENTS,
                                           .seeds = 500,
                                           .events = 15000,
                                           .start = start,
                                           .judge = judge,
                                           .release = release,
                                           .report = report,
                                           .apply_begin = replica_begin,
                                           .apply = replica_apply,
                                           .answer = server_answer,
                                           .apply_end = replica_end,
                                           .checkpoint = replica_checkpoint,
                                           .load = replica_load,
                                           .restart = replica_restart,
                                           .drop = replica_drop,
                                           .tick = tick,
                                           .on_reads = server_on_reads,
                                           .forget_node = server_forget,
                                           .calm = session_calm,
                                           .served = session_all_served};
    meta.check_every = sim_number("CHECK_EVERY", 1);
    meta.check_every += meta.check_every == 0;
    meta.steps_max = sim_number("STEPS", 2000000);
    return sim_main(&machine);
}
