/* Waiting for the end of a job. */
#include "tools/job_wait.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/net/loop.h"
#include "tools/admin.h"
#include "tools/job_text.h"
#include "tools/json.h"

#include "common/base/banned.h"

enum {
    POLL_US = 500000,
    LINE_MS = 10000,
    EVENT_MS = 2000,
    COLUMNS_DEFAULT = 80,
    PARTING_MAX = 640
};

/* ---- Ctrl-C ---- */

static char parting[PARTING_MAX];

/* The call under way may last for seconds; nobody wants to wait for that. */
static void on_signal(int number)
{
    if (write(STDERR_FILENO, parting, strlen(parting)) < 0) {
        /* nobody reads it */
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number); /* delivered when this returns */
}

static void on_interrupt_say(const struct job_wait *w, const char *name)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)snprintf(parting, sizeof parting,
                   "\n%s goes on without this command\n"
                   "  follow it: cairn server drain %s --wait     or: cairn job ls -w\n"
                   "  end it:    cairn job cancel %s\n",
                   name, w->set->text, name);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- what is shown ---- */

struct shown {
    bool is_terminal;
    unsigned block_lines; /* on the terminal, to be written over */
    uint64_t next_ms;     /* of a line or an event */
    uint8_t state;        /* that was shown */
    bool is_lost;         /* the cluster does not answer; that was said */
    char blocked[256];    /* events: what was said last */
};

static unsigned terminal_columns(void)
{
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_DEFAULT;
    return size.ws_col;
}

static bool is_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

/* Back to its first line, which ends it; what stood there goes. */
static void erase_block(struct shown *shown)
{
    if (shown->block_lines)
        (void)fprintf(stderr, "\033[%uA\r\033[J", shown->block_lines);
    shown->block_lines = 0;
}

static void show_event(struct shown *shown, const struct job_view *v)
{
    json_t *event = json_pack("{s:s}", "event", "progress"), *blocked;
    json_object_update_new(event, progress_json(v));
    json_print_line(event);
    blocked = blocked_json(v->status, v->jobs, v->job->job);
    char *text = json_dumps(blocked, JSON_COMPACT);
    if (text && strncmp(text, shown->blocked, sizeof shown->blocked - 1) != 0) {
        (void)snprintf(shown->blocked, sizeof shown->blocked, "%s", text);
        char name[JOB_NAME_MAX];
        json_print_line(json_pack("{s:s s:s s:O}", "event", "blocked", "job",
                                  job_name(v->job->kind, v->job->job, name), "blocked", blocked));
    }
    free(text);
    json_decref(blocked);
    (void)fflush(stdout);
}

static void show(struct shown *shown, const struct job_wait *w, const struct job_view *v)
{
    bool is_due = loop_now_ms() >= shown->next_ms || v->job->state != shown->state;
    shown->state = v->job->state;
    if (!w->json && shown->is_terminal) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        unsigned lines = progress_block(out, v, terminal_columns() - 1);
        (void)fclose(out);
        erase_block(shown);
        shown->block_lines = lines;
        (void)fputs(text, stderr);
        free(text);
        return;
    }
    if (!is_due)
        return;
    shown->next_ms = loop_now_ms() + (w->json ? EVENT_MS : LINE_MS);
    if (w->json)
        show_event(shown, v);
    else
        progress_line(stderr, v);
}

static void show_lost(struct shown *shown, const struct job_wait *w, const struct err_text *why)
{
    if (shown->is_lost)
        return;
    shown->is_lost = true;
    if (w->json) {
        json_print_line(json_pack("{s:s s:s}", "event", "waiting", "why", why->text));
        (void)fflush(stdout);
        return;
    }
    erase_block(shown);
    (void)fprintf(stderr, "the cluster does not answer (%s); asking again, the job is not lost\n",
                  why->text);
}

static void show_found(struct shown *shown, const struct job_wait *w)
{
    if (shown->is_lost && !w->json)
        (void)fprintf(stderr, "the cluster answers again\n");
    shown->is_lost = false;
}

/* ---- the end ---- */

static int say_done(const struct job_wait *w, const struct rec_job_info *job)
{
    char chunks[TEXT_SIZE], bytes[TEXT_SIZE], took[TEXT_SIZE], name[JOB_NAME_MAX];
    int64_t ns = job->ended_ns - job->started_ns;
    uint64_t ms = job->ended_ns && ns > 0 ? (uint64_t)ns / 1000000 : job->age_ms;
    if (w->json) {
        json_print_line(json_pack("{s:s s:s s:s s:s s:b s:o s:o s:o}", "event", "done", "job",
                                  job_name(job->kind, job->job, name), "state", "done", "targets",
                                  w->set->text, "safe_to_power_off", w->set->is_whole, "chunks",
                                  json_of_number(job->chunks_done), "bytes",
                                  json_of_number(job->bytes_done), "ms", json_of_number(ms)));
        return EXIT_GOOD;
    }
    (void)printf("done: %s chunks (%s) moved and verified in %s.  %s hold%s no needed data: %s\n",
                 text_count(job->chunks_done, chunks), text_bytes(job->bytes_done, bytes),
                 text_duration(ms, took), w->set->text, w->set->count > 1 ? "" : "s",
                 w->set->is_whole ? "SAFE TO POWER OFF" : "SAFE TO TAKE OUT");
    (void)printf("next: cairn %s remove %s\n", w->set->is_whole ? "server" : "target",
                 w->set->text);
    return EXIT_GOOD;
}

static int say_cancelled(const struct job_wait *w, const struct rec_job_info *job)
{
    char chunks[TEXT_SIZE], name[JOB_NAME_MAX];
    (void)job_name(job->kind, job->job, name);
    if (w->json) {
        json_print_line(
            json_pack("{s:s s:s s:s}", "event", "done", "job", name, "state", "cancelled"));
        return EXIT_CANCELLED;
    }
    return complain_text(
        EXIT_CANCELLED,
        "%s was cancelled: %s is active again; %s chunks were moved and stay where "
        "they are (nothing is lost)",
        name, w->set->text, text_count(job->chunks_done, chunks));
}

static int say_forgotten(const struct job_wait *w, const char *name)
{
    return complain_text(EXIT_ERROR,
                         "%s is not in the list of jobs any more\n"
                         "  try: cairn server ls     (state 'drained' means: %s is safe to power "
                         "off)",
                         name, w->set->text);
}

int job_wait(const struct job_wait *w)
{
    struct shown shown = {.is_terminal = is_terminal()};
    struct progress progress;
    struct bytes bytes = {0};
    char name[JOB_NAME_MAX];
    int code = -1;
    progress_init(&progress);
    on_interrupt_say(w, job_name(w->kind, w->job, name));
    while (code < 0) {
        struct msg_job_list_r jobs;
        struct rec_job_info job;
        struct err_text why = {""};
        struct job_view view = {w->status, &jobs, &job, &progress};
        int status = admin_jobs(w->client, &bytes, &jobs, &why);
        if (status != 0 && may_come_back(status)) {
            show_lost(&shown, w, &why);
        } else if (status != 0) {
            code = complain_text((enum exit_code)exit_of(status), "%s cannot be followed: %s", name,
                                 why.text);
        } else if (!job_find(&jobs, w->job, &job)) {
            code = say_forgotten(w, name);
        } else {
            show_found(&shown, w);
            progress_add(&progress, &job, loop_now_ms());
            show(&shown, w, &view);
            if (job.state == JOB_DONE)
                code = say_done(w, &job);
            else if (job.state == JOB_CANCELLED)
                code = say_cancelled(w, &job);
        }
        if (code < 0)
            (void)usleep(POLL_US);
    }
    bytes_release(&bytes);
    return code;
}
