/* Dumps and loads: a namespace that is dumped in pieces and loaded into an empty state is the same
 * to the last attribute; what a load must refuse; a load that is broken off goes on (R22: a
 * repeated piece changes nothing). */
#include "metaserver/fs/dump.h"
#include "metaserver/fs/state.h"
#include "tests/unit/metaserver/fs/fixture.h"

enum { PIECES_MAX = 64 };

static const struct uuid file_id = {{7}}, other_id = {{8}};
static struct machine source, target;

static void machine_formed(struct machine *m)
{
    machine_start(m, kv_mem_create());
    CU_ASSERT_EQUAL(APPLY(m, cluster_init, .copies = 1, .shard_count = 8, .initial_targets = 1), 0);
}

/* 5,000 files, so that a dump has several pieces; hard and symbolic links, holes, a device, and an
 * orphan that is not part of it. */
static void build(struct machine *m)
{
    machine_start(m, kv_mem_create());
    machine_init_cluster(m);
    struct rec_chunk_slot slots[] = {{.index = 0, .generation = 1}, {.index = 2, .generation = 1}};
    CU_ASSERT_EQUAL(APPLY(m, meta_mkdir, caller_of(m, 5, 6), ROOT_INODE, S("no"), 0700),
                    -ERR_ACCESS);
    CU_ASSERT_EQUAL(APPLY(m, meta_mkdir, caller_of(m, 0, 6), ROOT_INODE, S("folder"), 02750), 0);
    CU_ASSERT_EQUAL(APPLY(m, meta_set_copies, caller_of(m, 0, 0), 2, 3), 0);
    CU_ASSERT_EQUAL(APPLY(m, meta_create, caller_of(m, 0, 0), 2, S("file"), 0644, 0), 0);
    CU_ASSERT_EQUAL(APPLY(m, meta_symlink, caller_of(m, 0, 0), 2, S("link"), S("../to")), 0);
    CU_ASSERT_EQUAL(APPLY(m, meta_link, caller_of(m, 0, 0), 3, ROOT_INODE, S("second")), 0);
    CU_ASSERT_EQUAL(
        APPLY(m, meta_mknod, caller_of(m, 0, 0), ROOT_INODE, S("dev"), S_IFCHR | 0600, 0x103), 0);
    CU_ASSERT_EQUAL(APPLY(m, meta_commit, caller_of(m, 0, 0), 3, 3 * CHUNK_SIZE, INT64_MIN,
                          {.count = 2, .items = slots}),
                    0);
    for (unsigned i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        CU_ASSERT_EQUAL_FATAL(APPLY(m, meta_create, caller_of(m, 0, i), 2, S(name), 0600, 0), 0);
    }
}

/* An orphan with two chunks: a name that goes while the session holds the file. */
static void make_orphan(struct machine *m)
{
    struct rec_chunk_slot slots[] = {{.index = 0, .generation = 1}, {.index = 1, .generation = 1}};
    uint8_t holder[8];
    struct msg_meta_open_r r;
    CU_ASSERT_EQUAL(APPLY(m, meta_create, caller_of(m, 0, 0), ROOT_INODE, S("gone"), 0644, 0), 0);
    CU_ASSERT_EQUAL_FATAL(decode_meta_open_r(m->result.body, WIRE_VERSION, &r), 0);
    CU_ASSERT_EQUAL(APPLY(m, meta_commit, caller_of(m, 0, 0), r.attr.inode, 2 * CHUNK_SIZE,
                          INT64_MIN, {.count = 2, .items = slots}),
                    0);
    store_u64(holder, m->session);
    m->holders = slice_of(holder, sizeof holder);
    CU_ASSERT_EQUAL(APPLY(m, meta_unlink, caller_of(m, 0, 0), ROOT_INODE, S("gone")), 0);
    m->holders = slice_of(NULL, 0);
}

static struct {
    unsigned count;
    struct fs_dump_rows rows[PIECES_MAX];
} dumped;

static void dump_release(void)
{
    for (unsigned i = 0; i < dumped.count; i++)
        fs_dump_rows_release(&dumped.rows[i]);
    dumped.count = 0;
}

/* All pieces; their contents joined into `out`. */
static void dump(struct machine *m, struct bytes *out)
{
    struct bytes last = {0}, next = {0};
    bool end = false;
    dump_release();
    bytes_clear(out);
    for (; !end; dumped.count++) {
        CU_ASSERT_TRUE_FATAL(dumped.count < PIECES_MAX);
        struct fs_dump_rows *rows = &dumped.rows[dumped.count];
        *rows = (struct fs_dump_rows){.name_count = 0};
        CU_ASSERT_EQUAL_FATAL(fs_dump_next(m->view, bytes_slice(&last), rows, &next, &end), 0);
        bytes_clear(&last);
        bytes_append(&last, next.data, next.size);
        bytes_append(out, rows->names.data, rows->names.size);
        bytes_append(out, rows->chunks.data, rows->chunks.size);
        bytes_append(out, rows->links.data, rows->links.size);
        bytes_append(out, rows->inodes.data, rows->inodes.size);
    }
    bytes_release(&last);
    bytes_release(&next);
}

static int load_begin(struct machine *m, struct uuid file, uint64_t inode_next)
{
    return APPLY(m, meta_load_begin, .file = file, .copies = 1, .inode_next = inode_next);
}

static int load_piece(struct machine *m, struct uuid file, uint64_t piece,
                      const struct fs_dump_rows *r)
{
    return APPLY(m, meta_load, .file = file, .piece = piece,
                 .names = {.count = r->name_count, .raw = bytes_slice(&r->names)},
                 .chunks = {.count = r->chunk_count, .raw = bytes_slice(&r->chunks)},
                 .links = {.count = r->link_count, .raw = bytes_slice(&r->links)},
                 .inodes = {.count = r->inode_count, .raw = bytes_slice(&r->inodes)});
}

static uint64_t inode_total(const struct machine *m)
{
    struct fs_status s;
    fs_get_status(m->fs, &s);
    return s.file_count + s.directory_count - s.orphan_count;
}

static void a_loaded_dump_is_the_same(void)
{
    struct bytes first = {0}, second = {0};
    struct fs_dump_head head;
    struct wire_attr attr;
    build(&source);
    make_orphan(&source);
    machine_check(&source);
    dump(&source, &first);
    CU_ASSERT_TRUE(dumped.count > 2);
    CU_ASSERT_EQUAL(fs_dump_get_head(source.view, &head), 0);
    machine_formed(&target);
    CU_ASSERT_EQUAL(load_begin(&target, file_id, head.inode_next), 0);
    for (unsigned i = 0; i < dumped.count; i++)
        CU_ASSERT_EQUAL_FATAL(load_piece(&target, file_id, i, &dumped.rows[i]), 0);
    machine_check(&target);
    CU_ASSERT_EQUAL(APPLY(&target, meta_load_end, .file = file_id, .piece = dumped.count,
                          .inodes = inode_total(&source)),
                    0);
    dump(&target, &second);
    CU_ASSERT_TRUE(slice_equal(bytes_slice(&first), bytes_slice(&second)));
    /* It can be used, and numbers are not given out twice. */
    CU_ASSERT_FALSE(fs_is_loading(target.fs));
    CU_ASSERT_EQUAL(fs_get_attr(target.view, 3, &attr), 0);
    CU_ASSERT_EQUAL(attr.size, 3 * CHUNK_SIZE);
    CU_ASSERT_EQUAL(fs_get_attr(target.view, head.inode_next - 1, &attr), -ERR_NO_ENTRY);
    CU_ASSERT_EQUAL(APPLY(&target, session_open, .client = {{1}}, .name = S("t"), .mount = S("")),
                    0);
    target.session = 1;
    CU_ASSERT_EQUAL(
        APPLY(&target, meta_mkdir, caller_of(&target, 0, 0), ROOT_INODE, S("new"), 0755), 0);
    CU_ASSERT_EQUAL(fs_get_attr(target.view, head.inode_next, &attr), 0);
    machine_check(&target);
    dump_release();
    bytes_release(&first);
    bytes_release(&second);
    machine_stop(&source);
    machine_stop(&target);
}

static void it_goes_on_after_a_break(void)
{
    struct bytes first = {0};
    struct msg_meta_load_begin_r r;
    build(&source);
    dump(&source, &first);
    machine_formed(&target);
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 100000), 0);
    CU_ASSERT_EQUAL(load_piece(&target, file_id, 1, &dumped.rows[1]), -ERR_GAP);
    CU_ASSERT_EQUAL(load_piece(&target, other_id, 0, &dumped.rows[0]), -ERR_REFUSED);
    CU_ASSERT_EQUAL(load_piece(&target, file_id, 0, &dumped.rows[0]), 0);
    CU_ASSERT_EQUAL(load_piece(&target, file_id, 0, &dumped.rows[0]), 0);
    /* Nobody else meanwhile, and no other file. */
    CU_ASSERT_TRUE(fs_is_loading(target.fs));
    CU_ASSERT_EQUAL(load_begin(&target, other_id, 100000), -ERR_REFUSED);
    CU_ASSERT_EQUAL(APPLY(&target, session_open, .client = {{1}}, .name = S("t"), .mount = S("")),
                    -ERR_BUSY);
    CU_ASSERT_EQUAL(
        APPLY(&target, meta_mkdir, caller_of(&target, 0, 0), ROOT_INODE, S("new"), 0755),
        -ERR_BUSY);
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 100000), 0);
    CU_ASSERT_EQUAL_FATAL(decode_meta_load_begin_r(target.result.body, WIRE_VERSION, &r), 0);
    CU_ASSERT_EQUAL(r.piece, 1);
    CU_ASSERT_EQUAL(APPLY(&target, meta_load_end, .file = file_id, .piece = 2, .inodes = 1),
                    -ERR_GAP);
    CU_ASSERT_EQUAL(APPLY(&target, meta_load_end, .file = file_id, .piece = 1, .inodes = 99),
                    -ERR_INVALID);
    for (unsigned i = 1; i < dumped.count; i++)
        CU_ASSERT_EQUAL_FATAL(load_piece(&target, file_id, i, &dumped.rows[i]), 0);
    for (unsigned i = 0; i < 2; i++) /* the second is a repeat */
        CU_ASSERT_EQUAL(APPLY(&target, meta_load_end, .file = file_id, .piece = dumped.count,
                              .inodes = inode_total(&source)),
                        0);
    machine_check(&target);
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 100000), -ERR_NOT_EMPTY_STATE);
    dump_release();
    bytes_release(&first);
    machine_stop(&source);
    machine_stop(&target);
}

static void only_into_an_empty_cluster(void)
{
    machine_start(&target, kv_mem_create());
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 10), -ERR_UNAVAILABLE);
    machine_init_cluster(&target); /* with a session */
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 10), -ERR_NOT_EMPTY_STATE);
    CU_ASSERT_EQUAL(APPLY(&target, meta_mkdir, caller_of(&target, 0, 0), ROOT_INODE, S("d"), 0755),
                    0);
    CU_ASSERT_EQUAL(APPLY(&target, session_close, .session = target.session), 0);
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 10), -ERR_NOT_EMPTY_STATE);
    machine_stop(&target);
    machine_formed(&target);
    CU_ASSERT_EQUAL(APPLY(&target, meta_load_begin, .file = file_id, .copies = 2, .inode_next = 10),
                    -ERR_INVALID);
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 1), -ERR_INVALID);
    machine_stop(&target);
}

/* Each record that cannot be is refused with its whole piece; the state stays as it was. */
static void impossible_records_are_refused(void)
{
    const struct rec_dump_inode sound = {
        .number = 5, .mode = S_IFREG | 0644, .copies = 1, .nlink = 1, .chunk_generation = 1};
    struct rec_dump_inode inodes[9];
    for (unsigned i = 0; i < 9; i++)
        inodes[i] = sound;
    inodes[0].number = 0;
    inodes[1].number = 10;
    inodes[2].mode = 0644;
    inodes[3].copies = COPIES_MAX + 1;
    inodes[4].nlink = 0;
    inodes[5].chunk_generation = 0;
    inodes[6].first_generation = 2;
    inodes[7].number = ROOT_INODE;
    inodes[8].size = UINT64_MAX;
    const struct rec_dump_name names[] = {
        {.parent = 1, .cookie = 256, .inode = 5, .type = INODE_FILE, .name = S("a/b")},
        {.parent = 1, .cookie = 256, .inode = 5, .type = INODE_FILE, .name = S("elsewhere")},
        {.parent = 1, .cookie = 256, .inode = 5, .type = 99, .name = S("a")},
    };
    struct rec_dump_chunk chunk = {.inode = 5, .index = 0, .generation = 1};
    struct rec_dump_link link = {.inode = 5, .link_target = S("")};
    machine_formed(&target);
    CU_ASSERT_EQUAL(load_begin(&target, file_id, 10), 0);
    for (unsigned i = 0; i < 9; i++)
        CU_ASSERT_EQUAL(
            APPLY(&target, meta_load, .file = file_id, .inodes = {.count = 1, .items = &inodes[i]}),
            -ERR_INVALID);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(
            APPLY(&target, meta_load, .file = file_id, .names = {.count = 1, .items = &names[i]}),
            -ERR_INVALID);
    CU_ASSERT_EQUAL(
        APPLY(&target, meta_load, .file = file_id, .chunks = {.count = 1, .items = &chunk}),
        -ERR_INVALID);
    CU_ASSERT_EQUAL(
        APPLY(&target, meta_load, .file = file_id, .links = {.count = 1, .items = &link}),
        -ERR_INVALID);
    machine_check(&target);
    CU_ASSERT_EQUAL(
        APPLY(&target, meta_load, .file = file_id, .inodes = {.count = 1, .items = &sound}), 0);
    CU_ASSERT_EQUAL(APPLY(&target, meta_load, .file = file_id, .piece = 1,
                          .inodes = {.count = 1, .items = &sound}),
                    -ERR_INVALID);
    struct err_text why = {""};
    CU_ASSERT_EQUAL(fs_check(target.fs, target.view, &why), -ERR_CORRUPT); /* it has no name */
    machine_stop(&target);
}

CU_TestInfo load_tests[] = {{"a_loaded_dump_is_the_same", a_loaded_dump_is_the_same},
                            {"it_goes_on_after_a_break", it_goes_on_after_a_break},
                            {"only_into_an_empty_cluster", only_into_an_empty_cluster},
                            {"impossible_records_are_refused", impossible_records_are_refused},
                            CU_TEST_INFO_NULL};
