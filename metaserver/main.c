/* cairn-metaserver: options, start, stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/jobs.h"
#include "metaserver/metaserver.h"

#define ROW(...) CONF_ROW(struct metaserver_options, __VA_ARGS__)
static const struct conf_option option_table[] = {METASERVER_OPTIONS(ROW)};
enum { OPTION_COUNT = sizeof option_table / sizeof option_table[0] };

static uint64_t table_version(void *arg)
{
    const struct metaserver *m = arg;
    return m->fs ? fs_shard_table(m->fs)->version : 0;
}

static int load(void *arg, uint64_t index, uint64_t term, struct raft_config *ret_config,
                struct err_text *why)
{
    struct metaserver *m = arg;
    struct checkpoint_id id = {index, term};
    int status = meta_fill_database(m, id, ret_config, why);
    if (status == -ERR_IO) /* the next attempt fetches it again, perhaps to a better place */
        (void)checkpoint_store_remove(m->checkpoints, id);
    return status;
}

static void install(void *arg, uint64_t index, uint64_t term)
{
    struct metaserver *m = arg;
    struct err_text why = {""};
    checkpointer_cancel(m); /* it reads the database that goes */
    fsck_cancel(m->fsck);
    dumper_close_all(m->dumper);
    (void)meta_commit(m); /* or the transaction would outlive its database */
    queries_close(m->queries);
    if (meta_swap_database(m, &why) != 0 || queries_open(m->queries, m->fs, m->view) != 0) {
        log_error("meta.database", "why=\"%s\": ending; the next start builds it anew", why.text);
        exit(3);
    }
    m->checkpoint = (struct checkpoint_id){index, term};
}

static void checkpoint_lost(void *arg)
{
    checkpointer_force(arg);
}

static int joined(void *arg)
{
    struct metaserver *m = arg;
    m->standing.state = STANDING_MEMBER;
    log_info("meta.joined", "this node counts from now on");
    return meta_store_standing(m);
}

/* What the kernel could not write it may have dropped, pages of the database among it. */
static void disk_failed(void *arg)
{
    (void)arg;
    meta_distrust_database();
}

static const struct raft_driver_ops driver_ops = {
    .apply = meta_apply,
    .role_changed = meta_role_changed,
    .load = load,
    .install = install,
    .checkpoint_lost = checkpoint_lost,
    .joined = joined,
    .disk_failed = disk_failed,
};

static void on_tick(void *arg)
{
    struct metaserver *m = arg;
    loop_timer_start_ms(&m->tick, META_TICK_MS);
    if (!m->driver)
        return;
    checkpointer_tick(m);
    space_tick(m);
    dumper_tick(m);
    meta_leader_tick(m);
    if (!meta_is_ready(m))
        return;
    sessions_tick(m);
    targets_tick(m);
    jobs_tick(m);
    collector_tick(m);
}

static void on_signal(void *arg, int signal_number)
{
    struct metaserver *m = arg;
    if (signal_number == SIGHUP)
        return;
    log_info("meta.stop", "signal=%d", signal_number);
    if (!m->is_leader || raft_config_voters(raft_driver_config(m->driver)) == 1 || m->is_stopping) {
        loop_stop(m->loop);
        return;
    }
    /* Clients find a leader at once when there is one: hand over first, but not for ever. */
    m->is_stopping = true;
    loop_timer_start_ms(&m->stop_timer, 2 * m->options.election);
    raft_driver_transfer(m->driver);
}

static void on_stop_timer(void *arg)
{
    struct metaserver *m = arg;
    log_warn("meta.stop", "nobody took over the leadership");
    loop_stop(m->loop);
}

static int start_driver(struct metaserver *m, struct err_text *why)
{
    struct raft_options raft;
    raft_options_defaults(&raft);
    raft.heartbeat_ms = (uint32_t)m->options.heartbeat;
    raft.election_ms_min = (uint32_t)m->options.election;
    raft.election_ms_max = 2 * (uint32_t)m->options.election;
    raft.lease_ms = (uint32_t)m->options.election * 3 / 4;
    struct raft_driver_options options = {
        .loop = m->loop,
        .self = (uint32_t)m->options.id,
        .address = m->address,
        .source = m->options.listen,
        .config = &m->config,
        .joining = m->standing.state == STANDING_JOINING,
        .identity = &m->identity,
        .table_version = table_version,
        .raft = &raft,
        .snapshot_rate = m->options.snapshot_rate,
        .log = m->log,
        .checkpoints = m->checkpoints,
        .recovery = &m->recovery,
        .take_entries = &m->gathered,
        .checkpoint = m->checkpoint,
        .applied_index = meta_applied(m),
        .ops = &driver_ops,
        .arg = m,
    };
    return raft_driver_create(&options, &m->driver, why);
}

static int start_queries(struct metaserver *m, struct err_text *why)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = cores > 1 ? (unsigned)cores - 1 : 0;
    if (count > m->options.query_threads)
        count = (unsigned)m->options.query_threads;
    struct queries_options options = {
        .loop = m->loop, .helper_count = count, .answer = meta_answer_queries, .arg = m};
    m->queries = queries_create(&options);
    int status = queries_open(m->queries, m->fs, m->view);
    return status == 0 ? 0
                       : err_set((enum err) - status, why, "cannot read the database: %s",
                                 err_text(status));
}

static int start_server(struct metaserver *m, struct err_text *why)
{
    struct rpc_server_options options = {
        .address = m->options.listen,
        .identity = &m->identity,
        .dispatch = meta_dispatch,
        .event = meta_server_event,
        .table_version = table_version,
        .arg = m,
    };
    return rpc_server_create(m->loop, &options, &m->server, why);
}

/* The folder is new no more: how to start is known and stored. */
static void on_decided(struct metaserver *m)
{
    struct err_text why = {""};
    m->config = m->standing.first;
    if (start_driver(m, &why) != 0) {
        log_error("meta.start", "why=\"%s\"", why.text);
        (void)fprintf(stderr, "cairn-metaserver: %s\n", why.text);
        exit(3);
    }
}

static int start(struct metaserver *m, struct err_text *why)
{
    int status = meta_parse_peers(m, why);
    if (status == 0 && (m->options.shards & (m->options.shards - 1)) != 0)
        status = err_set(ERR_CONFIG, why, "shards = %llu is not a power of two",
                         (unsigned long long)m->options.shards);
    if (status == 0 && m->options.force_new_cluster)
        status = meta_may_recover(m, why);
    if (status == 0)
        status = meta_open(m, why);
    if (status == 0 && m->options.force_new_cluster)
        return meta_force_new_cluster(m, why);
    if (status != 0)
        return status;
    m->identity = (struct rpc_identity){.cluster = m->cluster,
                                        .role = ROLE_META,
                                        .node = (uint32_t)m->options.id,
                                        .instance = random_u64()};
    m->results = meta_results_create();
    m->checkpointer = checkpointer_create(m);
    m->fsck = fsck_create(m);
    m->space = space_create(m);
    m->dumper = dumper_create();
    m->collector = collector_create();
    m->planner = planner_create();
    m->jobs = jobs_create();
    m->plan = calloc(1, sizeof *m->plan);
    CHECK(m->plan != NULL);
    status = start_queries(m, why);
    if (status != 0)
        return status;
    /* Listening first: a port in use ends the start before raft has said anything. Requests are
     * read in the loop, when the driver is there. */
    status = start_server(m, why);
    if (status == 0 && m->standing.state == STANDING_NEW)
        m->founding = founding_start(m, on_decided);
    else if (status == 0)
        status = start_driver(m, why);
    return status;
}

static void stop(struct metaserver *m, bool is_clean)
{
    loop_timer_stop(&m->tick);
    loop_timer_stop(&m->stop_timer);
    if (m->server)
        rpc_server_quiesce(m->server);
    founding_stop(m->founding);
    checkpointer_destroy(m->checkpointer);
    m->is_stopping = true;
    space_destroy(m->space);
    queries_destroy(m->queries); /* while the driver can say whether they may be answered */
    if (m->driver)
        raft_driver_destroy(m->driver); /* answers what waits for it */
    m->driver = NULL;
    fsck_destroy(m->fsck); /* after the driver: a read may have waited for it */
    dumper_destroy(m->dumper);
    sessions_stop(m);
    targets_stop(m);
    if (m->server)
        rpc_server_destroy(m->server);
    collector_destroy(m->collector);
    planner_destroy(m->planner);
    jobs_destroy(m->jobs);
    free(m->plan);
    meta_results_destroy(m->results);
    meta_close(m, is_clean);
}

static int complain(const char *text)
{
    (void)fprintf(stderr, "cairn-metaserver: %s\n", text);
    return 1;
}

static int configure(struct metaserver *m, int argc, char **argv, bool *ret_run)
{
    struct conf_command command;
    struct err_text why = {""};
    enum log_level level;
    *ret_run = false;
    if (conf_load(option_table, OPTION_COUNT, &m->options, argc, argv, &command, &why) != 0)
        return complain(why.text) + 1;
    if (command.help) {
        (void)printf("Usage: cairn-metaserver [--config FILE] [OPTION...]\n"
                     "One member of the metadata service of a Cairn cluster.\n\n");
        conf_help(option_table, OPTION_COUNT);
        return 0;
    }
    if (command.version) {
        (void)printf("cairn-metaserver %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (command.first_argument < argc)
        return complain("takes no arguments besides options; try --help") + 1;
    if (uuid_parse(m->options.cluster, &m->cluster) != 0)
        return complain("cluster is not a uuid; `cairn dev up` writes a configuration") + 1;
    if (m->options.data[0] == '\0')
        return complain("data (the folder to keep everything in) is not set") + 1;
    if (log_level_parse(m->options.log_level, &level) != 0)
        return complain("log_level is none of error, warn, info, debug") + 1;
    if (command.check_only)
        return 0;
    if (log_open(m->options.log_file[0] ? m->options.log_file : NULL, level) != 0)
        return complain("cannot write the log file");
    *ret_run = true;
    return 0;
}

int main(int argc, char **argv)
{
    static struct metaserver m;
    struct err_text why = {""};
    bool run;
    int code = configure(&m, argc, argv, &run);
    if (!run) {
        conf_release(option_table, OPTION_COUNT, &m.options);
        return code;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    meta_catch_faults(m.options.data);
    list_init(&m.proposals);
    map_init(&m.sessions, random_u64());
    map_init(&m.removing, random_u64());
    map_init(&m.heard, random_u64());
    m.loop = loop_create();
    loop_watch_signals(m.loop, on_signal, &m);
    loop_timer_init(&m.tick, m.loop, on_tick, &m);
    meta_apply_init(&m);
    loop_timer_init(&m.stop_timer, m.loop, on_stop_timer, &m);
    if (start(&m, &why) != 0) {
        code = complain(why.text);
        stop(&m, false);
    } else if (m.options.force_new_cluster) {
        stop(&m, false);
    } else {
        loop_timer_start_ms(&m.tick, META_TICK_MS);
        log_info("meta.start", "id=m%llu listen=%s applied=%llu checkpoint=%llu",
                 (unsigned long long)m.options.id, m.options.listen,
                 (unsigned long long)meta_applied(&m), (unsigned long long)m.checkpoint.index);
        loop_run(m.loop);
        stop(&m, true);
        log_info("meta.stopped", "clean=1");
    }
    conf_release(option_table, OPTION_COUNT, &m.options);
    return code;
}
