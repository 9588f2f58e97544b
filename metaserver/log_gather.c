/* Gathers what recovery reads. */
#include "metaserver/log_gather.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/check.h"
#include "common/base/banned.h"

enum {
    /* Entries are a few hundred bytes: one block serves many, and goes when raft trims the last. */
    BLOCK_SIZE = 64 << 10,
    OWN_BLOCK_MIN = BLOCK_SIZE / 4,
};

/* Data of `size` bytes in a block, with a reference to it. */
static uint8_t *reserve(struct log_gather *g, size_t size, struct buf **ret_block)
{
    if (size >= OWN_BLOCK_MIN) {
        *ret_block = buf_create(size);
        return (*ret_block)->data;
    }
    if (!g->block || g->used + size > BLOCK_SIZE) {
        buf_unref(g->block);
        g->block = buf_create(BLOCK_SIZE);
        g->used = 0;
    }
    *ret_block = buf_ref(g->block);
    g->used += size;
    return g->block->data + g->used - size;
}

static void add(void *arg, const struct log_entry *entry)
{
    struct log_gather *g = arg;
    if (g->count == g->capacity) {
        g->capacity = g->capacity ? g->capacity * 2 : 1024;
        g->entries = realloc(g->entries, g->capacity * sizeof *g->entries);
        CHECK(g->entries != NULL);
    }
    struct raft_entry *e = &g->entries[g->count++];
    *e = (struct raft_entry){
        .term = entry->term, .index = entry->index, .kind = (enum raft_entry_kind)entry->kind};
    if (entry->data.size == 0)
        return;
    uint8_t *data = reserve(g, entry->data.size, &e->buf);
    memcpy(data, entry->data.data, entry->data.size);
    e->payload = slice_of(data, entry->data.size);
}

static void cut(void *arg, uint64_t first_removed)
{
    struct log_gather *g = arg;
    while (g->count > 0 && g->entries[g->count - 1].index >= first_removed)
        buf_unref(g->entries[--g->count].buf);
}

struct log_sink log_gather_sink(struct log_gather *g)
{
    return (struct log_sink){.add = add, .cut = cut, .arg = g};
}

bool log_gather_holds(const struct log_gather *g, uint64_t first, uint64_t last)
{
    if (g->count != last + 1 - first)
        return false;
    for (unsigned i = 0; i < g->count; i++)
        if (g->entries[i].index != first + i)
            return false;
    return true;
}

void log_gather_release(struct log_gather *g)
{
    for (unsigned i = 0; i < g->count; i++)
        buf_unref(g->entries[i].buf);
    buf_unref(g->block);
    free(g->entries);
    *g = (struct log_gather){0};
}
