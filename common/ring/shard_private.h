/* What the parts of the shard table's changes share. */
#ifndef CAIRN_RING_SHARD_PRIVATE_H
#define CAIRN_RING_SHARD_PRIVATE_H

#include "common/ring/shard_table.h"

/* In sync as far as writes are concerned: INSYNC or LEAVING. */
static inline bool slot_is_good(const struct slot *slot)
{
    return slot->state == SLOT_INSYNC || slot->state == SLOT_LEAVING;
}

/* The only place where a slot's state is written. */
void slot_set(const struct shard *s, struct slot *slot, enum slot_state to);
/* A slot that is not in sync gets another target, SYNCING. */
void slot_give(const struct shard *s, struct slot *slot, uint32_t to);
/* Notes it for the change that is being made: before shard_changed. */
void shard_left(struct shard *s, uint32_t target, uint64_t chunks, uint64_t bytes);
/* Raises the epoch. Whoever left by the change before is forgotten. */
void shard_changed(struct shard_table *t, struct shard *s, uint64_t version);
bool target_is_up(const struct shard_table *t, uint32_t id);
/* Up, and nobody wants it empty: a plan that is older than a drain must not fill it again (D18). */
bool target_may_receive(const struct shard_table *t, uint32_t id);
/* Members in sync other than `target` that are up, the incoming one included. */
unsigned shard_others_in_sync(const struct shard_table *t, const struct shard *s, unsigned copies,
                              uint32_t target);
/* NULL when it has none. */
struct slot *shard_slot_of(struct shard *s, unsigned copies, uint32_t target);
/* NULL unless it is formed and has this epoch. */
struct shard *shard_at_epoch(struct shard_table *t, unsigned copies, uint32_t shard,
                             uint64_t epoch);
/* A slot that became in sync goes behind the other in-sync ones: its predecessors may hold
 * operations that it has not seen, the reverse may not happen. */
void shard_move_behind(struct shard *s, unsigned copies, struct slot *joined);

/* ---- moves (shard_move.c); each true when something changed ---- */

/* The incoming target, in sync, takes the slot. */
void move_finish(struct shard *s, unsigned copies);
/* The outgoing target keeps its slot, in sync. `again`: the incoming one is filled anew. */
void move_revert(struct shard *s, unsigned copies, bool again);
/* Targets' states have changed: the incoming target in sync, or the one it follows, may be gone.
 * Nothing happens while nobody in sync is up. Before the slots are looked at. */
bool move_settle_in_sync(const struct shard_table *t, struct shard *s, unsigned copies);
/* A slot lacks its copy while another one's target is about to leave: the incoming target takes the
 * empty slot, and nobody leaves. Where that slot's own target is being filled it becomes the
 * incoming one. After the slots. */
bool move_settle_short(const struct shard_table *t, struct shard *s, unsigned copies);
/* Slots or targets have changed: an incoming target that is being filled takes the slot at once
 * when that is not in sync any more, and is dropped when it is down itself. After the slots. */
bool move_settle_filling(const struct shard_table *t, struct shard *s, unsigned copies);
/* A report about the incoming target, or about a leaving one. */
bool move_report(const struct shard_table *t, struct shard *s,
                 const struct msg_shard_report *report);

#endif
