/* How fast the metadata log makes entries durable: batches of 1, 16 and 64 entries of 256 bytes.
 *
 *   log-bench FOLDER [SECONDS]
 *
 * FOLDER must be on the disk to be measured and is made new. Under `strace -c -f` the counts show
 * one pwrite64 and one fdatasync per batch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "metaserver/log_store.h"
#include "common/base/banned.h"

enum { ENTRY_SIZE = 256, BATCH_MAX = 64 };

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Appends and syncs for so long; trims behind itself as a checkpoint would allow. */
static int run(struct log_store *store, unsigned batch, double seconds)
{
    uint8_t data[ENTRY_SIZE];
    struct log_entry entries[BATCH_MAX];
    struct log_range range;
    memset(data, 0x5a, sizeof data);
    log_store_range(store, &range);
    uint64_t next = range.last_index + 1, syncs = 0;
    double start = now_s(), worst = 0, end = start;
    while (end - start < seconds) {
        for (unsigned i = 0; i < batch; i++)
            entries[i] = (struct log_entry){
                .index = next + i, .term = 1, .kind = 2, .data = slice_of(data, sizeof data)};
        int result = log_store_append(store, next, entries, batch);
        if (result == 0)
            result = log_store_sync(store);
        if (result != 0)
            return result;
        next += batch;
        syncs++;
        if (syncs % 2048 == 0 && log_store_trim(store, next - 1) != 0)
            return -ERR_IO;
        double done = now_s();
        worst = done - end > worst ? done - end : worst;
        end = done;
    }
    double took = end - start;
    printf("batch %2u: %8.0f fdatasyncs/s %9.0f entries/s  mean %6.1f us  worst %6.1f ms\n", batch,
           (double)syncs / took, (double)(syncs * batch) / took, took * 1e6 / (double)syncs,
           worst * 1e3);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER [SECONDS]\n", argv[0]);
        return 2;
    }
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
    struct log_store_options options;
    log_store_options_defaults(&options);
    options.create = true;
    struct uuid cluster = {{1}};
    struct log_store *store;
    struct err_text why = {""};
    int result = log_store_open(argv[1], &cluster, 1, &options, &store, NULL, &why);
    if (result != 0) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    static const unsigned batches[] = {1, 16, 64};
    for (size_t i = 0; i < 3 && result == 0; i++)
        result = run(store, batches[i], seconds);
    if (result != 0)
        fprintf(stderr, "failed: %s\n", err_text(result));
    log_store_close(store);
    return result != 0;
}
