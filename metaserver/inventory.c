/* Chunkservers offer what they hold; told is what no file has, nor will (docs/placement.md, "Dead
 * chunks"). Answered like a query: by a leader that is sure to lead, from all that is applied. */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/metaserver.h"

enum { CHUNKS_MAX = 4096 }; /* of one request; about 10 ms of the loop */

struct waiting_check {
    struct metaserver *m;
    struct rpc_request *request;
};

/* Only a target that takes part: its process, as it is known here. */
static int asker_check(const struct metaserver *m, const struct msg_inventory_check *ask)
{
    const struct target *t = shard_table_target(fs_shard_table(m->fs), ask->target);
    if (!t || t->incarnation != ask->incarnation || t->state != TARGET_UP)
        return -ERR_REFUSED;
    if (fs_is_loading(m->fs)) /* half a tree */
        return -ERR_BUSY;
    return ask->chunks.count <= CHUNKS_MAX ? 0 : -ERR_INVALID;
}

static int find_dead(struct metaserver *m, const struct msg_inventory_check *ask,
                     struct rec_chunk_ref *dead, uint32_t *ret_count)
{
    struct rec_chunk_ref row;
    struct slice at = ask->chunks.raw;
    uint32_t count = 0;
    int status = 0;
    while (status == 0 && rec_chunk_ref_next(&at, &row)) {
        bool is_dead = false;
        status = fs_chunk_is_dead(meta_view(m), &row.id, &is_dead);
        if (status == 0 && is_dead)
            dead[count++] = row;
    }
    *ret_count = count;
    return status;
}

static void answer(struct metaserver *m, struct rpc_request *take_request, bool is_confirmed)
{
    struct msg_inventory_check ask;
    struct msg_inventory_check_r r = {.term = m->leader_term, .index = meta_applied(m)};
    struct rec_chunk_ref *dead = NULL;
    struct bytes out = {0};
    if (!meta_is_ready(m) || meta_commit(m) != 0) {
        meta_refuse(m, take_request);
        return;
    }
    int status = decode_inventory_check(take_request->body, take_request->version, &ask);
    if (status == 0)
        status = asker_check(m, &ask);
    if (status == 0) {
        dead = calloc(ask.chunks.count + 1, sizeof *dead);
        CHECK(dead != NULL);
        status = find_dead(m, &ask, dead, &r.dead.count);
        r.dead.items = dead;
    }
    if (!is_confirmed && !raft_driver_may_read(m->driver)) {
        meta_refuse(m, take_request); /* the lease ran out while the answer was built (R16) */
    } else if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
    } else {
        encode_inventory_check_r(&out, &r);
        rpc_reply(take_request, MSG_inventory_check_r, bytes_slice(&out), NULL, 0);
    }
    bytes_release(&out);
    free(dead);
}

static void on_read_ready(void *arg, int status)
{
    struct waiting_check *w = arg;
    if (status == 0)
        answer(w->m, w->request, true);
    else
        meta_refuse(w->m, w->request);
    free(w);
}

void inventory_on_check(struct metaserver *m, struct rpc_request *take_request)
{
    if (meta_commit(m) == 0 && raft_driver_may_read(m->driver)) {
        answer(m, take_request, false);
        return;
    }
    struct waiting_check *w = malloc(sizeof *w);
    CHECK(w != NULL);
    *w = (struct waiting_check){m, take_request};
    raft_driver_read(m->driver, on_read_ready, w);
}
