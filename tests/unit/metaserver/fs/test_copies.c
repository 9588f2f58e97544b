/* Numbers of copies: who may set them, who inherits them, and moving a file into another table
 * (docs/replicas.md). */
#include "tests/unit/metaserver/fs/fixture.h"

static struct machine m;

#define ROOT caller_of(&m, 0, 0)
#define USER caller_of(&m, 100, 100)

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

static uint64_t make(struct wire_caller c, uint64_t parent, const char *name, uint32_t mode)
{
    CU_ASSERT_EQUAL(APPLY(&m, meta_mknod, c, parent, S(name), mode), 0);
    return entry().inode;
}

static int set(struct wire_caller c, uint64_t inode, uint8_t copies)
{
    return APPLY(&m, meta_set_copies, c, inode, copies);
}

/* `known`: the generation that the writer's chunk map came with. */
static int commit(uint64_t inode, uint32_t index, uint32_t generation, uint32_t known)
{
    struct rec_chunk_slot slot = {.index = index, .generation = generation};
    uint64_t size = (uint64_t)(index + 1) * CHUNK_SIZE;
    return APPLY(&m, meta_commit, ROOT, inode, size, INT64_MIN, {.count = 1, .items = &slot},
                 known);
}

static int move_begin(uint64_t inode, uint8_t copies, struct msg_meta_move_begin_r *ret)
{
    int status = APPLY(&m, meta_move_begin, ROOT, inode, copies);
    if (status == 0)
        CU_ASSERT_EQUAL(decode_meta_move_begin_r(m.result.body, WIRE_VERSION, ret), 0);
    return status;
}

static int move_end(const struct msg_meta_move_begin_r *b, uint8_t copies)
{
    return APPLY(&m, meta_move_end, ROOT, b->attr.inode, copies, b->generation, b->chunk_total,
                 b->attr.data_version);
}

/* New entries inherit, what is there stays; the owner and root may, others may not. */
static void directories_are_inherited(void)
{
    begin();
    CU_ASSERT_EQUAL(fs_copies_wanted(m.fs), 1u << 1);
    uint64_t dir = make(ROOT, ROOT_INODE, "d", S_IFDIR | 0777);
    uint64_t old = make(USER, dir, "old", S_IFREG | 0644);
    CU_ASSERT_EQUAL(set(USER, dir, 3), -ERR_PERMISSION);
    CU_ASSERT_EQUAL(set(ROOT, dir, 0), -ERR_INVALID);
    CU_ASSERT_EQUAL(set(ROOT, dir, COPIES_MAX + 1), -ERR_INVALID);
    CU_ASSERT_EQUAL(set(ROOT, 4711, 3), -ERR_STALE_HANDLE);
    CU_ASSERT_EQUAL(fs_copies_wanted(m.fs), 1u << 1);
    CU_ASSERT_EQUAL(set(ROOT, dir, 3), 0);
    CU_ASSERT_EQUAL(entry().copies, 3);
    CU_ASSERT_EQUAL(fs_copies_wanted(m.fs), 1u << 1 | 1u << 3);
    CU_ASSERT_EQUAL(attr_of(old).copies, 1);
    CU_ASSERT_EQUAL(attr_of(make(USER, dir, "new", S_IFREG | 0644)).copies, 3);
    uint64_t sub = make(USER, dir, "sub", S_IFDIR | 0755);
    CU_ASSERT_EQUAL(attr_of(make(USER, sub, "deep", S_IFREG | 0644)).copies, 3);
    CU_ASSERT_EQUAL(set(USER, sub, 2), 0);
    CU_ASSERT_EQUAL(attr_of(make(USER, sub, "deeper", S_IFREG | 0644)).copies, 2);
    CU_ASSERT_EQUAL(attr_of(dir).copies, 3);
    CU_ASSERT_EQUAL(APPLY(&m, meta_symlink, ROOT, dir, S("link"), S("old")), 0);
    CU_ASSERT_EQUAL(set(ROOT, entry().inode, 2), -ERR_INVALID);
    end();
}

/* What is wanted outlives a restart, and a batch that is taken back leaves nothing. */
static void wanted_tables_are_kept(void)
{
    char folder[64];
    machine_start(&m, lmdb_in_new_folder(folder));
    machine_init_cluster(&m);
    CU_ASSERT_EQUAL(set(ROOT, ROOT_INODE, 5), 0);
    bytes_clear(&m.body);
    struct msg_meta_set_copies body = {ROOT, ROOT_INODE, 4};
    encode_meta_set_copies(&m.body, &body);
    struct fs_command c = {.code = MSG_meta_set_copies, .body = bytes_slice(&m.body)};
    bytes_clear(&m.envelope);
    fs_command_encode(&c, &m.envelope);
    CU_ASSERT_EQUAL(fs_begin_batch(m.fs), 0);
    CU_ASSERT_EQUAL(fs_apply(m.fs, m.index + 1, 1, bytes_slice(&m.envelope), &m.result), 0);
    CU_ASSERT_EQUAL(fs_copies_wanted(m.fs), 1u << 1 | 1u << 4 | 1u << 5);
    fs_abort_batch(m.fs);
    CU_ASSERT_EQUAL(fs_copies_wanted(m.fs), 1u << 1 | 1u << 5);
    machine_check(&m);
    machine_stop(&m);
    struct kv *again;
    CU_ASSERT_EQUAL_FATAL(kv_lmdb_open(folder, 64 << 20, &again), 0);
    machine_start(&m, again);
    CU_ASSERT_EQUAL(fs_copies_wanted(m.fs), 1u << 1 | 1u << 5);
    end();
    remove_folder(folder);
}

/* The slots change in one entry; what they named is garbage of the old table; contents, size and
 * mtime stay, kept chunk maps do not. */
static void moves_switch_all_chunks(void)
{
    struct msg_meta_move_begin_r b;
    struct fs_garbage g = {0};
    begin();
    uint64_t f = make(ROOT, ROOT_INODE, "f", S_IFREG | 0644);
    CU_ASSERT_EQUAL(move_begin(f, 3, &b), -ERR_INVALID); /* nothing to move */
    CU_ASSERT(commit(f, 0, 1, 1) == 0 && commit(f, 2, 1, 1) == 0 && commit(f, 300, 1, 1) == 0);
    struct wire_attr before = attr_of(f);
    CU_ASSERT_EQUAL(set(ROOT, f, 3), -ERR_NOT_EMPTY_STATE);
    CU_ASSERT_EQUAL(move_begin(f, 1, &b), -ERR_INVALID);
    CU_ASSERT_EQUAL(move_begin(f, 3, &b), 0);
    CU_ASSERT(b.generation == 2 && b.chunk_total == 3 && b.attr.chunk_generation == 3);
    CU_ASSERT_EQUAL(fs_copies_wanted(m.fs), 1u << 1 | 1u << 3); /* formed before the first write */
    struct chunk_id old = {f, 2, 1}, made = {f, 2, 2};
    CU_ASSERT(fs_find_chunk(m.view, &old) == 0 && fs_find_chunk(m.view, &made) == 0);
    machine_check(&m);
    CU_ASSERT_EQUAL(move_end(&b, 3), 0);
    struct wire_attr after = entry();
    CU_ASSERT(after.copies == 3 && after.size == before.size && after.mtime_ns == before.mtime_ns);
    CU_ASSERT(after.data_version > before.data_version && after.chunk_generation == 4);
    CU_ASSERT(fs_find_chunk(m.view, &old) == -ERR_NO_ENTRY && fs_find_chunk(m.view, &made) == 0);
    unsigned count = 0;
    while (fs_next_garbage(m.view, g.seq, &g) == 0) {
        CU_ASSERT(g.copies == 1 && g.id.generation == 1);
        count++;
    }
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_EQUAL(move_end(&b, 3), -ERR_INVALID); /* it is there */
    CU_ASSERT_EQUAL(ASK(&m, meta_chunks, .inode = f, .count_max = 10), 0);
    struct msg_meta_chunks_r r;
    CU_ASSERT_EQUAL(decode_meta_chunks_r(bytes_slice(&m.out), WIRE_VERSION, &r), 0);
    CU_ASSERT(r.copies == 3 && r.generation == 4 && r.chunks.count == 3 && r.end);
    CU_ASSERT_EQUAL(APPLY(&m, meta_unlink, ROOT, ROOT_INODE, S("f")), 0);
    struct fs_status s;
    fs_get_status(m.fs, &s);
    CU_ASSERT_EQUAL(s.garbage_count, 6);
    end();
}

/* Whatever was written, or may be, since the begin makes what was copied worthless. */
static void moves_end_only_undisturbed(void)
{
    struct msg_meta_move_begin_r b, other;
    begin();
    uint64_t f = make(ROOT, ROOT_INODE, "f", S_IFREG | 0644);
    CU_ASSERT_EQUAL(commit(f, 0, 1, 1), 0);
    CU_ASSERT_EQUAL(move_begin(f, 2, &b), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_commit, ROOT, f, 0, INT64_MIN), 0); /* written in place */
    CU_ASSERT_EQUAL(move_end(&b, 2), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(move_begin(f, 2, &b), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_setattr, ROOT, f, .valid = SETATTR_SIZE, .size = 5), 0);
    CU_ASSERT_EQUAL(move_end(&b, 2), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(move_begin(f, 2, &b), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, ROOT, ROOT_INODE, S("f"), 0600, OPEN_WRITE), 0);
    CU_ASSERT_EQUAL(move_end(&b, 2), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(move_begin(f, 2, &b), 0);
    CU_ASSERT_EQUAL(move_begin(f, 3, &other), 0); /* a second mover */
    CU_ASSERT(other.generation > b.generation && other.generation != b.attr.chunk_generation);
    CU_ASSERT_EQUAL(move_end(&b, 2), -ERR_FILE_OPEN);
    struct chunk_id dead = {f, 0, b.generation}, made = {f, 0, other.generation};
    CU_ASSERT(fs_find_chunk(m.view, &dead) == -ERR_NO_ENTRY && fs_find_chunk(m.view, &made) == 0);
    /* neither names, readers nor attributes disturb */
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, ROOT, ROOT_INODE, S("f"), 0600, OPEN_READ), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_rename, ROOT, ROOT_INODE, S("f"), ROOT_INODE, S("g"), 0), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_setattr, ROOT, f, .valid = SETATTR_MODE, .mode = 0600), 0);
    CU_ASSERT_EQUAL(
        APPLY(&m, meta_move_end, USER, f, 3, other.generation, 1, other.attr.data_version),
        -ERR_PERMISSION);
    CU_ASSERT_EQUAL(move_end(&other, 3), 0);
    CU_ASSERT_EQUAL(attr_of(f).copies, 3);
    end();
}

/* D12: who wrote with an older chunk map wrote to chunks that are garbage: its commit is refused,
 * so that the writer hears of it. */
static void late_commits_are_refused(void)
{
    struct msg_meta_move_begin_r b;
    begin();
    uint64_t f = make(ROOT, ROOT_INODE, "f", S_IFREG | 0644);
    CU_ASSERT_EQUAL(set(ROOT, f, 2), 0); /* without chunks: at once */
    uint32_t now = entry().chunk_generation;
    CU_ASSERT_EQUAL(now, 2);
    CU_ASSERT_EQUAL(commit(f, 0, 1, 1), -ERR_STALE_HANDLE);
    CU_ASSERT_EQUAL(attr_of(f).size, 0);
    CU_ASSERT_EQUAL(commit(f, 0, now, now), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_setattr, ROOT, f, .valid = SETATTR_SIZE, .size = 0), 0);
    CU_ASSERT_EQUAL(commit(f, 0, now, now), 0); /* a truncate only drops the chunk */
    CU_ASSERT_EQUAL(commit(f, 0, now + 1, now), 0);
    CU_ASSERT_EQUAL(move_begin(f, 1, &b), 0);
    CU_ASSERT_EQUAL(move_end(&b, 1), 0);
    CU_ASSERT_EQUAL(move_begin(f, 2, &b), 0);
    CU_ASSERT_EQUAL(move_end(&b, 2), 0); /* the same number again, other chunks */
    CU_ASSERT_EQUAL(APPLY(&m, meta_commit, ROOT, f, 0, INT64_MIN, .generation = now + 1),
                    -ERR_STALE_HANDLE);
    CU_ASSERT_EQUAL(commit(f, 1, attr_of(f).chunk_generation, attr_of(f).chunk_generation), 0);
    end();
}

#define TESTS(T)                  \
    T(directories_are_inherited)  \
    T(wanted_tables_are_kept)     \
    T(moves_switch_all_chunks)    \
    T(moves_end_only_undisturbed) \
    T(late_commits_are_refused)

CU_TestInfo copies_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
