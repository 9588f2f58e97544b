/* The simulators of the data path: chunkservers around the real replication core, models of disks,
 * connections and clients, and an oracle. Two programs bring a leader and faults of their own:
 * sim-chain (chain_sim_main.c, chain_sim_leader.c) and sim-planner (planner_sim*.c). One seed, one
 * run; nothing else is random. */
#ifndef CAIRN_TESTS_SIM_CHAIN_SIM_H
#define CAIRN_TESTS_SIM_CHAIN_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "chunkserver/chain/chain.h"
#include "chunkserver/lease.h"
#include "common/base/prng.h"
#include "common/ring/shard_table.h"

enum {
    SERVERS_MAX = 10,
    SHARDS_MAX = 8,
    SLOTS = 3,       /* chunks per shard that exist at a time */
    GENERATIONS = 6, /* of each of them, one after the other */
    CHUNKS = SLOTS * GENERATIONS,
    BLOCKS = 8,
    CLIENTS = 4,
    INTENTS = 1024, /* of each client, the last ones */
    NODES_MAX = 4000,
    LEASE_MS = 1000,
    HEARTBEAT_MS = 200,
};
#define TORN_BIT (1ull << 63)

/* Content as stamps: 0 = zeros, otherwise session << 32 | op, or TORN_BIT | number. */
struct content {
    bool exists;
    struct chunk_version version;
    uint64_t block[BLOCKS];
    uint32_t length; /* in blocks */
};

struct stored {
    struct content now, durable;
    bool suspect;
    bool writing; /* a change is under way: `change` would be torn by a crash */
    struct chain_work change;
    uint64_t change_blocks[BLOCKS];
};

struct call { /* an action of one server that another one answers */
    uint64_t id, connection;
    unsigned to;
    int64_t deadline_ms;
};
enum { CALLS_MAX = 4096, RESULTS_MAX = 512, REQUESTS_MAX = 8192 };

struct result { /* of a store action marked keep */
    uint64_t id;
    struct content content;
    struct chain_inventory entries[CHUNKS];
    uint32_t entry_count;
    bool end;
    uint32_t crcs[BLOCKS];
    uint32_t crc_count;
};

struct request { /* an rpc that a server is to answer */
    uint64_t id;
    bool from_client;
    unsigned from;       /* server or client */
    uint64_t action;     /* the caller's action, or the client's attempt */
    uint64_t connection; /* or the incarnation for clients */
};

struct server {
    bool alive;
    bool disk_failed; /* the process lives and says so, and does nothing else */
    bool gone;        /* for good, with its disk */
    unsigned host;
    bool registered; /* this incarnation */
    uint64_t incarnation;
    struct chain *chain;
    struct chain_work_list work;
    struct stored store[SHARDS_MAX][CHUNKS];
    double clock_rate;
    int64_t clock_offset_ms;
    int64_t paused_until_ms, no_space_until_ms, slow_until_ms, table_late_until_ms;
    uint64_t table_seen;
    struct shard_table table; /* as last fetched */
    struct lease lease;
    uint64_t left_epoch[SHARDS_MAX]; /* in which it said that it reads no more */
    struct call calls[CALLS_MAX];
    unsigned call_count;
    struct result *results[RESULTS_MAX];
    unsigned result_count;
    struct request requests[REQUESTS_MAX];
    unsigned request_count;
    bool power_lost; /* since it was last in sync: unsynced data may be gone */
};

struct leader {
    uint64_t version; /* of the last command */
    struct shard_table table;
    uint8_t copies[SHARDS_MAX], row[SHARDS_MAX]; /* where shard i stands in the table */
    int64_t heard_ms[SERVERS_MAX], down_ms[SERVERS_MAX];
};

/* One version of a chunk, as every replica that has it must have it. */
struct node {
    struct chunk_version version;
    int parent; /* index, -1: none */
    struct content content;
};
struct history {
    struct node *nodes;
    int count;
    int acked, synced, read_floor; /* -1: nothing yet */
    bool broken;                   /* unsynced data was lost: until it is resolved no claims */
    bool power_broken;
    unsigned resets, reads_reset;
    bool deleted;
    bool delete_forgotten;            /* at some time nobody in sync remembered it */
    int count_at_delete;              /* nodes from here on came after it */
    uint64_t deleted_by[SERVERS_MAX]; /* incarnations that know it */
    uint64_t extra[64];               /* values a torn change may have left */
    unsigned extra_count;
};

/* What a client asked for: the oracle's own idea of what becomes of the content. */
struct intent {
    uint64_t op;
    uint8_t kind;
    uint32_t offset, length;
    uint64_t stamp; /* of its blocks; 0 = zeros */
};

struct client {
    bool busy;
    struct intent intents[INTENTS]; /* by op modulo INTENTS */
    uint64_t op, attempt;
    uint8_t kind; /* enum chain_kind, or 0 = read */
    unsigned shard, chunk;
    uint32_t offset, length, flags;
    int floor;
    unsigned resets, reads_reset;
    unsigned attempts;
    struct chain_view seen[SHARDS_MAX]; /* its table, which may be old */
    bool had_ack_floor;                 /* the chunk was acknowledged to exist when the op began */
};

struct message;
enum sim_event_kind {
    SIM_STORE = 1,
    SIM_MESSAGE,
    SIM_REPLY,
    SIM_TICK,
    SIM_HEARTBEAT,
    SIM_HEARTBEAT_AT,
    SIM_HEARTBEAT_BACK,
    SIM_TABLE_AT,
    SIM_TABLE_BACK,
    SIM_REPORT_AT,
    SIM_LEADER,
    SIM_CLIENT,
    SIM_CLIENT_REQUEST,
    SIM_CLIENT_REPLY,
    SIM_CLIENT_TIMEOUT,
    SIM_RESTART,
    SIM_BREAK,
    SIM_FAULT,
    SIM_PROGRAM
};

struct sim_event {
    int64_t at_ms;
    uint64_t order;
    enum sim_event_kind kind;
    unsigned server, peer;
    uint64_t incarnation, connection, id, attempt;
    int64_t sent_ms;
    int status;
    struct chain_work work;
    struct result result;
    struct bytes answer; /* shard_table_r */
};

struct world {
    uint64_t seed;
    struct prng prng;
    int64_t now_ms;
    uint64_t next;
    struct sim_event **heap;
    size_t heap_count, heap_capacity;
    unsigned server_count, shard_count;
    uint32_t fence_ms;
    struct server *servers; /* SERVERS_MAX, of which server_count are there */
    struct leader leader;
    struct planned *planned;                    /* sim-planner's */
    bool cut[SERVERS_MAX + 1][SERVERS_MAX + 1]; /* [.][SERVERS_MAX] = the leader */
    uint64_t connection[SERVERS_MAX][SERVERS_MAX];
    int64_t last_delivery[SERVERS_MAX][SERVERS_MAX][2];
    struct history history[SHARDS_MAX][CHUNKS];
    unsigned generation[SHARDS_MAX][SLOTS];
    struct client clients[CLIENTS];
    bool faults;
    unsigned sleepy; /* of 1000 operations after so many a client sleeps, and its table gets old */
    uint64_t events_done, ops_done, moves, moved;
    bool failed;
    bool trace;
};

/* chain_sim.c */
void sim_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct sim_event *sim_schedule(struct world *w, int64_t delay_ms, enum sim_event_kind kind);
struct chunk_id sim_chunk_id(unsigned shard, unsigned chunk);
unsigned sim_chunk_number(const struct chunk_id *id);
unsigned sim_shard_of(const struct chunk_id *id);
int64_t sim_delay(struct world *w, int64_t usual_ms);
void sim_crash(struct world *w, unsigned server, bool power);
void sim_cut_some(struct world *w, unsigned server);
void sim_fault_common(struct world *w, unsigned server, unsigned choice, int64_t until_ms);
int sim_main(void);

/* chain_sim_server.c */
bool server_serves(const struct world *w, unsigned i); /* alive, and its disk, too */
void server_start(struct world *w, unsigned i);
void server_crash(struct world *w, unsigned i, bool power);
void server_event(struct world *w, unsigned i, struct chain_event *event);
void server_message(struct world *w, struct sim_event *e);
void server_client_request(struct world *w, struct sim_event *e);
void server_reply(struct world *w, struct sim_event *e);
void server_tick(struct world *w, unsigned i);
void server_take_lease(struct world *w, unsigned i, int64_t expires_ms, uint64_t version);
void server_take_table(struct world *w, unsigned i, struct slice answer);
void connection_break(struct world *w, unsigned a, unsigned b);
int64_t server_clock(const struct world *w, unsigned i);

/* chain_sim_store.c */
void store_start_change(struct world *w, unsigned server, const struct chain_work *work);
int store_finish(struct world *w, unsigned server, const struct chain_work *work,
                 struct result *ret_result, struct chain_done *done);
void store_crash(struct world *w, unsigned server, bool power);
uint32_t block_crc(uint64_t stamp);
void content_apply(struct content *content, const struct chain_work *work);
bool content_equal(const struct content *a, const struct content *b);

/* chain_sim_table.c: what the leaders of both programs do with the table */
unsigned sim_shard_at(const struct world *w, unsigned copies, uint32_t row);
struct chain_view leader_chain(const struct world *w, unsigned shard);
const struct shard *leader_shard(const struct world *w, unsigned shard);
const struct target *leader_target(const struct world *w, unsigned server); /* NULL: unknown yet */
bool leader_is_up(const struct world *w, unsigned server);
bool leader_is_insync(const struct world *w, unsigned shard, unsigned server);
void leader_found(struct world *w, unsigned server, uint64_t incarnation);
bool leader_register(struct world *w, unsigned server, uint64_t incarnation);
/* After each command: what it changed keeps the rules, and every acknowledged write is there. */
void leader_look(struct world *w);
void leader_release(struct world *w);

/* ---- what each program brings ---- */
extern const struct sim_program {
    const char *name;
    unsigned seeds, events; /* unless the environment says otherwise */
    int64_t end_ms;         /* within which all must be well after the last fault */
    int64_t still_ms;       /* for which it must then stay so */
} sim_program;
/* Decides sizes, starts the servers and the leader, schedules the first faults. */
void program_start(struct world *w);
void program_release(struct world *w);
void program_event(struct world *w, struct sim_event *e); /* SIM_PROGRAM */
void program_fault(struct world *w);
void program_heal(struct world *w);
bool program_is_quiet(const struct world *w);
void program_end(struct world *w);
/* Adds up what a seed did; prints the sums. */
void program_count(struct world *w);
void program_print(void);
/* A heartbeat or a question for the table arrived; whether the leader answers it. */
bool leader_heartbeat(struct world *w, struct sim_event *e);
bool leader_serves_table(const struct world *w, const struct sim_event *e);
void leader_check(struct world *w);
void leader_report(struct world *w, const struct chain_work *report, unsigned from);

/* chain_sim_client.c */
void client_next(struct world *w, unsigned i);
void client_send(struct world *w, unsigned i);
void client_reply(struct world *w, struct sim_event *e);

/* chain_sim_oracle.c */
void oracle_changed(struct world *w, unsigned server, const struct chain_work *work,
                    const struct content *before, const struct content *after);
void oracle_refused(struct world *w, unsigned server, const struct chain_work *work);
void oracle_finished(struct world *w, unsigned server, unsigned shard, unsigned chunk);
void oracle_resolved(struct world *w, unsigned shard, unsigned chunk, struct content *content);
void oracle_torn(struct world *w, unsigned shard, unsigned chunk, uint64_t value);
void oracle_acked(struct world *w, unsigned server, const struct client *client, int status,
                  struct chunk_version version);
void oracle_read(struct world *w, const struct client *client, int status,
                 const struct content *content);
void oracle_insync_check(struct world *w, unsigned shard);
void oracle_authority(struct world *w, unsigned shard, unsigned server);
void oracle_end(struct world *w);

#endif
