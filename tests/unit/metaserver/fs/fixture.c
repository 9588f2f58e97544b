/* A state machine to test. */
#include "tests/unit/metaserver/fs/fixture.h"

void machine_start(struct machine *m, struct kv *take_kv)
{
    *m = (struct machine){.now_ns = 1000000000};
    CHECK(fs_open(take_kv, &m->fs) == 0);
    CHECK(fs_view_begin(m->fs, &m->view) == 0);
    struct fs_status s;
    fs_get_status(m->fs, &s);
    m->index = s.applied_index;
}

void machine_init_cluster(struct machine *m)
{
    CU_ASSERT_EQUAL(APPLY(m, cluster_init, .copies = 1, .shard_count = 8, .initial_targets = 1), 0);
    CU_ASSERT_EQUAL(APPLY(m, session_open, .client = {{1}}, .name = S("test"), .mount = S("/m")),
                    0);
    struct msg_session_open_r r;
    CU_ASSERT_EQUAL_FATAL(decode_session_open_r(m->result.body, WIRE_VERSION, &r), 0);
    m->session = r.session;
}

void machine_stop(struct machine *m)
{
    fs_view_end(m->view);
    fs_close(m->fs);
    bytes_release(&m->envelope);
    bytes_release(&m->body);
    bytes_release(&m->out);
}

void machine_check(struct machine *m)
{
    struct err_text why = {""};
    int status = fs_check(m->fs, m->view, &why);
    if (status)
        printf("# fs_check: %s\n", why.text);
    CU_ASSERT_EQUAL_FATAL(status, 0);
}

int machine_apply(struct machine *m, uint16_t code)
{
    struct fs_command c = {
        .code = code, .time_ns = m->now_ns, .holders = m->holders, .body = bytes_slice(&m->body)};
    bytes_clear(&m->envelope);
    fs_command_encode(&c, &m->envelope);
    m->now_ns += 1000;
    CHECK(fs_begin_batch(m->fs) == 0);
    CHECK(fs_apply(m->fs, ++m->index, 1, bytes_slice(&m->envelope), &m->result) == 0);
    CHECK(fs_commit_batch(m->fs) == 0);
    CHECK(fs_view_renew(m->view) == 0);
    return m->result.status;
}

int machine_query(struct machine *m, uint16_t code)
{
    uint16_t reply;
    bytes_clear(&m->out);
    return fs_query(m->fs, m->view, code, bytes_slice(&m->body), &reply, &m->out);
}

struct wire_caller caller_of(struct machine *m, uint32_t uid, uint32_t gid)
{
    m->sequence++;
    return (struct wire_caller){.session = m->session,
                                .sequence = m->sequence,
                                .lowest_unanswered = m->sequence,
                                .uid = uid,
                                .gid = gid};
}

void expect_same_rows(struct kv *a, struct kv *b)
{
    struct kv_view *va, *vb;
    struct kv_cursor *ca, *cb;
    struct slice ka, xa, kb, xb;
    CHECK(a->ops->read_begin(a, &va) == 0 && b->ops->read_begin(b, &vb) == 0);
    CHECK(a->ops->cursor_open(va, &ca) == 0 && b->ops->cursor_open(vb, &cb) == 0);
    int sa = a->ops->seek(ca, slice_of("", 1), &ka, &xa);
    int sb = b->ops->seek(cb, slice_of("", 1), &kb, &xb);
    unsigned rows = 0;
    while (sa == 0 && sb == 0) {
        CU_ASSERT_FATAL(slice_equal(ka, kb) && slice_equal(xa, xb));
        rows++;
        sa = a->ops->next(ca, &ka, &xa);
        sb = b->ops->next(cb, &kb, &xb);
    }
    CU_ASSERT(sa == -ERR_NO_ENTRY && sb == -ERR_NO_ENTRY && rows > 0);
    a->ops->cursor_close(ca);
    b->ops->cursor_close(cb);
    a->ops->read_end(va);
    b->ops->read_end(vb);
}

struct kv *lmdb_in_new_folder(char folder[64])
{
    struct kv *kv;
    CHECK(snprintf(folder, 64, "/tmp/test-fs-XXXXXX") < 64 && mkdtemp(folder) != NULL);
    CHECK(kv_lmdb_open(folder, 64 << 20, &kv) == 0);
    return kv;
}

void remove_folder(const char *folder)
{
    char path[128];
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    for (unsigned i = 0; i < 2; i++) {
        CHECK(snprintf(path, sizeof path, "%s/%s", folder, files[i]) > 0);
        unlink(path);
    }
    rmdir(folder);
}
