/* Records a history: concurrent clients, each a session of its own on a thread of its own, do
 * random operations on few names of one cluster and write down what they were told and when.
 *
 * usage: history-run [OPTION]...
 *   --cluster HOST:PORT,...   --out FILE    --dir NAME (made under the root; must not exist)
 *   --seed N                  --ops N (10000, of all clients)      --clients N (8)
 *   --groups N (4)            --think-us N (most pause between two operations; 8000)
 *   --deadline-ms N (60000)   --hasty-ms N (1500; the deadline of the first client)
 *   --source HOST:PORT,... (of the clients in turn; none: the kernel's)
 *
 * A quarter of the clients only reads: a change waits for a quorum, so after a moment nobody else
 * would ask a leader that has lost its followers. Nothing is cached (no_cache), so each answer
 * comes from the leader. A status that does not say for sure what happened is an unknown outcome;
 * one that no operation may have ends the run. */
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/client/blocking.h"
#include "tests/history/history.h"

enum { CLIENTS_MAX = 64 };

struct run {
    const char *cluster, *out, *dir;
    char *sources[CLIENTS_MAX];
    unsigned source_count;
    uint64_t seed, ops;
    unsigned clients, think_us, deadline_ms, hasty_ms;
    uint64_t directories[HISTORY_GROUPS_MAX][2];
    FILE *file;
    pthread_mutex_t lock; /* of the fields below and of the file */
    uint64_t begun;
    struct history_plan plan;
    uint64_t unknown_count, slowest_ns, last_end_ns, longest_gap_ns;
};

struct worker {
    struct run *run;
    unsigned number;
    pthread_t thread;
    struct blocking_client *client;
    struct prng chance;
};

static int64_t now_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- one operation ---- */

static void on_entry(void *arg, const struct client_dirent *entry)
{
    history_see_entry(arg, entry->name, &entry->attr);
}

static int list(struct worker *w, struct history_op *op, const struct client_caller *who)
{
    uint64_t cursor = 0;
    bool end = false;
    int status = blocking_readdir(w->client, who, w->run->directories[op->group][op->slot], &cursor,
                                  on_entry, op, &end);
    CHECK(status != 0 || end); /* few names: one answer, one moment */
    return status;
}

/* Half of the files are made as open(2) makes them, the others as mknod(2) does. */
static int create(struct worker *w, const struct history_op *op, const struct client_caller *who,
                  uint64_t parent, struct slice name, struct wire_attr *ret_attr)
{
    struct client_opened opened;
    if (op->value % 2 == 0)
        return blocking_mknod(w->client, who, parent, name, S_IFREG | 0644, 0, ret_attr);
    int status = blocking_create_file(w->client, who, parent, name, 0644,
                                      OPEN_WRITE | OPEN_EXCLUSIVE, &opened);
    if (status == 0) {
        *ret_attr = opened.attr;
        (void)blocking_release(w->client, opened.handle);
    }
    return status;
}

static int call(struct worker *w, struct history_op *op, struct wire_attr *attr)
{
    char text[HISTORY_NAME_SIZE], text2[HISTORY_NAME_SIZE];
    const uint64_t *directories = w->run->directories[op->group];
    struct client_caller who = {.uid = 0, .gid = op->value}; /* the tag */
    struct client_setattr set = {.valid = SETATTR_UID, .uid = op->value};
    uint64_t parent = directories[history_directory(op->slot)];
    struct slice name = history_name(op->slot, text);
    switch (op->kind) {
    case HISTORY_CREATE:
        return create(w, op, &who, parent, name, attr);
    case HISTORY_MKDIR:
        return blocking_mkdir(w->client, &who, parent, name, 0755, attr);
    case HISTORY_UNLINK:
        return blocking_unlink(w->client, &who, parent, name, attr);
    case HISTORY_RMDIR:
        return blocking_rmdir(w->client, &who, parent, name, attr);
    case HISTORY_LOOKUP:
        return blocking_lookup(w->client, &who, parent, name, attr);
    case HISTORY_GETATTR:
        return blocking_getattr(w->client, &who, op->inode, attr);
    case HISTORY_SETATTR:
        return blocking_setattr(w->client, &who, op->inode, NULL, &set, attr);
    case HISTORY_LINK:
        return blocking_link(w->client, &who, op->inode, parent, name, attr);
    case HISTORY_RENAME:
        return blocking_rename(w->client, &who, parent, name,
                               directories[history_directory(op->slot2)],
                               history_name(op->slot2, text2), op->flags, attr);
    case HISTORY_LIST:
        return list(w, op, &who);
    case HISTORY_KIND_COUNT:
        break;
    }
    UNREACHABLE("kind %d", (int)op->kind);
}

/* ---- what is done next ---- */

/* With the lock held. */
static void pick(struct worker *w, struct history_op *op)
{
    op->client = w->number;
    history_pick(&w->run->plan, &w->chance, w->number >= w->run->clients - w->run->clients / 4, op);
}

static void note(struct worker *w, struct history_op *op)
{
    struct run *run = w->run;
    uint64_t took_ns = (uint64_t)(now_ns() - op->invoke_ns), end_ns = (uint64_t)now_ns();
    history_learn(&run->plan, &w->chance, op);
    run->unknown_count += history_unknown(op);
    if (took_ns > run->slowest_ns)
        run->slowest_ns = took_ns;
    if (run->last_end_ns && end_ns - run->last_end_ns > run->longest_gap_ns)
        run->longest_gap_ns = end_ns - run->last_end_ns;
    run->last_end_ns = end_ns;
    history_write(run->file, op);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct run *run = w->run;
    for (;;) {
        struct history_op op = {.kind = HISTORY_LOOKUP};
        struct wire_attr attr = {.inode = 0};
        CHECK(pthread_mutex_lock(&run->lock) == 0);
        bool more = run->begun < run->ops;
        run->begun += more;
        if (more)
            pick(w, &op);
        CHECK(pthread_mutex_unlock(&run->lock) == 0);
        if (!more)
            return NULL;
        op.invoke_ns = now_ns();
        op.status = call(w, &op, &attr);
        op.return_ns = history_is_definite(op.status) ? now_ns() : INT64_MAX;
        if (op.status == 0)
            op.seen = history_see(&attr);
        CHECK(pthread_mutex_lock(&run->lock) == 0);
        note(w, &op);
        CHECK(pthread_mutex_unlock(&run->lock) == 0);
        if (run->think_us > 0) {
            uint64_t pause_us = prng_below(&w->chance, run->think_us + 1);
            if (w->number >= run->clients - run->clients / 4 && prng_chance(&w->chance, 20))
                pause_us = prng_below(&w->chance, 1000000); /* and asks in the middle of a fault */
            (void)nanosleep(&(struct timespec){.tv_nsec = (long)pause_us * 1000}, NULL);
        }
    }
}

/* ---- life ---- */

static int complain(const char *what, const char *why)
{
    (void)fprintf(stderr, "history-run: %s: %s\n", what, why);
    return 2;
}

static int start_clients(struct run *run, struct worker *workers)
{
    char why[BLOCKING_WHY_SIZE] = "";
    for (unsigned i = 0; i < run->clients; i++) {
        struct client_options options = {
            .cluster = run->cluster,
            .name = "history",
            .deadline_ms = i == 0 ? run->hasty_ms : run->deadline_ms,
            .connect_ms = 30000,
            .no_cache = true,
            .source = run->source_count ? run->sources[i % run->source_count] : NULL};
        workers[i] = (struct worker){.run = run, .number = i};
        prng_init(&workers[i].chance, run->seed * CLIENTS_MAX + i);
        if (blocking_start(&options, &workers[i].client, why) != 0)
            return complain("no session", why);
    }
    return 0;
}

static int make_directories(struct run *run, struct blocking_client *client)
{
    struct client_caller who = {.uid = 0};
    struct wire_attr top, made;
    char text[HISTORY_NAME_SIZE];
    int status = blocking_mkdir(client, &who, ROOT_INODE, slice_str(run->dir), 0755, &top);
    for (unsigned i = 0; status == 0 && i < 2 * run->plan.groups; i++) {
        (void)snprintf(text, sizeof text, "g%u.%u", i / 2, i % 2);
        status = blocking_mkdir(client, &who, top.inode, slice_str(text), 0755, &made);
        run->directories[i / 2][i % 2] = made.inode;
    }
    return status == 0 ? 0 : complain(run->dir, err_text(status));
}

static void read_counters(struct blocking_call *call, struct client *c, void *arg)
{
    client_counters(c, arg);
    blocking_done(call, 0);
}

static int record(struct run *run)
{
    static struct worker workers[CLIENTS_MAX];
    int code = start_clients(run, workers);
    if (code == 0)
        code = make_directories(run, workers[0].client);
    if (code != 0)
        return code; /* the process ends, and its threads with it */
    int64_t start_ns = now_ns();
    for (unsigned i = 0; i < run->clients; i++)
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    uint64_t lost = 0, repeats = 0;
    for (unsigned i = 0; i < run->clients; i++) {
        struct client_counters counters;
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        (void)blocking_run(workers[i].client, read_counters, &counters);
        lost += counters.sessions_lost;
        repeats += counters.metadata_repeats;
    }
    (void)printf("seed=%llu operations=%llu unknown=%llu seconds=%.1f slowest_ms=%llu gap_ms=%llu "
                 "sessions_lost=%llu repeats=%llu\n",
                 (unsigned long long)run->seed, (unsigned long long)run->begun,
                 (unsigned long long)run->unknown_count, (double)(now_ns() - start_ns) / 1e9,
                 (unsigned long long)(run->slowest_ns / 1000000),
                 (unsigned long long)(run->longest_gap_ns / 1000000), (unsigned long long)lost,
                 (unsigned long long)repeats);
    for (unsigned i = 0; i < run->clients; i++)
        (void)blocking_stop(workers[i].client);
    return 0;
}

static void take_sources(struct run *run, char *text)
{
    char *rest = NULL;
    for (char *part = strtok_r(text, ",", &rest); part && run->source_count < CLIENTS_MAX;
         part = strtok_r(NULL, ",", &rest))
        run->sources[run->source_count++] = part;
}

static const struct option options[] = {
    {"cluster", required_argument, NULL, 'c'},     {"out", required_argument, NULL, 'o'},
    {"dir", required_argument, NULL, 'd'},         {"seed", required_argument, NULL, 's'},
    {"ops", required_argument, NULL, 'n'},         {"clients", required_argument, NULL, 'p'},
    {"groups", required_argument, NULL, 'g'},      {"think-us", required_argument, NULL, 't'},
    {"deadline-ms", required_argument, NULL, 'l'}, {"source", required_argument, NULL, 'f'},
    {"hasty-ms", required_argument, NULL, 'h'},    {NULL, 0, NULL, 0}};

static bool take_options(struct run *run, int argc, char **argv)
{
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (c) {
        case 'c':
            run->cluster = optarg;
            break;
        case 'o':
            run->out = optarg;
            break;
        case 'd':
            run->dir = optarg;
            break;
        case 's':
            run->seed = number;
            break;
        case 'n':
            run->ops = number;
            break;
        case 'p':
            run->clients = (unsigned)number;
            break;
        case 'g':
            run->plan.groups = (uint32_t)number;
            break;
        case 't':
            run->think_us = (unsigned)number;
            break;
        case 'l':
            run->deadline_ms = (unsigned)number;
            break;
        case 'h':
            run->hasty_ms = (unsigned)number;
            break;
        case 'f':
            take_sources(run, optarg);
            break;
        default:
            return false;
        }
    }
    return run->cluster && run->out && optind == argc && run->clients >= 1 &&
           run->clients <= CLIENTS_MAX && run->plan.groups >= 1 &&
           run->plan.groups <= HISTORY_GROUPS_MAX && run->think_us < 1000000;
}

int main(int argc, char **argv)
{
    static struct run run = {.dir = "history",
                             .seed = 1,
                             .ops = 10000,
                             .clients = 8,
                             .plan = {.groups = 4},
                             .think_us = 8000,
                             .deadline_ms = 60000,
                             .hasty_ms = 1500,
                             .lock = PTHREAD_MUTEX_INITIALIZER};
    if (!take_options(&run, argc, argv))
        return complain("usage", "see the first lines of tests/history/run.c");
    run.file = fopen(run.out, "w");
    if (!run.file)
        return complain(run.out, "cannot be written");
    int code = record(&run);
    if (fclose(run.file) != 0)
        return complain(run.out, "cannot be written");
    return code;
}
