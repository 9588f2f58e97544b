/* Options of cairn-chunkserver: the table, and their values checked and in the form the server
 * takes them. */
#ifndef CAIRN_CHUNKSERVER_OPTIONS_H
#define CAIRN_CHUNKSERVER_OPTIONS_H

#include "chunkserver/daemon.h"
#include "common/base/conf.h"
#include "common/base/log.h"

#define CHUNKSERVER_OPTIONS(X)                                                                  \
    X(node, name, TEXT, "", 0, 0, "name of this server, e.g. c1")                               \
    X(node, cluster, TEXT, "", 0, 0, "cluster id")                                              \
    X(node, data, TEXT, "", 0, 0, "folder of the chunks; made when missing or empty")           \
    X(node, host, TEXT, "", 0, 0, "failure domain, zone/rack/host; the name when not given")    \
    X(node, init, NUMBER, "0", 0, DAEMON_NUMBER_MAX, "make this target's folder one, and end")  \
    X(targets, target, LIST, "", 0, 0, "NUMBER=FOLDER: one of several disks; may be repeated")  \
    X(net, listen, TEXT, "127.0.0.1:7101", 0, 0, "address to serve at")                         \
    X(net, metaservers, TEXT, "", 0, 0, "addresses of the metaservers, separated by commas")    \
    X(store, reserve_per_mille, NUMBER, "50", 0, 500, "thousandths of the disk that stay free") \
    X(store, workers, NUMBER, "16", 1, 256, "threads for disk work, of each target")            \
    X(store, left_grace, TIME, "60s", 1, 86400000, "what left this target stays so long")       \
    X(store, inventory_every, TIME, "1h", 1000, 86400000, "chunks are compared with the files") \
    X(log, log_file, TEXT, "", 0, 0, "log to this file instead of standard error")              \
    X(log, log_level, TEXT, "info", 0, 0, "error, warn, info or debug")

struct options_values {
    CHUNKSERVER_OPTIONS(CONF_FIELD)
};

struct options {
    struct options_values values;
    struct daemon_config config; /* points into values, addresses and targets */
    const char *log_file;        /* NULL: standard error */
    enum log_level level;
    char *addresses; /* metaservers, cut at the commas */
    char *targets;   /* cut at the lines */
};

/* Fills all of `ret_options`, also on an error; to be released in any case. With command.help or
 * command.version nothing is checked. -ERR_CONFIG with what is wrong and where. */
int options_load(int argc, char **argv, struct options *ret_options,
                 struct conf_command *ret_command, struct err_text *why);
void options_release(struct options *options);
void options_help(void);

#endif
