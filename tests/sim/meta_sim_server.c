/* What a metaserver does with requests: changes go into the log and are answered when they are
 * applied, reads are answered by lease or read index. And the network between it and clients. */
#include "tests/sim/meta_sim.h"

#include <string.h>

#include "common/base/check.h"

/* ---- the network ---- */

void server_reset(void)
{
    memset(meta.messages, 0, sizeof meta.messages);
    memset(meta.proposals, 0, sizeof meta.proposals);
    memset(meta.reads, 0, sizeof meta.reads);
    bytes_clear(&meta.bytes);
    meta.envelope_count = 0;
}

static void dispatch(struct sim *s, const struct meta_message *m)
{
    for (uint32_t i = 0; i < MESSAGES_MAX; i++) {
        struct meta_message *copy = &meta.messages[i];
        if (copy->in_use)
            continue;
        *copy = *m;
        copy->in_use = true;
        world_push(s, s->now_us + world_delay_us(s), EV_CLIENT, m->client, i + 1);
        return;
    }
}

void server_send(struct sim *s, const struct meta_message *m)
{
    if (!s->calm && prng_chance(&s->prng, s->profile.loss))
        return;
    dispatch(s, m);
    if (!s->calm && prng_chance(&s->prng, s->profile.duplicate))
        dispatch(s, m);
}

static void reply(struct sim *s, const struct meta_message *request, int status, uint16_t code,
                  struct slice body, bool is_for_once)
{
    struct meta_message m = {.is_answer = true,
                             .client = request->client,
                             .node = request->node,
                             .operation = request->operation,
                             .attempt = request->attempt,
                             .status = status,
                             .is_for_once = is_for_once};
    m.body.code = code;
    m.body.size = (uint32_t)body.size;
    CHECK(body.size <= BODY_MAX);
    if (body.size > 0)
        memcpy(m.body.bytes, body.data, body.size);
    server_send(s, &m);
}

static void refuse(struct sim *s, const struct meta_message *request, int status)
{
    reply(s, request, status, 0, slice_of(NULL, 0), false);
}

/* ---- reads ---- */

/* The state shows all that may have been acknowledged before now: nobody else leads, and what was
 * committed is applied. */
static bool may_answer(struct sim *s, struct node *n)
{
    struct raft_status st;
    raft_status_get(n->raft, &st);
    return s->lease_reads && n->state.index >= st.commit_index &&
           raft_lease_valid(n->raft, node_clock_ms(s, n));
}

static void answer_query(struct sim *s, struct node *n, const struct meta_message *m)
{
    struct bytes out = {0};
    uint16_t code = 0;
    int status = fs_query(n->replica->fs, n->replica->view, m->body.code,
                          slice_of(m->body.bytes, m->body.size), &code, &out);
    reply(s, m, status, code, status == 0 ? bytes_slice(&out) : slice_of(NULL, 0), false);
    bytes_release(&out);
}

static void read_by_index(struct sim *s, struct node *n, const struct meta_message *m)
{
    struct raft_event event = {.kind = RAFT_EV_READ, .read_id = ++meta.read_id};
    struct meta_read *r = &meta.reads[meta.read_id % META_READS_MAX];
    *r = (struct meta_read){.in_use = true,
                            .node = n->id,
                            .incarnation = n->incarnation,
                            .id = meta.read_id,
                            .request = *m};
    int status = node_step(s, n, &event);
    if (status == 0)
        return;
    r->in_use = false;
    refuse(s, m, status);
}

static void answer_reads(struct sim *s, struct node *n)
{
    for (unsigned i = 0; i < META_READS_MAX; i++) {
        struct meta_read *r = &meta.reads[i];
        if (!r->in_use || r->node != n->id || r->incarnation != n->incarnation || r->index == 0 ||
            n->state.index < r->index)
            continue;
        r->in_use = false;
        s->reads_done++;
        answer_query(s, n, &r->request);
    }
}

void server_on_reads(struct sim *s, struct node *n, const struct raft_update *u)
{
    if (s->failed)
        return;
    for (unsigned i = 0; i < u->reads.count; i++) {
        const struct raft_read *ready = &u->reads.reads[i];
        struct meta_read *r = &meta.reads[ready->id % META_READS_MAX];
        if (!r->in_use || r->id != ready->id)
            continue;
        r->index = ready->index;
        r->in_use = ready->status == 0;
        if (!r->in_use)
            refuse(s, &r->request, ready->status);
    }
    answer_reads(s, n);
}

/* ---- changes ---- */

enum { EXPIRE_PER_MILLE = 30 }; /* of the leader's own commands */

static uint32_t keep_envelope(const struct fs_command *command)
{
    fs_command_encode(command, &meta.bytes);
    meta.envelopes[++meta.envelope_count] = meta.bytes.size;
    return meta.envelope_count - 1;
}

static struct raft_entry entry_of_envelope(struct sim *s, uint32_t number)
{
    struct entry_copy copy = {.kind = RAFT_ENTRY_COMMAND,
                              .command = {number / LOG_MAX, number % LOG_MAX}};
    return entry_of(s, &copy);
}

static int64_t time_ns(const struct sim *s, const struct node *n)
{
    return (int64_t)node_clock_ms(s, n) * 1000000;
}

static uint64_t find_victim(struct node *n, const struct body *b)
{
    struct slice body = slice_of(b->bytes, b->size);
    struct msg_meta_unlink unlink;
    struct msg_meta_rename rename;
    uint64_t inode;
    int status = -ERR_NO_ENTRY;
    if (b->code == MSG_meta_unlink && decode_meta_unlink(body, WIRE_VERSION, &unlink) == 0)
        status = fs_find_name(n->replica->view, unlink.parent, unlink.name, &inode);
    else if (b->code == MSG_meta_rename && decode_meta_rename(body, WIRE_VERSION, &rename) == 0)
        status = fs_find_name(n->replica->view, rename.new_parent, rename.new_name, &inode);
    else
        return 0;
    return status == 0 ? inode : FS_VICTIM_NONE;
}

/* Of one in four files that lose a name somebody has a handle. */
static uint32_t envelope_of(struct sim *s, struct node *n, const struct meta_message *m)
{
    uint8_t holder[8];
    struct fs_command command = {.code = m->body.code,
                                 .time_ns = time_ns(s, n),
                                 .victim = find_victim(n, &m->body),
                                 .holders = slice_of(holder, 0),
                                 .body = slice_of(m->body.bytes, m->body.size)};
    uint64_t session = meta.sessions[prng_between(&s->prng, 1, META_CLIENTS)].session;
    store_u64(holder, session);
    if (command.victim != 0 && command.victim != FS_VICTIM_NONE && session != 0 &&
        prng_chance(&s->prng, 250))
        command.holders.size = sizeof holder;
    return keep_envelope(&command);
}

/* The leader's own commands: it compares state hashes (R28), a handle is given back, or a session
 * ends that was not heard of. */
static uint32_t own_command(struct sim *s, struct node *n)
{
    struct bytes body = {0};
    struct fs_command command = {.code = MSG_state_hash, .time_ns = time_ns(s, n)};
    struct msg_state_hash hash = {.index = 0};
    struct rec_inode_ref ref = {.count = 1};
    struct session *c = &meta.sessions[prng_between(&s->prng, 1, META_CLIENTS)];
    uint64_t session = c->session;
    if (meta.is_ready && !s->calm && prng_chance(&s->prng, EXPIRE_PER_MILLE)) {
        command.code = MSG_session_expire;
        c->may_be_ended = true;
        encode_session_expire(&body, &(struct msg_session_expire){.session = session});
    } else if (fs_next_hold(n->replica->view, session, 0, &ref.inode) == 0) {
        command.code = MSG_orphan_release;
        encode_orphan_release(&body,
                              &(struct msg_orphan_release){.session = session,
                                                           .inodes = {.count = 1, .items = &ref}});
    } else {
        (void)fs_last_hash(n->replica->fs, &hash.index, &hash.hash);
        encode_state_hash(&body, &hash);
    }
    command.body = bytes_slice(&body);
    uint32_t number = keep_envelope(&command);
    bytes_release(&body);
    return number;
}

static struct proposal *free_proposal(void)
{
    for (unsigned i = 0; i < PROPOSALS_MAX; i++)
        if (!meta.proposals[i].in_use)
            return &meta.proposals[i];
    return NULL;
}

static void propose(struct sim *s, struct node *n, const struct meta_message *m,
                    uint64_t last_index, uint64_t term)
{
    struct raft_entry entries[2];
    struct raft_event event = {.kind = RAFT_EV_PROPOSE};
    struct proposal *p = free_proposal();
    if (!p || last_index + 64 >= LOG_MAX || meta.envelope_count + 2 >= ENVELOPES_MAX)
        return; /* the run is at its end */
    bool is_first = prng_chance(&s->prng, 800);
    unsigned count = is_first ? 1 : 2;
    if (!is_first)
        entries[0] = entry_of_envelope(s, own_command(s, n));
    entries[count - 1] = entry_of_envelope(s, envelope_of(s, n, m));
    *p = (struct proposal){.in_use = true,
                           .node = n->id,
                           .client = m->client,
                           .incarnation = n->incarnation,
                           .term = term,
                           .index = last_index + count,
                           .operation = m->operation};
    event.propose.entries = entries;
    event.propose.entry_count = count;
    int status = node_step(s, n, &event);
    if (status == 0)
        return;
    p->in_use = false;
    refuse(s, m, status);
}

/* Another copy of the request may still come and be executed, although this one was refused. */
static bool is_elsewhere(const struct meta_message *m)
{
    for (unsigned i = 0; i < MESSAGES_MAX; i++) {
        const struct meta_message *other = &meta.messages[i];
        if (other->in_use && !other->is_answer && other->client == m->client &&
            other->operation == m->operation)
            return true;
    }
    return false;
}

/* What needs no entry: the session knows the answer, or it would fail. Asked only when this node
 * leads for sure and nothing waits in its log. Of a failure no trace stays, so it counts only while
 * no other attempt is on its way: the client sees to those that it has begun since. */
static bool answer_at_once(struct sim *s, struct node *n, const struct meta_message *m)
{
    struct fs_result result;
    if (!fs_has_caller(m->body.code) ||
        fs_check_request(n->replica->fs, n->replica->view, m->body.code,
                         slice_of(m->body.bytes, m->body.size), &result) == 0)
        return false;
    if (!result.repeated && is_elsewhere(m))
        return false;
    meta.stored_answers += result.repeated;
    reply(s, m, result.status, result.code, result.body, !result.repeated);
    return true;
}

static void change(struct sim *s, struct node *n, const struct meta_message *m)
{
    struct raft_status st;
    raft_status_get(n->raft, &st);
    if (n->state.index == st.last_index && may_answer(s, n) && prng_chance(&s->prng, 500) &&
        answer_at_once(s, n, m))
        return;
    propose(s, n, m, st.last_index, st.term);
}

/* A message has arrived. A node that stands still finds it when it goes on. */
void server_take(struct sim *s, uint32_t number, uint32_t client)
{
    struct meta_message *slot = &meta.messages[number - 1], m = *slot;
    struct node *n = &s->nodes[m.node];
    CHECK(m.in_use && m.client == client);
    if (!m.is_answer && n->raft && !node_awake(s, n)) {
        world_push(s, n->paused_until_us, EV_CLIENT, client, number);
        return;
    }
    slot->in_use = false;
    if (m.is_answer) {
        session_told(s, &m);
    } else if (!n->raft) {
        return;
    } else if (n->role != RAFT_LEADER) {
        refuse(s, &m, -ERR_NOT_LEADER);
    } else if (!fs_is_query(m.body.code)) {
        change(s, n, &m);
    } else if (may_answer(s, n) && prng_chance(&s->prng, 700)) {
        s->lease_reads_done++;
        answer_query(s, n, &m);
    } else {
        read_by_index(s, n, &m);
    }
}

/* R10: a proposal is decided when the entry at its index is applied: by its term. */
void server_answer(struct sim *s, struct node *n, const struct raft_entry *entry)
{
    const struct fs_result *result = &n->replica->result;
    for (unsigned i = 0; i < PROPOSALS_MAX; i++) {
        struct proposal *p = &meta.proposals[i];
        if (!p->in_use || p->node != n->id || p->incarnation != n->incarnation ||
            p->index != entry->index)
            continue;
        struct meta_message request = {
            .client = p->client, .node = n->id, .operation = p->operation};
        p->in_use = false;
        if (p->term != entry->term) {
            refuse(s, &request, -ERR_NOT_LEADER); /* open: asked again */
            continue;
        }
        meta.stored_answers += result->repeated;
        meta.answers[entry->index] = replica_answer_hash(result);
        meta.told_index = entry->index > meta.told_index ? entry->index : meta.told_index;
        reply(s, &request, result->status, result->code, result->body, false);
    }
}

void server_forget(struct sim *s, const struct node *n)
{
    (void)s;
    for (unsigned i = 0; i < PROPOSALS_MAX; i++)
        if (meta.proposals[i].node == n->id)
            meta.proposals[i].in_use = false;
    for (unsigned i = 0; i < META_READS_MAX; i++)
        if (meta.reads[i].node == n->id)
            meta.reads[i].in_use = false;
}
