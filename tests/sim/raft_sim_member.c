/* Membership: an operator who adds, promotes, removes and replaces servers, disks that are lost,
 * and what must hold of configurations (R12, R13). */
#include "tests/sim/raft_sim.h"

#include <string.h>

#include "common/base/check.h"

/* --- configurations by number --- */

void member_reset(struct sim *s)
{
    for (uint32_t i = 1; i <= s->config_count; i++)
        buf_unref(s->configs[i]);
    s->config_count = 0;
    s->voters_wanted = 3;
}

uint32_t member_number(struct sim *s, struct slice bytes)
{
    for (uint32_t i = s->config_count; i > 0; i--)
        if (slice_equal(slice_of(s->configs[i]->data, s->config_sizes[i]), bytes))
            return i;
    CHECK(s->config_count + 1 < CONFIGS_MAX);
    struct buf *buf = buf_create(bytes.size);
    memcpy(buf->data, bytes.data, bytes.size);
    s->configs[++s->config_count] = buf;
    s->config_sizes[s->config_count] = bytes.size;
    return s->config_count;
}

uint32_t member_number_of(struct sim *s, const struct raft_config *config)
{
    uint8_t bytes[RAFT_CONFIG_BYTES_MAX];
    return member_number(s, slice_of(bytes, raft_config_encode(config, bytes)));
}

void member_decode(struct sim *s, uint32_t number, struct raft_config *ret_config)
{
    CHECK(number > 0 && number <= s->config_count);
    CHECK(raft_config_decode(slice_of(s->configs[number]->data, s->config_sizes[number]),
                             ret_config) == 0);
}

/* --- the operator --- */

static struct node *find_leader(struct sim *s)
{
    for (uint32_t i = 1; i <= s->node_count; i++) {
        struct node *n = &s->nodes[i];
        if (n->role == RAFT_LEADER && node_awake(s, n) && prng_chance(&s->prng, 700))
            return n;
    }
    return NULL;
}

/* Any server: the id need not fit what is wanted. */
static uint32_t random_member(struct sim *s, const struct raft_config *config, bool learner)
{
    uint32_t found = 0;
    unsigned seen = 0;
    for (unsigned i = 0; i < config->count; i++)
        if (!learner || !config->servers[i].voter)
            if (prng_below(&s->prng, ++seen) == 0)
                found = config->servers[i].id;
    return found;
}

static uint32_t dead_member(const struct sim *s, const struct raft_config *config)
{
    for (unsigned i = 0; i < config->count; i++)
        if (s->nodes[config->servers[i].id].dead)
            return config->servers[i].id;
    return 0;
}

/* A server that is up and no member: one that waits, one that was removed, or a new one. */
static uint32_t outsider(struct sim *s, const struct raft_config *config)
{
    for (uint32_t i = 1; i <= s->node_count; i++) {
        const struct node *n = &s->nodes[i];
        if (!n->dead && !raft_config_find(config, i) && prng_chance(&s->prng, 300))
            return i;
    }
    if (s->node_count == NODES_MAX)
        return 0;
    struct node *n = &s->nodes[++s->node_count];
    fault_clock(s, n);
    n->disk->joining = true;
    node_boot(s, n);
    return n->id;
}

static void ask(struct sim *s, struct node *leader, enum raft_change_kind kind, uint32_t id)
{
    static const char *const verbs[] = {"?", "add", "promote", "remove", "?"};
    struct raft_event event = {.kind = RAFT_EV_CHANGE};
    if (id == 0 || !leader->raft)
        return;
    event.change.kind = kind;
    event.change.id = id;
    event.change.address = slice_str("later");
    int rc = node_step(s, leader, &event);
    sim_trace(s, "leader %u is to %s node %u: %s", leader->id, verbs[kind], id,
              rc ? err_name(rc) : "ok");
    if (rc != 0)
        return;
    s->changes++;
    s->removed_leaders += kind == RAFT_CHANGE_REMOVE && id == leader->id;
}

/* Where overlapping changes hurt most (R12): one leader goes to five voters, the next to three. */
static void around_four(struct sim *s, struct node *leader, const struct raft_config *config)
{
    unsigned voters = raft_config_voters(config);
    bool grow = voters < 4 || (voters == 4 && prng_chance(&s->prng, 500));
    if (config->count == voters)
        ask(s, leader, RAFT_CHANGE_ADD, outsider(s, config));
    else if (grow)
        ask(s, leader, RAFT_CHANGE_PROMOTE, random_member(s, config, true));
    else
        ask(s, leader, RAFT_CHANGE_REMOVE, random_member(s, config, false));
}

/* Follows a wanted size, which changes; a dead member goes first; now and then nonsense. */
void member_change(struct sim *s)
{
    static const unsigned sizes[] = {1, 3, 4, 5};
    struct node *leader = find_leader(s);
    if (!leader)
        return;
    struct raft_config config = leader->config;
    if (s->profile.nodes == 4) {
        around_four(s, leader, &config);
        return;
    }
    if (prng_chance(&s->prng, 30))
        s->voters_wanted = sizes[prng_below(&s->prng, sizeof sizes / sizeof sizes[0])];
    if (prng_chance(&s->prng, 100)) {
        ask(s, leader, (enum raft_change_kind)prng_between(&s->prng, 1, RAFT_CHANGE_MAX),
            (uint32_t)prng_between(&s->prng, 1, s->node_count));
        return;
    }
    unsigned voters = raft_config_voters(&config);
    uint32_t dead = dead_member(s, &config);
    if (config.count > voters && prng_chance(&s->prng, 700))
        ask(s, leader, RAFT_CHANGE_PROMOTE, random_member(s, &config, true));
    else if (dead != 0 && voters >= 3)
        ask(s, leader, RAFT_CHANGE_REMOVE, dead);
    else if (config.count < s->voters_wanted || prng_chance(&s->prng, 50))
        ask(s, leader, RAFT_CHANGE_ADD, outsider(s, &config));
    else if (voters > s->voters_wanted || prng_chance(&s->prng, 50))
        ask(s, leader, RAFT_CHANGE_REMOVE,
            prng_chance(&s->prng, 300) ? leader->id : random_member(s, &config, false));
}

/* One at a time, and not of a cluster so small that nobody could replace it. */
void member_kill(struct sim *s)
{
    struct raft_config config;
    member_decode(s, s->configs_at[s->committed_count], &config);
    struct node *n = &s->nodes[random_member(s, &config, false)];
    if (raft_config_voters(&config) < 3 || dead_member(s, &config) != 0 || !n->raft)
        return;
    sim_trace(s, "node %u dies for good", n->id);
    node_crash(s, n);
    n->dead = true;
}

/* What was promised by one node is lost. Never two at a time: two copies of three are the data. */
void member_wipe(struct sim *s)
{
    struct node *n = &s->nodes[prng_between(&s->prng, 1, s->node_count)];
    for (uint32_t i = 1; i <= s->node_count; i++)
        if (s->nodes[i].disk->joining)
            return;
    if (n->raft)
        node_crash(s, n);
    sim_trace(s, "node %u has a new disk", n->id);
    disk_clear(n->disk);
    n->disk->joining = true;
    n->wiped++;
    n->state = (struct state){0};
    s->machine->drop(n);
    s->wipes++;
}

/* --- what must hold --- */

/* Who died for good is back when faults are over and it is a member still, or again. */
void member_revive(struct sim *s)
{
    for (uint32_t i = 1; i <= s->node_count; i++)
        for (uint32_t other = 1; s->nodes[i].dead && other <= s->node_count; other++)
            if (s->nodes[other].raft && raft_config_find(&s->nodes[other].config, i))
                node_boot(s, &s->nodes[i]);
}

/* R13: the configuration of a checkpoint is the one that was committed at its index. */
bool member_checkpoint(struct sim *s, struct node *n, struct state *state)
{
    struct raft_config config;
    int rc = raft_config_at(n->raft, state->index, &config);
    if (rc == -ERR_NO_DATA && state->config == 0)
        return false;
    if (rc != 0) {
        sim_fail(s, "node %u does not know its configuration at %lu: %s", n->id, state->index,
                 err_name(rc));
        return false;
    }
    state->config = member_number_of(s, &config);
    if (state->config != s->configs_at[state->index])
        sim_fail(s,
                 "checkpoint: node %u at %lu holds another configuration (%u) than was committed"
                 " (%u)",
                 n->id, state->index, state->config, s->configs_at[state->index]);
    if (n->state.config != 0 && n->state.config != state->config)
        sim_fail(s, "node %u applied another configuration up to %lu", n->id, state->index);
    return true;
}

/* The core says when the configuration in force is another, and only then. */
void member_update(struct sim *s, struct node *n, const struct raft_update *u)
{
    uint64_t index = 0;
    const struct raft_config *config = raft_config_get(n->raft, &index);
    bool equal = raft_config_equal(config, &n->config);
    if (!equal && !(u->todo & RAFT_CONFIG_CHANGED))
        sim_fail(s, "node %u: configuration changed unsaid at %lu", n->id, index);
    if (!equal)
        n->config = *config;
}

bool member_settled(struct sim *s, const struct node *n, const struct node *leader)
{
    struct raft_status st;
    raft_status_get(n->raft, &st);
    return raft_config_equal(&n->config, &leader->config) && !n->disk->joining && !st.joining &&
           st.config_index <= s->committed_count &&
           member_number_of(s, &n->config) == s->configs_at[s->committed_count];
}
