/* The worker pool and its strands. */
#include <dirent.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "common/net/work.h"
#include "tests/unit/common/net/fixture.h"

enum { THREADS = 4, WORKS = 4000, KEYS = 10 };

static struct item {
    struct work work;
    unsigned key, number;
} items[WORKS];
static unsigned run_next[KEYS]; /* touched by one worker at a time, or TSan complains */
static unsigned done_next[KEYS], done_count, disordered_done;
static atomic_uint disordered_runs, runs, running, running_most;

static void run_item(struct work *work)
{
    struct item *item = CONTAINER_OF(work, struct item, work);
    if (run_next[item->key] != item->number)
        atomic_fetch_add(&disordered_runs, 1);
    run_next[item->key] = item->number + 1;
    work->status = -(int)item->key - 1;
}

static void item_done(struct work *work)
{
    struct item *item = CONTAINER_OF(work, struct item, work);
    disordered_done += done_next[item->key] != item->number;
    done_next[item->key] = item->number + 1;
    CU_ASSERT_EQUAL(work->status, -(int)item->key - 1);
    done_count++;
}

/* Works with one key run one at a time, in order, and are done in that order. */
static void strands_keep_order(void)
{
    struct work_pool *pool = work_pool_create(f.loop, THREADS, WORKS);
    memset(run_next, 0, sizeof run_next);
    memset(done_next, 0, sizeof done_next);
    done_count = disordered_done = 0;
    atomic_store(&disordered_runs, 0);
    for (unsigned i = 0; i < WORKS; i++) {
        items[i] = (struct item){
            .work = {.run = run_item, .done = item_done}, .key = i % KEYS, .number = i / KEYS};
        CU_ASSERT_EQUAL(work_submit_ordered(pool, 1000 + i % KEYS, &items[i].work), 0);
    }
    CU_ASSERT(wait_for(&done_count, WORKS));
    CU_ASSERT_EQUAL(disordered_done, 0);
    CU_ASSERT_EQUAL(atomic_load(&disordered_runs), 0);
    CU_ASSERT_EQUAL(work_pool_pending(pool), 0);
    work_pool_destroy(pool);
}

/* Ends when all threads are in here at once, or after five seconds. */
static void run_together(struct work *work)
{
    struct timespec pause = {.tv_nsec = 1000000};
    unsigned now = atomic_fetch_add(&running, 1) + 1;
    (void)work;
    for (unsigned most = atomic_load(&running_most); now > most;)
        if (atomic_compare_exchange_weak(&running_most, &most, now))
            break;
    for (int i = 0; i < 5000 && atomic_load(&running_most) < THREADS; i++)
        (void)nanosleep(&pause, NULL);
    atomic_fetch_sub(&running, 1);
    atomic_fetch_add(&runs, 1);
}

static void count_done(struct work *work)
{
    (void)work;
    done_count++;
}

/* Slow works without a key overlap; the queue limit refuses; destroy finishes what was taken. */
static void limit_and_destroy(void)
{
    struct work_pool *pool = work_pool_create(f.loop, THREADS, 8);
    struct work works[9];
    done_count = 0;
    atomic_store(&runs, 0);
    atomic_store(&running_most, 0);
    for (int i = 0; i < 9; i++) {
        works[i] = (struct work){.run = run_together, .done = count_done};
        CU_ASSERT_EQUAL(work_submit(pool, &works[i]), i < 8 ? 0 : -ERR_LIMIT);
    }
    work_pool_destroy(pool);
    CU_ASSERT_EQUAL(done_count, 8);
    CU_ASSERT_EQUAL(atomic_load(&runs), 8);
    CU_ASSERT_EQUAL(atomic_load(&running_most), THREADS);
}

static unsigned thread_count(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/task");
    CU_ASSERT_PTR_NOT_NULL_FATAL(folder);
    while (readdir(folder))
        count++;
    (void)closedir(folder);
    return count - 2;
}

/* A pool at rest has one thread; as many works as it may have threads run together, also when some
 * of these were there before. Threads of earlier tests may still be counted, never ours too few. */
static void threads_come_when_needed(void)
{
    unsigned before = thread_count();
    struct work_pool *pool = work_pool_create(f.loop, THREADS, WORKS);
    struct work works[THREADS], single = {.run = run_together, .done = count_done};
    CU_ASSERT(thread_count() <= before + 1);
    done_count = 0;
    atomic_store(&running_most, THREADS); /* this one does not wait */
    CU_ASSERT_EQUAL(work_submit(pool, &single), 0);
    CU_ASSERT(wait_for(&done_count, 1));
    for (unsigned round = 0; round < 2; round++) {
        done_count = 0;
        atomic_store(&running_most, 0);
        for (int i = 0; i < THREADS; i++) {
            works[i] = (struct work){.run = run_together, .done = count_done};
            CU_ASSERT_EQUAL(work_submit(pool, &works[i]), 0);
        }
        CU_ASSERT(wait_for(&done_count, THREADS));
        CU_ASSERT_EQUAL(atomic_load(&running_most), THREADS);
        CU_ASSERT(thread_count() <= before + THREADS);
    }
    work_pool_destroy(pool);
}

#define TESTS(T)          \
    T(strands_keep_order) \
    T(limit_and_destroy)  \
    T(threads_come_when_needed)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
extern CU_SuiteInfo suite_work;
CU_SuiteInfo suite_work = {"net/work", NULL, NULL, fixture_setup, fixture_teardown, tests};
