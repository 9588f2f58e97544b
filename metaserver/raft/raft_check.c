/* All invariants of the state, in one walk. */
#include "metaserver/raft/raft_state.h"

#include "common/base/check.h"
#include "common/base/banned.h"

struct rule {
    bool holds;
    const char *text;
};

#define RULE(condition)         \
    {                           \
        (condition), #condition \
    }
#define WALK(r, rules, why) walk(r, rules, sizeof(rules) / sizeof(rules)[0], why)

static int walk(const struct raft *r, const struct rule *rules, size_t count, struct err_text *why)
{
    for (size_t i = 0; i < count; i++)
        if (!rules[i].holds)
            return err_set(ERR_CORRUPT, why, "raft node %u: not (%s)", r->self, rules[i].text);
    return 0;
}

static int check_log(const struct raft *r, struct err_text *why)
{
    const struct raft_log *log = &r->log;
    uint64_t last = raft_log_last_index(log), term = log->base_term, bytes = 0, open = 0;
    bool consecutive = true, terms_never_fall = true;
    for (uint64_t i = log->base_index + 1; i <= last; i++) {
        const struct raft_entry *e = raft_log_at(log, i);
        consecutive = consecutive && e->index == i;
        terms_never_fall = terms_never_fall && e->term >= term;
        term = e->term;
        bytes += raft_entry_cost(e);
        if (i > r->commit_index)
            open += raft_entry_cost(e);
    }
    const struct rule rules[] = {
        RULE(consecutive),
        RULE(terms_never_fall),
        RULE(term <= r->term),
        RULE(bytes == log->bytes),
        RULE(open == r->uncommitted_bytes),
        RULE(log->durable_index <= last),
        RULE(log->write_term <= r->term),
        RULE(log->head + log->count <= log->capacity),
    };
    return WALK(r, rules, why);
}

static int check_indexes(const struct raft *r, struct err_text *why)
{
    uint64_t last = raft_log_last_index(&r->log);
    const struct rule rules[] = {
        RULE(r->commit_index <= last),
        RULE(r->commit_index >= r->snapshot_index),
        RULE(r->apply_index <= r->commit_index),
        RULE(r->apply_index <= r->log.durable_index),
        RULE(r->snapshot_index >= r->log.base_index),
        RULE((r->snapshot_index == 0) == (r->snapshot_term == 0)),
        RULE(r->verified_index <= last),
    };
    return WALK(r, rules, why);
}

static int check_role(const struct raft *r, struct err_text *why)
{
    bool leader = r->role == RAFT_LEADER;
    const struct rule rules[] = {
        RULE(leader == (r->leader == r->self)),
        RULE(!leader || r->voted_for == r->self),
        RULE(r->role != RAFT_CANDIDATE || r->voted_for == r->self),
        RULE(r->role == RAFT_FOLLOWER || !r->installing),
        RULE(r->role == RAFT_FOLLOWER || raft_may_be_needed(r)),
        RULE(r->role == RAFT_FOLLOWER || r->join == 0),
        RULE(!r->started || r->join != 0 || r->voter_count > 0),
        RULE(leader || r->reads.count == 0),
        RULE(leader || r->transfer_to == 0),
        RULE(!r->installing || r->install_index > r->commit_index),
        RULE(r->reads.count <= r->options.reads_max),
    };
    return WALK(r, rules, why);
}

/* R13: what is in force follows from snapshot and log alone. */
static int check_config(const struct raft *r, struct err_text *why)
{
    struct raft_config config;
    unsigned members = 0;
    uint64_t index = raft_config_as_of(r, raft_log_last_index(&r->log), &config);
    for (unsigned i = 0; i < r->member_count; i++) {
        const struct raft_server *server = raft_config_find(&config, r->members[i].id);
        members += server && server->voter == r->members[i].voter;
    }
    const struct rule rules[] = {
        RULE(index == r->config_index),
        RULE(raft_config_equal(&config, &r->config)),
        RULE(members == config.count && members == r->member_count),
        RULE(r->voter_count == raft_config_voters(&config)),
        RULE(r->snapshot_config_index <= r->snapshot_index),
    };
    return WALK(r, rules, why);
}

static int check_member(const struct raft *r, const struct raft_progress *p, struct err_text *why)
{
    uint64_t last = raft_log_last_index(&r->log);
    const struct rule rules[] = {
        RULE(raft_progress_check(p)),
        RULE(p->match_index <= last),
        RULE(p->next_index <= last + 1),
        RULE(p->inflight_count <= r->options.inflight_count_max),
        RULE(p->round <= r->round),
        RULE(p->lease_ms <= r->now_ms),
        RULE(p->state != RAFT_PROGRESS_SNAPSHOT || p->snapshot_index > 0),
    };
    return WALK(r, rules, why);
}

static int check_leader(const struct raft *r, struct err_text *why)
{
    if (r->role != RAFT_LEADER)
        return 0;
    const struct rule rules[] = {
        RULE(r->noop_index <= raft_log_last_index(&r->log)),
        RULE(r->noop_index <= r->log.base_index ||
             raft_log_matches(&r->log, r->noop_index, r->term)),
    };
    int rc = WALK(r, rules, why);
    for (unsigned i = 0; rc == 0 && i < r->member_count; i++)
        if (r->members[i].id != r->self)
            rc = check_member(r, &r->members[i], why);
    return rc;
}

int raft_check(const struct raft *raft, struct err_text *why)
{
    const struct raft *r = raft;
    CHECK_OBJ(r, RAFT_MAGIC);
    int rc = check_indexes(r, why);
    if (rc == 0)
        rc = check_role(r, why);
    if (rc == 0)
        rc = check_leader(r, why);
    if (rc == 0)
        rc = check_config(r, why);
    return rc == 0 ? check_log(r, why) : rc;
}
