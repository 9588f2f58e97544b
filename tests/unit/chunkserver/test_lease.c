/* A lease counts when the table that it was granted with is here (D2, D13). */
#include "chunkserver/lease.h"
#include "tests/unit/chunkserver/suites.h"

#include "common/base/banned.h"

static void counts_at_once_with_the_table(void)
{
    struct lease l = {0};
    CU_ASSERT_TRUE(lease_offered(&l, (struct lease_offer){3000, 7}, 7));
    CU_ASSERT_EQUAL(l.expires_ms, 3000);
    CU_ASSERT_TRUE(lease_offered(&l, (struct lease_offer){3500, 7}, 9));
    CU_ASSERT_EQUAL(l.expires_ms, 3500);
    CU_ASSERT_FALSE(lease_offered(&l, (struct lease_offer){3400, 9}, 9)); /* an older heartbeat's */
    CU_ASSERT_EQUAL(l.expires_ms, 3500);
}

static void waits_for_the_table(void)
{
    struct lease l = {.expires_ms = 1000};
    CU_ASSERT_FALSE(lease_offered(&l, (struct lease_offer){3000, 8}, 7));
    CU_ASSERT_EQUAL(l.expires_ms, 1000);
    CU_ASSERT_FALSE(lease_table_taken(&l, 7));
    CU_ASSERT_TRUE(lease_table_taken(&l, 8));
    CU_ASSERT_EQUAL(l.expires_ms, 3000);
    CU_ASSERT_FALSE(lease_table_taken(&l, 9));
}

/* The table changes all the time and comes late: the oldest grant counts when it comes. */
static void is_not_starved(void)
{
    struct lease l = {0};
    for (uint64_t i = 0; i < 5; i++)
        CU_ASSERT_FALSE(
            lease_offered(&l, (struct lease_offer){3000 + 500 * (int64_t)i, 10 + i}, 5));
    CU_ASSERT_TRUE(lease_table_taken(&l, 11));
    CU_ASSERT_EQUAL(l.expires_ms, 3000);
    CU_ASSERT_TRUE(lease_table_taken(&l, 14));
    CU_ASSERT_EQUAL(l.expires_ms, 5000);
}

CU_TestInfo lease_tests[] = {
    {"counts_at_once_with_the_table", counts_at_once_with_the_table},
    {"waits_for_the_table", waits_for_the_table},
    {"is_not_starved", is_not_starved},
    CU_TEST_INFO_NULL,
};
