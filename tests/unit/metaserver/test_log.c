/* The log on files: round trips, restarts, identity, failing disks, ways out of damage. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "metaserver/log_store_private.h"
#include "tests/unit/metaserver/store_fixture.h"
#include "common/base/banned.h"

enum { SEGMENT = 64 << 10 };

static struct model model;

/* What was synced is there after a reopen, after every single batch, over many segments. */
static void reopen_after_every_prefix(void)
{
    struct log_store *store = NULL;
    struct log_recovery recovery;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT_EQUAL(recovery.verdict, LOG_CLEAN);
    for (unsigned i = 0; i < 60; i++) {
        CU_ASSERT_EQUAL(log_put(store, &model, model.last + 1, 1 + i % 7, 1 + i / 10), 0);
        CU_ASSERT_EQUAL(log_store_sync(store), 0);
        CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
        CU_ASSERT_EQUAL(recovery.verdict, LOG_CLEAN);
        CU_ASSERT_EQUAL(recovery.last_index, model.last);
        CU_ASSERT(log_equals(store, &model));
    }
    log_store_close(store);
}

/* What was not synced is gone as a whole; a cut and its replacement change places in one step. */
static void unsynced_is_lost_whole(void)
{
    struct log_store *store = NULL;
    struct log_recovery recovery;
    struct log_range range;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT_EQUAL(log_put(store, &model, 1, 10, 1), 0);
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    struct model before = model;
    CU_ASSERT_EQUAL(log_put(store, &model, 6, 3, 2), 0);
    log_store_range(store, &range);
    CU_ASSERT_EQUAL(range.last_index, 8);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT(log_equals(store, &before));
    model = before;
    CU_ASSERT_EQUAL(log_put(store, &model, 6, 3, 2), 0);
    CU_ASSERT_EQUAL(log_put(store, &model, 7, 1, 3), 0);
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    CU_ASSERT_EQUAL(model.last, 7);
    CU_ASSERT(log_equals(store, &model));
    CU_ASSERT_EQUAL(log_put(store, &model, 5, 0, 0), 0); /* a cut only */
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT_EQUAL(recovery.last_index, 4);
    CU_ASSERT(log_equals(store, &model));
    CU_ASSERT_EQUAL(log_put(store, &model, 6, 1, 1), -ERR_INVALID); /* a gap */
    log_store_close(store);
}

/* Trimming recycles whole segments, keeps the rest readable, and survives a restart; a reset moves
 * the log (R9) and ends with an empty one that goes on behind the checkpoint. */
static void trim_and_reset(void)
{
    struct log_store *store = NULL;
    struct log_recovery recovery;
    struct log_range range;
    struct log_status status;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    for (unsigned i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL(log_put(store, &model, model.last + 1, 5, 1), 0);
        CU_ASSERT_EQUAL(log_store_sync(store), 0);
        if (i % 10 == 9)
            CU_ASSERT_EQUAL(log_store_trim(store, model.last - 20), 0);
    }
    log_store_range(store, &range);
    log_store_status(store, &status);
    CU_ASSERT(range.first_index > 500 && range.first_index <= model.last - 19);
    CU_ASSERT(status.segment_count < 8);
    CU_ASSERT(status.spare_count >= 1);
    model.first = range.first_index;
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT_EQUAL(recovery.first_index, model.first);
    CU_ASSERT(log_equals(store, &model));
    CU_ASSERT_EQUAL(log_store_read(store, model.first - 1, model.last, 0, NULL, NULL),
                    -ERR_NO_DATA);
    CU_ASSERT_EQUAL(log_store_reset(store, 5000, 7), 0);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT_EQUAL(recovery.first_index, 5001);
    CU_ASSERT_EQUAL(recovery.last_index, 5000);
    CU_ASSERT_EQUAL(recovery.base_term, 7);
    model.first = 5001;
    CU_ASSERT_EQUAL(log_put(store, &model, 5001, 3, 8), 0);
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT(log_equals(store, &model));
    log_store_close(store);
}

static int open_as(const struct uuid *cluster, uint32_t node, bool create)
{
    char folder[300];
    (void)snprintf(folder, sizeof folder, "%s/log", fixture_folder);
    struct log_store_options options;
    log_store_options_defaults(&options);
    options.segment_size_bytes = SEGMENT;
    options.create = create;
    struct log_store *store = NULL;
    struct err_text why = {""};
    int result = log_store_open(folder, cluster, node, &options, &store, NULL, &why);
    CU_ASSERT(result == 0 || why.text[0] != '\0');
    log_store_close(store);
    return result;
}

/* D17: a folder that is absent, in use, foreign or damaged in its identity is refused with a text;
 * every byte of the identity counts. */
static void identity(void)
{
    struct log_store *store = NULL;
    struct uuid other = fixture_cluster;
    other.bytes[0] ^= 1;
    CU_ASSERT_NOT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE, false), 0);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    CU_ASSERT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE, false), -ERR_BUSY);
    log_store_close(store);
    CU_ASSERT_EQUAL(open_as(&other, FIXTURE_NODE, true), -ERR_WRONG_CLUSTER);
    CU_ASSERT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE + 1, true), -ERR_WRONG_CLUSTER);
    CU_ASSERT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE, false), 0);
    for (uint64_t at = 0; at < 100; at++) {
        file_flip("log/identity", at, 0x01);
        CU_ASSERT_NOT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE, true), 0);
        file_flip("log/identity", at, 0x01);
    }
    CU_ASSERT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE, true), 0);
}

/* R18: votes survive, never go back, one per term; a missing or short vote file is refused. */
static void votes(void)
{
    struct log_store *store = NULL;
    struct log_vote vote;
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    for (uint64_t term = 1; term < 20; term++) {
        CU_ASSERT_EQUAL(log_store_set_vote(store, term, 0), 0);
        CU_ASSERT_EQUAL(log_store_set_vote(store, term, (uint32_t)(1 + term % 3)), 0);
        CU_ASSERT_EQUAL(log_store_set_vote(store, term, 5), -ERR_INVALID);
        CU_ASSERT_EQUAL(log_store_set_vote(store, term - 1, 1), -ERR_INVALID);
        CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
        log_store_vote(store, &vote);
        CU_ASSERT_EQUAL(vote.term, term);
        CU_ASSERT_EQUAL(vote.voted_for, 1 + term % 3);
    }
    log_store_close(store);
    char path[300];
    (void)snprintf(path, sizeof path, "%s/log/vote", fixture_folder);
    CU_ASSERT_EQUAL(truncate(path, 4096), 0);
    CU_ASSERT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE, true), -ERR_FAULTY_LOG);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(open_as(&fixture_cluster, FIXTURE_NODE, true), -ERR_FAULTY_LOG);
}

/* R19: the first failed write is kept for ever, for log and vote alike. */
static void failure_is_sticky(void)
{
    struct log_store *store = NULL;
    struct log_recovery recovery;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    CU_ASSERT_EQUAL(log_put(store, &model, 1, 3, 1), 0);
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    struct model synced = model;
    int fd = store->segments[0]->fd, kept = dup(fd), dead = open("/dev/null", O_RDONLY);
    CU_ASSERT_EQUAL(log_put(store, &model, 4, 1, 1), 0);
    CU_ASSERT(dup2(dead, fd) >= 0);
    CU_ASSERT_EQUAL(log_store_failure(store), 0);
    CU_ASSERT_EQUAL(log_store_sync(store), -ERR_IO);
    CU_ASSERT_EQUAL(log_store_failure(store), -ERR_BAD_HANDLE); /* what it was, for the message */
    CU_ASSERT(dup2(kept, fd) >= 0);                             /* the disk is well again */
    CU_ASSERT_EQUAL(log_store_sync(store), -ERR_IO);
    CU_ASSERT_EQUAL(log_put(store, &model, 4, 1, 1), -ERR_IO);
    CU_ASSERT_EQUAL(log_store_set_vote(store, 9, 1), -ERR_IO);
    CU_ASSERT_EQUAL(log_store_trim(store, 1), -ERR_IO);
    CU_ASSERT_EQUAL(log_store_reset(store, 9, 1), -ERR_IO);
    (void)close(kept);
    (void)close(dead);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
    CU_ASSERT(log_equals(store, &synced));
    log_store_close(store);
}

static int count_entries(void *arg, const struct log_entry *entry)
{
    (void)entry;
    ++*(unsigned *)arg;
    return 0;
}

/* R19: an error of reading is not damage. */
static void unreadable_is_not_faulty(void)
{
    struct log_store *store = NULL;
    unsigned seen = 0;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    CU_ASSERT_EQUAL(log_put(store, &model, 1, 3, 1), 0);
    CU_ASSERT_EQUAL(log_store_sync(store), 0);
    int fd = store->segments[0]->fd, kept = dup(fd), dead = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CU_ASSERT(dup2(dead, fd) >= 0);
    int status = log_store_read(store, 1, 3, 0, count_entries, &seen);
    CU_ASSERT(status < 0 && status != -ERR_FAULTY_LOG && seen == 0);
    CU_ASSERT(dup2(kept, fd) >= 0);
    CU_ASSERT_EQUAL(log_store_read(store, 1, 3, 0, count_entries, &seen), 0);
    CU_ASSERT_EQUAL(seen, 3);
    (void)close(kept);
    (void)close(dead);
    log_store_close(store);
}

/* Leaves a log of batches with one entry each (1..n), the newest with a byte of payload changed. */
static void make_rotten(struct log_store **store, unsigned count, unsigned rotten)
{
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(store, NULL, SEGMENT), 0);
    for (unsigned i = 0; i < count; i++) {
        struct log_entry entry = {
            .index = i + 1, .term = 1, .kind = 1, .data = slice_str("some bytes to be damaged")};
        CU_ASSERT_EQUAL(log_store_append(*store, i + 1, &entry, 1), 0);
        CU_ASSERT_EQUAL(log_store_sync(*store), 0);
    }
    log_store_close(*store);
    *store = NULL;
    file_flip(file_find("log", "log-", 0), (uint64_t)rotten * 4096 + 120, 0x40);
}

/* R17: rot in an acknowledged batch, the last one included, is reported and never cut; what is good
 * stays readable; appends behind it are refused; a replacement from a peer or a reset heals it. */
static void rot_is_faulty(void)
{
    for (unsigned rotten = 1; rotten < 4; rotten++)
        for (int by_reset = 0; by_reset < 2; by_reset++) {
            struct log_store *store = NULL;
            struct log_recovery recovery;
            unsigned seen = 0;
            make_rotten(&store, 4, rotten);
            CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
            CU_ASSERT_EQUAL(recovery.verdict, LOG_FAULTY);
            CU_ASSERT_EQUAL(recovery.faulty_from, rotten + 1);
            CU_ASSERT_EQUAL(recovery.faulty_to, rotten + 1);
            CU_ASSERT_EQUAL(recovery.last_index, 4);
            CU_ASSERT(recovery.reason.text[0] != '\0');
            CU_ASSERT_EQUAL(log_store_read(store, 1, 4, 0, count_entries, &seen), -ERR_FAULTY_LOG);
            CU_ASSERT_EQUAL(seen, rotten);
            model.last = 4;
            CU_ASSERT_EQUAL(log_put(store, &model, 5, 1, 2), -ERR_FAULTY_LOG);
            if (by_reset) {
                CU_ASSERT_EQUAL(log_store_reset(store, 10, 2), 0);
                model.first = 11;
                model.last = 10;
            } else {
                CU_ASSERT_EQUAL(log_put(store, &model, rotten + 1, 6, 2), 0);
                model.first = rotten + 1;
            }
            CU_ASSERT_EQUAL(log_store_sync(store), 0);
            CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
            CU_ASSERT_EQUAL(recovery.verdict, LOG_CLEAN);
            CU_ASSERT(log_equals(store, &model));
            log_store_close(store);
            fixture_teardown();
            fixture_setup();
        }
}

/* R17: a segment that was removed or shortened behind the store's back is a loss, not an end. */
static void missing_segments(void)
{
    for (unsigned n = 0; n < 4; n++) {
        struct log_store *store = NULL;
        struct log_recovery recovery;
        model_init(&model);
        CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
        while (!*file_find("log", "log-", 2)) {
            CU_ASSERT_EQUAL(log_put(store, &model, model.last + 1, 5, 1), 0);
            CU_ASSERT_EQUAL(log_store_sync(store), 0);
        }
        log_store_close(store);
        store = NULL;
        char path[900];
        (void)snprintf(path, sizeof path, "%s/%s", fixture_folder,
                       file_find("log", "log-", n < 3 ? n : 1));
        if (n < 3)
            CU_ASSERT_EQUAL(unlink(path), 0);
        if (n == 3)
            CU_ASSERT_EQUAL(truncate(path, SEGMENT / 2), 0);
        CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
        /* Without the oldest one the log simply begins later: the checkpoint tells. */
        CU_ASSERT_EQUAL(recovery.verdict, n == 0 ? LOG_CLEAN : LOG_FAULTY);
        if (n == 0)
            CU_ASSERT(recovery.first_index > 1);
        log_store_close(store);
        fixture_teardown();
        fixture_setup();
    }
}

/* T5 in small: a process killed at any moment loses nothing that it had acknowledged. */
static void killed(void)
{
    struct prng p;
    prng_init(&p, fixture_seed());
    uint64_t acknowledged = 0;
    for (unsigned round = 0; round < 25; round++) {
        int ends[2];
        CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            struct log_store *store = NULL;
            struct log_range range;
            model_init(&model);
            if (log_reopen(&store, NULL, SEGMENT) != 0)
                _exit(1);
            log_store_range(store, &range);
            for (uint64_t next = range.last_index + 1;; next++) {
                uint64_t done = next;
                if (log_put(store, &model, next, 1, 1) != 0 || log_store_sync(store) != 0 ||
                    write(ends[1], &done, sizeof done) < 0)
                    _exit(1);
                if (next % 50 == 0)
                    (void)log_store_trim(store, next - 30);
            }
        }
        (void)close(ends[1]);
        usleep((useconds_t)prng_between(&p, 1000, 15000));
        CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
        uint64_t done;
        while (read(ends[0], &done, sizeof done) == sizeof done)
            acknowledged = done;
        (void)close(ends[0]);
        CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
        struct log_store *store = NULL;
        struct log_recovery recovery;
        CU_ASSERT_EQUAL_FATAL(log_reopen(&store, &recovery, SEGMENT), 0);
        CU_ASSERT_NOT_EQUAL(recovery.verdict, LOG_FAULTY);
        CU_ASSERT(recovery.last_index >= acknowledged);
        log_store_close(store);
        if (acknowledged > MODEL_MAX / 2)
            break;
    }
}

struct follower {
    uint64_t next;
    bool right;
};

static int follow(void *arg, const struct log_entry *entry)
{
    struct follower *c = arg;
    c->right = c->right && entry->index == c->next && entry_right(entry, 1);
    c->next++;
    return 0;
}

static void *read_and_trim(void *arg)
{
    struct log_store *store = arg;
    struct log_range range = {0};
    uint64_t wrong = 0;
    while (range.durable_index < 3000) {
        log_store_range(store, &range);
        uint64_t first = range.durable_index > 60 ? range.durable_index - 60 : 1;
        struct follower seen = {.next = first, .right = true};
        int result = log_store_read(store, first, range.durable_index, 0, follow, &seen);
        wrong += !seen.right || (result != 0 && result != -ERR_NO_DATA);
        wrong += log_store_prepare_spare(store) != 0;
        wrong += log_store_set_vote(store, range.durable_index, 0) != 0;
        if (range.durable_index > 100)
            wrong += log_store_trim(store, range.durable_index - 100) != 0;
    }
    return (void *)(uintptr_t)wrong;
}

/* One thread writes while another reads, trims, votes and prepares spares (run it under TSan). */
static void threads(void)
{
    struct log_store *store = NULL;
    pthread_t other;
    void *wrong = NULL;
    model_init(&model);
    CU_ASSERT_EQUAL_FATAL(log_reopen(&store, NULL, SEGMENT), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&other, NULL, read_and_trim, store), 0);
    while (model.last < 3000) {
        CU_ASSERT_EQUAL(log_put(store, &model, model.last + 1, 3, 1), 0);
        CU_ASSERT_EQUAL(log_store_sync(store), 0);
    }
    CU_ASSERT_EQUAL(pthread_join(other, &wrong), 0);
    CU_ASSERT_PTR_NULL(wrong);
    log_store_close(store);
}

CU_TestInfo log_tests[] = {{"reopen after every prefix", reopen_after_every_prefix},
                           {"unsynced entries are lost whole", unsynced_is_lost_whole},
                           {"trim and reset", trim_and_reset},
                           {"identity", identity},
                           {"votes", votes},
                           {"a failure is sticky", failure_is_sticky},
                           {"unreadable is not faulty", unreadable_is_not_faulty},
                           {"rot is faulty, and heals", rot_is_faulty},
                           {"missing segments", missing_segments},
                           {"killed at any moment", killed},
                           {"threads", threads},
                           CU_TEST_INFO_NULL};
