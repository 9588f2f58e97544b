/* The threads and the progress of a copy. */
#include "tools/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "tools/text.h"

enum { TICK_MS = 200, QUIET_LINE_MS = 10000, BAR_WIDTH = 24 };

void copy_add(struct copy *c, const char *from, const char *to, uint64_t size, uint64_t inode,
              uint32_t mode, int64_t mtime_ns)
{
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? c->capacity * 2 : 256;
        c->files = realloc(c->files, c->capacity * sizeof *c->files);
        CHECK(c->files != NULL);
    }
    struct copy_file *f = &c->files[c->count++];
    *f = (struct copy_file){strdup(from), strdup(to), size, inode, mode, mtime_ns};
    CHECK(f->from != NULL && f->to != NULL);
    c->bytes_total += size;
}

void copy_release(struct copy *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->files[i].from);
        free(c->files[i].to);
    }
    free(c->files);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void *worker(void *arg)
{
    struct copy *c = arg;
    for (;;) {
        (void)pthread_mutex_lock(&c->lock);
        size_t at = c->next < c->count ? c->next++ : SIZE_MAX;
        (void)pthread_mutex_unlock(&c->lock);
        if (at == SIZE_MAX)
            return NULL;
        const struct copy_file *f = &c->files[at];
        int status = copy_one(c, f);
        (void)pthread_mutex_lock(&c->lock);
        c->files_done++;
        c->files_failed += status != 0;
        c->mismatches += status == -ERR_CORRUPT;
        (void)pthread_mutex_unlock(&c->lock);
        if (status != 0)
            (void)complain(status, "%s", f->from);
    }
}

static void show(struct copy *c, uint64_t began, bool bar)
{
    char a[TEXT_SIZE], b[TEXT_SIZE], r[TEXT_SIZE], e[TEXT_SIZE], line[BAR_WIDTH * 3 + 1] = "";
    (void)pthread_mutex_lock(&c->lock);
    uint64_t bytes = c->bytes_done, files = c->files_done, failed = c->files_failed;
    (void)pthread_mutex_unlock(&c->lock);
    uint64_t ms = now_ms() - began;
    unsigned percent = c->bytes_total ? (unsigned)(bytes * 100 / c->bytes_total) : 100;
    uint64_t left = bytes ? (c->bytes_total > bytes ? c->bytes_total - bytes : 0) * ms / bytes : 0;
    for (unsigned i = 0; i < BAR_WIDTH; i++)
        memcpy(line + i * 3, i * 100 < percent * BAR_WIDTH ? "\xe2\x96\x88" : "\xe2\x96\x91", 4);
    (void)fprintf(stderr, "%s%s%s%3u%%  %s/%s  %s  ETA %s   %llu/%zu files  %llu failed%s",
                  bar ? "\r" : "", bar ? line : "", bar ? " " : "", percent > 100 ? 100 : percent,
                  text_bytes(bytes, a), text_bytes(c->bytes_total, b), text_rate(bytes, ms, r),
                  text_duration(left, e), (unsigned long long)files, c->count,
                  (unsigned long long)failed, bar ? "\033[K" : "\n");
}

static void *progress(void *arg)
{
    struct copy *c = arg;
    bool bar = isatty(STDERR_FILENO);
    uint64_t began = now_ms(), said = began;
    for (;;) {
        (void)usleep(TICK_MS * 1000);
        (void)pthread_mutex_lock(&c->lock);
        bool over = c->files_done == c->count;
        (void)pthread_mutex_unlock(&c->lock);
        if (over)
            break;
        if (bar || now_ms() - said >= QUIET_LINE_MS) {
            show(c, began, bar);
            said = now_ms();
        }
    }
    if (bar)
        (void)fprintf(stderr, "\r\033[K");
    return NULL;
}

void copy_run(struct copy *c)
{
    pthread_t threads[COPY_JOBS_MAX + 1];
    unsigned started = 0;
    (void)pthread_mutex_init(&c->lock, NULL);
    bool shows = pthread_create(&threads[COPY_JOBS_MAX], NULL, progress, c) == 0;
    for (unsigned i = 0; i < c->jobs && i < c->count; i++)
        if (pthread_create(&threads[started], NULL, worker, c) == 0)
            started++;
    if (started == 0)
        (void)worker(c);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    if (shows)
        (void)pthread_join(threads[COPY_JOBS_MAX], NULL);
    (void)pthread_mutex_destroy(&c->lock);
}
