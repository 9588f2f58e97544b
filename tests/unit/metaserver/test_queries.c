/* Queries on several threads show everything that was acknowledged before they were asked, and
 * never go back in time, while the loop goes on committing (R15, R16: the snapshot's half of a
 * linearizable read). Under TSan also that helpers touch nothing of the loop's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/wire/codec.h"
#include "metaserver/queries.h"
#include "tests/lib/tap.h"
#include "common/base/banned.h"

enum { FILES = 200, HELPERS = 3, ROUNDS = 300, ASKED_MAX = 400 };

/* A request as the rpc server would hand it over, and what its answer must show. */
struct ask {
    struct rpc_request request; /* first */
    struct bytes body;
    unsigned file;
    uint64_t floor; /* smallest size that is no lie */
};

static struct {
    char folder[64];
    struct loop *loop;
    struct fs *fs;
    struct fs_view *view;
    struct queries *queries;
    struct prng prng;
    struct bytes body, envelope;
    uint64_t index, session, sequence;
    uint64_t inodes[FILES], sizes[FILES]; /* acknowledged or seen */
    uint64_t asked, answered, stale, failed, listed, terms;
    unsigned rounds;
} f;

/* ---- the state ---- */

static struct fs_result apply(uint16_t code)
{
    struct fs_result result;
    struct fs_command c = {
        .code = code, .time_ns = (int64_t)f.index + 1, .body = bytes_slice(&f.body)};
    bytes_clear(&f.envelope);
    fs_command_encode(&c, &f.envelope);
    CHECK(fs_apply(f.fs, ++f.index, 1, bytes_slice(&f.envelope), &result) == 0);
    CHECK(result.status == 0);
    bytes_clear(&f.body);
    return result;
}

static struct wire_caller caller(void)
{
    f.sequence++;
    return (struct wire_caller){
        .session = f.session, .sequence = f.sequence, .lowest_unanswered = f.sequence};
}

static void make_files(void)
{
    struct msg_session_open_r opened;
    struct msg_meta_entry_r made;
    char name[32];
    CHECK(fs_begin_batch(f.fs) == 0);
    encode_cluster_init(&f.body, &(struct msg_cluster_init){.copies = 1, .shard_count = 8});
    (void)apply(MSG_cluster_init);
    encode_session_open(&f.body, &(struct msg_session_open){.name = slice_str("test")});
    CHECK(decode_session_open_r(apply(MSG_session_open).body, WIRE_VERSION, &opened) == 0);
    f.session = opened.session;
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "file%u", i);
        encode_meta_mknod(&f.body, &(struct msg_meta_mknod){.caller = caller(),
                                                            .parent = ROOT_INODE,
                                                            .name = slice_str(name),
                                                            .mode = S_IFREG | 0644});
        CHECK(decode_meta_entry_r(apply(MSG_meta_mknod).body, WIRE_VERSION, &made) == 0);
        f.inodes[i] = made.attr.inode;
    }
    CHECK(fs_commit_batch(f.fs) == 0);
}

/* Commits larger sizes of some files; then they count as acknowledged. */
static void grow_some(void)
{
    unsigned count = (unsigned)prng_between(&f.prng, 1, 20);
    CHECK(fs_begin_batch(f.fs) == 0);
    for (unsigned i = 0; i < count; i++) {
        unsigned file = (unsigned)prng_below(&f.prng, FILES);
        uint64_t size = f.sizes[file] + 1 + i;
        encode_meta_commit(&f.body, &(struct msg_meta_commit){.caller = caller(),
                                                              .inode = f.inodes[file],
                                                              .size_min = size,
                                                              .mtime_ns = INT64_MIN});
        (void)apply(MSG_meta_commit);
        f.sizes[file] = size;
    }
    CHECK(fs_commit_batch(f.fs) == 0);
    CHECK(fs_view_renew(f.view) == 0);
}

/* ---- asking ---- */

static void ask(uint16_t code)
{
    struct ask *a = calloc(1, sizeof *a);
    CHECK(a != NULL);
    a->file = (unsigned)prng_below(&f.prng, FILES);
    a->floor = f.sizes[a->file];
    if (code == MSG_meta_readdir)
        encode_meta_readdir(&a->body, &(struct msg_meta_readdir){.caller = caller(),
                                                                 .inode = ROOT_INODE,
                                                                 .bytes_max = 1 << 20});
    else
        encode_meta_getattr(&a->body, &(struct msg_meta_getattr){.inode = f.inodes[a->file]});
    a->request =
        (struct rpc_request){.code = code, .version = WIRE_VERSION, .body = bytes_slice(&a->body)};
    f.asked++;
    queries_add(f.queries, &a->request, f.asked);
}

static void look_at_list(const struct ask *a, struct slice body)
{
    struct msg_meta_readdir_r r;
    struct rec_dirent entry;
    bool found = false;
    f.failed += decode_meta_readdir_r(body, WIRE_VERSION, &r) != 0;
    while (rec_dirent_next(&r.entries.raw, &entry)) {
        if (entry.attr.inode != f.inodes[a->file])
            continue;
        found = true;
        f.stale += entry.attr.size < a->floor;
    }
    f.failed += !found;
    f.listed++;
}

static void on_answers(void *arg, const struct query_answer *answers, unsigned count)
{
    CHECK(arg == &f && count <= QUERIES_BLOCK);
    for (unsigned i = 0; i < count; i++) {
        struct ask *a = CONTAINER_OF(answers[i].request, struct ask, request);
        struct msg_meta_entry_r r;
        f.answered++;
        f.terms += answers[i].term;
        if (answers[i].status != 0) {
            f.failed++;
        } else if (answers[i].code == MSG_meta_readdir_r) {
            look_at_list(a, answers[i].body);
        } else if (decode_meta_entry_r(answers[i].body, WIRE_VERSION, &r) != 0 ||
                   r.attr.inode != f.inodes[a->file]) {
            f.failed++;
        } else {
            f.stale += r.attr.size < a->floor;
            if (r.attr.size > f.sizes[a->file])
                f.sizes[a->file] = r.attr.size; /* what was seen must be seen ever after */
        }
        bytes_release(&a->body);
        free(a);
    }
}

static void step(void *arg)
{
    if (f.rounds == 0) {
        if (f.asked == f.answered)
            loop_stop(f.loop);
        else
            loop_post(f.loop, step, arg);
        return;
    }
    f.rounds--;
    if (prng_chance(&f.prng, 700))
        grow_some();
    unsigned count = prng_chance(&f.prng, 300) ? 1 : (unsigned)prng_below(&f.prng, ASKED_MAX);
    for (unsigned i = 0; i < count; i++)
        ask(MSG_meta_getattr);
    if (prng_chance(&f.prng, 200))
        ask(MSG_meta_readdir);
    if (prng_chance(&f.prng, 200))
        grow_some(); /* in the same iteration, while requests wait */
    loop_post(f.loop, step, arg);
}

/* ---- fixture ---- */

static void open_state(unsigned helpers)
{
    const char *seed_text = getenv("SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : random_u64() % 1000000;
    struct kv *kv;
    memset(&f, 0, sizeof f);
    (void)printf("# seed=%llu\n", (unsigned long long)seed);
    prng_init(&f.prng, seed);
    (void)snprintf(f.folder, sizeof f.folder, "/var/tmp/cairn-queries-XXXXXX");
    CHECK(mkdtemp(f.folder) != NULL);
    CHECK(kv_lmdb_open(f.folder, 64 << 20, &kv) == 0);
    CHECK(fs_open(kv, &f.fs) == 0);
    make_files();
    CHECK(fs_view_begin(f.fs, &f.view) == 0);
    f.loop = loop_create();
    struct queries_options options = {
        .loop = f.loop, .helper_count = helpers, .answer = on_answers, .arg = &f};
    f.queries = queries_create(&options);
    CHECK(queries_open(f.queries, f.fs, f.view) == 0);
}

static void close_state(void)
{
    char path[96];
    queries_destroy(f.queries);
    fs_view_end(f.view);
    fs_close(f.fs);
    loop_destroy(f.loop);
    bytes_release(&f.body);
    bytes_release(&f.envelope);
    (void)snprintf(path, sizeof path, "%s/data.mdb", f.folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", f.folder);
    (void)unlink(path);
    (void)rmdir(f.folder);
}

static void run(unsigned helpers)
{
    open_state(helpers);
    f.rounds = ROUNDS;
    loop_post(f.loop, step, NULL);
    loop_run(f.loop);
    CU_ASSERT_EQUAL(f.stale, 0);
    CU_ASSERT_EQUAL(f.failed, 0);
    CU_ASSERT_EQUAL(f.answered, f.asked);
    CU_ASSERT_EQUAL(f.terms, f.asked * (f.asked + 1) / 2); /* each comes back with its term */
    CU_ASSERT(f.listed > 0);
    CU_ASSERT_EQUAL(queries_helped(f.queries) > 0, helpers > 0); /* listings go there */
}

/* ---- tests ---- */

static void answers_show_what_was_acknowledged(void)
{
    run(HELPERS);
    close_state();
}

static void the_loop_alone_answers_too(void)
{
    run(0);
    close_state();
}

/* Before a database is replaced, what is under way is answered from the old one; nothing waits for
 * an iteration of the loop, and the new one is served afterwards. */
static void close_answers_and_open_goes_on(void)
{
    open_state(HELPERS);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 500; i++)
            ask(MSG_meta_getattr);
        ask(MSG_meta_readdir);
        queries_close(f.queries);
        CU_ASSERT_EQUAL(f.answered, f.asked);
        fs_view_end(f.view);
        CHECK(fs_view_begin(f.fs, &f.view) == 0);
        CHECK(queries_open(f.queries, f.fs, f.view) == 0);
        grow_some();
    }
    CU_ASSERT_EQUAL(f.stale, 0);
    CU_ASSERT_EQUAL(f.failed, 0);
    ask(MSG_meta_readdir); /* destroy answers it */
    uint64_t asked = f.asked;
    queries_destroy(f.queries);
    f.queries = NULL;
    CU_ASSERT_EQUAL(f.answered, asked);
    close_state();
}

static void takes_only_what_needs_no_loop(void)
{
    CU_ASSERT(queries_takes(MSG_meta_lookup) && queries_takes(MSG_meta_getattr));
    CU_ASSERT(!queries_takes(MSG_meta_open));   /* counts a holder */
    CU_ASSERT(!queries_takes(MSG_shard_table)); /* reads the mirror of the table */
    CU_ASSERT(!queries_takes(MSG_meta_create));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"answers show what was acknowledged", answers_show_what_was_acknowledged},
        {"the loop alone answers too", the_loop_alone_answers_too},
        {"close answers, open goes on", close_answers_and_open_goes_on},
        {"takes only what needs no loop", takes_only_what_needs_no_loop},
        CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"metaserver/queries", NULL, NULL, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return tap_run(suites, argc, argv);
}
