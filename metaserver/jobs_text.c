/* Refusals in words: what is short, of how much, and what to do about it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "metaserver/jobs.h"

struct size_text {
    char text[16];
};

/* "0 B", "1.5 KiB", rounded down. */
static struct size_text size_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct size_text t;
    uint64_t unit = 1;
    unsigned at = 0;
    while (at < 6 && bytes / unit >= 1024) {
        unit *= 1024;
        at++;
    }
    if (at == 0)
        (void)snprintf(t.text, sizeof t.text, "%u B", (unsigned)bytes);
    else
        (void)snprintf(t.text, sizeof t.text, "%u.%u %s", (unsigned)(bytes / unit),
                       (unsigned)(bytes % unit * 10 / unit), units[at]);
    return t;
}

__attribute__((format(printf, 2, 3))) static void add(struct err_text *why, const char *format, ...)
{
    size_t size = strlen(why->text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why->text + size, sizeof why->text - size, format, arguments);
    va_end(arguments);
}

static const char *name_of(const struct shard_table *table, uint32_t target)
{
    const struct target *t = shard_table_target(table, target);
    return t ? t->name : "?";
}

static void explain(const struct shard_table *table, const struct rec_job_check *c,
                    struct err_text *why)
{
    unsigned long long need = c->need, have = c->have;
    switch ((enum job_check_kind)c->check) {
    case JOB_CHECK_SPACE:
        add(why, "%s must move and the others can take %s: add a server or drain fewer at a time",
            size_text(c->need).text, size_text(c->have).text);
        break;
    case JOB_CHECK_SERVERS:
        add(why, "copies of new files need %llu servers and %llu would stay: add a server", need,
            have);
        break;
    case JOB_CHECK_COPIES:
        add(why, "files with %llu copies need as many servers and %llu would stay: add a server",
            need, have);
        break;
    case JOB_CHECK_ZONES:
        add(why, "copies stand in %llu zones and %llu would stay: add a server in another zone",
            need, have);
        break;
    case JOB_CHECK_FULLEST:
        add(why, "%s would be %llu.%llu %% full: add a server", name_of(table, c->target),
            need / 10, need % 10);
        break;
    case JOB_CHECK_LAST_COPY:
        add(why, "the only good copy of %llu shards is there and the server is away: start it",
            need);
        break;
    }
}

/* SERVERS says what COPIES says again for the same number. */
static bool is_said(const struct drain_plan *plan, const struct rec_job_check *c)
{
    const struct rec_job_check *first = plan->checks;
    for (; c->check == JOB_CHECK_COPIES && first < c; first++)
        if (first->check == JOB_CHECK_SERVERS && !first->is_good && first->need == c->need)
            return true;
    return false;
}

void jobs_explain(const struct shard_table *table, const struct drain_plan *plan,
                  struct err_text *ret_why)
{
    ret_why->text[0] = 0;
    for (unsigned i = 0; i < plan->check_count; i++) {
        const struct rec_job_check *c = &plan->checks[i];
        if (c->is_good || is_said(plan, c))
            continue;
        if (ret_why->text[0])
            add(ret_why, "; ");
        explain(table, c, ret_why);
    }
}

static bool is_only_copy(const struct shard *s, unsigned copies, uint32_t target)
{
    bool here = false;
    for (unsigned i = 0; i < copies; i++) {
        if (s->slot[i].state != SLOT_INSYNC && s->slot[i].state != SLOT_LEAVING)
            continue;
        if (s->slot[i].target != target)
            return false;
        here = true;
    }
    return here;
}

int jobs_may_remove(const struct shard_table *table, uint32_t target, bool data_loss,
                    struct err_text *ret_why)
{
    const struct target *t = shard_table_target(table, target);
    uint32_t slots = 0, only = 0;
    enum slot_state state;
    if (!t || t->state == TARGET_OUT)
        return 0;
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        for (uint32_t n = 0; table->shards[copies] && n < table->shard_count; n++) {
            const struct shard *s = &table->shards[copies][n];
            if (s->epoch == 0 || !shard_has_member(s, copies, target, &state))
                continue;
            slots++;
            only += is_only_copy(s, copies, target);
        }
    ret_why->text[0] = 0;
    if (slots == 0 && shard_table_owes(table, &target, 1) && !data_loss)
        add(ret_why, "what %s held is still being made anew elsewhere: wait", t->name);
    else if (slots > 0 && t->state == TARGET_UP && data_loss)
        add(ret_why, "%s is up, so nothing is lost: drain it, or stop it first", t->name);
    else if (slots > 0 && !data_loss)
        add(ret_why, "%s still holds copies of %u shards", t->name, slots);
    else
        return 0;
    if (slots > 0 && !data_loss && only > 0)
        add(ret_why, ", of %u of them the only good one", only);
    if (slots > 0 && !data_loss)
        add(ret_why, ": drain it first; if it is gone for ever, say that its data is lost");
    return -ERR_REFUSED;
}
