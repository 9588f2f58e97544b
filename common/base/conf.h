/* Options of a daemon: defaults from a table, then the file, the environment and the command line.
 *
 * A daemon lists its options once in an X-macro table and gets the struct, the descriptors and the
 * help text from it:
 *
 *   #define NAME_OPTIONS(X) X(section, key, KIND, "default", min, max, "help") ...
 *   struct name_options { NAME_OPTIONS(CONF_FIELD) };
 *   #define ROW(...) CONF_ROW(struct name_options, __VA_ARGS__)
 *   static const struct conf_option table[] = { NAME_OPTIONS(ROW) };
 *
 * Sources, later ones win: the default, `key = value` under [section] of the INI file, CAIRN_KEY in
 * the environment, --key=value or --key value on the command line. An unknown or repeated key is an
 * error that names file, line and the nearest known key. Call from one thread at start. */
#ifndef CAIRN_BASE_CONF_H
#define CAIRN_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum conf_kind {
    CONF_TEXT,   /* char *, heap; "" when unset */
    CONF_NUMBER, /* uint64_t */
    CONF_SIZE,   /* uint64_t bytes: 4096, 64KiB, 1GiB */
    CONF_TIME,   /* uint64_t milliseconds: 250ms, 3s, 10m, 24h */
    CONF_SWITCH, /* uint64_t 0 or 1: yes/no, true/false, on/off, 1/0 */
    CONF_LIST,   /* char *, heap; lines "name=value". Its section is its own: `name = value` there,
                  * any   name once; --key name=value, repeated; CAIRN_KEY with one on each line. The
                  * sources add to each other */
};

struct conf_option {
    const char *section, *key;
    enum conf_kind kind;
    const char *default_value;
    uint64_t min, max;
    const char *help;
    size_t offset;
};

#define CONF_TYPE_TEXT                                           char *
#define CONF_TYPE_NUMBER                                         uint64_t
#define CONF_TYPE_SIZE                                           uint64_t
#define CONF_TYPE_TIME                                           uint64_t
#define CONF_TYPE_SWITCH                                         uint64_t
#define CONF_TYPE_LIST                                           char *
#define CONF_FIELD(section, key, kind, fallback, min, max, help) CONF_TYPE_##kind key;
#define CONF_ROW(owner, section, key, kind, fallback, min, max, help) \
    {#section, #key, CONF_##kind, fallback, min, max, help, offsetof(owner, key)},

/* What the command line asked for besides options. */
struct conf_command {
    const char *config_file;
    bool help, version, check_only;
    int first_argument; /* index in argv of the first word that is no option */
};

/* Fills `values` (zeroed by the caller). On an error `why` says file:line or the argument. */
int conf_load(const struct conf_option *options, size_t option_count, void *values, int argc,
              char **argv, struct conf_command *ret_command, struct err_text *why);
void conf_release(const struct conf_option *options, size_t option_count, void *values);

/* Single values, for tools: -ERR_CONFIG with a text. */
int conf_parse_size(const char *text, uint64_t *ret_bytes, struct err_text *why);
int conf_parse_time(const char *text, uint64_t *ret_ms, struct err_text *why);
int conf_parse_number(const char *text, uint64_t *ret_number, struct err_text *why);

/* Writes one line per option: key, default and help. */
void conf_help(const struct conf_option *options, size_t option_count);

/* The candidate nearest to `text` by edit distance, or NULL when none is near. */
const char *conf_nearest(const char *text, const char *const *candidates, size_t count);

#endif
