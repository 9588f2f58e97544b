/* The operation's state machine and the attribute cache: pure. */
#include "tests/unit/common/client/test_client.h"

#include <sys/stat.h>

#include "common/base/err.h"
#include "common/client/attr_cache.h"
#include "common/client/op.h"

static struct op op;

static unsigned start(bool is_change, bool session_up)
{
    op_init(&op, is_change, 1000);
    return op_step(&op, &(struct op_event){.kind = OP_EV_START, .session_up = session_up});
}

static unsigned reply(int status, bool is_remote, bool sent_once, uint64_t now_ms)
{
    return op_step(&op, &(struct op_event){.kind = OP_EV_REPLY,
                                           .status = status,
                                           .is_remote = is_remote,
                                           .sent_once = sent_once,
                                           .session_up = true,
                                           .now_ms = now_ms});
}

/* An answer ends the operation with its status. */
static void op_answers(void)
{
    CU_ASSERT_EQUAL(start(false, true), OP_SEND);
    CU_ASSERT_EQUAL(reply(0, true, true, 1), OP_FINISH);
    CU_ASSERT_EQUAL(op.status, 0);
    (void)start(true, true);
    CU_ASSERT_EQUAL(reply(-ERR_EXISTS, true, true, 1), OP_FINISH);
    CU_ASSERT_EQUAL(op.status, -ERR_EXISTS);
}

/* Without a session it waits for one, but not beyond its deadline (P6). */
static void op_waits_for_a_session(void)
{
    CU_ASSERT_EQUAL(start(true, false), OP_WAIT);
    CU_ASSERT_EQUAL(op.wake_at_ms, 1000);
    CU_ASSERT_EQUAL(op_step(&op, &(struct op_event){.kind = OP_EV_SESSION_UP, .session_up = true}),
                    OP_SEND);
    (void)start(true, false);
    CU_ASSERT_EQUAL(op_step(&op, &(struct op_event){.kind = OP_EV_TIMER, .now_ms = 1000}),
                    OP_FINISH);
    CU_ASSERT_EQUAL(op.status, -ERR_TIMEOUT);
}

/* A busy leader is asked again after growing pauses; the last answer counts at the deadline. */
static void op_pauses_when_busy(void)
{
    uint64_t now_ms = 0, pause_before = 0;
    (void)start(true, true);
    while (reply(-ERR_BUSY, true, true, now_ms) == OP_WAIT) {
        CU_ASSERT(op.wake_at_ms - now_ms >= pause_before);
        pause_before = op.wake_at_ms - now_ms;
        now_ms = op.wake_at_ms;
        CU_ASSERT_EQUAL(
            op_step(&op,
                    &(struct op_event){.kind = OP_EV_TIMER, .session_up = true, .now_ms = now_ms}),
            OP_SEND);
    }
    CU_ASSERT_EQUAL(op.status, -ERR_BUSY);
    CU_ASSERT(now_ms <= 1000 && op.sends > 5);
}

/* R23: a change that may have run in a lost session ends with an error, never runs twice. */
static void op_change_in_a_lost_session(void)
{
    (void)start(true, true);
    CU_ASSERT_EQUAL(reply(-ERR_NO_SESSION, true, false, 1), OP_FINISH | OP_TELL_LOST);
    CU_ASSERT_EQUAL(op.status, -ERR_IO);
    /* Sent once to one leader: it surely did not run, and goes into the next session. */
    (void)start(true, true);
    CU_ASSERT_EQUAL(reply(-ERR_NO_SESSION, true, true, 1), OP_WAIT | OP_TELL_LOST);
    CU_ASSERT_EQUAL(op_step(&op, &(struct op_event){.kind = OP_EV_SESSION_UP, .session_up = true}),
                    OP_SEND);
    /* A read goes on in any case. */
    (void)start(false, true);
    CU_ASSERT_EQUAL(reply(-ERR_NO_SESSION, true, false, 1), OP_WAIT | OP_TELL_LOST);
}

/* ---- attribute cache ---- */

static struct attr_cache cache;

static struct wire_attr attr_of(uint64_t inode, uint64_t version)
{
    return (struct wire_attr){.inode = inode,
                              .mode = S_IFREG | 0644,
                              .nlink = 1,
                              .size = 10,
                              .version = version,
                              .data_version = version};
}

/* Attributes live as long as told, counted from when they were asked for; older answers lose. */
static void cache_attrs(void)
{
    unsigned valid_ms = 0;
    struct wire_attr a = attr_of(5, 7);
    attr_cache_init(&cache, 1000, 4, 1);
    CU_ASSERT_TRUE(attr_cache_put(&cache, &a, 100));
    CU_ASSERT_PTR_NOT_NULL(attr_cache_get(&cache, 5, 600, &valid_ms));
    CU_ASSERT_EQUAL(valid_ms, 500);
    CU_ASSERT_PTR_NULL(attr_cache_get(&cache, 5, 1100, &valid_ms));
    a.version = 6;
    a.size = 99;
    CU_ASSERT_FALSE(attr_cache_put(&cache, &a, 200));
    CU_ASSERT_EQUAL(attr_cache_get(&cache, 5, 600, &valid_ms)->size, 10);
    for (uint64_t inode = 10; inode < 20; inode++) {
        struct wire_attr b = attr_of(inode, 1);
        (void)attr_cache_put(&cache, &b, 200);
    }
    CU_ASSERT_EQUAL(cache.attrs.count, 4);
    CU_ASSERT_PTR_NULL(attr_cache_get(&cache, 5, 300, &valid_ms));
    attr_cache_release(&cache);
}

/* Names, also absent ones, are known for their time; a change is known at once. */
static void cache_names(void)
{
    unsigned valid_ms = 0;
    uint64_t inode = 0;
    attr_cache_init(&cache, 1000, 4, 1);
    CU_ASSERT_EQUAL(attr_cache_name(&cache, 1, slice_str("a"), 0, &inode, &valid_ms), NAME_UNKNOWN);
    attr_cache_name_put(&cache, 1, slice_str("a"), 0, 0);
    CU_ASSERT_EQUAL(attr_cache_name(&cache, 1, slice_str("a"), 10, &inode, &valid_ms), NAME_ABSENT);
    CU_ASSERT_EQUAL(attr_cache_name(&cache, 2, slice_str("a"), 10, &inode, &valid_ms),
                    NAME_UNKNOWN);
    attr_cache_name_put(&cache, 1, slice_str("a"), 9, 20);
    CU_ASSERT_EQUAL(attr_cache_name(&cache, 1, slice_str("a"), 30, &inode, &valid_ms), NAME_KNOWN);
    CU_ASSERT_EQUAL(inode, 9);
    CU_ASSERT_EQUAL(attr_cache_name(&cache, 1, slice_str("a"), 1020, &inode, &valid_ms),
                    NAME_UNKNOWN);
    attr_cache_release(&cache);
}

/* D28: pages stay only while nobody else can have written: own changes carry the version before. */
static void cache_pages(void)
{
    struct wire_attr a = attr_of(5, 7);
    attr_cache_init(&cache, 1000, 4, 1);
    (void)attr_cache_put(&cache, &a, 0);
    CU_ASSERT_FALSE(attr_cache_pages_match(&cache, &a));
    attr_cache_pages_set(&cache, &a);
    CU_ASSERT_TRUE(attr_cache_pages_match(&cache, &a));
    struct wire_attr own = attr_of(5, 9);
    own.size = 20;
    attr_cache_pages_moved(&cache, &own, 7);
    CU_ASSERT_TRUE(attr_cache_pages_match(&cache, &own));
    struct wire_attr mixed = attr_of(5, 12); /* somebody else wrote version 11 */
    attr_cache_pages_moved(&cache, &mixed, 11);
    CU_ASSERT_FALSE(attr_cache_pages_match(&cache, &mixed));
    attr_cache_release(&cache);
}

#define TESTS(T)                   \
    T(op_answers)                  \
    T(op_waits_for_a_session)      \
    T(op_pauses_when_busy)         \
    T(op_change_in_a_lost_session) \
    T(cache_attrs)                 \
    T(cache_names)                 \
    T(cache_pages)
CU_TestInfo tests_op[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
