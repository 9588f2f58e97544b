/* The plain socket transport. */
#include "common/net/transport.h"

#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/banned.h"

static ssize_t plain_readv(struct transport *t, const struct iovec *parts, int count)
{
    return readv(t->fd, parts, count);
}

/* sendmsg rather than writev: only it can ask for EPIPE without the signal. */
static ssize_t plain_writev(struct transport *t, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    return sendmsg(t->fd, &message, MSG_NOSIGNAL);
}

static void plain_close(struct transport *t)
{
    (void)close(t->fd);
    t->fd = -1;
}

static const struct transport_ops plain_ops = {plain_readv, plain_writev, plain_close};

struct transport transport_plain(int take_fd)
{
    return (struct transport){.ops = &plain_ops, .fd = take_fd};
}
