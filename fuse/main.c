/* cairn-mount: connects, mounts, reports to whoever started it, serves until unmounted. */
#include "config.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "fuse/bdi.h"
#include "fuse/mount.h"
#include "fuse/options.h"
#include "fuse/unmount.h"

#include "common/base/banned.h"

enum {
    READ_AHEAD_KB = 4096, /* hides the round trip; 10 to 15 % less CPU than 128 KiB */
    REPORT_SIZE = 2400,
    EXIT_USAGE = 2,
    EXIT_NO_CLUSTER = 5,
};

struct program {
    struct options options;
    char mount_point[OPTIONS_PATH_SIZE];
    struct loop *loop;
    struct client *client;
    struct mount *mount;
    int report_fd; /* where the parent waits; -1 in the foreground */
    int exit_code;
    bool stopping;
    pthread_t unmounter;
    bool unmounter_started;
};

/* ---- the report to the parent: one byte of exit code, then text ---- */

static void report(struct program *p, int code, const char *text)
{
    char message[REPORT_SIZE];
    if (p->report_fd < 0) {
        if (code != 0)
            fprintf(stderr, "cairn-mount: %s\n", text);
        return;
    }
    message[0] = (char)code;
    int size = snprintf(message + 1, sizeof message - 1, "%s", text);
    size_t total = 1 + (size < 0 ? 0 : (size_t)size);
    if (total > sizeof message)
        total = sizeof message;
    if (write(p->report_fd, message, total) < 0)
        log_warn("mount.report", "error=%s", strerror(errno));
    close(p->report_fd);
    p->report_fd = -1;
}

static int wait_for_report(int fd, pid_t child)
{
    char message[REPORT_SIZE + 1];
    size_t size = 0;
    for (ssize_t n; size < REPORT_SIZE; size += (size_t)n) {
        n = read(fd, message + size, REPORT_SIZE - size);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0)
            break;
    }
    message[size] = 0;
    if (size != 0) {
        if (message[0] != 0)
            fprintf(stderr, "cairn-mount: %s\n", message + 1);
        return message[0];
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    fprintf(stderr, "cairn-mount: the mount process ended before it was ready\n");
    return 1;
}

/* Before any thread: the child goes on, the parent exits with what the child reports. */
static void daemonise(struct program *p)
{
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0) {
        close(fds[1]);
        _exit(wait_for_report(fds[0], child));
    }
    close(fds[0]);
    p->report_fd = fds[1];
    (void)setsid();
}

static void leave_terminal(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(null >= 0);
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO);
    (void)dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO)
        close(null);
    CHECK(chdir("/") == 0);
}

/* ---- the end ---- */

static void on_closed(void *arg, int status)
{
    struct program *p = arg;
    if (status != 0) {
        log_error("mount.lost", "unflushed data could not be written: %s", err_text(status));
        p->exit_code = 1;
    }
    p->client = NULL;
    loop_stop(p->loop);
}

/* The kernel let go: all files are closed there; what is dirty here goes out now. */
static void on_unmounted(void *arg)
{
    struct program *p = arg;
    log_info("mount.end", "path=%s", p->mount_point);
    p->stopping = true;
    client_close(p->client, on_closed, p);
}

static void force_end(void *arg)
{
    struct program *p = arg;
    if (!p->stopping)
        mount_stop(p->mount);
}

static void *unmount_then_end(void *arg)
{
    struct program *p = arg;
    if (unmount_path(p->mount_point))
        log_warn("mount.busy", "path=%s detached; files that are open there will fail",
                 p->mount_point);
    /* A detached mount with open files gives no sign: end all the same. */
    loop_post(p->loop, force_end, p);
    return NULL;
}

static void on_signal(void *arg, int number)
{
    struct program *p = arg;
    if (number == SIGHUP || p->unmounter_started || !p->mount)
        return;
    log_info("mount.signal", "signal=%d", number);
    p->unmounter_started = pthread_create(&p->unmounter, NULL, unmount_then_end, p) == 0;
}

/* ---- the start ---- */

static void fail(struct program *p, int code, const char *text)
{
    p->exit_code = code;
    report(p, code, text);
    loop_stop(p->loop);
}

static void on_close_after_failure(void *arg, int status)
{
    struct program *p = arg;
    (void)status;
    p->client = NULL;
    loop_stop(p->loop);
}

/* After INIT, whose answer would put the kernel's read-ahead back. */
static void on_mounted(void *arg)
{
    struct program *p = arg;
    int status = geteuid() == 0 ? bdi_set_read_ahead(p->mount_point, READ_AHEAD_KB) : 0;
    if (status != 0)
        log_warn("mount.readahead", "kernel default kept: %s", err_text(status));
    log_info("mount.ready", "cluster=%s path=%s", p->options.cluster, p->mount_point);
    if (!p->options.foreground)
        leave_terminal();
    report(p, 0, "");
}

static void on_client(void *arg, int status, struct client *client, const char *why)
{
    struct program *p = arg;
    char flags[OPTIONS_FLAGS_SIZE];
    struct err_text text = {""};
    if (status != 0) {
        char message[REPORT_SIZE];
        snprintf(message, sizeof message, "cannot mount %s: %s", p->options.cluster, why);
        fail(p, EXIT_NO_CLUSTER, message);
        return;
    }
    p->client = client;
    unsigned attr_ms = p->options.attr_ms ? p->options.attr_ms : CLIENT_ATTR_MS;
    status = options_mount_flags(&p->options, flags, &text);
    if (status == 0)
        status = mount_create(client,
                              &(struct mount_options){.mount_point = p->mount_point,
                                                      .mount_flags = flags,
                                                      .attr_ms = attr_ms,
                                                      .on_ready = on_mounted,
                                                      .on_end = on_unmounted,
                                                      .arg = p},
                              &p->mount, &text);
    if (status != 0) {
        p->exit_code = 1;
        report(p, 1, text.text);
        client_close(client, on_close_after_failure, p);
        return;
    }
}

static void run(struct program *p)
{
    struct options *o = &p->options;
    p->loop = loop_create();
    loop_watch_signals(p->loop, on_signal, p);
    client_create(p->loop,
                  &(struct client_options){
                      .cluster = o->cluster,
                      .name = o->name,
                      .mount = p->mount_point,
                      .deadline_ms = o->timeout_ms,
                      .attr_ms = o->attr_ms,
                      .write_buffer_bytes = o->write_buffer_bytes,
                      .read_ahead_bytes = o->read_ahead_bytes,
                  },
                  on_client, p);
    loop_run(p->loop);
    if (p->unmounter_started)
        pthread_join(p->unmounter, NULL);
    if (p->mount)
        mount_destroy(p->mount);
    loop_watch_signals(p->loop, NULL, NULL);
    loop_destroy(p->loop);
}

int main(int argc, char **argv)
{
    static struct program p = {.report_fd = -1};
    struct err_text why = {""};
    int status = options_parse(argc, argv, geteuid() == 0, &p.options, &why);
    if (status != 0) {
        fprintf(stderr, "cairn-mount: %s\n%s", why.text, options_usage);
        return EXIT_USAGE;
    }
    if (p.options.help || p.options.version) {
        fputs(p.options.help ? options_usage : "cairn-mount " PACKAGE_VERSION "\n", stdout);
        return 0;
    }
    status = options_check_mount_point(&p.options, p.mount_point, &why);
    if (status != 0) {
        fprintf(stderr, "cairn-mount: %s\n", why.text);
        return 1;
    }
    if (!p.options.foreground)
        daemonise(&p);
    status = log_open(p.options.log_file, p.options.log_level);
    if (status != 0) {
        report(&p, 1, "cannot open the log file");
        return 1;
    }
    run(&p);
    return p.exit_code;
}
