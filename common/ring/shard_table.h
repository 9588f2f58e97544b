/* The shard table: targets, and for each shard the chain of slots that hold its copies. Held by the
 * state machine, by every chunkserver and by every client. Pure; one thread at a time.
 *
 * The state machine changes it by the functions below, one Raft command each (`version` = the
 * command's index); the others only decode what they are sent. Each change of a shard raises its
 * epoch by one and sets its changed_version.
 *
 * The rules (van Renesse, Schneider 2004 with the membership in the consensus group;
 * docs/placement.md): a formed shard always has an in-sync slot; an in-sync slot has every
 * acknowledged write; a slot leaves INSYNC only while another in-sync slot's target is up, so that
 * the last good copy is never given away; it comes back only through a resync that its source
 * reports. */
#ifndef CAIRN_RING_SHARD_TABLE_H
#define CAIRN_RING_SHARD_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/ring/ring.h"
#include "common/wire/codec.h"

enum {
    SHARD_COUNT_MAX = 65536,
    TARGET_COUNT_MAX = 4096,
    TARGET_TEXT_MAX = 80,
    SLOT_PACKED_SIZE = 5, /* u32 target, u8 state, in rec_shard_slots.slots */
    MOVE_PACKED_SIZE = 9, /* u32 incoming, u32 outgoing, u8 state, behind them when there is one */
    SLOTS_PACKED_MAX = COPIES_MAX * SLOT_PACKED_SIZE + MOVE_PACKED_SIZE,
    SLOT_PAST_SIZE = 12, /* in a row of the database: u32 instead_of, u64 held_epoch */
    MOVE_SIZES_SIZE = 16,
    SHARD_ROW_MAX = SLOTS_PACKED_MAX + MOVE_SIZES_SIZE + COPIES_MAX * SLOT_PAST_SIZE,
    CHAIN_VIEW_MAX = COPIES_MAX + 1,
};

struct target {
    uint32_t id; /* from 1, never reused */
    struct uuid uuid;
    char name[TARGET_TEXT_MAX];    /* c1; for people */
    char address[TARGET_TEXT_MAX]; /* host:port of its chunkserver */
    char host[TARGET_TEXT_MAX];    /* failure domain */
    enum target_state state;
    uint64_t incarnation; /* of the process that registered last */
    uint32_t weight;      /* RING_WEIGHT_MEAN = mean */
    enum target_admin admin;
    bool rebalance; /* joined, lost slots while it was away, or weighs otherwise: its load does not
                     * fit its weight yet */
    /* Of TARGET_MAINTENANCE, else 0; only the state machine knows them. It ends so long after its
     * command, whose version tells one maintenance from the next; 0 ms = no end. */
    uint64_t maintenance_ms, maintenance_version;
};

struct slot {
    uint32_t target;
    enum slot_state state;
    /* Only the state machine knows these; 0 while the slot is in sync. */
    uint32_t instead_of; /* whose slot it was when it was given away: until its data is here */
    uint64_t held_epoch; /* of the shard when this target was last in sync; 0 = never */
};

/* A slot on its way to another target. SYNCING: the incoming one is being filled beside the slot,
 * which is INSYNC. INSYNC: it has everything, and the slot is LEAVING until its target says that it
 * has stopped reading. At most one slot of a shard moves at a time. */
struct shard_move {
    uint32_t incoming; /* 0 = no slot moves */
    uint32_t outgoing; /* the target of the slot; without an incoming one: who left by the last
                        * change, having said that it reads no more */
    enum slot_state state;
    uint64_t chunks, bytes; /* INSYNC: as its source counted; only the state machine knows them */
};

/* A slot has really left a target: the one that took it has everything. */
struct shard_left {
    uint64_t epoch; /* that it brought: it was by the last change if this is the shard's */
    uint32_t target;
    uint64_t chunks, bytes;
};

struct shard {
    uint64_t epoch; /* 0 = not formed */
    uint64_t changed_version;
    struct slot slot[COPIES_MAX];
    struct shard_move move;
    struct shard_left left; /* for who applied the change; kept nowhere */
};

struct shard_table {
    uint64_t version; /* of the last change */
    uint32_t shard_count;
    uint32_t target_next; /* the first id that was never given out; 0 = the last one's successor */
    unsigned target_count, target_capacity;
    struct target *targets;               /* ascending ids */
    struct shard *shards[COPIES_MAX + 1]; /* by copies: shard_count each, or NULL when not formed */
};

void shard_table_init(struct shard_table *t, uint32_t shard_count);
void shard_table_release(struct shard_table *t);

/* ---- look-ups ---- */

/* NULL when there is none. Valid until the next change of the table. */
const struct target *shard_table_target(const struct shard_table *t, uint32_t id);
/* What it weighs on the ring: nothing while it is drained, or when it was removed. */
uint32_t target_ring_weight(const struct target *target);
/* NULL also when it was removed. */
const struct target *shard_table_target_by_uuid(const struct shard_table *t,
                                                const struct uuid *uuid);
/* The hash ring of its targets, with the zones, racks and hosts that their `host` tells (a text
 * that placement_domain_parse refuses is a host); weights[target_count] by their order. The caller
 * destroys it. */
struct ring *shard_table_ring(const struct shard_table *t, const uint32_t *weights);
/* NULL when that table is not formed or the number is out of range. */
const struct shard *shard_table_shard(const struct shard_table *t, unsigned copies, uint32_t shard);

/* One chain in write order. */
struct chain_view {
    uint64_t epoch;
    unsigned insync_count;           /* the first ones of `member`, in slot order; 0 = not formed */
    unsigned member_count;           /* then come the syncing ones */
    uint32_t leaving;                /* one of those in sync, which is not to be read; 0 = none */
    uint32_t member[CHAIN_VIEW_MAX]; /* target ids */
    unsigned reader_count;           /* those in sync without the leaving one */
    uint32_t reader[CHAIN_VIEW_MAX];
};
/* member[0] is the head, member[insync_count - 1] the last in-sync one and the source of resyncs.
 */
struct chain_view shard_table_chain(const struct shard_table *t, unsigned copies, uint32_t shard);
/* Whether the target has a slot of the shard, or is on its way into one, and its state there. */
bool shard_has_member(const struct shard *s, unsigned copies, uint32_t target,
                      enum slot_state *ret_state);
/* Whether a shard of any table has one of these (ascending) as a member, on its way in or out. */
bool shard_table_holds(const struct shard_table *t, const uint32_t *targets, unsigned count);
/* Whether a slot that one of these had still waits for its data at the target that has it now. */
bool shard_table_owes(const struct shard_table *t, const uint32_t *targets, unsigned count);
/* INSYNC or LEAVING: it has every acknowledged write. */
bool shard_has_in_sync(const struct shard *s, unsigned copies, uint32_t target);

/* ---- changes: each true when something changed ----
 *
 * The shards that a command changed are those whose changed_version is the command's. */

struct target_registration {
    struct uuid uuid;
    uint64_t incarnation;
    struct slice name, address, host; /* longer than TARGET_TEXT_MAX - 1: -ERR_NAME_TOO_LONG */
    uint32_t weight;                  /* of a target that is new; a known one keeps its own */
};

/* A chunkserver process came up (or came back after its lease ran out). Gives the target's id. A
 * new incarnation is not in sync, except where no other in-sync target is up: every acknowledged
 * write is on each in-sync copy, so the first one to return is the authority there and the others,
 * which are down, go OFFLINE. */
int shard_table_register(struct shard_table *t, uint64_t version,
                         const struct target_registration *r, uint32_t *ret_target);
/* The leases of these targets (with these incarnations; others are skipped) have run out. Those
 * that went together are given together: where all in-sync targets of a shard are gone they all
 * stay in sync, and the first one to return is the authority. */
bool shard_table_offline(struct shard_table *t, uint64_t version, const uint32_t *targets,
                         const uint64_t *incarnations, unsigned count);
/* The target's disk has failed: as offline, and it gets no new slots until it registers anew. */
bool shard_table_failed(struct shard_table *t, uint64_t version, uint32_t target);
/* What an operator wants of a target; 0 also when it is so already, -ERR_NO_ENTRY. Moves that are
 * not in sync yet are given up when they leave a target that is drained no longer, and when they
 * fill one that shall be empty; one that was drained shall get its share again. */
int shard_table_set_admin(struct shard_table *t, uint64_t version, uint32_t target,
                          enum target_admin admin);
/* Its weight on the ring, and whether slots shall move until its load fits; false for an unknown
 * target. */
bool shard_table_set_weight(struct shard_table *t, uint64_t version, uint32_t target,
                            uint32_t weight, bool rebalance);
/* The same for TARGET_MAINTENANCE; again: it lasts so long from now on. */
int shard_table_set_maintenance(struct shard_table *t, uint64_t version, uint32_t target,
                                uint64_t for_ms);
/* Assigns the slots of a table with `copies` copies among the targets that are up; all in sync,
 * because all are empty. -ERR_EXISTS when formed already, -ERR_NO_SPACE when too few are up. */
int shard_table_form(struct shard_table *t, uint64_t version, unsigned copies);
/* The same by a placement plan, which heeds zones, racks and unequal weights. */
int shard_table_form_by_plan(struct shard_table *t, uint64_t version, unsigned copies);
/* What a chain member reports about `target` for exactly this epoch: REPORT_SYNCED by the source,
 * REPORT_OUT_OF_SYNC by anyone in sync, REPORT_LEFT by a leaving target about itself. */
bool shard_table_report(struct shard_table *t, uint64_t version,
                        const struct msg_shard_report *report);
/* An in-sync slot whose target is up shall go to `incoming`, which is up and has no slot of the
 * shard. It is filled first; the slot is as good as before until then. No fence is ever needed: the
 * outgoing target stays a member that every write reaches until it says itself that it reads no
 * more. */
bool shard_table_move(struct shard_table *t, uint64_t version, unsigned copies, uint32_t shard,
                      uint64_t epoch, uint32_t outgoing, uint32_t incoming);
/* What the planner wants of one slot: a new target at once when it is OFFLINE, a move when it is in
 * sync, the end of its move when new_target is 0. */
bool shard_table_change(struct shard_table *t, uint64_t version, const struct rec_slot_change *c);
/* While the incoming target is not in sync yet the move can be given up. */
bool shard_table_move_cancel(struct shard_table *t, uint64_t version, unsigned copies,
                             uint32_t shard, uint64_t epoch);
/* An OFFLINE slot gets another target, which starts SYNCING. Refused while no in-sync target is up:
 * there is nothing to copy from, and the OFFLINE copy may turn out to be the best that is left. */
bool shard_table_replace(struct shard_table *t, uint64_t version, unsigned copies, uint32_t shard,
                         uint64_t epoch, uint32_t old_target, uint32_t new_target);

/* ---- removal ----
 *
 * A target that was removed while shards have slots of it is TARGET_OUT: it never comes back, and
 * its slots, all OFFLINE, are free for others. When the last one was given away it is dropped. Its
 * uuid is a new target when it registers again: nothing that it has is ever taken for in sync. */

struct shard_removal {
    const uint32_t *targets; /* known ones */
    unsigned count;
    bool data_loss; /* an operator says that they are gone for ever, with what only they held */
};
/* -ERR_REFUSED: one of them holds something, or what it had is not in sync elsewhere yet; with
 * data_loss only while it is up. -ERR_NO_SPACE: a shard would be on nobody. */
int shard_table_check_removal(const struct shard_table *t, const struct shard_removal *r);
/* After that check. Where an in-sync slot stays nothing happens to the data. Else the copy that was
 * in sync last becomes the authority, although it lacks writes; where there is none, the slots
 * begin anew on others, which know nothing. */
void shard_table_remove(struct shard_table *t, uint64_t version, const struct shard_removal *r);
/* Forgets one that no shard holds. */
void shard_table_drop(struct shard_table *t, uint32_t target);

/* ---- bytes ---- */

/* Appends the body of shard_table_r: all targets, and the shards changed after `since`. */
void shard_table_encode(const struct shard_table *t, uint64_t since, struct bytes *out);
/* Takes over a decoded answer: -ERR_PROTOCOL for contents that break the rules; an answer older
 * than what is held is ignored. A table of another shard_count replaces this one. */
int shard_table_update(struct shard_table *t, const struct msg_shard_table_r *m);
/* Single rows, for the database of the state machine. Gives the size. */
size_t shard_pack_slots(const struct shard *s, unsigned copies,
                        uint8_t ret_bytes[SLOTS_PACKED_MAX]);
int shard_unpack_slots(struct slice bytes, unsigned copies, struct shard *ret_shard);
/* The same with what only the state machine knows, where there is something. */
size_t shard_pack_row(const struct shard *s, unsigned copies, uint8_t ret_bytes[SHARD_ROW_MAX]);
int shard_unpack_row(struct slice bytes, unsigned copies, struct shard *ret_shard);
/* For a database that is being read: puts a row in place without any rule. */
int shard_table_put_target(struct shard_table *t, const struct target *target);
int shard_table_put_shard(struct shard_table *t, unsigned copies, uint32_t shard,
                          const struct shard *s);

/* ---- invariants ---- */

/* 0, or -ERR_CORRUPT with what is wrong. Of a formed shard: targets known and distinct, at least
 * one slot in sync, either all in-sync targets up or none, SYNCING targets up, OFFLINE ones not; a
 * move as struct shard_move says. */
int shard_table_check(const struct shard_table *t, struct err_text *why);

#endif
