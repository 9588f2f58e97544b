/* What the outside may ask: entries, status, the lease, names. */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index)
{
    CHECK_OBJ(raft, RAFT_MAGIC);
    return raft_log_at(&raft->log, index);
}

static uint64_t lease_value(const struct raft *r, const struct raft_progress *p)
{
    return p->id == r->self ? UINT64_MAX : p->lease_ms;
}

bool raft_lease_valid(const struct raft *raft, uint64_t now_ms)
{
    const struct raft *r = raft;
    CHECK_OBJ(r, RAFT_MAGIC);
    if (r->role != RAFT_LEADER || r->lease_void || r->options.lease_ms == 0 ||
        !raft_term_committed(r))
        return false;
    if (raft_is_sole_voter(r))
        return true;
    /* Each of a quorum refuses other candidates for election_ms_min after it heard the message, so
     * at least until sent_ms + election_ms_min. */
    uint64_t sent_ms = raft_quorum_value(r, lease_value);
    uint64_t now = now_ms > r->now_ms ? now_ms : r->now_ms;
    return sent_ms > 0 && now < sent_ms + r->options.lease_ms;
}

void raft_status_get(const struct raft *raft, struct raft_status *ret_status)
{
    const struct raft *r = raft;
    CHECK_OBJ(r, RAFT_MAGIC);
    *ret_status = (struct raft_status){
        .self = r->self,
        .leader = r->leader,
        .voted_for = r->voted_for,
        .role = r->role,
        .term = r->term,
        .commit_index = r->commit_index,
        .apply_index = r->apply_index,
        .durable_index = r->log.durable_index,
        .first_index = r->log.base_index + 1,
        .last_index = raft_log_last_index(&r->log),
        .last_term = raft_log_last_term(&r->log),
        .snapshot_index = r->snapshot_index,
        .snapshot_term = r->snapshot_term,
        .log_bytes = r->log.bytes,
        .uncommitted_bytes = r->uncommitted_bytes,
        .term_committed = r->role == RAFT_LEADER && raft_term_committed(r),
        .installing = r->installing,
        .voter = raft_is_voter(r, r->self),
        .member = raft_member_const(r, r->self) != NULL,
        .joining = r->join != 0,
        .config_index = r->config_index,
        .config_committed = r->role == RAFT_LEADER && r->commit_index >= r->noop_index &&
                            r->commit_index >= r->config_index,
        .transfer_to = r->transfer_to,
        .peer_count = 0,
    };
    if (r->role != RAFT_LEADER)
        return;
    for (unsigned i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        if (p->id == r->self)
            continue;
        ret_status->peers[ret_status->peer_count++] = (struct raft_peer_status){
            .id = p->id,
            .voter = p->voter,
            .joining = p->join != 0,
            .state = p->state,
            .match_index = p->match_index,
            .next_index = p->next_index,
            .heard_ms = p->heard ? p->heard_ms : 0,
        };
    }
}

const char *raft_message_kind_name(enum raft_message_kind kind)
{
    static const char *const names[RAFT_MSG_MAX] = {[RAFT_MSG_NONE] = "NONE",
#define X(name) [RAFT_MSG_##name] = #name,
                                                    RAFT_MESSAGE_KINDS(X)
#undef X
    };
    return (unsigned)kind < RAFT_MSG_MAX ? names[kind] : "?";
}
