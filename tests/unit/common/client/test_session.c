/* Sessions, reclaim, the shard table, connecting and the blocking form. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/client/blocking.h"
#include "tests/unit/common/client/fixture.h"

/* The session lives by its keep-alives alone. */
static void keeps_alive(void)
{
    fx_sleep_ms(1500);
    CU_ASSERT(fx.meta->calls[MSG_session_alive] >= 3);
    CU_ASSERT_EQUAL(fx.meta->sessions_opened, 1);
}

/* D28: a lost session fails unflushed data with an error that stays until told, drops caches, and a
 * new session takes its place; open files stay open. */
static void lost_session(void)
{
    CU_ASSERT_EQUAL(fx_create(ROOT_INODE, "f"), 0);
    struct client_handle *h = fx.opened.handle;
    CU_ASSERT_EQUAL(fx_write(h, 0, "lost"), 0);
    fake_meta_expire(fx.meta);
    CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, "later"), 0); /* surely not run: goes into the next one */
    CU_ASSERT_EQUAL(fx.meta->sessions_opened, 2);
    CU_ASSERT_FALSE(client_handle_dirty(h));
    CU_ASSERT_EQUAL(fx.invalidated, 1);
    CU_ASSERT_EQUAL(fx_flush(h), -ERR_IO);
    CU_ASSERT_EQUAL(fx_flush(h), 0);
    CU_ASSERT_EQUAL(fx_write(h, 0, "kept"), 0);
    CU_ASSERT_EQUAL(fx_flush(h), 0);
    fx_sleep_ms(100);
    CU_ASSERT_EQUAL(fx.meta->reclaimed_inodes, 1); /* told to the new session */
    CU_ASSERT_EQUAL(fx.meta->inodes[client_handle_inode(h)].opens, 1);
    client_release(h);
}

/* A new leader asks for, and gets, the complete set of open files. */
static void reclaims_when_asked(void)
{
    CU_ASSERT_EQUAL(fx_create(ROOT_INODE, "a"), 0);
    struct client_handle *a = fx.opened.handle;
    CU_ASSERT_EQUAL(fx_create(ROOT_INODE, "b"), 0);
    struct client_handle *b = fx.opened.handle;
    fx.meta->inodes[client_handle_inode(a)].opens = 0; /* a leader that knows nothing */
    fx.meta->want_reclaim = true;
    unsigned before = fx.meta->reclaims;
    fx_sleep_ms(700);
    CU_ASSERT(fx.meta->reclaims > before);
    CU_ASSERT_EQUAL(fx.meta->inodes[client_handle_inode(a)].opens, 1);
    client_release(a);
    client_release(b);
    fx_sleep_ms(CLIENT_RELEASE_MS + 30);
    CU_ASSERT_EQUAL(fx.meta->inodes[2].opens + fx.meta->inodes[3].opens, 0);
}

/* A newer table version in any frame starts a fetch; those who wait for it are told. */
static void refreshes_the_table(void)
{
    unsigned before = fx.meta->calls[MSG_shard_table];
    fx.meta->table_version = 5;
    client_newer_table(fx.client, 1, loop_now_ms() + 2000, fx_on_done, NULL);
    CU_ASSERT_EQUAL(fx_wait(), 0);
    CU_ASSERT_EQUAL(client_table_version(fx.client), 5);
    fx.meta->table_version = 6;
    CU_ASSERT_EQUAL(fx_mkdir(ROOT_INODE, "x"), 0);
    fx_sleep_ms(100);
    CU_ASSERT_EQUAL(client_table_version(fx.client), 6);
    CU_ASSERT(fx.meta->calls[MSG_shard_table] >= before + 2);
    client_newer_table(fx.client, 6, loop_now_ms() + 300, fx_on_done, NULL);
    CU_ASSERT_EQUAL(fx_wait(), -ERR_TIMEOUT);
}

static void on_unready(void *arg, int status, struct client *client, const char *why)
{
    (void)arg;
    CU_ASSERT_PTR_NULL(client);
    snprintf(fx.why, sizeof fx.why, "%s", why);
    fx_on_done(NULL, status);
}

/* P6: no cluster is an error within the time asked, and its text names the address. */
static void no_cluster(void)
{
    uint64_t start_ms = loop_now_ms();
    client_create(fx.loop, &(struct client_options){.cluster = "127.0.0.1:1", .connect_ms = 500},
                  on_unready, NULL);
    CU_ASSERT_EQUAL(fx_wait(), -ERR_UNREACHABLE);
    CU_ASSERT(loop_now_ms() - start_ms < 1500);
    CU_ASSERT_PTR_NOT_NULL(strstr(fx.why, "127.0.0.1:1"));
    client_create(fx.loop, &(struct client_options){.cluster = "/no/such/folder"}, on_unready,
                  NULL);
    CU_ASSERT_EQUAL(fx_wait(), -ERR_CONFIG);
}

/* Cluster texts: lists, default ports, folders. */
static void cluster_texts(void)
{
    struct client_cluster cluster;
    CU_ASSERT_EQUAL(client_cluster_parse("a, b:7 ,[::1]", &cluster, NULL), 0);
    CU_ASSERT_EQUAL(cluster.count, 3);
    CU_ASSERT_STRING_EQUAL(cluster.address[0], "a:7001");
    CU_ASSERT_STRING_EQUAL(cluster.address[1], "b:7");
    CU_ASSERT_STRING_EQUAL(cluster.address[2], "[::1]:7001");
    CU_ASSERT_EQUAL(client_cluster_parse("", &cluster, NULL), -ERR_CONFIG);
    CU_ASSERT_EQUAL(client_cluster_parse(",,", &cluster, NULL), -ERR_CONFIG);
    char folder[] = "/tmp/cairn-client-XXXXXX", path[64];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/metaservers", folder);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("# local\n127.0.0.1:7001\n127.0.0.1:7002\n", file);
    fclose(file);
    CU_ASSERT_EQUAL(client_cluster_parse(folder, &cluster, NULL), 0);
    CU_ASSERT_EQUAL(cluster.count, 2);
    unlink(path);
    rmdir(folder);
}

struct blocking_test {
    char address[64];
    int failures;
};

static void *use_blocking(void *arg)
{
    struct blocking_test *t = arg;
    struct blocking_client *b = NULL;
    char why[BLOCKING_WHY_SIZE];
    struct wire_attr attr;
    struct client_opened opened;
    char data[8] = "";
    size_t size = 0;
    t->failures += blocking_start(&(struct client_options){.cluster = t->address}, &b, why) != 0;
    t->failures += blocking_mkdir(b, &root, ROOT_INODE, slice_str("d"), 0755, &attr) != 0;
    t->failures += blocking_resolve(b, &root, "/d", &attr) != 0;
    t->failures += blocking_create_file(b, &root, attr.inode, slice_str("f"), 0644,
                                        OPEN_READ | OPEN_WRITE, &opened) != 0;
    struct buf *block = buf_create(4);
    memcpy(block->data, "data", 4);
    t->failures += blocking_write(b, opened.handle, 0, block, 0, 4) != 0;
    t->failures += blocking_read(b, opened.handle, 0, data, sizeof data, &size) != 0;
    t->failures += size != 4 || memcmp(data, "data", 4) != 0;
    t->failures += blocking_release(b, opened.handle) != 0;
    t->failures += blocking_resolve(b, &root, "d//f", &attr) != 0;
    t->failures += blocking_resolve(b, &root, "/d/none", &attr) != -ERR_NO_ENTRY;
    t->failures += blocking_stop(b) != 0;
    loop_stop(fx.loop);
    return NULL;
}

/* The blocking form from another thread: a loop of its own, every call answered. */
static void blocking_calls(void)
{
    struct blocking_test t = {.failures = 0};
    pthread_t thread;
    snprintf(t.address, sizeof t.address, "%s", rpc_server_address(fx.meta->server));
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, use_blocking, &t), 0);
    loop_run(fx.loop);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(t.failures, 0);
}

#define TESTS(T)           \
    T(keeps_alive)         \
    T(lost_session)        \
    T(reclaims_when_asked) \
    T(refreshes_the_table) \
    T(no_cluster)          \
    T(cluster_texts)       \
    T(blocking_calls)
CU_TestInfo tests_session[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
