/* A full disk (R21): a small ext4 on a loop device. Needs root and loop devices; says when it has
 * to leave the test out. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

enum { SEGMENT = 512 << 10 };

static struct model model;

__attribute__((format(printf, 1, 2))) static bool run(const char *format, ...)
{
    char command[900];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(command, sizeof command, format, list);
    va_end(list);
    return system(command) == 0;
}

static bool mount_small(char *image, size_t size)
{
    (void)snprintf(image, size, "/tmp/metastore-%d.img", (int)getpid());
    char folder[300];
    (void)snprintf(folder, sizeof folder, "%s/log", fixture_folder);
    return geteuid() == 0 &&
           run("truncate -s 7M '%s' && mkfs.ext4 -q -F '%s' 2>/dev/null", image, image) &&
           run("mkdir '%s'", folder) && run("mount -o loop '%s' '%s' 2>&1", image, folder);
}

/* Appends until there is no room; how many entries went in is in the model. */
static int fill(struct log_store *store)
{
    int result = 0;
    while (result == 0) {
        result = log_put(store, &model, model.last + 1, 20, 1);
        if (result == 0)
            result = log_store_sync(store);
        if (result == 0)
            (void)log_store_prepare_spare(store);
    }
    return result;
}

/* R21: the store says it is low one whole segment before it refuses; the refusal writes nothing and
 * is not for ever; a full disk does not keep it from starting; the ballast or a trim lets it go on.
 */
static void disk_full(void)
{
    char image[64];
    if (!mount_small(image, sizeof image)) {
        printf("# left out: needs root and a loop device\n");
        (void)unlink(image);
        return;
    }
    struct log_store *store = NULL;
    struct log_recovery recovery;
    struct log_range range;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    CU_ASSERT(!log_store_space_low(store));
    uint64_t low_at = 0;
    int result = 0;
    while (result == 0) {
        result = log_put(store, &model, model.last + 1, 5, 1);
        if (result == 0)
            result = log_store_sync(store);
        (void)log_store_prepare_spare(store);
        if (low_at == 0 && log_store_space_low(store))
            low_at = model.last;
    }
    CU_ASSERT_EQUAL(result, -ERR_NO_SPACE);
    log_store_range(store, &range);
    printf("# disk full: low at entry %llu, refused behind %llu\n", (unsigned long long)low_at,
           (unsigned long long)range.durable_index);
    CU_ASSERT(low_at > 0 && range.durable_index > low_at + 100);
    CU_ASSERT_EQUAL(log_store_sync(store), -ERR_NO_SPACE); /* not for ever, and again */
    CU_ASSERT_EQUAL(log_store_set_vote(store, 5, 1), 0);   /* elections go on */
    model.last = range.durable_index;
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT_EQUAL(recovery.verdict, LOG_CLEAN);
    CU_ASSERT(log_equals(store, &model));
    CU_ASSERT_EQUAL(log_put(store, &model, model.last + 1, 5, 1), 0);
    CU_ASSERT_EQUAL(log_store_trim(store, model.last - 100), 0); /* a checkpoint was taken */
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    log_store_range(store, &range);
    model.first = range.first_index;
    CU_ASSERT(log_equals(store, &model));
    CU_ASSERT_EQUAL(fill(store), -ERR_NO_SPACE);
    log_store_close(store);
    char folder[300];
    (void)snprintf(folder, sizeof folder, "%s/log", fixture_folder);
    CU_ASSERT(run("umount '%s' && rm -f '%s'", folder, image));
}

CU_TestInfo log_space_tests[] = {{"disk full", disk_full}, CU_TEST_INFO_NULL};
