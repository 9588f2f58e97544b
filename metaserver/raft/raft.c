/* raft_step: hands the event to its handler, then collects what is owed into the update. */
#include "metaserver/raft/raft_state.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/banned.h"

void raft_options_defaults(struct raft_options *ret_options)
{
    *ret_options = (struct raft_options){
        .heartbeat_ms = 100,
        .election_ms_min = 400,
        .election_ms_max = 800,
        .lease_ms = 300,
        .persist_stall_ms = 2000,
        .append_count_max = 1024,
        .append_bytes_max = 1u << 20,
        .inflight_count_max = 64,
        .inflight_bytes_max = 8u << 20,
        .uncommitted_bytes_max = 64u << 20,
        .reads_max = 4096,
        .compact_tail_count = 4096,
        .promote_lag_max = 1024,
    };
}

static bool options_valid(const struct raft_options *o)
{
    return o->heartbeat_ms > 0 && o->heartbeat_ms < o->election_ms_min &&
           o->election_ms_min <= o->election_ms_max && o->lease_ms < o->election_ms_min &&
           o->persist_stall_ms > 0 && o->append_count_max > 0 && o->append_bytes_max > 0 &&
           o->inflight_count_max > 0 && o->inflight_count_max <= RAFT_INFLIGHT_MAX &&
           o->inflight_bytes_max > 0 && o->uncommitted_bytes_max > 0 && o->reads_max > 0;
}

int raft_create(const struct raft_options *options, uint32_t self, uint64_t seed,
                struct raft **ret_raft)
{
    if (!options_valid(options) || self == 0)
        return -ERR_INVALID;
    struct raft *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    r->magic = RAFT_MAGIC;
    r->options = *options;
    r->self = self;
    prng_init(&r->prng, seed);
    *ret_raft = r;
    return 0;
}

void raft_destroy(struct raft *raft)
{
    if (!raft)
        return;
    CHECK_OBJ(raft, RAFT_MAGIC);
    raft_log_release(&raft->log);
    free(raft->send_now.items);
    free(raft->send_durable.items);
    raft_read_queue_release(&raft->reads);
    raft_read_queue_release(&raft->reads_out);
    raft->magic = 0;
    free(raft);
}

/* Granted votes and acks are promises; so is anything that carries a term not yet durable. */
static bool must_wait(const struct raft *r, const struct raft_message *m)
{
#ifdef PLANT_R2
    if (m->kind == RAFT_MSG_VOTE_REPLY)
        return false;
#endif
    if (r->todo & (RAFT_PERSIST_VOTE | RAFT_RESET_LOG))
        return true;
    return !m->rejected && (m->kind == RAFT_MSG_VOTE_REPLY || m->kind == RAFT_MSG_APPEND_REPLY);
}

void raft_send(struct raft *r, const struct raft_message *message)
{
    struct raft_message_queue *q = must_wait(r, message) ? &r->send_durable : &r->send_now;
    if (q->count == q->capacity) {
        q->capacity = q->capacity ? q->capacity * 2 : 16;
        q->items = realloc(q->items, q->capacity * sizeof *q->items);
        CHECK(q->items != NULL);
    }
    struct raft_message *m = &q->items[q->count++];
    *m = *message;
    m->from = r->self;
    if (m->term == 0)
        m->term = r->term;
    r->todo |= RAFT_SEND;
}

void raft_append_entry(struct raft *r, const struct raft_entry *entry)
{
    if (r->log.durable_index == raft_log_last_index(&r->log))
        r->persist_since_ms = r->now_ms; /* the writer was idle */
    raft_log_append(&r->log, entry);
    r->uncommitted_bytes += raft_entry_cost(entry);
    r->todo |= RAFT_PERSIST_ENTRIES;
    if (r->persist_from == 0 || entry->index < r->persist_from)
        r->persist_from = entry->index;
    if (entry->kind == RAFT_ENTRY_CONFIG)
        raft_config_appended(r, entry);
}

void raft_truncate(struct raft *r, uint64_t from)
{
    CHECK(from > r->commit_index); /* R5 */
    CHECK(from > r->verified_index);
    uint64_t before = r->log.bytes;
    raft_log_truncate(&r->log, from);
    r->uncommitted_bytes -= before - r->log.bytes;
    raft_config_truncated(r, from);
}

void raft_commit_to(struct raft *r, uint64_t index)
{
    CHECK(index <= raft_log_last_index(&r->log));
    for (; r->commit_index < index; r->commit_index++) {
        const struct raft_entry *entry = raft_log_at(&r->log, r->commit_index + 1);
        if (entry)
            r->uncommitted_bytes -= raft_entry_cost(entry);
    }
}

bool raft_persist_stalled(const struct raft *r)
{
#ifdef PLANT_R20
    return false;
#endif
    return r->log.durable_index < raft_log_last_index(&r->log) &&
           r->now_ms - r->persist_since_ms >= r->options.persist_stall_ms;
}

static int on_tick(struct raft *r, const struct raft_event *event)
{
    (void)event;
    if (r->role == RAFT_LEADER)
        raft_leader_tick(r);
    else
        raft_election_tick(r);
    return 0;
}

/* R4: an ack goes out here, when the entries it speaks for are durable. */
static int on_persisted(struct raft *r, const struct raft_event *event)
{
    if (event->persisted.term > r->log.write_term)
        return -ERR_INVALID;
#ifdef PLANT_R27
    if (r->disabled)
        return 0;
#else
    if (r->disabled || event->persisted.term < r->log.write_term)
        return 0; /* a newer write may have cut what this one wrote; its own report will come */
#endif
    uint64_t last = raft_log_last_index(&r->log);
    uint64_t index = event->persisted.index < last ? event->persisted.index : last;
    if (index <= r->log.durable_index)
        return 0;
    r->log.durable_index = index;
    r->persist_since_ms = r->now_ms;
    if (r->role != RAFT_LEADER)
        raft_ack_persisted(r);
    return 0;
}

static int on_step_down(struct raft *r, const struct raft_event *event)
{
    if (event->kind == RAFT_EV_PERSIST_FAILED)
        r->disabled = true;
    if (r->role != RAFT_FOLLOWER)
        raft_become_follower(r, r->term, 0);
    r->election_at_ms += 2 * (uint64_t)r->options.election_ms_max; /* others go first */
    return 0;
}

static int (*const handlers[RAFT_EV_MAX])(struct raft *, const struct raft_event *) = {
    [RAFT_EV_START] = raft_on_start,
    [RAFT_EV_TICK] = on_tick,
    [RAFT_EV_RECV] = raft_on_recv,
    [RAFT_EV_PROPOSE] = raft_on_propose,
    [RAFT_EV_PERSISTED] = on_persisted,
    [RAFT_EV_READ] = raft_on_read,
    [RAFT_EV_SNAPSHOT_SENT] = raft_on_snapshot_sent,
    [RAFT_EV_SNAPSHOT_FAILED] = raft_on_snapshot_failed,
    [RAFT_EV_SNAPSHOT_INSTALLED] = raft_on_snapshot_installed,
    [RAFT_EV_INSTALL_FAILED] = raft_on_install_failed,
    [RAFT_EV_LOG_COMPACT] = raft_on_log_compact,
    [RAFT_EV_TRANSFER] = raft_on_transfer,
    [RAFT_EV_STEP_DOWN] = on_step_down,
    [RAFT_EV_PERSIST_FAILED] = on_step_down,
    [RAFT_EV_CHANGE] = raft_on_change,
};

/* The log may have moved in memory while messages were made, so they point to it only now. */
static struct raft_messages collect_messages(struct raft *r, struct raft_message_queue *q)
{
    for (unsigned i = 0; i < q->count; i++)
        if (q->items[i].entry_count > 0)
            q->items[i].entries = raft_log_at(&r->log, q->items[i].log_index + 1);
    return (struct raft_messages){.messages = q->items, .count = q->count};
}

static void collect(struct raft *r, struct raft_update *ret_update)
{
    struct raft_update u = {0};
    uint64_t last = raft_log_last_index(&r->log);
    uint64_t ready =
        r->commit_index < r->log.durable_index ? r->commit_index : r->log.durable_index;
    if (ready > r->apply_index) {
        r->apply_index = ready;
        r->todo |= RAFT_APPLY;
    }
    raft_end_join(r);
    if (r->role != r->reported_role || r->leader != r->reported_leader ||
        r->term != r->reported_term)
        r->todo |= RAFT_ROLE_CHANGED;
    if (r->todo & RAFT_PERSIST_ENTRIES) {
        r->log.write_term = r->term;
        u.persist.term = r->term;
        u.persist.index_last = last;
        u.persist.entries = raft_log_at(&r->log, r->persist_from);
        u.persist.entry_count = (unsigned)(last - r->persist_from + 1);
        CHECK(u.persist.entries != NULL);
    }
    u.todo = r->todo;
    u.vote.term = r->term;
    u.vote.voted_for = r->voted_for;
    if (r->todo & RAFT_RESET_LOG) {
        u.log_reset.index = r->log.base_index;
        u.log_reset.term = r->log.base_term;
    }
    u.send_now = collect_messages(r, &r->send_now);
    u.send_durable = collect_messages(r, &r->send_durable);
    u.apply_index = r->apply_index;
    u.commit_index = r->commit_index;
    u.proposed.term = r->proposed_first ? r->term : 0;
    u.proposed.index_first = r->proposed_first;
    u.reads.reads = r->reads_out.items;
    u.reads.count = r->reads_out.count;
    u.fetch.from = r->install_from;
    u.fetch.index = r->install_index;
    u.fetch.term = r->install_term;
    u.role = r->reported_role = r->role;
    u.leader = r->reported_leader = r->leader;
    u.term = r->reported_term = r->term;
    u.wake_at_ms = r->role == RAFT_LEADER ? r->heartbeat_at_ms : r->election_at_ms;
    *ret_update = u;
}

int raft_step(struct raft *raft, const struct raft_event *event, struct raft_update *ret_update)
{
    struct raft *r = raft;
    CHECK_OBJ(r, RAFT_MAGIC);
    if (event->kind < RAFT_EV_START || event->kind >= RAFT_EV_MAX)
        return -ERR_INVALID;
    if (r->started == (event->kind == RAFT_EV_START))
        return -ERR_INVALID;
    if (event->now_ms > r->now_ms)
        r->now_ms = event->now_ms;
    r->todo = 0;
    r->persist_from = r->proposed_first = 0;
    r->send_now.count = r->send_durable.count = r->reads_out.count = 0;
    int rc = handlers[event->kind](r, event);
    if (rc != 0)
        return rc;
    if (r->role == RAFT_LEADER) {
        raft_leader_commit(r);
        raft_reads_release(r);
        raft_leader_flush(r);
        raft_leave_if_removed(r);
    }
    collect(r, ret_update);
    return 0;
}
