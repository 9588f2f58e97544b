/* Which configuration is in force, how it changes by one server, and how a node joins and leaves
 * (thesis 4; R12, R13). */
#include "metaserver/raft/raft_state.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/banned.h"

/* --- in force --- */

/* The newest configuration entry in (snapshot_index, to], or NULL: then it is the snapshot's. */
static const struct raft_entry *newest_entry(const struct raft *r, uint64_t to)
{
    uint64_t last = raft_log_last_index(&r->log);
    for (uint64_t i = to < last ? to : last; i > r->snapshot_index; i--) {
        const struct raft_entry *entry = raft_log_at(&r->log, i);
        if (entry && entry->kind == RAFT_ENTRY_CONFIG)
            return entry;
    }
    return NULL;
}

uint64_t raft_config_as_of(const struct raft *r, uint64_t index, struct raft_config *ret_config)
{
    const struct raft_entry *entry = newest_entry(r, index);
    if (entry)
        CHECK(raft_config_decode(entry->payload, ret_config) == 0); /* validated when it came */
    else
        *ret_config = r->snapshot_config;
    return entry ? entry->index : r->snapshot_config_index;
}

static void drop_members(struct raft *r)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < r->member_count; i++) {
        if (!raft_config_find(&r->config, r->members[i].id))
            continue;
        if (kept != i)
            r->members[kept] = r->members[i];
        kept++;
    }
    r->member_count = kept;
}

/* Members that stay keep what the leader knows of them. */
static void take_into_force(struct raft *r, const struct raft_config *config, uint64_t index)
{
    r->config_index = index;
    if (raft_config_equal(config, &r->config))
        return;
    r->config = *config;
    r->todo |= RAFT_CONFIG_CHANGED;
    drop_members(r);
    r->voter_count = raft_config_voters(config);
    for (unsigned i = 0; i < config->count; i++) {
        const struct raft_server *server = &config->servers[i];
        struct raft_progress *p = raft_member(r, server->id);
        if (!p) {
            p = &r->members[r->member_count++];
            memset(p, 0, sizeof *p);
            p->id = server->id;
            raft_progress_reset(p, raft_log_last_index(&r->log) + 1, r->now_ms);
        }
        p->voter = server->voter;
    }
}

void raft_config_recompute(struct raft *r)
{
    struct raft_config config;
    uint64_t index = raft_config_as_of(r, raft_log_last_index(&r->log), &config);
    take_into_force(r, &config, index);
}

void raft_config_appended(struct raft *r, const struct raft_entry *entry)
{
    struct raft_config config;
    CHECK(raft_config_decode(entry->payload, &config) == 0);
    take_into_force(r, &config, entry->index);
}

/* The log lost what lies from `from` on. */
void raft_config_truncated(struct raft *r, uint64_t from)
{
#ifndef PLANT_R13
    if (r->config_index >= from)
        raft_config_recompute(r);
#endif
}

void raft_config_set_snapshot(struct raft *r, const struct raft_config *config, uint64_t index)
{
    r->snapshot_config = *config;
    r->snapshot_config_index = index;
}

const struct raft_config *raft_config_get(const struct raft *raft, uint64_t *ret_index)
{
    CHECK_OBJ(raft, RAFT_MAGIC);
    *ret_index = raft->config_index;
    return &raft->config;
}

int raft_config_at(const struct raft *raft, uint64_t index, struct raft_config *ret_config)
{
    CHECK_OBJ(raft, RAFT_MAGIC);
    if (index < raft->snapshot_index || index > raft->apply_index)
        return -ERR_RANGE;
#ifdef PLANT_R13B
    index = UINT64_MAX;
#endif
    struct raft_config config;
    (void)raft_config_as_of(raft, index, &config);
    if (config.count == 0)
        return -ERR_NO_DATA;
    *ret_config = config;
    return 0;
}

/* A server whose removal is not known to be committed may still be needed to elect the leader that
 * commits it (thesis 4.2.2), although it does not count in its own election. */
bool raft_may_be_needed(const struct raft *r)
{
    struct raft_config config;
    if (raft_is_voter(r, r->self))
        return true;
    if (r->config_index <= r->commit_index)
        return false;
    (void)raft_config_as_of(r, r->commit_index, &config);
    const struct raft_server *self = raft_config_find(&config, r->self);
    return self && self->voter;
}

/* --- changes --- */

/* Alive, and with its whole past. */
static bool counts_now(const struct raft *r, const struct raft_progress *p)
{
    return p->id == r->self ||
           (p->heard && p->join == 0 && r->now_ms - p->heard_ms <= r->options.election_ms_max);
}

static int promote(const struct raft *r, uint32_t id, struct raft_config *config)
{
    const struct raft_progress *p = raft_member_const(r, id);
    if (!p || p->voter)
        return -ERR_INVALID;
    if (r->voter_count >= RAFT_VOTERS_MAX)
        return -ERR_LIMIT;
    /* With the configuration it has its own place in it, durably. */
    if (!counts_now(r, p) || p->match_index < r->config_index ||
        p->match_index + r->options.promote_lag_max < raft_log_last_index(&r->log))
        return -ERR_BUSY;
    for (unsigned i = 0; i < config->count; i++)
        if (config->servers[i].id == id)
            config->servers[i].voter = true;
    return 0;
}

/* Those that stay must be able to commit the change, and to go on. */
static int remove_server(const struct raft *r, uint32_t id, struct raft_config *config)
{
    unsigned kept = 0, alive = 0;
    const struct raft_progress *leaving = raft_member_const(r, id);
    if (!leaving)
        return -ERR_INVALID;
    for (unsigned i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        alive += p->voter && p->id != id && counts_now(r, p);
    }
    unsigned voters = r->voter_count - leaving->voter;
    if (leaving->voter && (voters == 0 || alive < voters / 2 + 1))
        return -ERR_REFUSED;
    for (unsigned i = 0; i < config->count; i++)
        if (config->servers[i].id != id)
            config->servers[kept++] = config->servers[i];
    config->count = kept;
    return 0;
}

static int apply_change(const struct raft *r, const struct raft_event *event,
                        struct raft_config *config)
{
    uint32_t id = event->change.id;
    switch (event->change.kind) {
    case RAFT_CHANGE_ADD:
        return raft_config_find(config, id)
                   ? -ERR_EXISTS
                   : raft_config_add(config, id, false, event->change.address);
    case RAFT_CHANGE_PROMOTE:
        return promote(r, id, config);
    case RAFT_CHANGE_REMOVE:
        return remove_server(r, id, config);
    case RAFT_CHANGE_MAX:
        break;
    }
    return -ERR_INVALID;
}

/* R12: a leader of an earlier term may have left a change that is not committed and that this one
 * does not have; only a commit in the own term ends that. */
static bool change_may_come(const struct raft *r)
{
#ifndef PLANT_R12
    if (r->commit_index < r->noop_index)
        return false;
#endif
#ifndef PLANT_R12B
    if (r->config_index > r->commit_index)
        return false;
#endif
    return r->transfer_to == 0;
}

int raft_on_change(struct raft *r, const struct raft_event *event)
{
    struct raft_config config = r->config;
    if (r->role != RAFT_LEADER)
        return -ERR_NOT_LEADER;
    if (!change_may_come(r))
        return -ERR_BUSY;
    int rc = apply_change(r, event, &config);
    if (rc != 0)
        return rc;
    struct buf *buf = buf_create(RAFT_CONFIG_BYTES_MAX);
    struct raft_entry entry = {.term = r->term,
                               .index = raft_log_last_index(&r->log) + 1,
                               .kind = RAFT_ENTRY_CONFIG,
                               .buf = buf};
    entry.payload = slice_of(buf->data, raft_config_encode(&config, buf->data));
    raft_append_entry(r, &entry);
    buf_unref(buf);
    r->proposed_first = entry.index;
    return 0;
}

/* The leader that a committed configuration does not know has done its last duty. The follower that
 * is furthest need not wait for a timeout. */
void raft_leave_if_removed(struct raft *r)
{
    if (r->config_index > r->commit_index || raft_is_voter(r, r->self))
        return;
    const struct raft_progress *best = NULL;
    for (unsigned i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        if (p->voter && (!best || p->match_index > best->match_index))
            best = p;
    }
    CHECK(best != NULL);
    struct raft_message m = {.kind = RAFT_MSG_TIMEOUT_NOW, .to = best->id};
    raft_leader_flush(r); /* before it: the best one may lack the newest entries */
    raft_send(r, &m);
    raft_become_follower(r, r->term, 0);
}

/* --- a node that joins, on the leader's side --- */

/* What an earlier life acknowledged is gone. Whatever was committed with its help is known to be by
 * the time that a quorum without it has confirmed that this leader still leads. */
void raft_note_join(struct raft *r, struct raft_progress *p, uint64_t join)
{
    if (join == p->join)
        return;
    p->join = join;
    if (join == 0)
        return;
    raft_progress_forget(r, p);
    p->lease_ms = p->round = 0;
    p->join_round = r->round + 1; /* before its messages are made */
    raft_start_round(r);
}

uint64_t raft_join_grant(const struct raft *r, const struct raft_progress *p)
{
    return p->join != 0 && raft_term_committed(r) && raft_round_confirmed(r) >= p->join_round
               ? p->join
               : 0;
}

/* --- and on its own --- */

void raft_note_grant(struct raft *r, const struct raft_message *m)
{
    if (r->join != 0 && m->join == r->join && r->join_index == 0)
        r->join_index = m->commit_index;
}

void raft_end_join(struct raft *r)
{
    if (r->join == 0 || r->join_index == 0 || r->apply_index < r->join_index ||
        r->config_index > r->apply_index || !raft_member(r, r->self))
        return;
    r->join = 0;
    r->todo |= RAFT_JOINED;
}
