/* Giving committed entries to the state machine: at once for a leader, gathered for a follower,
 * later when the database has no room. */
#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/raft_driver_private.h"

/* Completions must not step raft (proposals wait for the end of the iteration): entries would move.
 */
static int apply_some(struct raft_driver *d, uint64_t first, uint64_t last)
{
    uint64_t terms[RAFT_DRIVER_APPLY_MAX];
    for (uint64_t i = first; i <= last; i++) {
        const struct raft_entry *entry = raft_driver_entry(d, i);
        CHECK(entry != NULL);
        terms[i - first] = entry->term;
    }
    int status = d->options.ops->apply(d->options.arg, first, last);
    if (status != 0)
        return status;
    d->applied_index = last; /* first: completions may look at it */
    if (last > d->answered_index)
        d->answered_index = last;
    for (uint64_t i = first; i <= last; i++)
        raft_driver_complete(d, i, terms[i - first]);
    return 0;
}

/* What is agreed stays in the log. The ballast is given up for it; the daemon makes it again when
 * there is room. */
static void stall(struct raft_driver *d)
{
    if (!d->is_stalled)
        log_error("meta.database_full",
                  "applied=%llu committed=%llu: no room for the database; waiting for space",
                  (unsigned long long)d->applied_index, (unsigned long long)d->apply_wanted);
    d->is_stalled = true;
    (void)log_store_ballast_release(d->options.log);
    loop_timer_start_ms(&d->apply_timer, SPACE_RETRY_MS);
}

void raft_driver_apply_wanted(struct raft_driver *d)
{
    int status = 0;
    while (status == 0 && d->applied_index < d->apply_wanted) {
        uint64_t first = d->applied_index + 1, last = d->apply_wanted;
        if (last - first >= RAFT_DRIVER_APPLY_MAX)
            last = first + RAFT_DRIVER_APPLY_MAX - 1;
        status = apply_some(d, first, last);
    }
    if (status != 0) {
        stall(d);
        return;
    }
    if (d->is_stalled)
        log_info("meta.database_room", "applied=%llu: the database is written again",
                 (unsigned long long)d->applied_index);
    d->is_stalled = false;
    loop_timer_stop(&d->apply_timer);
}

void raft_driver_on_apply_timer(void *arg)
{
    struct raft_driver *d = arg;
    raft_driver_apply_wanted(d);
    raft_driver_serve_reads(d);
}

enum { FOLLOWER_APPLY_MAX = 256, FOLLOWER_APPLY_MS = 20 };

/* Nobody waits for what a follower applies: it gathers entries into larger transactions. Whoever
 * stops being one applies the rest before anything else. */
void raft_driver_apply(struct raft_driver *d, uint64_t upto)
{
    if (upto > d->apply_wanted)
        d->apply_wanted = upto;
    if (d->is_stalled || d->apply_wanted == d->applied_index)
        return; /* the timer's business, or nobody's */
    if (d->role != RAFT_FOLLOWER || d->apply_wanted >= d->applied_index + FOLLOWER_APPLY_MAX)
        raft_driver_apply_wanted(d);
    else if (!loop_timer_is_running(&d->apply_timer))
        loop_timer_start_ms(&d->apply_timer, FOLLOWER_APPLY_MS);
}

void raft_driver_take_back(struct raft_driver *d, uint64_t index)
{
    d->applied_index = index;
    stall(d);
}

void raft_driver_set_applied(struct raft_driver *d, uint64_t index)
{
    d->applied_index = d->apply_wanted = index;
    d->is_stalled = false;
    loop_timer_stop(&d->apply_timer);
}

bool raft_driver_is_behind_answers(const struct raft_driver *d)
{
    return d->applied_index < d->answered_index;
}

bool raft_driver_is_stalled(const struct raft_driver *d)
{
    return d->is_stalled;
}
