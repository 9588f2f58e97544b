/* Failing syncs (R19) and a full disk (R21) under the log, by faults.c: no root, no loop device. */
#include "tests/unit/metaserver/faults.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

enum { SEGMENT = 64 << 10 };

static struct model model;
static struct log_store *store;

static void begin(void)
{
    *faults = (struct faults){0};
    store = NULL;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    CU_ASSERT_EQUAL(log_put(store, &model, 1, 3, 1), 0);
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
}

static int put_and_sync(void)
{
    int result = log_put(store, &model, model.last + 1, 1, 1);
    return result != 0 ? result : log_store_sync(store);
}

/* The disk is well again after its one failure, and is not asked any more: what the kernel dropped
 * would look as if it were written. */
static void expect_failed_for_ever(void)
{
    struct log_status status;
    uint64_t term = 100;
    CU_ASSERT_EQUAL(atomic_load(&faults->sync_errors), 0);
    CU_ASSERT_EQUAL(atomic_load(&faults->sync_count), 1);
    log_store_status(store, &status);
    CU_ASSERT(status.failed);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(put_and_sync(), -ERR_IO);
        CU_ASSERT_EQUAL(log_store_sync(store), -ERR_IO);
        CU_ASSERT_EQUAL(log_store_set_vote(store, term++, 1), -ERR_IO);
        CU_ASSERT_EQUAL(log_store_prepare_spare(store), -ERR_IO);
        CU_ASSERT_EQUAL(log_store_reset(store, 50, 1), -ERR_IO);
    }
    CU_ASSERT_EQUAL(atomic_load(&faults->sync_count), 1);
    *faults = (struct faults){0};
    log_store_close(store);
}

/* R19: one failed fdatasync of a batch. */
static void batch_sync_fails(void)
{
    begin();
    atomic_store(&faults->sync_errors, 1);
    CU_ASSERT_EQUAL(put_and_sync(), -ERR_IO);
    expect_failed_for_ever();
}

/* R19: of the vote: it was not given, and none is any more. */
static void vote_sync_fails(void)
{
    struct log_vote vote;
    begin();
    CU_ASSERT_EQUAL(log_store_set_vote(store, 5, 1), 0);
    atomic_store(&faults->sync_errors, 1);
    CU_ASSERT_EQUAL(log_store_set_vote(store, 6, 2), -ERR_IO);
    log_store_vote(store, &vote);
    CU_ASSERT(vote.term == 5 && vote.voted_for == 1);
    expect_failed_for_ever();
}

/* R19: each sync of a new spare, its file's and its folder's. The folder's error is told once, and
 * might be of the name of the segment in use. */
static void spare_sync_fails(void)
{
    for (unsigned skip = 0; skip < 2; skip++) {
        struct log_status status;
        begin();
        do { /* spares are taken until none is left */
            log_store_status(store, &status);
            CU_ASSERT_EQUAL_FATAL(status.spare_count > 0 ? put_and_sync() : 0, 0);
        } while (status.spare_count > 0);
        atomic_store(&faults->sync_skip, skip);
        atomic_store(&faults->sync_errors, 1);
        CU_ASSERT_EQUAL(log_store_prepare_spare(store), -ERR_IO);
        expect_failed_for_ever();
        fixture_teardown();
        fixture_setup();
    }
}

/* R19: any of the syncs when a segment is begun; what was acknowledged before is there. */
static void segment_sync_fails(void)
{
    for (unsigned skip = 0; skip < 40; skip++) {
        struct log_recovery recovery;
        int result = 0;
        begin();
        atomic_store(&faults->sync_skip, skip);
        atomic_store(&faults->sync_errors, 1);
        struct model synced = model;
        while ((result = put_and_sync()) == 0)
            synced = model;
        CU_ASSERT_EQUAL(result, -ERR_IO);
        expect_failed_for_ever();
        store = NULL;
        CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
        CU_ASSERT_NOT_EQUAL(recovery.verdict, LOG_FAULTY);
        CU_ASSERT(recovery.last_index >= synced.last);
        log_store_close(store);
        fixture_teardown();
        fixture_setup();
    }
}

/* R21: it says that it is low before it refuses; the refusal is not for ever, and votes go on. */
static void expect_room_matters(int fallocate_errno)
{
    uint64_t low_at = 0;
    int result = 0;
    begin();
    atomic_store(&faults->fallocate_errno, fallocate_errno);
    while (result == 0) {
        result = put_and_sync();
        (void)log_store_prepare_spare(store);
        if (low_at == 0 && log_store_space_low(store))
            low_at = model.last;
    }
    CU_ASSERT_EQUAL(result, -ERR_NO_SPACE);
    CU_ASSERT(low_at > 0 && low_at + 10 < model.last);
    CU_ASSERT_EQUAL(log_store_sync(store), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(log_store_set_vote(store, 9, 1), 0);
    atomic_store(&faults->fallocate_errno, 0);
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    CU_ASSERT_EQUAL(log_store_prepare_spare(store), 0);
    CU_ASSERT(!log_store_space_low(store));
    CU_ASSERT(log_equals(store, &model));
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    CU_ASSERT(log_equals(store, &model));
    log_store_close(store);
}

static void no_room(void)
{
    expect_room_matters(ENOSPC);
    fixture_teardown();
    fixture_setup();
    expect_room_matters(EDQUOT);
}

/* What fails before anything is written says nothing about the disk. */
static void no_descriptors(void)
{
    struct rlimit kept, none = {0, 0};
    struct log_status status;
    begin();
    do { /* spares are taken until none is left */
        log_store_status(store, &status);
        CU_ASSERT_EQUAL_FATAL(status.spare_count > 0 ? put_and_sync() : 0, 0);
    } while (status.spare_count > 0);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &kept), 0);
    none.rlim_max = kept.rlim_max;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    CU_ASSERT_EQUAL(log_store_prepare_spare(store), -ERR_BUSY);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &kept), 0);
    CU_ASSERT_EQUAL(log_store_prepare_spare(store), 0);
    CU_ASSERT_EQUAL(put_and_sync(), 0);
    log_store_close(store);
}

CU_TestInfo log_fault_tests[] = {{"a batch's sync fails", batch_sync_fails},
                                 {"a vote's sync fails", vote_sync_fails},
                                 {"a spare's sync fails", spare_sync_fails},
                                 {"a segment's sync fails", segment_sync_fails},
                                 {"no room", no_room},
                                 {"no descriptors", no_descriptors},
                                 CU_TEST_INFO_NULL};
