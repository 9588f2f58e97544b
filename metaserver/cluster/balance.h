/* Inside the planner: slots move until the load of each target fits its weight
 * (docs/placement.md, "Balance").
 *
 * The state machine marks a target whose load does not fit (struct target, rebalance): it joins, it
 * lost slots while it was away, its weight has changed. While somebody is marked the planner has a
 * placement plan from the present assignment to a fitting one and starts its moves few at a time,
 * behind everything that is lost or drained. When nothing is left of it the marks go, and nothing
 * moves again: a balanced cluster has no marks. */
#ifndef CAIRN_CLUSTER_BALANCE_H
#define CAIRN_CLUSTER_BALANCE_H

#include "metaserver/cluster/plan_private.h"

/* ---- balance.c ---- */

/* The placement plan that is being followed. */
struct balance;

void balance_destroy(struct balance *b);
/* Before anything moves: makes or keeps the plan, as long as every slot is well. */
void plan_balance(struct planning *p);
/* Where the plan wants the slot of a drained target: into one that joins rather than anywhere.
 * RING_BUSY when that takes no more now, RING_CLOSED when there is no such plan. */
uint32_t balance_wish(const struct planning *p, unsigned copies, uint32_t shard, uint32_t target);
/* After all replacements: starts moves up to the limits, and takes marks away. */
void plan_balance_moves(struct planning *p, unsigned limit);

/* ---- capacity.c ---- */

/* Up for so long, under this leader, that it is worth filling. */
bool capacity_is_settled(const struct planning *p, uint32_t target);
bool capacity_is_full(const struct planning *p, uint32_t target);
bool capacity_is_overfull(const struct planning *p, uint32_t target);
/* Weights that no longer fit their capacities. */
void plan_weights(struct planning *p);

#endif
