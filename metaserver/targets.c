/* Heartbeats and leases of chunkservers; carries out what the planner proposes. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/jobs.h"
#include "metaserver/metaserver.h"

enum { PLAN_EVERY_MS = 1000, PLAN_RETRY_MS = 100, REGISTER_PATIENCE_MS = 3000 };

const struct target_heard *targets_heard(const struct metaserver *m, uint32_t target)
{
    return map_get(&m->heard, target);
}

static struct target_heard *heard_of(struct metaserver *m, uint32_t target)
{
    struct target_heard *h = map_get(&m->heard, target);
    if (!h) {
        h = calloc(1, sizeof *h);
        CHECK(h != NULL);
        h->target = target;
        (void)map_put(&m->heard, target, h);
    }
    return h;
}

void targets_start(struct metaserver *m)
{
    m->plan_at_ms = 0;
}

void targets_stop(struct metaserver *m)
{
    size_t cursor = 0;
    struct map_entry *e;
    while ((e = map_next(&m->heard, &cursor)))
        free(e->value);
    map_release(&m->heard);
}

void targets_registered(struct metaserver *m, uint32_t target,
                        const struct msg_target_register *ask)
{
    struct target_heard *h = heard_of(m, target);
    h->is_told = h->is_told && h->incarnation == ask->incarnation;
    h->incarnation = ask->incarnation;
    h->heard_ms = h->up_since_ms = loop_now_ms();
    h->bytes_total = ask->bytes_total;
    h->bytes_used = ask->bytes_used;
    h->failed = false;
    h->deleted_batch = 0;
    m->plan_at_ms = 0;
}

static bool all_others_are_known(const struct metaserver *m, uint32_t target)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    for (unsigned i = 0; i < t->target_count; i++)
        if (t->targets[i].id != target && t->targets[i].state == TARGET_UP &&
            !targets_heard(m, t->targets[i].id))
            return false;
    return true;
}

/* A target that comes back as a new process loses its place to in-sync ones that are up. A leader
 * that does not know yet who is up would wrongly prefer one that died in the same power cut: it
 * waits one lease first, unless it has heard of everyone else. */
bool targets_may_register(struct metaserver *m, struct rpc_request *request)
{
    struct msg_target_register ask;
    int status = decode_target_register(request->body, request->version, &ask);
    if (status == 0 && ask.incarnation == 0)
        status = -ERR_INVALID;
    if (status != 0) {
        rpc_reply_error(request, status, NULL, NULL);
        return false;
    }
    const struct target *known = shard_table_target_by_uuid(fs_shard_table(m->fs), &ask.uuid);
    bool is_new_process = known && known->incarnation != ask.incarnation;
    /* The planner takes offline together what was not heard within the lease; only if that cannot
     * be done is nobody kept waiting for ever. */
    bool is_overdue = loop_now_ms() >= m->leader_ready_ms + m->options.lease + LEASE_MARGIN_MS +
                                           REGISTER_PATIENCE_MS;
    bool offline_pending = known && known->state == TARGET_UP && !targets_heard(m, known->id);
    if (is_new_process && offline_pending && !is_overdue && !all_others_are_known(m, known->id)) {
        rpc_reply_error(request, -ERR_BUSY,
                        "a new leader waits one lease before it takes back a target", NULL);
        return false;
    }
    return true;
}

static void take_figures(struct metaserver *m, struct target_heard *h,
                         const struct msg_heartbeat *ask)
{
    if (h->is_told && h->incarnation == ask->incarnation && ask->resync_bytes > h->resync_bytes)
        jobs_sent(m, h->target, ask->resync_bytes - h->resync_bytes);
    h->is_told = true;
    h->incarnation = ask->incarnation;
    h->heard_ms = loop_now_ms();
    h->bytes_total = ask->bytes_total;
    h->bytes_used = ask->bytes_used;
    h->chunk_count = ask->chunk_count;
    h->read_bytes = ask->read_bytes;
    h->write_bytes = ask->write_bytes;
    h->resync_bytes = ask->resync_bytes;
    h->resync_chunks = ask->resync_chunks;
    h->crc_errors = ask->crc_errors;
    h->blocks_repaired = ask->blocks_repaired;
    h->deleted_batch = ask->deleted_batch;
    h->chunk_bytes = ask->chunk_bytes;
    h->left_bytes = ask->left_bytes;
    h->left_chunks = ask->left_chunks;
    h->failed = ask->failed != 0;
}

/* No new lease while the command that ends the old one is on its way through the log. */
static bool is_going_offline(const struct metaserver *m, uint32_t target)
{
    for (unsigned i = 0; m->commands_under_way > 0 && i < m->plan->offline_count; i++)
        if (m->plan->offline[i].target == target)
            return true;
    return false;
}

void targets_on_heartbeat(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_heartbeat ask;
    struct msg_heartbeat_r r = {0};
    struct bytes out = {0};
    int status = decode_heartbeat(take_request->body, take_request->version, &ask);
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    /* No lease without the certainty that nobody else leads: a newer leader waits one lease from
     * the moment it took over. */
    if (!raft_driver_may_read(m->driver)) {
        meta_refuse(m, take_request);
        return;
    }
    const struct shard_table *t = fs_shard_table(m->fs);
    const struct target *target = shard_table_target(t, ask.target);
    r.term = m->leader_term;
    r.index = meta_applied(m);
    r.table_version = t->version;
    if (target && target->incarnation == ask.incarnation) {
        struct target_heard *h = heard_of(m, ask.target);
        if (target->state == TARGET_UP && !ask.failed && !is_going_offline(m, ask.target)) {
            r.lease_ms = (uint32_t)m->options.lease;
            take_figures(m, h, &ask);
            collector_fill(m, h, &r);
            r.background_rate = jobs_background_rate(m, ask.target);
        }
        if (ask.failed && !h->failed) {
            h->failed = true;
            m->plan_at_ms = 0;
        }
    }
    encode_heartbeat_r(&out, &r);
    rpc_reply(take_request, MSG_heartbeat_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

/* ---- the planner ---- */

static struct plan_options plan_options_of(const struct metaserver *m)
{
    struct plan_options o = plan_options_default();
    struct fs_status counts;
    fs_get_status(m->fs, &counts);
    o.lease_ms = (uint32_t)m->options.lease;
    o.margin_ms = LEASE_MARGIN_MS;
    o.suspect_ms = SUSPECT_MS;
    uint64_t down_out = fs_config(m->fs, CONFIG_down_out);
    if (down_out == 0)
        down_out = m->options.down_out;
    o.down_out_ms = down_out > UINT32_MAX ? UINT32_MAX : (uint32_t)down_out;
    o.receptions_max = (uint32_t)fs_config(m->fs, CONFIG_receptions_max);
    o.sends_max = (uint32_t)fs_config(m->fs, CONFIG_sends_max);
    o.initial_targets = counts.initial_targets;
    o.copies_wanted = counts.copies ? 1u << counts.copies : 0;
    return o;
}

/* One command of the plan ended: the next plan is made from the table as it is then. */
static void on_planned(struct metaserver *m, void *arg, int status)
{
    (void)arg;
    CHECK(m->commands_under_way > 0);
    m->commands_under_way--;
    if (status != 0)
        m->plan_at_ms = loop_now_ms() + PLAN_RETRY_MS;
    else if (m->commands_under_way == 0)
        m->plan_at_ms = 0;
}

static void command(struct metaserver *m, uint16_t code, struct bytes *body)
{
    m->commands_under_way++;
    meta_propose_command(m, code, bytes_slice(body), on_planned, NULL);
    bytes_clear(body);
}

static void log_offline(const struct metaserver *m, uint32_t target)
{
    const struct target *t = shard_table_target(fs_shard_table(m->fs), target);
    if (t && t->admin == TARGET_MAINTENANCE)
        log_info("target.offline", "target=%u: it is in maintenance", target);
    else
        log_warn("target.offline", "target=%u: no heartbeat within its lease", target);
}

static void carry_out(struct metaserver *m, struct plan *plan)
{
    struct bytes body = {0};
    for (unsigned i = 0; i < plan->failed_count; i++) {
        struct msg_target_failed failed = {.target = plan->failed[i]};
        log_error("target.failed",
                  "target=%u: its disk has failed, its copies are made anew elsewhere",
                  plan->failed[i]);
        encode_target_failed(&body, &failed);
        command(m, MSG_target_failed, &body);
    }
    if (plan->offline_count) {
        struct msg_target_offline offline = {
            .targets = {.count = plan->offline_count, .items = plan->offline}};
        for (unsigned i = 0; i < plan->offline_count; i++)
            log_offline(m, plan->offline[i].target);
        encode_target_offline(&body, &offline);
        command(m, MSG_target_offline, &body);
    }
    if (plan->weight_count) {
        struct msg_target_weights weights = {
            .targets = {.count = plan->weight_count, .items = plan->weights}};
        for (unsigned i = 0; i < plan->weight_count; i++)
            log_info("target.weight", "target=%u weight=%u %s", plan->weights[i].target,
                     plan->weights[i].weight,
                     plan->weights[i].rebalance ? "its load shall change" : "its load fits");
        encode_target_weights(&body, &weights);
        command(m, MSG_target_weights, &body);
    }
    if (plan->form_copies) {
        struct msg_shards_form form = {.copies = (uint8_t)plan->form_copies, .way = FORM_PLAN};
        log_info("shards.form", "copies=%u", plan->form_copies);
        encode_shards_form(&body, &form);
        command(m, MSG_shards_form, &body);
    }
    if (plan->replacement_count) {
        struct msg_shard_change replace = {
            .changes = {.count = plan->replacement_count, .items = plan->replacements}};
        log_info("slots.replace", "count=%u", plan->replacement_count);
        encode_shard_change(&body, &replace);
        command(m, MSG_shard_change, &body);
    }
    bytes_release(&body);
}

static int compare_views(const void *a, const void *b)
{
    const struct target_view *x = a, *y = b;
    return x->target < y->target ? -1 : x->target > y->target;
}

static struct target_view view_of(const struct target_heard *h)
{
    return (struct target_view){
        .target = h->target,
        .heard = h->heard_ms != 0,
        .heard_ms = h->heard_ms,
        .failed = h->failed,
        .is_told = h->is_told,
        .bytes_total = h->bytes_total,
        .bytes_used = h->bytes_used,
        .left_bytes = h->left_bytes,
        .up_since_ms = h->up_since_ms,
        .chunk_bytes = h->chunk_bytes,
        .chunk_count = h->chunk_count > h->left_chunks ? h->chunk_count - h->left_chunks : 0,
    };
}

static void look_at_drains(const struct metaserver *m, struct leader_view *look)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    look->drains = calloc(t->target_count + 1, sizeof *look->drains);
    CHECK(look->drains != NULL);
    look->view.drains = look->drains;
    for (unsigned i = 0; i < t->target_count; i++) {
        const struct job *j = fs_job_draining(m->fs, t->targets[i].id);
        if (j)
            look->drains[look->view.drain_count++] =
                (struct drain_view){.target = t->targets[i].id,
                                    .job = j->number,
                                    .is_paused = j->state == JOB_PAUSED,
                                    .rate_max = j->rate_max};
    }
}

void targets_look(const struct metaserver *m, struct leader_view *ret_look)
{
    struct target_view *views = calloc(m->heard.count + 1, sizeof *views);
    unsigned count = 0;
    size_t cursor = 0;
    struct map_entry *e;
    CHECK(views != NULL);
    while ((e = map_next(&m->heard, &cursor)))
        views[count++] = view_of(e->value);
    qsort(views, count, sizeof *views, compare_views);
    *ret_look = (struct leader_view){.targets = views,
                                     .view = {.table = fs_shard_table(m->fs),
                                              .targets = views,
                                              .target_count = count,
                                              .now_ms = loop_now_ms(),
                                              .leader_since_ms = m->leader_ready_ms}};
    look_at_drains(m, ret_look);
}

void targets_look_end(struct leader_view *look)
{
    free(look->targets);
    free(look->drains);
}

void targets_tick(struct metaserver *m)
{
    uint64_t now = loop_now_ms();
    struct leader_view look;
    if (m->commands_under_way > 0 || now < m->plan_at_ms)
        return;
    struct plan_options options = plan_options_of(m);
    targets_look(m, &look);
    planner_run(m->planner, &look.view, &options, m->plan);
    targets_look_end(&look);
    m->plan_at_ms =
        m->plan->wake_at_ms < now + PLAN_EVERY_MS ? m->plan->wake_at_ms : now + PLAN_EVERY_MS;
    if (m->plan_at_ms < now + PLAN_RETRY_MS)
        m->plan_at_ms = now + PLAN_RETRY_MS;
    carry_out(m, m->plan);
}
