/* The inside of struct loop, shared by loop.c and loop_timer.c only. */
#ifndef CAIRN_NET_LOOP_INTERNAL_H
#define CAIRN_NET_LOOP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/net/loop.h"

enum { LOOP_MAGIC = 0x6c6f6f70 };

struct event_base;

struct post {
    loop_fn *fn;
    void *arg;
};

struct post_queue {
    struct post *items;
    size_t count, capacity;
};

struct loop {
    uint32_t magic;
    bool is_running;
    _Atomic uintptr_t owner; /* the address of a thread-local of the owner */
    atomic_bool stopping;
    struct event_base *base;
    uint64_t tick_ms; /* 0 = not read yet in this iteration */
    uint8_t *scratch;

    int wake_fd;
    struct event *wake_event;
    pthread_mutex_t lock;      /* of `posted` */
    struct post_queue posted;  /* filled by any thread */
    struct post_queue running; /* the batch being run, from running_at */
    size_t running_at;

    struct list defers; /* loop_defer.node */

    struct loop_timer **timers; /* binary heap by queued_ms, from index 1 */
    uint32_t timer_count, timer_capacity;
    struct event *timer_event;
    uint64_t armed_ms;      /* what timer_event is set to, 0 = nothing */
    uint64_t running_until; /* while timers run: new ones fire after this time, 0 = not running */

    int signal_fd;
    struct loop_watch signal_watch;
    loop_signal_fn *signal_fn;
    void *signal_arg;
};

void loop_timers_init(struct loop *loop);
void loop_timers_release(struct loop *loop);
/* Makes the next wait end when the first timer is due. */
void loop_timers_arm(struct loop *loop);
void loop_timers_run(struct loop *loop);

#endif
