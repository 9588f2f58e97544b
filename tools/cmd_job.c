/* cairn job ls, show, set, pause, resume, cancel. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/job_text.h"
#include "tools/json.h"

enum { BLOCK_COLUMNS = 200 };

struct listing {
    struct blocking_client *client;
    struct bytes status_bytes, job_bytes;
    struct msg_status_r status;
    struct msg_job_list_r jobs;
};

static int listing_begin(const struct arguments *a, struct listing *ret)
{
    char cluster[CLUSTER_TEXT_MAX];
    *ret = (struct listing){0};
    int code = cluster_of(a, NULL, cluster);
    return code == EXIT_GOOD ? connect_admin(cluster, &ret->client) : code;
}

static int listing_fetch(struct listing *l)
{
    struct err_text why = {""};
    bytes_clear(&l->status_bytes);
    int status = status_fetch(l->client, &l->status_bytes, &l->status, &why);
    if (status == 0)
        status = admin_jobs(l->client, &l->job_bytes, &l->jobs, &why);
    return status == 0 ? EXIT_GOOD : complain(status, "no list of jobs (%s)", why.text);
}

static void listing_end(struct listing *l)
{
    bytes_release(&l->status_bytes);
    bytes_release(&l->job_bytes);
    (void)blocking_stop(l->client);
}

static int no_job(const char *word)
{
    return complain_text(EXIT_NOT_FOUND, "no job is called '%.40s'\n  try: cairn job ls", word);
}

int command_job_ls(const struct arguments *a)
{
    struct listing l;
    struct err_text why = {""};
    unsigned every = 0;
    bool json = false;
    if (option_json(a, &json, &why) != 0 ||
        (option_given(a, "watch") && option_number(a, "watch", 2, 1, 3600, &every, &why) != 0))
        return complain_text(EXIT_USAGE, "%s", why.text);
    int code = listing_begin(a, &l);
    if (code != EXIT_GOOD)
        return code;
    do {
        code = listing_fetch(&l);
        if (every && isatty(STDOUT_FILENO))
            (void)printf("\033[H\033[2J");
        if (code == EXIT_GOOD)
            json ? json_print(jobs_json(&l.status, &l.jobs)) : jobs_print(&l.status, &l.jobs);
        (void)fflush(stdout);
        if (every)
            (void)sleep(every);
    } while (every);
    listing_end(&l);
    return code;
}

static void show_job(const struct listing *l, const struct rec_job_info *job, bool only_blocked)
{
    char name[JOB_NAME_MAX], what[TARGETS_TEXT_MAX + 16], rate[TEXT_SIZE];
    struct progress p = progress_of(job);
    struct job_view v = {&l->status, &l->jobs, job, &p};
    if (!only_blocked) {
        (void)printf("%s   %s   %s   limit %s%s\n", job_name(job->kind, job->job, name),
                     job_what(&l->status, job, what), job_state_name(job->state),
                     job->rate_max ? text_bytes(job->rate_max, rate) : "none",
                     job->rate_max ? "/s" : "");
        (void)progress_block(stdout, &v, BLOCK_COLUMNS);
    }
    blocked_print(stdout, &v);
    if (only_blocked && job->slots_blocked == 0)
        (void)printf("nothing is blocked\n");
}

int command_job_show(const struct arguments *a)
{
    struct listing l;
    struct rec_job_info job;
    struct err_text why = {""};
    bool json = false;
    uint32_t number = job_parse(a->words[0]);
    if (option_json(a, &json, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    int code = listing_begin(a, &l);
    if (code != EXIT_GOOD)
        return code;
    code = listing_fetch(&l);
    if (code == EXIT_GOOD && !job_find(&l.jobs, number, &job))
        code = no_job(a->words[0]);
    else if (code == EXIT_GOOD && json)
        json_print(option_given(a, "blocked") ? blocked_json(&l.status, &l.jobs, number)
                                              : job_json(&l.status, &l.jobs, &job));
    else if (code == EXIT_GOOD)
        show_job(&l, &job, option_given(a, "blocked"));
    listing_end(&l);
    return code;
}

/* ---- changing one ---- */

static void say_changed(const struct listing *l, const struct rec_job_info *job,
                        enum job_action action, uint64_t rate)
{
    char name[JOB_NAME_MAX], text[TEXT_SIZE], targets[TARGETS_TEXT_MAX];
    (void)job_name(job->kind, job->job, name);
    switch (action) {
    case JOB_RATE:
        if (rate)
            (void)printf("%s: limit %s/s from now on\n", name, text_bytes(rate, text));
        else
            (void)printf("%s: no limit of its own from now on\n", name);
        return;
    case JOB_PAUSE:
        (void)printf("%s is paused: no new moves\n  resume it: cairn job resume %s\n", name, name);
        return;
    case JOB_RESUME:
        (void)printf("%s goes on\n", name);
        return;
    case JOB_CANCEL:
        (void)printf("cancelled %s: %s is active again; %s chunks were moved and stay where they "
                     "are (nothing is lost)\n",
                     name, targets_text(&l->status, job->targets, targets),
                     text_count(job->chunks_done, text));
        return;
    }
}

static int change(struct listing *l, const char *word, enum job_action action, uint64_t rate)
{
    struct rec_job_info job;
    struct bytes body = {0};
    struct err_text why = {""};
    uint32_t number = job_parse(word);
    int code = listing_fetch(l);
    if (code != EXIT_GOOD)
        return code;
    if (!job_find(&l->jobs, number, &job))
        return no_job(word);
    encode_job_set(
        &body, &(struct msg_job_set){.job = number, .action = (uint8_t)action, .rate_max = rate});
    int status = admin_do(l->client, MSG_job_set, &body, &why);
    if (status == -ERR_REFUSED)
        return complain_text(EXIT_REFUSED, "refused: %.40s has ended (%s)\n  try: cairn job ls",
                             word, job_state_name(job.state));
    if (status != 0)
        return complain_text((enum exit_code)exit_of(status), "%.40s: %s\n  try: cairn job ls",
                             word, why.text);
    say_changed(l, &job, action, rate);
    return EXIT_GOOD;
}

static int change_job(const struct arguments *a, enum job_action action, uint64_t rate)
{
    struct listing l;
    int code = listing_begin(a, &l);
    for (unsigned i = 0; code == EXIT_GOOD && i < a->word_count; i++)
        code = change(&l, a->words[i], action, rate);
    if (l.client)
        listing_end(&l);
    return code;
}

int command_job_set(const struct arguments *a)
{
    const char *text = option_text(a, "bwlimit");
    struct err_text why = {""};
    uint64_t rate = 0;
    if (!text)
        return complain_text(EXIT_USAGE, "set what?\n  try: cairn job set %s --bwlimit 150M",
                             a->words[0]);
    if (rate_parse(text, &rate, &why) != 0)
        return complain_text(EXIT_USAGE, "--bwlimit: %s", why.text);
    return change_job(a, JOB_RATE, rate);
}

int command_job_pause(const struct arguments *a)
{
    return change_job(a, JOB_PAUSE, 0);
}

int command_job_resume(const struct arguments *a)
{
    return change_job(a, JOB_RESUME, 0);
}

int command_job_cancel(const struct arguments *a)
{
    return change_job(a, JOB_CANCEL, 0);
}
