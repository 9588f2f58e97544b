/* One copy job of `cairn cp`: the list of files, the threads that copy them, the progress. */
#ifndef CAIRN_TOOLS_COPY_H
#define CAIRN_TOOLS_COPY_H

#include <pthread.h>
#include <sys/stat.h>

#include "tools/place.h"

enum { COPY_JOBS_MAX = 64, COPY_PIECE = 1 << 20, COPY_READ_PIECE = 4 << 20 };

/* One file to copy; folders and links are made while the list is built. */
struct copy_file {
    char *from, *to; /* local path, or path in the cluster */
    uint64_t size, inode;
    uint32_t mode;
    int64_t mtime_ns;
};

struct copy {
    struct blocking_client *client;
    bool from_remote, to_remote, verify;
    unsigned jobs;
    struct copy_file *files;
    size_t count, capacity;
    pthread_mutex_t lock;
    size_t next; /* the next file to take */
    uint64_t bytes_total, bytes_done, files_done, files_failed, mismatches;
};

void copy_add(struct copy *c, const char *from, const char *to, uint64_t size, uint64_t inode,
              uint32_t mode, int64_t mtime_ns);
/* Copies all files with c->jobs threads, showing progress; failures are reported and counted. */
void copy_run(struct copy *c);
void copy_release(struct copy *c);

/* copy_file.c: one file. 0 or a negated err; -ERR_CORRUPT when --verify found a difference. */
int copy_one(struct copy *c, const struct copy_file *f);
/* The folder and last name of a path in the cluster. */
int copy_parent(struct copy *c, const char *path, uint64_t *ret_parent, const char **ret_name,
                char folder[PATH_MAX]);

#endif
