/* Worker pool with strands; completions are batched into one wake-up of the loop. */
#include "common/net/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum {
    WORK_POOL_MAGIC = 0x776f726b,
    STRAND_COUNT = 1024, /* 8 threads at work collide on a strand about once in 40 submissions */
    NO_STRAND = STRAND_COUNT,
};

struct strand {
    bool is_busy;        /* a work of it is ready or running */
    struct list waiting; /* works behind that one */
};

struct work_pool {
    uint32_t magic;
    struct loop *loop;
    unsigned thread_count, queue_limit;
    pthread_t *threads;
    unsigned started; /* of them; loop thread only, as pending */
    unsigned pending;

    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t available;
    unsigned idle_count, ready_count;
    bool is_closing;
    bool done_posted; /* on_done will run on the loop */
    struct list ready, done;
    struct strand strands[STRAND_COUNT];
};

static void lock(struct work_pool *pool)
{
    CHECK(pthread_mutex_lock(&pool->lock) == 0);
}

static void unlock(struct work_pool *pool)
{
    CHECK(pthread_mutex_unlock(&pool->lock) == 0);
}

static void on_done(void *arg)
{
    struct work_pool *pool = arg;
    struct list batch;
    list_init(&batch);
    lock(pool);
    pool->done_posted = false;
    while (!list_empty(&pool->done)) {
        struct list *node = pool->done.next;
        list_remove(node);
        list_append(&batch, node);
    }
    unlock(pool);
    while (!list_empty(&batch)) {
        struct work *work = CONTAINER_OF(batch.next, struct work, node);
        list_remove(&work->node);
        pool->pending--;
        work->done(work);
    }
}

/* With the lock. */
static void finish(struct work_pool *pool, struct work *work)
{
    uint32_t strand_index = work->strand;
    list_append(&pool->done, &work->node);
    if (strand_index == NO_STRAND)
        return;
    struct strand *strand = &pool->strands[strand_index];
    if (list_empty(&strand->waiting)) {
        strand->is_busy = false;
        return;
    }
    struct list *next = strand->waiting.next;
    list_remove(next);
    list_append(&pool->ready, next);
    pool->ready_count++;
}

static void *worker_main(void *arg)
{
    struct work_pool *pool = arg;
    lock(pool);
    for (;;) {
        while (list_empty(&pool->ready) && !pool->is_closing) {
            pool->idle_count++;
            CHECK(pthread_cond_wait(&pool->available, &pool->lock) == 0);
            pool->idle_count--;
        }
        if (list_empty(&pool->ready))
            break;
        struct work *work = CONTAINER_OF(pool->ready.next, struct work, node);
        list_remove(&work->node);
        pool->ready_count--;
        unlock(pool);
        work->run(work);
        lock(pool);
        finish(pool, work);
        if (!pool->done_posted) {
            pool->done_posted = true;
            loop_post(pool->loop, on_done, pool);
        }
    }
    unlock(pool);
    return NULL;
}

/* With one thread at least the rest can be done without. */
static void start_thread(struct work_pool *pool)
{
    /* Signals are the loop's business. */
    sigset_t all, before;
    (void)sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    bool good = pthread_create(&pool->threads[pool->started], NULL, worker_main, pool) == 0;
    CHECK(good || pool->started > 0);
    pool->started += good;
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

struct work_pool *work_pool_create(struct loop *loop, unsigned thread_count, unsigned queue_limit)
{
    CHECK(loop_is_here(loop) && thread_count > 0 && queue_limit > 0);
    struct work_pool *pool = calloc(1, sizeof *pool);
    CHECK(pool != NULL);
    *pool = (struct work_pool){.magic = WORK_POOL_MAGIC,
                               .loop = loop,
                               .thread_count = thread_count,
                               .queue_limit = queue_limit};
    CHECK(pthread_mutex_init(&pool->lock, NULL) == 0);
    CHECK(pthread_cond_init(&pool->available, NULL) == 0);
    list_init(&pool->ready);
    list_init(&pool->done);
    for (unsigned i = 0; i < STRAND_COUNT; i++)
        list_init(&pool->strands[i].waiting);

    pool->threads = calloc(thread_count, sizeof pool->threads[0]);
    CHECK(pool->threads != NULL);
    start_thread(pool);
    return pool;
}

void work_pool_destroy(struct work_pool *pool)
{
    CHECK_OBJ(pool, WORK_POOL_MAGIC);
    CHECK(loop_is_here(pool->loop));
    lock(pool);
    pool->is_closing = true;
    CHECK(pthread_cond_broadcast(&pool->available) == 0);
    unlock(pool);
    for (unsigned i = 0; i < pool->started; i++)
        CHECK(pthread_join(pool->threads[i], NULL) == 0);
    loop_post_cancel(pool->loop, on_done, pool);
    on_done(pool);
    CHECK(pool->pending == 0);
    (void)pthread_cond_destroy(&pool->available);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    pool->magic = 0;
    free(pool);
}

static int submit(struct work_pool *pool, uint32_t strand_index, struct work *work)
{
    CHECK_OBJ(pool, WORK_POOL_MAGIC);
    CHECK(loop_is_here(pool->loop) && work->run && work->done);
    if (pool->pending >= pool->queue_limit)
        return -ERR_LIMIT;
    bool is_short = false;
    pool->pending++;
    work->status = 0;
    work->strand = strand_index;
    lock(pool);
    CHECK(!pool->is_closing);
    struct strand *strand = strand_index == NO_STRAND ? NULL : &pool->strands[strand_index];
    if (strand && strand->is_busy) {
        list_append(&strand->waiting, &work->node);
    } else {
        if (strand)
            strand->is_busy = true;
        list_append(&pool->ready, &work->node);
        pool->ready_count++;
        if (pool->idle_count > 0)
            CHECK(pthread_cond_signal(&pool->available) == 0);
        /* Those that are woken are still counted as idle. */
        is_short = pool->ready_count > pool->idle_count;
    }
    unlock(pool);
    if (is_short && pool->started < pool->thread_count)
        start_thread(pool);
    return 0;
}

int work_submit(struct work_pool *pool, struct work *work)
{
    return submit(pool, NO_STRAND, work);
}

int work_submit_ordered(struct work_pool *pool, uint64_t strand_key, struct work *work)
{
    uint64_t hash = strand_key * 0x9e3779b97f4a7c15u; /* Fibonacci hashing, Knuth 6.4 */
    return submit(pool, (uint32_t)(hash >> 54), work);
}

unsigned work_pool_pending(const struct work_pool *pool)
{
    return pool->pending;
}
