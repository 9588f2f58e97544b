/* R21, R22: what metaservers short of room refuse, and what they must not. */
#include <stdio.h>
#include <sys/statvfs.h>

#include "tests/unit/metaserver/daemon_fixture.h"

static struct client_session one;

/* Starts all daemons again with a reserve of so many times what is free. */
static void restart_with_reserve(unsigned times)
{
    struct statvfs disk;
    char text[32];
    CU_ASSERT_EQUAL_FATAL(statvfs("/var/tmp", &disk), 0);
    (void)snprintf(text, sizeof text, "%llu",
                   (unsigned long long)disk.f_bavail * disk.f_frsize * times);
    int result = times > 0 ? setenv("CAIRN_RESERVE", text, 1) : unsetenv("CAIRN_RESERVE");
    CU_ASSERT_EQUAL(result, 0);
    for (unsigned i = 0; i < METAS; i++)
        daemons_kill(i, SIGTERM);
    for (unsigned i = 0; i < METAS; i++)
        daemons_start(i);
    (void)daemons_leader();
}

static int make(uint64_t sequence, const char *name, struct msg_meta_entry_r *ret)
{
    struct bytes body = {0};
    ENCODE(meta_mknod, &body,
           .caller = {.session = one.id,
                      .sequence = sequence,
                      .lowest_unanswered = 1,
                      .groups = slice_of("", 0)},
           .parent = ROOT_INODE, .name = slice_str(name), .mode = 0100644);
    struct answer *a = ask(MSG_meta_mknod, &body);
    return a->status != 0 ? a->status : DECODE(meta_entry_r, a, ret);
}

static int change_mode(uint64_t inode)
{
    struct bytes body = {0};
    ENCODE(meta_setattr, &body, .caller = caller_of(&one, true), .inode = inode,
           .valid = SETATTR_MODE, .mode = 0600);
    return ask(MSG_meta_setattr, &body)->status;
}

/* New names until they are refused: the disk is looked at twice a second. */
static int make_until_refused(void)
{
    struct msg_meta_entry_r entry;
    int status = 0;
    for (unsigned i = 0; i < 100 && status == 0; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "new%llu", (unsigned long long)++one.sequence);
        status = make(one.sequence, name, &entry);
        pause_ms(status == 0 ? 100 : 0);
    }
    return status;
}

/* All three are `level`, as the leader heard them, and so is the cluster. */
static bool all_are(uint8_t level)
{
    struct rec_meta_status row;
    struct msg_status_r s;
    if (status_get(&s) != 0 || s.space_level != level)
        return false;
    unsigned count = 0;
    for (struct slice cursor = s.metas.raw; rec_meta_status_next(&cursor, &row);)
        count += row.space_level == level && row.space_free > 0 && row.space_place.size > 0;
    return count == METAS;
}

static void expect_all(uint8_t level)
{
    for (unsigned i = 0; i < 200 && !all_are(level); i++)
        pause_ms(100);
    CU_ASSERT_TRUE(all_are(level));
}

static void refuses_what_grows(void)
{
    struct msg_meta_entry_r first = {.index = 0}, again = {.index = 0};
    session_begin(&one);
    uint64_t sequence = ++one.sequence;
    CU_ASSERT_EQUAL_FATAL(make(sequence, "first", &first), 0);
    CU_ASSERT_EQUAL(make(++one.sequence, "second", &again), 0);
    restart_with_reserve(2);
    CU_ASSERT_EQUAL(make_until_refused(), -ERR_NO_SPACE);
    expect_all(SPACE_LOW);
    CU_ASSERT_EQUAL(make(sequence, "first", &again), 0); /* R22: it was done */
    CU_ASSERT_EQUAL(again.index, first.index);
    CU_ASSERT_EQUAL(again.attr.inode, first.attr.inode);
    CU_ASSERT_EQUAL(make(++one.sequence, "first", &again), -ERR_EXISTS);
    CU_ASSERT_EQUAL(change_mode(first.attr.inode), 0);
    CU_ASSERT_EQUAL(file_unlink(&one, "second"), 0);
    restart_with_reserve(8);
    CU_ASSERT_EQUAL(make_until_refused(), -ERR_NO_SPACE);
    expect_all(SPACE_SHORT);
    CU_ASSERT_EQUAL(change_mode(first.attr.inode), -ERR_NO_SPACE);
    CU_ASSERT_EQUAL(file_stat(first.attr.inode), 0);
    CU_ASSERT_EQUAL(file_unlink(&one, "first"), 0);
    restart_with_reserve(0);
    CU_ASSERT_EQUAL(make(++one.sequence, "third", &again), 0);
    expect_all(SPACE_OK);
}

CU_TestInfo daemon_space_tests[] = {{"refuses_what_grows", refuses_what_grows}, CU_TEST_INFO_NULL};
