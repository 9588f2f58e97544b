/* Requests: who may ask, who answers; and what happens when this node begins or ends to lead. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/jobs.h"
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
    /* It waited, and the sessions are another leader's now; or what was acknowledged is not to be
     * seen for want of room. */
    if (!meta_is_ready(m) || meta_commit(m) != 0) {
        meta_refuse(m, take_request);
        return;
    }
    if (is_being_removed(m, take_request))
        status = -ERR_BUSY;
    else if (!has_session(m, take_request))
        status = -ERR_NO_SESSION;
    else
        status = fs_query(m->fs, meta_view(m), take_request->code, take_request->body, &code, &out);
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

/* One block of answers is built. What makes them valid is written in queries.h: the lease is asked
 * after the last of them was built and before the first is sent (R16). */
void meta_answer_queries(void *arg, const struct query_answer *answers, unsigned count)
{
    struct metaserver *m = arg;
    bool may_answer = meta_is_ready(m) && raft_driver_may_read(m->driver);
    for (unsigned i = 0; i < count; i++) {
        const struct query_answer *a = &answers[i];
        if (!may_answer || a->term != m->leader_term)
            meta_refuse(m, a->request);
        else if (a->status != 0)
            rpc_reply_error(a->request, a->status, NULL, NULL);
        else
            rpc_reply(a->request, a->code, a->body, NULL, 0);
    }
}

static void query(struct metaserver *m, struct rpc_request *take_request)
{
    /* Without the commit a helper's snapshot could be older than the request. */
    if (meta_commit(m) == 0 && raft_driver_may_read(m->driver)) {
        /* An open also changes what the leader knows of holders, at the same moment. */
        if (queries_takes(take_request->code))
            queries_add(m->queries, take_request, m->leader_term);
        else
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
    int status = fs_query(m->fs, meta_view(m), take_request->code, take_request->body, &code, &out);
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
    case MSG_target_admin:
    case MSG_job_set:
    case MSG_config_set:
    case MSG_meta_load:
    case MSG_meta_load_end:
        return true;
    default:
        return false;
    }
}

/* What operators do with servers, not with files. */
static bool is_about_servers(uint16_t code)
{
    return code == MSG_target_goodbye || code == MSG_target_admin || code == MSG_target_remove ||
           code == MSG_job_start || code == MSG_job_set || code == MSG_config_set ||
           code == MSG_config_get;
}

/* Half a tree is nobody's business; chunkservers and the tools go on. */
static bool waits_for_load(struct metaserver *m, uint16_t code)
{
    if (!fs_is_loading(m->fs) || code == MSG_meta_statfs || is_about_servers(code))
        return false;
    return fs_is_query(code) || code == MSG_session_open ||
           (is_change(code) && code != MSG_meta_load && code != MSG_meta_load_end &&
            code != MSG_session_close);
}

static void dispatch_leader(struct metaserver *m, struct rpc_request *take_request)
{
    if (waits_for_load(m, take_request->code)) {
        rpc_reply_error(
            take_request, -ERR_BUSY,
            "a dump is being loaded; cairn meta load with the same file goes on with it", NULL);
        return;
    }
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
    case MSG_meta_dump:
        dumper_on_dump(m, take_request);
        return;
    case MSG_meta_load_begin:
        dumper_on_load_begin(m, take_request);
        return;
    case MSG_fsck:
        fsck_on_request(m, take_request);
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
    case MSG_job_plan:
        jobs_on_plan(m, take_request);
        return;
    case MSG_job_start:
        jobs_on_start(m, take_request);
        return;
    case MSG_job_list:
        jobs_on_list(m, take_request);
        return;
    case MSG_target_remove:
        jobs_on_remove(m, take_request);
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
        if (take_request->code == MSG_raft_message || take_request->code == MSG_meta_space)
            rpc_request_drop(take_request);
        else
            rpc_reply_error(take_request, -ERR_NOT_LEADER,
                            "it waits for the other first metaservers of its cluster", "");
        return;
    }
    if (take_request->code == MSG_raft_message || take_request->code == MSG_snapshot_fetch ||
        take_request->code == MSG_meta_space) {
        if (role != ROLE_META)
            rpc_reply_error(take_request, -ERR_REFUSED, "only for metaservers", NULL);
        else if (take_request->code == MSG_raft_message)
            raft_driver_on_message(m->driver, take_request);
        else if (take_request->code == MSG_meta_space)
            space_on_told(m, take_request);
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
    if (event == RPC_SERVER_REJECTED && status == -ERR_WRONG_CLUSTER &&
        remote->identity.role == ROLE_CHUNK)
        dumper_note_foreign(arg, remote);
    if (event == RPC_SERVER_REJECTED)
        log_warn("conn.rejected", "peer=%s error=%s why=\"%s\"", remote->address, err_name(status),
                 why);
}

/* ---- leading ---- */

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
    jobs_begin(m);
    log_info("leader.ready", "term=%llu applied=%llu", (unsigned long long)m->leader_term,
             (unsigned long long)meta_applied(m));
}

static void ask_ready(struct metaserver *m)
{
    m->is_ready_asked = true;
    raft_driver_read(m->driver, on_leader_ready, m);
}

/* R28: once in an interval of the log the leader says what its state was, and a replica with
 * another one stops. A hash that does not get into the log is followed by the next one. */
static void tell_hash(struct metaserver *m)
{
    struct msg_state_hash newest;
    struct bytes body = {0};
#ifdef PLANT_R28_UNTOLD
    return;
#endif
    if (!fs_last_hash(m->fs, &newest.index, &newest.hash) || newest.index <= m->hash_told)
        return;
    m->hash_told = newest.index;
    encode_state_hash(&body, &newest);
    meta_propose_command(m, MSG_state_hash, bytes_slice(&body), NULL, NULL);
    bytes_release(&body);
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
    tell_hash(m);
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
        if (m->driver) /* a lone one leads before its driver is made: the tick asks */
            ask_ready(m);
    }
    if (m->is_stopping && !leads)
        loop_stop(m->loop);
}
