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
    CU_ASSERT_EQUAL(o.config.metaserver_count, 2);
    CU_ASSERT_STRING_EQUAL(o.config.metaservers[1], "127.0.0.1:7002");
    CU_ASSERT_STRING_EQUAL(o.config.host, "c1");
    CU_ASSERT_EQUAL(o.config.reserve_per_mille, 50);
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

#define TESTS(T)    \
    T(good_options) \
    T(bad_options)
CU_TestInfo option_tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
