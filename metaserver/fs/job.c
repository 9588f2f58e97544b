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
#ifdef PLANT_D18
    return !shard_table_holds(&fs->table, job->targets, job->target_count);
#endif
    return !shard_table_holds(&fs->table, job->targets, job->target_count) &&
           !shard_table_owes(&fs->table, job->targets, job->target_count);
}

/* ---- rows ---- */

static void pack(const struct job *j, struct bytes *out)
{
    put_u8(out, (uint8_t)j->kind);
    put_u8(out, (uint8_t)j->state);
    put_u64(out, j->rate_max);
    put_i64(out, j->started_ns);
    put_i64(out, j->ended_ns);
    put_u32(out, j->slots_done);
    put_u64(out, j->chunks_done);
    put_u64(out, j->bytes_done);
    put_str(out, slice_str(j->by));
    put_u16(out, (uint16_t)j->target_count);
    for (unsigned i = 0; i < j->target_count; i++)
        put_u32(out, j->targets[i]);
}

void job_put(struct fs *fs, const struct job *j)
{
    struct bytes row = {0};
    pack(j, &row);
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

bool jobs_are_equal(const struct job_list *a, const struct job_list *b)
{
    struct bytes left = {0}, right = {0};
    bool equal = a->count == b->count;
    for (unsigned i = 0; equal && i < a->count; i++) {
        bytes_clear(&left);
        bytes_clear(&right);
        pack(&a->list[i], &left);
        pack(&b->list[i], &right);
        equal = a->list[i].number == b->list[i].number &&
                slice_equal(bytes_slice(&left), bytes_slice(&right));
    }
    bytes_release(&left);
    bytes_release(&right);
    return equal;
}

struct job *job_of(struct fs *fs, uint32_t number)
{
    return (struct job *)(uintptr_t)fs_job(fs, number);
}

/* ---- changes ---- */

/* The highest number is never dropped: when it has ended, only those that ran beside it end after
 * it, fewer than JOBS_ENDED_KEPT. So the next one follows from the list. */
struct job *job_add(struct fs *fs)
{
    struct job_list *jobs = &fs->jobs;
    CHECK(jobs->count < JOBS_MAX);
    struct job *j = &jobs->list[jobs->count];
    *j = (struct job){.number = jobs->count ? jobs->list[jobs->count - 1].number + 1 : 1};
    jobs->count++;
    return j;
}

/* Later than all others, whatever the leaders' clocks say (R25). */
static int64_t time_of_end(const struct fs *fs, const struct job *j, int64_t now_ns)
{
    int64_t end = now_ns > j->started_ns ? now_ns : j->started_ns;
    for (unsigned i = 0; i < fs->jobs.count; i++) {
        const struct job *other = &fs->jobs.list[i];
        if (!job_is_running(other) && other->ended_ns >= end && other->ended_ns < INT64_MAX)
            end = other->ended_ns + 1;
    }
    return end;
}

static void drop_first_ended(struct fs *fs)
{
    struct job_list *jobs = &fs->jobs;
    unsigned ended = 0, first = JOBS_MAX;
    for (unsigned i = 0; i < jobs->count; i++) {
        if (job_is_running(&jobs->list[i]))
            continue;
        ended++;
        if (first == JOBS_MAX || jobs->list[i].ended_ns < jobs->list[first].ended_ns)
            first = i;
    }
    if (ended <= JOBS_ENDED_KEPT)
        return;
    row_remove(fs, key_of_u64('J', jobs->list[first].number));
    jobs->count--;
    memmove(&jobs->list[first], &jobs->list[first + 1],
            (jobs->count - first) * sizeof jobs->list[0]);
}

void job_finish(struct fs *fs, struct job *j, enum job_state state, int64_t now_ns)
{
    CHECK(job_is_running(j) && (state == JOB_DONE || state == JOB_CANCELLED));
    int64_t ended_ns = time_of_end(fs, j, now_ns);
    j->state = state;
    j->ended_ns = ended_ns;
    job_put(fs, j);
    drop_first_ended(fs);
}

/* ---- what is done ---- */

/* A target is in one running drain at most, and a shard notes whom its slot has left in one change
 * only: so nothing counts twice, whatever is repeated, late, called off and begun again. */
void jobs_count_left(struct fs *fs, const struct shard *s)
{
    if (s->left.epoch != s->epoch)
        return;
    struct job *j = (struct job *)(uintptr_t)fs_job_draining(fs, s->left.target);
    if (!j)
        return;
    j->slots_done++;
    j->chunks_done += s->left.chunks;
    j->bytes_done += s->left.bytes;
    job_put(fs, j);
}
