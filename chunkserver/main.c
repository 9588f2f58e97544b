/* cairn-chunkserver: options, start, signals, end. */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "chunkserver/daemon.h"
#include "chunkserver/options.h"
#include "common/base/conf.h"
#include "common/base/log.h"
#include "common/base/banned.h"

enum { EXIT_STARTUP = DAEMON_STARTUP, EXIT_USAGE = 2 };

struct program {
    struct loop *loop;
    struct daemon *daemon;
    int argc;
    char **argv;
    struct options *options; /* what the daemon runs with */
    int exit_status;
    bool hangs;
};

static int complain(const char *why)
{
    (void)fprintf(stderr, "cairn-chunkserver: %s\n", why);
    return EXIT_STARTUP;
}

static void options_free(struct options *options)
{
    options_release(options);
    free(options);
}

/* Which targets there are is read again; all else is as it was at the start. */
static void reload(struct program *p)
{
    struct options *options = calloc(1, sizeof *options);
    struct conf_command command = {0};
    struct err_text why = {""};
    if (!options)
        return;
    int status = options_load(p->argc, p->argv, options, &command, &why);
    if (status == 0)
        status = daemon_reload(p->daemon, &options->config, &why);
    if (status == 0) {
        struct options *before = p->options;
        p->options = options;
        options = before;
        log_info("reload", "targets=%u", p->options->config.target_count);
    } else
        log_error("reload.refused", "why=\"%s\": nothing was changed", why.text);
    options_free(options);
}

static void on_signal(void *arg, int signal_number)
{
    struct program *p = arg;
    if (signal_number == SIGHUP)
        reload(p);
    else
        daemon_stop(p->daemon);
}

static void on_end(void *arg, enum daemon_exit exit, bool hangs)
{
    struct program *p = arg;
    p->exit_status = (int)exit;
    p->hangs = hangs;
    loop_stop(p->loop);
}

static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("limit.descriptors", "cannot be raised: %s", strerror(errno));
}

/* `p->options` may be others afterwards. */
static int serve(struct program *p)
{
    p->loop = loop_create();
    (void)signal(SIGPIPE, SIG_IGN);
    descriptors_raise();
    loop_watch_signals(p->loop, on_signal, p);
    p->daemon = daemon_create(p->loop, &p->options->config, on_end, p);
    loop_run(p->loop);
    const char *trouble = daemon_trouble(p->daemon);
    log_info("stop", "clean=%s", p->exit_status == 0 ? "yes" : "no");
    if (trouble[0] != '\0')
        (void)complain(trouble);
    if (p->hangs)
        _exit(p->exit_status); /* a thread waits for a disk that does not answer */
    daemon_destroy(p->daemon);
    loop_watch_signals(p->loop, NULL, NULL);
    loop_destroy(p->loop);
    return p->exit_status;
}

static int make_target(const struct options *options)
{
    struct err_text why;
    struct uuid target;
    char text[UUID_TEXT_SIZE];
    if (daemon_make_target(&options->config, (unsigned)options->values.init, &target, &why) != 0)
        return complain(why.text);
    uuid_format(&target, text);
    (void)printf("made target %s\n", text);
    return 0;
}

static int run(struct program *p)
{
    struct err_text why = {""};
    if (p->options->values.init != 0)
        return make_target(p->options);
    int status = log_open(p->options->log_file, p->options->level);
    if (status == 0)
        return serve(p);
    (void)err_set(ERR_CONFIG, &why, "log file %.150s cannot be opened: %s",
                  p->options->values.log_file, err_text(status));
    return complain(why.text);
}

int main(int argc, char **argv)
{
    struct program p = {.argc = argc, .argv = argv, .options = calloc(1, sizeof *p.options)};
    struct conf_command command = {0};
    struct err_text why = {""};
    int exit_status = 0;
    if (!p.options)
        return EXIT_STARTUP;
    int status = options_load(argc, argv, p.options, &command, &why);
    if (command.help)
        options_help();
    else if (command.version)
        (void)printf("cairn-chunkserver %s\n", PACKAGE_VERSION);
    else if (status != 0) {
        (void)complain(why.text);
        exit_status = EXIT_USAGE;
    } else if (!command.check_only)
        exit_status = run(&p);
    options_free(p.options);
    return exit_status;
}
