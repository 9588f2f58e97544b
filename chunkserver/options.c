/* Options of cairn-chunkserver: loading and checking. */
#include "chunkserver/options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/check.h"
#include "common/base/banned.h"

#define ROW(...) CONF_ROW(struct options_values, __VA_ARGS__)
static const struct conf_option table[] = {CHUNKSERVER_OPTIONS(ROW)};
enum { TABLE_SIZE = sizeof table / sizeof table[0] };

static int addresses_split(struct options *o, struct err_text *why)
{
    struct chunkserver_config *c = &o->config.common;
    char *next = o->addresses = strdup(o->values.metaservers);
    CHECK(next != NULL);
    for (char *word; (word = strsep(&next, ","));) {
        word += strspn(word, " \t");
        word[strcspn(word, " \t")] = '\0';
        if (*word == '\0')
            continue;
        if (c->metaserver_count == CHUNKSERVER_METASERVERS_MAX)
            return err_set(ERR_CONFIG, why, "metaservers: more than %d addresses",
                           CHUNKSERVER_METASERVERS_MAX);
        c->metaservers[c->metaserver_count++] = word;
    }
    if (c->metaserver_count == 0)
        return err_set(ERR_CONFIG, why,
                       "metaservers is not set: give the addresses of the metaservers in [net], "
                       "e.g. metaservers = 127.0.0.1:7001,127.0.0.1:7002");
    return 0;
}

/* ---- targets ---- */

/* The number-th address from `listen` on; port 0 stays 0. */
static int address_of(const char *listen, unsigned number, char ret_address[TARGET_TEXT_MAX],
                      struct err_text *why)
{
    const char *colon = strrchr(listen, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    unsigned step = number > 0 && port > 0 ? number - 1 : 0;
    if (!colon || end == colon + 1 || *end != '\0' || port + step > 65535)
        return err_set(ERR_CONFIG, why,
                       "listen '%.80s': target %u has no port there: it serves at the port of "
                       "listen and %u more",
                       listen, number, step);
    if (snprintf(ret_address, TARGET_TEXT_MAX, "%.*s:%lu", (int)(colon - listen), listen,
                 port + step) >= TARGET_TEXT_MAX)
        return err_set(ERR_CONFIG, why, "listen '%.80s' is too long", listen);
    return 0;
}

static int target_add(struct options *o, unsigned number, const char *data, struct err_text *why)
{
    struct daemon_config *c = &o->config;
    struct daemon_target *t = &c->targets[c->target_count];
    char suffix[16] = "";
    if (c->target_count == DAEMON_TARGETS_MAX)
        return err_set(ERR_CONFIG, why, "target %u: more than %d targets", number,
                       DAEMON_TARGETS_MAX);
    if (number > 0)
        (void)snprintf(suffix, sizeof suffix, ".%u", number);
    *t = (struct daemon_target){.number = number, .data = data};
    if (snprintf(t->name, sizeof t->name, "%s%s", c->name, suffix) >= (int)sizeof t->name)
        return err_set(ERR_CONFIG, why, "name '%.60s...' is too long", c->name);
    c->target_count++;
    /* One alone need not be understood here: whoever listens says what is wrong with it. */
    if (number > 0)
        return address_of(c->listen, number, t->listen, why);
    return snprintf(t->listen, sizeof t->listen, "%s", c->listen) < (int)sizeof t->listen
               ? 0
               : err_set(ERR_CONFIG, why, "listen '%.80s' is too long", c->listen);
}

/* Without links, as far as it exists. */
static void resolve(const char *path, char ret_path[PATH_MAX])
{
    char parent[PATH_MAX], above[PATH_MAX];
    if (realpath(path, ret_path))
        return;
    (void)snprintf(parent, sizeof parent, "%s", path);
    for (size_t size = strlen(parent); size > 1 && parent[size - 1] == '/'; size--)
        parent[size - 1] = '\0';
    char *slash = strrchr(parent, '/');
    if (slash && slash > parent) {
        *slash = '\0';
        if (realpath(parent, above) &&
            snprintf(ret_path, PATH_MAX, "%s/%s", above, slash + 1) < PATH_MAX)
            return;
        *slash = '/';
    }
    (void)snprintf(ret_path, PATH_MAX, "%s", parent);
}

static bool is_within(const char *inner, const char *outer)
{
    size_t size = strlen(outer);
    return strncmp(inner, outer, size) == 0 &&
           (inner[size] == '/' || inner[size] == '\0' || (size > 0 && outer[size - 1] == '/'));
}

static int overlap_check(const struct daemon_target *a, const struct daemon_target *b,
                         struct err_text *why)
{
    char x[PATH_MAX], y[PATH_MAX];
    struct stat p, q;
    resolve(a->data, x);
    resolve(b->data, y);
    if (strcmp(x, y) == 0 || (stat(a->data, &p) == 0 && stat(b->data, &q) == 0 &&
                              p.st_dev == q.st_dev && p.st_ino == q.st_ino))
        return err_set(ERR_CONFIG, why, "targets %s and %s have the same folder %.100s", a->name,
                       b->name, b->data);
    if (is_within(x, y) || is_within(y, x))
        return err_set(ERR_CONFIG, why,
                       "the folders of targets %s and %s lie in one another: %.80s", a->name,
                       b->name, b->data);
    return 0;
}

static int targets_take(struct options *o, struct err_text *why)
{
    const struct options_values *v = &o->values;
    struct daemon_config *c = &o->config;
    int status = v->data[0] ? target_add(o, 0, v->data, why) : 0;
    char *next = o->targets = strdup(v->target);
    CHECK(next != NULL);
    for (char *line; status == 0 && (line = strsep(&next, "\n"));) {
        char *end;
        if (*line == '\0')
            continue;
        unsigned long number = strtoul(line, &end, 10);
        const char *data = strchr(line, '=') + 1;
        if (*end != '=' || line[0] < '1' || line[0] > '9' || number > DAEMON_NUMBER_MAX)
            return err_set(ERR_CONFIG, why,
                           "target '%.60s': give it a number from 1 to %d and its folder, e.g. "
                           "2 = /mnt/disk2/cairn",
                           line, DAEMON_NUMBER_MAX);
        if (number == 1 && v->data[0])
            return err_set(ERR_CONFIG, why,
                           "target 1: data in [node] is the first target already; use 2 and more, "
                           "or leave data out");
        if (*data == '\0')
            return err_set(ERR_CONFIG, why, "target %lu has no folder", number);
        status = target_add(o, (unsigned)number, data, why);
    }
    if (status == 0 && c->target_count == 0)
        return err_set(
            ERR_CONFIG, why,
            "data is not set: give the folder of the chunks in [node], or the folders of "
            "several disks in [targets]");
    for (unsigned i = 1; status == 0 && i < c->target_count; i++)
        for (unsigned k = 0; status == 0 && k < i; k++)
            status = overlap_check(&c->targets[k], &c->targets[i], why);
    return status;
}

/* ---- the rest ---- */

static int check(struct options *o, struct err_text *why)
{
    const struct options_values *v = &o->values;
    struct chunkserver_config *c = &o->config.common;
    o->log_file = v->log_file[0] ? v->log_file : NULL;
    if (log_level_parse(v->log_level, &o->level) != 0)
        return err_set(ERR_CONFIG, why, "log_level '%.60s' is none of error, warn, info, debug",
                       v->log_level);
    if (v->name[0] == '\0')
        return err_set(ERR_CONFIG, why, "name is not set: give this server a name in [node]");
    if (uuid_parse(v->cluster, &c->cluster) != 0)
        return err_set(ERR_CONFIG, why,
                       "cluster '%.60s' is not a cluster id: take it from the metaserver's "
                       "configuration, key cluster in [node]",
                       v->cluster);
    o->config.name = v->name;
    o->config.listen = v->listen;
    c->host = v->host[0] ? v->host : v->name;
    c->reserve_per_mille = (uint32_t)v->reserve_per_mille;
    c->worker_count = (unsigned)v->workers;
    c->left_grace_ms = (uint32_t)v->left_grace;
    c->inventory_ms = (uint32_t)v->inventory_every;
    int status = targets_take(o, why);
    return status == 0 ? addresses_split(o, why) : status;
}

int options_load(int argc, char **argv, struct options *ret_options,
                 struct conf_command *ret_command, struct err_text *why)
{
    *ret_options = (struct options){0};
    int status = conf_load(table, TABLE_SIZE, &ret_options->values, argc, argv, ret_command, why);
    if (status == 0 && ret_command->first_argument < argc && !ret_command->help)
        status = err_set(ERR_CONFIG, why, "unexpected argument '%.100s'; try --help",
                         argv[ret_command->first_argument]);
    if (status != 0 || ret_command->help || ret_command->version)
        return status;
    return check(ret_options, why);
}

void options_release(struct options *options)
{
    conf_release(table, TABLE_SIZE, &options->values);
    free(options->addresses);
    free(options->targets);
    options->addresses = options->targets = NULL;
}

void options_help(void)
{
    (void)printf("usage: cairn-chunkserver --config FILE [--key=value ...]\n"
                 "Keeps the chunks of files on one disk, or on several.\n\n"
                 "  --config FILE            options as `key = value` under [section]\n"
                 "  --check-config           check the options and end\n"
                 "  --help, --version\n");
    conf_help(table, TABLE_SIZE);
}
