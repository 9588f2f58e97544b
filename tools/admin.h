/* Requests of an operator to the leader: jobs, targets, policy. One thread.
 *
 * All are asked again until the client's deadline; each of them may be. `why` gets what the leader
 * says, else the text of the status. */
#ifndef CAIRN_TOOLS_ADMIN_H
#define CAIRN_TOOLS_ADMIN_H

#include "tools/connect.h"
#include "tools/targets.h"

/* One request; the answer's body replaces what is in `out`. */
int admin_ask(struct blocking_client *b, uint16_t code, struct bytes *take_body, uint16_t wanted,
              struct bytes *out, struct err_text *why);
/* Of one that is answered by done_r. */
int admin_do(struct blocking_client *b, uint16_t code, struct bytes *take_body,
             struct err_text *why);

/* `out` holds what the lists point into. */
int admin_jobs(struct blocking_client *b, struct bytes *out, struct msg_job_list_r *ret_jobs,
               struct err_text *why);
int admin_plan(struct blocking_client *b, const struct target_set *set, struct bytes *out,
               struct msg_job_plan_r *ret_plan, struct err_text *why);

/* The job that drains just these targets, or with `any` one that drains some of them; *ret_job 0 =
 * none does. */
int admin_drain_of(struct blocking_client *b, const struct target_set *set, bool any,
                   uint32_t *ret_job, struct err_text *why);
/* With data_loss also those that hold what is needed. */
int targets_remove(struct blocking_client *client, const struct target_set *set, bool data_loss,
                   struct err_text *why);

/* "150M", "150MiB/s", "0" -> bytes a second; -ERR_CONFIG. */
int rate_parse(const char *text, uint64_t *ret_rate, struct err_text *why);
/* Who runs this, for the list of jobs: the name behind sudo, else the user's. */
void admin_user(char *ret_name, size_t size);
/* The leader cannot be heard now, and may be later. */
bool may_come_back(int status);

#endif
