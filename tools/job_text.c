/* Jobs for people and scripts: names, progress, what is blocked. */
#include "tools/job_text.h"

#include <stdlib.h>
#include <string.h>

#include "tools/json.h"

#include "common/base/banned.h"

enum { BAR_WIDTH = 24, BAR_MIN = 6, COLUMNS_MIN = 20, LINE_SIZE = 512 };

/* ---- names ---- */

static const char *kind_name(uint8_t kind)
{
    return kind == JOB_DRAIN ? "drain" : kind == JOB_COPIES ? "copies" : "job";
}

const char *job_name(uint8_t kind, uint32_t job, char ret_name[JOB_NAME_MAX])
{
    (void)snprintf(ret_name, JOB_NAME_MAX, "%c-%u", kind_name(kind)[0], job);
    return ret_name;
}

uint32_t job_parse(const char *text)
{
    char *end;
    if (text[0] >= 'a' && text[0] <= 'z' && text[1] == '-')
        text += 2;
    if (text[0] < '0' || text[0] > '9')
        return 0;
    unsigned long long number = strtoull(text, &end, 10);
    return *end || number > UINT32_MAX ? 0 : (uint32_t)number;
}

const char *job_state_name(uint8_t state)
{
    static const char *const names[] = {"?", "running", "paused", "done", "cancelled"};
    return state <= JOB_CANCELLED ? names[state] : "?";
}

const char *job_what(const struct msg_status_r *s, const struct rec_job_info *job,
                     char ret_text[TARGETS_TEXT_MAX + 16])
{
    char targets[TARGETS_TEXT_MAX];
    targets_text(s, job->targets, targets);
    (void)snprintf(ret_text, TARGETS_TEXT_MAX + 16, "%s%s%s", kind_name(job->kind),
                   targets[0] ? " " : "", targets);
    return ret_text;
}

bool job_find(const struct msg_job_list_r *jobs, uint32_t number, struct rec_job_info *ret)
{
    struct slice cursor = jobs->jobs.raw;
    while (rec_job_info_next(&cursor, ret))
        if (ret->job == number)
            return true;
    return false;
}

/* ---- what is blocked ---- */

static const struct {
    const char *name, *text, *advice;
} reasons[] = {
    [0] = {"unknown", "an unknown reason", "a newer cairn knows it"},
    [JOB_NO_TARGET] = {"no_target", "no other server may take them", "add a server"},
    [JOB_NO_ROOM] = {"no_room", "the servers that may take them are full",
                     "add a server or delete files"},
    [JOB_NO_SOURCE] = {"no_source", "no good copy of them is up",
                       "start the servers that are down"},
    [JOB_REPAIR] = {"repair", "another copy of them is being made first",
                    "they go on by themselves"},
    [JOB_STORM] = {"storm", "too many servers are away",
                   "start those that are down; nothing moves meanwhile"},
    [JOB_FILE_OPEN] = {"file_open", "a file in them is open for writing",
                       "they go on by themselves"},
};

static unsigned reason_index(uint8_t reason)
{
    return reason <= JOB_FILE_OPEN ? reason : 0;
}

const char *reason_name(uint8_t reason)
{
    return reasons[reason_index(reason)].name;
}

static bool next_blocked(struct slice *cursor, uint32_t job, struct rec_job_blocked *ret)
{
    while (rec_job_blocked_next(cursor, ret))
        if (ret->job == job && ret->slots > 0)
            return true;
    return false;
}

static void blocked_text(const struct msg_status_r *s, const struct rec_job_blocked *b,
                         char *ret_text, size_t size)
{
    char name[TARGET_NAME_MAX];
    (void)snprintf(ret_text, size, "%u shard%s: %s%s%s", b->slots, b->slots == 1 ? "" : "s",
                   reasons[reason_index(b->reason)].text, b->target ? ", waiting for " : "",
                   b->target ? target_name(s, b->target, name) : "");
}

void blocked_print(FILE *out, const struct job_view *v)
{
    struct slice cursor = v->jobs->blocked.raw;
    struct rec_job_blocked b;
    char line[LINE_SIZE];
    while (next_blocked(&cursor, v->job->job, &b)) {
        blocked_text(v->status, &b, line, sizeof line);
        (void)fprintf(out, "blocked: %s\n         %s\n", line,
                      reasons[reason_index(b.reason)].advice);
    }
}

json_t *blocked_json(const struct msg_status_r *s, const struct msg_job_list_r *jobs, uint32_t job)
{
    json_t *list = json_array();
    struct slice cursor = jobs->blocked.raw;
    struct rec_job_blocked b;
    char name[TARGET_NAME_MAX];
    while (next_blocked(&cursor, job, &b))
        json_array_append_new(
            list, json_pack("{s:s s:i s:o}", "reason", reason_name(b.reason), "shards",
                            (int)b.slots, "target",
                            b.target ? json_string(target_name(s, b.target, name)) : json_null()));
    return list;
}

/* ---- progress ---- */

static const char *eta_text(const struct progress *p, char ret_text[TEXT_SIZE])
{
    if (p->eta_ms == PROGRESS_NO_ETA)
        (void)snprintf(ret_text, TEXT_SIZE, "-");
    else
        (void)text_duration(p->eta_ms, ret_text);
    return ret_text;
}

static const char *speed_text(const struct progress *p, char ret_text[TEXT_SIZE])
{
    return text_rate(p->rate, p->rate ? 1000 : 0, ret_text);
}

/* "12,982/30,190 chunks  792.0 GiB/1.8 TiB  412.0 MiB/s  ETA 43m31s" */
static void numbers_text(const struct progress *p, char *ret_text, size_t size)
{
    char a[TEXT_SIZE], b[TEXT_SIZE], c[TEXT_SIZE], d[TEXT_SIZE], e[TEXT_SIZE], f[TEXT_SIZE];
    (void)snprintf(ret_text, size, "%s/%s chunks  %s/%s  %s  ETA %s", text_count(p->chunks_done, a),
                   text_count(p->chunks_done + p->chunks_left, b), text_bytes(p->bytes_done, c),
                   text_bytes(p->bytes_done + p->bytes_left, d), speed_text(p, e), eta_text(p, f));
}

/* As many characters as there is room for; the bytes of one stay together. */
static void print_cut(FILE *out, const char *line, unsigned columns)
{
    size_t at = 0;
    for (unsigned n = 0; line[at] && n < columns; n++)
        do
            at++;
        while (((unsigned char)line[at] & 0xc0) == 0x80);
    (void)fprintf(out, "%.*s\n", (int)at, line);
}

static void bar_text(unsigned permille, unsigned width, char *ret_text, size_t size)
{
    size_t at = 0;
    ret_text[0] = '\0';
    for (unsigned i = 0; i < width && at + 4 < size; i++)
        at += (size_t)snprintf(ret_text + at, size - at, "%s",
                               i < permille * width / 1000 ? "\xe2\x96\x88" : "\xe2\x96\x91");
}

static void flight_text(const struct progress *p, char *ret_text, size_t size)
{
    (void)snprintf(ret_text, size, "in flight %u   shards left %u   blocked %u%s", p->slots_moving,
                   p->slots_left, p->slots_blocked, p->state == JOB_PAUSED ? "   PAUSED" : "");
}

unsigned progress_block(FILE *out, const struct job_view *v, unsigned columns)
{
    const struct progress *p = v->progress;
    char line[LINE_SIZE], numbers[LINE_SIZE / 2], bar[4 * BAR_WIDTH + 1], text[LINE_SIZE - 16];
    unsigned lines = 2;
    if (columns < COLUMNS_MIN)
        columns = COLUMNS_MIN;
    numbers_text(p, numbers, sizeof numbers);
    unsigned used = (unsigned)strlen(numbers) + sizeof " 100%    " - 1;
    unsigned width = columns > used + BAR_MIN ? columns - used : BAR_MIN;
    bar_text(p->permille, width < BAR_WIDTH ? width : BAR_WIDTH, bar, sizeof bar);
    (void)snprintf(line, sizeof line, "%3u%%  %s  %s", p->permille / 10, bar, numbers);
    print_cut(out, line, columns);
    flight_text(p, text, sizeof text);
    (void)snprintf(line, sizeof line, " %s", text);
    print_cut(out, line, columns);
    struct slice cursor = v->jobs->blocked.raw;
    struct rec_job_blocked b;
    while (lines < 6 && next_blocked(&cursor, v->job->job, &b)) {
        blocked_text(v->status, &b, text, sizeof text);
        (void)snprintf(line, sizeof line, " blocked: %s", text);
        print_cut(out, line, columns);
        lines++;
    }
    return lines;
}

void progress_line(FILE *out, const struct job_view *v)
{
    const struct progress *p = v->progress;
    char what[TARGETS_TEXT_MAX + 16], numbers[LINE_SIZE / 2], flight[LINE_SIZE / 2];
    char name[JOB_NAME_MAX], text[LINE_SIZE];
    numbers_text(p, numbers, sizeof numbers);
    flight_text(p, flight, sizeof flight);
    (void)fprintf(out, "%s %s  %u%%  %s  %s", job_name(v->job->kind, v->job->job, name),
                  job_what(v->status, v->job, what), p->permille / 10, numbers, flight);
    struct slice cursor = v->jobs->blocked.raw;
    struct rec_job_blocked b;
    while (next_blocked(&cursor, v->job->job, &b)) {
        blocked_text(v->status, &b, text, sizeof text);
        (void)fprintf(out, "; blocked: %s", text);
    }
    (void)fputc('\n', out);
}

json_t *progress_json(const struct job_view *v)
{
    const struct progress *p = v->progress;
    char name[JOB_NAME_MAX];
    return json_pack("{s:s s:s s:f s:o s:o s:o s:o s:i s:i s:i s:i s:o s:o}", "job",
                     job_name(v->job->kind, v->job->job, name), "state", job_state_name(p->state),
                     "percent", p->permille / 10.0, "chunks_done", json_of_number(p->chunks_done),
                     "chunks_left", json_of_number(p->chunks_left), "bytes_done",
                     json_of_number(p->bytes_done), "bytes_left", json_of_number(p->bytes_left),
                     "shards_done", (int)p->slots_done, "shards_left", (int)p->slots_left,
                     "shards_moving", (int)p->slots_moving, "shards_blocked", (int)p->slots_blocked,
                     "rate", json_of_number(p->rate), "eta_ms",
                     p->eta_ms == PROGRESS_NO_ETA ? json_null() : json_of_number(p->eta_ms));
}
