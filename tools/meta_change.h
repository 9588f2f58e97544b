/* Members of the metadata service, added and removed by asking the leader. One thread. */
#ifndef CAIRN_TOOLS_META_CHANGE_H
#define CAIRN_TOOLS_META_CHANGE_H

#include <stdint.h>

/* Both print what happens, return an exit code, and may be run again after any failure. */

/* Learner, wait until it caught up, voter. */
int meta_add(const char *cluster, uint32_t node, const char *address, unsigned wait_s);
int meta_remove(const char *cluster, uint32_t node, unsigned wait_s);

#endif
