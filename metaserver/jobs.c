/* Jobs: requests of tools, and what the leader proposes for them. */
#include "metaserver/jobs.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/log.h"

enum { LOOK_EVERY_MS = 1000 };

/* When this leader first saw a maintenance; the next leader counts it anew. */
struct maintenance {
    uint32_t target;
    uint64_t version, since_ms;
};

struct jobs {
    struct pace pace;
    uint64_t look_at_ms, table_version; /* of the last look */
    unsigned under_way;                 /* proposals */
    struct maintenance *maintenances;   /* by the table's order of targets */
    unsigned maintenance_count;
};

struct jobs *jobs_create(void)
{
    struct jobs *j = calloc(1, sizeof *j);
    CHECK(j != NULL);
    return j;
}

static void forget(struct jobs *j)
{
    pace_release(&j->pace);
    free(j->maintenances);
    j->maintenances = NULL;
    j->maintenance_count = 0;
    j->look_at_ms = 0;
}

void jobs_destroy(struct jobs *j)
{
    if (j)
        forget(j);
    free(j);
}

void jobs_begin(struct metaserver *m)
{
    forget(m->jobs);
}

/* ---- what the leader proposes ---- */

static void on_proposed(struct metaserver *m, void *arg, int status)
{
    (void)arg;
    CHECK(m->jobs->under_way > 0);
    m->jobs->under_way--;
    if (status == 0)
        m->jobs->look_at_ms = 0;
}

static void end_jobs(struct metaserver *m)
{
    unsigned count;
    const struct job *jobs = fs_jobs(m->fs, &count);
    for (unsigned i = 0; i < count; i++) {
        struct bytes body = {0};
        struct msg_job_end end = {.job = jobs[i].number};
        if (!job_is_running(&jobs[i]) || !fs_job_is_empty(m->fs, &jobs[i]))
            continue;
        log_info("job.end", "job=%u slots=%u bytes=%llu: nothing is left to do", jobs[i].number,
                 jobs[i].slots_done, (unsigned long long)jobs[i].bytes_done);
        encode_job_end(&body, &end);
        m->jobs->under_way++;
        meta_propose_command(m, MSG_job_end, bytes_slice(&body), on_proposed, NULL);
        bytes_release(&body);
        return; /* proposing may apply it at once, and `jobs` is gone */
    }
}

static const struct maintenance *maintenance_of(const struct jobs *j, uint32_t target)
{
    for (unsigned i = 0; i < j->maintenance_count; i++)
        if (j->maintenances[i].target == target)
            return &j->maintenances[i];
    return NULL;
}

static void note_maintenances(struct metaserver *m, uint64_t now_ms)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    struct jobs *j = m->jobs;
    struct maintenance *list = calloc(t->target_count + 1, sizeof *list);
    unsigned count = 0;
    CHECK(list != NULL);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct target *target = &t->targets[i];
        const struct maintenance *old = maintenance_of(j, target->id);
        if (target->admin != TARGET_MAINTENANCE)
            continue;
        bool is_same = old && old->version == target->maintenance_version;
        list[count++] = (struct maintenance){.target = target->id,
                                             .version = target->maintenance_version,
                                             .since_ms = is_same ? old->since_ms : now_ms};
    }
    free(j->maintenances);
    j->maintenances = list;
    j->maintenance_count = count;
}

uint64_t jobs_maintenance_left_ms(const struct metaserver *m, uint32_t target)
{
    const struct target *t = shard_table_target(fs_shard_table(m->fs), target);
    const struct maintenance *seen = maintenance_of(m->jobs, target);
    if (!t || t->admin != TARGET_MAINTENANCE || t->maintenance_ms == 0)
        return 0;
    if (!seen || seen->version != t->maintenance_version)
        return t->maintenance_ms;
    uint64_t passed = loop_now_ms() - seen->since_ms;
    return passed < t->maintenance_ms ? t->maintenance_ms - passed : 1; /* 0 = no end */
}

static void end_maintenances(struct metaserver *m)
{
    struct rec_target_ref over[TARGET_COUNT_MAX];
    const struct jobs *j = m->jobs;
    unsigned count = 0;
    for (unsigned i = 0; i < j->maintenance_count; i++)
        if (jobs_maintenance_left_ms(m, j->maintenances[i].target) == 1)
            over[count++] = (struct rec_target_ref){.target = j->maintenances[i].target};
    if (count == 0)
        return;
    for (unsigned i = 0; i < count; i++)
        log_info("maintenance.end", "target=%u: its time is over", over[i].target);
    struct bytes body = {0};
    struct msg_target_admin active = {.targets = {.count = count, .items = over},
                                      .admin = TARGET_ACTIVE};
    encode_target_admin(&body, &active);
    m->jobs->under_way++;
    meta_propose_command(m, MSG_target_admin, bytes_slice(&body), on_proposed, NULL);
    bytes_release(&body);
}

void jobs_tick(struct metaserver *m)
{
    struct jobs *j = m->jobs;
    uint64_t now = loop_now_ms(), version = fs_shard_table(m->fs)->version;
    if (j->under_way > 0 || (now < j->look_at_ms && version == j->table_version))
        return;
    j->look_at_ms = now + LOOK_EVERY_MS;
    j->table_version = version;
    pace_look(&j->pace, m->fs, now);
    note_maintenances(m, now);
    end_maintenances(m);
    end_jobs(m);
}

/* ---- heartbeats ---- */

void jobs_sent(struct metaserver *m, uint32_t target, uint64_t bytes)
{
    pace_sent(&m->jobs->pace, target, bytes);
}

uint64_t jobs_background_rate(struct metaserver *m, uint32_t target)
{
    pace_look(&m->jobs->pace, m->fs, loop_now_ms());
    return pace_allowed(&m->jobs->pace, m->fs, target);
}

/* ---- job_plan, job_start ---- */

struct asked {
    uint8_t kind;
    uint32_t targets[JOB_TARGETS_MAX];
    unsigned count;
};

/* Ascending, each once. */
static int read_targets(const struct metaserver *m, const struct wire_list *list, uint8_t kind,
                        struct asked *ret, struct err_text *why)
{
    struct rec_target_ref ref;
    struct slice cursor = list->raw;
    *ret = (struct asked){.kind = kind};
    if (kind != JOB_DRAIN)
        return err_set(kind == JOB_COPIES ? ERR_NOT_SUPPORTED : ERR_INVALID, why,
                       "this kind of job has no plan of targets");
    if (list->count == 0 || list->count > JOB_TARGETS_MAX)
        return err_set(ERR_INVALID, why, "a drain is about 1 to %u targets", JOB_TARGETS_MAX);
    while (rec_target_ref_next(&cursor, &ref)) {
        unsigned at = ret->count;
        bool is_known = false;
        const struct target *t = shard_table_target(fs_shard_table(m->fs), ref.target);
        if (!t || t->state == TARGET_OUT)
            return err_set(ERR_NO_ENTRY, why, "there is no target %u", ref.target);
        for (unsigned i = 0; i < ret->count; i++)
            is_known = is_known || ret->targets[i] == ref.target;
        if (is_known)
            continue;
        for (; at > 0 && ret->targets[at - 1] > ref.target; at--)
            ret->targets[at] = ret->targets[at - 1];
        ret->targets[at] = ref.target;
        ret->count++;
    }
    return 0;
}

/* A leader that has not heard a target does not know what it holds and what room it has. One that
 * stays away is offline soon. */
static int may_reckon(const struct metaserver *m, struct err_text *why)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct target_heard *h = targets_heard(m, t->targets[i].id);
        if (t->targets[i].state == TARGET_UP && (!h || !h->is_told))
            return err_set(ERR_BUSY, why, "a new leader has not heard of %s yet",
                           t->targets[i].name);
    }
    return 0;
}

static void make_plan(struct metaserver *m, const struct asked *asked, struct drain_plan *ret_plan)
{
    struct fs_status counts;
    struct leader_view look;
    fs_get_status(m->fs, &counts);
    targets_look(m, &look);
    drain_plan_make(&look.view, asked->targets, asked->count, counts.copies, ret_plan);
    targets_look_end(&look);
}

void jobs_on_plan(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_job_plan ask;
    struct asked asked;
    struct drain_plan plan;
    struct bytes out = {0};
    struct err_text why = {""};
    int status = decode_job_plan(take_request->body, take_request->version, &ask);
    if (status == 0)
        status = read_targets(m, &ask.targets, ask.kind, &asked, &why);
    if (status == 0)
        status = may_reckon(m, &why);
    if (status != 0) {
        rpc_reply_error(take_request, status, why.text, NULL);
        return;
    }
    make_plan(m, &asked, &plan);
    struct msg_job_plan_r r = {.is_good = plan.is_good,
                               .slots = plan.load.slots,
                               .chunks = plan.load.chunks,
                               .bytes = plan.load.bytes,
                               .checks = {.count = plan.check_count, .items = plan.checks}};
    encode_job_plan_r(&out, &r);
    rpc_reply(take_request, MSG_job_plan_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

/* The same drain runs already: then nothing is asked again. */
static bool runs_already(const struct metaserver *m, const struct asked *asked)
{
    const struct job *j = fs_job_draining(m->fs, asked->targets[0]);
    return j && j->target_count == asked->count &&
           memcmp(j->targets, asked->targets, asked->count * sizeof asked->targets[0]) == 0;
}

static int may_start(struct metaserver *m, const struct msg_job_start *ask, struct err_text *why)
{
    struct asked asked;
    struct drain_plan plan;
    int status = read_targets(m, &ask->targets, ask->kind, &asked, why);
    if (status != 0 || runs_already(m, &asked))
        return status;
    for (unsigned i = 0; i < asked.count; i++) {
        const struct job *other = fs_job_draining(m->fs, asked.targets[i]);
        if (other)
            return err_set(ERR_REFUSED, why,
                           "%s is drained by job %u already: cancel that, or name the same targets",
                           shard_table_target(fs_shard_table(m->fs), asked.targets[i])->name,
                           other->number);
    }
    if (ask->force)
        return 0;
    status = may_reckon(m, why);
    if (status != 0)
        return status;
    make_plan(m, &asked, &plan);
    if (plan.is_good)
        return 0;
    jobs_explain(fs_shard_table(m->fs), &plan, why);
    return -ERR_REFUSED;
}

void jobs_on_start(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_job_start ask;
    struct err_text why = {""};
    int status = decode_job_start(take_request->body, take_request->version, &ask);
    if (status == 0)
        status = may_start(m, &ask, &why);
    if (status != 0)
        rpc_reply_error(take_request, status, why.text, NULL);
    else
        meta_propose_request(m, take_request);
}

/* ---- target_remove ---- */

void jobs_on_remove(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_target_remove ask;
    struct rec_target_ref ref;
    struct err_text why = {""};
    int status = decode_target_remove(take_request->body, take_request->version, &ask);
    struct slice cursor = status == 0 ? ask.targets.raw : slice_of("", 0);
    while (status == 0 && rec_target_ref_next(&cursor, &ref)) {
        const struct job *j = fs_job_draining(m->fs, ref.target);
        status = jobs_may_remove(fs_shard_table(m->fs), ref.target, ask.data_loss != 0, &why);
        if (status == 0 && j && !ask.data_loss)
            status = err_set(ERR_REFUSED, &why,
                             "job %u drains it and ends by itself: wait for that", j->number);
    }
    if (status != 0)
        rpc_reply_error(take_request, status, why.text, NULL);
    else
        meta_propose_request(m, take_request);
}

/* ---- job_list ---- */

static int64_t wall_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void fill_job(const struct metaserver *m, const struct cluster_view *view,
                     const struct job *j, struct bytes *targets, struct rec_job_info *ret)
{
    int64_t end_ns = j->ended_ns ? j->ended_ns : wall_ns();
    size_t at = targets->size;
    for (unsigned i = 0; i < j->target_count; i++)
        put_u32(targets, j->targets[i]);
    *ret = (struct rec_job_info){
        .job = j->number,
        .kind = (uint8_t)j->kind,
        .state = (uint8_t)j->state,
        .targets = slice_of(targets->data + at, targets->size - at),
        .rate_max = j->rate_max,
        .by = slice_str(j->by),
        .started_ns = j->started_ns,
        .ended_ns = j->ended_ns,
        .age_ms = end_ns > j->started_ns ? (uint64_t)(end_ns - j->started_ns) / 1000000 : 0,
        .slots_done = j->slots_done,
        .chunks_done = j->chunks_done,
        .bytes_done = j->bytes_done,
    };
    if (!job_is_running(j))
        return;
    struct drain_load load;
    drain_load(view, j->targets, j->target_count, &load);
    ret->slots_left = load.slots;
    ret->chunks_left = load.slots ? load.chunks : 0;
    ret->bytes_left = load.slots ? load.bytes : 0;
    ret->slots_moving = load.moving;
    ret->rate = pace_rate(&m->jobs->pace, j->number, loop_now_ms());
}

/* Rows of the plan for the job's targets, added up by reason. */
static unsigned fill_blocked(const struct metaserver *m, const struct job *j,
                             struct rec_job_blocked *rows, unsigned count, uint32_t *ret_slots)
{
    unsigned first = count;
    for (unsigned i = 0; job_is_running(j) && i < m->plan->blocked_count; i++) {
        const struct plan_blocked *b = &m->plan->blocked[i];
        const struct job *of = fs_job_draining(m->fs, b->target);
        unsigned at = first;
        if (!of || of->number != j->number)
            continue;
        while (at < count && (rows[at].reason != b->reason || rows[at].target != b->waits_for))
            at++;
        if (at == count)
            rows[count++] = (struct rec_job_blocked){
                .job = j->number, .reason = (uint8_t)b->reason, .target = b->waits_for};
        rows[at].slots += b->slots;
        *ret_slots += b->slots;
    }
    return count;
}

void jobs_on_list(struct metaserver *m, struct rpc_request *take_request)
{
    struct rec_job_info infos[JOBS_MAX];
    struct bytes targets = {0}, out = {0};
    struct leader_view look;
    unsigned count, blocked = 0;
    /* What a deposed leader knows is older than what its successor may have told. */
    if (!raft_driver_may_read(m->driver)) {
        meta_refuse(m, take_request);
        return;
    }
    const struct job *jobs = fs_jobs(m->fs, &count);
    struct rec_job_blocked *rows = calloc(PLAN_BLOCKED_MAX + 1, sizeof *rows);
    CHECK(rows != NULL);
    targets_look(m, &look);
    bytes_reserve(&targets, (size_t)JOBS_MAX * JOB_TARGETS_MAX * sizeof(uint32_t));
    for (unsigned i = 0; i < count; i++) {
        const struct job *j = &jobs[count - 1 - i];
        fill_job(m, &look.view, j, &targets, &infos[i]);
        blocked = fill_blocked(m, j, rows, blocked, &infos[i].slots_blocked);
    }
    targets_look_end(&look);
    struct msg_job_list_r r = {.jobs = {.count = count, .items = infos},
                               .blocked = {.count = blocked, .items = rows}};
    encode_job_list_r(&out, &r);
    rpc_reply(take_request, MSG_job_list_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
    bytes_release(&targets);
    free(rows);
}
