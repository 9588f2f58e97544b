/* Starts and kills the daemons; calls them. */
#include "tests/unit/metaserver/daemon_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"

static const char cluster_text[] = "11111111-2222-3333-4444-555555555555";

static struct {
    char folder[64], peers[160], addresses[METAS][32];
    pid_t pids[METAS];
    struct loop *loop;
    struct rpc_identity client, chunkserver;
    struct rpc_leader *as_client, *as_chunkserver, *as_client_of_three;
    char alone_address[32];
    pid_t alone_pid;
    struct answer answer;
    unsigned failures;            /* of the daemons, met while no test runs */
    struct faults *faults[METAS]; /* NULL: they run as they are */
} f;

/* Beside this program, whatever folder it is run in. */
static const char *program_with_faults(void)
{
    static char path[512];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 32);
    CHECK(size > 0);
    path[size] = '\0';
    (void)strcpy(strrchr(path, '/') + 1, "metaserver-with-faults");
    return path;
}

static const char *program(void)
{
    if (f.faults[0])
        return program_with_faults();
    const char *named = getenv("CAIRN_METASERVER");
    return named ? named : "metaserver/cairn-metaserver";
}

/* A port of 127.0.0.1 that nobody listens on, from `from` on. */
static unsigned free_port(unsigned from)
{
    for (unsigned port = from; port < from + 100; port++) {
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int one = 1;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        int status = bind(fd, (struct sockaddr *)&at, sizeof at);
        (void)close(fd);
        if (status == 0)
            return port;
    }
    CHECK(!"a free port");
    return 0;
}

static void faults_path(unsigned which, char ret_path[96])
{
    (void)snprintf(ret_path, 96, "%s/m%u.faults", f.folder, which + 1);
}

void daemons_start(unsigned which)
{
    char id[8], data[96], log[96], faulty[96];
    (void)snprintf(id, sizeof id, "%u", which + 1);
    (void)snprintf(data, sizeof data, "%s/m%u", f.folder, which + 1);
    (void)snprintf(log, sizeof log, "%s/m%u.log", f.folder, which + 1);
    faults_path(which, faulty);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that breaks off leaves none behind */
        if (f.faults[0])
            (void)setenv("CAIRN_FAULTS", faulty, 1);
        (void)execl(program(), program(), "--id", id, "--cluster", cluster_text, "--data", data,
                    "--log-file", log, "--listen", f.addresses[which], "--peers", f.peers,
                    "--shards", "8", "--initial-targets", "2", "--lease", "1s", NULL);
        _exit(127);
    }
    f.pids[which] = pid;
}

void daemons_kill(unsigned which, int signal_number)
{
    int status;
    if (f.pids[which] == 0)
        return;
    CHECK(kill(f.pids[which], signal_number) == 0);
    CHECK(waitpid(f.pids[which], &status, 0) == f.pids[which]);
    f.pids[which] = 0;
    /* Otherwise it met a broken invariant, or a sanitizer found something. */
    bool is_clean = WIFEXITED(status) ? WEXITSTATUS(status) == 0
                                      : WTERMSIG(status) == signal_number; /* it just began */
    if (!is_clean) {
        (void)printf("# metaserver %u ended with wait status %d\n", which + 1, status);
        f.failures++;
    }
}

void daemons_signal(unsigned which, int signal_number)
{
    CHECK(f.pids[which] != 0 && kill(f.pids[which], signal_number) == 0);
}

static int wait_end(pid_t pid, unsigned within_ms)
{
    int status;
    uint64_t end = loop_now_ms() + within_ms;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (loop_now_ms() >= end)
            return -1;
        pause_ms(20);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

int daemons_end(unsigned which, unsigned within_ms)
{
    int status = wait_end(f.pids[which], within_ms);
    if (status >= 0)
        f.pids[which] = 0;
    return status;
}

struct faults *daemons_faults(unsigned which)
{
    return f.faults[which];
}

static struct rpc_leader *connect_as(struct rpc_identity *identity, uint8_t role)
{
    const char *addresses[METAS];
    *identity = (struct rpc_identity){.role = role, .instance = random_u64()};
    CHECK(uuid_parse(cluster_text, &identity->cluster) == 0);
    for (unsigned i = 0; i < METAS; i++)
        addresses[i] = f.addresses[i];
    struct rpc_leader_options options = {
        .addresses = addresses, .address_count = METAS, .identity = identity, .seed = 1};
    return rpc_leader_create(f.loop, &options);
}

static int set_up(bool with_faults)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const char *base = getenv("CAIRN_TEST_DIR");
    if (!base || strlen(base) > 40)
        base = "/var/tmp";
    (void)snprintf(f.folder, sizeof f.folder, "%s/cairn-meta-XXXXXX", base);
    CHECK(mkdtemp(f.folder) != NULL);
    /* Below those that the kernel gives away, and apart from those of other programs. */
    unsigned port = 20000 + (unsigned)getpid() % 1200 * 10;
    for (unsigned i = 0; with_faults && i < METAS; i++) {
        char path[96];
        faults_path(i, path);
        f.faults[i] = faults_map(path);
    }
    f.peers[0] = '\0';
    for (unsigned i = 0; i < METAS; i++) {
        port = free_port(port);
        (void)snprintf(f.addresses[i], sizeof f.addresses[i], "127.0.0.1:%u", port++);
        size_t used = strlen(f.peers);
        (void)snprintf(f.peers + used, sizeof f.peers - used, "%s%u=%s", i ? "," : "", i + 1,
                       f.addresses[i]);
    }
    for (unsigned i = 0; i < METAS; i++)
        daemons_start(i);
    f.loop = loop_create();
    f.as_client = connect_as(&f.client, ROLE_CLIENT);
    f.as_chunkserver = connect_as(&f.chunkserver, ROLE_CHUNK);
    f.failures = 0;
    (void)daemons_leader();
    return 0;
}

int daemons_setup(void)
{
    return set_up(false);
}

int daemons_setup_with_faults(void)
{
    return set_up(true);
}

/* What the daemons met is in their logs: shown when one of them says so. */
static void look_into_log(unsigned which)
{
    char command[256];
    (void)snprintf(
        command, sizeof command,
        "! grep -E 'check failed|meta.diverged|ERROR: (Address|Leak)|runtime error' %s/m%u.log",
        f.folder, which + 1);
    f.failures += system(command) != 0;
}

int daemons_teardown(void)
{
    char command[128];
    rpc_leader_destroy(f.as_client);
    rpc_leader_destroy(f.as_chunkserver);
    for (unsigned i = 0; i < METAS; i++) {
        daemons_kill(i, SIGTERM);
        look_into_log(i);
        CHECK(!f.faults[i] || munmap(f.faults[i], sizeof *f.faults[i]) == 0);
        f.faults[i] = NULL;
    }
    bytes_release(&f.answer.body);
    loop_destroy(f.loop);
    (void)snprintf(command, sizeof command, "rm -rf %s", f.folder);
    if (f.failures == 0 && !getenv("KEEP"))
        f.failures += system(command) != 0;
    if (f.failures != 0)
        (void)printf("not ok daemons ended cleanly; see %s\n", f.folder);
    return f.failures == 0 ? 0 : -1;
}

/* ---- calls ---- */

static void on_reply(void *arg, struct rpc_reply *reply)
{
    struct answer *a = arg;
    a->status = reply->status;
    a->code = reply->code;
    (void)snprintf(a->detail, sizeof a->detail, "%s", reply->detail);
    bytes_clear(&a->body);
    if (reply->status == 0)
        bytes_append(&a->body, reply->body.data, reply->body.size);
    a->is_done = true;
    loop_stop(f.loop);
}

static void send_to(struct rpc_leader *leader, uint16_t code, struct bytes *take_body,
                    struct answer *answer)
{
    struct rpc_call_options options = {
        .code = code, .body = bytes_slice(take_body), .deadline_ms = loop_now_ms() + CALL_MS};
    answer->is_done = false;
    (void)rpc_leader_call(leader, &options, on_reply, answer);
    bytes_release(take_body);
}

void ask_async(uint16_t code, struct bytes *take_body, struct answer *answer)
{
    send_to(f.as_client, code, take_body, answer);
}

void wait_answer(struct answer *answer)
{
    while (!answer->is_done)
        loop_run(f.loop);
}

struct answer *ask(uint16_t code, struct bytes *take_body)
{
    send_to(f.as_client, code, take_body, &f.answer);
    wait_answer(&f.answer);
    return &f.answer;
}

struct answer *ask_as_chunkserver(uint16_t code, struct bytes *take_body)
{
    send_to(f.as_chunkserver, code, take_body, &f.answer);
    wait_answer(&f.answer);
    return &f.answer;
}

static void on_pause(void *arg)
{
    *(bool *)arg = true;
    loop_stop(f.loop);
}

void pause_ms(unsigned ms)
{
    struct loop_timer timer;
    bool is_over = false;
    loop_timer_init(&timer, f.loop, on_pause, &is_over);
    loop_timer_start_ms(&timer, ms);
    while (!is_over)
        loop_run(f.loop);
}

/* ---- what tests ask for ---- */

int status_get(struct msg_status_r *ret)
{
    struct bytes body = {0};
    struct answer *a = ask(MSG_status, &body);
    return a->status != 0 ? a->status : DECODE(status_r, a, ret);
}

unsigned daemons_leader(void)
{
    struct msg_status_r r;
    int status = -ERR_TIMEOUT;
    for (unsigned i = 0; i < 3 && status != 0; i++)
        status = status_get(&r);
    CHECK(status == 0 && r.leader >= 1 && r.leader <= METAS);
    return r.leader - 1;
}

void daemons_change_leader(void)
{
    unsigned old = daemons_leader();
    daemons_kill(old, SIGKILL);
    CU_ASSERT_NOT_EQUAL(daemons_leader(), old);
    daemons_start(old);
}

static pid_t start_alone(const char *data, const char *address)
{
    char log[96];
    (void)snprintf(log, sizeof log, "%s.log", data);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execl(program(), program(), "--cluster", cluster_text, "--data", data, "--listen",
                    address, "--log-level", "error", "--log-file", log, NULL);
        _exit(127);
    }
    return pid;
}

void alone_start(void)
{
    char data[80];
    const char *addresses[] = {f.alone_address};
    struct rpc_leader_options options = {
        .addresses = addresses, .address_count = 1, .identity = &f.client, .seed = 3};
    (void)snprintf(data, sizeof data, "%s/single", f.folder);
    if (f.alone_address[0] == '\0')
        (void)snprintf(f.alone_address, sizeof f.alone_address, "127.0.0.1:%u",
                       free_port(32100 + (unsigned)getpid() % 500));
    f.alone_pid = start_alone(data, f.alone_address);
    f.as_client_of_three = f.as_client;
    f.as_client = rpc_leader_create(f.loop, &options);
}

int alone_end(int signal_number, unsigned within_ms)
{
    rpc_leader_destroy(f.as_client);
    f.as_client = f.as_client_of_three;
    if (signal_number != 0)
        CHECK(kill(f.alone_pid, signal_number) == 0);
    int status = wait_end(f.alone_pid, within_ms);
    if (status < 0) {
        CHECK(kill(f.alone_pid, SIGKILL) == 0 && waitpid(f.alone_pid, NULL, 0) == f.alone_pid);
    }
    return status;
}

void alone_path(const char *name, char ret_path[96])
{
    (void)snprintf(ret_path, 96, "%s/single/%s", f.folder, name);
}

const struct uuid *daemons_cluster(void)
{
    return &f.client.cluster;
}

bool daemons_alone_answers(void)
{
    char data[96], address[32];
    const char *addresses[] = {address};
    unsigned answered = 0;
    (void)snprintf(data, sizeof data, "%s/alone", f.folder);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", free_port(7900));
    struct rpc_leader_options options = {
        .addresses = addresses, .address_count = 1, .identity = &f.client, .seed = 2};
    for (unsigned round = 0; round < 2; round++) {
        struct bytes body = {0};
        pid_t pid = start_alone(data, address);
        struct rpc_leader *leader = rpc_leader_create(f.loop, &options);
        send_to(leader, MSG_status, &body, &f.answer);
        wait_answer(&f.answer);
        answered += f.answer.status == 0;
        rpc_leader_destroy(leader);
        (void)kill(pid, SIGKILL);
        CHECK(waitpid(pid, NULL, 0) == pid);
    }
    return answered == 2;
}

void session_begin(struct client_session *s)
{
    struct bytes body = {0};
    struct msg_session_open_r r;
    uint64_t bits[2] = {random_u64(), random_u64()};
    struct msg_session_open m = {.name = slice_str("test"), .mount = slice_str("/mnt")};
    memcpy(&m.client, bits, sizeof m.client);
    struct answer *a = NULL;
    /* A brand-new cluster is busy until its first entry is applied. */
    for (unsigned tries = 0; tries < 100; tries++) {
        bytes_clear(&body);
        encode_session_open(&body, &m);
        a = ask(MSG_session_open, &body);
        if (a->status == 0)
            break;
        (void)usleep(50000);
    }
    CU_ASSERT_EQUAL_FATAL(a->status, 0);
    CU_ASSERT_EQUAL_FATAL(DECODE(session_open_r, a, &r), 0);
    *s = (struct client_session){.id = r.session};
}

struct wire_caller caller_of(struct client_session *s, bool is_change)
{
    if (is_change)
        s->sequence++;
    return (struct wire_caller){.session = s->id,
                                .sequence = is_change ? s->sequence : 0,
                                .lowest_unanswered = s->sequence,
                                .groups = slice_of("", 0)};
}

int file_create(struct client_session *s, const char *name, uint64_t *ret_inode)
{
    struct bytes body = {0};
    struct msg_meta_open_r r;
    ENCODE(meta_create, &body, .caller = caller_of(s, true), .parent = ROOT_INODE,
           .name = slice_str(name), .mode = 0644, .flags = OPEN_READ | OPEN_WRITE);
    struct answer *a = ask(MSG_meta_create, &body);
    if (a->status == 0 && DECODE(meta_open_r, a, &r) == 0)
        *ret_inode = r.attr.inode;
    return a->status;
}

/* Refused as busy while an open of the file is on its way: asks again, as a client does. */
int file_unlink(struct client_session *s, const char *name)
{
    int status = -ERR_BUSY;
    for (unsigned i = 0; i < 20 && status == -ERR_BUSY; i++) {
        struct bytes body = {0};
        ENCODE(meta_unlink, &body, .caller = caller_of(s, true), .parent = ROOT_INODE,
               .name = slice_str(name));
        status = ask(MSG_meta_unlink, &body)->status;
    }
    return status;
}

int file_stat(uint64_t inode)
{
    struct bytes body = {0};
    ENCODE(meta_getattr, &body, .caller = {.groups = slice_of("", 0)}, .inode = inode);
    return ask(MSG_meta_getattr, &body)->status;
}

int file_release(struct client_session *s, uint64_t inode)
{
    struct bytes body = {0};
    struct rec_inode_ref ref = {.inode = inode, .count = 1};
    ENCODE(meta_release, &body, .session = s->id, .open = {.count = 1, .items = &ref});
    return ask(MSG_meta_release, &body)->status;
}

int session_alive(struct client_session *s, bool is_set, const struct rec_inode_ref *set,
                  unsigned count, bool *ret_wanted)
{
    struct bytes body = {0};
    struct msg_session_alive_r r;
    ENCODE(session_alive, &body, .session = s->id, .reclaim = is_set,
           .open = {.count = count, .items = set});
    struct answer *a = ask(MSG_session_alive, &body);
    if (a->status == 0 && DECODE(session_alive_r, a, &r) == 0 && ret_wanted)
        *ret_wanted = r.want_reclaim != 0;
    return a->status;
}

bool becomes(uint64_t inode, bool is_there, unsigned within_ms)
{
    uint64_t end = loop_now_ms() + within_ms;
    do {
        if ((file_stat(inode) == 0) == is_there)
            return true;
        pause_ms(50);
    } while (loop_now_ms() < end);
    return false;
}
