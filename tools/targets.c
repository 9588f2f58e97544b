/* Targets as people name them, and servers. */
#include "tools/targets.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/conf.h"
#include "tools/health.h"

#include "common/base/banned.h"

/* ---- names ---- */

static bool is_called(struct slice name, const char *word, bool exact)
{
    size_t size = strlen(word);
    if (name.size < size || memcmp(name.data, word, size) != 0)
        return false;
    return name.size == size || (!exact && name.data[size] == '.');
}

/* Without the ".2" of a server's second disk. */
static struct slice server_part(struct slice name)
{
    size_t size = name.size;
    while (size > 0 && isdigit(name.data[size - 1]))
        size--;
    bool has_number = size > 1 && size < name.size && name.data[size - 1] == '.';
    return has_number ? slice_of(name.data, size - 1) : name;
}

static bool same_server(const struct rec_target_status *a, const struct rec_target_status *b)
{
    return slice_equal(a->host, b->host) && slice_equal(server_part(a->name), server_part(b->name));
}

static int no_target(const struct msg_status_r *s, const char *word, struct err_text *why)
{
    enum { NEAR_MAX = 128 };
    static char names[NEAR_MAX][TARGET_NAME_MAX];
    const char *known[NEAR_MAX];
    size_t count = 0;
    struct slice cursor = s->targets.raw;
    struct rec_target_status t;
    while (count < NEAR_MAX && rec_target_status_next(&cursor, &t)) {
        snprintf(names[count], TARGET_NAME_MAX, "%.*s", (int)t.name.size,
                 (const char *)t.name.data);
        known[count] = names[count];
        count++;
    }
    const char *near = count ? conf_nearest(word, known, count) : NULL;
    return err_set(ERR_NO_ENTRY, why, "no chunkserver is called '%.40s'%s%s", word,
                   near ? "; did you mean: " : "", near ? near : "");
}

static int add_target(struct target_set *set, uint32_t target, struct err_text *why)
{
    unsigned at = set->count;
    for (unsigned i = 0; i < set->count; i++)
        if (set->refs[i].target == target)
            return 0;
    if (set->count == TARGETS_CHOSEN_MAX)
        return err_set(ERR_LIMIT, why, "more than %d targets at once; name fewer",
                       TARGETS_CHOSEN_MAX);
    for (; at > 0 && set->refs[at - 1].target > target; at--)
        set->refs[at] = set->refs[at - 1];
    set->refs[at].target = target;
    set->count++;
    return 0;
}

static bool is_chosen(const struct target_set *set, uint32_t target)
{
    for (unsigned i = 0; i < set->count; i++)
        if (set->refs[i].target == target)
            return true;
    return false;
}

/* No other disk is in the servers of those that were chosen. */
static bool are_whole_servers(const struct msg_status_r *s, const struct target_set *set)
{
    struct slice cursor = s->targets.raw, inner;
    struct rec_target_status t, other;
    while (rec_target_status_next(&cursor, &t)) {
        inner = s->targets.raw;
        while (is_chosen(set, t.target) && rec_target_status_next(&inner, &other))
            if (same_server(&other, &t) && !is_chosen(set, other.target))
                return false;
    }
    return true;
}

int targets_choose(const struct msg_status_r *s, const char *const *names, unsigned name_count,
                   bool exact, struct target_set *ret_set, struct err_text *why)
{
    struct target_set set = {0};
    size_t at = 0;
    for (unsigned i = 0; i < name_count; i++) {
        struct slice cursor = s->targets.raw;
        struct rec_target_status t;
        bool found = false;
        while (rec_target_status_next(&cursor, &t)) {
            if (!is_called(t.name, names[i], exact))
                continue;
            found = true;
            int status = add_target(&set, t.target, why);
            if (status != 0)
                return status;
        }
        if (!found)
            return no_target(s, names[i], why);
        if (at < sizeof set.text)
            at += (size_t)snprintf(set.text + at, sizeof set.text - at, "%s%s", i ? " " : "",
                                   names[i]);
    }
    set.is_whole = are_whole_servers(s, &set);
    *ret_set = set;
    return 0;
}

struct wire_list target_refs(const struct target_set *set)
{
    return (struct wire_list){.count = set->count, .items = set->refs};
}

bool target_find(const struct msg_status_r *s, uint32_t target, struct rec_target_status *ret)
{
    struct slice cursor = s->targets.raw;
    while (rec_target_status_next(&cursor, ret))
        if (ret->target == target)
            return true;
    return false;
}

const char *target_name(const struct msg_status_r *s, uint32_t target,
                        char ret_name[TARGET_NAME_MAX])
{
    struct rec_target_status t;
    if (target_find(s, target, &t))
        snprintf(ret_name, TARGET_NAME_MAX, "%.*s", (int)t.name.size, (const char *)t.name.data);
    else
        snprintf(ret_name, TARGET_NAME_MAX, "#%u", target);
    return ret_name;
}

static uint32_t target_at(struct slice targets, size_t index)
{
    const uint8_t *p = targets.data + 4 * index;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool list_has(struct slice targets, size_t count, uint32_t target)
{
    for (size_t i = 0; i < count; i++)
        if (target_at(targets, i) == target)
            return true;
    return false;
}

bool target_set_is(const struct target_set *set, struct slice targets)
{
    bool same = targets.size == 4 * (size_t)set->count;
    for (unsigned i = 0; same && i < set->count; i++)
        same = target_at(targets, i) == set->refs[i].target;
    return same;
}

bool target_set_meets(const struct target_set *set, struct slice targets)
{
    for (unsigned i = 0; i < set->count; i++)
        if (list_has(targets, targets.size / 4, set->refs[i].target))
            return true;
    return false;
}

/* All targets of t's server are in the list, and there are several. */
static bool server_is_in(const struct msg_status_r *s, struct slice targets,
                         const struct rec_target_status *t)
{
    struct slice cursor = s->targets.raw;
    struct rec_target_status other;
    unsigned count = 0;
    while (rec_target_status_next(&cursor, &other)) {
        if (!same_server(t, &other))
            continue;
        if (!list_has(targets, targets.size / 4, other.target))
            return false;
        count++;
    }
    return count > 1;
}

/* The server of targets[index] was named by one before it. */
static bool is_named(const struct msg_status_r *s, struct slice targets, size_t index,
                     const struct rec_target_status *t)
{
    struct rec_target_status other;
    for (size_t i = 0; i < index; i++)
        if (target_find(s, target_at(targets, i), &other) && same_server(t, &other))
            return true;
    return false;
}

const char *targets_text(const struct msg_status_r *s, struct slice targets,
                         char ret_text[TARGETS_TEXT_MAX])
{
    size_t at = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < targets.size / 4 && at < TARGETS_TEXT_MAX; i++) {
        char name[TARGET_NAME_MAX];
        struct rec_target_status t;
        target_name(s, target_at(targets, i), name);
        if (target_find(s, target_at(targets, i), &t) && server_is_in(s, targets, &t)) {
            if (is_named(s, targets, i, &t))
                continue;
            snprintf(name, sizeof name, "%.*s", (int)server_part(t.name).size,
                     (const char *)t.name.data);
        }
        at += (size_t)snprintf(ret_text + at, TARGETS_TEXT_MAX - at, "%s%s", at ? " " : "", name);
    }
    return ret_text;
}

/* ---- servers ---- */

const char *target_admin_name(uint8_t admin)
{
    static const char *const names[] = {"active", "draining", "maintenance"};
    return admin <= TARGET_MAINTENANCE ? names[admin] : "?";
}

const char *target_condition(const struct rec_target_status *t)
{
    if (t->state == TARGET_FAILED)
        return "failed";
    if (t->admin == TARGET_DRAINING && t->slots == 0)
        return "drained";
    if (t->admin == TARGET_MAINTENANCE)
        return "maintenance";
    if (t->state != TARGET_UP)
        return target_state_name(t->state);
    return target_admin_name(t->admin);
}

static void zone_of(struct slice host, char ret_zone[TARGET_NAME_MAX])
{
    const uint8_t *slash = host.size ? memchr(host.data, '/', host.size) : NULL;
    if (slash)
        snprintf(ret_zone, TARGET_NAME_MAX, "%.*s", (int)(slash - host.data),
                 (const char *)host.data);
    else
        snprintf(ret_zone, TARGET_NAME_MAX, "-");
}

struct server_row server_of_target(const struct rec_target_status *t)
{
    struct server_row row = {.sum = *t,
                             .targets = 1,
                             .targets_up = t->state == TARGET_UP,
                             .targets_out = t->state == TARGET_OUT,
                             .condition = target_condition(t)};
    snprintf(row.name, sizeof row.name, "%.*s", (int)t->name.size, (const char *)t->name.data);
    zone_of(t->host, row.zone);
    return row;
}

static void add_to_server(struct server_row *row, const struct rec_target_status *t)
{
    struct rec_target_status *sum = &row->sum;
    snprintf(row->name, sizeof row->name, "%.*s", (int)server_part(t->name).size,
             (const char *)t->name.data);
    row->targets++;
    row->targets_up += t->state == TARGET_UP;
    row->targets_out += t->state == TARGET_OUT;
    if (strcmp(row->condition, target_condition(t)) != 0)
        row->condition = "mixed";
    sum->bytes_total += t->bytes_total;
    sum->bytes_used += t->bytes_used;
    sum->chunk_count += t->chunk_count;
    sum->slots += t->slots;
    sum->slots_in_sync += t->slots_in_sync;
    sum->slots_moving += t->slots_moving;
    sum->slots_blocked += t->slots_blocked;
    sum->read_bytes += t->read_bytes;
    sum->write_bytes += t->write_bytes;
    sum->resync_bytes += t->resync_bytes;
    sum->resync_chunks += t->resync_chunks;
    sum->crc_errors += t->crc_errors;
    sum->blocks_repaired += t->blocks_repaired;
    sum->chunk_bytes += t->chunk_bytes;
    sum->left_bytes += t->left_bytes;
    sum->weight += t->weight;
    if (t->heard_ms > sum->heard_ms)
        sum->heard_ms = t->heard_ms;
    if (t->admin_left_ms > sum->admin_left_ms)
        sum->admin_left_ms = t->admin_left_ms;
    if (t->state > sum->state)
        sum->state = t->state;
}

struct server_row *servers_of(const struct msg_status_r *s, unsigned *ret_count)
{
    struct server_row *rows = calloc(s->targets.count + 1, sizeof *rows);
    unsigned count = 0;
    struct slice cursor = s->targets.raw;
    struct rec_target_status t;
    CHECK(rows != NULL);
    while (rec_target_status_next(&cursor, &t)) {
        unsigned i = 0;
        while (i < count && !same_server(&rows[i].sum, &t))
            i++;
        if (i < count)
            add_to_server(&rows[i], &t);
        else
            rows[count++] = server_of_target(&t);
    }
    *ret_count = count;
    return rows;
}
