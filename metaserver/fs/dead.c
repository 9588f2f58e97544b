/* Which chunks can never be part of a file again. */
#include "metaserver/fs/state.h"

#include "common/base/banned.h"

/* The rule, in docs/placement.md ("Dead chunks"). A commit adds only slots of the file's present
 * generation, which never falls, so what is older and in no slot stays outside for ever. The one
 * before the present is spared: a file that gets another number of copies is filled under it. */
int fs_chunk_is_dead(struct fs_view *v, const struct chunk_id *id, bool *ret_dead)
{
    struct fs_state s;
    struct inode i;
    uint32_t generation;
    int status = inode_get(v, id->inode, &i);
    if (status == -ERR_NO_ENTRY) {
        /* A number that was not given out yet is of another state than this one (D4, D14). */
        status = state_read(v, &s);
        if (status == 0)
            *ret_dead = id->inode < s.inode_next;
        return status == -ERR_NO_ENTRY ? -ERR_UNAVAILABLE : status;
    }
    if (status != 0)
        return status;
#ifndef PLANT_D14_COMMIT
    if (!S_ISREG(i.mode) || id->generation + 1ull >= i.chunk_generation) {
        *ret_dead = false;
        return 0;
    }
#endif
    status = chunk_get(v, &i, id->index, &generation);
    if (status != 0 && status != -ERR_NO_ENTRY)
        return status;
    *ret_dead = status != 0 || generation != id->generation;
    return 0;
}
