/* The session with the metaservers: open, keep alive, reclaim, replace when it is lost. */
#include <stdlib.h>

#include "common/client/meta_op.h"

#include "common/base/banned.h"

enum {
    ALIVE_MS_MIN = 200,
    ALIVE_MS_MAX = 5000,
    ALIVE_PARTS = 6, /* keep-alives per session timeout: five may be lost */
    REOPEN_MS = 200, /* pause before the next try to open */
};

static void open_session(struct client *c);
static void send_alive(struct client *c);

static uint64_t alive_ms(const struct client *c)
{
    uint64_t ms = c->session.timeout_ms / ALIVE_PARTS;
    return ms < ALIVE_MS_MIN ? ALIVE_MS_MIN : ms > ALIVE_MS_MAX ? ALIVE_MS_MAX : ms;
}

static void on_timer(void *arg)
{
    struct client *c = arg;
    if (c->session.state == SESSION_UP)
        send_alive(c);
    else if (c->session.state == SESSION_NONE)
        open_session(c);
}

/* ---- open ---- */

static void finish_open(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    struct client_session *s = &c->session;
    struct msg_session_open_r r;
    if (s->state != SESSION_OPENING)
        return;
    if (status == 0 && reply->code != MSG_session_open_r)
        status = -ERR_PROTOCOL;
    if (status == 0)
        status = decode_session_open_r(reply->body, reply->version, &r);
    if (status == 0 && (r.session == 0 || r.copies == 0 || r.copies > COPIES_MAX))
        status = -ERR_PROTOCOL;
    if (status != 0) {
        s->state = SESSION_NONE;
        loop_timer_start_ms(&s->timer, REOPEN_MS);
        return;
    }
    s->state = SESSION_UP;
    s->id = r.session;
    s->timeout_ms = r.timeout_ms;
    c->copies = r.copies;
    c->shard_count = r.shard_count;
    s->reclaim_wanted = c->files.count != 0;
    loop_timer_start_ms(&s->timer, s->reclaim_wanted ? 0 : alive_ms(c));
    meta_calls_session_up(c);
    client_progress(c);
}

static void open_session(struct client *c)
{
    c->session.state = SESSION_OPENING;
    struct meta_op *op = meta_op_new(c, finish_open, NULL, slice_of(NULL, 0), slice_of(NULL, 0));
    encode_session_open(&op->call.body, &(struct msg_session_open){.client = c->session.client,
                                                                   .name = slice_str(c->name),
                                                                   .mount = slice_str(c->mount)});
    meta_op_start(op, META_PLAIN, MSG_session_open);
}

void session_start(struct client *c)
{
    c->session.client = uuid_make();
    loop_timer_init(&c->session.timer, c->loop, on_timer, c);
    open_session(c);
}

void session_stop(struct client *c)
{
    c->session.state = SESSION_CLOSED;
    c->session.id = 0;
    loop_timer_stop(&c->session.timer);
}

/* ---- keep-alive and reclaim ---- */

/* All inodes held open, with opens under way counted as if they had succeeded: too many is put
 * right by the next set, too few would let the leader drop an orphan that is in use. */
static struct rec_inode_ref *open_set(struct client *c, uint32_t *ret_count)
{
    struct rec_inode_ref *set = calloc(c->files.count + 1, sizeof *set);
    CHECK(set);
    uint32_t count = 0;
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&c->files, &cursor)) != NULL;) {
        const struct client_file *f = e->value;
        uint32_t opens = f->opens + f->opens_pending;
        if (opens == 0 || count == LIST_COUNT_MAX)
            continue;
        set[count] =
            (struct rec_inode_ref){.inode = f->inode, .count = opens, .writers = file_may_write(f)};
        count++;
    }
    *ret_count = count;
    return set;
}

static void finish_alive(struct meta_op *op, int status, struct rpc_reply *reply)
{
    struct client *c = op->c;
    struct client_session *s = &c->session;
    struct msg_session_alive_r r;
    s->alive_sent = false;
    uint64_t session = op->inode;
    if (s->state != SESSION_UP)
        return;
    if (s->id != session) { /* of an older session: the new one starts its own */
        loop_timer_start_ms(&s->timer, 0);
        return;
    }
    if (status == -ERR_NO_SESSION) {
        session_lost(c, session);
        return;
    }
    if (status == 0 && reply->code == MSG_session_alive_r &&
        decode_session_alive_r(reply->body, reply->version, &r) == 0) {
        s->term_seen = r.term;
        if (r.want_reclaim)
            s->reclaim_wanted = true;
    } else if (op->flags) {
        s->reclaim_wanted = true; /* the set may not have arrived */
    }
    loop_timer_start_ms(&s->timer, s->reclaim_wanted && status == 0 ? 0 : alive_ms(c));
}

static void send_alive(struct client *c)
{
    struct client_session *s = &c->session;
    if (s->alive_sent)
        return;
    if (s->reclaim_wanted)
        release_batch_send(c); /* before the set: a leader that has one already ignores this one */
    struct msg_session_alive alive = {
        .session = s->id,
        .term_seen = s->term_seen,
        .reclaim = s->reclaim_wanted,
    };
    struct rec_inode_ref *set = NULL;
    if (s->reclaim_wanted) {
        set = open_set(c, &alive.open.count);
        alive.open.items = set;
        s->reclaims++;
        s->reclaim_wanted = false;
    }
    struct meta_op *op = meta_op_new(c, finish_alive, NULL, slice_of(NULL, 0), slice_of(NULL, 0));
    op->inode = s->id;
    op->flags = alive.reclaim;
    encode_session_alive(&op->call.body, &alive);
    free(set);
    s->alive_sent = true;
    meta_op_start(op, META_PLAIN, MSG_session_alive);
}

void session_want_reclaim(struct client *c)
{
    c->session.reclaim_wanted = true;
    if (c->session.state == SESSION_UP && !c->session.alive_sent)
        loop_timer_start_ms(&c->session.timer, 0);
}

void session_leader_changed(struct client *c, bool is_up)
{
    c->session.leader_changes++;
    /* What an earlier connection carried may or may not have arrived: say it all anew. */
    if (is_up)
        session_want_reclaim(c);
}

/* ---- lost ---- */

static void abandon_file(struct client_file *f)
{
    f->c->session.reclaim_wanted = true;
    if (f->dirty) {
        file_fail(f, -ERR_IO);
        file_data_abandon(f, -ERR_IO);
        CHECK(!f->dirty);
    }
    file_invalidate(f);
}

/* D28: caches dropped, unflushed data failed with an error that stays until it is reported. */
void session_lost(struct client *c, uint64_t session)
{
    struct client_session *s = &c->session;
    if (s->state != SESSION_UP || s->id != session)
        return;
    s->state = SESSION_NONE;
    s->id = 0;
    c->release.count = 0;
    c->counters.sessions_lost++;
    attr_cache_clear(&c->cache);
    /* Callbacks close files: hold all of them first. */
    size_t count = 0, cursor = 0;
    struct client_file **files = calloc(c->files.count + 1, sizeof(struct client_file *));
    CHECK(files);
    for (struct map_entry *e; (e = map_next(&c->files, &cursor)) != NULL;)
        files[count++] = file_hold(e->value);
    for (size_t i = 0; i < count; i++) {
        abandon_file(files[i]);
        file_drop(files[i]);
    }
    free(files);
    if (s->state == SESSION_NONE) {
        s->client = uuid_make();
        open_session(c);
    }
}
