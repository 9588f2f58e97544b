/* Jobs: begin, change, end. What the leader refuses by arithmetic is refused before these are
 * proposed; here stands what must hold whatever the leader knew. */
#include "metaserver/fs/state.h"

#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Ascending, each once. */
static int read_targets(const struct op *o, const struct msg_job_start *m, struct job *ret)
{
    struct rec_target_ref ref;
    struct slice cursor = m->targets.raw;
    unsigned count = 0, kept = 0;
    if (m->targets.count == 0 || m->targets.count > JOB_TARGETS_MAX)
        return -ERR_INVALID;
    while (rec_target_ref_next(&cursor, &ref)) {
        if (!target_known(o->fs, ref.target))
            return -ERR_NO_ENTRY;
        ret->targets[count++] = ref.target;
    }
    qsort(ret->targets, count, sizeof ret->targets[0], compare_ids);
    for (unsigned i = 0; i < count; i++)
        if (i == 0 || ret->targets[i] != ret->targets[i - 1])
            ret->targets[kept++] = ret->targets[i];
    for (unsigned i = kept; i < count; i++)
        ret->targets[i] = 0;
    ret->target_count = kept;
    return 0;
}

static bool same_targets(const struct job *a, const struct job *b)
{
    return a->target_count == b->target_count &&
           memcmp(a->targets, b->targets, a->target_count * sizeof a->targets[0]) == 0;
}

/* -ERR_EXISTS: exactly this runs already, as *ret_number. */
static int check_running(const struct fs *fs, const struct job *wanted, uint32_t *ret_number)
{
    unsigned running = 0;
    for (unsigned i = 0; i < fs->jobs.count; i++) {
        const struct job *j = &fs->jobs.list[i];
        if (!job_is_running(j))
            continue;
        running++;
        if (j->kind == wanted->kind && same_targets(j, wanted)) {
            *ret_number = j->number;
            return -ERR_EXISTS;
        }
    }
    for (unsigned i = 0; i < wanted->target_count; i++)
        if (fs_job_draining(fs, wanted->targets[i]))
            return -ERR_REFUSED;
    return running == JOBS_RUNNING_MAX ? -ERR_LIMIT : 0;
}

static int reply_start(struct op *o, uint32_t number, bool is_new)
{
    encode_job_start_r(o->reply, &(struct msg_job_start_r){.job = number, .is_new = is_new});
    return 0;
}

int op_job_start(struct op *o, const struct msg_job_start *m)
{
    struct job wanted = {.kind = (enum job_kind)m->kind};
    uint32_t number = 0;
    if (m->kind != JOB_DRAIN)
        return m->kind == JOB_COPIES ? -ERR_NOT_SUPPORTED : -ERR_INVALID;
    if (m->by.size >= JOB_TEXT_MAX)
        return -ERR_NAME_TOO_LONG;
    if (memchr(m->by.data, 0, m->by.size))
        return -ERR_INVALID; /* the row could not be read back */
    int status = read_targets(o, m, &wanted);
    if (status == 0)
        status = check_running(o->fs, &wanted, &number);
    if (status == -ERR_EXISTS)
        return o->check_only ? 0 : reply_start(o, number, false);
    if (status || o->check_only)
        return status;
    struct job *j = job_add(o->fs);
    wanted.number = j->number;
    wanted.state = JOB_RUNNING;
    wanted.rate_max = m->rate_max;
    wanted.started_ns = o->now_ns;
    memcpy(wanted.by, m->by.data, m->by.size);
    *j = wanted;
    job_put(o->fs, j);
    admin_set(o, j->targets, j->target_count, TARGET_DRAINING);
    return reply_start(o, j->number, true);
}

/* What was moved stays where it is; the planner calls off what is still on its way. */
static void cancel(struct op *o, struct job *j)
{
    uint32_t active[JOB_TARGETS_MAX];
    unsigned count = 0;
    struct job cancelled = *j; /* job_finish may drop an older one and move the list */
    job_finish(o->fs, j, JOB_CANCELLED, o->now_ns);
    for (unsigned i = 0; i < cancelled.target_count; i++) {
        const struct target *t = target_known(o->fs, cancelled.targets[i]);
        if (t && t->admin == TARGET_DRAINING && !fs_job_draining(o->fs, t->id))
            active[count++] = t->id;
    }
    admin_set(o, active, count, TARGET_ACTIVE);
}

int op_job_set(struct op *o, const struct msg_job_set *m)
{
    struct job *j = job_of(o->fs, m->job);
    if (m->action < JOB_RATE || m->action > JOB_CANCEL)
        return -ERR_INVALID;
    if (!j)
        return -ERR_NO_ENTRY;
    if (j->state == JOB_CANCELLED && m->action == JOB_CANCEL)
        return reply_done(o);
    if (!job_is_running(j))
        return -ERR_REFUSED;
    if (o->check_only)
        return 0;
    struct job before = *j;
    switch ((enum job_action)m->action) {
    case JOB_RATE:
        j->rate_max = m->rate_max;
        break;
    case JOB_PAUSE:
        j->state = JOB_PAUSED;
        break;
    case JOB_RESUME:
        j->state = JOB_RUNNING;
        break;
    case JOB_CANCEL:
        cancel(o, j);
        return reply_done(o);
    }
    if (j->rate_max != before.rate_max || j->state != before.state)
        job_put(o->fs, j);
    return reply_done(o);
}

/* D18: between the leader's look and this entry a slot may have come back, or its replacement may
 * have died. A repeated one finds the job ended. */
int op_job_end(struct op *o, const struct msg_job_end *m)
{
    struct job *j = job_of(o->fs, m->job);
    if (!j)
        return -ERR_NO_ENTRY;
    if (!job_is_running(j))
        return reply_done(o);
    if (!fs_job_is_empty(o->fs, j))
        return -ERR_REFUSED;
    if (o->check_only)
        return 0;
    job_finish(o->fs, j, JOB_DONE, o->now_ns);
    return reply_done(o);
}
