/* An open directory: the last batch of entries, so that the kernel's small readdirs cost one rpc
 * for thousands of entries. Pure.
 *
 * Offsets: 0 is the start, 1 behind ".", 2 behind "..", cookie + 2 behind an entry. The server's
 * cookies are stable while entries come and go, so a stream can go on from any of them. */
#ifndef CAIRN_FUSE_DIRECTORY_H
#define CAIRN_FUSE_DIRECTORY_H

#include "common/base/bytes.h"
#include "common/client/client.h"

enum { DIRECTORY_BATCH_BYTES = 128 << 10, DIRECTORY_DOTS = 2 };

struct directory {
    uint64_t inode;
    uint64_t batch_after;  /* the cookie behind which the batch begins */
    uint64_t batch_end_ms; /* the batch may be used until then */
    bool batch_is_last;    /* no entry follows */
    unsigned count;
    struct client_dirent *entries; /* names point into `names` */
    struct bytes names;
};

void directory_release(struct directory *d);
/* Copies a batch that was asked for with cookie `after`. */
void directory_put(struct directory *d, uint64_t after, const struct client_dirent *entries,
                   unsigned count, bool is_last, uint64_t end_ms);
/* The index in the batch to go on with behind `cookie`; false when the batch does not know it and
 * another one must be fetched. *ret_index may be d->count: the directory ends there. */
bool directory_find(const struct directory *d, uint64_t cookie, uint64_t now_ms,
                    unsigned *ret_index);

#endif
