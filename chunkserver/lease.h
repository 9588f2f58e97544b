/* The lease of a target. An answer to a heartbeat grants it as of a version of the shard table: who
 * has an older table may still believe itself in sync where it is so no more, so the grant counts
 * only when that table has been taken over (D2, D13). Pure; one thread at a time. */
#ifndef CAIRN_CHUNKSERVER_LEASE_H
#define CAIRN_CHUNKSERVER_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct lease_offer {
    int64_t expires_ms; /* 0: none */
    uint64_t version;
};

struct lease {
    int64_t expires_ms; /* by the holder's monotonic clock; what the core is told */
    /* Waiting for the table: the oldest, which an ever newer table cannot starve, and the latest.
     */
    struct lease_offer first, last;
};

/* Both true when expires_ms has grown. `table_version` is of the table held here. */
bool lease_offered(struct lease *l, struct lease_offer offer, uint64_t table_version);
bool lease_table_taken(struct lease *l, uint64_t table_version);

#endif
