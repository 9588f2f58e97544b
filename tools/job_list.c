/* The list of jobs. */
#include <string.h>
#include <time.h>

#include "tools/job_text.h"
#include "tools/json.h"

#include "common/base/banned.h"

/* "14:02 by alice"; with the date when it is of another day. */
static void started_text(const struct rec_job_info *job, char *ret_text, size_t size)
{
    char when[32] = "?";
    time_t seconds = (time_t)(job->started_ns / 1000000000), now = time(NULL);
    struct tm broken, today;
    if (localtime_r(&seconds, &broken) && localtime_r(&now, &today)) {
        if (broken.tm_year == today.tm_year && broken.tm_yday == today.tm_yday)
            (void)strftime(when, sizeof when, "%H:%M", &broken);
        else
            (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M", &broken);
    }
    (void)snprintf(ret_text, size, "%s%s%.*s", when, job->by.size ? " by " : "",
                   job->by.size > 24 ? 24 : (int)job->by.size, (const char *)job->by.data);
}

static bool has_ended(const struct rec_job_info *job)
{
    return job->state == JOB_DONE || job->state == JOB_CANCELLED;
}

static void eta_or_dash(const struct progress *p, char ret_text[TEXT_SIZE])
{
    if (p->eta_ms == PROGRESS_NO_ETA)
        (void)snprintf(ret_text, TEXT_SIZE, "-");
    else
        (void)text_duration(p->eta_ms, ret_text);
}

static void add_row(struct text_table *table, const struct msg_status_r *s,
                    const struct rec_job_info *job)
{
    char name[JOB_NAME_MAX], what[TARGETS_TEXT_MAX + 16], percent[16], moved[TEXT_SIZE];
    char rate[TEXT_SIZE], eta[TEXT_SIZE] = "-", blocked[16], started[TABLE_CELL_MAX];
    struct progress p = progress_of(job);
    if (job->state == JOB_CANCELLED)
        (void)snprintf(percent, sizeof percent, "-");
    else
        (void)snprintf(percent, sizeof percent, "%u%%", p.permille / 10);
    (void)snprintf(blocked, sizeof blocked, "%u", job->slots_blocked);
    started_text(job, started, sizeof started);
    if (!has_ended(job))
        eta_or_dash(&p, eta);
    const char *row[] = {job_name(job->kind, job->job, name),
                         job_what(s, job, what),
                         job_state_name(job->state),
                         percent,
                         text_bytes(job->bytes_done, moved),
                         text_rate(p.rate, p.rate ? 1000 : 0, rate),
                         eta,
                         has_ended(job) ? "-" : blocked,
                         started};
    text_table_row(table, row);
}

void jobs_print(const struct msg_status_r *s, const struct msg_job_list_r *jobs)
{
    static const char *const head[] = {"JOB",  "WHAT", "STATE",   "PROGRESS", "MOVED",
                                       "RATE", "ETA",  "BLOCKED", "STARTED"};
    struct text_table table;
    struct slice cursor = jobs->jobs.raw;
    struct rec_job_info job;
    text_table_init(&table, sizeof head / sizeof head[0]);
    text_table_row(&table, head);
    while (rec_job_info_next(&cursor, &job))
        add_row(&table, s, &job);
    text_table_print(&table);
    text_table_release(&table);
}

json_t *job_json(const struct msg_status_r *s, const struct msg_job_list_r *jobs,
                 const struct rec_job_info *job)
{
    char what[TARGETS_TEXT_MAX + 16], targets[TARGETS_TEXT_MAX];
    struct progress p = progress_of(job);
    struct job_view v = {.status = s, .jobs = jobs, .job = job, .progress = &p};
    json_t *row = progress_json(&v);
    json_object_set_new(row, "what", json_string(job_what(s, job, what)));
    json_object_set_new(row, "targets", json_string(targets_text(s, job->targets, targets)));
    json_object_set_new(row, "rate_max", json_of_number(job->rate_max));
    json_object_set_new(row, "by", json_of_slice(job->by));
    json_object_set_new(row, "started_ns", json_integer(job->started_ns));
    json_object_set_new(row, "ended_ns", job->ended_ns ? json_integer(job->ended_ns) : json_null());
    json_object_set_new(row, "age_ms", json_of_number(job->age_ms));
    json_object_set_new(row, "blocked", blocked_json(s, jobs, job->job));
    return row;
}

json_t *jobs_json(const struct msg_status_r *s, const struct msg_job_list_r *jobs)
{
    json_t *list = json_array();
    struct slice cursor = jobs->jobs.raw;
    struct rec_job_info job;
    while (rec_job_info_next(&cursor, &job))
        json_array_append_new(list, job_json(s, jobs, &job));
    return list;
}

void jobs_print_running(const struct msg_status_r *s, const struct msg_job_list_r *jobs)
{
    struct slice cursor = jobs->jobs.raw;
    struct rec_job_info job;
    for (bool is_first = true; rec_job_info_next(&cursor, &job);) {
        char name[JOB_NAME_MAX], what[TARGETS_TEXT_MAX + 16], rate[TEXT_SIZE], eta[TEXT_SIZE];
        struct progress p = progress_of(&job);
        if (has_ended(&job))
            continue;
        eta_or_dash(&p, eta);
        (void)printf("%-8s %s %s   %s   %u%%   %s   ETA %s   blocked %u\n", is_first ? "jobs" : "",
                     job_name(job.kind, job.job, name), job_what(s, &job, what),
                     job_state_name(job.state), p.permille / 10,
                     text_rate(p.rate, p.rate ? 1000 : 0, rate), eta, job.slots_blocked);
        is_first = false;
    }
}
