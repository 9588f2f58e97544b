/* A whole cluster on one machine under one folder: who runs where, starting and stopping.
 *
 *   DIR/cluster.ini        what was asked for at the first `cairn dev up`
 *   DIR/metaservers        host:port per line: what --cluster DIR reads
 *   DIR/m1/ DIR/c1/ ...    one folder per daemon: its configuration, `log`, `pid`, `data/`
 *   DIR/c1/data1/ ...      in place of data/ when a chunkserver has several targets
 *   DIR/mount/             `log` and `pid` of the mount
 *
 * One thread. Every function that can fail returns a negated err and says why. */
#ifndef CAIRN_TOOLS_DEV_CLUSTER_H
#define CAIRN_TOOLS_DEV_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/checksum.h"
#include "common/base/err.h"

enum {
    DEV_META_MAX = 7,
    DEV_CHUNK_MAX = 64,
    DEV_TARGETS_MAX = 16,
    DEV_PATH_MAX = 4096,
    DEV_NAME_MAX = 16
};

enum dev_kind { DEV_META, DEV_CHUNK, DEV_MOUNT };

struct dev_seat {
    unsigned number, port; /* numbers are never used again */
};

struct dev_cluster {
    char folder[DEV_PATH_MAX]; /* absolute */
    char mount[DEV_PATH_MAX];  /* "" when it is not mounted by us */
    struct uuid uuid;
    unsigned meta_count, chunk_count, copies;
    unsigned target_count;          /* of each chunkserver; 0 is taken for 1 */
    unsigned meta_port, chunk_port; /* of the first one; the others follow */
    struct dev_seat metas[DEV_META_MAX], chunks[DEV_CHUNK_MAX];
    unsigned meta_last, chunk_last; /* the highest numbers so far */
};

/* One daemon of it. number counts from 1; the mount is number 1. */
struct dev_daemon {
    enum dev_kind kind;
    unsigned number;
};

/* Reads cluster.ini. -ERR_NO_ENTRY when the folder holds no cluster. */
int dev_cluster_load(const char *folder, struct dev_cluster *ret_cluster, struct err_text *why);
/* Makes the folder and its files with a new cluster id and free ports. */
int dev_cluster_make(const char *folder, const struct dev_cluster *wanted,
                     struct dev_cluster *ret_cluster, struct err_text *why);
/* Makes files for another metaserver, which is to join. -ERR_LIMIT, -ERR_ADDRESS_IN_USE, -ERR_IO.
 */
int dev_cluster_add_meta(struct dev_cluster *c, struct dev_daemon *ret_daemon,
                         struct err_text *why);
/* Forgets one; its folder stays. */
int dev_cluster_remove_meta(struct dev_cluster *c, unsigned number, struct err_text *why);
/* The same for a chunkserver. */
int dev_cluster_add_chunk(struct dev_cluster *c, struct dev_daemon *ret_daemon,
                          struct err_text *why);
int dev_cluster_remove_chunk(struct dev_cluster *c, unsigned number, struct err_text *why);
/* Remembers the mount point. */
int dev_cluster_set_mount(struct dev_cluster *c, const char *mount, struct err_text *why);

/* The index-th of its kind, from 0. */
struct dev_daemon dev_daemon_at(const struct dev_cluster *c, enum dev_kind kind, unsigned index);
/* Not of the mount; of a chunkserver with several targets the first one's, and the others follow.
 */
unsigned dev_daemon_port(const struct dev_cluster *c, struct dev_daemon d);
/* "m2", "c1", "mount" -> the daemon; -ERR_NO_ENTRY with the list of names. */
int dev_daemon_parse(const struct dev_cluster *c, const char *name, struct dev_daemon *ret_daemon,
                     struct err_text *why);
void dev_daemon_name(struct dev_daemon d, char ret_name[DEV_NAME_MAX]);
void dev_daemon_address(const struct dev_cluster *c, struct dev_daemon d, char *ret_text,
                        size_t size);

/* The daemon's program beside our own, so that a build tree works without being installed. */
void dev_program_path(enum dev_kind kind, char ret_path[DEV_PATH_MAX + 64]);

/* Its configuration file; not of the mount. */
void dev_daemon_config(const struct dev_cluster *c, struct dev_daemon d,
                       char ret_path[DEV_PATH_MAX + 64]);
/* For a child that becomes a daemon's program: it obeys its configuration file alone. */
void dev_forget_environment(void);
/* The process id, or 0 when it is not running (a left-over pid file does not count). */
pid_t dev_daemon_pid(const struct dev_cluster *c, struct dev_daemon d);
/* Starts it in the background and waits until it accepts connections (the mount: is mounted).
 * Nothing to do when it runs. On failure `why` carries the last line of its log. */
int dev_daemon_start(const struct dev_cluster *c, struct dev_daemon d, struct err_text *why);
/* Sends the signal and waits until the process is gone, at most limit_ms (-ERR_TIMEOUT). */
int dev_daemon_stop(const struct dev_cluster *c, struct dev_daemon d, int signal_number,
                    unsigned limit_ms, struct err_text *why);

#endif
