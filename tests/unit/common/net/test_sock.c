/* Addresses and listening. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/net/sock.h"
#include "tests/unit/common/net/fixture.h"

/* Text to address and back; what is no address is refused with its text. */
static void addresses_are_parsed(void)
{
    static const struct {
        const char *text, *again;
        bool is_loopback;
    } good[] = {
        {"127.0.0.1:7001", "127.0.0.1:7001", true}, {"[::1]:7001", "[::1]:7001", true},
        {"localhost:1", "127.0.0.1:1", true},       {"10.1.2.3:65535", "10.1.2.3:65535", false},
        {"[fe80::1]:9", "[fe80::1]:9", false},      {"127.9.9.9:0", "127.9.9.9:0", true},
    };
    static const char *const bad[] = {"",
                                      ":",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      ":7001",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:7x",
                                      "::1:7001",
                                      "[]:1",
                                      "127.0.0.1: 1"};
    struct sock_address address;
    char text[SOCK_TEXT_SIZE];
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        CU_ASSERT_EQUAL(sock_parse(good[i].text, &address, NULL), 0);
        sock_format(&address, text);
        CU_ASSERT_STRING_EQUAL(text, good[i].again);
        CU_ASSERT_EQUAL(sock_is_loopback(&address), good[i].is_loopback);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err_text why = {""};
        CU_ASSERT_EQUAL(sock_parse(bad[i], &address, &why), -ERR_CONFIG);
        CU_ASSERT(why.text[0] != '\0');
    }
    CU_ASSERT_EQUAL(sock_parse_numeric("a.name:1", &address, NULL), -ERR_NOT_SUPPORTED);
}

/* Without a key only loopback is listened on; the text says so. */
static void only_loopback_is_listened_on(void)
{
    static const char *const open[] = {"0.0.0.0:7001", "[::]:7001", "10.1.2.3:7001"};
    struct sock_address address;
    int fd;
    for (unsigned i = 0; i < 3; i++) {
        struct err_text why = {""};
        CU_ASSERT_EQUAL(sock_parse(open[i], &address, &why), 0);
        CU_ASSERT_EQUAL(sock_listen(&address, &fd, &why), -ERR_REFUSED);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "refusing to listen on"));
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, open[i]));
    }
}

static void drop(void *arg, struct rpc_request *request)
{
    (void)arg;
    rpc_request_drop(request);
}

/* A port in use is told with its address. */
static void a_port_in_use_is_named(void)
{
    fixture_serve(NULL);
    struct rpc_server_options o = {
        .address = rpc_server_address(f.server), .identity = &f.server_identity, .dispatch = drop};
    struct rpc_server *second;
    struct err_text why = {""};
    CU_ASSERT_EQUAL(rpc_server_create(f.loop, &o, &second, &why), -ERR_ADDRESS_IN_USE);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, o.address));
}

/* IPv6 loopback serves too. */
static void ipv6_serves(void)
{
    fixture_serve(&(struct rpc_server_options){.address = "[::1]:0"});
    if (!f.server)
        return;
    struct rpc_peer *peer = fixture_peer();
    struct outcome o = {0};
    (void)call(peer, CODE_ECHO, "", 2000, &o);
    CU_ASSERT(wait_for(&o.good, 1));
    rpc_peer_destroy(peer);
}

/* The other end sees the address that a peer is told to come from; one that does not fit the
 * destination leaves the choice to the kernel. */
static void connections_come_from_their_source(void)
{
    static const struct {
        const char *source, *seen;
    } rows[] = {{"127.1.2.3:7001", "127.1.2.3:"}, {"0.0.0.0:7001", "127.0.0.1:"},
                {"[::1]:7001", "127.0.0.1:"},     {"10.1.2.3:7001", "127.0.0.1:"},
                {"a.name:7001", "127.0.0.1:"},    {NULL, "127.0.0.1:"}};
    struct sock_address address, from;
    struct err_text why = {""};
    char text[SOCK_TEXT_SIZE];
    int listening = -1, fd = -1, accepted = -1;
    CU_ASSERT_EQUAL(sock_parse("127.0.0.1:0", &address, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(sock_listen(&address, &listening, &why), 0);
    CU_ASSERT_EQUAL_FATAL(sock_local(listening, &address), 0);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sock_address source = {.size = 0};
        bool known = rows[i].source && sock_parse_numeric(rows[i].source, &source, NULL) == 0;
        CU_ASSERT_EQUAL_FATAL(sock_connect(&address, known ? &source : NULL, &fd, &why), 0);
        struct pollfd ready = {.fd = listening, .events = POLLIN};
        CU_ASSERT_EQUAL_FATAL(poll(&ready, 1, 10000), 1);
        CU_ASSERT_EQUAL_FATAL(sock_accept(listening, &accepted, &from), 0);
        sock_format(&from, text);
        CU_ASSERT_PTR_EQUAL(strstr(text, rows[i].seen), text);
        (void)close(accepted);
        (void)close(fd);
    }
    (void)close(listening);
}

/* The same through a peer, as the server knows it. */
static void a_peer_comes_from_its_source(void)
{
    fixture_serve(NULL);
    struct rpc_peer_options options = {.address = rpc_server_address(f.server),
                                       .source = "127.3.2.1:7001",
                                       .identity = &f.client_identity};
    struct rpc_peer *peer = rpc_peer_create(f.loop, &options);
    struct outcome o = {0};
    (void)call(peer, CODE_HOLD, "", 20000, &o);
    if (wait_for(&f.held_count, 1))
        CU_ASSERT_EQUAL(strncmp(f.held[0]->remote->address, "127.3.2.1:", 10), 0);
    CU_ASSERT_EQUAL(f.held_count, 1);
    rpc_peer_destroy(peer);
}

#define TESTS(T)                          \
    T(addresses_are_parsed)               \
    T(only_loopback_is_listened_on)       \
    T(a_port_in_use_is_named)             \
    T(ipv6_serves)                        \
    T(connections_come_from_their_source) \
    T(a_peer_comes_from_its_source)
static CU_TestInfo tests[] = {
#define T(name) {#name, name},
    TESTS(T)
#undef T
        CU_TEST_INFO_NULL};
extern CU_SuiteInfo suite_sock;
CU_SuiteInfo suite_sock = {"net/sock", NULL, NULL, fixture_setup, fixture_teardown, tests};
