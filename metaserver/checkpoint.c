/* Checkpoints: the state streamed from a read snapshot by a worker, never blocking the loop. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/net/work.h"
#include "metaserver/metaserver.h"

enum {
    RETRY_MIN_MS = 5000, /* after a failure; doubled with each further one */
    RETRY_MAX_MS = 300000,
    PART_SIZE = 256 << 10,
    WAITING_MAX = 16,
    CHECKPOINT_NICE = 10,
};

struct checkpointer {
    struct metaserver *m;
    struct work_pool *pool;
    struct work work;
    bool is_running;
    bool is_forced;         /* the newest one was found damaged */
    unsigned waiting_count; /* requests for one */
    struct {
        struct rpc_request *request;
        uint64_t index; /* what was applied when it came */
    } waiting[WAITING_MAX];
    atomic_bool is_cancelled; /* its result is of no use any more */
    uint64_t kept_bytes;      /* log still in memory after the last one */
    struct fs_view *view;
    struct fs_snapshot *snapshot;
    struct checkpoint_id id;
    struct err_text why;
    char error[300];   /* of the last one; "" = it succeeded */
    uint32_t retry_ms; /* 0 = the last one succeeded */
    uint64_t begun_ms, next_ms;
    bool has_one;    /* a good one is on the disk */
    int64_t done_ms; /* on the clock of loop_now_ms; below 0 when the machine was booted since */
    uint32_t took_ms;
};

static int produce(void *arg, struct checkpoint_writer *writer)
{
    struct checkpointer *c = arg;
    struct bytes part = {0};
    bool more;
    int status;
    do {
        bytes_clear(&part);
        status = fs_snapshot_next(c->snapshot, PART_SIZE, &part);
        more = status > 0;
        if (atomic_load(&c->is_cancelled))
            status = -ERR_CANCELLED;
        if (status >= 0)
            status = checkpoint_put(writer, part.data, part.size);
    } while (status == 0 && more);
    bytes_release(&part);
    return status;
}

static void run(struct work *work)
{
    struct checkpointer *c = CONTAINER_OF(work, struct checkpointer, work);
    /* Requests come first where both want a core. On Linux this is of the calling thread alone. */
    if (getpriority(PRIO_PROCESS, 0) < CHECKPOINT_NICE)
        (void)setpriority(PRIO_PROCESS, 0, CHECKPOINT_NICE);
#ifdef PLANT_R11_TRIM
    (void)log_store_trim(c->m->log, c->id.index); /* before the checkpoint is there */
#endif
    work->status = checkpoint_store_write(c->m->checkpoints, c->id, produce, c, &c->why);
    fs_snapshot_end(
        c->snapshot); /* early: it keeps old pages of the database from being used again */
    c->snapshot = NULL;
}

/* ---- requests for one ---- */

static void reply_written(struct metaserver *m, struct rpc_request *take_request, bool is_written)
{
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    struct bytes out = {0};
    int count = checkpoint_store_list(m->checkpoints, infos);
    struct msg_meta_checkpoint_r r = {.node = (uint32_t)m->options.id,
                                      .index = m->checkpoint.index,
                                      .term = m->checkpoint.term,
                                      .bytes = count > 0 ? infos[0].size_bytes : 0,
                                      .ms = m->checkpointer->took_ms,
                                      .is_written = is_written};
    encode_meta_checkpoint_r(&out, &r);
    rpc_reply(take_request, MSG_meta_checkpoint_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

/* status 0: those that the newest one satisfies; otherwise all, with the error. */
static void answer_waiting(struct checkpointer *c, int status, const char *why)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < c->waiting_count; i++) {
        struct rpc_request *request = c->waiting[i].request;
        if (status != 0)
            rpc_reply_error(request, status, why, NULL);
        else if (c->waiting[i].index <= c->m->checkpoint.index)
            reply_written(c->m, request, true);
        else
            c->waiting[kept++] = c->waiting[i];
    }
    c->waiting_count = kept;
}

void checkpointer_on_request(struct metaserver *m, struct rpc_request *take_request)
{
    struct checkpointer *c = m->checkpointer;
    uint64_t applied = meta_applied(m);
    if (applied == 0)
        rpc_reply_error(take_request, -ERR_UNAVAILABLE, "nothing was applied yet: try again", NULL);
    else if (applied == m->checkpoint.index && !c->is_forced)
        reply_written(m, take_request, false);
    else if (c->waiting_count == WAITING_MAX)
        rpc_reply_error(take_request, -ERR_BUSY, "others wait for a checkpoint already", NULL);
    else {
        c->waiting[c->waiting_count].request = take_request;
        c->waiting[c->waiting_count++].index = applied;
    }
}

/* ---- the end of one ---- */

static void done(struct work *work)
{
    struct checkpointer *c = CONTAINER_OF(work, struct checkpointer, work);
    struct metaserver *m = c->m;
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    fs_snapshot_end(c->snapshot);
    fs_view_end(c->view); /* it kept old pages of the database from being used again */
    c->is_running = false;
    if (atomic_load(&c->is_cancelled))
        return;
    c->took_ms = (uint32_t)(loop_now_ms() - c->begun_ms);
    if (work->status != 0 && work->status != -ERR_EXISTS) {
        (void)snprintf(c->error, sizeof c->error, "%s: %s", err_text(work->status), c->why.text);
        c->retry_ms = c->retry_ms == 0                 ? RETRY_MIN_MS
                      : c->retry_ms > RETRY_MAX_MS / 2 ? RETRY_MAX_MS
                                                       : c->retry_ms * 2;
        c->next_ms = loop_now_ms() + c->retry_ms;
        log_error("checkpoint.failed",
                  "index=%llu error=%s why=\"%s\" again_ms=%u: the log grows until one succeeds",
                  (unsigned long long)c->id.index, err_name(work->status), c->why.text,
                  c->retry_ms);
        answer_waiting(c, work->status, c->why.text);
        return;
    }
    c->error[0] = '\0';
    c->retry_ms = 0;
    c->is_forced = false;
    c->has_one = true;
    c->done_ms = (int64_t)loop_now_ms();
    c->next_ms = loop_now_ms() + m->options.checkpoint_every;
    m->checkpoint = c->id;
    int count = checkpoint_store_list(m->checkpoints, infos);
    /* The older of the two kept must still be followed by its log. */
    uint64_t trim = count >= 2 ? infos[1].id.index : 0;
    log_info("checkpoint.done", "index=%llu ms=%u bytes=%llu", (unsigned long long)c->id.index,
             c->took_ms, count > 0 ? (unsigned long long)infos[0].size_bytes : 0);
    raft_driver_compact(m->driver, c->id, trim);
    struct raft_status status;
    raft_driver_status(m->driver, &status);
    c->kept_bytes = status.log_bytes; /* for slow followers: not a reason for another checkpoint */
    answer_waiting(c, 0, "");
}

/* The age of one that an earlier process wrote, by its file's time. */
static void find_written(struct checkpointer *c)
{
    struct checkpoint_info infos[CHECKPOINT_LIST_MAX];
    int count = checkpoint_store_list(c->m->checkpoints, infos);
    int64_t age_s = count > 0 ? (int64_t)time(NULL) - infos[0].written_s : 0;
    c->has_one = count > 0;
    c->done_ms = (int64_t)loop_now_ms() - (age_s > 0 ? age_s * 1000 : 0);
}

struct checkpointer *checkpointer_create(struct metaserver *m)
{
    struct checkpointer *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    c->m = m;
    c->pool = work_pool_create(m->loop, 1, 2);
    c->work = (struct work){.run = run, .done = done};
    c->next_ms = loop_now_ms() + m->options.checkpoint_every;
    find_written(c);
    return c;
}

void checkpointer_destroy(struct checkpointer *c)
{
    if (!c)
        return;
    atomic_store(&c->is_cancelled, true);
    work_pool_destroy(c->pool);
    answer_waiting(c, -ERR_CLOSED, "this metaserver ends");
    free(c);
}

void checkpointer_cancel(struct metaserver *m)
{
    struct checkpointer *c = m->checkpointer;
    if (!c->is_running)
        return;
    atomic_store(&c->is_cancelled, true);
    work_pool_destroy(c->pool);
    c->pool = work_pool_create(m->loop, 1, 2);
    atomic_store(&c->is_cancelled, false);
}

void checkpointer_force(struct metaserver *m)
{
    m->checkpointer->is_forced = true;
}

void checkpointer_hurry(struct metaserver *m)
{
    if (m->checkpointer->error[0])
        m->checkpointer->next_ms = loop_now_ms();
}

void checkpointer_tick(struct metaserver *m)
{
    struct checkpointer *c = m->checkpointer;
    struct raft_status status;
    uint8_t config[RAFT_CONFIG_BYTES_MAX];
    int config_size;
    if (c->is_running)
        return;
    raft_driver_status(m->driver, &status);
    if (status.log_bytes < c->kept_bytes)
        c->kept_bytes = status.log_bytes;
    bool is_full = status.log_bytes - c->kept_bytes >= m->options.checkpoint_log;
    bool is_due = loop_now_ms() >= c->next_ms || c->waiting_count > 0;
    if (c->error[0] ? !is_due : !is_full && !is_due && !c->is_forced)
        return;
    bool is_new = meta_applied(m) > m->checkpoint.index ||
                  (c->is_forced && meta_applied(m) == m->checkpoint.index && meta_applied(m) > 0);
    if (!is_new || status.installing) {
        c->next_ms = loop_now_ms() + m->options.checkpoint_every;
        answer_waiting(c, status.installing ? -ERR_BUSY : 0,
                       "it is being refilled from another metaserver: try again later");
        return;
    }
    /* R13: as of this index, not what is in force. A new node may not have come to its first one.
     */
    config_size = raft_driver_config_at(m->driver, meta_applied(m), config);
    if (config_size < 0) {
        answer_waiting(c, -ERR_BUSY, "it is being filled from another metaserver: try again later");
        return;
    }
    c->begun_ms = loop_now_ms();
    c->why.text[0] = '\0';
    (void)meta_commit(m);
    if (fs_view_begin(m->fs, &c->view) != 0)
        return;
    if (fs_snapshot_begin(c->view, slice_of(config, (size_t)config_size), &c->snapshot) != 0) {
        fs_view_end(c->view);
        return;
    }
    fs_snapshot_position(c->snapshot, &c->id.index, &c->id.term);
    c->is_running = true;
#ifdef PLANT_R24
    run(&c->work);
    done(&c->work);
#else
    CHECK(work_submit(c->pool, &c->work) == 0);
#endif
}

void checkpointer_figures(const struct metaserver *m, struct checkpoint_figures *ret_figures)
{
    const struct checkpointer *c = m->checkpointer;
    *ret_figures = (struct checkpoint_figures){
        .index = m->checkpoint.index,
        .age_ms = c->has_one ? (uint64_t)((int64_t)loop_now_ms() - c->done_ms) : UINT64_MAX,
        .took_ms = c->took_ms,
        .error = c->error};
}
