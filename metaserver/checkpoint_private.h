/* The checkpoint store's object, shared by its files. */
#ifndef CAIRN_METASERVER_CHECKPOINT_PRIVATE_H
#define CAIRN_METASERVER_CHECKPOINT_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>

#include "common/base/check.h"
#include "metaserver/checkpoint_store.h"

#define CHECKPOINT_STORE_MAGIC 0x434b5053u

enum { CHECKPOINT_NAME_SIZE = 80 };

struct checkpoint_store {
    uint32_t magic;
    int folder_fd;
    struct uuid cluster;
    uint32_t node;
    pthread_mutex_t lock; /* held over changes of names, and for `receiving` and `writing` */
    bool receiving, writing;
};

void checkpoint_name(struct checkpoint_id id, bool temporary, char ret_name[CHECKPOINT_NAME_SIZE]);

/* Opens the final file. -ERR_NO_ENTRY. */
int checkpoint_open_file(struct checkpoint_store *store, struct checkpoint_id id, int *ret_fd);

/* Walks an open file and checks all of it, giving the pieces to `consume` (may be NULL). */
int checkpoint_scan(const struct checkpoint_store *store, int fd, struct checkpoint_id id,
                    checkpoint_consume *consume, void *arg, struct err_text *why);

/* The end of every write and receive: sync, verify from the disk, rename, sync the folder, remove
 * what is too old. Closes fd; on an error the temporary file is removed. */
int checkpoint_settle(struct checkpoint_store *store, int take_fd, struct checkpoint_id id,
                      struct err_text *why);

#endif
