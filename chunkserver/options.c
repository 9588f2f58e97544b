/* Options of cairn-chunkserver: loading and checking. */
#include "chunkserver/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

#define ROW(...) CONF_ROW(struct options_values, __VA_ARGS__)
static const struct conf_option table[] = {CHUNKSERVER_OPTIONS(ROW)};
enum { TABLE_SIZE = sizeof table / sizeof table[0] };

static int addresses_split(struct options *o, struct err_text *why)
{
    char *next = o->addresses = strdup(o->values.metaservers);
    CHECK(next != NULL);
    for (char *word; (word = strsep(&next, ","));) {
        word += strspn(word, " \t");
        word[strcspn(word, " \t")] = '\0';
        if (*word == '\0')
            continue;
        if (o->config.metaserver_count == CHUNKSERVER_METASERVERS_MAX)
            return err_set(ERR_CONFIG, why, "metaservers: more than %d addresses",
                           CHUNKSERVER_METASERVERS_MAX);
        o->config.metaservers[o->config.metaserver_count++] = word;
    }
    if (o->config.metaserver_count == 0)
        return err_set(ERR_CONFIG, why,
                       "metaservers is not set: give the addresses of the metaservers in [net], "
                       "e.g. metaservers = 127.0.0.1:7001,127.0.0.1:7002");
    return 0;
}

static int check(struct options *o, struct err_text *why)
{
    const struct options_values *v = &o->values;
    o->log_file = v->log_file[0] ? v->log_file : NULL;
    if (log_level_parse(v->log_level, &o->level) != 0)
        return err_set(ERR_CONFIG, why, "log_level '%.60s' is none of error, warn, info, debug",
                       v->log_level);
    if (v->name[0] == '\0')
        return err_set(ERR_CONFIG, why, "name is not set: give this server a name in [node]");
    if (v->data[0] == '\0')
        return err_set(ERR_CONFIG, why, "data is not set: give the folder of the chunks in [node]");
    if (uuid_parse(v->cluster, &o->config.cluster) != 0)
        return err_set(ERR_CONFIG, why,
                       "cluster '%.60s' is not a cluster id: take it from the metaserver's "
                       "configuration, key cluster in [node]",
                       v->cluster);
    o->config.name = v->name;
    o->config.host = v->host[0] ? v->host : v->name;
    o->config.data = v->data;
    o->config.listen = v->listen;
    o->config.reserve_per_mille = (uint32_t)v->reserve_per_mille;
    o->config.worker_count = (unsigned)v->workers;
    o->config.inventory_ms = (uint32_t)v->inventory_every;
    o->config.left_grace_ms = (uint32_t)v->left_grace;
    return addresses_split(o, why);
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
    options->addresses = NULL;
}

void options_help(void)
{
    (void)printf("usage: cairn-chunkserver --config FILE [--key=value ...]\n"
                 "Keeps the chunks of files on one disk.\n\n"
                 "  --config FILE            options as `key = value` under [section]\n"
                 "  --check-config           check the options and end\n"
                 "  --help, --version\n");
    conf_help(table, TABLE_SIZE);
}
