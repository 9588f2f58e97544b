/* Sockets: addresses, listening, connecting, options. */
#define _GNU_SOURCE /* accept4 */
#include "common/net/sock.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/banned.h"

enum {
    HOST_SIZE = 256,
    BACKLOG = 1024,
    /* A peer that is gone without a word: the kernel gives up on unacknowledged data after this,
     * and on an idle connection after 10 + 3 x 3 s. */
    UNACKNOWLEDGED_MS = 10000,
    KEEPALIVE_IDLE_S = 10,
    KEEPALIVE_INTERVAL_S = 3,
    KEEPALIVE_COUNT = 3,
};

/* ---- addresses ---- */

static int split(const char *text, char host[HOST_SIZE], uint16_t *ret_port, struct err_text *why)
{
    const char *colon = strrchr(text, ':');
    const char *start = text, *end = colon;
    if (colon && text[0] == '[' && colon > text && colon[-1] == ']') {
        start = text + 1;
        end = colon - 1;
    } else if (colon && memchr(text, ':', (size_t)(colon - text))) {
        return err_set(ERR_CONFIG, why, "\"%s\": write an IPv6 address as [address]:port", text);
    }
    if (!colon || end == start || (size_t)(end - start) >= HOST_SIZE)
        return err_set(ERR_CONFIG, why, "\"%s\" is not of the form host:port", text);
    char *rest;
    unsigned long port = strtoul(colon + 1, &rest, 10);
    if (!isdigit((unsigned char)colon[1]) || *rest || port > UINT16_MAX)
        return err_set(ERR_CONFIG, why, "\"%s\": the port is not a number from 0 to 65535", text);
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}

static bool parse_host(const char *host, uint16_t port, struct sock_address *ret_address)
{
    struct sock_address a = {.size = 0};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(&a.storage, &v4, sizeof v4);
        a.size = sizeof v4;
    } else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(&a.storage, &v6, sizeof v6);
        a.size = sizeof v6;
    } else {
        return false;
    }
    *ret_address = a;
    return true;
}

int sock_parse_numeric(const char *text, struct sock_address *ret_address, struct err_text *why)
{
    char host[HOST_SIZE] = "";
    uint16_t port = 0;
    int status = split(text, host, &port, why);
    if (status)
        return status;
    if (!parse_host(host, port, ret_address))
        return err_set(ERR_NOT_SUPPORTED, why, "\"%s\" is not a numeric address", text);
    return 0;
}

int sock_parse(const char *text, struct sock_address *ret_address, struct err_text *why)
{
    char host[HOST_SIZE] = "", port_text[8];
    uint16_t port = 0;
    int status = split(text, host, &port, why);
    if (status)
        return status;
    if (parse_host(host, port, ret_address))
        return 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
    (void)snprintf(port_text, sizeof port_text, "%u", port);
    int code = getaddrinfo(host, port_text, &hints, &found);
    if (code != 0)
        return err_set(ERR_UNREACHABLE, why, "%s: %s", host, gai_strerror(code));
    struct sock_address a = {.size = found->ai_addrlen};
    CHECK(a.size <= sizeof a.storage);
    memcpy(&a.storage, found->ai_addr, a.size);
    freeaddrinfo(found);
    *ret_address = a;
    return 0;
}

void sock_format(const struct sock_address *address, char ret_text[SOCK_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &address->storage, sizeof v4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
        (void)snprintf(ret_text, SOCK_TEXT_SIZE, "%s:%u", host, ntohs(v4.sin_port));
    } else if (address->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, &address->storage, sizeof v6);
        (void)inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
        (void)snprintf(ret_text, SOCK_TEXT_SIZE, "[%s]:%u", host, ntohs(v6.sin6_port));
    } else {
        (void)snprintf(ret_text, SOCK_TEXT_SIZE, "?");
    }
}

bool sock_is_loopback(const struct sock_address *address)
{
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &address->storage, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, &address->storage, sizeof v6);
    return address->storage.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

/* ---- options: failing to set one costs speed, not correctness ---- */

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

/* Accepted sockets inherit all of these from the listening one. Buffer sizes are left to the
 * kernel's tuning: setting them would fix them at net.core.wmem_max, below what it grows to. */
static void set_options(int fd)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    /* Against a system default of bbr, whose pacing timers cost a third more CPU per byte. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) != 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static int make_socket(const struct sock_address *address, const char *text, int *ret_fd,
                       struct err_text *why)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(ERR_LIMIT, why, "%s: cannot make a socket: %s", text, strerror(errno));
    set_options(fd);
    *ret_fd = fd;
    return 0;
}

int sock_listen(const struct sock_address *address, int *ret_fd, struct err_text *why)
{
    char text[SOCK_TEXT_SIZE];
    int fd = -1;
    sock_format(address, text);
    if (!sock_is_loopback(address))
        return err_set(ERR_REFUSED, why,
                       "refusing to listen on %s: without a cluster key only loopback addresses "
                       "are allowed",
                       text);
    int status = make_socket(address, text, &fd, why);
    if (status)
        return status;
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd, (const struct sockaddr *)&address->storage, address->size) == 0 &&
        listen(fd, BACKLOG) == 0) {
        *ret_fd = fd;
        return 0;
    }
    int error = errno;
    (void)close(fd);
    if (error == EADDRINUSE)
        return err_set(ERR_ADDRESS_IN_USE, why, "cannot listen on %s: address already in use",
                       text);
    return err_set(ERR_CONFIG, why, "cannot listen on %s: %s", text, strerror(error));
}

int sock_accept(int listen_fd, int *ret_fd, struct sock_address *ret_from)
{
    struct sock_address from = {.size = sizeof from.storage};
    int fd = accept4(listen_fd, (struct sockaddr *)&from.storage, &from.size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        *ret_fd = fd;
        *ret_from = from;
        return 0;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        return -ERR_LIMIT;
    return errno == EAGAIN ? -ERR_BUSY : -ERR_CLOSED;
}

static bool is_wildcard(const struct sock_address *address)
{
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &address->storage, sizeof v4);
        return v4.sin_addr.s_addr == htonl(INADDR_ANY);
    }
    struct sockaddr_in6 v6;
    memcpy(&v6, &address->storage, sizeof v6);
    return IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
}

static int bind_source(int fd, const struct sock_address *address,
                       const struct sock_address *source, struct err_text *why)
{
    char text[SOCK_TEXT_SIZE];
    if (!source || source->storage.ss_family != address->storage.ss_family || is_wildcard(source) ||
        sock_is_loopback(source) != sock_is_loopback(address))
        return 0;
    struct sock_address host = *source;
    sock_format(source, text);
    if (host.storage.ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)&host.storage)->sin_port = 0;
    else
        ((struct sockaddr_in6 *)(void *)&host.storage)->sin6_port = 0;
    /* The port is chosen by connect, when the other end is known: many may share one. */
    set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (bind(fd, (const struct sockaddr *)&host.storage, host.size) == 0)
        return 0;
    return err_set(ERR_UNREACHABLE, why, "cannot connect from %s: %s", text, strerror(errno));
}

int sock_connect(const struct sock_address *address, const struct sock_address *source, int *ret_fd,
                 struct err_text *why)
{
    char text[SOCK_TEXT_SIZE];
    int fd = -1;
    sock_format(address, text);
    int status = make_socket(address, text, &fd, why);
    if (status)
        return status;
    status = bind_source(fd, address, source, why);
    if (status) {
        (void)close(fd);
        return status;
    }
    if (connect(fd, (const struct sockaddr *)&address->storage, address->size) != 0 &&
        errno != EINPROGRESS) {
        int error = errno;
        (void)close(fd);
        return err_set(ERR_UNREACHABLE, why, "%s", strerror(error));
    }
    *ret_fd = fd;
    return 0;
}

int sock_connect_result(int fd, struct err_text *why)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error == 0)
        return 0;
    if (error == ECONNREFUSED)
        return err_set(ERR_UNREACHABLE, why, "connection refused");
    return err_set(ERR_UNREACHABLE, why, "%s", strerror(error));
}

int sock_local(int fd, struct sock_address *ret_address)
{
    struct sock_address a = {.size = sizeof a.storage};
    if (getsockname(fd, (struct sockaddr *)&a.storage, &a.size) != 0)
        return -ERR_IO;
    *ret_address = a;
    return 0;
}
