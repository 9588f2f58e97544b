/* Chunk maps of files: fetched whole, kept with the file. */
#ifndef CAIRN_CLIENT_CHUNK_MAP_H
#define CAIRN_CLIENT_CHUNK_MAP_H

#include "common/client/client_private.h"

/* The list is the whole map at data_version. Slots made here and not committed stay. -ERR_PROTOCOL
 * for an index beyond the largest file. */
int chunk_map_install(struct client_file *f, const struct wire_list *slots,
                      const struct wire_attr *attr);
/* Fetches the map in pieces; the old one stays in use until the new one is complete. Holds the
 * file. */
void chunk_map_load(struct client_file *f, client_done_fn *done, void *arg);

#endif
