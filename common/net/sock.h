/* Sockets: addresses, listening, connecting, options. Any thread unless said otherwise. */
#ifndef CAIRN_NET_SOCK_H
#define CAIRN_NET_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/err.h"

enum { SOCK_TEXT_SIZE = 280 }; /* "[address]:port" or "name:port" with its zero */

struct sock_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* "127.0.0.1:7001", "[::1]:7001", "host.name:7001". A name may block in the resolver; numeric
 * addresses and "localhost" do not. -ERR_CONFIG for text that is no address, -ERR_UNREACHABLE
 * for a name that does not resolve. */
int sock_parse(const char *text, struct sock_address *ret_address, struct err_text *why);
/* The same without the resolver: -ERR_NOT_SUPPORTED when the host part is a name. */
int sock_parse_numeric(const char *text, struct sock_address *ret_address, struct err_text *why);
void sock_format(const struct sock_address *address, char ret_text[SOCK_TEXT_SIZE]);
bool sock_is_loopback(const struct sock_address *address);

/* A non-blocking listening socket. Refuses (-ERR_REFUSED) anything but loopback: there is no
 * cluster key yet. -ERR_ADDRESS_IN_USE and others name the address in `why`. Port 0 lets the
 * kernel choose; sock_local tells which. */
int sock_listen(const struct sock_address *address, int *ret_fd, struct err_text *why);
/* A connected non-blocking socket with the options set, or -ERR_BUSY when none is waiting,
 * -ERR_LIMIT when descriptors have run out, another error otherwise. */
int sock_accept(int listen_fd, int *ret_fd, struct sock_address *ret_from);
/* Starts a non-blocking connect; it is finished when the socket becomes writable and
 * sock_connect_result returns 0. The connection comes from the host of `source`, whose port is not
 * used, so that filters can tell daemons apart; NULL, a wildcard, or one that cannot reach
 * `address` (another family, loopback on one side only): the kernel chooses. */
int sock_connect(const struct sock_address *address, const struct sock_address *source, int *ret_fd,
                 struct err_text *why);
/* 0 or -ERR_UNREACHABLE with the reason ("connection refused"). */
int sock_connect_result(int fd, struct err_text *why);
int sock_local(int fd, struct sock_address *ret_address);

#endif
