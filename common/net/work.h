/* Worker pool: slow work is run on a worker and done on the loop.
 *
 * Module state belongs to the loop thread; a worker sees only its struct work and what hangs on it.
 * A hand-off costs a futex wake (4 to 20 us), so only fsync, cold disk reads, name look-ups and
 * the like come here. */
#ifndef CAIRN_NET_WORK_H
#define CAIRN_NET_WORK_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/base/list.h"
#include "common/net/loop.h"

/* Embedded in the caller's struct, which stays where it is until `done` is called; `done` may free
 * or submit it again. The caller sets run and done (both required). */
struct work {
    void (*run)(struct work *work);  /* on a worker: may block, touches only its own work */
    void (*done)(struct work *work); /* on the loop: may touch module state */
    int status;                      /* run's result for done, 0 or a negated err */
    struct list node;                /* the pool's */
    uint32_t strand;                 /* the pool's */
};

struct work_pool;

/* The threads are started as they are needed, and then stay: a process may have many pools, one for
 * each disk, most of them at rest. queue_limit counts what is submitted and not yet done. Owner
 * thread of the loop, as all functions here. Aborts when not even one thread can be started. */
struct work_pool *work_pool_create(struct loop *loop, unsigned thread_count, unsigned queue_limit);
/* Everything submitted is still run, on the workers, and its done called here. Blocks until then.
 */
void work_pool_destroy(struct work_pool *pool);

/* 0, or -ERR_LIMIT when queue_limit works are under way: then the work is untouched, and the caller
 * refuses its request or stops reading from whoever sends more. */
int work_submit(struct work_pool *pool, struct work *work);
/* The same, but works with the same key are run one after another in the order of submission, and
 * their done calls come in that order. Keys are hashed to 1,024 strands: two keys on one
 * strand get more order than they asked for, never less. A work must not wait for another one. */
int work_submit_ordered(struct work_pool *pool, uint64_t strand_key, struct work *work);
/* Submitted and not yet done. */
unsigned work_pool_pending(const struct work_pool *pool);

#endif
