/* Views of shards from tables. */
#include "chunkserver/views.h"
#include "common/base/check.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

static struct shard_table table;

static void target_add(uint32_t number, uint64_t incarnation)
{
    struct target_registration r = {.uuid = {{(uint8_t)number}},
                                    .incarnation = incarnation,
                                    .name = slice_str("c"),
                                    .address = slice_str("127.0.0.1:1"),
                                    .host = slice_str(number == 1   ? "a"
                                                      : number == 2 ? "b"
                                                                    : "c"),
                                    .weight = 1000};
    uint32_t id;
    CHECK(shard_table_register(&table, table.version + 1, &r, &id) == 0 && id == number);
}

static void make(unsigned copies)
{
    shard_table_init(&table, 1);
    for (uint32_t i = 1; i <= 3; i++)
        target_add(i, 1);
    CHECK(shard_table_form(&table, table.version + 1, copies) == 0);
}

static uint32_t member(unsigned copies, unsigned at)
{
    return shard_table_chain(&table, copies, 0).member[at];
}

/* The first view has the table's members in write order and no fence. */
static void first_view(void)
{
    struct view_before before = {.copies = 3, .number = 0};
    struct chain_shard_view v;
    make(3);
    CU_ASSERT_TRUE(view_make(&table, 2, &before, 700, &v));
    CU_ASSERT_EQUAL(v.member_count, 3);
    CU_ASSERT_EQUAL(v.members[0].target, member(3, 0));
    CU_ASSERT_EQUAL(v.members[2].state, SLOT_INSYNC);
    CU_ASSERT_EQUAL(v.min_copies, 2);
    CU_ASSERT_EQUAL(v.fence_ms, 0);
    CU_ASSERT_EQUAL(v.incarnation, 1);
    shard_table_release(&table);
}

/* D12: a member taken out while its process is up may serve until its lease ends: a fence. One that
 * the leader has seen dead for a lease needs none. */
static void fence_only_for_the_living(void)
{
    struct view_before before;
    struct chain_shard_view v;
    make(3);
    uint32_t head = member(3, 0), second = member(3, 1), last = member(3, 2);
    view_remember(&table, 3, 0, &before);
    struct msg_shard_report report = {.copies = 3,
                                      .epoch = before.shard.epoch,
                                      .target = second,
                                      .kind = REPORT_OUT_OF_SYNC,
                                      .reporter = head};
    CU_ASSERT_TRUE(shard_table_report(&table, table.version + 1, &report));
    CU_ASSERT_TRUE(view_make(&table, head, &before, 700, &v));
    CU_ASSERT_EQUAL(v.fence_ms, 700);
    CU_ASSERT_TRUE(view_make(&table, second, &before, 700, &v)); /* the one that left: no fence */
    CU_ASSERT_EQUAL(v.fence_ms, 0);

    view_remember(&table, 3, 0, &before);
    uint64_t incarnation = 1;
    CU_ASSERT_TRUE(shard_table_offline(&table, table.version + 1, &last, &incarnation, 1));
    CU_ASSERT_TRUE(view_make(&table, head, &before, 700, &v));
    CU_ASSERT_EQUAL(v.fence_ms, 0);
    shard_table_release(&table);
}

/* A member that lost its place and came back as another process holds no old lease: no fence, also
 * when the table in between was never seen. */
static void no_fence_for_a_new_process(void)
{
    struct view_before before;
    struct chain_shard_view v;
    make(2);
    uint32_t head = member(2, 0), second = member(2, 1);
    view_remember(&table, 2, 0, &before);
    uint64_t incarnation = 1;
    CU_ASSERT_TRUE(shard_table_offline(&table, table.version + 1, &second, &incarnation, 1));
    target_add(second, 2);
    CU_ASSERT_TRUE(view_make(&table, head, &before, 700, &v));
    CU_ASSERT_EQUAL(v.fence_ms, 0);
    CU_ASSERT_EQUAL(v.min_copies, 1);
    CU_ASSERT_EQUAL(v.member_count, 2);
    CU_ASSERT_EQUAL(v.members[0].target, head);
    CU_ASSERT_EQUAL(v.members[1].state, SLOT_SYNCING);
    CU_ASSERT_TRUE(view_make(&table, second, &before, 700, &v));
    CU_ASSERT_EQUAL(v.incarnation, 2);
    shard_table_release(&table);
}

/* Shards of others give no view; one that we left gives a last one without us. */
static void others_give_none(void)
{
    struct view_before before, none = {.copies = 2, .number = 0};
    struct chain_shard_view v;
    make(2);
    uint32_t second = member(2, 1), stranger = 6 - member(2, 0) - second;
    view_remember(&table, 2, 0, &before);
    CU_ASSERT_FALSE(view_make(&table, stranger, &none, 700, &v));
    CU_ASSERT_FALSE(view_make(&table, 9, &before, 700, &v));
    uint64_t incarnation = 1;
    CU_ASSERT_TRUE(shard_table_offline(&table, table.version + 1, &second, &incarnation, 1));
    CU_ASSERT_TRUE(view_make(&table, second, &before, 700, &v));
    CU_ASSERT_EQUAL(v.member_count, 1);
    shard_table_release(&table);
}

static bool reported(uint8_t kind, uint32_t target, uint32_t reporter)
{
    struct msg_shard_report report = {.copies = 2,
                                      .epoch = shard_table_shard(&table, 2, 0)->epoch,
                                      .target = target,
                                      .kind = kind,
                                      .reporter = reporter};
    return shard_table_report(&table, table.version + 1, &report);
}

/* D12: one that left by its own word needs no fence; without it, and for an incoming one that was
 * in sync already, there is one. */
static void leaving_needs_a_word(void)
{
    for (unsigned way = 0; way < 3; way++) {
        struct view_before before;
        struct chain_shard_view v;
        make(2);
        uint32_t head = member(2, 0), second = member(2, 1), third = 6 - head - second;
        CU_ASSERT_TRUE(shard_table_move(&table, table.version + 1, 2, 0, 1, head, third));
        view_remember(&table, 2, 0, &before);
        CU_ASSERT_TRUE(reported(REPORT_SYNCED, third, second));
        CU_ASSERT_TRUE(view_make(&table, second, &before, 700, &v));
        CU_ASSERT_TRUE(v.fence_ms == 0 && v.member_count == 3);
        CU_ASSERT_TRUE(v.members[0].target == head && v.members[0].state == SLOT_LEAVING);
        CU_ASSERT_TRUE(v.members[2].target == third && v.members[2].state == SLOT_INSYNC);
        view_remember(&table, 2, 0, &before);
        if (way == 0)
            CU_ASSERT_TRUE(reported(REPORT_LEFT, head, head))
        else
            CU_ASSERT_TRUE(reported(REPORT_OUT_OF_SYNC, way == 1 ? head : third, second));
        CU_ASSERT_TRUE(view_make(&table, second, &before, 700, &v));
        CU_ASSERT_EQUAL(v.fence_ms, way == 0 ? 0 : 700);
        CU_ASSERT_TRUE(view_make(&table, head, &before, 700, &v)); /* the last one it gets */
        shard_table_release(&table);
    }
}

#define TESTS(T)                  \
    T(first_view)                 \
    T(fence_only_for_the_living)  \
    T(leaving_needs_a_word)       \
    T(no_fence_for_a_new_process) \
    T(others_give_none)
CU_TestInfo view_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
