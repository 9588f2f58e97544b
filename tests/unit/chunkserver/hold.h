/* Holds up whoever wants to change one chunk of a store. */
#ifndef CAIRN_TESTS_UNIT_CHUNKSERVER_HOLD_H
#define CAIRN_TESTS_UNIT_CHUNKSERVER_HOLD_H

#include "chunkserver/store/store.h"

void *chunk_hold(struct store *store, const struct chunk_id *id);
void chunk_release(struct store *store, void *take_held);

#endif
