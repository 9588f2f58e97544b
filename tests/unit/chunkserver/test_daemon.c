/* Several targets in one process: what happens to one does not happen to the others. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chunkserver/daemon.h"
#include "chunkserver/private.h"
#include "common/base/check.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

enum { WORKERS = 2, WAIT_MS = 60000 /* a disk under load takes its time */ };

static struct daemon *d;
static struct daemon_config config;
static char folders[4][128];
static bool ended, hangs;
static enum daemon_exit result;

static void on_end(void *arg, enum daemon_exit exit, bool does_hang)
{
    (void)arg;
    ended = true;
    result = exit;
    hangs = does_hang;
}

static void config_make(unsigned count)
{
    config = (struct daemon_config){.name = "c1", .listen = "127.0.0.1:0", .target_count = count};
    config.common =
        (struct chunkserver_config){.host = "c1",
                                    .cluster = f.cluster,
                                    .metaservers = {rpc_server_address(f.leader.server)},
                                    .metaserver_count = 1,
                                    .reserve_per_mille = 1,
                                    .worker_count = WORKERS};
    for (unsigned i = 0; i < count; i++) {
        struct daemon_target *t = &config.targets[i];
        (void)snprintf(folders[i], sizeof folders[i], "%s/d%u", f.folder, i + 1);
        *t = (struct daemon_target){.number = i + 1, .data = folders[i]};
        (void)snprintf(t->name, sizeof t->name, "c1.%u", i + 1);
        (void)snprintf(t->listen, sizeof t->listen, "127.0.0.1:0");
    }
}

static void start(void)
{
    ended = hangs = false;
    d = daemon_create(f.loop, &config, on_end, NULL);
}

static bool has_ended(void)
{
    return ended;
}

static void finish(enum daemon_exit wanted)
{
    CU_ASSERT_TRUE(run_until(has_ended, WAIT_MS));
    CU_ASSERT_EQUAL(result, wanted);
    CU_ASSERT_FALSE(hangs);
    memset(f.servers, 0, sizeof f.servers);
    daemon_destroy(d);
}

static void stop(enum daemon_exit wanted)
{
    daemon_stop(d);
    finish(wanted);
}

static unsigned wanted_serving;
static bool so_many_have_leases(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 4; i++) {
        f.servers[i] = daemon_target(d, i + 1);
        count += f.servers[i] && chunkserver_has_lease(f.servers[i]);
    }
    return count == wanted_serving && daemon_serving(d) == wanted_serving;
}

static bool wait_serving(unsigned count)
{
    wanted_serving = count;
    return run_until(so_many_have_leases, WAIT_MS);
}

/* Chunks of one copy: each target holds some, none depends on another. */
static void start_formed(unsigned count)
{
    config_make(count);
    f.leader.targets_wanted = count;
    f.leader.copies = 1;
    start();
    CU_ASSERT_TRUE_FATAL(wait_serving(count));
    CU_ASSERT_TRUE_FATAL(run_until(all_insync, WAIT_MS));
}

/* A shard whose copy is at this target. */
static uint32_t shard_of(unsigned number)
{
    for (uint32_t n = 0; n < SHARDS; n++)
        if (member_at(n, 0) == number - 1)
            return n;
    CU_FAIL_FATAL("no shard");
    return 0;
}

static int write_one(unsigned number, uint32_t shard)
{
    static uint64_t inode = 1000;
    struct chunk_id id = {++inode, 0, 1};
    struct rpc_peer_options options = {.address = chunkserver_address(f.servers[number - 1]),
                                       .identity = &f.client};
    if (f.peers[number - 1])
        rpc_peer_destroy(f.peers[number - 1]);
    f.peers[number - 1] = rpc_peer_create(f.loop, &options);
    return client_write(number - 1, &id, shard, 0, "abc", 3, CHUNK_WRITE_CREATE | CHUNK_WRITE_SYNC);
}

static const struct target *row_of(const char *name)
{
    for (unsigned i = 0; i < f.leader.table.target_count; i++)
        if (strcmp(f.leader.table.targets[i].name, name) == 0)
            return &f.leader.table.targets[i];
    return NULL;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static unsigned entries_in(const char *path)
{
    unsigned count = 0;
    DIR *folder = opendir(path);
    CHECK(folder != NULL);
    while (readdir(folder))
        count++;
    (void)closedir(folder);
    return count - 2;
}

/* Each has its own id, name and address, all the same host; a stop says goodbye for each. */
static void each_target_serves(void)
{
    start_formed(3);
    for (unsigned i = 1; i <= 3; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "c1.%u", i);
        const struct target *t = row_of(name);
        CHECK(t != NULL);
        CU_ASSERT_EQUAL(t->id, chunkserver_target(daemon_target(d, i)));
        CU_ASSERT_STRING_EQUAL(t->host, "c1");
        CU_ASSERT_STRING_EQUAL(t->address, chunkserver_address(daemon_target(d, i)));
        CU_ASSERT_EQUAL(write_one(i, shard_of(i)), 0);
    }
    CU_ASSERT_EQUAL(f.leader.table.target_count, 3);
    stop(DAEMON_GOOD);
    CU_ASSERT_EQUAL(f.leader.goodbyes, 3);
    start();
    CU_ASSERT_TRUE(wait_serving(3));
    CU_ASSERT_EQUAL(f.leader.table.target_count, 3);
    CU_ASSERT_EQUAL(daemon_target(d, 2)->info.start, STORE_START_CLEAN);
    stop(DAEMON_GOOD);
}

static bool second_is_told_failed(void)
{
    const struct target *second = row_of("c1.2");
    return second && f.leader.last[second->id].failed == 1 && daemon_serving(d) == 2;
}

/* P5: a failed disk is told and ends its target; the others go on, and the end tells of it. */
static void failed_disk_ends_its_target_only(void)
{
    start_formed(3);
    uint32_t shard = shard_of(3);
    heartbeat_fail(daemon_target(d, 2));
    CU_ASSERT_TRUE(run_until(second_is_told_failed, WAIT_MS));
    CU_ASSERT_PTR_NULL(daemon_target(d, 2));
    CU_ASSERT_TRUE(wait_serving(2));
    CU_ASSERT_EQUAL(write_one(3, shard), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(daemon_trouble(d), "d2 has failed"));
    struct err_text why;
    CU_ASSERT_EQUAL(daemon_reload(d, &config, &why), 0);
    run_ms(300);
    CU_ASSERT_EQUAL(daemon_serving(d), 2);
    CU_ASSERT_FALSE(ended);
    stop(DAEMON_TARGET_FAILED);
}

/* Nothing left to serve: the process has no reason to stay. */
static void all_failed_ends(void)
{
    start_formed(2);
    heartbeat_fail(daemon_target(d, 1));
    heartbeat_fail(daemon_target(d, 2));
    finish(DAEMON_TARGET_FAILED);
}

/* ---- a disk that hangs ---- */

static struct hang {
    struct work work;
    pthread_mutex_t *lock;
} hung[WORKERS];

static void hang_run(struct work *work)
{
    struct hang *h = CONTAINER_OF(work, struct hang, work);
    CHECK(pthread_mutex_lock(h->lock) == 0);
    CHECK(pthread_mutex_unlock(h->lock) == 0);
}

static void hang_done(struct work *work)
{
    (void)work;
}

/* D22: while all workers of one target wait for their disk, the others serve; so they do while it
 * is given up and cannot be closed. Once the disk answers, it ends as any other. */
static void hung_disk_stalls_nobody_else(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    start_formed(2);
    uint32_t shard = shard_of(2);
    CHECK(pthread_mutex_lock(&lock) == 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        hung[i] = (struct hang){.work = {.run = hang_run, .done = hang_done}, .lock = &lock};
        CHECK(work_submit(daemon_target(d, 1)->pool, &hung[i].work) == 0);
    }
    run_ms(300);
    CU_ASSERT_EQUAL(write_one(2, shard), 0);
    heartbeat_fail(daemon_target(d, 1));
    CU_ASSERT_TRUE(wait_serving(1));
    CU_ASSERT_PTR_NULL(daemon_target(d, 1));
    run_ms(300);
    CU_ASSERT_EQUAL(write_one(2, shard), 0);
    CU_ASSERT_FALSE(ended);
    daemon_stop(d);
    run_ms(300);
    CU_ASSERT_FALSE(ended);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    finish(DAEMON_TARGET_FAILED);
}

static bool nothing_is_busy(void)
{
    return daemon_busy(d) == 0;
}

/* A disk that hangs at the end is waited for, but not for ever; nothing else is cut short by that.
 */
static void end_does_not_wait_for_ever(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    config_make(2);
    config.close_ms = 500;
    f.leader.targets_wanted = 2;
    f.leader.copies = 1;
    start();
    CU_ASSERT_TRUE_FATAL(wait_serving(2));
    run_ms(800);
    CU_ASSERT_FALSE(ended);
    CHECK(pthread_mutex_lock(&lock) == 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        hung[i] = (struct hang){.work = {.run = hang_run, .done = hang_done}, .lock = &lock};
        CHECK(work_submit(daemon_target(d, 1)->pool, &hung[i].work) == 0);
    }
    heartbeat_fail(daemon_target(d, 1));
    CU_ASSERT_TRUE(wait_serving(1));
    run_ms(800);
    CU_ASSERT_FALSE(ended); /* the other one serves */
    daemon_stop(d);
    CU_ASSERT_TRUE(run_until(has_ended, WAIT_MS));
    CU_ASSERT_TRUE(hangs);
    CU_ASSERT_EQUAL(result, DAEMON_TARGET_FAILED);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    CU_ASSERT_TRUE_FATAL(run_until(nothing_is_busy, WAIT_MS)); /* a process would be gone by now */
    memset(f.servers, 0, sizeof f.servers);
    daemon_destroy(d);
}

/* ---- disks that are not there ---- */

static bool second_is_in_trouble(void)
{
    return daemon_serving(d) == 1 && strstr(daemon_trouble(d), "is its disk mounted") != NULL;
}

/* D16, D17: a folder that is missing or empty where a target was before is left alone; the others
 * serve, the end tells, and when the disk is back a reload serves it as what it was. */
static void missing_disk_is_not_made_anew(void)
{
    char away[160];
    (void)snprintf(away, sizeof away, "%s/away", f.folder);
    start_formed(2);
    stop(DAEMON_GOOD);
    for (unsigned empty = 0; empty < 2; empty++) {
        CHECK(rename(folders[1], away) == 0 && (!empty || mkdir(folders[1], 0755) == 0));
        start();
        CU_ASSERT_TRUE(run_until(second_is_in_trouble, WAIT_MS));
        CU_ASSERT_TRUE(wait_serving(1));
        CU_ASSERT_EQUAL(exists(folders[1]), empty);
        CU_ASSERT_TRUE(!empty || entries_in(folders[1]) == 0);
        if (!empty) {
            stop(DAEMON_STARTUP);
            CHECK(rename(away, folders[1]) == 0);
        }
    }
    CHECK(rmdir(folders[1]) == 0 && rename(away, folders[1]) == 0);
    struct err_text why;
    CU_ASSERT_EQUAL(daemon_reload(d, &config, &why), 0);
    CU_ASSERT_TRUE(wait_serving(2));
    CU_ASSERT_STRING_EQUAL(daemon_trouble(d), "");
    CU_ASSERT_EQUAL(f.leader.table.target_count, 2);
    stop(DAEMON_GOOD);
}

/* The first start makes the folders; later ones are made when somebody says so, and are served
 * after a reload. What is a target already is not made again. */
static void later_disks_are_made_by_command(void)
{
    struct uuid uuid;
    struct err_text why;
    start_formed(2);
    struct daemon_config first = config;
    config_make(3);
    struct daemon_config more = config;
    config = first;
    CU_ASSERT_EQUAL(daemon_reload(d, &more, &why), 0);
    run_ms(500);
    CU_ASSERT_EQUAL(daemon_serving(d), 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(daemon_trouble(d), "--init 3"));
    CU_ASSERT_EQUAL(daemon_make_target(&more, 4, &uuid, &why), -ERR_CONFIG);
    CU_ASSERT_EQUAL(daemon_make_target(&more, 2, &uuid, &why), -ERR_NOT_EMPTY_STATE);
    CU_ASSERT_EQUAL(daemon_make_target(&more, 3, &uuid, &why), 0);
    CU_ASSERT_EQUAL(daemon_make_target(&more, 3, &uuid, &why), -ERR_NOT_EMPTY_STATE);
    CU_ASSERT_EQUAL(daemon_reload(d, &more, &why), 0);
    CU_ASSERT_TRUE(wait_serving(3));
    CU_ASSERT_EQUAL(memcmp(chunkserver_uuid(daemon_target(d, 3)), &uuid, sizeof uuid), 0);
    stop(DAEMON_GOOD);
}

static bool one_goodbye(void)
{
    return f.leader.goodbyes == 1 && daemon_serving(d) == 1;
}

/* A reload stops what is not configured any more, starts what is again, and refuses to become
 * another server. */
static void reload_follows_the_configuration(void)
{
    struct err_text why;
    start_formed(2);
    struct daemon_config less = config, other = config;
    less.target_count = 1;
    other.name = "c2";
    CU_ASSERT_EQUAL(daemon_reload(d, &other, &why), -ERR_CONFIG);
    CU_ASSERT_EQUAL(daemon_reload(d, &less, &why), 0);
    CU_ASSERT_TRUE(run_until(one_goodbye, WAIT_MS));
    run_ms(300);
    CU_ASSERT_FALSE(ended);
    CU_ASSERT_EQUAL(daemon_reload(d, &config, &why), 0);
    CU_ASSERT_TRUE(wait_serving(2));
    CU_ASSERT_EQUAL(f.leader.table.target_count, 2);
    CU_ASSERT_EQUAL(daemon_reload(d, &less, &why), 0);
    CU_ASSERT_EQUAL(daemon_reload(d, &config, &why), 0); /* while it is being stopped */
    run_ms(300);
    CU_ASSERT_TRUE(wait_serving(2));
    stop(DAEMON_GOOD);
}

/* Two copies of a target are one target: the second folder is refused, whoever is first. */
static void copied_folder_is_refused(void)
{
    char command[400];
    struct err_text why;
    start_formed(1);
    stop(DAEMON_GOOD);
    config_make(2);
    (void)snprintf(command, sizeof command, "cp -a '%s' '%s'", folders[0], folders[1]);
    CHECK(system(command) == 0); // NOLINT(cert-env33-c)
    start();
    CU_ASSERT_TRUE(wait_serving(1));
    run_ms(300);
    CU_ASSERT_EQUAL(daemon_serving(d), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(daemon_trouble(d), "is a copy of"));
    CU_ASSERT_EQUAL(daemon_reload(d, &config, &why), 0);
    run_ms(300);
    CU_ASSERT_EQUAL(daemon_serving(d), 1);
    CU_ASSERT_EQUAL(f.leader.table.target_count, 1);
    stop(DAEMON_STARTUP);
}

/* As ever with one: what cannot be opened ends the process, with the reason. */
static void one_target_alone_ends(void)
{
    char file[160];
    config_make(1);
    CHECK(mkdir(folders[0], 0755) == 0);
    (void)snprintf(file, sizeof file, "%s/something", folders[0]);
    CHECK(mkdir(file, 0755) == 0);
    start();
    CU_ASSERT_TRUE(run_until(has_ended, WAIT_MS));
    CU_ASSERT_PTR_NOT_NULL(strstr(daemon_trouble(d), "mount the disk"));
    finish(DAEMON_STARTUP);
}

#define TESTS(T)                        \
    T(each_target_serves)               \
    T(failed_disk_ends_its_target_only) \
    T(all_failed_ends)                  \
    T(hung_disk_stalls_nobody_else)     \
    T(end_does_not_wait_for_ever)       \
    T(missing_disk_is_not_made_anew)    \
    T(later_disks_are_made_by_command)  \
    T(reload_follows_the_configuration) \
    T(copied_folder_is_refused)         \
    T(one_target_alone_ends)
CU_TestInfo daemon_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
