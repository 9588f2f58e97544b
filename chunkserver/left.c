/* Shards that this target is no member of any more: what it still holds of them. */
#include "chunkserver/private.h"
#include "common/base/banned.h"

/* Only what the table says is known: a shard that is not formed there may be one of ours. */
static bool has_left(const struct chunkserver *cs, unsigned copies, uint32_t shard)
{
    const struct shard *s = shard_table_shard(&cs->table, copies, shard);
    enum slot_state state;
    return s && s->epoch != 0 && !shard_has_member(s, copies, cs->target, &state);
}

struct held left_held(const struct chunkserver *cs)
{
    struct held held = {0};
    struct store_shard at = {.copies = 0};
    while (store_next_shard(cs->store, &at)) {
        struct store_size *of = has_left(cs, at.copies, at.shard) ? &held.left : &held.ours;
        of->chunks += at.size.chunks;
        of->bytes += at.size.bytes;
    }
    return held;
}
