/* The check of all invariants: findings, rows, counters, the mirror of the shard table. */
#include "metaserver/fs/fs_check_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

enum { ROWS_PER_QUESTION = 4096 };

int walk_wrong(struct walk *w, const char *format, ...)
{
    const struct fs_check_options *o = w->options;
    unsigned max = o->findings_max ? o->findings_max : FS_CHECK_FINDINGS_MAX;
    char text[240];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    w->counts->findings++;
    if (o->finding)
        o->finding(o->arg, text);
    w->counts->is_broken_off = w->counts->findings >= max;
    return w->counts->is_broken_off ? -ERR_LIMIT : 0;
}

static int each_row(struct walk *w, struct kv_cursor *c, struct row_key from, uint64_t last,
                    row_fn *fn)
{
    struct slice key, value;
    int status = c->ops->seek(c, slice_of(from.bytes, from.size), &key, &value);
    while (status == 0 && key.size > 0 && key.data[0] == from.bytes[0]) {
        if (key.size >= 9 && key_u64(key, 1) > last)
            return 0;
        status = fn(w, key, value);
        if (status)
            return status;
        const struct fs_check_options *o = w->options;
        if (++w->rows % ROWS_PER_QUESTION == 0 && o->go_on && !o->go_on(o->arg))
            return -ERR_CANCELLED;
        status = c->ops->next(c, &key, &value);
    }
    return status == -ERR_NO_ENTRY ? 0 : status;
}

int walk_rows(struct walk *w, struct row_key from, uint64_t last, row_fn *fn)
{
    struct kv_cursor *c; /* its own: fn may move the view's */
    int status = w->view->kv->ops->cursor_open(w->view->kv, &c);
    if (status)
        return status;
    status = each_row(w, c, from, last, fn);
    c->ops->cursor_close(c);
    return status;
}

static int compare_counts(struct walk *w)
{
    const struct fs_state *a = &w->state;
    const struct fs_check_counts *b = w->counts;
    uint64_t files = b->files + b->links + b->others;
    if (a->file_count != files || a->directory_count != b->directories ||
        a->file_bytes != b->file_bytes || a->garbage_count != b->garbage ||
        a->orphan_count != w->orphans || a->session_count != b->sessions)
        return WRONG(w,
                     "counters: files %llu/%llu bytes %llu/%llu garbage %llu/%llu orphans "
                     "%llu/%llu",
                     (unsigned long long)a->file_count, (unsigned long long)files,
                     (unsigned long long)a->file_bytes, (unsigned long long)b->file_bytes,
                     (unsigned long long)a->garbage_count, (unsigned long long)b->garbage,
                     (unsigned long long)a->orphan_count, (unsigned long long)w->orphans);
    return 0;
}

static int check_table(struct walk *w)
{
    struct err_text why = {""};
    int status = table_load(&w->table, &w->state, w->view);
    if (status == -ERR_CORRUPT)
        return WRONG(w, "shard table: a row of a target or a shard is unreadable");
    if (status)
        return status;
    w->counts->targets = w->table.target_count;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        w->counts->shards += w->table.shards[copies] ? w->table.shard_count : 0;
    if (w->state.copies && shard_table_check(&w->table, &why) != 0)
        return WRONG(w, "shard table: %s", why.text);
    return 0;
}

static int walk_all(struct walk *w)
{
    struct slice key, value;
    int status = state_read(w->view, &w->state);
    if (status == -ERR_NO_ENTRY) { /* nothing was applied yet, or a load that did not finish */
        status = row_seek(w->view, key_of_table(0), 0, &key, &value);
        return status == 0 ? WRONG(w, "rows, but no state: it was not loaded to its end")
                           : w->view->failure;
    }
    if (status == -ERR_CORRUPT)
        return WRONG(w, "the row of the counters is unreadable");
    if (status)
        return status;
    w->counts->cluster = w->state.cluster;
    w->counts->index = w->state.applied_index;
    w->counts->term = w->state.applied_term;
    status = walk_tree(w);
    if (status == 0)
        status = walk_sessions(w);
    if (status == 0)
        status = walk_garbage(w);
    if (status == 0)
        status = compare_counts(w);
    if (status == 0)
        status = check_table(w);
    return status ? status : walk_jobs(w);
}

int fs_check_view(struct fs_view *view, const struct fs_check_options *options,
                  struct fs_check_counts *ret)
{
    struct fs_check_counts counts = {.findings = 0};
    struct walk w = {.options = options,
                     .counts = &counts,
                     .view = view,
                     .seen_max = options->inodes_at_once ? options->inodes_at_once
                                                         : FS_CHECK_INODES_AT_ONCE};
    int status = walk_all(&w);
    free(w.seen);
    shard_table_release(&w.table);
    counts.orphans = w.orphans;
    *ret = counts;
    if (status == -ERR_LIMIT && counts.is_broken_off)
        return 0;
    if (status == -ERR_CORRUPT && counts.findings > 0)
        return 0; /* damage that was told keeps the walk from going on */
    return status;
}

/* ---- the whole of a state machine ---- */

static void keep_first(void *arg, const char *text)
{
    (void)err_set(ERR_CORRUPT, arg, "%s", text);
}

static bool equal_text(const char *a, const char *b)
{
    return slice_equal(slice_str(a), slice_str(b));
}

static bool equal_target(const struct target *a, const struct target *b)
{
    return b && memcmp(&a->uuid, &b->uuid, sizeof a->uuid) == 0 && a->state == b->state &&
           a->maintenance_ms == b->maintenance_ms &&
           a->maintenance_version == b->maintenance_version && a->incarnation == b->incarnation &&
           a->weight == b->weight && a->rebalance == b->rebalance && a->admin == b->admin &&
           equal_text(a->name, b->name) && equal_text(a->address, b->address) &&
           equal_text(a->host, b->host);
}

static bool equal_shard(const struct shard *a, const struct shard *b, unsigned copies)
{
    uint8_t left[SHARD_ROW_MAX], right[SHARD_ROW_MAX];
    if (!a || !b)
        return a == b;
    size_t size = shard_pack_row(a, copies, left);
    return a->epoch == b->epoch && a->changed_version == b->changed_version &&
           size == shard_pack_row(b, copies, right) && memcmp(left, right, size) == 0;
}

static int compare_mirror(const struct shard_table *rows, const struct shard_table *mirror,
                          struct err_text *why)
{
    if (rows->version != mirror->version || rows->target_count != mirror->target_count)
        return err_set(ERR_CORRUPT, why, "shard table: rows and mirror differ in version or size");
    for (unsigned i = 0; i < rows->target_count; i++)
        if (!equal_target(&rows->targets[i], shard_table_target(mirror, rows->targets[i].id)))
            return err_set(ERR_CORRUPT, why, "target %u: row and mirror differ",
                           rows->targets[i].id);
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; n < rows->shard_count; n++)
            if (!equal_shard(shard_table_shard(rows, copies, n),
                             shard_table_shard(mirror, copies, n), copies))
                return err_set(ERR_CORRUPT, why, "shard %u of %u copies: row and mirror differ", n,
                               copies);
    return 0;
}

static int compare_jobs(const struct fs *fs, struct fs_view *view, struct err_text *why)
{
    struct config_values config;
    struct job_list *jobs = calloc(1, sizeof *jobs);
    CHECK(jobs != NULL);
    int status = jobs_load(jobs, view);
    if (status == 0)
        status = config_load(&config, view);
    if (status == 0 && memcmp(&config, &fs->config, sizeof config) != 0)
        status = err_set(ERR_CORRUPT, why, "policy: rows and mirror differ");
    if (status == 0 && !jobs_are_equal(jobs, &fs->jobs))
        status = err_set(ERR_CORRUPT, why, "jobs: rows and mirror differ");
    free(jobs);
    return status;
}

int fs_check(struct fs *fs, struct fs_view *view, struct err_text *why)
{
    struct fs_check_options options = {.findings_max = 1, .finding = keep_first, .arg = why};
    struct fs_check_counts counts;
    struct shard_table rows = {.version = 0};
    CHECK(!fs->in_batch);
    int status = fs_check_view(view, &options, &counts);
    if (status == 0 && counts.findings > 0)
        return -ERR_CORRUPT;
    if (status == 0)
        status = table_load(&rows, &fs->state, view);
    if (status == 0)
        status = compare_mirror(&rows, &fs->table, why);
    if (status == 0)
        status = compare_jobs(fs, view, why);
    shard_table_release(&rows);
    return status;
}
