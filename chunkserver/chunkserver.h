/* The chunkserver as an object: one target (store), its part in the chains, its life with the
 * metadata leader. main.c makes one per process, tests make several on one loop.
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
    unsigned worker_count;  /* 0 = 16 */
    uint32_t left_grace_ms; /* what has left is kept so long; 0 = 60 s */
    uint32_t inventory_ms;  /* all chunks are offered to the leader once in this time; 0 = 1 h */
    uint32_t doubt_ms;      /* dead is what is called so twice, so far apart; 0 = 10 min */
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
 * -ERR_CONFIG, -ERR_WRONG_CLUSTER, -ERR_BUSY (folder locked), -ERR_ADDRESS_IN_USE, ... */
int chunkserver_create(struct loop *loop, const struct chunkserver_config *config,
                       chunkserver_end_fn *ended, void *arg, struct chunkserver **ret_server,
                       struct err_text *why);

/* Takes no more requests, finishes what is under way (at most 2 s), says goodbye to the leader (at
 * most 1 s), then calls `ended`. */
void chunkserver_stop(struct chunkserver *cs);

/* Closes the store clean; the error says that it is not. Blocks until the workers are done. */
int chunkserver_destroy(struct chunkserver *cs);

/* For tests: as kill -9; only the memory is given back. */
void chunkserver_abandon(struct chunkserver *cs);

const char *chunkserver_address(const struct chunkserver *cs);
uint32_t chunkserver_target(const struct chunkserver *cs); /* 0 until registered */
bool chunkserver_has_lease(const struct chunkserver *cs);
struct store *chunkserver_store(struct chunkserver *cs);

#endif
