/* Chunkservers on one loop, with a leader that keeps a real shard table but no log. */
#ifndef CAIRN_TESTS_UNIT_CHUNKSERVER_FIXTURE_H
#define CAIRN_TESTS_UNIT_CHUNKSERVER_FIXTURE_H

#include "chunkserver/chunkserver.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_server.h"
#include "common/ring/shard_table.h"
#include "tests/lib/tap.h"

enum { SERVERS_MAX = 4, DELETES_MAX = 64, SHARDS = 8 };

struct leader {
    struct rpc_server *server;
    struct rpc_identity identity;
    struct shard_table table;
    uint64_t term, index_ahead; /* of the table's version */
    uint32_t lease_ms;          /* told in answers; 0: register again */
    unsigned targets_wanted, copies;
    bool mute; /* heartbeats are not answered */
    struct rpc_request *muted[256];
    unsigned muted_count;
    uint64_t heard_ms[SERVERS_MAX + 1];
    struct msg_heartbeat last[SERVERS_MAX + 1];
    unsigned registrations, heartbeats, reports, goodbyes;
    struct msg_shard_report synced; /* the last such report */
    uint64_t delete_batch;
    struct rec_chunk_ref deletes[DELETES_MAX];
    uint32_t delete_count;
    struct loop_timer tick;
};

struct fixture {
    struct loop *loop;
    char folder[64];
    struct uuid cluster;
    uint32_t left_grace_ms; /* of servers that are started; endless */
    struct leader leader;
    struct chunkserver *servers[SERVERS_MAX];
    enum chunkserver_end ends[SERVERS_MAX];
    bool ended[SERVERS_MAX];
    struct rpc_peer *peers[SERVERS_MAX];
    struct rpc_identity client;
};
extern struct fixture f;

void leader_start(void);
void leader_stop(void);
void leader_unmute(void);

void fixture_setup(void);
void fixture_teardown(void);

void server_start(unsigned i);
void server_kill(unsigned i); /* as kill -9 */
void server_stop(unsigned i); /* as SIGTERM */

typedef bool condition_fn(void);
/* Runs the loop until it holds; false after `ms`. */
bool run_until(condition_fn *condition, unsigned ms);
void run_ms(unsigned ms);

bool all_have_lease(void);
bool all_insync(void); /* every slot of every formed shard, and the servers know that */
/* Starts `count` servers and waits until the table with `copies` is formed and known. */
void cluster_start(unsigned count, unsigned copies);

/* ---- a client ---- */

struct answer {
    bool done;
    int status;
    uint16_t code;
    struct chunk_version version;
    uint32_t chunk_length, size;
    uint8_t *bytes;
    uint32_t crcs[1024], crc_count;
};
/* Calls and waits for the end; `a->bytes` is to be freed. */
void client_call(unsigned server, uint16_t code, const struct bytes *body, const void *payload,
                 uint32_t payload_size, struct answer *a);
int client_write(unsigned server, const struct chunk_id *id, uint32_t shard, uint32_t offset,
                 const void *data, uint32_t size, uint32_t flags);
int client_read(unsigned server, const struct chunk_id *id, uint32_t shard, uint32_t offset,
                uint32_t size, struct answer *a);
struct wire_shardref shardref(uint32_t shard);
/* Index of the server that is slot `at` in write order. */
unsigned member_at(uint32_t shard, unsigned at);
/* All blocks of the chunk's content on two servers are equal, and so are their versions. */
bool copies_equal(unsigned a, unsigned b, const struct chunk_id *id);

#endif
