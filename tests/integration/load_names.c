/* Makes names through the client library, past FUSE.
 *   load-names METASERVERS FOLDER COUNT            as fast as 256 in flight go, in folders of
 * 10,000 load-names METASERVERS FOLDER latency MS FILE  one after the other until FILE exists or MS
 * are over; prints count, median, p99 and longest, us Exits with 1 when a name could not be made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/client/client.h"
#include "common/net/loop.h"

enum { DEPTH = 256, FOLDER_NAMES = 10000, SAMPLES_MAX = 1 << 20 };

static struct {
    struct loop *loop;
    struct client *client;
    const char *folder, *stop_file;
    bool is_latency;
    uint64_t folder_inode, end_ms;
    uint64_t count, made, answered, in_flight;
    uint64_t sent_us, *samples;
    int status;
} load;

static const struct client_caller root = {.uid = 0};

static void end(void)
{
    loop_stop(load.loop);
}

static void fail(const char *what, int status)
{
    (void)fprintf(stderr, "%s: %s\n", what, err_text(status));
    load.status = status;
    end();
}

static void more(void);

static void on_made(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    (void)arg, (void)attr, (void)valid_ms;
    load.in_flight--;
    if (status != 0) {
        fail("mknod", status);
        return;
    }
    if (load.is_latency && load.answered < SAMPLES_MAX)
        load.samples[load.answered] = loop_now_us() - load.sent_us;
    load.answered++;
    more();
}

static void on_folder(void *arg, int status, const struct wire_attr *attr, unsigned valid_ms)
{
    (void)arg, (void)valid_ms;
    if (status != 0) {
        fail("mkdir", status);
        return;
    }
    load.folder_inode = attr->inode;
    more();
}

static bool is_over(void)
{
    return load.is_latency ? loop_now_ms() >= load.end_ms || access(load.stop_file, F_OK) == 0
                           : load.made == load.count;
}

static void more(void)
{
    while (load.status == 0 && load.in_flight < (load.is_latency ? 1 : DEPTH) && !is_over()) {
        char name[64];
        if (load.made % FOLDER_NAMES == 0 && load.folder_inode != 0) {
            if (load.in_flight > 0)
                return; /* the folder after these */
            load.folder_inode = 0;
            (void)snprintf(name, sizeof name, "%s%llu", load.folder,
                           (unsigned long long)(load.made / FOLDER_NAMES));
            client_mkdir(load.client, &root, 1, slice_str(name), 0755, on_folder, NULL);
            load.made++; /* so that the next call goes on */
            return;
        }
        (void)snprintf(name, sizeof name, "name-%011llu", (unsigned long long)load.made++);
        load.sent_us = loop_now_us();
        load.in_flight++;
        client_mknod(load.client, &root, load.folder_inode, slice_str(name), S_IFIFO | 0600, 0,
                     on_made, NULL);
    }
    if (load.in_flight == 0 && (is_over() || load.status != 0))
        end();
}

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    end();
}

static void on_ready(void *arg, int status, struct client *client, const char *why)
{
    (void)arg;
    if (status != 0) {
        fail(why, status);
        return;
    }
    load.client = client;
    load.folder_inode = 1; /* anything: the first folder is made at once */
    more();
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(void)
{
    uint64_t n = load.answered < SAMPLES_MAX ? load.answered : SAMPLES_MAX;
    if (!load.is_latency || n == 0) {
        printf("made %llu\n", (unsigned long long)load.answered);
        return;
    }
    qsort(load.samples, n, sizeof *load.samples, by_size);
    printf("count=%llu p50_us=%llu p99_us=%llu max_us=%llu\n", (unsigned long long)n,
           (unsigned long long)load.samples[n / 2], (unsigned long long)load.samples[n * 99 / 100],
           (unsigned long long)load.samples[n - 1]);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 6)
        return 2;
    load.folder = argv[2];
    load.is_latency = argc == 6;
    load.count = strtoull(argv[3], NULL, 10);
    load.samples = calloc(SAMPLES_MAX, sizeof *load.samples);
    CHECK(load.samples != NULL);
    load.loop = loop_create();
    if (load.is_latency) {
        load.end_ms = loop_now_ms() + strtoull(argv[4], NULL, 10);
        load.stop_file = argv[5];
    }
    client_create(load.loop, &(struct client_options){.cluster = argv[1]}, on_ready, NULL);
    loop_run(load.loop);
    report();
    if (load.client) {
        client_close(load.client, on_closed, NULL);
        loop_run(load.loop);
    }
    loop_destroy(load.loop);
    free(load.samples);
    return load.status != 0;
}
