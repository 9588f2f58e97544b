/* Daemon logging: one write(2) per line, so lines of several threads never mix. */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"

static int sink = STDERR_FILENO;
static enum log_level threshold = LOG_INFO;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

int log_open(const char *file, enum log_level level)
{
    threshold = level;
    if (!file)
        return 0;
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_from_errno(errno);
    sink = fd;
    return 0;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i <= LOG_DEBUG; i++)
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    return -ERR_INVALID;
}

static size_t stamp(char *line, size_t size)
{
    struct timespec now;
    struct tm parts;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &parts);
    size_t at = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &parts);
    int more = snprintf(line + at, size - at, ".%03ldZ ", now.tv_nsec / 1000000);
    return at + (size_t)more;
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    char line[1024];
    if (level > threshold)
        return;
    size_t at = stamp(line, sizeof line);
    at += (size_t)snprintf(line + at, sizeof line - at, "%-5s %s ", level_names[level], event);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + at, sizeof line - at, format, args);
    va_end(args);
    at += more > 0 ? (size_t)more : 0;
    if (at > sizeof line - 1)
        at = sizeof line - 1;
    for (size_t i = 0; i < at; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = '?'; /* text of a peer cannot forge a line */
    line[at++] = '\n';
    ssize_t written = write(sink, line, at);
    (void)written; /* there is nowhere to report that the log itself cannot be written */
}
