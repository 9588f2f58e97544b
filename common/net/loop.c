/* The event loop on libevent: iteration, wake-ups, hooks, signals. Timers are in loop_timer.c. */
#include "common/net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <event2/event.h>

#include "common/base/check.h"
#include "common/net/loop_internal.h"
#include "common/base/banned.h"

enum {
    DEFER_ROUNDS_MAX = 8,
    POSTS_MAX = 4 << 20,
};

/* Its address tells threads apart without a system call. */
static _Thread_local char this_thread;

bool loop_is_here(const struct loop *loop)
{
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) == (uintptr_t)&this_thread;
}

void loop_adopt(struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(!loop->is_running);
    atomic_store_explicit(&loop->owner, (uintptr_t)&this_thread, memory_order_relaxed);
}

/* The eventfd is watched edge-triggered, so it is never read: each write is one wake-up. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    CHECK(config != NULL);
    /* The change list merges switching on and off within one iteration into nothing. */
    CHECK(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                                            EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    CHECK(base != NULL);
    return base;
}

struct loop *loop_create(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    CHECK(loop != NULL);
    loop->magic = LOOP_MAGIC;
    atomic_init(&loop->owner, (uintptr_t)&this_thread);
    atomic_init(&loop->stopping, false);
    loop->base = make_base();
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(loop->wake_fd >= 0);
    loop->wake_event =
        event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, NULL);
    CHECK(loop->wake_event != NULL && event_add(loop->wake_event, NULL) == 0);
    loop->signal_fd = -1;
    CHECK(pthread_mutex_init(&loop->lock, NULL) == 0);
    list_init(&loop->defers);
    loop->scratch = aligned_alloc(4096, LOOP_SCRATCH_SIZE);
    CHECK(loop->scratch != NULL);
    loop_timers_init(loop);
    return loop;
}

void loop_destroy(struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop_is_here(loop) && !loop->is_running && loop->signal_fd < 0);
    LIST_EACH(node, &loop->defers)
    list_remove(node);
    loop_timers_release(loop);
    event_free(loop->wake_event);
    event_base_free(loop->base);
    (void)close(loop->wake_fd);
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop->posted.items);
    free(loop->running.items);
    free(loop->scratch);
    loop->magic = 0;
    free(loop);
}

/* ---- clock ---- */

uint64_t loop_now_us(void)
{
    struct timespec now;
#ifdef PLANT_R25_LOOP
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
#else
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
#endif
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t loop_now_ms(void)
{
    return loop_now_us() / 1000;
}

uint64_t loop_tick_ms(const struct loop *loop)
{
    CHECK(loop_is_here(loop));
    if (!loop->is_running)
        return loop_now_ms();
    /* Read at its first use after the wait: libevent calls nothing between the two. */
    if (loop->tick_ms == 0)
        ((struct loop *)(uintptr_t)loop)->tick_ms = loop_now_ms();
    return loop->tick_ms;
}

/* ---- posts ---- */

static void wake(struct loop *loop)
{
    uint64_t one = 1;
    ssize_t size = write(loop->wake_fd, &one, sizeof one);
    CHECK(size == sizeof one || errno == EAGAIN || errno == EINTR);
}

void loop_post(struct loop *loop, loop_fn *fn, void *arg)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(pthread_mutex_lock(&loop->lock) == 0);
    struct post_queue *queue = &loop->posted;
    if (queue->count == queue->capacity) {
        CHECK(queue->count < POSTS_MAX);
        queue->capacity = queue->capacity ? queue->capacity * 2 : 64;
        queue->items = realloc(queue->items, queue->capacity * sizeof queue->items[0]);
        CHECK(queue->items != NULL);
    }
    bool first = queue->count == 0;
    queue->items[queue->count++] = (struct post){fn, arg};
    CHECK(pthread_mutex_unlock(&loop->lock) == 0);
    if (first && !loop_is_here(loop))
        wake(loop);
}

static void cancel_in(struct post_queue *queue, size_t from, loop_fn *fn, void *arg)
{
    for (size_t i = from; i < queue->count; i++)
        if (queue->items[i].fn == fn && queue->items[i].arg == arg)
            queue->items[i].fn = NULL;
}

void loop_post_cancel(struct loop *loop, loop_fn *fn, void *arg)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop_is_here(loop));
    cancel_in(&loop->running, loop->running_at, fn, arg);
    CHECK(pthread_mutex_lock(&loop->lock) == 0);
    cancel_in(&loop->posted, 0, fn, arg);
    CHECK(pthread_mutex_unlock(&loop->lock) == 0);
}

static bool posts_waiting(struct loop *loop)
{
    CHECK(pthread_mutex_lock(&loop->lock) == 0);
    bool waiting = loop->posted.count > 0;
    CHECK(pthread_mutex_unlock(&loop->lock) == 0);
    return waiting;
}

static void run_posts(struct loop *loop)
{
    CHECK(pthread_mutex_lock(&loop->lock) == 0);
    struct post_queue batch = loop->posted;
    loop->posted = loop->running;
    loop->posted.count = 0;
    loop->running = batch;
    CHECK(pthread_mutex_unlock(&loop->lock) == 0);

    for (loop->running_at = 0; loop->running_at < loop->running.count;) {
        struct post post = loop->running.items[loop->running_at++];
        if (post.fn)
            post.fn(post.arg);
    }
    loop->running.count = 0;
}

/* ---- hooks ---- */

void loop_defer_init(struct loop_defer *defer, struct loop *loop, loop_fn *fn, void *arg)
{
    *defer = (struct loop_defer){.loop = loop, .fn = fn, .arg = arg};
    list_init(&defer->node);
}

void loop_defer_schedule(struct loop_defer *defer)
{
    CHECK(loop_is_here(defer->loop));
    if (list_empty(&defer->node))
        list_append(&defer->loop->defers, &defer->node);
}

void loop_defer_cancel(struct loop_defer *defer)
{
    if (!defer->loop)
        return;
    CHECK(loop_is_here(defer->loop));
    list_remove(&defer->node);
}

static void run_defers(struct loop *loop)
{
    for (int round = 0; round < DEFER_ROUNDS_MAX && !list_empty(&loop->defers); round++) {
        /* A local head: what is scheduled now belongs to the next round. */
        struct list batch;
        list_init(&batch);
        batch.next = loop->defers.next;
        batch.previous = loop->defers.previous;
        batch.next->previous = batch.previous->next = &batch;
        list_init(&loop->defers);
        while (!list_empty(&batch)) {
            struct loop_defer *defer = CONTAINER_OF(batch.next, struct loop_defer, node);
            list_remove(&defer->node);
            defer->fn(defer->arg);
        }
    }
}

/* ---- running ---- */

void loop_run(struct loop *loop)
{
    loop_adopt(loop);
    loop->is_running = true;
    bool stop;
    do {
        bool is_busy =
            !list_empty(&loop->defers) || posts_waiting(loop) || atomic_load(&loop->stopping);
        if (!is_busy)
            loop_timers_arm(loop);
        loop->tick_ms = 0;
        CHECK(event_base_loop(loop->base, EVLOOP_ONCE | (is_busy ? EVLOOP_NONBLOCK : 0)) >= 0);
        loop_timers_run(loop);
        run_posts(loop);
        run_defers(loop);
        stop = atomic_load(&loop->stopping);
    } while (!stop);
    atomic_store(&loop->stopping, false);
    loop->is_running = false;
}

void loop_stop(struct loop *loop)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    atomic_store(&loop->stopping, true);
    if (!loop_is_here(loop))
        wake(loop);
}

uint8_t *loop_scratch(struct loop *loop)
{
    CHECK(loop_is_here(loop));
    return loop->scratch;
}

/* ---- descriptors ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_watch *watch = arg;
    watch->on_readable(watch->arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_watch *watch = arg;
    watch->on_writable(watch->arg);
}

void loop_watch_init(struct loop_watch *watch, struct loop *loop, int fd, loop_fn *readable,
                     loop_fn *writable, void *arg)
{
    CHECK(loop_is_here(loop));
    *watch = (struct loop_watch){
        .loop = loop, .fd = fd, .on_readable = readable, .on_writable = writable, .arg = arg};
}

static void switch_event(struct loop_watch *watch, struct event **event, bool *is_on, bool on,
                         short what, event_callback_fn fn)
{
    CHECK(loop_is_here(watch->loop));
    if (*is_on == on)
        return;
    if (!*event) {
        *event = event_new(watch->loop->base, watch->fd, (short)(what | EV_PERSIST), fn, watch);
        CHECK(*event != NULL);
    }
    CHECK((on ? event_add(*event, NULL) : event_del(*event)) == 0);
    *is_on = on;
}

void loop_watch_read(struct loop_watch *watch, bool on)
{
    switch_event(watch, &watch->read_event, &watch->reading, on, EV_READ, on_readable);
}

void loop_watch_write(struct loop_watch *watch, bool on)
{
    switch_event(watch, &watch->write_event, &watch->writing, on, EV_WRITE, on_writable);
}

void loop_watch_release(struct loop_watch *watch)
{
    if (!watch->loop)
        return;
    CHECK(loop_is_here(watch->loop));
    if (watch->read_event)
        event_free(watch->read_event);
    if (watch->write_event)
        event_free(watch->write_event);
    *watch = (struct loop_watch){.fd = -1};
}

/* ---- signals ---- */

static void on_signal(void *arg)
{
    struct loop *loop = arg;
    struct signalfd_siginfo info;
    while (loop->signal_fd >= 0 && read(loop->signal_fd, &info, sizeof info) == sizeof info)
        loop->signal_fn(loop->signal_arg, (int)info.ssi_signo);
}

void loop_watch_signals(struct loop *loop, loop_signal_fn *fn, void *arg)
{
    CHECK_OBJ(loop, LOOP_MAGIC);
    CHECK(loop_is_here(loop));
    if (loop->signal_fd >= 0) {
        loop_watch_release(&loop->signal_watch);
        (void)close(loop->signal_fd);
        loop->signal_fd = -1;
    }
    if (!fn)
        return;
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    loop->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(loop->signal_fd >= 0);
    loop->signal_fn = fn;
    loop->signal_arg = arg;
    loop_watch_init(&loop->signal_watch, loop, loop->signal_fd, on_signal, NULL, loop);
    loop_watch_read(&loop->signal_watch, true);
}
