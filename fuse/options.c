/* What stands on the command line of cairn-mount, and what the mount point must be. */
#include "fuse/options.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "common/base/banned.h"

const char options_usage[] =
    "usage: cairn-mount CLUSTER MOUNTPOINT [-f] [-o option,...]\n"
    "CLUSTER is host:port,host:port,... of the metaservers, or the folder of `cairn dev up`.\n"
    "  -f                 stay in the foreground\n"
    "  -o ro              read-only\n"
    "  -o timeout=60s     end of an operation that finds no server\n"
    "  -o attr_timeout=1s how long attributes and names may be reused\n"
    "  -o write_buffer=256MiB, read_ahead=64MiB\n"
    "  -o log=FILE, log_level=info\n"
    "  -o name=TEXT       shown by `cairn status`; default: host and process id\n"
    "  -o nonempty        mount over a folder with files in it\n"
    "  -o allow_other     other users may use it (default for root; no_allow_other ends it)\n"
    "  -o suid, dev, noexec\n";

/* ---- values ---- */

static int parse_number(const char *text, uint64_t *ret_number, const char **ret_rest)
{
    char *end = NULL;
    if (!isdigit((unsigned char)text[0]))
        return -ERR_INVALID;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0)
        return -ERR_RANGE;
    *ret_number = number;
    *ret_rest = end;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, uint64_t max,
                           uint64_t *ret_value)
{
    uint64_t number;
    const char *rest;
    int status = parse_number(text, &number, &rest);
    if (status != 0)
        return status;
    for (; units->name; units++)
        if (strcmp(rest, units->name) == 0) {
            if (number > max / units->factor)
                return -ERR_RANGE;
            *ret_value = number * units->factor;
            return 0;
        }
    return -ERR_INVALID;
}

int options_parse_ms(const char *text, unsigned *ret_ms)
{
    static const struct unit units[] = {
        {"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {NULL, 0}};
    uint64_t value;
    int status = parse_with_unit(text, units, INT_MAX, &value);
    if (status == 0)
        *ret_ms = (unsigned)value;
    return status;
}

int options_parse_bytes(const char *text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {{"", 1},          {"KiB", 1 << 10}, {"MiB", 1 << 20},
                                        {"GiB", 1 << 30}, {"K", 1 << 10},   {"M", 1 << 20},
                                        {"G", 1 << 30},   {NULL, 0}};
    return parse_with_unit(text, units, INT64_MAX, ret_bytes);
}

/* ---- -o ---- */

static int set_value(struct options *o, const char *key, const char *value, struct err_text *why)
{
    int status = 0;
    if (strcmp(key, "timeout") == 0)
        status = options_parse_ms(value, &o->timeout_ms);
    else if (strcmp(key, "attr_timeout") == 0)
        status = options_parse_ms(value, &o->attr_ms);
    else if (strcmp(key, "write_buffer") == 0)
        status = options_parse_bytes(value, &o->write_buffer_bytes);
    else if (strcmp(key, "read_ahead") == 0)
        status = options_parse_bytes(value, &o->read_ahead_bytes);
    else if (strcmp(key, "log_level") == 0)
        status = log_level_parse(value, &o->log_level);
    else if (strcmp(key, "log") == 0)
        o->log_file = value;
    else if (strcmp(key, "name") == 0)
        o->name = value;
    else if (strncmp(key, "x-", 2) == 0 || strcmp(key, "user") == 0)
        return 0; /* for other readers of fstab */
    else
        return err_set(ERR_CONFIG, why, "unknown mount option: %s=", key);
    return status == 0 ? 0 : err_set(ERR_CONFIG, why, "bad value: %s=%s", key, value);
}

static int set_word(struct options *o, const char *word, struct err_text *why)
{
    static const char *const ignored[] = {"rw",      "auto",     "noauto", "user",
                                          "users",   "exec",     "nosuid", "nodev",
                                          "_netdev", "defaults", "nofail", "default_permissions"};
    const struct {
        const char *word;
        bool *flag;
        bool value;
    } flags[] = {
        {"ro", &o->read_only, true},
        {"nonempty", &o->nonempty, true},
        {"suid", &o->suid, true},
        {"dev", &o->dev, true},
        {"noexec", &o->noexec, true},
        {"allow_other", &o->allow_other, true},
        {"no_allow_other", &o->allow_other, false},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(word, flags[i].word) == 0) {
            *flags[i].flag = flags[i].value;
            return 0;
        }
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (strcmp(word, ignored[i]) == 0)
            return 0;
    if (strncmp(word, "x-", 2) == 0)
        return 0;
    return err_set(ERR_CONFIG, why, "unknown mount option: %s", word);
}

static int parse_list(struct options *o, const char *list, struct err_text *why)
{
    int status = 0;
    while (*list != 0 && status == 0) {
        size_t size = strcspn(list, ",");
        if (size >= sizeof o->texts - o->texts_used)
            return err_set(ERR_CONFIG, why, "mount options too long");
        char *item = o->texts + o->texts_used;
        memcpy(item, list, size);
        item[size] = 0;
        o->texts_used += size + 1;
        char *equals = strchr(item, '=');
        if (equals) {
            *equals = 0;
            status = set_value(o, item, equals + 1, why);
        } else if (size != 0) {
            status = set_word(o, item, why);
        }
        list += size + (list[size] != 0);
    }
    return status;
}

int options_parse(int argc, char **argv, bool is_root, struct options *ret_options,
                  struct err_text *why)
{
    struct options *o = ret_options;
    *o = (struct options){.allow_other = is_root, .log_level = LOG_INFO};
    int status = 0;
    for (int i = 1; i < argc && status == 0; i++) {
        const char *word = argv[i];
        if (strcmp(word, "-f") == 0)
            o->foreground = true;
        else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)
            o->help = true;
        else if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0)
            o->version = true;
        else if (strcmp(word, "-o") == 0 && i + 1 < argc)
            status = parse_list(o, argv[++i], why);
        else if (strncmp(word, "-o", 2) == 0 && word[2] != 0)
            status = parse_list(o, word + 2, why);
        else if (word[0] == '-')
            status = err_set(ERR_CONFIG, why, "unknown option: %s", word);
        else if (!o->cluster)
            o->cluster = word;
        else if (!o->mount_point)
            o->mount_point = word;
        else
            status = err_set(ERR_CONFIG, why, "too many arguments: %s", word);
    }
    if (status == 0 && !o->help && !o->version && !o->mount_point)
        status = err_set(ERR_CONFIG, why, "CLUSTER and MOUNTPOINT are needed");
    return status;
}

/* ---- mount ---- */

int options_mount_flags(const struct options *o, char ret_flags[OPTIONS_FLAGS_SIZE],
                        struct err_text *why)
{
    /* libfuse splits at commas: those of the address list are escaped. */
    char name[OPTIONS_FLAGS_SIZE / 2];
    size_t at = 0;
    for (const char *from = o->cluster; *from != 0; from++) {
        if (at + 3 > sizeof name)
            return err_set(ERR_CONFIG, why, "cluster text too long");
        if (*from == ',' || *from == '\\')
            name[at++] = '\\';
        name[at++] = *from;
    }
    name[at] = 0;
    int size = snprintf(
        ret_flags, OPTIONS_FLAGS_SIZE, "fsname=%s,subtype=cairn,default_permissions%s%s%s%s%s",
        name, o->allow_other ? ",allow_other" : "", o->suid ? ",suid" : ",nosuid",
        o->dev ? ",dev" : ",nodev", o->noexec ? ",noexec" : "", o->read_only ? ",ro" : "");
    if (size < 0 || size >= OPTIONS_FLAGS_SIZE)
        return err_set(ERR_CONFIG, why, "mount options too long");
    return 0;
}

static bool is_empty(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return true; /* not ours to read: the mount itself will say */
    unsigned entries = 0;
    while (readdir(directory) && entries < 3)
        entries++;
    closedir(directory);
    return entries < 3; /* "." and ".." */
}

int options_check_mount_point(const struct options *o, char ret_path[OPTIONS_PATH_SIZE],
                              struct err_text *why)
{
    struct stat st;
    const char *path = o->mount_point;
    if (stat(path, &st) != 0) {
        if (errno == ENOTCONN || errno == ECONNABORTED)
            return err_set(ERR_BUSY, why,
                           "%s holds a mount whose client died; clear it with: fusermount3 -u %s",
                           path, path);
        return err_set(ERR_CONFIG, why, "%s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(ERR_NOT_DIR, why, "%s is not a directory", path);
    if (getxattr(path, "user.cairn.cluster", NULL, 0) > 0)
        return err_set(ERR_BUSY, why, "%s is a cairn mount already", path);
    if (!o->nonempty && !is_empty(path))
        return err_set(ERR_NOT_EMPTY, why,
                       "%s is not empty; its files would be hidden (-o nonempty mounts anyway)",
                       path);
    char *real = realpath(path, NULL);
    if (!real || strlen(real) >= OPTIONS_PATH_SIZE) {
        free(real);
        return err_set(ERR_CONFIG, why, "%s: cannot resolve the path", path);
    }
    memcpy(ret_path, real, strlen(real) + 1);
    free(real);
    return 0;
}
