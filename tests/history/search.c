/* The search for an order: depth first over the operations that real time allows next, with a
 * memory of (what is done, state) that has been tried (Wing and Gong 1993; Lowe 2017).
 *
 * Two things keep it small. An operation that by its answer changes no state at all, a read or one
 * that failed, may be taken as soon as the answer fits: that never closes a way, so there is no
 * branch. (A rename that succeeded and would do nothing now may have done something elsewhere.) And
 * what an unknown operation did is looked for first: when somebody saw its tag or value it did
 * happen, before that observation ended; a setattr whose value nobody saw can be left out. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/history/history.h"

struct item {
    struct history_op op;
    bool answered; /* the result is known, not only that it happened */
    bool optional; /* may never have happened */
    bool done;
};

struct frame {
    struct history_state state; /* after the reads taken without a branch */
    size_t trail;               /* done before this frame's branch */
    size_t first;               /* no required item before this one is left */
    size_t next;                /* candidates[] tried so far */
    size_t candidates_at, candidate_count;
};

struct search {
    struct item *items; /* the required ones by invocation, then the optional ones */
    size_t required, count, left;
    size_t *trail, trail_count, deepest;
    struct frame *frames;
    size_t depth;
    size_t *candidates, candidate_count, candidate_capacity;
    uint64_t (*seen)[2];
    size_t seen_count, seen_capacity;
    uint64_t done_hash[2];
    uint64_t steps, steps_max;
    struct history_state deepest_state;
    size_t *deepest_trail;
};

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* ---- what is known of unknown operations ---- */

struct evidence {
    int64_t by_ns; /* somebody who had seen it had returned by then; INT64_MAX = nobody has */
    uint64_t inode;
};

static void weigh(struct evidence *e, const struct history_op *unknown,
                  const struct history_op *witness, const struct history_seen *seen)
{
    bool matches = unknown->kind == HISTORY_SETATTR
                       ? seen->inode == unknown->inode && seen->value == unknown->value
                       : seen->inode != 0 && seen->tag == unknown->value;
    /* What has no name any more is outside the model: a value that it got then proves nothing. */
    bool was_named =
        seen->nlink > 0 || witness->kind == HISTORY_UNLINK || witness->kind == HISTORY_RMDIR;
    if (!matches || (unknown->kind == HISTORY_SETATTR && !was_named))
        return;
    e->inode = seen->inode;
    if (witness->return_ns < e->by_ns)
        e->by_ns = witness->return_ns;
}

static struct evidence find_evidence(const struct history *h, const struct history_op *unknown)
{
    struct evidence e = {INT64_MAX, 0};
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        if (op->group != unknown->group || history_unknown(op) || op->status != 0)
            continue;
        if (op->kind != HISTORY_LIST)
            weigh(&e, unknown, op, &op->seen);
        for (unsigned slot = 0; op->kind == HISTORY_LIST && slot < HISTORY_SLOTS; slot++)
            weigh(&e, unknown, op, &op->listed[slot]);
    }
    return e;
}

/* False: it can be left out. */
static bool resolve(const struct history *h, size_t index, struct item *item)
{
    struct history_op *op = &item->op;
    bool makes = op->kind == HISTORY_CREATE || op->kind == HISTORY_MKDIR;
    if (history_is_read(op->kind))
        return false;
    item->optional = true;
    if (!makes && op->kind != HISTORY_SETATTR)
        return true;
    struct evidence e = find_evidence(h, op);
    item->optional = e.inode == 0;
    op->return_ns = e.by_ns;
    if (makes) /* nobody ever saw its inode: any number will do */
        op->seen.inode = e.inode ? e.inode : UINT64_MAX - index;
    return makes || !item->optional;
}

static int by_order(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    if (a->optional != b->optional)
        return a->optional ? 1 : -1;
    if (a->op.invoke_ns != b->op.invoke_ns)
        return a->op.invoke_ns < b->op.invoke_ns ? -1 : 1;
    return 0;
}

static void load(struct search *s, const struct history *h, uint32_t group)
{
    s->items = calloc(h->count + 1, sizeof *s->items);
    CHECK(s->items != NULL);
    for (size_t i = 0; i < h->count; i++) {
        struct item *item = &s->items[s->count];
        if (h->ops[i].group != group)
            continue;
        *item = (struct item){.op = h->ops[i], .answered = !history_unknown(&h->ops[i])};
        if (!item->answered && !resolve(h, i, item))
            continue;
        s->required += !item->optional;
        s->count++;
    }
    qsort(s->items, s->count, sizeof *s->items, by_order);
    s->left = s->required;
    s->trail = calloc(s->count + 1, sizeof *s->trail);
    s->deepest_trail = calloc(s->count + 1, sizeof *s->deepest_trail);
    s->frames = calloc(s->count + 2, sizeof *s->frames);
    s->seen_capacity = 1 << 12;
    s->seen = calloc(s->seen_capacity, sizeof *s->seen);
    CHECK(s->trail && s->deepest_trail && s->frames && s->seen);
}

static void unload(struct search *s)
{
    free(s->items);
    free(s->trail);
    free(s->deepest_trail);
    free(s->frames);
    free(s->candidates);
    free(s->seen);
}

/* ---- the memory ---- */

static bool remember(struct search *s, uint64_t a, uint64_t b)
{
    size_t at = a & (s->seen_capacity - 1);
    while (s->seen[at][0] || s->seen[at][1]) {
        if (s->seen[at][0] == a && s->seen[at][1] == b)
            return false;
        at = (at + 1) & (s->seen_capacity - 1);
    }
    s->seen[at][0] = a;
    s->seen[at][1] = b;
    s->seen_count++;
    return true;
}

static void make_room(struct search *s)
{
    if (s->seen_count * 2 < s->seen_capacity)
        return;
    uint64_t(*old)[2] = s->seen;
    size_t capacity = s->seen_capacity;
    s->seen_capacity *= 2;
    s->seen_count = 0;
    s->seen = calloc(s->seen_capacity, sizeof *s->seen);
    CHECK(s->seen != NULL);
    for (size_t i = 0; i < capacity; i++)
        if (old[i][0] || old[i][1])
            (void)remember(s, old[i][0], old[i][1]);
    free(old);
}

/* True when this (done, state) was not met before. 128 bits of hash stand for it. */
static bool is_new(struct search *s, const struct history_state *state)
{
    uint64_t words[sizeof *state / sizeof(uint64_t)], a = s->done_hash[0], b = s->done_hash[1];
    memcpy(words, state, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        a = mix(a ^ words[i]);
        b = mix(b + words[i] * 0x100000001b3u);
    }
    make_room(s);
    return remember(s, a, b | 1);
}

/* ---- moves ---- */

static void flip(struct search *s, size_t index)
{
    s->done_hash[0] ^= mix(index * 2);
    s->done_hash[1] ^= mix(index * 2 + 1);
    s->items[index].done = !s->items[index].done;
}

static void take(struct search *s, size_t index)
{
    flip(s, index);
    s->trail[s->trail_count++] = index;
    s->left -= index < s->required;
}

static void undo_to(struct search *s, size_t trail)
{
    while (s->trail_count > trail) {
        size_t index = s->trail[--s->trail_count];
        flip(s, index);
        s->left += index < s->required;
    }
}

/* The end of the window: what was invoked later comes after an operation that is not done yet. */
static int64_t window_end(const struct search *s, size_t first)
{
    int64_t end = INT64_MAX;
    for (size_t i = first; i < s->required && s->items[i].op.invoke_ns <= end; i++)
        if (!s->items[i].done && s->items[i].op.return_ns < end)
            end = s->items[i].op.return_ns;
    return end;
}

/* Takes everything that fits and only looks. */
static void take_unchanging(struct search *s, struct frame *f)
{
    struct history_state after;
    bool found = true;
    while (found) {
        found = false;
        while (f->first < s->required && s->items[f->first].done)
            f->first++;
        int64_t end = window_end(s, f->first);
        for (size_t i = f->first; i < s->required && s->items[i].op.invoke_ns <= end; i++) {
            const struct item *item = &s->items[i];
            bool only_looks = history_is_read(item->op.kind) || item->op.status != 0;
            if (item->done || !item->answered || !only_looks ||
                !history_step(&f->state, &item->op, true, &after))
                continue;
            CHECK(memcmp(&after, &f->state, sizeof after) == 0);
            take(s, i);
            found = true;
        }
    }
}

static void add_candidate(struct search *s, struct frame *f, size_t index)
{
    struct history_state after;
    const struct item *item = &s->items[index];
    if (item->done || !history_step(&f->state, &item->op, item->answered, &after))
        return;
    if (item->optional && memcmp(&after, &f->state, sizeof after) == 0)
        return; /* it can as well wait */
    if (s->candidate_count == s->candidate_capacity) {
        s->candidate_capacity = s->candidate_capacity ? s->candidate_capacity * 2 : 1024;
        s->candidates = realloc(s->candidates, s->candidate_capacity * sizeof *s->candidates);
        CHECK(s->candidates != NULL);
    }
    s->candidates[s->candidate_count++] = index;
    f->candidate_count++;
}

/* False when there is nothing new to be found from here. */
static bool enter(struct search *s, struct frame *f)
{
    s->steps++;
    take_unchanging(s, f);
    if (s->trail_count > s->deepest) {
        s->deepest = s->trail_count;
        s->deepest_state = f->state;
        memcpy(s->deepest_trail, s->trail, s->trail_count * sizeof *s->trail);
    }
    f->next = f->candidate_count = 0;
    f->candidates_at = s->candidate_count;
    if (s->left == 0)
        return true;
    if (!is_new(s, &f->state))
        return false;
    int64_t end = window_end(s, f->first);
    for (size_t i = f->first; i < s->required && s->items[i].op.invoke_ns <= end; i++)
        add_candidate(s, f, i);
    for (size_t i = s->required; i < s->count && s->items[i].op.invoke_ns <= end; i++)
        add_candidate(s, f, i);
    return true;
}

static bool run(struct search *s)
{
    struct frame *f = &s->frames[0];
    (void)enter(s, f);
    while (s->left > 0 && s->steps < s->steps_max) {
        f = &s->frames[s->depth];
        if (f->next == f->candidate_count) {
            if (s->depth == 0)
                return false;
            s->candidate_count = f->candidates_at;
            s->depth--;
            undo_to(s, f->trail);
            continue;
        }
        size_t index = s->candidates[f->candidates_at + f->next++];
        struct frame *child = &s->frames[s->depth + 1];
        child->trail = s->trail_count;
        child->first = f->first;
        bool fits =
            history_step(&f->state, &s->items[index].op, s->items[index].answered, &child->state);
        CHECK(fits);
        take(s, index);
        if (enter(s, child)) {
            s->depth++;
        } else {
            s->candidate_count = child->candidates_at;
            undo_to(s, child->trail);
        }
    }
    return s->left == 0;
}

/* ---- telling ---- */

static void tell(const struct search *s, const struct history *h, uint32_t group, char report[])
{
    int64_t start_ns = h->ops[0].invoke_ns;
    char text[400];
    bool *done = calloc(s->count + 1, sizeof *done);
    CHECK(done != NULL);
    history_say(report, "group %u: %zu of %zu operations can be ordered; then the names are\n",
                group, s->deepest, s->required);
    for (unsigned i = 0; i < HISTORY_SLOTS; i++)
        if (s->deepest_state.slots[i].inode)
            history_say(report, "  n%u: inode %llu tag %u value %u\n", i,
                        (unsigned long long)s->deepest_state.slots[i].inode,
                        s->deepest_state.slots[i].tag, s->deepest_state.slots[i].value);
    history_say(report, " the last ones in that order:\n");
    for (size_t i = 0; i < s->deepest; i++) {
        done[s->deepest_trail[i]] = true;
        if (i + 8 < s->deepest)
            continue;
        history_format(&s->items[s->deepest_trail[i]].op, start_ns, text, sizeof text);
        history_say(report, "  %s\n", text);
    }
    history_say(report, " none of these fits next:\n");
    unsigned shown = 0;
    for (size_t i = 0; i < s->count && shown < 10; i++) {
        if (done[i])
            continue;
        history_format(&s->items[i].op, start_ns, text, sizeof text);
        history_say(report, "  %s\n", text);
        shown++;
    }
    free(done);
}

unsigned history_search(const struct history *h, uint64_t steps_max, char report[],
                        struct history_figures *ret_figures)
{
    struct history_figures figures = {0};
    unsigned violations = 0;
    uint32_t groups = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->ops[i].group >= groups)
            groups = h->ops[i].group + 1;
    for (uint32_t group = 0; group < groups; group++) {
        struct search s = {.steps_max = steps_max};
        load(&s, h, group);
        if (!run(&s)) {
            bool exhausted = s.steps >= s.steps_max;
            figures.undecided += exhausted;
            violations += !exhausted;
            history_say(report,
                        exhausted ? "group %u: undecided after %llu steps\n"
                                  : "group %u: no order exists (%llu steps)\n",
                        group, (unsigned long long)s.steps);
            tell(&s, h, group, report);
        }
        figures.steps += s.steps;
        unload(&s);
    }
    *ret_figures = figures;
    return violations;
}
