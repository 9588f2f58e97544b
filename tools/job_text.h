/* Jobs for people and scripts: the plan of a drain with its arithmetic, progress, what is blocked,
 * the list. Writes to a stream; the numbers come from elsewhere. */
#ifndef CAIRN_TOOLS_JOB_TEXT_H
#define CAIRN_TOOLS_JOB_TEXT_H

#include <jansson.h>
#include <stdio.h>

#include "tools/progress.h"
#include "tools/targets.h"
#include "tools/text.h"

enum { JOB_NAME_MAX = 16 };

/* "d-17": the letter tells the kind. */
const char *job_name(uint8_t kind, uint32_t job, char ret_name[JOB_NAME_MAX]);
/* "d-17" or "17"; 0 when it is neither. */
uint32_t job_parse(const char *text);
const char *job_state_name(uint8_t state);
/* "drain c3 c4" */
const char *job_what(const struct msg_status_r *s, const struct rec_job_info *job,
                     char ret_text[TARGETS_TEXT_MAX + 16]);
bool job_find(const struct msg_job_list_r *jobs, uint32_t number, struct rec_job_info *ret);

/* ---- the plan ---- */
/* A line per check, with a mark, and under each cross what to do. */
void plan_print(FILE *out, const struct msg_status_r *s, const struct target_set *set,
                const struct msg_job_plan_r *plan);
json_t *plan_json(const struct msg_status_r *s, const struct target_set *set,
                  const struct msg_job_plan_r *plan);

/* ---- progress ---- */
struct job_view { /* borrowed */
    const struct msg_status_r *status;
    const struct msg_job_list_r *jobs; /* for what is blocked */
    const struct rec_job_info *job;
    const struct progress *progress;
};
/* Lines of at most `columns` characters; returns how many. */
unsigned progress_block(FILE *out, const struct job_view *v, unsigned columns);
/* The same on one line, for logs. */
void progress_line(FILE *out, const struct job_view *v);
json_t *progress_json(const struct job_view *v);

/* ---- what is blocked ---- */
const char *reason_name(uint8_t reason); /* "no_room" */
/* "2 shards: those that may take it are full" of each reason, one per line, with what to do. */
void blocked_print(FILE *out, const struct job_view *v);
/* [{"reason", "slots", "target"}] */
json_t *blocked_json(const struct msg_status_r *s, const struct msg_job_list_r *jobs, uint32_t job);

/* ---- the list ---- */
void jobs_print(const struct msg_status_r *s, const struct msg_job_list_r *jobs);
json_t *job_json(const struct msg_status_r *s, const struct msg_job_list_r *jobs,
                 const struct rec_job_info *job);
json_t *jobs_json(const struct msg_status_r *s, const struct msg_job_list_r *jobs);
/* "d-17 drain c3  43%  412.0 MiB/s  ETA 43m31s", one line per job that has not ended. */
void jobs_print_running(const struct msg_status_r *s, const struct msg_job_list_r *jobs);

#endif
