/* What the net tests share: one loop, a server that echoes, raw sockets, waiting. */
#ifndef CAIRN_TESTS_NET_FIXTURE_H
#define CAIRN_TESTS_NET_FIXTURE_H

#include <CUnit/CUnit.h>
#include <stdbool.h>

#include "common/net/loop.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_server.h"
#include "common/wire/codec.h"
#include "common/wire/frame.h"

/* How the test server treats requests: by message code, whatever their body. */
enum {
    CODE_ECHO = 0x7001,  /* body and payload come back */
    CODE_HOLD = 0x7002,  /* kept in fixture.held until the test answers it */
    CODE_ERROR = 0x7003, /* ERR_NO_SPACE "disk full" */
    CODE_BULK = 0x7004,  /* answered with 1 MiB */
    CODE_SINK = 0x7005,  /* answered with nothing */
};

enum { HELD_MAX = 4096 };

struct fixture {
    struct loop *loop;
    struct rpc_server *server;
    struct rpc_identity server_identity, client_identity;
    struct rpc_request *held[HELD_MAX];
    unsigned held_count;
    unsigned served, connected, disconnected, rejected;
    int last_status;
    char last_why[200];
    struct buf *bulk;
};
extern struct fixture f;

/* Per test: a loop and cluster identities; no server yet. */
void fixture_setup(void);
void fixture_teardown(void);
/* options may be NULL; address, identity and functions are filled in. */
void fixture_serve(const struct rpc_server_options *options);
void fixture_stop_server(void); /* drops held requests */
struct rpc_peer *fixture_peer(void);
struct rpc_peer *fixture_peer_with(struct rpc_peer_options options);

/* Runs the loop until *count reaches `want`; false after ten seconds (scaled for sanitizers). */
bool wait_for(const unsigned *count, unsigned want);
void run_for_ms(unsigned ms);

/* The outcome of calls, filled by on_outcome. */
struct outcome {
    unsigned count, good;
    int status;
    uint16_t code;
    char detail[400];
    size_t body_size;
    uint32_t payload_size;
    uint32_t body_crc, payload_crc;
    uint64_t table_version;
};
void on_outcome(void *arg, struct rpc_reply *reply);
uint64_t call(struct rpc_peer *peer, uint16_t code, const char *body, unsigned timeout_ms,
              struct outcome *outcome);

/* A raw blocking socket connected to the server. */
int raw_connect(void);
void raw_send(int fd, const void *data, size_t size);
/* A frame as bytes. */
struct bytes raw_frame(uint16_t code, uint64_t id, struct slice body, uint32_t payload_size);
struct bytes raw_hello(const struct rpc_identity *who);
/* True when the other end has closed (data before that is thrown away); runs the loop meanwhile. */
bool raw_is_closed(int fd, unsigned within_ms);

#endif
