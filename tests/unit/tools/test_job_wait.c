/* Waiting for a job, in a process of its own, against a leader that answers by a script: it goes on
 * through silence, tells each thing once, and its exit code is what scripts rely on. */
#include "config.h" /* first: memfd_create */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/net/rpc_server.h"
#include "tests/unit/tools/test_tools.h"
#include "tools/job_wait.h"

#include "common/base/banned.h"

enum { OUT_MAX = 16384, CHILD_MS = 20, LIFE_MS = 60000 };

/* What the leader says when it is asked for the n-th time; the last one for ever. */
struct answer {
    int error;       /* instead of the rest, */
    unsigned for_ms; /* for so long */
    bool is_gone;    /* the list has other jobs only */
    uint8_t state;
    uint32_t done, left, blocked;
};

static struct leader {
    struct loop *loop;
    struct rpc_server *server;
    struct rpc_identity identity;
    struct loop_timer timer;
    const struct answer *script;
    unsigned count, asked;
    uint64_t refusing_until_ms;
    int interrupt_after; /* answers, then SIGINT; 0 = never */
    pid_t child;
    int status;
    uint64_t end_ms;
} leader;

static const uint8_t target[] = {3, 0, 0, 0};

static void answer_jobs(struct rpc_request *take_request)
{
    unsigned n = leader.asked < leader.count ? leader.asked : leader.count - 1;
    const struct answer *a = &leader.script[n];
    if (a->error && leader.refusing_until_ms == 0)
        leader.refusing_until_ms = loop_now_ms() + a->for_ms;
    if (!a->error || loop_now_ms() >= leader.refusing_until_ms)
        leader.asked++;
    if (a->error) {
        rpc_reply_error(take_request, a->error, "an election", NULL);
        return;
    }
    struct rec_job_info job = {.job = a->is_gone ? 99 : 17,
                               .kind = JOB_DRAIN,
                               .state = a->state,
                               .targets = slice_of(target, sizeof target),
                               .slots_done = a->done,
                               .chunks_done = 10ull * a->done,
                               .bytes_done = 1000ull * a->done,
                               .slots_left = a->left,
                               .chunks_left = 10ull * a->left,
                               .bytes_left = 1000ull * a->left,
                               .slots_blocked = a->blocked,
                               .age_ms = 90000};
    struct rec_job_blocked blocked = {.job = 17, .reason = JOB_NO_ROOM, .slots = a->blocked};
    struct msg_job_list_r list = {.jobs = {.count = 1, .items = &job},
                                  .blocked = {.count = a->blocked > 0, .items = &blocked}};
    struct bytes out = {0};
    encode_job_list_r(&out, &list);
    rpc_reply(take_request, MSG_job_list_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

static void on_request(void *arg, struct rpc_request *take_request)
{
    struct bytes out = {0};
    (void)arg;
    if (take_request->code == MSG_job_list) {
        answer_jobs(take_request);
        return;
    }
    if (take_request->code != MSG_shard_table) {
        rpc_reply_error(take_request, -ERR_NOT_SUPPORTED, "not here", NULL);
        return;
    }
    encode_shard_table_r(&out, &(struct msg_shard_table_r){.version = 1, .shard_count = 8});
    rpc_reply(take_request, MSG_shard_table_r, bytes_slice(&out), NULL, 0);
    bytes_release(&out);
}

static void on_timer(void *arg)
{
    (void)arg;
    if (leader.interrupt_after && leader.asked >= (unsigned)leader.interrupt_after) {
        (void)kill(leader.child, SIGINT);
        leader.interrupt_after = 0;
    }
    if (loop_now_ms() > leader.end_ms)
        (void)kill(leader.child, SIGKILL);
    if (waitpid(leader.child, &leader.status, WNOHANG) == leader.child)
        loop_stop(leader.loop);
    else
        loop_timer_start_ms(&leader.timer, CHILD_MS);
}

static __attribute__((noreturn)) void follow(const char *address, bool json)
{
    struct client_options options = {
        .cluster = address, .no_session = true, .no_cache = true, .deadline_ms = 3000};
    struct rec_target_status one = {
        .target = 3, .name = slice_str("c3"), .address = slice_str("h3:1")};
    struct msg_status_r status, s = {.targets = {.count = 1, .items = &one}};
    struct target_set set = {.count = 1, .refs = {{3}}, .text = "c3", .is_whole = true};
    struct bytes bytes = {0};
    struct job_wait wait = {NULL, &status, &set, 17, JOB_DRAIN, json};
    char why[BLOCKING_WHY_SIZE];
    encode_status_r(&bytes, &s);
    CHECK(decode_status_r(bytes_slice(&bytes), WIRE_VERSION, &status) == 0);
    if (blocking_start(&options, &wait.client, why) != 0)
        _exit(99);
    int code = job_wait(&wait);
    (void)fflush(NULL);
    _exit(code);
}

static char out_text[OUT_MAX], err_said[OUT_MAX];

static void read_all(int fd, char ret_text[OUT_MAX])
{
    ssize_t size = pread(fd, ret_text, OUT_MAX - 1, 0);
    ret_text[size > 0 ? size : 0] = '\0';
    (void)close(fd);
}

/* Runs it to its end; its status as of waitpid. */
static int run(const struct answer *script, unsigned count, bool json, int interrupt_after)
{
    int out = memfd_create("out", 0), err = memfd_create("err", 0);
    leader = (struct leader){.script = script,
                             .count = count,
                             .interrupt_after = interrupt_after,
                             .identity = {.role = ROLE_META, .node = 1},
                             .end_ms = loop_now_ms() + LIFE_MS};
    struct rpc_server_options options = {
        .address = "127.0.0.1:0", .identity = &leader.identity, .dispatch = on_request};
    leader.identity.cluster = uuid_make();
    leader.loop = loop_create();
    CU_ASSERT_EQUAL_FATAL(rpc_server_create(leader.loop, &options, &leader.server, NULL), 0);
    (void)fflush(NULL);
    leader.child = fork();
    CU_ASSERT_TRUE_FATAL(leader.child >= 0);
    if (leader.child == 0) {
        (void)dup2(out, STDOUT_FILENO);
        (void)dup2(err, STDERR_FILENO);
        follow(rpc_server_address(leader.server), json);
    }
    loop_timer_init(&leader.timer, leader.loop, on_timer, NULL);
    loop_timer_start_ms(&leader.timer, CHILD_MS);
    loop_run(leader.loop);
    rpc_server_destroy(leader.server);
    loop_destroy(leader.loop);
    read_all(out, out_text);
    read_all(err, err_said);
    return leader.status;
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        count++;
    return count;
}

/* R1, R9: an election and a leader that knows less make it wait, not end; exit 0 is said to be
 * safe. */
static void done_is_safe(void)
{
    static const struct answer script[] = {
        {.state = JOB_RUNNING, .done = 10, .left = 90},
        {.error = -ERR_BUSY, .for_ms = 7000},
        {.state = JOB_RUNNING, .done = 9, .left = 91},
        {.state = JOB_DONE, .done = 100},
    };
    int status = run(script, sizeof script / sizeof script[0], false, 0);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_STRING_EQUAL(
        out_text, "done: 1,000 chunks (97.6 KiB) moved and verified in 1m30s.  c3 holds no needed "
                  "data: SAFE TO POWER OFF\nnext: cairn server remove c3\n");
    CU_ASSERT_PTR_NOT_NULL(strstr(err_said, "d-17 drain c3  10%"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err_said, "d-17 drain c3  100%"));
    CU_ASSERT_EQUAL(count_of(err_said, "does not answer"), 1);
    CU_ASSERT_EQUAL(count_of(err_said, "answers again"), 1);
}

/* R4, R5: events for scripts; what is blocked is told when it changes, and once. */
static void events_are_lines(void)
{
    static const struct answer script[] = {
        {.state = JOB_RUNNING, .done = 40, .left = 60, .blocked = 2},
        {.state = JOB_PAUSED, .done = 30, .left = 200, .blocked = 2},
        {.state = JOB_RUNNING, .done = 50, .left = 50},
        {.state = JOB_CANCELLED, .done = 50},
    };
    int status = run(script, sizeof script / sizeof script[0], true, 0);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CANCELLED);
    CU_ASSERT_EQUAL(count_of(out_text, "\"event\":\"progress\""), 4);
    CU_ASSERT_EQUAL(count_of(out_text, "\"percent\":40.0"), 2);
    CU_ASSERT_EQUAL(count_of(out_text, "\"percent\":50.0"), 2);
    CU_ASSERT_EQUAL(count_of(out_text, "\"reason\":\"no_room\",\"shards\":2"), 1);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(out_text, "{\"event\":\"done\",\"job\":\"d-17\",\"state\":\"cancelled\"}\n"));
    CU_ASSERT_STRING_EQUAL(err_said, "");
}

/* A job that is not in the list any more is not called done; nor is one of a leader that does not
 * know jobs. */
static void unknown_is_not_done(void)
{
    static const struct answer gone[] = {{.state = JOB_RUNNING, .done = 1, .left = 9},
                                         {.state = JOB_DONE, .is_gone = true}};
    static const struct answer unknown[] = {{.error = -ERR_NOT_SUPPORTED}};
    int status = run(gone, 2, false, 0);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_said, "d-17 is not in the list"));
    CU_ASSERT_STRING_EQUAL(out_text, "");
    status = run(unknown, 1, false, 0);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_said, "d-17 cannot be followed"));
    CU_ASSERT_STRING_EQUAL(out_text, "");
}

/* Ctrl-C ends the command at once, as scripts expect it, and says how to go on. */
static void interrupt_leaves_the_job(void)
{
    static const struct answer script[] = {{.state = JOB_RUNNING, .done = 40, .left = 60}};
    int status = run(script, 1, false, 2);
    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_said, "d-17 goes on without this command"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err_said, "cairn server drain c3 --wait"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err_said, "cairn job cancel d-17"));
}

#define TESTS(T)           \
    T(done_is_safe)        \
    T(events_are_lines)    \
    T(unknown_is_not_done) \
    T(interrupt_leaves_the_job)
CU_TestInfo tests_job_wait[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
