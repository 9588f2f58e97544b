/* cairn-chunkserver: options, start, signals, end. */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "chunkserver/chunkserver.h"
#include "chunkserver/options.h"
#include "common/base/conf.h"
#include "common/base/log.h"
#include "common/base/banned.h"

enum { EXIT_STARTUP = 1, EXIT_USAGE = 2, EXIT_TARGET_FAILED = 3, EXIT_UNCLEAN = 4 };

struct program {
    struct loop *loop;
    struct chunkserver *server;
    int exit_status;
};

static int complain(const struct err_text *why)
{
    (void)fprintf(stderr, "cairn-chunkserver: %s\n", why->text);
    return EXIT_STARTUP;
}

static void on_signal(void *arg, int signal_number)
{
    struct program *p = arg;
    if (signal_number != SIGHUP)
        chunkserver_stop(p->server);
}

static void on_end(void *arg, enum chunkserver_end end)
{
    struct program *p = arg;
    if (end == CHUNKSERVER_FAILED)
        p->exit_status = EXIT_TARGET_FAILED;
    else if (end == CHUNKSERVER_REFUSED)
        p->exit_status = EXIT_STARTUP;
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

static int serve(const struct chunkserver_config *config)
{
    struct program p = {.loop = loop_create()};
    struct err_text why = {""};
    (void)signal(SIGPIPE, SIG_IGN);
    descriptors_raise();
    loop_watch_signals(p.loop, on_signal, &p);
    int status = chunkserver_create(p.loop, config, on_end, &p, &p.server, &why);
    if (status != 0) {
        if (why.text[0] == '\0')
            (void)err_set(ERR_IO, &why, "cannot start: %s", err_text(status));
        p.exit_status = complain(&why);
    } else {
        loop_run(p.loop);
        status = chunkserver_destroy(p.server);
        log_info("stop", "clean=%s", status == 0 ? "yes" : "no");
        if (status != 0 && p.exit_status == 0)
            p.exit_status = EXIT_UNCLEAN;
    }
    loop_watch_signals(p.loop, NULL, NULL);
    loop_destroy(p.loop);
    return p.exit_status;
}

int main(int argc, char **argv)
{
    struct options options;
    struct conf_command command = {0};
    struct err_text why = {""};
    int status = options_load(argc, argv, &options, &command, &why), exit_status = 0;
    if (command.help)
        options_help();
    else if (command.version)
        (void)printf("cairn-chunkserver %s\n", PACKAGE_VERSION);
    else if (status != 0) {
        (void)complain(&why);
        exit_status = EXIT_USAGE;
    } else if (!command.check_only) {
        status = log_open(options.log_file, options.level);
        if (status != 0) {
            (void)err_set(ERR_CONFIG, &why, "log file %.150s cannot be opened: %s",
                          options.values.log_file, err_text(status));
            exit_status = complain(&why);
        } else
            exit_status = serve(&options.config);
    }
    options_release(&options);
    return exit_status;
}
