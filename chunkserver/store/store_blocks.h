/* Moving whole blocks between memory and a chunk's file; shared by writing, editing and repair. All
 * need the chunk's lock. */
#ifndef CAIRN_CHUNKSERVER_STORE_STORE_BLOCKS_H
#define CAIRN_CHUNKSERVER_STORE_STORE_BLOCKS_H

#include "chunkserver/store/store_private.h"

/* The new content of blocks first..last: `head` for the first and `tail` for the last when set, the
 * others in `middle`, which starts with block middle_first. */
struct block_source {
    uint32_t first, last, middle_first;
    const uint8_t *head, *middle, *tail;
};

/* Fills `ret_parts` (room for 3) with blocks first..last of the source; returns how many. */
int source_parts(const struct block_source *source, uint32_t first, uint32_t last,
                 struct iovec *ret_parts);

/* Writes the data, holes first. -ERR_NO_SPACE leaves all content as it was. */
int source_write(struct store *s, struct chunk *c, const struct block_source *source);

/* Gives the space of blocks first..last back. Best effort: their CRCs already say that they are
 * holes, whatever the file holds. */
void blocks_punch(const struct chunk *c, uint32_t first, uint32_t last);

/* Before a change, without any lock: keeps enough of the intent log free. */
int store_intent_room(struct store *s);

#endif
