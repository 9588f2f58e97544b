/* Changes of numbers of copies: what only the leader knows about them (docs/replicas.md).
 *
 * A mover copies a file's chunks while readers may have it open and writers may not. Who writes is
 * volatile knowledge, so a move has a ticket here: from its begin, which is refused while anybody
 * may write to the file, until something may have been written, or another leads. */
#include <sys/stat.h>

#include "common/base/check.h"
#include "metaserver/metaserver.h"

enum { TICKETS_MAX = 65536 }; /* movers that died leave theirs behind */

struct change {
    uint64_t inode;
    uint8_t copies;
    uint32_t generation; /* of an end; else 0 */
};

static bool read_change(const struct rpc_request *r, struct change *ret)
{
    struct msg_meta_set_copies set;
    struct msg_meta_move_begin begin;
    struct msg_meta_move_end end;
    if (r->code == MSG_meta_set_copies && decode_meta_set_copies(r->body, r->version, &set) == 0)
        *ret = (struct change){set.inode, set.copies, 0};
    else if (r->code == MSG_meta_move_begin &&
             decode_meta_move_begin(r->body, r->version, &begin) == 0)
        *ret = (struct change){begin.inode, begin.copies, 0};
    else if (r->code == MSG_meta_move_end && decode_meta_move_end(r->body, r->version, &end) == 0)
        *ret = (struct change){end.inode, end.copies, end.generation};
    else
        return false;
    return true;
}

static bool is_file(struct metaserver *m, uint64_t inode)
{
    struct wire_attr attr;
    return fs_get_attr(meta_view(m), inode, &attr) == 0 && S_ISREG(attr.mode);
}

/* A table that is there may be used although servers are away; a new one needs them all. */
static int check_targets(struct metaserver *m, unsigned copies, struct err_text *why)
{
    const struct shard_table *t = fs_shard_table(m->fs);
    unsigned count = 0;
    if (copies < 1 || copies > COPIES_MAX || t->shards[copies])
        return 0;
    for (unsigned i = 0; i < t->target_count; i++)
        count += t->targets[i].state == TARGET_UP && target_ring_weight(&t->targets[i]) > 0;
    return count >= copies ? 0
                           : err_set(ERR_REFUSED, why,
                                     "%u copies need as many chunkservers that are up and stay; "
                                     "there are %u",
                                     copies, count);
}

int moves_refusal(struct metaserver *m, const struct rpc_request *request, struct err_text *why)
{
    struct change c;
    if (!read_change(request, &c))
        return 0;
    if (request->code != MSG_meta_move_end) {
        int status = check_targets(m, c.copies, why);
        if (status != 0)
            return status;
    } else if ((uintptr_t)map_get(&m->tickets, c.inode) != c.generation) {
        return -ERR_FILE_OPEN;
    }
    return is_file(m, c.inode) ? sessions_check_writers(m, c.inode) : 0;
}

uint64_t moves_settles(struct metaserver *m, const struct rpc_request *request)
{
    struct change c;
    return read_change(request, &c) && is_file(m, c.inode) ? c.inode : 0;
}

void moves_answered(struct metaserver *m, const struct rpc_request *request, uint16_t code,
                    struct slice body)
{
    struct change c;
    struct msg_meta_move_begin_r begun;
    if (!read_change(request, &c))
        return;
    m->plan_at_ms = 0; /* its table may have to be formed */
    moves_void(m, c.inode);
    if (code != MSG_meta_move_begin_r || decode_meta_move_begin_r(body, WIRE_VERSION, &begun) != 0)
        return;
    /* A create may have opened it under a name that it did not have when this was proposed. */
    if (sessions_check_writers(m, c.inode) != 0)
        return;
    if (m->tickets.count >= TICKETS_MAX)
        map_release(&m->tickets); /* those movers begin again */
    (void)map_put(&m->tickets, c.inode, (void *)(uintptr_t)begun.generation);
}

void moves_void(struct metaserver *m, uint64_t inode)
{
    (void)map_remove(&m->tickets, inode);
}
