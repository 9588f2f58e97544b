/* One chunkserver: its parts are made, it serves, it drains, it ends. */
#include "chunkserver/chunkserver.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "chunkserver/private.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum { WORKERS_DEFAULT = 16, DRAIN_MS = 2000, CLOSING_POLL_MS = 10, BOOT_ID_SIZE = 64 };

int64_t clock_now_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the folder ---- */

/* Missing: made. Empty: becomes a target. Anything else has to be one already (D16, D17). With
 * keep_out neither is done: what should be a target is most likely not mounted. */
static int folder_prepare(const char *path, bool keep_out, bool *ret_init, struct err_text *why)
{
    if (!keep_out && mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_set(ERR_CONFIG, why, "data folder %.150s cannot be made: %s", path,
                       strerror(errno));
    DIR *folder = opendir(path);
    if (!folder && keep_out && errno == ENOENT)
        return err_set(ERR_NO_ENTRY, why, "data folder %.150s does not exist", path);
    if (!folder)
        return err_set(ERR_CONFIG, why, "data folder %.150s cannot be read: %s", path,
                       strerror(errno));
    bool empty = true;
    for (struct dirent *e; (e = readdir(folder));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, "lost+found") != 0)
            empty = false;
    (void)closedir(folder);
    if (empty && keep_out)
        return err_set(ERR_NO_ENTRY, why, "data folder %.150s is empty", path);
    *ret_init = empty;
    return 0;
}

static void boot_id_read(char ret_text[BOOT_ID_SIZE])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, ret_text, BOOT_ID_SIZE - 1) : 0;
    if (fd >= 0)
        (void)close(fd);
    ret_text[size > 0 ? size : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

/* The store says what is wrong; here is added what to do about it. */
static int store_refused(const struct chunkserver_config *config, int status, struct err_text *why)
{
    const char *advice = "check the disk";
    struct err_text reason = *why;
    if (status == -ERR_BUSY)
        advice = "stop it, or give this server a folder of its own (data in [node])";
    else if (status == -ERR_WRONG_CLUSTER)
        advice = "check cluster and data in [node]";
    else if (status == -ERR_CONFIG)
        advice = "mount the disk, or give an empty folder to make a new target";
    else if (status == -ERR_VERSION)
        advice = "a newer program wrote it; use that one";
    return err_set((enum err) - status, why, "data folder %.80s: %.100s: %s", config->data,
                   reason.text[0] ? reason.text : err_text(status), advice);
}

static int folder_open(const struct chunkserver_config *config, struct store **ret_store,
                       struct store_info *ret_info, struct err_text *why)
{
    char boot_id[BOOT_ID_SIZE];
    bool init = false;
    int status = folder_prepare(config->data, config->keep_out, &init, why);
    if (status != 0)
        return status;
    boot_id_read(boot_id);
    struct store_options options = {.cluster = config->cluster,
                                    .init = init,
                                    .reserve_per_mille = config->reserve_per_mille,
                                    .boot_id = boot_id,
                                    .open_chunks_max = config->open_chunks_max};
    status = store_open(config->data, &options, ret_store, ret_info, why);
    return status == 0 ? 0 : store_refused(config, status, why);
}

/* Any thread: nobody else knows of `cs` yet. */
static int store_start(struct chunkserver *cs, struct err_text *why)
{
    static const char *const starts[] = {"new", "clean", "killed", "scanned"};
    struct store_entry entry;
    struct store_cursor cursor = {0};
    uint32_t count = 0;
    int status = folder_open(&cs->config, &cs->store, &cs->info, why);
    if (status != 0)
        return status;
    cs->data_fd = open(cs->config.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cs->data_fd < 0)
        return err_set(ERR_IO, why, "data folder %.150s: %s", cs->config.data, strerror(errno));
    cs->flushed = cs->info.start == STORE_START_NEW || cs->info.start == STORE_START_CLEAN;
    status = store_suspects(cs->store, &cursor, &entry, 1, &count);
    cs->has_suspects = count > 0;
    char target[UUID_TEXT_SIZE];
    uuid_format(&cs->info.target, target);
    log_info("store.open", "name=%s target=%s incarnation=%llu start=%s suspects=%s",
             cs->config.name, target, (unsigned long long)cs->info.incarnation,
             starts[cs->info.start], cs->has_suspects ? "yes" : "no");
    return status == 0 ? housekeeping_start(cs) : status;
}

int chunkserver_make_target(const struct chunkserver_config *config, struct uuid *ret_target,
                            struct err_text *why)
{
    struct store *store;
    struct store_info info;
    bool init = false;
    *why = (struct err_text){""};
    int status = folder_prepare(config->data, false, &init, why);
    if (status == 0 && !init)
        status = err_set(ERR_NOT_EMPTY_STATE, why,
                         "data folder %.150s is not empty: nothing was changed", config->data);
    if (status == 0)
        status = folder_open(config, &store, &info, why);
    if (status != 0)
        return status;
    *ret_target = info.target;
    status = store_close(store);
    return status == 0 ? 0
                       : err_set(ERR_IO, why, "data folder %.150s cannot be written", config->data);
}

/* ---- life ---- */

void chunkserver_end(struct chunkserver *cs, enum chunkserver_end end)
{
    if (cs->life == LIFE_ENDED)
        return;
    cs->life = LIFE_ENDED;
    heartbeat_stop(cs);
    if (cs->ended)
        cs->ended(cs->arg, end);
}

static void drain_tick(struct chunkserver *cs)
{
    size_t busy = cs->driver.chain ? chain_busy_count(cs->driver.chain) : 0;
    bool late = loop_now_ms() >= cs->drain_until_ms;
    if (busy > 0 && !late)
        return;
    if (busy > 0)
        log_warn("stop.unfinished", "operations=%zu", busy);
    cs->life = LIFE_LEAVING;
    heartbeat_goodbye(cs);
}

static void on_tick(void *arg)
{
    struct chunkserver *cs = arg;
    struct chain_event e = {.kind = CHAIN_EVENT_TICK};
    if (cs->life == LIFE_ENDED)
        return;
    driver_event(cs, &e);
    heartbeat_tick(cs);
    housekeeping_tick(cs);
    left_tick(cs);
    inventory_tick(cs);
    if (cs->life == LIFE_DRAINING)
        drain_tick(cs);
    loop_timer_start_ms(&cs->tick, TICK_MS);
}

void chunkserver_stop(struct chunkserver *cs)
{
    CHECK_OBJ(cs, CHUNKSERVER_MAGIC);
    if (cs->life != LIFE_SERVING)
        return;
    log_info("stop.begin", "name=%s", cs->config.name);
    cs->life = LIFE_DRAINING;
    cs->drain_until_ms = loop_now_ms() + DRAIN_MS;
    rpc_server_quiesce(cs->server);
}

/* ---- making and ending ---- */

static const char *keep(struct chunkserver *cs, const char *text)
{
    char *copy = strdup(text ? text : "");
    CHECK(copy != NULL && cs->string_count < sizeof cs->strings / sizeof cs->strings[0]);
    cs->strings[cs->string_count++] = copy;
    return copy;
}

static void config_copy(struct chunkserver *cs, const struct chunkserver_config *from)
{
    cs->config = *from;
    cs->config.name = keep(cs, from->name);
    cs->config.host = keep(cs, from->host);
    cs->config.data = keep(cs, from->data);
    cs->config.listen = keep(cs, from->listen);
    for (unsigned i = 0; i < from->metaserver_count; i++)
        cs->config.metaservers[i] = keep(cs, from->metaservers[i]);
}

static struct chunkserver *allocate(struct loop *loop, const struct chunkserver_config *config)
{
    struct chunkserver *cs = calloc(1, sizeof *cs);
    CHECK(cs != NULL);
    cs->magic = CHUNKSERVER_MAGIC;
    cs->loop = loop;
    cs->data_fd = -1;
    config_copy(cs, config);
    list_init(&cs->pendings);
    list_init(&cs->driver.done);
    map_init(&cs->driver.kept, random_u64());
    map_init(&cs->driver.checked, random_u64());
    map_init(&cs->peers.by_target, random_u64());
    map_init(&cs->left.shards, random_u64());
    map_init(&cs->inventory.doubts, random_u64());
    shard_table_init(&cs->table, 0);
    CHECK(pthread_mutex_init(&cs->flush_lock, NULL) == 0);
    return cs;
}

static int network_start(struct chunkserver *cs, struct err_text *why)
{
    cs->identity = (struct rpc_identity){
        .cluster = cs->config.cluster, .role = ROLE_CHUNK, .instance = cs->info.incarnation};
    struct rpc_server_options server = {.address = cs->config.listen,
                                        .identity = &cs->identity,
                                        .dispatch = server_dispatch,
                                        .event = server_event,
                                        .table_version = server_table_version,
                                        .arg = cs,
                                        .request_bytes_max = cs->config.request_bytes_max};
    struct err_text reason = {""};
    int status = rpc_server_create(cs->loop, &server, &cs->server, &reason);
    if (status != 0)
        return err_set((enum err) - status, why, "%.150s: give a free address with listen in [net]",
                       reason.text);
    struct rpc_leader_options leader = {.addresses = cs->config.metaservers,
                                        .address_count = cs->config.metaserver_count,
                                        .identity = &cs->identity,
                                        .table_version = server_table_version,
                                        .arg = cs,
                                        .follow = true,
                                        .seed = random_u64()};
    cs->leader = rpc_leader_create(cs->loop, &leader);
    return 0;
}

/* Everything that can call back does so in here and in the workers' end, into nothing. */
static void release_network(struct chunkserver *cs)
{
    cs->closing = true;
    left_stop(cs);
    loop_timer_stop(&cs->tick);
    heartbeat_stop(cs);
    table_stop(cs);
    peers_release(cs);
    if (cs->leader)
        rpc_leader_destroy(cs->leader);
    cs->leader = NULL;
}

static int store_end(struct chunkserver *cs, bool abandon)
{
    struct store *store = cs->store;
    cs->store = NULL;
    if (store && abandon)
        store_abandon(store);
    return store && !abandon ? store_close(store) : 0;
}

static int release(struct chunkserver *cs, bool abandon)
{
    if (!cs->closing)
        release_network(cs);
    if (cs->pool)
        work_pool_destroy(cs->pool);
    left_release(cs);
    inventory_release(cs);
    driver_release(cs);
    while (!list_empty(&cs->pendings))
        pending_drop(CONTAINER_OF(cs->pendings.next, struct pending, node));
    if (cs->server)
        rpc_server_destroy(cs->server);
    int status = store_end(cs, abandon);
    if (cs->data_fd >= 0)
        (void)close(cs->data_fd);
    shard_table_release(&cs->table);
    bytes_release(&cs->body);
    CHECK(pthread_mutex_destroy(&cs->flush_lock) == 0);
    for (unsigned i = 0; i < cs->string_count; i++)
        free(cs->strings[i]);
    cs->magic = 0;
    free(cs);
    return status;
}

static struct chunkserver *prepare(struct loop *loop, const struct chunkserver_config *config,
                                   chunkserver_end_fn *ended, void *arg)
{
    CHECK(config->metaserver_count > 0 && config->metaserver_count <= CHUNKSERVER_METASERVERS_MAX);
    struct chunkserver *cs = allocate(loop, config);
    loop_timer_init(&cs->tick, loop, on_tick, cs);
    loop_timer_init(&cs->heartbeat.timer, loop, on_tick, cs);
    table_start(cs);
    cs->ended = ended;
    cs->arg = arg;
    cs->pool = work_pool_create(loop, config->worker_count ? config->worker_count : WORKERS_DEFAULT,
                                WORKS_MAX);
    return cs;
}

/* The store is open: from here on it is a member of the cluster. */
static int serve(struct chunkserver *cs, struct err_text *why)
{
    int status = network_start(cs, why);
    if (status != 0)
        return status;
    log_info("start", "name=%s address=%s host=%s data=%s", cs->config.name,
             rpc_server_address(cs->server), cs->config.host, cs->config.data);
    heartbeat_start(cs);
    inventory_start(cs);
    loop_timer_start_ms(&cs->tick, TICK_MS);
    return 0;
}

int chunkserver_create(struct loop *loop, const struct chunkserver_config *config,
                       chunkserver_end_fn *ended, void *arg, struct chunkserver **ret_server,
                       struct err_text *why)
{
    *why = (struct err_text){""};
    struct chunkserver *cs = prepare(loop, config, ended, arg);
    int status = store_start(cs, why);
    if (status == 0)
        status = serve(cs, why);
    if (status != 0) {
        (void)release(cs, false);
        return status;
    }
    *ret_server = cs;
    return 0;
}

/* ---- without blocking ---- */

static struct chunkserver *of_passage(struct work *work)
{
    return CONTAINER_OF(work, struct chunkserver, passage.work);
}

static void open_run(struct work *work)
{
    struct chunkserver *cs = of_passage(work);
    work->status = store_start(cs, &cs->passage.why);
}

static void open_done(struct work *work)
{
    struct chunkserver *cs = of_passage(work);
    cs->passage.running = false;
    int status = work->status == 0 ? serve(cs, &cs->passage.why) : work->status;
    cs->passage.opened(cs->arg, status, &cs->passage.why);
}

struct chunkserver *chunkserver_begin(struct loop *loop, const struct chunkserver_config *config,
                                      chunkserver_opened_fn *opened, chunkserver_end_fn *ended,
                                      void *arg)
{
    struct chunkserver *cs = prepare(loop, config, ended, arg);
    cs->passage.opened = opened;
    cs->passage.work = (struct work){.run = open_run, .done = open_done};
    cs->passage.running = true;
    CHECK(work_submit(cs->pool, &cs->passage.work) == 0);
    return cs;
}

static void close_run(struct work *work)
{
    struct chunkserver *cs = of_passage(work);
    /* What is not flushed on a disk that has failed stays so. */
    bool failed = cs->store && store_failed(cs->store, NULL) != 0;
    work->status = store_end(cs, failed);
}

static void close_done(struct work *work)
{
    struct chunkserver *cs = of_passage(work);
    cs->passage.running = false;
    cs->passage.store_closed = true;
    cs->passage.status = work->status;
}

/* First what is under way, then the store, then the workers; none of it is waited for. */
static void on_closing(void *arg)
{
    struct chunkserver *cs = arg;
    struct passage *p = &cs->passage;
    if (work_pool_pending(cs->pool) == 0 && p->store_closed) {
        chunkserver_closed_fn *closed = p->closed;
        void *closed_arg = cs->arg;
        int status = p->status;
        (void)release(cs, false);
        closed(closed_arg, status);
        return;
    }
    if (work_pool_pending(cs->pool) == 0) {
        p->work = (struct work){.run = close_run, .done = close_done};
        p->running = work_submit(cs->pool, &p->work) == 0;
    }
    loop_timer_start_ms(&p->timer, CLOSING_POLL_MS);
}

void chunkserver_close(struct chunkserver *cs, chunkserver_closed_fn *closed)
{
    CHECK_OBJ(cs, CHUNKSERVER_MAGIC);
    CHECK(!cs->closing && !cs->passage.running);
    cs->life = LIFE_ENDED;
    cs->passage.closed = closed;
    release_network(cs);
    if (cs->server)
        rpc_server_close(cs->server);
    loop_timer_init(&cs->passage.timer, cs->loop, on_closing, cs);
    loop_timer_start_ms(&cs->passage.timer, 0);
}

/* ---- the end at once ---- */

int chunkserver_destroy(struct chunkserver *cs)
{
    CHECK_OBJ(cs, CHUNKSERVER_MAGIC);
    return release(cs, false);
}

void chunkserver_abandon(struct chunkserver *cs)
{
    CHECK_OBJ(cs, CHUNKSERVER_MAGIC);
    (void)release(cs, true);
}

const char *chunkserver_address(const struct chunkserver *cs)
{
    return rpc_server_address(cs->server);
}

uint32_t chunkserver_target(const struct chunkserver *cs)
{
    return cs->target;
}

bool chunkserver_has_lease(const struct chunkserver *cs)
{
    return clock_now_ms() < cs->heartbeat.lease.expires_ms;
}

struct store *chunkserver_store(struct chunkserver *cs)
{
    return cs->store;
}

const struct uuid *chunkserver_uuid(const struct chunkserver *cs)
{
    return &cs->info.target;
}

uint64_t chunkserver_device(const struct chunkserver *cs)
{
    struct stat st;
    return fstat(cs->data_fd, &st) == 0 ? (uint64_t)st.st_dev : 0;
}
