/* Options from defaults, file, environment and command line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/conf.h"
#include "tests/unit/common/base/test_base.h"

#define SAMPLE_OPTIONS(X)                                                \
    X(net, listen, TEXT, "127.0.0.1:7000", 0, 0, "address to listen on") \
    X(net, port_count, NUMBER, "1", 1, 100, "how many")                  \
    X(disk, reserve_size, SIZE, "4MiB", 0, UINT64_MAX, "kept free")      \
    X(disk, down_out, TIME, "10m", 1, UINT64_MAX, "patience")            \
    X(disk, sync, SWITCH, "yes", 0, 1, "fsync")                          \
    X(colours, colour, LIST, "", 0, 0, "a colour")
struct sample {
    SAMPLE_OPTIONS(CONF_FIELD)
};
#define ROW(...) CONF_ROW(struct sample, __VA_ARGS__)
static const struct conf_option table[] = {SAMPLE_OPTIONS(ROW)};
enum { TABLE_SIZE = sizeof table / sizeof table[0] };

static struct sample values;
static struct conf_command command;
static struct err_text why;

static int load(int argc, char **argv)
{
    conf_release(table, TABLE_SIZE, &values);
    memset(&values, 0, sizeof values);
    why.text[0] = '\0';
    return conf_load(table, TABLE_SIZE, &values, argc, argv, &command, &why);
}

static int load_text(const char *text)
{
    char name[] = "/tmp/cairn-conf-XXXXXX";
    int fd = mkstemp(name);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    char program[] = "x", option[] = "--config";
    char *argv[] = {program, option, name, NULL};
    int status = load(3, argv);
    (void)unlink(name);
    return status;
}

static int load_words(char *first, char *second)
{
    char program[] = "x";
    char *argv[] = {program, first, second, NULL};
    return load(second ? 3 : 2, argv);
}

/* Units are understood and every source overrides the one before. */
static void later_sources_win(void)
{
    char program[] = "x";
    char *none[] = {program, NULL};
    CU_ASSERT_EQUAL(load(1, none), 0);
    CU_ASSERT_EQUAL(values.reserve_size, 4u << 20);
    CU_ASSERT_EQUAL(values.down_out, 600000);
    CU_ASSERT_EQUAL(load_text("[disk]\nreserve_size = 1GiB\nsync = off\n[net]\nlisten = [::1]:9\n"),
                    0);
    CU_ASSERT_EQUAL(values.reserve_size, 1u << 30);
    CU_ASSERT_EQUAL(values.sync, 0);
    CU_ASSERT_STRING_EQUAL(values.listen, "[::1]:9");
    CU_ASSERT_EQUAL(setenv("CAIRN_PORT_COUNT", "7", 1), 0);
    CU_ASSERT_EQUAL(load(1, none), 0);
    CU_ASSERT_EQUAL(values.port_count, 7);
    char eight[] = "--port-count=8", key[] = "--port_count", nine[] = "9";
    CU_ASSERT_EQUAL(load_words(eight, NULL), 0);
    CU_ASSERT_EQUAL(values.port_count, 8);
    CU_ASSERT_EQUAL(load_words(key, nine), 0);
    CU_ASSERT_EQUAL(values.port_count, 9);
    (void)unsetenv("CAIRN_PORT_COUNT");
}

/* A list takes any names in its section, and what environment and command line add; each name once.
 */
static void lists_grow(void)
{
    char red[] = "--colour=red=1", blue[] = "--colour=blue=2", odd[] = "--colour=blue";
    CU_ASSERT_EQUAL(load_text("[colours]\nsea green = 3 ; dark\nred = a=b\n"), 0);
    CU_ASSERT_STRING_EQUAL(values.colour, "sea green=3\nred=a=b\n");
    CU_ASSERT_EQUAL(load_words(red, blue), 0);
    CU_ASSERT_STRING_EQUAL(values.colour, "red=1\nblue=2\n");
    CU_ASSERT_EQUAL(setenv("CAIRN_COLOUR", "green=4\nred=5", 1), 0);
    CU_ASSERT_EQUAL(load_words(blue, NULL), 0);
    CU_ASSERT_STRING_EQUAL(values.colour, "green=4\nred=5\nblue=2\n");
    CU_ASSERT_EQUAL(load_words(blue, red), -ERR_CONFIG);
    CU_ASSERT_STRING_EQUAL(why.text, "command line: colour red is given twice");
    (void)unsetenv("CAIRN_COLOUR");
    CU_ASSERT_EQUAL(load_words(odd, NULL), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "is not NAME=VALUE"));
    CU_ASSERT_EQUAL(load_text("[colours]\nred = 1\nred = 2\n"), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, ":3: colour red is given twice"));
    CU_ASSERT_EQUAL(load_text("[disk]\ncolour = 1\n"), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "belongs under [colours]"));
}

/* Each mistake names the place, and an unknown key the nearest known one. */
static void mistakes_are_explained(void)
{
    CU_ASSERT_EQUAL(load_text("[disk]\n\nreserv_size = 1GiB\n"), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(why.text, ":3: unknown key 'reserv_size'; did you mean 'reserve_size'?"));
    CU_ASSERT_EQUAL(load_text("[net]\nsync = yes\n"), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, ":2: 'sync' belongs under [disk]"));
    CU_ASSERT_EQUAL(load_text("[disk]\nsync = yes\nsync = no\n"), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, ":3: 'sync' is given twice"));
    CU_ASSERT_EQUAL(load_text("[disk]\nwhat is this\n"), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, ":2:"));
    CU_ASSERT_EQUAL(load_text("[net]\nport_count = 101\n"), -ERR_CONFIG);
    CU_ASSERT_EQUAL(load_text("[net]\nport_count = many\n"), -ERR_CONFIG);
    CU_ASSERT_EQUAL(load_text("[disk]\ndown_out = 5 fortnights\n"), -ERR_CONFIG);
    char unknown[] = "--lissten", value[] = "x", alone[] = "--listen",
         missing[] = "--config=/nowhere";
    CU_ASSERT_EQUAL(load_words(unknown, value), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "'listen'"));
    CU_ASSERT_EQUAL(load_words(alone, NULL), -ERR_CONFIG);
    CU_ASSERT_EQUAL(load_words(missing, NULL), -ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "cannot read /nowhere"));
    conf_release(table, TABLE_SIZE, &values);
}

CU_TestInfo conf_tests[] = {{"later_sources_win", later_sources_win},
                            {"lists_grow", lists_grow},
                            {"mistakes_are_explained", mistakes_are_explained},
                            CU_TEST_INFO_NULL};
