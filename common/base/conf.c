/* Options of a daemon. */
#include "common/base/conf.h"

#include <ctype.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

enum { KEY_LENGTH_MAX = 64, OPTION_COUNT_MAX = 96, LIST_VALUE_MAX = 4096 };

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},          {"B", 1},       {"K", 1024},      {"KiB", 1024},     {"M", 1 << 20},
    {"MiB", 1 << 20}, {"G", 1 << 30}, {"GiB", 1 << 30}, {"T", 1ull << 40}, {"TiB", 1ull << 40},
};
static const struct unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};
static const struct unit plain_units[] = {{"", 1}};

static int parse_with_unit(const char *text, const struct unit *units, size_t unit_count,
                           const char *example, uint64_t *ret, struct err_text *why)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return err_set(ERR_CONFIG, why, "'%s' is not a number (example: %s)", text, example);
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        if (errno != 0 || number > UINT64_MAX / units[i].factor)
            return err_set(ERR_CONFIG, why, "'%s' is too large", text);
        *ret = number * units[i].factor;
        return 0;
    }
    return err_set(ERR_CONFIG, why, "'%s' has an unknown unit (example: %s)", text, example);
}

int conf_parse_size(const char *text, uint64_t *ret_bytes, struct err_text *why)
{
    return parse_with_unit(text, size_units, sizeof size_units / sizeof size_units[0], "64MiB",
                           ret_bytes, why);
}

int conf_parse_time(const char *text, uint64_t *ret_ms, struct err_text *why)
{
    return parse_with_unit(text, time_units, sizeof time_units / sizeof time_units[0], "10s",
                           ret_ms, why);
}

int conf_parse_number(const char *text, uint64_t *ret_number, struct err_text *why)
{
    return parse_with_unit(text, plain_units, 1, "3", ret_number, why);
}

static int parse_switch(const char *text, uint64_t *ret, struct err_text *why)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *ret = strcmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return err_set(ERR_CONFIG, why, "'%s' is neither yes nor no", text);
}

static int parse_value(const struct conf_option *option, const char *text, uint64_t *ret,
                       struct err_text *why)
{
    switch (option->kind) {
    case CONF_NUMBER:
        return conf_parse_number(text, ret, why);
    case CONF_SIZE:
        return conf_parse_size(text, ret, why);
    case CONF_TIME:
        return conf_parse_time(text, ret, why);
    case CONF_SWITCH:
        return parse_switch(text, ret, why);
    case CONF_TEXT:
    case CONF_LIST:
        break;
    }
    UNREACHABLE("option kind %d", option->kind);
}

static bool list_has(const char *list, const char *pair, size_t name_length)
{
    for (const char *line = list; *line; line += strcspn(line, "\n") + 1)
        if (strncmp(line, pair, name_length + 1) == 0)
            return true;
    return false;
}

/* `lines` is one "name=value" or several; `*list` grows by them. */
static int list_add(const struct conf_option *option, char **list, const char *lines,
                    const char *place, struct err_text *why)
{
    for (const char *line = lines; *line;) {
        size_t size = strcspn(line, "\n"), name_length = strcspn(line, "=\n"),
               before = strlen(*list);
        if (name_length == 0 || name_length >= size)
            return err_set(ERR_CONFIG, why, "%s: %s: '%.80s' is not NAME=VALUE", place, option->key,
                           line);
        if (list_has(*list, line, name_length))
            return err_set(ERR_CONFIG, why, "%s: %s %.*s is given twice", place, option->key,
                           (int)name_length, line);
        *list = realloc(*list, before + size + 2);
        CHECK(*list != NULL);
        memcpy(*list + before, line, size);
        memcpy(*list + before + size, "\n", 2);
        line += size + (line[size] == '\n');
    }
    return 0;
}

/* `place` says where the value stood: "file:12", "--port", "CAIRN_PORT". */
static int set_value(const struct conf_option *option, void *values, const char *text,
                     const char *place, struct err_text *why)
{
    struct err_text detail = {""};
    void *field = (char *)values + option->offset;
    if (option->kind == CONF_LIST && *(char **)field)
        return list_add(option, field, text, place, why);
    if (option->kind == CONF_TEXT || option->kind == CONF_LIST) {
        char *copy = strdup(text);
        CHECK(copy != NULL);
        free(*(char **)field);
        *(char **)field = copy;
        return 0;
    }
    uint64_t value = 0;
    if (parse_value(option, text, &value, &detail) != 0)
        return err_set(ERR_CONFIG, why, "%s: %s: %s", place, option->key, detail.text);
    if (value < option->min || value > option->max)
        return err_set(ERR_CONFIG, why, "%s: %s = %s is outside %llu..%llu", place, option->key,
                       text, (unsigned long long)option->min, (unsigned long long)option->max);
    *(uint64_t *)field = value;
    return 0;
}

/* ---- nearest name ---- */

static size_t edit_distance(const char *a, const char *b)
{
    size_t row[KEY_LENGTH_MAX + 1];
    size_t length_a = strlen(a), length_b = strlen(b);
    if (length_a > KEY_LENGTH_MAX || length_b > KEY_LENGTH_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= length_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= length_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[length_b];
}

const char *conf_nearest(const char *text, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t best = strlen(text) / 2 + 2;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(text, candidates[i]);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

struct loading {
    const struct conf_option *options;
    size_t option_count;
    void *values;
    const char *file;
    bool seen[OPTION_COUNT_MAX]; /* in the file */
    struct err_text *why;
    int status;
};

static int unknown_key(const struct loading *l, const char *place, const char *key)
{
    const char *keys[OPTION_COUNT_MAX];
    for (size_t i = 0; i < l->option_count; i++)
        keys[i] = l->options[i].key;
    const char *nearest = conf_nearest(key, keys, l->option_count);
    if (nearest)
        return err_set(ERR_CONFIG, l->why, "%s: unknown key '%s'; did you mean '%s'?", place, key,
                       nearest);
    return err_set(ERR_CONFIG, l->why, "%s: unknown key '%s'; --help lists the known ones", place,
                   key);
}

/* ---- the file ---- */

#if INI_HANDLER_LINENO
#define LINE_PARAMETER , int line
#else
#define LINE_PARAMETER
#endif

/* inih calls this for each pair; the line is counted by a second pass when it does not tell it. */
static int line_of(const char *file, const char *key)
{
    char line[512];
    int number = 0, found = 0;
    FILE *in = fopen(file, "re");
    if (!in)
        return 0;
    while (fgets(line, sizeof line, in)) {
        number++;
        const char *at = line + strspn(line, " \t");
        size_t length = strlen(key);
        if (strncmp(at, key, length) == 0 && strchr(" \t=:", at[length]) && at[length] != '\0')
            found = number; /* the last one: a repeated key is reported at its repetition */
    }
    (void)fclose(in);
    return found;
}

static int list_pair(struct loading *l, const struct conf_option *option, const char *name,
                     const char *value, const char *place)
{
    char pair[KEY_LENGTH_MAX + LIST_VALUE_MAX];
    if (snprintf(pair, sizeof pair, "%s=%s", name, value) >= (int)sizeof pair)
        l->status = err_set(ERR_CONFIG, l->why, "%s: '%s' is too long", place, name);
    else
        l->status = set_value(option, l->values, pair, place, l->why);
    return l->status == 0;
}

static int on_pair(void *user, const char *section, const char *key,
                   const char *value LINE_PARAMETER)
{
    struct loading *l = user;
    char place[300];
    if (l->status != 0)
        return 0; /* the first error counts; ini_parse goes on behind it */
    (void)snprintf(place, sizeof place, "%s:%d", l->file, line_of(l->file, key));
    for (size_t i = 0; i < l->option_count; i++) {
        const struct conf_option *option = &l->options[i];
        if (option->kind == CONF_LIST && strcmp(option->section, section) == 0)
            return list_pair(l, option, key, value, place);
        if (strcmp(option->key, key) != 0 || strcmp(option->section, section) != 0)
            continue;
        if (l->seen[i])
            l->status = err_set(ERR_CONFIG, l->why, "%s: '%s' is given twice", place, key);
        else
            l->status = set_value(option, l->values, value, place, l->why);
        l->seen[i] = true;
        return l->status == 0;
    }
    for (size_t i = 0; i < l->option_count; i++) {
        if (strcmp(l->options[i].key, key) == 0) {
            l->status = err_set(ERR_CONFIG, l->why, "%s: '%s' belongs under [%s], not under [%s]",
                                place, key, l->options[i].section, section);
            return 0;
        }
    }
    l->status = unknown_key(l, place, key);
    return 0;
}

static int load_file(struct loading *l, const char *file)
{
    l->file = file;
    int line = ini_parse(file, on_pair, l);
    if (l->status != 0)
        return l->status;
    if (line == -1)
        return err_set(ERR_CONFIG, l->why, "cannot read %s: %s", file, strerror(errno));
    if (line != 0)
        return err_set(ERR_CONFIG, l->why, "%s:%d: neither '[section]' nor 'key = value'", file,
                       line);
    return 0;
}

/* ---- the environment and the command line ---- */

static int load_environment(struct loading *l)
{
    for (size_t i = 0; i < l->option_count; i++) {
        char name[KEY_LENGTH_MAX + 8] = "CAIRN_";
        size_t at = strlen(name);
        for (const char *c = l->options[i].key; *c && at < sizeof name - 1; c++)
            name[at++] = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        name[at] = '\0';
        const char *value = getenv(name);
        int status = value ? set_value(&l->options[i], l->values, value, name, l->why) : 0;
        if (status != 0)
            return status;
    }
    return 0;
}

static bool same_key(const char *key, const char *word, size_t length)
{
    if (strlen(key) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (key[i] != word[i] && !(key[i] == '_' && word[i] == '-'))
            return false;
    return true;
}

static int set_argument(struct loading *l, int argc, char **argv, int *at)
{
    const char *word = argv[*at] + 2;
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    for (size_t i = 0; i < l->option_count; i++) {
        if (!same_key(l->options[i].key, word, length))
            continue;
        const char *value = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
        if (!value)
            return err_set(ERR_CONFIG, l->why, "--%s needs a value", l->options[i].key);
        return set_value(&l->options[i], l->values, value, "command line", l->why);
    }
    char key[KEY_LENGTH_MAX + 1];
    (void)snprintf(key, sizeof key, "%.*s",
                   (int)(length > KEY_LENGTH_MAX ? KEY_LENGTH_MAX : length), word);
    return unknown_key(l, "command line", key);
}

/* The words that are no options of the table; finds --config before anything is set. */
static int scan_commands(int argc, char **argv, struct conf_command *command, struct err_text *why)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            command->help = true;
        else if (strcmp(argv[i], "--version") == 0)
            command->version = true;
        else if (strcmp(argv[i], "--check-config") == 0)
            command->check_only = true;
        else if (strncmp(argv[i], "--config=", 9) == 0)
            command->config_file = argv[i] + 9;
        else if (strcmp(argv[i], "--config") == 0) {
            if (i + 1 >= argc || !argv[i + 1])
                return err_set(ERR_CONFIG, why, "--config needs a file name");
            command->config_file = argv[++i];
        }
    }
    return 0;
}

static bool is_command(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
           strcmp(word, "--version") == 0 || strcmp(word, "--check-config") == 0 ||
           strncmp(word, "--config=", 9) == 0;
}

static int load_arguments(struct loading *l, int argc, char **argv, struct conf_command *command)
{
    command->first_argument = argc;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0) {
            i++;
            continue;
        }
        if (is_command(argv[i]))
            continue;
        if (strncmp(argv[i], "--", 2) != 0) {
            if (argv[i][0] == '-' && argv[i][1] != '\0')
                return err_set(ERR_CONFIG, l->why, "unknown option '%s'; try --help", argv[i]);
            command->first_argument = i;
            return 0;
        }
        int status = set_argument(l, argc, argv, &i);
        if (status != 0)
            return status;
    }
    return 0;
}

int conf_load(const struct conf_option *options, size_t option_count, void *values, int argc,
              char **argv, struct conf_command *ret_command, struct err_text *why)
{
    struct conf_command command = {0};
    struct loading l = {
        .options = options, .option_count = option_count, .values = values, .why = why};
    CHECK(option_count <= OPTION_COUNT_MAX);
    int status = scan_commands(argc, argv, &command, why);
    for (size_t i = 0; status == 0 && i < option_count; i++)
        status = set_value(&options[i], values, options[i].default_value, "default", why);
    if (status == 0 && command.config_file)
        status = load_file(&l, command.config_file);
    if (status == 0)
        status = load_environment(&l);
    if (status == 0)
        status = load_arguments(&l, argc, argv, &command);
    if (status == 0)
        *ret_command = command;
    return status;
}

void conf_release(const struct conf_option *options, size_t option_count, void *values)
{
    for (size_t i = 0; i < option_count; i++) {
        if (options[i].kind != CONF_TEXT && options[i].kind != CONF_LIST)
            continue;
        char **field = (char **)(void *)((char *)values + options[i].offset);
        free(*field);
        *field = NULL;
    }
}

void conf_help(const struct conf_option *options, size_t option_count)
{
    for (size_t i = 0; i < option_count; i++) {
        char key[KEY_LENGTH_MAX + 1];
        size_t at = 0;
        for (const char *c = options[i].key; *c && at < KEY_LENGTH_MAX; c++)
            key[at++] = *c == '_' ? '-' : *c;
        key[at] = '\0';
        (void)printf("  --%-22s %s%s%s%s\n", key, options[i].help,
                     options[i].default_value[0] ? " (default " : "", options[i].default_value,
                     options[i].default_value[0] ? ")" : "");
    }
}
