/* Histories of metadata operations by concurrent clients, and two checkers of them that share
 * nothing but this header.
 *
 * The names are divided into groups: HISTORY_SLOTS names in two directories, the first
 * HISTORY_SLOTS_A of them in directory 0. Operations never leave their group (links and renames are
 * made within it), so each group is an object of its own, and a history is linearizable when that
 * of each group is (Herlihy and Wing 1990, locality).
 *
 * A new inode carries the number of the operation that made it (its gid, the tag), and each setattr
 * stores a value that no other stores (the uid): an observation tells whose effect it saw. */
#ifndef CAIRN_TESTS_HISTORY_HISTORY_H
#define CAIRN_TESTS_HISTORY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/err.h"
#include "common/base/prng.h"
#include "common/wire/types.h"

enum {
    HISTORY_SLOTS = 6,   /* names of one group */
    HISTORY_SLOTS_A = 4, /* of them in its first directory */
    HISTORY_REPORT_SIZE = 4096,
};

#define HISTORY_KINDS(X)                                    \
    X(CREATE, "create") /* exclusive, a file */             \
    X(MKDIR, "mkdir")                                       \
    X(UNLINK, "unlink")                                     \
    X(RMDIR, "rmdir")                                       \
    X(LOOKUP, "lookup")                                     \
    X(GETATTR, "getattr") /* of an inode */                 \
    X(SETATTR, "setattr") /* of an inode */                 \
    X(LINK, "link")       /* an inode gets the name slot */ \
    X(RENAME, "rename")   /* slot to slot2 */               \
    X(LIST, "list")       /* readdir of directory `slot` */

enum history_kind {
#define X(name, text) HISTORY_##name,
    HISTORY_KINDS(X)
#undef X
        HISTORY_KIND_COUNT
};

/* Attributes in an answer; inode 0: the name is absent. */
struct history_seen {
    uint64_t inode, version; /* version: Raft index of the inode's last change */
    uint32_t tag, value, nlink;
    bool is_directory;
};

struct history_op {
    int64_t invoke_ns, return_ns; /* one monotonic clock; return INT64_MAX: unknown outcome */
    uint64_t inode;               /* argument of getattr, setattr, link */
    uint32_t client, group, slot, slot2;
    uint32_t flags; /* of rename: enum rename_flags */
    uint32_t value; /* the tag of create and mkdir; the value of setattr */
    enum history_kind kind;
    int status;                                /* 0, or a definite negated enum err */
    struct history_seen seen;                  /* status 0, not LIST */
    struct history_seen listed[HISTORY_SLOTS]; /* LIST: the slots of that directory */
};

struct history {
    struct history_op *ops;
    size_t count, capacity;
};

static inline bool history_unknown(const struct history_op *op)
{
    return op->return_ns == INT64_MAX;
}
/* Only looks. */
static inline bool history_is_read(enum history_kind kind)
{
    return kind == HISTORY_LOOKUP || kind == HISTORY_GETATTR || kind == HISTORY_LIST;
}
static inline uint32_t history_directory(uint32_t slot)
{
    return slot < HISTORY_SLOTS_A ? 0 : 1;
}

void history_add(struct history *h, const struct history_op *op);
void history_release(struct history *h);
const char *history_kind_name(enum history_kind kind);

/* One JSON object per line. Reading: -ERR_CORRUPT with the line in `why`. */
void history_write(FILE *file, const struct history_op *op);
int history_read(FILE *file, struct history *ret_history, struct err_text *why);
/* The operation as one line for people, in microseconds since `start_ns`. */
void history_format(const struct history_op *op, int64_t start_ns, char *ret_text, size_t size);

/* ---- making one: what a client does next, and what it may write down (plan.c) ---- */

enum { HISTORY_GROUPS_MAX = 64, HISTORY_KNOWN = 8, HISTORY_NAME_SIZE = 32 };

/* Shared by all clients; the caller's lock. */
struct history_plan {
    uint32_t groups;
    uint32_t next_value;                               /* the last tag or value given out */
    uint64_t known[HISTORY_GROUPS_MAX][HISTORY_KNOWN]; /* inodes seen lately, by all clients */
};

/* Fills in everything that is asked; times and answer stay as they are. */
void history_pick(struct history_plan *plan, struct prng *chance, bool reads_only,
                  struct history_op *op);
/* Remembers the inode that an answer showed. */
void history_learn(struct history_plan *plan, struct prng *chance, const struct history_op *op);
/* The status says for sure what happened; any other is an unknown outcome, or asked again. */
bool history_is_definite(int status);
struct slice history_name(uint32_t slot, char text[HISTORY_NAME_SIZE]);
struct history_seen history_see(const struct wire_attr *attr);
/* One entry of a listing, by its name. */
void history_see_entry(struct history_op *op, struct slice name, const struct wire_attr *attr);

/* ---- the sequential meaning of the operations on one group ---- */
struct history_slot {
    uint64_t inode; /* 0 = absent */
    uint32_t tag, value;
    uint32_t is_directory; /* 0 or 1; whole words, so that states compare as bytes */
    uint32_t unused;
};
struct history_state {
    struct history_slot slots[HISTORY_SLOTS];
};

/* Whether `op`, run alone in `before`, may give the answer it gave; `ret_after` is the state it
 * leaves. With `answered` false only the effect counts: true when it would succeed. */
bool history_step(const struct history_state *before, const struct history_op *op, bool answered,
                  struct history_state *ret_after);

/* ---- the two checkers; both return the number of violations, told in `report` ---- */
struct history_figures {
    uint64_t steps;     /* of the search, all groups */
    unsigned undecided; /* groups for which steps_max was not enough */
};

/* Searches for an order of each group's operations that respects real time and in which each
 * answer is right (Wing and Gong 1993, with the memory of Lowe 2017). Operations of unknown outcome
 * may take effect at any time after their invocation, or never. */
unsigned history_search(const struct history *h, uint64_t steps_max, char report[],
                        struct history_figures *ret_figures);

/* Necessary conditions computed from the history alone, without the state machine or a search: see
 * rules.c. */
unsigned history_rules(const struct history *h, char report[]);

/* Appends to a report, cuts what does not fit. */
void history_say(char report[], const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
