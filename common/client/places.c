/* Where the copies of an open file are, as the shard table says. */
#include "common/client/client_private.h"
#include "common/ring/ring.h"
#include "common/ring/shard_table.h"

#include <stdio.h>
#include <string.h>

#include "common/base/banned.h"

static void add_name(struct client_places *p, const struct target *t)
{
    for (unsigned i = 0; i < p->server_count; i++)
        if (strcmp(p->servers[i], t->name) == 0)
            return;
    if (p->server_count < CLIENT_PLACES_MAX)
        (void)snprintf(p->servers[p->server_count++], CLIENT_PLACE_SIZE, "%.63s", t->name);
}

/* A last copy stays in sync in the table while its server is away, but it is no copy now. */
static unsigned count_chunk(const struct client_file *f, uint32_t index, struct client_places *p)
{
    const struct shard_table *table = client_shard_table(f->c);
    uint32_t shard = ring_shard_of_chunk(f->inode, index, table->shard_count);
    struct chain_view chain = shard_table_chain(table, f->chunks_copies, shard);
    unsigned good = 0;
    for (unsigned i = 0; i < chain.insync_count; i++) {
        const struct target *t = shard_table_target(table, chain.member[i]);
        if (!t || t->state != TARGET_UP)
            continue;
        good++;
        add_name(p, t);
    }
    return good;
}

void client_places(const struct client_handle *h, struct client_places *ret_places)
{
    const struct client_file *f = h->file;
    struct client_places p = {.copies = f->chunks_copies,
                              .copies_now = f->chunks_copies,
                              .chunk_count = (uint32_t)f->chunks.count};
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(&f->chunks, &cursor)) != NULL;) {
        unsigned good = count_chunk(f, (uint32_t)e->key, &p);
        if (good < p.copies_now)
            p.copies_now = (uint8_t)good;
    }
    *ret_places = p;
}
