/* Room on the disk of log and database (R21): seen in time, told to the others, acted upon.
 *
 *   LOW    less than [store] reserve is free: nothing new gets a name, so that what is there can go
 *          on being changed and deleted
 *   SHORT  less than a quarter of it: only what makes room
 *   NONE   the log has no segment ahead, or the database could not be written: no change at all
 *
 * The ballast of the log counts as used, whether or not it had to be given up. A leader that is low
 * hands over to a metaserver that is not. Nothing here needs a person: when room is back, the next
 * look says so. Only the log and the database know for sure; this keeps them from the wall. */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/net/work.h"
#include "metaserver/metaserver.h"

enum {
    LOOK_MS = 500,
    PEER_FRESH_MS = 3000,     /* what a peer said is worth so long */
    HAND_OVER_MS = 3000,      /* between two attempts */
    HAND_OVER_FOR_MS = 10000, /* so long a change is asked to come again rather than refused */
    PLACE_SIZE = 256,         /* of a folder's name, for people */
};

static const char *const level_names[SPACE_UNHEARD] = {"ok", "low", "short", "none"};

struct space_peer {
    uint32_t id;
    enum space_level level;
    uint64_t bytes_free;
    char place[PLACE_SIZE];
    uint64_t heard_ms;
};

struct space {
    struct metaserver *m;
    struct work_pool *pool;
    struct work work;
    bool is_running;
    bool is_measured;    /* this and the next belong to the worker while it runs */
    uint64_t bytes_free; /* without what the ballast shall have */
    uint64_t look_at_ms;
    enum space_level level;
    /* As of the last look. */
    bool is_known;
    uint64_t left;
    const char *place; /* the folder to make room in; "" = the limit is database_max */
    struct space_peer peers[RAFT_MEMBERS_MAX]; /* those heard last, members or not any more */
    uint64_t hand_over_at_ms, low_since_ms;
};

/* ---- looking ---- */

static void run(struct work *work)
{
    struct space *s = CONTAINER_OF(work, struct space, work);
    struct log_store *log = s->m->log; /* any thread may ask it */
    uint64_t reserve = s->m->options.reserve;
    struct log_status status;
    struct statvfs disk;
    s->is_measured = statvfs(s->m->options.data, &disk) == 0;
    if (!s->is_measured)
        return;
    uint64_t bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    log_store_status(log, &status);
    /* Only when plenty is left afterwards: it was given up because there was none. */
    if (!status.ballast_present && reserve > 0 &&
        bytes > 2 * reserve + LOG_BALLAST_SIZE_DEFAULT + status.segment_size_bytes &&
        log_store_ballast_restore(log) == 0)
        bytes -= LOG_BALLAST_SIZE_DEFAULT;
    else if (!status.ballast_present)
        bytes -= bytes < LOG_BALLAST_SIZE_DEFAULT ? bytes : LOG_BALLAST_SIZE_DEFAULT;
    s->bytes_free = bytes;
}

/* The database's file never shrinks, and its addresses are reserved once. */
static uint64_t database_left(const struct metaserver *m)
{
    struct fs_status counts;
    fs_get_status(m->fs, &counts);
    return counts.store_bytes < m->options.database_max
               ? m->options.database_max - counts.store_bytes
               : 0;
}

/* Of a small one the reserve may be more than all. */
static bool is_database_the_limit(const struct space *s, uint64_t database)
{
    const struct metaserver_options *o = &s->m->options;
    return database < o->database_max / 16 && (o->reserve == 0 || database < o->reserve) &&
           database < s->bytes_free;
}

static enum space_level judge(const struct space *s)
{
    const struct metaserver *m = s->m;
    uint64_t reserve = m->options.reserve, left = s->bytes_free, database = database_left(m);
    if (raft_driver_is_stalled(m->driver) || log_store_space_low(m->log))
        return SPACE_NONE;
    if (reserve == 0)
        return SPACE_OK;
    if (is_database_the_limit(s, database))
        left = database;
    if (left < reserve / 4)
        return SPACE_SHORT;
    /* A little more to leave than to enter, or the two would alternate. */
    if (left < reserve || (s->level != SPACE_OK && left < reserve + reserve / 4))
        return SPACE_LOW;
    return SPACE_OK;
}

/* For people: how much is left, and of what. */
static void note_room(struct space *s)
{
    uint64_t database = database_left(s->m);
    bool is_database = is_database_the_limit(s, database);
    s->is_known = true;
    s->left = is_database ? database : s->bytes_free;
    s->place = is_database                            ? ""
               : raft_driver_is_stalled(s->m->driver) ? s->m->database
                                                      : s->m->options.data;
}

static void tell(struct space *s)
{
    struct bytes body = {0};
    struct msg_meta_space said = {.node = (uint32_t)s->m->options.id,
                                  .level = (uint8_t)s->level,
                                  .bytes_free = s->left,
                                  .place = slice_str(s->place)};
    encode_meta_space(&body, &said);
    raft_driver_tell_peers(s->m->driver, MSG_meta_space, bytes_slice(&body));
    bytes_release(&body);
}

static void change(struct space *s, enum space_level level)
{
    unsigned long long left = s->bytes_free >> 20;
    if (level == SPACE_OK)
        log_info("meta.space", "level=ok free_mib=%llu: changes are taken again", left);
    else if (s->place[0] == '\0')
        log_error("meta.space",
                  "level=%s: the database nearly fills database_max; set a larger one and restart",
                  level_names[level]);
    else
        log_error("meta.space", "level=%s free_mib=%llu: make room on the disk of %s",
                  level_names[level], left, s->place);
    if (s->level == SPACE_OK)
        s->low_since_ms = loop_now_ms();
    if (level == SPACE_OK)
        checkpointer_hurry(s->m); /* one that failed for lack of room need not wait */
    s->level = level;
}

/* ---- handing over ---- */

static const struct space_peer *find_peer(const struct space *s, uint32_t id)
{
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (s->peers[i].id == id && s->peers[i].heard_ms + PEER_FRESH_MS >= loop_now_ms())
            return &s->peers[i];
    return NULL;
}

static enum space_level level_of(const struct space *s, uint32_t id)
{
    const struct space_peer *peer = find_peer(s, id);
    return peer ? peer->level : SPACE_UNHEARD;
}

/* 0 = nobody. */
static uint32_t find_successor(const struct space *s)
{
    const struct metaserver *m = s->m;
    const struct raft_config *config = raft_driver_config(m->driver);
    for (unsigned i = 0; i < config->count; i++) {
        uint32_t id = config->servers[i].id;
        if (config->servers[i].voter && id != m->options.id && level_of(s, id) == SPACE_OK &&
            raft_driver_hears(m->driver, id))
            return id;
    }
    return 0;
}

static void hand_over(struct space *s)
{
    uint32_t to = find_successor(s);
    if (to == 0 || loop_now_ms() < s->hand_over_at_ms)
        return;
    s->hand_over_at_ms = loop_now_ms() + HAND_OVER_MS;
    log_warn("meta.space", "level=%s: m%u has room and shall lead", level_names[s->level], to);
    (void)raft_driver_transfer_to(s->m->driver, to);
}

static void done(struct work *work)
{
    struct space *s = CONTAINER_OF(work, struct space, work);
    s->is_running = false;
    if (!s->is_measured || s->m->is_stopping)
        return;
    note_room(s);
    enum space_level level = judge(s);
    if (level != s->level)
        change(s, level);
    tell(s);
    if (s->level != SPACE_OK && raft_driver_is_leader(s->m->driver))
        hand_over(s);
}

void space_tick(struct metaserver *m)
{
    struct space *s = m->space;
    /* What log and database found out counts at once. */
    bool is_late = s->level != SPACE_NONE &&
                   (raft_driver_is_stalled(m->driver) || log_store_space_low(m->log));
    if (s->is_running || (loop_now_ms() < s->look_at_ms && !is_late))
        return;
    s->look_at_ms = loop_now_ms() + LOOK_MS;
    s->is_running = work_submit(s->pool, &s->work) == 0;
}

static struct space_peer *place_of(struct space *s, uint32_t id)
{
    struct space_peer *oldest = &s->peers[0];
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (s->peers[i].id == id)
            return &s->peers[i];
        if (s->peers[i].heard_ms < oldest->heard_ms)
            oldest = &s->peers[i];
    }
    return oldest;
}

void space_on_told(struct metaserver *m, struct rpc_request *take_request)
{
    struct msg_meta_space said;
    if (decode_meta_space(take_request->body, take_request->version, &said) == 0 &&
        said.node == take_request->remote->identity.node && said.level < SPACE_UNHEARD) {
        struct space_peer *peer = place_of(m->space, said.node);
        *peer = (struct space_peer){.id = said.node,
                                    .level = (enum space_level)said.level,
                                    .bytes_free = said.bytes_free,
                                    .heard_ms = loop_now_ms()};
        size_t size = said.place.size < PLACE_SIZE ? said.place.size : PLACE_SIZE - 1;
        memcpy(peer->place, said.place.data, size);
    }
    rpc_request_drop(take_request);
}

/* ---- refusing ---- */

/* From this level on a request of this kind is refused. */
static enum space_level limit_of(uint16_t code)
{
    switch (code) {
    case MSG_meta_create:
    case MSG_meta_mknod:
    case MSG_meta_mkdir:
    case MSG_meta_symlink:
    case MSG_meta_link:
        return SPACE_LOW;
    case MSG_meta_commit:
    case MSG_meta_setattr:
    case MSG_meta_rename:
    case MSG_meta_set_copies:
    case MSG_meta_move_begin:
    case MSG_meta_move_end:
    case MSG_session_open:
        return SPACE_SHORT;
    default:
        return SPACE_NONE;
    }
}

/* The worst of the leader and of the best majority: without room there nothing can be committed. */
static enum space_level level_of_cluster(const struct space *s)
{
    const struct metaserver *m = s->m;
    const struct raft_config *config = raft_driver_config(m->driver);
    unsigned count[SPACE_UNHEARD] = {0}, with_room = 0;
    for (unsigned i = 0; i < config->count; i++) {
        uint32_t id = config->servers[i].id;
        if (!config->servers[i].voter)
            continue;
        enum space_level level = id == m->options.id ? s->level : level_of(s, id);
        count[level == SPACE_UNHEARD ? SPACE_OK : level]++;
    }
    for (unsigned level = SPACE_OK; level < SPACE_UNHEARD; level++) {
        with_room += count[level];
        if (with_room > raft_config_voters(config) / 2)
            return (enum space_level)level > s->level ? (enum space_level)level : s->level;
    }
    return SPACE_NONE;
}

enum space_level space_of_cluster(const struct metaserver *m)
{
    bool is_stuck = raft_driver_is_stalled(m->driver) || log_store_space_low(m->log);
    return is_stuck ? SPACE_NONE : level_of_cluster(m->space);
}

int space_refusal(const struct metaserver *m, uint16_t code)
{
    const struct space *s = m->space;
    enum space_level level = space_of_cluster(m);
    if (level < limit_of(code) || level == SPACE_OK)
        return 0;
    bool is_new = s->level == SPACE_OK || loop_now_ms() < s->low_since_ms + HAND_OVER_FOR_MS;
    return is_new && find_successor(s) != 0 ? -ERR_BUSY : -ERR_NO_SPACE;
}

void space_fill(const struct metaserver *m, uint32_t id, struct rec_meta_status *ret)
{
    const struct space *s = m->space;
    const struct space_peer *peer = find_peer(s, id);
    ret->space_level = SPACE_UNHEARD;
    if (id == m->options.id && s->is_known) {
        ret->space_level = (uint8_t)s->level;
        ret->space_free = s->left;
        ret->space_place = slice_str(s->place);
    } else if (id != m->options.id && peer) {
        ret->space_level = (uint8_t)peer->level;
        ret->space_free = peer->bytes_free;
        ret->space_place = slice_str(peer->place);
    }
}

bool space_is_ample(const struct metaserver *m)
{
    return m->space->level == SPACE_OK && fs_is_ample(m->fs);
}

/* ---- life ---- */

struct space *space_create(struct metaserver *m)
{
    struct space *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->m = m;
    s->pool = work_pool_create(m->loop, 1, 1);
    s->work = (struct work){.run = run, .done = done};
    return s;
}

void space_destroy(struct space *s)
{
    if (!s)
        return;
    work_pool_destroy(s->pool);
    free(s);
}
