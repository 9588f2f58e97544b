/* An open directory: the last batch of entries. */
#include "fuse/directory.h"

#include <stdlib.h>

#include "common/base/check.h"

#include "common/base/banned.h"

void directory_release(struct directory *d)
{
    free(d->entries);
    bytes_release(&d->names);
    *d = (struct directory){.inode = d->inode};
}

void directory_put(struct directory *d, uint64_t after, const struct client_dirent *entries,
                   unsigned count, bool is_last, uint64_t end_ms)
{
    free(d->entries);
    d->entries = NULL;
    bytes_clear(&d->names);
    d->batch_after = after;
    d->batch_end_ms = end_ms;
    d->batch_is_last = is_last;
    d->count = count;
    if (count == 0)
        return;
    d->entries = calloc(count, sizeof *d->entries);
    CHECK(d->entries);
    for (unsigned i = 0; i < count; i++)
        bytes_append(&d->names, entries[i].name.data, entries[i].name.size);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        d->entries[i] = entries[i];
        d->entries[i].name.data = d->names.data + at;
        at += entries[i].name.size;
    }
}

bool directory_find(const struct directory *d, uint64_t cookie, uint64_t now_ms,
                    unsigned *ret_index)
{
    if (now_ms >= d->batch_end_ms)
        return false;
    unsigned index = 0;
    bool found = cookie == d->batch_after;
    for (unsigned i = 0; i < d->count && !found; i++)
        if (d->entries[i].cookie == cookie) {
            found = true;
            index = i + 1;
        }
    if (!found || (index == d->count && !d->batch_is_last))
        return false;
    *ret_index = index;
    return true;
}
