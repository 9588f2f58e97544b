/* The checkers of histories: right ones pass, planted wrong ones are refused (P2, P3; R15, R16,
 * R22, R23). Each wrong history says which checker must see it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "common/wire/types.h"
#include "tests/history/history.h"
#include "tests/lib/tap.h"

enum { STEPS_MAX = 2000000 };

static struct history h;
static char report[HISTORY_REPORT_SIZE];

static int begin(void)
{
    history_release(&h);
    return 0;
}

/* One answered operation from `from` to `to`, in microseconds. */
static struct history_op *add(enum history_kind kind, int64_t from, int64_t to, uint32_t slot,
                              int status)
{
    struct history_op op = {.kind = kind,
                            .invoke_ns = from * 1000,
                            .return_ns = to * 1000,
                            .slot = slot,
                            .status = status};
    history_add(&h, &op);
    return &h.ops[h.count - 1];
}

static void unknown(struct history_op *op)
{
    op->return_ns = INT64_MAX;
    op->status = -ERR_TIMEOUT;
}

static struct history_seen seen(uint64_t inode, uint32_t tag, uint32_t value, uint32_t nlink,
                                uint64_t version)
{
    return (struct history_seen){inode, version, tag, value, nlink, false};
}

/* Inode numbers are tags plus 100, versions what is given. */
static struct history_op *create(int64_t from, int64_t to, uint32_t slot, uint32_t tag,
                                 uint64_t version)
{
    struct history_op *op = add(HISTORY_CREATE, from, to, slot, 0);
    op->value = tag;
    op->seen = seen(tag + 100, tag, 0, 1, version);
    return op;
}

static struct history_op *refused(int64_t from, int64_t to, uint32_t slot, uint32_t tag)
{
    struct history_op *op = add(HISTORY_CREATE, from, to, slot, -ERR_EXISTS);
    op->value = tag;
    return op;
}

static struct history_op *unlinked(int64_t from, int64_t to, uint32_t slot, uint32_t tag,
                                   uint32_t value, uint64_t version)
{
    struct history_op *op = add(HISTORY_UNLINK, from, to, slot, 0);
    op->seen = seen(tag + 100, tag, value, 0, version);
    return op;
}

static struct history_op *set(int64_t from, int64_t to, uint32_t tag, uint32_t value,
                              uint64_t version)
{
    struct history_op *op = add(HISTORY_SETATTR, from, to, 0, 0);
    op->inode = tag + 100;
    op->value = value;
    op->seen = seen(tag + 100, tag, value, 1, version);
    return op;
}

static struct history_op *looked(int64_t from, int64_t to, uint32_t slot, uint32_t tag,
                                 uint32_t value, uint64_t version)
{
    struct history_op *op = add(HISTORY_LOOKUP, from, to, slot, tag ? 0 : -ERR_NO_ENTRY);
    if (tag)
        op->seen = seen(tag + 100, tag, value, 1, version);
    return op;
}

static bool search_refuses(void)
{
    struct history_figures figures;
    report[0] = '\0';
    bool refuses = history_search(&h, STEPS_MAX, report, &figures) > 0;
    return refuses && figures.undecided == 0 && report[0] != '\0';
}

static bool search_accepts(void)
{
    struct history_figures figures;
    report[0] = '\0';
    return history_search(&h, STEPS_MAX, report, &figures) == 0 && figures.undecided == 0;
}

static bool rules_refuse(const char *rule)
{
    report[0] = '\0';
    return history_rules(&h, report) > 0 && strstr(report, rule);
}

static bool rules_accept(void)
{
    report[0] = '\0';
    bool accept = history_rules(&h, report) == 0;
    if (!accept)
        (void)printf("# %s", report);
    return accept;
}

/* ---- right ones ---- */

static void sequential_and_concurrent_ones_pass(void)
{
    create(0, 10, 0, 1, 1);
    refused(20, 30, 0, 2);
    set(40, 60, 1, 7, 2);
    looked(45, 50, 0, 1, 0, 1); /* before the concurrent set */
    looked(52, 58, 0, 1, 7, 2);
    unlinked(70, 80, 0, 1, 7, 3);
    looked(65, 90, 0, 0, 0, 0); /* after the concurrent removal */
    create(85, 100, 0, 3, 4);
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
}

/* Two concurrent exclusive creates with an unlink in between fit in one order only. */
static void the_one_order_is_found(void)
{
    create(0, 100, 0, 1, 1);
    unlinked(0, 100, 0, 1, 0, 2);
    create(0, 100, 0, 2, 3);
    unlinked(0, 100, 0, 2, 0, 4);
    create(0, 100, 0, 3, 5);
    looked(0, 100, 0, 2, 0, 3);
    looked(110, 120, 0, 3, 0, 5);
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
}

static void unknown_ones_may_take_effect_late_or_never(void)
{
    unknown(create(0, 0, 0, 1, 0)); /* seen much later: it happened then */
    looked(10, 20, 0, 0, 0, 0);
    looked(30, 40, 0, 1, 0, 5);
    unknown(unlinked(50, 0, 0, 0, 0, 0)); /* never, or after the last look */
    looked(60, 70, 0, 1, 0, 5);
    unknown(set(80, 0, 1, 9, 0)); /* never */
    unknown(create(85, 0, 1, 4, 0));
    looked(90, 100, 0, 1, 0, 5);
    looked(110, 120, 1, 0, 0, 0);
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
}

static struct history_op *renamed(int64_t from, int64_t to, uint32_t slot, uint32_t slot2,
                                  uint32_t flags, uint32_t tag, uint64_t version)
{
    struct history_op *op = add(HISTORY_RENAME, from, to, slot, 0);
    op->slot2 = slot2;
    op->flags = flags;
    op->seen = seen(tag + 100, tag, 0, 1, version);
    return op;
}

static void renames_links_and_lists_pass(void)
{
    create(0, 10, 0, 1, 1);
    create(0, 10, 5, 2, 2);
    renamed(20, 30, 0, 5, RENAME_FLAG_EXCHANGE, 1, 3);
    renamed(40, 50, 5, 1, RENAME_FLAG_NOREPLACE, 1, 4);
    struct history_op *op = add(HISTORY_LINK, 60, 70, 2, 0);
    op->inode = 101;
    op->seen = seen(101, 1, 0, 2, 5);
    op = add(HISTORY_LIST, 80, 90, 0, 0);
    op->listed[0] = seen(102, 2, 0, 1, 3);
    op->listed[1] = op->listed[2] = seen(101, 1, 0, 2, 5);
    op = renamed(100, 110, 1, 2, 0, 1, 5); /* two names of one file: nothing happens */
    op->seen.nlink = 2;
    op = unlinked(120, 130, 1, 1, 0, 6);
    op->seen.nlink = 1;
    add(HISTORY_LIST, 140, 150, 1, 0);
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
}

/* An exchange of two names of one file does nothing. It must not be taken for that when it came
 * after the other exchange, which had changed one of them. */
static void renames_that_might_do_nothing_are_tried_later(void)
{
    create(0, 10, 0, 1, 1);
    create(0, 10, 1, 2, 2);
    struct history_op *op = add(HISTORY_LINK, 20, 30, 2, 0);
    op->inode = 101;
    op->seen = seen(101, 1, 0, 2, 3);
    renamed(40, 50, 0, 2, RENAME_FLAG_EXCHANGE, 1, 5)->seen.nlink = 2; /* the second one */
    renamed(40, 50, 2, 1, RENAME_FLAG_EXCHANGE, 1, 4)->seen.nlink = 2;
    looked(60, 70, 0, 2, 0, 4);
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
}

/* A file without a name that somebody has open takes a value, too. */
static void unknown_values_of_nameless_files_pass(void)
{
    create(0, 10, 0, 1, 1);
    unlinked(20, 30, 0, 1, 0, 2);
    unknown(set(25, 0, 1, 9, 0));
    struct history_op *op = add(HISTORY_GETATTR, 40, 50, 0, 0);
    op->inode = 101;
    op->seen = seen(101, 1, 9, 0, 3);
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
    begin();
    create(0, 10, 0, 1, 1);
    unknown(set(15, 0, 1, 9, 0));
    unlinked(20, 30, 0, 1, 9, 3); /* its answer shows that the value came before */
    looked(40, 50, 0, 0, 0, 0);
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
}

/* ---- wrong ones ---- */

/* R15, R16: a deposed leader answers from its old state. */
static void stale_reads_are_refused(void)
{
    create(0, 10, 0, 1, 1);
    set(20, 30, 1, 7, 2);
    looked(40, 50, 0, 1, 0, 1);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("one value at a time"));
    CU_ASSERT(rules_refuse("version never goes back"));
    begin();
    create(0, 10, 0, 1, 1);
    looked(20, 30, 0, 0, 0, 0);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("a name goes only when"));
    begin();
    create(0, 10, 0, 1, 1);
    unlinked(20, 30, 0, 1, 0, 2);
    looked(40, 50, 0, 1, 0, 1);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("a name comes only when"));
}

/* A value is seen, then the one before it, while the write is still under way. */
static void values_that_come_back_are_refused(void)
{
    create(0, 10, 0, 1, 1);
    set(20, 100, 1, 7, 2);
    looked(30, 40, 0, 1, 7, 2);
    looked(50, 60, 0, 1, 0, 1);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("version never goes back"));
    h.ops[h.count - 1].seen.version = 2; /* the values alone tell it as well */
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("one value at a time"));
}

/* P3: an acknowledged change is gone after a change of leader. */
static void lost_updates_are_refused(void)
{
    create(0, 10, 0, 1, 1);
    set(20, 30, 1, 7, 2);
    set(40, 50, 1, 8, 3);
    looked(60, 70, 0, 1, 7, 2);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("one value at a time"));
    begin();
    create(0, 10, 0, 1, 1);
    create(20, 30, 0, 2, 2);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("a name goes only when"));
    begin();
    struct history_op *op = add(HISTORY_MKDIR, 0, 10, 1, 0);
    op->value = 1;
    op->seen = (struct history_seen){101, 1, 1, 0, 2, true};
    add(HISTORY_LIST, 20, 30, 0, 0);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("a name goes only when"));
}

/* R22, R23: the first try took effect, its repetition is run as a new operation. */
static void duplicate_executions_are_refused(void)
{
    refused(0, 20, 0, 1);
    looked(30, 40, 0, 1, 0, 1);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("what failed makes no inode"));
    begin();
    create(0, 90, 0, 1, 1);
    unlinked(10, 20, 0, 1, 0, 2);
    looked(100, 110, 0, 1, 0, 3);
    h.ops[2].seen.inode = 150; /* made again, after the removal */
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("one operation makes one inode"));
    begin();
    create(0, 10, 0, 1, 1);
    create(0, 10, 1, 2, 2);
    add(HISTORY_UNLINK, 20, 30, 0, -ERR_NO_ENTRY); /* its first try removed it: the answer lies */
    looked(40, 50, 0, 0, 0, 0);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("a name goes only when"));
    begin();
    create(0, 10, 0, 1, 1);
    create(0, 10, 1, 2, 2);
    renamed(20, 90, 0, 1, RENAME_FLAG_EXCHANGE, 1, 3); /* twice is not at all */
    looked(100, 110, 0, 1, 0, 3);
    CU_ASSERT(search_refuses());
}

static void reordering_is_refused(void)
{
    create(0, 10, 0, 1, 1);
    set(20, 30, 1, 7, 3);
    set(40, 50, 1, 8, 2); /* before the first by the log, after it by the clock */
    CU_ASSERT(rules_refuse("indices in the order of time"));
    begin();
    create(0, 10, 0, 1, 1);
    create(0, 10, 1, 2, 2);
    set(20, 100, 1, 7, 3);
    set(20, 100, 2, 8, 4);
    looked(30, 40, 0, 1, 7, 3); /* one client sees the first only */
    looked(41, 50, 1, 2, 0, 2);
    looked(30, 40, 1, 2, 8, 4); /* another the second only */
    looked(41, 50, 0, 1, 0, 1);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("one value at a time"));
}

static void unknown_is_no_excuse_for_everything(void)
{
    create(0, 10, 0, 1, 1);
    unknown(set(20, 0, 1, 9, 0));
    looked(30, 40, 0, 1, 9, 2); /* it did happen */
    looked(50, 60, 0, 1, 0, 1);
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("version never goes back"));
    begin();
    create(0, 10, 0, 1, 1);
    looked(20, 30, 0, 1, 9, 2); /* nobody had asked for it yet */
    unknown(set(40, 0, 1, 9, 0));
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("before it is asked for"));
    begin();
    create(0, 10, 0, 1, 1);
    unknown(unlinked(20, 0, 0, 0, 0, 0));
    looked(30, 40, 0, 0, 0, 0);
    looked(50, 60, 0, 1, 0, 1); /* gone, and back again */
    CU_ASSERT(search_refuses());
    CU_ASSERT(rules_refuse("a name comes only when"));
}

/* Each group is judged on its own; the order of the log holds over all. */
static void groups_are_separate(void)
{
    create(0, 10, 0, 1, 1);
    create(20, 30, 0, 2, 2)->group = 1;
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_accept());
    h.ops[1].seen.version = 1;
    CU_ASSERT(search_accepts());
    CU_ASSERT(rules_refuse("indices in the order of time"));
}

/* ---- at random: a run of the model passes, a changed answer does not ---- */

struct clock {
    struct prng chance;
    int64_t now;
    struct history_state state;
    uint64_t version;
    uint64_t versions[2048]; /* of inode 100 + tag */
    uint32_t next;
};

static void fill_seen(struct clock *c, struct history_seen *to, const struct history_slot *slot)
{
    uint32_t links = 0;
    for (unsigned i = 0; i < HISTORY_SLOTS; i++)
        links += c->state.slots[i].inode == slot->inode;
    *to = seen(slot->inode, slot->tag, slot->value, links, c->versions[slot->tag]);
}

/* One operation at the moment `at`, called up to 500 us earlier and ended up to 500 us later. */
static void random_op(struct clock *c, int64_t at, bool lose)
{
    struct history_op op = {.slot = (uint32_t)prng_below(&c->chance, HISTORY_SLOTS),
                            .invoke_ns = (at - (int64_t)prng_below(&c->chance, 500)) * 1000,
                            .return_ns = (at + 1 + (int64_t)prng_below(&c->chance, 500)) * 1000};
    struct history_slot *slot = &c->state.slots[op.slot], old = *slot;
    uint64_t what = prng_below(&c->chance, 4);
    if (what == 0) {
        op.kind = HISTORY_CREATE;
        op.value = c->next++;
        op.status = old.inode ? -ERR_EXISTS : 0;
        if (!old.inode)
            *slot = (struct history_slot){.inode = op.value + 100, .tag = op.value};
    } else if (what == 1) {
        op.kind = HISTORY_UNLINK;
        op.status = old.inode ? 0 : -ERR_NO_ENTRY;
        *slot = (struct history_slot){.inode = 0};
    } else if (what == 2 && old.inode) {
        op.kind = HISTORY_SETATTR;
        op.inode = old.inode;
        op.value = slot->value = c->next++;
    } else {
        op.kind = HISTORY_LOOKUP;
        op.status = old.inode ? 0 : -ERR_NO_ENTRY;
    }
    const struct history_slot *about = slot->inode ? slot : &old;
    if (op.status == 0 && op.kind != HISTORY_LOOKUP)
        c->versions[about->tag] = ++c->version;
    if (op.status == 0)
        fill_seen(c, &op.seen, about);
    if (op.kind == HISTORY_UNLINK)
        op.seen.nlink = 0;
    if (lose && prng_chance(&c->chance, 10))
        unknown(&op);
    history_add(&h, &op);
}

static void random_history(uint64_t seed, unsigned count)
{
    static struct clock c;
    c = (struct clock){.next = 1};
    prng_init(&c.chance, seed);
    begin();
    for (unsigned i = 0; i < count; i++) {
        c.now += 1 + (int64_t)prng_below(&c.chance, 60);
        random_op(&c, c.now, true);
    }
}

static uint64_t first_seed(void)
{
    const char *text = getenv("SEED");
    return text ? strtoull(text, NULL, 10) : 1;
}

static void random_runs_of_the_model_pass(void)
{
    for (uint64_t seed = first_seed(); seed < first_seed() + 40; seed++) {
        random_history(seed, 1000);
        bool accepted = search_accepts() && rules_accept();
        CU_ASSERT(accepted);
        if (!accepted)
            (void)printf("# seed=%llu\n%s", (unsigned long long)seed, report);
    }
}

/* The write of what this lookup saw had ended before it began: the first value is a lie. */
static bool must_see_it(const struct history_op *look)
{
    if (look->kind != HISTORY_LOOKUP || look->status != 0 || history_unknown(look))
        return false;
    for (size_t i = 0; i < h.count; i++) {
        const struct history_op *op = &h.ops[i];
        if (op->kind == HISTORY_SETATTR && op->value == look->seen.value)
            return op->return_ns < look->invoke_ns;
    }
    return false;
}

/* Every one-word lie about a value that was there for sure is found by both checkers. */
static void changed_answers_are_found(void)
{
    unsigned tried = 0, by_search = 0, by_rules = 0;
    for (uint64_t seed = first_seed(); seed < first_seed() + 60; seed++) {
        random_history(seed, 400);
        for (size_t i = 100; i < h.count; i++) {
            if (!must_see_it(&h.ops[i]))
                continue;
            h.ops[i].seen.value = 0;
            tried++;
            by_search += search_refuses();
            by_rules += history_rules(&h, report) > 0;
            break;
        }
    }
    (void)printf("# %u lies, the search found %u, the rules %u\n", tried, by_search, by_rules);
    CU_ASSERT(tried > 20);
    CU_ASSERT_EQUAL(by_search, tried);
    CU_ASSERT_EQUAL(by_rules, tried);
}

/* What is written is read back equal. */
static void text_goes_round(void)
{
    struct history again = {0};
    struct err_text why = {""};
    FILE *file = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    random_history(3, 200);
    add(HISTORY_LIST, 5, 6, 1, 0)->listed[4] = seen(9, 8, 7, 6, 5);
    for (size_t i = 0; i < h.count; i++)
        history_write(file, &h.ops[i]);
    rewind(file);
    CU_ASSERT_EQUAL(history_read(file, &again, &why), 0);
    CU_ASSERT_EQUAL_FATAL(again.count, h.count);
    for (size_t i = 0; i < h.count; i++) {
        char one[400], other[400];
        history_format(&h.ops[i], 0, one, sizeof one);
        history_format(&again.ops[i], 0, other, sizeof other);
        CU_ASSERT_STRING_EQUAL(one, other);
        CU_ASSERT(history_unknown(&h.ops[i]) || h.ops[i].seen.version == again.ops[i].seen.version);
    }
    history_release(&again);
    rewind(file);
    (void)fputs("{\"op\":\"dance\"}\n", file);
    rewind(file);
    CU_ASSERT_EQUAL(history_read(file, &again, &why), -ERR_CORRUPT);
    CU_ASSERT_STRING_EQUAL(why.text, "line 1 is not an operation");
    history_release(&again);
    (void)fclose(file);
}

/* Thousands of operations at eight clients' concurrency are decided in few steps. */
static void long_histories_stay_cheap(void)
{
    struct history_figures figures;
    random_history(first_seed(), 2000);
    report[0] = '\0';
    CU_ASSERT_EQUAL(history_search(&h, STEPS_MAX, report, &figures), 0);
    CU_ASSERT(figures.steps < 500000);
    (void)printf("# %llu steps\n", (unsigned long long)figures.steps);
}

#define TESTS(T)                                     \
    T(sequential_and_concurrent_ones_pass)           \
    T(the_one_order_is_found)                        \
    T(unknown_ones_may_take_effect_late_or_never)    \
    T(renames_links_and_lists_pass)                  \
    T(unknown_values_of_nameless_files_pass)         \
    T(renames_that_might_do_nothing_are_tried_later) \
    T(stale_reads_are_refused)                       \
    T(values_that_come_back_are_refused)             \
    T(lost_updates_are_refused)                      \
    T(duplicate_executions_are_refused)              \
    T(reordering_is_refused)                         \
    T(unknown_is_no_excuse_for_everything)           \
    T(groups_are_separate)                           \
    T(random_runs_of_the_model_pass)                 \
    T(changed_answers_are_found)                     \
    T(text_goes_round)                               \
    T(long_histories_stay_cheap)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};

static void set_up(void)
{
    (void)begin();
}

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {{"history", NULL, NULL, set_up, set_up, tests}, CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
