/* Words and options by table. */
#include <string.h>

#include "tests/unit/tools/test_tools.h"
#include "tools/command.h"

#include "common/base/banned.h"

static int run_nothing(const struct arguments *a)
{
    (void)a;
    return EXIT_GOOD;
}

static const struct command commands[] = {
    {.name = "status",
     .run = run_nothing,
     .usage = "[PATH]",
     .words_max = 1,
     .options = {OPTION_CLUSTER,
                 OPTION_OUTPUT,
                 {"watch", 'w', OPTION_MAYBE, "SECONDS", ""},
                 {"long", 'l', OPTION_SWITCH, NULL, ""}}},
    {.name = "mkdir", .run = run_nothing, .usage = "PATH", .words_min = 1, .words_max = 1},
    {.name = NULL},
};

enum { WORDS_MAX = 8 };
static const char *words[WORDS_MAX];
static struct arguments got;
static struct err_text why;
static bool help;

static int parse(const struct command *c, const char *const *text)
{
    static char copies[WORDS_MAX][64];
    char *argv[WORDS_MAX + 1] = {NULL};
    int argc = 0;
    for (; text[argc]; argc++) {
        size_t size = strlen(text[argc]) + 1;
        memcpy(copies[argc], text[argc], size < 64 ? size : 63);
        argv[argc] = copies[argc];
    }
    return arguments_parse(c, argc, argv, words, &got, &help, &why);
}
#define PARSE(c, ...) parse(c, (const char *const[]){"x", __VA_ARGS__, NULL})

/* Values come behind a letter, a name or an equals sign; words may stand anywhere. */
static void options_take_values(void)
{
    CU_ASSERT_EQUAL(PARSE(&commands[0], "-lojson", "word", "--cluster=/d"), 0);
    CU_ASSERT_TRUE(option_given(&got, "long"));
    CU_ASSERT_STRING_EQUAL(option_text(&got, "output"), "json");
    CU_ASSERT_STRING_EQUAL(option_text(&got, "cluster"), "/d");
    CU_ASSERT_EQUAL(got.word_count, 1);
    CU_ASSERT_EQUAL(PARSE(&commands[0], "--cluster", "a:1", "--", "-l"), 0);
    CU_ASSERT_STRING_EQUAL(got.words[0], "-l");
    CU_ASSERT_FALSE(option_given(&got, "long"));
}

/* -w takes the number behind it, and nothing else. */
static void watch_takes_a_number_only(void)
{
    unsigned seconds = 0;
    CU_ASSERT_EQUAL(PARSE(&commands[0], "-w", "5"), 0);
    CU_ASSERT_EQUAL(option_number(&got, "watch", 2, 1, 60, &seconds, &why), 0);
    CU_ASSERT_EQUAL(seconds, 5);
    CU_ASSERT_EQUAL(PARSE(&commands[0], "-w", "word"), 0);
    CU_ASSERT_EQUAL(got.word_count, 1);
    CU_ASSERT_EQUAL(option_number(&got, "watch", 2, 1, 60, &seconds, &why), 0);
    CU_ASSERT_EQUAL(seconds, 2);
    CU_ASSERT_EQUAL(PARSE(&commands[0], "-w", "61"), 0);
    CU_ASSERT_EQUAL(option_number(&got, "watch", 2, 1, 60, &seconds, &why), -ERR_CONFIG);
}

/* What the table does not know, a missing value, too few and too many words are refused. */
static void mistakes_are_refused(void)
{
    bool json;
    CU_ASSERT_EQUAL(PARSE(&commands[0], "--clustr", "x"), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "--cluster"));
    CU_ASSERT_EQUAL(PARSE(&commands[0], "-z"), -ERR_CONFIG);
    CU_ASSERT_EQUAL(PARSE(&commands[0], "--cluster"), -ERR_CONFIG);
    CU_ASSERT_EQUAL(PARSE(&commands[0], "--long=1"), -ERR_CONFIG);
    CU_ASSERT_EQUAL(PARSE(&commands[0], "a", "b"), -ERR_CONFIG);
    CU_ASSERT_EQUAL(PARSE(&commands[1], "--"), -ERR_CONFIG);
    CU_ASSERT_EQUAL(PARSE(&commands[1], "--help"), 0);
    CU_ASSERT_TRUE(help);
    CU_ASSERT_EQUAL(PARSE(&commands[0], "-o", "yaml"), 0);
    CU_ASSERT_EQUAL(option_json(&got, &json, &why), -ERR_CONFIG);
}

/* A slip of the finger names the command that was meant. */
static void nearest_command_is_named(void)
{
    const char *near;
    CU_ASSERT_PTR_EQUAL(command_find(commands, "mkdir", &near), &commands[1]);
    CU_ASSERT_PTR_NULL(command_find(commands, "statsu", &near));
    CU_ASSERT_PTR_NOT_NULL_FATAL(near);
    CU_ASSERT_STRING_EQUAL(near, "status");
    CU_ASSERT_PTR_NULL(command_find(commands, "qqqqqqqq", &near));
    CU_ASSERT_PTR_NULL(near);
}

/* Scripts rely on these numbers. */
static void exit_codes_are_fixed(void)
{
    CU_ASSERT_EQUAL(exit_of(0), 0);
    CU_ASSERT_EQUAL(exit_of(-ERR_IO), 1);
    CU_ASSERT_EQUAL(exit_of(-ERR_CONFIG), 2);
    CU_ASSERT_EQUAL(exit_of(-ERR_NO_ENTRY), 3);
    CU_ASSERT_EQUAL(exit_of(-ERR_ACCESS), 4);
    CU_ASSERT_EQUAL(exit_of(-ERR_TIMEOUT), 5);
    CU_ASSERT_EQUAL(exit_of(-ERR_REFUSED), 7);
}

#define TESTS(T)                 \
    T(options_take_values)       \
    T(watch_takes_a_number_only) \
    T(mistakes_are_refused)      \
    T(nearest_command_is_named)  \
    T(exit_codes_are_fixed)
CU_TestInfo tests_command[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
