/* The folder of a local cluster: made, read back, names of its daemons. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/tools/test_tools.h"
#include "tools/dev_cluster.h"

#include "common/base/banned.h"

static char folder[64];
static struct dev_cluster made;
static struct err_text why;

static void make(void)
{
    struct dev_cluster wanted = {.meta_count = 3, .chunk_count = 2, .copies = 2};
    (void)snprintf(folder, sizeof folder, "/tmp/test-tools-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    CU_ASSERT_EQUAL_FATAL(dev_cluster_make(folder, &wanted, &made, &why), 0);
}

static void clean(void)
{
    static const char *const files[] = {"cluster.ini",
                                        "metaservers",
                                        "m1/metaserver.conf",
                                        "m2/metaserver.conf",
                                        "m3/metaserver.conf",
                                        "c1/chunkserver.conf",
                                        "c2/chunkserver.conf",
                                        "mount",
                                        "m1",
                                        "m2",
                                        "m3",
                                        "c1",
                                        "c2",
                                        ""};
    char path[160];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        (void)remove(path);
    }
}

/* What was made is what is read, with ports of its own for each daemon. */
static void made_is_read_back(void)
{
    struct dev_cluster read;
    make();
    CU_ASSERT_EQUAL_FATAL(dev_cluster_load(folder, &read, &why), 0);
    CU_ASSERT_EQUAL(memcmp(&read.uuid, &made.uuid, sizeof read.uuid), 0);
    CU_ASSERT_EQUAL(read.meta_count, 3);
    CU_ASSERT_EQUAL(read.chunk_count, 2);
    CU_ASSERT_EQUAL(read.copies, 2);
    CU_ASSERT_EQUAL(read.meta_port, made.meta_port);
    CU_ASSERT_EQUAL(read.chunk_port, made.chunk_port);
    CU_ASSERT_TRUE(read.meta_port + 3 <= read.chunk_port || read.chunk_port + 2 <= read.meta_port);
    CU_ASSERT_STRING_EQUAL(read.mount, "");
    clean();
}

/* A folder without cluster.ini is no cluster; more copies than servers are refused. */
static void no_cluster_is_told(void)
{
    struct dev_cluster read, wanted = {.meta_count = 3, .chunk_count = 2, .copies = 3};
    CU_ASSERT_EQUAL(dev_cluster_load("/nonexistent", &read, &why), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(dev_cluster_load("/", &read, &why), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(dev_cluster_make("/nonexistent", &wanted, &read, &why), -ERR_CONFIG);
}

/* Names and daemons map both ways; none of them runs. */
static void daemons_have_names(void)
{
    struct dev_daemon d;
    char name[DEV_NAME_MAX], address[64], expected[64];
    make();
    CU_ASSERT_EQUAL(dev_daemon_parse(&made, "m3", &d, &why), 0);
    CU_ASSERT_TRUE(d.kind == DEV_META && d.number == 3);
    CU_ASSERT_EQUAL(dev_daemon_parse(&made, "c2", &d, &why), 0);
    dev_daemon_name(d, name);
    CU_ASSERT_STRING_EQUAL(name, "c2");
    dev_daemon_address(&made, d, address, sizeof address);
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", made.chunk_port + 1);
    CU_ASSERT_STRING_EQUAL(address, expected);
    CU_ASSERT_EQUAL(dev_daemon_pid(&made, d), 0);
    CU_ASSERT_EQUAL(dev_daemon_parse(&made, "mount", &d, &why), 0);
    CU_ASSERT_EQUAL(dev_daemon_parse(&made, "c3", &d, &why), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(dev_daemon_parse(&made, "", &d, &why), -ERR_NO_ENTRY);
    clean();
}

/* One comes and one goes: numbers are never used again, ports are kept, all of it is read back. */
static void chunkservers_come_and_go(void)
{
    struct dev_cluster read;
    struct dev_daemon d;
    char path[160];
    make();
    CU_ASSERT_EQUAL_FATAL(dev_cluster_add_chunk(&made, &d, &why), 0);
    CU_ASSERT_TRUE(d.kind == DEV_CHUNK && d.number == 3);
    unsigned port = dev_daemon_port(&made, d);
    CU_ASSERT_EQUAL(dev_cluster_remove_chunk(&made, 3, &why), 0);
    CU_ASSERT_EQUAL(dev_cluster_remove_chunk(&made, 1, &why), 0);
    CU_ASSERT_EQUAL_FATAL(dev_cluster_add_chunk(&made, &d, &why), 0);
    CU_ASSERT_EQUAL(d.number, 4);
    CU_ASSERT_NOT_EQUAL(dev_daemon_port(&made, d), port);
    CU_ASSERT_EQUAL_FATAL(dev_cluster_load(folder, &read, &why), 0);
    CU_ASSERT_EQUAL(read.chunk_count, 2);
    CU_ASSERT_EQUAL(read.chunk_last, 4);
    CU_ASSERT_EQUAL(dev_daemon_parse(&read, "c1", &d, &why), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(dev_daemon_parse(&read, "c4", &d, &why), 0);
    CU_ASSERT_EQUAL(dev_daemon_port(&read, d), made.chunks[1].port);
    for (unsigned i = 3; i <= 4; i++) {
        (void)snprintf(path, sizeof path, "%s/c%u/chunkserver.conf", folder, i);
        (void)remove(path);
        (void)snprintf(path, sizeof path, "%s/c%u", folder, i);
        (void)remove(path);
    }
    clean();
}

/* With several targets in each chunkserver, each has as many ports, and its folders by number. */
static void targets_have_folders_and_ports(void)
{
    struct dev_cluster read, wanted;
    struct dev_daemon d;
    char path[DEV_PATH_MAX + 64], text[2048] = "", expected[160];
    make();
    clean();
    wanted = made;
    wanted.target_count = 3;
    CU_ASSERT_EQUAL_FATAL(dev_cluster_make(folder, &wanted, &made, &why), 0);
    CU_ASSERT_EQUAL_FATAL(dev_cluster_load(folder, &read, &why), 0);
    CU_ASSERT_EQUAL(read.target_count, 3);
    CU_ASSERT_EQUAL(dev_daemon_parse(&read, "c2", &d, &why), 0);
    CU_ASSERT_EQUAL(dev_daemon_port(&read, d), made.chunk_port + 3);
    dev_daemon_config(&read, d, path);
    FILE *in = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(in);
    CU_ASSERT_TRUE(fread(text, 1, sizeof text - 1, in) > 0);
    (void)fclose(in);
    (void)snprintf(expected, sizeof expected, "3 = %s/c2/data3\n", folder);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, expected));
    CU_ASSERT_PTR_NULL(strstr(text, "data ="));
    clean();
}

#define TESTS(T)                      \
    T(made_is_read_back)              \
    T(targets_have_folders_and_ports) \
    T(no_cluster_is_told)             \
    T(daemons_have_names)             \
    T(chunkservers_come_and_go)
CU_TestInfo tests_dev_cluster[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
