/* Rows of jobs, their mirror in memory, and what counts as done. */
#include "metaserver/fs/state.h"

#include "common/base/check.h"

#include "common/base/banned.h"

/* ---- look-ups ---- */

const struct job *fs_jobs(const struct fs *fs, unsigned *ret_count)
{
    *ret_count = fs->jobs.count;
    return fs->jobs.list;
}

const struct job *fs_job(const struct fs *fs, uint32_t number)
{
    for (unsigned i = 0; i < fs->jobs.count; i++)
        if (fs->jobs.list[i].number == number)
            return &fs->jobs.list[i];
    return NULL;
}

bool job_has_target(const struct job *j, uint32_t target)
{
    for (unsigned i = 0; i < j->target_count; i++)
        if (j->targets[i] == target)
            return true;
    return false;
}

const struct job *fs_job_draining(const struct fs *fs, uint32_t target)
{
    for (unsigned i = 0; i < fs->jobs.count; i++) {
        const struct job *j = &fs->jobs.list[i];
        if (job_is_running(j) && j->kind == JOB_DRAIN && job_has_target(j, target))
            return j;
    }
    return NULL;
}

bool fs_job_is_empty(const struct fs *fs, const struct job *job)
{
    for (unsigned i = 0; i < job->target_count; i++)
        if (shard_table_holds(&fs->table, job->targets[i]))
            return false;
    return true;
}

/* ---- rows ---- */

void job_put(struct fs *fs, const struct job *j)
{
    struct bytes row = {0};
    put_u8(&row, (uint8_t)j->kind);
    put_u8(&row, (uint8_t)j->state);
    put_u64(&row, j->rate_max);
    put_i64(&row, j->started_ns);
    put_i64(&row, j->ended_ns);
    put_u32(&row, j->slots_done);
    put_u64(&row, j->chunks_done);
    put_u64(&row, j->bytes_done);
    put_str(&row, slice_str(j->by));
    put_u16(&row, (uint16_t)j->target_count);
    for (unsigned i = 0; i < j->target_count; i++)
        put_u32(&row, j->targets[i]);
    row_put(fs, key_of_u64('J', j->number), bytes_slice(&row));
    bytes_release(&row);
    fs->mirrors_touched = true;
}

static bool get_targets(struct wire_in *in, struct job *j)
{
    uint16_t count;
    if (!get_u16(in, &count) || count == 0 || count > JOB_TARGETS_MAX)
        return false;
    j->target_count = count;
    for (unsigned i = 0; i < count; i++)
        if (!get_u32(in, &j->targets[i]) || j->targets[i] == 0 ||
            (i > 0 && j->targets[i] <= j->targets[i - 1]))
            return false;
    return in->at == in->end;
}

int job_unpack(struct slice key, struct slice value, struct job *ret)
{
    struct wire_in in = {value.data, value.data + value.size, WIRE_VERSION};
    struct job j = {.number = (uint32_t)key_u64(key, 1)};
    struct slice by;
    uint8_t kind, state;
    if (key.size != 9 || j.number == 0 || key_u64(key, 1) > UINT32_MAX || !get_u8(&in, &kind) ||
        !get_u8(&in, &state) || !get_u64(&in, &j.rate_max) || !get_i64(&in, &j.started_ns) ||
        !get_i64(&in, &j.ended_ns) || !get_u32(&in, &j.slots_done) ||
        !get_u64(&in, &j.chunks_done) || !get_u64(&in, &j.bytes_done) || !get_str(&in, &by) ||
        by.size >= JOB_TEXT_MAX || memchr(by.data, 0, by.size) || !get_targets(&in, &j) ||
        kind < JOB_DRAIN || kind > JOB_COPIES || state < JOB_RUNNING || state > JOB_CANCELLED)
        return -ERR_CORRUPT;
    j.kind = (enum job_kind)kind;
    j.state = (enum job_state)state;
    memcpy(j.by, by.data, by.size);
    if (job_is_running(&j) ? j.ended_ns != 0 : j.ended_ns < j.started_ns)
        return -ERR_CORRUPT;
    *ret = j;
    return 0;
}

int jobs_load(struct job_list *jobs, struct fs_view *v)
{
    struct slice key, value;
    struct row_key from = key_of_table('J');
    int status = row_seek(v, from, 1, &key, &value);
    for (jobs->count = 0; status == 0; status = row_next(v, from, 1, &key, &value))
        if (jobs->count == JOBS_MAX || job_unpack(key, value, &jobs->list[jobs->count++]) != 0)
            return -ERR_CORRUPT;
    return status == -ERR_NO_ENTRY ? 0 : status;
}

struct job *job_of(struct fs *fs, uint32_t number)
{
    return (struct job *)(uintptr_t)fs_job(fs, number);
}

/* ---- changes ---- */

/* The highest number is never dropped before it has JOBS_ENDED_KEPT successors, so the next one
 * follows from the list. */
struct job *job_add(struct fs *fs)
{
    struct job_list *jobs = &fs->jobs;
    CHECK(jobs->count < JOBS_MAX);
    struct job *j = &jobs->list[jobs->count];
    *j = (struct job){.number = jobs->count ? jobs->list[jobs->count - 1].number + 1 : 1};
    jobs->count++;
    return j;
}

/* Of those that ended, the oldest goes. */
static void drop_oldest_ended(struct fs *fs)
{
    struct job_list *jobs = &fs->jobs;
    unsigned ended = 0, oldest = JOBS_MAX;
    for (unsigned i = jobs->count; i-- > 0;)
        if (!job_is_running(&jobs->list[i])) {
            ended++;
            oldest = i;
        }
    if (ended <= JOBS_ENDED_KEPT)
        return;
    row_remove(fs, key_of_u64('J', jobs->list[oldest].number));
    jobs->count--;
    memmove(&jobs->list[oldest], &jobs->list[oldest + 1],
            (jobs->count - oldest) * sizeof jobs->list[0]);
}

void job_finish(struct fs *fs, struct job *j, enum job_state state, int64_t now_ns)
{
    CHECK(job_is_running(j) && (state == JOB_DONE || state == JOB_CANCELLED));
    j->state = state;
    j->ended_ns = now_ns > j->started_ns ? now_ns : j->started_ns;
    job_put(fs, j);
    drop_oldest_ended(fs);
}
