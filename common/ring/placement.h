/* Placement in a real cluster: zones, racks and hosts, capacities, and changes that move little.
 * Pure; any thread. Built on the hash ring (ring.h); docs/placement.md has the reasons and figures.
 *
 * A shard's copies stand as far apart as they can: each next one where the fewest of the others are
 * on its host, then in its zone, then in its rack. So no two share a host unless there are fewer
 * hosts than copies, and they are in different zones where there are enough of those. */
#ifndef CAIRN_RING_PLACEMENT_H
#define CAIRN_RING_PLACEMENT_H

#include "common/ring/ring.h"

/* ---- inputs ---- */

enum { PLACEMENT_NAME_MAX = 80 };

struct placement_domain {
    char zone[PLACEMENT_NAME_MAX], rack[PLACEMENT_NAME_MAX], host[PLACEMENT_NAME_MAX];
};

/* Splits "zone/rack/host", "rack/host" or "host"; what is not told becomes "". -ERR_INVALID for an
 * empty part or a fourth, -ERR_NAME_TOO_LONG. */
int placement_domain_parse(const char *text, struct placement_domain *ret_domain);

/* Weights in proportion to capacities in bytes, RING_WEIGHT_MEAN for the mean of those that have
 * any; 0 for 0, and never so little that a target with a capacity would have no point. */
void placement_weights(const uint64_t *capacities, unsigned count, uint32_t *ret_weights);

/* ---- how much a target shall hold ---- */

struct placement_share {
    uint32_t id;
    double slots;   /* its fair share */
    uint32_t limit; /* 1.05 times that, rounded down, and one; what a plan fills it to at most */
};

/* ret_shares[targets of the ring], by uuid. A share is proportional to the weight, as far as the
 * spread allows: of three zones and three copies each holds one copy of all, however large it is;
 * what a domain may not hold goes to the others by weight (progressive filling: max-min fairness,
 * Bertsekas, Gallager, Data Networks 1992, 6.5.2). copies from 1 to 16, else -ERR_INVALID. */
int placement_shares(const struct ring *r, uint32_t shard_count, unsigned copies,
                     struct placement_share *ret_shares);

/* ---- how it stands ---- */

struct placement_spread {
    unsigned hosts, racks, zones; /* in which a target has weight */
    bool too_few_hosts;           /* than copies: some copies must share one */
    uint32_t shards_on_one_host, shards_in_one_rack, shards_in_one_zone; /* two copies or more */
    uint32_t shards_too_near; /* whose copies could stand further apart in this cluster */
};

/* Judges an assignment; slots of targets that are not in the ring are left out. copies from 1 to
 * 16. */
void placement_spread(const struct ring *r, uint32_t shard_count, unsigned copies,
                      const uint32_t *ids, struct placement_spread *ret_spread);

/* ---- changes ---- */

struct placement {
    const struct ring *ring; /* as it shall be: what leaves or is drained has weight 0 or is not in
                                it; borrowed, like the lists */
    uint32_t shard_count;
    unsigned copies;         /* from 1 to 16 */
    const uint32_t *changed; /* ids that joined, came back, or got another weight, more or less */
    unsigned changed_count;
    const uint32_t *closed; /* ids that keep what they hold and receive nothing: down, full */
    unsigned closed_count;
    bool balance; /* bring every target below its limit, whatever moves */
};

struct placement_report {
    uint32_t refilled;    /* slots that got a target because theirs leaves */
    uint32_t moved;       /* slots that moved for another reason */
    uint32_t unfilled;    /* slots that keep a target which leaves, because nobody may take them */
    uint32_t above_limit; /* targets that hold more than their limit: `balance` would help */
    struct placement_spread spread;
};

/* Brings an assignment (ids[shard * copies + slot], 0 = no target yet) to the ring as it shall be
 * and changes only what must change:
 *
 *   1. slots of targets that leave go to changed targets below their share, else to one of the next
 *      8 on the walk: the one that received least for its share (power of d choices, Mitzenmacher
 *      2001), so that the receivers work in parallel;
 *   2. changed targets above their limit give slots away, also first to changed ones that lack
 * some;
 *   3. changed targets take slots up to their share, first where they stand on the walk;
 *   4. copies that could stand further apart are moved;
 *   5. other targets above their limit give slots away, while that adds no more than a fifth to
 * what moves anyway, or with `balance`.
 *
 * `changed` is explicit because guessing it from a low load would move slots after every loss. With
 * nothing changed, well spread, and no `balance`, nothing moves. The same input gives the same
 * answer on every machine. *ret_report may be NULL. -ERR_INVALID for no shards or too many copies,
 * -ERR_NO_SPACE when fewer targets than copies have weight; then `ids` is unchanged. */
int placement_plan(const struct placement *p, uint32_t *ids, struct placement_report *ret_report);

#endif
