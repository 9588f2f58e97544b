/* The plan of a drain with its arithmetic. */
#include "tools/job_text.h"

#include "tools/json.h"

#include "common/base/banned.h"

static const char *const check_names[] = {
    [JOB_CHECK_SPACE] = "space",     [JOB_CHECK_SERVERS] = "servers",
    [JOB_CHECK_COPIES] = "copies",   [JOB_CHECK_ZONES] = "zones",
    [JOB_CHECK_FULLEST] = "fullest", [JOB_CHECK_LAST_COPY] = "last-copy",
};

static const char *check_name(uint8_t check)
{
    bool is_known = check >= JOB_CHECK_SPACE && check <= JOB_CHECK_LAST_COPY;
    return is_known ? check_names[check] : "other";
}

static const char *plural(uint64_t number)
{
    return number == 1 ? "" : "s";
}

static void print_copies(FILE *out, const struct rec_job_check *c)
{
    unsigned long long need = c->need, have = c->have;
    const char *whose = c->check == JOB_CHECK_COPIES ? "files with" : "new files have";
    if (c->is_good)
        (void)fprintf(out, "%s %llu cop%s, %llu server%s stay%s\n", whose, need,
                      need == 1 ? "y" : "ies", have, plural(have), have == 1 ? "s" : "");
    else
        (void)fprintf(out, "%s %llu copies: the %llu server%s that stay%s cannot hold them\n",
                      whose, need, have, plural(have), have == 1 ? "s" : "");
}

static void print_check(FILE *out, const struct msg_status_r *s, const struct rec_job_check *c)
{
    char a[TEXT_SIZE], b[TEXT_SIZE], name[TARGET_NAME_MAX];
    unsigned long long need = c->need, have = c->have;
    switch (c->check) {
    case JOB_CHECK_SPACE:
        (void)fprintf(out,
                      c->is_good ? "needs %s, free on the others %s\n"
                                 : "needs %s, there is room on the others for only %s\n",
                      text_bytes(need, a), text_bytes(have, b));
        return;
    case JOB_CHECK_SERVERS:
    case JOB_CHECK_COPIES:
        print_copies(out, c);
        return;
    case JOB_CHECK_ZONES:
        (void)fprintf(out, "copies are in %llu zone%s, afterwards in %llu\n", need, plural(need),
                      have < need || c->is_good ? have : need);
        return;
    case JOB_CHECK_FULLEST:
        (void)fprintf(out, "%s will be %llu.%llu %% full, at most %llu.%llu %%\n",
                      c->target ? target_name(s, c->target, name) : "the fullest", need / 10,
                      need % 10, have / 10, have % 10);
        return;
    case JOB_CHECK_LAST_COPY:
        if (need == 0)
            (void)fprintf(out, "every shard has a copy that can be read\n");
        else
            (void)fprintf(out, "%llu shard%s: the only good copy is there, and it is down\n", need,
                          plural(need));
        return;
    default:
        (void)fprintf(out, "needs %llu, has %llu\n", need, have);
    }
}

/* What to do about a cross. */
static void print_fix(FILE *out, const struct rec_job_check *c)
{
    char size[TEXT_SIZE];
    unsigned long long lacking = c->need > c->have ? c->need - c->have : 0;
    (void)fprintf(out, "   fix: ");
    switch (c->check) {
    case JOB_CHECK_SPACE:
        (void)fprintf(out, "add a server or delete files: %s more room is needed\n",
                      text_bytes(lacking, size));
        return;
    case JOB_CHECK_SERVERS:
    case JOB_CHECK_COPIES:
        (void)fprintf(out, "add %llu server%s first, or name fewer\n", lacking, plural(lacking));
        return;
    case JOB_CHECK_ZONES:
        (void)fprintf(out, "add a server in the zone that would be empty, or --accept-degraded: "
                           "copies of a file then share a zone\n");
        return;
    case JOB_CHECK_FULLEST:
        (void)fprintf(out, "add a server or delete files, or --accept-degraded: it may then become "
                           "too full to take the rest\n");
        return;
    case JOB_CHECK_LAST_COPY:
        (void)fprintf(out, "start that server again: its data can be read nowhere else\n");
        return;
    default:
        (void)fprintf(out, "a newer cairn knows what this means\n");
    }
}

void plan_print(FILE *out, const struct msg_status_r *s, const struct target_set *set,
                const struct msg_job_plan_r *plan)
{
    char bytes[TEXT_SIZE], chunks[TEXT_SIZE];
    struct slice cursor = plan->checks.raw;
    struct rec_job_check c;
    struct rec_target_status t;
    (void)fprintf(out, "plan: drain %s", set->text);
    if (set->count == 1 && target_find(s, set->refs[0].target, &t)) {
        struct server_row row = server_of_target(&t);
        if (row.zone[0] != '-')
            (void)fprintf(out, " (zone %s)", row.zone);
    } else if (set->count > 1) {
        (void)fprintf(out, " (%u targets)", set->count);
    }
    (void)fprintf(out, "   %s in %s chunks, %u shards\n", text_bytes(plan->bytes, bytes),
                  text_count(plan->chunks, chunks), plan->slots);
    while (rec_job_check_next(&cursor, &c)) {
        (void)fprintf(out, " %s %-10s ", c.is_good ? "\xe2\x9c\x93" : "\xe2\x9c\x97",
                      check_name(c.check));
        print_check(out, s, &c);
        if (!c.is_good)
            print_fix(out, &c);
    }
}

static json_t *check_json(const struct msg_status_r *s, const struct rec_job_check *c)
{
    char name[TARGET_NAME_MAX];
    json_t *row = json_pack("{s:s s:b s:o s:o}", "check", check_name(c->check), "good", c->is_good,
                            "need", json_of_number(c->need), "have", json_of_number(c->have));
    if (c->check == JOB_CHECK_COPIES)
        json_object_set_new(row, "copies", json_integer(c->copies));
    if (c->target)
        json_object_set_new(row, "target", json_string(target_name(s, c->target, name)));
    return row;
}

json_t *plan_json(const struct msg_status_r *s, const struct target_set *set,
                  const struct msg_job_plan_r *plan)
{
    char name[TARGET_NAME_MAX];
    json_t *targets = json_array(), *checks = json_array();
    struct slice cursor = plan->checks.raw;
    struct rec_job_check c;
    for (unsigned i = 0; i < set->count; i++)
        json_array_append_new(targets, json_string(target_name(s, set->refs[i].target, name)));
    while (rec_job_check_next(&cursor, &c))
        json_array_append_new(checks, check_json(s, &c));
    return json_pack("{s:s s:s s:o s:b s:i s:o s:o s:o}", "event", "plan", "what", "drain",
                     "targets", targets, "good", plan->is_good, "shards", (int)plan->slots,
                     "chunks", json_of_number(plan->chunks), "bytes", json_of_number(plan->bytes),
                     "checks", checks);
}
