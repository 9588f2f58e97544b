/* Supplementary groups of the processes that call, remembered briefly: the kernel does not send
 * them, and reading /proc for each request would cost more than the request. */
#ifndef CAIRN_FUSE_GROUPS_H
#define CAIRN_FUSE_GROUPS_H

#include <stdint.h>
#include <sys/types.h>

#include "common/wire/types.h"

enum { GROUP_CACHE_SIZE = 64, GROUP_CACHE_MS = 1000 };

struct group_entry {
    pid_t pid;
    uint32_t uid, gid;
    uint64_t expires_ms;
    unsigned count;
    uint32_t groups[GROUPS_MAX];
};

struct group_cache {
    struct group_entry entries[GROUP_CACHE_SIZE]; /* by pid */
};

/* Reads them for a process; the number, or negative. A parameter, so that tests need no kernel. */
typedef int group_read_fn(void *arg, uint32_t *ret_groups, unsigned count_max);

/* Valid until the next call. A process that cannot be asked has none. */
const struct group_entry *group_cache_get(struct group_cache *cache, pid_t pid, uint32_t uid,
                                          uint32_t gid, uint64_t now_ms, group_read_fn *read,
                                          void *arg);

#endif
