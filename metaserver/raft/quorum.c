/* Who counts: how a configuration decides. */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

const struct raft_progress *raft_member_const(const struct raft *r, uint32_t id)
{
    for (unsigned i = 0; i < r->member_count; i++)
        if (r->members[i].id == id)
            return &r->members[i];
    return NULL;
}

struct raft_progress *raft_member(struct raft *r, uint32_t id)
{
    for (unsigned i = 0; i < r->member_count; i++)
        if (r->members[i].id == id)
            return &r->members[i];
    return NULL;
}

bool raft_is_voter(const struct raft *r, uint32_t id)
{
    const struct raft_progress *p = raft_member_const(r, id);
    return p != NULL && p->voter;
}

bool raft_is_sole_voter(const struct raft *r)
{
    return r->voter_count == 1 && raft_is_voter(r, r->self);
}

unsigned raft_quorum(const struct raft *r)
{
    return r->voter_count / 2 + 1;
}

uint64_t raft_quorum_value(const struct raft *r,
                           uint64_t (*value)(const struct raft *, const struct raft_progress *))
{
    uint64_t sorted[RAFT_VOTERS_MAX]; /* highest first */
    unsigned count = 0;
    for (unsigned i = 0; i < r->member_count; i++) {
        if (!r->members[i].voter)
            continue;
        CHECK(count < RAFT_VOTERS_MAX);
        /* A node without its past counts for nothing, but is one of those of whom most must count.
         */
#ifdef PLANT_JOIN
        uint64_t v = value(r, &r->members[i]);
#else
        uint64_t v = r->members[i].join != 0 ? 0 : value(r, &r->members[i]);
#endif
        unsigned at = count++;
        for (; at > 0 && sorted[at - 1] < v; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = v;
    }
    CHECK(count == r->voter_count && count > 0);
    return sorted[raft_quorum(r) - 1];
}

unsigned raft_votes(const struct raft *r, bool granted)
{
    unsigned votes = 0;
    for (unsigned i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        votes += p->voter && p->vote_answered && p->vote_granted == granted;
    }
    return votes;
}
