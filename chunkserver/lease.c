/* Which grants of a lease count. */
#include "chunkserver/lease.h"

#include "common/base/banned.h"

bool lease_table_taken(struct lease *l, uint64_t table_version)
{
    int64_t before_ms = l->expires_ms;
#ifdef PLANT_D2_LEASE
    table_version = UINT64_MAX;
#endif
    while (l->first.expires_ms != 0 && l->first.version <= table_version) {
        if (l->first.expires_ms > l->expires_ms)
            l->expires_ms = l->first.expires_ms;
        l->first = l->last;
        l->last = (struct lease_offer){0};
    }
    return l->expires_ms > before_ms;
}

bool lease_offered(struct lease *l, struct lease_offer offer, uint64_t table_version)
{
    if (l->first.expires_ms == 0)
        l->first = offer;
    else
        l->last = offer;
    return lease_table_taken(l, table_version);
}
