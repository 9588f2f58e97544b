/* Remembers which chunks of closed files this client wrote and never synced, so that fsync through
 * a later open (`sync FILE`) makes them stable too. Only for as long as a chunkserver may take to
 * flush by itself. */
#include <stdlib.h>

#include "common/client/file_data.h"

#include "common/base/banned.h"

enum {
    KEEP_MS = 15000,   /* chunkservers flush in the background within 5 s */
    FILES_MAX = 65536, /* more: the oldest are forgotten, and only that background flush is left */
};

struct unsynced_file {
    struct list node; /* data->unsynced_order, oldest first */
    uint64_t inode, until_ms;
    unsigned count;
    uint32_t index[];
};

static void forget(struct client_data *data, struct unsynced_file *u)
{
    map_remove(&data->unsynced, u->inode);
    list_remove(&u->node);
    free(u);
}

static void forget_old(struct client_data *data, uint64_t now_ms)
{
    while (!list_empty(&data->unsynced_order)) {
        struct unsynced_file *u =
            CONTAINER_OF(data->unsynced_order.next, struct unsynced_file, node);
        if (u->until_ms > now_ms && data->unsynced.count <= FILES_MAX)
            return;
        forget(data, u);
    }
}

void unsynced_keep(struct file_data *fd)
{
    struct client_data *data = fd->f->c->data;
    struct unsynced_file *u = calloc(1, sizeof *u + fd->chunks.count * sizeof u->index[0]);
    size_t cursor = 0;
    CHECK(u);
    for (struct map_entry *e; (e = map_next(&fd->chunks, &cursor)) != NULL;) {
        const struct chunk_state *state = e->value;
        if (state->unsynced)
            u->index[u->count++] = state->index;
    }
    if (u->count == 0) {
        free(u);
        return;
    }
    uint64_t now_ms = loop_now_ms();
    u->inode = fd->f->inode;
    u->until_ms = now_ms + KEEP_MS;
    struct unsynced_file *before = map_get(&data->unsynced, u->inode);
    if (before)
        forget(data, before);
    map_put(&data->unsynced, u->inode, u);
    list_append(&data->unsynced_order, &u->node);
    forget_old(data, now_ms);
}

bool unsynced_known(const struct client_file *f)
{
    return map_get(&f->c->data->unsynced, f->inode) != NULL;
}

void unsynced_restore(struct file_data *fd)
{
    struct client_data *data = fd->f->c->data;
    struct unsynced_file *u = map_get(&data->unsynced, fd->f->inode);
    if (!u)
        return;
    for (unsigned i = 0; i < u->count; i++)
        chunk_state_get(fd, u->index[i])->unsynced = true;
    forget(data, u);
}

void unsynced_release(struct client_data *data)
{
    while (!list_empty(&data->unsynced_order))
        forget(data, CONTAINER_OF(data->unsynced_order.next, struct unsynced_file, node));
    map_release(&data->unsynced);
}
