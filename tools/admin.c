/* Requests of an operator to the leader. */
#include "tools/admin.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/conf.h"

#include "common/base/banned.h"

int admin_ask(struct blocking_client *b, uint16_t code, struct bytes *take_body, uint16_t wanted,
              struct bytes *out, struct err_text *why)
{
    uint16_t got = 0;
    why->text[0] = '\0';
    bytes_clear(out);
    int status = blocking_leader_call(b, code, bytes_slice(take_body), &got, out, why);
    bytes_release(take_body);
    if (status == 0 && got != wanted)
        status = err_set(ERR_PROTOCOL, why, "it answers something else: another version?");
    if (status != 0 && why->text[0] == '\0')
        (void)err_set((enum err) - status, why, "%s", err_text(status));
    return status;
}

int admin_do(struct blocking_client *b, uint16_t code, struct bytes *take_body,
             struct err_text *why)
{
    struct bytes out = {0};
    int status = admin_ask(b, code, take_body, MSG_done_r, &out, why);
    bytes_release(&out);
    return status;
}

int admin_jobs(struct blocking_client *b, struct bytes *out, struct msg_job_list_r *ret_jobs,
               struct err_text *why)
{
    struct bytes body = {0};
    encode_job_list(&body, &(struct msg_job_list){0});
    int status = admin_ask(b, MSG_job_list, &body, MSG_job_list_r, out, why);
    return status ? status : decode_job_list_r(bytes_slice(out), WIRE_VERSION, ret_jobs);
}

int admin_drain_of(struct blocking_client *b, const struct target_set *set, bool any,
                   uint32_t *ret_job, struct err_text *why)
{
    struct bytes bytes = {0};
    struct msg_job_list_r jobs;
    struct rec_job_info job;
    int status = admin_jobs(b, &bytes, &jobs, why);
    uint32_t found = 0;
    struct slice cursor = status == 0 ? jobs.jobs.raw : slice_of(NULL, 0);
    while (rec_job_info_next(&cursor, &job)) {
        bool is_under_way = job.state == JOB_RUNNING || job.state == JOB_PAUSED;
        if (job.kind == JOB_DRAIN && is_under_way &&
            (any ? target_set_meets(set, job.targets) : target_set_is(set, job.targets)))
            found = job.job;
    }
    bytes_release(&bytes);
    if (status == 0)
        *ret_job = found;
    return status;
}

int admin_plan(struct blocking_client *b, const struct target_set *set, struct bytes *out,
               struct msg_job_plan_r *ret_plan, struct err_text *why)
{
    struct bytes body = {0};
    encode_job_plan(&body, &(struct msg_job_plan){.kind = JOB_DRAIN, .targets = target_refs(set)});
    int status = admin_ask(b, MSG_job_plan, &body, MSG_job_plan_r, out, why);
    return status ? status : decode_job_plan_r(bytes_slice(out), WIRE_VERSION, ret_plan);
}

int targets_remove(struct blocking_client *client, const struct target_set *set, bool data_loss,
                   struct err_text *why)
{
    struct bytes body = {0};
    encode_target_remove(
        &body, &(struct msg_target_remove){.targets = target_refs(set), .data_loss = data_loss});
    return admin_do(client, MSG_target_remove, &body, why);
}

int rate_parse(const char *text, uint64_t *ret_rate, struct err_text *why)
{
    char number[32];
    size_t size = strlen(text);
    if (size > 2 && strcmp(text + size - 2, "/s") == 0)
        size -= 2;
    if (size >= sizeof number)
        return err_set(ERR_CONFIG, why, "'%.40s' is no rate (example: 150M)", text);
    (void)snprintf(number, sizeof number, "%.*s", (int)size, text);
    if (conf_parse_size(number, ret_rate, NULL) != 0)
        return err_set(ERR_CONFIG, why, "'%.40s' is no rate (example: 150M; 0 = no limit)", text);
    return 0;
}

void admin_user(char *ret_name, size_t size)
{
    const struct passwd *user = getpwuid(getuid());
    const char *behind = getenv("SUDO_USER"), *name = user ? user->pw_name : "?";
    (void)snprintf(ret_name, size, "%.32s", behind && *behind ? behind : name);
}

bool may_come_back(int status)
{
    switch (-status) {
    case ERR_TIMEOUT:
    case ERR_UNREACHABLE:
    case ERR_NOT_LEADER:
    case ERR_CLOSED:
    case ERR_BUSY:
    case ERR_UNAVAILABLE:
        return true;
    default:
        return false;
    }
}
