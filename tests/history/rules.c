/* The second checker: conditions that every linearizable history meets, each computed directly from
 * times and answers.
 *
 *   tags      one operation makes at most one inode, and what failed makes none (R22)
 *   names     a name seen (or made) and then absent was taken away in between by somebody; a name
 *             absent and then seen was made: so an exclusive create succeeds at most once between
 *             two removals, and what was acknowledged is listed until it may have been removed
 *   values    the stored value of an inode is a register with distinct writes, for which zones
 *             decide (Gibbons and Korach 1997): no stale read, no value that comes back
 *   versions  the Raft index of an inode's last change never goes back, and acknowledged changes
 *             have indices in the order of real time, over all groups */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/history/history.h"

static void broken(char report[], const char *rule, const struct history *h,
                   const struct history_op *first, const struct history_op *second)
{
    char text[400];
    history_say(report, "rule \"%s\" is broken in group %u:\n", rule, second->group);
    if (first) {
        history_format(first, h->ops[0].invoke_ns, text, sizeof text);
        history_say(report, "  %s\n", text);
    }
    history_format(second, h->ops[0].invoke_ns, text, sizeof text);
    history_say(report, "  %s\n", text);
}

static bool makes(const struct history_op *op)
{
    return op->kind == HISTORY_CREATE || op->kind == HISTORY_MKDIR;
}

/* ---- everything that was seen, one row each ---- */

struct sight {
    const struct history_op *op;
    const struct history_seen *seen;
};

struct sights {
    struct sight *rows;
    size_t count;
};

static void collect(const struct history *h, struct sights *ret)
{
    ret->rows = calloc(h->count * HISTORY_SLOTS + 1, sizeof *ret->rows);
    ret->count = 0;
    CHECK(ret->rows != NULL);
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        if (history_unknown(op) || op->status != 0)
            continue;
        if (op->kind != HISTORY_LIST)
            ret->rows[ret->count++] = (struct sight){op, &op->seen};
        for (unsigned slot = 0; op->kind == HISTORY_LIST && slot < HISTORY_SLOTS; slot++)
            if (op->listed[slot].inode)
                ret->rows[ret->count++] = (struct sight){op, &op->listed[slot]};
    }
}

/* ---- tags ---- */

static int by_tag(const void *left, const void *right)
{
    const struct sight *a = left, *b = right;
    if (a->seen->tag != b->seen->tag)
        return a->seen->tag < b->seen->tag ? -1 : 1;
    return a->op->invoke_ns < b->op->invoke_ns ? -1 : a->op->invoke_ns > b->op->invoke_ns;
}

static int by_made_tag(const void *left, const void *right)
{
    const struct history_op *const *a = left, *const *b = right;
    return (*a)->value < (*b)->value ? -1 : (*a)->value > (*b)->value;
}

static unsigned check_tags(const struct history *h, struct sights *all, char report[])
{
    const struct history_op **makers = calloc(h->count + 1, sizeof(struct history_op *));
    size_t maker_count = 0;
    unsigned violations = 0;
    CHECK(makers != NULL);
    for (size_t i = 0; i < h->count; i++)
        if (makes(&h->ops[i]))
            makers[maker_count++] = &h->ops[i];
    qsort(makers, maker_count, sizeof(struct history_op *), by_made_tag);
    qsort(all->rows, all->count, sizeof *all->rows, by_tag);
    size_t at = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct sight *s = &all->rows[i];
        while (at < maker_count && makers[at]->value < s->seen->tag)
            at++;
        const struct history_op *maker =
            at < maker_count && makers[at]->value == s->seen->tag ? makers[at] : NULL;
        const char *rule = NULL;
        if (!maker || (!history_unknown(maker) && maker->status != 0))
            rule = "what failed makes no inode";
        else if (maker->invoke_ns > s->op->return_ns)
            rule = "nothing is seen before it is asked for";
        else if (!history_unknown(maker) && maker->seen.inode != s->seen->inode)
            rule = "one operation makes one inode";
        else if (i > 0 && all->rows[i - 1].seen->tag == s->seen->tag &&
                 all->rows[i - 1].seen->inode != s->seen->inode)
            rule = "one operation makes one inode";
        if (rule && violations++ < 3)
            broken(report, rule, h, maker, s->op);
    }
    free(makers);
    return violations;
}

/* ---- names ---- */

/* What an operation says about one name: that it was there (or not) at some moment between its
 * call and its return, and that it may have made or taken away the name. */
enum {
    WAS_PRESENT = 1,
    WAS_ABSENT = 2,
    MAY_ADD = 4,
    MAY_REMOVE = 8,
};

static unsigned says_rename(const struct history_op *op, uint32_t slot, bool ok)
{
    bool is_exchange = op->flags == 2, is_fresh = op->flags == 1;
    if (slot != op->slot && slot != op->slot2)
        return 0;
    if (op->status == -ERR_NO_ENTRY && slot == op->slot && !is_exchange)
        return WAS_ABSENT;
    if (op->status == -ERR_EXISTS && slot == op->slot2)
        return WAS_PRESENT;
    if (!ok && !history_unknown(op))
        return 0;
    if (is_exchange)
        return ok ? WAS_PRESENT : 0; /* neither makes nor takes away */
    if (slot == op->slot)            /* two names of one file: it stays, so absence is not sure */
        return MAY_REMOVE | (ok ? WAS_PRESENT : 0);
    return MAY_ADD | (ok ? WAS_PRESENT | (is_fresh ? WAS_ABSENT : 0) : 0);
}

static unsigned says(const struct history_op *op, uint32_t slot)
{
    bool unknown = history_unknown(op), ok = !unknown && op->status == 0;
    if (op->kind == HISTORY_RENAME)
        return says_rename(op, slot, ok);
    if (op->kind == HISTORY_LIST)
        return !ok || op->slot != history_directory(slot) ? 0
               : op->listed[slot].inode                   ? WAS_PRESENT
                                                          : WAS_ABSENT;
    if (op->slot != slot || op->kind == HISTORY_GETATTR || op->kind == HISTORY_SETATTR)
        return 0;
    if (op->kind == HISTORY_LOOKUP)
        return ok ? WAS_PRESENT : op->status == -ERR_NO_ENTRY && !unknown ? WAS_ABSENT : 0;
    bool adds = makes(op) || op->kind == HISTORY_LINK;
    if (unknown)
        return adds ? MAY_ADD : MAY_REMOVE;
    if (adds)
        return ok                          ? MAY_ADD | WAS_ABSENT | WAS_PRESENT
               : op->status == -ERR_EXISTS ? WAS_PRESENT
                                           : 0;
    return ok                            ? MAY_REMOVE | WAS_PRESENT | WAS_ABSENT
           : op->status == -ERR_NO_ENTRY ? WAS_ABSENT
                                         : WAS_PRESENT;
}

static int by_invoke(const void *left, const void *right)
{
    const struct history_op *const *a = left, *const *b = right;
    return (*a)->invoke_ns < (*b)->invoke_ns ? -1 : (*a)->invoke_ns > (*b)->invoke_ns;
}

static int by_return(const void *left, const void *right)
{
    const struct history_op *const *a = left, *const *b = right;
    return (*a)->return_ns < (*b)->return_ns ? -1 : (*a)->return_ns > (*b)->return_ns;
}

struct order {
    const struct history_op **started, **ended; /* by invocation, by return */
    size_t count;
};

/* An operation that shows the name as `fact` and a later one that shows the opposite: somebody who
 * may have changed it was under way in between. For each later one the latest earlier one decides,
 * and the change that ended last. */
static unsigned check_change(const struct history *h, const struct order *o, uint32_t slot,
                             unsigned fact, unsigned opposite, unsigned change, const char *rule,
                             char report[])
{
    const struct history_op *latest = NULL;
    unsigned violations = 0;
    size_t ended = 0;
    for (size_t i = 0; i < o->count; i++) {
        const struct history_op *op = o->started[i];
        if (!(says(op, slot) & opposite) || history_unknown(op))
            continue;
        for (; ended < o->count && o->ended[ended]->return_ns < op->invoke_ns; ended++)
            if ((says(o->ended[ended], slot) & fact) &&
                (!latest || o->ended[ended]->invoke_ns > latest->invoke_ns))
                latest = o->ended[ended];
        bool excused = latest == NULL;
        /* Changes that started before this one ended; the newest are looked at first. */
        size_t last = i;
        while (last + 1 < o->count && o->started[last + 1]->invoke_ns < op->return_ns)
            last++;
        for (size_t j = last + 1; j-- > 0 && !excused;)
            excused = (says(o->started[j], slot) & change) &&
                      o->started[j]->return_ns > latest->invoke_ns;
        if (!excused && violations++ < 3)
            broken(report, rule, h, latest, op);
    }
    return violations;
}

static unsigned check_names(const struct history *h, uint32_t groups, char report[])
{
    struct order o = {.started = calloc(h->count + 1, sizeof(struct history_op *)),
                      .ended = calloc(h->count + 1, sizeof(struct history_op *))};
    unsigned violations = 0;
    CHECK(o.started && o.ended);
    for (uint32_t group = 0; group < groups; group++) {
        for (uint32_t slot = 0; slot < HISTORY_SLOTS; slot++) {
            o.count = 0;
            for (size_t i = 0; i < h->count; i++)
                if (h->ops[i].group == group && says(&h->ops[i], slot)) {
                    o.started[o.count] = o.ended[o.count] = &h->ops[i];
                    o.count++;
                }
            qsort(o.started, o.count, sizeof(struct history_op *), by_invoke);
            qsort(o.ended, o.count, sizeof(struct history_op *), by_return);
            violations += check_change(h, &o, slot, WAS_PRESENT, WAS_ABSENT, MAY_REMOVE,
                                       "a name goes only when somebody removes it", report);
            violations += check_change(h, &o, slot, WAS_ABSENT, WAS_PRESENT, MAY_ADD,
                                       "a name comes only when somebody makes it", report);
        }
    }
    free(o.started);
    free(o.ended);
    return violations;
}

/* ---- values ---- */

/* The time in which one value of one inode was shown: from the first end to the last start of an
 * operation that wrote or saw it. With end < start it was the only one in between. */
struct zone {
    uint64_t inode;
    uint32_t value;
    int64_t end_ns, start_ns; /* least return, greatest invocation */
    const struct history_op *write, *sight;
};

static int by_value(const void *left, const void *right)
{
    const struct zone *a = left, *b = right;
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    return a->value < b->value ? -1 : a->value > b->value;
}

static size_t collect_zones(const struct history *h, const struct sights *all, struct zone *zones)
{
    size_t count = 0, merged = 0;
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        bool sets = op->kind == HISTORY_SETATTR && (history_unknown(op) || op->status == 0);
        if (sets && (history_unknown(op) || op->seen.nlink > 0))
            zones[count++] =
                (struct zone){op->inode, op->value, op->return_ns, op->invoke_ns, op, NULL};
    }
    for (size_t i = 0; i < all->count; i++) {
        const struct history_op *op = all->rows[i].op;
        const struct history_seen *seen = all->rows[i].seen;
        bool starts = seen->value == 0 && makes(op);
        if (seen->nlink > 0) /* what has no name may be gone */
            zones[count++] = (struct zone){seen->inode,   seen->value,        op->return_ns,
                                           op->invoke_ns, starts ? op : NULL, op};
    }
    qsort(zones, count, sizeof *zones, by_value);
    for (size_t i = 0; i < count; i++) {
        struct zone *to = merged ? &zones[merged - 1] : NULL;
        if (!to || to->inode != zones[i].inode || to->value != zones[i].value) {
            zones[merged++] = zones[i];
            continue;
        }
        to->end_ns = zones[i].end_ns < to->end_ns ? zones[i].end_ns : to->end_ns;
        to->start_ns = zones[i].start_ns > to->start_ns ? zones[i].start_ns : to->start_ns;
        to->write = zones[i].write ? zones[i].write : to->write;
        to->sight = zones[i].sight ? zones[i].sight : to->sight;
    }
    return merged;
}

static bool conflict(const struct zone *a, const struct zone *b)
{
    bool a_holds = a->end_ns < a->start_ns, b_holds = b->end_ns < b->start_ns;
    if (a_holds && b_holds)
        return a->end_ns < b->start_ns && b->end_ns < a->start_ns;
    if (a_holds) /* the other one happened wholly within */
        return a->end_ns < b->start_ns && b->end_ns < a->start_ns;
    return b_holds && b->end_ns < a->start_ns && a->end_ns < b->start_ns;
}

/* Values begin with 0, which nobody stores. */
static bool is_first_again(const struct zone *zero, const struct zone *stored)
{
    return zero->value == 0 && stored->write && stored->write->return_ns < zero->start_ns;
}

static unsigned check_values(const struct history *h, const struct sights *all, char report[])
{
    struct zone *zones = calloc(h->count + all->count + 1, sizeof *zones);
    unsigned violations = 0;
    CHECK(zones != NULL);
    size_t count = collect_zones(h, all, zones), first = 0;
    for (size_t i = 0; i < count; i++) {
        const struct zone *z = &zones[i];
        if (zones[first].inode != z->inode)
            first = i;
        if (z->value != 0 && z->sight && !z->write && violations++ < 3)
            broken(report, "a value seen was stored", h, NULL, z->sight);
        if (z->write && z->end_ns < z->write->invoke_ns && violations++ < 3)
            broken(report, "nothing is seen before it is asked for", h, z->sight, z->write);
        for (size_t j = first; j < i; j++)
            if ((conflict(&zones[j], z) || is_first_again(&zones[j], z)) && violations++ < 3)
                broken(report, "an inode has one value at a time", h,
                       zones[j].sight ? zones[j].sight : zones[j].write,
                       z->sight ? z->sight : z->write);
    }
    free(zones);
    return violations;
}

/* ---- versions ---- */

static int by_inode_then_invoke(const void *left, const void *right)
{
    const struct sight *a = left, *b = right;
    if (a->seen->inode != b->seen->inode)
        return a->seen->inode < b->seen->inode ? -1 : 1;
    return a->op->invoke_ns < b->op->invoke_ns ? -1 : a->op->invoke_ns > b->op->invoke_ns;
}

static int by_inode_then_return(const void *left, const void *right)
{
    const struct sight *a = left, *b = right;
    if (a->seen->inode != b->seen->inode)
        return a->seen->inode < b->seen->inode ? -1 : 1;
    return a->op->return_ns < b->op->return_ns ? -1 : a->op->return_ns > b->op->return_ns;
}

/* `started` and `ended` hold the same rows. What starts after another's end has no lower version,
 * a higher one if `strictly`. */
static unsigned check_order(const struct history *h, const struct sight *started,
                            const struct sight *ended, size_t count, bool strictly, char report[])
{
    const struct sight *highest = NULL;
    unsigned violations = 0;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sight *s = &started[i];
        for (; at < count && ended[at].op->return_ns < s->op->invoke_ns; at++)
            if (!highest || ended[at].seen->version > highest->seen->version)
                highest = &ended[at];
        if (highest &&
            (highest->seen->version > s->seen->version ||
             (strictly && highest->seen->version == s->seen->version)) &&
            violations++ < 3)
            broken(report,
                   strictly ? "changes have indices in the order of time"
                            : "an inode's version never goes back",
                   h, highest->op, s->op);
    }
    return violations;
}

static bool is_sure_change(const struct history_op *op)
{
    return !history_is_read(op->kind) && op->kind != HISTORY_RENAME; /* that may do nothing */
}

static int sight_by_invoke(const void *left, const void *right)
{
    const struct history_op *a = ((const struct sight *)left)->op,
                            *b = ((const struct sight *)right)->op;
    return a->invoke_ns < b->invoke_ns ? -1 : a->invoke_ns > b->invoke_ns;
}

static int sight_by_return(const void *left, const void *right)
{
    const struct history_op *a = ((const struct sight *)left)->op,
                            *b = ((const struct sight *)right)->op;
    return a->return_ns < b->return_ns ? -1 : a->return_ns > b->return_ns;
}

static unsigned check_versions(const struct history *h, struct sights *all, char report[])
{
    struct sight *ended = calloc(all->count + 1, sizeof *ended);
    unsigned violations = 0;
    size_t changes = 0;
    CHECK(ended != NULL);
    memcpy(ended, all->rows, all->count * sizeof *ended);
    qsort(all->rows, all->count, sizeof *all->rows, by_inode_then_invoke);
    qsort(ended, all->count, sizeof *ended, by_inode_then_return);
    for (size_t i = 0, next; i < all->count; i = next) {
        for (next = i; next < all->count;) {
            if (all->rows[next].seen->inode != all->rows[i].seen->inode)
                break;
            next++;
        }
        violations += check_order(h, all->rows + i, ended + i, next - i, false, report);
    }
    for (size_t i = 0; i < all->count; i++)
        if (is_sure_change(all->rows[i].op))
            all->rows[changes++] = all->rows[i];
    memcpy(ended, all->rows, changes * sizeof *ended);
    qsort(all->rows, changes, sizeof *all->rows, sight_by_invoke);
    qsort(ended, changes, sizeof *ended, sight_by_return);
    violations += check_order(h, all->rows, ended, changes, true, report);
    free(ended);
    return violations;
}

unsigned history_rules(const struct history *h, char report[])
{
    struct sights all;
    uint32_t groups = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->ops[i].group >= groups)
            groups = h->ops[i].group + 1;
    collect(h, &all);
    unsigned violations = check_tags(h, &all, report) + check_names(h, groups, report) +
                          check_values(h, &all, report) + check_versions(h, &all, report);
    free(all.rows);
    return violations;
}
