/* Sessions, exactly-once answers, and files that are removed while they are open. */
#include "tests/unit/metaserver/daemon_fixture.h"

#include <stdio.h>

static struct client_session one, two;

/* A request is answered; the status names three members and no session problem. */
static void answers(void)
{
    struct msg_status_r status;
    uint64_t inode = 0;
    session_begin(&one);
    session_begin(&two);
    CU_ASSERT_EQUAL(file_create(&one, "first", &inode), 0);
    CU_ASSERT_EQUAL(file_stat(inode), 0);
    CU_ASSERT_EQUAL(file_release(&one, inode), 0);
    CU_ASSERT_EQUAL_FATAL(status_get(&status), 0);
    CU_ASSERT_EQUAL(status.metas.count, METAS);
    CU_ASSERT_EQUAL(status.session_count, 2);
    CU_ASSERT_EQUAL(status.file_count, 1);
    CU_ASSERT_TRUE(status.applied_index > 0 && status.applied_index <= status.commit_index);
}

static struct bytes lookup_of(const char *name)
{
    struct bytes body = {0};
    ENCODE(meta_lookup, &body, .caller = caller_of(&one, false), .parent = ROOT_INODE,
           .name = slice_str(name));
    return body;
}

static bool is_listed(const char *name)
{
    struct bytes body = {0};
    struct msg_meta_readdir_r r;
    struct rec_dirent entry;
    ENCODE(meta_readdir, &body, .caller = caller_of(&two, false), .inode = ROOT_INODE,
           .bytes_max = 1 << 20);
    struct answer *a = ask_as_chunkserver(MSG_meta_readdir, &body);
    if (a->status != 0 || DECODE(meta_readdir_r, a, &r) != 0)
        return false;
    while (rec_dirent_next(&r.entries.raw, &entry))
        if (slice_equal(entry.name, slice_str(name)))
            return true;
    return false;
}

/* R15: what was answered is seen by every later look-up and listing on another connection, with the
 * commit of the database behind the answer and helpers busy with hundreds of queries. */
static void seen_at_once(void)
{
    enum { ROUNDS = 40, FLOOD = 300 };
    static struct answer flood[FLOOD];
    uint64_t inode;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "seen%u", i);
        for (unsigned k = 0; k < FLOOD; k++) {
            struct bytes body = lookup_of("first");
            flood[k] = (struct answer){.is_done = false};
            ask_async(MSG_meta_lookup, &body, &flood[k]);
        }
        CU_ASSERT_EQUAL(file_create(&one, name, &inode), 0);
        struct bytes body = lookup_of(name);
        CU_ASSERT_EQUAL(ask_as_chunkserver(MSG_meta_lookup, &body)->status, 0);
        CU_ASSERT_TRUE(is_listed(name));
        CU_ASSERT_EQUAL(file_release(&one, inode), 0);
        CU_ASSERT_EQUAL(file_unlink(&one, name), 0);
        body = lookup_of(name);
        CU_ASSERT_EQUAL(ask_as_chunkserver(MSG_meta_lookup, &body)->status, -ERR_NO_ENTRY);
        CU_ASSERT_FALSE(is_listed(name));
        for (unsigned k = 0; k < FLOOD; k++) {
            wait_answer(&flood[k]);
            CU_ASSERT_EQUAL(flood[k].status, 0);
            bytes_release(&flood[k].body);
        }
    }
}

static int mkdir_as(uint64_t session, uint64_t sequence, struct msg_meta_entry_r *ret)
{
    struct bytes body = {0};
    ENCODE(meta_mknod, &body,
           .caller = {.session = session,
                      .sequence = sequence,
                      .lowest_unanswered = sequence,
                      .groups = slice_of("", 0)},
           .parent = ROOT_INODE, .name = slice_str("once"), .mode = 0040755);
    struct answer *a = ask(MSG_meta_mknod, &body);
    return a->status != 0 ? a->status : DECODE(meta_entry_r, a, ret);
}

/* R22: the same request after two changes of leader gets its first answer; a new one EEXIST. */
static void exactly_once(void)
{
    struct msg_meta_entry_r first = {.index = 0}, again = {.index = 0};
    uint64_t sequence = ++one.sequence;
    CU_ASSERT_EQUAL(mkdir_as(one.id, sequence, &first), 0);
    for (unsigned i = 0; i < 2; i++) {
        daemons_change_leader();
        CU_ASSERT_EQUAL(mkdir_as(one.id, sequence, &again), 0);
        CU_ASSERT_EQUAL(again.attr.inode, first.attr.inode);
        CU_ASSERT_EQUAL(again.index, first.index);
    }
    CU_ASSERT_EQUAL(mkdir_as(one.id, ++one.sequence, &again), -ERR_EXISTS);
}

/* R22, R23: requests under way while the leader is killed are each carried out once. */
static void once_under_way(void)
{
    enum { COUNT = 200 };
    static struct answer answers_of[COUNT];
    struct msg_status_r before, after;
    unsigned good = 0;
    CU_ASSERT_EQUAL_FATAL(status_get(&before), 0);
    uint64_t lowest = one.sequence + 1;
    for (unsigned i = 0; i < COUNT; i++) {
        struct bytes body = {0};
        char name[16];
        struct wire_caller caller = caller_of(&one, true);
        caller.lowest_unanswered = lowest;
        (void)snprintf(name, sizeof name, "under%u", i);
        ENCODE(meta_mknod, &body, .caller = caller, .parent = ROOT_INODE, .name = slice_str(name),
               .mode = 0100644);
        ask_async(MSG_meta_mknod, &body, &answers_of[i]);
        if (i == COUNT / 2)
            wait_answer(&answers_of[0]);
    }
    daemons_kill(before.leader - 1, SIGKILL);
    for (unsigned i = 0; i < COUNT; i++) {
        wait_answer(&answers_of[i]);
        good += answers_of[i].status == 0;
        bytes_release(&answers_of[i].body);
    }
    CU_ASSERT_EQUAL(good, COUNT);
    daemons_start(before.leader - 1);
    CU_ASSERT_EQUAL_FATAL(status_get(&after), 0);
    CU_ASSERT_EQUAL(after.file_count, before.file_count + COUNT);
}

/* A file that is removed while it is open stays until it is released. */
static void orphan(void)
{
    uint64_t inode = 0;
    CU_ASSERT_EQUAL(session_alive(&one, true, NULL, 0, NULL), 0);
    CU_ASSERT_EQUAL(session_alive(&two, true, NULL, 0, NULL), 0);
    CU_ASSERT_EQUAL(file_create(&one, "open", &inode), 0);
    CU_ASSERT_EQUAL(file_unlink(&two, "open"), 0);
    CU_ASSERT_FALSE(becomes(inode, false, 500));
    CU_ASSERT_EQUAL(file_release(&one, inode), 0);
    CU_ASSERT_TRUE(becomes(inode, false, 3000));
}

/* A create opens a file that is there, and the unlink right behind it does not free it. */
static void create_then_unlink(void)
{
    for (unsigned round = 0; round < 20; round++) {
        static struct answer created, removed;
        struct bytes create = {0}, unlink = {0};
        struct msg_meta_open_r r;
        uint64_t inode = 0;
        CU_ASSERT_EQUAL(file_create(&two, "race", &inode), 0);
        CU_ASSERT_EQUAL(file_release(&two, inode), 0);
        ENCODE(meta_create, &create, .caller = caller_of(&one, true), .parent = ROOT_INODE,
               .name = slice_str("race"), .mode = 0644, .flags = OPEN_READ);
        ENCODE(meta_unlink, &unlink, .caller = caller_of(&two, true), .parent = ROOT_INODE,
               .name = slice_str("race"));
        ask_async(MSG_meta_create, &create, &created);
        ask_async(MSG_meta_unlink, &unlink, &removed);
        wait_answer(&created);
        wait_answer(&removed);
        CU_ASSERT_EQUAL(created.status, 0);
        CU_ASSERT_EQUAL_FATAL(DECODE(meta_open_r, &created, &r), 0);
        CU_ASSERT_EQUAL(removed.status, 0);
        CU_ASSERT_EQUAL(r.attr.inode, inode);
        CU_ASSERT_EQUAL(file_stat(inode), 0);
        CU_ASSERT_EQUAL(file_release(&one, inode), 0);
        CU_ASSERT_TRUE(becomes(inode, false, 3000));
        bytes_release(&created.body);
        bytes_release(&removed.body);
        created.body = removed.body = (struct bytes){0};
    }
}

/* A new leader frees nothing before every session has said what it holds; then what none holds. */
static void orphan_over_leader_change(void)
{
    uint64_t held = 0, unheld = 0;
    bool wanted = false;
    CU_ASSERT_EQUAL(file_create(&one, "held", &held), 0);
    CU_ASSERT_EQUAL(file_create(&one, "unheld", &unheld), 0);
    CU_ASSERT_EQUAL(file_release(&one, unheld), 0);
    daemons_change_leader();
    CU_ASSERT_EQUAL(file_unlink(&two, "held"), 0);
    CU_ASSERT_EQUAL(file_unlink(&two, "unheld"), 0);
    CU_ASSERT_FALSE(becomes(unheld, false, 500));
    CU_ASSERT_EQUAL(session_alive(&one, false, NULL, 0, &wanted), 0);
    CU_ASSERT_TRUE(wanted);
    struct rec_inode_ref set = {.inode = held, .count = 1};
    CU_ASSERT_EQUAL(session_alive(&one, true, &set, 1, &wanted), 0);
    CU_ASSERT_FALSE(wanted);
    CU_ASSERT_FALSE(becomes(unheld, false, 300)); /* the other may hold it */
    CU_ASSERT_EQUAL(session_alive(&two, true, NULL, 0, &wanted), 0);
    CU_ASSERT_TRUE(becomes(unheld, false, 3000));
    CU_ASSERT_EQUAL(file_stat(held), 0);
    CU_ASSERT_EQUAL(file_release(&one, held), 0);
    CU_ASSERT_TRUE(becomes(held, false, 3000));
}

/* A set made before the answer to an open had arrived does not take the open back; a later set
 * replaces what an earlier one said. */
static void sets(void)
{
    uint64_t fresh = 0, stale = 0;
    CU_ASSERT_EQUAL(file_create(&one, "fresh", &fresh), 0);
    CU_ASSERT_EQUAL(session_alive(&one, true, NULL, 0, NULL), 0);
    CU_ASSERT_EQUAL(file_unlink(&two, "fresh"), 0);
    CU_ASSERT_FALSE(becomes(fresh, false, 500));
    CU_ASSERT_EQUAL(file_release(&one, fresh), 0);
    CU_ASSERT_TRUE(becomes(fresh, false, 3000));
    CU_ASSERT_EQUAL(file_create(&one, "stale", &stale), 0);
    CU_ASSERT_EQUAL(file_release(&one, stale), 0);
    struct rec_inode_ref set = {.inode = stale, .count = 1};
    CU_ASSERT_EQUAL(session_alive(&one, true, &set, 1, NULL), 0);
    CU_ASSERT_EQUAL(file_unlink(&two, "stale"), 0);
    CU_ASSERT_FALSE(becomes(stale, false, 500));
    CU_ASSERT_EQUAL(session_alive(&one, true, NULL, 0, NULL), 0);
    CU_ASSERT_TRUE(becomes(stale, false, 3000));
}

/* SIGTERM hands leadership over first: another one answers within an election's time. */
static void handing_over(void)
{
    unsigned old = daemons_leader();
    uint64_t begun = loop_now_ms(), inode;
    daemons_kill(old, SIGTERM);
    CU_ASSERT_EQUAL(file_create(&two, "after", &inode), 0);
    CU_ASSERT_TRUE(loop_now_ms() - begun < 1000);
    (void)printf("# handed over and created in %u ms\n", (unsigned)(loop_now_ms() - begun));
    daemons_start(old);
}

/* It leads at once, while it starts. */
static void alone(void)
{
    CU_ASSERT_TRUE(daemons_alone_answers());
}

/* What the tools ask the leader for: the check finds nothing and counts; a dump that the leader
 * does not keep is told; a load is refused while there are files; nobody unknown takes over. */
static void asked_by_tools(void)
{
    struct bytes body = {0};
    struct msg_fsck_r checked;
    struct msg_meta_dump_r piece;
    ENCODE(fsck, &body, .findings_max = 10);
    struct answer *a = ask(MSG_fsck, &body);
    CU_ASSERT_EQUAL_FATAL(a->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(fsck_r, a, &checked), 0);
    CU_ASSERT_EQUAL(checked.findings.count, 0);
    CU_ASSERT_TRUE(checked.files > 0 && checked.names >= checked.files);
    ENCODE(meta_dump, &body, .after = slice_of("", 0));
    a = ask(MSG_meta_dump, &body);
    CU_ASSERT_EQUAL_FATAL(a->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(meta_dump_r, a, &piece), 0);
    CU_ASSERT_EQUAL(piece.names.count, checked.names);
    ENCODE(meta_dump, &body, .dump = piece.dump + 1, .after = slice_of("", 0));
    CU_ASSERT_EQUAL(ask(MSG_meta_dump, &body)->status, -ERR_STALE_HANDLE);
    ENCODE(meta_load_begin, &body, .copies = 2, .inode_next = 10);
    CU_ASSERT_EQUAL(ask(MSG_meta_load_begin, &body)->status, -ERR_NOT_EMPTY_STATE);
    ENCODE(meta_transfer, &body, .node = 99);
    CU_ASSERT_EQUAL(ask(MSG_meta_transfer, &body)->status, -ERR_NO_ENTRY);
}

CU_TestInfo daemon_client_tests[] = {{"answers", answers},
                                     {"seen_at_once", seen_at_once},
                                     {"exactly_once", exactly_once},
                                     {"once_under_way", once_under_way},
                                     {"orphan", orphan},
                                     {"create_then_unlink", create_then_unlink},
                                     {"orphan_over_leader_change", orphan_over_leader_change},
                                     {"sets", sets},
                                     {"asked_by_tools", asked_by_tools},
                                     {"handing_over", handing_over},
                                     {"alone", alone},
                                     CU_TEST_INFO_NULL};

/* A session that is silent for its time ends: what it held goes, and it is told so. */
static void session_expires(void)
{
    uint64_t inode = 0, begun = loop_now_ms();
    session_begin(&one);
    session_begin(&two);
    CU_ASSERT_EQUAL(file_create(&one, "silent", &inode), 0);
    CU_ASSERT_EQUAL(file_unlink(&two, "silent"), 0);
    while (loop_now_ms() - begun < 29000) {
        CU_ASSERT_EQUAL(session_alive(&two, false, NULL, 0, NULL), 0);
        pause_ms(5000);
    }
    CU_ASSERT_EQUAL(session_alive(&two, false, NULL, 0, NULL), 0);
    CU_ASSERT_TRUE(becomes(inode, false, 5000));
    CU_ASSERT_EQUAL(session_alive(&one, false, NULL, 0, NULL), -ERR_NO_SESSION);
    CU_ASSERT_EQUAL(session_alive(&two, false, NULL, 0, NULL), 0);
}

CU_TestInfo daemon_expiry_tests[] = {{"session_expires", session_expires}, CU_TEST_INFO_NULL};
