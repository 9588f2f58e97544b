/* What the steps of a placement plan share. */
#ifndef CAIRN_RING_PLAN_PRIVATE_H
#define CAIRN_RING_PLAN_PRIVATE_H

#include "common/ring/placement.h"
#include "common/ring/ring_private.h"

struct standing {
    uint64_t share;    /* slots << SHARE_BITS */
    uint32_t limit;    /* slots */
    uint32_t load;     /* slots it holds */
    uint32_t received; /* of these by this plan */
    bool changed, closed;
};

struct plan_state {
    const struct placement *in;
    const struct ring *ring;
    unsigned copies;
    uint64_t slot_count;
    uint32_t *slots;           /* members; NOBODY = to be filled */
    struct standing *standing; /* by member */
    uint64_t moves;            /* so far */
};

/* ---- plan_choice.c: who takes a slot ---- */

enum demand {
    DEMAND_WANTS, /* a changed target below its share */
    DEMAND_ROOM,  /* below its limit */
    DEMAND_NONE,
};

/* The members of a shard's slots but `except`; returns how many. */
unsigned plan_others(const struct plan_state *s, uint32_t shard, unsigned except,
                     uint32_t ret_members[COPIES_LIMIT]);
bool plan_wants(const struct plan_state *s, uint32_t member);
/* The least nearness to `others` among those that may receive and meet the demand; UINT64_MAX when
 * there is none. */
uint64_t plan_least_nearness(const struct plan_state *s, const uint32_t *others, unsigned count,
                             enum demand demand);
/* Of the next 8 on the shard's walk that may receive, meet the demand and have this nearness, the
 * one that received least for its share, or without demand holds least for it. False when there is
 * none. */
bool plan_choose(const struct plan_state *s, uint32_t shard, const uint32_t *others, unsigned count,
                 enum demand demand, uint64_t nearness, uint32_t *ret_member);
/* Gives the slot to `member`. */
void plan_put(struct plan_state *s, uint32_t shard, unsigned slot, uint32_t member);

/* Of two members: which holds more for its share? */
bool plan_is_busier(const struct plan_state *s, uint32_t a, uint32_t b);

/* ---- plan_claim.c ---- */

/* Changed targets take slots up to their share. */
void plan_claims(struct plan_state *s);

#endif
