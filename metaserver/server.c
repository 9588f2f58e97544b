/* Requests: who may ask, who answers, and what happens when an entry is applied. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/metaserver.h"

bool meta_is_ready(const struct metaserver *m)
{
    return m->is_leader && m->leader_ready_ms != 0;
}

uint64_t meta_applied(const struct metaserver *m)
{
    struct fs_status status;
    fs_get_status(m->fs, &status);
    return status.applied_index;
}

void meta_refuse(struct metaserver *m, struct rpc_request *take_request)
{
    bool leads = raft_driver_is_leader(m->driver);
    rpc_reply_error(take_request, -ERR_NOT_LEADER, leads ? "the new leader is catching up" : "",
                    leads ? raft_driver_peer_address(m->driver, (uint32_t)m->options.id)
                          : raft_driver_leader_address(m->driver));
}

/* ---- queries ---- */

static void note_open(struct metaserver *m, const struct rpc_request *request)
{
    struct msg_meta_open ask;
    if (decode_meta_open(request->body, request->version, &ask) == 0)
        sessions_opened(m, ask.caller.session, ask.inode);
}

/* An open must not overtake the removal of the same inode that is on its way through the log. */
static bool is_being_removed(struct metaserver *m, const struct rpc_request *request)
{
    struct msg_meta_open ask;
    if (request->code != MSG_meta_open ||
        decode_meta_open(request->body, request->version, &ask) != 0)
        return false;
    return map_get(&m->removing, ask.inode) != NULL;
}

static bool has_session(struct metaserver *m, const struct rpc_request *request)
{
    struct msg_meta_open ask;
    if (request->code != MSG_meta_open ||
        decode_meta_open(request->body, request->version, &ask) != 0)
        return true;
    return sessions_exists(m, ask.caller.session);
}

static void answer_query(struct metaserver *m, struct rpc_request *take_request, bool is_confirmed)
{
    struct bytes out = {0};
    uint16_t code = 0;
    int status = 0;
    if (!meta_is_ready(m)) { /* it waited, and the sessions are another leader's now */
        meta_refuse(m, take_request);
        return;
    }
    if (is_being_removed(m, take_request))
        status = -ERR_BUSY;
    else if (!has_session(m, take_request))
        status = -ERR_NO_SESSION;
    else
        status = fs_query(m->fs, m->view, take_request->code, take_request->body, &code, &out);
    if (!is_confirmed && !raft_driver_may_read(m->driver)) {
        meta_refuse(m, take_request); /* the lease ran out while the answer was built (R16) */
    } else if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
    } else {
        if (take_request->code == MSG_meta_open)
            note_open(m, take_request);
        rpc_reply(take_request, code, bytes_slice(&out), NULL, 0);
    }
    bytes_release(&out);
}

struct waiting_query {
    struct metaserver *m;
    struct rpc_request *request;
};

static void on_read_ready(void *arg, int status)
{
    struct waiting_query *w = arg;
    if (status == 0)
        answer_query(w->m, w->request, true);
    else
        meta_refuse(w->m, w->request);
    free(w);
}

static void query(struct metaserver *m, struct rpc_request *take_request)
{
    if (raft_driver_may_read(m->driver)) {
        answer_query(m, take_request, false);
        return;
    }
    struct waiting_query *w = malloc(sizeof *w);
    CHECK(w != NULL);
    *w = (struct waiting_query){m, take_request};
    raft_driver_read(m->driver, on_read_ready, w);
}

/* ---- the shard table: any metaserver may tell what it has applied ---- */

static void answer_table(struct metaserver *m, struct rpc_request *take_request)
{
    struct bytes out = {0};
    uint16_t code;
    int status = fs_query(m->fs, m->view, take_request->code, take_request->body, &code, &out);
    if (status != 0)
        rpc_reply_error(take_request, status, NULL, NULL);
    else
        rpc_reply(take_request, code, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

/* ---- reports of chunkservers: logged only when they would change something ---- */

static void on_shard_report(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_shard_report report;
    struct msg_done_r done = {.index = 0};
    struct bytes out = {0};
    int status = decode_shard_report(take_request->body, take_request->version, &report);
    const struct shard *s =
        status == 0 ? shard_table_shard(fs_shard_table(m->fs), report.copies, report.shard) : NULL;
    if (s && s->epoch == report.epoch) {
        meta_propose_request(m, take_request);
        return;
    }
    encode_done_r(&out, &done); /* of an epoch that has passed: nothing to do */
    if (status == 0)
        rpc_reply(take_request, MSG_done_r, bytes_slice(&out), NULL, 0);
    else
        rpc_reply_error(take_request, status, NULL, NULL);
    bytes_release(&out);
}

/* ---- dispatch ---- */

static bool is_change(uint16_t code)
{
    switch (code) {
    case MSG_meta_setattr:
    case MSG_meta_create:
    case MSG_meta_mknod:
    case MSG_meta_mkdir:
    case MSG_meta_symlink:
    case MSG_meta_link:
    case MSG_meta_unlink:
    case MSG_meta_rmdir:
    case MSG_meta_rename:
    case MSG_meta_commit:
    case MSG_session_open:
    case MSG_session_close:
    case MSG_target_goodbye:
        return true;
    default:
        return false;
    }
}

static void dispatch_leader(struct metaserver *m, struct rpc_request *take_request)
{
    if (fs_is_query(take_request->code) && take_request->code != MSG_meta_statfs) {
        query(m, take_request);
        return;
    }
    if (is_change(take_request->code)) {
        meta_propose_request(m, take_request);
        return;
    }
    switch (take_request->code) {
    case MSG_meta_statfs:
        status_statfs(m, take_request);
        return;
    case MSG_status:
        status_answer(m, take_request);
        return;
    case MSG_meta_transfer:
        member_on_transfer(m, take_request);
        return;
    case MSG_meta_change:
        member_on_change(m, take_request);
        return;
    case MSG_session_alive:
        sessions_on_alive(m, take_request);
        return;
    case MSG_meta_release:
        sessions_on_release(m, take_request);
        return;
    case MSG_heartbeat:
        targets_on_heartbeat(m, take_request);
        return;
    case MSG_target_register:
        if (targets_may_register(m, take_request))
            meta_propose_request(m, take_request);
        return;
    case MSG_shard_report:
        on_shard_report(m, take_request);
        return;
    default:
        rpc_reply_error(take_request, -ERR_NOT_SUPPORTED, "not a request for a metaserver", NULL);
    }
}

static bool is_for_chunkservers_only(uint16_t code)
{
    return code == MSG_heartbeat || code == MSG_target_register || code == MSG_target_goodbye ||
           code == MSG_shard_report;
}

void meta_dispatch(void *arg, struct rpc_request *take_request)
{
    struct metaserver *m = arg;
    uint8_t role = take_request->remote->identity.role;
    if (take_request->code == MSG_standing) {
        founding_on_request(m, take_request);
        return;
    }
    if (!m->driver) { /* raft has not started */
        if (take_request->code == MSG_raft_message)
            rpc_request_drop(take_request);
        else
            rpc_reply_error(take_request, -ERR_NOT_LEADER,
                            "it waits for the other first metaservers of its cluster", "");
        return;
    }
    if (take_request->code == MSG_raft_message || take_request->code == MSG_snapshot_fetch) {
        if (role != ROLE_META)
            rpc_reply_error(take_request, -ERR_REFUSED, "only for metaservers", NULL);
        else if (take_request->code == MSG_raft_message)
            raft_driver_on_message(m->driver, take_request);
        else
            raft_driver_on_snapshot_fetch(m->driver, take_request);
        return;
    }
    if (take_request->code == MSG_shard_table) {
        answer_table(m, take_request);
        return;
    }
    if (member_dispatch(m, take_request))
        return;
    if (is_for_chunkservers_only(take_request->code) && role != ROLE_CHUNK) {
        rpc_reply_error(take_request, -ERR_REFUSED, "only for chunkservers", NULL);
        return;
    }
    if (!meta_is_ready(m)) {
        meta_refuse(m, take_request);
        return;
    }
    dispatch_leader(m, take_request);
}

void meta_server_event(void *arg, enum rpc_server_event event, const struct rpc_remote *remote,
                       int status, const char *why)
{
    (void)arg;
    if (event == RPC_SERVER_REJECTED)
        log_warn("conn.rejected", "peer=%s error=%s why=\"%s\"", remote->address, err_name(status),
                 why);
}

/* ---- applying ---- */

static void after_apply(struct metaserver *m, const struct fs_result *result)
{
    if (!m->is_leader)
        return;
    if (result->session_ended)
        sessions_ended(m, result->session_ended);
    if (result->orphan_inode)
        sessions_orphaned(m);
    if (result->table_changed)
        m->plan_at_ms = 0;
}

/* One transaction per batch; answers leave after it was kept. */
static void apply_batch(struct metaserver *m, uint64_t first, uint64_t last)
{
    int status = fs_begin_batch(m->fs);
    for (uint64_t index = first; status == 0 && index <= last; index++) {
        const struct raft_entry *entry = raft_driver_entry(m->driver, index);
        struct fs_result result = {0};
        CHECK(entry != NULL);
        if (entry->kind != RAFT_ENTRY_COMMAND) {
            status = fs_skip(m->fs, index, entry->term);
            continue;
        }
        status = fs_apply(m->fs, index, entry->term, entry->payload, &result);
        if (result.diverged) {
            log_error("meta.diverged",
                      "index=%llu: this replica's state differs from the others'; move %s away and "
                      "start again: it is refilled",
                      (unsigned long long)index, m->options.data);
            abort();
        }
        meta_note_result(m, index, &result);
        after_apply(m, &result);
    }
    if (status == 0)
        status = fs_commit_batch(m->fs);
    if (status == 0)
        status = fs_view_renew(m->view);
    if (status == 0)
        return;
    /* The log keeps what was agreed; without room for the database this node can neither answer nor
     * follow. It ends, and takes the entries up again when it is started with room. */
    log_error("meta.database", "error=%s: cannot keep the state in %s; make room and start again",
              err_name(status), m->database);
    exit(3);
}

void meta_apply(void *arg, uint64_t first, uint64_t last)
{
    struct metaserver *m = arg;
    while (first <= last) {
        uint64_t end = last - first >= META_APPLY_MAX ? first + META_APPLY_MAX - 1 : last;
        uint64_t terms[META_APPLY_MAX];
        for (uint64_t i = first; i <= end; i++) {
            const struct raft_entry *entry = raft_driver_entry(m->driver, i);
            CHECK(entry != NULL);
            terms[i - first] = entry->term;
        }
        meta_begin_results(m, first);
        apply_batch(m, first, end);
        /* A completion must not step raft (proposals wait for the end of the iteration): entries
         * would move and another batch would take the place of these results. */
        for (uint64_t i = first; i <= end; i++)
            raft_driver_complete(m->driver, i, terms[i - first]);
        first = end + 1;
    }
}

static void on_init(struct metaserver *m, void *arg, int status)
{
    (void)arg;
    m->is_init_under_way = false;
    if (status != 0)
        log_warn("cluster.init", "error=%s: tried again", err_name(status));
}

/* The first command of a new cluster. */
static void initialize(struct metaserver *m)
{
    struct bytes body = {0};
    struct msg_cluster_init init = {.cluster = m->cluster,
                                    .copies = (uint8_t)m->options.copies,
                                    .shard_count = (uint32_t)m->options.shards,
                                    .initial_targets = (uint32_t)m->options.initial_targets};
    encode_cluster_init(&body, &init);
    m->is_init_under_way = true;
    meta_propose_command(m, MSG_cluster_init, bytes_slice(&body), on_init, NULL);
    bytes_release(&body);
}

/* A read is confirmed only after this term's no-op is applied, so everything of earlier terms is
 * (R15). One that was asked for in an earlier term has ended with that term. */
static void on_leader_ready(void *arg, int status)
{
    struct metaserver *m = arg;
    m->is_ready_asked = false;
    if (status != 0 || !m->is_leader || meta_is_ready(m))
        return; /* the tick asks again if it still matters */
    m->leader_ready_ms = loop_now_ms();
    sessions_start(m);
    targets_start(m);
    log_info("leader.ready", "term=%llu applied=%llu", (unsigned long long)m->leader_term,
             (unsigned long long)meta_applied(m));
}

static void ask_ready(struct metaserver *m)
{
    m->is_ready_asked = true;
    raft_driver_read(m->driver, on_leader_ready, m);
}

void meta_leader_tick(struct metaserver *m)
{
    struct fs_status counts;
    if (m->is_leader && !meta_is_ready(m) && !m->is_ready_asked)
        ask_ready(m);
    if (!meta_is_ready(m) || m->is_init_under_way)
        return;
    fs_get_status(m->fs, &counts);
    if (!counts.formed)
        initialize(m);
}

void meta_role_changed(void *arg, enum raft_role role, uint32_t leader, uint64_t term)
{
    struct metaserver *m = arg;
    bool leads = role == RAFT_LEADER;
    log_info("raft.role", "role=%s term=%llu leader=m%u", raft_role_name(role),
             (unsigned long long)term, leader);
    if (m->is_leader && (!leads || term != m->leader_term)) {
        m->is_leader = false;
        m->leader_ready_ms = 0;
        sessions_stop(m);
        targets_stop(m);
    }
    if (leads && !m->is_leader) {
        m->is_leader = true;
        m->leader_term = term;
        m->leader_ready_ms = 0;
        ask_ready(m);
    }
    if (m->is_stopping && !leads)
        loop_stop(m->loop);
}
