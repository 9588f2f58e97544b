/* Commands as tables: words, options, help texts and exit codes of `cairn`.
 *
 * A command lists what it takes; parsing, --help and the answer to a wrong word come from the
 * table. One thread. */
#ifndef CAIRN_TOOLS_COMMAND_H
#define CAIRN_TOOLS_COMMAND_H

#include <stdbool.h>

#include "common/base/err.h"

/* What scripts may rely on; the table in cairn(1). */
enum exit_code {
    EXIT_GOOD = 0,
    EXIT_ERROR = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_NOT_ALLOWED = 4,
    EXIT_NO_LEADER = 5,
    EXIT_PARTIAL = 6,
    EXIT_REFUSED = 7,
    EXIT_MISMATCH = 8,
    EXIT_CANCELLED = 9,
    EXIT_NOTHING = 10,
};

enum { OPTIONS_MAX = 16 };

enum option_kind {
    OPTION_SWITCH,
    OPTION_VALUE,
    OPTION_MAYBE /* a number behind it is its value */
};

struct option_row {
    const char *name; /* without the dashes */
    char letter;      /* 0 = none */
    enum option_kind kind;
    const char *value; /* what the help calls it */
    const char *help;
};
/* For the tables of most commands. */
#define OPTION_CLUSTER                                                                    \
    {                                                                                     \
        "cluster", 'C', OPTION_VALUE, "D|HOST:PORT,...", "the cluster (or CAIRN_CLUSTER)" \
    }
#define OPTION_OUTPUT                                                   \
    {                                                                   \
        "output", 'o', OPTION_VALUE, "table|json", "form of the output" \
    }

struct arguments;
typedef int command_fn(const struct arguments *a); /* returns an exit code */

struct command {
    const char *name;
    command_fn *run; /* NULL: only a group of subcommands */
    const char *usage;
    const char *summary;
    const char *examples; /* one per line */
    unsigned words_min, words_max;
    struct option_row options[OPTIONS_MAX]; /* ends with an empty row */
    const struct command *subcommands;      /* ends with an empty row; NULL = none */
};

struct arguments {
    const struct command *command;
    const char *values[OPTIONS_MAX]; /* NULL = not given; "" for a switch */
    const char **words;              /* in order; borrowed from argv */
    unsigned word_count;
};

/* Parses argv[1..] for `command`; `words` has room for argc entries. -ERR_CONFIG with a text. */
int arguments_parse(const struct command *command, int argc, char **argv, const char **words,
                    struct arguments *ret_arguments, bool *ret_help, struct err_text *why);
/* The value of an option of the table, NULL when it was not given. */
const char *option_text(const struct arguments *a, const char *name);
bool option_given(const struct arguments *a, const char *name);
/* A number within the bounds, or `fallback` when it was not given; -ERR_CONFIG with a text. */
int option_number(const struct arguments *a, const char *name, unsigned fallback, unsigned min,
                  unsigned max, unsigned *ret_number, struct err_text *why);
/* *ret_json from -o; -ERR_CONFIG for another word. */
int option_json(const struct arguments *a, bool *ret_json, struct err_text *why);

/* Runs argv for a table of commands: finds the (sub)command, answers --help, unknown words. */
int command_run(const struct command *commands, const char *prefix, int argc, char **argv);
/* The row, or NULL; *ret_near is the nearest name (NULL when none is near). */
const struct command *command_find(const struct command *commands, const char *name,
                                   const char **ret_near);
void command_help(const struct command *c, const char *prefix);

/* ---- errors: "PROGRAM: what: why" on standard error ---- */
int exit_of(int status);
/* Prints what, the text of the status and what to do; returns the exit code of the status. */
int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints exactly this text; returns `code`. */
int complain_text(enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
