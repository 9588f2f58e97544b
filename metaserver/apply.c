/* Applying committed entries, and when their transaction of the database ends.
 *
 * The log is what makes an entry durable; the database's commit, some ten page writes, only makes
 * it visible to views. So a leader's answers to a batch leave first, and the commit follows behind
 * them in the same iteration of the loop: a client that waits for one answer before it asks again
 * does not wait for the page writes.
 *
 * Whoever reads the state goes through meta_view, or meta_commit before others read, and these
 * commit first what was applied. So no request that came after an answer can see a state from
 * before it. A process that dies in between has the entries in its log and applies them again (R11:
 * the applied index is part of the transaction).
 *
 * Without room (R21) the open transaction is lost as a whole, and its entries come again: they are
 * in the log. While room is short, answers wait for the commit; where it ran out all the same
 * behind an answer, raft_driver_may_read is false until the entry is applied again. */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/metaserver.h"

/* ---- the transaction ---- */

/* The state is that of the last commit. */
static int lose(struct metaserver *m, int status)
{
    m->uncommitted = 0;
    loop_defer_cancel(&m->commit_hook);
    if (status != -ERR_NO_SPACE) {
        meta_distrust_database();
        log_error("meta.database",
                  "error=%s: cannot keep the state in %s; the next start builds it anew",
                  err_name(status), m->database);
        exit(3);
    }
    if (m->driver)
        raft_driver_take_back(m->driver, meta_applied(m));
    return status;
}

int meta_commit(struct metaserver *m)
{
    if (m->uncommitted == 0)
        return 0;
    int status = fs_commit_batch(m->fs);
    if (status == 0)
        status = fs_view_renew(m->view);
    if (status != 0)
        return lose(m, status);
    m->uncommitted = 0;
    loop_defer_cancel(&m->commit_hook);
    return 0;
}

struct fs_view *meta_view(struct metaserver *m)
{
    (void)meta_commit(m);
    return m->view;
}

/* The connections' hooks were scheduled in the same round as this one, some behind it; in the next
 * round they have sent. */
static void on_commit_hook(void *arg)
{
    struct metaserver *m = arg;
    if (m->is_answer_sent) {
        (void)meta_commit(m);
        return;
    }
    m->is_answer_sent = true;
    loop_defer_schedule(&m->commit_hook);
}

void meta_apply_init(struct metaserver *m)
{
    loop_defer_init(&m->commit_hook, m->loop, on_commit_hook, m);
}

/* ---- entries ---- */

static void after_apply(struct metaserver *m, const struct fs_result *result)
{
    if (!m->is_leader)
        return;
    if (result->session_ended)
        sessions_ended(m, result->session_ended);
    if (result->orphan_inode)
        sessions_orphaned(m);
    if (result->table_changed)
        m->plan_at_ms = 0;
}

static int apply_entry(struct metaserver *m, uint64_t index)
{
    const struct raft_entry *entry = raft_driver_entry(m->driver, index);
    struct fs_result result = {0};
    CHECK(entry != NULL);
    if (entry->kind != RAFT_ENTRY_COMMAND)
        return fs_skip(m->fs, index, entry->term);
    int status = fs_apply(m->fs, index, entry->term, entry->payload, &result);
    if (status != 0)
        return status; /* the result is of a disk that failed, not of the command */
#ifdef PLANT_R28_GO_ON
    result.diverged = false;
#endif
    if (result.diverged) {
        log_error("meta.diverged",
                  "index=%llu: this replica's state is not the leader's; if the other replicas "
                  "run, move %s away and start again: it is refilled",
                  (unsigned long long)index, m->options.data);
        abort();
    }
    meta_note_result(m, index, &result);
    after_apply(m, &result);
    return 0;
}

/* Whether an answer may leave before the database's commit. */
static bool is_room_sure(const struct metaserver *m)
{
    if (raft_driver_is_stalled(m->driver))
        return false;
#ifdef PLANT_AMPLE /* not a bug: lets a disk fill up behind an answer, for t0013 */
    return true;
#else
    return space_is_ample(m);
#endif
}

int meta_apply(void *arg, uint64_t first, uint64_t last)
{
    struct metaserver *m = arg;
    meta_begin_results(m, first);
    int status = m->uncommitted == 0 ? fs_begin_batch(m->fs) : 0;
    for (uint64_t index = first; status == 0 && index <= last; index++) {
        m->uncommitted++;
        status = apply_entry(m, index);
    }
    if (status != 0)
        return lose(m, status);
    /* Nobody waits for a follower, and its batches are large: see raft_apply.c. */
    if (!m->is_leader || m->uncommitted >= RAFT_DRIVER_APPLY_MAX || !is_room_sure(m))
        return meta_commit(m);
    m->is_answer_sent = false;
    loop_defer_schedule(&m->commit_hook);
    return 0;
}
