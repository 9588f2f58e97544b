/* cairn server drain, target drain: the plan, the start, and following it to its end. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/confirm.h"
#include "tools/job_text.h"
#include "tools/job_wait.h"
#include "tools/json.h"

struct drain {
    const struct arguments *a;
    struct blocking_client *client;
    struct bytes status_bytes, plan_bytes;
    struct msg_status_r status;
    struct target_set set;
    struct msg_job_plan_r plan;
    uint64_t rate;
    bool json, has_rate;
};

static int read_options(struct drain *d)
{
    struct err_text why = {""};
    const char *rate = option_text(d->a, "bwlimit");
    if (option_json(d->a, &d->json, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    d->has_rate = rate != NULL;
    if (rate && rate_parse(rate, &d->rate, &why) != 0)
        return complain_text(EXIT_USAGE, "--bwlimit: %s", why.text);
    return EXIT_GOOD;
}

static int choose(struct drain *d, bool exact)
{
    struct err_text why = {""};
    int status = status_fetch(d->client, &d->status_bytes, &d->status, &why);
    if (status != 0)
        return complain(status, "no status of the cluster (%s)", why.text);
    status = targets_choose(&d->status, d->a->words, d->a->word_count, exact, &d->set, &why);
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%s\n  try: cairn %s ls", why.text,
                             exact ? "target" : "server");
    return EXIT_GOOD;
}

static int find_running(struct drain *d, uint32_t *ret_job)
{
    struct err_text why = {""};
    int status = admin_drain_of(d->client, &d->set, false, ret_job, &why);
    return status == 0 ? EXIT_GOOD : complain(status, "no list of jobs (%s)", why.text);
}

static int show_plan(struct drain *d)
{
    struct err_text why = {""};
    int status = admin_plan(d->client, &d->set, &d->plan_bytes, &d->plan, &why);
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%s cannot be drained: %s",
                             d->set.text, why.text);
    if (d->json)
        json_print_line(plan_json(&d->status, &d->set, &d->plan));
    else
        plan_print(stdout, &d->status, &d->set, &d->plan);
    (void)fflush(stdout);
    return EXIT_GOOD;
}

/* A bad plan is refused; at a terminal a good one is asked about. */
static int decide(struct drain *d)
{
    bool is_forced = option_given(d->a, "accept-degraded");
    if (!d->plan.is_good && !is_forced)
        return complain_text(EXIT_REFUSED,
                             "refused: %s cannot be drained as the cluster is now\n"
                             "  fix what is crossed out, or start all the same: "
                             "--accept-degraded (what finds no place stays and counts as blocked)",
                             d->set.text);
    bool asks = d->plan.slots > 0 && !option_given(d->a, "yes") && isatty(STDIN_FILENO);
    if (asks && !confirm_on_terminal("start it?"))
        return complain_text(EXIT_REFUSED, "nothing was changed: not confirmed");
    return EXIT_GOOD;
}

/* Refused although the plan is good: another job is in the way, or something changed since. */
static int not_started(struct drain *d, int status, const struct err_text *said)
{
    char name[JOB_NAME_MAX];
    struct err_text why = {""};
    uint32_t job = 0;
    if (status == -ERR_REFUSED && admin_drain_of(d->client, &d->set, true, &job, &why) == 0 && job)
        return complain_text(EXIT_REFUSED,
                             "refused: %s drains some of %s already\n  name the same servers as it "
                             "does, or first: cairn job cancel %s",
                             job_name(JOB_DRAIN, job, name), d->set.text, name);
    if (status == -ERR_LIMIT)
        return complain_text(EXIT_REFUSED, "refused: too many jobs run at a time\n  try: cairn job "
                                           "ls     (name several servers in one drain)");
    return complain_text((enum exit_code)exit_of(status), "%s cannot be drained: %s", d->set.text,
                         said->text);
}

static int start(struct drain *d, uint32_t *ret_job)
{
    char user[40];
    struct bytes body = {0}, out = {0};
    struct msg_job_start_r reply;
    struct err_text why = {""};
    admin_user(user, sizeof user);
    encode_job_start(&body,
                     &(struct msg_job_start){.kind = JOB_DRAIN,
                                             .targets = target_refs(&d->set),
                                             .rate_max = d->rate,
                                             .by = slice_str(user),
                                             .force = option_given(d->a, "accept-degraded")});
    int status = admin_ask(d->client, MSG_job_start, &body, MSG_job_start_r, &out, &why);
    if (status == 0)
        status = decode_job_start_r(bytes_slice(&out), WIRE_VERSION, &reply);
    if (status == 0)
        *ret_job = reply.job;
    bytes_release(&out);
    return status == 0 ? EXIT_GOOD : not_started(d, status, &why);
}

/* A limit on one that runs already. */
static int set_rate(struct drain *d, uint32_t job)
{
    struct bytes body = {0};
    struct err_text why = {""};
    encode_job_set(&body,
                   &(struct msg_job_set){.job = job, .action = JOB_RATE, .rate_max = d->rate});
    int status = admin_do(d->client, MSG_job_set, &body, &why);
    return status == 0 ? EXIT_GOOD
                       : complain_text((enum exit_code)exit_of(status), "--bwlimit: %s", why.text);
}

static void say_started(const struct drain *d, uint32_t job, bool is_new)
{
    char name[JOB_NAME_MAX], rate[TEXT_SIZE];
    (void)job_name(JOB_DRAIN, job, name);
    if (d->json) {
        json_print_line(json_pack("{s:s s:s s:b}", "event", "started", "job", name, "new", is_new));
        (void)fflush(stdout);
        return;
    }
    FILE *out = option_given(d->a, "wait") ? stderr : stdout;
    (void)fprintf(out, "draining %s   job %s%s", d->set.text, name,
                  is_new ? "" : " (it runs already)");
    if (d->has_rate && d->rate > 0)
        (void)fprintf(out, "   limit %s/s", text_bytes(d->rate, rate));
    (void)fprintf(out, "\n");
    if (!option_given(d->a, "wait"))
        (void)fprintf(out,
                      "follow it: cairn server drain %s --wait     or: cairn job ls -w\n"
                      "end it:    cairn job cancel %s\n",
                      d->set.text, name);
}

static int go_on(struct drain *d, bool exact)
{
    uint32_t job = 0;
    int code = choose(d, exact);
    if (code == EXIT_GOOD)
        code = find_running(d, &job);
    bool is_new = job == 0, is_dry = option_given(d->a, "dry-run");
    if (code == EXIT_GOOD && (is_new || is_dry))
        code = show_plan(d);
    if (code != EXIT_GOOD)
        return code;
    if (is_dry)
        return d->plan.is_good ? EXIT_GOOD : EXIT_REFUSED;
    if (is_new) {
        code = decide(d);
        if (code == EXIT_GOOD)
            code = start(d, &job);
    } else if (d->has_rate) {
        code = set_rate(d, job);
    }
    if (code != EXIT_GOOD)
        return code;
    say_started(d, job, is_new);
    if (!option_given(d->a, "wait"))
        return EXIT_GOOD;
    struct job_wait wait = {d->client, &d->status, &d->set, job, JOB_DRAIN, d->json};
    return job_wait(&wait);
}

static int drain(const struct arguments *a, bool exact)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct drain d = {.a = a};
    int code = read_options(&d);
    if (code == EXIT_GOOD)
        code = cluster_of(a, NULL, cluster);
    if (code == EXIT_GOOD)
        code = connect_admin(cluster, &d.client);
    if (code != EXIT_GOOD)
        return code;
    code = go_on(&d, exact);
    bytes_release(&d.status_bytes);
    bytes_release(&d.plan_bytes);
    (void)blocking_stop(d.client);
    return code;
}

int command_server_drain(const struct arguments *a)
{
    return drain(a, false);
}

int command_target_drain(const struct arguments *a)
{
    return drain(a, true);
}
