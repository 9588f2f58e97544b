/* What both ends of an rpc share: identities, payload slices, limits. */
#ifndef CAIRN_NET_RPC_TYPES_H
#define CAIRN_NET_RPC_TYPES_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/checksum.h"
#include "common/base/slice.h"

/* Who one end of a connection says it is: the contents of hello and hello_r. */
struct rpc_identity {
    struct uuid cluster; /* all zero = not known yet */
    uint8_t role;        /* enum wire_role */
    uint32_t node;       /* metaserver id or target id; 0 for others */
    uint64_t instance;   /* incarnation of the process */
};

/* A part of a payload to send. The sender takes references of its own: the caller keeps its one. */
struct net_slice {
    struct buf *buf;
    uint32_t offset, size;
};

enum { NET_SLICES_MAX = 64 }; /* parts of one payload */

/* The version of the shard table for the headers of frames to be sent; 0 = none. On the loop. */
typedef uint64_t rpc_table_version_fn(void *arg);

#endif
