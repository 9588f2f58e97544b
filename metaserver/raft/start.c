/* RAFT_EV_START: what the disk holds becomes the state, if the parts fit together. */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

static int entries_check(const struct raft_event *event)
{
    const struct raft_entry *entries = event->start.entries;
    unsigned count = event->start.entry_count;
    if (count == 0)
        return 0;
    if (entries[0].index == 0 || entries[0].index > event->start.snapshot_index + 1)
        return -ERR_FAULTY_LOG;
    for (unsigned i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i];
        if (!raft_entry_valid(e) || e->term > event->start.term)
            return -ERR_FAULTY_LOG;
        if (i > 0 && (e->index != entries[i - 1].index + 1 || e->term < entries[i - 1].term))
            return -ERR_FAULTY_LOG;
    }
    return 0;
}

/* R9: after a crash between the install of a snapshot and the reset of the log, the log is older
 * than the snapshot or follows another leader. It agrees only if it holds the snapshot's entry. */
static bool log_agrees(const struct raft_event *event)
{
    const struct raft_entry *entries = event->start.entries;
    unsigned count = event->start.entry_count;
    uint64_t index = event->start.snapshot_index, term = event->start.snapshot_term;
    if (count == 0)
        return false;
    if (entries[0].index == index + 1)
        return entries[0].term >= term;
    if (entries[count - 1].index < index)
        return false;
    return entries[index - entries[0].index].term == term;
}

static void load_entries(struct raft *r, const struct raft_event *event)
{
    const struct raft_entry *entries = event->start.entries;
    unsigned i = 0;
    if (entries[0].index == event->start.snapshot_index + 1) {
        raft_log_reset(&r->log, event->start.snapshot_index, event->start.snapshot_term);
    } else {
        /* The oldest entry serves as the base, so that its successor's predecessor is known. */
        raft_log_reset(&r->log, entries[0].index, entries[0].term);
        i = 1;
    }
    for (; i < event->start.entry_count; i++)
        raft_log_append(&r->log, &entries[i]);
    r->log.durable_index = raft_log_last_index(&r->log);
}

/* Some voter is known, from the snapshot or from the log behind it. */
static bool knows_a_cluster(const struct raft_event *event, bool log_agrees)
{
    const struct raft_config *config = event->start.config;
    if (config && raft_config_voters(config) > 0)
        return true;
    for (unsigned i = 0; log_agrees && i < event->start.entry_count; i++)
        if (event->start.entries[i].kind == RAFT_ENTRY_CONFIG &&
            event->start.entries[i].index > event->start.snapshot_index)
            return true;
    return false;
}

static void load_config(struct raft *r, const struct raft_event *event)
{
    static const struct raft_config none;
    const struct raft_config *config = event->start.config ? event->start.config : &none;
    raft_config_set_snapshot(r, config, event->start.snapshot_index);
    raft_config_recompute(r);
    if (event->start.joining)
        r->join = prng_next(&r->prng) | 1;
}

static uint64_t uncommitted_cost(const struct raft *r)
{
    uint64_t bytes = 0;
    for (uint64_t i = r->commit_index + 1; i <= raft_log_last_index(&r->log); i++)
        bytes += raft_entry_cost(raft_log_at(&r->log, i));
    return bytes;
}

int raft_on_start(struct raft *r, const struct raft_event *event)
{
    uint64_t snapshot_index = event->start.snapshot_index;
    uint64_t snapshot_term = event->start.snapshot_term;
    uint64_t applied = event->start.applied_index;
    if (event->start.term >= RAFT_NUMBER_MAX || snapshot_index >= RAFT_NUMBER_MAX ||
        snapshot_term > event->start.term || (snapshot_index == 0) != (snapshot_term == 0) ||
        applied < snapshot_index)
        return -ERR_FAULTY_LOG;
    int rc = entries_check(event);
    if (rc != 0)
        return rc;
    bool agrees = log_agrees(event);
    uint64_t last =
        agrees ? event->start.entries[event->start.entry_count - 1].index : snapshot_index;
    if (applied > last || (!event->start.joining && !knows_a_cluster(event, agrees)))
        return -ERR_FAULTY_LOG;

    r->started = true;
    r->term = r->reported_term = event->start.term;
    r->voted_for = event->start.voted_for;
    r->snapshot_index = snapshot_index;
    r->snapshot_term = snapshot_term;
    if (agrees) {
        load_entries(r, event);
    } else {
        raft_log_reset(&r->log, snapshot_index, snapshot_term);
        if (event->start.entry_count > 0 || snapshot_index > 0)
            r->todo |= RAFT_RESET_LOG; /* an empty log too may stand at another index */
    }
#ifdef PLANT_R11
    applied = last;
#endif
    load_config(r, event);
    r->commit_index = r->apply_index = applied;
    r->uncommitted_bytes = uncommitted_cost(r);
    r->heard_ms = r->now_ms;
    raft_election_reset(r);
    if (raft_is_sole_voter(r) && r->join == 0)
        raft_campaign(r, false); /* nobody to wait for */
    return 0;
}
