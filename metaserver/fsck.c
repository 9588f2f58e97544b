/* The check of all invariants while the service goes on: a worker walks a read snapshot. One at a
 * time, because each keeps old pages of the database from being used again and takes the memory of
 * one range of inodes. */
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/net/work.h"
#include "metaserver/fs/fs_check.h"
#include "metaserver/metaserver.h"

enum { FINDINGS_MAX = 1000 };

struct fsck {
    struct metaserver *m;
    struct work_pool *pool; /* made for each check: its thread rarely has work */
    struct work work;
    struct rpc_request *request; /* NULL = none under way */
    atomic_bool is_cancelled;
    struct fs_view *view;
    unsigned findings_max;
    struct bytes texts; /* a list of records, encoded */
    uint32_t text_count;
    struct fs_check_counts counts;
    uint64_t begun_ms;
};

static void on_finding(void *arg, const char *text)
{
    struct fsck *f = arg;
    put_rec_fsck_finding(&f->texts, &(struct rec_fsck_finding){.text = slice_str(text)});
    f->text_count++;
}

static bool on_question(void *arg)
{
    struct fsck *f = arg;
    return !atomic_load(&f->is_cancelled);
}

static void run(struct work *work)
{
    struct fsck *f = CONTAINER_OF(work, struct fsck, work);
    struct fs_check_options options = {
        .findings_max = f->findings_max, .finding = on_finding, .go_on = on_question, .arg = f};
    work->status = fs_check_view(f->view, &options, &f->counts);
}

static void reply(struct fsck *f)
{
    const struct fs_check_counts *c = &f->counts;
    struct bytes out = {0};
    struct msg_fsck_r r = {.cluster = f->m->cluster,
                           .node = (uint32_t)f->m->options.id,
                           .index = c->index,
                           .directories = c->directories,
                           .files = c->files,
                           .links = c->links,
                           .others = c->others,
                           .names = c->names,
                           .chunks = c->chunks,
                           .file_bytes = c->file_bytes,
                           .garbage = c->garbage,
                           .orphans = c->orphans,
                           .sessions = c->sessions,
                           .targets = (uint32_t)c->targets,
                           .shards = (uint32_t)c->shards,
                           .ms = (uint32_t)(loop_now_ms() - f->begun_ms),
                           .is_broken_off = c->is_broken_off,
                           .findings = {.count = f->text_count, .raw = bytes_slice(&f->texts)}};
    encode_fsck_r(&out, &r);
    rpc_reply(f->request, MSG_fsck_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
    if (c->findings)
        log_error("fsck.findings", "count=%u first=\"%.*s\"", c->findings,
                  f->texts.size > 2 ? (int)f->texts.data[0] : 0, (const char *)f->texts.data + 2);
    else
        log_info("fsck.clean", "index=%llu names=%llu ms=%u", (unsigned long long)c->index,
                 (unsigned long long)c->names, r.ms);
}

static void finish(struct fsck *f, int status, const char *why)
{
    fs_view_end(f->view);
    f->view = NULL;
    if (status == 0)
        reply(f);
    else
        rpc_reply_error(f->request, status, why, NULL);
    f->request = NULL;
    bytes_release(&f->texts);
    f->text_count = 0;
}

static void done(struct work *work)
{
    struct fsck *f = CONTAINER_OF(work, struct fsck, work);
    if (atomic_load(&f->is_cancelled))
        finish(f, -ERR_CANCELLED, "this metaserver ends or gets a new state: ask again");
    else
        finish(f, work->status, "the database cannot be read");
}

static void on_read_ready(void *arg, int status)
{
    struct fsck *f = arg;
    if (status == 0)
        status = meta_commit(f->m);
    if (status == 0)
        status = fs_view_begin(f->m->fs, &f->view);
    if (status != 0) {
        finish(f, status, NULL);
        return;
    }
    f->begun_ms = loop_now_ms();
    if (!f->pool)
        f->pool = work_pool_create(f->m->loop, 1, 2);
    CHECK(work_submit(f->pool, &f->work) == 0);
}

struct fsck *fsck_create(struct metaserver *m)
{
    struct fsck *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->m = m;
    f->work = (struct work){.run = run, .done = done};
    return f;
}

void fsck_cancel(struct fsck *f)
{
    if (!f || !f->pool)
        return;
    atomic_store(&f->is_cancelled, true);
    work_pool_destroy(f->pool);
    f->pool = NULL;
    atomic_store(&f->is_cancelled, false);
}

void fsck_destroy(struct fsck *f)
{
    fsck_cancel(f);
    free(f);
}

void fsck_on_request(struct metaserver *m, struct rpc_request *take_request)
{
    struct fsck *f = m->fsck;
    struct msg_fsck ask;
    int status = decode_fsck(take_request->body, take_request->version, &ask);
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    if (f->request) {
        rpc_reply_error(take_request, -ERR_BUSY, "another check is under way: wait for its end",
                        NULL);
        return;
    }
    f->request = take_request;
    f->findings_max = ask.findings_max < FINDINGS_MAX ? ask.findings_max : FINDINGS_MAX;
    raft_driver_read(m->driver, on_read_ready, f);
}
