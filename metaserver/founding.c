/* A new folder: does it found a cluster, or join one that exists?
 *
 * Raft cannot tell a disk that is new from one that was wiped; a wiped one that votes can undo what
 * was promised. So before raft starts all first members are asked (standing.h has the rule). Until
 * each of them has answered nothing is founded: any of them may hold the cluster's data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/metaserver.h"

enum { PAUSE_MS = 50, ANSWER_MS = 1000, COMPLAIN_MS = 5000 };

struct asked {
    struct founding *founding;
    struct rpc_peer *rpc;
    char address[RAFT_ADDRESS_MAX + 1];
};

struct founding {
    struct metaserver *m;
    void (*decided)(struct metaserver *m);
    struct loop_timer timer; /* the pause between two rounds */
    struct loop_defer end;   /* of a round */
    uint64_t complain_ms;
    unsigned count, waiting; /* waiting: not answered in this round */
    struct asked asked[RAFT_VOTERS_MAX];
    struct standing_answer answers[RAFT_VOTERS_MAX];
};

/* ---- asking ---- */

static int take_answer(const struct rpc_reply *reply, struct standing *ret)
{
    struct msg_standing_r r;
    if (reply->status != 0)
        return reply->status;
    if (reply->code != MSG_standing_r || decode_standing_r(reply->body, reply->version, &r) != 0 ||
        r.state < STANDING_NEW || r.state > STANDING_MEMBER || r.life == 0 ||
        r.lives.count > RAFT_VOTERS_MAX)
        return -ERR_PROTOCOL;
    struct standing s = {.state = (enum standing_state)r.state, .life = r.life};
    struct slice cursor = r.lives.raw;
    struct rec_standing_life life;
    while (rec_standing_life_next(&cursor, &life))
        s.lives[s.life_count++] = (struct standing_life){life.node, life.life};
    if (r.first.size != 0 && raft_config_decode(r.first, &s.first) != 0)
        return -ERR_PROTOCOL;
    *ret = s;
    return 0;
}

static void on_answer(void *arg, struct rpc_reply *reply)
{
    struct asked *a = arg;
    struct founding *f = a->founding;
    struct standing_answer *answer = &f->answers[a - f->asked];
    struct standing said = {0};
    bool is_known = take_answer(reply, &said) == 0;
    answer->is_confirmed = is_known && answer->is_known && said.life == answer->said.life &&
                           said.state == answer->said.state;
    answer->is_known = is_known;
    answer->said = said;
    if (--f->waiting == 0)
        loop_defer_schedule(&f->end);
}

static void complain(struct founding *f)
{
    char silent[128] = "";
    if (loop_now_ms() < f->complain_ms)
        return;
    f->complain_ms = loop_now_ms() + COMPLAIN_MS;
    for (unsigned i = 0; i < f->count; i++) {
        size_t used = strlen(silent);
        if (!f->answers[i].is_known)
            (void)snprintf(silent + used, sizeof silent - used, "%sm%u", used ? " " : "",
                           f->answers[i].id);
    }
    log_warn("meta.founding",
             "silent=\"%s\": this folder is new, and a cluster is founded only when all of `peers` "
             "have said that they know of none; start them",
             silent);
}

static void ask(void *arg)
{
    struct founding *f = arg;
    struct bytes body = {0};
    complain(f);
    encode_standing(&body, &(struct msg_standing){0});
    f->waiting = f->count;
    for (unsigned i = 0; i < f->count; i++) {
        struct rpc_call_options call = {.code = MSG_standing,
                                        .body = bytes_slice(&body),
                                        .deadline_ms = loop_now_ms() + ANSWER_MS};
        rpc_peer_hurry(f->asked[i].rpc);
        (void)rpc_call(f->asked[i].rpc, &call, on_answer, &f->asked[i]);
    }
    bytes_release(&body);
}

/* ---- deciding ---- */

static void decide(void *arg)
{
    struct founding *f = arg;
    struct metaserver *m = f->m;
    void (*decided)(struct metaserver *) = f->decided;
    enum standing_verdict verdict = STANDING_JOIN;
    if (m->options.join)
        m->standing.state = STANDING_JOINING;
    else
        verdict =
            standing_decide(&m->standing, (uint32_t)m->options.id, &m->peers, f->answers, f->count);
    if (verdict == STANDING_WAIT) {
        loop_timer_start_ms(&f->timer, PAUSE_MS);
        return;
    }
    int status = meta_store_standing(m);
    if (status != 0) {
        log_error("meta.founding", "error=%s: cannot write in %s", err_name(status),
                  m->options.data);
        exit(3);
    }
    log_info("meta.founding", "%s",
             verdict == STANDING_FOUND ? "a new cluster begins"
                                       : "joins a cluster; has no vote until it caught up");
    m->founding = NULL;
    founding_stop(f);
    decided(m);
}

struct founding *founding_start(struct metaserver *m, void (*decided)(struct metaserver *m))
{
    struct founding *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->m = m;
    f->decided = decided;
    f->complain_ms = loop_now_ms() + COMPLAIN_MS;
    loop_timer_init(&f->timer, m->loop, ask, f);
    loop_defer_init(&f->end, m->loop, decide, f);
    for (unsigned i = 0; !m->options.join && i < m->peers.count; i++) {
        const struct raft_server *server = &m->peers.servers[i];
        struct asked *a = &f->asked[f->count];
        if (server->id == m->options.id)
            continue;
        f->answers[f->count++].id = server->id;
        a->founding = f;
        (void)snprintf(a->address, sizeof a->address, "%.*s", (int)server->address_size,
                       (const char *)server->address);
        struct rpc_peer_options options = {
            .address = a->address, .identity = &m->identity, .connect_timeout_ms = ANSWER_MS};
        a->rpc = rpc_peer_create(m->loop, &options);
    }
    if (f->count > 0)
        loop_timer_start_ms(&f->timer, 0);
    else
        loop_defer_schedule(&f->end); /* nobody to ask */
    return f;
}

void founding_stop(struct founding *f)
{
    if (!f)
        return;
    f->m->founding = NULL;
    loop_timer_stop(&f->timer);
    for (unsigned i = 0; i < f->count; i++)
        rpc_peer_destroy(f->asked[i].rpc); /* its call ends, and schedules */
    loop_defer_cancel(&f->end);
    free(f);
}

/* ---- being asked ---- */

void founding_on_request(struct metaserver *m, struct rpc_request *take_request)
{
    const struct standing *s = &m->standing;
    uint8_t first[RAFT_CONFIG_BYTES_MAX];
    struct rec_standing_life lives[RAFT_VOTERS_MAX];
    struct bytes out = {0};
    if (take_request->remote->identity.role != ROLE_META) {
        rpc_reply_error(take_request, -ERR_REFUSED, "only for metaservers", NULL);
        return;
    }
    for (unsigned i = 0; i < s->life_count; i++)
        lives[i] = (struct rec_standing_life){.node = s->lives[i].id, .life = s->lives[i].life};
    struct msg_standing_r r = {
        .state = (uint8_t)s->state,
        .life = s->life,
        .first = slice_of(first, s->first.count ? raft_config_encode(&s->first, first) : 0),
        .lives = {.count = s->life_count, .items = lives}};
    encode_standing_r(&out, &r);
    rpc_reply(take_request, MSG_standing_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}
