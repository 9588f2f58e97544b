/* How fast jobs go, and how fast they may. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "metaserver/jobs.h"

void pace_release(struct pace *p)
{
    free(p->sources);
    *p = (struct pace){.sources = NULL};
}

/* ---- runs ---- */

static struct pace_run *run_of(const struct pace *p, uint32_t job)
{
    for (unsigned i = 0; i < JOBS_RUNNING_MAX && job != 0; i++)
        if (p->runs[i].job == job)
            return (struct pace_run *)(uintptr_t)&p->runs[i];
    return NULL;
}

static void run_free(struct pace *p, struct pace_run *run)
{
    *run = (struct pace_run){.job = 0};
    for (unsigned i = 0; i < p->source_count; i++)
        p->sources[i].moves[run - p->runs] = 0;
}

static void run_add(struct pace *p, uint32_t job)
{
    for (unsigned i = 0; i < JOBS_RUNNING_MAX; i++)
        if (p->runs[i].job == 0) {
            p->runs[i].job = job;
            return;
        }
}

static void run_sample(struct pace_run *run, uint64_t now_ms)
{
    enum { SAMPLES = PACE_WINDOW_S + 1 };
    if (run->sample_count > 0 && now_ms < run->samples[run->newest].at_ms + 1000)
        return;
    run->newest = run->sample_count > 0 ? (run->newest + 1) % SAMPLES : 0;
    run->samples[run->newest].at_ms = now_ms;
    run->samples[run->newest].sent_bytes = run->sent_bytes;
    run->sample_count += run->sample_count < SAMPLES;
}

static void look_at_jobs(struct pace *p, const struct fs *fs, uint64_t now_ms)
{
    unsigned count;
    const struct job *jobs = fs_jobs(fs, &count);
    for (unsigned i = 0; i < JOBS_RUNNING_MAX; i++) {
        const struct job *j = p->runs[i].job ? fs_job(fs, p->runs[i].job) : NULL;
        if (p->runs[i].job && (!j || !job_is_running(j)))
            run_free(p, &p->runs[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        if (!job_is_running(&jobs[i]))
            continue;
        if (!run_of(p, jobs[i].number))
            run_add(p, jobs[i].number);
        struct pace_run *run = run_of(p, jobs[i].number);
        if (!run)
            continue;
        run->rate_max = jobs[i].rate_max;
        run_sample(run, now_ms);
    }
}

/* ---- sources ---- */

static struct pace_source *source_of(const struct pace *p, uint32_t target)
{
    unsigned low = 0, high = p->source_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (p->sources[middle].target == target)
            return &p->sources[middle];
        if (p->sources[middle].target < target)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Those that send nothing now keep what they sent for last: a heartbeat may tell of it later. */
static void make_sources(struct pace *p, const struct shard_table *t)
{
    struct pace_source *sources = calloc(t->target_count + 1, sizeof *sources);
    CHECK(sources != NULL);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct pace_source *old = source_of(p, t->targets[i].id);
        if (old)
            sources[i] = *old;
        sources[i].target = t->targets[i].id;
        sources[i].sends = 0;
    }
    free(p->sources);
    p->sources = sources;
    p->source_count = t->target_count;
}

static void count_sends(struct pace *p, const struct fs *fs, unsigned copies, uint32_t number)
{
    const struct shard_table *t = fs_shard_table(fs);
    const struct shard *s = &t->shards[copies][number];
    struct chain_view chain = shard_table_chain(t, copies, number);
    if (chain.insync_count == 0 || chain.member_count == chain.insync_count)
        return;
    struct pace_source *source = source_of(p, chain.member[chain.insync_count - 1]);
    CHECK(source != NULL);
    if (source->sends == 0) {
        source->shares = 0;
        memset(source->moves, 0, sizeof source->moves);
    }
    source->sends += chain.member_count - chain.insync_count;
    source->shares = source->sends;
    if (!s->move.incoming || s->move.state != SLOT_SYNCING)
        return;
    const struct job *j = fs_job_draining(fs, s->move.outgoing);
    const struct pace_run *run = j ? run_of(p, j->number) : NULL;
    if (run)
        source->moves[run - p->runs]++;
}

static void look_at_table(struct pace *p, const struct fs *fs)
{
    const struct shard_table *t = fs_shard_table(fs);
    make_sources(p, t);
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; t->shards[copies] && n < t->shard_count; n++)
            count_sends(p, fs, copies, n);
    for (unsigned r = 0; r < JOBS_RUNNING_MAX; r++) {
        p->runs[r].sources = 0;
        for (unsigned i = 0; i < p->source_count; i++)
            p->runs[r].sources += p->sources[i].sends > 0 && p->sources[i].moves[r] > 0;
    }
    p->table_version = t->version;
}

void pace_look(struct pace *p, const struct fs *fs, uint64_t now_ms)
{
    look_at_jobs(p, fs, now_ms);
    if (fs_shard_table(fs)->version != p->table_version)
        look_at_table(p, fs);
}

/* ---- rates ---- */

void pace_sent(struct pace *p, uint32_t target, uint64_t bytes)
{
    const struct pace_source *source = source_of(p, target);
    for (unsigned r = 0; source && source->shares > 0 && r < JOBS_RUNNING_MAX; r++)
        p->runs[r].sent_bytes += bytes / source->shares * source->moves[r] +
                                 bytes % source->shares * source->moves[r] / source->shares;
}

uint64_t pace_rate(const struct pace *p, uint32_t job, uint64_t now_ms)
{
    enum { SAMPLES = PACE_WINDOW_S + 1 };
    const struct pace_run *run = run_of(p, job);
    if (!run || run->sample_count == 0)
        return 0;
    unsigned oldest = (run->newest + SAMPLES + 1 - run->sample_count) % SAMPLES;
    uint64_t ms = now_ms - run->samples[oldest].at_ms;
    uint64_t bytes = run->sent_bytes - run->samples[oldest].sent_bytes;
    /* The first second is too short to tell. */
    return ms < 1000 ? 0 : bytes / ms * 1000 + bytes % ms * 1000 / ms;
}

/* What the jobs for which it sends allow; 0 = no limit. */
static uint64_t allowed_by_jobs(const struct pace *p, const struct pace_source *source)
{
    uint64_t sum = 0;
    uint32_t moves = 0;
    for (unsigned r = 0; r < JOBS_RUNNING_MAX; r++) {
        const struct pace_run *run = &p->runs[r];
        if (source->moves[r] == 0)
            continue;
        if (run->rate_max == 0)
            return 0;
        moves += source->moves[r];
        sum += run->sources > 0 ? run->rate_max / run->sources : run->rate_max;
    }
    if (moves < source->sends)
        return 0; /* it repairs, too */
    return sum > 0 ? sum : 1;
}

/* The limit is that of a server: targets of one process have one address, and share it. */
static uint64_t allowed_by_policy(const struct fs *fs, uint32_t target)
{
    const struct shard_table *t = fs_shard_table(fs);
    const struct target *self = shard_table_target(t, target);
    uint64_t limit = fs_config(fs, CONFIG_background_bandwidth);
    unsigned count = 0;
    for (unsigned i = 0; self && limit > 0 && i < t->target_count; i++)
        count +=
            t->targets[i].state == TARGET_UP && strcmp(t->targets[i].address, self->address) == 0;
    if (limit == 0 || count < 2)
        return limit;
    return limit / count > 0 ? limit / count : 1;
}

uint64_t pace_allowed(const struct pace *p, const struct fs *fs, uint32_t target)
{
    const struct pace_source *source = source_of(p, target);
    uint64_t policy = allowed_by_policy(fs, target);
    uint64_t jobs = source && source->sends > 0 ? allowed_by_jobs(p, source) : 0;
    if (policy == 0 || jobs == 0)
        return policy + jobs;
    return policy < jobs ? policy : jobs;
}
