/* Makes the folder of a metaserver that holds nothing yet, with segments of the log so small that
 * few entries fill one, and hardly any ballast: small-log FOLDER CLUSTER NODE SEGMENT-BYTES. A
 * metaserver takes it for a folder of a version that had all its metaservers in `peers`. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/base/check.h"
#include "metaserver/log_store.h"

int main(int argc, char **argv)
{
    struct log_store_options options = {.ballast_size_bytes = LOG_BLOCK_SIZE, .create = true};
    struct log_store *store;
    struct err_text why = {""};
    struct uuid cluster;
    char folder[4096];
    if (argc != 5 || uuid_parse(argv[2], &cluster) != 0)
        return 2;
    options.segment_size_bytes = strtoull(argv[4], NULL, 10);
    (void)snprintf(folder, sizeof folder, "%s/log", argv[1]);
    if (mkdir(argv[1], 0750) != 0 ||
        log_store_open(folder, &cluster, (uint32_t)strtoul(argv[3], NULL, 10), &options, &store,
                       NULL, &why) != 0) {
        (void)fprintf(stderr, "small-log: %s: %s\n", argv[1], why.text);
        return 1;
    }
    log_store_close(store);
    return 0;
}
