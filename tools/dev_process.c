/* The processes of a cluster on one machine: pid files, starting, waiting, stopping. */
#include "tools/dev_cluster.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"

extern char **environ;

enum { START_LIMIT_MS = 15000, POLL_MS = 20 };

static const char *const programs[] = {"cairn-metaserver", "cairn-chunkserver", "cairn-mount"};
static const char *const letters[] = {"m", "c", "mount"};

void dev_daemon_name(struct dev_daemon d, char ret_name[DEV_NAME_MAX])
{
    if (d.kind == DEV_MOUNT)
        (void)snprintf(ret_name, DEV_NAME_MAX, "mount");
    else
        (void)snprintf(ret_name, DEV_NAME_MAX, "%s%u", letters[d.kind], d.number);
}

void dev_daemon_address(const struct dev_cluster *c, struct dev_daemon d, char *ret_text,
                        size_t size)
{
    if (d.kind == DEV_MOUNT)
        (void)snprintf(ret_text, size, "%s", c->mount);
    else
        (void)snprintf(ret_text, size, "127.0.0.1:%u", dev_daemon_port(c, d));
}

struct dev_daemon dev_daemon_at(const struct dev_cluster *c, enum dev_kind kind, unsigned index)
{
    if (kind == DEV_MOUNT)
        return (struct dev_daemon){kind, 1};
    const struct dev_seat *seats = kind == DEV_META ? c->metas : c->chunks;
    return (struct dev_daemon){kind, seats[index].number};
}

unsigned dev_daemon_port(const struct dev_cluster *c, struct dev_daemon d)
{
    const struct dev_seat *seats = d.kind == DEV_META ? c->metas : c->chunks;
    unsigned count = d.kind == DEV_META ? c->meta_count : c->chunk_count;
    for (unsigned i = 0; i < count; i++)
        if (seats[i].number == d.number)
            return seats[i].port;
    return 0; /* forgotten */
}

int dev_daemon_parse(const struct dev_cluster *c, const char *name, struct dev_daemon *ret_daemon,
                     struct err_text *why)
{
    char known[DEV_NAME_MAX];
    for (int kind = DEV_META; kind <= DEV_MOUNT; kind++) {
        unsigned count = kind == DEV_META ? c->meta_count : kind == DEV_CHUNK ? c->chunk_count : 1;
        for (unsigned i = 0; i < count; i++) {
            struct dev_daemon d = dev_daemon_at(c, (enum dev_kind)kind, i);
            dev_daemon_name(d, known);
            if (strcmp(known, name) == 0) {
                *ret_daemon = d;
                return 0;
            }
        }
    }
    return err_set(ERR_NO_ENTRY, why,
                   "no daemon '%.40s' here; there are m1..m%u, c1..c%u and mount", name,
                   c->meta_last, c->chunk_last);
}

static void file_of(const struct dev_cluster *c, struct dev_daemon d, const char *file,
                    char ret_path[DEV_PATH_MAX + 64])
{
    char name[DEV_NAME_MAX];
    dev_daemon_name(d, name);
    (void)snprintf(ret_path, DEV_PATH_MAX + 64, "%s/%s/%s", c->folder, name, file);
}

void dev_daemon_config(const struct dev_cluster *c, struct dev_daemon d,
                       char ret_path[DEV_PATH_MAX + 64])
{
    file_of(c, d, d.kind == DEV_META ? "metaserver.conf" : "chunkserver.conf", ret_path);
}

/* The word in the command line by which a process is known to be this daemon. */
static void mark_of(const struct dev_cluster *c, struct dev_daemon d,
                    char ret_mark[DEV_PATH_MAX + 64])
{
    if (d.kind == DEV_MOUNT)
        (void)snprintf(ret_mark, DEV_PATH_MAX + 64, "%s", c->folder);
    else
        dev_daemon_config(c, d, ret_mark);
}

static bool process_is(pid_t pid, const char *mark)
{
    char path[64], words[2 * DEV_PATH_MAX];
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, words, sizeof words - 1);
    (void)close(fd);
    if (size <= 0)
        return false; /* gone, or a zombie */
    words[size] = '\0';
    for (char *word = words; word < words + size; word += strlen(word) + 1)
        if (strcmp(word, mark) == 0)
            return true;
    return false;
}

pid_t dev_daemon_pid(const struct dev_cluster *c, struct dev_daemon d)
{
    char path[DEV_PATH_MAX + 64], mark[DEV_PATH_MAX + 64], text[32];
    file_of(c, d, "pid", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[size > 0 ? size : 0] = '\0';
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    mark_of(c, d, mark);
    return pid > 1 && process_is(pid, mark) ? pid : 0;
}

static void sleep_ms(unsigned ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

static bool answers(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        (void)close(fd);
    return connected;
}

void dev_program_path(enum dev_kind kind, char ret_path[DEV_PATH_MAX + 64])
{
    static const char *const rooms[] = {"../metaserver", "../chunkserver", "../fuse"};
    char self[DEV_PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    const char *const places[] = {".", "../sbin", rooms[kind]};
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(ret_path, DEV_PATH_MAX + 64, "%s/%s/%s", self, places[i], programs[kind]);
        if (access(ret_path, X_OK) == 0)
            return;
    }
    (void)snprintf(ret_path, DEV_PATH_MAX + 64, "%s", programs[kind]);
}

static int write_pid(const struct dev_cluster *c, struct dev_daemon d, pid_t pid)
{
    char path[DEV_PATH_MAX + 64], text[32];
    file_of(c, d, "pid", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -ERR_IO;
    int size = snprintf(text, sizeof text, "%d\n", (int)pid);
    int status = write(fd, text, (size_t)size) == size ? 0 : -ERR_IO;
    (void)close(fd);
    return status;
}

/* CAIRN_CLUSTER names a cluster for us, but is the option `cluster` for a daemon, and so are
 * others: a daemon of ours obeys its configuration file alone. */
void dev_forget_environment(void)
{
    for (char **at = environ; *at;) {
        char name[64];
        size_t size = strcspn(*at, "=");
        if (strncmp(*at, "CAIRN_", 6) != 0 || size >= sizeof name) {
            at++;
            continue;
        }
        memcpy(name, *at, size);
        name[size] = '\0';
        (void)unsetenv(name); /* the next one moves to this place */
    }
}

static __attribute__((noreturn)) void become(const struct dev_cluster *c, struct dev_daemon d,
                                             const char *program, int log_fd)
{
    char mark[DEV_PATH_MAX + 64];
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)setsid();
    dev_forget_environment();
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(log_fd, STDOUT_FILENO);
    (void)dup2(log_fd, STDERR_FILENO);
    mark_of(c, d, mark);
    if (d.kind == DEV_MOUNT)
        (void)execlp(program, programs[d.kind], "-f", mark, c->mount, (char *)NULL);
    else
        (void)execlp(program, programs[d.kind], "--config", mark, (char *)NULL);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

/* The last line of the daemon's log, where it says why it ended. */
static void last_line(const char *log, char *ret_text, size_t size)
{
    char tail[2048];
    ret_text[0] = '\0';
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    off_t end = lseek(fd, 0, SEEK_END);
    ssize_t got = pread(fd, tail, sizeof tail - 1,
                        end > (off_t)sizeof tail ? end - (off_t)sizeof tail + 1 : 0);
    (void)close(fd);
    while (got > 0 && tail[got - 1] == '\n')
        got--;
    tail[got > 0 ? got : 0] = '\0';
    char *line = strrchr(tail, '\n');
    (void)snprintf(ret_text, size, "%.150s", line ? line + 1 : tail);
}

static bool is_mounted(const char *folder)
{
    struct stat here, above;
    char parent[DEV_PATH_MAX + 4];
    (void)snprintf(parent, sizeof parent, "%s/..", folder);
    return stat(folder, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

static bool is_ready(const struct dev_cluster *c, struct dev_daemon d)
{
    if (d.kind == DEV_MOUNT)
        return is_mounted(c->mount);
    unsigned count = d.kind == DEV_CHUNK ? c->target_count : 1;
    for (unsigned i = 0; i < count; i++) /* one of the disks may be away */
        if (answers(dev_daemon_port(c, d) + i))
            return true;
    return false;
}

int dev_daemon_start(const struct dev_cluster *c, struct dev_daemon d, struct err_text *why)
{
    char log[DEV_PATH_MAX + 64], program[DEV_PATH_MAX + 64], name[DEV_NAME_MAX], line[200];
    if (dev_daemon_pid(c, d) != 0) {
        if (d.kind != DEV_MOUNT || is_mounted(c->mount))
            return 0;
        /* It was unmounted under it (umount -l) and only waits for its last open file. */
        int status = dev_daemon_stop(c, d, SIGKILL, 5000, why);
        if (status != 0)
            return status;
    }
    struct stat st;
    if (d.kind == DEV_MOUNT && stat(c->mount, &st) != 0 && errno == ENOTCONN)
        (void)umount2(c->mount, MNT_DETACH); /* what a mount that died has left */
    dev_daemon_name(d, name);
    file_of(c, d, "log", log);
    dev_program_path(d.kind, program);
    int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0)
        return err_set(ERR_IO, why, "cannot write %.180s: %s", log, strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become(c, d, program, log_fd);
    (void)close(log_fd);
    if (pid < 0)
        return err_set(ERR_IO, why, "cannot start %s: %s", name, strerror(errno));
    if (write_pid(c, d, pid) != 0)
        return err_set(ERR_IO, why, "cannot write the pid file of %s", name);
    for (unsigned waited = 0; waited < START_LIMIT_MS; waited += POLL_MS) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            last_line(log, line, sizeof line);
            return err_set(ERR_IO, why, "%s ended at once: %s", name, line);
        }
        if (is_ready(c, d))
            return 0;
        sleep_ms(POLL_MS);
    }
    last_line(log, line, sizeof line);
    return err_set(ERR_TIMEOUT, why, "%s is not ready after %d s: %s", name, START_LIMIT_MS / 1000,
                   line);
}

int dev_daemon_stop(const struct dev_cluster *c, struct dev_daemon d, int signal_number,
                    unsigned limit_ms, struct err_text *why)
{
    char name[DEV_NAME_MAX], path[DEV_PATH_MAX + 64];
    pid_t pid = dev_daemon_pid(c, d);
    if (pid == 0)
        return 0;
    dev_daemon_name(d, name);
    if (kill(pid, signal_number) != 0 && errno != ESRCH)
        return err_set(ERR_PERMISSION, why, "cannot signal %s (pid %d): %s", name, (int)pid,
                       strerror(errno));
    for (unsigned waited = 0; waited <= limit_ms; waited += POLL_MS) {
        (void)waitpid(pid, NULL, WNOHANG); /* when it is our own child */
        if (dev_daemon_pid(c, d) == 0) {
            file_of(c, d, "pid", path);
            (void)unlink(path);
            return 0;
        }
        sleep_ms(POLL_MS);
    }
    return err_set(ERR_TIMEOUT, why, "%s (pid %d) did not end within %u s", name, (int)pid,
                   limit_ms / 1000);
}
