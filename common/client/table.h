/* The shard table of this client: fetch, refresh, those who wait for a newer one. */
#ifndef CAIRN_CLIENT_TABLE_H
#define CAIRN_CLIENT_TABLE_H

#include "common/client/client_private.h"
#include "common/wire/codec.h"

void table_init(struct client *c);
/* Waiters end with -ERR_CANCELLED. */
void table_release(struct client *c);

#endif
