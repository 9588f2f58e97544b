/* The byte stream under a connection: a plain socket now; the seam for an encrypted one. */
#ifndef CAIRN_NET_TRANSPORT_H
#define CAIRN_NET_TRANSPORT_H

#include <sys/types.h>
#include <sys/uio.h>

struct transport;

struct transport_ops {
    /* Bytes moved (> 0), 0 at the end of the stream (readv only), or -1 with errno; EAGAIN means
     * wait until the descriptor is ready again. Never raises SIGPIPE. */
    ssize_t (*readv)(struct transport *t, const struct iovec *parts, int count);
    ssize_t (*writev)(struct transport *t, const struct iovec *parts, int count);
    void (*close)(struct transport *t); /* frees what hangs on it, the descriptor too */
};

/* Held by value in its connection. */
struct transport {
    const struct transport_ops *ops;
    int fd;
    void *state; /* the implementation's */
};

/* Takes the descriptor: a connected non-blocking stream socket. */
struct transport transport_plain(int take_fd);

#endif
