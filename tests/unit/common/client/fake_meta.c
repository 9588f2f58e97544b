/* A metaserver of one process for the tests of the client. */
#include "tests/unit/common/client/fake_meta.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/check.h"

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the namespace ---- */

static struct fake_name *find_name(struct fake_meta *m, uint64_t parent, struct slice name)
{
    for (unsigned i = 0; i < FAKE_NAMES; i++)
        if (m->names[i].inode != 0 && m->names[i].parent == parent &&
            slice_equal(slice_str(m->names[i].name), name))
            return &m->names[i];
    return NULL;
}

static void add_name(struct fake_meta *m, uint64_t parent, struct slice name, uint64_t inode)
{
    for (unsigned i = 0; i < FAKE_NAMES; i++)
        if (m->names[i].inode == 0) {
            m->names[i] = (struct fake_name){.parent = parent, .inode = inode};
            memcpy(m->names[i].name, name.data, name.size);
            return;
        }
    abort();
}

static struct fake_inode *inode_of(struct fake_meta *m, uint64_t inode)
{
    return inode > 0 && inode <= m->inode_count && m->inodes[inode].attr.inode == inode
               ? &m->inodes[inode]
               : NULL;
}

static void changed(struct fake_meta *m, struct fake_inode *i, bool data)
{
    CHECK(i != NULL);
    m->index++;
    i->attr.version = m->index;
    i->attr.ctime_ns = now_ns();
    if (data) {
        i->attr.data_version = m->index;
        i->attr.mtime_ns = i->attr.ctime_ns;
    }
}

static struct fake_inode *make_inode(struct fake_meta *m, uint32_t mode, uint32_t uid, uint32_t gid)
{
    CHECK(m->inode_count + 1 < FAKE_INODES);
    struct fake_inode *i = &m->inodes[++m->inode_count];
    *i = (struct fake_inode){.attr = {.inode = m->inode_count,
                                      .mode = mode,
                                      .nlink = S_ISDIR(mode) ? 2 : 1,
                                      .uid = uid,
                                      .gid = gid,
                                      .chunk_generation = 1,
                                      .copies = 1}};
    changed(m, i, true);
    i->attr.atime_ns = i->attr.mtime_ns;
    return i;
}

uint64_t fake_meta_make(struct fake_meta *m, uint64_t parent, const char *name, uint32_t mode)
{
    struct fake_inode *i = make_inode(m, mode, 0, 0);
    add_name(m, parent, slice_str(name), i->attr.inode);
    return i->attr.inode;
}

void fake_meta_touch(struct fake_meta *m, uint64_t inode, uint64_t size)
{
    struct fake_inode *i = inode_of(m, inode);
    CHECK(i != NULL);
    i->attr.size = size;
    changed(m, i, true);
}

uint64_t fake_meta_find(struct fake_meta *m, uint64_t parent, const char *name)
{
    const struct fake_name *n = find_name(m, parent, slice_str(name));
    return n ? n->inode : 0;
}

/* ---- answers ---- */

struct answer {
    int status;
    uint16_t code;
    struct bytes body;
};

static void answer_entry(struct answer *a, const struct fake_inode *i, uint64_t before)
{
    a->code = MSG_meta_entry_r;
    CHECK(i != NULL);
    encode_meta_entry_r(&a->body, &(struct msg_meta_entry_r){.attr = i->attr,
                                                             .index = i->attr.version,
                                                             .data_version_before = before});
}

static void answer_open(struct fake_meta *m, struct answer *a, struct fake_inode *i, bool created)
{
    struct rec_chunk_slot slots[1024];
    unsigned count = i->chunk_count;
    if (m->chunks_first_max != 0 && count > m->chunks_first_max)
        count = m->chunks_first_max;
    for (unsigned n = 0; n < count; n++)
        slots[n] = (struct rec_chunk_slot){.index = n, .generation = 1};
    i->opens++;
    a->code = MSG_meta_open_r;
    encode_meta_open_r(&a->body,
                       &(struct msg_meta_open_r){.attr = i->attr,
                                                 .created = created,
                                                 .chunk_total = i->chunk_count,
                                                 .chunks = {.count = count, .items = slots},
                                                 .index = m->index});
}

static void do_made(struct fake_meta *m, struct answer *a, const struct wire_caller *who,
                    uint64_t parent, struct slice name, uint32_t mode)
{
    if (find_name(m, parent, name)) {
        a->status = -ERR_EXISTS;
        return;
    }
    struct fake_inode *i = make_inode(m, mode, who->uid, who->gid);
    add_name(m, parent, name, i->attr.inode);
    answer_entry(a, i, 0);
}

static void do_gone(struct fake_meta *m, struct answer *a, uint64_t parent, struct slice name)
{
    struct fake_name *n = find_name(m, parent, name);
    if (!n) {
        a->status = -ERR_NO_ENTRY;
        return;
    }
    struct fake_inode *i = inode_of(m, n->inode);
    n->inode = 0;
    CHECK(i != NULL);
    i->attr.nlink = S_ISDIR(i->attr.mode) ? 0 : i->attr.nlink - 1;
    changed(m, i, false);
    answer_entry(a, i, 0);
}

static void do_rename(struct fake_meta *m, struct answer *a, const struct msg_meta_rename *r)
{
    struct fake_name *from = find_name(m, r->parent, r->name);
    struct fake_name *to = find_name(m, r->new_parent, r->new_name);
    struct msg_meta_rename_r out = {.index = m->index};
    if (!from) {
        a->status = -ERR_NO_ENTRY;
        return;
    }
    struct fake_inode *moved = inode_of(m, from->inode);
    CHECK(moved != NULL);
    from->inode = 0;
    changed(m, moved, false);
    if (to) {
        struct fake_inode *old = inode_of(m, to->inode);
        CHECK(old != NULL);
        old->attr.nlink--;
        changed(m, old, false);
        out.replaced = old->attr;
        to->inode = 0;
    }
    add_name(m, r->new_parent, r->new_name, moved->attr.inode);
    out.moved = moved->attr;
    a->code = MSG_meta_rename_r;
    encode_meta_rename_r(&a->body, &out);
}

static void do_setattr(struct fake_meta *m, struct answer *a, const struct msg_meta_setattr *r)
{
    struct fake_inode *i = inode_of(m, r->inode);
    if (!i) {
        a->status = -ERR_STALE_HANDLE;
        return;
    }
    uint64_t before = i->attr.data_version;
    if (r->valid & SETATTR_MODE)
        i->attr.mode = (i->attr.mode & S_IFMT) | r->mode;
    if (r->valid & SETATTR_UID)
        i->attr.uid = r->uid;
    if (r->valid & SETATTR_GID)
        i->attr.gid = r->gid;
    changed(m, i, (r->valid & SETATTR_SIZE) != 0);
    if (r->valid & SETATTR_SIZE)
        i->attr.size = r->size;
    if ((r->valid & SETATTR_SIZE) && r->size == 0)
        i->chunk_count = 0;
    if (r->valid & SETATTR_MTIME)
        i->attr.mtime_ns = r->mtime_ns;
    if (r->valid & SETATTR_ATIME)
        i->attr.atime_ns = r->atime_ns;
    answer_entry(a, i, before);
}

static void do_commit(struct fake_meta *m, struct answer *a, const struct msg_meta_commit *r)
{
    struct fake_inode *i = inode_of(m, r->inode);
    if (!i) {
        a->status = -ERR_STALE_HANDLE;
        return;
    }
    uint64_t before = i->attr.data_version;
    changed(m, i, true);
    if (r->size_min > i->attr.size)
        i->attr.size = r->size_min;
    if (r->mtime_ns != INT64_MIN)
        i->attr.mtime_ns = r->mtime_ns;
    i->chunk_count += r->added.count;
    answer_entry(a, i, before);
}

static void do_readdir(struct fake_meta *m, struct answer *a, const struct msg_meta_readdir *r)
{
    struct rec_dirent entries[512];
    unsigned count = 0, at = (unsigned)r->cookie;
    size_t bytes = 0;
    for (; at < FAKE_NAMES && count < 512 && bytes < r->bytes_max; at++)
        if (m->names[at].inode != 0 && m->names[at].parent == r->inode) {
            entries[count++] = (struct rec_dirent){
                .cookie = at + 1,
                .name = slice_str(m->names[at].name),
                .attr = m->inodes[m->names[at].inode].attr,
            };
            bytes += 100 + strlen(m->names[at].name);
        }
    a->code = MSG_meta_readdir_r;
    encode_meta_readdir_r(
        &a->body, &(struct msg_meta_readdir_r){.entries = {.count = count, .items = entries},
                                               .end = at == FAKE_NAMES});
}

static void do_chunks(struct fake_meta *m, struct answer *a, const struct msg_meta_chunks *r)
{
    struct rec_chunk_slot slots[64];
    const struct fake_inode *i = inode_of(m, r->inode);
    unsigned count = 0;
    uint32_t n = r->first_index;
    for (; i && n < i->chunk_count && count < 64; n++)
        slots[count++] = (struct rec_chunk_slot){.index = n, .generation = 1};
    a->code = MSG_meta_chunks_r;
    encode_meta_chunks_r(&a->body,
                         &(struct msg_meta_chunks_r){.chunks = {.count = count, .items = slots},
                                                     .end = !i || n >= i->chunk_count,
                                                     .copies = 1});
}

/* ---- requests ---- */

#define DECODE(name, req) \
    struct msg_##name r;  \
    CHECK(decode_##name((req)->body, (req)->version, &r) == 0)

static void do_create(struct fake_meta *m, struct answer *a, const struct rpc_request *req)
{
    DECODE(meta_create, req);
    struct fake_name *n = find_name(m, r.parent, r.name);
    if (n && (r.flags & OPEN_EXCLUSIVE)) {
        a->status = -ERR_EXISTS;
        return;
    }
    struct fake_inode *i =
        n ? inode_of(m, n->inode) : make_inode(m, S_IFREG | r.mode, r.caller.uid, r.caller.gid);
    if (!n)
        add_name(m, r.parent, r.name, i->attr.inode);
    answer_open(m, a, i, !n);
}

static void do_open(struct fake_meta *m, struct answer *a, const struct rpc_request *req)
{
    DECODE(meta_open, req);
    struct fake_inode *i = inode_of(m, r.inode);
    if (!i) {
        a->status = -ERR_STALE_HANDLE;
        return;
    }
    answer_open(m, a, i, false);
}

static void do_names(struct fake_meta *m, struct answer *a, const struct rpc_request *req)
{
    switch (req->code) {
    case MSG_meta_mkdir: {
        DECODE(meta_mkdir, req);
        do_made(m, a, &r.caller, r.parent, r.name, S_IFDIR | r.mode);
        return;
    }
    case MSG_meta_mknod: {
        DECODE(meta_mknod, req);
        do_made(m, a, &r.caller, r.parent, r.name, r.mode);
        return;
    }
    case MSG_meta_symlink: {
        DECODE(meta_symlink, req);
        do_made(m, a, &r.caller, r.parent, r.name, S_IFLNK | 0777);
        if (a->status == 0)
            memcpy(m->inodes[m->inode_count].target, r.link_target.data, r.link_target.size);
        return;
    }
    case MSG_meta_link: {
        DECODE(meta_link, req);
        struct fake_inode *i = inode_of(m, r.inode);
        CHECK(i != NULL);
        i->attr.nlink++;
        changed(m, i, false);
        add_name(m, r.parent, r.name, r.inode);
        answer_entry(a, i, 0);
        return;
    }
    case MSG_meta_unlink:
    case MSG_meta_rmdir: { /* of the same fields */
        DECODE(meta_unlink, req);
        do_gone(m, a, r.parent, r.name);
        return;
    }
    case MSG_meta_rename: {
        DECODE(meta_rename, req);
        do_rename(m, a, &r);
        return;
    }
    default:
        a->status = -ERR_NOT_SUPPORTED;
    }
}

static void do_read(struct fake_meta *m, struct answer *a, const struct rpc_request *req)
{
    switch (req->code) {
    case MSG_meta_lookup: {
        DECODE(meta_lookup, req);
        const struct fake_name *n = find_name(m, r.parent, r.name);
        a->status = n ? 0 : -ERR_NO_ENTRY;
        if (n)
            answer_entry(a, inode_of(m, n->inode), 0);
        return;
    }
    case MSG_meta_getattr: {
        DECODE(meta_getattr, req);
        const struct fake_inode *i = inode_of(m, r.inode);
        a->status = i ? 0 : -ERR_STALE_HANDLE;
        if (i)
            answer_entry(a, i, 0);
        return;
    }
    case MSG_meta_readlink: {
        DECODE(meta_readlink, req);
        a->code = MSG_meta_readlink_r;
        encode_meta_readlink_r(&a->body, &(struct msg_meta_readlink_r){
                                             .link_target = slice_str(m->inodes[r.inode].target)});
        return;
    }
    case MSG_meta_readdir: {
        DECODE(meta_readdir, req);
        do_readdir(m, a, &r);
        return;
    }
    default: {
        DECODE(meta_chunks, req);
        do_chunks(m, a, &r);
    }
    }
}

static void execute(struct fake_meta *m, struct answer *a, const struct rpc_request *req)
{
    switch (req->code) {
    case MSG_meta_create:
        do_create(m, a, req);
        return;
    case MSG_meta_open:
        do_open(m, a, req);
        return;
    case MSG_meta_setattr: {
        DECODE(meta_setattr, req);
        do_setattr(m, a, &r);
        return;
    }
    case MSG_meta_commit: {
        DECODE(meta_commit, req);
        do_commit(m, a, &r);
        return;
    }
    case MSG_meta_set_copies: {
        DECODE(meta_set_copies, req);
        struct fake_inode *i = inode_of(m, r.inode);
        CHECK(i != NULL);
        i->attr.copies = r.copies;
        changed(m, i, false);
        answer_entry(a, i, 0);
        return;
    }
    case MSG_meta_lookup:
    case MSG_meta_getattr:
    case MSG_meta_readlink:
    case MSG_meta_readdir:
    case MSG_meta_chunks:
        do_read(m, a, req);
        return;
    default:
        do_names(m, a, req);
    }
}

static void send(struct rpc_request *req, struct answer *a)
{
    if (a->status != 0)
        rpc_reply_error(req, a->status, "", NULL);
    else
        rpc_reply(req, a->code, bytes_slice(&a->body), NULL, 0);
}

/* Requests with a caller: session, exactly once, then the work. */
static void with_caller(struct fake_meta *m, struct rpc_request *req)
{
    uint64_t session = load_u64(req->body.data), sequence = load_u64(req->body.data + 8);
    uint64_t lowest = load_u64(req->body.data + 16);
    if (session != m->session) {
        rpc_reply_error(req, -ERR_NO_SESSION, "", NULL);
        return;
    }
    if (sequence != 0) {
        m->last_sequence = sequence;
        m->last_lowest = lowest;
        m->lowest_wrong += lowest > sequence;
    }
    for (unsigned i = 0; sequence != 0 && i < FAKE_ANSWERS; i++) {
        const struct fake_answer *known = &m->answers[i];
        if (known->session == session && known->sequence == sequence) {
            struct answer a = {.status = known->status, .code = known->code, .body = known->body};
            m->repeated++;
            send(req, &a);
            return;
        }
    }
    struct answer a = {0};
    execute(m, &a, req);
    if (sequence == 0) {
        send(req, &a);
        bytes_release(&a.body);
        return;
    }
    m->executed++;
    struct fake_answer *keep = &m->answers[m->answer_count++ % FAKE_ANSWERS];
    bytes_release(&keep->body);
    *keep = (struct fake_answer){session, sequence, a.code, a.status, a.body};
    if (m->lose_answers > 0) {
        m->lose_answers--;
        rpc_server_disconnect(m->server, req->remote->connection);
        rpc_request_drop(req);
        return;
    }
    send(req, &a);
}

static void on_alive(struct fake_meta *m, struct rpc_request *req)
{
    DECODE(session_alive, req);
    if (r.session != m->session) {
        rpc_reply_error(req, -ERR_NO_SESSION, "", NULL);
        return;
    }
    if (r.reclaim) {
        struct slice cursor = r.open.raw;
        struct rec_inode_ref ref;
        m->reclaims++;
        m->reclaimed_inodes = r.open.count;
        m->want_reclaim = false;
        for (unsigned i = 1; i <= m->inode_count; i++)
            m->inodes[i].opens = 0;
        while (rec_inode_ref_next(&cursor, &ref))
            m->inodes[ref.inode].opens = ref.count;
    }
    struct bytes body = {0};
    encode_session_alive_r(
        &body, &(struct msg_session_alive_r){.term = 1, .want_reclaim = m->want_reclaim});
    rpc_reply(req, MSG_session_alive_r, bytes_slice(&body), NULL, 0);
    bytes_release(&body);
}

static void on_release(struct fake_meta *m, struct rpc_request *req)
{
    DECODE(meta_release, req);
    struct slice cursor = r.open.raw;
    struct rec_inode_ref ref;
    while (rec_inode_ref_next(&cursor, &ref))
        m->inodes[ref.inode].opens -= ref.count;
    rpc_reply(req, MSG_done_r, slice_of("\0\0\0\0\0\0\0\0", 8), NULL, 0);
}

static void plain(struct fake_meta *m, struct rpc_request *req)
{
    struct bytes body = {0};
    uint16_t code = MSG_done_r;
    if (req->code == MSG_session_open) {
        m->session = ++m->sessions_opened + 100;
        code = MSG_session_open_r;
        encode_session_open_r(
            &body, &(struct msg_session_open_r){
                       .session = m->session, .timeout_ms = 1800, .copies = 1, .shard_count = 4});
    } else if (req->code == MSG_shard_table) {
        code = MSG_shard_table_r;
        encode_shard_table_r(
            &body, &(struct msg_shard_table_r){.version = m->table_version, .shard_count = 4});
    } else if (req->code == MSG_meta_statfs) {
        code = MSG_meta_statfs_r;
        encode_meta_statfs_r(&body, &(struct msg_meta_statfs_r){.bytes_total = 1 << 30,
                                                                .bytes_free = 1 << 29,
                                                                .file_count = m->inode_count,
                                                                .files_free = 1000});
    } else {
        encode_done_r(&body, &(struct msg_done_r){0});
    }
    rpc_reply(req, code, bytes_slice(&body), NULL, 0);
    bytes_release(&body);
}

static bool misbehave(struct fake_meta *m, struct rpc_request *req)
{
    bool is_session = (req->code >= MSG_session_open && req->code <= MSG_session_close) ||
                      req->code == MSG_meta_member;
    if (m->mute) {
        rpc_request_drop(req);
        return true;
    }
    if (m->fail_count == 0 || is_session || (m->fail_code != 0 && m->fail_code != req->code))
        return false;
    m->fail_count--;
    rpc_reply_error(req, m->fail_status, "told to", NULL);
    return true;
}

static void dispatch(void *arg, struct rpc_request *req)
{
    struct fake_meta *m = arg;
    m->calls[req->code]++;
    if (misbehave(m, req))
        return;
    if (req->code == MSG_session_alive)
        on_alive(m, req);
    else if (req->code == MSG_meta_release)
        on_release(m, req);
    else if (req->code == MSG_session_open || req->code == MSG_session_close ||
             req->code == MSG_shard_table || req->code == MSG_meta_statfs ||
             req->code == MSG_meta_member) /* which gets an answer of no use */
        plain(m, req);
    else
        with_caller(m, req);
}

static uint64_t table_version(void *arg)
{
    const struct fake_meta *m = arg;
    return m->table_version;
}

struct fake_meta *fake_meta_create(struct loop *loop)
{
    struct fake_meta *m = calloc(1, sizeof *m);
    struct err_text why = {""};
    CHECK(m);
    m->loop = loop;
    m->table_version = 1;
    m->identity = (struct rpc_identity){.cluster = uuid_make(), .role = ROLE_META, .node = 1};
    make_inode(m, S_IFDIR | 0755, 0, 0);
    struct rpc_server_options options = {.address = "127.0.0.1:0",
                                         .identity = &m->identity,
                                         .dispatch = dispatch,
                                         .table_version = table_version,
                                         .arg = m};
    CHECK(rpc_server_create(loop, &options, &m->server, &why) == 0);
    return m;
}

void fake_meta_destroy(struct fake_meta *m)
{
    rpc_server_destroy(m->server);
    for (unsigned i = 0; i < FAKE_ANSWERS; i++)
        bytes_release(&m->answers[i].body);
    free(m);
}

void fake_meta_expire(struct fake_meta *m)
{
    m->session = 0;
}
