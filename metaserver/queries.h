/* Queries answered on all cores: gathered during one iteration of the loop, worked off by the loop
 * and by helper threads together, sent by the loop.
 *
 * A query alone is answered by the loop at the end of its iteration: a hand-off would cost more
 * than the answer. Of many, helpers take blocks of QUERIES_BLOCK while the loop works on others,
 * so none waits for a helper that is slow to wake. A listing of a directory goes to a helper in any
 * case when it may be long: it would hold up everything else for milliseconds.
 *
 * LINEARIZABILITY. An answer must show all that was acknowledged before the request came.
 *   1. The loop alone applies and acknowledges; an acknowledgement may leave before the store's
 *      commit, but before a request is added the loop commits (meta_commit). So when a request has
 *      been added, all that this leader acknowledged is in the newest snapshot.
 *   2. Who answers takes the newest snapshot after the block was closed, so after all of its
 *      requests came: a helper renews its view for each block; the loop's view is renewed with each
 *      commit.
 *   3. What another leader may have acknowledged is ruled out afterwards: when the block's replies
 *      are built, the loop asks once (options.may_answer) whether this node still leads, in the
 *      term in which the request came, with a valid lease. If so, no other leader had committed
 *      anything until then, and what older terms committed was applied before this leader was
 *      ready (R15, R16). Without the same term the question would not be enough: a leader that was
 *      deposed unawares and elected again holds a lease, but the answer may be from in between.
 *   4. Two queries, one after the other, never go back in time: the later one's snapshot is taken
 *      after the earlier one's answer left, and snapshots do not go back.
 * A snapshot may be newer than what was acknowledged; that is committed on a majority all the same.
 *
 * Threads: all functions belong to the loop. A helper touches its block, its view and the read-only
 * fields of the block's requests. */
#ifndef CAIRN_METASERVER_QUERIES_H
#define CAIRN_METASERVER_QUERIES_H

#include "common/net/loop.h"
#include "common/net/rpc_server.h"
#include "metaserver/fs/fs.h"

enum { QUERIES_BLOCK = 32, QUERIES_HELPERS_MAX = 64 };

struct queries;

struct query_answer {
    struct rpc_request *request; /* the callback's now */
    uint64_t term;               /* as it was given */
    int status;                  /* 0 or a negated err */
    uint16_t code;
    struct slice body; /* valid for the callback */
};

struct queries_options {
    struct loop *loop;
    unsigned helper_count; /* 0 .. QUERIES_HELPERS_MAX; 0 = the loop does everything */
    /* The answers of one block are built; to be checked (see 3. above) and sent. */
    void (*answer)(void *arg, const struct query_answer *answers, unsigned count);
    void *arg;
};

struct queries *queries_create(const struct queries_options *options);
void queries_destroy(struct queries *q); /* answers what is left; NULL is allowed */

/* Begins to serve from this state; `view` is the loop's, renewed by the owner after each commit.
 * Both are borrowed until queries_close. The errors of fs_view_begin. */
int queries_open(struct queries *q, struct fs *fs, struct fs_view *view);
/* Before fs_close: answers what is left, waits for the helpers, gives up their views. Harmless
 * when not open. */
void queries_close(struct queries *q);

/* True for what may be asked here: lookup, getattr, readlink, readdir, chunks. The others need what
 * only the loop knows. */
bool queries_takes(uint16_t code);
/* The answer comes at the end of this iteration or later, never from inside. */
void queries_add(struct queries *q, struct rpc_request *take_request, uint64_t term);

/* Blocks that helpers have answered, since the start. */
uint64_t queries_helped(const struct queries *q);

#endif
