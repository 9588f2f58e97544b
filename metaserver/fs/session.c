/* Sessions: who they are, the answers they may ask for again (R22), the orphans they hold. */
#include "metaserver/fs/state.h"

#include "common/base/check.h"

#include "common/base/banned.h"

enum { SESSION_NAME_MAX = 255, ANSWER_FIXED_SIZE = 4 };

bool session_exists(struct fs_view *v, uint64_t session)
{
    struct slice value;
    return row_get(v, key_of_u64('W', session), &value) == 0;
}

/* ---- exactly once ---- */

int session_admit(struct fs_view *v, const struct wire_caller *c, struct slice *ret_answer)
{
    struct slice value;
    int status = row_get(v, key_of_u64('W', c->session), &value);
    if (status)
        return status == -ERR_NO_ENTRY ? -ERR_NO_SESSION : status;
    if (value.size != 8)
        return -ERR_CORRUPT;
    uint64_t lowest = load_u64(value.data);
    if (c->lowest_unanswered > lowest)
        lowest = c->lowest_unanswered;
    if (c->sequence == 0 || c->sequence < lowest)
        return -ERR_INVALID;
    if (c->sequence - lowest >= FS_SESSION_WINDOW)
        return -ERR_LIMIT;
#ifndef PLANT_R22
    status = row_get(v, key_of_pair('A', c->session, c->sequence), ret_answer);
    if (status == 0)
        return ret_answer->size < ANSWER_FIXED_SIZE ? -ERR_CORRUPT : 1;
#else
    status = -ERR_NO_ENTRY;
    (void)ret_answer;
#endif
    return status == -ERR_NO_ENTRY ? 0 : status;
}

static void forget_below(struct fs *fs, uint64_t session, uint64_t lowest)
{
    struct slice key, value;
    struct row_key from = key_of_pair('A', session, 0);
    while (row_seek(&fs->writer, from, 9, &key, &value) == 0 && key_u64(key, 9) < lowest)
        row_remove(fs, key_of_pair('A', session, key_u64(key, 9)));
}

static void put_lowest(struct fs *fs, uint64_t session, uint64_t lowest)
{
    uint8_t bytes[8];
    store_u64(bytes, lowest);
    row_put(fs, key_of_u64('W', session), slice_of(bytes, sizeof bytes));
}

void session_remember(struct fs *fs, const struct wire_caller *c, int status, uint16_t code,
                      struct slice body)
{
    struct slice value;
    if (row_get(&fs->writer, key_of_u64('W', c->session), &value))
        return;
    if (c->lowest_unanswered > load_u64(value.data)) {
        put_lowest(fs, c->session, c->lowest_unanswered);
        forget_below(fs, c->session, c->lowest_unanswered);
    }
    struct bytes answer = {0};
    put_u16(&answer, (uint16_t)-status);
    put_u16(&answer, code);
    bytes_append(&answer, body.data, body.size);
    row_put(fs, key_of_pair('A', c->session, c->sequence), bytes_slice(&answer));
    bytes_release(&answer);
}

/* ---- open and end ---- */

static int answer_open(struct op *o, uint64_t session)
{
    const struct fs_state *s = &o->fs->state;
    struct msg_session_open_r reply = {.session = session,
                                       .timeout_ms = FS_SESSION_TIMEOUT_MS,
                                       .copies = s->copies,
                                       .shard_count = s->shard_count};
    encode_session_open_r(o->reply, &reply);
    return 0;
}

int op_session_open(struct op *o, const struct msg_session_open *m)
{
    struct fs_state *s = &o->fs->state;
    struct slice value;
    if (s->copies == 0)
        return -ERR_UNAVAILABLE;
    if (m->name.size > SESSION_NAME_MAX || m->mount.size > LINK_TARGET_MAX)
        return -ERR_NAME_TOO_LONG;
    int status = row_get(o->view, key_of_uuid('U', &m->client), &value);
    if (status == 0 && value.size != 8)
        return -ERR_CORRUPT;
    if (status == 0)
        return o->check_only ? 0 : answer_open(o, load_u64(value.data));
    if (s->session_count >= FS_SESSIONS_MAX)
        return -ERR_LIMIT;
    if (o->check_only)
        return 0;
    uint64_t session = s->session_next++;
    struct bytes row = {0};
    uint8_t id[8];
    put_uuid(&row, m->client);
    put_str(&row, m->name);
    put_str(&row, m->mount);
    store_u64(id, session);
    row_put(o->fs, key_of_u64('S', session), bytes_slice(&row));
    row_put(o->fs, key_of_uuid('U', &m->client), slice_of(id, sizeof id));
    put_lowest(o->fs, session, 0);
    bytes_release(&row);
    s->session_count++;
    return answer_open(o, session);
}

void hold_put(struct fs *fs, uint64_t session, uint64_t inode)
{
    row_put(fs, key_of_pair('H', session, inode), slice_of(NULL, 0));
    row_put(fs, key_of_pair('O', inode, session), slice_of(NULL, 0));
}

void hold_drop(struct op *o, uint64_t session, uint64_t inode)
{
    struct slice key, value;
    struct inode i;
    if (row_get(o->view, key_of_pair('H', session, inode), &value))
        return;
    row_remove(o->fs, key_of_pair('H', session, inode));
    row_remove(o->fs, key_of_pair('O', inode, session));
    if (row_seek(o->view, key_of_u64('O', inode), 9, &key, &value) != -ERR_NO_ENTRY ||
        inode_get(o->view, inode, &i))
        return;
    CHECK(i.nlink == 0);
    o->fs->state.orphan_count--;
    inode_free(o, &i);
}

static int end_session(struct op *o, uint64_t session)
{
    struct slice key, value;
    struct fs *fs = o->fs;
    if (o->check_only)
        return 0;
    if (row_get(o->view, key_of_u64('S', session), &value) == 0 && value.size >= UUID_SIZE) {
        struct uuid client;
        memcpy(client.bytes, value.data, UUID_SIZE);
        while (row_seek(o->view, key_of_u64('H', session), 9, &key, &value) == 0)
            hold_drop(o, session, key_u64(key, 9));
        forget_below(fs, session, UINT64_MAX);
        row_remove(fs, key_of_u64('W', session));
        row_remove(fs, key_of_uuid('U', &client));
        row_remove(fs, key_of_u64('S', session));
        fs->state.session_count--;
        o->result->session_ended = session;
    }
    return reply_done(o);
}

int op_session_close(struct op *o, const struct msg_session_close *m)
{
    return end_session(o, m->session);
}

int op_session_expire(struct op *o, const struct msg_session_expire *m)
{
    return end_session(o, m->session);
}

int op_orphan_release(struct op *o, const struct msg_orphan_release *m)
{
    struct rec_inode_ref ref;
    struct slice cursor = m->inodes.raw;
    if (o->check_only)
        return 0;
    while (rec_inode_ref_next(&cursor, &ref))
        hold_drop(o, m->session, ref.inode);
    return reply_done(o);
}

/* ---- queries of the leader ---- */

static void cut_text(char *ret, size_t capacity, struct slice text)
{
    size_t size = text.size < capacity - 1 ? text.size : capacity - 1;
    memcpy(ret, text.data, size);
    ret[size] = 0;
}

int fs_next_session(struct fs_view *v, uint64_t after, struct fs_session *ret)
{
    struct slice key, value, name, mount;
    struct uuid client;
    if (after == UINT64_MAX)
        return -ERR_NO_ENTRY;
    int status = row_seek(v, key_of_u64('S', after + 1), 1, &key, &value);
    if (status)
        return status;
    struct wire_in in = {value.data, value.data + value.size, WIRE_VERSION};
    if (key.size != 9 || !get_uuid(&in, &client) || !get_str(&in, &name) || !get_str(&in, &mount))
        return -ERR_CORRUPT;
    *ret = (struct fs_session){.id = key_u64(key, 1), .client = client};
    cut_text(ret->name, sizeof ret->name, name);
    cut_text(ret->mount, sizeof ret->mount, mount);
    return 0;
}

int fs_next_hold(struct fs_view *v, uint64_t session, uint64_t after, uint64_t *ret_inode)
{
    struct slice key, value;
    if (after == UINT64_MAX)
        return -ERR_NO_ENTRY;
    int status = row_seek(v, key_of_pair('H', session, after + 1), 9, &key, &value);
    if (status == 0)
        *ret_inode = key_u64(key, 9);
    return status;
}
