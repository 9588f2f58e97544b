/* A client that makes, removes and looks up names all the time, knows what it was told, and says
 * when an answer does not fit. For tests that hurt metaservers meanwhile.
 *
 *   names-check METASERVERS SEED     commands come line by line on standard input:
 *     begin FOLDER   makes it, and goes on with names in it
 *     check          stops, lists the folder, prints one line:
 *                    "checked made=N removed=N failed=N wrong=N longest_ms=N why=TEXT"
 * Meanwhile ten times a second: "at acked=N failed=N wrong=N silent_ms=N longest_ms=N", silent_ms
 * since the last answer, longest_ms the longest such time since `begin`. Ends with the input. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/client/blocking.h"

enum { NAMES_MAX = 1 << 16, LINE_SIZE = 256, REPORT_MS = 100, PAUSE_NS = 2000000 };

enum state { NOT_THERE, THERE, UNKNOWN };

struct name {
    enum state state;
    bool is_listed;
    uint64_t inode;
};

static const struct client_caller root_caller = {.uid = 0};

static struct {
    struct blocking_client *client;
    struct prng chance;
    bool is_busy;
    uint64_t folder;
    unsigned name_count, made, removed, acked, failed, wrong;
    uint64_t last_ms, longest_ms, report_ms;
    char why[LINE_SIZE]; /* of the first failure or wrong answer */
    struct name names[NAMES_MAX];
} run;

static uint64_t now_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void note_why(const char *what, unsigned number, int status)
{
    if (!run.why[0])
        (void)snprintf(run.why, sizeof run.why, "%s-n%u:%s", what, number, err_name(status));
}

/* Something was answered, in time or late; what it says is judged by the caller. */
static void note_answer(const char *what, unsigned number, int status, bool fits)
{
    uint64_t now = now_ms();
    if (now - run.last_ms > run.longest_ms)
        run.longest_ms = now - run.last_ms;
    run.last_ms = now;
    run.acked++;
    if (fits)
        return;
    run.wrong++;
    note_why(what, number, status);
}

static void note_failure(const char *what, unsigned number, int status)
{
    run.failed++;
    run.names[number].state = UNKNOWN;
    note_why(what, number, status);
}

static struct slice text_of(unsigned number, char text[32])
{
    (void)snprintf(text, 32, "n%u", number);
    return slice_str(text);
}

static void make(unsigned number)
{
    char text[32];
    struct wire_attr attr;
    struct name *name = &run.names[number];
    int status = blocking_mknod(run.client, &root_caller, run.folder, text_of(number, text),
                                S_IFIFO | 0600, 0, &attr);
    if (status != 0 && status != -ERR_EXISTS) {
        note_failure("mknod", number, status);
        return;
    }
    note_answer("mknod", number, status, status == 0);
    *name = (struct name){.state = status == 0 ? THERE : UNKNOWN, .inode = attr.inode};
    run.made += status == 0;
}

static void remove_one(unsigned number)
{
    char text[32];
    struct name *name = &run.names[number];
    int status = blocking_unlink(run.client, &root_caller, run.folder, text_of(number, text), NULL);
    if (status != 0 && status != -ERR_NO_ENTRY) {
        note_failure("unlink", number, status);
        return;
    }
    note_answer("unlink", number, status, status == 0);
    name->state = NOT_THERE;
    run.removed += status == 0;
}

static void look_up(unsigned number)
{
    char text[32];
    struct wire_attr attr = {0};
    const struct name *name = &run.names[number];
    int status =
        blocking_lookup(run.client, &root_caller, run.folder, text_of(number, text), &attr);
    if (status != 0 && status != -ERR_NO_ENTRY) {
        run.failed++;
        note_why("lookup", number, status);
        return;
    }
    bool fits = name->state == THERE ? status == 0 && attr.inode == name->inode
                                     : name->state == UNKNOWN || status == -ERR_NO_ENTRY;
    note_answer("lookup", number, status, fits);
}

static void step(void)
{
    uint64_t what = prng_below(&run.chance, 100);
    unsigned number = run.name_count ? (unsigned)prng_below(&run.chance, run.name_count) : 0;
    if (run.name_count < NAMES_MAX && (run.name_count == 0 || what < 70))
        make(run.name_count++);
    else if (what < 85 && run.names[number].state == THERE)
        remove_one(number);
    else
        look_up(number);
    (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static void on_entry(void *arg, const struct client_dirent *entry)
{
    (void)arg;
    char text[32];
    (void)snprintf(text, sizeof text, "%.*s", (int)entry->name.size,
                   (const char *)entry->name.data);
    unsigned long number = strtoul(text + 1, NULL, 10);
    if (text[0] != 'n' || number >= run.name_count) {
        run.wrong++;
        note_why("listed-unknown", (unsigned)number, 0);
        return;
    }
    struct name *name = &run.names[number];
    if (name->state == NOT_THERE || (name->state == THERE && name->inode != entry->attr.inode)) {
        run.wrong++;
        note_why("listed", (unsigned)number, 0);
    }
    name->is_listed = true;
}

static void check_all(void)
{
    bool end = false;
    uint64_t cursor = 0;
    for (unsigned i = 0; i < run.name_count; i++)
        run.names[i].is_listed = false;
    while (!end) {
        int status =
            blocking_readdir(run.client, &root_caller, run.folder, &cursor, on_entry, NULL, &end);
        if (status != 0) {
            run.failed++;
            note_why("readdir", 0, status);
            break;
        }
    }
    for (unsigned i = 0; end && i < run.name_count; i++)
        if (run.names[i].state == THERE && !run.names[i].is_listed) {
            run.wrong++;
            note_why("lost", i, 0);
        }
    run.is_busy = false;
    printf("checked made=%u removed=%u failed=%u wrong=%u longest_ms=%llu why=%s\n", run.made,
           run.removed, run.failed, run.wrong, (unsigned long long)run.longest_ms, run.why);
    (void)fflush(stdout);
}

static void begin_folder(const char *name)
{
    struct wire_attr attr = {0};
    struct blocking_client *client = run.client;
    struct prng chance = run.chance;
    memset(&run, 0, sizeof run);
    run.client = client;
    run.chance = chance;
    int status = blocking_mkdir(client, &root_caller, ROOT_INODE, slice_str(name), 0755, &attr);
    if (status != 0)
        note_failure("mkdir", 0, status);
    run.folder = attr.inode;
    run.is_busy = status == 0;
    run.last_ms = now_ms();
}

static void report(void)
{
    uint64_t now = now_ms();
    if (now < run.report_ms)
        return;
    run.report_ms = now + REPORT_MS;
    printf("at acked=%u failed=%u wrong=%u silent_ms=%llu longest_ms=%llu\n", run.acked, run.failed,
           run.wrong, (unsigned long long)(now - run.last_ms), (unsigned long long)run.longest_ms);
    (void)fflush(stdout);
}

/* One line if there is one; false at the end of the input. */
static bool obey(void)
{
    char line[LINE_SIZE];
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&in, 1, run.is_busy ? 0 : -1) == 0)
        return true;
    if (!fgets(line, sizeof line, stdin)) /* one line at a time is sent: none waits in the buffer */
        return false;
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "begin ", 6) == 0)
        begin_folder(line + 6);
    else if (strcmp(line, "check") == 0)
        check_all();
    return true;
}

int main(int argc, char **argv)
{
    char why[BLOCKING_WHY_SIZE] = "";
    if (argc != 3)
        return 2;
    prng_init(&run.chance, strtoull(argv[2], NULL, 10));
    struct client_options options = {.cluster = argv[1], .name = "names-check", .no_cache = true};
    if (blocking_start(&options, &run.client, why) != 0) {
        (void)fprintf(stderr, "names-check: %s\n", why);
        return 1;
    }
    while (obey()) {
        if (!run.is_busy)
            continue;
        step();
        report();
    }
    (void)blocking_stop(run.client);
    return 0;
}
