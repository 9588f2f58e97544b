/* The check of all invariants: each planted damage is found and named, whatever the size of the
 * ranges, and a sound state has no finding. */
#include "metaserver/fs/fs_check.h"
#include "metaserver/fs/state.h"
#include "tests/unit/metaserver/fs/fixture.h"

enum { TEXTS_MAX = 16 };

static struct machine m;
static struct {
    unsigned count;
    char items[TEXTS_MAX][240];
} texts;

static void keep(void *arg, const char *text)
{
    (void)arg;
    if (texts.count < TEXTS_MAX)
        snprintf(texts.items[texts.count++], sizeof texts.items[0], "%s", text);
}

static struct fs_check_counts check_in_ranges(uint64_t inodes_at_once, unsigned findings_max)
{
    struct fs_check_options options = {
        .inodes_at_once = inodes_at_once, .findings_max = findings_max, .finding = keep};
    struct fs_check_counts counts = {.findings = 0};
    texts.count = 0;
    CU_ASSERT_EQUAL(fs_check_view(m.view, &options, &counts), 0);
    return counts;
}

/* Inodes: 1 root, 2 folder, 3 file with two chunks, 4 link, 5 folder in the folder. */
static void build(void)
{
    machine_start(&m, kv_mem_create());
    machine_init_cluster(&m);
    struct rec_chunk_slot slots[] = {{.index = 0, .generation = 1}, {.index = 2, .generation = 1}};
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, caller_of(&m, 0, 0), ROOT_INODE, S("folder"), 0755), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_create, caller_of(&m, 0, 0), 2, S("file"), 0644, 0), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_symlink, caller_of(&m, 0, 0), 2, S("link"), S("to")), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_mkdir, caller_of(&m, 0, 0), 2, S("inner"), 0755), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_link, caller_of(&m, 0, 0), 3, 5, S("second")), 0);
    CU_ASSERT_EQUAL(APPLY(&m, meta_commit, caller_of(&m, 0, 0), 3, 3 * CHUNK_SIZE, INT64_MIN,
                          {.count = 2, .items = slots}),
                    0);
    machine_check(&m);
}

static void a_sound_state_is_counted(void)
{
    build();
    for (uint64_t ranges = 0; ranges < 7; ranges++) {
        struct fs_check_counts c = check_in_ranges(ranges, 0);
        CU_ASSERT_EQUAL(c.findings, 0);
        CU_ASSERT_EQUAL(c.directories, 3);
        CU_ASSERT_EQUAL(c.files, 1);
        CU_ASSERT_EQUAL(c.links, 1);
        CU_ASSERT_EQUAL(c.names, 5);
        CU_ASSERT_EQUAL(c.chunks, 2);
        CU_ASSERT_EQUAL(c.file_bytes, 3 * CHUNK_SIZE);
        CU_ASSERT_EQUAL(c.sessions, 1);
        CU_ASSERT_EQUAL(c.index, m.index);
    }
    machine_stop(&m);
}

/* ---- damage ---- */

static void drop_name(void)
{
    struct dentry d;
    CHECK(dentry_find(m.view, 2, S("link"), &d) == 0);
    dentry_remove(m.fs, 2, d.cookie);
}

static void drop_inode(void)
{
    row_remove(m.fs, key_of_u64('i', 3));
}

static void drop_target(void)
{
    row_remove(m.fs, key_of_u64('L', 4));
}

static void wrong_nlink(void)
{
    struct inode i;
    CHECK(inode_get(m.view, 3, &i) == 0);
    i.nlink = 7;
    inode_put(m.fs, &i);
}

static void drop_slot(void)
{
    row_remove(m.fs, key_of_chunk(3, 2));
}

/* 2 lies in 5, which lies in 2. */
static void ring_of_directories(void)
{
    struct dentry d;
    struct inode i;
    CHECK(dentry_find(m.view, ROOT_INODE, S("folder"), &d) == 0 && inode_get(m.view, 2, &i) == 0);
    dentry_remove(m.fs, ROOT_INODE, d.cookie);
    dentry_put(m.fs, 5, d.cookie, 2, i.mode, S("folder"));
    i.parent = 5;
    inode_put(m.fs, &i);
}

static void unreadable_inode(void)
{
    row_put(m.fs, key_of_u64('i', 4), S("x"));
}

static void wrong_counter(void)
{
    m.fs->state.file_bytes++;
}

static void living_garbage(void)
{
    uint8_t row[17] = {3, [12] = 1, [16] = 1};
    m.fs->state.garbage_next++;
    m.fs->state.garbage_count++;
    row_put(m.fs, key_of_u64('G', 1), slice_of(row, sizeof row));
}

static void unreadable_job(void)
{
    row_put(m.fs, key_of_u64('J', 1), S("x"));
}

/* They are of different targets in the log; a bit has flipped since. */
static void shared_drain(void)
{
    struct job j = {
        .number = 1, .kind = JOB_DRAIN, .state = JOB_RUNNING, .target_count = 1, .targets = {9}};
    job_put(m.fs, &j);
    j.number = 2;
    job_put(m.fs, &j);
}

static void unreadable_policy(void)
{
    struct row_key key = {.size = 8, .bytes = "Cunknown"};
    row_put(m.fs, key, S("1"));
}

static bool is_told(const char *text)
{
    for (unsigned i = 0; i < texts.count; i++)
        if (strstr(texts.items[i], text))
            return true;
    return false;
}

static void each_damage_is_named(void)
{
    static const struct {
        void (*plant)(void);
        const char *text;
    } damages[] = {
        {drop_name, "inode 4: nlink 1, 0 names"},
        {drop_inode, "leads to 3: missing"},
        {drop_target, "symbolic link 4: no target"},
        {wrong_nlink, "inode 3: nlink 7, 2 names"},
        {drop_slot, "inode 3: 1 chunk slots, total 2"},
        {ring_of_directories, "directory 5: no way to the root"},
        {unreadable_inode, "inode 4: unreadable"},
        {wrong_counter, "counters: "},
        {living_garbage, "names a living chunk"},
        {unreadable_job, "jobs: a row is unreadable"},
        {shared_drain, "jobs 1 and 2 drain target 9"},
        {unreadable_policy, "policy: a row is unreadable"},
    };
    for (unsigned i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        build();
        CHECK(fs_begin_batch(m.fs) == 0);
        damages[i].plant();
        CHECK(fs_commit_batch(m.fs) == 0 && fs_view_renew(m.view) == 0);
        unsigned findings = check_in_ranges(0, 0).findings;
        CU_ASSERT_TRUE(findings > 0);
        for (uint64_t ranges = 0; ranges < 6; ranges++) {
            CU_ASSERT_EQUAL(check_in_ranges(ranges, 0).findings, findings);
            if (!is_told(damages[i].text))
                printf("# not told: %s\n", damages[i].text);
            CU_ASSERT_TRUE(is_told(damages[i].text));
        }
        struct err_text why = {""};
        CU_ASSERT_EQUAL(fs_check(m.fs, m.view, &why), -ERR_CORRUPT);
        machine_stop(&m);
    }
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void it_ends_at_the_limit_and_when_told(void)
{
    struct fs_check_options options = {.go_on = never};
    struct fs_check_counts counts;
    build();
    for (unsigned i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        CU_ASSERT_EQUAL_FATAL(
            APPLY(&m, meta_create, caller_of(&m, 0, 0), ROOT_INODE, S(name), 0644, 0), 0);
    }
    CU_ASSERT_EQUAL(fs_check_view(m.view, &options, &counts), -ERR_CANCELLED);
    CHECK(fs_begin_batch(m.fs) == 0);
    for (uint64_t number = 10; number < 20; number++)
        row_remove(m.fs, key_of_u64('i', number));
    CHECK(fs_commit_batch(m.fs) == 0 && fs_view_renew(m.view) == 0);
    counts = check_in_ranges(100, 4);
    CU_ASSERT_EQUAL(counts.findings, 4);
    CU_ASSERT_TRUE(counts.is_broken_off);
    machine_stop(&m);
}

CU_TestInfo check_tests[] = {
    {"a_sound_state_is_counted", a_sound_state_is_counted},
    {"each_damage_is_named", each_damage_is_named},
    {"it_ends_at_the_limit_and_when_told", it_ends_at_the_limit_and_when_told},
    CU_TEST_INFO_NULL};
