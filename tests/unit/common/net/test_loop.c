/* Timers, posts, hooks, signals of a loop. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/prng.h"
#include "tests/unit/common/net/fixture.h"

static unsigned fired;
static void count(void *arg)
{
    ++*(unsigned *)arg;
}

/* ---- timers ---- */

enum { TIMERS = 300 };
static struct timed {
    struct loop_timer timer;
    uint64_t due_ms;
    bool was_early, has_fired;
} timed[TIMERS];
static uint64_t last_due_ms;
static unsigned out_of_order;

static void on_timed(void *arg)
{
    struct timed *t = arg;
    t->was_early = loop_now_ms() < t->due_ms;
    t->has_fired = true;
    out_of_order += t->due_ms < last_due_ms;
    last_due_ms = t->due_ms;
    fired++;
}

/* Random starts, restarts and stops: every timer fires once, never early, in the order due. */
static void timers_fire_in_order(void)
{
    const char *seed_text = getenv("SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 3;
    struct prng prng;
    prng_init(&prng, seed);
    unsigned stopped = 0;
    fired = out_of_order = 0;
    last_due_ms = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        timed[i] = (struct timed){.due_ms = 0};
        loop_timer_init(&timed[i].timer, f.loop, on_timed, &timed[i]);
    }
    for (unsigned i = 0; i < TIMERS * 4; i++) { /* the last setting of each counts */
        struct timed *t = &timed[i % TIMERS];
        t->due_ms = loop_now_ms() + prng_between(&prng, 1, 120);
        loop_timer_start_at_ms(&t->timer, t->due_ms);
    }
    for (unsigned i = 0; i < TIMERS; i += 7, stopped++)
        loop_timer_stop(&timed[i].timer);
    CU_ASSERT(wait_for(&fired, TIMERS - stopped));
    run_for_ms(20);
    CU_ASSERT_EQUAL(fired, TIMERS - stopped);
    CU_ASSERT_EQUAL(out_of_order, 0);
    for (unsigned i = 0; i < TIMERS; i++) {
        CU_ASSERT_FALSE(timed[i].was_early);
        CU_ASSERT_EQUAL(timed[i].has_fired, i % 7 != 0);
    }
    if (out_of_order)
        printf("# seed=%llu\n", (unsigned long long)seed);
}

static void again(void *arg)
{
    struct timed *t = arg;
    fired++;
    loop_timer_start_ms(&t->timer, 0);
}

/* A timer that starts itself with no delay does not keep others from running. */
static void a_timer_cannot_starve_the_loop(void)
{
    struct timed t = {.due_ms = 0};
    unsigned posted = 0;
    fired = 0;
    loop_timer_init(&t.timer, f.loop, again, &t);
    loop_timer_start_ms(&t.timer, 0);
    loop_post(f.loop, count, &posted);
    CU_ASSERT(wait_for(&posted, 1));
    CU_ASSERT(wait_for(&fired, 3));
    loop_timer_stop(&t.timer);
}

/* ---- posts ---- */

enum { POSTERS = 4, POSTS_EACH = 20000 };
static unsigned posts_seen, posts_disordered;
static struct poster {
    unsigned next; /* the loop's view */
    pthread_t thread;
} posters[POSTERS];
static struct numbered {
    struct poster *poster;
    unsigned number;
} numbered[POSTERS][POSTS_EACH];

static void on_numbered(void *arg)
{
    struct numbered *n = arg;
    posts_disordered += n->number != n->poster->next;
    n->poster->next = n->number + 1;
    posts_seen++;
}

static void *post_many(void *arg)
{
    struct poster *p = arg;
    struct numbered *mine = numbered[p - posters];
    for (unsigned i = 0; i < POSTS_EACH; i++) {
        mine[i] = (struct numbered){p, i};
        loop_post(f.loop, on_numbered, &mine[i]);
    }
    return NULL;
}

/* Posts of several threads all arrive, each thread's in order. */
static void posts_arrive_in_order(void)
{
    posts_seen = posts_disordered = 0;
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.next = 0};
        CU_ASSERT_EQUAL(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    CU_ASSERT(wait_for(&posts_seen, POSTERS * POSTS_EACH));
    for (int i = 0; i < POSTERS; i++)
        (void)pthread_join(posters[i].thread, NULL);
    CU_ASSERT_EQUAL(posts_disordered, 0);
}

static void *post_one_later(void *arg)
{
    struct timespec pause = {.tv_nsec = 30000000};
    (void)nanosleep(&pause, NULL);
    loop_post(f.loop, count, arg);
    return NULL;
}

/* A post wakes a loop that has nothing to do. A cancelled post is not run. */
static void a_post_wakes_a_sleeping_loop(void)
{
    pthread_t thread;
    unsigned posted = 0, cancelled = 0;
    loop_post(f.loop, count, &cancelled);
    loop_post_cancel(f.loop, count, &cancelled);
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, post_one_later, &posted), 0);
    CU_ASSERT(wait_for(&posted, 1));
    (void)pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(cancelled, 0);
}

/* Two loops on two threads: each runs what is posted to it, and stops when told. */
static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void several_loops_work(void)
{
    struct loop *other = loop_create();
    pthread_t thread;
    unsigned here = 0, there = 0;
    loop_post(other, count, &there);
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, run_loop, other), 0);
    loop_post(f.loop, count, &here);
    CU_ASSERT(wait_for(&here, 1));
    loop_stop(other);
    (void)pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(there, 1);
    loop_adopt(other);
    CU_ASSERT_TRUE(loop_is_here(other));
    loop_destroy(other);
}

/* ---- hooks ---- */

static struct loop_defer first, second;
static char order[16];
static unsigned order_size;

static void note(void *arg)
{
    order[order_size++] = *(const char *)arg;
    if (*(const char *)arg == '1')
        loop_defer_schedule(&second); /* runs in the same iteration */
}

static void schedule_twice(void *arg)
{
    (void)arg;
    order[order_size++] = 'p';
    loop_defer_schedule(&first);
    loop_defer_schedule(&first);
}

/* A hook runs once per iteration, after the posts; what it schedules runs in the same one. */
static void hooks_run_once_at_the_end(void)
{
    static const char one[] = "1", two[] = "2";
    order_size = 0;
    loop_defer_init(&first, f.loop, note, (void *)(uintptr_t)one);
    loop_defer_init(&second, f.loop, note, (void *)(uintptr_t)two);
    loop_post(f.loop, schedule_twice, NULL);
    loop_post(f.loop, schedule_twice, NULL);
    loop_stop(f.loop);
    loop_run(f.loop); /* exactly one iteration */
    order[order_size] = '\0';
    CU_ASSERT_STRING_EQUAL(order, "pp12");
    loop_defer_schedule(&second);
    loop_defer_cancel(&second);
    run_for_ms(5);
    CU_ASSERT_EQUAL(order_size, 4);
}

/* ---- signals ---- */

static unsigned signals_seen;
static int last_signal;
static void on_signal(void *arg, int number)
{
    (void)arg;
    last_signal = number;
    signals_seen++;
}

/* SIGTERM and SIGHUP come to the loop instead of ending the process. */
static void signals_come_to_the_loop(void)
{
    signals_seen = 0;
    loop_watch_signals(f.loop, on_signal, NULL);
    (void)raise(SIGHUP);
    CU_ASSERT(wait_for(&signals_seen, 1));
    CU_ASSERT_EQUAL(last_signal, SIGHUP);
    (void)raise(SIGTERM);
    CU_ASSERT(wait_for(&signals_seen, 2));
    CU_ASSERT_EQUAL(last_signal, SIGTERM);
    loop_watch_signals(f.loop, NULL, NULL);
}

#define TESTS(T)                      \
    T(timers_fire_in_order)           \
    T(a_timer_cannot_starve_the_loop) \
    T(posts_arrive_in_order)          \
    T(a_post_wakes_a_sleeping_loop)   \
    T(several_loops_work)             \
    T(hooks_run_once_at_the_end)      \
    T(signals_come_to_the_loop)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
extern CU_SuiteInfo suite_loop;
CU_SuiteInfo suite_loop = {"net/loop", NULL, NULL, fixture_setup, fixture_teardown, tests};
