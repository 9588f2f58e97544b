/* A cluster of Raft cores in one process, under faults, on one event queue and one generator.
 *
 * Everything follows from the seed: two runs with the same seed, event count and build are equal.
 * Time is in microseconds of the world; each node has a clock of its own in milliseconds.
 * Files: raft_sim.c runs seeds, _world.c queue and network, _node.c the driver, _disk.c its disk,
 * _fault.c what goes wrong, _client.c load and reads, _oracle.c what must hold. */
#ifndef CAIRN_TESTS_SIM_RAFT_SIM_H
#define CAIRN_TESTS_SIM_RAFT_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "metaserver/raft/raft.h"

enum {
    NODES_MAX = 5,
    CLIENTS = 3,
    BATCH_MAX = 8,      /* entries in a packet */
    LOG_MAX = 16384,    /* entries in one run */
    WRITES_MAX = 64,    /* writes queued at one disk; more: the oldest is done at once */
    PENDING_MAX = 4096, /* entries in them; likewise */
    PACKETS_MAX = 2048, /* in flight; more are lost */
    RECENT_MAX = 64,    /* packets that may be sent again */
    CHECKPOINTS = 2,
    TERMS_MAX = 8192,
    FACTS_MAX = 1u << 16,
    READS_MAX = 32,
};

enum { ELECTION_MS_MAX = 800, CALM_TIMEOUTS = 50 };

/* What a command does: client `client` (0 = filler) executes its operation number `sequence`. */
struct command {
    uint32_t client, sequence;
};

struct entry_copy {
    uint64_t term, index;
    enum raft_entry_kind kind;
    struct command command;
};

struct packet {
    struct raft_message message;
    struct raft_entry entries[BATCH_MAX];
    bool in_use;
};

/* The replicated state: who has done what, and a hash over everything applied. */
struct state {
    uint64_t index, term, hash;
    uint32_t done[CLIENTS + 1];
};

struct disk_write {
    uint64_t mark_term, index_last, first, start; /* start: its place in `pending` */
    unsigned count;
};

struct disk {
    uint64_t term;
    uint32_t voted_for;
    uint64_t first, last; /* durable log, first > last: empty */
    struct entry_copy log[LOG_MAX];
    struct state checkpoints[CHECKPOINTS]; /* newest first; index 0 = none */
};

struct node {
    uint32_t id;
    struct raft *raft; /* NULL: down */
    unsigned incarnation;
    struct disk *disk;
    struct state state;
    uint64_t commit_index, apply_index;

    /* The log writer: entries handed over and not yet durable, as the writer's copy. */
    struct entry_copy *pending; /* ring of PENDING_MAX */
    uint64_t pending_end;       /* entries ever put there */
    struct disk_write writes[WRITES_MAX];
    unsigned write_count;
    bool write_running;
    unsigned write_number; /* a completion of an earlier life or of a reset log is void */
    uint64_t slow_until_us;

    uint64_t fetch_index, fetch_term; /* running; index 0 = none */
    uint32_t fetch_from;
    unsigned fetch_number;

    uint64_t wake_us;    /* of the timer in the queue; 0 = none */
    uint64_t wake_at_ms; /* wanted by the core */
    uint64_t paused_until_us;
    int64_t clock_offset_ms;
    uint64_t clock_rate; /* per mille */
    uint64_t restart_us; /* when down */
    enum raft_role role;
    uint64_t term;
    uint64_t checkpoint_every;
};

enum event_kind { EV_PACKET, EV_TIMER, EV_WRITE, EV_FETCH, EV_CLIENT, EV_FAULT, EV_RESTART };

struct sim_event {
    uint64_t at_us, order;
    enum event_kind kind;
    uint32_t who, number; /* node or packet or client; incarnation */
};

struct client {
    uint32_t sequence; /* of the operation under way */
    uint32_t node;
    unsigned incarnation; /* of the node that took it; 0 = nobody did */
    uint64_t term, index;
    uint64_t give_up_us;
    uint64_t acked_index;
};

struct sim_read {
    uint64_t id, required; /* the least index that may be observed */
    uint32_t node;
    unsigned incarnation;
    uint64_t index; /* 0: not confirmed yet */
    bool in_use;
};

struct profile {
    const char *name;
    unsigned loss, duplicate, replay; /* per mille */
    unsigned delay_ms_max, long_delay;
    unsigned crash, partition, pause, slow_disk, transfer, isolate_leader; /* per mille of ticks */
    unsigned fault_tick_ms, client_gap_ms;
    unsigned crash_in_update; /* per 100,000 updates */
    unsigned batch_max;
    unsigned nodes;        /* 0 = chosen by the seed */
    unsigned partial_link; /* per mille of runs whose end tries one cut link */
    bool wild_clocks;
};

/* One fact about (kind, a, b), kept to be compared with later ones. */
struct fact {
    uint64_t generation, a, b, value;
    uint32_t kind;
};

enum fact_kind { FACT_ENTRY = 1, FACT_PREVIOUS, FACT_VOTE };

struct sim {
    uint64_t seed, events_wanted, events;
    struct prng prng;
    struct profile profile;
    bool calm; /* faults are off */
    bool failed, trace;
    char why[400];

    uint64_t now_us, order;
    struct sim_event *heap;
    size_t heap_count, heap_capacity;

    unsigned node_count;
    struct raft_config config;        /* at the beginning */
    struct node nodes[NODES_MAX + 1]; /* by id, from 1 */
    bool cut[NODES_MAX + 1][NODES_MAX + 1];
    uint64_t heal_us;
    struct packet *packets;
    unsigned free_packets[PACKETS_MAX], free_count;
    struct packet *recent;
    unsigned recent_count;
    struct raft_options options;
    bool lease_reads;

    struct buf *commands; /* one block; each command's payload is a slice of it */

    struct client clients[CLIENTS + 1];
    struct sim_read reads[READS_MAX];
    uint64_t read_id;

    /* The oracle. */
    uint64_t generation;
    struct fact *facts;
    uint32_t leaders[TERMS_MAX];
    uint64_t terms_used;
    struct entry_copy *committed; /* [index] */
    uint64_t *commit_terms;       /* term of the first node seen to commit [index] */
    uint64_t *hashes;             /* state after [index] */
    uint64_t committed_count, hashed_count;
    uint64_t observed_index; /* highest that a client has seen */
    uint64_t elections, commits, reads_done, lease_reads_done, installs, crashes, operations;
};

/* raft_sim.c */
__attribute__((format(printf, 2, 3))) void sim_fail(struct sim *s, const char *format, ...);
__attribute__((format(printf, 2, 3))) void sim_trace(struct sim *s, const char *format, ...);

/* raft_sim_world.c */
void world_push(struct sim *s, uint64_t at_us, enum event_kind kind, uint32_t who, uint32_t number);
bool world_pop(struct sim *s, struct sim_event *ret_event);
void world_send(struct sim *s, const struct raft_message *m);
void world_replay(struct sim *s);
struct packet *world_packet(struct sim *s, uint32_t number);
void world_free_packet(struct sim *s, uint32_t number);
void world_fill_commands(struct sim *s);
struct command command_of(const struct raft_entry *entry);
struct raft_entry entry_of(struct sim *s, const struct entry_copy *copy);

/* raft_sim_node.c */
void node_boot(struct sim *s, struct node *n);
void node_crash(struct sim *s, struct node *n);
int node_step(struct sim *s, struct node *n, struct raft_event *event);
void node_on_timer(struct sim *s, struct node *n);
void node_on_packet(struct sim *s, uint32_t number);
uint64_t node_clock_ms(const struct sim *s, const struct node *n);
bool node_awake(const struct sim *s, const struct node *n);

/* raft_sim_disk.c */
void disk_queue_write(struct sim *s, struct node *n, const struct raft_update *u);
void disk_on_write(struct sim *s, struct node *n);
void disk_crash(struct sim *s, struct node *n);
void disk_checkpoint(struct sim *s, struct node *n);
void disk_fetch(struct sim *s, struct node *n, uint32_t from, uint64_t index, uint64_t term);
void disk_on_fetch(struct sim *s, struct node *n);

/* raft_sim_fault.c */
void fault_choose(struct sim *s, const char *profile_name);
void fault_tick(struct sim *s);
void fault_calm(struct sim *s);
void fault_heal(struct sim *s);
void fault_cut_leader_link(struct sim *s);

/* raft_sim_client.c */
void client_tick(struct sim *s, uint32_t client);
void client_on_apply(struct sim *s, struct node *n, const struct raft_entry *entry);
void client_on_reads(struct sim *s, struct node *n, const struct raft_update *u);
void client_serve_reads(struct sim *s, struct node *n);
void client_forget_node(struct sim *s, const struct node *n);
void client_lease_read(struct sim *s, struct node *n);

/* raft_sim_oracle.c */
void oracle_reset(struct sim *s);
void oracle_entries(struct sim *s, struct node *n, const struct raft_entry *entries,
                    unsigned count);
void oracle_vote_sent(struct sim *s, struct node *n, const struct raft_message *m);
void oracle_vote_record(struct sim *s, struct node *n, uint64_t term, uint32_t voted_for);
void oracle_update(struct sim *s, struct node *n, const struct raft_update *u);
void oracle_applied(struct sim *s, struct node *n);
void oracle_node(struct sim *s, struct node *n);
bool oracle_converged(struct sim *s);

#endif
