/* Changes of numbers of copies as the leader lets them through: enough chunkservers, nobody who
 * writes, tickets (docs/replicas.md). */
#include "tests/unit/metaserver/daemon_fixture.h"

#include <stdio.h>

enum { SHARDS = 8 };

static struct client_session one, two;
static uint32_t targets[2];

static int enroll(const char *name, uint32_t *ret_target)
{
    struct bytes body = {0};
    struct msg_target_register_r r;
    ENCODE(target_register, &body, .uuid = {{(uint8_t)name[0]}}, .incarnation = 1,
           .name = slice_str(name), .address = slice_str("127.0.0.1:1"), .host = slice_str(name),
           .bytes_total = 1000);
    struct answer *answer = ask_as_chunkserver(MSG_target_register, &body);
    if (answer->status == 0 && DECODE(target_register_r, answer, &r) == 0)
        *ret_target = r.target;
    return answer->status;
}

static void beat(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct bytes body = {0};
        ENCODE(heartbeat, &body, .target = targets[i], .incarnation = 1, .bytes_total = 1000);
        CU_ASSERT_EQUAL(ask_as_chunkserver(MSG_heartbeat, &body)->status, 0);
    }
}

static bool is_formed(unsigned tables)
{
    uint64_t end = loop_now_ms() + 10000;
    struct msg_status_r r = {.shards_full = 0};
    while (loop_now_ms() < end && r.shards_full != tables * SHARDS) {
        beat();
        CU_ASSERT_EQUAL(status_get(&r), 0);
        pause_ms(50);
    }
    return r.shards_full == tables * SHARDS;
}

static int set_copies(uint64_t inode, uint8_t copies)
{
    struct bytes body = {0};
    ENCODE(meta_set_copies, &body, .caller = caller_of(&two, true), .inode = inode,
           .copies = copies);
    return ask(MSG_meta_set_copies, &body)->status;
}

static int begin(uint64_t inode, uint8_t copies, struct msg_meta_move_begin_r *ret)
{
    struct bytes body = {0};
    ENCODE(meta_move_begin, &body, .caller = caller_of(&two, true), .inode = inode,
           .copies = copies);
    struct answer *a = ask(MSG_meta_move_begin, &body);
    if (a->status == 0)
        CU_ASSERT_EQUAL(DECODE(meta_move_begin_r, a, ret), 0);
    return a->status;
}

static int end(const struct msg_meta_move_begin_r *b, uint8_t copies)
{
    struct bytes body = {0};
    ENCODE(meta_move_end, &body, .caller = caller_of(&two, true), .inode = b->attr.inode,
           .copies = copies, .generation = b->generation, .chunk_total = b->chunk_total,
           .data_version = b->attr.data_version);
    return ask(MSG_meta_move_end, &body)->status;
}

static int open_as(struct client_session *s, uint64_t inode, uint32_t flags)
{
    struct bytes body = {0};
    ENCODE(meta_open, &body, .caller = caller_of(s, false), .inode = inode, .flags = flags);
    return ask(MSG_meta_open, &body)->status;
}

static int commit_chunk(uint64_t inode)
{
    struct bytes body = {0};
    struct rec_chunk_slot slot = {.index = 0, .generation = 1};
    ENCODE(meta_commit, &body, .caller = caller_of(&one, true), .inode = inode, .size_min = 5,
           .mtime_ns = INT64_MIN, .added = {.count = 1, .items = &slot}, .generation = 1);
    return ask(MSG_meta_commit, &body)->status;
}

static void tell_sets(void)
{
    CU_ASSERT_EQUAL(session_alive(&one, true, NULL, 0, NULL), 0);
    CU_ASSERT_EQUAL(session_alive(&two, true, NULL, 0, NULL), 0);
}

/* More copies than chunkservers are refused; the table of another number is formed when somebody
 * asks for it; a file that somebody may be writing to stays as it is. */
static void set(void)
{
    uint64_t file = 0;
    session_begin(&one);
    session_begin(&two);
    CU_ASSERT_EQUAL_FATAL(enroll("a", &targets[0]), 0);
    CU_ASSERT_EQUAL_FATAL(enroll("b", &targets[1]), 0);
    CU_ASSERT_TRUE(is_formed(1));
    CU_ASSERT_EQUAL(set_copies(ROOT_INODE, 3), -ERR_REFUSED);
    CU_ASSERT_EQUAL(set_copies(ROOT_INODE, 1), 0);
    CU_ASSERT_TRUE(is_formed(2));
    CU_ASSERT_EQUAL(file_create(&one, "empty", &file), 0);
    CU_ASSERT_EQUAL(set_copies(file, 2), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(file_release(&one, file), 0);
    CU_ASSERT_EQUAL(set_copies(file, 2), 0);
}

/* Readers do not disturb a move; whoever may write does, before it and between begin and end. */
static void move(void)
{
    uint64_t file = 0;
    struct msg_meta_move_begin_r b = {0};
    CU_ASSERT_EQUAL(file_create(&one, "file", &file), 0);
    CU_ASSERT_EQUAL(commit_chunk(file), 0);
    CU_ASSERT_EQUAL(begin(file, 2, &b), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(file_release(&one, file), 0);
    CU_ASSERT_EQUAL(open_as(&one, file, OPEN_READ), 0);
    CU_ASSERT_EQUAL(begin(file, 2, &b), 0);
    CU_ASSERT_EQUAL(open_as(&one, file, OPEN_READ), 0);
    CU_ASSERT_EQUAL(end(&b, 2), 0);
    CU_ASSERT_EQUAL(begin(file, 1, &b), 0);
    CU_ASSERT_EQUAL(open_as(&one, file, OPEN_WRITE), 0); /* has written, for all we know */
    CU_ASSERT_EQUAL(end(&b, 1), -ERR_FILE_OPEN);
    struct bytes body = {0};
    struct rec_inode_ref ref = {.inode = file, .count = 3};
    ENCODE(meta_release, &body, .session = one.id, .open = {.count = 1, .items = &ref});
    CU_ASSERT_EQUAL(ask(MSG_meta_release, &body)->status, 0);
    CU_ASSERT_EQUAL(end(&b, 1), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(begin(file, 1, &b), 0);
    CU_ASSERT_EQUAL(end(&b, 1), 0);
}

/* A new leader knows of no ticket, and begins no move before every session has said what it has
 * open; what a set names may be written to. */
static void move_over_leader_change(void)
{
    uint64_t file = 0;
    struct msg_meta_move_begin_r b = {0};
    CU_ASSERT_EQUAL(file_create(&one, "over", &file), 0);
    CU_ASSERT_EQUAL(commit_chunk(file), 0);
    CU_ASSERT_EQUAL(file_release(&one, file), 0);
    CU_ASSERT_EQUAL(begin(file, 2, &b), 0);
    daemons_change_leader();
    CU_ASSERT_EQUAL(end(&b, 2), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(begin(file, 2, &b), -ERR_BUSY);
    struct rec_inode_ref ref = {.inode = file, .count = 1, .writers = 1};
    bool wanted = true;
    CU_ASSERT_EQUAL(session_alive(&one, true, &ref, 1, NULL), 0);
    CU_ASSERT_EQUAL(session_alive(&two, true, NULL, 0, NULL), 0);
    CU_ASSERT_EQUAL(session_alive(&one, false, NULL, 0, &wanted), 0);
    CU_ASSERT_FALSE(wanted);
    CU_ASSERT_EQUAL(begin(file, 2, &b), -ERR_FILE_OPEN);
    CU_ASSERT_EQUAL(session_alive(&one, false, NULL, 0, &wanted), 0);
    CU_ASSERT_TRUE(wanted); /* is that still so? */
    struct rec_inode_ref reader = {.inode = file, .count = 1};
    CU_ASSERT_EQUAL(session_alive(&one, true, &reader, 1, &wanted), 0);
    CU_ASSERT_FALSE(wanted);
    CU_ASSERT_EQUAL(begin(file, 2, &b), 0);
    CU_ASSERT_EQUAL(session_alive(&one, true, &ref, 1, NULL), 0); /* an open that was under way */
    CU_ASSERT_EQUAL(end(&b, 2), -ERR_FILE_OPEN);
    tell_sets();
    CU_ASSERT_EQUAL(begin(file, 2, &b), 0);
    CU_ASSERT_EQUAL(end(&b, 2), 0);
}

CU_TestInfo daemon_move_tests[] = {{"set", set},
                                   {"move", move},
                                   {"move_over_leader_change", move_over_leader_change},
                                   CU_TEST_INFO_NULL};
