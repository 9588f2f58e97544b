/* The targets of one process: each is opened, served, given up and closed by itself, so that a disk
 * that is missing, fails or hangs ends none but its own target.
 *
 * Every target is a whole chunkserver of its own (chunkserver.h) with an address and workers of its
 * own; all share the loop and the failure domain. Thread: everything on the loop's thread. */
#ifndef CAIRN_CHUNKSERVER_DAEMON_H
#define CAIRN_CHUNKSERVER_DAEMON_H

#include "chunkserver/chunkserver.h"
#include "common/ring/shard_table.h"

enum { DAEMON_TARGETS_MAX = 64, DAEMON_NUMBER_MAX = 999 };

/* `number` is what the configuration calls it. It decides name and address, so both stay when other
 * targets come and go; 0 is the folder that needs no number. */
struct daemon_target {
    unsigned number;
    const char *data;
    char name[TARGET_TEXT_MAX];
    char listen[TARGET_TEXT_MAX];
};

struct daemon_config {
    struct chunkserver_config common; /* name, data and listen: of each target, below */
    const char *name, *listen;        /* of the server */
    uint32_t close_ms;                /* how long a disk is waited for at the end; 0 = 60 s */
    unsigned target_count;
    struct daemon_target targets[DAEMON_TARGETS_MAX];
};

enum daemon_exit {
    DAEMON_GOOD = 0,
    DAEMON_STARTUP = 1, /* a target could not be opened, or the cluster refused it */
    DAEMON_TARGET_FAILED = 3,
    DAEMON_UNCLEAN = 4, /* a target could not be closed in order */
};

/* Once, on the loop: all were stopped, or none is left to serve. `exit` is the worst that is the
 * matter with any target: FAILED before UNCLEAN before STARTUP. With `hangs` a disk did not let its
 * target be closed: the process must end without daemon_destroy. */
typedef void daemon_ended_fn(void *arg, enum daemon_exit exit, bool hangs);

struct daemon;

/* Begins to open all targets. A target whose folder has no label is made only when none of them
 * has one, i.e. at the first start of a server: otherwise its disk is most likely not mounted (D16,
 * D17), and it stays down; what could not be opened is tried again now and then. `config` and what
 * it points to are borrowed until daemon_destroy or the next daemon_reload. */
struct daemon *daemon_create(struct loop *loop, const struct daemon_config *config,
                             daemon_ended_fn *ended, void *arg);
/* Opens the targets that do not serve, and those that are new in `config`; stops those that are
 * not in it any more. One whose disk failed is left alone: what it did not write may be lost in the
 * page cache, and a flush would not say so again. Nothing else of a target that serves changes.
 * -ERR_CONFIG when the name, the cluster, the host or the address of the server changed: nothing is
 * done then, and the old `config` stays borrowed. */
int daemon_reload(struct daemon *d, const struct daemon_config *config, struct err_text *why);
/* As SIGTERM: chunkserver_stop of all. */
void daemon_stop(struct daemon *d);
/* After `ended`, not from inside of it. */
void daemon_destroy(struct daemon *d);

/* How many serve now. */
unsigned daemon_serving(const struct daemon *d);
/* How many are being opened or closed. */
unsigned daemon_busy(const struct daemon *d);
/* The chunkserver of this target while it serves, otherwise NULL. For tests. */
struct chunkserver *daemon_target(struct daemon *d, unsigned number);
/* What is the matter with the first target that does not serve; "" when there is none. */
const char *daemon_trouble(const struct daemon *d);

/* Makes the folder of this target a new target, as chunkserver_make_target. -ERR_CONFIG when there
 * is no such target. Needs no daemon, and does not mind one that serves the others. Blocks. */
int daemon_make_target(const struct daemon_config *config, unsigned number, struct uuid *ret_target,
                       struct err_text *why);

#endif
