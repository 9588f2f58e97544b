/* The chunkserver as an object: one target (store), its part in the chains, its life with the
 * metadata leader. daemon.c makes one for each disk of a process, tests make several on one loop.
 *
 * Thread: everything on the loop's thread. Slow disk work runs on workers of its own pool. */
#ifndef CAIRN_CHUNKSERVER_CHUNKSERVER_H
#define CAIRN_CHUNKSERVER_CHUNKSERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "chunkserver/store/store.h"
#include "common/base/err.h"
#include "common/net/loop.h"

enum { CHUNKSERVER_METASERVERS_MAX = 16 };

#define CHUNKSERVER_GRACE_ENDLESS UINT32_MAX /* not even removed when space is short */

/* Strings are copied. */
struct chunkserver_config {
    const char *name; /* c1; for people */
    const char *host; /* failure domain: zone/rack/host */
    const char *data; /* folder of the store; made when absent or empty */
    const char *listen;
    struct uuid cluster;
    const char *metaservers[CHUNKSERVER_METASERVERS_MAX];
    unsigned metaserver_count;
    uint32_t reserve_per_mille;
    unsigned worker_count;      /* 0 = 16 */
    bool keep_out;              /* a folder without a label is not made a target */
    uint64_t request_bytes_max; /* of requests in flight; 0 = the default of rpc_server.h */
    uint32_t open_chunks_max;   /* store_options; 0 = its default */
    uint32_t left_grace_ms;     /* what has left is kept so long; 0 = 60 s */
    uint32_t inventory_ms; /* all chunks are offered to the leader once in this time; 0 = 1 h */
    uint32_t doubt_ms;     /* dead is what is called so twice, so far apart; 0 = 10 min */
};

enum chunkserver_end {
    CHUNKSERVER_STOPPED, /* after chunkserver_stop */
    CHUNKSERVER_FAILED,  /* the disk has failed, and the leader was told if it could be reached */
    CHUNKSERVER_REFUSED, /* the leader gives this target another id than it had before */
};

/* Called once, on the loop. Must not destroy the chunkserver from inside. */
typedef void chunkserver_end_fn(void *arg, enum chunkserver_end end);

struct chunkserver;

/* Opens the store, listens, begins to register. Errors with a text that says what to do:
 * -ERR_CONFIG, -ERR_WRONG_CLUSTER, -ERR_BUSY (folder locked), -ERR_ADDRESS_IN_USE, with keep_out
 * -ERR_NO_ENTRY for a folder without a label, ... Blocks on the disk, perhaps for minutes. */
int chunkserver_create(struct loop *loop, const struct chunkserver_config *config,
                       chunkserver_end_fn *ended, void *arg, struct chunkserver **ret_server,
                       struct err_text *why);

/* The same without blocking: the store is opened on a worker, then `opened` is called with what
 * chunkserver_create would have returned. After an error it is to be given to chunkserver_close. */
typedef void chunkserver_opened_fn(void *arg, int status, const struct err_text *why);
struct chunkserver *chunkserver_begin(struct loop *loop, const struct chunkserver_config *config,
                                      chunkserver_opened_fn *opened, chunkserver_end_fn *ended,
                                      void *arg);

/* Takes no more requests, finishes what is under way (at most 2 s), says goodbye to the leader (at
 * most 1 s), then calls `ended`. */
void chunkserver_stop(struct chunkserver *cs);

/* After `opened`, in whatever state, but not from inside `opened` or `ended`: no goodbye; lets go
 * of the network at once, then closes the store on a worker and calls `closed` with its result; the
 * chunkserver is gone then. While the disk hangs that does not come. */
typedef void chunkserver_closed_fn(void *arg, int status);
void chunkserver_close(struct chunkserver *cs, chunkserver_closed_fn *closed);

/* Closes the store clean; the error says that it is not. Blocks until the workers are done. */
int chunkserver_destroy(struct chunkserver *cs);

/* For tests: as kill -9; only the memory is given back. */
void chunkserver_abandon(struct chunkserver *cs);

const char *chunkserver_address(const struct chunkserver *cs);
uint32_t chunkserver_target(const struct chunkserver *cs); /* 0 until registered */
bool chunkserver_has_lease(const struct chunkserver *cs);
struct store *chunkserver_store(struct chunkserver *cs);
const struct uuid *chunkserver_uuid(const struct chunkserver *cs); /* of the target */
/* The device number of the folder's file system. */
uint64_t chunkserver_device(const struct chunkserver *cs);

/* Makes the folder config->data, missing or empty, a new target of the cluster. Blocks.
 * -ERR_NOT_EMPTY_STATE when it is something else, a target for example. */
int chunkserver_make_target(const struct chunkserver_config *config, struct uuid *ret_target,
                            struct err_text *why);

#endif
