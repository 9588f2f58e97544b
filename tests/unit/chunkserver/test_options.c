/* Options: what is missing or wrong is named. */
#include <stdio.h>
#include <string.h>

#include "chunkserver/options.h"
#include "tests/unit/chunkserver/suites.h"
#include "common/base/banned.h"

#define GOOD                                                                        \
    "--name=c1", "--cluster=11111111-1111-4111-8111-111111111111", "--data=/tmp/x", \
        "--metaservers=127.0.0.1:7001, 127.0.0.1:7002"

static int load(const char *const *words, struct options *o, struct err_text *why)
{
    char *argv[16];
    char program[] = "cairn-chunkserver";
    int argc = 0;
    struct conf_command command = {0};
    argv[argc++] = program;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    *why = (struct err_text){""};
    return options_load(argc, argv, o, &command, why);
}

/* The metaservers are split, the host defaults to the name. */
static void good_options(void)
{
    struct options o;
    struct err_text why;
    const char *const words[] = {GOOD, NULL};
    CU_ASSERT_EQUAL(load(words, &o, &why), 0);
    CU_ASSERT_EQUAL(o.config.common.metaserver_count, 2);
    CU_ASSERT_STRING_EQUAL(o.config.common.metaservers[1], "127.0.0.1:7002");
    CU_ASSERT_STRING_EQUAL(o.config.common.host, "c1");
    CU_ASSERT_EQUAL(o.config.common.reserve_per_mille, 50);
    CU_ASSERT_PTR_NULL(o.log_file);
    options_release(&o);
}

/* Each fault is refused with a text that names the key. */
static void bad_options(void)
{
    static const struct {
        const char *word, *text;
    } rows[] = {{"--cluster=7", "cluster"},
                {"--name=", "name"},
                {"--data=", "data"},
                {"--metaservers=,", "metaservers"},
                {"--log-level=loud", "log_level"},
                {"--reserve-per-mille=900", "reserve_per_mille"},
                {"--nmae=c2", "did you mean 'name'"},
                {"stray", "stray"}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct options o;
        struct err_text why;
        const char *const words[] = {GOOD, rows[i].word, NULL};
        CU_ASSERT_EQUAL(load(words, &o, &why), -ERR_CONFIG);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, rows[i].text));
        options_release(&o);
    }
}

/* Number, name and address of each of several targets do not depend on the others. */
static void several_targets(void)
{
    struct options o;
    struct err_text why;
    const char *const words[] = {GOOD, "--target=12=/tmp/y", "--target", "3=/tmp/z", NULL};
    const char *const alone[] = {GOOD, "--data=", "--target=3=/tmp/z", NULL};
    CU_ASSERT_EQUAL(load(words, &o, &why), 0);
    const struct daemon_target *t = o.config.targets;
    CU_ASSERT_EQUAL(o.config.target_count, 3);
    CU_ASSERT_STRING_EQUAL(t[0].name, "c1");
    CU_ASSERT_STRING_EQUAL(t[0].listen, "127.0.0.1:7101");
    CU_ASSERT_STRING_EQUAL(t[1].name, "c1.12");
    CU_ASSERT_STRING_EQUAL(t[1].listen, "127.0.0.1:7112");
    CU_ASSERT_STRING_EQUAL(t[1].data, "/tmp/y");
    CU_ASSERT_STRING_EQUAL(t[2].name, "c1.3");
    CU_ASSERT_STRING_EQUAL(t[2].listen, "127.0.0.1:7103");
    options_release(&o);
    CU_ASSERT_EQUAL(load(alone, &o, &why), 0);
    CU_ASSERT_EQUAL(o.config.target_count, 1);
    CU_ASSERT_STRING_EQUAL(o.config.targets[0].name, "c1.3");
    CU_ASSERT_STRING_EQUAL(o.config.targets[0].listen, "127.0.0.1:7103");
    options_release(&o);
}

/* What would make two targets of one disk, or one target with two names, is refused. */
static void bad_targets(void)
{
    static const struct {
        const char *first, *second, *text;
    } rows[] = {
        {"--target=2=/tmp/x", NULL, "targets c1 and c1.2 have the same folder"},
        {"--target=2=/tmp/../tmp/x/", NULL, "the same folder"},
        {"--target=2=/tmp/x/y", NULL, "lie in one another"},
        {"--target=2=/tmp/y/z", "--target=3=/tmp/y", "lie in one another"},
        {"--target=2=/", NULL, "lie in one another"},
        {"--target=2=/tmp/y", "--target=2=/tmp/z", "target 2 is given twice"},
        {"--target=1=/tmp/y", NULL, "is the first target already"},
        {"--target=0=/tmp/y", NULL, "give it a number"},
        {"--target=1000=/tmp/y", NULL, "give it a number"},
        {"--target=d2=/tmp/y", NULL, "give it a number"},
        {"--target=/tmp/y", NULL, "NAME=VALUE"},
        {"--target=2=", NULL, "has no folder"},
        {"--target=9=/tmp/y", "--listen=127.0.0.1:65530", "has no port"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct options o;
        struct err_text why;
        const char *const words[] = {GOOD, rows[i].first, rows[i].second, NULL};
        CU_ASSERT_EQUAL(load(words, &o, &why), -ERR_CONFIG);
        if (!strstr(why.text, rows[i].text)) {
            (void)fprintf(stderr, "# %s: %s\n", rows[i].first, why.text);
            CU_FAIL("another text");
        }
        options_release(&o);
    }
    struct options o;
    struct err_text why;
    const char *const near[] = {GOOD, "--target=2=/tmp/xy", NULL};
    CU_ASSERT_EQUAL(load(near, &o, &why), 0);
    options_release(&o);
}

#define TESTS(T)       \
    T(good_options)    \
    T(bad_options)     \
    T(several_targets) \
    T(bad_targets)
CU_TestInfo option_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
