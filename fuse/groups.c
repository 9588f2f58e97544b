/* Supplementary groups of the processes that call. */
#include "fuse/groups.h"

#include "common/base/banned.h"

const struct group_entry *group_cache_get(struct group_cache *cache, pid_t pid, uint32_t uid,
                                          uint32_t gid, uint64_t now_ms, group_read_fn *read,
                                          void *arg)
{
    struct group_entry *e = &cache->entries[(unsigned)pid % GROUP_CACHE_SIZE];
    if (e->pid == pid && e->uid == uid && e->gid == gid && now_ms < e->expires_ms)
        return e;
    int count = read(arg, e->groups, GROUPS_MAX);
    e->pid = pid;
    e->uid = uid;
    e->gid = gid;
    e->expires_ms = now_ms + GROUP_CACHE_MS;
    e->count = count < 0 ? 0 : count > GROUPS_MAX ? GROUPS_MAX : (unsigned)count;
    return e;
}
