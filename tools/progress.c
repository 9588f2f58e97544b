/* How far a job is. */
#include "tools/progress.h"

#include <string.h>

#include "common/base/check.h"

#include "common/base/banned.h"

void progress_init(struct progress *p)
{
    memset(p, 0, sizeof *p);
    p->eta_ms = PROGRESS_NO_ETA;
}

static void keep_highest_32(uint32_t *kept, uint32_t seen)
{
    if (seen > *kept)
        *kept = seen;
}

static void keep_highest(uint64_t *kept, uint64_t seen)
{
    if (seen > *kept)
        *kept = seen;
}

static double share(double done, double left)
{
    return done + left > 0 ? done / (done + left) : 1;
}

/* The smaller share of bytes and slots: a leader that has just begun does not know all bytes yet.
 * What is written meanwhile makes the whole larger, so the share may fall: the number shown does
 * not. */
static unsigned permille_of(const struct progress *p)
{
    double bytes = share((double)p->bytes_done, (double)p->bytes_left);
    double slots = share(p->slots_done, p->slots_left);
    if (p->state == JOB_DONE)
        return 1000;
    if (p->slots_done + p->slots_left == 0 || p->state == JOB_CANCELLED)
        return p->permille; /* nobody says any more what would be left */
    unsigned permille = (unsigned)((bytes < slots ? bytes : slots) * 1000);
    if (permille > 999)
        permille = 999;
    return permille > p->permille ? permille : p->permille;
}

static const struct progress_sample *sample_at(const struct progress *p, unsigned i)
{
    return &p->samples[(p->first + i) % PROGRESS_SAMPLES];
}

static void add_sample(struct progress *p, uint64_t now_ms)
{
    if (p->count && now_ms < sample_at(p, p->count - 1)->at_ms + PROGRESS_SAMPLE_MS)
        return;
    while (p->count == PROGRESS_SAMPLES ||
           (p->count > 1 && sample_at(p, 1)->at_ms + PROGRESS_WINDOW_MS <= now_ms)) {
        p->first = (p->first + 1) % PROGRESS_SAMPLES;
        p->count--;
    }
    p->samples[(p->first + p->count++) % PROGRESS_SAMPLES] =
        (struct progress_sample){now_ms, p->bytes_done, p->slots_done};
}

static uint64_t time_for(uint64_t left, double per_ms)
{
    if (left == 0)
        return 0;
    return per_ms > 0 ? (uint64_t)((double)left / per_ms) : PROGRESS_NO_ETA;
}

/* Whichever takes longer of the bytes and the slots. */
static void estimate(struct progress *p, uint64_t leaders_rate)
{
    double bytes = 0, slots = 0;
    const struct progress_sample *old = sample_at(p, 0);
    const struct progress_sample *new = sample_at(p, p->count ? p->count - 1 : 0);
    double span = p->count > 1 ? (double)(new->at_ms - old->at_ms) : 0;
    if (span >= PROGRESS_SPAN_MS) {
        bytes = (double)(new->bytes - old->bytes) / span;
        slots = (double)(new->slots - old->slots) / span;
    }
    if (bytes <= 0)
        bytes = (double)leaders_rate / 1000;
    p->rate = (uint64_t)(bytes * 1000 + 0.5);
    p->eta_ms = PROGRESS_NO_ETA;
    if (p->state != JOB_RUNNING || (p->slots_left && p->slots_left == p->slots_blocked))
        return;
    uint64_t by_bytes = time_for(p->bytes_left, bytes), by_slots = time_for(p->slots_left, slots);
    if (by_bytes == PROGRESS_NO_ETA || by_slots == PROGRESS_NO_ETA)
        p->eta_ms = p->bytes_left ? by_bytes : by_slots;
    else
        p->eta_ms = by_bytes > by_slots ? by_bytes : by_slots;
}

static void take(struct progress *p, const struct rec_job_info *job)
{
    keep_highest_32(&p->slots_done, job->slots_done);
    keep_highest(&p->chunks_done, job->chunks_done);
    keep_highest(&p->bytes_done, job->bytes_done);
    p->slots_left = job->slots_left;
    if (job->slots_left == 0 || job->bytes_left > 0 || job->state != JOB_RUNNING) {
        p->chunks_left = job->chunks_left;
        p->bytes_left = job->bytes_left;
    } /* else a new leader that has not heard of them, or what is left is empty */
    p->slots_moving = job->slots_moving;
    p->slots_blocked = job->slots_blocked;
    p->state = job->state;
    p->permille = permille_of(p);
}

void progress_add(struct progress *p, const struct rec_job_info *job, uint64_t now_ms)
{
    take(p, job);
    add_sample(p, now_ms);
    estimate(p, job->rate);
}

struct progress progress_of(const struct rec_job_info *job)
{
    struct progress p;
    progress_init(&p);
    take(&p, job);
    estimate(&p, job->state == JOB_RUNNING ? job->rate : 0);
    return p;
}
