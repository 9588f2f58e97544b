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

enum { WORKERS_DEFAULT = 16, DRAIN_MS = 2000, BOOT_ID_SIZE = 64 };

int64_t clock_now_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the folder ---- */

/* Missing: made. Empty: becomes a target. Anything else has to be one already (D16, D17). */
static int folder_prepare(const char *path, bool *ret_init, struct err_text *why)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_set(ERR_CONFIG, why, "data folder %.150s cannot be made: %s", path,
                       strerror(errno));
    DIR *folder = opendir(path);
    if (!folder)
        return err_set(ERR_CONFIG, why, "data folder %.150s cannot be read: %s", path,
                       strerror(errno));
    bool empty = true;
    for (struct dirent *e; (e = readdir(folder));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            empty = false;
    (void)closedir(folder);
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
static int store_refused(const struct chunkserver *cs, int status, struct err_text *why)
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
    return err_set((enum err) - status, why, "data folder %.80s: %.100s: %s", cs->config.data,
                   reason.text[0] ? reason.text : err_text(status), advice);
}

static int store_start(struct chunkserver *cs, struct err_text *why)
{
    static const char *const starts[] = {"new", "clean", "killed", "scanned"};
    char boot_id[BOOT_ID_SIZE];
    struct store_entry entry;
    struct store_cursor cursor = {0};
    uint32_t count = 0;
    bool init = false;
    int status = folder_prepare(cs->config.data, &init, why);
    if (status != 0)
        return status;
    boot_id_read(boot_id);
    struct store_options options = {.cluster = cs->config.cluster,
                                    .init = init,
                                    .reserve_per_mille = cs->config.reserve_per_mille,
                                    .boot_id = boot_id};
    status = store_open(cs->config.data, &options, &cs->store, &cs->info, why);
    if (status != 0)
        return store_refused(cs, status, why);
    cs->data_fd = open(cs->config.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cs->data_fd < 0)
        return err_set(ERR_IO, why, "data folder %.150s: %s", cs->config.data, strerror(errno));
    cs->flushed = cs->info.start == STORE_START_NEW || cs->info.start == STORE_START_CLEAN;
    status = store_suspects(cs->store, &cursor, &entry, 1, &count);
    cs->has_suspects = count > 0;
    char target[UUID_TEXT_SIZE];
    uuid_format(&cs->info.target, target);
    log_info("store.open", "target=%s incarnation=%llu start=%s suspects=%s", target,
             (unsigned long long)cs->info.incarnation, starts[cs->info.start],
             cs->has_suspects ? "yes" : "no");
    return status == 0 ? housekeeping_start(cs) : status;
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
                                        .arg = cs};
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

/* Everything that can call back does so in here, into nothing. */
static int release(struct chunkserver *cs, bool abandon)
{
    int status = 0;
    cs->closing = true;
    loop_timer_stop(&cs->tick);
    heartbeat_stop(cs);
    table_stop(cs);
    peers_release(cs);
    if (cs->leader)
        rpc_leader_destroy(cs->leader);
    if (cs->pool)
        work_pool_destroy(cs->pool);
    driver_release(cs);
    while (!list_empty(&cs->pendings))
        pending_drop(CONTAINER_OF(cs->pendings.next, struct pending, node));
    if (cs->server)
        rpc_server_destroy(cs->server);
    if (cs->store && abandon)
        store_abandon(cs->store);
    else if (cs->store)
        status = store_close(cs->store);
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

int chunkserver_create(struct loop *loop, const struct chunkserver_config *config,
                       chunkserver_end_fn *ended, void *arg, struct chunkserver **ret_server,
                       struct err_text *why)
{
    *why = (struct err_text){""};
    CHECK(config->metaserver_count > 0 && config->metaserver_count <= CHUNKSERVER_METASERVERS_MAX);
    struct chunkserver *cs = allocate(loop, config);
    loop_timer_init(&cs->tick, loop, on_tick, cs);
    table_start(cs);
    loop_timer_init(&cs->heartbeat.timer, loop, on_tick, cs);
    int status = store_start(cs, why);
    if (status == 0) {
        cs->pool = work_pool_create(
            loop, config->worker_count ? config->worker_count : WORKERS_DEFAULT, WORKS_MAX);
        status = network_start(cs, why);
    }
    if (status != 0) {
        (void)release(cs, false);
        return status;
    }
    cs->ended = ended;
    cs->arg = arg;
    log_info("start", "name=%s address=%s host=%s data=%s", cs->config.name,
             rpc_server_address(cs->server), cs->config.host, cs->config.data);
    heartbeat_start(cs);
    loop_timer_start_ms(&cs->tick, TICK_MS);
    *ret_server = cs;
    return 0;
}

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
