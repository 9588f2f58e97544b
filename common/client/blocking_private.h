/* What the files of the blocking client share. */
#ifndef CAIRN_CLIENT_BLOCKING_PRIVATE_H
#define CAIRN_CLIENT_BLOCKING_PRIVATE_H

#include <pthread.h>

#include "common/client/blocking.h"

struct blocking_client {
    struct loop *loop;
    struct client *client; /* set and used on the loop */
    pthread_t thread;
};

#endif
