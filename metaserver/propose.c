/* From a request to a log entry, and from its result to the answer. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "metaserver/metaserver.h"

/* Results of the batch being applied; their bodies live here until the answers have left. */
struct meta_results {
    struct {
        int status;
        uint16_t reply_code;
        bool is_set;
        size_t at, size;
    } items[META_APPLY_MAX];
    uint64_t first;
    unsigned count; /* items behind it are not set */
    struct bytes bodies;
};

struct meta_results *meta_results_create(void)
{
    struct meta_results *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    return r;
}

void meta_results_destroy(struct meta_results *r)
{
    if (r)
        bytes_release(&r->bodies);
    free(r);
}

void meta_begin_results(struct metaserver *m, uint64_t first)
{
    struct meta_results *r = m->results;
    for (unsigned i = 0; i < r->count; i++)
        r->items[i].is_set = false;
    r->count = 0;
    r->first = first;
    bytes_clear(&r->bodies);
}

void meta_note_result(struct metaserver *m, uint64_t index, const struct fs_result *result)
{
    struct meta_results *r = m->results;
    CHECK(index >= r->first && index - r->first < META_APPLY_MAX);
    if (index - r->first >= r->count)
        r->count = (unsigned)(index - r->first) + 1;
    r->items[index - r->first].is_set = true;
    r->items[index - r->first].status = result->status;
    r->items[index - r->first].reply_code = result->code;
    r->items[index - r->first].at = r->bodies.size;
    r->items[index - r->first].size = result->body.size;
    bytes_append(&r->bodies, result->body.data, result->body.size);
}

static int find_result(const struct metaserver *m, uint64_t index, uint16_t *ret_code,
                       struct slice *ret_body)
{
    const struct meta_results *r = m->results;
    if (index < r->first || index - r->first >= META_APPLY_MAX ||
        !r->items[index - r->first].is_set)
        return -ERR_CLOSED;
    *ret_code = r->items[index - r->first].reply_code;
    *ret_body =
        slice_of(r->bodies.data + r->items[index - r->first].at, r->items[index - r->first].size);
    return r->items[index - r->first].status;
}

/* Wall-clock time for names and files, never before what was used last (R25). */
static int64_t command_time_ns(struct metaserver *m)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#ifndef PLANT_R25_TIME
    if (ns <= m->last_time_ns)
        ns = m->last_time_ns + 1;
#endif
    m->last_time_ns = ns;
    return ns;
}

static void propose(struct metaserver *m, uint16_t code, uint64_t victim, struct slice holders,
                    struct slice body, raft_proposal_fn *done, void *arg)
{
    struct bytes payload = {0};
    struct fs_command command = {
        .code = code,
        .time_ns = command_time_ns(m),
        .victim = victim,
        .holders = holders,
        .body = body,
    };
    fs_command_encode(&command, &payload);
    struct buf *block = buf_create(payload.size);
    memcpy(block->data, payload.data, payload.size);
    struct slice slice = slice_of(block->data, payload.size);
    bytes_release(&payload);
    raft_driver_propose(m->driver, block, slice, done, arg);
}

/* ---- requests of clients and chunkservers ---- */

struct pending {
    struct list node; /* of metaserver.proposals */
    struct metaserver *m;
    struct rpc_request *request;
    uint64_t term;           /* in which `removing` was counted */
    uint64_t removes;        /* inode that may lose its last name */
    uint64_t session, opens; /* counted as open already, because the name had this inode */
};

static void removing_add(struct metaserver *m, uint64_t inode)
{
    uintptr_t count = (uintptr_t)map_get(&m->removing, inode);
    (void)map_put(&m->removing, inode, (void *)(count + 1));
}

static void removing_drop(struct metaserver *m, uint64_t inode)
{
    uintptr_t count = (uintptr_t)map_get(&m->removing, inode);
    if (count > 1)
        (void)map_put(&m->removing, inode, (void *)(count - 1));
    else
        (void)map_remove(&m->removing, inode);
}

/* What a successful answer tells the leader's volatile state. */
static void note_answer(struct metaserver *m, struct pending *p, uint16_t code, struct slice body)
{
    const struct rpc_request *request = p->request;
    struct msg_meta_create create;
    struct msg_meta_open_r opened;
    struct msg_target_register_r registered;
    struct msg_target_register ask;
    if (code == MSG_meta_open_r && decode_meta_open_r(body, WIRE_VERSION, &opened) == 0 &&
        decode_meta_create(request->body, request->version, &create) == 0) {
        if (opened.attr.inode == p->opens)
            p->opens = 0; /* counted when it was proposed */
        else
            sessions_opened(m, create.caller.session, opened.attr.inode);
    }
    struct msg_session_open_r begun;
    if (code == MSG_session_open_r && decode_session_open_r(body, WIRE_VERSION, &begun) == 0)
        sessions_begun(m, begun.session);
    if (code == MSG_target_register_r &&
        decode_target_register_r(body, WIRE_VERSION, &registered) == 0 &&
        decode_target_register(request->body, request->version, &ask) == 0)
        targets_registered(m, registered.target, &ask);
}

static void answer(struct rpc_request *take_request, int status, uint16_t code, struct slice body)
{
    if (status == 0)
        rpc_reply(take_request, code, body, NULL, 0);
    else
        rpc_reply_error(take_request, status, NULL, NULL);
}

static void on_applied(void *arg, int status, uint64_t index)
{
    struct pending *p = arg;
    struct metaserver *m = p->m;
    struct slice body = {NULL, 0};
    uint16_t code = 0;
    bool is_same_term = m->is_leader && m->leader_term == p->term;
    list_remove(&p->node);
#ifdef PLANT_R23_NEW
    status = status == -ERR_CLOSED ? -ERR_BUSY : status; /* as if it had not happened */
#endif
#ifdef PLANT_R23_OPEN
    status = status == -ERR_CLOSED ? -ERR_IO : status;
#endif
    if (p->removes && is_same_term)
        removing_drop(m, p->removes);
    if (status == 0)
        status = find_result(m, index, &code, &body);
    else if (status == -ERR_CLOSED)
        status = -ERR_NOT_LEADER; /* open: the caller asks the next leader with the same number */
    else if (status == -ERR_NO_SPACE)
        status = -ERR_BUSY; /* asked again it is judged by refuse(): it may have been done before */
    if (status == 0 && is_same_term)
        note_answer(m, p, code, body);
    if (status == -ERR_NOT_LEADER)
        meta_refuse(m, p->request);
    else
        answer(p->request, status, code, body);
    if (p->opens && is_same_term)
        sessions_closed(m, p->session, p->opens, 1);
    free(p);
}

static uint64_t find(struct metaserver *m, uint64_t parent, struct slice name)
{
    uint64_t inode;
    return fs_find_name(meta_view(m), parent, name, &inode) == 0 ? inode : FS_VICTIM_NONE;
}

/* The inode whose last name the request may take; 0 for requests that take none. */
static uint64_t victim_of(struct metaserver *m, const struct rpc_request *r)
{
    struct msg_meta_unlink unlink;
    struct msg_meta_rename rename;
    if (r->code == MSG_meta_unlink && decode_meta_unlink(r->body, r->version, &unlink) == 0)
        return find(m, unlink.parent, unlink.name);
    if (r->code == MSG_meta_rename && decode_meta_rename(r->body, r->version, &rename) == 0)
        return find(m, rename.new_parent, rename.new_name);
    return 0;
}

/* A create may open a file that is there. Removals proposed before it is applied must know: its
 * session counts as a holder from now on. */
static void count_open(struct metaserver *m, struct pending *p)
{
    struct msg_meta_create create;
    if (p->request->code != MSG_meta_create ||
        decode_meta_create(p->request->body, p->request->version, &create) != 0)
        return;
    uint64_t inode = find(m, create.parent, create.name);
    if (inode == FS_VICTIM_NONE)
        return;
    p->session = create.caller.session;
    p->opens = inode;
    sessions_opened(m, p->session, inode);
}

/* ---- no room ---- */

static bool read_caller(const struct rpc_request *r, struct wire_caller *ret_caller)
{
    struct wire_in in = {r->body.data, r->body.data + r->body.size, r->version};
    return fs_has_caller(r->code) && get_caller(&in, ret_caller);
}

/* The same request came before, and its entry waits to be applied. */
static bool is_under_way(struct metaserver *m, const struct rpc_request *request)
{
    struct wire_caller asked, other;
    if (!read_caller(request, &asked))
        return false;
    LIST_EACH(node, &m->proposals)
    {
        const struct pending *p = CONTAINER_OF(node, struct pending, node);
        if (read_caller(p->request, &other) && other.session == asked.session &&
            other.sequence == asked.sequence)
            return true;
    }
    return false;
}

/* A repeat of what was done must not be told that it failed (R22, R23). All entries of earlier
 * terms are applied here, and those of this one are in `proposals`, or they were answered; and
 * while an answered one is taken back for want of room, nobody can tell. Neither can a leader that
 * may have been deposed unawares: the next one may have done it (R15). */
static void refuse(struct metaserver *m, struct rpc_request *take_request, int status)
{
    struct fs_result result;
#ifdef PLANT_R22_SPACE
    rpc_reply_error(take_request, status, "", NULL);
    return;
#endif
    if (meta_commit(m) != 0 || raft_driver_is_behind_answers(m->driver) ||
        is_under_way(m, take_request) || !raft_driver_leads(m->driver))
        rpc_reply_error(take_request, -ERR_BUSY, "waits for room on the disk", NULL);
    else if (fs_has_caller(take_request->code) &&
             fs_check_request(m->fs, meta_view(m), take_request->code, take_request->body, &result))
        answer(take_request, result.status, result.code, result.body);
    else
        rpc_reply_error(take_request, status,
                        status == -ERR_NO_SPACE ? "the disks of the metaservers are full" : "",
                        NULL);
}

void meta_propose_request(struct metaserver *m, struct rpc_request *take_request)
{
    struct bytes holders = {0};
    bool is_clients = fs_has_caller(take_request->code) || take_request->code == MSG_session_open;
    int refusal = is_clients ? space_refusal(m, take_request->code) : 0;
    if (refusal != 0) {
        refuse(m, take_request, refusal);
        return;
    }
    struct pending *p = calloc(1, sizeof *p);
    CHECK(p != NULL);
    *p = (struct pending){.m = m, .request = take_request, .term = m->leader_term};
    list_append(&m->proposals, &p->node);
    uint64_t victim = victim_of(m, take_request);
    if (victim != 0 && victim != FS_VICTIM_NONE) {
        p->removes = victim;
        sessions_holders(m, victim, &holders);
        removing_add(m, victim);
    }
    count_open(m, p);
    propose(m, take_request->code, victim, bytes_slice(&holders), take_request->body, on_applied,
            p);
    bytes_release(&holders);
}

/* ---- the leader's own commands ---- */

struct command {
    struct metaserver *m;
    meta_command_fn *done;
    void *arg;
};

static void on_command(void *arg, int status, uint64_t index)
{
    struct command *c = arg;
    struct slice body;
    uint16_t code;
    if (status == 0)
        status = find_result(c->m, index, &code, &body);
    if (c->done)
        c->done(c->m, c->arg, status);
    free(c);
}

void meta_propose_command(struct metaserver *m, uint16_t code, struct slice body,
                          meta_command_fn *done, void *arg)
{
    struct command *c = calloc(1, sizeof *c);
    CHECK(c != NULL);
    *c = (struct command){m, done, arg};
    propose(m, code, 0, slice_of("", 0), body, on_command, c);
}
