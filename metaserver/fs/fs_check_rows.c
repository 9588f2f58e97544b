/* The check of what is not the tree: sessions with their answers and holds, deleted chunks, jobs.
 */
#include "metaserver/fs/fs_check_private.h"

#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

static int see_held(struct walk *w, struct slice key, struct slice value)
{
    if (key.size != 17 ||
        row_get(w->view, key_of_pair('O', key_u64(key, 9), key_u64(key, 1)), &value) != 0)
        return WRONG(w, "hold of session %llu has no other side",
                     (unsigned long long)key_u64(key, 1));
    return 0;
}

static int see_session(struct walk *w, struct slice key, struct slice value)
{
    uint64_t session = key_u64(key, 1);
    struct uuid client;
    struct slice id;
    w->counts->sessions++;
    if (key.size != 9 || value.size < UUID_SIZE || session >= w->state.session_next)
        return WRONG(w, "session %llu: unreadable", (unsigned long long)session);
    memcpy(client.bytes, value.data, UUID_SIZE);
    if (!session_exists(w->view, session) ||
        row_get(w->view, key_of_uuid('U', &client), &id) != 0 || id.size != 8 ||
        load_u64(id.data) != session)
        return WRONG(w, "session %llu: not found by its client", (unsigned long long)session);
    return 0;
}

static int see_client(struct walk *w, struct slice key, struct slice value)
{
    struct slice row;
    if (key.size != 1 + UUID_SIZE || value.size != 8 ||
        row_get(w->view, key_of_u64('S', load_u64(value.data)), &row) != 0)
        return WRONG(w, "client without a session");
    return 0;
}

static int see_answer(struct walk *w, struct slice key, struct slice value)
{
    uint64_t session = key_u64(key, 1), sequence = key_u64(key, 9);
    struct slice row;
    w->counts->answers++;
    if (key.size != 17 || value.size < 4 || row_get(w->view, key_of_u64('W', session), &row) != 0 ||
        row.size != 8 || sequence < load_u64(row.data) ||
        sequence - load_u64(row.data) >= FS_SESSION_WINDOW)
        return WRONG(w, "answer %llu of session %llu outside its window",
                     (unsigned long long)sequence, (unsigned long long)session);
    return 0;
}

static int see_window(struct walk *w, struct slice key, struct slice value)
{
    struct slice row;
    if (key.size != 9 || value.size != 8 ||
        row_get(w->view, key_of_u64('S', key_u64(key, 1)), &row) != 0)
        return WRONG(w, "window without session %llu", (unsigned long long)key_u64(key, 1));
    return 0;
}

int walk_sessions(struct walk *w)
{
    static const struct {
        char table;
        row_fn *fn;
    } passes[] = {
        {'H', see_held},   {'S', see_session}, {'U', see_client},
        {'A', see_answer}, {'W', see_window},
    };
    int status = 0;
    for (unsigned i = 0; status == 0 && i < sizeof passes / sizeof passes[0]; i++)
        status = walk_rows(w, key_of_table(passes[i].table), UINT64_MAX, passes[i].fn);
    return status;
}

static int see_garbage(struct walk *w, struct slice key, struct slice value)
{
    w->counts->garbage++;
    if (key.size != 9 || value.size != 17 || key_u64(key, 1) >= w->state.garbage_next)
        return WRONG(w, "garbage row %llu", (unsigned long long)key_u64(key, 1));
    struct chunk_id id = {load_u64(value.data), load_u32(value.data + 8),
                          load_u32(value.data + 12)};
    if (fs_find_chunk(w->view, &id) == 0)
        return WRONG(w, "garbage row %llu names a living chunk",
                     (unsigned long long)key_u64(key, 1));
    return 0;
}

int walk_garbage(struct walk *w)
{
    return walk_rows(w, key_of_table('G'), UINT64_MAX, see_garbage);
}

/* ---- jobs and policy ---- */

static int judge_drain(struct walk *w, const struct job_list *jobs, const struct job *j)
{
    for (unsigned i = 0; i < j->target_count; i++) {
        const struct target *t = shard_table_target(&w->table, j->targets[i]);
        if (t && t->admin != TARGET_DRAINING && t->state != TARGET_OUT)
            return WRONG(w, "job %u: target %u is not draining", j->number, t->id);
        for (const struct job *other = jobs->list; other < j; other++)
            if (job_is_running(other) && job_has_target(other, j->targets[i]))
                return WRONG(w, "jobs %u and %u drain target %u", other->number, j->number,
                             j->targets[i]);
    }
    return 0;
}

static int judge_jobs(struct walk *w, const struct job_list *jobs)
{
    unsigned running = 0;
    int status = 0;
    for (unsigned i = 0; status == 0 && i < jobs->count; i++) {
        if (!job_is_running(&jobs->list[i]))
            continue;
        running++;
        status = judge_drain(w, jobs, &jobs->list[i]);
    }
    if (status == 0 && (running > JOBS_RUNNING_MAX || jobs->count - running > JOBS_ENDED_KEPT))
        status = WRONG(w, "jobs: %u run, %u ended", running, jobs->count - running);
    return status;
}

static int see_removed(struct walk *w, struct slice key, struct slice value)
{
    struct uuid uuid;
    if (key.size != 1 + UUID_SIZE || value.size != 12)
        return WRONG(w, "removed target: unreadable");
    memcpy(uuid.bytes, key.data + 1, UUID_SIZE);
    if (shard_table_target_by_uuid(&w->table, &uuid))
        return WRONG(w, "target %u is back and counts as removed", load_u32(value.data));
    return 0;
}

int walk_jobs(struct walk *w)
{
    struct config_values config;
    struct job_list *jobs = calloc(1, sizeof *jobs);
    CHECK(jobs != NULL);
    int status = jobs_load(jobs, w->view);
    if (status == -ERR_CORRUPT)
        status = WRONG(w, "jobs: a row is unreadable");
    else if (status == 0)
        status = judge_jobs(w, jobs);
    free(jobs);
    if (status)
        return status;
    status = config_load(&config, w->view);
    if (status == -ERR_CORRUPT)
        status = WRONG(w, "policy: a row is unreadable");
    return status ? status : walk_rows(w, key_of_table('X'), UINT64_MAX, see_removed);
}
