/* cairn status, health, server ls, target ls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/health.h"
#include "tools/job_text.h"
#include "tools/json.h"
#include "tools/member.h"
#include "tools/server_text.h"

static json_t *metas_json(const struct msg_status_r *s)
{
    json_t *list = json_array();
    struct slice cursor = s->metas.raw;
    struct rec_meta_status m;
    while (rec_meta_status_next(&cursor, &m))
        json_array_append_new(
            list, json_pack("{s:o s:i s:b s:o s:o}", "address", json_of_slice(m.address), "id",
                            (int)m.node, "up", m.up, "match_index", json_of_number(m.match_index),
                            "space", json_of_space(m.space_level, m.space_free, m.space_place)));
    return list;
}

static json_t *status_json(const struct msg_status_r *s, const struct health_report *r)
{
    char uuid[UUID_TEXT_SIZE];
    json_t *hints = json_array();
    uuid_format(&s->cluster, uuid);
    for (unsigned i = 0; i < r->line_count; i++)
        json_array_append_new(hints, json_string(r->lines[i]));
    json_t *meta = json_pack(
        "{s:i s:o s:o s:o s:o s:o s:i s:o s:o s:o s:o s:s}", "leader", (int)s->leader, "term",
        json_of_number(s->term), "commit_index", json_of_number(s->commit_index), "applied_index",
        json_of_number(s->applied_index), "checkpoint_index", json_of_number(s->checkpoint_index),
        "checkpoint_age_ms",
        s->checkpoint_age_ms == UINT64_MAX ? json_null() : json_of_number(s->checkpoint_age_ms),
        "checkpoint_ms", (int)s->checkpoint_ms, "checkpoint_error",
        json_of_slice(s->checkpoint_error), "files", json_of_number(s->file_count), "directories",
        json_of_number(s->directory_count), "bytes", json_of_number(s->metadata_bytes), "space",
        space_level_name(s->space_level));
    json_t *copies =
        json_pack("{s:i s:i s:i s:i s:i s:i}", "wanted", s->copies, "shards", (int)s->shard_count,
                  "full", (int)s->shards_full, "under", (int)s->shards_under, "last_copy",
                  (int)s->shards_last_copy, "unavailable", (int)s->shards_unavailable);
    json_t *repair = json_pack("{s:o s:o s:o s:o}", "resync_bytes", json_of_number(r->resync_bytes),
                               "resync_chunks", json_of_number(r->resync_chunks), "crc_errors",
                               json_of_number(r->crc_errors), "blocks_repaired",
                               json_of_number(r->blocks_repaired));
    return json_pack("{s:i s:s s:s s:o s:o s:o s:o s:o s:o s:o s:i}", "version", 1, "cluster", uuid,
                     "health", health_name(r->health), "hints", hints, "meta", meta, "metaservers",
                     metas_json(s), "copies", copies, "repair", repair, "servers", servers_json(s),
                     "deletes_pending", json_of_number(s->deletes_pending), "clients",
                     (int)s->session_count);
}

/* "4m12s ago (1.9 s)", "none yet", "FAILED, the last good one 2h05m ago" */
static void checkpoint_text(const struct msg_status_r *s, char ret_text[4 * TEXT_SIZE])
{
    char age[TEXT_SIZE], took[TEXT_SIZE];
    bool none = s->checkpoint_age_ms == UINT64_MAX;
    if (!none)
        (void)text_duration(s->checkpoint_age_ms, age);
    if (s->checkpoint_error.size)
        (void)snprintf(ret_text, 4 * TEXT_SIZE, "FAILED, %s%s%s",
                       none ? "there is none" : "the last good one ", none ? "" : age,
                       none ? "" : " ago");
    else if (none)
        (void)snprintf(ret_text, 4 * TEXT_SIZE, "none yet");
    else if (s->checkpoint_ms == 0)
        (void)snprintf(ret_text, 4 * TEXT_SIZE, "%s ago", age);
    else
        (void)snprintf(ret_text, 4 * TEXT_SIZE, "%s ago (%s)", age,
                       text_duration(s->checkpoint_ms, took));
}

static void print_status(const struct msg_status_r *s, const struct health_report *r)
{
    char uuid[UUID_TEXT_SIZE], a[TEXT_SIZE], b[TEXT_SIZE], c[TEXT_SIZE], d[TEXT_SIZE];
    char checkpoint[4 * TEXT_SIZE];
    uuid_format(&s->cluster, uuid);
    (void)printf("cluster  %s   %s\n", uuid, health_name(r->health));
    checkpoint_text(s, checkpoint);
    (void)printf("meta     %u/%u up   leader m%u (term %llu)   commit lag %llu   checkpoint %s\n",
                 r->metas_up, r->metas, s->leader, (unsigned long long)s->term,
                 (unsigned long long)(s->commit_index - s->applied_index), checkpoint);
    (void)printf("         %s files  %s directories  metadata %s\n", text_count(s->file_count, a),
                 text_count(s->directory_count, b), text_bytes(s->metadata_bytes, c));
    (void)printf("data     %u/%u servers up   raw %s, used %s\n", r->targets_up, r->targets,
                 text_bytes(r->bytes_total, a), text_bytes(r->bytes_used, b));
    (void)printf(
        "copies   %u wanted   shards: full %u   under %u   last-copy %u   unavailable %u\n",
        s->copies, s->shards_full, s->shards_under, s->shards_last_copy, s->shards_unavailable);
    (void)printf("repair   resynced %s in %s chunks   checksum errors %s   blocks repaired %s\n",
                 text_bytes(r->resync_bytes, a), text_count(r->resync_chunks, b),
                 text_count(r->crc_errors, c), text_count(r->blocks_repaired, d));
    (void)printf("clients  %u   deletes pending %llu\n", s->session_count,
                 (unsigned long long)s->deletes_pending);
}

enum what { WHAT_STATUS, WHAT_SERVERS, WHAT_TARGETS, WHAT_HEALTH };

/* The leader's status says nothing of the checkpoints of others; those that do not answer are in it
 * already. */
static void judge_members(const char *cluster, uint32_t leader, struct health_report *r)
{
    struct members all;
    struct err_text why = {""};
    if (members_fetch(cluster, &all, &why) != 0) {
        members_release(&all);
        return;
    }
    for (unsigned i = 0; i < all.count; i++)
        if (all.items[i].status == 0)
            health_judge_member(&all.items[i].said, all.items[i].node == leader, r);
    members_release(&all);
}

/* The answers that all of it is made of. */
struct state {
    struct bytes status_bytes, job_bytes;
    struct msg_status_r status;
    struct msg_job_list_r jobs; /* none when they cannot be had */
    struct health_report report;
};

static void fetch_jobs(struct blocking_client *client, struct state *s)
{
    struct err_text why = {""};
    if (admin_jobs(client, &s->job_bytes, &s->jobs, &why) != 0)
        s->jobs = (struct msg_job_list_r){.jobs = {.count = 0}};
}

static void show_state(const struct state *s, enum what what, bool json)
{
    const struct health_report *r = &s->report;
    if (json) {
        json_t *all = status_json(&s->status, r);
        json_object_set_new(all, "jobs", jobs_json(&s->status, &s->jobs));
        json_print(all);
    } else if (what == WHAT_STATUS) {
        print_status(&s->status, r);
        jobs_print_running(&s->status, &s->jobs);
        for (unsigned i = 0; i < r->line_count; i++)
            (void)printf("%s     %s\n", i == 0 ? "note" : "    ", r->lines[i]);
    } else {
        (void)printf("%s\n", health_name(r->health));
        for (unsigned i = 0; i < r->line_count; i++)
            (void)printf("%s\n", r->lines[i]);
    }
}

static void show_servers(const struct msg_status_r *s, enum what what, bool json)
{
    if (json)
        json_print(what == WHAT_SERVERS ? servers_json(s) : targets_json(s));
    else if (what == WHAT_SERVERS)
        servers_print(s);
    else
        targets_print(s);
}

static int show_once(struct blocking_client *client, const char *cluster, enum what what, bool json)
{
    struct state *s = calloc(1, sizeof *s);
    struct err_text why = {""};
    int code = EXIT_GOOD;
    int status = s ? status_fetch(client, &s->status_bytes, &s->status, &why) : -ERR_NO_MEMORY;
    if (status != 0) {
        code = complain(status, "no status from %s (%s)", cluster, why.text);
    } else if (what == WHAT_SERVERS || what == WHAT_TARGETS) {
        show_servers(&s->status, what, json);
    } else {
        fetch_jobs(client, s);
        health_judge(&s->status, &s->report);
        health_judge_jobs(&s->status, &s->jobs, &s->report);
        judge_members(cluster, s->status.leader, &s->report);
        show_state(s, what, json);
        if (what == WHAT_HEALTH)
            code = (int)s->report.health;
    }
    if (s) {
        bytes_release(&s->status_bytes);
        bytes_release(&s->job_bytes);
    }
    free(s);
    return code;
}

static int show(const struct arguments *a, enum what what)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct blocking_client *client;
    struct err_text why = {""};
    unsigned every = 0;
    bool json = false;
    int code = cluster_of(a, NULL, cluster);
    if (code != EXIT_GOOD)
        return code;
    if (option_json(a, &json, &why) != 0 ||
        (what != WHAT_HEALTH && option_given(a, "watch") &&
         option_number(a, "watch", 2, 1, 3600, &every, &why) != 0))
        return complain_text(EXIT_USAGE, "%s", why.text);
    code = connect_to(cluster, false, &client);
    if (code != EXIT_GOOD)
        return code;
    do {
        if (every && isatty(STDOUT_FILENO))
            (void)printf("\033[H\033[2J");
        code = show_once(client, cluster, what, json);
        (void)fflush(stdout);
        if (every)
            (void)sleep(every);
    } while (every);
    (void)blocking_stop(client);
    return code;
}

int command_status(const struct arguments *a)
{
    return show(a, WHAT_STATUS);
}

int command_health(const struct arguments *a)
{
    return show(a, WHAT_HEALTH);
}

int command_server_ls(const struct arguments *a)
{
    return show(a, WHAT_SERVERS);
}

int command_target_ls(const struct arguments *a)
{
    return show(a, WHAT_TARGETS);
}
