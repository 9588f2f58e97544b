/* Holds up whoever wants to change one chunk of a store. Apart from the fixture, whose wire types
 * have names that the inside of the store uses for others. */
#include "tests/unit/chunkserver/hold.h"

#include "chunkserver/store/store_private.h"
#include "common/base/banned.h"

void *chunk_hold(struct store *store, const struct chunk_id *id)
{
    struct chunk *held = NULL;
    CHECK(chunk_acquire(store, id, CHUNK_READ, &held) == 0);
    return held;
}

void chunk_release(struct store *store, void *take_held)
{
    chunk_let_go(store, take_held, false);
}
