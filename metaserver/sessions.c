/* Who lives and who has what open: the leader's volatile knowledge of clients.
 *
 * Opening needs no log entry. A new leader does not know who has what open until each session has
 * told its whole set (reclaim); until then a session counts as a holder of every inode, so nothing
 * that is open is ever freed; what it turns out not to hold is released afterwards. */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "metaserver/metaserver.h"

enum {
    RECONCILE_MAX = 1024,
    FRESH_S = 10, /* longer than an answer takes, or the repetition of a set */
};

struct session_state {
    uint64_t id;
    uint64_t heard_ms;
    bool reclaimed; /* `open` is complete */
    bool reconcile; /* orphans that it does not hold are to be released */
    bool expiring;
    bool is_in_the_way; /* of a move: is what we think it has open still so? */
    struct map open;    /* inode -> struct holding, packed by pack() */
};

/* How often an inode is open, and in which second it was opened last (0: a client's set said so);
 * whether one of these may write. In one map value, because a session may hold millions. */
struct holding {
    uint32_t count, opened_s;
    bool may_write;
};

enum { COUNT_MAX = INT32_MAX };

static void *pack(struct holding h)
{
    uint64_t low = h.count | (h.may_write ? (uint64_t)COUNT_MAX + 1 : 0);
    return (void *)(uintptr_t)((uint64_t)h.opened_s << 32 | low);
}

static struct holding unpack(const void *value)
{
    uint64_t bits = (uintptr_t)value;
    return (struct holding){.count = (uint32_t)bits & COUNT_MAX,
                            .opened_s = (uint32_t)(bits >> 32),
                            .may_write = (uint32_t)bits > COUNT_MAX};
}

static struct session_state *find(const struct metaserver *m, uint64_t id)
{
    return map_get(&m->sessions, id);
}

static struct session_state *add(struct metaserver *m, uint64_t id, bool reclaimed)
{
    struct session_state *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->id = id;
    s->heard_ms = loop_now_ms();
    s->reclaimed = reclaimed;
    map_init(&s->open, id);
    (void)map_put(&m->sessions, id, s);
    return s;
}

void sessions_start(struct metaserver *m)
{
    struct fs_session known = {.id = 0};
    while (fs_next_session(meta_view(m), known.id, &known) == 0)
        (void)add(m, known.id, false);
}

static void destroy(struct session_state *s)
{
    map_release(&s->open);
    free(s);
}

void sessions_stop(struct metaserver *m)
{
    size_t cursor = 0;
    struct map_entry *e;
    while ((e = map_next(&m->sessions, &cursor)))
        destroy(e->value);
    map_release(&m->sessions);
    map_release(&m->removing);
    map_release(&m->tickets);
}

void sessions_begun(struct metaserver *m, uint64_t session)
{
    if (!find(m, session))
        (void)add(m, session, true);
}

void sessions_ended(struct metaserver *m, uint64_t session)
{
    struct session_state *s = map_remove(&m->sessions, session);
    if (s)
        destroy(s);
}

void sessions_heard(struct metaserver *m, uint64_t session)
{
    struct session_state *s = find(m, session);

    if (s)
        s->heard_ms = loop_now_ms();
}

void sessions_opened(struct metaserver *m, uint64_t session, uint64_t inode, bool may_write)
{
    sessions_heard(m, session);
    if (may_write)
        moves_void(m, inode);
    struct session_state *s = find(m, session);
    if (!s)
        return;
    struct holding h = unpack(map_get(&s->open, inode));
    if (h.count < COUNT_MAX)
        h.count++;
    h.may_write = h.may_write || may_write;
    h.opened_s = (uint32_t)(loop_now_ms() / 1000) + 1;
    (void)map_put(&s->open, inode, pack(h));
}

static void close_some(struct session_state *s, uint64_t inode, uint32_t count)
{
    struct holding h = unpack(map_get(&s->open, inode));
    if (h.count > count) {
        h.count -= count;
        (void)map_put(&s->open, inode, pack(h));
    } else {
        (void)map_remove(&s->open, inode);
    }
    s->reconcile = true;
}

void sessions_closed(struct metaserver *m, uint64_t session, uint64_t inode, uint32_t count)
{
    struct session_state *s = find(m, session);
    if (s)
        close_some(s, inode, count);
}

void sessions_holders(struct metaserver *m, uint64_t inode, struct bytes *out)
{
    size_t cursor = 0;
    struct map_entry *e;
    while (out->size / sizeof(uint64_t) < FS_HOLDERS_MAX && (e = map_next(&m->sessions, &cursor))) {
        const struct session_state *s = e->value;
        if (!s->reclaimed || map_get(&s->open, inode))
            bytes_append(out, &s->id, sizeof s->id);
    }
}

/* Opens are counted twice when they are asked for twice, or were under way when a set was made. A
 * set puts that right, so whoever is in the way is asked for one. */
int sessions_check_writers(struct metaserver *m, uint64_t inode)
{
    size_t cursor = 0;
    struct map_entry *e;
    bool unknown = false, open = false;
    while ((e = map_next(&m->sessions, &cursor))) {
        struct session_state *s = e->value;
        bool may_write = unpack(map_get(&s->open, inode)).may_write;
        s->is_in_the_way = s->is_in_the_way || may_write;
        open = open || may_write;
        unknown = unknown || !s->reclaimed;
    }
    return open ? -ERR_FILE_OPEN : unknown ? -ERR_BUSY : 0;
}

bool sessions_exists(const struct metaserver *m, uint64_t session)
{
    return find(m, session) != NULL;
}

void sessions_orphaned(struct metaserver *m)
{
    size_t cursor = 0;
    struct map_entry *e;
    while ((e = map_next(&m->sessions, &cursor)))
        ((struct session_state *)e->value)->reconcile = true;
}

/* ---- releasing what is not held ---- */

static void *as_arg(uint64_t session)
{
    return (void *)(uintptr_t)session;
}

static void on_released(struct metaserver *m, void *arg, int status)
{
    struct session_state *s = find(m, (uintptr_t)arg);
    if (s && status != 0)
        s->reconcile = true;
}

/* Refused, not lost: the next tick asks again. */
static void on_expired(struct metaserver *m, void *arg, int status)
{
    struct session_state *s = find(m, (uintptr_t)arg);
    if (s && status != 0)
        s->expiring = false;
}

static void release_unheld(struct metaserver *m, struct session_state *s)
{
    struct rec_inode_ref refs[RECONCILE_MAX];
    unsigned gone = 0;
    uint64_t inode = 0;
    while (gone < RECONCILE_MAX && fs_next_hold(meta_view(m), s->id, inode, &inode) == 0)
        if (!map_get(&s->open, inode))
            refs[gone++] = (struct rec_inode_ref){.inode = inode, .count = 0};
    s->reconcile = gone == RECONCILE_MAX;
    if (gone == 0)
        return;
    struct bytes body = {0};
    struct msg_orphan_release command = {.session = s->id,
                                         .inodes = {.count = gone, .items = refs}};
    encode_orphan_release(&body, &command);
    meta_propose_command(m, MSG_orphan_release, bytes_slice(&body), on_released, as_arg(s->id));
    bytes_release(&body);
}

static void expire(struct metaserver *m, struct session_state *s)
{
    struct bytes body = {0};
    struct msg_session_expire command = {.session = s->id};
    s->expiring = true;
    log_info("session.expired", "session=%llu", (unsigned long long)s->id);
    encode_session_expire(&body, &command);
    meta_propose_command(m, MSG_session_expire, bytes_slice(&body), on_expired, as_arg(s->id));
    bytes_release(&body);
}

void sessions_tick(struct metaserver *m)
{
    uint64_t now = loop_now_ms();
    size_t cursor = 0;
    struct map_entry *e;
    while ((e = map_next(&m->sessions, &cursor))) {
        struct session_state *s = e->value;
        if (s->reconcile && s->reclaimed)
            release_unheld(m, s);
        if (!s->expiring && now > s->heard_ms + FS_SESSION_TIMEOUT_MS)
            expire(m, s);
    }
}

/* ---- requests ---- */

/* The client's set replaces ours, now and whenever it sends one: it does so after a release whose
 * fate it does not know. An answer to an open may have been on its way when the set was made, so
 * what was opened a moment ago stays; the client sends another set when it finds out. */
static void take_set(struct metaserver *m, struct session_state *s,
                     const struct msg_session_alive *ask)
{
    struct slice cursor = ask->open.raw;
    struct rec_inode_ref ref;
    struct map old = s->open;
    uint32_t now_s = (uint32_t)(loop_now_ms() / 1000) + 1;
    map_init(&s->open, s->id);
    while (rec_inode_ref_next(&cursor, &ref)) {
        struct holding known = unpack(map_get(&old, ref.inode));
        bool is_fresh = known.opened_s != 0 && now_s - known.opened_s <= FRESH_S;
        struct holding h = {.count = ref.count < COUNT_MAX ? ref.count : COUNT_MAX,
                            .may_write = ref.writers > 0 || (is_fresh && known.may_write)};
        if (h.count > 0)
            (void)map_put(&s->open, ref.inode, pack(h));
        if (h.count > 0 && h.may_write)
            moves_void(m, ref.inode);
    }
    size_t place = 0;
    struct map_entry *e;
    while ((e = map_next(&old, &place))) {
        struct holding was = unpack(e->value), now = unpack(map_get(&s->open, e->key));
        was.may_write = was.may_write || now.may_write;
        if (was.opened_s != 0 && now_s - was.opened_s <= FRESH_S && was.count > now.count)
            (void)map_put(&s->open, e->key, pack(was));
    }
    map_release(&old);
    s->reclaimed = true;
    s->reconcile = true;
    s->is_in_the_way = false;
}

void sessions_on_alive(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_session_alive ask;
    int status = decode_session_alive(take_request->body, take_request->version, &ask);
    if (status == 0 && !sessions_exists(m, ask.session))
        status = -ERR_NO_SESSION;
    if (status != 0) {
        rpc_reply_error(take_request, status, NULL, NULL);
        return;
    }
    sessions_heard(m, ask.session);
    struct session_state *s = find(m, ask.session);
    if (ask.reclaim)
        take_set(m, s, &ask);
    struct msg_session_alive_r r = {.term = m->leader_term,
                                    .want_reclaim = !s->reclaimed || s->is_in_the_way};
    struct bytes out = {0};
    encode_session_alive_r(&out, &r);
    rpc_reply(take_request, MSG_session_alive_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

void sessions_on_release(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_meta_release ask;
    struct msg_done_r done = {.index = 0};
    struct bytes out = {0};
    int status = decode_meta_release(take_request->body, take_request->version, &ask);
    struct session_state *s = status == 0 ? find(m, ask.session) : NULL;
    struct slice cursor = status == 0 ? ask.open.raw : slice_of("", 0);
    struct rec_inode_ref ref;
    while (s && rec_inode_ref_next(&cursor, &ref)) {
        close_some(s, ref.inode, ref.count);
    }
    encode_done_r(&out, &done);
    if (status == 0)
        rpc_reply(take_request, MSG_done_r, bytes_slice(&out), NULL, 0);
    else
        rpc_reply_error(take_request, status, NULL, NULL);
    bytes_release(&out);
}
