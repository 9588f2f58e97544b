/* Parsing words and options by table, help, unknown words, exit codes. */
#include "config.h" /* first: program_invocation_short_name */

#include "tools/command.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/conf.h"

#include "common/base/banned.h"

enum { COMMANDS_MAX = 32 };

/* ---- options ---- */

static int find_option(const struct command *c, const char *name, size_t size)
{
    for (int i = 0; i < OPTIONS_MAX && c->options[i].name; i++)
        if (strlen(c->options[i].name) == size && strncmp(c->options[i].name, name, size) == 0)
            return i;
    return -1;
}

static int find_letter(const struct command *c, char letter)
{
    for (int i = 0; i < OPTIONS_MAX && c->options[i].name; i++)
        if (c->options[i].letter == letter)
            return i;
    return -1;
}

static bool is_number(const char *text)
{
    return text && *text && text[strspn(text, "0123456789")] == '\0';
}

/* Takes the value from `rest` (the text behind the option, NULL = none) or the next argument. */
static int take_value(struct arguments *a, int index, const char *rest, int argc, char **argv,
                      int *at, struct err_text *why)
{
    const struct option_row *row = &a->command->options[index];
    a->values[index] = "";
    if (row->kind == OPTION_SWITCH)
        return rest ? err_set(ERR_CONFIG, why, "--%s takes no value", row->name) : 0;
    if (rest) {
        a->values[index] = rest;
        return 0;
    }
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    if (row->kind == OPTION_MAYBE && !is_number(next))
        return 0;
    if (!next)
        return err_set(ERR_CONFIG, why, "--%s needs a value: %s", row->name, row->value);
    a->values[index] = next;
    ++*at;
    return 0;
}

static int parse_long(struct arguments *a, int argc, char **argv, int *at, struct err_text *why)
{
    const struct command *c = a->command;
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    int index = find_option(c, name, size);
    if (index >= 0)
        return take_value(a, index, equals ? equals + 1 : NULL, argc, argv, at, why);
    const char *known[OPTIONS_MAX];
    size_t count = 0;
    for (; count < OPTIONS_MAX && c->options[count].name; count++)
        known[count] = c->options[count].name;
    const char *near = conf_nearest(name, known, count);
    return err_set(ERR_CONFIG, why, "unknown option %.60s%s%s", argv[*at],
                   near ? "; did you mean --" : "", near ? near : "");
}

static int parse_letters(struct arguments *a, int argc, char **argv, int *at, struct err_text *why)
{
    int status = 0;
    for (const char *letter = argv[*at] + 1; status == 0 && *letter; letter++) {
        int index = find_letter(a->command, *letter);
        if (index < 0)
            return err_set(ERR_CONFIG, why, "unknown option -%c", *letter);
        if (a->command->options[index].kind == OPTION_SWITCH) {
            a->values[index] = "";
            continue;
        }
        return take_value(a, index, letter[1] ? letter + 1 : NULL, argc, argv, at, why);
    }
    return status;
}

int arguments_parse(const struct command *command, int argc, char **argv, const char **words,
                    struct arguments *ret_arguments, bool *ret_help, struct err_text *why)
{
    struct arguments a = {.command = command, .words = words};
    bool help = false, only_words = false;
    int status = 0;
    for (int i = 1; status == 0 && i < argc; i++) {
        if (only_words || argv[i][0] != '-' || argv[i][1] == '\0')
            words[a.word_count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (strcmp(argv[i], "--help") == 0 ||
                 (strcmp(argv[i], "-h") == 0 && find_letter(command, 'h') < 0))
            help = true;
        else
            status = argv[i][1] == '-' ? parse_long(&a, argc, argv, &i, why)
                                       : parse_letters(&a, argc, argv, &i, why);
    }
    if (status == 0 && !help && a.word_count < command->words_min)
        status = err_set(ERR_CONFIG, why, "%s needs more words: %s", command->name, command->usage);
    if (status == 0 && !help && a.word_count > command->words_max)
        status = err_set(ERR_CONFIG, why, "'%.60s' is too much", words[command->words_max]);
    if (status != 0)
        return status;
    *ret_arguments = a;
    *ret_help = help;
    return 0;
}

const char *option_text(const struct arguments *a, const char *name)
{
    int index = find_option(a->command, name, strlen(name));
    CHECK(index >= 0);
    return a->values[index];
}

bool option_given(const struct arguments *a, const char *name)
{
    return option_text(a, name) != NULL;
}

int option_number(const struct arguments *a, const char *name, unsigned fallback, unsigned min,
                  unsigned max, unsigned *ret_number, struct err_text *why)
{
    const char *text = option_text(a, name);
    uint64_t number = fallback;
    int status = text && *text ? conf_parse_number(text, &number, NULL) : 0;
    if (status != 0 || number < min || number > max)
        return err_set(ERR_CONFIG, why, "--%s: '%.40s' is not a number from %u to %u", name,
                       text ? text : "", min, max);
    *ret_number = (unsigned)number;
    return 0;
}

int option_json(const struct arguments *a, bool *ret_json, struct err_text *why)
{
    const char *text = option_text(a, "output");
    if (text && strcmp(text, "json") != 0 && strcmp(text, "table") != 0)
        return err_set(ERR_CONFIG, why, "-o takes table or json, not '%.40s'", text);
    *ret_json = text && strcmp(text, "json") == 0;
    return 0;
}

/* ---- help ---- */

static void print_commands(const struct command *commands)
{
    for (const struct command *c = commands; c->name; c++)
        printf("  %-13s %s\n", c->name, c->summary);
}

void command_help(const struct command *c, const char *prefix)
{
    printf("usage: %s %s %s\n%s\n", prefix, c->name, c->usage, c->summary);
    if (c->subcommands) {
        printf("\ncommands:\n");
        print_commands(c->subcommands);
    }
    if (c->options[0].name)
        printf("\noptions:\n");
    for (int i = 0; i < OPTIONS_MAX && c->options[i].name; i++) {
        const struct option_row *o = &c->options[i];
        char left[64];
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                 o->kind == OPTION_SWITCH ? "" : " ", o->kind == OPTION_SWITCH ? "" : o->value);
        printf("  %-34s %s\n", left, o->help);
    }
    if (c->examples)
        printf("\nexamples:\n%s", c->examples);
}

static void overview(const struct command *commands, const char *prefix)
{
    printf("usage: %s COMMAND [OPTIONS]\n\ncommands:\n", prefix);
    print_commands(commands);
    printf("\n%s COMMAND --help tells more and gives examples.\n", prefix);
}

/* ---- dispatch ---- */

const struct command *command_find(const struct command *commands, const char *name,
                                   const char **ret_near)
{
    const char *known[COMMANDS_MAX];
    size_t count = 0;
    *ret_near = NULL;
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
        CHECK(count < COMMANDS_MAX);
        known[count++] = c->name;
    }
    *ret_near = conf_nearest(name, known, count);
    return NULL;
}

static int run_one(const struct command *c, const char *prefix, int argc, char **argv)
{
    struct arguments a;
    struct err_text why = {""};
    bool help = false;
    const char **words = calloc((size_t)argc + 1, sizeof *words);
    CHECK(words != NULL);
    int code, status = arguments_parse(c, argc, argv, words, &a, &help, &why);
    if (status != 0)
        code = complain_text(EXIT_USAGE, "%s\n  try: %s %s --help", why.text, prefix, c->name);
    else if (help) {
        command_help(c, prefix);
        code = EXIT_GOOD;
    } else
        code = c->run(&a);
    free(words);
    return code;
}

int command_run(const struct command *commands, const char *prefix, int argc, char **argv)
{
    const char *near;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        overview(commands, prefix);
        return argc < 2 ? EXIT_USAGE : EXIT_GOOD;
    }
    const struct command *c = command_find(commands, argv[1], &near);
    if (!c)
        return complain_text(EXIT_USAGE, "unknown command '%s'%s%s\n  try: %s --help", argv[1],
                             near ? "; did you mean: " : "", near ? near : "", prefix);
    if (!c->subcommands)
        return run_one(c, prefix, argc - 1, argv + 1);
    char longer[80];
    snprintf(longer, sizeof longer, "%s %s", prefix, c->name);
    return command_run(c->subcommands, longer, argc - 1, argv + 1);
}

/* ---- errors ---- */

int exit_of(int status)
{
    switch (-status) {
    case 0:
        return EXIT_GOOD;
    case ERR_CONFIG:
        return EXIT_USAGE;
    case ERR_NO_ENTRY:
        return EXIT_NOT_FOUND;
    case ERR_PERMISSION:
    case ERR_ACCESS:
    case ERR_WRONG_CLUSTER:
        return EXIT_NOT_ALLOWED;
    case ERR_TIMEOUT:
    case ERR_UNREACHABLE:
    case ERR_NOT_LEADER:
    case ERR_UNAVAILABLE:
    case ERR_CLOSED:
        return EXIT_NO_LEADER;
    case ERR_REFUSED:
        return EXIT_REFUSED;
    default:
        return EXIT_ERROR;
    }
}

/* What a person can do about it, "" when the text says it all. */
static const char *advice(int status)
{
    switch (-status) {
    case ERR_TIMEOUT:
    case ERR_UNREACHABLE:
    case ERR_NOT_LEADER:
    case ERR_CLOSED:
        return "\n  try: cairn status        (are most metaservers up?)";
    case ERR_UNAVAILABLE:
        return "\n  try: cairn server ls     (a server that holds the data is down: start it)";
    case ERR_NO_SPACE:
        return "\n  try: cairn server ls     (delete files or add a chunkserver)";
    case ERR_NO_SESSION:
        return "\n  the connection was lost for too long: run the command again";
    default:
        return "";
    }
}

int complain(int status, const char *format, ...)
{
    char what[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    fprintf(stderr, "%s: %s: %s%s\n", program_invocation_short_name, what, err_text(status),
            advice(status));
    return exit_of(status);
}

int complain_text(enum exit_code code, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    return (int)code;
}
