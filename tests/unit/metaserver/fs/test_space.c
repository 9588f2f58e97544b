/* R21: a store without room in the middle of any command leaves the state of the last batch, and
 * the same entry applied again gives what it gives elsewhere. */
#include "tests/unit/metaserver/fs/fixture.h"

static struct kv_ops failing_ops;
static const struct kv_ops *real_ops;
static unsigned calls_left; /* until the store has no room; then it answers nothing more */
static bool is_full, was_full;
static unsigned failure_count;

static bool fails(void)
{
    if (calls_left == 0)
        is_full = was_full = true;
    else
        calls_left--;
    return is_full;
}

static int failing_put(struct kv *kv, struct slice key, struct slice value)
{
    return fails() ? -ERR_NO_SPACE : real_ops->put(kv, key, value);
}

static int failing_remove(struct kv *kv, struct slice key)
{
    return fails() ? -ERR_NO_SPACE : real_ops->remove(kv, key);
}

/* LMDB refuses everything in a transaction that met an error. */
static int failing_get(struct kv_view *view, struct slice key, struct slice *ret_value)
{
    return is_full ? -ERR_IO : real_ops->get(view, key, ret_value);
}

static int failing_seek(struct kv_cursor *cursor, struct slice key, struct slice *ret_key,
                        struct slice *ret_value)
{
    return is_full ? -ERR_IO : real_ops->seek(cursor, key, ret_key, ret_value);
}

static int failing_next(struct kv_cursor *cursor, struct slice *ret_key, struct slice *ret_value)
{
    return is_full ? -ERR_IO : real_ops->next(cursor, ret_key, ret_value);
}

static int failing_commit(struct kv *kv)
{
    if (!fails())
        return real_ops->commit(kv);
    real_ops->abort(kv);
    is_full = false;
    return -ERR_NO_SPACE;
}

static void failing_abort(struct kv *kv)
{
    real_ops->abort(kv);
    is_full = false;
}

static struct kv *make_failing(struct kv *kv)
{
    real_ops = kv->ops;
    failing_ops = *kv->ops;
    failing_ops.put = failing_put;
    failing_ops.remove = failing_remove;
    failing_ops.get = failing_get;
    failing_ops.seek = failing_seek;
    failing_ops.next = failing_next;
    failing_ops.commit = failing_commit;
    failing_ops.abort = failing_abort;
    kv->ops = &failing_ops;
    calls_left = UINT32_MAX;
    is_full = false;
    return kv;
}

static int try_batch(struct machine *m, const struct machine *good)
{
    CU_ASSERT_EQUAL_FATAL(fs_begin_batch(m->fs), 0);
    int status = fs_apply(m->fs, good->index, 1, bytes_slice(&good->envelope), &m->result);
    return status != 0 ? status : fs_commit_batch(m->fs);
}

/* What `good` has just applied, with the room ending before each write of it in turn. */
static void follow(struct machine *m, const struct machine *good)
{
    struct fs_status before, after;
    fs_get_status(m->fs, &before);
    for (unsigned room = 0;; room++) {
        calls_left = room;
        was_full = false;
        int status = try_batch(m, good);
        calls_left = UINT32_MAX;
        CU_ASSERT_EQUAL_FATAL(fs_view_renew(m->view), 0);
        if (!was_full) {
            CU_ASSERT_EQUAL_FATAL(status, 0);
            break;
        }
        failure_count++;
        fs_get_status(m->fs, &after);
        CU_ASSERT_EQUAL_FATAL(status, -ERR_NO_SPACE);
        CU_ASSERT_EQUAL(after.applied_index, before.applied_index);
        CU_ASSERT_EQUAL(after.state_hash, before.state_hash);
        machine_check(m);
    }
    CU_ASSERT_EQUAL(m->result.status, good->result.status);
    CU_ASSERT(slice_equal(m->result.body, good->result.body));
    m->index = good->index;
}

#define BOTH(name, ...)                        \
    do {                                       \
        (void)APPLY(&good, name, __VA_ARGS__); \
        follow(m, &good);                      \
    } while (0)

static void tell_story(struct machine *m)
{
    struct machine good;
    struct msg_meta_entry_r entry;
    struct rec_chunk_slot slot = {.index = 0, .generation = 1};
    machine_start(&good, kv_mem_create());
    BOTH(cluster_init, .copies = 1, .shard_count = 8, .initial_targets = 1);
    BOTH(session_open, .client = {{1}}, .name = S("test"), .mount = S("/m"));
    struct msg_session_open_r session;
    CU_ASSERT_EQUAL_FATAL(decode_session_open_r(good.result.body, WIRE_VERSION, &session), 0);
    good.session = session.session;
    BOTH(target_register, .uuid = {{9}}, .name = S("c1"), .address = S("127.0.0.1:1"),
         .host = S("h"), .incarnation = 1);
    BOTH(shards_form, .copies = 1);
    BOTH(meta_mkdir, caller_of(&good, 0, 0), ROOT_INODE, S("a"), 0755);
    BOTH(meta_mknod, caller_of(&good, 0, 0), ROOT_INODE, S("f"), S_IFREG | 0644, 0);
    CU_ASSERT_EQUAL_FATAL(decode_meta_entry_r(good.result.body, WIRE_VERSION, &entry), 0);
    BOTH(meta_commit, .caller = caller_of(&good, 0, 0), .inode = entry.attr.inode, .size_min = 4096,
         .mtime_ns = INT64_MIN, .added = {.count = 1, .items = &slot});
    BOTH(meta_link, caller_of(&good, 0, 0), entry.attr.inode, ROOT_INODE, S("g"));
    BOTH(meta_symlink, .caller = caller_of(&good, 0, 0), .parent = ROOT_INODE, .name = S("s"),
         .link_target = S("f"));
    BOTH(meta_rename, .caller = caller_of(&good, 0, 0), .parent = ROOT_INODE, .name = S("f"),
         .new_parent = ROOT_INODE, .new_name = S("s"));
    BOTH(meta_setattr, .caller = caller_of(&good, 0, 0), .inode = entry.attr.inode,
         .valid = SETATTR_SIZE, .size = 0);
    BOTH(meta_unlink, caller_of(&good, 0, 0), ROOT_INODE, S("g"));
    BOTH(meta_unlink, caller_of(&good, 0, 0), ROOT_INODE, S("s"));
    BOTH(meta_rmdir, caller_of(&good, 0, 0), ROOT_INODE, S("a"));
    struct rec_target_weight weight = {.target = 1, .weight = 1500};
    BOTH(target_weights, {.count = 1, .items = &weight});
    BOTH(target_failed, .target = 1);
    BOTH(session_close, .session = good.session);
    machine_stop(&good);
}

static void no_room_in_any_command(void)
{
    struct machine m;
    char folder[64];
    failure_count = 0;
    machine_start(&m, make_failing(lmdb_in_new_folder(folder)));
    tell_story(&m);
    machine_stop(&m);
    remove_folder(folder);
    printf("# no room: %u places\n", failure_count);
    CU_ASSERT(failure_count > 100);
}

/* The map itself is full: LMDB's own errors. What was kept is right, again and again. */
static void full_map(void)
{
    char folder[64], name[32];
    struct machine m;
    struct kv *kv;
    struct fs_status status;
    CHECK(snprintf(folder, sizeof folder, "/tmp/test-fs-XXXXXX") < 64 && mkdtemp(folder) != NULL);
    CU_ASSERT_EQUAL_FATAL(kv_lmdb_open(folder, 1 << 20, &kv), 0);
    machine_start(&m, kv); /* its view is open, so the map does not grow */
    machine_init_cluster(&m);
    int result = 0;
    unsigned made = 0, refused = 0;
    for (unsigned i = 0; refused < 20 && i < 100000; i++) {
        CHECK(snprintf(name, sizeof name, "name%u", i) > 0);
        bytes_clear(&m.body);
        encode_meta_mknod(&m.body, &(struct msg_meta_mknod){.caller = caller_of(&m, 0, 0),
                                                            .parent = ROOT_INODE,
                                                            .name = S(name),
                                                            .mode = S_IFREG | 0644});
        struct fs_command c = {
            .code = MSG_meta_mknod, .time_ns = m.now_ns, .body = bytes_slice(&m.body)};
        bytes_clear(&m.envelope);
        fs_command_encode(&c, &m.envelope);
        CU_ASSERT_EQUAL_FATAL(fs_begin_batch(m.fs), 0);
        result = fs_apply(m.fs, m.index + 1, 1, bytes_slice(&m.envelope), &m.result);
        if (result == 0)
            result = fs_commit_batch(m.fs);
        CU_ASSERT_EQUAL_FATAL(fs_view_renew(m.view), 0);
        m.index += result == 0;
        made += result == 0;
        refused += result == -ERR_NO_SPACE;
        CU_ASSERT_FATAL(result == 0 || result == -ERR_NO_SPACE);
    }
    fs_get_status(m.fs, &status);
    printf("# full map: %u made\n", made);
    CU_ASSERT(refused == 20 && made > 100);
    CU_ASSERT_EQUAL(status.applied_index, m.index);
    CU_ASSERT_EQUAL(status.file_count, made);
    machine_check(&m);
    machine_stop(&m);
    CU_ASSERT_EQUAL_FATAL(kv_lmdb_open(folder, 4 << 20, &kv), 0); /* a larger one goes on */
    machine_start(&m, kv);
    CU_ASSERT_EQUAL(APPLY(&m, session_open, .client = {{2}}, .name = S("again"), .mount = S("/m")),
                    0);
    machine_check(&m);
    machine_stop(&m);
    remove_folder(folder);
}

CU_TestInfo space_tests[] = {
    {"no_room_in_any_command", no_room_in_any_command}, {"full_map", full_map}, CU_TEST_INFO_NULL};
