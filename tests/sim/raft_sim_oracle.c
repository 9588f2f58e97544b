/* What must hold after every event (Raft paper figure 3, hazards R1..R16), kept incrementally. */
#include "tests/sim/raft_sim.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

void oracle_reset(struct sim *s)
{
    s->generation++; /* older facts no longer count */
    memset(s->leaders, 0, sizeof s->leaders[0] * (size_t)(s->terms_used + 1));
    s->terms_used = 0;
    s->committed_count = s->hashed_count = s->observed_index = 0;
    s->hashes[0] = 0;
    s->configs_at[0] = 1;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

/* True when the fact is new or equals the one known; a full table stops the run (it never is). */
static bool fact_agrees(struct sim *s, enum fact_kind kind, uint64_t a, uint64_t b, uint64_t value)
{
    uint64_t at = mix(mix(kind, a), b);
    for (unsigned i = 0; i < FACTS_MAX; i++, at++) {
        struct fact *f = &s->facts[at % FACTS_MAX];
        if (f->generation != s->generation) {
            *f = (struct fact){
                .generation = s->generation, .a = a, .b = b, .value = value, .kind = kind};
            return true;
        }
        if (f->kind == (uint32_t)kind && f->a == a && f->b == b)
            return f->value == value;
    }
    return false;
}

static uint64_t value_of(struct sim *s, const struct raft_entry *e)
{
    struct command c = command_of(s, e);
    return mix(mix((uint64_t)e->kind, c.client), c.sequence);
}

/* Log matching: (index, term) names one command and one predecessor, everywhere and for ever. */
void oracle_entries(struct sim *s, struct node *n, const struct raft_entry *entries, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i];
        if (!fact_agrees(s, FACT_ENTRY, e->index, e->term, value_of(s, e)))
            sim_fail(s, "log matching: node %u has another entry at (%lu, term %lu)", n->id,
                     e->index, e->term);
        if (i > 0 && !fact_agrees(s, FACT_PREVIOUS, e->index, e->term, entries[i - 1].term))
            sim_fail(s, "log matching: node %u has another predecessor of (%lu, term %lu)", n->id,
                     e->index, e->term);
    }
}

/* A node that lost its disk may vote again in a term in which its old life stood for election
 * itself: docs/raft.md, "A node without its past". That no term has two leaders is checked all the
 * same. */
static uint64_t voter_of(const struct node *n)
{
    return n->id + (uint64_t)n->wiped * (NODES_MAX + 1);
}

void oracle_vote_sent(struct sim *s, struct node *n, const struct raft_message *m)
{
    if (m->kind == RAFT_MSG_VOTE_REPLY && !m->rejected &&
        !fact_agrees(s, FACT_VOTE, voter_of(n), m->term, m->to))
        sim_fail(s, "node %u voted twice in term %lu", n->id, m->term);
    if (m->kind == RAFT_MSG_VOTE && !fact_agrees(s, FACT_VOTE, voter_of(n), m->term, n->id))
        sim_fail(s, "node %u voted twice in term %lu (for itself)", n->id, m->term);
}

/* R4, R27: an acknowledgement speaks for what the disk holds. */
void oracle_ack_sent(struct sim *s, struct node *n, const struct raft_message *m)
{
    const struct disk *d = n->disk;
    uint64_t index = m->match_index;
    if (m->kind != RAFT_MSG_APPEND_REPLY || m->rejected || index <= d->checkpoints[0].index)
        return;
    const struct raft_entry *e = raft_entry_at(n->raft, index);
    if (index > d->last || (e && index >= d->first && d->log[index].term != e->term))
        sim_fail(s, "durability: node %u acknowledges %lu, its disk does not hold that", n->id,
                 index);
}

void oracle_vote_record(struct sim *s, struct node *n, uint64_t term, uint32_t voted_for)
{
    const struct disk *d = n->disk;
    if (term < d->term)
        sim_fail(s, "node %u: term went from %lu to %lu", n->id, d->term, term);
    if (term == d->term && d->voted_for != 0 && voted_for != d->voted_for)
        sim_fail(s, "node %u: vote in term %lu changed from %u to %u", n->id, term, d->voted_for,
                 voted_for);
}

static void check_commit(struct sim *s, struct node *n, uint64_t index, uint64_t term)
{
    const struct raft_entry *e = raft_entry_at(n->raft, index);
    if (!e)
        return; /* behind a checkpoint; the hash is compared there */
    struct command c = command_of(s, e);
    if (index <= s->committed_count) {
        const struct entry_copy *known = &s->committed[index];
        if (known->term != e->term || known->kind != e->kind || known->command.client != c.client ||
            known->command.sequence != c.sequence)
            sim_fail(
                s, "state machine safety: node %u commits another entry at %lu (term %lu, was %lu)",
                n->id, index, e->term, known->term);
        return;
    }
    if (index != s->committed_count + 1) {
        sim_fail(s, "node %u commits %lu before anybody committed %lu", n->id, index,
                 s->committed_count + 1);
        return;
    }
    s->committed[index] =
        (struct entry_copy){.term = e->term, .index = index, .kind = e->kind, .command = c};
    s->commit_terms[index] = term;
    s->configs_at[index] = e->kind == RAFT_ENTRY_CONFIG ? c.sequence : s->configs_at[index - 1];
    s->committed_count = index;
    s->commits++;
}

/* Election safety and leader completeness, at the moment of winning. */
static void check_new_leader(struct sim *s, struct node *n, uint64_t term)
{
    struct raft_status st;
    raft_status_get(n->raft, &st);
    if (term >= TERMS_MAX) {
        sim_fail(s, "term %lu: elections do not settle", term);
        return;
    }
    if (term > s->terms_used)
        s->terms_used = term;
    if (s->leaders[term] != 0 && s->leaders[term] != n->id)
        sim_fail(s, "election safety: nodes %u and %u both lead term %lu", s->leaders[term], n->id,
                 term);
    s->leaders[term] = n->id;
    s->elections++;
    /* Late votes may still elect a leader of a term that others have left behind; it must have
     * what was committed in earlier terms than its own. */
    for (uint64_t i = st.first_index; i <= s->committed_count && s->commit_terms[i] < term; i++) {
        const struct raft_entry *e = raft_entry_at(n->raft, i);
        if (!e || e->term != s->committed[i].term) {
            sim_fail(s, "leader completeness: node %u leads term %lu without entry %lu", n->id,
                     term, i);
            return;
        }
    }
}

void oracle_update(struct sim *s, struct node *n, const struct raft_update *u)
{
    if (u->commit_index < n->commit_index || u->apply_index < n->apply_index)
        sim_fail(s, "node %u: commit went from %lu to %lu", n->id, n->commit_index,
                 u->commit_index);
    if (u->apply_index > u->commit_index)
        sim_fail(s, "node %u applies beyond the commit index", n->id);
    for (uint64_t i = n->commit_index + 1; i <= u->commit_index && !s->failed; i++)
        check_commit(s, n, i, u->term);
    n->commit_index = u->commit_index;
    if (u->role == RAFT_LEADER && (n->role != RAFT_LEADER || u->term != n->term))
        check_new_leader(s, n, u->term);
    if (u->todo & RAFT_ROLE_CHANGED)
        sim_trace(s, "node %u is %s in term %lu, leader %u", n->id, raft_role_name(u->role),
                  u->term, u->leader);
    n->role = u->role;
    n->term = u->term;
}

void oracle_applied(struct sim *s, struct node *n)
{
    uint64_t index = n->state.index;
    if (index > s->hashed_count) {
        if (index != s->hashed_count + 1)
            sim_fail(s, "node %u applied %lu before anybody applied %lu", n->id, index,
                     s->hashed_count + 1);
        s->hashes[index] = n->state.hash;
        s->hashed_count = index;
    } else if (s->hashes[index] != n->state.hash) {
        sim_fail(s, "state machine safety: node %u has another state at %lu", n->id, index);
    }
}

void oracle_node(struct sim *s, struct node *n)
{
    struct err_text why = {.text = ""};
    if (n->raft && raft_check(n->raft, &why) != 0)
        sim_fail(s, "raft_check: %s", why.text);
}

/* All members follow one leader closely, and every client got through. */
bool oracle_converged(struct sim *s)
{
    const struct node *leader = NULL;
    unsigned clients = s->machine->client_count;
    for (uint32_t i = 1; i <= s->node_count; i++)
        if (s->nodes[i].raft && s->nodes[i].role == RAFT_LEADER &&
            (!leader || s->nodes[i].term > leader->term))
            leader = &s->nodes[i];
    if (!leader)
        return false;
    struct raft_status top, st;
    raft_status_get(leader->raft, &top);
    for (uint32_t i = 1; i <= s->node_count; i++) {
        struct node *n = &s->nodes[i];
        if (!raft_config_find(&leader->config, i))
            continue; /* removed, or never taken in */
        if (!n->raft || !member_settled(s, n, leader))
            return false;
        raft_status_get(n->raft, &st);
        if (st.term != top.term || st.last_index + clients + 1 < top.last_index ||
            st.apply_index + 2 * clients + 2 < top.last_index)
            return false;
    }
    return s->machine->served(s);
}
