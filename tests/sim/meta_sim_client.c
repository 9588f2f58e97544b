/* The sessions: random operations on few names, asked again under the same number until they are
 * answered, given up now and then. */
#include "tests/sim/meta_sim.h"

#include <string.h>

#include "common/base/check.h"

enum { STEPS = 2 + META_DIRECTORIES, GIVE_UP_PER_MILLE = 25 };

void session_reset(void)
{
    memset(meta.sessions, 0, sizeof meta.sessions);
}

void session_calm(struct sim *s)
{
    (void)s;
    for (uint32_t i = 1; i <= META_CLIENTS; i++)
        meta.sessions[i].is_served = false;
}

bool session_all_served(const struct sim *s)
{
    (void)s;
    for (uint32_t i = 1; i <= META_CLIENTS; i++)
        if (!meta.sessions[i].is_served)
            return false;
    return true;
}

bool session_all_idle(void)
{
    for (uint32_t i = 1; i <= META_CLIENTS; i++)
        if (meta.sessions[i].is_busy)
            return false;
    return true;
}

/* No two moments are the same, so that what ended before something began is known. */
static int64_t moment_ns(const struct sim *s)
{
    int64_t now = (int64_t)s->now_us * 1000;
    meta.clock_ns = now > meta.clock_ns ? now : meta.clock_ns + 1;
    return meta.clock_ns;
}

/* ---- asking ---- */

/* A leader that nobody follows any more answers no change: who looks would find it out (R16). */
static bool is_reader(uint32_t client)
{
    return client > META_CLIENTS - META_READERS;
}

/* Half of the time the client knows the leader, or who believes to be one. */
static uint32_t choose_node(struct sim *s)
{
    if (s->calm || prng_chance(&s->prng, 700))
        for (uint32_t i = 1; i <= s->node_count; i++)
            if (s->nodes[i].role == RAFT_LEADER && s->nodes[i].raft && prng_chance(&s->prng, 700))
                return i;
    return (uint32_t)prng_between(&s->prng, 1, s->node_count);
}

static void ask(struct sim *s, struct session *c, uint32_t client)
{
    struct meta_message m = {.client = client,
                             .node = choose_node(s),
                             .operation = c->operation,
                             .attempt = ++c->attempt,
                             .body = c->request};
    uint64_t patience_us = s->calm ? 500000 : is_reader(client) ? 300000 : 2000000;
    c->retry_us = s->now_us + prng_between(&s->prng, 20000, patience_us);
    meta.attempts++;
    server_send(s, &m);
}

static void begin(struct sim *s, struct session *c)
{
    c->operation = ++meta.operation;
    c->is_busy = true;
    c->retry_us = s->now_us;
    c->give_up_us = UINT64_MAX;
}

static bool prepare(struct sim *s, struct session *c, uint32_t client)
{
    bool is_first = client == 1;
    if (c->step == 0 && !is_first) {
        if (!meta.is_formed)
            return false;
        c->step = 1;
    }
    if (c->step >= 2 && (!is_first || meta.is_ready)) {
        c->step = STEPS;
        return false;
    }
    c->sequence += c->step >= 2;
    request_prepare(c, client, c->step);
    begin(s, c);
    return true;
}

/* After the last fault everything is looked at once more: nothing acknowledged may be missing. */
static bool pick_last_look(struct session *c, uint32_t client)
{
    if (client != 1 || meta.last_look == META_DIRECTORIES)
        return false;
    c->op = (struct history_op){.kind = HISTORY_LIST,
                                .client = client - 1,
                                .group = meta.last_look / 2,
                                .slot = meta.last_look % 2};
    meta.last_look++;
    return true;
}

static void begin_next(struct sim *s, struct session *c, uint32_t client)
{
    if (c->step < STEPS) {
        (void)prepare(s, c, client);
        return;
    }
    if (!meta.is_ready)
        return;
    if (meta.is_stopping) {
        if (!pick_last_look(c, client))
            return;
    } else {
        c->op = (struct history_op){.client = client - 1};
        history_pick(&meta.plan, &s->prng, is_reader(client), &c->op);
    }
    c->sequence += !history_is_read(c->op.kind);
    c->op.invoke_ns = moment_ns(s);
    request_encode(c);
    begin(s, c);
    if (!s->calm && prng_chance(&s->prng, GIVE_UP_PER_MILLE))
        c->give_up_us = s->now_us + prng_between(&s->prng, 1000, 500000);
}

static void end(struct sim *s, struct session *c)
{
    char text[400];
    c->is_busy = false;
    if (c->step < STEPS)
        return;
    history_add(&meta.history, &c->op);
    meta.in_faults += !s->calm;
    history_learn(&meta.plan, &s->prng, &c->op);
    if (!s->trace)
        return;
    history_format(&c->op, 0, text, sizeof text);
    sim_trace(s, "history group %u: %s", c->op.group, text);
}

void session_tick(struct sim *s, uint32_t client)
{
    struct session *c = &meta.sessions[client];
    uint64_t gap = s->calm ? 200 : s->profile.client_gap_ms;
    gap = is_reader(client) ? gap / 2 + 1 : gap;
    world_push(s, s->now_us + prng_between(&s->prng, 1, gap) * 1000, EV_CLIENT, client, 0);
    if (!c->is_busy)
        begin_next(s, c, client);
    if (c->is_busy && s->now_us >= c->give_up_us) {
        c->op.return_ns = INT64_MAX;
        end(s, c);
    } else if (c->is_busy && s->now_us >= c->retry_us) {
        ask(s, c, client);
    }
}

/* ---- being answered ---- */

static void prepared(struct sim *s, struct session *c, const struct meta_message *m)
{
    struct msg_session_open_r opened;
    struct slice body = slice_of(m->body.bytes, m->body.size);
    bool is_good = m->status == 0;
    if (c->step == 0) {
        meta.is_formed = true;
        is_good = is_good || m->status == -ERR_EXISTS;
    } else if (c->step == 1) {
        is_good = is_good && decode_session_open_r(body, WIRE_VERSION, &opened) == 0;
        c->session = is_good ? opened.session : 0;
        c->sequence = 0;
        c->may_be_ended = false;
    } else {                                           /* the first inodes of all */
        is_good = is_good || m->status == -ERR_EXISTS; /* R22: the histories are to notice it */
        meta.directories[c->step - 2] = ROOT_INODE + c->step - 1;
    }
    if (!is_good)
        sim_fail(s, "preparation %u of client %u: %s", c->step, m->client, err_name(m->status));
    c->step++;
    meta.is_ready = meta.is_ready || c->step == STEPS;
    c->is_busy = false;
}

/* What was under way may have been done before the session ended. */
static void lose_session(struct sim *s, struct session *c)
{
    if (!c->may_be_ended)
        sim_fail(s, "client: nobody ended session %lu, and it is gone", c->session);
    c->op.return_ns = INT64_MAX;
    c->op.status = -ERR_NO_SESSION;
    end(s, c);
    c->step = 1;
    c->lives++;
    meta.expired++;
}

static bool is_asked_again(int status)
{
    return status == -ERR_NOT_LEADER || status == -ERR_BUSY || status == -ERR_UNAVAILABLE;
}

void session_told(struct sim *s, const struct meta_message *m)
{
    struct session *c = &meta.sessions[m->client];
    if (!c->is_busy || m->operation != c->operation)
        return; /* late: another answer came first, or the client has given up */
    if (m->is_for_once && m->attempt != c->attempt)
        return; /* a later attempt may already be in a log */
    if (is_asked_again(m->status)) {
        uint64_t soon = s->now_us + prng_between(&s->prng, 1000, 100000);
        c->retry_us = soon < c->retry_us ? soon : c->retry_us;
        return;
    }
    if (m->status == -ERR_NO_SESSION) {
        lose_session(s, c);
        return;
    }
    if (c->step < STEPS) {
        prepared(s, c, m);
        return;
    }
    if (!history_is_definite(m->status)) {
        sim_fail(s, "client %u: %s of operation %lu: %s", m->client, history_kind_name(c->op.kind),
                 c->sequence, err_name(m->status));
        return;
    }
    c->op.return_ns = moment_ns(s);
    c->op.status = m->status;
    if (m->status == 0 && !request_decode(c, &m->body))
        sim_fail(s, "client %u: a strange answer to %s", m->client, history_kind_name(c->op.kind));
    c->is_served = true;
    end(s, c);
}
