/* One kernel request from its arrival to its answer. */
#include "fuse/request.h"

#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

static void on_interrupt_timer(void *arg)
{
    struct request *r = arg;
    if (!r->req)
        return;
    fuse_reply_err(r->req, EINTR);
    r->req = NULL;
}

static void on_interrupt(fuse_req_t req, void *arg)
{
    struct request *r = arg;
    (void)req;
    if (!loop_timer_is_running(&r->timer))
        loop_timer_start_ms(&r->timer, REQUEST_INTERRUPT_MS);
}

struct request *request_new(fuse_req_t req)
{
    struct request *r = calloc(1, sizeof *r);
    CHECK(r);
    r->m = request_mount(req);
    r->req = req;
    loop_timer_init(&r->timer, r->m->loop, on_interrupt_timer, r);
    fuse_req_interrupt_func(req, on_interrupt, r);
    return r;
}

fuse_req_t request_end(struct request *r)
{
    fuse_req_t req = r->req;
    loop_timer_stop(&r->timer);
    if (req)
        fuse_req_interrupt_func(req, NULL, NULL);
    free(r);
    return req;
}

void request_end_status(struct request *r, int status)
{
    fuse_req_t req = request_end(r);
    if (req)
        fuse_reply_err(req, err_errno(status));
}

void request_on_done(void *arg, int status)
{
    request_end_status(arg, status);
}

void request_on_attr_done(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    (void)attr, (void)valid_ms;
    request_end_status(arg, status);
}

static int read_groups(void *arg, uint32_t *ret_groups, unsigned count_max)
{
    _Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are sent as 32 bits");
    int count = fuse_req_getgroups(arg, (int)count_max, ret_groups);
    return count > (int)count_max ? (int)count_max : count;
}

struct client_caller request_caller(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct client_caller who = {.uid = ctx->uid, .gid = ctx->gid};
    if (ctx->uid == 0 || ctx->pid == 0)
        return who; /* root needs none; the kernel itself has none */
    const struct group_entry *e = group_cache_get(&request_mount(req)->groups, ctx->pid, ctx->uid,
                                                  ctx->gid, loop_now_ms(), read_groups, req);
    who.groups = e->groups;
    who.group_count = e->count;
    return who;
}
