/* What a folder holds is read as the daemon tells it, whole or not at all; only "yes" in full or
 * the cluster's id confirms (R12). */
#include <stdio.h>
#include <string.h>

#include "tests/unit/tools/test_tools.h"
#include "tools/recover.h"

#include "common/base/banned.h"

#define ID "0a1b2c3d-0000-4000-8000-000000000001"

static const char whole[] =
    "node 3\ncluster " ID "\ndata /a folder/m3\nwhole 1\napplied 812\nlast 815\nterm 4\n"
    "time_ns 1763751851000000000\nlater-version 1 2 3\n"
    "voter 1 10.0.0.1:7001\nlearner 3 [::1]:7003\nend\n";

static void a_survey_is_read(void)
{
    static struct recover_survey s;
    CU_ASSERT_TRUE_FATAL(recover_survey_parse(whole, &s));
    CU_ASSERT_EQUAL(s.node, 3);
    CU_ASSERT_STRING_EQUAL(s.cluster, ID);
    CU_ASSERT_STRING_EQUAL(s.data, "/a folder/m3");
    CU_ASSERT_TRUE(s.is_whole);
    CU_ASSERT_TRUE(s.applied_index == 812 && s.last_index == 815 && s.last_term == 4);
    CU_ASSERT_TRUE(s.time_ns == 1763751851000000000);
    CU_ASSERT_EQUAL_FATAL(s.member_count, 2);
    CU_ASSERT_TRUE(s.members[0].node == 1 && s.members[0].is_voter);
    CU_ASSERT_STRING_EQUAL(s.members[0].address, "10.0.0.1:7001");
    CU_ASSERT_TRUE(s.members[1].node == 3 && !s.members[1].is_voter);
    CU_ASSERT_STRING_EQUAL(s.members[1].address, "[::1]:7003");
}

/* A daemon that died while it told, or one that tells something else. */
static void half_a_survey_is_none(void)
{
    static struct recover_survey s;
    static const char *const bad[] = {
        "end\n",
        "node 3\ncluster " ID "\nend\n",
        "node x\ncluster " ID "\ndata /d\nend\n",
        "node 3\ncluster " ID "0\ndata /d\nend\n",
        "node 3\ncluster " ID "\ndata /d\nvoter 1\nend\n",
        "node 3\ncluster " ID "\ndata /d\nlast \nend\n",
        "node 3\ncluster " ID "\ndata /d\na-word-that-is-too-long 1\nend\n",
    };
    char part[sizeof whole];
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        snprintf(part, sizeof part, "%.*s", (int)size, whole);
        CU_ASSERT_FALSE(recover_survey_parse(part, &s));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_FALSE(recover_survey_parse(bad[i], &s));
}

static void members_are_bounded(void)
{
    static struct recover_survey s;
    char text[2048] = "node 3\ncluster " ID "\ndata /d\n";
    for (unsigned i = 1; i <= RECOVER_MEMBERS_MAX + 1; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "voter %u h:%u\nend\n", i, i);
        CU_ASSERT_EQUAL(recover_survey_parse(text, &s), i <= RECOVER_MEMBERS_MAX);
        text[strlen(text) - strlen("end\n")] = '\0';
    }
}

static void only_a_clear_yes_confirms(void)
{
    static struct recover_survey s;
    static const char *const no[] = {"",     "y",        "Yes",      "yes ",
                                     "no",   "0a1b2c3",  "1b2c3d-",  "0a1b2c3d-1",
                                     ID "0", "0A1B2C3D", "10a1b2c3d"};
    CU_ASSERT_TRUE_FATAL(recover_survey_parse(whole, &s));
    CU_ASSERT_TRUE(recover_is_confirmed(&s, "yes"));
    CU_ASSERT_TRUE(recover_is_confirmed(&s, "0a1b2c3d"));
    CU_ASSERT_TRUE(recover_is_confirmed(&s, "0a1b2c3d-00"));
    CU_ASSERT_TRUE(recover_is_confirmed(&s, ID));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        CU_ASSERT_FALSE(recover_is_confirmed(&s, no[i]));
}

#define TESTS(T)             \
    T(a_survey_is_read)      \
    T(half_a_survey_is_none) \
    T(members_are_bounded)   \
    T(only_a_clear_yes_confirms)
CU_TestInfo tests_recover[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
