/* Timers of a loop: a binary heap of the callers' structs above one libevent time-out.
 *
 * A timer moved to a later time keeps its place in the heap; when its old time comes it is put
 * where it belongs. So restarting a time-out on every message costs nothing. */
#include <stdlib.h>
#include <event2/event.h>

#include "common/base/check.h"
#include "common/net/loop_internal.h"
#include "common/base/banned.h"

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *loop = arg;
    loop->armed_ms = 0;
    loop->tick_ms = 0; /* the wait has lasted: read the clock again */
}

void loop_timers_init(struct loop *loop)
{
    loop->timer_event = event_new(loop->base, -1, 0, on_due, loop);
    CHECK(loop->timer_event != NULL);
}

void loop_timers_release(struct loop *loop)
{
    for (uint32_t i = 1; i <= loop->timer_count; i++)
        loop->timers[i]->place = 0;
    event_free(loop->timer_event);
    free(loop->timers);
}

static void put(struct loop *loop, uint32_t place, struct loop_timer *timer)
{
    loop->timers[place] = timer;
    timer->place = place;
}

static void sift_up(struct loop *loop, struct loop_timer *timer, uint32_t place)
{
    while (place > 1 && loop->timers[place / 2]->queued_ms > timer->queued_ms) {
        put(loop, place, loop->timers[place / 2]);
        place /= 2;
    }
    put(loop, place, timer);
}

static void sift_down(struct loop *loop, struct loop_timer *timer, uint32_t place)
{
    for (;;) {
        uint32_t child = place * 2;
        if (child > loop->timer_count)
            break;
        if (child < loop->timer_count &&
            loop->timers[child + 1]->queued_ms < loop->timers[child]->queued_ms)
            child++;
        if (loop->timers[child]->queued_ms >= timer->queued_ms)
            break;
        put(loop, place, loop->timers[child]);
        place = child;
    }
    put(loop, place, timer);
}

static void heap_add(struct loop *loop, struct loop_timer *timer)
{
    if (loop->timer_count + 1 >= loop->timer_capacity) {
        loop->timer_capacity = loop->timer_capacity ? loop->timer_capacity * 2 : 64;
        loop->timers = realloc(loop->timers, loop->timer_capacity * sizeof loop->timers[0]);
        CHECK(loop->timers != NULL);
    }
    loop->timer_count++;
    sift_up(loop, timer, loop->timer_count);
}

static void heap_remove(struct loop *loop, struct loop_timer *timer)
{
    uint32_t place = timer->place;
    CHECK(place >= 1 && place <= loop->timer_count && loop->timers[place] == timer);
    struct loop_timer *last = loop->timers[loop->timer_count--];
    timer->place = 0;
    if (last == timer)
        return;
    sift_up(loop, last, place);
    sift_down(loop, last, last->place);
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn *fn, void *arg)
{
    *timer = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
}

void loop_timer_start_at_ms(struct loop_timer *timer, uint64_t at_ms)
{
    struct loop *loop = timer->loop;
    CHECK(loop_is_here(loop));
    if (at_ms <= loop->running_until)
        at_ms = loop->running_until + 1; /* a callback must not keep its own pass going */
    timer->expires_ms = at_ms;
    if (timer->place) {
        if (at_ms >= timer->queued_ms)
            return;
        timer->queued_ms = at_ms;
        sift_up(loop, timer, timer->place);
    } else {
        timer->queued_ms = at_ms;
        heap_add(loop, timer);
    }
}

void loop_timer_start_ms(struct loop_timer *timer, uint64_t delay_ms)
{
    loop_timer_start_at_ms(timer, loop_now_ms() + delay_ms);
}

void loop_timer_stop(struct loop_timer *timer)
{
    if (!timer->loop || !timer->place)
        return;
    CHECK(loop_is_here(timer->loop));
    heap_remove(timer->loop, timer);
}

bool loop_timer_is_running(const struct loop_timer *timer)
{
    return timer->place != 0;
}

void loop_timers_arm(struct loop *loop)
{
    if (loop->timer_count == 0)
        return; /* a time-out left armed wakes the loop once, for nothing */
    uint64_t due_ms = loop->timers[1]->queued_ms;
    if (loop->armed_ms && loop->armed_ms == due_ms)
        return;
    uint64_t now_ms = loop_now_ms();
    uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
    struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000),
                           .tv_usec = (suseconds_t)(wait_ms % 1000) * 1000};
    CHECK(event_add(loop->timer_event, &wait) == 0);
    loop->armed_ms = due_ms;
}

void loop_timers_run(struct loop *loop)
{
    if (loop->timer_count == 0)
        return;
    uint64_t now_ms = loop_tick_ms(loop);
    loop->running_until = now_ms;
    while (loop->timer_count > 0 && loop->timers[1]->queued_ms <= now_ms) {
        struct loop_timer *timer = loop->timers[1];
        if (timer->expires_ms > timer->queued_ms) {
            timer->queued_ms = timer->expires_ms;
            sift_down(loop, timer, 1);
        } else {
            heap_remove(loop, timer);
            timer->fn(timer->arg);
        }
    }
    loop->running_until = 0;
}
