/* cairn meta ls, checkpoint, transfer. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/net/loop.h"
#include "tools/commands.h"
#include "tools/connect.h"
#include "tools/health.h"
#include "tools/json.h"
#include "tools/member.h"
#include "tools/text.h"

enum {
    CHECKPOINT_WAIT_S = 600, /* default; ten million files take some seconds */
    TRANSFER_WAIT_S = 10,    /* default; an election takes below one */
    POLL_US = 50000,
};

static const char *role_name(uint8_t role)
{
    static const char *const names[] = {"?", "follower", "candidate", "leader"};
    return role <= MEMBER_LEADER ? names[role] : "?";
}

/* A learner follows, and decides nothing; so does one that lost its past, until it caught up. */
static const char *role_of(const struct member *m)
{
    return m->is_joining ? "joining" : m->is_voter ? role_name(m->said.role) : "learner";
}

/* ---- ls ---- */

/* Entries that the leader has committed and this one has not applied; false when unknown. */
static bool lag_of(const struct members *all, const struct member *m, uint64_t *ret_lag)
{
    if (m->status != 0 || !all->leader)
        return false;
    uint64_t commit = all->leader->said.commit_index;
    *ret_lag = commit > m->said.applied_index ? commit - m->said.applied_index : 0;
    return true;
}

static json_t *member_json(const struct members *all, const struct member *m)
{
    uint64_t lag;
    json_t *row = json_pack("{s:i s:s s:b s:b}", "id", (int)m->node, "address", m->address, "up",
                            m->status == 0, "voter", m->is_voter);
    bool has_lag = lag_of(all, m, &lag);
    json_object_set_new(row, "match_index",
                        all->leader ? json_of_number(m->match_index) : json_null());
    json_object_set_new(row, "lag", has_lag ? json_of_number(lag) : json_null());
    if (m->status != 0) {
        json_object_set_new(row, "error", json_string(m->why.text));
        return row;
    }
    const struct msg_meta_member_r *s = &m->said;
    json_object_set_new(row, "role", json_string(role_of(m)));
    json_object_set_new(row, "term", json_of_number(s->term));
    json_object_set_new(row, "applied_index", json_of_number(s->applied_index));
    json_object_set_new(row, "last_index", json_of_number(s->last_index));
    json_object_set_new(row, "log_bytes", json_of_number(s->log_bytes));
    json_object_set_new(row, "checkpoint_index", json_of_number(s->checkpoint_index));
    json_object_set_new(row, "checkpoint_age_ms",
                        s->checkpoint_age_ms == UINT64_MAX ? json_null()
                                                           : json_of_number(s->checkpoint_age_ms));
    json_object_set_new(row, "checkpoint_ms", json_of_number(s->checkpoint_ms));
    json_object_set_new(row, "checkpoint_error", json_of_slice(s->checkpoint_error));
    json_object_set_new(row, "space", json_of_space(m->space_level, m->space_free, m->space_place));
    return row;
}

static void print_members_json(const struct members *all)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < all->count; i++)
        json_array_append_new(rows, member_json(all, &all->items[i]));
    json_print(json_pack("{s:i s:o s:o}", "version", 1, "leader",
                         all->leader ? json_integer(all->leader->node) : json_null(), "members",
                         rows));
}

static void print_members(const struct members *all)
{
    static const char *const head[] = {"ID",  "ADDRESS",    "UP",  "ROLE",  "MATCH", "APPLIED",
                                       "LAG", "CHECKPOINT", "AGE", "SPACE", "FREE"};
    enum { COLUMNS = sizeof head / sizeof head[0] };
    struct text_table table;
    text_table_init(&table, COLUMNS);
    text_table_row(&table, head);
    for (unsigned i = 0; i < all->count; i++) {
        const struct member *m = &all->items[i];
        char id[16], match[TEXT_SIZE] = "-", applied[TEXT_SIZE] = "-", lag[TEXT_SIZE] = "-";
        char checkpoint[TEXT_SIZE] = "-", age[TEXT_SIZE] = "-";
        char left[TEXT_SIZE] = "-";
        uint64_t behind;
        bool up = m->status == 0;
        (void)snprintf(id, sizeof id, "m%u", m->node);
        if (all->leader)
            (void)text_count(m->match_index, match);
        if (lag_of(all, m, &behind))
            (void)text_count(behind, lag);
        if (up) {
            (void)text_count(m->said.applied_index, applied);
            (void)text_count(m->said.checkpoint_index, checkpoint);
            if (m->said.checkpoint_age_ms != UINT64_MAX)
                (void)text_duration(m->said.checkpoint_age_ms, age);
            if (m->said.checkpoint_error.size)
                (void)snprintf(age, sizeof age, "FAILED");
            if (m->space_level < SPACE_UNHEARD)
                (void)text_bytes(m->space_free, left);
        }
        const char *row[COLUMNS] = {
            id,
            m->address,
            up ? "yes" : "no",
            up ? role_of(m) : "-",
            match,
            applied,
            lag,
            checkpoint,
            age,
            up && m->space_level < SPACE_UNHEARD ? space_level_name(m->space_level) : "-",
            left};
        text_table_row(&table, row);
    }
    text_table_print(&table);
    text_table_release(&table);
}

/* What is wrong, on standard error, so that tables and JSON stay clean. */
static int judge(const struct members *all)
{
    unsigned down = 0;
    for (unsigned i = 0; i < all->count; i++) {
        const struct member *m = &all->items[i];
        down += m->status != 0;
        if (m->status != 0)
            (void)fprintf(stderr,
                          "cairn: m%u does not answer (%s); start it: cairn dev start, or "
                          "its service\n",
                          m->node, m->why.text);
    }
    if (!all->leader)
        return complain_text(EXIT_NO_LEADER,
                             "nobody leads: %u of %u metaservers answer, more than half must",
                             all->count - down, all->count);
    return EXIT_GOOD;
}

int command_meta_ls(const struct arguments *a)
{
    struct members all;
    struct err_text why = {""};
    bool json = false;
    if (option_json(a, &json, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    int code = members_of(a, &all);
    if (code != EXIT_GOOD)
        return code;
    json ? print_members_json(&all) : print_members(&all);
    (void)fflush(stdout);
    code = judge(&all);
    members_release(&all);
    return code;
}

/* ---- checkpoint ---- */

/* The one that --node names, otherwise the leader. */
static int choose(const struct arguments *a, const struct members *all,
                  const struct member **ret_member)
{
    const char *name = option_text(a, "node");
    *ret_member = name ? members_find(all, name) : all->leader;
    if (*ret_member)
        return EXIT_GOOD;
    if (name)
        return complain_text(EXIT_NOT_FOUND,
                             "no metaserver is called '%.40s'\n  try: cairn meta ls", name);
    return complain_text(EXIT_NO_LEADER,
                         "nobody leads\n  try: cairn meta ls, or name one with --node m2");
}

static int write_checkpoint(const struct member *one, unsigned wait_s, bool json)
{
    struct bytes body = {0}, answer = {0};
    struct err_text why = {""};
    struct msg_meta_checkpoint_r r;
    char size[TEXT_SIZE], index[TEXT_SIZE];
    int code = EXIT_GOOD;
    encode_meta_checkpoint(&body, &(struct msg_meta_checkpoint){0});
    int status = member_ask(one->address, MSG_meta_checkpoint, bytes_slice(&body), wait_s * 1000,
                            MSG_meta_checkpoint_r, &answer, &why);
    if (status == 0)
        status = decode_meta_checkpoint_r(bytes_slice(&answer), WIRE_VERSION, &r);
    if (status == -ERR_NO_SPACE)
        code = complain_text(EXIT_ERROR,
                             "m%u wrote no checkpoint: %s\n  make room on its disk; until then its "
                             "log grows",
                             one->node, why.text);
    else if (status == -ERR_TIMEOUT)
        code = complain_text(EXIT_NO_LEADER,
                             "m%u has not finished within %u s; it goes on\n  try: cairn meta ls",
                             one->node, wait_s);
    else if (status != 0)
        code = complain(status, "m%u wrote no checkpoint (%s)", one->node, why.text);
    else if (json)
        json_print(json_pack("{s:i s:i s:o s:o s:o s:i s:b}", "version", 1, "node", (int)r.node,
                             "index", json_of_number(r.index), "term", json_of_number(r.term),
                             "bytes", json_of_number(r.bytes), "ms", (int)r.ms, "written",
                             r.is_written));
    else if (r.is_written)
        (void)printf("m%u wrote a checkpoint at index %s: %s in %u ms\n", r.node,
                     text_count(r.index, index), text_bytes(r.bytes, size), r.ms);
    else
        (void)printf("m%u has a checkpoint of all it applied, at index %s: %s\n", r.node,
                     text_count(r.index, index), text_bytes(r.bytes, size));
    bytes_release(&body);
    bytes_release(&answer);
    return code;
}

int command_meta_checkpoint(const struct arguments *a)
{
    struct members all;
    struct err_text why = {""};
    const struct member *one;
    unsigned wait_s;
    bool json = false;
    if (option_json(a, &json, &why) != 0 ||
        option_number(a, "timeout", CHECKPOINT_WAIT_S, 1, 86400, &wait_s, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    int code = members_of(a, &all);
    if (code != EXIT_GOOD)
        return code;
    code = choose(a, &all, &one);
    if (code == EXIT_GOOD)
        code = write_checkpoint(one, wait_s, json);
    members_release(&all);
    return code;
}

/* ---- transfer ---- */

static bool leads_now(const struct member *one)
{
    struct bytes body = {0}, answer = {0};
    struct msg_meta_member_r said;
    encode_meta_member(&body, &(struct msg_meta_member){0});
    int status = member_ask(one->address, MSG_meta_member, bytes_slice(&body), MEMBER_ASK_MS,
                            MSG_meta_member_r, &answer, NULL);
    bool leads = status == 0 &&
                 decode_meta_member_r(bytes_slice(&answer), WIRE_VERSION, &said) == 0 &&
                 said.role == MEMBER_LEADER;
    bytes_release(&body);
    bytes_release(&answer);
    return leads;
}

static int begin_transfer(const struct member *leader, uint32_t node, struct err_text *why)
{
    struct bytes body = {0}, answer = {0};
    encode_meta_transfer(&body, &(struct msg_meta_transfer){.node = node});
    int status = member_ask(leader->address, MSG_meta_transfer, bytes_slice(&body), MEMBER_ASK_MS,
                            MSG_done_r, &answer, why);
    bytes_release(&body);
    bytes_release(&answer);
    return status;
}

/* The leader gives a transfer up after an election timeout; it is asked again until the time is
 * over. */
static int transfer(const struct members *all, const struct member *to, unsigned wait_s)
{
    struct err_text why = {""};
    char took[TEXT_SIZE];
    uint64_t begun = loop_now_ms(), end = begun + wait_s * 1000ull, again = 0;
    while (loop_now_ms() < end) {
        int status = 0;
        if (loop_now_ms() >= again) {
            status = begin_transfer(all->leader, to->node, &why);
            again = loop_now_ms() + 2000;
        }
        if (status == -ERR_REFUSED || status == -ERR_NO_ENTRY || status == -ERR_NOT_SUPPORTED)
            return complain_text((enum exit_code)exit_of(status), "m%u cannot lead: %s", to->node,
                                 why.text);
        if (leads_now(to)) {
            (void)printf("m%u leads, after %s\n", to->node,
                         text_duration(loop_now_ms() - begun, took));
            return EXIT_GOOD;
        }
        (void)usleep(POLL_US);
    }
    return complain_text(
        EXIT_NO_LEADER,
        "m%u did not take over within %u s%s%s\n  try: cairn meta ls      (does it "
        "lag far behind?)",
        to->node, wait_s, why.text[0] ? ": " : "", why.text);
}

int command_meta_transfer(const struct arguments *a)
{
    struct members all;
    struct err_text why = {""};
    unsigned wait_s;
    if (option_number(a, "timeout", TRANSFER_WAIT_S, 1, 3600, &wait_s, &why) != 0)
        return complain_text(EXIT_USAGE, "%s", why.text);
    int code = members_of(a, &all);
    if (code != EXIT_GOOD)
        return code;
    const struct member *to = members_find(&all, a->words[0]);
    if (!to)
        code = complain_text(EXIT_NOT_FOUND,
                             "no metaserver is called '%.40s'\n  try: cairn meta ls", a->words[0]);
    else if (!all.leader)
        code = complain_text(EXIT_NO_LEADER, "nobody leads\n  try: cairn meta ls");
    else if (to == all.leader)
        (void)printf("m%u leads already\n", to->node);
    else
        code = transfer(&all, to, wait_s);
    members_release(&all);
    return code;
}
