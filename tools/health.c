/* What a status means for a person. */
#include "tools/health.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/job_text.h"

const char *health_name(enum health health)
{
    static const char *const names[] = {"HEALTH_OK", "HEALTH_WARN", "HEALTH_ERR"};
    return names[health];
}

const char *target_state_name(uint8_t state)
{
    static const char *const names[] = {"?", "up", "down", "out", "failed"};
    return state <= TARGET_FAILED ? names[state] : "?";
}

const char *space_level_name(uint8_t level)
{
    static const char *const names[] = {"ok", "low", "short", "none", "unheard"};
    return level <= SPACE_UNHEARD ? names[level] : "?";
}

static void __attribute__((format(printf, 3, 4)))
add(struct health_report *r, enum health health, const char *format, ...)
{
    va_list args;
    if (health > r->health)
        r->health = health;
    if (r->line_count == HEALTH_LINES_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(r->lines[r->line_count++], HEALTH_LINE_MAX, format, args);
    va_end(args);
}

static void add_failed_checkpoint(struct health_report *r, unsigned node, struct slice error)
{
    add(r, HEALTH_ERR,
        "CHECKPOINT_FAILED  m%u: %.*s; its log grows until one succeeds: make room or replace the "
        "disk, then: cairn meta checkpoint --node m%u",
        node, error.size > 90 ? 90 : (int)error.size, (const char *)error.data, node);
}

/* One that is low hands over; the cluster refuses when the leader is, or too many are. */
static void judge_space(const struct msg_status_r *s, const struct rec_meta_status *m,
                        struct health_report *r)
{
    static const char *const refused[] = {"the others serve meanwhile", "no new names are taken",
                                          "only deleting works", "nothing can be changed"};
    static const char *const states[] = {"", "low", "nearly full", "full"};
    enum health health = s->space_level > SPACE_LOW ? HEALTH_ERR : HEALTH_WARN;
    const char *effect = s->space_level <= SPACE_NONE ? refused[s->space_level] : "?";
    char left[TEXT_SIZE];
    int size = m->space_place.size > 80 ? 80 : (int)m->space_place.size;
    if (m->space_level == SPACE_OK || m->space_level >= SPACE_UNHEARD)
        return;
    if (size == 0)
        add(r, health,
            "META_FULL  m%u: database_max is nearly reached: %s left, %s; set a larger one and "
            "restart",
            m->node, text_bytes(m->space_free, left), effect);
    else
        add(r, health, "META_DISK_%s  disk %s: %s left on m%u, %s; make room in %.*s",
            m->space_level == SPACE_LOW ? "LOW" : "FULL", states[m->space_level],
            text_bytes(m->space_free, left), m->node, effect, size,
            (const char *)m->space_place.data);
}

static void judge_metas(const struct msg_status_r *s, struct health_report *r)
{
    struct slice cursor = s->metas.raw;
    struct rec_meta_status m;
    while (rec_meta_status_next(&cursor, &m)) {
        r->metas += m.voter;
        r->metas_up += m.voter && m.up;
        if (!m.up)
            add(r, HEALTH_WARN,
                "META_DOWN  m%u (%.*s) does not answer; start it: cairn dev start, or its service",
                m.node, (int)m.address.size, (const char *)m.address.data);
        judge_space(s, &m, r);
    }
    if (s->checkpoint_error.size)
        add_failed_checkpoint(r, s->leader, s->checkpoint_error);
}

/* Of one that does not answer. */
static void judge_absent(const struct rec_target_status *t, struct health_report *r)
{
    char left[TEXT_SIZE];
    int name = (int)t->name.size, address = (int)t->address.size;
    if (t->admin == TARGET_DRAINING && t->slots == 0)
        return; /* it holds nothing: it was switched off, as was said that it may be */
    if (t->admin != TARGET_MAINTENANCE)
        add(r, HEALTH_WARN,
            "SERVER_DOWN  %.*s (%.*s) does not answer; start it, or leave it: its copies are "
            "made anew",
            name, (const char *)t->name.data, address, (const char *)t->address.data);
    else if (t->admin_left_ms)
        add(r, HEALTH_OK,
            "MAINTENANCE  %.*s is away; its copies wait for it for %s more, then they are made "
            "anew",
            name, (const char *)t->name.data, text_duration(t->admin_left_ms, left));
    else
        add(r, HEALTH_OK,
            "MAINTENANCE  %.*s is away; its copies wait for it until: cairn server maintenance "
            "%.*s --end",
            name, (const char *)t->name.data, name, (const char *)t->name.data);
}

static void add_figures(const struct rec_target_status *t, struct health_report *r)
{
    r->targets++;
    r->targets_up += t->state == TARGET_UP;
    r->bytes_total += t->bytes_total;
    r->bytes_used += t->bytes_used;
    r->resync_bytes += t->resync_bytes;
    r->resync_chunks += t->resync_chunks;
    r->crc_errors += t->crc_errors;
    r->blocks_repaired += t->blocks_repaired;
}

/* Returns whether somebody is away on purpose, and nobody else is. */
static bool judge_targets(const struct msg_status_r *s, struct health_report *r)
{
    struct slice cursor = s->targets.raw;
    struct rec_target_status t;
    unsigned away = 0, on_purpose = 0;
    while (rec_target_status_next(&cursor, &t)) {
        add_figures(&t, r);
        away += t.state != TARGET_UP;
        on_purpose += t.state != TARGET_UP && t.state != TARGET_FAILED &&
                      (t.admin == TARGET_MAINTENANCE || (t.admin && t.slots == 0));
        if (t.state == TARGET_DOWN)
            judge_absent(&t, r);
        if (t.state == TARGET_FAILED)
            add(r, HEALTH_WARN,
                "DISK_FAILED  %.*s was taken out, its copies are made anew; replace its disk",
                (int)t.name.size, (const char *)t.name.data);
        if (t.admin != TARGET_DRAINING && t.bytes_total && t.bytes_used > t.bytes_total / 20 * 19)
            add(r, HEALTH_WARN,
                "NEARLY_FULL  %.*s is over 95 %% full; delete files or add a server",
                (int)t.name.size, (const char *)t.name.data);
    }
    return on_purpose > 0 && away == on_purpose;
}

void health_judge_jobs(const struct msg_status_r *s, const struct msg_job_list_r *jobs,
                       struct health_report *report)
{
    struct slice cursor = jobs->jobs.raw;
    struct rec_job_info job;
    char what[TARGETS_TEXT_MAX + 16], name[JOB_NAME_MAX];
    while (rec_job_info_next(&cursor, &job))
        if (job.state == JOB_RUNNING && job.slots_blocked > 0)
            add(report, HEALTH_WARN,
                "JOB_BLOCKED  %s (%.80s): %u shards cannot go on; why: cairn job show %s --blocked",
                job_name(job.kind, job.job, name), job_what(s, &job, what), job.slots_blocked,
                name);
}

/* A log that nobody shortens fills the disk, and a start after a crash of the machine takes as long
 * as replaying all of it. An idle metaserver writes no checkpoint. */
void health_judge_member(const struct msg_meta_member_r *said, bool is_judged_leader,
                         struct health_report *report)
{
    uint64_t late_ms = 2 * said->checkpoint_every_ms + 60000;
    bool is_idle = said->applied_index == said->checkpoint_index;
    if (said->checkpoint_error.size) {
        if (!is_judged_leader)
            add_failed_checkpoint(report, said->node, said->checkpoint_error);
    } else if (!is_idle && said->checkpoint_age_ms != UINT64_MAX &&
               said->checkpoint_age_ms > late_ms)
        add(report, HEALTH_WARN,
            "CHECKPOINT_OLD  m%u: the last is %llu minutes old, its log grows; try: cairn meta "
            "checkpoint --node m%u",
            said->node, (unsigned long long)(said->checkpoint_age_ms / 60000), said->node);
}

void health_judge(const struct msg_status_r *s, struct health_report *ret_report)
{
    struct health_report *r = ret_report;
    memset(r, 0, sizeof *r);
    judge_metas(s, r);
    bool is_on_purpose = judge_targets(s, r);
    if (s->shards_unavailable)
        add(r, HEALTH_ERR,
            "UNAVAILABLE  %u shards have their last good copy on a dead server; start that server",
            s->shards_unavailable);
    if (s->shards_under)
        add(r, is_on_purpose ? HEALTH_OK : HEALTH_WARN,
            "UNDER_REPLICATED  %u shards have fewer than all copies in sync; they heal by "
            "themselves",
            s->shards_under);
    if (s->shards_full + s->shards_under + s->shards_unavailable == 0)
        add(r, HEALTH_WARN, "NOT_FORMED  no shards yet: waiting for chunkservers to register");
}
