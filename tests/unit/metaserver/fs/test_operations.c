/* Each operation's success and errno. */
#include "tests/unit/metaserver/fs/fixture.h"

static struct machine m;

#define ROOT  caller_of(&m, 0, 0)
#define USER  caller_of(&m, 100, 100)
#define OTHER caller_of(&m, 200, 200)

static struct wire_attr entry(void)
{
    struct msg_meta_entry_r r = {0};
    CU_ASSERT_EQUAL(decode_meta_entry_r(m.result.body, WIRE_VERSION, &r), 0);
    return r.attr;
}

static struct wire_attr attr_of(uint64_t inode)
{
    struct wire_attr a = {0};
    CU_ASSERT_EQUAL(fs_get_attr(m.view, inode, &a), 0);
    return a;
}

static uint64_t make_dir(uint64_t parent, const char *name, uint32_t mode)
{
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, parent, S(name), mode), 0);
    return entry().inode;
}

static uint64_t make_file(uint64_t parent, const char *name, uint32_t mode)
{
    CU_ASSERT_EQUAL(APPLY(&m, meta_mknod, ROOT, parent, S(name), S_IFREG | mode), 0);
    return entry().inode;
}

static int rename_as(struct wire_caller c, uint64_t from, const char *name, uint64_t to,
                     const char *new_name, uint32_t flags)
{
    return APPLY(&m, meta_rename, c, from, S(name), to, S(new_name), flags);
}

static void begin(void)
{
    machine_start(&m, kv_mem_create());
    machine_init_cluster(&m);
}

static void end(void)
{
    machine_check(&m);
    machine_stop(&m);
}

/* Names: every refusal of mkdir, and what it makes. */
static void mkdir_and_names(void)
{
    char name[NAME_LENGTH_MAX + 2];
    memset(name, 'x', sizeof name);
    name[NAME_LENGTH_MAX + 1] = 0;
    begin();
    uint64_t dir = make_dir(ROOT_INODE, "d", 02755);
    CU_ASSERT_EQUAL(attr_of(ROOT_INODE).nlink, 3);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, ROOT_INODE, S("d"), 0755), -ERR_EXISTS);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, ROOT_INODE, S(name), 0755), -ERR_NAME_TOO_LONG);
    name[NAME_LENGTH_MAX] = 0;
    make_dir(ROOT_INODE, name, 0755);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, ROOT_INODE, S(""), 0755), -ERR_INVALID);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, ROOT_INODE, S("a/b"), 0755), -ERR_INVALID);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, ROOT_INODE, S(".."), 0755), -ERR_INVALID);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, 999, S("x"), 0755), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, USER, ROOT_INODE, S("x"), 0755), -ERR_ACCESS);
    uint64_t file = make_file(dir, "f", 0644);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, file, S("x"), 0755), -ERR_NOT_DIR);
    /* set-gid is inherited by directories */
    CU_ASSERT_EQUAL(attr_of(make_dir(dir, "sub", 0755)).mode & S_ISGID, S_ISGID);
    CU_ASSERT_EQUAL(ASK(&m, meta_lookup, .parent = dir, .name = S("..")), 0);
    CU_ASSERT_EQUAL(ASK(&m, meta_lookup, .parent = dir, .name = S("nope")), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(ASK(&m, meta_getattr, .inode = 4711), -ERR_STALE_HANDLE);
    CU_ASSERT_EQUAL(ASK(&m, meta_statfs, 0), 0);
    end();
}

/* create: new, existing, exclusive, truncating; mknod of devices only by root; links. */
static void create_mknod_symlink(void)
{
    begin();
    uint64_t pub = make_dir(ROOT_INODE, "pub", 0777);
    struct msg_meta_open_r r;
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, USER, pub, S("f"), 0600, OPEN_WRITE), 0);
    CU_ASSERT_EQUAL(decode_meta_open_r(m.result.body, WIRE_VERSION, &r), 0);
    CU_ASSERT(r.created == 1 && r.attr.uid == 100 && r.attr.chunk_generation == 1);
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, USER, pub, S("f"), 0600, OPEN_EXCLUSIVE), -ERR_EXISTS);
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, OTHER, pub, S("f"), 0600, OPEN_READ), -ERR_ACCESS);
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, USER, pub, S("f"), 0600, OPEN_TRUNCATE), 0);
    CU_ASSERT_EQUAL(decode_meta_open_r(m.result.body, WIRE_VERSION, &r), 0);
    CU_ASSERT_EQUAL(r.created, 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, ROOT, ROOT_INODE, S("pub"), 0600, 0), -ERR_IS_DIR);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mknod, USER, pub, S("c"), S_IFCHR | 0600, 5), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mknod, ROOT, pub, S("c"), S_IFCHR | 0600, 5), 0);
    CU_ASSERT_EQUAL(entry().rdev, 5);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mknod, ROOT, pub, S("bad"), 0600, 5), -ERR_INVALID);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mknod, USER, pub, S("fifo"), S_IFIFO | 0600, 0), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_symlink, USER, pub, S("l"), S("")), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, meta_symlink, USER, pub, S("l"), S("f")), 0);
    uint64_t symlink = entry().inode;
    CU_ASSERT_EQUAL(entry().size, 1);
    CU_ASSERT_EQUAL(ASK(&m, meta_readlink, .inode = symlink), 0);
    CU_ASSERT_EQUAL(ASK(&m, meta_readlink, .inode = pub), -ERR_INVALID);
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, USER, pub, S("l"), 0600, 0), -ERR_LOOP);
    CU_ASSERT_EQUAL(ASK(&m, meta_open, .inode = symlink), -ERR_LOOP);
    CU_ASSERT_EQUAL(ASK(&m, meta_open, .inode = pub, .flags = OPEN_WRITE), -ERR_IS_DIR);
    CU_ASSERT_EQUAL(ASK(&m, meta_open, .inode = r.attr.inode, .flags = OPEN_EXECUTE), -ERR_ACCESS);
    end();
}

/* link, unlink, rmdir: counts, errnos, the sticky bit. */
static void link_unlink_rmdir(void)
{
    begin();
    uint64_t tmp = make_dir(ROOT_INODE, "tmp", 01777), dir = make_dir(tmp, "dir", 0755);
    uint64_t file = make_file(tmp, "a", 0644);
    CU_ASSERT_EQUAL(APPLY(&m, meta_link, ROOT, file, tmp, S("b")), 0);
    CU_ASSERT_EQUAL(entry().nlink, 2);
    CU_ASSERT_EQUAL(APPLY(&m, meta_link, ROOT, file, tmp, S("b")), -ERR_EXISTS);
    CU_ASSERT_EQUAL(APPLY(&m, meta_link, ROOT, dir, tmp, S("c")), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(APPLY(&m, meta_link, ROOT, 999, tmp, S("c")), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, USER, tmp, S("a")), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, tmp, S("dir")), -ERR_IS_DIR);
    CU_ASSERT_EQUAL(APPLY(&m, meta_rmdir, ROOT, tmp, S("a")), -ERR_NOT_DIR);
    CU_ASSERT_EQUAL(APPLY(&m, meta_rmdir, ROOT, ROOT_INODE, S("tmp")), -ERR_NOT_EMPTY);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, tmp, S("a")), 0);
    CU_ASSERT_EQUAL(m.result.freed_count, 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, tmp, S("a")), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, tmp, S("b")), 0);
    CU_ASSERT(m.result.freed_count == 1 && m.result.freed_inode == file);
    CU_ASSERT_EQUAL(APPLY(&m, meta_rmdir, ROOT, tmp, S("dir")), 0);
    CU_ASSERT_EQUAL(attr_of(tmp).nlink, 2);
    end();
}

/* rename: move, replace, exchange, no-replace, rings. */
static void rename_rules(void)
{
    begin();
    uint64_t a = make_dir(ROOT_INODE, "a", 0755), b = make_dir(a, "b", 0755);
    uint64_t f = make_file(ROOT_INODE, "f", 0644), g = make_file(a, "g", 0644);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "a", b, "x", 0), -ERR_INVALID);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "a", a, "x", 0), -ERR_INVALID);
    CU_ASSERT_EQUAL(rename_as(ROOT, a, "b", ROOT_INODE, "a", 0), -ERR_NOT_EMPTY);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "f", ROOT_INODE, "a", 0), -ERR_IS_DIR);
    CU_ASSERT_EQUAL(rename_as(ROOT, a, "b", ROOT_INODE, "f", 0), -ERR_NOT_DIR);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "no", ROOT_INODE, "f", 0), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "f", 99, "f", 0), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(rename_as(USER, ROOT_INODE, "f", a, "q", 0), -ERR_ACCESS);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "f", a, "g", RENAME_FLAG_NOREPLACE), -ERR_EXISTS);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "f", a, "g", 3), -ERR_INVALID);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "f", a, "h", RENAME_FLAG_EXCHANGE), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "a", a, "b", RENAME_FLAG_EXCHANGE), -ERR_INVALID);
    /* a directory and a file change places: links of both parents follow */
    CU_ASSERT_EQUAL(rename_as(ROOT, a, "b", ROOT_INODE, "f", RENAME_FLAG_EXCHANGE), 0);
    CU_ASSERT(attr_of(ROOT_INODE).nlink == 4 && attr_of(a).nlink == 2);
    machine_check(&m);
    CU_ASSERT_EQUAL(rename_as(ROOT, a, "b", a, "g", 0), 0);
    CU_ASSERT_EQUAL(m.result.freed_inode, g);
    /* two names of one file: nothing happens */
    CU_ASSERT_EQUAL(APPLY(&m, meta_link, ROOT, f, a, S("k")), 0);
    CU_ASSERT_EQUAL(rename_as(ROOT, a, "k", a, "g", 0), 0);
    CU_ASSERT_EQUAL(attr_of(f).nlink, 2);
    CU_ASSERT_EQUAL(rename_as(ROOT, a, "k", a, "g", RENAME_FLAG_EXCHANGE), 0);
    CU_ASSERT_EQUAL(attr_of(f).nlink, 2);
    /* an empty directory is replaced */
    make_dir(a, "empty", 0755);
    CU_ASSERT_EQUAL(rename_as(ROOT, ROOT_INODE, "f", a, "empty", 0), 0);
    end();
}

/* setattr: who may, what clears the set-id bits, times. */
static void setattr_rules(void)
{
    begin();
    uint64_t f = make_file(ROOT_INODE, "f", 06777);
#define SET(who, ...) APPLY(&m, meta_setattr, .caller = who, .inode = f, __VA_ARGS__)
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_MODE, .mode = 0), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_UID, .uid = 100), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(SET(ROOT, .valid = SETATTR_UID | SETATTR_GID, .uid = 100, .gid = 100), 0);
    CU_ASSERT_EQUAL(entry().mode & 07777, 0777);
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_GID, .gid = 200), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_GID, .gid = 100), 0);
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_MODE, .mode = 04644), 0);
    CU_ASSERT_EQUAL(SET(OTHER, .valid = SETATTR_SIZE, .size = 9), -ERR_ACCESS);
    CU_ASSERT_EQUAL(SET(OTHER, .valid = SETATTR_MTIME_NOW), -ERR_ACCESS);
    CU_ASSERT_EQUAL(SET(OTHER, .valid = SETATTR_MTIME, .mtime_ns = 5), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_SIZE, .size = 9), 0);
    CU_ASSERT(entry().size == 9 && (entry().mode & S_ISUID) == 0);
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_SIZE, .size = UINT64_MAX), -ERR_FILE_TOO_BIG);
    CU_ASSERT_EQUAL(
        SET(USER, .valid = SETATTR_MTIME | SETATTR_ATIME, .mtime_ns = -5, .atime_ns = 7), 0);
    CU_ASSERT(entry().mtime_ns == -5 && entry().atime_ns == 7);
    /* R25: the leader's clock goes back, the change time does not */
    int64_t before = entry().ctime_ns;
    m.now_ns = 5;
    CU_ASSERT_EQUAL(SET(USER, .valid = SETATTR_MODE, .mode = 0600), 0);
    CU_ASSERT(entry().ctime_ns >= before);
    CU_ASSERT_EQUAL(SET(USER, .valid = 1u << 30), -ERR_INVALID);
    f = ROOT_INODE;
    CU_ASSERT_EQUAL(SET(ROOT, .valid = SETATTR_SIZE), -ERR_IS_DIR);
    f = 4711;
    CU_ASSERT_EQUAL(SET(ROOT, .valid = SETATTR_MODE), -ERR_STALE_HANDLE);
    end();
}

static int commit(uint64_t inode, uint64_t size, uint32_t index, uint32_t generation)
{
    struct rec_chunk_slot slot = {.index = index, .generation = generation};
    return APPLY(&m, meta_commit, ROOT, inode, size, INT64_MIN, {.count = 1, .items = &slot});
}

/* D12, D8: what a truncate dropped cannot come back; the dropped chunks are garbage once. */
static void truncate_drops_chunks(void)
{
    begin();
    uint64_t f = make_file(ROOT_INODE, "f", 0644);
    struct chunk_id second = {f, 1, 1};
    CU_ASSERT_EQUAL(commit(f, CHUNK_SIZE, 0, 1), 0);
    CU_ASSERT_EQUAL(commit(f, 2 * CHUNK_SIZE, 1, 1), 0);
    CU_ASSERT_EQUAL(fs_find_chunk(m.view, &second), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_setattr, ROOT, f, .valid = SETATTR_SIZE, .size = 10), 0);
    CU_ASSERT_EQUAL(entry().chunk_generation, 2);
    CU_ASSERT_EQUAL(fs_find_chunk(m.view, &second), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(commit(f, 0, 1, 1), 0); /* a late commit: ignored */
    CU_ASSERT_EQUAL(fs_find_chunk(m.view, &second), -ERR_NO_ENTRY);
    struct chunk_id first = {f, 0, 1}, renewed = {f, 1, 2};
    CU_ASSERT_EQUAL(fs_find_chunk(m.view, &first), 0);
    CU_ASSERT_EQUAL(commit(f, 2 * CHUNK_SIZE, 1, 2), 0);
    CU_ASSERT_EQUAL(fs_find_chunk(m.view, &renewed), 0);
    struct fs_garbage g;
    CU_ASSERT_EQUAL(fs_next_garbage(m.view, 0, &g), 0);
    CU_ASSERT(chunk_id_equal(&g.id, &second));
    CU_ASSERT_EQUAL(fs_next_garbage(m.view, g.seq, &g), -ERR_NO_ENTRY);
    machine_check(&m);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, ROOT_INODE, S("f")), 0);
    struct fs_status s;
    fs_get_status(m.fs, &s);
    CU_ASSERT(s.garbage_count == 3 && s.file_bytes == 0);
    struct rec_garbage_ref rows[] = {{.seq = 1}, {.seq = 2}, {.seq = 3}, {.seq = 77}};
    CU_ASSERT_EQUAL(APPLY(&m, garbage_done, {.count = 4, .items = rows}), 0);
    fs_get_status(m.fs, &s);
    CU_ASSERT_EQUAL(s.garbage_count, 0);
    end();
}

/* An open file lives on without a name until its holder lets go or its session ends. */
static void orphans_live_with_holders(void)
{
    uint8_t holders[16];
    begin();
    store_u64(holders, m.session);
    store_u64(holders + 8, 999); /* no such session */
    for (int round = 0; round < 2; round++) {
        uint64_t f = make_file(ROOT_INODE, "f", 0644), held;
        m.holders = slice_of(holders, sizeof holders);
        CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, ROOT_INODE, S("f")), 0);
        m.holders = slice_of(NULL, 0);
        CU_ASSERT(m.result.orphan_inode == f && m.result.freed_count == 0);
        CU_ASSERT_EQUAL(attr_of(f).nlink, 0);
        CU_ASSERT_EQUAL(commit(f, 5, 0, 1), 0);
        CU_ASSERT_EQUAL(APPLY(&m, meta_link, ROOT, f, ROOT_INODE, S("z")), -ERR_NO_ENTRY);
        CU_ASSERT(fs_next_hold(m.view, m.session, 0, &held) == 0 && held == f);
        machine_check(&m);
        struct rec_inode_ref ref = {.inode = f};
        if (round == 0)
            CU_ASSERT_EQUAL(APPLY(&m, orphan_release, m.session, {.count = 1, .items = &ref}), 0);
        if (round == 1)
            CU_ASSERT_EQUAL(APPLY(&m, session_expire, m.session), 0);
        CU_ASSERT(m.result.freed_inode == f);
        machine_check(&m);
    }
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, ROOT, ROOT_INODE, S("x")), -ERR_NO_SESSION);
    end();
}

/* Cookies stay valid while names come and go; a page that is full says so. */
static void readdir_cookies_are_stable(void)
{
    char name[16];
    begin();
    for (int i = 0; i < 300; i++) {
        CHECK(snprintf(name, sizeof name, "n%d", i) > 0);
        make_file(ROOT_INODE, name, 0644);
    }
    uint64_t cookie = 0;
    unsigned seen[300] = {0};
    struct msg_meta_readdir_r r = {0};
    for (int page = 0; !r.end && page < 1000; page++) {
        CU_ASSERT_EQUAL_FATAL(
            ASK(&m, meta_readdir, .inode = ROOT_INODE, .cookie = cookie, .bytes_max = 1000), 0);
        CU_ASSERT_EQUAL_FATAL(decode_meta_readdir_r(bytes_slice(&m.out), WIRE_VERSION, &r), 0);
        struct rec_dirent d;
        uint64_t victim = 0;
        for (struct slice at = r.entries.raw; rec_dirent_next(&at, &d);) {
            cookie = d.cookie;
            CU_ASSERT(cookie >= 256 && cookie <= INT64_MAX);
            if (d.name.data[0] == 'n') {
                memcpy(name, d.name.data, d.name.size);
                name[d.name.size] = 0;
                seen[strtoul(name + 1, NULL, 10)]++;
                victim = d.attr.inode;
            }
        }
        if (victim) /* an entry that was seen goes, another comes */
            CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, ROOT_INODE, S(name)), 0);
        CHECK(snprintf(name, sizeof name, "x%d", page) > 0);
        make_file(ROOT_INODE, name, 0644);
    }
    for (int i = 0; i < 300; i++)
        CU_ASSERT_EQUAL(seen[i], 1);
    end();
}

/* Targets register, shards form, a lost one goes offline; the rows follow the mirror. */
static void shard_table_rows_follow(void)
{
    begin();
    CU_ASSERT_EQUAL(APPLY(&m, target_register, .uuid = {{1}}, .incarnation = 1, .name = S("c1"),
                          .address = S("h:1"), .host = S("h1")),
                    0);
    CU_ASSERT(m.result.table_changed);
    CU_ASSERT_EQUAL(APPLY(&m, target_register, .uuid = {{2}}, .incarnation = 2, .name = S("c2"),
                          .address = S("h:2"), .host = S("h2")),
                    0);
    machine_check(&m);
    CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = 2), 0);
    CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = 2), -ERR_EXISTS);
    CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = 5), -ERR_NO_SPACE);
    machine_check(&m);
    CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = 1, .way = FORM_PLAN), 0);
    CU_ASSERT_EQUAL(APPLY(&m, shards_form, .copies = 3, .way = FORM_PLAN + 1), -ERR_INVALID);
    struct rec_target_weight weight = {.target = 2, .weight = 1500, .rebalance = 1};
    CU_ASSERT_EQUAL(APPLY(&m, target_weights, {.count = 1, .items = &weight}), 0);
    const struct target *heavier = shard_table_target(fs_shard_table(m.fs), 2);
    CU_ASSERT(m.result.table_changed && heavier->weight == 1500 && heavier->rebalance);
    machine_check(&m);
    struct rec_target_life life = {.target = 1, .incarnation = 1};
    CU_ASSERT_EQUAL(APPLY(&m, target_offline, {.count = 1, .items = &life}), 0);
    CU_ASSERT(m.result.table_changed && fs_shard_table(m.fs)->version == m.index);
    CU_ASSERT_EQUAL(shard_table_chain(fs_shard_table(m.fs), 2, 0).insync_count, 1);
    machine_check(&m);
    uint64_t version = fs_shard_table(m.fs)->version;
    /* an aborted batch leaves no trace in the mirror */
    bytes_clear(&m.body);
    encode_target_failed(&m.body, &(struct msg_target_failed){.target = 2});
    struct fs_command c = {.code = MSG_target_failed, .body = bytes_slice(&m.body)};
    bytes_clear(&m.envelope);
    fs_command_encode(&c, &m.envelope);
    CU_ASSERT_EQUAL(fs_begin_batch(m.fs), 0);
    CU_ASSERT_EQUAL(fs_apply(m.fs, m.index + 1, 1, bytes_slice(&m.envelope), &m.result), 0);
    fs_abort_batch(m.fs);
    CU_ASSERT_EQUAL(fs_shard_table(m.fs)->version, version);
    CU_ASSERT_EQUAL(ASK(&m, shard_table, .since = 0), 0);
    end();
}

/* R22: a repeat gets the first answer, below the window nothing is executed, the window is bounded.
 */
static void repeats_get_the_first_answer(void)
{
    begin();
    struct wire_caller c = ROOT;
    struct bytes first = {0};
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, c, ROOT_INODE, S("d"), 0755), 0);
    bytes_append(&first, m.result.body.data, m.result.body.size);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, c, ROOT_INODE, S("d"), 0755), 0);
    CU_ASSERT(m.result.repeated && slice_equal(m.result.body, bytes_slice(&first)));
    /* the leader's own check must not refuse what was done: EEXIST would be a lie */
    CU_ASSERT_EQUAL(fs_check_request(m.fs, m.view, MSG_meta_mkdir, bytes_slice(&m.body), &m.result),
                    1);
    CU_ASSERT(m.result.status == 0 && slice_equal(m.result.body, bytes_slice(&first)));
    struct wire_caller next = ROOT;
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, next, ROOT_INODE, S("d"), 0755), -ERR_EXISTS);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, next, ROOT_INODE, S("d"), 0755), -ERR_EXISTS);
    CU_ASSERT(m.result.repeated);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, c, ROOT_INODE, S("d"), 0755), -ERR_INVALID);
    next.sequence = next.lowest_unanswered + FS_SESSION_WINDOW;
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, next, ROOT_INODE, S("e"), 0755), -ERR_LIMIT);
    next.session = 77;
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, next, ROOT_INODE, S("e"), 0755), -ERR_NO_SESSION);
    CU_ASSERT_EQUAL(APPLY(&m, session_open, .client = {{1}}), 0);
    struct msg_session_open_r r;
    CU_ASSERT_EQUAL(decode_session_open_r(m.result.body, WIRE_VERSION, &r), 0);
    CU_ASSERT_EQUAL(r.session, m.session);
    bytes_release(&first);
    end();
}

#define TESTS(T)                  \
    T(mkdir_and_names)            \
    T(create_mknod_symlink)       \
    T(link_unlink_rmdir)          \
    T(rename_rules)               \
    T(setattr_rules)              \
    T(truncate_drops_chunks)      \
    T(orphans_live_with_holders)  \
    T(readdir_cookies_are_stable) \
    T(shard_table_rows_follow)    \
    T(repeats_get_the_first_answer)

CU_TestInfo operation_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
