/* Numbers for people, and paths. */
#include <string.h>

#include "tests/unit/tools/test_tools.h"
#include "tools/place.h"
#include "tools/text.h"

#include "common/base/banned.h"

/* A size keeps one digit behind the point and takes the largest unit that fits. */
static void bytes_take_the_largest_unit(void)
{
    char text[TEXT_SIZE];
    CU_ASSERT_STRING_EQUAL(text_bytes(0, text), "0 B");
    CU_ASSERT_STRING_EQUAL(text_bytes(1023, text), "1023 B");
    CU_ASSERT_STRING_EQUAL(text_bytes(1536, text), "1.5 KiB");
    CU_ASSERT_STRING_EQUAL(text_bytes((uint64_t)64 << 20, text), "64.0 MiB");
    CU_ASSERT_STRING_EQUAL(text_bytes(UINT64_MAX, text), "15.9 EiB");
}

/* A rate without time is no division by zero. */
static void rates_need_time(void)
{
    char text[TEXT_SIZE];
    CU_ASSERT_STRING_EQUAL(text_rate(1000, 0, text), "-");
    CU_ASSERT_STRING_EQUAL(text_rate(1 << 20, 500, text), "2.0 MiB/s");
}

/* Each range of a duration has its own form. */
static void durations_change_form(void)
{
    char text[TEXT_SIZE];
    CU_ASSERT_STRING_EQUAL(text_duration(430, text), "0.4 s");
    CU_ASSERT_STRING_EQUAL(text_duration(12999, text), "12 s");
    CU_ASSERT_STRING_EQUAL(text_duration(252000, text), "4m12s");
    CU_ASSERT_STRING_EQUAL(text_duration(7500000, text), "2h05m");
    CU_ASSERT_STRING_EQUAL(text_duration(529200000, text), "6d 3h");
}

/* Commas stand before every third digit from the end, never in front. */
static void counts_have_commas(void)
{
    char text[TEXT_SIZE];
    CU_ASSERT_STRING_EQUAL(text_count(0, text), "0");
    CU_ASSERT_STRING_EQUAL(text_count(999, text), "999");
    CU_ASSERT_STRING_EQUAL(text_count(1000, text), "1,000");
    CU_ASSERT_STRING_EQUAL(text_count(3412877, text), "3,412,877");
    CU_ASSERT_STRING_EQUAL(text_count(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

/* A remote path splits into folder and name; the root has no name. */
static void paths_split(void)
{
    char folder[PATH_MAX];
    const char *name;
    CU_ASSERT_EQUAL(place_split("/a/b", folder, &name), 0);
    CU_ASSERT_STRING_EQUAL(folder, "/a");
    CU_ASSERT_STRING_EQUAL(name, "b");
    CU_ASSERT_EQUAL(place_split("/a//", folder, &name), 0);
    CU_ASSERT_STRING_EQUAL(folder, "");
    CU_ASSERT_STRING_EQUAL(name, "a");
    CU_ASSERT_EQUAL(place_split("/", folder, &name), -ERR_INVALID);
    CU_ASSERT_EQUAL(place_split("", folder, &name), -ERR_INVALID);
}

/* Joining puts one slash between, and refuses what does not fit. */
static void paths_join(void)
{
    char path[PATH_MAX], longest[PATH_MAX];
    CU_ASSERT_EQUAL(place_join("/", "a", path), 0);
    CU_ASSERT_STRING_EQUAL(path, "/a");
    CU_ASSERT_EQUAL(place_join("/a", "b", path), 0);
    CU_ASSERT_STRING_EQUAL(path, "/a/b");
    memset(longest, 'x', sizeof longest);
    longest[PATH_MAX - 1] = '\0';
    CU_ASSERT_EQUAL(place_join(longest, "b", path), -ERR_NAME_TOO_LONG);
}

/* The prefix cairn: means the cluster, with or without the leading slash. */
static void prefix_means_remote(void)
{
    struct place place;
    CU_ASSERT_EQUAL(place_parse("cairn:/a/b", &place), 0);
    CU_ASSERT_TRUE(place.is_remote);
    CU_ASSERT_STRING_EQUAL(place.path, "/a/b");
    CU_ASSERT_EQUAL(place_parse("cairn:a", &place), 0);
    CU_ASSERT_STRING_EQUAL(place.path, "/a");
    CU_ASSERT_EQUAL(place_parse("/tmp", &place), 0);
    CU_ASSERT_FALSE(place.is_remote);
}

#define TESTS(T)                   \
    T(bytes_take_the_largest_unit) \
    T(rates_need_time)             \
    T(durations_change_form)       \
    T(counts_have_commas)          \
    T(paths_split)                 \
    T(paths_join)                  \
    T(prefix_means_remote)
CU_TestInfo tests_text[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
