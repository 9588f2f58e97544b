/* cairn server maintenance, activate, remove, forget; target remove: what an operator wants of
 * chunkservers. */
#include <stdio.h>
#include <string.h>

#include "common/base/conf.h"
#include "tools/admin.h"
#include "tools/commands.h"
#include "tools/confirm.h"
#include "tools/job_text.h"

enum { MAINTENANCE_MS = 30 * 60 * 1000 };

struct order {
    struct blocking_client *client;
    struct bytes bytes;
    struct msg_status_r status;
    struct target_set set;
};

static void order_release(struct order *o)
{
    bytes_release(&o->bytes);
    (void)blocking_stop(o->client);
}

/* Connects and finds the targets that the words mean. Released by the caller when it is EXIT_GOOD.
 */
static int order_begin(const struct arguments *a, bool exact, struct order *ret_order)
{
    char cluster[CLUSTER_TEXT_MAX];
    struct order o = {0};
    struct err_text why = {""};
    int code = cluster_of(a, NULL, cluster);
    if (code == EXIT_GOOD)
        code = connect_admin(cluster, &o.client);
    if (code != EXIT_GOOD)
        return code;
    int status = status_fetch(o.client, &o.bytes, &o.status, &why);
    if (status != 0) {
        code = complain(status, "no status of the cluster (%s)", why.text);
    } else {
        status = targets_choose(&o.status, a->words, a->word_count, exact, &o.set, &why);
        if (status != 0)
            code = complain_text((enum exit_code)exit_of(status), "%s\n  try: cairn %s ls",
                                 why.text, exact ? "target" : "server");
    }
    if (code == EXIT_GOOD)
        *ret_order = o;
    else
        order_release(&o);
    return code;
}

static int set_admin(const struct order *o, enum target_admin admin, uint64_t for_ms,
                     struct err_text *why)
{
    struct bytes body = {0};
    encode_target_admin(&body, &(struct msg_target_admin){.targets = target_refs(&o->set),
                                                          .admin = (uint8_t)admin,
                                                          .for_ms = for_ms});
    return admin_do(o->client, MSG_target_admin, &body, why);
}

/* A drain that runs is that job's. */
static int admin_refused(const struct order *o, int status, const char *what,
                         const struct err_text *said)
{
    char name[JOB_NAME_MAX];
    struct err_text why = {""};
    uint32_t job = 0;
    if (status == -ERR_REFUSED && admin_drain_of(o->client, &o->set, true, &job, &why) == 0 && job)
        return complain_text(EXIT_REFUSED,
                             "refused: %s is being drained by %s\n  first: cairn job "
                             "cancel %s     (nothing is lost)",
                             o->set.text, job_name(JOB_DRAIN, job, name), name);
    return complain_text((enum exit_code)exit_of(status), "%s cannot %s: %s", o->set.text, what,
                         said->text);
}

/* ---- maintenance, activate ---- */

static int read_for(const struct arguments *a, uint64_t *ret_ms)
{
    const char *text = option_text(a, "for");
    struct err_text why = {""};
    *ret_ms = MAINTENANCE_MS;
    if (!text)
        return EXIT_GOOD;
    if (option_given(a, "end"))
        return complain_text(EXIT_USAGE, "--for and --end exclude each other");
    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return EXIT_GOOD;
    }
    if (conf_parse_time(text, ret_ms, &why) != 0 || *ret_ms == 0)
        return complain_text(EXIT_USAGE, "--for: %s\n  try: --for 30m, or --for 0: until --end",
                             why.text[0] ? why.text : "no time at all");
    return EXIT_GOOD;
}

/* Ending one that is not in maintenance would call off its drain. */
static bool all_in_maintenance(const struct order *o)
{
    for (unsigned i = 0; i < o->set.count; i++) {
        struct rec_target_status t;
        if (!target_find(&o->status, o->set.refs[i].target, &t) || t.admin != TARGET_MAINTENANCE)
            return false;
    }
    return true;
}

static int end_maintenance(const struct order *o)
{
    struct err_text why = {""};
    if (!all_in_maintenance(o))
        return complain_text(EXIT_NOTHING,
                             "%s is not in maintenance: nothing to end\n"
                             "  try: cairn server ls",
                             o->set.text);
    int status = set_admin(o, TARGET_ACTIVE, 0, &why);
    if (status != 0)
        return admin_refused(o, status, "leave maintenance", &why);
    (void)printf("%s is active again\n", o->set.text);
    return EXIT_GOOD;
}

int command_server_maintenance(const struct arguments *a)
{
    struct order o;
    struct err_text why = {""};
    uint64_t for_ms;
    char text[TEXT_SIZE];
    int code = read_for(a, &for_ms);
    if (code == EXIT_GOOD)
        code = order_begin(a, false, &o);
    if (code != EXIT_GOOD)
        return code;
    if (option_given(a, "end")) {
        code = end_maintenance(&o);
    } else {
        int status = set_admin(&o, TARGET_MAINTENANCE, for_ms, &why);
        if (status != 0)
            code = admin_refused(&o, status, "go into maintenance", &why);
        else if (for_ms == 0)
            (void)printf("%s is in maintenance: nothing of it is made anew elsewhere\n",
                         o.set.text);
        else
            (void)printf("%s is in maintenance for %s: until then nothing of it is made anew "
                         "elsewhere\n",
                         o.set.text, text_duration(for_ms, text));
        if (status == 0)
            (void)printf("end it: cairn server maintenance %s --end\n", o.set.text);
    }
    order_release(&o);
    return code;
}

int command_server_activate(const struct arguments *a)
{
    struct order o;
    struct err_text why = {""};
    int code = order_begin(a, false, &o);
    if (code != EXIT_GOOD)
        return code;
    int status = set_admin(&o, TARGET_ACTIVE, 0, &why);
    if (status == 0)
        (void)printf("%s is active: it may hold copies again\n", o.set.text);
    else
        code = admin_refused(&o, status, "be made active", &why);
    order_release(&o);
    return code;
}

/* ---- remove, forget ---- */

/* How many shards need them, as the leader counts. */
static uint64_t slots_of(const struct order *o)
{
    uint64_t slots = 0;
    struct rec_target_status t;
    for (unsigned i = 0; i < o->set.count; i++)
        if (target_find(&o->status, o->set.refs[i].target, &t))
            slots += t.slots;
    return slots;
}

static int remove_refused(const struct order *o, bool exact, const struct err_text *said)
{
    char count[TEXT_SIZE], holds[sizeof said->text];
    bool is_told = strcmp(said->text, err_text(-ERR_REFUSED)) != 0;
    (void)snprintf(holds, sizeof holds, "%.120s still holds copies of %s shards", o->set.text,
                   text_count(slots_of(o), count));
    return complain_text(
        EXIT_REFUSED,
        "refused: %s\n  cairn %s drain %s     or, if the machine is gone for ever: "
        " cairn server forget %s --data-loss",
        is_told ? said->text : holds, exact ? "target" : "server", o->set.text, o->set.text);
}

static int remove_them(const struct arguments *a, bool exact)
{
    struct order o;
    struct err_text why = {""};
    int code = order_begin(a, exact, &o);
    if (code != EXIT_GOOD)
        return code;
    int status = targets_remove(o.client, &o.set, false, &why);
    if (status == 0)
        (void)printf("%s is removed; its folder is of no more use\n", o.set.text);
    else if (status == -ERR_REFUSED)
        code = remove_refused(&o, exact, &why);
    else
        code = complain_text((enum exit_code)exit_of(status), "%s cannot be removed: %s",
                             o.set.text, why.text);
    order_release(&o);
    return code;
}

int command_server_remove(const struct arguments *a)
{
    return remove_them(a, false);
}

int command_target_remove(const struct arguments *a)
{
    return remove_them(a, true);
}

/* What it means, before it is asked. */
static void warn_of_loss(const struct order *o)
{
    char bytes[TEXT_SIZE], chunks[TEXT_SIZE];
    uint64_t size = 0, count = 0;
    for (unsigned i = 0; i < o->set.count; i++) {
        struct rec_target_status t;
        if (!target_find(&o->status, o->set.refs[i].target, &t))
            continue;
        size += t.chunk_bytes;
        count += t.chunk_count;
        if (t.state == TARGET_UP)
            (void)fprintf(stderr, "%.*s is UP: it could be drained without any loss\n",
                          (int)t.name.size, (const char *)t.name.data);
    }
    (void)fprintf(stderr,
                  "%s holds copies of %llu shards (%s in %s chunks as last heard).\n"
                  "WHAT ONLY IT HOLDS IS LOST FOR EVER. Its disks must not come back to this "
                  "cluster.\n",
                  o->set.text, (unsigned long long)slots_of(o), text_bytes(size, bytes),
                  text_count(count, chunks));
}

int command_server_forget(const struct arguments *a)
{
    struct order o;
    struct err_text why = {""};
    if (!option_given(a, "data-loss"))
        return complain_text(
            EXIT_USAGE,
            "forgetting a server that was not drained loses what only it holds\n"
            "  cairn server drain %s     or, if it is gone for ever:  cairn server "
            "forget %s --data-loss",
            a->words[0], a->words[0]);
    int code = order_begin(a, false, &o);
    if (code != EXIT_GOOD)
        return code;
    warn_of_loss(&o);
    code = confirm_or_refuse(option_given(a, "yes"), "forget it?");
    if (code == EXIT_GOOD) {
        int status = targets_remove(o.client, &o.set, true, &why);
        if (status == 0)
            (void)printf("%s is forgotten; what it shared with others is made anew by itself\n",
                         o.set.text);
        else
            code = complain_text((enum exit_code)exit_of(status), "%s cannot be forgotten: %s",
                                 o.set.text, why.text);
    }
    order_release(&o);
    return code;
}
