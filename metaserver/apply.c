/* Applying committed entries, and when their transaction of the database ends.
 *
 * The log is what makes an entry durable; the database's commit, some ten page writes, only makes
 * it visible to views. So the answers to a batch leave first, and the commit follows behind them in
 * the same iteration of the loop: a client that waits for one answer before it asks again does not
 * wait for the page writes. A follower, whom nobody asks, commits once in FOLLOWER_COMMIT_MS: pages
 * that many entries change are written once.
 *
 * Whoever reads the state goes through meta_view, or meta_commit before others read, and these
 * commit first what was applied. So no request that came after an answer can see a state from
 * before it. A process that dies in between has the entries in its log and applies them again (R11:
 * the applied index is part of the transaction). */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/metaserver.h"

enum { FOLLOWER_COMMIT_MS = 10 };

/* The log keeps what was agreed; without room for the database this node can neither answer nor
 * follow. It ends, and takes the entries up again when it is started with room. */
__attribute__((noreturn)) static void fail(const struct metaserver *m, int status)
{
    log_error("meta.database", "error=%s: cannot keep the state in %s; make room and start again",
              err_name(status), m->database);
    exit(3);
}

/* ---- the transaction ---- */

void meta_commit(struct metaserver *m)
{
    if (m->uncommitted == 0)
        return;
    m->uncommitted = 0;
    loop_defer_cancel(&m->commit_hook);
    loop_timer_stop(&m->commit_timer);
    int status = fs_commit_batch(m->fs);
    if (status == 0)
        status = fs_view_renew(m->view);
    if (status != 0)
        fail(m, status);
}

struct fs_view *meta_view(struct metaserver *m)
{
    meta_commit(m);
    return m->view;
}

static void on_commit_timer(void *arg)
{
    meta_commit(arg);
}

/* The connections' hooks were scheduled in the same round as this one, some behind it; in the next
 * round they have sent. */
static void on_commit_hook(void *arg)
{
    struct metaserver *m = arg;
    if (m->is_answer_sent) {
        meta_commit(m);
        return;
    }
    m->is_answer_sent = true;
    loop_defer_schedule(&m->commit_hook);
}

static void plan_commit(struct metaserver *m)
{
    if (m->uncommitted >= META_APPLY_MAX) {
        meta_commit(m);
    } else if (m->is_leader) {
        m->is_answer_sent = false;
        loop_defer_schedule(&m->commit_hook);
    } else if (!loop_timer_is_running(&m->commit_timer)) {
        loop_timer_start_ms(&m->commit_timer, FOLLOWER_COMMIT_MS);
    }
}

void meta_apply_init(struct metaserver *m)
{
    loop_defer_init(&m->commit_hook, m->loop, on_commit_hook, m);
    loop_timer_init(&m->commit_timer, m->loop, on_commit_timer, m);
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
    if (result.diverged) {
        log_error("meta.diverged",
                  "index=%llu: this replica's state differs from the others'; move %s away and "
                  "start again: it is refilled",
                  (unsigned long long)index, m->options.data);
        abort();
    }
    meta_note_result(m, index, &result);
    after_apply(m, &result);
    return status;
}

static void apply_batch(struct metaserver *m, uint64_t first, uint64_t last)
{
    int status = m->uncommitted == 0 ? fs_begin_batch(m->fs) : 0;
    for (uint64_t index = first; status == 0 && index <= last; index++) {
        m->uncommitted++;
        status = apply_entry(m, index);
    }
    if (status != 0)
        fail(m, status);
    plan_commit(m);
}

void meta_apply(void *arg, uint64_t first, uint64_t last)
{
    struct metaserver *m = arg;
    while (first <= last) {
        uint64_t end = last - first >= META_APPLY_MAX ? first + META_APPLY_MAX - 1 : last;
        uint64_t terms[META_APPLY_MAX];
        for (uint64_t i = first; i <= end; i++) {
            const struct raft_entry *entry = raft_driver_entry(m->driver, i);
            CHECK(entry != NULL);
            terms[i - first] = entry->term;
        }
        meta_begin_results(m, first);
        apply_batch(m, first, end);
        /* A completion must not step raft (proposals wait for the end of the iteration): entries
         * would move and another batch would take the place of these results. */
        for (uint64_t i = first; i <= end; i++)
            raft_driver_complete(m->driver, i, terms[i - first]);
        first = end + 1;
    }
}
