/* cairn status, health, server ls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/connect.h"
#include "tools/health.h"
#include "tools/json.h"
#include "tools/member.h"
#include "tools/text.h"

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

static json_t *targets_json(const struct msg_status_r *s)
{
    json_t *list = json_array();
    struct slice cursor = s->targets.raw;
    struct rec_target_status t;
    while (rec_target_status_next(&cursor, &t)) {
        json_t *row = json_object();
        json_object_set_new(row, "id", json_of_slice(t.name));
        json_object_set_new(row, "address", json_of_slice(t.address));
        json_object_set_new(row, "state", json_string(target_state_name(t.state)));
        json_object_set_new(row, "slots", json_of_number(t.slots));
        json_object_set_new(row, "slots_in_sync", json_of_number(t.slots_in_sync));
        json_object_set_new(row, "bytes_total", json_of_number(t.bytes_total));
        json_object_set_new(row, "bytes_used", json_of_number(t.bytes_used));
        json_object_set_new(row, "chunks", json_of_number(t.chunk_count));
        json_object_set_new(row, "read_bytes", json_of_number(t.read_bytes));
        json_object_set_new(row, "write_bytes", json_of_number(t.write_bytes));
        json_object_set_new(row, "resync_bytes", json_of_number(t.resync_bytes));
        json_object_set_new(row, "resync_chunks", json_of_number(t.resync_chunks));
        json_object_set_new(row, "crc_errors", json_of_number(t.crc_errors));
        json_object_set_new(row, "blocks_repaired", json_of_number(t.blocks_repaired));
        json_object_set_new(row, "heard_ms",
                            t.heard_ms == UINT32_MAX ? json_null() : json_of_number(t.heard_ms));
        json_array_append_new(list, row);
    }
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
                     metas_json(s), "copies", copies, "repair", repair, "servers", targets_json(s),
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
    for (unsigned i = 0; i < r->line_count; i++)
        (void)printf("%s     %s\n", i == 0 ? "note" : "    ", r->lines[i]);
}

static void print_servers(const struct msg_status_r *s)
{
    static const char *const head[] = {"ID",         "ADDRESS",  "STATE", "SLOTS", "IN-SYNC",
                                       "USED/SIZE",  "CHUNKS",   "READ",  "WRITE", "RESYNC",
                                       "CRC-ERRORS", "REPAIRED", "HEARD"};
    enum { COLUMNS = sizeof head / sizeof head[0] };
    struct text_table table;
    struct slice cursor = s->targets.raw;
    struct rec_target_status t;
    text_table_init(&table, COLUMNS);
    text_table_row(&table, head);
    while (rec_target_status_next(&cursor, &t)) {
        char cell[COLUMNS][2 * TEXT_SIZE + 2], a[TEXT_SIZE], b[TEXT_SIZE];
        const char *row[COLUMNS];
        (void)snprintf(cell[0], sizeof cell[0], "%.*s", (int)t.name.size,
                       (const char *)t.name.data);
        (void)snprintf(cell[1], sizeof cell[1], "%.*s", (int)t.address.size,
                       (const char *)t.address.data);
        (void)snprintf(cell[2], sizeof cell[2], "%s", target_state_name(t.state));
        (void)snprintf(cell[3], sizeof cell[3], "%u", t.slots);
        (void)snprintf(cell[4], sizeof cell[4], "%u", t.slots_in_sync);
        (void)snprintf(cell[5], sizeof cell[5], "%s/%s", text_bytes(t.bytes_used, a),
                       text_bytes(t.bytes_total, b));
        (void)snprintf(cell[6], sizeof cell[6], "%s", text_count(t.chunk_count, a));
        (void)snprintf(cell[7], sizeof cell[7], "%s", text_bytes(t.read_bytes, a));
        (void)snprintf(cell[8], sizeof cell[8], "%s", text_bytes(t.write_bytes, a));
        (void)snprintf(cell[9], sizeof cell[9], "%s", text_bytes(t.resync_bytes, a));
        (void)snprintf(cell[10], sizeof cell[10], "%s", text_count(t.crc_errors, a));
        (void)snprintf(cell[11], sizeof cell[11], "%s", text_count(t.blocks_repaired, a));
        (void)snprintf(cell[12], sizeof cell[12], "%s",
                       t.heard_ms == UINT32_MAX ? "never" : text_duration(t.heard_ms, a));
        for (unsigned i = 0; i < COLUMNS; i++)
            row[i] = cell[i];
        text_table_row(&table, row);
    }
    text_table_print(&table);
    text_table_release(&table);
}

enum what { WHAT_STATUS, WHAT_SERVERS, WHAT_HEALTH };

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

static int show_once(struct blocking_client *client, const char *cluster, enum what what, bool json)
{
    struct bytes bytes = {0};
    struct msg_status_r s;
    struct health_report *r = malloc(sizeof *r);
    struct err_text why = {""};
    int code = EXIT_GOOD, status = r ? status_fetch(client, &bytes, &s, &why) : -ERR_NO_MEMORY;
    if (status != 0) {
        code = complain(status, "no status from %s (%s)", cluster, why.text);
    } else {
        health_judge(&s, r);
        if (what != WHAT_SERVERS)
            judge_members(cluster, s.leader, r);
        if (what == WHAT_SERVERS)
            json ? json_print(targets_json(&s)) : print_servers(&s);
        else if (json)
            json_print(status_json(&s, r));
        else if (what == WHAT_STATUS)
            print_status(&s, r);
        else
            (void)printf("%s\n", health_name(r->health));
        for (unsigned i = 0; what == WHAT_HEALTH && !json && i < r->line_count; i++)
            (void)printf("%s\n", r->lines[i]);
        if (what == WHAT_HEALTH)
            code = (int)r->health;
    }
    bytes_release(&bytes);
    free(r);
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
