/* The event loop: one loop is one thread; timers, descriptors, wake-ups, the clock of the process.
 *
 * Hides libevent. A process may run several loops, each on a thread of its own. Module state
 * belongs to its loop's thread and so needs no locks; every function here that is not marked "any
 * thread" CHECKs that it is called on the owner. The owner is the thread that called loop_create
 * until loop_run (or loop_adopt) makes the calling thread the owner.
 *
 * One iteration: wait for events; run descriptor, timer and signal callbacks; run what other
 * threads posted; run the deferred hooks. So a hook sees everything that one batch of events
 * brought: one fsync for many log entries, one writev for many replies. */
#ifndef CAIRN_NET_LOOP_H
#define CAIRN_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"

struct event; /* libevent's, opaque */
struct loop;

typedef void loop_fn(void *arg);

/* ---- life ---- */

/* Aborts when descriptors or memory for a loop cannot be had: a process cannot go on without. */
struct loop *loop_create(void);
/* The caller becomes the owner. Returns after loop_stop, at the end of that iteration. May be
 * called again afterwards. */
void loop_run(struct loop *loop);
/* Any thread. A stop before loop_run makes the next loop_run return after one iteration. */
void loop_stop(struct loop *loop);
/* The calling thread becomes the owner of a loop that no thread is running (to tear it down). */
void loop_adopt(struct loop *loop);
/* All watches and signals must have been released before; posts not yet run are dropped, timers
 * and hooks still set are forgotten. */
void loop_destroy(struct loop *loop);
/* True on the owner's thread. Any thread. */
bool loop_is_here(const struct loop *loop);

/* ---- clock: CLOCK_MONOTONIC; any thread, no loop needed ---- */

uint64_t loop_now_ms(void);
uint64_t loop_now_us(void);
/* The time at which this iteration's events were received: free to read, at most one iteration
 * old. For time-outs and statistics, never for leases. Owner thread. */
uint64_t loop_tick_ms(const struct loop *loop);

/* ---- timers: embedded in the caller's struct, which must not move while one is running ---- */

struct loop_timer {
    struct loop *loop;
    loop_fn *fn;
    void *arg;
    uint64_t expires_ms; /* when fn is due */
    uint64_t queued_ms;  /* the key it stands under in the heap; never later than expires_ms */
    uint32_t place;      /* in the heap, from 1; 0 = not running */
};

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn *fn, void *arg);
/* One shot, delay_ms from now; a running timer is set anew. Moving a running timer to a later time
 * costs one comparison (it is put right when its old time comes), so a time-out may be restarted
 * on every message. The callback may start it again or free its struct. */
void loop_timer_start_ms(struct loop_timer *timer, uint64_t delay_ms);
/* The same with an absolute time of loop_now_ms; one that has passed fires in the next iteration.
 */
void loop_timer_start_at_ms(struct loop_timer *timer, uint64_t at_ms);
void loop_timer_stop(struct loop_timer *timer); /* harmless when not running */
bool loop_timer_is_running(const struct loop_timer *timer);

/* ---- descriptors ---- */

/* Level-triggered. The callbacks may release the watch and free its struct. */
struct loop_watch {
    struct loop *loop;
    int fd;
    loop_fn *on_readable, *on_writable; /* either may be NULL */
    void *arg;
    struct event *read_event, *write_event;
    bool reading, writing;
};

/* Nothing is watched until loop_watch_read / _write; the descriptor stays the caller's. */
void loop_watch_init(struct loop_watch *watch, struct loop *loop, int fd, loop_fn *on_readable,
                     loop_fn *on_writable, void *arg);
/* Switching costs one system call at the next wait; asking for the present state costs nothing. */
void loop_watch_read(struct loop_watch *watch, bool on);
void loop_watch_write(struct loop_watch *watch, bool on);
/* Before the descriptor is closed. Harmless on a zeroed or released watch. */
void loop_watch_release(struct loop_watch *watch);

/* ---- wake-ups from other threads ---- */

/* Any thread. Runs fn(arg) on the loop's thread, in the order of posting; one eventfd write per
 * batch and none from the loop's own thread. Never runs fn before it returns. The queue is as long
 * as its posters' own limits allow; above 4 Mi entries the process ends. */
void loop_post(struct loop *loop, loop_fn *fn, void *arg);
/* Owner thread: forgets every post of exactly this fn and arg that has not run. For tear-down, when
 * no other thread posts it any more. */
void loop_post_cancel(struct loop *loop, loop_fn *fn, void *arg);

/* ---- hooks at the end of an iteration ---- */

struct loop_defer {
    struct list node;
    struct loop *loop;
    loop_fn *fn;
    void *arg;
};

void loop_defer_init(struct loop_defer *defer, struct loop *loop, loop_fn *fn, void *arg);
/* Runs fn once at the end of this iteration (of the next, when called outside of one), in the order
 * of scheduling; scheduling it again before it ran changes nothing. A hook scheduled by a hook
 * runs in the same iteration, up to 8 rounds; then the loop polls without waiting and goes on. */
void loop_defer_schedule(struct loop_defer *defer);
void loop_defer_cancel(struct loop_defer *defer); /* harmless when not scheduled */

/* ---- signals ---- */

typedef void loop_signal_fn(void *arg, int signal_number);

/* Blocks SIGTERM, SIGINT and SIGHUP in the calling thread and reports them on this loop instead.
 * Call before other threads are started (they inherit the mask) and for one loop of the process.
 * NULL ends it (the mask stays). */
void loop_watch_signals(struct loop *loop, loop_signal_fn *fn, void *arg);

/* ---- shared scratch ---- */

enum { LOOP_SCRATCH_SIZE = 64 << 10 };
/* LOOP_SCRATCH_SIZE bytes into which all connections of the loop receive, so that an idle one needs
 * no buffer of its own. For connections only: handlers may be looking at a frame in it. */
uint8_t *loop_scratch(struct loop *loop);

#endif
